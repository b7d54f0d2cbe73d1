/* SPDX-License-Identifier: Apache-2.0
 *
 * What is learned of an upstream comes into force, and goes: the level stays as far as the burst
 * allows, and what cannot be is refused without a change. (Killed in between: tests/model.)
 */
#include "segment_fixture.h"

#include "bucket.h"
#include "move.h"

static const struct terms_author nobody = {ORIGIN_FILE, 0};

struct stage {
	struct segment segment;
	struct terms terms; /* of "x": burst 10, by the fields of responses */
	uint32_t row;
};

/* Room for one rule that follows an upstream. */
static void stage_begin_at(struct stage *stage, uint64_t rate_micro)
{
	struct segment_shape shape = scene_shape;
	struct rule rule = scene_rule(ROW_EXACT, "x", 10, 10);
	int64_t row;

	shape.follows = 1;
	rule.terms.rate_micro = rate_micro;
	rule.terms.adapt.mode = ADAPT_HEADERS;
	stage->terms = rule.terms;
	assert_int_equal(segment_create_private(&stage->segment, &shape), 0);
	scene_add(&stage->segment, ROW_DEFAULT, "*", 10, 10);
	row = rules_add(&stage->segment, &rule);
	assert_true(row >= 0);
	stage->row = (uint32_t)row;
	assert_int_equal(move_install(&stage->segment, NULL, stage->row, stage->row), 0);
}

static void stage_begin(struct stage *stage)
{
	stage_begin_at(stage, 10 * TERMS_MICRO);
}

static void stage_end(struct stage *stage)
{
	segment_detach(&stage->segment);
}

/* Tokens, and the burst that they are of. */
static double level_of(const struct stage *stage, double *burst)
{
	struct line line;
	uint64_t now = line_read(&stage->segment.rows[stage->row], &stage->segment.time, &line);
	int64_t level = bucket_level(bucket_look(&stage->segment.buckets[stage->row]),
				     line_value(&line, now), line.burst_units, line.initial_units);

	*burst = (double)line.burst_units / (double)(1ull << line.k);
	return (double)level / (double)(1ull << line.k);
}

static void assert_stands(const struct stage *stage, double expected, double expected_burst)
{
	double burst;

	assert_near(level_of(stage, &burst), expected);
	assert_near(burst, expected_burst);
}

static struct learned_terms learned_of(const struct stage *stage)
{
	struct terms_author author;
	struct terms terms;
	uint64_t changed_ns;

	segment_terms(&stage->segment, stage->row, &terms, &author, &changed_ns);
	return terms.learned;
}

static struct learned_terms learned(uint64_t per_second, uint64_t burst)
{
	return (struct learned_terms){
		.rate_micro = per_second * TERMS_MICRO,
		.period_ns = SCENE_SECOND,
		.burst_micro = burst * TERMS_MICRO,
	};
}

static void learn(struct stage *stage, struct learned_terms what)
{
	assert_int_equal(rules_learn(&stage->segment, stage->row, &what), 0);
}

static void change(struct stage *stage)
{
	assert_int_equal(
		rules_change(&stage->segment, stage->row, &stage->terms, &nobody, RULES_KEEP_USED),
		stage->row);
}

/* Never above the terms; a smaller burst takes what was above it, and a larger one comes empty. */
static void test_level_stays(void **state)
{
	struct stage stage;

	(void)state;
	stage_begin(&stage);
	learn(&stage, learned(5, 25));
	assert_stands(&stage, 10, 10);
	learn(&stage, learned(5, 4));
	assert_stands(&stage, 4, 4);
	learn(&stage, learned(5, 8));
	assert_stands(&stage, 4, 8);
	/* and so does the burst of the terms, when they are in force again */
	learn(&stage, (struct learned_terms){0});
	assert_stands(&stage, 4, 10);
	stage_end(&stage);
}

/* More in a tick than the row's unit can count, or another rule's place: nothing has changed. */
static void test_cannot_be(void **state)
{
	const struct learned_terms fast = learned(10000000000000ull, 10);
	const struct learned_terms slow = learned(5, 10);
	struct rule rule = scene_rule(ROW_EXACT, "z", 10, 10);
	struct stage stage;
	uint64_t before;
	uint32_t other;

	(void)state;
	stage_begin_at(&stage, TERMS_UNLIMITED);
	other = scene_add(&stage.segment, ROW_EXACT, "y", 10, 10);
	before = atomic_load(&stage.segment.rows[stage.row].generation);
	assert_int_equal(rules_learn(&stage.segment, stage.row, &fast), WEIR_EVALUE);
	assert_int_equal(atomic_load(&stage.segment.rows[stage.row].generation), before);

	before = atomic_load(&stage.segment.rows[other].generation);
	assert_int_equal(rules_learn(&stage.segment, other, &slow), WEIR_EROWS);
	assert_int_equal(atomic_load(&stage.segment.rows[other].generation), before);
	rule.terms.adapt.mode = ADAPT_HEADERS;
	assert_int_equal(rules_add(&stage.segment, &rule), WEIR_EROWS);
	assert_int_equal(names_exact_row(&stage.segment, "z"), -1);
	assert_int_equal(names_row_of_kind(&stage.segment, ROW_PATTERN, "x"), -1);
	stage_end(&stage);
}

/* It goes with the terms that it is held against, and not into a rule that learns no more. */
static void test_terms_change(void **state)
{
	struct stage stage;

	(void)state;
	stage_begin(&stage);
	learn(&stage, learned(5, 4));
	stage.terms.rate_micro = 20 * TERMS_MICRO;
	change(&stage);
	assert_int_equal(learned_of(&stage).rate_micro, 5 * TERMS_MICRO);
	assert_stands(&stage, 4, 4);
	stage.terms.adapt.mode = ADAPT_OFF;
	change(&stage);
	assert_int_equal(learned_of(&stage).period_ns, 0);
	assert_stands(&stage, 4, 10);
	stage_end(&stage);
}

/* What an operator sets while it is frozen is in force: what was learned before is not. */
static void test_terms_change_when_frozen(void **state)
{
	struct learned_terms frozen = learned(5, 4);
	struct stage stage;

	(void)state;
	stage_begin(&stage);
	frozen.cause = LEARNED_FROZEN;
	learn(&stage, frozen);
	stage.terms.max_wait_ns = SCENE_SECOND;
	change(&stage);
	assert_int_equal(learned_of(&stage).rate_micro, 5 * TERMS_MICRO);
	stage.terms.rate_micro = 20 * TERMS_MICRO;
	change(&stage);
	assert_int_equal(learned_of(&stage).period_ns, 0);
	assert_int_equal(learned_of(&stage).cause, LEARNED_FROZEN);
	assert_stands(&stage, 4, 10);
	stage_end(&stage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_level_stays),
		cmocka_unit_test(test_cannot_be),
		cmocka_unit_test(test_terms_change),
		cmocka_unit_test(test_terms_change_when_frozen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
