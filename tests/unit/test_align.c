/* SPDX-License-Identifier: Apache-2.0
 *
 * Windows by the calendar when the wall clock is set, steered or far wrong: against a count of the
 * windows that have begun, by settings at random; and what a publisher makes of it.
 */
#include "segment_fixture.h"

#include "align.h"
#include "bucket.h"
#include "window.h"

#define HOUR (3600 * SCENE_SECOND)
#define DAY (24 * HOUR)

enum {
	QUOTA = 100,
};

/* A pair with a rule of 100 an hour, and what its clock should say. */
struct almanac {
	struct scene scene;
	uint32_t row;
	uint64_t length;
	uint64_t burst; /* tokens */
	int64_t offset; /* of the wall clock from the manual one */
	int64_t highest;
	uint64_t minted; /* tokens */
	uint64_t random;
};

static struct terms hourly(uint64_t length, uint64_t burst)
{
	struct terms terms = scene_terms(QUOTA, burst);

	terms.period_ns = length;
	terms.window = (struct window_terms){.length_ns = length, .kind = WINDOW_ALIGNED};
	return terms;
}

static void begin(struct almanac *almanac, uint64_t length, uint64_t burst)
{
	const struct rule rule = {.kind = ROW_EXACT, .text = "api", .terms = hourly(length, burst)};
	int64_t row;

	*almanac = (struct almanac){.length = length, .burst = burst};
	scene_begin(&almanac->scene, &scene_shape);
	time_source_advance(&almanac->scene.segment.time, 400 * DAY + 12345678901ull);
	row = rules_add(&almanac->scene.segment, &rule);
	assert_true(row >= 0);
	almanac->row = (uint32_t)row;
	almanac->highest = (int64_t)(segment_now(&almanac->scene.segment) / length);
}

static void end(struct almanac *almanac)
{
	scene_end(&almanac->scene);
}

static uint64_t manual(const struct almanac *almanac)
{
	return segment_now(&almanac->scene.segment);
}

static uint64_t wall_ns(const struct almanac *almanac)
{
	return manual(almanac) + (uint64_t)almanac->offset;
}

/* Tokens minted since the row's birth. */
static uint64_t minted(const struct almanac *almanac)
{
	const struct segment *segment = &almanac->scene.segment;
	struct line line;
	uint64_t now = line_read(&segment->rows[almanac->row], &segment->time, &line);
	uint64_t v = line_value(&line, now) - LINE_BIRTH;

	assert_true(v % (1ull << line.k) == 0);
	return v >> line.k;
}

static uint64_t ticks_to_next(const struct almanac *almanac)
{
	const struct segment *segment = &almanac->scene.segment;
	struct line line;
	uint64_t now = line_read(&segment->rows[almanac->row], &segment->time, &line);

	return window_ticks(&line, now, 0, 1);
}

static unsigned align(struct almanac *almanac, uint64_t tolerance, int64_t *shift)
{
	const struct wall_time wall = {manual(almanac), wall_ns(almanac)};

	return rules_align(&almanac->scene.segment, &wall, tolerance, shift);
}

/* ---- a count of windows ---- */

static void time_passes(struct almanac *almanac, uint64_t ns)
{
	int64_t number;

	time_source_advance(&almanac->scene.segment.time, ns);
	number = (int64_t)(wall_ns(almanac) / almanac->length);
	if (number <= almanac->highest)
		return;
	almanac->minted += (uint64_t)(number - almanac->highest) * QUOTA;
	almanac->highest = number;
}

/* The wall clock is set, and the publisher notices. */
static void clock_is_set(struct almanac *almanac, int64_t by)
{
	int64_t number, shift;

	almanac->offset += by;
	number = (int64_t)(wall_ns(almanac) / almanac->length);
	if (number > almanac->highest) {
		uint64_t brought = (uint64_t)(number - almanac->highest) * QUOTA;

		almanac->minted += brought < almanac->burst ? brought : almanac->burst;
	}
	if (number > almanac->highest || number < almanac->highest - 1)
		almanac->highest = number;
	align(almanac, 1, &shift);
}

static uint64_t chance(struct almanac *almanac, uint64_t below)
{
	return (scene_random(&almanac->random) >> 16) % below;
}

static int64_t chance_shift(struct almanac *almanac)
{
	static const uint64_t scales[] = {2000000,	     500 * 1000000ull,
					  90 * SCENE_SECOND, 3000 * SCENE_SECOND,
					  3 * HOUR,	     100 * DAY};
	uint64_t scale = scales[chance(almanac, sizeof(scales) / sizeof(scales[0]))];
	int64_t by = (int64_t)chance(almanac, scale);

	return chance(almanac, 2) ? by : -by;
}

static void check(const struct almanac *almanac, unsigned step)
{
	uint64_t next = almanac->length - wall_ns(almanac) % almanac->length;
	int64_t number = (int64_t)(wall_ns(almanac) / almanac->length);

	if (minted(almanac) != almanac->minted)
		fail_msg("step %u: %llu minted, expected %llu", step,
			 (unsigned long long)minted(almanac), (unsigned long long)almanac->minted);
	/* set back over a boundary: the window that has begun already does not begin again */
	if (number < almanac->highest)
		next += almanac->length;
	assert_true(ticks_to_next(almanac) == next);
}

static void whatever_the_wall_clock_does(void **state)
{
	static const uint64_t bursts[] = {QUOTA, QUOTA, 3 * QUOTA};

	(void)state;
	for (uint64_t seed = 1; seed <= 30; seed++) {
		struct almanac almanac;
		uint64_t before;

		begin(&almanac, HOUR, bursts[seed % 3]);
		almanac.random = seed * 0x9e3779b97f4a7c15ull;
		for (unsigned step = 0; step < 3000; step++) {
			before = minted(&almanac);
			if (chance(&almanac, 3) == 0)
				clock_is_set(&almanac, chance_shift(&almanac));
			else
				time_passes(&almanac, chance(&almanac, 2000) * SCENE_SECOND);
			/* a publication of something else changes nothing */
			if (chance(&almanac, 5) == 0)
				rules_wake(&almanac.scene.segment, almanac.row);
			assert_true(minted(&almanac) >= before);
			check(&almanac, step);
		}
		end(&almanac);
	}
}

/* ---- case by case ---- */

/* To so many ns before a boundary of the wall clock. */
static void go_before(struct almanac *almanac, uint64_t ns)
{
	time_passes(almanac, almanac->length - wall_ns(almanac) % almanac->length - ns);
}

static void a_small_correction_over_a_boundary(void **state)
{
	struct almanac almanac;
	int64_t shift;
	uint64_t before;

	(void)state;
	begin(&almanac, HOUR, QUOTA);
	/* the wall clock is told to be a little late: the window begins now, and once */
	go_before(&almanac, 500000);
	before = minted(&almanac);
	almanac.offset += 1000000;
	assert_int_equal(align(&almanac, 1000000, &shift), 1);
	assert_int_equal(shift, -1000000);
	assert_true(minted(&almanac) == before + QUOTA);
	time_source_advance(&almanac.scene.segment.time, 500000);
	assert_true(minted(&almanac) == before + QUOTA);
	assert_true(ticks_to_next(&almanac) == HOUR - 1000000);

	/* it was too much: the boundary is met a second time */
	almanac.offset -= 2000000;
	assert_int_equal(align(&almanac, 1000000, &shift), 1);
	assert_int_equal(shift, 2000000);
	time_source_advance(&almanac.scene.segment.time, 3000000);
	assert_true(minted(&almanac) == before + QUOTA);
	assert_true(ticks_to_next(&almanac) == HOUR - 2000000);

	/* what is no correction is none */
	almanac.offset += 999999;
	assert_int_equal(align(&almanac, 1000000, &shift), 0);
	assert_int_equal(shift, 0);
	end(&almanac);
}

/* The clock of a machine without a battery: 1970, then the present. And the other way round. */
static void a_clock_that_was_far_wrong(void **state)
{
	struct almanac almanac;
	int64_t shift;
	uint64_t before;

	(void)state;
	begin(&almanac, HOUR, QUOTA);
	before = minted(&almanac);
	almanac.offset += (int64_t)(20000 * DAY);
	assert_int_equal(align(&almanac, 1, &shift), 1);
	assert_true(minted(&almanac) == before + QUOTA);
	almanac.offset -= (int64_t)(20000 * DAY);
	assert_int_equal(align(&almanac, 1, &shift), 1);
	assert_true(minted(&almanac) == before + QUOTA);
	/* not for fifty years */
	assert_true(ticks_to_next(&almanac) <= HOUR);
	end(&almanac);
}

/* Who waits for the next window is told of it, and of its moving. */
static void a_wait_follows_the_wall_clock(void **state)
{
	struct almanac almanac;
	struct weir_endpoint *api;
	struct weir_answer answer;
	struct weir *weir;
	int64_t shift;

	(void)state;
	begin(&almanac, HOUR, QUOTA);
	weir = scene_open(&almanac.scene.place);
	api = scene_endpoint(weir, "api");
	assert_int_equal(weir_acquire(api, QUOTA, &answer), WEIR_ADMIT);
	go_before(&almanac, 600 * SCENE_SECOND);
	assert_int_equal(weir_acquire(api, 1, &answer), WEIR_REFUSE);
	assert_true(answer.wait_ns == 600 * SCENE_SECOND);
	almanac.offset -= (int64_t)(300 * SCENE_SECOND);
	align(&almanac, 1, &shift);
	assert_int_equal(weir_acquire(api, 1, &answer), WEIR_REFUSE);
	assert_true(answer.wait_ns == 900 * SCENE_SECOND);
	almanac.offset += (int64_t)(1200 * SCENE_SECOND);
	align(&almanac, 1, &shift);
	assert_int_equal(weir_acquire(api, QUOTA, &answer), WEIR_ADMIT);
	weir_endpoint_close(api);
	weir_close(weir);
	end(&almanac);
}

/* Windows from first use and straight lines know nothing of a calendar. */
static void nothing_else_is_touched(void **state)
{
	struct almanac almanac;
	struct terms terms = hourly(HOUR, QUOTA);
	const struct rule rule = {.kind = ROW_EXACT, .text = "first", .terms = terms};
	struct rule first = rule;
	uint64_t generation;
	int64_t shift, row;

	(void)state;
	first.terms.window.kind = WINDOW_FIRST;
	begin(&almanac, HOUR, QUOTA);
	row = rules_add(&almanac.scene.segment, &first);
	assert_true(row >= 0);
	generation = atomic_load(&almanac.scene.segment.rows[row].generation);
	almanac.offset += (int64_t)HOUR;
	assert_int_equal(align(&almanac, 1, &shift), 1);
	assert_true(atomic_load(&almanac.scene.segment.rows[row].generation) == generation);
	assert_true(atomic_load(&almanac.scene.segment.rows[0].generation) == 1);
	end(&almanac);
}

/* Of several rows that are moved the largest move is told. */
static void the_largest_move_is_told(void **state)
{
	const struct rule late = {.kind = ROW_EXACT, .text = "late", .terms = hourly(HOUR, QUOTA)};
	const int64_t minute = (int64_t)(60 * SCENE_SECOND);
	struct almanac almanac;
	int64_t shift;

	(void)state;
	begin(&almanac, HOUR, QUOTA);
	go_before(&almanac, 1800 * SCENE_SECOND);
	almanac.offset = 10 * minute;
	assert_int_equal(align(&almanac, 1, &shift), 1);
	assert_true(shift == -10 * minute);
	/* this one is aligned by the clock as it was */
	assert_true(rules_add(&almanac.scene.segment, &late) >= 0);
	almanac.offset = -5 * minute;
	assert_int_equal(align(&almanac, 1, &shift), 2);
	assert_true(shift == 15 * minute);
	assert_int_equal(align(&almanac, 1, &shift), 0);
	end(&almanac);
}

/* Windows that begin between two moments of the wall clock, with days that begin at 02:00 UTC. */
static void windows_are_counted(void **state)
{
	const struct window_terms days = {
		.length_ns = DAY, .minutes = -120, .kind = WINDOW_ALIGNED};
	const uint64_t two = 20000 * DAY + 2 * HOUR;

	(void)state;
	assert_true(align_count(&days, two - 1, two - 1) == 0);
	assert_true(align_count(&days, two - 1, two) == 1);
	assert_true(align_count(&days, two, two + DAY - 1) == 0);
	assert_true(align_count(&days, two, two + DAY) == 1);
	assert_true(align_count(&days, two - 1, two + 6 * DAY) == 7);
	/* a clock that was set back: none that has not begun before */
	assert_true(align_count(&days, two + DAY, two) == 0);
}

/* By a new calibration windows stay where the wall clock has them; a suspend shows there, too. */
static void a_new_calibration(void **state)
{
	struct almanac almanac;
	uint64_t before;

	(void)state;
	begin(&almanac, HOUR, QUOTA);
	go_before(&almanac, 600 * SCENE_SECOND);
	before = minted(&almanac);
	/* a manual clock is its own wall clock, so what it slept does not show */
	assert_int_equal(rules_rebase(&almanac.scene.segment, SCENE_SECOND, 2 * HOUR), 0);
	assert_true(minted(&almanac) == before);
	assert_true(ticks_to_next(&almanac) == 600 * SCENE_SECOND);
	end(&almanac);
}

/* What was slept is time of a window from first use, too: it ends when it would have. */
static void a_window_from_first_use_sleeps(void **state)
{
	struct rule rule = {.kind = ROW_EXACT, .text = "first", .terms = hourly(HOUR, QUOTA)};
	struct weir_endpoint *first;
	struct weir_answer answer;
	struct scene scene;
	struct weir *weir;

	(void)state;
	scene_begin(&scene, &scene_shape);
	rule.terms.window.kind = WINDOW_FIRST;
	assert_true(rules_add(&scene.segment, &rule) >= 0);
	weir = scene_open(&scene.place);
	first = scene_endpoint(weir, "first");
	assert_int_equal(weir_acquire(first, QUOTA, &answer), WEIR_ADMIT);
	assert_int_equal(rules_rebase(&scene.segment, SCENE_SECOND, HOUR / 4), 0);
	assert_int_equal(weir_acquire(first, 1, &answer), WEIR_REFUSE);
	assert_int_equal(answer.wait_ns, HOUR - HOUR / 4);
	/* one night is many windows, and the next begins with the next call */
	assert_int_equal(rules_rebase(&scene.segment, SCENE_SECOND, 9 * HOUR), 0);
	assert_int_equal(weir_acquire(first, QUOTA, &answer), WEIR_ADMIT);
	assert_int_equal(weir_acquire(first, 1, &answer), WEIR_REFUSE);
	/* the start is rounded down */
	assert_in_range(answer.wait_ns, HOUR - SCENE_SECOND / 1000, HOUR);
	weir_endpoint_close(first);
	weir_close(weir);
	scene_end(&scene);
}

/* On a machine's own clocks. */
static void by_the_clocks_of_the_machine(void **state)
{
	static const enum weir_clock clocks[] = {WEIR_CLOCK_BEST, WEIR_CLOCK_MONOTONIC};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct weir_level level = {.size = sizeof(level)};
		struct weir_endpoint *api;
		struct weir *weir;
		uint64_t before, after;

		assert_int_equal(weir_host(&weir, "[endpoint api]\nrate = 5/d\nwindow = 1d\n",
					   clocks[i], NULL, NULL, 0),
				 0);
		assert_int_equal(weir_endpoint(weir, "api", &api), 0);
		before = DAY - time_source_kernel_ns(CLOCK_REALTIME) % DAY;
		assert_int_equal(weir_peek(api, &level), 0);
		after = DAY - time_source_kernel_ns(CLOCK_REALTIME) % DAY;
		/* to a millisecond, and not around midnight */
		if (before > 10 * SCENE_SECOND && before < DAY - 10 * SCENE_SECOND) {
			assert_true(level.renews_ns <= before + 1000000);
			assert_true(level.renews_ns >= after - 1000000);
		}
		weir_endpoint_close(api);
		weir_close(weir);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whatever_the_wall_clock_does),
		cmocka_unit_test(a_small_correction_over_a_boundary),
		cmocka_unit_test(a_clock_that_was_far_wrong),
		cmocka_unit_test(a_wait_follows_the_wall_clock),
		cmocka_unit_test(nothing_else_is_touched),
		cmocka_unit_test(the_largest_move_is_told),
		cmocka_unit_test(windows_are_counted),
		cmocka_unit_test(a_new_calibration),
		cmocka_unit_test(a_window_from_first_use_sleeps),
		cmocka_unit_test(by_the_clocks_of_the_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
