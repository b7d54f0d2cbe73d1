/* SPDX-License-Identifier: Apache-2.0
 *
 * What simulate consists of, without files: times and lines of logs as they are read, the order of
 * requests, the table of keys, the keys that are worst, the timeline, a sweep; and the replay of
 * limits against a bucket with exact fractions.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "access_log.h"
#include "config.h"
#include "distinct.h"
#include "mark_table.h"
#include "lineup.h"
#include "replay.h"
#include "sweep.h"
#include "timeline.h"
#include "offenders.h"

#define SECOND 1000000000ull
#define NOON 1796040000ull /* 2026-11-30 12:00:00 UTC */

static uint64_t random_state = 0x9e3779b97f4a7c15ull;

static uint64_t random_word(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return random_state * 0x2545f4914f6cdd1dull;
}

/* A hash of a number, as good as one of a key (splitmix64). */
static uint64_t hash_of(uint64_t number)
{
	number = (number + 1) * 0x9e3779b97f4a7c15ull;
	number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9ull;
	number = (number ^ number >> 27) * 0x94d049bb133111ebull;
	return number ^ number >> 31;
}

/* ---- times ---- */

static void expect_time(const char *text, uint64_t ns, bool whole)
{
	struct log_clock clock = {.ns = 0};
	struct log_time time = {0, false};

	/* anew, and by what the clock kept */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(log_time_read(&clock, text, strlen(text), &time), strlen(text));
		assert_int_equal(time.ns, ns);
		assert_int_equal(time.whole, whole);
	}
}

static void expect_no_time(const char *text)
{
	struct log_clock clock = {.ns = 0};
	struct log_time time;
	size_t bytes = log_time_read(&clock, text, strlen(text), &time);

	assert_true(bytes == 0 || bytes < strlen(text));
}

static void test_times(void **state)
{
	(void)state;
	expect_time("30/Nov/2026:12:00:00 +0000", NOON * SECOND, true);
	expect_time("30/Nov/2026:13:00:00 +0100", NOON * SECOND, true);
	expect_time("30/Nov/2026:04:30:00 -0730", NOON * SECOND, true);
	expect_time("01/Dec/2026:01:45:00 +1345", NOON * SECOND, true);
	expect_time("30/Nov/2026:12:00:00.250 +0000", NOON * SECOND + 250000000, false);
	expect_time("29/Feb/2024:00:00:00 +0000", 1709164800 * SECOND, true);
	expect_time("01/Mar/2000:00:00:00 +0000", 951868800 * SECOND, true);
	expect_time("01/Jan/1970:00:00:00 +0000", 0, true);
	expect_time("31/Dec/2099:23:59:59 +0000", LOG_TIME_END_NS - SECOND, true);
	expect_time("30/Jun/2015:23:59:60 +0000", 1435708800 * SECOND, true);
	expect_time("2026-11-30T12:00:00Z", NOON * SECOND, true);
	expect_time("2026-11-30 12:00:00", NOON * SECOND, true);
	expect_time("2026-11-30T14:00:00+02:00", NOON * SECOND, true);
	expect_time("2026-11-30T14:00:00+0200", NOON * SECOND, true);
	expect_time("2026-11-30t12:00:00.000000001z", NOON * SECOND + 1, false);
	expect_time("2026-11-30T12:00:00,5", NOON * SECOND + SECOND / 2, false);
	expect_time("2026-11-30T12:00:00.1234567899Z", NOON * SECOND + 123456789, false);
	expect_time("1796040000", NOON * SECOND, true);
	expect_time("1796040000.000", NOON * SECOND, false);
	expect_time("1796040000.5", NOON * SECOND + SECOND / 2, false);
	expect_time("1796040000001", NOON * SECOND + 1000000, false);
	expect_time("1796040000001.5", NOON * SECOND + 1500000, false);
	expect_time("1796040000000001", NOON * SECOND + 1000, false);
	expect_time("1796040000000000001", NOON * SECOND + 1, false);
	for (size_t i = 0; i < 10; i++) {
		static const char *const wrong[] = {
			"30/Foo/2026:12:00:00 +0000",  "31/Nov/2026:12:00:00 +0000",
			"00/Nov/2026:12:00:00 +0000",  "29/Feb/2026:12:00:00 +0000",
			"30/Nov/2026:24:00:00 +0000",  "30/Nov/2026:12:00:00 +2400",
			"30/Nov/2026:12:00:00 UTC+00", "01/Jan/2100:00:00:00 +0000",
			"01/Jan/1970:00:00:00 +0001",  "30-Nov-2026 12:00:00 +0000",
		};

		expect_no_time(wrong[i]);
	}
	expect_no_time("2026-13-01T00:00:00Z");
	expect_no_time("2026-11-30T12:00");
	expect_no_time("17960400000000000000");
	expect_no_time("17960400000");
	expect_no_time("9999999999");
	expect_no_time("");
	expect_no_time("-1");
}

/* Every day there is, against the C library. */
static void test_days(void **state)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

	(void)state;
	for (uint64_t second = 12345; second < LOG_TIME_END_NS / SECOND; second += 86399) {
		time_t at = (time_t)second;
		struct tm parts;
		char text[64];

		assert_non_null(gmtime_r(&at, &parts));
		snprintf(text, sizeof(text), "%02d/%.3s/%04d:%02d:%02d:%02d +0000", parts.tm_mday,
			 months + 3 * parts.tm_mon, parts.tm_year + 1900, parts.tm_hour,
			 parts.tm_min, parts.tm_sec);
		expect_time(text, second * SECOND, true);
	}
}

/* ---- lines ---- */

/* A line that ends at a newline, as log_source_line() hands it out. */
static enum log_skip read_line(struct log_format *format, const char *text, size_t bytes,
			       struct log_entry *entry)
{
	static char line[8192];

	assert_true(bytes < sizeof(line));
	memcpy(line, text, bytes);
	line[bytes] = '\n';
	return log_read(format, line, bytes, entry);
}

struct fields {
	const char *key;
	const char *time;
	const char *cost;
};

static void expect_line(struct fields fields, const char *text, const char *key, uint64_t ns,
			uint64_t cost_micro)
{
	struct log_format format;
	struct log_entry entry;

	assert_null(log_format_begin(&format, fields.key, fields.time, fields.cost));
	assert_int_equal(read_line(&format, text, strlen(text), &entry), LOG_TAKEN);
	assert_int_equal(entry.key_bytes, strlen(key));
	assert_memory_equal(entry.key, key, entry.key_bytes);
	assert_int_equal(entry.time.ns, ns);
	assert_int_equal(entry.cost_micro, cost_micro);
}

static void expect_skip(struct fields fields, const char *text, size_t bytes, enum log_skip reason)
{
	struct log_format format;
	struct log_entry entry;

	assert_null(log_format_begin(&format, fields.key, fields.time, fields.cost));
	assert_int_equal(read_line(&format, text, bytes, &entry), reason);
}

#define SKIP(reason, text, key, time, cost)                                                        \
	expect_skip((struct fields){key, time, cost}, text, sizeof(text) - 1, LOG_SKIP_##reason)

static const struct fields plain = {NULL, NULL, NULL};

#define COMBINED                                                                                   \
	"192.0.2.7 - al bert [30/Nov/2026:12:00:00 +0000] \"GET /a/b?c=\\\"d HTTP/1.1\" 200 512 "  \
	"\"https://example.com/\" \"Mozilla/5.0 (X11)\""

static void test_combined(void **state)
{
	(void)state;
	expect_line(plain, COMBINED, "192.0.2.7", NOON * SECOND, 1000000);
	expect_line(plain, COMBINED "\r", "192.0.2.7", NOON * SECOND, 1000000);
	expect_line(plain, "h - - [30/Nov/2026:12:00:00 +0000] \"-\" 400 -", "h", NOON * SECOND,
		    1000000);
	expect_line(plain, "2001:db8::1 - - [30/Nov/2026:12:00:00 +0000] \"\\x16\\x03\" 400 0",
		    "2001:db8::1", NOON * SECOND, 1000000);
	/* what is behind the time may be anything but a request that was cut short */
	expect_line(plain, "h - - [30/Nov/2026:12:00:00 +0000] 200 0.003", "h", NOON * SECOND,
		    1000000);
	expect_line((struct fields){"user", NULL, "bytes"}, COMBINED, "al bert", NOON * SECOND,
		    512000000);
	expect_line((struct fields){"method", NULL, "status"}, COMBINED, "GET", NOON * SECOND,
		    200000000);
	expect_line((struct fields){"path", NULL, NULL}, COMBINED, "/a/b", NOON * SECOND, 1000000);
	expect_line((struct fields){"request", NULL, NULL}, COMBINED, "GET /a/b?c=\\\"d HTTP/1.1",
		    NOON * SECOND, 1000000);
	expect_line((struct fields){"referer", NULL, NULL}, COMBINED, "https://example.com/",
		    NOON * SECOND, 1000000);
	expect_line((struct fields){"agent", NULL, NULL}, COMBINED, "Mozilla/5.0 (X11)",
		    NOON * SECOND, 1000000);
	/* a host in front: columns are counted */
	expect_line((struct fields){"2", NULL, NULL}, "example.com:443 " COMBINED, "192.0.2.7",
		    NOON * SECOND, 1000000);
	expect_line((struct fields){"address", NULL, "bytes"},
		    "h - - [30/Nov/2026:12:00:00 +0000] \"GET / HTTP/1.0\" 304 -", "h",
		    NOON * SECOND, 0);
}

static void test_columns(void **state)
{
	(void)state;
	expect_line((struct fields){"2", "1", "3"}, "1796040000.25 alice 2.5", "alice",
		    NOON * SECOND + SECOND / 4, 2500000);
	expect_line((struct fields){NULL, "2", NULL}, "alice\t2026-11-30T12:00:00Z", "alice",
		    NOON * SECOND, 1000000);
	/* a date, and a time in the column behind it */
	expect_line((struct fields){"3", "1", NULL}, "2026-11-30 12:00:00 alice GET", "alice",
		    NOON * SECOND, 1000000);
	expect_line((struct fields){"1", "2", NULL}, "\"a b\" [30/Nov/2026:12:00:00 +0000]", "a b",
		    NOON * SECOND, 1000000);
	/* a quote that is not closed is a byte like any other */
	expect_line((struct fields){"1", "2", NULL}, "\"a 1796040000", "\"a", NOON * SECOND,
		    1000000);
	SKIP(KEY, "1796040000 alice", "3", "1", NULL);
	SKIP(KEY, "1796040000 -", "2", "1", NULL);
	SKIP(KEY, "1796040000 alice", "user", "1", NULL);
	SKIP(TIME, "alice 1796040000x", "1", "2", NULL);
	SKIP(TIME, "alice 2026-11-30 12:00:00x", "1", "2", NULL);
	SKIP(TIME, "alice", "1", "2", NULL);
	SKIP(TIME, COMBINED, "1", "when", NULL);
	SKIP(COST, "1796040000 alice much", "2", "1", "3");
	SKIP(COST, "1796040000 alice 1.5x", "2", "1", "3");
	SKIP(COST, "1796040000 alice -1", "2", "1", "3");
	SKIP(COST, "1796040000 alice", "2", "1", "3");
}

/* Rounded up to a millionth, and bounded. */
static void test_costs(void **state)
{
	static const struct {
		const char *text;
		uint64_t micro;
	} costs[] = {
		{"1796040000 k 0", 0},
		{"1796040000 k 0.000001", 1},
		{"1796040000 k 0.0000001", 1},
		{"1796040000 k 0.0000010", 1},
		{"1796040000 k 1.0000000001", 1000001},
		{"1796040000 k 007", 7000000},
		{"1796040000 k 1.", 1000000},
		{"1796040000 k 1000000000000", 1000000000000000000},
		{"1796040000 k 999999999999.9999999", 1000000000000000000},
		{"1796040000 k 99999999999999999999999999999999", 1000000000000000000},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(costs) / sizeof(costs[0]); i++)
		expect_line((struct fields){"2", "1", "3"}, costs[i].text, "k", NOON * SECOND,
			    costs[i].micro);
}

static void test_broken_lines(void **state)
{
	static const char whole[] = COMBINED;

	(void)state;
	SKIP(EMPTY, "", NULL, NULL, NULL);
	SKIP(EMPTY, " \t\r", NULL, NULL, NULL);
	SKIP(FORM, "word", NULL, NULL, NULL);
	SKIP(FORM, "two words", NULL, NULL, NULL);
	SKIP(TIME, "2026/11/30 12:00:00 [error 1#1", NULL, NULL, NULL);
	SKIP(TIME, "h - - [error] 12#12: *3 open() failed", NULL, NULL, NULL);
	SKIP(TIME, "h - - [30/Nov/2026:12:00:00 +0000 \"GET / HTTP/1.0\" 200 1", NULL, NULL, NULL);
	SKIP(NUL, "\0\0\0\0\0\0\0\0", NULL, NULL, NULL);
	SKIP(NUL, "\0\0\0h - - [30/Nov/2026:12:00:00 +0000] \"GET / HTTP/1.0\" 200 1", NULL, NULL,
	     NULL);
	SKIP(KEY, "- - - [30/Nov/2026:12:00:00 +0000] \"GET / HTTP/1.0\" 200 1", NULL, NULL, NULL);
	SKIP(KEY, COMBINED, "remote", NULL, NULL);
	/* cut short anywhere up to the end of the request */
	for (size_t bytes = 1; bytes <= strlen(whole); bytes++) {
		struct log_format format;
		struct log_entry entry;
		const char *request_end = strstr(whole, " 200 ");
		enum log_skip skip;

		assert_null(log_format_begin(&format, NULL, NULL, NULL));
		skip = read_line(&format, whole, bytes, &entry);
		assert_int_equal(skip == LOG_TAKEN, whole + bytes > request_end);
	}
}

#define OBJECT                                                                                     \
	"{\"a\":[1,{\"k\":\"no\"},\"]\"],\"k\":\"yes\",\"t\":1796040000.5,"                        \
	"\"in\":{\"k\":\"inner\",\"x.y\":\"dot\",\"n\":null},\"c\":2.5,\"x.y\":\"top\"}"

static void test_json(void **state)
{
	const uint64_t at = NOON * SECOND + SECOND / 2;

	(void)state;
	expect_line((struct fields){"k", "t", NULL}, OBJECT, "yes", at, 1000000);
	expect_line((struct fields){"k", "t", "c"}, " " OBJECT " \r", "yes", at, 2500000);
	expect_line((struct fields){"in.k", "t", NULL}, OBJECT, "inner", at, 1000000);
	/* names with dots of their own, where the object itself has them */
	expect_line((struct fields){"x.y", "t", NULL}, OBJECT, "top", at, 1000000);
	expect_line((struct fields){"c", "t", "c"}, OBJECT, "2.5", at, 2500000);
	expect_line((struct fields){"k", "t", NULL},
		    "{ \"s\" : \"a\\\\\" , \"q\\\"\" : true, \"k\" : \"\\\"\\u00e9\" , \"t\" : "
		    "\"2026-11-30T12:00:00Z\" }",
		    "\\\"\\u00e9", NOON * SECOND, 1000000);
	SKIP(KEY, OBJECT, "in.n", "t", NULL);
	SKIP(KEY, OBJECT, "in", "t", NULL);
	SKIP(KEY, OBJECT, "a", "t", NULL);
	SKIP(KEY, OBJECT, "in.x", "t", NULL);
	SKIP(KEY, OBJECT, "none", "t", NULL);
	SKIP(KEY, "{\"k\":\"\",\"t\":1}", "k", "t", NULL);
	SKIP(KEY, "{\"k\":\"-\",\"t\":1}", "k", "t", NULL);
	SKIP(TIME, OBJECT, "k", "none", NULL);
	SKIP(TIME, OBJECT, "k", "c.d", NULL);
	SKIP(TIME, "{}", "k", "t", NULL);
	SKIP(TIME, "{\"k\":\"a\",\"t\":\"noon\"}", "k", "t", NULL);
	SKIP(COST, OBJECT, "k", "t", "in.k");
	SKIP(COST, OBJECT, "k", "t", "none");
	SKIP(FORM, "{", "k", "t", NULL);
	SKIP(FORM, "{\"k\"", "k", "t", NULL);
	SKIP(FORM, "{\"k\":", "k", "t", NULL);
	SKIP(FORM, "{\"k\":\"a\" \"t\":1}", "k", "t", NULL);
	SKIP(FORM, "{\"k\":\"a\",\"t\":1,", "k", "t", NULL);
	SKIP(FORM, "{\"k\":\"a\",\"t\":1", "k", "t", NULL);
	SKIP(FORM, "{\"k\":\"a\",\"t\":1} more", "k", "t", NULL);
	SKIP(FORM, "{\"a\":[1,[2],\"k\":1}", "k", "t", NULL);
	SKIP(FORM, "{\"a\":{\"b\":[1},\"k\":\"a", "k", "t", NULL);
	SKIP(FORM, "{1:2}", "k", "t", NULL);
	SKIP(NUL, "{\"k\":\"a\",\0}", "k", "t", NULL);
}

/* What an address and a time are called is found out once, by the first object that tells. */
static void test_names_of_json(void **state)
{
	static const struct {
		const char *text;
		const char *key;
		const char *time;
	} logs[] = {
		{"{\"time_iso8601\":\"2026-11-30T12:00:00Z\",\"remote_addr\":\"k\"}", "remote_addr",
		 "time_iso8601"},
		{"{\"ts\":1796040000.0,\"request\":{\"remote_ip\":\"a\",\"client_ip\":\"k\"}}",
		 "request.client_ip", "ts"},
		{"{\"ClientHost\":\"k\",\"StartUTC\":\"2026-11-30T12:00:00Z\"}", "ClientHost",
		 "StartUTC"},
		{"{\"@timestamp\":\"2026-11-30T12:00:00Z\",\"source\":{\"ip\":\"k\"}}", "source.ip",
		 "@timestamp"},
		{"{\"@timestamp\":\"2026-11-30T12:00:00Z\",\"source.ip\":\"k\"}", "source.ip",
		 "@timestamp"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(logs) / sizeof(logs[0]); i++) {
		struct log_format format;
		struct log_entry entry;

		assert_null(log_format_begin(&format, NULL, NULL, NULL));
		assert_int_equal(read_line(&format, "{\"x\":1}", 7, &entry), LOG_SKIP_TIME);
		assert_int_equal(read_line(&format, logs[i].text, strlen(logs[i].text), &entry),
				 LOG_TAKEN);
		assert_string_equal(format.json_key.name, logs[i].key);
		assert_string_equal(format.json_time.name, logs[i].time);
		assert_int_equal(entry.time.ns, NOON * SECOND);
		assert_memory_equal(entry.key, "k", entry.key_bytes);
		assert_int_equal(read_line(&format, "{\"time\":1,\"ip\":\"k\"}", 19, &entry),
				 LOG_SKIP_TIME);
	}
}

static void test_fields(void **state)
{
	struct log_format format;

	(void)state;
	assert_null(log_format_begin(&format, "1000", "a.b.c.d.e.f.g.h", NULL));
	assert_non_null(log_format_begin(&format, "0", NULL, NULL));
	assert_non_null(log_format_begin(&format, "1001", NULL, NULL));
	assert_non_null(log_format_begin(&format, "99999999999999999999", NULL, NULL));
	assert_non_null(log_format_begin(&format, "", NULL, NULL));
	assert_non_null(log_format_begin(&format, NULL, "a.b.c.d.e.f.g.h.i", NULL));
	assert_non_null(log_format_begin(&format, NULL, NULL, ""));
}

/* ---- order ---- */

struct seen {
	uint64_t times[512];
	char keys[512];
	size_t count;
};

static void see(void *context, const struct due *due, size_t count)
{
	struct seen *seen = context;

	for (size_t i = 0; i < count; i++) {
		assert_true(seen->count < 512);
		seen->times[seen->count] = due[i].time_ns;
		seen->keys[seen->count++] = due[i].arrival->key[0];
		assert_true(seen->count < 2 ||
			    seen->times[seen->count - 1] >= seen->times[seen->count - 2]);
	}
}

static int add(struct lineup *lineup, uint64_t ns, bool whole, char key)
{
	const struct arrival arrival = {
		.time_ns = NOON * SECOND + ns, .whole = whole, .key = &key, .key_bytes = 1};

	return lineup_add(lineup, &arrival);
}

static void test_lineup(void **state)
{
	struct seen seen = {.count = 0};
	struct lineup lineup = {.take = see, .context = &seen, .slack_s = 2};

	(void)state;
	assert_int_equal(lineup_begin(&lineup), 0);
	assert_int_equal(add(&lineup, 2 * SECOND, true, 'a'), 1);
	assert_int_equal(add(&lineup, 2 * SECOND, true, 'b'), 1);
	/* up to the slack before the first one, too */
	assert_int_equal(add(&lineup, 0, true, 'c'), 1);
	assert_int_equal(add(&lineup, 2 * SECOND, true, 'd'), 1);
	assert_int_equal(add(&lineup, 2 * SECOND, true, 'e'), 1);
	assert_int_equal(seen.count, 0);
	/* parts of a second have their places among those that are spread */
	assert_int_equal(add(&lineup, 2 * SECOND + 300000000, false, 'f'), 1);
	assert_int_equal(add(&lineup, 2 * SECOND + 299999999, false, 'g'), 1);
	assert_int_equal(add(&lineup, 4 * SECOND - 1, false, 'h'), 1);
	assert_int_equal(seen.count, 1);
	assert_int_equal(add(&lineup, 1 * SECOND, true, 'i'), 1);
	assert_int_equal(add(&lineup, 1 * SECOND - 1, true, 'x'), 0);
	assert_int_equal(lineup_end(&lineup), 0);
	assert_int_equal(seen.count, 9);
	assert_memory_equal(seen.keys, "ciabgfdeh", 9);
	assert_int_equal(seen.times[3] - NOON * SECOND, 2 * SECOND + SECOND / 4);
	assert_int_equal(seen.times[7] - NOON * SECOND, 2 * SECOND + SECOND / 4 * 3);
	lineup_free(&lineup);
}

/* Time may stand still for years; and with `at_once` whole seconds stay what they are. */
static void test_lineup_gaps(void **state)
{
	struct seen seen = {.count = 0};
	struct lineup lineup = {.take = see, .context = &seen, .slack_s = 0, .at_once = true};

	(void)state;
	assert_int_equal(lineup_begin(&lineup), 0);
	for (uint64_t i = 0; i < 10; i++) {
		assert_int_equal(add(&lineup, i * i * i * 86400 * SECOND, true, 'a'), 1);
		assert_int_equal(add(&lineup, i * i * i * 86400 * SECOND, true, 'b'), 1);
		assert_int_equal(seen.count, 2 * i);
		assert_int_equal(i && add(&lineup, (i * i * i * 86400 - 1) * SECOND, true, 'x'), 0);
	}
	assert_int_equal(lineup_end(&lineup), 0);
	assert_int_equal(seen.count, 20);
	for (uint64_t i = 0; i < 20; i++)
		assert_int_equal(seen.times[i],
				 (NOON + i / 2 * (i / 2) * (i / 2) * 86400) * SECOND);
	lineup_free(&lineup);
}

struct passed {
	uint64_t count;
	uint64_t last_ns;
	uint64_t backwards;
};

static void tally_due(void *context, const struct due *due, size_t count)
{
	struct passed *tally = context;

	tally->count += count;
	for (size_t i = 0; i < count; i++) {
		tally->backwards += due[i].time_ns < tally->last_ns;
		tally->last_ns = due[i].time_ns;
	}
}

/* More than there is room for is passed on early, and nothing is lost. */
static void test_lineup_full(void **state)
{
	struct passed tally = {.count = 0};
	struct lineup lineup = {.take = tally_due, .context = &tally, .slack_s = 3600};
	uint64_t taken = 0;
	uint64_t late = 0;

	(void)state;
	assert_int_equal(lineup_begin(&lineup), 0);
	for (uint64_t i = 0; i < 3000000; i++) {
		uint64_t second = 100 + i / 1000 - (i % 1000 == 0 ? 90 : 0);

		if (add(&lineup, second * SECOND, true, 'a'))
			taken++;
		else
			late++;
	}
	assert_true(tally.count > 1000000); /* before the hour is over */
	assert_int_equal(late, 0);
	assert_int_equal(lineup_end(&lineup), 0);
	assert_int_equal(tally.count, taken);
	assert_int_equal(tally.backwards, 0);
	lineup_free(&lineup);
}

/* ---- keys ---- */

static uint64_t no_debt(void *context, const uint64_t *marks)
{
	(void)marks;
	return *(const uint64_t *)context;
}

static uint64_t debt_is_mark(void *context, const uint64_t *marks)
{
	(void)context;
	return marks[0];
}

/* All keys that there is room for are told apart, with any number of marks. */
static void test_table(void **state)
{
	enum { KEYS = 20000, MARKS = 3 };
	uint64_t all = 1;
	struct mark_table table = {.debt = no_debt, .context = &all, .marks = MARKS};
	uint64_t hashes[KEYS];
	bool fresh;

	(void)state;
	assert_int_equal(mark_table_begin(&table, KEYS), 0);
	for (uint64_t i = 0; i < KEYS; i++) {
		uint64_t *marks;

		hashes[i] = random_word();
		mark_table_prefetch(&table, hashes[i]);
		marks = mark_table_find(&table, hashes[i], &fresh);
		assert_true(fresh);
		for (unsigned mark = 0; mark < MARKS; mark++)
			marks[mark * MARK_TABLE_LANES] = hashes[i] ^ mark;
	}
	for (uint64_t i = 0; i < KEYS; i++) {
		const uint64_t *marks = mark_table_find(&table, hashes[i], &fresh);

		assert_false(fresh);
		for (unsigned mark = 0; mark < MARKS; mark++)
			assert_int_equal(marks[mark * MARK_TABLE_LANES], hashes[i] ^ mark);
	}
	assert_int_equal(table.used, KEYS);
	assert_int_equal(table.recycled + table.evicted, 0);
	/* 22 bytes a key with one mark; here it is four words */
	assert_true(mark_table_bytes(&table) <= 23ull * KEYS * (1 + MARKS) / 2);
	mark_table_free(&table);
}

/* A key in debt is not forgotten while there is one within its lines that is not. */
static void test_table_full(void **state)
{
	enum { KEYS = 64 };
	struct mark_table table = {.debt = debt_is_mark, .marks = 1};
	uint64_t kept = 0;
	bool fresh;

	(void)state;
	assert_int_equal(mark_table_begin(&table, KEYS), 0);
	for (uint64_t i = 0; i < 100000; i++)
		*mark_table_find(&table, random_word() | 1, &fresh) = 0;
	assert_true(table.recycled > 90000);
	assert_int_equal(table.evicted, 0);
	/* in debt they have to go in turn, the one nearest to full first */
	for (uint64_t i = 0; i < 1000; i++)
		*mark_table_find(&table, random_word() | 1, &fresh) = 1000 + i;
	assert_true(table.evicted > 800);
	for (uint64_t i = 0; i < table.lines * MARK_TABLE_LANES; i++)
		kept += table.words[i / 4 * 8 + 4 + i % 4] >= 1900;
	assert_true(kept > table.used / 2);
	mark_table_free(&table);
}

static void test_distinct(void **state)
{
	static struct distinct distinct;
	uint64_t count = 0;

	(void)state;
	random_state = 4711; /* whatever ran before */
	assert_int_equal(distinct_estimate(&distinct), 0);
	for (uint64_t upto = 1; upto <= 1000000; upto *= 10) {
		double estimate;

		for (; count < upto; count++) {
			uint64_t hash = random_word();

			distinct_add(&distinct, hash);
			distinct_add(&distinct, hash);
		}
		estimate = (double)distinct_estimate(&distinct);
		assert_true(estimate > 0.96 * (double)upto && estimate < 1.04 * (double)upto);
	}
}

static void meet(struct offenders *offenders, uint64_t number)
{
	char key[16];
	struct arrival arrival = {.hash = number + 1, .key = key};

	arrival.key_bytes =
		(uint8_t)snprintf(key, sizeof(key), "k%llu", (unsigned long long)number);
	offenders_add(offenders, &arrival);
}

/* Exact with few keys; with many, never too low, and by no more too high than it says. */
static void test_offenders(void **state)
{
	static struct offenders offenders;
	static uint64_t counts[20000];
	const struct offender *list[10];

	(void)state;
	assert_int_equal(offenders_list(&offenders, list, 10), 0);
	for (uint64_t i = 0; i < 200000; i++) {
		uint64_t number = random_word() % OFFENDERS;

		number = number * number / OFFENDERS;
		counts[number]++;
		meet(&offenders, number);
	}
	assert_int_equal(offenders_list(&offenders, list, 10), 10);
	for (unsigned i = 0; i < 10; i++) {
		uint64_t above = 0;

		assert_int_equal(list[i]->over, 0);
		assert_int_equal(list[i]->count, counts[list[i]->hash - 1]);
		for (unsigned key = 0; key < OFFENDERS; key++)
			above += counts[key] > list[i]->count;
		assert_true(above <= i);
	}
	for (uint64_t i = 0; i < 1000000; i++) {
		uint64_t number = random_word() % 4 ? random_word() % 20000 : random_word() % 16;

		counts[number]++;
		meet(&offenders, number);
	}
	assert_int_equal(offenders_list(&offenders, list, 10), 10);
	for (unsigned i = 0; i < 10; i++) {
		assert_true(list[i]->count >= counts[list[i]->hash - 1]);
		assert_true(list[i]->count - list[i]->over <= counts[list[i]->hash - 1]);
		assert_true(list[i]->hash <= 16);
	}
}

/* ---- time ---- */

static void test_timeline(void **state)
{
	static const uint64_t steps_ns[] = {SECOND / 3, 7 * SECOND, 3600 * SECOND,
					    40 * 86400 * SECOND};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct timeline timeline = {.count = 0};
		uint64_t admitted = 0;
		uint64_t refused = 0;
		uint64_t end = 0;

		for (uint64_t at = 0; at < 1000; at++)
			timeline_add(&timeline, NOON * SECOND + at * steps_ns[i], at % 3 == 0);
		end = NOON * SECOND + 999 * steps_ns[i];
		assert_true(timeline.count <= TIMELINE_MOST && timeline.count >= 8);
		assert_true(timeline_begin_ns(&timeline, 0) <= NOON * SECOND);
		assert_true(timeline_begin_ns(&timeline, 1) > NOON * SECOND);
		assert_true(timeline_begin_ns(&timeline, timeline.count) > end);
		assert_true(timeline_begin_ns(&timeline, timeline.count - 1) <= end);
		for (unsigned span = 0; span < timeline.count; span++) {
			admitted += timeline.spans[span].admitted;
			refused += timeline.spans[span].refused;
		}
		assert_int_equal(admitted, 334);
		assert_int_equal(refused, 666);
	}
}

/* From the first moment to the last there is room. */
static void test_timeline_ends(void **state)
{
	struct timeline timeline = {.count = 0};

	(void)state;
	timeline_add(&timeline, 0, true);
	timeline_add(&timeline, LOG_TIME_END_NS - 1, false);
	assert_true(timeline.count <= TIMELINE_MOST);
	assert_int_equal(timeline.spans[0].admitted, 1);
	assert_int_equal(timeline.spans[timeline.count - 1].refused, 1);
}

/* ---- sweeps ---- */

static void test_sweep(void **state)
{
	struct sweep sweep;

	(void)state;
	assert_null(sweep_read("rate=1/s..50/s", &sweep));
	assert_int_equal(sweep.count, 50);
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(sweep.micro[i], (i + 1) * TERMS_MICRO);
	assert_null(sweep_read("rate=1/min..1K/min", &sweep));
	assert_int_equal(sweep.period_ns, 60 * SECOND);
	assert_int_equal(sweep.count, 21);
	assert_int_equal(sweep.micro[0], TERMS_MICRO);
	assert_int_equal(sweep.micro[1], 50 * TERMS_MICRO);
	assert_int_equal(sweep.micro[20], 1000 * TERMS_MICRO);
	assert_null(sweep_read("rate=0.1/s..2/s", &sweep));
	assert_int_equal(sweep.micro[1], 150000);
	assert_null(sweep_read("rate=0..5/s", &sweep));
	assert_int_equal(sweep.micro[0], 0);
	assert_null(sweep_read("burst=5..100", &sweep));
	assert_int_equal(sweep.what, SWEEP_BURST);
	assert_int_equal(sweep.micro[1], 6 * TERMS_MICRO);
	assert_null(sweep_read("burst=1..3", &sweep));
	assert_int_equal(sweep.count, 3);
	assert_null(sweep_read("burst=1..1000000000000", &sweep));
	assert_true(sweep.count <= SWEEP_MOST);
	assert_null(sweep_read("rate=0.000001/d..0.000002/d", &sweep));
	assert_int_equal(sweep.count, 2);
	for (size_t i = 0; i < 9; i++) {
		static const char *const wrong[] = {
			"rate",		  "1/s..2/s",
			"rate=1/s",	  "rate=1/s..1/min",
			"rate=5/s..1/s",  "rate=1/s..unlimited",
			"burst=1/s..5/s", "colour=1..5",
			"rate=..5/s",
		};

		assert_non_null(sweep_read(wrong[i], &sweep));
	}
}

/* ---- limits ---- */

/* A bucket in fractions of a token: millionths times the period. Nothing is rounded. */
__extension__ typedef __int128 exact_wide;

struct exact {
	exact_wide level;
	uint64_t last_ns;
	uint64_t window; /* the number of the window that it was in */
	bool met;
};

static bool exact_draw(struct exact *exact, const struct terms *terms, uint64_t now_ns,
		       uint64_t cost_micro)
{
	exact_wide full = (exact_wide)terms->burst_micro * terms->period_ns;
	exact_wide cost = (exact_wide)cost_micro * terms->period_ns;

	if (!exact->met)
		exact->level = full;
	else if (terms->window.kind == WINDOW_NONE)
		exact->level += (exact_wide)(now_ns - exact->last_ns) * terms->rate_micro;
	else if (now_ns / terms->window.length_ns != exact->window)
		exact->level = full;
	exact->level = exact->level > full ? full : exact->level;
	exact->last_ns = now_ns;
	exact->window = terms->window.length_ns ? now_ns / terms->window.length_ns : 0;
	exact->met = true;
	if (exact->level < cost)
		return false;
	exact->level -= cost;
	return true;
}

static struct terms make_terms(const char *rate, const char *burst, const char *window)
{
	struct terms terms = {0};

	assert_null(config_set_term(&terms, "rate", rate));
	if (burst)
		assert_null(config_set_term(&terms, "burst", burst));
	if (window)
		assert_null(config_set_term(&terms, "window", window));
	assert_null(config_finish_terms(&terms, burst != NULL, false));
	return terms;
}

enum { REPLAY_KEYS = 300, REPLAY_LIMITS = 6 };

/* Hundreds of thousands of requests, several limits at once: each as the exact bucket has it. */
static void test_replay(void **state)
{
	static struct replay replay;
	static struct replay_limit limits[REPLAY_LIMITS];
	static struct exact exact[REPLAY_LIMITS][REPLAY_KEYS];
	static bool hit[REPLAY_LIMITS][REPLAY_KEYS];
	uint64_t admitted[REPLAY_LIMITS] = {0};
	uint64_t now = NOON * SECOND;

	(void)state;
	limits[0].terms = make_terms("2/s", "5", NULL);
	limits[1].terms = make_terms("1/s", NULL, NULL);
	limits[2].terms = make_terms("30/min", "1", NULL);
	limits[3].terms = make_terms("0", "10", NULL);
	limits[4].terms = make_terms("20/min", NULL, "1min");
	limits[5].terms = make_terms("5/2s", "3.5", NULL);
	assert_int_equal(replay_begin(&replay, limits, REPLAY_LIMITS, REPLAY_KEYS), 0);
	for (int i = 0; i < 300000; i++) {
		uint64_t key = random_word() % REPLAY_KEYS;
		uint64_t cost =
			random_word() % 8 ? TERMS_MICRO : random_word() % 4 * TERMS_MICRO / 2;
		const struct arrival arrival = {
			.hash = hash_of(key), .cost_micro = cost, .key = "k"};
		const struct due due = {now, &arrival, 0};

		replay_take(&replay, &due, 1);
		for (unsigned limit = 0; limit < REPLAY_LIMITS; limit++) {
			bool passed =
				exact_draw(&exact[limit][key], &limits[limit].terms, now, cost);

			admitted[limit] += passed;
			hit[limit][key] |= !passed;
			if (limits[limit].admitted != admitted[limit])
				fail_msg("request %d of limit %u: %s", i, limit,
					 passed ? "refused" : "admitted");
		}
		/* often at the very moment at which a token is there */
		now += random_word() % 3 ? random_word() % 8 * 500000 : 0;
	}
	for (unsigned limit = 0; limit < REPLAY_LIMITS; limit++) {
		uint64_t keys = 0;

		assert_int_equal(limits[limit].admitted + limits[limit].refused, 300000);
		assert_true(limits[limit].admitted > 1000 && limits[limit].refused > 1000);
		for (unsigned key = 0; key < REPLAY_KEYS; key++)
			keys += hit[limit][key];
		assert_int_equal(replay_hit(&replay, &limits[limit]), keys);
	}
	assert_int_equal(replay_keys(&replay), REPLAY_KEYS);
	assert_true(replay_is_exact(&replay));
	replay_free(&replay);
}

static bool take(struct replay *replay, uint64_t at_ns)
{
	uint64_t before = replay->limits[0].admitted;
	const struct arrival arrival = {.hash = 7, .cost_micro = TERMS_MICRO, .key = "k"};
	const struct due due = {at_ns, &arrival, 0};

	replay_take(replay, &due, 1);
	return replay->limits[0].admitted > before;
}

/* A clock that was not set yet begins in 1970; the buckets go on after the leap. */
static void test_decades(void **state)
{
	static const struct {
		const char *rate;
		const char *window;
	} cases[] = {{"1/min", NULL}, {"1/h", "1h"}, {"1/h", "1h first"}};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		static struct replay replay;
		static struct replay_limit limit;
		uint64_t at = 100 * 3600 * SECOND;

		memset(&limit, 0, sizeof(limit));
		limit.terms = make_terms(cases[i].rate, NULL, cases[i].window);
		assert_int_equal(replay_begin(&replay, &limit, 1, 100), 0);
		for (int decade = 0; decade < 12; decade++) {
			assert_true(take(&replay, at));
			assert_false(take(&replay, at + 59 * SECOND));
			assert_true(take(&replay, at + 3600 * SECOND + SECOND));
			assert_false(take(&replay, at + 3600 * SECOND + 2 * SECOND));
			at += (decade == 3 ? 40u : 8u) * 366 * 86400 * SECOND;
			at -= at % (3600 * SECOND);
			if (at > LOG_TIME_END_NS - 86400 * SECOND)
				break;
		}
		replay_free(&replay);
	}
}

/* A window from first use, and one of a calendar that is not that of UTC. */
static void test_windows(void **state)
{
	static struct replay replay;
	static struct replay_limit limit;
	const uint64_t day = 86400 * SECOND;
	uint64_t midnight = (NOON + 36000) * SECOND; /* of a zone two hours east */

	(void)state;
	limit.terms = make_terms("1/d", NULL, "1d aligned +02:00");
	assert_int_equal(replay_begin(&replay, &limit, 1, 100), 0);
	assert_true(take(&replay, NOON * SECOND));
	assert_false(take(&replay, midnight - 1));
	assert_true(take(&replay, midnight));
	assert_false(take(&replay, midnight + day - 1));
	assert_true(take(&replay, midnight + day));
	replay_free(&replay);
	memset(&limit, 0, sizeof(limit));
	limit.terms = make_terms("2/h", NULL, "1h first");
	assert_int_equal(replay_begin(&replay, &limit, 1, 100), 0);
	assert_true(take(&replay, NOON * SECOND + 1800 * SECOND));
	assert_true(take(&replay, NOON * SECOND + 5399 * SECOND));
	assert_false(take(&replay, NOON * SECOND + 5399 * SECOND));
	assert_true(take(&replay, NOON * SECOND + 5400 * SECOND));
	replay_free(&replay);
}

/* A full bucket makes room without a trace; the counts of keys become estimates. */
static void test_small_table(void **state)
{
	static struct replay replay;
	static struct replay_limit limit;
	uint64_t refused = 0;

	(void)state;
	memset(&limit, 0, sizeof(limit));
	limit.terms = make_terms("10/s", "1", NULL);
	assert_int_equal(replay_begin(&replay, &limit, 1, 1000), 0);
	for (uint64_t i = 0; i < 100000; i++) {
		struct arrival arrival = {.cost_micro = TERMS_MICRO, .key = "k"};
		const struct due due = {NOON * SECOND + i * 1000000, &arrival, 0};

		/* every key again 20 ms later: 50 or 60 buckets at a time are not full */
		arrival.hash = hash_of(i / 40 * 20 + i % 20);
		replay_take(&replay, &due, 1);
		refused += i % 40 >= 20;
	}
	assert_int_equal(limit.refused, refused);
	assert_int_equal(replay.table.evicted, 0);
	assert_true(replay.table.recycled > 0);
	assert_false(replay_is_exact(&replay));
	assert_true(replay_keys(&replay) > 48500 && replay_keys(&replay) < 51500);
	assert_true(replay_hit(&replay, &limit) > 48500 && replay_hit(&replay, &limit) < 51500);
	replay_free(&replay);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_times),	    cmocka_unit_test(test_days),
		cmocka_unit_test(test_combined),    cmocka_unit_test(test_columns),
		cmocka_unit_test(test_costs),	    cmocka_unit_test(test_broken_lines),
		cmocka_unit_test(test_json),	    cmocka_unit_test(test_names_of_json),
		cmocka_unit_test(test_fields),	    cmocka_unit_test(test_lineup),
		cmocka_unit_test(test_lineup_gaps), cmocka_unit_test(test_lineup_full),
		cmocka_unit_test(test_table),	    cmocka_unit_test(test_table_full),
		cmocka_unit_test(test_distinct),    cmocka_unit_test(test_offenders),
		cmocka_unit_test(test_timeline),    cmocka_unit_test(test_timeline_ends),
		cmocka_unit_test(test_sweep),	    cmocka_unit_test(test_replay),
		cmocka_unit_test(test_decades),	    cmocka_unit_test(test_windows),
		cmocka_unit_test(test_small_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
