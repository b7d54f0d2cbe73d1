/* SPDX-License-Identifier: Apache-2.0
 *
 * permit_try.h - one try for a permit, and what its answer says: what taking, waiting and polling
 * have in common.
 */
#ifndef WEIR_PERMIT_TRY_H
#define WEIR_PERMIT_TRY_H

#include "handle.h"
#include "permit_chain.h"
#include "permits.h"

#define PERMIT_LOOK_AGAIN_NS (100 * WEIR_MILLISECOND)
#define PERMIT_LOOK_SELDOM_NS (60 * WEIR_SECOND)
#define PERMIT_OF_NOBODY UINT32_MAX /* taken where there is no limit, or by policy */
#define PERMIT_STARTED (1u << 31)   /* in the row: its ticks are not the take's */

/* What a struct weir_permit holds. */
struct permit {
	uint64_t pair;
	uint64_t word; /* 0: given back */
	uint32_t index;
	uint32_t row;
	uint64_t ticks; /* when it was taken, or its work began */
};

_Static_assert(sizeof(struct permit) == sizeof(struct weir_permit), "a permit is held whole");

struct permit_try {
	struct binding *binding;
	uint64_t owner;
	struct permit_taken taken;
	int fault;
};

/* Whether the binding may be used, and its attachment's owner with it. */
bool permit_is_current(const struct binding *binding);

/* The binding to use now. Returns 0 or the fault. */
int permit_binding(struct weir_endpoint *endpoint, struct binding **out);

/* By what word this process takes permits there; 0: there is no slot for it. */
uint64_t permit_find_owner(struct weir *weir, struct attachment *at);

/* `place`, if it is one, is in the line of the present binding. */
enum permit_result permit_try_take(struct weir_endpoint *endpoint, const struct permit_place *place,
				   struct permit_try *out);

/* None is free for the caller. */
static inline bool permit_is_wanting(enum permit_result result)
{
	return result == PERMIT_NONE || result == PERMIT_BEHIND || result == PERMIT_BEHIND_CALLED;
}

/* None is free, or others are first: perhaps they are dead, or have held theirs too long. */
bool permit_look_for_dead(struct weir_endpoint *endpoint, const struct binding *binding);

/* Answers. What the policy admits holds a permit of nobody's. */
enum weir_verdict permit_refused(const struct permit_try *try, int fault, int32_t reason,
				 struct weir_answer *answer);
enum weir_verdict permit_admitted(const struct permit_try *try, enum permit_result result,
				  uint64_t slept_ns, struct weir_permit *out,
				  struct weir_answer *answer);
enum weir_verdict permit_faulty(const struct weir_endpoint *endpoint, int fault,
				struct weir_permit *out, struct weir_answer *answer);

/* Sleeps while the word has that value; true: until the time was over. */
bool permit_sleep(const void *word, uint32_t value, uint64_t ns);

/* ---- permit_wait.c ---- */

/* After a try that found none: waits in line. */
enum weir_verdict permit_wait(struct weir_endpoint *endpoint, const struct permit_try *try,
			      uint64_t timeout_ns, struct weir_permit *out,
			      struct weir_answer *answer);

#endif
