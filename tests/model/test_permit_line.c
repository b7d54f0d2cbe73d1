/* SPDX-License-Identifier: Apache-2.0
 *
 * The line of those who wait for permits (lib/permits.c, permit_line.c): several in line and
 * several permits. Whoever keeps one has seen, holding it, one more free for each of those before
 * him; a releaser calls the next in line, and so does who leaves it. Every look at a word is a
 * step of its own. With the variants that do not work.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "explore.h"

enum rule {
	AS_BUILT,
	KEEPS_UNSEEN,	 /* no second look after the exchange */
	LEAVES_NONE,	 /* takes when as many are free as there are before him, and not more */
	GIVES_BACK_MUTE, /* who may not keep one calls nobody when it is back */
	LEAVES_MUTE,	 /* who leaves the line calls nobody */
	CALLS_FIRST,	 /* a releaser calls nobody if the first in line was called before */
	STOPS_CALLING,	 /* who calls all ends when somebody else was faster with one */
	RESTS_BLIND,	 /* who falls asleep does not see that he was called meanwhile */
	LOOKS_LATE,	 /* says that he looks after he has looked */
	JOINS_UNSEEN,	 /* sleeps without a look from his place */
};

enum {
	PERMITS = 2,
	CROWD = 3,	  /* who want a permit, each once */
	RELEASER = CROWD, /* has all permits to begin with */
	HELPER,
	MACHINES,
	NOBODY = 0xff,
	SCHEDULES = 30000,
};

/* What the helper does. */
enum help {
	NO_HELP,
	PASSES_OVER, /* the first in line, if he was called */
	REAPS,	     /* kills one of the others at any step, and gives back what that had */
};

/* A look at one of several words: all in one step where every interleaving is tried. */
#define LOOK_STEP(at)                                                                              \
	if (state->fine)                                                                           \
	STEP(at)

enum wake { WAITS, CALLED, PASSED, LOOKS };

/* What a machine is at. */
enum part { LOOK, LOOK_AGAIN, IN_VAIN, KEEP, RELEASE, CALL, PASS_OVER, REAP, END };

struct line_state {
	uint8_t rule;
	bool fine;
	uint8_t victim;
	uint8_t tickets;
	uint8_t permit[PERMITS]; /* machine + 1; 0: free */
	uint8_t place[CROWD];	 /* ticket; 0: not in line */
	uint8_t wake[CROWD];
	bool asleep[CROWD];
	bool woken[CROWD];   /* and has not run since */
	bool kept[MACHINES]; /* he has seen that he may: what is his */
	bool overtaken;
	struct machine {
		uint16_t at;
		uint8_t part;
		uint8_t goes; /* on to that part */
		uint8_t then; /* after the calls */
		uint8_t i;
		uint8_t before; /* in line before him, as he counted */
		uint8_t free;	/* permits, as he counted */
		uint8_t mine;	/* permit; found or taken */
		uint8_t next;	/* whom he calls */
		uint8_t ticket; /* of that one */
		uint8_t whole;	/* calls all who may go, not only one */
		uint8_t others; /* those who were before him at his second look: a bit each */
		bool holds;	/* for as long as he likes */
	} machines[MACHINES];
};

static bool is_before(const struct line_state *state, unsigned i, uint8_t ticket)
{
	return state->place[i] && state->wake[i] != PASSED && (!ticket || state->place[i] < ticket);
}

/* What must hold when somebody keeps one: for those before him who have none there is one each. */
static void keep(struct line_state *state, unsigned machine)
{
	unsigned left = 0;
	unsigned wanted = 0;

	state->kept[machine] = true;
	for (unsigned i = 0; i < PERMITS; i++)
		left += state->permit[i] == 0 || !state->kept[state->permit[i] - 1];
	for (unsigned i = 0; i < CROWD; i++)
		wanted += (state->machines[machine].others >> i & 1) && is_before(state, i, 0) &&
			  !state->kept[i];
	state->overtaken |= left < wanted;
}

/* The second look begins: who is before him now. */
static void note_others(struct line_state *state, unsigned machine, uint8_t ticket)
{
	struct machine *self = &state->machines[machine];

	self->others = 0;
	for (unsigned i = 0; i < CROWD; i++)
		if (i != machine && is_before(state, i, ticket))
			self->others |= (uint8_t)(1u << i);
}

/* The next in line who was not called, as one word after the other tells. */
static void see_next(const struct line_state *state, struct machine *self)
{
	unsigned i = self->i;

	if (is_before(state, i, 0) && state->wake[i] != CALLED &&
	    (self->next == NOBODY || state->place[i] < self->ticket)) {
		self->next = (uint8_t)i;
		self->ticket = state->place[i];
	}
}

static void see_first(const struct line_state *state, struct machine *self)
{
	if (is_before(state, self->i, 0) &&
	    (self->next == NOBODY || state->place[self->i] < self->ticket)) {
		self->next = self->i;
		self->ticket = state->place[self->i];
	}
}

static void call(struct line_state *state, unsigned next)
{
	state->wake[next] = CALLED;
	state->woken[next] = state->asleep[next];
	state->asleep[next] = false;
}

/* What he counted is of no use any more: states that differ by it alone are one. */
static void forget(struct machine *self)
{
	self->i = self->before = self->free = self->next = self->ticket = self->others = 0;
	self->whole = false;
}

/* ---- what each of them does, one part after the other ---- */

static uint8_t ticket_of(const struct line_state *state, unsigned machine)
{
	return machine < CROWD ? state->place[machine] : 0;
}

static void count_before(const struct line_state *state, struct machine *self, unsigned machine,
			 uint8_t ticket)
{
	if (self->i != machine && is_before(state, self->i, ticket))
		self->before++;
}

/* Looks for a permit, from his place or as a newcomer, and takes it. */
static bool look(struct line_state *state, unsigned machine)
{
	struct machine *self = &state->machines[machine];
	uint8_t ticket = ticket_of(state, machine);
	uint16_t *at = &self->at;

	MACHINE_BEGIN(*at)
	forget(self);
	if (ticket && state->rule != LOOKS_LATE) {
		state->wake[machine] = LOOKS;
		STEP(*at);
	}
	self->mine = 0;
	for (self->i = 0; self->i < CROWD; self->i++) {
		count_before(state, self, machine, ticket);
		LOOK_STEP(*at);
	}
	STEP(*at);
	self->mine = NOBODY;
	for (self->i = 0; self->i < PERMITS && self->free <= self->before; self->i++) {
		if (state->permit[self->i] == 0 && self->free++ == 0)
			self->mine = self->i;
		STEP(*at);
	}
	self->goes = IN_VAIN;
	if (self->free + (state->rule == LEAVES_NONE) <= self->before || self->mine == NOBODY)
		return false;
	self->goes = LOOK;
	if (state->permit[self->mine])
		return false;
	state->permit[self->mine] = (uint8_t)(machine + 1);
	self->goes = LOOK_AGAIN;
	STEP(*at);
	MACHINE_END;
}

/* The second look, with the permit in hand. */
static bool look_again(struct line_state *state, unsigned machine)
{
	struct machine *self = &state->machines[machine];
	uint8_t ticket = ticket_of(state, machine);
	uint16_t *at = &self->at;

	MACHINE_BEGIN(*at)
	note_others(state, machine, ticket);
	self->goes = KEEP;
	if (state->rule == KEEPS_UNSEEN || state->rule == LEAVES_NONE)
		return false;
	self->before = self->free = 0;
	for (self->i = 0; self->i < CROWD; self->i++) {
		count_before(state, self, machine, ticket);
		LOOK_STEP(*at);
	}
	STEP(*at);
	for (self->i = 0; self->i < PERMITS && self->free < self->before; self->i++) {
		self->free = (uint8_t)(self->free + (state->permit[self->i] == 0));
		if (self->free < self->before)
			STEP(*at);
	}
	if (self->free >= self->before)
		return false;
	state->permit[self->mine] = 0;
	self->then = IN_VAIN;
	self->whole = true;
	self->goes = state->rule == GIVES_BACK_MUTE ? IN_VAIN : CALL;
	STEP(*at);
	MACHINE_END;
}

/* Goes into line, or to sleep there. */
static bool in_vain(struct line_state *state, unsigned machine)
{
	struct machine *self = &state->machines[machine];
	uint16_t *at = &self->at;

	MACHINE_BEGIN(*at)
	forget(self);
	self->mine = self->then = 0;
	self->goes = LOOK;
	if (!state->place[machine]) {
		state->wake[machine] = LOOKS;
		state->place[machine] = ++state->tickets;
		STEP(*at);
		if (state->rule != JOINS_UNSEEN)
			return false;
	}
	if (state->rule == LOOKS_LATE) {
		state->wake[machine] = LOOKS;
		STEP(*at);
	}
	if (state->wake[machine] == LOOKS || state->rule == RESTS_BLIND) {
		state->wake[machine] = WAITS;
		state->asleep[machine] = true;
		STEP(*at);
	}
	MACHINE_END;
}

/* It is his: he leaves the line, and calls. */
static bool keep_it(struct line_state *state, unsigned machine)
{
	struct machine *self = &state->machines[machine];
	uint16_t *at = &self->at;

	MACHINE_BEGIN(*at)
	keep(state, machine);
	forget(self);
	self->goes = RELEASE;
	STEP(*at);
	if (!state->place[machine])
		return false;
	state->place[machine] = 0;
	self->then = RELEASE;
	self->whole = true;
	self->goes = state->rule == LEAVES_MUTE ? RELEASE : CALL;
	STEP(*at);
	MACHINE_END;
}

static bool release(struct line_state *state, unsigned machine)
{
	struct machine *self = &state->machines[machine];
	uint16_t *at = &self->at;

	MACHINE_BEGIN(*at)
	forget(self);
	self->then = END;
	self->holds = true;
	STEP(*at);
	self->holds = false;
	state->permit[self->mine] = 0;
	state->kept[machine] = machine == RELEASER && self->mine + 1 < PERMITS;
	if (state->kept[machine]) {
		self->mine++;
		self->then = RELEASE;
	}
	self->goes = CALL;
	STEP(*at);
	MACHINE_END;
}

/* Calls the next in line, or all who may go. */
static bool call_next(struct line_state *state, unsigned machine)
{
	struct machine *self = &state->machines[machine];
	uint16_t *at = &self->at;

	MACHINE_BEGIN(*at)
	self->goes = self->then;
	self->next = NOBODY;
	for (self->i = 0; self->i < CROWD; self->i++) {
		see_next(state, self);
		if (state->rule == CALLS_FIRST && is_before(state, self->i, 0) &&
		    state->wake[self->i] == CALLED)
			return false;
		LOOK_STEP(*at);
	}
	STEP(*at);
	if (self->next == NOBODY)
		return false;
	self->before = self->free = 0;
	for (self->i = 0; self->i < CROWD; self->i++) {
		count_before(state, self, NOBODY, self->ticket);
		LOOK_STEP(*at);
	}
	STEP(*at);
	/* one is free, as he has just given it back himself */
	if (!self->whole && self->before == 0)
		self->free = 1;
	for (self->i = 0; self->i < PERMITS && self->free <= self->before; self->i++) {
		self->free = (uint8_t)(self->free + (state->permit[self->i] == 0));
		STEP(*at);
	}
	if (self->free <= self->before)
		return false;
	if (state->wake[self->next] == CALLED || state->wake[self->next] == PASSED) {
		if (!self->whole || state->rule != STOPS_CALLING)
			self->goes = CALL;
		return false;
	}
	call(state, self->next);
	if (self->whole)
		self->goes = CALL;
	STEP(*at);
	MACHINE_END;
}

/* Passes over the first in line, if he was called and has not looked. */
static bool pass_over(struct line_state *state, unsigned machine)
{
	struct machine *self = &state->machines[machine];
	uint16_t *at = &self->at;

	MACHINE_BEGIN(*at)
	self->then = self->goes = END;
	self->whole = true;
	self->next = NOBODY;
	for (self->i = 0; self->i < CROWD; self->i++) {
		see_first(state, self);
		LOOK_STEP(*at);
	}
	STEP(*at);
	if (self->next == NOBODY || state->wake[self->next] != CALLED)
		return false;
	state->wake[self->next] = PASSED;
	for (unsigned i = 0; i < MACHINES; i++)
		state->machines[i].others &= (uint8_t) ~(1u << self->next);
	self->goes = CALL;
	STEP(*at);
	MACHINE_END;
}

/* Kills the victim at whatever step it is, and gives back what it had. */
static bool reap(struct line_state *state, unsigned machine)
{
	struct machine *self = &state->machines[machine];
	uint16_t *at = &self->at;

	MACHINE_BEGIN(*at)
	self->then = END;
	self->whole = true;
	state->machines[state->victim].part = END;
	STEP(*at);
	for (self->i = 0; self->i < PERMITS; self->i++) {
		if (state->permit[self->i] == state->victim + 1)
			state->permit[self->i] = 0;
		STEP(*at);
	}
	state->kept[state->victim] = false;
	if (state->victim < CROWD)
		state->place[state->victim] = 0;
	self->goes = CALL;
	STEP(*at);
	MACHINE_END;
}

static bool line_step(void *data, unsigned machine)
{
	static bool (*const parts[])(struct line_state *, unsigned) = {
		look, look_again, in_vain, keep_it, release, call_next, pass_over, reap,
	};
	struct line_state *state = data;
	struct machine *self = &state->machines[machine];

	if (machine < CROWD && state->asleep[machine])
		return self->part != END;
	if (machine < CROWD)
		state->woken[machine] = false;
	while (self->part != END) {
		if (parts[self->part](state, machine))
			return true;
		self->at = 0;
		self->part = self->goes;
	}
	forget(self);
	self->mine = self->then = self->goes = 0;
	return false;
}

static unsigned before(const struct line_state *state, unsigned machine)
{
	unsigned count = 0;

	for (unsigned i = 0; i < CROWD; i++)
		count += is_before(state, i, state->place[machine]);
	return count;
}

static const char *line_wrong(const void *data)
{
	const struct line_state *state = data;
	unsigned free = 0;

	if (state->overtaken)
		return "one that came later keeps what was for one before him";
	for (unsigned i = 0; i < MACHINES; i++)
		if (state->machines[i].part != END && !state->machines[i].holds &&
		    !(i < CROWD && (state->asleep[i] || state->woken[i])))
			return NULL;
	for (unsigned i = 0; i < PERMITS; i++)
		free += state->permit[i] == 0;
	/* also if those who were called do not run */
	for (unsigned i = 0; i < CROWD; i++)
		if (state->asleep[i] && state->machines[i].part != END && free > before(state, i))
			return "nobody moves, and there is a permit for one who sleeps";
	return NULL;
}

static void begin(struct line_state *state, enum rule rule, enum help help, unsigned victim)
{
	state->rule = (uint8_t)rule;
	state->victim = (uint8_t)victim;
	state->fine = true;
	state->machines[RELEASER].part = RELEASE;
	state->machines[HELPER].part = help == PASSES_OVER ? PASS_OVER : help == REAPS ? REAP : END;
	state->kept[RELEASER] = true;
	for (unsigned i = 0; i < PERMITS; i++)
		state->permit[i] = RELEASER + 1;
}

#define BEGIN(name, ...)                                                                           \
	static void name(void *state)                                                              \
	{                                                                                          \
		begin(state, __VA_ARGS__);                                                         \
	}
BEGIN(begin_alone, AS_BUILT, NO_HELP, 0)
BEGIN(begin_passed, AS_BUILT, PASSES_OVER, 0)
BEGIN(begin_killed, AS_BUILT, REAPS, 0)
BEGIN(begin_killed_releaser, AS_BUILT, REAPS, RELEASER)
BEGIN(begin_keeps_unseen, KEEPS_UNSEEN, NO_HELP, 0)
BEGIN(begin_leaves_none, LEAVES_NONE, NO_HELP, 0)
BEGIN(begin_gives_back_mute, GIVES_BACK_MUTE, NO_HELP, 0)
BEGIN(begin_leaves_mute, LEAVES_MUTE, NO_HELP, 0)
BEGIN(begin_calls_first, CALLS_FIRST, NO_HELP, 0)
BEGIN(begin_stops_calling, STOPS_CALLING, NO_HELP, 0)
BEGIN(begin_rests_blind, RESTS_BLIND, NO_HELP, 0)
BEGIN(begin_looks_late, LOOKS_LATE, NO_HELP, 0)
BEGIN(begin_joins_unseen, JOINS_UNSEEN, NO_HELP, 0)

/* Only two come, and all words of a line are looked at in one step. */
static void begin_two(void *data)
{
	struct line_state *state = data;

	begin_alone(state);
	state->fine = false;
	state->machines[CROWD - 1].part = END;
}

static struct model line_model(const char *name, void (*first)(void *))
{
	return (struct model){.name = name,
			      .bytes = sizeof(struct line_state),
			      .machines = MACHINES,
			      .dead = 0,
			      .begin = first,
			      .step = line_step,
			      .wrong = line_wrong};
}

static void test_right(void **state)
{
	const struct model two = line_model("line: two for two permits", begin_two);
	const struct model three[] = {
		line_model("line: three for two permits", begin_alone),
		line_model("line: one is passed over", begin_passed),
		line_model("line: one is killed", begin_killed),
		line_model("line: who gives back is killed", begin_killed_releaser),
	};

	(void)state;
	expect_right(&two);
	for (size_t i = 0; i < sizeof(three) / sizeof(three[0]); i++)
		expect_right_at_random(&three[i], SCHEDULES);
}

static void test_broken(void **state)
{
	const struct model broken[] = {
		line_model("line: no second look", begin_keeps_unseen),
		line_model("line: as many as are before him", begin_leaves_none),
		line_model("line: gives back without a call", begin_gives_back_mute),
		line_model("line: leaves without a call", begin_leaves_mute),
		line_model("line: one call at a time", begin_calls_first),
		line_model("line: stops calling", begin_stops_calling),
		line_model("line: falls asleep without a look at calls", begin_rests_blind),
		line_model("line: looks, then says so", begin_looks_late),
		line_model("line: sleeps without a look from its place", begin_joins_unseen),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
		expect_wrong_at_random(&broken[i], 10 * SCHEDULES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_right),
		cmocka_unit_test(test_broken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
