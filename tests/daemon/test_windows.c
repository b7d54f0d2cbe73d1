/* SPDX-License-Identifier: Apache-2.0
 *
 * Windows in weird's hands: from the file, by a set, over a reload and a restart; and what is kept
 * of the levels when they come and go. On the manual clock.
 */
#include "daemon_fixture.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rules.h"
#include "time_source.h"

#define MINUTE (60 * WEIR_SECOND)
#define HOUR (60 * MINUTE)
#define CLOCK "clock = manual\nendpoints = 16\nnames = 16\nmembers = 16\n"
#define RULES                                                                                      \
	"[default]\nrate = 10/min\nburst = 100\n"                                                  \
	"[endpoint hour]\nrate = 100/h\nwindow = 1h\n"                                             \
	"[endpoint first]\nrate = 100/h\nwindow = 1h first\n"                                      \
	"[endpoint none]\nrate = 100/h\nburst = 100\n"

enum {
	NAMES = 4,
};

static const char *const names[NAMES] = {"hour", "first", "none", "other"};

struct scene {
	struct fixture fixture;
	struct weir *weir;
	struct weir_endpoint *endpoints[NAMES];
};

static int setup(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	if (!scene)
		return -1;
	fixture_begin(&scene->fixture);
	fixture_config(&scene->fixture, CLOCK RULES);
	fixture_start(&scene->fixture);
	scene->weir = fixture_open(&scene->fixture);
	assert_int_equal(weir_clock_advance(scene->weir, 100 * HOUR - weir_clock_now(scene->weir)),
			 0);
	for (int i = 0; i < NAMES; i++) {
		scene->endpoints[i] = fixture_endpoint(scene->weir, names[i]);
		assert_int_equal(weir_acquire(scene->endpoints[i], 30, NULL), WEIR_ADMIT);
	}
	*state = scene;
	return 0;
}

static int teardown(void **state)
{
	struct scene *scene = *state;

	for (int i = 0; i < NAMES; i++)
		weir_endpoint_close(scene->endpoints[i]);
	weir_close(scene->weir);
	fixture_end(&scene->fixture);
	free(scene);
	return 0;
}

static void assert_levels(const struct scene *scene, double hour, double first, double none,
			  double other)
{
	const double expected[NAMES] = {hour, first, none, other};

	for (int i = 0; i < NAMES; i++)
		if (fixture_level(scene->endpoints[i]) != expected[i])
			fail_msg("%s: %.9g, expected %g", names[i],
				 fixture_level(scene->endpoints[i]), expected[i]);
}

static struct weir_level peek(struct weir_endpoint *endpoint)
{
	struct weir_level level = {.size = sizeof(level)};

	assert_int_equal(weir_peek(endpoint, &level), 0);
	return level;
}

static int set(const struct scene *scene, const char *name, const char *window, const char *rate,
	       enum weir_keep keep, struct answer *answer)
{
	struct wire_message request = {.kind = WIRE_SET,
				       .name = name,
				       .keep = keep,
				       .setting_count = rate ? 2 : 1,
				       .settings = {{"window", window}, {"rate", rate}}};

	return fixture_ask(&scene->fixture, &request, answer);
}

static void test_from_the_file(void **state)
{
	struct scene *scene = *state;

	assert_levels(scene, 70, 70, 70, 70);
	assert_true(peek(scene->endpoints[0]).window_ns == HOUR);
	assert_true(peek(scene->endpoints[2]).window_ns == 0);
	weir_clock_advance(scene->weir, 30 * MINUTE);
	assert_true(fixture_level(scene->endpoints[0]) == 70);
	assert_true(fixture_level(scene->endpoints[1]) == 70);
	weir_clock_advance(scene->weir, 30 * MINUTE);
	assert_true(fixture_level(scene->endpoints[0]) == 100);
	assert_true(fixture_level(scene->endpoints[1]) == 100);
}

static void test_set(void **state)
{
	struct scene *scene = *state;
	struct answer answer;

	assert_int_equal(set(scene, "none", "1h", NULL, WEIR_KEEP_USED, &answer), 0);
	assert_non_null(strstr(answer.message.text, "endpoint none: window none -> 1h aligned"));
	assert_int_equal(set(scene, "hour", "1h first", "250/h", WEIR_KEEP_USED, &answer), 0);
	assert_non_null(strstr(answer.message.text, "rate 100/h -> 250/h, window 1h aligned -> 1h "
						    "first, burst 100 -> 250"));
	assert_int_equal(set(scene, "first", "none", NULL, WEIR_KEEP_USED, &answer), 0);
	assert_int_equal(set(scene, "other", "1min first", NULL, WEIR_KEEP_USED, &answer), 0);
	assert_non_null(strstr(answer.message.text, "a row of its own, so far under [default]"));
	assert_levels(scene, 220, 70, 70, -20);
}

static void test_set_keep(void **state)
{
	struct scene *scene = *state;
	struct answer answer;

	assert_int_equal(set(scene, "none", "1h first", "50/h", WEIR_KEEP_LEVEL, &answer), 0);
	assert_int_equal(set(scene, "hour", "1h first", "250/h", WEIR_KEEP_PROPORTIONAL, &answer),
			 0);
	assert_int_equal(set(scene, "first", "30min", NULL, WEIR_KEEP_RESET, &answer), 0);
	assert_int_equal(set(scene, "other", "1h first", "200/h", WEIR_KEEP_PROPORTIONAL, &answer),
			 0);
	assert_levels(scene, 175, 50, 50, 140);
}

/* The rule of [default] moves with a new pair, and all its names with it. */
static void test_set_default(void **state)
{
	struct scene *scene = *state;
	struct weir_endpoint *another = fixture_endpoint(scene->weir, "another");
	struct answer answer;

	assert_int_equal(weir_acquire(another, 60, NULL), WEIR_ADMIT);
	assert_int_equal(set(scene, "*", "1h first", "200/h", WEIR_KEEP_PROPORTIONAL, &answer), 0);
	assert_levels(scene, 70, 70, 70, 140);
	assert_true(fixture_level(another) == 80);
	assert_int_equal(set(scene, "*", "none", NULL, WEIR_KEEP_LEVEL, &answer), 0);
	assert_levels(scene, 70, 70, 70, 140);
	/* a unit that does not fit, and a burst that does not fit the one before */
	assert_int_equal(set(scene, "*", "none", "1/d", WEIR_KEEP_USED, &answer), 0);
	assert_levels(scene, 70, 70, 70, 140);

	const struct wire_message larger = {
		.kind = WIRE_SET,
		.name = "*",
		.keep = WEIR_KEEP_LEVEL,
		.setting_count = 2,
		.settings = {{"rate", "1000000000/s"}, {"burst", "1000000000"}}};

	assert_int_equal(fixture_ask(&scene->fixture, &larger, &answer), 0);
	assert_levels(scene, 70, 70, 70, 140);
	assert_true(fixture_level(another) == 80);
	weir_endpoint_close(another);
}

static void test_bad_values(void **state)
{
	static const struct {
		const char *name;
		const char *window;
		const char *rate;
		const char *says;
	} cases[] = {
		{"hour", "5h", NULL, "window = 5h: a window by the calendar divides a day"},
		{"hour", "1h last", NULL, "window = 1h last: a window is a duration"},
		{"hour", "1min", "5000/h", "write the rate by the window"},
		{"none", "1s first", "1000000/s", "too many tokens for a window from first use"},
	};
	struct scene *scene = *state;
	struct answer answer;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(set(scene, cases[i].name, cases[i].window, cases[i].rate,
				     WEIR_KEEP_USED, &answer),
				 WEIR_EVALUE);
		if (!strstr(answer.message.text, cases[i].says))
			fail_msg("%s: %s", cases[i].window, answer.message.text);
	}
	assert_levels(scene, 70, 70, 70, 70);
}

static void test_reload(void **state)
{
	struct scene *scene = *state;

	weir_clock_advance(scene->weir, 20 * MINUTE);
	fixture_config(&scene->fixture, CLOCK "[default]\nrate = 10/min\nburst = 100\n"
					      "[endpoint hour]\nrate = 100/h\nwindow = 1h\n"
					      "[endpoint first]\nrate = 200/h\nwindow = 1h first\n"
					      "[endpoint none]\nrate = 100/h\nwindow = 1h first\n");
	fixture_reload(&scene->fixture);
	assert_true(fixture_has_logged(&scene->fixture,
				       "endpoint first: rate 100/h -> 200/h, burst 100 -> 200"));
	assert_true(fixture_has_logged(&scene->fixture, "endpoint none: window none -> 1h first"));
	assert_false(fixture_has_logged(&scene->fixture, "endpoint hour:"));
	assert_true(fixture_level(scene->endpoints[0]) == 70);
	assert_true(fixture_level(scene->endpoints[1]) == 170);
	/* the window that was under way goes on */
	assert_true(peek(scene->endpoints[1]).renews_ns <= 40 * MINUTE);
	assert_true(peek(scene->endpoints[1]).renews_ns > 39 * MINUTE);
	/* and with faults in the file nothing happens */
	fixture_config(&scene->fixture, CLOCK "[endpoint hour]\nrate = 100/h\nwindow = 1y\n");
	fixture_reload(&scene->fixture);
	assert_true(fixture_has_logged(&scene->fixture, ":10: [endpoint hour] window = 1y"));
	assert_true(fixture_level(scene->endpoints[0]) == 70);
}

/* What an operator set stays over a kill, and windows go on as they were. */
static void test_restart(void **state)
{
	struct scene *scene = *state;
	struct answer answer;

	assert_int_equal(set(scene, "none", "1h first", "300/h", WEIR_KEEP_USED, &answer), 0);
	weir_clock_advance(scene->weir, 20 * MINUTE);
	assert_int_equal(fixture_stop(&scene->fixture, SIGKILL), 256 + SIGKILL);
	/* limits stay in force */
	assert_int_equal(weir_acquire(scene->endpoints[0], 71, NULL), WEIR_REFUSE);
	weir_clock_advance(scene->weir, 20 * MINUTE);
	fixture_start(&scene->fixture);
	assert_true(fixture_has_logged(
		&scene->fixture,
		"endpoint none: kept as an operator set it; the file has rate 300/h "
		"-> 100/h, window 1h first -> none, burst 300 -> 100"));
	assert_true(fixture_level(scene->endpoints[0]) == 70);
	assert_true(fixture_level(scene->endpoints[1]) == 70);
	assert_true(fixture_level(scene->endpoints[2]) == 270);
	assert_true(peek(scene->endpoints[0]).renews_ns == 20 * MINUTE);
	assert_true(peek(scene->endpoints[2]).renews_ns <= 20 * MINUTE);
	weir_clock_advance(scene->weir, 20 * MINUTE);
	assert_true(fixture_level(scene->endpoints[0]) == 100);
	assert_true(fixture_level(scene->endpoints[2]) == 300);
}

/* On a machine's own clock, windows begin where its wall clock says. */
static void test_wall_clock(void **state)
{
	struct fixture fixture;
	struct weir_endpoint *day;
	struct weir *weir;
	uint64_t before, after;

	(void)state;
	fixture_begin(&fixture);
	fixture_config(&fixture, "[endpoint day]\nrate = 100/d\nwindow = 1d aligned +05:30\n");
	fixture_start(&fixture);
	weir = fixture_open(&fixture);
	day = fixture_endpoint(weir, "day");
	before = time_source_kernel_ns(CLOCK_REALTIME) + 330 * MINUTE;
	uint64_t renews_ns = peek(day).renews_ns;
	after = time_source_kernel_ns(CLOCK_REALTIME) + 330 * MINUTE;
	/* to a millisecond, and not around midnight */
	if (before % (24 * HOUR) > MINUTE && after % (24 * HOUR) < 24 * HOUR - MINUTE) {
		assert_true(renews_ns <= 24 * HOUR - before % (24 * HOUR) + WEIR_MILLISECOND);
		assert_true(renews_ns >= 24 * HOUR - after % (24 * HOUR) - WEIR_MILLISECOND);
	}
	weir_endpoint_close(day);
	weir_close(weir);
	fixture_end(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define SCENE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		SCENE_TEST(test_from_the_file), SCENE_TEST(test_set),
		SCENE_TEST(test_set_keep),	SCENE_TEST(test_set_default),
		SCENE_TEST(test_bad_values),	SCENE_TEST(test_reload),
		SCENE_TEST(test_restart),	cmocka_unit_test(test_wall_clock),
	};

	return cmocka_run_group_tests_name("daemon windows", tests, NULL, NULL);
}
