/* SPDX-License-Identifier: Apache-2.0
 *
 * What weird decides, without a process: values in, values out.
 */
#include <getopt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config.h"
#include "control.h"
#include "describe.h"
#include "log.h"
#include "notify.h"
#include "options.h"
#include "reconcile.h"
#include "source.h"
#include "watch.h"
#include "weir.h"

/* ---- reconcile ---- */

static struct terms terms_of(uint64_t rate)
{
	return (struct terms){.rate_micro = rate * TERMS_MICRO,
			      .period_ns = 1000000000u,
			      .burst_micro = rate * TERMS_MICRO,
			      .initial_micro = rate * TERMS_MICRO};
}

static struct running_rule runs(enum row_kind kind, const char *text, uint32_t order, uint64_t rate,
				enum row_origin origin)
{
	struct running_rule rule = {
		.kind = kind, .order = order, .terms = terms_of(rate), .origin = origin};

	snprintf(rule.text, sizeof(rule.text), "%s", text);
	return rule;
}

static struct config_rule wants(enum row_kind kind, const char *text, uint64_t rate)
{
	struct config_rule rule = {.kind = kind, .terms = terms_of(rate)};

	snprintf(rule.text, sizeof(rule.text), "%s", text);
	return rule;
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define INPUT(running, wanted, rows)                                                               \
	{                                                                                          \
		running, COUNT(running), wanted, COUNT(wanted), rows                               \
	}

static void assert_action(const struct reconcile_action *action, enum reconcile_verb verb,
			  const char *text)
{
	assert_int_equal(action->verb, verb);
	assert_string_equal(action->text, text);
}

static void test_reconcile_nothing(void **state)
{
	const struct running_rule running[] = {runs(ROW_DEFAULT, "*", 0, 10, ORIGIN_FILE),
					       runs(ROW_EXACT, "a", 1, 5, ORIGIN_FILE)};
	const struct config_rule wanted[] = {wants(ROW_DEFAULT, "*", 10), wants(ROW_EXACT, "a", 5)};
	const struct reconcile_input input = INPUT(running, wanted, 8);
	struct reconcile_plan plan;

	(void)state;
	assert_int_equal(reconcile_reload(&plan, &input), 0);
	assert_int_equal(plan.count, 0);
	reconcile_free(&plan);
	assert_int_equal(reconcile_adopt(&plan, &input), 0);
	assert_int_equal(plan.count, 0);
	reconcile_free(&plan);
}

static void test_reconcile_each_verb(void **state)
{
	const struct running_rule running[] = {runs(ROW_EXACT, "moves", 3, 1, ORIGIN_FILE),
					       runs(ROW_EXACT, "goes", 1, 1, ORIGIN_FILE),
					       runs(ROW_EXACT, "changes", 2, 1, ORIGIN_FILE),
					       runs(ROW_DEFAULT, "*", 0, 10, ORIGIN_FILE)};
	const struct config_rule wanted[] = {
		wants(ROW_DEFAULT, "*", 10), wants(ROW_PATTERN, "new/*", 7),
		wants(ROW_EXACT, "changes", 2), wants(ROW_EXACT, "moves", 1)};
	const struct reconcile_input input = INPUT(running, wanted, 8);
	struct reconcile_plan plan;

	(void)state;
	assert_int_equal(reconcile_reload(&plan, &input), 0);
	assert_int_equal(plan.count, 3);
	assert_action(&plan.actions[0], RECONCILE_CHANGE, "changes");
	assert_true(plan.actions[0].was.rate_micro == TERMS_MICRO);
	assert_true(plan.actions[0].now.rate_micro == 2 * TERMS_MICRO);
	assert_action(&plan.actions[1], RECONCILE_ADD, "new/*");
	assert_int_equal(plan.actions[1].kind, ROW_PATTERN);
	assert_int_equal(plan.actions[1].order, 1);
	assert_action(&plan.actions[2], RECONCILE_REMOVE, "goes");
	reconcile_free(&plan);
}

static void test_reconcile_order(void **state)
{
	const struct running_rule running[] = {runs(ROW_DEFAULT, "*", 0, 10, ORIGIN_FILE),
					       runs(ROW_PATTERN, "a*", 1, 1, ORIGIN_FILE),
					       runs(ROW_PATTERN, "b*", 2, 1, ORIGIN_FILE)};
	const struct config_rule wanted[] = {wants(ROW_DEFAULT, "*", 10),
					     wants(ROW_PATTERN, "b*", 1),
					     wants(ROW_PATTERN, "a*", 1)};
	const struct reconcile_input input = INPUT(running, wanted, 8);
	struct reconcile_plan plan;

	(void)state;
	assert_int_equal(reconcile_reload(&plan, &input), 0);
	assert_int_equal(plan.count, 2);
	assert_action(&plan.actions[0], RECONCILE_REORDER, "a*");
	assert_int_equal(plan.actions[0].order, 2);
	assert_action(&plan.actions[1], RECONCILE_REORDER, "b*");
	assert_int_equal(plan.actions[1].order, 1);
	reconcile_free(&plan);
}

/* [default] is [default] whatever its text; it is changed, never removed and added. */
static void test_reconcile_default(void **state)
{
	const struct running_rule running[] = {runs(ROW_DEFAULT, "", 0, 10, ORIGIN_FILE)};
	const struct config_rule wanted[] = {wants(ROW_DEFAULT, "*", 20)};
	const struct reconcile_input input = INPUT(running, wanted, 8);
	struct reconcile_plan plan;

	(void)state;
	assert_int_equal(reconcile_reload(&plan, &input), 0);
	assert_int_equal(plan.count, 1);
	assert_action(&plan.actions[0], RECONCILE_CHANGE, "");
	reconcile_free(&plan);
}

static void test_reconcile_operator(void **state)
{
	const struct running_rule running[] = {runs(ROW_DEFAULT, "*", 0, 10, ORIGIN_FILE),
					       runs(ROW_EXACT, "own", 9, 3, ORIGIN_OPERATOR),
					       runs(ROW_EXACT, "set", 1, 3, ORIGIN_OPERATOR)};
	const struct config_rule wanted[] = {wants(ROW_DEFAULT, "*", 10),
					     wants(ROW_EXACT, "set", 5)};
	const struct reconcile_input input = INPUT(running, wanted, 8);
	struct reconcile_plan plan;

	(void)state;
	assert_int_equal(reconcile_adopt(&plan, &input), 0);
	assert_int_equal(plan.count, 2);
	assert_action(&plan.actions[0], RECONCILE_KEEP, "own");
	assert_action(&plan.actions[1], RECONCILE_KEEP, "set");
	reconcile_free(&plan);
	assert_int_equal(reconcile_reload(&plan, &input), 0);
	assert_int_equal(plan.count, 2);
	assert_action(&plan.actions[0], RECONCILE_CHANGE, "set");
	assert_action(&plan.actions[1], RECONCILE_REMOVE, "own");
	reconcile_free(&plan);
}

/* An operator who set what the file says: at a reload the rule becomes the file's again. */
static void test_reconcile_operator_agrees(void **state)
{
	const struct running_rule running[] = {runs(ROW_DEFAULT, "*", 0, 10, ORIGIN_OPERATOR)};
	const struct config_rule wanted[] = {wants(ROW_DEFAULT, "*", 10)};
	const struct reconcile_input input = INPUT(running, wanted, 8);
	struct reconcile_plan plan;

	(void)state;
	assert_int_equal(reconcile_adopt(&plan, &input), 0);
	assert_int_equal(plan.count, 0);
	reconcile_free(&plan);
	assert_int_equal(reconcile_reload(&plan, &input), 0);
	assert_int_equal(plan.count, 1);
	assert_int_equal(plan.actions[0].verb, RECONCILE_CHANGE);
	reconcile_free(&plan);
}

static void test_reconcile_without_room(void **state)
{
	const struct running_rule running[] = {runs(ROW_DEFAULT, "*", 0, 10, ORIGIN_FILE),
					       runs(ROW_EXACT, "old", 1, 1, ORIGIN_FILE)};
	const struct config_rule wanted[] = {wants(ROW_DEFAULT, "*", 10),
					     wants(ROW_EXACT, "new", 1)};
	struct reconcile_input input = INPUT(running, wanted, 3);
	struct reconcile_plan plan;

	(void)state;
	assert_int_equal(reconcile_reload(&plan, &input), 0);
	assert_action(&plan.actions[0], RECONCILE_ADD, "new");
	assert_action(&plan.actions[1], RECONCILE_REMOVE, "old");
	reconcile_free(&plan);
	input.rows = 2;
	assert_int_equal(reconcile_reload(&plan, &input), 0);
	assert_action(&plan.actions[0], RECONCILE_REMOVE, "old");
	assert_action(&plan.actions[1], RECONCILE_ADD, "new");
	reconcile_free(&plan);
}

/* Shadows and classes are terms: a file that differs in them alone is a difference. */
static void test_reconcile_extras(void **state)
{
	static const char *const settings[][2] = {
		{"shadow", "yes"}, {"shadow_rate", "5/s"}, {"class batch", "leave 2"}};
	const struct running_rule running[] = {runs(ROW_DEFAULT, "*", 0, 10, ORIGIN_FILE)};
	struct config_rule wanted[] = {wants(ROW_DEFAULT, "*", 10)};
	const struct reconcile_input input = INPUT(running, wanted, 3);
	struct reconcile_plan plan;

	(void)state;
	for (size_t i = 0; i < COUNT(settings); i++) {
		wanted[0] = wants(ROW_DEFAULT, "*", 10);
		assert_null(config_set_term(&wanted[0].terms, settings[i][0], settings[i][1]));
		assert_null(config_finish_terms(&wanted[0].terms, true, true));
		assert_int_equal(reconcile_reload(&plan, &input), 0);
		assert_int_equal(plan.count, 1);
		assert_action(&plan.actions[0], RECONCILE_CHANGE, "*");
		reconcile_free(&plan);
	}
}

static void test_reconcile_empty(void **state)
{
	const struct config_rule wanted[] = {wants(ROW_DEFAULT, "*", 10)};
	const struct reconcile_input input = {NULL, 0, wanted, 1, 8};
	struct reconcile_plan plan;

	(void)state;
	assert_int_equal(reconcile_adopt(&plan, &input), 0);
	assert_int_equal(plan.count, 1);
	assert_action(&plan.actions[0], RECONCILE_ADD, "*");
	reconcile_free(&plan);
}

/* ---- control ---- */

static void test_who_may_change(void **state)
{
	const gid_t groups[] = {7, 8, 9};
	const struct control_credentials root = {0, 0, NULL, 0};
	const struct control_credentials daemon = {50, 1, NULL, 0};
	const struct control_credentials primary = {60, 9, NULL, 0};
	const struct control_credentials supplementary = {60, 1, groups, 3};
	const struct control_credentials outsider = {60, 1, groups, 2};

	(void)state;
	assert_true(control_may_change(&root, 50, 9));
	assert_true(control_may_change(&daemon, 50, 9));
	assert_true(control_may_change(&primary, 50, 9));
	assert_true(control_may_change(&supplementary, 50, 9));
	assert_false(control_may_change(&outsider, 50, 9));
}

static const struct control_peer insider = {.uid = 0, .may_change = true, .who = "uid 0"};
static const struct control_peer outsider = {.uid = 9, .may_change = false, .who = "uid 9"};

static int32_t refusal(const struct wire_message *message, const struct control_peer *peer)
{
	struct control_request request;
	struct control_reply reply = {0};

	assert_false(control_read(&request, &reply, message, peer));
	assert_true(reply.text[0] != '\0');
	return reply.code;
}

static void test_control_outsiders(void **state)
{
	const struct wire_message ping = {.kind = WIRE_PING};
	struct control_request request;
	struct control_reply reply = {0};

	(void)state;
	assert_true(control_read(&request, &reply, &ping, &outsider));
	for (uint16_t kind = WIRE_SET; kind <= WIRE_RELOAD; kind++) {
		const struct wire_message message = {
			.kind = kind, .name = "a", .keep = 1, .duration_ns = 1};

		assert_int_equal(refusal(&message, &outsider), WEIR_EDENIED);
		assert_true(control_read(&request, &reply, &message, &insider));
	}
}

static void test_control_bad_requests(void **state)
{
	struct wire_message set = {.kind = WIRE_SET, .name = "a"};
	struct wire_message close = {.kind = WIRE_CLOSE, .name = "a"};
	struct wire_message reply = {.kind = WIRE_REPLY};

	(void)state;
	assert_int_equal(refusal(&reply, &insider), WEIR_EWIRE);
	assert_int_equal(refusal(&close, &insider), WEIR_EVALUE);
	assert_int_equal(refusal(&set, &insider), WEIR_EVALUE);
	set.keep = 4;
	assert_int_equal(refusal(&set, &insider), WEIR_EVALUE);
	set.keep = 0;
	set.setting_count = 2;
	set.settings[0] = set.settings[1] = (struct wire_setting){"rate", "1/s"};
	assert_int_equal(refusal(&set, &insider), WEIR_EVALUE);
	set.name = NULL;
	assert_int_equal(refusal(&set, &insider), WEIR_ENAME);
	set.name = "a\nb";
	assert_int_equal(refusal(&set, &insider), WEIR_ENAME);
	set.name = "";
	assert_int_equal(refusal(&set, &insider), WEIR_ENAME);
}

static struct terms after_set(const struct terms *from, const char *key, const char *value)
{
	struct control_request request = {
		.kind = WIRE_SET, .setting_count = 1, .settings = {{key, value}}};
	struct control_reply reply = {0};
	struct terms terms;

	assert_true(control_terms(&terms, &reply, from, &request));
	return terms;
}

/* UT-11: a partial update leaves the rest. */
static void test_partial_update(void **state)
{
	struct terms from = terms_of(10), now;

	(void)state;
	from.max_wait_ns = 5;
	now = after_set(&from, "rate", "5/2s");
	assert_true(now.rate_micro == 5 * TERMS_MICRO && now.period_ns == 2000000000u);
	assert_true(now.burst_micro == from.burst_micro);
	assert_true(now.initial_micro == from.initial_micro);
	assert_true(now.max_wait_ns == 5);
	now = after_set(&from, "burst", "15");
	assert_true(now.rate_micro == from.rate_micro && now.period_ns == from.period_ns);
	assert_true(now.burst_micro == 15 * TERMS_MICRO);
	/* the initial level was the whole burst, and is so again */
	assert_true(now.initial_micro == 15 * TERMS_MICRO);
	from.initial_micro = 4 * TERMS_MICRO;
	now = after_set(&from, "burst", "15");
	assert_true(now.initial_micro == 4 * TERMS_MICRO);
	now = after_set(&from, "burst", "2");
	assert_true(now.initial_micro == 2 * TERMS_MICRO);
}

static void test_bad_settings(void **state)
{
	static const struct wire_setting bad[] = {
		{"rate", "fast"},	 {"rate", ""},
		{"rate", "-1/s"},	 {"burst", "0"},
		{"burst", "nan"},	 {"initial", "11"},
		{"max_wait", "soon"},	 {"colour", "red"},
		{"shadow", "perhaps"},	 {"shadow_burst", "3"},
		{"class a", "leave 10"}, {"class", "leave 1"},
	};
	struct terms from = terms_of(10), now;

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		struct control_request request = {
			.kind = WIRE_SET, .setting_count = 1, .settings = {bad[i]}};
		struct control_reply reply = {0};

		assert_false(control_terms(&now, &reply, &from, &request));
		assert_int_equal(reply.code, WEIR_EVALUE);
		assert_true(reply.text[0] != '\0');
	}
}

/* ---- describe ---- */

static void test_describe(void **state)
{
	char text[DESCRIBE_TERMS_BYTES], name[DESCRIBE_RULE_BYTES];
	struct terms was = terms_of(10), now = terms_of(5);

	(void)state;
	assert_string_equal(describe_change(&was, &was, text), "");
	assert_string_equal(describe_change(&was, &now, text), "rate 10/s -> 5/s, burst 10 -> 5");
	assert_string_equal(describe_terms(&was, text), "rate 10/s, burst 10");
	now = was;
	assert_null(config_set_term(&now, "shadow", "yes"));
	assert_null(config_set_term(&now, "shadow_rate", "5/2s"));
	assert_null(config_set_term(&now, "class b", "leave 20 %"));
	assert_null(config_set_term(&now, "class a", "leave 5"));
	assert_null(config_finish_terms(&now, true, true));
	assert_string_equal(describe_terms(&now, text),
			    "rate 10/s, burst 10, shadow, shadow limit 5/2s burst 2.5, "
			    "class a leave 5, class b leave 20 %");
	assert_string_equal(describe_change(&was, &now, text),
			    "shadow no -> yes, shadow limit none -> 5/2s burst 2.5, "
			    "class a none -> leave 5, class b none -> leave 20 %");
	was = now;
	assert_null(config_set_term(&now, "class a", "leave 0"));
	assert_null(config_set_term(&now, "class b", "leave 30 %"));
	assert_null(config_finish_terms(&now, true, true));
	assert_string_equal(describe_change(&was, &now, text),
			    "class a leave 5 -> none, class b leave 20 % -> leave 30 %");
	assert_string_equal(describe_rule(ROW_DEFAULT, "*", name), "[default]");
	assert_string_equal(describe_rule(ROW_PATTERN, "a*", name), "pattern a*");
}

/* ---- log ---- */

static void test_log_lines(void **state)
{
	char line[64];

	(void)state;
	assert_int_equal(log_render(line, sizeof(line), LOG_INFO, true, 0, 0, "a\nb\033[1m"),
			 strlen("<6>a?b?[1m\n"));
	assert_string_equal(line, "<6>a?b?[1m\n");
	log_render(line, sizeof(line), LOG_ERROR, false, 86400, 7, "x");
	assert_string_equal(line, "1970-01-02T00:00:00.007Z weird error: x\n");
}

/* However long the text and short the room, a line ends and stays inside. */
static void test_log_room(void **state)
{
	char text[300];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	for (size_t room = 64; room < 128; room++) {
		char *line = malloc(room);
		size_t bytes;

		assert_non_null(line);
		bytes = log_render(line, room, LOG_DEBUG, false, 0, 0, text);
		assert_true(bytes < room);
		assert_int_equal(line[bytes], '\0');
		assert_int_equal(line[bytes - 1], '\n');
		free(line);
	}
}

/* ---- notify ---- */

static void test_watchdog_interval(void **state)
{
	(void)state;
	assert_true(notify_watchdog_ns("3000000", NULL, 5) == 1500000000u);
	assert_true(notify_watchdog_ns("3000000", "5", 5) == 1500000000u);
	assert_true(notify_watchdog_ns("3000000", "6", 5) == 0);
	assert_true(notify_watchdog_ns(NULL, NULL, 5) == 0);
	assert_true(notify_watchdog_ns("0", NULL, 5) == 0);
	assert_true(notify_watchdog_ns("", NULL, 5) == 0);
	assert_true(notify_watchdog_ns("1s", NULL, 5) == 0);
	assert_true(notify_watchdog_ns("-1", NULL, 5) == 0);
	assert_true(notify_watchdog_ns("18446744073709551615", NULL, 5) == 0);
}

static void test_notify_addresses(void **state)
{
	char longest[200];

	(void)state;
	memset(longest, 'x', sizeof(longest) - 1);
	longest[0] = '/';
	longest[sizeof(longest) - 1] = '\0';
	assert_true(notify_open(NULL) == 0);
	assert_true(notify_open("relative") < 0);
	assert_true(notify_open("@") < 0);
	assert_true(notify_open(longest) < 0);
	/* nothing is open: nothing happens */
	notify_watchdog();
}

/* ---- source ---- */

static void test_default_paths(void **state)
{
	struct source source;

	(void)state;
	assert_int_equal(source_default(&source, true, "/x", "/home/a"), 0);
	assert_string_equal(source.path, "/etc/weir/weir.ini");
	assert_true(source.optional);
	assert_int_equal(source_default(&source, false, "/x", "/home/a"), 0);
	assert_string_equal(source.path, "/x/weir/weir.ini");
	assert_int_equal(source_default(&source, false, "relative", "/home/a"), 0);
	assert_string_equal(source.path, "/home/a/.config/weir/weir.ini");
	assert_int_equal(source_default(&source, false, NULL, NULL), 0);
	assert_string_equal(source.path, "/etc/weir/weir.ini");
}

/* ---- watch ---- */

#define SECOND 1000000000ull
#define HZ 2000000000ull

/* Clocks that a test moves: the true rate of ticks, and the calibration in force. */
struct clocks {
	struct watch watch;
	struct watch_sample now;
	uint64_t hz; /* calibration */
};

/* `ns` go by on all clocks; the machine sleeps for `slept_ns` of boot time after them, in which
 * the ticks go on if `ticks_on`. */
static struct watch_verdict pass(struct clocks *clocks, uint64_t ns, uint64_t true_hz,
				 uint64_t slept_ns, bool ticks_on)
{
	uint64_t ticks = ns / SECOND * true_hz + (ticks_on ? slept_ns / SECOND * true_hz : 0);
	struct watch_verdict verdict;

	clocks->now.monotonic_ns += ns;
	clocks->now.boottime_ns += ns + slept_ns;
	clocks->now.ticks += ticks;
	clocks->now.clock_ns += (uint64_t)((line_wide)ticks * SECOND / clocks->hz);
	watch_step(&clocks->watch, &clocks->now, clocks->hz, &verdict);
	if (verdict.rebase) {
		clocks->hz = verdict.hz;
		watch_rebased(&clocks->watch, &clocks->now, verdict.suspended);
	}
	return verdict;
}

static struct clocks clocks_begin(void)
{
	struct clocks clocks = {.hz = HZ, .now = {1000, 5 * SECOND, 100 * SECOND, 300 * SECOND}};

	assert_false(pass(&clocks, 0, HZ, 0, false).rebase);
	return clocks;
}

static void test_watch_true_clock(void **state)
{
	struct clocks clocks = clocks_begin();

	(void)state;
	for (int i = 0; i < 10000; i++)
		assert_false(pass(&clocks, 10 * SECOND, HZ, 0, false).rebase);
}

/* 10 ppm off: after 100 s the clock is 1 ms ahead, and becomes exact for good. */
static void test_watch_drift(void **state)
{
	const uint64_t true_hz = HZ + HZ / 100000;
	struct clocks clocks = clocks_begin();
	struct watch_verdict verdict = {0};
	int looks = 0, rebased = 0;

	(void)state;
	for (; !verdict.rebase && looks < 100; looks++)
		verdict = pass(&clocks, 10 * SECOND, true_hz, 0, false);
	assert_true(verdict.rebase);
	assert_false(verdict.suspended);
	assert_true(verdict.slept_ns == 0);
	assert_true(verdict.drift_ns > WATCH_DRIFT_NS);
	assert_true(verdict.hz == true_hz);
	for (int i = 0; i < 1000; i++)
		rebased += pass(&clocks, 10 * SECOND, true_hz, 0, false).rebase;
	assert_int_equal(rebased, 0);
}

/* A migrated machine: the ticks change at once; the long span before does not count. */
static void test_watch_sudden(void **state)
{
	struct clocks clocks = clocks_begin();
	struct watch_verdict verdict;

	(void)state;
	for (int i = 0; i < 1000; i++)
		assert_false(pass(&clocks, 10 * SECOND, HZ, 0, false).rebase);
	verdict = pass(&clocks, 10 * SECOND, HZ / 2, 0, false);
	assert_true(verdict.rebase);
	assert_true(verdict.drift_ns < 0);
	assert_true(verdict.hz == HZ / 2);
	assert_false(pass(&clocks, 10 * SECOND, HZ / 2, 0, false).rebase);
}

static void test_watch_suspend(void **state)
{
	struct clocks clocks = clocks_begin();
	struct watch_verdict verdict;

	(void)state;
	assert_false(pass(&clocks, 10 * SECOND, HZ, SECOND / 2, false).rebase);
	/* ticks that stood still: all of the sleep was missed */
	verdict = pass(&clocks, 10 * SECOND, HZ, 3600 * SECOND, false);
	assert_true(verdict.rebase && verdict.suspended);
	assert_true(verdict.slept_ns == 3600 * SECOND);
	assert_true(verdict.hz == HZ);
	/* ticks that went on: none of it */
	verdict = pass(&clocks, 10 * SECOND, HZ, 3600 * SECOND, true);
	assert_true(verdict.rebase && verdict.suspended);
	assert_true(verdict.slept_ns == 0);
	assert_false(pass(&clocks, 10 * SECOND, HZ, 0, false).rebase);
}

/* ---- options ---- */

static struct options parsed(const char *const *arguments)
{
	struct options options;
	char *copy[8] = {strdup("weird")};
	int count = 1;

	for (; *arguments; arguments++)
		copy[count++] = strdup(*arguments);
	optind = 0;
	options_parse(&options, count, copy);
	for (int i = 0; i < count; i++)
		free(copy[i]);
	return options;
}

#define PARSED(...) parsed((const char *const[]){__VA_ARGS__, NULL})

static void test_options(void **state)
{
	(void)state;
	assert_int_equal(parsed((const char *const[]){NULL}).mode, OPTIONS_RUN);
	assert_int_equal(PARSED("--check", "-c", "x").mode, OPTIONS_CHECK);
	assert_int_equal(PARSED("--help").mode, OPTIONS_HELP);
	assert_int_equal(PARSED("--version").mode, OPTIONS_VERSION);
	assert_true(PARSED("--remove").remove);
	assert_int_equal(PARSED("-v").log, LOG_DEBUG);
	assert_int_equal(PARSED("-q").log, LOG_WARNING);
	assert_false(PARSED("--remove").log_given);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reconcile_nothing),
		cmocka_unit_test(test_reconcile_each_verb),
		cmocka_unit_test(test_reconcile_order),
		cmocka_unit_test(test_reconcile_default),
		cmocka_unit_test(test_reconcile_operator),
		cmocka_unit_test(test_reconcile_operator_agrees),
		cmocka_unit_test(test_reconcile_without_room),
		cmocka_unit_test(test_reconcile_extras),
		cmocka_unit_test(test_reconcile_empty),
		cmocka_unit_test(test_who_may_change),
		cmocka_unit_test(test_control_outsiders),
		cmocka_unit_test(test_control_bad_requests),
		cmocka_unit_test(test_partial_update),
		cmocka_unit_test(test_bad_settings),
		cmocka_unit_test(test_describe),
		cmocka_unit_test(test_log_lines),
		cmocka_unit_test(test_log_room),
		cmocka_unit_test(test_watchdog_interval),
		cmocka_unit_test(test_notify_addresses),
		cmocka_unit_test(test_default_paths),
		cmocka_unit_test(test_watch_true_clock),
		cmocka_unit_test(test_watch_drift),
		cmocka_unit_test(test_watch_sudden),
		cmocka_unit_test(test_watch_suspend),
		cmocka_unit_test(test_options),
	};

	return cmocka_run_group_tests_name("daemon deciders", tests, NULL, NULL);
}
