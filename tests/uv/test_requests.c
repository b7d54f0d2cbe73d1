/* SPDX-License-Identifier: Apache-2.0
 *
 * test_requests.c - waits on a loop: admitted in order, when they say, cancelled, closed; and a
 * loop that goes away under them.
 */
#include "uv_fixture.h"

#include <errno.h>
#include <sys/resource.h>

static const char rules[] = "[endpoint api]\n"
			    "rate = 10/s\n"
			    "burst = 1\n"
			    "[endpoint many]\n"
			    "rate = 1000/s\n"
			    "burst = 1\n";

struct call {
	struct weir_uv_request request;
	struct stage *stage;
	struct weir_endpoint *endpoint;
	unsigned *count;
	unsigned order;
	unsigned calls;
	uint64_t at_ns;
	enum weir_verdict verdict;
	struct weir_answer answer;
};

static void on_done(struct weir_uv_request *request, enum weir_verdict verdict,
		    const struct weir_answer *answer)
{
	struct call *call = request->data;

	call->order = ++*call->count;
	call->calls++;
	call->at_ns = weir_clock_now(call->stage->weir);
	call->verdict = verdict;
	call->answer = *answer;
}

static void call_begin(struct call *call, struct stage *stage, unsigned *count,
		       struct weir_endpoint *endpoint, uint64_t timeout_ns)
{
	*call = (struct call){.stage = stage, .count = count};
	call->request.data = call;
	assert_int_equal(
		weir_uv_acquire(stage->uv, &call->request, endpoint, 1, timeout_ns, on_done), 0);
}

static void test_at_once(void **state)
{
	struct weir_endpoint *api;
	unsigned count = 0;
	struct stage stage;
	struct call call;

	(void)state;
	stage_begin(&stage, rules);
	api = stage_endpoint(&stage, "api");
	call_begin(&call, &stage, &count, api, 0);
	assert_int_equal(count, 0); /* not from within the call */
	uv_run(&stage.loop, UV_RUN_DEFAULT);
	assert_int_equal(call.calls, 1);
	assert_int_equal(call.verdict, WEIR_ADMIT);
	assert_int_equal(call.answer.wait_ns, 0);
	/* what cannot pass in time is told as soon, and takes nothing */
	call_begin(&call, &stage, &count, api, 99 * MS);
	assert_int_equal(count, 1);
	uv_run(&stage.loop, UV_RUN_DEFAULT);
	assert_int_equal(count, 2);
	assert_int_equal(call.verdict, WEIR_REFUSE);
	assert_int_equal(call.answer.reason, WEIR_REASON_DEADLINE);
	assert_int_equal(call.answer.wait_ns, 100 * MS);
	assert_int_equal(weir_uv_cancel(&call.request), WEIR_ESPENT);
	assert_tokens(api, 0);
	weir_endpoint_close(api);
	stage_end(&stage);
}

static void test_in_order(void **state)
{
	struct call calls[5];
	struct weir_endpoint *api;
	unsigned count = 0;
	struct stage stage;

	(void)state;
	stage_begin(&stage, rules);
	api = stage_endpoint(&stage, "api");
	for (size_t i = 0; i < LENGTH(calls); i++)
		call_begin(&calls[i], &stage, &count, api, WEIR_FOREVER);
	for (unsigned i = 0; i < LENGTH(calls); i++) {
		while (count < i + 1)
			uv_run(&stage.loop, UV_RUN_NOWAIT);
		stage_look(&stage);
		assert_int_equal(count, i + 1);
		assert_int_equal(weir_clock_advance(stage.weir, 100 * MS), 0);
	}
	for (unsigned i = 0; i < LENGTH(calls); i++) {
		assert_int_equal(calls[i].order, i + 1);
		assert_int_equal(calls[i].verdict, WEIR_ADMIT);
		assert_int_equal(calls[i].answer.wait_ns, i * 100 * MS);
	}
	weir_endpoint_close(api);
	stage_end(&stage);
}

/* Thousands of them, of which many leave: each one's turn comes when it should. */
static void test_many(void **state)
{
	enum { MANY = 2000 };
	struct call *calls = calloc(MANY, sizeof(*calls));
	struct weir_endpoint *many;
	unsigned count = 0;
	struct stage stage;

	(void)state;
	assert_non_null(calls);
	stage_begin(&stage, rules);
	many = stage_endpoint(&stage, "many");
	for (unsigned i = 0; i < MANY; i++)
		call_begin(&calls[i], &stage, &count, many, WEIR_FOREVER);
	for (unsigned i = 0; i < MANY; i += 3)
		assert_int_equal(weir_uv_cancel(&calls[i].request), 0);
	while (count < MANY) {
		uv_run(&stage.loop, UV_RUN_NOWAIT);
		assert_int_equal(weir_clock_advance(stage.weir, 10 * MS), 0);
	}
	for (unsigned i = 0; i < MANY; i++) {
		assert_int_equal(calls[i].calls, 1);
		assert_int_equal(calls[i].verdict, i % 3 ? WEIR_ADMIT : WEIR_REFUSE);
		assert_int_equal(calls[i].answer.fault, i % 3 ? 0 : -ECANCELED);
		/* never early: a cancelled one from the middle leaves its place to time */
		assert_true(i % 3 == 0 || calls[i].at_ns + MS >= calls[0].at_ns + i * MS);
	}
	weir_endpoint_close(many);
	stage_end(&stage);
	free(calls);
}

static void test_cancel(void **state)
{
	struct weir_endpoint *api;
	unsigned count = 0;
	struct stage stage;
	struct call first, second, third;

	(void)state;
	stage_begin(&stage, rules);
	api = stage_endpoint(&stage, "api");
	call_begin(&first, &stage, &count, api, WEIR_FOREVER);
	call_begin(&second, &stage, &count, api, WEIR_FOREVER);
	call_begin(&third, &stage, &count, api, 99 * MS);
	assert_tokens(api, -1);
	/* in line: its place goes back at once, and it is told later */
	assert_int_equal(weir_uv_cancel(&second.request), 0);
	assert_tokens(api, 0);
	/* admitted or refused, and not told of it yet */
	assert_int_equal(weir_uv_cancel(&first.request), 0);
	assert_tokens(api, 1);
	assert_int_equal(weir_uv_cancel(&third.request), 0);
	assert_int_equal(count, 0);
	uv_run(&stage.loop, UV_RUN_DEFAULT);
	assert_int_equal(count, 3);
	assert_int_equal(first.verdict, WEIR_REFUSE);
	assert_int_equal(first.answer.fault, -ECANCELED);
	assert_int_equal(second.answer.fault, -ECANCELED);
	assert_int_equal(third.answer.fault, -ECANCELED);
	assert_int_equal(weir_uv_cancel(&second.request), WEIR_ESPENT);
	weir_endpoint_close(api);
	stage_end(&stage);
}

/* A change of rate, a closure, a reset: seen without anybody's wake-up. */
static void test_follows(void **state)
{
	struct weir_endpoint *api;
	unsigned count = 0;
	struct stage stage;
	struct call call;

	(void)state;
	stage_begin(&stage, rules);
	api = stage_endpoint(&stage, "api");
	assert_int_equal(weir_acquire(api, 1, NULL), WEIR_ADMIT);
	assert_int_equal(weir_update(stage.weir, "api", "1/h", NULL, WEIR_KEEP_USED), 0);
	call_begin(&call, &stage, &count, api, WEIR_FOREVER);
	stage_look(&stage);
	assert_int_equal(count, 0);
	assert_int_equal(weir_update(stage.weir, "api", "unlimited", NULL, WEIR_KEEP_USED), 0);
	while (count < 1) /* no time passes */
		uv_run(&stage.loop, UV_RUN_NOWAIT);
	assert_int_equal(call.verdict, WEIR_ADMIT);
	/* its turn moves out of reach: told then, not when the time is over */
	assert_int_equal(weir_update(stage.weir, "api", "10/s", NULL, WEIR_KEEP_RESET), 0);
	assert_int_equal(weir_acquire(api, 1, NULL), WEIR_ADMIT);
	call_begin(&call, &stage, &count, api, WEIR_SECOND);
	assert_int_equal(weir_update(stage.weir, "api", "1/h", NULL, WEIR_KEEP_USED), 0);
	while (count < 2)
		uv_run(&stage.loop, UV_RUN_NOWAIT);
	assert_int_equal(call.verdict, WEIR_REFUSE);
	assert_int_equal(call.answer.reason, WEIR_REASON_DEADLINE);
	weir_endpoint_close(api);
	stage_end(&stage);
}

/* By a clock that runs, with a rate that changes: within a tenth of a second, not in an hour. */
static void test_follows_real_time(void **state)
{
	struct weir_endpoint *api = NULL;
	struct stage stage;
	unsigned count = 0;
	struct call call;

	(void)state;
	stage = (struct stage){0};
	assert_int_equal(uv_loop_init(&stage.loop), 0);
	assert_int_equal(weir_host(&stage.weir, "[endpoint api]\nrate = 1/h\nburst = 1\n",
				   WEIR_CLOCK_BEST, NULL, NULL, 0),
			 0);
	assert_int_equal(weir_uv_open(&stage.uv, &stage.loop), 0);
	api = stage_endpoint(&stage, "api");
	assert_int_equal(weir_acquire(api, 1, NULL), WEIR_ADMIT);
	call_begin(&call, &stage, &count, api, WEIR_FOREVER);
	uv_run(&stage.loop, UV_RUN_NOWAIT);
	assert_int_equal(weir_update(stage.weir, "api", "1000/s", NULL, WEIR_KEEP_USED), 0);
	uv_run(&stage.loop, UV_RUN_DEFAULT);
	assert_int_equal(count, 1);
	assert_int_equal(call.verdict, WEIR_ADMIT);
	weir_endpoint_close(api);
	stage_end(&stage);
}

static void on_done_again(struct weir_uv_request *request, enum weir_verdict verdict,
			  const struct weir_answer *answer)
{
	struct call *call = request->data;

	on_done(request, verdict, answer);
	if (*call->count < 3)
		assert_int_equal(weir_uv_acquire(call->stage->uv, request, call->endpoint, 1, 0,
						 on_done_again),
				 0);
}

static void test_again_from_its_callback(void **state)
{
	struct weir_uv_request request = {0};
	struct weir_endpoint *api;
	unsigned count = 0;
	struct stage stage;
	struct call call;

	(void)state;
	stage_begin(&stage, rules);
	api = stage_endpoint(&stage, "api");
	call = (struct call){.stage = &stage, .count = &count, .endpoint = api};
	/* memory that was never a request */
	memset(request.opaque, 0xa5, sizeof(request.opaque));
	assert_int_equal(weir_uv_cancel(&request), WEIR_ESPENT);
	request.data = &call;
	assert_int_equal(weir_uv_acquire(stage.uv, &request, api, 0, 0, on_done), 0);
	uv_run(&stage.loop, UV_RUN_DEFAULT);
	assert_int_equal(call.answer.fault, WEIR_ECOST);
	/* a request may be used anew where it is told of its end */
	assert_int_equal(weir_uv_acquire(stage.uv, &request, api, 1, 0, on_done_again), 0);
	uv_run(&stage.loop, UV_RUN_DEFAULT);
	assert_int_equal(count, 3);
	weir_endpoint_close(api);
	stage_end(&stage);
}

/* With waits of all kinds pending: each is told, and their places are there at once. */
static void test_close_with_waiters(void **state)
{
	struct weir_endpoint *api;
	unsigned count = 0;
	struct stage stage;
	struct call calls[4];

	(void)state;
	stage_begin(&stage, rules);
	api = stage_endpoint(&stage, "api");
	for (size_t i = 0; i < LENGTH(calls); i++)
		call_begin(&calls[i], &stage, &count, api, i < 3 ? WEIR_FOREVER : 0);
	assert_tokens(api, -2);
	assert_int_equal(weir_uv_close(stage.uv, stage_closed, &stage), 0);
	/* from the end of the line as much as goes back, as by weir_cancel */
	assert_true(stage_level(api).level > -2);
	assert_int_equal(
		weir_uv_acquire(stage.uv, &(struct weir_uv_request){0}, api, 1, 0, on_done),
		-ECANCELED);
	assert_int_equal(weir_uv_cancel(&calls[1].request), 0);
	assert_int_equal(count, 0);
	uv_run(&stage.loop, UV_RUN_DEFAULT);
	assert_int_equal(count, LENGTH(calls));
	for (size_t i = 0; i < LENGTH(calls); i++) {
		assert_int_equal(calls[i].verdict, WEIR_REFUSE);
		assert_int_equal(calls[i].answer.fault, -ECANCELED);
	}
	assert_true(stage.closed);
	weir_endpoint_close(api);
	stage_end(&stage);
}

static void close_it(uv_handle_t *handle, void *context)
{
	(void)context;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

static void loop_closed(bool before_the_loop_goes_on)
{
	struct weir_endpoint *api;
	unsigned count = 0;
	struct stage stage;
	struct call first, second;

	stage_begin(&stage, rules);
	api = stage_endpoint(&stage, "api");
	call_begin(&first, &stage, &count, api, WEIR_FOREVER);
	call_begin(&second, &stage, &count, api, WEIR_FOREVER);
	/* the loop does not let itself be closed */
	assert_int_equal(uv_loop_close(&stage.loop), UV_EBUSY);
	uv_walk(&stage.loop, close_it, NULL);
	if (!before_the_loop_goes_on)
		uv_run(&stage.loop, UV_RUN_DEFAULT);
	assert_int_equal(
		weir_uv_acquire(stage.uv, &(struct weir_uv_request){0}, api, 1, 0, on_done),
		-ECANCELED);
	assert_int_equal(count, 0);
	assert_tokens(api, -1);
	assert_int_equal(weir_uv_close(stage.uv, stage_closed, &stage), 0);
	assert_tokens(api, 0);
	uv_run(&stage.loop, UV_RUN_DEFAULT);
	assert_int_equal(count, 2);
	assert_int_equal(first.answer.fault, -ECANCELED);
	assert_int_equal(second.answer.fault, -ECANCELED);
	weir_endpoint_close(api);
	stage_end(&stage);
}

/* All handles of the loop are closed, as programs do at their end: the waiters are not forgotten.
 */
static void test_loop_closed_under_a_waiter(void **state)
{
	(void)state;
	loop_closed(false);
	loop_closed(true);
}

/* A loop that no descriptor is left for. */
static void test_no_descriptor(void **state)
{
	struct rlimit none, old;
	struct weir_uv *uv = NULL;
	uv_loop_t loop;

	(void)state;
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(weir_uv_open(&uv, &loop), 0);
	assert_int_equal(weir_uv_close(uv, NULL, NULL), 0);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);

	int status = weir_uv_open(&uv, &loop);

	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	/* the loop has its descriptor already where libuv made it with the loop */
	assert_true(status == 0 || status == -EMFILE);
	if (status == 0)
		assert_int_equal(weir_uv_close(uv, NULL, NULL), 0);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_at_once),
		cmocka_unit_test(test_in_order),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_follows),
		cmocka_unit_test(test_follows_real_time),
		cmocka_unit_test(test_again_from_its_callback),
		cmocka_unit_test(test_close_with_waiters),
		cmocka_unit_test(test_loop_closed_under_a_waiter),
		cmocka_unit_test(test_no_descriptor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
