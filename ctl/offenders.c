/* SPDX-License-Identifier: Apache-2.0 */
#include "offenders.h"

#include <string.h>

static uint16_t *chain_of(struct offenders *offenders, uint64_t hash)
{
	return &offenders->chains[hash % OFFENDER_CHAINS];
}

static struct offender *find_key(struct offenders *offenders, uint64_t hash)
{
	for (uint16_t at = *chain_of(offenders, hash); at; at = offenders->keys[at - 1].next)
		if (offenders->keys[at - 1].hash == hash)
			return &offenders->keys[at - 1];
	return NULL;
}

static void unchain(struct offenders *offenders, const struct offender *key)
{
	uint16_t *at = chain_of(offenders, key->hash);

	while (&offenders->keys[*at - 1] != key)
		at = &offenders->keys[*at - 1].next;
	*at = key->next;
}

static void put(struct offenders *offenders, unsigned place, uint16_t number)
{
	offenders->heap[place] = number;
	offenders->keys[number].place = (uint16_t)place;
}

static uint64_t count_at(const struct offenders *offenders, unsigned place)
{
	return offenders->keys[offenders->heap[place]].count;
}

/* A count has grown: the key moves away from the top. */
static void sink(struct offenders *offenders, struct offender *key)
{
	uint16_t number = offenders->heap[key->place];
	unsigned place = key->place;

	for (;;) {
		unsigned child = 2 * place + 1;

		if (child + 1 < offenders->used &&
		    count_at(offenders, child + 1) < count_at(offenders, child))
			child++;
		if (child >= offenders->used || count_at(offenders, child) >= key->count)
			break;
		put(offenders, place, offenders->heap[child]);
		place = child;
	}
	put(offenders, place, number);
}

/* A new one with a count of 0 belongs on top, where all are 1 or more. */
static struct offender *add_key(struct offenders *offenders)
{
	uint16_t number = (uint16_t)offenders->used++;

	for (unsigned place = number; place > 0; place = (place - 1) / 2)
		put(offenders, place, offenders->heap[(place - 1) / 2]);
	put(offenders, 0, number);
	return &offenders->keys[number];
}

static struct offender *take_place(struct offenders *offenders, const struct arrival *arrival)
{
	struct offender *key = offenders->used < OFFENDERS ? add_key(offenders)
							   : &offenders->keys[offenders->heap[0]];
	uint16_t *chain = chain_of(offenders, arrival->hash);

	if (key->count)
		unchain(offenders, key);
	key->hash = arrival->hash;
	key->over = key->count;
	key->key_bytes = arrival->key_bytes;
	memcpy(key->key, arrival->key, arrival->key_bytes);
	key->next = *chain;
	*chain = (uint16_t)(key - offenders->keys + 1);
	return key;
}

void offenders_add(struct offenders *offenders, const struct arrival *arrival)
{
	struct offender *key = find_key(offenders, arrival->hash);

	if (!key)
		key = take_place(offenders, arrival);
	key->count++;
	sink(offenders, key);
}

/* Of the same count, those that are surer; then by their names, so that every run says the same. */
static int compare(const struct offender *a, const struct offender *b)
{
	size_t common = a->key_bytes < b->key_bytes ? a->key_bytes : b->key_bytes;

	if (a->count != b->count)
		return a->count > b->count ? -1 : 1;
	if (a->over != b->over)
		return a->over < b->over ? -1 : 1;

	int order = memcmp(a->key, b->key, common);

	return order ? order : (int)a->key_bytes - (int)b->key_bytes;
}

unsigned offenders_list(const struct offenders *offenders, const struct offender **list,
			unsigned most)
{
	unsigned count = 0;

	for (unsigned i = 0; i < offenders->used; i++) {
		const struct offender *key = &offenders->keys[i];
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
