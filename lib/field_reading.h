/* SPDX-License-Identifier: Apache-2.0
 *
 * field_reading.h - what was gathered of a response so far. Inside fields.c, field_ietf.c and
 * field_limits.c.
 */
#ifndef WEIR_FIELD_READING_H
#define WEIR_FIELD_READING_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>

#include "field_profiles.h"
#include "field_value.h"
#include "fields.h"
#include "structured_field.h"

enum {
	READING_LINES = 16, /* of one field of the IETF's; with more it is malformed */
	READING_VALUES = 8, /* in one field of a list; more are left out */
};

/* "10, 10;w=1, 50;w=60": values, and the windows that stand with some of them. */
struct reading_list {
	size_t count;
	double values[READING_VALUES];
	size_t policy_count;
	struct fields_policy policies[READING_VALUES];
	bool windowed; /* the first value has a window of its own */
};

/* What is known of a limit beside its numbers. */
struct reading_slot {
	struct field_text prefix, rest, suffix; /* of its name */
	bool firm;				/* its reset has a unit by its name: a twin */
	bool negative;				/* its reset is a negative number */
	bool bad_limit;				/* its limit is malformed */
	bool bad_other;				/* what stands beside it is malformed */
	bool verbatim;				/* its name keeps its case */
};

struct reading_lines {
	struct sf_line lines[READING_LINES];
	size_t count;
	bool many;
};

struct reading {
	const struct fields_response *response;
	struct fields_verdict *out;
	double now;	   /* NaN: not known */
	double wait_s;	   /* NaN: none */
	bool wait_is_fine; /* from a field in milliseconds: goes before one in seconds */
	bool old;	   /* from a cache */
	bool forbidden;	   /* to retry */
	bool filling;	   /* reading copies, which count where nothing else was said */
	bool totals;	   /* Zendesk's: the plain limit is the account's */

	/* what was met, for the verdict */
	bool malformed, bad_wait, huge, unknown, unlimited, above_limit, above_policy, no_wait;
	bool whole; /* a limit that a rate follows from, whatever is wrong with others */

	/* large, and set up by reading_begin() as far as need be */
	struct reading_slot slots[FIELDS_LIMITS_MAX]; /* beside out->limits; [0]: the plain limit */
	struct reading_list plain[FIELD_RESET + 1];   /* its limit, remaining, reset */
	struct reading_lines ietf_limit, ietf_policy;
};

/* How a number meets one that is there already. */
enum meeting { KEEP_SMALLER, KEEP_LARGER, KEEP_FIRST };

/* Stores a number, if it is one and counts. */
static inline void reading_put(const struct reading *reading, double *number, double value,
			       enum meeting meeting)
{
	bool counts = !reading->filling && meeting != KEEP_FIRST &&
		      (meeting == KEEP_SMALLER ? value < *number : value > *number);

	if (isnan(*number) || counts)
		*number = value;
}

/* Takes the result of reading a number: false where it is none, which is noted. */
bool reading_takes(struct reading *reading, enum field_result result);

/* The limit of that name, added if need be; NULL: there is no room. */
struct fields_limit *reading_limit(struct reading *reading, const struct field_name *name);

/* The limit of that name, word for word, which is there once only; NULL: there is no room. */
struct fields_limit *reading_add(struct reading *reading, const char *name);

struct reading_slot *reading_slot(struct reading *reading, const struct fields_limit *limit);

/* A reset, in seconds; `firm`: from a field whose unit is known by its name. */
void reading_reset(struct reading *reading, struct fields_limit *limit, double seconds, bool firm);

/* Of a list that is one limit's, the strictest value: as of lines that disagree. */
void reading_values(struct reading *reading, struct fields_limit *limit, enum field_meaning meaning,
		    const struct reading_list *list);

void reading_policy(struct reading *reading, double quota, double window_s);

/* Prints bytes into a text of the verdict: control characters are left out, and what is too long.
 */
void reading_name(char out[FIELDS_NAME_BYTES], struct field_text text);

/* RateLimit and RateLimit-Policy, once all their lines are there. */
void reading_ietf(struct reading *reading);

/* Begins with nothing but an empty plain limit. */
void reading_begin(struct reading *reading, const struct fields_response *response,
		   struct fields_verdict *out);

/* Brings the plain limit's lists and all numbers into order, and drops limits that say nothing. */
void reading_settle(struct reading *reading);

#endif
