/* SPDX-License-Identifier: Apache-2.0
 *
 * access_log.h - a line of an access log: when, whose, how much. Pure; allocates nothing.
 *
 * A line that begins with { is a JSON object, any other one is text: columns with blanks between
 * them, of which "..." and [...] are one each. A field is a number, which counts columns from 1;
 * or a name. In a JSON object that is the path of a member, with a dot between the names of
 * members that lie in one another. In text it is one of LOG_COLUMNS, of the common and the combined
 * format.
 */
#ifndef WEIRCTL_ACCESS_LOG_H
#define WEIRCTL_ACCESS_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "log_time.h"

#define LOG_COLUMNS "address ident user time request method path status bytes referer agent"
#define LOG_PATH_PARTS 8
#define LOG_COLUMNS_MAX 1000

/* X(name, word for programs, what such lines are) */
#define LOG_SKIPS(X)                                                                               \
	X(EMPTY, "empty", "empty")                                                                 \
	X(LONG, "long", "longer than 64 KiB")                                                      \
	X(NUL, "nul", "NUL bytes")                                                                 \
	X(FORM, "form", "not of a form that is known")                                             \
	X(TIME, "time", "without a time that can be read")                                         \
	X(KEY, "key", "without the key")                                                           \
	X(COST, "cost", "without a cost that can be read")                                         \
	X(LATE, "late", "later than --slack allows")                                               \
	X(AHEAD, "ahead", "ahead of the lines around them by more than --slack")

/* Why a line is not counted. */
enum log_skip {
	LOG_TAKEN = 0,
#define LOG_SKIP_NAME(name, word, text) LOG_SKIP_##name,
	LOG_SKIPS(LOG_SKIP_NAME)
#undef LOG_SKIP_NAME
		LOG_SKIP_COUNT,
};

/* Where in a line something is. */
struct log_field {
	const char *name;	     /* as it was given; NULL: not at all */
	unsigned column;	     /* it is a number: that of a column */
	int named;		     /* of LOG_COLUMNS, from 0; -1: not one of them */
	unsigned parts;		     /* of the path */
	size_t ends[LOG_PATH_PARTS]; /* where in the name they end */
};

/* How the lines of a log are read. */
struct log_format {
	struct log_field key;
	struct log_field time;
	struct log_field cost;
	struct log_field json_key; /* the same in JSON; by default found out */
	struct log_field json_time;
	struct log_clock clock;
};

/* A line that was taken. The key lies in the line. */
struct log_entry {
	struct log_time time;
	const char *key;
	size_t key_bytes; /* 1 or more */
	uint64_t cost_micro;
};

/*
 * Fields as a user gave them, or NULL: the address, the time of the format, and a token a line.
 * Returns NULL or a sentence that says what would be right.
 */
const char *log_format_begin(struct log_format *format, const char *key, const char *time,
			     const char *cost);

/*
 * Reads a line of `bytes` bytes, without its end; line[bytes] can be read, and is a newline.
 * Written only if it is LOG_TAKEN.
 */
enum log_skip log_read(struct log_format *format, const char *line, size_t bytes,
		       struct log_entry *out);

/* A field as it was given. Returns NULL or a sentence. */
const char *log_field_begin(struct log_field *field, const char *name);

/* The quote that ends a text in which \ escapes; NULL: there is none before `end`. */
const char *log_closing_quote(const char *at, const char *end);

/* "late" and "later than --slack allows". */
const char *log_skip_word(enum log_skip skip);
const char *log_skip_text(enum log_skip skip);

#endif
