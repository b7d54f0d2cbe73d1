/* SPDX-License-Identifier: Apache-2.0
 *
 * space.h - how much room a pair takes, and how much there is in the folder that it belongs in.
 */
#ifndef WEIRD_SPACE_H
#define WEIRD_SPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "segment.h"

struct space {
	uint64_t needed_bytes; /* by both objects */
	uint64_t keys_bytes;   /* of them by the tables of keys */
	bool known;	       /* the file system says how large it is */
	uint64_t whole_bytes;
	uint64_t free_bytes;
};

/* A folder that is not there yet, or has no bound: not known. */
void space_look(struct space *out, const struct segment_shape *shape, const char *dir);

/* Such a pair can never be there, whatever else goes away. */
static inline bool space_is_too_small(const struct space *space)
{
	return space->known && space->needed_bytes > space->whole_bytes;
}

/* "12.5 MiB, of them 11 MiB for keys; DIR has 64 MiB, of them 60 MiB free". Returns `out`. */
#define SPACE_TEXT_BYTES 256
char *space_text(const struct space *space, const char *dir, char out[SPACE_TEXT_BYTES]);

#endif
