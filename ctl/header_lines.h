/* SPDX-License-Identifier: Apache-2.0
 *
 * header_lines.h - the head of an HTTP response as text, into its status and its fields. Pure but
 * for memory.
 *
 *	HTTP/1.1 429 Too Many Requests
 *	Retry-After: 30
 *
 * Lines end with LF or CRLF. What begins with a blank goes on the line before. The head ends at an
 * empty line, or where the text does. Of heads that follow each other (of redirections, of a proxy,
 * "100 Continue") the last one counts, which is the answer.
 */
#ifndef WEIRCTL_HEADER_LINES_H
#define WEIRCTL_HEADER_LINES_H

#include <stdbool.h>
#include <stddef.h>

#include "fields.h"

struct header_lines {
	int status; /* of a status line; 0: there is none */
	struct fields_header *headers;
	size_t count;
	bool ended;	   /* by an empty line: what follows is no part of it */
	size_t stray;	   /* lines that are no field: no colon, or no name before it */
	size_t stray_line; /* the first of them, from 1 */
};

/*
 * Names and values point into the text, where line ends within a value become blanks. Returns 0 or
 * -ENOMEM. header_lines_free() afterwards.
 */
int header_lines_read(char *text, size_t bytes, struct header_lines *out);

void header_lines_free(struct header_lines *lines);

#endif
