/* SPDX-License-Identifier: Apache-2.0
 *
 * timeline.h - what passed and what did not, over time, in a fixed size: the intervals become
 * longer as more of them are needed. They begin at whole multiples of their length since 1970.
 * Pure.
 */
#ifndef WEIRCTL_TIMELINE_H
#define WEIRCTL_TIMELINE_H

#include <stdbool.h>
#include <stdint.h>

#define TIMELINE_MOST 50u

struct timeline_span {
	uint64_t admitted;
	uint64_t refused;
};

struct timeline {
	unsigned step;	/* of the lengths that there are */
	uint64_t first; /* the number of the first span */
	unsigned count;
	struct timeline_span spans[TIMELINE_MOST];
};

/* Times never go back. */
void timeline_add(struct timeline *timeline, uint64_t time_ns, bool admitted);

/* How long a span is, and when one begins. */
uint64_t timeline_length_ns(const struct timeline *timeline);
uint64_t timeline_begin_ns(const struct timeline *timeline, unsigned span);

#endif
