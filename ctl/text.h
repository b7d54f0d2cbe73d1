/* SPDX-License-Identifier: Apache-2.0
 *
 * text.h - values as people read them, and foreign bytes made safe for a terminal. Pure, but
 * that the width of a character is what the locale (LC_CTYPE) says.
 */
#ifndef WEIRCTL_TEXT_H
#define WEIRCTL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEXT_BYTES 48
#define TEXT_NAME_BYTES 512 /* any name, every byte of it escaped */

/*
 * Copies `in`, with every byte that could steer a terminal (control characters of either set,
 * what is no UTF-8, marks that turn the direction of writing) as \xNN. Returns out; cut if it
 * does not fit. Newlines are kept where `lines`.
 */
char *text_safe(char *out, size_t bytes, const char *in, bool lines);

/* How many bytes the character at `at`, which is not the closing NUL, has, and how many columns:
 * 0, 1 or 2; 1 where the locale does not know. */
size_t text_step(const char *at, size_t *columns);

/* How many columns a safe text takes. */
size_t text_columns(const char *safe);

/* Rounded up to what people care for: "0.2 s", "350 us", "2 min 5 s"; "never". Returns out. */
char *text_duration(uint64_t ns, char out[TEXT_BYTES]);

/* Rounded down to thousandths: "9.5", "100", "-3". "unlimited" for infinity. Returns out. */
char *text_tokens(double tokens, char out[TEXT_BYTES]);

/* A wall-clock time: "2026-11-23 19:49:48" of this process's time zone. Returns out. */
char *text_time(uint64_t wall_ns, char out[TEXT_BYTES]);

/* The same for programs: "2026-11-23T18:49:48Z". Returns out. */
char *text_time_utc(uint64_t wall_ns, char out[TEXT_BYTES]);

#endif
