/* SPDX-License-Identifier: Apache-2.0 */
#include "go_duration.h"

struct unit {
	double seconds; /* of one, or */
	double divisor; /* how many make a second: exact where a factor would not be */
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Whether the bytes stand here; then they are passed. */
static bool pass(const char **at, const char *end, char first, char second)
{
	if (end - *at < 2 || (*at)[0] != first || (*at)[1] != second)
		return false;
	*at += 2;
	return true;
}

/* The unit here, which is passed; false: there is none. */
static bool read_unit(const char **at, const char *end, struct unit *out)
{
	*out = (struct unit){1, 1};
	if (pass(at, end, 'm', 's')) {
		out->divisor = 1e3;
	} else if (pass(at, end, 'n', 's')) {
		out->divisor = 1e9;
	} else if (pass(at, end, 'u', 's')) {
		out->divisor = 1e6;
	} else if (end - *at > 2 && (*at)[2] == 's' &&
		   (pass(at, end, '\xc2', '\xb5') || pass(at, end, '\xce', '\xbc'))) {
		out->divisor = 1e6;
		(*at)++;
	} else {
		out->seconds = *at == end    ? 0
			       : **at == 's' ? 1
			       : **at == 'm' ? 60
			       : **at == 'h' ? 3600
					     : 0;
		*at += out->seconds > 0;
	}
	return out->seconds > 0;
}

/* Digits with a fraction: its numerator and denominator. At least one digit, as in ".5" or "1.". */
static bool read_number(const char **at, const char *end, double *value, double *scale)
{
	bool any = false, point = false;

	*value = 0;
	*scale = 1;
	for (; *at < end && (is_digit(**at) || (**at == '.' && !point)); (*at)++) {
		if (**at == '.') {
			point = true;
			continue;
		}
		any = true;
		if (point && *scale >= 1e9)
			continue; /* finer than a nanosecond of a second */
		*value = *value * 10 + (**at - '0');
		if (point)
			*scale *= 10;
	}
	return any;
}

bool go_duration_read(const char *text, size_t bytes, double *out)
{
	const char *at = text, *end = text + bytes;
	double total = 0;

	if (!bytes)
		return false;
	while (at < end) {
		double value, scale;
		struct unit unit;

		if (!read_number(&at, end, &value, &scale) || !read_unit(&at, end, &unit))
			return false;
		total += value * unit.seconds / (scale * unit.divisor);
	}
	*out = total;
	return true;
}
