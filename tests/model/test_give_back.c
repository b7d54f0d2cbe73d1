/* SPDX-License-Identifier: Apache-2.0
 *
 * Giving back (lib/bucket.c): every short script of reserving, cancelling, settling and waiting,
 * run by the functions themselves. After each script, every interval of V is held to
 *
 *	granted <= burst + minted + given back
 *
 * where a reservation counts as granted at the V at which its turn comes. A refund is one CAS of
 * the mark, so scripts are all the interleavings there are.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "bucket.h"

enum {
	BURST = 4,
	START = 100, /* V at the beginning; marks stay away from the unset value */
	LENGTH = 8,  /* of a script, at most */
};

enum verb {
	MINT_1,
	MINT_3,
	RESERVE_1,
	RESERVE_2,
	RESERVE_4,
	CANCEL_0, /* the first reservation, then the others */
	CANCEL_1,
	CANCEL_2,
	SETTLE_0, /* to one unit */
	SETTLE_1,
	VERBS,
};

static const char *const verb_names[VERBS] = {
	"mint 1",   "mint 3",	"reserve 1", "reserve 2", "reserve 4",
	"cancel 0", "cancel 1", "cancel 2",  "settle 0",  "settle 1",
};

/* A reservation, in the order of taking. */
struct place {
	uint64_t position;
	uint64_t turn; /* V at which it comes up */
	uint8_t units;
	uint8_t used;
	bool held;
};

struct refund {
	uint64_t v;
	uint64_t units;
};

/* A script so far. Small, and copied at every branch. */
struct run {
	uint64_t mark;
	uint64_t v;
	unsigned places;
	unsigned refunds;
	struct place place[LENGTH];
	struct refund refund[LENGTH];
	uint8_t script[LENGTH];
	unsigned length;
};

/* Gives back `units`; what went back. A rule that is to be proved wrong has this shape, too. */
typedef uint64_t give_back_rule(uint64_t *mark, uint64_t v, uint64_t units, uint64_t position);

static uint64_t as_built(uint64_t *mark, uint64_t v, uint64_t units, uint64_t position)
{
	struct bucket bucket = {.mark = *mark};
	uint64_t back = bucket_give_back(&bucket, v, BURST, units, position);

	*mark = bucket_look(&bucket);
	return back;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* All of it, from anywhere in the line, but not below V. */
static uint64_t full_from_the_middle(uint64_t *mark, uint64_t v, uint64_t units, uint64_t position)
{
	uint64_t back = (int64_t)(*mark - v) > 0 ? smaller(units, *mark - v) : 0;

	(void)position;
	*mark -= back;
	return back;
}

/* What lies beyond V of the reservation's own place, from anywhere in the line. */
static uint64_t own_rest_from_the_middle(uint64_t *mark, uint64_t v, uint64_t units,
					 uint64_t position)
{
	uint64_t back = (int64_t)(position - v) > 0 ? smaller(units, position - v) : 0;

	*mark -= back;
	return back;
}

/* Less what was taken behind it, as long as its turn has not come. */
static uint64_t by_turn(uint64_t *mark, uint64_t v, uint64_t units, uint64_t position)
{
	uint64_t behind = *mark - position;
	bool not_due = (int64_t)(position - BURST - v) >= 0;
	uint64_t back = not_due && units > behind ? units - behind : 0;

	*mark -= back;
	return back;
}

/* ---- scripts ---- */

static void reserve(struct run *run, uint8_t units)
{
	struct bucket bucket = {.mark = run->mark};
	struct bucket_mark taken = {0};

	assert_int_equal(bucket_take(&bucket, run->v, units, LINE_FAR, &taken), BUCKET_TAKEN);
	run->mark = taken.mark;
	run->place[run->places++] = (struct place){
		.position = taken.mark,
		.turn = bucket_base(taken.mark - BURST, run->v),
		.units = units,
		.used = units,
		.held = true,
	};
}

/*
 * false: there is no such reservation, or it was given back before, or it is settled to something
 * before its turn, which would be using it before its turn.
 */
static bool settle(struct run *run, unsigned index, uint8_t used, give_back_rule *rule)
{
	struct place *place = &run->place[index];

	if (index >= run->places || !place->held || place->units < used ||
	    (used && place->turn > run->v))
		return false;
	place->held = false;
	place->used = used;
	run->refund[run->refunds++] = (struct refund){
		run->v,
		rule(&run->mark, run->v, (uint64_t)(place->units - used), place->position),
	};
	return true;
}

static bool perform(struct run *run, enum verb verb, give_back_rule *rule)
{
	run->script[run->length++] = (uint8_t)verb;
	switch (verb) {
	case MINT_1:
		run->v += 1;
		return true;
	case MINT_3:
		run->v += 3;
		return true;
	case RESERVE_1:
		reserve(run, 1);
		return true;
	case RESERVE_2:
		reserve(run, 2);
		return true;
	case RESERVE_4:
		reserve(run, 4);
		return true;
	case CANCEL_0:
	case CANCEL_1:
	case CANCEL_2:
		return settle(run, (unsigned)verb - CANCEL_0, 0, rule);
	case SETTLE_0:
	case SETTLE_1:
		return settle(run, (unsigned)verb - SETTLE_0, 1, rule);
	case VERBS:
		break;
	}
	return false;
}

/* ---- the invariant ---- */

static uint64_t granted_between(const struct run *run, uint64_t from, uint64_t to)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < run->places; i++)
		if (run->place[i].turn >= from && run->place[i].turn <= to)
			sum += run->place[i].used;
	return sum;
}

static uint64_t returned_between(const struct run *run, uint64_t from, uint64_t to)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < run->refunds; i++)
		if (run->refund[i].v >= from && run->refund[i].v <= to)
			sum += run->refund[i].units;
	return sum;
}

static bool is_broken(const struct run *run)
{
	for (unsigned first = 0; first < run->places; first++)
		for (unsigned last = 0; last < run->places; last++) {
			uint64_t from = run->place[first].turn;
			uint64_t to = run->place[last].turn;

			if (from <= to &&
			    granted_between(run, from, to) >
				    BURST + (to - from) + returned_between(run, from, to))
				return true;
		}
	return false;
}

struct outcome {
	unsigned long long scripts;
	unsigned long long broken;
	struct run shortest;
};

static void try_scripts(const struct run *so_far, unsigned length, give_back_rule *rule,
			struct outcome *out)
{
	for (int verb = 0; verb < VERBS; verb++) {
		struct run run = *so_far;

		if (!perform(&run, (enum verb)verb, rule))
			continue;
		if (run.length < length) {
			try_scripts(&run, length, rule, out);
			continue;
		}
		out->scripts++;
		if (is_broken(&run) && out->broken++ == 0)
			out->shortest = run;
	}
}

/* Shorter scripts first, so that the first broken one is a shortest. */
static struct outcome run_rule(const char *name, unsigned length, give_back_rule *rule)
{
	struct outcome outcome = {0};

	for (unsigned i = 1; i <= length && outcome.broken == 0; i++) {
		const struct run start = {.mark = START, .v = START};

		try_scripts(&start, i, rule, &outcome);
	}
	printf("give back: %-36s %9llu scripts, %llu broken", name, outcome.scripts,
	       outcome.broken);
	for (unsigned i = 0; outcome.broken && i < outcome.shortest.length; i++)
		printf("%s%s", i ? ", " : ": ", verb_names[outcome.shortest.script[i]]);
	printf("\n");
	return outcome;
}

static void test_as_built(void **state)
{
	struct outcome outcome = run_rule("as built", LENGTH, as_built);

	(void)state;
	assert_true(outcome.scripts > 0);
	assert_int_equal(outcome.broken, 0);
}

static void test_broken_rules(void **state)
{
	(void)state;
	assert_true(run_rule("full, from the middle", LENGTH, full_from_the_middle).broken > 0);
	assert_true(run_rule("own rest, from the middle", LENGTH, own_rest_from_the_middle).broken >
		    0);
	assert_true(run_rule("what those behind did not take", LENGTH, by_turn).broken > 0);
}

/* What is not waited for goes back whole; the last in line gets all beyond V; others nothing. */
static void test_what_goes_back(void **state)
{
	uint64_t mark = START + BURST;

	(void)state;
	assert_int_equal(as_built(&mark, START, 3, START + 1), 3);
	assert_int_equal(mark, START + 1);
	mark = START + BURST + 5;
	assert_int_equal(as_built(&mark, START, 3, START + BURST + 2), 0);
	assert_int_equal(mark, START + BURST + 5);
	assert_int_equal(as_built(&mark, START, 3, START + BURST + 5), 3);
	assert_int_equal(mark, START + BURST + 2);
	/* V has passed a part of it meanwhile */
	mark = START + 2;
	assert_int_equal(as_built(&mark, START, 4, START + 2), 2);
	assert_int_equal(mark, START);
	/* and all of it */
	assert_int_equal(as_built(&mark, START + 1, 4, START + 2), 0);
	assert_int_equal(mark, START);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_as_built),
		cmocka_unit_test(test_broken_rules),
		cmocka_unit_test(test_what_goes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
