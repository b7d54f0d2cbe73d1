/* SPDX-License-Identifier: Apache-2.0
 *
 * turn.c - waiting in line without sleeping: weir_wait in steps.
 *
 * The steps are those of wait_take(), and so are the places, the counts and what a process that is
 * killed here leaves. Where that one sleeps on a futex, these return: the caller has a loop to run.
 * It cannot be woken by a word in shared memory, so it is told to look again before long. That is
 * cheaper than a thread for it that sleeps on the words: a look costs about as much as a refused
 * call, and every endpoint has words of its own.
 */
#include "handle.h"

#include <stddef.h>
#include <string.h>

#define LOOK_AGAIN_NS (WEIR_SECOND / 10)
#define LOOK_AGAIN_MANUAL_NS WEIR_MILLISECOND

enum turn_state {
	TURN_OVER = 0,	   /* refused or left, or never begun */
	TURN_AWAY = 1,	   /* without a place: closed, or of a class that must leave something */
	TURN_IN_LINE = 2,  /* at `place` */
	TURN_ADMITTED = 3, /* its tokens were taken; `place` is where */
};

/* What a struct weir_turn holds. */
struct turn {
	uint64_t look_ns;
	struct place_in_line place;
	uint64_t deadline;
	uint64_t from_ns; /* slept: since */
	double cost;
	uint32_t state; /* enum turn_state */
	uint32_t told;	/* enum weir_event_kind: of which wait; 0 of none */
	bool slept;
};

_Static_assert(sizeof(struct turn) <= sizeof(struct weir_turn), "a turn holds a wait");

static struct turn turn_load(const struct weir_turn *from)
{
	struct turn turn;

	memcpy(&turn, from, sizeof(turn));
	return turn;
}

static void turn_store(struct weir_turn *to, const struct turn *turn)
{
	memcpy(to, turn, sizeof(*turn));
}

static const struct segment *segment_of(struct weir_endpoint *endpoint)
{
	return &endpoint_binding(endpoint)->attachment->segment;
}

/* ---- answers ---- */

/* Not yet. The trace is told of each kind of wait when it begins. */
static enum weir_verdict under_way(struct weir_endpoint *endpoint, struct turn *turn,
				   uint64_t ticks, uint32_t event, struct weir_answer *answer)
{
	const struct segment *segment = segment_of(endpoint);
	bool manual = segment->time.kind == CLOCK_KIND_MANUAL;
	uint64_t wait_ns = ticks_to_ns(segment, ticks);

	if (turn->told != event)
		weir_report(endpoint->weir, (int32_t)event, 0, endpoint->name, wait_ns);
	turn->told = event;
	if (!turn->slept)
		turn->from_ns = segment_now_ns(segment);
	turn->slept = true;
	turn->look_ns = manual			  ? LOOK_AGAIN_MANUAL_NS
			: wait_ns < LOOK_AGAIN_NS ? wait_ns
						  : LOOK_AGAIN_NS;
	if (answer)
		*answer = (struct weir_answer){.wait_ns = wait_ns, .reason = WEIR_REASON_TURN};
	return WEIR_REFUSE;
}

static enum weir_verdict admitted(struct weir_endpoint *endpoint, struct turn *turn,
				  const struct attempt *attempt, struct weir_answer *answer)
{
	const struct segment *segment = segment_of(endpoint);
	uint64_t slept_ns = turn->slept ? segment_now_ns(segment) - turn->from_ns : 0;

	turn->state = TURN_ADMITTED;
	if (turn->slept)
		wait_count(attempt, slept_ns);
	return answer_admitted(attempt, slept_ns, ticks_left(segment, turn->deadline), answer);
}

static enum weir_verdict refused(struct weir_endpoint *endpoint, struct turn *turn,
				 const struct attempt *attempt, struct weir_answer *answer)
{
	turn->state = TURN_OVER;
	return answer_refused(endpoint, attempt, ticks_left(segment_of(endpoint), turn->deadline),
			      answer);
}

/* What the policy admits holds no place, and gives nothing back. */
static enum weir_verdict faulty(struct weir_endpoint *endpoint, struct turn *turn, int fault,
				struct weir_answer *answer)
{
	turn->state = TURN_OVER;
	return answer_fault(endpoint, fault, answer);
}

/* ---- steps ---- */

/* The place as an attempt that took it just now: its answer tells what is left behind it. */
static void attempt_of(struct weir_endpoint *endpoint, const struct place_in_line *place,
		       struct attempt *out)
{
	struct binding *binding = endpoint_binding(endpoint);

	*out = (struct attempt){
		.binding = binding,
		.units = place->units,
		.class_name = endpoint->class_name,
		.mark.mark = bucket_look(binding->bucket),
	};
	out->now = line_read(binding->row, &binding->time, &out->line);
	out->v = line_value(&out->line, out->now);
	if (out->line.flags & LINE_WINDOW)
		windows_see(out);
}

/* Its turn moved beyond the deadline: what may go back goes, and the wait is that of the place. */
static enum weir_verdict too_late(struct weir_endpoint *endpoint, struct turn *turn,
				  struct weir_answer *answer)
{
	struct attempt attempt;

	place_undo(endpoint, &turn->place, turn->place.units);
	attempt_of(endpoint, &turn->place, &attempt);
	attempt.wait_ticks = line_due_ticks(&attempt.line, attempt.now, turn->place.position);
	attempt.reason = WEIR_REASON_DEADLINE;
	return refused(endpoint, turn, &attempt, answer);
}

/* In line. *again: the place is none any more, and another is to be taken. */
static enum weir_verdict step_in_line(struct weir_endpoint *endpoint, struct turn *turn,
				      bool *again, struct weir_answer *answer)
{
	struct attempt attempt;
	uint64_t ticks = 0;
	int fault = 0;

	switch (place_look(endpoint, &turn->place, turn->deadline, &ticks, &fault)) {
	case LOOK_DUE:
		attempt_of(endpoint, &turn->place, &attempt);
		return admitted(endpoint, turn, &attempt, answer);
	case LOOK_LATE:
		return too_late(endpoint, turn, answer);
	case LOOK_SLEEP:
		return under_way(endpoint, turn, ticks, WEIR_EVENT_WAIT, answer);
	case LOOK_FAULT:
		return faulty(endpoint, turn, fault, answer);
	case LOOK_VOID:
	case LOOK_AGAIN:
		break;
	}
	turn->state = TURN_AWAY;
	turn->told = 0;
	*again = true;
	return WEIR_REFUSE;
}

/* Without a place. *again: it has taken one that is not due. */
static enum weir_verdict step_away(struct weir_endpoint *endpoint, struct turn *turn, bool *again,
				   struct weir_answer *answer)
{
	const struct ask ask = ask_for(endpoint, turn->cost);
	struct attempt attempt;

	switch (attempt_take(endpoint, &ask, ticks_left(segment_of(endpoint), turn->deadline),
			     &attempt)) {
	case ATTEMPT_ADMITTED:
		place_take(&attempt, &turn->place);
		if (!must_sleep(&attempt))
			return admitted(endpoint, turn, &attempt, answer);
		turn->state = TURN_IN_LINE;
		*again = true;
		return WEIR_REFUSE;
	case ATTEMPT_REFUSED:
		if (attempt.reason == WEIR_REASON_CLOSED) {
			if (opens_in_time(&attempt, turn->deadline))
				return under_way(endpoint, turn,
						 (attempt.gate & GATE_UNTIL) - attempt.now,
						 WEIR_EVENT_CLOSED, answer);
		} else if (leaves_in_time(&attempt, turn->deadline)) {
			return under_way(endpoint, turn, attempt.wait_ticks, WEIR_EVENT_WAIT,
					 answer);
		}
		return refused(endpoint, turn, &attempt, answer);
	case ATTEMPT_AGAIN:
	case ATTEMPT_FAULT:
		break;
	}
	return faulty(endpoint, turn, attempt.fault, answer);
}

static enum weir_verdict step(struct weir_endpoint *endpoint, struct turn *turn,
			      struct weir_answer *answer)
{
	for (;;) {
		bool again = false;
		enum weir_verdict verdict = turn->state == TURN_IN_LINE
						    ? step_in_line(endpoint, turn, &again, answer)
						    : step_away(endpoint, turn, &again, answer);

		if (!again)
			return verdict;
	}
}

enum weir_verdict weir_turn_begin(struct weir_endpoint *endpoint, double cost, uint64_t timeout_ns,
				  struct weir_turn *out, struct weir_answer *answer)
{
	struct attempt attempt;

	if (attempt_at_once(endpoint, cost, &attempt)) {
		const uint32_t state = TURN_ADMITTED;
		struct place_in_line place;

		/* of a turn that has come, nothing else is asked for any more */
		place_take(&attempt, &place);
		memcpy((char *)out + offsetof(struct turn, place), &place, sizeof(place));
		memcpy((char *)out + offsetof(struct turn, state), &state, sizeof(state));
		answer_at_once(&attempt, answer);
		return WEIR_ADMIT;
	}

	const struct segment *segment = segment_of(endpoint);
	struct turn turn = {
		.deadline = deadline_after(segment, timeout_ns),
		.cost = cost,
		.state = TURN_AWAY,
	};
	enum weir_verdict verdict = step(endpoint, &turn, answer);

	turn_store(out, &turn);
	return verdict;
}

enum weir_verdict weir_turn_poll(struct weir_endpoint *endpoint, struct weir_turn *turn,
				 struct weir_answer *answer)
{
	struct turn of = turn_load(turn);
	enum weir_verdict verdict;

	if (of.state != TURN_AWAY && of.state != TURN_IN_LINE)
		return answer_fault(endpoint, WEIR_ESPENT, answer);
	verdict = step(endpoint, &of, answer);
	turn_store(turn, &of);
	return verdict;
}

int weir_turn_leave(struct weir_endpoint *endpoint, struct weir_turn *turn, double *returned)
{
	struct turn of = turn_load(turn);
	double back = 0;

	if (of.state == TURN_OVER || of.state > TURN_ADMITTED)
		return WEIR_ESPENT;
	/* what was admitted has been counted as granted */
	if (of.state == TURN_IN_LINE)
		back = place_undo(endpoint, &of.place, of.place.units);
	else if (of.state == TURN_ADMITTED)
		back = place_return(endpoint, &of.place, of.place.units);
	of.state = TURN_OVER;
	turn_store(turn, &of);
	if (returned)
		*returned = back;
	return 0;
}

int weir_turn_settle(struct weir_endpoint *endpoint, struct weir_turn *turn, double actual_cost)
{
	struct turn of = turn_load(turn);
	int status;

	if (of.state != TURN_ADMITTED)
		return WEIR_ESPENT;
	status = place_settle(endpoint, &of.place, actual_cost);
	if (status == 0)
		of.state = TURN_OVER;
	turn_store(turn, &of);
	return status;
}
