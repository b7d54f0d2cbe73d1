/* SPDX-License-Identifier: Apache-2.0
 *
 * config_report.c - the list of faults, in the caller's buffer.
 */
#include "config_parser.h"

#include <stdarg.h>
#include <stdio.h>

static void append(struct config_faults *faults, const char *line, size_t bytes)
{
	if (!faults->text || bytes >= faults->bytes || faults->used >= faults->bytes - bytes)
		return;
	for (size_t i = 0; i < bytes; i++) {
		unsigned char c = (unsigned char)line[i];

		faults->text[faults->used++] = (char)(c < ' ' || c == 0x7f ? '?' : c);
	}
	faults->text[faults->used - 1] = '\n';
	faults->text[faults->used] = '\0';
}

void config_report(struct config_report *report, unsigned line, const char *format, ...)
{
	char message[1024];
	char whole[sizeof(message) + 512];
	va_list arguments;
	int bytes;

	report->faults->count++;
	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	bytes = snprintf(whole, sizeof(whole), "%.400s:%u: %s\n", report->file, line, message);
	if (bytes > 0)
		append(report->faults, whole, (size_t)bytes);
}

void config_begin_faults(struct config_faults *faults)
{
	faults->used = 0;
	faults->count = 0;
	if (faults->text && faults->bytes > 0)
		faults->text[0] = '\0';
}
