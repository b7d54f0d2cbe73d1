/* SPDX-License-Identifier: Apache-2.0
 *
 * What reads: list, show, members, check, on an instance without a daemon, and what they say
 * when there is nothing to read.
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
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "bucket.h"
#include "gate.h"
#include "lock.h"
#include "members.h"
#include "move.h"
#include "stage.h"
#include "tally.h"

#define SECOND 1000000000ull

static struct outcome outcome;

/* The rows of `list --json`; freed with *root. */
static json_t *list_rows(const struct stage *stage, json_t **root)
{
	RUN(stage, &outcome, "list", "--json");
	expect_status(&outcome, 0);
	*root = parse_json(&outcome);
	return json_object_get(*root, "endpoints");
}

/* The row of one name in `list --json`, by itself. */
static json_t *list_row(const struct stage *stage, const char *name)
{
	json_t *root;
	json_t *row = find_object(list_rows(stage, &root), "name", name);

	if (!row)
		fail_msg("no row of %s in %s", name, outcome.out);
	json_incref(row);
	json_decref(root);
	return row;
}

static json_t *show(const struct stage *stage, const char *name)
{
	RUN(stage, &outcome, "show", name, "--json");
	expect_status(&outcome, 0);
	return parse_json(&outcome);
}

/* ---- list ---- */

static void test_list_text(void **state)
{
	struct stage *stage = *state;

	stage_rule(stage, ROW_EXACT, "api.example.com", "5/2s", "15");
	stage_rule(stage, ROW_PATTERN, "img.*", "1250/h", "2.5");
	stage_rule(stage, ROW_EXACT, "free", "unlimited", "1");
	stage_take(stage, "api.example.com", 4);
	stage_take(stage, "zebra", 1);
	stage_take(stage, "ant", 10);
	assert_false(stage_take(stage, "ant", 1));
	RUN(stage, &outcome, "list");
	expect_status(&outcome, 0);
	assert_string_equal(outcome.err, "");
	assert_string_equal(
		outcome.out,
		"ENDPOINT         RATE       BURST  LEVEL  GRANTED  REFUSED  WAITED  STATE\n"
		"api.example.com  5/2s          15     11        1        0       0  open\n"
		"img.*            1250/h       2.5    2.5        0        0       0  open\n"
		"free             unlimited      -      -        0        0       0  unlimited\n"
		"* (default)      10/s          10      -        -        -       -  -\n"
		"  ant            10/s          10      0        1        1       0  open\n"
		"  zebra          10/s          10      9        1        0       0  open\n"
		"\n"
		"instance `test`, clock manual; weird is not running: limits stay in force, "
		"changes "
		"wait for it\n");
}

static void test_list_json(void **state)
{
	struct stage *stage = *state;
	json_t *root, *rows, *row;

	stage_rule(stage, ROW_EXACT, "api", "5/2s", "15");
	stage_rule(stage, ROW_PATTERN, "img.*", "1250/h", "2.5");
	stage_rule(stage, ROW_EXACT, "free", "unlimited", "1");
	stage_take(stage, "api", 4);
	stage_take(stage, "ant", 3);
	rows = list_rows(stage, &root);
	assert_string_equal(json_text(root, "instance"), "test");
	assert_string_equal(json_text(root, "clock"), "manual");
	assert_false(json_flag(root, "weird_running"));
	assert_int_equal(json_array_size(rows), 5);
	row = find_object(rows, "name", "api");
	assert_string_equal(json_text(row, "kind"), "exact");
	assert_string_equal(json_text(row, "rate"), "5/2s");
	assert_true(json_number(row, "rate_per_s") == 2.5);
	assert_true(json_number(row, "burst") == 15);
	assert_true(json_number(row, "level") == 11);
	assert_int_equal(json_whole(row, "granted"), 1);
	assert_true(json_number(row, "granted_tokens") == 4);
	assert_string_equal(json_text(row, "state"), "open");
	row = find_object(rows, "name", "free");
	assert_true(json_is_null(json_object_get(row, "rate_per_s")));
	assert_true(json_is_null(json_object_get(row, "burst")));
	row = find_object(rows, "name", "*");
	assert_string_equal(json_text(row, "kind"), "default");
	assert_true(json_is_null(json_object_get(row, "level")));
	row = find_object(rows, "name", "ant");
	assert_string_equal(json_text(row, "kind"), "name");
	assert_int_equal(json_whole(row, "row"), 0);
	assert_string_equal(json_text(find_object(rows, "name", "img.*"), "kind"), "pattern");
	json_decref(root);
}

static void test_list_states(void **state)
{
	struct stage *stage = *state;
	struct resolution at;
	json_t *row;

	stage_rule(stage, ROW_EXACT, "api", "5/s", "5");
	stage_charge(stage, "api", 5 + 16);
	row = list_row(stage, "api");
	assert_string_equal(json_text(row, "state"), "queue 3.2 s");
	assert_true(json_number(row, "queue_tokens") == 16);
	assert_int_equal(json_whole(row, "queue_ns"), 3200000000);
	assert_true(json_number(row, "level") == -16);
	json_decref(row);
	/* rate 0: the queue does not move, and that is what counts */
	stage_change(stage, "api", "0", "5");
	row = list_row(stage, "api");
	assert_string_equal(json_text(row, "state"), "stopped");
	assert_true(json_is_null(json_object_get(row, "queue_ns")));
	json_decref(row);

	stage_rule(stage, ROW_EXACT, "shut", "5/s", "5");
	at = stage_resolve(stage, "shut");
	gate_close(&stage->segment.buckets[at.bucket], segment_now(&stage->segment), UINT64_MAX);
	row = list_row(stage, "shut");
	assert_string_equal(json_text(row, "state"), "closed until opened");
	assert_true(json_flag(row, "closed"));
	assert_true(json_is_null(json_object_get(row, "closed_ns")));
	assert_true(json_number(row, "level") == 0);
	json_decref(row);
}

/* Closed for a time; then open, and found empty although nobody has called yet. */
static void test_list_closed(void **state)
{
	struct stage *stage = *state;
	struct resolution at;
	uint64_t now;
	int64_t closed_ns;
	json_t *row;

	stage_rule(stage, ROW_EXACT, "api", "5/s", "5");
	at = stage_resolve(stage, "api");
	now = segment_now(&stage->segment);
	gate_close(&stage->segment.buckets[at.bucket], now, now + 12 * SECOND);
	row = list_row(stage, "api");
	closed_ns = json_whole(row, "closed_ns");
	/* the word's grain is 65,536 ticks */
	assert_true(closed_ns >= (int64_t)(12 * SECOND) &&
		    closed_ns <= (int64_t)(12 * SECOND + 65536));
	assert_memory_equal(json_text(row, "state"), "closed 12", 9);
	json_decref(row);
	stage_advance(stage, 12 * SECOND + SECOND / 2);
	row = list_row(stage, "api");
	assert_string_equal(json_text(row, "state"), "open");
	assert_false(json_flag(row, "closed"));
	assert_true(json_number(row, "level") >= 2.49 && json_number(row, "level") <= 2.5);
	json_decref(row);
}

/* A name that got a rule of its own is listed by that alone. */
static void test_list_promoted(void **state)
{
	struct stage *stage = *state;
	json_t *root, *rows;

	stage_take(stage, "ant", 3);
	stage_take(stage, "bee", 3);
	stage_rule(stage, ROW_EXACT, "ant", "10/s", "10");
	stage_rule(stage, ROW_PATTERN, "bee*", "10/s", "10");
	rows = list_rows(stage, &root);
	assert_int_equal(json_array_size(rows), 3);
	assert_string_equal(json_text(find_object(rows, "name", "ant"), "kind"), "exact");
	assert_true(json_number(find_object(rows, "name", "ant"), "level") == 7);
	assert_true(json_number(find_object(rows, "name", "ant"), "granted_tokens") == 3);
	assert_null(find_object(rows, "name", "bee"));
	json_decref(root);
}

/* More names than the table holds, and one whose text was never written. */
static void test_list_crowded(void **state)
{
	struct stage *stage = *state;
	json_t *root, *rows, *row;
	char name[16];

	for (int i = 0; i < 9; i++) {
		snprintf(name, sizeof(name), "name%d", i);
		assert_true(stage_take(stage, name, 2));
	}
	rows = list_rows(stage, &root);
	assert_int_equal(json_array_size(rows), 10);
	row = find_object(rows, "kind", "crowded");
	assert_non_null(row);
	assert_true(json_number(row, "level") == 8);
	json_decref(root);

	atomic_store(&stage->segment.names[0].text[0], 0);
	rows = list_rows(stage, &root);
	assert_int_equal(json_array_size(rows), 10);
	expect_text(outcome.out, "(unknown name, hash ");
	json_decref(root);
}

static void test_list_daemon(void **state)
{
	struct stage *stage = *state;
	pid_t holder = 0;
	int lock = lock_take(&stage->place, (gid_t)-1, &holder);
	json_t *root;

	assert_true(lock >= 0);
	list_rows(stage, &root);
	assert_true(json_flag(root, "weird_running"));
	assert_int_equal(json_whole(root, "weird_pid"), getpid());
	json_decref(root);
	RUN(stage, &outcome, "list");
	expect_text(outcome.out, "weird is running (pid ");
	close(lock);
}

/* A hostile publisher cannot steer the terminal. */
static void test_list_hostile_text(void **state)
{
	struct stage *stage = *state;
	struct rule_row *row = (struct rule_row *)(void *)(stage->segment.publisher + 1);
	const char evil[] = "\x1b]0;x\x07\x9b"
			    "2J";
	uint32_t index = stage_rule(stage, ROW_EXACT, "victim", "5/s", "5");

	for (size_t i = 0; i < sizeof(evil); i++)
		atomic_store(&row[index].text[i], (unsigned char)evil[i]);
	RUN(stage, &outcome, "list");
	expect_status(&outcome, 0);
	expect_text(outcome.out, "\\x1b]0;x\\x07\\x9b2J");
	assert_null(strchr(outcome.out, 0x1b));
	RUN(stage, &outcome, "list", "--json");
	expect_status(&outcome, 0);
	json_decref(parse_json(&outcome));
	assert_null(strchr(outcome.out, 0x1b));
}

/* A column for shadows where anything has one; and for programs always. */
static void test_list_shadows(void **state)
{
	struct stage *stage = *state;
	json_t *row;

	stage_rule(stage, ROW_EXACT, "plain", "10/s", "10");
	row = list_row(stage, "plain");
	assert_false(json_flag(row, "shadow"));
	assert_true(json_is_null(json_object_get(row, "shadow_rate")));
	assert_int_equal(json_whole(row, "shadow_passed"), 0);
	json_decref(row);
	RUN(stage, &outcome, "list");
	expect_no_text(outcome.out, "SHADOW");
	stage_rule(stage, ROW_EXACT, "mode", "10/s", "10");
	stage_set(stage, "mode", "shadow", "yes");
	stage_rule(stage, ROW_EXACT, "beside", "10/s", "10");
	stage_set(stage, "beside", "shadow_rate", "5/2s");
	RUN(stage, &outcome, "acquire", "mode", "-n", "10");
	RUN(stage, &outcome, "acquire", "mode", "-n", "4");
	for (int i = 0; i < 3; i++)
		RUN(stage, &outcome, "acquire", "beside", "-n", "2");
	RUN(stage, &outcome, "list");
	expect_status(&outcome, 0);
	expect_text(outcome.out, "WAITED  SHADOW     STATE\n");
	expect_text(outcome.out, "       0  0          open\n");
	expect_text(outcome.out, "       0  1          shadow\n");
	expect_text(outcome.out, "       0  2 by 5/2s  open\n");
	expect_text(outcome.out, "       -  -          -\n");
	row = list_row(stage, "mode");
	assert_true(json_flag(row, "shadow"));
	assert_int_equal(json_whole(row, "shadow_passed"), 1);
	assert_true(json_number(row, "shadow_passed_tokens") == 4);
	assert_int_equal(json_whole(row, "granted"), 2);
	assert_int_equal(json_whole(row, "refused"), 0);
	assert_string_equal(json_text(row, "state"), "shadow");
	json_decref(row);
	row = list_row(stage, "beside");
	assert_false(json_flag(row, "shadow"));
	assert_string_equal(json_text(row, "shadow_rate"), "5/2s");
	assert_true(json_number(row, "shadow_rate_per_s") == 2.5);
	assert_true(json_number(row, "shadow_burst") == 2.5);
	assert_true(json_number(row, "shadow_level") == 0.5);
	assert_int_equal(json_whole(row, "shadow_refused"), 2);
	assert_true(json_number(row, "shadow_refused_tokens") == 4);
	json_decref(row);
	row = list_row(stage, "*");
	assert_true(json_is_null(json_object_get(row, "shadow_passed")));
	json_decref(row);
	stage_set(stage, "mode", "shadow_rate", "1/s");
	RUN(stage, &outcome, "acquire", "mode", "-n", "2");
	RUN(stage, &outcome, "list");
	expect_text(outcome.out, "       0  2, 1 by 1/s  shadow\n");
}

/* ---- show ---- */

static void test_show_exact(void **state)
{
	struct stage *stage = *state;
	json_t *root;

	stage_rule(stage, ROW_PATTERN, "api.*", "1/s", "1");
	stage_rule(stage, ROW_PATTERN, "*.com", "1/s", "1");
	stage_rule(stage, ROW_EXACT, "api.com", "10/s", "15");
	stage_take(stage, "api.com", 5);
	stage_advance(stage, SECOND / 10);
	RUN(stage, &outcome, "show", "api.com");
	expect_status(&outcome, 0);
	expect_text(outcome.out, "rule          endpoint api.com\n");
	expect_text(outcome.out, "why           a rule has exactly this name\n");
	expect_text(outcome.out, "also matches  api.* (literal prefix 4 bytes, 1 wildcard: less "
				 "specific than an exact name)\n");
	expect_text(outcome.out, "              *.com (literal prefix 0 bytes, 1 wildcard");
	expect_text(outcome.out, "rate          10/s\n");
	expect_text(outcome.out, "burst         15\n");
	expect_text(outcome.out, "max wait      no bound\n");
	expect_text(outcome.out, "set by        the configuration file, ");
	expect_text(outcome.out, "token (2^-");
	expect_text(outcome.out, "level         11\n");
	expect_text(outcome.out, "state         open\n");
	expect_text(outcome.out, "queue         nobody waits in line\n");
	expect_text(outcome.out, "granted       1 call, 5 tokens\n");
	expect_text(outcome.out, "weird         not running");
	root = show(stage, "api.com");
	assert_int_equal(json_array_size(json_object_get(root, "also_matches")), 2);
	assert_true(json_number(root, "level") == 11);
	assert_true(json_number(root, "initial") == 15);
	assert_string_equal(json_text(root, "set_by"), "file");
	assert_true(json_is_null(json_object_get(root, "max_wait_ns")));
	assert_int_equal(json_whole(root, "row"), 3);
	json_decref(root);
}

static void test_show_shadows_and_classes(void **state)
{
	struct stage *stage = *state;
	json_t *root;

	stage_rule(stage, ROW_EXACT, "api", "10/s", "50");
	root = show(stage, "api");
	assert_null(json_object_get(root, "classes"));
	json_decref(root);
	stage_set(stage, "api", "shadow", "yes");
	stage_set(stage, "api", "shadow_rate", "5/s");
	stage_set(stage, "api", "class background", "leave 20 %");
	stage_set(stage, "api", "class batch", "leave 7.5");
	RUN(stage, &outcome, "acquire", "api", "-n", "50");
	RUN(stage, &outcome, "acquire", "api", "-n", "3");
	RUN(stage, &outcome, "show", "api");
	expect_status(&outcome, 0);
	expect_text(outcome.out, "class           background: leave 20 %, takes at most 40\n"
				 "                batch: leave 7.5, takes at most 42.5\n");
	expect_text(outcome.out, "shadow          yes: what is refused is counted, and passes\n");
	expect_text(outcome.out, "shadow limit    5/s, burst 5: counts what it would refuse\n");
	expect_text(outcome.out, "state           shadow\n");
	expect_text(outcome.out, "shadow passed   1 call, 3 tokens\n");
	expect_text(outcome.out, "shadow refused  1 call, 50 tokens\n");
	root = show(stage, "api");
	assert_true(json_flag(root, "shadow"));
	assert_int_equal(json_whole(root, "shadow_passed"), 1);
	assert_int_equal(json_whole(root, "shadow_refused"), 1);
	assert_true(json_number(json_object_get(root, "classes"), "background") == 10);
	assert_true(json_number(json_object_get(root, "classes"), "batch") == 7.5);
	json_decref(root);
	root = show(stage, "*");
	assert_false(json_flag(root, "shadow"));
	json_decref(root);
}

static void test_show_pattern(void **state)
{
	struct stage *stage = *state;
	json_t *root;

	stage_rule(stage, ROW_PATTERN, "a*", "1/s", "1");
	stage_rule(stage, ROW_PATTERN, "api*x*", "1/s", "1");
	stage_rule(stage, ROW_PATTERN, "api*", "7/s", "7");
	root = show(stage, "api/x");
	assert_string_equal(json_text(root, "rule"), "pattern api*");
	expect_text(json_text(root, "why"), "literal prefix 3 bytes, 1 wildcard");
	expect_text(json_text(root, "why"), "share one bucket");
	assert_int_equal(json_array_size(json_object_get(root, "also_matches")), 2);
	json_decref(root);
	/* the pattern itself */
	root = show(stage, "a*");
	assert_string_equal(json_text(root, "rule"), "pattern a*");
	expect_text(json_text(root, "why"), "exactly this text");
	assert_null(json_object_get(root, "also_matches"));
	json_decref(root);
}

static void test_show_default(void **state)
{
	struct stage *stage = *state;
	json_t *root = show(stage, "new name");

	assert_string_equal(json_text(root, "rule"), "[default]");
	assert_false(json_flag(root, "used"));
	assert_true(json_number(root, "level") == 10);
	assert_int_equal(json_whole(root, "granted"), 0);
	json_decref(root);
	/* looking has not claimed a bucket */
	assert_int_equal(names_find_slot(&stage->segment, "new name"), -1);
	RUN(stage, &outcome, "show", "new name");
	expect_text(outcome.out, "nobody has used this bucket yet");
	stage_take(stage, "new name", 1);
	root = show(stage, "new name");
	assert_true(json_flag(root, "used"));
	assert_true(json_number(root, "level") == 9);
	json_decref(root);
	root = show(stage, "*");
	expect_text(json_text(root, "why"), "every name that no other rule matches");
	assert_null(json_object_get(root, "level"));
	json_decref(root);
}

static void test_show_author_and_queue(void **state)
{
	struct stage *stage = *state;
	json_t *root;

	stage_rule(stage, ROW_EXACT, "api", "5/s", "5");
	stage_change(stage, "api", "4/s", "5");
	stage_charge(stage, "api", 9);
	root = show(stage, "api");
	assert_string_equal(json_text(root, "set_by"), "operator");
	assert_int_equal(json_whole(root, "set_by_uid"), 4711);
	assert_string_equal(json_text(root, "rate"), "4/s");
	json_decref(root);
	RUN(stage, &outcome, "show", "api");
	expect_text(outcome.out, "an operator, uid 4711");
	expect_text(outcome.out, "queue       4 tokens ahead; the last in line passes in 1 s\n");
	stage_change(stage, "api", "0", "5");
	RUN(stage, &outcome, "show", "api");
	expect_text(outcome.out, "4 tokens ahead, and the line does not move\n");
	/* whole tokens only */
	stage_rule(stage, ROW_EXACT, "fast", "1000000000/s", "1000000000000");
	root = show(stage, "fast");
	assert_true(json_number(root, "unit") <= 1);
	json_decref(root);
}

/* A rule that moved to a new pair whose buckets nobody has used yet has its level all the same. */
static void test_show_while_moving(void **state)
{
	struct stage *stage = *state;
	const struct segment_shape shape = {.rows = 64,
					    .names = 16,
					    .members = 8,
					    .clock = CLOCK_KIND_MANUAL,
					    .group = (gid_t)-1};
	struct segment next;
	json_t *root;

	stage_rule(stage, ROW_EXACT, "api", "5/s", "15");
	stage_take(stage, "api", 4);
	stage_take(stage, "ant", 3);
	assert_int_equal(segment_create(&next, &stage->place, &shape), 0);
	assert_int_equal(move_prepare(&stage->segment, &next, NULL), 0);
	assert_int_equal(segment_reveal(&next, &stage->place), 0);
	root = show(stage, "api");
	assert_true(json_number(root, "level") == 11);
	json_decref(root);
	root = show(stage, "ant");
	assert_true(json_number(root, "level") == 7);
	json_decref(root);
	segment_detach(&next);
}

/* ---- members ---- */

/* A process that is a member and then dies without leaving. */
static void leave_dead_member(const struct stage *stage)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		struct segment segment;

		if (segment_attach(&segment, &stage->place, SEGMENT_USE, (uid_t)-1) < 0 ||
		    members_join(&segment) < 0)
			_exit(1);
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

static void test_members(void **state)
{
	struct stage *stage = *state;
	struct segment segment;
	json_t *root, *members;
	int64_t slot;

	RUN(stage, &outcome, "members");
	expect_status(&outcome, 0);
	assert_string_equal(outcome.out, "0 of 4 slots taken\n");
	leave_dead_member(stage);
	assert_int_equal(segment_attach(&segment, &stage->place, SEGMENT_USE, (uid_t)-1), 0);
	slot = members_join(&segment);
	assert_int_equal(slot, 1);
	RUN(stage, &outcome, "members", "--json");
	expect_status(&outcome, 0);
	root = parse_json(&outcome);
	members = json_object_get(root, "members");
	assert_int_equal(json_whole(root, "slots"), 4);
	assert_int_equal(json_array_size(members), 2);
	assert_false(json_flag(json_array_get(members, 0), "alive"));
	assert_true(json_flag(json_array_get(members, 1), "alive"));
	assert_int_equal(json_whole(json_array_get(members, 1), "pid"), getpid());
	assert_int_equal(json_whole(json_array_get(members, 1), "uid"), getuid());
	assert_string_equal(json_text(json_array_get(members, 1), "program"), "ctl_read");
	json_decref(root);
	RUN(stage, &outcome, "members");
	expect_text(outcome.out, "no, to be cleared");
	expect_text(outcome.out, "\n2 of 4 slots taken\n");
	segment_detach(&segment);
}

/* ---- check ---- */

static void test_check(void **state)
{
	struct stage *stage = *state;
	struct rule_row *rows = (struct rule_row *)(void *)(stage->segment.publisher + 1);
	json_t *root;

	stage_take(stage, "ant", 3);
	RUN(stage, &outcome, "check");
	expect_status(&outcome, 0);
	expect_text(outcome.out, "no findings, ");
	RUN(stage, &outcome, "check", "--json");
	expect_status(&outcome, 0);
	root = parse_json(&outcome);
	assert_null(find_object(json_object_get(root, "report"), "severity", "finding"));
	json_decref(root);
	/* a live row of no kind */
	atomic_store(&rows[0].kind, 77);
	RUN(stage, &outcome, "check");
	expect_status(&outcome, 1);
	expect_text(outcome.out, "finding");
	expect_text(outcome.out, "0x4d");
	RUN(stage, &outcome, "check", "--json");
	expect_status(&outcome, 1);
	root = parse_json(&outcome);
	assert_non_null(find_object(json_object_get(root, "report"), "severity", "finding"));
	json_decref(root);
}

/* ---- nothing to read ---- */

static void expect_cannot(const struct stage *stage, const char *text)
{
	static const char *const commands[][3] = {
		{"list"}, {"show", "api"}, {"members"}, {"check"}, {"acquire", "api"},
	};

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		RUN(stage, &outcome, commands[i][0], commands[i][1]);
		expect_status(&outcome, 2);
		assert_string_equal(outcome.out, "");
		expect_text(outcome.err, "weirctl: ");
		expect_text(outcome.err, text);
	}
}

static void test_absent(void **state)
{
	const struct stage *stage = *state;

	expect_cannot(stage, "no instance `test` (looked for ");
	expect_text(outcome.err, stage->dir);
	expect_text(outcome.err, "is weird running?");
	expect_text(outcome.err, "-N NAME");
}

static void write_file(const struct stage *stage, const char *suffix, const char *text,
		       size_t bytes)
{
	char path[PLACE_PATH_BYTES];
	int fd;

	place_path(&stage->place, suffix, path);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, bytes), bytes);
	close(fd);
}

static void test_foreign(void **state)
{
	const struct stage *stage = *state;
	static char junk[8192];

	memset(junk, 'x', sizeof(junk));
	write_file(stage, "rules", junk, sizeof(junk));
	expect_cannot(stage, "not a weir segment");
}

static void test_truncated(void **state)
{
	struct stage *stage = *state;
	char path[PLACE_PATH_BYTES];

	place_path(&stage->place, "rules", path);
	assert_int_equal(truncate(path, 4096), 0);
	expect_cannot(stage, "shorter than its header says");
}

static void test_other_boot(void **state)
{
	struct stage *stage = *state;

	atomic_fetch_add(&stage->segment.publisher->boot[0], 1);
	expect_cannot(stage, "before the last boot: start weird");
}

static void test_versions(void **state)
{
	struct stage *stage = *state;

	atomic_store(&stage->segment.publisher->version, LAYOUT_VERSION + 1);
	expect_cannot(stage, "upgrade this program");
	atomic_store(&stage->segment.publisher->version, LAYOUT_VERSION - 1);
	expect_cannot(stage, "restart weird after the upgrade");
	atomic_store(&stage->segment.publisher->version, LAYOUT_VERSION);
	atomic_fetch_add(&stage->segment.publisher->signature, 1);
	expect_cannot(stage, "incompatible build of weir");
}

static void test_owner(void **state)
{
	struct stage *stage = *state;
	char path[PLACE_PATH_BYTES];

	if (geteuid() != 0) {
		print_message("skipped: giving a file away needs root\n");
		skip();
	}
	place_path(&stage->place, "rules", path);
	assert_int_equal(chown(path, 65534, (gid_t)-1), 0);
	expect_cannot(stage, "owner is neither root nor the expected user");
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, stage_set_up, stage_tear_down)
#define EMPTY(test) cmocka_unit_test_setup_teardown(test, stage_set_up_empty, stage_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_list_text),
		CASE(test_list_json),
		CASE(test_list_states),
		CASE(test_list_closed),
		CASE(test_list_promoted),
		CASE(test_list_crowded),
		CASE(test_list_daemon),
		CASE(test_list_hostile_text),
		CASE(test_list_shadows),
		CASE(test_show_exact),
		CASE(test_show_shadows_and_classes),
		CASE(test_show_pattern),
		CASE(test_show_default),
		CASE(test_show_author_and_queue),
		CASE(test_show_while_moving),
		CASE(test_members),
		CASE(test_check),
		EMPTY(test_absent),
		EMPTY(test_foreign),
		CASE(test_truncated),
		CASE(test_other_boot),
		CASE(test_versions),
		CASE(test_owner),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
