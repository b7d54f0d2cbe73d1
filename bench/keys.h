/* SPDX-License-Identifier: Apache-2.0
 *
 * keys.h - the keys that all rows with a bucket for each key ask for, and in which order.
 */
#ifndef WEIR_BENCH_KEYS_H
#define WEIR_BENCH_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	BENCH_KEYS = 1000000,
	BENCH_MANY_KEYS = 10000000,
	BENCH_DRAWS = 1 << 20, /* of an order; then it begins anew */
};

/* 16 bytes, made of the key's number: a server has them at hand, no miss is to be counted. */
struct bench_key {
	uint64_t words[2];
};

static inline struct bench_key bench_key(uint64_t number)
{
	return (struct bench_key){{number * 0x9e3779b97f4a7c15ull, number ^ 0x6b6579736f667765ull}};
}

/* Which key comes when: all alike often, or the n-th an n-th as often as the first. */
struct bench_order {
	const uint32_t *draws; /* BENCH_DRAWS keys; NULL: at random */
	uint32_t keys;
	uint64_t at; /* in the draws, or the state of the chance */
};

static inline uint64_t bench_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull;
}

/* By the upper half of a product: none is favoured by more than 2^-32. */
static inline uint32_t bench_random_below(uint64_t *state, uint32_t bound)
{
	return (uint32_t)((bench_random(state) >> 32) * bound >> 32);
}

static inline uint32_t bench_draw(struct bench_order *order)
{
	if (order->draws == NULL)
		return bench_random_below(&order->at, order->keys);
	return order->draws[order->at++ % BENCH_DRAWS];
}

/* Draws for all processes; NULL: no memory. */
const uint32_t *bench_zipf(uint32_t keys);

/* An order that begins elsewhere in every process and round, so that no cache knows it. */
struct bench_order bench_order(const uint32_t *draws, uint32_t keys);

/*
 * Maps what is behind shared memory into this process and reads it once: a process that was just
 * forked would spend its round on page faults.
 */
void bench_warm(void *memory, uint64_t bytes);

#endif
