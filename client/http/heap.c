/* SPDX-License-Identifier: Apache-2.0 */
#include "heap.h"

#include <errno.h>
#include <stdlib.h>

int heap_reserve(struct heap *heap, size_t count)
{
	size_t room = heap->room ? heap->room : 64;

	if (count <= heap->room)
		return 0;
	while (room < count)
		room *= 2;

	struct heap_entry **entries = realloc(heap->entries, room * sizeof(struct heap_entry *));

	if (!entries)
		return -ENOMEM;
	heap->entries = entries;
	heap->room = room;
	return 0;
}

static void put(struct heap *heap, size_t at, struct heap_entry *entry)
{
	heap->entries[at] = entry;
	entry->place = at + 1;
}

static void rise(struct heap *heap, size_t at)
{
	struct heap_entry *entry = heap->entries[at];

	while (at > 0 && heap->entries[(at - 1) / 2]->due_ns > entry->due_ns) {
		put(heap, at, heap->entries[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	put(heap, at, entry);
}

static void sink(struct heap *heap, size_t at)
{
	struct heap_entry *entry = heap->entries[at];

	for (;;) {
		size_t child = 2 * at + 1;

		if (child + 1 < heap->count &&
		    heap->entries[child + 1]->due_ns < heap->entries[child]->due_ns)
			child++;
		if (child >= heap->count || heap->entries[child]->due_ns >= entry->due_ns)
			break;
		put(heap, at, heap->entries[child]);
		at = child;
	}
	put(heap, at, entry);
}

void heap_set(struct heap *heap, struct heap_entry *entry, uint64_t due_ns)
{
	entry->due_ns = due_ns;
	if (!entry->place)
		put(heap, heap->count++, entry);
	rise(heap, entry->place - 1);
	sink(heap, entry->place - 1);
}

void heap_take(struct heap *heap, struct heap_entry *entry)
{
	size_t at = entry->place;

	if (!at)
		return;
	entry->place = 0;
	heap->count--;
	if (at - 1 == heap->count)
		return;
	put(heap, at - 1, heap->entries[heap->count]);
	rise(heap, at - 1);
	sink(heap, heap->entries[at - 1]->place - 1);
}

struct heap_entry *heap_first(const struct heap *heap)
{
	return heap->count ? heap->entries[0] : NULL;
}

void heap_free(struct heap *heap)
{
	free(heap->entries);
	*heap = (struct heap){.count = 0};
}
