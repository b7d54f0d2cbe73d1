/* SPDX-License-Identifier: Apache-2.0
 *
 * all.c - the calls that need several endpoints: now or never, and by a deadline.
 *
 * With a deadline there is no order of taking, since nobody is refused by what others hold: places
 * in line come up by time alone. The longest wait goes first; its place is held, and spent from its
 * turn on as that of any reservation, while the next is waited for.
 */
#include "several.h"

static const struct segment *segment_of(const struct part *part)
{
	return &endpoint_binding(part->endpoint)->attachment->segment;
}

/* ---- answers ---- */

/* Which of two answers says more: a fault, then what a shadow refused, then the lower level. */
static bool says_more(const struct weir_answer *a, const struct weir_answer *b)
{
	if (!a->fault != !b->fault)
		return a->fault;
	if (!a->shadow != !b->shadow)
		return a->shadow;
	return a->level < b->level;
}

/* Counts one part of an admitted call. */
static void admitted_part(const struct part *part, uint64_t slept_ns, struct weir_answer *out)
{
	if (part->excused) {
		*out = (struct weir_answer){
			.wait_ns = WEIR_NEVER,
			.fault = part->excused,
			.reason = WEIR_REASON_FAULT,
		};
	} else {
		if (part->slept)
			wait_count(&part->attempt, slept_ns);
		answer_admitted(&part->attempt, slept_ns,
				ticks_left(segment_of(part), part->deadline), out);
	}
	out->which = part->index;
}

static enum weir_verdict admitted(const struct several *several, uint64_t slept_ns,
				  struct weir_answer *answer)
{
	struct weir_answer most;

	for (size_t i = 0; i < several->count; i++) {
		struct weir_answer own;

		admitted_part(&several->parts[i], slept_ns, &own);
		if (i == 0 || says_more(&own, &most))
			most = own;
	}
	if (answer)
		*answer = most;
	return WEIR_ADMIT;
}

static enum weir_verdict not_admitted(const struct several *several, enum attempt_result result,
				      struct weir_answer *answer)
{
	const struct part *worst = several->worst;

	if (result == ATTEMPT_FAULT && answer)
		*answer = several->faulty;
	for (size_t i = 0; result != ATTEMPT_FAULT && i < several->count; i++) {
		const struct part *part = &several->parts[i];

		if (part->refused)
			answer_refused(part->endpoint, &part->attempt,
				       ticks_left(segment_of(part), part->deadline),
				       part == worst ? answer : NULL);
	}
	if (answer)
		answer->which = worst->index;
	return WEIR_REFUSE;
}

enum weir_verdict weir_acquire_all(const struct weir_want *wants, size_t count,
				   struct weir_answer *answer)
{
	struct several several;
	int status = several_begin(&several, wants, count);
	enum attempt_result result;

	if (status < 0)
		return answer_mistake(status, answer);
	result = several_look(&several);
	if (result == ATTEMPT_ADMITTED)
		result = several_take(&several);
	return result == ATTEMPT_ADMITTED ? admitted(&several, 0, answer)
					  : not_admitted(&several, result, answer);
}

/* ---- by a deadline ---- */

/* Refused: what is held goes back, and what it would take is looked at anew. */
static enum attempt_result give_up(struct several *several, struct part *part)
{
	enum attempt_result result;

	several_undo(several);
	several->worst = part;
	result = several_refused(several);
	for (size_t i = 0; i < several->count; i++) {
		struct attempt *attempt = &several->parts[i].attempt;

		if (several->parts[i].refused && attempt->reason != WEIR_REASON_CLOSED &&
		    attempt->reason != WEIR_REASON_NEVER)
			attempt->reason = WEIR_REASON_DEADLINE;
	}
	return result;
}

/* A part whose wait, as it looks now, ends behind its deadline; NULL: there is none. */
static struct part *hopeless(struct several *several)
{
	for (size_t i = 0; i < several->count; i++) {
		struct part *part = &several->parts[i];

		if (part->refused &&
		    (part->attempt.wait_ticks == UINT64_MAX ||
		     part->attempt.wait_ticks > ticks_left(segment_of(part), part->deadline)))
			return part;
	}
	return NULL;
}

/* What to wait for next: the longest wait, or without any the first in order; NULL: all is held. */
static struct part *next_part(struct several *several)
{
	for (size_t i = 0; i < several->count && !several->worst; i++)
		if (!several->parts[i].held && !several->parts[i].excused)
			return &several->parts[i];
	return several->worst;
}

/* Places that were held while another was waited for may have lapsed, or be behind a closure. */
static enum wait_result look_back(struct several *several, struct part **out, int *fault)
{
	for (size_t i = 0; i < several->count; i++) {
		struct part *part = &several->parts[i];
		enum wait_result result;

		*out = part;
		if (!part->held)
			continue;
		result = place_wait(part->endpoint, &part->place, 0, fault);
		if (result == WAIT_DUE)
			continue;
		if (result == WAIT_LATE) {
			part->slept = true;
			result = place_wait(part->endpoint, &part->place, part->deadline, fault);
		}
		if (result == WAIT_VOID)
			part->held = false;
		return result == WAIT_DUE ? WAIT_VOID : result;
	}
	return WAIT_DUE;
}

/* One step: takes the next part, or with all of them held makes sure of them. WAIT_VOID: go on. */
static enum wait_result step(struct several *several, struct part **out, int *fault)
{
	struct part *part = next_part(several);
	enum wait_result result;
	bool slept;

	if (!part)
		return look_back(several, out, fault);
	*out = part;
	result = wait_take(part->endpoint, &part->ask, part->deadline, &part->attempt, &part->place,
			   &slept, fault);
	part->slept |= slept;
	part->held = result == WAIT_DUE;
	return part->held ? WAIT_VOID : result;
}

static enum attempt_result take_by_deadline(struct several *several)
{
	for (;;) {
		enum attempt_result looked = several_look(several);
		enum wait_result result;
		struct part *part;
		int fault = 0;

		if (looked == ATTEMPT_FAULT) {
			part = several->worst;
			several_undo(several);
			several->worst = part;
			return ATTEMPT_FAULT;
		}
		part = hopeless(several);
		if (part)
			return give_up(several, part);
		result = step(several, &part, &fault);
		if (result == WAIT_DUE)
			return ATTEMPT_ADMITTED;
		if (result == WAIT_LATE)
			return give_up(several, part);
		if (result == WAIT_FAULT && !several_excuse(several, part, fault)) {
			several_undo(several);
			return ATTEMPT_FAULT;
		}
	}
}

enum weir_verdict weir_wait_all(const struct weir_want *wants, size_t count, uint64_t timeout_ns,
				struct weir_answer *answer)
{
	struct several several;
	int status = several_begin(&several, wants, count);
	enum attempt_result result;
	uint64_t from_ns;

	if (status < 0)
		return answer_mistake(status, answer);
	from_ns = segment_now_ns(segment_of(&several.parts[0]));
	for (size_t i = 0; i < count; i++)
		several.parts[i].deadline =
			deadline_after(segment_of(&several.parts[i]), timeout_ns);
	result = take_by_deadline(&several);
	if (result != ATTEMPT_ADMITTED)
		return not_admitted(&several, result, answer);
	return admitted(&several, segment_now_ns(segment_of(&several.parts[0])) - from_ns, answer);
}
