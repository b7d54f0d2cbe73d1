/* SPDX-License-Identifier: Apache-2.0
 *
 * columns.h - the table of endpoints on a screen of any width: which columns there is room for,
 * and a row of it. Pure.
 */
#ifndef WEIRCTL_COLUMNS_H
#define WEIRCTL_COLUMNS_H

#include <stdbool.h>
#include <stddef.h>

#include "facts.h"
#include "pen.h"

enum column {
	COLUMN_NAME,
	COLUMN_BAR, /* the level against the burst */
	COLUMN_LEVEL,
	COLUMN_LIMIT,
	COLUMN_GRANTED,	    /* tokens a second */
	COLUMN_HISTORY,	    /* of that */
	COLUMN_REFUSED,	    /* calls a second */
	COLUMN_WAITED,	    /* calls a second */
	COLUMN_WAIT,	    /* how long those did, on average */
	COLUMN_LINE,	    /* calls in line, about */
	COLUMN_PERMITS,	    /* held, and the limit */
	COLUMN_PERMIT_LINE, /* calls in line for one */
	COLUMN_STATE,
	COLUMN_CLOSINGS,
	COLUMNS_ALL,
};

struct columns {
	size_t widths[COLUMNS_ALL]; /* 0: left out */
};

/*
 * Fits the table into `width` columns of screen, the longest name having `name_width`. What is
 * too much is left out, the least needed first; what is left over goes to the names as far as
 * they need it, then to the history, then to the bar. `permits`: some endpoint has them.
 */
struct columns columns_fit(size_t width, size_t name_width, bool permits);

/* The line of titles. */
void columns_titles(const struct columns *columns, struct pen *pen);

/* The line of an entry. */
void columns_row(const struct columns *columns, const struct entry *entry, bool utf8,
		 struct pen *pen);

#define COLUMNS_STATE_BYTES 32
/* "closed 2m05s", "queue 3.2s", "stopped", "unlimited", "open". Returns out. */
const char *columns_state(const struct entry *entry, char out[COLUMNS_STATE_BYTES]);

#endif
