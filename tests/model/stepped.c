/* SPDX-License-Identifier: Apache-2.0 */
#include "stepped.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <cmocka.h>

#define STACK_BYTES (256u * 1024)
#define STEPS_MAX 1000	/* of one schedule; a machine that goes round more than that waits */
#define TRACE_STEPS 300 /* that are written down */
#define TRACE_BYTES (16u * 1024)
#define TEXTS 4096u /* of accesses; there are a quarter of that */

/* Who can go on at one point, the one that was running first, and who was chosen. */
struct decision {
	uint8_t options[STEPPED_MACHINES];
	uint8_t count;
	uint8_t chosen;
	uint8_t switches; /* before this one */
};

struct machine {
	ucontext_t context;
	char *stack;
	bool ended;
	const char *access; /* what it is about to do */
};

static struct scheduler {
	const struct stepped_test *test;
	ucontext_t context;
	struct machine machines[STEPPED_MACHINES];
	int current; /* -1: none runs */
	int running; /* who was chosen last; -1: nobody yet */
	unsigned switches;
	bool goes_on; /* the schedule; by `running` */
	const char *wrong;
	uint64_t steps;
	struct decision decisions[STEPS_MAX];
	unsigned depth;	 /* of this schedule so far */
	unsigned replay; /* decisions that are given */
	uint64_t chance; /* seed; 0: nothing is left to chance */
	unsigned seed;	 /* of what the test leaves to chance */
	bool traced;
	char *trace;
	size_t trace_used;
} scheduler = {.current = -1};

static void step_end(void);

static bool is_one_of(const char *access, const char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strncmp(access, list[i], strlen(list[i])) == 0)
			return true;
	return false;
}

/* Lines, clocks that stand still, and what belongs to one process alone. */
static bool is_quiet(const char *access)
{
	static const char *const quiet[] = {
		"&words->",
		"&copy->",
		"&from->",
		"&row->generation",
		"source->manual_",
		"&source->manual_",
		"source.manual_",
		"&weir->",
		"weir->fork_mark",
		"&binding->",
		"binding->fork_mark",
		"&endpoint->",
	};

	return is_one_of(access, quiet, sizeof(quiet) / sizeof(quiet[0]));
}

static bool is_quiet_to_read(const char *access)
{
	static const char *const quiet[] = {"&row->state", "&segment->rows[i].state"};

	return is_one_of(access, quiet, sizeof(quiet) / sizeof(quiet[0]));
}

enum step_kind {
	STEP_UNKNOWN,
	STEP_AT_ALL,
	STEP_IF_IT_WRITES,
	STEP_NEVER,
};

/* Texts are literals, so each is looked at once, and found again by its address. */
static enum step_kind kind_of(const char *access)
{
	static struct {
		const char *access;
		enum step_kind kind;
	} known[TEXTS];
	static unsigned count;
	size_t at = ((uintptr_t)access * 0x9e3779b97f4a7c15ull >> 32) % TEXTS;

	while (known[at].access && known[at].access != access)
		at = (at + 1) % TEXTS;
	if (known[at].kind != STEP_UNKNOWN)
		return known[at].kind;
	if (++count == TEXTS)
		abort();
	known[at].access = access;
	known[at].kind = is_quiet(access)	    ? STEP_NEVER
			 : is_quiet_to_read(access) ? STEP_IF_IT_WRITES
						    : STEP_AT_ALL;
	return known[at].kind;
}

/* Before an access: the step up to here ends, and somebody goes on; who was running, in place. */
static void step(const char *access)
{
	int self = scheduler.current;

	scheduler.machines[self].access = access;
	step_end();
	if (scheduler.goes_on && scheduler.running == self)
		scheduler.current = self;
	else
		swapcontext(&scheduler.machines[self].context, &scheduler.context);
}

static bool may_be_step(unsigned long bytes, memory_order order)
{
	return scheduler.current >= 0 && bytes >= 4 && order != memory_order_relaxed;
}

void stepped_write(const char *access, unsigned long bytes, memory_order order)
{
	if (may_be_step(bytes, order) && kind_of(access) != STEP_NEVER)
		step(access);
}

void stepped_read(const char *access, unsigned long bytes, memory_order order)
{
	if (may_be_step(bytes, order) && kind_of(access) == STEP_AT_ALL)
		step(access);
}

/* The body of each machine; its first step begins with its first access. */
static void machine_main(int index)
{
	struct machine *self = &scheduler.machines[index];

	scheduler.test->run[index](scheduler.test->context);
	self->ended = true;
	self->access = "ends";
	step_end();
	setcontext(&scheduler.context);
}

static void machine_start(int index)
{
	struct machine *self = &scheduler.machines[index];

	if (!self->stack)
		self->stack = malloc(STACK_BYTES);
	if (!self->stack || getcontext(&self->context) < 0)
		abort();
	self->ended = false;
	self->access = "begins";
	self->context.uc_stack.ss_sp = self->stack;
	self->context.uc_stack.ss_size = STACK_BYTES;
	self->context.uc_link = NULL;
	makecontext(&self->context, (void (*)(void))(uintptr_t)machine_main, 1, index);
}

/* ---- decisions ---- */

static void option_add(struct decision *decision, unsigned machine)
{
	if (!scheduler.machines[machine].ended)
		decision->options[decision->count++] = (uint8_t)machine;
}

/* The options at this point: to go on, and, while switches are left, everybody else. */
static void decision_make(struct decision *decision, int running, unsigned switches)
{
	bool goes_on = running >= 0 && !scheduler.machines[running].ended;

	*decision = (struct decision){.switches = (uint8_t)switches};
	if (goes_on)
		option_add(decision, (unsigned)running);
	if (goes_on && switches == scheduler.test->switches)
		return;
	for (unsigned i = 0; i < scheduler.test->machines; i++)
		if ((int)i != running)
			option_add(decision, i);
}

/* xorshift64*: the same schedules everywhere. */
static uint64_t chance_next(void)
{
	scheduler.chance ^= scheduler.chance >> 12;
	scheduler.chance ^= scheduler.chance << 25;
	scheduler.chance ^= scheduler.chance >> 27;
	return scheduler.chance * 0x2545f4914f6cdd1dull >> 32;
}

/* Goes on nineteen times of twenty, so that switches are spread over the whole schedule. */
static void decision_by_chance(struct decision *decision, int running)
{
	bool goes_on = decision->count && decision->options[0] == running;

	if (decision->count && (!goes_on || chance_next() % 20 == 0))
		decision->chosen = (uint8_t)(chance_next() % decision->count);
}

static unsigned switches_after(const struct decision *decision, int running)
{
	bool away = running >= 0 && !scheduler.machines[running].ended &&
		    decision->options[decision->chosen] != running;

	return decision->switches + away;
}

/* The next schedule: the last decision that has an option left takes it. false: none has. */
static bool schedule_next(void)
{
	while (scheduler.depth > 0) {
		struct decision *last = &scheduler.decisions[scheduler.depth - 1];

		if (last->chosen + 1 < last->count) {
			last->chosen++;
			scheduler.replay = scheduler.depth;
			return true;
		}
		scheduler.depth--;
	}
	return false;
}

static void trace_add(unsigned machine)
{
	int room = (int)(TRACE_BYTES - scheduler.trace_used);
	int used = snprintf(scheduler.trace + scheduler.trace_used, (size_t)room, "\t%-10s %s\n",
			    scheduler.test->machine_names[machine],
			    scheduler.machines[machine].access);

	if (used > 0 && used < room && scheduler.depth < TRACE_STEPS)
		scheduler.trace_used += (size_t)used;
}

/* Decides who runs next. false: nobody is left. */
static bool choose(void)
{
	struct decision *decision = &scheduler.decisions[scheduler.depth];

	if (scheduler.depth >= scheduler.replay) {
		decision_make(decision, scheduler.running, scheduler.switches);
		if (scheduler.chance)
			decision_by_chance(decision, scheduler.running);
	}
	if (decision->count == 0)
		return false;
	scheduler.switches = switches_after(decision, scheduler.running);
	scheduler.running = decision->options[decision->chosen];
	if (scheduler.traced)
		trace_add((unsigned)scheduler.running);
	return true;
}

/* What a step has left is looked at, and the next one chosen. */
static void step_end(void)
{
	const struct stepped_test *test = scheduler.test;

	scheduler.current = -1;
	scheduler.steps++;
	scheduler.wrong = test->wrong ? test->wrong(test->context) : NULL;
	scheduler.depth++;
	if (!scheduler.wrong && scheduler.depth == STEPS_MAX)
		scheduler.wrong = "a call goes round and round while another one stands still";
	scheduler.goes_on = !scheduler.wrong && choose();
}

/* One schedule: the given decisions, then each machine to its end. */
static const char *schedule_run(struct stepped_result *out)
{
	const struct stepped_test *test = scheduler.test;

	for (unsigned i = 0; i < test->machines; i++)
		machine_start((int)i);
	scheduler.depth = 0;
	scheduler.switches = 0;
	scheduler.running = -1;
	scheduler.wrong = NULL;
	scheduler.steps = 0;
	scheduler.goes_on = choose();
	while (scheduler.goes_on) {
		scheduler.current = scheduler.running;
		swapcontext(&scheduler.context, &scheduler.machines[scheduler.running].context);
	}
	out->steps += scheduler.steps;
	return !scheduler.wrong && test->at_end ? test->at_end(test->context) : scheduler.wrong;
}

static const char *schedule_try(struct stepped_result *out)
{
	const char *wrong;

	scheduler.test->begin(scheduler.test->context);
	wrong = schedule_run(out);
	scheduler.test->end(scheduler.test->context);
	return wrong;
}

/* The schedule that was wrong, once more, and written down. */
static char *trace_make(void)
{
	struct stepped_result ignored = {0};

	scheduler.trace = calloc(1, TRACE_BYTES);
	if (!scheduler.trace)
		abort();
	scheduler.trace_used = 0;
	scheduler.traced = true;
	scheduler.replay = scheduler.depth;
	schedule_try(&ignored);
	scheduler.traced = false;
	return scheduler.trace;
}

static void run_begin(const struct stepped_test *test, struct stepped_result *out, uint64_t chance)
{
	*out = (struct stepped_result){0};
	scheduler.test = test;
	scheduler.replay = 0;
	scheduler.chance = chance;
	scheduler.seed = 1;
}

unsigned stepped_seed(void)
{
	return scheduler.seed;
}

static void run_end(struct stepped_result *out)
{
	if (out->wrong)
		out->trace = trace_make();
	for (unsigned i = 0; i < STEPPED_MACHINES; i++) {
		free(scheduler.machines[i].stack);
		scheduler.machines[i].stack = NULL;
	}
}

void stepped_run(const struct stepped_test *test, struct stepped_result *out)
{
	run_begin(test, out, 0);
	do {
		out->wrong = schedule_try(out);
		out->schedules++;
	} while (!out->wrong && schedule_next());
	run_end(out);
}

void stepped_run_random(const struct stepped_test *test, uint64_t schedules,
			struct stepped_result *out)
{
	run_begin(test, out, 1);
	for (uint64_t i = 0; i < schedules && !out->wrong; i++) {
		scheduler.replay = 0;
		scheduler.seed = (unsigned)i + 1;
		out->wrong = schedule_try(out);
		out->schedules++;
	}
	run_end(out);
}

static void expect_right(const struct stepped_test *test, struct stepped_result *result)
{
	printf("code: %-50s %8llu schedules %9llu steps\n", test->name,
	       (unsigned long long)result->schedules, (unsigned long long)result->steps);
	if (result->wrong)
		printf("%s:\n%s", result->wrong, result->trace);
	fflush(stdout);
	free(result->trace);
	if (result->wrong)
		fail_msg("%s: %s", test->name, result->wrong);
	assert_true(result->schedules > 1);
}

void stepped_expect_right(const struct stepped_test *test)
{
	struct stepped_result result;

	stepped_run(test, &result);
	expect_right(test, &result);
}

void stepped_expect_right_at_random(const struct stepped_test *test, uint64_t schedules)
{
	struct stepped_result result;

	stepped_run_random(test, schedules, &result);
	expect_right(test, &result);
}
