/* SPDX-License-Identifier: Apache-2.0
 *
 * mark_table.h - a bucket for each of many keys, in memory of a bounded size: a hash and a mark, 16
 * bytes a slot, four slots a cache line, two lines for a key to be in.
 *
 * It begins small and grows up to the size it may have. A key that finds both of its lines full
 * moves another one to that one's other line. When that does not help any more, a new key takes a
 * slot whose bucket is full, which holds no information; and where there is none, the one that
 * would be full first, which forgets what that key had used. Both are counted; as long as neither
 * was done, a slot is a key that has been met. With several limits a slot has a mark of each.
 */
#ifndef WEIRCTL_MARK_TABLE_H
#define WEIRCTL_MARK_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MARK_TABLE_LANES 4u /* slots of a line; from one mark of a key to the next */
#define MARK_TABLE_KEYS_MAX (1ull << 30)

/* How far from full the marks of a slot are, to be compared; 0: they are. */
typedef uint64_t mark_table_debt(void *context, const uint64_t *marks);

struct mark_table {
	mark_table_debt *debt;
	void *context;
	unsigned marks; /* of a slot */
	uint64_t *words;
	uint64_t lines;
	uint64_t lines_max;
	uint64_t used;	   /* slots */
	uint64_t recycled; /* times that a full bucket made room */
	uint64_t evicted;  /* times that one that was not full had to */
};

/* `debt`, `context` and `marks` are set. Room for that many keys. Returns 0 or -ENOMEM. */
int mark_table_begin(struct mark_table *table, uint64_t keys);

/*
 * The marks of a key, MARK_TABLE_LANES apart; valid until the next call. A *fresh one is to be
 * filled by the caller.
 */
uint64_t *mark_table_find(struct mark_table *table, uint64_t hash, bool *fresh);

/* Brings a key's lines nearer. */
void mark_table_prefetch(const struct mark_table *table, uint64_t hash);

uint64_t mark_table_bytes(const struct mark_table *table);

void mark_table_free(struct mark_table *table);

#endif
