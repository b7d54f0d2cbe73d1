/* SPDX-License-Identifier: Apache-2.0
 *
 * A client is killed after every instruction of every call that changes the segment. After each
 * kill the segment is audited, the dead member's slot comes back, and another process goes on:
 * it draws the bucket empty on a clock that stands still, and finds the tokens there but for
 * those of the one call, all of them or none.
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
#include "members.h"
#include "stepper.h"
#include "thread_sanitizer.h"
#include "weir.h"

enum {
	BURST = 6,
	WARM = 1, /* tokens that the child's first call takes, before the one that counts */
	FRESH_NAMES = 16384,
	PLACES_MAX = 3200, /* of one call; sanitizers make calls longer than that */
};

/* What the parent hosts, and the children inherit. */
struct world {
	struct weir *weir;
	struct weir_endpoint *api; /* the limit at hand, and its name */
	const char *name;
	struct weir_endpoint *fresh; /* of this child: never used before */
	struct weir_reservation reservation;
	char fresh_name[24];
	unsigned fresh_count;
	uint64_t granted; /* calls, when the child began */
	unsigned long places;
};

static struct world world;

/* A call to be killed in, and what may be left of the burst afterwards. */
struct subject {
	const char *name;
	void (*prepare)(void *context);
	void (*call)(void *context);
	unsigned left_before; /* tokens, if it did not happen */
	unsigned left_after;  /* if it did */
	unsigned granted;     /* calls, before it */
	bool closes;	      /* if it did, nothing passes until the gate is opened */
	bool is_fresh;	      /* it is about a name that nobody used */
};

static void need(bool is_so)
{
	if (!is_so)
		_exit(101);
}

/* ---- in the child ---- */

/* The first call of a forked child makes it a member of its own. */
static void warm(void *context)
{
	(void)context;
	need(weir_acquire(world.api, WARM, NULL) == WEIR_ADMIT);
}

static void warm_and_reserve(double cost)
{
	struct weir_answer answer;

	warm(NULL);
	need(weir_reserve(world.api, cost, WEIR_FOREVER, &world.reservation, &answer) ==
	     WEIR_ADMIT);
}

static void prepare_reserved_2(void *context)
{
	(void)context;
	warm_and_reserve(2);
}

static void prepare_reserved_3(void *context)
{
	(void)context;
	warm_and_reserve(3);
}

static void prepare_reserved_6(void *context)
{
	(void)context;
	warm_and_reserve(6);
}

static void prepare_refused(void *context)
{
	warm(context);
	need(weir_acquire(world.api, BURST - WARM, NULL) == WEIR_ADMIT);
}

static void prepare_closed(void *context)
{
	warm(context);
	need(weir_gate_close(world.api, WEIR_SECOND) == 0);
}

/* Closed, and the time has come: the first call drains the bucket and settles the gate. */
static void prepare_opened(void *context)
{
	prepare_closed(context);
	need(weir_gate_open(world.api) == 0);
}

/* Its turn was there, and then came a closure. */
static void prepare_lapsed(void *context)
{
	warm_and_reserve(2);
	need(weir_gate_close(world.api, WEIR_SECOND) == 0 && weir_gate_open(world.api) == 0);
	(void)context;
}

static void prepare_fresh(void *context)
{
	warm(context);
	need(weir_endpoint(world.weir, world.fresh_name, &world.fresh) == 0);
}

static void call_acquire(void *context)
{
	(void)context;
	weir_acquire(world.api, 2, NULL);
}

static void call_acquire_answered(void *context)
{
	struct weir_answer answer;

	(void)context;
	weir_acquire(world.api, 2, &answer);
}

static void call_wait(void *context)
{
	(void)context;
	weir_wait(world.api, 2, WEIR_SECOND, NULL);
}

static void call_reserve(void *context)
{
	struct weir_answer answer;

	(void)context;
	weir_reserve(world.api, 2, WEIR_FOREVER, &world.reservation, &answer);
}

static void call_reserve_ahead(void *context)
{
	struct weir_answer answer;

	(void)context;
	weir_reserve(world.api, 6, WEIR_FOREVER, &world.reservation, &answer);
}

static void call_cancel(void *context)
{
	(void)context;
	weir_cancel(world.api, &world.reservation, NULL);
}

static void call_settle_1(void *context)
{
	(void)context;
	weir_settle(world.api, &world.reservation, 1);
}

static void call_settle_4(void *context)
{
	(void)context;
	weir_settle(world.api, &world.reservation, 4);
}

static void call_place(void *context)
{
	(void)context;
	weir_reservation_wait(world.api, &world.reservation, WEIR_SECOND, NULL);
}

static int no_work(void *context)
{
	(void)context;
	return 0;
}

static void call_execute(void *context)
{
	(void)context;
	weir_execute(world.api, 2, WEIR_SECOND, no_work, NULL, NULL, NULL);
}

/* By so little that no token is minted, in all the places together. */
static void call_advance(void *context)
{
	(void)context;
	weir_clock_advance(world.weir, 1);
}

static void call_close(void *context)
{
	(void)context;
	weir_gate_close(world.api, WEIR_SECOND);
}

static void call_open(void *context)
{
	(void)context;
	weir_gate_open(world.api);
}

static void call_fresh(void *context)
{
	(void)context;
	weir_acquire(world.fresh, 2, NULL);
}

static void call_resolve(void *context)
{
	(void)context;
	if (weir_endpoint(world.weir, world.fresh_name, &world.fresh) == 0)
		weir_acquire(world.fresh, 2, NULL);
}

/* ---- in the parent, after the kill ---- */

static struct segment *segment(void)
{
	return &atomic_load(&world.weir->current)->segment;
}

static uint32_t own_slot(void)
{
	return atomic_load(&world.weir->current)->slot;
}

static void print_finding(void *context, const struct audit_finding *finding)
{
	(void)context;
	if (finding->severity == AUDIT_FINDING)
		print_error("%s %u: %s (%#llx)\n", finding->where, finding->index, finding->what,
			    (unsigned long long)finding->value);
}

/* Everything that is there, a token at a time. */
static unsigned draw_all(struct weir_endpoint *endpoint)
{
	unsigned drawn = 0;

	while (weir_acquire(endpoint, 1, NULL) == WEIR_ADMIT)
		drawn++;
	return drawn;
}

static struct weir_level level_of(struct weir_endpoint *endpoint)
{
	struct weir_level level = {.size = sizeof(level)};

	assert_int_equal(weir_peek(endpoint, &level), 0);
	return level;
}

/* How many slots of dead members came back. */
static unsigned reap(void)
{
	unsigned reaped = 0;

	for (uint32_t slot = 0; slot < segment()->member_count; slot++)
		if (slot != own_slot())
			reaped += members_reap(segment(), slot);
	return reaped;
}

static void check_closed(const struct subject *subject, size_t instructions)
{
	struct weir_level level = level_of(world.api);
	unsigned drawn = draw_all(world.api);

	if (level.closed_ns == 0 ? drawn != subject->left_before : drawn != 0)
		fail_msg("%s, killed after %zu instructions: %s, and %u passed", subject->name,
			 instructions, level.closed_ns ? "closed" : "open", drawn);
	assert_int_equal(weir_gate_open(world.api), 0);
}

static void check_left(const struct subject *subject, struct weir_endpoint *endpoint,
		       size_t instructions)
{
	uint64_t granted = level_of(endpoint).granted;
	unsigned drawn = draw_all(endpoint);

	if (drawn != subject->left_before && drawn != subject->left_after)
		fail_msg("%s, killed after %zu instructions: %u passed, not %u or %u",
			 subject->name, instructions, drawn, subject->left_before,
			 subject->left_after);
	/* the counts know of every grant but, perhaps, of the one call's */
	granted -= subject->is_fresh ? 0 : world.granted;
	assert_true(granted == subject->granted || granted == subject->granted + 1);
}

static void check_after(const struct subject *subject, size_t instructions)
{
	if (audit_segment(segment(), print_finding, NULL) != 0)
		fail_msg("%s, killed after %zu instructions: findings", subject->name,
			 instructions);
	assert_int_equal(reap(), 1);
	if (subject->closes) {
		check_closed(subject, instructions);
	} else if (subject->is_fresh) {
		struct weir_endpoint *fresh;

		assert_int_equal(weir_endpoint(world.weir, world.fresh_name, &fresh), 0);
		check_left(subject, fresh, instructions);
		weir_endpoint_close(fresh);
	} else {
		check_left(subject, world.api, instructions);
	}
}

/* A full bucket, an open gate, nobody else, and a name that nobody knows. */
static void renew(const struct subject *subject)
{
	reap();
	assert_int_equal(weir_gate_open(world.api), 0);
	weir_acquire(world.api, 1, NULL);
	assert_int_equal(weir_reset(world.weir, world.name), 0);
	assert_true(level_of(world.api).level == BURST);
	world.granted = level_of(world.api).granted;
	if (subject->is_fresh)
		snprintf(world.fresh_name, sizeof(world.fresh_name), "fresh %u",
			 world.fresh_count++);
	assert_true(world.fresh_count < FRESH_NAMES);
}

/* Returns whether it took stepping. */
static bool kill_at(const struct subject *subject, struct stepper_trace *trace, size_t instructions)
{
	const struct stepper_call call = {.prepare = subject->prepare, .call = subject->call};
	bool stepped;

	renew(subject);
	stepped = !stepper_kill_running(&call, trace, instructions);
	if (stepped) {
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
	return stepped;
}

static void kill_everywhere(const struct subject *subject)
{
	const struct stepper_call call = {.prepare = subject->prepare, .call = subject->call};
	struct stepper_trace trace;
	unsigned long places = 0;
	unsigned long stepped = 0;

	renew(subject);
	if (!stepper_record(&call, &trace))
		fail_msg("%s does not end", subject->name);

	size_t stride = 1 + trace.count / PLACES_MAX;

	for (size_t i = 0; i <= trace.count; i += stride) {
		stepped += kill_at(subject, &trace, i);
		places++;
	}
	printf("%-34s killed at %5lu places of %5zu instructions, %lu times stepping\n",
	       subject->name, places, trace.count, stepped);
	fflush(stdout);
	world.places += places;
	stepper_free(&trace);
}

static void run(struct subject subject)
{
	kill_everywhere(&subject);
}

#define LEFT (BURST - WARM)

static void test_acquire(void **state)
{
	(void)state;
	run((struct subject){.name = "acquire",
			     .prepare = warm,
			     .call = call_acquire,
			     .left_before = LEFT,
			     .left_after = LEFT - 2,
			     .granted = 1});
	run((struct subject){.name = "acquire, with an answer",
			     .prepare = warm,
			     .call = call_acquire_answered,
			     .left_before = LEFT,
			     .left_after = LEFT - 2,
			     .granted = 1});
	run((struct subject){.name = "acquire, refused",
			     .prepare = prepare_refused,
			     .call = call_acquire_answered,
			     .granted = 2});
	run((struct subject){.name = "wait, which need not",
			     .prepare = warm,
			     .call = call_wait,
			     .left_before = LEFT,
			     .left_after = LEFT - 2,
			     .granted = 1});
}

static void test_execute(void **state)
{
	(void)state;
	run((struct subject){.name = "execute",
			     .prepare = warm,
			     .call = call_execute,
			     .left_before = LEFT,
			     .left_after = LEFT - 2,
			     .granted = 1});
}

static void test_advance(void **state)
{
	(void)state;
	run((struct subject){.name = "move the manual clock",
			     .prepare = warm,
			     .call = call_advance,
			     .left_before = LEFT,
			     .left_after = LEFT,
			     .granted = 1});
}

static void test_place(void **state)
{
	(void)state;
	run((struct subject){.name = "wait for a place whose turn it is",
			     .prepare = prepare_reserved_2,
			     .call = call_place,
			     .left_before = LEFT - 2,
			     .left_after = LEFT - 2,
			     .granted = 2});
	run((struct subject){.name = "wait for a place that has lapsed",
			     .prepare = prepare_lapsed,
			     .call = call_place,
			     .granted = 2});
}

static void test_reserve(void **state)
{
	(void)state;
	run((struct subject){.name = "reserve",
			     .prepare = warm,
			     .call = call_reserve,
			     .left_before = LEFT,
			     .left_after = LEFT - 2,
			     .granted = 1});
	run((struct subject){.name = "reserve, ahead of the level",
			     .prepare = warm,
			     .call = call_reserve_ahead,
			     .left_before = LEFT,
			     .granted = 1});
}

static void test_give_back(void **state)
{
	(void)state;
	run((struct subject){.name = "cancel",
			     .prepare = prepare_reserved_2,
			     .call = call_cancel,
			     .left_before = LEFT - 2,
			     .left_after = LEFT,
			     .granted = 2});
	run((struct subject){.name = "cancel, last in line",
			     .prepare = prepare_reserved_6,
			     .call = call_cancel,
			     .left_after = LEFT,
			     .granted = 2});
	run((struct subject){.name = "settle, to less",
			     .prepare = prepare_reserved_3,
			     .call = call_settle_1,
			     .left_before = LEFT - 3,
			     .left_after = LEFT - 1,
			     .granted = 2});
	run((struct subject){.name = "settle, to more",
			     .prepare = prepare_reserved_2,
			     .call = call_settle_4,
			     .left_before = LEFT - 2,
			     .left_after = LEFT - 4,
			     .granted = 2});
}

static void test_gate(void **state)
{
	(void)state;
	run((struct subject){.name = "close",
			     .prepare = warm,
			     .call = call_close,
			     .left_before = LEFT,
			     .closes = true});
	run((struct subject){
		.name = "open", .prepare = prepare_closed, .call = call_open, .closes = true});
	run((struct subject){.name = "acquire, the first after a closure",
			     .prepare = prepare_opened,
			     .call = call_acquire_answered,
			     .granted = 1});
}

static void test_fresh(void **state)
{
	(void)state;
	run((struct subject){.name = "acquire, the first of a bucket",
			     .prepare = prepare_fresh,
			     .call = call_fresh,
			     .left_before = BURST,
			     .left_after = BURST - 2,
			     .is_fresh = true});
	run((struct subject){.name = "resolve a new name, and acquire",
			     .prepare = warm,
			     .call = call_resolve,
			     .left_before = BURST,
			     .left_after = BURST - 2,
			     .is_fresh = true});
}

/* The same of a limit whose quota is renewed by windows; the clock stands within one. */
static void test_windows_of(const char *name)
{
	struct weir_endpoint *straight = world.api;
	struct subject subject = {.name = "windows: acquire",
				  .prepare = warm,
				  .call = call_acquire_answered,
				  .left_before = LEFT,
				  .left_after = LEFT - 2,
				  .granted = 1};

	assert_int_equal(weir_endpoint(world.weir, name, &world.api), 0);
	world.name = name;
	run(subject);
	run((struct subject){.name = "windows: acquire, refused",
			     .prepare = prepare_refused,
			     .call = call_acquire_answered,
			     .granted = 2});
	/* a place begins with its window: what is left of this one is nobody's */
	run((struct subject){.name = "windows: reserve, ahead of the level",
			     .prepare = warm,
			     .call = call_reserve_ahead,
			     .left_before = LEFT,
			     .granted = 1});
	run((struct subject){.name = "windows: cancel",
			     .prepare = prepare_reserved_2,
			     .call = call_cancel,
			     .left_before = LEFT - 2,
			     .left_after = LEFT,
			     .granted = 2});
	run((struct subject){.name = "windows: cancel, last in line",
			     .prepare = prepare_reserved_6,
			     .call = call_cancel,
			     .granted = 2});
	run((struct subject){.name = "windows: settle, to less",
			     .prepare = prepare_reserved_3,
			     .call = call_settle_1,
			     .left_before = LEFT - 3,
			     .left_after = LEFT - 1,
			     .granted = 2});
	run((struct subject){.name = "windows: settle, to more",
			     .prepare = prepare_reserved_2,
			     .call = call_settle_4,
			     .left_before = LEFT - 2,
			     .left_after = LEFT - 4,
			     .granted = 2});
	subject.name = "windows: the first after a closure";
	subject.prepare = prepare_opened;
	run(subject);
	weir_endpoint_close(world.api);
	world.api = straight;
	world.name = "api";
}

static void test_first(void **state)
{
	(void)state;
	test_windows_of("first");
}

static void test_aligned(void **state)
{
	(void)state;
	test_windows_of("aligned");
}

static int host(void **state)
{
	char ini[400];
	char faults[256] = "";

	(void)state;
	snprintf(ini, sizeof(ini),
		 "[weir]\nendpoints = 8\nnames = %d\nmembers = 4\n[default]\nrate = 1/s\n"
		 "burst = %d\n[endpoint api]\nrate = 1/s\nburst = %d\n"
		 "[endpoint first]\nrate = %d/h\nwindow = 1h first\n"
		 "[endpoint aligned]\nrate = %d/h\nwindow = 1h\n",
		 FRESH_NAMES, BURST, BURST, BURST, BURST);
	world.name = "api";
	if (weir_host(&world.weir, ini, WEIR_CLOCK_MANUAL, NULL, faults, sizeof(faults)) < 0 ||
	    weir_endpoint(world.weir, "api", &world.api) < 0) {
		print_error("%s", faults);
		return -1;
	}
	return weir_acquire(world.api, 1, NULL) == WEIR_ADMIT ? 0 : -1;
}

static int leave(void **state)
{
	(void)state;
	printf("killed at %lu places in all\n", world.places);
	weir_endpoint_close(world.api);
	weir_close(world.weir);
	return 0;
}

/* An argument picks tests, as cmocka_set_test_filter() does. */
int main(int count, char **arguments)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_acquire), cmocka_unit_test(test_reserve),
		cmocka_unit_test(test_execute), cmocka_unit_test(test_advance),
		cmocka_unit_test(test_place),	cmocka_unit_test(test_give_back),
		cmocka_unit_test(test_gate),	cmocka_unit_test(test_fresh),
		cmocka_unit_test(test_first),	cmocka_unit_test(test_aligned),
	};
	const char *why = UNDER_THREAD_SANITIZER
				  ? "ThreadSanitizer gives every process a thread of its own"
				  : stepper_unavailable();

	if (why) {
		printf("skipped: %s\n", why);
		return TEST_SKIPPED;
	}
	if (count > 1)
		cmocka_set_test_filter(arguments[1]);
	return cmocka_run_group_tests(tests, host, leave);
}
