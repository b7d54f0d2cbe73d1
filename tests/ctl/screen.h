/* SPDX-License-Identifier: Apache-2.0
 *
 * screen.h - what a terminal of the kind of xterm shows after the bytes that a program wrote. A
 * strict one: a sequence that it does not know, and text beyond the last column, are remembered
 * as faults.
 */
#ifndef CTL_SCREEN_H
#define CTL_SCREEN_H

#include <stdbool.h>
#include <stddef.h>

#define SCREEN_WIDTH_MAX 300u
#define SCREEN_HEIGHT_MAX 100u
#define SCREEN_CELL_BYTES 16
#define SCREEN_ROW_BYTES (SCREEN_WIDTH_MAX * SCREEN_CELL_BYTES)

struct screen {
	unsigned width;
	unsigned height;
	unsigned x;
	unsigned y;
	bool full; /* the last column was written: the next character would wrap */
	/* "" is the right half of a wide character */
	char cells[SCREEN_HEIGHT_MAX][SCREEN_WIDTH_MAX][SCREEN_CELL_BYTES];
	bool alternate; /* the program's own screen */
	bool hidden;	/* the cursor */
	bool escaped;	/* there was an ESC */
	bool coloured;	/* there was a colour */
	bool eight_bit; /* there was a byte beyond ASCII */
	unsigned clears;
	char fault[128]; /* the first thing that should not be; "" */
	char pending[64];
	size_t pending_bytes;
};

void screen_begin(struct screen *screen, unsigned width, unsigned height);

/* The window has another size; what stood there is gone. */
void screen_resize(struct screen *screen, unsigned width, unsigned height);

void screen_write(struct screen *screen, const char *bytes, size_t count);

/* A line without the blanks at its end. Returns out. */
char *screen_row(const struct screen *screen, unsigned row, char out[SCREEN_ROW_BYTES]);

/* The first line that has the text in it, or -1. */
int screen_find(const struct screen *screen, const char *text);

#endif
