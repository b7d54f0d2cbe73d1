/* SPDX-License-Identifier: Apache-2.0
 *
 * rules_learn.c - what is learned of an upstream comes into force, and goes.
 */
#include "rules.h"

#include "bucket.h"
#include "fault.h"
#include "rules_keep.h"
#include "rules_row.h"
#include "weir.h"

/*
 * A burst that shrinks takes V along, and one that grows the mark: so the level stays, and with
 * the first so does the turn of everybody in line. Killed in between: the bucket has so much less.
 */
static uint64_t keep_level(struct segment *segment, uint32_t row, const struct line *before,
			   const struct line *line)
{
	struct bucket *first;
	uint32_t count = keep_buckets(segment, row, &first);

	if (line->burst_units <= before->burst_units)
		return before->burst_units - line->burst_units;
	for (uint32_t i = 0; i < count; i++)
		bucket_charge(&first[i], before, segment_now(segment),
			      line->burst_units - before->burst_units);
	return 0;
}

int rules_learn(struct segment *segment, uint32_t row, const struct learned_terms *learned)
{
	struct wall_time wall = align_now(&segment->time);
	struct terms_author author;
	struct terms terms, force;
	struct line before, line;
	uint64_t now, lift;
	int status;

	rules_row_read(segment, row, &before, &terms, &author);
	now = segment_now(segment);
	terms.learned = *learned;
	force = terms_in_force(&terms);
	if (!line_rate_fits(&force, before.k, line_value(&before, now)))
		return WEIR_EVALUE;
	status = rules_line_next(segment, row, &terms, segment_hz(segment), &wall, &line);
	if (status < 0)
		return status;
	lift = line.flags & (LINE_WINDOW | LINE_UNLIMITED) || before.flags & LINE_UNLIMITED
		       ? 0
		       : keep_level(segment, row, &before, &line);
	FAULT_POINT(learn_kept);
	line_publish(rules_row(segment, row), &segment->time, &line, &terms, &author, lift);
	return 0;
}

void learned_drop(struct segment *segment, uint32_t row, uint64_t cause)
{
	const struct learned_terms nothing = {.cause = cause};
	struct terms_author author;
	struct terms terms;
	struct line line;

	rules_row_read(segment, row, &line, &terms, &author);
	if (terms.learned.period_ns)
		rules_learn(segment, row, &nothing);
}

struct terms learned_with(const struct segment *segment, uint32_t row, const struct terms *terms)
{
	struct terms whole = *terms;
	struct terms_author author;
	struct terms before;
	struct line line;

	rules_row_read(segment, row, &line, &before, &author);
	whole.learned = before.learned;
	if (whole.concurrency_max && before.concurrency_max)
		whole.concurrency = before.concurrency;
	if (whole.adapt.mode == ADAPT_OFF)
		whole.learned = (struct learned_terms){
			.cause = whole.concurrency_max ? before.learned.cause & LEARNED_FROZEN : 0};
	if (before.learned.cause & LEARNED_FROZEN &&
	    (before.rate_micro != terms->rate_micro || before.period_ns != terms->period_ns))
		whole.learned =
			(struct learned_terms){.cause = whole.learned.cause & LEARNED_FROZEN};
	return whole;
}
