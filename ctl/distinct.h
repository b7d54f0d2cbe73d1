/* SPDX-License-Identifier: Apache-2.0
 *
 * distinct.h - about how many different hashes there were: HyperLogLog (Flajolet, Fusy, Gandouet,
 * Meunier 2007) with 2^14 registers. The standard error is 0.8 %.
 */
#ifndef WEIRCTL_DISTINCT_H
#define WEIRCTL_DISTINCT_H

#include <stdint.h>

#define DISTINCT_BITS 14

struct distinct {
	uint8_t registers[1u << DISTINCT_BITS];
};

/* The same hash again changes nothing. */
static inline void distinct_add(struct distinct *distinct, uint64_t hash)
{
	uint64_t rest = hash << DISTINCT_BITS | 1ull << (DISTINCT_BITS - 1);
	uint8_t rank = (uint8_t)(__builtin_clzll(rest) + 1);
	uint8_t *at = &distinct->registers[hash >> (64 - DISTINCT_BITS)];

	*at = *at < rank ? rank : *at;
}

uint64_t distinct_estimate(const struct distinct *distinct);

#endif
