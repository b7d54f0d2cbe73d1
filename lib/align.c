/* SPDX-License-Identifier: Apache-2.0 */
#include "align.h"

#include "window.h"

#define MINUTE_NS 60000000000ull
#define WEEK_NS (7 * ALIGN_DAY_NS)
#define READ_TRIES 4

__extension__ typedef __int128 align_wide;

bool align_possible(uint64_t length_ns)
{
	return length_ns == WEEK_NS || (length_ns && ALIGN_DAY_NS % length_ns == 0);
}

struct wall_time align_now(const struct time_source *time)
{
	struct wall_time best = {0, 0};
	uint64_t span = UINT64_MAX;

	if (time->kind == CLOCK_KIND_MANUAL) {
		best.ticks = time_source_ticks(time);
		best.ns = best.ticks;
		return best;
	}
	for (int i = 0; i < READ_TRIES; i++) {
		uint64_t before = time_source_ticks(time);
		uint64_t ns = time_source_kernel_ns(CLOCK_REALTIME);
		uint64_t after = time_source_ticks(time);

		if (after - before >= span)
			continue;
		span = after - before;
		best = (struct wall_time){before + span / 2, ns};
	}
	return best;
}

/* Nanoseconds of the calendar that windows count in. 1970 began on a Thursday; a week is added so
 * that no offset leads below 0. */
static uint64_t calendar(const struct window_terms *window, uint64_t wall_ns)
{
	uint64_t monday = window->length_ns == WEEK_NS ? 3 * ALIGN_DAY_NS : 0;

	int64_t east = (int64_t)window->minutes * (int64_t)MINUTE_NS;

	return wall_ns + WEEK_NS + monday + (uint64_t)east;
}

static int64_t number_of(const struct window_terms *window, uint64_t wall_ns)
{
	return (int64_t)(calendar(window, wall_ns) / window->length_ns);
}

uint64_t align_count(const struct window_terms *window, uint64_t after_ns, uint64_t upto_ns)
{
	int64_t count = number_of(window, upto_ns) - number_of(window, after_ns);

	return count > 0 ? (uint64_t)count : 0;
}

/* Windows of an old line: the number of the one that its staircase is in at a tick. */
static int64_t number_in(const struct line *old, const struct window_terms *window, uint64_t ticks)
{
	uint64_t since = line_elapsed(old, ticks) >> 4;

	return number_of(window, old->origin_wall_ns) +
	       (int64_t)(old->step_ticks ? since / old->step_ticks : 0);
}

/* What `count` windows bring, at most the burst. */
static uint64_t brought(const struct line *line, int64_t count)
{
	line_wide units = (line_wide)(uint64_t)count * line->step_units;

	return units > line->burst_units ? line->burst_units : (uint64_t)units;
}

static void continue_line(struct line *line, const struct window_terms *window,
			  const struct wall_time *wall, const struct line *old)
{
	int64_t before = number_in(old, window, wall->ticks);
	int64_t now = number_of(window, wall->ns);

	line->origin_units = window_value(old, wall->ticks);
	if (now > before) {
		line->origin_units += brought(line, now - before);
	} else if (now == before - 1) {
		line->origin_ticks += line->step_ticks;
		line->origin_wall_ns += window->length_ns;
	}
}

void align_line(struct line *line, const struct window_terms *window, const struct line *clock,
		const struct wall_time *wall, const struct line *old)
{
	uint64_t since = calendar(window, wall->ns) % window->length_ns;

	/* before the first tick, too: elapsed time is a difference */
	line->origin_ticks = wall->ticks - line_ns_to_ticks(clock, since);
	line->origin_wall_ns = wall->ns - since;
	line->origin_units = 0;
	if (old)
		continue_line(line, window, wall, old);
}

int64_t align_shift(const struct line *line, const struct line *old,
		    const struct window_terms *window)
{
	align_wide windows = (align_wide)number_of(window, line->origin_wall_ns) -
			     number_of(window, old->origin_wall_ns);
	align_wide expected = windows * (align_wide)old->step_ticks;
	align_wide shift = (align_wide)(int64_t)(line->origin_ticks - old->origin_ticks) - expected;

	return shift > INT64_MAX ? INT64_MAX : shift < INT64_MIN ? INT64_MIN : (int64_t)shift;
}
