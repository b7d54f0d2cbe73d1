/* SPDX-License-Identifier: Apache-2.0
 *
 * permit_wait.c - waiting in line for a permit.
 *
 * Who waits sleeps on the futex word of its own place, and is called when it is first. In each
 * line one thread of each process (its sentry, the last to come) and whoever is first look again
 * every 100 ms: a call that got lost with who was to make it costs no more than that, nor does a
 * process at the head that is stopped and does not come.
 */
#include "permit_try.h"

/* A thread in line. */
struct in_line {
	const struct segment *segment; /* of the place */
	struct permit_place place;
	_Atomic bool is_sentry;
	struct in_line *next;
};

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
	/* relaxed: under the mutex */
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
	struct permit_try try;
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
	uint64_t most = often ? PERMIT_LOOK_AGAIN_NS : PERMIT_LOOK_SELDOM_NS;

	/* on a manual clock time passes by its moves alone */
	if (segment->time.kind == CLOCK_KIND_MANUAL)
		return most;
	return left < most ? left : most;
}

/* Read before everything that is decided by; what changes afterwards ends the sleep. */
struct watch {
	const void *word; /* to sleep on */
	uint32_t look;	  /* the place's own */
	uint32_t moves;	  /* of a manual clock */
};

static struct watch watch_begin(const struct wait *wait)
{
	const struct segment *segment = wait->self.segment;
	struct watch watch = {
		.look = line_look(segment, &wait->self.place),
		.word = &segment->waiters[wait->self.place.index].wake,
	};

	if (segment->time.kind == CLOCK_KIND_MANUAL) {
		watch.word = segment->time.manual_moves;
		/* acquire: pairs with the release in time_source_nudge() */
		watch.moves =
			atomic_load_explicit(segment->time.manual_moves, memory_order_acquire);
	}
	return watch;
}

/* Sleeps until something has changed; true: until the time was over. Not if he was called. */
static bool watch_sleep(const struct wait *wait, struct watch *watch, uint64_t ns)
{
	const struct segment *segment = wait->self.segment;

	if (!line_rest(segment, &wait->self.place, &watch->look))
		return false;
	return permit_sleep(watch->word,
			    segment->time.kind == CLOCK_KIND_MANUAL ? watch->moves : watch->look,
			    ns);
}

enum wait_step {
	STEP_DONE,
	STEP_LATE,
	STEP_AGAIN,
	STEP_FAULT,
};

static bool look_around(struct wait *wait, enum permit_result result, bool timed_out)
{
	/* relaxed: one who has just become it has a round the next time */
	bool sentry = atomic_load_explicit(&wait->self.is_sentry, memory_order_relaxed);

	if (result == PERMIT_NONE)
		return permit_look_for_dead(wait->endpoint, wait->try.binding);
	if (!sentry || !timed_out)
		return false;
	sentry_round(wait);
	return permit_look_for_dead(wait->endpoint, wait->try.binding);
}

/* One look, and one sleep if it was for nothing. */
static enum wait_step wait_step(struct wait *wait, enum permit_result *result, bool *timed_out)
{
	struct watch watch = watch_begin(wait);

	/* once more, now that a change would be noticed */
	if (!permit_is_current(wait->try.binding))
		return STEP_AGAIN;
	*result = permit_try_take(wait->endpoint, &wait->self.place, &wait->try);
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
	*timed_out = watch_sleep(wait, &watch, sleep_ns(wait, *result));
	return STEP_AGAIN;
}

/* Waits in line, from a try that found none. */
static enum wait_step wait_in_line(struct wait *wait, enum permit_result *result)
{
	bool timed_out = false;

	for (;;) {
		enum wait_step step;

		wait->try.fault = permit_binding(wait->endpoint, &wait->try.binding);
		if (wait->try.fault < 0)
			return STEP_FAULT;
		wait->try.owner =
			permit_find_owner(wait->endpoint->weir, wait->try.binding->attachment);
		wait->try.fault = wait->try.owner ? enter_line(wait) : WEIR_EMEMBERS;
		if (wait->try.fault < 0)
			return STEP_FAULT;
		if (wait->in_line) {
			step = wait_step(wait, result, &timed_out);
		} else {
			/* there is no limit any more */
			*result = permit_try_take(wait->endpoint, NULL, &wait->try);
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

enum weir_verdict permit_wait(struct weir_endpoint *endpoint, const struct permit_try *try,
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
		return permit_admitted(&wait.try, result, slept_ns(&wait), out, answer);
	case STEP_LATE:
	case STEP_AGAIN:
		return permit_refused(&wait.try, 0, WEIR_REASON_DEADLINE, answer);
	case STEP_FAULT:
		break;
	}
	if (wait.try.fault == WEIR_EWAITERS)
		return permit_refused(&wait.try, WEIR_EWAITERS, WEIR_REASON_QUEUE, answer);
	return permit_faulty(endpoint, wait.try.fault, out, answer);
}
