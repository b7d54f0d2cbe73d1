/* SPDX-License-Identifier: Apache-2.0
 *
 * How many requests are under way at once: a permit is held for the time of a transfer, and goes
 * back however that ends; with the tokens it is taken together, or not at all.
 */
#include "party.h"

#include <unistd.h>

#define FREE_RULES "[default]\nrate = unlimited\n"
#define LIMITED(name, concurrency)                                                                 \
	"[endpoint " name "]\nrate = unlimited\nconcurrency = " #concurrency "\n"

static struct weir_http_request request_of(struct stage *stage, const char *name, const char *path)
{
	struct weir_http_request request = stage_request(stage, path);

	request.endpoint = name;
	return request;
}

static struct weir_permits permits_of(struct stage *stage, const char *name)
{
	struct weir_permits permits = {.size = sizeof(permits)};
	struct weir_endpoint *endpoint;

	assert_int_equal(weir_endpoint(stage->weir, name, &endpoint), 0);
	assert_int_equal(weir_permit_look(endpoint, &permits), 0);
	weir_endpoint_close(endpoint);
	return permits;
}

static void assert_none_held(struct stage *stage, const char *name)
{
	assert_int_equal(permits_of(stage, name).held, 0);
	assert_int_equal(permits_of(stage, name).waiting, 0);
}

/* Somebody else who has a permit. */
struct holder {
	struct weir_endpoint *endpoint;
	struct weir_permit permit;
};

static void holder_begin(struct holder *holder, struct stage *stage, const char *name)
{
	assert_int_equal(weir_endpoint(stage->weir, name, &holder->endpoint), 0);
	assert_true(weir_permit_take(holder->endpoint, 0, &holder->permit, NULL));
}

static void holder_end(struct holder *holder)
{
	assert_int_equal(weir_permit_release(holder->endpoint, &holder->permit), 0);
	weir_endpoint_close(holder->endpoint);
}

/* ---- threads ---- */

#define THREADS 6
#define REQUESTS 5

struct worker {
	struct stage *stage;
	pthread_t thread;
	const char *endpoint;
	struct weir_http_charge charge;
	unsigned answered;
};

static void *work(void *context)
{
	struct worker *worker = context;
	CURL *easy = curl_easy_init();
	struct weir_http_request request = {
		.size = sizeof(request),
		.url = server_url(&worker->stage->server, "/slow/5"),
		.endpoint = worker->endpoint,
		.charges = &worker->charge,
		.charge_count = worker->charge.endpoint ? 1 : 0,
		.timeout_ns = 60 * WEIR_SECOND,
	};

	curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
	for (int i = 0; i < REQUESTS; i++)
		worker->answered +=
			weir_http_perform(worker->stage->http, easy, &request, NULL) == CURLE_OK;
	curl_easy_cleanup(easy);
	return NULL;
}

static void work_all(struct worker workers[THREADS])
{
	for (int i = 0; i < THREADS; i++)
		pthread_create(&workers[i].thread, NULL, work, &workers[i]);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		assert_int_equal(workers[i].answered, REQUESTS);
	}
}

static void test_threads(void **state)
{
	struct worker workers[THREADS];
	struct stage stage;

	(void)state;
	stage_begin(&stage, LIMITED("api", 2));
	for (int i = 0; i < THREADS; i++)
		workers[i] = (struct worker){.stage = &stage, .endpoint = "api"};
	work_all(workers);
	assert_int_equal(stage.server.peak, 2);
	assert_none_held(&stage, "api");
	stage_end(&stage);
}

/* Two limits of one, wanted in both orders: nobody waits for who waits for him. */
static void test_two_in_both_orders(void **state)
{
	static const char *const names[] = {"left", "right"};
	struct worker workers[THREADS];
	struct stage stage;

	(void)state;
	stage_begin(&stage, LIMITED("left", 1) LIMITED("right", 1));
	for (int i = 0; i < THREADS; i++)
		workers[i] = (struct worker){
			.stage = &stage,
			.endpoint = names[i % 2],
			.charge = {.endpoint = names[1 - i % 2], .cost = 1},
		};
	work_all(workers);
	assert_int_equal(stage.server.peak, 1);
	assert_none_held(&stage, "left");
	assert_none_held(&stage, "right");
	stage_end(&stage);
}

/* ---- with tokens: both, or neither ---- */

static void test_all_or_nothing(void **state)
{
	struct stage stage;
	struct weir_http_request request;
	struct weir_http_result result;
	struct holder holder;

	(void)state;
	stage_begin(&stage, FREE_RULES "[endpoint api]\nrate = 1/h\nburst = 2\nconcurrency = 1\n");
	request = request_of(&stage, "api", "/ok");
	request.timeout_ns = WEIR_MILLISECOND;

	/* there are tokens, but no permit: none is spent */
	holder_begin(&holder, &stage, "api");
	result = stage_run(&stage, &request);
	assert_int_equal(result.outcome, WEIR_HTTP_REFUSED);
	assert_int_equal(result.reason, WEIR_REASON_PERMIT);
	assert_int_equal((int)stage_level(&stage, "api").level, 2);
	assert_int_equal(permits_of(&stage, "api").waiting, 0);
	holder_end(&holder);

	/* there is a permit, but no token in time: it goes back */
	for (int i = 0; i < 2; i++)
		assert_int_equal(stage_run(&stage, &request).outcome, WEIR_HTTP_ANSWERED);
	result = stage_run(&stage, &request);
	assert_int_equal(result.outcome, WEIR_HTTP_REFUSED);
	assert_int_not_equal(result.reason, WEIR_REASON_PERMIT);
	assert_none_held(&stage, "api");
	assert_int_equal(server_count(&stage.server, "GET", 0), 2);
	stage_end(&stage);
}

/* What is waited for with a permit in hand is no part of how long the call takes. */
static void test_time_counts_from_the_start(void **state)
{
	struct bill bill = {.count = 1, .charges = {{.cost = 1}}};
	struct bill_answer answer;
	struct weir_permit taken;
	struct stage stage;
	struct lane *lane;

	(void)state;
	stage_begin(&stage, FREE_RULES "[endpoint api]\nrate = 20/s\nburst = 1\ninitial = 0\n"
				       "concurrency = auto 1..4\n");
	assert_int_equal(lane_of_name(stage.http, "api", "", http_now_ns(), &lane), 0);
	bill.charges[0].lane = lane;
	assert_int_equal(bill_step(&bill, WEIR_SECOND, &answer), BILL_WAIT);
	assert_true(bill.charges[0].has_permit);
	taken = bill.charges[0].permit;
	while (bill_step(&bill, WEIR_SECOND, &answer) == BILL_WAIT)
		usleep(1000);
	assert_true(bill.charges[0].admitted);
	assert_memory_not_equal(&bill.charges[0].permit, &taken, sizeof(taken));
	bill_release(&bill);
	assert_none_held(&stage, "api");
	lane_leave(lane);
	stage_end(&stage);
}

/* A request needs one permit of a rule, by how many names ever it is charged there. */
static void test_one_of_a_rule(void **state)
{
	const struct weir_http_charge charges[] = {{"shared/b", 1, {0}}, {"shared/a", 1, {0}}};
	struct stage stage;
	struct weir_http_request request;

	(void)state;
	stage_begin(&stage, FREE_RULES LIMITED("shared/*", 1));
	request = request_of(&stage, "shared/c", "/ok");
	request.charges = charges;
	request.charge_count = 2;
	request.timeout_ns = WEIR_SECOND;
	assert_int_equal(stage_run(&stage, &request).outcome, WEIR_HTTP_ANSWERED);
	assert_none_held(&stage, "shared/*");
	stage_end(&stage);
}

/* ---- given back, however it ends ---- */

static void test_given_back(void **state)
{
	static const char *const paths[] = {"/status/500", "/mute/9", "/flaky/9", "/limited/0.2/1",
					    "/failing/1"};
	const struct weir_http_settings settings = {
		.size = sizeof(settings),
		.backoff_ns = WEIR_MILLISECOND,
		.breaker_percent = 101,
	};
	struct stage stage;
	struct weir_http_request request;

	(void)state;
	stage_open(&stage, FREE_RULES LIMITED("api", 1), &settings);
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		request = request_of(&stage, "api", paths[i]);
		(void)stage_run(&stage, &request);
		assert_none_held(&stage, "api");
	}
	request.url = "http://127.0.0.1:1/";
	assert_int_equal(stage_run(&stage, &request).outcome, WEIR_HTTP_FAILED);
	assert_none_held(&stage, "api");
	stage_end(&stage);
}

/* Between two hops it goes back, so that the next one's may be taken: here it is the same. */
static void test_hops(void **state)
{
	const struct weir_http_charge other = {.endpoint = "other", .cost = 1};
	struct stage stage;
	struct weir_http_request request;
	struct weir_http_result result;

	(void)state;
	stage_begin(&stage, LIMITED("other", 1) LIMITED("*/redirect/*", 1));
	request = stage_request(&stage, "/redirect/3");
	request.redirects = 5;
	request.charges = &other;
	request.charge_count = 1;
	request.timeout_ns = WEIR_SECOND;
	result = stage_run(&stage, &request);
	assert_int_equal(result.status, 200);
	assert_int_equal(result.hops, 3);
	assert_none_held(&stage, "other");
	assert_none_held(&stage, "*/redirect/*");
	stage_end(&stage);
}

/* While it waits to begin again nobody is kept from a permit. */
static int look_while_resting(void *context)
{
	struct stage *stage = context;

	assert_int_equal(permits_of(stage, "api").held, 0);
	return stage->stops && --stage->stops == 0;
}

static void test_resting(void **state)
{
	struct stage stage;
	struct weir_http_request request;

	(void)state;
	stage_begin(&stage, FREE_RULES LIMITED("api", 1));
	request = request_of(&stage, "api", "/limited/100/1");
	request.stop = look_while_resting;
	stage.stops = 2;
	assert_int_equal(stage_run(&stage, &request).outcome, WEIR_HTTP_CANCELLED);
	assert_int_equal(stage.stops, 0);
	stage_end(&stage);
}

/* ---- one thread that sleeps ---- */

static int release_and_go_on(void *context)
{
	struct stage *stage = context;

	if (stage->stops && --stage->stops == 0)
		holder_end(stage->holder);
	return 0;
}

/* It waits in line, and is called when the permit comes back; or is stopped there. */
static void test_sleeping(void **state)
{
	struct stage stage;
	struct weir_http_request request;
	struct weir_http_result result;
	struct holder holder;

	(void)state;
	stage_begin(&stage, FREE_RULES LIMITED("api", 1));
	request = request_of(&stage, "api", "/ok");
	holder_begin(&holder, &stage, "api");
	stage.holder = &holder;
	stage.stops = 2;
	request.stop = release_and_go_on;
	result = stage_run(&stage, &request);
	assert_int_equal(result.outcome, WEIR_HTTP_ANSWERED);
	assert_true(result.waited_ns > 0);

	holder_begin(&holder, &stage, "api");
	request.stop = stage_stop;
	stage.stops = 2;
	assert_int_equal(stage_run(&stage, &request).outcome, WEIR_HTTP_CANCELLED);
	assert_int_equal(permits_of(&stage, "api").waiting, 0);
	holder_end(&holder);
	assert_none_held(&stage, "api");
	stage_end(&stage);
}

/* ---- a loop, of which no thread sleeps ---- */

static struct fate *start_api(struct party *party, const char *path)
{
	struct weir_http_request request = party_request(party, path);

	request.endpoint = "api";
	return party_start_request(party, &request);
}

static void test_loop(void **state)
{
	struct party *party;

	(void)state;
	party = party_begin(FREE_RULES LIMITED("api", 3));
	for (int i = 0; i < 40; i++)
		start_api(party, "/slow/5");
	/* one lane does not wait for another */
	party_start(party, "/ok");
	party_run(party);
	for (int i = 0; i < 41; i++)
		assert_int_equal(party->fates[i].result.status, 200);
	assert_true(party->fates[40].order < 30);
	assert_in_range(party->stage.server.peak, 3, 4);
	assert_none_held(&party->stage, "api");
	party_end(party);
}

/* Those that hold permits are the ones that are in time for their tokens. */
static void test_loop_with_tokens(void **state)
{
	struct party *party;
	uint64_t from = server_now_ns();

	(void)state;
	party = party_begin("[endpoint api]\nrate = 200/s\nburst = 1\nconcurrency = 2\n");
	for (int i = 0; i < 30; i++)
		start_api(party, "/slow/2");
	party_run(party);
	assert_true(server_now_ns() - from >= 29 * WEIR_SECOND / 200);
	assert_true(party->stage.server.peak <= 2);
	assert_int_equal(stage_level(&party->stage, "api").granted, 30);
	assert_none_held(&party->stage, "api");
	party_end(party);
}

/* Held by somebody else: it is looked for, and cancelled, or too late, in line. */
static void test_loop_waiting_for_others(void **state)
{
	struct party *party;
	struct holder holder;
	struct weir_http_request request;
	struct fate *late, *behind, *cancelled, *last;

	(void)state;
	party = party_begin(FREE_RULES LIMITED("api", 1));
	holder_begin(&holder, &party->stage, "api");
	request = party_request(party, "/ok");
	request.endpoint = "api";
	request.timeout_ns = 20 * WEIR_MILLISECOND;
	late = party_start_request(party, &request);
	request.context = &party->fates[party->count];
	request.timeout_ns = 10 * WEIR_MILLISECOND;
	behind = party_start_request(party, &request);
	party_run(party);
	assert_int_equal(late->result.outcome, WEIR_HTTP_REFUSED);
	assert_int_equal(late->result.reason, WEIR_REASON_PERMIT);
	assert_int_equal(behind->result.outcome, WEIR_HTTP_REFUSED);
	assert_int_equal(behind->result.reason, WEIR_REASON_DEADLINE);

	cancelled = start_api(party, "/ok");
	last = start_api(party, "/ok");
	assert_int_equal(permits_of(&party->stage, "api").waiting, 1);
	uv_run(&party->uv, UV_RUN_ONCE);
	weir_http_cancel(cancelled->transfer);
	for (int i = 0; i < 5; i++)
		uv_run(&party->uv, UV_RUN_ONCE);
	assert_int_equal(cancelled->done, 1);
	assert_int_equal(last->done, 0);
	holder_end(&holder);
	party_run(party);
	assert_int_equal(last->result.status, 200);
	assert_none_held(&party->stage, "api");
	party_end(party);
}

/* Of two endpoints: each is at the head of its own line, and either may come first. */
static void test_loop_waiting_for_two(void **state)
{
	static const char *const names[] = {"one", "two", "three"};
	struct party *party;
	struct holder holders[3];
	struct fate *fates[3];

	(void)state;
	party = party_begin(FREE_RULES LIMITED("one", 1) LIMITED("two", 1) LIMITED("three", 1));
	for (int i = 0; i < 3; i++) {
		struct weir_http_request request = party_request(party, "/ok");

		request.endpoint = names[i];
		holder_begin(&holders[i], &party->stage, names[i]);
		fates[i] = party_start_request(party, &request);
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(permits_of(&party->stage, names[i]).waiting, 1);
	for (int i = 0; i < 3; i++) {
		int at = (i + 1) % 3; /* from the middle of those that wait, first */

		holder_end(&holders[at]);
		for (int turns = 0; turns < 10000 && !fates[at]->done; turns++)
			uv_run(&party->uv, UV_RUN_ONCE);
		assert_int_equal(fates[at]->result.status, 200);
		assert_int_equal(party->done, (unsigned)i + 1);
	}
	party_run(party);
	party_end(party);
}

/* Cancelled and detached with permits in hand, and in line. */
static void test_loop_detached(void **state)
{
	struct party *party;

	(void)state;
	party = party_begin(FREE_RULES LIMITED("api", 2));
	for (int i = 0; i < 10; i++)
		start_api(party, "/stall");
	while (server_count(&party->stage.server, "GET /stall", 0) < 2)
		uv_run(&party->uv, UV_RUN_ONCE);
	assert_int_equal(permits_of(&party->stage, "api").held, 2);
	weir_http_cancel(party->fates[0].transfer);
	while (server_count(&party->stage.server, "GET /stall", 0) < 3)
		uv_run(&party->uv, UV_RUN_ONCE);
	weir_http_detach(party->stage.http, party_detached, party);
	while (!party->detached)
		uv_run(&party->uv, UV_RUN_ONCE);
	party->detached = 0;
	assert_none_held(&party->stage, "api");
	assert_int_equal(weir_http_attach(party->stage.http, &party->uv), 0);
	party_end(party);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_two_in_both_orders),
		cmocka_unit_test(test_all_or_nothing),
		cmocka_unit_test(test_time_counts_from_the_start),
		cmocka_unit_test(test_one_of_a_rule),
		cmocka_unit_test(test_given_back),
		cmocka_unit_test(test_hops),
		cmocka_unit_test(test_resting),
		cmocka_unit_test(test_sleeping),
		cmocka_unit_test(test_loop),
		cmocka_unit_test(test_loop_with_tokens),
		cmocka_unit_test(test_loop_waiting_for_others),
		cmocka_unit_test(test_loop_waiting_for_two),
		cmocka_unit_test(test_loop_detached),
	};

	curl_global_init(CURL_GLOBAL_DEFAULT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
