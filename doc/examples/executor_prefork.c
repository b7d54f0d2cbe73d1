/* SPDX-License-Identifier: Apache-2.0
 *
 * executor_prefork [--private] - three workers, forked with one handle, each with a loop and an
 * executor of its own: what one limit lets all of them do in half a second. Queues are kept full,
 * and what is left in them at the end is cancelled, and gives its places back. Exit status 1 if
 * more was done than the limit allowed.
 */
#define _POSIX_C_SOURCE 200809L

#include "attach.h"

#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <weir-uv.h>

#define WORKERS 3
#define WORK_MS 500

static const char rules[] = "[endpoint api.example.com]\n"
			    "rate = 50/s\n"
			    "burst = 5\n";

/* One worker's. */
static struct weir_endpoint *api;
static struct weir_executor *executor;

static int call_the_api(void *data)
{
	(void)data;
	return 0;
}

/* As much as the queue takes; again when half of it is free. */
static void fill(struct weir_executor *of, void *data)
{
	const struct weir_task task = {.endpoint = api, .cost = 1, .work = call_the_api};

	(void)data;
	while (weir_executor_submit(of, &task) > 0)
		;
}

static void on_time(uv_timer_t *timer)
{
	weir_executor_shutdown(executor, WEIR_FOREVER, NULL);
	uv_close((uv_handle_t *)timer, NULL);
}

/* A worker's life; returns how many calls it made. */
static uint64_t work(struct weir *weir)
{
	const struct weir_executor_options options = {
		.size = sizeof(options), .threads = 2, .queue = 8, .drain = fill};
	struct weir_executor_statistics sum = {.size = sizeof(sum)};
	uv_loop_t *loop = uv_default_loop();
	struct weir_uv *uv;
	uv_timer_t timer;

	if (weir_uv_open(&uv, loop) < 0 || weir_executor_open(&executor, uv, weir, &options) < 0)
		return 0;
	uv_timer_init(loop, &timer);
	uv_timer_start(&timer, on_time, WORK_MS, 0);
	fill(executor, NULL);
	uv_run(loop, UV_RUN_DEFAULT);
	weir_executor_statistics(executor, &sum);
	weir_executor_close(executor);
	weir_uv_close(uv, NULL, NULL);
	uv_run(loop, UV_RUN_DEFAULT);
	uv_loop_close(loop);
	return sum.completed;
}

/* The sum of what the workers report, once they have all ended. */
static uint64_t gather(int reports)
{
	uint64_t calls;
	uint64_t sum = 0;

	while (wait(NULL) > 0)
		;
	while (read(reports, &calls, sizeof(calls)) == sizeof(calls))
		sum += calls;
	return sum;
}

int main(int argc, char **argv)
{
	struct weir *weir = attach(take_private(&argc, argv), rules, WEIR_CLOCK_BEST);
	struct weir_level level = {.size = sizeof(level)};
	int report[2];

	if (!weir || weir_endpoint(weir, "api.example.com", &api) < 0 || pipe(report) < 0)
		return 2;

	uint64_t began_ns = weir_clock_now(weir);

	if (weir_peek(api, &level) < 0)
		return 2;
	for (int i = 0; i < WORKERS; i++) {
		if (fork() == 0) {
			uint64_t calls = work(weir);

			_exit(write(report[1], &calls, sizeof(calls)) == sizeof(calls) ? 0 : 1);
		}
	}
	close(report[1]);

	uint64_t calls = gather(report[0]);
	double seconds = (double)(weir_clock_now(weir) - began_ns) / 1e9;
	double allowed = level.level + level.rate_per_s * seconds;

	printf("%d workers made %llu calls in %.3f s, of %.1f allowed\n", WORKERS,
	       (unsigned long long)calls, seconds, allowed);
	weir_endpoint_close(api);
	weir_close(weir);
	return (double)calls <= allowed ? 0 : 1;
}
