/* SPDX-License-Identifier: Apache-2.0
 *
 * A client is killed after every instruction of a call for a key: of an insertion into a free slot,
 * over a bucket that is full, over a debt, of a take, of giving back, filling, and a batch; and of
 * calls that bring a key along to a larger table. After each kill another process finds the key's
 * tokens there but for those of the one call, all of them or none, the key once at most, and the
 * segment's bytes in order; and inserts as before.
 *
 * And who moves all keys is killed: a client and whoever goes on with the move then find of every
 * key what was left of it.
 *
 * In what has to do with two tables, where calls are long, after every instruction that changed a
 * byte of either, and after a sample of the others, which leave what the one before has left ("all"
 * as argument: after every one).
 */
#include "segment_fixture.h"

#include "audit.h"
#include "handle.h"
#include "key_tables.h"
#include "move.h"
#include "stepper.h"
#include "thread_sanitizer.h"
#include "weir.h"

enum {
	BURST = 6,
	SLOTS = 16,
	MOVING = 6000, /* keys of the table that is being replaced: one for each kill */
	MOVING_ALL = 60000,
	LAST = 100,
	STRIDE = 16, /* of those instructions that changed nothing */
};

/* The bytes of a table, to see them change and to begin again with. */
struct copy {
	void *at;
	size_t bytes;
	void *before;
};

static struct world {
	struct weir *weir;
	struct weir_endpoint *rule;
	unsigned round; /* each kill has a key of its own */
	char key[24];
	bool all;
	struct copy tables[2]; /* while one is replaced by the other */
	bool drained[MOVING_ALL + 1];
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

/* Each key is in the table that is being replaced. */
static void set_up_moving(void)
{
	assert_true(world.round <= (world.all ? MOVING_ALL : MOVING));
}

static const struct subject moving_subjects[] = {
	{"take what moves", set_up_moving, call_take, BURST - 3, BURST - 5},
	{"refuse what moves", set_up_moving, call_refused, BURST - 3, BURST - 3},
	{"give back what moves", set_up_moving, call_return, BURST - 3, BURST - 2},
	{"fill what moves", set_up_moving, call_reset, BURST - 3, BURST},
};

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
	if (world.round <= MOVING_ALL)
		world.drained[world.round] = true;
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

/* Of a table that nobody watches nothing changes. */
static bool tables_changed(void *context)
{
	bool changed = false;

	(void)context;
	for (unsigned i = 0; i < 2; i++) {
		struct copy *table = &world.tables[i];

		if (!table->at || memcmp(table->at, table->before, table->bytes) == 0)
			continue;
		memcpy(table->before, table->at, table->bytes);
		changed = true;
	}
	return changed;
}

/*
 * Whether to kill after so many instructions: at the end of a call after each, so that some come
 * when it has happened, whichever way a key goes.
 */
static bool is_place(const struct stepper_trace *trace, size_t instructions)
{
	return world.all || !world.tables[0].at || instructions % STRIDE == 0 ||
	       trace->changes[instructions - 1] || instructions + LAST >= trace->count;
}

static void kill_everywhere(const struct subject *subject)
{
	const struct stepper_call call = {
		.prepare = warm, .call = subject->call, .changed = tables_changed};
	struct stepper_trace trace;
	unsigned before = 0;
	unsigned after = 0;
	unsigned through = 0;

	prepare_round(subject);
	assert_true(stepper_record(&call, &trace));
	assert_int_equal(drain(), subject->left_after);
	for (size_t i = 0; i <= trace.count; i++) {
		unsigned left;

		if (!is_place(&trace, i))
			continue;
		prepare_round(subject);
		if (!stepper_kill_running(&call, &trace, i)) {
			prepare_round(subject);
			/* each key has its own way, and may be through before that many */
			through += !stepper_kill_stepping(&call, &trace, i);
		}
		left = look_after_kill(subject, i);
		before += left == subject->left_before;
		after += left == subject->left_after;
	}
	printf("%-24s %5zu instructions: %u kills before it, %u after\n", subject->name,
	       trace.count, before, after);
	fflush(stdout);
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

/* ---- while a table is replaced ---- */

/* Two pairs, of which the newer has the name, and what is in the older has not moved. */
struct pairs {
	struct scene scene;
	struct segment next;
};

static struct segment_shape shape_for(uint64_t keys)
{
	struct segment_shape shape = scene_shape;

	shape.tables = 1;
	shape.bins = keyed_bins(keys);
	return shape;
}

static struct rule rule_for(uint64_t keys)
{
	struct rule rule = scene_rule(ROW_EACH, "c/*", 1, BURST);

	rule.keys = keys;
	return rule;
}

static void watch(struct copy *table, const struct segment *segment)
{
	*table = (struct copy){segment->bins, segment->bin_count * sizeof(struct key_bin), NULL};
	table->before = malloc(table->bytes);
	assert_non_null(table->before);
	memcpy(table->before, table->at, table->bytes);
}

/* Of "key 1", "key 2" ... three tokens each are taken. */
static void pairs_begin(struct pairs *pairs, unsigned keys)
{
	const struct segment_shape shape = shape_for(keys);
	const struct segment_shape larger = shape_for(2 * keys);
	const struct rule rule = rule_for(keys);
	const struct rule instead = rule_for(2 * keys);
	char key[24];

	scene_begin(&pairs->scene, &shape);
	assert_true(rules_add(&pairs->scene.segment, &rule) >= 0);
	world.weir = scene_open(&pairs->scene.place);
	world.rule = scene_endpoint(world.weir, "c/*");
	assert_non_null(world.rule);
	for (unsigned i = 1; i <= keys; i++) {
		snprintf(key, sizeof(key), "key %u", i);
		assert_int_equal(weir_acquire_key(world.rule, key, strlen(key), 3, NULL),
				 WEIR_ADMIT);
	}
	assert_int_equal(segment_create(&pairs->next, &pairs->scene.place, &larger), 0);
	assert_int_equal(move_prepare(&pairs->scene.segment, &pairs->next, &instead), 0);
	assert_int_equal(segment_reveal(&pairs->next, &pairs->scene.place), 0);
	move_retire(&pairs->scene.segment);
	/* from here on this process uses the newer one, and has the older one mapped */
	assert_int_equal(weir_acquire_key(world.rule, "first", 5, 1, NULL), WEIR_ADMIT);
	watch(&world.tables[0], &pairs->scene.segment);
	watch(&world.tables[1], &pairs->next);
}

static void pairs_end(struct pairs *pairs)
{
	for (unsigned i = 0; i < 2; i++) {
		free(world.tables[i].before);
		world.tables[i] = (struct copy){NULL, 0, NULL};
	}
	weir_endpoint_close(world.rule);
	weir_close(world.weir);
	segment_detach(&pairs->next);
	scene_end(&pairs->scene);
}

static unsigned left_of(unsigned number)
{
	snprintf(world.key, sizeof(world.key), "key %u", number);
	return drain();
}

static void test_kills_of_who_brings_along(void **state)
{
	const unsigned keys = world.all ? MOVING_ALL : MOVING;
	struct pairs pairs;
	unsigned used;

	(void)state;
	world.round = 0;
	memset(world.drained, 0, sizeof(world.drained));
	pairs_begin(&pairs, keys);
	for (size_t i = 0; i < sizeof(moving_subjects) / sizeof(moving_subjects[0]); i++)
		kill_everywhere(&moving_subjects[i]);
	used = world.round;
	assert_int_equal(move_finish(&pairs.next, &pairs.scene.segment), 0);
	/* those that nobody used came by themselves, and the others did not come again; one whose
	 * user died behind the call, and which nobody looked at, may be anything */
	for (unsigned i = 1; i <= keys; i++)
		if (world.drained[i] || i > used)
			assert_int_equal(left_of(i), i <= used ? 0 : BURST - 3);
	assert_int_equal(audit_segment(&pairs.next, NULL, NULL), 0);
	pairs_end(&pairs);
}

/* ---- who moves all of them is killed ---- */

enum { FEW = 3 };

static struct pairs few;

static void call_move(void *context)
{
	(void)context;
	keys_finish(&few.next, &few.scene.segment);
}

static void no_preparation(void *context)
{
	(void)context;
}

/* A client comes by in the midst of it, and another publisher goes on. */
static void look_after_killed_move(size_t instructions)
{
	assert_int_equal(audit_segment(&few.next, NULL, NULL), 0);
	for (unsigned i = 1; i <= FEW; i++) {
		unsigned left = left_of(i);

		if (left != BURST - 3)
			fail_msg("killed after %zu: %u tokens are left of key %u", instructions,
				 left, i);
		if (slots_of(world.key, false) != 1)
			fail_msg("killed after %zu: key %u is there twice", instructions, i);
		if (i == 1)
			keys_finish(&few.next, &few.scene.segment);
	}
}

/* As the tables were before anybody moved anything. */
static void put_back(const struct copy tables[2])
{
	for (unsigned i = 0; i < 2; i++) {
		memcpy(tables[i].at, tables[i].before, tables[i].bytes);
		memcpy(world.tables[i].before, tables[i].before, tables[i].bytes);
	}
}

static void test_kills_of_who_moves(void **state)
{
	const struct stepper_call call = {
		.prepare = no_preparation, .call = call_move, .changed = tables_changed};
	struct stepper_trace trace;
	struct copy tables[2];
	unsigned missed = 0, kills = 0, changes = 0;

	(void)state;
	pairs_begin(&few, FEW);
	watch(&tables[0], &few.scene.segment);
	watch(&tables[1], &few.next);
	assert_true(stepper_record(&call, &trace));
	for (size_t i = 0; i <= trace.count; i++) {
		if (!is_place(&trace, i))
			continue;
		put_back(tables);
		missed += !stepper_kill_running(&call, &trace, i);
		look_after_killed_move(i);
		kills++;
		changes += i && trace.changes[i - 1];
	}
	printf("%-24s %5zu instructions: %u kills, %u of them after a change, %u behind it\n",
	       "move all", trace.count, kills, changes, missed);
	/* each key is frozen, announced and put there; some kills come when all is done */
	assert_true(changes >= 3 * FEW && missed * 20 <= kills);
	stepper_free(&trace);
	for (unsigned i = 0; i < 2; i++)
		free(tables[i].before);
	pairs_end(&few);
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

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_kills, setup, teardown),
		cmocka_unit_test(test_kills_of_who_brings_along),
		cmocka_unit_test(test_kills_of_who_moves),
	};
	const char *why = UNDER_THREAD_SANITIZER
				  ? "ThreadSanitizer gives every process a thread of its own"
				  : stepper_unavailable();

	if (why) {
		printf("skipped: %s\n", why);
		return 77;
	}
	world.all = argc > 1 && strcmp(argv[1], "all") == 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
