/* SPDX-License-Identifier: Apache-2.0
 *
 * Classes (lib/class.c): their names and what they leave, as text and as numbers; and calls of a
 * class through the public API.
 */
#include "class.h"

#include "calls_fixture.h"

#define MS WEIR_MILLISECOND

/* ---- names ---- */

static void names_are_numbers(void **state)
{
	static const char *const names[] = {
		"a",	       "z",	     "0",	    "9",      "-",
		"_",	       "background", "best-effort", "a0-_z9", "000000000000",
		"____________"};
	static const char *const others[] = {"",   "A",	 "a b", "a.b", "\xc3\xa4", "thirteen-long",
					     "a*", "a\n"};
	char text[CLASS_TEXT_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		uint64_t number = class_number(names[i]);

		assert_int_not_equal(number, 0);
		assert_string_equal(class_text(number, text), names[i]);
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_int_equal(class_number(others[i]), 0);
	/* in the order of the alphabet of struct line_class */
	assert_true(class_number("a") < class_number("aa"));
	assert_true(class_number("aa") < class_number("b"));
	assert_true(class_number("z") < class_number("0"));
	/* bytes that no name has made */
	assert_string_equal(class_text(UINT64_MAX, text) + CLASS_TEXT_BYTES - 1, "");
	assert_int_equal(text[0], '?');
}

/* ---- what is left ---- */

static void leaves_read_and_write(void **state)
{
	static const struct {
		const char *text;
		uint64_t leave;
		const char *back;
	} cases[] = {
		{"leave 5", 5000000, "leave 5"},
		{"leave 0.000001", 1, "leave 0.000001"},
		{"leave 1K", 1000000000, "leave 1000"},
		{"leave 1M", 1000000000000, "leave 1M"},
		{"leave 20 %", 20 * CLASS_PERCENT | CLASS_SHARE, "leave 20 %"},
		{"leave  20%", 20 * CLASS_PERCENT | CLASS_SHARE, "leave 20 %"},
		{"leave\t99.999999\t%", 99999999 | CLASS_SHARE, "leave 99.999999 %"},
		{"leave 12.50 %", 12500000 | CLASS_SHARE, "leave 12.5 %"},
		{"leave 0.000001 %", 1 | CLASS_SHARE, "leave 0.000001 %"},
		{"leave 0", 0, "leave 0"},
		{"leave 0 %", 0, "leave 0"},
	};
	static const char *const others[] = {
		"",	     "5",	  "20 %",      "leave",
		"leave ",    "leave5",	  "leave x",   "leave 20 percent",
		"leave -1",  "leave 1K%", "leave 5 5", "leave 100 %",
		"leave 1e3", "leave %",	  "Leave 5",   "leave 0.0000001"};
	char text[VALUE_TEXT_BYTES];
	uint64_t leave;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (class_read_leave(cases[i].text, &leave))
			fail_msg("%s is refused", cases[i].text);
		assert_int_equal(leave, cases[i].leave);
		assert_string_equal(class_leave_text(leave, text), cases[i].back);
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (!class_read_leave(others[i], &leave))
			fail_msg("`%s` is taken", others[i]);
	assert_non_null(strstr(class_read_leave("5", &leave), "leave 20 %"));
	assert_non_null(strstr(class_read_leave("leave 100 %", &leave), "less than 100 %"));
}

static void units_are_rounded_up(void **state)
{
	(void)state;
	assert_int_equal(class_leave_units(20 * CLASS_PERCENT | CLASS_SHARE, 50, 0), 10);
	assert_int_equal(class_leave_units(20 * CLASS_PERCENT | CLASS_SHARE, 51, 0), 11);
	assert_int_equal(class_leave_units(1 | CLASS_SHARE, 1ull << 59, 0), 5764607524);
	assert_int_equal(class_leave_units(1500000, 50, 0), 2);
	assert_int_equal(class_leave_units(1500000, 50, 1), 3);
	/* hostile words leave all there is, not more than 64 bits hold */
	assert_int_equal(class_leave_units(UINT64_MAX, 50, 0), 50);
}

static void terms_keep_four(void **state)
{
	struct terms terms = {.burst_micro = 10 * TERMS_MICRO};
	struct terms common = {.burst_micro = 10 * TERMS_MICRO};

	(void)state;
	assert_null(class_set(&terms, class_number("d"), 1));
	assert_null(class_set(&terms, class_number("b"), 0));
	assert_null(class_set(&common, class_number("b"), 7));
	assert_null(class_set(&common, class_number("c"), 3));
	assert_null(class_inherit(&terms, &common));
	assert_null(class_set(&terms, class_number("a"), 4));
	assert_non_null(strstr(class_set(&terms, class_number("e"), 5), "at most 4"));
	assert_null(class_set(&terms, class_number("a"), 5));
	assert_null(class_finish(&terms));
	/* sorted, and without the one that leaves nothing, which beats the common one */
	assert_int_equal(terms.classes[0].name, class_number("a"));
	assert_int_equal(terms.classes[0].leave, 5);
	assert_int_equal(terms.classes[1].name, class_number("c"));
	assert_int_equal(terms.classes[2].name, class_number("d"));
	assert_int_equal(terms.classes[3].name, 0);
	assert_null(class_set(&terms, class_number("c"), 10 * TERMS_MICRO));
	assert_non_null(strstr(class_finish(&terms), "less than the burst"));
}

/* ---- calls ---- */

static void a_class_leaves_its_headroom(void **state)
{
	struct calls *calls = *state;
	struct weir_answer answer;
	struct weir_endpoint *users =
		calls_ruled(calls, "api", "rate=10/s", "burst=10", "class batch=leave 4");
	struct weir_endpoint *batch = calls_class(calls, "api", "batch");
	struct weir_endpoint *other = calls_class(calls, "api", "unheard-of");

	assert_int_equal(weir_acquire(batch, 5, &answer), WEIR_ADMIT);
	assert_near(answer.level, 5);
	/* 5 - 2 < 4: 1 is missing */
	assert_int_equal(weir_acquire(batch, 2, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_HEADROOM);
	assert_int_equal(answer.wait_ns, 100 * MS);
	assert_near(answer.level, 5);
	/* users, and a class that the rule does not know, may take it */
	assert_int_equal(weir_acquire(users, 2, &answer), WEIR_ADMIT);
	assert_int_equal(weir_acquire(other, 2, &answer), WEIR_ADMIT);
	/* not there at all: 1 - 2 */
	assert_int_equal(weir_acquire(batch, 2, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_LEVEL);
	assert_int_equal(answer.wait_ns, 500 * MS);
	/* the reported wait is enough, and no less is */
	calls_advance(calls, 500 * MS - 1);
	assert_int_equal(weir_acquire(batch, 2, &answer), WEIR_REFUSE);
	calls_advance(calls, 1);
	assert_int_equal(weir_acquire(batch, 2, &answer), WEIR_ADMIT);
	assert_near(answer.level, 4);
	/* more than ever is left */
	assert_int_equal(weir_acquire(batch, 6.5, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_NEVER);
	assert_true(answer.wait_ns == WEIR_NEVER);
	assert_int_equal(answer.fault, 0);
}

/* A share is of the burst that is in force; the line says so at the next call. */
static void a_share_follows_the_burst(void **state)
{
	struct calls *calls = *state;

	calls_rule(calls, "api", "rate=1/h", "burst=10", "class batch=leave 50 %");
	struct weir_endpoint *batch = calls_class(calls, "api", "batch");

	assert_int_equal(scene_drain(batch), 5);
	calls_change(calls, "api", "rate=1/h", "burst=20", "class batch=leave 50 %");
	assert_int_equal(scene_drain(batch), 5);
	calls_change(calls, "api", "rate=1/h", "burst=20", "class batch=leave 10 %");
	assert_int_equal(scene_drain(batch), 8);
	calls_change(calls, "api", "rate=1/h", "burst=20");
	assert_int_equal(scene_drain(batch), 2);
}

/* A rule that moves to another row, for its unit, takes its classes along. */
/* It opens empty, and what a class must leave has to be there as well. */
static void a_class_behind_a_closure(void **state)
{
	struct calls *calls = *state;
	struct weir_answer answer;

	calls_rule(calls, "api", "rate=10/s", "burst=10", "class batch=leave 4");
	struct weir_endpoint *batch = calls_class(calls, "api", "batch");

	assert_int_equal(weir_acquire(batch, 1, NULL), WEIR_ADMIT);
	assert_int_equal(weir_gate_close(batch, WEIR_SECOND), 0);
	assert_int_equal(weir_acquire(batch, 2, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_CLOSED);
	calls_advance(calls, answer.wait_ns - 1);
	assert_int_equal(weir_acquire(batch, 2, NULL), WEIR_REFUSE);
	calls_advance(calls, 1);
	assert_int_equal(weir_acquire(batch, 2, NULL), WEIR_ADMIT);
	/* more than a full bucket has for it */
	assert_int_equal(weir_gate_close(batch, WEIR_SECOND), 0);
	assert_int_equal(weir_acquire(batch, 7, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_CLOSED);
	assert_true(answer.wait_ns == WEIR_NEVER);
}

static void a_class_moves_along(void **state)
{
	struct calls *calls = *state;

	calls_rule(calls, "api", "rate=1/h", "burst=10", "class batch=leave 3");
	struct weir_endpoint *batch = calls_class(calls, "api", "batch");

	assert_int_equal(weir_acquire(batch, 2, NULL), WEIR_ADMIT);
	calls_change(calls, "api", "rate=1000000000/s", "burst=10", "class batch=leave 3");
	assert_int_equal(weir_acquire(batch, 6, NULL), WEIR_REFUSE);
	assert_int_equal(weir_acquire(batch, 5, NULL), WEIR_ADMIT);
}

static void a_waiting_class_takes_no_place(void **state)
{
	struct calls *calls = *state;
	struct weir_answer answer;
	struct weir_endpoint *users =
		calls_ruled(calls, "api", "rate=10/s", "burst=10", "class batch=leave 4");
	struct weir_endpoint *batch = calls_class(calls, "api", "batch");
	struct weir_reservation place;

	assert_int_equal(weir_acquire(users, 5, NULL), WEIR_ADMIT);
	/* 5 are left, 6 are wanted: 500 ms */
	assert_int_equal(weir_wait(batch, 6, 500 * MS - 1, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_DEADLINE);
	assert_int_equal(answer.wait_ns, 500 * MS);
	assert_int_equal(calls->waits, 0);
	assert_level(users, 5);
	/* no place ahead of anybody either */
	assert_int_equal(weir_reserve(batch, 6, WEIR_FOREVER, &place, &answer), WEIR_REFUSE);
	assert_int_equal(answer.wait_ns, 500 * MS);
	assert_level(users, 5);
	assert_int_equal(weir_reserve(batch, 1, WEIR_FOREVER, &place, &answer), WEIR_ADMIT);
	assert_int_equal(answer.wait_ns, 0);
	assert_int_equal(weir_cancel(batch, &place, NULL), 0);
	assert_int_equal(weir_wait(batch, 6, 500 * MS, &answer), WEIR_ADMIT);
	assert_int_equal(answer.wait_ns, 500 * MS);
	assert_int_equal(calls->waits, 1);
	assert_level(users, 4);
	assert_int_equal(calls_peek(users).waited, 1);
}

static struct weir_endpoint *thief;

static void take_two(void)
{
	assert_int_equal(weir_acquire(thief, 2, NULL), WEIR_ADMIT);
	thief = NULL;
}

static void take_two_once(void)
{
	if (thief)
		take_two();
}

/* Somebody else draws while it sleeps: it goes on waiting, and stays within its deadline. */
static void a_waiting_class_is_behind_everybody(void **state)
{
	struct calls *calls = *state;
	struct weir_answer answer;
	struct weir_endpoint *users =
		calls_ruled(calls, "api", "rate=10/s", "burst=10", "class batch=leave 4");
	struct weir_endpoint *batch = calls_class(calls, "api", "batch");

	calls->on_wait = take_two_once;
	assert_int_equal(weir_acquire(users, 5, NULL), WEIR_ADMIT);
	thief = users;
	assert_int_equal(weir_wait(batch, 6, WEIR_SECOND, &answer), WEIR_ADMIT);
	assert_int_equal(answer.wait_ns, 700 * MS);
	assert_int_equal(calls->waits, 2);
	assert_int_equal(weir_acquire(users, 4, NULL), WEIR_ADMIT);
	thief = users;
	calls_advance(calls, 500 * MS);
	assert_int_equal(weir_wait(batch, 2, 200 * MS, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_DEADLINE);
	assert_level(users, 4);
}

/* The handle of a class settles, waits behind a closure and draws below [default] as any other. */
static void a_class_is_an_ordinary_handle(void **state)
{
	struct calls *calls = *state;
	struct weir_answer answer;
	struct weir_reservation place;

	calls_change(calls, "*", "rate=10/s", "burst=10", "class batch=leave 4");
	struct weir_endpoint *batch = calls_class(calls, "some/name", "batch");

	assert_int_equal(weir_reserve(batch, 3, 0, &place, NULL), WEIR_ADMIT);
	assert_int_equal(weir_settle(batch, &place, 8.5), 0);
	assert_level(batch, 1.5);
	assert_int_equal(weir_gate_close(batch, WEIR_SECOND), 0);
	assert_int_equal(weir_acquire(batch, 1, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_CLOSED);
	/* behind the closure it opens empty: 5 more tokens until 1 may be taken */
	assert_int_equal(weir_wait(batch, 1, 2 * WEIR_SECOND, &answer), WEIR_ADMIT);
	assert_in_range(answer.wait_ns, 1500 * MS, 1500 * MS + 2 * 65536);
	assert_int_equal(weir_acquire(batch, 0, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_ECOST);
	assert_int_equal(weir_acquire(batch, 11, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_EBURST);
}

static void names_of_classes_are_checked(void **state)
{
	struct weir_endpoint *endpoint = NULL;
	struct calls *calls = *state;

	assert_int_equal(weir_endpoint_class(calls->weir, "api", "", &endpoint), WEIR_ECLASS);
	assert_int_equal(weir_endpoint_class(calls->weir, "api", "Batch", &endpoint), WEIR_ECLASS);
	assert_int_equal(weir_endpoint_class(calls->weir, "", "batch", &endpoint), WEIR_ENAME);
	assert_null(endpoint);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_numbers),
		cmocka_unit_test(leaves_read_and_write),
		cmocka_unit_test(units_are_rounded_up),
		cmocka_unit_test(terms_keep_four),
		calls_test(a_class_leaves_its_headroom),
		calls_test(a_share_follows_the_burst),
		calls_test(a_class_moves_along),
		calls_test(a_class_behind_a_closure),
		calls_test(a_waiting_class_takes_no_place),
		calls_test(a_waiting_class_is_behind_everybody),
		calls_test(a_class_is_an_ordinary_handle),
		calls_test(names_of_classes_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
