/* SPDX-License-Identifier: Apache-2.0
 *
 * load: real processes on a real clock. What is asserted are counts against the bound, never how
 * long anything took.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "members.h"
#include "stage.h"
#include "tally.h"

static struct outcome outcome;

static int set_up_members(void **state, uint32_t slots)
{
	struct stage *stage = malloc(sizeof(*stage));

	if (!stage)
		return -1;
	stage_begin(stage);
	stage_publish(stage, CLOCK_KIND_MONOTONIC, slots);
	stage_rule(stage, ROW_EXACT, "api", "200/s", "10");
	*state = stage;
	return 0;
}

static int set_up(void **state)
{
	return set_up_members(state, 16);
}

static int set_up_few(void **state)
{
	return set_up_members(state, 2);
}

static void pause_ms(unsigned ms)
{
	const struct timespec pause = {ms / 1000, (long)(ms % 1000) * 1000000};

	nanosleep(&pause, NULL);
}

static void begin(const struct stage *stage, struct running *running, const char *const *arguments)
{
	stage_spawn(stage, running, arguments);
}

#define BEGIN(stage, running, ...) begin(stage, running, (const char *const[]){__VA_ARGS__, NULL})

/* Waits until `wanted` members have joined and live; the last one's pid. */
static pid_t await_members(const struct stage *stage, unsigned wanted)
{
	for (int i = 0; i < 2000; i++) {
		struct member_info member;
		unsigned count = 0;
		pid_t last = 0;

		for (uint32_t slot = 0; slot < stage->segment.member_count; slot++) {
			members_look(&stage->segment, slot, &member);
			if (member.pid == 0 || !members_alive(&stage->segment, slot))
				continue;
			count++;
			last = (pid_t)member.pid;
		}
		if (count >= wanted)
			return last;
		pause_ms(5);
	}
	fail_msg("%u workers did not come", wanted);
	return 0;
}

/* Waits until so many calls of the endpoint were granted. */
static void await_grants(struct stage *stage, const char *name, uint64_t wanted)
{
	struct resolution at = stage_resolve(stage, name);

	for (int i = 0; i < 4000; i++) {
		struct tally_sum sum;

		tally_read(&stage->segment.tallies, at.bucket, 0, &sum);
		if (sum.counters[COUNT_GRANTED_CALLS] >= wanted)
			return;
		pause_ms(5);
	}
	fail_msg("%llu grants did not come", (unsigned long long)wanted);
}

/* The last line of standard output, by itself. */
static json_t *last_line(void)
{
	char *end = strrchr(outcome.out, '\n');
	char *line;
	json_t *root;

	assert_non_null(end);
	*end = '\0';
	line = strrchr(outcome.out, '\n');
	root = json_loads(line ? line + 1 : outcome.out, 0, NULL);
	if (!root)
		fail_msg("no JSON: %s", line ? line + 1 : outcome.out);
	*end = '\n';
	return root;
}

static void test_within(void **state)
{
	struct stage *stage = *state;

	RUN(stage, &outcome, "load", "api", "-P", "3", "--for", "2s");
	expect_status(&outcome, 0);
	expect_text(outcome.out, "   1 s  ");
	expect_text(outcome.out, "tokens/s granted");
	expect_text(outcome.out, "rate 200/s");
	expect_text(outcome.out, "calls granted to each worker: ");
	expect_text(outcome.out, " tokens allowed in ");
	expect_text(outcome.out, " %): within the limit\n");
	expect_no_text(outcome.out, "\r");
	expect_no_text(outcome.out, "killed");
}

static void test_json(void **state)
{
	struct stage *stage = *state;
	json_t *root, *workers, *worker;
	int64_t calls = 0;
	size_t i;

	RUN(stage, &outcome, "load", "api", "-P", "3", "-n", "2", "--for", "1500ms", "--json");
	expect_status(&outcome, 0);
	root = last_line();
	assert_string_equal(json_text(root, "verdict"), "within");
	assert_true(json_number(root, "granted") <= json_number(root, "allowed"));
	assert_true(json_number(root, "granted") > 0);
	assert_true(json_number(root, "excess") == 0);
	assert_true(json_number(root, "granted") == 2 * json_number(root, "granted_calls"));
	workers = json_object_get(root, "workers");
	assert_int_equal(json_array_size(workers), 3);
	json_array_foreach(workers, i, worker)
	{
		assert_false(json_flag(worker, "killed"));
		calls += json_whole(worker, "granted_calls");
	}
	/* nobody else drew, so the workers' own counts are the limit's */
	assert_int_equal(calls, json_whole(root, "granted_calls"));
	json_decref(root);
	*strchr(outcome.out, '\n') = '\0';
	root = parse_json(&outcome);
	assert_true(json_number(root, "granted_per_s") >= 0);
	assert_string_equal(json_text(root, "rate"), "200/s");
	assert_int_equal(json_whole(root, "workers"), 3);
	json_decref(root);
}

static void test_no_queue(void **state)
{
	struct stage *stage = *state;
	json_t *root;

	RUN(stage, &outcome, "load", "api", "-P", "2", "--for", "1s", "--no-queue", "--json");
	expect_status(&outcome, 0);
	root = last_line();
	assert_string_equal(json_text(root, "verdict"), "within");
	assert_true(json_number(root, "granted") > 0);
	assert_true(json_whole(root, "refused_calls") > 0);
	json_decref(root);
}

/* A name that nobody has used, under [default]. */
static void test_new_name(void **state)
{
	struct stage *stage = *state;
	json_t *root;

	RUN(stage, &outcome, "load", "newcomer", "-P", "2", "--for", "500ms", "--json");
	expect_status(&outcome, 0);
	root = last_line();
	assert_true(json_number(root, "granted") >= 10);
	/* its bucket began full: 10, and 10 a second */
	assert_true(json_number(root, "allowed") >= 10);
	json_decref(root);
}

static void test_killed_worker(void **state)
{
	struct stage *stage = *state;
	struct running running;
	json_t *root, *workers;
	unsigned killed = 0;

	BEGIN(stage, &running, "load", "api", "-P", "3", "--for", "2s");
	await_grants(stage, "api", 20);
	assert_int_equal(kill(await_members(stage, 3), SIGKILL), 0);
	stage_wait(&running, &outcome);
	expect_status(&outcome, 0);
	expect_text(outcome.out, ") was killed by SIGKILL; 2 go on\n");
	expect_text(outcome.out, " (killed)");
	expect_text(outcome.out, "within the limit");
	BEGIN(stage, &running, "load", "api", "-P", "2", "--for", "1s", "--json");
	assert_int_equal(kill(await_members(stage, 2), SIGKILL), 0);
	stage_wait(&running, &outcome);
	expect_status(&outcome, 0);
	root = last_line();
	workers = json_object_get(root, "workers");
	for (size_t i = 0; i < json_array_size(workers); i++)
		killed += json_flag(json_array_get(workers, i), "killed");
	assert_int_equal(killed, 1);
	json_decref(root);
}

/* Grants that the bucket knows nothing of: what a limiter that does not hold would count. */
static void test_over(void **state)
{
	struct stage *stage = *state;
	struct resolution at = stage_resolve(stage, "api");
	struct running running;
	struct line line;
	json_t *root;

	BEGIN(stage, &running, "load", "api", "-P", "2", "--for", "1s", "--json");
	await_grants(stage, "api", 20);
	line_read(&stage->segment.rows[at.row], &stage->segment.time, &line);
	tally_count(&stage->segment.tallies, at.bucket, COUNT_GRANTED_CALLS, 100000ull << line.k);
	stage_wait(&running, &outcome);
	expect_status(&outcome, 1);
	root = last_line();
	assert_string_equal(json_text(root, "verdict"), "over");
	assert_true(json_number(root, "excess") > 0);
	json_decref(root);
	BEGIN(stage, &running, "load", "api", "-P", "2", "--for", "1s");
	await_grants(stage, "api", 1);
	await_members(stage, 2);
	pause_ms(200);
	tally_count(&stage->segment.tallies, at.bucket, COUNT_GRANTED_CALLS, 100000ull << line.k);
	stage_wait(&running, &outcome);
	expect_status(&outcome, 1);
	expect_text(outcome.out, "OVER THE LIMIT");
}

static void test_rate_changes_meanwhile(void **state)
{
	struct stage *stage = *state;
	struct running running;
	json_t *root;

	BEGIN(stage, &running, "load", "api", "-P", "4", "--for", "2s", "--json");
	await_grants(stage, "api", 20);
	for (int i = 0; i < 100; i++) {
		stage_change(stage, "api", i % 2 ? "20/s" : "2000/s", "10");
		pause_ms(7);
	}
	stage_wait(&running, &outcome);
	expect_status(&outcome, 0);
	root = last_line();
	assert_string_equal(json_text(root, "verdict"), "within");
	/* greedy workers leave little; a machine that is busy with something else leaves more */
	assert_true(json_number(root, "granted") >= 0.5 * json_number(root, "allowed"));
	json_decref(root);
}

static void test_interrupted(void **state)
{
	struct stage *stage = *state;
	struct running running;

	BEGIN(stage, &running, "load", "api", "-P", "2", "--for", "1h");
	await_grants(stage, "api", 20);
	assert_int_equal(kill(running.pid, SIGINT), 0);
	stage_wait(&running, &outcome);
	expect_status(&outcome, 0);
	expect_text(outcome.out, "within the limit");
	expect_no_text(outcome.out, "was killed");
}

static void test_unlimited(void **state)
{
	struct stage *stage = *state;
	json_t *root;

	stage_rule(stage, ROW_EXACT, "free", "unlimited", "1");
	RUN(stage, &outcome, "load", "free", "-P", "2", "--for", "300ms", "--json");
	expect_status(&outcome, 0);
	root = last_line();
	assert_string_equal(json_text(root, "verdict"), "unlimited");
	assert_true(json_is_null(json_object_get(root, "allowed")));
	json_decref(root);
}

static void test_cannot(void **state)
{
	struct stage *stage = *state;

	RUN(stage, &outcome, "load", "api", "-P", "4", "--for", "1h");
	expect_status(&outcome, 2);
	expect_text(outcome.err, "raise `members`");
	RUN(stage, &outcome, "load", "api", "-P", "1", "-n", "11", "--for", "1h");
	expect_status(&outcome, 2);
	expect_text(outcome.err, "1 of 1 workers failed: the cost is above the burst");
}

static void test_manual_clock(void **state)
{
	struct stage *stage = *state;

	stage_end(stage);
	stage_begin(stage);
	stage_publish(stage, CLOCK_KIND_MANUAL, 4);
	RUN(stage, &outcome, "load", "api");
	expect_status(&outcome, 2);
	expect_text(outcome.err, "is manual");
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, stage_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_within),
		CASE(test_json),
		CASE(test_no_queue),
		CASE(test_new_name),
		CASE(test_killed_worker),
		CASE(test_over),
		CASE(test_rate_changes_meanwhile),
		CASE(test_interrupted),
		CASE(test_unlimited),
		cmocka_unit_test_setup_teardown(test_cannot, set_up_few, stage_tear_down),
		CASE(test_manual_clock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
