/* SPDX-License-Identifier: Apache-2.0
 *
 * The moving of marks: a rule that changes its unit, a name that gets a row of its own and loses
 * it again, a whole pair that is replaced while others draw, and publishers that die on the way.
 * The manual clock stands still unless a test moves it, so what is granted is exactly the burst.
 */
#include "segment_fixture.h"

#include <sched.h>

#include "bucket.h"
#include "gate.h"
#include "handle.h"
#include "members.h"
#include "move.h"

static const struct terms_author operator_is = {ORIGIN_OPERATOR, 0};

/* A scene and a client of it, in this process. */
struct stage {
	struct scene scene;
	struct weir *weir;
};

static void stage_begin(struct stage *stage)
{
	scene_begin(&stage->scene, &scene_shape);
	stage->weir = scene_open(&stage->scene.place);
	assert_non_null(stage->weir);
}

static void stage_end(struct stage *stage)
{
	weir_close(stage->weir);
	scene_end(&stage->scene);
}

static double level_of(struct weir_endpoint *endpoint)
{
	struct weir_level level = {.size = sizeof(level)};

	assert_int_equal(weir_peek(endpoint, &level), 0);
	return level.level;
}

static uint64_t granted_of(struct weir_endpoint *endpoint)
{
	struct weir_level level = {.size = sizeof(level)};

	assert_int_equal(weir_peek(endpoint, &level), 0);
	return level.granted;
}

static void draw(struct weir_endpoint *endpoint, unsigned times)
{
	for (unsigned i = 0; i < times; i++)
		assert_int_equal(weir_acquire(endpoint, 1, NULL), WEIR_ADMIT);
}

static void advance(struct segment *segment, uint64_t ns)
{
	time_source_advance(&segment->time, ns);
}

static int64_t change(struct stage *stage, uint32_t row, uint64_t per_second, uint64_t burst,
		      enum rules_keep keep)
{
	const struct terms terms = scene_terms(per_second, burst);

	return rules_change(&stage->scene.segment, row, &terms, &operator_is, keep);
}

/* ---- a rule that changes its unit ---- */

static void test_change_in_place(void **state)
{
	struct stage stage;

	(void)state;
	stage_begin(&stage);
	uint32_t row = scene_add(&stage.scene.segment, ROW_EXACT, "x", 10, 100);
	struct weir_endpoint *x = scene_endpoint(stage.weir, "x");

	draw(x, 30);
	assert_int_equal(change(&stage, row, 20, 60, RULES_KEEP_USED), row);
	assert_near(level_of(x), 30);
	assert_int_equal(change(&stage, row, 20, 100, RULES_KEEP_USED), row);
	assert_near(level_of(x), 70);
	weir_endpoint_close(x);
	stage_end(&stage);
}

/* Another unit, finer or coarser: another row, and the mark goes along. */
static void test_change_moves(void **state)
{
	static const uint64_t rates[][2] = {{10, 100000}, {1000000000, 1}};

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct stage stage;

		stage_begin(&stage);
		uint32_t row = scene_add(&stage.scene.segment, ROW_EXACT, "x", rates[i][0], 100);
		struct weir_endpoint *x = scene_endpoint(stage.weir, "x");

		draw(x, 30);
		int64_t moved = change(&stage, row, rates[i][1], 60, RULES_KEEP_USED);

		assert_int_equal(moved, row + 1);
		assert_int_equal(atomic_load(&stage.scene.segment.rows[row].state), ROW_GONE);
		assert_true(atomic_load(&stage.scene.segment.buckets[row].mark) & BUCKET_FROZEN);
		assert_near(level_of(x), 30);
		assert_int_equal(scene_drain(x), 30);
		assert_int_equal(granted_of(x), 60);
		/* and the new rate holds */
		advance(&stage.scene.segment, SCENE_SECOND);
		assert_near(level_of(x), rates[i][1] < 60 ? (double)rates[i][1] : 60);
		weir_endpoint_close(x);
		stage_end(&stage);
	}
}

static void test_change_moves_and_keeps(void **state)
{
	static const struct {
		enum rules_keep keep;
		double level;
	} rows[] = {
		{RULES_KEEP_USED, 10},
		{RULES_KEEP_LEVEL, 60},
		{RULES_KEEP_PROPORTIONAL, 24},
		{RULES_KEEP_RESET, 40},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct stage stage;
		uint64_t burst = rows[i].keep == RULES_KEEP_LEVEL ? 80 : 40;

		stage_begin(&stage);
		uint32_t row = scene_add(&stage.scene.segment, ROW_EXACT, "x", 10, 100);
		struct weir_endpoint *x = scene_endpoint(stage.weir, "x");

		draw(x, rows[i].keep == RULES_KEEP_USED ? 30 : 40);
		assert_int_equal(change(&stage, row, 100000, burst, rows[i].keep), row + 1);
		assert_near(level_of(x), rows[i].level);
		weir_endpoint_close(x);
		stage_end(&stage);
	}
}

/* A debt stays a debt, in line behind it as well. */
static void test_change_moves_debt(void **state)
{
	struct stage stage;
	struct weir_reservation place;
	struct weir_answer answer;

	(void)state;
	stage_begin(&stage);
	uint32_t row = scene_add(&stage.scene.segment, ROW_EXACT, "x", 10, 100);
	struct weir_endpoint *x = scene_endpoint(stage.weir, "x");

	draw(x, 100);
	assert_int_equal(weir_reserve(x, 50, 10 * SCENE_SECOND, &place, &answer), WEIR_ADMIT);
	assert_int_equal(answer.wait_ns, 5 * SCENE_SECOND);
	assert_int_equal(change(&stage, row, 100000, 100, RULES_KEEP_USED), row + 1);
	assert_near(level_of(x), -50);
	/* the place is the same; what is left of the way takes as long as the new rate says */
	assert_int_equal(weir_reservation_wait(x, &place, 0, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_DEADLINE);
	assert_int_equal(answer.wait_ns, 500000);
	advance(&stage.scene.segment, 499999);
	assert_int_equal(weir_reservation_wait(x, &place, 0, &answer), WEIR_REFUSE);
	advance(&stage.scene.segment, 1);
	assert_int_equal(weir_reservation_wait(x, &place, 0, &answer), WEIR_ADMIT);
	weir_endpoint_close(x);
	stage_end(&stage);
}

/* [default] cannot move within its pair: its names' buckets are bound to its row. */
static void test_default_does_not_move(void **state)
{
	struct stage stage;

	(void)state;
	stage_begin(&stage);
	struct weir_endpoint *x = scene_endpoint(stage.weir, "x");

	draw(x, 4);
	assert_int_equal(change(&stage, 0, 1000000, 10, RULES_KEEP_USED), WEIR_EROWS);
	assert_near(level_of(x), 6);
	weir_endpoint_close(x);
	stage_end(&stage);
}

/* Rows run out: an error, and everything is as it was. */
static void test_no_row_left(void **state)
{
	struct stage stage;

	(void)state;
	stage_begin(&stage);
	uint32_t row = scene_add(&stage.scene.segment, ROW_EXACT, "x", 10, 100);
	struct weir_endpoint *x = scene_endpoint(stage.weir, "x");
	char name[16];

	draw(x, 30);
	for (uint32_t i = row + 1; i < scene_shape.rows; i++) {
		snprintf(name, sizeof(name), "r%u", i);
		scene_add(&stage.scene.segment, ROW_EXACT, name, 10, 10);
	}
	assert_int_equal(change(&stage, row, 100000, 100, RULES_KEEP_USED), WEIR_EROWS);
	assert_near(level_of(x), 70);
	draw(x, 1);

	const struct rule one_more = scene_rule(ROW_EXACT, "one more", 10, 10);

	assert_int_equal(rules_add(&stage.scene.segment, &one_more), WEIR_EROWS);
	weir_endpoint_close(x);
	stage_end(&stage);
}

/* ---- a name that gets a row of its own ---- */

static void test_own_row_and_back(void **state)
{
	struct stage stage;
	struct segment *segment = &stage.scene.segment;

	(void)state;
	stage_begin(&stage);
	struct weir_endpoint *x = scene_endpoint(stage.weir, "x");

	draw(x, 4);
	for (int round = 0; round < 3; round++) {
		uint32_t row = scene_add(segment, ROW_EXACT, "x", 10, 10);

		assert_near(level_of(x), 6 - 2 * round);
		draw(x, 1);
		assert_near(level_of(x), 5 - 2 * round);
		assert_int_equal(names_find_row(segment, "x"), row);
		rules_remove(segment, row);
		assert_int_equal(names_find_row(segment, "x"), 0);
		assert_near(level_of(x), 5 - 2 * round);
		draw(x, 1);
	}
	assert_int_equal(scene_drain(x), 0);
	weir_endpoint_close(x);
	stage_end(&stage);
}

/* Between units and bursts: the debt moves, not the level. */
static void test_own_row_of_another_kind(void **state)
{
	struct stage stage;
	struct segment *segment = &stage.scene.segment;

	(void)state;
	stage_begin(&stage);
	struct weir_endpoint *x = scene_endpoint(stage.weir, "x");

	draw(x, 4);
	uint32_t row = scene_add(segment, ROW_EXACT, "x", 1000000, 100);

	assert_near(level_of(x), 96);
	draw(x, 1);
	rules_remove(segment, row);
	assert_near(level_of(x), 5);
	weir_endpoint_close(x);
	stage_end(&stage);
}

/* A publisher that died after the thaw and before the row was gone: the row went on being used. */
static void test_removal_repeated(void **state)
{
	struct stage stage;
	struct segment *segment = &stage.scene.segment;
	struct line line;

	(void)state;
	stage_begin(&stage);
	struct weir_endpoint *x = scene_endpoint(stage.weir, "x");

	draw(x, 1);
	uint32_t row = scene_add(segment, ROW_EXACT, "x", 10, 10);
	struct bucket *bucket =
		&segment->buckets[segment->row_count + (uint32_t)names_find_slot(segment, "x")];
	uint64_t now = line_read(&segment->rows[0], &segment->time, &line);

	bucket_thaw(bucket, line_value(&line, now) + (1ull << line.k)); /* it did this much */
	draw(x, 9);
	rules_remove(segment, row);
	assert_near(level_of(x), 0);
	assert_int_equal(scene_drain(x), 0);
	weir_endpoint_close(x);
	stage_end(&stage);
}

static uint64_t closed_for(struct weir_endpoint *endpoint)
{
	struct weir_level level = {.size = sizeof(level)};

	assert_int_equal(weir_peek(endpoint, &level), 0);
	return level.closed_ns;
}

static void test_gate_goes_along(void **state)
{
	struct stage stage;
	struct segment *segment = &stage.scene.segment;
	struct weir_answer answer;

	(void)state;
	stage_begin(&stage);
	struct weir_endpoint *x = scene_endpoint(stage.weir, "x");

	draw(x, 1);
	assert_int_equal(weir_gate_close(x, 30 * SCENE_SECOND), 0);
	uint32_t row = scene_add(segment, ROW_EXACT, "x", 10, 10);

	assert_int_equal(weir_acquire(x, 1, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_CLOSED);
	int64_t moved = change(&stage, row, 1000000, 10, RULES_KEEP_USED);

	assert_int_equal(moved, row + 1);
	assert_int_equal(weir_acquire(x, 1, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_CLOSED);
	assert_in_range(closed_for(x), 30 * SCENE_SECOND, 30 * SCENE_SECOND + 65536);
	rules_remove(segment, (uint32_t)moved);
	assert_int_equal(weir_acquire(x, 1, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_CLOSED);
	assert_in_range(closed_for(x), 30 * SCENE_SECOND, 30 * SCENE_SECOND + 65536);
	/* it opens empty, and the wait says so */
	assert_int_equal(answer.wait_ns, closed_for(x) + SCENE_SECOND / 10);
	advance(segment, closed_for(x));
	assert_int_equal(weir_acquire(x, 1, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_LEVEL);
	advance(segment, answer.wait_ns);
	assert_int_equal(weir_acquire(x, 1, NULL), WEIR_ADMIT);
	weir_endpoint_close(x);
	stage_end(&stage);
}

/*
 * A place that comes along behind a closure has still to be weighed, however often the endpoint is
 * closed until its holder looks: here it lapses in the second of three closures.
 */
static void test_place_goes_along_closed(void **state)
{
	struct stage stage;
	struct segment *segment = &stage.scene.segment;
	struct weir_reservation place;

	(void)state;
	stage_begin(&stage);
	uint32_t row = scene_add(segment, ROW_EXACT, "x", 1, 10);
	struct weir_endpoint *x = scene_endpoint(stage.weir, "x");

	draw(x, 10);
	assert_int_equal(weir_gate_close(x, SCENE_SECOND / 10), 0);
	advance(segment, SCENE_SECOND / 5);
	assert_int_equal(weir_acquire(x, 1, NULL), WEIR_REFUSE); /* meets the opening */
	assert_int_equal(weir_reserve(x, 5, WEIR_FOREVER, &place, NULL), WEIR_ADMIT);
	assert_int_equal(weir_gate_close(x, SCENE_SECOND), 0);
	int64_t moved = change(&stage, row, 100000000, 10, RULES_KEEP_USED);

	assert_int_equal(moved, row + 1);
	assert_int_equal(weir_reservation_wait(x, &place, 0, NULL), WEIR_REFUSE);
	advance(segment, 2 * SCENE_SECOND);
	/* nothing more to be had, so that a lapsed place finds no other */
	change(&stage, (uint32_t)moved, 0, 10, RULES_KEEP_USED);
	assert_int_equal(weir_acquire(x, 1, NULL), WEIR_REFUSE);
	assert_int_equal(weir_gate_close(x, SCENE_SECOND), 0);
	advance(segment, 2 * SCENE_SECOND);
	assert_int_equal(weir_reservation_wait(x, &place, 0, NULL), WEIR_REFUSE);
	weir_endpoint_close(x);
	stage_end(&stage);
}

/* Closed while it had a row of its own: it stays closed without, and what is over stays over. */
static void test_gate_comes_back(void **state)
{
	(void)state;
	for (int over = 0; over < 2; over++) {
		struct stage stage;
		struct segment *segment = &stage.scene.segment;
		struct weir_answer answer;

		stage_begin(&stage);
		struct weir_endpoint *x = scene_endpoint(stage.weir, "x");

		draw(x, 1);
		uint32_t row = scene_add(segment, ROW_EXACT, "x", 10, 10);

		assert_int_equal(weir_gate_close(x, 30 * SCENE_SECOND), 0);
		if (over)
			advance(segment, 30 * SCENE_SECOND + 65536);
		rules_remove(segment, row);
		assert_int_equal(weir_acquire(x, 1, &answer), WEIR_REFUSE);
		assert_int_equal(answer.reason, over ? WEIR_REASON_LEVEL : WEIR_REASON_CLOSED);
		weir_endpoint_close(x);
		stage_end(&stage);
	}
}

/* Two moves of which the first was never finished, because its publisher died. */
static void test_recover_finishes_moves(void **state)
{
	struct stage stage;
	struct segment *segment = &stage.scene.segment;
	struct line line;

	(void)state;
	stage_begin(&stage);
	struct weir_endpoint *x = scene_endpoint(stage.weir, "x");

	draw(x, 4);
	/* what rules_add() does, up to its first crash point */
	const struct rule rule = scene_rule(ROW_EXACT, "x", 10, 10);
	uint64_t now = line_read(&segment->rows[0], &segment->time, &line);
	const struct rules_source source = {
		.bucket_plus_1 = segment->row_count + (uint32_t)names_find_slot(segment, "x") + 1,
		.unit = line_unit(&line),
		.units = line_value(&line, now),
	};
	int64_t row = rules_append(segment, &rule, &source);

	assert_true(row > 0);
	rules_recover(segment);
	int64_t moved = change(&stage, (uint32_t)row, 1000000, 10, RULES_KEEP_USED);

	assert_int_equal(moved, row + 1);
	assert_near(level_of(x), 6);
	assert_int_equal(scene_drain(x), 6);
	weir_endpoint_close(x);
	stage_end(&stage);
}

/* A dead publisher's row that was to continue another: of the two the newer stays. */
static void test_recover_removes_twins(void **state)
{
	struct stage stage;
	struct segment *segment = &stage.scene.segment;
	struct line line;

	(void)state;
	stage_begin(&stage);
	uint32_t row = scene_add(segment, ROW_EXACT, "x", 10, 10);
	struct weir_endpoint *x = scene_endpoint(stage.weir, "x");

	draw(x, 4);
	const struct rule rule = scene_rule(ROW_EXACT, "x", 1000000, 20);
	uint64_t now = line_read(&segment->rows[row], &segment->time, &line);
	const struct rules_source source = {.bucket_plus_1 = row + 1,
					    .unit = line_unit(&line),
					    .units = line_value(&line, now)};
	int64_t twin = rules_append(segment, &rule, &source);

	assert_int_equal(twin, row + 1);
	draw(x, 1); /* still on the elder */
	rules_recover(segment);
	assert_int_equal(names_find_row(segment, "x"), twin);
	assert_near(level_of(x), 15);
	assert_int_equal(scene_drain(x), 15);
	weir_endpoint_close(x);
	stage_end(&stage);
}

/* ---- a successor pair ---- */

/* The steps in which a pair is replaced; a publisher may die after each. */
enum step {
	STEP_CREATED,
	STEP_PREPARED,
	STEP_LINKED_STATE,
	STEP_LINKED_RULES,
	STEP_RENAMED_STATE,
	STEP_RENAMED_RULES,
	STEP_RETIRED,
	STEP_HALF_FINISHED,
	STEP_FINISHED,
	STEP_FORGOTTEN,
	STEPS,
};

static int by_name(int (*call)(const char *, const char *), const struct place *place,
		   const char *from, const char *to)
{
	char from_path[PLACE_PATH_BYTES];
	char to_path[PLACE_PATH_BYTES];

	place_path(place, from, from_path);
	place_path(place, to, to_path);
	return call(from_path, to_path);
}

/* One step; `pause` is called after each of them. 0 or a code. */
static int step_take(enum step step, const struct place *place, const struct segment *old,
		     struct segment *next, const struct rule *instead)
{
	struct segment_shape shape = scene_shape;

	shape.rows *= 2;
	shape.names *= 2;
	switch (step) {
	case STEP_CREATED:
		return segment_create(next, place, &shape);
	case STEP_PREPARED:
		return move_prepare(old, next, instead);
	case STEP_LINKED_STATE:
		return by_name(link, place, "state", "state.old");
	case STEP_LINKED_RULES:
		return by_name(link, place, "rules", "rules.old");
	case STEP_RENAMED_STATE:
		return by_name(rename, place, "state.new", "state");
	case STEP_RENAMED_RULES:
		return by_name(rename, place, "rules.new", "rules");
	case STEP_RETIRED:
		move_retire(old);
		return 0;
	case STEP_HALF_FINISHED:
		return move_install(next, old, 0 + 1, 0 + 1);
	case STEP_FINISHED:
		return move_finish(next, old);
	case STEP_FORGOTTEN:
		segment_forget_old(place);
		return 0;
	case STEPS:
		break;
	}
	return -EINVAL;
}

/* All of it, by the library's own functions. */
static void succeed(struct scene *scene, const struct rule *instead)
{
	struct segment old = scene->segment;
	struct segment next;

	assert_int_equal(step_take(STEP_CREATED, &scene->place, &old, &next, NULL), 0);
	assert_int_equal(move_prepare(&old, &next, instead), 0);
	assert_int_equal(segment_reveal(&next, &scene->place), 0);
	move_retire(&old);
	assert_int_equal(move_finish(&next, &old), 0);
	move_carry(&next, &old);
	segment_forget_old(&scene->place);
	segment_detach(&old);
	scene->segment = next;
}

static void test_successor_keeps_levels(void **state)
{
	struct stage stage;
	struct segment *segment = &stage.scene.segment;

	(void)state;
	stage_begin(&stage);
	scene_add(segment, ROW_EXACT, "x", 10, 100);
	scene_add(segment, ROW_PATTERN, "p/*", 10, 50);
	struct weir_endpoint *x = scene_endpoint(stage.weir, "x");
	struct weir_endpoint *p = scene_endpoint(stage.weir, "p/1");
	struct weir_endpoint *n = scene_endpoint(stage.weir, "n");

	advance(segment, 5 * SCENE_SECOND);
	draw(x, 30);
	draw(p, 20);
	draw(n, 4);
	for (int round = 0; round < 3; round++) {
		uint64_t before = segment_now_ns(segment);

		succeed(&stage.scene, NULL);
		/* time does not go back, on a clock that a program moves */
		assert_true(segment_now_ns(segment) >= before);
		assert_near(level_of(x), 70 - round);
		assert_near(level_of(p), 30 - round);
		assert_near(level_of(n), 6 - round);
		draw(x, 1);
		draw(p, 1);
		draw(n, 1);
		assert_int_equal(granted_of(x), 31 + round);
		assert_int_equal(granted_of(p), 21 + round);
		assert_int_equal(granted_of(n), 5 + round);
	}
	weir_endpoint_close(x);
	weir_endpoint_close(p);
	weir_endpoint_close(n);
	stage_end(&stage);
}

/* How a [default] gets another unit. */
static void test_successor_changes_default(void **state)
{
	struct stage stage;
	struct rule instead = scene_rule(ROW_DEFAULT, "*", 1000000, 20);

	(void)state;
	stage_begin(&stage);
	struct weir_endpoint *n = scene_endpoint(stage.weir, "n");

	draw(n, 4);
	succeed(&stage.scene, &instead);
	assert_near(level_of(n), 16);
	assert_int_equal(granted_of(n), 4);
	assert_int_equal(scene_drain(n), 16);
	assert_int_equal(granted_of(n), 20);
	instead = scene_rule(ROW_DEFAULT, "*", 10, 30);
	succeed(&stage.scene, &instead);
	assert_near(level_of(n), 10);
	assert_int_equal(granted_of(n), 20);
	weir_endpoint_close(n);
	stage_end(&stage);
}

/* What a bucket had under names that have moved since is counted on. */
static void test_counts_are_carried(void **state)
{
	struct stage stage;
	struct segment *segment = &stage.scene.segment;
	struct weir_level level = {.size = sizeof(level)};

	(void)state;
	stage_begin(&stage);
	struct weir_endpoint *x = scene_endpoint(stage.weir, "x");

	draw(x, 3);
	uint32_t row = scene_add(segment, ROW_EXACT, "x", 10, 100);
	draw(x, 4);
	assert_int_equal(change(&stage, row, 100000, 100, RULES_KEEP_USED), row + 1);
	draw(x, 5);
	assert_int_equal(granted_of(x), 12);
	for (int round = 0; round < 2; round++) {
		succeed(&stage.scene, NULL);
		draw(x, 1);
		assert_int_equal(weir_peek(x, &level), 0);
		assert_int_equal(level.granted, 13 + round);
		assert_near(level.granted_tokens, 13 + round);
	}
	weir_endpoint_close(x);
	stage_end(&stage);
}

/* Carrying over may be repeated while stragglers still count in the old pair. */
static void test_carry_is_absolute(void **state)
{
	struct stage stage;
	struct segment next;

	(void)state;
	stage_begin(&stage);
	struct segment *old = &stage.scene.segment;
	struct weir_endpoint *x;
	uint32_t row = scene_add(old, ROW_EXACT, "x", 10, 100);

	x = scene_endpoint(stage.weir, "x");
	draw(x, 5);
	assert_int_equal(step_take(STEP_CREATED, &stage.scene.place, old, &next, NULL), 0);
	assert_int_equal(move_prepare(old, &next, NULL), 0);
	assert_int_equal(segment_reveal(&next, &stage.scene.place), 0);
	move_retire(old);
	assert_int_equal(move_finish(&next, old), 0);
	for (uint64_t late = 0; late < 3; late++) {
		struct tally_sum sum;

		move_carry(&next, old);
		move_carry(&next, old);
		move_tally(&next, row, row, &sum);
		assert_int_equal(sum.counters[COUNT_GRANTED_CALLS], 5 + late);
		assert_true(sum.tokens[COUNT_GRANTED_UNITS] == 5);
		tally_add(&old->tallies, row, COUNT_GRANTED_CALLS, 1);
	}
	weir_endpoint_close(x);
	segment_detach(old);
	stage.scene.segment = next;
	stage_end(&stage);
}

static void test_successor_and_places(void **state)
{
	struct stage stage;
	struct weir_reservation places[3];
	struct weir_answer answer;
	double returned = 0;

	(void)state;
	stage_begin(&stage);
	struct weir_endpoint *n = scene_endpoint(stage.weir, "n");

	draw(n, 10);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(weir_reserve(n, 5, 10 * SCENE_SECOND, &places[i], &answer),
				 WEIR_ADMIT);
		assert_int_equal(answer.wait_ns, (i + 1) * SCENE_SECOND / 2);
	}
	succeed(&stage.scene, NULL);
	assert_int_equal(weir_reservation_wait(n, &places[0], 0, &answer), WEIR_REFUSE);
	assert_int_equal(answer.wait_ns, SCENE_SECOND / 2);
	/* the last in line gives back in full, and settles for more or less as before */
	assert_int_equal(weir_cancel(n, &places[2], &returned), 0);
	assert_near(returned, 5);
	assert_near(level_of(n), -10);
	assert_int_equal(weir_settle(n, &places[1], 7), 0);
	assert_near(level_of(n), -12);
	advance(&stage.scene.segment, SCENE_SECOND / 2);
	assert_int_equal(weir_reservation_wait(n, &places[0], 0, &answer), WEIR_ADMIT);
	assert_int_equal(weir_cancel(n, &places[2], NULL), WEIR_ESPENT);
	weir_endpoint_close(n);
	stage_end(&stage);
}

static void test_successor_and_gates(void **state)
{
	struct stage stage;
	struct weir_answer answer;

	(void)state;
	stage_begin(&stage);
	advance(&stage.scene.segment, 7 * SCENE_SECOND);
	scene_add(&stage.scene.segment, ROW_EXACT, "x", 10, 10);
	struct weir_endpoint *endpoints[] = {scene_endpoint(stage.weir, "x"),
					     scene_endpoint(stage.weir, "n")};

	for (int i = 0; i < 2; i++) {
		draw(endpoints[i], 1);
		assert_int_equal(weir_gate_close(endpoints[i], 30 * SCENE_SECOND), 0);
	}
	advance(&stage.scene.segment, 10 * SCENE_SECOND);
	succeed(&stage.scene, NULL);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(weir_acquire(endpoints[i], 1, &answer), WEIR_REFUSE);
		assert_int_equal(answer.reason, WEIR_REASON_CLOSED);
		assert_in_range(closed_for(endpoints[i]), 20 * SCENE_SECOND,
				20 * SCENE_SECOND + 65536);
	}
	advance(&stage.scene.segment, closed_for(endpoints[0]));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(weir_acquire(endpoints[i], 1, &answer), WEIR_REFUSE);
		assert_int_equal(answer.reason, WEIR_REASON_LEVEL);
		weir_endpoint_close(endpoints[i]);
	}
	stage_end(&stage);
}

/*
 * A name that is first used in the old pair after its names were copied, and before its users
 * learn that there is a new one, must not get a second burst there. `late` is when it is used.
 */
static void late_name(enum step late, bool helped)
{
	struct stage stage;
	struct segment next;
	uint64_t granted = 0;

	stage_begin(&stage);
	struct weir_endpoint *n = NULL;
	struct weir *other = NULL;

	for (int step = 0; step < STEPS; step++) {
		assert_int_equal(step_take((enum step)step, &stage.scene.place,
					   &stage.scene.segment, &next, NULL),
				 0);
		if (step == (int)late) {
			n = scene_endpoint(stage.weir, "late");
			granted += scene_drain(n);
		}
		if (step == STEP_RENAMED_RULES && helped) {
			/* somebody else comes to the new pair before its publisher goes on */
			other = scene_open(&stage.scene.place);
			struct weir_endpoint *theirs = scene_endpoint(other, "late");

			granted += scene_drain(theirs);
			weir_endpoint_close(theirs);
		}
	}
	granted += scene_drain(n);
	if (granted != 10)
		fail_msg("used first after step %d: %llu granted", (int)late,
			 (unsigned long long)granted);
	weir_close(other);
	weir_endpoint_close(n);
	segment_detach(&stage.scene.segment);
	stage.scene.segment = next;
	stage_end(&stage);
}

static void test_late_names(void **state)
{
	(void)state;
	for (int step = STEP_CREATED; step < STEPS; step++) {
		late_name((enum step)step, false);
		late_name((enum step)step, true);
	}
}

/* A client that was stopped between looking at `retired` and claiming its name. */
static void test_straggler(void **state)
{
	struct stage stage;
	struct segment next;
	struct resolution found;
	struct bucket_mark mark;
	struct line line;

	(void)state;
	stage_begin(&stage);
	struct segment *old = &stage.scene.segment;

	for (int step = 0; step < STEPS; step++)
		assert_int_equal(step_take((enum step)step, &stage.scene.place, old, &next, NULL),
				 0);
	/* it goes on where it was, in the old pair */
	assert_int_equal(names_resolve(old, "straggler", true, &found), 0);
	uint64_t now = line_read(&old->rows[found.row], &old->time, &line);
	struct bucket *bucket = &old->buckets[found.bucket];

	assert_int_equal(move_install(old, NULL, found.row, found.bucket), 0);
	assert_int_equal(bucket_take(bucket, line_value(&line, now), 1, line.burst_units, &mark),
			 BUCKET_IS_FROZEN);
	segment_detach(old);
	stage.scene.segment = next;
	stage_end(&stage);
}

/* ---- others draw meanwhile ---- */

#define DRAWERS 3
#define DRAWN_NAMES 16
#define DRAWN_BURST 40
#define ROUNDS 15

struct pool {
	const struct place *place;
	_Atomic uint32_t ready;
	_Atomic uint32_t names; /* how many of them are in use by now */
	_Atomic uint32_t over;
	_Atomic uint64_t granted[DRAWN_NAMES];
	_Atomic uint64_t reattached;
};

static void drawn_name(unsigned index, char out[16])
{
	snprintf(out, 16, index == 0 ? "x" : index == 1 ? "p/1" : "n%u", index);
}

static void count_reattached(void *context, const struct weir_event *event)
{
	struct pool *pool = context;

	if (event->kind == WEIR_EVENT_REATTACH)
		atomic_fetch_add(&pool->reattached, 1);
}

static int drawer(void *context)
{
	struct pool *pool = context;
	struct weir_options options = scene_options(pool->place);
	struct weir_endpoint *endpoints[DRAWN_NAMES] = {NULL};
	struct weir *weir;
	char name[16];
	bool last;

	options.trace = count_reattached;
	options.trace_context = pool;
	CHILD_CHECK(weir_open(&weir, &options) == 0);
	atomic_fetch_add(&pool->ready, 1);
	do { /* one round more after the end, so that nothing is left behind */
		last = atomic_load(&pool->over);
		for (unsigned i = 0; i < atomic_load(&pool->names); i++) {
			struct weir_answer answer;

			drawn_name(i, name);
			if (!endpoints[i])
				endpoints[i] = scene_endpoint(weir, name);
			CHILD_CHECK(endpoints[i]);
			while (weir_acquire(endpoints[i], 1, &answer) == WEIR_ADMIT) {
				atomic_fetch_add(&pool->granted[i], 1);
				if (!last)
					break;
			}
			CHILD_CHECK(answer.fault == 0);
		}
	} while (!last);
	for (unsigned i = 0; i < DRAWN_NAMES; i++)
		weir_endpoint_close(endpoints[i]);
	weir_close(weir);
	return 0;
}

static void pool_begin(struct scene *scene, struct pool **out, pid_t pids[DRAWERS])
{
	struct pool *pool = scene_shared(sizeof(*pool));
	const struct rule fallback = scene_rule(ROW_DEFAULT, "*", 10, DRAWN_BURST);

	scene_place(&scene->place);
	assert_int_equal(segment_create(&scene->segment, &scene->place, &scene_shape), 0);
	assert_int_equal(rules_add(&scene->segment, &fallback), 0);
	scene_add(&scene->segment, ROW_EXACT, "x", 10, DRAWN_BURST);
	scene_add(&scene->segment, ROW_PATTERN, "p/*", 10, DRAWN_BURST);
	assert_int_equal(segment_reveal(&scene->segment, &scene->place), 0);
	pool->place = &scene->place;
	atomic_store(&pool->names, 4);
	for (int i = 0; i < DRAWERS; i++)
		pids[i] = scene_child(drawer, pool);
	assert_true(scene_until(&pool->ready, DRAWERS));
	*out = pool;
}

static void pool_end(struct scene *scene, struct pool *pool, const pid_t pids[DRAWERS], int step)
{
	atomic_store(&pool->names, DRAWN_NAMES);
	atomic_store(&pool->over, 1);
	for (int i = 0; i < DRAWERS; i++)
		assert_int_equal(scene_wait(pids[i]), 0);
	for (unsigned i = 0; i < DRAWN_NAMES; i++)
		if (atomic_load(&pool->granted[i]) != DRAWN_BURST)
			fail_msg("step %d, name %u: %llu granted of %d", step, i,
				 (unsigned long long)atomic_load(&pool->granted[i]), DRAWN_BURST);
	munmap(pool, sizeof(*pool));
	scene_end(scene);
}

/* Lets the drawers get somewhere, and brings names into play that nobody has used yet. */
static void let_draw(struct pool *pool)
{
	if (atomic_load(&pool->names) < DRAWN_NAMES)
		atomic_fetch_add(&pool->names, 1);
	for (int i = 0; i < 3; i++)
		sched_yield();
}

static void test_drawn_from_while_replaced(void **state)
{
	uint64_t reattached = 0;

	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		struct scene scene;
		struct pool *pool;
		struct segment next;
		pid_t pids[DRAWERS];

		pool_begin(&scene, &pool, pids);
		for (int again = 0; again < 2; again++) {
			for (int step = 0; step < STEPS; step++) {
				assert_int_equal(step_take((enum step)step, &scene.place,
							   &scene.segment, &next, NULL),
						 0);
				let_draw(pool);
			}
			segment_detach(&scene.segment);
			scene.segment = next;
		}
		atomic_store(&pool->over, 1);
		for (int i = 0; i < DRAWERS; i++)
			assert_int_equal(scene_wait(pids[i]), 0);
		reattached += atomic_load(&pool->reattached);
		for (int i = 0; i < DRAWERS; i++)
			pids[i] = scene_child(drawer, pool);
		pool_end(&scene, pool, pids, STEPS);
	}
	print_message("%llu re-attachments in %d moves\n", (unsigned long long)reattached,
		      2 * ROUNDS);
	assert_true(reattached >= ROUNDS);
}

struct dying {
	struct scene *scene;
	struct pool *pool;
	int after;
};

static int publisher_dies(void *context)
{
	struct dying *dying = context;
	struct segment next;

	for (int step = 0; step <= dying->after; step++)
		CHILD_CHECK(step_take((enum step)step, &dying->scene->place, &dying->scene->segment,
				      &next, NULL) == 0);
	raise(SIGKILL);
	return 1;
}

/* What the next daemon does: clears up, adopts, and brings a move to its end. */
static void adopt(struct scene *scene)
{
	struct segment old;

	segment_detach(&scene->segment);
	assert_int_equal(segment_recover(&scene->place), 0);
	assert_int_equal(segment_attach(&scene->segment, &scene->place, SEGMENT_PUBLISH, (uid_t)-1),
			 0);
	rules_recover(&scene->segment);

	uint64_t predecessor = atomic_load(&scene->segment.rules->predecessor);

	if (predecessor) {
		assert_int_equal(segment_attach_old(&old, &scene->place, SEGMENT_PUBLISH, (uid_t)-1,
						    predecessor),
				 0);
		move_retire(&old);
		assert_int_equal(move_finish(&scene->segment, &old), 0);
		segment_detach(&old);
	}
	segment_forget_old(&scene->place);
}

static void test_publisher_dies_at_each_step(void **state)
{
	(void)state;
	for (int step = 0; step < STEPS; step++) {
		struct scene scene;
		struct dying dying = {.scene = &scene, .after = step};
		pid_t pids[DRAWERS];

		pool_begin(&scene, &dying.pool, pids);
		assert_int_equal(scene_wait(scene_child(publisher_dies, &dying)), 256 + SIGKILL);
		/* with nobody to publish, everybody goes on */
		for (int i = 0; i < 6; i++)
			let_draw(dying.pool);
		scene_sleep_ms(2);
		adopt(&scene);
		for (int i = 0; i < 6; i++)
			let_draw(dying.pool);
		pool_end(&scene, dying.pool, pids, step);
	}
	print_message("killed at %d steps\n", (int)STEPS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_change_in_place),
		cmocka_unit_test(test_change_moves),
		cmocka_unit_test(test_change_moves_and_keeps),
		cmocka_unit_test(test_change_moves_debt),
		cmocka_unit_test(test_default_does_not_move),
		cmocka_unit_test(test_no_row_left),
		cmocka_unit_test(test_own_row_and_back),
		cmocka_unit_test(test_own_row_of_another_kind),
		cmocka_unit_test(test_removal_repeated),
		cmocka_unit_test(test_gate_goes_along),
		cmocka_unit_test(test_place_goes_along_closed),
		cmocka_unit_test(test_gate_comes_back),
		cmocka_unit_test(test_recover_finishes_moves),
		cmocka_unit_test(test_recover_removes_twins),
		cmocka_unit_test(test_successor_keeps_levels),
		cmocka_unit_test(test_successor_changes_default),
		cmocka_unit_test(test_counts_are_carried),
		cmocka_unit_test(test_carry_is_absolute),
		cmocka_unit_test(test_successor_and_places),
		cmocka_unit_test(test_successor_and_gates),
		cmocka_unit_test(test_late_names),
		cmocka_unit_test(test_straggler),
		cmocka_unit_test(test_drawn_from_while_replaced),
		cmocka_unit_test(test_publisher_dies_at_each_step),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
