/* SPDX-License-Identifier: Apache-2.0
 *
 * offenders.h - which keys were met most often, of any number of keys, in a fixed size:
 * Space-Saving (Metwally, Agrawal, El Abbadi 2005).
 *
 * A key that is not listed takes the place of the one with the lowest count, and that count: it
 * may be too high by what it took over, and never too low. With up to OFFENDERS different keys
 * all counts are exact.
 */
#ifndef WEIRCTL_OFFENDERS_H
#define WEIRCTL_OFFENDERS_H

#include <stdint.h>

#include "arrival.h"

#define OFFENDERS 1024u
#define OFFENDER_CHAINS 2048u

struct offender {
	uint64_t hash;
	uint64_t count;
	uint64_t over; /* the count is too high by this at most */
	uint16_t next; /* of its chain, plus 1 */
	uint16_t place;
	uint8_t key_bytes;
	char key[ARRIVAL_KEY_MAX];
};

struct offenders {
	struct offender keys[OFFENDERS];
	uint16_t heap[OFFENDERS]; /* the lowest count first */
	uint16_t chains[OFFENDER_CHAINS];
	unsigned used;
};

void offenders_add(struct offenders *offenders, const struct arrival *arrival);

/* Lists up to `most` keys, the highest count first. Returns how many. */
unsigned offenders_list(const struct offenders *offenders, const struct offender **list,
			unsigned most);

#endif
