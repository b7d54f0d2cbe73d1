/* SPDX-License-Identifier: Apache-2.0
 *
 * One bucket and its gate, call by call: unset, frozen, at the ends of the numbers.
 */
#include "segment_fixture.h"

#include "bucket.h"
#include "gate.h"

/* A line of `burst` units that mints a unit a tick; V is the tick. */
static struct line line_of(uint64_t burst)
{
	struct line line;

	assert_int_equal(line_from_hz(&line, 1000000000u), 0);
	line.burst_units = line.initial_units = burst;
	line.reach_units = LINE_FAR;
	return line;
}

static void test_unset_and_frozen(void **state)
{
	static const struct {
		uint64_t mark;
		enum bucket_result result;
	} cases[] = {
		{BUCKET_UNSET, BUCKET_IS_UNSET},
		{BUCKET_FROZEN | 7, BUCKET_IS_FROZEN},
		{BUCKET_FROZEN, BUCKET_IS_FROZEN}, /* frozen before anybody used it */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bucket bucket = {.mark = cases[i].mark};
		struct line line = line_of(10);
		struct bucket_mark mark;

		assert_int_equal(bucket_take(&bucket, 100, 1, 10, &mark), cases[i].result);
		assert_int_equal(bucket_see(cases[i].mark, 100, 1, 10, &mark), cases[i].result);
		assert_int_equal(bucket_charge(&bucket, &line, 100, 1), cases[i].result);
		assert_int_equal(bucket_drain(&bucket, 100), cases[i].result);
		assert_int_equal(bucket_give_back(&bucket, 100, 10, 1, 7), 0);
		assert_int_equal(gate_reset(&bucket, 100, NULL, NULL), cases[i].result);
		bucket.gate = GATE_PENDING;
		assert_false(gate_settle(&bucket, bucket.gate, &line));
		assert_true(atomic_load(&bucket.mark) == cases[i].mark);
		assert_true(atomic_load(&bucket.gate) == GATE_PENDING);
		/* closing works all the same, and says that its mark is elsewhere */
		assert_int_equal(gate_close(&bucket, 100, 200),
				 cases[i].result != BUCKET_IS_FROZEN);
		assert_int_equal(gate_open(&bucket, 100), cases[i].result != BUCKET_IS_FROZEN);
	}
}

static void test_install(void **state)
{
	struct bucket from = {.mark = 50};
	struct bucket to = {.mark = BUCKET_UNSET};
	uint64_t frozen = 0;

	(void)state;
	bucket_install(&to, 70);
	bucket_install(&to, 90); /* the first stands */
	assert_true(bucket_look(&to) == 70);
	/* a bucket that has its mark needs none: the source is left alone */
	assert_false(bucket_freeze_for(&from, &to, &frozen));
	assert_true(atomic_load(&from.mark) == 50);
	atomic_store(&to.mark, BUCKET_UNSET);
	assert_true(bucket_freeze_for(&from, &to, &frozen));
	assert_true(frozen == 50 && atomic_load(&from.mark) == (BUCKET_FROZEN | 50));
	/* once more, by another helper: the same value */
	assert_true(bucket_freeze_for(&from, &to, &frozen));
	assert_true(frozen == 50);
	assert_true(bucket_freeze(&from) == 50);
}

static void test_charge_saturates(void **state)
{
	struct bucket bucket = {.mark = 100};
	struct line line = line_of(10);

	(void)state;
	assert_int_equal(bucket_charge(&bucket, &line, 100, UINT64_MAX), BUCKET_TAKEN);
	assert_true(bucket_look(&bucket) == 100 + LINE_FAR);
	assert_int_equal(bucket_charge(&bucket, &line, 100, 1), BUCKET_TAKEN);
	assert_true(bucket_look(&bucket) == 100 + LINE_FAR);
	/* a V that has passed the mark is where a debt begins */
	line.origin_units = LINE_FAR;
	assert_int_equal(bucket_charge(&bucket, &line, 200, 5), BUCKET_TAKEN);
	assert_true(bucket_look(&bucket) == 205 + LINE_FAR);
}

static void test_give_back(void **state)
{
	struct bucket bucket = {.mark = 100};

	(void)state;
	/* V has passed it */
	assert_true(bucket_give_back(&bucket, 100, 10, 5, 100) == 0);
	/* nobody can be waiting: in full, but not below V */
	assert_true(bucket_give_back(&bucket, 95, 10, 3, 1) == 3);
	assert_true(bucket_give_back(&bucket, 95, 10, 30, 1) == 2);
	/* somebody may be: the last in line alone */
	atomic_store(&bucket.mark, 200);
	assert_true(bucket_give_back(&bucket, 100, 10, 5, 199) == 0);
	assert_true(bucket_give_back(&bucket, 100, 10, 5, 200) == 5);
}

static void test_gate_words(void **state)
{
	const uint64_t hour = 1ull << 40;
	struct bucket bucket = {.mark = 100};
	struct line line = line_of(10);
	uint64_t first;

	(void)state;
	assert_true(gate_close(&bucket, 1000, hour));
	first = gate_load(&bucket);
	assert_true(gate_is_closed(first, 1000));
	/* of two closures the later end counts; a later one is counted as the same closure */
	assert_true(gate_close(&bucket, 1000, hour / 2));
	assert_true(gate_load(&bucket) == first);
	assert_true(gate_close(&bucket, 1000, 2 * hour));
	assert_true((gate_load(&bucket) & GATE_UNTIL) == 2 * hour);
	assert_true(((gate_load(&bucket) ^ first) & GATE_CLOSINGS) == 0);
	/* as long as the clock reaches */
	assert_true(gate_close(&bucket, 1000, UINT64_MAX));
	assert_true((gate_load(&bucket) & GATE_UNTIL) == GATE_UNTIL);
	assert_true(gate_open(&bucket, 1000));
	assert_false(gate_is_closed(gate_load(&bucket), 1000));
	assert_false(gate_is_settled(gate_load(&bucket)));
	assert_true(gate_settle(&bucket, gate_load(&bucket), &line));
	assert_true(gate_is_settled(gate_load(&bucket)));

	/* what voids a place: any reset; a closure that its turn fell into */
	uint64_t now = gate_load(&bucket);
	uint64_t closed = (now ^ 0x100) | (1ull << 20);

	assert_false(gate_voids(now, now, 500, &line));
	assert_true(gate_voids(now, now ^ 1, UINT64_MAX / 4, &line));
	assert_true(gate_voids(now, closed, (1ull << 20) + 10, &line));
	assert_false(gate_voids(now, closed, (1ull << 20) + 11, &line));
}

static uint64_t to_seven(uint64_t mark, const void *context)
{
	*(uint64_t *)(uintptr_t)context = mark;
	return 7;
}

static void test_reset(void **state)
{
	struct bucket bucket = {.mark = 100};
	uint64_t seen = 0;

	(void)state;
	assert_int_equal(gate_reset(&bucket, 1000, to_seven, &seen), BUCKET_TAKEN);
	assert_true(seen == 100 && bucket_look(&bucket) == 7);
	assert_true((gate_load(&bucket) & GATE_RESETS) == 1);
	/* an opening that nobody has met is settled by the way, a closure goes on */
	atomic_fetch_or(&bucket.gate, GATE_PENDING);
	assert_int_equal(gate_reset(&bucket, 1000, to_seven, &seen), BUCKET_TAKEN);
	assert_true(gate_is_settled(gate_load(&bucket)));
	assert_true(gate_close(&bucket, 1000, 1ull << 30));
	assert_int_equal(gate_reset(&bucket, 1000, to_seven, &seen), BUCKET_TAKEN);
	assert_true(gate_is_closed(gate_load(&bucket), 1000));
	/* counted modulo 256, and nothing else is touched */
	uint64_t before = gate_load(&bucket);

	for (int i = 0; i < 256; i++)
		gate_reset(&bucket, 1000, to_seven, &seen);
	assert_true(gate_load(&bucket) == before);
}

static void test_inherit(void **state)
{
	struct bucket to = {.mark = 1};

	(void)state;
	gate_inherit(&to, 0); /* nothing to inherit */
	assert_true(gate_load(&to) == 0);
	gate_inherit(&to, GATE_PENDING | 1ull << 30 | 5); /* the counts go along */
	assert_true(gate_load(&to) == (GATE_PENDING | 1ull << 30 | 5));
	gate_inherit(&to, GATE_PENDING | 1ull << 31); /* it has a history of its own */
	assert_true(gate_load(&to) == (GATE_PENDING | 1ull << 30 | 5));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unset_and_frozen), cmocka_unit_test(test_install),
		cmocka_unit_test(test_charge_saturates), cmocka_unit_test(test_give_back),
		cmocka_unit_test(test_gate_words),	 cmocka_unit_test(test_reset),
		cmocka_unit_test(test_inherit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
