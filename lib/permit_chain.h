/* SPDX-License-Identifier: Apache-2.0
 *
 * permit_chain.h - which permits a rule has: blocks of the pool, in a chain, of which the first
 * `concurrency` permits count.
 *
 * Who writes: the publisher alone, one thread; everybody else walks the chain and sees by the
 * span's `head` when it left it, because a block has become another rule's. Killed anywhere: a
 * block that is in no chain, or not yet in one, is found again by permit_chain_recover().
 */
#ifndef WEIR_PERMIT_CHAIN_H
#define WEIR_PERMIT_CHAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "permit_found.h"
#include "permits.h"
#include "segment.h"
#include "token_clock.h"

/* A rule's chain, and the limit it was read with. */
struct permit_chain {
	const struct segment *segment;
	const struct rule_row *row;
	uint64_t word; /* permit_limit */
	uint64_t limit;
	uint32_t head;
};

/* Reads it. PERMIT_TAKEN: it is there; else PERMIT_UNLIMITED, PERMIT_MOVED, PERMIT_DAMAGED. */
enum permit_result chain_read(const struct segment *segment, const struct rule_row *row,
			      struct permit_chain *out);

/* The same also while permits are about to be kept elsewhere: for who only looks. */
enum permit_result chain_find(const struct segment *segment, const struct rule_row *row,
			      struct permit_chain *out);

/* A walk along it: while (chain_next(&walk)). */
struct chain_walk {
	const struct permit_chain *chain;
	uint64_t ordinal; /* of the permit in the chain */
	uint32_t index;	  /* of the permit */
	uint32_t next;	  /* block, + 1 */
	uint32_t steps;
	bool broken; /* the chain was changed under the walk */
};
void chain_begin(struct chain_walk *out, const struct permit_chain *chain);
bool chain_next(struct chain_walk *walk);

/* Blocks of a chain for a limit of so many; one also for 0, since its line is known by the first.
 */
static inline uint32_t permit_blocks_for(uint64_t limit)
{
	return limit ? (uint32_t)((limit + LAYOUT_BLOCK_PERMITS - 1) / LAYOUT_BLOCK_PERMITS) : 1;
}

/* So many permits such terms may come to give; they have a limit. */
static inline uint64_t permits_most(const struct terms *terms)
{
	return terms->concurrency_max ? terms->concurrency_max : terms->concurrency - 1;
}

/* ---- the publisher's side ---- */

/*
 * Gives a row that is not live yet, or is, the permits its terms ask for. Raising wakes; lowering
 * takes from nobody. A row that takes over the text of another goes on with its chain. Returns 0,
 * or WEIR_EPERMITS: nothing was changed.
 */
int permit_terms_store(struct segment *segment, uint32_t row, const struct terms *terms);

/*
 * Puts a limit that was found into force, within the row's bounds, and says why. It takes from
 * nobody, and who gives back under it is followed at once by the next: permits that are held above
 * a lowered one delay nobody, unlike those above one that was set. Calls that began before are
 * counted no more; where it was lowered, none is until permit_found_count(). Returns 0, or
 * WEIR_EVALUE: the row's limit is given.
 */
int permit_found_store(struct segment *segment, uint32_t row, const struct permit_found *found);

/* From now on calls are counted that begin from now on. */
void permit_found_count(struct segment *segment, uint32_t row);

/* How many permits above the limit are held. */
uint64_t permit_held_above(const struct segment *segment, uint32_t row);

/* The row is none any more: who would take a permit by it resolves again. Once the table says so
 * as well, permit_line_wake() has those in its line look. */
void permit_row_leave(struct segment *segment, uint32_t row);
void permit_line_wake(struct segment *segment, uint32_t row);

/* Finishes what a dead publisher left half done. */
void permit_chain_recover(struct segment *segment);

/* Now and then: what was lowered, and is not held above the limit any more, is as any other. */
void permit_chain_tend(struct segment *segment);

/*
 * Before the pair is replaced: gives no permit any more, and says whether any is held. 0: none, and
 * none will be; WEIR_EHELD: some are, and permits are given again.
 */
int permit_chain_close(struct segment *segment);
void permit_chain_reopen(struct segment *segment);

#endif
