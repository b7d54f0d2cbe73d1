/* SPDX-License-Identifier: Apache-2.0
 *
 * uv.c - libweir-uv's executor beside uv_queue_work, with work that does nothing: what is left is
 * what it costs to have it done elsewhere and to be told.
 */
#include "bench.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

#include "weir-uv.h"

#define TASKS 100000u /* in flight at once, and the least of a batch */

static const char rules_text[] = "[endpoint free]\n"
				 "rate = unlimited\n"
				 "[endpoint limited]\n"
				 "rate = 20000/s\n"
				 "burst = 200\n"
				 "[endpoint dry]\n"
				 "rate = 1/d\n"
				 "burst = 1\n";

#define LIMITED_PER_S 20000.0
#define LIMITED_TASKS 10000u

static uv_loop_t loop;
static struct weir *host;
static struct weir_uv *uv;
static struct weir_executor *executor;
static struct weir_endpoint *endpoint;
static uv_work_t *works;
static uint64_t ended, well;

/* ---- uv_queue_work, one request a task ---- */

static int enter_queue(unsigned process)
{
	(void)process;
	works = calloc(TASKS, sizeof(*works));
	return works ? uv_loop_init(&loop) : -ENOMEM;
}

static void leave_queue(void)
{
	uv_loop_close(&loop);
	free(works);
}

static void on_work(uv_work_t *work)
{
	(void)work;
}

static void on_worked(uv_work_t *work, int status)
{
	(void)work;
	ended++;
	well += status == 0;
}

static uint64_t run_queue(uint64_t ops)
{
	ended = well = 0;
	while (ended < ops) {
		uint64_t count = ops - ended < TASKS ? ops - ended : TASKS;

		for (uint64_t i = 0; i < count; i++)
			uv_queue_work(&loop, &works[i], on_work, on_worked);
		uv_run(&loop, UV_RUN_DEFAULT);
	}
	return well;
}

/* ---- the executor ---- */

static int enter(const char *name)
{
	const struct weir_executor_options options = {.size = sizeof(options), .queue = TASKS};
	int status = uv_loop_init(&loop);

	if (status == 0)
		status = weir_host(&host, rules_text, WEIR_CLOCK_BEST, NULL, NULL, 0);
	if (status == 0)
		status = weir_endpoint(host, name, &endpoint);
	if (status == 0)
		status = weir_uv_open(&uv, &loop);
	if (status == 0)
		status = weir_executor_open(&executor, uv, host, &options);
	return status;
}

static int enter_free(unsigned process)
{
	(void)process;
	return enter("free");
}

static void on_stopped(struct weir_executor *stopped, int status)
{
	(void)status;
	weir_executor_close(stopped);
	weir_uv_close(uv, NULL, NULL);
}

static void leave_executor(void)
{
	weir_executor_shutdown(executor, WEIR_FOREVER, on_stopped);
	uv_run(&loop, UV_RUN_DEFAULT);
	uv_loop_close(&loop);
	weir_endpoint_close(endpoint);
	weir_close(host);
}

static int do_nothing(void *data)
{
	(void)data;
	return 0;
}

static void on_done(struct weir_executor *of, const struct weir_result *result)
{
	(void)of;
	ended++;
	well += result->verdict == WEIR_ADMIT;
}

static void run_tasks(uint64_t ops)
{
	const struct weir_task task = {
		.endpoint = endpoint, .cost = 1, .work = do_nothing, .done = on_done};
	uint64_t submitted = 0;

	ended = well = 0;
	while (ended < ops) {
		while (submitted < ops && weir_executor_submit(executor, &task) > 0)
			submitted++;
		uv_run(&loop, UV_RUN_ONCE);
	}
}

static uint64_t run_free(uint64_t ops)
{
	run_tasks(ops);
	return well;
}

/* ---- under a limit ---- */

static int enter_limited(unsigned process)
{
	(void)process;
	return enter("limited");
}

/*
 * From an empty bucket, so that every task has to wait for its token. Not well is the run in which
 * more of them ran than the limit allowed in that time.
 */
static uint64_t run_limited(uint64_t ops)
{
	while (weir_acquire(endpoint, 1, NULL))
		;

	uint64_t began_ns = weir_clock_now(host);

	run_tasks(ops);

	double seconds = (double)(weir_clock_now(host) - began_ns) / 1e9;

	return (double)ops <= LIMITED_PER_S * seconds + 1 ? well : 0;
}

/* ---- the size of a queued task ---- */

static uint64_t allocated(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

uint64_t bench_task_bytes(void)
{
	const struct weir_task task = {.cost = 1, .work = do_nothing};
	struct weir_task queued = task;
	uint64_t before = allocated();
	uint64_t bytes = 0;

	if (enter("dry") < 0)
		return 0;
	queued.endpoint = endpoint;
	weir_acquire(endpoint, 1, NULL);
	for (unsigned i = 0; i < TASKS; i++)
		bytes += weir_executor_submit(executor, &queued) > 0;
	/* all that there is, the handles and the host as well, over all tasks */
	bytes = bytes == TASKS ? (allocated() - before + TASKS - 1) / TASKS : 0;
	leave_executor();
	return bytes;
}

const struct bench_work bench_uv_queue = {
	.name = "peer/uv_queue_work",
	.least = TASKS,
	.spread = true,
	.enter = enter_queue,
	.run = run_queue,
	.leave = leave_queue,
};

const struct bench_work bench_executor = {
	.name = "weir/executor",
	.least = TASKS,
	.spread = true,
	.enter = enter_free,
	.run = run_free,
	.leave = leave_executor,
};

const struct bench_work bench_executor_limited = {
	.name = "weir/executor-limited",
	.least = LIMITED_TASKS,
	.spread = true,
	.enter = enter_limited,
	.run = run_limited,
	.leave = leave_executor,
};
