/* SPDX-License-Identifier: Apache-2.0
 *
 * sweep.h - several limits that differ in one value: rate=1/s..50/s, burst=5..100. Pure.
 *
 * Between both ends lie round values: the multiples of 1, 2 or 5 times a power of ten, not more
 * than SWEEP_MOST with the ends.
 */
#ifndef WEIRCTL_SWEEP_H
#define WEIRCTL_SWEEP_H

#include <stdbool.h>
#include <stdint.h>

#define SWEEP_MOST 51u

enum sweep_what {
	SWEEP_RATE,
	SWEEP_BURST,
};

struct sweep {
	enum sweep_what what;
	uint64_t period_ns; /* of the rates */
	unsigned count;
	uint64_t micro[SWEEP_MOST];
};

/* Returns NULL, or a sentence that says what would be right. */
const char *sweep_read(const char *text, struct sweep *out);

#endif
