/* SPDX-License-Identifier: Apache-2.0
 *
 * gate.h - closes an endpoint for everybody until a tick, and counts what voids places in line.
 *
 * One word beside the mark: when it opens, whether what an opening means has been done, how
 * often it was closed, how often the bucket was refilled by hand. Who writes: everybody. Killed
 * anywhere: an opening that was not finished is finished by the next call, and the same again.
 *
 * The first call after a closure drains the bucket (mark >= V(opening) + burst), so that waiters
 * leave at the rule's speed. A sleeper whose turn came up during the closure takes a new place;
 * one whose turn lies after the opening keeps it. After a reset all sleepers take new places.
 *
 * With windows nothing is drained: what is left of the window under way may be used, and a place
 * that passes in the window of the opening keeps its turn, since it is of that window's quota.
 */
#ifndef WEIR_GATE_H
#define WEIR_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "bucket.h"
#include "layout.h"
#include "token_clock.h"

#define GATE_PENDING (1ull << 15)
#define GATE_CLOSINGS 0x7f00ull
#define GATE_RESETS 0xffull
#define GATE_UNTIL (~0xffffull)

/* The word as one had it who took a place before the last closing. */
static inline uint64_t gate_before_closing(uint64_t gate)
{
	return (gate & ~GATE_CLOSINGS) | ((gate - 0x100) & GATE_CLOSINGS);
}

/* Open, and nothing left to do about an opening. */
static inline bool gate_is_settled(uint64_t gate)
{
	return !(gate & GATE_PENDING);
}

static inline uint64_t gate_load(const struct bucket *bucket)
{
	/* seq_cst: pairs with gate_close(); see there */
	return atomic_load_explicit(&bucket->gate, memory_order_seq_cst);
}

static inline bool gate_is_closed(uint64_t gate, uint64_t now)
{
	return !gate_is_settled(gate) && (gate & GATE_UNTIL) > now;
}

/*
 * Closes until `until` (rounded up to 65,536 ticks), unless it is closed for longer. Returns
 * false when the bucket's mark has moved elsewhere: close it there as well.
 */
bool gate_close(struct bucket *bucket, uint64_t now, uint64_t until);

/* Opens now, and wakes who sleeps on the gate word. Returns as gate_close() does. */
bool gate_open(struct bucket *bucket, uint64_t now);

/* Wakes who sleeps on the gate word: the bucket's mark has moved, and its gate with it. */
void gate_wake(struct bucket *bucket);

/*
 * For a gate whose time has come and is not settled: drains the bucket (without windows) and
 * settles the gate.
 * Returns false if the bucket is unset or frozen.
 */
bool gate_settle(struct bucket *bucket, uint64_t gate, const struct line *line);

/*
 * Whether a sleeper at `position`, who took it when the gate word was `then`, must take a new
 * place now that the word is `gate`.
 */
bool gate_voids(uint64_t then, uint64_t gate, uint64_t position, const struct line *line);

/*
 * Ticks until `units` can be taken within `limit` ahead of V (the burst at most), if nobody else
 * takes any, from a bucket that is closed at `now`: it opens empty, or with what its mark says is
 * spoken for beyond that; with windows, with what its mark says alone. UINT64_MAX: never.
 */
uint64_t gate_wait_ticks(uint64_t gate, uint64_t mark, const struct line *line, uint64_t now,
			 uint64_t units, uint64_t limit);

/* The same of a bucket that an opening does not drain. */
uint64_t gate_wait_ticks_kept(uint64_t gate, uint64_t mark, const struct line *line, uint64_t now,
			      uint64_t units, uint64_t limit);

/*
 * Takes over a closure from the bucket that a mark comes from, and the counts, so that a reset
 * after the move is told from one before it.
 */
void gate_inherit(struct bucket *to, uint64_t gate);

/*
 * Sets the mark by `place(mark, context)` and voids every place in line, by one exchange of both
 * words: weirctl reset, --keep. Returns the bucket_result of the last try.
 */
enum bucket_result gate_reset(struct bucket *bucket, uint64_t now,
			      uint64_t (*place)(uint64_t mark, const void *context),
			      const void *context);

#endif
