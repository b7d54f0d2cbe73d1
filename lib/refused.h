/* SPDX-License-Identifier: Apache-2.0
 *
 * refused.h - the most refused keys of a table, as far as a few lines of memory can tell.
 *
 * A key's hash leads to a set of eight. One that is there is counted. One that is not takes the
 * place of the least counted, whose count goes on as its own, by a chance of one in that count: so
 * keys that are refused once in a while do not drive out those that are refused all the time, nor
 * write anything. A count is that of the key plus at most what it was when the key came.
 *
 * Who writes: everybody who refuses. Killed anywhere: a count is one short, or the text beside a
 * hash is another's; who reads compares the two.
 */
#ifndef WEIR_REFUSED_H
#define WEIR_REFUSED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"

/* A refusal of a key, which people know by `text`. */
void refused_count(struct key_head *head, uint64_t key, const void *text, size_t bytes);

struct refused_key {
	uint64_t key;
	uint64_t count;
	uint64_t bytes; /* of the text, which is longer than what is kept of it if this is */
	unsigned char text[LAYOUT_WORST_BYTES];
};

#define REFUSED_KEYS (LAYOUT_WORST_SETS * LAYOUT_WORST_WAYS)

/* All of them, the most refused first. Returns how many there are. */
unsigned refused_list(const struct key_head *head, struct refused_key out[REFUSED_KEYS]);

#endif
