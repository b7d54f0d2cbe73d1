/* SPDX-License-Identifier: Apache-2.0
 *
 * weir.ini: what it means, and every fault with its line, its key and what would be right.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "adapt.h"
#include "class.h"
#include "config.h"
#include "names.h"
#include "value.h"
#include "weir.h"

#define SECOND 1000000000ull
#define TOKEN 1000000ull
#define MUTATIONS 20000
#define PATTERN_ROUNDS 5000

static char fault_text[8192];

static int parse_bytes(struct config *config, const char *text, size_t bytes, unsigned *count)
{
	struct config_faults faults = {.text = fault_text, .bytes = sizeof(fault_text)};
	int error = config_parse(config, text, bytes, "weir.ini", &faults);

	assert_int_equal(faults.used, strlen(fault_text));
	assert_int_equal(faults.count > 0, error == WEIR_ECONFIG);
	if (count)
		*count = faults.count;
	return error;
}

static void parse(struct config *config, const char *text)
{
	if (parse_bytes(config, text, strlen(text), NULL) != 0)
		fail_msg("%s", fault_text);
}

static const struct config_rule *find_rule(const struct config *config, const char *text)
{
	for (size_t i = 0; i < config->rule_count; i++)
		if (strcmp(config->rules[i].text, text) == 0)
			return &config->rules[i];
	fail_msg("no rule for %s", text);
	return NULL;
}

/* ---- What is right ---- */

static void nothing_means_the_built_in_default(void **state)
{
	struct config config;

	(void)state;
	parse(&config, "");
	assert_string_equal(config.name, "");
	assert_string_equal(config.group, "");
	assert_string_equal(config.shm_dir, "");
	assert_string_equal(config.socket, "");
	assert_int_equal(config.clock, 0);
	assert_int_equal(config.log, CONFIG_LOG_INFO);
	assert_int_equal(config.endpoints, 1024);
	assert_int_equal(config.names, 1024);
	assert_int_equal(config.members, 256);
	assert_int_equal(config.permits, 1024);
	assert_int_equal(config.waiters, 1024);
	assert_int_equal(config.rule_count, 1);
	assert_int_equal(config.rules[0].kind, ROW_DEFAULT);
	assert_string_equal(config.rules[0].text, "*");
	assert_int_equal(config.rules[0].line, 0);
	assert_int_equal(config.rules[0].terms.rate_micro, 10 * TOKEN);
	assert_int_equal(config.rules[0].terms.period_ns, SECOND);
	assert_int_equal(config.rules[0].terms.burst_micro, 10 * TOKEN);
	assert_int_equal(config.rules[0].terms.initial_micro, 10 * TOKEN);
	assert_int_equal(config.rules[0].terms.max_wait_ns, 0);
	config_free(&config);
	assert_null(config.rules);
	assert_int_equal(config_parse(&config, NULL, 0, "none", NULL), 0);
	config_free(&config);
}

static void settings_have_their_place(void **state)
{
	struct config config;

	(void)state;
	parse(&config, "\xef\xbb\xbf[weir]\r\n"
		       "  name = test-1\r\n"
		       "\tgroup=weir\r\n"
		       "shm_dir = /mnt/shared ; beside the containers\r\n"
		       "socket = /run/weir/a.sock\r\n"
		       "clock = manual\r\n"
		       "log = debug\r\n"
		       "\r\n"
		       "# a comment = 1\r\n"
		       "; another [one\r\n"
		       "endpoints = 65535\r\n"
		       "names = 1Mi\r\n"
		       "permits = 4K\r\n"
		       "waiters = 100\r\n"
		       "members = 65536");
	assert_string_equal(config.name, "test-1");
	assert_string_equal(config.group, "weir");
	assert_string_equal(config.shm_dir, "/mnt/shared");
	assert_string_equal(config.socket, "/run/weir/a.sock");
	assert_int_equal(config.clock, CLOCK_KIND_MANUAL);
	assert_int_equal(config.log, CONFIG_LOG_DEBUG);
	assert_int_equal(config.endpoints, 65535);
	assert_int_equal(config.names, 1048576);
	assert_int_equal(config.members, 65536);
	assert_int_equal(config.permits, 4000);
	assert_int_equal(config.waiters, 100);
	config_free(&config);
}

static void clocks_and_logs_have_their_words(void **state)
{
	static const struct {
		const char *text;
		int clock;
		int log;
	} words[] = {
		{"[weir]\nclock = auto\nlog = error", 0, CONFIG_LOG_ERROR},
		{"[weir]\nclock = tsc\nlog = warning", CLOCK_KIND_TSC, CONFIG_LOG_WARNING},
		{"[weir]\nclock = monotonic\nlog = info", CLOCK_KIND_MONOTONIC, CONFIG_LOG_INFO},
		{"[weir]\nclock = manual\nlog = debug", CLOCK_KIND_MANUAL, CONFIG_LOG_DEBUG},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		struct config config;

		parse(&config, words[i].text);
		assert_int_equal(config.clock, words[i].clock);
		assert_int_equal(config.log, words[i].log);
		config_free(&config);
	}
}

static void rules_stand_in_the_order_of_the_file(void **state)
{
	struct config config;

	(void)state;
	parse(&config, "[endpoint api.github.com]\n"
		       "rate = 5000/h\n"
		       "burst = 100\n"
		       "initial = 0\n"
		       "max_wait = 250ms\n"
		       "[ endpoint   POST  api.openai.com/v1/*  ] ; models [all]\n"
		       "rate = 500/min\n"
		       "[default]\n"
		       "rate = 20/s\n"
		       "[endpoint long]\n"
		       "match = x[*]/\xc3\xa9*\n"
		       "rate = unlimited\n"
		       "[endpoint off]\n"
		       "rate = 0\n"
		       "[endpoint empty]\n");
	assert_int_equal(config.rule_count, 6);
	assert_int_equal(config.rules[0].kind, ROW_DEFAULT);
	assert_int_equal(config.rules[0].line, 8);
	assert_int_equal(config.rules[0].terms.burst_micro, 20 * TOKEN);
	assert_string_equal(config.rules[1].text, "api.github.com");
	assert_int_equal(config.rules[1].kind, ROW_EXACT);
	assert_int_equal(config.rules[1].line, 1);
	assert_int_equal(config.rules[1].terms.rate_micro, 5000 * TOKEN);
	assert_int_equal(config.rules[1].terms.period_ns, 3600 * SECOND);
	assert_int_equal(config.rules[1].terms.burst_micro, 100 * TOKEN);
	assert_int_equal(config.rules[1].terms.initial_micro, 0);
	assert_int_equal(config.rules[1].terms.max_wait_ns, 250000000);
	assert_string_equal(config.rules[2].text, "POST  api.openai.com/v1/*");
	assert_int_equal(config.rules[2].kind, ROW_PATTERN);
	assert_int_equal(config.rules[2].terms.burst_micro, 8333333);
	assert_string_equal(config.rules[3].text, "x[*]/\xc3\xa9*");
	assert_int_equal(config.rules[3].kind, ROW_PATTERN);
	assert_int_equal(config.rules[3].terms.rate_micro, TERMS_UNLIMITED);
	assert_int_equal(config.rules[3].terms.burst_micro, TOKEN);
	assert_int_equal(config.rules[4].terms.rate_micro, 0);
	assert_int_equal(config.rules[4].terms.burst_micro, TOKEN);
	assert_string_equal(config.rules[5].text, "empty");
	assert_int_equal(config.rules[5].terms.rate_micro, 20 * TOKEN);
	assert_int_equal(config.rules[5].terms.burst_micro, 20 * TOKEN);
	config_free(&config);
}

/* UT-1: construction. */
static void ut_1_bursts_and_levels(void **state)
{
	static const struct {
		const char *text;
		uint64_t burst_micro;
		uint64_t initial_micro;
	} cases[] = {
		{"[endpoint a]\nrate = 10/s\nburst = 15", 15 * TOKEN, 15 * TOKEN},
		{"[endpoint a]\nrate = 10/s", 10 * TOKEN, 10 * TOKEN},
		{"[endpoint a]\nrate = 10/s\ninitial = 5", 10 * TOKEN, 5 * TOKEN},
		{"[endpoint a]\nrate = 5/2s", 2500000, 2500000},
		{"[endpoint a]\nrate = 5/2s\nburst = 15", 15 * TOKEN, 15 * TOKEN},
		{"[endpoint a]\nrate = 1/2s", TOKEN, TOKEN},
		{"[endpoint a]\nrate = 60/h", TOKEN, TOKEN},
		{"[endpoint a]\nburst = 3", 3 * TOKEN, 3 * TOKEN},
		{"[endpoint a]", 10 * TOKEN, 10 * TOKEN},
		{"[endpoint a]\nrate=1G/s\nburst=1000G", 1000000 * TOKEN * TOKEN,
		 1000000 * TOKEN * TOKEN},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct config config;
		const struct config_rule *rule;

		parse(&config, cases[i].text);
		rule = find_rule(&config, "a");
		assert_int_equal(rule->terms.burst_micro, cases[i].burst_micro);
		assert_int_equal(rule->terms.initial_micro, cases[i].initial_micro);
		config_free(&config);
	}
}

static void a_partial_default_keeps_the_rate(void **state)
{
	struct config config;

	(void)state;
	parse(&config, "[default]\nburst = 15\nmax_wait = 1h\n[endpoint a]\nmax_wait = unlimited");
	assert_int_equal(config.rules[0].terms.rate_micro, 10 * TOKEN);
	assert_int_equal(config.rules[0].terms.burst_micro, 15 * TOKEN);
	assert_int_equal(config.rules[0].terms.max_wait_ns, 3600 * SECOND);
	assert_int_equal(config.rules[1].terms.burst_micro, 10 * TOKEN);
	assert_int_equal(config.rules[1].terms.max_wait_ns, 0);
	config_free(&config);
}

static void assert_class(const struct config_rule *rule, unsigned index, const char *name,
			 uint64_t leave)
{
	assert_int_equal(rule->terms.classes[index].name, class_number(name));
	assert_int_equal(rule->terms.classes[index].leave, leave);
}

/* What [weir] says of shadows and classes is for every rule that says nothing itself. */
static void shadows_and_classes_of_the_instance(void **state)
{
	struct config config;

	(void)state;
	parse(&config, "[endpoint a]\n"
		       "rate = 20/s\n"
		       "shadow = no\n"
		       "class batch = leave 5\n"
		       "class  background=leave 0\n"
		       "shadow_rate = 15/s\n"
		       "[weir]\n"
		       "shadow = yes\n"
		       "class background = leave 20 % ; of each burst\n"
		       "[endpoint b]\n"
		       "shadow_rate = 1/s\n"
		       "shadow_burst = 30\n"
		       "[endpoint c]\n"
		       "shadow_rate = none\n"
		       "class batch = leave 0.5\n");
	assert_int_equal(config.rules[0].terms.shadow, 1);
	assert_class(&config.rules[0], 0, "background", 20 * CLASS_PERCENT | CLASS_SHARE);
	assert_int_equal(config.rules[0].terms.classes[1].name, 0);
	assert_int_equal(config.rules[0].terms.beside.period_ns, 0);
	assert_int_equal(config.rules[1].terms.shadow, 0);
	assert_class(&config.rules[1], 0, "batch", 5 * TOKEN);
	assert_int_equal(config.rules[1].terms.classes[1].name, 0);
	assert_int_equal(config.rules[1].terms.beside.rate_micro, 15 * TOKEN);
	assert_int_equal(config.rules[1].terms.beside.burst_micro, 15 * TOKEN);
	assert_int_equal(config.rules[2].terms.shadow, 1);
	assert_int_equal(config.rules[2].terms.beside.rate_micro, TOKEN);
	assert_int_equal(config.rules[2].terms.beside.burst_micro, 30 * TOKEN);
	assert_class(&config.rules[3], 0, "background", 20 * CLASS_PERCENT | CLASS_SHARE);
	assert_class(&config.rules[3], 1, "batch", TOKEN / 2);
	assert_int_equal(config.rules[3].terms.beside.period_ns, 0);
	config_free(&config);
}

/* The longest name, in a header and behind `match`, beyond what inih could carry in a header. */
static void the_longest_names_are_whole(void **state)
{
	char name[WEIR_NAME_MAX + 1];
	char text[512];
	struct config config;

	(void)state;
	memset(name, 'n', WEIR_NAME_MAX);
	name[WEIR_NAME_MAX] = '\0';
	snprintf(text, sizeof(text), "[endpoint %s]\n[endpoint b]\nmatch = %.126s*\n", name, name);
	parse(&config, text);
	assert_string_equal(config.rules[1].text, name);
	assert_int_equal(strlen(config.rules[2].text), WEIR_NAME_MAX);
	assert_int_equal(config.rules[2].kind, ROW_PATTERN);
	config_free(&config);
}

static void patterns_may_overlap_in_part(void **state)
{
	struct config config;

	(void)state;
	parse(&config, "[endpoint a*]\n[endpoint ab*]\n[endpoint c]\nmatch = ac*d*\n"
		       "[endpoint *.com]\n[endpoint *com]\n[endpoint a]\n[endpoint *a*]\n");
	assert_int_equal(config.rule_count, 8);
	config_free(&config);
}

/* ---- What is wrong ---- */

struct fault_case {
	const char *text;
	unsigned line;
	const char *where; /* section and key */
	const char *right; /* what would be */
};

#define N32 "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
#define N128 N32 N32 N32 N32

static const struct fault_case faults[] = {
	/* lines */
	{"rate = 1/s\n", 1, "rate", "above it"},
	{"\n\n= 1/s\n", 3, "= 1/s", "no key"},
	{"[default]\nrate\n", 2, "rate", "KEY = VALUE"},
	{"[default]\nrate: 1/s\n", 2, "rate: 1/s", "KEY = VALUE"},
	{"[default]\nrate ; = 1/s\n", 2, "rate", "KEY = VALUE"},
	{"[default]\nrate = 1/s\n  burst\n", 3, "burst", "KEY = VALUE"},
	{"[default]\nrate = 1\x01/s\n", 2, "rate = 1?/s", "control character"},
	{"[default]\rrate = 1/s\r", 1, "[default]?rate", "control character"},
	{"[weir]\nshm_dir = /" N128 N32 N32 "\n", 2, "[weir] shm_dir", "at most 199"},
	/* headers */
	{"[default\nrate = 1/s\n", 1, "[default", "ends with ]"},
	{"[\n", 1, "[", "ends with ]"},
	{"[]\n", 1, "[]", "unknown section"},
	{"[default] rate = 1/s\n", 1, "[default] rate", "nothing may follow"},
	{"[endpoint a]b]\n", 1, "[endpoint a]b]", "match = PATTERN"},
	{"[endpoint a[b]\n", 1, "[endpoint a[b]", "match = PATTERN"},
	{"[endpoint a ;b]\n", 1, "[endpoint a ;b]", "ends with ]"},
	{"[endpoint]\nrate = 1/s\n", 1, "[endpoint]", "1 to 127"},
	{"[endpoint  ]\n", 1, "[endpoint]", "1 to 127"},
	{"[endpoint " N128 "]\n", 1, "[endpoint nnn", "1 to 127"},
	{"[endpoint a\tb]\n", 1, "[endpoint a?b]", "control characters"},
	{"[endpoint a\x1b]\n", 1, "[endpoint a?]", "control character"},
	{"[every client/*]\nrate = 20/s\n", 1, "[every client/*]", "[each PATTERN]"},
	{"[each client]\nrate = 20/s\n", 1, "[each client]", "one *"},
	{"[each a/*/b/*]\n", 1, "[each a/*/b/*]", "one *"},
	{"[each *]\n", 1, "[each *]", "write it as [default]"},
	{"[each c/*]\nkeys = 0\n", 2, "keys = 0", "1 to 1073741824"},
	{"[each c/*]\nkeys = 2G\n", 2, "keys = 2G", "1 to 1073741824"},
	{"[each c/*]\nkeys = 1Gi\n[each d/*]\n", 3, "[each d/*]", "at most 1073741824"},
	{"[each c/*]\nfold = ipv6/129\n", 2, "fold = ipv6/129", "1 to 128"},
	{"[each c/*]\nfold = addresses\n", 2, "fold = addresses", "ipv4/24"},
	{"[each c/*]\ninitial = 0\n", 2, "initial", "[default] or [endpoint NAME]"},
	{"[endpoint c/*]\nkeys = 5\n", 2, "keys", "[each PATTERN]"},
	{"[each c/*]\n[endpoint c/*]\n", 2, "[endpoint c/*]", "line 1"},
	{"[each c/*]\nconcurrency = 5\n", 2, "concurrency", "[endpoint NAME]"},
	{"[Weir]\n", 1, "[Weir]", "[weir]"},
	{"[weir main]\n", 1, "[weir main]", "write [weir]"},
	{"[default x]\n", 1, "[default x]", "write [default]"},
	{"[weir]\n\n[weir]\n", 3, "[weir]", "on line 1"},
	{"[default]\n[endpoint a]\n[default]\nrate = 2/s\n", 3, "[default]", "on line 1"},
	{"[endpoint a]\n[endpoint b]\n[endpoint a]\n", 3, "[endpoint a]", "on line 1"},
	/* keys */
	{"[weir]\nname = a\nname = b\n", 3, "[weir] name", "on line 2"},
	{"[endpoint a]\nrate = 1/s\nrate = 1/s\n", 3, "[endpoint a] rate", "on line 2"},
	{"[endpoint a]\nbrust = 5\n", 2, "[endpoint a] brust", "did you mean burst?"},
	{"[weir]\nendpoint = 5\n", 2, "[weir] endpoint", "did you mean endpoints?"},
	{"[default]\nRate = 5\n", 2, "[default] Rate", "did you mean rate?"},
	{"[default]\nmatch = a*\n", 2, "[default] match", "belongs in [endpoint NAME]"},
	{"[weir]\nrate = 5/s\n", 2, "[weir] rate", "belongs in [default] or [endpoint NAME]"},
	{"[endpoint a]\nweight = 5\n", 2, "[endpoint a] weight",
	 "has rate, burst, initial, max_wait, window, shadow, shadow_rate, shadow_burst, class, "
	 "concurrency, max_hold, adaptive, min_rate, safety, max_close, profile, account, field, "
	 "budget, match"},
	{"[default]\nconcurrency = 5\n", 2, "[default] concurrency", "belongs in [endpoint NAME]"},
	{"[endpoint a]\nconcurrency = -1\n", 2, "[endpoint a] concurrency = -1",
	 "from 0 to 262144, auto MIN..MAX, or unlimited"},
	{"[endpoint a]\nconcurrency = 262145\n", 2, "[endpoint a] concurrency", "to 262144"},
	{"[endpoint a]\nconcurrency = automatic\n", 2, "[endpoint a] concurrency",
	 "a whole number"},
	{"[endpoint a]\nconcurrency = auto 4\n", 2, "[endpoint a] concurrency = auto 4",
	 "auto MIN..MAX with whole numbers from 1 to 262144"},
	{"[endpoint a]\nconcurrency = auto 0..4\n", 2, "[endpoint a] concurrency", "MIN..MAX"},
	{"[endpoint a]\nconcurrency = auto 5..4\n", 2, "[endpoint a] concurrency", "MIN..MAX"},
	{"[endpoint a]\nconcurrency = auto 4..\n", 2, "[endpoint a] concurrency", "MIN..MAX"},
	{"[endpoint a]\nconcurrency = auto ..4\n", 2, "[endpoint a] concurrency", "MIN..MAX"},
	{"[endpoint a]\nconcurrency = auto 4..5..6\n", 2, "[endpoint a] concurrency", "MIN..MAX"},
	{"[endpoint a]\nconcurrency = auto 4..262145\n", 2, "[endpoint a] concurrency", "MIN..MAX"},
	{"[endpoint a]\nconcurrency = auto "
	 "00000000000000000000000000000000000000000000000004..5\n",
	 2, "[endpoint a] concurrency", "MIN..MAX"},
	{"[default]\nconcurrency = auto\n", 2, "[default] concurrency", "belongs in"},
	{"[weir]\npermits = 16\n[endpoint a]\nconcurrency = auto 1..8\n"
	 "[endpoint b]\nconcurrency = auto 2..12\n",
	 6, "[endpoint b]", "raise permits in [weir] from 16 to 20 or more"},
	{"[endpoint a]\nconcurrency = 5\nmax_hold = 0s\n", 3, "[endpoint a] max_hold",
	 "a duration above 0"},
	{"[endpoint a]\nconcurrency = 5\nmax_hold = 10000d\n", 3, "[endpoint a] max_hold", "366d"},
	{"[endpoint a]\nmax_hold = 5s\n", 2, "[endpoint a]", "max_hold needs a concurrency"},
	{"[weir]\npermits = 8\n[endpoint a]\nconcurrency = 4\n[endpoint b]\nconcurrency = 0\n"
	 "[endpoint c]\nconcurrency = 5\n",
	 8, "[endpoint c]", "raise permits in [weir] from 8 to 16"},
	{"[weir]\npermits = 0\n", 2, "[weir] permits = 0", "from 1 to 262144"},
	{"[weir]\nwaiters = 65537\n", 2, "[weir] waiters = 65537", "from 1 to 65536"},
	{"[endpoint a]\n" N128 " = 5\n", 2, "unknown key", "has rate, burst"},
	/* [weir] */
	{"[weir]\nname =\n", 2, "[weir] name", "1 to 63"},
	{"[weir]\nname = a/b\n", 2, "[weir] name = a/b", "no /"},
	{"[weir]\nname = .a\n", 2, "[weir] name = .a", "begin with a dot"},
	{"[weir]\nname = a b\n", 2, "[weir] name = a b", "no blank"},
	{"[weir]\nname = " N32 N32 "\n", 2, "[weir] name", "1 to 63"},
	{"[weir]\ngroup =\n", 2, "[weir] group", "1 to 63"},
	{"[weir]\ngroup = " N32 N32 "\n", 2, "[weir] group", "1 to 63"},
	{"[weir]\nshm_dir = shared\n", 2, "[weir] shm_dir = shared", "absolute path"},
	{"[weir]\nsocket = /" N128 "\n", 2, "[weir] socket", "at most 107"},
	{"[weir]\nclock = wall\n", 2, "[weir] clock = wall", "auto, tsc, monotonic or manual"},
	{"[weir]\nlog = loud\n", 2, "[weir] log = loud", "error, warning, info or debug"},
	{"[weir]\nendpoints = 65536\n", 2, "[weir] endpoints = 65536", "1 to 65535"},
	{"[weir]\nendpoints = 0\n", 2, "[weir] endpoints = 0", "1 to 65535"},
	{"[weir]\nnames = 1048577\n", 2, "[weir] names", "1 to 1048576"},
	{"[weir]\nnames = 1.5K\n", 2, "[weir] names", "whole number"},
	{"[weir]\nmembers = 65537\n", 2, "[weir] members", "1 to 65536"},
	{"[weir]\nmembers = many\n", 2, "[weir] members = many", "whole number"},
	/* terms */
	{"[endpoint a]\nrate = 10\n", 2, "[endpoint a] rate = 10", "NUMBER/[N]UNIT"},
	{"[endpoint a]\nrate = 10/week\n", 2, "[endpoint a] rate = 10/week", "s, min, h or d"},
	{"[endpoint a]\nrate = -1/s\n", 2, "[endpoint a] rate = -1/s", "NUMBER/[N]UNIT"},
	{"[endpoint a]\nrate = nan/s\n", 2, "[endpoint a] rate", "NUMBER/[N]UNIT"},
	{"[endpoint a]\nrate = 2G/s\n", 2, "[endpoint a] rate", "1000000000 tokens a second"},
	{"[endpoint a]\nrate = 5/s # slow\n", 2, "[endpoint a] rate", "begins with ' ;'"},
	{"[default]\nrate =\n", 2, "[default] rate", "NUMBER/[N]UNIT"},
	{"[default]\nburst = 0\n", 2, "[default] burst = 0", "at least 1"},
	{"[default]\nburst = 0.5\n", 2, "[default] burst = 0.5", "at least 1"},
	{"[default]\nburst = 1001G\n", 2, "[default] burst = 1001G", "10^12"},
	{"[default]\nburst = lots\n", 2, "[default] burst = lots", "K, M, G"},
	{"[endpoint a]\ninitial = 11\n", 2, "[endpoint a]", "initial is above the burst"},
	{"[endpoint a]\ninitial = 5\nburst = 4\n", 2, "[endpoint a]", "initial is above"},
	{"[endpoint a]\ninitial = -1\n", 2, "[endpoint a] initial = -1", "K, M, G"},
	{"[endpoint a]\nmax_wait = 5\n", 2, "[endpoint a] max_wait = 5", "250ms"},
	{"[endpoint a]\nmax_wait = 0s\n", 2, "[endpoint a] max_wait = 0s", "above 0"},
	{"[endpoint a]\nmax_wait = 367d\n", 2, "[endpoint a] max_wait", "366d"},
	/* shadows */
	{"[endpoint a]\nshadow = maybe\n", 2, "[endpoint a] shadow = maybe", "yes or no"},
	{"[weir]\nshadow = 1\n", 2, "[weir] shadow = 1", "yes or no"},
	{"[weir]\nshadow_rate = 5/s\n", 2, "[weir] shadow_rate",
	 "belongs in [default] or [endpoint NAME]"},
	{"[default]\nshadow_rate = fast\n", 2, "[default] shadow_rate = fast", "NUMBER/[N]UNIT"},
	{"[endpoint a]\nshadow_rate = unlimited\n", 2, "[endpoint a] shadow_rate",
	 "shadow_rate = none"},
	{"[endpoint a]\nrate = 5/s\nshadow_burst = 5\n", 3, "[endpoint a]", "needs a shadow_rate"},
	{"[endpoint a]\nshadow_rate = 1/s\nshadow_burst = 0.5\n", 3, "[endpoint a] shadow_burst",
	 "at least 1"},
	{"[endpoint a]\nshadow_rate = 1/s\nshadow_rate = 2/s\n", 3, "[endpoint a] shadow_rate",
	 "on line 2"},
	/* classes */
	{"[endpoint a]\nclass = leave 5\n", 2, "[endpoint a] class = leave 5", "class NAME ="},
	{"[endpoint a]\nclass Batch = leave 5\n", 2, "[endpoint a] class Batch", "a-z"},
	{"[endpoint a]\nclass a b = leave 5\n", 2, "[endpoint a] class a b", "a-z"},
	{"[endpoint a]\nclass batch = 5\n", 2, "[endpoint a] class batch = 5", "leave 20 %"},
	{"[default]\nclass batch = leave 100 %\n", 2, "[default] class batch", "less than 100 %"},
	{"[endpoint a]\nburst = 5\nclass a = leave 1\nclass b = leave 5\n", 4, "[endpoint a]",
	 "less than the burst"},
	{"[endpoint a]\nclass b = leave 1\nclass  b = leave 2\n", 3, "[endpoint a] class  b",
	 "on line 2"},
	{"[endpoint a]\nclass a = leave 1\nclass b = leave 1\nclass c = leave 1\n"
	 "class d = leave 1\nclass e = leave 1\n",
	 6, "[endpoint a] class e", "at most 4"},
	{"[weir]\nclass b = leave 5\n[endpoint a]\nburst = 5\n", 2, "[endpoint a]",
	 "less than the burst"},
	{"[weir]\nclass e = leave 1\n[endpoint a]\nclass a = leave 1\nclass b = leave 1\n"
	 "class c = leave 1\nclass d = leave 1\n",
	 3, "[endpoint a]: with class e of [weir]", "at most 4"},
	{"[weir]\nclass e = leave 1\n[default]\nclass a = leave 1\nclass b = leave 1\n"
	 "class c = leave 1\nclass d = leave 1\n",
	 3, "[default]: with class e of [weir]", "at most 4"},
	{"[endpoint a]\nclas b = leave 1\n", 2, "[endpoint a] clas b", "unknown key"},
	/* patterns */
	{"[endpoint a]\nmatch =\n", 2, "[endpoint a] match", "1 to 127"},
	{"[endpoint a]\nmatch = " N128 "\n", 2, "[endpoint a] match", "1 to 127"},
	{"[endpoint a]\nmatch = a\tb\n", 2, "[endpoint a] match", "control characters"},
	{"[endpoint *]\nrate = 1/s\n", 1, "[endpoint *]", "[default]"},
	{"[endpoint all]\nmatch = **\n", 1, "[endpoint all]", "[default]"},
	{"[endpoint a]\n[endpoint b]\nmatch = a\n", 2, "[endpoint b]", "[endpoint a] of line 1"},
	{"[endpoint x]\nmatch=a*\n[endpoint y]\nmatch = a*\n", 3, "[endpoint y]", "of line 1"},
	{"[endpoint a**]\n[endpoint a*]\n", 1, "[endpoint a**]", "[endpoint a*] of line 2"},
	{"[endpoint a*b*]\n[endpoint a*]\n", 1, "[endpoint a*b*] can never match",
	 "[endpoint a*] of line 2 covers it and goes first"},
	{"[endpoint b]\n[endpoint *com]\n[endpoint *.com]\n", 3, "[endpoint *.com] can never",
	 "move this section above"},
	{"[endpoint x]\nmatch = a*\n[endpoint a*b]\n", 3, "[endpoint a*b] can never match",
	 "[endpoint x] of line 1"},
	/* capacities */
	{"[endpoint a]\n[endpoint b]\n[weir]\nendpoints = 2\n", 2, "[endpoint b]",
	 "raise endpoints in [weir] from 2 to 3"},
	/* how an upstream is followed */
	{"[endpoint a]\nprofile = githup\n", 2, "[endpoint a] profile = githup",
	 "there is no such profile; there are generic, http, ietf, akamai, anthropic, "},
	{"[endpoint a]\n\nprofile = GitHub\n", 3, "[endpoint a] profile = GitHub",
	 ", github, github-models, gitlab, "},
	{"[endpoint a]\nprofile = openai2\n", 2, "[endpoint a] profile = openai2",
	 ", twitch, twitter, vimeo, zendesk"},
	{"[endpoint a]\nprofile = discord\naccount = my bot\n", 3, "[endpoint a] account = my bot",
	 "a word of 1 to 63 bytes"},
	{"[endpoint a]\nprofile = discord\naccount =\n", 3, "[endpoint a] account", ""},
	{"[endpoint a]\nprofile = discord\naccount = "
	 "1234567890123456789012345678901234567890123456789012345678901234\n",
	 3, "[endpoint a] account = 1", "and not its key"},
	{"[endpoint a]\naccount = bot\n", 1, "[endpoint a]", "profile says at which"},
	{"[each a/*]\naccount = bot\n", 2, "[each a/*] account", "belongs in [default] or"},
	{"[endpoint a]\nfield.remainig = X-Left\n", 2, "[endpoint a] field.remainig = X-Left",
	 "MEANING is limit, remaining, reset, used, window, utilization, rate, burst, retry_after "
	 "or resource"},
	{"[endpoint a]\nfield.reset = X-Reset weeks\n", 2,
	 "[endpoint a] field.reset = X-Reset weeks",
	 "is auto, s, ms, min, epoch_s, epoch_ms, epoch_us, duration (1m30s) or date"},
	{"[endpoint a]\nfield.limit = X-Limit epoch_ms\n", 2, "[endpoint a] field.limit", "unit"},
	{"[endpoint a]\nfield.reset = no such field at all\n", 2, "[endpoint a] field.reset",
	 "field.reset = X-Foo-Reset epoch_ms"},
	{"[endpoint a]\nbudget.tokens = a/*\n", 2, "[endpoint a] budget.tokens", "and no pattern"},
	{"[endpoint a]\nbudget.a b = x\n", 2, "[endpoint a] budget.a b", "(requests, tokens)"},
	{"[endpoint a]\nbudget.a2345678901234567890123456789012345678901234567890123456789012345 = "
	 "x\n",
	 2, "[endpoint a] budget.a", "(requests, tokens)"},
	{"[endpoint a]\nfield = X-Left\n", 2, "[endpoint a] field", "field.remaining"},
	{"[endpoint a]\nbudget = x\n", 2, "[endpoint a] budget", "budget.tokens"},
	{"[endpoint a]\nbudget.a = " N32 N32 N32 "\nbudget.b = " N32 N32 N32 "\n", 3,
	 "[endpoint a] budget.b", "at most 207 bytes together"},
	{"[endpoint a]\nbudget.a = x\nbudget.b = x\nbudget.a = y\n", 4, "[endpoint a] budget.a",
	 "given already"},
	{"[endpoint a]\nadaptive = header\n", 2, "[endpoint a] adaptive = header",
	 "off, headers (what responses say, and their status where they say nothing) or aimd"},
	{"[endpoint a]\nmin_rate = 0/s\n", 2, "[endpoint a] min_rate", "above 0, such as 60/h"},
	{"[endpoint a]\nmin_rate = unlimited\n", 2, "[endpoint a] min_rate", "such as 60/h"},
	{"[endpoint a]\nmin_rate = slow\n", 2, "[endpoint a] min_rate = slow", "/s"},
	{"[endpoint a]\nsafety = 1.5\n", 2, "[endpoint a] safety", "above 0 and at most 1: 0.9"},
	{"[endpoint a]\nsafety = nan\n", 2, "[endpoint a] safety = nan", "at most 1"},
	{"[endpoint a]\nmax_close = 0s\n", 2, "[endpoint a] max_close", "above 0, such as 1h"},
	{"[endpoint a]\nwindow = 1h\nadaptive = aimd\n", 3, "[endpoint a]",
	 "no windows of its own"},
	{"[endpoint a]\nrate = 10/s\nmin_rate = 601/min\n", 3, "[endpoint a]",
	 "min_rate is above the rate"},
};

/* Each alone: one fault, on its line, that names where it is and what would be right. */
static void every_fault_says_where_and_what(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		const struct fault_case *fault = &faults[i];
		struct config config = {.endpoints = 7};
		char prefix[40];
		unsigned count;

		if (parse_bytes(&config, fault->text, strlen(fault->text), &count) != WEIR_ECONFIG)
			fail_msg("taken:\n%s", fault->text);
		snprintf(prefix, sizeof(prefix), "weir.ini:%u: ", fault->line);
		if (count != 1 || strncmp(fault_text, prefix, strlen(prefix)) != 0 ||
		    !strstr(fault_text, fault->where) || !strstr(fault_text, fault->right))
			fail_msg("wanted %s%s ... %s, got %u:\n%s", prefix, fault->where,
				 fault->right, count, fault_text);
		assert_int_equal(config.endpoints, 7);
	}
}

static void nul_bytes_are_refused(void **state)
{
	static const char setting[] = "[default]\nrate = 5\0/s\n";
	static const char comment[] = "; a\0b\n[endpoint \0]\nrate = x\n";
	struct config config;
	unsigned count;

	(void)state;
	assert_int_equal(parse_bytes(&config, setting, sizeof(setting) - 1, &count), WEIR_ECONFIG);
	assert_int_equal(count, 1);
	assert_non_null(strstr(fault_text, "weir.ini:2: rate = 5: a NUL byte"));
	assert_int_equal(parse_bytes(&config, comment, sizeof(comment) - 1, &count), WEIR_ECONFIG);
	assert_int_equal(count, 2);
	assert_non_null(strstr(fault_text, "weir.ini:1: "));
	assert_non_null(strstr(fault_text, "weir.ini:2: [endpoint : a NUL byte"));
}

static void all_faults_come_at_once(void **state)
{
	static const char text[] = "x = 1\n"
				   "[weir]\n"
				   "nam = x\n"
				   "[default]\n"
				   "rate = fast\n"
				   "[endpoint a]\n"
				   "burst = 0\n"
				   "initial = none\n"
				   "[weir]\n"
				   "log = loud\n"
				   "[endpoint a]\n"
				   "rate = 1/y\n"
				   "[other]\n"
				   "rate = 1/y\n";
	static const unsigned lines[] = {1, 3, 5, 7, 8, 9, 10, 11, 12, 13};
	struct config config;
	unsigned count;

	(void)state;
	assert_int_equal(parse_bytes(&config, text, strlen(text), &count), WEIR_ECONFIG);
	assert_int_equal(count, sizeof(lines) / sizeof(lines[0]));
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		char prefix[40];

		snprintf(prefix, sizeof(prefix), "weir.ini:%u: ", lines[i]);
		if (!strstr(fault_text, prefix))
			fail_msg("nothing of line %u:\n%s", lines[i], fault_text);
	}
}

static void faults_stay_within_their_buffer(void **state)
{
	static const char text[] = "a = 1\nb = 2\nc = 3\n";
	char whole[512];
	struct config config;

	(void)state;
	for (size_t bytes = 0; bytes < sizeof(whole); bytes++) {
		struct config_faults some = {.text = whole, .bytes = bytes};

		memset(whole, '#', sizeof(whole));
		assert_int_equal(config_parse(&config, text, strlen(text), "f", &some),
				 WEIR_ECONFIG);
		assert_int_equal(some.count, 3);
		assert_true(some.used == 0 || some.used < bytes);
		if (bytes > 0) {
			assert_int_equal(strlen(whole), some.used);
			assert_true(some.used == 0 || whole[some.used - 1] == '\n');
		}
		for (size_t i = bytes; i < sizeof(whole); i++)
			assert_int_equal(whole[i], '#');
	}
	/* nor need anybody be told */
	assert_int_equal(config_parse(&config, text, strlen(text), "f", NULL), WEIR_ECONFIG);
	assert_int_equal(config_read(&config, "/nowhere/weir.ini", NULL), -ENOENT);
}

/* As many sections as any segment holds, and one more. */
static void the_largest_table_has_an_end(void **state)
{
	size_t room = 24 * (CONFIG_ENDPOINTS_MAX + 16ul);
	char *text = malloc(room);
	struct config config;
	size_t used;
	unsigned count;

	(void)state;
	assert_non_null(text);
	used = (size_t)snprintf(text, room, "[weir]\nendpoints = %d\n", CONFIG_ENDPOINTS_MAX);
	for (int i = 1; i < CONFIG_ENDPOINTS_MAX; i++)
		used += (size_t)snprintf(text + used, room - used, "[endpoint %d/*]\n", i);
	assert_int_equal(parse_bytes(&config, text, used, NULL), 0);
	assert_int_equal(config.rule_count, CONFIG_ENDPOINTS_MAX);
	config_free(&config);
	for (int i = 0; i < 3; i++)
		used += (size_t)snprintf(text + used, room - used, "[endpoint x%d]\n", i);
	assert_int_equal(parse_bytes(&config, text, used, &count), WEIR_ECONFIG);
	assert_int_equal(count, 1);
	assert_non_null(strstr(fault_text, "weir.ini:65537: [endpoint x0] is one too many"));
	free(text);
}

/* ---- Files ---- */

static void files_are_read_whole(void **state)
{
	char path[] = "/tmp/weir-config-XXXXXX";
	int fd = mkstemp(path);
	struct config_faults some = {.text = fault_text, .bytes = sizeof(fault_text)};
	struct config config;
	char wanted[80];

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "[default]\nrate = 3/s\n", 21), 21);
	assert_int_equal(config_read(&config, path, &some), 0);
	assert_int_equal(config.rules[0].terms.rate_micro, 3 * TOKEN);
	config_free(&config);
	assert_int_equal(write(fd, "rate = 3/s\n", 11), 11);
	assert_int_equal(config_read(&config, path, &some), WEIR_ECONFIG);
	snprintf(wanted, sizeof(wanted), "%s:3: [default] rate", path);
	assert_non_null(strstr(fault_text, wanted));
	assert_int_equal(ftruncate(fd, (16 << 20) + 1), 0);
	assert_int_equal(config_read(&config, path, &some), -EFBIG);
	assert_int_equal(some.count, 0);
	close(fd);
	unlink(path);
	assert_int_equal(config_read(&config, path, &some), -ENOENT);
	assert_int_equal(config_read(&config, "/", &some), -EISDIR);
}

static void the_installed_example_is_right(void **state)
{
	struct config_faults some = {.text = fault_text, .bytes = sizeof(fault_text)};
	struct config config;
	int error = config_read(&config, WEIR_SOURCE_DIR "/etc/weir.ini", &some);

	(void)state;
	if (error)
		fail_msg("%d: %s", error, fault_text);
	assert_int_equal(config.rules[0].kind, ROW_DEFAULT);
	assert_true(config.rules[0].line > 0);
	config_free(&config);
}

/* ---- Terms ---- */

static void terms_are_set_one_by_one(void **state)
{
	struct terms terms = {.rate_micro = TOKEN, .period_ns = SECOND, .burst_micro = TOKEN};
	struct terms before;

	(void)state;
	assert_null(config_set_term(&terms, "rate", "5/2s"));
	assert_null(config_set_term(&terms, "burst", "15"));
	assert_null(config_set_term(&terms, "initial", "0"));
	assert_null(config_set_term(&terms, "max_wait", "1h"));
	assert_int_equal(terms.rate_micro, 5 * TOKEN);
	assert_int_equal(terms.period_ns, 2 * SECOND);
	assert_int_equal(terms.burst_micro, 15 * TOKEN);
	assert_int_equal(terms.initial_micro, 0);
	assert_int_equal(terms.max_wait_ns, 3600 * SECOND);
	before = terms;
	assert_non_null(strstr(config_set_term(&terms, "match", "a"), "rate, burst, initial"));
	assert_non_null(strstr(config_set_term(&terms, "rate", "5"), "NUMBER/[N]UNIT"));
	assert_non_null(strstr(config_set_term(&terms, "burst", "0.9"), "at least 1"));
	assert_non_null(strstr(config_set_term(&terms, "initial", "x"), "K, M, G"));
	assert_non_null(strstr(config_set_term(&terms, "max_wait", "0"), "above 0"));
	assert_memory_equal(&terms, &before, sizeof(terms));
	assert_null(config_set_term(&terms, "max_wait", "unlimited"));
	/* a concurrency that is found goes on from the one there is, within its bounds */
	assert_null(config_set_term(&terms, "concurrency", "auto"));
	assert_int_equal(terms.concurrency, 20 + 1);
	assert_int_equal(terms.concurrency_min, 1);
	assert_int_equal(terms.concurrency_max, 200);
	assert_null(config_set_term(&terms, "concurrency", "7"));
	assert_int_equal(terms.concurrency_max, 0);
	assert_null(config_set_term(&terms, "concurrency", "auto \t8..1K"));
	assert_int_equal(terms.concurrency, 8 + 1);
	assert_int_equal(terms.concurrency_max, 1000);
	assert_null(config_set_term(&terms, "concurrency", "auto 2..4"));
	assert_int_equal(terms.concurrency, 4 + 1);
	assert_non_null(config_set_term(&terms, "concurrency", "auto 9..8"));
	assert_int_equal(terms.concurrency_min, 2);
	assert_null(config_set_term(&terms, "concurrency", "unlimited"));
	assert_int_equal(terms.concurrency, TERMS_NO_LIMIT);
	assert_int_equal(terms.concurrency_min, 0);
	assert_int_equal(terms.concurrency_max, 0);
	assert_int_equal(terms.max_wait_ns, 0);
}

static void set(struct terms *terms, const char *key, const char *value)
{
	const char *why = config_set_term(terms, key, value);

	if (why)
		fail_msg("%s = %s: %s", key, value, why);
}

/* A line of the text takes the place of the one of its key, and none takes that away. */
static void how_responses_are_read_is_set_line_by_line(void **state)
{
	struct terms terms = {.rate_micro = TOKEN, .period_ns = SECOND};
	char name[LAYOUT_TEXT_BYTES];

	(void)state;
	set(&terms, "profile", "openai");
	set(&terms, "budget.tokens", "a/b");
	set(&terms, "field.reset", "X-Reset epoch_ms");
	set(&terms, "budget.tokens", "the tokens");
	assert_string_equal(terms.adapt.text, "profile openai\nfield.reset X-Reset epoch_ms\n"
					      "budget.tokens the tokens\n");
	assert_ptr_equal(adapt_profile(&terms.adapt), fields_profile_find("openai"));
	assert_true(adapt_budget(&terms.adapt, "Tokens", name));
	assert_string_equal(name, "the tokens");
	assert_false(adapt_budget(&terms.adapt, "token", name));
	set(&terms, "profile", "none");
	set(&terms, "field.reset", "none");
	set(&terms, "budget.other", "none");
	assert_string_equal(terms.adapt.text, "budget.tokens the tokens\n");
	assert_null(adapt_profile(&terms.adapt));
	assert_non_null(config_set_term(&terms, "profile", "openai2"));
	assert_non_null(config_set_term(&terms, "account", "a\x7f"));
	assert_non_null(config_set_term(&terms, "account", ""));
	assert_string_equal(terms.adapt.text, "budget.tokens the tokens\n");
	set(&terms, "adaptive", "aimd");
	assert_string_equal(adapt_mode_text(terms.adapt.mode), "aimd");
	assert_string_equal(adapt_mode_text(99), "unknown");
	assert_string_equal(adapt_cause_text(99), "unknown");
}

/* One service, and one account there or none that is named. */
static void accounts_tell_rules_of_a_service_apart(void **state)
{
	static const struct {
		const char *profile, *account;
	} rules[] = {
		{"none", "none"},     {"discord", "none"}, {"discord", "one"},
		{"discord", "other"}, {"github", "one"},   {"discord", "on"},
	};
	struct terms terms[2];

	(void)state;
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		for (size_t j = 0; j < sizeof(rules) / sizeof(rules[0]); j++) {
			for (int k = 0; k < 2; k++) {
				terms[k] = (struct terms){.rate_micro = TOKEN, .period_ns = SECOND};
				set(&terms[k], "account", rules[k ? j : i].account);
				set(&terms[k], "profile", rules[k ? j : i].profile);
			}
			assert_int_equal(adapt_same_upstream(&terms[0].adapt, &terms[1].adapt),
					 i == j && i > 0);
		}
}

static void shadows_and_classes_are_set_one_by_one(void **state)
{
	struct terms terms = {.rate_micro = TOKEN,
			      .period_ns = SECOND,
			      .burst_micro = 10 * TOKEN,
			      .initial_micro = 10 * TOKEN};
	struct terms before;

	(void)state;
	assert_null(config_set_term(&terms, "shadow", "yes"));
	assert_null(config_set_term(&terms, "shadow_rate", "5/2s"));
	assert_null(config_set_term(&terms, "class batch", "leave 5"));
	assert_null(config_set_term(&terms, "class\tbackground", "leave 20 %"));
	assert_null(config_finish_terms(&terms, true, true));
	assert_int_equal(terms.shadow, 1);
	assert_int_equal(terms.beside.burst_micro, 2500000);
	assert_int_equal(terms.classes[0].name, class_number("background"));
	/* a partial update leaves the rest, the shadow's burst too */
	assert_null(config_set_term(&terms, "shadow_rate", "50/s"));
	assert_null(config_set_term(&terms, "class batch", "leave 1"));
	assert_null(config_set_term(&terms, "class background", "leave 0"));
	assert_null(config_set_term(&terms, "shadow", "no"));
	assert_null(config_finish_terms(&terms, true, true));
	assert_int_equal(terms.shadow, 0);
	assert_int_equal(terms.beside.rate_micro, 50 * TOKEN);
	assert_int_equal(terms.beside.burst_micro, 2500000);
	assert_int_equal(terms.classes[0].name, class_number("batch"));
	assert_int_equal(terms.classes[0].leave, TOKEN);
	assert_int_equal(terms.classes[1].name, 0);
	before = terms;
	assert_non_null(strstr(config_set_term(&terms, "class", "leave 1"), "class NAME"));
	assert_non_null(strstr(config_set_term(&terms, "class b", "1"), "leave 5"));
	assert_non_null(strstr(config_set_term(&terms, "shadow_burst", "0"), "at least 1"));
	assert_memory_equal(&terms, &before, sizeof(terms));
	/* a burst that is lowered below what a class must leave */
	terms.burst_micro = terms.initial_micro = TOKEN;
	assert_non_null(strstr(config_finish_terms(&terms, true, true), "less than the burst"));
	terms = before;
	assert_null(config_set_term(&terms, "shadow_rate", "none"));
	assert_null(config_finish_terms(&terms, true, true));
	assert_int_equal(terms.beside.burst_micro, 0);
	terms.beside = (struct shadow_terms){TOKEN, VALUE_PERIOD_MAX_NS + 1, TOKEN};
	assert_non_null(strstr(config_finish_terms(&terms, true, true), "366 d"));
	terms.beside = (struct shadow_terms){TOKEN, SECOND, VALUE_TOKENS_MAX_MICRO + 1};
	assert_non_null(strstr(config_finish_terms(&terms, true, true), "10^12"));
}

static void terms_are_checked_as_a_whole(void **state)
{
	static const struct terms good = {.rate_micro = 10 * TOKEN,
					  .period_ns = SECOND,
					  .burst_micro = 15 * TOKEN,
					  .initial_micro = 15 * TOKEN};
	struct terms terms = good;

	(void)state;
	assert_null(config_finish_terms(&terms, true, true));
	assert_null(config_finish_terms(&terms, true, false));
	assert_int_equal(terms.initial_micro, 15 * TOKEN);
	assert_null(config_finish_terms(&terms, false, false));
	assert_int_equal(terms.burst_micro, 10 * TOKEN);
	terms = good;
	assert_non_null(strstr(config_finish_terms(&terms, false, true), "initial is above"));
	assert_memory_equal(&terms, &good, sizeof(terms));
	terms.period_ns = 0;
	assert_non_null(strstr(config_finish_terms(&terms, true, true), "period"));
	terms.period_ns = VALUE_PERIOD_MAX_NS + 1;
	assert_non_null(strstr(config_finish_terms(&terms, true, true), "366 d"));
	terms = good;
	terms.rate_micro = 1000000000 * TOKEN + 1;
	assert_non_null(strstr(config_finish_terms(&terms, true, true), "a second"));
	terms.rate_micro = TERMS_UNLIMITED - 1;
	assert_non_null(strstr(config_finish_terms(&terms, true, true), "10^12"));
	terms = good;
	terms.burst_micro = TOKEN - 1;
	assert_non_null(strstr(config_finish_terms(&terms, true, false), "at least 1"));
	terms.burst_micro = VALUE_TOKENS_MAX_MICRO + 1;
	assert_non_null(strstr(config_finish_terms(&terms, true, false), "10^12"));
	terms = good;
	terms.max_wait_ns = VALUE_PERIOD_MAX_NS + 1;
	assert_non_null(strstr(config_finish_terms(&terms, true, true), "max_wait"));
}

/* ---- Any patterns ---- */

static uint64_t random_word(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

#define PATTERNS 12
#define PATTERN_BYTES 8

/* Letters and stars, at least one of each. */
static void write_pattern(char out[PATTERN_BYTES], uint64_t *seed)
{
	size_t bytes;

	do {
		bytes = 2 + random_word(seed) % (PATTERN_BYTES - 2);
		for (size_t i = 0; i < bytes; i++)
			out[i] = "ab**"[random_word(seed) % 4];
		out[bytes] = '\0';
	} while (!strchr(out, '*') || strspn(out, "*") == bytes);
}

/* How many of them are the same as an earlier one, and how many can never match. */
static unsigned count_overlaps(char patterns[PATTERNS][PATTERN_BYTES])
{
	unsigned same = 0;
	unsigned covered = 0;

	for (int i = 0; i < PATTERNS; i++) {
		bool is_same = false;
		bool is_covered = false;

		for (int j = 0; j < PATTERNS; j++) {
			int order = names_compare(names_specificity(patterns[j]),
						  names_specificity(patterns[i]));

			if (strcmp(patterns[j], patterns[i]) == 0)
				is_same |= j < i;
			else if (order < 0 || (order == 0 && j < i))
				is_covered |= names_covers(patterns[j], patterns[i]);
		}
		same += is_same;
		covered += is_covered;
	}
	return same + covered;
}

/* What is looked up by beginning and tail is what comparing every pair finds. */
static void every_overlap_is_found(void **state)
{
	uint64_t seed = 0xd1b54a32d192ed03;
	unsigned found = 0;

	(void)state;
	for (int round = 0; round < PATTERN_ROUNDS; round++) {
		char patterns[PATTERNS][PATTERN_BYTES];
		char text[1024];
		size_t used = 0;
		struct config config;
		unsigned count;

		for (int i = 0; i < PATTERNS; i++) {
			write_pattern(patterns[i], &seed);
			used += (size_t)snprintf(text + used, sizeof(text) - used,
						 "[endpoint %d]\nmatch = %s\n", i, patterns[i]);
		}
		if (parse_bytes(&config, text, used, &count) == 0)
			config_free(&config);
		if (count != count_overlaps(patterns))
			fail_msg("%u, not %u:\n%s%s", count, count_overlaps(patterns), text,
				 fault_text);
		found += count;
	}
	assert_true(found > PATTERN_ROUNDS);
}

/* ---- Any bytes ---- */

/* Changes, cuts out or doubles a few bytes, so many times. Returns the new length. */
static size_t mutate(char *text, size_t bytes, size_t room, uint64_t times, uint64_t *seed)
{
	static const char favourites[] = "[]=;:#*\n\r\t /\0\x7f\xef";

	for (; times > 0; times--) {
		size_t at = bytes ? random_word(seed) % bytes : 0;
		size_t length = random_word(seed) % 10;

		if (length > bytes - at)
			length = bytes - at;
		switch (random_word(seed) % 4) {
		case 0:
			if (bytes > 0)
				text[at] = favourites[random_word(seed) % sizeof(favourites)];
			break;
		case 1:
			if (bytes > 0)
				text[at] = (char)random_word(seed);
			break;
		case 2:
			memmove(text + at, text + at + length, bytes - at - length);
			bytes -= length;
			break;
		case 3:
			if (bytes + length > room)
				break;
			memmove(text + at + length, text + at, bytes - at);
			bytes += length;
			break;
		}
	}
	return bytes;
}

/* Two faulty sections and a right one, or a right configuration. Returns its length. */
static size_t write_case(char *text, size_t room, bool right, uint64_t *seed)
{
	size_t cases = sizeof(faults) / sizeof(faults[0]);

	if (right)
		return (size_t)snprintf(text, room,
					"# the instance\n[weir]\nnames = 1K\n"
					"log = info ; or debug\n\n; its limits\n"
					"[endpoint a*] ; x\nrate = 1.5/2s\n"
					"[endpoint b]\nburst = 9\ninitial = 3\n");
	return (size_t)snprintf(text, room, "%s[endpoint d*]\nrate = 5/2s ; x\n%s",
				faults[random_word(seed) % cases].text,
				faults[random_word(seed) % cases].text);
}

/* Nothing crashes, and what is returned can be used: every rule's terms are right. */
static void any_bytes_are_answered(void **state)
{
	uint64_t seed = 0x2545f4914f6cdd1d;
	unsigned taken = 0;

	(void)state;
	for (int i = 0; i < MUTATIONS; i++) {
		char text[2048];
		size_t bytes = write_case(text, sizeof(text), i % 2, &seed);
		uint64_t times = i % 2 ? 1 : 1 + random_word(&seed) % 8;
		struct config config;

		bytes = mutate(text, bytes, sizeof(text), times, &seed);
		if (parse_bytes(&config, text, bytes, NULL) != 0)
			continue;
		taken++;
		for (size_t j = 0; j < config.rule_count; j++) {
			assert_int_equal(config.rules[j].kind == ROW_DEFAULT, j == 0);
			assert_null(config_finish_terms(&config.rules[j].terms, true, true));
		}
		config_free(&config);
	}
	assert_in_range(taken, MUTATIONS / 20, MUTATIONS / 2);
}

/* A section refuses the key; who hosts may have set it in another way. */
static void nobody_follows_many_upstreams(void **state)
{
	struct terms terms = {
		.rate_micro = TERMS_MICRO,
		.period_ns = 1000000000,
		.burst_micro = TERMS_MICRO,
		.initial_micro = TERMS_MICRO,
	};

	(void)state;
	assert_null(config_check_default(&terms));
	assert_null(config_check_each("c/*", &terms));
	terms.adapt.mode = ADAPT_HEADERS;
	assert_non_null(strstr(config_check_default(&terms), "a rule of its own"));
	assert_non_null(strstr(config_check_each("c/*", &terms), "not adaptive"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_means_the_built_in_default),
		cmocka_unit_test(settings_have_their_place),
		cmocka_unit_test(clocks_and_logs_have_their_words),
		cmocka_unit_test(rules_stand_in_the_order_of_the_file),
		cmocka_unit_test(ut_1_bursts_and_levels),
		cmocka_unit_test(a_partial_default_keeps_the_rate),
		cmocka_unit_test(shadows_and_classes_of_the_instance),
		cmocka_unit_test(the_longest_names_are_whole),
		cmocka_unit_test(patterns_may_overlap_in_part),
		cmocka_unit_test(every_fault_says_where_and_what),
		cmocka_unit_test(nul_bytes_are_refused),
		cmocka_unit_test(all_faults_come_at_once),
		cmocka_unit_test(faults_stay_within_their_buffer),
		cmocka_unit_test(the_largest_table_has_an_end),
		cmocka_unit_test(files_are_read_whole),
		cmocka_unit_test(the_installed_example_is_right),
		cmocka_unit_test(terms_are_set_one_by_one),
		cmocka_unit_test(how_responses_are_read_is_set_line_by_line),
		cmocka_unit_test(accounts_tell_rules_of_a_service_apart),
		cmocka_unit_test(shadows_and_classes_are_set_one_by_one),
		cmocka_unit_test(terms_are_checked_as_a_whole),
		cmocka_unit_test(every_overlap_is_found),
		cmocka_unit_test(any_bytes_are_answered),
		cmocka_unit_test(nobody_follows_many_upstreams),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
