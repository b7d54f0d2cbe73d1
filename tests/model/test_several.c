/* SPDX-License-Identifier: Apache-2.0
 *
 * Several buckets, all or nothing (client/several.c). The clock stands still, every bucket has room
 * for one or two, and callers want one token of each of some buckets. What is shown: in the order
 * of the buckets, somebody who contends is admitted; in an order of the callers' own, nobody may
 * be. What a refused caller took comes back, but for what others have queued behind; that is
 * bounded by what it took. A caller that dies leaves spent what it held, and nobody is stuck.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "explore.h"

enum { BUCKETS = 3, CALLERS = 3, NOBODY = 0xff };

/* What a machine is. */
enum several_kind {
	SEVERAL_CALLER = 1,
	SEVERAL_QUEUER, /* takes a place beyond the burst, in bucket 0, and keeps it */
};

struct several_state {
	uint8_t room; /* burst of every bucket */
	uint8_t mark[BUCKETS];
	bool looks; /* before taking */
	struct caller {
		uint16_t at;
		uint8_t kind;
		uint8_t wants[BUCKETS]; /* in the order of taking; NOBODY: no more */
		uint8_t position[BUCKETS];
		uint8_t next;
		uint8_t held; /* tokens that it has taken and not given back */
		uint8_t seen;
		bool admitted;
		bool refused;
	} callers[CALLERS];
};

static uint8_t *bucket_of(struct several_state *state, const struct caller *self, unsigned want)
{
	return &state->mark[self->wants[want]];
}

static bool wants_more(const struct caller *self)
{
	return self->next < BUCKETS && self->wants[self->next] != NOBODY;
}

/* The rule of bucket_give_back() for one token, V being 0. */
static bool may_go_back(const struct several_state *state, const struct caller *self)
{
	return self->seen <= state->room || self->seen == self->position[self->next];
}

static bool caller_step(struct several_state *state, struct caller *self)
{
	uint16_t *at = &self->at;

	MACHINE_BEGIN(*at)
	for (self->next = 0; state->looks && wants_more(self); self->next++) {
		self->seen = *bucket_of(state, self, self->next);
		self->refused |= self->seen + 1 > state->room;
		STEP(*at);
	}
	if (self->refused)
		return false;
	for (self->next = 0; wants_more(self);) {
		self->seen = *bucket_of(state, self, self->next);
		STEP(*at);
		if (self->seen + 1 > state->room) {
			self->refused = true;
			break;
		}
		if (*bucket_of(state, self, self->next) != self->seen) {
			STEP(*at);
			continue;
		}
		*bucket_of(state, self, self->next) = (uint8_t)(self->seen + 1);
		self->position[self->next++] = (uint8_t)(self->seen + 1);
		self->held++;
		STEP(*at);
	}
	self->admitted = !self->refused;
	while (self->refused && self->next > 0) {
		self->next--;
		do {
			self->seen = *bucket_of(state, self, self->next);
			STEP(*at);
			if (!may_go_back(state, self))
				break;
			if (*bucket_of(state, self, self->next) == self->seen) {
				*bucket_of(state, self, self->next) = (uint8_t)(self->seen - 1);
				self->seen = NOBODY;
				self->held--;
			}
			STEP(*at);
		} while (self->seen != NOBODY);
	}
	MACHINE_END;
}

static bool queuer_step(struct several_state *state, struct caller *self)
{
	uint16_t *at = &self->at;

	MACHINE_BEGIN(*at)
	do {
		self->seen = state->mark[0];
		STEP(*at);
		self->admitted = state->mark[0] == self->seen;
		state->mark[0] = (uint8_t)(state->mark[0] + self->admitted);
		STEP(*at);
	} while (!self->admitted);
	MACHINE_END;
}

static bool several_step(void *context, unsigned machine)
{
	struct several_state *state = context;
	struct caller *self = &state->callers[machine];

	switch (self->kind) {
	case SEVERAL_CALLER:
		return caller_step(state, self);
	case SEVERAL_QUEUER:
		return queuer_step(state, self);
	default:
		return false;
	}
}

/* ---- what must hold ---- */

static bool has(const struct caller *caller, unsigned bucket)
{
	if (caller->kind == SEVERAL_QUEUER)
		return bucket == 0;
	for (unsigned i = 0; i < BUCKETS && caller->wants[i] != NOBODY; i++)
		if (caller->wants[i] == bucket)
			return true;
	return false;
}

/* Admitted, and therefore spoken for. */
static unsigned spent(const struct several_state *state, unsigned bucket)
{
	unsigned count = 0;

	for (unsigned i = 0; i < CALLERS; i++)
		count += state->callers[i].admitted && has(&state->callers[i], bucket);
	return count;
}

static unsigned queued(const struct several_state *state)
{
	unsigned count = 0;

	for (unsigned i = 0; i < CALLERS; i++)
		count += state->callers[i].kind == SEVERAL_QUEUER && state->callers[i].admitted;
	return count;
}

/* In any state, the dead and the stopped included. */
static const char *several_wrong(const void *context)
{
	const struct several_state *state = context;

	for (unsigned i = 0; i < BUCKETS; i++) {
		if (spent(state, i) > state->room + queued(state))
			return "more was granted than there was";
		if (state->mark[i] < spent(state, i))
			return "something was granted that is charged to nobody";
	}
	return NULL;
}

static const char *everything_is_back(const void *context)
{
	const struct several_state *state = context;

	for (unsigned i = 0; i < BUCKETS; i++)
		if (state->mark[i] != spent(state, i))
			return "a refused call has paid";
	return NULL;
}

static const char *somebody_is_admitted(const void *context)
{
	const struct several_state *state = context;

	for (unsigned i = 0; i < CALLERS; i++)
		if (state->callers[i].admitted)
			return everything_is_back(context);
	return "nobody was admitted, though one fits";
}

/* What is charged to nobody who was admitted is what somebody took before it was refused or died.
 */
static const char *loss_is_bounded(const void *context)
{
	const struct several_state *state = context;
	unsigned held = 0;
	unsigned lost = 0;

	for (unsigned i = 0; i < CALLERS; i++)
		held += state->callers[i].admitted ? 0 : state->callers[i].held;
	for (unsigned i = 0; i < BUCKETS; i++)
		lost += state->mark[i] - spent(state, i);
	return lost != held ? "more or less is lost than was taken" : NULL;
}

/* ---- scenes ---- */

static void add(struct several_state *state, unsigned index, uint8_t first, uint8_t second)
{
	state->callers[index] = (struct caller){
		.kind = SEVERAL_CALLER,
		.wants = {first, second, NOBODY},
	};
}

static void begin_own_order(void *context)
{
	struct several_state *state = context;

	state->room = 1;
	add(state, 0, 0, 1);
	add(state, 1, 1, 0);
}

static void begin_index_order(void *context)
{
	begin_own_order(context);
	add(context, 1, 0, 1);
}

static void begin_index_order_looking(void *context)
{
	begin_index_order(context);
	((struct several_state *)context)->looks = true;
}

static void begin_own_order_looking(void *context)
{
	begin_own_order(context);
	((struct several_state *)context)->looks = true;
}

/* Each two of them want one bucket in common. */
static void begin_ring(void *context)
{
	struct several_state *state = context;

	state->room = 1;
	state->looks = true;
	add(state, 0, 0, 1);
	add(state, 1, 1, 2);
	add(state, 2, 0, 2);
}

static void begin_ring_own_order(void *context)
{
	begin_ring(context);
	add(context, 2, 2, 0);
	((struct several_state *)context)->looks = false;
}

/* Bucket 1 has no room, and somebody queues in bucket 0 meanwhile. */
static void begin_queue(void *context)
{
	struct several_state *state = context;

	state->room = 1;
	state->mark[1] = 1;
	add(state, 0, 0, 1);
	state->callers[1].kind = SEVERAL_QUEUER;
	state->callers[2].kind = SEVERAL_QUEUER;
}

static const char *loss_in_queue(const void *context)
{
	struct several_state state = *(const struct several_state *)context;

	state.mark[1]--; /* not theirs */
	return loss_is_bounded(&state);
}

static const char *nothing_is_lost_in_queue(const void *context)
{
	struct several_state state = *(const struct several_state *)context;

	state.mark[1]--;
	return everything_is_back(&state);
}

static struct model several_model(const char *name, void (*begin)(void *),
				  const char *(*at_end)(const void *))
{
	return (struct model){.name = name,
			      .bytes = sizeof(struct several_state),
			      .machines = CALLERS,
			      .alone = 40,
			      .begin = begin,
			      .step = several_step,
			      .wrong = several_wrong,
			      .wrong_at_end = at_end};
}

static void test_order(void **state)
{
	const struct model right[] = {
		several_model("several: two, in the order of the buckets", begin_index_order,
			      somebody_is_admitted),
		several_model("several: the same, looking first", begin_index_order_looking,
			      somebody_is_admitted),
		several_model("several: a ring of three", begin_ring, somebody_is_admitted),
	};
	const struct model broken[] = {
		several_model("several: two, each in its own order", begin_own_order,
			      somebody_is_admitted),
		several_model("several: the same, looking first", begin_own_order_looking,
			      somebody_is_admitted),
		several_model("several: a ring, one in its own order", begin_ring_own_order,
			      somebody_is_admitted),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++)
		expect_right(&right[i]);
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
		expect_wrong(&broken[i]);
}

static void test_what_comes_back(void **state)
{
	struct model queue = several_model("several: others queue behind a refused call",
					   begin_queue, loss_in_queue);
	struct model all = several_model("several: the same, and all should come back", begin_queue,
					 nothing_is_lost_in_queue);

	(void)state;
	expect_right(&queue);
	expect_wrong(&all);
}

/* Any one caller dies anywhere: what it held is spent, and no more. */
static void test_deaths(void **state)
{
	struct model model =
		several_model("several: one of three dies", begin_ring, loss_is_bounded);

	(void)state;
	model.dead = 1;
	expect_right(&model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_what_comes_back),
		cmocka_unit_test(test_deaths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
