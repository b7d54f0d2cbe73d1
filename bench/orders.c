/* SPDX-License-Identifier: Apache-2.0 */
#include "keys.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#define LINE_BYTES 64

/* The first of the sums that is above `at`. */
static uint32_t find_above(const double *sums, uint32_t count, double at)
{
	uint32_t from = 0;

	while (count > 0) {
		uint32_t half = count / 2;

		if (sums[from + half] > at) {
			count = half;
		} else {
			from += half + 1;
			count -= half + 1;
		}
	}
	return from;
}

const uint32_t *bench_zipf(uint32_t keys)
{
	uint32_t *draws = malloc(BENCH_DRAWS * sizeof(*draws));
	double *sums = malloc(keys * sizeof(*sums));
	uint64_t state = 0x2545f4914f6cdd1dull ^ keys;
	double sum = 0;

	if (draws == NULL || sums == NULL) {
		free(draws);
		free(sums);
		return NULL;
	}
	for (uint32_t i = 0; i < keys; i++) {
		sum += 1.0 / (i + 1.0);
		sums[i] = sum;
	}
	for (uint32_t i = 0; i < BENCH_DRAWS; i++)
		draws[i] = find_above(sums, keys - 1,
				      (double)(bench_random(&state) >> 11) * 0x1p-53 * sum);
	free(sums);
	return draws;
}

struct bench_order bench_order(const uint32_t *draws, uint32_t keys)
{
	uint64_t seed = bench_now_ns() ^ (uint64_t)getpid() << 32;

	bench_random(&seed);
	return (struct bench_order){draws, keys, seed};
}

void bench_warm(void *memory, uint64_t bytes)
{
	volatile const unsigned char *byte = memory;

#ifdef MADV_POPULATE_WRITE
	/* as by writing, which changes nothing; where the kernel cannot, reading does it slowly */
	madvise(memory, bytes, MADV_POPULATE_WRITE);
#endif
	for (uint64_t at = 0; at < bytes; at += LINE_BYTES)
		(void)byte[at];
}
