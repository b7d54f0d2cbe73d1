/* SPDX-License-Identifier: Apache-2.0
 *
 * permit_found.h - a limit on permits that is found from how long calls take: what calls tell, and
 * what was made of it.
 *
 * Who writes: whoever ends a call adds it to two words of its rule's line, one addition each;
 * the publisher alone stores the limit (permit_chain.h). Killed anywhere: a call is counted whole
 * or not at all. The words are everybody's to write, so they are advice: whatever is in them, the
 * limit stays between its bounds.
 */
#ifndef WEIR_PERMIT_FOUND_H
#define WEIR_PERMIT_FOUND_H

#include <stdbool.h>
#include <stdint.h>

#include "segment.h"

/* A limit as it was found. */
struct permit_found {
	uint32_t min;
	uint32_t max;
	uint32_t limit;
	uint32_t cause;	     /* enum found_cause */
	uint64_t latency_ns; /* what calls took; 0: not known */
	uint64_t base_ns;    /* and take without a queue; 0: not known */
};

/* false: the row's limit is given, or it has none. */
bool permit_found_read(const struct rule_row *row, struct permit_found *out);

/* "they take longer: calls queue upstream" . Never NULL. */
const char *permit_found_text(uint32_t cause);

/*
 * A call of that row has ended, which began at that tick: counted if the limit is found, and no
 * other one was in force then. Lock-free, no system call.
 */
void permit_found_end(const struct segment *segment, const struct rule_row *row, uint64_t began);

/* A call has failed for want of strength upstream, whether it had a permit or not. */
void permit_found_fail(const struct segment *segment, const struct rule_row *row, uint64_t began);

/* Both words, and what was added to them between two looks. */
struct permit_ends {
	uint64_t ended;
	uint64_t failed;
};

void permit_found_ends(const struct segment *segment, const struct rule_row *row,
		       struct permit_ends *out);

static inline uint32_t permit_ends_calls(uint64_t word, uint64_t before)
{
	return (uint32_t)((word - before) & PERMIT_ENDS);
}

static inline uint64_t permit_ends_ns(uint64_t word, uint64_t before)
{
	return (word - before) / (PERMIT_ENDS + 1) * PERMIT_ENDS_NS;
}

#endif
