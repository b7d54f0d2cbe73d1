/* SPDX-License-Identifier: Apache-2.0
 *
 * uv_watch.h - keeps the segment's clock true (watch.h decides) and the supervisor's watchdog fed.
 */
#ifndef WEIRD_UV_WATCH_H
#define WEIRD_UV_WATCH_H

#include <uv.h>

#include "instance.h"
#include "watch.h"

#define UV_WATCH_MS 10000

struct uv_watch {
	uv_timer_t clock, watchdog;
	struct instance *instance;
	struct watch watch;
	uint64_t pair; /* whose clock is being watched */
};

/* `watchdog_ns`: between two signs of life; 0: nobody waits for them. */
int uv_watch_start(struct uv_watch *watch, uv_loop_t *loop, struct instance *instance,
		   uint64_t watchdog_ns);
void uv_watch_stop(struct uv_watch *watch);

#endif
