/* SPDX-License-Identifier: Apache-2.0
 *
 * lineup.h - puts requests in the order of their times, some seconds back, and tells apart when
 * those of one second came.
 *
 * A server writes a line when a request is over, in blocks of several processes, so that lines
 * are a little out of order. Requests of the last seconds (the slack) are held back, by second;
 * what is later than that is not taken. Most logs have whole seconds. All requests of one second
 * at its beginning would be a burst that never was, so they are spread evenly over the second, in
 * the order of their lines.
 *
 * What is held takes 64 MiB at most; beyond that the oldest second is passed on early.
 */
#ifndef WEIRCTL_LINEUP_H
#define WEIRCTL_LINEUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arrival.h"

#define LINEUP_SLACK_MAX_S 3600

/* A request and when it comes; those of one second follow one another. */
struct due {
	uint64_t time_ns;
	const struct arrival *arrival;
	size_t order; /* of those that come at the same time */
};

typedef void lineup_take(void *context, const struct due *due, size_t count);

struct lineup {
	lineup_take
		*take; /* where they go, a second at a time, none of them before an earlier one */
	void *context;
	uint32_t slack_s;
	bool at_once; /* requests of one second are at its beginning */
	struct lineup_slot *slots;
	uint64_t base_s; /* the first second that has not been passed on */
	bool begun;
	struct lineup_chunk *spare;
	size_t chunks; /* in use */
	struct due *due;
	size_t due_room;
};

/* `take`, `context`, `slack_s` and `at_once` are set. Returns 0 or -ENOMEM. */
int lineup_begin(struct lineup *lineup);

/* Returns 1; 0: it is too late; or -ENOMEM. The request is copied. */
int lineup_add(struct lineup *lineup, const struct arrival *arrival);

/* Passes on what is held. Returns 0 or -ENOMEM. */
int lineup_end(struct lineup *lineup);

void lineup_free(struct lineup *lineup);

#endif
