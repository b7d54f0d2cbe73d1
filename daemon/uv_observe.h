/* SPDX-License-Identifier: Apache-2.0
 *
 * uv_observe.h - the socket on which the daemon hears of responses: datagrams in, observations to
 * follow.h; and the timer for what comes of time alone. Nothing is ever answered.
 *
 * A datagram brings the kernel's word on who sent it. Those of processes that may not change
 * anything, and those that are no message, are counted in state_header.observations_refused, and
 * said once a minute. libuv knows no Unix datagrams: a poll handle watches the descriptor.
 */
#ifndef WEIRD_UV_OBSERVE_H
#define WEIRD_UV_OBSERVE_H

#include <uv.h>

#include "follow.h"
#include "instance.h"
#include "peer.h"

#define UV_OBSERVE_AT_ONCE 256 /* datagrams, before others have their turn */
#define UV_OBSERVE_SAY_MS 60000
#define UV_OBSERVE_LONGEST_MS 1000
#define UV_OBSERVE_MANUAL_MS 10 /* a manual clock moves without a word */

struct uv_observe {
	uv_poll_t poll;
	uv_timer_t timer;
	struct instance *instance;
	struct follow follow;
	struct peer_known known;
	char path[PLACE_PATH_BYTES]; /* "": none that would fit */
	int fd;
	uint64_t say_after_ms;
	uint64_t unsaid;
};

/*
 * Listens beside the control socket, mode 0660, the instance's group, and goes on with what the
 * rows have learned. That nobody can be heard is logged, and no error: limits hold without.
 * Returns 0, or libuv's code.
 */
int uv_observe_start(struct uv_observe *observe, uv_loop_t *loop, struct instance *instance);

/* Closes the socket, and removes it. Also after a start that failed. */
void uv_observe_stop(struct uv_observe *observe);

#endif
