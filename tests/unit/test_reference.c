/* SPDX-License-Identifier: Apache-2.0
 *
 * The rows UT-1 to UT-11 of the plan that weir implements, by number, and the defects of its
 * first implementation that weir must not have. All on the manual clock, through the public API.
 */
#include "weir.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define MS WEIR_MILLISECOND

static struct weir *host(const char *ini)
{
	struct weir *weir;
	char message[1000] = "";

	if (weir_host(&weir, ini, WEIR_CLOCK_MANUAL, NULL, message, sizeof(message)) < 0)
		fail_msg("%s", message);
	return weir;
}

static struct weir_endpoint *endpoint(struct weir *weir, const char *name)
{
	struct weir_endpoint *found;

	assert_int_equal(weir_endpoint(weir, name, &found), 0);
	return found;
}

static double level(struct weir_endpoint *of)
{
	struct weir_level found = {.size = sizeof(found)};

	assert_int_equal(weir_peek(of, &found), 0);
	return found.level;
}

static struct weir_level peek(struct weir_endpoint *of)
{
	struct weir_level found = {.size = sizeof(found)};

	assert_int_equal(weir_peek(of, &found), 0);
	return found;
}

#define assert_tokens(found, expected) assert_true(fabs((found) - (expected)) < 1e-4)

/* One rule and one endpoint, to be closed by done(). */
struct bench {
	struct weir *weir;
	struct weir_endpoint *api;
};

static struct bench begin(const char *rule)
{
	char ini[300];
	struct bench bench;

	snprintf(ini, sizeof(ini), "[endpoint api]\n%s\n", rule);
	bench.weir = host(ini);
	bench.api = endpoint(bench.weir, "api");
	return bench;
}

static void done(struct bench *bench)
{
	weir_endpoint_close(bench->api);
	weir_close(bench->weir);
}

/* ---- UT-1 to UT-6: the bucket ---- */

static void ut1_construction(void **state)
{
	static const struct {
		const char *rule;
		double level;
	} cases[] = {
		{"rate = 10/s\nburst = 15", 15},
		{"rate = 10/s", 10},
		{"rate = 10/s\ninitial = 5", 5},
		{"rate = 20/2s", 10},
		{"rate = 20/2s\nburst = 15\ninitial = 5", 5},
		{"rate = 0.1/s", 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bench bench = begin(cases[i].rule);

		assert_tokens(level(bench.api), cases[i].level);
		done(&bench);
	}
}

static void ut2_refill(void **state)
{
	struct bench bench = begin("rate = 10/s\ninitial = 5");

	(void)state;
	assert_int_equal(weir_acquire(bench.api, 1, NULL), WEIR_ADMIT); /* the first use */
	weir_clock_advance(bench.weir, 600 * MS);
	assert_tokens(level(bench.api), 10);
	done(&bench);

	bench = begin("rate = 10/s\nburst = 15\ninitial = 11");
	assert_int_equal(weir_acquire(bench.api, 1, NULL), WEIR_ADMIT);
	assert_tokens(level(bench.api), 10);
	weir_clock_advance(bench.weir, 2 * WEIR_SECOND);
	assert_tokens(level(bench.api), 15);
	done(&bench);
}

static void ut3_tokens_are_there(void **state)
{
	struct bench bench = begin("rate = 10/s\ninitial = 5");
	struct weir_answer answer;

	(void)state;
	assert_int_equal(weir_acquire(bench.api, 3, &answer), WEIR_ADMIT);
	assert_int_equal(answer.wait_ns, 0);
	assert_tokens(answer.level, 2);
	assert_tokens(level(bench.api), 2);
	done(&bench);
}

static void ut4_tokens_are_missing(void **state)
{
	struct bench bench = begin("rate = 10/s\ninitial = 4");
	struct weir_answer answer;

	(void)state;
	assert_int_equal(weir_acquire(bench.api, 1, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire(bench.api, 5, &answer), WEIR_REFUSE);
	assert_int_equal(answer.wait_ns, 200 * MS);
	assert_int_equal(answer.reason, WEIR_REASON_LEVEL);
	assert_tokens(level(bench.api), 3);
	/* I2: a nanosecond less does not do, exactly the wait does */
	weir_clock_advance(bench.weir, 200 * MS - 1);
	assert_int_equal(weir_acquire(bench.api, 5, NULL), WEIR_REFUSE);
	weir_clock_advance(bench.weir, 1);
	assert_int_equal(weir_acquire(bench.api, 5, NULL), WEIR_ADMIT);
	done(&bench);
}

static int count_up(void *context)
{
	return ++*(int *)context;
}

static void ut5_execute_at_once(void **state)
{
	struct bench bench = begin("rate = 10/s");
	struct weir_answer answer;
	int runs = 0;
	int result = 0;

	(void)state;
	assert_int_equal(
		weir_execute(bench.api, 1, WEIR_FOREVER, count_up, &runs, &result, &answer),
		WEIR_ADMIT);
	assert_int_equal(runs, 1);
	assert_int_equal(result, 1);
	assert_int_equal(answer.wait_ns, 0);
	assert_tokens(level(bench.api), 9);
	done(&bench);
}

struct sleeper {
	struct weir_endpoint *api;
	double cost;
	struct weir_answer answer;
	enum weir_verdict verdict;
	int runs;
	_Atomic int finished;
};

static void *sleep_and_run(void *context)
{
	struct sleeper *sleeper = context;

	sleeper->verdict = weir_execute(sleeper->api, sleeper->cost, WEIR_FOREVER, count_up,
					&sleeper->runs, NULL, &sleeper->answer);
	atomic_store(&sleeper->finished, 1);
	return NULL;
}

/* Until the queue has become so long; the sleepers hold their places then. */
static void await_level(struct weir_endpoint *api, double below)
{
	struct timespec pause = {0, 1000000};

	for (int i = 0; i < 20000 && level(api) > below + 1e-6; i++)
		nanosleep(&pause, NULL);
	assert_true(level(api) <= below + 1e-6);
}

static void ut6_execute_after_exactly_the_wait_and_pays(void **state)
{
	struct bench bench = begin("rate = 10/s\ninitial = 4");
	struct sleeper sleeper = {.api = bench.api, .cost = 5};
	pthread_t thread;

	(void)state;
	assert_int_equal(weir_acquire(bench.api, 1, NULL), WEIR_ADMIT);
	assert_int_equal(pthread_create(&thread, NULL, sleep_and_run, &sleeper), 0);
	await_level(bench.api, -2);
	weir_clock_advance(bench.weir, 200 * MS - 1);
	assert_int_equal(atomic_load(&sleeper.finished), 0);
	weir_clock_advance(bench.weir, 1);
	pthread_join(thread, NULL);
	assert_int_equal(sleeper.verdict, WEIR_ADMIT);
	assert_int_equal(sleeper.runs, 1);
	assert_int_equal(sleeper.answer.wait_ns, 200 * MS);
	assert_tokens(level(bench.api), 0);
	done(&bench);
}

/* ---- UT-7 to UT-11: endpoints ---- */

static void ut7_default_rule(void **state)
{
	struct weir *weir = host(NULL);
	struct weir_endpoint *any = endpoint(weir, "anything");
	struct weir_level found = peek(any);

	(void)state;
	assert_true(fabs(found.rate_per_s - 10) < 1e-6);
	assert_tokens(found.burst, 10);
	weir_endpoint_close(any);
	weir_close(weir);
}

static void ut8_the_same_name_is_the_same_limiter(void **state)
{
	struct weir *weir = host(NULL);
	struct weir_endpoint *one = endpoint(weir, "users");
	struct weir_endpoint *two = endpoint(weir, "users");

	(void)state;
	assert_int_equal(weir_acquire(one, 4, NULL), WEIR_ADMIT);
	assert_tokens(level(two), 6);
	weir_endpoint_close(one);
	weir_endpoint_close(two);
	weir_close(weir);
}

static void ut9_a_new_name_gets_its_own(void **state)
{
	struct weir *weir = host("[default]\nrate = 3/s\n");
	struct weir_endpoint *users = endpoint(weir, "users");
	struct weir_endpoint *posts = endpoint(weir, "posts");

	(void)state;
	assert_int_equal(weir_acquire(users, 3, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire(users, 1, NULL), WEIR_REFUSE);
	assert_tokens(level(posts), 3);
	weir_endpoint_close(users);
	weir_endpoint_close(posts);
	weir_close(weir);
}

static void ut10_update_with_reset(void **state)
{
	struct weir *weir = host(NULL);
	struct weir_endpoint *api = endpoint(weir, "api");

	(void)state;
	assert_int_equal(weir_acquire(api, 7, NULL), WEIR_ADMIT);
	assert_int_equal(weir_update(weir, "api", "5/2s", "15", WEIR_KEEP_RESET), 0);
	assert_tokens(level(api), 15);
	assert_true(fabs(peek(api).rate_per_s - 2.5) < 1e-6);
	weir_endpoint_close(api);
	weir_close(weir);
}

static void ut11_partial_update_and_lowering(void **state)
{
	struct weir *weir = host("[endpoint api]\nrate = 10/s\nburst = 20\n");
	struct weir_endpoint *api = endpoint(weir, "api");

	(void)state;
	assert_int_equal(weir_acquire(api, 8, NULL), WEIR_ADMIT);
	assert_int_equal(weir_update(weir, "api", "5/s", NULL, WEIR_KEEP_USED), 0);
	assert_tokens(peek(api).burst, 20);
	assert_true(fabs(peek(api).rate_per_s - 5) < 1e-6);
	assert_tokens(level(api), 12);
	/* what was used stays used: 8 of 10 */
	assert_int_equal(weir_update(weir, "api", NULL, "10", WEIR_KEEP_USED), 0);
	assert_true(fabs(peek(api).rate_per_s - 5) < 1e-6);
	assert_tokens(level(api), 2);
	weir_endpoint_close(api);
	weir_close(weir);
}

/* ---- defects ---- */

/* 1, 2: waiters that compute the same wait, wake together and are not charged. */
static void defect1_waiters_are_charged_and_leave_one_by_one(void **state)
{
	enum { WAITERS = 8 };
	struct bench bench = begin("rate = 10/s\nburst = 1");
	struct sleeper sleepers[WAITERS] = {0};
	pthread_t threads[WAITERS];

	(void)state;
	assert_int_equal(weir_acquire(bench.api, 1, NULL), WEIR_ADMIT);
	for (int i = 0; i < WAITERS; i++) {
		sleepers[i] = (struct sleeper){.api = bench.api, .cost = 1};
		assert_int_equal(pthread_create(&threads[i], NULL, sleep_and_run, &sleepers[i]), 0);
	}
	await_level(bench.api, -WAITERS);
	for (int step = 1; step <= WAITERS; step++) {
		struct timespec pause = {0, 1000000};
		int finished = 0;

		weir_clock_advance(bench.weir, 100 * MS);
		for (int tries = 0; tries < 10000 && finished < step; tries++) {
			finished = 0;
			nanosleep(&pause, NULL);
			for (int i = 0; i < WAITERS; i++)
				finished += atomic_load(&sleepers[i].finished);
		}
		assert_int_equal(finished, step);
	}
	for (int i = 0; i < WAITERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(peek(bench.api).granted, WAITERS + 1);
	done(&bench);
}

static void defect2_the_call_after_a_wait_pays(void **state)
{
	struct bench bench = begin("rate = 10/s\nburst = 2");
	struct weir_answer answer;

	(void)state;
	assert_int_equal(weir_acquire(bench.api, 2, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire(bench.api, 1, &answer), WEIR_REFUSE);
	weir_clock_advance(bench.weir, answer.wait_ns);
	assert_int_equal(weir_acquire(bench.api, 1, NULL), WEIR_ADMIT);
	assert_tokens(level(bench.api), 0);
	done(&bench);
}

static void defect3_lowering_keeps_no_level_above_the_burst(void **state)
{
	struct bench bench = begin("rate = 10/s\nburst = 100");

	(void)state;
	assert_int_equal(weir_acquire(bench.api, 10, NULL), WEIR_ADMIT);
	assert_int_equal(weir_update(bench.weir, "api", "1/s", "20", WEIR_KEEP_USED), 0);
	assert_tokens(level(bench.api), 10);
	assert_int_equal(weir_update(bench.weir, "api", NULL, "15", WEIR_KEEP_LEVEL), 0);
	assert_tokens(level(bench.api), 10);
	assert_int_equal(weir_update(bench.weir, "api", NULL, "3", WEIR_KEEP_PROPORTIONAL), 0);
	assert_tokens(level(bench.api), 2);
	done(&bench);
}

static void defect15_a_cost_above_the_burst_never_passes(void **state)
{
	struct bench bench = begin("rate = 10/s\nburst = 5");
	struct weir_answer answer;
	int runs = 0;

	(void)state;
	assert_int_equal(weir_wait(bench.api, 6, WEIR_FOREVER, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_EBURST);
	assert_true(answer.wait_ns == WEIR_NEVER);
	assert_int_equal(
		weir_execute(bench.api, 5.001, WEIR_FOREVER, count_up, &runs, NULL, &answer),
		WEIR_REFUSE);
	assert_int_equal(runs, 0);
	assert_tokens(level(bench.api), 5);
	done(&bench);
}

static void defect16_nonsense_is_refused(void **state)
{
	static const double costs[] = {0, -0.0, -1, -INFINITY, NAN};
	static const char *const rates[] = {"-1/s", "nan/s", "inf/s", "1e3/s", "10", "", "2G/s"};
	struct bench bench = begin("rate = 10/s");
	struct weir_answer answer;

	(void)state;
	for (size_t i = 0; i < sizeof(costs) / sizeof(costs[0]); i++) {
		assert_int_equal(weir_acquire(bench.api, costs[i], &answer), WEIR_REFUSE);
		assert_int_equal(answer.fault, WEIR_ECOST);
		assert_int_equal(weir_wait(bench.api, costs[i], WEIR_FOREVER, &answer),
				 WEIR_REFUSE);
		assert_int_equal(answer.fault, WEIR_ECOST);
	}
	assert_int_equal(weir_acquire(bench.api, INFINITY, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_EBURST);
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++)
		assert_int_equal(weir_update(bench.weir, "api", rates[i], NULL, WEIR_KEEP_USED),
				 WEIR_EVALUE);
	assert_tokens(level(bench.api), 10);
	/* rate 0 is legal: what is there may be taken, and then no wait helps */
	assert_int_equal(weir_update(bench.weir, "api", "0", NULL, WEIR_KEEP_USED), 0);
	assert_int_equal(weir_acquire(bench.api, 10, NULL), WEIR_ADMIT);
	assert_int_equal(weir_wait(bench.api, 1, WEIR_FOREVER, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_NEVER);
	assert_true(answer.wait_ns == WEIR_NEVER);
	assert_int_equal(weir_update(bench.weir, "api", "unlimited", NULL, WEIR_KEEP_USED), 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(weir_acquire(bench.api, 1000, NULL), WEIR_ADMIT);
	done(&bench);
}

static void defect17_names_take_bounded_room(void **state)
{
	struct weir *weir = host("[weir]\nnames = 16\n[default]\nrate = 1/s\nburst = 1\n");
	int admitted = 0;

	(void)state;
	for (int i = 0; i < 500; i++) {
		char name[40];

		snprintf(name, sizeof(name), "https://host/item/%d", i);
		struct weir_endpoint *one = endpoint(weir, name);

		admitted += weir_acquire(one, 1, NULL) == WEIR_ADMIT;
		weir_endpoint_close(one);
	}
	/* 16 of their own and one that the others share */
	assert_int_equal(admitted, 17);
	weir_close(weir);
}

static void defect18_deadlines_tries_cancels_order(void **state)
{
	struct bench bench = begin("rate = 10/s\nburst = 1");
	struct weir_reservation first;
	struct weir_reservation second;
	struct weir_answer answer;
	double returned = -1;

	(void)state;
	assert_int_equal(weir_acquire(bench.api, 1, NULL), WEIR_ADMIT);
	/* a deadline that cannot be met is refused at once, and takes nothing */
	assert_int_equal(weir_wait(bench.api, 1, 100 * MS - 1, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_DEADLINE);
	assert_int_equal(answer.wait_ns, 100 * MS);
	assert_tokens(level(bench.api), 0);
	/* first come, first served: positions, not wake-ups */
	assert_int_equal(weir_reserve(bench.api, 1, WEIR_SECOND, &first, &answer), WEIR_ADMIT);
	assert_int_equal(answer.wait_ns, 100 * MS);
	assert_int_equal(weir_reserve(bench.api, 1, WEIR_SECOND, &second, &answer), WEIR_ADMIT);
	assert_int_equal(answer.wait_ns, 200 * MS);
	/* the last in line may leave and gives its place back, once */
	assert_int_equal(weir_cancel(bench.api, &second, &returned), 0);
	assert_tokens(returned, 1);
	assert_int_equal(weir_cancel(bench.api, &second, &returned), WEIR_ESPENT);
	assert_int_equal(weir_reservation_wait(bench.api, &second, 0, NULL), WEIR_REFUSE);
	assert_tokens(level(bench.api), -1);
	weir_clock_advance(bench.weir, 100 * MS);
	assert_int_equal(weir_reservation_wait(bench.api, &first, 0, &answer), WEIR_ADMIT);
	done(&bench);
}

static void defect20_statistics(void **state)
{
	struct bench bench = begin("rate = 10/s\nburst = 3");
	struct weir_reservation reservation;
	struct weir_level found;

	(void)state;
	assert_int_equal(weir_acquire(bench.api, 1, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire(bench.api, 1.5, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire(bench.api, 3, NULL), WEIR_REFUSE);
	assert_int_equal(weir_reserve(bench.api, 1, WEIR_SECOND, &reservation, NULL), WEIR_ADMIT);
	assert_int_equal(weir_settle(bench.api, &reservation, 0.25), 0);
	found = peek(bench.api);
	assert_int_equal(found.granted, 3);
	assert_int_equal(found.refused, 1);
	assert_tokens(found.granted_tokens, 3.5);
	assert_tokens(found.returned_tokens, 0.75); /* it was the last in line */
	done(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ut1_construction),
		cmocka_unit_test(ut2_refill),
		cmocka_unit_test(ut3_tokens_are_there),
		cmocka_unit_test(ut4_tokens_are_missing),
		cmocka_unit_test(ut5_execute_at_once),
		cmocka_unit_test(ut6_execute_after_exactly_the_wait_and_pays),
		cmocka_unit_test(ut7_default_rule),
		cmocka_unit_test(ut8_the_same_name_is_the_same_limiter),
		cmocka_unit_test(ut9_a_new_name_gets_its_own),
		cmocka_unit_test(ut10_update_with_reset),
		cmocka_unit_test(ut11_partial_update_and_lowering),
		cmocka_unit_test(defect1_waiters_are_charged_and_leave_one_by_one),
		cmocka_unit_test(defect2_the_call_after_a_wait_pays),
		cmocka_unit_test(defect3_lowering_keeps_no_level_above_the_burst),
		cmocka_unit_test(defect15_a_cost_above_the_burst_never_passes),
		cmocka_unit_test(defect16_nonsense_is_refused),
		cmocka_unit_test(defect17_names_take_bounded_room),
		cmocka_unit_test(defect18_deadlines_tries_cancels_order),
		cmocka_unit_test(defect20_statistics),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
