/* SPDX-License-Identifier: Apache-2.0 */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOG_LINE_BYTES 1024

static enum log_level log_most = LOG_INFO;
static bool log_journal;

static const char *const log_names[] = {"error", "warning", "info", "debug"};
static const unsigned log_priorities[] = {3, 4, 6, 7}; /* syslog(3) */

void log_open(enum log_level most, bool journal)
{
	log_most = most;
	log_journal = journal;
}

void log_set_level(enum log_level most)
{
	log_most = most;
}

/* snprintf's answer as the number of bytes that are there. */
static size_t log_fits(int wanted, size_t bytes)
{
	if (wanted < 0)
		return 0;
	return (size_t)wanted < bytes ? (size_t)wanted : bytes - 1;
}

static size_t log_prefix(char *out, size_t bytes, enum log_level level, bool journal,
			 long long wall_s, unsigned wall_ms)
{
	time_t at = (time_t)wall_s;
	struct tm parts;
	char date[32];

	if (journal)
		return log_fits(snprintf(out, bytes, "<%u>", log_priorities[level]), bytes);
	gmtime_r(&at, &parts);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &parts);
	return log_fits(
		snprintf(out, bytes, "%s.%03uZ weird %s: ", date, wall_ms, log_names[level]),
		bytes);
}

size_t log_render(char *out, size_t bytes, enum log_level level, bool journal, long long wall_s,
		  unsigned wall_ms, const char *text)
{
	size_t used = log_prefix(out, bytes - 1, level, journal, wall_s, wall_ms);

	for (; *text && used < bytes - 2; text++) {
		unsigned char byte = (unsigned char)*text;

		out[used++] = byte < 0x20 || byte == 0x7f ? '?' : *text;
	}
	out[used++] = '\n';
	out[used] = '\0';
	return used;
}

static void log_write(enum log_level level, const char *text)
{
	char line[LOG_LINE_BYTES + 64];
	struct timespec wall;
	size_t bytes;

	clock_gettime(CLOCK_REALTIME, &wall);
	bytes = log_render(line, sizeof(line), level, log_journal, wall.tv_sec,
			   (unsigned)(wall.tv_nsec / 1000000), text);
	/* a log that cannot be written to must not stop the daemon */
	if (write(STDERR_FILENO, line, bytes) < 0)
		return;
}

void log_line(enum log_level level, const char *format, ...)
{
	char text[LOG_LINE_BYTES];
	va_list arguments;

	if (level > log_most)
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	log_write(level, text);
}

void log_lines(enum log_level level, const char *text)
{
	while (*text) {
		size_t bytes = strcspn(text, "\n");

		if (bytes)
			log_line(level, "%.*s", (int)bytes, text);
		text += bytes + (text[bytes] == '\n');
	}
}
