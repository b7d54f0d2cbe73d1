/* SPDX-License-Identifier: Apache-2.0
 *
 * uv_control.h - the control socket: bytes in, messages to request.h, replies out.
 *
 * A client has UV_CONTROL_PATIENCE_MS for a whole message and as long again to read the reply;
 * bytes that are no message are answered and end the connection.
 */
#ifndef WEIRD_UV_CONTROL_H
#define WEIRD_UV_CONTROL_H

#include <uv.h>

#include "instance.h"
#include "source.h"

#define UV_CONTROL_CLIENTS 64
#define UV_CONTROL_PATIENCE_MS 5000

struct uv_control {
	uv_pipe_t server;
	struct instance *instance;
	const struct source *source;
	unsigned clients; /* whose handles have not been closed */
};

/* Listens at instance->place.socket, mode 0660, the instance's group. The caller holds the
 * daemon's lock: a socket that is there is a dead daemon's. Returns 0 or a code that has been
 * logged. */
int uv_control_start(struct uv_control *control, uv_loop_t *loop, struct instance *instance,
		     const struct source *source);

/* Closes server and clients, and removes the socket. Also after a start that failed. */
void uv_control_stop(struct uv_control *control);

#endif
