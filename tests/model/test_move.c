/* SPDX-License-Identifier: Apache-2.0
 *
 * Moving a mark (lib/move.c): the new row is published first, then anyone freezes the old mark
 * and installs it in the new place; a closure of the gate comes along; and a name that returns to
 * its old bucket. V stands still throughout, so no more than the burst may ever be granted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "explore.h"

enum {
	BURST = 2,
	START = 1, /* V, and the mark of a full bucket */
	UNSET = 0,
	FROZEN = 0x80,
	OLD = 0,
	NEW = 1,
	CLIENTS = 2,
	CLOSED = 1,
};

enum move_rule {
	MOVE_FREEZE,	       /* publish the new row, freeze, install */
	MOVE_COPY,	       /* copy the mark, then publish */
	MOVE_GATE_FIRST,       /* the mover reads the old gate before it freezes the mark */
	MOVE_CLOSER_BLIND,     /* who closes does not look whether the mark has moved */
	MOVE_GATE_BEFORE_MARK, /* a taker reads the gate before the mark it exchanges */
};

struct move_state {
	uint8_t rule;
	uint8_t published; /* the row that the name leads to */
	uint8_t mark[2];
	uint8_t gate[2];
	uint8_t granted;
	bool closed; /* the call that closed the endpoint has returned */
	bool passed_closed;
	struct {
		uint16_t at;
		uint8_t mark;
		uint8_t gate;
	} mover;
	struct {
		uint16_t at;
		uint8_t row;
	} closer;
	struct mover_client {
		uint16_t at;
		uint8_t row;
		uint8_t mark;
		uint8_t gate;
		bool began_closed;
		bool refused;
	} clients[CLIENTS];
	uint8_t closers; /* 0 or 1 */
};

/* Gives an unset bucket its first mark: move_install() with a source. */
static void inherit(struct move_state *state, uint8_t gate)
{
	if (gate == CLOSED && state->gate[NEW] != CLOSED)
		state->gate[NEW] = CLOSED;
}

static void install(struct move_state *state, uint8_t frozen)
{
	uint8_t mark = (uint8_t)(frozen & ~FROZEN);

	if (state->mark[NEW] == UNSET)
		state->mark[NEW] = mark == UNSET ? START : mark;
}

static bool mover_step(struct move_state *state)
{
	uint16_t *at = &state->mover.at;

	MACHINE_BEGIN(*at)
	if (state->rule == MOVE_COPY) {
		state->mover.mark = state->mark[OLD];
		STEP(*at);
		state->mark[NEW] = state->mover.mark == UNSET ? START : state->mover.mark;
		STEP(*at);
		state->published = NEW;
		return false;
	}
	state->published = NEW;
	STEP(*at);
	if (state->rule == MOVE_GATE_FIRST) {
		state->mover.gate = state->gate[OLD];
		STEP(*at);
	}
	state->mark[OLD] |= FROZEN;
	state->mover.mark = state->mark[OLD];
	STEP(*at);
	if (state->rule != MOVE_GATE_FIRST) {
		state->mover.gate = state->gate[OLD];
		STEP(*at);
	}
	inherit(state, state->mover.gate);
	STEP(*at);
	install(state, state->mover.mark);
	MACHINE_END;
}

static bool closer_step(struct move_state *state)
{
	uint16_t *at = &state->closer.at;

	MACHINE_BEGIN(*at)
	if (!state->closers)
		return false;
	for (;;) {
		state->closer.row = state->published;
		STEP(*at);
		state->gate[state->closer.row] = CLOSED;
		STEP(*at);
		if (state->rule == MOVE_CLOSER_BLIND || !(state->mark[state->closer.row] & FROZEN))
			break;
		STEP(*at);
	}
	state->closed = true;
	MACHINE_END;
}

static void client_take(struct move_state *state, struct mover_client *self)
{
	if (state->mark[self->row] != self->mark)
		return;
	state->mark[self->row]++;
	state->granted++;
	state->passed_closed |= self->began_closed;
}

/* Draws one token after the other until it is refused. */
static bool client_step(struct move_state *state, struct mover_client *self)
{
	uint16_t *at = &self->at;

	MACHINE_BEGIN(*at)
	for (;;) {
		self->began_closed = state->closed;
		self->row = state->published;
		STEP(*at);
		if (state->rule == MOVE_GATE_BEFORE_MARK) {
			self->gate = state->gate[self->row];
			STEP(*at);
		}
		self->mark = state->mark[self->row];
		STEP(*at);
		if (self->mark & FROZEN)
			continue;
		if (self->mark == UNSET && self->row == OLD) {
			if (state->mark[OLD] == UNSET)
				state->mark[OLD] = START;
			STEP(*at);
			continue;
		}
		if (self->mark == UNSET) {
			if (state->rule == MOVE_GATE_FIRST) {
				self->gate = state->gate[OLD];
				STEP(*at);
			}
			state->mark[OLD] |= FROZEN;
			self->mark = state->mark[OLD];
			STEP(*at);
			if (state->rule != MOVE_GATE_FIRST) {
				self->gate = state->gate[OLD];
				STEP(*at);
			}
			inherit(state, self->gate);
			STEP(*at);
			install(state, self->mark);
			STEP(*at);
			continue;
		}
		if (state->rule != MOVE_GATE_BEFORE_MARK) {
			self->gate = state->gate[self->row];
			STEP(*at);
		}
		if (self->gate == CLOSED)
			return false;
		if (self->mark + 1 - START > BURST) {
			self->refused = true;
			return false;
		}
		client_take(state, self);
		STEP(*at);
	}
	MACHINE_END;
}

static bool move_step(void *data, unsigned machine)
{
	struct move_state *state = data;

	return machine == 0   ? mover_step(state)
	       : machine == 1 ? closer_step(state)
			      : client_step(state, &state->clients[machine - 2]);
}

static const char *move_wrong(const void *data)
{
	const struct move_state *state = data;

	if (state->granted > BURST)
		return "more was granted than the burst";
	if (state->passed_closed)
		return "a call that began after the closure passed";
	for (int i = 0; i < CLIENTS; i++)
		if (state->clients[i].refused && state->granted < BURST)
			return "a token was lost";
	return NULL;
}

static void move_begin(struct move_state *state, enum move_rule rule, uint8_t mark, bool closes)
{
	state->rule = (uint8_t)rule;
	state->mark[OLD] = mark;
	state->closers = closes;
}

static void begin_freeze(void *state)
{
	move_begin(state, MOVE_FREEZE, START, false);
}

static void begin_freeze_unset(void *state)
{
	move_begin(state, MOVE_FREEZE, UNSET, false);
}

static void begin_freeze_closed(void *state)
{
	move_begin(state, MOVE_FREEZE, START, true);
}

static void begin_copy(void *state)
{
	move_begin(state, MOVE_COPY, START, false);
}

static void begin_gate_first(void *state)
{
	move_begin(state, MOVE_GATE_FIRST, START, true);
}

static void begin_closer_blind(void *state)
{
	move_begin(state, MOVE_CLOSER_BLIND, START, true);
}

static void begin_gate_before_mark(void *state)
{
	move_begin(state, MOVE_GATE_BEFORE_MARK, START, true);
}

static const char *move_machine(unsigned machine)
{
	static const char *const names[] = {"mover", "closer", "client1", "client2"};

	return names[machine];
}

static struct model move_model(const char *name, void (*begin)(void *))
{
	return (struct model){.name = name,
			      .bytes = sizeof(struct move_state),
			      .machines = 2 + CLIENTS,
			      .dead = 2 + CLIENTS,
			      .alone = 60,
			      .begin = begin,
			      .step = move_step,
			      .wrong = move_wrong,
			      .machine_name = move_machine};
}

static void test_move(void **state)
{
	const struct model right[] = {
		move_model("move: publish, freeze, install", begin_freeze),
		move_model("move: the same, never used before", begin_freeze_unset),
		move_model("move: the same, and somebody closes", begin_freeze_closed),
	};
	const struct model broken[] = {
		move_model("move: copy, then publish", begin_copy),
		move_model("move: old gate read before the freeze", begin_gate_first),
		move_model("move: who closes does not look at the mark", begin_closer_blind),
		move_model("move: takers read the gate before the mark", begin_gate_before_mark),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++)
		expect_right(&right[i]);
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
		expect_wrong(&broken[i]);
}

/* ---- there and back: a name gets a row of its own, which is removed again ---- */

enum back_rule {
	BACK_BLIND,    /* helpers freeze whatever they find; the thawed mark may be as before */
	BACK_EXCHANGE, /* helpers freeze by exchange, while the new mark is unset; a thawed mark
			  is beyond the frozen one */
	BACK_EXCHANGE_SAME, /* the exchange, but the thawed mark may be as before */
};

enum { THERE = 0, ROW = 1, TRIES = 4 };

struct back_state {
	uint8_t rule;
	uint8_t leads; /* where the name leads */
	uint8_t mark[2];
	uint8_t granted;
	bool stuck;
	struct {
		uint16_t at;
		uint8_t mark;
	} publisher;
	struct back_client {
		uint16_t at;
		uint8_t row;
		uint8_t mark;
		uint8_t tries;
	} clients[CLIENTS];
};

static bool back_publisher(struct back_state *state)
{
	uint16_t *at = &state->publisher.at;

	MACHINE_BEGIN(*at)
	state->leads = ROW;
	STEP(*at);
	state->mark[THERE] |= FROZEN;
	state->publisher.mark = (uint8_t)(state->mark[THERE] & ~FROZEN);
	STEP(*at);
	if (state->mark[ROW] == UNSET)
		state->mark[ROW] = state->publisher.mark;
	STEP(*at);
	/* the removal */
	state->publisher.mark = state->mark[ROW];
	STEP(*at);
	if (state->rule == BACK_EXCHANGE)
		state->publisher.mark++;
	state->mark[THERE] = state->publisher.mark;
	STEP(*at);
	state->leads = THERE;
	MACHINE_END;
}

/* One call, which follows the name at most so often. */
static bool back_client(struct back_state *state, struct back_client *self)
{
	uint16_t *at = &self->at;

	MACHINE_BEGIN(*at)
	for (;;) {
		if (++self->tries > TRIES)
			break;
		self->row = state->leads;
		STEP(*at);
		self->mark = state->mark[self->row];
		STEP(*at);
		if (self->mark & FROZEN)
			continue;
		if (self->mark != UNSET)
			return false; /* it would take here, or be refused */
		if (state->rule == BACK_BLIND) {
			state->mark[THERE] |= FROZEN;
			self->mark = state->mark[THERE];
			STEP(*at);
		}
		while (state->rule != BACK_BLIND) {
			self->mark = state->mark[THERE];
			STEP(*at);
			if (self->mark & FROZEN || state->mark[ROW] != UNSET)
				break;
			STEP(*at);
			if (state->mark[THERE] == self->mark) {
				state->mark[THERE] |= FROZEN;
				break;
			}
			STEP(*at);
		}
		STEP(*at);
		if (state->mark[ROW] == UNSET)
			state->mark[ROW] = (uint8_t)(self->mark & ~FROZEN);
		STEP(*at);
	}
	MACHINE_END;
}

static bool back_step(void *data, unsigned machine)
{
	struct back_state *state = data;

	return machine == 0 ? back_publisher(state)
			    : back_client(state, &state->clients[machine - 1]);
}

/* Everybody at rest: a mark that is frozen where the name leads is frozen for good. */
static const char *back_wrong_at_end(const void *data)
{
	const struct back_state *state = data;

	return state->mark[state->leads] & FROZEN ? "the name leads to a frozen mark, for ever"
						  : NULL;
}

static void back_begin(struct back_state *state, enum back_rule rule)
{
	state->rule = (uint8_t)rule;
	state->mark[THERE] = START + 1;
}

static void begin_back_blind(void *state)
{
	back_begin(state, BACK_BLIND);
}

static void begin_back_exchange(void *state)
{
	back_begin(state, BACK_EXCHANGE);
}

static void begin_back_exchange_same(void *state)
{
	back_begin(state, BACK_EXCHANGE_SAME);
}

static const char *back_machine(unsigned machine)
{
	static const char *const names[] = {"publisher", "client1", "client2"};

	return names[machine];
}

static struct model back_model(const char *name, void (*begin)(void *))
{
	return (struct model){.name = name,
			      .bytes = sizeof(struct back_state),
			      .machines = 1 + CLIENTS,
			      .dead = 0,
			      .alone = 60,
			      .begin = begin,
			      .step = back_step,
			      .wrong_at_end = back_wrong_at_end,
			      .machine_name = back_machine};
}

static void test_there_and_back(void **state)
{
	const struct model right =
		back_model("move back: frozen by exchange, thawed beyond", begin_back_exchange);
	const struct model blind =
		back_model("move back: frozen by whoever comes late", begin_back_blind);
	const struct model same =
		back_model("move back: thawed as it was before", begin_back_exchange_same);

	(void)state;
	expect_right(&right);
	expect_wrong(&blind);
	expect_wrong(&same);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_move),
		cmocka_unit_test(test_there_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
