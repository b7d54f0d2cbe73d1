/* SPDX-License-Identifier: Apache-2.0
 *
 * config_reader.h - INI text, a line at a time, as its author wrote it: counted, trimmed, told
 * apart and checked before inih sees any of it. Pure.
 */
#ifndef WEIR_CONFIG_READER_H
#define WEIR_CONFIG_READER_H

#include <stdbool.h>
#include <stddef.h>

enum config_line_kind {
	CONFIG_LINE_EMPTY, /* or a comment */
	CONFIG_LINE_HEADER,
	CONFIG_LINE_SETTING,
	CONFIG_LINE_BAD_HEADER, /* what follows belongs to no section */
	CONFIG_LINE_BAD,
};

/* A line. The spans point into the text and are not terminated. */
struct config_line {
	enum config_line_kind kind;
	unsigned number;   /* from 1 */
	const char *fault; /* of a bad one: what would be right */
	const char *text;  /* without blanks at either end */
	size_t bytes;
	const char *word; /* header: "endpoint"; setting: the key */
	size_t word_bytes;
	const char *name; /* header: what follows the word */
	size_t name_bytes;
};

struct config_reader {
	const char *at;
	const char *end;
	unsigned line;
};

/* Starts at the text, behind a byte order mark if there is one. */
void config_reader_begin(struct config_reader *reader, const char *text, size_t bytes);

/* The next line; false at the end. */
bool config_reader_next(struct config_reader *reader, struct config_line *line);

#endif
