/* SPDX-License-Identifier: Apache-2.0
 *
 * floors.c - what the machine itself charges: no limiter in shared memory can be cheaper than a
 * reading of the time and one compare-and-swap.
 */
#include "bench.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

/* The word that all processes of a crew swap; alone in its page. */
static _Atomic uint64_t *word;

static const char *no_rdtsc(void)
{
#if defined(__x86_64__)
	return NULL;
#else
	return "not on this machine: it has no rdtsc";
#endif
}

static uint64_t read_tsc(void)
{
#if defined(__x86_64__)
	return __rdtsc();
#else
	return 0;
#endif
}

static const char *share_word(void)
{
	if (word == NULL)
		word = bench_shared(4096);
	return word == NULL ? "no memory to share" : NULL;
}

static const char *share_word_and_rdtsc(void)
{
	const char *note = no_rdtsc();

	return note != NULL ? note : share_word();
}

static uint64_t run_rdtsc(uint64_t ops)
{
	uint64_t last = 0;

	/* Kept in a register, so that the loop is the instruction and nothing else. */
	for (uint64_t i = 0; i < ops; i++) {
		last = read_tsc();
		__asm__ volatile("" : : "r"(last));
	}
	return ops;
}

static uint64_t run_clock_gettime(uint64_t ops)
{
	struct timespec at;
	uint64_t good = 0;

	for (uint64_t i = 0; i < ops; i++)
		good += clock_gettime(CLOCK_MONOTONIC, &at) == 0;
	return good;
}

static uint64_t run_cas(uint64_t ops)
{
	for (uint64_t i = 0; i < ops; i++) {
		/* relaxed: a count that nobody reads; only the instruction is of interest */
		uint64_t seen = atomic_load_explicit(word, memory_order_relaxed);

		while (!atomic_compare_exchange_weak_explicit(
			word, &seen, seen + 1, memory_order_acq_rel, memory_order_relaxed))
			;
	}
	return ops;
}

/* The least that any limiter must do: read the time, and move a word that depends on it. */
static uint64_t run_rdtsc_cas(uint64_t ops)
{
	for (uint64_t i = 0; i < ops; i++) {
		uint64_t now = read_tsc();
		/* relaxed: as in run_cas() */
		uint64_t seen = atomic_load_explicit(word, memory_order_relaxed);
		uint64_t next;

		do {
			next = (seen > now ? seen : now) + 1;
		} while (!atomic_compare_exchange_weak_explicit(
			word, &seen, next, memory_order_acq_rel, memory_order_relaxed));
	}
	return ops;
}

/* What a refusal by an exact limit must read beside the time, and a count of its own. */
struct refusal {
	_Atomic uint64_t mark;
	_Atomic uint64_t gate;
	_Atomic uint64_t generation; /* its last bit says which line is in force */
	_Atomic uint64_t line[2][6]; /* origin in ticks, in units and their fraction, slope, burst,
					flags */
};

static struct refusal *refusal;

static const char *share_refusal(void)
{
	if (refusal == NULL)
		refusal = bench_shared(sizeof(*refusal));
	if (refusal == NULL)
		return "no memory to share";
	/* relaxed, all: before there are others */
	atomic_store_explicit(&refusal->mark, 1ull << 62, memory_order_relaxed);
	for (int i = 0; i < 2; i++) {
		atomic_store_explicit(&refusal->line[i][0], read_tsc(), memory_order_relaxed);
		atomic_store_explicit(&refusal->line[i][3], 1, memory_order_relaxed);
		atomic_store_explicit(&refusal->line[i][4], 1, memory_order_relaxed);
	}
	return no_rdtsc();
}

static bool is_refused(const struct refusal *of)
{
#define WORD(word) atomic_load_explicit(&(word), memory_order_acquire)
	uint64_t mark = WORD(of->mark);
	uint64_t generation = WORD(of->generation);
	uint64_t now = read_tsc();
	const _Atomic uint64_t *line = of->line[generation & 1];
	uint64_t elapsed = now - WORD(line[0]);
	uint64_t minted = ((WORD(line[2]) >> 32) + elapsed * WORD(line[3])) >> 32;
	uint64_t v = WORD(line[1]) + minted;
	uint64_t burst = WORD(line[4]);

	return WORD(line[5]) == 0 && WORD(of->generation) == generation && WORD(of->gate) == 0 &&
	       (mark > v ? mark : v) + 1 - v > burst;
#undef WORD
}

static uint64_t run_refusal(uint64_t ops)
{
	uint64_t refused = 0;

	for (uint64_t i = 0; i < ops; i++)
		refused += is_refused(refusal);
	return refused;
}

const struct bench_work bench_rdtsc = {
	.name = "floor/rdtsc",
	.least = 64,
	.prepare = no_rdtsc,
	.run = run_rdtsc,
};

const struct bench_work bench_clock_gettime = {
	.name = "floor/clock_gettime",
	.least = 64,
	.run = run_clock_gettime,
};

const struct bench_work bench_cas = {
	.name = "floor/cas",
	.least = 64,
	.prepare = share_word,
	.run = run_cas,
};

const struct bench_work bench_rdtsc_cas = {
	.name = "floor/rdtsc+cas",
	.least = 64,
	.prepare = share_word_and_rdtsc,
	.run = run_rdtsc_cas,
};

const struct bench_work bench_refusal = {
	.name = "floor/refuse",
	.least = 64,
	.prepare = share_refusal,
	.run = run_refusal,
};
