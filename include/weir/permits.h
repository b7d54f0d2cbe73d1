/* SPDX-License-Identifier: Apache-2.0
 *
 * weir/permits.h - how many calls may be under way at once, over all processes of the host. Part
 * of weir.h, which includes it.
 *
 *	struct weir_permit permit;
 *
 *	if (weir_enter(api, 1.0, 5 * WEIR_SECOND, &permit, NULL)) {
 *		call_the_api();
 *		weir_permit_release(api, &permit);
 *	}
 *
 * A rule with `concurrency = N` gives N permits; without, as many as are asked for. A permit
 * belongs to the process that took it. It comes back when that process dies, by whatever death, or
 * calls exec, or closes the handle. A process that is stopped keeps its own.
 */
#ifndef WEIR_PERMITS_H
#define WEIR_PERMITS_H

#include "../weir.h"

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* A permit. A plain value; copies of it are one permit, released once by one of them. */
struct weir_permit {
	uint64_t opaque[4];
};

/*
 * Takes a permit, first come first served, sleeping up to timeout_ns (or WEIR_FOREVER); with 0 it
 * never blocks, and is refused where no more are free than others are in line. What is free to
 * take is taken lock-free, with no system call. Who finds none free looks for holders that have
 * died (system calls, at most once a millisecond of a handle). answer may be NULL; of it wait_ns
 * says how long it slept, or refused after how long to look again (WEIR_NEVER: not before somebody
 * raises the limit), and level how many are free (infinity: there is no limit). Refused:
 * WEIR_REASON_PERMIT, WEIR_REASON_DEADLINE; WEIR_REASON_QUEUE with fault WEIR_EWAITERS, no place in
 * line was left. Policy answers WEIR_EMEMBERS, when this process has no slot in the table of
 * members: such a permit counts nowhere.
 */
enum weir_verdict weir_permit_take(struct weir_endpoint *endpoint, uint64_t timeout_ns,
				   struct weir_permit *out, struct weir_answer *answer);

/*
 * Gives it back, from any thread, and wakes the next in line. Lock-free; a system call when
 * somebody is. Returns 0, or: WEIR_ESPENT, it was given back before; WEIR_EEXPIRED, it was held
 * longer than the rule's `max_hold` and has been taken away; WEIR_ESTRANGER, it is another
 * process's, as for a forked child its parent's.
 */
int weir_permit_release(struct weir_endpoint *endpoint, struct weir_permit *permit);

/*
 * Gives it back as weir_permit_release() does, and says that the call failed because there was too
 * much to do: it timed out, was refused for load, got no connection. It counts where the rule has
 * `concurrency = auto`. Who tells of a response by weir_observe() releases it, and says it there.
 */
int weir_permit_fail(struct weir_endpoint *endpoint, struct weir_permit *permit);

/*
 * What it was taken for begins now, and not with the take: the time before, in which something else
 * was waited for, is no part of how long the call takes (`concurrency = auto`). weir_enter() and
 * executors do so by themselves. Lock-free. Returns 0, WEIR_ESPENT, WEIR_ESTRANGER.
 */
int weir_permit_start(struct weir_endpoint *endpoint, struct weir_permit *permit);

/*
 * In a forked child: takes over a permit of the process that forked it, which had the value or was
 * told it. Parent's copies are spent by it. Returns 0, WEIR_ESPENT (the parent has released it, or
 * was dead before), WEIR_EEXPIRED, WEIR_ESTRANGER (of neither of the two), WEIR_EMEMBERS.
 */
int weir_permit_inherit(struct weir_endpoint *endpoint, struct weir_permit *permit);

/*
 * A permit and cost tokens together, or neither: waits for the permit first, then for the tokens,
 * so that none is spent while there is no permit. Refused: which of the two it was is in
 * answer->reason, and the permit is given back.
 */
enum weir_verdict weir_enter(struct weir_endpoint *endpoint, double cost, uint64_t timeout_ns,
			     struct weir_permit *out, struct weir_answer *answer);

/* Permits of an endpoint at this moment. Start from {.size = sizeof(struct weir_permits)}. */
struct weir_permits {
	size_t size;
	uint64_t limit;	      /* UINT64_MAX: no limit */
	uint64_t free;	      /* that could be taken, if nobody is in line */
	uint64_t held;	      /* more than the limit, if it was lowered */
	uint64_t waiting;     /* in line */
	uint64_t max_hold_ns; /* 0: for ever */
	uint64_t reserved[4];
};

/* Looks without taking. Lock-free. Returns 0, or the fault's code. */
int weir_permit_look(struct weir_endpoint *endpoint, struct weir_permits *out);

/* ---- for a caller that must not sleep: an event loop ---- */

/* A place in line. A plain value; keep it until it was admitted or left. */
struct weir_waiter {
	uint64_t opaque[4];
};

/*
 * Takes a place at the end of the line, also where permits are free. Lock-free, never blocks.
 * Returns 0, WEIR_EWAITERS (none is left), WEIR_EMEMBERS, or the fault's code.
 */
int weir_permit_queue(struct weir_endpoint *endpoint, struct weir_waiter *out);

/*
 * Takes the permit if this place is first and one is free. Never sleeps. Admitted: the place is
 * gone. Refused: WEIR_REASON_PERMIT, the place is kept, answer->wait_ns says when to look again at
 * the latest, should nobody ring before; or a fault: WEIR_ESPENT, that place was left before.
 */
enum weir_verdict weir_permit_poll(struct weir_endpoint *endpoint, struct weir_waiter *waiter,
				   struct weir_permit *out, struct weir_answer *answer);

/* Leaves the line; who comes next is woken if it is its turn. Returns 0, WEIR_ESPENT. */
int weir_permit_unqueue(struct weir_endpoint *endpoint, struct weir_waiter *waiter);

/*
 * The bell of the handle's process: it rings when a place taken by weir_permit_queue() has come
 * first, or has become worth a look. Sleeps until the bell's count is not *bell (begin with 0) or
 * timeout_ns have passed, and writes the count. For one thread that wakes a loop, whatever the
 * number of places. Returns 1, it rang; 0, it did not; WEIR_EMEMBERS, or a negative errno.
 */
int weir_permit_listen(struct weir *weir, uint32_t *bell, uint64_t timeout_ns);

/* Rings it: the thread in weir_permit_listen() comes back. */
void weir_permit_ring(struct weir *weir);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
