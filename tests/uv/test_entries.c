/* SPDX-License-Identifier: Apache-2.0
 *
 * test_entries.c - permits as requests on a loop, alone and with tokens: in order, both or neither,
 * cancelled and closed at every stage; and nothing is held afterwards.
 */
#include "uv_fixture.h"

#include <errno.h>
#include <time.h>

static const char rules[] = "[endpoint one]\n"
			    "rate = unlimited\n"
			    "concurrency = 1\n"
			    "[endpoint four]\n"
			    "rate = unlimited\n"
			    "concurrency = 4\n"
			    "[endpoint both]\n"
			    "rate = 2/s\n"
			    "burst = 1\n"
			    "concurrency = 1\n"
			    "[endpoint free]\n"
			    "rate = unlimited\n";

struct call {
	struct weir_uv_request request;
	struct weir_permit permit;
	struct weir_endpoint *endpoint;
	struct stage *stage;
	unsigned order; /* when it was told: 1, 2, ... */
	unsigned calls;
	enum weir_verdict verdict;
	struct weir_answer answer;
	bool releases; /* from its callback */
	bool again;    /* begins anew from it */
};

static unsigned told;
static unsigned most_held;

static void on_done(struct weir_uv_request *request, enum weir_verdict verdict,
		    const struct weir_answer *answer)
{
	struct call *call = request->data;
	unsigned held = (unsigned)permits_of(call->endpoint).held;

	call->order = ++told;
	call->calls++;
	call->verdict = verdict;
	call->answer = *answer;
	most_held = held > most_held ? held : most_held;
	if (verdict == WEIR_ADMIT && call->releases)
		assert_int_equal(weir_permit_release(call->endpoint, &call->permit), 0);
	if (call->again) {
		call->again = false;
		assert_int_equal(weir_uv_permit_take(call->stage->uv, request, call->endpoint,
						     WEIR_FOREVER, &call->permit, on_done),
				 0);
	}
}

static void call_init(struct call *call, struct stage *stage, struct weir_endpoint *endpoint)
{
	*call = (struct call){.stage = stage, .endpoint = endpoint};
	call->request.data = call;
}

static void take(struct call *call, struct stage *stage, struct weir_endpoint *endpoint,
		 uint64_t timeout_ns)
{
	call_init(call, stage, endpoint);
	assert_int_equal(weir_uv_permit_take(stage->uv, &call->request, endpoint, timeout_ns,
					     &call->permit, on_done),
			 0);
}

static void enter(struct call *call, struct stage *stage, struct weir_endpoint *endpoint,
		  uint64_t timeout_ns)
{
	call_init(call, stage, endpoint);
	assert_int_equal(weir_uv_enter(stage->uv, &call->request, endpoint, 1, timeout_ns,
				       &call->permit, on_done),
			 0);
}

static void begin(struct stage *stage)
{
	told = most_held = 0;
	stage_begin(stage, rules);
}

static void until_told(struct stage *stage, unsigned wanted)
{
	while (told < wanted)
		uv_run(&stage->loop, UV_RUN_ONCE);
	assert_int_equal(told, wanted);
}

/* Whoever waits has it, told or not. */
static void until_held(struct stage *stage, struct weir_endpoint *endpoint)
{
	while (permits_of(endpoint).held == 0)
		uv_run(&stage->loop, UV_RUN_ONCE);
}

#define assert_refused(call, why, code)                                                            \
	do {                                                                                       \
		assert_int_equal((call).verdict, WEIR_REFUSE);                                     \
		assert_int_equal((call).answer.reason, (why));                                     \
		assert_int_equal((call).answer.fault, (code));                                     \
	} while (0)

static void assert_nothing_held(struct weir_endpoint *endpoint)
{
	assert_int_equal(permits_of(endpoint).held, 0);
	assert_int_equal(permits_of(endpoint).waiting, 0);
}

static void test_at_once(void **state)
{
	struct weir_endpoint *one, *free;
	struct stage stage;
	struct call first, second, third;

	(void)state;
	begin(&stage);
	one = stage_endpoint(&stage, "one");
	free = stage_endpoint(&stage, "free");
	take(&first, &stage, one, 0);
	take(&second, &stage, one, 0);
	take(&third, &stage, free, 0);
	assert_int_equal(told, 0); /* not from within the call */
	uv_run(&stage.loop, UV_RUN_DEFAULT);
	assert_int_equal(first.verdict, WEIR_ADMIT);
	assert_refused(second, WEIR_REASON_PERMIT, 0);
	assert_int_equal(third.verdict, WEIR_ADMIT);
	assert_int_equal(permits_of(one).held, 1);
	assert_int_equal(weir_permit_release(one, &first.permit), 0);
	assert_int_equal(weir_permit_release(one, &first.permit), WEIR_ESPENT);
	assert_int_equal(weir_permit_release(free, &third.permit), 0);
	assert_nothing_held(one);
	/* a cost that is none */
	assert_int_equal(weir_uv_enter(stage.uv, &first.request, one, 0, 0, &first.permit, on_done),
			 WEIR_ECOST);
	weir_endpoint_close(one);
	weir_endpoint_close(free);
	stage_end(&stage);
}

/* First come, first served, also with somebody who is not of this loop. */
static void test_in_order(void **state)
{
	struct weir_permit permit;
	struct weir_waiter waiter;
	struct weir_endpoint *one;
	struct call calls[5];
	struct stage stage;

	(void)state;
	begin(&stage);
	one = stage_endpoint(&stage, "one");
	assert_int_equal(weir_permit_take(one, 0, &permit, NULL), WEIR_ADMIT);
	for (unsigned i = 0; i < 3; i++)
		take(&calls[i], &stage, one, WEIR_FOREVER);
	assert_int_equal(weir_permit_queue(one, &waiter), 0);
	for (unsigned i = 3; i < LENGTH(calls); i++)
		take(&calls[i], &stage, one, WEIR_FOREVER);
	for (unsigned i = 0; i < LENGTH(calls); i++) {
		stage_look(&stage);
		assert_int_equal(told, i);
		if (i == 3) {
			/* it is the other's turn, and the loop leaves it to him */
			assert_int_equal(weir_permit_release(one, &calls[2].permit), 0);
			stage_look(&stage);
			assert_int_equal(told, 3);
			assert_int_equal(weir_permit_poll(one, &waiter, &permit, NULL), WEIR_ADMIT);
		}
		assert_int_equal(
			weir_permit_release(one, i == 0 || i == 3 ? &permit : &calls[i - 1].permit),
			0);
		until_told(&stage, i + 1);
		assert_int_equal(calls[i].order, i + 1);
		assert_int_equal(calls[i].verdict, WEIR_ADMIT);
	}
	assert_int_equal(weir_permit_release(one, &calls[4].permit), 0);
	assert_nothing_held(one);
	weir_endpoint_close(one);
	stage_end(&stage);
}

/* A thousand over four permits: all of them, in order, and never more than four. */
static void test_many(void **state)
{
	enum { MANY = 1000 };
	struct call *calls = calloc(MANY, sizeof(*calls));
	struct weir_endpoint *four;
	struct stage stage;

	(void)state;
	assert_non_null(calls);
	begin(&stage);
	four = stage_endpoint(&stage, "four");
	for (unsigned i = 0; i < MANY; i++) {
		take(&calls[i], &stage, four, WEIR_FOREVER);
		calls[i].releases = true;
	}
	until_told(&stage, MANY);
	for (unsigned i = 0; i < MANY; i++) {
		assert_int_equal(calls[i].calls, 1);
		assert_int_equal(calls[i].verdict, WEIR_ADMIT);
		assert_int_equal(calls[i].order, i + 1);
	}
	assert_true(most_held <= 4);
	assert_nothing_held(four);
	weir_endpoint_close(four);
	stage_end(&stage);
	free(calls);
}

/* Also when the loop was away for so long that all of them are to look. */
static void test_in_order_late(void **state)
{
	enum { FEW = 8 };
	const struct timespec away = {0, 150000000};
	struct weir_permit held[4];
	struct weir_endpoint *four;
	struct call calls[FEW];
	struct stage stage;

	(void)state;
	begin(&stage);
	four = stage_endpoint(&stage, "four");
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(weir_permit_take(four, 0, &held[i], NULL), WEIR_ADMIT);
	for (unsigned i = 0; i < FEW; i++) {
		take(&calls[i], &stage, four, WEIR_FOREVER);
		calls[i].releases = true;
	}
	nanosleep(&away, NULL);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(weir_permit_release(four, &held[i]), 0);
	until_told(&stage, FEW);
	for (unsigned i = 0; i < FEW; i++)
		assert_int_equal(calls[i].order, i + 1);
	assert_nothing_held(four);
	weir_endpoint_close(four);
	stage_end(&stage);
}

static void test_deadline(void **state)
{
	struct weir_permit permit;
	struct weir_endpoint *one;
	struct stage stage;
	struct call first, second;

	(void)state;
	begin(&stage);
	one = stage_endpoint(&stage, "one");
	assert_int_equal(weir_permit_take(one, 0, &permit, NULL), WEIR_ADMIT);
	take(&first, &stage, one, 100 * MS);
	take(&second, &stage, one, WEIR_FOREVER);
	assert_int_equal(weir_clock_advance(stage.weir, 99 * MS), 0);
	stage_look(&stage);
	assert_int_equal(told, 0);
	assert_int_equal(permits_of(one).waiting, 2);
	assert_int_equal(weir_clock_advance(stage.weir, MS), 0);
	until_told(&stage, 1);
	assert_refused(first, WEIR_REASON_DEADLINE, 0);
	assert_int_equal(permits_of(one).waiting, 1);
	/* who was behind it is first now */
	assert_int_equal(weir_permit_release(one, &permit), 0);
	until_told(&stage, 2);
	assert_int_equal(second.verdict, WEIR_ADMIT);
	assert_int_equal(second.answer.wait_ns, 100 * MS);
	assert_int_equal(weir_permit_release(one, &second.permit), 0);
	assert_nothing_held(one);
	weir_endpoint_close(one);
	stage_end(&stage);
}

/* No token is spent before there is a permit; and no permit stays when there is no token in time.
 */
static void test_both_or_neither(void **state)
{
	struct weir_endpoint *both;
	struct stage stage;
	struct call first, second, third;

	(void)state;
	begin(&stage);
	both = stage_endpoint(&stage, "both");
	enter(&first, &stage, both, WEIR_FOREVER);
	until_told(&stage, 1);
	assert_int_equal(first.verdict, WEIR_ADMIT);
	assert_tokens(both, 0);
	assert_int_equal(weir_clock_advance(stage.weir, 500 * MS), 0);
	enter(&second, &stage, both, WEIR_FOREVER);
	enter(&third, &stage, both, WEIR_FOREVER);
	stage_look(&stage);
	assert_int_equal(told, 1);
	assert_tokens(both, 1);
	assert_int_equal(weir_permit_release(both, &first.permit), 0);
	until_told(&stage, 2);
	assert_int_equal(second.verdict, WEIR_ADMIT);
	assert_tokens(both, 0);
	assert_int_equal(permits_of(both).waiting, 1);
	/* the third has the permit, and its turn comes with time */
	assert_int_equal(weir_permit_release(both, &second.permit), 0);
	until_held(&stage, both);
	assert_int_equal(told, 2);
	assert_int_equal(weir_clock_advance(stage.weir, 500 * MS), 0);
	until_told(&stage, 3);
	assert_int_equal(third.verdict, WEIR_ADMIT);
	assert_int_equal(third.answer.wait_ns, 500 * MS);
	assert_int_equal(weir_permit_release(both, &third.permit), 0);
	/* not in time: known at once, and the permit goes back */
	enter(&first, &stage, both, 499 * MS);
	assert_nothing_held(both);
	until_told(&stage, 4);
	assert_refused(first, WEIR_REASON_DEADLINE, 0);
	assert_int_equal(first.answer.wait_ns, 500 * MS);
	weir_endpoint_close(both);
	stage_end(&stage);
}

/* In line, with a permit and in line for tokens, and admitted but not told: it all goes back. */
static void test_cancel(void **state)
{
	struct weir_endpoint *both;
	struct stage stage;
	struct call calls[4];

	(void)state;
	begin(&stage);
	both = stage_endpoint(&stage, "both");
	enter(&calls[0], &stage, both, WEIR_FOREVER); /* admitted */
	assert_tokens(both, 0);
	assert_int_equal(weir_uv_cancel(&calls[0].request), 0);
	assert_tokens(both, 1);
	assert_nothing_held(both);
	until_told(&stage, 1);
	assert_refused(calls[0], WEIR_REASON_FAULT, -ECANCELED);
	assert_int_equal(weir_uv_cancel(&calls[0].request), WEIR_ESPENT);

	assert_int_equal(weir_acquire(both, 1, NULL), WEIR_ADMIT);
	for (unsigned i = 0; i < LENGTH(calls); i++)
		enter(&calls[i], &stage, both, WEIR_FOREVER);
	assert_int_equal(permits_of(both).held, 1);
	assert_int_equal(permits_of(both).waiting, 3);
	assert_int_equal(weir_uv_cancel(&calls[2].request), 0); /* from the middle of the line */
	assert_int_equal(permits_of(both).waiting, 2);
	assert_int_equal(weir_uv_cancel(&calls[0].request),
			 0); /* with the permit, without tokens */
	assert_int_equal(permits_of(both).held, 0);
	assert_tokens(both, 0);
	until_told(&stage, 3);
	until_held(&stage, both); /* the next one has it */
	assert_int_equal(weir_uv_cancel(&calls[1].request), 0);
	assert_int_equal(weir_uv_cancel(&calls[3].request), 0); /* who has become the first */
	assert_nothing_held(both);
	until_told(&stage, 5);
	for (unsigned i = 0; i < LENGTH(calls); i++)
		assert_refused(calls[i], WEIR_REASON_FAULT, -ECANCELED);
	assert_tokens(both, 0);
	weir_endpoint_close(both);
	stage_end(&stage);
}

static void close_it(uv_handle_t *handle, void *context)
{
	(void)context;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

/* At all stages at once; by weir_uv_close(), or by somebody who closed the loop's handles. */
static void closed_under(bool by_somebody)
{
	struct weir_endpoint *one, *both;
	struct stage stage;
	struct call calls[6];

	begin(&stage);
	one = stage_endpoint(&stage, "one");
	both = stage_endpoint(&stage, "both");
	assert_int_equal(weir_acquire(both, 1, NULL), WEIR_ADMIT);
	for (unsigned i = 0; i < 3; i++) {
		take(&calls[i], &stage, one, WEIR_FOREVER);
		enter(&calls[3 + i], &stage, both, WEIR_FOREVER);
	}
	assert_int_equal(permits_of(one).waiting, 2);
	assert_int_equal(permits_of(both).waiting, 2);
	if (by_somebody)
		uv_walk(&stage.loop, close_it, NULL);
	assert_int_equal(weir_uv_close(stage.uv, stage_closed, &stage), 0);
	assert_nothing_held(one);
	assert_nothing_held(both);
	assert_tokens(both, 0);
	assert_int_equal(weir_uv_permit_take(stage.uv, &(struct weir_uv_request){0}, one, 0,
					     &calls[0].permit, on_done),
			 -ECANCELED);
	assert_int_equal(told, 0);
	uv_run(&stage.loop, UV_RUN_DEFAULT);
	assert_int_equal(told, LENGTH(calls));
	for (unsigned i = 0; i < LENGTH(calls); i++)
		assert_refused(calls[i], WEIR_REASON_FAULT, -ECANCELED);
	weir_endpoint_close(one);
	weir_endpoint_close(both);
	stage_end(&stage);
}

static void test_closed(void **state)
{
	(void)state;
	closed_under(false);
	closed_under(true);
}

/* A request is begun anew from its own callback; it comes behind those who wait. */
static void test_again(void **state)
{
	struct weir_endpoint *one;
	struct call first, second;
	struct stage stage;

	(void)state;
	begin(&stage);
	one = stage_endpoint(&stage, "one");
	take(&first, &stage, one, WEIR_FOREVER);
	first.releases = first.again = true;
	take(&second, &stage, one, WEIR_FOREVER);
	second.releases = true;
	until_told(&stage, 3);
	assert_int_equal(second.order, 2);
	assert_int_equal(first.order, 3);
	assert_int_equal(first.calls, 2);
	assert_nothing_held(one);
	weir_endpoint_close(one);
	stage_end(&stage);
}

/* The limit goes: who waits is let in. It comes back, or becomes 0: who comes then waits. */
static void test_limit_changes(void **state)
{
	struct weir_endpoint *one;
	struct call calls[3];
	struct stage stage;

	(void)state;
	begin(&stage);
	one = stage_endpoint(&stage, "one");
	for (unsigned i = 0; i < LENGTH(calls); i++)
		take(&calls[i], &stage, one, WEIR_FOREVER);
	until_told(&stage, 1);
	assert_int_equal(
		weir_configure(stage.weir, "one", "concurrency=unlimited", WEIR_KEEP_USED, NULL, 0),
		0);
	until_told(&stage, 3);
	for (unsigned i = 0; i < LENGTH(calls); i++) {
		assert_int_equal(calls[i].order, i + 1);
		assert_int_equal(calls[i].verdict, WEIR_ADMIT);
		assert_int_equal(weir_permit_release(one, &calls[i].permit), 0);
	}
	assert_nothing_held(one);
	weir_endpoint_close(one);
	stage_end(&stage);
}

/* There is no place in line for all of them: whoever finds none is told so, and has nothing. */
static void test_line_full(void **state)
{
	enum { MOST = 100000 };
	struct call *calls = calloc(MOST, sizeof(*calls));
	struct weir_permit permit;
	struct weir_endpoint *one;
	struct stage stage;
	unsigned count = 0;

	(void)state;
	assert_non_null(calls);
	begin(&stage);
	one = stage_endpoint(&stage, "one");
	assert_int_equal(weir_permit_take(one, 0, &permit, NULL), WEIR_ADMIT);
	do {
		assert_true(count < MOST);
		take(&calls[count++], &stage, one, WEIR_FOREVER);
	} while (permits_of(one).waiting == count);
	until_told(&stage, 1);
	assert_refused(calls[count - 1], WEIR_REASON_QUEUE, WEIR_EWAITERS);
	assert_int_equal(weir_uv_close(stage.uv, stage_closed, &stage), 0);
	uv_run(&stage.loop, UV_RUN_DEFAULT);
	assert_int_equal(told, count);
	assert_int_equal(weir_permit_release(one, &permit), 0);
	assert_nothing_held(one);
	weir_endpoint_close(one);
	stage_end(&stage);
	free(calls);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_at_once),	  cmocka_unit_test(test_in_order),
		cmocka_unit_test(test_many),	  cmocka_unit_test(test_in_order_late),
		cmocka_unit_test(test_deadline),  cmocka_unit_test(test_both_or_neither),
		cmocka_unit_test(test_cancel),	  cmocka_unit_test(test_closed),
		cmocka_unit_test(test_again),	  cmocka_unit_test(test_limit_changes),
		cmocka_unit_test(test_line_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
