/* SPDX-License-Identifier: Apache-2.0
 *
 * The gate (lib/gate.c): the order of a reset, the order of an opening, and how a line of waiters
 * leaves behind a closure.
 *
 * The first two are models of two words, the mark and the gate, exhaustive; the third runs the
 * functions themselves, with sleepers that wake in random order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bucket.h"
#include "explore.h"
#include "gate.h"

enum {
	BURST = 2,
	START = 8, /* V at the beginning */
};

static uint8_t base(uint8_t mark, uint8_t v)
{
	return mark > v ? mark : v;
}

/* ---- reset: no place in line survives uncharged ---- */

enum reset_rule {
	RESET_COUNT_FIRST, /* load the mark, count, exchange it; all again on failure */
	RESET_MARK_FIRST,  /* set the mark, then count */
	RESET_COUNT_ONCE,  /* count, then exchange the mark until it works */
	RESET_BOTH_WORDS,  /* exchange mark and gate together */
};

/* A place in line, with what its holder saw of the gate before it took it. */
struct held {
	uint8_t position;
	uint8_t resets;
	bool held;
};

enum { TAKERS = 2, TAKES = 2, REACH = 3 };

struct reset_state {
	uint8_t rule;
	bool give_back; /* takers return their second place */
	uint8_t mark;
	uint8_t resets;
	struct {
		uint16_t at;
		uint8_t mark;
		uint8_t resets;
	} resetter;
	struct reset_taker {
		uint16_t at;
		uint8_t mark;
		uint8_t resets;
		uint8_t takes;
		struct held places[TAKES];
	} takers[TAKERS];
};

static bool reset_one_word(struct reset_state *state)
{
	uint16_t *at = &state->resetter.at;
	uint8_t *mark = &state->resetter.mark;

	MACHINE_BEGIN(*at)
	for (;;) {
		*mark = state->mark;
		STEP(*at);
		if (state->rule != RESET_MARK_FIRST) {
			state->resets++;
			STEP(*at);
		}
		while (state->mark != *mark && state->rule == RESET_COUNT_ONCE) {
			*mark = state->mark;
			STEP(*at);
		}
		if (state->mark == *mark) {
			state->mark = START;
			break;
		}
		STEP(*at);
	}
	if (state->rule == RESET_MARK_FIRST) {
		STEP(*at);
		state->resets++;
	}
	MACHINE_END;
}

static bool reset_both_words(struct reset_state *state)
{
	uint16_t *at = &state->resetter.at;

	MACHINE_BEGIN(*at)
	for (;;) {
		state->resetter.mark = state->mark;
		STEP(*at);
		state->resetter.resets = state->resets;
		STEP(*at);
		if (state->mark == state->resetter.mark && state->resets == state->resetter.resets)
			break;
		STEP(*at);
	}
	state->mark = START;
	state->resets++;
	MACHINE_END;
}

/* Takes two places one after the other; gives the second back, as the last in line may. */
static bool reset_taker(struct reset_state *state, struct reset_taker *self)
{
	uint16_t *at = &self->at;

	MACHINE_BEGIN(*at)
	for (; self->takes < TAKES; self->takes++) {
		self->resets = state->resets;
		STEP(*at);
		self->mark = state->mark;
		STEP(*at);
		while (base(self->mark, START) + 1 - START <= BURST + REACH) {
			if (state->mark == self->mark) {
				state->mark = (uint8_t)(base(self->mark, START) + 1);
				self->places[self->takes] =
					(struct held){state->mark, self->resets, true};
				break;
			}
			self->mark = state->mark;
			STEP(*at);
		}
		STEP(*at);
	}
	if (!state->give_back || !self->places[1].held || self->places[1].resets != state->resets)
		return false;
	STEP(*at);
	if (state->mark == self->places[1].position) {
		state->mark--;
		self->places[1].held = false;
	}
	MACHINE_END;
}

static bool reset_step(void *data, unsigned machine)
{
	struct reset_state *state = data;

	if (machine)
		return reset_taker(state, &state->takers[machine - 1]);
	return state->rule == RESET_BOTH_WORDS ? reset_both_words(state) : reset_one_word(state);
}

/* Whoever waits and has not been told to take a new place stands at or before the mark. */
static const char *reset_wrong(const void *data)
{
	const struct reset_state *state = data;

	for (int i = 0; i < TAKERS; i++)
		for (int j = 0; j < TAKES; j++) {
			const struct held *place = &state->takers[i].places[j];

			if (place->held && place->position > START + BURST &&
			    place->resets == state->resets && place->position > state->mark)
				return "a place in line is charged to nobody";
		}
	return NULL;
}

static void reset_begin(struct reset_state *state, enum reset_rule rule, bool give_back)
{
	state->rule = (uint8_t)rule;
	state->give_back = give_back;
	state->mark = START + BURST;
}

static void begin_count_first(void *state)
{
	reset_begin(state, RESET_COUNT_FIRST, false);
}

static void begin_mark_first(void *state)
{
	reset_begin(state, RESET_MARK_FIRST, false);
}

static void begin_count_once(void *state)
{
	reset_begin(state, RESET_COUNT_ONCE, false);
}

static void begin_count_first_give_back(void *state)
{
	reset_begin(state, RESET_COUNT_FIRST, true);
}

static void begin_both_words_give_back(void *state)
{
	reset_begin(state, RESET_BOTH_WORDS, true);
}

static const char *reset_machine(unsigned machine)
{
	static const char *const names[] = {"reset", "taker1", "taker2"};

	return names[machine];
}

static struct model reset_model(const char *name, void (*begin)(void *))
{
	return (struct model){.name = name,
			      .bytes = sizeof(struct reset_state),
			      .machines = 1 + TAKERS,
			      .dead = 1 + TAKERS,
			      .alone = 40,
			      .begin = begin,
			      .step = reset_step,
			      .wrong = reset_wrong,
			      .machine_name = reset_machine};
}

static void test_reset(void **state)
{
	const struct model right =
		reset_model("reset: count, then exchange the mark", begin_count_first);
	const struct model mark_first =
		reset_model("reset: the mark first, then count", begin_mark_first);
	const struct model count_once =
		reset_model("reset: counted once, whatever the mark", begin_count_once);

	(void)state;
	expect_right(&right);
	expect_wrong(&mark_first);
	expect_wrong(&count_once);
}

/* One gives back, another takes as much: the mark is what it was, and yet not the same. */
static void test_reset_and_give_back(void **state)
{
	const struct model right = reset_model("reset: mark and gate together, places given back",
					       begin_both_words_give_back);
	const struct model one_word = reset_model("reset: count, then the mark, places given back",
						  begin_count_first_give_back);

	(void)state;
	expect_right(&right);
	expect_wrong(&one_word);
}

/* ---- opening: nobody passes before the drain ---- */

enum open_rule {
	OPEN_DRAIN_FIRST, /* as built: raise the mark, then settle */
	OPEN_SETTLE_FIRST,
	OPEN_NO_DRAIN,
};

enum { CALLERS = 2, CALLS = 2, OPENS = START + 1, ENDS = OPENS + 2 };

struct open_state {
	uint8_t rule;
	uint8_t now; /* the clock, and V: one unit a tick */
	uint8_t mark;
	uint8_t until;
	bool pending;
	uint8_t closings;
	uint16_t closer;
	bool closes_again;
	bool closed_again; /* and the call that did it has returned */
	uint8_t granted;   /* to calls that began under the last closure */
	struct open_caller {
		uint16_t at;
		uint8_t calls;
		uint8_t now;
		uint8_t mark;
		uint8_t until;
		uint8_t closings;
		bool pending;
		bool began_closed_again;
	} callers[CALLERS];
};

static bool open_clock(struct open_state *state)
{
	return ++state->now < ENDS;
}

/* A second closure, counted, for one tick from wherever the clock is. */
static bool open_closer(struct open_state *state)
{
	MACHINE_BEGIN(state->closer)
	if (!state->closes_again)
		return false;
	STEP(state->closer);
	if (!state->pending || state->until <= state->now) {
		state->until = (uint8_t)(state->now + 1);
		state->pending = true;
		state->closings++;
	}
	STEP(state->closer);
	state->closed_again = true;
	state->granted = 0;
	MACHINE_END;
}

static bool gate_unchanged(const struct open_state *state, const struct open_caller *self)
{
	return state->until == self->until && state->closings == self->closings &&
	       state->pending == self->pending;
}

static void open_granted(struct open_state *state, const struct open_caller *self)
{
	if (self->began_closed_again == state->closed_again)
		state->granted++;
}

static bool open_caller(struct open_state *state, struct open_caller *self)
{
	uint16_t *at = &self->at;

	MACHINE_BEGIN(*at)
	for (; self->calls < CALLS; self->calls++) {
		self->now = state->now;
		self->began_closed_again = state->closed_again;
		STEP(*at);
		self->until = state->until;
		self->pending = state->pending;
		self->closings = state->closings;
		STEP(*at);
		if (self->pending && self->until > self->now)
			continue;
		if (self->pending && state->rule == OPEN_SETTLE_FIRST) {
			if (gate_unchanged(state, self))
				state->pending = false;
			STEP(*at);
		}
		while (self->pending && state->rule != OPEN_NO_DRAIN) {
			self->mark = state->mark;
			STEP(*at);
			if (state->mark == self->mark) {
				state->mark = base(self->mark, (uint8_t)(self->until + BURST));
				break;
			}
			STEP(*at);
		}
		if (self->pending && state->rule != OPEN_SETTLE_FIRST) {
			STEP(*at);
			if (gate_unchanged(state, self))
				state->pending = false;
			STEP(*at);
			continue;
		}
		STEP(*at);
		self->mark = state->mark;
		STEP(*at);
		while (base(self->mark, self->now) + 1 - self->now <= BURST) {
			if (state->mark == self->mark) {
				state->mark = (uint8_t)(base(self->mark, self->now) + 1);
				open_granted(state, self);
				break;
			}
			self->mark = state->mark;
			STEP(*at);
		}
		STEP(*at);
	}
	MACHINE_END;
}

static bool open_step(void *data, unsigned machine)
{
	struct open_state *state = data;

	return machine == 0   ? open_clock(state)
	       : machine == 1 ? open_closer(state)
			      : open_caller(state, &state->callers[machine - 2]);
}

/* A bucket opens empty: what passes after the opening was minted after it. */
static const char *open_wrong(const void *data)
{
	const struct open_state *state = data;
	int minted = state->now - state->until;

	if (state->closes_again && !state->closed_again)
		return NULL;
	return state->granted > (minted > 0 ? minted : 0) ? "more passed than was minted since"
							  : NULL;
}

static void open_begin(struct open_state *state, enum open_rule rule, bool closes_again)
{
	state->rule = (uint8_t)rule;
	state->now = START;
	state->mark = 1;
	state->until = OPENS;
	state->pending = true;
	state->closings = 1;
	state->closes_again = closes_again;
}

static void begin_drain_first(void *state)
{
	open_begin(state, OPEN_DRAIN_FIRST, false);
}

static void begin_closed_again(void *state)
{
	open_begin(state, OPEN_DRAIN_FIRST, true);
}

static void begin_settle_first(void *state)
{
	open_begin(state, OPEN_SETTLE_FIRST, false);
}

static void begin_no_drain(void *state)
{
	open_begin(state, OPEN_NO_DRAIN, false);
}

static const char *open_machine(unsigned machine)
{
	static const char *const names[] = {"clock", "closer", "caller1", "caller2"};

	return names[machine];
}

static struct model open_model(const char *name, void (*begin)(void *))
{
	return (struct model){.name = name,
			      .bytes = sizeof(struct open_state),
			      .machines = 2 + CALLERS,
			      .dead = 2 + CALLERS,
			      .alone = 60,
			      .begin = begin,
			      .step = open_step,
			      .wrong = open_wrong,
			      .machine_name = open_machine};
}

static void test_opening(void **state)
{
	const struct model right[] = {
		open_model("opening: drain, then settle", begin_drain_first),
		open_model("opening: the same, and closed again", begin_closed_again),
	};
	const struct model broken[] = {
		open_model("opening: settle, then drain", begin_settle_first),
		open_model("opening: settle alone", begin_no_drain),
	};

	(void)state;
	for (size_t i = 0; i < 2; i++)
		expect_right(&right[i]);
	for (size_t i = 0; i < 2; i++)
		expect_wrong(&broken[i]);
}

/* ---- the line behind a closure ---- */

#define TICK 65536ull /* the gate's grain: one unit is minted in it */

enum {
	SLEEPERS = 60,
	LINE_BURST = 10,
	HERD_RUNS = 400,
	CLOSURES = 3,
	HERD_TICKS = 600,
};

struct sleeper {
	uint64_t position;
	uint64_t gate;
	bool through;
};

struct herd {
	struct bucket bucket;
	struct line line;
	uint64_t now;
	uint64_t opened;       /* tick of the last opening */
	unsigned since;	       /* how many went through since then, or since the beginning */
	unsigned through;      /* in all */
	bool positions_run_on; /* the rule that is wrong: closures void no place */
	unsigned too_many;     /* ticks at which more were through than were minted */
	struct sleeper sleepers[SLEEPERS];
};

static void herd_reserve(struct herd *herd, struct sleeper *sleeper)
{
	struct bucket_mark taken = {0};
	uint64_t v = line_value(&herd->line, herd->now);

	sleeper->gate = gate_load(&herd->bucket);
	assert_int_equal(bucket_take(&herd->bucket, v, 1, LINE_FAR, &taken), BUCKET_TAKEN);
	sleeper->position = taken.mark;
}

static void herd_pass(struct herd *herd, struct sleeper *sleeper)
{
	sleeper->through = true;
	herd->through++;
	herd->since++;
}

/* What a sleeper does when it wakes: see place_wait() in client/wait.c. */
static void herd_wake(struct herd *herd, struct sleeper *sleeper)
{
	for (;;) {
		uint64_t gate = gate_load(&herd->bucket);

		if (gate_is_closed(gate, herd->now))
			return;
		if (!gate_is_settled(gate)) {
			assert_true(gate_settle(&herd->bucket, gate, &herd->line));
			continue;
		}
		if (!herd->positions_run_on &&
		    gate_voids(sleeper->gate, gate, sleeper->position, &herd->line)) {
			herd_reserve(herd, sleeper);
			continue;
		}
		sleeper->gate = gate;
		if (line_ticks_until(&herd->line, herd->now, sleeper->position - LINE_BURST) == 0)
			herd_pass(herd, sleeper);
		return;
	}
}

/* How many may have gone through: a closure leaves the bucket empty. */
static uint64_t herd_allowed(const struct herd *herd)
{
	if (herd->opened == 0)
		return LINE_BURST + herd->now / TICK;
	return herd->now > herd->opened ? (herd->now - herd->opened) / TICK : 0;
}

/* All look, in an order of chance. */
static void herd_tick(struct herd *herd, unsigned *seed)
{
	unsigned order[SLEEPERS];

	for (unsigned i = 0; i < SLEEPERS; i++) {
		unsigned j = (unsigned)rand_r(seed) % (i + 1);

		order[i] = order[j];
		order[j] = i;
	}
	for (unsigned i = 0; i < SLEEPERS; i++)
		if (!herd->sleepers[order[i]].through)
			herd_wake(herd, &herd->sleepers[order[i]]);
	herd->too_many += herd->since > herd_allowed(herd);
	herd->now += TICK;
}

static void herd_close(struct herd *herd, unsigned *seed)
{
	uint64_t until = herd->now + (1 + (uint64_t)rand_r(seed) % 30) * TICK;
	uint64_t gate = gate_load(&herd->bucket);

	assert_true(gate_close(&herd->bucket, herd->now, until));
	if (gate_is_closed(gate, herd->now) && (gate & GATE_UNTIL) > until)
		until = gate & GATE_UNTIL;
	herd->opened = until;
	herd->since = 0;
}

/* Sixty in line, closures at random, until all are through. */
static void herd_run(struct herd *herd, unsigned seed, bool positions_run_on)
{
	*herd = (struct herd){
		.line = {.slope = 1ull << (LINE_SLOPE_BITS - 16),
			 .origin_units = START,
			 .burst_units = LINE_BURST},
		.positions_run_on = positions_run_on,
	};
	bucket_install(&herd->bucket, START);
	for (unsigned i = 0; i < SLEEPERS; i++)
		herd_reserve(herd, &herd->sleepers[i]);
	for (unsigned closures = 0, tick = 0; tick < HERD_TICKS; tick++) {
		if (closures < CLOSURES && rand_r(&seed) % 16 == 0) {
			herd_close(herd, &seed);
			closures++;
		}
		herd_tick(herd, &seed);
	}
}

static void test_line_behind_closure(void **state)
{
	unsigned herds = 0;
	struct herd herd;

	(void)state;
	for (unsigned seed = 1; seed <= HERD_RUNS; seed++) {
		herd_run(&herd, seed, false);
		assert_int_equal(herd.too_many, 0);
		assert_int_equal(herd.through, SLEEPERS);
	}
	for (unsigned seed = 1; seed <= HERD_RUNS; seed++) {
		herd_run(&herd, seed, true);
		herds += herd.too_many > 0;
	}
	printf("gate: a line of %d behind up to %d closures: %d runs, none let too many pass; "
	       "%u did where positions run on\n",
	       SLEEPERS, CLOSURES, HERD_RUNS, herds);
	assert_true(herds > 0);
}

static uint64_t place_at_start(uint64_t mark, const void *context)
{
	(void)mark;
	(void)context;
	return START;
}

/* A reset of a bucket that was never closed leaves it full, and its gate open. */
static void test_reset_fills(void **state)
{
	const struct line line = {.origin_units = START, .burst_units = LINE_BURST};
	struct bucket bucket = {.mark = START + LINE_BURST + 3};
	uint64_t before = gate_load(&bucket);
	struct bucket_mark taken;

	(void)state;
	assert_int_equal(gate_reset(&bucket, 1, place_at_start, NULL), BUCKET_TAKEN);
	assert_true(gate_is_settled(gate_load(&bucket)));
	assert_true(gate_voids(before, gate_load(&bucket), START + LINE_BURST + 3, &line));
	assert_int_equal(bucket_take(&bucket, START, LINE_BURST, LINE_BURST, &taken), BUCKET_TAKEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reset),	    cmocka_unit_test(test_reset_and_give_back),
		cmocka_unit_test(test_opening),	    cmocka_unit_test(test_line_behind_closure),
		cmocka_unit_test(test_reset_fills),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
