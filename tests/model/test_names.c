/* SPDX-License-Identifier: Apache-2.0
 *
 * The insert-only table of names (lib/names.c): two processes that meet one new name get one
 * slot, whoever else inserts or dies.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "explore.h"

enum { SLOTS = 3, INSERTERS = 4, NO_SLOT = 0xff };

enum claim_rule {
	CLAIM_COMPARE, /* by exchange; who loses compares what is there now */
	CLAIM_STORE,   /* look, then store */
	CLAIM_NEXT,    /* by exchange; who loses goes on to the next slot */
};

struct names_state {
	uint8_t rule;
	uint8_t hashes[SLOTS]; /* 0: free */
	struct inserter {
		uint16_t at;
		uint8_t hash;
		uint8_t step;
		uint8_t found;
		uint8_t slot;
		bool ended;
	} inserters[INSERTERS];
};

static uint8_t slot_of(const struct inserter *self)
{
	return (uint8_t)((self->hash + self->step) % SLOTS);
}

/* One access that claims a free slot: what was there before. */
static uint8_t claim(struct names_state *state, const struct inserter *self)
{
	uint8_t *hash = &state->hashes[slot_of(self)];
	uint8_t before = *hash;

	if (before == 0 || state->rule == CLAIM_STORE)
		*hash = self->hash;
	return state->rule == CLAIM_STORE ? 0 : before;
}

static bool inserter_step(struct names_state *state, struct inserter *self)
{
	uint16_t *at = &self->at;

	MACHINE_BEGIN(*at)
	for (; self->step < SLOTS; self->step++) {
		self->found = state->hashes[slot_of(self)];
		STEP(*at);
		if (self->found == 0) {
			self->found = claim(state, self);
			if (self->found == 0)
				break;
			STEP(*at);
			if (state->rule == CLAIM_NEXT)
				continue;
		}
		if (self->found == self->hash)
			break;
	}
	self->slot = self->step < SLOTS ? slot_of(self) : NO_SLOT;
	self->ended = true;
	MACHINE_END;
}

static bool names_step(void *data, unsigned machine)
{
	struct names_state *state = data;

	return inserter_step(state, &state->inserters[machine]);
}

static const char *names_wrong(const void *data)
{
	const struct names_state *state = data;

	for (int i = 0; i < SLOTS; i++)
		for (int j = 0; j < i; j++)
			if (state->hashes[i] && state->hashes[i] == state->hashes[j])
				return "a name has two slots";
	for (int i = 0; i < INSERTERS; i++) {
		const struct inserter *self = &state->inserters[i];

		if (!self->ended)
			continue;
		if (self->slot != NO_SLOT && state->hashes[self->slot] != self->hash)
			return "an inserter holds another name's slot";
		for (int j = 0; j < i; j++)
			if (state->inserters[j].ended && state->inserters[j].hash == self->hash &&
			    state->inserters[j].slot != self->slot)
				return "two inserters of one name hold different slots";
	}
	return NULL;
}

/* Hashes 3 and 6 share their first slot, 4 begins at the next: all of them may collide. */
static void names_begin(struct names_state *state, enum claim_rule rule, uint8_t fourth)
{
	const uint8_t hashes[INSERTERS] = {3, 3, 6, fourth};

	state->rule = (uint8_t)rule;
	for (int i = 0; i < INSERTERS; i++)
		state->inserters[i].hash = hashes[i];
}

static void begin_compare(void *state)
{
	names_begin(state, CLAIM_COMPARE, 4);
}

static void begin_compare_twice(void *state)
{
	names_begin(state, CLAIM_COMPARE, 6);
}

/* One slot is taken: three names for two slots. */
static void begin_compare_full(void *state)
{
	struct names_state *names = state;

	names_begin(names, CLAIM_COMPARE, 4);
	names->hashes[2] = 5;
}

static void begin_store(void *state)
{
	names_begin(state, CLAIM_STORE, 4);
}

static void begin_next(void *state)
{
	names_begin(state, CLAIM_NEXT, 4);
}

static struct model names_model(const char *name, void (*begin)(void *))
{
	return (struct model){.name = name,
			      .bytes = sizeof(struct names_state),
			      .machines = INSERTERS,
			      .dead = INSERTERS,
			      .alone = 4 * SLOTS,
			      .begin = begin,
			      .step = names_step,
			      .wrong = names_wrong};
}

static void test_names(void **state)
{
	const struct model right[] = {
		names_model("names: one twice, two others", begin_compare),
		names_model("names: two, each twice", begin_compare_twice),
		names_model("names: more than there are slots", begin_compare_full),
	};
	const struct model broken[] = {
		names_model("names: look, then store", begin_store),
		names_model("names: a lost race goes on to the next slot", begin_next),
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
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
