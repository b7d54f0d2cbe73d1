/* SPDX-License-Identifier: Apache-2.0 */
#include "uv_members.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "members.h"
#include "permit_chain.h"
#include "permits.h"
#include "value.h"
#include "weir.h"

struct uv_member {
	uint64_t generation; /* of the member that was seen last */
	bool seen;
};

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
		member->seen = false;
		log_line(LOG_DEBUG, "member %u has left", slot);
	}
	if (!info.pid || member->seen)
		return;
	member->seen = true;
	member->generation = info.generation;
	describe(&info, slot, text, sizeof(text));
	log_line(LOG_DEBUG, "%s has come", text);
}

/* ---- being told ---- */

/* There are so many quick looks to come, at least. */
static void hasten(struct uv_members *members, unsigned looks)
{
	members->haste = looks > members->haste ? looks : members->haste;
}

/* Somebody may have died: the next looks and scans test locks. */
static void suspect(struct uv_members *members)
{
	members->suspect = UV_MEMBERS_CLOSE_LOOKS;
	members->rounds = UV_MEMBERS_CLOSE_SCANS;
	hasten(members, UV_MEMBERS_CLOSE_LOOKS);
}

static void on_look(uv_timer_t *timer);
static void on_close(uv_poll_t *poll, int status, int events);

/* Looks go on by themselves, and ask what was closed: however much it is, it wakes nobody else. */
static void begin_looks(struct uv_members *members, uint64_t first_ms)
{
	if (uv_is_active((uv_handle_t *)&members->looks))
		return;
	uv_timer_start(&members->looks, on_look, first_ms, UV_MEMBERS_LOOK_MS);
	if (members->polls)
		uv_poll_stop(&members->closes);
}

static void end_looks(struct uv_members *members)
{
	uv_timer_stop(&members->looks);
	if (members->polls)
		uv_poll_start(&members->closes, UV_READABLE, on_close);
}

static void on_close(uv_poll_t *poll, int status, int events)
{
	struct uv_members *members = poll->data;

	(void)status;
	(void)events;
	suspect(members);
	begin_looks(members, UV_MEMBERS_CLOSE_MS);
}

static int aim(struct uv_members *members)
{
	int error = close_watch_aim(&members->watch, members->instance->segment.state_fd);

	if (error < 0 || members->polls)
		return error;
	error = uv_poll_init(members->loop, &members->closes, members->watch.fd);
	if (error < 0) {
		close_watch_end(&members->watch);
		return error;
	}
	members->closes.data = members;
	members->polls = true;
	return uv_is_active((uv_handle_t *)&members->looks)
		       ? 0
		       : uv_poll_start(&members->closes, UV_READABLE, on_close);
}

static bool is_told(const struct uv_members *members)
{
	return members->watch.mark >= 0;
}

/* Of what is closed of the pair that is served now; tried again where it fails. */
static void be_told(struct uv_members *members)
{
	int error = aim(members);

	if (error == 0 || members->said)
		return;
	members->said = true;
	log_line(LOG_WARNING,
		 "the kernel does not tell who leaves (inotify: %s): as long as a rule has a "
		 "concurrency, weird looks %d times a second",
		 weir_strerror(error), 1000 / UV_MEMBERS_LOOK_MS);
}

/*
 * The table of the pair that is served now. Who died in it before was not told. Returns false
 * without memory; tried again.
 */
static bool follow_pair(struct uv_members *members)
{
	const struct segment *segment = &members->instance->segment;

	if (members->watched && members->pair == segment->pair)
		return true;
	free(members->watched);
	members->count = 0;
	members->watched = calloc(segment->member_count, sizeof(*members->watched));
	if (!members->watched)
		return false;
	members->count = segment->member_count;
	members->pair = segment->pair;
	be_told(members);
	suspect(members);
	return true;
}

/* Before the loop sleeps: what it has just done may have replaced the pair. */
static void on_prepare(uv_prepare_t *prepare)
{
	struct uv_members *members = prepare->data;

	if (!members->watched || members->pair != members->instance->segment.pair)
		begin_looks(members, 0);
}

/* ---- permits ---- */

static uint64_t ticks_ns(const struct segment *segment, uint64_t ticks)
{
	struct line clock;

	if (segment->time.kind != CLOCK_KIND_TSC)
		return ticks;
	segment_clock(segment, &clock);
	return line_ticks_to_ns(&clock, ticks);
}

/* A look at the permits of a row. */
struct row_look {
	struct uv_members *members;
	uint64_t hold_ns; /* 0: for ever */
};

static void test_holder(struct uv_members *members, uint32_t member)
{
	if (member < members->count)
		test_slot(members, member);
}

static void on_holder(void *context, const struct permit_held *held)
{
	const struct row_look *look = context;
	struct uv_members *members = look->members;

	if (members->suspect)
		test_holder(members, held->member);
	/* due before the next scan: UINT64_MAX is no age */
	if (look->hold_ns && held->age_ticks != UINT64_MAX &&
	    ticks_ns(&members->instance->segment, held->age_ticks) +
			    UV_MEMBERS_SCAN_MS * 1000000ull >=
		    look->hold_ns)
		hasten(members, 1);
}

/* Who is first in line keeps others from what is free. */
static void test_first(struct uv_members *members, const struct rule_row *row)
{
	const struct segment *segment = &members->instance->segment;
	struct permit_chain chain;
	struct line_first first;

	if (chain_read(segment, row, &chain) == PERMIT_TAKEN &&
	    line_find_first(segment, chain.head, &first))
		test_holder(members, first.member);
}

struct strike {
	const struct segment *segment;
	const struct rule_row *row;
};

static void on_struck(void *context, const struct permit_held *held)
{
	const struct strike *strike = context;
	struct member_info info = {0};
	char text[LAYOUT_TEXT_BYTES], who[96], age[VALUE_TEXT_BYTES], most[VALUE_TEXT_BYTES];
	struct terms_author author;
	struct terms terms;
	uint64_t changed_ns;

	if (held->member < strike->segment->member_count)
		members_look(strike->segment, held->member, &info);
	describe(&info, held->member, who, sizeof(who));
	segment_text(strike->row->text, text);
	line_read_terms(strike->row, &terms, &author, &changed_ns);
	log_line(LOG_WARNING, "a permit of %s was taken away from %s: held for %s, max_hold %s",
		 text, who, value_duration_text(ticks_ns(strike->segment, held->age_ticks), age),
		 value_duration_text(terms.max_hold_ns, most));
}

static void look_at_row(struct uv_members *members, uint32_t index)
{
	const struct segment *segment = &members->instance->segment;
	struct strike strike = {segment, &segment->rows[index]};
	/* acquire: pairs with the release in permit_chain.c */
	struct row_look look = {
		members, atomic_load_explicit(&strike.row->permit_hold_ns, memory_order_acquire)};
	struct permit_sum sum;

	if (members->suspect || look.hold_ns)
		permits_look(segment, strike.row, &sum, on_holder, &look);
	if (members->suspect)
		test_first(members, strike.row);
	permits_strike(segment, strike.row, segment_hz(segment), on_struck, &strike);
}

/* acquire, both: pair with the releases in permit_chain.c, and in rules_row.c and rules_remove.c */
static bool has_permits(const struct segment *segment, uint32_t row)
{
	return atomic_load_explicit(&segment->rows[row].permit_head, memory_order_acquire) &&
	       atomic_load_explicit(&segment->rows[row].state, memory_order_acquire) == ROW_LIVE;
}

/* Limits that are found follow their calls as long as there are any. */
static void look_at_inflight(struct uv_members *members)
{
	bool finds = inflight_look(&members->inflight, &members->instance->segment);

	if (!finds && members->finds) /* said once, not twenty times a second */
		log_line(LOG_ERROR, "no memory to find a concurrency: it stays");
	members->finds = finds;
	if (members->inflight.moves)
		hasten(members, UV_MEMBERS_MOVED_LOOKS);
}

static void look_at_permits(struct uv_members *members)
{
	struct segment *segment = &members->instance->segment;
	bool any = false;

	if (!is_told(members))
		members->suspect = 1;
	for (uint32_t row = 0; row < segment->row_count; row++) {
		if (!has_permits(segment, row))
			continue;
		look_at_row(members, row);
		any = true;
	}
	members->suspect -= members->suspect > 0;
	look_at_inflight(members);
	if (!any)
		return;
	permit_chain_tend(segment);
	/* a manual clock moves without a word */
	if (!is_told(members) || segment->time.kind == CLOCK_KIND_MANUAL)
		hasten(members, 1);
}

static void on_look(uv_timer_t *timer)
{
	struct uv_members *members = timer->data;

	if (!follow_pair(members))
		return;
	if (close_watch_heard(&members->watch))
		suspect(members);
	members->haste -= members->haste > 0;
	look_at_permits(members);
	if (members->haste == 0)
		end_looks(members);
}

static void on_scan(uv_timer_t *timer)
{
	struct uv_members *members = timer->data;

	if (!follow_pair(members))
		return;
	members->round = (members->round + 1) % UV_MEMBERS_ROUND;
	for (uint32_t slot = 0; slot < members->count; slot++) {
		look(members, slot);
		if (members->rounds || slot % UV_MEMBERS_ROUND == members->round)
			test_slot(members, slot);
	}
	members->rounds -= members->rounds > 0;
	if (members->round == 0) {
		instance_tend(members->instance);
		if (!is_told(members))
			be_told(members);
	}
	look_at_permits(members);
	if (members->haste)
		begin_looks(members, UV_MEMBERS_LOOK_MS);
}

int uv_members_start(struct uv_members *members, uv_loop_t *loop, struct instance *instance)
{
	*members = (struct uv_members){
		.watch = CLOSE_WATCH_INIT, .loop = loop, .instance = instance, .finds = true};
	uv_timer_init(loop, &members->looks);
	members->looks.data = members;
	uv_prepare_init(loop, &members->prepare);
	members->prepare.data = members;
	uv_prepare_start(&members->prepare, on_prepare); /* fails without a callback alone */
	uv_timer_init(loop, &members->scan);
	members->scan.data = members;
	return uv_timer_start(&members->scan, on_scan, 0, UV_MEMBERS_SCAN_MS);
}

void uv_members_stop(struct uv_members *members)
{
	uv_close((uv_handle_t *)&members->scan, NULL);
	uv_close((uv_handle_t *)&members->looks, NULL);
	uv_close((uv_handle_t *)&members->prepare, NULL);
	if (members->polls)
		uv_close((uv_handle_t *)&members->closes, NULL);
}

void uv_members_free(struct uv_members *members)
{
	close_watch_end(&members->watch);
	inflight_end(&members->inflight);
	free(members->watched);
	members->watched = NULL;
}
