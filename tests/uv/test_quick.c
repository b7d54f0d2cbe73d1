/* SPDX-License-Identifier: Apache-2.0
 *
 * test_quick.c - tasks that take next to no time, which one thread runs and of which many are told
 * of together; and among them some that do not return, which must hold up nobody.
 */
#include "uv_fixture.h"

#include <errno.h>
#include <unistd.h>

#define TASKS 3000
#define THREADS 3
#define ROUNDS 8

static const char rules[] = "[endpoint free]\n"
			    "rate = unlimited\n";

static atomic_bool may_return;
static unsigned told;
static unsigned told_of[TASKS];

static int nothing(void *data)
{
	(void)data;
	return 0;
}

static int stay(void *data)
{
	(void)data;
	while (!atomic_load(&may_return))
		usleep(500);
	return 1;
}

/* An item of a map: the one without a number stays. */
static int stay_if_null(void *data)
{
	return data ? 0 : stay(NULL);
}

static void on_done(struct weir_executor *executor, const struct weir_result *result)
{
	size_t index = (uintptr_t)result->data;

	(void)executor;
	assert_int_equal(result->verdict, WEIR_ADMIT);
	assert_in_range(index, 0, TASKS - 1);
	told_of[index]++;
	told++;
}

static void on_item(struct weir_executor *executor, const struct weir_result *result)
{
	(void)executor;
	assert_int_equal(result->index, told);
	told++;
}

static void begin(struct stage *stage, uint32_t queue)
{
	stage_begin(stage, rules);
	stage_executor(stage, THREADS, queue);
	atomic_store(&may_return, false);
	memset(told_of, 0, sizeof(told_of));
	told = 0;
}

static void submit(struct stage *stage, struct weir_endpoint *endpoint, size_t index, bool stays)
{
	const struct weir_task task = {
		.endpoint = endpoint,
		.cost = 1,
		.work = stays ? stay : nothing,
		.done = on_done,
		.data = (void *)(uintptr_t)index, /* NOLINT(performance-no-int-to-ptr) */
	};

	assert_true(weir_executor_submit(stage->executor, &task) > 0);
}

static bool is_among(const size_t *of, size_t count, size_t index)
{
	for (size_t i = 0; i < count; i++) {
		if (of[i] == index)
			return true;
	}
	return false;
}

/* All others are told of while those stay, wherever they are. */
static void others_go_on(const size_t *stays, size_t count)
{
	struct stage stage;
	struct weir_endpoint *endpoint;

	begin(&stage, TASKS);
	endpoint = stage_endpoint(&stage, "free");
	for (size_t i = 0; i < TASKS; i++)
		submit(&stage, endpoint, i, is_among(stays, count, i));
	stage_until(&stage, &told, TASKS - (unsigned)count);
	for (size_t i = 0; i < TASKS; i++)
		assert_int_equal(told_of[i], is_among(stays, count, i) ? 0 : 1);
	while (stage_statistics(&stage).running != count) /* the last may be about to begin */
		uv_run(&stage.loop, UV_RUN_NOWAIT);
	atomic_store(&may_return, true);
	stage_until(&stage, &told, TASKS);
	assert_int_equal(stage_statistics(&stage).completed, TASKS);
	assert_int_equal(stage_statistics(&stage).running, 0);
	weir_endpoint_close(endpoint);
	stage_end(&stage);
}

static void test_one_stays(void **state)
{
	(void)state;
	for (size_t round = 0; round < ROUNDS; round++) {
		const size_t stays[] = {500 + round * 300};

		others_go_on(stays, LENGTH(stays));
	}
}

static void test_two_stay(void **state)
{
	(void)state;
	for (size_t round = 0; round < ROUNDS; round++) {
		const size_t stays[] = {100 + round, 1500 + round * 200};

		others_go_on(stays, LENGTH(stays));
	}
}

/* What ended before it is told of, though nothing comes behind it. */
static void test_the_last_stays(void **state)
{
	const size_t stays[] = {TASKS - 1};

	(void)state;
	for (size_t round = 0; round < ROUNDS; round++)
		others_go_on(stays, LENGTH(stays));
}

/* As many as there are threads, one by one: each time another thread goes on. */
static void test_all_stay(void **state)
{
	const size_t stays[] = {900, 1900, TASKS - 1};

	(void)state;
	for (size_t round = 0; round < ROUNDS; round++)
		others_go_on(stays, LENGTH(stays));
}

/* Items of a map, in the order of the input up to the one that stays; then the rest. */
static void test_an_item_stays(void **state)
{
	enum { AT = 1000 };
	static void *data[TASKS];
	struct weir_task task = {.cost = 1, .work = stay_if_null, .done = on_item};
	struct stage stage;
	struct weir_endpoint *endpoint;

	(void)state;
	for (size_t i = 0; i < TASKS; i++)
		data[i] = i == AT ? NULL : &data[i];
	begin(&stage, 4);
	task.endpoint = endpoint = stage_endpoint(&stage, "free");
	assert_true(weir_executor_map(stage.executor, &task, data, TASKS) > 0);
	stage_until(&stage, &told, AT);
	while (stage_statistics(&stage).completed < TASKS - 1)
		uv_run(&stage.loop, UV_RUN_NOWAIT);
	assert_int_equal(told, AT);
	atomic_store(&may_return, true);
	stage_until(&stage, &told, TASKS);
	weir_endpoint_close(endpoint);
	stage_end(&stage);
}

/* A shutdown among them: every task is told of once, run or not. */
static unsigned ended;

static void on_ended(struct weir_executor *executor, const struct weir_result *result)
{
	(void)executor;
	assert_true(result->verdict == WEIR_ADMIT || result->fault == -ECANCELED);
	ended++;
}

static void test_shutdown(void **state)
{
	const struct weir_task from = {.cost = 1, .work = nothing, .done = on_ended};

	(void)state;
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct weir_task task = from;
		struct stage stage;

		begin(&stage, TASKS);
		ended = 0;
		task.endpoint = stage_endpoint(&stage, "free");
		for (size_t i = 0; i < TASKS; i++)
			assert_true(weir_executor_submit(stage.executor, &task) > 0);
		for (unsigned i = 0; i < round; i++)
			uv_run(&stage.loop, UV_RUN_NOWAIT);
		stage_shut(&stage, WEIR_FOREVER);
		stage_until(&stage, &stage.stops, 1);
		assert_int_equal(ended, TASKS);
		assert_int_equal(weir_executor_close(stage.executor), 0);
		stage.executor = NULL;
		weir_endpoint_close(task.endpoint);
		stage_end(&stage);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_stays),      cmocka_unit_test(test_two_stay),
		cmocka_unit_test(test_the_last_stays), cmocka_unit_test(test_all_stay),
		cmocka_unit_test(test_an_item_stays),  cmocka_unit_test(test_shutdown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
