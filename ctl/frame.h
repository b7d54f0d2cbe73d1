/* SPDX-License-Identifier: Apache-2.0
 *
 * frame.h - one whole screen of top, as lines of text. Pure: what a terminal makes of it is
 * terminal.h's.
 */
#ifndef WEIRCTL_FRAME_H
#define WEIRCTL_FRAME_H

#include <stdbool.h>
#include <stddef.h>

#include "controls.h"
#include "facts.h"
#include "pen.h"

#define CANVAS_MOST 1000 /* columns and lines that are drawn on */

/* Lines as pen.h writes them. */
struct canvas {
	unsigned width;
	unsigned height;
	size_t stride; /* bytes of a line */
	char *text;
};

/* Gives the canvas that size, empty. Returns false if memory ran out: it has its old one. */
bool canvas_resize(struct canvas *canvas, unsigned width, unsigned height);
void canvas_free(struct canvas *canvas);

static inline char *canvas_line(const struct canvas *canvas, unsigned line)
{
	return canvas->text + line * canvas->stride;
}

/* What is to be drawn. */
struct picture {
	const struct standing *standing;
	const struct entry **shown; /* selected and in order */
	size_t count;
	size_t endpoints; /* that there are, shown or not */
	size_t name_width;
	bool permits; /* something that is shown has them */
	bool utf8;
};

/* Draws it, and tells the controls how many rows there is room for. */
void frame_draw(struct canvas *canvas, const struct picture *picture, struct controls *controls);

#endif
