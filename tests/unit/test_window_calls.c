/* SPDX-License-Identifier: Apache-2.0
 *
 * Windows and the calls that want several endpoints, what is there, the headroom of a class, or
 * have shadows: on the manual clock, both kinds of windows.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "weir.h"

#define HOUR (3600 * WEIR_SECOND)
#define QUOTA 10

static const char *const kinds[] = {"1h aligned", "1h first"};

struct bench {
	struct weir *weir;
	struct weir_endpoint *api;
	struct weir_endpoint *other; /* the same limit, and a bucket of its own */
	struct weir_endpoint *batch; /* api, of a class */
};

static void begin(struct bench *out, const char *window, const char *more)
{
	char ini[400];
	char faults[400] = "";

	snprintf(ini, sizeof(ini),
		 "[endpoint api]\nrate = %d/h\nwindow = %s\n%s\n[endpoint other]\nrate = %d/h\n"
		 "window = %s\n",
		 QUOTA, window, more, QUOTA, window);
	if (weir_host(&out->weir, ini, WEIR_CLOCK_MANUAL, NULL, faults, sizeof(faults)) < 0)
		fail_msg("%s", faults);
	assert_int_equal(weir_endpoint(out->weir, "api", &out->api), 0);
	assert_int_equal(weir_endpoint(out->weir, "other", &out->other), 0);
	assert_int_equal(weir_endpoint_class(out->weir, "api", "batch", &out->batch), 0);
	/* a window begins with the clock, so that both kinds have the same boundaries */
	assert_int_equal(weir_clock_advance(out->weir, HOUR - weir_clock_now(out->weir) % HOUR), 0);
}

static void end(struct bench *bench)
{
	weir_endpoint_close(bench->api);
	weir_endpoint_close(bench->other);
	weir_endpoint_close(bench->batch);
	weir_close(bench->weir);
}

static double level(struct weir_endpoint *endpoint)
{
	struct weir_level level = {.size = sizeof(level)};

	assert_int_equal(weir_peek(endpoint, &level), 0);
	return level.level;
}

/* A start is rounded down to a millionth of the window, and a wait up to no later than its end. */
static void assert_waits(uint64_t ns, uint64_t expected)
{
	assert_true(ns <= expected);
	assert_true(ns > expected - HOUR / 200000);
}

static void as_many_as_the_window_has(const char *window)
{
	struct bench bench;
	struct weir_answer answer;
	uint64_t taken = 0;

	begin(&bench, window, "");
	assert_int_equal(weir_acquire_up_to(bench.api, 2, 1, 3, &taken, NULL), WEIR_ADMIT);
	assert_int_equal(taken, 3);
	assert_int_equal(weir_acquire_up_to(bench.api, 3, 1, 9, &taken, &answer), WEIR_ADMIT);
	assert_int_equal(taken, 1);
	assert_true(answer.level == 1);
	assert_int_equal(weir_acquire_up_to(bench.api, 1, 2, 9, &taken, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_LEVEL);
	assert_waits(answer.wait_ns, HOUR);
	assert_int_equal(weir_clock_advance(bench.weir, answer.wait_ns), 0);
	/* the new window's quota, and nothing of later ones */
	assert_int_equal(weir_acquire_up_to(bench.api, 1, 2, 99, &taken, NULL), WEIR_ADMIT);
	assert_int_equal(taken, QUOTA);
	end(&bench);
}

static void all_or_nothing(const char *window)
{
	struct bench bench;
	struct weir_answer answer;

	begin(&bench, window, "");
	const struct weir_want wants[] = {
		{.endpoint = bench.api, .cost = 4},
		{.endpoint = bench.other, .cost = 4},
	};
	assert_int_equal(weir_acquire(bench.other, 3, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire_all(wants, 2, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire_all(wants, 2, &answer), WEIR_REFUSE);
	assert_int_equal(answer.which, 1);
	assert_waits(answer.wait_ns, HOUR);
	assert_true(level(bench.api) == QUOTA - 4);
	assert_true(level(bench.other) == QUOTA - 7);
	/* both wants of one bucket count together */
	const struct weir_want twice[] = {
		{.endpoint = bench.api, .cost = 4},
		{.endpoint = bench.api, .cost = 4},
	};
	assert_int_equal(weir_acquire_all(twice, 2, &answer), WEIR_REFUSE);
	assert_true(level(bench.api) == QUOTA - 4);
	/* not by a deadline before the next window, and then nothing is held */
	assert_int_equal(weir_wait_all(wants, 2, HOUR / 2, &answer), WEIR_REFUSE);
	assert_true(level(bench.api) == QUOTA - 4);
	assert_int_equal(weir_clock_advance(bench.weir, HOUR), 0);
	assert_int_equal(weir_wait_all(wants, 2, HOUR, NULL), WEIR_ADMIT);
	assert_true(level(bench.api) == QUOTA - 4);
	end(&bench);
}

static void a_class_leaves_a_part_of_the_window(const char *window)
{
	struct bench bench;
	struct weir_answer answer;

	begin(&bench, window, "class batch = leave 40 %");
	assert_int_equal(weir_acquire(bench.batch, 5, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire(bench.batch, 2, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_HEADROOM);
	assert_true(answer.level == 5);
	assert_waits(answer.wait_ns, HOUR);
	assert_int_equal(weir_acquire(bench.api, 5, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire(bench.batch, 1, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_LEVEL);
	assert_int_equal(weir_acquire(bench.batch, 7, &answer), WEIR_REFUSE);
	assert_int_equal(answer.wait_ns, WEIR_NEVER);
	/* behind those who wait: their window is not one with room for the class */
	struct weir_reservation place;

	assert_int_equal(weir_reserve(bench.api, 8, WEIR_FOREVER, &place, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire(bench.batch, 1, &answer), WEIR_REFUSE);
	assert_waits(answer.wait_ns, 2 * HOUR);
	assert_int_equal(weir_clock_advance(bench.weir, answer.wait_ns), 0);
	assert_int_equal(weir_acquire(bench.batch, 6, NULL), WEIR_ADMIT);
	end(&bench);
}

static void shadow_mode_lets_more_pass(const char *window)
{
	struct bench bench;
	struct weir_answer answer;
	uint64_t taken = 0;

	begin(&bench, window, "shadow = yes");
	assert_int_equal(weir_acquire(bench.api, 8, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire(bench.api, 3, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, WEIR_REASON_LEVEL);
	assert_waits(answer.shadow_wait_ns, HOUR);
	assert_true(answer.level == 2);
	assert_int_equal(weir_acquire_up_to(bench.api, 1, 1, 5, &taken, &answer), WEIR_ADMIT);
	assert_int_equal(taken, 5);
	assert_int_equal(answer.shadow, WEIR_REASON_LEVEL);
	assert_waits(answer.shadow_wait_ns, HOUR);
	assert_true(level(bench.api) == 0);
	assert_int_equal(weir_acquire(bench.api, 2 * QUOTA, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, WEIR_REASON_NEVER);
	end(&bench);
}

/* A shadow limit is a rate, also beside windows. */
static void a_shadow_limit_stands_beside(const char *window)
{
	struct bench bench;
	struct weir_answer answer;

	begin(&bench, window, "shadow_rate = 1/s\nshadow_burst = 2\nmax_wait = 3h");
	assert_int_equal(weir_acquire(bench.api, 2, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, WEIR_REASON_NONE);
	assert_int_equal(weir_acquire(bench.api, 1, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, WEIR_REASON_LEVEL);
	assert_in_range(answer.shadow_wait_ns, WEIR_SECOND - 1000, WEIR_SECOND);
	assert_int_equal(weir_clock_advance(bench.weir, 2 * WEIR_SECOND), 0);
	assert_int_equal(weir_acquire(bench.api, 2, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, WEIR_REASON_NONE);
	end(&bench);
}

static void of_both_kinds(void **state)
{
	void (*const *test)(const char *window) = (void (*const *)(const char *)) * state;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		(*test)(kinds[i]);
}

#define TEST(name)                                                                                 \
	{                                                                                          \
#name, of_both_kinds, NULL, NULL, &(void (*[1])(const char *))                     \
		{                                                                                  \
			name                                                                       \
		}                                                                                  \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(as_many_as_the_window_has),	   TEST(all_or_nothing),
		TEST(a_class_leaves_a_part_of_the_window), TEST(shadow_mode_lets_more_pass),
		TEST(a_shadow_limit_stands_beside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
