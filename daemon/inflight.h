/* SPDX-License-Identifier: Apache-2.0
 *
 * inflight.h - puts into force what gradient.h decides: a decider for each rule whose concurrency
 * is found, fed with what its calls added to two words of the segment (permit_found.h). Knows no
 * loop.
 *
 * What is in force stands in the rule's row, with what calls take; so a daemon that takes the
 * segment over goes on from there, and without one the last limit stays. Killed anywhere: the
 * calls of a window are lost, as if they had not been.
 */
#ifndef WEIRD_INFLIGHT_H
#define WEIRD_INFLIGHT_H

#include <stdbool.h>

#include "segment.h"

struct inflight_entry;

struct inflight {
	struct inflight_entry *entries; /* a list, empty at first */
	bool moves;			/* calls had ended, at the last look, or are waited for */
};

/*
 * Looks at all rules of a segment that this process publishes; to be called all the time, some 20
 * times a second while it `moves`, and else often enough to notice calls. false: no memory for one
 * of them, whose limit stays.
 */
bool inflight_look(struct inflight *inflight, struct segment *segment);

/* The same for one row, which is live and whose limit is found. */
bool inflight_look_at(struct inflight *inflight, struct segment *segment, uint32_t row);

void inflight_end(struct inflight *inflight);

#endif
