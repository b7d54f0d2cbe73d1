/* SPDX-License-Identifier: Apache-2.0 */
#include "several.h"

#include "class.h"

static uint64_t wait_ns(const struct part *part)
{
	return ticks_to_ns(&part->attempt.binding->attachment->segment, part->attempt.wait_ticks);
}

/* ---- the order ---- */

static int compare(const struct part *a, const struct part *b)
{
	const struct binding *left = endpoint_binding(a->endpoint);
	const struct binding *right = endpoint_binding(b->endpoint);
	uint64_t pair = left->attachment->segment.pair;
	uint64_t other = right->attachment->segment.pair;

	if (pair != other)
		return pair < other ? -1 : 1;
	if (left->bucket_index != right->bucket_index)
		return left->bucket_index < right->bucket_index ? -1 : 1;
	return a->key < b->key ? -1 : a->key > b->key;
}

static int part_begin(struct part *out, const struct weir_want *want, uint32_t index)
{
	struct binding *binding = endpoint_binding(want->endpoint);

	*out = (struct part){.endpoint = want->endpoint, .index = index};
	out->ask = ask_for(want->endpoint, want->cost);
	out->ask.key = want->key;
	out->ask.key_bytes = want->key_bytes;
	if (want->class_name)
		out->ask.class_name = class_number(want->class_name);
	if (want->class_name && !out->ask.class_name)
		return WEIR_ECLASS;
	/* a fault of the segment is met again where it can be answered */
	if (!binding_is_current(binding))
		endpoint_refresh(want->endpoint);
	out->key = keys_of_ask(endpoint_binding(want->endpoint), &out->ask);
	return 0;
}

/* A rule that moves between this and the taking changes the order for once. */
int several_begin(struct several *out, const struct weir_want *wants, size_t count)
{
	if (count == 0 || count > WEIR_WANTS_MAX)
		return WEIR_EVALUE;
	out->count = count;
	out->worst = NULL;
	for (size_t i = 0; i < count; i++) {
		struct part part;
		size_t at = i;
		int status = part_begin(&part, &wants[i], (uint32_t)i);

		if (status < 0)
			return status;
		for (; at > 0 && compare(&part, &out->parts[at - 1]) < 0; at--)
			out->parts[at] = out->parts[at - 1];
		out->parts[at] = part;
	}
	return 0;
}

/* ---- looking ---- */

bool several_excuse(struct several *several, struct part *part, int fault)
{
	if (answer_fault(part->endpoint, fault, &several->faulty) == WEIR_ADMIT) {
		part->excused = fault;
		return true;
	}
	several->worst = part;
	return false;
}

/* What parts of the same bucket will take before this one. */
static uint64_t taken_before(const struct several *several, const struct part *part)
{
	uint64_t units = 0;

	for (const struct part *other = several->parts; other < part; other++)
		if (!other->held && !other->excused && compare(other, part) == 0)
			units += other->attempt.units;
	return units;
}

static void note_refused(struct several *several, struct part *part)
{
	part->refused = true;
	if (!several->worst || wait_ns(part) > wait_ns(several->worst))
		several->worst = part;
}

enum attempt_result several_look(struct several *several)
{
	several->worst = NULL;
	for (size_t i = 0; i < several->count; i++) {
		struct part *part = &several->parts[i];
		struct ask ask = part->ask;
		enum attempt_result result;

		part->refused = false;
		if (part->held || part->excused)
			continue;
		ask.look = true;
		ask.before = taken_before(several, part);
		result = attempt_take(part->endpoint, &ask, 0, &part->attempt);
		if (result == ATTEMPT_REFUSED)
			note_refused(several, part);
		else if (result != ATTEMPT_ADMITTED &&
			 !several_excuse(several, part, part->attempt.fault))
			return ATTEMPT_FAULT;
	}
	return several->worst ? ATTEMPT_REFUSED : ATTEMPT_ADMITTED;
}

/* ---- taking, and giving back ---- */

/* In reverse, so that two places in one line are the last ones in turn. */
void several_undo(struct several *several)
{
	for (size_t i = several->count; i-- > 0;) {
		struct part *part = &several->parts[i];

		if (part->held)
			place_undo(part->endpoint, &part->place, part->place.units);
		part->held = false;
	}
}

enum attempt_result several_refused(struct several *several)
{
	struct part *part = several->worst;
	const struct attempt attempt = part->attempt;
	enum attempt_result result = several_look(several);

	if (result != ATTEMPT_ADMITTED)
		return result;
	part->attempt = attempt;
	part->refused = true;
	several->worst = part;
	return ATTEMPT_REFUSED;
}

enum attempt_result several_take(struct several *several)
{
	for (size_t i = 0; i < several->count; i++) {
		struct part *part = &several->parts[i];
		enum attempt_result result;

		if (part->excused)
			continue;
		result = attempt_take(part->endpoint, &part->ask, 0, &part->attempt);
		if (result == ATTEMPT_ADMITTED) {
			place_take(&part->attempt, &part->place);
			part->held = true;
			continue;
		}
		if (result != ATTEMPT_REFUSED && several_excuse(several, part, part->attempt.fault))
			continue;
		several_undo(several);
		several->worst = part;
		return result == ATTEMPT_REFUSED ? several_refused(several) : ATTEMPT_FAULT;
	}
	return ATTEMPT_ADMITTED;
}
