/* SPDX-License-Identifier: Apache-2.0
 *
 * class.h - priority by headroom: names of classes, and what their calls must leave. Pure.
 *
 *	class background = leave 20 %
 *	class batch = leave 5
 *
 * A name is kept as a number (struct line_class), so that a call compares one word and a rule
 * needs no table of names beside it. Who writes: the publisher, with the line (token_clock.c).
 */
#ifndef WEIR_CLASS_H
#define WEIR_CLASS_H

#include <stdint.h>

#include "token_clock.h"
#include "value.h"

#define CLASS_TEXT_BYTES 13 /* 12 characters and the closing NUL */
#define CLASS_LEAVE "leave" /* the word before what it is */
#define CLASS_SHARE (1ull << 63)
#define CLASS_PERCENT 1000000ull /* of a share */

/* The number of a name: 1 to 12 of a-z, 0-9, - and _; 0 if it can be none. */
uint64_t class_number(const char *name);

/* The other way; bytes that are no name come out as '?'. Returns `out`. */
char *class_text(uint64_t number, char out[CLASS_TEXT_BYTES]);

/* "leave 5", "leave 20 %": what a share must be below is 100 %. NULL, or what would be right. */
const char *class_read_leave(const char *text, uint64_t *leave);

/* The other way. Returns `out`. */
char *class_leave_text(uint64_t leave, char out[VALUE_TEXT_BYTES]);

/* In units of 2^-k token, rounded up; what is left must be at least that. */
uint64_t class_leave_units(uint64_t leave, uint64_t burst_units, unsigned k);

/*
 * Sets what a class leaves; 0: it leaves nothing more than any call, which the rule remembers
 * until class_finish() so that a class of the whole instance does not take its place. Returns NULL
 * or what is wrong.
 */
const char *class_set(struct terms *terms, uint64_t name, uint64_t leave);

/* Adds the classes of `common` that the terms do not set by themselves. Returns as class_set(). */
const char *class_inherit(struct terms *terms, const struct terms *common);

/* Drops what leaves nothing, and checks the rest against the burst. Returns as class_set(). */
const char *class_finish(struct terms *terms);

#endif
