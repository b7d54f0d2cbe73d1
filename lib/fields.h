/* SPDX-License-Identifier: Apache-2.0
 *
 * fields.h - what the fields of an HTTP response say of the server's limits: header lines in,
 * numbers in seconds and counts out. Pure: no allocation, no clock, no global state; linear in the
 * bytes given, and bounded.
 *
 *	X-RateLimit-Limit: 5000			one limit: 5000, of which 4882 are left,
 *	X-RateLimit-Remaining: 4882		and 600 s until there are more
 *	X-RateLimit-Reset: 1788076235
 *
 * Which fields a service sends and in which units is a table of profiles (field_profiles.c);
 * without a profile the names are recognised and the units told from the values. What is malformed
 * is left out, and never becomes a number: every number below is finite, or NaN for "the response
 * does not say".
 */
#ifndef WEIR_FIELDS_H
#define WEIR_FIELDS_H

#include <stdbool.h>
#include <stddef.h>

enum {
	FIELDS_LIMITS_MAX = 16,	   /* limits of one response; more are left out */
	FIELDS_POLICIES_MAX = 8,   /* likewise, windows that stand beside a limit */
	FIELDS_NAME_BYTES = 64,	   /* texts with their closing NUL; longer ones are cut */
	FIELDS_MAPPINGS_MAX = 32,  /* own mappings of one endpoint */
	FIELDS_HEADERS_MAX = 1024, /* header lines that are looked at */
};

#define FIELDS_LONG_S 3600.0  /* longer waits are valid, and worth a second thought: FIELDS_CAP */
#define FIELDS_NEVER_S 1e10   /* what is meant for longer than 300 years stands as this */
#define FIELDS_COUNT_MAX 1e15 /* exact in a structured field and in a double; more is no count */

struct fields_header {
	const char *name; /* without the colon; any case; no closing NUL needed */
	size_t name_bytes;
	const char *value; /* spaces and tabs around it do not matter */
	size_t value_bytes;
};

struct fields_profile;

/* A mapping of one's own: which field has which meaning, and in which unit. */
struct fields_mapping {
	int meaning;			  /* of fields.c */
	int unit;			  /* likewise */
	char field[FIELDS_NAME_BYTES];	  /* lower case */
	char resource[FIELDS_NAME_BYTES]; /* "": the response's plain limit */
};

struct fields_response {
	int status; /* 200, 429; 0: not known */
	const struct fields_header *headers;
	size_t count;
	/*
	 * When it came, in seconds since 1970 by the caller's clock. A Date field that differs by
	 * more than a second is the better clock for times that the server names.
	 */
	double captured_at;
	const struct fields_profile *profile;  /* NULL: all are tried, and units told from values */
	const struct fields_mapping *mappings; /* these are looked at first */
	size_t mapping_count;
	double long_s; /* what FIELDS_CAP begins at; 0: FIELDS_LONG_S */
};

/* What to do. In the order of the words of fields_action_text(). */
enum fields_action {
	FIELDS_USE,    /* the numbers hold */
	FIELDS_IGNORE, /* nothing was said, or what was said is malformed: the rate stays */
	FIELDS_CAP,    /* valid, but more than may be believed: bound it before use */
	FIELDS_FLOOR,  /* a wait of 0, or a time that is past: a smallest pause, never none */
	FIELDS_UNLIMITED,
	FIELDS_DO_NOT_RETRY, /* no wait makes this request pass */
	FIELDS_IGNORE_RETRY_AFTER_ON_2XX,
};

/* For people, and for tests: why the action is what it is. */
#define FIELDS_CAUSES(X)                                                                           \
	X(SAID, "the fields say what is left")                                                     \
	X(RETRY_AFTER, "the server says how long to wait")                                         \
	X(NOTHING, "no field speaks of a limit")                                                   \
	X(CACHED, "the response comes from a cache (Age): what it says is of the past")            \
	X(MALFORMED, "a field is malformed and left out")                                          \
	X(UNKNOWN, "the server says that it does not know (-1)")                                   \
	X(NO_LIMIT, "the server says that nothing limits (-1)")                                    \
	X(LONG_WAIT, "the wait is longer than a limit should stay closed on a word")               \
	X(HUGE, "a number is too large to mean a count or a time")                                 \
	X(ABOVE_LIMIT, "more is left than the limit is")                                           \
	X(ABOVE_POLICY, "what is left until the reset is more than the policy's rate")             \
	X(NO_WAIT, "the wait is 0 or its end is past: pause a little, never retry at once")        \
	X(TOO_LARGE, "the request is larger than the limit: no wait helps")                        \
	X(PAYMENT, "payment is required: no wait helps")                                           \
	X(TOLD_NOT_TO, "the server says not to retry")                                             \
	X(NOT_REFUSED, "Retry-After on a response that was no refusal")

#define FIELDS_CAUSE_NAME(name, text) FIELDS_CAUSE_##name,
enum fields_cause { FIELDS_CAUSES(FIELDS_CAUSE_NAME) };
#undef FIELDS_CAUSE_NAME

/* One limit. NaN: the response does not say. */
struct fields_limit {
	/* One of several by name (true), or the response's plain limit, of which there is one. */
	bool listed;
	double limit;	    /* 0 and more */
	double remaining;   /* 0 to limit: what is outside was brought inside */
	double used;	    /* 0 and more */
	double reset_s;	    /* from the response on, 0 and more; FIELDS_NEVER_S at most */
	double window_s;    /* above 0 */
	double utilization; /* 1.0 is all of the limit; can be above */
	double rate_per_s;  /* of a token bucket */
	double burst;	    /* what that holds at most */
	char resource[FIELDS_NAME_BYTES]; /* "requests", "tokens", "core"; "": no name */
	char unit[FIELDS_NAME_BYTES];	  /* "content-bytes"; "": requests, or as the name says */
	char partition_key[FIELDS_NAME_BYTES]; /* "": none */
};

struct fields_policy {
	double quota;
	double window_s;
};

struct fields_verdict {
	enum fields_action action;
	enum fields_cause cause;
	double retry_after_s; /* before cap and floor; NaN: none; FIELDS_NEVER_S at most */
	size_t count;
	struct fields_limit limits[FIELDS_LIMITS_MAX]; /* the plain one first, then as they came */
	size_t policy_count;
	struct fields_policy policies[FIELDS_POLICIES_MAX]; /* windows beside the plain limit */
	bool everywhere; /* the refusal is of all endpoints of the server (Discord's global) */
	bool shared;	 /* others use it up too (Discord's shared) */
};

/*
 * Reads a response. *out is written entirely up to its counts. Returns out->action. May be called
 * from anywhere, a signal handler included.
 */
enum fields_action fields_read(const struct fields_response *response, struct fields_verdict *out);

const char *fields_action_text(enum fields_action action); /* "use", "do_not_retry" */
const char *fields_cause_text(enum fields_cause cause);	   /* "no field speaks of a limit" */

/* NULL: there is none of that name. */
const struct fields_profile *fields_profile_find(const char *name);

/* The profiles: those for all, then services by the alphabet; NULL at the end. */
const struct fields_profile *fields_profile_at(size_t index);
const char *fields_profile_name(const struct fields_profile *profile);	/* "github" */
const char *fields_profile_title(const struct fields_profile *profile); /* "GitHub" */

/*
 * A line of one's own, as in an INI file: key "field.MEANING" or "field.MEANING.RESOURCE", value
 * "NAME-OF-FIELD" or "NAME-OF-FIELD UNIT".
 *
 *	field.remaining = X-Foo-Left
 *	field.reset = X-Foo-Reset epoch_ms
 *	field.remaining.tokens = X-Foo-Tokens-Left
 *
 * Returns NULL, or a sentence that says what would be right; *out is written on success only.
 */
const char *fields_mapping_parse(const char *key, const char *value, struct fields_mapping *out);

#endif
