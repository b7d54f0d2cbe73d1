/* SPDX-License-Identifier: Apache-2.0
 *
 * Slots of members (lib/members.c): joining, leaving, dying and reaping, with the kernel's lock
 * on each slot. A living member's slot is never cleared by anybody else, and a dead one's is
 * cleared by the next reaper.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "explore.h"

enum { SLOTS = 2, JOINERS = 3, NO_SLOT = 0xff };

enum members_rule {
	MEMBERS_AS_BUILT,     /* who reaps takes the slot's lock, looks again, then clears */
	MEMBERS_REAP_BY_TEST, /* tests the lock only */
	MEMBERS_LEAVE_LATE,   /* who leaves drops the lock, then clears */
};

/* Machines, and owners of locks (plus 1). */
enum { FIRST_JOINER = 0, REAPER = JOINERS, KILLER, LAST_REAPER, MACHINES };

struct members_state {
	uint8_t rule;
	uint8_t victim; /* whom the killer kills */
	bool killed;	/* it has */
	uint8_t lock[SLOTS];
	uint8_t pid[SLOTS];
	uint8_t generation[SLOTS];
	struct joiner {
		uint16_t at;
		uint8_t round;
		uint8_t look;
		uint8_t slot; /* NO_SLOT: is no member */
		bool leaves;
		bool dead;
	} joiners[JOINERS];
	struct reaper {
		uint16_t at;
		uint8_t look;
		bool dead;
	} reapers[2];
	uint16_t killer;
};

static bool try_lock(struct members_state *state, unsigned slot, unsigned owner)
{
	if (state->lock[slot])
		return false;
	state->lock[slot] = (uint8_t)(owner + 1);
	return true;
}

static bool joiner_step(struct members_state *state, unsigned machine)
{
	struct joiner *self = &state->joiners[machine];
	uint16_t *at = &self->at;

	if (self->dead)
		return false;
	MACHINE_BEGIN(*at)
	for (self->round = 0; self->round < 2; self->round++)
		for (self->look = 0; self->look < SLOTS; self->look++) {
			if ((state->pid[self->look] != 0) != (self->round == 1))
				continue;
			STEP(*at);
			if (!try_lock(state, self->look, machine))
				continue;
			STEP(*at);
			state->generation[self->look]++;
			STEP(*at);
			state->pid[self->look] = (uint8_t)(machine + 1);
			self->slot = self->look;
			goto joined;
		}
	return false;
joined:
	if (!self->leaves)
		return false;
	STEP(*at);
	self->slot = NO_SLOT;
	if (state->rule == MEMBERS_LEAVE_LATE) {
		state->lock[self->look] = 0;
		STEP(*at);
	}
	state->generation[self->look]++;
	STEP(*at);
	state->pid[self->look] = 0;
	if (state->rule == MEMBERS_LEAVE_LATE)
		return false;
	STEP(*at);
	state->lock[self->look] = 0;
	MACHINE_END;
}

static bool reaper_step(struct members_state *state, struct reaper *self, unsigned machine)
{
	uint16_t *at = &self->at;

	if (self->dead)
		return false;
	/* the last one comes when whoever dies is dead, and every machine else has ended */
	if (machine == LAST_REAPER && !state->killed)
		return true;
	MACHINE_BEGIN(*at)
	for (; self->look < SLOTS; self->look++) {
		if (state->pid[self->look] == 0)
			continue;
		STEP(*at);
		if (state->rule == MEMBERS_REAP_BY_TEST && state->lock[self->look])
			continue;
		if (state->rule != MEMBERS_REAP_BY_TEST && !try_lock(state, self->look, machine))
			continue;
		STEP(*at);
		if (state->pid[self->look] != 0) {
			state->generation[self->look]++;
			STEP(*at);
			state->pid[self->look] = 0;
		}
		STEP(*at);
		if (state->rule != MEMBERS_REAP_BY_TEST)
			state->lock[self->look] = 0;
	}
	MACHINE_END;
}

/* The kernel drops what a killed process holds. */
static bool killer_step(struct members_state *state)
{
	for (int slot = 0; slot < SLOTS; slot++)
		if (state->lock[slot] == state->victim + 1)
			state->lock[slot] = 0;
	if (state->victim == REAPER)
		state->reapers[0].dead = true;
	else
		state->joiners[state->victim].dead = true;
	state->killed = true;
	return false;
}

static bool members_step(void *data, unsigned machine)
{
	struct members_state *state = data;

	switch (machine) {
	case REAPER:
		return reaper_step(state, &state->reapers[0], machine);
	case LAST_REAPER:
		return reaper_step(state, &state->reapers[1], machine);
	case KILLER:
		return killer_step(state);
	default:
		return joiner_step(state, machine);
	}
}

static const char *members_wrong(const void *data)
{
	const struct members_state *state = data;

	for (int i = 0; i < JOINERS; i++) {
		const struct joiner *joiner = &state->joiners[i];

		if (joiner->dead || joiner->slot == NO_SLOT)
			continue;
		if (state->lock[joiner->slot] != i + 1)
			return "a living member has lost its slot's lock";
		if (state->pid[joiner->slot] != i + 1)
			return "a living member's slot was cleared";
	}
	return NULL;
}

static const char *members_wrong_at_end(const void *data)
{
	const struct members_state *state = data;

	for (int slot = 0; slot < SLOTS; slot++)
		if (state->pid[slot] && !state->lock[slot])
			return "a dead member's slot was not cleared";
	return NULL;
}

static void members_begin(struct members_state *state, enum members_rule rule, unsigned victim)
{
	state->rule = (uint8_t)rule;
	state->victim = (uint8_t)victim;
	for (int i = 0; i < JOINERS; i++)
		state->joiners[i].slot = NO_SLOT;
	state->joiners[1].leaves = true;
}

static void begin_joiner_dies(void *state)
{
	members_begin(state, MEMBERS_AS_BUILT, FIRST_JOINER);
}

static void begin_reaper_dies(void *state)
{
	members_begin(state, MEMBERS_AS_BUILT, REAPER);
}

static void begin_reap_by_test(void *state)
{
	members_begin(state, MEMBERS_REAP_BY_TEST, FIRST_JOINER);
}

static void begin_leave_late(void *state)
{
	members_begin(state, MEMBERS_LEAVE_LATE, FIRST_JOINER);
}

static const char *members_machine(unsigned machine)
{
	static const char *const names[] = {"joiner1", "joiner2", "joiner3",
					    "reaper",  "killer",  "reaper2"};

	return names[machine];
}

static struct model members_model(const char *name, void (*begin)(void *))
{
	return (struct model){.name = name,
			      .bytes = sizeof(struct members_state),
			      .machines = MACHINES,
			      .dead = 0,
			      .begin = begin,
			      .step = members_step,
			      .wrong = members_wrong,
			      .wrong_at_end = members_wrong_at_end,
			      .machine_name = members_machine};
}

static void test_members(void **state)
{
	const struct model right[] = {
		members_model("members: one is killed", begin_joiner_dies),
		members_model("members: the reaper is killed", begin_reaper_dies),
	};
	const struct model broken[] = {
		members_model("members: reaped by testing the lock", begin_reap_by_test),
		members_model("members: lock dropped before clearing", begin_leave_late),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++)
		expect_right(&right[i]);
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
		expect_wrong(&broken[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_members),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
