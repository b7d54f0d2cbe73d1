/* SPDX-License-Identifier: Apache-2.0
 *
 * waits.h - all that waits on one loop: one timer for the earliest, one async handle for other
 * threads; and an idle handle while there is something to tell.
 *
 * Places in line come up by time, so a heap of times and a timer are all that is needed; what else
 * can happen to a place (another rate, a closure, a reset, a clock that is moved by hand) is
 * noticed by looking again, as weir_turn_poll() wants it. With very many waits the looks are spread
 * out, so that they do not take more than some hundredths of the loop's time.
 */
#ifndef WEIR_UV_WAITS_H
#define WEIR_UV_WAITS_H

#include <stdbool.h>

#include "weir-uv.h"

/* A node of the heap. Of the loop's thread alone. */
struct wait {
	uint64_t at_ns; /* uv_hrtime() when it is to be looked at */
	void (*look)(struct wait *wait);
	struct wait *child;
	struct wait *next;
	struct wait *previous; /* of the first child: the parent */
	bool queued;	       /* in the heap */
};

struct request;

struct weir_uv {
	uv_loop_t *loop;
	uv_timer_t timer;
	uv_idle_t idle;
	uv_async_t async;
	uv_timer_t last; /* closed twice behind those: then they are closed for sure */
	struct wait *first;
	uint64_t count;
	uint64_t timer_ms;  /* what the timer is set to, on the loop's clock; 0: it is not */
	struct wait *ready; /* a list by next: to be looked at as soon as the loop goes on */
	struct wait **ready_end;
	struct weir_executor *executors;
	uint64_t passes;	    /* over them */
	struct request *line_first; /* requests in line for permits, in the order of coming */
	struct request *line_last;
	unsigned keepers; /* executors that keep the loop alive */
	bool closing;
	void (*closed)(void *context);
	void *context;
};

/* Has it looked at after so long, or with the loop's next turn. */
void waits_add(struct weir_uv *uv, struct wait *wait, uint64_t after_ns);
void waits_add_ready(struct weir_uv *uv, struct wait *wait);

/* One that is not ready. */
void waits_remove(struct weir_uv *uv, struct wait *wait);

/* When to look again at a turn that wants it after look_ns, and comes after wait_ns. */
uint64_t waits_look_ns(const struct weir_uv *uv, uint64_t look_ns, uint64_t wait_ns);

/* Has the loop look at its executors. Any thread. */
void waits_wake(struct weir_uv *uv);

/* An executor that is to be shut down keeps the loop alive. */
void waits_keep(struct weir_uv *uv);
void waits_let_go(struct weir_uv *uv);

/* ---- request.c ---- */

/* Ends it: its place goes back, and a look calls its callback. */
void request_give_up(struct wait *wait);

#endif
