/* SPDX-License-Identifier: Apache-2.0
 *
 * runner.c - threads of libuv's pool, which take and run what may run.
 *
 * A request to the pool runs tasks one after another: a task costs one lock, not a request, a
 * wake-up and a callback of its own. After a few milliseconds it goes to the end of the pool's
 * queue, as everything else that uses the pool wants its turn as well.
 */
#include "executor.h"

#include <errno.h>
#include <stdlib.h>

#define SLICE_NS 5000000u
#define SLICE_LOOK_NS 100000u
#define SLICE_LOOK_TASKS 16

static void run_ended(struct weir_executor *executor, const struct run *run, int value, int fault)
{
	const struct task *task = &executor->tasks[run->task];
	const struct item outcome = {
		.verdict = WEIR_ADMIT,
		.value = value,
		.fault = fault,
		.waited_ns = task->map ? task->map->items[run->item].waited_ns : task->waited_ns,
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

/* What else may run, or get in line, is for a thread that has nothing to do, if there is one. */
static void pass_on(struct weir_executor *executor)
{
	if (executor->sum.running < executor->runner_count && is_any_ready(executor)) {
		executor->fresh++;
		executor->woken = true;
	}
}

/* The wait for tokens and a thread is no part of the call. */
static int carry_out(struct run *run, int *status)
{
	int value;

	if (run->has_permit)
		weir_permit_start(run->endpoint, &run->permit);
	value = run->work(run->data);
	*status = run->has_permit ? weir_permit_release(run->endpoint, &run->permit) : 0;
	return value;
}

/* In a thread of the pool. */
static void run_tasks(uv_work_t *work)
{
	struct runner *runner = work->data;
	struct weir_executor *executor = runner->executor;
	uint64_t now_ns = weir_clock_now(executor->weir);
	struct slice slice = {.until_ns = uv_hrtime() + SLICE_NS, .looked_ns = now_ns};
	struct run run;
	bool found;

	uv_mutex_lock(&executor->mutex);
	found = lanes_next(executor, now_ns, &run);
	for (;;) {
		if (found)
			pass_on(executor);

		bool wake = executor_ask(executor);

		uv_mutex_unlock(&executor->mutex);
		if (wake)
			waits_wake(executor->uv);
		if (!found)
			return;

		int status;
		int value = carry_out(&run, &status);

		now_ns = weir_clock_now(executor->weir);

		bool goes_on = slice_goes_on(&slice, now_ns);

		uv_mutex_lock(&executor->mutex);
		run_ended(executor, &run, value, status == WEIR_EEXPIRED ? status : 0);
		found = goes_on && lanes_next(executor, now_ns, &run);
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

static bool any_ready(struct weir_executor *executor)
{
	uv_mutex_lock(&executor->mutex);
	bool any = is_any_ready(executor);

	uv_mutex_unlock(&executor->mutex);
	return any;
}

void runners_start(struct weir_executor *executor, uint32_t count)
{
	if (executor->active == executor->runner_count || count == 0 || !any_ready(executor))
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

void runners_cancel(struct weir_executor *executor)
{
	for (uint32_t i = 0; i < executor->runner_count; i++) {
		if (executor->runners[i].active)
			uv_cancel((uv_req_t *)&executor->runners[i].work);
	}
}
