/* SPDX-License-Identifier: Apache-2.0
 *
 * heap.h - things that are to happen, by their time. Knows no clock. A thing carries its entry.
 */
#ifndef WEIR_HTTP_HEAP_H
#define WEIR_HTTP_HEAP_H

#include <stddef.h>
#include <stdint.h>

struct heap_entry {
	uint64_t due_ns;
	size_t place; /* in the heap, from 1; 0: not in it */
};

struct heap {
	struct heap_entry **entries;
	size_t count;
	size_t room;
};

/* Makes room for so many entries in all, so that heap_set() cannot fail. Returns 0, -ENOMEM. */
int heap_reserve(struct heap *heap, size_t count);

/* Puts an entry in, or moves it. */
void heap_set(struct heap *heap, struct heap_entry *entry, uint64_t due_ns);
void heap_take(struct heap *heap, struct heap_entry *entry);

/* The first to happen; NULL: none. */
struct heap_entry *heap_first(const struct heap *heap);

void heap_free(struct heap *heap);

#endif
