/* SPDX-License-Identifier: Apache-2.0
 *
 * align.h - lays windows out by the calendar: WINDOW_ALIGNED.
 *
 * A window begins where the wall clock, so many minutes east of UTC, is a multiple of its length
 * since midnight; one of a week on Monday. The staircase of a row is anchored to the tick of one
 * such moment and goes on by the segment's clock. When the two clocks part (the wall clock is set,
 * or steered by NTP; the machine slept), the publisher lays it out again, and so that no window of
 * the calendar brings its quota twice:
 *
 *	a window begins that has not begun before	V rises by its quota, and at most by a burst
 *						for all those that were passed over
 *	the same window				V stands
 *	the one before (set back over a boundary)	V stands until the window after the present
 *one one further back (the clock was far wrong)	V stands until the next window
 *
 * Pure. Killed anywhere: nothing is published here.
 */
#ifndef WEIR_ALIGN_H
#define WEIR_ALIGN_H

#include <stdbool.h>
#include <stdint.h>

#include "time_source.h"
#include "token_clock.h"

#define ALIGN_DAY_NS 86400000000000ull

/* Whether windows of that length can follow the calendar: they divide a day, or are a week. */
bool align_possible(uint64_t length_ns);

/* The wall clock, in ns since 1970, at a tick. */
struct wall_time {
	uint64_t ticks;
	uint64_t ns;
};

/* Both at the same moment. A manual clock is the wall clock, too: 0 is 1970-01-01T00:00Z. */
struct wall_time align_now(const struct time_source *time);

/* How many windows begin after one moment of the wall clock and up to another. */
uint64_t align_count(const struct window_terms *window, uint64_t after_ns, uint64_t upto_ns);

/*
 * Sets the origin of `line` (LINE_ALIGNED, from line_from_terms()) to the window that is under way.
 * `clock` is the segment's clock line. `old`: the line of the same windows that it continues, with
 * its origin's wall clock; NULL: there was none, and V is left to the publication.
 */
void align_line(struct line *line, const struct window_terms *window, const struct line *clock,
		const struct wall_time *wall, const struct line *old);

/* By how many ticks later `line` lays the same windows than `old` does. */
int64_t align_shift(const struct line *line, const struct line *old,
		    const struct window_terms *window);

#endif
