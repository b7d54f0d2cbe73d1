/* SPDX-License-Identifier: Apache-2.0
 *
 * uv_persist.h - saves the levels every few seconds when they changed. The disk is waited for in
 * a thread of the loop's pool, which touches the file alone.
 */
#ifndef WEIRD_UV_PERSIST_H
#define WEIRD_UV_PERSIST_H

#include <stdbool.h>
#include <uv.h>

#include "instance.h"
#include "persist.h"

#define UV_PERSIST_MS 5000

struct uv_persist {
	uv_timer_t timer;
	uv_work_t work;
	bool busy;
	struct persist *persist;
	const struct instance *instance;
	struct persist_save save;
};

int uv_persist_start(struct uv_persist *self, uv_loop_t *loop, struct persist *persist,
		     const struct instance *instance);

/* A save that is under way is ended by the loop. */
void uv_persist_stop(struct uv_persist *self);

#endif
