/* SPDX-License-Identifier: Apache-2.0
 *
 * top without a terminal: lines and JSON, one a refresh; what it counts against what was done.
 */
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "gate.h"
#include "members.h"
#include "stage.h"
#include "tally.h"

#define SECOND 1000000000ull
#define EVERY "--every", "50ms"

static struct outcome outcome;

static unsigned count_of(const char *in, const char *text)
{
	unsigned count = 0;

	for (; (in = strstr(in, text)); in++)
		count++;
	return count;
}

/* ---- lines ---- */

static void test_lines(void **state)
{
	struct stage *stage = *state;

	stage_rule(stage, ROW_EXACT, "api.example.com/a/name/that/is/not/shortened", "5/s", "20");
	stage_rule(stage, ROW_EXACT, "free", "unlimited", "1");
	stage_take(stage, "used", 3);
	RUN(stage, &outcome, "top", EVERY, "-n", "3", "--sort", "name");
	expect_status(&outcome, 0);
	assert_string_equal(outcome.err, "");
	/* no terminal: lines also without -b, and nothing that steers one */
	assert_null(strchr(outcome.out, '\x1b'));
	assert_int_equal(count_of(outcome.out, "GRANT/S"), 3);
	assert_int_equal(count_of(outcome.out, "\n\n"), 3);
	expect_text(outcome.out,
		    "instance `test`, members 0 of 4, 0 closed, 0 queueing, 0 stopped; "
		    "weird is not running");
	/* the clock stands: there is no interval that a rate could be of */
	expect_text(outcome.out,
		    "\nENDPOINT                                      RATE       BURST  LEVEL  "
		    "GRANT/S  REF/S  WAIT/S  WAIT  ~LINE  STATE\n"
		    "api.example.com/a/name/that/is/not/shortened  5/s           20     20  "
		    "      -      -       -     -      0  open\n"
		    "free                                          unlimited      -      -  "
		    "      -      -       -     -      0  unlimited\n"
		    "used                                          10/s          10      7  "
		    "      -      -       -     -      0  open\n\n");
}

static void test_filter(void **state)
{
	struct stage *stage = *state;

	stage_rule(stage, ROW_EXACT, "api.one", "5/s", "20");
	stage_rule(stage, ROW_EXACT, "other", "5/s", "20");
	RUN(stage, &outcome, "top", "-b", EVERY, "-n", "1", "--filter", "API");
	expect_status(&outcome, 0);
	expect_text(outcome.out, "api.one");
	expect_no_text(outcome.out, "other");
}

/* ---- JSON ---- */

/* Runs top --json and does not wait; its lines come through *out. */
static pid_t spawn_json(const struct stage *stage, const char *count, FILE **out)
{
	struct running running;
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	stage_open(&running);
	assert_true(dup2(ends[1], running.out) >= 0);
	stage_exec(stage, &running,
		   (const char *const[]){"top", "--json", EVERY, "-n", count, NULL});
	close(ends[1]);
	close(running.out);
	close(running.err);
	*out = fdopen(ends[0], "r");
	assert_non_null(*out);
	return running.pid;
}

/* The next object, within the patience of the stage. */
static json_t *next_object(FILE *from)
{
	struct pollfd ready = {.fd = fileno(from), .events = POLLIN};
	static char line[65536];
	json_t *root;

	assert_true(poll(&ready, 1, STAGE_PATIENCE_S * 1000) > 0);
	assert_non_null(fgets(line, sizeof(line), from));
	root = json_loads(line, 0, NULL);
	if (!root)
		fail_msg("no JSON: %s", line);
	return root;
}

static void finish(pid_t pid, FILE *out)
{
	int status;

	fclose(out);
	kill(pid, SIGTERM);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

/* The endpoint of that name, of the first refresh in which its `key` is a number. */
static json_t *endpoint_with(FILE *from, const char *name, const char *key)
{
	for (int i = 0; i < STAGE_PATIENCE_S * 20; i++) {
		json_t *root = next_object(from);
		json_t *found = find_object(json_object_get(root, "endpoints"), "name", name);

		if (found && json_is_number(json_object_get(found, key))) {
			json_incref(found);
			json_decref(root);
			return found;
		}
		json_decref(root);
	}
	fail_msg("%s of %s remains unknown", key, name);
	return NULL;
}

static void test_json(void **state)
{
	struct stage *stage = *state;
	json_t *root, *row;

	stage_rule(stage, ROW_EXACT, "api", "5/2s", "15");
	stage_rule(stage, ROW_PATTERN, "shut*", "unlimited", "1");
	gate_close(&stage->segment.buckets[stage_resolve(stage, "shut*").bucket],
		   segment_now(&stage->segment), UINT64_MAX);
	stage_take(stage, "ant", 3);
	assert_true(members_join(&stage->segment) >= 0);
	RUN(stage, &outcome, "top", "--json", EVERY, "-n", "1");
	expect_status(&outcome, 0);
	root = parse_json(&outcome);
	assert_int_equal(count_of(outcome.out, "\n"), 1);
	assert_string_equal(json_text(root, "instance"), "test");
	assert_string_equal(json_text(root, "clock"), "manual");
	assert_true(json_flag(root, "attached"));
	assert_false(json_flag(root, "weird_running"));
	assert_int_equal(json_whole(root, "member_slots"), 4);
	assert_int_equal(json_whole(root, "members"), 1);
	assert_int_equal(json_whole(root, "members_dead"), 0);
	assert_int_equal(json_whole(root, "closed"), 1);
	assert_true(json_is_null(json_object_get(root, "interval_ns")));
	/* the rule of [default] has no bucket */
	assert_int_equal(json_array_size(json_object_get(root, "endpoints")), 3);
	row = find_object(json_object_get(root, "endpoints"), "name", "api");
	assert_string_equal(json_text(row, "kind"), "exact");
	assert_true(json_number(row, "rate_per_s") == 2.5);
	assert_true(json_number(row, "level") == 15);
	assert_true(json_is_null(json_object_get(row, "granted_tokens_per_s")));
	assert_int_equal(json_whole(row, "queue_calls"), 0);
	row = find_object(json_object_get(root, "endpoints"), "name", "shut*");
	assert_true(json_flag(row, "closed"));
	assert_true(json_is_null(json_object_get(row, "closed_ns")));
	row = find_object(json_object_get(root, "endpoints"), "name", "ant");
	assert_string_equal(json_text(row, "kind"), "name");
	assert_int_equal(json_whole(row, "granted"), 1);
	assert_true(json_number(row, "granted_tokens") == 3);
	json_decref(root);
}

/* The clock moves once, by four seconds: whenever top looks, these are the rates. */
static void test_rates(void **state)
{
	struct stage *stage = *state;
	struct resolution at;
	json_t *row;
	FILE *out;
	pid_t pid;

	stage_rule(stage, ROW_EXACT, "api", "5/s", "100");
	at = stage_resolve(stage, "api");
	stage_take(stage, "api", 1);
	pid = spawn_json(stage, "100000", &out);
	json_decref(next_object(out));
	for (int i = 0; i < 12; i++)
		stage_take(stage, "api", 2);
	assert_false(stage_take(stage, "api", 1000));
	tally_count(&stage->segment.tallies, at.bucket, COUNT_WAITED_CALLS, 2);
	tally_count(&stage->segment.tallies, at.bucket, COUNT_WAITED_CALLS, 2);
	tally_add(&stage->segment.tallies, at.bucket, COUNT_WAITED_NS, 3 * SECOND);
	stage_charge(stage, "api", 115);
	stage_advance(stage, 4 * SECOND);
	row = endpoint_with(out, "api", "granted_calls_per_s");
	assert_true(json_number(row, "granted_calls_per_s") == 3);
	assert_true(json_number(row, "granted_tokens_per_s") == 6);
	assert_true(json_number(row, "refused_calls_per_s") == 0.25);
	assert_true(json_number(row, "waited_calls_per_s") == 0.5);
	assert_int_equal(json_whole(row, "wait_ns"), 3 * SECOND / 2);
	/* 20 tokens in line; the 13 calls granted so far took 25 */
	assert_true(json_number(row, "queue_tokens") == 20);
	assert_int_equal(json_whole(row, "queue_ns"), 4 * SECOND);
	assert_int_equal(json_whole(row, "queue_calls"), 11);
	json_decref(row);
	finish(pid, out);
}

/* Closures are counted from when it began to look. */
static void test_closings(void **state)
{
	struct stage *stage = *state;
	struct bucket *bucket;
	json_t *root, *row;
	int64_t seen = 0;
	FILE *out;
	pid_t pid;

	stage_rule(stage, ROW_EXACT, "api", "5/s", "100");
	bucket = &stage->segment.buckets[stage_resolve(stage, "api").bucket];
	gate_close(bucket, segment_now(&stage->segment), UINT64_MAX);
	gate_open(bucket, segment_now(&stage->segment));
	pid = spawn_json(stage, "100000", &out);
	root = next_object(out);
	row = find_object(json_object_get(root, "endpoints"), "name", "api");
	assert_int_equal(json_whole(row, "closings"), 0);
	json_decref(root);
	for (int i = 0; i < 3; i++) {
		gate_close(bucket, segment_now(&stage->segment), UINT64_MAX);
		gate_open(bucket, segment_now(&stage->segment));
	}
	for (int i = 0; i < STAGE_PATIENCE_S * 20 && seen < 3; i++) {
		root = next_object(out);
		row = find_object(json_object_get(root, "endpoints"), "name", "api");
		seen = json_whole(row, "closings");
		json_decref(root);
	}
	assert_int_equal(seen, 3);
	finish(pid, out);
}

/* ---- on a clock that runs ---- */

static int set_up_running(void **state)
{
	struct stage *stage = malloc(sizeof(*stage));

	if (!stage)
		return -1;
	stage_begin(stage);
	stage_publish(stage, CLOCK_KIND_MONOTONIC, 16);
	*state = stage;
	return 0;
}

/* Rates times intervals are what the counts have grown by, whatever the intervals are. */
static void test_rates_add_up(void **state)
{
	struct stage *stage = *state;
	double granted = 0, refused = 0;
	json_t *root, *row;
	FILE *out;
	pid_t pid;
	double first = 0, last = 0;

	stage_rule(stage, ROW_EXACT, "api", "100/s", "10");
	stage_resolve(stage, "api");
	pid = spawn_json(stage, "30", &out);
	for (int i = 0; i < 30; i++) {
		root = next_object(out);
		row = find_object(json_object_get(root, "endpoints"), "name", "api");
		last = json_number(row, "granted");
		if (i == 0)
			first = last;
		else
			granted += json_number(row, "granted_calls_per_s") *
				   json_number(root, "interval_ns") / (double)SECOND;
		refused += json_number(row, "refused_calls_per_s");
		json_decref(root);
		for (int calls = 0; calls < 30; calls++)
			stage_take(stage, "api", 1);
	}
	assert_true(last - first > 10);
	assert_true(granted > last - first - 0.001 && granted < last - first + 0.001);
	assert_true(refused > 0);
	/* after the last one it ends by itself */
	assert_int_equal(fgetc(out), EOF);
	finish(pid, out);
}

/* Who waits: workers that do nothing else are in line, each with one call. */
static void test_line(void **state)
{
	struct stage *stage = *state;
	struct running load;
	double line = 0, best = 0;
	json_t *root, *row;
	FILE *out;
	pid_t pid;

	stage_rule(stage, ROW_EXACT, "api", "40/s", "1");
	stage_spawn(stage, &load,
		    (const char *const[]){"load", "api", "-P", "3", "--for", "4s", NULL});
	pid = spawn_json(stage, "100000", &out);
	for (int i = 0; i < STAGE_PATIENCE_S * 20 && best < 3; i++) {
		root = next_object(out);
		row = find_object(json_object_get(root, "endpoints"), "name", "api");
		line = json_is_number(json_object_get(row, "queue_calls"))
			       ? json_number(row, "queue_calls")
			       : 0;
		/* never more than there are */
		assert_true(line <= 3);
		best = line > best ? line : best;
		json_decref(root);
	}
	assert_true(best == 3);
	finish(pid, out);
	stage_wait(&load, &outcome);
	expect_status(&outcome, 0);
}

/* ---- misuse ---- */

static void expect_misuse(const struct stage *stage, const char *const *arguments, const char *text)
{
	stage_run(stage, &outcome, arguments);
	expect_status(&outcome, 2);
	assert_string_equal(outcome.out, "");
	expect_text(outcome.err, text);
}

#define MISUSE(text, ...)                                                                          \
	expect_misuse(stage, (const char *const[]){"top", __VA_ARGS__, NULL}, text)

static void test_misuse(void **state)
{
	const struct stage *stage = *state;
	char long_text[200];

	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	MISUSE("top: --every 5: a duration is", "--every", "5");
	MISUSE("top: --every 1ms: a duration from 50ms to 1h", "--every", "1ms");
	MISUSE("top: --every 2h: a duration from 50ms to 1h", "--every", "2h");
	MISUSE("top: -n 0: a whole number above 0", "-n", "0");
	MISUSE("top: -n many: a whole number above 0", "-n", "many");
	MISUSE("top: --sort size: one of granted refused level queue name file", "--sort", "size");
	MISUSE("top: --filter: a text of at most 127 bytes", "--filter", long_text);
	MISUSE("top: `api` is too much", "api");
	MISUSE("no instance `other`", "-N", "other");
}

/* Who reads has gone, or takes no more. */
static void test_full_output(void **state)
{
	const struct stage *stage = *state;
	struct running running;

	stage_open(&running);
	assert_true(dup2(open("/dev/full", O_WRONLY), running.out) >= 0);
	stage_exec(stage, &running, (const char *const[]){"top", EVERY, NULL});
	stage_wait(&running, &outcome);
	expect_status(&outcome, 2);
	expect_text(outcome.err, "cannot write to standard output");
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, stage_set_up, stage_tear_down)
#define RUNNING(test) cmocka_unit_test_setup_teardown(test, set_up_running, stage_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_lines),   CASE(test_filter),	 CASE(test_json),
		CASE(test_rates),   CASE(test_closings), RUNNING(test_rates_add_up),
		RUNNING(test_line), CASE(test_misuse),	 CASE(test_full_output),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
