/* SPDX-License-Identifier: Apache-2.0
 *
 * What weird changes while workers are attached: reloads, settings, gates, larger tables. Every
 * change is in force at the next call, and no level is lost or given away by it.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon_fixture.h"

#define CLOCK "clock = manual\n"
#define RULES                                                                                      \
	"[default]\nrate = 10/s\n"                                                                 \
	"[endpoint api]\nrate = 5/s\nburst = 20\n"                                                 \
	"[endpoint shared/*]\nrate = 4/s\nburst = 40\n"

/* A daemon with RULES, and a worker that took 12 of api, 3 of other, 10 of shared/x. */
struct scene {
	struct fixture fixture;
	struct weir *weir;
	struct weir_endpoint *api, *other, *shared;
};

static int scene_setup(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	if (!scene)
		return -1;
	fixture_begin(&scene->fixture);
	fixture_config(&scene->fixture, CLOCK RULES);
	fixture_start(&scene->fixture);
	scene->weir = fixture_open(&scene->fixture);
	scene->api = fixture_endpoint(scene->weir, "api");
	scene->other = fixture_endpoint(scene->weir, "other");
	scene->shared = fixture_endpoint(scene->weir, "shared/x");
	assert_int_equal(weir_acquire(scene->api, 12, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire(scene->other, 3, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire(scene->shared, 10, NULL), WEIR_ADMIT);
	*state = scene;
	return 0;
}

static int scene_teardown(void **state)
{
	struct scene *scene = *state;

	weir_endpoint_close(scene->api);
	weir_endpoint_close(scene->other);
	weir_endpoint_close(scene->shared);
	weir_close(scene->weir);
	fixture_end(&scene->fixture);
	free(scene);
	return 0;
}

static void assert_levels(const struct scene *scene, double api, double other, double shared)
{
	assert_true(fixture_level(scene->api) == api);
	assert_true(fixture_level(scene->other) == other);
	assert_true(fixture_level(scene->shared) == shared);
}

/* A peek computes the rate from the slope that is in force. */
static void assert_rate(struct weir_endpoint *endpoint, double rate)
{
	double found = fixture_rate(endpoint);

	assert_true(found >= rate * 0.999999 && found <= rate * 1.000001);
}

static void reload_with(struct scene *scene, const char *rest)
{
	fixture_config(&scene->fixture, rest);
	fixture_reload(&scene->fixture);
}

/* ---- reload ---- */

static void test_reload_nothing(void **state)
{
	struct scene *scene = *state;

	reload_with(scene, CLOCK RULES);
	assert_true(
		fixture_has_logged(&scene->fixture, "read again: no difference (file, by SIGHUP)"));
	assert_levels(scene, 8, 7, 30);
}

static void test_reload_difference(void **state)
{
	struct scene *scene = *state;

	reload_with(scene, CLOCK "[default]\nrate = 20/s\n"
				 "[endpoint api]\nrate = 2/s\nburst = 15\n"
				 "[endpoint shared/*]\nrate = 4/s\nburst = 40\n"
				 "[endpoint more]\nrate = 1/s\n");
	assert_true(fixture_has_logged(
		&scene->fixture,
		"endpoint api: rate 5/s -> 2/s, burst 20 -> 15 (file, by SIGHUP)"));
	assert_true(fixture_has_logged(
		&scene->fixture, "[default]: rate 10/s -> 20/s, burst 10 -> 20 (file, by SIGHUP)"));
	assert_true(fixture_has_logged(
		&scene->fixture, "endpoint more: added, rate 1/s, burst 1 (file, by SIGHUP)"));
	assert_false(fixture_has_logged(&scene->fixture, "shared/*"));
	/* what was used stays used */
	assert_levels(scene, 3, 17, 30);
	assert_rate(scene->api, 2);
	assert_int_equal(weir_acquire(scene->api, 4, NULL), WEIR_REFUSE);
}

static void test_reload_removes(void **state)
{
	struct scene *scene = *state;

	reload_with(scene, CLOCK "[default]\nrate = 30/s\n");
	assert_true(fixture_has_logged(
		&scene->fixture,
		"endpoint api: removed, was rate 5/s, burst 20 (file, by SIGHUP)"));
	assert_true(fixture_has_logged(&scene->fixture, "pattern shared/*: removed"));
	assert_rate(scene->api, 30);
	assert_rate(scene->shared, 30);
	assert_true(fixture_level(scene->other) == 27);
}

/* One fault, and nothing of the file is applied; every fault is said. */
static void test_faulty_reload(void **state)
{
	struct scene *scene = *state;
	struct answer answer;

	fixture_config(&scene->fixture, CLOCK "[default]\nrate = 99/s\n"
					      "[endpoint api]\nrate = fast\nburst = 0\n");
	fixture_reload(&scene->fixture);
	assert_true(fixture_has_logged(&scene->fixture, "weir.ini:8: "));
	assert_true(fixture_has_logged(&scene->fixture, "what ran before goes on"));
	assert_levels(scene, 8, 7, 30);
	assert_rate(scene->other, 10);
	assert_int_equal(
		fixture_ask(&scene->fixture, &(struct wire_message){.kind = WIRE_RELOAD}, &answer),
		WEIR_ECONFIG);
	assert_non_null(strstr(answer.message.text, "weir.ini:8: "));
	assert_levels(scene, 8, 7, 30);
	/* a missing file is a fault as well */
	assert_int_equal(unlink(scene->fixture.config), 0);
	fixture_reload(&scene->fixture);
	assert_levels(scene, 8, 7, 30);
	reload_with(scene, CLOCK RULES);
	assert_levels(scene, 8, 7, 30);
}

static const char *last_line(const char *text)
{
	const char *newline = strrchr(text, '\n');

	return newline ? newline + 1 : text;
}

/* What does not fit into an answer is said to be missing, after a line that is whole. */
static void test_long_answers(void **state)
{
	static char rest[64 * 1024];
	struct scene *scene = *state;
	const char *log = "and more: weird's log has all of it";
	struct wire_message reload = {.kind = WIRE_RELOAD};
	struct answer answer;
	size_t used = 0;

	used += (size_t)snprintf(rest, sizeof(rest), CLOCK RULES);
	for (int i = 0; i < 400; i++)
		used += (size_t)snprintf(rest + used, sizeof(rest) - used,
					 "[endpoint number/%d]\nrate = 1/s\n", i);
	fixture_config(&scene->fixture, rest);
	assert_int_equal(fixture_ask(&scene->fixture, &reload, &answer), 0);
	assert_non_null(
		strstr(answer.message.text, "endpoint number/1: added, rate 1/s, burst 1\n"));
	assert_string_equal(last_line(answer.message.text), log);
	assert_true(fixture_has_logged(&scene->fixture, "endpoint number/399: added"));

	/* faults are counted */
	for (int i = 0; i < 400; i++)
		used += (size_t)snprintf(rest + used, sizeof(rest) - used,
					 "[endpoint wrong/%d]\nrate = 1\n", i);
	fixture_config(&scene->fixture, rest);
	assert_int_equal(fixture_ask(&scene->fixture, &reload, &answer), WEIR_ECONFIG);
	unsigned said = 0, more;
	for (const char *at = answer.message.text; (at = strstr(at, "a rate is ")); at++)
		said++;
	assert_int_equal(sscanf(last_line(answer.message.text), "and %u more faults", &more), 1);
	assert_int_equal(said + more, 400);
	reload_with(scene, CLOCK RULES);
}

static void test_reload_by_message(void **state)
{
	struct scene *scene = *state;
	struct answer answer;
	char expected[64];

	fixture_config(&scene->fixture, CLOCK "[default]\nrate = 10/s\n"
					      "[endpoint api]\nrate = 6/s\nburst = 20\n"
					      "[endpoint shared/*]\nrate = 4/s\nburst = 40\n");
	assert_int_equal(
		fixture_ask(&scene->fixture, &(struct wire_message){.kind = WIRE_RELOAD}, &answer),
		0);
	assert_string_equal(answer.message.text, "endpoint api: rate 5/s -> 6/s");
	snprintf(expected, sizeof(expected), "rate 5/s -> 6/s (file, by uid %u", geteuid());
	assert_true(fixture_has_logged(&scene->fixture, expected));
	assert_levels(scene, 8, 7, 30);
}

static void test_reload_needs_restart(void **state)
{
	struct scene *scene = *state;

	reload_with(scene, "clock = monotonic\ngroup = nobody-has-this\n" RULES);
	assert_true(fixture_has_logged(&scene->fixture,
				       "group = nobody-has-this: weird must be restarted"));
	assert_true(fixture_has_logged(&scene->fixture, "clock: weird must be restarted"));
	assert_levels(scene, 8, 7, 30);
}

static struct weir_level peek(struct weir_endpoint *endpoint)
{
	struct weir_level level = {.size = sizeof(level)};

	assert_int_equal(weir_peek(endpoint, &level), 0);
	return level;
}

/* The whole instance in shadow mode and back, but for one rule that says otherwise. */
static void test_reload_shadow(void **state)
{
	struct scene *scene = *state;

	reload_with(scene, CLOCK "shadow = yes\nclass batch = leave 50 %\n" RULES "shadow = no\n");
	assert_true(fixture_has_logged(&scene->fixture,
				       "endpoint api: shadow no -> yes, class batch none -> leave "
				       "50 % (file, by SIGHUP)"));
	assert_true(fixture_has_logged(&scene->fixture, "pattern shared/*: class batch none"));
	assert_true(fixture_has_logged(&scene->fixture, "2 of 3 rules are in shadow mode"));
	assert_levels(scene, 8, 7, 30);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(weir_acquire(scene->api, 5, NULL), WEIR_ADMIT);
		assert_int_equal(weir_acquire(scene->other, 4, NULL), WEIR_ADMIT);
	}
	assert_int_equal(peek(scene->api).shadow_passed, 2);
	assert_int_equal(peek(scene->other).shadow_passed, 2);
	assert_int_equal(weir_acquire(scene->shared, 31, NULL), WEIR_REFUSE);
	assert_int_equal(weir_gate_close(scene->api, WEIR_FOREVER), 0);
	assert_int_equal(weir_acquire(scene->api, 1, NULL), WEIR_ADMIT);
	/* in earnest from where the shadow was */
	assert_int_equal(weir_gate_open(scene->api), 0);
	reload_with(scene, CLOCK RULES);
	assert_true(fixture_has_logged(&scene->fixture, "[default]: shadow yes -> no"));
	assert_int_equal(weir_acquire(scene->api, 1, NULL), WEIR_REFUSE);
	assert_int_equal(weir_acquire(scene->other, 4, NULL), WEIR_REFUSE);
	assert_int_equal(weir_acquire(scene->other, 3, NULL), WEIR_ADMIT);
	reload_with(scene, CLOCK RULES);
	assert_true(fixture_has_logged(&scene->fixture, "read again: no difference"));
}

/* Shadows and classes survive a restart, a larger pair, and a name that gets a row of its own. */
static void test_extras_live_on(void **state)
{
	struct scene *scene = *state;
	struct weir_endpoint *batch;
	struct answer answer;

	assert_int_equal(fixture_set(&scene->fixture, "*", "shadow_rate", "2/s", &answer), 0);
	assert_string_equal(answer.message.text, "[default]: shadow limit none -> 2/s burst 2");
	assert_int_equal(fixture_set(&scene->fixture, "*", "class batch", "leave 3", &answer), 0);
	assert_int_equal(weir_acquire(scene->other, 3, NULL), WEIR_ADMIT);
	assert_int_equal(peek(scene->other).shadow_refused, 1);
	assert_int_equal(weir_acquire(scene->other, 1, NULL), WEIR_ADMIT);
	assert_int_equal(fixture_stop(&scene->fixture, SIGKILL), 256 + SIGKILL);
	fixture_start(&scene->fixture);
	assert_int_equal(peek(scene->other).shadow_refused, 1);
	assert_int_equal(fixture_set(&scene->fixture, "other", "burst", "11", &answer), 0);
	assert_int_equal(peek(scene->other).shadow_refused, 1);
	fixture_config(&scene->fixture, CLOCK "endpoints = 3000\n" RULES);
	assert_int_equal(fixture_stop(&scene->fixture, SIGTERM), 0);
	fixture_start(&scene->fixture);
	assert_true(fixture_has_logged(&scene->fixture, "endpoints 3000"));
	assert_int_equal(weir_endpoint_class(scene->weir, "other", "batch", &batch), 0);
	assert_true(fixture_level(batch) == 4);
	assert_int_equal(weir_acquire(batch, 2, NULL), WEIR_REFUSE);
	assert_int_equal(weir_acquire(batch, 1, NULL), WEIR_ADMIT);
	/* of the shadow's burst of 2 the class can leave no 3; for others one token is left there
	 */
	assert_int_equal(peek(batch).shadow_refused, 3);
	assert_int_equal(weir_acquire(scene->other, 1, NULL), WEIR_ADMIT);
	assert_int_equal(peek(batch).shadow_refused, 3);
	assert_int_equal(weir_acquire(scene->other, 1, NULL), WEIR_ADMIT);
	assert_int_equal(peek(batch).shadow_refused, 4);
	weir_endpoint_close(batch);
}

/* ---- larger tables ---- */

static void test_growing_tables(void **state)
{
	struct scene *scene = *state;
	struct weir *second;

	reload_with(scene, CLOCK "endpoints = 3000\nnames = 5000\nmembers = 300\n" RULES);
	assert_true(fixture_has_logged(&scene->fixture, "endpoints 3000, names 5000, members 300"));
	/* the worker follows by itself; its marks have moved along */
	assert_levels(scene, 8, 7, 30);
	assert_int_equal(weir_acquire(scene->api, 8, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire(scene->api, 1, NULL), WEIR_REFUSE);
	second = fixture_open(&scene->fixture);
	struct weir_endpoint *api = fixture_endpoint(second, "api");

	assert_int_equal(weir_acquire(api, 1, NULL), WEIR_REFUSE);
	weir_endpoint_close(api);
	weir_close(second);
	/* smaller ones wait for the next start, and the daemon goes on */
	reload_with(scene, CLOCK RULES);
	assert_levels(scene, 0, 7, 30);
}

/* Counts are carried over, those of a worker that has not noticed yet too. */
static void test_growing_keeps_counts(void **state)
{
	struct scene *scene = *state;
	struct weir_level level = {.size = sizeof(level)};

	reload_with(scene, CLOCK "endpoints = 3000\n" RULES);
	assert_int_equal(weir_peek(scene->api, &level), 0);
	assert_int_equal(level.granted, 1);
	assert_true(level.granted_tokens == 12);
	assert_int_equal(weir_acquire(scene->api, 2, NULL), WEIR_ADMIT);
	assert_int_equal(weir_peek(scene->api, &level), 0);
	assert_int_equal(level.granted, 2);
	assert_true(level.granted_tokens == 14);
}

/* Rules come and go more often than there are rows: a new pair makes room, unnoticed. */
static void test_rows_used_up(void **state)
{
	struct scene *scene = *state;
	char rest[256];

	reload_with(scene, CLOCK RULES);
	for (int i = 0; i < 40; i++) {
		snprintf(rest, sizeof(rest),
			 CLOCK "endpoints = 8\n" RULES "[endpoint round%d]\nrate = 1/s\n", i);
		if (i == 0) {
			/* the small table, from a start */
			assert_int_equal(fixture_stop(&scene->fixture, SIGTERM), 0);
			fixture_config(&scene->fixture, rest);
			fixture_start(&scene->fixture);
		} else {
			reload_with(scene, rest);
		}
		assert_levels(scene, 8, 7, 30);
	}
	assert_true(fixture_has_logged(&scene->fixture, "endpoint round39: added"));
	assert_false(fixture_has_logged(&scene->fixture, "not applied"));
}

/* ---- settings ---- */

static void test_set(void **state)
{
	struct scene *scene = *state;
	struct answer answer;
	char expected[64];

	assert_int_equal(fixture_set(&scene->fixture, "api", "rate", "1/s", &answer), 0);
	assert_string_equal(answer.message.text, "endpoint api: rate 5/s -> 1/s");
	assert_rate(scene->api, 1);
	assert_levels(scene, 8, 7, 30);
	snprintf(expected, sizeof(expected), "endpoint api: rate 5/s -> 1/s (by uid %u", geteuid());
	assert_true(fixture_has_logged(&scene->fixture, expected));
}

static void test_set_pattern_and_default(void **state)
{
	struct scene *scene = *state;
	struct answer answer;

	assert_int_equal(fixture_set(&scene->fixture, "shared/*", "burst", "35", &answer), 0);
	assert_string_equal(answer.message.text, "pattern shared/*: burst 40 -> 35");
	assert_int_equal(fixture_set(&scene->fixture, "*", "burst", "11", &answer), 0);
	assert_string_equal(answer.message.text, "[default]: burst 10 -> 11");
	assert_levels(scene, 8, 8, 25);
	assert_int_equal(fixture_set(&scene->fixture, "none/*", "burst", "11", &answer),
			 WEIR_ENORULE);
}

/* A name under [default] takes its level along into its own row; one under a pattern begins. */
static void test_set_gives_own_row(void **state)
{
	struct scene *scene = *state;
	struct answer answer;

	assert_int_equal(fixture_set(&scene->fixture, "other", "rate", "3/s", &answer), 0);
	assert_non_null(strstr(answer.message.text, "a row of its own, so far under [default]"));
	assert_rate(scene->other, 3);
	assert_levels(scene, 8, 7, 30);
	assert_int_equal(fixture_set(&scene->fixture, "shared/x", "rate", "3/s", &answer), 0);
	assert_non_null(strstr(answer.message.text, "so far under pattern shared/*"));
	/* what was used of the pattern's bucket counts as used of its own */
	assert_levels(scene, 8, 7, 30);
	assert_rate(scene->shared, 3);
}

static void set_keeping(struct scene *scene, const char *name, const char *burst, uint32_t keep)
{
	const struct wire_message request = {.kind = WIRE_SET,
					     .name = name,
					     .keep = keep,
					     .setting_count = 1,
					     .settings = {{"burst", burst}}};
	struct answer answer;

	assert_int_equal(fixture_ask(&scene->fixture, &request, &answer), 0);
}

static void test_set_keep(void **state)
{
	struct scene *scene = *state;

	set_keeping(scene, "api", "40", WEIR_KEEP_LEVEL);
	assert_levels(scene, 8, 7, 30);
	set_keeping(scene, "api", "20", WEIR_KEEP_PROPORTIONAL);
	assert_levels(scene, 4, 7, 30);
	set_keeping(scene, "api", "30", WEIR_KEEP_USED);
	assert_levels(scene, 14, 7, 30);
	set_keeping(scene, "api", "20", WEIR_KEEP_RESET);
	assert_levels(scene, 20, 7, 30);
	/* and into a row of its own */
	set_keeping(scene, "other", "20", WEIR_KEEP_PROPORTIONAL);
	assert_levels(scene, 20, 14, 30);
}

/* A rate for which the unit no longer fits: the rule moves to another row, the level with it. */
static void test_set_other_unit(void **state)
{
	struct scene *scene = *state;
	struct answer answer;

	assert_int_equal(fixture_set(&scene->fixture, "api", "rate", "1000000000/s", &answer), 0);
	assert_levels(scene, 8, 7, 30);
	assert_int_equal(fixture_set(&scene->fixture, "api", "rate", "5/s", &answer), 0);
	assert_levels(scene, 8, 7, 30);
	assert_int_equal(fixture_set(&scene->fixture, "*", "rate", "1000000000/s", &answer), 0);
	assert_levels(scene, 8, 7, 30);
	assert_rate(scene->other, 1e9);
	assert_int_equal(weir_acquire(scene->other, 8, NULL), WEIR_REFUSE);
}

static void test_set_bad_values(void **state)
{
	struct scene *scene = *state;
	struct answer answer;

	assert_int_equal(fixture_set(&scene->fixture, "api", "rate", "fast", &answer), WEIR_EVALUE);
	assert_non_null(strstr(answer.message.text, "rate = fast: "));
	assert_int_equal(fixture_set(&scene->fixture, "api", "burst", "0", &answer), WEIR_EVALUE);
	assert_int_equal(fixture_set(&scene->fixture, "a\tb", "burst", "1", &answer), WEIR_ENAME);
	assert_levels(scene, 8, 7, 30);
	assert_rate(scene->api, 5);
}

static void test_table_full(void **state)
{
	struct scene *scene = *state;
	struct answer answer;
	char name[16];
	int code = 0, added = 0;

	assert_int_equal(fixture_stop(&scene->fixture, SIGTERM), 0);
	fixture_config(&scene->fixture, CLOCK "endpoints = 8\n" RULES);
	fixture_start(&scene->fixture);
	for (; code == 0 && added < 20; added += code == 0) {
		snprintf(name, sizeof(name), "name%d", added);
		code = fixture_set(&scene->fixture, name, "burst", "5", &answer);
	}
	assert_int_equal(code, WEIR_EROWS);
	assert_non_null(strstr(answer.message.text, "endpoints"));
	/* eight, with [default], api and the pattern */
	assert_int_equal(added, 5);
	assert_levels(scene, 8, 7, 30);
}

/* ---- buckets ---- */

static int ask(struct scene *scene, enum wire_kind kind, const char *name, uint64_t duration_ns,
	       struct answer *answer)
{
	const struct wire_message request = {
		.kind = (uint16_t)kind, .name = name, .duration_ns = duration_ns};

	return fixture_ask(&scene->fixture, &request, answer);
}

static void test_reset(void **state)
{
	struct scene *scene = *state;
	struct answer answer;

	assert_int_equal(ask(scene, WIRE_RESET, "api", 0, &answer), 0);
	assert_string_equal(answer.message.text, "endpoint api: filled");
	assert_levels(scene, 20, 7, 30);
	assert_int_equal(ask(scene, WIRE_RESET, "other", 0, &answer), 0);
	assert_levels(scene, 20, 10, 30);
	assert_int_equal(ask(scene, WIRE_RESET, "shared/y", 0, &answer), 0);
	assert_string_equal(answer.message.text,
			    "pattern shared/*: filled, with all that share its bucket");
	assert_levels(scene, 20, 10, 40);
	assert_int_equal(weir_acquire(scene->other, 9, NULL), WEIR_ADMIT);
	assert_int_equal(ask(scene, WIRE_RESET, "*", 0, &answer), 0);
	assert_string_equal(answer.message.text, "[default]: 1 buckets filled");
	assert_levels(scene, 20, 10, 40);
	assert_int_equal(ask(scene, WIRE_RESET, "none/*", 0, &answer), WEIR_ENORULE);
}

static void test_gate(void **state)
{
	struct scene *scene = *state;
	struct weir_answer verdict;
	struct answer answer;

	assert_int_equal(ask(scene, WIRE_CLOSE, "api", 30 * WEIR_SECOND, &answer), 0);
	assert_string_equal(answer.message.text, "endpoint api: closed for 30s");
	assert_int_equal(weir_acquire(scene->api, 1, &verdict), WEIR_REFUSE);
	assert_int_equal(verdict.reason, WEIR_REASON_CLOSED);
	assert_true(verdict.wait_ns >= 30 * WEIR_SECOND);
	assert_int_equal(ask(scene, WIRE_OPEN, "api", 0, &answer), 0);
	assert_string_equal(answer.message.text, "endpoint api: opened");
	/* after a closure the bucket begins empty */
	assert_int_equal(weir_acquire(scene->api, 1, &verdict), WEIR_REFUSE);
	assert_int_equal(verdict.reason, WEIR_REASON_LEVEL);
	assert_int_equal(ask(scene, WIRE_CLOSE, "other", UINT64_MAX, &answer), 0);
	assert_string_equal(answer.message.text, "endpoint other: closed until it is opened");
	assert_int_equal(weir_acquire(scene->other, 1, &verdict), WEIR_REFUSE);
	assert_int_equal(verdict.reason, WEIR_REASON_CLOSED);
	assert_int_equal(ask(scene, WIRE_CLOSE, "*", 1, &answer), WEIR_EVALUE);
	assert_int_equal(ask(scene, WIRE_CLOSE, "api", 0, &answer), WEIR_EVALUE);
}

/* A closure and a level survive the move of the rule to a row of its own, and to a new pair. */
static void test_gate_moves_along(void **state)
{
	struct scene *scene = *state;
	struct weir_answer verdict;
	struct answer answer;

	assert_int_equal(ask(scene, WIRE_CLOSE, "other", 30 * WEIR_SECOND, &answer), 0);
	assert_int_equal(fixture_set(&scene->fixture, "other", "rate", "3/s", &answer), 0);
	assert_int_equal(weir_acquire(scene->other, 1, &verdict), WEIR_REFUSE);
	assert_int_equal(verdict.reason, WEIR_REASON_CLOSED);
	reload_with(scene, CLOCK "endpoints = 3000\n" RULES "[endpoint other]\nrate = 3/s\n");
	assert_int_equal(weir_acquire(scene->other, 1, &verdict), WEIR_REFUSE);
	assert_int_equal(verdict.reason, WEIR_REASON_CLOSED);
}

static void test_ping(void **state)
{
	struct scene *scene = *state;
	struct answer answer;
	char expected[64];

	assert_int_equal(ask(scene, WIRE_PING, NULL, 0, &answer), 0);
	snprintf(expected, sizeof(expected), "weird %ld name test version " WEIR_VERSION " since ",
		 (long)scene->fixture.daemon);
	assert_memory_equal(answer.message.text, expected, strlen(expected));
}

#define SCENE_TEST(test) cmocka_unit_test_setup_teardown(test, scene_setup, scene_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE_TEST(test_reload_nothing),
		SCENE_TEST(test_reload_difference),
		SCENE_TEST(test_reload_removes),
		SCENE_TEST(test_faulty_reload),
		SCENE_TEST(test_reload_by_message),
		SCENE_TEST(test_long_answers),
		SCENE_TEST(test_reload_needs_restart),
		SCENE_TEST(test_reload_shadow),
		SCENE_TEST(test_extras_live_on),
		SCENE_TEST(test_growing_tables),
		SCENE_TEST(test_growing_keeps_counts),
		SCENE_TEST(test_rows_used_up),
		SCENE_TEST(test_set),
		SCENE_TEST(test_set_pattern_and_default),
		SCENE_TEST(test_set_gives_own_row),
		SCENE_TEST(test_set_keep),
		SCENE_TEST(test_set_other_unit),
		SCENE_TEST(test_set_bad_values),
		SCENE_TEST(test_table_full),
		SCENE_TEST(test_reset),
		SCENE_TEST(test_gate),
		SCENE_TEST(test_gate_moves_along),
		SCENE_TEST(test_ping),
	};

	return cmocka_run_group_tests_name("daemon change", tests, NULL, NULL);
}
