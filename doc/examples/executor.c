/* SPDX-License-Identifier: Apache-2.0
 *
 * executor [--private] - twelve calls of an API, each in a thread of libuv's pool, at the rate that
 * all programs of the host share; the results in the order of the input. Meanwhile a job of less
 * importance is queued, which is over before its turn comes: it is cancelled by the shutdown.
 */
#define _POSIX_C_SOURCE 200809L

#include "attach.h"

#include <stdint.h>

#include <weir-uv.h>

#define CALLS 12

static const char rules[] = "[endpoint api.example.com]\n"
			    "rate = 50/s\n"
			    "burst = 5\n"
			    "[endpoint slow.example.com]\n"
			    "rate = 1/h\n"
			    "burst = 1\n";

/* The call itself: the shorter ones are back first. */
static int call_the_api(void *data)
{
	const int *item = data;

	uv_sleep((unsigned)(CALLS - *item));
	return *item * *item;
}

static void on_stopped(struct weir_executor *executor, int status)
{
	struct weir_executor_statistics sum = {.size = sizeof(sum)};

	weir_executor_statistics(executor, &sum);
	printf("%s: %llu done, %llu cancelled\n", status == 0 ? "stopped" : weir_strerror(status),
	       (unsigned long long)sum.completed, (unsigned long long)sum.cancelled);
	weir_executor_close(executor);
}

static void on_call(struct weir_executor *executor, const struct weir_result *result)
{
	const int *item = result->data;

	if (result->verdict)
		printf("%d squared is %d\n", *item, result->value);
	else
		printf("%d: %s\n", *item, weir_strerror(result->fault));
	if (result->index == CALLS - 1)
		weir_executor_shutdown(executor, 5 * WEIR_SECOND, on_stopped);
}

/* Queues all of it. */
static int submit(struct weir_executor *executor, struct weir_endpoint *api,
		  struct weir_endpoint *slow)
{
	static int items[CALLS];
	void *data[CALLS];
	struct weir_task task = {.endpoint = api, .cost = 1, .work = call_the_api, .done = on_call};
	struct weir_task job = {.endpoint = slow, .cost = 1, .work = call_the_api};

	for (int i = 0; i < CALLS; i++) {
		items[i] = i;
		data[i] = &items[i];
	}
	job.data = data[0];
	job.priority = WEIR_PRIORITY_LOW;
	return weir_executor_map(executor, &task, data, CALLS) > 0 &&
			       weir_executor_submit(executor, &job) > 0
		       ? 0
		       : 2;
}

int main(int argc, char **argv)
{
	struct weir *weir = attach(take_private(&argc, argv), rules, WEIR_CLOCK_BEST);
	uv_loop_t *loop = uv_default_loop();
	struct weir_executor *executor;
	struct weir_endpoint *slow;
	struct weir_endpoint *api;
	struct weir_uv *uv;

	if (!weir || weir_endpoint(weir, "api.example.com", &api) < 0 ||
	    weir_endpoint(weir, "slow.example.com", &slow) < 0 || weir_uv_open(&uv, loop) < 0 ||
	    weir_executor_open(&executor, uv, weir, NULL) < 0)
		return 2;
	weir_acquire(slow, 1, NULL); /* its hour's worth is gone */

	int status = submit(executor, api, slow);

	uv_run(loop, UV_RUN_DEFAULT); /* until the executor has stopped */
	weir_uv_close(uv, NULL, NULL);
	uv_run(loop, UV_RUN_DEFAULT);
	uv_loop_close(loop);
	weir_endpoint_close(api);
	weir_endpoint_close(slow);
	weir_close(weir);
	return status;
}
