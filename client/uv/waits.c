/* SPDX-License-Identifier: Apache-2.0 */
#include "waits.h"

#include <errno.h>
#include <stdlib.h>

#include "executor.h"

#define LOOK_SPARE_NS 10000u /* some seventy times what a look takes */
#define MS 1000000u

/* ---- a pairing heap: nothing to allocate, so nothing that can fail ---- */

static struct wait *meld(struct wait *a, struct wait *b)
{
	if (!a || !b)
		return a ? a : b;
	if (b->at_ns < a->at_ns) {
		struct wait *earlier = b;

		b = a;
		a = earlier;
	}
	b->previous = a;
	b->next = a->child;
	if (b->next)
		b->next->previous = b;
	a->child = b;
	return a;
}

/* Melds siblings two by two, and then all of those: that is what makes it O(log n). */
static struct wait *meld_all(struct wait *first)
{
	struct wait *pairs = NULL;
	struct wait *root = NULL;

	while (first) {
		struct wait *a = first;
		struct wait *b = a->next;

		first = b ? b->next : NULL;
		a->next = NULL;
		if (b)
			b->next = NULL;
		a = meld(a, b);
		a->next = pairs;
		pairs = a;
	}
	while (pairs) {
		struct wait *pair = pairs;

		pairs = pair->next;
		pair->next = NULL;
		root = meld(root, pair);
	}
	if (root)
		root->previous = NULL;
	return root;
}

static void heap_remove(struct weir_uv *uv, struct wait *wait)
{
	struct wait *rest = meld_all(wait->child);

	if (uv->first == wait) {
		uv->first = rest;
	} else {
		if (wait->previous->child == wait)
			wait->previous->child = wait->next;
		else
			wait->previous->next = wait->next;
		if (wait->next)
			wait->next->previous = wait->previous;
		uv->first = meld(uv->first, rest);
	}
	wait->child = wait->next = wait->previous = NULL;
	wait->queued = false;
	uv->count--;
}

/* ---- the timer ---- */

static void on_timer(uv_timer_t *timer);

/* Sets the timer to the earliest wait; the loop's clock is uv_hrtime() in whole milliseconds. */
static void set_timer(struct weir_uv *uv)
{
	uint64_t ms = uv->first ? (uv->first->at_ns + MS - 1) / MS : 0;

	if (ms == uv->timer_ms || uv_is_closing((uv_handle_t *)&uv->timer))
		return;
	uv->timer_ms = ms;
	if (ms == 0) {
		uv_timer_stop(&uv->timer);
		return;
	}

	uint64_t now_ms = uv_now(uv->loop);

	uv_timer_start(&uv->timer, on_timer, ms > now_ms ? ms - now_ms : 0, 0);
}

static void on_timer(uv_timer_t *timer)
{
	struct weir_uv *uv = timer->data;
	uint64_t now_ns = uv_hrtime();

	uv->timer_ms = 0;
	while (uv->first && uv->first->at_ns <= now_ns) {
		struct wait *wait = uv->first;

		heap_remove(uv, wait);
		wait->look(wait);
	}
	set_timer(uv);
}

void waits_add(struct weir_uv *uv, struct wait *wait, uint64_t after_ns)
{
	uint64_t now_ns = uv_hrtime();

	/* what is for ever is looked at in a century */
	wait->at_ns = now_ns + (after_ns < INT64_MAX / 4 ? after_ns : INT64_MAX / 4);
	wait->child = wait->next = wait->previous = NULL;
	wait->queued = true;
	uv->first = meld(uv->first, wait);
	uv->count++;
	set_timer(uv);
}

/* Those that become ready meanwhile are left to the loop's next turn. */
static void look_at_ready(struct weir_uv *uv)
{
	struct wait *wait = uv->ready;

	uv->ready = NULL;
	uv->ready_end = &uv->ready;
	while (wait) {
		struct wait *next = wait->next;

		wait->next = NULL;
		wait->look(wait);
		wait = next;
	}
}

static void on_idle(uv_idle_t *idle)
{
	struct weir_uv *uv = idle->data;

	look_at_ready(uv);
	if (!uv->ready)
		uv_idle_stop(idle);
}

void waits_add_ready(struct weir_uv *uv, struct wait *wait)
{
	wait->next = NULL;
	*uv->ready_end = wait;
	uv->ready_end = &wait->next;
	if (!uv_is_closing((uv_handle_t *)&uv->idle))
		uv_idle_start(&uv->idle, on_idle);
}

void waits_remove(struct weir_uv *uv, struct wait *wait)
{
	if (!wait->queued)
		return;
	heap_remove(uv, wait);
	set_timer(uv);
}

uint64_t waits_look_ns(const struct weir_uv *uv, uint64_t look_ns, uint64_t wait_ns)
{
	uint64_t at_least_ns = uv->count * LOOK_SPARE_NS;

	/* when its turn comes, whatever the number */
	if (look_ns >= wait_ns || look_ns >= at_least_ns)
		return look_ns;
	return at_least_ns < wait_ns ? at_least_ns : wait_ns;
}

/* ---- other threads ---- */

static void on_async(uv_async_t *async)
{
	executors_look(async->data);
}

void waits_wake(struct weir_uv *uv)
{
	uv_async_send(&uv->async);
}

void waits_keep(struct weir_uv *uv)
{
	if (uv->keepers++ == 0)
		uv_ref((uv_handle_t *)&uv->async);
}

void waits_let_go(struct weir_uv *uv)
{
	if (--uv->keepers == 0)
		uv_unref((uv_handle_t *)&uv->async);
}

/* ---- its life ---- */

static void free_unopened(uv_handle_t *timer)
{
	free(timer->data);
}

int weir_uv_open(struct weir_uv **out, uv_loop_t *loop)
{
	struct weir_uv *uv = calloc(1, sizeof(*uv));
	int status;

	if (!uv)
		return -ENOMEM;
	uv->loop = loop;
	uv_timer_init(loop, &uv->timer);
	uv_idle_init(loop, &uv->idle);
	uv->timer.data = uv->idle.data = uv->async.data = uv->last.data = uv;
	uv->ready_end = &uv->ready;
	status = uv_async_init(loop, &uv->async, on_async);
	if (status < 0) {
		/* the later is let go of the earlier */
		uv_close((uv_handle_t *)&uv->timer, free_unopened);
		uv_close((uv_handle_t *)&uv->idle, NULL);
		return status;
	}
	uv_unref((uv_handle_t *)&uv->async);
	*out = uv;
	return 0;
}

static void close_handle(uv_handle_t *handle)
{
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

/* All handles are closed, and what waited is told. */
static void on_last_closed(uv_handle_t *handle)
{
	struct weir_uv *uv = handle->data;
	struct weir_uv was = *uv;

	look_at_ready(uv);
	free(uv);
	if (was.closed)
		was.closed(was.context);
}

/* In the pass in which this one was closed, others may still be: they are in the next. */
static void on_first_closed(uv_handle_t *handle)
{
	struct weir_uv *uv = handle->data;

	uv_timer_init(uv->loop, &uv->last);
	uv_close((uv_handle_t *)&uv->last, on_last_closed);
}

static void give_up_all(struct weir_uv *uv)
{
	while (uv->first) {
		struct wait *wait = uv->first;

		heap_remove(uv, wait);
		waits_add_ready(uv, wait);
	}
	for (struct wait *wait = uv->ready; wait; wait = wait->next)
		request_give_up(wait);
}

int weir_uv_close(struct weir_uv *uv, void (*closed)(void *context), void *context)
{
	if (uv->executors)
		return -EBUSY;
	uv->closing = true;
	uv->closed = closed;
	uv->context = context;
	give_up_all(uv);
	close_handle((uv_handle_t *)&uv->timer);
	close_handle((uv_handle_t *)&uv->idle);
	close_handle((uv_handle_t *)&uv->async);
	uv_timer_init(uv->loop, &uv->last);
	uv_close((uv_handle_t *)&uv->last, on_first_closed);
	return 0;
}
