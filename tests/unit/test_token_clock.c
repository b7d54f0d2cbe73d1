/* SPDX-License-Identifier: Apache-2.0
 *
 * The clock's arithmetic: exact in the long run, never late, never early by more than a unit.
 */
#include "token_clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "class.h"
#include "weir.h"

#define SECOND 1000000000ull
#define DAY (86400 * SECOND)
#define TEN_YEARS (3652 * DAY + DAY / 2)

static uint64_t random_state = 88172645463325252ull;

static uint64_t random_word(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static uint64_t random_below(uint64_t bound)
{
	return random_word() % bound;
}

struct rate {
	const char *name;
	uint64_t micro;
	uint64_t period_ns;
	uint64_t burst;
};

static const struct rate rates[] = {
	{"1/day", 1000000, DAY, 1},
	{"1/day, burst 10^9", 1000000, DAY, 1000000000},
	{"0.001/s", 1000, SECOND, 1},
	{"0.045/s", 45000, SECOND, 1},
	{"1/s", 1000000, SECOND, 10},
	{"10/s", 10000000, SECOND, 10},
	{"5 in 2 s", 5000000, 2 * SECOND, 15},
	{"5000/h", 5000000000, 3600 * SECOND, 100},
	{"7.3/s", 7300000, SECOND, 8},
	{"1000/s", 1000000000, SECOND, 1000},
	{"999983/s", 999983000000, SECOND, 1},
	{"10^6/s, burst 10^9", 1000000000000, SECOND, 1000000000},
	{"7*10^8/s", 700000000000000, SECOND, 1000},
	{"10^9/s", 1000000000000000, SECOND, 1000000000},
};
#define RATES (sizeof(rates) / sizeof(rates[0]))

static struct terms terms_of(const struct rate *rate)
{
	return (struct terms){
		.rate_micro = rate->micro,
		.period_ns = rate->period_ns,
		.burst_micro = rate->burst * TERMS_MICRO,
		.initial_micro = rate->burst * TERMS_MICRO,
	};
}

/* A line as line_begin() makes it, at tick `origin`. */
static struct line line_at(const struct terms *terms, uint64_t hz, uint64_t origin)
{
	struct line line;

	assert_int_equal(line_from_terms(&line, terms, line_best_k(terms), hz), 0);
	line.origin_ticks = origin;
	line.origin_units = 1;
	return line;
}

/* floor(rate * t * 2^k), by 128-bit arithmetic in steps that do not overflow. */
static uint64_t exact_units(const struct rate *rate, unsigned k, uint64_t ns)
{
	uint64_t periods = ns / rate->period_ns;
	uint64_t rest = ns % rate->period_ns;
	line_wide units = (line_wide)periods * rate->micro << k;
	line_wide micro_rest = (line_wide)rest * rate->micro;

	/* (periods * micro + rest * micro / period) * 2^k / 10^6, the second term divided twice */
	line_wide whole = micro_rest / rate->period_ns;
	line_wide part = micro_rest % rate->period_ns;
	line_wide scaled = units + (whole << k) + (part << k) / rate->period_ns;

	return (uint64_t)(scaled / TERMS_MICRO);
}

static void long_run_rate_is_exact(void **state)
{
	static const uint64_t moments[] = {
		1,   2,		999,	   SECOND, SECOND + 1, 59 * SECOND, 3600 * SECOND,
		DAY, 365 * DAY, TEN_YEARS,
	};

	(void)state;
	for (size_t i = 0; i < RATES; i++) {
		struct terms terms = terms_of(&rates[i]);
		struct line line = line_at(&terms, SECOND, 12345);

		for (size_t j = 0; j < sizeof(moments) / sizeof(moments[0]); j++) {
			uint64_t minted = line_value(&line, 12345 + moments[j]) - 1;
			uint64_t exact = exact_units(&rates[i], line.k, moments[j]);

			/* rounded up by less than a unit, never below */
			if (minted != exact && minted != exact + 1)
				fail_msg("%s after %llu ns: %llu units, %llu expected",
					 rates[i].name, (unsigned long long)moments[j],
					 (unsigned long long)minted, (unsigned long long)exact);
		}
	}
}

static void whole_tokens_are_exact_for_ten_years(void **state)
{
	(void)state;
	for (size_t i = 0; i < RATES; i++) {
		struct terms terms = terms_of(&rates[i]);
		struct line line = line_at(&terms, SECOND, 0);

		for (int n = 0; n < 2000; n++) {
			uint64_t at = random_below(TEN_YEARS);
			uint64_t tokens = (line_value(&line, at) - 1) >> line.k;
			uint64_t exact = exact_units(&rates[i], 0, at);
			/* a token is there at its nanosecond, or the one before */
			uint64_t later = exact_units(&rates[i], 0, at + 1);

			if (tokens < exact || tokens > later)
				fail_msg("%s after %llu ns: %llu tokens, %llu expected",
					 rates[i].name, (unsigned long long)at,
					 (unsigned long long)tokens, (unsigned long long)exact);
		}
	}
}

/* The definition: ten years at 64 times the rate in 62 bits, the burst below 2^60 units. */
static void unit_is_the_finest_that_fits(void **state)
{
	(void)state;
	for (size_t i = 0; i < RATES; i++) {
		struct terms terms = terms_of(&rates[i]);
		unsigned k = line_best_k(&terms);
		double ten_years = (double)rates[i].micro / 1e6 /
				   ((double)rates[i].period_ns / 1e9) * 64 * 315576000.0;
		double burst = (double)rates[i].burst;
		double unit = (double)(1ull << k);

		if (k > 0) {
			assert_true(ten_years * unit <= 0x1p62 * 1.000001);
			assert_true(burst * unit < 0x1p60);
		}
		assert_true(ten_years * unit * 2 > 0x1p62 * 0.999999 ||
			    burst * unit * 2 >= 0x1p60 || k == LINE_K_MAX);
	}
}

static void a_reported_wait_suffices_and_is_the_shortest(void **state)
{
	(void)state;
	for (size_t i = 0; i < RATES; i++) {
		struct terms terms = terms_of(&rates[i]);

		for (int n = 0; n < 3000; n++) {
			uint64_t hz = n % 3 ? SECOND : 2600000000ull + random_below(1000);
			struct line line = line_at(&terms, hz, random_below(1000 * SECOND));
			uint64_t now = line.origin_ticks + random_below(TEN_YEARS / 100);
			uint64_t century = line_value(&line, now + 10 * TEN_YEARS);
			uint64_t most = century - line_value(&line, now);
			uint64_t ahead =
				1 + random_below(line.burst_units < most ? line.burst_units : most);
			uint64_t target = line_value(&line, now) + ahead;
			uint64_t wait = line_wait_ticks(&line, now, ahead);

			assert_true(wait != 0 && wait != UINT64_MAX);
			assert_true(line_value(&line, now + wait) >= target);
			assert_true(line_value(&line, now + wait - 1) < target);
		}
	}
}

static void waits_come_out_round(void **state)
{
	const struct rate ten = {"10/s", 10000000, SECOND, 10};
	struct terms terms = terms_of(&ten);
	struct line line = line_at(&terms, SECOND, 0);

	(void)state;
	assert_int_equal(line_wait_ticks(&line, 0, 2ull << line.k), SECOND / 5);
	assert_int_equal(line_wait_ticks(&line, 7 * SECOND, 2ull << line.k), SECOND / 5);
	assert_int_equal(line_wait_ticks(&line, 0, 0), 0);
}

static void no_wait_helps_a_clock_that_stands(void **state)
{
	const struct terms none = {.period_ns = SECOND, .burst_micro = TERMS_MICRO};
	struct line line = line_at(&none, SECOND, 0);

	(void)state;
	assert_int_equal(line.flags, LINE_NEVER);
	assert_int_equal(line_wait_ticks(&line, 5, 1), UINT64_MAX);
	assert_int_equal(line_value(&line, TEN_YEARS), 1);
}

static void time_before_the_origin_counts_as_the_origin(void **state)
{
	struct terms terms = terms_of(&rates[13]);
	struct line line = line_at(&terms, SECOND, 1000);

	(void)state;
	assert_int_equal(line_value(&line, 940), line_value(&line, 1000));
	assert_int_equal(line_value(&line, 0), 1);
}

/* ---- publishing ---- */

struct world {
	_Atomic uint64_t ns;
	_Atomic uint32_t moves;
	struct time_source time;
	struct rule_row row;
};

static const struct terms_author nobody = {ORIGIN_FILE, 0};

static void world_begin(struct world *world, const struct terms *terms)
{
	struct line line;

	memset(world, 0, sizeof(*world));
	atomic_store(&world->ns, SECOND);
	world->time = (struct time_source){CLOCK_KIND_MANUAL, &world->ns, &world->moves};
	assert_int_equal(line_from_terms(&line, terms, line_best_k(terms), SECOND), 0);
	line_begin(&world->row, &world->time, &line, terms, &nobody);
}

static line_wide world_value(struct world *world)
{
	struct line line;
	uint64_t now = line_read(&world->row, &world->time, &line);

	return line_value_wide(&line, now);
}

/* The fraction survives: a thousand publications a second cost a slow rule nothing. */
static void publishing_neither_mints_nor_loses(void **state)
{
	struct world world;
	struct terms slow = {.rate_micro = 45000,
			     .period_ns = SECOND,
			     .burst_micro = TERMS_MICRO,
			     .initial_micro = TERMS_MICRO};
	struct line line;

	(void)state;
	world_begin(&world, &slow);
	unsigned k = line_best_k(&slow);

	assert_int_equal(line_from_terms(&line, &slow, k, SECOND), 0);
	for (int i = 0; i < 100000; i++) {
		atomic_fetch_add(&world.ns, 1000000 - (uint64_t)(i & 1));
		line_publish(&world.row, &world.time, &line, &slow, &nobody, 0);
	}
	uint64_t elapsed = 100000ull * 1000000 - 50000;
	const struct rate rate = {"", slow.rate_micro, slow.period_ns, 1};
	uint64_t exact = exact_units(&rate, k, elapsed);
	uint64_t minted = (uint64_t)(world_value(&world) >> 64) - 1;

	assert_true(minted == exact || minted == exact + 1);
}

static void v_never_steps_back_over_random_changes(void **state)
{
	struct world world;
	struct terms terms = terms_of(&rates[9]);
	line_wide last = 0;
	unsigned k = line_best_k(&terms);

	(void)state;
	world_begin(&world, &terms);
	for (int i = 0; i < 200000; i++) {
		struct line line;

		atomic_fetch_add(&world.ns, random_below(3) ? random_below(1000) : 0);
		terms.rate_micro = random_below(8) ? random_below(30000 * TERMS_MICRO) : 0;
		assert_int_equal(line_from_terms(&line, &terms, k, SECOND), 0);
		line_wide before = world_value(&world);

		line_publish(&world.row, &world.time, &line, &terms, &nobody, 0);
		line_wide after = world_value(&world);

		assert_true(after == before);
		assert_true(after >= last);
		last = after;
	}
}

/* On a clock that runs while the publisher works: no reading is below an earlier one. */
static void v_never_steps_back_on_a_running_clock(void **state)
{
	const struct time_source time = {.kind = time_source_best()};
	struct terms terms = terms_of(&rates[13]);
	struct rule_row row = {0};
	uint64_t hz = time_source_hz(time.kind, 1000000);
	unsigned k = line_best_k(&terms);
	struct line line;
	uint64_t last = 0;

	(void)state;
	assert_int_equal(line_from_terms(&line, &terms, k, hz), 0);
	line_begin(&row, &time, &line, &terms, &nobody);
	for (int i = 0; i < 20000; i++) {
		terms.rate_micro = i & 1 ? rates[13].micro : TERMS_MICRO;
		assert_int_equal(line_from_terms(&line, &terms, k, hz), 0);
		line_publish(&row, &time, &line, &terms, &nobody, 0);
		for (int j = 0; j < 3; j++) {
			uint64_t now = line_read(&row, &time, &line);
			uint64_t v = line_value(&line, now);

			assert_true(v >= last);
			last = v;
		}
	}
}

static void a_jump_is_minted_once(void **state)
{
	struct world world;
	struct terms terms = terms_of(&rates[5]);
	struct line line;

	(void)state;
	world_begin(&world, &terms);
	assert_int_equal(line_from_terms(&line, &terms, line_best_k(&terms), SECOND), 0);
	line_wide before = world_value(&world);

	line_publish(&world.row, &world.time, &line, &terms, &nobody, 777);
	assert_true(world_value(&world) - before == (line_wide)777 << 64);
}

static void terms_come_back_as_they_were_published(void **state)
{
	struct world world;
	const struct terms terms = {
		.rate_micro = 5000000,
		.period_ns = 2 * SECOND,
		.burst_micro = 15000000,
		.initial_micro = 3000000,
		.max_wait_ns = 30 * SECOND,
		.shadow = 1,
		.beside = {3000000, SECOND, 12000000},
		.classes = {{class_number("background"), 20 * CLASS_PERCENT | CLASS_SHARE},
			    {class_number("batch"), 2500000}},
	};
	const struct terms_author author = {ORIGIN_OPERATOR, 4711};
	struct terms read;
	struct terms_author by;
	struct line line;
	uint64_t changed_ns;

	(void)state;
	world_begin(&world, &terms);
	assert_int_equal(line_from_terms(&line, &terms, line_best_k(&terms), SECOND), 0);
	line_publish(&world.row, &world.time, &line, &terms, &author, 0);
	line_read_terms(&world.row, &read, &by, &changed_ns);
	assert_memory_equal(&read, &terms, sizeof(terms));
	assert_int_equal(by.origin, ORIGIN_OPERATOR);
	assert_int_equal(by.uid, 4711);
	assert_true(changed_ns > 0);
	line_read(&world.row, &world.time, &line);
	/* 15 tokens and what 30 s mint */
	assert_int_equal(line.reach_units, (15 + 75) * (1ull << line.k));
	assert_int_equal(line.flags, LINE_SHADOW | LINE_BESIDE);
	assert_int_equal(line.shadow.burst_units, 12 * (1ull << line.k));
}

/* ---- conversions ---- */

static void nanoseconds_and_ticks_convert_upwards(void **state)
{
	struct line clock;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		uint64_t hz = SECOND + random_below(4 * SECOND);
		uint64_t ns = random_below(DAY * 1000);

		assert_int_equal(line_from_hz(&clock, hz), 0);
		uint64_t ticks = line_ns_to_ticks(&clock, ns);
		uint64_t back = line_ticks_to_ns(&clock, ticks);

		assert_true(back >= ns && back <= ns + 2);
	}
	assert_int_equal(line_ticks_to_ns(&clock, UINT64_MAX), UINT64_MAX);
	assert_int_equal(line_ns_to_ticks(&clock, UINT64_MAX), UINT64_MAX);
	assert_int_equal(line_from_hz(&clock, 0), WEIR_EVALUE);
}

static void rescaling_rounds_up_and_saturates(void **state)
{
	(void)state;
	assert_int_equal(line_rescale(5, 3, 5), 20);
	assert_int_equal(line_rescale(5, 3, 1), 2);
	assert_int_equal(line_rescale(4, 3, 1), 1);
	assert_int_equal(line_rescale(0, 59, 0), 0);
	assert_int_equal(line_rescale(1ull << 60, 0, 59), LINE_FAR);
	assert_int_equal(line_units(1, 0), 1);
	assert_int_equal(line_units(1500000, 1), 3);
	assert_int_equal(line_units(UINT64_MAX - 1, 59), 1ull << 62);
}

static void what_does_not_fit_is_refused(void **state)
{
	struct line line;
	struct terms terms = terms_of(&rates[13]);

	(void)state;
	terms.rate_micro *= 17; /* seventeen units a tick at k = 0 */
	assert_int_equal(line_from_terms(&line, &terms, 0, SECOND), WEIR_EVALUE);
	terms = terms_of(&rates[4]);
	terms.initial_micro = terms.burst_micro + 1000000;
	assert_int_equal(line_from_terms(&line, &terms, 10, SECOND), WEIR_EVALUE);
	terms = terms_of(&rates[4]);
	assert_int_equal(line_from_terms(&line, &terms, 58, SECOND), WEIR_EVALUE); /* burst */
	assert_false(line_k_fits(&terms, 58, 0));
	unsigned k = line_best_k(&terms);

	assert_true(line_k_fits(&terms, k, 0));
	assert_false(line_k_fits(&terms, k, 1ull << 62)); /* no room left above V */
	terms.rate_micro *= 64;
	assert_true(line_k_fits(&terms, k, 0));
	terms.rate_micro *= 2;
	assert_false(line_k_fits(&terms, k, 0));
	terms = terms_of(&rates[0]);
	assert_false(line_k_fits(&terms, 0, 0)); /* a day in whole tokens: too coarse */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(long_run_rate_is_exact),
		cmocka_unit_test(whole_tokens_are_exact_for_ten_years),
		cmocka_unit_test(unit_is_the_finest_that_fits),
		cmocka_unit_test(a_reported_wait_suffices_and_is_the_shortest),
		cmocka_unit_test(waits_come_out_round),
		cmocka_unit_test(no_wait_helps_a_clock_that_stands),
		cmocka_unit_test(time_before_the_origin_counts_as_the_origin),
		cmocka_unit_test(publishing_neither_mints_nor_loses),
		cmocka_unit_test(v_never_steps_back_over_random_changes),
		cmocka_unit_test(v_never_steps_back_on_a_running_clock),
		cmocka_unit_test(a_jump_is_minted_once),
		cmocka_unit_test(terms_come_back_as_they_were_published),
		cmocka_unit_test(nanoseconds_and_ticks_convert_upwards),
		cmocka_unit_test(rescaling_rounds_up_and_saturates),
		cmocka_unit_test(what_does_not_fit_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
