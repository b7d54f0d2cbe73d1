/* SPDX-License-Identifier: Apache-2.0
 *
 * test_permits.c - an executor for endpoints with `concurrency`: never more inside than the host
 * has permits, whatever the threads; first the permit, then the token; all of it given back.
 */
#include "uv_fixture.h"

#include <errno.h>

static const char rules[] = "[endpoint five]\n"
			    "rate = unlimited\n"
			    "concurrency = 5\n"
			    "[endpoint both]\n"
			    "rate = 2/s\n"
			    "burst = 2\n"
			    "concurrency = 1\n"
			    "[endpoint free]\n"
			    "rate = unlimited\n";

static unsigned told;
static unsigned cancelled;

static void on_done(struct weir_executor *executor, const struct weir_result *result)
{
	(void)executor;
	told++;
	cancelled += result->fault == -ECANCELED;
}

static int nothing(void *data)
{
	(void)data;
	return 0;
}

static void begin(struct stage *stage, uint32_t threads)
{
	told = cancelled = 0;
	stage_begin(stage, rules);
	stage_executor(stage, threads, 0);
}

static void submit(struct weir_executor *executor, struct weir_endpoint *endpoint,
		   int (*work)(void *data), void *data)
{
	const struct weir_task task = {
		.endpoint = endpoint, .cost = 1, .work = work, .done = on_done, .data = data};

	assert_true(weir_executor_submit(executor, &task) > 0);
}

/* IT-5 by the endpoint's own limit: ten operations, eight threads, never more than five inside. */
static void test_it_5_permits(void **state)
{
	struct weir_endpoint *five;
	struct stage stage;
	struct hold hold;

	(void)state;
	begin(&stage, 8);
	hold_begin(&hold);
	five = stage_endpoint(&stage, "five");
	for (int i = 0; i < 10; i++)
		submit(stage.executor, five, hold_work, &hold);
	hold_until(&hold, &stage, 5);
	stage_look(&stage);
	assert_int_equal(hold.entered, 5);
	assert_int_equal(permits_of(five).held, 5);
	hold_open(&hold);
	stage_until(&stage, &told, 10);
	assert_int_equal(hold.most, 5);
	assert_int_equal(hold.entered, 10);
	assert_int_equal(permits_of(five).held, 0);
	assert_int_equal(permits_of(five).waiting, 0);
	hold_end(&hold);
	weir_endpoint_close(five);
	stage_end(&stage);
}

/* A limit that comes while tasks run holds for those that begin after it, and so does its end. */
static void test_limit_comes_and_goes(void **state)
{
	struct weir_endpoint *free;
	struct stage stage;
	struct hold first;
	struct hold then;

	(void)state;
	begin(&stage, 8);
	hold_begin(&first);
	hold_begin(&then);
	free = stage_endpoint(&stage, "free");
	for (int i = 0; i < 3; i++)
		submit(stage.executor, free, hold_work, &first);
	hold_until(&first, &stage, 3);
	assert_int_equal(weir_executor_update_rate_limit(stage.executor, "free", "concurrency=2",
							 WEIR_KEEP_USED, NULL, 0),
			 0);
	for (int i = 0; i < 4; i++)
		submit(stage.executor, free, hold_work, &then);
	hold_until(&then, &stage, 2);
	stage_look(&stage);
	assert_int_equal(then.entered, 2);
	assert_int_equal(permits_of(free).held, 2);
	assert_int_equal(weir_executor_update_rate_limit(stage.executor, "free",
							 "concurrency=unlimited", WEIR_KEEP_USED,
							 NULL, 0),
			 0);
	hold_until(&then, &stage, 4);
	hold_open(&first);
	hold_open(&then);
	stage_until(&stage, &told, 7);
	assert_int_equal(permits_of(free).held, 0);
	hold_end(&first);
	hold_end(&then);
	weir_endpoint_close(free);
	stage_end(&stage);
}

/* IT-6: one at a time and two a second, by both limits of one endpoint. */
static void test_it_6_both(void **state)
{
	struct weir_endpoint *both;
	struct stage stage;

	(void)state;
	begin(&stage, 4);
	both = stage_endpoint(&stage, "both");

	uint64_t began_ns = weir_clock_now(stage.weir);

	for (int i = 0; i < 5; i++)
		submit(stage.executor, both, nothing, NULL);
	stage_until(&stage, &told, 5);
	assert_int_equal(weir_clock_now(stage.weir) - began_ns, 1500 * MS);
	assert_int_equal(permits_of(both).held, 0);
	weir_endpoint_close(both);
	stage_end(&stage);
}

/* Defect 13: who waits for a permit has spent no token. */
static void test_defect_13_no_token_without_permit(void **state)
{
	struct weir_endpoint *both;
	struct stage stage;
	struct hold hold;

	(void)state;
	begin(&stage, 4);
	hold_begin(&hold);
	both = stage_endpoint(&stage, "both");
	submit(stage.executor, both, hold_work, &hold);
	hold_until(&hold, &stage, 1);
	submit(stage.executor, both, nothing, NULL);
	while (stage_statistics(&stage).waiting == 0)
		uv_run(&stage.loop, UV_RUN_NOWAIT);
	stage_look(&stage);
	assert_tokens(both, 1);
	assert_int_equal(permits_of(both).waiting, 1);
	/* shut down: it leaves the line */
	stage_shut(&stage, WEIR_FOREVER);
	assert_int_equal(permits_of(both).waiting, 0);
	hold_open(&hold);
	while (stage.stops == 0)
		uv_run(&stage.loop, UV_RUN_NOWAIT);
	assert_int_equal(told, 2);
	assert_int_equal(cancelled, 1);
	assert_tokens(both, 1);
	assert_int_equal(permits_of(both).held, 0);
	assert_int_equal(weir_executor_close(stage.executor), 0);
	stage.executor = NULL;
	hold_end(&hold);
	weir_endpoint_close(both);
	stage_end(&stage);
}

/* In line for a token it holds its permit; the shutdown gives back both. */
static void test_shutdown_gives_both_back(void **state)
{
	struct weir_endpoint *both;
	struct stage stage;

	(void)state;
	begin(&stage, 4);
	both = stage_endpoint(&stage, "both");
	assert_int_equal(weir_acquire(both, 2, NULL), WEIR_ADMIT);
	submit(stage.executor, both, nothing, NULL);
	while (stage_statistics(&stage).waiting == 0)
		uv_run(&stage.loop, UV_RUN_NOWAIT);
	assert_int_equal(permits_of(both).held, 1);
	assert_tokens(both, -1);
	stage_shut(&stage, WEIR_FOREVER);
	assert_int_equal(permits_of(both).held, 0);
	assert_tokens(both, 0);
	while (stage.stops == 0)
		uv_run(&stage.loop, UV_RUN_NOWAIT);
	assert_int_equal(cancelled, 1);
	assert_int_equal(weir_executor_close(stage.executor), 0);
	stage.executor = NULL;
	weir_endpoint_close(both);
	stage_end(&stage);
}

/* The permits are held by somebody else: one that comes free is seen without a bell. */
static void test_from_elsewhere(void **state)
{
	struct weir_permit permits[5];
	struct weir_endpoint *five;
	struct stage stage;

	(void)state;
	begin(&stage, 2);
	five = stage_endpoint(&stage, "five");
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(weir_permit_take(five, 0, &permits[i], NULL), WEIR_ADMIT);
	submit(stage.executor, five, nothing, NULL);
	while (stage_statistics(&stage).waiting == 0)
		uv_run(&stage.loop, UV_RUN_NOWAIT);
	stage_look(&stage);
	assert_int_equal(told, 0);
	assert_int_equal(weir_permit_release(five, &permits[2]), 0);
	stage_until(&stage, &told, 1);
	assert_int_equal(permits_of(five).held, 4);
	for (size_t i = 0; i < 5; i++)
		weir_permit_release(five, &permits[i]);
	weir_endpoint_close(five);
	stage_end(&stage);
}

/* All threads are busy elsewhere: it does not stand first in a line that it cannot go on from. */
static void test_leaves_the_line_without_a_thread(void **state)
{
	struct weir_endpoint *five, *free_one;
	struct weir_permit permits[5];
	struct stage stage;
	struct hold hold;

	(void)state;
	begin(&stage, 2);
	hold_begin(&hold);
	five = stage_endpoint(&stage, "five");
	free_one = stage_endpoint(&stage, "free");
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(weir_permit_take(five, 0, &permits[i], NULL), WEIR_ADMIT);
	submit(stage.executor, five, nothing, NULL);
	while (stage_statistics(&stage).waiting == 0)
		uv_run(&stage.loop, UV_RUN_NOWAIT);
	submit(stage.executor, free_one, hold_work, &hold);
	submit(stage.executor, free_one, hold_work, &hold);
	hold_until(&hold, &stage, 2);
	while (permits_of(five).waiting > 0)
		uv_run(&stage.loop, UV_RUN_NOWAIT);
	assert_int_equal(weir_permit_release(five, &permits[0]), 0);
	assert_int_equal(weir_permit_take(five, 0, &permits[0], NULL), WEIR_ADMIT);
	for (size_t i = 0; i < 5; i++)
		weir_permit_release(five, &permits[i]);
	hold_open(&hold);
	stage_until(&stage, &told, 3);
	hold_end(&hold);
	weir_endpoint_close(five);
	weir_endpoint_close(free_one);
	stage_end(&stage);
}

static struct {
	_Atomic int inside;
	_Atomic int most;
} crowd;

static int enter_crowd(void *data)
{
	/* relaxed: the counts alone are looked at */
	int inside = atomic_fetch_add_explicit(&crowd.inside, 1, memory_order_relaxed) + 1;
	int most = atomic_load_explicit(&crowd.most, memory_order_relaxed);

	(void)data;
	while (inside > most &&
	       !atomic_compare_exchange_weak_explicit(&crowd.most, &most, inside,
						      memory_order_relaxed, memory_order_relaxed))
		;
	uv_sleep(0);
	atomic_fetch_sub_explicit(&crowd.inside, 1, memory_order_relaxed);
	return 0;
}

/* Two executors, which know nothing of each other, with more threads than permits. */
static void test_two_executors(void **state)
{
	const struct weir_executor_options options = {.size = sizeof(options), .threads = 4};
	struct weir_executor *executors[2];
	struct weir_endpoint *five;
	struct stage stage;

	(void)state;
	begin(&stage, 4);
	crowd.most = 0;
	five = stage_endpoint(&stage, "five");
	executors[0] = stage.executor;
	assert_int_equal(weir_executor_open(&executors[1], stage.uv, stage.weir, &options), 0);
	for (int i = 0; i < 1000; i++)
		submit(executors[i % 2], five, enter_crowd, NULL);
	stage_until(&stage, &told, 1000);
	assert_true(crowd.most >= 1 && crowd.most <= 5);
	assert_int_equal(permits_of(five).held, 0);
	assert_int_equal(permits_of(five).waiting, 0);
	stage.executor = executors[1];
	stage_shut(&stage, WEIR_FOREVER);
	while (stage.stops == 0)
		uv_run(&stage.loop, UV_RUN_NOWAIT);
	assert_int_equal(weir_executor_close(executors[1]), 0);
	stage.executor = executors[0];
	weir_endpoint_close(five);
	stage_end(&stage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_it_5_permits),
		cmocka_unit_test(test_limit_comes_and_goes),
		cmocka_unit_test(test_it_6_both),
		cmocka_unit_test(test_defect_13_no_token_without_permit),
		cmocka_unit_test(test_shutdown_gives_both_back),
		cmocka_unit_test(test_from_elsewhere),
		cmocka_unit_test(test_leaves_the_line_without_a_thread),
		cmocka_unit_test(test_two_executors),
	};

	setenv("UV_THREADPOOL_SIZE", "8", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
