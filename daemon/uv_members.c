/* SPDX-License-Identifier: Apache-2.0 */
#include "uv_members.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"
#include "members.h"
#include "permit_chain.h"
#include "permits.h"
#include "value.h"

/* A pidfd in the loop. It lives until libuv has let go of it, which may be after its slot. */
struct watcher {
	uv_poll_t poll;
	struct uv_members *members; /* NULL: given up */
	uint32_t slot;
	int fd;
};

struct uv_member {
	uint64_t generation; /* of the member that was seen last */
	bool seen;
	struct watcher *watcher; /* NULL: the test of the lock has to do */
};

/* ---- watchers ---- */

static void on_watcher_closed(uv_handle_t *handle)
{
	struct watcher *watcher = handle->data;

	close(watcher->fd);
	free(watcher);
}

static void watcher_give_up(struct uv_member *member)
{
	if (!member->watcher)
		return;
	member->watcher->members->watchers--;
	member->watcher->members = NULL;
	uv_close((uv_handle_t *)&member->watcher->poll, on_watcher_closed);
	member->watcher = NULL;
}

/* Field 22 of /proc/PID/stat; 0 if it cannot be read. */
static uint64_t start_ticks(uint32_t pid)
{
	char path[40], text[1024] = "", *at = NULL;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (fgets(text, sizeof(text), file))
		at = strrchr(text, ')');
	fclose(file);
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at + 1, NULL, 10) : 0;
}

static void test_slot(struct uv_members *members, uint32_t slot);

static void on_exit_seen(uv_poll_t *poll, int status, int events)
{
	struct watcher *watcher = poll->data;
	struct uv_members *members = watcher->members;
	uint32_t slot = watcher->slot;

	(void)status;
	(void)events;
	if (!members)
		return;
	/* a pidfd stays readable: it has said all it has to say */
	watcher_give_up(&members->watched[slot]);
	if (members->pair == members->instance->segment.pair)
		test_slot(members, slot);
}

/*
 * A pidfd for the member's process, if its pid means the same process here: pid and start time
 * agree. They are read again after the descriptor is open, so that it is that process's.
 */
static int open_pidfd(const struct member_info *info)
{
	int fd;

	if (!info->start_ticks || start_ticks(info->pid) != info->start_ticks)
		return -1;
	fd = (int)syscall(SYS_pidfd_open, (pid_t)info->pid, 0);
	if (fd >= 0 && start_ticks(info->pid) != info->start_ticks) {
		close(fd);
		return -1;
	}
	return fd;
}

static void watch(struct uv_members *members, uint32_t slot, const struct member_info *info)
{
	int fd = members->watchers < UV_MEMBERS_WATCHERS ? open_pidfd(info) : -1;
	struct watcher *watcher = fd < 0 ? NULL : calloc(1, sizeof(*watcher));

	if (!watcher || uv_poll_init(members->loop, &watcher->poll, fd) < 0) {
		free(watcher);
		if (fd >= 0)
			close(fd);
		return;
	}
	watcher->poll.data = watcher;
	watcher->members = members;
	watcher->slot = slot;
	watcher->fd = fd;
	members->watched[slot].watcher = watcher;
	members->watchers++;
	if (uv_poll_start(&watcher->poll, UV_READABLE, on_exit_seen) < 0)
		watcher_give_up(&members->watched[slot]);
}

/* ---- slots ---- */

static void describe(const struct member_info *info, uint32_t slot, char *out, size_t bytes)
{
	char program[LAYOUT_PROGRAM_BYTES];

	memcpy(program, info->program, sizeof(program));
	program[sizeof(program) - 1] = '\0';
	snprintf(out, bytes, "member %u (pid %u, uid %u, %s)", slot, info->pid, info->uid, program);
}

static void test_slot(struct uv_members *members, uint32_t slot)
{
	struct member_info info;
	char text[96];

	members_look(&members->instance->segment, slot, &info);
	if (!info.pid || !members_reap(&members->instance->segment, slot))
		return;
	describe(&info, slot, text, sizeof(text));
	log_line(LOG_INFO, "%s is gone", text);
	watcher_give_up(&members->watched[slot]);
	members->watched[slot].seen = false;
}

/* Follows who is in a slot. */
static void look(struct uv_members *members, uint32_t slot)
{
	struct uv_member *member = &members->watched[slot];
	struct member_info info;
	char text[96];

	members_look(&members->instance->segment, slot, &info);
	if (member->seen && (!info.pid || info.generation != member->generation)) {
		watcher_give_up(member);
		member->seen = false;
		log_line(LOG_DEBUG, "member %u has left", slot);
	}
	if (!info.pid || member->seen)
		return;
	member->seen = true;
	member->generation = info.generation;
	watch(members, slot, &info);
	describe(&info, slot, text, sizeof(text));
	log_line(LOG_DEBUG, "%s has come", text);
}

static void forget_all(struct uv_members *members)
{
	if (!members->watched)
		return;
	for (uint32_t slot = 0; slot < members->count; slot++)
		watcher_give_up(&members->watched[slot]);
	free(members->watched);
	members->watched = NULL;
	members->count = 0;
}

/* The table of the pair that is served now. Returns false without memory; tried again. */
static bool follow_pair(struct uv_members *members)
{
	const struct segment *segment = &members->instance->segment;

	if (members->watched && members->pair == segment->pair)
		return true;
	forget_all(members);
	members->watched = calloc(segment->member_count, sizeof(*members->watched));
	if (!members->watched)
		return false;
	members->count = segment->member_count;
	members->pair = segment->pair;
	return true;
}

/* ---- permits ---- */

/* Who holds one has a pidfd, or else the test of the lock has to do at once. */
static void on_holder(void *context, const struct permit_held *held)
{
	struct uv_members *members = context;

	if (held->member >= members->count)
		return;
	look(members, held->member);
	if (!members->watched[held->member].watcher)
		test_slot(members, held->member);
}

/* Who is first in line keeps others from what is free. */
static void look_at_first(struct uv_members *members, const struct rule_row *row)
{
	const struct segment *segment = &members->instance->segment;
	struct permit_chain chain;
	struct line_first first;

	if (chain_read(segment, row, &chain) == PERMIT_TAKEN &&
	    line_find_first(segment, chain.head, &first))
		on_holder(members, &(struct permit_held){.member = first.member});
}

struct strike {
	const struct segment *segment;
	const struct rule_row *row;
};

static void on_struck(void *context, const struct permit_held *held)
{
	const struct strike *strike = context;
	struct member_info info = {0};
	struct line clock;
	char text[LAYOUT_TEXT_BYTES], who[96], age[VALUE_TEXT_BYTES], most[VALUE_TEXT_BYTES];
	struct terms_author author;
	struct terms terms;
	uint64_t changed_ns;

	if (held->member < strike->segment->member_count)
		members_look(strike->segment, held->member, &info);
	describe(&info, held->member, who, sizeof(who));
	segment_text(strike->row->text, text);
	line_read_terms(strike->row, &terms, &author, &changed_ns);
	segment_clock(strike->segment, &clock);
	log_line(LOG_WARNING, "a permit of %s was taken away from %s: held for %s, max_hold %s",
		 text, who,
		 value_duration_text(strike->segment->time.kind == CLOCK_KIND_TSC
					     ? line_ticks_to_ns(&clock, held->age_ticks)
					     : held->age_ticks,
				     age),
		 value_duration_text(terms.max_hold_ns, most));
}

static void look_at_row(struct uv_members *members, uint32_t index)
{
	const struct segment *segment = &members->instance->segment;
	struct strike strike = {segment, &segment->rows[index]};
	struct permit_sum sum;

	permits_look(segment, strike.row, &sum, on_holder, members);
	look_at_first(members, strike.row);
	permits_strike(segment, strike.row, segment_hz(segment), on_struck, &strike);
}

/* acquire: pairs with the releases in rules.c */
static bool has_permits(const struct segment *segment, uint32_t row)
{
	return atomic_load_explicit(&segment->rows[row].permit_head, memory_order_acquire) &&
	       atomic_load_explicit(&segment->rows[row].state, memory_order_acquire) == ROW_LIVE;
}

static void on_held(uv_timer_t *timer)
{
	struct uv_members *members = timer->data;
	struct segment *segment = &members->instance->segment;
	bool any = false;
	bool finds;

	if (!follow_pair(members))
		return;
	for (uint32_t row = 0; row < segment->row_count; row++) {
		if (!has_permits(segment, row))
			continue;
		look_at_row(members, row);
		any = true;
	}
	finds = inflight_look(&members->inflight, segment);
	if (!finds && members->finds) /* said once, not twenty times a second */
		log_line(LOG_ERROR, "no memory to find a concurrency: it stays");
	members->finds = finds;
	if (any)
		permit_chain_tend(segment);
	else
		uv_timer_stop(timer);
}

/* Looks at holders from the moment that some rule has permits. */
static void hold_watch(struct uv_members *members)
{
	const struct segment *segment = &members->instance->segment;

	for (uint32_t row = 0; row < segment->row_count; row++)
		if (has_permits(segment, row) && !uv_is_active((uv_handle_t *)&members->held)) {
			uv_timer_start(&members->held, on_held, 0, UV_MEMBERS_HELD_MS);
			return;
		}
}

static void on_scan(uv_timer_t *timer)
{
	struct uv_members *members = timer->data;

	if (!follow_pair(members))
		return;
	members->round = (members->round + 1) % UV_MEMBERS_ROUND;
	for (uint32_t slot = 0; slot < members->count; slot++) {
		look(members, slot);
		if (slot % UV_MEMBERS_ROUND == members->round)
			test_slot(members, slot);
	}
	if (members->round == 0)
		instance_tend(members->instance);
	hold_watch(members);
}

int uv_members_start(struct uv_members *members, uv_loop_t *loop, struct instance *instance)
{
	*members = (struct uv_members){.loop = loop, .instance = instance, .finds = true};
	uv_timer_init(loop, &members->held);
	members->held.data = members;
	uv_timer_init(loop, &members->scan);
	members->scan.data = members;
	return uv_timer_start(&members->scan, on_scan, 0, UV_MEMBERS_SCAN_MS);
}

void uv_members_stop(struct uv_members *members)
{
	uv_close((uv_handle_t *)&members->scan, NULL);
	uv_close((uv_handle_t *)&members->held, NULL);
	for (uint32_t slot = 0; slot < members->count; slot++)
		watcher_give_up(&members->watched[slot]);
}

void uv_members_free(struct uv_members *members)
{
	inflight_end(&members->inflight);
	free(members->watched);
	members->watched = NULL;
}
