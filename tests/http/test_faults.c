/* SPDX-License-Identifier: Apache-2.0
 *
 * Servers that are gone, slow, or break off: each with the result that the manual states. And
 * threads, of which none sees more than the limit allows.
 */
#include "http_fixture.h"

#include <unistd.h>

#define UNLIMITED "[default]\nrate = unlimited\n"

static void test_gone(void **state)
{
	struct stage stage;
	struct weir_http_request request;
	struct weir_http_result result;

	(void)state;
	stage_begin(&stage, UNLIMITED);
	request = stage_request(&stage, "/ok");
	/* nothing listens there; not sent, so any method is tried again */
	request.url = "http://127.0.0.1:1/";
	request.method = "POST";
	curl_easy_setopt(stage.easy, CURLOPT_POSTFIELDS, "x=1");
	result = stage_run(&stage, &request);
	assert_int_equal(result.outcome, WEIR_HTTP_FAILED);
	assert_int_equal(result.curl, CURLE_COULDNT_CONNECT);
	assert_int_equal(result.status, 0);
	assert_int_equal(result.tries, 4);
	stage_end(&stage);
}

static void test_slow(void **state)
{
	struct stage stage;
	struct weir_http_request request;
	struct weir_http_result result;

	(void)state;
	stage_begin(&stage, UNLIMITED);
	request = stage_request(&stage, "/slow/1000");
	request.flags = WEIR_HTTP_ONCE;
	curl_easy_setopt(stage.easy, CURLOPT_TIMEOUT_MS, 100L);
	result = stage_run(&stage, &request);
	assert_int_equal(result.outcome, WEIR_HTTP_FAILED);
	assert_int_equal(result.curl, CURLE_OPERATION_TIMEDOUT);
	/* it was sent, and nobody knows what became of it */
	assert_int_equal(stage_level(&stage, stage_host(&stage)).granted, 1);

	request.url = server_url(&stage.server, "/stall");
	result = stage_run(&stage, &request);
	assert_int_equal(result.outcome, WEIR_HTTP_FAILED);
	assert_int_equal(result.curl, CURLE_OPERATION_TIMEDOUT);
	assert_int_equal(result.status, 200);
	assert_string_equal(stage.body, "half of it");
	stage_end(&stage);
}

static void test_reset_in_the_body(void **state)
{
	struct stage stage;
	struct weir_http_request request;
	struct weir_http_result result;

	(void)state;
	stage_begin(&stage, UNLIMITED);
	request = stage_request(&stage, "/flaky/3");
	request.restart = stage_restart;
	result = stage_run(&stage, &request);
	assert_int_equal(result.outcome, WEIR_HTTP_ANSWERED);
	assert_int_equal(result.tries, 4);
	assert_int_equal(stage.restarts, 3);
	assert_string_equal(stage.body, "whole\n");

	request.url = server_url(&stage.server, "/flaky/100");
	result = stage_run(&stage, &request);
	assert_int_equal(result.outcome, WEIR_HTTP_FAILED);
	assert_true(result.curl == CURLE_RECV_ERROR || result.curl == CURLE_PARTIAL_FILE);
	stage_end(&stage);
}

/* A day is reported, closes for no longer than the rule allows, and is not waited for. */
static void test_retry_after_a_day(void **state)
{
	struct stage stage;
	struct weir_http_request request;
	struct weir_http_result result;
	struct weir_level level;

	(void)state;
	stage_begin(&stage, "[default]\nrate = 100/s\n");
	result = stage_get(&stage, "/limited/86400/1000");
	assert_int_equal(result.outcome, WEIR_HTTP_ANSWERED);
	assert_int_equal(result.status, 429);
	assert_int_equal(result.retry_ns, 86400 * WEIR_SECOND);
	assert_int_equal(result.tries, 1);
	level = stage_level(&stage, stage_host(&stage));
	assert_true(level.closed_ns > 0);
	assert_true(level.closed_ns <= 3601 * WEIR_SECOND);

	/* the next one is not even made */
	request = stage_request(&stage, "/ok");
	request.timeout_ns = WEIR_SECOND;
	result = stage_run(&stage, &request);
	assert_int_equal(result.outcome, WEIR_HTTP_REFUSED);
	assert_int_equal(result.reason, WEIR_REASON_CLOSED);
	assert_int_equal(server_count(&stage.server, "GET /ok", 0), 0);
	stage_end(&stage);
}

/* One that was refused closes the endpoint for everybody, and a POST waits for that as well. */
static void test_refused_without_a_word(void **state)
{
	struct stage stage;
	struct weir_http_result result;

	(void)state;
	stage_begin(&stage, "[default]\nrate = 100/s\n");
	result = stage_get(&stage, "/silent/1000");
	assert_int_equal(result.status, 429);
	assert_int_equal(result.tries, 4);
	assert_int_equal(result.refusals, 4);
	assert_int_equal(result.retry_ns, 0);
	assert_true(stage_level(&stage, stage_host(&stage)).closed_ns > 0);
	stage_end(&stage);
}

/* ---- the breaker ---- */

static void test_breaker(void **state)
{
	const struct weir_http_settings settings = {
		.size = sizeof(settings),
		.tries = 1,
		.breaker_least = 4,
		.breaker_ns = 300 * WEIR_MILLISECOND,
	};
	struct stage stage;
	struct weir_http_result result;

	(void)state;
	stage_open(&stage, UNLIMITED, &settings);
	for (int i = 0; i < 4; i++)
		assert_int_equal(stage_get(&stage, "/failing/5").status, 502);
	result = stage_get(&stage, "/ok");
	assert_int_equal(result.outcome, WEIR_HTTP_BROKEN);
	assert_true(result.wait_ns > 0 && result.wait_ns <= 300 * WEIR_MILLISECOND);
	assert_int_equal(result.tries, 0);
	assert_int_equal(server_count(&stage.server, "GET /ok", 0), 0);
	/* nothing was drawn for it */
	assert_int_equal(stage_level(&stage, stage_host(&stage)).granted, 4);

	/* the probe fails, and it is open again, for longer */
	usleep(310000);
	assert_int_equal(stage_get(&stage, "/failing/5").status, 502);
	result = stage_get(&stage, "/ok");
	assert_int_equal(result.outcome, WEIR_HTTP_BROKEN);
	assert_true(result.wait_ns > 300 * WEIR_MILLISECOND);
	usleep(620000);
	assert_int_equal(stage_get(&stage, "/ok").status, 200);
	assert_int_equal(stage_get(&stage, "/ok").status, 200);
	stage_end(&stage);
}

/* What a refusal says of a server is that it is there. */
static void test_refusals_break_nothing(void **state)
{
	const struct weir_http_settings settings = {
		.size = sizeof(settings),
		.tries = 1,
		.breaker_least = 2,
	};
	struct stage stage;

	(void)state;
	stage_open(&stage, UNLIMITED, &settings);
	for (int i = 0; i < 10; i++)
		assert_int_equal(stage_get(&stage, "/limited/0/100").status, 429);
	stage_end(&stage);
}

/* ---- threads ---- */

#define THREADS 8
#define REQUESTS 25

struct worker {
	struct stage *stage;
	pthread_t thread;
	unsigned answered;
};

static void *work(void *context)
{
	struct worker *worker = context;
	struct weir_http_request request = stage_request(worker->stage, "/rate/200/20");
	CURL *easy = curl_easy_init();

	/* its body goes nowhere */
	request.write = NULL;
	request.flags = WEIR_HTTP_ONCE;
	curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, NULL);
	curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
	for (int i = 0; i < REQUESTS; i++) {
		struct weir_http_result result = {.size = sizeof(result)};

		if (weir_http_perform(worker->stage->http, easy, &request, &result) == CURLE_OK)
			worker->answered += result.status == 200;
	}
	curl_easy_cleanup(easy);
	return NULL;
}

/* The server allows 20 more than the endpoint does: none of them is ever refused. */
static void test_threads(void **state)
{
	struct worker workers[THREADS];
	struct stage stage;
	uint64_t from = server_now_ns();

	(void)state;
	stage_begin(&stage, "[default]\nrate = 200/s\nburst = 1\n");
	for (int i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){.stage = &stage};
		pthread_create(&workers[i].thread, NULL, work, &workers[i]);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		assert_int_equal(workers[i].answered, REQUESTS);
	}
	assert_true(server_now_ns() - from >= (THREADS * REQUESTS - 1) * WEIR_SECOND / 200);
	assert_int_equal(server_count(&stage.server, "HEAD", 429), 0);
	assert_int_equal(server_count(&stage.server, "HEAD", 200), THREADS * REQUESTS);
	stage_end(&stage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gone),
		cmocka_unit_test(test_slow),
		cmocka_unit_test(test_reset_in_the_body),
		cmocka_unit_test(test_retry_after_a_day),
		cmocka_unit_test(test_refused_without_a_word),
		cmocka_unit_test(test_breaker),
		cmocka_unit_test(test_refusals_break_nothing),
		cmocka_unit_test(test_threads),
	};

	curl_global_init(CURL_GLOBAL_DEFAULT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
