/* SPDX-License-Identifier: Apache-2.0 */
#include "http_date.h"

#include <stdint.h>
#include <string.h>

#define DAY_S 86400

/* What is still to be read. A step that fails leaves `bad`, and everything after it fails too. */
struct scan {
	const char *at;
	const char *end;
	bool bad;
};

struct moment {
	int year, month, day; /* month and day from 1 */
	int hour, minute, second;
	int east_minutes;
	double fraction;
};

static inline void pass(struct scan *scan, const char *text)
{
	size_t bytes = strlen(text);

	if (scan->bad || (size_t)(scan->end - scan->at) < bytes || memcmp(scan->at, text, bytes))
		scan->bad = true;
	else
		scan->at += bytes;
}

static bool here(const struct scan *scan, char c)
{
	return !scan->bad && scan->at < scan->end && *scan->at == c;
}

static bool pass_if(struct scan *scan, char c)
{
	if (!here(scan, c))
		return false;
	scan->at++;
	return true;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* A number of exactly so many digits, within bounds. */
static int digits(struct scan *scan, int count, int min, int max)
{
	int number = 0;

	for (int i = 0; i < count; i++, scan->at++) {
		if (scan->bad || scan->at >= scan->end || !is_digit(*scan->at)) {
			scan->bad = true;
			return min;
		}
		number = number * 10 + (*scan->at - '0');
	}
	if (number < min || number > max)
		scan->bad = true;
	return number;
}

/* Which of the names of three letters stands here, from 1; it is passed. */
static int name(struct scan *scan, const char *names)
{
	if (!scan->bad && scan->end - scan->at >= 3)
		for (int i = 0; names[3 * i]; i++)
			if (!memcmp(scan->at, names + (size_t)(3 * i), 3)) {
				scan->at += 3;
				return i + 1;
			}
	scan->bad = true;
	return 1;
}

static const char DAYS[] = "MonTueWedThuFriSatSun";
static const char MONTHS[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

/* "Monday", "Tuesday" and so on: behind its three letters. */
static void pass_long_day(struct scan *scan)
{
	static const char *const rests[] = {"day", "sday",  "nesday", "rsday",
					    "day", "urday", "day"};

	pass(scan, rests[name(scan, DAYS) - 1]);
}

static void read_clock(struct scan *scan, struct moment *out)
{
	out->hour = digits(scan, 2, 0, 23);
	pass(scan, ":");
	out->minute = digits(scan, 2, 0, 59);
	pass(scan, ":");
	out->second = digits(scan, 2, 0, 60);
}

static struct moment read_fixdate(struct scan *scan)
{
	struct moment out = {0};

	name(scan, DAYS);
	pass(scan, ", ");
	out.day = digits(scan, 2, 1, 31);
	pass(scan, " ");
	out.month = name(scan, MONTHS);
	pass(scan, " ");
	out.year = digits(scan, 4, 0, 9999);
	pass(scan, " ");
	read_clock(scan, &out);
	pass(scan, " GMT");
	return out;
}

static struct moment read_rfc850(struct scan *scan)
{
	struct moment out = {0};

	pass_long_day(scan);
	pass(scan, ", ");
	out.day = digits(scan, 2, 1, 31);
	pass(scan, "-");
	out.month = name(scan, MONTHS);
	pass(scan, "-");
	out.year = digits(scan, 2, 0, 99);
	pass(scan, " ");
	read_clock(scan, &out);
	pass(scan, " GMT");
	return out;
}

static struct moment read_asctime(struct scan *scan)
{
	struct moment out = {0};

	name(scan, DAYS);
	pass(scan, " ");
	out.month = name(scan, MONTHS);
	pass(scan, " ");
	out.day = digits(scan, pass_if(scan, ' ') ? 1 : 2, 1, 31);
	pass(scan, " ");
	read_clock(scan, &out);
	pass(scan, " ");
	out.year = digits(scan, 4, 0, 9999);
	return out;
}

static bool is_leap(int year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int days_of(int month, int year)
{
	static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return days[month - 1] + (month == 2 && is_leap(year));
}

/* Days from 1970-01-01 on, by the Gregorian calendar; the year begins in March to count them. */
static int64_t days_since_epoch(int year, int month, int day)
{
	int64_t y = year - (month <= 2);
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t of_era = y - era * 400;
	int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* Of a moment that was read to the end of the text. */
static bool finish(const struct scan *scan, const struct moment *moment, double *out)
{
	if (scan->bad || scan->at != scan->end ||
	    moment->day > days_of(moment->month, moment->year))
		return false;
	*out = (double)(days_since_epoch(moment->year, moment->month, moment->day) * DAY_S +
			moment->hour * 3600 + (moment->minute - moment->east_minutes) * 60 +
			moment->second) +
	       moment->fraction;
	return true;
}

/* The year that ends in these two digits, at most 50 years ahead of now. */
static int whole_year(int two, double now)
{
	/* out of a caller's clock: bounded before it becomes an integer */
	double years = now >= 0 && now < 250000000000.0 ? now / (365.2425 * DAY_S) : 0;
	int this_year = 1970 + (int)years;
	int year = this_year - this_year % 100 + two;

	return year > this_year + 50 ? year - 100 : year;
}

bool http_date_read(const char *text, size_t bytes, double now, double *out)
{
	const struct scan start = {text, text + bytes, false};
	struct scan scan = start;
	struct moment moment;

	if (bytes < 24) /* the shortest of them */
		return false;
	if (text[3] == ',') {
		moment = read_fixdate(&scan);
	} else if (text[3] == ' ') {
		moment = read_asctime(&scan);
	} else {
		moment = read_rfc850(&scan);
		moment.year = whole_year(moment.year, now);
	}
	return finish(&scan, &moment, out);
}

static double read_fraction(struct scan *scan)
{
	int64_t value = 0, scale = 1;

	if (scan->bad || scan->at >= scan->end || !is_digit(*scan->at)) {
		scan->bad = true;
		return 0;
	}
	for (; scan->at < scan->end && is_digit(*scan->at); scan->at++)
		if (scale < 1000000000) {
			value = value * 10 + (*scan->at - '0');
			scale *= 10;
		}
	return (double)value / (double)scale;
}

/* Minutes east of UTC. */
static int read_zone(struct scan *scan)
{
	int sign = here(scan, '-') ? -1 : 1;
	int minutes;

	if (pass_if(scan, 'Z') || pass_if(scan, 'z') || scan->at == scan->end)
		return 0;
	if (here(scan, 'U')) {
		pass(scan, "UTC");
		return 0;
	}
	if (!pass_if(scan, '-'))
		pass(scan, "+");
	minutes = digits(scan, 2, 0, 23) * 60;
	pass_if(scan, ':');
	return sign * (minutes + digits(scan, 2, 0, 59));
}

bool iso_date_read(const char *text, size_t bytes, double *out)
{
	struct scan scan = {text, text + bytes, false};
	struct moment moment = {0};

	moment.year = digits(&scan, 4, 0, 9999);
	pass(&scan, "-");
	moment.month = digits(&scan, 2, 1, 12);
	pass(&scan, "-");
	moment.day = digits(&scan, 2, 1, 31);
	if (!pass_if(&scan, 'T') && !pass_if(&scan, 't'))
		pass(&scan, " ");
	moment.hour = digits(&scan, 2, 0, 23);
	pass(&scan, ":");
	moment.minute = digits(&scan, 2, 0, 59);
	if (pass_if(&scan, ':')) {
		moment.second = digits(&scan, 2, 0, 60);
		if (pass_if(&scan, '.') || pass_if(&scan, ','))
			moment.fraction = read_fraction(&scan);
	}
	pass_if(&scan, ' ');
	moment.east_minutes = read_zone(&scan);
	return finish(&scan, &moment, out);
}
