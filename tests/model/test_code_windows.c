/* SPDX-License-Identifier: Apache-2.0
 *
 * The code itself under interleavings (stepped.h): processes that share a bucket with windows while
 * a window ends, a rule changes between windows and none, and what is kept of a level is kept.
 * Time stands still, so what may be granted is known.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "handle.h"
#include "move.h"
#include "rules.h"
#include "stepped.h"
#include "thread_sanitizer.h"
#include "weir.h"

#define HOUR (3600 * WEIR_SECOND)

enum {
	QUOTA = 2,
	CLIENTS = 2,
	CALLS = 2, /* of each client */
};

/* One client: a process of its own, as far as the segment is concerned. */
struct client {
	struct weir *weir;
	struct weir_endpoint *api;
	struct weir_reservation place;
};

static struct world {
	char dir[40];
	struct place place;
	struct segment segment; /* the publisher's */
	struct client clients[CLIENTS];
	unsigned char *rules; /* as they are at the beginning of each schedule */
	unsigned char *state;
	uint32_t row;

	/* of one schedule */
	struct terms next; /* what the publisher changes the rule to */
	enum rules_keep keep;
	unsigned granted;
	unsigned most;
	int fault;
} world;

/* ---- the pair, and back to its beginning ---- */

static struct terms terms_of(enum window_kind kind, unsigned tokens)
{
	struct terms terms = {
		.rate_micro = tokens * TERMS_MICRO,
		.period_ns = HOUR,
		.burst_micro = tokens * TERMS_MICRO,
		.initial_micro = tokens * TERMS_MICRO,
	};

	if (kind != WINDOW_NONE)
		terms.window = (struct window_terms){HOUR, kind, 0};
	return terms;
}

static unsigned char *copy_of(const void *from, uint64_t bytes)
{
	unsigned char *copy = malloc(bytes);

	if (copy)
		memcpy(copy, from, bytes);
	return copy;
}

static int open_client(struct client *client)
{
	struct weir_options options = WEIR_OPTIONS_INIT;

	options.name = "code";
	options.shm_dir = world.dir;
	return weir_open(&client->weir, &options);
}

static int64_t add(enum row_kind kind, const char *text, const struct terms *terms)
{
	const struct rule rule = {.kind = kind, .text = text, .terms = *terms};

	return rules_add(&world.segment, &rule);
}

/* A pair with [default] and a rule of these windows, and clients that are attached to it. */
static int setup(enum row_kind row_kind, enum window_kind kind)
{
	const struct segment_shape shape = {.rows = 6,
					    .names = 4,
					    .members = 4,
					    .clock = CLOCK_KIND_MANUAL,
					    .group = (gid_t)-1};
	const struct terms terms = terms_of(kind, QUOTA);
	struct place_hints hints = {.name = "code"};

	snprintf(world.dir, sizeof(world.dir), "%s/weir-windows-XXXXXX",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	hints.shm_dir = mkdtemp(world.dir);
	if (!hints.shm_dir || place_resolve(&world.place, &hints, PLACE_TO_CREATE) < 0 ||
	    segment_create(&world.segment, &world.place, &shape) < 0 ||
	    add(ROW_DEFAULT, "*", &terms) < 0)
		return -1;
	world.row = (uint32_t)add(row_kind, row_kind == ROW_EXACT ? "api" : "a*", &terms);
	if (segment_reveal(&world.segment, &world.place) < 0)
		return -1;
	time_source_advance(&world.segment.time, 100 * HOUR);
	for (int i = 0; i < CLIENTS; i++)
		if (open_client(&world.clients[i]) < 0)
			return -1;
	world.rules = copy_of(world.segment.publisher, world.segment.rules_bytes);
	world.state = copy_of(world.segment.state, world.segment.state_bytes);
	return world.rules && world.state ? 0 : -1;
}

static int setup_first(void **state)
{
	(void)state;
	return setup(ROW_EXACT, WINDOW_FIRST);
}

static int setup_aligned(void **state)
{
	(void)state;
	return setup(ROW_EXACT, WINDOW_ALIGNED);
}

static int setup_none(void **state)
{
	(void)state;
	return setup(ROW_EXACT, WINDOW_NONE);
}

static int setup_pattern(void **state)
{
	(void)state;
	return setup(ROW_PATTERN, WINDOW_FIRST);
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
	world.granted = 0;
	world.fault = 0;
	for (int i = 0; i < CLIENTS; i++)
		assert_int_equal(weir_endpoint(world.clients[i].weir, "api", &world.clients[i].api),
				 0);
}

/* In use, and full. */
static void begin_full(void *context)
{
	begin(context);
	assert_int_equal(weir_acquire(world.clients[0].api, 1, NULL), WEIR_ADMIT);
	rules_reset(&world.segment, world.row, world.row);
}

/* A window that is used up, and over. */
static void begin_over(void *context)
{
	begin(context);
	assert_int_equal(weir_acquire(world.clients[0].api, QUOTA, NULL), WEIR_ADMIT);
	assert_int_equal(weir_clock_advance(world.clients[0].weir, HOUR), 0);
}

/* One that is used up. */
static void begin_empty(void *context)
{
	begin(context);
	assert_int_equal(weir_acquire(world.clients[0].api, QUOTA, NULL), WEIR_ADMIT);
}

/* Closed, and the tick at which it opens has come; nobody has looked yet. */
static void begin_opening(void *context)
{
	begin_full(context);
	assert_int_equal(weir_gate_close(world.clients[0].api, WEIR_SECOND), 0);
	assert_int_equal(weir_clock_advance(world.clients[0].weir, 2 * WEIR_SECOND), 0);
}

static void end(void *context)
{
	(void)context;
	for (int i = 0; i < CLIENTS; i++)
		weir_endpoint_close(world.clients[i].api);
}

/* ---- machines ---- */

static void take(struct client *client)
{
	for (int i = 0; i < CALLS; i++) {
		struct weir_answer answer;

		world.granted += weir_acquire(client->api, 1, &answer) == WEIR_ADMIT;
		if (answer.fault)
			world.fault = answer.fault;
	}
}

static void client_1(void *context)
{
	(void)context;
	take(&world.clients[0]);
}

static void client_2(void *context)
{
	(void)context;
	take(&world.clients[1]);
}

static void client_1_reserves_and_cancels(void *context)
{
	struct client *client = &world.clients[0];

	(void)context;
	if (weir_reserve(client->api, 1, WEIR_FOREVER, &client->place, NULL) == WEIR_ADMIT)
		weir_cancel(client->api, &client->place, NULL);
}

static void publisher_changes(void *context)
{
	const struct terms_author author = {ORIGIN_OPERATOR, 0};

	(void)context;
	rules_change(&world.segment, world.row, &world.next, &author, world.keep);
}

static void publisher_adds(void *context)
{
	const struct rule rule = {
		.kind = ROW_EXACT, .text = "api", .terms = world.next, .keep = world.keep};

	(void)context;
	rules_add(&world.segment, &rule);
}

static void publisher_aligns(void *context)
{
	/* the wall clock is set to an hour later: one window begins */
	const struct wall_time wall = {segment_now(&world.segment),
				       segment_now(&world.segment) + HOUR};
	int64_t shift;

	(void)context;
	rules_align(&world.segment, &wall, 1, &shift);
}

/* ---- checks ---- */

static const char *wrong(const void *context)
{
	(void)context;
	if (world.granted > world.most)
		return "more was granted than there is";
	return world.fault ? weir_strerror(world.fault) : NULL;
}

static const char *all_was_granted(const void *context)
{
	(void)context;
	return world.granted == world.most ? NULL : "a token was lost";
}

/* Client 1 has given back what it took, and client 2 took what it was granted. */
static const char *level_is_exact(const void *context)
{
	struct weir_level level = {.size = sizeof(level)};

	(void)context;
	weir_peek(world.clients[0].api, &level);
	return level.level == QUOTA - (double)world.granted ? NULL : "the level is off";
}

/* ---- tests ---- */

static const struct stepped_test usual = {
	.machines = 2,
	.switches = 3,
	.machine_names = {"client1", "client2"},
	.run = {client_1, client_2},
	.begin = begin_full,
	.end = end,
	.wrong = wrong,
	.at_end = all_was_granted,
};

static void run(struct stepped_test test, const char *name, unsigned most)
{
	test.name = name;
	world.most = most;
	stepped_expect_right(&test);
}

static void test_first(void **state)
{
	struct stepped_test test = usual;

	(void)state;
	run(test, "a window from first use", QUOTA);
	test.begin = begin;
	run(test, "the same, and nobody has used it", QUOTA);
	test.begin = begin_over;
	run(test, "a window is over: two begin the next one", QUOTA);
	test.begin = begin_empty;
	run(test, "a window is used up", 0);
	test.begin = begin_opening;
	run(test, "the first calls after a closure", QUOTA);
	test.begin = begin_full;
	test.run[0] = client_1_reserves_and_cancels;
	test.at_end = level_is_exact;
	run(test, "one gives back while another takes", QUOTA);
}

static void test_aligned(void **state)
{
	struct stepped_test test = usual;

	(void)state;
	run(test, "a window by the calendar", QUOTA);
	test.begin = begin_over;
	run(test, "a window is over", QUOTA);
	test.begin = begin_empty;
	test.machines = 3;
	test.switches = 2;
	test.machine_names[2] = "publisher";
	test.run[2] = publisher_aligns;
	test.at_end = NULL;
	run(test, "the wall clock is set over a boundary", QUOTA);
}

static void test_changes(enum window_kind kind, const char *name)
{
	struct stepped_test test = usual;

	test.machines = 3;
	test.switches = 2;
	test.machine_names[2] = "publisher";
	test.run[2] = publisher_changes;
	world.next = terms_of(kind, QUOTA);
	world.keep = RULES_KEEP_USED;
	run(test, name, QUOTA);
	/* four tokens, of which none is to be there, at no time */
	test.begin = begin_empty;
	world.next = terms_of(kind, 2 * QUOTA);
	world.keep = RULES_KEEP_LEVEL;
	run(test, "the same with a larger quota, and the level is kept", 0);
}

static void test_first_to_none(void **state)
{
	(void)state;
	test_changes(WINDOW_NONE, "from first use to none");
	test_changes(WINDOW_ALIGNED, "from first use to the calendar");
}

static void test_none_to_first(void **state)
{
	(void)state;
	test_changes(WINDOW_FIRST, "from none to first use");
	test_changes(WINDOW_ALIGNED, "from none to the calendar");
}

/* What the name took of the pattern's bucket before it left counts in its own. */
static void test_pattern_to_own(void **state)
{
	struct stepped_test test = usual;

	(void)state;
	test.machines = 3;
	test.switches = 2;
	test.machine_names[2] = "publisher";
	test.run[2] = publisher_adds;
	test.begin = begin_empty;
	world.next = terms_of(WINDOW_FIRST, QUOTA);
	world.keep = RULES_KEEP_USED;
	run(test, "a pattern's name gets a row of its own", 0);
}

/* An argument picks tests, as cmocka_set_test_filter() does. */
int main(int count, char **arguments)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_first, setup_first, teardown),
		cmocka_unit_test_setup_teardown(test_aligned, setup_aligned, teardown),
		cmocka_unit_test_setup_teardown(test_first_to_none, setup_first, teardown),
		cmocka_unit_test_setup_teardown(test_none_to_first, setup_none, teardown),
		cmocka_unit_test_setup_teardown(test_pattern_to_own, setup_pattern, teardown),
	};

	if (UNDER_THREAD_SANITIZER) {
		printf("skipped: ThreadSanitizer does not follow a thread from stack to stack\n");
		return TEST_SKIPPED;
	}
	if (count > 1)
		cmocka_set_test_filter(arguments[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
