/* SPDX-License-Identifier: Apache-2.0
 *
 * Several endpoints at once (client/several.c, client/all.c), and as many pieces as are there, by
 * the public API on the manual clock.
 */
#include "several.h"

#include "calls_fixture.h"

#include <math.h>
#include <pthread.h>

#define MS WEIR_MILLISECOND

/* Three limits: fast, slow, and one for a crowd. */
struct trio {
	struct calls calls;
	struct weir_endpoint *fast;
	struct weir_endpoint *slow;
	struct weir_endpoint *crowd;
};

static void trio_begin(struct trio *trio)
{
	calls_begin(&trio->calls);
	calls_rule(&trio->calls, "fast", "rate=10/s", "burst=10");
	calls_rule(&trio->calls, "slow", "rate=1/s", "burst=5");
	calls_rule(&trio->calls, "crowd/*", "rate=10/s", "burst=20", "class batch=leave 50 %");
	trio->fast = calls_endpoint(&trio->calls, "fast");
	trio->slow = calls_endpoint(&trio->calls, "slow");
	trio->crowd = calls_endpoint(&trio->calls, "crowd/1");
	/* the first use of each */
	assert_level(trio->fast, 10);
	assert_level(trio->slow, 5);
	assert_level(trio->crowd, 20);
}

static void trio_end(struct trio *trio)
{
	calls_end(&trio->calls);
}

static enum weir_verdict take_two(struct trio *trio, double fast, double slow,
				  struct weir_answer *answer)
{
	const struct weir_want wants[] = {
		{.endpoint = trio->slow, .cost = slow},
		{.endpoint = trio->fast, .cost = fast},
	};

	return weir_acquire_all(wants, 2, answer);
}

static enum weir_verdict wait_two(struct trio *trio, double fast, double slow, uint64_t timeout_ns,
				  struct weir_answer *answer)
{
	const struct weir_want wants[] = {
		{.endpoint = trio->slow, .cost = slow},
		{.endpoint = trio->fast, .cost = fast},
	};

	return weir_wait_all(wants, 2, timeout_ns, answer);
}

/* ---- now or never ---- */

static void all_or_nothing(void **state)
{
	struct trio trio;
	struct weir_answer answer;

	(void)state;
	trio_begin(&trio);
	assert_int_equal(take_two(&trio, 4, 3, &answer), WEIR_ADMIT);
	/* about the one with the lowest level */
	assert_int_equal(answer.which, 0);
	assert_near(answer.level, 2);
	assert_int_equal(answer.wait_ns, 0);
	assert_int_equal(answer.reason, WEIR_REASON_NONE);
	/* one is refused, and the other does not pay */
	assert_int_equal(take_two(&trio, 4, 3, &answer), WEIR_REFUSE);
	assert_int_equal(answer.which, 0);
	assert_int_equal(answer.wait_ns, WEIR_SECOND);
	assert_int_equal(answer.reason, WEIR_REASON_LEVEL);
	assert_near(answer.level, 2);
	assert_level(trio.fast, 6);
	assert_level(trio.slow, 2);
	assert_int_equal(calls_peek(trio.fast).refused, 0);
	assert_int_equal(calls_peek(trio.slow).refused, 1);
	/* both are, and the longest wait counts */
	assert_int_equal(take_two(&trio, 10, 3, &answer), WEIR_REFUSE);
	assert_int_equal(answer.which, 0);
	assert_int_equal(answer.wait_ns, WEIR_SECOND);
	assert_int_equal(take_two(&trio, 10, 2.1, &answer), WEIR_REFUSE);
	assert_int_equal(answer.which, 1);
	assert_int_equal(answer.wait_ns, 400 * MS);
	assert_int_equal(calls_peek(trio.fast).refused, 2);
	assert_int_equal(calls_peek(trio.slow).refused, 3);
	/* the reported wait is enough, and no less is */
	calls_advance(&trio.calls, 400 * MS - 1);
	assert_int_equal(take_two(&trio, 10, 2.1, &answer), WEIR_REFUSE);
	calls_advance(&trio.calls, 1);
	assert_int_equal(take_two(&trio, 10, 2.1, NULL), WEIR_ADMIT);
	assert_level(trio.fast, 0);
	assert_int_equal(calls_peek(trio.fast).granted, 2);
	assert_int_equal(calls_peek(trio.slow).granted, 2);
	assert_near(calls_peek(trio.slow).returned_tokens, 0);
	trio_end(&trio);
}

/* Two wants for one bucket: together they take the sum, or nothing. */
static void one_bucket_twice(void **state)
{
	struct trio trio;
	struct weir_answer answer;

	(void)state;
	trio_begin(&trio);
	struct weir_endpoint *other = calls_endpoint(&trio.calls, "crowd/2");
	const struct weir_want wants[] = {
		{.endpoint = trio.crowd, .cost = 12},
		{.endpoint = other, .cost = 7},
	};
	const struct weir_want more[] = {
		{.endpoint = trio.crowd, .cost = 12},
		{.endpoint = other, .cost = 8.5},
	};

	assert_int_equal(weir_acquire_all(wants, 2, NULL), WEIR_ADMIT);
	assert_level(trio.crowd, 1);
	assert_int_equal(weir_acquire_all(wants, 2, &answer), WEIR_REFUSE);
	assert_int_equal(answer.which, 1);
	assert_int_equal(answer.wait_ns, 1800 * MS);
	assert_level(trio.crowd, 1);
	calls_advance(&trio.calls, 1800 * MS);
	assert_int_equal(weir_acquire_all(wants, 2, NULL), WEIR_ADMIT);
	assert_level(trio.crowd, 0);
	/* more than the burst, by both together */
	assert_int_equal(weir_acquire_all(more, 2, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_EBURST);
	assert_int_equal(answer.which, 1);
	assert_int_equal(weir_wait_all(more, 2, WEIR_FOREVER, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_EBURST);
	trio_end(&trio);
}

static void a_want_has_a_class(void **state)
{
	struct trio trio;
	struct weir_answer answer;

	(void)state;
	trio_begin(&trio);
	struct weir_endpoint *batch = calls_class(&trio.calls, "crowd/1", "batch");
	const struct weir_want by_want[] = {
		{.endpoint = trio.fast, .cost = 1},
		{.endpoint = trio.crowd, .cost = 6, .class_name = "batch"},
	};
	const struct weir_want by_handle[] = {{.endpoint = batch, .cost = 6}};
	const struct weir_want of_none[] = {{.endpoint = trio.crowd, .cost = 6}};
	const struct weir_want wrong[] = {
		{.endpoint = trio.crowd, .cost = 1, .class_name = "No class"}};

	assert_int_equal(weir_acquire_all(by_want, 2, &answer), WEIR_ADMIT);
	assert_int_equal(weir_acquire_all(by_want, 2, &answer), WEIR_REFUSE);
	assert_int_equal(answer.which, 1);
	assert_int_equal(answer.reason, WEIR_REASON_HEADROOM);
	assert_int_equal(answer.wait_ns, 200 * MS);
	assert_int_equal(weir_acquire_all(by_handle, 1, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_HEADROOM);
	assert_int_equal(weir_acquire_all(of_none, 1, &answer), WEIR_ADMIT);
	assert_int_equal(weir_acquire_all(wrong, 1, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_ECLASS);
	assert_level(trio.crowd, 8);
	assert_int_equal(weir_wait_all(by_want, 2, WEIR_SECOND, &answer), WEIR_ADMIT);
	assert_int_equal(answer.wait_ns, 800 * MS);
	assert_level(trio.crowd, 10);
	trio_end(&trio);
}

static void mistakes_are_refused(void **state)
{
	struct trio trio;
	struct weir_answer answer;
	struct weir_want wants[WEIR_WANTS_MAX + 1];

	(void)state;
	trio_begin(&trio);
	struct weir *open = calls_open(&trio.calls, WEIR_POLICY_OPEN);
	struct weir_endpoint *endpoint = scene_endpoint(open, "slow");

	for (size_t i = 0; i <= WEIR_WANTS_MAX; i++)
		wants[i] = (struct weir_want){.endpoint = endpoint, .cost = 0.25};
	assert_int_equal(weir_acquire_all(wants, 0, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_EVALUE);
	assert_int_equal(weir_acquire_all(wants, WEIR_WANTS_MAX + 1, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_EVALUE);
	assert_int_equal(weir_wait_all(wants, WEIR_WANTS_MAX + 1, 0, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_EVALUE);
	assert_int_equal(weir_acquire_all(wants, WEIR_WANTS_MAX, NULL), WEIR_ADMIT);
	assert_level(endpoint, 1);
	wants[3].cost = 0;
	assert_int_equal(weir_acquire_all(wants, WEIR_WANTS_MAX, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_ECOST);
	assert_int_equal(answer.which, 3);
	assert_level(endpoint, 1);
	wants[0] = (struct weir_want){.endpoint = trio.fast, .cost = 1};
	wants[1] = (struct weir_want){.endpoint = endpoint, .cost = 5.5};
	assert_int_equal(weir_acquire_all(wants, 2, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_EBURST);
	assert_int_equal(answer.which, 1);
	assert_level(trio.fast, 10);
	assert_int_equal(weir_wait_all(wants, 2, WEIR_FOREVER, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_EBURST);
	assert_level(trio.fast, 10);
	weir_endpoint_close(endpoint);
	weir_close(open);
	trio_end(&trio);
}

static void closed_and_never(void **state)
{
	struct trio trio;
	struct weir_answer answer;

	(void)state;
	trio_begin(&trio);
	assert_int_equal(weir_gate_close(trio.fast, WEIR_SECOND), 0);
	assert_int_equal(take_two(&trio, 1, 1, &answer), WEIR_REFUSE);
	assert_int_equal(answer.which, 1);
	assert_int_equal(answer.reason, WEIR_REASON_CLOSED);
	assert_level(trio.slow, 5);
	assert_int_equal(weir_gate_open(trio.fast), 0);
	calls_change(&trio.calls, "slow", "rate=0", "burst=5");
	calls_advance(&trio.calls, 10 * WEIR_SECOND);
	assert_int_equal(take_two(&trio, 1, 5, &answer), WEIR_ADMIT);
	assert_int_equal(take_two(&trio, 1, 5, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_NEVER);
	assert_true(answer.wait_ns == WEIR_NEVER);
	assert_int_equal(wait_two(&trio, 1, 5, WEIR_FOREVER, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_NEVER);
	trio_end(&trio);
}

/* A want whose segment is damaged is answered by its handle's policy; the others count. */
static void a_policy_answers_for_its_own(void **state)
{
	struct trio trio;
	struct calls broken;
	struct weir_answer answer;

	(void)state;
	trio_begin(&trio);
	calls_begin(&broken);
	struct weir *open = calls_open(&broken, WEIR_POLICY_OPEN);
	struct weir_endpoint *good = scene_endpoint(open, "name");
	const struct weir_want wants[] = {
		{.endpoint = trio.slow, .cost = 3},
		{.endpoint = good, .cost = 1},
	};
	struct weir_endpoint *closed = calls_endpoint(&broken, "name");
	const struct weir_want others[] = {
		{.endpoint = trio.slow, .cost = 1},
		{.endpoint = closed, .cost = 1},
	};

	assert_int_equal(weir_acquire_all(wants, 2, &answer), WEIR_ADMIT);
	assert_int_equal(answer.fault, 0);
	/* no [default] any more, and the names resolve anew */
	rules_remove(&broken.scene.segment, 0);
	calls_advance(&trio.calls, WEIR_SECOND);
	assert_int_equal(weir_acquire_all(wants, 2, &answer), WEIR_ADMIT);
	assert_int_equal(answer.fault, WEIR_EDAMAGED);
	assert_int_equal(answer.reason, WEIR_REASON_FAULT);
	assert_int_equal(answer.which, 1);
	assert_level(trio.slow, 0);
	assert_int_equal(weir_acquire_all(wants, 2, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, 0);
	assert_int_equal(answer.which, 0);
	calls_advance(&trio.calls, WEIR_SECOND);
	assert_int_equal(weir_acquire_all(others, 2, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_EDAMAGED);
	assert_int_equal(answer.which, 1);
	assert_level(trio.slow, 1);
	assert_int_equal(weir_wait_all(others, 2, WEIR_FOREVER, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_EDAMAGED);
	assert_level(trio.slow, 1);
	assert_int_equal(weir_wait_all(wants, 2, WEIR_FOREVER, &answer), WEIR_ADMIT);
	assert_int_equal(answer.fault, WEIR_EDAMAGED);
	assert_level(trio.slow, 0);
	assert_true(broken.faults > 0);
	weir_endpoint_close(good);
	weir_close(open);
	calls_end(&broken);
	trio_end(&trio);
}

/* What is taken behind the look goes back when another is refused. */
static void what_was_taken_goes_back(void **state)
{
	struct trio trio;
	struct several several;

	(void)state;
	trio_begin(&trio);
	const struct weir_want wants[] = {
		{.endpoint = trio.crowd, .cost = 2}, {.endpoint = trio.slow, .cost = 1},
		{.endpoint = trio.fast, .cost = 2},  {.endpoint = trio.crowd, .cost = 3},
		{.endpoint = trio.slow, .cost = 1},
	};

	assert_int_equal(weir_acquire(trio.slow, 4, NULL), WEIR_ADMIT);
	assert_int_equal(several_begin(&several, wants, 5), 0);
	/* in the order of the buckets, and of the caller within one */
	for (size_t i = 1; i < several.count; i++)
		assert_true(endpoint_binding(several.parts[i - 1].endpoint)->bucket_index <=
			    endpoint_binding(several.parts[i].endpoint)->bucket_index);
	assert_int_equal(several.parts[1].index, 1);
	assert_int_equal(several.parts[2].index, 4);
	assert_int_equal(several.parts[3].index, 0);
	assert_int_equal(several.parts[4].index, 3);
	/* without a look: fast and one of slow are taken before the other of slow is refused */
	assert_int_equal(several_take(&several), ATTEMPT_REFUSED);
	assert_int_equal(several.worst->index, 4);
	assert_level(trio.fast, 10);
	assert_level(trio.slow, 1);
	assert_level(trio.crowd, 20);
	assert_near(calls_peek(trio.fast).returned_tokens, 0);
	trio_end(&trio);
}

/* What was refused stays refused, though all of it would pass by the time it is looked at again. */
static void a_refusal_stands(void **state)
{
	struct trio trio;
	struct several several;

	(void)state;
	trio_begin(&trio);
	const struct weir_want wants[] = {
		{.endpoint = trio.fast, .cost = 2},
		{.endpoint = trio.slow, .cost = 2},
	};

	assert_int_equal(weir_acquire(trio.slow, 4, NULL), WEIR_ADMIT);
	assert_int_equal(several_begin(&several, wants, 2), 0);
	assert_int_equal(several_take(&several), ATTEMPT_REFUSED);
	uint64_t wait = several.worst->attempt.wait_ticks;

	calls_advance(&trio.calls, WEIR_SECOND);
	assert_int_equal(several_refused(&several), ATTEMPT_REFUSED);
	assert_int_equal(several.worst->index, 1);
	assert_true(several.worst->refused);
	assert_true(several.worst->attempt.wait_ticks == wait);
	trio_end(&trio);
}

/* The rules break behind the look: the policies answer there as well. */
static void a_policy_answers_behind_the_look(void **state)
{
	struct trio trio;
	struct several several;

	(void)state;
	trio_begin(&trio);
	struct weir *open = calls_open(&trio.calls, WEIR_POLICY_OPEN);
	struct weir_endpoint *excused = scene_endpoint(open, "name");
	struct weir_endpoint *closed = calls_endpoint(&trio.calls, "name");
	const struct weir_want wants[2][2] = {
		{{.endpoint = trio.fast, .cost = 2}, {.endpoint = excused, .cost = 1}},
		{{.endpoint = trio.fast, .cost = 2}, {.endpoint = closed, .cost = 1}},
	};

	rules_remove(&trio.calls.scene.segment,
		     (uint32_t)names_default_row(&trio.calls.scene.segment));
	assert_int_equal(several_begin(&several, wants[0], 2), 0);
	assert_int_equal(several_take(&several), ATTEMPT_ADMITTED);
	assert_int_equal(several.parts[1].excused, WEIR_EDAMAGED);
	several_undo(&several);
	assert_int_equal(several_begin(&several, wants[1], 2), 0);
	assert_int_equal(several_take(&several), ATTEMPT_FAULT);
	assert_int_equal(several.worst->index, 1);
	assert_int_equal(several.faulty.fault, WEIR_EDAMAGED);
	assert_level(trio.fast, 10);
	weir_endpoint_close(excused);
	weir_close(open);
	trio_end(&trio);
}

/* ---- by a deadline ---- */

static void waits_for_the_longest(void **state)
{
	struct trio trio;
	struct weir_answer answer;

	(void)state;
	trio_begin(&trio);
	/* nothing to wait for */
	assert_int_equal(wait_two(&trio, 8, 4, 0, &answer), WEIR_ADMIT);
	assert_int_equal(answer.wait_ns, 0);
	assert_int_equal(calls_peek(trio.fast).waited, 0);
	/* fast lacks 3, slow lacks 2: 300 ms and 2 s */
	assert_int_equal(wait_two(&trio, 5, 3, 2 * WEIR_SECOND, &answer), WEIR_ADMIT);
	assert_int_equal(answer.wait_ns, 2 * WEIR_SECOND);
	assert_int_equal(trio.calls.waits, 1);
	assert_level(trio.slow, 0);
	assert_level(trio.fast, 5);
	assert_int_equal(calls_peek(trio.slow).waited, 1);
	assert_int_equal(calls_peek(trio.fast).waited, 0);
	/* too late, by a nanosecond: nothing is taken, and nobody sleeps */
	assert_int_equal(wait_two(&trio, 5, 3, 3 * WEIR_SECOND - 1, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_DEADLINE);
	assert_int_equal(answer.which, 0);
	assert_int_equal(answer.wait_ns, 3 * WEIR_SECOND);
	assert_int_equal(trio.calls.waits, 1);
	assert_level(trio.slow, 0);
	assert_level(trio.fast, 5);
	trio_end(&trio);
}

static struct trio *stage;

/* While the call waits for slow, others empty fast. */
static void empty_fast(void)
{
	stage->calls.on_wait = NULL;
	assert_int_equal(
		weir_reserve(stage->fast, 10, WEIR_FOREVER, &(struct weir_reservation){{0}}, NULL),
		WEIR_ADMIT);
	assert_int_equal(
		weir_reserve(stage->fast, 10, WEIR_FOREVER, &(struct weir_reservation){{0}}, NULL),
		WEIR_ADMIT);
}

static void waits_in_one_line_after_the_other(void **state)
{
	struct trio trio;
	struct weir_answer answer;

	(void)state;
	trio_begin(&trio);
	stage = &trio;
	assert_int_equal(weir_acquire(trio.slow, 5, NULL), WEIR_ADMIT);
	trio.calls.on_wait = empty_fast;
	/* a second for slow; 20 of fast are taken meanwhile, and 10 come back: 10 + 1 more */
	assert_int_equal(wait_two(&trio, 1, 1, 5 * WEIR_SECOND, &answer), WEIR_ADMIT);
	assert_int_equal(answer.wait_ns, 1100 * MS);
	assert_int_equal(trio.calls.waits, 2);
	assert_level(trio.fast, 0);
	trio_end(&trio);
}

/* The second line is too long for what is left of the time: the first place goes back. */
static void gives_back_at_the_deadline(void **state)
{
	struct trio trio;
	struct weir_answer answer;

	(void)state;
	trio_begin(&trio);
	stage = &trio;
	assert_int_equal(weir_acquire(trio.slow, 5, NULL), WEIR_ADMIT);
	trio.calls.on_wait = empty_fast;
	assert_int_equal(wait_two(&trio, 1, 1, 1050 * MS, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_DEADLINE);
	assert_int_equal(answer.which, 1);
	assert_int_equal(answer.wait_ns, 100 * MS);
	assert_level(trio.fast, 0);
	assert_level(trio.slow, 1);
	assert_near(calls_peek(trio.slow).returned_tokens, 0);
	assert_int_equal(calls_peek(trio.slow).granted, 1);
	trio_end(&trio);
}

static void close_slow(void)
{
	stage->calls.on_wait = NULL;
	empty_fast();
	assert_int_equal(weir_gate_close(stage->slow, 1050 * MS), 0);
}

/* What is held when its endpoint is closed is not used behind the closure, nor in it. */
static void looks_back_at_what_it_holds(void **state)
{
	struct trio trio;
	struct weir_answer answer;

	(void)state;
	trio_begin(&trio);
	stage = &trio;
	assert_int_equal(weir_acquire(trio.slow, 4, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire(trio.fast, 10, NULL), WEIR_ADMIT);
	trio.calls.on_wait = close_slow;
	/* 100 ms for fast; slow is free then, but closes for 1.05 s and opens empty: 1 s more */
	assert_int_equal(wait_two(&trio, 1, 1, 10 * WEIR_SECOND, &answer), WEIR_ADMIT);
	assert_in_range(answer.wait_ns, 2050 * MS, 2050 * MS + 2 * 65536);
	trio_end(&trio);
}

/* What happens to slow, whose place is held by now, while the call waits for fast. */
static void (*behind_slow)(void);

static void empty_fast_then(void)
{
	empty_fast();
	stage->calls.on_wait = behind_slow;
}

/* Slow comes up in a second; fast, which others empty meanwhile, 100 ms after that. */
static enum weir_verdict hold_slow(struct trio *trio, void (*happens)(void), uint64_t timeout_ns,
				   struct weir_answer *answer)
{
	trio_begin(trio);
	stage = trio;
	assert_int_equal(weir_acquire(trio->slow, 5, NULL), WEIR_ADMIT);
	behind_slow = happens;
	trio->calls.on_wait = empty_fast_then;
	return wait_two(trio, 1, 1, timeout_ns, answer);
}

static void close_held(void)
{
	stage->calls.on_wait = NULL;
	assert_int_equal(weir_gate_close(stage->slow, WEIR_SECOND), 0);
}

static _Atomic bool clock_stops;

static void *move_clock(void *context)
{
	struct calls *calls = context;

	while (!atomic_load(&clock_stops)) {
		nanosleep(&(struct timespec){0, 1000000}, NULL);
		calls_advance(calls, 50 * MS);
	}
	return NULL;
}

static pthread_t clock_thread;

static void close_held_and_go_on(void)
{
	close_held();
	atomic_store(&clock_stops, false);
	assert_int_equal(pthread_create(&clock_thread, NULL, move_clock, &stage->calls), 0);
}

/* A place that has come up before its endpoint was closed is kept, and used behind the closure. */
static void waits_out_a_closure_of_what_it_holds(void **state)
{
	struct trio trio;
	struct weir_answer answer;

	(void)state;
	assert_int_equal(hold_slow(&trio, close_held_and_go_on, WEIR_FOREVER, &answer), WEIR_ADMIT);
	atomic_store(&clock_stops, true);
	pthread_join(clock_thread, NULL);
	assert_true(answer.wait_ns >= 2 * WEIR_SECOND);
	assert_int_equal(calls_peek(trio.slow).granted, 2);
	assert_int_equal(calls_peek(trio.slow).waited, 1);
	assert_int_equal(calls_peek(trio.fast).waited, 1);
	trio_end(&trio);
}

/* The closure lasts beyond the deadline: refused, and what is held of fast goes back. */
static void gives_up_behind_a_closure_of_what_it_holds(void **state)
{
	struct trio trio;
	struct weir_answer answer;

	(void)state;
	assert_int_equal(hold_slow(&trio, close_held, 1500 * MS, &answer), WEIR_REFUSE);
	assert_int_equal(answer.which, 0);
	assert_int_equal(answer.reason, WEIR_REASON_CLOSED);
	/* since the wait for fast has begun: 100 ms of it are over; and a second, as it opens empty
	 */
	assert_in_range(answer.wait_ns, 1900 * MS, 1900 * MS + 2 * 65536);
	assert_level(trio.fast, 1);
	assert_int_equal(calls_peek(trio.slow).granted, 1);
	trio_end(&trio);
}

static void reset_held(void)
{
	const struct segment *segment = &stage->calls.scene.segment;
	uint32_t row = (uint32_t)names_exact_row(segment, "slow");

	stage->calls.on_wait = NULL;
	rules_reset(&stage->calls.scene.segment, row, row);
}

/* A place that a reset has voided while the next was waited for is taken anew. */
static void takes_what_it_held_anew(void **state)
{
	struct trio trio;
	struct weir_answer answer;

	(void)state;
	assert_int_equal(hold_slow(&trio, reset_held, 10 * WEIR_SECOND, &answer), WEIR_ADMIT);
	assert_int_equal(answer.wait_ns, 1100 * MS);
	assert_level(trio.slow, 4);
	assert_level(trio.fast, 0);
	trio_end(&trio);
}

/* Without [default] and rules of their own, names do not resolve any more. */
static void remove_all(void)
{
	struct segment *segment = &stage->calls.scene.segment;

	stage->calls.on_wait = NULL;
	rules_remove(segment, (uint32_t)names_default_row(segment));
	rules_remove(segment, (uint32_t)names_exact_row(segment, "fast"));
}

/* The rules break while the call sleeps: its policy answers, and what is held goes back. */
static void rules_break_while_it_waits(void **state)
{
	struct trio trio;
	struct weir_answer answer;

	(void)state;
	assert_int_equal(hold_slow(&trio, remove_all, 10 * WEIR_SECOND, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_EDAMAGED);
	assert_int_equal(answer.reason, WEIR_REASON_FAULT);
	assert_int_equal(answer.which, 1);
	assert_true(trio.calls.faults > 0);
	assert_true(fabs(calls_peek(trio.slow).level - 1.1) < 1e-6);
	assert_int_equal(calls_peek(trio.slow).granted, 1);
	trio_end(&trio);
}

static void rules_break_under_an_open_policy(void **state)
{
	struct trio trio;
	struct weir_answer answer;

	(void)state;
	trio_begin(&trio);
	stage = &trio;
	struct weir *open = calls_open(&trio.calls, WEIR_POLICY_OPEN);
	struct weir_endpoint *fast = scene_endpoint(open, "fast");
	const struct weir_want wants[] = {
		{.endpoint = trio.slow, .cost = 1},
		{.endpoint = fast, .cost = 1},
	};

	assert_int_equal(weir_acquire(fast, 10, NULL), WEIR_ADMIT);
	trio.calls.on_wait = remove_all;
	/* the other is taken all the same */
	assert_int_equal(weir_wait_all(wants, 2, WEIR_FOREVER, &answer), WEIR_ADMIT);
	assert_int_equal(answer.fault, WEIR_EDAMAGED);
	assert_int_equal(answer.which, 1);
	assert_int_equal(calls_peek(trio.slow).granted, 1);
	weir_endpoint_close(fast);
	weir_close(open);
	trio_end(&trio);
}

/* Whoever wants to know no more than the verdict. */
static void answers_are_optional(void **state)
{
	struct trio trio;

	(void)state;
	trio_begin(&trio);
	assert_int_equal(take_two(&trio, 10, 5, NULL), WEIR_ADMIT);
	assert_int_equal(take_two(&trio, 1, 1, NULL), WEIR_REFUSE);
	assert_int_equal(wait_two(&trio, 1, 1, 0, NULL), WEIR_REFUSE);
	assert_int_equal(take_two(&trio, -1, 1, NULL), WEIR_REFUSE);
	rules_remove(&trio.calls.scene.segment,
		     (uint32_t)names_default_row(&trio.calls.scene.segment));
	rules_remove(&trio.calls.scene.segment,
		     (uint32_t)names_exact_row(&trio.calls.scene.segment, "fast"));
	assert_int_equal(take_two(&trio, 1, 1, NULL), WEIR_REFUSE);
	assert_int_equal(wait_two(&trio, 1, 1, WEIR_SECOND, NULL), WEIR_REFUSE);
	trio_end(&trio);
}

static void reset_slow(void)
{
	stage->calls.on_wait = NULL;
	rules_reset(&stage->calls.scene.segment,
		    (uint32_t)names_exact_row(&stage->calls.scene.segment, "slow"),
		    (uint32_t)names_exact_row(&stage->calls.scene.segment, "slow"));
}

/* A place that a reset has voided is taken anew. */
static void takes_a_void_place_anew(void **state)
{
	struct trio trio;
	struct weir_answer answer;

	(void)state;
	trio_begin(&trio);
	stage = &trio;
	assert_int_equal(weir_acquire(trio.slow, 5, NULL), WEIR_ADMIT);
	trio.calls.on_wait = reset_slow;
	trio.calls.moves = false;
	assert_int_equal(wait_two(&trio, 1, 1, 10 * WEIR_SECOND, &answer), WEIR_ADMIT);
	assert_int_equal(answer.wait_ns, 0);
	assert_level(trio.slow, 4);
	assert_level(trio.fast, 9);
	trio_end(&trio);
}

/* ---- shadows ---- */

static void shadows_of_several(void **state)
{
	struct trio trio;
	struct weir_answer answer;

	(void)state;
	trio_begin(&trio);
	calls_change(&trio.calls, "slow", "rate=1/s", "burst=5", "shadow=yes");
	calls_change(&trio.calls, "fast", "rate=10/s", "burst=10", "shadow_rate=1/s",
		     "shadow_burst=2");
	assert_int_equal(take_two(&trio, 2, 5, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, 0);
	assert_int_equal(take_two(&trio, 2, 5, &answer), WEIR_ADMIT);
	assert_int_equal(calls_peek(trio.slow).shadow_passed, 1);
	assert_int_equal(calls_peek(trio.fast).shadow_refused, 1);
	assert_int_equal(answer.shadow, WEIR_REASON_LEVEL);
	assert_int_equal(answer.which, 0);
	assert_int_equal(answer.shadow_wait_ns, 5 * WEIR_SECOND);
	/* refused by the real one: what was not paid in the shadow is not given back to it */
	assert_int_equal(take_two(&trio, 7, 1, &answer), WEIR_REFUSE);
	assert_int_equal(answer.which, 1);
	assert_int_equal(calls_peek(trio.slow).shadow_passed, 1);
	assert_level(trio.slow, 0);
	assert_int_equal(wait_two(&trio, 7, 1, WEIR_SECOND, &answer), WEIR_ADMIT);
	assert_int_equal(answer.wait_ns, 100 * MS);
	assert_level(trio.fast, 0);
	trio_end(&trio);
}

/* ---- as many as are there ---- */

static void takes_what_is_there(void **state)
{
	struct trio trio;
	struct weir_answer answer;
	uint64_t taken = 77;

	(void)state;
	trio_begin(&trio);
	assert_int_equal(weir_acquire_up_to(trio.fast, 1, 1, 4, &taken, &answer), WEIR_ADMIT);
	assert_int_equal(taken, 4);
	assert_near(answer.level, 6);
	/* whole pieces alone */
	assert_int_equal(weir_acquire_up_to(trio.fast, 2.5, 1, 100, &taken, &answer), WEIR_ADMIT);
	assert_int_equal(taken, 2);
	assert_near(answer.level, 1);
	/* fewer than the least are none */
	taken = 77;
	assert_int_equal(weir_acquire_up_to(trio.fast, 1, 3, 100, &taken, &answer), WEIR_REFUSE);
	assert_int_equal(taken, 77);
	assert_int_equal(answer.reason, WEIR_REASON_LEVEL);
	assert_int_equal(answer.wait_ns, 200 * MS);
	assert_level(trio.fast, 1);
	calls_advance(&trio.calls, 200 * MS);
	assert_int_equal(weir_acquire_up_to(trio.fast, 1, 3, UINT64_MAX, &taken, NULL), WEIR_ADMIT);
	assert_int_equal(taken, 3);

	struct weir_level level = calls_peek(trio.fast);

	assert_int_equal(level.granted, 3);
	assert_near(level.granted_tokens, 12);
	assert_int_equal(level.refused, 1);
	trio_end(&trio);
}

static void pieces_that_cannot_be(void **state)
{
	struct trio trio;
	struct weir_answer answer;
	uint64_t taken = 77;

	(void)state;
	trio_begin(&trio);
	assert_int_equal(weir_acquire_up_to(trio.fast, 1, 0, 4, &taken, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_EVALUE);
	assert_int_equal(weir_acquire_up_to(trio.fast, 1, 5, 4, &taken, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_EVALUE);
	assert_int_equal(weir_acquire_up_to(trio.fast, 0, 1, 4, &taken, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_ECOST);
	assert_int_equal(weir_acquire_up_to(trio.fast, 1, 11, 20, &taken, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_EBURST);
	assert_int_equal(
		weir_acquire_up_to(trio.fast, 1e15, UINT64_MAX, UINT64_MAX, &taken, &answer),
		WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_EBURST);
	assert_int_equal(taken, 77);
	assert_level(trio.fast, 10);
	trio_end(&trio);
}

static void pieces_of_a_class_and_without_bound(void **state)
{
	struct trio trio;
	struct weir_answer answer;
	uint64_t taken = 0;

	(void)state;
	trio_begin(&trio);
	struct weir_endpoint *batch = calls_class(&trio.calls, "crowd/1", "batch");

	assert_int_equal(weir_acquire_up_to(batch, 3, 1, 100, &taken, &answer), WEIR_ADMIT);
	assert_int_equal(taken, 3);
	assert_near(answer.level, 11);
	assert_int_equal(weir_acquire_up_to(batch, 3, 1, 100, &taken, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_HEADROOM);
	calls_change(&trio.calls, "slow", "rate=unlimited");
	assert_int_equal(weir_acquire_up_to(trio.slow, 3, 1, 1000000, &taken, &answer), WEIR_ADMIT);
	assert_int_equal(taken, 1000000);
	trio_end(&trio);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_or_nothing),
		cmocka_unit_test(one_bucket_twice),
		cmocka_unit_test(a_want_has_a_class),
		cmocka_unit_test(mistakes_are_refused),
		cmocka_unit_test(closed_and_never),
		cmocka_unit_test(a_policy_answers_for_its_own),
		cmocka_unit_test(what_was_taken_goes_back),
		cmocka_unit_test(a_refusal_stands),
		cmocka_unit_test(a_policy_answers_behind_the_look),
		cmocka_unit_test(waits_for_the_longest),
		cmocka_unit_test(waits_in_one_line_after_the_other),
		cmocka_unit_test(gives_back_at_the_deadline),
		cmocka_unit_test(looks_back_at_what_it_holds),
		cmocka_unit_test(waits_out_a_closure_of_what_it_holds),
		cmocka_unit_test(gives_up_behind_a_closure_of_what_it_holds),
		cmocka_unit_test(takes_what_it_held_anew),
		cmocka_unit_test(rules_break_while_it_waits),
		cmocka_unit_test(rules_break_under_an_open_policy),
		cmocka_unit_test(answers_are_optional),
		cmocka_unit_test(takes_a_void_place_anew),
		cmocka_unit_test(shadows_of_several),
		cmocka_unit_test(takes_what_is_there),
		cmocka_unit_test(pieces_that_cannot_be),
		cmocka_unit_test(pieces_of_a_class_and_without_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
