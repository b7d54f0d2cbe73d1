/* SPDX-License-Identifier: Apache-2.0
 *
 * log_source.h - the lines of a file, of standard input, of what gzip made of one. Of a fixed size,
 * however long a line is.
 */
#ifndef WEIRCTL_LOG_SOURCE_H
#define WEIRCTL_LOG_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_LINE_MAX 65536 /* bytes of a line, its end not counted */
#define LOG_SOURCE_BYTES (4 * LOG_LINE_MAX)

enum log_source_result {
	LOG_SOURCE_END,
	LOG_SOURCE_LINE,
	LOG_SOURCE_LONG, /* a line longer than LOG_LINE_MAX, which has been passed over */
};

struct log_source {
	const char *name;
	int fd;
	struct log_gzip *gzip; /* NULL: the bytes are the lines */
	char *buffer;	       /* LOG_SOURCE_BYTES, and one more */
	size_t from;	       /* what has not been read yet */
	size_t to;
	bool ended;
	uint64_t line;	/* of the last one, from 1 */
	uint64_t bytes; /* of all lines so far, their ends counted */
	char why[128];	/* it ended before its end; "": it did not */
};

/*
 * Opens a file, or with "-" takes standard input. Returns NULL, or why it cannot be read: a text
 * that is kept in the source.
 */
const char *log_source_open(struct log_source *source, const char *name);

/* The next line, without its end, and kept until the next call; line[bytes] is a newline. */
enum log_source_result log_source_line(struct log_source *source, const char **line, size_t *bytes);

void log_source_close(struct log_source *source);

#endif
