/* SPDX-License-Identifier: Apache-2.0 */
#include "field_value.h"

#include <math.h>
#include <stdint.h>

#include "fields.h"
#include "go_duration.h"
#include "http_date.h"

size_t field_find(struct field_text text, char c)
{
	const char *found = text.bytes ? memchr(text.at, c, text.bytes) : NULL;

	return found ? (size_t)(found - text.at) : text.bytes;
}

bool field_part(struct field_text *text, char separator, struct field_text *part)
{
	size_t bytes = field_find(*text, separator);

	if (!text->at)
		return false;
	*part = field_trim((struct field_text){text->at, bytes});
	if (bytes < text->bytes)
		*text = field_from(*text, bytes + 1);
	else
		*text = (struct field_text){NULL, 0};
	return true;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

#define WHOLE_MAX                                                                                  \
	10000000000000000ull /* 10^16: microseconds since 1970 are below it until 2286             \
			      */

/* As many digits as there are; what is too large stays too large. Returns how many. */
static size_t read_whole(struct field_text text, uint64_t *whole)
{
	size_t i = 0;

	*whole = 0;
	for (; i < text.bytes && is_digit(text.at[i]); i++)
		if (*whole < WHOLE_MAX)
			*whole = *whole * 10 + (uint64_t)(text.at[i] - '0');
	return i;
}

#define FRACTION_SCALE 1000000000u /* what is finer is cut */

static size_t read_fraction(struct field_text text, double *fraction)
{
	uint64_t value = 0, scale = 1;
	size_t i = 0;

	for (; i < text.bytes && is_digit(text.at[i]); i++)
		if (scale < FRACTION_SCALE) {
			value = value * 10 + (uint64_t)(text.at[i] - '0');
			scale *= 10;
		}
	*fraction = (double)value / (double)scale;
	return i;
}

static enum field_result read_number(struct field_text text, double *out)
{
	bool negative = text.bytes && text.at[0] == '-';
	double fraction = 0;
	uint64_t whole;
	size_t digits;

	if (negative)
		text = field_from(text, 1);
	digits = read_whole(text, &whole);
	text = field_from(text, digits);
	if (!digits)
		return FIELD_MALFORMED;
	if (text.bytes && text.at[0] == '.') {
		text = field_from(text, 1);
		digits = read_fraction(text, &fraction);
		text = field_from(text, digits);
	}
	if (!digits || text.bytes)
		return FIELD_MALFORMED;
	if (whole >= WHOLE_MAX && !negative)
		return FIELD_HUGE;
	*out = (double)whole + fraction;
	if (negative)
		*out = 0 - *out; /* there is no -0 */
	return FIELD_FINE;
}

enum field_result field_number(struct field_text text, double *out)
{
	double value;
	enum field_result result = read_number(text, &value);

	if (result == FIELD_FINE && value >= FIELDS_COUNT_MAX)
		return FIELD_HUGE;
	if (result == FIELD_FINE)
		*out = value;
	return result;
}

/*
 * What a bare number means, by its size beside the time it came at: microseconds, milliseconds or
 * seconds since 1970, or seconds from now on. A time that is a little past is still a time, not a
 * delay of half a century; how little is a day, or a hundredth of now where the clock is a small
 * one. No delay is as long as 10^9 s.
 */
static enum field_unit unit_of(double value, double now)
{
	double slack = now / 100 < 86400 ? now / 100 : 86400;

	if (value >= 1e14)
		return FIELD_EPOCH_US;
	if (value >= 1e11)
		return FIELD_EPOCH_MS;
	return value >= 1e9 || (now > 0 && value >= now - slack) ? FIELD_EPOCH_S : FIELD_DELTA_S;
}

static double seconds_of(double value, enum field_unit unit, double now)
{
	switch (unit) {
	case FIELD_AUTO:
		return seconds_of(value, unit_of(value, now), now);
	case FIELD_DELTA_MS:
		return value / 1e3;
	case FIELD_DELTA_MIN:
		return value * 60;
	case FIELD_EPOCH_S:
		return value - now;
	case FIELD_EPOCH_MS:
		return value / 1e3 - now;
	case FIELD_EPOCH_US:
		return value / 1e6 - now;
	case FIELD_DELTA_S:
	case FIELD_DURATION:
	case FIELD_DATE:
	case FIELD_UNITS:
		break;
	}
	return value;
}

static enum field_result bounded(double seconds, double *out)
{
	if (isnan(seconds)) /* from a time that is not known */
		return FIELD_MALFORMED;
	if (seconds >= FIELDS_NEVER_S)
		return FIELD_HUGE;
	*out = seconds;
	return FIELD_FINE;
}

static bool takes_duration(enum field_unit unit)
{
	return unit == FIELD_AUTO || unit == FIELD_DURATION || unit == FIELD_DELTA_S;
}

enum field_result field_time(struct field_text text, enum field_unit unit, double now, double *out)
{
	double value;
	enum field_result result = unit == FIELD_DATE ? FIELD_MALFORMED : read_number(text, &value);

	if (result == FIELD_FINE)
		return bounded(value < 0 ? value : seconds_of(value, unit, now), out);
	if (result == FIELD_HUGE)
		return result;
	if (takes_duration(unit) && go_duration_read(text.at, text.bytes, &value))
		return bounded(value, out);
	if (http_date_read(text.at, text.bytes, now, &value) ||
	    iso_date_read(text.at, text.bytes, &value))
		return bounded(value - now, out);
	return FIELD_MALFORMED;
}

enum field_result field_wait(struct field_text text, double now, double *out)
{
	double value;
	enum field_result result = read_number(text, &value);

	if (text.bytes && text.at[0] == '-')
		return FIELD_MALFORMED;
	if (result == FIELD_FINE)
		return bounded(value, out);
	if (result == FIELD_MALFORMED && http_date_read(text.at, text.bytes, now, &value))
		return bounded(value - now, out);
	return result;
}
