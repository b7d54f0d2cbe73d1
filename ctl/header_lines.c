/* SPDX-License-Identifier: Apache-2.0 */
#include "header_lines.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "field_value.h"

#define HEADERS_AT_ONCE 64

struct input {
	char *text;
	size_t bytes;
	size_t next;   /* where the next line begins */
	size_t number; /* of the line before, from 1 */
};

/*
 * The next line, without its end. What goes on in the lines behind it is part of it, where `folded`
 * is asked for: the ends between them are made blanks.
 */
static struct field_text take_line(struct input *input, bool folded)
{
	size_t from = input->next, end;
	char *text = input->text;

	for (;;) {
		char *found = memchr(text + input->next, '\n', input->bytes - input->next);

		end = found ? (size_t)(found - text) : input->bytes;
		input->next = found ? end + 1 : input->bytes;
		input->number++;
		if (!folded || end == from || input->next >= input->bytes ||
		    !field_blank(text[input->next]))
			break;
		text[end] = ' ';
		if (end > from && text[end - 1] == '\r')
			text[end - 1] = ' ';
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

/* Whether a head begins here with its status line. */
static bool head_follows(struct input input)
{
	struct field_text line = take_line(&input, false);

	return field_begins(line, "http/") && status_of(line);
}

static bool is_name(struct field_text text)
{
	for (size_t i = 0; i < text.bytes; i++)
		if (field_blank(text.at[i]))
			return false;
	return text.bytes;
}

/* "NAME: VALUE" */
static bool split_header(struct field_text line, struct fields_header *out)
{
	size_t colon = field_find(line, ':');
	struct field_text name = field_trim((struct field_text){line.at, colon});
	struct field_text value;

	if (colon == line.bytes || !is_name(name))
		return false;
	value = field_trim(field_from(line, colon + 1));
	*out = (struct fields_header){name.at, name.bytes, value.at, value.bytes};
	return true;
}

static bool add_header(struct header_lines *out, const struct fields_header *header)
{
	if (out->count % HEADERS_AT_ONCE == 0) {
		struct fields_header *more = realloc(out->headers, (out->count + HEADERS_AT_ONCE) *
									   sizeof(*out->headers));

		if (!more)
			return false;
		out->headers = more;
	}
	out->headers[out->count++] = *header;
	return true;
}

/* One head, in place of the one that is there. */
static int read_head(struct input *input, struct header_lines *out)
{
	out->count = out->stray = 0;
	out->status = head_follows(*input) ? status_of(take_line(input, false)) : 0;
	out->ended = false;
	while (input->next < input->bytes) {
		size_t number = input->number + 1;
		struct field_text line = take_line(input, true);
		struct fields_header header;

		if (!line.bytes) {
			out->ended = true;
			break;
		}
		if (!split_header(line, &header)) {
			if (!out->stray++)
				out->stray_line = number;
		} else if (!add_header(out, &header)) {
			return -ENOMEM;
		}
	}
	return 0;
}

int header_lines_read(char *text, size_t bytes, struct header_lines *out)
{
	struct input input = {.text = text, .bytes = bytes};
	struct header_lines lines = {.headers = NULL};
	int status;

	do
		status = read_head(&input, &lines);
	while (!status && head_follows(input));
	if (status)
		header_lines_free(&lines);
	else
		*out = lines;
	return status;
}

void header_lines_free(struct header_lines *lines)
{
	free(lines->headers);
	lines->headers = NULL;
	lines->count = 0;
}
