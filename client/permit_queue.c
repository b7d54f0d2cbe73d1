/* SPDX-License-Identifier: Apache-2.0
 *
 * permit_queue.c - a place in line for a permit, for a caller that must not sleep; and the bell.
 */
#include "permit_try.h"

#include <string.h>

/* What a struct weir_waiter holds. */
struct waiting {
	uint64_t pair; /* 0: left; of a place that is none: the ticket is 0 */
	uint64_t owner;
	uint64_t ticket;
	uint32_t index;
	uint32_t reserved;
};

_Static_assert(sizeof(struct waiting) == sizeof(struct weir_waiter), "a place is held whole");

/* Takes a place in the line of the present binding; without a limit, one that is none. */
static int queue(struct weir_endpoint *endpoint, struct waiting *out)
{
	struct permit_place place = {0};
	struct permit_chain chain;
	struct binding *binding;
	int status = permit_binding(endpoint, &binding);
	uint64_t owner = status < 0 ? 0 : permit_find_owner(endpoint->weir, binding->attachment);

	if (status < 0)
		return status;
	if (!owner)
		return WEIR_EMEMBERS;
	if (chain_find(&binding->attachment->segment, binding->row, &chain) == PERMIT_TAKEN)
		status = line_join(&binding->attachment->segment, chain.head, owner, true, &place);
	if (status < 0)
		return status;
	*out = (struct waiting){
		.pair = binding->attachment->segment.pair,
		.owner = place.owner,
		.ticket = place.ticket,
		.index = place.index,
	};
	return 0;
}

int weir_permit_queue(struct weir_endpoint *endpoint, struct weir_waiter *out)
{
	struct waiting waiting;
	int status = queue(endpoint, &waiting);

	if (status == 0)
		memcpy(out, &waiting, sizeof(waiting));
	return status;
}

static struct permit_place place_of(const struct waiting *waiting)
{
	return (struct permit_place){waiting->index, waiting->owner, waiting->ticket};
}

/* false: it was left, or the place is another process's. */
static bool unqueue(struct weir_endpoint *endpoint, const struct waiting *waiting)
{
	struct attachment *at = attachment_of(endpoint->weir, waiting->pair);
	struct permit_place place = place_of(waiting);

	if (waiting->ticket == 0)
		return true;
	/* acquire: pairs with the release in attachment_own() */
	return at &&
	       (place.owner & PERMIT_OWNER) ==
		       atomic_load_explicit(&at->owner, memory_order_acquire) &&
	       line_leave(&at->segment, &place);
}

int weir_permit_unqueue(struct weir_endpoint *endpoint, struct weir_waiter *value)
{
	struct waiting waiting;
	struct binding *binding;

	memcpy(&waiting, value, sizeof(waiting));
	memset(value, 0, sizeof(*value));
	if (permit_binding(endpoint, &binding) < 0)
		binding = endpoint_binding(endpoint);
	if (waiting.pair == 0 || !unqueue(endpoint, &waiting))
		return WEIR_ESPENT;
	permits_call(&binding->attachment->segment, binding->row);
	return 0;
}

/* The place is in the line that the name leads to now, or gets one there. Returns 0 or a fault. */
static int poll_follow(struct weir_endpoint *endpoint, struct waiting *waiting)
{
	struct permit_place place = place_of(waiting);
	struct permit_chain chain;
	struct binding *binding;
	int status = permit_binding(endpoint, &binding);

	if (status < 0)
		return status;

	const struct segment *segment = &binding->attachment->segment;
	bool limited = chain_find(segment, binding->row, &chain) == PERMIT_TAKEN;

	if (waiting->pair == segment->pair && limited == (waiting->ticket != 0) &&
	    (!limited || place_head(waiting->ticket) == chain.head))
		return !limited || line_holds(segment, &place) ? 0 : WEIR_ESPENT;
	unqueue(endpoint, waiting);
	return queue(endpoint, waiting);
}

enum weir_verdict weir_permit_poll(struct weir_endpoint *endpoint, struct weir_waiter *value,
				   struct weir_permit *out, struct weir_answer *answer)
{
	struct waiting waiting;
	struct permit_place place;
	enum permit_result result;
	struct permit_try try;
	int status;

	memcpy(&waiting, value, sizeof(waiting));
	if (waiting.pair == 0)
		return answer_fault(endpoint, WEIR_ESPENT, answer);
	status = poll_follow(endpoint, &waiting);
	if (status < 0)
		return permit_faulty(endpoint, status, out, answer);
	memcpy(value, &waiting, sizeof(waiting));
	place = place_of(&waiting);
	if (waiting.ticket)
		line_look(&endpoint_binding(endpoint)->attachment->segment, &place);
	result = permit_try_take(endpoint, waiting.ticket ? &place : NULL, &try);
	if (permit_is_wanting(result) && permit_look_for_dead(endpoint, try.binding))
		result = permit_try_take(endpoint, waiting.ticket ? &place : NULL, &try);
	if (result == PERMIT_DAMAGED)
		return permit_faulty(endpoint, try.fault, out, answer);
	if (result != PERMIT_TAKEN && result != PERMIT_UNLIMITED)
		return permit_refused(&try, 0, WEIR_REASON_PERMIT, answer);
	weir_permit_unqueue(endpoint, value);
	return permit_admitted(&try, result, 0, out, answer);
}

static uint32_t own_slot(struct weir *weir, const struct segment **out)
{
	pthread_mutex_lock(&weir->mutex);
	fork_rejoin(weir);

	/* relaxed: under the mutex */
	const struct attachment *at = atomic_load_explicit(&weir->current, memory_order_relaxed);
	uint32_t slot = at->slot;

	*out = &at->segment;
	pthread_mutex_unlock(&weir->mutex);
	return slot;
}

int weir_permit_listen(struct weir *weir, uint32_t *bell, uint64_t timeout_ns)
{
	const struct segment *segment;
	uint32_t slot = own_slot(weir, &segment);
	const uint64_t most =
		timeout_ns < PERMIT_LOOK_SELDOM_NS ? timeout_ns : PERMIT_LOOK_SELDOM_NS;

	if (slot == MEMBER_NONE)
		return WEIR_EMEMBERS;

	const _Atomic uint32_t *word = &segment->members[slot].bell;

	permit_sleep(word, *bell, most);

	/* acquire: pairs with the release in line_ring() */
	uint32_t now = atomic_load_explicit(word, memory_order_acquire);
	int rang = now != *bell;

	*bell = now;
	return rang;
}

void weir_permit_ring(struct weir *weir)
{
	const struct segment *segment;
	uint32_t slot = own_slot(weir, &segment);

	if (slot != MEMBER_NONE)
		line_ring(segment, slot);
}
