/* SPDX-License-Identifier: Apache-2.0
 *
 * A client is killed while it attaches, leaves, becomes a member of its own after a fork, and
 * follows an instance that was replaced: after every instruction that changed a shared byte, and
 * after a sample of the others ("all" as argument: after every one). Each time what it left is
 * audited, its slot comes back, and another process finds the tokens there, but for those of the
 * one call.
 */
#include "segment_fixture.h"

#include "audit.h"
#include "members.h"
#include "move.h"
#include "stepper.h"
#include "thread_sanitizer.h"

enum {
	BURST = 10, /* of [default], on a clock that stands still */
	SAMPLE = 400,
};

static struct world {
	struct scene scene;
	struct segment old; /* the pair that `scene` replaces, if it does */
	bool replaced;
	struct weir *weir; /* of the parent, attached to the first pair, inherited */
	struct weir_endpoint *api;
	struct weir *own; /* of the child */
	struct weir_endpoint *own_api;
	void *copies[2]; /* of the state objects, as they were an instruction ago */
	unsigned long places;
	unsigned long ended; /* children that died behind their call */
	bool all;
} world;

/* A call to be killed in. */
struct subject {
	const char *name;
	void (*arrange)(void); /* by the parent, before the child is forked; or NULL */
	void (*prepare)(void *context);
	void (*call)(void *context);
	unsigned drawn; /* tokens, before the call */
	unsigned cost;	/* and by it */
	bool bare;	/* see stepper.h */
};

/* ---- in the child ---- */

static void prepare_none(void *context)
{
	(void)context;
}

static void attach(void *context)
{
	(void)context;
	world.own = scene_open(&world.scene.place);
	world.own_api = scene_endpoint(world.own, "api");
	CHILD_CHECK(weir_acquire(world.own_api, 2, NULL) == WEIR_ADMIT);
}

static void leave(void *context)
{
	(void)context;
	weir_endpoint_close(world.own_api);
	weir_close(world.own);
}

static void acquire_inherited(void *context)
{
	(void)context;
	CHILD_CHECK(weir_acquire(world.api, 2, NULL) == WEIR_ADMIT);
}

/* ---- in the parent ---- */

static struct segment make_successor(void)
{
	struct segment next;

	assert_int_equal(segment_create(&next, &world.scene.place, &scene_shape), 0);
	assert_int_equal(move_prepare(&world.scene.segment, &next, NULL), 0);
	assert_int_equal(segment_reveal(&next, &world.scene.place), 0);
	return next;
}

static void use_successor(struct segment next)
{
	world.old = world.scene.segment;
	world.scene.segment = next;
	world.replaced = true;
}

/* All marks are in their new places. */
static void replace(void)
{
	struct segment next = make_successor();

	move_retire(&world.scene.segment);
	assert_int_equal(move_finish(&next, &world.scene.segment), 0);
	use_successor(next);
}

/* The publisher has died with the marks where they were; clients move them. */
static void replace_and_die(void)
{
	struct segment next = make_successor();

	move_retire(&world.scene.segment);
	use_successor(next);
}

static void world_begin(const struct subject *subject)
{
	scene_begin(&world.scene, &scene_shape);
	world.replaced = false;
	world.weir = scene_open(&world.scene.place);
	world.api = scene_endpoint(world.weir, "api");
	assert_non_null(world.api);
	assert_int_equal(weir_acquire(world.api, 1, NULL), WEIR_ADMIT);
	if (subject->arrange)
		subject->arrange();
}

static void world_end(void)
{
	weir_endpoint_close(world.api);
	weir_close(world.weir);
	if (world.replaced)
		segment_detach(&world.old);
	scene_end(&world.scene);
}

static bool differs(void **copy, const struct segment *segment)
{
	bool is_first = !*copy;

	if (is_first)
		*copy = malloc(segment->state_bytes);
	else if (memcmp(*copy, segment->state, segment->state_bytes) == 0)
		return false;
	assert_non_null(*copy);
	memcpy(*copy, segment->state, segment->state_bytes);
	return !is_first;
}

static bool shared_bytes_changed(void *context)
{
	bool changed = differs(&world.copies[0], &world.scene.segment);

	(void)context;
	if (world.replaced)
		changed |= differs(&world.copies[1], &world.old);
	return changed;
}

static void print_finding(void *context, const struct audit_finding *finding)
{
	(void)context;
	if (finding->severity == AUDIT_FINDING)
		print_error("%s %u: %s (%#llx)\n", finding->where, finding->index, finding->what,
			    (unsigned long long)finding->value);
}

static unsigned reap(struct segment *segment)
{
	unsigned reaped = 0;

	for (uint32_t slot = 0; slot < segment->member_count; slot++)
		reaped += members_reap(segment, slot);
	return reaped;
}

/* Slots of this process: those of handles that are attached to the pair. */
static unsigned own_slots(const struct segment *segment)
{
	struct member_info member;
	unsigned own = 0;

	for (uint32_t slot = 0; slot < segment->member_count; slot++) {
		members_look(segment, slot, &member);
		own += member.pid == (uint32_t)getpid();
	}
	return own;
}

/* A second look finds nobody dead, and nobody who is neither dead nor alive. */
static void check_members(const struct subject *subject, size_t instructions)
{
	struct segment *segment = &world.scene.segment;
	unsigned reaped = reap(segment);

	if (reaped > 1 || reap(segment) != 0)
		fail_msg("%s, killed after %zu instructions: %u members are left", subject->name,
			 instructions, reaped);
	/* nobody who lives lost a slot; who has not called since is a member of the old pair */
	assert_int_equal(own_slots(segment), world.replaced ? 1 : 2);
}

static void check_after(const struct subject *subject, size_t instructions)
{
	struct weir *weir = scene_open(&world.scene.place);
	struct weir_endpoint *api = scene_endpoint(weir, "api");
	uint64_t there = BURST - 1 - subject->drawn;
	uint64_t drawn;

	if (audit_segment(&world.scene.segment, print_finding, NULL) != 0)
		fail_msg("%s, killed after %zu instructions: findings", subject->name,
			 instructions);
	check_members(subject, instructions);
	assert_non_null(api);
	drawn = scene_drain(api);
	if (drawn != there && drawn != there - subject->cost)
		fail_msg("%s, killed after %zu instructions: %u passed, not %u or %u",
			 subject->name, instructions, (unsigned)drawn, (unsigned)there,
			 (unsigned)there - subject->cost);
	/* and for the parent, who had been there before */
	assert_int_equal(weir_acquire(world.api, 1, NULL), WEIR_REFUSE);
	weir_endpoint_close(api);
	weir_close(weir);
}

/*
 * Returns whether it took stepping. System calls, and sequences that are restarted, make the way
 * longer at times: a child that was to die in its last instructions may have come to the end.
 */
static bool kill_at(const struct subject *subject, struct stepper_trace *trace, size_t instructions)
{
	const struct stepper_call call = {
		.prepare = subject->prepare, .call = subject->call, .bare = subject->bare};
	bool stepped;

	world_begin(subject);
	stepped = !stepper_kill_running(&call, trace, instructions);
	if (stepped) {
		world_end();
		world_begin(subject);
		world.ended += !stepper_kill_stepping(&call, trace, instructions);
	}
	check_after(subject, instructions);
	world_end();
	return stepped;
}

static struct stepper_trace record(const struct subject *subject)
{
	const struct stepper_call call = {.prepare = subject->prepare,
					  .call = subject->call,
					  .bare = subject->bare,
					  .changed = shared_bytes_changed};
	struct stepper_trace trace;

	world_begin(subject);
	shared_bytes_changed(NULL);
	if (!stepper_record(&call, &trace))
		fail_msg("%s does not end", subject->name);
	for (int i = 0; i < 2; i++) {
		free(world.copies[i]);
		world.copies[i] = NULL;
	}
	world_end();
	return trace;
}

static void kill_everywhere(const struct subject *subject)
{
	struct stepper_trace trace = record(subject);
	size_t stride = world.all ? 1 : 1 + trace.count / SAMPLE;
	unsigned long places = 0, changes = 0, stepped = 0;

	for (size_t i = 0; i <= trace.count; i++) {
		bool changed = i > 0 && trace.changes[i - 1];

		if (!changed && i % stride)
			continue;
		stepped += kill_at(subject, &trace, i);
		changes += changed;
		places++;
	}
	printf("%-44s killed at %4lu places of %6zu instructions, %2lu behind a change, %lu times "
	       "stepping\n",
	       subject->name, places, trace.count, changes, stepped);
	fflush(stdout);
	assert_true(changes > 0);
	world.places += places;
	stepper_free(&trace);
}

static void test_attach(void **state)
{
	static const struct subject subject = {.name = "attach, resolve, acquire",
					       .prepare = prepare_none,
					       .call = attach,
					       .cost = 2};

	(void)state;
	kill_everywhere(&subject);
}

static void test_detach(void **state)
{
	static const struct subject subject = {
		.name = "leave", .prepare = attach, .call = leave, .drawn = 2};

	(void)state;
	kill_everywhere(&subject);
}

/* The second child runs itself, within its call, what the fork handler does in the first. */
static void test_fork(void **state)
{
	static const struct subject subjects[] = {
		{.name = "the first call of a forked child",
		 .prepare = prepare_none,
		 .call = acquire_inherited,
		 .cost = 2},
		{.name = "the same, and what the fork handler does",
		 .prepare = prepare_none,
		 .call = acquire_inherited,
		 .cost = 2,
		 .bare = true},
	};

	(void)state;
	kill_everywhere(&subjects[0]);
	kill_everywhere(&subjects[1]);
}

static void test_follow(void **state)
{
	static const struct subject subjects[] = {
		{.name = "follow an instance that was replaced",
		 .arrange = replace,
		 .prepare = prepare_none,
		 .call = acquire_inherited,
		 .cost = 2},
		{.name = "follow one whose publisher has died over it",
		 .arrange = replace_and_die,
		 .prepare = prepare_none,
		 .call = acquire_inherited,
		 .cost = 2},
	};

	(void)state;
	kill_everywhere(&subjects[0]);
	kill_everywhere(&subjects[1]);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_attach),
		cmocka_unit_test(test_detach),
		cmocka_unit_test(test_fork),
		cmocka_unit_test(test_follow),
	};
	const char *why = UNDER_THREAD_SANITIZER
				  ? "ThreadSanitizer gives every process a thread of its own"
				  : stepper_unavailable();
	int failed;

	if (why) {
		printf("skipped: %s\n", why);
		return TEST_SKIPPED;
	}
	world.all = argc > 1 && strcmp(argv[1], "all") == 0;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	printf("killed at %lu places in all, at %lu of them behind the call\n", world.places,
	       world.ended);
	failed += world.ended * 20 > world.places;
	return failed;
}
