/* SPDX-License-Identifier: Apache-2.0
 *
 * permits.h - how many calls of a rule may be under way: take a permit, give it back, find what
 * the dead held.
 *
 * A permit is one word, free or {member, its generation, count of takes}: one exchange takes it
 * and names its owner, and a double or late release cannot free somebody else's. Who writes:
 * everybody, by that exchange. Killed anywhere: the permit is free, or its owner's, and the dead
 * owner's comes back from whoever holds the lock of its member slot next (members.h).
 *
 * First come, first served: whoever keeps a permit has seen, holding it, one more free for each of
 * those who were in line before him. A newcomer has all of the line before him. Who sees too few
 * after the exchange gives back and goes into line; of two who take the same time, the later one
 * sees the other's. So nobody in line needs to run for those behind him to go on, and none finds
 * his permit taken by one who came later.
 *
 * A limit counts the first so many permits of a chain (permit_chain.h). Who took one looks once
 * more whether the limit is the same, and gives it back if not: so a taker that was stopped holds
 * nothing by a limit that is gone. All of that is seq_cst, on both sides: of the one who changes a
 * limit and looks for holders, and the one who takes and looks for a change, one sees the other.
 */
#ifndef WEIR_LIB_PERMITS_H
#define WEIR_LIB_PERMITS_H

#include <stdbool.h>
#include <stdint.h>

#include "permit_line.h"
#include "segment.h"

#define PERMIT_HELD (1ull << 63)
#define PERMIT_STRUCK (1ull << 62) /* of a free one: it was taken away */
#define PERMIT_COUNT 0xffffffffull
#define PERMIT_OWNER (~PERMIT_COUNT)

/* The upper half of the word of a permit that a member holds. */
static inline uint64_t permit_owner(uint32_t member, uint64_t generation)
{
	return PERMIT_HELD | (uint64_t)(member & 0xffff) << 47 | (generation & 0x7fff) << 32;
}

static inline uint32_t permit_member(uint64_t word)
{
	return (uint32_t)(word >> 47) & 0xffff;
}

/* A rule without a limit, as far as one load tells. */
static inline bool permits_are_unlimited(const struct rule_row *row)
{
	/* acquire: who was told of a limit by the one who set it sees it here */
	return (atomic_load_explicit(&row->permit_limit, memory_order_acquire) & PERMIT_LIMIT) ==
	       TERMS_NO_LIMIT;
}

enum permit_result {
	PERMIT_TAKEN,
	PERMIT_UNLIMITED, /* the rule has no limit: nothing was taken */
	PERMIT_NONE,	  /* none is free, or one above a lowered limit is still held */
	PERMIT_BEHIND,	  /* others are in line before him, and no more are free than for them */
	PERMIT_BEHIND_CALLED, /* the same; and one of them was called, and did not get to run yet */
	PERMIT_MOVED,	      /* they are about to be kept elsewhere: resolve again */
	PERMIT_DAMAGED,
};

struct permit_taken {
	uint32_t index;
	uint64_t word;
	uint64_t ticks; /* of the take */
};

/*
 * Where to look first: the permit that was taken last, and below it by which change of the limit.
 * So who takes again and again keeps to a permit of his own. 0: none; a process's own word.
 */
typedef _Atomic uint64_t permit_hint;

/*
 * Takes a permit of the row's rule for an owner, if one is free for him beside those of all who are
 * in line before `place` (NULL: he has none). Lock-free; no system call, unless it gives back one
 * that it may not keep.
 */
enum permit_result permits_take(const struct segment *segment, const struct rule_row *row,
				uint64_t owner, const struct permit_place *place, permit_hint *hint,
				struct permit_taken *out);

/*
 * Gives back the permit that has this word, and calls the next in line if there is one more free
 * than were called: as far as `row` tells, whose permit it was (NULL: not known). Returns 0,
 * WEIR_ESPENT, WEIR_EEXPIRED, as far as the permit still tells; WEIR_EDAMAGED.
 */
int permits_release(const struct segment *segment, const struct rule_row *row, uint32_t index,
		    uint64_t word);

/* Passes a permit on to another owner. Returns as permits_release(); then *word is the new one. */
int permits_pass(const struct segment *segment, uint32_t index, uint64_t *word, uint64_t owner);

/* Calls all in line who may go: after leaving it. */
void permits_call(const struct segment *segment, const struct rule_row *row);

/* The same for every rule: after something came back, or somebody died who was to call. */
void permits_call_all(const struct segment *segment);

/*
 * Gives back all that the member of this slot holds, permits and places in line. The caller holds
 * the slot's lock, and so nobody else writes for that member: members.c.
 */
void permits_reap(const struct segment *segment, uint32_t member);

/*
 * Looks at who holds the row's permits and who is first in its line, and reaps those who are dead;
 * `own` is not looked at. Makes system calls. true if anything came back.
 */
bool permits_find_dead(struct segment *segment, const struct rule_row *row, uint32_t own);

/* A permit that is held. */
struct permit_held {
	uint32_t index;
	uint32_t member;
	uint64_t word;
	uint64_t age_ticks; /* UINT64_MAX: it is being taken at this moment */
};

/*
 * Takes back what was held longer than the rule's max_hold, `hz` being the clock's; tells of each
 * (`told` may be NULL). Returns how many.
 */
typedef void permits_tell(void *context, const struct permit_held *held);
unsigned permits_strike(const struct segment *segment, const struct rule_row *row, uint64_t hz,
			permits_tell *told, void *context);

/* What a rule's permits look like. */
struct permit_sum {
	uint64_t limit; /* UINT64_MAX: none */
	uint64_t free;
	uint64_t held;
	uint64_t waiting;
	uint64_t hold_ns; /* max_hold; 0: for ever */
};

/* Looks, and tells of every permit held (`told` may be NULL). Returns 0, WEIR_EDAMAGED. */
int permits_look(const struct segment *segment, const struct rule_row *row, struct permit_sum *out,
		 permits_tell *told, void *context);

#endif
