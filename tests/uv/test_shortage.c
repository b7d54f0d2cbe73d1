/* SPDX-License-Identifier: Apache-2.0
 *
 * test_shortage.c - no memory, and no handle of libuv's: a code each time, nothing left behind, and
 * what there was goes on. The library's own sources, with calloc and libuv's calls made to fail.
 */
#include "uv_fixture.h"

#include <errno.h>

static unsigned callocs_left = UINT_MAX;
static int async_status;
static int mutex_status;
static int queue_status;

/* shared libraries call some of these as well */
#pragma GCC visibility push(default)
void *__real_calloc(size_t count, size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
int __real_uv_async_init(uv_loop_t *loop, uv_async_t *async, uv_async_cb done);
int __wrap_uv_async_init(uv_loop_t *loop, uv_async_t *async, uv_async_cb done);
int __real_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *kind);
int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *kind);
int __real_uv_queue_work(uv_loop_t *loop, uv_work_t *work, uv_work_cb run, uv_after_work_cb done);
int __wrap_uv_queue_work(uv_loop_t *loop, uv_work_t *work, uv_work_cb run, uv_after_work_cb done);

#pragma GCC visibility pop

static bool is_left(void)
{
	if (callocs_left == 0)
		return false;
	callocs_left -= callocs_left != UINT_MAX;
	return true;
}

void *__wrap_calloc(size_t count, size_t bytes)
{
	return is_left() ? __real_calloc(count, bytes) : NULL;
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
	return is_left() ? __real_aligned_alloc(alignment, bytes) : NULL;
}

int __wrap_uv_async_init(uv_loop_t *loop, uv_async_t *async, uv_async_cb done)
{
	return async_status < 0 ? async_status : __real_uv_async_init(loop, async, done);
}

int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *kind)
{
	return mutex_status ? mutex_status : __real_pthread_mutex_init(mutex, kind);
}

int __wrap_uv_queue_work(uv_loop_t *loop, uv_work_t *work, uv_work_cb run, uv_after_work_cb done)
{
	return queue_status < 0 ? queue_status : __real_uv_queue_work(loop, work, run, done);
}

static const char rules[] = "[endpoint free]\n"
			    "rate = unlimited\n";

static unsigned told;

static void on_done(struct weir_executor *executor, const struct weir_result *result)
{
	(void)executor;
	assert_int_equal(result->verdict, WEIR_ADMIT);
	told++;
}

static int nothing(void *data)
{
	(void)data;
	return 0;
}

static void test_open(void **state)
{
	struct weir_executor *executor = NULL;
	struct weir_uv *uv = NULL;
	struct stage stage;
	unsigned made = 0;

	(void)state;
	stage_begin(&stage, rules);
	callocs_left = 0;
	assert_int_equal(weir_uv_open(&uv, &stage.loop), -ENOMEM);
	callocs_left = UINT_MAX;
	async_status = -EMFILE;
	assert_int_equal(weir_uv_open(&uv, &stage.loop), -EMFILE);
	async_status = 0;
	uv_run(&stage.loop, UV_RUN_DEFAULT);
	assert_null(uv);
	for (int status = -ENOMEM; status < 0; made++) {
		callocs_left = made;
		status = weir_executor_open(&executor, stage.uv, stage.weir, NULL);
		callocs_left = UINT_MAX;
		assert_true(status == 0 || status == -ENOMEM);
	}
	assert_int_equal(made, 4); /* itself, its tasks, its threads: then there is one */
	stage.executor = executor;
	mutex_status = EAGAIN;
	assert_int_equal(weir_executor_open(&executor, stage.uv, stage.weir, NULL), -EAGAIN);
	mutex_status = 0;
	stage_end(&stage);
}

static void test_submit(void **state)
{
	struct weir_endpoint *endpoint;
	void *data[3] = {NULL};
	struct stage stage;
	unsigned made = 0;
	int64_t id = -1;

	(void)state;
	told = 0;
	stage_begin(&stage, rules);
	stage_executor(&stage, 1, 2);
	endpoint = stage_endpoint(&stage, "free");

	const struct weir_task task = {
		.endpoint = endpoint, .cost = 1, .work = nothing, .done = on_done};

	callocs_left = 0;
	assert_int_equal(weir_executor_submit(stage.executor, &task), -ENOMEM);
	for (; id < 0; made++) {
		callocs_left = made;
		id = weir_executor_map(stage.executor, &task, data, 3);
		callocs_left = UINT_MAX;
		assert_true(id > 0 || id == -ENOMEM);
	}
	assert_int_equal(made, 5); /* the map, its data, its items, the lane */
	/* what failed took no place in the queue */
	assert_true(weir_executor_submit(stage.executor, &task) > 0);
	assert_int_equal(weir_executor_map(stage.executor, &task, data, 3), -EAGAIN);
	stage_until(&stage, &told, 4);
	assert_int_equal(stage_statistics(&stage).submitted, 4);
	weir_endpoint_close(endpoint);
	stage_end(&stage);
}

/* A pool that takes nothing: it is asked again with the next task. */
static void test_pool(void **state)
{
	struct weir_endpoint *endpoint;
	struct stage stage;

	(void)state;
	told = 0;
	stage_begin(&stage, rules);
	stage_executor(&stage, 1, 0);
	endpoint = stage_endpoint(&stage, "free");

	const struct weir_task task = {
		.endpoint = endpoint, .cost = 1, .work = nothing, .done = on_done};

	queue_status = -EINVAL;
	assert_true(weir_executor_submit(stage.executor, &task) > 0);
	stage_look(&stage);
	assert_int_equal(stage_statistics(&stage).queued, 1);
	queue_status = 0;
	assert_true(weir_executor_submit(stage.executor, &task) > 0);
	stage_until(&stage, &told, 2);
	weir_endpoint_close(endpoint);
	stage_end(&stage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open),
		cmocka_unit_test(test_submit),
		cmocka_unit_test(test_pool),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
