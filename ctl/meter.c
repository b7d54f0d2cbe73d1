/* SPDX-License-Identifier: Apache-2.0 */
#include "meter.h"

#include <math.h>
#include <time.h>

#define SETTLE_NS 2000000l

static long double tokens(uint64_t units, const struct view *view)
{
	return ldexpl((long double)units, -(int)view->line.k);
}

static long double tokens_between(uint64_t from, uint64_t to, const struct view *view)
{
	return to > from ? tokens(to - from, view) : 0;
}

/*
 * What windows from first use may have brought between two looks: none before the one under way is
 * over. A bucket that nobody uses is full, and its next window counts from where it was looked at.
 */
static long double windows_between(const struct view *from, const struct view *to)
{
	const struct line *a = &from->line;
	const struct line *b = &to->line;
	uint64_t ticks = a->step_ticks < b->step_ticks ? a->step_ticks : b->step_ticks;
	uint64_t units = a->step_units > b->step_units ? a->step_units : b->step_units;
	uint64_t since = from->began ? from->began : line_value(b, from->now);
	int64_t over = (int64_t)(line_value(b, to->now) - since - ticks);

	if (ticks == 0 || over < 0)
		return 0;
	uint64_t windows = (uint64_t)over / ticks + 1;

	return tokens(units, to) * (long double)windows;
}

/* What the clock of one row brought between two looks at a bucket. */
static long double minted_between(const struct view *from, const struct view *to)
{
	if (from->line.flags & to->line.flags & LINE_FIRST)
		return windows_between(from, to);
	return tokens_between(from->v, to->v, to);
}

/* What a row that the bucket has moved to brought since; a window may have come along. */
static long double minted_since(const struct view *to, uint64_t then)
{
	struct view from = *to;

	from.now = then;
	from.v = line_value(&to->line, then);
	from.began = 0;
	return minted_between(&from, to) +
	       (to->line.flags & LINE_FIRST ? tokens(to->line.step_units, to) : 0);
}

static long double burst_of(const struct view *view)
{
	return tokens(view->line.burst_units, view);
}

static long double level_of(const struct view *view)
{
	return view->level_units > 0 ? tokens((uint64_t)view->level_units, view) : 0;
}

/* What is spoken for beyond the burst: granted already, by reservations, and not yet minted. */
static long double debt_of(const struct view *view)
{
	return view->level_units < 0 ? tokens((uint64_t)-view->level_units, view) : 0;
}

static long double count_of(const struct view *view, enum meter_count count)
{
	const uint64_t *counters = view->tally.counters;

	switch (count) {
	case METER_GRANTED:
		/* shadow mode lets pass what the limit does not grant */
		return view->tally.tokens[COUNT_GRANTED_UNITS] -
		       tokens(view->shadow.counts[SHADOW_PASSED_UNITS], view);
	case METER_RETURNED:
		return view->tally.tokens[COUNT_RETURNED_UNITS];
	case METER_GRANTED_CALLS:
		return (long double)counters[COUNT_GRANTED_CALLS];
	case METER_REFUSED_CALLS:
		return (long double)counters[COUNT_REFUSED_CALLS];
	case METER_COUNTS:
		break;
	}
	return 0;
}

int meter_begin(struct meter *meter, const struct place *place, const char *name)
{
	const struct timespec pause = {0, SETTLE_NS};
	struct view later;
	int status = look_name(&meter->look, name, &meter->view);

	if (status < 0)
		return status;
	meter->place = place;
	meter->name = name;
	meter->level = level_of(&meter->view);
	meter->unlimited = meter->view.line.flags & LINE_UNLIMITED;
	/* who took tokens just before the level was read counts them just afterwards */
	nanosleep(&pause, NULL);
	status = look_name(&meter->look, name, &later);
	if (status < 0)
		return status;
	for (int i = 0; i < METER_COUNTS; i++)
		meter->bases[i] = count_of(&later, (enum meter_count)i);
	return 0;
}

/* ---- one step ---- */

/* The row's clock, read again: after everything that was read before. */
static void read_clock(const struct look *look, struct view *view)
{
	view->now = line_read(&look->segment.rows[view->row], &look->segment.time, &view->line);
	view->v = line_value(&view->line, view->now);
}

/*
 * What an operator did to the level: a larger burst, and resets, each of which fills one. The
 * first of them wipes out what was spoken for.
 */
static void add_raises(struct meter *meter, const struct view *to, uint64_t resets)
{
	long double before = burst_of(&meter->view);
	long double after = burst_of(to);
	long double larger = after > before ? after : before;

	meter->raised += larger - before + (long double)resets * larger;
	meter->raised += resets ? debt_of(&meter->view) : 0;
}

/*
 * The sums only grow: in a pair that replaced another, counts arrive a moment after the bucket,
 * and must not be taken for new ones then.
 */
static void add_counts(struct meter *meter, const struct view *to, bool continues)
{
	for (int i = 0; i < METER_COUNTS; i++) {
		long double count = count_of(to, (enum meter_count)i);

		if (!continues)
			meter->bases[i] = count - meter->sums[i];
		else if (count - meter->bases[i] > meter->sums[i])
			meter->sums[i] = count - meter->bases[i];
	}
}

/* The name's bucket is another one now: both clocks count since the last step. */
static void step_over(struct meter *meter, const struct view *to, const struct view *old,
		      bool continues)
{
	uint64_t then = meter->view.now;

	meter->moves++;
	meter->minted += minted_between(&meter->view, old);
	meter->minted += minted_since(to, then);
	add_raises(meter, to, continues ? to->resets : 0);
	if (!continues) { /* a bucket that nobody has followed so far may hold what it likes */
		meter->raised += debt_of(&meter->view) + level_of(to);
		meter->breaks++;
	}
	add_counts(meter, to, continues);
}

static void step_on(struct meter *meter, const struct view *to)
{
	meter->minted += minted_between(&meter->view, to);
	add_raises(meter, to, (to->resets - meter->view.resets) & 0xff);
	add_counts(meter, to, true);
}

/* Follows a pair that was replaced; returns whether there is another one now. */
static bool follow(struct meter *meter)
{
	struct look next;

	if (!segment_is_retired(&meter->look.segment) || look_attach(&next, meter->place) < 0)
		return false;
	if (next.pair == meter->look.pair) {
		look_close(&next);
		return false;
	}
	look_close(&meter->look);
	meter->look = next;
	return true;
}

void meter_step(struct meter *meter)
{
	struct view old = meter->view;
	struct view to;
	bool elsewhere;

	read_clock(&meter->look, &old);

	bool other_pair = follow(meter);

	if (look_name(&meter->look, meter->name, &to) < 0)
		return;
	read_clock(&meter->look, &to);
	meter->unlimited |= (to.line.flags & LINE_UNLIMITED) != 0;
	if (!other_pair && to.row == old.row && to.bucket == old.bucket) {
		step_on(meter, &to);
	} else {
		uint32_t source = look_source(&meter->look.segment, to.row, to.bucket, &elsewhere);

		step_over(meter, &to, &old, source == old.bucket + 1 && elsewhere == other_pair);
	}
	meter->view = to;
}

/* ---- the verdict ---- */

long double meter_allowed(const struct meter *meter)
{
	return meter->level + meter->minted + meter->raised + meter->sums[METER_RETURNED];
}

long double meter_excess(const struct meter *meter)
{
	long double excess =
		meter->sums[METER_GRANTED] - meter_allowed(meter) - debt_of(&meter->view);

	return excess > 0 && !meter->unlimited ? excess : 0;
}
