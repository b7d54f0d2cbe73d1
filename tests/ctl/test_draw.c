/* SPDX-License-Identifier: Apache-2.0
 *
 * What draws for scripts: acquire and run, on an instance without a daemon.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "gate.h"
#include "members.h"
#include "stage.h"
#include "tally.h"
#include "weir.h"

#define SECOND 1000000000ull

static struct outcome outcome;

static int set_up(void **state, enum clock_kind clock)
{
	struct stage *stage = malloc(sizeof(*stage));

	if (!stage)
		return -1;
	stage_begin(stage);
	stage_publish(stage, clock, 8);
	stage_rule(stage, ROW_EXACT, "api", "10/s", "10");
	*state = stage;
	return 0;
}

static int set_up_manual(void **state)
{
	return set_up(state, CLOCK_KIND_MANUAL);
}

static int set_up_real(void **state)
{
	return set_up(state, CLOCK_KIND_MONOTONIC);
}

static uint64_t counted(struct stage *stage, const char *name, enum counter counter)
{
	struct resolution at = stage_resolve(stage, name);
	struct tally_sum sum;

	tally_read(&stage->segment.tallies, at.bucket, 0, &sum);
	return sum.counters[counter];
}

static unsigned members(const struct stage *stage)
{
	unsigned count = 0;

	for (uint32_t slot = 0; slot < stage->segment.member_count; slot++) {
		struct member_info member;

		members_look(&stage->segment, slot, &member);
		count += member.pid != 0;
	}
	return count;
}

static void close_for(struct stage *stage, const char *name, uint64_t ns)
{
	struct resolution at = stage_resolve(stage, name);
	uint64_t now = segment_now(&stage->segment);

	gate_close(&stage->segment.buckets[at.bucket], now,
		   ns == UINT64_MAX ? UINT64_MAX : now + ns);
}

static void expect_refused(const struct stage *stage, const char *const *arguments,
			   const char *sentence)
{
	stage_run(stage, &outcome, arguments);
	expect_status(&outcome, 1);
	assert_string_equal(outcome.err, "");
	assert_string_equal(outcome.out, sentence);
}

#define REFUSED(sentence, ...)                                                                     \
	expect_refused(stage, (const char *const[]){__VA_ARGS__, NULL}, sentence)

/* ---- acquire ---- */

/* The numbers of UT-3 and UT-4. */
static void test_acquire(void **state)
{
	struct stage *stage = *state;

	stage_take(stage, "api", 5);
	RUN(stage, &outcome, "acquire", "api", "-n", "2");
	expect_status(&outcome, 0);
	assert_string_equal(outcome.out, "");
	assert_string_equal(outcome.err, "");
	REFUSED("refused: 0.2 s until 5 tokens are there\n", "acquire", "api", "-n", "5");
	REFUSED("refused: 0.2 s until 5 tokens are there\n", "acquire", "-n5", "api");
	assert_int_equal(counted(stage, "api", COUNT_GRANTED_CALLS), 2);
	assert_int_equal(counted(stage, "api", COUNT_REFUSED_CALLS), 2);
	/* sleeping what was told is enough */
	stage_advance(stage, SECOND / 5);
	RUN(stage, &outcome, "acquire", "api", "--cost=5");
	expect_status(&outcome, 0);
	REFUSED("refused: 0.1 s until 1 token is there\n", "acquire", "api");
	REFUSED("refused: 0.05 s until 0.5 tokens are there\n", "acquire", "api", "-n", "0.5");
	assert_int_equal(members(stage), 0);
}

static void test_acquire_json(void **state)
{
	struct stage *stage = *state;
	json_t *root;

	RUN(stage, &outcome, "acquire", "api", "-n", "7", "--json");
	expect_status(&outcome, 0);
	root = parse_json(&outcome);
	assert_string_equal(json_text(root, "verdict"), "admit");
	assert_string_equal(json_text(root, "reason"), "none");
	assert_int_equal(json_whole(root, "wait_ns"), 0);
	assert_true(json_number(root, "level") == 3);
	assert_int_equal(json_whole(root, "fault"), 0);
	json_decref(root);
	RUN(stage, &outcome, "acquire", "api", "-n", "5", "--json");
	expect_status(&outcome, 1);
	root = parse_json(&outcome);
	assert_string_equal(json_text(root, "verdict"), "refuse");
	assert_string_equal(json_text(root, "reason"), "level");
	assert_int_equal(json_whole(root, "wait_ns"), 200000000);
	assert_true(json_number(root, "level") == 3);
	json_decref(root);
}

static void test_acquire_reasons(void **state)
{
	struct stage *stage = *state;

	stage_rule(stage, ROW_EXACT, "stopped", "0", "2");
	stage_take(stage, "stopped", 2);
	REFUSED("refused: no wait helps: the rate is 0 and 1 token is not there\n", "acquire",
		"stopped");
	/* it opens in half a minute, which is of no use */
	close_for(stage, "stopped", 30 * SECOND);
	REFUSED("refused: closed, and the rate is 0: no wait helps\n", "acquire", "stopped");
	stage_take(stage, "api", 10);
	REFUSED("refused: 0.1 s until 1 token is there, longer than the 0.05 s to wait\n",
		"acquire", "api", "--wait", "50ms");
	close_for(stage, "api", 30 * SECOND);
	stage_run(stage, &outcome, (const char *const[]){"acquire", "api", NULL});
	expect_status(&outcome, 1);
	expect_text(outcome.out, "refused: closed, passes in 30");
	close_for(stage, "api", UINT64_MAX);
	REFUSED("refused: closed until somebody opens it\n", "acquire", "api");
}

static void test_acquire_max_wait(void **state)
{
	struct stage *stage = *state;
	const struct terms_author author = {ORIGIN_FILE, 0};
	struct terms terms = {.rate_micro = 10000000,
			      .period_ns = SECOND,
			      .burst_micro = 10000000,
			      .initial_micro = 10000000,
			      .max_wait_ns = SECOND};
	struct resolution at = stage_resolve(stage, "api");

	assert_true(rules_change(&stage->segment, at.row, &terms, &author, RULES_KEEP_USED) >= 0);
	stage_charge(stage, "api", 20); /* a second's worth waits already */
	stage_run(stage, &outcome, (const char *const[]){"acquire", "api", "--wait", "1h", NULL});
	expect_status(&outcome, 1);
	expect_text(outcome.out, "the queue is as long as the rule allows (max_wait)");
}

static void test_acquire_class(void **state)
{
	struct stage *stage = *state;
	json_t *root;

	stage_rule(stage, ROW_EXACT, "classed", "10/s", "10");
	stage_set(stage, "classed", "class batch", "leave 50 %");
	RUN(stage, &outcome, "acquire", "classed", "-n", "4", "--class", "batch");
	expect_status(&outcome, 0);
	REFUSED("refused: 0.1 s until 2 tokens are there beside what class batch must leave\n",
		"acquire", "classed", "-n", "2", "--class=batch");
	REFUSED("refused: no wait helps: the rate is 0 and 6 tokens are not there, or that is more "
		"than ever is left for class batch\n",
		"acquire", "classed", "-n", "6", "--class", "batch");
	RUN(stage, &outcome, "acquire", "classed", "-n", "2", "--class", "batch", "--json");
	expect_status(&outcome, 1);
	root = parse_json(&outcome);
	assert_string_equal(json_text(root, "reason"), "headroom");
	assert_string_equal(json_text(root, "shadow_reason"), "none");
	json_decref(root);
	RUN(stage, &outcome, "run", "classed", "-n", "2", "--class", "batch", "--wait", "0s", "--",
	    "true");
	expect_status(&outcome, 1);
	expect_text(outcome.err, "beside what class batch must leave");
	RUN(stage, &outcome, "acquire", "classed", "-n", "2", "--class", "other");
	expect_status(&outcome, 0);
	RUN(stage, &outcome, "acquire", "classed", "--class", "No!");
	expect_status(&outcome, 2);
	expect_text(outcome.err, "--class No!: a class is 1 to 12 of");
}

static void test_acquire_shadow(void **state)
{
	struct stage *stage = *state;
	json_t *root;

	stage_rule(stage, ROW_EXACT, "dry", "10/s", "10");
	stage_set(stage, "dry", "shadow", "yes");
	RUN(stage, &outcome, "acquire", "dry", "-n", "8");
	expect_status(&outcome, 0);
	assert_string_equal(outcome.out, "");
	RUN(stage, &outcome, "acquire", "dry", "-n", "4");
	expect_status(&outcome, 0);
	assert_string_equal(
		outcome.out,
		"admitted, and in the shadow refused: 0.2 s until 4 tokens are there\n");
	RUN(stage, &outcome, "acquire", "dry", "-n", "4", "--json");
	expect_status(&outcome, 0);
	root = parse_json(&outcome);
	assert_string_equal(json_text(root, "verdict"), "admit");
	assert_string_equal(json_text(root, "reason"), "none");
	assert_string_equal(json_text(root, "shadow_reason"), "level");
	assert_int_equal(json_whole(root, "shadow_wait_ns"), 200000000);
	json_decref(root);
}

/* Never a wait: the caller must ask for less. */
static void test_acquire_fault(void **state)
{
	struct stage *stage = *state;
	json_t *root;

	RUN(stage, &outcome, "acquire", "api", "-n", "11", "--wait", "forever");
	expect_status(&outcome, 2);
	assert_string_equal(outcome.out, "");
	expect_text(outcome.err, "weirctl: api: the cost is above the burst: it can never pass");
	RUN(stage, &outcome, "acquire", "api", "-n", "11", "--json");
	expect_status(&outcome, 2);
	root = parse_json(&outcome);
	assert_int_equal(json_whole(root, "fault"), WEIR_EBURST);
	assert_true(json_is_null(json_object_get(root, "wait_ns")));
	json_decref(root);
}

static void test_acquire_waits(void **state)
{
	struct stage *stage = *state;

	stage_take(stage, "api", 10);
	RUN(stage, &outcome, "acquire", "api", "-n", "2", "--wait", "1h");
	expect_status(&outcome, 0);
	assert_int_equal(counted(stage, "api", COUNT_WAITED_CALLS), 1);
	assert_int_equal(counted(stage, "api", COUNT_GRANTED_CALLS), 2);
}

/* ---- run ---- */

static bool exists(const struct stage *stage, const char *name)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", stage->dir, name);
	return access(path, F_OK) == 0;
}

static void test_run_status(void **state)
{
	struct stage *stage = *state;

	RUN(stage, &outcome, "run", "api", "--", "sh", "-c", "echo out; echo err >&2; exit 42");
	expect_status(&outcome, 42);
	assert_string_equal(outcome.out, "out\n");
	assert_string_equal(outcome.err, "err\n");
	assert_int_equal(counted(stage, "api", COUNT_GRANTED_CALLS), 1);
	/* the two dashes may be left out, and the command's options are its own */
	RUN(stage, &outcome, "run", "-n", "3", "api", "sh", "-c", "exit 0", "--json", "-n");
	expect_status(&outcome, 0);
	assert_int_equal(counted(stage, "api", COUNT_GRANTED_CALLS), 2);
	RUN(stage, &outcome, "run", "api", "sh", "-c", "kill -9 $$");
	expect_status(&outcome, 256 + SIGKILL);
	/* the command is no member: what it became has left before */
	assert_int_equal(members(stage), 0);
}

static void test_run_cannot(void **state)
{
	struct stage *stage = *state;

	RUN(stage, &outcome, "run", "api", "--", "/no/such/command");
	expect_status(&outcome, 127);
	expect_text(outcome.err, "cannot run /no/such/command: No such file or directory");
	RUN(stage, &outcome, "run", "api", "--", stage->dir);
	expect_status(&outcome, 126);
	expect_text(outcome.err, "Permission denied");
	RUN(stage, &outcome, "run", "api", "-n", "11", "--", "touch", "/tmp/never");
	expect_status(&outcome, 2);
	expect_text(outcome.err, "the cost is above the burst");
}

static void test_run_refused(void **state)
{
	struct stage *stage = *state;
	char file[160];

	snprintf(file, sizeof(file), "%s/touched", stage->dir);
	stage_take(stage, "api", 10);
	RUN(stage, &outcome, "run", "api", "--wait", "0s", "--", "touch", file);
	expect_status(&outcome, 1);
	assert_string_equal(outcome.out, "");
	assert_string_equal(outcome.err, "weirctl: api refused, touch was not run: 0.1 s until 1 "
					 "token is there\n");
	assert_false(exists(stage, "touched"));
	stage_advance(stage, SECOND);
	RUN(stage, &outcome, "run", "api", "--wait", "0s", "--", "touch", file);
	expect_status(&outcome, 0);
	assert_true(exists(stage, "touched"));
}

/* Without --wait it waits for its turn, and the order of the commands is that of the limit. */
static void test_run_waits(void **state)
{
	struct stage *stage = *state;

	stage_take(stage, "api", 10);
	RUN(stage, &outcome, "run", "api", "-n", "3", "--", "true");
	expect_status(&outcome, 0);
	assert_int_equal(counted(stage, "api", COUNT_WAITED_CALLS), 1);
}

#define MANUAL(test) cmocka_unit_test_setup_teardown(test, set_up_manual, stage_tear_down)
#define REAL(test) cmocka_unit_test_setup_teardown(test, set_up_real, stage_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		MANUAL(test_acquire),	      MANUAL(test_acquire_json),
		MANUAL(test_acquire_reasons), MANUAL(test_acquire_max_wait),
		MANUAL(test_acquire_class),   MANUAL(test_acquire_shadow),
		MANUAL(test_acquire_fault),   REAL(test_acquire_waits),
		MANUAL(test_run_status),      MANUAL(test_run_cannot),
		MANUAL(test_run_refused),     REAL(test_run_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
