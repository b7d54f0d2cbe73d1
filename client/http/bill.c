/* SPDX-License-Identifier: Apache-2.0
 *
 * bill.c - what one request draws: from each endpoint that it is charged to, all or nothing.
 *
 * They are drawn from one after the other, the last one first and the request's own at the end, so
 * that a request that had to wait for anything else is made when its own turn comes: who waits
 * for one of them holds what he has of those before, and stands in no other line.
 */
#include "http.h"

#include <math.h>

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
	*out = (struct bill_answer){.wait_ns = 0};
	for (uint32_t i = bill->count; i-- > 0;) {
		enum bill_state state;

		if (bill->charges[i].admitted)
			continue;
		state = step_one(&bill->charges[i], max_wait_ns, out);
		if (state == BILL_REFUSED || state == BILL_FAULT)
			bill_cancel(bill);
		if (state != BILL_DUE)
			return state;
	}
	return BILL_DUE;
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
