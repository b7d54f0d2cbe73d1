/* SPDX-License-Identifier: Apache-2.0
 *
 * audit_line.c - published lines: whether they can be reckoned with, and are what their terms make
 * of them. The clock is one, too.
 */
#include "audit_parts.h"

#include "align.h"
#include "class.h"
#include "shadow.h"
#include "window.h"

#define DAY_MINUTES 1440
#define LINE_FLAGS                                                                                 \
	((uint64_t)(LINE_UNLIMITED | LINE_NEVER | LINE_WINDOW | LINE_SHADOW | LINE_BESIDE))
#define READ_TRIES 1000 /* of a row that is published all the while */

static void raw_load(struct raw_line *out, const struct line_copy *copy)
{
	out->origin_ticks = LOAD(copy->words.origin_ticks);
	out->origin_units = LOAD(copy->words.origin_units);
	out->origin_fraction = LOAD(copy->words.origin_fraction);
	out->slope = LOAD(copy->words.slope);
	out->shape = LOAD(copy->words.shape);
	out->burst_units = LOAD(copy->words.burst_units);
	out->reach_units = LOAD(copy->words.reach_units);
	out->initial_units = LOAD(copy->words.initial_units);
	out->terms.rate_micro = LOAD(copy->terms.rate_micro);
	out->terms.period_ns = LOAD(copy->terms.period_ns);
	out->terms.burst_micro = LOAD(copy->terms.burst_micro);
	out->terms.initial_micro = LOAD(copy->terms.initial_micro);
	out->terms.max_wait_ns = LOAD(copy->terms.max_wait_ns);
	out->follow = (uint32_t)(out->shape >> 49);
	line_read_shadow(&copy->shadow, &out->shadow);
	out->terms.beside =
		(struct shadow_terms){LOAD(copy->shadow.rate_micro), LOAD(copy->shadow.period_ns),
				      LOAD(copy->shadow.burst_micro)};
	out->terms.shadow = (out->shape >> 16 & LINE_SHADOW) != 0;
	for (unsigned i = 0; i < LAYOUT_CLASSES; i++)
		out->terms.classes[i] = (struct class_leave){LOAD(copy->classes[i].name),
							     LOAD(copy->classes[i].leave)};
	out->terms.window = window_load(copy);
}

/* How the rule follows its upstream, where it stands in the table of those. */
static void follow_load(struct raw_line *out, const struct segment *segment, uint64_t generation)
{
	out->terms.learned = (struct learned_terms){0};
	out->terms.adapt = (struct adapt_terms){0};
	if (out->follow == 0 || out->follow > segment->follow_count)
		return;

	const struct line_follow *from = &segment->follows[out->follow - 1].sides[generation & 1];

	line_read_learned(&from->learned, &out->terms.learned);
	line_read_adapt(&from->adapt, &out->terms.adapt);
}

/* As line_read() does. false: published too often meanwhile, which is no fault of the row. */
static bool raw_read(struct raw_line *out, const struct segment *segment,
		     const struct rule_row *row)
{
	for (int i = 0; i < READ_TRIES; i++) {
		uint64_t generation = LOAD(row->generation);

		out->now = segment_now(segment);
		raw_load(out, &row->copies[generation & 1]);
		follow_load(out, segment, generation);
		/* relaxed: the acquire loads above keep it after them */
		if (atomic_load_explicit(&row->generation, memory_order_relaxed) == generation)
			return true;
	}
	return false;
}

/* Equal but for what a calibration of the clock and a rounding change. */
static bool slopes_agree(uint64_t a, uint64_t b)
{
	uint64_t larger = a > b ? a : b;
	uint64_t smaller = a > b ? b : a;

	return larger - smaller <= (larger >> 6) + 1;
}

/* What a line has beside its limit: a shadow of it, and what classes must leave. */
static void check_extras(const struct spot *at, const struct raw_line *raw,
			 const struct line *expected)
{
	const struct class_leave *classes = raw->terms.classes;

	found_if(at, raw->shadow.burst_units != expected->shadow.burst_units,
		 "a shadow limit's burst is not that of its terms", raw->shadow.burst_units);
	found_if(at, !slopes_agree(raw->shadow.slope, expected->shadow.slope),
		 "a shadow limit's speed is not that of its terms", raw->shadow.slope);
	for (unsigned i = 0; i < LAYOUT_CLASSES; i++) {
		char name[CLASS_TEXT_BYTES];

		found_if(at,
			 classes[i].name && i &&
				 (!classes[i - 1].name || classes[i].name <= classes[i - 1].name),
			 "classes that are not in the order of their names", classes[i].name);
		found_if(at,
			 classes[i].name &&
				 class_number(class_text(classes[i].name, name)) != classes[i].name,
			 "a class without a name", classes[i].name);
		found_if(at,
			 classes[i].name && class_leave_units(classes[i].leave, raw->burst_units,
							      expected->k) > raw->burst_units,
			 "a class that must leave more than the burst", classes[i].leave);
	}
}

/* How the rule follows its upstream, and what it has learned. */
static void check_follow(const struct spot *at, const struct raw_line *raw)
{
	const struct adapt_terms *adapt = &raw->terms.adapt;
	const struct learned_terms *learned = &raw->terms.learned;

	found_if(at, raw->follow > at->audit->segment->follow_count,
		 "a place beyond the table of rules that follow an upstream", raw->follow);
	found_if(at, adapt->mode > ADAPT_AIMD, "a rule that adapts in no known way", adapt->mode);
	found_if(at, adapt->safety_micro > TERMS_MICRO, "a safety above 1", adapt->safety_micro);
	found_if(at, adapt->min_rate_micro && adapt->min_period_ns == 0,
		 "a least rate without a period", adapt->min_rate_micro);
	found_if(at, learned->period_ns && learned->burst_micro < TERMS_MICRO,
		 "a learned burst below one token", learned->burst_micro);
	found_if(at, learned->period_ns && learned->rate_micro == 0, "a learned rate of 0", 0);
	found_if(at, learned->period_ns && adapt->mode == ADAPT_OFF,
		 "something learned by a rule that does not adapt", learned->rate_micro);
}

/* Windows as they can be written. Returns whether they are. */
static bool check_window_terms(const struct spot *at, const struct raw_line *raw)
{
	const struct window_terms *window = &raw->terms.window;
	bool wrong = found_if(at, (window->length_ns != 0) != (window->kind != WINDOW_NONE),
			      "a length without windows, or windows without a length",
			      window->length_ns);

	wrong |= found_if(at, window->kind == WINDOW_ALIGNED && !align_possible(window->length_ns),
			  "windows that cannot follow the calendar", window->length_ns);
	wrong |= found_if(at, window->minutes <= -DAY_MINUTES || window->minutes >= DAY_MINUTES,
			  "windows of no place on earth", (uint64_t)(int64_t)window->minutes);
	return !wrong;
}

/* What the words of a line with windows say beside those of all lines. */
static void check_window_line(const struct spot *at, const struct raw_line *raw,
			      const struct line *expected)
{
	found_if(at, raw->origin_fraction != expected->step_units,
		 "a window's quota is not that of its terms", raw->origin_fraction);
	found_if(at, raw->reach_units == 0 || raw->reach_units > LINE_FAR,
		 "a line's reach is not that of its terms", raw->reach_units);
}

/* Whether a line is what its terms make of it. */
void audit_terms(const struct spot *at, const struct raw_line *raw, unsigned unit)
{
	const struct terms *terms = &raw->terms;
	struct line expected;

	if (found_if(at, terms->period_ns == 0, "a rate without a period", 0) ||
	    found_if(at, terms->burst_micro < TERMS_MICRO, "a burst below one token",
		     terms->burst_micro) ||
	    found_if(at, terms->initial_micro > terms->burst_micro,
		     "an initial level above the burst", terms->initial_micro))
		return;
	if (!check_window_terms(at, raw) || at->audit->hz == 0)
		return;
	if (found_if(at, line_from_terms(&expected, terms, unit, at->audit->hz) < 0,
		     "a rule's terms make no line", terms->rate_micro))
		return;
	found_if(at, (raw->shape >> 16 & 0xffff) != expected.flags,
		 "a line's flags are not those of its terms", raw->shape);
	found_if(at, raw->burst_units != expected.burst_units,
		 "a line's burst is not that of its terms", raw->burst_units);
	found_if(at, raw->initial_units != expected.initial_units,
		 "a line's initial level is not that of its terms", raw->initial_units);
	found_if(at, !slopes_agree(raw->slope, expected.slope),
		 "a line's speed is not that of its terms", raw->slope);
	check_extras(at, raw, &expected);
	check_follow(at, raw);
	if (expected.flags & LINE_WINDOW) {
		check_window_line(at, raw, &expected);
		return;
	}
	found_if(at,
		 raw->reach_units < expected.burst_units || raw->reach_units > LINE_FAR ||
			 (terms->max_wait_ns == 0 && raw->reach_units != LINE_FAR),
		 "a line's reach is not that of its terms", raw->reach_units);
}

/* A radix belongs to windows from first use, and to nothing else. */
static bool unit_exists(uint64_t shape)
{
	bool first = shape >> 16 & LINE_FIRST;

	return (shape & 0xff) <= LINE_K_MAX && (shape >> 8 & 0xff) < 63 &&
	       ((shape >> 8 & 0xff) != 0) == first;
}

/* What holds for every line, the clock's included. Returns whether it can be reckoned with. */
bool audit_line(const struct spot *at, const struct rule_row *row, struct raw_line *raw)
{
	uint64_t generation = LOAD(row->generation);
	uint64_t second = at->audit->hz ? at->audit->hz : NS_PER_S;
	uint64_t ahead = 0;
	bool sound;

	if (found_if(at, generation == 0, "a line that was never published", 0))
		return false;
	if (!raw_read(raw, at->audit->segment, row))
		return false;
	/* the present was read before the words, and a publisher's margin is a microsecond */
	ahead = raw->origin_ticks - segment_now(at->audit->segment);
	/* windows that were laid out anew may begin later than the next one */
	if (raw->shape >> 16 & LINE_ALIGNED && raw->slope < LINE_FAR)
		second += raw->slope;
	sound = !found_if(at, !unit_exists(raw->shape), "a unit that does not exist", raw->shape);
	sound &= !found_if(at, raw->shape >> 16 & 0xffff & ~LINE_FLAGS, "flags that do not exist",
			   raw->shape);
	sound &= !found_if(at, (raw->shape >> 16 & LINE_WINDOW) == LINE_WINDOW,
			   "windows of both kinds", raw->shape);
	sound &= !found_if(at, raw->burst_units == 0 || raw->burst_units >= BURST_MAX,
			   "a burst out of range", raw->burst_units);
	sound &= !found_if(at, raw->reach_units > LINE_FAR, "a reach out of range",
			   raw->reach_units);
	sound &= !found_if(at, raw->initial_units > raw->burst_units,
			   "an initial level above the burst", raw->initial_units);
	sound &= !found_if(at, raw->origin_units == 0 || raw->origin_units > V_MAX,
			   "a token clock out of range", raw->origin_units);
	sound &= !found_if(at, (int64_t)ahead > 0 && ahead > second,
			   "a line that begins in the future", raw->origin_ticks);
	return sound;
}

static uint64_t clock_hz(const struct segment *segment, const struct raw_line *raw)
{
	return segment->time.kind == CLOCK_KIND_TSC ? raw->terms.rate_micro : NS_PER_S;
}

/* The calibration: nanoseconds over ticks. Everything that is reckoned in seconds hangs on it. */
void audit_clock(struct audit *audit)
{
	const struct rule_row *row = &audit->segment->rules->clock;
	const struct spot at = {audit, "clock", 0};
	struct raw_line raw;
	struct line expected;

	if (!audit_line(&at, row, &raw))
		return;

	uint64_t hz = clock_hz(audit->segment, &raw);

	/* 1 MHz to 100 GHz */
	if (found_if(&at, hz < 1000000 || hz > 100 * NS_PER_S, "a clock of no known machine", hz) ||
	    found_if(&at, line_from_hz(&expected, hz) < 0, "a clock that makes no line", hz) ||
	    found_if(&at, !slopes_agree(raw.slope, expected.slope),
		     "the clock's speed is not that of its calibration", raw.slope))
		return;
	found_if(&at, raw.shape != 0 || raw.burst_units != 1,
		 "the clock's line is not in nanoseconds", raw.shape);
	audit->hz = hz;
}
