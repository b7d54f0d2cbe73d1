/* SPDX-License-Identifier: Apache-2.0 */
#include "rules.h"

#include <string.h>

#include "bucket.h"
#include "carry.h"
#include "fault.h"
#include "gate.h"
#include "key_tables.h"
#include "move.h"
#include "names.h"
#include "permit_chain.h"
#include "shadow.h"
#include "weir.h"
#include "window.h"

static struct rule_row *row_writable(struct segment *segment, uint32_t row)
{
	return (struct rule_row *)(void *)(segment->publisher + 1) + row;
}

/* The publisher is one thread, so it reads its own words relaxed. */
static uint32_t rows_used(const struct segment *segment)
{
	uint32_t used = atomic_load_explicit(&segment->rules->rows_used, memory_order_relaxed);

	return used < segment->row_count ? used : segment->row_count;
}

static bool row_is_live(const struct rule_row *row)
{
	return atomic_load_explicit(&row->state, memory_order_relaxed) == ROW_LIVE;
}

static enum row_kind row_kind(const struct segment *segment, uint32_t row)
{
	return (enum row_kind)atomic_load_explicit(&segment->rows[row].kind, memory_order_relaxed);
}

/* Lets every handle resolve its name again at its next call. */
static void table_changed(struct segment *segment)
{
	FAULT_POINT(table_before);
	/* release: pairs with the acquire in names_resolve() and in every call's check */
	atomic_fetch_add_explicit(&segment->publisher->table_generation, 1, memory_order_release);
	FAULT_POINT(table_after);
}

static void row_write_text(struct rule_row *row, const char *text)
{
	size_t length = strnlen(text, LAYOUT_TEXT_BYTES - 1);

	for (size_t i = 0; i < LAYOUT_TEXT_BYTES; i++)
		atomic_store_explicit(&row->text[i], i < length ? (unsigned char)text[i] : 0,
				      memory_order_relaxed);
}

/* ---- where a rule keeps how it follows its upstream ---- */

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

/* The line of a row that is there, with the wall clock of its origin; and its terms. */
static void row_read(const struct segment *segment, uint32_t row, struct line *line,
		     struct terms *terms, struct terms_author *author)
{
	uint64_t changed_ns;

	line_read(&segment->rows[row], &segment->time, line);
	line->origin_wall_ns = line_read_wall(&segment->rows[row]);
	segment_terms(segment, row, terms, author, &changed_ns);
	follow_at(segment, follow_present(segment, row), line);
}

/*
 * A row's next line, by terms that its unit fits and so many ticks a second. Windows of the same
 * kind go on as they are.
 */
static int line_next(const struct segment *segment, uint32_t row, const struct terms *terms,
		     uint64_t hz, const struct wall_time *wall, struct line *out)
{
	struct terms_author author;
	struct terms before;
	struct line old;

	row_read(segment, row, &old, &before, &author);
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
	uint32_t index = rows_used(segment);
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

	struct rule_row *row = row_writable(segment, index);

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

/* V of a row now, and its unit: where the mark of one of its buckets is taken from. */
static struct rules_source source_of(const struct segment *segment, uint32_t row, uint32_t bucket)
{
	struct line line;
	uint64_t now = line_read(&segment->rows[row], &segment->time, &line);

	return rules_source_of(&line, now, bucket + 1);
}

/*
 * What an opening means for the level, if nobody has met it. Returns the present: a closure that
 * is still in force at that time is no opening yet.
 */
static uint64_t meet_opening(const struct segment *segment, uint32_t row, struct bucket *bucket)
{
	struct line line;
	uint64_t now = line_read(&segment->rows[row], &segment->time, &line);
	uint64_t gate = gate_load(bucket);

	if (!gate_is_settled(gate) && !gate_is_closed(gate, now))
		gate_settle(bucket, gate, &line);
	return now;
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

	bool is_shared = row >= 0 && names_kind_is_pattern(row_kind(segment, (uint32_t)row));
	uint32_t bucket = is_shared ? (uint32_t)row : segment->row_count + (uint32_t)slot;

	if (row < 0 || (!is_shared && (row != fallback || slot < 0)))
		return (struct rules_source){0};
	/* a level that is to be kept is the one after the opening */
	if (rule->keep != RULES_KEEP_USED)
		meet_opening(segment, (uint32_t)row, &segment->buckets[bucket]);
	return is_shared ? source_of_shared(segment, (uint32_t)row, rule)
			 : source_of(segment, (uint32_t)row, bucket);
}

int64_t rules_add(struct segment *segment, const struct rule *rule)
{
	struct rules_source source = source_of_name(segment, rule);
	int64_t row = rules_append(segment, rule, &source);

	if (row < 0)
		return row;
	table_changed(segment);
	if (source.bucket_plus_1) {
		bool is_shared = source.bucket_plus_1 <= segment->row_count;
		int64_t left = is_shared ? source.bucket_plus_1 - 1 : names_default_row(segment);

		move_install(segment, NULL, (uint32_t)row, (uint32_t)row);
		if (left >= 0)
			rules_wake(segment, (uint32_t)left);
	}
	return row;
}

/* ---- what becomes of the level ---- */

struct keep_context {
	const struct segment *segment;
	uint32_t row;
	enum rules_keep keep;
	uint64_t burst_before;
	uint64_t burst_after;
};

/* The mark that leaves the level the rule asks for; a debt stays the debt it is. */
static uint64_t keep_place(uint64_t mark, const void *data)
{
	const struct keep_context *context = data;
	struct line line;
	uint64_t now =
		line_read(&context->segment->rows[context->row], &context->segment->time, &line);
	struct stand stand = line_stand(&line, now, mark);

	if (context->keep == RULES_KEEP_RESET)
		return line_mark(&line, now, line_stand(&line, now, BUCKET_UNSET));
	stand.ahead = carry_ahead(context->keep, stand.ahead, context->burst_before,
				  context->burst_after);
	return line_mark(&line, now, stand);
}

/* The buckets of a row: its own, or those of all names under [default]. */
static uint32_t buckets_of(const struct segment *segment, uint32_t row, struct bucket **first)
{
	bool is_default = row_kind(segment, row) == ROW_DEFAULT;

	*first = &segment->buckets[is_default ? segment->row_count : row];
	return is_default ? segment->name_count + 1 : 1;
}

static void keep_apply(const struct keep_context *context)
{
	struct bucket *first;
	uint32_t count = buckets_of(context->segment, context->row, &first);
	struct keyed table;

	if (context->keep == RULES_KEEP_USED)
		return;
	keys_of_row(context->segment, context->row, &table);
	if (table.bins)
		keyed_set_all(&table, keep_place, context);
	for (uint32_t i = 0; i < count; i++) {
		uint64_t now = meet_opening(context->segment, context->row, &first[i]);

		gate_reset(&first[i], now, keep_place, context);
		if (context->keep == RULES_KEEP_RESET)
			shadow_reset(&first[i]);
	}
}

/* By the line that was in force at the opening, as far as it still is. */
static void keep_begin(const struct segment *segment, uint32_t row, enum rules_keep keep)
{
	struct bucket *first;
	uint32_t count = buckets_of(segment, row, &first);

	for (uint32_t i = 0; i < count && keep != RULES_KEEP_USED; i++)
		meet_opening(segment, row, &first[i]);
}

/* A shadow limit that was not there begins full, whatever one before it has left. */
static void shadow_begin(const struct segment *segment, uint32_t row, const struct line *before,
			 const struct terms *terms)
{
	struct bucket *first;
	uint32_t count = buckets_of(segment, row, &first);

	if (before->flags & LINE_BESIDE || terms->beside.period_ns == 0)
		return;
	for (uint32_t i = 0; i < count; i++)
		shadow_reset(&first[i]);
}

void rules_reset(struct segment *segment, uint32_t row, uint32_t bucket)
{
	const struct keep_context context = {
		.segment = segment,
		.row = row,
		.keep = RULES_KEEP_RESET,
	};

	struct keyed table;

	keys_of_row(segment, row, &table);
	if (table.bins)
		keyed_set_all(&table, keep_place, &context);
	/* what nobody has used has its initial level, which need not be full */
	if (bucket_look(&segment->buckets[bucket]) == BUCKET_UNSET)
		move_install(segment, NULL, row, bucket);
	gate_reset(&segment->buckets[bucket], segment_now(segment), keep_place, &context);
	shadow_reset(&segment->buckets[bucket]);
	FAULT_POINT(reset_done);
	rules_wake(segment, row);
}

void rules_reset_key(const struct segment *segment, uint32_t row, uint64_t key)
{
	struct keyed table;
	struct line line;
	uint64_t now = line_read(&segment->rows[row], &segment->time, &line);

	keys_of_row(segment, row, &table);
	if (table.bins)
		keyed_set(&table, key, line_mark(&line, now, line_stand(&line, now, BUCKET_UNSET)));
}

/* ---- changing ---- */

static int64_t change_in_place(struct segment *segment, uint32_t row, const struct line *before,
			       const struct terms *terms, const struct terms_author *author,
			       enum rules_keep keep)
{
	struct wall_time wall = align_now(&segment->time);
	struct line line;
	int status = line_next(segment, row, terms, segment_hz(segment), &wall, &line);

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
	shadow_begin(segment, row, before, terms);
	FAULT_POINT(shadow_begun);
	/* in the order in which nobody sees more tokens than before and after */
	bool grows = line.burst_units > before->burst_units && keep != RULES_KEEP_RESET;

	if (grows)
		keep_apply(&context);
	line_publish(row_writable(segment, row), &segment->time, &line, terms, author, 0);
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
		.kind = row_kind(segment, row),
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

/* ---- what is learned ---- */

/*
 * A burst that shrinks takes V along, and one that grows the mark: so the level stays, and with
 * the first so does the turn of everybody in line. Killed in between: the bucket has so much less.
 */
static uint64_t keep_level(struct segment *segment, uint32_t row, const struct line *before,
			   const struct line *line)
{
	struct bucket *first;
	uint32_t count = buckets_of(segment, row, &first);

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

	row_read(segment, row, &before, &terms, &author);
	now = segment_now(segment);
	terms.learned = *learned;
	force = terms_in_force(&terms);
	if (!line_rate_fits(&force, before.k, line_value(&before, now)))
		return WEIR_EVALUE;
	status = line_next(segment, row, &terms, segment_hz(segment), &wall, &line);
	if (status < 0)
		return status;
	lift = line.flags & (LINE_WINDOW | LINE_UNLIMITED) || before.flags & LINE_UNLIMITED
		       ? 0
		       : keep_level(segment, row, &before, &line);
	FAULT_POINT(learn_kept);
	line_publish(row_writable(segment, row), &segment->time, &line, &terms, &author, lift);
	return 0;
}

/* The terms alone, if anything else is in force. */
static void unlearn(struct segment *segment, uint32_t row, uint64_t cause)
{
	const struct learned_terms nothing = {.cause = cause};
	struct terms_author author;
	struct terms terms;
	struct line line;

	row_read(segment, row, &line, &terms, &author);
	if (terms.learned.period_ns)
		rules_learn(segment, row, &nothing);
}

/* What was learned goes with the terms that it is held against; not into a rule that learns no
 * more, nor under what an operator set while it was frozen. */
static struct terms with_learned(const struct segment *segment, uint32_t row,
				 const struct terms *terms)
{
	struct terms whole = *terms;
	struct terms_author author;
	struct terms before;
	struct line line;

	row_read(segment, row, &line, &before, &author);
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

int64_t rules_change(struct segment *segment, uint32_t row, const struct terms *terms,
		     const struct terms_author *author, enum rules_keep keep)
{
	struct terms whole = with_learned(segment, row, terms);
	struct line before;

	/* the burst comes back without what it could hold */
	if (whole.learned.period_ns == 0)
		unlearn(segment, row, whole.learned.cause);

	uint64_t now = line_read(&segment->rows[row], &segment->time, &before);

	if (row_kind(segment, row) == ROW_DEFAULT && terms->concurrency)
		return WEIR_EVALUE;
	if (line_unit_fits(&whole, line_unit(&before), line_value(&before, now)))
		return change_in_place(segment, row, &before, &whole, author, keep);
	return change_by_moving(segment, row, &whole, author, keep);
}

void rules_set_order(struct segment *segment, uint32_t row, uint32_t order)
{
	struct rule_row *at = row_writable(segment, row);

	/* relaxed: released by the table's generation */
	if (atomic_exchange_explicit(&at->order, order, memory_order_relaxed) != order)
		table_changed(segment);
}

/* ---- removing ---- */

/* The bucket under [default] to which the name of a removed row goes back. */
struct home {
	struct bucket *bucket; /* NULL: none */
	uint32_t row;
	struct stand stand; /* of the row's bucket, as far as it was taken over */
};

/* Where a bucket that stands so under `from` stands under `to`; a window under way goes on. */
static uint64_t mark_at_home(const struct line *from, uint64_t now, const struct line *to,
			     uint64_t there, struct stand stand)
{
	struct stand home = line_stand(to, there, BUCKET_UNSET);

	home.ahead = line_rescale(stand.ahead, from->k, to->k);
	if (from->flags & to->flags & LINE_FIRST && stand.ahead)
		home.v = line_value(to, there) - (line_value(from, now) - stand.v);
	return line_mark(to, there, home);
}

/* A closure goes along; one that is over has drained the row's bucket first. */
static void home_gate(struct bucket *from, struct bucket *to, const struct line *line, uint64_t now)
{
	uint64_t gate = gate_load(from);

	if (gate_is_closed(gate, now))
		gate_close(to, now, gate & GATE_UNTIL);
	else if (!gate_is_settled(gate))
		gate_settle(from, gate, line);
}

/*
 * The name of an exact row goes back to its bucket under [default], which was frozen when the
 * row took over its mark: it gets the present debt, and is usable again before anyone is sent to
 * it. A publisher that was killed in between has thawed it before; then the debt is raised.
 */
static void thaw_name(struct segment *segment, uint32_t row, struct home *home)
{
	char name[LAYOUT_TEXT_BYTES];
	int64_t fallback = names_default_row(segment);

	segment_text(segment->rows[row].text, name);
	int64_t slot = names_find_slot(segment, name);

	if (row_kind(segment, row) != ROW_EXACT || fallback < 0 || slot < 0)
		return;

	struct bucket *bucket = &segment->buckets[segment->row_count + (uint32_t)slot];
	struct line from;
	struct line to;
	uint64_t now = line_read(&segment->rows[row], &segment->time, &from);
	uint64_t there = line_read(&segment->rows[fallback], &segment->time, &to);

	home_gate(&segment->buckets[row], bucket, &from, now);

	struct stand stand = line_stand(&from, now, bucket_look(&segment->buckets[row]));
	uint64_t at_home = mark_at_home(&from, now, &to, there, stand);

	bucket_thaw(bucket, at_home);
	bucket_drain(bucket, at_home);
	*home = (struct home){bucket, (uint32_t)fallback, stand};
}

/* What the row has given since it was taken over, its last mark being `last`. */
static uint64_t given_since(const struct line *from, uint64_t now, const struct home *home,
			    uint64_t last)
{
	uint64_t then = home->stand.v + home->stand.ahead;

	if (!(from->flags & LINE_FIRST))
		return (int64_t)(last - then) > 0 ? last - then : 0;

	struct stand stand = window_stand(from, now, last);

	if (stand.v != home->stand.v)
		return stand.ahead;
	return stand.ahead > home->stand.ahead ? stand.ahead - home->stand.ahead : 0;
}

/* What the row still gave between the thaw and its end goes on the same account. */
static void close_account(struct segment *segment, uint32_t row, const struct home *home)
{
	/* nobody is sent here any more; who still comes meets it frozen and resolves again */
	uint64_t last = bucket_freeze(&segment->buckets[row]);
	struct line from;
	struct line to;

	if (last == BUCKET_UNSET)
		return;

	uint64_t now = line_read(&segment->rows[row], &segment->time, &from);
	uint64_t there = line_read(&segment->rows[home->row], &segment->time, &to);
	uint64_t given = given_since(&from, now, home, last);

	if (given)
		bucket_charge(home->bucket, &to, there, line_rescale(given, from.k, to.k));
}

static bool has_twin(const struct segment *segment, uint32_t row)
{
	char text[LAYOUT_TEXT_BYTES];
	char other[LAYOUT_TEXT_BYTES];

	segment_text(segment->rows[row].text, text);
	for (uint32_t i = row + 1; i < rows_used(segment); i++) {
		if (!row_is_live(&segment->rows[i]) ||
		    row_kind(segment, i) != row_kind(segment, row))
			continue;
		segment_text(segment->rows[i].text, other);
		if (strcmp(text, other) == 0)
			return true;
	}
	return false;
}

void rules_remove(struct segment *segment, uint32_t row)
{
	struct home home = {.bucket = NULL};

	if (!has_twin(segment, row))
		thaw_name(segment, row, &home);
	FAULT_POINT(remove_before);
	/* release: pairs with the acquire in names.c */
	atomic_store_explicit(&row_writable(segment, row)->state, ROW_GONE, memory_order_release);
	if (home.bucket)
		close_account(segment, row, &home);
	permit_row_leave(segment, row);
	table_changed(segment);
	rules_wake(segment, row);
	permit_line_wake(segment, row);
}

/* A mark that was to move within this pair: a later move of the row would miss it. */
static void finish_move(struct segment *segment, uint32_t row)
{
	const struct rule_row *at = &segment->rows[row];

	if (row_is_live(at) && atomic_load_explicit(&at->source, memory_order_relaxed) &&
	    !(atomic_load_explicit(&at->source_shape, memory_order_relaxed) & SOURCE_ELSEWHERE) &&
	    bucket_look(&segment->buckets[row]) == BUCKET_UNSET)
		move_install(segment, NULL, row, row);
}

void rules_recover(struct segment *segment)
{
	for (uint32_t i = 0; i < rows_used(segment); i++)
		if (row_is_live(&segment->rows[i]) && has_twin(segment, i))
			rules_remove(segment, i);
	permit_chain_recover(segment);
	table_changed(segment);
	for (uint32_t i = 0; i < rows_used(segment); i++)
		finish_move(segment, i);
}

/* ---- all rows ---- */

void rules_wake(struct segment *segment, uint32_t row)
{
	struct line line;
	struct terms terms;
	struct terms_author author;

	row_read(segment, row, &line, &terms, &author);
	line_publish(row_writable(segment, row), &segment->time, &line, &terms, &author, 0);
}

/* What so many nanoseconds mint, at most the burst. */
static uint64_t minted_asleep(uint64_t slope, uint64_t burst_units, uint64_t hz, uint64_t slept_ns)
{
	line_wide ticks = (line_wide)slept_ns * hz / 1000000000u;
	line_wide units = (line_wide)(uint64_t)ticks * slope >> LINE_SLOPE_BITS;

	return units > burst_units ? burst_units : (uint64_t)units;
}

/* By how much V jumps after that; with windows from first use it counts ticks, at most a window's.
 */
static uint64_t lift_asleep(const struct line *line, uint64_t hz, uint64_t slept_ns)
{
	line_wide ticks = (line_wide)slept_ns * hz / 1000000000u;

	if (line->flags & LINE_ALIGNED)
		return 0; /* the wall clock went on, and says what has begun */
	if (line->flags & LINE_FIRST)
		return ticks > line->step_ticks ? line->step_ticks : (uint64_t)ticks;
	return minted_asleep(line->slope, line->burst_units, hz, slept_ns);
}

static int row_rebase(struct segment *segment, uint32_t row, uint64_t hz, uint64_t slept_ns,
		      const struct wall_time *wall)
{
	struct line old;
	struct line line;
	struct terms terms;
	struct terms_author author;

	row_read(segment, row, &old, &terms, &author);
	int status = line_next(segment, row, &terms, hz, wall, &line);

	if (status < 0)
		return status;
	line.shadow.lift_units =
		minted_asleep(line.shadow.slope, line.shadow.burst_units, hz, slept_ns);
	line_publish(row_writable(segment, row), &segment->time, &line, &terms, &author,
		     lift_asleep(&line, hz, slept_ns));
	return 0;
}

int rules_rebase(struct segment *segment, uint64_t hz, uint64_t slept_ns)
{
	const struct terms terms = {.rate_micro = hz, .period_ns = 1000000000u};
	const struct terms_author author = {ORIGIN_FILE, 0};
	struct line clock;
	int status = line_from_hz(&clock, hz);

	if (status < 0)
		return status;
	line_publish(&segment->publisher->clock, &segment->time, &clock, &terms, &author, 0);

	struct wall_time wall = align_now(&segment->time);

	for (uint32_t i = 0; i < rows_used(segment); i++) {
		FAULT_POINT(rebase_row);
		if (row_is_live(&segment->rows[i]) &&
		    row_rebase(segment, i, hz, slept_ns, &wall) < 0)
			status = WEIR_EVALUE;
	}
	return status;
}

/* ---- the calendar ---- */

/* Returns by how many ticks the row's windows lie later now; 0: they stay, or there are none. */
static int64_t row_align(struct segment *segment, uint32_t row, const struct wall_time *wall,
			 uint64_t tolerance)
{
	struct line old;
	struct line line;
	struct terms terms;
	struct terms_author author;
	int64_t shift;

	row_read(segment, row, &old, &terms, &author);
	if (!(old.flags & LINE_ALIGNED) || !align_possible(terms.window.length_ns) ||
	    line_next(segment, row, &terms, segment_hz(segment), wall, &line) < 0)
		return 0;
	shift = align_shift(&line, &old, &terms.window);
	if ((shift < 0 ? 0 - (uint64_t)shift : (uint64_t)shift) < tolerance)
		return 0;
	line_publish(row_writable(segment, row), &segment->time, &line, &terms, &author, 0);
	return shift;
}

unsigned rules_align(struct segment *segment, const struct wall_time *wall, uint64_t tolerance_ns,
		     int64_t *shift_ns)
{
	uint64_t largest = 0;
	unsigned count = 0;
	struct line clock;

	segment_clock(segment, &clock);
	*shift_ns = 0;
	for (uint32_t i = 0; i < rows_used(segment); i++) {
		int64_t shift = 0;

		FAULT_POINT(align_row);
		if (row_is_live(&segment->rows[i]))
			shift = row_align(segment, i, wall, line_ns_to_ticks(&clock, tolerance_ns));
		if (shift == 0)
			continue;

		uint64_t ticks = shift < 0 ? 0 - (uint64_t)shift : (uint64_t)shift;

		count++;
		if (ticks < largest)
			continue;
		largest = ticks;
		*shift_ns = (int64_t)line_ticks_to_ns(&clock, ticks);
		*shift_ns = shift < 0 ? -*shift_ns : *shift_ns;
	}
	return count;
}
