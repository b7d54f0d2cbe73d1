/* SPDX-License-Identifier: Apache-2.0 */
#include "tally.h"

static _Atomic uint64_t *counter_at(const struct tallies *tallies, uint32_t lane, uint32_t bucket,
				    enum counter counter)
{
	return &tallies->lanes[(size_t)lane * tallies->buckets + bucket].counters[counter];
}

void tally_add_shared(const struct tallies *tallies, uint32_t bucket, enum counter counter,
		      uint64_t by)
{
	/* relaxed: a sum that misses the latest call is a sum of a moment ago */
	atomic_fetch_add_explicit(counter_at(tallies, tallies->shared_lane, bucket, counter), by,
				  memory_order_relaxed);
}

void tally_read(const struct tallies *tallies, uint32_t bucket, struct tally_sum *out)
{
	struct tally_sum sum = {{0}};
	uint32_t lanes = layout_lanes(tallies->cpu_lanes);

	for (uint32_t lane = 0; lane < lanes; lane++)
		for (int i = 0; i < LAYOUT_COUNTERS; i++)
			/* relaxed: as in tally_add_shared() */
			sum.counters[i] += atomic_load_explicit(
				counter_at(tallies, lane, bucket, (enum counter)i),
				memory_order_relaxed);
	*out = sum;
}

void tally_carry(const struct tallies *tallies, uint32_t bucket, const struct tally_sum *sum)
{
	uint32_t carried = layout_lanes(tallies->cpu_lanes) - 1;

	for (int i = 0; i < LAYOUT_COUNTERS; i++)
		atomic_store_explicit(counter_at(tallies, carried, bucket, (enum counter)i),
				      sum->counters[i], memory_order_relaxed);
}
