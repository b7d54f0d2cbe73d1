/* SPDX-License-Identifier: Apache-2.0
 *
 * Levels on their way from one segment into the state file and into another segment: on a manual
 * clock, with the time that passed given as a number, so that every level is known exactly. And
 * the file itself, with everything that can be wrong with it.
 */
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "bucket.h"
#include "class.h"
#include "config.h"
#include "gate.h"
#include "log.h"
#include "move.h"
#include "permit_chain.h"
#include "persist.h"
#include "segment_fixture.h"
#include "state.h"
#include "state_file.h"

#define DAY (86400 * SCENE_SECOND)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define NOBODY 65534

/* ---- segments ---- */

/* A rule by the day. */
static uint32_t add(struct scene *scene, enum row_kind kind, const char *text, uint64_t a_day,
		    uint64_t burst)
{
	struct rule rule = scene_rule(kind, text, a_day, burst);

	rule.terms.period_ns = DAY;
	int64_t row = rules_add(&scene->segment, &rule);

	assert_true(row >= 0);
	return (uint32_t)row;
}

/* A revealed pair with a [default] by the day. */
static void begin(struct scene *scene, uint64_t a_day, uint64_t burst)
{
	scene_place(&scene->place);
	assert_int_equal(segment_create(&scene->segment, &scene->place, &scene_shape), 0);
	add(scene, ROW_DEFAULT, "*", a_day, burst);
	assert_int_equal(segment_reveal(&scene->segment, &scene->place), 0);
}

static void advance(struct scene *scene, uint64_t ns)
{
	time_source_advance(&scene->segment.time, ns);
}

static struct resolution resolve(const struct scene *scene, const char *name)
{
	struct resolution found;

	assert_int_equal(names_resolve(&scene->segment, name, true, &found), 0);
	return found;
}

static struct bucket *bucket_named(const struct scene *scene, const char *name)
{
	struct resolution at = resolve(scene, name);

	if (bucket_look(&scene->segment.buckets[at.bucket]) == BUCKET_UNSET)
		assert_int_equal(move_install(&scene->segment, NULL, at.row, at.bucket), 0);
	return &scene->segment.buckets[at.bucket];
}

/* Takes so many millionths of a token, whatever the level: a queue if need be. */
static void take_micro(const struct scene *scene, const char *name, uint64_t micro)
{
	struct bucket *bucket = bucket_named(scene, name);
	struct line line;
	struct bucket_mark mark;
	uint64_t now = line_read(&scene->segment.rows[resolve(scene, name).row],
				 &scene->segment.time, &line);

	assert_int_equal(bucket_take(bucket, line_value(&line, now), line_units(micro, line.k),
				     LINE_FAR, &mark),
			 BUCKET_TAKEN);
}

static void take(const struct scene *scene, const char *name, uint64_t tokens)
{
	take_micro(scene, name, tokens * TERMS_MICRO);
}

static double level_at(const struct scene *scene, uint32_t row, uint32_t bucket)
{
	struct line line;
	uint64_t now = line_read(&scene->segment.rows[row], &scene->segment.time, &line);

	return (double)bucket_level(bucket_look(&scene->segment.buckets[bucket]),
				    line_value(&line, now), line.burst_units, line.initial_units) /
	       (double)(1ull << line.k);
}

static double level(const struct scene *scene, const char *name)
{
	struct resolution at = resolve(scene, name);

	return level_at(scene, at.row, at.bucket);
}

static bool is_used(const struct scene *scene, const char *name)
{
	struct resolution at = resolve(scene, name);

	return bucket_look(&scene->segment.buckets[at.bucket]) != BUCKET_UNSET;
}

/* ---- a reboot, as text ---- */

static char *saved(const struct scene *scene, size_t *bytes)
{
	struct persist_moment moment;
	struct state_text text;

	persist_moment(&moment, &scene->segment, "t");
	persist_capture(&text, &scene->segment, &moment);
	assert_int_equal(state_finish(&text), 0);
	*bytes = text.used;
	return text.text;
}

static struct persist_counts put_text(struct scene *to, const char *text, size_t bytes,
				      uint64_t elapsed_ns)
{
	char fault[STATE_FAULT_BYTES] = "";
	struct persist_counts counts;
	struct state_reader reader;
	struct state_stamp stamp;

	if (state_open(&reader, &stamp, text, bytes, fault) < 0)
		fail_msg("%s", fault);
	persist_put(&to->segment, reader, &(struct state_span){stamp.saved_ns, elapsed_ns},
		    &counts);
	return counts;
}

static struct persist_counts reboot(const struct scene *from, struct scene *to, uint64_t elapsed_ns)
{
	size_t bytes;
	char *text = saved(from, &bytes);
	struct persist_counts counts = put_text(to, text, bytes, elapsed_ns);

	free(text);
	return counts;
}

static bool has_line(const struct scene *scene, const char *line)
{
	size_t bytes;
	char *text = saved(scene, &bytes);
	char *found;

	text[bytes - 1] = '\0';
	found = strstr(text, line);
	free(text);
	return found != NULL;
}

/* Both ends of a reboot with the rules that test_kinds() and others begin with. */
static void begin_both(struct scene *from, struct scene *to)
{
	struct scene *both[] = {from, to};

	for (int i = 0; i < 2; i++) {
		begin(both[i], 10, 10);
		add(both[i], ROW_EXACT, "api", 100, 50);
		add(both[i], ROW_PATTERN, "img/*", 100, 50);
	}
}

static void end_both(struct scene *from, struct scene *to)
{
	scene_end(from);
	scene_end(to);
}

static void test_kinds(void **state)
{
	struct scene from, to;
	struct persist_counts counts;

	(void)state;
	begin_both(&from, &to);
	take(&from, "api", 12);
	take(&from, "img/a", 3);
	take(&from, "img/b", 4);
	take(&from, "a name, with = and #", 5);
	take(&from, "queue", 25);
	counts = reboot(&from, &to, 0);
	assert_int_equal(counts.buckets, 4);
	assert_int_equal(counts.idle + counts.gone, 0);
	assert_near(level(&to, "api"), 38);
	assert_near(level(&to, "img/c"), 43);
	assert_near(level(&to, "a name, with = and #"), 5);
	assert_near(level(&to, "queue"), -15);
	assert_false(is_used(&to, "nobody"));
	/* and the same once more, from the restored one */
	assert_true(has_line(&to, "\nname rate=10/d burst=10 used=25 name=queue\n"));
	end_both(&from, &to);
}

/* Time is credited at the rate, to full at most; what is full by then claims no place. */
static void test_credit(void **state)
{
	struct scene from, to;
	struct persist_counts counts;

	(void)state;
	begin_both(&from, &to);
	take(&from, "api", 40);
	take(&from, "slow", 8);
	take(&from, "soon", 3);
	counts = reboot(&from, &to, DAY * 3 / 10);
	assert_near(level(&to, "api"), 40);
	assert_near(level(&to, "slow"), 5);
	assert_int_equal(names_find_slot(&to.segment, "soon"), -1);
	assert_int_equal(counts.buckets, 2);
	assert_int_equal(counts.idle, 1);
	/* and V goes on from there */
	advance(&to, DAY / 10);
	assert_near(level(&to, "api"), 50);
	assert_near(level(&to, "slow"), 6);
	end_both(&from, &to);
}

/* Units are a row's own: the same tokens where a unit is 2^-38 token and where it is 1. */
static void test_another_unit(void **state)
{
	struct scene from, to;
	struct line slow, fast;

	(void)state;
	begin(&from, 10, 10);
	begin(&to, 10, 10);
	uint32_t before = add(&from, ROW_EXACT, "api", 1, 1000);
	uint32_t after = scene_add(&to.segment, ROW_EXACT, "api", 1000000000, 1000);

	line_read(&from.segment.rows[before], &from.segment.time, &slow);
	line_read(&to.segment.rows[after], &to.segment.time, &fast);
	assert_true(slow.k > fast.k + 20);
	take_micro(&from, "api", 600400000);
	reboot(&from, &to, 0);
	/* a part of a unit is one that is used */
	assert_near(level(&to, "api"), 399);
	scene_end(&from);
	begin(&from, 10, 10);
	add(&from, ROW_EXACT, "api", 1, 1000);
	reboot(&to, &from, 0);
	assert_near(level(&from, "api"), 399);
	end_both(&from, &to);
}

/* The largest debt that a mark can stand for is again the largest. */
static void test_far_debt(void **state)
{
	struct scene from, to;
	struct line line;

	(void)state;
	begin(&from, 10, 10);
	begin(&to, 10, 10);
	scene_add(&from.segment, ROW_EXACT, "api", 1000000000, 1000);
	uint32_t row = add(&to, ROW_EXACT, "api", 1, 1000);

	uint64_t now = line_read(&from.segment.rows[1], &from.segment.time, &line);

	assert_int_equal(bucket_charge(bucket_named(&from, "api"), &line, now, UINT64_MAX),
			 BUCKET_TAKEN);
	assert_true(has_line(&from, " used=2305843009213693952 "));
	reboot(&from, &to, 400 * DAY);
	line_read(&to.segment.rows[row], &to.segment.time, &line);
	assert_near(level(&to, "api"), 1000 - (double)(LINE_FAR >> line.k));
	end_both(&from, &to);
}

/* ---- windows ---- */

#define MINUTE (60 * SCENE_SECOND)
#define HOUR (60 * MINUTE)

/* 10 an hour, renewed as a whole. */
static void add_hourly(struct scene *scene, enum window_kind kind)
{
	struct rule rule = scene_rule(ROW_EXACT, "api", 10, 10);

	rule.terms.period_ns = HOUR;
	rule.terms.window = (struct window_terms){HOUR, kind, 0};
	assert_true(rules_add(&scene->segment, &rule) >= 0);
}

static struct line line_of(const struct scene *scene, const char *name, uint64_t *now)
{
	struct line line;

	*now = line_read(&scene->segment.rows[resolve(scene, name).row], &scene->segment.time,
			 &line);
	return line;
}

static double window_level(const struct scene *scene, const char *name)
{
	uint64_t now;
	struct line line = line_of(scene, name, &now);
	uint64_t mark = bucket_look(bucket_named(scene, name));

	return (double)line_level(&line, now, mark) / (double)(1ull << line.k);
}

static void charge(const struct scene *scene, const char *name, uint64_t tokens)
{
	uint64_t now;
	struct line line = line_of(scene, name, &now);

	assert_int_equal(bucket_charge(bucket_named(scene, name), &line, now, tokens << line.k),
			 BUCKET_TAKEN);
}

struct window_case {
	const char *what;
	uint64_t used;
	uint64_t since;	  /* the beginning of the window */
	uint64_t elapsed; /* from the save to the restore */
	double level;
	double later; /* when that window is over; a manual clock begins with one itself */
};

static const struct window_case window_cases[] = {
	{"the same moment", 7, 0, 0, 3, 10},
	{"within the window", 7, 20 * MINUTE, 39 * MINUTE, 3, 10},
	{"almost over", 7, 20 * MINUTE, 40 * MINUTE, 3, 10},
	{"over", 7, 20 * MINUTE, 41 * MINUTE, 10, 10},
	{"a year", 7, 20 * MINUTE, 366 * DAY, 10, 10},
	{"a debt", 25, 20 * MINUTE, 0, -15, -5},
	{"a debt, one window paid", 25, 20 * MINUTE, 41 * MINUTE, -5, 5},
	{"a debt, two windows paid", 25, 20 * MINUTE, 101 * MINUTE, 5, 10},
	{"a debt, paid", 25, 20 * MINUTE, 161 * MINUTE, 10, 10},
};

static void run_window_case(const struct window_case *at, enum window_kind kind)
{
	struct scene from, to;

	begin(&from, 10, 10);
	begin(&to, 10, 10);
	/* both clocks at a window by the calendar */
	advance(&from, HOUR - segment_now(&from.segment) % HOUR);
	advance(&to, HOUR - segment_now(&to.segment) % HOUR);
	add_hourly(&from, kind);
	add_hourly(&to, kind);
	charge(&from, "api", at->used);
	advance(&from, at->since);
	reboot(&from, &to, at->elapsed);
	if (window_level(&to, "api") != at->level)
		fail_msg("%s: level %g, not %g", at->what, window_level(&to, "api"), at->level);
	advance(&to, HOUR);
	if (window_level(&to, "api") != at->later)
		fail_msg("%s: level %g a window later, not %g", at->what, window_level(&to, "api"),
			 at->later);
	end_both(&from, &to);
}

static void test_windows(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(window_cases); i++) {
		run_window_case(&window_cases[i], WINDOW_ALIGNED);
		run_window_case(&window_cases[i], WINDOW_FIRST);
	}
}

/* A window from first use ends when it would have ended. */
static void test_window_goes_on(void **state)
{
	struct scene from, to;

	(void)state;
	begin(&from, 10, 10);
	begin(&to, 10, 10);
	add_hourly(&from, WINDOW_FIRST);
	add_hourly(&to, WINDOW_FIRST);
	charge(&from, "api", 10);
	advance(&from, 20 * MINUTE);
	assert_true(has_line(&from, "endpoint rate=10/h burst=10 window=1h,first used=10 renews="));
	reboot(&from, &to, 15 * MINUTE);
	/* its start is rounded, and the moments of a save and a restore take time */
	advance(&to, 25 * MINUTE - SCENE_SECOND);
	assert_true(window_level(&to, "api") == 0);
	advance(&to, 2 * SCENE_SECOND);
	assert_true(window_level(&to, "api") == 10);
	end_both(&from, &to);
}

/* A closure leaves what is left of the window, before and after. */
static void test_window_closed(void **state)
{
	struct scene from, to;
	uint64_t now;

	(void)state;
	begin(&from, 10, 10);
	begin(&to, 10, 10);
	add_hourly(&from, WINDOW_FIRST);
	add_hourly(&to, WINDOW_FIRST);
	charge(&from, "api", 4);
	now = segment_now(&from.segment);
	assert_true(gate_close(bucket_named(&from, "api"), now, now + 5 * MINUTE));
	reboot(&from, &to, 10 * MINUTE);
	assert_true(window_level(&to, "api") == 6);
	end_both(&from, &to);
}

/* What was counted by a rate goes on by windows, and the other way; no moment sees more. */
static void test_window_changed(void **state)
{
	struct scene from, to;

	(void)state;
	begin(&from, 10, 10);
	begin(&to, 10, 10);
	add(&from, ROW_EXACT, "api", 10, 10);
	add_hourly(&to, WINDOW_FIRST);
	charge(&from, "api", 8);
	/* 1 an hour by the rate and 10 by windows: the lower one */
	reboot(&from, &to, 125 * MINUTE);
	assert_true(window_level(&to, "api") < 3);
	end_both(&from, &to);

	begin(&from, 10, 10);
	begin(&to, 10, 10);
	add_hourly(&from, WINDOW_FIRST);
	add(&to, ROW_EXACT, "api", 240, 10);
	charge(&from, "api", 8);
	/* 10 an hour by both, but the window is not over */
	reboot(&from, &to, 45 * MINUTE);
	assert_near(window_level(&to, "api"), 2);
	end_both(&from, &to);
}

struct changed {
	const char *what;
	uint64_t rate_before, burst_before, used, rate, burst, elapsed;
	double level;
};

static const struct changed changes[] = {
	{"burst smaller", 100, 50, 30, 100, 40, 0, 10},
	{"burst smaller than what was used", 100, 50, 30, 100, 20, 0, -10},
	{"burst larger", 100, 50, 30, 100, 80, 0, 20},
	{"burst larger, full", 100, 50, 0, 100, 80, 0, 50},
	{"rate lower", 100, 50, 30, 10, 50, DAY / 10, 21},
	{"rate higher", 10, 50, 30, 100, 50, DAY / 10, 21},
	{"rate higher, and long enough", 10, 50, 30, 100, 50, 4 * DAY, 50},
	{"all of it", 10, 50, 30, 100, 80, DAY, 30},
};

static void test_changed_rules(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(changes); i++) {
		const struct changed *at = &changes[i];
		struct scene from, to;

		begin(&from, 10, 10);
		begin(&to, 10, 10);
		add(&from, ROW_EXACT, "api", at->rate_before, at->burst_before);
		add(&to, ROW_EXACT, "api", at->rate, at->burst);
		bucket_named(&from, "api");
		if (at->used)
			take(&from, "api", at->used);
		reboot(&from, &to, at->elapsed);
		double found = level(&to, "api");

		if (found > at->level + 1e-9 || found < at->level - 1e-9)
			fail_msg("%s: level %.12g, expected %.12g", at->what, found, at->level);
		end_both(&from, &to);
	}
}

/* Where the name is found now is where its level goes. */
static void test_rules_that_came_and_went(void **state)
{
	struct scene from, to;
	struct persist_counts counts;

	(void)state;
	begin(&from, 10, 10);
	begin(&to, 20, 20);
	add(&from, ROW_EXACT, "gone", 100, 50);
	add(&from, ROW_EXACT, "now/matched", 100, 50);
	add(&from, ROW_PATTERN, "old/*", 100, 50);
	add(&to, ROW_EXACT, "new", 100, 50);
	add(&to, ROW_PATTERN, "now/*", 100, 50);
	take(&from, "gone", 45);
	take(&from, "now/matched", 20);
	take(&from, "now/other", 4);
	take(&from, "old/a", 20);
	take(&from, "new", 7);
	counts = reboot(&from, &to, 0);
	/* a rule that went: under [default] what was used stays used */
	assert_near(level(&to, "gone"), 20 - 45);
	/* a name that got a rule: not more than it had */
	assert_near(level(&to, "new"), 3);
	/* patterns begin anew, and so do names whose pattern is gone */
	assert_near(level(&to, "now/matched"), 50);
	assert_near(level(&to, "old/a"), 20);
	assert_int_equal(counts.gone, 3);
	assert_int_equal(counts.buckets, 2);
	end_both(&from, &to);
}

/* A name that moved to a row of its own has one record, its own row's. */
static void test_moved_names(void **state)
{
	struct scene from, to;

	(void)state;
	begin(&from, 10, 10);
	begin(&to, 10, 10);
	take(&from, "api", 4);
	add(&from, ROW_EXACT, "api", 10, 10);
	take(&from, "api", 2);
	assert_true(has_line(&from, "endpoint rate=10/d burst=10 used=6 name=api\n"));
	assert_false(has_line(&from, "\nname "));
	reboot(&from, &to, 0);
	assert_near(level(&to, "api"), 4);
	end_both(&from, &to);
}

/* Two records that lead to one bucket, in either order: the lower level counts. */
static void test_two_records_for_a_bucket(void **state)
{
	static const char *const records[] = {
		"endpoint rate=10/d burst=10 used=3 name=api\n",
		"name rate=10/d burst=10 used=8 closed=5s name=api\n"};

	(void)state;
	for (int first = 0; first < 2; first++) {
		struct scene to;
		char text[512];
		int bytes = snprintf(text, sizeof(text),
				     "weir-state 1\ninstance t\nsaved 1\n"
				     "boot 00000000000000000000000000000001 1\n%s%s",
				     records[first], records[!first]);

		bytes += sprintf(text + bytes, "end %u %d\n", state_cksum(text, (size_t)bytes),
				 bytes);
		begin(&to, 10, 10);
		put_text(&to, text, (size_t)bytes, 0);
		assert_near(level(&to, "api"), 2);
		assert_true(gate_is_closed(gate_load(bucket_named(&to, "api")), 1));
		scene_end(&to);
	}
}

/* Names that found no room share a bucket; with less room those that had one join them. */
static void test_no_room_for_names(void **state)
{
	struct segment_shape small = scene_shape;
	struct scene from, to;
	char name[16];
	double lowest = 10, rest;

	(void)state;
	begin(&from, 10, 10);
	for (unsigned i = 0; i < scene_shape.names; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		take(&from, name, 1 + i % 9);
	}
	take(&from, "too many", 2);
	assert_true(resolve(&from, "too many").overflow);
	assert_true(has_line(&from, "\nrest rate=10/d burst=10 used=2\n"));
	small.names = 8;
	scene_place(&to.place);
	assert_int_equal(segment_create(&to.segment, &to.place, &small), 0);
	add(&to, ROW_DEFAULT, "*", 10, 10);
	reboot(&from, &to, 0);
	rest = level_at(&to, 0, to.segment.row_count + small.names);
	for (unsigned i = 0; i < scene_shape.names; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		/* nobody has more than before */
		assert_true(level(&to, name) <= 10 - (1 + i % 9) + 1e-9);
		if (resolve(&to, name).overflow && level(&from, name) < lowest)
			lowest = level(&from, name);
	}
	assert_near(rest, lowest);
	end_both(&from, &to);
}

/* Nothing to say of what nobody used, nor of names that are full again. */
static void test_what_is_left_out(void **state)
{
	struct scene from, to;
	struct rule slow = scene_rule(ROW_EXACT, "starts empty", 1, 10);
	size_t bytes;
	char *text;

	(void)state;
	begin_both(&from, &to);
	slow.terms.initial_micro = 0;
	assert_true(rules_add(&from.segment, &slow) >= 0);
	assert_true(rules_add(&to.segment, &slow) >= 0);
	text = saved(&from, &bytes);
	text[bytes - 1] = '\0';
	assert_null(strstr(text, "\nendpoint "));
	free(text);
	take(&from, "api", 1);
	take(&from, "name", 1);
	advance(&from, DAY);
	assert_true(has_line(&from, " used=0 name=api\n"));
	assert_false(has_line(&from, "\nname "));
	/* a bucket that starts empty and is full now is full afterwards, not empty */
	bucket_named(&from, "starts empty");
	advance(&from, 20 * SCENE_SECOND);
	assert_near(level(&from, "starts empty"), 10);
	reboot(&from, &to, 0);
	assert_near(level(&to, "starts empty"), 10);
	end_both(&from, &to);
}

/* ---- closures ---- */

static uint64_t now_of(const struct scene *scene)
{
	return segment_now(&scene->segment);
}

static void close_for(const struct scene *scene, const char *name, uint64_t ns)
{
	gate_close(bucket_named(scene, name), now_of(scene),
		   ns == UINT64_MAX ? ns : now_of(scene) + ns);
}

static bool is_closed(const struct scene *scene, const char *name)
{
	return gate_is_closed(gate_load(bucket_named(scene, name)), now_of(scene));
}

/* As the first call after an opening does. */
static double level_after_opening(const struct scene *scene, const char *name)
{
	struct bucket *bucket = bucket_named(scene, name);
	uint64_t gate = gate_load(bucket);
	struct line line;

	line_read(&scene->segment.rows[resolve(scene, name).row], &scene->segment.time, &line);
	assert_false(is_closed(scene, name));
	if (!gate_is_settled(gate))
		assert_true(gate_settle(bucket, gate, &line));
	return level(scene, name);
}

static void test_closed(void **state)
{
	struct scene from, to;

	(void)state;
	begin_both(&from, &to);
	advance(&from, 1000 * SCENE_SECOND);
	close_for(&from, "api", 600 * SCENE_SECOND);
	close_for(&from, "never", UINT64_MAX);
	advance(&from, 100 * SCENE_SECOND);
	reboot(&from, &to, 200 * SCENE_SECOND);
	assert_true(is_closed(&to, "api"));
	assert_true(is_closed(&to, "never"));
	advance(&to, 299 * SCENE_SECOND);
	assert_true(is_closed(&to, "api"));
	advance(&to, 2 * SCENE_SECOND);
	/* a second of 100/d, and a closure is rounded up to 65 microseconds, twice */
	double minted = level_after_opening(&to, "api");
	assert_true(minted <= 100. / 86400 && minted > 0.999 * 100. / 86400);
	advance(&to, 1000 * DAY);
	assert_true(is_closed(&to, "never"));
	end_both(&from, &to);
}

/* The end of the closure lay in the time without weird: empty then, refilled since. */
static void test_opened_meanwhile(void **state)
{
	struct scene from, to;

	(void)state;
	begin_both(&from, &to);
	close_for(&from, "api", 1000 * SCENE_SECOND);
	reboot(&from, &to, 1000 * SCENE_SECOND + DAY / 10);
	assert_false(is_closed(&to, "api"));
	double found = level(&to, "api");
	assert_true(found <= 10 && found > 10 - 1e-3);
	end_both(&from, &to);
}

/* It opened before the save, and nobody has come since to empty the bucket. */
static void test_opening_that_nobody_met(void **state)
{
	struct scene from, to;

	(void)state;
	begin_both(&from, &to);
	close_for(&from, "api", 1000 * SCENE_SECOND);
	advance(&from, 1000 * SCENE_SECOND + DAY / 10);
	assert_false(gate_is_settled(gate_load(bucket_named(&from, "api"))));
	assert_near(level(&from, "api"), 50);
	reboot(&from, &to, 0);
	double found = level(&to, "api");
	assert_true(found <= 10 && found > 10 - 1e-3);
	end_both(&from, &to);
}

static void test_closed_before_first_use(void **state)
{
	struct scene from, to;

	(void)state;
	begin_both(&from, &to);
	gate_close(&from.segment.buckets[resolve(&from, "api").bucket], now_of(&from),
		   now_of(&from) + SCENE_SECOND);
	reboot(&from, &to, 0);
	assert_true(is_closed(&to, "api"));
	end_both(&from, &to);
}

/* ---- what members may have written ---- */

/* Whatever is in the marks, gates and names: a save is a file that can be read. */
static void test_hostile_state(void **state)
{
	uint64_t random = 0x853c49e6748fea9bull;
	unsigned buckets = 0;

	(void)state;
	for (int run = 0; run < 300; run++) {
		struct scene from, to;

		begin_both(&from, &to);
		take(&from, "some", 1);
		for (uint32_t i = 0; i < from.segment.bucket_count; i++) {
			atomic_store(&from.segment.buckets[i].mark, scene_random(&random));
			atomic_store(&from.segment.buckets[i].gate, scene_random(&random));
		}
		for (uint32_t i = 0; i < from.segment.name_count; i++)
			for (size_t c = 0; c < LAYOUT_TEXT_BYTES; c++)
				atomic_store(&from.segment.names[i].text[c],
					     (unsigned char)(run % 2 ? scene_random(&random)
								     : 'a' + c % 26));
		buckets += reboot(&from, &to, scene_random(&random) >> (run % 64)).buckets;
		end_both(&from, &to);
	}
	assert_true(buckets > 300);
}

/* ---- never more than before ---- */

/* Random rules, draws, closures and times; both ends of the bound are counted. */
static void test_never_more(void **state)
{
	uint64_t random = 0x2545f4914f6cdd1dull;
	unsigned exact = 0, empty = 0;

	(void)state;
	for (int run = 0; run < 1000; run++) {
		uint64_t rates[2] = {scene_random(&random) % 1000, scene_random(&random) % 1000};
		uint64_t bursts[2] = {1 + scene_random(&random) % 100,
				      1 + scene_random(&random) % 100};
		uint64_t elapsed = scene_random(&random) % DAY;
		double credit = (double)(rates[0] < rates[1] ? rates[0] : rates[1]) *
				(double)elapsed / (double)DAY;
		struct scene from, to;

		begin(&from, 10, 10);
		begin(&to, 10, 10);
		add(&from, ROW_EXACT, "api", rates[0], bursts[0]);
		add(&to, ROW_EXACT, "api", rates[1], bursts[1]);
		take_micro(&from, "api", 1 + scene_random(&random) % (bursts[0] * 2 * TERMS_MICRO));
		advance(&from, scene_random(&random) % (DAY / 10));
		double before = level(&from, "api");

		reboot(&from, &to, elapsed);
		double after = level(&to, "api");
		double bound = before + credit;

		if (bound > (double)bursts[1])
			bound = (double)bursts[1];
		if (after > bound + 1e-9)
			fail_msg("run %d: level %.9f, allowed %.9f", run, after, bound);
		exact += after > bound - 3e-6;
		empty += after < 0;
		end_both(&from, &to);
	}
	print_message("1000 reboots: %u levels exact to three millionths, %u below 0\n", exact,
		      empty);
	assert_true(exact > 300);
	assert_true(empty > 50);
}

/* ---- when there is something to save ---- */

/* A concurrency that was found is found again, if its rule still has one that is. */
static void test_found(void **state)
{
	static const char *const names[] = {"api", "bounded", "given", "gone"};
	struct scene before, after;
	struct permit_found found;
	struct rule rule = scene_rule(ROW_EXACT, "", 10, 10);

	(void)state;
	begin(&before, 10, 10);
	begin(&after, 10, 10);
	assert_null(config_set_term(&rule.terms, "concurrency", "auto 2..8"));
	for (size_t i = 0; i < COUNT(names); i++) {
		rule.text = names[i];
		int64_t row = rules_add(&before.segment, &rule);

		found = (struct permit_found){.limit = 7, .cause = FOUND_QUEUE};
		assert_true(row >= 0);
		assert_int_equal(permit_found_store(&before.segment, (uint32_t)row, &found), 0);
		if (i == 0)
			assert_int_equal(
				rules_learn(&before.segment, (uint32_t)row,
					    &(struct learned_terms){.cause = LEARNED_FROZEN}),
				0);
	}
	rule.text = "api";
	assert_true(rules_add(&after.segment, &rule) >= 0);
	rule.text = "bounded";
	assert_null(config_set_term(&rule.terms, "concurrency", "auto 2..5"));
	assert_true(rules_add(&after.segment, &rule) >= 0);
	rule.text = "given";
	assert_null(config_set_term(&rule.terms, "concurrency", "3"));
	assert_true(rules_add(&after.segment, &rule) >= 0);
	reboot(&before, &after, DAY);
	for (size_t i = 0; i < 2; i++) {
		uint32_t row = (uint32_t)names_exact_row(&after.segment, names[i]);
		struct terms_author author;
		struct terms terms;
		uint64_t changed_ns;

		assert_true(permit_found_read(&after.segment.rows[row], &found));
		assert_int_equal(found.limit, i == 0 ? 7 : 5);
		segment_terms(&after.segment, row, &terms, &author, &changed_ns);
		assert_int_equal(terms.learned.cause, i == 0 ? LEARNED_FROZEN : 0);
	}
	assert_int_equal(atomic_load(&after.segment.rows[names_exact_row(&after.segment, "given")]
					      .permit_limit) &
				 PERMIT_LIMIT,
			 3 + 1);
	scene_end(&before);
	scene_end(&after);
}

static void test_fingerprint(void **state)
{
	struct scene scene;
	uint64_t before, after;
	int64_t row;

	(void)state;
	begin(&scene, 10, 10);
	row = add(&scene, ROW_EXACT, "api", 100, 50);
	bucket_named(&scene, "api");
	before = persist_fingerprint(&scene.segment);
	/* time passes, lines are published anew, somebody looks: nothing to save */
	advance(&scene, DAY);
	rules_wake(&scene.segment, (uint32_t)row);
	level(&scene, "api");
	assert_true(persist_fingerprint(&scene.segment) == before);
#define ASSERT_CHANGES(what)                                                                       \
	do {                                                                                       \
		what;                                                                              \
		after = persist_fingerprint(&scene.segment);                                       \
		assert_true(after != before);                                                      \
		before = after;                                                                    \
	} while (0)
	ASSERT_CHANGES(take_micro(&scene, "api", 1));
	ASSERT_CHANGES(take(&scene, "name", 1));
	ASSERT_CHANGES(close_for(&scene, "api", SCENE_SECOND));
	ASSERT_CHANGES(gate_open(bucket_named(&scene, "api"), now_of(&scene)));
	ASSERT_CHANGES(add(&scene, ROW_EXACT, "name", 1, 1));
	ASSERT_CHANGES(rules_remove(&scene.segment, (uint32_t)row));

	struct terms terms = scene_terms(1, 2);
	struct terms_author author = {ORIGIN_OPERATOR, 0};

	row = names_exact_row(&scene.segment, "name");
	ASSERT_CHANGES(row = rules_change(&scene.segment, (uint32_t)row, &terms, &author,
					  RULES_KEEP_USED));
	terms.shadow = 1;
	ASSERT_CHANGES(
		rules_change(&scene.segment, (uint32_t)row, &terms, &author, RULES_KEEP_USED));
	terms.beside = (struct shadow_terms){TERMS_MICRO, SCENE_SECOND, TERMS_MICRO};
	ASSERT_CHANGES(
		rules_change(&scene.segment, (uint32_t)row, &terms, &author, RULES_KEEP_USED));
	terms.classes[0] = (struct class_leave){class_number("batch"), TERMS_MICRO};
	ASSERT_CHANGES(
		rules_change(&scene.segment, (uint32_t)row, &terms, &author, RULES_KEEP_USED));
	author.origin = ORIGIN_FILE;
	ASSERT_CHANGES(
		rules_change(&scene.segment, (uint32_t)row, &terms, &author, RULES_KEEP_USED));
	scene_end(&scene);
}

/* One save, if there is one to be made. */
static bool save(struct persist *persist, const struct instance *instance)
{
	struct persist_save save;

	if (!persist_begin(persist, instance, &save))
		return false;
	persist_write(persist, &save);
	persist_end(persist, &save);
	assert_int_equal(save.error, 0);
	return true;
}

static void test_when_to_save(void **state)
{
	struct instance instance = {0};
	struct persist persist;
	struct scene scene;
	char path[PLACE_DIR_BYTES + 16];
	uint64_t from;

	(void)state;
	begin(&scene, 10, 10);
	instance.place = scene.place;
	instance.segment = scene.segment;
	snprintf(path, sizeof(path), "%.100s/levels", scene.place.dir);
	assert_int_equal(persist_open(&persist, path, &scene.place), 0);
	/* a start saves once: what happened before it is not known */
	assert_true(save(&persist, &instance));
	assert_false(save(&persist, &instance));
	take(&scene, "api", 1);
	assert_true(persist.not_before_ns < UINT64_MAX / 2);
	persist.not_before_ns = UINT64_MAX;
	assert_false(save(&persist, &instance));
	persist.not_before_ns = 0;
	from = time_source_kernel_ns(CLOCK_MONOTONIC);
	assert_true(save(&persist, &instance));
	/* the disk has its rest: some 200 bytes take most of a millisecond */
	assert_true(persist.not_before_ns > from + 500000);
	persist.not_before_ns = 0;
	assert_false(save(&persist, &instance));
	/* the wall clock was set, forwards or back: the file says another time than it means */
	persist.wall_offset_ns -= 2 * (int64_t)SCENE_SECOND;
	assert_true(save(&persist, &instance));
	persist.not_before_ns = 0;
	assert_false(save(&persist, &instance));
	persist.wall_offset_ns += 2 * (int64_t)SCENE_SECOND;
	assert_true(save(&persist, &instance));
	/* the file's time never goes back */
	persist.not_before_ns = 0;
	persist.latest_ns = UINT64_C(4000000000000000000);
	take(&scene, "api", 1);
	assert_true(save(&persist, &instance));
	/* a last one waits for nobody */
	take(&scene, "api", 1);
	persist.not_before_ns = UINT64_MAX;
	persist_close(&persist, &instance);
	assert_int_equal(persist_open(&persist, path, &scene.place), 0);
	assert_non_null(strstr(persist.text, "used=3 name=api\n"));
	assert_non_null(strstr(persist.text, "\nsaved 4000000000\n"));
	persist_forget(&persist);
	scene_end(&scene);
}

/* ---- the file ---- */

struct folder {
	char dir[64];
	struct state_file file;
	char fault[STATE_FILE_FAULT_BYTES];
};

static int folder_begin(void **state)
{
	struct folder *folder = calloc(1, sizeof(*folder));
	char path[128];

	if (!folder)
		return -1;
	strcpy(folder->dir, "/tmp/weir-persist-XXXXXX");
	assert_non_null(mkdtemp(folder->dir));
	assert_int_equal(chmod(folder->dir, 0755), 0);
	snprintf(path, sizeof(path), "%s/levels", folder->dir);
	state_file_begin(&folder->file, path);
	*state = folder;
	return 0;
}

static int folder_end(void **state)
{
	struct folder *folder = *state;
	struct place place;

	chmod(folder->dir, 0755);
	state_file_end(&folder->file);
	snprintf(place.dir, sizeof(place.dir), "%s", folder->dir);
	scene_clear(&place);
	free(folder);
	return 0;
}

/* DIR/levels with a suffix. */
static const char *path_of(const struct folder *folder, const char *suffix)
{
	static char path[STATE_FILE_PATH_BYTES];

	snprintf(path, sizeof(path), "%s/levels%s", folder->dir, suffix);
	return path;
}

static void make_file(const struct folder *folder, const char *suffix, const char *text,
		      mode_t mode)
{
	int fd = open(path_of(folder, suffix), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void assert_file(const char *path, const char *text)
{
	char found[256] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_true(read(fd, found, sizeof(found) - 1) >= 0);
	close(fd);
	assert_string_equal(found, text);
}

static bool exists(const struct folder *folder, const char *suffix)
{
	struct stat found;

	return lstat(path_of(folder, suffix), &found) == 0;
}

static int read_folder(struct folder *folder)
{
	size_t bytes = 0;
	char *text = NULL;
	int error = state_file_read(&folder->file, &text, &bytes, folder->fault);

	if (error == 0)
		assert_memory_equal(text, "what is there", bytes);
	free(text);
	return error;
}

static int write_folder(struct folder *folder, const char *text, char kept[STATE_FILE_PATH_BYTES])
{
	return state_file_write(&folder->file, text, strlen(text), kept);
}

static void test_write_and_read(void **state)
{
	struct folder *folder = *state;
	char kept[STATE_FILE_PATH_BYTES];
	struct stat found;

	assert_int_equal(read_folder(folder), -ENOENT);
	assert_int_equal(write_folder(folder, "something longer than that", kept), 0);
	make_file(folder, ".new", "left by a save that was killed", 0644);
	assert_int_equal(write_folder(folder, "what is there", kept), 0);
	assert_string_equal(kept, "");
	assert_int_equal(read_folder(folder), 0);
	assert_int_equal(stat(path_of(folder, ""), &found), 0);
	assert_int_equal(found.st_mode & 07777, 0600);
	assert_false(exists(folder, ".new"));
}

/* A link is neither followed nor written through, whether it leads somewhere or not. */
static void test_links(void **state)
{
	struct folder *folder = *state;
	char kept[STATE_FILE_PATH_BYTES];

	make_file(folder, ".victim", "what is there", 0600);
	assert_int_equal(symlink("levels.victim", path_of(folder, "")), 0);
	assert_int_equal(read_folder(folder), -ELOOP);
	assert_string_equal(folder->fault, "it is a symbolic link");
	assert_int_equal(state_file_set_aside(&folder->file, kept), 0);
	/* the same for the temporary name and for the lock */
	assert_int_equal(symlink("levels.victim", path_of(folder, ".new")), 0);
	assert_int_equal(write_folder(folder, "new", kept), 0);
	assert_file(path_of(folder, ""), "new");
	assert_int_equal(symlink("levels.victim", path_of(folder, ".lock")), 0);
	assert_int_equal(state_file_lock(&folder->file, "t", &(struct state_holder){0}), -ELOOP);
	assert_file(path_of(folder, ".victim"), "what is there");
}

static void test_no_regular_file(void **state)
{
	struct folder *folder = *state;
	char kept[STATE_FILE_PATH_BYTES];

	assert_int_equal(mkfifo(path_of(folder, ""), 0600), 0);
	assert_int_equal(read_folder(folder), WEIR_EFOREIGN);
	assert_int_equal(state_file_set_aside(&folder->file, kept), 0);
	assert_int_equal(mkdir(path_of(folder, ""), 0700), 0);
	assert_int_equal(read_folder(folder), WEIR_EFOREIGN);
	assert_string_equal(folder->fault, "it is no regular file");
	assert_int_equal(state_file_set_aside(&folder->file, kept), 0);
	assert_int_equal(rmdir(kept), 0);
}

static void test_open_modes(void **state)
{
	static const mode_t modes[] = {0620, 0602, 0666, 0777};
	struct folder *folder = *state;

	for (size_t i = 0; i < COUNT(modes); i++) {
		make_file(folder, "", "what is there", modes[i]);
		assert_int_equal(read_folder(folder), WEIR_EOWNER);
		assert_non_null(strstr(folder->fault, "chmod go-w"));
	}
	make_file(folder, "", "what is there", 0644);
	assert_int_equal(read_folder(folder), 0);
	/* and the folder; with the sticky bit nobody but the owner can do anything to the file */
	assert_int_equal(chmod(folder->dir, 0777), 0);
	assert_int_equal(read_folder(folder), -ENOTDIR);
	assert_non_null(strstr(folder->fault, "others may write its folder"));
	assert_int_equal(write_folder(folder, "new", (char[STATE_FILE_PATH_BYTES]){0}),
			 WEIR_EOWNER);
	assert_int_equal(state_file_lock(&folder->file, "t", &(struct state_holder){0}),
			 WEIR_EOWNER);
	assert_int_equal(chmod(folder->dir, 01777), 0);
	assert_int_equal(read_folder(folder), 0);
}

static void test_owners(void **state)
{
	struct folder *folder = *state;

	if (geteuid() != 0) {
		print_message("skipped: another user's file needs root\n");
		skip();
	}
	make_file(folder, "", "what is there", 0600);
	assert_int_equal(chown(path_of(folder, ""), NOBODY, NOBODY), 0);
	assert_int_equal(read_folder(folder), WEIR_EOWNER);
	assert_string_equal(folder->fault, "it belongs to uid 65534, and must to uid 0 or root");
	assert_int_equal(chown(path_of(folder, ""), 0, 0), 0);
	assert_int_equal(read_folder(folder), 0);
	make_file(folder, ".lock", "", 0600);
	assert_int_equal(chown(path_of(folder, ".lock"), NOBODY, NOBODY), 0);
	assert_int_equal(state_file_lock(&folder->file, "t", &(struct state_holder){0}),
			 WEIR_EOWNER);
	assert_int_equal(chown(folder->dir, NOBODY, NOBODY), 0);
	assert_int_equal(read_folder(folder), -ENOTDIR);
}

static void test_too_long(void **state)
{
	struct folder *folder = *state;

	make_file(folder, "", "", 0600);
	assert_int_equal(truncate(path_of(folder, ""), (off_t)STATE_MAX_BYTES + 1), 0);
	assert_int_equal(read_folder(folder), -EFBIG);
}

static void test_no_folder(void **state)
{
	struct folder *folder = *state;
	struct state_file file;
	char path[128], kept[STATE_FILE_PATH_BYTES], fault[STATE_FILE_FAULT_BYTES];
	size_t bytes;
	char *text;

	snprintf(path, sizeof(path), "%s/nowhere/levels", folder->dir);
	state_file_begin(&file, path);
	assert_int_equal(state_file_lock(&file, "t", &(struct state_holder){0}), -ENOENT);
	assert_int_equal(state_file_read(&file, &text, &bytes, fault), -ENOTDIR);
	assert_string_equal(fault, "its folder: No such file or directory");
	assert_int_equal(state_file_write(&file, "x", 1, kept), -ENOENT);
	assert_int_equal(state_file_set_aside(&file, kept), -ENOENT);
}

/* Each has a name of its own, within one second as well. */
static void test_set_aside(void **state)
{
	struct folder *folder = *state;
	char kept[5][STATE_FILE_PATH_BYTES], text[8];

	for (int i = 0; i < 5; i++) {
		snprintf(text, sizeof(text), "%d", i);
		make_file(folder, "", text, 0600);
		assert_int_equal(state_file_set_aside(&folder->file, kept[i]), 0);
		assert_false(exists(folder, ""));
		assert_int_equal(strncmp(kept[i], path_of(folder, ".damaged-2"),
					 strlen(path_of(folder, ".damaged-2"))),
				 0);
	}
	for (int i = 0; i < 5; i++) {
		snprintf(text, sizeof(text), "%d", i);
		assert_file(kept[i], text);
	}
	assert_int_equal(state_file_set_aside(&folder->file, kept[0]), -ENOENT);
}

/* What nobody has looked at yet is not overwritten. */
static void test_unknown_is_kept(void **state)
{
	struct folder *folder = *state;
	char kept[STATE_FILE_PATH_BYTES];

	make_file(folder, "", "from a mount that came late", 0600);
	assert_int_equal(write_folder(folder, "new", kept), 0);
	assert_file(kept, "from a mount that came late");
	assert_file(path_of(folder, ""), "new");
	assert_int_equal(write_folder(folder, "newer", kept), 0);
	assert_string_equal(kept, "");
}

/* ---- a disk that will not ---- */

/* As another user than the folder's: neither the file nor the lock can be made. */
static int not_writable(void *context)
{
	struct folder *folder = context;
	char kept[STATE_FILE_PATH_BYTES];

	CHILD_CHECK(geteuid() != 0 ||
		    (setgroups(0, NULL) == 0 && setgid(NOBODY) == 0 && setuid(NOBODY) == 0));
	CHILD_CHECK(state_file_lock(&folder->file, "t", &(struct state_holder){0}) == -EACCES);
	CHILD_CHECK(read_folder(folder) == 0);
	folder->file.known = true;
	CHILD_CHECK(write_folder(folder, "new", kept) == -EACCES);
	CHILD_CHECK(state_file_set_aside(&folder->file, kept) == -EACCES);
	CHILD_CHECK(read_folder(folder) == 0);
	return 0;
}

static void test_folder_not_writable(void **state)
{
	struct folder *folder = *state;

	make_file(folder, "", "what is there", 0644);
	assert_int_equal(chmod(folder->dir, 0555), 0);
	assert_int_equal(scene_wait(scene_child(not_writable, folder)), 0);
}

/* Half of it can be written and no more. */
static int limited(void *context)
{
	const struct rlimit limit = {1000, 1000};
	struct folder *folder = context;
	char kept[STATE_FILE_PATH_BYTES];
	static char text[2000];

	memset(text, 'x', sizeof(text) - 1);
	signal(SIGXFSZ, SIG_IGN);
	CHILD_CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	folder->file.known = true;
	CHILD_CHECK(write_folder(folder, text, kept) == -EFBIG);
	text[999] = '\0';
	CHILD_CHECK(read_folder(folder) == 0);
	CHILD_CHECK(!exists(folder, ".new"));
	CHILD_CHECK(write_folder(folder, text, kept) == 0);
	return 0;
}

static void test_write_that_fails(void **state)
{
	struct folder *folder = *state;

	make_file(folder, "", "what is there", 0600);
	assert_int_equal(scene_wait(scene_child(limited, folder)), 0);
	assert_false(exists(folder, ".new"));
}

enum { NO_NAMESPACE = 77 };

/* A file system of 64 KiB, which the old file and the new one do not fit in together. */
static int on_a_full_disk(void *context)
{
	struct folder *folder = context;
	char path[160], kept[STATE_FILE_PATH_BYTES];
	struct state_file file;
	static char text[40001];
	size_t bytes = 0;
	char *found = NULL;

	if (unshare(CLONE_NEWNS | (geteuid() ? CLONE_NEWUSER : 0)) < 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("weir", folder->dir, "tmpfs", 0, "size=64k,mode=0755") < 0)
		return NO_NAMESPACE;
	snprintf(path, sizeof(path), "%s/levels", folder->dir);
	state_file_begin(&file, path);
	file.known = true;
	memset(text, 'a', sizeof(text) - 1);
	CHILD_CHECK(state_file_write(&file, text, sizeof(text) - 1, kept) == 0);
	memset(text, 'b', sizeof(text) - 1);
	CHILD_CHECK(state_file_write(&file, text, sizeof(text) - 1, kept) == -ENOSPC);
	CHILD_CHECK(state_file_read(&file, &found, &bytes, folder->fault) == 0);
	CHILD_CHECK(bytes == sizeof(text) - 1 && found[0] == 'a' && found[bytes - 1] == 'a');
	/* nothing is left that would keep the disk full */
	CHILD_CHECK(!exists(folder, ".new"));
	CHILD_CHECK(state_file_write(&file, text, 10000, kept) == 0);
	return 0;
}

static void test_full_disk(void **state)
{
	int status = scene_wait(scene_child(on_a_full_disk, *state));

	if (status == NO_NAMESPACE) {
		print_message("skipped: no mount namespace may be made here\n");
		skip();
	}
	assert_int_equal(status, 0);
}

/* ---- two that want one file ---- */

static int want_the_lock(void *context)
{
	struct folder *folder = context;
	struct state_holder holder = {0};

	/* the lock belongs to the description, which this child has inherited */
	folder->file.lock_fd = -1;
	CHILD_CHECK(state_file_lock(&folder->file, "second", &holder) == WEIR_ERUNNING);
	CHILD_CHECK(holder.pid == getppid());
	CHILD_CHECK(strcmp(holder.instance, "a-rather-long-name") == 0);
	return 0;
}

static void test_lock(void **state)
{
	struct folder *folder = *state;
	struct state_holder holder = {0};
	struct stat found;

	assert_int_equal(state_file_lock(&folder->file, "a-rather-long-name", &holder), 0);
	assert_int_equal(state_file_lock(&folder->file, "a-rather-long-name", &holder), 0);
	assert_int_equal(stat(path_of(folder, ".lock"), &found), 0);
	assert_int_equal(found.st_mode & 07777, 0600);
	assert_int_equal(scene_wait(scene_child(want_the_lock, folder)), 0);
	/* let go; the next holder's shorter name is all that is there */
	state_file_end(&folder->file);
	assert_int_equal(state_file_lock(&folder->file, "b", &holder), 0);
	struct state_file second;
	state_file_begin(&second, folder->file.path);
	assert_int_equal(state_file_lock(&second, "c", &holder), WEIR_ERUNNING);
	assert_int_equal(holder.pid, getpid());
	assert_string_equal(holder.instance, "b");
}

#define FILE_TEST(test) cmocka_unit_test_setup_teardown(test, folder_begin, folder_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_credit),
		cmocka_unit_test(test_another_unit),
		cmocka_unit_test(test_far_debt),
		cmocka_unit_test(test_windows),
		cmocka_unit_test(test_window_goes_on),
		cmocka_unit_test(test_window_closed),
		cmocka_unit_test(test_window_changed),
		cmocka_unit_test(test_changed_rules),
		cmocka_unit_test(test_rules_that_came_and_went),
		cmocka_unit_test(test_moved_names),
		cmocka_unit_test(test_two_records_for_a_bucket),
		cmocka_unit_test(test_no_room_for_names),
		cmocka_unit_test(test_what_is_left_out),
		cmocka_unit_test(test_closed),
		cmocka_unit_test(test_opened_meanwhile),
		cmocka_unit_test(test_opening_that_nobody_met),
		cmocka_unit_test(test_closed_before_first_use),
		cmocka_unit_test(test_hostile_state),
		cmocka_unit_test(test_never_more),
		cmocka_unit_test(test_found),
		cmocka_unit_test(test_fingerprint),
		cmocka_unit_test(test_when_to_save),
		FILE_TEST(test_write_and_read),
		FILE_TEST(test_links),
		FILE_TEST(test_no_regular_file),
		FILE_TEST(test_open_modes),
		FILE_TEST(test_owners),
		FILE_TEST(test_too_long),
		FILE_TEST(test_no_folder),
		FILE_TEST(test_set_aside),
		FILE_TEST(test_unknown_is_kept),
		FILE_TEST(test_folder_not_writable),
		FILE_TEST(test_write_that_fails),
		FILE_TEST(test_full_disk),
		FILE_TEST(test_lock),
	};

	log_open(LOG_ERROR, false);
	return cmocka_run_group_tests_name("daemon persist", tests, NULL, NULL);
}
