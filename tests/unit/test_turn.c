/* SPDX-License-Identifier: Apache-2.0
 *
 * test_turn.c - weir_wait in steps: places, waits and counts are those of weir_wait.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "weir.h"

#define MS WEIR_MILLISECOND

static const char rules[] = "[endpoint api]\n"
			    "rate = 10/s\n"
			    "burst = 2\n"
			    "class background = leave 50 %\n"
			    "[endpoint free]\n"
			    "rate = unlimited\n"
			    "[endpoint short]\n"
			    "rate = 10/s\n"
			    "burst = 1\n"
			    "max_wait = 150ms\n"
			    "[endpoint hour]\n"
			    "rate = 2/h\n"
			    "window = 1h first\n"
			    "burst = 2\n"
			    "[endpoint seen]\n"
			    "rate = 10/s\n"
			    "burst = 1\n"
			    "shadow = yes\n";

struct life {
	struct weir *weir;
	struct weir_endpoint *api;
	unsigned waits;
	unsigned closures;
	unsigned faults;
};

static void trace(void *context, const struct weir_event *event)
{
	struct life *life = context;

	life->waits += event->kind == WEIR_EVENT_WAIT;
	life->closures += event->kind == WEIR_EVENT_CLOSED;
	life->faults += event->kind == WEIR_EVENT_FAULT;
}

static void begin_as(struct life *life, enum weir_policy policy)
{
	struct weir_options options = WEIR_OPTIONS_INIT;

	*life = (struct life){0};
	options.policy = (int32_t)policy;
	options.trace = trace;
	options.trace_context = life;
	assert_int_equal(weir_host(&life->weir, rules, WEIR_CLOCK_MANUAL, &options, NULL, 0), 0);
	assert_int_equal(weir_endpoint(life->weir, "api", &life->api), 0);
}

static void begin(struct life *life)
{
	begin_as(life, WEIR_POLICY_CLOSED);
}

static void end(struct life *life)
{
	weir_endpoint_close(life->api);
	weir_close(life->weir);
}

static struct weir_endpoint *endpoint(struct life *life, const char *name)
{
	struct weir_endpoint *found = NULL;

	assert_int_equal(weir_endpoint(life->weir, name, &found), 0);
	return found;
}

static struct weir_level level_of(struct weir_endpoint *of)
{
	struct weir_level level = {.size = sizeof(level)};

	assert_int_equal(weir_peek(of, &level), 0);
	return level;
}

static void assert_tokens(double expected, double actual)
{
	assert_true(fabs(expected - actual) < 1e-6);
}

static void advance(struct life *life, uint64_t by_ns)
{
	assert_int_equal(weir_clock_advance(life->weir, by_ns), 0);
}

/* A closure is kept to 65 us, rounded up. */
static void assert_about(uint64_t actual_ns, uint64_t expected_ns)
{
	assert_in_range(actual_ns, expected_ns - MS / 10, expected_ns + MS / 10);
}

/* A turn that is under way, and due after so long. */
static void assert_under_way(enum weir_verdict verdict, const struct weir_answer *answer,
			     uint64_t wait_ns)
{
	assert_int_equal(verdict, WEIR_REFUSE);
	assert_int_equal(answer->reason, WEIR_REASON_TURN);
	assert_int_equal(answer->fault, 0);
	assert_about(answer->wait_ns, wait_ns);
}

static void drain(struct weir_endpoint *of, unsigned calls)
{
	for (unsigned i = 0; i < calls; i++)
		assert_int_equal(weir_acquire(of, 1, NULL), WEIR_ADMIT);
}

static void test_at_once(void **state)
{
	struct weir_answer answer;
	struct weir_turn turn;
	struct life life;

	(void)state;
	begin(&life);
	assert_int_equal(weir_turn_begin(life.api, 2, 0, &turn, &answer), WEIR_ADMIT);
	assert_int_equal(answer.wait_ns, 0);
	assert_tokens(answer.level, 0);
	assert_int_equal(life.waits, 0);
	assert_int_equal(level_of(life.api).waited, 0);
	/* it is no longer under way */
	assert_int_equal(weir_turn_poll(life.api, &turn, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_ESPENT);
	end(&life);
}

static void test_comes_when_it_says(void **state)
{
	struct weir_answer answer;
	struct weir_turn turn;
	struct life life;

	(void)state;
	begin(&life);
	drain(life.api, 2);
	assert_under_way(weir_turn_begin(life.api, 1, WEIR_FOREVER, &turn, &answer), &answer,
			 100 * MS);
	assert_int_equal(turn.look_ns, MS); /* the clock is moved by hand */
	advance(&life, 99 * MS);
	assert_under_way(weir_turn_poll(life.api, &turn, &answer), &answer, MS);
	advance(&life, MS);
	assert_int_equal(weir_turn_poll(life.api, &turn, &answer), WEIR_ADMIT);
	assert_int_equal(answer.wait_ns, 100 * MS);
	assert_tokens(answer.level, 0);
	assert_int_equal(life.waits, 1);

	struct weir_level level = level_of(life.api);

	assert_int_equal(level.granted, 3);
	assert_int_equal(level.waited, 1);
	assert_int_equal(level.refused, 0);
	end(&life);
}

static void test_in_order_with_others(void **state)
{
	struct weir_reservation place;
	struct weir_answer answer;
	struct weir_turn first, third;
	struct life life;

	(void)state;
	begin(&life);
	drain(life.api, 2);
	assert_under_way(weir_turn_begin(life.api, 1, WEIR_FOREVER, &first, &answer), &answer,
			 100 * MS);
	assert_int_equal(weir_reserve(life.api, 1, WEIR_FOREVER, &place, &answer), WEIR_ADMIT);
	assert_int_equal(answer.wait_ns, 200 * MS);
	assert_under_way(weir_turn_begin(life.api, 2, WEIR_FOREVER, &third, &answer), &answer,
			 400 * MS);
	advance(&life, 200 * MS);
	/* late to its own turn, it takes nobody else's */
	assert_int_equal(weir_turn_poll(life.api, &first, &answer), WEIR_ADMIT);
	assert_under_way(weir_turn_poll(life.api, &third, &answer), &answer, 200 * MS);
	assert_int_equal(weir_acquire(life.api, 1, NULL), WEIR_REFUSE);
	advance(&life, 200 * MS);
	assert_int_equal(weir_turn_poll(life.api, &third, &answer), WEIR_ADMIT);
	end(&life);
}

static void test_follows_the_rate(void **state)
{
	struct weir_answer answer;
	struct weir_turn turn;
	struct life life;

	(void)state;
	begin(&life);
	drain(life.api, 2);
	assert_under_way(weir_turn_begin(life.api, 1, WEIR_FOREVER, &turn, &answer), &answer,
			 100 * MS);
	assert_int_equal(weir_update(life.weir, "api", "1/s", NULL, WEIR_KEEP_USED), 0);
	assert_int_equal(weir_turn_poll(life.api, &turn, &answer), WEIR_REFUSE);
	assert_true(answer.wait_ns > 999 * MS && answer.wait_ns <= 1001 * MS);
	assert_int_equal(weir_update(life.weir, "api", "unlimited", NULL, WEIR_KEEP_USED), 0);
	assert_int_equal(weir_turn_poll(life.api, &turn, &answer), WEIR_ADMIT);
	end(&life);
}

/* Neither of a closure nor of looking at it is anything counted as refused. */
static void test_waits_for_the_gate(void **state)
{
	struct weir_answer answer;
	struct weir_turn turn, late;
	struct life life;

	(void)state;
	begin(&life);
	assert_int_equal(weir_gate_close(life.api, 3 * WEIR_SECOND), 0);
	assert_under_way(weir_turn_begin(life.api, 1, WEIR_FOREVER, &turn, &answer), &answer,
			 3 * WEIR_SECOND);
	assert_int_equal(weir_turn_begin(life.api, 1, WEIR_SECOND, &late, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_CLOSED);
	assert_about(answer.wait_ns, 3100 * MS);
	assert_int_equal(weir_turn_leave(life.api, &late, NULL), WEIR_ESPENT);
	for (int i = 0; i < 3; i++)
		assert_under_way(weir_turn_poll(life.api, &turn, &answer), &answer,
				 3 * WEIR_SECOND);
	assert_int_equal(level_of(life.api).refused, 1);
	/* it opens empty, and what waited for that stands in line then */
	advance(&life, answer.wait_ns);
	assert_under_way(weir_turn_poll(life.api, &turn, &answer), &answer, 100 * MS);
	advance(&life, 100 * MS);
	assert_int_equal(weir_turn_poll(life.api, &turn, &answer), WEIR_ADMIT);
	assert_about(answer.wait_ns, 3100 * MS);
	assert_int_equal(level_of(life.api).granted, 1);
	end(&life);
}

static void test_takes_a_new_place(void **state)
{
	struct weir_answer answer;
	struct weir_turn turn;
	struct life life;

	(void)state;
	begin(&life);
	drain(life.api, 2);
	assert_under_way(weir_turn_begin(life.api, 1, 10 * WEIR_SECOND, &turn, &answer), &answer,
			 100 * MS);
	/* closed while it stood in line: it waits for the opening, and takes a place then */
	assert_int_equal(weir_gate_close(life.api, WEIR_SECOND), 0);
	assert_under_way(weir_turn_poll(life.api, &turn, &answer), &answer, WEIR_SECOND);
	advance(&life, answer.wait_ns);
	assert_under_way(weir_turn_poll(life.api, &turn, &answer), &answer, 100 * MS);
	/* filled: no place counts any more, and there is one at once */
	assert_int_equal(weir_reset(life.weir, "api"), 0);
	assert_int_equal(weir_turn_poll(life.api, &turn, &answer), WEIR_ADMIT);
	assert_tokens(answer.level, 1);
	/* closed for longer than it has */
	drain(life.api, 1);
	assert_under_way(weir_turn_begin(life.api, 1, WEIR_SECOND, &turn, &answer), &answer,
			 100 * MS);
	assert_int_equal(weir_gate_close(life.api, 2 * WEIR_SECOND), 0);
	assert_int_equal(weir_turn_poll(life.api, &turn, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_DEADLINE);
	end(&life);
}

static void test_deadline(void **state)
{
	struct weir_answer answer;
	struct weir_turn turn;
	struct life life;

	(void)state;
	begin(&life);
	drain(life.api, 2);
	assert_int_equal(weir_turn_begin(life.api, 1, 99 * MS, &turn, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_DEADLINE);
	assert_int_equal(answer.wait_ns, 100 * MS);
	assert_tokens(level_of(life.api).level, 0);
	assert_under_way(weir_turn_begin(life.api, 1, 200 * MS, &turn, &answer), &answer, 100 * MS);
	/* slower: its turn moves out of reach, and what it had goes back */
	assert_int_equal(weir_update(life.weir, "api", "1/s", NULL, WEIR_KEEP_USED), 0);
	assert_int_equal(weir_turn_poll(life.api, &turn, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_DEADLINE);
	assert_true(answer.wait_ns > 999 * MS && answer.wait_ns <= 1001 * MS);
	assert_true(level_of(life.api).level > -0.001);

	struct weir_level level = level_of(life.api);

	assert_int_equal(level.granted, 2);
	assert_int_equal(level.refused, 2);
	assert_tokens(level.returned_tokens, 0);
	end(&life);
}

static void test_leaving(void **state)
{
	struct weir_answer answer;
	struct weir_turn turn;
	double returned = -1;
	struct life life;

	(void)state;
	begin(&life);
	drain(life.api, 2);
	/* in line: as if it had never been there */
	assert_under_way(weir_turn_begin(life.api, 2, WEIR_FOREVER, &turn, &answer), &answer,
			 200 * MS);
	assert_tokens(level_of(life.api).level, -2);
	assert_int_equal(weir_turn_leave(life.api, &turn, &returned), 0);
	assert_tokens(returned, 2);
	assert_tokens(level_of(life.api).level, 0);
	assert_tokens(level_of(life.api).returned_tokens, 0);
	assert_int_equal(weir_turn_leave(life.api, &turn, &returned), WEIR_ESPENT);
	/* admitted: as a reservation that is cancelled */
	advance(&life, 100 * MS);
	assert_int_equal(weir_turn_begin(life.api, 1, 0, &turn, NULL), WEIR_ADMIT);
	assert_int_equal(weir_turn_leave(life.api, &turn, &returned), 0);
	assert_tokens(returned, 1);
	assert_tokens(level_of(life.api).level, 1);
	assert_tokens(level_of(life.api).returned_tokens, 1);
	assert_int_equal(weir_turn_leave(life.api, &turn, NULL), WEIR_ESPENT);
	/* behind a closure: it has nothing */
	assert_int_equal(weir_gate_close(life.api, WEIR_SECOND), 0);
	assert_under_way(weir_turn_begin(life.api, 1, WEIR_FOREVER, &turn, &answer), &answer,
			 WEIR_SECOND);
	assert_int_equal(weir_turn_leave(life.api, &turn, &returned), 0);
	assert_tokens(returned, 0);
	end(&life);
}

static void test_settling(void **state)
{
	struct weir_answer answer;
	struct weir_turn turn;
	struct life life;

	(void)state;
	begin(&life);
	/* less: the rest goes back */
	assert_int_equal(weir_turn_begin(life.api, 2, 0, &turn, NULL), WEIR_ADMIT);
	assert_int_equal(weir_turn_settle(life.api, &turn, -1), WEIR_ECOST);
	assert_int_equal(weir_turn_settle(life.api, &turn, NAN), WEIR_ECOST);
	assert_int_equal(weir_turn_settle(life.api, &turn, 0.5), 0);
	assert_tokens(level_of(life.api).level, 1.5);
	assert_tokens(level_of(life.api).returned_tokens, 1.5);
	assert_int_equal(weir_turn_settle(life.api, &turn, 0.5), WEIR_ESPENT);
	assert_int_equal(weir_turn_leave(life.api, &turn, NULL), WEIR_ESPENT);
	/* more: a debt */
	assert_int_equal(weir_turn_begin(life.api, 1, 0, &turn, NULL), WEIR_ADMIT);
	assert_int_equal(weir_turn_settle(life.api, &turn, 5), 0);
	assert_tokens(level_of(life.api).level, -3.5);
	/* not yet admitted; and then as it was estimated */
	assert_under_way(weir_turn_begin(life.api, 1, WEIR_FOREVER, &turn, &answer), &answer,
			 450 * MS);
	assert_int_equal(weir_turn_settle(life.api, &turn, 1), WEIR_ESPENT);
	advance(&life, 450 * MS);
	assert_int_equal(weir_turn_poll(life.api, &turn, NULL), WEIR_ADMIT);
	assert_int_equal(weir_turn_settle(life.api, &turn, 1), 0);
	assert_tokens(level_of(life.api).level, 0);
	end(&life);
}

static void test_class(void **state)
{
	struct weir_endpoint *background = NULL;
	struct weir_answer answer;
	struct weir_turn turn;
	struct life life;

	(void)state;
	begin(&life);
	assert_int_equal(weir_endpoint_class(life.weir, "api", "background", &background), 0);
	drain(life.api, 1);
	assert_under_way(weir_turn_begin(background, 1, WEIR_FOREVER, &turn, &answer), &answer,
			 100 * MS);
	/* it has no place: others pass it by */
	drain(life.api, 1);
	advance(&life, 100 * MS);
	assert_under_way(weir_turn_poll(background, &turn, &answer), &answer, 100 * MS);
	assert_int_equal(level_of(life.api).refused, 0);
	advance(&life, 100 * MS);
	assert_int_equal(weir_turn_poll(background, &turn, &answer), WEIR_ADMIT);
	assert_int_equal(weir_turn_begin(background, 1, 50 * MS, &turn, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_DEADLINE);
	/* more than the class may ever have */
	assert_int_equal(weir_turn_begin(background, 2, WEIR_FOREVER, &turn, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_NEVER);
	weir_endpoint_close(background);
	end(&life);
}

static void test_other_rules(void **state)
{
	struct weir_endpoint *of;
	struct weir_answer answer;
	struct weir_turn turn;
	double returned = -1;
	struct life life;

	(void)state;
	begin(&life);
	of = endpoint(&life, "free");
	assert_int_equal(weir_turn_begin(of, 1000, 0, &turn, &answer), WEIR_ADMIT);
	assert_int_equal(weir_turn_leave(of, &turn, &returned), 0);
	assert_tokens(returned, 0);
	weir_endpoint_close(of);
	/* a queue that is too long */
	of = endpoint(&life, "short");
	drain(of, 1);
	assert_under_way(weir_turn_begin(of, 1, WEIR_FOREVER, &turn, &answer), &answer, 100 * MS);
	assert_int_equal(weir_turn_begin(of, 1, WEIR_FOREVER, &turn, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_QUEUE);
	weir_endpoint_close(of);
	/* windows */
	of = endpoint(&life, "hour");
	drain(of, 2);
	assert_under_way(weir_turn_begin(of, 1, WEIR_FOREVER, &turn, &answer), &answer,
			 3600 * WEIR_SECOND);
	advance(&life, 3600 * WEIR_SECOND);
	assert_int_equal(weir_turn_poll(of, &turn, &answer), WEIR_ADMIT);
	assert_tokens(answer.level, 1);
	weir_endpoint_close(of);
	/* what is only watched */
	of = endpoint(&life, "seen");
	drain(of, 1);
	assert_int_equal(weir_turn_begin(of, 1, 0, &turn, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, WEIR_REASON_LEVEL);
	assert_int_equal(weir_turn_leave(of, &turn, &returned), 0);
	assert_tokens(returned, 0);
	weir_endpoint_close(of);
	end(&life);
}

static void test_mistakes(void **state)
{
	static const double costs[] = {0, -1, NAN};
	struct weir_answer answer;
	struct weir_turn turn;
	struct life life;

	(void)state;
	begin_as(&life, WEIR_POLICY_OPEN);
	for (size_t i = 0; i < sizeof(costs) / sizeof(costs[0]); i++) {
		assert_int_equal(weir_turn_begin(life.api, costs[i], 0, &turn, &answer),
				 WEIR_REFUSE);
		assert_int_equal(answer.fault, WEIR_ECOST);
	}
	assert_int_equal(weir_turn_begin(life.api, 3, WEIR_FOREVER, &turn, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_EBURST);
	assert_int_equal(weir_turn_leave(life.api, &turn, NULL), WEIR_ESPENT);
	/* bytes that no turn has */
	turn = (struct weir_turn){0};
	assert_int_equal(weir_turn_poll(life.api, &turn, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_ESPENT);
	for (size_t i = 0; i < sizeof(turn.opaque) / sizeof(turn.opaque[0]); i++)
		turn.opaque[i] = UINT64_MAX;
	assert_int_equal(weir_turn_leave(life.api, &turn, NULL), WEIR_ESPENT);
	end(&life);
}

/* A name that leaves [default] takes its bucket, and its queue, along. */
static void test_follows_a_move(void **state)
{
	struct weir_endpoint *other;
	struct weir_answer answer;
	struct weir_turn turn;
	struct life life;

	(void)state;
	begin(&life);
	other = endpoint(&life, "other");
	drain(other, 10);
	assert_under_way(weir_turn_begin(other, 1, WEIR_FOREVER, &turn, &answer), &answer,
			 100 * MS);
	assert_int_equal(weir_update(life.weir, "other", "5/s", NULL, WEIR_KEEP_USED), 0);
	assert_int_equal(weir_turn_poll(other, &turn, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_TURN);
	assert_true(answer.wait_ns > 190 * MS && answer.wait_ns <= 201 * MS);
	advance(&life, 201 * MS);
	assert_int_equal(weir_turn_poll(other, &turn, &answer), WEIR_ADMIT);
	weir_endpoint_close(other);
	end(&life);
}

/* When to look again, by a clock that runs: soon enough to notice what changes. */
static void test_look_again(void **state)
{
	struct weir_endpoint *of = NULL;
	struct weir_answer answer;
	struct weir_turn turn;
	struct weir *weir;

	(void)state;
	assert_int_equal(weir_host(&weir,
				   "[endpoint day]\nrate = 1/d\n[endpoint s]\nrate = 50/s\n"
				   "burst = 1\n",
				   WEIR_CLOCK_MONOTONIC, NULL, NULL, 0),
			 0);
	assert_int_equal(weir_endpoint(weir, "day", &of), 0);
	drain(of, 1);
	assert_int_equal(weir_turn_begin(of, 1, WEIR_FOREVER, &turn, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_TURN);
	assert_int_equal(turn.look_ns, 100 * MS);
	weir_endpoint_close(of);
	assert_int_equal(weir_endpoint(weir, "s", &of), 0);
	drain(of, 1);
	while (weir_turn_begin(of, 1, WEIR_FOREVER, &turn, &answer)) /* it was slow to come here */
		;
	assert_int_equal(answer.reason, WEIR_REASON_TURN);
	assert_true(turn.look_ns == answer.wait_ns && turn.look_ns <= 20 * MS);
	weir_endpoint_close(of);
	weir_close(weir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_at_once),
		cmocka_unit_test(test_comes_when_it_says),
		cmocka_unit_test(test_in_order_with_others),
		cmocka_unit_test(test_follows_the_rate),
		cmocka_unit_test(test_waits_for_the_gate),
		cmocka_unit_test(test_takes_a_new_place),
		cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_leaving),
		cmocka_unit_test(test_settling),
		cmocka_unit_test(test_class),
		cmocka_unit_test(test_other_rules),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_follows_a_move),
		cmocka_unit_test(test_look_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
