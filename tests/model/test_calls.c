/* SPDX-License-Identifier: Apache-2.0
 *
 * The code itself under interleavings (stepped.h): calls that need several buckets, take what is
 * there, belong to a class, or run in shadow mode. Time stands still, so what may be granted is
 * known to a token.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "class.h"
#include "handle.h"
#include "rules.h"
#include "stepped.h"
#include "thread_sanitizer.h"
#include "weir.h"

enum {
	BURST = 2,
	CLIENTS = 3,
};

/* The rules, each with a row: a and b, one with a class, one in shadow mode and with a shadow. */
enum row { ROW_OF_ALL, ROW_A, ROW_B, ROW_CLASSED, ROW_SHADOWED, ROWS };

static const char *const names[ROWS] = {"*", "a", "b", "classed", "shadowed"};

struct client {
	struct weir *weir;
	struct weir_endpoint *endpoints[ROWS];
	struct weir_endpoint *background; /* of "classed" */
	struct weir_reservation place;
};

static struct world {
	char dir[40];
	struct place place;
	struct segment segment; /* the publisher's */
	struct client clients[CLIENTS];
	unsigned char *rules; /* as they are at the beginning of each schedule */
	unsigned char *state;

	/* of one schedule */
	unsigned granted[ROWS];
	unsigned admitted; /* calls */
	unsigned refused;
	unsigned background;
	int fault;
} world;

static int add(enum row row)
{
	struct rule rule = {
		.kind = row == ROW_OF_ALL ? ROW_DEFAULT : ROW_EXACT,
		.text = names[row],
		.terms = {.rate_micro = TERMS_MICRO,
			  .period_ns = 1000000000u,
			  .burst_micro = BURST * TERMS_MICRO,
			  .initial_micro = BURST * TERMS_MICRO},
	};

	if (row == ROW_CLASSED)
		rule.terms.classes[0] =
			(struct class_leave){class_number("background"), TERMS_MICRO};
	if (row == ROW_SHADOWED) {
		rule.terms.shadow = 1;
		rule.terms.beside = (struct shadow_terms){TERMS_MICRO, 1000000000u, TERMS_MICRO};
	}
	return rules_add(&world.segment, &rule) == (int64_t)row ? 0 : -1;
}

static unsigned char *copy_of(const void *from, uint64_t bytes)
{
	unsigned char *copy = malloc(bytes);

	if (copy)
		memcpy(copy, from, bytes);
	return copy;
}

static int setup(void **state)
{
	static const struct segment_shape shape = {.rows = ROWS,
						   .names = 1,
						   .members = CLIENTS + 1,
						   .clock = CLOCK_KIND_MANUAL,
						   .group = (gid_t)-1};
	struct place_hints hints = {.name = "calls"};
	struct weir_options options = WEIR_OPTIONS_INIT;

	(void)state;
	snprintf(world.dir, sizeof(world.dir), "%s/weir-calls-XXXXXX",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	hints.shm_dir = options.shm_dir = mkdtemp(world.dir);
	options.name = "calls";
	if (!hints.shm_dir || place_resolve(&world.place, &hints, PLACE_TO_CREATE) < 0 ||
	    segment_create(&world.segment, &world.place, &shape) < 0)
		return -1;
	for (unsigned i = 0; i < ROWS; i++)
		if (add((enum row)i) < 0)
			return -1;
	if (segment_reveal(&world.segment, &world.place) < 0)
		return -1;
	for (int i = 0; i < CLIENTS; i++)
		if (weir_open(&world.clients[i].weir, &options) < 0)
			return -1;
	world.rules = copy_of(world.segment.publisher, world.segment.rules_bytes);
	world.state = copy_of(world.segment.state, world.segment.state_bytes);
	return world.rules && world.state ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	for (int i = 0; i < CLIENTS; i++)
		weir_close(world.clients[i].weir);
	segment_detach(&world.segment);
	segment_remove(&world.place);
	free(world.rules);
	free(world.state);
	return rmdir(world.dir);
}

static void begin(void *context)
{
	(void)context;
	memcpy(world.segment.publisher, world.rules, world.segment.rules_bytes);
	memcpy(world.segment.state, world.state, world.segment.state_bytes);
	memset(world.granted, 0, sizeof(world.granted));
	world.admitted = world.refused = world.background = 0;
	world.fault = 0;
	for (int i = 0; i < CLIENTS; i++) {
		struct client *client = &world.clients[i];

		for (unsigned row = ROW_A; row < ROWS; row++)
			assert_int_equal(
				weir_endpoint(client->weir, names[row], &client->endpoints[row]),
				0);
		assert_int_equal(weir_endpoint_class(client->weir, "classed", "background",
						     &client->background),
				 0);
	}
	/* the buckets are in use, and full */
	for (unsigned row = ROW_A; row < ROWS; row++) {
		weir_acquire(world.clients[0].endpoints[row], 1, NULL);
		rules_reset(&world.segment, row, row);
	}
}

static void end(void *context)
{
	(void)context;
	for (int i = 0; i < CLIENTS; i++) {
		for (unsigned row = ROW_A; row < ROWS; row++)
			weir_endpoint_close(world.clients[i].endpoints[row]);
		weir_endpoint_close(world.clients[i].background);
	}
}

/* One token is left in each of a and b. */
static void begin_scarce(void *context)
{
	begin(context);
	assert_int_equal(weir_acquire(world.clients[0].endpoints[ROW_A], BURST - 1, NULL),
			 WEIR_ADMIT);
	assert_int_equal(weir_acquire(world.clients[0].endpoints[ROW_B], BURST - 1, NULL),
			 WEIR_ADMIT);
	world.granted[ROW_A] = world.granted[ROW_B] = BURST - 1;
}

/* ---- machines ---- */

static void note(enum weir_verdict verdict, const struct weir_answer *answer)
{
	world.admitted += verdict == WEIR_ADMIT;
	world.refused += verdict == WEIR_REFUSE;
	if (answer->fault)
		world.fault = answer->fault;
}

static void take_both(struct client *client, enum row first, enum row second)
{
	const struct weir_want wants[] = {
		{.endpoint = client->endpoints[first], .cost = 1},
		{.endpoint = client->endpoints[second], .cost = 1},
	};
	struct weir_answer answer;
	enum weir_verdict verdict = weir_acquire_all(wants, 2, &answer);

	world.granted[first] += verdict == WEIR_ADMIT;
	world.granted[second] += verdict == WEIR_ADMIT;
	note(verdict, &answer);
}

static void client_1_both(void *context)
{
	(void)context;
	take_both(&world.clients[0], ROW_A, ROW_B);
}

static void client_2_both_turned(void *context)
{
	(void)context;
	take_both(&world.clients[1], ROW_B, ROW_A);
}

static void take_one(struct client *client, enum row row)
{
	struct weir_answer answer;
	enum weir_verdict verdict = weir_acquire(client->endpoints[row], 1, &answer);

	world.granted[row] += verdict == WEIR_ADMIT;
	note(verdict, &answer);
}

static void client_2_b(void *context)
{
	(void)context;
	take_one(&world.clients[1], ROW_B);
}

static void client_3_a(void *context)
{
	(void)context;
	take_one(&world.clients[2], ROW_A);
}

static void client_3_queues_in_a(void *context)
{
	struct client *client = &world.clients[2];

	(void)context;
	if (weir_reserve(client->endpoints[ROW_A], 1, WEIR_FOREVER, &client->place, NULL) ==
	    WEIR_ADMIT)
		world.granted[ROW_A]++;
}

static void up_to(struct client *client)
{
	struct weir_answer answer;
	uint64_t taken = 0;

	note(weir_acquire_up_to(client->endpoints[ROW_A], 1, 1, BURST, &taken, &answer), &answer);
	world.granted[ROW_A] += (unsigned)taken;
}

static void client_1_up_to(void *context)
{
	(void)context;
	up_to(&world.clients[0]);
}

static void client_2_up_to(void *context)
{
	(void)context;
	up_to(&world.clients[1]);
}

static void client_1_background(void *context)
{
	struct weir_answer answer;

	(void)context;
	for (int i = 0; i < BURST; i++) {
		enum weir_verdict verdict = weir_acquire(world.clients[0].background, 1, &answer);

		world.background += verdict == WEIR_ADMIT;
		world.granted[ROW_CLASSED] += verdict == WEIR_ADMIT;
		note(verdict, &answer);
	}
}

static void client_2_classed(void *context)
{
	(void)context;
	take_one(&world.clients[1], ROW_CLASSED);
}

static void client_1_shadowed(void *context)
{
	(void)context;
	for (int i = 0; i < BURST; i++)
		take_one(&world.clients[0], ROW_SHADOWED);
}

static void client_2_shadowed(void *context)
{
	(void)context;
	take_one(&world.clients[1], ROW_SHADOWED);
}

/* ---- checks ---- */

static const char *wrong(const void *context)
{
	(void)context;
	for (unsigned row = ROW_A; row < ROW_SHADOWED; row++)
		if (world.granted[row] > BURST)
			return "more was granted than the burst";
	/* one token is to be left, and others may take that */
	if (world.background > BURST - 1)
		return "the class took what it must leave";
	return world.fault ? weir_strerror(world.fault) : NULL;
}

static double level_of(enum row row)
{
	struct weir_level level = {.size = sizeof(level)};

	weir_peek(world.clients[0].endpoints[row], &level);
	return level.level;
}

static const char *levels_are_exact(const void *context)
{
	(void)context;
	for (unsigned row = ROW_A; row < ROW_SHADOWED; row++)
		if (level_of((enum row)row) != BURST - (double)world.granted[row])
			return "the level is off";
	return NULL;
}

static const char *one_is_admitted(const void *context)
{
	return world.admitted == 1 ? levels_are_exact(context) : "not one of the two was admitted";
}

static const char *all_is_granted(const void *context)
{
	return world.granted[ROW_A] == BURST ? levels_are_exact(context) : "a token was left";
}

/* A place behind a refused call keeps one token from going back, at most. */
static const char *loss_is_bounded(const void *context)
{
	double lost = BURST - (double)world.granted[ROW_A] - level_of(ROW_A);

	(void)context;
	if (level_of(ROW_B) != BURST - (double)world.granted[ROW_B])
		return "the level of b is off";
	return lost == 0 || (lost == 1 && world.refused) ? NULL : "more was lost than was taken";
}

static const char *shadows_are_counted(const void *context)
{
	struct weir_level level = {.size = sizeof(level)};

	(void)context;
	weir_peek(world.clients[0].endpoints[ROW_SHADOWED], &level);
	if (world.refused)
		return "shadow mode refused";
	/* three calls on a burst of 2, and on the shadow limit's burst of 1 */
	return level.shadow_passed == 1 && level.shadow_refused == 2 && level.level == 0
		       ? NULL
		       : "the shadows have miscounted";
}

/* ---- tests ---- */

static void test_both(void **state)
{
	const struct stepped_test test = {
		.name = "two need the last of a and b, in other orders",
		.machines = 2,
		.switches = 4,
		.machine_names = {"client1", "client2"},
		.run = {client_1_both, client_2_both_turned},
		.begin = begin_scarce,
		.end = end,
		.wrong = wrong,
		.at_end = one_is_admitted,
	};

	(void)state;
	stepped_expect_right(&test);
}

static void test_both_and_singles(void **state)
{
	const struct stepped_test test = {
		.name = "one needs the last of both, others one of them",
		.machines = 3,
		.switches = 3,
		.machine_names = {"client1", "client2", "client3"},
		.run = {client_1_both, client_2_b, client_3_a},
		.begin = begin_scarce,
		.end = end,
		.wrong = wrong,
		.at_end = levels_are_exact,
	};

	(void)state;
	stepped_expect_right(&test);
}

static void test_both_and_a_queue(void **state)
{
	const struct stepped_test test = {
		.name = "one needs the last of both, another queues in a",
		.machines = 3,
		.switches = 3,
		.machine_names = {"client1", "client2", "client3"},
		.run = {client_1_both, client_2_b, client_3_queues_in_a},
		.begin = begin_scarce,
		.end = end,
		.at_end = loss_is_bounded,
	};

	(void)state;
	stepped_expect_right(&test);
}

static void test_up_to(void **state)
{
	const struct stepped_test test = {
		.name = "three take what is there",
		.machines = 3,
		.switches = 3,
		.machine_names = {"client1", "client2", "client3"},
		.run = {client_1_up_to, client_2_up_to, client_3_a},
		.begin = begin,
		.end = end,
		.wrong = wrong,
		.at_end = all_is_granted,
	};

	(void)state;
	stepped_expect_right(&test);
}

static void test_class(void **state)
{
	const struct stepped_test test = {
		.name = "a class that must leave a token, and somebody who need not",
		.machines = 2,
		.switches = 4,
		.machine_names = {"background", "client2"},
		.run = {client_1_background, client_2_classed},
		.begin = begin,
		.end = end,
		.wrong = wrong,
		.at_end = levels_are_exact,
	};

	(void)state;
	stepped_expect_right(&test);
}

static void test_shadows(void **state)
{
	const struct stepped_test test = {
		.name = "two draw in shadow mode",
		.machines = 2,
		.switches = 3,
		.machine_names = {"client1", "client2"},
		.run = {client_1_shadowed, client_2_shadowed},
		.begin = begin,
		.end = end,
		.wrong = wrong,
		.at_end = shadows_are_counted,
	};

	(void)state;
	stepped_expect_right(&test);
}

int main(int count, char **arguments)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both),
		cmocka_unit_test(test_both_and_singles),
		cmocka_unit_test(test_both_and_a_queue),
		cmocka_unit_test(test_up_to),
		cmocka_unit_test(test_class),
		cmocka_unit_test(test_shadows),
	};

	if (UNDER_THREAD_SANITIZER) {
		printf("skipped: ThreadSanitizer does not follow a thread from stack to stack\n");
		return TEST_SKIPPED;
	}
	if (count > 1)
		cmocka_set_test_filter(arguments[1]);
	return cmocka_run_group_tests(tests, setup, teardown);
}
