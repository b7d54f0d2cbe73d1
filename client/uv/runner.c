/* SPDX-License-Identifier: Apache-2.0
 *
 * runner.c - threads of libuv's pool, which take and run what may run.
 *
 * A request to the pool runs tasks one after another: a task costs one lock, not a request, a
 * wake-up and a callback of its own. After a few milliseconds it goes to the end of the pool's
 * queue, as everything else that uses the pool wants its turn as well. While tasks are quick, one
 * thread runs them, and the loop watches that it does not stay in one of them.
 */
#include "executor.h"

#include <errno.h>
#include <stdlib.h>

#define SLICE_NS 5000000u
#define SLICE_LOOK_NS 100000u
#define SLICE_LOOK_TASKS 16

/* A task that takes less costs less than what threads that run such tasks cost each other. */
#define QUICK_NS 500u
#define QUICK_TASKS 32 /* in a row: the next one will be, too */
#define WATCH_NS WEIR_MILLISECOND
#define TELL_TOGETHER 256u

static void run_ended(struct weir_executor *executor, const struct run *run, int value, int fault)
{
	const struct task *task = &executor->tasks[run->task];
	const struct map *map = map_of(task);
	const struct item outcome = {
		.verdict = WEIR_ADMIT,
		.value = value,
		.fault = fault,
		.waited_ns = map ? map->items[run->item].waited_ns : task->waited_ns,
	};

	executor->sum.running--;
	if (run->has_permit && executor->sum.waiting > 0)
		lane_released(executor, run->endpoint);
	executor->sum.completed++;
	task_ended(executor, run->task, run->item, &outcome);
}

/* How long a request to the pool has run tasks. */
struct slice {
	uint64_t until_ns;  /* uv_hrtime() */
	uint64_t looked_ns; /* by the segment's clock, which is there anyway, and may stand still */
	unsigned tasks;	    /* since */
};

static bool slice_goes_on(struct slice *slice, uint64_t now_ns)
{
	if (now_ns - slice->looked_ns < SLICE_LOOK_NS && ++slice->tasks < SLICE_LOOK_TASKS)
		return true;
	slice->looked_ns = now_ns;
	slice->tasks = 0;
	return uv_hrtime() < slice->until_ns;
}

static bool is_any_ready(const struct weir_executor *executor)
{
	bool any = false;

	for (unsigned rank = 0; rank < PRIORITIES; rank++)
		any |= executor->rings[rank] != NULL;
	return any;
}

bool runners_are_quick(const struct weir_executor *executor)
{
	return executor->watched && executor->quick >= QUICK_TASKS;
}

/* Another thread runs such tasks: whoever has just ended one goes. */
static bool is_surplus(const struct weir_executor *executor)
{
	return runners_are_quick(executor) && executor->sum.running > executor->stuck;
}

/* What else may run, or get in line, is for a thread that has nothing to do, if there is one. */
static void pass_on(struct weir_executor *executor)
{
	if (!runners_are_quick(executor) && executor->sum.running < executor->runner_count &&
	    is_any_ready(executor)) {
		executor->fresh++;
		executor->woken = true;
	}
}

/*
 * What has ended is told of at once, unless the next task is about to end as well: that is told of
 * together with it. At a quarter of the queue it is time, as these are places for other tasks.
 */
static bool ask(struct weir_executor *executor, bool goes_on)
{
	uint32_t together = executor->task_count / 4;

	if (together > TELL_TOGETHER)
		together = TELL_TOGETHER;
	if (goes_on && runners_are_quick(executor) && !executor->woken &&
	    executor->ended_count < together)
		return false;
	return executor_ask(executor);
}

/* What a runner has done of a task; the times are of the segment's clock. */
struct outcome {
	int value;
	int status;
	uint64_t took_ns;
	uint64_t ended_ns;
};

/* The wait for tokens and a thread is no part of the call. */
static void carry_out(struct weir_executor *executor, struct run *run, struct outcome *out)
{
	uint64_t began_ns = weir_clock_now(executor->weir);

	if (run->has_permit)
		weir_permit_start(run->endpoint, &run->permit);
	out->value = run->work(run->data);
	out->status = run->has_permit ? weir_permit_release(run->endpoint, &run->permit) : 0;
	out->ended_ns = weir_clock_now(executor->weir);
	out->took_ns = out->ended_ns - began_ns;
}

/* Under the mutex, as is what follows. */
static void runner_began(struct runner *runner)
{
	runner->begun++;
	runner->running = true;
}

static void runner_ended(struct runner *runner, const struct run *run, const struct outcome *out)
{
	struct weir_executor *executor = runner->executor;

	runner->running = false;
	executor->stuck -= runner->stuck;
	if (runner->stuck || out->took_ns > QUICK_NS)
		executor->quick = 0;
	else if (executor->quick < QUICK_TASKS && ++executor->quick == QUICK_TASKS)
		executor->woken = true; /* the loop is to watch */
	runner->stuck = false;
	run_ended(executor, run, out->value, out->status == WEIR_EEXPIRED ? out->status : 0);
}

/* In a thread of the pool. */
static void run_tasks(uv_work_t *work)
{
	struct runner *runner = work->data;
	struct weir_executor *executor = runner->executor;
	uint64_t now_ns = weir_clock_now(executor->weir);
	struct slice slice = {.until_ns = uv_hrtime() + SLICE_NS, .looked_ns = now_ns};
	struct outcome outcome;
	struct run run;
	bool found;

	uv_mutex_lock(&executor->mutex);
	found = lanes_next(executor, now_ns, &run);
	for (;;) {
		if (found) {
			runner_began(runner);
			pass_on(executor);
		}

		bool wake = ask(executor, found);

		uv_mutex_unlock(&executor->mutex);
		if (wake)
			waits_wake(executor->uv);
		if (!found)
			return;

		carry_out(executor, &run, &outcome);

		bool goes_on = slice_goes_on(&slice, outcome.ended_ns);

		uv_mutex_lock(&executor->mutex);
		runner_ended(runner, &run, &outcome);
		found = goes_on && !is_surplus(executor) &&
			lanes_next(executor, outcome.ended_ns, &run);
	}
}

static void on_returned(uv_work_t *work, int status)
{
	struct runner *runner = work->data;
	struct weir_executor *executor = runner->executor;

	(void)status; /* -ECANCELED: it never began */
	runner->active = false;
	executor->active--;
	uv_mutex_lock(&executor->mutex);
	executor->fresh++;
	uv_mutex_unlock(&executor->mutex);
	executor_look(executor);
}

int runners_make(struct weir_executor *executor, uint32_t count)
{
	executor->runners = calloc(count, sizeof(*executor->runners));
	if (!executor->runners)
		return -ENOMEM;
	executor->runner_count = count;
	for (uint32_t i = 0; i < count; i++) {
		executor->runners[i].executor = executor;
		executor->runners[i].work.data = &executor->runners[i];
	}
	return 0;
}

uint32_t runners_wanted(const struct weir_executor *executor)
{
	if (executor->fresh == 0 || !is_any_ready(executor))
		return 0;
	if (runners_are_quick(executor))
		return executor->active > executor->stuck ? 0 : 1;
	return executor->fresh;
}

void runners_start(struct weir_executor *executor, uint32_t count)
{
	if (executor->active == executor->runner_count)
		return;
	for (uint32_t i = 0; i < executor->runner_count && count > 0; i++) {
		struct runner *runner = &executor->runners[i];

		if (runner->active ||
		    uv_queue_work(executor->uv->loop, &runner->work, run_tasks, on_returned) < 0)
			continue;
		runner->active = true;
		executor->active++;
		count--;
	}
}

/* ---- watching ---- */

static void on_watch(struct wait *wait)
{
	struct weir_executor *executor =
		(struct weir_executor *)((char *)wait - offsetof(struct weir_executor, watch));

	uv_mutex_lock(&executor->mutex);
	executor->watched = false;
	for (uint32_t i = 0; i < executor->runner_count; i++) {
		struct runner *runner = &executor->runners[i];

		if (!runner->running || runner->stuck || runner->begun != runner->seen)
			continue;
		runner->stuck = true;
		executor->stuck++;
		executor->quick = 0;
		executor->fresh = executor->runner_count;
	}
	uv_mutex_unlock(&executor->mutex);
	executor_look(executor);
}

void runners_watch(struct weir_executor *executor)
{
	if (executor->watched || executor->quick < QUICK_TASKS || executor->active == 0 ||
	    executor->is_shut || uv_is_closing((uv_handle_t *)&executor->uv->timer))
		return;
	for (uint32_t i = 0; i < executor->runner_count; i++)
		executor->runners[i].seen = executor->runners[i].begun;
	executor->watched = true;
	executor->watch.look = on_watch;
	waits_add(executor->uv, &executor->watch, WATCH_NS);
}

void runners_unwatch(struct weir_executor *executor)
{
	waits_remove(executor->uv, &executor->watch);
	executor->watched = false;
}

void runners_cancel(struct weir_executor *executor)
{
	for (uint32_t i = 0; i < executor->runner_count; i++) {
		if (executor->runners[i].active)
			uv_cancel((uv_req_t *)&executor->runners[i].work);
	}
}
