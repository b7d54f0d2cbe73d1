/* SPDX-License-Identifier: Apache-2.0 */
#include "move.h"

#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bucket.h"
#include "carry.h"
#include "fault.h"
#include "gate.h"
#include "key_tables.h"
#include "permit_line.h"
#include "shadow.h"
#include "token_clock.h"
#include "weir.h"
#include "window.h"

/* One of those in the table of names. */
static bool bucket_is_names(const struct segment *segment, uint32_t bucket)
{
	return bucket >= segment->row_count && bucket < segment->row_count + segment->name_count;
}

static struct origin origin_of(const struct segment *segment, uint32_t row, uint32_t bucket)
{
	struct origin origin = carry_origin(&segment->rows[row]);

	if (bucket_is_names(segment, bucket))
		/* acquire: pairs with the release in name_find_source() and name_continue() */
		origin.bucket_plus_1 = (uint32_t)atomic_load_explicit(
			&segment->names[bucket - segment->row_count].source, memory_order_acquire);
	else if (bucket != row)
		origin.bucket_plus_1 = 0; /* the bucket of names without room begins anew */
	return origin;
}

/* The mark of a bucket that nobody has used, with its initial level. */
static uint64_t first_mark(const struct segment *segment, uint32_t row, struct line *line)
{
	uint64_t now = line_read(&segment->rows[row], &segment->time, line);
	struct stand stand = line_stand(line, now, BUCKET_UNSET);

	stand.ahead = line->burst_units - line->initial_units;
	return line_mark(line, now, stand);
}

/*
 * While marks are being moved, a name that is used here and was not when move_prepare() looked
 * continues its bucket in the old pair all the same. It is claimed there if need be: whoever is
 * still there and comes to it later meets it frozen. All helpers find the same bucket.
 */
static void name_find_source(const struct segment *segment, const struct segment *old,
			     uint32_t bucket)
{
	struct name_row *slot = &segment->names[bucket - segment->row_count];
	struct resolution found;
	char name[LAYOUT_TEXT_BYTES];

	if (atomic_load_explicit(&slot->source, memory_order_acquire))
		return;
	segment_text(slot->text, name); /* complete, since somebody uses it: names.c */
	if (names_resolve(old, name, true, &found) < 0 || !bucket_is_names(old, found.bucket))
		return;
	/* release: pairs with the acquire in origin_of() */
	atomic_store_explicit(&slot->source, found.bucket + 1, memory_order_release);
}

static void follow_shadow(struct bucket *to, const struct bucket *from, const struct origin *origin,
			  unsigned k)
{
	bool is_reset = origin->keep == RULES_KEEP_RESET;

	shadow_follow(to, from,
		      &(struct shadow_source){
			      .units = is_reset ? 0 : origin->shadow_units,
			      .from_k = origin->unit & 63,
			      .to_k = k,
		      });
}

int move_install(const struct segment *segment, const struct segment *old, uint32_t row,
		 uint32_t bucket)
{
	/* acquire: pairs with the release in move_finish(), after which all are installed */
	uint64_t moving = atomic_load_explicit(&segment->rules->predecessor, memory_order_acquire);
	bool is_names = bucket_is_names(segment, bucket);

	if (is_names && moving && old && old->pair == moving)
		name_find_source(segment, old, bucket);

	struct origin origin = origin_of(segment, row, bucket);
	const struct segment *from = origin.elsewhere ? old : segment;
	struct line line;
	uint64_t mark = first_mark(segment, row, &line);

	if (moving && !old && origin.elsewhere && (origin.bucket_plus_1 || is_names))
		return WEIR_EPAIR;
	struct bucket *source = NULL;

	if (origin.bucket_plus_1 && from && origin.bucket_plus_1 <= from->bucket_count) {
		uint64_t frozen = BUCKET_UNSET;

		source = &from->buckets[origin.bucket_plus_1 - 1];
		if (origin.given)
			mark = origin.units;
		else if (!bucket_freeze_for(source, &segment->buckets[bucket], &frozen))
			return 0;
		if (frozen != BUCKET_UNSET)
			mark = carry_mark(&origin, &line, frozen);
		/* after the freeze: see gate_close() */
		gate_inherit(&segment->buckets[bucket], gate_load(source));
		FAULT_POINT(install_shadow);
		/* what the other names count, and go on counting, is theirs */
		if (!origin.given)
			follow_shadow(&segment->buckets[bucket], source, &origin, line.k);
	}
	FAULT_POINT(install_frozen);
	bucket_install(&segment->buckets[bucket], mark);
	if (source && !gate_is_settled(gate_load(source)))
		gate_wake(source);
	return 0;
}

uint64_t move_position(const struct segment *from, uint32_t bucket, const struct segment *to,
		       uint32_t row, uint32_t to_bucket, uint64_t position)
{
	struct origin origin = origin_of(to, row, to_bucket);
	struct line line;

	if (origin.bucket_plus_1 != bucket + 1 || origin.elsewhere != (from->pair != to->pair))
		return 0;
	line_read(&to->rows[row], &to->time, &line);
	return carry_position(&origin, &line, position);
}

/* ---- a successor pair ---- */

static uint32_t rows_used(const struct segment *segment)
{
	uint32_t used = atomic_load_explicit(&segment->rules->rows_used, memory_order_acquire);

	return used < segment->row_count ? used : segment->row_count;
}

/* What a row's rule is to be in the successor. */
static void prepare_rule(struct rule *rule, const struct rule *instead)
{
	while (instead && (instead->kind != rule->kind || strcmp(instead->text, rule->text) != 0))
		instead = instead->next;
	if (!instead)
		return;
	rule->terms = instead->terms;
	rule->author = instead->author;
	rule->keep = instead->keep;
	rule->keys = instead->keys;
	rule->fold = instead->fold;
}

static int64_t prepare_row(const struct segment *segment, struct segment *successor, uint32_t row,
			   const struct rule *instead)
{
	const struct rule_row *at = &segment->rows[row];
	char text[LAYOUT_TEXT_BYTES];
	struct rule rule = {
		.kind = (enum row_kind)atomic_load_explicit(&at->kind, memory_order_relaxed),
		.text = text,
		.order = atomic_load_explicit(&at->order, memory_order_relaxed),
	};
	uint64_t changed_ns;
	struct line line;
	uint64_t now = line_read(at, &segment->time, &line);
	struct rules_source source =
		rules_source_of(&line, now, rule.kind == ROW_DEFAULT ? 0 : row + 1);

	source.elsewhere = true;
	segment_text(at->text, text);
	segment_terms(segment, row, &rule.terms, &rule.author, &changed_ns);
	rule.keys = keys_capacity(segment, row);
	rule.fold = keys_fold(segment, row);
	prepare_rule(&rule, instead);
	return rules_append(successor, &rule, &source);
}

/*
 * A name in use keeps its bucket; one that has moved to a row of its own needs none. Returns the
 * bucket in which `successor` continues that of a slot, or -1.
 */
static int64_t name_continue(const struct segment *segment, const struct segment *successor,
			     uint32_t slot)
{
	struct name_row *from = &segment->names[slot];
	struct resolution found;
	char name[LAYOUT_TEXT_BYTES];

	if (!atomic_load_explicit(&from->hash, memory_order_acquire))
		return -1;
	segment_text(from->text, name);
	/* if that is not the whole text, nobody has used the bucket yet: names.c */
	if (names_find_slot(segment, name) != slot ||
	    names_find_row(successor, name) != names_default_row(successor) ||
	    names_resolve(successor, name, true, &found) < 0 || found.overflow)
		return -1;
	/* release: pairs with the acquire in origin_of() */
	atomic_store_explicit(&successor->names[found.bucket - successor->row_count].source,
			      segment->row_count + slot + 1, memory_order_release);
	return found.bucket;
}

int move_prepare(const struct segment *segment, struct segment *successor,
		 const struct rule *instead)
{
	/* a manual clock goes on where it was: relaxed, nobody else has the successor yet */
	atomic_store_explicit(
		&successor->state->manual_ns,
		atomic_load_explicit(&segment->state->manual_ns, memory_order_relaxed),
		memory_order_relaxed);
	segment_keep_secret(successor, segment);
	for (uint32_t i = 0; i < rows_used(segment); i++) {
		if (atomic_load_explicit(&segment->rows[i].state, memory_order_acquire) != ROW_LIVE)
			continue;

		int64_t row = prepare_row(segment, successor, i, instead);

		if (row < 0)
			return (int)row;
	}
	for (uint32_t i = 0; i < segment->name_count; i++)
		name_continue(segment, successor, i);
	/* relaxed: published by the rename that reveals the pair */
	atomic_store_explicit(&successor->publisher->predecessor, segment->pair,
			      memory_order_relaxed);
	return 0;
}

void move_retire(const struct segment *segment)
{
	/* seq_cst: pairs with the acquire in segment_is_retired(), and with who inserts a key */
	atomic_store_explicit(&segment->state->retired, 1, memory_order_seq_cst);
	FAULT_POINT(retire_stored);
	for (uint32_t i = 0; i < rows_used(segment); i++)
		syscall(SYS_futex, &segment->rows[i].generation, FUTEX_WAKE, INT32_MAX, NULL, NULL,
			0);
	line_call_everybody(segment);
	time_source_nudge(&segment->time);
}

/*
 * Every name that came into use in the old pair until now; and freezes what nobody has used, so
 * that who was stopped there and claims it later follows before drawing from it.
 */
static void finish_names(const struct segment *successor, const struct segment *old, uint32_t row)
{
	for (uint32_t i = 0; i < old->name_count; i++) {
		bucket_freeze(&old->buckets[old->row_count + i]);

		int64_t bucket = name_continue(old, successor, i);

		FAULT_POINT(finish_name);
		if (bucket >= 0)
			move_install(successor, old, row, (uint32_t)bucket);
	}
	bucket_freeze(&old->buckets[old->row_count + old->name_count]);
}

int move_finish(struct segment *successor, const struct segment *old)
{
	int64_t fallback = names_default_row(successor);

	for (uint32_t i = 0; i < rows_used(successor); i++) {
		FAULT_POINT(finish_row);
		if (atomic_load_explicit(&successor->rows[i].kind, memory_order_relaxed) !=
		    ROW_DEFAULT)
			move_install(successor, old, i, i);
	}
	if (old && fallback >= 0)
		finish_names(successor, old, (uint32_t)fallback);
	if (old)
		keys_finish(successor, old);
	FAULT_POINT(finish_installed);
	/* release: pairs with the acquire in move_install() */
	atomic_store_explicit(&successor->publisher->predecessor, 0, memory_order_release);
	return 0;
}

/* ---- counts ---- */

void move_tally(const struct segment *segment, uint32_t row, uint32_t bucket, struct tally_sum *out)
{
	struct tally_sum sum;
	struct tally_sum part;
	struct line line;
	uint32_t at = row;

	line_read(&segment->rows[row], &segment->time, &line);
	tally_read(&segment->tallies, bucket, line.k, &sum);
	/* rows only come from earlier ones, so the chain ends */
	for (uint32_t hop = 0; bucket == at && hop < segment->row_count; hop++) {
		struct origin origin = origin_of(segment, at, bucket);

		if (!origin.bucket_plus_1 || origin.elsewhere || origin.given ||
		    origin.bucket_plus_1 > segment->bucket_count)
			break;
		bucket = origin.bucket_plus_1 - 1;
		tally_read(&segment->tallies, bucket, origin.unit & 63, &part);
		tally_join(&sum, &part);
		at = bucket;
		if (at >= segment->row_count)
			break;
	}
	*out = sum;
}

static void carry_bucket(const struct segment *successor, const struct segment *old, uint32_t row,
			 uint32_t bucket, uint32_t old_row)
{
	struct origin origin = origin_of(successor, row, bucket);
	struct tally_sum sum;

	if (!origin.elsewhere || !origin.bucket_plus_1 || origin.bucket_plus_1 > old->bucket_count)
		return;

	uint32_t from = origin.bucket_plus_1 - 1;

	move_tally(old, from < old->row_count ? from : old_row, from, &sum);
	tally_carry(&successor->tallies, bucket, &sum);
}

void move_carry(const struct segment *successor, const struct segment *old)
{
	int64_t fallback = names_default_row(successor);
	int64_t old_fallback = names_default_row(old);

	for (uint32_t i = 0; i < rows_used(successor); i++)
		carry_bucket(successor, old, i, i, 0);
	if (fallback < 0 || old_fallback < 0)
		return;
	for (uint32_t i = 0; i < successor->name_count; i++)
		carry_bucket(successor, old, (uint32_t)fallback, successor->row_count + i,
			     (uint32_t)old_fallback);
}
