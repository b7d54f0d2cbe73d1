/* SPDX-License-Identifier: Apache-2.0
 *
 * The code itself under interleavings (stepped.h): processes that share a name while its rule
 * moves, comes back, is closed or reset. Time stands still, so what may be granted is known.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include <cmocka.h>

#include "handle.h"
#include "move.h"
#include "rules.h"
#include "stepped.h"
#include "thread_sanitizer.h"
#include "weir.h"

enum {
	BURST = 2,
	CLIENTS = 2,
	CALLS = 2, /* of each client */
	RANDOM_PAIRS = 3000,
};

/* One client: a process of its own, as far as the segment is concerned. */
struct client {
	struct weir *weir;
	struct weir_endpoint *name; /* under [default] to begin with */
	struct weir_endpoint *api;  /* a row of its own */
	struct weir_endpoint *late; /* a name that is new in the schedule */
	struct weir_reservation reservation;
	bool reserved;
};

static struct world {
	char dir[40];
	struct place place;
	struct segment segment; /* the publisher's */
	struct client clients[CLIENTS];
	unsigned char *rules; /* as they are at the beginning of each schedule */
	unsigned char *state;
	uint32_t api_row;

	/* of one schedule */
	unsigned granted;
	unsigned granted_late;
	int fault;
	bool closed; /* the call that closed the name has returned */
	bool passed_closed;
} world;

/* ---- the pair, and back to its beginning ---- */

static unsigned random_seed;

/* In place of the system's: names fall into the same slots whenever a schedule is run again. */
ssize_t getrandom(void *out, size_t bytes, unsigned flags)
{
	unsigned char *at = out;

	(void)flags;
	for (size_t i = 0; i < bytes; i++)
		at[i] = (unsigned char)(rand_r(&random_seed) >> 8);
	return (ssize_t)bytes;
}

static int64_t add(enum row_kind kind, const char *text, uint64_t rate_micro)
{
	const struct rule rule = {
		.kind = kind,
		.text = text,
		.terms = {.rate_micro = rate_micro,
			  .period_ns = 1000000000u,
			  .burst_micro = BURST * TERMS_MICRO,
			  .initial_micro = BURST * TERMS_MICRO},
	};

	return rules_add(&world.segment, &rule);
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

static const struct segment_shape shape = {
	.rows = 6, .names = 4, .members = 4, .clock = CLOCK_KIND_MANUAL, .group = (gid_t)-1};

/* A pair with [default] and a row, and clients that are attached to it. */
static int make_pair(void)
{
	if (segment_create(&world.segment, &world.place, &shape) < 0 ||
	    add(ROW_DEFAULT, "*", TERMS_MICRO) < 0)
		return -1;
	world.api_row = (uint32_t)add(ROW_EXACT, "api", TERMS_MICRO);
	if (segment_reveal(&world.segment, &world.place) < 0)
		return -1;
	for (int i = 0; i < CLIENTS; i++)
		if (open_client(&world.clients[i]) < 0)
			return -1;
	return 0;
}

static void drop_pair(void)
{
	for (int i = 0; i < CLIENTS; i++)
		weir_close(world.clients[i].weir);
	segment_detach(&world.segment);
	segment_remove(&world.place);
}

static int setup_place(void **state)
{
	struct place_hints hints = {.name = "code"};

	(void)state;
	/* thousands of pairs are made: in memory, where there is such a folder */
	snprintf(world.dir, sizeof(world.dir), "%s/weir-code-XXXXXX",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	hints.shm_dir = mkdtemp(world.dir);
	return hints.shm_dir ? place_resolve(&world.place, &hints, PLACE_TO_CREATE) : -1;
}

static int teardown_place(void **state)
{
	(void)state;
	return rmdir(world.dir);
}

static int setup(void **state)
{
	if (setup_place(state) < 0 || make_pair() < 0)
		return -1;
	world.rules = copy_of(world.segment.publisher, world.segment.rules_bytes);
	world.state = copy_of(world.segment.state, world.segment.state_bytes);
	return world.rules && world.state ? 0 : -1;
}

static int teardown(void **state)
{
	drop_pair();
	free(world.rules);
	free(world.state);
	return teardown_place(state);
}

static void forget(void)
{
	world.granted = world.granted_late = 0;
	world.fault = 0;
	world.closed = world.passed_closed = false;
}

static void open_endpoints(void)
{
	for (int i = 0; i < CLIENTS; i++) {
		struct client *client = &world.clients[i];

		client->reserved = false;
		client->late = NULL;
		assert_int_equal(weir_endpoint(client->weir, "name", &client->name), 0);
		assert_int_equal(weir_endpoint(client->weir, "api", &client->api), 0);
	}
}

static void begin(void *context)
{
	(void)context;
	memcpy(world.segment.publisher, world.rules, world.segment.rules_bytes);
	memcpy(world.segment.state, world.state, world.segment.state_bytes);
	forget();
	open_endpoints();
}

static struct bucket *api_bucket(void)
{
	return &world.segment.buckets[world.api_row];
}

/* Both buckets are in use, and full. */
static void begin_used(void *context)
{
	struct client *client = &world.clients[0];

	begin(context);
	weir_acquire(client->name, 1, NULL);
	weir_acquire(client->api, 1, NULL);
	rules_reset(&world.segment, 0,
		    world.segment.row_count + (uint32_t)names_find_slot(&world.segment, "name"));
	rules_reset(&world.segment, world.api_row, world.api_row);
}

/* In use, and empty: whoever reserves stands in line. */
static void begin_empty(void *context)
{
	begin(context);
	assert_int_equal(weir_acquire(world.clients[0].api, BURST, NULL), WEIR_ADMIT);
}

/* Closed, and the tick at which it opens has come; nobody has looked yet. */
static void begin_opening(void *context)
{
	begin_used(context);
	assert_int_equal(weir_gate_close(world.clients[0].api, WEIR_SECOND), 0);

	uint64_t opens = gate_load(api_bucket()) & GATE_UNTIL;

	assert_int_equal(
		weir_clock_advance(world.clients[0].weir, opens - segment_now(&world.segment)), 0);
}

static void end(void *context)
{
	(void)context;
	for (int i = 0; i < CLIENTS; i++) {
		weir_endpoint_close(world.clients[i].name);
		weir_endpoint_close(world.clients[i].api);
		weir_endpoint_close(world.clients[i].late);
	}
}

/* ---- machines ---- */

static void take(struct weir_endpoint *endpoint)
{
	bool began_closed = world.closed;
	struct weir_answer answer;

	if (weir_acquire(endpoint, 1, &answer) == WEIR_ADMIT) {
		world.granted++;
		world.passed_closed |= began_closed;
	}
	if (answer.fault)
		world.fault = answer.fault;
}

static void client_1_name(void *context)
{
	(void)context;
	for (int i = 0; i < CALLS; i++)
		take(world.clients[0].name);
}

static void client_1_name_once(void *context)
{
	(void)context;
	take(world.clients[0].name);
}

static void client_1_api_once(void *context)
{
	(void)context;
	take(world.clients[0].api);
}

static void client_2_name(void *context)
{
	(void)context;
	for (int i = 0; i < CALLS; i++)
		take(world.clients[1].name);
}

static void client_1_api(void *context)
{
	(void)context;
	for (int i = 0; i < CALLS; i++)
		take(world.clients[0].api);
}

static void client_2_api(void *context)
{
	(void)context;
	for (int i = 0; i < CALLS; i++)
		take(world.clients[1].api);
}

static void client_2_closes_name(void *context)
{
	(void)context;
	if (weir_gate_close(world.clients[1].name, WEIR_SECOND) == 0)
		world.closed = true;
}

static void client_2_closes_api(void *context)
{
	(void)context;
	if (weir_gate_close(world.clients[1].api, WEIR_SECOND) == 0)
		world.closed = true;
}

static void client_1_reserves_and_cancels(void *context)
{
	struct client *client = &world.clients[0];

	(void)context;
	if (weir_reserve(client->api, 1, WEIR_FOREVER, &client->reservation, NULL) == WEIR_ADMIT)
		weir_cancel(client->api, &client->reservation, NULL);
}

static void client_2_reserves(void *context)
{
	struct client *client = &world.clients[1];

	(void)context;
	client->reserved = weir_reserve(client->api, 1, WEIR_FOREVER, &client->reservation, NULL) ==
			   WEIR_ADMIT;
}

static void take_late(struct client *client)
{
	if (weir_endpoint(client->weir, "late", &client->late) < 0)
		return;
	for (int i = 0; i < CALLS; i++)
		if (weir_acquire(client->late, 1, NULL) == WEIR_ADMIT)
			world.granted_late++;
}

static void client_1_late(void *context)
{
	(void)context;
	take_late(&world.clients[0]);
}

static void client_2_late(void *context)
{
	(void)context;
	take_late(&world.clients[1]);
}

static void publisher_resets(void *context)
{
	(void)context;
	rules_reset(&world.segment, world.api_row, world.api_row);
}

static void publisher_adds(void *context)
{
	(void)context;
	add(ROW_EXACT, "name", TERMS_MICRO);
}

static void publisher_adds_and_removes(void *context)
{
	int64_t row = add(ROW_EXACT, "name", TERMS_MICRO);

	(void)context;
	rules_remove(&world.segment, (uint32_t)row);
}

/* Another unit: the rule moves to another row. */
static void publisher_changes_unit(void *context)
{
	const struct terms terms = {.rate_micro = 1000000000u * TERMS_MICRO,
				    .period_ns = 1000000000u,
				    .burst_micro = BURST * TERMS_MICRO,
				    .initial_micro = BURST * TERMS_MICRO};
	const struct terms_author author = {ORIGIN_OPERATOR, 0};

	(void)context;
	rules_change(&world.segment, world.api_row, &terms, &author, RULES_KEEP_USED);
}

/* ---- checks ---- */

static const char *wrong(const void *context)
{
	(void)context;
	if (world.granted > BURST || world.granted_late > BURST)
		return "more was granted than the burst";
	if (world.passed_closed)
		return "a call that began after the closure passed";
	if (world.fault)
		return weir_strerror(world.fault);
	return NULL;
}

static const char *all_was_granted(const void *context)
{
	(void)context;
	return world.granted == BURST ? NULL : "a token was lost";
}

static const char *all_late_was_granted(const void *context)
{
	(void)context;
	return world.granted_late == BURST ? NULL : "a token of the new name was lost";
}

static const char *nothing_was_granted(const void *context)
{
	(void)context;
	return world.granted ? "somebody passed before the drain" : NULL;
}

/* Client 1 has given back what it took, and client 2 took what it was granted. */
static const char *level_is_exact(const void *context)
{
	struct weir_level level = {.size = sizeof(level)};

	(void)context;
	weir_peek(world.clients[0].api, &level);
	return level.level == BURST - (double)world.granted ? NULL : "the level is off";
}

/* Who stands in line, and was not told to take a new place, stands at or before the mark. */
static const char *place_is_charged(const void *context)
{
	const struct client *client = &world.clients[1];
	struct place_in_line place;
	struct line line;

	(void)context;
	if (!client->reserved)
		return NULL;
	memcpy(&place, &client->reservation, sizeof(place));

	uint64_t now = line_read(&world.segment.rows[world.api_row], &world.segment.time, &line);
	bool waits = line_ticks_until(&line, now, place.position - line.burst_units) > 0;
	bool is_void = (place.gate ^ gate_load(api_bucket())) & GATE_RESETS;

	if (waits && !is_void && (int64_t)(place.position - bucket_look(api_bucket())) > 0)
		return "a place in line is charged to nobody";
	return NULL;
}

static const char *nobody_is_stuck(const void *context)
{
	(void)context;
	take(world.clients[0].name);
	world.granted = 0;
	return world.fault ? weir_strerror(world.fault) : NULL;
}

/* ---- tests ---- */

static void test_name_gets_a_row(void **state)
{
	const struct stepped_test test = {
		.name = "a name gets a row of its own",
		.machines = 3,
		.switches = 3,
		.machine_names = {"publisher", "client1", "client2"},
		.run = {publisher_adds, client_1_name, client_2_name},
		.begin = begin_used,
		.end = end,
		.wrong = wrong,
		.at_end = all_was_granted,
	};
	struct stepped_test fresh = test;

	(void)state;
	stepped_expect_right(&test);
	fresh.name = "the same, and nobody has used it";
	fresh.begin = begin;
	fresh.switches = 2;
	stepped_expect_right(&fresh);
}

static void test_name_gets_a_row_and_is_closed(void **state)
{
	const struct stepped_test test = {
		.name = "a name gets a row of its own, and is closed",
		.machines = 3,
		.switches = 3,
		.machine_names = {"publisher", "client1", "closer"},
		.run = {publisher_adds, client_1_name_once, client_2_closes_name},
		.begin = begin_used,
		.end = end,
		.wrong = wrong,
	};

	(void)state;
	stepped_expect_right(&test);
}

static void test_row_comes_and_goes(void **state)
{
	const struct stepped_test test = {
		.name = "a name gets a row, which is removed again",
		.machines = 2,
		.switches = 3,
		.machine_names = {"publisher", "client1"},
		.run = {publisher_adds_and_removes, client_1_name},
		.begin = begin_used,
		.end = end,
		.at_end = nobody_is_stuck,
	};

	(void)state;
	stepped_expect_right(&test);
}

static void test_unit_changes(void **state)
{
	const struct stepped_test test = {
		.name = "a rule moves to another row",
		.machines = 3,
		.switches = 3,
		.machine_names = {"publisher", "client1", "client2"},
		.run = {publisher_changes_unit, client_1_api, client_2_api},
		.begin = begin_used,
		.end = end,
		.wrong = wrong,
		.at_end = all_was_granted,
	};
	const struct stepped_test closed = {
		.name = "a rule moves to another row, and is closed",
		.machines = 3,
		.switches = 3,
		.machine_names = {"publisher", "client1", "closer"},
		.run = {publisher_changes_unit, client_1_api_once, client_2_closes_api},
		.begin = begin_used,
		.end = end,
		.wrong = wrong,
	};

	(void)state;
	stepped_expect_right(&test);
	stepped_expect_right(&closed);
}

static void test_two_claim_a_name(void **state)
{
	const struct stepped_test test = {
		.name = "two processes use a new name",
		.machines = 2,
		.switches = 3,
		.machine_names = {"client1", "client2"},
		.run = {client_1_late, client_2_late},
		.begin = begin,
		.end = end,
		.wrong = wrong,
		.at_end = all_late_was_granted,
	};

	(void)state;
	stepped_expect_right(&test);
}

static void test_opening(void **state)
{
	const struct stepped_test test = {
		.name = "the first calls after a closure",
		.machines = 2,
		.switches = 3,
		.machine_names = {"client1", "client2"},
		.run = {client_1_api, client_2_api},
		.begin = begin_opening,
		.end = end,
		.wrong = nothing_was_granted,
	};

	(void)state;
	stepped_expect_right(&test);
}

static void test_give_back(void **state)
{
	const struct stepped_test test = {
		.name = "one gives back while another takes",
		.machines = 2,
		.switches = 3,
		.machine_names = {"client1", "client2"},
		.run = {client_1_reserves_and_cancels, client_2_api},
		.begin = begin_used,
		.end = end,
		.wrong = wrong,
		.at_end = level_is_exact,
	};

	(void)state;
	stepped_expect_right(&test);
}

static void test_reset(void **state)
{
	const struct stepped_test test = {
		.name = "a reset while places are taken and given back",
		.machines = 3,
		.switches = 3,
		.machine_names = {"publisher", "client1", "client2"},
		.run = {publisher_resets, client_1_reserves_and_cancels, client_2_reserves},
		.begin = begin_empty,
		.end = end,
		.wrong = place_is_charged,
	};

	(void)state;
	stepped_expect_right(&test);
}

/* ---- a new pair ---- */

static struct segment successor;

static void begin_pair(void *context)
{
	(void)context;
	forget();
	random_seed = stepped_seed();
	assert_int_equal(make_pair(), 0);
	open_endpoints();
	weir_acquire(world.clients[0].name, 1, NULL);
	rules_reset(&world.segment, 0,
		    world.segment.row_count + (uint32_t)names_find_slot(&world.segment, "name"));
	assert_int_equal(segment_create(&successor, &world.place, &shape), 0);
}

static void end_pair(void *context)
{
	end(context);
	segment_detach(&successor);
	drop_pair();
}

/* As weird does when its tables grow. */
static void publisher_replaces(void *context)
{
	(void)context;
	if (move_prepare(&world.segment, &successor, NULL) < 0 ||
	    segment_reveal(&successor, &world.place) < 0)
		return;
	move_retire(&world.segment);
	move_finish(&successor, &world.segment);
	segment_forget_old(&world.place);
}

static const char *both_were_granted(const void *context)
{
	const char *lost = all_was_granted(context);

	return lost ? lost : all_late_was_granted(context);
}

static void test_new_pair(void **state)
{
	struct stepped_test test = {
		.name = "a new pair; one name is used, one is new",
		.machines = 3,
		.switches = 1,
		.machine_names = {"publisher", "client1", "client2"},
		.run = {publisher_replaces, client_1_name, client_2_late},
		.begin = begin_pair,
		.end = end_pair,
		.wrong = wrong,
		.at_end = both_were_granted,
	};

	(void)state;
	stepped_expect_right(&test);
	test.name = "the same, with more switches, at random";
	test.switches = 6;
	stepped_expect_right_at_random(&test, RANDOM_PAIRS);
	test.name = "a new pair, and somebody closes, at random";
	test.run[2] = client_2_closes_name;
	test.at_end = NULL;
	stepped_expect_right_at_random(&test, RANDOM_PAIRS);
}

/* An argument picks tests, as cmocka_set_test_filter() does. */
int main(int count, char **arguments)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_name_gets_a_row, setup, teardown),
		cmocka_unit_test_setup_teardown(test_name_gets_a_row_and_is_closed, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_row_comes_and_goes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unit_changes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_two_claim_a_name, setup, teardown),
		cmocka_unit_test_setup_teardown(test_opening, setup, teardown),
		cmocka_unit_test_setup_teardown(test_give_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_new_pair, setup_place, teardown_place),
	};

	if (UNDER_THREAD_SANITIZER) {
		printf("skipped: ThreadSanitizer does not follow a thread from stack to stack\n");
		return TEST_SKIPPED;
	}
	if (count > 1)
		cmocka_set_test_filter(arguments[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
