/* SPDX-License-Identifier: Apache-2.0
 *
 * rules_row.c - one row: its words, its place among those that follow an upstream, its next line.
 */
#include "rules_row.h"

#include <string.h>

#include "fault.h"
#include "key_tables.h"
#include "permit_chain.h"
#include "shadow.h"
#include "weir.h"
#include "window.h"

void rules_table_changed(struct segment *segment)
{
	FAULT_POINT(table_before);
	/* release: pairs with the acquire in names_resolve() and in every call's check */
	atomic_fetch_add_explicit(&segment->publisher->table_generation, 1, memory_order_release);
	FAULT_POINT(table_after);
}

void rules_wake(struct segment *segment, uint32_t row)
{
	struct line line;
	struct terms terms;
	struct terms_author author;

	rules_row_read(segment, row, &line, &terms, &author);
	line_publish(rules_row(segment, row), &segment->time, &line, &terms, &author, 0);
}

void rules_set_order(struct segment *segment, uint32_t row, uint32_t order)
{
	struct rule_row *at = rules_row(segment, row);

	/* relaxed: released by the table's generation */
	if (atomic_exchange_explicit(&at->order, order, memory_order_relaxed) != order)
		rules_table_changed(segment);
}

static void row_write_text(struct rule_row *row, const char *text)
{
	size_t length = strnlen(text, LAYOUT_TEXT_BYTES - 1);

	for (size_t i = 0; i < LAYOUT_TEXT_BYTES; i++)
		atomic_store_explicit(&row->text[i], i < length ? (unsigned char)text[i] : 0,
				      memory_order_relaxed);
}

bool rules_follows(const struct terms *terms)
{
	const struct adapt_terms *adapt = &terms->adapt;

	return adapt->mode || adapt->min_period_ns || adapt->safety_micro || adapt->max_close_ns ||
	       adapt->text[0] || terms->learned.period_ns || terms->learned.cause;
}

static void follow_at(const struct segment *segment, uint32_t follow, struct line *line)
{
	unsigned char *rows = (unsigned char *)(segment->publisher + 1);
	struct follow_row *first =
		(struct follow_row *)(void *)(rows + segment->row_count * sizeof(struct rule_row));

	line->follow = follow;
	line->follow_row = follow ? &first[follow - 1] : NULL;
}

/*
 * Gives a line the place that its row has, or a new one if its terms need it. Killed before the
 * line is published, a new place is lost until there is another pair. WEIR_EROWS: none is left.
 */
static int follow_take(const struct segment *segment, uint32_t present, const struct terms *terms,
		       struct line *line)
{
	/* relaxed: this thread is the only one that writes it, and nobody else reads it */
	uint32_t used =
		atomic_load_explicit(&segment->publisher->follows_used, memory_order_relaxed);

	if (present == 0 && rules_follows(terms)) {
		if (used >= segment->follow_count)
			return WEIR_EROWS;
		present = used + 1;
		atomic_store_explicit(&segment->publisher->follows_used, present,
				      memory_order_relaxed);
	}
	follow_at(segment, present <= segment->follow_count ? present : 0, line);
	return 0;
}

/* That of a row that is there. */
static uint32_t follow_present(const struct segment *segment, uint32_t row)
{
	const struct rule_row *at = &segment->rows[row];

	return line_follow_index(at, atomic_load_explicit(&at->generation, memory_order_relaxed));
}

/* Windows by the calendar begin where the wall clock says; `old` is the same rule's line so far. */
static void line_lay(const struct segment *segment, struct line *line, const struct terms *terms,
		     const struct wall_time *wall, const struct line *old)
{
	struct line clock;

	if (!(line->flags & LINE_ALIGNED))
		return;
	segment_clock(segment, &clock);
	align_line(line, &terms->window, &clock, wall, old);
}

void rules_row_read(const struct segment *segment, uint32_t row, struct line *line,
		    struct terms *terms, struct terms_author *author)
{
	uint64_t changed_ns;

	line_read(&segment->rows[row], &segment->time, line);
	line->origin_wall_ns = line_read_wall(&segment->rows[row]);
	segment_terms(segment, row, terms, author, &changed_ns);
	follow_at(segment, follow_present(segment, row), line);
}

int rules_line_next(const struct segment *segment, uint32_t row, const struct terms *terms,
		    uint64_t hz, const struct wall_time *wall, struct line *out)
{
	struct terms_author author;
	struct terms before;
	struct line old;

	rules_row_read(segment, row, &old, &before, &author);
	int status = line_from_terms(out, terms, line_unit(&old), hz);
	bool goes_on =
		old.flags & LINE_ALIGNED && window_terms_equal(&before.window, &terms->window);

	if (status == 0)
		status = follow_take(segment, follow_present(segment, row), terms, out);
	if (status == 0)
		line_lay(segment, out, terms, wall, goes_on ? &old : NULL);
	return status;
}

static void row_write_source(struct rule_row *row, const struct rules_source *source,
			     enum rules_keep keep)
{
	uint32_t shape = source->unit | (uint32_t)keep << 16 | (source->given ? SOURCE_GIVEN : 0) |
			 (source->elsewhere ? SOURCE_ELSEWHERE : 0);

/* relaxed: as the rest of a row that is not live yet */
#define SOURCE_STORE(word, value) atomic_store_explicit(&row->word, value, memory_order_relaxed)
	SOURCE_STORE(source, source->bucket_plus_1);
	SOURCE_STORE(source_shape, shape);
	SOURCE_STORE(source_units, source->units);
	SOURCE_STORE(source_shadow, source->shadow_units);
	SOURCE_STORE(source_burst, source->burst_units);
	SOURCE_STORE(source_ticks, source->step_ticks);
#undef SOURCE_STORE
}

static unsigned unit_of(const struct rule *rule)
{
	return rule->kind == ROW_EACH ? line_each_unit(&rule->terms) : line_best_unit(&rule->terms);
}

int64_t rules_append(struct segment *segment, const struct rule *rule,
		     const struct rules_source *source)
{
	uint32_t index = rules_used(segment);
	struct wall_time wall = align_now(&segment->time);
	struct line line;
	int status = line_from_terms(&line, &rule->terms, unit_of(rule), segment_hz(segment));
	int64_t table = 0;

	if (status < 0)
		return status;
	/* names under it have no row that could say whose permits are whose */
	if (rule->kind == ROW_DEFAULT && rule->terms.concurrency)
		return WEIR_EVALUE;
	if (index >= segment->row_count)
		return WEIR_EROWS;
	status = follow_take(segment, 0, &rule->terms, &line);
	if (status < 0)
		return status;
	if (rule->kind == ROW_EACH)
		table = keys_give(segment, rule->keys, rule->fold);
	if (table < 0)
		return table;

	struct rule_row *row = rules_row(segment, index);

	line_lay(segment, &line, &rule->terms, &wall, NULL);
	/* relaxed: all of it is released by the row's state below; a dead publisher may have
	 * left some of it here, and nobody has seen it */
	atomic_store_explicit(&row->kind, rule->kind, memory_order_relaxed);
	atomic_store_explicit(&row->order, rule->order, memory_order_relaxed);
	atomic_store_explicit(&row->table, (uint32_t)table, memory_order_relaxed);
	row_write_source(row, source, rule->keep);
	row_write_text(row, rule->text);
	line_begin(row, &segment->time, &line, &rule->terms, &rule->author);
	/* a row that is not live, whatever a dead publisher left in its state */
	atomic_store_explicit(&row->state, ROW_EMPTY, memory_order_relaxed);
	status = permit_terms_store(segment, index, &rule->terms);
	if (status < 0)
		return status;
	FAULT_POINT(append_filled);
	/* release, both: pair with the acquires in names.c */
	atomic_store_explicit(&row->state, ROW_LIVE, memory_order_release);
	atomic_store_explicit(&segment->publisher->rows_used, index + 1, memory_order_release);
	FAULT_POINT(append_live);
	return index;
}

struct rules_source rules_source_of(const struct line *line, uint64_t now, uint32_t bucket_plus_1)
{
	bool first = line->flags & LINE_FIRST;

	return (struct rules_source){
		.bucket_plus_1 = bucket_plus_1,
		.unit = line_unit(line),
		.units = line_value(line, now),
		.shadow_units = line->flags & LINE_BESIDE ? shadow_value(&line->shadow, now) : 0,
		.burst_units = line->burst_units,
		.step_ticks = first && line->step_units ? line->step_ticks : 0,
	};
}
