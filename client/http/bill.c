/* SPDX-License-Identifier: Apache-2.0
 *
 * bill.c - what one request draws: from each endpoint that it is charged to, all or nothing.
 *
 * They are drawn from one after the other, the last one first and the request's own at the end, so
 * that a request that had to wait for anything else is made when its own turn comes: who waits
 * for one of them holds what he has of those before, and stands in no other line.
 *
 * Permits come first, as no token is to be spent while there is none, and for the time of the
 * transfer. They are taken in the order of the rules' names: two requests that want the same two
 * never wait for each other. Of one rule a request needs one, however many of its charges are under
 * it.
 */
#include "http.h"

#include <math.h>
#include <string.h>

/* Where no place in line is left: how soon it is tried again. */
#define LINE_FULL_NS (2 * WEIR_MILLISECOND)

/* ---- permits ---- */

static bool needs_permit(const struct charge *charge)
{
	/* relaxed: see lane_look() */
	return !charge->is_permitted &&
	       atomic_load_explicit(&charge->lane->has_permits, memory_order_relaxed);
}

/* Of those that need one, the first by the order of rules; NULL: none does. */
static struct charge *next_to_permit(struct bill *bill)
{
	struct charge *next = NULL;

	for (uint32_t i = 0; i < bill->count; i++) {
		struct charge *charge = &bill->charges[i];

		if (needs_permit(charge) &&
		    (!next || strcmp(charge->lane->rule, next->lane->rule) < 0))
			next = charge;
	}
	return next;
}

static void permitted(struct bill *bill, struct charge *by)
{
	by->has_permit = by->is_permitted = true;
	for (uint32_t i = 0; i < bill->count; i++)
		if (strcmp(bill->charges[i].lane->rule, by->lane->rule) == 0)
			bill->charges[i].is_permitted = true;
}

/* Takes one that is free, or looks whether its place in line has come first. */
static bool permit_try(struct bill *bill, struct charge *charge, struct weir_answer *answer)
{
	struct weir_endpoint *endpoint = charge->lane->endpoint;

	if (!bill->in_line) {
		if (weir_permit_take(endpoint, 0, &charge->permit, answer))
			return true;
		if (answer->fault || weir_permit_queue(endpoint, &bill->waiter) < 0)
			return false;
		bill->in_line = charge;
	}
	if (weir_permit_poll(endpoint, &bill->waiter, &charge->permit, answer)) {
		bill->in_line = NULL;
		return true;
	}
	/* what is wrong with the place is met again, or is not, without it */
	if (answer->fault)
		bill->in_line = NULL;
	return false;
}

static enum bill_state step_permit(struct bill *bill, struct charge *charge, uint64_t max_wait_ns,
				   struct bill_answer *out)
{
	struct weir_answer answer;

	if (permit_try(bill, charge, &answer)) {
		permitted(bill, charge);
		/* of one that the handle's policy gave */
		if (answer.fault)
			out->fault = answer.fault;
		return BILL_DUE;
	}
	out->fault = answer.fault;
	if (answer.fault)
		return BILL_FAULT;
	out->reason = WEIR_REASON_PERMIT;
	if (max_wait_ns == 0) {
		out->wait_ns = answer.wait_ns;
		return BILL_REFUSED;
	}
	/* nobody knows how long the others take */
	out->wait_ns = WEIR_NEVER;
	out->look_ns = bill->in_line ? answer.wait_ns : LINE_FULL_NS;
	if (out->look_ns > max_wait_ns)
		out->look_ns = max_wait_ns;
	return BILL_WAIT;
}

static enum bill_state step_permits(struct bill *bill, uint64_t max_wait_ns,
				    struct bill_answer *out)
{
	struct charge *charge = bill->in_line ? bill->in_line : next_to_permit(bill);
	enum bill_state state = BILL_DUE;

	while (state == BILL_DUE && charge) {
		state = step_permit(bill, charge, max_wait_ns, out);
		charge = next_to_permit(bill);
	}
	return state;
}

/* The request is sent now: how long it waited with its permits is nothing of the upstream's. */
static void start_permits(struct bill *bill)
{
	for (uint32_t i = 0; i < bill->count; i++) {
		struct charge *charge = &bill->charges[i];

		if (charge->has_permit)
			(void)weir_permit_start(charge->lane->endpoint, &charge->permit);
	}
}

void bill_release(struct bill *bill)
{
	/* what has been taken away, as it was held too long, cannot be given back */
	for (uint32_t i = 0; i < bill->count; i++) {
		struct charge *charge = &bill->charges[i];

		if (charge->has_permit)
			(void)weir_permit_release(charge->lane->endpoint, &charge->permit);
		charge->has_permit = charge->is_permitted = false;
	}
	if (bill->in_line)
		(void)weir_permit_unqueue(bill->in_line->lane->endpoint, &bill->waiter);
	bill->in_line = NULL;
	bill->waits_permit = false;
}

/* ---- tokens ---- */

/* Its turn has come, or it waits, or it never will. */
static enum bill_state step_one(struct charge *charge, uint64_t max_wait_ns,
				struct bill_answer *out)
{
	struct weir_endpoint *endpoint = charge->lane->endpoint;
	struct weir_answer answer;
	enum weir_verdict verdict = charge->begun
					    ? weir_turn_poll(endpoint, &charge->turn, &answer)
					    : weir_turn_begin(endpoint, charge->cost, max_wait_ns,
							      &charge->turn, &answer);

	charge->begun = true;
	if (verdict) {
		charge->admitted = true;
		/* of one that the handle's policy let pass */
		if (answer.fault)
			out->fault = answer.fault;
		return BILL_DUE;
	}
	if (answer.reason == WEIR_REASON_TURN) {
		out->wait_ns = answer.wait_ns;
		out->look_ns = charge->turn.look_ns;
		return BILL_WAIT;
	}
	charge->begun = false;
	out->wait_ns = answer.wait_ns;
	out->reason = answer.reason;
	out->fault = answer.fault;
	return answer.fault ? BILL_FAULT : BILL_REFUSED;
}

enum bill_state bill_step(struct bill *bill, uint64_t max_wait_ns, struct bill_answer *out)
{
	enum bill_state state;

	*out = (struct bill_answer){.wait_ns = 0};
	state = step_permits(bill, max_wait_ns, out);
	bill->waits_permit = state == BILL_WAIT;
	for (uint32_t i = bill->count; i-- > 0 && state == BILL_DUE;)
		if (!bill->charges[i].admitted)
			state = step_one(&bill->charges[i], max_wait_ns, out);
	if (state == BILL_DUE)
		start_permits(bill);
	if (state == BILL_REFUSED || state == BILL_FAULT)
		bill_cancel(bill);
	return state;
}

void bill_cancel_one(struct bill *bill, uint32_t which)
{
	struct charge *charge = &bill->charges[which];

	/* one that a policy admitted has nothing to give back */
	if (charge->begun)
		(void)weir_turn_leave(charge->lane->endpoint, &charge->turn, NULL);
	charge->begun = charge->admitted = false;
}

void bill_cancel(struct bill *bill)
{
	for (uint32_t i = 0; i < bill->count; i++)
		bill_cancel_one(bill, i);
	bill_release(bill);
}

void bill_spend_one(struct bill *bill, uint32_t which)
{
	struct charge *charge = &bill->charges[which];

	charge->begun = charge->admitted = false;
}

void bill_spend(struct bill *bill)
{
	for (uint32_t i = 0; i < bill->count; i++)
		bill_spend_one(bill, i);
	bill_release(bill);
}

void bill_settle_one(struct bill *bill, uint32_t which, double actual)
{
	struct charge *charge = &bill->charges[which];

	/* what cannot be put on the account now is a fault of the segment, which the next call
	 * meets and reports */
	if (charge->begun && charge->admitted && actual >= 0 && !isinf(actual))
		(void)weir_turn_settle(charge->lane->endpoint, &charge->turn, actual);
	bill_spend_one(bill, which);
}

void lane_charge(struct lane *lane, double cost)
{
	struct weir_reservation place;

	/* the place is left behind, with what it cost: a debt that later calls wait for. Where
	 * there are no places, as behind a closed gate, the bucket begins empty anyway */
	(void)weir_reserve(lane->endpoint, cost, WEIR_FOREVER, &place, NULL);
}
