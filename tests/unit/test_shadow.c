/* SPDX-License-Identifier: Apache-2.0
 *
 * Shadows (lib/shadow.c, client/weigh.c): an endpoint in shadow mode counts what it would refuse
 * and lets it pass; a shadow limit beside a real one counts without a say. Both through the public
 * API.
 */
#include "shadow.h"

#include "calls_fixture.h"

#define MS WEIR_MILLISECOND

static struct shadow_sum sum_of(struct calls *calls, const char *name)
{
	struct resolution found;
	struct shadow_sum sum;

	assert_int_equal(names_resolve(&calls->scene.segment, name, false, &found), 0);
	shadow_read(&calls->scene.segment.buckets[found.bucket], &sum);
	return sum;
}

/* Counts as tokens of the rule. */
static double tokens_of(struct calls *calls, struct weir_endpoint *endpoint, const char *name,
			enum shadow_count units)
{
	return (double)sum_of(calls, name).counts[units] * calls_peek(endpoint).unit;
}

/* ---- shadow mode ---- */

static void what_is_refused_passes_and_is_counted(void **state)
{
	struct calls *calls = *state;
	struct weir_answer answer;
	struct weir_endpoint *api =
		calls_ruled(calls, "api", "rate=10/s", "burst=10", "shadow=yes");

	assert_int_equal(weir_acquire(api, 8, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, 0);
	assert_int_equal(weir_acquire(api, 5, &answer), WEIR_ADMIT);
	assert_int_equal(answer.reason, WEIR_REASON_NONE);
	assert_int_equal(answer.fault, 0);
	assert_int_equal(answer.wait_ns, 0);
	assert_int_equal(answer.shadow, WEIR_REASON_LEVEL);
	assert_int_equal(answer.shadow_wait_ns, 300 * MS);
	/* the level is what the limit would have, and it refills */
	assert_near(answer.level, 2);
	calls_advance(calls, 300 * MS);
	assert_int_equal(weir_acquire(api, 5, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, 0);
	/* a cost that would never pass, and one that is none */
	assert_int_equal(weir_acquire(api, 11, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, WEIR_REASON_NEVER);
	assert_true(answer.shadow_wait_ns == WEIR_NEVER);
	assert_int_equal(weir_acquire(api, -1, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_ECOST);

	struct weir_level level = calls_peek(api);

	assert_int_equal(level.granted, 4);
	assert_int_equal(level.refused, 0);
	assert_near(level.granted_tokens, 29);
	assert_int_equal(level.shadow_passed, 2);
	assert_int_equal(level.shadow_refused, 0);
	assert_near(tokens_of(calls, api, "api", SHADOW_PASSED_UNITS), 16);
}

static void nobody_waits_in_shadow_mode(void **state)
{
	struct calls *calls = *state;
	struct weir_answer answer;
	struct weir_reservation place;
	struct weir_endpoint *api =
		calls_ruled(calls, "api", "rate=10/s", "burst=10", "shadow=yes");

	assert_int_equal(weir_acquire(api, 10, NULL), WEIR_ADMIT);
	/* it would have waited, and passed in time: that is no refusal */
	assert_int_equal(weir_wait(api, 5, WEIR_SECOND, &answer), WEIR_ADMIT);
	assert_int_equal(answer.wait_ns, 0);
	assert_int_equal(answer.shadow, 0);
	assert_level(api, -5);
	/* and that is one */
	assert_int_equal(weir_wait(api, 6, WEIR_SECOND, &answer), WEIR_ADMIT);
	assert_int_equal(answer.wait_ns, 0);
	assert_int_equal(answer.shadow, WEIR_REASON_DEADLINE);
	assert_int_equal(answer.shadow_wait_ns, 1100 * MS);
	assert_level(api, -5);
	assert_int_equal(weir_reserve(api, 5, WEIR_SECOND, &place, &answer), WEIR_ADMIT);
	assert_int_equal(answer.wait_ns, 0);
	assert_int_equal(weir_reservation_wait(api, &place, WEIR_FOREVER, &answer), WEIR_ADMIT);
	assert_int_equal(weir_gate_close(api, WEIR_SECOND), 0);
	assert_int_equal(weir_acquire(api, 1, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, WEIR_REASON_CLOSED);
	assert_int_equal(weir_wait(api, 1, 0, &answer), WEIR_ADMIT);
	assert_int_equal(weir_reservation_wait(api, &place, 0, &answer), WEIR_ADMIT);
	assert_int_equal(calls->waits, 0);
	assert_int_equal(calls_peek(api).waited, 0);
	assert_int_equal(calls_peek(api).shadow_passed, 3);
}

/* What was not paid cannot be given back, and a debt of it is none. */
static void unpaid_places_settle_to_nothing(void **state)
{
	struct calls *calls = *state;
	struct weir_reservation place;
	double back = -1;
	struct weir_endpoint *api =
		calls_ruled(calls, "api", "rate=10/s", "burst=10", "shadow=yes");

	assert_int_equal(weir_acquire(api, 8, NULL), WEIR_ADMIT);
	assert_int_equal(weir_reserve(api, 4, 0, &place, NULL), WEIR_ADMIT);
	assert_int_equal(weir_cancel(api, &place, &back), 0);
	assert_near(back, 0);
	assert_level(api, 2);
	for (int cost = 0; cost < 10; cost += 3) {
		assert_int_equal(weir_reserve(api, 4, 0, &place, NULL), WEIR_ADMIT);
		assert_int_equal(weir_settle(api, &place, cost), 0);
		assert_int_equal(weir_settle(api, &place, cost), WEIR_ESPENT);
		assert_level(api, 2);
	}
	/* one that was paid goes back as ever */
	assert_int_equal(weir_reserve(api, 2, 0, &place, NULL), WEIR_ADMIT);
	assert_int_equal(weir_cancel(api, &place, &back), 0);
	assert_near(back, 2);
}

static void all_that_is_asked_for_passes(void **state)
{
	struct calls *calls = *state;
	struct weir_answer answer;
	uint64_t taken = 0;
	struct weir_endpoint *api = calls_ruled(calls, "api", "rate=10/s", "burst=10", "shadow=yes",
						"class batch=leave 4");
	struct weir_endpoint *batch = calls_class(calls, "api", "batch");

	assert_int_equal(weir_acquire_up_to(api, 3, 1, 5, &taken, &answer), WEIR_ADMIT);
	assert_int_equal(taken, 5);
	assert_int_equal(answer.shadow, WEIR_REASON_LEVEL);
	/* three pieces were there, and two were not */
	assert_near(answer.level, 1);
	assert_near(tokens_of(calls, api, "api", SHADOW_PASSED_UNITS), 6);
	assert_int_equal(weir_acquire(batch, 1, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, WEIR_REASON_HEADROOM);
	assert_int_equal(answer.shadow_wait_ns, 400 * MS);
}

/* Switched off, the limit goes on from the level that it had in the shadow. */
static void the_mode_ends_where_it_was(void **state)
{
	struct calls *calls = *state;
	struct weir_answer answer;
	struct weir_endpoint *api =
		calls_ruled(calls, "api", "rate=10/s", "burst=10", "shadow=yes");

	assert_int_equal(scene_drain(api), 1000000);
	assert_int_equal(calls_peek(api).shadow_passed, 1000000 - 10);
	calls_change(calls, "api", "rate=10/s", "burst=10");
	assert_int_equal(weir_acquire(api, 1, &answer), WEIR_REFUSE);
	assert_int_equal(answer.wait_ns, 100 * MS);
	calls_change(calls, "api", "rate=10/s", "burst=10", "shadow=yes");
	assert_int_equal(weir_acquire(api, 1, &answer), WEIR_ADMIT);
	assert_int_equal(calls_peek(api).shadow_passed, 1000000 - 9);
	assert_int_equal(calls_peek(api).refused, 1);
}

/* ---- a shadow limit ---- */

static void a_shadow_limit_counts_without_a_say(void **state)
{
	struct calls *calls = *state;
	struct weir_answer answer;
	struct weir_endpoint *api = calls_ruled(calls, "api", "rate=10/s", "burst=10",
						"shadow_rate=5/s", "shadow_burst=4");

	assert_int_equal(weir_acquire(api, 3, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, 0);
	assert_int_equal(weir_acquire(api, 2, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, WEIR_REASON_LEVEL);
	assert_int_equal(answer.shadow_wait_ns, 200 * MS);
	assert_near(answer.level, 5);
	/* what it would have refused was not charged to it */
	assert_int_equal(weir_acquire(api, 1, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, 0);
	assert_int_equal(weir_acquire(api, 4.5, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_LEVEL);
	assert_int_equal(answer.shadow, WEIR_REASON_NEVER);
	/* it refills at its own rate, up to its own burst */
	calls_advance(calls, 600 * MS);
	assert_int_equal(weir_acquire(api, 3, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, 0);
	assert_int_equal(weir_acquire(api, 0.001, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, WEIR_REASON_LEVEL);
	calls_advance(calls, 100 * WEIR_SECOND);
	assert_int_equal(weir_acquire(api, 4, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire(api, 0.001, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, WEIR_REASON_LEVEL);

	struct weir_level level = calls_peek(api);

	assert_int_equal(level.granted, 7);
	assert_int_equal(level.refused, 1);
	assert_int_equal(level.shadow_passed, 0);
	assert_int_equal(level.shadow_refused, 4);
}

/* A looser limit: what the real one refuses, and the shadow would not. */
static void every_call_is_weighed(void **state)
{
	struct calls *calls = *state;
	struct weir_endpoint *api = calls_ruled(calls, "api", "rate=10/s", "burst=5",
						"shadow_rate=20/s", "shadow_burst=10");

	for (int i = 0; i < 20; i++)
		weir_acquire(api, 1, NULL);
	assert_int_equal(calls_peek(api).refused, 15);
	assert_int_equal(calls_peek(api).shadow_refused, 10);
	/* behind a closure it says nothing: any limit is closed there */
	assert_int_equal(weir_gate_close(api, WEIR_SECOND), 0);
	for (int i = 0; i < 5; i++)
		weir_acquire(api, 1, NULL);
	assert_int_equal(calls_peek(api).refused, 20);
	assert_int_equal(calls_peek(api).shadow_refused, 10);
}

/* Who is willing to wait is refused by the shadow only if its turn would come too late there. */
static void waits_are_weighed_by_what_is_left_of_them(void **state)
{
	struct calls *calls = *state;
	struct weir_answer answer;
	struct weir_reservation place;
	struct weir_endpoint *api = calls_ruled(calls, "api", "rate=10/s", "burst=10",
						"shadow_rate=1/s", "shadow_burst=2");

	assert_int_equal(weir_wait(api, 2, 3 * WEIR_SECOND, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(weir_wait(api, 1, 3 * WEIR_SECOND, &answer), WEIR_ADMIT);
		assert_int_equal(answer.shadow, 0);
	}
	assert_int_equal(weir_wait(api, 1, 3 * WEIR_SECOND, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, WEIR_REASON_LEVEL);
	assert_int_equal(answer.shadow_wait_ns, 4 * WEIR_SECOND);
	assert_int_equal(weir_reserve(api, 1, 4 * WEIR_SECOND, &place, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, 0);
	assert_int_equal(calls->waits, 0);
	/* a class waits without a place, there as here */
	calls_change(calls, "api", "rate=10/s", "burst=10", "shadow_rate=1/s", "shadow_burst=2",
		     "class batch=leave 50 %");
	calls_advance(calls, 100 * WEIR_SECOND);
	struct weir_endpoint *batch = calls_class(calls, "api", "batch");

	assert_int_equal(weir_wait(batch, 1, WEIR_FOREVER, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, 0);
	assert_int_equal(weir_wait(batch, 1, WEIR_FOREVER, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, WEIR_REASON_LEVEL);
	assert_int_equal(answer.shadow_wait_ns, WEIR_SECOND);
}

/* As the rule's own queue, that of the shadow is no longer than max_wait. */
static void max_wait_bounds_the_shadow(void **state)
{
	struct calls *calls = *state;
	struct weir_answer answer;
	struct weir_endpoint *api = calls_ruled(calls, "api", "rate=10/s", "burst=10",
						"max_wait=2s", "shadow_rate=1/s", "shadow_burst=2");

	for (int i = 0; i < 4; i++) {
		assert_int_equal(weir_wait(api, 1, WEIR_FOREVER, &answer), WEIR_ADMIT);
		assert_int_equal(answer.shadow, 0);
	}
	assert_int_equal(weir_wait(api, 1, WEIR_FOREVER, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, WEIR_REASON_LEVEL);
}

static void beside_an_unlimited_rule(void **state)
{
	struct calls *calls = *state;
	struct weir_answer answer;
	struct weir_endpoint *api =
		calls_ruled(calls, "api", "rate=unlimited", "shadow_rate=1/d", "shadow_burst=3");

	for (int i = 0; i < 5; i++)
		assert_int_equal(weir_acquire(api, 1, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, WEIR_REASON_LEVEL);
	/* a day, to the last nanosecond but for the rounding of the speed */
	assert_in_range(answer.shadow_wait_ns, 86400 * WEIR_SECOND - 1000, 86400 * WEIR_SECOND);
	assert_int_equal(calls_peek(api).shadow_refused, 2);
}

/* ---- changes ---- */

/* A change of rate or burst keeps what was used; one that comes new begins full. */
static void changes_keep_what_was_used(void **state)
{
	struct calls *calls = *state;
	struct weir_answer answer;
	struct weir_endpoint *api = calls_ruled(calls, "api", "rate=100/s", "burst=100",
						"shadow_rate=1/s", "shadow_burst=10");

	assert_int_equal(weir_acquire(api, 6, NULL), WEIR_ADMIT);
	calls_change(calls, "api", "rate=50/s", "burst=100", "shadow_rate=2/s", "shadow_burst=8");
	assert_int_equal(weir_acquire(api, 2, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, 0);
	assert_int_equal(weir_acquire(api, 1, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, WEIR_REASON_LEVEL);
	assert_int_equal(answer.shadow_wait_ns, 500 * MS);
	calls_change(calls, "api", "rate=50/s", "burst=100");
	assert_int_equal(weir_acquire(api, 1, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, 0);
	calls_change(calls, "api", "rate=50/s", "burst=100", "shadow_rate=1/s", "shadow_burst=3");
	assert_int_equal(weir_acquire(api, 3, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, 0);
	assert_int_equal(weir_acquire(api, 1, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, WEIR_REASON_LEVEL);
	assert_int_equal(calls_peek(api).shadow_refused, 2);
}

/* Publications that change nothing (a sleeper is woken) leave the shadow where it was. */
static void publishing_leaves_it_alone(void **state)
{
	struct calls *calls = *state;
	struct weir_answer answer;
	struct weir_endpoint *api = calls_ruled(calls, "api", "rate=100/s", "burst=100",
						"shadow_rate=3/s", "shadow_burst=10");
	uint32_t row = (uint32_t)names_exact_row(&calls->scene.segment, "api");

	assert_int_equal(weir_acquire(api, 10, NULL), WEIR_ADMIT);
	for (int i = 0; i < 1000; i++) {
		rules_wake(&calls->scene.segment, row);
		calls_advance(calls, MS);
	}
	assert_int_equal(weir_acquire(api, 3, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, 0);
	assert_int_equal(weir_acquire(api, 0.01, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, WEIR_REASON_LEVEL);
	/* a re-calibration that credits two seconds of sleep */
	assert_int_equal(rules_rebase(&calls->scene.segment, SCENE_SECOND, 2 * SCENE_SECOND), 0);
	assert_int_equal(weir_acquire(api, 6, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, 0);
	assert_int_equal(weir_acquire(api, 0.01, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, WEIR_REASON_LEVEL);
	/* a reset fills it too */
	rules_reset(&calls->scene.segment, row, row);
	assert_int_equal(weir_acquire(api, 10, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, 0);
}

/* Another unit, another row: mark and counts go along, in the new unit. */
static void it_moves_to_another_row(void **state)
{
	struct calls *calls = *state;
	struct weir_answer answer;
	struct weir_endpoint *api = calls_ruled(calls, "api", "rate=1/h", "burst=10",
						"shadow_rate=1/h", "shadow_burst=5");
	int64_t row = names_exact_row(&calls->scene.segment, "api");

	assert_int_equal(weir_acquire(api, 4, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire(api, 2, NULL), WEIR_ADMIT);
	assert_int_not_equal(calls_change(calls, "api", "rate=1000000000/s", "burst=10",
					  "shadow_rate=1/h", "shadow_burst=5"),
			     row);
	assert_int_equal(calls_peek(api).shadow_refused, 1);
	assert_near(tokens_of(calls, api, "api", SHADOW_REFUSED_UNITS), 2);
	assert_int_equal(weir_acquire(api, 1, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, 0);
	assert_int_equal(weir_acquire(api, 1, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, WEIR_REASON_LEVEL);
}

/* A name below [default] has a shadow of its own, which goes along when it gets a rule. */
static void names_have_shadows_of_their_own(void **state)
{
	struct calls *calls = *state;
	struct weir_answer answer;

	calls_change(calls, "*", "rate=100/s", "burst=100", "shadow_rate=1/s", "shadow_burst=5");
	struct weir_endpoint *a = calls_endpoint(calls, "a");
	struct weir_endpoint *b = calls_endpoint(calls, "b");

	assert_int_equal(weir_acquire(a, 4, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire(a, 2, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire(b, 5, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, 0);
	assert_int_equal(calls_peek(a).shadow_refused, 1);
	assert_int_equal(calls_peek(b).shadow_refused, 0);
	calls_rule(calls, "a", "rate=100/s", "burst=100", "shadow_rate=1/s", "shadow_burst=5");
	assert_int_equal(calls_peek(a).shadow_refused, 1);
	assert_int_equal(weir_acquire(a, 1, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, 0);
	assert_int_equal(weir_acquire(a, 1, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, WEIR_REASON_LEVEL);
	/* new ones all begin full, whatever an earlier one has left */
	calls_change(calls, "*", "rate=100/s", "burst=100");
	calls_change(calls, "*", "rate=100/s", "burst=100", "shadow_rate=1/s", "shadow_burst=5");
	assert_int_equal(weir_acquire(b, 5, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, 0);
}

/* A new pair: marks and counts of rules and of names. */
static void it_moves_to_another_pair(void **state)
{
	struct calls *calls = *state;
	struct segment next;
	struct weir_answer answer;

	calls_rule(calls, "api", "rate=10/s", "burst=10", "shadow=yes", "shadow_rate=1/s",
		   "shadow_burst=5", "class batch=leave 1");
	calls_change(calls, "*", "rate=100/s", "burst=100", "shadow_rate=1/s", "shadow_burst=5");
	struct weir_endpoint *api = calls_endpoint(calls, "api");
	struct weir_endpoint *name = calls_endpoint(calls, "name");

	assert_int_equal(weir_acquire(api, 4, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire(api, 7, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire(name, 5, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire(name, 3, NULL), WEIR_ADMIT);
	assert_int_equal(segment_create(&next, &calls->scene.place, &scene_shape), 0);
	assert_int_equal(move_prepare(&calls->scene.segment, &next, NULL), 0);
	assert_int_equal(segment_reveal(&next, &calls->scene.place), 0);
	move_retire(&calls->scene.segment);
	assert_int_equal(move_finish(&next, &calls->scene.segment), 0);
	move_carry(&next, &calls->scene.segment);
	assert_int_equal(calls_peek(api).shadow_passed, 1);
	assert_int_equal(calls_peek(api).shadow_refused, 1);
	assert_int_equal(calls_peek(name).shadow_refused, 1);
	assert_int_equal(weir_acquire(api, 1, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, 0);
	assert_int_equal(weir_acquire(api, 1, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, WEIR_REASON_LEVEL);
	assert_int_equal(weir_acquire(name, 0.5, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, WEIR_REASON_LEVEL);
	segment_detach(&next);
}

/* ---- the arithmetic by itself ---- */

static void remnants_are_full(void **state)
{
	struct bucket bucket = {.shadow = 0};

	(void)state;
	/* 0 is full; so is what is behind V, or further ahead than any call can put it */
	assert_true(shadow_take(&bucket, 1000, 10, 10));
	assert_false(shadow_take(&bucket, 1000, 1, 10));
	assert_true(shadow_take(&bucket, 1001, 1, 10));
	atomic_store(&bucket.shadow, 5);
	assert_true(shadow_take(&bucket, 1000, 10, 10));
	atomic_store(&bucket.shadow, 1000 + LINE_FAR + 1);
	assert_true(shadow_take(&bucket, 1000, 10, 10));
	assert_int_equal(atomic_load(&bucket.shadow), 1010);
}

static void following_is_done_once(void **state)
{
	const struct shadow_source source = {.units = 100, .from_k = 1, .to_k = 3};
	const struct shadow_source none = {.units = 0, .from_k = 3, .to_k = 1};
	struct bucket from = {.shadow = 107, .shadow_counts = {3, 12, 0, 0}};
	struct bucket to = {.shadow = 0};
	struct bucket without = {.shadow = 0};

	(void)state;
	shadow_follow(&to, &from, &source);
	assert_int_equal(atomic_load(&to.shadow), 1 + 7 * 4);
	assert_int_equal(atomic_load(&to.shadow_counts[SHADOW_PASSED_CALLS]), 3);
	assert_int_equal(atomic_load(&to.shadow_counts[SHADOW_PASSED_UNITS]), 48);
	/* a helper that comes late */
	shadow_count(&to, SHADOW_PASSED_CALLS, 8);
	assert_true(shadow_take(&to, 1, 1, 100));
	shadow_follow(&to, &from, &source);
	assert_int_equal(atomic_load(&to.shadow), 2 + 7 * 4);
	assert_int_equal(atomic_load(&to.shadow_counts[SHADOW_PASSED_CALLS]), 4);
	assert_int_equal(atomic_load(&to.shadow_counts[SHADOW_PASSED_UNITS]), 56);
	/* there was no shadow limit: the mark is of none, the counts are */
	shadow_follow(&without, &from, &none);
	assert_int_equal(atomic_load(&without.shadow), 0);
	assert_int_equal(atomic_load(&without.shadow_counts[SHADOW_PASSED_UNITS]), 3);
}

/* A class that the rule does not know is weighed as any call. */
static void an_unknown_class_is_weighed_too(void **state)
{
	struct calls *calls = *state;
	struct weir_answer answer;

	calls_rule(calls, "api", "rate=10/s", "burst=10", "shadow_rate=1/s", "shadow_burst=5",
		   "class known=leave 1");
	struct weir_endpoint *api = calls_class(calls, "api", "unknown");

	assert_int_equal(weir_acquire(api, 5, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, 0);
	assert_int_equal(weir_acquire(api, 1, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, WEIR_REASON_LEVEL);
	assert_int_equal(calls_peek(api).shadow_refused, 1);
}

static void terms_are_compared_whole(void **state)
{
	const struct shadow_terms none = {0, 0, 0};
	const struct shadow_terms terms = {TERMS_MICRO, SCENE_SECOND, 5 * TERMS_MICRO};
	struct shadow_terms other[3] = {terms, terms, terms};

	(void)state;
	other[0].rate_micro++;
	other[1].period_ns++;
	other[2].burst_micro++;
	assert_true(shadow_terms_equal(&terms, &terms));
	assert_true(shadow_terms_equal(&none, &none));
	assert_false(shadow_terms_equal(&none, &terms));
	assert_false(shadow_terms_equal(&terms, &none));
	for (int i = 0; i < 3; i++)
		assert_false(shadow_terms_equal(&terms, &other[i]));
}

/* The unit of a row suits both limits; where none does, the rule says so. */
static void the_unit_suits_both(void **state)
{
	const struct terms slow = {.rate_micro = TERMS_MICRO,
				   .period_ns = 86400 * SCENE_SECOND,
				   .burst_micro = TERMS_MICRO,
				   .initial_micro = TERMS_MICRO};
	struct terms both = slow;
	struct line line;

	(void)state;
	both.beside = (struct shadow_terms){1000000000u * TERMS_MICRO, SCENE_SECOND,
					    1000000000u * TERMS_MICRO};
	assert_true(line_best_k(&both) < line_best_k(&slow));
	assert_false(line_k_fits(&both, line_best_k(&slow), 1));
	assert_int_equal(line_from_terms(&line, &both, line_best_k(&both), SCENE_SECOND), 0);
	assert_int_equal(line.flags, LINE_BESIDE);
	assert_int_equal(line.shadow.burst_units, 1000000000u * (1ull << line.k));
	both.beside.rate_micro = TERMS_UNLIMITED;
	assert_int_equal(line_from_terms(&line, &both, 0, SCENE_SECOND), WEIR_EVALUE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		calls_test(what_is_refused_passes_and_is_counted),
		calls_test(nobody_waits_in_shadow_mode),
		calls_test(unpaid_places_settle_to_nothing),
		calls_test(all_that_is_asked_for_passes),
		calls_test(the_mode_ends_where_it_was),
		calls_test(a_shadow_limit_counts_without_a_say),
		calls_test(every_call_is_weighed),
		calls_test(waits_are_weighed_by_what_is_left_of_them),
		calls_test(max_wait_bounds_the_shadow),
		calls_test(beside_an_unlimited_rule),
		calls_test(changes_keep_what_was_used),
		calls_test(publishing_leaves_it_alone),
		calls_test(it_moves_to_another_row),
		calls_test(names_have_shadows_of_their_own),
		calls_test(it_moves_to_another_pair),
		cmocka_unit_test(remnants_are_full),
		cmocka_unit_test(following_is_done_once),
		calls_test(an_unknown_class_is_weighed_too),
		cmocka_unit_test(terms_are_compared_whole),
		cmocka_unit_test(the_unit_suits_both),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
