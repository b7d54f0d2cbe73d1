/* SPDX-License-Identifier: Apache-2.0 */
#include "log_time.h"

#include <string.h>

#define NS_PER_S 1000000000ull
#define DAY_S 86400u
#define YEAR_MIN 1970
#define YEAR_END 2100
#define DAY_BYTES 12 /* 29/Nov/2026: */

static bool is_digit(char byte)
{
	return byte >= '0' && byte <= '9';
}

/* So many digits as a number, or -1. */
static int digits(const char *text, unsigned count)
{
	int value = 0;

	for (unsigned i = 0; i < count; i++) {
		if (!is_digit(text[i]))
			return -1;
		value = value * 10 + (text[i] - '0');
	}
	return value;
}

/* Midnight of a day, in seconds since 1970; false: there is no such day. */
static bool day_seconds(int year, int month, int day, uint64_t *seconds)
{
	static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};

	if (year < YEAR_MIN || year >= YEAR_END || month < 1 || month > 12 || day < 1)
		return false;

	bool leap = year % 4 == 0; /* without an exception from 1970 to 2099 */
	int length = before[month] - before[month - 1] + (month == 2 && leap);
	int leaps = (year - 1969) / 4;
	int days =
		(year - YEAR_MIN) * 365 + leaps + before[month - 1] + (month > 2 && leap) + day - 1;

	*seconds = (uint64_t)days * DAY_S;
	return day <= length;
}

/* HH:MM:SS as seconds, or -1; a leap second is the first one of the next minute. */
static int clock_seconds(const char *text)
{
	int hour = digits(text, 2);
	int minute = digits(text + 3, 2);
	int second = digits(text + 6, 2);

	if (text[2] != ':' || text[5] != ':' || hour < 0 || hour > 23 || minute < 0 ||
	    minute > 59 || second < 0 || second > 60)
		return -1;
	return (hour * 60 + minute) * 60 + second;
}

/* The decimals behind a point, as parts of `unit_ns`. Returns how many bytes they have. */
static size_t read_fraction(const char *text, size_t bytes, uint64_t unit_ns, uint64_t *ns)
{
	size_t at = 0;

	for (; at < bytes && is_digit(text[at]); at++) {
		unit_ns /= 10;
		*ns += (uint64_t)(text[at] - '0') * unit_ns;
	}
	return at;
}

/* +0100 or +01:00, seconds east of UTC. Returns how many bytes it has; 0: it is none. */
static size_t read_zone(const char *text, size_t bytes, int *east_s)
{
	size_t colon = bytes >= 6 && text[3] == ':';
	int hours;
	int minutes;

	if (bytes < 5 + colon || (text[0] != '+' && text[0] != '-'))
		return 0;
	hours = digits(text + 1, 2);
	minutes = digits(text + 3 + colon, 2);
	if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59)
		return 0;
	*east_s = (text[0] == '-' ? -60 : 60) * (hours * 60 + minutes);
	return 5 + colon;
}

/* A local time and its zone as UTC; false: it is out of bounds. */
static bool to_utc(uint64_t local_ns, int east_s, uint64_t *ns)
{
	int64_t east_ns = (int64_t)NS_PER_S * east_s;
	int64_t utc_ns = (int64_t)local_ns - east_ns;

	*ns = (uint64_t)utc_ns;
	return utc_ns >= 0 && *ns < LOG_TIME_END_NS;
}

/* ---- common log ---- */

static int month_number(const char *name)
{
	static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

	for (int i = 0; i < 12; i++)
		if (!memcmp(names + 3 * (size_t)i, name, 3))
			return i + 1;
	return 0;
}

/* Midnight of 29/Nov/2026: by what was read last, or anew. */
static bool common_day(const struct log_clock *clock, const char *text, uint64_t *day_ns)
{
	uint64_t seconds;

	if (!memcmp(clock->text, text, DAY_BYTES)) {
		*day_ns = clock->day_ns;
		return true;
	}
	if (text[2] != '/' || text[6] != '/' || text[11] != ':' ||
	    !day_seconds(digits(text + 7, 4), month_number(text + 3), digits(text, 2), &seconds))
		return false;
	*day_ns = seconds * NS_PER_S;
	return true;
}

static size_t read_common(struct log_clock *clock, const char *text, size_t bytes,
			  struct log_time *out)
{
	size_t at = DAY_BYTES + 8;
	uint64_t fraction = 0;
	uint64_t day_ns;
	uint64_t ns;
	int east_s;

	if (!memcmp(clock->text, text, LOG_TIME_COMMON_BYTES)) {
		*out = (struct log_time){clock->ns, true};
		return LOG_TIME_COMMON_BYTES;
	}

	int seconds = clock_seconds(text + DAY_BYTES);

	if (seconds < 0 || !common_day(clock, text, &day_ns))
		return 0;
	ns = day_ns + NS_PER_S * (unsigned)seconds;
	if (text[at] == '.')
		at += 1 + read_fraction(text + at + 1, bytes - at - 1, NS_PER_S, &fraction);
	if (at >= bytes || text[at] != ' ')
		return 0;
	at++;

	size_t zone = read_zone(text + at, bytes - at, &east_s);

	if (zone != 5 || !to_utc(ns + fraction, east_s, &ns))
		return 0;
	at += zone;
	if (at == LOG_TIME_COMMON_BYTES) {
		memcpy(clock->text, text, LOG_TIME_COMMON_BYTES);
		clock->ns = ns;
		clock->day_ns = day_ns;
	}
	*out = (struct log_time){ns, at == LOG_TIME_COMMON_BYTES};
	return at;
}

/* ---- ISO 8601 ---- */

static size_t read_iso(const char *text, size_t bytes, struct log_time *out)
{
	size_t at = 19;
	uint64_t fraction = 0;
	uint64_t day;
	int east_s = 0;

	if (bytes < at || text[7] != '-' || (text[10] != 'T' && text[10] != 't' && text[10] != ' '))
		return 0;

	int seconds = clock_seconds(text + 11);

	if (seconds < 0 ||
	    !day_seconds(digits(text, 4), digits(text + 5, 2), digits(text + 8, 2), &day))
		return 0;

	bool whole = at >= bytes || (text[at] != '.' && text[at] != ',');

	if (!whole)
		at += 1 + read_fraction(text + at + 1, bytes - at - 1, NS_PER_S, &fraction);
	if (at < bytes && (text[at] == 'Z' || text[at] == 'z'))
		at++;
	else
		at += read_zone(text + at, bytes - at, &east_s);
	if (!to_utc((day + (unsigned)seconds) * NS_PER_S + fraction, east_s, &out->ns))
		return 0;
	out->whole = whole;
	return at;
}

/* ---- epoch ---- */

/* What a number of so many digits counts, from 2001 to 2286, in ns; 0: no unit fits. */
static uint64_t epoch_unit(size_t count)
{
	if (count <= 10)
		return NS_PER_S;
	return count == 13 ? 1000000 : count == 16 ? 1000 : count == 19 ? 1 : 0;
}

static size_t read_epoch(const char *text, size_t bytes, struct log_time *out)
{
	uint64_t value = 0;
	uint64_t ns = 0;
	size_t at = 0;

	for (; at < bytes && at < 20 && is_digit(text[at]); at++)
		value = value * 10 + (uint64_t)(text[at] - '0');

	uint64_t unit = epoch_unit(at);

	if (unit == 0 || value >= LOG_TIME_END_NS / unit)
		return 0;

	bool whole = unit == NS_PER_S && (at >= bytes || text[at] != '.');

	if (at < bytes && text[at] == '.')
		at += 1 + read_fraction(text + at + 1, bytes - at - 1, unit, &ns);
	*out = (struct log_time){value * unit + ns, whole};
	return at;
}

size_t log_time_read(struct log_clock *clock, const char *text, size_t bytes, struct log_time *out)
{
	if (bytes >= LOG_TIME_COMMON_BYTES && text[2] == '/')
		return read_common(clock, text, bytes, out);
	if (bytes >= 19 && text[4] == '-')
		return read_iso(text, bytes, out);
	return bytes && is_digit(text[0]) ? read_epoch(text, bytes, out) : 0;
}
