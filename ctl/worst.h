/* SPDX-License-Identifier: Apache-2.0
 *
 * worst.h - which keys were met most often, of any number of keys, in a fixed size: Space-Saving
 * (Metwally, Agrawal, El Abbadi 2005).
 *
 * A key that is not listed takes the place of the one with the lowest count, and that count: it
 * may be too high by what it took over, and never too low. With up to WORST_KEYS different keys
 * all counts are exact.
 */
#ifndef WEIRCTL_WORST_H
#define WEIRCTL_WORST_H

#include <stdint.h>

#include "arrival.h"

#define WORST_KEYS 1024u
#define WORST_CHAINS 2048u

struct worst_key {
	uint64_t hash;
	uint64_t count;
	uint64_t over; /* the count is too high by this at most */
	uint16_t next; /* of its chain, plus 1 */
	uint16_t place;
	uint8_t key_bytes;
	char key[ARRIVAL_KEY_MAX];
};

struct worst {
	struct worst_key keys[WORST_KEYS];
	uint16_t heap[WORST_KEYS]; /* the lowest count first */
	uint16_t chains[WORST_CHAINS];
	unsigned used;
};

void worst_add(struct worst *worst, const struct arrival *arrival);

/* Lists up to `most` keys, the highest count first. Returns how many. */
unsigned worst_list(const struct worst *worst, const struct worst_key **list, unsigned most);

#endif
