/* SPDX-License-Identifier: Apache-2.0
 *
 * uv_members.h - finds out who came and who died, and reaps.
 *
 * Twice a second the slots are looked at, a memory read each; a used slot's lock is tested every
 * two seconds. A pidfd makes that faster, and no more: it only triggers the test of the lock,
 * which is what counts (a pid from another namespace means somebody else here). Who holds a permit
 * is looked at 20 times a second, so that the permit of one who came, took it and died at once
 * comes back as fast; what is held longer than it may be is taken back; and a concurrency that is
 * found is looked at as often.
 */
#ifndef WEIRD_UV_MEMBERS_H
#define WEIRD_UV_MEMBERS_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "inflight.h"
#include "instance.h"

#define UV_MEMBERS_SCAN_MS 500
#define UV_MEMBERS_HELD_MS 50	/* from look to look at who holds permits, if there are any */
#define UV_MEMBERS_ROUND 4	/* scans until every slot's lock has been tested */
#define UV_MEMBERS_WATCHERS 512 /* descriptors that are spent on it, at most */

struct uv_member;

struct uv_members {
	uv_timer_t scan;
	uv_timer_t held;
	uv_loop_t *loop;
	struct instance *instance;
	struct inflight inflight;
	bool finds;		   /* as of the last look, it had the memory to */
	struct uv_member *watched; /* by slot, of the pair `pair` */
	uint32_t count;
	uint64_t pair;
	unsigned watchers;
	unsigned round;
};

int uv_members_start(struct uv_members *members, uv_loop_t *loop, struct instance *instance);
void uv_members_stop(struct uv_members *members);

/* After the loop has closed all handles. */
void uv_members_free(struct uv_members *members);

#endif
