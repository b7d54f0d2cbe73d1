/* SPDX-License-Identifier: Apache-2.0
 *
 * field_profiles.h - which fields speak of limits, at which services, and how: one table, and the
 * meaning of a field's name by it. Pure.
 */
#ifndef WEIR_FIELD_PROFILES_H
#define WEIR_FIELD_PROFILES_H

#include <stdbool.h>
#include <stddef.h>

#include "field_value.h"
#include "fields.h"

/* What a field says, and so how its value is read. The first ones can be mapped in an INI file. */
enum field_meaning {
	FIELD_LIMIT,	   /* a count; or several, and windows: "100", "1, 2000", "10, 10;w=1" */
	FIELD_REMAINING,   /* likewise */
	FIELD_RESET,	   /* a time; or several */
	FIELD_USED,	   /* a count */
	FIELD_WINDOW,	   /* a length of time */
	FIELD_UTILIZATION, /* a fraction, "0.07" */
	FIELD_RATE,	   /* a second, "0.2" */
	FIELD_BURST,	   /* a count */
	FIELD_RETRY_AFTER, /* a wait */
	FIELD_RESOURCE,	   /* the name of the plain limit */
	FIELD_MAPPED,	   /* how many these are */
	FIELD_TWIN = FIELD_MAPPED, /* a time until the reset, whose unit is known: goes before it */
	FIELD_NEXT,		   /* a time that does not count once it is past */
	FIELD_POLICY,		   /* "1;w=1, 2000;w=2592000", and as FIELD_IETF_POLICY */
	FIELD_IETF_LIMIT,	   /* RateLimit */
	FIELD_IETF_POLICY,	   /* RateLimit-Policy */
	FIELD_USED_OF,		   /* "32/40" */
	FIELD_NAMED_USED_OF,	   /* "api-usage=10018/100000; api-bursts=1/750" */
	FIELD_NAMED_REMAINING,	   /* "Microsoft.Compute/HighCostGet3Min;159" */
	FIELD_TOTALS,		   /* "total=100; remaining=99; resets=41" */
	FIELD_PERCENTS,		   /* JSON with percentages */
	FIELD_SCOPE,		   /* "shared", "global" */
	FIELD_GLOBAL,		   /* "true" */
	FIELD_SHOULD_RETRY,	   /* "false" */
	FIELD_WORDS,		   /* the rest of the name says */
	FIELD_NOTHING,		   /* known, and without a number */
};

/* One row of the table. */
struct field_row {
	const char *field; /* lower case; NULL: behind the last row */
	size_t bytes;
	bool open; /* the name goes on behind that, by at least one character */
	enum field_meaning meaning;
	enum field_unit unit; /* of times */
	const char
		*limit;	 /* its name; NULL: the plain one; a `*` in it is the rest of the field's */
	double window_s; /* 0: not known by the name */
};

/* What a name means. */
struct field_name {
	enum field_meaning meaning;
	enum field_unit unit;
	double window_s; /* 0: the name does not say */
	/* The limit's name is prefix, rest and, where another goes by these, - and suffix. */
	bool listed;
	struct field_text prefix;
	struct field_text rest;
	struct field_text suffix;
	bool verbatim; /* the name is from a value, and keeps its case */
	bool copied;   /* by a proxy, from behind it: counts where nothing else was said */
};

struct fields_profile {
	const char *name;
	const char *title;
	const struct field_row
		*known;		     /* fields that mean the same at whatever service; NULL: none */
	const struct field_row *own; /* fields that other services use in another way */
};

/* Whether it speaks of limits. `profile` NULL: by any. */
bool field_name_read(const struct fields_profile *profile, struct field_text name,
		     struct field_name *out);

/* By a mapping of one's own; name in any case. */
bool field_name_mapped(const struct fields_mapping *mapping, struct field_text name,
		       struct field_name *out);

#endif
