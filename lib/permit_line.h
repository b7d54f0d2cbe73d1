/* SPDX-License-Identifier: Apache-2.0
 *
 * permit_line.h - the line of those who wait for permits of a chain, first come first served.
 *
 * A waiter's row is claimed by one exchange that names its owner, as a permit is; its place is a
 * ticket. Lines share the table: each begins at a place of its own, and `reach` says how far from
 * there its waiters are to be found. Who writes: everybody. Killed anywhere: a row is free, or its
 * owner's and comes back with what that held; a ticket without a row is in nobody's way.
 *
 * Only who is first is called, by his own futex word, and only once until he has looked: whoever
 * gave a permit back stores it, then looks for who is first; who is first says that he looks, then
 * looks for a permit. All four are seq_cst: one of the two sees the other. Who leaves the line
 * calls the next one himself if there is a permit left.
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

/* Says that its holder looks now; returns the futex value to sleep on if there was nothing. */
uint32_t line_look(const struct segment *segment, const struct permit_place *place);

/* Whether somebody is in line before `place` (NULL: at all). */
bool line_is_before(const struct segment *segment, uint32_t head, const struct permit_place *place);

/* Calls who is first, unless he was called before. */
void line_call(const struct segment *segment, uint32_t head);

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
