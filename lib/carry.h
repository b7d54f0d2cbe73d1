/* SPDX-License-Identifier: Apache-2.0
 *
 * carry.h - what becomes of a mark, and of a place in line, that moves to another row: another
 * unit, another kind of windows, another burst, and what is to be kept of the level.
 *
 * Pure. A row says where its marks come from when it becomes live (rule_row.source*), and nothing
 * here depends on when it is asked: all who help to move a mark compute the same.
 */
#ifndef WEIR_CARRY_H
#define WEIR_CARRY_H

#include <stdbool.h>
#include <stdint.h>

#include "layout.h"
#include "rules.h"
#include "token_clock.h"

/* Where a bucket's mark comes from, as its row (and name) say; read once and bounded. */
struct origin {
	uint32_t bucket_plus_1; /* 0: from nowhere */
	unsigned unit;		/* line_unit() there */
	bool elsewhere;
	bool given; /* `units` is the mark */
	enum rules_keep keep;
	uint64_t units;	       /* V there when the row took over */
	uint64_t shadow_units; /* that of its shadow limit; 0: it had none */
	uint64_t burst_units;
	uint64_t step_ticks; /* with a radix: of a window, which brings the burst; 0: none begins */
};

/* As a row says; of names under [default] the bucket is in their own slot. */
struct origin carry_origin(const struct rule_row *row);

/* The mark in a row of that line, which begins where the row's clock does. */
uint64_t carry_mark(const struct origin *origin, const struct line *to, uint64_t mark);

/* A place in line; 0: it is none any more, who holds it takes a new one. */
uint64_t carry_position(const struct origin *origin, const struct line *to, uint64_t position);

/* How much is spoken for where the burst changes, by what is to be kept; in one unit. */
uint64_t carry_ahead(enum rules_keep keep, uint64_t ahead, uint64_t burst_before,
		     uint64_t burst_after);

#endif
