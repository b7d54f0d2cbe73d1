/* SPDX-License-Identifier: Apache-2.0
 *
 * plot.h - what a simulation found as a picture: SVG or PNG, which gnuplot draws.
 */
#ifndef WEIRCTL_PLOT_H
#define WEIRCTL_PLOT_H

#include <stdbool.h>

#include "replay.h"
#include "sweep.h"

#define PLOT_WRONG_BYTES 256

/* Whether a file of that name can be drawn here; else why not. */
bool plot_possible(const char *path, char wrong[PLOT_WRONG_BYTES]);

/* Refused requests and keys that were hit by each limit of a sweep, in percent. */
bool plot_sweep(const char *path, const struct replay *replay, const struct sweep *sweep,
		char wrong[PLOT_WRONG_BYTES]);

/* What passed and what did not, over time. */
bool plot_time(const char *path, const struct replay *replay, char wrong[PLOT_WRONG_BYTES]);

#endif
