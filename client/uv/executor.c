/* SPDX-License-Identifier: Apache-2.0
 *
 * executor.c - what programs call, from any thread; and an executor's life.
 */
#include "executor.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE_DEFAULT 1024
#define QUEUE_MOST (1u << 20)
#define THREADS_DEFAULT 4 /* libuv's own */
#define THREADS_MOST 1024 /* libuv's own */
#define ITEMS_MOST (1u << 31)
#define GENERATION_MOST INT32_MAX

_Static_assert(sizeof(struct task) == TASK_BYTES, "a cache line each");

/* ---- slots ---- */

/* What was in it stays until here: an id is spent when its task has ended, not when it was told. */
static uint32_t slot_take(struct weir_executor *executor)
{
	uint32_t slot = executor->unused.first;

	if (slot != NO_TASK)
		executor->unused.first = executor->tasks[slot].next;
	else if (executor->used_once < executor->task_count)
		executor->tasks[slot = executor->used_once++] = (struct task){0};
	if (slot == NO_TASK)
		return NO_TASK;

	struct task *task = &executor->tasks[slot];
	uint32_t generation = task->generation == GENERATION_MOST ? 1 : task->generation + 1;

	task->generation = generation;
	executor->free_count--;
	return slot;
}

void slots_free(struct weir_executor *executor, uint32_t first, uint32_t last, uint32_t count)
{
	executor->tasks[last].next = executor->unused.first;
	executor->unused.first = first;
	executor->free_count += count;
}

/* ---- submitting ---- */

static int check(const struct weir_task *task)
{
	/* without an endpoint there is no limit that it could run under */
	if (!task || !task->endpoint || !task->work || task->priority < WEIR_PRIORITY_NORMAL ||
	    task->priority > WEIR_PRIORITY_LOW)
		return WEIR_EVALUE;
	return task->cost > 0 ? 0 : WEIR_ECOST;
}

static uint8_t rank_of(int32_t priority)
{
	static const uint8_t ranks[] = {
		[WEIR_PRIORITY_HIGH] = 0,
		[WEIR_PRIORITY_NORMAL] = 1,
		[WEIR_PRIORITY_LOW] = 2,
	};

	return ranks[priority];
}

static int64_t push(struct weir_executor *executor, const struct weir_task *from, struct map *map,
		    uint64_t now_ns)
{
	if (executor->is_shut)
		return -ESHUTDOWN;

	uint32_t slot = slot_take(executor);

	if (slot == NO_TASK) {
		executor->was_full = true;
		executor->sum.rejected++;
		return -EAGAIN;
	}

	struct lane *lane = lane_get(executor, from->endpoint);
	struct task *task = &executor->tasks[slot];

	if (!lane) {
		slots_free(executor, slot, slot, 1);
		return -ENOMEM;
	}
	task->work = from->work;
	task->done = from->done;
	task->is_map = map != NULL;
	if (map)
		task->map = map;
	else
		task->data = from->data;
	task->cost = from->cost;
	task->rank = rank_of(from->priority);
	task->submitted_ns = now_ns;
	if (map)
		map->task = slot;
	lane_push(lane, slot);
	executor->fresh += map && map->count < UINT16_MAX ? (uint32_t)map->count : 1;
	executor->woken = true;
	return (int64_t)task->generation << 32 | slot;
}

static int64_t submit(struct weir_executor *executor, const struct weir_task *task, struct map *map)
{
	uint64_t now_ns = weir_clock_now(executor->weir);

	uv_mutex_lock(&executor->mutex);
	int64_t id = push(executor, task, map, now_ns);
	bool wake = executor_ask(executor);

	uv_mutex_unlock(&executor->mutex);
	if (wake)
		waits_wake(executor->uv);
	return id;
}

int64_t weir_executor_submit(struct weir_executor *executor, const struct weir_task *task)
{
	int status = check(task);

	return status < 0 ? status : submit(executor, task, NULL);
}

void map_free(struct map *map)
{
	free(map->items);
	free(map->data);
	free(map);
}

static struct map *map_make(void *const *data, size_t count)
{
	struct map *map = calloc(1, sizeof(*map));

	if (!map)
		return NULL;
	map->count = count;
	map->data = calloc(count, sizeof(*map->data));
	map->items = calloc(count, sizeof(*map->items));
	if (!map->data || !map->items) {
		map_free(map);
		return NULL;
	}
	memcpy(map->data, data, count * sizeof(*data));
	return map;
}

int64_t weir_executor_map(struct weir_executor *executor, const struct weir_task *task,
			  void *const *data, size_t count)
{
	int status = check(task);

	if (status == 0 && (!data || count == 0 || count > ITEMS_MOST))
		status = WEIR_EVALUE;
	if (status < 0)
		return status;

	struct map *map = map_make(data, count);
	int64_t id = map ? submit(executor, task, map) : -ENOMEM;

	if (map && id < 0)
		map_free(map);
	return id;
}

/* ---- cancelling ---- */

static int cancel(struct weir_executor *executor, int64_t id)
{
	const struct weir_answer cancelled = {.fault = -ECANCELED, .reason = WEIR_REASON_FAULT};
	uint32_t slot = (uint32_t)id;
	const struct task *task = slot < executor->used_once ? &executor->tasks[slot] : NULL;

	if (!task || (int64_t)task->generation != id >> 32 || task->state == TASK_FREE ||
	    task->state == TASK_ENDED)
		return WEIR_ESPENT;
	if (task->state == TASK_RUNNING)
		return -EBUSY;
	lane_drop(executor, slot, &cancelled);
	return 0;
}

int weir_executor_cancel(struct weir_executor *executor, int64_t id)
{
	uv_mutex_lock(&executor->mutex);
	int status = cancel(executor, id);
	bool wake = executor_ask(executor);

	uv_mutex_unlock(&executor->mutex);
	if (wake)
		waits_wake(executor->uv);
	return status;
}

/* ---- limits and counts ---- */

int weir_executor_update_rate_limit(struct weir_executor *executor, const char *name,
				    const char *settings, enum weir_keep keep, char *message,
				    size_t message_bytes)
{
	int status = weir_configure(executor->weir, name, settings, keep, message, message_bytes);

	if (status < 0)
		return status;
	uv_mutex_lock(&executor->mutex);
	for (unsigned i = 0; i < LANE_BUCKETS; i++) {
		for (struct lane *lane = executor->lanes[i]; lane; lane = lane->next_hashed) {
			if (lane->state == LANE_WAITING)
				lane_hand_over(lane, 0, 0);
		}
	}
	bool wake = executor_ask(executor);

	uv_mutex_unlock(&executor->mutex);
	if (wake)
		waits_wake(executor->uv);
	return status;
}

void weir_executor_statistics(struct weir_executor *executor, struct weir_executor_statistics *out)
{
	uv_mutex_lock(&executor->mutex);
	struct weir_executor_statistics sum = executor->sum;

	uv_mutex_unlock(&executor->mutex);
	/* a program built against an older header has a shorter struct */
	sum.size = out->size < sizeof(sum) ? out->size : sizeof(sum);
	memcpy(out, &sum, sum.size);
}

/* ---- its life ---- */

static uint32_t pool_threads(void)
{
	const char *text = getenv("UV_THREADPOOL_SIZE");
	long count = text ? strtol(text, NULL, 10) : THREADS_DEFAULT;

	/* as libuv reads it */
	return count < 1 ? 1 : count > THREADS_MOST ? THREADS_MOST : (uint32_t)count;
}

static struct weir_executor_options options_read(const struct weir_executor_options *from)
{
	struct weir_executor_options options = {0};

	if (from && from->size >= sizeof(from->size))
		memcpy(&options, from, from->size < sizeof(options) ? from->size : sizeof(options));
	if (options.threads == 0)
		options.threads = pool_threads();
	if (options.queue == 0)
		options.queue = QUEUE_DEFAULT;
	return options;
}

static int executor_make(struct weir_executor *executor,
			 const struct weir_executor_options *options)
{
	executor->drain = options->drain;
	executor->data = options->data;
	executor->task_count = executor->free_count = options->queue;
	executor->tasks = aligned_alloc(TASK_BYTES, options->queue * sizeof(*executor->tasks));
	if (!executor->tasks)
		return -ENOMEM;
	list_init(&executor->unused);
	list_init(&executor->ended);
	list_init(&executor->untold);
	executor->ended_maps_end = &executor->ended_maps;
	return runners_make(executor, options->threads);
}

/*
 * Held for less than it takes to sleep and be woken: who finds it held spins for a moment first.
 * uv_mutex_t is what it is here.
 */
static int mutex_make(pthread_mutex_t *mutex)
{
	pthread_mutexattr_t kind;
	int status = pthread_mutexattr_init(&kind);

	if (status != 0)
		return -status;
	pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_ADAPTIVE_NP);
	status = pthread_mutex_init(mutex, &kind);
	pthread_mutexattr_destroy(&kind);
	return -status;
}

static void executor_free(struct weir_executor *executor)
{
	free(executor->runners);
	free(executor->tasks);
	free(executor);
}

int weir_executor_open(struct weir_executor **out, struct weir_uv *uv, struct weir *weir,
		       const struct weir_executor_options *from)
{
	const struct weir_executor_options options = options_read(from);

	if (options.queue > QUEUE_MOST || options.threads > THREADS_MOST)
		return WEIR_EVALUE;

	struct weir_executor *executor = calloc(1, sizeof(*executor));
	int status = executor ? executor_make(executor, &options) : -ENOMEM;

	if (status == 0)
		status = mutex_make(&executor->mutex);
	if (status < 0) {
		if (executor)
			executor_free(executor);
		return status;
	}
	executor->uv = uv;
	executor->weir = weir;
	executor->next = uv->executors;
	uv->executors = executor;
	waits_keep(uv);
	executor->keeps = true;
	*out = executor;
	return 0;
}

int weir_executor_close(struct weir_executor *executor)
{
	if (!executor)
		return 0;

	struct weir_executor **at = &executor->uv->executors;
	bool is_busy = executor->shutting || executor->active > 0 || executor->looking ||
		       executor->untold.first != NO_TASK;

	uv_mutex_lock(&executor->mutex);
	is_busy |= !executor->is_shut || executor->ended.first != NO_TASK || executor->ended_maps;
	uv_mutex_unlock(&executor->mutex);
	if (is_busy)
		return -EBUSY;
	while (*at != executor)
		at = &(*at)->next;
	*at = executor->next;
	uv_mutex_destroy(&executor->mutex);
	executor_free(executor);
	return 0;
}
