/* SPDX-License-Identifier: Apache-2.0
 *
 * rules.h - the publisher's side of the table of rules: add, change, remove.
 *
 * Who writes: the publisher, one thread of one process; every function here needs
 * segment->publisher. Rows are appended: filled, then made live, then the table's generation is
 * bumped. Killed anywhere: a row is live or not, and a mark that was to move is moved by whoever
 * meets it next (move.h).
 */
#ifndef WEIR_RULES_H
#define WEIR_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "align.h"
#include "segment.h"
#include "token_clock.h"

enum rules_keep {
	RULES_KEEP_USED,
	RULES_KEEP_LEVEL,
	RULES_KEEP_PROPORTIONAL,
	RULES_KEEP_RESET,
};

/* A rule to be added. */
struct rule {
	enum row_kind kind;
	const char *text; /* name or pattern; for [default] the text is "*" */
	uint32_t order;	  /* place in the file */
	struct terms terms;
	struct terms_author author;
	enum rules_keep keep; /* what becomes of the level that its name had under another rule */
	uint64_t keys;	      /* ROW_EACH: in debt at once */
	uint64_t fold;	      /* of those, what counts as one: fold.h */
	const struct rule *next; /* move_prepare(): another one */
};

/*
 * Appends a rule. If a name moves into it (an exact rule whose name has a bucket under
 * [default]), its mark moves along; an exact rule for a name that falls under a pattern begins
 * with what is spoken for of that pattern's bucket, and its closure. `rule->keep` counts. Returns
 * the row, or WEIR_EROWS when no row is left (a successor pair is needed: move.h), WEIR_EPERMITS,
 * WEIR_EVALUE.
 */
int64_t rules_add(struct segment *segment, const struct rule *rule);

/*
 * Changes a row's terms live; what was learned stays in force, unless the rule is no longer
 * adaptive. Where the new rate or burst does not fit the row's unit, the rule
 * moves to a new row and its mark follows. Returns the row that holds the rule now, WEIR_EROWS
 * (also for a [default] or ROW_EACH that must change its unit), WEIR_EPERMITS, WEIR_EVALUE.
 */
int64_t rules_change(struct segment *segment, uint32_t row, const struct terms *terms,
		     const struct terms_author *author, enum rules_keep keep);

/*
 * Puts what was learned of the upstream in force, or (learned->period_ns 0) the terms again. The
 * level stays, as far as the burst in force allows; who waits keeps his place. The row's own terms
 * and author stay as they are. WEIR_EVALUE: faster than the row's unit can count; nothing changed.
 */
int rules_learn(struct segment *segment, uint32_t row, const struct learned_terms *learned);

/* Whether a rule of those terms takes one of the segment's places for rules that follow an
 * upstream. */
bool rules_follows(const struct terms *terms);

/* Only the place in the file. */
void rules_set_order(struct segment *segment, uint32_t row, uint32_t order);

/* Removes a row: its names resolve to another rule at their next call. */
void rules_remove(struct segment *segment, uint32_t row);

/* Fills one bucket and voids the places in its line; of a ROW_EACH those of all its keys. */
void rules_reset(struct segment *segment, uint32_t row, uint32_t bucket);

/* Fills the bucket of one key. Who waits in its line keeps the place. */
void rules_reset_key(const struct segment *segment, uint32_t row, uint64_t key);

/*
 * Publishes a new calibration: every line anew at `hz`, V lifted by what `slept_ns` would have
 * minted, at most to full.
 */
int rules_rebase(struct segment *segment, uint64_t hz, uint64_t slept_ns);

/*
 * Lays the windows that follow the calendar out again, by that reading of the wall clock, where
 * they are off by `tolerance_ns` or more. Returns how many rows that was; *shift_ns is the largest
 * correction (above 0: later).
 */
unsigned rules_align(struct segment *segment, const struct wall_time *wall, uint64_t tolerance_ns,
		     int64_t *shift_ns);

/* Publishes a row's line as it is, so that all its sleepers wake and look again. */
void rules_wake(struct segment *segment, uint32_t row);

/*
 * An adopting publisher: finishes what a dead one left half done (two live rows of one rule) and
 * lets every handle resolve again.
 */
void rules_recover(struct segment *segment);

/* Appends a rule whose mark comes from elsewhere: move_prepare(). Returns as rules_add(). */
struct rules_source {
	uint32_t bucket_plus_1; /* 0: from none (but the rest holds for the names under it) */
	uint32_t unit;		/* line_unit() */
	bool elsewhere;		/* in the pair that this one replaces */
	bool given;	       /* `units` is the first mark; only a closure comes from the bucket */
	uint64_t units;	       /* V there at this moment */
	uint64_t shadow_units; /* that of the shadow limit; 0: there is none */
	uint64_t burst_units;
	uint64_t step_ticks; /* with a radix: of a window, which brings the burst; 0: none begins */
};

/* Where a mark of `line` comes from that moves at the tick `now`. */
struct rules_source rules_source_of(const struct line *line, uint64_t now, uint32_t bucket_plus_1);
int64_t rules_append(struct segment *segment, const struct rule *rule,
		     const struct rules_source *source);

#endif
