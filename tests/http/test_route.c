/* SPDX-License-Identifier: Apache-2.0
 *
 * Routes and lanes: URLs claim nothing, what is kept is bounded, rules that change are met.
 */
#include "http_fixture.h"

#include <unistd.h>

static struct lane *lane(struct stage *stage, const char *url)
{
	struct lane *found = NULL;

	assert_int_equal(lane_of_url(stage->http, "GET", url, NULL, http_now_ns(), &found), 0);
	return found;
}

/* A table of 8 names, and 5000 URLs: those of one host have its bucket and no other. */
static void test_urls_claim_nothing(void **state)
{
	struct stage stage;
	char url[100];

	(void)state;
	stage_begin(&stage, "[weir]\nnames = 8\n[default]\nrate = 1/h\nburst = 3\n");
	for (int i = 0; i < 5000; i++) {
		snprintf(url, sizeof(url), "http://example.com/page/%d?query=%d", i, i);

		struct lane *one = lane(&stage, url);

		assert_string_equal(one->name, "example.com");
		assert_true(weir_acquire(one->endpoint, 1, NULL) == (i < 3));
		lane_leave(one);
	}
	assert_int_equal(stage.http->lane_count, 1);
	/* so there is still room for others, with buckets of their own */
	for (int i = 0; i < 6; i++) {
		snprintf(url, sizeof(url), "host-%d.example.com", i);
		assert_int_equal((int)stage_level(&stage, url).level, 3);
		struct lane *one = lane(&stage, url);

		assert_true(weir_acquire(one->endpoint, 3, NULL));
		lane_leave(one);
	}
	stage_end(&stage);
}

static void test_lanes_are_bounded(void **state)
{
	struct stage stage;
	struct lane *kept;
	char url[100];

	(void)state;
	stage_begin(&stage, "[default]\nrate = unlimited\n");
	kept = lane(&stage, "http://kept.example.com/");
	for (int i = 0; i < 5 * LANES_KEPT; i++) {
		snprintf(url, sizeof(url), "http://host-%d.example.com/", i);
		lane_leave(lane(&stage, url));
		assert_true(stage.http->lane_count <= LANES_KEPT);
	}
	/* one that somebody uses stays, and so does one that is broken */
	assert_ptr_equal(lane(&stage, "http://kept.example.com/other"), kept);
	lane_leave(kept);
	lane_leave(kept);
	kept->breaker.state = BREAKER_OPEN;
	for (int i = 0; i < 3 * LANES_KEPT; i++) {
		snprintf(url, sizeof(url), "http://host-%d.example.com/", i);
		lane_leave(lane(&stage, url));
	}
	assert_ptr_equal(lane(&stage, "http://kept.example.com/"), kept);
	lane_leave(kept);
	stage_end(&stage);
}

static void test_rules_that_change(void **state)
{
	struct stage stage;
	struct lane *one;

	(void)state;
	stage_begin(&stage, "[default]\nrate = unlimited\n");
	one = lane(&stage, "http://example.com/a");
	assert_string_equal(one->name, "example.com");
	lane_leave(one);
	assert_int_equal(weir_update(stage.weir, "GET example.com/a", "5/s", NULL, WEIR_KEEP_USED),
			 0);
	usleep((useconds_t)(ROUTE_FRESH_NS / 1000) + 50000);
	one = lane(&stage, "http://example.com/a");
	assert_string_equal(one->name, "GET example.com/a");
	lane_leave(one);
	stage_end(&stage);
}

static void test_classes_have_lanes_of_their_own(void **state)
{
	struct stage stage;
	struct lane *plain, *nightly;

	(void)state;
	stage_begin(&stage, "[default]\nrate = 5/s\nclass nightly = leave 50 %\n");
	plain = lane(&stage, "http://example.com/a");
	assert_int_equal(lane_of_url(stage.http, "GET", "http://example.com/a", "nightly",
				     http_now_ns(), &nightly),
			 0);
	assert_ptr_not_equal(plain, nightly);
	assert_string_equal(nightly->class_name, "nightly");
	assert_ptr_equal(lane(&stage, "http://example.com/a"), plain);
	lane_leave(plain);
	lane_leave(plain);
	lane_leave(nightly);
	stage_end(&stage);
}

/* What is too long to be remembered is matched every time. */
static void test_long_urls(void **state)
{
	struct stage stage;
	struct lane *one;
	char url[3000];

	(void)state;
	stage_begin(&stage, "[endpoint example.com/*]\nrate = 1/s\n");
	memset(url, 'p', sizeof(url));
	memcpy(url, "http://example.com/", 19);
	url[sizeof(url) - 1] = '\0';
	for (int i = 0; i < 3; i++) {
		one = lane(&stage, url);
		assert_string_equal(one->name, "example.com/*");
		lane_leave(one);
	}
	assert_int_equal(lane_of_url(stage.http, "GET", "http://", NULL, http_now_ns(), &one),
			 WEIR_EVALUE);
	stage_end(&stage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_urls_claim_nothing),
		cmocka_unit_test(test_lanes_are_bounded),
		cmocka_unit_test(test_rules_that_change),
		cmocka_unit_test(test_classes_have_lanes_of_their_own),
		cmocka_unit_test(test_long_urls),
	};

	curl_global_init(CURL_GLOBAL_DEFAULT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
