/* SPDX-License-Identifier: Apache-2.0 */
#include "mark_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES 64
#define LINES_AT_FIRST 1024u
#define LOAD_PERCENT 70 /* up to which keys find room in one of their two lines */

static size_t line_words(const struct mark_table *table)
{
	return MARK_TABLE_LANES * (1 + (size_t)table->marks);
}

/* Lines of zeros. */
static uint64_t *new_lines(const struct mark_table *table, uint64_t lines)
{
	size_t bytes = lines * line_words(table) * sizeof(uint64_t);
	uint64_t *words = aligned_alloc(LINE_BYTES, bytes);

	return words ? memset(words, 0, bytes) : NULL;
}

int mark_table_begin(struct mark_table *table, uint64_t keys)
{
	uint64_t slots = keys * 100 / LOAD_PERCENT + 1;

	table->lines_max = (slots + MARK_TABLE_LANES - 1) / MARK_TABLE_LANES;
	table->lines = table->lines_max < LINES_AT_FIRST ? table->lines_max : LINES_AT_FIRST;
	table->words = new_lines(table, table->lines);
	return table->words ? 0 : -ENOMEM;
}

/* A key's line, by half of its hash. */
static uint64_t *line_at(const struct mark_table *table, uint64_t half)
{
	return table->words + ((half & UINT32_MAX) * table->lines >> 32) * line_words(table);
}

void mark_table_prefetch(const struct mark_table *table, uint64_t hash)
{
	__builtin_prefetch(line_at(table, hash >> 32), 1);
	__builtin_prefetch(line_at(table, hash), 1);
}

/* The slot of a line that has the hash, 0 being a free one; NULL: none. */
static uint64_t *find_slot(uint64_t *line, uint64_t hash)
{
	for (unsigned lane = 0; lane < MARK_TABLE_LANES; lane++)
		if (line[lane] == hash)
			return &line[lane];
	return NULL;
}

static unsigned count_free(const uint64_t *line)
{
	unsigned count = 0;

	for (unsigned lane = 0; lane < MARK_TABLE_LANES; lane++)
		count += line[lane] == 0;
	return count;
}

/* A free slot, in the emptier line; NULL: both are full. */
static uint64_t *free_slot(const struct mark_table *table, uint64_t hash)
{
	uint64_t *first = line_at(table, hash >> 32);
	uint64_t *second = line_at(table, hash);

	return find_slot(count_free(second) > count_free(first) ? second : first, 0);
}

/* Of two full lines the slot that is nearest to full. */
static uint64_t *nearest_slot(const struct mark_table *table, uint64_t hash, uint64_t *least)
{
	uint64_t *lines[] = {line_at(table, hash >> 32), line_at(table, hash)};
	uint64_t *nearest = lines[0];

	*least = UINT64_MAX;
	for (unsigned i = 0; i < 2 && *least; i++)
		for (unsigned lane = 0; lane < MARK_TABLE_LANES && *least; lane++) {
			uint64_t debt =
				table->debt(table->context, &lines[i][MARK_TABLE_LANES + lane]);

			if (debt >= *least)
				continue;
			*least = debt;
			nearest = &lines[i][lane];
		}
	return nearest;
}

static void move_slot(const struct mark_table *table, uint64_t *to, uint64_t *from)
{
	for (size_t i = 0; i <= table->marks; i++)
		to[i * MARK_TABLE_LANES] = from[i * MARK_TABLE_LANES];
	*from = 0;
}

/* Frees a slot of a full line by moving its key to its other line; NULL: those are full as well. */
static uint64_t *displace(const struct mark_table *table, uint64_t *line)
{
	for (unsigned lane = 0; lane < MARK_TABLE_LANES; lane++) {
		uint64_t hash = line[lane];
		uint64_t *first = line_at(table, hash >> 32);
		uint64_t *to = find_slot(first == line ? line_at(table, hash) : first, 0);

		if (!to)
			continue;
		move_slot(table, to, &line[lane]);
		return &line[lane];
	}
	return NULL;
}

/* A slot that no key has; NULL: there is none within reach. */
static uint64_t *empty_slot(const struct mark_table *table, uint64_t hash)
{
	uint64_t *slot = free_slot(table, hash);

	if (!slot)
		slot = displace(table, line_at(table, hash >> 32));
	if (!slot)
		slot = displace(table, line_at(table, hash));
	return slot;
}

/* A slot for a new key. */
static uint64_t *claim_slot(struct mark_table *table, uint64_t hash)
{
	uint64_t *slot = empty_slot(table, hash);
	uint64_t debt;

	if (slot) {
		table->used++;
	} else {
		slot = nearest_slot(table, hash, &debt);
		table->recycled += debt == 0;
		table->evicted += debt != 0;
	}
	*slot = hash;
	return slot;
}

/* Twice as many lines, or as many as it may have. What there is no memory for is not tried again.
 */
static void grow(struct mark_table *table)
{
	struct mark_table old = *table;
	uint64_t lines = 2 * old.lines < old.lines_max ? 2 * old.lines : old.lines_max;
	uint64_t *words = new_lines(table, lines);

	if (!words) {
		table->lines_max = table->lines;
		return;
	}
	table->words = words;
	table->lines = lines;
	table->used = 0;
	for (uint64_t i = 0; i < old.lines * MARK_TABLE_LANES; i++) {
		uint64_t *from =
			old.words + i / MARK_TABLE_LANES * line_words(table) + i % MARK_TABLE_LANES;

		if (*from)
			move_slot(table, claim_slot(table, *from), from);
	}
	free(old.words);
}

uint64_t *mark_table_find(struct mark_table *table, uint64_t hash, bool *fresh)
{
	uint64_t *slot = find_slot(line_at(table, hash >> 32), hash);

	if (!slot)
		slot = find_slot(line_at(table, hash), hash);
	*fresh = !slot;
	if (!slot) {
		if (table->lines < table->lines_max &&
		    table->used * 100 >= table->lines * MARK_TABLE_LANES * LOAD_PERCENT)
			grow(table);
		slot = claim_slot(table, hash);
	}
	return slot + MARK_TABLE_LANES;
}

uint64_t mark_table_bytes(const struct mark_table *table)
{
	return table->lines * line_words(table) * sizeof(uint64_t);
}

void mark_table_free(struct mark_table *table)
{
	free(table->words);
	table->words = NULL;
}
