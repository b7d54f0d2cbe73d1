/* SPDX-License-Identifier: Apache-2.0
 *
 * names.h - names and patterns: which rule a name falls under, and the table of the names that
 * fall under [default].
 *
 * The table of names is insert-only: a name claims the first free slot of its probe sequence by
 * one CAS on its keyed hash. Who writes: everybody. Killed anywhere: the slot is free or claimed;
 * the text beside the hash is for people and may be missing.
 */
#ifndef WEIR_NAMES_H
#define WEIR_NAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "segment.h"

/* Where a name leads. */
struct resolution {
	uint32_t row;
	uint32_t bucket;
	uint64_t table_generation; /* the table of rules this was read from */
	bool overflow;		   /* the table of names was full: a bucket shared by such names */
	uint64_t key; /* ROW_EACH: of the table of keys; 0: the name means the rule, as else */
};

/* 1 to WEIR_NAME_MAX bytes, no control characters, no blank at either end. */
bool names_valid(const char *name);

/* Whether a name matches a pattern: `*` stands for any run of bytes, none included. */
bool names_match(const char *pattern, const char *name);

/* Whether the text is a pattern at all. */
bool names_is_pattern(const char *text);

/* Literal bytes before the first `*`, and the number of `*`. */
struct specificity {
	uint32_t literal_prefix;
	uint32_t wildcards;
};
struct specificity names_specificity(const char *pattern);

/* Whether pattern a goes before pattern b (longest literal prefix, then fewest wildcards). */
int names_compare(struct specificity a, struct specificity b);

/* Whether every name that `inner` matches, `outer` matches too. */
bool names_covers(const char *outer, const char *inner);

/*
 * Resolves: exact row, else the most specific pattern, else [default] and the name's own bucket,
 * which is claimed if need be (`claim`; a looker passes false and gets WEIR_ENORULE for a name
 * nobody used). Lock-free. Returns 0, WEIR_ENAME, WEIR_EDAMAGED.
 */
int names_resolve(const struct segment *segment, const char *name, bool claim,
		  struct resolution *out);

/* The row alone, as names_resolve() finds it. Returns its index, or a code. */
int names_find_row(const struct segment *segment, const char *name);

/* The live row whose text is exactly this; -1 if none. */
int64_t names_exact_row(const struct segment *segment, const char *text);

/* A pattern row, of one bucket or of one for each. */
static inline bool names_kind_is_pattern(uint32_t kind)
{
	return kind == ROW_PATTERN || kind == ROW_EACH;
}

/* The same, of that kind: while a rule changes its kind there are two. */
int64_t names_row_of_kind(const struct segment *segment, enum row_kind kind, const char *text);

/* The live [default] row; -1 if none (a damaged segment). */
int64_t names_default_row(const struct segment *segment);

/* The slot of a name in the table of names; -1 if it has none. */
int64_t names_find_slot(const struct segment *segment, const char *name);

#endif
