/* SPDX-License-Identifier: Apache-2.0
 *
 * uv_signals.h - SIGHUP reloads, SIGTERM and SIGINT stop the loop.
 */
#ifndef WEIRD_UV_SIGNALS_H
#define WEIRD_UV_SIGNALS_H

#include <uv.h>

#include "instance.h"
#include "source.h"

struct uv_signals {
	uv_signal_t hangup, terminate, interrupt;
	struct instance *instance;
	const struct source *source;
};

int uv_signals_start(struct uv_signals *signals, uv_loop_t *loop, struct instance *instance,
		     const struct source *source);
void uv_signals_stop(struct uv_signals *signals);

#endif
