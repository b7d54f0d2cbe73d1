/* SPDX-License-Identifier: Apache-2.0
 *
 * breaker.h - a circuit breaker: a server that fails is left alone for a while. Pure: the time is
 * passed in, and whoever calls keeps others away meanwhile.
 *
 * Closed, it counts answers and failures of a window; when the share of failures reaches its
 * threshold, it opens. Open, nothing passes until its time is over; then one request does, the
 * probe, and decides: an answer closes it, a failure opens it for twice as long.
 */
#ifndef WEIR_HTTP_BREAKER_H
#define WEIR_HTTP_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

struct breaker_terms {
	uint32_t percent; /* of failures; above 100: never opens */
	uint32_t least;	  /* answers and failures before a share is one */
	uint64_t open_ns;
	uint64_t window_ns;
};

enum breaker_state {
	BREAKER_CLOSED = 0,
	BREAKER_OPEN = 1,
	BREAKER_PROBING = 2, /* one request is on its way */
};

struct breaker {
	enum breaker_state state;
	uint32_t good[2]; /* this half of the window, and the one before */
	uint32_t bad[2];
	uint32_t opened;   /* in a row */
	uint64_t half_ns;  /* when this half began */
	uint64_t until_ns; /* open */
};

/* What a request came to. */
enum breaker_news {
	BREAKER_GOOD,
	BREAKER_BAD,
	BREAKER_NOTHING, /* it says nothing of the server: it was not made, or not to the end */
};

/* Whether a request could pass now; if not, *wait_ns is until it might. */
bool breaker_look(const struct breaker *breaker, const struct breaker_terms *terms, uint64_t now_ns,
		  uint64_t *wait_ns);

/*
 * The same for a request that will be made at once, and of which breaker_tell() will be told;
 * *probe says whether it is the one that everything hangs on.
 */
bool breaker_pass(struct breaker *breaker, const struct breaker_terms *terms, uint64_t now_ns,
		  bool *probe, uint64_t *wait_ns);

void breaker_tell(struct breaker *breaker, const struct breaker_terms *terms, uint64_t now_ns,
		  bool probe, enum breaker_news news);

#endif
