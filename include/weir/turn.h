/* SPDX-License-Identifier: Apache-2.0
 *
 * weir/turn.h - weir_wait in steps, for programs with an event loop: no call here sleeps. Part of
 * weir.h, which includes it.
 *
 *	struct weir_turn turn;
 *	struct weir_answer answer;
 *
 *	if (weir_turn_begin(api, 1.0, 5 * WEIR_SECOND, &turn, &answer))
 *		call_the_api();
 *	else if (answer.reason == WEIR_REASON_TURN)
 *		start_timer(turn.look_ns); // and then weir_turn_poll()
 *
 * libweir-uv does this for a loop of libuv.
 */
#ifndef WEIR_TURN_H
#define WEIR_TURN_H

#include "../weir.h"

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* A wait under way. A plain value; keep it until it was admitted, refused or left. */
struct weir_turn {
	uint64_t look_ns; /* under way: poll again after so long by the kernel's clock, at most */
	uint64_t opaque[15];
};

/*
 * Begins to wait for cost tokens as weir_wait does, first come first served, up to timeout_ns of
 * the segment's clock (or WEIR_FOREVER). Lock-free, never blocks. Refused with WEIR_REASON_TURN:
 * the wait is under way; answer->wait_ns is until its turn, as things stand, and *out is to be
 * polled. look_ns is at most a tenth of a second, so that changes of rate, closures and resets are
 * followed, and a millisecond on a manual clock. Any other answer is final, as of weir_wait.
 */
enum weir_verdict weir_turn_begin(struct weir_endpoint *endpoint, double cost, uint64_t timeout_ns,
				  struct weir_turn *out, struct weir_answer *answer);

/*
 * Looks whether its turn has come. Lock-free, never blocks; one thread at a time for a turn. The
 * answers are those of weir_turn_begin(); fault WEIR_ESPENT: it is not under way.
 */
enum weir_verdict weir_turn_poll(struct weir_endpoint *endpoint, struct weir_turn *turn,
				 struct weir_answer *answer);

/*
 * Ends the wait, or gives back what it was admitted to: as weir_cancel does, as much as others
 * could not have counted on. Writes the tokens given back to *returned (may be NULL). Lock-free.
 * Returns 0, or WEIR_ESPENT: it was refused, or left before.
 */
int weir_turn_leave(struct weir_endpoint *endpoint, struct weir_turn *turn, double *returned);

/*
 * Corrects the cost of one that was admitted to what it turned out to be, as weir_settle does: less
 * is given back, more goes into debt. Lock-free. Returns 0, or WEIR_ESPENT: it is not admitted, or
 * was left or settled before, or a fault's policy let it pass; WEIR_ECOST; or the fault's code.
 */
int weir_turn_settle(struct weir_endpoint *endpoint, struct weir_turn *turn, double actual_cost);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
