/* SPDX-License-Identifier: Apache-2.0 */
#include "cells.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "text.h"

#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull

/* ---- numbers ---- */

static void trim_zeros(char *number)
{
	char *point = strchr(number, '.');
	size_t length = strlen(number);

	if (!point)
		return;
	while (number[length - 1] == '0')
		number[--length] = '\0';
	if (number[length - 1] == '.')
		number[length - 1] = '\0';
}

/* With the most decimals and the smallest unit that fit. */
static char *number(double value, double (*round_to)(double), char out[CELLS_BYTES])
{
	static const char *const units[] = {"", "k", "M", "G", "T"};

	for (size_t unit = 0; unit < sizeof(units) / sizeof(units[0]); unit++) {
		for (int decimals = 2; decimals >= 0; decimals--) {
			double steps = decimals == 2 ? 100 : decimals == 1 ? 10 : 1;
			char text[400];

			/* the + 0.0 makes a minus zero a plain one */
			snprintf(text, sizeof(text), "%.*f", decimals,
				 round_to(value * steps) / steps + 0.0);
			trim_zeros(text);
			if (strlen(text) + strlen(units[unit]) <= CELLS_VALUE) {
				snprintf(out, CELLS_BYTES, "%.8s%s", text, units[unit]);
				return out;
			}
		}
		value /= 1000;
	}
	snprintf(out, CELLS_BYTES, "%s", value > 0 ? "much" : "-much");
	return out;
}

char *cells_level(double tokens, char out[CELLS_BYTES])
{
	return number(tokens, floor, out);
}

char *cells_rate(double per_s, char out[CELLS_BYTES])
{
	if (isnan(per_s))
		snprintf(out, CELLS_BYTES, "-");
	else if (per_s > 0 && per_s < 0.005)
		snprintf(out, CELLS_BYTES, "<0.01");
	else
		number(per_s, round, out);
	return out;
}

static uint64_t divide_up(uint64_t value, uint64_t by)
{
	return value / by + (value % by != 0);
}

/* "2m05s": `small` seconds is what the second unit has, `per` of which make the first. */
static void two_units(uint64_t seconds, uint64_t small, uint64_t per, const char *units,
		      char out[CELLS_BYTES])
{
	uint64_t count = divide_up(seconds, small);

	if (count >= 10 * per)
		snprintf(out, CELLS_BYTES, "%u%c", (unsigned)divide_up(count, per), units[0]);
	else
		snprintf(out, CELLS_BYTES, "%u%c%02u%c", (unsigned)(count / per), units[0],
			 (unsigned)(count % per), units[1]);
}

char *cells_duration(uint64_t ns, char out[CELLS_BYTES])
{
	uint64_t tenths = divide_up(ns, NS_PER_S / 10);
	uint64_t seconds = divide_up(ns, NS_PER_S);

	if (ns == UINT64_MAX)
		snprintf(out, CELLS_BYTES, "never");
	else if (ns == 0)
		snprintf(out, CELLS_BYTES, "0s");
	else if (ns <= 999000)
		snprintf(out, CELLS_BYTES, "%uus", (unsigned)divide_up(ns, 1000));
	else if (ns <= 999 * NS_PER_MS)
		snprintf(out, CELLS_BYTES, "%ums", (unsigned)divide_up(ns, NS_PER_MS));
	else if (tenths < 600 && tenths % 10)
		snprintf(out, CELLS_BYTES, "%u.%us", (unsigned)(tenths / 10),
			 (unsigned)(tenths % 10));
	else if (tenths < 600)
		snprintf(out, CELLS_BYTES, "%us", (unsigned)(tenths / 10));
	else if (seconds < 3600)
		two_units(seconds, 1, 60, "ms", out);
	else if (seconds < 86400)
		two_units(seconds, 60, 60, "hm", out);
	else if (seconds < 9999 * 86400ull)
		two_units(seconds, 3600, 24, "dh", out);
	else
		snprintf(out, CELLS_BYTES, "years");
	return out;
}

/* ---- texts ---- */

char *cells_text(char *out, size_t bytes, const char *in, bool utf8)
{
	char safe[2048];
	size_t used = 0;

	if (utf8)
		return text_safe(out, bytes, in, false);
	text_safe(safe, sizeof(safe), in, false);
	for (const char *at = safe; *at && used + 4 < bytes; at++) {
		if ((unsigned char)*at < 0x80)
			out[used++] = *at;
		else
			used += (size_t)snprintf(out + used, 5, "\\x%02x", (unsigned char)*at);
	}
	out[used] = '\0';
	return out;
}

/* How many bytes at the beginning take at most so many columns. */
static size_t head_bytes(const char *safe, size_t columns)
{
	size_t bytes = 0;

	for (size_t width; safe[bytes]; columns -= width) {
		size_t step = text_step(safe + bytes, &width);

		if (width > columns)
			break;
		bytes += step;
	}
	return bytes;
}

char *cells_shorten(char *out, size_t bytes, const char *safe, size_t width, bool utf8)
{
	const char *gap = utf8 ? "\u2026" : "..";
	size_t gap_columns = utf8 ? 1 : 2;
	size_t columns = text_columns(safe);
	size_t head, tail;

	if (columns <= width) {
		snprintf(out, bytes, "%s", safe);
		return out;
	}
	if (width <= gap_columns) {
		snprintf(out, bytes, "%.*s", (int)head_bytes(safe, width), safe);
		return out;
	}
	/* the end of a name often says more than its middle */
	head = head_bytes(safe, (width - gap_columns + 1) / 2);
	tail = head_bytes(safe, columns - (width - gap_columns) / 2);
	/* a wide character on the cut goes */
	while (text_columns(safe + tail) > (width - gap_columns) / 2) {
		size_t step_columns;

		tail += text_step(safe + tail, &step_columns);
	}
	snprintf(out, bytes, "%.*s%s%s", (int)head, safe, gap, safe + tail);
	return out;
}

/* ---- pictures ---- */

char *cells_bar(char *out, double share, size_t width, bool utf8)
{
	static const char *const eighths[] = {"",	"\u258f", "\u258e", "\u258d", "\u258c",
					      "\u258b", "\u258a", "\u2589", "\u2588"};
	double bounded = share > 1 ? 1 : share > 0 ? share : 0;
	size_t filled = (size_t)(bounded * (double)(utf8 ? 8 * width : width));

	out[0] = '\0';
	for (size_t i = 0; i < width; i++) {
		size_t here = utf8 ? (filled > 8 * i ? filled - 8 * i : 0) : filled > i;

		if (here == 0)
			strcat(out, utf8 ? "\u00b7" : ".");
		else
			strcat(out, utf8 ? eighths[here > 8 ? 8 : here] : "#");
	}
	return out;
}

const char *cells_spark(double rate, double full, bool utf8)
{
	static const char *const blocks[] = {"\u2581", "\u2582", "\u2583", "\u2584",
					     "\u2585", "\u2586", "\u2587", "\u2588"};
	static const char *const marks[] = {"_", ".", ":", "-", "=", "+", "*", "#"};
	size_t height = 0;

	if (isnan(rate))
		return " ";
	/* what is not nothing never looks like nothing */
	if (rate > 0)
		height = rate >= full ? 7 : 1 + (size_t)(rate / full * 6.5);
	return utf8 ? blocks[height] : marks[height];
}
