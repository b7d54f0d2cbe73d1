/* SPDX-License-Identifier: Apache-2.0
 *
 * A client is killed after every instruction of the calls that need several buckets, take what is
 * there, belong to a class, or have a shadow. After each kill the segment is audited, the dead
 * member's slot comes back, and of each bucket all that the call takes of it is gone, or nothing:
 * in no other combinations than those in the order of the buckets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "audit.h"
#include "members.h"
#include "several.h"
#include "shadow.h"
#include "stepper.h"
#include "thread_sanitizer.h"
#include "weir.h"

enum {
	BURST = 6,
	PLACES_MAX = 3200, /* of one call; sanitizers make calls longer than that */
	COMBINATIONS = 4,
};

/* What the parent hosts, and the children inherit; in the order of their buckets. */
enum endpoint { A, B, CLASSED, DRY, ENDPOINTS };

#define RULES(RATE)                                                                                \
	"[weir]\nendpoints = 8\nnames = 8\nmembers = 4\n"                                          \
	"[default]\nrate = 1/s\n"                                                                  \
	"[endpoint a]\nbudget.tokens = b\n" RATE "[endpoint b]\n" RATE "[endpoint classed]\n" RATE \
	"class batch = leave 2\n"                                                                  \
	"[endpoint dry]\n" RATE "shadow = yes\nshadow_rate = 1/s\nshadow_burst = 3\n"

/* By a rate, and by both kinds of windows. */
static const struct rules {
	const char *name;
	const char *text;
} rules[] = {
	{"", RULES("rate = 1/s\nburst = 6\n")},
	{"windows: ", RULES("rate = 6/h\nwindow = 1h\n")},
	{"windows, first: ", RULES("rate = 6/h\nwindow = 1h first\n")},
};

static const char *const names[ENDPOINTS] = {"a", "b", "classed", "dry"};

static struct world {
	const struct rules *rules;
	struct weir *weir;
	struct weir_endpoint *endpoints[ENDPOINTS];
	struct weir_endpoint *batch; /* of "classed" */
	struct weir_level before[ENDPOINTS];
	unsigned long places;
} world;

struct subject {
	const char *name;
	void (*prepare)(void *context);
	void (*call)(void *context);
	/* tokens that `prepare` and the call have taken of each, wherever it was killed */
	double taken[COMBINATIONS][ENDPOINTS];
	unsigned combinations;
	unsigned passed; /* calls that shadow mode may have let pass, and been counted */
	unsigned refused;
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
	need(weir_acquire(world.endpoints[A], 1, NULL) == WEIR_ADMIT);
}

static void prepare_empty_b(void *context)
{
	warm(context);
	need(weir_acquire(world.endpoints[B], BURST, NULL) == WEIR_ADMIT);
}

static void prepare_dry(void *context)
{
	warm(context);
	need(weir_acquire(world.endpoints[DRY], BURST - 1, NULL) == WEIR_ADMIT);
}

static const struct weir_want *two_wants(void)
{
	static struct weir_want wants[2];

	/* not in the order of the buckets */
	wants[0] = (struct weir_want){.endpoint = world.endpoints[B], .cost = 3};
	wants[1] = (struct weir_want){.endpoint = world.endpoints[A], .cost = 2};
	return wants;
}

static void call_all(void *context)
{
	struct weir_answer answer;

	(void)context;
	weir_acquire_all(two_wants(), 2, &answer);
}

static void call_wait_all(void *context)
{
	struct weir_answer answer;

	(void)context;
	weir_wait_all(two_wants(), 2, WEIR_SECOND, &answer);
}

/* Without a look, so that the second one is refused when the first is taken. */
static void call_take(void *context)
{
	static struct several several;

	(void)context;
	need(several_begin(&several, two_wants(), 2) == 0);
	need(several_take(&several) == ATTEMPT_REFUSED);
}

#define HEADER(name, value)                                                                        \
	{                                                                                          \
		name, value, WEIR_TEXT, WEIR_TEXT                                                  \
	}

static void call_observe_left(void *context)
{
	static const struct weir_header headers[] = {
		HEADER("X-RateLimit-Limit", "100"),
		HEADER("X-RateLimit-Remaining", "2"),
	};

	(void)context;
	weir_observe(world.endpoints[A], 200, headers, 2, 0, NULL);
}

static void call_observe_refusal(void *context)
{
	static const struct weir_header headers[] = {HEADER("Retry-After", "30")};

	(void)context;
	weir_observe(world.endpoints[A], 429, headers, 1, 0, NULL);
}

/* The rule of A says whose the tokens are. */
static void call_observe_budget(void *context)
{
	static const struct weir_header headers[] = {
		HEADER("x-ratelimit-remaining-requests", "3"),
		HEADER("x-ratelimit-remaining-tokens", "1"),
	};

	(void)context;
	weir_observe(world.endpoints[A], 200, headers, 2, 0, NULL);
}

static void call_up_to(void *context)
{
	uint64_t taken;

	(void)context;
	weir_acquire_up_to(world.endpoints[A], 2, 1, 10, &taken, NULL);
}

static void call_batch(void *context)
{
	struct weir_answer answer;

	(void)context;
	weir_acquire(world.batch, 3, &answer);
}

static void call_batch_refused(void *context)
{
	struct weir_answer answer;

	(void)context;
	weir_acquire(world.batch, 5, &answer);
}

/* The limit would refuse it, and so would the shadow limit. */
static void call_dry(void *context)
{
	struct weir_answer answer;

	(void)context;
	weir_acquire(world.endpoints[DRY], 4, &answer);
}

/* Both would admit it. */
static void call_weighed(void *context)
{
	(void)context;
	weir_acquire(world.endpoints[DRY], 1, NULL);
}

/* ---- in the parent, after the kill ---- */

static struct segment *segment(void)
{
	return &atomic_load(&world.weir->current)->segment;
}

static void print_finding(void *context, const struct audit_finding *finding)
{
	(void)context;
	if (finding->severity == AUDIT_FINDING)
		print_error("%s %u: %s (%#llx)\n", finding->where, finding->index, finding->what,
			    (unsigned long long)finding->value);
}

static unsigned reap(void)
{
	uint32_t own = atomic_load(&world.weir->current)->slot;
	unsigned reaped = 0;

	for (uint32_t slot = 0; slot < segment()->member_count; slot++)
		if (slot != own)
			reaped += members_reap(segment(), slot);
	return reaped;
}

static struct weir_level level_of(enum endpoint endpoint)
{
	struct weir_level level = {.size = sizeof(level)};

	assert_int_equal(weir_peek(world.endpoints[endpoint], &level), 0);
	return level;
}

/* Everything that is there, a token at a time. */
static double draw_all(enum endpoint endpoint)
{
	double drawn = 0;

	while (weir_acquire(world.endpoints[endpoint], 1, NULL) == WEIR_ADMIT)
		drawn++;
	return drawn;
}

static bool is_one_of(const struct subject *subject, const double *left)
{
	for (unsigned i = 0; i < subject->combinations; i++) {
		bool fits = true;

		for (unsigned at = A; at < ENDPOINTS; at++)
			fits &= left[at] == BURST - subject->taken[i][at];
		if (fits)
			return true;
	}
	return false;
}

static void check_shadows(const struct subject *subject, size_t instructions)
{
	struct weir_level level = level_of(DRY);
	uint64_t passed = level.shadow_passed - world.before[DRY].shadow_passed;
	uint64_t refused = level.shadow_refused - world.before[DRY].shadow_refused;

	if (passed > subject->passed || refused > subject->refused)
		fail_msg("%s, killed after %zu instructions: the shadows counted %llu and %llu",
			 subject->name, instructions, (unsigned long long)passed,
			 (unsigned long long)refused);
}

static void check_after(const struct subject *subject, size_t instructions)
{
	double left[ENDPOINTS];

	if (audit_segment(segment(), print_finding, NULL) != 0)
		fail_msg("%s, killed after %zu instructions: findings", subject->name,
			 instructions);
	assert_int_equal(reap(), 1);
	check_shadows(subject, instructions);
	left[DRY] = level_of(DRY).level;
	for (unsigned at = A; at < DRY; at++)
		left[at] = draw_all((enum endpoint)at);
	if (!is_one_of(subject, left))
		fail_msg("%s, killed after %zu instructions: left are %g, %g, %g and %g",
			 subject->name, instructions, left[A], left[B], left[CLASSED], left[DRY]);
}

/* Full buckets, open, and nobody else. */
static void renew(void)
{
	reap();
	for (unsigned at = A; at < ENDPOINTS; at++) {
		assert_int_equal(weir_gate_open(world.endpoints[at]), 0);
		assert_int_equal(weir_reset(world.weir, names[at]), 0);
		world.before[at] = level_of((enum endpoint)at);
		assert_true(world.before[at].level == BURST);
	}
}

/* Returns whether it took stepping. */
static bool kill_at(const struct subject *subject, struct stepper_trace *trace, size_t instructions)
{
	const struct stepper_call call = {.prepare = subject->prepare, .call = subject->call};
	bool stepped;

	renew();
	stepped = !stepper_kill_running(&call, trace, instructions);
	if (stepped) {
		renew();
		/* as many rows as are used, or what the time is, may be part of its way */
		for (unsigned tries = 0; !stepper_kill_stepping(&call, trace, instructions);
		     tries++) {
			if (tries)
				fail_msg("%s takes another way each time", subject->name);
			renew();
		}
	}
	check_after(subject, instructions);
	return stepped;
}

static void run(struct subject subject)
{
	const struct stepper_call call = {.prepare = subject.prepare, .call = subject.call};
	struct stepper_trace trace;
	unsigned long places = 0;
	unsigned long stepped = 0;

	renew();
	if (!stepper_record(&call, &trace))
		fail_msg("%s does not end", subject.name);

	size_t stride = 1 + trace.count / PLACES_MAX;

	for (size_t i = 0; i <= trace.count; i += stride) {
		stepped += kill_at(&subject, &trace, i);
		places++;
	}
	printf("%s%-34s killed at %5lu places of %5zu instructions, %lu times stepping\n",
	       world.rules->name, subject.name, places, trace.count, stepped);
	fflush(stdout);
	world.places += places;
	stepper_free(&trace);
}

/* ---- tests ---- */

static void test_several(void **state)
{
	(void)state;
	run((struct subject){.name = "acquire, of two endpoints",
			     .prepare = warm,
			     .call = call_all,
			     .taken = {{1}, {3}, {3, 3}},
			     .combinations = 3});
	run((struct subject){.name = "wait, for two endpoints",
			     .prepare = warm,
			     .call = call_wait_all,
			     .taken = {{1}, {3}, {3, 3}},
			     .combinations = 3});
	run((struct subject){.name = "acquire, refused by the second",
			     .prepare = prepare_empty_b,
			     .call = call_all,
			     .taken = {{1, BURST}},
			     .combinations = 1});
	run((struct subject){.name = "acquire, the first goes back",
			     .prepare = prepare_empty_b,
			     .call = call_take,
			     .taken = {{1, BURST}, {3, BURST}},
			     .combinations = 2});
}

static void test_up_to(void **state)
{
	(void)state;
	run((struct subject){.name = "acquire, as many as are there",
			     .prepare = warm,
			     .call = call_up_to,
			     .taken = {{1}, {5}},
			     .combinations = 2});
}

static void test_class(void **state)
{
	(void)state;
	run((struct subject){.name = "acquire, of a class",
			     .prepare = warm,
			     .call = call_batch,
			     .taken = {{1}, {1, 0, 3}},
			     .combinations = 2});
	run((struct subject){.name = "acquire, of a class, refused",
			     .prepare = warm,
			     .call = call_batch_refused,
			     .taken = {{1}},
			     .combinations = 1});
}

static void test_shadow(void **state)
{
	(void)state;
	run((struct subject){.name = "acquire, refused in the shadow",
			     .prepare = prepare_dry,
			     .call = call_dry,
			     .taken = {{1, 0, 0, BURST - 1}},
			     .combinations = 1,
			     .passed = 1,
			     .refused = 2});
	run((struct subject){.name = "acquire, weighed by a shadow",
			     .prepare = warm,
			     .call = call_weighed,
			     .taken = {{1}, {1, 0, 0, 1}},
			     .combinations = 2});
}

/* A response lowers the level, or closes; or it has not come. */
static void test_observe(void **state)
{
	(void)state;
	run((struct subject){.name = "observe, what is left",
			     .prepare = warm,
			     .call = call_observe_left,
			     .taken = {{1}, {4}},
			     .combinations = 2});
	run((struct subject){.name = "observe, a refusal",
			     .prepare = warm,
			     .call = call_observe_refusal,
			     .taken = {{1}, {BURST}},
			     .combinations = 2});
	run((struct subject){.name = "observe, of another endpoint",
			     .prepare = warm,
			     .call = call_observe_budget,
			     .taken = {{1}, {1, 5}, {3, 5}},
			     .combinations = 3});
}

static int host(void **state)
{
	char faults[256] = "";

	(void)state;
	if (weir_host(&world.weir, world.rules->text, WEIR_CLOCK_MANUAL, NULL, faults,
		      sizeof(faults)) < 0) {
		print_error("%s", faults);
		return -1;
	}
	for (unsigned at = A; at < ENDPOINTS; at++)
		if (weir_endpoint(world.weir, names[at], &world.endpoints[at]) < 0 ||
		    weir_acquire(world.endpoints[at], 1, NULL) != WEIR_ADMIT)
			return -1;
	return weir_endpoint_class(world.weir, "classed", "batch", &world.batch);
}

static int leave(void **state)
{
	(void)state;
	printf("killed at %lu places in all\n", world.places);
	for (unsigned at = A; at < ENDPOINTS; at++)
		weir_endpoint_close(world.endpoints[at]);
	weir_endpoint_close(world.batch);
	weir_close(world.weir);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_several), cmocka_unit_test(test_up_to),
		cmocka_unit_test(test_class),	cmocka_unit_test(test_shadow),
		cmocka_unit_test(test_observe),
	};
	const char *why = UNDER_THREAD_SANITIZER
				  ? "ThreadSanitizer gives every process a thread of its own"
				  : stepper_unavailable();

	if (why) {
		printf("skipped: %s\n", why);
		return TEST_SKIPPED;
	}
	int failed = 0;

	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		world = (struct world){.rules = &rules[i]};
		failed += cmocka_run_group_tests(tests, host, leave);
	}
	return failed;
}
