/* SPDX-License-Identifier: Apache-2.0
 *
 * state_words.h - what a writer and a reader of the state file must agree on. Pure.
 */
#ifndef WEIRD_STATE_WORDS_H
#define WEIRD_STATE_WORDS_H

#include <stdbool.h>

#include "state.h"

#define STATE_DECIMAL_BYTES 48

/* What a record of each kind begins with. */
extern const char *const state_kind_words[STATE_KINDS];

/* value / 10^digits, without the zeros at its end. */
char *state_decimal_text(line_wide value, unsigned digits, char out[STATE_DECIMAL_BYTES]);

/*
 * DIGITS[.DIGITS], with at most `digits` of the latter, and then `suffix`; times 10^digits, and at
 * most `max`, which is below 2^124.
 */
bool state_decimal_read(const char *text, unsigned digits, const char *suffix, line_wide max,
			line_wide *out);

#endif
