/* SPDX-License-Identifier: Apache-2.0 */
#include "lineup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_S 1000000000ull
#define CHUNK_BYTES 4096
#define CHUNKS_MAX 16384
#define DUE_AT_ONCE 1024

/* Requests, one behind the other, each with its key. */
struct lineup_chunk {
	struct lineup_chunk *next;
	size_t used;
	_Alignas(8) char bytes[CHUNK_BYTES - 16];
};

/* Those of a second. */
struct lineup_slot {
	struct lineup_chunk *first;
	struct lineup_chunk *last;
	size_t count;
	size_t whole; /* of them, with no more than seconds */
};

int lineup_begin(struct lineup *lineup)
{
	lineup->slots = calloc(lineup->slack_s + 1, sizeof(*lineup->slots));
	return lineup->slots ? 0 : -ENOMEM;
}

static struct lineup_slot *slot_of(const struct lineup *lineup, uint64_t second)
{
	return &lineup->slots[second % (lineup->slack_s + 1)];
}

static size_t room_of(const struct arrival *arrival)
{
	return (sizeof(*arrival) + arrival->key_bytes + 7) & ~(size_t)7;
}

/* ---- passing on ---- */

static int by_time(const void *a, const void *b)
{
	const struct due *left = a;
	const struct due *right = b;

	if (left->time_ns != right->time_ns)
		return left->time_ns < right->time_ns ? -1 : 1;
	return left->order < right->order ? -1 : 1;
}

/* Room for so many at once. */
static bool make_room(struct lineup *lineup, size_t count)
{
	size_t room = lineup->due_room ? lineup->due_room : DUE_AT_ONCE;
	struct due *more;

	if (count <= lineup->due_room)
		return true;
	while (room < count)
		room *= 2;
	more = realloc(lineup->due, room * sizeof(*more));
	if (!more)
		return false;
	lineup->due = more;
	lineup->due_room = room;
	return true;
}

/* Lists a second's requests and when they come. Returns whether they are in order. */
static bool list_slot(const struct lineup *lineup, const struct lineup_slot *slot)
{
	uint64_t last_ns = 0;
	uint64_t whole = 0;
	size_t count = 0;
	bool ordered = true;

	for (const struct lineup_chunk *chunk = slot->first; chunk; chunk = chunk->next)
		for (size_t at = 0; at < chunk->used;) {
			const struct arrival *arrival = (const void *)(chunk->bytes + at);
			uint64_t time_ns = arrival->time_ns;

			if (arrival->whole && !lineup->at_once)
				time_ns += whole++ * NS_PER_S / slot->whole;
			ordered &= time_ns >= last_ns;
			last_ns = time_ns;
			lineup->due[count] = (struct due){time_ns, arrival, count};
			count++;
			at += room_of(arrival);
		}
	return ordered;
}

static int pass_slot(struct lineup *lineup, struct lineup_slot *slot)
{
	if (slot->count == 0)
		return 0;
	if (!make_room(lineup, slot->count))
		return -ENOMEM;
	if (!list_slot(lineup, slot))
		qsort(lineup->due, slot->count, sizeof(*lineup->due), by_time);
	lineup->take(lineup->context, lineup->due, slot->count);
	while (slot->first) {
		struct lineup_chunk *chunk = slot->first;

		slot->first = chunk->next;
		chunk->next = lineup->spare;
		lineup->spare = chunk;
		lineup->chunks--;
	}
	*slot = (struct lineup_slot){.count = 0};
	return 0;
}

/* Passes on all seconds before that one. */
static int pass_until(struct lineup *lineup, uint64_t second)
{
	uint64_t held = lineup->base_s + lineup->slack_s + 1;

	for (uint64_t at = lineup->base_s; at < second && at < held; at++) {
		int status = pass_slot(lineup, slot_of(lineup, at));

		if (status < 0)
			return status;
	}
	if (second > lineup->base_s)
		lineup->base_s = second;
	return 0;
}

/* ---- adding ---- */

/* Makes room by what is oldest; that second is not over if it is the one that has come. */
static int pass_oldest(struct lineup *lineup, uint64_t second)
{
	while (lineup->chunks >= CHUNKS_MAX) {
		int status = pass_slot(lineup, slot_of(lineup, lineup->base_s));

		if (status < 0)
			return status;
		lineup->base_s += lineup->base_s < second;
	}
	return 0;
}

static struct lineup_chunk *take_chunk(struct lineup *lineup)
{
	struct lineup_chunk *chunk = lineup->spare;

	if (chunk)
		lineup->spare = chunk->next;
	else
		chunk = malloc(sizeof(*chunk));
	if (!chunk)
		return NULL;
	chunk->next = NULL;
	chunk->used = 0;
	lineup->chunks++;
	return chunk;
}

/* Where so many bytes of a second go; NULL: there is no memory. */
static char *slot_room(struct lineup *lineup, struct lineup_slot *slot, size_t bytes)
{
	struct lineup_chunk *chunk = slot->last;

	if (!chunk || chunk->used + bytes > sizeof(chunk->bytes)) {
		chunk = take_chunk(lineup);
		if (!chunk)
			return NULL;
		if (slot->last)
			slot->last->next = chunk;
		else
			slot->first = chunk;
		slot->last = chunk;
	}
	chunk->used += bytes;
	return chunk->bytes + chunk->used - bytes;
}

int lineup_add(struct lineup *lineup, const struct arrival *arrival)
{
	uint64_t second = arrival->time_ns / NS_PER_S;
	uint64_t first = second > lineup->slack_s ? second - lineup->slack_s : 0;
	struct lineup_slot *slot = slot_of(lineup, second);
	struct arrival *copy;
	char *room;
	int status;

	if (!lineup->begun)
		lineup->base_s = first;
	lineup->begun = true;
	if (second < lineup->base_s)
		return 0;
	status = pass_until(lineup, first);
	if (status == 0)
		status = pass_oldest(lineup, second);
	if (status < 0)
		return status;
	room = slot_room(lineup, slot, room_of(arrival));
	if (!room)
		return -ENOMEM;
	copy = (void *)room;
	*copy = *arrival;
	copy->key = memcpy(room + sizeof(*copy), arrival->key, arrival->key_bytes);
	slot->count++;
	slot->whole += arrival->whole;
	return 1;
}

int lineup_end(struct lineup *lineup)
{
	return lineup->begun ? pass_until(lineup, lineup->base_s + lineup->slack_s + 1) : 0;
}

void lineup_free(struct lineup *lineup)
{
	for (uint32_t i = 0; lineup->slots && i <= lineup->slack_s; i++)
		while (lineup->slots[i].first) {
			struct lineup_chunk *chunk = lineup->slots[i].first;

			lineup->slots[i].first = chunk->next;
			free(chunk);
		}
	while (lineup->spare) {
		struct lineup_chunk *chunk = lineup->spare;

		lineup->spare = chunk->next;
		free(chunk);
	}
	free(lineup->slots);
	free(lineup->due);
	*lineup = (struct lineup){.slots = NULL};
}
