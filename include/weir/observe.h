/* SPDX-License-Identifier: Apache-2.0
 *
 * weir/observe.h - what an upstream's responses say of its limits. Part of weir.h, which includes
 * it.
 *
 *	const struct weir_header headers[] = {
 *		{"Retry-After", "30", WEIR_TEXT, WEIR_TEXT},
 *	};
 *
 *	weir_observe(api, 429, headers, 1, latency_ns, NULL);
 */
#ifndef WEIR_OBSERVE_H
#define WEIR_OBSERVE_H

#include "../weir.h"

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* In place of a length: the string ends with its NUL. */
#define WEIR_TEXT SIZE_MAX

/* So many fields and bytes of a response are read; the rest is left alone. */
#define WEIR_HEADERS_MAX 256
#define WEIR_HEADERS_BYTES_MAX 65536

/* A field of a response, as it came: order, repetitions and bytes. */
struct weir_header {
	const char *name;
	const char *value;
	size_t name_bytes; /* or WEIR_TEXT */
	size_t value_bytes;
};

/* What is to be made of a response. */
enum weir_action {
	WEIR_ACTION_IGNORE = 0,	      /* it says nothing of a limit, or what cannot be believed */
	WEIR_ACTION_USE = 1,	      /* it says what holds */
	WEIR_ACTION_CAP = 2,	      /* it does, but too much: it is bounded */
	WEIR_ACTION_FLOOR = 3,	      /* a wait of 0, or one that is over: the shortest pause */
	WEIR_ACTION_UNLIMITED = 4,    /* there is no limit */
	WEIR_ACTION_DO_NOT_RETRY = 5, /* the same request will never pass */
	WEIR_ACTION_NO_RETRY = 6,     /* it succeeded: its Retry-After is no refusal */
};

/* What was understood, and done. Start from {.size = sizeof(struct weir_observed)}. */
struct weir_observed {
	size_t size;
	int32_t action;	    /* enum weir_action */
	uint32_t budgets;   /* limits that the response spoke of */
	uint64_t retry_ns;  /* what the server asked for, however long; 0: nothing */
	uint64_t closed_ns; /* for so long the endpoint was closed by this call; 0: it was not */
	double limit;	    /* of the tightest budget; below 0: not said, as all that follow */
	double remaining;
	double reset_s;
	double window_s;
	uint32_t sent;	  /* budgets of which the daemon was told */
	uint32_t dropped; /* budgets of which it could not be told */
	uint64_t reserved[6];
};

/*
 * Tells weir of a response to a request under this endpoint, when its fields are there: `status`
 * as in HTTP, 0 if there was none; `latency_ns` since the request was sent. At once and for all
 * processes: Retry-After, 429 and 503 close the endpoint, for max_close at most, and what the
 * server says is left lowers the level (it never raises it). The rest is for the daemon, which
 * finds the right speed if the rule is `adaptive`: one datagram a budget, never waited for.
 * Fields that are unknown, doubled or wrong do no harm. observed may be NULL.
 * Lock-free but for one system call a budget; never blocks; allocates nothing.
 * Returns 0 whether or not there is a daemon, WEIR_EVALUE (no status of HTTP), or the fault's code.
 */
int weir_observe(struct weir_endpoint *endpoint, int status, const struct weir_header *headers,
		 size_t count, uint64_t latency_ns, struct weir_observed *observed);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
