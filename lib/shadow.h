/* SPDX-License-Identifier: Apache-2.0
 *
 * shadow.h - what would have been refused: counts, and a shadow limit beside a rule's own.
 *
 * A shadow limit has a line of its own in the row and a mark of its own beside the bucket's mark,
 * both in the row's unit. It is weighed by every call and decides nothing, so its words order
 * nothing: all accesses are relaxed. Who writes: the mark and the counts everybody who shares the
 * bucket, the line the publisher. Killed anywhere: the call was weighed or it was not; between
 * the two additions of one count the units of one call may be missing.
 */
#ifndef WEIR_SHADOW_H
#define WEIR_SHADOW_H

#include <stdbool.h>
#include <stdint.h>

#include "layout.h"
#include "token_clock.h"

/* One bucket's counts. */
struct shadow_sum {
	uint64_t counts[LAYOUT_SHADOW_COUNTS];
};

/* V of the shadow limit at a tick, in 2^-64 unit and in whole units. */
static inline line_wide shadow_value_wide(const struct shadow_line *shadow, uint64_t ticks)
{
	const struct line line = {.origin_ticks = shadow->origin_ticks};

	return ((line_wide)shadow->origin_units << 64 | shadow->origin_fraction) +
	       (line_wide)line_elapsed(&line, ticks) * shadow->slope;
}

static inline uint64_t shadow_value(const struct shadow_line *shadow, uint64_t ticks)
{
	return (uint64_t)(shadow_value_wide(shadow, ticks) >> 64);
}

/*
 * How far ahead of V a call may put the mark that is willing to wait so many ticks: as for the
 * rule itself, whose max_wait bounds it too.
 */
uint64_t shadow_limit(const struct line *line, uint64_t now, uint64_t ahead_ticks);

/* Takes `units` if the mark is then at most `limit` ahead of `v`. Lock-free. */
bool shadow_take(struct bucket *bucket, uint64_t v, uint64_t units, uint64_t limit);

/* Ticks until the same take would do within `room` ahead of V; UINT64_MAX: never. */
uint64_t shadow_wait(const struct bucket *bucket, const struct shadow_line *shadow, uint64_t now,
		     uint64_t units, uint64_t room);

/* Counts one call of `units`: `calls` and `calls + 1` are its counts. Lock-free. */
void shadow_count(struct bucket *bucket, enum shadow_count calls, uint64_t units);

void shadow_read(const struct bucket *bucket, struct shadow_sum *out);

/* Units left by the shadow limit, at most the burst; below 0 when some would wait. */
int64_t shadow_level(const struct bucket *bucket, const struct shadow_line *shadow, uint64_t now);

/* Full again. */
void shadow_reset(struct bucket *bucket);

/*
 * `to` continues `from`, whose clock of the shadow limit said `units` (0: there was none) in units
 * of 2^-from_k when the row of `to` began. Before `to` has its mark; helpers may repeat it. Counts
 * that are being added to `from` meanwhile stay behind; tokens are counted on from 2^61 units at
 * most.
 */
struct shadow_source {
	uint64_t units;
	unsigned from_k;
	unsigned to_k;
};
void shadow_follow(struct bucket *to, const struct bucket *from,
		   const struct shadow_source *source);

/* The line of the terms' shadow limit, and its flag; the origin is left alone. 0 or WEIR_EVALUE. */
int shadow_from_terms(struct line *line, const struct shadow_terms *terms, uint64_t hz);

/* Whether two rules have the same shadow limit. */
bool shadow_terms_equal(const struct shadow_terms *a, const struct shadow_terms *b);

#endif
