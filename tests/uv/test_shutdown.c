/* SPDX-License-Identifier: Apache-2.0
 *
 * test_shutdown.c - an executor that is shut down at every stage of a task: everything is told of
 * once, what slept has given its place back, nothing is left. (AddressSanitizer says whether.)
 */
#include "uv_fixture.h"

#include <errno.h>

static const char rules[] = "[endpoint ten]\n"
			    "rate = 10/s\n"
			    "burst = 4\n"
			    "[endpoint free]\n"
			    "rate = unlimited\n";

static struct {
	unsigned ran;
	unsigned cancelled;
	unsigned other;
} told;

static void on_done(struct weir_executor *executor, const struct weir_result *result)
{
	(void)executor;
	if (result->verdict == WEIR_ADMIT)
		told.ran++;
	else if (result->fault == -ECANCELED)
		told.cancelled++;
	else
		told.other++;
}

static int nothing(void *data)
{
	(void)data;
	return 0;
}

static void begin(struct stage *stage, uint32_t threads)
{
	memset(&told, 0, sizeof(told));
	stage_begin(stage, rules);
	stage_executor(stage, threads, 0);
}

static void submit(struct stage *stage, struct weir_endpoint *endpoint, double cost,
		   int (*work)(void *data), void *data)
{
	const struct weir_task task = {
		.endpoint = endpoint, .cost = cost, .work = work, .done = on_done, .data = data};

	assert_true(weir_executor_submit(stage->executor, &task) > 0);
}

static void until_waiting(struct stage *stage)
{
	while (stage_statistics(stage).waiting == 0)
		uv_run(&stage->loop, UV_RUN_NOWAIT);
}

/* Shuts down, with nobody who moves the clock, and finds who was told of what. */
static void shut_down(struct stage *stage, unsigned ran, unsigned cancelled)
{
	stage->stops = 0;
	stage_shut(stage, WEIR_FOREVER);
	assert_int_equal(weir_executor_shutdown(stage->executor, 0, NULL), -EALREADY);
	assert_int_equal(weir_executor_close(stage->executor), -EBUSY);
	while (stage->stops == 0)
		uv_run(&stage->loop, UV_RUN_NOWAIT);
	assert_int_equal(stage->status, 0);
	assert_int_equal(told.ran, ran);
	assert_int_equal(told.cancelled, cancelled);
	assert_int_equal(told.other, 0);

	struct weir_executor_statistics sum = stage_statistics(stage);

	assert_int_equal(sum.queued + sum.running + sum.waiting, 0);
	assert_int_equal(sum.completed, ran);
	assert_int_equal(sum.submitted, ran + cancelled);
	assert_int_equal(weir_executor_close(stage->executor), 0);
	stage->executor = NULL;
	stage_end(stage);
}

static void test_unused(void **state)
{
	struct stage stage;

	(void)state;
	begin(&stage, 2);
	shut_down(&stage, 0, 0);
}

/* Not even the loop knows of them. */
static void test_just_submitted(void **state)
{
	struct weir_endpoint *ten;
	void *data[3] = {NULL};
	struct stage stage;

	(void)state;
	begin(&stage, 2);
	ten = stage_endpoint(&stage, "ten");

	const struct weir_task task = {
		.endpoint = ten, .cost = 1, .work = nothing, .done = on_done};

	submit(&stage, ten, 1, nothing, NULL);
	submit(&stage, ten, 1, nothing, NULL);
	assert_true(weir_executor_map(stage.executor, &task, data, 3) > 0);
	shut_down(&stage, 0, 5);
	weir_endpoint_close(ten);
}

/* In line, with others behind: the tokens are as if they had not been there. */
static void test_waiting(void **state)
{
	struct weir_endpoint *ten;
	struct stage stage;

	(void)state;
	begin(&stage, 2);
	ten = stage_endpoint(&stage, "ten");
	submit(&stage, ten, 4, nothing, NULL);
	submit(&stage, ten, 3, nothing, NULL);
	submit(&stage, ten, 3, nothing, NULL);
	until_waiting(&stage);
	assert_tokens(ten, -3);
	stage_look(&stage);
	stage_shut(&stage, WEIR_FOREVER);
	assert_tokens(ten, 0);
	while (stage.stops == 0)
		uv_run(&stage.loop, UV_RUN_NOWAIT);
	assert_int_equal(told.ran, 1);
	assert_int_equal(told.cancelled, 2);
	assert_int_equal(weir_executor_close(stage.executor), 0);
	stage.executor = NULL;
	stage_end(&stage);
	weir_endpoint_close(ten);
}

/* Its turn has come, and no thread is free: the tokens go back. */
static void test_paid(void **state)
{
	struct weir_endpoint *ten, *free_one;
	struct stage stage;
	struct hold hold;

	(void)state;
	begin(&stage, 2);
	hold_begin(&hold);
	ten = stage_endpoint(&stage, "ten");
	free_one = stage_endpoint(&stage, "free");
	submit(&stage, ten, 4, nothing, NULL);
	submit(&stage, ten, 2, nothing, NULL);
	until_waiting(&stage);
	submit(&stage, free_one, 1, hold_work, &hold);
	submit(&stage, free_one, 1, hold_work, &hold);
	hold_until(&hold, &stage, 2);
	assert_int_equal(weir_clock_advance(stage.weir, 250 * MS), 0);
	while (stage_statistics(&stage).waiting > 0)
		uv_run(&stage.loop, UV_RUN_NOWAIT);
	assert_tokens(ten, 0.5);
	/* what costs the same takes it over, and what does not, does not */
	stage_shut(&stage, WEIR_FOREVER);
	assert_tokens(ten, 2.5);
	hold_open(&hold);
	while (stage.stops == 0)
		uv_run(&stage.loop, UV_RUN_NOWAIT);
	assert_int_equal(told.ran, 3);
	assert_int_equal(told.cancelled, 1);
	assert_int_equal(weir_executor_close(stage.executor), 0);
	stage.executor = NULL;
	stage_end(&stage);
	hold_end(&hold);
	weir_endpoint_close(ten);
	weir_endpoint_close(free_one);
}

/* What runs is waited for, and what is behind it does not start. */
static void test_running(void **state)
{
	struct weir_endpoint *free_one;
	struct stage stage;
	struct hold hold;

	(void)state;
	begin(&stage, 2);
	hold_begin(&hold);
	free_one = stage_endpoint(&stage, "free");
	for (int i = 0; i < 5; i++)
		submit(&stage, free_one, 1, hold_work, &hold);
	hold_until(&hold, &stage, 2);
	stage_shut(&stage, WEIR_FOREVER);
	stage_look(&stage);
	assert_int_equal(stage.stops, 0);
	assert_int_equal(told.cancelled, 3);
	hold_open(&hold);
	while (stage.stops == 0)
		uv_run(&stage.loop, UV_RUN_NOWAIT);
	assert_int_equal(told.ran, 2);
	assert_int_equal(hold.entered, 2);
	assert_int_equal(weir_executor_close(stage.executor), 0);
	stage.executor = NULL;
	stage_end(&stage);
	hold_end(&hold);
	weir_endpoint_close(free_one);
}

static void test_within_a_map(void **state)
{
	struct weir_endpoint *free_one;
	void *data[10];
	struct stage stage;
	struct hold hold;

	(void)state;
	begin(&stage, 2);
	hold_begin(&hold);
	free_one = stage_endpoint(&stage, "free");
	for (size_t i = 0; i < 10; i++)
		data[i] = &hold;

	const struct weir_task task = {
		.endpoint = free_one, .cost = 1, .work = hold_work, .done = on_done};

	assert_true(weir_executor_map(stage.executor, &task, data, 10) > 0);
	hold_until(&hold, &stage, 2);
	stage_shut(&stage, WEIR_FOREVER);
	hold_open(&hold);
	while (stage.stops == 0)
		uv_run(&stage.loop, UV_RUN_NOWAIT);
	assert_int_equal(told.ran, 2);
	assert_int_equal(told.cancelled, 8);
	assert_int_equal(weir_executor_close(stage.executor), 0);
	stage.executor = NULL;
	stage_end(&stage);
	hold_end(&hold);
	weir_endpoint_close(free_one);
}

/* It ran, and nobody has been told of it yet. */
static void test_untold(void **state)
{
	struct weir_endpoint *free_one;
	struct stage stage;

	(void)state;
	begin(&stage, 1);
	free_one = stage_endpoint(&stage, "free");
	for (int i = 0; i < 100; i++)
		submit(&stage, free_one, 1, nothing, NULL);
	uv_run(&stage.loop, UV_RUN_NOWAIT);
	while (stage_statistics(&stage).completed < 100)
		uv_sleep(1);
	shut_down(&stage, 100, 0);
	weir_endpoint_close(free_one);
}

static void on_block(uv_work_t *work)
{
	hold_work(work->data);
}

/* The pool is full of other work: what the executor has queued there never begins. */
static void test_pool_is_busy(void **state)
{
	struct weir_endpoint *free_one;
	uv_work_t blocks[8];
	struct stage stage;
	struct hold hold;

	(void)state;
	begin(&stage, 2);
	hold_begin(&hold);
	free_one = stage_endpoint(&stage, "free");
	for (size_t i = 0; i < LENGTH(blocks); i++) {
		blocks[i].data = &hold;
		assert_int_equal(uv_queue_work(&stage.loop, &blocks[i], on_block, NULL), 0);
	}
	hold_until(&hold, &stage, LENGTH(blocks));
	submit(&stage, free_one, 1, nothing, NULL);
	submit(&stage, free_one, 1, nothing, NULL);
	stage_look(&stage);
	stage_shut(&stage, WEIR_FOREVER);
	while (stage.stops == 0)
		uv_run(&stage.loop, UV_RUN_NOWAIT);
	assert_int_equal(stage.status, 0);
	assert_int_equal(told.cancelled, 2);
	assert_int_equal(weir_executor_close(stage.executor), 0);
	stage.executor = NULL;
	hold_open(&hold);
	stage_end(&stage);
	hold_end(&hold);
	weir_endpoint_close(free_one);
}

/* Work that never returns is reported when the time is over, and may be waited for anew. */
static void test_never_returns(void **state)
{
	struct weir_endpoint *free_one;
	struct stage stage;
	struct hold hold;

	(void)state;
	begin(&stage, 2);
	hold_begin(&hold);
	free_one = stage_endpoint(&stage, "free");
	submit(&stage, free_one, 1, hold_work, &hold);
	hold_until(&hold, &stage, 1);
	for (unsigned i = 1; i <= 2; i++) {
		stage_shut(&stage, i * MS);
		while (stage.stops < i)
			uv_run(&stage.loop, UV_RUN_NOWAIT);
		assert_int_equal(stage.status, -ETIMEDOUT);
		assert_int_equal(stage_statistics(&stage).running, 1);
		assert_int_equal(weir_executor_close(stage.executor), -EBUSY);
	}
	hold_open(&hold);
	/* it is told of when it does return, and nothing keeps the loop then */
	uv_run(&stage.loop, UV_RUN_DEFAULT);
	assert_int_equal(told.ran, 1);
	assert_int_equal(weir_executor_close(stage.executor), 0);
	stage.executor = NULL;
	stage_end(&stage);
	hold_end(&hold);
	weir_endpoint_close(free_one);
}

static struct stage *shut_by;

static void on_done_shut(struct weir_executor *executor, const struct weir_result *result)
{
	on_done(executor, result);
	if (told.ran + told.cancelled > 1)
		return;
	stage_shut(shut_by, WEIR_FOREVER);
	assert_int_equal(weir_executor_close(executor), -EBUSY);
}

/* From within a callback, with others that have ended and are still to be told of. */
static void test_from_a_callback(void **state)
{
	struct weir_endpoint *free_one;
	struct stage stage;

	(void)state;
	begin(&stage, 1);
	shut_by = &stage;
	free_one = stage_endpoint(&stage, "free");

	const struct weir_task task = {
		.endpoint = free_one, .cost = 1, .work = nothing, .done = on_done_shut};

	for (int i = 0; i < 200; i++)
		assert_true(weir_executor_submit(stage.executor, &task) > 0);
	while (stage.stops == 0)
		uv_run(&stage.loop, UV_RUN_NOWAIT);
	assert_int_equal(told.ran + told.cancelled, 200);
	assert_int_equal(weir_executor_close(stage.executor), 0);
	stage.executor = NULL;
	stage_end(&stage);
	weir_endpoint_close(free_one);
}

/* A loop whose handles were closed under an executor: threads end, tokens are back. */
static void close_it(uv_handle_t *handle, void *context)
{
	(void)context;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

static void test_loop_closed(void **state)
{
	struct weir_endpoint *ten;
	struct stage stage;

	(void)state;
	begin(&stage, 1);
	ten = stage_endpoint(&stage, "ten");
	submit(&stage, ten, 4, nothing, NULL);
	submit(&stage, ten, 1, nothing, NULL);
	until_waiting(&stage);
	stage_look(&stage);
	uv_walk(&stage.loop, close_it, NULL);
	uv_run(&stage.loop, UV_RUN_DEFAULT);
	assert_int_equal(told.ran, 1);
	stage_shut(&stage, WEIR_FOREVER);
	assert_tokens(ten, 0);
	/* nobody wakes this loop any more, so it is told at once */
	assert_int_equal(stage.stops, 1);
	assert_int_equal(stage.status, 0);
	assert_int_equal(told.cancelled, 1);
	assert_int_equal(weir_executor_close(stage.executor), 0);
	stage.executor = NULL;
	stage_end(&stage);
	weir_endpoint_close(ten);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unused),	      cmocka_unit_test(test_just_submitted),
		cmocka_unit_test(test_waiting),	      cmocka_unit_test(test_paid),
		cmocka_unit_test(test_running),	      cmocka_unit_test(test_within_a_map),
		cmocka_unit_test(test_untold),	      cmocka_unit_test(test_pool_is_busy),
		cmocka_unit_test(test_never_returns), cmocka_unit_test(test_from_a_callback),
		cmocka_unit_test(test_loop_closed),
	};

	setenv("UV_THREADPOOL_SIZE", "8", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
