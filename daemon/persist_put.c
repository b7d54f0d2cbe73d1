/* SPDX-License-Identifier: Apache-2.0 */
#include "persist.h"

#include <unistd.h>

#include "bucket.h"
#include "gate.h"
#include "names.h"
#include "permit_chain.h"
#include "window.h"

/* Millionths of a token -> units, rounded up. */
static uint64_t micro_to_units(line_wide micro, unsigned k)
{
	line_wide tokens = micro / TERMS_MICRO;
	uint64_t units = line_units((uint64_t)(micro % TERMS_MICRO), k);

	return tokens >= LINE_FAR >> k ? LINE_FAR : ((uint64_t)tokens << k) + units;
}

/* A window from first use began so that it ends when it is said to. */
static uint64_t window_start(const struct segment *segment, const struct line *line, uint64_t now,
			     uint64_t renews_ns)
{
	struct line clock;
	uint64_t left;

	segment_clock(segment, &clock);
	left = line_ns_to_ticks(&clock, renews_ns);
	return line_value(line, now) -
	       (renews_ns && left < line->step_ticks ? line->step_ticks - left : 0);
}

/* Of two records for one bucket the lower level counts. */
static void put_level(const struct segment *segment, uint32_t row, uint32_t at,
		      const struct state_level *level)
{
	struct bucket *bucket = &segment->buckets[at];
	struct line line;
	uint64_t now = line_read(&segment->rows[row], &segment->time, &line);
	struct stand before = line_stand(&line, now, bucket_look(bucket));
	struct stand stand = {before.v, micro_to_units(level->used_micro, line.k)};

	if (line.flags & LINE_FIRST)
		stand.v = window_start(segment, &line, now, level->renews_ns);
	if (before.ahead > stand.ahead)
		stand.ahead = before.ahead;
	if (before.ahead && (int64_t)(before.v - stand.v) > 0)
		stand.v = before.v;

	uint64_t mark = line_mark(&line, now, stand);

	bucket_install(bucket, mark);
	bucket_drain(bucket, mark);
	if (level->closed_ns)
		gate_close(bucket, now, segment_tick_in(segment, now, level->closed_ns));
}

/* The row under which a record's bucket is found now; -1: none continues it. */
static int64_t row_of(const struct segment *segment, const struct state_record *record)
{
	int64_t row = record->kind == STATE_ENDPOINT ? names_exact_row(segment, record->text) : -1;

	if (row >= 0)
		return row;
	if (record->kind == STATE_REST)
		return names_default_row(segment);
	if (record->kind == STATE_ENDPOINT && names_is_pattern(record->text))
		return -1;
	row = names_find_row(segment, record->text);
	return row >= 0 && names_kind_is_pattern(segment_row_kind(segment, (uint32_t)row)) ? -1
											   : row;
}

/* The bucket under that row; names that find no room share one. */
static uint32_t bucket_of(const struct segment *segment, const struct state_record *record,
			  uint32_t row)
{
	struct resolution found = {.bucket = segment->row_count + segment->name_count};

	if (segment_row_kind(segment, row) != ROW_DEFAULT)
		return row;
	if (record->kind != STATE_REST)
		names_resolve(segment, record->text, true, &found);
	return found.bucket;
}

static void put(const struct segment *segment, const struct state_record *record,
		const struct state_span *span, struct persist_counts *counts)
{
	int64_t row = row_of(segment, record);
	struct terms_author author;
	struct state_level level;
	struct terms terms;
	uint64_t changed_ns;

	if (row < 0) {
		counts->gone++;
		return;
	}
	segment_terms(segment, (uint32_t)row, &terms, &author, &changed_ns);
	terms = terms_in_force(&terms);
	state_age(&level, record, &terms, span);
	if (state_is_idle(&level, &terms)) {
		counts->idle++;
		return;
	}
	put_level(segment, (uint32_t)row, bucket_of(segment, record, (uint32_t)row), &level);
	counts->buckets++;
}

/* What has not expired meanwhile, of a rule that is still adaptive. */
static void put_learned(struct segment *segment, const struct state_record *record,
			const struct state_span *span)
{
	int64_t row = names_exact_row(segment, record->text);
	uint64_t now_ns = segment_now_ns(segment);
	uint64_t at_ns = span->saved_ns + span->elapsed_ns;
	struct learned_terms learned = record->learned;
	struct terms_author author;
	struct terms terms;
	uint64_t changed_ns;

	if (row < 0 || (learned.until_ns != UINT64_MAX && learned.until_ns <= at_ns))
		return;
	segment_terms(segment, (uint32_t)row, &terms, &author, &changed_ns);
	if (terms.adapt.mode == ADAPT_OFF)
		return;
	learned.rate_micro = record->terms.rate_micro;
	learned.period_ns = record->terms.period_ns;
	learned.burst_micro = record->terms.burst_micro;
	if (learned.until_ns != UINT64_MAX)
		learned.until_ns = now_ns + (learned.until_ns - at_ns);
	/* a response of before this clock began is of no time on it */
	learned.from_ns =
		learned.from_ns && learned.from_ns < at_ns && at_ns - learned.from_ns < now_ns
			? now_ns - (at_ns - learned.from_ns)
			: 0;
	rules_learn(segment, (uint32_t)row, &learned);
}

/* A rule that an operator froze before anything was learned stays as it is configured. */
static void put_frozen(struct segment *segment, const struct state_record *record)
{
	const struct learned_terms nothing = {.until_ns = UINT64_MAX, .cause = LEARNED_FROZEN};
	int64_t row = names_exact_row(segment, record->text);
	struct terms_author author;
	struct terms terms;
	uint64_t changed_ns;

	if (row < 0)
		return;
	segment_terms(segment, (uint32_t)row, &terms, &author, &changed_ns);
	if (terms.adapt.mode != ADAPT_OFF || terms.concurrency_max)
		rules_learn(segment, (uint32_t)row, &nothing);
}

/* Of a rule whose concurrency still is found, brought between its bounds. */
static void put_found(struct segment *segment, const struct state_record *record)
{
	const struct permit_found found = {.limit = (uint32_t)(record->terms.concurrency - 1)};
	int64_t row = names_exact_row(segment, record->text);

	if (row >= 0)
		permit_found_store(segment, (uint32_t)row, &found);
}

void persist_put(struct segment *segment, struct state_reader reader, const struct state_span *span,
		 struct persist_counts *out)
{
	struct state_reader again = reader;
	struct state_record record;

	*out = (struct persist_counts){0};
	/* first: a level is credited by the rate in force */
	while (state_next(&again, &record))
		if (record.kind == STATE_LEARNED)
			put_learned(segment, &record, span);
		else if (record.kind == STATE_FROZEN)
			put_frozen(segment, &record);
		else if (record.kind == STATE_FOUND)
			put_found(segment, &record);
	while (state_next(&reader, &record))
		if (state_is_bucket(record.kind))
			put(segment, &record, span, out);
}
