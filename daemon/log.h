/* SPDX-License-Identifier: Apache-2.0
 *
 * log.h - leveled lines to standard error, one write each.
 *
 * Under systemd (JOURNAL_STREAM or INVOCATION_ID is set) a line begins with the level as the
 * journal reads it, "<6>"; elsewhere with the time and the level's name. Control bytes in what is
 * logged come out as '?': a line is a line, whatever a name or a program calls itself.
 */
#ifndef WEIRD_LOG_H
#define WEIRD_LOG_H

#include <stdbool.h>
#include <stddef.h>

enum log_level {
	LOG_ERROR,
	LOG_WARNING,
	LOG_INFO,
	LOG_DEBUG,
};

/* Lines above `most` are left out. */
void log_open(enum log_level most, bool journal);
void log_set_level(enum log_level most);

void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Every line of a text as a line of its own. */
void log_lines(enum log_level level, const char *text);

/* The line as it would be written, its newline included; returns its length. Pure. */
size_t log_render(char *out, size_t bytes, enum log_level level, bool journal, long long wall_s,
		  unsigned wall_ms, const char *text);

#endif
