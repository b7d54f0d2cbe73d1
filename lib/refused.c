/* SPDX-License-Identifier: Apache-2.0 */
#include "refused.h"

#include <stdlib.h>
#include <string.h>

/* The set of a key: by other bits than its stripe. */
static unsigned set_of(uint64_t key)
{
	return (unsigned)(key / LAYOUT_KEY_STRIPES % LAYOUT_WORST_SETS);
}

/* Relaxed, all: counts and texts for people. */
#define LOAD(word) atomic_load_explicit(&(word), memory_order_relaxed)
#define STORE(word, value) atomic_store_explicit(&(word), value, memory_order_relaxed)
#define COUNT(word) atomic_fetch_add_explicit(&(word), 1, memory_order_relaxed)

/* What looks like chance: splitmix64 of a number that only grows. */
static uint64_t scatter(uint64_t number)
{
	number += 0x9e3779b97f4a7c15ull;
	number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9ull;
	number = (number ^ number >> 27) * 0x94d049bb133111ebull;
	return number ^ number >> 31;
}

static void write_text(struct key_worst *set, unsigned way, const unsigned char *text, size_t bytes)
{
	STORE(set->names[way].bytes, bytes);
	for (size_t i = 0; i < bytes && i < LAYOUT_WORST_BYTES; i++)
		STORE(set->names[way].text[i], text[i]);
}

void refused_count(struct key_head *head, uint64_t key, const void *text, size_t bytes)
{
	struct key_worst *set = &head->worst[set_of(key)];
	uint64_t least = UINT64_MAX;
	unsigned place = 0;
	uint64_t missed;
	uint64_t there;

	for (unsigned way = 0; way < LAYOUT_WORST_WAYS; way++) {
		uint64_t count;

		there = LOAD(set->keys[way]);
		if (there == key) {
			COUNT(set->counts[way]);
			return;
		}
		count = there ? LOAD(set->counts[way]) : 0;
		if (count < least) {
			least = count;
			place = way;
		}
	}
	missed = COUNT(head->stripes[key % LAYOUT_KEY_STRIPES].missed);
	if (scatter(missed ^ key) % (least + 1) != 0)
		return;
	there = LOAD(set->keys[place]);
	/* a lost race: somebody else's key came first */
	if (!atomic_compare_exchange_strong_explicit(&set->keys[place], &there, key,
						     memory_order_relaxed, memory_order_relaxed))
		return;
	COUNT(set->counts[place]);
	write_text(set, place, text, bytes);
}

static int compare(const void *a, const void *b)
{
	const struct refused_key *left = a;
	const struct refused_key *right = b;

	return left->count < right->count ? 1 : left->count > right->count ? -1 : 0;
}

unsigned refused_list(const struct key_head *head, struct refused_key out[REFUSED_KEYS])
{
	unsigned count = 0;

	for (unsigned i = 0; i < REFUSED_KEYS; i++) {
		const struct key_worst *set = &head->worst[i / LAYOUT_WORST_WAYS];
		unsigned way = i % LAYOUT_WORST_WAYS;
		struct refused_key one = {
			.key = LOAD(set->keys[way]),
			.count = LOAD(set->counts[way]),
			.bytes = LOAD(set->names[way].bytes),
		};

		for (size_t byte = 0; byte < LAYOUT_WORST_BYTES; byte++)
			one.text[byte] = LOAD(set->names[way].text[byte]);
		if (one.key)
			out[count++] = one;
	}
	qsort(out, count, sizeof(*out), compare);
	return count;
}
