/* SPDX-License-Identifier: Apache-2.0
 *
 * uv_fixture.h - a loop, a hosted instance on the manual clock, and what waits on both. Time passes
 * when everything waits: the trace is told how long a wait will be, and the loop's driver moves the
 * clock by that.
 */
#ifndef UV_FIXTURE_H
#define UV_FIXTURE_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "weir-uv.h"

#define MS WEIR_MILLISECOND
#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

struct stage {
	uv_loop_t loop;
	struct weir *weir;
	struct weir_uv *uv;
	struct weir_executor *executor;
	_Atomic uint64_t wait_ns; /* of the wait that began last; 0: the clock was moved by it */
	_Atomic unsigned waits;
	unsigned stops;
	int status;
	bool closed;
};

static inline void stage_trace(void *context, const struct weir_event *event)
{
	struct stage *stage = context;

	if (event->kind != WEIR_EVENT_WAIT)
		return;
	/* relaxed: read by the loop's driver, which comes back */
	atomic_fetch_add_explicit(&stage->waits, 1, memory_order_relaxed);
	atomic_store_explicit(&stage->wait_ns, event->wait_ns, memory_order_relaxed);
}

static inline void stage_begin(struct stage *stage, const char *rules)
{
	struct weir_options options = WEIR_OPTIONS_INIT;

	*stage = (struct stage){.status = 1};
	options.trace = stage_trace;
	options.trace_context = stage;
	assert_int_equal(uv_loop_init(&stage->loop), 0);
	assert_int_equal(weir_host(&stage->weir, rules, WEIR_CLOCK_MANUAL, &options, NULL, 0), 0);
	assert_int_equal(weir_uv_open(&stage->uv, &stage->loop), 0);
}

static inline void stage_executor(struct stage *stage, uint32_t threads, uint32_t queue)
{
	const struct weir_executor_options options = {
		.size = sizeof(options), .threads = threads, .queue = queue, .data = stage};

	assert_int_equal(weir_executor_open(&stage->executor, stage->uv, stage->weir, &options), 0);
}

static inline struct weir_endpoint *stage_endpoint(struct stage *stage, const char *name)
{
	struct weir_endpoint *found = NULL;

	assert_int_equal(weir_endpoint(stage->weir, name, &found), 0);
	return found;
}

static inline struct weir_level stage_level(struct weir_endpoint *of)
{
	struct weir_level level = {.size = sizeof(level)};

	assert_int_equal(weir_peek(of, &level), 0);
	return level;
}

static inline struct weir_permits permits_of(struct weir_endpoint *endpoint)
{
	struct weir_permits permits = {.size = sizeof(permits)};

	assert_int_equal(weir_permit_look(endpoint, &permits), 0);
	return permits;
}

#define assert_tokens(of, expected)                                                                \
	assert_true(fabs(stage_level(of).level - (double)(expected)) < 1e-6)

/* Moves the clock by the wait that began, if there is one. */
static inline void stage_pass(struct stage *stage)
{
	uint64_t by_ns = atomic_exchange_explicit(&stage->wait_ns, 0, memory_order_relaxed);

	if (by_ns)
		assert_int_equal(weir_clock_advance(stage->weir, by_ns), 0);
}

/* Lets the loop go on, and time pass, until so much is there. The test's time-out bounds it. */
static inline void stage_until(struct stage *stage, const unsigned *count, unsigned wanted)
{
	while (*count < wanted) {
		uv_run(&stage->loop, UV_RUN_NOWAIT);
		stage_pass(stage);
	}
}

/* Lets the loop go on for some looks at everything that waits. */
static inline void stage_look(struct stage *stage)
{
	uint64_t until_ns = uv_hrtime() + 10 * MS;

	while (uv_hrtime() < until_ns)
		uv_run(&stage->loop, UV_RUN_NOWAIT);
}

static inline struct weir_executor_statistics stage_statistics(struct stage *stage)
{
	struct weir_executor_statistics sum = {.size = sizeof(sum)};

	weir_executor_statistics(stage->executor, &sum);
	assert_int_equal(sum.size, sizeof(sum));
	return sum;
}

static struct stage *stage_stopping; /* whose executor is being shut down */

static inline void stage_stopped(struct weir_executor *executor, int status)
{
	assert_ptr_equal(executor, stage_stopping->executor);
	stage_stopping->status = status;
	stage_stopping->stops++;
}

static inline void stage_shut(struct stage *stage, uint64_t timeout_ns)
{
	stage_stopping = stage;
	assert_int_equal(weir_executor_shutdown(stage->executor, timeout_ns, stage_stopped), 0);
}

static inline void stage_closed(void *context)
{
	struct stage *stage = context;

	stage->closed = true;
}

/* Shuts down what is open, and finds that nothing is left of it. */
static inline void stage_end(struct stage *stage)
{
	if (stage->executor) {
		stage->stops = 0;
		stage_shut(stage, WEIR_FOREVER);
		stage_until(stage, &stage->stops, 1);
		assert_int_equal(stage->status, 0);
		assert_int_equal(weir_executor_close(stage->executor), 0);
	}
	if (!stage->closed)
		assert_int_equal(weir_uv_close(stage->uv, stage_closed, stage), 0);
	uv_run(&stage->loop, UV_RUN_DEFAULT);
	assert_true(stage->closed);
	assert_int_equal(uv_loop_close(&stage->loop), 0);
	weir_close(stage->weir);
}

/* ---- work that waits for a word ---- */

struct hold {
	uv_mutex_t mutex;
	uv_cond_t changed;
	unsigned inside;
	unsigned most;
	unsigned entered;
	bool open;
};

static inline void hold_begin(struct hold *hold)
{
	*hold = (struct hold){0};
	assert_int_equal(uv_mutex_init(&hold->mutex), 0);
	assert_int_equal(uv_cond_init(&hold->changed), 0);
}

static inline int hold_work(void *data)
{
	struct hold *hold = data;

	uv_mutex_lock(&hold->mutex);
	hold->inside++;
	hold->entered++;
	if (hold->inside > hold->most)
		hold->most = hold->inside;
	uv_cond_broadcast(&hold->changed);
	while (!hold->open)
		uv_cond_wait(&hold->changed, &hold->mutex);
	hold->inside--;
	uv_mutex_unlock(&hold->mutex);
	return 0;
}

static inline void hold_open(struct hold *hold)
{
	uv_mutex_lock(&hold->mutex);
	hold->open = true;
	uv_cond_broadcast(&hold->changed);
	uv_mutex_unlock(&hold->mutex);
}

/* Lets the loop go on until so many are inside. */
static inline void hold_until(struct hold *hold, struct stage *stage, unsigned entered)
{
	unsigned now = 0;

	while (now < entered) {
		uv_run(&stage->loop, UV_RUN_NOWAIT);
		uv_mutex_lock(&hold->mutex);
		now = hold->entered;
		uv_mutex_unlock(&hold->mutex);
	}
}

static inline void hold_end(struct hold *hold)
{
	uv_cond_destroy(&hold->changed);
	uv_mutex_destroy(&hold->mutex);
}

#endif
