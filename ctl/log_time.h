/* SPDX-License-Identifier: Apache-2.0
 *
 * log_time.h - times as access logs write them. Pure; no time zone but the one in the text.
 *
 *	common log	29/Nov/2026:07:41:03 +0100, seconds with or without a fraction
 *	ISO 8601	2026-11-29T07:41:03.250+01:00, a blank for the T, Z, +0100, or no zone: UTC
 *	epoch		1796024463 s, 1796024463.250 s, ms (13 digits), us (16) and ns (19)
 *
 * What is finer than a nanosecond is cut off. From 1970 to the end of 2099.
 */
#ifndef WEIRCTL_LOG_TIME_H
#define WEIRCTL_LOG_TIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_TIME_END_NS 4102444800000000000ull /* 2100-01-01 */
#define LOG_TIME_COMMON_BYTES 26	       /* of the first form, without a fraction */

struct log_time {
	uint64_t ns;
	bool whole; /* the text has seconds and nothing finer */
};

/* The last time in the form of the common log: the next one is of the same second, or day. */
struct log_clock {
	char text[LOG_TIME_COMMON_BYTES];
	uint64_t ns;
	uint64_t day_ns;
};

/* Reads a time at the beginning of a text. Returns how many bytes it has; 0: there is none. */
size_t log_time_read(struct log_clock *clock, const char *text, size_t bytes, struct log_time *out);

#endif
