/* SPDX-License-Identifier: Apache-2.0
 *
 * several.h - several buckets, all or nothing.
 *
 * They are taken one by one, each by its own compare-and-swap. Now or never: all are looked at
 * first, so that most refusals touch nothing, and then taken in the order of their places in the
 * segment, which is the same for everybody. Of two callers who contend, one is then refused before
 * it holds what the other still needs; in an order of its own each could hold what the other
 * needs, and both be refused (tests/model/test_several.c).
 *
 * Who is refused after the look gives back what it took, by the rule of bucket_give_back(): in
 * full, unless others have queued beyond the burst behind it meanwhile; then time refills it. In
 * that moment others find less than there is. Killed anywhere: what was taken stays spent.
 */
#ifndef WEIR_SEVERAL_H
#define WEIR_SEVERAL_H

#include <stddef.h>

#include "handle.h"

/* One want on its way. */
struct part {
	struct weir_endpoint *endpoint;
	uint32_t index; /* in the caller's list */
	struct ask ask;
	uint64_t key;		/* of it, for the order; 0: none */
	struct attempt attempt; /* the last one */
	struct place_in_line place;
	uint64_t deadline; /* 0: now */
	int excused;	   /* the fault that the handle's policy answered with yes */
	bool held;	   /* at `place` */
	bool refused;
	bool slept;
};

struct several {
	struct part parts[WEIR_WANTS_MAX]; /* in the order of taking */
	size_t count;
	struct part *worst;	   /* refused: with the longest wait; faulty: the one */
	struct weir_answer faulty; /* the answer of a faulty one */
};

/* Checks and orders the wants. Returns 0, WEIR_EVALUE, WEIR_ECLASS. */
int several_begin(struct several *out, const struct weir_want *wants, size_t count);

/* Whether all that is not held yet could be taken at this moment. Takes nothing. */
enum attempt_result several_look(struct several *several);

/* Takes all, or gives back what it has taken. */
enum attempt_result several_take(struct several *several);

/* Gives back what is held. */
void several_undo(struct several *several);

/*
 * Behind several_undo(), refused because of `several->worst`: looks again which it is and how long
 * the wait, and leaves it at that one if all of them would pass by now.
 */
enum attempt_result several_refused(struct several *several);

/* No decision was possible. true: the policy admits this part, and the others still count. */
bool several_excuse(struct several *several, struct part *part, int fault);

#endif
