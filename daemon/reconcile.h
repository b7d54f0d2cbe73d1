/* SPDX-License-Identifier: Apache-2.0
 *
 * reconcile.h - the rules that run against the rules that are wanted: a difference, as values.
 *
 * Pure. Actions name rules by kind and text, not by row: while a plan is carried out a rule may
 * move to another row or the whole table to another pair.
 */
#ifndef WEIRD_RECONCILE_H
#define WEIRD_RECONCILE_H

#include <stddef.h>
#include <stdint.h>

#include "config.h"
#include "layout.h"
#include "token_clock.h"

/* A live row, as values. */
struct running_rule {
	enum row_kind kind;
	char text[LAYOUT_TEXT_BYTES];
	uint32_t order;
	struct terms terms;
	enum row_origin origin;
	uint64_t fold; /* ROW_EACH */
};

enum reconcile_verb {
	RECONCILE_ADD,
	RECONCILE_CHANGE,
	RECONCILE_REMOVE,
	RECONCILE_REORDER,
	RECONCILE_KEEP, /* set by an operator, and it stays: nothing to do but say so */
};

struct reconcile_action {
	enum reconcile_verb verb;
	enum row_kind kind;
	char text[LAYOUT_TEXT_BYTES];
	uint32_t order;
	struct terms was; /* but for ADD */
	struct terms now; /* but for REMOVE */
	uint64_t keys;	  /* ROW_EACH: of ADD */
	uint64_t fold;	  /* ROW_EACH: of ADD and CHANGE */
};

struct reconcile_plan {
	struct reconcile_action *actions;
	size_t count;
};

/* What a plan starts from. `rows` is the capacity: where adding first would exceed it, removals
 * come first. */
struct reconcile_input {
	const struct running_rule *running;
	size_t running_count;
	const struct config_rule *wanted; /* their order in the array is their order in the file */
	size_t wanted_count;
	uint32_t rows;
};

/*
 * The file is the truth: reload. Rules that an operator set go back to what the file says.
 * Returns 0 or -ENOMEM. Free with reconcile_free().
 */
int reconcile_reload(struct reconcile_plan *out, const struct reconcile_input *input);

/* A restart: what an operator set stays, the rest becomes what the file says. */
int reconcile_adopt(struct reconcile_plan *out, const struct reconcile_input *input);

void reconcile_free(struct reconcile_plan *plan);

#endif
