/* SPDX-License-Identifier: Apache-2.0
 *
 * permits.c - how many calls may be under way: take, wait in line, give back.
 *
 * Who waits sleeps on the futex word of its own place, and is called when it is first. In each
 * line one thread of each process (its sentry, the last to come) and whoever is first look again
 * every 100 ms: a call that got lost with who was to make it costs no more than that, nor does a
 * process at the head that is stopped and does not come.
 */
#include "permits.h"

#include "handle.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "permit_chain.h"

#define LOOK_AGAIN_NS (100 * WEIR_MILLISECOND)
#define LOOK_SELDOM_NS (60 * WEIR_SECOND)
#define DEAD_AGAIN_NS WEIR_MILLISECOND
#define MOVED_TRIES 100
#define PERMIT_OF_NOBODY UINT32_MAX /* taken where there is no limit, or by policy */

/* What a struct weir_permit holds. */
struct permit {
	uint64_t pair;
	uint64_t word; /* 0: given back */
	uint32_t index;
	uint32_t row;
	uint64_t ticks;
};

/* What a struct weir_waiter holds. */
struct waiting {
	uint64_t pair; /* 0: left; of a place that is none: the ticket is 0 */
	uint64_t owner;
	uint64_t ticket;
	uint32_t index;
	uint32_t reserved;
};

_Static_assert(sizeof(struct permit) == sizeof(struct weir_permit), "a permit is held whole");
_Static_assert(sizeof(struct waiting) == sizeof(struct weir_waiter), "a place is held whole");

/* A thread in line. */
struct in_line {
	const struct segment *segment; /* of the place */
	struct permit_place place;
	_Atomic bool is_sentry;
	struct in_line *next;
};

/* ---- one try ---- */

struct
try {
	struct binding *binding;
	uint64_t owner;
	struct permit_taken taken;
	int fault;
};

/* Whether the binding may be used, and its attachment's owner with it. */
static bool is_current(const struct binding *binding)
{
	/* acquire: pairs with the release in fork_rejoin() */
	return atomic_load_explicit(binding->fork_mark, memory_order_acquire) &&
	       binding_holds(binding);
}

static int find_binding(struct weir_endpoint *endpoint, struct binding **out)
{
	struct binding *binding = endpoint_binding(endpoint);
	int status = is_current(binding) ? 0 : endpoint_refresh(endpoint);

	*out = endpoint_binding(endpoint);
	return status;
}

/* A process that found no slot looks for one again: a permit needs an owner. */
static uint64_t find_owner(struct weir *weir, struct attachment *at)
{
	/* acquire: pairs with the release in attachment_own() */
	uint64_t owner = atomic_load_explicit(&at->owner, memory_order_acquire);

	if (owner)
		return owner;
	pthread_mutex_lock(&weir->mutex);
	fork_rejoin(weir);
	if (at->slot == MEMBER_NONE && at->segment.state_fd >= 0)
		attachment_own(at, members_join(&at->segment));
	owner = atomic_load_explicit(&at->owner, memory_order_relaxed);
	pthread_mutex_unlock(&weir->mutex);
	return owner;
}

/* Permits that are about to be kept elsewhere, and are still here: somebody is at it. */
static enum permit_result try_moved(struct weir_endpoint *endpoint, struct try *try)
{
	const struct binding *before = try->binding;

	try->fault = endpoint_refresh(endpoint);
	try->binding = endpoint_binding(endpoint);
	if (try->binding == before)
		sched_yield();
	return PERMIT_MOVED;
}

static enum permit_result try_once(struct weir_endpoint *endpoint, const struct permit_place *place,
				   struct try *out)
{
	enum permit_result result;

	out->fault = find_binding(endpoint, &out->binding);
	if (out->fault < 0)
		return PERMIT_DAMAGED;
	out->owner = find_owner(endpoint->weir, out->binding->attachment);
	if (!out->owner) {
		out->fault = WEIR_EMEMBERS;
		return PERMIT_DAMAGED;
	}
	result = permits_take(&out->binding->attachment->segment, out->binding->row, out->owner,
			      place, &out->taken);
	if (result == PERMIT_DAMAGED)
		out->fault = WEIR_EDAMAGED;
	return result;
}

/* `place`, if it is one, is in the line of the present binding. */
static enum permit_result try_take(struct weir_endpoint *endpoint, const struct permit_place *place,
				   struct try *out)
{
	for (int tries = 0; tries < MOVED_TRIES; tries++) {
		enum permit_result result = try_once(endpoint, place, out);

		if (result != PERMIT_MOVED)
			return result;
		/* the caller sees to it that his place is in the line of the new binding */
		if (try_moved(endpoint, out) == PERMIT_MOVED && place)
			return PERMIT_BEHIND;
	}
	return PERMIT_NONE;
}

/* ---- what the dead and the late hold ---- */

static void told_struck(void *context, const struct permit_held *held)
{
	const struct weir_endpoint *endpoint = context;

	weir_report(endpoint->weir, WEIR_EVENT_EXPIRED, WEIR_EEXPIRED, endpoint->name,
		    ticks_to_ns(&endpoint_binding((struct weir_endpoint *)(uintptr_t)endpoint)
					 ->attachment->segment,
				held->age_ticks));
}

/* None is free, or others are first: perhaps they are dead, or have held theirs too long. */
static bool look_for_dead(struct weir_endpoint *endpoint, const struct binding *binding)
{
	struct weir *weir = endpoint->weir;
	struct attachment *at = binding->attachment;
	uint64_t now = time_source_kernel_ns(CLOCK_MONOTONIC);
	bool found = false;

	/* the lock of a slot does not exclude its own description: one thread at a time */
	pthread_mutex_lock(&weir->mutex);
	if (now >= weir->dead_after_ns && at->segment.state_fd >= 0) {
		found = permits_find_dead(&at->segment, binding->row, at->slot);
		weir->dead_after_ns = now + DEAD_AGAIN_NS;
	}
	pthread_mutex_unlock(&weir->mutex);
	return permits_strike(&at->segment, binding->row, segment_hz(&at->segment), told_struck,
			      endpoint) ||
	       found;
}

/* ---- answers ---- */

static double free_now(const struct binding *binding)
{
	struct permit_sum sum = {0};

	if (permits_look(&binding->attachment->segment, binding->row, &sum, NULL, NULL) < 0)
		return 0;
	return sum.limit == UINT64_MAX ? __builtin_inf() : (double)sum.free;
}

static void answer_permit(const struct try *try, uint64_t wait_ns, int fault, int32_t reason,
			  struct weir_answer *answer)
{
	if (answer)
		*answer = (struct weir_answer){
			.wait_ns = wait_ns,
			.level = free_now(try->binding),
			.fault = fault,
			.reason = reason,
		};
}

static enum weir_verdict refused(const struct try *try, int fault, int32_t reason,
				 struct weir_answer *answer)
{
	struct permit_chain chain;
	const struct segment *segment = &try->binding->attachment->segment;
	bool never =
		chain_find(segment, try->binding->row, &chain) == PERMIT_TAKEN && chain.limit == 0;

	answer_permit(try, never ? WEIR_NEVER : LOOK_AGAIN_NS, fault, reason, answer);
	return WEIR_REFUSE;
}

static enum weir_verdict admitted(const struct try *try, enum permit_result result,
				  uint64_t slept_ns, struct weir_permit *out,
				  struct weir_answer *answer)
{
	const struct permit permit = {
		.pair = try->binding->attachment->segment.pair,
		.word = result == PERMIT_TAKEN ? try->taken.word : 1,
		.index = result == PERMIT_TAKEN ? try->taken.index : PERMIT_OF_NOBODY,
		.row = try->binding->row_index,
		.ticks = result == PERMIT_TAKEN ? try->taken.ticks : 0,
	};

	memcpy(out, &permit, sizeof(permit));
	if (answer)
		*answer = (struct weir_answer){
			.wait_ns = slept_ns,
			.level = result == PERMIT_TAKEN ? free_now(try->binding) : __builtin_inf(),
		};
	return WEIR_ADMIT;
}

/* What the policy admits holds a permit of nobody's. */
static enum weir_verdict faulty(const struct weir_endpoint *endpoint, int fault,
				struct weir_permit *out, struct weir_answer *answer)
{
	const struct permit permit = {.word = 1, .index = PERMIT_OF_NOBODY};
	enum weir_verdict verdict = answer_fault(endpoint, fault, answer);

	if (verdict == WEIR_ADMIT)
		memcpy(out, &permit, sizeof(permit));
	return verdict;
}

/* ---- in line ---- */

static bool same_line(const struct in_line *a, const struct in_line *b)
{
	return a->segment == b->segment &&
	       place_head(a->place.ticket) == place_head(b->place.ticket);
}

static struct in_line *sentry_of(const struct weir *weir, const struct in_line *self, bool any)
{
	for (struct in_line *at = weir->in_line; at; at = at->next)
		if (at != self && same_line(at, self) &&
		    /* relaxed: under the mutex */
		    (any || atomic_load_explicit(&at->is_sentry, memory_order_relaxed)))
			return at;
	return NULL;
}

/* The first of a process to come into a line is its sentry. */
static void crew_join(struct weir *weir, struct in_line *self)
{
	pthread_mutex_lock(&weir->mutex);
	atomic_store_explicit(&self->is_sentry, !sentry_of(weir, self, false),
			      memory_order_relaxed);
	self->next = weir->in_line;
	weir->in_line = self;
	pthread_mutex_unlock(&weir->mutex);
}

/* Its office goes to the last one to come, who will be there for longest. */
static void crew_leave(struct weir *weir, struct in_line *self)
{
	struct in_line **at = &weir->in_line;
	struct in_line *heir = NULL;

	pthread_mutex_lock(&weir->mutex);
	while (*at && *at != self)
		at = &(*at)->next;
	if (*at)
		*at = self->next;
	if (atomic_load_explicit(&self->is_sentry, memory_order_relaxed))
		heir = sentry_of(weir, self, true);
	if (heir) {
		/* release: pairs with the acquire in sleep_ns(); then it sleeps anew */
		atomic_store_explicit(&heir->is_sentry, true, memory_order_release);
		line_nudge(heir->segment, &heir->place);
	}
	pthread_mutex_unlock(&weir->mutex);
}

/* The wait of one call. */
struct wait {
	struct weir_endpoint *endpoint;
	struct try try;
	struct in_line self;
	uint64_t deadline;
	uint64_t suspect; /* ticket of who was first and called when the sentry looked last */
	uint64_t from_ns;
	bool in_line;
	bool slept;
};

static void leave(struct wait *wait)
{
	if (!wait->in_line)
		return;
	wait->in_line = false;
	line_leave(wait->self.segment, &wait->self.place);
	crew_leave(wait->endpoint->weir, &wait->self);
}

/* Has whoever comes next look, if there is something left to take. */
static void leave_and_call(struct wait *wait)
{
	bool was_in_line = wait->in_line;

	leave(wait);
	if (was_in_line)
		permits_call(&wait->try.binding->attachment->segment, wait->try.binding->row);
}

/* A place in the line of the present binding. A chain that moved to another row keeps its line. */
static int enter_line(struct wait *wait)
{
	struct permit_chain chain;
	const struct segment *segment = &wait->try.binding->attachment->segment;

	if (chain_find(segment, wait->try.binding->row, &chain) != PERMIT_TAKEN) {
		leave(wait);
		return 0;
	}
	if (wait->in_line) {
		if (wait->self.segment == segment &&
		    place_head(wait->self.place.ticket) == chain.head &&
		    line_holds(segment, &wait->self.place))
			return 0;
		leave(wait);
	}

	int status = line_join(segment, chain.head, wait->try.owner, false, &wait->self.place);

	if (status < 0)
		return status;
	wait->self.segment = segment;
	wait->in_line = true;
	crew_join(wait->endpoint->weir, &wait->self);
	return 0;
}

/*
 * The sentry's round: who is first and was not called, though a permit is free, is called; who was
 * called and has not come since the last round is dead, or stopped, and others go before him.
 */
static void sentry_round(struct wait *wait)
{
	const struct segment *segment = wait->self.segment;
	struct line_first first;

	permits_call(segment, wait->try.binding->row);
	if (!line_find_first(segment, place_head(wait->self.place.ticket), &first) ||
	    first.ticket == wait->self.place.ticket || first.state != WAITER_CALLED) {
		wait->suspect = 0;
		return;
	}
	if (wait->suspect != first.ticket) {
		wait->suspect = first.ticket;
		return;
	}
	wait->suspect = 0;
	line_pass_over(segment, &first);
	permits_call(segment, wait->try.binding->row);
}

static uint64_t sleep_ns(const struct wait *wait, enum permit_result result)
{
	const struct segment *segment = wait->self.segment;
	uint64_t left = ticks_to_ns(segment, ticks_left(segment, wait->deadline));
	/* acquire: pairs with the release in crew_leave() */
	bool often = result == PERMIT_NONE ||
		     atomic_load_explicit(&wait->self.is_sentry, memory_order_acquire);
	uint64_t most = often ? LOOK_AGAIN_NS : LOOK_SELDOM_NS;

	/* on a manual clock time passes by its moves alone */
	if (segment->time.kind == CLOCK_KIND_MANUAL)
		return most;
	return left < most ? left : most;
}

static bool sleep_on(const void *word, uint32_t value, uint64_t ns)
{
	const struct timespec pause = {(time_t)(ns / WEIR_SECOND), (long)(ns % WEIR_SECOND)};

	return syscall(SYS_futex, word, FUTEX_WAIT, value, &pause, NULL, 0) < 0 &&
	       errno == ETIMEDOUT;
}

/* Read before everything that is decided by; what changes afterwards ends the sleep. */
struct watch {
	const void *word;
	uint32_t value;
};

static struct watch watch_begin(const struct wait *wait)
{
	const struct segment *segment = wait->self.segment;
	uint32_t value = line_look(segment, &wait->self.place);

	if (segment->time.kind == CLOCK_KIND_MANUAL)
		return (struct watch){
			segment->time.manual_moves,
			/* acquire: pairs with the release in time_source_nudge() */
			atomic_load_explicit(segment->time.manual_moves, memory_order_acquire),
		};
	return (struct watch){&segment->waiters[wait->self.place.index].wake, value};
}

enum wait_step {
	STEP_DONE,
	STEP_LATE,
	STEP_AGAIN,
	STEP_FAULT,
};

static bool look_around(struct wait *wait, enum permit_result result, bool timed_out)
{
	bool sentry = atomic_load_explicit(&wait->self.is_sentry, memory_order_relaxed);

	if (result == PERMIT_NONE)
		return look_for_dead(wait->endpoint, wait->try.binding);
	if (!sentry || !timed_out)
		return false;
	sentry_round(wait);
	return look_for_dead(wait->endpoint, wait->try.binding);
}

/* One look, and one sleep if it was for nothing. */
static enum wait_step wait_step(struct wait *wait, enum permit_result *result, bool *timed_out)
{
	struct watch watch = watch_begin(wait);

	/* once more, now that a change would be noticed */
	if (!is_current(wait->try.binding))
		return STEP_AGAIN;
	*result = try_take(wait->endpoint, &wait->self.place, &wait->try);
	if (*result == PERMIT_TAKEN || *result == PERMIT_UNLIMITED)
		return STEP_DONE;
	if (*result == PERMIT_DAMAGED)
		return STEP_FAULT;
	if (ticks_left(wait->self.segment, wait->deadline) == 0)
		return STEP_LATE;
	if (look_around(wait, *result, *timed_out)) {
		*timed_out = false;
		return STEP_AGAIN;
	}
	if (!wait->slept)
		weir_report(wait->endpoint->weir, WEIR_EVENT_WAIT, 0, wait->endpoint->name,
			    sleep_ns(wait, *result));
	wait->slept = true;
	*timed_out = sleep_on(watch.word, watch.value, sleep_ns(wait, *result));
	return STEP_AGAIN;
}

/* Waits in line, from a try that found none. */
static enum wait_step wait_in_line(struct wait *wait, enum permit_result *result)
{
	bool timed_out = false;

	for (;;) {
		enum wait_step step;

		wait->try.fault = find_binding(wait->endpoint, &wait->try.binding);
		if (wait->try.fault < 0)
			return STEP_FAULT;
		wait->try.owner = find_owner(wait->endpoint->weir, wait->try.binding->attachment);
		wait->try.fault = wait->try.owner ? enter_line(wait) : WEIR_EMEMBERS;
		if (wait->try.fault < 0)
			return STEP_FAULT;
		if (wait->in_line) {
			step = wait_step(wait, result, &timed_out);
		} else {
			/* there is no limit any more */
			*result = try_take(wait->endpoint, NULL, &wait->try);
			step = *result == PERMIT_TAKEN || *result == PERMIT_UNLIMITED ? STEP_DONE
			       : *result == PERMIT_DAMAGED			      ? STEP_FAULT
										      : STEP_AGAIN;
		}
		if (step != STEP_AGAIN)
			return step;
	}
}

static uint64_t slept_ns(const struct wait *wait)
{
	return wait->slept ? segment_now_ns(&wait->try.binding->attachment->segment) - wait->from_ns
			   : 0;
}

static enum weir_verdict take_late(struct weir_endpoint *endpoint, const struct try *try,
				   uint64_t timeout_ns, struct weir_permit *out,
				   struct weir_answer *answer)
{
	const struct segment *segment = &try->binding->attachment->segment;
	struct wait wait = {
		.endpoint = endpoint,
		.try = *try,
		.deadline = deadline_after(segment, timeout_ns),
		.from_ns = segment_now_ns(segment),
	};
	enum permit_result result = PERMIT_NONE;
	enum wait_step step = wait_in_line(&wait, &result);

	leave_and_call(&wait);
	switch (step) {
	case STEP_DONE:
		return admitted(&wait.try, result, slept_ns(&wait), out, answer);
	case STEP_LATE:
	case STEP_AGAIN:
		return refused(&wait.try, 0, WEIR_REASON_DEADLINE, answer);
	case STEP_FAULT:
		break;
	}
	if (wait.try.fault == WEIR_EWAITERS)
		return refused(&wait.try, WEIR_EWAITERS, WEIR_REASON_QUEUE, answer);
	return faulty(endpoint, wait.try.fault, out, answer);
}

enum weir_verdict weir_permit_take(struct weir_endpoint *endpoint, uint64_t timeout_ns,
				   struct weir_permit *out, struct weir_answer *answer)
{
	struct try try = {.binding = endpoint_binding(endpoint)};
	enum permit_result result;

	/* without a limit one load says so */
	if (is_current(try.binding) && permits_are_unlimited(try.binding->row))
		return admitted(&try, PERMIT_UNLIMITED, 0, out, answer);
	result = try_take(endpoint, NULL, &try);
	if ((result == PERMIT_NONE || result == PERMIT_BEHIND) &&
	    look_for_dead(endpoint, try.binding))
		result = try_take(endpoint, NULL, &try);
	switch (result) {
	case PERMIT_TAKEN:
	case PERMIT_UNLIMITED:
		return admitted(&try, result, 0, out, answer);
	case PERMIT_DAMAGED:
		return faulty(endpoint, try.fault, out, answer);
	case PERMIT_NONE:
	case PERMIT_BEHIND:
	case PERMIT_MOVED:
		break;
	}
	if (timeout_ns)
		return take_late(endpoint, &try, timeout_ns, out, answer);
	return refused(&try, 0, WEIR_REASON_PERMIT, answer);
}

/* ---- giving back ---- */

/* Held longer than it may be, as far as its own value tells. */
static bool is_overdue(const struct segment *segment, const struct permit *permit)
{
	if (permit->row >= segment->row_count)
		return false;

	/* acquire: pairs with the release in permit_terms_store() */
	uint64_t hold_ns = atomic_load_explicit(&segment->rows[permit->row].permit_hold_ns,
						memory_order_acquire);
	uint64_t now = segment_now(segment);

	return hold_ns && now > permit->ticks &&
	       ticks_to_ns(segment, now - permit->ticks) > hold_ns;
}

/* Where the permit is kept, if it is this process's. Returns 0, or why it is not. */
static int permit_find(struct weir_endpoint *endpoint, const struct permit *permit,
		       struct attachment **out)
{
	struct binding *binding;

	if (permit->word == 0)
		return WEIR_ESPENT;
	/* a child must know that it is one */
	if (!is_current(endpoint_binding(endpoint)))
		find_binding(endpoint, &binding);
	*out = attachment_of(endpoint->weir, permit->pair);
	return *out ? 0 : WEIR_ESTRANGER;
}

static bool is_left(const struct weir *weir, const struct attachment *at)
{
	/* acquire: pairs with the release in attachment_follow() */
	return at != atomic_load_explicit(&weir->current, memory_order_acquire);
}

static bool is_of_nobody(const struct weir_permit *value)
{
	struct permit permit;

	memcpy(&permit, value, sizeof(permit));
	return permit.word && permit.index == PERMIT_OF_NOBODY;
}

int weir_permit_release(struct weir_endpoint *endpoint, struct weir_permit *value)
{
	struct permit permit;
	struct attachment *at;
	int status;

	if (is_of_nobody(value)) {
		memset(value, 0, sizeof(*value));
		return 0;
	}
	memcpy(&permit, value, sizeof(permit));
	status = permit_find(endpoint, &permit, &at);
	if (status < 0)
		return status;
	/* acquire: pairs with the release in attachment_own() */
	if ((permit.word & PERMIT_OWNER) != atomic_load_explicit(&at->owner, memory_order_acquire))
		return WEIR_ESTRANGER;
	memset(value, 0, sizeof(*value));
	status = permits_release(&at->segment, permit.index, permit.word);
	/* it went with the slot when the pair was replaced, which nobody takes from any more */
	if (status == WEIR_ESPENT && is_left(endpoint->weir, at))
		return 0;
	return status == WEIR_ESPENT && is_overdue(&at->segment, &permit) ? WEIR_EEXPIRED : status;
}

int weir_permit_inherit(struct weir_endpoint *endpoint, struct weir_permit *value)
{
	struct permit permit;
	struct attachment *at;
	uint64_t owner;
	int status;

	memcpy(&permit, value, sizeof(permit));
	if (permit.word && permit.index == PERMIT_OF_NOBODY)
		return 0;
	status = permit_find(endpoint, &permit, &at);
	if (status < 0)
		return status;
	owner = find_owner(endpoint->weir, at);
	if (!owner)
		return WEIR_EMEMBERS;
	if ((permit.word & PERMIT_OWNER) == owner)
		return 0;
	/* relaxed: written by the fork handler, before this process had threads */
	if ((permit.word & PERMIT_OWNER) != atomic_load_explicit(&at->parent, memory_order_relaxed))
		return WEIR_ESTRANGER;
	status = permits_pass(&at->segment, permit.index, &permit.word, owner);
	if (status == WEIR_ESPENT && is_overdue(&at->segment, &permit))
		return WEIR_EEXPIRED;
	if (status == 0)
		memcpy(value, &permit, sizeof(permit));
	return status;
}

/* ---- with tokens ---- */

/* What can never pass, or not in time, need not wait for a permit. */
static bool tokens_can_come(struct weir_endpoint *endpoint, const struct ask *ask,
			    uint64_t deadline, struct attempt *attempt)
{
	struct ask look = *ask;

	look.look = true;
	if (attempt_take(endpoint, &look, 0, attempt) != ATTEMPT_REFUSED)
		return true; /* a fault is met again where it is answered */
	return attempt->wait_ticks != UINT64_MAX &&
	       attempt->wait_ticks <= ticks_left(&attempt->binding->attachment->segment, deadline);
}

enum weir_verdict weir_enter(struct weir_endpoint *endpoint, double cost, uint64_t timeout_ns,
			     struct weir_permit *out, struct weir_answer *answer)
{
	const struct segment *segment = &endpoint_binding(endpoint)->attachment->segment;
	const struct ask ask = ask_for(endpoint, cost);
	uint64_t deadline = deadline_after(segment, timeout_ns);
	uint64_t from_ns = segment_now_ns(segment);
	struct attempt attempt;
	enum weir_verdict verdict;
	uint64_t left_ns;

	if (!tokens_can_come(endpoint, &ask, deadline, &attempt))
		return answer_refused(endpoint, &attempt, 0, answer);
	verdict = weir_permit_take(endpoint, timeout_ns, out, answer);
	if (verdict != WEIR_ADMIT)
		return verdict;
	/* the pair may have been replaced: by the clock of the present one */
	segment = &endpoint_binding(endpoint)->attachment->segment;
	left_ns = timeout_ns == WEIR_FOREVER ? WEIR_FOREVER
					     : ticks_to_ns(segment, ticks_left(segment, deadline));
	verdict = timeout_ns ? weir_wait(endpoint, cost, left_ns, answer)
			     : weir_acquire(endpoint, cost, answer);
	if (verdict != WEIR_ADMIT)
		weir_permit_release(endpoint, out);
	else if (answer && answer->fault == 0 && timeout_ns)
		answer->wait_ns = segment_now_ns(segment) - from_ns;
	return verdict;
}

/* ---- looking ---- */

int weir_permit_look(struct weir_endpoint *endpoint, struct weir_permits *out)
{
	struct weir_permits permits = {.size = sizeof(permits)};
	struct binding *binding;
	struct permit_sum sum = {0};
	int status = find_binding(endpoint, &binding);

	if (status == 0)
		status =
			permits_look(&binding->attachment->segment, binding->row, &sum, NULL, NULL);
	if (status < 0)
		return status;
	permits.limit = sum.limit;
	permits.free = sum.free;
	permits.held = sum.held;
	permits.waiting = sum.waiting;
	permits.max_hold_ns = sum.hold_ns;
	/* a program built against an older header has a shorter struct */
	permits.size = out->size < sizeof(permits) ? out->size : sizeof(permits);
	memcpy(out, &permits, permits.size);
	return 0;
}

/* ---- for loops ---- */

/* Takes a place in the line of the present binding; without a limit, one that is none. */
static int queue(struct weir_endpoint *endpoint, struct waiting *out)
{
	struct permit_place place = {0};
	struct permit_chain chain;
	struct binding *binding;
	int status = find_binding(endpoint, &binding);
	uint64_t owner = status < 0 ? 0 : find_owner(endpoint->weir, binding->attachment);

	if (status < 0)
		return status;
	if (!owner)
		return WEIR_EMEMBERS;
	if (chain_find(&binding->attachment->segment, binding->row, &chain) == PERMIT_TAKEN)
		status = line_join(&binding->attachment->segment, chain.head, owner, true, &place);
	if (status < 0)
		return status;
	*out = (struct waiting){
		.pair = binding->attachment->segment.pair,
		.owner = place.owner,
		.ticket = place.ticket,
		.index = place.index,
	};
	return 0;
}

int weir_permit_queue(struct weir_endpoint *endpoint, struct weir_waiter *out)
{
	struct waiting waiting;
	int status = queue(endpoint, &waiting);

	if (status == 0)
		memcpy(out, &waiting, sizeof(waiting));
	return status;
}

static struct permit_place place_of(const struct waiting *waiting)
{
	return (struct permit_place){waiting->index, waiting->owner, waiting->ticket};
}

/* false: it was left, or the place is another process's. */
static bool unqueue(struct weir_endpoint *endpoint, const struct waiting *waiting)
{
	struct attachment *at = attachment_of(endpoint->weir, waiting->pair);
	struct permit_place place = place_of(waiting);

	if (waiting->ticket == 0)
		return true;
	/* acquire: pairs with the release in attachment_own() */
	return at &&
	       (place.owner & PERMIT_OWNER) ==
		       atomic_load_explicit(&at->owner, memory_order_acquire) &&
	       line_leave(&at->segment, &place);
}

int weir_permit_unqueue(struct weir_endpoint *endpoint, struct weir_waiter *value)
{
	struct waiting waiting;
	struct binding *binding;

	memcpy(&waiting, value, sizeof(waiting));
	memset(value, 0, sizeof(*value));
	if (find_binding(endpoint, &binding) < 0)
		binding = endpoint_binding(endpoint);
	if (waiting.pair == 0 || !unqueue(endpoint, &waiting))
		return WEIR_ESPENT;
	permits_call(&binding->attachment->segment, binding->row);
	return 0;
}

/* The place is in the line that the name leads to now, or gets one there. Returns 0 or a fault. */
static int poll_follow(struct weir_endpoint *endpoint, struct waiting *waiting)
{
	struct permit_place place = place_of(waiting);
	struct permit_chain chain;
	struct binding *binding;
	int status = find_binding(endpoint, &binding);

	if (status < 0)
		return status;

	const struct segment *segment = &binding->attachment->segment;
	bool limited = chain_find(segment, binding->row, &chain) == PERMIT_TAKEN;

	if (waiting->pair == segment->pair && limited == (waiting->ticket != 0) &&
	    (!limited || place_head(waiting->ticket) == chain.head))
		return !limited || line_holds(segment, &place) ? 0 : WEIR_ESPENT;
	unqueue(endpoint, waiting);
	return queue(endpoint, waiting);
}

enum weir_verdict weir_permit_poll(struct weir_endpoint *endpoint, struct weir_waiter *value,
				   struct weir_permit *out, struct weir_answer *answer)
{
	struct waiting waiting;
	struct permit_place place;
	enum permit_result result;
	struct try try;
	int status;

	memcpy(&waiting, value, sizeof(waiting));
	if (waiting.pair == 0)
		return answer_fault(endpoint, WEIR_ESPENT, answer);
	status = poll_follow(endpoint, &waiting);
	if (status < 0)
		return faulty(endpoint, status, out, answer);
	memcpy(value, &waiting, sizeof(waiting));
	place = place_of(&waiting);
	if (waiting.ticket)
		line_look(&endpoint_binding(endpoint)->attachment->segment, &place);
	result = try_take(endpoint, waiting.ticket ? &place : NULL, &try);
	if ((result == PERMIT_NONE || result == PERMIT_BEHIND) &&
	    look_for_dead(endpoint, try.binding))
		result = try_take(endpoint, waiting.ticket ? &place : NULL, &try);
	if (result == PERMIT_DAMAGED)
		return faulty(endpoint, try.fault, out, answer);
	if (result != PERMIT_TAKEN && result != PERMIT_UNLIMITED)
		return refused(&try, 0, WEIR_REASON_PERMIT, answer);
	weir_permit_unqueue(endpoint, value);
	return admitted(&try, result, 0, out, answer);
}

static uint32_t own_slot(struct weir *weir, const struct segment **out)
{
	pthread_mutex_lock(&weir->mutex);
	fork_rejoin(weir);

	/* relaxed: under the mutex */
	const struct attachment *at = atomic_load_explicit(&weir->current, memory_order_relaxed);
	uint32_t slot = at->slot;

	*out = &at->segment;
	pthread_mutex_unlock(&weir->mutex);
	return slot;
}

int weir_permit_listen(struct weir *weir, uint32_t *bell, uint64_t timeout_ns)
{
	const struct segment *segment;
	uint32_t slot = own_slot(weir, &segment);
	const uint64_t most = timeout_ns < LOOK_SELDOM_NS ? timeout_ns : LOOK_SELDOM_NS;

	if (slot == MEMBER_NONE)
		return WEIR_EMEMBERS;

	const _Atomic uint32_t *word = &segment->members[slot].bell;

	sleep_on(word, *bell, most);

	/* acquire: pairs with the release in line_ring() */
	uint32_t now = atomic_load_explicit(word, memory_order_acquire);
	int rang = now != *bell;

	*bell = now;
	return rang;
}

void weir_permit_ring(struct weir *weir)
{
	const struct segment *segment;
	uint32_t slot = own_slot(weir, &segment);

	if (slot != MEMBER_NONE)
		line_ring(segment, slot);
}
