/* SPDX-License-Identifier: Apache-2.0
 *
 * The timelines of golang.org/x/time/rate's own test, replayed through the public API on the
 * manual clock. They are read from $WEIR_SHARED/conformance/go_x_time_rate.json, where there is
 * such a file. What differs, and why, is the table below, and doc/design.md says the same; all
 * else must come out as it does there, and what the table says must really differ.
 */
#include "weir.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <jansson.h>

#define MS WEIR_MILLISECOND

/* ---- what differs ---- */

enum reason {
	ZERO_COST,
	TIME_BACK,
	CANCEL_LATE,
	CANCEL_MIDDLE,
	BURST_KEEPS_USED,
	BURST_ZERO,
	NO_CONTEXT,
	NO_INTERVAL,
	REASONS,
};

static const char *const reason_text[REASONS] = {
	[ZERO_COST] = "a cost of 0 is refused: it is nearly always a bug of the caller's, and "
		      "weir_peek() asks without taking",
	[TIME_BACK] =
		"time does not go back: an earlier time is the present one, and mints nothing",
	[CANCEL_LATE] = "a cancel gives back what time has not refilled even if its turn has come",
	[CANCEL_MIDDLE] = "a cancel from the middle of a queue gives back nothing, so that those "
			  "behind it and a newcomer do not pass together",
	[BURST_KEEPS_USED] = "a change of burst keeps what was used, not what is left",
	[BURST_ZERO] = "a burst is at least 1; what lets nothing pass is a rate of 0, or closed",
	[NO_CONTEXT] = "there are no contexts: who has been cancelled does not call",
	[NO_INTERVAL] = "a rate is no interval: without bound it is called unlimited",
};

/* What came of one step. */
struct outcome {
	bool ok;
	double level;  /* tokens before it, NAN where it is not asked */
	double act_ms; /* when it may act, NAN where that is not asked */
};

#define WHOLE SIZE_MAX /* the timeline, not a step of it */
#define NOTHING                                                                                    \
	{                                                                                          \
		false, NAN, NAN                                                                    \
	} /* there is no call to compare */

/* Steps are counted from 0. What weir does instead is held to as well. */
static const struct difference {
	const char *timeline;
	size_t step;
	enum reason reason;
	struct outcome weir;
} differences[] = {
	{"TestLimiterBurst3", 12, ZERO_COST, {false, 0, NAN}},
	{"TestLimiterJumpBackwards", 5, TIME_BACK, {false, 0, NAN}},
	{"TestCancelTooLate", 3, CANCEL_LATE, {true, NAN, 300}},
	{"TestCancel1Token", 4, CANCEL_MIDDLE, {true, NAN, 500}},
	{"TestCancelMulti", 6, CANCEL_MIDDLE, {true, NAN, 700}},
	{"TestReserveJumpBack", 1, TIME_BACK, {true, NAN, 200}},
	{"TestReserveJumpBack", 2, TIME_BACK, {true, NAN, 400}},
	{"TestReserveJumpBack", 4, TIME_BACK, {true, NAN, 500}},
	{"TestReserveJumpBack", 6, TIME_BACK, {true, NAN, 600}},
	{"TestReserveJumpBackCancel", 4, CANCEL_MIDDLE, {true, NAN, 600}},
	/* its time goes back as well: kept, the level would let it act at 1200 ms */
	{"TestReserveSetBurst", 3, BURST_KEEPS_USED, {true, NAN, 800}},
	{"TestWaitSimple", 0, NO_CONTEXT, NOTHING},
	{"TestWaitInf", WHOLE, BURST_ZERO, NOTHING},
	{"every_interval_ns_to_rate", 0, NO_INTERVAL, NOTHING},
	{"every_interval_ns_to_rate", 1, NO_INTERVAL, NOTHING},
};
#define DIFFERENCES (sizeof(differences) / sizeof(differences[0]))

/* ---- the count ---- */

static struct {
	unsigned timelines;
	unsigned steps; /* with an outcome to compare */
	unsigned matched;
	unsigned differing[REASONS];
	bool met[DIFFERENCES];
} count;

static bool same(const struct outcome *one, const struct outcome *other)
{
	return one->ok == other->ok && !(fabs(one->level - other->level) > 1e-6) &&
	       !(fabs(one->act_ms - other->act_ms) > 1e-6);
}

static void show(const char *who, const struct outcome *outcome)
{
	print_error("  %s: %s, %g tokens before, acts at %g ms\n", who, outcome->ok ? "yes" : "no",
		    outcome->level, outcome->act_ms);
}

static bool is_listed(const char *timeline, size_t step, size_t *which)
{
	for (size_t i = 0; i < DIFFERENCES; i++) {
		if (strcmp(differences[i].timeline, timeline) != 0 || differences[i].step != step)
			continue;
		*which = i;
		return true;
	}
	return false;
}

/* Holds what weir did to what is expected there, or to the table. */
static void compare(const char *timeline, size_t step, const struct outcome *there,
		    const struct outcome *here)
{
	size_t which = 0;
	bool listed = is_listed(timeline, step, &which);
	const struct outcome *right = listed ? &differences[which].weir : there;

	count.steps++;
	if (!same(here, right) || (listed && same(here, there))) {
		print_error("%s, step %zu:\n", timeline, step);
		show("there", there);
		show("here", here);
		if (listed)
			show("the table says", right);
		fail();
	}
	if (!listed) {
		count.matched++;
		return;
	}
	count.differing[differences[which].reason]++;
	count.met[which] = true;
}

/* What has no counterpart here must be in the table as well. */
static void no_counterpart(const char *timeline, size_t step, enum reason reason)
{
	size_t which = 0;

	if (!is_listed(timeline, step, &which) || differences[which].reason != reason)
		fail_msg("%s: not in the table: %s", timeline, reason_text[reason]);
	count.steps += step != WHOLE;
	count.differing[reason]++;
	count.met[which] = true;
}

/* ---- JSON ---- */

static double number(const json_t *object, const char *key, double otherwise)
{
	const json_t *value = json_object_get(object, key);

	return json_is_number(value) ? json_number_value(value) : otherwise;
}

static const char *string(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static bool truth(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	if (!json_is_boolean(value))
		fail_msg("'%s' is no truth value", key);
	return json_is_true(value);
}

/* ---- a limiter ---- */

struct limiter {
	struct weir *weir;
	struct weir_endpoint *api;
	uint64_t begin_ns;
};

/* "10/13s": whole millionths of a token in a whole number of seconds. */
static void rate_text(double per_s, char *text, size_t bytes)
{
	for (unsigned period_s = 1; period_s < 1000000; period_s++) {
		double micro = per_s * period_s * 1e6;

		if (fabs(micro - nearbyint(micro)) > micro * 1e-12)
			continue;
		snprintf(text, bytes, "%.6f/%us", micro / 1e6, period_s);
		return;
	}
	fail_msg("a rate of %g/s cannot be written", per_s);
}

static void limit_text(const json_t *of, char *text, size_t bytes)
{
	if (strcmp(string(of, "limit_per_s"), "inf") == 0)
		snprintf(text, bytes, "unlimited");
	else
		rate_text(number(of, "limit_per_s", NAN), text, bytes);
}

static void limiter_begin(struct limiter *limiter, const char *rate, double burst)
{
	char message[500] = "";
	char ini[200];

	snprintf(ini, sizeof(ini), "[endpoint api]\nrate = %s\nburst = %g\n", rate, burst);
	if (weir_host(&limiter->weir, ini, WEIR_CLOCK_MANUAL, NULL, message, sizeof(message)) < 0)
		fail_msg("%s", message);
	assert_int_equal(weir_endpoint(limiter->weir, "api", &limiter->api), 0);
	limiter->begin_ns = weir_clock_now(limiter->weir);
}

static void limiter_end(struct limiter *limiter)
{
	weir_endpoint_close(limiter->api);
	weir_close(limiter->weir);
}

static double now_ms(const struct limiter *limiter)
{
	return (double)(weir_clock_now(limiter->weir) - limiter->begin_ns) / (double)MS;
}

/* An earlier time is the present one. */
static void go_to(const struct limiter *limiter, double t_ms)
{
	double by_ms = t_ms - now_ms(limiter);

	if (by_ms > 0)
		assert_int_equal(weir_clock_advance(limiter->weir, (uint64_t)(by_ms * (double)MS)),
				 0);
}

static double tokens(const struct limiter *limiter)
{
	struct weir_level level = {.size = sizeof(level)};

	assert_int_equal(weir_peek(limiter->api, &level), 0);
	return level.level;
}

static void set_limit(const struct limiter *limiter, const json_t *step)
{
	char rate[60];

	limit_text(step, rate, sizeof(rate));
	assert_int_equal(weir_update(limiter->weir, "api", rate, NULL, WEIR_KEEP_USED), 0);
}

static void set_burst(const struct limiter *limiter, const json_t *step)
{
	char burst[40];

	snprintf(burst, sizeof(burst), "%g", number(step, "burst", NAN));
	assert_int_equal(weir_update(limiter->weir, "api", NULL, burst, WEIR_KEEP_USED), 0);
}

static void allow(const struct limiter *limiter, const char *timeline, size_t at,
		  const json_t *step)
{
	const struct outcome there = {truth(step, "expect_ok"), number(step, "tokens_before", NAN),
				      NAN};
	struct outcome here = {.level = NAN, .act_ms = NAN};

	if (!isnan(there.level))
		here.level = tokens(limiter);
	here.ok = weir_acquire(limiter->api, number(step, "n", NAN), NULL) == WEIR_ADMIT;
	compare(timeline, at, &there, &here);
}

/* ---- allow ---- */

static void allow_timeline(const json_t *timeline)
{
	struct limiter limiter;
	const json_t *step;
	char rate[60];
	size_t i;

	limit_text(timeline, rate, sizeof(rate));
	limiter_begin(&limiter, rate, number(timeline, "burst", NAN));
	json_array_foreach(json_object_get(timeline, "steps"), i, step)
	{
		go_to(&limiter, number(step, "t_ms", NAN));
		allow(&limiter, string(timeline, "name"), i, step);
	}
	limiter_end(&limiter);
}

/* ---- reserve and cancel ---- */

enum { RESERVATIONS = 8 };

struct reservations {
	struct weir_reservation of[RESERVATIONS];
	char id[RESERVATIONS][8]; /* empty: without one */
	unsigned count;
};

static void reserve(const struct limiter *limiter, struct reservations *held, const char *timeline,
		    size_t at, const json_t *step)
{
	const struct outcome there = {truth(step, "expect_ok"), NAN,
				      number(step, "expect_act_ms", NAN)};
	double max_wait_ms = number(step, "max_wait_ms", INFINITY);
	uint64_t max_wait_ns =
		isinf(max_wait_ms) ? WEIR_FOREVER : (uint64_t)(max_wait_ms * (double)MS);
	struct outcome here = {.level = NAN, .act_ms = NAN};
	struct weir_answer answer;

	assert_true(held->count < RESERVATIONS);
	snprintf(held->id[held->count], sizeof(held->id[0]), "%s", string(step, "id"));
	here.ok = weir_reserve(limiter->api, number(step, "n", NAN), max_wait_ns,
			       &held->of[held->count], &answer) == WEIR_ADMIT;
	if (here.ok)
		here.act_ms = now_ms(limiter) + (double)answer.wait_ns / (double)MS;
	held->count++;
	compare(timeline, at, &there, &here);
}

/* One that was refused holds nothing, and cancelling it does nothing. */
static void cancel(const struct limiter *limiter, struct reservations *held, const json_t *step)
{
	unsigned i = 0;

	while (i < held->count && strcmp(held->id[i], string(step, "id")) != 0)
		i++;
	assert_true(i < held->count);
	weir_cancel(limiter->api, &held->of[i], NULL);
}

static void reserve_timeline(const json_t *timeline)
{
	struct reservations held = {.count = 0};
	const char *name = string(timeline, "name");
	struct limiter limiter;
	const json_t *step;
	char rate[60];
	size_t i;

	limit_text(timeline, rate, sizeof(rate));
	limiter_begin(&limiter, rate, number(timeline, "burst", NAN));
	json_array_foreach(json_object_get(timeline, "steps"), i, step)
	{
		const char *op = string(step, "op");

		go_to(&limiter, number(step, "t_ms", NAN));
		if (strcmp(op, "reserve") == 0)
			reserve(&limiter, &held, name, i, step);
		else if (strcmp(op, "allow") == 0)
			allow(&limiter, name, i, step);
		else if (strcmp(op, "cancel") == 0)
			cancel(&limiter, &held, step);
		else if (strcmp(op, "set_limit") == 0)
			set_limit(&limiter, step);
		else if (strcmp(op, "set_burst") == 0)
			set_burst(&limiter, step);
		else
			fail_msg("%s, step %zu: '%s' is unknown", name, i, op);
	}
	limiter_end(&limiter);
}

/* ---- wait ---- */

struct waiter {
	const struct limiter *limiter;
	double n;
	uint64_t timeout_ns;
	struct weir_answer answer;
	enum weir_verdict verdict;
	_Atomic int done;
};

static void *wait_in_thread(void *context)
{
	struct waiter *waiter = context;

	waiter->verdict =
		weir_wait(waiter->limiter->api, waiter->n, waiter->timeout_ns, &waiter->answer);
	atomic_store(&waiter->done, 1);
	return NULL;
}

/* Until it has answered, or sleeps in its place. */
static void await(struct waiter *waiter, double level_before)
{
	const struct timespec pause = {0, 1000000};

	for (int i = 0; i < 30000 && !atomic_load(&waiter->done); i++) {
		if (tokens(waiter->limiter) < level_before - 1e-6)
			return;
		nanosleep(&pause, NULL);
	}
}

/* weir_wait() in a thread, the clock moved to where it must end, less a nanosecond and whole. */
static void wait_out(const struct limiter *limiter, const char *timeline, size_t at,
		     const json_t *step)
{
	const struct outcome there = {!truth(step, "expect_err"), NAN,
				      number(step, "expect_delay_ms", NAN)};
	double deadline_ms = number(step, "deadline_ms", INFINITY);
	uint64_t delay_ns = (uint64_t)(there.act_ms * (double)MS);
	double before = tokens(limiter);
	struct waiter waiter = {
		.limiter = limiter,
		.n = number(step, "n", NAN),
		.timeout_ns =
			isinf(deadline_ms) ? WEIR_FOREVER : (uint64_t)(deadline_ms * (double)MS),
	};
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, wait_in_thread, &waiter), 0);
	await(&waiter, before);
	if (delay_ns) {
		weir_clock_advance(limiter->weir, delay_ns - 1);
		assert_int_equal(atomic_load(&waiter.done), 0);
		weir_clock_advance(limiter->weir, 1);
	}
	pthread_join(thread, NULL);

	/* refused: what it has slept is no part of the answer; the clock did not move */
	const struct outcome here = {waiter.verdict == WEIR_ADMIT, NAN,
				     waiter.verdict ? (double)waiter.answer.wait_ns / (double)MS
						    : 0};

	compare(timeline, at, &there, &here);
}

/* A wait that may be cancelled is a reservation. */
static void wait_and_cancel(const struct limiter *limiter, const char *timeline, size_t at,
			    const json_t *step)
{
	const struct outcome there = {!truth(step, "expect_err"), NAN,
				      number(step, "expect_delay_ms", NAN)};
	double after_ms = number(step, "cancel_after_ms", NAN);
	struct weir_reservation reservation;
	struct outcome here = {.level = NAN};

	assert_int_equal(weir_reserve(limiter->api, number(step, "n", NAN), WEIR_FOREVER,
				      &reservation, NULL),
			 WEIR_ADMIT);
	weir_clock_advance(limiter->weir, (uint64_t)(after_ms * (double)MS));
	here.ok = weir_reservation_wait(limiter->api, &reservation, 0, NULL) == WEIR_ADMIT;
	here.act_ms = after_ms;
	assert_int_equal(weir_cancel(limiter->api, &reservation, NULL), 0);
	compare(timeline, at, &there, &here);
}

static void wait_step(const struct limiter *limiter, const char *timeline, size_t at,
		      const json_t *step)
{
	const char *op = string(step, "op");

	if (strcmp(op, "allow_n") == 0)
		allow(limiter, timeline, at, step);
	else if (strcmp(op, "set_limit") == 0)
		set_limit(limiter, step);
	else if (strcmp(op, "wait") != 0)
		fail_msg("%s, step %zu: '%s' is unknown", timeline, at, op);
	else if (*string(step, "ctx")) /* it takes nothing, as there: later steps would show it */
		no_counterpart(timeline, at, NO_CONTEXT);
	else if (json_object_get(step, "cancel_after_ms"))
		wait_and_cancel(limiter, timeline, at, step);
	else
		wait_out(limiter, timeline, at, step);
}

static void no_burst_of_zero(const char *rate)
{
	struct weir *weir;
	char ini[200];

	snprintf(ini, sizeof(ini), "[endpoint api]\nrate = %s\nburst = 0\n", rate);
	assert_int_equal(weir_host(&weir, ini, WEIR_CLOCK_MANUAL, NULL, NULL, 0), WEIR_ECONFIG);
}

static void wait_timeline(const json_t *timeline)
{
	const char *name = string(timeline, "name");
	double burst = number(timeline, "burst", NAN);
	struct limiter limiter;
	const json_t *step;
	char rate[60];
	size_t i;

	limit_text(timeline, rate, sizeof(rate));
	if (burst < 1) {
		no_burst_of_zero(rate);
		no_counterpart(name, WHOLE, BURST_ZERO);
		burst = 1;
	}
	limiter_begin(&limiter, rate, burst);
	json_array_foreach(json_object_get(timeline, "steps"), i, step)
	{
		wait_step(&limiter, name, i, step);
	}
	limiter_end(&limiter);
}

/* ---- properties ---- */

static void calls_same_instant(const struct limiter *limiter, const char *name,
			       const json_t *expected)
{
	const json_t *one;
	size_t i;

	json_array_foreach(expected, i, one)
	{
		const struct outcome there = {json_is_true(one), NAN, NAN};
		const struct outcome here = {weir_acquire(limiter->api, 1, NULL) == WEIR_ADMIT, NAN,
					     NAN};

		compare(name, i, &there, &here);
	}
}

static void *call_in_thread(void *context)
{
	const struct limiter *limiter = context;

	return weir_acquire(limiter->api, 1, NULL) == WEIR_ADMIT ? context : NULL;
}

static void parallel_calls(struct limiter *limiter, const char *name, const json_t *property)
{
	enum { MOST = 64 };
	size_t calls = (size_t)number(property, "parallel_calls", 0);
	const struct outcome there = {true, number(property, "expect_ok_count", NAN), NAN};
	struct outcome here = {true, 0, NAN};
	pthread_t threads[MOST];

	assert_in_range(calls, 1, MOST);
	for (size_t i = 0; i < calls; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, call_in_thread, limiter), 0);
	for (size_t i = 0; i < calls; i++) {
		void *admitted;

		pthread_join(threads[i], &admitted);
		here.level += admitted != NULL;
	}
	compare(name, 0, &there, &here);
}

/* One call every step_ms; the bounds are formulas that are known here, cut to whole calls. */
static void long_run(struct limiter *limiter, const char *name, const json_t *property)
{
	const json_t *bounds = json_object_get(property, "expect_ok_between");
	double step_ms = number(property, "step_ms", NAN);
	double duration_ms = number(property, "duration_ms", NAN);
	double ideal = number(property, "burst", NAN) +
		       number(property, "limit_per_s", NAN) * duration_ms / 1000;
	unsigned admitted = 0;

	assert_string_equal(json_string_value(json_array_get(bounds, 0)),
			    "0.999*(burst+limit*elapsed_s)");
	assert_string_equal(json_string_value(json_array_get(bounds, 1)),
			    "burst+limit*elapsed_s+1");
	for (double t_ms = 0; t_ms < duration_ms; t_ms += step_ms) {
		go_to(limiter, t_ms);
		admitted += weir_acquire(limiter->api, 1, NULL) == WEIR_ADMIT;
	}

	const struct outcome there = {true, NAN, NAN};
	const struct outcome here = {
		admitted >= floor(0.999 * ideal) && admitted <= floor(ideal + 1), NAN, NAN};

	compare(name, 0, &there, &here);
}

static void property(const json_t *property)
{
	const char *name = string(property, "name");
	struct limiter limiter;
	char rate[60];

	limit_text(property, rate, sizeof(rate));
	limiter_begin(&limiter, rate, number(property, "burst", NAN));
	if (json_object_get(property, "calls_same_instant"))
		calls_same_instant(&limiter, name, json_object_get(property, "calls_same_instant"));
	else if (json_object_get(property, "parallel_calls"))
		parallel_calls(&limiter, name, property);
	else if (json_object_get(property, "step_ms"))
		long_run(&limiter, name, property);
	else
		fail_msg("'%s' is an unknown kind of property", name);
	limiter_end(&limiter);
}

/* A token every so many nanoseconds, as a rate a second. */
static void interval(const char *section, size_t at, const json_t *pair)
{
	double every_ns = json_number_value(json_array_get(pair, 0));
	const struct outcome there = {true, json_number_value(json_array_get(pair, 1)), NAN};
	struct weir_level level = {.size = sizeof(level)};
	struct limiter limiter;
	char rate[60];

	if (every_ns <= 0) {
		no_counterpart(section, at, NO_INTERVAL);
		return;
	}
	rate_text(1e9 / every_ns, rate, sizeof(rate));
	limiter_begin(&limiter, rate, 1);
	assert_int_equal(weir_peek(limiter.api, &level), 0);
	limiter_end(&limiter);

	const struct outcome here = {true, level.rate_per_s, NAN};

	compare(section, at, &there, &here);
}

/* ---- the file ---- */

static void report(void)
{
	print_message("%u timelines, %u steps: %u come out the same\n", count.timelines,
		      count.steps, count.matched);
	for (int i = 0; i < REASONS; i++)
		print_message("%u differ%s: %s\n", count.differing[i],
			      count.differing[i] == 1 ? "s" : "", reason_text[i]);
	for (size_t i = 0; i < DIFFERENCES; i++)
		if (!count.met[i])
			fail_msg("%s, step %zu is in the table, but not in the file",
				 differences[i].timeline, differences[i].step);
}

static void timelines(const char *section, const json_t *list)
{
	static const struct {
		const char *section;
		void (*replay)(const json_t *timeline);
	} kinds[] = {
		{"allow_timelines", allow_timeline},
		{"reserve_timelines", reserve_timeline},
		{"wait_timelines", wait_timeline},
		{"properties", property},
	};
	const json_t *one;
	size_t i;

	for (size_t kind = 0; kind < sizeof(kinds) / sizeof(kinds[0]); kind++) {
		if (strcmp(section, kinds[kind].section) != 0)
			continue;
		json_array_foreach(list, i, one)
		{
			kinds[kind].replay(one);
			count.timelines++;
		}
		return;
	}
	if (strcmp(section, "every_interval_ns_to_rate") != 0)
		fail_msg("'%s' is an unknown section", section);
	json_array_foreach(list, i, one)
	{
		interval(section, i, one);
	}
}

static void as_x_time_rate(void **state)
{
	const char *shared = getenv("WEIR_SHARED");
	const char *section;
	json_error_t error;
	char path[4096];
	json_t *list;

	(void)state;
	snprintf(path, sizeof(path), "%s/conformance/go_x_time_rate.json", shared ? shared : "");
	FILE *file = shared ? fopen(path, "r") : NULL;

	if (!file) {
		print_message("skipped: WEIR_SHARED names no folder with "
			      "conformance/go_x_time_rate.json\n");
		skip();
	}

	json_t *root = json_loadf(file, 0, &error);

	fclose(file);
	if (!root)
		fail_msg("%s:%d: %s", path, error.line, error.text);
	json_object_foreach(root, section, list)
	{
		if (json_is_array(list))
			timelines(section, list);
	}
	json_decref(root);
	report();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_x_time_rate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
