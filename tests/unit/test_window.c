/* SPDX-License-Identifier: Apache-2.0
 *
 * Limits by windows on the manual clock, through the public API: against a list of windows with a
 * count each, which is all that such a limit is, by sequences of calls at random; and each rule
 * about waiting, giving back, settling, closing and resetting by itself.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "handle.h"
#include "weir.h"
#include "window.h"

#define S WEIR_SECOND
#define MINUTE (60 * S)
#define HOUR (3600 * S)

/* A host with one rule, and its endpoint. */
struct bench {
	struct weir *weir;
	struct weir_endpoint *api;
};

static struct bench begin(const char *rule)
{
	char ini[400];
	char message[600] = "";
	struct bench bench;

	snprintf(ini, sizeof(ini), "[endpoint api]\n%s\n", rule);
	if (weir_host(&bench.weir, ini, WEIR_CLOCK_MANUAL, NULL, message, sizeof(message)) < 0)
		fail_msg("%s", message);
	assert_int_equal(weir_endpoint(bench.weir, "api", &bench.api), 0);
	return bench;
}

static void done(struct bench *bench)
{
	weir_endpoint_close(bench->api);
	weir_close(bench->weir);
}

static uint64_t now(const struct bench *bench)
{
	return weir_clock_now(bench->weir);
}

static void advance_to(const struct bench *bench, uint64_t ns)
{
	assert_true(ns >= now(bench));
	assert_int_equal(weir_clock_advance(bench->weir, ns - now(bench)), 0);
}

static void advance(const struct bench *bench, uint64_t ns)
{
	assert_int_equal(weir_clock_advance(bench->weir, ns), 0);
}

static struct weir_level peek(const struct bench *bench)
{
	struct weir_level level = {.size = sizeof(level)};

	assert_int_equal(weir_peek(bench->api, &level), 0);
	return level;
}

/* Now or never; how long to wait if not. */
static uint64_t ask(const struct bench *bench, double cost)
{
	struct weir_answer answer;

	if (weir_acquire(bench->api, cost, &answer) == WEIR_ADMIT)
		return 0;
	assert_int_equal(answer.fault, 0);
	assert_true(answer.wait_ns > 0);
	return answer.wait_ns;
}

/* A place; how long until it is due, WEIR_NEVER if there is none within max_wait. */
static uint64_t reserve(const struct bench *bench, double cost, uint64_t max_wait,
			struct weir_reservation *place)
{
	struct weir_answer answer;

	if (weir_reserve(bench->api, cost, max_wait, place, &answer) == WEIR_ADMIT)
		return answer.wait_ns;
	return WEIR_NEVER;
}

static struct line line_of(const struct bench *bench)
{
	const struct binding *binding = endpoint_binding(bench->api);
	struct line line;

	line_read(binding->row, &binding->time, &line);
	return line;
}

/* From one window to the next without a pause: a length in whole units of a start. */
static uint64_t stride(const struct bench *bench)
{
	struct line line = line_of(bench);
	uint64_t grain = 1ull << line.radix;

	return (line.step_ticks + grain - 1) / grain * grain;
}

/* ---- a list of windows ---- */

enum {
	WINDOWS = 64,
	PLACES = 16,
};

struct holder {
	struct weir_reservation real;
	uint64_t window; /* its number */
	int64_t used;	 /* of it, when the place was taken */
	int64_t cost;
	bool held;
};

/* Windows one behind the other; what is used of each. */
struct oracle {
	bool first;
	int64_t quota;
	uint64_t length;
	uint64_t stride; /* of windows without a pause: the length in whole grains */
	uint64_t grain;	 /* of a start, and from where it counts */
	uint64_t zero;
	uint64_t begins; /* the first of the list */
	uint64_t number;
	int64_t used[WINDOWS];
	int count; /* 0: none is under way */
	struct holder holders[PLACES];
};

/* When a window of the list opens: the first one is as long as a window, the others a stride. */
static uint64_t opens(const struct oracle *oracle, int index)
{
	return oracle->begins + (uint64_t)index * oracle->stride -
	       (oracle->stride - oracle->length);
}

/* The place in the list of the window under way; the whole list is over: a new one begins. */
static int present(struct oracle *oracle, uint64_t at)
{
	int last = oracle->count - 1;
	int over = 0;

	while (oracle->count && over <= last && at >= opens(oracle, over + 1))
		over++;
	if (oracle->count && (over < last || (over == last && oracle->used[last])))
		return over;
	oracle->begins =
		at - (oracle->first ? (at - oracle->zero) % oracle->grain : at % oracle->length);
	oracle->number += (uint64_t)oracle->count + 1;
	oracle->used[0] = 0;
	oracle->count = 1;
	return 0;
}

/* The same at the head of the list, as it is after every call that changes something. */
static void settle_list(struct oracle *oracle, uint64_t at)
{
	int over = present(oracle, at);

	oracle->begins += (uint64_t)over * oracle->stride;
	oracle->number += (uint64_t)over;
	oracle->count -= over;
	memmove(oracle->used, oracle->used + over, sizeof(oracle->used[0]) * (size_t)oracle->count);
}

static int64_t *last_of(struct oracle *oracle)
{
	return &oracle->used[oracle->count - 1];
}

static void append(struct oracle *oracle, int64_t used)
{
	assert_true(oracle->count < WINDOWS);
	oracle->used[oracle->count++] = used;
}

/* What is left of the present window, below 0 when some wait. */
static int64_t left(struct oracle *oracle, uint64_t at)
{
	int over = present(oracle, at);
	int later = oracle->count - 1 - over;

	return oracle->quota * (1 - later) - *last_of(oracle);
}

/* When the window of the list after the present one begins, and so on. */
static uint64_t begins(struct oracle *oracle, uint64_t at, int later)
{
	return opens(oracle, present(oracle, at) + later);
}

/* When so much would pass. */
static uint64_t due(struct oracle *oracle, uint64_t at, int64_t cost)
{
	int over = present(oracle, at);
	int later = oracle->count - 1 - over + (*last_of(oracle) + cost > oracle->quota);

	return later ? begins(oracle, at, later) : at;
}

static void take(struct oracle *oracle, uint64_t at, int64_t cost)
{
	settle_list(oracle, at);
	if (*last_of(oracle) + cost > oracle->quota)
		append(oracle, cost);
	else
		*last_of(oracle) += cost;
}

/* What a debt pushes into later windows. */
static void charge(struct oracle *oracle, uint64_t at, int64_t cost)
{
	settle_list(oracle, at);
	*last_of(oracle) += cost;
	while (*last_of(oracle) > oracle->quota) {
		int64_t more = *last_of(oracle) - oracle->quota;

		*last_of(oracle) = oracle->quota;
		append(oracle, more);
	}
}

/* What of `cost` goes back of a place: none of a window that is over, and with others in line only
 * to the last. */
static int64_t give_back(struct oracle *oracle, uint64_t at, const struct holder *place,
			 int64_t cost)
{
	int over = present(oracle, at);
	uint64_t last = oracle->number + (uint64_t)oracle->count - 1;
	bool is_last = place->window == last && place->used == *last_of(oracle);

	if (cost == 0 || place->window < oracle->number + (uint64_t)over)
		return 0;
	if (left(oracle, at) < 0 ? !is_last : place->window != last)
		return 0;
	settle_list(oracle, at);
	*last_of(oracle) -= cost;
	if (*last_of(oracle) == 0 && oracle->count > 1) {
		/* nothing of it is left: as if all of the one before were used */
		oracle->count--;
		*last_of(oracle) = oracle->quota;
	}
	return cost;
}

/* ---- sequences of chance ---- */

struct play {
	struct bench bench;
	struct oracle oracle;
	uint64_t random;
	unsigned long calls;
};

static uint64_t chance(struct play *play, uint64_t below)
{
	play->random ^= play->random >> 12;
	play->random ^= play->random << 25;
	play->random ^= play->random >> 27;
	return (play->random * 0x2545f4914f6cdd1dull >> 20) % below;
}

static void check_level(struct play *play)
{
	struct weir_level level = peek(&play->bench);
	int64_t expected = left(&play->oracle, now(&play->bench));

	if (level.level != (double)expected)
		fail_msg("call %lu at %llu: level %g, expected %lld", play->calls,
			 (unsigned long long)now(&play->bench), level.level, (long long)expected);
}

static void check_wait(const struct play *play, uint64_t found, uint64_t expected)
{
	if (found != expected)
		fail_msg("call %lu at %llu: wait %llu, expected %llu", play->calls,
			 (unsigned long long)now(&play->bench), (unsigned long long)found,
			 (unsigned long long)expected);
}

static void play_acquire(struct play *play)
{
	int64_t cost = 1 + (int64_t)chance(play, (uint64_t)play->oracle.quota);
	uint64_t at = now(&play->bench);
	uint64_t expected = due(&play->oracle, at, cost) - at;

	check_wait(play, ask(&play->bench, (double)cost), expected);
	if (expected == 0)
		take(&play->oracle, at, cost);
}

static void play_reserve(struct play *play)
{
	struct holder *place = &play->oracle.holders[chance(play, PLACES)];
	int64_t cost = 1 + (int64_t)chance(play, (uint64_t)play->oracle.quota);
	uint64_t most = chance(play, 5 * play->oracle.length);
	uint64_t at = now(&play->bench);
	uint64_t wait = due(&play->oracle, at, cost) - at;
	struct weir_reservation real;

	check_wait(play, reserve(&play->bench, (double)cost, most, &real),
		   wait <= most ? wait : WEIR_NEVER);
	if (wait > most)
		return;
	take(&play->oracle, at, cost);
	*place = (struct holder){
		.real = real,
		.window = play->oracle.number + (uint64_t)play->oracle.count - 1,
		.used = *last_of(&play->oracle),
		.cost = cost,
		.held = true,
	};
}

static void play_cancel(struct play *play)
{
	struct holder *place = &play->oracle.holders[chance(play, PLACES)];
	uint64_t at = now(&play->bench);
	double returned;

	if (!place->held)
		return;
	place->held = false;
	assert_int_equal(weir_cancel(play->bench.api, &place->real, &returned), 0);

	int64_t expected = give_back(&play->oracle, at, place, place->cost);

	if (returned != (double)expected)
		fail_msg("call %lu at %llu: %g of %lld given back, expected %lld", play->calls,
			 (unsigned long long)at, returned, (long long)place->cost,
			 (long long)expected);
}

static void play_settle(struct play *play)
{
	struct holder *place = &play->oracle.holders[chance(play, PLACES)];
	uint64_t at = now(&play->bench);
	int64_t actual;

	/* a mark from first use has room for eight windows */
	if (!place->held || left(&play->oracle, at) < -5 * play->oracle.quota)
		return;
	actual = (int64_t)chance(play, (uint64_t)(2 * place->cost) + 1);
	place->held = false;
	assert_int_equal(weir_settle(play->bench.api, &place->real, (double)actual), 0);
	if (actual > place->cost)
		charge(&play->oracle, at, actual - place->cost);
	else
		give_back(&play->oracle, at, place, place->cost - actual);
}

/* To somewhere, to where a window begins, or to the last moment before. */
static void play_time(struct play *play)
{
	struct oracle *oracle = &play->oracle;
	uint64_t at = now(&play->bench);
	uint64_t to = at + chance(play, oracle->length / 4);
	uint64_t next = begins(oracle, at, 1);

	if (chance(play, 4) == 0)
		to = next;
	else if (chance(play, 4) == 0)
		to = next - 1;
	else if (chance(play, 20) == 0)
		to = at + 3 * oracle->length;
	if (to > at)
		advance_to(&play->bench, to);
}

static void play_on(struct play *play, unsigned long calls)
{
	for (play->calls = 0; play->calls < calls; play->calls++) {
		switch (chance(play, 8)) {
		case 0:
		case 1:
			play_time(play);
			break;
		case 2:
			play_cancel(play);
			break;
		case 3:
			play_settle(play);
			break;
		case 4:
		case 5:
			play_reserve(play);
			break;
		default:
			play_acquire(play);
		}
		check_level(play);
	}
}

static void play_through(const char *rule, int64_t quota, uint64_t length, unsigned long calls)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct play play = {.bench = begin(rule), .random = seed * 0x9e3779b97f4a7c15ull};
		struct line line = line_of(&play.bench);

		play.oracle.first = line.flags & LINE_FIRST;
		play.oracle.quota = quota;
		play.oracle.length = length;
		play.oracle.grain = play.oracle.first ? 1ull << line.radix : 1;
		play.oracle.stride =
			(length + play.oracle.grain - 1) / play.oracle.grain * play.oracle.grain;
		play.oracle.zero = line.origin_ticks % play.oracle.grain;
		advance_to(&play.bench, 1000 * length);
		play_on(&play, calls);
		done(&play.bench);
	}
}

static void aligned_windows_are_a_list(void **state)
{
	(void)state;
	play_through("rate = 10/s\nwindow = 1s", 10, S, 20000);
	play_through("rate = 5000/h\nwindow = 1h aligned", 5000, HOUR, 5000);
	play_through("rate = 1/min\nwindow = 1min aligned", 1, MINUTE, 5000);
}

static void windows_from_first_use_are_a_list(void **state)
{
	(void)state;
	play_through("rate = 10/s\nwindow = 1s first", 10, S, 20000);
	play_through("rate = 5000/h\nwindow = 1h first", 5000, HOUR, 5000);
	play_through("rate = 1/min\nwindow = 1min first", 1, MINUTE, 5000);
	/* so many that starts are kept to a 500th of the window alone */
	play_through("rate = 200000/s\nwindow = 1s first", 200000, S, 5000);
}

/* ---- what a window is ---- */

static void the_quota_comes_back_as_a_whole(void **state)
{
	struct bench bench = begin("rate = 5000/h\nwindow = 1h");

	(void)state;
	/* 14:48 of some day */
	advance_to(&bench, (14 * 60 + 48) * MINUTE);
	assert_true(peek(&bench).burst == 5000);
	assert_true(peek(&bench).window_ns == HOUR);
	assert_true(peek(&bench).renews_ns == 12 * MINUTE);
	assert_int_equal(ask(&bench, 4990), 0);
	assert_true(peek(&bench).level == 10);
	advance(&bench, 11 * MINUTE);
	/* not little by little */
	assert_true(peek(&bench).level == 10);
	assert_int_equal(ask(&bench, 11), MINUTE);
	assert_int_equal(ask(&bench, 10), 0);
	assert_true(peek(&bench).wait_ns == MINUTE);
	advance(&bench, MINUTE - 1);
	assert_int_equal(ask(&bench, 1), 1);
	advance(&bench, 1);
	/* and what was left is not added */
	assert_true(peek(&bench).level == 5000);
	assert_true(peek(&bench).renews_ns == HOUR);
	assert_int_equal(ask(&bench, 5000), 0);
	assert_int_equal(ask(&bench, 1), HOUR);
	done(&bench);
}

static void a_window_may_begin_with_its_first_use(void **state)
{
	struct bench bench = begin("rate = 60/h\nwindow = 1h first");
	uint64_t grain = 1ull << line_of(&bench).radix;
	uint64_t at = 7 * HOUR + 123456789;

	(void)state;
	assert_true(grain <= HOUR >> 20);
	advance_to(&bench, at);
	assert_true(peek(&bench).renews_ns == 0);
	assert_int_equal(ask(&bench, 1), 0);

	/* it began now, or a millionth of it before */
	uint64_t ends = at + peek(&bench).renews_ns;

	assert_true(ends <= at + HOUR && ends > at + HOUR - grain);
	advance(&bench, HOUR / 2);
	assert_int_equal(ask(&bench, 59), 0);
	assert_int_equal(ask(&bench, 1), ends - now(&bench));
	advance_to(&bench, ends - 1);
	assert_int_equal(ask(&bench, 1), 1);
	advance(&bench, 1);
	assert_true(peek(&bench).level == 60);
	/* the next one begins with its own first use, not where the last one ended */
	advance(&bench, 20 * MINUTE);
	assert_true(peek(&bench).level == 60 && peek(&bench).renews_ns == 0);
	assert_int_equal(ask(&bench, 60), 0);
	assert_true(ask(&bench, 1) > HOUR - grain);
	done(&bench);
}

static void a_larger_burst_saves_up(void **state)
{
	struct bench bench = begin("rate = 10/min\nwindow = 1min\nburst = 25\ninitial = 10");

	(void)state;
	advance_to(&bench, 1000 * MINUTE);
	assert_int_equal(ask(&bench, 10), 0);
	advance(&bench, 2 * MINUTE);
	assert_true(peek(&bench).level == 20);
	advance(&bench, 5 * MINUTE);
	assert_true(peek(&bench).level == 25);
	assert_int_equal(ask(&bench, 25), 0);
	assert_int_equal(ask(&bench, 20), 2 * MINUTE);
	advance(&bench, MINUTE);
	assert_true(peek(&bench).level == 10);
	done(&bench);
}

static void bounds_of_the_day_and_the_week(void **state)
{
	static const struct {
		const char *window;
		uint64_t at_min; /* since Thursday, 1970-01-01 */
		uint64_t renews_min;
	} cases[] = {
		{"1d", 90, 1440 - 90},
		{"1d aligned", 1439, 1},
		{"12h", 90, 720 - 90},
		{"15min", 90, 15},
		/* midnight on the west coast of America is 8:00 */
		{"1d aligned -08:00", 90, 480 - 90},
		{"1d aligned -08:00", 600, 1440 + 480 - 600},
		/* and in India it was 18:30 of the day before */
		{"1d aligned +05:30", 90, 1440 - 330 - 90},
		{"1h aligned +05:30", 90, 60},
		{"1h aligned +05:30", 100, 50},
		/* a week begins on Monday, the 5th */
		{"7d", 90, 4 * 1440 - 90},
		{"7d aligned +02:00", 90, 4 * 1440 - 120 - 90},
		{"7d", 4 * 1440, 7 * 1440},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char rule[100];

		snprintf(rule, sizeof(rule), "rate = 100/d\nburst = 700\ninitial = 1\nwindow = %s",
			 cases[i].window);
		if (strncmp(cases[i].window, "15min", 5) == 0 || cases[i].window[1] == 'h')
			snprintf(rule, sizeof(rule), "rate = 96/h\nwindow = %s", cases[i].window);

		struct bench bench = begin(rule);

		advance_to(&bench, cases[i].at_min * MINUTE);
		if (peek(&bench).renews_ns != cases[i].renews_min * MINUTE)
			fail_msg("%s at %llu min: in %.3f min", cases[i].window,
				 (unsigned long long)cases[i].at_min,
				 (double)peek(&bench).renews_ns / (double)MINUTE);
		done(&bench);
	}
}

/* ---- waiting ---- */

/* What does not fit passes in the next window as a whole, and counts there as a whole. */
static void places_do_not_reach_over_a_boundary(void **state)
{
	static const char *const rules[] = {"rate = 100/h\nwindow = 1h",
					    "rate = 100/h\nwindow = 1h first"};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct bench bench = begin(rules[i]);
		struct weir_reservation place;
		uint64_t next;

		advance_to(&bench, 5 * HOUR);
		assert_int_equal(ask(&bench, 90), 0);
		next = peek(&bench).renews_ns;
		assert_int_equal(reserve(&bench, 20, WEIR_FOREVER, &place), next);
		/* the queue goes on behind it, and in front of it nobody pushes in */
		assert_int_equal(ask(&bench, 5), next);
		assert_int_equal(reserve(&bench, 80, WEIR_FOREVER, &place), next);
		assert_int_equal(reserve(&bench, 1, WEIR_FOREVER, &place), next + stride(&bench));
		advance(&bench, next);
		/* a hundred pass in this window, and not one more */
		assert_true(ask(&bench, 1) > 0);
		assert_true(peek(&bench).level == -1);
		done(&bench);
	}
}

static void waits_are_bounded_by_time(void **state)
{
	static const char *const rules[] = {"rate = 10/h\nwindow = 1h\nmax_wait = 90min",
					    "rate = 10/h\nwindow = 1h first\nmax_wait = 90min"};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct bench bench = begin(rules[i]);
		struct weir_reservation place;
		struct weir_answer answer;

		advance_to(&bench, 5 * HOUR);
		assert_int_equal(ask(&bench, 10), 0);
		advance(&bench, 20 * MINUTE);

		uint64_t next = peek(&bench).renews_ns;

		assert_int_equal(weir_reserve(bench.api, 10, next - 1, &place, &answer),
				 WEIR_REFUSE);
		assert_int_equal(answer.reason, WEIR_REASON_DEADLINE);
		assert_true(answer.wait_ns == next);
		assert_int_equal(reserve(&bench, 10, next, &place), next);
		/* 100 min from now: the rule says 90 */
		assert_int_equal(weir_reserve(bench.api, 1, WEIR_FOREVER, &place, &answer),
				 WEIR_REFUSE);
		assert_int_equal(answer.reason, WEIR_REASON_QUEUE);
		assert_true(answer.wait_ns == next + stride(&bench));
		advance(&bench, 11 * MINUTE);
		assert_int_equal(reserve(&bench, 1, WEIR_FOREVER, &place),
				 next + stride(&bench) - 11 * MINUTE);
		done(&bench);
	}
}

/* However long the queue that a mark can hold, it ends in a refusal and not in another window. */
static void a_queue_from_first_use_has_an_end(void **state)
{
	struct bench bench = begin("rate = 10/h\nwindow = 1h first");
	struct weir_reservation place;
	struct weir_answer answer;
	uint64_t windows = 0;
	uint64_t next;

	(void)state;
	advance_to(&bench, 5 * HOUR);
	assert_int_equal(ask(&bench, 10), 0);
	next = peek(&bench).renews_ns;
	while (weir_reserve(bench.api, 10, WEIR_FOREVER, &place, &answer) == WEIR_ADMIT) {
		assert_true(answer.wait_ns == next + windows * stride(&bench));
		assert_true(++windows < 1000);
	}
	assert_int_equal(answer.reason, WEIR_REASON_QUEUE);
	assert_true(windows >= 7);
	/* each window lets its own pass, and the queue moves up */
	for (uint64_t i = 0; i < windows; i++) {
		advance(&bench, peek(&bench).renews_ns);
		assert_true(peek(&bench).level == -10 * (double)(windows - 1 - i));
	}
	advance(&bench, peek(&bench).renews_ns);
	assert_int_equal(ask(&bench, 10), 0);
	done(&bench);
}

static void never_is_told_from_later(void **state)
{
	struct bench bench = begin("rate = 10/h\nwindow = 1h first");
	struct weir_answer answer;

	(void)state;
	assert_int_equal(weir_acquire(bench.api, 11, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_EBURST);
	assert_int_equal(ask(&bench, 4), 0);
	assert_int_equal(weir_update(bench.weir, "api", "0", NULL, WEIR_KEEP_USED), 0);
	assert_int_equal(ask(&bench, 6), 0);
	assert_int_equal(weir_acquire(bench.api, 1, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_NEVER);
	advance(&bench, 10 * HOUR);
	assert_int_equal(weir_acquire(bench.api, 1, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_NEVER);
	assert_true(answer.wait_ns == WEIR_NEVER);
	assert_int_equal(weir_update(bench.weir, "api", "unlimited", NULL, WEIR_KEEP_USED), 0);
	assert_int_equal(ask(&bench, 1e6), 0);
	assert_int_equal(weir_update(bench.weir, "api", "10/h", NULL, WEIR_KEEP_USED), 0);
	assert_int_equal(ask(&bench, 10), 0);
	assert_true(ask(&bench, 1) > 0);
	done(&bench);
}

/* ---- giving back, settling ---- */

static void nothing_comes_back_from_a_window_that_is_over(void **state)
{
	static const char *const rules[] = {"rate = 10/h\nwindow = 1h",
					    "rate = 10/h\nwindow = 1h first"};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct bench bench = begin(rules[i]);
		struct weir_reservation place;
		double returned;

		advance_to(&bench, 5 * HOUR);
		assert_int_equal(reserve(&bench, 4, 0, &place), 0);
		advance(&bench, HOUR);
		assert_int_equal(ask(&bench, 10), 0);
		assert_int_equal(weir_cancel(bench.api, &place, &returned), 0);
		assert_true(returned == 0 && peek(&bench).level == 0);

		/* in time, all of it does */
		advance(&bench, HOUR);
		assert_int_equal(reserve(&bench, 4, 0, &place), 0);
		assert_int_equal(ask(&bench, 6), 0);
		assert_int_equal(weir_cancel(bench.api, &place, &returned), 0);
		assert_true(returned == 4 && peek(&bench).level == 4);
		done(&bench);
	}
}

static void who_gives_all_back_has_begun_no_window(void **state)
{
	struct bench bench = begin("rate = 10/h\nwindow = 1h first");
	struct weir_reservation place;

	(void)state;
	advance_to(&bench, 5 * HOUR);
	assert_int_equal(reserve(&bench, 4, 0, &place), 0);
	assert_true(peek(&bench).renews_ns > 0);
	assert_int_equal(weir_cancel(bench.api, &place, NULL), 0);
	assert_true(peek(&bench).renews_ns == 0 && peek(&bench).level == 10);
	advance(&bench, 30 * MINUTE);
	assert_int_equal(ask(&bench, 1), 0);
	assert_true(peek(&bench).renews_ns > 59 * MINUTE);
	done(&bench);
}

static void a_debt_is_paid_by_later_windows(void **state)
{
	static const char *const rules[] = {"rate = 10/h\nwindow = 1h",
					    "rate = 10/h\nwindow = 1h first"};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct bench bench = begin(rules[i]);
		struct weir_reservation place;

		advance_to(&bench, 5 * HOUR);
		assert_int_equal(reserve(&bench, 4, 0, &place), 0);
		assert_int_equal(weir_settle(bench.api, &place, 27), 0);
		assert_true(peek(&bench).level == -17);
		advance(&bench, peek(&bench).renews_ns);
		assert_true(peek(&bench).level == -7);
		advance(&bench, peek(&bench).renews_ns);
		assert_true(peek(&bench).level == 3);
		assert_int_equal(ask(&bench, 3), 0);
		advance(&bench, peek(&bench).renews_ns);
		assert_true(peek(&bench).level == 10);
		done(&bench);
	}
}

/* ---- closing, resetting ---- */

/* A closure neither takes the quota away nor adds one. */
static void a_closure_leaves_the_window_alone(void **state)
{
	static const char *const rules[] = {"rate = 10/h\nwindow = 1h",
					    "rate = 10/h\nwindow = 1h first"};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct bench bench = begin(rules[i]);
		struct weir_answer answer;

		advance_to(&bench, 5 * HOUR);
		assert_int_equal(ask(&bench, 4), 0);
		assert_int_equal(weir_gate_close(bench.api, MINUTE), 0);
		assert_int_equal(weir_acquire(bench.api, 1, &answer), WEIR_REFUSE);
		assert_int_equal(answer.reason, WEIR_REASON_CLOSED);
		assert_true(answer.level == 6);
		advance(&bench, 2 * MINUTE);
		assert_int_equal(ask(&bench, 6), 0);
		assert_true(ask(&bench, 1) > 57 * MINUTE);
		/* over a boundary: one new quota, though two windows have begun */
		assert_int_equal(weir_gate_close(bench.api, 2 * HOUR), 0);
		advance(&bench, 2 * HOUR + MINUTE);
		assert_int_equal(ask(&bench, 10), 0);
		assert_true(ask(&bench, 1) > 0);
		done(&bench);
	}
}

/* A call that is refused behind a closure passes after its wait, and not a moment before. */
static void check_wait_behind(const char *rule, bool of_class, double used, double cost,
			      uint64_t closed)
{
	struct bench bench = begin(rule);
	bool is_unlimited = strstr(rule, "unlimited") != NULL;
	struct weir_endpoint *asking = bench.api;
	struct weir_answer answer;

	advance_to(&bench, 5 * HOUR + 10 * MINUTE);
	if (used > 0)
		assert_int_equal(ask(&bench, used), 0);
	if (of_class)
		assert_int_equal(weir_endpoint_class(bench.weir, "api", "batch", &asking), 0);
	assert_int_equal(weir_gate_close(bench.api, closed), 0);
	/* of a bucket that nobody has used, too */
	uint64_t peeked = peek(&bench).wait_ns;

	assert_int_equal(weir_acquire(asking, cost, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_CLOSED);
	if (cost == 1 && !of_class)
		assert_int_equal(peeked, answer.wait_ns);
	if (is_unlimited)
		assert_int_equal(answer.wait_ns, peek(&bench).closed_ns);
	if ((of_class && cost > 8) || (strstr(rule, "rate = 0") && used + cost > 10)) {
		assert_int_equal(answer.wait_ns, WEIR_NEVER);
	} else {
		assert_true(answer.wait_ns >= peek(&bench).closed_ns);
		advance(&bench, answer.wait_ns - 1);
		assert_int_equal(weir_acquire(asking, cost, NULL), WEIR_REFUSE);
		advance(&bench, 1);
		assert_int_equal(weir_acquire(asking, cost, NULL), WEIR_ADMIT);
	}
	if (asking != bench.api)
		weir_endpoint_close(asking);
	done(&bench);
}

static void the_wait_behind_a_closure(void **state)
{
	static const char *const rules[] = {
		"rate = 10/h\nwindow = 1h",
		"rate = 10/h\nwindow = 1h first",
		"rate = 10/h\nwindow = 1h\nburst = 25\ninitial = 10",
		"rate = 10/h\nwindow = 1h\ninitial = 3",
		"rate = 0/h\nwindow = 1h\nburst = 10",
		"rate = unlimited\nwindow = 1h",
		"rate = 10/h\nwindow = 1h\nclass batch = leave 2",
		"rate = 10/h\nwindow = 1h first\nclass batch = leave 2",
	};
	static const double used[] = {0, 1, 3};
	static const double costs[] = {1, 7, 8, 10};
	static const uint64_t closed[] = {MINUTE, 50 * MINUTE, 2 * HOUR + 30 * MINUTE};

	(void)state;
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		for (size_t j = 0; j < 3 * 4 * 3; j++)
			check_wait_behind(rules[i], strstr(rules[i], "class") != NULL, used[j % 3],
					  costs[j / 3 % 4], closed[j / 12]);
}

/* A place of the window that is under way at the opening keeps its turn; one that missed its window
 * takes a new place. */
static void a_closure_lapses_places_of_windows_gone_by(void **state)
{
	static const char *const rules[] = {"rate = 10/h\nwindow = 1h",
					    "rate = 10/h\nwindow = 1h first"};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct bench bench = begin(rules[i]);
		struct weir_reservation missed;
		struct weir_reservation kept;
		uint64_t next;

		advance_to(&bench, 5 * HOUR);
		assert_int_equal(ask(&bench, 10), 0);
		next = peek(&bench).renews_ns;
		assert_int_equal(reserve(&bench, 10, WEIR_FOREVER, &missed), next);
		assert_int_equal(reserve(&bench, 4, WEIR_FOREVER, &kept), next + stride(&bench));
		assert_int_equal(weir_gate_close(bench.api, 2 * HOUR + 30 * MINUTE), 0);
		advance(&bench, 2 * HOUR + 31 * MINUTE);
		assert_int_equal(weir_reservation_wait(bench.api, &kept, 0, NULL), WEIR_ADMIT);
		/* with the other, 14 would pass in this window */
		assert_int_equal(weir_reservation_wait(bench.api, &missed, 0, NULL), WEIR_REFUSE);
		assert_true(peek(&bench).level == 6);
		done(&bench);
	}
}

static void a_reset_fills_the_present_window(void **state)
{
	struct bench aligned = begin("rate = 10/h\nwindow = 1h");
	struct bench first = begin("rate = 10/h\nwindow = 1h first");

	(void)state;
	advance_to(&aligned, 5 * HOUR + 10 * MINUTE);
	assert_int_equal(ask(&aligned, 10), 0);
	assert_int_equal(weir_reset(aligned.weir, "api"), 0);
	assert_true(peek(&aligned).level == 10);
	assert_true(peek(&aligned).renews_ns == 50 * MINUTE);

	advance_to(&first, 5 * HOUR);
	assert_int_equal(ask(&first, 10), 0);
	advance(&first, 10 * MINUTE);
	assert_int_equal(weir_reset(first.weir, "api"), 0);
	assert_true(peek(&first).level == 10 && peek(&first).renews_ns == 0);
	assert_int_equal(ask(&first, 10), 0);
	assert_true(ask(&first, 1) > 59 * MINUTE);
	done(&aligned);
	done(&first);
}

/* ---- units and bounds ---- */

static void parts_of_a_token(void **state)
{
	struct bench bench = begin("rate = 2.5/min\nwindow = 1min");
	struct bench first = begin("rate = 2/min\nwindow = 1min first");

	(void)state;
	advance_to(&bench, 5 * HOUR);
	for (int i = 0; i < 5; i++)
		assert_int_equal(ask(&bench, 0.5), 0);
	assert_int_equal(ask(&bench, 0.001), MINUTE);

	advance_to(&first, 5 * HOUR);
	for (int i = 0; i < 4; i++)
		assert_int_equal(ask(&first, 0.5), 0);
	assert_true(ask(&first, 0.5) > 59 * S);
	done(&bench);
	done(&first);
}

/* The longest, the shortest, the fastest that there can be. */
static void extremes(void **state)
{
	static const struct {
		const char *rule;
		double quota;
		uint64_t length;
	} cases[] = {
		{"rate = 1/366d\nwindow = 366d first", 1, 366 * 24 * HOUR},
		{"rate = 1000000000/366d\nwindow = 366d first", 1e9, 366 * 24 * HOUR},
		{"rate = 250000/s\nwindow = 1s first", 250000, S},
		{"rate = 1000/s\nwindow = 1ms first", 1, S / 1000},
		{"rate = 1000000000/s\nwindow = 1ms", 1e6, S / 1000},
		{"rate = 1000000000/s\nwindow = 15min", 9e11, 15 * MINUTE},
		{"rate = 1000000000000/7d\nwindow = 7d", 1e12, 7 * 24 * HOUR},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bench bench = begin(cases[i].rule);
		uint64_t length = cases[i].length;

		/* to nearly the end of the ten years; no window may be lost or gained on the way */
		for (int third = 0; third < 3; third++) {
			advance(&bench, (3650 * 24 * HOUR - 7 * length) / 3);
			advance(&bench, peek(&bench).renews_ns);
			assert_int_equal(ask(&bench, cases[i].quota), 0);

			uint64_t wait = ask(&bench, 1);

			if (wait > length || wait < length - length / 256)
				fail_msg("%s: %llu ns", cases[i].rule, (unsigned long long)wait);
			advance(&bench, wait - 1);
			assert_int_equal(ask(&bench, 1), 1);
			advance(&bench, 1);
			assert_int_equal(ask(&bench, 1), 0);
		}
		done(&bench);
	}
}

/* Lines and marks of damage or malice: no answer is promised but one. */
static void whatever_the_words_hold(void **state)
{
	uint64_t random = 0x123456789abcdefull;

	(void)state;
	for (int i = 0; i < 2000000; i++) {
		uint64_t words[9];

		for (size_t j = 0; j < 9; j++) {
			random ^= random >> 12;
			random ^= random << 25;
			random ^= random >> 27;
			words[j] = random * 0x2545f4914f6cdd1dull;
			if (words[j] % 3 == 0)
				words[j] >>= words[j] % 64;
		}

		const struct line line = {
			.origin_ticks = words[0],
			.origin_units = words[1],
			.step_units = words[2],
			.step_ticks = words[3],
			.burst_units = words[4] >> 4,
			.reach_units = words[5],
			.radix = words[6] & 63,
			.flags = words[6] & 64 ? LINE_FIRST : LINE_ALIGNED,
		};
		struct stand stand = window_stand(&line, words[7], words[8]);
		uint64_t after = window_after(&line, stand.ahead >> 2, words[5] >> 4);
		uint64_t count = window_count(&line, after);

		window_ticks(&line, words[7], stand.v, count);
		window_begins(&line, words[7], stand.v, words[5]);
		line_due_ticks(&line, words[7], words[8]);
		line_level(&line, words[7], words[8]);
		line_mark(&line, words[7], stand);
		line_ticks_until(&line, words[7], words[8]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(aligned_windows_are_a_list),
		cmocka_unit_test(windows_from_first_use_are_a_list),
		cmocka_unit_test(the_quota_comes_back_as_a_whole),
		cmocka_unit_test(a_window_may_begin_with_its_first_use),
		cmocka_unit_test(a_larger_burst_saves_up),
		cmocka_unit_test(bounds_of_the_day_and_the_week),
		cmocka_unit_test(places_do_not_reach_over_a_boundary),
		cmocka_unit_test(waits_are_bounded_by_time),
		cmocka_unit_test(a_queue_from_first_use_has_an_end),
		cmocka_unit_test(never_is_told_from_later),
		cmocka_unit_test(nothing_comes_back_from_a_window_that_is_over),
		cmocka_unit_test(who_gives_all_back_has_begun_no_window),
		cmocka_unit_test(a_debt_is_paid_by_later_windows),
		cmocka_unit_test(a_closure_leaves_the_window_alone),
		cmocka_unit_test(the_wait_behind_a_closure),
		cmocka_unit_test(a_closure_lapses_places_of_windows_gone_by),
		cmocka_unit_test(a_reset_fills_the_present_window),
		cmocka_unit_test(parts_of_a_token),
		cmocka_unit_test(extremes),
		cmocka_unit_test(whatever_the_words_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
