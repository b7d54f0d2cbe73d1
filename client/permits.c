/* SPDX-License-Identifier: Apache-2.0
 *
 * permits.c - how many calls may be under way: taking a permit, alone or with tokens, and looking.
 */
#include "permit_try.h"

#include <sched.h>
#include <string.h>

enum weir_verdict weir_permit_take(struct weir_endpoint *endpoint, uint64_t timeout_ns,
				   struct weir_permit *out, struct weir_answer *answer)
{
	struct permit_try try = {.binding = endpoint_binding(endpoint)};
	enum permit_result result;

	/* without a limit one load says so */
	if (permit_is_current(try.binding) && permits_are_unlimited(try.binding->row))
		return permit_admitted(&try, PERMIT_UNLIMITED, 0, out, answer);
	result = permit_try_take(endpoint, NULL, &try);
	if (result == PERMIT_BEHIND_CALLED && timeout_ns) {
		/* what is free is theirs who were called: they need a CPU first */
		sched_yield();
		result = permit_try_take(endpoint, NULL, &try);
	}
	if (permit_is_wanting(result) && permit_look_for_dead(endpoint, try.binding))
		result = permit_try_take(endpoint, NULL, &try);
	switch (result) {
	case PERMIT_TAKEN:
	case PERMIT_UNLIMITED:
		return permit_admitted(&try, result, 0, out, answer);
	case PERMIT_DAMAGED:
		return permit_faulty(endpoint, try.fault, out, answer);
	case PERMIT_NONE:
	case PERMIT_BEHIND:
	case PERMIT_BEHIND_CALLED:
	case PERMIT_MOVED:
		break;
	}
	if (timeout_ns)
		return permit_wait(endpoint, &try, timeout_ns, out, answer);
	return permit_refused(&try, 0, WEIR_REASON_PERMIT, answer);
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
	/* the wait for tokens is no part of the call */
	if (verdict == WEIR_ADMIT && timeout_ns)
		weir_permit_start(endpoint, out);
	return verdict;
}

/* ---- looking ---- */

int weir_permit_look(struct weir_endpoint *endpoint, struct weir_permits *out)
{
	struct weir_permits permits = {.size = sizeof(permits)};
	struct binding *binding;
	struct permit_sum sum = {0};
	int status = permit_binding(endpoint, &binding);

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
