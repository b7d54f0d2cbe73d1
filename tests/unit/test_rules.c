/* SPDX-License-Identifier: Apache-2.0
 *
 * The publisher's calls: a clock that is calibrated anew, terms that make no line, names that come
 * under another rule. (Moving of marks: test_move.c.)
 */
#include "segment_fixture.h"

#include "bucket.h"
#include "gate.h"
#include "move.h"

static const struct terms_author nobody = {ORIGIN_FILE, 0};

struct stage {
	struct segment segment;
	uint32_t row; /* "x": 10/s, burst 10 */
};

static void stage_begin(struct stage *stage)
{
	assert_int_equal(segment_create_private(&stage->segment, &scene_shape), 0);
	scene_add(&stage->segment, ROW_DEFAULT, "*", 10, 10);
	stage->row = scene_add(&stage->segment, ROW_EXACT, "x", 10, 10);
	assert_int_equal(move_install(&stage->segment, NULL, stage->row, stage->row), 0);
}

static void stage_end(struct stage *stage)
{
	segment_detach(&stage->segment);
}

static struct line line_of(const struct segment *segment, uint32_t row, uint64_t *now)
{
	struct line line;

	*now = line_read(&segment->rows[row], &segment->time, &line);
	return line;
}

static double level_of(const struct segment *segment, uint32_t row)
{
	uint64_t now;
	struct line line = line_of(segment, row, &now);
	int64_t level = bucket_level(bucket_look(&segment->buckets[row]), line_value(&line, now),
				     line.burst_units, line.initial_units);

	return (double)level / (double)(1ull << line.k);
}

static void drain(struct stage *stage)
{
	uint64_t now;
	struct line line = line_of(&stage->segment, stage->row, &now);

	assert_int_equal(bucket_drain(&stage->segment.buckets[stage->row],
				      line_value(&line, now) + line.burst_units),
			 BUCKET_TAKEN);
	assert_near(level_of(&stage->segment, stage->row), 0);
}

/* What was slept is credited, at most to full; debts too are paid by no more than a burst. */
static void test_sleep_is_credited(void **state)
{
	struct stage stage;
	uint64_t now;

	(void)state;
	stage_begin(&stage);
	drain(&stage);
	assert_int_equal(rules_rebase(&stage.segment, 1000000000u, 0), 0);
	assert_near(level_of(&stage.segment, stage.row), 0);
	assert_int_equal(rules_rebase(&stage.segment, 1000000000u, SCENE_SECOND / 2), 0);
	assert_near(level_of(&stage.segment, stage.row), 5);
	assert_int_equal(rules_rebase(&stage.segment, 1000000000u, 3600 * SCENE_SECOND), 0);
	assert_near(level_of(&stage.segment, stage.row), 10);
	drain(&stage);
	struct line straight = line_of(&stage.segment, stage.row, &now);

	assert_int_equal(bucket_charge(&stage.segment.buckets[stage.row], &straight, now, 0),
			 BUCKET_TAKEN);
	assert_int_equal(rules_rebase(&stage.segment, 1000000000u, UINT64_MAX), 0);
	assert_near(level_of(&stage.segment, stage.row), 10);
	stage_end(&stage);
}

/* Twice as many ticks a second: each mints half as much, and V goes on from where it was. */
static void test_calibration(void **state)
{
	struct stage stage;
	uint64_t now;

	(void)state;
	stage_begin(&stage);
	struct line before = line_of(&stage.segment, stage.row, &now);
	uint64_t v = line_value(&before, now);

	assert_int_equal(rules_rebase(&stage.segment, 2000000000u, 0), 0);
	struct line after = line_of(&stage.segment, stage.row, &now);

	assert_true(line_value(&after, now) == v);
	assert_true(after.slope == (before.slope + 1) / 2 || after.slope == before.slope / 2);
	assert_int_equal(after.k, before.k);
	struct line clock;

	segment_clock(&stage.segment, &clock);
	assert_true(line_ticks_to_ns(&clock, 2000) == 1000);
	stage_end(&stage);
}

/* No speed at all is refused, and nothing was published. */
static void test_no_calibration(void **state)
{
	struct stage stage;

	(void)state;
	stage_begin(&stage);
	uint64_t before = atomic_load(&stage.segment.rows[stage.row].generation);

	assert_int_equal(rules_rebase(&stage.segment, 0, 0), WEIR_EVALUE);
	assert_true(atomic_load(&stage.segment.rows[stage.row].generation) == before);
	stage_end(&stage);
}

/* A row that no line can be made of at that speed stays as it was; the others have theirs. */
static void test_row_that_does_not_fit(void **state)
{
	const struct terms fast = scene_terms(600, 10);
	struct stage stage;
	uint64_t now;

	(void)state;
	stage_begin(&stage);
	/* its unit is for 10/s: at 600/s ten of them in a tick, where one may mint below sixteen */
	assert_int_equal(rules_change(&stage.segment, stage.row, &fast, &nobody, RULES_KEEP_USED),
			 stage.row);
	uint32_t slow = scene_add(&stage.segment, ROW_EXACT, "slow", 10, 10);
	uint32_t gone = scene_add(&stage.segment, ROW_EXACT, "gone", 10, 10);
	struct line old = line_of(&stage.segment, slow, &now);
	uint64_t before = atomic_load(&stage.segment.rows[stage.row].generation);

	rules_remove(&stage.segment, gone);
	uint64_t removed = atomic_load(&stage.segment.rows[gone].generation);

	/* a tick is ten times as long */
	assert_int_equal(rules_rebase(&stage.segment, 100000000u, 0), WEIR_EVALUE);
	assert_true(atomic_load(&stage.segment.rows[stage.row].generation) == before);
	assert_true(atomic_load(&stage.segment.rows[gone].generation) == removed);
	uint64_t ratio = line_of(&stage.segment, slow, &now).slope / old.slope;

	assert_true(ratio == 10 || ratio == 9);
	stage_end(&stage);
}

/* Terms that no parser lets through. */
static void test_terms_without_a_line(void **state)
{
	struct rule rule = scene_rule(ROW_EXACT, "y", 10, 10);
	struct stage stage;

	(void)state;
	stage_begin(&stage);
	rule.terms.period_ns = 0;
	uint32_t used = atomic_load(&stage.segment.rules->rows_used);

	assert_int_equal(rules_add(&stage.segment, &rule), WEIR_EVALUE);
	assert_int_equal(atomic_load(&stage.segment.rules->rows_used), used);
	rule.terms = scene_terms(10, 10);
	rule.terms.initial_micro = 11 * TERMS_MICRO;
	assert_int_equal(
		rules_change(&stage.segment, stage.row, &rule.terms, &nobody, RULES_KEEP_USED),
		WEIR_EVALUE);
	assert_near(level_of(&stage.segment, stage.row), 10);
	stage_end(&stage);
}

/* A name that was used under [default] and fell under a pattern since brings nothing along. */
static void test_name_under_a_pattern(void **state)
{
	struct resolution found;
	struct stage stage;

	(void)state;
	stage_begin(&stage);
	assert_int_equal(names_resolve(&stage.segment, "p/1", true, &found), 0);
	assert_int_equal(move_install(&stage.segment, NULL, found.row, found.bucket), 0);
	bucket_drain(&stage.segment.buckets[found.bucket], 1ull << 40);
	scene_add(&stage.segment, ROW_PATTERN, "p/*", 10, 10);
	uint32_t row = scene_add(&stage.segment, ROW_EXACT, "p/1", 10, 10);

	assert_int_equal(move_install(&stage.segment, NULL, row, row), 0);
	assert_near(level_of(&stage.segment, row), 10);
	stage_end(&stage);
}

/* What becomes of the level, where the burst shrinks below it and where a debt is kept. */
static void test_keeping(void **state)
{
	static const struct {
		enum rules_keep keep;
		uint64_t burst;
		double level;
		double debt;
	} cases[] = {
		{RULES_KEEP_LEVEL, 5, 5, -4},	     {RULES_KEEP_LEVEL, 20, 8, -4},
		{RULES_KEEP_PROPORTIONAL, 5, 4, -4}, {RULES_KEEP_PROPORTIONAL, 20, 16, -4},
		{RULES_KEEP_RESET, 5, 5, 5},	     {RULES_KEEP_RESET, 20, 20, 20},
		{RULES_KEEP_USED, 5, 3, -9},	     {RULES_KEEP_USED, 20, 18, 6},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (int debt = 0; debt < 2; debt++) {
			const struct terms terms = scene_terms(10, cases[i].burst);
			struct stage stage;
			uint64_t now;

			stage_begin(&stage);
			struct line line = line_of(&stage.segment, stage.row, &now);

			bucket_charge(&stage.segment.buckets[stage.row], &line, now,
				      (debt ? 14ull : 2ull) << line.k);
			assert_int_equal(rules_change(&stage.segment, stage.row, &terms, &nobody,
						      cases[i].keep),
					 stage.row);
			assert_near(level_of(&stage.segment, stage.row),
				    debt ? cases[i].debt : cases[i].level);
			stage_end(&stage);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sleep_is_credited),
		cmocka_unit_test(test_calibration),
		cmocka_unit_test(test_no_calibration),
		cmocka_unit_test(test_row_that_does_not_fit),
		cmocka_unit_test(test_terms_without_a_line),
		cmocka_unit_test(test_name_under_a_pattern),
		cmocka_unit_test(test_keeping),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
