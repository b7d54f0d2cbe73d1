/* SPDX-License-Identifier: Apache-2.0
 *
 * rules_remove.c - a rule goes: its name's bucket under [default] goes on where its own stands. And
 * what a dead publisher left half done.
 */
#include "rules.h"

#include <string.h>

#include "bucket.h"
#include "fault.h"
#include "gate.h"
#include "move.h"
#include "names.h"
#include "permit_chain.h"
#include "permit_line.h"
#include "rules_row.h"
#include "window.h"

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

	if (rules_kind(segment, row) != ROW_EXACT || fallback < 0 || slot < 0)
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
	for (uint32_t i = row + 1; i < rules_used(segment); i++) {
		if (!rules_is_live(&segment->rows[i]) ||
		    rules_kind(segment, i) != rules_kind(segment, row))
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
	atomic_store_explicit(&rules_row(segment, row)->state, ROW_GONE, memory_order_release);
	if (home.bucket)
		close_account(segment, row, &home);
	permit_row_leave(segment, row);
	rules_table_changed(segment);
	rules_wake(segment, row);
	permit_line_wake(segment, row);
}

/* A mark that was to move within this pair: a later move of the row would miss it. */
static void finish_move(struct segment *segment, uint32_t row)
{
	const struct rule_row *at = &segment->rows[row];

	if (rules_is_live(at) && atomic_load_explicit(&at->source, memory_order_relaxed) &&
	    !(atomic_load_explicit(&at->source_shape, memory_order_relaxed) & SOURCE_ELSEWHERE) &&
	    bucket_look(&segment->buckets[row]) == BUCKET_UNSET)
		move_install(segment, NULL, row, row);
}

void rules_recover(struct segment *segment)
{
	for (uint32_t i = 0; i < rules_used(segment); i++)
		if (rules_is_live(&segment->rows[i]) && has_twin(segment, i))
			rules_remove(segment, i);
	permit_chain_recover(segment);
	rules_table_changed(segment);
	for (uint32_t i = 0; i < rules_used(segment); i++)
		finish_move(segment, i);
}
