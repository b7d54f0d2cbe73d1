/* SPDX-License-Identifier: Apache-2.0
 *
 * random.c - chance from a seed (SplitMix64), the same on every machine.
 */
#include "sim.h"

#include <math.h>

uint64_t sim_random_bits(struct sim_random *random)
{
	uint64_t bits = random->state += 0x9e3779b97f4a7c15ull;

	bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9ull;
	bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebull;
	return bits ^ (bits >> 31);
}

double sim_random_unit(struct sim_random *random)
{
	return (double)(sim_random_bits(random) >> 11) / 9007199254740992.0;
}

double sim_random_exponential(struct sim_random *random, double mean)
{
	return -mean * log(1 - sim_random_unit(random));
}
