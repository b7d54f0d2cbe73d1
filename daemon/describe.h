/* SPDX-License-Identifier: Apache-2.0
 *
 * describe.h - rules and their differences as people read them. Pure.
 */
#ifndef WEIRD_DESCRIBE_H
#define WEIRD_DESCRIBE_H

#include <stddef.h>

#include "layout.h"
#include "token_clock.h"

#define DESCRIBE_RULE_BYTES (LAYOUT_TEXT_BYTES + 16)
#define DESCRIBE_TERMS_BYTES 2048

/* "[default]", "endpoint NAME" or "pattern TEXT". Returns out. */
char *describe_rule(enum row_kind kind, const char *text, char out[DESCRIBE_RULE_BYTES]);

/* "rate 5/s, burst 5", and initial and max_wait where they are not what follows. Returns out. */
char *describe_terms(const struct terms *terms, char out[DESCRIBE_TERMS_BYTES]);

/* "rate 10/s -> 5/s, burst 10 -> 5"; "" if they are equal. Returns out. */
char *describe_change(const struct terms *was, const struct terms *now,
		      char out[DESCRIBE_TERMS_BYTES]);

#endif
