/* SPDX-License-Identifier: Apache-2.0 */
#include "pen.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "text.h"

#define PRINT_BYTES 1024

void pen_begin(struct pen *pen, char *line, size_t bytes, size_t columns)
{
	*pen = (struct pen){.at = line, .end = line + bytes - 1, .left = columns};
	*line = '\0';
}

static bool put(struct pen *pen, const char *bytes, size_t count)
{
	if (count > (size_t)(pen->end - pen->at))
		return false;
	memcpy(pen->at, bytes, count);
	pen->at += count;
	*pen->at = '\0';
	return true;
}

void pen_style(struct pen *pen, enum style style)
{
	const char byte = (char)style;

	put(pen, &byte, 1);
}

void pen_text(struct pen *pen, const char *safe)
{
	while (*safe) {
		size_t columns;
		size_t bytes = text_step(safe, &columns);

		/* what follows a character that does not fit is not drawn in its place */
		if (columns > pen->left || !put(pen, safe, bytes)) {
			pen->left = columns > pen->left ? pen->left : 0;
			return;
		}
		pen->left -= columns;
		safe += bytes;
	}
}

void pen_blanks(struct pen *pen, size_t count)
{
	for (; count && pen->left && put(pen, " ", 1); count--)
		pen->left--;
}

void pen_field(struct pen *pen, const char *safe, size_t width, bool to_the_right)
{
	size_t columns = text_columns(safe);
	size_t after = pen->left > width ? pen->left - width : 0;

	if (to_the_right && columns < width)
		pen_blanks(pen, width - columns);
	pen->left -= after;
	pen_text(pen, safe);
	pen_blanks(pen, pen->left);
	pen->left = after;
}

void pen_print(struct pen *pen, const char *format, ...)
{
	char text[PRINT_BYTES];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	pen_text(pen, text);
}
