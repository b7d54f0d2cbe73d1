/* SPDX-License-Identifier: Apache-2.0
 *
 * A client is killed after every instruction of a call for a key: of an insertion into a free slot,
 * over a bucket that is full, over a debt, of a take, of giving back, filling, and a batch. After
 * each kill another process finds the key's tokens there but for those of the one call, all of them
 * or none, the key once at most, and the segment's bytes in order; and inserts as before.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "audit.h"
#include "handle.h"
#include "stepper.h"
#include "thread_sanitizer.h"
#include "weir.h"

enum {
	BURST = 6,
	SLOTS = 16,
};

static struct world {
	struct weir *weir;
	struct weir_endpoint *rule;
	unsigned round; /* each kill has a key of its own */
	char key[24];
} world;

struct subject {
	const char *name;
	void (*set_up)(void); /* in the parent, before each child */
	void (*call)(void *context);
	unsigned left_before; /* tokens of the key, if the call did not happen */
	unsigned left_after;  /* if it did */
};

static void need(bool is_so)
{
	if (!is_so)
		_exit(101);
}

static void take(const char *key, double cost)
{
	need(weir_acquire_key(world.rule, key, strlen(key), cost, NULL) == WEIR_ADMIT);
}

/* ---- in the child ---- */

/* The first call of a forked child makes it a member of its own. */
static void warm(void *context)
{
	struct weir_level level = {.size = sizeof(level)};

	(void)context;
	need(weir_peek_key(world.rule, "nobody", 6, &level) == 0);
}

static void call_take(void *context)
{
	(void)context;
	weir_acquire_key(world.rule, world.key, strlen(world.key), 2, NULL);
}

static void call_refused(void *context)
{
	(void)context;
	weir_acquire_key(world.rule, world.key, strlen(world.key), BURST, NULL);
}

static void call_return(void *context)
{
	(void)context;
	weir_return_key(world.rule, world.key, strlen(world.key), 1, NULL);
}

static void call_reset(void *context)
{
	(void)context;
	weir_reset_key(world.rule, world.key, strlen(world.key));
}

static void call_batch(void *context)
{
	struct weir_key_call call = {.key = world.key, .key_bytes = strlen(world.key), .cost = 2};

	(void)context;
	weir_acquire_keys(world.rule, &call, 1);
}

/* ---- in the parent ---- */

/* All that was there is full. */
static void pass_time(void)
{
	assert_int_equal(weir_clock_advance(world.weir, 10 * WEIR_SECOND), 0);
}

static void set_up_free(void)
{
	pass_time();
	assert_int_equal(weir_reset(world.weir, "c/*"), 0);
}

/* Every slot has a key, and all are full. */
static void set_up_crowded(void)
{
	char key[16];

	pass_time();
	for (unsigned i = 0; i < SLOTS; i++) {
		snprintf(key, sizeof(key), "old %u.%u", world.round, i);
		assert_int_equal(weir_acquire_key(world.rule, key, strlen(key), 1, NULL),
				 WEIR_ADMIT);
	}
	pass_time();
}

/* Every slot is in debt. */
static void set_up_in_debt(void)
{
	char key[16];

	pass_time();
	for (unsigned i = 0; i < SLOTS; i++) {
		snprintf(key, sizeof(key), "old %u.%u", world.round, i);
		assert_int_equal(weir_acquire_key(world.rule, key, strlen(key), 3, NULL),
				 WEIR_ADMIT);
	}
}

static void set_up_used(void)
{
	pass_time();
	take(world.key, 3);
}

static const struct subject subjects[] = {
	{"insert", set_up_free, call_take, BURST, BURST - 2},
	{"insert over a full one", set_up_crowded, call_take, BURST, BURST - 2},
	{"insert over a debt", set_up_in_debt, call_take, BURST, BURST - 2},
	{"take", set_up_used, call_take, BURST - 3, BURST - 5},
	{"refuse", set_up_used, call_refused, BURST - 3, BURST - 3},
	{"give back", set_up_used, call_return, BURST - 3, BURST - 2},
	{"fill", set_up_used, call_reset, BURST - 3, BURST},
	{"a batch", set_up_free, call_batch, BURST, BURST - 2},
};

/* How many slots have the key, or are about to. */
static unsigned slots_of(const char *name, bool announced)
{
	const struct binding *binding = endpoint_binding(world.rule);
	uint64_t key = keys_of_ask(binding, &(struct ask){.key = name, .key_bytes = strlen(name)});
	unsigned found = 0;

	for (unsigned i = 0; i < 2 * binding->keyed.half; i++)
		for (unsigned slot = 0; slot < LAYOUT_BIN_SLOTS; slot++)
			found += atomic_load(&binding->keyed.bins[i].slots[slot].key) ==
				 (announced ? key | KEY_INSERTING : key);
	return found;
}

static unsigned drain(void)
{
	unsigned left = 0;

	while (left <= BURST &&
	       weir_acquire_key(world.rule, world.key, strlen(world.key), 1, NULL) == WEIR_ADMIT)
		left++;
	return left;
}

/* What a kill has left, and that another goes on. Returns what was left of the key. */
static unsigned look_after_kill(const struct subject *subject, size_t instructions)
{
	const struct attachment *at =
		atomic_load_explicit(&world.weir->current, memory_order_acquire);
	unsigned left;

	if (slots_of(world.key, false) > 1)
		fail_msg("%s, killed after %zu: the key is there twice", subject->name,
			 instructions);
	assert_int_equal(audit_segment(&at->segment, NULL, NULL), 0);
	left = drain();
	if (left != subject->left_before && left != subject->left_after)
		fail_msg("%s, killed after %zu: %u tokens are left", subject->name, instructions,
			 left);
	assert_int_equal(slots_of(world.key, false), 1);
	return left;
}

/* The slot of the dead member is free again. */
static void reap(void)
{
	struct attachment *at = atomic_load_explicit(&world.weir->current, memory_order_acquire);

	for (uint32_t slot = 0; slot < at->segment.member_count; slot++)
		if (slot != at->slot)
			members_reap(&at->segment, slot);
}

static void prepare_round(const struct subject *subject)
{
	reap();
	snprintf(world.key, sizeof(world.key), "key %u", ++world.round);
	subject->set_up();
}

static void kill_everywhere(const struct subject *subject)
{
	const struct stepper_call call = {.prepare = warm, .call = subject->call};
	struct stepper_trace trace;
	unsigned before = 0;
	unsigned after = 0;
	unsigned through = 0;

	prepare_round(subject);
	assert_true(stepper_record(&call, &trace));
	assert_int_equal(drain(), subject->left_after);
	for (size_t i = 0; i <= trace.count; i++) {
		unsigned left;

		prepare_round(subject);
		if (!stepper_kill_running(&call, &trace, i)) {
			prepare_round(subject);
			/* each key has its own way, and may be through before that many */
			through += !stepper_kill_stepping(&call, i);
		}
		left = look_after_kill(subject, i);
		before += left == subject->left_before;
		after += left == subject->left_after;
	}
	printf("%-24s %5zu instructions: %u kills before it, %u after\n", subject->name,
	       trace.count, before, after);
	assert_true(before > 0 && after > 0);
	assert_true(through * 4 <= trace.count);
	stepper_free(&trace);
}

static void test_kills(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++)
		kill_everywhere(&subjects[i]);
}

static int setup(void **state)
{
	(void)state;
	if (weir_host(&world.weir, "[each c/*]\nrate = 1/s\nburst = 6\nkeys = 8\n",
		      WEIR_CLOCK_MANUAL, NULL, NULL, 0) < 0 ||
	    weir_endpoint(world.weir, "c/*", &world.rule) < 0)
		return -1;
	/* the gate's bucket has its mark */
	return weir_acquire_key(world.rule, "first", 5, 1, NULL) == WEIR_ADMIT ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	weir_endpoint_close(world.rule);
	weir_close(world.weir);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kills),
	};
	const char *why = UNDER_THREAD_SANITIZER
				  ? "ThreadSanitizer gives every process a thread of its own"
				  : stepper_unavailable();

	if (why) {
		printf("skipped: %s\n", why);
		return 77;
	}
	return cmocka_run_group_tests(tests, setup, teardown);
}
