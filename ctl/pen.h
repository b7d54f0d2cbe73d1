/* SPDX-License-Identifier: Apache-2.0
 *
 * pen.h - writes one line of a screen: never more than its columns, whatever the texts are.
 *
 * A style is a byte below 0x20 within the line. No safe text (text.h) has one, so a line is a
 * plain string that tests can read and that a terminal turns into what it understands. Pure.
 */
#ifndef WEIRCTL_PEN_H
#define WEIRCTL_PEN_H

#include <stdbool.h>
#include <stddef.h>

enum style {
	STYLE_PLAIN = 1,
	STYLE_TITLE,  /* stands out as a bar */
	STYLE_STRONG, /* stands out */
	STYLE_GOOD,
	STYLE_WARN,
	STYLE_BAD, /* stands out without colour, too */
	STYLE_TREND,
	STYLE_END,
};

/* Room of a line: four bytes a character, styles, and characters that take no column. */
#define PEN_BYTES(columns) (4 * (size_t)(columns) + 512)

struct pen {
	char *at;
	char *end;   /* the last byte, for the closing NUL */
	size_t left; /* columns */
};

void pen_begin(struct pen *pen, char *line, size_t bytes, size_t columns);
void pen_style(struct pen *pen, enum style style);

/* Writes a safe text as far as it fits. */
void pen_text(struct pen *pen, const char *safe);

/* Writes that many blanks, or what fits. */
void pen_blanks(struct pen *pen, size_t count);

/* Writes a text and blanks, or blanks and the text: together exactly `width` columns. */
void pen_field(struct pen *pen, const char *safe, size_t width, bool to_the_right);

__attribute__((format(printf, 2, 3))) void pen_print(struct pen *pen, const char *format, ...);

#endif
