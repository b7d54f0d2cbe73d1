/* SPDX-License-Identifier: Apache-2.0 */
#include "shadow.h"

#include "weir.h"

/* A mark that is behind V says nothing; one that is too far ahead is a remnant of another line. */
static uint64_t base_of(uint64_t mark, uint64_t v)
{
	uint64_t ahead = mark - v;

	return mark == 0 || ahead > LINE_FAR ? v : mark;
}

/* What the shadow limit mints while the rule's own max_wait lasts. */
static line_wide minted_in_reach(const struct line *line)
{
	/* with windows that is ticks; without, what the rule's own clock mints meanwhile */
	if (line->flags & LINE_WINDOW)
		return (line_wide)line->reach_units * line->shadow.slope >> LINE_SLOPE_BITS;
	return (line_wide)(line->reach_units - line->burst_units) * line->shadow.slope /
	       line->slope;
}

uint64_t shadow_limit(const struct line *line, uint64_t now, uint64_t ahead_ticks)
{
	uint64_t at = now + ahead_ticks;
	uint64_t most = LINE_FAR;

	if (line->reach_units < LINE_FAR && line->slope) {
		line_wide wide = minted_in_reach(line) + line->shadow.burst_units;

		most = wide < LINE_FAR ? (uint64_t)wide : LINE_FAR;
	}
	if (ahead_ticks == UINT64_MAX || at < now || at >> 63)
		return line->shadow.slope ? most : line->shadow.burst_units;

	uint64_t limit = line->shadow.burst_units +
			 (shadow_value(&line->shadow, at) - shadow_value(&line->shadow, now));

	return limit < most ? limit : most;
}

bool shadow_take(struct bucket *bucket, uint64_t v, uint64_t units, uint64_t limit)
{
	uint64_t mark = atomic_load_explicit(&bucket->shadow, memory_order_relaxed);
	uint64_t next;

	do {
		next = base_of(mark, v) + units;
		if (next - v > limit)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		&bucket->shadow, &mark, next, memory_order_relaxed, memory_order_relaxed));
	return true;
}

uint64_t shadow_wait(const struct bucket *bucket, const struct shadow_line *shadow, uint64_t now,
		     uint64_t units, uint64_t room)
{
	const struct line own = {
		.origin_ticks = shadow->origin_ticks,
		.origin_units = shadow->origin_units,
		.origin_fraction = shadow->origin_fraction,
		.slope = shadow->slope,
	};
	uint64_t v = shadow_value(shadow, now);
	uint64_t mark = atomic_load_explicit(&bucket->shadow, memory_order_relaxed);

	return line_ticks_until(&own, now, base_of(mark, v) + units - room);
}

void shadow_count(struct bucket *bucket, enum shadow_count calls, uint64_t units)
{
	atomic_fetch_add_explicit(&bucket->shadow_counts[calls], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&bucket->shadow_counts[calls + 1], units, memory_order_relaxed);
}

void shadow_read(const struct bucket *bucket, struct shadow_sum *out)
{
	for (unsigned i = 0; i < LAYOUT_SHADOW_COUNTS; i++)
		out->counts[i] =
			atomic_load_explicit(&bucket->shadow_counts[i], memory_order_relaxed);
}

int64_t shadow_level(const struct bucket *bucket, const struct shadow_line *shadow, uint64_t now)
{
	uint64_t v = shadow_value(shadow, now);
	uint64_t mark = atomic_load_explicit(&bucket->shadow, memory_order_relaxed);

	return (int64_t)(shadow->burst_units - (base_of(mark, v) - v));
}

void shadow_reset(struct bucket *bucket)
{
	atomic_store_explicit(&bucket->shadow, 0, memory_order_relaxed);
}

/* The first helper's value stands; nobody else writes the words of a bucket without a mark. */
static void set_once(_Atomic uint64_t *word, uint64_t value)
{
	uint64_t none = 0;

	atomic_compare_exchange_strong_explicit(word, &none, value, memory_order_relaxed,
						memory_order_relaxed);
}

void shadow_follow(struct bucket *to, const struct bucket *from, const struct shadow_source *source)
{
	uint64_t mark = atomic_load_explicit(&from->shadow, memory_order_relaxed);
	struct shadow_sum sum;

	shadow_read(from, &sum);
	for (unsigned i = 0; i < LAYOUT_SHADOW_COUNTS; i++)
		set_once(&to->shadow_counts[i],
			 i % 2 ? line_rescale(sum.counts[i], source->from_k, source->to_k)
			       : sum.counts[i]);
	/* as move.c translates marks: V is 1 at a row's birth */
	if (source->units && base_of(mark, source->units) == mark)
		set_once(&to->shadow,
			 1 + line_rescale(mark - source->units, source->from_k, source->to_k));
}

int shadow_from_terms(struct line *line, const struct shadow_terms *terms, uint64_t hz)
{
	const struct terms alone = {
		.rate_micro = terms->rate_micro,
		.period_ns = terms->period_ns,
		.burst_micro = terms->burst_micro,
	};
	struct line own;
	int status;

	line->shadow = (struct shadow_line){0};
	if (terms->period_ns == 0)
		return 0;
	status = line_from_terms(&own, &alone, line->k, hz);
	if (status < 0 || own.flags & LINE_UNLIMITED)
		return WEIR_EVALUE;
	line->shadow.slope = own.slope;
	line->shadow.burst_units = own.burst_units;
	line->flags |= LINE_BESIDE;
	return 0;
}

bool shadow_terms_equal(const struct shadow_terms *a, const struct shadow_terms *b)
{
	if (a->period_ns == 0 || b->period_ns == 0)
		return a->period_ns == b->period_ns;
	return a->rate_micro == b->rate_micro && a->period_ns == b->period_ns &&
	       a->burst_micro == b->burst_micro;
}
