/* SPDX-License-Identifier: Apache-2.0
 *
 * reservation.c - places in line that a program keeps: reserve, wait, cancel, settle.
 */
#include "handle.h"

#include <math.h>
#include <string.h>

#include "move.h"
#include "tally.h"

_Static_assert(sizeof(struct place_in_line) == sizeof(struct weir_reservation),
	       "a reservation holds a place");

void place_take(const struct attempt *attempt, struct place_in_line *out)
{
	const struct binding *binding = attempt->binding;

	*out = (struct place_in_line){
		.pair = binding->attachment->segment.pair,
		.position = attempt->mark.mark,
		.units = attempt->units,
		.gate = attempt->gate,
		.row = binding->row_index,
		.bucket = binding->bucket_index,
		.k = attempt->line.k,
		.held = 1,
		.unpaid = attempt->unpaid_units != 0,
		.uncharged = attempt->line.flags & LINE_UNLIMITED ? 1 : 0,
		.key = attempt->key,
	};
}

static struct place_in_line place_load(const struct weir_reservation *reservation)
{
	struct place_in_line place;

	memcpy(&place, reservation, sizeof(place));
	return place;
}

static void place_store(struct weir_reservation *reservation, const struct place_in_line *place)
{
	memcpy(reservation, place, sizeof(*place));
}

struct attachment *attachment_of(struct weir *weir, uint64_t pair)
{
	struct attachment *at = atomic_load_explicit(&weir->current, memory_order_acquire);

	while (at && at->segment.pair != pair)
		at = at->previous;
	return at;
}

/* The place's mark has moved: translate, unless what happened meanwhile voids the place. */
static int place_move(struct weir_endpoint *endpoint, struct place_in_line *place,
		      struct binding *to)
{
	const struct attachment *at = attachment_of(endpoint->weir, place->pair);
	const struct segment *from = at ? &at->segment : NULL;
	const struct segment *segment = &to->attachment->segment;
	struct line line;

	if (!from || place->row >= from->row_count || place->bucket >= from->bucket_count)
		return 1;
	line_read(&from->rows[place->row], &from->time, &line);
	if (gate_voids(place->gate, gate_load(&from->buckets[place->bucket]), place->position,
		       &line))
		return 1;

	uint64_t position = move_position(from, place->bucket, segment, to->row_index,
					  to->bucket_index, place->position);

	if (position == 0)
		return 1;
	line_read(to->row, &segment->time, &line);
	place->units = line_rescale(place->units, place->k, line.k);
	place->pair = segment->pair;
	place->position = position;
	place->row = to->row_index;
	place->bucket = to->bucket_index;
	place->k = line.k;

	/* a closure that came along, or came since, still has to be weighed; and a reset that came
	 * since, for the count of resets came along: gate_inherit() */
	uint64_t gate = gate_load(to->bucket);

	if (!gate_is_settled(gate))
		gate = gate_before_closing(gate);
	place->gate = (gate & ~GATE_RESETS) | (place->gate & GATE_RESETS);
	return 0;
}

int place_follow(struct weir_endpoint *endpoint, struct place_in_line *place, struct binding **out)
{
	struct binding *binding = endpoint_binding(endpoint);

	if (!binding_is_current(binding)) {
		int status = endpoint_refresh(endpoint);

		if (status < 0)
			return status;
		binding = endpoint_binding(endpoint);
	}
	*out = binding;
	if (binding->attachment->segment.pair == place->pair && binding->row_index == place->row &&
	    binding->bucket_index == place->bucket)
		return 0;
	if (bucket_look(binding->bucket) == BUCKET_UNSET) {
		int status = endpoint_install(endpoint, binding);

		if (status < 0)
			return status;
	}
	return place_move(endpoint, place, binding);
}

/* One try, where the mark is now; false: it has moved on meanwhile. */
static bool return_here(struct weir_endpoint *endpoint, const struct binding *binding,
			const struct place_in_line *place, uint64_t units, bool count,
			double *tokens)
{
	const struct segment *segment = &binding->attachment->segment;
	struct line line;
	uint64_t now = line_read(binding->row, &segment->time, &line);

	*tokens = 0;
	/* what a reset or a closure has wiped out cannot go back a second time */
	if (gate_voids(place->gate, gate_load(binding->bucket), place->position, &line))
		return true;

	uint64_t back = place->key ? keys_give_back(binding, place, &line, now, units)
			: line.flags & LINE_WINDOW
				? bucket_give_back_window(binding->bucket, &line, now, units,
							  place->position)
				: bucket_give_back(binding->bucket, line_value(&line, now),
						   line.burst_units, units, place->position);

	if (back == 0 && bucket_load(binding->bucket) & BUCKET_FROZEN)
		return endpoint_refresh(endpoint) < 0;
	if (back && count)
		tally_add(&segment->tallies, binding->bucket_index, COUNT_RETURNED_UNITS, back);
	*tokens = (double)back / (double)(1ull << line.k);
	return true;
}

static double give_back(struct weir_endpoint *endpoint, struct place_in_line *place, uint64_t units,
			bool count)
{
	double tokens = 0;

	for (int tries = 0; tries < CALL_TRIES && !place->unpaid && !place->uncharged; tries++) {
		struct binding *binding;
		unsigned k = place->k;

		if (place_follow(endpoint, place, &binding) != 0)
			break;
		/* the place may have come to another unit; down: its mark was rounded up once,
		 * with all the places in it */
		units = place->k < k ? units >> (k - place->k) : line_rescale(units, k, place->k);
		if (units > place->units)
			units = place->units;
		if (return_here(endpoint, binding, place, units, count, &tokens))
			break;
	}
	return tokens;
}

double place_undo(struct weir_endpoint *endpoint, struct place_in_line *place, uint64_t units)
{
	return give_back(endpoint, place, units, false);
}

double place_return(struct weir_endpoint *endpoint, struct place_in_line *place, uint64_t units)
{
	return give_back(endpoint, place, units, true);
}

/*
 * What the policy admits holds no place: it gets one of no segment, for whole tokens, which its
 * holder's wait replaces and for which nothing goes back.
 */
static enum weir_verdict answer_unplaced(struct weir_endpoint *endpoint, double cost, int fault,
					 struct weir_reservation *out, struct weir_answer *answer)
{
	const struct place_in_line none = {
		.units = cost_units(cost, 1),
		.row = UINT32_MAX,
		.bucket = UINT32_MAX,
		.held = 1,
	};
	enum weir_verdict verdict = answer_fault(endpoint, fault, answer);

	if (verdict == WEIR_ADMIT)
		place_store(out, &none);
	return verdict;
}

enum weir_verdict weir_reserve(struct weir_endpoint *endpoint, double cost, uint64_t max_wait_ns,
			       struct weir_reservation *out, struct weir_answer *answer)
{
	const struct segment *segment = &endpoint_binding(endpoint)->attachment->segment;
	const struct ask ask = ask_for(endpoint, cost);
	uint64_t ahead = ticks_left(segment, deadline_after(segment, max_wait_ns));
	struct place_in_line place;
	struct attempt attempt;
	uint64_t wait_ns;

	switch (attempt_take(endpoint, &ask, ahead, &attempt)) {
	case ATTEMPT_REFUSED:
		return answer_refused(endpoint, &attempt, ahead, answer);
	case ATTEMPT_ADMITTED:
		break;
	case ATTEMPT_AGAIN:
	case ATTEMPT_FAULT:
		return answer_unplaced(endpoint, cost, attempt.fault, out, answer);
	}
	place_take(&attempt, &place);
	place_store(out, &place);
	wait_ns = attempt.line.flags & (LINE_UNLIMITED | LINE_SHADOW)
			  ? 0
			  : ticks_to_ns(&attempt.binding->attachment->segment,
					line_due_ticks(&attempt.line, attempt.now, place.position));
	return answer_admitted(&attempt, wait_ns, ahead, answer);
}

/* The answer's level for a place that is held: what is left behind it now. */
static void answer_place(struct weir_endpoint *endpoint, uint64_t wait_ns, int fault,
			 int32_t reason, struct weir_answer *answer)
{
	struct weir_level level = {.size = sizeof(level)};

	if (!answer)
		return;
	weir_peek(endpoint, &level);
	*answer = (struct weir_answer){
		.wait_ns = wait_ns,
		.level = level.level,
		.fault = fault,
		.reason = reason,
	};
}

/* Until the place is due, as things stand; WEIR_NEVER when it is none. */
static uint64_t place_wait_ns(struct weir_endpoint *endpoint, struct place_in_line *place)
{
	struct binding *binding;
	struct line line;

	if (place_follow(endpoint, place, &binding) != 0)
		return WEIR_NEVER;

	const struct segment *segment = &binding->attachment->segment;
	uint64_t now = line_read(binding->row, &segment->time, &line);
	uint64_t ticks =
		line.flags & LINE_UNLIMITED ? 0 : line_due_ticks(&line, now, place->position);
	uint64_t gate = gate_load(binding->bucket);

	if (gate_is_closed(gate, now) && (gate & GATE_UNTIL) - now > ticks)
		ticks = (gate & GATE_UNTIL) - now;
	return ticks_to_ns(segment, ticks);
}

/* A voided place is replaced by a new one, for the same units, at the end of the line. */
static enum attempt_result place_renew(struct weir_endpoint *endpoint, struct place_in_line *place,
				       uint64_t deadline, struct attempt *attempt)
{
	const struct segment *segment = &endpoint_binding(endpoint)->attachment->segment;
	struct ask ask = ask_for(endpoint, (double)place->units / (double)(1ull << place->k));
	enum attempt_result result;

	/* it was admitted once: a class need not leave anything for it again */
	ask.class_name = 0;
	result = attempt_take(endpoint, &ask, ticks_left(segment, deadline), attempt);
	if (result == ATTEMPT_ADMITTED)
		place_take(attempt, place);
	return result;
}

/*
 * Sleeps in line, in a new place if the one it has is void. WAIT_LATE: *wait_ns is the wait of its
 * place, or of the new one that it cannot have. After a fault the place is as it was: in the unit
 * of its own row, and not rounded to that of another one in which it is void.
 */
static enum wait_result place_wait_or_renew(struct weir_endpoint *endpoint,
					    struct place_in_line *place, uint64_t deadline,
					    uint64_t *wait_ns, int *fault)
{
	struct place_in_line was = *place;
	enum wait_result result;
	struct attempt attempt;

	while ((result = place_wait(endpoint, place, deadline, fault)) == WAIT_VOID) {
		enum attempt_result renewed = place_renew(endpoint, place, deadline, &attempt);

		if (renewed == ATTEMPT_ADMITTED) {
			was = *place;
			continue;
		}
		if (renewed != ATTEMPT_REFUSED) {
			*place = was;
			*fault = attempt.fault;
			return WAIT_FAULT;
		}
		/* where it is closed there are no places, until it opens */
		if (attempt.reason == WEIR_REASON_CLOSED &&
		    wait_for_gate(endpoint, &attempt, deadline))
			continue;
		*wait_ns = ticks_to_ns(&attempt.binding->attachment->segment, attempt.wait_ticks);
		return WAIT_LATE;
	}
	if (result == WAIT_LATE)
		*wait_ns = place_wait_ns(endpoint, place);
	return result;
}

enum weir_verdict weir_reservation_wait(struct weir_endpoint *endpoint,
					struct weir_reservation *reservation, uint64_t timeout_ns,
					struct weir_answer *answer)
{
	struct place_in_line place = place_load(reservation);
	const struct segment *segment = &endpoint_binding(endpoint)->attachment->segment;
	uint64_t deadline = deadline_after(segment, timeout_ns);
	uint64_t from_ns = segment_now_ns(segment);
	uint64_t wait_ns = WEIR_NEVER;
	enum wait_result result;
	int fault = 0;

	if (!place.held)
		return answer_fault(endpoint, WEIR_ESPENT, answer);
	result = place_wait_or_renew(endpoint, &place, deadline, &wait_ns, &fault);
	place_store(reservation, &place);
	if (result == WAIT_FAULT)
		return answer_fault(endpoint, fault, answer);
	if (result == WAIT_LATE) {
		answer_place(endpoint, wait_ns, 0, WEIR_REASON_DEADLINE, answer);
		return WEIR_REFUSE;
	}
	answer_place(endpoint, segment_now_ns(segment) - from_ns, 0, WEIR_REASON_NONE, answer);
	return WEIR_ADMIT;
}

int weir_cancel(struct weir_endpoint *endpoint, struct weir_reservation *reservation,
		double *returned)
{
	struct place_in_line place = place_load(reservation);

	if (!place.held)
		return WEIR_ESPENT;

	double back = place_return(endpoint, &place, place.units);

	place.held = 0;
	place_store(reservation, &place);
	if (returned)
		*returned = back;
	return 0;
}

/* Puts what was used beyond the estimate on the account. */
static int charge_more(struct weir_endpoint *endpoint, struct place_in_line *place, double cost)
{
	for (int tries = 0; tries < CALL_TRIES; tries++) {
		struct binding *binding;
		struct line line;
		int status = place_follow(endpoint, place, &binding);

		if (status < 0)
			return status;

		const struct segment *segment = &binding->attachment->segment;
		uint64_t now = line_read(binding->row, &segment->time, &line);
		uint64_t more = cost_units(cost, 1ull << line.k);

		if (line.flags & LINE_UNLIMITED)
			return 0;
		switch (place->key ? keys_charge(endpoint, binding, place->key, &line, now, more)
				   : bucket_charge(binding->bucket, &line, now, more)) {
		case BUCKET_TAKEN:
			tally_add(&segment->tallies, binding->bucket_index, COUNT_GRANTED_UNITS,
				  more);
			return 0;
		case BUCKET_IS_UNSET:
			status = endpoint_install(endpoint, binding);
			break;
		case BUCKET_IS_FROZEN:
		case BUCKET_REFUSED:
			status = endpoint_refresh(endpoint);
			break;
		}
		if (status < 0)
			return status;
	}
	return WEIR_EDAMAGED;
}

int place_settle(struct weir_endpoint *endpoint, struct place_in_line *place, double actual_cost)
{
	double taken = (double)place->units / (double)(1ull << (place->k & 63));

	if (!(actual_cost >= 0 && actual_cost < INFINITY))
		return WEIR_ECOST;
	/* of what was not taken there is nothing to correct */
	if (place->unpaid)
		return 0;
	if (actual_cost > taken)
		return charge_more(endpoint, place, actual_cost - taken);
	if (actual_cost < taken)
		place_return(endpoint, place,
			     place->units - cost_units(actual_cost, 1ull << place->k));
	return 0;
}

int weir_settle(struct weir_endpoint *endpoint, struct weir_reservation *reservation,
		double actual_cost)
{
	struct place_in_line place = place_load(reservation);
	int status;

	if (!place.held)
		return WEIR_ESPENT;
	status = place_settle(endpoint, &place, actual_cost);
	if (status == 0)
		place.held = 0;
	place_store(reservation, &place);
	return status;
}
