/* SPDX-License-Identifier: Apache-2.0
 *
 * wait.c - sleeping until a place in line is due.
 *
 * A place is a position on the token clock. Its holder sleeps on the row's generation, which
 * every publication bumps, and computes its time anew from the same position; behind a closed
 * gate it sleeps on the gate word; on a manual clock on the word that counts its moves.
 */
#include "handle.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tally.h"

/* A bound on one sleep, so that a lost wake-up (a publisher killed before it) is not for ever. */
#define SLEEP_MAX_NS (60ull * WEIR_SECOND)

uint64_t ticks_to_ns(const struct segment *segment, uint64_t ticks)
{
	struct line clock;

	if (ticks == UINT64_MAX || segment->time.kind != CLOCK_KIND_TSC)
		return ticks;
	segment_clock(segment, &clock);
	return line_ticks_to_ns(&clock, ticks);
}

uint64_t deadline_after(const struct segment *segment, uint64_t timeout_ns)
{
	const uint64_t last = UINT64_MAX - 1;
	uint64_t ticks = timeout_ns;

	/* who waits for ever need not know what time it is */
	if (timeout_ns == UINT64_MAX)
		return UINT64_MAX;

	uint64_t now = segment_now(segment);

	if (segment->time.kind == CLOCK_KIND_TSC) {
		struct line clock;

		segment_clock(segment, &clock);
		ticks = line_ns_to_ticks(&clock, timeout_ns);
	}
	/* whatever the clock says, what has an end does not become for ever */
	return now > last || ticks > last - now ? last : now + ticks;
}

uint64_t ticks_left(const struct segment *segment, uint64_t deadline)
{
	if (deadline == UINT64_MAX)
		return UINT64_MAX;

	uint64_t now = segment_now(segment);

	return deadline > now ? deadline - now : 0;
}

/* Sleeps on a word while it has that value, at most so many ticks. Wakes early at will. */
static void sleep_on(const struct segment *segment, const void *word, uint32_t value,
		     uint64_t ticks)
{
	uint64_t ns = ticks_to_ns(segment, ticks);

	if (ns > SLEEP_MAX_NS)
		ns = SLEEP_MAX_NS;

	const struct timespec pause = {(time_t)(ns / WEIR_SECOND), (long)(ns % WEIR_SECOND)};

	syscall(SYS_futex, word, FUTEX_WAIT, value, &pause, NULL, 0);
}

/*
 * What a sleeper watches, read before the clock and everything else it decides by: whatever
 * changes afterwards changes the word, and the sleep does not begin.
 */
struct watch {
	const void *word;
	uint32_t value;
};

static struct watch watch_begin(const struct segment *segment, const struct rule_row *row)
{
	if (segment->time.kind == CLOCK_KIND_MANUAL)
		return (struct watch){
			segment->time.manual_moves,
			/* acquire: pairs with the release in time_source_nudge() */
			atomic_load_explicit(segment->time.manual_moves, memory_order_acquire),
		};
	/* the low half of a little-endian word; acquire: pairs with line_publish() */
	return (struct watch){
		&row->generation,
		(uint32_t)atomic_load_explicit(&row->generation, memory_order_acquire),
	};
}

/* On a manual clock time passes by its moves alone, but nothing is slept on for ever. */
static void watch_sleep(const struct segment *segment, const struct watch *watch, uint64_t ticks)
{
	if (segment->time.kind == CLOCK_KIND_MANUAL)
		ticks = SLEEP_MAX_NS;
	sleep_on(segment, watch->word, watch->value, ticks);
}

static void sleep_while_closed(const struct segment *segment, const struct bucket *bucket,
			       const struct watch *watch, uint64_t gate, uint64_t ticks)
{
	if (segment->time.kind == CLOCK_KIND_MANUAL)
		watch_sleep(segment, watch, ticks);
	else
		sleep_on(segment, &bucket->gate, (uint32_t)gate, ticks);
}

/* The readings one look at a place is made of. */
struct look {
	struct binding *binding;
	const struct segment *segment;
	struct line line;
	uint64_t now;
	uint64_t gate;
	struct watch watch;
	uint64_t ticks; /* LOOK_SLEEP: until it would be worth another look */
	bool closed;	/* that is when the endpoint opens */
};

static enum look_result look_closed(struct look *look, uint64_t deadline)
{
	uint64_t until = look->gate & GATE_UNTIL;

	if (until > deadline)
		return LOOK_LATE;
	look->closed = true;
	look->ticks = until - look->now;
	return LOOK_SLEEP;
}

static enum look_result look_at(struct look *look, struct place_in_line *place, uint64_t deadline)
{
	/* in shadow mode nobody is held up */
	if (look->line.flags & LINE_SHADOW)
		return LOOK_DUE;
	if (gate_is_closed(look->gate, look->now))
		return look_closed(look, deadline);
	if (!gate_is_settled(look->gate)) {
		gate_settle(look->binding->bucket, look->gate, &look->line);
		return LOOK_AGAIN;
	}
	if (gate_voids(place->gate, look->gate, place->position, &look->line))
		return LOOK_VOID;
	place->gate = look->gate;

	uint64_t ticks = look->line.flags & LINE_UNLIMITED
				 ? 0
				 : line_due_ticks(&look->line, look->now, place->position);

	if (ticks == 0)
		return LOOK_DUE;
	if (deadline != UINT64_MAX &&
	    (ticks == UINT64_MAX || ticks > deadline - look->now || look->now > deadline))
		return LOOK_LATE;
	look->closed = false;
	look->ticks = ticks;
	return LOOK_SLEEP;
}

static enum look_result look_once(struct weir_endpoint *endpoint, struct place_in_line *place,
				  uint64_t deadline, struct look *look, int *fault)
{
	int status = place_follow(endpoint, place, &look->binding);

	if (status < 0) {
		*fault = status;
		return LOOK_FAULT;
	}
	if (status > 0)
		return LOOK_VOID;
	look->segment = &look->binding->attachment->segment;
	look->watch = watch_begin(look->segment, look->binding->row);
	/* once more, now that a change would be noticed */
	if (!binding_holds(look->binding))
		return LOOK_AGAIN;
	look->now = line_read(look->binding->row, &look->segment->time, &look->line);
	look->gate = gate_load(look->binding->bucket);
	return look_at(look, place, deadline);
}

static void look_sleep(const struct look *look)
{
	if (look->closed)
		sleep_while_closed(look->segment, look->binding->bucket, &look->watch, look->gate,
				   look->ticks);
	else
		watch_sleep(look->segment, &look->watch, look->ticks);
}

enum look_result place_look(struct weir_endpoint *endpoint, struct place_in_line *place,
			    uint64_t deadline, uint64_t *ticks, int *fault)
{
	enum look_result result;
	struct look look;

	do
		result = look_once(endpoint, place, deadline, &look, fault);
	while (result == LOOK_AGAIN);
	if (result == LOOK_SLEEP)
		*ticks = look.ticks;
	return result;
}

enum wait_result place_wait(struct weir_endpoint *endpoint, struct place_in_line *place,
			    uint64_t deadline, int *fault)
{
	for (;;) {
		struct look look;

		switch (look_once(endpoint, place, deadline, &look, fault)) {
		case LOOK_DUE:
			return WAIT_DUE;
		case LOOK_VOID:
			return WAIT_VOID;
		case LOOK_LATE:
			return WAIT_LATE;
		case LOOK_FAULT:
			return WAIT_FAULT;
		case LOOK_SLEEP:
			look_sleep(&look);
			break;
		case LOOK_AGAIN:
			break;
		}
	}
}

/* ---- weir_wait ---- */

static const struct segment *segment_of(struct weir_endpoint *endpoint)
{
	return &endpoint_binding(endpoint)->attachment->segment;
}

bool opens_in_time(const struct attempt *attempt, uint64_t deadline)
{
	return deadline == UINT64_MAX ||
	       (attempt->now <= deadline && attempt->wait_ticks <= deadline - attempt->now);
}

bool wait_for_gate(struct weir_endpoint *endpoint, const struct attempt *attempt, uint64_t deadline)
{
	const struct segment *segment = &attempt->binding->attachment->segment;
	struct watch watch = watch_begin(segment, attempt->binding->row);
	uint64_t now = segment_now(segment);
	uint64_t gate = gate_load(attempt->binding->bucket);

	/* a binding that is none any more: its gate moved, and nobody opens it here */
	if (!gate_is_closed(gate, now) || !binding_holds(attempt->binding))
		return true;
	if (!opens_in_time(attempt, deadline))
		return false;
	weir_report(endpoint->weir, WEIR_EVENT_CLOSED, 0, endpoint->name,
		    ticks_to_ns(segment, (gate & GATE_UNTIL) - now));
	sleep_while_closed(segment, attempt->binding->bucket, &watch, gate,
			   (gate & GATE_UNTIL) - now);
	return true;
}

bool leaves_in_time(struct attempt *attempt, uint64_t deadline)
{
	uint64_t at = attempt->now + attempt->wait_ticks;

	if (!attempt->leave || attempt->wait_ticks == UINT64_MAX)
		return false;
	if (at < attempt->now || at > deadline) {
		attempt->reason = WEIR_REASON_DEADLINE;
		return false;
	}
	return true;
}

/* Sleeps until a class may leave enough; false: not before the deadline. */
static bool wait_for_headroom(struct weir_endpoint *endpoint, struct attempt *attempt,
			      const struct watch *watch, uint64_t deadline)
{
	const struct segment *segment = &attempt->binding->attachment->segment;

	if (!leaves_in_time(attempt, deadline))
		return false;
	weir_report(endpoint->weir, WEIR_EVENT_WAIT, 0, endpoint->name,
		    ticks_to_ns(segment, attempt->wait_ticks));
	watch_sleep(segment, watch, attempt->wait_ticks);
	return true;
}

void wait_count(const struct attempt *attempt, uint64_t slept_ns)
{
	const struct binding *binding = attempt->binding;
	const struct tallies *tallies = &binding->attachment->segment.tallies;

	tally_count(tallies, binding->bucket_index, COUNT_WAITED_CALLS, attempt->units);
	tally_add(tallies, binding->bucket_index, COUNT_WAITED_NS, slept_ns);
}

bool must_sleep(const struct attempt *attempt)
{
	return !(attempt->line.flags & (LINE_UNLIMITED | LINE_SHADOW)) &&
	       (int64_t)(attempt->mark.mark - attempt->v) > (int64_t)attempt->line.burst_units;
}

/* Gives the place up; the attempt becomes a refused one. */
static void give_up(struct weir_endpoint *endpoint, struct attempt *attempt,
		    struct place_in_line *place)
{
	const struct line *line = &attempt->line;

	place_undo(endpoint, place, place->units);
	attempt->now = segment_now(&attempt->binding->attachment->segment);
	attempt->wait_ticks = line_due_ticks(line, attempt->now, attempt->mark.mark);
	attempt->reason = WEIR_REASON_DEADLINE;
}

/* Sleeps in line. WAIT_VOID: a new place must be taken. */
static enum wait_result wait_in_line(struct weir_endpoint *endpoint, struct attempt *attempt,
				     struct place_in_line *place, uint64_t deadline, int *fault)
{
	enum wait_result result;

	weir_report(endpoint->weir, WEIR_EVENT_WAIT, 0, endpoint->name,
		    ticks_to_ns(&attempt->binding->attachment->segment,
				line_due_ticks(&attempt->line, attempt->now, place->position)));
	result = place_wait(endpoint, place, deadline, fault);
	if (result == WAIT_LATE)
		give_up(endpoint, attempt, place);
	return result;
}

enum wait_result wait_take(struct weir_endpoint *endpoint, const struct ask *ask, uint64_t deadline,
			   struct attempt *attempt, struct place_in_line *place, bool *slept,
			   int *fault)
{
	*slept = false;
	for (;;) {
		const struct binding *binding = endpoint_binding(endpoint);
		struct watch watch = watch_begin(&binding->attachment->segment, binding->row);
		enum wait_result result;

		switch (attempt_take(endpoint, ask, ticks_left(segment_of(endpoint), deadline),
				     attempt)) {
		case ATTEMPT_REFUSED:
			/* resolved anew: what is to be watched is another row */
			if (attempt->leave && attempt->binding != binding)
				continue;
			if (attempt->reason == WEIR_REASON_CLOSED
				    ? !wait_for_gate(endpoint, attempt, deadline)
				    : !wait_for_headroom(endpoint, attempt, &watch, deadline))
				return WAIT_LATE;
			*slept = true;
			continue;
		case ATTEMPT_ADMITTED:
			place_take(attempt, place);
			if (!must_sleep(attempt))
				return WAIT_DUE;
			*slept = true;
			result = wait_in_line(endpoint, attempt, place, deadline, fault);
			if (result == WAIT_VOID)
				continue;
			return result;
		case ATTEMPT_AGAIN:
		case ATTEMPT_FAULT:
			*fault = attempt->fault;
			return WAIT_FAULT;
		}
	}
}

enum weir_verdict weir_wait(struct weir_endpoint *endpoint, double cost, uint64_t timeout_ns,
			    struct weir_answer *answer)
{
	const struct ask ask = ask_for(endpoint, cost);
	uint64_t deadline = deadline_after(segment_of(endpoint), timeout_ns);
	uint64_t from_ns = segment_now_ns(segment_of(endpoint));
	struct place_in_line place;
	struct attempt attempt;
	uint64_t slept_ns;
	int fault = 0;
	bool slept;

	switch (wait_take(endpoint, &ask, deadline, &attempt, &place, &slept, &fault)) {
	case WAIT_DUE:
		slept_ns = slept ? segment_now_ns(segment_of(endpoint)) - from_ns : 0;
		if (slept)
			wait_count(&attempt, slept_ns);
		return answer_admitted(&attempt, slept_ns,
				       ticks_left(segment_of(endpoint), deadline), answer);
	case WAIT_LATE:
		return answer_refused(endpoint, &attempt,
				      ticks_left(segment_of(endpoint), deadline), answer);
	case WAIT_VOID:
	case WAIT_FAULT:
		break;
	}
	return answer_fault(endpoint, fault, answer);
}

enum weir_verdict weir_execute(struct weir_endpoint *endpoint, double cost, uint64_t timeout_ns,
			       int (*work)(void *context), void *context, int *result,
			       struct weir_answer *answer)
{
	enum weir_verdict verdict = weir_wait(endpoint, cost, timeout_ns, answer);

	if (verdict == WEIR_ADMIT) {
		int status = work(context);

		if (result)
			*result = status;
	}
	return verdict;
}
