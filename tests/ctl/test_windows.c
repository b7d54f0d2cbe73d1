/* SPDX-License-Identifier: Apache-2.0
 *
 * Windows and response fields as weirctl prints them; and the meter of `load`, which allows what
 * windows bring and sees an excess of one token.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bucket.h"
#include "config.h"
#include "gate.h"
#include "meter.h"
#include "stage.h"
#include "tally.h"

#define SECOND 1000000000ll
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)

struct fixture {
	struct stage stage;
	struct meter meter;
	bool metering;
};

static void advance(struct stage *stage, int64_t ns)
{
	stage_advance(stage, (uint64_t)ns);
}

static void add(struct stage *stage, const char *name, const char *rate, const char *window)
{
	struct rule rule = {.kind = ROW_EXACT, .text = name};

	assert_null(config_set_term(&rule.terms, "rate", rate));
	assert_null(config_set_term(&rule.terms, "window", window));
	assert_null(config_finish_terms(&rule.terms, false, false));
	assert_true(rules_add(&stage->segment, &rule) >= 0);
}

/* 100 hours and 48 minutes after 1970 began. */
static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	if (!fixture)
		return -1;
	stage_begin(&fixture->stage);
	stage_publish(&fixture->stage, CLOCK_KIND_MANUAL, 4);
	advance(&fixture->stage,
		100 * HOUR + 48 * MINUTE - (int64_t)segment_now(&fixture->stage.segment));
	add(&fixture->stage, "hour", "100/h", "1h");
	add(&fixture->stage, "day", "24/d", "1d aligned -08:00");
	add(&fixture->stage, "first", "10/h", "1h first");
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	if (fixture->metering)
		look_close(&fixture->meter.look);
	stage_end(&fixture->stage);
	free(fixture);
	return 0;
}

static struct outcome outcome;

static json_t *show(const struct stage *stage, const char *name)
{
	RUN(stage, &outcome, "show", "--json", name);
	expect_status(&outcome, 0);
	return parse_json(&outcome);
}

/* ---- looking ---- */

static void test_show(void **state)
{
	struct stage *stage = &((struct fixture *)*state)->stage;
	json_t *root;

	assert_true(stage_take(stage, "hour", 100));
	RUN(stage, &outcome, "show", "hour");
	expect_status(&outcome, 0);
	expect_text(outcome.out, "window       100 tokens, renewed as a whole (1h aligned)\n");
	expect_text(outcome.out, "next window  in 12 min\n");
	expect_text(outcome.out, "state        renews in 12 min\n");
	root = show(stage, "hour");
	assert_string_equal(json_text(root, "window"), "1h aligned");
	assert_true(json_whole(root, "window_ns") == HOUR);
	assert_true(json_whole(root, "renews_ns") == 12 * MINUTE);
	assert_true(json_number(root, "level") == 0);
	json_decref(root);
	/* midnight is at 8:00; it is 4:48 */
	root = show(stage, "day");
	assert_true(json_whole(root, "renews_ns") == 3 * HOUR + 12 * MINUTE);
	json_decref(root);
}

static void test_show_first(void **state)
{
	struct stage *stage = &((struct fixture *)*state)->stage;
	json_t *root;

	RUN(stage, &outcome, "show", "first");
	expect_text(outcome.out, "window       10 tokens, renewed as a whole (1h first)\n");
	expect_text(outcome.out, "next window  begins with the next use\n");
	assert_true(stage_take(stage, "first", 3));
	advance(stage, 20 * MINUTE);
	root = show(stage, "first");
	assert_true(json_number(root, "level") == 7);
	assert_true(json_whole(root, "renews_ns") <= 40 * MINUTE);
	assert_true(json_whole(root, "renews_ns") > 39 * MINUTE);
	json_decref(root);
	/* two more windows are spoken for */
	stage_charge(stage, "first", 25);
	RUN(stage, &outcome, "show", "first");
	expect_text(outcome.out, "level        -18\n");
	expect_text(outcome.out, "18 tokens ahead; the last in line passes in 1 h 4");
	advance(stage, 3 * HOUR);
	root = show(stage, "first");
	assert_true(json_number(root, "level") == 10);
	assert_true(json_is_null(json_object_get(root, "renews_ns")));
	json_decref(root);
}

static void test_list(void **state)
{
	struct stage *stage = &((struct fixture *)*state)->stage;
	json_t *root, *row;

	assert_true(stage_take(stage, "hour", 99));
	RUN(stage, &outcome, "list");
	expect_status(&outcome, 0);
	expect_no_text(outcome.out, "renews");
	assert_true(stage_take(stage, "hour", 1));
	RUN(stage, &outcome, "list");
	expect_text(outcome.out, "renews in 12 min\n");
	RUN(stage, &outcome, "list", "--json");
	root = parse_json(&outcome);
	row = find_object(json_object_get(root, "endpoints"), "name", "first");
	assert_string_equal(json_text(row, "window"), "1h first");
	row = find_object(json_object_get(root, "endpoints"), "name", "*");
	assert_true(json_is_null(json_object_get(row, "window")));
	json_decref(root);
	RUN(stage, &outcome, "check");
	expect_status(&outcome, 0);
}

/* A closure takes nothing of a window: what is left of it is there when it opens. */
static void test_closed(void **state)
{
	struct stage *stage = &((struct fixture *)*state)->stage;
	struct resolution at = stage_resolve(stage, "hour");
	uint64_t now = segment_now(&stage->segment);
	json_t *root;

	assert_true(stage_take(stage, "hour", 40));
	assert_true(gate_close(&stage->segment.buckets[at.bucket], now, now + 30 * SECOND));
	root = show(stage, "hour");
	assert_true(json_is_true(json_object_get(root, "closed")));
	assert_true(json_number(root, "level") == 60);
	json_decref(root);
	RUN(stage, &outcome, "show", "hour", "--fields");
	expect_text(outcome.out, "RateLimit: \"hour\";r=0;");
	advance(stage, 31 * SECOND);
	root = show(stage, "hour");
	assert_true(json_number(root, "level") == 60);
	json_decref(root);
}

static void test_fields(void **state)
{
	struct stage *stage = &((struct fixture *)*state)->stage;
	json_t *root;

	assert_true(stage_take(stage, "hour", 40));
	RUN(stage, &outcome, "show", "hour", "--fields");
	expect_status(&outcome, 0);
	assert_string_equal(outcome.out, "RateLimit-Policy: \"hour\";q=100;w=3600\n"
					 "RateLimit: \"hour\";r=60;t=720\n");
	RUN(stage, &outcome, "show", "nobody's", "--fields");
	assert_string_equal(outcome.out, "RateLimit-Policy: \"default\";q=10;w=1\n"
					 "RateLimit: \"default\";r=10;t=1\n");
	RUN(stage, &outcome, "acquire", "hour", "-n", "59.5", "--fields");
	expect_status(&outcome, 0);
	assert_string_equal(outcome.out, "RateLimit-Policy: \"hour\";q=100;w=3600\n"
					 "RateLimit: \"hour\";r=0;t=720\n");
	RUN(stage, &outcome, "acquire", "hour", "--fields");
	expect_status(&outcome, 1);
	assert_string_equal(outcome.out, "RateLimit-Policy: \"hour\";q=100;w=3600\n"
					 "RateLimit: \"hour\";r=0;t=720\n"
					 "Retry-After: 720\n");
	RUN(stage, &outcome, "acquire", "hour", "--fields", "--json");
	expect_status(&outcome, 1);
	root = parse_json(&outcome);
	assert_string_equal(json_text(root, "Retry-After"), "720");
	assert_string_equal(json_text(root, "RateLimit"), "\"hour\";r=0;t=720");
	json_decref(root);
	RUN(stage, &outcome, "show", "first", "--fields", "--json");
	root = parse_json(&outcome);
	assert_string_equal(json_text(root, "RateLimit"), "\"first\";r=10;t=3600");
	assert_true(json_is_null(json_object_get(root, "Retry-After")));
	json_decref(root);
}

static void test_misuse(void **state)
{
	struct stage *stage = &((struct fixture *)*state)->stage;

	RUN(stage, &outcome, "set", "hour", "window=1y");
	expect_status(&outcome, 2);
	expect_text(outcome.err, "window = 1y: a duration is a number");
	RUN(stage, &outcome, "set", "hour", "window=1h sometimes");
	expect_status(&outcome, 2);
	expect_text(outcome.err, "aligned (the default)");
	RUN(stage, &outcome, "list", "--fields");
	expect_status(&outcome, 2);
}

/* ---- the meter ---- */

static void begin(struct fixture *fixture, const char *name)
{
	assert_int_equal(look_attach(&fixture->meter.look, &fixture->stage.place), 0);
	fixture->metering = true;
	assert_int_equal(meter_begin(&fixture->meter, &fixture->stage.place, name), 0);
}

static unsigned take_all(struct fixture *fixture, const char *name)
{
	unsigned taken = 0;

	while (stage_take(&fixture->stage, name, 1))
		taken++;
	return taken;
}

static void forge_grant(struct fixture *fixture, const char *name)
{
	struct resolution at = stage_resolve(&fixture->stage, name);
	struct line line;

	line_read(&fixture->stage.segment.rows[at.row], &fixture->stage.segment.time, &line);
	tally_count(&fixture->stage.segment.tallies, at.bucket, COUNT_GRANTED_CALLS,
		    1ull << line.k);
}

/* As much as there is, window after window; then one token more. */
static void meter(struct fixture *fixture, const char *name, unsigned quota)
{
	begin(fixture, name);
	for (unsigned window = 1; window <= 5; window++) {
		assert_int_equal(take_all(fixture, name), quota);
		meter_step(&fixture->meter);
		assert_true(fixture->meter.sums[METER_GRANTED] == window * quota);
		assert_true(meter_allowed(&fixture->meter) == window * quota);
		assert_true(meter_excess(&fixture->meter) == 0);
		advance(&fixture->stage, 10 * MINUTE);
		meter_step(&fixture->meter);
		assert_true(meter_allowed(&fixture->meter) <= (window + 1) * quota);
		advance(&fixture->stage, 50 * MINUTE);
	}
	assert_int_equal(take_all(fixture, name), quota);
	forge_grant(fixture, name);
	meter_step(&fixture->meter);
	assert_true(meter_excess(&fixture->meter) == 1);
}

static void test_meter_aligned(void **state)
{
	meter(*state, "hour", 100);
}

static void test_meter_first(void **state)
{
	meter(*state, "first", 10);
}

/* Looked at seldom, and unused for a while: never less than was possible. */
static void test_meter_seldom(void **state)
{
	struct fixture *fixture = *state;

	begin(fixture, "first");
	advance(&fixture->stage, 10 * MINUTE);
	for (int i = 0; i < 7; i++) {
		assert_int_equal(take_all(fixture, "first"), 10);
		advance(&fixture->stage, HOUR);
	}
	meter_step(&fixture->meter);
	assert_true(meter_excess(&fixture->meter) == 0);
	assert_true(meter_allowed(&fixture->meter) == 80);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define STAGE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		STAGE_TEST(test_show),		STAGE_TEST(test_show_first),
		STAGE_TEST(test_list),		STAGE_TEST(test_closed),
		STAGE_TEST(test_fields),	STAGE_TEST(test_misuse),
		STAGE_TEST(test_meter_aligned), STAGE_TEST(test_meter_first),
		STAGE_TEST(test_meter_seldom),
	};

	return cmocka_run_group_tests_name("ctl windows", tests, NULL, NULL);
}
