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

/* Which of the names of three letters stands here, from 0; -1: none. */
static int name_of(const char *at, const char *names)
{
	for (int i = 0; names[3 * i]; i++)
		if (at[0] == names[3 * i] && at[1] == names[3 * i + 1] && at[2] == names[3 * i + 2])
			return i;
	return -1;
}

static const char DAYS[] = "MonTueWedThuFriSatSun";
static const char MONTHS[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

/* Two digits, within bounds. */
static bool two_digits(const char *at, int min, int max, int *out)
{
	*out = (at[0] - '0') * 10 + (at[1] - '0');
	return is_digit(at[0]) && is_digit(at[1]) && *out >= min && *out <= max;
}

static bool four_digits(const char *at, int *out)
{
	int low;
	bool good = two_digits(at, 0, 99, out) && two_digits(at + 2, 0, 99, &low);

	*out = good ? *out * 100 + low : 0;
	return good;
}

static bool read_month(const char *at, struct moment *out)
{
	out->month = name_of(at, MONTHS) + 1;
	return out->month > 0;
}

/* "08:49:37" */
static bool read_clock(const char *at, struct moment *out)
{
	return two_digits(at, 0, 23, &out->hour) && at[2] == ':' &&
	       two_digits(at + 3, 0, 59, &out->minute) && at[5] == ':' &&
	       two_digits(at + 6, 0, 60, &out->second);
}

/* "Sun, 06 Nov 1994 08:49:37 GMT": 29 bytes */
static bool read_fixdate(const char *at, struct moment *out)
{
	return name_of(at, DAYS) >= 0 && !memcmp(at + 3, ", ", 2) &&
	       two_digits(at + 5, 1, 31, &out->day) && at[7] == ' ' && read_month(at + 8, out) &&
	       at[11] == ' ' && four_digits(at + 12, &out->year) && at[16] == ' ' &&
	       read_clock(at + 17, out) && !memcmp(at + 25, " GMT", 4);
}

/* "06-Nov-94 08:49:37 GMT", behind "Sunday, ": 22 bytes */
static bool read_rfc850(const char *at, struct moment *out)
{
	return two_digits(at, 1, 31, &out->day) && at[2] == '-' && read_month(at + 3, out) &&
	       at[6] == '-' && two_digits(at + 7, 0, 99, &out->year) && at[9] == ' ' &&
	       read_clock(at + 10, out) && !memcmp(at + 18, " GMT", 4);
}

/* "Sunday, ", all of the text. */
static bool is_long_day(const char *text, size_t bytes)
{
	static const char *const rests[] = {"day", "sday",  "nesday", "rsday",
					    "day", "urday", "day"};
	int day = name_of(text, DAYS);
	size_t rest = day < 0 ? 0 : strlen(rests[day]);

	return day >= 0 && bytes == 3 + rest + 2 && !memcmp(text + 3, rests[day], rest) &&
	       !memcmp(text + 3 + rest, ", ", 2);
}

/* "Sun Nov  6 08:49:37 1994": 24 bytes; a day below 10 has a blank for its first digit */
static bool read_asctime(const char *at, struct moment *out)
{
	const char day[2] = {at[8] == ' ' ? '0' : at[8], at[9]};

	return name_of(at, DAYS) >= 0 && at[3] == ' ' && read_month(at + 4, out) && at[7] == ' ' &&
	       two_digits(day, 1, 31, &out->day) && at[10] == ' ' && read_clock(at + 11, out) &&
	       at[19] == ' ' && four_digits(at + 20, &out->year);
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

/* A day that its month does not have is one of the next month. */
static double seconds_of(const struct moment *moment)
{
	return (double)(days_since_epoch(moment->year, moment->month, moment->day) * DAY_S +
			moment->hour * 3600 + (moment->minute - moment->east_minutes) * 60 +
			moment->second) +
	       moment->fraction;
}

static bool finish(const struct moment *moment, double *out)
{
	if (moment->day > days_of(moment->month, moment->year))
		return false;
	*out = seconds_of(moment);
	return true;
}

/* The latest year that ends in its two digits and is not more than 50 years ahead of now. */
static void complete_year(struct moment *moment, double now)
{
	struct moment fifty_ago = *moment;
	int this_year;

	/* out of a caller's clock: bounded before it becomes an integer */
	if (!(now >= 0 && now < 250000000000.0))
		now = 0;
	this_year = 1970 + (int)(now / (365.2425 * DAY_S));
	moment->year += this_year - this_year % 100 + 100;
	do {
		fifty_ago.year = moment->year - 50;
		moment->year -= 100;
	} while (seconds_of(&fifty_ago) > now);
	moment->year += 100;
}

enum { FIXDATE_BYTES = 29, ASCTIME_BYTES = 24, RFC850_BYTES = 22 };

bool http_date_read(const char *text, size_t bytes, double now, double *out)
{
	struct moment moment = {0};

	if (bytes == FIXDATE_BYTES && read_fixdate(text, &moment))
		return finish(&moment, out);
	if (bytes == ASCTIME_BYTES && read_asctime(text, &moment))
		return finish(&moment, out);
	if (bytes <= RFC850_BYTES + 3 || !is_long_day(text, bytes - RFC850_BYTES) ||
	    !read_rfc850(text + bytes - RFC850_BYTES, &moment))
		return false;
	complete_year(&moment, now);
	return finish(&moment, out);
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
	if (scan->at == scan->end) /* "+01" */
		return sign * minutes;
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
	return !scan.bad && scan.at == scan.end && finish(&moment, out);
}
