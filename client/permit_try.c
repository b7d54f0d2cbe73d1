/* SPDX-License-Identifier: Apache-2.0
 *
 * permit_try.c - one try for a permit; whose it is not, and may come back; and the answers.
 */
#include "permit_try.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define DEAD_AGAIN_NS WEIR_MILLISECOND
#define MOVED_TRIES 100

/* ---- one try ---- */

/* Whether the binding may be used, and its attachment's owner with it. */
bool permit_is_current(const struct binding *binding)
{
	/* acquire: pairs with the release in fork_rejoin() */
	return atomic_load_explicit(binding->fork_mark, memory_order_acquire) &&
	       binding_holds(binding);
}

int permit_binding(struct weir_endpoint *endpoint, struct binding **out)
{
	struct binding *binding = endpoint_binding(endpoint);
	int status = permit_is_current(binding) ? 0 : endpoint_refresh(endpoint);

	*out = endpoint_binding(endpoint);
	return status;
}

/* A process that found no slot looks for one again: a permit needs an owner. */
uint64_t permit_find_owner(struct weir *weir, struct attachment *at)
{
	/* acquire: pairs with the release in attachment_own() */
	uint64_t owner = atomic_load_explicit(&at->owner, memory_order_acquire);

	if (owner)
		return owner;
	pthread_mutex_lock(&weir->mutex);
	fork_rejoin(weir);
	if (at->slot == MEMBER_NONE && segment_state_fd(&at->segment) >= 0)
		attachment_own(at, members_join(&at->segment));
	/* relaxed: stored under the mutex */
	owner = atomic_load_explicit(&at->owner, memory_order_relaxed);
	pthread_mutex_unlock(&weir->mutex);
	return owner;
}

/* Permits that are about to be kept elsewhere, and are still here: somebody is at it. */
static enum permit_result try_moved(struct weir_endpoint *endpoint, struct permit_try *try)
{
	const struct binding *before = try->binding;

	try->fault = endpoint_refresh(endpoint);
	try->binding = endpoint_binding(endpoint);
	if (try->binding == before)
		sched_yield();
	return PERMIT_MOVED;
}

static enum permit_result try_once(struct weir_endpoint *endpoint, const struct permit_place *place,
				   struct permit_try *out)
{
	enum permit_result result;

	out->fault = permit_binding(endpoint, &out->binding);
	if (out->fault < 0)
		return PERMIT_DAMAGED;
	out->owner = permit_find_owner(endpoint->weir, out->binding->attachment);
	if (!out->owner) {
		out->fault = WEIR_EMEMBERS;
		return PERMIT_DAMAGED;
	}
	result = permits_take(&out->binding->attachment->segment, out->binding->row, out->owner,
			      place, &out->binding->permit_hint, &out->taken);
	if (result == PERMIT_DAMAGED)
		out->fault = WEIR_EDAMAGED;
	return result;
}

/* `place`, if it is one, is in the line of the present binding. */
enum permit_result permit_try_take(struct weir_endpoint *endpoint, const struct permit_place *place,
				   struct permit_try *out)
{
	for (int tries = 0; tries < MOVED_TRIES; tries++) {
		enum permit_result result = try_once(endpoint, place, out);

		if (result != PERMIT_MOVED)
			return result;
		/* the caller sees to it that his place is in the line of the new binding */
		if (try_moved(endpoint, out) == PERMIT_MOVED && place)
			return PERMIT_BEHIND;
	}
	return PERMIT_NONE;
}

/* ---- what the dead and the late hold ---- */

static void told_struck(void *context, const struct permit_held *held)
{
	const struct weir_endpoint *endpoint = context;

	weir_report(endpoint->weir, WEIR_EVENT_EXPIRED, WEIR_EEXPIRED, endpoint->name,
		    ticks_to_ns(&endpoint_binding((struct weir_endpoint *)(uintptr_t)endpoint)
					 ->attachment->segment,
				held->age_ticks));
}

/* None is free, or others are first: perhaps they are dead, or have held theirs too long. */
bool permit_look_for_dead(struct weir_endpoint *endpoint, const struct binding *binding)
{
	struct weir *weir = endpoint->weir;
	struct attachment *at = binding->attachment;
	uint64_t now = time_source_kernel_ns(CLOCK_MONOTONIC);
	bool found = false;

	/* the lock of a slot does not exclude its own description: one thread at a time */
	pthread_mutex_lock(&weir->mutex);
	if (now >= weir->dead_after_ns && segment_state_fd(&at->segment) >= 0) {
		found = permits_find_dead(&at->segment, binding->row, at->slot);
		weir->dead_after_ns = now + DEAD_AGAIN_NS;
	}
	pthread_mutex_unlock(&weir->mutex);
	return permits_strike(&at->segment, binding->row, segment_hz(&at->segment), told_struck,
			      endpoint) ||
	       found;
}

/* ---- answers ---- */

static double free_now(const struct binding *binding)
{
	struct permit_sum sum = {0};

	if (permits_look(&binding->attachment->segment, binding->row, &sum, NULL, NULL) < 0)
		return 0;
	return sum.limit == UINT64_MAX ? __builtin_inf() : (double)sum.free;
}

static void answer_permit(const struct permit_try *try, uint64_t wait_ns, int fault, int32_t reason,
			  struct weir_answer *answer)
{
	if (answer)
		*answer = (struct weir_answer){
			.wait_ns = wait_ns,
			.level = free_now(try->binding),
			.fault = fault,
			.reason = reason,
		};
}

enum weir_verdict permit_refused(const struct permit_try *try, int fault, int32_t reason,
				 struct weir_answer *answer)
{
	struct permit_chain chain;
	const struct segment *segment = &try->binding->attachment->segment;
	bool never =
		chain_find(segment, try->binding->row, &chain) == PERMIT_TAKEN && chain.limit == 0;

	answer_permit(try, never ? WEIR_NEVER : PERMIT_LOOK_AGAIN_NS, fault, reason, answer);
	return WEIR_REFUSE;
}

enum weir_verdict permit_admitted(const struct permit_try *try, enum permit_result result,
				  uint64_t slept_ns, struct weir_permit *out,
				  struct weir_answer *answer)
{
	const struct permit permit = {
		.pair = try->binding->attachment->segment.pair,
		.word = result == PERMIT_TAKEN ? try->taken.word : 1,
		.index = result == PERMIT_TAKEN ? try->taken.index : PERMIT_OF_NOBODY,
		.row = try->binding->row_index,
		.ticks = result == PERMIT_TAKEN ? try->taken.ticks : 0,
	};

	memcpy(out, &permit, sizeof(permit));
	if (answer)
		*answer = (struct weir_answer){
			.wait_ns = slept_ns,
			.level = result == PERMIT_TAKEN ? free_now(try->binding) : __builtin_inf(),
		};
	return WEIR_ADMIT;
}

/* What the policy admits holds a permit of nobody's. */
enum weir_verdict permit_faulty(const struct weir_endpoint *endpoint, int fault,
				struct weir_permit *out, struct weir_answer *answer)
{
	const struct permit permit = {.word = 1, .index = PERMIT_OF_NOBODY};
	enum weir_verdict verdict = answer_fault(endpoint, fault, answer);

	if (verdict == WEIR_ADMIT)
		memcpy(out, &permit, sizeof(permit));
	return verdict;
}

/* ---- sleeping ---- */

bool permit_sleep(const void *word, uint32_t value, uint64_t ns)
{
	const struct timespec pause = {(time_t)(ns / WEIR_SECOND), (long)(ns % WEIR_SECOND)};

	return syscall(SYS_futex, word, FUTEX_WAIT, value, &pause, NULL, 0) < 0 &&
	       errno == ETIMEDOUT;
}
