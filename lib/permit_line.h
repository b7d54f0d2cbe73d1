/* SPDX-License-Identifier: Apache-2.0
 *
 * permit_line.h - the line of those who wait for permits of a chain, first come first served.
 *
 * A waiter's row is claimed by one exchange that names its owner, as a permit is; its place is a
 * ticket. Lines share the table: each begins at a place of its own, and `reach` says how far from
 * there its waiters are to be found. Who writes: everybody. Killed anywhere: a row is free, or its
 * owner's and comes back with what that held; a ticket without a row is in nobody's way.
 *
 * Who has so many places before him may take when more permits than that are free (permits.h), and
 * is called then: the first in line of those who were not called, by his own futex word, and only
 * once until he has looked. Whoever gave a permit back stores it, then looks along the line; who is
 * in line says that he looks, then looks for permits. All four are seq_cst: one of the two sees the
 * other. Who leaves the line calls those that may go now. Places that were passed over do not
 * count until their holder looks.
 */
#ifndef WEIR_PERMIT_LINE_H
#define WEIR_PERMIT_LINE_H

#include <stdbool.h>
#include <stdint.h>

#include "segment.h"

/* A place in line, as its holder keeps it. */
struct permit_place {
	uint32_t index;	 /* of its row */
	uint64_t owner;	 /* the word that claimed it */
	uint64_t ticket; /* the word `place` */
};

#define PLACE_VALID (1ull << 63)
#define PLACE_TICKET ((1ull << 47) - 1)
#define LINE_LENGTH 0xffffffffull /* of permit_line.reach: how far its waiters are spread */

static inline uint32_t place_head(uint64_t ticket)
{
	return (uint32_t)(ticket >> 47) & 0xffff;
}

/*
 * Takes a place at the end of the line of a chain. Lock-free. Returns 0, or WEIR_EWAITERS. `rings`:
 * it is called by its member's bell.
 */
int line_join(const struct segment *segment, uint32_t head, uint64_t owner, bool rings,
	      struct permit_place *out);

/* Leaves; false: that was left before. Then permits_call() is due. */
bool line_leave(const struct segment *segment, const struct permit_place *place);

/* Whether the place is still the holder's. */
bool line_holds(const struct segment *segment, const struct permit_place *place);

/*
 * Says that its holder looks now; returns his futex value. Who is called by its own word does not
 * sleep before line_rest(), which gives the value to sleep on, or says that he was called: he looks
 * again.
 */
uint32_t line_look(const struct segment *segment, const struct permit_place *place);
bool line_rest(const struct segment *segment, const struct permit_place *place, uint32_t *value);

/* Nobody is in line, as far as one load tells. */
static inline bool line_is_empty(const struct segment *segment, uint32_t head)
{
	/* seq_cst: pairs with reach_raise() */
	return !(atomic_load_explicit(&segment->lines[head].reach, memory_order_seq_cst) &
		 LINE_LENGTH);
}

/* Who is in line before `place` (NULL: all who are in it). */
struct line_before {
	uint64_t count;
	bool called; /* one of them was called, and has not looked yet */
};
struct line_before line_before(const struct segment *segment, uint32_t head,
			       const struct permit_place *place);

/* The first in line of those who were not called; false: there is none. */
struct line_next {
	uint32_t index;
	uint64_t ticket;
	uint64_t before; /* so many in line before him */
};
bool line_find_next(const struct segment *segment, uint32_t head, struct line_next *out);

/* Calls him; false: somebody else did, or he has left. */
bool line_call(const struct segment *segment, const struct line_next *next);

/* Who is first; false: nobody. */
struct line_first {
	uint32_t index;
	uint32_t member;
	uint64_t ticket;
	enum waiter_state state;
};
bool line_find_first(const struct segment *segment, uint32_t head, struct line_first *out);

/* Lets others go before somebody who was called and did not look. */
void line_pass_over(const struct segment *segment, const struct line_first *first);

/* How many are in line. */
uint64_t line_length(const struct segment *segment, uint32_t head);

/* Gives back the places of a member; see permits_reap(). */
void line_reap(const struct segment *segment, uint32_t member);

/* Wakes one of them, who is not called by it: only to sleep for another time. */
void line_nudge(const struct segment *segment, const struct permit_place *place);

/* Makes everybody in line look again: the segment was replaced. */
void line_call_everybody(const struct segment *segment);

/* Rings the bell of a member. */
void line_ring(const struct segment *segment, uint32_t member);

#endif
