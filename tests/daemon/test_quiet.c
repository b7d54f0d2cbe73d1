/* SPDX-License-Identifier: Apache-2.0
 *
 * An idle weird is quiet: at most five wake-ups a second, of all its threads, whatever rules there
 * are and whoever is attached; and it wakes up for those who call.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon_fixture.h"
#include "thread_sanitizer.h"

/* One of each kind that weird looks after. */
#define RULES                                                                                      \
	"[endpoint plain]\nrate = 100/s\n"                                                         \
	"[endpoint follows]\nrate = 100/s\nadaptive = headers\n"                                   \
	"[endpoint some]\nrate = unlimited\nconcurrency = 4\n"                                     \
	"[endpoint found]\nrate = unlimited\nconcurrency = auto 2..60\n"                           \
	"[endpoint held]\nrate = unlimited\nconcurrency = 4\nmax_hold = 1min\n"

enum {
	MEMBERS = 5,
	SPAN_MS = 2500,
	SETTLED_MS = 1600, /* what the calls of a test are followed for, and more */
	CALLS = 100,
};

static const char *const names[] = {"plain", "follows", "some", "found", "held"};

enum { NAMES = sizeof(names) / sizeof(names[0]) };

struct member {
	struct weir *weir;
	struct weir_endpoint *endpoints[NAMES];
};

static void join(struct member *member, const struct fixture *fixture)
{
	member->weir = fixture_open(fixture);
	for (int i = 0; i < NAMES; i++)
		member->endpoints[i] = fixture_endpoint(member->weir, names[i]);
}

static void leave(struct member *member)
{
	for (int i = 0; i < NAMES; i++)
		weir_endpoint_close(member->endpoints[i]);
	weir_close(member->weir);
}

static void call(struct member *member)
{
	struct weir_permit permit;

	for (int i = 0; i < NAMES; i++) {
		weir_acquire(member->endpoints[i], 1, NULL);
		assert_int_equal(weir_permit_take(member->endpoints[i], 0, &permit, NULL),
				 WEIR_ADMIT);
		weir_permit_release(member->endpoints[i], &permit);
	}
}

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* In the time that was really slept. */
static void assert_quiet(const struct fixture *fixture, const char *when)
{
	double from = now_s(), spent;
	long woken = fixture_wake_ups(fixture);

	fixture_sleep_ms(SPAN_MS);
	woken = fixture_wake_ups(fixture) - woken;
	spent = now_s() - from;
	print_message("weird idle, %s: %.1f wake-ups a second\n", when, (double)woken / spent);
	assert_true(woken > 0);
	/* ThreadSanitizer's own thread wakes up all the time */
	assert_true(UNDER_THREAD_SANITIZER || (double)woken <= 5 * spent);
}

static void test_idle(void **state)
{
	struct fixture *fixture = *state;
	struct member members[MEMBERS];
	struct weir_permit permit;

	fixture->watchdog_usec = "30000000";
	fixture_config(fixture, RULES);
	fixture_start(fixture);
	fixture_sleep_ms(SETTLED_MS);
	assert_quiet(fixture, "no members");
	for (int i = 0; i < MEMBERS; i++)
		join(&members[i], fixture);
	for (int i = 0; i < CALLS; i++)
		call(&members[i % MEMBERS]);
	/* one is held all the time, and may be */
	assert_int_equal(weir_permit_take(members[0].endpoints[NAMES - 1], 0, &permit, NULL),
			 WEIR_ADMIT);
	fixture_sleep_ms(SETTLED_MS);
	assert_quiet(fixture, "idle members that have called");
	for (int i = 0; i < MEMBERS; i++)
		leave(&members[i]);
	fixture_sleep_ms(SETTLED_MS);
	assert_quiet(fixture, "they have left");
}

/* A limit that is found is followed as closely as ever while calls end. */
static void test_not_while_called(void **state)
{
	struct fixture *fixture = *state;
	struct member member;
	double from, spent;
	long woken;

	fixture_config(fixture, RULES);
	fixture_start(fixture);
	join(&member, fixture);
	call(&member);
	fixture_sleep_ms(SETTLED_MS / 2);
	from = now_s();
	woken = fixture_wake_ups(fixture);
	for (int i = 0; i < CALLS; i++) {
		call(&member);
		fixture_sleep_ms(SPAN_MS / CALLS);
	}
	woken = fixture_wake_ups(fixture) - woken;
	spent = now_s() - from;
	print_message("weird while it is called: %.1f wake-ups a second\n", (double)woken / spent);
	assert_true((double)woken > 5 * spent);
	leave(&member);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_idle, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_not_while_called, fixture_setup,
						fixture_teardown),
	};

	return cmocka_run_group_tests_name("daemon quiet", tests, NULL, NULL);
}
