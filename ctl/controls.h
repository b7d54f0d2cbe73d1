/* SPDX-License-Identifier: Apache-2.0
 *
 * controls.h - what the keys do: bytes of a terminal to keys, keys to what is shown. Pure.
 */
#ifndef WEIRCTL_CONTROLS_H
#define WEIRCTL_CONTROLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "order.h"

#define CONTROLS_FILTER_BYTES 128
#define CONTROLS_EVERY_MIN_NS 50000000ull	     /* 50 ms */
#define CONTROLS_EVERY_MAX_NS (3600 * 1000000000ull) /* 1 h */

/* A key that is no byte. */
enum key {
	KEY_NONE = 0,
	KEY_ESCAPE = 0x1b,
	KEY_UP = 256,
	KEY_DOWN,
	KEY_PAGE_UP,
	KEY_PAGE_DOWN,
	KEY_HOME,
	KEY_END,
};

/* The beginning of a sequence of bytes that is one key. */
struct key_reader {
	unsigned char pending[8];
	size_t count;
};

/* Takes one byte; the key that ends with it, or KEY_NONE. Sequences that mean nothing here, too,
 * are read to their end and are KEY_NONE. */
int key_read(struct key_reader *reader, unsigned char byte);

/* No byte has followed for a while: the key that stands alone, or KEY_NONE. */
int key_flush(struct key_reader *reader);

struct controls {
	enum order_key order;
	bool reversed;
	bool paused;
	bool help;
	bool quit;
	bool redraw; /* everything, on a screen that somebody else has written to */
	bool typing; /* keys go into the filter */
	char filter[CONTROLS_FILTER_BYTES];
	char before[CONTROLS_FILTER_BYTES]; /* the filter before it was typed into */
	size_t top;			    /* the first row that is shown */
	size_t page;			    /* rows that there is room for */
	size_t rows;			    /* rows that there are */
	uint64_t every_ns;
};

/* What a key does. */
void controls_key(struct controls *controls, int key);

/* Says how many rows there are and have room; keeps `top` within. */
void controls_fit(struct controls *controls, size_t rows, size_t page);

#endif
