/* SPDX-License-Identifier: Apache-2.0 */
#include "header_lines.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "field_value.h"

#define HEADERS_AT_ONCE 64

/*
 * The line at `from`, without its end; *next is behind that. What goes on in the next lines is part
 * of it, the ends between them made blanks.
 */
static struct field_text take_line(char *text, size_t bytes, size_t from, bool folded, size_t *next)
{
	size_t at = from, end;

	for (;;) {
		char *found = memchr(text + at, '\n', bytes - at);

		end = found ? (size_t)(found - text) : bytes;
		*next = found ? end + 1 : bytes;
		if (!folded || end == from || *next >= bytes || !field_blank(text[*next]))
			break;
		text[end] = ' ';
		if (end > from && text[end - 1] == '\r')
			text[end - 1] = ' ';
		at = *next;
	}
	if (end > from && text[end - 1] == '\r')
		end--;
	return (struct field_text){text + from, end - from};
}

/* "HTTP/1.1 429 Too Many Requests", "HTTP/2 429": its code; 0: there is none. */
static int status_of(struct field_text line)
{
	size_t blank = field_find(line, ' ');
	double status;

	if (blank == line.bytes)
		return 0;
	line = field_trim(field_from(line, blank));
	line.bytes = field_find(line, ' ');
	if (line.bytes != 3 || field_number(line, &status) != FIELD_FINE || status < 100)
		return 0;
	return (int)status;
}

static bool add_header(struct header_lines *out, struct field_text line)
{
	size_t colon = field_find(line, ':');
	struct field_text name = field_trim((struct field_text){line.at, colon});
	struct field_text value = field_trim(field_from(line, colon + 1));

	if (out->count % HEADERS_AT_ONCE == 0) {
		struct fields_header *more = realloc(out->headers, (out->count + HEADERS_AT_ONCE) *
									   sizeof(*out->headers));

		if (!more)
			return false;
		out->headers = more;
	}
	out->headers[out->count++] =
		(struct fields_header){name.at, name.bytes, value.at, value.bytes};
	return true;
}

int header_lines_read(char *text, size_t bytes, struct header_lines *out)
{
	struct header_lines lines = {.status = 0};
	size_t next = 0, number = 0;

	while (next < bytes) {
		/* nothing goes on a status line */
		bool top = !number++ && field_begins((struct field_text){text, bytes}, "http/");
		struct field_text line = take_line(text, bytes, next, !top, &next);

		if (!line.bytes)
			break;
		if (top && (lines.status = status_of(line)))
			continue;
		if (field_find(line, ':') == line.bytes) {
			if (!lines.stray++)
				lines.stray_line = number;
		} else if (!add_header(&lines, line)) {
			header_lines_free(&lines);
			return -ENOMEM;
		}
	}
	*out = lines;
	return 0;
}

void header_lines_free(struct header_lines *lines)
{
	free(lines->headers);
	lines->headers = NULL;
	lines->count = 0;
}
