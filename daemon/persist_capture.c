/* SPDX-License-Identifier: Apache-2.0 */
#include "persist.h"

#include "bucket.h"
#include "gate.h"
#include "key_tables.h"
#include "names.h"
#include "permit_found.h"
#include "window.h"

void persist_moment(struct persist_moment *out, const struct segment *segment, const char *instance)
{
	*out = (struct persist_moment){.ticks = segment_now(segment)};
	snprintf(out->stamp.instance, sizeof(out->stamp.instance), "%s", instance);
	out->stamp.saved_ns = time_source_kernel_ns(CLOCK_REALTIME);
	out->stamp.boottime_ns = time_source_kernel_ns(CLOCK_BOOTTIME);
	/* relaxed: fixed before the pair was ready */
	for (int i = 0; i < 2; i++)
		out->stamp.boot[i] =
			atomic_load_explicit(&segment->rules->boot[i], memory_order_relaxed);
}

/* ---- from a segment ---- */

/* relaxed, all of these: this process alone writes rows */
static uint32_t rows_used(const struct segment *segment)
{
	uint32_t used = atomic_load_explicit(&segment->rules->rows_used, memory_order_relaxed);

	return used < segment->row_count ? used : segment->row_count;
}

static bool row_is_live(const struct segment *segment, uint32_t row)
{
	return atomic_load_explicit(&segment->rows[row].state, memory_order_relaxed) == ROW_LIVE;
}

/* Units -> millionths of a token, rounded up. */
static line_wide units_to_micro(uint64_t units, unsigned k)
{
	line_wide micro = (line_wide)(units < LINE_FAR ? units : LINE_FAR) * TERMS_MICRO;

	return (micro + ((line_wide)1 << k) - 1) >> k;
}

static uint64_t ahead(uint64_t mark, uint64_t v)
{
	return (int64_t)(mark - v) > 0 ? mark - v : 0;
}

/*
 * What is used of a bucket at a moment, in units; an opening that nobody met yet has emptied it,
 * but with windows.
 */
static uint64_t used_units(const struct line *line, uint64_t gate, uint64_t mark, uint64_t ticks)
{
	uint64_t used = mark == BUCKET_UNSET ? line->burst_units - line->initial_units
					     : line_stand(line, ticks, mark).ahead;
	uint64_t drained = 0;

	if (!gate_is_settled(gate) && !gate_is_closed(gate, ticks) && !(line->flags & LINE_WINDOW))
		drained = ahead(line_value(line, gate & GATE_UNTIL) + line->burst_units,
				line_value(line, ticks));
	return used > drained ? used : drained;
}

/* The wall clock when the next window begins, rounded up; 0: it begins with the next use. */
static uint64_t renews_ns(const struct segment *segment, const struct line *line, uint64_t mark,
			  const struct persist_moment *moment)
{
	struct stand stand = line_stand(line, moment->ticks, mark);
	struct line clock;
	uint64_t ns;

	if (!(line->flags & LINE_WINDOW) || (line->flags & LINE_FIRST && !stand.ahead))
		return 0;
	segment_clock(segment, &clock);
	ns = line_ticks_to_ns(&clock, window_ticks(line, moment->ticks, stand.v, 1));
	return ns < INT64_MAX - moment->stamp.saved_ns ? moment->stamp.saved_ns + ns : 0;
}

static uint64_t closed_ns(const struct segment *segment, uint64_t gate, uint64_t ticks)
{
	struct line clock;

	if (!gate_is_closed(gate, ticks))
		return 0;
	if ((gate & GATE_UNTIL) == GATE_UNTIL)
		return STATE_FOREVER;
	segment_clock(segment, &clock);
	return line_ticks_to_ns(&clock, (gate & GATE_UNTIL) - ticks);
}

/* The terms and the level of a bucket. false: nobody has used it, there is nothing to say. */
static bool look(const struct segment *segment, uint32_t row, uint32_t bucket,
		 const struct persist_moment *moment, struct state_record *out)
{
	uint64_t ticks = moment->ticks;
	/* in this order: who settles a gate has raised the mark before */
	uint64_t gate = gate_load(&segment->buckets[bucket]);
	uint64_t mark = bucket_look(&segment->buckets[bucket]);
	struct terms_author author;
	uint64_t changed_ns;
	struct terms terms;
	struct line line;

	if (mark == BUCKET_UNSET && gate_is_settled(gate))
		return false;
	line_read(&segment->rows[row], &segment->time, &line);
	segment_terms(segment, row, &terms, &author, &changed_ns);
	out->terms = terms_in_force(&terms);
	out->used_micro = units_to_micro(used_units(&line, gate, mark, ticks), line.k);
	out->closed_ns = closed_ns(segment, gate, ticks);
	out->renews_ns = renews_ns(segment, &line, mark, moment);
	return true;
}

/* A bucket that would begin as it is needs no record. */
/* A time of the segment's clock by the wall clock; 0 and the end of time stay what they are. */
static uint64_t by_wall(const struct persist_moment *moment, uint64_t now_ns, uint64_t at_ns)
{
	uint64_t saved = moment->stamp.saved_ns;

	if (at_ns == 0 || at_ns == UINT64_MAX)
		return at_ns;
	if (at_ns <= now_ns)
		return saved > now_ns - at_ns ? saved - (now_ns - at_ns) : 1;
	return at_ns - now_ns < INT64_MAX - saved ? saved + (at_ns - now_ns) : UINT64_MAX;
}

/*
 * What was learned stands beside the terms that it is held against. Where nothing was, that it is
 * to stay so is all there is to keep.
 */
static void capture_learned(struct state_text *out, const struct segment *segment, uint32_t row,
			    const struct persist_moment *moment)
{
	struct state_record record = {.kind = STATE_LEARNED};
	uint64_t now_ns = segment_now_ns(segment);
	struct terms_author author;
	uint64_t changed_ns;
	struct terms terms;

	segment_terms(segment, row, &terms, &author, &changed_ns);
	if (terms.learned.period_ns == 0 && !(terms.learned.cause & LEARNED_FROZEN))
		return;
	segment_text(segment->rows[row].text, record.text);
	if (terms.learned.period_ns == 0) {
		record.kind = STATE_FROZEN;
		record.terms.rate_micro = terms.rate_micro;
		record.terms.period_ns = terms.period_ns;
		record.terms.burst_micro = terms.burst_micro;
		state_add(out, &record);
		return;
	}
	record.learned = terms.learned;
	record.learned.until_ns = by_wall(moment, now_ns, terms.learned.until_ns);
	record.learned.from_ns = by_wall(moment, now_ns, terms.learned.from_ns);
	record.terms.rate_micro = terms.learned.rate_micro;
	record.terms.period_ns = terms.learned.period_ns;
	record.terms.burst_micro = terms.learned.burst_micro;
	state_add(out, &record);
}

static void capture_found(struct state_text *out, const struct segment *segment, uint32_t row)
{
	struct state_record record = {.kind = STATE_FOUND};
	struct terms_author author;
	struct permit_found found;
	uint64_t changed_ns;

	if (!permit_found_read(&segment->rows[row], &found))
		return;
	segment_terms(segment, row, &record.terms, &author, &changed_ns);
	segment_text(segment->rows[row].text, record.text);
	record.terms.concurrency = found.limit + 1ull;
	state_add(out, &record);
}

static void capture_row(struct state_text *out, const struct segment *segment, uint32_t row,
			const struct persist_moment *moment)
{
	struct state_record record = {.kind = STATE_OPERATOR};
	struct terms_author author;
	uint64_t changed_ns;

	segment_text(segment->rows[row].text, record.text);
	segment_terms(segment, row, &record.terms, &author, &changed_ns);
	record.uid = author.uid;
	record.keys = keys_capacity(segment, row);
	record.fold = keys_fold(segment, row);
	if (author.origin == ORIGIN_OPERATOR)
		state_add(out, &record);
	record.kind = STATE_ENDPOINT;
	if (segment_row_kind(segment, row) != ROW_DEFAULT &&
	    look(segment, row, row, moment, &record))
		state_add(out, &record);
	capture_learned(out, segment, row, moment);
	capture_found(out, segment, row);
}

/* A bucket of the table of names, or (the last one) that of the names without room. */
static void capture_name(struct state_text *out, const struct segment *segment, uint32_t row,
			 uint32_t slot, const struct persist_moment *moment)
{
	uint32_t bucket = segment->row_count + slot;
	bool rest = slot == segment->name_count;
	struct state_record record = {.kind = rest ? STATE_REST : STATE_NAME};

	/* frozen: the name has a row of its own */
	if (bucket_load(&segment->buckets[bucket]) & BUCKET_FROZEN ||
	    !look(segment, row, bucket, moment, &record))
		return;

	const struct state_level level = {record.used_micro, record.closed_ns, 0};

	if (state_is_idle(&level, &record.terms))
		return;
	/* whole, since somebody uses the bucket: names.c. Others may write there what they like */
	if (!rest)
		segment_text(segment->names[slot].text, record.text);
	if (rest || names_valid(record.text))
		state_add(out, &record);
}

void persist_capture(struct state_text *out, const struct segment *segment,
		     const struct persist_moment *moment)
{
	int64_t fallback = names_default_row(segment);

	state_begin(out, &moment->stamp);
	for (uint32_t row = 0; row < rows_used(segment); row++)
		if (row_is_live(segment, row))
			capture_row(out, segment, row, moment);
	for (uint32_t slot = 0; fallback >= 0 && slot <= segment->name_count; slot++)
		capture_name(out, segment, (uint32_t)fallback, slot, moment);
}

static uint64_t mix(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
	return hash ^ hash >> 29;
}

/* Shadows and classes. */
static uint64_t mix_extras(uint64_t hash, const struct terms *terms)
{
	hash = mix(mix(hash, terms->concurrency), terms->max_hold_ns);
	hash = mix(mix(hash, terms->concurrency_min), terms->concurrency_max);
	hash = mix(hash, terms->shadow);
	hash = mix(hash, terms->beside.rate_micro);
	hash = mix(hash, terms->beside.period_ns);
	hash = mix(hash, terms->beside.burst_micro);
	for (unsigned i = 0; i < LAYOUT_CLASSES; i++)
		hash = mix(mix(hash, terms->classes[i].name), terms->classes[i].leave);
	return hash;
}

/* How the upstream is followed, and what was learned. */
static uint64_t mix_follow(uint64_t hash, const struct terms *terms)
{
	const struct adapt_terms *adapt = &terms->adapt;

	hash = mix(hash, adapt->mode);
	hash = mix(mix(hash, adapt->min_rate_micro), adapt->min_period_ns);
	hash = mix(mix(hash, adapt->safety_micro), adapt->max_close_ns);
	for (const char *at = adapt->text; *at; at++)
		hash = mix(hash, (unsigned char)*at);
	hash = mix(mix(hash, terms->learned.rate_micro), terms->learned.period_ns);
	hash = mix(mix(hash, terms->learned.burst_micro), terms->learned.until_ns);
	return mix(hash, terms->learned.cause);
}

static uint64_t mix_row(uint64_t hash, const struct segment *segment, uint32_t row)
{
	struct terms_author author;
	struct terms terms;
	uint64_t changed_ns;

	segment_terms(segment, row, &terms, &author, &changed_ns);
	hash = mix(hash, row_is_live(segment, row));
	hash = mix(hash, terms.rate_micro);
	hash = mix(hash, terms.period_ns);
	hash = mix(hash, terms.burst_micro);
	hash = mix(hash, terms.initial_micro);
	hash = mix(hash, terms.max_wait_ns);
	hash = mix(hash, terms.window.length_ns);
	hash = mix(hash, (uint64_t)terms.window.kind << 32 | (uint32_t)terms.window.minutes);
	hash = mix_extras(hash, &terms);
	hash = mix_follow(hash, &terms);
	return mix(hash, author.origin);
}

uint64_t persist_fingerprint(const struct segment *segment)
{
	uint64_t hash = segment->pair;

	for (uint32_t row = 0; row < rows_used(segment); row++)
		hash = mix_row(hash, segment, row);
	for (uint32_t i = 0; i < segment->bucket_count; i++) {
		uint64_t gate = gate_load(&segment->buckets[i]);
		uint64_t mark = bucket_load(&segment->buckets[i]);

		if (gate || mark)
			hash = mix(mix(mix(hash, i), mark), gate);
	}
	return hash;
}
