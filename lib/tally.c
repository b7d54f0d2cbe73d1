/* SPDX-License-Identifier: Apache-2.0 */
#include "tally.h"

#include <math.h>

static const bool counter_is_units[LAYOUT_COUNTERS] = {
	[COUNT_GRANTED_UNITS] = true,
	[COUNT_REFUSED_UNITS] = true,
	[COUNT_WAITED_UNITS] = true,
	[COUNT_RETURNED_UNITS] = true,
};

static _Atomic uint64_t *counter_at(const struct tallies *tallies, uint32_t lane, uint32_t bucket,
				    enum counter counter)
{
	return &tallies->lanes[(size_t)lane * tallies->buckets + bucket].counters[counter];
}

void tally_add_shared(const struct tallies *tallies, uint32_t bucket, enum counter pair,
		      uint64_t first, uint64_t second)
{
	_Atomic uint64_t *counters = counter_at(tallies, tallies->shared_lane, bucket, pair);

	/* relaxed: a sum that misses the latest call is a sum of a moment ago */
	if (first)
		atomic_fetch_add_explicit(&counters[0], first, memory_order_relaxed);
	if (second)
		atomic_fetch_add_explicit(&counters[1], second, memory_order_relaxed);
}

/* relaxed: as in tally_add_shared() */
static uint64_t lane_read(const struct tallies *tallies, uint32_t lane, uint32_t bucket,
			  int counter)
{
	return atomic_load_explicit(counter_at(tallies, lane, bucket, (enum counter)counter),
				    memory_order_relaxed);
}

void tally_read(const struct tallies *tallies, uint32_t bucket, unsigned k, struct tally_sum *out)
{
	struct tally_sum sum = {.counters = {0}};
	uint32_t carried = layout_lanes(tallies->cpu_lanes) - 1;

	for (int i = 0; i < LAYOUT_COUNTERS; i++) {
		uint64_t earlier = lane_read(tallies, carried, bucket, i);

		for (uint32_t lane = 0; lane < carried; lane++)
			sum.counters[i] += lane_read(tallies, lane, bucket, i);
		if (counter_is_units[i])
			sum.tokens[i] = ldexpl((long double)sum.counters[i], -(int)k) +
					(long double)earlier / TALLY_CARRIED_PER_TOKEN;
		else
			sum.counters[i] += earlier;
	}
	*out = sum;
}

void tally_join(struct tally_sum *sum, const struct tally_sum *earlier)
{
	for (int i = 0; i < LAYOUT_COUNTERS; i++) {
		sum->tokens[i] += earlier->tokens[i];
		if (!counter_is_units[i])
			sum->counters[i] += earlier->counters[i];
	}
}

void tally_carry(const struct tallies *tallies, uint32_t bucket, const struct tally_sum *sum)
{
	uint32_t carried = layout_lanes(tallies->cpu_lanes) - 1;

	for (int i = 0; i < LAYOUT_COUNTERS; i++) {
		uint64_t count = counter_is_units[i]
					 ? (uint64_t)(sum->tokens[i] * TALLY_CARRIED_PER_TOKEN)
					 : sum->counters[i];

		atomic_store_explicit(counter_at(tallies, carried, bucket, (enum counter)i), count,
				      memory_order_relaxed);
	}
}
