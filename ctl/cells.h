/* SPDX-License-Identifier: Apache-2.0
 *
 * cells.h - values in a few columns: what a table on a screen consists of. Pure.
 *
 * `utf8` says whether the terminal shows UTF-8; without it everything is ASCII.
 */
#ifndef WEIRCTL_CELLS_H
#define WEIRCTL_CELLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CELLS_VALUE 5 /* columns of a number or a duration, at most */
#define CELLS_BYTES 16

/* A level, never more than there is: "0", "71.23", "-2.27", "123.4", "12345", "1.23M". */
char *cells_level(double tokens, char out[CELLS_BYTES]);

/* So many a second, to the nearest; "<0.01" where that would be 0; "-" for NaN. */
char *cells_rate(double per_s, char out[CELLS_BYTES]);

/* Rounded up: "350us", "45ms", "3.2s", "2m05s", "59m", "1h02m", "3d04h"; "never". */
char *cells_duration(uint64_t ns, char out[CELLS_BYTES]);

/* A text of any bytes as the terminal can show it, safely. */
char *cells_text(char *out, size_t bytes, const char *in, bool utf8);

/* A safe text in at most `width` columns: its middle gives way, its ends stay. */
char *cells_shorten(char *out, size_t bytes, const char *safe, size_t width, bool utf8);

/* `width` columns, of which the share 0 to 1 is filled. `out`: 4 bytes a column and a NUL. */
char *cells_bar(char *out, double share, size_t width, bool utf8);

/* One column of a history: how high a rate is, `full` being the highest; a blank for NaN. */
const char *cells_spark(double rate, double full, bool utf8);

#endif
