/* SPDX-License-Identifier: Apache-2.0
 *
 * weir.c - attach, follow a replaced pair, detach.
 */
#include "handle.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "move.h"

#define FOLLOW_AGAIN_NS 100000000ull
#define ATTACH_PAUSE_NS 1000000l

void weir_report(const struct weir *weir, int32_t kind, int code, const char *endpoint,
		 uint64_t wait_ns)
{
	const struct weir_event event = {
		.kind = kind,
		.code = code,
		.endpoint = endpoint,
		.wait_ns = wait_ns,
	};

	if (weir->trace)
		weir->trace(weir->trace_context, &event);
}

/* The caller's options in our size: a program built against an older header passes fewer. */
static struct weir_options options_read(const struct weir_options *from)
{
	struct weir_options options = WEIR_OPTIONS_INIT;

	if (from && from->size >= sizeof(from->size))
		memcpy(&options, from, from->size < sizeof(options) ? from->size : sizeof(options));
	return options;
}

static const char *first_of(const char *given, const char *variable)
{
	const char *found = given ? given : getenv(variable);

	return found && *found ? found : NULL;
}

static int options_place(const struct weir_options *options, struct place *out)
{
	const struct place_hints hints = {
		.name = first_of(options->name, "WEIR_NAME"),
		.shm_dir = first_of(options->shm_dir, "WEIR_SHM_DIR"),
		.socket = first_of(NULL, "WEIR_SOCKET"),
		.runtime_dir = first_of(NULL, "XDG_RUNTIME_DIR"),
		.uid = (uint32_t)geteuid(),
	};

	return place_resolve(out, &hints, PLACE_TO_ATTACH);
}

/*
 * Maps the pair that has the name and becomes a member of it. A follower does without a slot if
 * none is free: the limits hold, it only cannot be listed.
 */
static int attachment_open(struct weir *weir, bool follows, struct attachment **out)
{
	struct attachment *at = calloc(1, sizeof(*at));

	if (!at)
		return -ENOMEM;

	int64_t slot = segment_attach(&at->segment, &weir->place, SEGMENT_USE, weir->trusted);

	if (slot == 0) {
		slot = members_join(&at->segment);
		if (slot == WEIR_EMEMBERS && follows)
			slot = MEMBER_NONE;
		if (slot < 0)
			segment_detach(&at->segment);
	}
	if (slot < 0) {
		free(at);
		return (int)slot;
	}
	attachment_own(at, slot == MEMBER_NONE ? -1 : slot);
	*out = at;
	return 0;
}

/* Whether a moment later the same attempt may succeed. */
static bool attach_is_temporary(int status)
{
	return status == WEIR_EABSENT || status == WEIR_EUNREADY || status == WEIR_EPAIR ||
	       status == WEIR_EBOOT;
}

/*
 * Under the mutex, which a fork waits for: no child is born between the taking of a slot and the
 * moment when the fork handler knows of it.
 */
static int attach_watched(struct weir *weir)
{
	struct attachment *at;

	pthread_mutex_lock(&weir->mutex);
	int status = attachment_open(weir, false, &at);

	if (status == 0)
		atomic_store_explicit(&weir->current, at, memory_order_release);
	pthread_mutex_unlock(&weir->mutex);
	return status;
}

static int attach_until(struct weir *weir, uint64_t for_ns)
{
	const struct timespec pause = {0, ATTACH_PAUSE_NS};
	uint64_t from = time_source_kernel_ns(CLOCK_MONOTONIC);

	for (;;) {
		int status = attach_watched(weir);

		if (!attach_is_temporary(status) ||
		    time_source_kernel_ns(CLOCK_MONOTONIC) - from >= for_ns)
			return status;
		nanosleep(&pause, NULL);
	}
}

static void attachment_free(struct attachment *at)
{
	/* without the descriptor the slot may be another process's by now */
	if (segment_state_fd(&at->segment) >= 0 && at->slot != MEMBER_NONE)
		members_leave(&at->segment, at->slot);
	segment_detach(&at->segment);
	if (at->has_predecessor)
		segment_detach(&at->predecessor);
	free(at);
}

/* Where the daemon hears of responses. */
static void find_daemon(struct weir *weir)
{
	char path[PLACE_PATH_BYTES];

	weir->observe_address.sun_family = AF_UNIX;
	place_observe(&weir->place, path);
	/* place_observe() bounds it */
	snprintf(weir->observe_address.sun_path, sizeof(weir->observe_address.sun_path), "%.107s",
		 path);
}

int weir_open(struct weir **out, const struct weir_options *from)
{
	struct weir_options options = options_read(from);
	struct weir *weir = calloc(1, sizeof(*weir));

	if (!weir)
		return -ENOMEM;
	weir->policy = options.policy;
	weir->trace = options.trace;
	weir->trace_context = options.trace_context;
	weir->trusted = options.owner_uid;
	weir->observe_fd = -1;
	pthread_mutex_init(&weir->mutex, NULL);

	int status = options_place(&options, &weir->place);

	if (status == 0)
		find_daemon(weir);
	if (status == 0)
		status = fork_watch(weir);
	if (status == 0)
		status = attach_until(weir, options.attach_ns);
	if (status < 0) {
		weir_close(weir);
		return status;
	}
	*out = weir;
	return 0;
}

void weir_close(struct weir *weir)
{
	if (!weir)
		return;
	/* a child that never used the handle must not clear its parent's slot */
	bool forked =
		weir->fork_mark && !atomic_load_explicit(weir->fork_mark, memory_order_relaxed);
	struct attachment *at = atomic_load_explicit(&weir->current, memory_order_acquire);

	int fd = atomic_load_explicit(&weir->observe_fd, memory_order_relaxed);

	fork_unwatch(weir);
	if (fd >= 0)
		close(fd);
	while (at) {
		struct attachment *previous = at->previous;

		if (forked)
			at->slot = MEMBER_NONE;
		attachment_free(at);
		at = previous;
	}
	pthread_mutex_destroy(&weir->mutex);
	free(weir);
}

/* Leaves the pair that was replaced: the mapping stays for threads in mid-call. */
static void attachment_leave(struct attachment *at)
{
	int state_fd = segment_state_fd(&at->segment);

	if (state_fd >= 0 && at->slot != MEMBER_NONE)
		members_leave(&at->segment, at->slot);
	if (state_fd >= 0)
		close(state_fd);
	at->segment.state_fd = -1;
	at->slot = MEMBER_NONE;
}

void attachment_follow(struct weir *weir)
{
	struct attachment *at = atomic_load_explicit(&weir->current, memory_order_relaxed);
	uint64_t now = time_source_kernel_ns(CLOCK_MONOTONIC);
	struct attachment *next = NULL;

	if (!segment_is_retired(&at->segment) || weir->place.name[0] == '\0' ||
	    now < weir->follow_after_ns)
		return;
	weir->follow_after_ns = now + FOLLOW_AGAIN_NS;
	if (attachment_open(weir, true, &next) < 0)
		return; /* gone for now: the limits we know go on holding */
	if (next->segment.pair == at->segment.pair) {
		attachment_free(next);
		return;
	}
	next->previous = at;
	/* release: pairs with the acquire of the binding that will point to it */
	atomic_store_explicit(&weir->current, next, memory_order_release);
	attachment_leave(at);
	weir->follow_after_ns = 0;
	weir_report(weir, WEIR_EVENT_REATTACH, 0, NULL, 0);
}

uint64_t weir_clock_now(struct weir *weir)
{
	struct attachment *at = atomic_load_explicit(&weir->current, memory_order_acquire);

	return segment_now_ns(&at->segment);
}

uint64_t weir_endpoint_clock_now(struct weir_endpoint *endpoint)
{
	return segment_now_ns(&endpoint_binding(endpoint)->attachment->segment);
}

int weir_clock_advance(struct weir *weir, uint64_t by_ns)
{
	struct attachment *at = atomic_load_explicit(&weir->current, memory_order_acquire);

	if (at->segment.time.kind != CLOCK_KIND_MANUAL)
		return WEIR_ENOCLOCK;
	time_source_advance(&at->segment.time, by_ns);
	return 0;
}
