/* SPDX-License-Identifier: Apache-2.0
 *
 * Many requests in one loop: in turn, bounded, repeated, cancelled at every stage; what is drawn
 * and not used goes back, and nothing stays behind.
 */
#include "party.h"

#include <errno.h>
#include <malloc.h>

#include "heap.h"

#define UNLIMITED "[default]\nrate = unlimited\n"

/* ---- what is asked is done ---- */

static void test_many(void **state)
{
	struct party *party;

	(void)state;
	party = party_begin(UNLIMITED);
	for (int i = 0; i < 300; i++)
		party_start(party, "/ok");
	party_run(party);
	for (int i = 0; i < 300; i++) {
		assert_int_equal(party->fates[i].code, CURLE_OK);
		assert_int_equal(party->fates[i].result.status, 200);
		assert_string_equal(party->fates[i].body, "hello\n");
	}
	/* over so many connections as are allowed, and no more */
	assert_true(party->stage.server.count <= 64);
	party_end(party);
}

static void test_in_turn(void **state)
{
	const struct weir_http_settings settings = {.size = sizeof(settings), .connections = 4};
	struct party *party;
	uint64_t from = server_now_ns();

	(void)state;
	party = party_open("[default]\nrate = 200/s\nburst = 1\n", &settings);
	for (int i = 0; i < 60; i++)
		party_start(party, "/rate/200/20");
	party_run(party);
	assert_true(server_now_ns() - from >= 59 * WEIR_SECOND / 200);
	for (int i = 0; i < 60; i++) {
		assert_int_equal(party->fates[i].result.status, 200);
		assert_int_equal(party->fates[i].result.tries, 1);
		/* those that are on their way together may overtake each other */
		assert_true(abs((int)party->fates[i].order - i) <= 2 * 4);
	}
	assert_int_equal(stage_level(&party->stage, stage_host(&party->stage)).granted, 60);
	party_end(party);
}

/* One slow endpoint keeps no other from its turn. */
static void test_lanes_do_not_wait_for_each_other(void **state)
{
	struct party *party;

	(void)state;
	party = party_begin(UNLIMITED "[endpoint */ok/slow]\nrate = 1/h\nburst = 1\n");
	for (int i = 0; i < 3; i++)
		party_start(party, "/ok/slow");
	for (int i = 0; i < 20; i++)
		party_start(party, "/ok");
	while (party->done < 21)
		uv_run(&party->uv, UV_RUN_ONCE);
	for (int i = 0; i < 23; i++)
		assert_int_equal(party->fates[i].done, i != 1 && i != 2);
	party_end(party);
}

/* Those that wait here do not stand in the shared line: others come to their turn. */
static void test_leaves_room_for_others(void **state)
{
	struct party *party;
	struct weir_level level;

	(void)state;
	party = party_begin("[default]\nrate = 20/s\nburst = 1\n");
	for (int i = 0; i < 100; i++)
		party_start(party, "/ok");
	level = stage_level(&party->stage, stage_host(&party->stage));
	if (level.level < -4)
		fail_msg("%f tokens are spoken for", -level.level);
	party_end(party);
}

static void test_again(void **state)
{
	static const char *const paths[] = {"/limited/0.1/2", "/unavailable/0.1/2", "/silent/2",
					    "/failing/2",     "/flaky/2",	    "/mute/2"};
	struct party *party;

	(void)state;
	party = party_begin(UNLIMITED);
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct fate *fate = party_start(party, paths[i]);

		curl_easy_setopt(fate->easy, CURLOPT_FRESH_CONNECT, 1L);
		party_run(party);
		assert_int_equal(fate->result.status, 200);
		assert_int_equal(fate->result.tries, 3);
		assert_int_equal(fate->restarts, 2);
	}
	party_end(party);
}

static void test_redirects(void **state)
{
	struct party *party;
	struct weir_http_request request;

	(void)state;
	party = party_begin(UNLIMITED "[endpoint */redirect/*]\nrate = 100/s\nburst = 1\n");
	request = party_request(party, "/redirect/4");
	request.redirects = 4;
	party_start_request(party, &request);
	request = party_request(party, "/loop");
	request.redirects = 4;
	party_start_request(party, &request);
	party_run(party);
	assert_int_equal(party->fates[0].result.status, 200);
	assert_int_equal(party->fates[0].result.hops, 4);
	assert_string_equal(party->fates[0].body, "hello\n");
	assert_int_equal(party->fates[1].result.status, 302);
	assert_int_equal(party->fates[1].result.hops, 4);
	assert_int_equal(stage_level(&party->stage, "*/redirect/*").granted, 5);
	party_end(party);
}

static void test_deadlines(void **state)
{
	struct party *party;
	struct weir_http_request request;

	(void)state;
	party = party_begin("[default]\nrate = 10/s\nburst = 1\n");
	for (int i = 0; i < 10; i++) {
		request = party_request(party, "/ok");
		request.timeout_ns = 250 * WEIR_MILLISECOND;
		party_start_request(party, &request);
	}
	party_run(party);
	/* at 0, 100 and 200 ms; those behind them come to their end at 250 */
	for (int i = 0; i < 10; i++) {
		const struct weir_http_result *result = &party->fates[i].result;

		assert_true(i < 2 || i >= 3 || result->outcome != WEIR_HTTP_FAILED);
		if (i == 0)
			assert_int_equal(result->outcome, WEIR_HTTP_ANSWERED);
		if (i >= 3) {
			assert_int_equal(result->outcome, WEIR_HTTP_REFUSED);
			assert_int_equal(result->reason, WEIR_REASON_DEADLINE);
			assert_int_equal(party->fates[i].code, CURLE_OPERATION_TIMEDOUT);
		}
	}
	assert_true(server_count(&party->stage.server, "GET", 0) <= 3);
	party_end(party);
}

static void test_breaker(void **state)
{
	struct party *party;
	unsigned broken = 0;

	(void)state;
	party = party_begin(UNLIMITED);
	for (int i = 0; i < 200; i++) {
		struct weir_http_request request = party_request(party, "/ok");

		request.url = "http://127.0.0.1:1/";
		party_start_request(party, &request);
	}
	party_run(party);
	for (int i = 0; i < 200; i++) {
		broken += party->fates[i].result.outcome == WEIR_HTTP_BROKEN;
		assert_true(party->fates[i].code == CURLE_COULDNT_CONNECT);
	}
	/* those that were on their way when it opened, and those that came again later */
	assert_true(broken >= 100);
	party_end(party);
}

/* ---- callbacks ---- */

static void start_another(struct fate *fate)
{
	if (fate->party->count < 50)
		party_start(fate->party, "/ok");
}

static void test_starting_from_done(void **state)
{
	struct party *party;

	(void)state;
	party = party_begin("[default]\nrate = 500/s\nburst = 1\n");
	party->on_done = start_another;
	party_start(party, "/ok");
	party_run(party);
	assert_int_equal(party->done, 50);
	party_end(party);
}

static void cancel_the_rest(struct fate *fate)
{
	struct party *party = fate->party;

	party->on_done = NULL;
	for (int i = 0; i < party->count; i++)
		if (party->fates[i].transfer)
			weir_http_cancel(party->fates[i].transfer);
}

static void test_cancelling_from_done(void **state)
{
	struct party *party;
	unsigned cancelled = 0;

	(void)state;
	party = party_begin("[default]\nrate = 100/s\nburst = 1\n");
	party->on_done = cancel_the_rest;
	for (int i = 0; i < 40; i++)
		party_start(party, "/ok");
	party_run(party);
	for (int i = 0; i < 40; i++)
		cancelled += party->fates[i].result.outcome == WEIR_HTTP_CANCELLED;
	assert_true(cancelled >= 30);
	party_end(party);
}

/* ---- cancelled at every stage ---- */

static void cancel_first(struct party *party)
{
	if (party->fates[0].transfer)
		weir_http_cancel(party->fates[0].transfer);
}

static void cancelled_after(const char *path, uint64_t ms, const char *rules, double least_level)
{
	struct party *party;
	double level;

	party = party_begin(rules);
	party_start(party, path);
	party->on_timer = cancel_first;
	uv_timer_start(&party->timer, tick, ms, 0);
	party_run(party);
	assert_int_equal(party->fates[0].result.outcome, WEIR_HTTP_CANCELLED);
	assert_int_equal(party->fates[0].code, CURLE_ABORTED_BY_CALLBACK);
	level = stage_level(&party->stage, stage_host(&party->stage)).level;
	if (level < least_level)
		fail_msg("%s after %d ms: %f are left", path, (int)ms, level);
	party_end(party);
}

static void test_cancel_stages(void **state)
{
	struct party *party;

	(void)state;
	/* before anything: nothing is drawn */
	party = party_begin("[default]\nrate = 1/h\nburst = 5\n");
	party_start(party, "/ok");
	weir_http_cancel(party->fates[0].transfer);
	/* a second time is as good as none */
	weir_http_cancel(party->fates[0].transfer);
	assert_int_equal(party->done, 0);
	party_run(party);
	assert_int_equal(party->fates[0].result.outcome, WEIR_HTTP_CANCELLED);
	assert_int_equal((int)stage_level(&party->stage, stage_host(&party->stage)).level, 5);
	party_end(party);

	/* on its way, in the middle of a body, while it rests: it was sent, and is paid for */
	cancelled_after("/slow/400", 100, "[default]\nrate = 1/h\nburst = 5\n", 4);
	cancelled_after("/stall", 100, "[default]\nrate = 1/h\nburst = 5\n", 4);
	cancelled_after("/limited/100/5", 100, UNLIMITED, 0);
}

/* Waiting in the lane, in line, behind a closed gate. */
static void test_cancel_while_waiting(void **state)
{
	struct party *party;
	struct weir_endpoint *endpoint;

	(void)state;
	party = party_begin("[default]\nrate = 1/h\nburst = 1\n");
	for (int i = 0; i < 5; i++)
		party_start(party, "/ok");
	while (party->done < 1)
		uv_run(&party->uv, UV_RUN_ONCE);
	assert_true(stage_level(&party->stage, stage_host(&party->stage)).level < -0.9);
	for (int i = 4; i > 0; i--)
		weir_http_cancel(party->fates[i].transfer);
	party_run(party);
	assert_true(stage_level(&party->stage, stage_host(&party->stage)).level >= 0);
	assert_int_equal(server_count(&party->stage.server, "GET", 0), 1);

	assert_int_equal(weir_endpoint(party->stage.weir, "gate", &endpoint), 0);
	assert_int_equal(weir_gate_close(endpoint, WEIR_FOREVER), 0);
	struct weir_http_request request = party_request(party, "/ok");

	request.endpoint = "gate";
	struct fate *fate = party_start_request(party, &request);

	for (int i = 0; i < 5; i++)
		uv_run(&party->uv, UV_RUN_NOWAIT);
	assert_int_equal(fate->done, 0);
	weir_http_cancel(fate->transfer);
	party_run(party);
	/* and when it opens, it is noticed */
	request = party_request(party, "/ok");
	request.endpoint = "gate";
	fate = party_start_request(party, &request);
	assert_int_equal(weir_gate_open(endpoint), 0);
	assert_int_equal(weir_reset(party->stage.weir, "gate"), 0);
	party_run(party);
	assert_int_equal(fate->result.status, 200);
	weir_endpoint_close(endpoint);
	party_end(party);
}

/* The loop is left with everything under way. */
static void test_detaching(void **state)
{
	static const char *const paths[] = {"/stall", "/slow/300", "/limited/100/5", "/ok",
					    "/loop"};
	struct party *party;
	struct weir_http_request request;
	CURL *easy = curl_easy_init();

	(void)state;
	party = party_begin("[default]\nrate = 100/s\nburst = 1\n");
	for (int i = 0; i < 200; i++) {
		request = party_request(party, paths[i % 5]);
		/* which closes it */
		request.endpoint = i % 5 == 2 ? "other" : NULL;
		party_start_request(party, &request);
	}
	while (party->done < 5)
		uv_run(&party->uv, UV_RUN_ONCE);
	weir_http_detach(party->stage.http, party_detached, party);
	weir_http_detach(party->stage.http, NULL, NULL);
	request = party_request(party, "/ok");
	assert_int_equal(weir_http_start(party->stage.http, easy, &request, party_done, NULL, NULL),
			 -ENOTCONN);
	party_run(party);
	while (!party->detached)
		uv_run(&party->uv, UV_RUN_ONCE);
	/* and entered again */
	assert_int_equal(weir_http_start(party->stage.http, easy, &request, party_done, NULL, NULL),
			 -ENOTCONN);
	party->detached = 0;
	assert_int_equal(weir_http_attach(party->stage.http, &party->uv), 0);
	assert_int_equal(weir_http_attach(party->stage.http, &party->uv), -EBUSY);
	party_start(party, "/ok/again");
	party_run(party);
	party_end(party);
	curl_easy_cleanup(easy);
}

/* ---- mistakes ---- */

static void test_wrong_requests(void **state)
{
	struct party *party;
	struct weir_http_request request;

	(void)state;
	party = party_begin(UNLIMITED "[endpoint never]\nrate = 0\nburst = 1\n");
	request = party_request(party, "/ok");
	request.url = NULL;
	assert_int_equal(party_start_request(party, &request)->done, 0);
	request = party_request(party, "/ok");
	request.endpoint = "never";
	request.cost = 2;
	party_start_request(party, &request);
	party_run(party);
	assert_int_equal(party->fates[0].result.outcome, WEIR_HTTP_FAULT);
	assert_int_equal(party->fates[0].result.fault, WEIR_EVALUE);
	assert_int_equal(party->fates[0].code, CURLE_BAD_FUNCTION_ARGUMENT);
	assert_int_equal(party->fates[1].result.outcome, WEIR_HTTP_FAULT);
	assert_int_equal(party->fates[1].result.fault, WEIR_EBURST);
	party_end(party);
}

/* A handle is at one thing at a time. */
static void test_handle_at_work(void **state)
{
	struct party *party;
	struct weir_http_request request;
	struct fate *again;

	(void)state;
	party = party_begin(UNLIMITED);
	party_start(party, "/slow/50");
	request = party_request(party, "/ok");
	again = &party->fates[party->count++];
	again->party = party;
	again->easy = party->fates[0].easy;
	assert_int_equal(weir_http_start(party->stage.http, again->easy, &request, party_done,
					 again, &again->transfer),
			 0);
	party_run(party);
	assert_int_equal(again->result.outcome, WEIR_HTTP_FAULT);
	assert_int_equal(again->result.fault, WEIR_EVALUE);
	assert_int_equal(party->fates[0].result.outcome, WEIR_HTTP_ANSWERED);
	again->easy = NULL;
	party_end(party);
}

/* ---- how much is kept for those who wait ---- */

static void test_memory(void **state)
{
	struct party *party;
	size_t before, after;
	CURL **handles = calloc(FAR, sizeof(*handles));

	(void)state;
	party = party_begin("[default]\nrate = 1/h\nburst = 1\n");
	/* libcurl's own */
	for (int i = 0; i < FAR; i++)
		party->fates[i].easy = handles[i] = curl_easy_init();
	before = mallinfo2().uordblks;
	for (int i = 0; i < FAR; i++) {
		struct weir_http_request request = party_request(party, "/ok");
		struct fate *fate = &party->fates[party->count++];

		fate->party = party;
		request.timeout_ns = 3600 * WEIR_SECOND;
		assert_int_equal(weir_http_start(party->stage.http, fate->easy, &request,
						 party_done, fate, &fate->transfer),
				 0);
	}
	after = mallinfo2().uordblks;
	if (after == 0)
		printf("not measured: this build has an allocator of its own\n");
	else
		printf("10000 queued: %.1f MiB\n", (double)(after - before) / (1 << 20));
	assert_true(after - before < (64u << 20));
	free(handles);
	party_end(party);
}

/* ---- the heap, against a plain search ---- */

static void test_heap(void **state)
{
	struct heap heap = {.count = 0};
	struct heap_entry entries[200] = {{0, 0}};
	unsigned seed = 7;

	(void)state;
	assert_int_equal(heap_reserve(&heap, 200), 0);
	for (int step = 0; step < 20000; step++) {
		struct heap_entry *entry = &entries[(seed >> 8) % 200];
		uint64_t least = UINT64_MAX;

		if (seed & 1)
			heap_set(&heap, entry, (seed >> 4) % 500);
		else
			heap_take(&heap, entry);
		for (int i = 0; i < 200; i++)
			if (entries[i].place && entries[i].due_ns < least)
				least = entries[i].due_ns;
		if (heap.count)
			assert_int_equal(heap_first(&heap)->due_ns, least);
		else
			assert_null(heap_first(&heap));
		for (size_t i = 0; i < heap.count; i++)
			assert_int_equal(heap.entries[i]->place, i + 1);
		seed = seed * 1664525 + 1013904223;
		seed ^= seed >> 13;
	}
	heap_free(&heap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_in_turn),
		cmocka_unit_test(test_lanes_do_not_wait_for_each_other),
		cmocka_unit_test(test_leaves_room_for_others),
		cmocka_unit_test(test_again),
		cmocka_unit_test(test_redirects),
		cmocka_unit_test(test_deadlines),
		cmocka_unit_test(test_breaker),
		cmocka_unit_test(test_starting_from_done),
		cmocka_unit_test(test_cancelling_from_done),
		cmocka_unit_test(test_cancel_stages),
		cmocka_unit_test(test_cancel_while_waiting),
		cmocka_unit_test(test_detaching),
		cmocka_unit_test(test_wrong_requests),
		cmocka_unit_test(test_handle_at_work),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_heap),
	};

	curl_global_init(CURL_GLOBAL_DEFAULT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
