/* SPDX-License-Identifier: Apache-2.0
 *
 * request.h - what a struct weir_uv_request holds: a wait of the caller's, for tokens (request.c),
 * for a permit, or for both (entry.c).
 */
#ifndef WEIR_UV_REQUEST_H
#define WEIR_UV_REQUEST_H

#include "waits.h"

struct request;

/* What it waits for. */
struct request_kind {
	/* Looks. Refused with WEIR_REASON_TURN: under way, to be looked at after look_ns. */
	enum weir_verdict (*poll)(struct request *request);
	/* Gives back what it has, if anything. */
	void (*leave)(struct request *request);
};

struct request {
	void *data;
	uint64_t live;
	struct weir_uv *uv;
	struct weir_endpoint *endpoint;
	weir_uv_done *done;
	struct wait wait;
	const struct request_kind *kind;
	struct weir_turn turn;
	struct weir_answer answer;
	uint64_t look_ns;
	uint64_t wait_ns; /* until its turn; WEIR_NEVER: nobody knows */
	enum weir_verdict verdict;
	bool decided; /* verdict and answer are what the callback is told */

	/* of an entry */
	struct weir_permit *permit; /* the caller's */
	struct weir_waiter waiter;
	struct request *line_next; /* in line for a permit: those who came later to this loop */
	struct request *line_previous;
	double cost;	  /* 0: a permit alone */
	uint64_t from_ns; /* when it began, by the segment's clock */
	uint64_t timeout_ns;
	uint8_t state; /* enum entry_state */
	bool leads;    /* the first of this loop in its endpoint's line */
};

_Static_assert(sizeof(struct request) <= sizeof(struct weir_uv_request), "a request fits");
_Static_assert(offsetof(struct request, data) == offsetof(struct weir_uv_request, data),
	       "data is the caller's");

/* Begins one in the caller's memory. NULL: the loop's handles are closing. */
struct request *request_begin(struct weir_uv *uv, struct weir_uv_request *to,
			      struct weir_endpoint *endpoint, weir_uv_done *done,
			      const struct request_kind *kind);

/* Takes up a verdict: the callback comes with the loop's next turn, or the wait goes on. */
void request_go_on(struct request *request, enum weir_verdict verdict);

/* Has it looked at with the loop's next turn. */
void request_hurry(struct request *request);

#endif
