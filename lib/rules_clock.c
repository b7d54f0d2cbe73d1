/* SPDX-License-Identifier: Apache-2.0
 *
 * rules_clock.c - every line anew, because a clock is: the segment's, after a calibration or a
 * sleep, or the wall's, for windows by the calendar.
 */
#include "rules.h"

#include "fault.h"
#include "rules_row.h"
#include "weir.h"

/* What so many nanoseconds mint, at most the burst. */
static uint64_t minted_asleep(uint64_t slope, uint64_t burst_units, uint64_t hz, uint64_t slept_ns)
{
	line_wide ticks = (line_wide)slept_ns * hz / 1000000000u;
	line_wide units = (line_wide)(uint64_t)ticks * slope >> LINE_SLOPE_BITS;

	return units > burst_units ? burst_units : (uint64_t)units;
}

/* By how much V jumps after that; with windows from first use it counts ticks, at most a window's.
 */
static uint64_t lift_asleep(const struct line *line, uint64_t hz, uint64_t slept_ns)
{
	line_wide ticks = (line_wide)slept_ns * hz / 1000000000u;

	if (line->flags & LINE_ALIGNED)
		return 0; /* the wall clock went on, and says what has begun */
	if (line->flags & LINE_FIRST)
		return ticks > line->step_ticks ? line->step_ticks : (uint64_t)ticks;
	return minted_asleep(line->slope, line->burst_units, hz, slept_ns);
}

static int row_rebase(struct segment *segment, uint32_t row, uint64_t hz, uint64_t slept_ns,
		      const struct wall_time *wall)
{
	struct line old;
	struct line line;
	struct terms terms;
	struct terms_author author;

	rules_row_read(segment, row, &old, &terms, &author);
	int status = rules_line_next(segment, row, &terms, hz, wall, &line);

	if (status < 0)
		return status;
	line.shadow.lift_units =
		minted_asleep(line.shadow.slope, line.shadow.burst_units, hz, slept_ns);
	line_publish(rules_row(segment, row), &segment->time, &line, &terms, &author,
		     lift_asleep(&line, hz, slept_ns));
	return 0;
}

int rules_rebase(struct segment *segment, uint64_t hz, uint64_t slept_ns)
{
	const struct terms terms = {.rate_micro = hz, .period_ns = 1000000000u};
	const struct terms_author author = {ORIGIN_FILE, 0};
	struct line clock;
	int status = line_from_hz(&clock, hz);

	if (status < 0)
		return status;
	line_publish(&segment->publisher->clock, &segment->time, &clock, &terms, &author, 0);

	struct wall_time wall = align_now(&segment->time);

	for (uint32_t i = 0; i < rules_used(segment); i++) {
		FAULT_POINT(rebase_row);
		if (rules_is_live(&segment->rows[i]) &&
		    row_rebase(segment, i, hz, slept_ns, &wall) < 0)
			status = WEIR_EVALUE;
	}
	return status;
}

/* Returns by how many ticks the row's windows lie later now; 0: they stay, or there are none. */
static int64_t row_align(struct segment *segment, uint32_t row, const struct wall_time *wall,
			 uint64_t tolerance)
{
	struct line old;
	struct line line;
	struct terms terms;
	struct terms_author author;
	int64_t shift;

	rules_row_read(segment, row, &old, &terms, &author);
	if (!(old.flags & LINE_ALIGNED) || !align_possible(terms.window.length_ns) ||
	    rules_line_next(segment, row, &terms, segment_hz(segment), wall, &line) < 0)
		return 0;
	shift = align_shift(&line, &old, &terms.window);
	if ((shift < 0 ? 0 - (uint64_t)shift : (uint64_t)shift) < tolerance)
		return 0;
	line_publish(rules_row(segment, row), &segment->time, &line, &terms, &author, 0);
	return shift;
}

unsigned rules_align(struct segment *segment, const struct wall_time *wall, uint64_t tolerance_ns,
		     int64_t *shift_ns)
{
	uint64_t largest = 0;
	unsigned count = 0;
	struct line clock;

	segment_clock(segment, &clock);
	*shift_ns = 0;
	for (uint32_t i = 0; i < rules_used(segment); i++) {
		int64_t shift = 0;

		FAULT_POINT(align_row);
		if (rules_is_live(&segment->rows[i]))
			shift = row_align(segment, i, wall, line_ns_to_ticks(&clock, tolerance_ns));
		if (shift == 0)
			continue;

		uint64_t ticks = shift < 0 ? 0 - (uint64_t)shift : (uint64_t)shift;

		count++;
		if (ticks < largest)
			continue;
		largest = ticks;
		*shift_ns = (int64_t)line_ticks_to_ns(&clock, ticks);
		*shift_ns = shift < 0 ? -*shift_ns : *shift_ns;
	}
	return count;
}
