/* SPDX-License-Identifier: Apache-2.0 */
#include "token_clock.h"

#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fault.h"
#include "shadow.h"
#include "weir.h"
#include "window.h"

#define TEN_YEARS_S 315576000ull
#define NS_PER_S 1000000000ull
#define COARSER_MAX 24
#define COARSER_EACH 8
#define ROOM (1ull << 62) /* V stays below it, so that the signed differences stay right */

/*
 * num / den * 2^(60 + k), rounded up, by long division in binary: the products would not fit 128
 * bits. false: it does not fit 64.
 */
static bool slope_from_ratio(line_wide num, line_wide den, unsigned k, uint64_t *slope)
{
	line_wide quotient = num / den;
	line_wide rest = num % den;

	for (unsigned i = 0; i < LINE_SLOPE_BITS + k; i++) {
		rest <<= 1;
		quotient = quotient << 1 | (rest >= den);
		rest -= rest >= den ? den : 0;
		if (quotient >> 64)
			return false;
	}
	quotient += rest != 0;
	*slope = (uint64_t)quotient;
	return quotient >> 64 == 0;
}

int line_from_hz(struct line *out, uint64_t hz)
{
	*out = (struct line){.burst_units = 1, .reach_units = LINE_FAR};
	if (hz == 0 || !slope_from_ratio(NS_PER_S, hz, 0, &out->slope))
		return WEIR_EVALUE;
	return 0;
}

uint64_t line_units(uint64_t micro, unsigned k)
{
	line_wide units = (((line_wide)micro << k) + TERMS_MICRO - 1) / TERMS_MICRO;

	return units > ROOM ? ROOM : (uint64_t)units;
}

uint64_t line_rescale(uint64_t units, unsigned from_k, unsigned to_k)
{
	line_wide scaled = units;

	if (to_k >= from_k)
		scaled <<= to_k - from_k;
	else
		scaled = (scaled + ((line_wide)1 << (from_k - to_k)) - 1) >> (from_k - to_k);
	return scaled > LINE_FAR ? LINE_FAR : (uint64_t)scaled;
}

/* Whether V, `v` now, stays below 2^62 for ten years at `times` the rate, in units of 2^-k. */
static bool ten_years_fit(const struct terms *terms, unsigned k, unsigned times, uint64_t v)
{
	line_wide tokens = (line_wide)terms->rate_micro * 1000 * times * TEN_YEARS_S;
	line_wide room = (line_wide)(ROOM - (v < ROOM ? v : ROOM)) * terms->period_ns;

	return tokens <= room >> k;
}

static struct terms nominal_terms(const struct terms *terms)
{
	const struct shadow_terms *beside = &terms->beside;
	struct terms nominal = *terms;

	if (terms->rate_micro == 0 || terms->rate_micro == TERMS_UNLIMITED) {
		/* a shadow limit knows better what the unit is for */
		nominal.rate_micro = beside->period_ns && beside->rate_micro ? beside->rate_micro
									     : 1000 * TERMS_MICRO;
		nominal.period_ns =
			beside->period_ns && beside->rate_micro ? beside->period_ns : NS_PER_S;
	}
	return nominal;
}

bool line_beside_fits(const struct terms *terms, unsigned k, unsigned times)
{
	const struct terms alone = {
		.rate_micro = terms->beside.rate_micro,
		.period_ns = terms->beside.period_ns,
	};

	return alone.period_ns == 0 || (ten_years_fit(&alone, k, times, 0) &&
					line_units(terms->beside.burst_micro, k) < 1ull << 60);
}

unsigned line_best_k(const struct terms *terms)
{
	struct terms nominal = nominal_terms(terms);

	for (unsigned k = LINE_K_MAX; k > 0; k--)
		if (ten_years_fit(&nominal, k, 64, 0) && line_beside_fits(terms, k, 64) &&
		    line_units(terms->burst_micro, k) < 1ull << 60)
			return k;
	return 0;
}

bool line_k_fits(const struct terms *terms, unsigned k, uint64_t v)
{
	struct terms nominal = nominal_terms(terms);

	/* a unit more than 2^COARSER too large would leave the slope too few bits */
	return ten_years_fit(&nominal, k, 1, v) && line_beside_fits(terms, k, 1) &&
	       line_units(terms->burst_micro, k) < 1ull << 60 &&
	       line_best_k(terms) <= k + COARSER_MAX;
}

bool line_rate_fits(const struct terms *terms, unsigned k, uint64_t v)
{
	return terms->rate_micro == TERMS_UNLIMITED ||
	       (ten_years_fit(terms, k, 1, v) && line_units(terms->burst_micro, k) < 1ull << 60);
}

unsigned line_best_unit(const struct terms *terms)
{
	return terms->window.kind == WINDOW_FIRST ? window_best_unit(terms) : line_best_k(terms);
}

unsigned line_each_unit(const struct terms *terms)
{
	unsigned best = line_best_unit(terms);

	if (terms->window.kind == WINDOW_FIRST)
		return best;
	return best > COARSER_EACH ? best - COARSER_EACH : 0;
}

bool line_unit_fits(const struct terms *terms, unsigned unit, uint64_t v)
{
	if (terms->window.kind == WINDOW_FIRST)
		return unit >> 8 && window_unit_fits(terms, unit);
	return unit >> 8 == 0 && line_k_fits(terms, unit, v);
}

/* How far ahead of V a mark may go: the burst, and what max_wait mints; with windows max_wait. */
static uint64_t reach_units(const struct terms *terms, const struct line *line, uint64_t hz)
{
	if (terms->max_wait_ns == 0)
		return LINE_FAR;

	line_wide ticks = (line_wide)terms->max_wait_ns * hz / NS_PER_S;
	line_wide minted = (line_wide)(uint64_t)ticks * line->slope >> LINE_SLOPE_BITS;
	line_wide reach = line->flags & LINE_WINDOW ? ticks : minted + line->burst_units;

	return reach > LINE_FAR ? LINE_FAR : (uint64_t)reach;
}

struct terms terms_in_force(const struct terms *terms)
{
	const struct learned_terms *learned = &terms->learned;
	struct terms force = *terms;
	bool bounded = terms->rate_micro != TERMS_UNLIMITED;

	force.learned = (struct learned_terms){0};
	if (learned->period_ns == 0)
		return force;
	if (!bounded || (line_wide)learned->rate_micro * terms->period_ns <
				(line_wide)terms->rate_micro * learned->period_ns) {
		force.rate_micro = learned->rate_micro;
		force.period_ns = learned->period_ns;
	}
	if (!bounded || learned->burst_micro < terms->burst_micro)
		force.burst_micro = learned->burst_micro;
	if (force.initial_micro > force.burst_micro)
		force.initial_micro = force.burst_micro;
	return force;
}

static int line_from_force(struct line *out, const struct terms *terms, unsigned unit, uint64_t hz)
{
	unsigned k = unit & 63;
	struct line line = {
		.k = k,
		.burst_units = line_units(terms->burst_micro, k),
		.initial_units = line_units(terms->initial_micro, k),
	};

	if (terms->rate_micro == TERMS_UNLIMITED)
		line.flags = LINE_UNLIMITED;
	else if (terms->rate_micro == 0)
		line.flags = LINE_NEVER;
	else if (terms->window.kind == WINDOW_NONE &&
		 (terms->period_ns == 0 || hz == 0 ||
		  /* units per tick: rate * 2^k / 10^6 / (period * hz / 10^9) */
		  !slope_from_ratio((line_wide)terms->rate_micro * 1000,
				    (line_wide)terms->period_ns * hz, k, &line.slope)))
		return WEIR_EVALUE;
	if (terms->window.kind != WINDOW_NONE && window_from_terms(&line, terms, unit, hz) < 0)
		return WEIR_EVALUE;
	if (line.burst_units >= 1ull << 60 || line.initial_units > line.burst_units ||
	    shadow_from_terms(&line, &terms->beside, hz) < 0)
		return WEIR_EVALUE;
	if (terms->shadow)
		line.flags |= LINE_SHADOW;
	line.reach_units = reach_units(terms, &line, hz);
	*out = line;
	return 0;
}

int line_from_terms(struct line *out, const struct terms *terms, unsigned unit, uint64_t hz)
{
	struct terms force;

	if (terms->learned.period_ns == 0)
		return line_from_force(out, terms, unit, hz);
	force = terms_in_force(terms);
	return line_from_force(out, &force, unit, hz);
}

uint64_t line_ticks_until(const struct line *line, uint64_t now, uint64_t value)
{
	int64_t gap = (int64_t)(value - line_value(line, now));

	if (gap <= 0)
		return 0;
	if (line->flags & LINE_ALIGNED)
		return window_ticks(line, now, 0,
				    line->step_units ? ((uint64_t)gap - 1) / line->step_units + 1
						     : WINDOW_NEVER);
	if (line->flags & LINE_FIRST)
		return (uint64_t)gap;
	if (line->slope == 0)
		return UINT64_MAX;

	/* the smallest e with 16 e * slope >= need, from the line's origin on */
	line_wide need = ((line_wide)(value - line->origin_units) << 64) - line->origin_fraction;
	line_wide sixteenths = (need + line->slope - 1) / line->slope;
	line_wide elapsed = (sixteenths + 15) >> 4;
	line_wide at = elapsed + line->origin_ticks;

	if (elapsed > LINE_ELAPSED_MAX || at >> 64)
		return UINT64_MAX;
	return (uint64_t)at - now;
}

uint64_t line_wait_ticks(const struct line *line, uint64_t now, uint64_t ahead)
{
	return line_ticks_until(line, now, line_value(line, now) + ahead);
}

uint64_t line_ticks_to_ns(const struct line *clock, uint64_t ticks)
{
	const line_wide up = ((line_wide)1 << LINE_SLOPE_BITS) - 1;
	line_wide ns = ((line_wide)ticks * clock->slope + up) >> LINE_SLOPE_BITS;

	return ticks == UINT64_MAX || ns >> 64 ? UINT64_MAX : (uint64_t)ns;
}

uint64_t line_ns_to_ticks(const struct line *clock, uint64_t ns)
{
	if (ns == UINT64_MAX || clock->slope == 0)
		return UINT64_MAX;

	line_wide ticks = (((line_wide)ns << LINE_SLOPE_BITS) + clock->slope - 1) / clock->slope;

	return ticks >> 64 ? UINT64_MAX : (uint64_t)ticks;
}

uint64_t line_read_wall(const struct rule_row *row)
{
	uint64_t generation;
	uint64_t wall;

	do { /* as line_read() does, and pairs with the same stores */
		generation = atomic_load_explicit(&row->generation, memory_order_acquire);
		wall = atomic_load_explicit(&row->copies[generation & 1].terms.window_wall_ns,
					    memory_order_acquire);
	} while (atomic_load_explicit(&row->generation, memory_order_relaxed) != generation);
	return wall;
}

/* Each word pairs with its release store in follow_fill(). */
void line_read_adapt(const struct line_adapt *from, struct adapt_terms *out)
{
#define ADAPT_LOAD(word) atomic_load_explicit(&from->word, memory_order_acquire)
	out->mode = ADAPT_LOAD(mode);
	out->min_rate_micro = ADAPT_LOAD(min_rate_micro);
	out->min_period_ns = ADAPT_LOAD(min_period_ns);
	out->safety_micro = ADAPT_LOAD(safety_micro);
	out->max_close_ns = ADAPT_LOAD(max_close_ns);
	/* up to the NUL: what is behind it is of an earlier text */
	memset(out->text, 0, sizeof(out->text));
	for (size_t i = 0; i < sizeof(out->text) - 1; i++) {
		out->text[i] = (char)ADAPT_LOAD(text[i]);
		if (out->text[i] == '\0')
			break;
	}
#undef ADAPT_LOAD
}

void line_read_learned(const struct line_learned *from, struct learned_terms *out)
{
#define LEARNED_LOAD(word) atomic_load_explicit(&from->word, memory_order_acquire)
	*out = (struct learned_terms){
		.rate_micro = LEARNED_LOAD(rate_micro),
		.period_ns = LEARNED_LOAD(period_ns),
		.burst_micro = LEARNED_LOAD(burst_micro),
		.until_ns = LEARNED_LOAD(until_ns),
		.from_ns = LEARNED_LOAD(from_ns),
		.limit_micro = LEARNED_LOAD(limit_micro),
		.remaining_micro = LEARNED_LOAD(remaining_micro),
		.cause = LEARNED_LOAD(cause),
	};
#undef LEARNED_LOAD
}

void line_read_terms(const struct rule_row *row, struct terms *terms, struct terms_author *author,
		     uint64_t *changed_ns)
{
	uint64_t generation;

	do { /* as line_read() does, and pairs with the same stores */
		generation = atomic_load_explicit(&row->generation, memory_order_acquire);
		const struct line_copy *from = &row->copies[generation & 1];

#define TERMS_LOAD(word) atomic_load_explicit(&from->word, memory_order_acquire)
/* of no copy: single words, each as it was stored last by permit_terms_store() */
#define TERMS_ROW(word) atomic_load_explicit(&row->word, memory_order_acquire)
		uint64_t bounds = TERMS_ROW(permit_bounds);

		*terms = (struct terms){
			.rate_micro = TERMS_LOAD(terms.rate_micro),
			.period_ns = TERMS_LOAD(terms.period_ns),
			.burst_micro = TERMS_LOAD(terms.burst_micro),
			.initial_micro = TERMS_LOAD(terms.initial_micro),
			.max_wait_ns = TERMS_LOAD(terms.max_wait_ns),
			.shadow = (TERMS_LOAD(words.shape) >> 16 & LINE_SHADOW) != 0,
			.beside = {TERMS_LOAD(shadow.rate_micro), TERMS_LOAD(shadow.period_ns),
				   TERMS_LOAD(shadow.burst_micro)},
			.window = window_load(from),
			.concurrency = TERMS_ROW(permit_limit) & PERMIT_LIMIT,
			.concurrency_min = (uint32_t)bounds,
			.concurrency_max = (uint32_t)(bounds >> 32),
			.max_hold_ns = TERMS_ROW(permit_hold_ns),
		};
		for (unsigned i = 0; i < LAYOUT_CLASSES; i++)
			terms->classes[i] = (struct class_leave){TERMS_LOAD(classes[i].name),
								 TERMS_LOAD(classes[i].leave)};
		*author = (struct terms_author){
			.origin = TERMS_LOAD(words.shape) >> 48 & 1 ? ORIGIN_OPERATOR : ORIGIN_FILE,
			.uid = TERMS_LOAD(terms.changed) & UINT32_MAX,
		};
		*changed_ns = (TERMS_LOAD(terms.changed) >> 32) * NS_PER_S;
#undef TERMS_LOAD
#undef TERMS_ROW
	} while (atomic_load_explicit(&row->generation, memory_order_relaxed) != generation);
}

/* Every store pairs with the acquire load of the same word in a reader. */
static void follow_fill(struct line_follow *follow, const struct terms *terms)
{
	const struct learned_terms *learned = &terms->learned;
	const struct adapt_terms *adapt = &terms->adapt;
	size_t length = strnlen(adapt->text, sizeof(adapt->text) - 1);

#define ADAPT_STORE(to, value) atomic_store_explicit(&follow->to, value, memory_order_release)
	ADAPT_STORE(learned.rate_micro, learned->rate_micro);
	ADAPT_STORE(learned.period_ns, learned->period_ns);
	ADAPT_STORE(learned.burst_micro, learned->burst_micro);
	ADAPT_STORE(learned.until_ns, learned->until_ns);
	ADAPT_STORE(learned.from_ns, learned->from_ns);
	ADAPT_STORE(learned.limit_micro, learned->limit_micro);
	ADAPT_STORE(learned.remaining_micro, learned->remaining_micro);
	ADAPT_STORE(learned.cause, learned->cause);
	ADAPT_STORE(adapt.mode, adapt->mode);
	ADAPT_STORE(adapt.min_rate_micro, adapt->min_rate_micro);
	ADAPT_STORE(adapt.min_period_ns, adapt->min_period_ns);
	ADAPT_STORE(adapt.safety_micro, adapt->safety_micro);
	ADAPT_STORE(adapt.max_close_ns, adapt->max_close_ns);
	for (size_t i = 0; i <= length; i++)
		ADAPT_STORE(adapt.text[i], i < length ? (unsigned char)adapt->text[i] : 0);
#undef ADAPT_STORE
}

/* Fills one copy; every store pairs with the acquire load of the same word in a reader. */
static void copy_fill(struct rule_row *row, unsigned index, const struct line *line,
		      const struct terms *terms, const struct terms_author *author)
{
	struct line_copy *copy = &row->copies[index];

#define COPY_STORE(to, value) atomic_store_explicit(&copy->to, value, memory_order_release)
	COPY_STORE(words.origin_ticks, line->origin_ticks);
	COPY_STORE(words.origin_units, line->origin_units);
	COPY_STORE(words.origin_fraction, line->origin_fraction);
	COPY_STORE(words.slope, line->slope);
	COPY_STORE(words.shape, line_unit(line) | (uint64_t)line->flags << 16 |
					(uint64_t)(uint16_t)terms->window.minutes << 32 |
					(uint64_t)author->origin << 48 |
					(uint64_t)line->follow << 49);
	COPY_STORE(words.burst_units, line->burst_units);
	COPY_STORE(words.reach_units, line->reach_units);
	COPY_STORE(words.initial_units, line->initial_units);
	FAULT_POINT(publish_filling);
	COPY_STORE(terms.rate_micro, terms->rate_micro);
	COPY_STORE(terms.period_ns, terms->period_ns);
	COPY_STORE(terms.burst_micro, terms->burst_micro);
	COPY_STORE(terms.initial_micro, terms->initial_micro);
	COPY_STORE(terms.max_wait_ns, terms->max_wait_ns);
	COPY_STORE(terms.changed, time_source_kernel_ns(CLOCK_REALTIME) / NS_PER_S << 32 |
					  (author->uid & UINT32_MAX));
	COPY_STORE(terms.window_ns, terms->window.length_ns);
	COPY_STORE(terms.window_wall_ns, line->origin_wall_ns);
	COPY_STORE(shadow.origin_ticks, line->shadow.origin_ticks);
	COPY_STORE(shadow.origin_units, line->shadow.origin_units);
	COPY_STORE(shadow.origin_fraction, line->shadow.origin_fraction);
	COPY_STORE(shadow.slope, line->shadow.slope);
	COPY_STORE(shadow.burst_units, line->shadow.burst_units);
	COPY_STORE(shadow.rate_micro, terms->beside.rate_micro);
	COPY_STORE(shadow.period_ns, terms->beside.period_ns);
	COPY_STORE(shadow.burst_micro, terms->beside.burst_micro);
	for (unsigned i = 0; i < LAYOUT_CLASSES; i++) {
		COPY_STORE(classes[i].name, terms->classes[i].name);
		COPY_STORE(classes[i].leave, terms->classes[i].leave);
	}
#undef COPY_STORE
	if (line->follow_row)
		follow_fill(&line->follow_row->sides[index], terms);
}

static void generation_advance(struct rule_row *row, uint64_t generation)
{
	FAULT_POINT(publish_filled);
	/* release: pairs with the acquire load in line_read() */
	atomic_store_explicit(&row->generation, generation + 1, memory_order_release);
	FAULT_POINT(publish_stored);
}

/*
 * Sets the line's origin so that it passes through `value` (in 2^-64 unit) at `ticks`. With
 * LINE_ALIGNED the origin is where a window begins: the last one before `ticks`, unless even the
 * one that was given begins later.
 */
static void line_set_origin(struct line *line, const struct terms *terms, uint64_t ticks,
			    line_wide value)
{
	line->origin_units = (uint64_t)(value >> 64);
	if (line->flags & LINE_ALIGNED) {
		uint64_t since = line_elapsed(line, ticks) >> 4;
		uint64_t begun = line->step_ticks ? since / line->step_ticks : 0;

		line->origin_ticks += begun * line->step_ticks;
		line->origin_wall_ns += begun * terms->window.length_ns;
		return;
	}
	line->origin_ticks = ticks;
	if (!(line->flags & LINE_WINDOW))
		line->origin_fraction = (uint64_t)value;
}

/* V where the next line begins: the old one's, or what the next one says by itself, if later. */
static line_wide publish_value(const struct line *old, const struct line *next, uint64_t origin)
{
	line_wide value = line_value_wide(old, origin);
	line_wide own = next->flags & LINE_ALIGNED ? line_value_wide(next, origin) : 0;

	return own > value ? own : value;
}

/* The shadow limit's line goes on in the same way; V is never 0 where there is one. */
static void line_set_shadow_origin(struct line *line, uint64_t ticks, line_wide value)
{
	line->shadow.origin_ticks = ticks;
	value += (line_wide)line->shadow.lift_units << 64;
	if (line->flags & LINE_BESIDE && value >> 64 == 0)
		value = (line_wide)1 << 64;
	line->shadow.origin_units = (uint64_t)(value >> 64);
	line->shadow.origin_fraction = (uint64_t)value;
}

/* Sets the origins of a line so that it goes on where the old one is at that tick, or lifted. */
static void line_go_on(struct line *line, const struct line *old, const struct terms *terms,
		       uint64_t origin, line_wide lift)
{
	/* line_read() leaves it alone where there is none */
	if (!(line->flags & LINE_BESIDE))
		line->shadow = (struct shadow_line){0};
	line_set_origin(line, terms, origin, publish_value(old, line, origin) + lift);
	line_set_shadow_origin(line, origin, shadow_value_wide(&old->shadow, origin));
}

/* The margin by which an origin lies ahead of its publication: about a microsecond. */
static uint64_t publish_margin(const struct time_source *time)
{
	return time->kind == CLOCK_KIND_MANUAL ? 0 : 2500;
}

uint64_t line_publish(struct rule_row *row, const struct time_source *time, const struct line *next,
		      const struct terms *terms, const struct terms_author *author,
		      uint64_t lift_units)
{
	struct line old;
	struct line line;
	line_wide lift = (line_wide)lift_units << 64;
	uint64_t stored;
	int attempts = 0;

	line_read(row, time, &old);
	/* relaxed, here and below: this thread is the only one that stores it */
	line_read_shadow(
		&row->copies[atomic_load_explicit(&row->generation, memory_order_relaxed) & 1]
			 .shadow,
		&old.shadow);
	do {
		uint64_t generation = atomic_load_explicit(&row->generation, memory_order_relaxed);
		uint64_t origin;

		do { /* again, if held up in it: nobody has seen it yet */
			origin = time_source_ticks(time) + publish_margin(time);
			line = *next;
			line_go_on(&line, &old, terms, origin, lift);
			copy_fill(row, (generation + 1) & 1, &line, terms, author);
		} while (time_source_ticks(time) > origin && ++attempts < 100);
		generation_advance(row, generation);
		/* held up beyond the margin: readers may have seen the old line go further */
		stored = time_source_ticks(time);
	} while (line_value_wide(&line, stored) < line_value_wide(&old, stored) + lift &&
		 ++attempts < 100);
	syscall(SYS_futex, &row->generation, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
	time_source_nudge(time);
	return line.origin_units;
}

void line_begin(struct rule_row *row, const struct time_source *time, const struct line *first,
		const struct terms *terms, const struct terms_author *author)
{
	struct line line = *first;
	uint64_t birth = line.flags & LINE_FIRST ? LINE_BIRTH_FIRST : LINE_BIRTH;
	uint64_t origin = time_source_ticks(time);

	line_set_origin(&line, terms, origin, (line_wide)birth << 64);
	line_set_shadow_origin(&line, origin, 0);
	copy_fill(row, 1, &line, terms, author);
	generation_advance(row, 0);
}
