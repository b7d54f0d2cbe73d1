/* SPDX-License-Identifier: Apache-2.0
 *
 * go_duration.h - durations as Go's time.Duration prints them: "1h23m31s", "2m59.56s", "370ms",
 * "0s". Pure.
 */
#ifndef WEIR_GO_DURATION_H
#define WEIR_GO_DURATION_H

#include <stdbool.h>
#include <stddef.h>

/*
 * In seconds: one or more of NUMBER UNIT, with units ns, us, ms, s, m and h (and µs in both of its
 * spellings), in any order as Go reads them; no sign, no blanks. All of the text has to be one, and
 * *out is written on success only. May be very large.
 */
bool go_duration_read(const char *text, size_t bytes, double *out);

#endif
