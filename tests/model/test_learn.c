/* SPDX-License-Identifier: Apache-2.0
 *
 * A burst that is learned (rules_learn() in lib/rules_learn.c): the mark is charged before a line
 * with a larger burst is published, and V is lifted with one that has a smaller burst, so that the
 * level is what it was. One publisher, two takers, a clock; each can be killed between any two
 * steps. The publication itself is one step: test_publish.c takes it apart.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "explore.h"

enum {
	TICKS = 2,
	TAKERS = 2,
	TAKES = 2,
	LINES = 3, /* published one after the other */
	START = 8, /* V at the beginning */
};

/* Which bursts follow each other; the first one is in force at the beginning. */
struct course {
	uint8_t bursts[LINES];
	uint8_t used; /* of the first */
};

enum rule {
	AS_BUILT,
	LINE_FIRST, /* published, and then the mark is charged */
	NO_CHARGE,  /* a larger burst finds the mark as it was */
	NO_LIFT,    /* a smaller one finds V as it was */
	LIFT_ALONE, /* V is lifted before the burst is smaller */
};

struct line {
	uint8_t burst;
	uint8_t lift; /* of V, in all */
};

struct learn {
	uint8_t rule;
	struct course course;
	uint8_t ticks; /* each mints one */
	uint8_t generation;
	struct line lines[2 * LINES];
	uint8_t mark;
	struct {
		uint16_t at;
		uint8_t next;
		uint8_t ticks;
		uint8_t mark;
		bool ended;
	} publisher;
	struct taker {
		uint16_t at;
		uint8_t takes;
		uint8_t generation;
		uint8_t ticks;
		uint8_t mark;
	} takers[TAKERS];
	/* for the checks alone */
	uint8_t granted;
	uint8_t level; /* what there would be, had each change been one step */
};

static const struct line *line_now(const struct learn *learn)
{
	return &learn->lines[learn->generation];
}

static uint8_t v_of(const struct line *line, uint8_t ticks)
{
	return (uint8_t)(START + line->lift + ticks);
}

static uint8_t ahead_of(uint8_t mark, uint8_t v)
{
	return mark > v ? (uint8_t)(mark - v) : 0;
}

static uint8_t least(uint8_t a, uint8_t b)
{
	return a < b ? a : b;
}

static void publish(struct learn *learn, uint8_t burst, uint8_t lift)
{
	const struct line before = *line_now(learn);

	learn->lines[++learn->generation] = (struct line){burst, (uint8_t)(before.lift + lift)};
	learn->level = least(learn->level, burst);
}

/* Charges what the next burst has more, or less; the exchange fails where a taker was faster. */
static bool charge(struct learn *learn, uint8_t more)
{
	uint8_t v = v_of(line_now(learn), learn->publisher.ticks);

	if (learn->mark != learn->publisher.mark)
		return false;
	learn->mark = (uint8_t)(v + ahead_of(learn->mark, v) + more);
	return true;
}

static bool publisher_step(struct learn *learn)
{
	uint16_t *at = &learn->publisher.at;
	uint8_t burst = learn->course.bursts[learn->publisher.next];
	uint8_t before =
		learn->course.bursts[learn->publisher.next ? learn->publisher.next - 1 : 0];
	uint8_t more = burst > before ? (uint8_t)(burst - before) : 0;
	uint8_t fewer = burst < before ? (uint8_t)(before - burst) : 0;

	MACHINE_BEGIN(*at)
	for (learn->publisher.next = 1; learn->publisher.next < LINES; learn->publisher.next++) {
		STEP(*at);
		if (learn->rule == LINE_FIRST && more) {
			publish(learn, burst, 0);
			STEP(*at);
		}
		if (learn->rule == LIFT_ALONE && fewer) {
			publish(learn, before, fewer);
			STEP(*at);
		}
		while (more && learn->rule != NO_CHARGE) {
			learn->publisher.ticks = learn->ticks;
			STEP(*at);
			learn->publisher.mark = learn->mark;
			STEP(*at);
			if (charge(learn, more))
				break;
			STEP(*at);
		}
		STEP(*at);
		if (learn->rule == LIFT_ALONE && fewer)
			publish(learn, burst, 0);
		else if (learn->rule != LINE_FIRST || !more)
			publish(learn, burst, learn->rule == NO_LIFT ? 0 : fewer);
	}
	learn->publisher.ended = true;
	MACHINE_END;
}

static void take(struct learn *learn, struct taker *self)
{
	const struct line *line = &learn->lines[self->generation];
	uint8_t v = v_of(line, self->ticks);

	if (learn->mark != self->mark || ahead_of(self->mark, v) + 1 > line->burst)
		return;
	learn->mark = (uint8_t)(v + ahead_of(self->mark, v) + 1);
	learn->granted++;
	if (learn->level)
		learn->level--;
	self->takes++;
}

/* As bucket_take(): the line with its time, then the mark, then the exchange. */
static bool taker_step(struct learn *learn, struct taker *self)
{
	uint16_t *at = &self->at;

	MACHINE_BEGIN(*at)
	while (self->takes < TAKES) {
		do {
			self->generation = learn->generation;
			STEP(*at);
			self->ticks = learn->ticks;
			STEP(*at);
		} while (self->generation != learn->generation);
		self->mark = learn->mark;
		STEP(*at);
		take(learn, self);
		STEP(*at);
		if (learn->ticks == TICKS && learn->publisher.ended)
			break; /* it may be refused for ever */
	}
	MACHINE_END;
}

static bool clock_step(struct learn *learn)
{
	if (learn->level < line_now(learn)->burst)
		learn->level++;
	return ++learn->ticks < TICKS;
}

static bool learn_step(void *state, unsigned machine)
{
	struct learn *learn = state;

	return machine == 0   ? clock_step(learn)
	       : machine == 1 ? publisher_step(learn)
			      : taker_step(learn, &learn->takers[machine - 2]);
}

/* A change of burst grants nothing: what was there, and what was minted. */
static const char *learn_wrong(const void *state)
{
	const struct learn *learn = state;
	uint8_t there = (uint8_t)(learn->course.bursts[0] - learn->course.used);

	return learn->granted > there + learn->ticks ? "more was granted than there was" : NULL;
}

/* And takes nothing away, unless the publisher was killed half-way. */
static const char *learn_wrong_at_end(const void *state)
{
	const struct learn *learn = state;
	const struct line *line = line_now(learn);
	uint8_t ahead = ahead_of(learn->mark, v_of(line, learn->ticks));

	if (!learn->publisher.ended || line->burst >= ahead + learn->level)
		return NULL;
	return "less is left than there would be";
}

static void begin_with(struct learn *learn, enum rule rule, const struct course *course)
{
	learn->rule = (uint8_t)rule;
	learn->course = *course;
	learn->lines[0].burst = course->bursts[0];
	learn->mark = (uint8_t)(START + course->used);
	learn->level = (uint8_t)(course->bursts[0] - course->used);
}

static const struct course larger = {{2, 3, 3}, 1};
static const struct course smaller = {{3, 1, 1}, 1};
static const struct course both_ways = {{2, 3, 1}, 0};

#define BEGIN(name, rule, course)                                                                  \
	static void name(void *state)                                                              \
	{                                                                                          \
		begin_with(state, rule, &(course));                                                \
	}

BEGIN(begin_larger, AS_BUILT, larger)
BEGIN(begin_smaller, AS_BUILT, smaller)
BEGIN(begin_both_ways, AS_BUILT, both_ways)
BEGIN(begin_line_first, LINE_FIRST, larger)
BEGIN(begin_no_charge, NO_CHARGE, larger)
BEGIN(begin_no_lift, NO_LIFT, smaller)
BEGIN(begin_lift_alone, LIFT_ALONE, smaller)

static const char *learn_machine(unsigned machine)
{
	static const char *const names[] = {"clock", "publisher", "taker1", "taker2"};

	return names[machine];
}

static struct model learn_model(const char *name, void (*begin)(void *))
{
	return (struct model){.name = name,
			      .bytes = sizeof(struct learn),
			      .machines = 2 + TAKERS,
			      .dead = 2 + TAKERS,
			      .begin = begin,
			      .step = learn_step,
			      .wrong = learn_wrong,
			      .wrong_at_end = learn_wrong_at_end,
			      .machine_name = learn_machine};
}

static void test_level_stays(void **state)
{
	const struct model right[] = {
		learn_model("learn: a larger burst", begin_larger),
		learn_model("learn: a smaller burst", begin_smaller),
		learn_model("learn: a larger one, then a smaller one", begin_both_ways),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++)
		expect_right(&right[i]);
}

static void test_other_orders(void **state)
{
	const struct model broken[] = {
		learn_model("learn: the line first, then the mark", begin_line_first),
		learn_model("learn: a larger burst, the mark as it was", begin_no_charge),
		learn_model("learn: a smaller burst, V as it was", begin_no_lift),
		learn_model("learn: V first, then the smaller burst", begin_lift_alone),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
		expect_wrong(&broken[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_level_stays),
		cmocka_unit_test(test_other_orders),
	};

	return cmocka_run_group_tests_name("learn", tests, NULL, NULL);
}
