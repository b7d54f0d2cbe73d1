/* SPDX-License-Identifier: Apache-2.0
 *
 * A process is killed after every instruction of taking a permit, waiting in line, giving back,
 * taking over, reaping, striking, joining and leaving; and a publisher after every instruction of a
 * change of limit. After each kill the segment is audited and the dead one is reaped; then as many
 * permits are there as the limit says, none lost, none doubled, and nobody is in line. Of the
 * publisher's longest calls it is a sample, of what clients do every instruction.
 */
#include "segment_fixture.h"

#include "audit.h"
#include "handle.h"
#include "members.h"
#include "permit_chain.h"
#include "permits.h"
#include "stepper.h"
#include "thread_sanitizer.h"

enum {
	LIMIT = 3,
	PLACES_MAX = 2500, /* of one call of the publisher's; longer ones: every other place */
};

static const struct segment_shape small_shape = {
	.rows = 4096, /* a rule that comes back takes another one each time */
	.names = 4,
	.members = 3,
	.clock = CLOCK_KIND_MANUAL,
	.group = (gid_t)-1,
	.permits = 24,
	.waiters = 6,
};

static struct world {
	struct scene scene;
	struct weir *weir;
	struct weir_endpoint *api;
	struct weir_endpoint *held;    /* with a max_hold */
	struct weir_endpoint *found;   /* whose limit is found, up to LIMIT */
	struct weir_permit permits[4]; /* the parent's */
	uint64_t limit;		       /* of api, before the call */
	uint64_t limit_after;
	unsigned long places;
} world;

struct subject {
	const char *name;
	void (*arrange)(void); /* in the parent, before each child */
	void (*prepare)(void *context);
	void (*call)(void *context);
	uint64_t limit_after; /* of api, if the call changes it */
	bool is_sampled;
};

static void need(bool is_so)
{
	if (!is_so)
		_exit(101);
}

static struct segment *segment(void)
{
	return &world.scene.segment;
}

static uint32_t api_row(void)
{
	int64_t row = names_exact_row(segment(), "api");

	assert_true(row >= 0);
	return (uint32_t)row;
}

static struct terms terms_of(uint64_t limit, uint64_t hold_ns)
{
	struct terms terms = scene_terms(10, 10);

	terms.concurrency = limit + 1;
	terms.max_hold_ns = hold_ns;
	return terms;
}

static uint32_t found_row(void)
{
	int64_t row = names_exact_row(segment(), "found");

	assert_true(row >= 0);
	return (uint32_t)row;
}

static struct terms terms_found(uint32_t max)
{
	struct terms terms = terms_of(LIMIT, 0);

	terms.concurrency_min = 1;
	terms.concurrency_max = max;
	return terms;
}

static void set_found_bounds(uint32_t max)
{
	const struct terms_author author = {ORIGIN_FILE, 0};
	const struct terms terms = terms_found(max);

	rules_change(segment(), found_row(), &terms, &author, RULES_KEEP_USED);
}

static void set_found(uint32_t limit)
{
	const struct permit_found found = {
		.limit = limit, .cause = FOUND_QUEUE, .latency_ns = 3, .base_ns = 2};

	permit_found_store(segment(), found_row(), &found);
	permit_found_count(segment(), found_row());
}

static void set_limit(uint64_t limit)
{
	const struct terms_author author = {ORIGIN_FILE, 0};
	const struct terms terms = terms_of(limit, 0);

	rules_change(segment(), api_row(), &terms, &author, RULES_KEEP_USED);
}

static bool take(struct weir_endpoint *endpoint, struct weir_permit *out)
{
	return weir_permit_take(endpoint, 0, out, NULL) == WEIR_ADMIT;
}

/* ---- in the parent ---- */

static void parent_takes(struct weir_endpoint *endpoint, int count)
{
	for (int i = 0; i < count; i++)
		assert_true(take(endpoint, &world.permits[i]));
}

static void arrange_one(void)
{
	parent_takes(world.api, 1);
}

static void arrange_none_free(void)
{
	parent_takes(world.api, LIMIT);
}

static int child_takes_two(void *context)
{
	struct weir_permit permit;
	struct weir_waiter place;

	(void)context;
	CHILD_CHECK(take(world.api, &permit) && take(world.api, &permit));
	CHILD_CHECK(weir_permit_queue(world.api, &place) == 0);
	return 0;
}

/* A dead process held two and stood in line; the parent has the third. */
static void arrange_dead(void)
{
	parent_takes(world.api, 1);
	assert_int_equal(scene_wait(scene_child(child_takes_two, NULL)), 0);
}

static int child_takes_one(void *context)
{
	struct weir_permit permit;

	(void)context;
	CHILD_CHECK(take(world.api, &permit));
	return 0;
}

static int child_queues(void *context)
{
	struct weir_waiter waiter;

	(void)context;
	CHILD_CHECK(weir_permit_queue(world.api, &waiter) == 0);
	return 0;
}

/* A dead process stands in line, and enough are free. */
static void arrange_line(void)
{
	assert_int_equal(scene_wait(scene_child(child_queues, NULL)), 0);
}

/* Every slot but the parent's is a dead one's. */
static void arrange_crowd(void)
{
	assert_int_equal(scene_wait(scene_child(child_takes_one, NULL)), 0);
	assert_int_equal(scene_wait(scene_child(child_takes_one, NULL)), 0);
}

static void arrange_overdue(void)
{
	parent_takes(world.held, LIMIT);
	time_source_advance(&segment()->time, 2 * SCENE_SECOND);
}

/* ---- in the child ---- */

static struct weir_permit mine;
static struct weir_waiter place;

/* The first call of a forked child makes it a member of its own. */
static void warm(void *context)
{
	(void)context;
	need(weir_acquire(world.api, 1, NULL) == WEIR_ADMIT);
	world.weir->dead_after_ns = 0;
}

static void prepare_nothing(void *context)
{
	(void)context;
}

static void prepare_taken(void *context)
{
	warm(context);
	need(take(world.api, &mine));
}

static void prepare_taken_and_in_line(void *context)
{
	prepare_taken(context);
	need(weir_permit_queue(world.api, &place) == 0);
}

static void prepare_in_line(void *context)
{
	warm(context);
	need(weir_permit_queue(world.api, &place) == 0);
}

static void call_take(void *context)
{
	(void)context;
	need(take(world.api, &mine));
}

static void call_take_refused(void *context)
{
	(void)context;
	need(!take(world.api, &mine));
}

static void call_take_late(void *context)
{
	struct weir_answer answer;

	(void)context;
	need(weir_permit_take(world.api, 1, &mine, &answer) == WEIR_REFUSE);
}

static void call_enter(void *context)
{
	(void)context;
	need(weir_enter(world.api, 1, 0, &mine, NULL) == WEIR_ADMIT);
}

static void call_release(void *context)
{
	(void)context;
	need(weir_permit_release(world.api, &mine) == 0);
}

static void call_inherit(void *context)
{
	(void)context;
	need(weir_permit_inherit(world.api, &world.permits[0]) == 0);
}

static void call_queue(void *context)
{
	(void)context;
	need(weir_permit_queue(world.api, &place) == 0);
}

static void call_poll(void *context)
{
	(void)context;
	need(weir_permit_poll(world.api, &place, &mine, NULL) == WEIR_ADMIT);
}

static void call_unqueue(void *context)
{
	(void)context;
	need(weir_permit_unqueue(world.api, &place) == 0);
}

static void call_close(void *context)
{
	(void)context;
	weir_close(world.weir);
}

static void call_strike(void *context)
{
	(void)context;
	need(take(world.held, &mine));
}

static void call_raise(void *context)
{
	(void)context;
	set_limit(world.limit_after);
}

/* It is counted twice over, in both words. */
static void prepare_call(void *context)
{
	(void)context;
	need(take(world.found, &mine));
}

static void call_fail(void *context)
{
	(void)context;
	need(weir_permit_fail(world.found, &mine) == 0);
}

static void call_start(void *context)
{
	(void)context;
	need(weir_permit_start(world.found, &mine) == 0);
	need(weir_permit_release(world.found, &mine) == 0);
}

static void call_find_less(void *context)
{
	(void)context;
	set_found(LIMIT - 1);
}

static void arrange_less(void)
{
	set_found(LIMIT - 1);
}

static void call_find_more(void *context)
{
	(void)context;
	set_found(LIMIT);
}

static void call_bound(void *context)
{
	(void)context;
	set_found_bounds(LIMIT - 1);
}

static void call_give(void *context)
{
	const struct terms_author author = {ORIGIN_FILE, 0};
	const struct terms terms = terms_of(LIMIT, 0);

	(void)context;
	rules_change(segment(), found_row(), &terms, &author, RULES_KEEP_USED);
}

static void call_remove(void *context)
{
	(void)context;
	rules_remove(segment(), api_row());
}

/* ---- after a kill ---- */

static void print_finding(void *context, const struct audit_finding *finding)
{
	(void)context;
	if (finding->severity == AUDIT_FINDING)
		print_error("%s %u: %s (%#llx)\n", finding->where, finding->index, finding->what,
			    (unsigned long long)finding->value);
}

static void reap(void)
{
	for (uint32_t i = 0; i < segment()->member_count; i++)
		members_reap(segment(), i);
}

/* How many can be taken, which are given back. */
static uint64_t take_all(struct weir_endpoint *endpoint)
{
	struct weir_permit permits[16];
	uint64_t count = 0;

	while (count < 16 && take(endpoint, &permits[count]))
		count++;
	for (uint64_t i = 0; i < count; i++)
		assert_int_equal(weir_permit_release(endpoint, &permits[i]), 0);
	return count;
}

static void give_back(void)
{
	for (int i = 0; i < 4; i++) {
		struct weir_permit none = {{0}};
		int status;

		if (memcmp(&world.permits[i], &none, sizeof(none)) == 0)
			continue;
		status = weir_permit_release(world.api, &world.permits[i]);
		if (status != 0 && status != WEIR_ESPENT && status != WEIR_EEXPIRED)
			fail_msg("%s", weir_strerror(status));
		memset(&world.permits[i], 0, sizeof(none));
	}
}

static void check_after(const struct subject *subject, size_t instructions)
{
	struct weir_permits look = {.size = sizeof(look)};
	uint64_t count;

	if (audit_segment(segment(), print_finding, NULL) != 0)
		fail_msg("%s, killed after %zu instructions: findings", subject->name,
			 instructions);
	/* the next publisher, if this one was killed; else it finds nothing to do */
	rules_recover(segment());
	reap();
	give_back();
	assert_int_equal(weir_permit_look(world.api, &look), 0);
	count = take_all(world.api);
	if (look.held != 0 || look.waiting != 0 ||
	    (count != world.limit && count != world.limit_after))
		fail_msg("%s, killed after %zu instructions: %llu held, %llu in line, %llu to take",
			 subject->name, instructions, (unsigned long long)look.held,
			 (unsigned long long)look.waiting, (unsigned long long)count);
	assert_int_equal(take_all(world.held), LIMIT);
	assert_in_range(take_all(world.found), LIMIT - 1, LIMIT);
	if (audit_segment(segment(), print_finding, NULL) != 0)
		fail_msg("%s, killed after %zu instructions: findings later", subject->name,
			 instructions);
}

/* All free, the limit as it was, and nobody else. */
static void renew(const struct subject *subject)
{
	reap();
	give_back();
	if (names_exact_row(segment(), "api") < 0) {
		const struct rule rule = {
			.kind = ROW_EXACT, .text = "api", .terms = terms_of(world.limit, 0)};

		assert_true(rules_add(segment(), &rule) >= 0);
	}
	set_limit(world.limit);
	set_found_bounds(LIMIT);
	set_found(LIMIT);
	permit_chain_tend(segment());
	assert_int_equal(take_all(world.found), LIMIT);
	rules_reset(segment(), api_row(), api_row());
	assert_int_equal(take_all(world.api), world.limit);
	if (subject->arrange)
		subject->arrange();
}

static void kill_at(const struct subject *subject, struct stepper_trace *trace, size_t instructions)
{
	const struct stepper_call call = {.prepare = subject->prepare, .call = subject->call};

	renew(subject);
	if (!stepper_kill_running(&call, trace, instructions)) {
		renew(subject);
		/* as many rows as are used, or what the time is, may be part of its way */
		for (unsigned tries = 0; !stepper_kill_stepping(&call, trace, instructions);
		     tries++) {
			if (tries)
				fail_msg("%s takes another way each time", subject->name);
			renew(subject);
		}
	}
	check_after(subject, instructions);
}

static void run(struct subject subject)
{
	const struct stepper_call call = {.prepare = subject.prepare, .call = subject.call};
	struct stepper_trace trace;
	unsigned long places = 0;

	world.limit_after = subject.limit_after ? subject.limit_after : world.limit;
	renew(&subject);
	if (!stepper_record(&call, &trace))
		fail_msg("%s does not end", subject.name);

	size_t stride = subject.is_sampled ? 1 + trace.count / PLACES_MAX : 1;

	for (size_t i = 0; i <= trace.count; i += stride) {
		kill_at(&subject, &trace, i);
		places++;
	}
	printf("%-34s killed at %5lu places of %5zu instructions\n", subject.name, places,
	       trace.count);
	fflush(stdout);
	world.places += places;
	stepper_free(&trace);
}

/* ---- tests ---- */

static void test_take(void **state)
{
	(void)state;
	run((struct subject){"take", NULL, warm, call_take, 0, false});
	run((struct subject){"take, none is free", arrange_none_free, warm, call_take_refused, 0,
			     false});
	run((struct subject){"take with tokens", NULL, warm, call_enter, 0, false});
	run((struct subject){"release", NULL, prepare_taken, call_release, 0, false});
	run((struct subject){"inherit", arrange_one, warm, call_inherit, 0, false});
}

static void test_line(void **state)
{
	(void)state;
	run((struct subject){"wait, until it is too late", arrange_none_free, warm, call_take_late,
			     0, false});
	run((struct subject){"join the line", NULL, warm, call_queue, 0, false});
	run((struct subject){"take from the line", NULL, prepare_in_line, call_poll, 0, false});
	run((struct subject){"take beside one in line", arrange_line, warm, call_take, 0, false});
	run((struct subject){"leave the line", NULL, prepare_in_line, call_unqueue, 0, false});
	run((struct subject){"release, and call", NULL, prepare_taken_and_in_line, call_release, 0,
			     false});
}

static void test_reap(void **state)
{
	(void)state;
	run((struct subject){"take what a dead one held", arrange_dead, warm, call_take, 0, false});
	run((struct subject){"join in a dead one's slot", arrange_crowd, prepare_nothing, call_take,
			     0, false});
	run((struct subject){"close with all that is held", NULL, prepare_taken_and_in_line,
			     call_close, 0, false});
	run((struct subject){"take what was held too long", arrange_overdue, warm, call_strike, 0,
			     false});
}

static void test_publisher(void **state)
{
	(void)state;
	run((struct subject){"raise a limit", NULL, prepare_nothing, call_raise, 9, true});
	run((struct subject){"lower a limit", NULL, prepare_nothing, call_raise, 1, true});
	/* the name falls under [default] then, without a limit */
	run((struct subject){"remove a rule", NULL, prepare_nothing, call_remove, 16, true});
}

/* A limit that is found: its calls, and those who find it. */
static void test_found(void **state)
{
	(void)state;
	run((struct subject){"fail, and count", NULL, prepare_call, call_fail, 0, false});
	run((struct subject){"start, release, and count", NULL, prepare_call, call_start, 0,
			     false});
	run((struct subject){"find less", NULL, prepare_nothing, call_find_less, 0, false});
	run((struct subject){"find more", arrange_less, prepare_nothing, call_find_more, 0, false});
	run((struct subject){"change the bounds", NULL, prepare_nothing, call_bound, 0, true});
	run((struct subject){"find no more", NULL, prepare_nothing, call_give, 0, true});
}

/* Whoever is about to sleep finds that the time has passed. */
static void pass_time(void *context, const struct weir_event *event)
{
	(void)context;
	if (event->kind == WEIR_EVENT_WAIT)
		time_source_advance(&segment()->time, SCENE_SECOND);
}

static int setup(void **state)
{
	struct rule rule = {.kind = ROW_EXACT, .text = "api", .terms = terms_of(LIMIT, 0)};

	(void)state;
	world = (struct world){.limit = LIMIT, .limit_after = LIMIT};
	scene_begin(&world.scene, &small_shape);
	assert_true(rules_add(segment(), &rule) >= 0);
	rule.text = "held";
	rule.terms = terms_of(LIMIT, SCENE_SECOND);
	assert_true(rules_add(segment(), &rule) >= 0);

	rule.text = "found";
	rule.terms = terms_found(LIMIT);
	assert_true(rules_add(segment(), &rule) >= 0);

	struct weir_options options = scene_options(&world.scene.place);

	options.trace = pass_time;
	assert_int_equal(weir_open(&world.weir, &options), 0);
	world.api = scene_endpoint(world.weir, "api");
	world.held = scene_endpoint(world.weir, "held");
	world.found = scene_endpoint(world.weir, "found");
	return world.api && world.held && world.found ? 0 : -1;
}

static int leave(void **state)
{
	(void)state;
	printf("killed at %lu places\n", world.places);
	weir_endpoint_close(world.api);
	weir_endpoint_close(world.held);
	weir_endpoint_close(world.found);
	weir_close(world.weir);
	scene_end(&world.scene);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_take, setup, leave),
		cmocka_unit_test_setup_teardown(test_line, setup, leave),
		cmocka_unit_test_setup_teardown(test_reap, setup, leave),
		cmocka_unit_test_setup_teardown(test_publisher, setup, leave),
		cmocka_unit_test_setup_teardown(test_found, setup, leave),
	};
	const char *why = UNDER_THREAD_SANITIZER
				  ? "ThreadSanitizer gives every process a thread of its own"
				  : stepper_unavailable();

	if (why) {
		printf("skipped: %s\n", why);
		return TEST_SKIPPED;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
