/* SPDX-License-Identifier: Apache-2.0 */
#include "key_tables.h"

#include <string.h>

#include "carry.h"
#include "fault.h"
#include "fold.h"
#include "key_hash.h"
#include "weir.h"

/* Keys are folded in pieces of so many bytes. */
#define PIECE_BYTES 512

/* Relaxed: a table is complete before its row becomes live, which readers have acquired. */
#define LOAD(word) atomic_load_explicit(&(word), memory_order_relaxed)
#define STORE(word, value) atomic_store_explicit(&(word), value, memory_order_relaxed)

/* ---- which table ---- */

int64_t keys_table_of(const struct segment *segment, uint32_t row)
{
	uint32_t number = LOAD(segment->rows[row].table);

	if (LOAD(segment->rows[row].kind) != ROW_EACH || number == 0 ||
	    number > segment->table_count)
		return -1;
	return number - 1;
}

void keys_of_row(const struct segment *segment, uint32_t row, struct keyed *table)
{
	int64_t number = keys_table_of(segment, row);

	*table = (struct keyed){.bins = NULL};
	if (number < 0)
		return;

	uint64_t first = LOAD(segment->tables[number].first_bin);
	uint64_t bins = LOAD(segment->tables[number].bins);

	if (bins < 2 || bins % 2 || first > segment->bin_count || bins > segment->bin_count - first)
		return;
	*table = (struct keyed){
		.bins = segment->bins + first,
		.head = &segment->heads[number],
		.half = bins / 2,
		.retired = &segment->state->retired,
	};
}

uint64_t keys_capacity(const struct segment *segment, uint32_t row)
{
	int64_t number = keys_table_of(segment, row);

	return number < 0 ? 0 : LOAD(segment->tables[number].keys);
}

uint64_t keys_fold(const struct segment *segment, uint32_t row)
{
	int64_t number = keys_table_of(segment, row);

	return number < 0 ? 0 : LOAD(segment->tables[number].fold);
}

/* ---- which key ---- */

bool keys_in_name(const struct segment *segment, uint32_t row, const char *name, const char **key,
		  size_t *bytes)
{
	char pattern[LAYOUT_TEXT_BYTES];
	size_t before;
	size_t behind;

	segment_text(segment->rows[row].text, pattern);
	before = strcspn(pattern, "*");
	behind = pattern[before] ? strlen(pattern + before + 1) : 0;
	if (strcmp(pattern, name) == 0 || strlen(name) < before + behind)
		return false;
	*key = name + before;
	*bytes = strlen(name) - before - behind;
	return true;
}

static uint64_t hash_folding_case(const unsigned char *key, size_t bytes,
				  const unsigned char *secret)
{
	unsigned char piece[PIECE_BYTES];
	XXH3_state_t state;

	if (bytes <= sizeof(piece)) {
		fold_case(key, bytes, piece);
		return XXH3_64bits_withSecret(piece, bytes, secret, LAYOUT_SECRET_BYTES);
	}
	XXH3_64bits_reset_withSecret(&state, secret, LAYOUT_SECRET_BYTES);
	for (size_t at = 0; at < bytes; at += sizeof(piece)) {
		size_t now = bytes - at < sizeof(piece) ? bytes - at : sizeof(piece);

		fold_case(key + at, now, piece);
		XXH3_64bits_update(&state, piece, now);
	}
	return XXH3_64bits_digest(&state);
}

uint64_t keys_hash_folded(const unsigned char *secret, uint64_t fold, const void *key, size_t bytes)
{
	unsigned char address[FOLD_ADDRESS_BYTES];

	if (fold_address(fold, key, bytes, address))
		return XXH3_64bits_withSecret(address, sizeof(address), secret,
					      LAYOUT_SECRET_BYTES);
	if (fold & FOLD_CASE)
		return hash_folding_case(key, bytes, secret);
	return XXH3_64bits_withSecret(key, bytes, secret, LAYOUT_SECRET_BYTES);
}

uint64_t keys_hash(const struct segment *segment, uint64_t fold, const void *key, size_t bytes)
{
	return key_hash(segment->secret, fold, key, bytes);
}

size_t keys_text(uint64_t fold, const void *key, size_t bytes, unsigned char *out, size_t room)
{
	unsigned char address[FOLD_ADDRESS_BYTES];
	char text[FOLD_TEXT_BYTES];

	if (fold_address(fold, key, bytes, address)) {
		fold_address_text(address, text);
		bytes = strlen(text);
		memcpy(out, text, bytes < room ? bytes : room);
	} else if (fold & FOLD_CASE) {
		fold_case(key, bytes < room ? bytes : room, out);
	} else if (bytes) {
		memcpy(out, key, bytes < room ? bytes : room);
	}
	return bytes;
}

/* ---- moving ---- */

/* The table that the row's keys come from; false: none, or not in `old`. */
static bool source_table(const struct segment *old, const struct origin *origin,
			 struct keyed *table)
{
	if (!origin->elsewhere || origin->bucket_plus_1 == 0 ||
	    origin->bucket_plus_1 > old->row_count)
		return false;
	keys_of_row(old, origin->bucket_plus_1 - 1, table);
	return table->bins != NULL;
}

int keys_first_mark(const struct segment *segment, const struct segment *old, uint32_t row,
		    uint64_t key, const struct line *line, uint64_t *mark)
{
	/* acquire: pairs with the release in move_finish(), after which all have moved */
	uint64_t moving = atomic_load_explicit(&segment->rules->predecessor, memory_order_acquire);
	struct origin origin = carry_origin(&segment->rows[row]);
	struct keyed table;
	uint64_t there;

	*mark = BUCKET_UNSET;
	if (moving == 0 || !origin.elsewhere || origin.bucket_plus_1 == 0)
		return 0;
	if (!old)
		return WEIR_EPAIR;
	if (old->pair == moving && source_table(old, &origin, &table) &&
	    keyed_freeze(&table, key, &there))
		*mark = carry_mark(&origin, line, there);
	return 0;
}

/* What a key that is still in the old table has spoken for; nothing is taken. */
static void move_slot(const struct keyed *from, const struct keyed *to, struct key_slot *slot,
		      const struct origin *origin, const struct segment *successor, uint32_t row)
{
	/* acquire: pairs with the exchanges */
	uint64_t key = atomic_load_explicit(&slot->key, memory_order_acquire) & ~KEY_MOVED;
	struct keyed_want want = {
		.want = {.unit = 0, .least = 1, .most = 1, .limit = UINT64_MAX},
		.row = &successor->rows[row],
		.time = &successor->time,
	};
	struct bucket_windows out;
	struct key_seen seen;
	struct line line;
	uint64_t there;
	uint64_t now;

	if (key == 0 || key & KEY_INSERTING || !keyed_freeze(from, key, &there))
		return;
	FAULT_POINT(keys_frozen);
	keyed_find(to, key, &seen);
	now = line_read(want.row, want.time, &line);
	want.first = carry_mark(origin, &line, there);
	if (!seen.slot && line_stand(&line, now, want.first).ahead)
		keyed_take(to, key, &seen, &line, now, &want, &out);
}

static void finish_row(const struct segment *successor, const struct segment *old, uint32_t row)
{
	struct origin origin = carry_origin(&successor->rows[row]);
	struct keyed from;
	struct keyed to;

	keys_of_row(successor, row, &to);
	if (!to.bins || !source_table(old, &origin, &from))
		return;
	for (uint64_t i = 0; i < 2 * from.half; i++)
		for (unsigned slot = 0; slot < LAYOUT_BIN_SLOTS; slot++)
			move_slot(&from, &to, &from.bins[i].slots[slot], &origin, successor, row);
}

void keys_finish(const struct segment *successor, const struct segment *old)
{
	uint32_t used = LOAD(successor->rules->rows_used);

	for (uint32_t i = 0; i < used && i < successor->row_count; i++)
		if (LOAD(successor->rows[i].kind) == ROW_EACH)
			finish_row(successor, old, i);
}

/* ---- the publisher's side ---- */

static struct keyed_row *table_writable(struct segment *segment, uint32_t number)
{
	const unsigned char *rules = (const unsigned char *)segment->rules;
	size_t offset = (size_t)((const unsigned char *)(segment->tables + number) - rules);

	return (struct keyed_row *)(void *)((unsigned char *)segment->publisher + offset);
}

int64_t keys_give(struct segment *segment, uint64_t keys, uint64_t fold)
{
	uint32_t number = LOAD(segment->rules->tables_used);
	uint64_t first = LOAD(segment->rules->bins_used);
	uint64_t bins = keyed_bins(keys);

	if (number >= segment->table_count || bins > segment->bin_count - first)
		return WEIR_EROWS;

	struct keyed_row *table = table_writable(segment, number);

	STORE(table->first_bin, first);
	STORE(table->bins, bins);
	STORE(table->keys, keys);
	STORE(table->fold, fold);
	/* killed in between: the room is lost until the next pair */
	STORE(segment->publisher->bins_used, first + bins);
	STORE(segment->publisher->tables_used, number + 1);
	return number + 1;
}

void keys_set_fold(struct segment *segment, uint32_t row, uint64_t fold)
{
	int64_t number = keys_table_of(segment, row);

	if (number >= 0)
		/* relaxed: who reads the older one counts once more by it */
		STORE(table_writable(segment, (uint32_t)number)->fold, fold);
}
