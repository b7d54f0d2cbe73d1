/* SPDX-License-Identifier: Apache-2.0
 *
 * gradient.h - how many calls may be in flight at once, found from how long they take. Pure.
 *
 * While an upstream has room, more calls at once take no longer; once it has none, they queue there
 * and each takes as much longer as there are too many. So the ratio of the time that a call takes
 * without a queue (the base) to what it takes now says by how much there are too many. After
 * "gradient" in Netflix's concurrency-limits; what differs is said at gradient_take().
 */
#ifndef WEIRD_GRADIENT_H
#define WEIRD_GRADIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "layout.h"

/* Percent by which calls may take longer than the base before there are too many. */
#define GRADIENT_TOLERANCE 25
/* Percent of a window's calls that may fail before there are too many. */
#define GRADIENT_FAILURES 10
/* Calls in a window, at least. */
#define GRADIENT_WINDOW 16
/* Windows with the limit in use after which the base is measured anew. */
#define GRADIENT_PROBE 32

struct gradient_settings {
	uint32_t min; /* calls in flight, 1 or more */
	uint32_t max; /* at least min */
};

/* Calls that have ended, all of which began under the limit in force. */
struct gradient_slice {
	uint32_t calls;
	uint32_t failed; /* of them: refused for load, timed out, 5xx; their time does not count */
	double sum_ns;	 /* of how long the others took */
	uint32_t in_flight; /* calls at once, as many as were ever seen meanwhile */
};

/* Of one endpoint; written by gradient_*() alone. */
struct gradient {
	struct gradient_settings settings;
	double limit;
	double base_ns;	      /* 0: not known yet */
	double low_ns;	      /* of the last window, if it was well below the base; 0: it was not */
	double before_probe;  /* the limit to go back to; 0: no probe is under way */
	double probed;	      /* the limit at the last probe */
	uint32_t until_probe; /* windows */
	uint64_t calls;	      /* of the window, failed ones included */
	uint64_t failed;
	uint32_t most; /* in flight at once */
	double sum_ns; /* of those that did not fail */
};

struct gradient_decision {
	uint32_t limit;
	enum found_cause cause;
	double latency_ns; /* what the window's calls took in the mean; 0: none succeeded */
	double base_ns;
};

/*
 * Begins at `limit`, brought between min and max. Settings out of order are put right: 1 <= min <=
 * max. base_ns: what is known from before; 0: nothing.
 */
void gradient_begin(struct gradient *gradient, const struct gradient_settings *settings,
		    uint32_t limit, double base_ns);

/*
 * Takes calls in. true: they ended a window that changes the limit, and *out is to be put in force;
 * calls that began before it is are left out from then on, so that each window is of one limit, and
 * none is judged by the queue of the one before. O(1), allocates nothing.
 *
 * - The limit rises only while it is in use: from calls that leave it half empty nothing is
 *   learned.
 * - The base is the mean of a window, measured anew at half of the limit every GRADIENT_PROBE
 *   windows, and when the limit has fallen a good deal: an upstream can become slower (then every
 *   call seems to queue, for ever) as well as faster. A base that followed the present latency
 *   would grow with the queue; the least mean that was ever seen would be luck's, where calls
 *   differ, and hold everybody to it. So two windows in a row must be well below it.
 */
bool gradient_take(struct gradient *gradient, const struct gradient_slice *slice,
		   struct gradient_decision *out);

#endif
