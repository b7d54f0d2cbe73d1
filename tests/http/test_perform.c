/* SPDX-License-Identifier: Apache-2.0
 *
 * One request after the other, against a server on loopback: which endpoint pays, and how much;
 * when a request is repeated, and when it is not.
 */
#include "http_fixture.h"

#define UNLIMITED "[default]\nrate = unlimited\n"

/* ---- the reference's API client: IT-1, IT-2 (IT-3 needs the daemon: learned.sh) ---- */

/* IT-1: rate 5, ten calls: five at once, five more in their turn. */
static void test_it_1_plain(void **state)
{
	struct stage stage;
	uint64_t from = server_now_ns();

	(void)state;
	stage_begin(&stage, "[default]\nrate = 5/s\n");
	for (int i = 0; i < 10; i++) {
		struct weir_http_result result = stage_get(&stage, "/ok");

		assert_int_equal(result.outcome, WEIR_HTTP_ANSWERED);
		assert_int_equal(result.status, 200);
		assert_string_equal(result.endpoint, stage_host(&stage));
		/* a slow machine need not wait for what has come meanwhile */
		if (i < 5)
			assert_int_equal(result.waited_ns, 0);
	}
	assert_true(server_now_ns() - from >= WEIR_SECOND);
	assert_int_equal(server_count(&stage.server, "GET /ok", 200), 10);
	assert_int_equal(stage_level(&stage, stage_host(&stage)).granted, 10);
	stage_end(&stage);
}

/* IT-2: users 2/s and posts 5/s side by side. */
static void test_it_2_per_endpoint(void **state)
{
	struct stage stage;
	unsigned users_waited = 0, posts_waited = 0;
	uint64_t from = server_now_ns();

	(void)state;
	stage_begin(&stage, "[endpoint */ok/users*]\nrate = 2/s\n"
			    "[endpoint */ok/posts*]\nrate = 5/s\n");
	for (int i = 0; i < 5; i++) {
		struct weir_http_result users, posts;

		if (i < 3) {
			users = stage_get(&stage, "/ok/users");
			assert_string_equal(users.endpoint, "*/ok/users*");
			users_waited += users.waited_ns > 0;
		}
		posts = stage_get(&stage, "/ok/posts");
		assert_string_equal(posts.endpoint, "*/ok/posts*");
		posts_waited += posts.waited_ns > 0;
	}
	/* the third user's call is one too many, and no post has to wait for that */
	assert_true(users_waited <= 1);
	assert_true(server_now_ns() - from >= WEIR_SECOND / 2);
	assert_int_equal(posts_waited, 0);
	assert_int_equal(stage_level(&stage, "*/ok/users*").granted, 3);
	assert_int_equal(stage_level(&stage, "*/ok/posts*").granted, 5);
	stage_end(&stage);
}

/* ---- who pays ---- */

static void test_candidates_in_order(void **state)
{
	struct stage stage;
	char name[WEIR_NAME_MAX + 1];

	(void)state;
	stage_begin(&stage, "[endpoint GET api.com/a/*]\nrate = 1/s\n"
			    "[endpoint api.com/*]\nrate = 1/s\n"
			    "[endpoint api.com]\nrate = 1/s\n"
			    "[endpoint POST *]\nrate = 1/s\n");
	assert_int_equal(weir_http_match(stage.http, NULL, "http://api.com/a/b", name), 0);
	assert_string_equal(name, "GET api.com/a/*");
	assert_int_equal(weir_http_match(stage.http, "PUT", "http://api.com/a/b", name), 0);
	assert_string_equal(name, "api.com/*");
	assert_int_equal(weir_http_match(stage.http, "POST", "http://api.com/a/b", name), 0);
	assert_string_equal(name, "POST *");
	assert_int_equal(weir_http_match(stage.http, "GET", "http://other.com/a", name), 0);
	assert_string_equal(name, "other.com");
	assert_int_equal(weir_http_match(stage.http, "GET", "http://", name), WEIR_EVALUE);
	stage_end(&stage);
}

/* A rule with a bucket for each user: who has used up his own keeps nobody else from theirs. */
static void test_each(void **state)
{
	static const char rule[] = "GET api.com/ok/user/*";
	struct weir_level level = {.size = sizeof(level)};
	struct stage stage;
	struct weir_http_request request;
	struct weir_http_result result;
	struct weir_endpoint *users;
	struct curl_slist *to;
	char text[100];

	(void)state;
	stage_begin(&stage, UNLIMITED "[each GET api.com/ok/user/*]\nrate = 1/h\nburst = 2\n");
	snprintf(text, sizeof(text), "api.com:80:127.0.0.1:%d", stage.server.port);
	to = curl_slist_append(NULL, text);
	curl_easy_setopt(stage.easy, CURLOPT_CONNECT_TO, to);
	assert_int_equal(weir_endpoint(stage.weir, rule, &users), 0);
	request = stage_request(&stage, "");
	request.timeout_ns = 1;
	for (int i = 0; i < 9; i++) {
		snprintf(text, sizeof(text), "http://api.com/ok/user/%d?page=%d", i % 3, i);
		request.url = text;
		result = stage_run(&stage, &request);
		assert_int_equal(result.outcome, i < 6 ? WEIR_HTTP_ANSWERED : WEIR_HTTP_REFUSED);
		snprintf(text, sizeof(text), "GET api.com/ok/user/%d", i % 3);
		assert_string_equal(result.endpoint, text);
	}
	assert_int_equal(weir_peek_key(users, "1", 1, &level), 0);
	assert_int_equal((int)level.level, 0);
	assert_int_equal(weir_peek_key(users, "3", 1, &level), 0);
	assert_int_equal((int)level.level, 2);
	weir_endpoint_close(users);
	stage_end(&stage);
	curl_slist_free_all(to);
}

static void test_named_endpoint(void **state)
{
	struct stage stage;
	struct weir_http_request request;

	(void)state;
	stage_begin(&stage, UNLIMITED "[endpoint mine]\nrate = 1/h\nburst = 9\n");
	request = stage_request(&stage, "/ok");
	request.endpoint = "mine";
	request.cost = 4;
	assert_string_equal(stage_run(&stage, &request).endpoint, "mine");
	assert_true(stage_level(&stage, "mine").level < 5.1);

	/* the handle's own URL, and its own write function */
	curl_easy_setopt(stage.easy, CURLOPT_URL, server_url(&stage.server, "/ok/own"));
	request = (struct weir_http_request){
		.size = sizeof(request),
		.endpoint = "mine",
	};
	assert_int_equal(weir_http_perform(stage.http, stage.easy, &request, NULL), CURLE_OK);
	assert_int_equal(server_count(&stage.server, "GET /ok/own", 200), 1);
	assert_true(stage_level(&stage, "mine").level < 4.1);
	stage_end(&stage);
}

static void test_class(void **state)
{
	struct stage stage;
	struct weir_http_request request;
	struct weir_http_result result;

	(void)state;
	stage_begin(&stage, "[default]\nrate = 1/h\nburst = 4\nclass nightly = leave 50 %\n");
	request = stage_request(&stage, "/ok");
	request.class_name = "nightly";
	request.timeout_ns = WEIR_MILLISECOND;
	for (int i = 0; i < 2; i++)
		assert_int_equal(stage_run(&stage, &request).outcome, WEIR_HTTP_ANSWERED);
	result = stage_run(&stage, &request);
	assert_int_equal(result.outcome, WEIR_HTTP_REFUSED);
	assert_true(result.wait_ns > WEIR_SECOND);
	assert_int_equal(stage_get(&stage, "/ok").outcome, WEIR_HTTP_ANSWERED);
	stage_end(&stage);
}

/* Two limits at once; what the second cost is known from the answer. */
static void test_charges_and_measure(void **state)
{
	const struct weir_http_charge tokens = {.endpoint = "tokens", .cost = 1000};
	struct stage stage;
	struct weir_http_request request;
	struct weir_http_result result;

	(void)state;
	stage_begin(&stage, UNLIMITED "[endpoint requests]\nrate = 1/h\nburst = 10\n"
				      "[endpoint tokens]\nrate = 1/h\nburst = 3000\n");
	request = stage_request(&stage, "/tokens/250");
	request.endpoint = "requests";
	request.charges = &tokens;
	request.charge_count = 1;
	request.measure = stage_measure;
	stage.measured = 250;
	assert_int_equal(stage_run(&stage, &request).status, 200);
	assert_int_equal(stage.measures, 2);
	assert_int_equal((int)stage_level(&stage, "tokens").level, 2750);
	assert_int_equal((int)stage_level(&stage, "requests").level, 9);

	/* more than was thought is a debt */
	stage.measured = 4000;
	assert_int_equal(stage_run(&stage, &request).status, 200);
	assert_true(stage_level(&stage, "tokens").level < -1200);

	/* and then neither is drawn, however much the first has left */
	request.timeout_ns = WEIR_MILLISECOND;
	result = stage_run(&stage, &request);
	assert_int_equal(result.outcome, WEIR_HTTP_REFUSED);
	assert_int_equal(result.tries, 0);
	assert_int_equal((int)stage_level(&stage, "requests").level, 8);
	stage_end(&stage);
}

/* A refused try costs a request, but no tokens; one that was not sent costs nothing. */
static void test_what_a_try_costs(void **state)
{
	const struct weir_http_charge tokens = {.endpoint = "tokens", .cost = 1000};
	struct stage stage;
	struct weir_http_request request;

	(void)state;
	stage_begin(&stage, UNLIMITED "[endpoint requests]\nrate = 1/h\nburst = 10\n"
				      "[endpoint tokens]\nrate = 1/h\nburst = 3000\n");
	request = stage_request(&stage, "/failing/2");
	request.endpoint = "requests";
	request.charges = &tokens;
	request.charge_count = 1;
	assert_int_equal(stage_run(&stage, &request).tries, 3);
	assert_int_equal((int)stage_level(&stage, "requests").level, 7);
	assert_int_equal((int)stage_level(&stage, "tokens").level, 2000);

	request.url = "http://127.0.0.1:1/";
	request.flags = WEIR_HTTP_ONCE;
	assert_int_equal(stage_run(&stage, &request).outcome, WEIR_HTTP_FAILED);
	assert_int_equal((int)stage_level(&stage, "requests").level, 7);
	assert_int_equal((int)stage_level(&stage, "tokens").level, 2000);
	stage_end(&stage);
}

static void test_unchanged(void **state)
{
	struct curl_slist *fields = curl_slist_append(NULL, "If-None-Match: \"one\"");
	struct stage stage;
	struct weir_http_request request;

	(void)state;
	stage_begin(&stage, UNLIMITED "[endpoint mine]\nrate = 1/h\nburst = 10\n");
	request = stage_request(&stage, "/fresh");
	request.endpoint = "mine";
	curl_easy_setopt(stage.easy, CURLOPT_HTTPHEADER, fields);
	assert_int_equal(stage_run(&stage, &request).status, 304);
	assert_int_equal((int)stage_level(&stage, "mine").level, 9);
	request.flags = WEIR_HTTP_UNCHANGED_FREE;
	assert_int_equal(stage_run(&stage, &request).status, 304);
	assert_int_equal((int)stage_level(&stage, "mine").level, 9);
	curl_easy_setopt(stage.easy, CURLOPT_HTTPHEADER, NULL);
	assert_int_equal(stage_run(&stage, &request).status, 200);
	assert_int_equal((int)stage_level(&stage, "mine").level, 8);
	stage_end(&stage);
	curl_slist_free_all(fields);
}

/* ---- redirects ---- */

/* Libcurl follows: each hop is charged to its own endpoint afterwards. */
static void test_redirects_by_libcurl(void **state)
{
	struct stage stage;
	struct weir_http_request request;
	struct weir_http_result result;

	(void)state;
	stage_begin(&stage, UNLIMITED "[endpoint */redirect/3]\nrate = 1/h\nburst = 10\n"
				      "[endpoint */redirect/*]\nrate = 1/h\nburst = 10\n");
	curl_easy_setopt(stage.easy, CURLOPT_FOLLOWLOCATION, 1L);
	request = stage_request(&stage, "/redirect/3");
	result = stage_run(&stage, &request);
	assert_int_equal(result.status, 200);
	assert_int_equal(result.hops, 3);
	assert_int_equal(result.tries, 1);
	assert_int_equal((int)stage_level(&stage, "*/redirect/3").level, 9);
	assert_int_equal((int)stage_level(&stage, "*/redirect/*").level, 7);

	/* under one name, they are charged to that */
	request.endpoint = "*/redirect/3";
	assert_int_equal(stage_run(&stage, &request).hops, 3);
	assert_int_equal((int)stage_level(&stage, "*/redirect/3").level, 5);
	stage_end(&stage);
}

/* Followed here: each waits for its turn, and the program sees the last answer alone. */
static void test_redirects_hop_by_hop(void **state)
{
	struct stage stage;
	struct weir_http_request request;
	struct weir_http_result result;
	uint64_t from = server_now_ns();
	char *url = NULL;

	(void)state;
	stage_begin(&stage, UNLIMITED "[endpoint */redirect/*]\nrate = 50/s\nburst = 1\n");
	request = stage_request(&stage, "/redirect/3");
	request.redirects = 5;
	result = stage_run(&stage, &request);
	assert_int_equal(result.status, 200);
	assert_string_equal(stage.body, "hello\n");
	assert_int_equal(result.hops, 3);
	assert_int_equal(result.tries, 1);
	assert_true(server_now_ns() - from >= 60 * WEIR_MILLISECOND);
	assert_true(result.waited_ns > 0);
	assert_int_equal(stage_level(&stage, "*/redirect/*").granted, 4);
	curl_easy_getinfo(stage.easy, CURLINFO_EFFECTIVE_URL, &url);
	assert_string_equal(url, server_url(&stage.server, "/redirect/0"));

	/* so many and no more */
	request.redirects = 2;
	result = stage_run(&stage, &request);
	assert_int_equal(result.status, 302);
	assert_int_equal(result.hops, 2);
	assert_string_equal(stage.body, "look there\n");

	/* a POST is not sent elsewhere by itself */
	request.method = "POST";
	curl_easy_setopt(stage.easy, CURLOPT_POSTFIELDS, "x=1");
	result = stage_run(&stage, &request);
	assert_int_equal(result.status, 302);
	assert_int_equal(result.hops, 0);
	stage_end(&stage);
}

static void test_redirect_loop(void **state)
{
	struct stage stage;
	struct weir_http_request request;
	struct weir_http_result result;

	(void)state;
	stage_begin(&stage, UNLIMITED);
	request = stage_request(&stage, "/loop");
	request.redirects = 10;
	result = stage_run(&stage, &request);
	assert_int_equal(result.outcome, WEIR_HTTP_ANSWERED);
	assert_int_equal(result.status, 302);
	assert_int_equal(result.hops, 10);
	assert_int_equal(server_count(&stage.server, "GET /loop", 302), 11);

	/* libcurl's own way to say it */
	curl_easy_setopt(stage.easy, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(stage.easy, CURLOPT_MAXREDIRS, 4L);
	request.redirects = 0;
	result = stage_run(&stage, &request);
	assert_int_equal(result.outcome, WEIR_HTTP_FAILED);
	assert_int_equal(result.curl, CURLE_TOO_MANY_REDIRECTS);
	assert_int_equal(result.tries, 1);
	stage_end(&stage);
}

/* Secrets stay with the host they are for. */
static void test_redirect_to_another_origin(void **state)
{
	struct curl_slist *fields = curl_slist_append(NULL, "Authorization: Bearer secret");
	struct server other;
	struct stage stage;
	struct weir_http_request request;
	struct weir_http_result result;
	char path[60];

	(void)state;
	stage_begin(&stage, UNLIMITED);
	server_start(&other);
	snprintf(path, sizeof(path), "/away/%d/ok", other.port);
	request = stage_request(&stage, path);
	request.redirects = 5;
	curl_easy_setopt(stage.easy, CURLOPT_HTTPHEADER, fields);
	result = stage_run(&stage, &request);
	assert_int_equal(result.status, 302);
	assert_int_equal(server_count(&other, "GET", 0), 0);

	/* unless the program says so */
	curl_easy_setopt(stage.easy, CURLOPT_HTTPHEADER, NULL);
	request.flags = WEIR_HTTP_CROSS_ORIGIN;
	result = stage_run(&stage, &request);
	assert_int_equal(result.status, 200);
	assert_string_equal(result.endpoint, server_url(&other, "") + strlen("http://"));
	assert_false(other.seen[0].has_secret);
	stage_end(&stage);
	server_stop(&other);
	curl_slist_free_all(fields);
}

/* ---- once more ---- */

static void test_by_the_servers_word(void **state)
{
	static const char *const paths[] = {"/limited/0.2/2", "/unavailable/0.2/2",
					    "/forbidden/0.2/2"};
	struct stage stage;

	(void)state;
	stage_begin(&stage, UNLIMITED);
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct weir_http_result result = stage_get(&stage, paths[i]);

		assert_int_equal(result.status, 200);
		assert_string_equal(stage.body, "at last\n");
		assert_int_equal(result.tries, 3);
		assert_int_equal(result.refusals, 2);
		assert_int_equal(result.retry_ns, 0);
		assert_true(result.waited_ns >= 400 * WEIR_MILLISECOND);
	}
	stage_end(&stage);
}

/* A POST too, for the server said so; but not where it said nothing. */
static void test_post(void **state)
{
	struct stage stage;
	struct weir_http_request request;
	struct weir_http_result result;

	(void)state;
	stage_begin(&stage, UNLIMITED);
	curl_easy_setopt(stage.easy, CURLOPT_POSTFIELDS, "x=1");
	request = stage_request(&stage, "/limited/0.1/1");
	request.method = "POST";
	result = stage_run(&stage, &request);
	assert_int_equal(result.status, 200);
	assert_int_equal(result.tries, 2);
	assert_int_equal(server_count(&stage.server, "POST /limited", 0), 2);

	request.url = server_url(&stage.server, "/silent/1");
	result = stage_run(&stage, &request);
	assert_int_equal(result.status, 429);
	assert_int_equal(result.tries, 1);
	request.url = server_url(&stage.server, "/failing/1");
	assert_int_equal(stage_run(&stage, &request).status, 502);
	/* on a connection that was used before, libcurl itself tries again */
	curl_easy_setopt(stage.easy, CURLOPT_FRESH_CONNECT, 1L);
	request.url = server_url(&stage.server, "/mute/1");
	result = stage_run(&stage, &request);
	assert_int_equal(result.outcome, WEIR_HTTP_FAILED);
	assert_int_equal(result.curl, CURLE_GOT_NOTHING);
	assert_int_equal(result.tries, 1);

	/* when asked; and also if the request said nothing of the method that the handle has */
	request.flags = WEIR_HTTP_REPEATABLE;
	request.url = server_url(&stage.server, "/failing/3");
	assert_int_equal(stage_run(&stage, &request).tries, 4);
	request.flags = 0;
	request.method = NULL;
	request.url = server_url(&stage.server, "/failing/5");
	assert_int_equal(stage_run(&stage, &request).tries, 1);
	stage_end(&stage);
}

/* Without a word of the server, what does no harm is tried again after a growing pause. */
static void test_by_backoff(void **state)
{
	static const char *const paths[] = {"/silent/2", "/failing/2", "/mute/2"};
	struct stage stage;

	(void)state;
	stage_begin(&stage, UNLIMITED);
	curl_easy_setopt(stage.easy, CURLOPT_FRESH_CONNECT, 1L);
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct weir_http_result result = stage_get(&stage, paths[i]);

		assert_int_equal(result.status, 200);
		assert_int_equal(result.tries, 3);
		assert_true(result.waited_ns >= 3 * STAGE_BACKOFF_NS);
	}
	stage_end(&stage);
}

static void test_limit_on_tries(void **state)
{
	struct stage stage;
	struct weir_http_request request;
	struct weir_http_result result;

	(void)state;
	stage_begin(&stage, UNLIMITED);
	result = stage_get(&stage, "/failing/100");
	assert_int_equal(result.status, 502);
	assert_int_equal(result.tries, 4);
	assert_string_equal(stage.body, "come back later\n");
	request = stage_request(&stage, "/failing/200");
	request.flags = WEIR_HTTP_ONCE;
	assert_int_equal(stage_run(&stage, &request).tries, 1);
	stage_end(&stage);
}

static void test_budget_of_repetitions(void **state)
{
	const struct weir_http_settings settings = {
		.size = sizeof(settings),
		.budget_least = 2,
		.budget_percent = 20,
		.backoff_ns = WEIR_MILLISECOND,
		.breaker_percent = 101,
	};
	struct stage stage;
	uint32_t tries = 0;

	(void)state;
	stage_open(&stage, UNLIMITED, &settings);
	for (int i = 0; i < 20; i++)
		tries += stage_get(&stage, "/failing/1000").tries;
	/* two to begin with, and one for each five requests */
	assert_int_equal(tries, 20 + 2 + 4);
	/* what the server asks for is no burden to it */
	assert_int_equal(stage_get(&stage, "/limited/0/2").tries, 3);
	stage_end(&stage);
}

static void test_deadline(void **state)
{
	struct stage stage;
	struct weir_http_request request;
	struct weir_http_result result;
	CURLcode code;

	(void)state;
	stage_begin(&stage, "[default]\nrate = 1/min\nburst = 1\n");
	assert_int_equal(stage_get(&stage, "/ok").status, 200);
	request = stage_request(&stage, "/ok");
	request.timeout_ns = WEIR_SECOND;
	result.size = sizeof(result);
	code = weir_http_perform(stage.http, stage.easy, &request, &result);
	assert_int_equal(code, CURLE_OPERATION_TIMEDOUT);
	assert_int_equal(result.outcome, WEIR_HTTP_REFUSED);
	assert_int_equal(result.reason, WEIR_REASON_DEADLINE);
	assert_true(result.wait_ns > 50 * WEIR_SECOND);
	assert_int_equal(result.tries, 0);
	assert_int_equal(server_count(&stage.server, "GET", 0), 1);
	/* at once, and for nothing */
	assert_true(result.waited_ns < WEIR_SECOND);
	assert_true(stage_level(&stage, stage_host(&stage)).level >= 0);

	/* an answer that comes back too late is the answer */
	request.endpoint = "another";
	request.url = server_url(&stage.server, "/limited/100/1");
	result = stage_run(&stage, &request);
	assert_int_equal(result.outcome, WEIR_HTTP_ANSWERED);
	assert_int_equal(result.status, 429);
	assert_int_equal(result.retry_ns, 100 * WEIR_SECOND);
	stage_end(&stage);
}

/* Without its write function here, the program has got what it has got. */
static void test_bodies(void **state)
{
	struct stage stage;
	struct weir_http_request request;
	struct weir_http_result result;

	(void)state;
	stage_begin(&stage, UNLIMITED);
	request = stage_request(&stage, "/limited/0/1");
	request.write = NULL;
	result = stage_run(&stage, &request);
	assert_int_equal(result.status, 429);
	assert_int_equal(result.tries, 1);
	assert_string_equal(stage.body, "come back later\n");

	request.url = server_url(&stage.server, "/limited/0/2");
	request.restart = stage_restart;
	result = stage_run(&stage, &request);
	assert_int_equal(result.status, 200);
	assert_int_equal(stage.restarts, 2);
	assert_string_equal(stage.body, "at last\n");

	/* it may say no */
	stage.restart_says = 1;
	request.url = server_url(&stage.server, "/failing/1");
	assert_int_equal(stage_run(&stage, &request).status, 502);

	/* half of a body cannot be taken back, but by the program */
	request.write = stage_write;
	request.restart = NULL;
	request.url = server_url(&stage.server, "/flaky/1");
	result = stage_run(&stage, &request);
	assert_int_equal(result.outcome, WEIR_HTTP_FAILED);
	assert_int_equal(result.status, 200);
	assert_string_equal(stage.body, "half of it");
	stage.restart_says = 0;
	request.restart = stage_restart;
	request.url = server_url(&stage.server, "/flaky/2");
	result = stage_run(&stage, &request);
	assert_int_equal(result.outcome, WEIR_HTTP_ANSWERED);
	assert_string_equal(stage.body, "whole\n");
	stage_end(&stage);
}

static void test_stop(void **state)
{
	struct stage stage;
	struct weir_http_request request;
	struct weir_http_result result = {.size = sizeof(result)};
	double level;

	(void)state;
	stage_begin(&stage, "[default]\nrate = 1/min\nburst = 1\n");
	assert_int_equal(stage_get(&stage, "/ok").status, 200);
	request = stage_request(&stage, "/ok");
	request.stop = stage_stop;
	stage.stops = 2;
	assert_int_equal(weir_http_perform(stage.http, stage.easy, &request, &result),
			 CURLE_ABORTED_BY_CALLBACK);
	assert_int_equal(result.outcome, WEIR_HTTP_CANCELLED);
	assert_int_equal(server_count(&stage.server, "GET", 0), 1);
	level = stage_level(&stage, stage_host(&stage)).level;
	if (level < 0)
		fail_msg("the place was not given back: %f", level);

	/* while resting, too */
	request.url = server_url(&stage.server, "/limited/100/1");
	request.endpoint = "another";
	stage.stops = 2;
	result = stage_run(&stage, &request);
	assert_int_equal(result.outcome, WEIR_HTTP_CANCELLED);
	assert_int_equal(result.tries, 1);
	stage_end(&stage);
}

/* ---- mistakes ---- */

static void test_wrong_requests(void **state)
{
	const struct weir_http_charge charges[4] = {{"a", 1, {0}}, {"b", 1, {0}}, {NULL, 1, {0}}};
	struct stage stage;
	struct weir_http_request good, request;
	struct weir_http *http;
	struct weir_http_settings settings = {.size = sizeof(settings), .budget_percent = 1001};

	(void)state;
	stage_begin(&stage, UNLIMITED);
	good = stage_request(&stage, "/ok");
#define assert_fault(expected)                                                                     \
	do {                                                                                       \
		struct weir_http_result result = stage_run(&stage, &request);                      \
		assert_int_equal(result.outcome, WEIR_HTTP_FAULT);                                 \
		assert_int_equal(result.fault, expected);                                          \
		request = good;                                                                    \
	} while (0)
	request = good;
	request.url = NULL;
	assert_fault(WEIR_EVALUE);
	request.url = "http://";
	assert_fault(WEIR_EVALUE);
	request.method = "A-METHOD-THAT-IS-FAR-TOO-LONG";
	assert_fault(WEIR_EVALUE);
	request.charges = charges;
	request.charge_count = 3;
	assert_fault(WEIR_EVALUE);
	request.charges = charges;
	request.charge_count = 4;
	assert_fault(WEIR_EVALUE);
	request.charge_count = 1;
	assert_fault(WEIR_EVALUE);
	request.endpoint = "";
	assert_fault(WEIR_ENAME);
	request.class_name = "Not A Class";
	assert_fault(WEIR_ECLASS);
	request.cost = -1;
	assert_fault(WEIR_ECOST);
	request.url = NULL;
	request.endpoint = "mine";
	request.redirects = 1;
	assert_fault(WEIR_EVALUE);
	assert_int_equal(weir_http_perform(stage.http, NULL, &good, NULL),
			 CURLE_BAD_FUNCTION_ARGUMENT);
	assert_int_equal(server_count(&stage.server, "GET", 0), 0);

	assert_int_equal(weir_http_open(&http, stage.weir, &settings), WEIR_EVALUE);
	settings.budget_percent = 0;
	settings.breaker_ns = UINT64_MAX;
	assert_int_equal(weir_http_open(&http, stage.weir, &settings), WEIR_EVALUE);
	stage_end(&stage);
	weir_http_close(NULL);
}

/* Programs that were built when the structs were shorter. */
static void test_sizes(void **state)
{
	struct stage stage;
	struct weir_http_request request;
	struct weir_http_result result;

	(void)state;
	stage_begin(&stage, UNLIMITED);
	request = stage_request(&stage, "/ok");
	request.size = offsetof(struct weir_http_request, endpoint);
	request.endpoint = "beyond";
	memset(&result, 0x55, sizeof(result));
	result.size = offsetof(struct weir_http_result, tries);
	curl_easy_setopt(stage.easy, CURLOPT_WRITEFUNCTION, stage_write);
	assert_int_equal(weir_http_perform(stage.http, stage.easy, &request, &result), CURLE_OK);
	assert_int_equal(result.size, offsetof(struct weir_http_result, tries));
	assert_int_equal(result.status, 200);
	assert_int_equal(result.tries, 0x55555555);
	/* of one that says nothing, all is written */
	result = (struct weir_http_result){.size = 0};
	assert_int_equal(weir_http_perform(stage.http, stage.easy, &request, &result), CURLE_OK);
	assert_int_equal(result.size, sizeof(result));
	assert_int_equal(result.tries, 1);
	stage_end(&stage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_it_1_plain),
		cmocka_unit_test(test_it_2_per_endpoint),
		cmocka_unit_test(test_candidates_in_order),
		cmocka_unit_test(test_each),
		cmocka_unit_test(test_named_endpoint),
		cmocka_unit_test(test_class),
		cmocka_unit_test(test_charges_and_measure),
		cmocka_unit_test(test_what_a_try_costs),
		cmocka_unit_test(test_unchanged),
		cmocka_unit_test(test_redirects_by_libcurl),
		cmocka_unit_test(test_redirects_hop_by_hop),
		cmocka_unit_test(test_redirect_loop),
		cmocka_unit_test(test_redirect_to_another_origin),
		cmocka_unit_test(test_by_the_servers_word),
		cmocka_unit_test(test_post),
		cmocka_unit_test(test_by_backoff),
		cmocka_unit_test(test_limit_on_tries),
		cmocka_unit_test(test_budget_of_repetitions),
		cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_bodies),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_wrong_requests),
		cmocka_unit_test(test_sizes),
	};

	curl_global_init(CURL_GLOBAL_DEFAULT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
