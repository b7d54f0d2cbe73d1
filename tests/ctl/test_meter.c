/* SPDX-License-Identifier: Apache-2.0
 *
 * The meter of `weirctl load`, on the manual clock: what it allows is exact, grows by what an
 * operator does, follows a rule that moves, and an excess of one token is seen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bucket.h"
#include "meter.h"
#include "move.h"
#include "stage.h"
#include "tally.h"

#define SECOND 1000000000ull

struct fixture {
	struct stage stage;
	struct meter meter;
};

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	if (!fixture)
		return -1;
	stage_begin(&fixture->stage);
	stage_publish(&fixture->stage, CLOCK_KIND_MANUAL, 4);
	stage_rule(&fixture->stage, ROW_EXACT, "api", "10/s", "20");
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	look_close(&fixture->meter.look);
	stage_end(&fixture->stage);
	free(fixture);
	return 0;
}

static void begin(struct fixture *fixture, const char *name)
{
	assert_int_equal(look_attach(&fixture->meter.look, &fixture->stage.place), 0);
	assert_int_equal(meter_begin(&fixture->meter, &fixture->stage.place, name), 0);
}

static void take_all(struct fixture *fixture, const char *name)
{
	while (stage_take(&fixture->stage, name, 1))
		;
}

/* Counts a grant that the bucket knows nothing of, as a broken limiter would. */
static void forge_grant(struct fixture *fixture, const char *name, uint64_t tokens)
{
	struct resolution at = stage_resolve(&fixture->stage, name);
	struct line line;

	line_read(&fixture->stage.segment.rows[at.row], &fixture->stage.segment.time, &line);
	tally_count(&fixture->stage.segment.tallies, at.bucket, COUNT_GRANTED_CALLS,
		    tokens << line.k);
}

static double allowed(const struct fixture *fixture)
{
	return (double)meter_allowed(&fixture->meter);
}

static double granted(const struct fixture *fixture)
{
	return (double)fixture->meter.sums[METER_GRANTED];
}

static double excess(const struct fixture *fixture)
{
	return (double)meter_excess(&fixture->meter);
}

static void test_exact(void **state)
{
	struct fixture *fixture = *state;

	stage_take(&fixture->stage, "api", 5);
	begin(fixture, "api");
	for (int i = 0; i < 30; i++) {
		take_all(fixture, "api");
		stage_advance(&fixture->stage, SECOND / 10);
		meter_step(&fixture->meter);
	}
	take_all(fixture, "api");
	meter_step(&fixture->meter);
	assert_true(allowed(fixture) == 15 + 30);
	assert_true(granted(fixture) == 15 + 30);
	assert_true(excess(fixture) == 0);
	assert_true(fixture->meter.sums[METER_GRANTED_CALLS] == 45);
	assert_true(fixture->meter.sums[METER_REFUSED_CALLS] == 31);
	forge_grant(fixture, "api", 1);
	meter_step(&fixture->meter);
	assert_true(excess(fixture) == 1);
}

/* The first use of a bucket that nobody had used yet. */
static void test_unused(void **state)
{
	struct fixture *fixture = *state;

	begin(fixture, "api");
	assert_true(allowed(fixture) == 20);
	stage_advance(&fixture->stage, SECOND);
	take_all(fixture, "api");
	meter_step(&fixture->meter);
	assert_true(granted(fixture) == 20);
	assert_true(excess(fixture) == 0);
}

static void test_rate_changes(void **state)
{
	struct fixture *fixture = *state;

	take_all(fixture, "api");
	begin(fixture, "api");
	stage_advance(&fixture->stage, SECOND);
	take_all(fixture, "api");
	/* between two steps */
	stage_change(&fixture->stage, "api", "100/s", "20");
	stage_advance(&fixture->stage, SECOND / 10);
	take_all(fixture, "api");
	meter_step(&fixture->meter);
	assert_true(allowed(fixture) == 10 + 10);
	assert_true(granted(fixture) == 10 + 10);
	stage_change(&fixture->stage, "api", "1/s", "20");
	stage_advance(&fixture->stage, 5 * SECOND);
	take_all(fixture, "api");
	meter_step(&fixture->meter);
	assert_true(allowed(fixture) == 25);
	assert_true(granted(fixture) == 25);
	assert_true(excess(fixture) == 0);
}

/* A larger burst is room that was not there; a smaller one takes nothing back. */
static void test_burst_changes(void **state)
{
	struct fixture *fixture = *state;

	take_all(fixture, "api");
	begin(fixture, "api");
	stage_change(&fixture->stage, "api", "10/s", "50");
	take_all(fixture, "api");
	meter_step(&fixture->meter);
	assert_true(granted(fixture) == 30);
	assert_true(allowed(fixture) == 30);
	stage_change(&fixture->stage, "api", "10/s", "5");
	take_all(fixture, "api");
	meter_step(&fixture->meter);
	assert_true(granted(fixture) == 30);
	assert_true(allowed(fixture) == 30);
	assert_true(excess(fixture) == 0);
}

static void test_reset(void **state)
{
	struct fixture *fixture = *state;
	struct resolution at = stage_resolve(&fixture->stage, "api");

	take_all(fixture, "api");
	begin(fixture, "api");
	for (int i = 0; i < 3; i++) {
		rules_reset(&fixture->stage.segment, at.row, at.bucket);
		take_all(fixture, "api");
	}
	meter_step(&fixture->meter);
	assert_true(granted(fixture) == 60);
	assert_true(allowed(fixture) == 60);
	assert_true(excess(fixture) == 0);
}

/* What was reserved ahead was granted already; a reset has all who come later begin anew. */
static void test_reset_of_a_queue(void **state)
{
	struct fixture *fixture = *state;
	struct resolution at = stage_resolve(&fixture->stage, "api");

	take_all(fixture, "api");
	begin(fixture, "api");
	stage_charge(&fixture->stage, "api", 10);
	forge_grant(fixture, "api", 10);
	meter_step(&fixture->meter);
	rules_reset(&fixture->stage.segment, at.row, at.bucket);
	take_all(fixture, "api");
	meter_step(&fixture->meter);
	assert_true(granted(fixture) == 30);
	assert_true(allowed(fixture) == 30);
	assert_true(excess(fixture) == 0);
}

/* Its rule is removed: it falls under [default], with a bucket that does not know the queue. */
static void test_removed_rule(void **state)
{
	struct fixture *fixture = *state;
	struct resolution at = stage_resolve(&fixture->stage, "api");

	take_all(fixture, "api");
	begin(fixture, "api");
	stage_charge(&fixture->stage, "api", 10);
	forge_grant(fixture, "api", 10);
	meter_step(&fixture->meter);
	rules_remove(&fixture->stage.segment, at.row);
	stage_take(&fixture->stage, "api", 1); /* before anybody has looked */
	meter_step(&fixture->meter);
	take_all(fixture, "api");
	meter_step(&fixture->meter);
	assert_int_equal(fixture->meter.breaks, 1);
	assert_true(granted(fixture) == 10 + 9);
	assert_true(excess(fixture) == 0);
	forge_grant(fixture, "api", 1);
	meter_step(&fixture->meter);
	assert_true(excess(fixture) == 1);
}

static void test_given_back(void **state)
{
	struct fixture *fixture = *state;
	struct resolution at = stage_resolve(&fixture->stage, "api");
	struct segment *segment = &fixture->stage.segment;
	struct line line;
	uint64_t now, units;

	begin(fixture, "api");
	take_all(fixture, "api");
	now = line_read(&segment->rows[at.row], &segment->time, &line);
	units = bucket_give_back(&segment->buckets[at.bucket], line_value(&line, now),
				 line.burst_units, 7ull << line.k, 0);
	assert_int_equal(units, 7ull << line.k);
	tally_add(&segment->tallies, at.bucket, COUNT_RETURNED_UNITS, units);
	take_all(fixture, "api");
	meter_step(&fixture->meter);
	assert_true(granted(fixture) == 27);
	assert_true(allowed(fixture) == 27);
	assert_true(excess(fixture) == 0);
}

/* Somebody waits in line when it begins, and somebody else when it ends. */
static void test_queues(void **state)
{
	struct fixture *fixture = *state;

	take_all(fixture, "api");
	stage_charge(&fixture->stage, "api", 10); /* due after a second */
	begin(fixture, "api");
	assert_true(allowed(fixture) == 0);
	stage_advance(&fixture->stage, SECOND);
	forge_grant(fixture, "api", 10); /* the waiters count themselves now */
	meter_step(&fixture->meter);
	assert_true(excess(fixture) == 0);
	stage_charge(&fixture->stage, "api", 5);
	forge_grant(fixture, "api", 5); /* a reservation is counted when it is made */
	meter_step(&fixture->meter);
	assert_true(allowed(fixture) == 10);
	assert_true(excess(fixture) == 0);
	forge_grant(fixture, "api", 1);
	meter_step(&fixture->meter);
	assert_true(excess(fixture) == 1);
}

/* A name under [default] gets a row of its own, and the rule moves to another unit. */
static void test_moves(void **state)
{
	struct fixture *fixture = *state;
	struct stage *stage = &fixture->stage;
	double slack;

	take_all(fixture, "name");
	begin(fixture, "name");
	stage_advance(stage, SECOND);
	take_all(fixture, "name");
	meter_step(&fixture->meter);
	assert_true(granted(fixture) == 10);
	assert_true(allowed(fixture) == 10);
	stage_rule(stage, ROW_EXACT, "name", "10/s", "10");
	stage_advance(stage, SECOND);
	take_all(fixture, "name");
	meter_step(&fixture->meter);
	assert_int_equal(fixture->meter.moves, 1);
	assert_true(granted(fixture) == 20);
	/* both clocks count for the step in which it moved */
	assert_true(allowed(fixture) >= 20 && allowed(fixture) <= 30);
	/* a rate whose unit is another */
	stage_change(stage, "name", "1000000000/s", "1000000000000");
	meter_step(&fixture->meter);
	assert_int_equal(fixture->meter.moves, 2);
	stage_change(stage, "name", "10/s", "10");
	meter_step(&fixture->meter);
	assert_true(excess(fixture) == 0);
	/* from here on nothing moves, and what is allowed is exact again */
	slack = allowed(fixture);
	stage_advance(stage, 10 * SECOND);
	meter_step(&fixture->meter);
	assert_true(allowed(fixture) - slack == 100);
}

/* The whole pair is replaced, as by a larger `endpoints`. */
static void test_successor(void **state)
{
	struct fixture *fixture = *state;
	struct stage *stage = &fixture->stage;
	struct segment_shape shape = {.rows = 64,
				      .names = 16,
				      .members = 8,
				      .clock = CLOCK_KIND_MANUAL,
				      .group = (gid_t)-1};
	struct segment next;

	take_all(fixture, "api");
	begin(fixture, "api");
	stage_advance(stage, SECOND);
	take_all(fixture, "api");
	assert_int_equal(segment_create(&next, &stage->place, &shape), 0);
	assert_int_equal(move_prepare(&stage->segment, &next, NULL), 0);
	assert_int_equal(segment_reveal(&next, &stage->place), 0);
	move_retire(&stage->segment);
	assert_int_equal(move_finish(&next, &stage->segment), 0);
	meter_step(&fixture->meter);
	assert_int_equal(fixture->meter.moves, 1);
	move_carry(&next, &stage->segment);
	segment_detach(&stage->segment);
	stage->segment = next;
	meter_step(&fixture->meter);
	assert_true(granted(fixture) == 10);
	assert_true(allowed(fixture) >= 10);
	assert_true(excess(fixture) == 0);
}

static void test_unlimited(void **state)
{
	struct fixture *fixture = *state;

	begin(fixture, "api");
	stage_change(&fixture->stage, "api", "unlimited", "20");
	forge_grant(fixture, "api", 1000);
	meter_step(&fixture->meter);
	assert_true(fixture->meter.unlimited);
	assert_true(excess(fixture) == 0);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_exact),
		CASE(test_unused),
		CASE(test_rate_changes),
		CASE(test_burst_changes),
		CASE(test_reset),
		CASE(test_given_back),
		CASE(test_queues),
		CASE(test_moves),
		CASE(test_successor),
		CASE(test_unlimited),
		CASE(test_reset_of_a_queue),
		CASE(test_removed_rule),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
