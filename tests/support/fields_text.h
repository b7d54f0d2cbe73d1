/* SPDX-License-Identifier: Apache-2.0
 *
 * fields_text.h - header lines as one text, and a verdict as one line, for tests of lib/fields.
 * Behind cmocka.h.
 */
#ifndef FIELDS_TEXT_H
#define FIELDS_TEXT_H

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "fields.h"

enum { FIELDS_TEXT_HEADERS = 64, FIELDS_TEXT_BYTES = 4096 };

/* "NAME: VALUE\nNAME: VALUE"; NUL bytes stand for themselves. Returns how many there are. */
static inline size_t fields_text_split(const char *text, size_t bytes,
				       struct fields_header headers[FIELDS_TEXT_HEADERS])
{
	size_t count = 0;

	for (const char *at = text, *end = text + bytes, *next; at < end && count < 64; at = next) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		const char *stop = newline ? newline : end;
		const char *colon = memchr(at, ':', (size_t)(stop - at));

		next = newline ? newline + 1 : end;
		if (!colon)
			continue;
		headers[count++] = (struct fields_header){at, (size_t)(colon - at), colon + 1,
							  (size_t)(stop - colon - 1)};
	}
	return count;
}

struct fields_line {
	char text[FIELDS_TEXT_BYTES];
	size_t used;
};

__attribute__((format(printf, 2, 3))) static inline void fields_line_add(struct fields_line *line,
									 const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	line->used += (size_t)vsnprintf(line->text + line->used, sizeof(line->text) - line->used,
					format, arguments);
	va_end(arguments);
	if (line->used >= sizeof(line->text))
		line->used = sizeof(line->text) - 1;
}

/* Microseconds are what a time keeps beside the seconds since 1970. */
static inline void fields_line_number(struct fields_line *line, const char *name, double value)
{
	if (!isnan(value))
		fields_line_add(line, " %s %.15g", name, round(value * 1e6) / 1e6);
}

static inline void fields_line_limit(struct fields_line *line, const struct fields_limit *limit)
{
	fields_line_add(line, "%s%s%s", limit->listed ? "; " : ";",
			limit->listed ? limit->resource : "", limit->listed ? ":" : "");
	fields_line_number(line, "limit", limit->limit);
	fields_line_number(line, "left", limit->remaining);
	fields_line_number(line, "used", limit->used);
	fields_line_number(line, "share", limit->utilization);
	fields_line_number(line, "rate", limit->rate_per_s);
	fields_line_number(line, "burst", limit->burst);
	fields_line_number(line, "window", limit->window_s);
	fields_line_number(line, "reset", limit->reset_s);
	if (!limit->listed && limit->resource[0])
		fields_line_add(line, " of %s", limit->resource);
	if (limit->unit[0])
		fields_line_add(line, " in %s", limit->unit);
	if (limit->partition_key[0])
		fields_line_add(line, " key %s", limit->partition_key);
}

/*
 * "use wait 30; limit 100 left 80 reset 30 of core; requests: left 3; policy 10 in 1". The plain
 * limit has no name before its colon.
 */
static inline const char *fields_line_of(const struct fields_verdict *verdict,
					 struct fields_line *line)
{
	line->used = 0;
	fields_line_add(line, "%s", fields_action_text(verdict->action));
	fields_line_number(line, "wait", verdict->retry_after_s);
	if (verdict->everywhere)
		fields_line_add(line, " everywhere");
	if (verdict->shared)
		fields_line_add(line, " shared");
	for (size_t i = 0; i < verdict->count; i++)
		fields_line_limit(line, &verdict->limits[i]);
	for (size_t i = 0; i < verdict->policy_count; i++)
		fields_line_add(line, "; policy %.15g in %.15g", verdict->policies[i].quota,
				verdict->policies[i].window_s);
	return line->text;
}

/* What the header lines come to, in a text that stands until the next call. */
static inline const char *fields_text_read(const char *headers, size_t bytes, int status,
					   double captured_at, const char *profile)
{
	static struct fields_line line;
	static struct fields_verdict verdict;
	struct fields_header list[FIELDS_TEXT_HEADERS];
	struct fields_response response = {
		.status = status,
		.headers = list,
		.count = fields_text_split(headers, bytes, list),
		.captured_at = captured_at,
		.profile = profile ? fields_profile_find(profile) : NULL,
	};
	enum fields_action action;

	assert_true(!profile || response.profile);
	memset(&verdict, 0x5a, sizeof(verdict));
	action = fields_read(&response, &verdict);
	assert_int_equal(action, verdict.action);
	return fields_line_of(&verdict, &line);
}

/* Whether they come to what they should; else says what they come to. */
static inline bool fields_text_check(const char *name, const char *headers, int status,
				     double captured_at, const char *profile, const char *verdict)
{
	const char *is = fields_text_read(headers, strlen(headers), status, captured_at, profile);

	if (!strcmp(is, verdict))
		return true;
	print_error("%s\n  is   %s\n  want %s\n", name, is, verdict);
	return false;
}

#endif
