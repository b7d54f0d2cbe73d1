/* SPDX-License-Identifier: Apache-2.0
 *
 * tell.c - the loop's side of an executor: has threads begin, calls back, shuts down.
 */
#include "executor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TELL_AT_ONCE 64
#define TELL_MOST 1024 /* then the loop's other business */

/* A callback to be called without the mutex. */
struct telling {
	weir_executor_done *done;
	struct weir_result result;
};

bool executor_ask(struct weir_executor *executor)
{
	bool wake = executor->woken && !executor->asked;

	executor->asked |= wake;
	return wake;
}

/* ---- results ---- */

static void telling_of(const struct weir_executor *executor, uint32_t index, struct telling *out)
{
	const struct task *task = &executor->tasks[index];

	out->done = task->done;
	out->result.id = (int64_t)task->generation << 32 | index;
	out->result.data = task->data;
	out->result.index = 0;
	out->result.waited_ns = task->waited_ns;
	out->result.verdict = task->verdict;
	out->result.value = task->value;
	out->result.fault = task->fault;
	out->result.reason = task->reason;
	memset(out->result.reserved, 0, sizeof(out->result.reserved));
}

static void telling_of_item(const struct weir_executor *executor, const struct map *map,
			    size_t index, struct telling *out)
{
	const struct item *item = &map->items[index];

	telling_of(executor, map->task, out);
	out->result.index = index;
	out->result.data = map->data[index];
	out->result.waited_ns = item->waited_ns;
	out->result.verdict = item->verdict;
	out->result.value = item->value;
	out->result.fault = item->fault;
	out->result.reason = item->reason;
}

/* The next items of the first map, in the order of the input, as far as they have ended. */
static unsigned take_items(struct weir_executor *executor, struct telling *out, unsigned room)
{
	struct map *map = executor->ended_maps;
	unsigned count = 0;

	while (count < room && map->told < map->count && map->items[map->told].ended)
		telling_of_item(executor, map, map->told++, &out[count++]);
	if (map->told < map->count && map->items[map->told].ended)
		return count;
	executor->ended_maps = map->next_listed;
	if (!executor->ended_maps)
		executor->ended_maps_end = &executor->ended_maps;
	map->listed = false;
	if (map->told == map->count) {
		executor->tasks[map->task].state = TASK_FREE;
		slots_free(executor, map->task, map->task, 1);
		map_free(map);
	}
	return count;
}

/* All that has ended, in a list of the loop's own: nobody else touches those tasks any more. */
static void take_untold(struct weir_executor *executor)
{
	if (executor->untold.first != NO_TASK)
		return;
	uv_mutex_lock(&executor->mutex);
	executor->untold = executor->ended;
	list_init(&executor->ended);
	uv_mutex_unlock(&executor->mutex);
}

/* The next of them; their slots are first to *last. Without the mutex. */
static unsigned take_tellings(struct weir_executor *executor, struct telling *out, uint32_t *last)
{
	struct list *untold = &executor->untold;
	unsigned count = 0;

	while (count < TELL_AT_ONCE && untold->first != NO_TASK) {
		*last = untold->first;
		telling_of(executor, *last, &out[count++]);
		untold->first = executor->tasks[*last].next;
	}
	return count;
}

static unsigned tell_some(struct weir_executor *executor)
{
	struct telling tellings[TELL_AT_ONCE];
	uint32_t last = NO_TASK;
	bool drained;

	take_untold(executor);

	uint32_t first = executor->untold.first;
	unsigned count = take_tellings(executor, tellings, &last);

	uv_mutex_lock(&executor->mutex);
	if (count > 0)
		slots_free(executor, first, last, count);
	while (count < TELL_AT_ONCE && executor->ended_maps)
		count += take_items(executor, tellings + count, TELL_AT_ONCE - count);
	drained = executor->was_full && executor->free_count >= (executor->task_count + 1) / 2;
	executor->was_full &= !drained;
	uv_mutex_unlock(&executor->mutex);
	for (unsigned i = 0; i < count; i++) {
		if (tellings[i].done)
			tellings[i].done(executor, &tellings[i].result);
	}
	if (drained && executor->drain)
		executor->drain(executor, executor->data);
	return count;
}

/* Calls back for all that has ended; true: for all that there was. */
static bool tell(struct weir_executor *executor)
{
	unsigned told = 0;
	unsigned count;

	do {
		count = tell_some(executor);
		told += count;
	} while (count > 0 && told < TELL_MOST);
	if (count == 0)
		return true;
	uv_mutex_lock(&executor->mutex);
	executor->woken = executor->asked = true;
	uv_mutex_unlock(&executor->mutex);
	waits_wake(executor->uv);
	return false;
}

/* ---- the end ---- */

/* The loop no longer has to go on for it. */
static void let_go(struct weir_executor *executor)
{
	if (executor->keeps)
		waits_let_go(executor->uv);
	executor->keeps = false;
}

/* The last that is done with an executor: it may be freed in here. */
static void stop(struct weir_executor *executor, int status)
{
	weir_executor_stopped *stopped = executor->stopped;

	executor->shutting = executor->late = false;
	executor->stopped = NULL;
	waits_remove(executor->uv, &executor->deadline);
	let_go(executor);
	if (stopped)
		stopped(executor, status);
}

/* ---- looking ---- */

/* Turns that are under way: when to look at them. */
static void take_over(struct weir_executor *executor)
{
	while (executor->handed) {
		struct lane *lane = executor->handed;

		executor->handed = lane->next_handed;
		lane->handed = false;
		lane_add(lane);
	}
}

void executor_look(struct weir_executor *executor)
{
	uv_mutex_lock(&executor->mutex);
	uint32_t fresh = executor->fresh;

	executor->woken = executor->asked = false;
	executor->fresh = 0;
	take_over(executor);
	uv_mutex_unlock(&executor->mutex);

	runners_start(executor, fresh);
	if (executor->looking) /* from within a callback: who is further out goes on telling */
		return;
	executor->looking = true;
	bool all = tell(executor);

	executor->looking = false;
	if (executor->shutting && all && executor->active == 0)
		stop(executor, 0);
	else if (executor->shutting && executor->late)
		stop(executor, -ETIMEDOUT);
}

static void on_deadline(struct wait *wait)
{
	struct weir_executor *executor =
		(struct weir_executor *)((char *)wait - offsetof(struct weir_executor, deadline));

	executor->late = true;
	executor_look(executor);
}

static bool is_woken(struct weir_executor *executor)
{
	uv_mutex_lock(&executor->mutex);
	bool woken = executor->woken;

	uv_mutex_unlock(&executor->mutex);
	return woken;
}

void executors_look(struct weir_uv *uv)
{
	struct weir_executor *executor = uv->executors;

	while (executor) {
		if (!is_woken(executor)) {
			executor = executor->next;
			continue;
		}
		executor_look(executor);
		/* that one may be gone, and others with it */
		executor = uv->executors;
	}
}

/* ---- shutting down ---- */

static void cancel_all(struct weir_executor *executor)
{
	const struct weir_answer cancelled = {.fault = -ECANCELED, .reason = WEIR_REASON_FAULT};

	for (uint32_t task = 0; task < executor->used_once; task++) {
		if (executor->tasks[task].state == TASK_QUEUED)
			lane_drop(executor, task, &cancelled);
	}
}

/* Nothing is queued any more: no lane is waited for. */
static void forget_lanes(struct weir_executor *executor)
{
	take_over(executor);
	for (unsigned i = 0; i < LANE_BUCKETS; i++) {
		while (executor->lanes[i]) {
			struct lane *lane = executor->lanes[i];

			waits_remove(executor->uv, &lane->wait);
			lane->looked_at = false;
			lane_free_if_idle(lane);
		}
	}
}

int weir_executor_shutdown(struct weir_executor *executor, uint64_t timeout_ns,
			   weir_executor_stopped *stopped)
{
	if (executor->shutting)
		return -EALREADY;
	executor->shutting = true;
	executor->stopped = stopped;
	uv_mutex_lock(&executor->mutex);
	executor->is_shut = true;
	cancel_all(executor);
	forget_lanes(executor);
	executor->woken = true;
	bool wake = executor_ask(executor);

	uv_mutex_unlock(&executor->mutex);
	runners_cancel(executor);
	if (!executor->keeps)
		waits_keep(executor->uv);
	executor->keeps = true;
	executor->deadline.look = on_deadline;
	waits_add(executor->uv, &executor->deadline, timeout_ns);
	if (uv_is_closing((uv_handle_t *)&executor->uv->async))
		executor_look(executor); /* the loop will not come to it again */
	else if (wake)
		waits_wake(executor->uv);
	return 0;
}
