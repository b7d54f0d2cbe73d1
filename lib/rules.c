/* SPDX-License-Identifier: Apache-2.0
 *
 * rules.c - rules are added and changed: where a new row's mark comes from, and which changes need
 * a new row.
 */
#include "rules.h"

#include "carry.h"
#include "fault.h"
#include "key_tables.h"
#include "move.h"
#include "names.h"
#include "permit_chain.h"
#include "rules_keep.h"
#include "rules_row.h"
#include "weir.h"

/* V of a row now, and its unit: where the mark of one of its buckets is taken from. */
static struct rules_source source_of(const struct segment *segment, uint32_t row, uint32_t bucket)
{
	struct line line;
	uint64_t now = line_read(&segment->rows[row], &segment->time, &line);

	return rules_source_of(&line, now, bucket + 1);
}

/* What a name under a pattern has spoken for: in the bucket of all, or in its key's own. */
static uint64_t mark_under_pattern(const struct segment *segment, uint32_t row, const char *name)
{
	struct resolution found;
	struct key_seen seen;
	struct keyed table;

	keys_of_row(segment, row, &table);
	if (!table.bins)
		return bucket_look(&segment->buckets[row]);
	if (names_resolve(segment, name, false, &found) < 0 || found.row != row || !found.key)
		return BUCKET_UNSET;
	keyed_find(&table, found.key, &seen);
	return seen.slot ? seen.mark : BUCKET_UNSET;
}

/*
 * A pattern's bucket goes on with its other names: what it has spoken for is the first mark of the
 * one that leaves it, as long as somebody has used it at all.
 */
static struct rules_source source_of_shared(const struct segment *segment, uint32_t row,
					    const struct rule *rule)
{
	struct rules_source source = source_of(segment, row, row);
	uint64_t mark = mark_under_pattern(segment, row, rule->text);
	struct line line;

	if (mark == BUCKET_UNSET ||
	    line_from_terms(&line, &rule->terms, line_best_unit(&rule->terms),
			    segment_hz(segment)) < 0)
		return (struct rules_source){0};

	const struct origin origin = {
		.unit = source.unit,
		.keep = rule->keep,
		.units = source.units,
		.burst_units = source.burst_units,
		.step_ticks = source.step_ticks,
	};

	source.given = true;
	source.units = carry_mark(&origin, &line, mark);
	return source;
}

/* The bucket that an exact rule's name has been using, if it has: under [default], or shared. */
static struct rules_source source_of_name(const struct segment *segment, const struct rule *rule)
{
	int64_t fallback = names_default_row(segment);
	int64_t row = rule->kind == ROW_EXACT ? names_find_row(segment, rule->text) : -1;
	int64_t slot = names_find_slot(segment, rule->text);

	bool is_shared = row >= 0 && names_kind_is_pattern(rules_kind(segment, (uint32_t)row));
	uint32_t bucket = is_shared ? (uint32_t)row : segment->row_count + (uint32_t)slot;

	if (row < 0 || (!is_shared && (row != fallback || slot < 0)))
		return (struct rules_source){0};
	/* a level that is to be kept is the one after the opening */
	if (rule->keep != RULES_KEEP_USED)
		keep_meet_opening(segment, (uint32_t)row, &segment->buckets[bucket]);
	return is_shared ? source_of_shared(segment, (uint32_t)row, rule)
			 : source_of(segment, (uint32_t)row, bucket);
}

int64_t rules_add(struct segment *segment, const struct rule *rule)
{
	struct rules_source source = source_of_name(segment, rule);
	int64_t row = rules_append(segment, rule, &source);

	if (row < 0)
		return row;
	rules_table_changed(segment);
	if (source.bucket_plus_1) {
		bool is_shared = source.bucket_plus_1 <= segment->row_count;
		int64_t left = is_shared ? source.bucket_plus_1 - 1 : names_default_row(segment);

		move_install(segment, NULL, (uint32_t)row, (uint32_t)row);
		if (left >= 0)
			rules_wake(segment, (uint32_t)left);
	}
	return row;
}

static int64_t change_in_place(struct segment *segment, uint32_t row, const struct line *before,
			       const struct terms *terms, const struct terms_author *author,
			       enum rules_keep keep)
{
	struct wall_time wall = align_now(&segment->time);
	struct line line;
	int status = rules_line_next(segment, row, terms, segment_hz(segment), &wall, &line);

	if (status == 0)
		status = permit_terms_store(segment, row, terms);
	if (status < 0)
		return status;
	keep_begin(segment, row, keep);

	const struct keep_context context = {
		.segment = segment,
		.row = row,
		.keep = keep,
		.burst_before = before->burst_units,
		.burst_after = line.burst_units,
	};
	keep_begin_shadow(segment, row, before, terms);
	FAULT_POINT(shadow_begun);
	/* in the order in which nobody sees more tokens than before and after */
	bool grows = line.burst_units > before->burst_units && keep != RULES_KEEP_RESET;

	if (grows)
		keep_apply(&context);
	line_publish(rules_row(segment, row), &segment->time, &line, terms, author, 0);
	if (!grows && keep != RULES_KEEP_USED) {
		keep_apply(&context);
		rules_wake(segment, row);
	}
	return row;
}

/* Another unit: a new row continues the old one's bucket, and says what is kept on the way. */
static int64_t change_by_moving(struct segment *segment, uint32_t row, const struct terms *terms,
				const struct terms_author *author, enum rules_keep keep)
{
	char text[LAYOUT_TEXT_BYTES];
	struct rule rule = {
		.kind = rules_kind(segment, row),
		.text = text,
		.order = atomic_load_explicit(&segment->rows[row].order, memory_order_relaxed),
		.terms = *terms,
		.author = *author,
		.keep = keep,
	};
	struct rules_source source = source_of(segment, row, row);

	if (rule.kind == ROW_DEFAULT || rule.kind == ROW_EACH)
		return WEIR_EROWS;
	segment_text(segment->rows[row].text, text);

	int64_t moved = rules_append(segment, &rule, &source);

	if (moved < 0)
		return moved;
	keep_begin(segment, row, keep);
	rules_remove(segment, row);
	move_install(segment, NULL, (uint32_t)moved, (uint32_t)moved);
	return moved;
}

int64_t rules_change(struct segment *segment, uint32_t row, const struct terms *terms,
		     const struct terms_author *author, enum rules_keep keep)
{
	struct terms whole = learned_with(segment, row, terms);
	struct line before;

	/* the burst comes back without what it could hold */
	if (whole.learned.period_ns == 0)
		learned_drop(segment, row, whole.learned.cause);

	uint64_t now = line_read(&segment->rows[row], &segment->time, &before);

	if (rules_kind(segment, row) == ROW_DEFAULT && terms->concurrency)
		return WEIR_EVALUE;
	if (line_unit_fits(&whole, line_unit(&before), line_value(&before, now)))
		return change_in_place(segment, row, &before, &whole, author, keep);
	return change_by_moving(segment, row, &whole, author, keep);
}
