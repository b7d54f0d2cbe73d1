/* SPDX-License-Identifier: Apache-2.0
 *
 * weir/host.h - a private segment, hosted by this program and shared with its forked children.
 * With the manual clock it is a deterministic simulator. Part of weir.h, which includes it.
 */
#ifndef WEIR_HOST_H
#define WEIR_HOST_H

#include "../weir.h"

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* The hosted segment's clock. */
enum weir_clock {
	WEIR_CLOCK_BEST = 0, /* tsc where it can be trusted, else monotonic */
	WEIR_CLOCK_MONOTONIC = 2,
	WEIR_CLOCK_MANUAL = 3, /* moves by weir_clock_advance alone: a deterministic simulator */
};

/*
 * Makes a private segment from INI text (weir.ini(5); NULL: only the built-in default, 10/s).
 * No daemon, no name: this process and the children it forks share it. On WEIR_ECONFIG, message
 * (may be NULL) gets a line per fault. options may be NULL; of it policy and trace count.
 * Blocks some milliseconds to calibrate a clock. Allocates.
 */
int weir_host(struct weir **out, const char *ini_text, enum weir_clock clock,
	      const struct weir_options *options, char *message, size_t message_bytes);

/* What becomes of the level when a limit changes. */
enum weir_keep {
	WEIR_KEEP_USED = 0,	    /* what was used stays used */
	WEIR_KEEP_LEVEL = 1,	    /* the same number of tokens is there, at most the burst */
	WEIR_KEEP_PROPORTIONAL = 2, /* the same share of the burst is there */
	WEIR_KEEP_RESET = 3,	    /* full */
};

/*
 * Changes a limit live, by the host alone: rate "5/2s", burst "15"; NULL keeps. A name that has
 * no row of its own gets one, and its level moves along. In force at every process's next call.
 * Returns 0, WEIR_EHOST, WEIR_EVALUE, WEIR_ENAME, WEIR_EROWS.
 */
int weir_update(struct weir *weir, const char *name, const char *rate, const char *burst,
		enum weir_keep keep);

/*
 * The same for any setting of a section of weir.ini(5), a line each: "rate = 5000/h\nwindow = 1h".
 * On WEIR_EVALUE message (may be NULL) says what would be right. WEIR_EROWS also: the rule of
 * [default] cannot change between windows from first use and others.
 */
int weir_configure(struct weir *weir, const char *name, const char *settings, enum weir_keep keep,
		   char *message, size_t message_bytes);

/* Fills the bucket; who waits in line takes a new place. By the host alone. */
int weir_reset(struct weir *weir, const char *name);

/* The segment's clock, in nanoseconds since an arbitrary origin. */
uint64_t weir_clock_now(struct weir *weir);

/* The same, of the segment that an endpoint is in now. */
uint64_t weir_endpoint_clock_now(struct weir_endpoint *endpoint);

/* Moves a manual clock forward, up to ten years from 0, and wakes who sleeps on it. Returns 0,
 * WEIR_ENOCLOCK. */
int weir_clock_advance(struct weir *weir, uint64_t by_ns);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
