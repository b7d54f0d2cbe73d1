/* SPDX-License-Identifier: Apache-2.0
 *
 * tell.c - the loop's side of an executor: has threads begin, calls back, shuts down.
 */
#include "executor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TELL_AT_ONCE 256
#define TELL_MOST 1024 /* then the loop's other business */

/* A callback to be called without the mutex. */
struct telling {
	weir_executor_done *done;
	struct weir_result result;
};

bool executor_has_news(const struct weir_executor *executor)
{
	return executor->woken || executor->ended_count > 0;
}

bool executor_ask(struct weir_executor *executor)
{
	bool wake = executor_has_news(executor) && !executor->asked;

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

/*
 * All that has ended, to a list of the loop's own: nobody else touches those tasks any more. Under
 * the mutex.
 */
static void take_untold(struct weir_executor *executor)
{
	struct list *untold = &executor->untold;

	executor->ended_count = 0;
	if (untold->first == NO_TASK) {
		*untold = executor->ended;
	} else if (executor->ended.first != NO_TASK) {
		executor->tasks[untold->last].next = executor->ended.first;
		untold->last = executor->ended.last;
	}
	list_init(&executor->ended);
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

/* true: there is more. */
static bool tell_some(struct weir_executor *executor, unsigned *told)
{
	struct telling tellings[TELL_AT_ONCE];
	uint32_t last = NO_TASK;
	bool drained, more;
	uint32_t first = executor->untold.first;
	unsigned count = take_tellings(executor, tellings, &last);

	uv_mutex_lock(&executor->mutex);
	if (count > 0)
		slots_free(executor, first, last, count);
	while (count < TELL_AT_ONCE && executor->ended_maps)
		count += take_items(executor, tellings + count, TELL_AT_ONCE - count);
	drained = executor->was_full && executor->free_count >= (executor->task_count + 1) / 2;
	executor->was_full &= !drained;
	more = executor->ended_maps != NULL;
	uv_mutex_unlock(&executor->mutex);
	for (unsigned i = 0; i < count; i++) {
		if (tellings[i].done)
			tellings[i].done(executor, &tellings[i].result);
	}
	if (drained && executor->drain)
		executor->drain(executor, executor->data);
	*told += count;
	/* the callbacks may have had the loop look */
	return more || executor->untold.first != NO_TASK || executor->looked_within;
}

/* Calls back for all that had ended when the loop looked; true: for all of that. */
static bool tell(struct weir_executor *executor)
{
	unsigned told = 0;
	bool more;

	do {
		executor->looked_within = false;
		more = tell_some(executor, &told);
	} while (more && told < TELL_MOST);
	if (!more)
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

static bool is_all_told(struct weir_executor *executor)
{
	uv_mutex_lock(&executor->mutex);
	bool all = executor->ended.first == NO_TASK && !executor->ended_maps;

	uv_mutex_unlock(&executor->mutex);
	return all;
}

/* Under the mutex, which it unlocks. */
static void look(struct weir_executor *executor)
{
	executor->woken = executor->asked = false;
	take_over(executor);
	take_untold(executor);
	runners_watch(executor);

	uint32_t count = runners_wanted(executor);

	executor->fresh = 0;
	uv_mutex_unlock(&executor->mutex);
	runners_start(executor, count);
	executor->looked_within = executor->looking;
	if (executor->looking) /* from within a callback: who is further out goes on telling */
		return;
	executor->looking = true;
	bool all = tell(executor);

	executor->looking = false;
	if (executor->shutting && all && executor->active == 0 && is_all_told(executor))
		stop(executor, 0);
	else if (executor->shutting && executor->late)
		stop(executor, -ETIMEDOUT);
}

void executor_look(struct weir_executor *executor)
{
	uv_mutex_lock(&executor->mutex);
	look(executor);
}

static void on_deadline(struct wait *wait)
{
	struct weir_executor *executor =
		(struct weir_executor *)((char *)wait - offsetof(struct weir_executor, deadline));

	executor->late = true;
	executor_look(executor);
}

/* true: it was woken, and may be gone now. */
static bool look_if_woken(struct weir_executor *executor)
{
	uv_mutex_lock(&executor->mutex);
	if (executor_has_news(executor)) {
		look(executor);
		return true;
	}
	uv_mutex_unlock(&executor->mutex);
	return false;
}

void executors_look(struct weir_uv *uv)
{
	uint64_t pass = ++uv->passes;
	struct weir_executor *executor = uv->executors;

	/* once at each: what else ends meanwhile is for the next pass of the loop */
	while (executor) {
		bool is_due = executor->pass != pass;

		executor->pass = pass;
		/* that one may be gone, and others with it */
		if (is_due && look_if_woken(executor))
			executor = uv->executors;
		else
			executor = executor->next;
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
	runners_unwatch(executor);
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
