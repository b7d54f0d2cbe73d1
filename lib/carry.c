/* SPDX-License-Identifier: Apache-2.0 */
#include "carry.h"

#include "window.h"

struct origin carry_origin(const struct rule_row *row)
{
/* relaxed: fixed before the row became live */
#define ORIGIN_LOAD(word) atomic_load_explicit(&row->word, memory_order_relaxed)
	uint32_t shape = ORIGIN_LOAD(source_shape);

	return (struct origin){
		.bucket_plus_1 = ORIGIN_LOAD(source),
		.unit = shape & 0x3f3f,
		.elsewhere = shape & SOURCE_ELSEWHERE,
		.given = shape & SOURCE_GIVEN,
		.keep = (enum rules_keep)((shape & SOURCE_KEEP) >> 16),
		.units = ORIGIN_LOAD(source_units),
		.shadow_units = ORIGIN_LOAD(source_shadow),
		.burst_units = ORIGIN_LOAD(source_burst),
		.step_ticks = ORIGIN_LOAD(source_ticks),
	};
#undef ORIGIN_LOAD
}

/* How a mark stood to its clock when the row took over. */
static struct stand stand_there(const struct origin *origin, uint64_t mark)
{
	/* a clock that stands at `units` */
	const struct line line = {
		.origin_units = origin->units,
		.step_units = origin->step_ticks ? origin->burst_units : 0,
		.step_ticks = origin->step_ticks,
		.radix = origin->unit >> 8,
		.flags = origin->unit >> 8 ? LINE_FIRST : LINE_ALIGNED,
	};

	return window_stand(&line, 0, mark);
}

uint64_t carry_ahead(enum rules_keep keep, uint64_t ahead, uint64_t burst_before,
		     uint64_t burst_after)
{
	int64_t before = (int64_t)burst_before;
	int64_t after = (int64_t)burst_after;
	int64_t level = before - (int64_t)ahead;

	switch (keep) {
	case RULES_KEEP_USED:
		return ahead;
	case RULES_KEEP_RESET:
		return 0;
	case RULES_KEEP_LEVEL:
		break;
	case RULES_KEEP_PROPORTIONAL:
		/* a debt stays the debt it is */
		if (level > 0)
			level = (int64_t)((line_wide)level * (line_wide)after / (line_wide)before);
		break;
	}
	return (uint64_t)(level < after ? after - level : 0);
}

/* The mark in the new row of which `ahead` units are spoken for. */
static uint64_t mark_here(const struct origin *origin, const struct line *to, struct stand there,
			  uint64_t ahead)
{
	struct line born = *to;
	uint64_t since = 0;

	/* V at its birth, whatever it is by now */
	born.origin_units = to->flags & LINE_FIRST ? LINE_BIRTH_FIRST : LINE_BIRTH;
	born.origin_ticks = 0;
	/* a window that is under way goes on: both clocks count ticks; the start may be a little
	 * ahead */
	if (origin->unit >> 8 && there.ahead && ahead)
		since = origin->units - there.v;
	return line_mark(&born, 0, (struct stand){born.origin_units - since, ahead});
}

static uint64_t ahead_here(const struct origin *origin, const struct line *to, uint64_t there)
{
	unsigned k = origin->unit & 63;

	return carry_ahead(origin->keep, line_rescale(there, k, to->k),
			   line_rescale(origin->burst_units, k, to->k), to->burst_units);
}

uint64_t carry_mark(const struct origin *origin, const struct line *to, uint64_t mark)
{
	struct stand there = stand_there(origin, mark);

	return mark_here(origin, to, there, ahead_here(origin, to, there.ahead));
}

uint64_t carry_position(const struct origin *origin, const struct line *to, uint64_t position)
{
	struct stand there = stand_there(origin, position);

	if (origin->given || origin->keep == RULES_KEEP_RESET)
		return 0;
	return mark_here(origin, to, there, ahead_here(origin, to, there.ahead));
}
