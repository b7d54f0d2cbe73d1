/* SPDX-License-Identifier: Apache-2.0
 *
 * field_value.h - texts, numbers and times as they stand in header fields. Pure, no locale.
 */
#ifndef WEIR_FIELD_VALUE_H
#define WEIR_FIELD_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Bytes of somebody else's; no closing NUL. */
struct field_text {
	const char *at;
	size_t bytes;
};

#define FIELD_TEXT(literal) ((struct field_text){literal, sizeof(literal) - 1})

static inline char field_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static inline bool field_blank(char c)
{
	return c == ' ' || c == '\t';
}

static inline struct field_text field_trim(struct field_text text)
{
	while (text.bytes && field_blank(text.at[0])) {
		text.at++;
		text.bytes--;
	}
	while (text.bytes && field_blank(text.at[text.bytes - 1]))
		text.bytes--;
	return text;
}

/* Without the first bytes of it. */
static inline struct field_text field_from(struct field_text text, size_t bytes)
{
	return (struct field_text){text.at + bytes, text.bytes - bytes};
}

/* `lower` is in lower case, and has no more bytes than the text. */
static inline bool field_same(const char *at, const char *lower, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		if (at[i] != lower[i] && field_lower(at[i]) != lower[i])
			return false;
	return true;
}

static inline bool field_begins(struct field_text text, const char *lower)
{
	return text.bytes >= strlen(lower) && field_same(text.at, lower, strlen(lower));
}

static inline bool field_is(struct field_text text, const char *lower)
{
	return text.bytes == strlen(lower) && field_same(text.at, lower, text.bytes);
}

/* Where the character stands; text.bytes: nowhere. */
size_t field_find(struct field_text text, char c);

/* Up to the separator, trimmed; *text goes on behind it. Returns false at the end. */
bool field_part(struct field_text *text, char separator, struct field_text *part);

enum field_result {
	FIELD_FINE,
	FIELD_MALFORMED,
	FIELD_HUGE, /* well-formed, and more than a count or a time can mean */
};

/*
 * [-]DIGITS[.DIGITS]: no other sign, no exponent, no hexadecimal, no blanks. *out is written when
 * fine. FIELD_HUGE from FIELDS_COUNT_MAX on.
 */
enum field_result field_number(struct field_text text, double *out);

/* How a time is written. */
enum field_unit {
	FIELD_AUTO, /* by what it looks like, and by how large it is */
	FIELD_DELTA_S,
	FIELD_DELTA_MS,
	FIELD_DELTA_MIN,
	FIELD_EPOCH_S,
	FIELD_EPOCH_MS,
	FIELD_EPOCH_US,
	FIELD_DURATION, /* of Go; a bare number is seconds */
	FIELD_DATE,	/* of HTTP or RFC 3339 */
	FIELD_UNITS,
};

/*
 * Seconds from `now` (since 1970) until a time: below 0 where that is past, or where the number is
 * negative. FIELD_HUGE from FIELDS_NEVER_S on. A time since 1970 is malformed where now is NaN.
 */
enum field_result field_time(struct field_text text, enum field_unit unit, double now, double *out);

/* Retry-After: whole or decimal seconds, or a date of HTTP; a negative number is malformed. */
enum field_result field_wait(struct field_text text, double now, double *out);

#endif
