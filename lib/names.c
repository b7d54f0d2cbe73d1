/* SPDX-License-Identifier: Apache-2.0 */
#include "names.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "key_tables.h"
#include "weir.h"

/* How often a name is looked up anew because the rules changed meanwhile. */
#define FIND_TRIES 1000

bool names_valid(const char *name)
{
	size_t length = strnlen(name, WEIR_NAME_MAX + 1);

	if (length == 0 || length > WEIR_NAME_MAX || name[0] == ' ' || name[length - 1] == ' ')
		return false;
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)name[i] < ' ' || name[i] == 0x7f)
			return false;
	return true;
}

bool names_is_pattern(const char *text)
{
	return strchr(text, '*') != NULL;
}

/*
 * `*` in the pattern stands for any run of bytes. Iterative: on a mismatch the last `*` takes one
 * byte more; earlier ones need not be tried again. At most length times length steps.
 */
bool names_match(const char *pattern, const char *name)
{
	const char *star = NULL;
	const char *resume = name;

	while (*name) {
		if (*pattern == '*') {
			star = pattern++;
			resume = name;
		} else if (*pattern == *name) {
			pattern++;
			name++;
		} else if (star) {
			pattern = star + 1;
			name = ++resume;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}

/* A `*` of the inner pattern is a byte like no other, which only an outer `*` can stand for. */
bool names_covers(const char *outer, const char *inner)
{
	return names_match(outer, inner);
}

struct specificity names_specificity(const char *pattern)
{
	struct specificity found = {(uint32_t)strcspn(pattern, "*"), 0};

	for (const char *at = pattern; *at; at++)
		found.wildcards += *at == '*';
	return found;
}

int names_compare(struct specificity a, struct specificity b)
{
	if (a.literal_prefix != b.literal_prefix)
		return a.literal_prefix > b.literal_prefix ? -1 : 1;
	if (a.wildcards != b.wildcards)
		return a.wildcards < b.wildcards ? -1 : 1;
	return 0;
}

static uint32_t rows_used(const struct segment *segment)
{
	/* acquire: pairs with the release in rules_add() */
	uint32_t used = atomic_load_explicit(&segment->rules->rows_used, memory_order_acquire);

	return used < segment->row_count ? used : segment->row_count;
}

/* A live row of that kind. acquire: pairs with the release in rules_add(). */
static bool row_is(const struct rule_row *row, enum row_kind kind)
{
	return atomic_load_explicit(&row->state, memory_order_acquire) == ROW_LIVE &&
	       atomic_load_explicit(&row->kind, memory_order_relaxed) == kind;
}

static bool text_equals(const struct rule_row *row, const char *name)
{
	for (size_t i = 0; i < LAYOUT_TEXT_BYTES; i++) {
		/* relaxed: fixed before the row became live */
		char c = (char)atomic_load_explicit(&row->text[i], memory_order_relaxed);

		if (c != name[i])
			return false;
		if (!c)
			return true;
	}
	return false;
}

int64_t names_exact_row(const struct segment *segment, const char *text)
{
	uint32_t used = rows_used(segment);

	for (uint32_t i = 0; i < used; i++)
		/* relaxed after acquire: see row_is() */
		if (atomic_load_explicit(&segment->rows[i].state, memory_order_acquire) ==
			    ROW_LIVE &&
		    atomic_load_explicit(&segment->rows[i].kind, memory_order_relaxed) !=
			    ROW_DEFAULT &&
		    text_equals(&segment->rows[i], text))
			return i;
	return -1;
}

int64_t names_row_of_kind(const struct segment *segment, enum row_kind kind, const char *text)
{
	uint32_t used = rows_used(segment);

	for (uint32_t i = 0; i < used; i++)
		if (row_is(&segment->rows[i], kind) && text_equals(&segment->rows[i], text))
			return i;
	return -1;
}

int64_t names_default_row(const struct segment *segment)
{
	uint32_t used = rows_used(segment);

	/* the last one: while a [default] moves to another row, the newer one counts */
	for (uint32_t i = used; i-- > 0;)
		if (row_is(&segment->rows[i], ROW_DEFAULT))
			return i;
	return -1;
}

/* A pattern row that matches, and how it ranks. */
struct candidate {
	int64_t row;
	struct specificity specificity;
	uint32_t order;
};

static void consider_pattern(const struct segment *segment, uint32_t index, const char *name,
			     struct candidate *best)
{
	const struct rule_row *row = &segment->rows[index];
	char pattern[LAYOUT_TEXT_BYTES];

	segment_text(row->text, pattern);
	if (!names_match(pattern, name))
		return;

	struct candidate found = {
		.row = index,
		.specificity = names_specificity(pattern),
		/* relaxed: only ties between patterns hang on it */
		.order = atomic_load_explicit(&row->order, memory_order_relaxed),
	};
	int rank = best->row < 0 ? -1 : names_compare(found.specificity, best->specificity);

	if (rank < 0 || (rank == 0 && found.order < best->order))
		*best = found;
}

int names_find_row(const struct segment *segment, const char *name)
{
	uint32_t used = rows_used(segment);
	struct candidate best = {.row = -1};
	int64_t fallback = -1;

	if (!names_valid(name))
		return WEIR_ENAME;
	for (uint32_t i = 0; i < used; i++) {
		const struct rule_row *row = &segment->rows[i];

		if (row_is(row, ROW_EXACT) && text_equals(row, name))
			return (int)i;
		if (row_is(row, ROW_PATTERN) || row_is(row, ROW_EACH))
			consider_pattern(segment, i, name, &best);
		else if (row_is(row, ROW_DEFAULT))
			fallback = i;
	}
	if (best.row >= 0)
		return (int)best.row;
	return fallback >= 0 ? (int)fallback : WEIR_EDAMAGED;
}

/* ---- the table of names under [default] ---- */

static uint64_t name_hash(const struct segment *segment, const char *name)
{
	uint64_t hash = XXH3_64bits_withSecret(name, strlen(name), segment->secret,
					       sizeof(segment->secret));

	return hash ? hash : 1;
}

static void name_write_text(struct name_row *slot, const char *name)
{
	for (size_t i = 0; i < LAYOUT_TEXT_BYTES && (i == 0 || name[i - 1]); i++)
		/* relaxed: for people; a reader may see a part of it */
		atomic_store_explicit(&slot->text[i], (unsigned char)name[i], memory_order_relaxed);
}

/*
 * Whoever uses a slot has seen to its text first: the claimer may have been killed, or be about to
 * write it, and the name of a bucket in use must be known when its mark moves (move.c).
 */
static void name_complete_text(struct name_row *slot, const char *name)
{
	char text[LAYOUT_TEXT_BYTES];

	segment_text(slot->text, text);
	if (strcmp(text, name) != 0)
		name_write_text(slot, name);
}

/* The slot that holds the hash; if none does and `claim`, the first free one; -1: full or none. */
static int64_t name_slot(const struct segment *segment, const char *name, bool claim)
{
	uint64_t hash = name_hash(segment, name);

	for (uint32_t step = 0; step < segment->name_count; step++) {
		uint32_t index = (uint32_t)((hash + step) % segment->name_count);
		struct name_row *slot = &segment->names[index];
		/* acquire and release pair with each other, here: a claimed slot stays so, and all
		 * who look for one name walk the same sequence, so it cannot have two */
		uint64_t found = atomic_load_explicit(&slot->hash, memory_order_acquire);

		if (found == 0) {
			if (!claim)
				return -1;
			if (atomic_compare_exchange_strong_explicit(&slot->hash, &found, hash,
								    memory_order_acq_rel,
								    memory_order_acquire)) {
				name_write_text(slot, name);
				return index;
			}
		}
		if (found == hash) {
			if (claim)
				name_complete_text(slot, name);
			return index;
		}
	}
	return -1;
}

int64_t names_find_slot(const struct segment *segment, const char *name)
{
	return name_slot(segment, name, false);
}

static int resolve_default(const struct segment *segment, const char *name, bool claim,
			   struct resolution *out)
{
	int64_t slot = name_slot(segment, name, claim);

	if (slot >= 0) {
		out->bucket = segment->row_count + (uint32_t)slot;
		return 0;
	}
	if (!claim)
		return WEIR_ENORULE;
	/* relaxed: a count for people */
	atomic_fetch_add_explicit(&segment->state->names_refused, 1, memory_order_relaxed);
	out->bucket = segment->row_count + segment->name_count;
	out->overflow = true;
	return 0;
}

/*
 * The row that serves a name, by a table that did not change meanwhile: a rule that moves to
 * another row is added there before it is taken away here, but who has counted the rows before the
 * one and looks at them after the other finds neither.
 */
static int find_row_in_one_table(const struct segment *segment, const char *name,
				 uint64_t *generation)
{
	int row = WEIR_EDAMAGED;

	for (int tries = 0; tries < FIND_TRIES; tries++) {
		/* acquire: pairs with the release in rules_table_changed(). Read first: what
		 * changes later makes the caller resolve again */
		*generation = atomic_load_explicit(&segment->rules->table_generation,
						   memory_order_acquire);
		row = names_find_row(segment, name);
		/* relaxed: who met a row that is gone has acquired the change before it */
		if (*generation ==
		    atomic_load_explicit(&segment->rules->table_generation, memory_order_relaxed))
			break;
	}
	return row;
}

static uint64_t key_of_name(const struct segment *segment, uint32_t row, const char *name)
{
	const char *key;
	size_t bytes;

	if (!keys_in_name(segment, row, name, &key, &bytes))
		return 0;
	return keys_hash(segment, keys_fold(segment, row), key, bytes);
}

int names_resolve(const struct segment *segment, const char *name, bool claim,
		  struct resolution *out)
{
	struct resolution found = {.row = 0};
	int row = find_row_in_one_table(segment, name, &found.table_generation);
	int status = 0;

	if (row < 0)
		return row;
	found.row = found.bucket = (uint32_t)row;

	uint32_t kind = atomic_load_explicit(&segment->rows[row].kind, memory_order_relaxed);

	if (kind == ROW_DEFAULT)
		status = resolve_default(segment, name, claim, &found);
	else if (kind == ROW_EACH)
		found.key = key_of_name(segment, found.row, name);
	if (status == 0)
		*out = found;
	return status;
}
