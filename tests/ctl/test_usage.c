/* SPDX-License-Identifier: Apache-2.0
 *
 * Help, misuse, and which instance is meant.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "stage.h"

static struct outcome outcome;

static const char *const commands[] = {
	"list",	   "top",   "show",    "set", "reset", "close",	   "open",   "reload",
	"members", "check", "acquire", "run", "load",  "simulate", "fields", "completion",
};

static void test_help(void **state)
{
	const struct stage *stage = *state;
	char line[64];

	RUN(stage, &outcome, "--help");
	expect_status(&outcome, 0);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		strcpy(line, "\n  ");
		strcat(line, commands[i]);
		expect_text(outcome.out, line);
	}
	expect_text(outcome.out, "-N, --name NAME");
	RUN(stage, &outcome, "help");
	expect_status(&outcome, 0);
	RUN(stage, &outcome, "--version");
	expect_status(&outcome, 0);
	assert_string_equal(outcome.out, "weirctl 0.1.0\n");
	RUN(stage, &outcome, "list", "--version");
	assert_string_equal(outcome.out, "weirctl 0.1.0\n");
}

static void test_help_of_commands(void **state)
{
	const struct stage *stage = *state;
	struct outcome again;
	char line[64];

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		RUN(stage, &outcome, "help", commands[i]);
		expect_status(&outcome, 0);
		strcpy(line, "Usage: weirctl ");
		strcat(line, commands[i]);
		expect_text(outcome.out, line);
		RUN(stage, &again, commands[i], "--help");
		expect_status(&again, 0);
		assert_string_equal(again.out, outcome.out);
	}
	RUN(stage, &outcome, "help", "acquire");
	expect_text(outcome.out, "--wait D");
	expect_text(outcome.out, "-n, --cost COST");
	expect_no_text(outcome.out, "--keep");
}

static void expect_misuse(const struct stage *stage, const char *const *arguments, const char *text)
{
	stage_run(stage, &outcome, arguments);
	expect_status(&outcome, 2);
	assert_string_equal(outcome.out, "");
	expect_text(outcome.err, text);
}

#define MISUSE(text, ...) expect_misuse(stage, (const char *const[]){__VA_ARGS__, NULL}, text)

static void test_misuse(void **state)
{
	const struct stage *stage = *state;

	RUN(stage, &outcome, NULL);
	expect_status(&outcome, 2);
	expect_text(outcome.err, "Usage: weirctl");
	MISUSE("no command `lst`", "lst");
	MISUSE("no command `lst`", "help", "lst");
	MISUSE("unknown option --colour", "--colour", "list");
	MISUSE("list: unknown option --for", "list", "--for", "5s");
	MISUSE("list: `api` is too much", "list", "api");
	MISUSE("show: something is missing: weirctl show NAME", "show");
	MISUSE("show: `c` is too much", "show", "a/*", "b", "c");
	MISUSE("show: `a`: before a key stands the pattern", "show", "a", "b");
	MISUSE("keys: something is missing", "keys");
	MISUSE("reset: something is missing", "reset");
	MISUSE("close: something is missing", "close", "--for", "5s");
	MISUSE("open: something is missing", "open");
	MISUSE("reload: `now` is too much", "reload", "now");
	MISUSE("members: `api` is too much", "members", "api");
	MISUSE("check: `api` is too much", "check", "api");
	MISUSE("acquire: something is missing", "acquire");
	MISUSE("run: something is missing", "run", "api");
	MISUSE("run: something is missing", "run", "api", "--");
	MISUSE("load: something is missing", "load");
	MISUSE("simulate: something is missing", "simulate", "--rate", "1/s");
	MISUSE("fields: `reset=X`: a mapping is field.MEANING", "fields", "reset=X");
	MISUSE("fields: `field.reset`: a mapping is field.MEANING=NAME", "fields", "field.reset");
	MISUSE("fields: `field.used=X s`: only reset, window and", "fields", "field.used=X s");
	MISUSE("completion: something is missing", "completion");
	MISUSE("(see: weirctl help load)", "load");
}

static void test_bad_values(void **state)
{
	const struct stage *stage = *state;
	char long_name[160];

	memset(long_name, 'x', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	MISUSE("a name is 1 to 127 bytes", "show", long_name);
	MISUSE("a name is 1 to 127 bytes: no control characters", "show", "a\nb");
	MISUSE("no blank ends", "show", "a ");
	MISUSE("`a\\x1bb`: a name is", "acquire",
	       "a\x1b"
	       "b");
	MISUSE("-n 0: a cost must be a number above 0", "acquire", "api", "-n", "0");
	MISUSE("-n -1: tokens are a number", "acquire", "api", "-n", "-1");
	MISUSE("-n nan: tokens are a number", "run", "-n", "nan", "api", "true");
	MISUSE("--wait 5: a duration is a number with", "acquire", "api", "--wait", "5");
	MISUSE(", or forever", "acquire", "api", "--wait", "5");
	MISUSE("--for 0: closing needs a duration above 0", "close", "api", "--for", "0s");
	MISUSE("--for x: a duration", "close", "api", "--for", "x");
	MISUSE("-P 0: a whole number from 1 to 1024", "load", "api", "-P", "0");
	MISUSE("-P 2000: a whole number", "load", "api", "-P", "2000");
	MISUSE("--for 0: a duration above 0", "load", "api", "--for", "0s");
	MISUSE("workers draw from a name", "load", "api*");
	MISUSE("nothing to set", "set", "api");
	MISUSE("rate = 5/x: a rate is NUMBER/[N]UNIT", "set", "api", "rate=5/x");
	MISUSE("burst = -1: tokens are", "set", "api", "burst=-1");
	MISUSE("colour = red: ", "set", "api", "colour=red");
	MISUSE("5/s: a setting is KEY=VALUE", "set", "api", "5/s");
	MISUSE("--status 42: a status is three digits", "fields", "--status", "42");
	MISUSE("--status 4.2: a status is three digits", "fields", "--status", "4.2");
	MISUSE("--status 099: a status is three digits", "fields", "--status", "099");
	MISUSE("--time now: a time is seconds since 1970", "fields", "--time", "now");
	MISUSE("--time -1: a time is seconds since 1970", "fields", "--time", "-1");
	MISUSE("--time 1e9: a time is seconds since 1970", "fields", "--time", "1e9");
	MISUSE("no profile `nobody`; there are generic, http, ietf, akamai", "fields", "--profile",
	       "nobody");
	MISUSE("--keep all: it is used, level, proportional or reset", "set", "api", "rate=5/s",
	       "--keep", "all");
}

/* -N goes before WEIR_NAME; --shm-dir before WEIR_SHM_DIR. */
static void test_which_instance(void **state)
{
	const struct stage *stage = *state;

	RUN(stage, &outcome, "list");
	expect_status(&outcome, 0);
	MISUSE("no instance `other`", "-N", "other", "list");
	MISUSE("no instance `other`", "list", "--name=other");
	MISUSE("looked for /tmp/weir-no-such/weir.test.rules", "--shm-dir", "/tmp/weir-no-such",
	       "list");
	MISUSE("`a/b` is no instance's name", "-N", "a/b", "list");
	MISUSE("no control socket at /tmp/weir-no-such.sock", "--socket", "/tmp/weir-no-such.sock",
	       "reload");
}

/* What could not be printed is a failure, not a success that said nothing. */
static void test_full_output(void **state)
{
	const struct stage *stage = *state;
	struct running running;

	stage_open(&running);
	assert_true(dup2(open("/dev/full", O_WRONLY), running.out) >= 0);
	stage_exec(stage, &running, (const char *const[]){"list", NULL});
	stage_wait(&running, &outcome);
	expect_status(&outcome, 2);
	expect_text(outcome.err, "cannot write to standard output");
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, stage_set_up, stage_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_help),       CASE(test_help_of_commands), CASE(test_misuse),
		CASE(test_bad_values), CASE(test_which_instance),   CASE(test_full_output),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
