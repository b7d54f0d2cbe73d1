/* SPDX-License-Identifier: Apache-2.0
 *
 * Processes that draw without a pause, while the rate changes every millisecond and the burst now
 * and then: no interval passes more than its bound, and nothing that could be drawn is lost.
 */
#include "race_crew.h"

enum {
	CHANGES = 700,
	MOVES = 300,
	STORM_MS = 4000,
	STOP_MS = 2000,
};

static void change_rates(struct race_stage *stage)
{
	uint64_t random = 42;

	for (unsigned i = 0; i < CHANGES; i++) {
		scene_sleep_ms(1);
		race_publish_any(stage->race, &stage->scene.segment, &random);
	}
}

static void run(void (*const *roles)(struct racer *), size_t count)
{
	struct race_stage stage;

	race_begin(&stage, 4);
	for (size_t i = 0; i < count; i++)
		race_join(&stage, roles[i]);
	race_ready(&stage);
	race_go(&stage);
	change_rates(&stage);
	race_finish(&stage);
	race_check(&stage);
	race_end(&stage);
}

static void test_greedy(void **state)
{
	static void (*const roles[])(struct racer *) = {
		race_greedy,
		race_greedy,
		race_greedy,
		race_greedy,
	};

	(void)state;
	run(roles, sizeof(roles) / sizeof(roles[0]));
}

static void test_give_back(void **state)
{
	static void (*const roles[])(struct racer *) = {
		race_greedy,	    race_greedy, race_reserve_now, race_reserve_ahead,
		race_reserve_ahead, race_wait,	 race_wait,
	};

	(void)state;
	run(roles, sizeof(roles) / sizeof(roles[0]));
}

/* ---- processes that are stopped for as long as seconds, wherever they are ---- */

/* Each stop ends after a random time of up to STOP_MS; nobody knows in which call it began. */
static void stop_and_change(struct race_stage *stage)
{
	uint64_t until[RACE_CREW] = {0}; /* 0: it runs */
	uint64_t random = 44;
	uint64_t publish = 45;
	unsigned stops = 0;

	for (uint64_t now = 1; now < STORM_MS; now++) {
		size_t i = scene_random(&random) % stage->count;

		scene_sleep_ms(1);
		race_publish_any(stage->race, &stage->scene.segment, &publish);
		if (until[i] == 0 && now + STOP_MS < STORM_MS && scene_random(&random) % 4 == 0) {
			until[i] = now + 1 + scene_random(&random) % STOP_MS;
			assert_int_equal(kill(stage->pids[i], SIGSTOP), 0);
			stops++;
		}
		for (i = 0; i < stage->count; i++)
			if (until[i] && until[i] <= now) {
				assert_int_equal(kill(stage->pids[i], SIGCONT), 0);
				until[i] = 0;
			}
	}
	for (size_t i = 0; i < stage->count; i++)
		assert_int_equal(kill(stage->pids[i], SIGCONT), 0);
	printf("%u stops of up to %d ms: ", stops, STOP_MS);
}

static void test_stopped(void **state)
{
	struct race_stage stage;

	(void)state;
	race_begin(&stage, 4);
	for (size_t i = 0; i < 4; i++)
		race_join(&stage, race_greedy);
	race_join(&stage, race_reserve_now);
	race_join(&stage, race_reserve_ahead);
	race_join(&stage, race_wait);
	race_ready(&stage);
	race_go(&stage);
	stop_and_change(&stage);
	race_finish(&stage);
	race_check(&stage);
	race_end(&stage);
}

/* ---- a burst that one call may take whole: two at once would be one too many ---- */

enum {
	SMALL_BURST = 4,
};

static void publish_small(struct race_stage *stage, uint64_t *random)
{
	const struct terms terms = scene_terms(500 + scene_random(random) % 3000, SMALL_BURST);

	race_publish(stage->race, &stage->scene.segment, &terms);
}

static void test_small_burst(void **state)
{
	static void (*const roles[])(struct racer *) = {
		race_greedy,	    race_reserve_now,	race_reserve_ahead, race_reserve_ahead,
		race_reserve_ahead, race_reserve_ahead, race_wait,	    race_wait,
	};
	struct race_account account;
	struct race_stage stage;
	uint64_t random = 43;

	(void)state;
	race_begin(&stage, 4);
	stage.race->cost_max = SMALL_BURST;
	stage.race->ahead_ns = 30 * WEIR_MILLISECOND;
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		race_join(&stage, roles[i]);
	race_ready(&stage);
	for (size_t i = 0; i < stage.count; i++)
		stage.race->books[i].grain = 0;
	publish_small(&stage, &random);
	race_go(&stage);
	for (unsigned i = 0; i < CHANGES; i++) {
		scene_sleep_ms(1);
		publish_small(&stage, &random);
	}
	race_finish(&stage);
	race_count(&stage, &account);
	printf("%zu processes, burst %d: %llu calls were granted, %.3f %% of the tokens went "
	       "back\n",
	       stage.count, SMALL_BURST, (unsigned long long)RACE_SUM(&stage, calls),
	       100 * (double)account.returned / (double)account.taken);
	race_check_v(&stage);
	race_check_intervals(&stage, NULL, 0, 0);
	race_end(&stage);
}

/* ---- rates so different that each has a unit, and a row, of its own ---- */

/* By ticks, as V begins anew in every row, and by tokens, as their units differ. */
static void draw_by_ticks(struct racer *racer)
{
	unsigned cost = race_cost(racer);
	struct race_book *book = racer->book;
	struct weir_answer answer;
	uint64_t from = time_source_ticks(&racer->view.time);

	race_watch(book, from, 0);
	if (weir_acquire(racer->api, cost, &answer) == WEIR_ADMIT) {
		book->calls++;
		book->taken += cost;
	}
	CHILD_CHECK(answer.fault == 0);
	if (answer.level < RACE_BURST)
		book->last_lead = (uint64_t)(RACE_BURST - answer.level);
}

static void change_units(struct race_stage *stage)
{
	struct terms terms = scene_terms(RACE_RATE_MAX, RACE_BURST);

	for (unsigned i = 0; i < MOVES; i++) {
		uint32_t row = stage->race->row;

		scene_sleep_ms(1);
		/* 400,000 a second, and one a day */
		terms.rate_micro = (i & 1 ? RACE_RATE_MAX : 1) * TERMS_MICRO;
		terms.period_ns = (i & 1 ? 1 : 86400) * SCENE_SECOND;
		race_publish(stage->race, &stage->scene.segment, &terms);
		assert_true(stage->race->row != row);
	}
}

/* What was minted while none of the processes drew, beyond what they had used before. */
static long double idle_tokens(const struct race_stage *stage, uint64_t hz)
{
	size_t total;
	struct race_entry *idle = race_idle(stage->race->books, stage->count, &total);
	long double sum = 0;

	for (size_t i = 0; i < total; i++) {
		struct race_integral minted =
			race_minted(stage->race, hz, idle[i].from, idle[i].to);

		if (minted.most > (long double)idle[i].units)
			sum += minted.most - (long double)idle[i].units;
	}
	free(idle);
	return sum;
}

static void check_moving(const struct race_stage *stage, uint64_t until)
{
	uint64_t hz = segment_hz(&stage->scene.segment);
	struct race_integral minted = race_minted(stage->race, hz, stage->from_tick, until);
	long double idle = idle_tokens(stage, hz);
	struct weir_level level = {.size = sizeof(level)};
	uint64_t taken = RACE_SUM(stage, taken);

	assert_int_equal(weir_peek(stage->self.api, &level), 0);
	printf("%zu processes, %d moves: granted %llu of %.1Lf to %.1Lf tokens, %.1Lf of them "
	       "minted while none was scheduled to draw: %.3Lf %% of the rest\n",
	       stage->count, MOVES, (unsigned long long)taken, RACE_BURST + minted.least,
	       RACE_BURST + minted.most, idle,
	       100 * (long double)taken / (RACE_BURST + minted.least - idle));
	assert_true((long double)taken <= RACE_BURST + minted.most);
	assert_true((long double)taken >= (RACE_BURST + minted.least - idle) * 0.99L);
	/* and the token before the race */
	assert_int_equal(level.granted, RACE_SUM(stage, calls) + 1);
	assert_true(level.granted_tokens == (double)(taken + 1));
}

static void test_moving(void **state)
{
	struct race_stage stage;

	(void)state;
	race_begin(&stage, MOVES + 8);
	stage.race->k = 0;
	for (size_t i = 0; i < 4; i++)
		race_join(&stage, draw_by_ticks);
	race_ready(&stage);
	for (size_t i = 0; i < stage.count; i++) {
		/* a tenth of a millisecond: 40 tokens at most */
		stage.race->books[i].grain = segment_hz(&stage.scene.segment) / 10000;
		stage.race->books[i].last_v = stage.from_tick;
	}
	race_go(&stage);
	change_units(&stage);
	race_end_crew(&stage);
	for (size_t i = 0; i < stage.count; i++)
		race_watch(&stage.race->books[i], segment_now(&stage.scene.segment), 0);
	stage.self.book->taken = stage.self.book->calls = scene_drain(stage.self.api);
	check_moving(&stage, segment_now(&stage.scene.segment));
	race_end(&stage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_greedy),	    cmocka_unit_test(test_give_back),
		cmocka_unit_test(test_small_burst), cmocka_unit_test(test_moving),
		cmocka_unit_test(test_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
