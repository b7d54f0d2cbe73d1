/* SPDX-License-Identifier: Apache-2.0
 *
 * Windows from first use: why the start of a window and what is used of it are one word; and every
 * short script of reserving, cancelling, settling and waiting, run by the functions themselves,
 * after each of which no window has let more pass than its quota.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "bucket.h"
#include "explore.h"
#include "window.h"

/* ---- one word, or two ---- */

enum {
	QUOTA = 1,
	LENGTH = 2, /* of a window */
	TICKS = 5,
	TAKERS = 3,
	GRANTS = 6,
};

/* What a taker remembers between its steps. */
struct taker {
	uint16_t at;
	uint8_t start;
	uint8_t used;
	uint8_t now;
};

struct shared {
	uint8_t start; /* of the window */
	uint8_t used;
	uint8_t now;
	struct taker takers[TAKERS];
	/* the grants, by the start of their window as their taker saw it */
	uint8_t granted[GRANTS];
	uint8_t grants;
	uint8_t clock_at;
};

static void begin_shared(void *state)
{
	struct shared *shared = state;

	/* a full window, which is over when the clock has moved on */
	*shared = (struct shared){.start = 1, .used = QUOTA, .now = LENGTH};
}

static void grant(struct shared *shared, uint8_t start)
{
	if (shared->grants < GRANTS)
		shared->granted[shared->grants++] = start;
}

static bool step_clock(struct shared *shared)
{
	if (shared->now >= LENGTH + TICKS)
		return false;
	shared->now++;
	return true;
}

static bool is_over(const struct taker *taker)
{
	return taker->now - taker->start >= LENGTH;
}

/* Both in one word: loaded at once, exchanged at once. */
static bool step_one_word(void *state, unsigned machine)
{
	struct shared *shared = state;
	struct taker *taker = &shared->takers[machine];

	if (machine == TAKERS)
		return step_clock(shared);
	MACHINE_BEGIN(taker->at)
	taker->start = shared->start;
	taker->used = shared->used;
	STEP(taker->at);
	taker->now = shared->now;
	STEP(taker->at);
	if (!is_over(taker) && taker->used == QUOTA)
		return false;
	if (shared->start != taker->start || shared->used != taker->used)
		return false;
	if (is_over(taker)) {
		shared->start = taker->now;
		shared->used = 0;
	}
	shared->used++;
	grant(shared, shared->start);
	MACHINE_END;
}

/* A start and a count: whoever moves the start on sets the count to 0. */
static bool step_start_first(void *state, unsigned machine)
{
	struct shared *shared = state;
	struct taker *taker = &shared->takers[machine];

	if (machine == TAKERS)
		return step_clock(shared);
	MACHINE_BEGIN(taker->at)
	taker->start = shared->start;
	STEP(taker->at);
	taker->now = shared->now;
	STEP(taker->at);
	if (is_over(taker)) {
		if (shared->start == taker->start) {
			shared->start = taker->now;
			STEP(taker->at);
			shared->used = 0;
		}
		STEP(taker->at);
	}
	taker->start = shared->start;
	STEP(taker->at);
	if (shared->used == QUOTA)
		return false;
	shared->used++;
	grant(shared, taker->start);
	MACHINE_END;
}

/* The other order. */
static bool step_count_first(void *state, unsigned machine)
{
	struct shared *shared = state;
	struct taker *taker = &shared->takers[machine];

	if (machine == TAKERS)
		return step_clock(shared);
	MACHINE_BEGIN(taker->at)
	taker->start = shared->start;
	STEP(taker->at);
	taker->now = shared->now;
	STEP(taker->at);
	if (is_over(taker)) {
		shared->used = 0;
		STEP(taker->at);
		if (shared->start == taker->start)
			shared->start = taker->now;
		STEP(taker->at);
	}
	taker->start = shared->start;
	STEP(taker->at);
	if (shared->used == QUOTA)
		return false;
	shared->used++;
	grant(shared, taker->start);
	MACHINE_END;
}

static const char *wrong_shared(const void *state)
{
	const struct shared *shared = state;

	for (int i = 0; i < shared->grants; i++) {
		int same = 0;

		for (int j = 0; j < shared->grants; j++) {
			int apart = shared->granted[i] - shared->granted[j];

			same += apart == 0;
			if (apart > 0 && apart < LENGTH)
				return "two windows begin closer than one is long";
		}
		if (same > QUOTA)
			return "a window let more pass than its quota";
	}
	return NULL;
}

static const struct model one_word = {
	.name = "start and count in one word",
	.bytes = sizeof(struct shared),
	.machines = TAKERS + 1,
	.begin = begin_shared,
	.step = step_one_word,
	.wrong = wrong_shared,
	.alone = TICKS + 1, /* nobody waits for anybody, dead or alive */
};

static void test_one_word(void **state)
{
	(void)state;
	expect_right(&one_word);
}

static void test_two_words(void **state)
{
	struct model model = one_word;

	(void)state;
	model.name = "the start first, then the count";
	model.step = step_start_first;
	expect_wrong(&model);
	model.name = "the count first, then the start";
	model.step = step_count_first;
	expect_wrong(&model);
}

/* ---- scripts ---- */

enum {
	K = 2, /* units of a quarter */
	RADIX = 7,
	WINDOW_TICKS = 1 << RADIX,
	BURST = 4,
	START = 100 * WINDOW_TICKS,
	SCRIPT = 7,
};

enum verb {
	WAIT_HALF,
	WAIT_WINDOW,
	RESERVE_1,
	RESERVE_3,
	RESERVE_4,
	CANCEL_0, /* the first reservation, then the others */
	CANCEL_1,
	CANCEL_2,
	SETTLE_0, /* to one token */
	SETTLE_1,
	VERBS,
};

static const char *const verb_names[VERBS] = {
	"half a window", "a window", "reserve 1", "reserve 3", "reserve 4",
	"cancel 0",	 "cancel 1", "cancel 2",  "settle 0",  "settle 1",
};

/* A reservation, in the order of taking. */
struct held {
	uint64_t position;
	uint64_t due;	 /* tick */
	uint64_t begins; /* the window that it passes in */
	uint8_t cost;
	uint8_t used; /* tokens, as far as is known */
	bool held;
};

struct script {
	struct line line;
	uint64_t mark;
	uint64_t now;
	unsigned count;
	struct held place[SCRIPT];
	uint8_t verbs[SCRIPT];
	unsigned length;
};

/* The two rules that are put to the test; the others are to be proved wrong. */
struct ways {
	uint64_t (*after)(const struct line *line, uint64_t ahead, uint64_t units);
	uint64_t (*give_back)(struct script *script, uint64_t units, uint64_t position);
};

static uint64_t back_as_built(struct script *script, uint64_t units, uint64_t position)
{
	struct bucket bucket = {.mark = script->mark};
	uint64_t back =
		bucket_give_back_window(&bucket, &script->line, script->now, units, position);

	script->mark = bucket_look(&bucket);
	return back;
}

/* As without windows: in full if nobody can be waiting, not asking when it was taken. */
static uint64_t back_from_any_window(struct script *script, uint64_t units, uint64_t position)
{
	struct stand mark = window_stand(&script->line, script->now, script->mark);
	struct stand place = window_stand(&script->line, script->now, position);
	uint64_t back = units < mark.ahead ? units : mark.ahead;

	if (mark.ahead > script->line.burst_units && place.ahead != mark.ahead)
		return 0;
	script->mark = mark.v + mark.ahead - back;
	return back;
}

static uint64_t after_without_a_gap(const struct line *line, uint64_t ahead, uint64_t units)
{
	(void)line;
	return ahead + units;
}

/* The tick at which the window begins that a place passes in. */
static uint64_t window_of(const struct script *script, uint64_t due)
{
	const struct line *line = &script->line;
	struct stand stand = window_stand(line, script->now, script->mark);

	if (line->flags & LINE_ALIGNED)
		return due - due % WINDOW_TICKS;
	return stand.v - START + window_count(line, stand.ahead) * WINDOW_TICKS;
}

static void reserve(struct script *script, const struct ways *ways, uint8_t cost)
{
	const struct line *line = &script->line;
	struct stand stand = window_stand(line, script->now, script->mark);
	uint64_t after = ways->after(line, stand.ahead, (uint64_t)cost << K);

	if (ways->after == window_after) {
		/* by the function itself */
		const struct bucket_want want = {
			.unit = (uint64_t)cost << K,
			.least = 1,
			.most = 1,
			.limit = line->burst_units,
			.ticks = UINT64_MAX,
		};
		struct bucket bucket = {.mark = script->mark};
		struct bucket_windows taken;

		if (bucket_take_window(&bucket, script->mark, line, script->now, &want, &taken) !=
		    BUCKET_TAKEN)
			return;
		script->mark = taken.mark;
	} else if (after > window_room(line)) {
		return;
	} else {
		script->mark = stand.v + after;
	}

	uint64_t due = script->now + line_due_ticks(line, script->now, script->mark);

	script->place[script->count++] = (struct held){
		.position = script->mark,
		.due = due,
		.begins = window_of(script, due),
		.cost = cost,
		.used = cost,
		.held = true,
	};
}

/* false: there is no such place, or it is not there any more, or would be used before its turn. */
static bool give_back(struct script *script, const struct ways *ways, unsigned index, uint8_t keep)
{
	struct held *place = &script->place[index];

	if (index >= script->count || !place->held || place->cost <= keep ||
	    (keep && place->due > script->now))
		return false;
	place->held = false;
	place->used = keep;
	ways->give_back(script, (uint64_t)(place->cost - keep) << K, place->position);
	return true;
}

static bool run_verb(struct script *script, const struct ways *ways, enum verb verb)
{
	switch (verb) {
	case WAIT_HALF:
		script->now += WINDOW_TICKS / 2;
		return true;
	case WAIT_WINDOW:
		script->now += WINDOW_TICKS;
		return true;
	case RESERVE_1:
		reserve(script, ways, 1);
		return true;
	case RESERVE_3:
		reserve(script, ways, 3);
		return true;
	case RESERVE_4:
		reserve(script, ways, 4);
		return true;
	case CANCEL_0:
	case CANCEL_1:
	case CANCEL_2:
		return give_back(script, ways, verb - CANCEL_0, 0);
	case SETTLE_0:
	case SETTLE_1:
		return give_back(script, ways, verb - SETTLE_0, 1);
	case VERBS:
		break;
	}
	return false;
}

/*
 * Whether a window lets more pass than its quota, or two of them begin closer than one is long. One
 * from first use begins with what was taken first, though it be given back.
 */
static bool is_too_much(const struct script *script)
{
	for (unsigned i = 0; i < script->count; i++) {
		unsigned used = 0;

		for (unsigned j = 0; j < script->count; j++) {
			uint64_t apart = script->place[j].begins - script->place[i].begins;

			if (apart == 0)
				used += script->place[j].used;
			else if (apart < WINDOW_TICKS && script->place[i].used &&
				 script->place[j].used)
				return true;
		}
		if (used > BURST)
			return true;
	}
	return false;
}

static unsigned long scripts;

/* Every script that goes on from this one. Returns whether all are right; else it is printed. */
static bool all_right(const struct script *script, const struct ways *ways)
{
	scripts++;
	if (is_too_much(script)) {
		for (unsigned i = 0; i < script->length; i++)
			print_message("%s%s", i ? ", " : "	", verb_names[script->verbs[i]]);
		print_message("\n");
		return false;
	}
	if (script->length == SCRIPT)
		return true;
	for (int verb = 0; verb < VERBS; verb++) {
		struct script next = *script;

		next.verbs[next.length++] = (uint8_t)verb;
		if (run_verb(&next, ways, (enum verb)verb) && !all_right(&next, ways))
			return false;
	}
	return true;
}

static struct script begin_script(unsigned flag)
{
	return (struct script){
		.line = {.origin_units = START,
			 .step_units = BURST << K,
			 .step_ticks = WINDOW_TICKS,
			 .burst_units = BURST << K,
			 .reach_units = LINE_FAR,
			 .k = K,
			 .radix = flag == LINE_FIRST ? RADIX - 1 : 0,
			 .flags = flag},
		.mark = START,
		/* such that windows by the calendar begin at whole multiples */
		.now = 0,
	};
}

static const struct ways as_built = {window_after, back_as_built};

static void test_scripts(void **state)
{
	static const unsigned flags[] = {LINE_ALIGNED, LINE_FIRST};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct script script = begin_script(flags[i]);

		scripts = 0;
		assert_true(all_right(&script, &as_built));
		print_message("%-14s %lu scripts of up to %d steps: no window let more pass\n",
			      i ? "first use" : "calendar", scripts, SCRIPT);
	}
}

static void test_other_ways(void **state)
{
	static const struct ways others[] = {
		{window_after, back_from_any_window},
		{after_without_a_gap, back_as_built},
	};
	static const unsigned flags[] = {LINE_ALIGNED, LINE_FIRST};

	(void)state;
	for (size_t i = 0; i < 2; i++)
		for (size_t j = 0; j < 2; j++) {
			struct script script = begin_script(flags[j]);

			print_message("%s:\n", i ? "places that reach over a boundary"
						 : "giving back from any window");
			assert_false(all_right(&script, &others[i]));
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_word),
		cmocka_unit_test(test_two_words),
		cmocka_unit_test(test_scripts),
		cmocka_unit_test(test_other_ways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
