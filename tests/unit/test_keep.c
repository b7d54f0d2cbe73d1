/* SPDX-License-Identifier: Apache-2.0
 *
 * What becomes of a level when a limit changes: every kind of change by everything that can be
 * kept. The clock stands still, so that the numbers are exact.
 */
#include "segment_fixture.h"

#include <math.h>

#include "handle.h"
#include "move.h"
#include "weir.h"

#define MINUTE (60 * SCENE_SECOND)
#define HOUR (60 * MINUTE)

/* A change of a rule, or of the rule that a name falls under. */
struct change {
	const char *what;
	const char *ini;
	const char *settings;
	double before; /* the bursts */
	double after;
	bool moves; /* to another row */
};

static const struct change changes[] = {
	{"the rate", "[endpoint api]\nrate = 10/min\nburst = 100", "rate = 500/min", 100, 100,
	 false},
	{"a larger burst", "[endpoint api]\nrate = 10/min\nburst = 100", "burst = 250", 100, 250,
	 false},
	{"a smaller burst", "[endpoint api]\nrate = 10/min\nburst = 100", "burst = 40", 100, 40,
	 false},
	{"another unit", "[endpoint api]\nrate = 1/d\nburst = 100", "rate = 1000000/s", 100, 100,
	 true},
	{"another unit and a larger burst", "[endpoint api]\nrate = 1/d\nburst = 100",
	 "rate = 1000000/s\nburst = 1000000", 100, 1000000, true},
	{"another unit and a smaller burst", "[endpoint api]\nrate = 1000000/s\nburst = 100",
	 "rate = 1/d\nburst = 40", 100, 40, true},
	{"windows on", "[endpoint api]\nrate = 250/h\nburst = 100", "window = 1h", 100, 250, false},
	{"windows off", "[endpoint api]\nrate = 100/h\nwindow = 1h", "window = none\nburst = 40",
	 100, 40, false},
	{"windows of another length", "[endpoint api]\nrate = 100/h\nwindow = 1h", "window = 30min",
	 100, 50, false},
	{"the rate of windows", "[endpoint api]\nrate = 100/h\nwindow = 1h", "rate = 250/h", 100,
	 250, false},
	{"windows of another place", "[endpoint api]\nrate = 100/h\nwindow = 1h",
	 "window = 1h aligned +00:30", 100, 100, false},
	{"windows from first use on", "[endpoint api]\nrate = 250/h\nburst = 100",
	 "window = 1h first", 100, 250, true},
	{"windows from first use off", "[endpoint api]\nrate = 100/h\nwindow = 1h first",
	 "window = none\nburst = 250", 100, 250, true},
	{"from first use to the calendar", "[endpoint api]\nrate = 100/h\nwindow = 1h first",
	 "window = 30min", 100, 50, true},
	{"from the calendar to first use", "[endpoint api]\nrate = 100/h\nwindow = 1h",
	 "rate = 250/h\nwindow = 1h first", 100, 250, true},
	{"the rate from first use", "[endpoint api]\nrate = 100/h\nwindow = 1h first",
	 "rate = 150/h", 100, 150, false},
	{"a far higher rate from first use", "[endpoint api]\nrate = 100/h\nwindow = 1h first",
	 "rate = 100000/h", 100, 100000, true},
	{"the length from first use", "[endpoint api]\nrate = 100/h\nwindow = 1h first",
	 "window = 2h first", 100, 200, false},
	{"a pattern to a row of its own", "[endpoint a*]\nrate = 10/min\nburst = 100",
	 "burst = 250", 100, 250, true},
	{"a pattern to windows of its own", "[endpoint a*]\nrate = 100/h\nwindow = 1h",
	 "window = 2h first", 100, 200, true},
	{"a pattern from first use to a row of its own",
	 "[endpoint a*]\nrate = 100/h\nwindow = 1h first", "window = none\nburst = 40", 100, 40,
	 true},
	{"a pattern to another unit", "[endpoint a*]\nrate = 1/d\nburst = 100", "rate = 1000000/s",
	 100, 100, true},
	{"[default] to a row of its own", "[default]\nrate = 10/min\nburst = 100", "burst = 250",
	 100, 250, true},
	{"[default] to another unit", "[default]\nrate = 1/d\nburst = 100", "rate = 1000000/s", 100,
	 100, true},
	{"[default] to windows of its own", "[default]\nrate = 100/h\nburst = 100",
	 "window = 2h first", 100, 200, true},
	{"[default] with windows to a row of its own", "[default]\nrate = 100/h\nwindow = 1h first",
	 "window = none\nburst = 40", 100, 40, true},
};

static const struct {
	const char *name;
	enum weir_keep keep;
} keeps[] = {
	{"used", WEIR_KEEP_USED},
	{"level", WEIR_KEEP_LEVEL},
	{"proportional", WEIR_KEEP_PROPORTIONAL},
	{"reset", WEIR_KEEP_RESET},
};

static double expected(enum weir_keep keep, double level, double before, double after)
{
	switch (keep) {
	case WEIR_KEEP_USED:
		return after - (before - level);
	case WEIR_KEEP_LEVEL:
		break;
	case WEIR_KEEP_PROPORTIONAL:
		level = level > 0 ? level * after / before : level;
		break;
	case WEIR_KEEP_RESET:
		return after;
	}
	return level < after ? level : after;
}

static struct weir *host(const char *ini)
{
	char message[600] = "";
	struct weir *weir;

	if (weir_host(&weir, ini, WEIR_CLOCK_MANUAL, NULL, message, sizeof(message)) < 0)
		fail_msg("%s", message);
	weir_clock_advance(weir, 100 * HOUR + 10 * MINUTE);
	return weir;
}

static struct weir_level peek(struct weir_endpoint *endpoint)
{
	struct weir_level level = {.size = sizeof(level)};

	assert_int_equal(weir_peek(endpoint, &level), 0);
	return level;
}

static void configure(struct weir *weir, const char *name, const char *settings,
		      enum weir_keep keep)
{
	char message[300] = "";

	if (weir_configure(weir, name, settings, keep, message, sizeof(message)) < 0)
		fail_msg("%s: %s", settings, message);
}

static uint32_t row_of(const struct weir_endpoint *endpoint)
{
	return atomic_load(&endpoint->binding)->row_index;
}

/* `used` above the burst: that much is reserved ahead. */
static void change(const struct change *change, enum weir_keep keep, const char *keep_name,
		   double used)
{
	struct weir *weir = host(change->ini);
	struct weir_endpoint *api;
	struct weir_reservation place;
	struct weir_level level;
	double after = expected(keep, change->before - used, change->before, change->after);
	uint32_t row;

	assert_int_equal(weir_endpoint(weir, "api", &api), 0);
	/* in use, and full again */
	assert_int_equal(weir_acquire(api, 1, NULL), WEIR_ADMIT);
	assert_int_equal(weir_reset(weir, "api"), 0);
	for (double left = used; left > 0; left -= change->before)
		assert_int_equal(weir_reserve(api, left < change->before ? left : change->before,
					      WEIR_FOREVER, &place, NULL),
				 WEIR_ADMIT);
	assert_true(peek(api).level == change->before - used);
	row = row_of(api);
	configure(weir, "api", change->settings, keep);
	level = peek(api);
	if (level.burst != change->after || fabs(level.level - after) > 1e-3 * fabs(after))
		fail_msg("%s, keep %s, %g of %g used: burst %g, level %.9g, expected %.9g",
			 change->what, keep_name, used, change->before, level.burst, level.level,
			 after);
	assert_true((row_of(api) != row) == change->moves);
	/* what a level says can be taken, and no more */
	if (after >= 1) {
		assert_int_equal(weir_acquire(api, floor(after + 1e-6), NULL), WEIR_ADMIT);
		assert_int_equal(weir_acquire(api, 1, NULL), WEIR_REFUSE);
	}
	weir_endpoint_close(api);
	weir_close(weir);
}

static void every_change_by_everything_kept(void **state)
{
	static const double used[] = {0, 1, 30, 100, 270};

	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
		for (size_t j = 0; j < sizeof(keeps) / sizeof(keeps[0]); j++)
			for (size_t k = 0; k < sizeof(used) / sizeof(used[0]); k++)
				change(&changes[i], keeps[j].keep, keeps[j].name, used[k]);
}

/* A bucket that nobody has used has nothing to keep. */
static void an_unused_bucket_begins_anew(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
		for (size_t j = 0; j < sizeof(keeps) / sizeof(keeps[0]); j++) {
			struct weir *weir = host(changes[i].ini);
			struct weir_endpoint *api;

			configure(weir, "api", changes[i].settings, keeps[j].keep);
			assert_int_equal(weir_endpoint(weir, "api", &api), 0);
			assert_true(peek(api).level == changes[i].after);
			assert_int_equal(weir_acquire(api, 1, NULL), WEIR_ADMIT);
			weir_endpoint_close(api);
			weir_close(weir);
		}
}

/* A window that is under way ends when it would have, and one of another length accordingly. */
static void a_window_goes_on(void **state)
{
	static const struct {
		const char *settings;
		uint64_t ends; /* since it began */
	} cases[] = {
		{"rate = 150/h", HOUR},
		{"rate = 100000/h", HOUR}, /* another unit */
		{"rate = 40/h", HOUR},
		{"window = 2h first", 2 * HOUR},
		{"window = 30min first", 30 * MINUTE},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct weir *weir = host("[endpoint api]\nrate = 100/h\nwindow = 1h first");
		struct weir_endpoint *api;
		uint64_t rest = cases[i].ends - 20 * MINUTE;

		assert_int_equal(weir_endpoint(weir, "api", &api), 0);
		assert_int_equal(weir_acquire(api, 10, NULL), WEIR_ADMIT);
		weir_clock_advance(weir, 20 * MINUTE);
		configure(weir, "api", cases[i].settings, WEIR_KEEP_USED);
		assert_true(peek(api).level == peek(api).burst - 10);
		if (peek(api).renews_ns > rest + SCENE_SECOND / 10 ||
		    peek(api).renews_ns < rest - SCENE_SECOND / 10)
			fail_msg("%s: ends in %.6f min", cases[i].settings,
				 (double)peek(api).renews_ns / (double)MINUTE);
		weir_endpoint_close(api);
		weir_close(weir);
	}
}

/*
 * Who stands in line stays there by what is used. Where a level is set by hand and the row stays
 * the same, or after a reset, it takes a new place.
 */
static void places_move_along(void **state)
{
	static const char *const settings[] = {"rate = 200/h\nwindow = 1h first", "window = 2h",
					       "rate = 1000000/s\nwindow = none"};

	(void)state;
	for (size_t i = 0; i < 3; i++)
		for (size_t j = 0; j < sizeof(keeps) / sizeof(keeps[0]); j++) {
			struct weir *weir = host("[endpoint api]\nrate = 100/h\nwindow = 1h first");
			struct weir_endpoint *api;
			struct weir_reservation place;
			bool is_new = keeps[j].keep == WEIR_KEEP_RESET;
			uint32_t row;

			assert_int_equal(weir_endpoint(weir, "api", &api), 0);
			row = row_of(api);
			assert_int_equal(weir_acquire(api, 100, NULL), WEIR_ADMIT);
			assert_int_equal(weir_reserve(api, 30, WEIR_FOREVER, &place, NULL),
					 WEIR_ADMIT);
			configure(weir, "api", settings[i], keeps[j].keep);
			peek(api); /* resolves again */
			is_new |= row_of(api) == row && keeps[j].keep != WEIR_KEEP_USED;
			weir_clock_advance(weir, 7 * HOUR);
			assert_int_equal(weir_reservation_wait(api, &place, 0, NULL), WEIR_ADMIT);
			assert_true((peek(api).level < peek(api).burst) == is_new);
			weir_endpoint_close(api);
			weir_close(weir);
		}
}

static void a_closure_comes_along(void **state)
{
	static const char *const sections[] = {"[endpoint api]", "[endpoint a*]", "[default]"};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		char ini[200];
		struct weir_endpoint *api;
		struct weir_answer answer;
		struct weir *weir;

		snprintf(ini, sizeof(ini), "%s\nrate = 100/h\nwindow = 1h", sections[i]);
		weir = host(ini);
		assert_int_equal(weir_endpoint(weir, "api", &api), 0);
		assert_int_equal(weir_acquire(api, 10, NULL), WEIR_ADMIT);
		assert_int_equal(weir_gate_close(api, 5 * MINUTE), 0);
		configure(weir, "api", "window = 1h first", WEIR_KEEP_USED);
		assert_int_equal(weir_acquire(api, 1, &answer), WEIR_REFUSE);
		assert_int_equal(answer.reason, WEIR_REASON_CLOSED);
		weir_clock_advance(weir, 6 * MINUTE);
		assert_int_equal(weir_acquire(api, 90, &answer), WEIR_ADMIT);
		weir_endpoint_close(api);
		weir_close(weir);
	}
}

/* The others of a pattern keep the bucket that they share, and its counts. */
static void a_pattern_goes_on_without_the_one_that_left(void **state)
{
	struct weir *weir = host("[endpoint a*]\nrate = 10/min\nburst = 100");
	struct weir_endpoint *api;
	struct weir_endpoint *other;

	(void)state;
	assert_int_equal(weir_endpoint(weir, "api", &api), 0);
	assert_int_equal(weir_endpoint(weir, "another", &other), 0);
	assert_int_equal(weir_acquire(api, 30, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire(other, 30, NULL), WEIR_ADMIT);
	configure(weir, "api", "burst = 80", WEIR_KEEP_USED);
	assert_true(peek(api).level == 20 && peek(other).level == 40);
	assert_true(peek(api).granted == 0 && peek(other).granted == 2);
	assert_int_equal(weir_acquire(other, 40, NULL), WEIR_ADMIT);
	assert_true(peek(api).level == 20 && peek(other).level == 0);
	weir_endpoint_close(api);
	weir_endpoint_close(other);
	weir_close(weir);
}

/* A rule that goes hands its debt to the name's bucket under [default], a window under way too. */
static void a_rule_that_goes(void **state)
{
	static const enum window_kind kinds[] = {WINDOW_NONE, WINDOW_ALIGNED, WINDOW_FIRST};

	(void)state;
	for (size_t i = 0; i < 9; i++) {
		struct scene scene;
		struct terms terms = scene_terms(100, 100);
		struct rule own = {.kind = ROW_EXACT, .text = "api", .terms = terms};
		struct rule fallback = {.kind = ROW_DEFAULT, .text = "*", .terms = terms};
		struct weir_endpoint *api;
		struct weir *weir;
		int64_t row;

		fallback.terms.period_ns = own.terms.period_ns = HOUR;
		own.terms.window = (struct window_terms){HOUR, kinds[i % 3], 0};
		fallback.terms.window = (struct window_terms){HOUR, kinds[i / 3], 0};
		if (i % 3 == 0)
			own.terms.window.length_ns = 0;
		if (i / 3 == 0)
			fallback.terms.window.length_ns = 0;
		scene_place(&scene.place);
		assert_int_equal(segment_create(&scene.segment, &scene.place, &scene_shape), 0);
		assert_true(rules_add(&scene.segment, &fallback) >= 0);
		assert_int_equal(segment_reveal(&scene.segment, &scene.place), 0);
		time_source_advance(&scene.segment.time, 100 * HOUR);
		weir = scene_open(&scene.place);
		api = scene_endpoint(weir, "api");
		assert_int_equal(weir_acquire(api, 10, NULL), WEIR_ADMIT);
		time_source_advance(&scene.segment.time, MINUTE / 100);
		row = rules_add(&scene.segment, &own);
		assert_true(row >= 0);
		assert_int_equal(weir_acquire(api, 20, NULL), WEIR_ADMIT);
		time_source_advance(&scene.segment.time, MINUTE / 100);
		rules_remove(&scene.segment, (uint32_t)row);
		assert_int_equal(weir_acquire(api, 30, NULL), WEIR_ADMIT);
		if (fabs(peek(api).level - 40) > 0.1)
			fail_msg("kind %zu in kind %zu: %.9g", i % 3, i / 3, peek(api).level);
		/* of windows from first use in the same, one that began a minute ago */
		if (i == 8)
			assert_true(peek(api).renews_ns < HOUR - MINUTE / 100);
		weir_endpoint_close(api);
		weir_close(weir);
		scene_end(&scene);
	}
}

/* [default] changes its unit, or the kind of its windows, with a new pair; all its names do. */
static void a_new_pair(void **state)
{
	static const struct {
		uint64_t rate;
		uint64_t period_ns;
		enum window_kind from;
		enum window_kind to;
	} cases[] = {
		{1, 24 * HOUR, WINDOW_NONE, WINDOW_NONE},
		{100, HOUR, WINDOW_NONE, WINDOW_FIRST},
		{100, HOUR, WINDOW_FIRST, WINDOW_NONE},
		{100, HOUR, WINDOW_ALIGNED, WINDOW_FIRST},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (size_t j = 0; j < sizeof(keeps) / sizeof(keeps[0]); j++) {
			struct scene scene;
			struct segment next;
			struct rule rule = {.kind = ROW_DEFAULT, .text = "*"};
			struct weir_endpoint *api;
			struct weir *weir;
			double after;

			rule.terms = scene_terms(cases[i].rate, 100);
			rule.terms.period_ns = cases[i].period_ns;
			if (cases[i].from)
				rule.terms.window = (struct window_terms){HOUR, cases[i].from, 0};
			scene_place(&scene.place);
			assert_int_equal(segment_create(&scene.segment, &scene.place, &scene_shape),
					 0);
			assert_true(rules_add(&scene.segment, &rule) >= 0);
			assert_int_equal(segment_reveal(&scene.segment, &scene.place), 0);
			time_source_advance(&scene.segment.time, 100 * HOUR);
			weir = scene_open(&scene.place);
			api = scene_endpoint(weir, "api");
			assert_int_equal(weir_acquire(api, 30, NULL), WEIR_ADMIT);

			rule.terms = scene_terms(250, 250);
			rule.terms.period_ns = cases[i].to ? HOUR : SCENE_SECOND / 1000;
			rule.terms.window =
				(struct window_terms){cases[i].to ? HOUR : 0, cases[i].to, 0};
			rule.keep = (enum rules_keep)keeps[j].keep;
			assert_int_equal(segment_create(&next, &scene.place, &scene_shape), 0);
			assert_int_equal(move_prepare(&scene.segment, &next, &rule), 0);
			assert_int_equal(segment_reveal(&next, &scene.place), 0);
			move_retire(&scene.segment);
			assert_int_equal(move_finish(&next, &scene.segment), 0);
			segment_forget_old(&scene.place);
			after = expected(keeps[j].keep, 70, 100, 250);
			if (fabs(peek(api).level - after) > 1e-3)
				fail_msg("case %zu, keep %s: %.9g, expected %.9g", i, keeps[j].name,
					 peek(api).level, after);
			weir_endpoint_close(api);
			weir_close(weir);
			segment_detach(&next);
			scene_end(&scene);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_change_by_everything_kept),
		cmocka_unit_test(an_unused_bucket_begins_anew),
		cmocka_unit_test(a_window_goes_on),
		cmocka_unit_test(places_move_along),
		cmocka_unit_test(a_closure_comes_along),
		cmocka_unit_test(a_pattern_goes_on_without_the_one_that_left),
		cmocka_unit_test(a_rule_that_goes),
		cmocka_unit_test(a_new_pair),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
