/* SPDX-License-Identifier: Apache-2.0
 *
 * terminal.h - the terminal that top draws on, through terminfo. The only file that knows of
 * modes, sequences and signals. One terminal a process.
 *
 * It is left as it was found, however the program ends: by terminal_close(), by a signal that
 * ends or stops it, by a fault of its own. SIGKILL alone leaves it as it is (`reset` helps).
 */
#ifndef WEIRCTL_TERMINAL_H
#define WEIRCTL_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame.h"

struct terminal {
	bool colour;
	struct canvas drawn; /* what stands there now */
	bool stale;	     /* nobody knows what stands there now */
};

/*
 * Takes over standard input and output. Returns NULL, or why they cannot be drawn on: then
 * nothing has changed. `colour`: if the terminal has any.
 */
const char *terminal_open(struct terminal *terminal, bool colour);
void terminal_close(struct terminal *terminal);

/* Its size now; 80 x 24 where it is unknown. */
void terminal_size(unsigned *width, unsigned *height);

/* Whether characters beyond ASCII can be shown: LC_CTYPE says so. */
bool terminal_is_utf8(void);

/* Draws what differs from what stands there. Returns false if it cannot be written. */
bool terminal_draw(struct terminal *terminal, const struct canvas *canvas);

enum terminal_event {
	TERMINAL_TIME,	  /* nothing happened for so long */
	TERMINAL_BYTES,	  /* some were typed */
	TERMINAL_CHANGED, /* another size, or it was left and taken over again: draw */
	TERMINAL_GONE,	  /* nobody will type any more */
};

#define TERMINAL_BYTES_MOST 64

/* Waits. Bytes that were typed are in `bytes`, *count of them. */
enum terminal_event terminal_wait(struct terminal *terminal, uint64_t for_ns,
				  unsigned char bytes[TERMINAL_BYTES_MOST], size_t *count);

#endif
