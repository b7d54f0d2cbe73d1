/* SPDX-License-Identifier: Apache-2.0
 *
 * watch.h - whether the segment's clock still tells the time: drift and suspend. Pure.
 *
 * The segment's clock counts nanoseconds from an origin of its own, so only spans are compared:
 * what it advanced by against what CLOCK_MONOTONIC did. The rate of ticks is estimated over the
 * longest span there is; a clock that was merely set wrong by a calibration of some milliseconds
 * becomes exact, and is never put back. A suspend shows as CLOCK_BOOTTIME running ahead.
 */
#ifndef WEIRD_WATCH_H
#define WEIRD_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#define WATCH_DRIFT_NS 1000000	    /* a disagreement that calls for a new calibration */
#define WATCH_ALIGN_NS 1000000	    /* windows by the calendar that far off are laid out anew */
#define WATCH_ALIGN_SAY_MS 1000	    /* and that far off it is worth a line of the log */
#define WATCH_SUSPEND_NS 1000000000 /* boot time ahead by that much: the machine slept */

/* One look at all clocks, at the same moment. */
struct watch_sample {
	uint64_t ticks;
	uint64_t clock_ns;     /* the segment's clock at these ticks */
	uint64_t monotonic_ns; /* stands still while the machine sleeps */
	uint64_t boottime_ns;  /* does not */
};

struct watch {
	struct watch_sample span;   /* where the span begins that ticks are counted over */
	struct watch_sample origin; /* the disagreement counts from here */
	struct watch_sample last;
	bool begun;
};

struct watch_verdict {
	bool rebase;
	uint64_t hz;	   /* ticks per second */
	uint64_t slept_ns; /* of a suspend, what the segment's clock has missed */
	int64_t drift_ns;  /* how far the clock ran ahead (below 0: behind) */
	bool suspended;
};

/*
 * One look; `hz` is the calibration in force. After a verdict that says `rebase` the caller
 * publishes it and passes a fresh sample to watch_rebased().
 */
void watch_step(struct watch *watch, const struct watch_sample *now, uint64_t hz,
		struct watch_verdict *out);
void watch_rebased(struct watch *watch, const struct watch_sample *now, bool suspended);

#endif
