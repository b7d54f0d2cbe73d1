/* SPDX-License-Identifier: Apache-2.0
 *
 * value.h - rates, tokens, durations and sizes as people write them. Pure; no locale.
 *
 *	rate		TOKENS/[N]UNIT with UNIT s, min, h or d; 0; unlimited	5000/h  5/2s  0.5/s
 *	tokens		NUMBER with an optional K, M, G, Ki, Mi, Gi		100  1.5K  1M
 *	duration	NUMBER with ns, us, ms, s, min, h or d; 0		250ms  30s  1h
 *	count		a whole number with an optional K, M, G, Ki, Mi, Gi	1024  1M
 *	window		DURATION [aligned [+HH:MM or -HH:MM] | first]; none	1h  1d aligned
 *+02:00
 *
 * Each returns NULL, or a sentence that says what would be right; *out is written on success
 * only. Numbers are decimal, may have a fraction (not counts), no sign and no exponent. They are
 * exact: what is finer than a millionth of a token or a nanosecond is refused, never rounded.
 */
#ifndef WEIR_VALUE_H
#define WEIR_VALUE_H

#include <stddef.h>
#include <stdint.h>

#include "token_clock.h"

#define VALUE_PERIOD_MAX_NS (366 * 86400 * 1000000000ull)
#define VALUE_TOKENS_MAX_MICRO 1000000000000000000ull /* 10^12 tokens */

/*
 * At most 10^9 tokens a second and 10^12 a period; periods up to 366 days. `unlimited` is
 * TERMS_UNLIMITED; it and `0` have a period of a second.
 */
const char *value_rate(const char *text, uint64_t *rate_micro, uint64_t *period_ns);

/* In millionths; at most 10^12 tokens. */
const char *value_tokens(const char *text, uint64_t *micro);

/* At most 366 days. */
const char *value_duration(const char *text, uint64_t *ns);

const char *value_count(const char *text, uint64_t min, uint64_t max, uint64_t *count);

/*
 * Windows of 1ms and more. Without a word behind the duration they are aligned; aligned ones
 * divide a day or are a week, and begin by the wall clock of UTC or so far east (+) or west of it.
 */
const char *value_window(const char *text, struct window_terms *window);

#define VALUE_TEXT_BYTES 40

/* The other way: the shortest text that reads back as the same value. Return `out`. */
char *value_rate_text(uint64_t rate_micro, uint64_t period_ns, char out[VALUE_TEXT_BYTES]);
char *value_tokens_text(uint64_t micro, char out[VALUE_TEXT_BYTES]);
char *value_duration_text(uint64_t ns, char out[VALUE_TEXT_BYTES]);
char *value_window_text(const struct window_terms *window, char out[VALUE_TEXT_BYTES]);

#endif
