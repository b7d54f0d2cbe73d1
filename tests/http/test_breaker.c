/* SPDX-License-Identifier: Apache-2.0
 *
 * The breaker: it opens by a share of failures among enough, lets one probe pass, and the probe
 * decides. Time is passed in.
 */
#include "http_fixture.h"

#define S WEIR_SECOND

static const struct breaker_terms terms = {
	.percent = 50,
	.least = 10,
	.open_ns = 5 * S,
	.window_ns = 10 * S,
};

static void tell(struct breaker *breaker, uint64_t now, unsigned times, enum breaker_news news)
{
	for (unsigned i = 0; i < times; i++)
		breaker_tell(breaker, &terms, now, false, news);
}

static bool passes(struct breaker *breaker, uint64_t now, bool *probe)
{
	uint64_t wait = 0;

	return breaker_pass(breaker, &terms, now, probe, &wait);
}

/* Open, at 100 s. */
static struct breaker opened(void)
{
	struct breaker breaker = {.half_ns = 100 * S};

	tell(&breaker, 100 * S, 10, BREAKER_BAD);
	assert_int_equal(breaker.state, BREAKER_OPEN);
	return breaker;
}

static void test_opens_by_share(void **state)
{
	struct breaker breaker = {.half_ns = 0};
	bool probe = true;

	(void)state;
	/* few failures are no share */
	tell(&breaker, 1 * S, 9, BREAKER_BAD);
	assert_true(passes(&breaker, 1 * S, &probe));
	assert_false(probe);
	tell(&breaker, 1 * S, 1, BREAKER_BAD);
	assert_false(passes(&breaker, 1 * S, &probe));

	breaker = (struct breaker){.half_ns = 0};
	tell(&breaker, 1 * S, 100, BREAKER_GOOD);
	tell(&breaker, 1 * S, 99, BREAKER_BAD);
	assert_true(passes(&breaker, 1 * S, &probe));
	tell(&breaker, 1 * S, 1, BREAKER_BAD);
	assert_false(passes(&breaker, 1 * S, &probe));
}

static void test_forgets(void **state)
{
	struct breaker breaker = {.half_ns = 0};
	bool probe;

	(void)state;
	tell(&breaker, 1 * S, 9, BREAKER_BAD);
	/* the half before counts, what is older does not */
	tell(&breaker, 6 * S, 1, BREAKER_GOOD);
	assert_int_equal(breaker.bad[1], 9);
	tell(&breaker, 12 * S, 1, BREAKER_BAD);
	assert_int_equal(breaker.bad[0] + breaker.bad[1], 1);
	assert_true(passes(&breaker, 12 * S, &probe));
	tell(&breaker, 40 * S, 9, BREAKER_BAD);
	assert_true(passes(&breaker, 40 * S, &probe));
	assert_int_equal(breaker.good[0] + breaker.good[1], 0);
}

static void test_one_probe(void **state)
{
	struct breaker breaker = opened();
	uint64_t wait = 0;
	bool probe = false;

	(void)state;
	assert_false(breaker_look(&breaker, &terms, 102 * S, &wait));
	assert_int_equal(wait, 3 * S);
	assert_true(breaker_look(&breaker, &terms, 105 * S, &wait));
	assert_true(passes(&breaker, 105 * S, &probe));
	assert_true(probe);
	/* and nobody beside it */
	assert_false(passes(&breaker, 105 * S, &probe));
	assert_false(passes(&breaker, 200 * S, &probe));
	breaker_tell(&breaker, &terms, 105 * S, true, BREAKER_GOOD);
	assert_true(passes(&breaker, 105 * S, &probe));
	assert_false(probe);
	assert_int_equal(breaker.opened, 0);
}

/* Twice as long after each probe that failed, up to twelve times. */
static void test_longer_and_longer(void **state)
{
	static const unsigned times[] = {2, 4, 8, 12, 12, 12};
	struct breaker breaker = opened();
	uint64_t now = 105 * S;
	bool probe;

	(void)state;
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		uint64_t wait = 0;

		assert_true(passes(&breaker, now, &probe));
		breaker_tell(&breaker, &terms, now, true, BREAKER_BAD);
		assert_false(breaker_look(&breaker, &terms, now, &wait));
		assert_int_equal(wait, times[i] * 5 * S);
		now += wait;
	}
}

static void test_a_probe_that_says_nothing(void **state)
{
	struct breaker breaker = opened();
	bool probe;

	(void)state;
	assert_true(passes(&breaker, 105 * S, &probe));
	breaker_tell(&breaker, &terms, 106 * S, true, BREAKER_NOTHING);
	assert_true(passes(&breaker, 106 * S, &probe));
	assert_true(probe);
}

/* Those that were under way when it opened have no say. */
static void test_late_news(void **state)
{
	struct breaker breaker = opened();
	bool probe;

	(void)state;
	tell(&breaker, 101 * S, 50, BREAKER_GOOD);
	assert_false(passes(&breaker, 101 * S, &probe));
	assert_true(passes(&breaker, 105 * S, &probe));
	tell(&breaker, 106 * S, 50, BREAKER_BAD);
	breaker_tell(&breaker, &terms, 107 * S, true, BREAKER_GOOD);
	assert_true(passes(&breaker, 107 * S, &probe));
}

static void test_never(void **state)
{
	const struct breaker_terms never = {101, 1, 5 * S, 10 * S};
	struct breaker breaker = {.half_ns = 0};
	uint64_t wait;

	(void)state;
	for (int i = 0; i < 1000; i++)
		breaker_tell(&breaker, &never, 1 * S, false, BREAKER_BAD);
	assert_true(breaker_look(&breaker, &never, 1 * S, &wait));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_opens_by_share),
		cmocka_unit_test(test_forgets),
		cmocka_unit_test(test_one_probe),
		cmocka_unit_test(test_longer_and_longer),
		cmocka_unit_test(test_a_probe_that_says_nothing),
		cmocka_unit_test(test_late_news),
		cmocka_unit_test(test_never),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
