/* SPDX-License-Identifier: Apache-2.0
 *
 * rules_keep.h - what becomes of the level of a row's buckets, and of what its rule has learned,
 * when the rule changes. For the rules*.c files only.
 *
 * Who writes: the publisher; marks and gates move by one CAS each, as everybody moves them. Killed
 * anywhere: some of the buckets have the level that was asked for, the others that of before.
 */
#ifndef WEIR_RULES_KEEP_H
#define WEIR_RULES_KEEP_H

#include "rules.h"

struct keep_context {
	const struct segment *segment;
	uint32_t row;
	enum rules_keep keep;
	uint64_t burst_before;
	uint64_t burst_after;
};

/*
 * What an opening means for the level, if nobody has met it. Returns the present: a closure that
 * is still in force at that time is no opening yet.
 */
uint64_t keep_meet_opening(const struct segment *segment, uint32_t row, struct bucket *bucket);

/* The buckets of a row: its own, or those of all names under [default]. */
uint32_t keep_buckets(const struct segment *segment, uint32_t row, struct bucket **first);

/* By the line that was in force at the opening, as far as it still is. */
void keep_begin(const struct segment *segment, uint32_t row, enum rules_keep keep);

/* The marks that leave the level the rule asks for, in all of the row's buckets and keys. */
void keep_apply(const struct keep_context *context);

/* A shadow limit that was not there begins full, whatever one before it has left. */
void keep_begin_shadow(const struct segment *segment, uint32_t row, const struct line *before,
		       const struct terms *terms);

/* The terms alone, if anything else is in force. */
void learned_drop(struct segment *segment, uint32_t row, uint64_t cause);

/*
 * New terms for the row. What was learned goes with the terms that it is held against; not into a
 * rule that learns no more, nor under what an operator set while it was frozen.
 */
struct terms learned_with(const struct segment *segment, uint32_t row, const struct terms *terms);

#endif
