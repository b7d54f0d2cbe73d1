/* SPDX-License-Identifier: Apache-2.0
 *
 * tally.h - what was granted, refused, waited for and given back, per bucket.
 *
 * Counts only grow, are never reset and never folded. They are spread over lanes: one for each
 * of the first CPUs, added to without a lock inside a restartable sequence (rseq(2)), and a few
 * shared ones for everybody else, added to by fetch_add; the last lane holds what was carried
 * over from a pair that this one replaced, and only the publisher writes it.
 * Killed anywhere: the sum is exact but for the one call that was being counted.
 */
#ifndef WEIR_TALLY_H
#define WEIR_TALLY_H

#include <stdint.h>

#include "lane.h"
#include "layout.h"

struct tallies {
	struct tally *lanes;  /* the first lane */
	uint32_t buckets;     /* tallies of one lane */
	uint32_t cpu_lanes;   /* lanes that belong to a CPU */
	uint32_t shared_lane; /* this member's shared lane, an index among all lanes */
};

/*
 * One bucket's counts, summed over all lanes. What was carried over was counted in other units,
 * which may be far coarser; so sums of tokens are floating: all 64 bits of what was counted here,
 * where a long double has them.
 */
struct tally_sum {
	uint64_t counters[LAYOUT_COUNTERS];  /* those of units: what was counted here alone */
	long double tokens[LAYOUT_COUNTERS]; /* of the counters of units: with what was carried */
};

/* Tokens of the carried lane are whole sixteenths: 10^9/s for ten years fits. */
#define TALLY_CARRIED_PER_TOKEN 16

/* Adds to a pair of counters by fetch_add on a shared lane. Lock-free. */
void tally_add_shared(const struct tallies *tallies, uint32_t bucket, enum counter pair,
		      uint64_t first, uint64_t second);

/* Adds to `pair`, whose number is even, and to the counter behind it. Lock-free. */
static inline void tally_add_pair(const struct tallies *tallies, uint32_t bucket, enum counter pair,
				  uint64_t first, uint64_t second)
{
	if (!lane_add(&tallies->lanes[bucket].counters[pair],
		      (uint64_t)tallies->buckets * sizeof(struct tally), tallies->cpu_lanes, first,
		      second))
		tally_add_shared(tallies, bucket, pair, first, second);
}

/* Counts one call of `units`: `calls` and `calls + 1` are its counters. Lock-free. */
static inline void tally_count(const struct tallies *tallies, uint32_t bucket, enum counter calls,
			       uint64_t units)
{
	tally_add_pair(tallies, bucket, calls, 1, units);
}

/* Adds to one counter. Lock-free. */
static inline void tally_add(const struct tallies *tallies, uint32_t bucket, enum counter counter,
			     uint64_t by)
{
	bool second = counter & 1;

	tally_add_pair(tallies, bucket, (enum counter)(counter & ~1u), second ? 0 : by,
		       second ? by : 0);
}

/* Sums, of units of 2^-k token; each counter is exact at some moment during the call. */
void tally_read(const struct tallies *tallies, uint32_t bucket, unsigned k, struct tally_sum *out);

/* Adds the calls, times and tokens of a bucket that this one continues. */
void tally_join(struct tally_sum *sum, const struct tally_sum *earlier);

/* Writes the lane of what was carried over, absolutely. Publisher only. */
void tally_carry(const struct tallies *tallies, uint32_t bucket, const struct tally_sum *sum);

#endif
