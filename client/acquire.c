/* SPDX-License-Identifier: Apache-2.0
 *
 * acquire.c - one attempt at a bucket, and the call that makes it now or never.
 */
#include "handle.h"

#include <math.h>
#include <sched.h>
#include <string.h>

#include "tally.h"

#define UNITS_FAR (1ull << 62)

/* 2^k as a double, without a call: the exponent field alone. 0 <= k < 64. */
static inline double power_of_two(unsigned k)
{
	uint64_t bits = (uint64_t)(1023 + k) << 52;
	double value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

static inline uint64_t units_of(double cost, uint64_t units_per_token)
{
	/* the common cost, by a predicted branch: the conversions would be the longest chain */
	if (__builtin_expect(cost == 1.0, 1))
		return units_per_token;

	double scaled = cost * (double)units_per_token;

	if (!(scaled < (double)UNITS_FAR) || !(cost > 0))
		return cost > 0 ? UNITS_FAR : 0; /* 0 for NaN as well */

	int64_t units = (int64_t)scaled;

	return (uint64_t)(units + ((double)units < scaled));
}

uint64_t cost_units(double cost, uint64_t units_per_token)
{
	return units_of(cost, units_per_token);
}

/* ---- answers ---- */

static void answer_write(struct weir_answer *answer, uint64_t wait_ns, double level, int fault,
			 int32_t reason)
{
	if (answer)
		*answer = (struct weir_answer){
			.wait_ns = wait_ns,
			.level = level,
			.fault = fault,
			.reason = reason,
		};
}

static double level_at(const struct line *line, uint64_t mark, uint64_t v)
{
	return (double)bucket_level(mark, v, line->burst_units, line->initial_units) /
	       power_of_two(line->k);
}

static double level_of(const struct attempt *attempt)
{
	return level_at(&attempt->line, attempt->mark.mark, attempt->v);
}

enum weir_verdict answer_fault(const struct weir_endpoint *endpoint, int fault,
			       struct weir_answer *answer)
{
	const struct weir *weir = endpoint->weir;

	/* the caller's own mistakes are no reason to let anything pass */
	if (fault == WEIR_ECOST || fault == WEIR_EBURST || fault == WEIR_ESPENT) {
		answer_write(answer, WEIR_NEVER, 0, fault, WEIR_REASON_NEVER);
		return WEIR_REFUSE;
	}
	answer_write(answer, WEIR_NEVER, 0, fault, WEIR_REASON_FAULT);
	weir_report(weir, WEIR_EVENT_FAULT, fault, endpoint->name, 0);
	return weir->policy == WEIR_POLICY_OPEN ? WEIR_ADMIT : WEIR_REFUSE;
}

enum weir_verdict answer_refused(const struct weir_endpoint *endpoint,
				 const struct attempt *attempt, struct weir_answer *answer)
{
	const struct binding *binding = attempt->binding;

	tally_count(&binding->attachment->segment.tallies, binding->bucket_index,
		    COUNT_REFUSED_CALLS, attempt->units);
	if (attempt->reason == WEIR_REASON_CLOSED)
		weir_report(endpoint->weir, WEIR_EVENT_CLOSED, 0, endpoint->name, 0);
	if (answer)
		answer_write(answer,
			     ticks_to_ns(&binding->attachment->segment, attempt->wait_ticks),
			     level_of(attempt), 0, attempt->reason);
	return WEIR_REFUSE;
}

enum weir_verdict answer_admitted(const struct attempt *attempt, uint64_t wait_ns,
				  struct weir_answer *answer)
{
	const struct binding *binding = attempt->binding;

	tally_count(&binding->attachment->segment.tallies, binding->bucket_index,
		    COUNT_GRANTED_CALLS, attempt->units);
	if (answer)
		answer_write(answer, wait_ns, level_of(attempt), 0, WEIR_REASON_NONE);
	return WEIR_ADMIT;
}

/* ---- one attempt ---- */

static enum attempt_result fault_of(struct attempt *attempt, int fault)
{
	attempt->fault = fault;
	return fault < 0 ? ATTEMPT_FAULT : ATTEMPT_AGAIN;
}

/* A gate that is not settled: closed, or to be settled by draining the bucket. */
static enum attempt_result attempt_gate(struct weir_endpoint *endpoint, struct attempt *attempt)
{
	struct binding *binding = attempt->binding;

	if (gate_is_closed(attempt->gate, attempt->now)) {
		attempt->wait_ticks = (attempt->gate & GATE_UNTIL) == GATE_UNTIL
					      ? UINT64_MAX
					      : (attempt->gate & GATE_UNTIL) - attempt->now;
		attempt->mark.mark = bucket_look(binding->bucket);
		attempt->reason = WEIR_REASON_CLOSED;
		return ATTEMPT_REFUSED;
	}
	if (gate_settle(binding->bucket, attempt->gate, &attempt->line))
		return ATTEMPT_AGAIN;
	if (bucket_look(binding->bucket) == BUCKET_UNSET)
		return fault_of(attempt, endpoint_install(endpoint, binding));
	sched_yield();
	return fault_of(attempt, endpoint_refresh(endpoint));
}

/* A bucket without a mark, or whose mark is elsewhere. */
static enum attempt_result attempt_moved(struct weir_endpoint *endpoint, struct attempt *attempt,
					 enum bucket_result result)
{
	if (result == BUCKET_IS_UNSET)
		return fault_of(attempt, endpoint_install(endpoint, attempt->binding));
	/* the publisher said where before anyone could freeze it */
	return fault_of(attempt, endpoint_refresh(endpoint));
}

/* How far ahead of V a taker may stand who is willing to wait so many ticks. */
static uint64_t limit_ahead(const struct attempt *attempt, uint64_t ahead_ticks)
{
	const struct line *line = &attempt->line;
	uint64_t at = attempt->now + ahead_ticks;

	if (ahead_ticks == UINT64_MAX || at < attempt->now || at >> 63)
		return line->slope ? line->reach_units : line->burst_units;

	uint64_t limit = line->burst_units + (line_value(line, at) - attempt->v);

	return limit < line->reach_units ? limit : line->reach_units;
}

static enum attempt_result attempt_refused(struct attempt *attempt, uint64_t limit)
{
	const struct line *line = &attempt->line;
	uint64_t excess = attempt->mark.excess + (limit - line->burst_units);

	attempt->wait_ticks = line_wait_ticks(line, attempt->now, excess);
	attempt->reason = attempt->wait_ticks == UINT64_MAX ? WEIR_REASON_NEVER
			  : limit == line->burst_units	    ? WEIR_REASON_LEVEL
			  : limit == line->reach_units	    ? WEIR_REASON_QUEUE
							    : WEIR_REASON_DEADLINE;
	return ATTEMPT_REFUSED;
}

static enum attempt_result attempt_cold(struct weir_endpoint *endpoint, struct attempt *attempt)
{
	if (attempt->units == 0)
		return fault_of(attempt, WEIR_ECOST);
	if (attempt->line.flags & LINE_UNLIMITED) {
		attempt->mark.mark = attempt->v;
		return ATTEMPT_ADMITTED;
	}
	if (attempt->units > attempt->line.burst_units)
		return fault_of(attempt, WEIR_EBURST);
	return attempt_gate(endpoint, attempt);
}

/* Takes from the bucket; once more by a later time if another's exchange came first. */
static enum attempt_result attempt_bucket(struct weir_endpoint *endpoint, uint64_t mark,
					  uint64_t ahead_ticks, struct attempt *out)
{
	uint64_t limit = ahead_ticks ? limit_ahead(out, ahead_ticks) : out->line.burst_units;
	enum bucket_result result =
		bucket_take_from(out->binding->bucket, mark, out->v, out->units, limit, &out->mark);

	if (result == BUCKET_REFUSED && out->mark.lost) {
		out->now = line_read(out->binding->row, &out->binding->time, &out->line);
		out->v = line_value(&out->line, out->now);
		limit = ahead_ticks ? limit_ahead(out, ahead_ticks) : out->line.burst_units;
		result = bucket_take(out->binding->bucket, out->v, out->units, limit, &out->mark);
	}
	if (result == BUCKET_TAKEN)
		return ATTEMPT_ADMITTED;
	if (result == BUCKET_REFUSED)
		return attempt_refused(out, limit);
	return attempt_moved(endpoint, out, result);
}

static enum attempt_result attempt_once(struct weir_endpoint *endpoint, double cost,
					uint64_t ahead_ticks, struct attempt *out)
{
	struct binding *binding = endpoint_binding(endpoint);

	out->binding = binding;
	if (!binding_is_current(binding)) {
		int status = endpoint_refresh(endpoint);

		if (status < 0)
			return fault_of(out, status);
		out->binding = binding = endpoint_binding(endpoint);
	}

	/* the mark before the time (see bucket_take_from()), and before the gate: a bucket that
	 * has its mark has the closure that came along with it */
	uint64_t mark = bucket_load(binding->bucket);

	out->now = line_read(binding->row, &binding->time, &out->line);
	out->v = line_value(&out->line, out->now);
	out->units = units_of(cost, binding->units_per_token);
	if (mark == BUCKET_UNSET)
		return attempt_moved(endpoint, out, BUCKET_IS_UNSET);
	out->gate = gate_load(binding->bucket);
	if (out->units - 1 >= out->line.burst_units || !gate_is_settled(out->gate) ||
	    out->line.flags & LINE_UNLIMITED) {
		/* an unlimited endpoint can be closed as well */
		if (out->units && out->line.flags & LINE_UNLIMITED && !gate_is_settled(out->gate))
			return attempt_gate(endpoint, out);
		return attempt_cold(endpoint, out);
	}
	return attempt_bucket(endpoint, mark, ahead_ticks, out);
}

enum attempt_result attempt_take(struct weir_endpoint *endpoint, double cost, uint64_t ahead_ticks,
				 struct attempt *out)
{
	for (int tries = 0; tries < CALL_TRIES; tries++) {
		enum attempt_result result = attempt_once(endpoint, cost, ahead_ticks, out);

		if (result != ATTEMPT_AGAIN)
			return result;
	}
	out->fault = WEIR_EDAMAGED;
	return ATTEMPT_FAULT;
}

/* Whatever the first glance did not decide, from the beginning. */
static __attribute__((noinline)) enum weir_verdict acquire_cold(struct weir_endpoint *endpoint,
								double cost,
								struct weir_answer *answer)
{
	struct attempt attempt;

	switch (attempt_take(endpoint, cost, 0, &attempt)) {
	case ATTEMPT_ADMITTED:
		return answer_admitted(&attempt, 0, answer);
	case ATTEMPT_REFUSED:
		return answer_refused(endpoint, &attempt, answer);
	case ATTEMPT_AGAIN:
	case ATTEMPT_FAULT:
		break;
	}
	return answer_fault(endpoint, attempt.fault, answer);
}

/*
 * The common case, all in registers: nothing changed, the gate is open, the rate has a bound,
 * the cost is possible. A refusal that must say how long to wait takes the longer way, where the
 * same comparison refuses again (or admits, if the time has come meanwhile).
 */
enum weir_verdict weir_acquire(struct weir_endpoint *endpoint, double cost,
			       struct weir_answer *answer)
{
	const struct binding *binding = endpoint_binding(endpoint);
	struct bucket_mark mark;
	struct line line;

	if (__builtin_expect(!binding_is_current(binding), 0))
		return acquire_cold(endpoint, cost, answer);

	/* in the order of attempt_once() */
	uint64_t seen = bucket_load(binding->bucket);
	uint64_t units = units_of(cost, binding->units_per_token);
	uint64_t now = line_read_short(binding->row, &binding->time, &line);
	uint64_t v = line_value(&line, now);

	if (__builtin_expect(units - 1 >= line.burst_units || seen == BUCKET_UNSET ||
				     !gate_is_settled(gate_load(binding->bucket)) ||
				     line.flags & LINE_UNLIMITED,
			     0))
		return acquire_cold(endpoint, cost, answer);
	switch (bucket_take_from(binding->bucket, seen, v, units, line.burst_units, &mark)) {
	case BUCKET_TAKEN:
		tally_count(&binding->tallies, binding->bucket_index, COUNT_GRANTED_CALLS, units);
		if (answer)
			answer_write(answer, 0, level_at(&line, mark.mark, v), 0, WEIR_REASON_NONE);
		return WEIR_ADMIT;
	case BUCKET_REFUSED:
		if (answer || mark.lost)
			break;
		tally_count(&binding->tallies, binding->bucket_index, COUNT_REFUSED_CALLS, units);
		return WEIR_REFUSE;
	case BUCKET_IS_UNSET:
	case BUCKET_IS_FROZEN:
		break;
	}
	return acquire_cold(endpoint, cost, answer);
}
