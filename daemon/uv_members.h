/* SPDX-License-Identifier: Apache-2.0
 *
 * uv_members.h - finds out who came and who died, and reaps.
 *
 * Twice a second the slots are looked at, a memory read each, and the permits; a used slot's lock
 * is tested every two seconds. The kernel tells when a member leaves or dies (close_watch.h), and
 * then the locks of those who hold permits are tested at once, and the others' with the next scans;
 * so the permit of one who came, took it and died at once comes back as fast as any. Where it does
 * not tell, holders are tested 20 times a second, as long as a rule has permits.
 *
 * Looks are as quick while calls end whose concurrency is found, and when a permit is about to be
 * held for longer than it may. When nothing happens there are two wake-ups a second.
 */
#ifndef WEIRD_UV_MEMBERS_H
#define WEIRD_UV_MEMBERS_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "close_watch.h"
#include "inflight.h"
#include "instance.h"

#define UV_MEMBERS_SCAN_MS 500
#define UV_MEMBERS_ROUND 4	  /* scans until every slot's lock has been tested */
#define UV_MEMBERS_LOOK_MS 50	  /* from one quick look at permits to the next */
#define UV_MEMBERS_CLOSE_MS 1	  /* to the first one after something was closed */
#define UV_MEMBERS_CLOSE_LOOKS 3  /* quick ones after that: locks fall when it has been told */
#define UV_MEMBERS_CLOSE_SCANS 2  /* and scans that test every lock */
#define UV_MEMBERS_MOVED_LOOKS 20 /* quick ones after calls have ended */

struct uv_member;

struct uv_members {
	uv_timer_t scan;
	uv_timer_t looks;
	uv_prepare_t prepare;
	uv_poll_t closes; /* active while looks are not */
	struct close_watch watch;
	uv_loop_t *loop;
	struct instance *instance;
	struct inflight inflight;
	bool polls;	  /* `closes` is made */
	bool said;	  /* that the kernel does not tell */
	bool finds;	  /* as of the last look, it had the memory to */
	unsigned haste;	  /* quick looks to come, at least */
	unsigned suspect; /* looks to come that test the locks of holders */
	unsigned rounds;  /* scans to come that test every lock */
	unsigned round;
	struct uv_member *watched; /* by slot, of the pair `pair` */
	uint32_t count;
	uint64_t pair;
};

int uv_members_start(struct uv_members *members, uv_loop_t *loop, struct instance *instance);
void uv_members_stop(struct uv_members *members);

/* After the loop has closed all handles. */
void uv_members_free(struct uv_members *members);

#endif
