/* SPDX-License-Identifier: Apache-2.0 */
#include "worst.h"

#include <string.h>

static uint16_t *chain_of(struct worst *worst, uint64_t hash)
{
	return &worst->chains[hash % WORST_CHAINS];
}

static struct worst_key *find_key(struct worst *worst, uint64_t hash)
{
	for (uint16_t at = *chain_of(worst, hash); at; at = worst->keys[at - 1].next)
		if (worst->keys[at - 1].hash == hash)
			return &worst->keys[at - 1];
	return NULL;
}

static void unchain(struct worst *worst, const struct worst_key *key)
{
	uint16_t *at = chain_of(worst, key->hash);

	while (&worst->keys[*at - 1] != key)
		at = &worst->keys[*at - 1].next;
	*at = key->next;
}

static void put(struct worst *worst, unsigned place, uint16_t number)
{
	worst->heap[place] = number;
	worst->keys[number].place = (uint16_t)place;
}

static uint64_t count_at(const struct worst *worst, unsigned place)
{
	return worst->keys[worst->heap[place]].count;
}

/* A count has grown: the key moves away from the top. */
static void sink(struct worst *worst, struct worst_key *key)
{
	uint16_t number = worst->heap[key->place];
	unsigned place = key->place;

	for (;;) {
		unsigned child = 2 * place + 1;

		if (child + 1 < worst->used && count_at(worst, child + 1) < count_at(worst, child))
			child++;
		if (child >= worst->used || count_at(worst, child) >= key->count)
			break;
		put(worst, place, worst->heap[child]);
		place = child;
	}
	put(worst, place, number);
}

/* A new one with a count of 0 belongs on top, where all are 1 or more. */
static struct worst_key *add_key(struct worst *worst)
{
	uint16_t number = (uint16_t)worst->used++;

	for (unsigned place = number; place > 0; place = (place - 1) / 2)
		put(worst, place, worst->heap[(place - 1) / 2]);
	put(worst, 0, number);
	return &worst->keys[number];
}

static struct worst_key *take_place(struct worst *worst, const struct arrival *arrival)
{
	struct worst_key *key =
		worst->used < WORST_KEYS ? add_key(worst) : &worst->keys[worst->heap[0]];
	uint16_t *chain = chain_of(worst, arrival->hash);

	if (key->count)
		unchain(worst, key);
	key->hash = arrival->hash;
	key->over = key->count;
	key->key_bytes = arrival->key_bytes;
	memcpy(key->key, arrival->key, arrival->key_bytes);
	key->next = *chain;
	*chain = (uint16_t)(key - worst->keys + 1);
	return key;
}

void worst_add(struct worst *worst, const struct arrival *arrival)
{
	struct worst_key *key = find_key(worst, arrival->hash);

	if (!key)
		key = take_place(worst, arrival);
	key->count++;
	sink(worst, key);
}

/* Of the same count, those that are surer; then by their names, so that every run says the same. */
static int compare(const struct worst_key *a, const struct worst_key *b)
{
	size_t common = a->key_bytes < b->key_bytes ? a->key_bytes : b->key_bytes;

	if (a->count != b->count)
		return a->count > b->count ? -1 : 1;
	if (a->over != b->over)
		return a->over < b->over ? -1 : 1;

	int order = memcmp(a->key, b->key, common);

	return order ? order : (int)a->key_bytes - (int)b->key_bytes;
}

unsigned worst_list(const struct worst *worst, const struct worst_key **list, unsigned most)
{
	unsigned count = 0;

	for (unsigned i = 0; i < worst->used; i++) {
		const struct worst_key *key = &worst->keys[i];
		unsigned at = count < most ? count++ : most;

		/* one of a full list falls off its end */
		for (; at > 0 && compare(key, list[at - 1]) < 0; at--)
			if (at < most)
				list[at] = list[at - 1];
		if (at < most)
			list[at] = key;
	}
	return count;
}
