/* SPDX-License-Identifier: Apache-2.0
 *
 * Which rule a name falls under, without a bucket being made for it: what is said is what
 * weir_endpoint() does, the table of names stays as it was, and rules that change are followed.
 */
#include "calls_fixture.h"

static uint32_t names_used(const struct calls *calls)
{
	const struct segment *segment = &calls->scene.segment;
	uint32_t used = 0;

	for (uint32_t i = 0; i < segment->name_count; i++)
		used += atomic_load(&segment->names[i].hash) != 0;
	return used;
}

static void begin(struct calls *calls)
{
	calls_begin(calls);
	calls_rule(calls, "api.example.com", "rate=5/s");
	calls_rule(calls, "GET api.example.com/*", "rate=6/s");
	calls_rule(calls, "GET api.example.com/users/*", "rate=7/s");
	calls_rule(calls, "* api.example.com/users/*", "rate=8/s");
}

static void test_which_rule(void **state)
{
	static const struct {
		const char *name;
		int matched;
		const char *rule;
	} rows[] = {
		{"api.example.com", WEIR_MATCHED_EXACT, "api.example.com"},
		{"GET api.example.com/", WEIR_MATCHED_PATTERN, "GET api.example.com/*"},
		{"GET api.example.com/users/4", WEIR_MATCHED_PATTERN,
		 "GET api.example.com/users/*"},
		{"PUT api.example.com/users/4", WEIR_MATCHED_PATTERN, "* api.example.com/users/*"},
		{"PUT api.example.com/", WEIR_MATCHED_DEFAULT, ""},
		{"api.example.com:80", WEIR_MATCHED_DEFAULT, ""},
		/* a pattern as a name leads to its own bucket */
		{"GET api.example.com/users/*", WEIR_MATCHED_PATTERN,
		 "GET api.example.com/users/*"},
	};
	struct calls calls;
	char rule[WEIR_NAME_MAX + 1];

	(void)state;
	begin(&calls);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(weir_match(calls.weir, rows[i].name, rule, sizeof(rule)),
				 rows[i].matched);
		assert_string_equal(rule, rows[i].rule);
		assert_int_equal(weir_match(calls.weir, rows[i].name, NULL, 0), rows[i].matched);
	}
	assert_int_equal(names_used(&calls), 0);
	calls_end(&calls);
}

static void test_nothing_is_made(void **state)
{
	struct calls calls;
	char name[40];
	char rule[WEIR_NAME_MAX + 1];

	(void)state;
	begin(&calls);
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "example.org/page/%d", i);
		assert_int_equal(weir_match(calls.weir, name, rule, sizeof(rule)),
				 WEIR_MATCHED_DEFAULT);
	}
	assert_int_equal(names_used(&calls), 0);

	/* one that has a bucket is under [default] all the same */
	calls_endpoint(&calls, "example.org");
	assert_int_equal(names_used(&calls), 1);
	assert_int_equal(weir_match(calls.weir, "example.org", rule, sizeof(rule)),
			 WEIR_MATCHED_DEFAULT);
	assert_string_equal(rule, "");
	calls_end(&calls);
}

static void test_follows_the_rules(void **state)
{
	struct calls calls;
	char rule[WEIR_NAME_MAX + 1];

	(void)state;
	begin(&calls);
	calls_rule(&calls, "PUT *", "rate=1/s");
	assert_int_equal(weir_match(calls.weir, "PUT api.example.com/", rule, sizeof(rule)),
			 WEIR_MATCHED_PATTERN);
	assert_string_equal(rule, "PUT *");
	calls_rule(&calls, "PUT api.example.com/", "rate=1/s");
	assert_int_equal(weir_match(calls.weir, "PUT api.example.com/", rule, sizeof(rule)),
			 WEIR_MATCHED_EXACT);
	calls_end(&calls);
}

static void test_wrong_arguments(void **state)
{
	struct calls calls;
	char rule[16] = "as it was";
	char longest[WEIR_NAME_MAX + 2];

	(void)state;
	begin(&calls);
	memset(longest, 'n', sizeof(longest));
	longest[WEIR_NAME_MAX + 1] = '\0';
	assert_int_equal(weir_match(calls.weir, "", rule, sizeof(rule)), WEIR_ENAME);
	assert_int_equal(weir_match(calls.weir, "a\nb", rule, sizeof(rule)), WEIR_ENAME);
	assert_int_equal(weir_match(calls.weir, longest, rule, sizeof(rule)), WEIR_ENAME);
	/* 15 bytes and a NUL: one too few */
	assert_int_equal(weir_match(calls.weir, "api.example.com", rule, 15), WEIR_EVALUE);
	assert_string_equal(rule, "as it was");
	assert_int_equal(weir_match(calls.weir, "api.example.com", rule, 16), WEIR_MATCHED_EXACT);
	assert_string_equal(rule, "api.example.com");
	calls_end(&calls);
}

/* What is said is where a handle leads: both see one bucket. */
static void test_agrees_with_endpoints(void **state)
{
	static const char *const names[] = {"GET api.example.com/a", "GET api.example.com/users/b",
					    "PUT api.example.com/users/b", "api.example.com"};
	struct calls calls;
	char rule[WEIR_NAME_MAX + 1];

	(void)state;
	begin(&calls);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct weir_endpoint *by_name = calls_endpoint(&calls, names[i]);

		assert_true(weir_match(calls.weir, names[i], rule, sizeof(rule)) > 0);

		struct weir_endpoint *by_rule = calls_endpoint(&calls, rule);
		double level = calls_peek(by_name).level;

		assert_true(weir_acquire(by_rule, 1, NULL));
		assert_near(calls_peek(by_name).level, level - 1);
	}
	calls_end(&calls);
}

/* A bucket for each name: the name leads to its own. */
static void test_each(void **state)
{
	struct weir *weir;
	struct weir_endpoint *one, *two;
	char rule[WEIR_NAME_MAX + 1];

	(void)state;
	assert_int_equal(weir_host(&weir,
				   "[default]\nrate = 1/s\n[each users/*]\nrate = 1/h\nburst = 1\n",
				   WEIR_CLOCK_MANUAL, NULL, NULL, 0),
			 0);
	assert_int_equal(weir_match(weir, "users/1", rule, sizeof(rule)), WEIR_MATCHED_EACH);
	assert_string_equal(rule, "users/*");
	assert_int_equal(weir_endpoint(weir, "users/1", &one), 0);
	assert_int_equal(weir_endpoint(weir, "users/2", &two), 0);
	assert_true(weir_acquire(one, 1, NULL));
	assert_false(weir_acquire(one, 1, NULL));
	assert_true(weir_acquire(two, 1, NULL));
	weir_endpoint_close(one);
	weir_endpoint_close(two);
	weir_close(weir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_which_rule),
		cmocka_unit_test(test_nothing_is_made),
		cmocka_unit_test(test_follows_the_rules),
		cmocka_unit_test(test_wrong_arguments),
		cmocka_unit_test(test_agrees_with_endpoints),
		cmocka_unit_test(test_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
