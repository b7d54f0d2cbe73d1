/* SPDX-License-Identifier: Apache-2.0 */
#include "text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

#define NS_PER_S 1000000000ull

static bool is_continuation(unsigned char byte)
{
	return (byte & 0xc0) == 0x80;
}

/* The code point at `in` and in *length its bytes; 0 length if it is no well-formed UTF-8. */
static uint32_t code_point(const unsigned char *in, size_t *length)
{
	static const struct {
		unsigned char mask, lead;
		uint32_t least;
	} forms[] = {
		{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};

	*length = 0;
	for (size_t form = 0; form < 4; form++) {
		if ((in[0] & forms[form].mask) != forms[form].lead)
			continue;

		uint32_t point = in[0] & (unsigned char)~forms[form].mask;

		for (size_t i = 1; i <= form; i++) {
			if (!is_continuation(in[i])) /* the closing NUL is none */
				return 0;
			point = point << 6 | (in[i] & 0x3f);
		}
		if (point < forms[form].least || point > 0x10ffff ||
		    (point >= 0xd800 && point < 0xe000))
			return 0;
		*length = form + 1;
		return point;
	}
	return 0;
}

/* Control characters, line separators and marks of direction: nothing that a name needs. */
static bool is_harmless(uint32_t point)
{
	return point >= 0x20 && point != 0x7f && !(point >= 0x80 && point < 0xa0) &&
	       !(point >= 0x200e && point <= 0x200f) && !(point >= 0x2028 && point <= 0x202e) &&
	       !(point >= 0x2066 && point <= 0x2069);
}

char *text_safe(char *out, size_t bytes, const char *in, bool lines)
{
	const unsigned char *at = (const unsigned char *)in;
	size_t used = 0;

	while (*at) {
		size_t length;
		uint32_t point = code_point(at, &length);
		bool plain = length && (is_harmless(point) || (lines && point == '\n'));
		size_t take = length ? length : 1;

		if (used + (plain ? take : 4 * take) >= bytes)
			break;
		if (plain)
			memcpy(out + used, at, take);
		else
			for (size_t i = 0; i < take; i++)
				snprintf(out + used + 4 * i, 5, "\\x%02x", at[i]);
		used += plain ? take : 4 * take;
		at += take;
	}
	out[used] = '\0';
	return out;
}

size_t text_step(const char *at, size_t *columns)
{
	size_t length;
	uint32_t point = code_point((const unsigned char *)at, &length);
	/* wide characters are code points in every locale of this libc */
	int width = length ? wcwidth((wchar_t)point) : 1;

	*columns = width < 0 ? 1 : (size_t)width;
	return length ? length : 1;
}

size_t text_columns(const char *safe)
{
	size_t columns = 0;

	for (size_t width; *safe; columns += width)
		safe += text_step(safe, &width);
	return columns;
}

/* Cuts the zeros, and then the point, off the end of a number with decimals. */
static void trim_zeros(char *number)
{
	size_t length = strlen(number);

	while (length && number[length - 1] == '0')
		number[--length] = '\0';
	if (length && number[length - 1] == '.')
		number[length - 1] = '\0';
}

static uint64_t divide_up(uint64_t value, uint64_t by)
{
	return value / by + (value % by != 0);
}

/* "2 min 5 s": in two units, the second of which goes `per` times into the first. */
static void two_units(char out[TEXT_BYTES], uint64_t seconds, uint64_t small_s, uint64_t per,
		      const char *large, const char *small)
{
	uint64_t count = divide_up(seconds, small_s);

	if (count % per)
		snprintf(out, TEXT_BYTES, "%llu %s %llu %s", (unsigned long long)(count / per),
			 large, (unsigned long long)(count % per), small);
	else
		snprintf(out, TEXT_BYTES, "%llu %s", (unsigned long long)(count / per), large);
}

char *text_duration(uint64_t ns, char out[TEXT_BYTES])
{
	uint64_t seconds = divide_up(ns, NS_PER_S);

	if (ns == UINT64_MAX)
		snprintf(out, TEXT_BYTES, "never");
	else if (ns == 0)
		snprintf(out, TEXT_BYTES, "0 s");
	else if (ns < 1000000)
		snprintf(out, TEXT_BYTES, "%llu us", (unsigned long long)divide_up(ns, 1000));
	else if (seconds < 60) {
		uint64_t ms = divide_up(ns, 1000000);

		snprintf(out, TEXT_BYTES, "%llu.%03llu", (unsigned long long)(ms / 1000),
			 (unsigned long long)(ms % 1000));
		trim_zeros(out);
		strcat(out, " s");
	} else if (seconds < 3600)
		two_units(out, seconds, 1, 60, "min", "s");
	else if (seconds < 86400)
		two_units(out, seconds, 60, 60, "h", "min");
	else
		two_units(out, seconds, 3600, 24, "d", "h");
	return out;
}

char *text_tokens(double tokens, char out[TEXT_BYTES])
{
	if (isinf(tokens)) {
		snprintf(out, TEXT_BYTES, "unlimited");
		return out;
	}
	/* the + 0.0 makes a minus zero a plain one */
	snprintf(out, TEXT_BYTES, "%.3f", floor(tokens * 1000) / 1000 + 0.0);
	trim_zeros(out);
	return out;
}

static char *format_time(uint64_t wall_ns, const char *format, bool utc, char out[TEXT_BYTES])
{
	time_t seconds = (time_t)(wall_ns / NS_PER_S);
	struct tm parts;

	if (!(utc ? gmtime_r(&seconds, &parts) : localtime_r(&seconds, &parts)) ||
	    strftime(out, TEXT_BYTES, format, &parts) == 0)
		snprintf(out, TEXT_BYTES, "?");
	return out;
}

char *text_time(uint64_t wall_ns, char out[TEXT_BYTES])
{
	return format_time(wall_ns, "%Y-%m-%d %H:%M:%S", false, out);
}

char *text_time_utc(uint64_t wall_ns, char out[TEXT_BYTES])
{
	return format_time(wall_ns, "%Y-%m-%dT%H:%M:%SZ", true, out);
}
