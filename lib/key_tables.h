/* SPDX-License-Identifier: Apache-2.0
 *
 * key_tables.h - the tables of keys of a segment: which one a row has, what of a name is its key,
 * what counts as the same key, and how keys move to a newer pair.
 *
 * A key moves when it is used in the newer pair for the first time, or when the publisher comes to
 * it (keys_finish), whichever is first: its mark is frozen in the old table, and what it stood for
 * is what the key begins with in the new one. All who help find the same. The old pair must be
 * retired before: from then on nobody inserts a key there.
 */
#ifndef WEIR_KEY_TABLES_H
#define WEIR_KEY_TABLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "keyed.h"
#include "segment.h"

/* The table of a row, bounded; table->bins is NULL if it has none. */
void keys_of_row(const struct segment *segment, uint32_t row, struct keyed *table);

/* The number of a row's table, from 0; -1: it has none. */
int64_t keys_table_of(const struct segment *segment, uint32_t row);

/* For how many keys in debt at once the row's table was made; 0: it has none. */
uint64_t keys_capacity(const struct segment *segment, uint32_t row);

/* What the row says counts as one key: fold.h. */
uint64_t keys_fold(const struct segment *segment, uint32_t row);

/*
 * What stands for the `*` of the row's pattern in a name that it matches. false: the name is the
 * pattern itself, and means the rule.
 */
bool keys_in_name(const struct segment *segment, uint32_t row, const char *name, const char **key,
		  size_t *bytes);

/* The hash of a key: keyed by the segment's secret, of what the key is folded to. Never 0. */
uint64_t keys_hash(const struct segment *segment, uint64_t fold, const void *key, size_t bytes);

/* The same key for people: the text it is folded to, cut to `room` bytes; how long it is. */
size_t keys_text(uint64_t fold, const void *key, size_t bytes, unsigned char *out, size_t room);

/*
 * The mark that a key begins with in `row`, which it has not been used in: BUCKET_UNSET (full), or
 * what it has in the pair that is being replaced. `old` is that pair, NULL if it is not mapped
 * here. Returns 0, or WEIR_EPAIR: map it (segment_attach_old) and call again.
 */
int keys_first_mark(const struct segment *segment, const struct segment *old, uint32_t row,
		    uint64_t key, const struct line *line, uint64_t *mark);

/* Publisher: moves what keys of `old` have spoken for into `successor`. */
void keys_finish(const struct segment *successor, const struct segment *old);

/* Publisher: gives a row that is not live yet a table. Returns its number + 1, or WEIR_EROWS. */
int64_t keys_give(struct segment *segment, uint64_t keys, uint64_t fold);

/* Publisher: what counts as one key from now on. */
void keys_set_fold(struct segment *segment, uint32_t row, uint64_t fold);

#endif
