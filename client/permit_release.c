/* SPDX-License-Identifier: Apache-2.0
 *
 * permit_release.c - giving a permit back, saying when its call began, and passing it on to a
 * forked child.
 */
#include "permit_try.h"

#include <string.h>

#define START_LATE_NS 100000 /* from the take on, what is no wait */

static const struct rule_row *row_of(const struct segment *segment, const struct permit *permit)
{
	uint32_t row = permit->row & ~PERMIT_STARTED;

	return row < segment->row_count ? &segment->rows[row] : NULL;
}

/* Held longer than it may be, as far as its own value tells. */
static bool is_overdue(const struct segment *segment, const struct permit *permit)
{
	const struct rule_row *row = row_of(segment, permit);

	if (!row)
		return false;

	/* acquire: pairs with the release in permit_terms_store() */
	uint64_t hold_ns = atomic_load_explicit(&row->permit_hold_ns, memory_order_acquire);
	uint64_t now = segment_now(segment);

	/* one whose work began later was held for longer than it tells */
	return hold_ns &&
	       (permit->row & PERMIT_STARTED ||
		(now > permit->ticks && ticks_to_ns(segment, now - permit->ticks) > hold_ns));
}

/* Where the permit is kept, if it is this process's. Returns 0, or why it is not. */
static int permit_find(struct weir_endpoint *endpoint, const struct permit *permit,
		       struct attachment **out)
{
	struct binding *binding;

	if (permit->word == 0)
		return WEIR_ESPENT;
	/* a child must know that it is one */
	if (!permit_is_current(endpoint_binding(endpoint)))
		permit_binding(endpoint, &binding);
	*out = attachment_of(endpoint->weir, permit->pair);
	return *out ? 0 : WEIR_ESTRANGER;
}

static bool is_left(const struct weir *weir, const struct attachment *at)
{
	/* acquire: pairs with the release in attachment_follow() */
	return at != atomic_load_explicit(&weir->current, memory_order_acquire);
}

static bool is_of_nobody(const struct weir_permit *value)
{
	struct permit permit;

	memcpy(&permit, value, sizeof(permit));
	return permit.word && permit.index == PERMIT_OF_NOBODY;
}

/* The call that a permit was held for. */
struct call {
	const struct segment *segment;
	const struct rule_row *row; /* NULL: no rule's, or it is counted nowhere */
	uint64_t began;
};

static int give_back(struct weir_endpoint *endpoint, struct weir_permit *value, struct call *call)
{
	struct permit permit;
	struct attachment *at;
	int status;

	*call = (struct call){0};
	if (is_of_nobody(value)) {
		memset(value, 0, sizeof(*value));
		return 0;
	}
	memcpy(&permit, value, sizeof(permit));
	status = permit_find(endpoint, &permit, &at);
	if (status < 0)
		return status;
	/* acquire: pairs with the release in attachment_own() */
	if ((permit.word & PERMIT_OWNER) != atomic_load_explicit(&at->owner, memory_order_acquire))
		return WEIR_ESTRANGER;
	memset(value, 0, sizeof(*value));
	status = permits_release(&at->segment, row_of(&at->segment, &permit), permit.index,
				 permit.word);
	/* it went with the slot when the pair was replaced, which nobody takes from any more */
	if (status == WEIR_ESPENT && is_left(endpoint->weir, at))
		return 0;
	if (status == WEIR_ESPENT && is_overdue(&at->segment, &permit))
		return WEIR_EEXPIRED;
	if (status == 0)
		*call = (struct call){&at->segment, row_of(&at->segment, &permit), permit.ticks};
	return status;
}

int weir_permit_release(struct weir_endpoint *endpoint, struct weir_permit *value)
{
	struct call call;
	int status = give_back(endpoint, value, &call);

	if (call.row)
		permit_found_end(call.segment, call.row, call.began);
	return status;
}

int weir_permit_fail(struct weir_endpoint *endpoint, struct weir_permit *value)
{
	struct call call;
	int status = give_back(endpoint, value, &call);

	if (call.row) {
		permit_found_end(call.segment, call.row, call.began);
		permit_found_fail(call.segment, call.row, call.began);
	}
	return status;
}

int weir_permit_start(struct weir_endpoint *endpoint, struct weir_permit *value)
{
	struct permit permit;
	struct attachment *at;
	uint64_t now;
	int status;

	if (is_of_nobody(value))
		return 0;
	memcpy(&permit, value, sizeof(permit));
	status = permit_find(endpoint, &permit, &at);
	if (status < 0)
		return status;
	now = segment_now(&at->segment);
	if (now <= permit.ticks || ticks_to_ns(&at->segment, now - permit.ticks) < START_LATE_NS)
		return 0;
	permit.ticks = now;
	permit.row |= PERMIT_STARTED;
	memcpy(value, &permit, sizeof(permit));
	return 0;
}

int weir_permit_inherit(struct weir_endpoint *endpoint, struct weir_permit *value)
{
	struct permit permit;
	struct attachment *at;
	uint64_t owner;
	int status;

	memcpy(&permit, value, sizeof(permit));
	if (permit.word && permit.index == PERMIT_OF_NOBODY)
		return 0;
	status = permit_find(endpoint, &permit, &at);
	if (status < 0)
		return status;
	owner = permit_find_owner(endpoint->weir, at);
	if (!owner)
		return WEIR_EMEMBERS;
	if ((permit.word & PERMIT_OWNER) == owner)
		return 0;
	/* relaxed: written by the fork handler, before this process had threads */
	if ((permit.word & PERMIT_OWNER) != atomic_load_explicit(&at->parent, memory_order_relaxed))
		return WEIR_ESTRANGER;
	status = permits_pass(&at->segment, permit.index, &permit.word, owner);
	if (status == WEIR_ESPENT && is_overdue(&at->segment, &permit))
		return WEIR_EEXPIRED;
	if (status == 0)
		memcpy(value, &permit, sizeof(permit));
	return status;
}
