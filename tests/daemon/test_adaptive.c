/* SPDX-License-Identifier: Apache-2.0
 *
 * The controller of adaptive limits, without a process: responses in, a speed out. The plan's tests
 * by number, what its reference got wrong, properties over random lives, and an upstream small
 * enough to see through.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "adaptive.h"

#define S 1000000000ull
#define MS 1000000ull
#define BEGIN (1000 * S) /* the plan's clock: reset 1030 is in 30 s */

static struct adaptive adaptive;
static struct adaptive_decision decision;

static struct adaptive_settings settings_of(double rate, double min, double safety)
{
	return (struct adaptive_settings){
		.mode = ADAPTIVE_HEADERS,
		.rate_per_s = rate,
		.burst = 100,
		.min_per_s = min,
		.safety = safety,
		.max_close_ns = 3600 * S,
	};
}

static struct adaptive_observation quota(uint64_t at_ns, double limit, double remaining,
					 uint64_t reset_ns)
{
	return (struct adaptive_observation){
		.response_ns = at_ns,
		.outcome = ADAPTIVE_PASSED,
		.says = ADAPTIVE_SAYS_LIMIT | ADAPTIVE_SAYS_REMAINING | ADAPTIVE_SAYS_RESET,
		.limit = limit,
		.remaining = remaining,
		.reset_ns = reset_ns,
	};
}

static struct adaptive_observation refused(uint64_t at_ns, uint64_t retry_ns)
{
	return (struct adaptive_observation){
		.response_ns = at_ns,
		.outcome = ADAPTIVE_LIMITED,
		.says = retry_ns ? ADAPTIVE_SAYS_RETRY : 0,
		.retry_ns = retry_ns,
	};
}

static struct adaptive_observation passed(uint64_t at_ns)
{
	return (struct adaptive_observation){.response_ns = at_ns, .outcome = ADAPTIVE_PASSED};
}

static bool observe(const struct adaptive_settings *settings,
		    struct adaptive_observation observation)
{
	return adaptive_observe(&adaptive, settings, observation.response_ns, &observation,
				&decision);
}

static void begin(const struct adaptive_settings *settings)
{
	adaptive_begin(&adaptive, settings, BEGIN, 0);
}

static void assert_about(double value, double wanted)
{
	if (fabs(value - wanted) > 1e-9 * fabs(wanted))
		fail_msg("%.12g is not %.12g", value, wanted);
}

/* ---- the plan ---- */

/* UT-12: 10/s at first, at least 2/s, safety 0.8. */
static void test_ut_12(void **state)
{
	const struct adaptive_settings settings = settings_of(10, 2, 0.8);

	(void)state;
	begin(&settings);
	adaptive_tick(&adaptive, &settings, BEGIN, 0, &decision);
	assert_about(decision.rate_per_s, 10);
	assert_int_equal(decision.cause, ADAPTIVE_CAUSE_CONFIGURED);
	assert_true(observe(&settings, quota(BEGIN, 100, 90, 30 * S)));
	assert_about(decision.rate_per_s, 90.0 / 30 * 0.8);
	assert_true(observe(&settings, quota(BEGIN + 1, 100, 20, 30 * S)));
	assert_about(decision.rate_per_s, 2);
}

/* UT-13 and 14, whatever the fields were called: 80 of 100 left, 30 s: 2.4/s. */
static void test_ut_13_14(void **state)
{
	const struct adaptive_settings settings = settings_of(10, 0.1, 0.9);

	(void)state;
	begin(&settings);
	assert_true(observe(&settings, quota(BEGIN, 100, 80, 30 * S)));
	assert_about(decision.rate_per_s, 2.4);
	assert_int_equal(decision.cause, ADAPTIVE_CAUSE_QUOTA);
	assert_about(decision.limit, 100);
	assert_about(decision.remaining, 80);
	assert_true(decision.from_ns == BEGIN);
	assert_true(decision.reset_at_ns == BEGIN + 30 * S);
	assert_about(decision.level_most, 80);
}

static void test_ut_15(void **state)
{
	const struct adaptive_settings settings = settings_of(10, 1, 0.9);

	(void)state;
	begin(&settings);
	assert_false(observe(&settings, passed(BEGIN)));
	assert_about(decision.rate_per_s, 10);
	assert_int_equal(decision.cause, ADAPTIVE_CAUSE_CONFIGURED);
	assert_true(isinf(decision.level_most));
}

static void test_ut_16(void **state)
{
	struct adaptive_settings settings = settings_of(10, 3, 0.9);

	(void)state;
	begin(&settings);
	assert_true(observe(&settings, quota(BEGIN, 100, 10, 30 * S)));
	assert_about(decision.rate_per_s, 3);
	settings = settings_of(10, 0.1, 0.9);
	begin(&settings);
	assert_true(observe(&settings, refused(BEGIN, 30 * S)));
	assert_about(decision.rate_per_s, 0.1);
	assert_true(decision.closed_until_ns == BEGIN + 30 * S);
	assert_int_equal(decision.cause, ADAPTIVE_CAUSE_REFUSED);
	assert_true(decision.next_ns <= BEGIN + 30 * S);
	adaptive_tick(&adaptive, &settings, BEGIN + 30 * S, 0, &decision);
	assert_true(decision.closed_until_ns == 0);
	assert_true(decision.rate_per_s > 0.1);
}

/* IT-3: 20 of 100 left, 60 s, safety 0.8. */
static void test_it_3(void **state)
{
	const struct adaptive_settings settings = settings_of(10, 0.01, 0.8);

	(void)state;
	begin(&settings);
	assert_true(observe(&settings, quota(BEGIN, 100, 20, 60 * S)));
	assert_about(decision.rate_per_s, 20.0 / 60 * 0.8);
}

/* ---- what the reference got wrong, by number ---- */

static double terms_per_s(const struct terms *terms)
{
	return (double)terms->rate_micro / TERMS_MICRO / ((double)terms->period_ns / 1e9);
}

/* A speed is one per second whatever period the rule was written with. */
static void test_defect_5_period(void **state)
{
	static const uint64_t periods[] = {S, 2 * S, 60 * S, 3600 * S};
	const struct adaptive_settings settings = settings_of(10, 0.1, 0.9);
	struct terms terms;

	(void)state;
	begin(&settings);
	observe(&settings, quota(BEGIN, 100, 80, 30 * S));
	for (size_t i = 0; i < sizeof(periods) / sizeof(periods[0]); i++) {
		const struct terms from = {
			.rate_micro = 10 * (periods[i] / S) * TERMS_MICRO,
			.period_ns = periods[i],
			.burst_micro = 15 * TERMS_MICRO,
			.initial_micro = 15 * TERMS_MICRO,
		};

		adaptive_terms(&decision, &from, &terms);
		assert_about(terms_per_s(&terms), 2.4);
		assert_true(terms.burst_micro == 15 * TERMS_MICRO);
	}
}

static void test_defect_6_nothing_left(void **state)
{
	const struct adaptive_settings settings = settings_of(10, 0.1, 0.9);
	struct adaptive_observation observation = quota(BEGIN + S, 100, 0, 29 * S);

	(void)state;
	begin(&settings);
	observe(&settings, quota(BEGIN, 100, 0, 30 * S));
	assert_about(decision.level_most, 0);
	assert_about(decision.rate_per_s, 0.1);
	assert_int_equal(decision.cause, ADAPTIVE_CAUSE_SPENT);
	/* and when a refusal says so too, nobody has to try again */
	observation.outcome = ADAPTIVE_LIMITED;
	assert_true(observe(&settings, observation));
	assert_true(decision.closed_until_ns >= BEGIN + 30 * S);
	assert_true(decision.closed_until_ns <= BEGIN + 32 * S);
}

/* Budgets far below one a second are followed. */
static void test_defect_7_slow_budgets(void **state)
{
	static const struct {
		double rate, limit, remaining;
		uint64_t reset_s;
	} cases[] = {{5000.0 / 3600, 5000, 400, 3600},
		     {60.0 / 3600, 60, 30, 3600},
		     {0.045, 20, 10, 1000}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct adaptive_settings settings = settings_of(cases[i].rate, 0, 0.9);
		struct terms from = {.rate_micro = TERMS_UNLIMITED, .period_ns = S};
		struct terms terms;

		begin(&settings);
		observe(&settings,
			quota(BEGIN, cases[i].limit, cases[i].remaining, cases[i].reset_s * S));
		assert_about(decision.rate_per_s,
			     0.9 * cases[i].remaining / (double)cases[i].reset_s);
		from.burst_micro = 100 * TERMS_MICRO;
		adaptive_terms(&decision, &from, &terms);
		assert_true(fabs(terms_per_s(&terms) / decision.rate_per_s - 1) < 1e-5);
	}
}

static void test_defect_8_retry_after(void **state)
{
	const struct adaptive_settings settings = settings_of(10, 0.1, 0.9);
	struct adaptive_observation observation = quota(BEGIN, 100, 50, 30 * S);

	(void)state;
	begin(&settings);
	observation.outcome = ADAPTIVE_LIMITED;
	observation.says |= ADAPTIVE_SAYS_RETRY;
	observation.retry_ns = 12 * S;
	assert_true(observe(&settings, observation));
	assert_true(decision.closed_until_ns == BEGIN + 12 * S);
	/* 0 is no wait at all: there is a pause, and a short one */
	begin(&settings);
	observation.retry_ns = 0;
	assert_true(observe(&settings, observation));
	assert_true(decision.closed_until_ns > BEGIN);
	assert_true(decision.closed_until_ns < BEGIN + S);
}

static const double no_numbers[] = {(double)NAN, (double)INFINITY, -(double)INFINITY, -1, 1e300};

static void test_defect_9_no_number_poisons(void **state)
{
	const struct adaptive_settings settings = settings_of(10, 0.1, 0.9);

	(void)state;
	for (size_t i = 0; i < sizeof(no_numbers) / sizeof(no_numbers[0]); i++) {
		struct adaptive_observation bad = quota(BEGIN, 100, no_numbers[i], 30 * S);

		begin(&settings);
		observe(&settings, bad);
		assert_true(decision.rate_per_s >= 0.1 && decision.rate_per_s <= 10);
		bad = quota(BEGIN, no_numbers[i], 80, UINT64_MAX);
		bad.drawn = no_numbers[i];
		bad.window_ns = UINT64_MAX;
		bad.says |= ADAPTIVE_SAYS_WINDOW;
		observe(&settings, bad);
		assert_true(decision.rate_per_s >= 0.1 && decision.rate_per_s <= 10);
		begin(&settings);
		observe(&settings, bad);
		observe(&settings, quota(BEGIN + 1, 100, 80, 30 * S));
		assert_about(decision.rate_per_s, 2.4);
	}
}

/* A reset that is now, or was, is over at once: never a delay of decades. */
static void test_defect_9_past_reset(void **state)
{
	const struct adaptive_settings settings = settings_of(10, 0.1, 0.9);

	(void)state;
	begin(&settings);
	observe(&settings, quota(BEGIN, 100, 80, 0));
	assert_true(decision.expires_ns <= BEGIN + 2 * S);
	adaptive_tick(&adaptive, &settings, BEGIN + 2 * S, 0, &decision);
	assert_about(decision.rate_per_s, 10);
}

static void test_defect_10_huge_remaining(void **state)
{
	struct adaptive_settings settings = settings_of(10, 0.1, 0.9);
	struct adaptive_observation huge = quota(BEGIN, 100, 9e10, 30 * S);

	(void)state;
	begin(&settings);
	observe(&settings, huge);
	assert_about(decision.rate_per_s, 0.9 * 100 / 30);
	huge.says &= ~(unsigned)ADAPTIVE_SAYS_LIMIT;
	huge.reset_ns = S;
	begin(&settings);
	observe(&settings, huge);
	assert_about(decision.rate_per_s, 10);
	/* with no ceiling the limit is one */
	settings.rate_per_s = INFINITY;
	begin(&settings);
	observe(&settings, quota(BEGIN, 100, 9e10, 30 * S));
	assert_about(decision.rate_per_s, 0.9 * 100 / 30);
}

/* An answer that comes late does not overwrite a newer one, whichever way round it was. */
static void test_defect_11_late_answer(void **state)
{
	const struct adaptive_settings settings = settings_of(10, 0.1, 0.9);
	struct adaptive_observation older = quota(BEGIN + 2 * S, 100, 99, 30 * S);
	struct adaptive_observation slow = quota(BEGIN + 10 * S, 100, 95, 22 * S);

	(void)state;
	begin(&settings);
	observe(&settings, quota(BEGIN + 4 * S, 100, 30, 28 * S));
	assert_about(decision.remaining, 30);
	/* received before, handed over after */
	adaptive_observe(&adaptive, &settings, BEGIN + 5 * S, &older, &decision);
	assert_about(decision.remaining, 30);
	assert_true(decision.from_ns == BEGIN + 4 * S);
	/* received after, but the request went out before */
	slow.latency_ns = 9 * S;
	observe(&settings, slow);
	assert_about(decision.remaining, 30);
	assert_true(decision.from_ns == BEGIN + 4 * S);
}

static void test_defect_11_expiry(void **state)
{
	const struct adaptive_settings settings = settings_of(10, 0.1, 0.9);

	(void)state;
	begin(&settings);
	observe(&settings, quota(BEGIN, 100, 5, 30 * S));
	assert_about(decision.rate_per_s, 0.15);
	assert_true(decision.expires_ns >= BEGIN + 30 * S);
	assert_true(decision.expires_ns <= BEGIN + 32 * S);
	assert_true(adaptive_tick(&adaptive, &settings, decision.expires_ns, 0, &decision));
	assert_about(decision.rate_per_s, 10);
	assert_int_equal(decision.cause, ADAPTIVE_CAUSE_CONFIGURED);
	assert_true(isinf(decision.level_most));
}

/* Each endpoint learns by itself. */
static void test_defect_19_endpoints(void **state)
{
	const struct adaptive_settings users = settings_of(2, 0.1, 0.9);
	const struct adaptive_settings posts = settings_of(5, 0.1, 0.9);
	const struct adaptive_observation observation = quota(BEGIN, 100, 30, 30 * S);
	struct adaptive other;
	struct adaptive_decision unchanged;

	(void)state;
	begin(&users);
	adaptive_begin(&other, &posts, BEGIN, 0);
	observe(&users, observation);
	adaptive_tick(&other, &posts, BEGIN, 0, &unchanged);
	assert_about(decision.rate_per_s, 0.9);
	assert_about(unchanged.rate_per_s, 5);
}

/* ---- refusals without a word ---- */

static void test_refusal_slows_and_recovers(void **state)
{
	const struct adaptive_settings settings = settings_of(10, 0.1, 0.9);
	uint64_t now = BEGIN;
	double drawn = 0;

	(void)state;
	begin(&settings);
	for (; now < BEGIN + 20 * S; now += S / 10) {
		struct adaptive_observation fine = passed(now);

		fine.drawn = drawn++;
		assert_false(observe(&settings, fine));
	}
	struct adaptive_observation no = refused(now, 0);

	no.drawn = drawn;
	assert_true(observe(&settings, no));
	assert_int_equal(decision.cause, ADAPTIVE_CAUSE_REFUSED);
	assert_true(decision.closed_until_ns > now && decision.closed_until_ns < now + S);
	assert_true(decision.rate_per_s < 10);
	/* one that passes is what recovery waits for */
	adaptive_tick(&adaptive, &settings, now + 50 * S, drawn, &decision);
	assert_about(decision.rate_per_s, 7);
	/* that nobody asked for so long is no time of the episode's, and says nothing of the speed
	 */
	observe(&settings, passed(now + 3600 * S));
	assert_true(decision.rate_per_s > 6 && decision.rate_per_s < 7);
	adaptive_tick(&adaptive, &settings, now + 7200 * S, drawn, &decision);
	assert_about(decision.rate_per_s, 10);
	assert_int_equal(decision.cause, ADAPTIVE_CAUSE_CONFIGURED);
}

/* Who tells of refusals alone tells by a minute of silence that there are no more. */
static void test_refusal_and_then_silence(void **state)
{
	const struct adaptive_settings settings = settings_of(100, 1, 0.9);
	uint64_t now = BEGIN;

	(void)state;
	begin(&settings);
	for (int i = 0; i < 3; i++, now += S)
		observe(&settings, refused(now, 0));
	assert_about(decision.rate_per_s, 70);
	for (uint64_t end = now + 50 * S; now < end; now = decision.next_ns) {
		adaptive_tick(&adaptive, &settings, now, 0, &decision);
		assert_about(decision.rate_per_s, 70);
	}
	while (decision.cause != ADAPTIVE_CAUSE_CONFIGURED && now < BEGIN + 3600 * S) {
		adaptive_tick(&adaptive, &settings, now, 0, &decision);
		now = decision.next_ns < now + 100 * S ? decision.next_ns : now + 100 * S;
	}
	assert_about(decision.rate_per_s, 100);
	assert_true(now < BEGIN + 300 * S);
	/* and another refusal is one step more */
	observe(&settings, refused(now, 0));
	assert_about(decision.rate_per_s, 70);
}

/* So many pass, ten a second, from `now` on. */
static uint64_t pass_steadily(const struct adaptive_settings *settings, uint64_t now,
			      unsigned count, double *drawn)
{
	for (unsigned i = 0; i < count; i++, now += S / 10) {
		struct adaptive_observation fine = passed(now);

		fine.drawn = ++*drawn;
		observe(settings, fine);
	}
	return now;
}

/*
 * A minute of 600 tells the speed. A second refusal some seconds later is no second half: the few
 * that passed between tell nothing.
 */
static void test_refusals_in_a_row(void **state)
{
	const struct adaptive_settings settings = settings_of(20, 0.1, 0.9);
	struct adaptive_observation no;
	double drawn = 0;
	uint64_t now;

	(void)state;
	begin(&settings);
	now = pass_steadily(&settings, BEGIN, 600, &drawn);
	no = refused(now, 0);
	no.drawn = drawn;
	observe(&settings, no);
	now = pass_steadily(&settings, now + S, 25, &drawn);
	assert_true(decision.rate_per_s > 9.5 && decision.rate_per_s < 10.5);
	no = refused(now, 0);
	no.drawn = drawn;
	observe(&settings, no);
	pass_steadily(&settings, now + S, 1, &drawn);
	assert_true(decision.rate_per_s > 8.5 && decision.rate_per_s < 10.5);
}

/*
 * The first answers come together. That nothing was drawn between two of them says nothing of the
 * speed; taken for one, it would be so low that growth takes minutes.
 */
static void test_refused_in_the_first_moment(void **state)
{
	const struct adaptive_settings settings = settings_of(600, 6, 0.9);
	struct adaptive_observation fine = passed(BEGIN);
	struct adaptive_observation no = refused(BEGIN + 2 * MS, 0);

	(void)state;
	adaptive_begin(&adaptive, &settings, BEGIN, 24);
	fine.drawn = no.drawn = 24;
	for (int i = 0; i < 5; i++)
		observe(&settings, fine);
	observe(&settings, no);
	fine.response_ns = BEGIN + 2 * S;
	observe(&settings, fine);
	assert_about(decision.rate_per_s, 420);
}

/* A refusal, and half a second later an answer again; the speed then. */
static double refuse_once(const struct adaptive_settings *settings, uint64_t now_ns, double drawn)
{
	struct adaptive_observation no = refused(now_ns, 0), fine = passed(now_ns + S / 2);

	no.drawn = fine.drawn = drawn;
	observe(settings, no);
	observe(settings, fine);
	return decision.rate_per_s;
}

/*
 * Somebody tells of responses and draws nothing here. That says nothing of the speed: each refusal
 * is a step down from what is configured, and not the end of all.
 */
static void test_refused_and_nothing_drawn(void **state)
{
	const struct adaptive_settings settings = settings_of(100, 1, 0.9);
	uint64_t now = BEGIN;
	double before = 100, after;

	(void)state;
	begin(&settings);
	for (; now < BEGIN + 20 * S; now += S / 5)
		observe(&settings, passed(now));
	assert_about(decision.rate_per_s, 100);
	for (int i = 0; i < 5; i++, now += 2 * S, before = after) {
		after = refuse_once(&settings, now, 0);
		assert_true(after >= before / 2 && after < 0.95 * before);
	}
	/* five a second pass; were they drawn, they would be the speed */
	assert_true(before > 10);
}

/* But where little was drawn, so little was too much. */
static void test_refused_and_little_drawn(void **state)
{
	const struct adaptive_settings settings = settings_of(100, 1, 0.9);
	struct adaptive_observation fine;
	uint64_t now = BEGIN;
	double drawn = 0;

	(void)state;
	begin(&settings);
	for (; now < BEGIN + 20 * S; now += S / 5) {
		fine = passed(now);
		fine.drawn = ++drawn;
		observe(&settings, fine);
	}
	assert_true(refuse_once(&settings, now, drawn) < 12);
}

/* What was on its way when the first refusal came is the same news. */
static void test_refusals_of_one_moment(void **state)
{
	const struct adaptive_settings settings = settings_of(10, 0.1, 0.9);
	struct adaptive_observation same = refused(BEGIN + 10 * MS, 0);
	double rate;
	uint64_t closed;

	(void)state;
	begin(&settings);
	observe(&settings, refused(BEGIN, 0));
	rate = decision.rate_per_s;
	closed = decision.closed_until_ns;
	for (int i = 0; i < 100; i++) {
		same.response_ns += MS;
		same.latency_ns = 50 * MS;
		observe(&settings, same);
		assert_about(decision.rate_per_s, rate);
		assert_true(decision.closed_until_ns == closed);
	}
	/* a named time still counts */
	same.says = ADAPTIVE_SAYS_RETRY;
	same.retry_ns = 5 * S;
	observe(&settings, same);
	assert_true(decision.closed_until_ns == same.response_ns + 5 * S);
}

/* As long as nothing passes, each pause is longer, up to some seconds. */
static void test_pauses_grow(void **state)
{
	const struct adaptive_settings settings = settings_of(10, 0.1, 0.9);
	uint64_t now = BEGIN;
	uint64_t before = 0;

	(void)state;
	begin(&settings);
	for (int i = 0; i < 4; i++) {
		uint64_t pause;

		observe(&settings, refused(now, 0));
		pause = decision.closed_until_ns - now;
		assert_true(pause > before);
		assert_true(pause <= 5 * S / 2);
		before = pause;
		now = decision.closed_until_ns;
	}
	for (int i = 0; i < 50; i++) {
		observe(&settings, refused(now, 0));
		/* a part of the time since things went well */
		assert_true(decision.closed_until_ns - now <= 5 * S / 2 + (now - BEGIN) / 25);
		now = decision.closed_until_ns;
	}
}

static void test_overload_is_a_refusal(void **state)
{
	const struct adaptive_settings settings = settings_of(10, 0.1, 0.9);
	struct adaptive_observation overload = refused(BEGIN, 0);

	(void)state;
	overload.outcome = ADAPTIVE_OVERLOAD;
	begin(&settings);
	assert_true(observe(&settings, overload));
	assert_int_equal(decision.cause, ADAPTIVE_CAUSE_REFUSED);
	assert_true(decision.closed_until_ns > BEGIN);
}

static void test_closures_are_bounded(void **state)
{
	struct adaptive_settings settings = settings_of(10, 0.1, 0.9);

	(void)state;
	settings.max_close_ns = 60 * S;
	begin(&settings);
	observe(&settings, refused(BEGIN, 86400 * S));
	assert_true(decision.closed_until_ns == BEGIN + 60 * S);
	begin(&settings);
	observe(&settings, refused(BEGIN, UINT64_MAX));
	assert_true(decision.closed_until_ns == BEGIN + 60 * S);
}

static void test_modes(void **state)
{
	struct adaptive_settings settings = settings_of(10, 0.1, 0.9);

	(void)state;
	settings.mode = ADAPTIVE_OFF;
	begin(&settings);
	assert_false(observe(&settings, quota(BEGIN, 100, 5, 30 * S)));
	assert_false(observe(&settings, refused(BEGIN + 1, 30 * S)));
	assert_about(decision.rate_per_s, 10);
	assert_int_equal(decision.cause, ADAPTIVE_CAUSE_OFF);
	assert_true(decision.closed_until_ns == 0);
	settings.mode = ADAPTIVE_AIMD;
	begin(&settings);
	assert_false(observe(&settings, quota(BEGIN, 100, 5, 30 * S)));
	assert_about(decision.rate_per_s, 10);
	assert_true(observe(&settings, refused(BEGIN + 1, 0)));
	assert_true(decision.rate_per_s < 10);
}

/* ---- an upstream that is small enough to see through ---- */

#define WAY 5 /* steps of 10 ms from the request to the response */
#define STEP (10 * MS)

struct life {
	struct adaptive adaptive;
	struct adaptive_decision decision;
	double tokens, drawn;
	struct adaptive_observation way[WAY];
	bool used[WAY];
};

struct upstream {
	double limit, spent;
	uint64_t window_ns;
	uint64_t window;
	int64_t skew_ns;  /* what it says of its reset is that much too late */
	bool whole;	  /* in whole seconds */
	double stretch;	  /* it names so many times the time; 0: once */
	bool frozen;	  /* it says that all is left */
	double per_s;	  /* above 0: a token bucket, of which so much comes back */
	uint64_t full_ns; /* when that is full */
	double passed, refused;
};

/* Of a token bucket: what is spent now, and how long it takes to come back. */
static int64_t upstream_refill(struct upstream *upstream, uint64_t now)
{
	int64_t missing = upstream->full_ns > now ? (int64_t)(upstream->full_ns - now) : 0;

	upstream->spent = ceil((double)missing / 1e9 * upstream->per_s);
	return missing;
}

/* Of a window: as much is back in so long. */
static int64_t upstream_renew(struct upstream *upstream, uint64_t now)
{
	uint64_t window = now / upstream->window_ns;

	if (window != upstream->window)
		upstream->spent = 0;
	upstream->window = window;
	return (int64_t)((window + 1) * upstream->window_ns - now);
}

static void upstream_spend(struct upstream *upstream, uint64_t now)
{
	upstream->spent++;
	upstream->passed++;
	if (upstream->per_s > 0)
		upstream->full_ns = (upstream->full_ns > now ? upstream->full_ns : now) +
				    (uint64_t)(1e9 / upstream->per_s);
}

static void upstream_ask(struct upstream *upstream, uint64_t now, struct adaptive_observation *out)
{
	int64_t reset = upstream->per_s > 0 ? upstream_refill(upstream, now)
					    : upstream_renew(upstream, now);

	reset = (int64_t)((double)(reset + upstream->skew_ns) *
			  (upstream->stretch > 0 ? upstream->stretch : 1));
	reset = reset > 0 ? reset : 0;
	if (upstream->whole)
		reset = (reset + (int64_t)S - 1) / (int64_t)S * (int64_t)S;
	*out = quota(0, upstream->limit, 0, (uint64_t)reset);
	if (upstream->spent < upstream->limit) {
		upstream_spend(upstream, now);
	} else {
		upstream->refused++;
		out->outcome = ADAPTIVE_LIMITED;
	}
	out->remaining = upstream->frozen ? upstream->limit : upstream->limit - upstream->spent;
}

/* One step of a host that sends whatever it may. */
static void life_step(struct life *life, const struct adaptive_settings *settings,
		      struct upstream *upstream, uint64_t now)
{
	unsigned slot = (unsigned)(now / STEP % WAY);

	if (life->used[slot]) {
		life->used[slot] = false;
		life->way[slot].response_ns = now;
		life->way[slot].latency_ns = WAY * STEP;
		life->way[slot].drawn = life->drawn;
		adaptive_observe(&life->adaptive, settings, now, &life->way[slot], &life->decision);
	} else if (life->decision.next_ns <= now) {
		adaptive_tick(&life->adaptive, settings, now, life->drawn, &life->decision);
	}
	if (life->decision.closed_until_ns > now) {
		life->tokens = 0;
		return;
	}
	life->tokens = fmin(life->tokens + life->decision.rate_per_s * (STEP / 1e9), 2);
	if (life->tokens >= 1) {
		life->tokens--;
		life->drawn++;
		life->used[slot] = true;
		upstream_ask(upstream, now, &life->way[slot]);
	}
}

static void life_begin(struct life *life, const struct adaptive_settings *settings)
{
	memset(life, 0, sizeof(*life));
	adaptive_begin(&life->adaptive, settings, BEGIN, 0);
	life->decision = (struct adaptive_decision){.rate_per_s = settings->rate_per_s,
						    .next_ns = UINT64_MAX};
}

/*
 * Defect 11: within a window the speed does not swing. It is followed at every step from the first
 * response of a window to the last seconds; each time that it turns by a quarter is counted.
 */
static unsigned swings_of(bool whole, double limit, uint64_t window_s)
{
	const struct adaptive_settings settings = settings_of(4 * limit / (double)window_s, 0, 0.9);
	struct upstream upstream = {.limit = limit, .window_ns = window_s * S, .whole = whole};
	struct life life;
	unsigned swings = 0;
	double low = INFINITY, high = 0;
	int heading = 0;
	uint64_t window = 0;

	life_begin(&life, &settings);
	for (uint64_t now = BEGIN; now < BEGIN + 10 * window_s * S; now += STEP) {
		double rate;

		life_step(&life, &settings, &upstream, now);
		rate = life.decision.rate_per_s;
		if (life.decision.cause != ADAPTIVE_CAUSE_QUOTA ||
		    window != life.adaptive.quota.begun_ns) {
			window = life.adaptive.quota.begun_ns;
			low = INFINITY; /* spent, or a new window */
			high = 0;
			heading = 0;
			continue;
		}
		low = fmin(low, rate);
		high = fmax(high, rate);
		if (rate > 1.25 * low && heading <= 0) {
			swings += heading < 0;
			heading = 1;
			high = rate;
		} else if (rate < 0.75 * high && heading >= 0) {
			swings += heading > 0;
			heading = -1;
			low = rate;
		}
	}
	assert_true(upstream.refused <= upstream.passed / 1000);
	assert_true(upstream.passed >= 0.97 * 10 * limit);
	return swings;
}

static void test_defect_11_no_oscillation(void **state)
{
	(void)state;
	/* once at most in the last seconds of each of ten windows */
	assert_true(swings_of(false, 600, 60) <= 10);
	assert_true(swings_of(true, 600, 60) <= 10);
	assert_true(swings_of(false, 1500, 100) <= 10);
	assert_true(swings_of(true, 1500, 100) <= 10);
}

/* Defect 12: two hosts on one quota do not both spend all of it. */
static void test_defect_12_two_hosts(void **state)
{
	const struct adaptive_settings settings = settings_of(20, 0, 0.9);
	struct upstream upstream = {.limit = 600, .window_ns = 60 * S};
	struct life lives[2];

	(void)state;
	life_begin(&lives[0], &settings);
	life_begin(&lives[1], &settings);
	for (uint64_t now = BEGIN; now < BEGIN + 600 * S; now += STEP) {
		life_step(&lives[0], &settings, &upstream, now);
		life_step(&lives[1], &settings, &upstream, now);
		if (now == BEGIN + 30 * S) {
			assert_int_equal(lives[0].decision.cause, ADAPTIVE_CAUSE_SHARED);
			assert_int_equal(lives[1].decision.cause, ADAPTIVE_CAUSE_SHARED);
		}
	}
	assert_true(upstream.passed >= 0.97 * 6000);
	assert_true(upstream.refused <= 0.01 * 6000);
	assert_true(lives[0].drawn >= 0.2 * 6000 && lives[1].drawn >= 0.2 * 6000);
}

/* The server's clock and the worker's differ: its windows end at other times than it says. */
static void test_clock_skew(void **state)
{
	static const int64_t skews_ms[] = {-3000, -1500, -500, 500, 1500, 3000};
	const struct adaptive_settings settings = settings_of(20, 0, 0.9);

	(void)state;
	for (size_t i = 0; i < sizeof(skews_ms) / sizeof(skews_ms[0]); i++) {
		struct upstream upstream = {.limit = 600,
					    .window_ns = 60 * S,
					    .skew_ns = skews_ms[i] * (int64_t)MS,
					    .whole = true};
		struct life life;

		life_begin(&life, &settings);
		for (uint64_t now = BEGIN; now < BEGIN + 1200 * S; now += STEP)
			life_step(&life, &settings, &upstream, now);
		if (upstream.passed < 0.93 * 12000 || upstream.refused > 0.005 * 12000)
			fail_msg("skew %lld ms: %.0f passed, %.0f refused", (long long)skews_ms[i],
				 upstream.passed, upstream.refused);
	}
}

/* ---- lies ---- */

static void live(struct life *life, struct upstream *upstream, double rate, uint64_t seconds)
{
	const struct adaptive_settings settings = settings_of(rate, 0, 0.9);

	life_begin(life, &settings);
	for (uint64_t now = BEGIN; now < BEGIN + seconds * S; now += STEP)
		life_step(life, &settings, upstream, now);
}

/* Ten times the time, and the truth of what is left: the one is not believed, and the other is. */
static void test_time_alone_is_contradicted(void **state)
{
	struct upstream upstream = {
		.limit = 600, .window_ns = 60 * S, .stretch = 10, .whole = true};
	struct life life;

	(void)state;
	live(&life, &upstream, 20, 900);
	assert_false(life.decision.distrusts);
	assert_true(upstream.passed >= 0.97 * 9000);
	assert_true(upstream.refused <= 0.01 * 9000);
}

/* All is always left, and the truth of when a bucket is full: it never becomes empty. */
static void test_number_alone_is_made_up(void **state)
{
	struct upstream upstream = {.limit = 600, .per_s = 10, .frozen = true, .whole = true};
	struct life life;

	(void)state;
	live(&life, &upstream, 20, 900);
	assert_true(life.decision.distrusts);
	assert_true(upstream.refused == 0);
	assert_true(upstream.passed >= 0.97 * 9000);
}

/* The same of windows, whose end does not move: what was refused is all that there is to go by. */
static void test_frozen_windows(void **state)
{
	struct upstream upstream = {.limit = 600, .window_ns = 60 * S, .frozen = true};
	struct life life;

	(void)state;
	live(&life, &upstream, 20, 900);
	assert_true(life.decision.distrusts);
	assert_true(upstream.passed >= 0.9 * 9000);
	assert_true(upstream.refused <= 0.02 * 9000);
}

/* That nothing is left is no reason to close if it is the first word, and nothing was refused. */
static void test_first_word_is_zero(void **state)
{
	const struct adaptive_settings settings = settings_of(10, 0, 0.9);

	(void)state;
	begin(&settings);
	observe(&settings, quota(BEGIN, 100, 0, 5 * S));
	assert_int_equal(decision.closed_until_ns, 0);
	assert_about(decision.rate_per_s, 0.1);
	begin(&settings);
	observe(&settings, quota(BEGIN, 100, 2, 5 * S));
	observe(&settings, quota(BEGIN + S, 100, 0, 4 * S));
	assert_true(decision.closed_until_ns >= BEGIN + 5 * S);
}

/* ---- what comes back bit by bit ---- */

/*
 * A sliding window that several hosts have emptied: the first comes back in a while, and it is
 * closed until then. When it is due somebody asks, however small the floor is.
 */
static void test_first_is_asked_for(void **state)
{
	struct adaptive_settings settings = settings_of(20, 0.001, 0.9);
	uint64_t now = BEGIN;
	double drawn = 0;

	(void)state;
	settings.window_ns = 60 * S;
	begin(&settings);
	/* each moves the end by what it took: that is no window's */
	for (int i = 0; i < 40; i++, now += 100 * MS) {
		struct adaptive_observation seen = quota(now, 600, 20 - i / 2, 500 * MS);

		seen.latency_ns = 50 * MS;
		seen.drawn = drawn++;
		observe(&settings, seen);
	}
	assert_int_equal(decision.cause, ADAPTIVE_CAUSE_REFILL);
	for (int i = 0; i < 3; i++, now += 100 * MS) {
		struct adaptive_observation seen = quota(now, 600, 0, 30 * S);

		seen.latency_ns = 50 * MS;
		seen.drawn = drawn;
		seen.outcome = i ? ADAPTIVE_LIMITED : ADAPTIVE_PASSED;
		observe(&settings, seen);
	}
	assert_in_range(decision.closed_until_ns, now + 28 * S, now + 31 * S);
	adaptive_tick(&adaptive, &settings, now + 32 * S, drawn, &decision);
	assert_int_equal(decision.closed_until_ns, 0);
	assert_int_equal(decision.cause, ADAPTIVE_CAUSE_REFILL);
	assert_true(decision.rate_per_s >= 4);
}

/* ---- properties ---- */

static uint64_t chance_state;

static uint64_t chance(uint64_t below)
{
	chance_state = chance_state * 6364136223846793005ull + 1442695040888963407ull;
	return (chance_state >> 20) % below;
}

static double chance_number(void)
{
	static const double odd[] = {0,
				     -1,
				     1,
				     0.5,
				     1e9,
				     1e15,
				     1e16,
				     1e300,
				     (double)NAN,
				     (double)INFINITY,
				     -(double)INFINITY};

	if (chance(8) == 0)
		return odd[chance(sizeof(odd) / sizeof(odd[0]))];
	return (double)chance(1000);
}

static uint64_t chance_time(void)
{
	static const uint64_t odd[] = {0, 1, S, UINT64_MAX, UINT64_MAX / 2, 366 * 86400 * S};

	if (chance(8) == 0)
		return odd[chance(sizeof(odd) / sizeof(odd[0]))];
	return chance(100000) * MS;
}

static struct adaptive_observation chance_observation(uint64_t now, double drawn)
{
	return (struct adaptive_observation){
		.response_ns = chance(4) ? now : now - chance(10) * S,
		.latency_ns = chance(16) ? chance(2000) * MS : chance_time(),
		.outcome = (enum adaptive_outcome)(chance(5) ? 0 : chance(3)),
		.says = (unsigned)chance(32),
		.limit = chance_number(),
		.remaining = chance_number(),
		.reset_ns = chance_time(),
		.window_ns = chance_time(),
		.retry_ns = chance_time(),
		.drawn = chance(32) ? drawn : chance_number(),
	};
}

static struct adaptive_settings chance_settings(void)
{
	struct adaptive_settings settings = settings_of((double)(1 + chance(1000)) / 10, 0, 0.9);

	settings.mode = (enum adaptive_mode)chance(3);
	settings.burst = 1 + (double)chance(100);
	settings.min_per_s = chance(2) ? settings.rate_per_s * (double)chance(100) / 100 : 0;
	settings.safety = (double)(1 + chance(100)) / 100;
	settings.max_close_ns = (1 + chance(3600)) * S;
	settings.window_ns = chance(2) ? chance(100) * S : 0;
	if (chance(10) == 0)
		settings.rate_per_s = INFINITY;
	return settings;
}

static void assert_bounded(const struct adaptive_settings *settings, uint64_t now)
{
	assert_true(decision.rate_per_s > 0); /* not NaN either */
	assert_true(decision.rate_per_s <= settings->rate_per_s);
	assert_true(decision.rate_per_s >= settings->min_per_s);
	assert_true(decision.burst >= 1 && decision.burst <= settings->burst);
	assert_true(decision.level_most >= 0);
	assert_true(decision.closed_until_ns == 0 || decision.closed_until_ns > now);
	assert_true(decision.closed_until_ns <= now + settings->max_close_ns);
	assert_true(decision.next_ns > now || decision.next_ns == UINT64_MAX);
	assert_true(decision.cause < ADAPTIVE_CAUSES);
}

/* Whatever is observed, in whatever order, what is asked for is within what was configured. */
static void test_property_bounds(void **state)
{
	(void)state;
	for (unsigned life = 0; life < 3000; life++) {
		struct adaptive_settings settings;
		uint64_t now = BEGIN;
		double drawn = 0;

		chance_state = life;
		settings = chance_settings();
		begin(&settings);
		for (unsigned i = 0; i < 100; i++) {
			now += chance(3) ? chance(200) * MS : chance(100) * S;
			drawn += (double)chance(20);
			if (chance(4)) {
				struct adaptive_observation any = chance_observation(now, drawn);

				adaptive_observe(&adaptive, &settings, now, &any, &decision);
			} else {
				adaptive_tick(&adaptive, &settings, now, drawn, &decision);
			}
			assert_bounded(&settings, now);
		}
	}
}

/* No response that is older than one taken in changes what is known of the quota. */
static void test_property_order(void **state)
{
	(void)state;
	for (unsigned life = 0; life < 2000; life++) {
		const struct adaptive_settings settings = settings_of(100, 0, 0.9);
		uint64_t now = BEGIN;
		uint64_t newest = 0;

		chance_state = life;
		begin(&settings);
		for (unsigned i = 0; i < 50; i++) {
			struct adaptive_observation any;
			double remaining = decision.remaining;

			now += chance(500) * MS;
			any = quota(now - chance(2000) * MS, 1000, (double)chance(1000), 60 * S);
			any.drawn = i;
			adaptive_observe(&adaptive, &settings, now, &any, &decision);
			if (i > 0 && any.response_ns < newest && decision.from_ns) {
				assert_about(decision.remaining, remaining);
				assert_true(decision.from_ns <= newest);
			}
			newest = any.response_ns > newest ? any.response_ns : newest;
			adaptive_tick(&adaptive, &settings, now, i, &decision);
		}
	}
}

/* Whatever a quota has taught, when it has expired and nothing was refused, it is forgotten. */
static void test_property_expiry(void **state)
{
	(void)state;
	for (unsigned life = 0; life < 2000; life++) {
		const struct adaptive_settings settings = settings_of(100, 0, 0.9);
		uint64_t now = BEGIN;

		chance_state = life;
		begin(&settings);
		for (unsigned i = 0; i < 50; i++) {
			struct adaptive_observation any;

			now += chance(500) * MS;
			any = quota(now, (double)(1 + chance(1000)), (double)chance(1000),
				    chance(600) * S);
			any.drawn = i;
			adaptive_observe(&adaptive, &settings, now, &any, &decision);
		}
		/* contradictions may have begun a recovery, which also ends */
		adaptive_tick(&adaptive, &settings, now + 86400 * S, 50, &decision);
		assert_about(decision.rate_per_s, 100);
		assert_true(decision.closed_until_ns == 0);
	}
}

/* A small change is not worth a publication, and is not lost either. */
static void test_small_changes_add_up(void **state)
{
	const struct adaptive_settings settings = settings_of(20, 0, 0.9);
	unsigned told = 0;

	(void)state;
	begin(&settings);
	for (uint64_t i = 0; i < 500; i++) {
		struct adaptive_observation next =
			quota(BEGIN + i * (S / 10), 1000, 1000 - (double)i, 600 * S - i * (S / 10));

		next.drawn = (double)i;
		told += observe(&settings, next);
	}
	assert_true(told < 60);
	assert_true(fabs(decision.rate_per_s / (0.9 * 501 / 550) - 1) < 0.03);
}

/* ---- for the shell ---- */

static void test_terms(void **state)
{
	const struct terms from = {.rate_micro = 10 * TERMS_MICRO,
				   .period_ns = S,
				   .burst_micro = 20 * TERMS_MICRO,
				   .initial_micro = 20 * TERMS_MICRO};
	struct terms unlimited = from;
	struct terms windows = from;
	struct terms out;

	(void)state;
	unlimited.rate_micro = TERMS_UNLIMITED;
	decision = (struct adaptive_decision){.rate_per_s = 10, .burst = 20};
	adaptive_terms(&decision, &from, &out);
	assert_memory_equal(&out, &from, sizeof(out));
	decision.burst = 5;
	adaptive_terms(&decision, &from, &out);
	assert_true(out.burst_micro == 5 * TERMS_MICRO && out.initial_micro == out.burst_micro);
	windows.window = (struct window_terms){.length_ns = 3600 * S, .kind = WINDOW_ALIGNED};
	decision.rate_per_s = 1;
	adaptive_terms(&decision, &windows, &out);
	assert_true(out.rate_micro == windows.rate_micro && out.period_ns == windows.period_ns);
	decision.rate_per_s = INFINITY;
	adaptive_terms(&decision, &unlimited, &out);
	assert_true(out.rate_micro == TERMS_UNLIMITED);
	for (double rate = 9; rate > 1e-9; rate /= 3) {
		decision.rate_per_s = rate;
		adaptive_terms(&decision, &unlimited, &out);
		assert_true(out.rate_micro > 0);
		assert_true(terms_per_s(&out) <= rate || out.rate_micro == 1);
		assert_true(rate < 1e-6 || terms_per_s(&out) > rate * (1 - 1e-5));
	}
}

static void test_texts(void **state)
{
	(void)state;
	for (int i = 0; i < ADAPTIVE_CAUSES; i++) {
		const char *text = adaptive_cause_text((enum adaptive_cause)i);

		for (int j = 0; j < i; j++)
			assert_string_not_equal(text, adaptive_cause_text((enum adaptive_cause)j));
	}
	assert_string_equal(adaptive_cause_text(ADAPTIVE_CAUSES), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ut_12),
		cmocka_unit_test(test_ut_13_14),
		cmocka_unit_test(test_ut_15),
		cmocka_unit_test(test_ut_16),
		cmocka_unit_test(test_it_3),
		cmocka_unit_test(test_defect_5_period),
		cmocka_unit_test(test_defect_6_nothing_left),
		cmocka_unit_test(test_defect_7_slow_budgets),
		cmocka_unit_test(test_defect_8_retry_after),
		cmocka_unit_test(test_defect_9_no_number_poisons),
		cmocka_unit_test(test_defect_9_past_reset),
		cmocka_unit_test(test_defect_10_huge_remaining),
		cmocka_unit_test(test_defect_11_late_answer),
		cmocka_unit_test(test_defect_11_expiry),
		cmocka_unit_test(test_defect_11_no_oscillation),
		cmocka_unit_test(test_defect_12_two_hosts),
		cmocka_unit_test(test_defect_19_endpoints),
		cmocka_unit_test(test_refusal_slows_and_recovers),
		cmocka_unit_test(test_refusal_and_then_silence),
		cmocka_unit_test(test_refusals_in_a_row),
		cmocka_unit_test(test_refused_in_the_first_moment),
		cmocka_unit_test(test_refused_and_nothing_drawn),
		cmocka_unit_test(test_refused_and_little_drawn),
		cmocka_unit_test(test_refusals_of_one_moment),
		cmocka_unit_test(test_pauses_grow),
		cmocka_unit_test(test_overload_is_a_refusal),
		cmocka_unit_test(test_closures_are_bounded),
		cmocka_unit_test(test_modes),
		cmocka_unit_test(test_clock_skew),
		cmocka_unit_test(test_time_alone_is_contradicted),
		cmocka_unit_test(test_number_alone_is_made_up),
		cmocka_unit_test(test_frozen_windows),
		cmocka_unit_test(test_first_word_is_zero),
		cmocka_unit_test(test_first_is_asked_for),
		cmocka_unit_test(test_property_bounds),
		cmocka_unit_test(test_property_order),
		cmocka_unit_test(test_property_expiry),
		cmocka_unit_test(test_small_changes_add_up),
		cmocka_unit_test(test_terms),
		cmocka_unit_test(test_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
