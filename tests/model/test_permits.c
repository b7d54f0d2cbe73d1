/* SPDX-License-Identifier: Apache-2.0
 *
 * Permits (lib/permits.c, permit_chain.c): taking, reaping, releasing and using again one word; and
 * a limit that is lowered under those who take. Each with the variants that do not work. The line
 * of those who wait: test_permit_line.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "explore.h"

/* ---- one permit: a process that releases twice, its other thread, a dead owner, a reaper ---- */

enum word_rule {
	WORD_AS_BUILT,
	WORD_WITHOUT_COUNT,   /* the word is the owner alone */
	WORD_REAPED_BY_TEST,  /* whoever reaps only tests the lock, and looks at the word then */
	WORD_JOINED_UNREAPED, /* who joins in a dead one's slot does not give back what that held */
};

enum { DEAD_SLOT = 1, LIVE_SLOT = 2 };
enum { TWICE, OTHER, JOINER, WORD_REAPER, WORD_MACHINES };

struct word {
	uint8_t owner; /* slot; 0: free */
	uint8_t count;
};

struct word_state {
	uint8_t rule;
	struct word permit;
	bool marked;  /* the dead one's slot */
	uint8_t lock; /* of it: machine + 1; 0: nobody, its owner is dead */
	struct taker {
		uint16_t at;
		struct word seen;
		struct word mine;
		bool inside;
		bool lost;
		uint8_t tries;
	} takers[WORD_MACHINES];
};

static bool same_word(const struct word_state *state, struct word a, struct word b)
{
	return a.owner == b.owner && (state->rule == WORD_WITHOUT_COUNT || a.count == b.count);
}

static bool exchange(struct word_state *state, struct word seen, struct word next)
{
	if (!same_word(state, state->permit, seen))
		return false;
	state->permit = next;
	return true;
}

static bool give_back(struct word_state *state, struct word mine)
{
	return exchange(state, mine, (struct word){0, mine.count});
}

/* The look and the exchange, in two steps; `again` looks are made. */
static bool try_take(struct word_state *state, struct taker *self, uint8_t slot)
{
	struct word next = {slot, (uint8_t)(self->seen.count + 1)};

	if (self->seen.owner != 0 || !exchange(state, self->seen, next))
		return false;
	self->mine = next;
	self->inside = true;
	return true;
}

static bool twice_step(struct word_state *state, struct taker *self)
{
	uint16_t *at = &self->at;

	MACHINE_BEGIN(*at)
	for (self->tries = 0; self->tries < 2; self->tries++) {
		self->seen = state->permit;
		STEP(*at);
		if (try_take(state, self, LIVE_SLOT))
			break;
		STEP(*at);
	}
	if (!self->inside)
		return false;
	STEP(*at);
	self->inside = false;
	give_back(state, self->mine);
	STEP(*at);
	give_back(state, self->mine);
	MACHINE_END;
}

static bool other_step(struct word_state *state, struct taker *self)
{
	uint16_t *at = &self->at;

	MACHINE_BEGIN(*at)
	for (self->tries = 0; self->tries < 2; self->tries++) {
		self->seen = state->permit;
		STEP(*at);
		if (try_take(state, self, LIVE_SLOT))
			break;
		STEP(*at);
	}
	if (!self->inside)
		return false;
	STEP(*at);
	self->inside = false;
	self->lost = !give_back(state, self->mine);
	MACHINE_END;
}

/* A new process in the dead one's slot; it takes the permit and keeps it. */
static bool joiner_step(struct word_state *state, struct taker *self)
{
	uint16_t *at = &self->at;

	MACHINE_BEGIN(*at)
	if (state->lock)
		return false;
	state->lock = JOINER + 1;
	STEP(*at);
	if (state->marked && state->rule != WORD_JOINED_UNREAPED) {
		self->seen = state->permit;
		STEP(*at);
		if (self->seen.owner == DEAD_SLOT)
			give_back(state, self->seen);
		STEP(*at);
	}
	state->marked = true;
	for (self->tries = 0; self->tries < 2; self->tries++) {
		STEP(*at);
		self->seen = state->permit;
		STEP(*at);
		if (try_take(state, self, DEAD_SLOT))
			break;
	}
	MACHINE_END;
}

static bool word_reaper_step(struct word_state *state, struct taker *self)
{
	uint16_t *at = &self->at;

	MACHINE_BEGIN(*at)
	if (!state->marked)
		return false;
	STEP(*at);
	if (state->lock)
		return false;
	if (state->rule != WORD_REAPED_BY_TEST)
		state->lock = WORD_REAPER + 1;
	STEP(*at);
	if (!state->marked)
		goto done;
	self->seen = state->permit;
	STEP(*at);
	if (self->seen.owner == DEAD_SLOT)
		give_back(state, self->seen);
	STEP(*at);
	state->marked = false;
done:
	STEP(*at);
	if (state->lock == WORD_REAPER + 1)
		state->lock = 0;
	MACHINE_END;
}

static bool word_step(void *data, unsigned machine)
{
	struct word_state *state = data;
	struct taker *self = &state->takers[machine];

	switch (machine) {
	case TWICE:
		return twice_step(state, self);
	case OTHER:
		return other_step(state, self);
	case JOINER:
		return joiner_step(state, self);
	default:
		return word_reaper_step(state, self);
	}
}

static const char *word_wrong(const void *data)
{
	const struct word_state *state = data;
	unsigned inside = 0;

	for (unsigned i = 0; i < WORD_MACHINES; i++) {
		const struct taker *taker = &state->takers[i];

		inside += taker->inside;
		if (taker->inside && !same_word(state, state->permit, taker->mine))
			return "a living owner has lost its permit";
		if (taker->lost)
			return "a release by the owner missed";
	}
	return inside > 1 ? "one permit, and two are inside" : NULL;
}

static const char *word_wrong_at_end(const void *data)
{
	const struct word_state *state = data;
	bool held = state->takers[JOINER].inside;

	return state->permit.owner && !held ? "nobody has the permit, and it is not free" : NULL;
}

static void word_begin(struct word_state *state, enum word_rule rule)
{
	state->rule = (uint8_t)rule;
	state->permit = (struct word){DEAD_SLOT, 1};
	state->marked = true;
}

static void begin_word(void *state)
{
	word_begin(state, WORD_AS_BUILT);
}

static void begin_without_count(void *state)
{
	word_begin(state, WORD_WITHOUT_COUNT);
}

static void begin_reaped_by_test(void *state)
{
	word_begin(state, WORD_REAPED_BY_TEST);
}

static void begin_joined_unreaped(void *state)
{
	word_begin(state, WORD_JOINED_UNREAPED);
}

static const char *word_machine(unsigned machine)
{
	static const char *const names[] = {"twice", "other", "joiner", "reaper"};

	return names[machine];
}

static struct model word_model(const char *name, void (*begin)(void *))
{
	return (struct model){.name = name,
			      .bytes = sizeof(struct word_state),
			      .machines = WORD_MACHINES,
			      .dead = 0,
			      .begin = begin,
			      .step = word_step,
			      .wrong = word_wrong,
			      .wrong_at_end = word_wrong_at_end,
			      .machine_name = word_machine};
}

static void test_word(void **state)
{
	const struct model right = word_model("permit: released twice, reaped", begin_word);
	const struct model broken[] = {
		word_model("permit: takes are not counted", begin_without_count),
		word_model("permit: reaped by testing the lock", begin_reaped_by_test),
		word_model("permit: joined without reaping", begin_joined_unreaped),
	};

	(void)state;
	expect_right(&right);
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
		expect_wrong(&broken[i]);
}

/* ---- a limit that is lowered from two to one, and who takes meanwhile ---- */

enum limit_rule {
	LIMIT_AS_BUILT,
	LIMIT_NO_SECOND_LOOK, /* at the limit, after the take */
	LIMIT_NO_LOOK_ABOVE,  /* for a permit above it that is held */
};

enum { TAKERS = 3, PUBLISHER = TAKERS, LIMIT_MACHINES };

struct limit_state {
	uint8_t rule;
	uint8_t limit;	   /* 2, then 1 */
	uint8_t permit[2]; /* taker + 1; 0: free */
	struct limited {
		uint16_t at;
		uint8_t limit; /* that it goes by */
		uint8_t tries;
		uint8_t slot;
		bool above; /* it saw one held above the limit */
		bool first; /* it saw the first one free */
		bool inside;
	} takers[TAKERS];
	uint16_t publisher;
};

static bool limited_step(struct limit_state *state, unsigned machine)
{
	struct limited *self = &state->takers[machine];
	uint16_t *at = &self->at;

	MACHINE_BEGIN(*at)
	for (self->tries = 0; self->tries < 2; self->tries++) {
		self->limit = state->limit;
		STEP(*at);
		self->first = state->permit[0] == 0;
		STEP(*at);
		self->above = state->permit[1] != 0;
		self->slot = self->first ? 0 : 1;
		if (self->limit == 1 && state->rule == LIMIT_NO_LOOK_ABOVE)
			self->above = false;
		if (self->limit == 1 && (self->above || !self->first))
			break;
		if (self->limit == 2 && !self->first && self->above)
			break;
		STEP(*at);
		if (state->permit[self->slot])
			continue;
		state->permit[self->slot] = (uint8_t)(machine + 1);
		STEP(*at);
		if (state->rule == LIMIT_NO_SECOND_LOOK || state->limit == self->limit) {
			self->inside = true;
			break;
		}
		STEP(*at);
		state->permit[self->slot] = 0;
		STEP(*at);
	}
	/* the last one keeps it, so that there is somebody inside at the end */
	if (!self->inside || machine == TAKERS - 1)
		return false;
	STEP(*at);
	self->inside = false;
	state->permit[self->slot] = 0;
	MACHINE_END;
}

static bool limit_step(void *data, unsigned machine)
{
	struct limit_state *state = data;

	if (machine != PUBLISHER)
		return limited_step(state, machine);
	state->limit = 1;
	return false;
}

/* Who came in by the new limit is alone, as far as those are concerned who came in by it or later.
 */
static const char *limit_wrong(const void *data)
{
	const struct limit_state *state = data;
	unsigned inside = 0;
	bool by_new = false;

	for (unsigned i = 0; i < TAKERS; i++) {
		inside += state->takers[i].inside;
		by_new |= state->takers[i].inside && state->takers[i].limit == 1;
	}
	return by_new && inside > 1 ? "one more than the lowered limit" : NULL;
}

static void begin_limit(void *state)
{
	((struct limit_state *)state)->limit = 2;
}

static void begin_no_second_look(void *state)
{
	begin_limit(state);
	((struct limit_state *)state)->rule = LIMIT_NO_SECOND_LOOK;
}

static void begin_no_look_above(void *state)
{
	begin_limit(state);
	((struct limit_state *)state)->rule = LIMIT_NO_LOOK_ABOVE;
}

static struct model limit_model(const char *name, void (*begin)(void *))
{
	return (struct model){.name = name,
			      .bytes = sizeof(struct limit_state),
			      .machines = LIMIT_MACHINES,
			      .dead = 1,
			      .begin = begin,
			      .step = limit_step,
			      .wrong = limit_wrong};
}

static void test_limit(void **state)
{
	const struct model right = limit_model("limit: lowered", begin_limit);
	const struct model broken[] = {
		limit_model("limit: no second look", begin_no_second_look),
		limit_model("limit: no look above", begin_no_look_above),
	};

	(void)state;
	expect_right(&right);
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
		expect_wrong(&broken[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_word),
		cmocka_unit_test(test_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
