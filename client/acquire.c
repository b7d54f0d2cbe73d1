/* SPDX-License-Identifier: Apache-2.0
 *
 * acquire.c - one attempt at a bucket, and the call that makes it now or never.
 */
#include "handle.h"

#include <math.h>
#include <sched.h>
#include <string.h>

#include "class.h"
#include "shadow.h"
#include "tally.h"

/* 2^k as a double, without a call: the exponent field alone. 0 <= k < 64. */
static inline double power_of_two(unsigned k)
{
	uint64_t bits = (uint64_t)(1023 + k) << 52;
	double value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

/* ---- answers ---- */

/* What a shadow had to say about a call, for its answer. */
struct shadow_answer {
	int32_t reason;
	uint64_t wait_ticks;
};

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

enum weir_verdict answer_mistake(int fault, struct weir_answer *answer)
{
	answer_write(answer, WEIR_NEVER, 0, fault, WEIR_REASON_NEVER);
	return WEIR_REFUSE;
}

enum weir_verdict answer_fault(const struct weir_endpoint *endpoint, int fault,
			       struct weir_answer *answer)
{
	const struct weir *weir = endpoint->weir;

	/* the caller's own mistakes are no reason to let anything pass */
	if (fault == WEIR_ECOST || fault == WEIR_EBURST || fault == WEIR_ESPENT ||
	    fault == WEIR_ECLASS || fault == WEIR_EVALUE || fault == WEIR_EKEY)
		return answer_mistake(fault, answer);
	answer_write(answer, WEIR_NEVER, 0, fault, WEIR_REASON_FAULT);
	weir_report(weir, WEIR_EVENT_FAULT, fault, endpoint->name, 0);
	return weir->policy == WEIR_POLICY_OPEN ? WEIR_ADMIT : WEIR_REFUSE;
}

/* Counts what shadow mode let pass, and weighs the call by the shadow limit, if there are any. */
static struct shadow_answer count_shadows(const struct attempt *attempt, uint64_t ahead_ticks)
{
	struct shadow_answer shadow = {WEIR_REASON_NONE, 0};
	struct shadow_answer beside = {WEIR_REASON_NONE, 0};

	if (attempt->unpaid_units) {
		shadow_count(attempt->binding->bucket, SHADOW_PASSED_CALLS, attempt->unpaid_units);
		shadow = (struct shadow_answer){attempt->reason, attempt->wait_ticks};
	}
	/* behind a closed gate every limit is the same */
	if (attempt->line.flags & LINE_BESIDE && attempt->reason != WEIR_REASON_CLOSED)
		beside.reason = weigh(attempt, ahead_ticks, &beside.wait_ticks);
	return shadow.reason ? shadow : beside;
}

static void answer_decided(struct weir_answer *answer, const struct attempt *attempt,
			   uint64_t wait_ns, int32_t reason, const struct shadow_answer *shadow)
{
	if (!answer)
		return;
	answer_write(answer, wait_ns, level_of(attempt), 0, reason);
	answer->shadow = shadow->reason;
	answer->shadow_wait_ns =
		ticks_to_ns(&attempt->binding->attachment->segment, shadow->wait_ticks);
}

enum weir_verdict answer_refused(const struct weir_endpoint *endpoint,
				 const struct attempt *attempt, uint64_t ahead_ticks,
				 struct weir_answer *answer)
{
	const struct binding *binding = attempt->binding;
	const struct shadow_answer shadow = count_shadows(attempt, ahead_ticks);

	tally_count(&binding->attachment->segment.tallies, binding->bucket_index,
		    COUNT_REFUSED_CALLS, attempt->units);
	if (attempt->key)
		keys_refused(endpoint, attempt);
	if (attempt->reason == WEIR_REASON_CLOSED)
		weir_report(endpoint->weir, WEIR_EVENT_CLOSED, 0, endpoint->name, 0);
	answer_decided(answer, attempt,
		       ticks_to_ns(&binding->attachment->segment, attempt->wait_ticks),
		       attempt->reason, &shadow);
	return WEIR_REFUSE;
}

enum weir_verdict answer_admitted(const struct attempt *attempt, uint64_t wait_ns,
				  uint64_t ahead_ticks, struct weir_answer *answer)
{
	const struct binding *binding = attempt->binding;
	const struct shadow_answer shadow = count_shadows(attempt, ahead_ticks);

	tally_count(&binding->attachment->segment.tallies, binding->bucket_index,
		    COUNT_GRANTED_CALLS, attempt->units);
	answer_decided(answer, attempt, wait_ns, WEIR_REASON_NONE, &shadow);
	return WEIR_ADMIT;
}

/* ---- one attempt ---- */

static enum attempt_result fault_of(struct attempt *attempt, int fault)
{
	attempt->fault = fault;
	return fault < 0 ? ATTEMPT_FAULT : ATTEMPT_AGAIN;
}

static enum attempt_result refused(struct attempt *attempt, int32_t reason, uint64_t wait_ticks)
{
	attempt->reason = reason;
	attempt->wait_ticks = wait_ticks;
	return ATTEMPT_REFUSED;
}

/* The mark that a refusal met, for the level in its answer. */
static void see_mark(struct attempt *attempt, uint64_t mark)
{
	attempt->mark.mark = mark;
	if (attempt->line.flags & LINE_WINDOW)
		windows_see(attempt);
}

static uint64_t mark_met(const struct attempt *attempt)
{
	if (attempt->key)
		return attempt->seen.slot ? attempt->seen.mark : BUCKET_UNSET;
	return bucket_look(attempt->binding->bucket);
}

/* A gate that is not settled: closed, or to be settled by draining the bucket. */
static enum attempt_result attempt_gate(struct weir_endpoint *endpoint, uint64_t before,
					struct attempt *attempt)
{
	struct binding *binding = attempt->binding;

	if (gate_is_closed(attempt->gate, attempt->now)) {
		see_mark(attempt, mark_met(attempt));
		return refused(attempt, WEIR_REASON_CLOSED,
			       (attempt->key ? gate_wait_ticks_kept : gate_wait_ticks)(
				       attempt->gate, attempt->mark.mark, &attempt->line,
				       attempt->now, before + attempt->units,
				       attempt_room(attempt)));
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
	if (attempt->fault < 0)
		return fault_of(attempt, attempt->fault);
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
	uint64_t excess = attempt->mark.excess + (limit - attempt_room(attempt));
	uint64_t wait = line_wait_ticks(line, attempt->now, excess);

	if (wait == UINT64_MAX)
		return refused(attempt, WEIR_REASON_NEVER, wait);
	/* without its class it would have passed */
	if (attempt->leave)
		return refused(attempt,
			       excess <= attempt->leave ? WEIR_REASON_HEADROOM : WEIR_REASON_LEVEL,
			       wait);
	return refused(attempt,
		       limit == line->burst_units   ? WEIR_REASON_LEVEL
		       : limit == line->reach_units ? WEIR_REASON_QUEUE
						    : WEIR_REASON_DEADLINE,
		       wait);
}

/* So many pieces of the cost, in units; far more than any bucket holds if that does not fit. */
static uint64_t units_times(uint64_t unit, uint64_t pieces)
{
	line_wide units = (line_wide)unit * pieces;

	return units < UNITS_FAR ? (uint64_t)units : UNITS_FAR;
}

static enum attempt_result attempt_cold(struct weir_endpoint *endpoint, const struct ask *ask,
					struct attempt *attempt)
{
	if (attempt->units == 0)
		return fault_of(attempt, WEIR_ECOST);
	if (attempt->line.flags & LINE_UNLIMITED) {
		/* an unlimited endpoint can be closed as well */
		if (!gate_is_settled(attempt->gate))
			return attempt_gate(endpoint, 0, attempt);
		attempt->mark.mark = attempt->v;
		attempt->pieces = ask->most;
		attempt->units = units_times(attempt->unit, ask->most);
		return ATTEMPT_ADMITTED;
	}
	if (attempt->units + ask->before <= attempt->line.burst_units)
		return attempt_gate(endpoint, ask->before, attempt);
	see_mark(attempt, mark_met(attempt));
	if (attempt->line.flags & LINE_SHADOW)
		return refused(attempt, WEIR_REASON_NEVER, UINT64_MAX);
	return fault_of(attempt, WEIR_EBURST);
}

/* The present, and everything of the row that the call goes by. */
static void attempt_read(const struct ask *ask, struct attempt *out)
{
	struct class_leave of_class = {ask->class_name, 0};

	if (ask->class_name)
		out->now = line_read_class(out->binding->row, &out->binding->time, &out->line,
					   &of_class);
	else
		out->now = line_read(out->binding->row, &out->binding->time, &out->line);
	out->v = line_value(&out->line, out->now);
	out->leave = of_class.leave
			     ? class_leave_units(of_class.leave, out->line.burst_units, out->line.k)
			     : 0;
}

static enum bucket_result attempt_exchange(const struct ask *ask, uint64_t mark, uint64_t limit,
					   struct attempt *out)
{
	struct bucket *bucket = out->binding->bucket;
	enum bucket_result result;

	out->pieces = ask->least;
	if (ask->look)
		return bucket_see(mark, out->v, ask->before + out->units, limit, &out->mark);
	if (ask->most == ask->least)
		return bucket_take_from(bucket, mark, out->v, out->units, limit, &out->mark);
	result = bucket_take_some(bucket, mark, out->v, out->unit, ask->least, ask->most, limit,
				  &out->mark, &out->pieces);
	if (result == BUCKET_TAKEN)
		out->units = out->unit * out->pieces;
	return result;
}

/* How far ahead of V the call may stand that is willing to wait so long. */
static uint64_t limit_of(const struct attempt *attempt, uint64_t ahead_ticks)
{
	return ahead_ticks && !attempt->leave ? limit_ahead(attempt, ahead_ticks)
					      : attempt_room(attempt);
}

/* Takes from the bucket; once more by a later time if another's exchange came first. */
static enum attempt_result attempt_bucket(struct weir_endpoint *endpoint, const struct ask *ask,
					  uint64_t mark, uint64_t ahead_ticks, struct attempt *out)
{
	for (bool again = false;; again = true) {
		bool windows = out->line.flags & LINE_WINDOW;
		uint64_t limit = windows ? attempt_room(out) : limit_of(out, ahead_ticks);
		enum bucket_result result;

		if (ask->before + out->units > attempt_room(out)) {
			see_mark(out, mark & ~BUCKET_FROZEN);
			return refused(out, WEIR_REASON_NEVER, UINT64_MAX);
		}
		result = out->key  ? keys_exchange(endpoint, ask, ahead_ticks, limit, out)
			 : windows ? windows_exchange(ask, mark, ahead_ticks, out)
				   : attempt_exchange(ask, mark, limit, out);
		if (result == BUCKET_TAKEN)
			return ATTEMPT_ADMITTED;
		if (result != BUCKET_REFUSED)
			return attempt_moved(endpoint, out, result);
		if (!out->mark.lost || again)
			return windows ? windows_refused(out, ahead_ticks)
				       : attempt_refused(out, limit);
		mark = bucket_load(out->binding->bucket);
		if (out->key)
			keyed_find(&out->binding->keyed, out->key, &out->seen);
		attempt_read(ask, out);
	}
}

static enum attempt_result attempt_once(struct weir_endpoint *endpoint, const struct ask *ask,
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

	if (binding->keyed.bins || ask->key) {
		int status = keys_begin(ask, out);

		if (status < 0)
			return fault_of(out, status);
	}
	attempt_read(ask, out);
	out->unit = cost_units(ask->cost, 1ull << out->line.k);
	out->units = units_times(out->unit, ask->least);
	if (mark == BUCKET_UNSET)
		return attempt_moved(endpoint, out, BUCKET_IS_UNSET);
	if (out->key && mark & BUCKET_FROZEN)
		return attempt_moved(endpoint, out, BUCKET_IS_FROZEN);
	out->gate = gate_load(binding->bucket);
	if (out->units == 0 || out->units + ask->before > out->line.burst_units ||
	    !gate_is_settled(out->gate) || out->line.flags & LINE_UNLIMITED)
		return attempt_cold(endpoint, ask, out);
	return attempt_bucket(endpoint, ask, mark, ahead_ticks, out);
}

/* In shadow mode all that is asked for passes; what was there of it is taken. */
static enum attempt_result attempt_decided(const struct ask *ask, enum attempt_result result,
					   struct attempt *out)
{
	uint64_t whole;

	if (result == ATTEMPT_FAULT || !(out->line.flags & LINE_SHADOW) ||
	    (result == ATTEMPT_ADMITTED && out->pieces == ask->most))
		return result;
	whole = units_times(out->unit, ask->most);
	out->unpaid_units = result == ATTEMPT_REFUSED ? whole : whole - out->units;
	if (result == ATTEMPT_ADMITTED)
		refused(out, WEIR_REASON_LEVEL,
			out->line.flags & LINE_WINDOW
				? windows_wait(out, out->unpaid_units)
				: line_wait_ticks(&out->line, out->now, out->unpaid_units));
	out->pieces = ask->most;
	out->units = whole;
	return ATTEMPT_ADMITTED;
}

enum attempt_result attempt_take(struct weir_endpoint *endpoint, const struct ask *ask,
				 uint64_t ahead_ticks, struct attempt *out)
{
	for (int tries = 0; tries < CALL_TRIES; tries++) {
		out->reason = WEIR_REASON_NONE;
		out->fault = 0;
		out->key = 0;
		out->class_name = ask->class_name;
		out->unpaid_units = 0;

		enum attempt_result result = attempt_once(endpoint, ask, ahead_ticks, out);

		if (result != ATTEMPT_AGAIN)
			return attempt_decided(ask, result, out);
	}
	out->fault = WEIR_EDAMAGED;
	return ATTEMPT_FAULT;
}

/* ---- now or never ---- */

enum weir_verdict answer_now(struct weir_endpoint *endpoint, const struct ask *ask,
			     struct attempt *attempt, struct weir_answer *answer)
{
	switch (attempt_take(endpoint, ask, 0, attempt)) {
	case ATTEMPT_ADMITTED:
		return answer_admitted(attempt, 0, 0, answer);
	case ATTEMPT_REFUSED:
		return answer_refused(endpoint, attempt, 0, answer);
	case ATTEMPT_AGAIN:
	case ATTEMPT_FAULT:
		break;
	}
	return answer_fault(endpoint, attempt->fault, answer);
}

bool attempt_at_once(struct weir_endpoint *endpoint, double cost, struct attempt *out)
{
	struct binding *binding = endpoint_binding(endpoint);

	if (!binding_is_current(binding))
		return false;

	/* in the order of attempt_once() */
	uint64_t seen = bucket_load(binding->bucket);

	out->binding = binding;
	out->units = cost_units(cost, binding->units_per_token);
	out->now = line_read_short(binding->row, &binding->time, &out->line);
	out->v = (uint64_t)(line_straight_wide(&out->line, out->now) >> 64);
	out->gate = gate_load(binding->bucket);
	out->unpaid_units = out->key = 0;
	if (out->units == 0 || seen == BUCKET_UNSET || !gate_is_settled(out->gate) ||
	    (out->line.flags & LINE_COLD & ~(unsigned)LINE_UNLIMITED) || binding->keyed.bins)
		return false;
	if (out->line.flags & LINE_UNLIMITED)
		out->mark.mark = out->v;
	else if (out->units > out->line.burst_units ||
		 bucket_take_from(binding->bucket, seen, out->v, out->units, out->line.burst_units,
				  &out->mark) != BUCKET_TAKEN)
		return false;
	tally_count(&binding->tallies, 0, COUNT_GRANTED_CALLS, out->units);
	return true;
}

void answer_at_once(const struct attempt *attempt, struct weir_answer *answer)
{
	if (answer)
		answer_write(answer, 0, level_at(&attempt->line, attempt->mark.mark, attempt->v), 0,
			     WEIR_REASON_NONE);
}

/* Whatever the first glance did not decide, from the beginning. */
static __attribute__((noinline)) enum weir_verdict acquire_cold(struct weir_endpoint *endpoint,
								double cost,
								struct weir_answer *answer)
{
	const struct ask ask = ask_for(endpoint, cost);
	struct attempt attempt;

	return answer_now(endpoint, &ask, &attempt, answer);
}

enum weir_verdict weir_acquire_up_to(struct weir_endpoint *endpoint, double cost, uint64_t least,
				     uint64_t most, uint64_t *taken, struct weir_answer *answer)
{
	struct ask ask = ask_for(endpoint, cost);
	struct weir_answer own;
	struct attempt attempt;
	enum weir_verdict verdict;

	if (least == 0 || most < least)
		return answer_fault(endpoint, WEIR_EVALUE, answer);
	ask.least = least;
	ask.most = most;
	verdict = answer_now(endpoint, &ask, &attempt, &own);
	if (verdict == WEIR_ADMIT)
		/* without a decision the policy admits all of it */
		*taken = own.fault ? most : attempt.pieces;
	if (answer)
		*answer = own;
	return verdict;
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
	uint64_t units = cost_units(cost, binding->units_per_token);
	uint64_t now = line_read_short(binding->row, &binding->time, &line);
	uint64_t v = (uint64_t)(line_straight_wide(&line, now) >> 64);
	if (__builtin_expect(units - 1 >= line.burst_units || seen == BUCKET_UNSET ||
				     !gate_is_settled(gate_load(binding->bucket)) ||
				     line.flags & LINE_COLD,
			     0))
		return acquire_cold(endpoint, cost, answer);
	switch (bucket_take_from(binding->bucket, seen, v, units, line.burst_units, &mark)) {
	case BUCKET_TAKEN:
		tally_count(&binding->tallies, 0, COUNT_GRANTED_CALLS, units);
		if (answer)
			answer_write(answer, 0, level_at(&line, mark.mark, v), 0, WEIR_REASON_NONE);
		return WEIR_ADMIT;
	case BUCKET_REFUSED:
		if (answer || mark.lost)
			break;
		tally_count(&binding->tallies, 0, COUNT_REFUSED_CALLS, units);
		return WEIR_REFUSE;
	case BUCKET_IS_UNSET:
	case BUCKET_IS_FROZEN:
		break;
	}
	return acquire_cold(endpoint, cost, answer);
}
