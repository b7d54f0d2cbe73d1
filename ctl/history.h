/* SPDX-License-Identifier: Apache-2.0
 *
 * history.h - rates out of counts that only grow, and the last of them. Pure.
 */
#ifndef WEIRCTL_HISTORY_H
#define WEIRCTL_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#define HISTORY_CELLS 60
#define HISTORY_PATIENCE 3

/* Counts of a bucket since its segment was made. */
struct counts {
	long double tokens; /* granted */
	uint64_t granted;   /* calls, as are the next two */
	uint64_t refused;
	uint64_t waited;
	uint64_t waited_ns;
};

/* A second, of the last interval; NaN where nothing can be said. */
struct rates {
	double tokens;
	double granted;
	double refused;
	double waited;
	double wait_ns; /* how long a call that waited did so, on average */
};

struct history {
	struct counts last;
	struct rates rates;
	uint64_t pending_ns; /* since `last` was counted */
	unsigned below;	     /* steps in a row that counted less than `last` */
	unsigned next;
	unsigned used;
	float cells[HISTORY_CELLS]; /* granted tokens a second */
};

/* Begins with what was counted until now. */
void history_begin(struct history *history, const struct counts *counts);

/*
 * One interval more. Nothing happens while the clock stands (0 ns): what is counted belongs to
 * the interval that ends with its next move. Counts that have gone down are those of a segment
 * that replaced another and are still to be carried over: for HISTORY_PATIENCE steps the rates
 * are unknown; who counts less for longer has begun anew.
 */
void history_step(struct history *history, const struct counts *counts, uint64_t interval_ns);

/* The rate so many steps ago, 0 being the last; NaN before the first. */
double history_at(const struct history *history, unsigned back);

/* The highest of the last so many. */
double history_peak(const struct history *history, unsigned count);

#endif
