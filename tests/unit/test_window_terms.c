/* SPDX-License-Identifier: Apache-2.0
 *
 * Windows as people write them: the texts, the sections of a configuration, and what a change of
 * some terms leaves of the others.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config.h"
#include "value.h"
#include "window.h"

#define S 1000000000ull
#define HOUR (3600 * S)

/* ---- texts ---- */

static void windows_as_texts(void **state)
{
	static const struct {
		const char *text;
		struct window_terms window;
		const char *back; /* NULL: the same */
	} cases[] = {
		{"none", {0, WINDOW_NONE, 0}, NULL},
		{"1h", {HOUR, WINDOW_ALIGNED, 0}, "1h aligned"},
		{"1h aligned", {HOUR, WINDOW_ALIGNED, 0}, NULL},
		{"  1h \t aligned  ", {HOUR, WINDOW_ALIGNED, 0}, "1h aligned"},
		{"1h aligned +00:00", {HOUR, WINDOW_ALIGNED, 0}, "1h aligned"},
		{"1d aligned -08:00", {24 * HOUR, WINDOW_ALIGNED, -480}, NULL},
		{"1d aligned +05:45", {24 * HOUR, WINDOW_ALIGNED, 345}, NULL},
		{"1d aligned -00:30", {24 * HOUR, WINDOW_ALIGNED, -30}, NULL},
		{"7d aligned +23:59", {7 * 24 * HOUR, WINDOW_ALIGNED, 1439}, NULL},
		{"1ms", {S / 1000, WINDOW_ALIGNED, 0}, "1ms aligned"},
		{"90min first", {3 * HOUR / 2, WINDOW_FIRST, 0}, "1.5h first"},
		{"30d first", {30 * 24 * HOUR, WINDOW_FIRST, 0}, NULL},
		{"366d first", {366 * 24 * HOUR, WINDOW_FIRST, 0}, NULL},
		{"1073741823ns first", {1073741823, WINDOW_FIRST, 0}, NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct window_terms found;
		char text[VALUE_TEXT_BYTES];

		assert_null(value_window(cases[i].text, &found));
		assert_true(window_terms_equal(&found, &cases[i].window));
		assert_string_equal(value_window_text(&found, text),
				    cases[i].back ? cases[i].back : cases[i].text);
		assert_null(value_window(text, &found));
		assert_true(window_terms_equal(&found, &cases[i].window));
	}
}

static void texts_that_are_no_windows(void **state)
{
	static const struct {
		const char *text;
		const char *says;
	} cases[] = {
		{"", "a window is a duration, and aligned"},
		{"aligned", "a duration is a number"},
		{"first", "a duration is a number"},
		{"1", "a duration is a number"},
		{"1month", "a duration is a number"},
		{"0", "at least 1ms"},
		{"999us", "at least 1ms"},
		{"367d first", "at most 366d"},
		{"1h Aligned", "a window is a duration, and aligned"},
		{"1h first aligned", "a window is a duration, and aligned"},
		{"1h aligned first", "an offset from UTC"},
		{"1h first +01:00", "a window is a duration, and aligned"},
		{"1h last", "a window is a duration, and aligned"},
		{"none 1h", "a duration is a number"},
		{"1h none", "a window is a duration, and aligned"},
		{"5h", "divides a day (1h, 15min, 1d) or is a week"},
		{"2d aligned", "divides a day"},
		{"30d", "30d first"},
		{"14d aligned", "divides a day"},
		{"7min", "divides a day"},
		{"1d aligned 8", "an offset from UTC"},
		{"1d aligned +8:00", "an offset from UTC"},
		{"1d aligned +08:60", "an offset from UTC"},
		{"1d aligned +24:00", "an offset from UTC"},
		{"1d aligned +08:0x", "an offset from UTC"},
		{"1d aligned +08:00 x", "an offset from UTC"},
		{"1d aligned UTC", "an offset from UTC"},
		{"100000000000000000000000000000000000000000000000000000000000h", "a window is"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct window_terms found = {1, WINDOW_FIRST, 2};
		const char *why = value_window(cases[i].text, &found);

		if (!why || !strstr(why, cases[i].says))
			fail_msg("%s: %s", cases[i].text, why ? why : "is one");
		/* and is not touched */
		assert_true(found.length_ns == 1 && found.minutes == 2);
	}
}

/* ---- sections ---- */

static void sections_with_windows(void **state)
{
	static const struct {
		const char *settings;
		uint64_t burst;
		uint64_t initial;
	} cases[] = {
		{"rate = 5000/h\nwindow = 1h", 5000, 5000},
		{"window = 1h\nrate = 5000/h", 5000, 5000},
		{"rate = 10/s\nwindow = 1min first", 600, 600},
		{"rate = 10/s\nwindow = 1min\nburst = 1800", 1800, 1800},
		{"rate = 10/s\nwindow = 1min\ninitial = 5", 600, 5},
		{"rate = 10/s\nwindow = none", 10, 10},
		/* of [default], 20/s */
		{"window = 1min", 1200, 1200},
		{"rate = 0\nwindow = 1h", 1, 1},
		{"rate = unlimited\nwindow = 1h first", 1, 1},
		{"rate = 250000/s\nwindow = 1s first", 250000, 250000},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char ini[300], text[600] = "";
		struct config_faults faults = {text, sizeof(text), 0, 0};
		struct config config;

		snprintf(ini, sizeof(ini),
			 "[default]\nrate = 20/s\nwindow = 1h\nburst = 72K\n[endpoint a]\n%s\n",
			 cases[i].settings);
		if (config_parse(&config, ini, strlen(ini), "f", &faults) < 0)
			fail_msg("%s: %s", cases[i].settings, text);
		/* a window is not taken from [default], as nothing but the rate is */
		assert_true(strstr(cases[i].settings, "window = none") == NULL ||
			    config.rules[1].terms.window.kind == WINDOW_NONE);
		assert_true(config.rules[0].terms.window.length_ns == HOUR);
		assert_true(config.rules[1].terms.burst_micro == cases[i].burst * TERMS_MICRO);
		assert_true(config.rules[1].terms.initial_micro == cases[i].initial * TERMS_MICRO);
		config_free(&config);
	}
}

static void faults_say_where_and_what(void **state)
{
	static const struct {
		const char *settings; /* from line 2 on */
		const char *expected;
	} cases[] = {
		{"rate = 5000/h\nwindow = hour",
		 "f:3: [endpoint a] window = hour: a duration is a number"},
		{"window = 5h\nrate = 5000/h",
		 "f:2: [endpoint a] window = 5h: a window by the calendar"},
		{"rate = 1/h\nwindow = 1min",
		 "f:3: [endpoint a]: a window brings less than 1 token"},
		{"rate = 5000/h\nwindow = 1min", "f:3: [endpoint a]: a window's part of the rate "
						 "is no number of tokens: write the rate by "
						 "the window"},
		{"rate = 2.5/min\nwindow = 1min first",
		 "f:3: [endpoint a]: a window from first use brings whole tokens"},
		{"rate = 5000/h\nwindow = 1h\nburst = 100",
		 "f:4: [endpoint a]: the burst is below what a window brings"},
		{"rate = 5000/h\nburst = 6000\nwindow = 1h first",
		 "f:3: [endpoint a]: a window from first use brings its whole quota"},
		{"rate = 1000000/s\nwindow = 1s first",
		 "f:3: [endpoint a]: too many tokens for a window from first use"},
		{"rate = 1000000000/s\nwindow = 1d",
		 "f:3: [endpoint a]: a window brings more than 10^12 tokens"},
		{"rate = 5000/h\nwindow = 1h\nwindow = 1d",
		 "f:4: [endpoint a] window: given on line 3"},
		{"windows = 1h", "f:2: [endpoint a] windows: unknown key; did you mean window?"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char ini[300], text[900] = "";
		struct config_faults faults = {text, sizeof(text), 0, 0};
		struct config config;

		snprintf(ini, sizeof(ini), "[endpoint a]\n%s\n", cases[i].settings);
		assert_int_not_equal(config_parse(&config, ini, strlen(ini), "f", &faults), 0);
		assert_int_equal(faults.count, 1);
		if (strncmp(text, cases[i].expected, strlen(cases[i].expected)) != 0)
			fail_msg("%s:\n%s\nexpected\n%s", cases[i].settings, text,
				 cases[i].expected);
	}
}

/* ---- changes ---- */

static struct terms terms_of(const char *settings)
{
	char ini[300];
	struct config config;
	struct terms terms;

	snprintf(ini, sizeof(ini), "[endpoint a]\n%s\n", settings);
	assert_int_equal(config_parse(&config, ini, strlen(ini), "f", NULL), 0);
	terms = config.rules[1].terms;
	config_free(&config);
	return terms;
}

static void a_burst_that_is_the_quota_follows_it(void **state)
{
	static const struct {
		const char *from;
		const char *key;
		const char *value;
		uint64_t burst; /* 0: it is refused */
	} cases[] = {
		{"rate = 100/h\nwindow = 1h", "rate", "250/h", 250},
		{"rate = 100/h\nwindow = 1h", "rate", "40/h", 40},
		{"rate = 100/h\nwindow = 1h", "window", "30min", 50},
		{"rate = 100/h\nwindow = 1h", "window", "none", 100},
		{"rate = 100/h\nwindow = 1h", "burst", "300", 300},
		{"rate = 100/h\nwindow = 1h", "burst", "50", 0},
		{"rate = 100/h\nwindow = 1h", "rate", "0", 100},
		{"rate = 0\nwindow = 1h", "rate", "100/h", 100},
		{"rate = 100/h\nburst = 20", "window", "1h", 100},
		{"rate = 100/h\nburst = 20", "window", "1h first", 100},
		{"rate = 100/h\nburst = 20", "rate", "200/h", 20},
		{"rate = 100/h\nwindow = 1h\nburst = 300", "rate", "200/h", 300},
		{"rate = 100/h\nwindow = 1h\nburst = 300", "rate", "400/h", 0},
		{"rate = 100/h\nwindow = 1h\nburst = 300", "window", "1h first", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct terms from = terms_of(cases[i].from);
		struct terms terms = from;
		bool burst_given = strcmp(cases[i].key, "burst") == 0;
		const char *why;

		assert_null(config_set_term(&terms, cases[i].key, cases[i].value));
		why = config_update_terms(&terms, &from, burst_given, false);
		if (!why != (cases[i].burst != 0))
			fail_msg("%s, then %s = %s: %s", cases[i].from, cases[i].key,
				 cases[i].value, why ? why : "taken");
		if (!why && terms.burst_micro != cases[i].burst * TERMS_MICRO)
			fail_msg("%s, then %s = %s: %g", cases[i].from, cases[i].key,
				 cases[i].value, (double)terms.burst_micro / 1e6);
		assert_true(why || terms.initial_micro == terms.burst_micro);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(windows_as_texts),
		cmocka_unit_test(texts_that_are_no_windows),
		cmocka_unit_test(sections_with_windows),
		cmocka_unit_test(faults_say_where_and_what),
		cmocka_unit_test(a_burst_that_is_the_quota_follows_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
