/* SPDX-License-Identifier: Apache-2.0
 *
 * weirctl simulate, as a program, on the logs in tests/ctl/logs (nginx wrote its own under a load
 * of curl: see tests/real/access_log.sh) and on what is made of them: compressed, out of order, cut
 * in pieces, broken. What it says is held against an oracle that reads the logs by other means and
 * has a bucket with exact fractions for each key.
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
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>

#include "console.h"
#include "stage.h"
#include "thread_sanitizer.h"

#define SECOND 1000000000ull
#define COMMON WEIRCTL_LOGS "/nginx-common.log"
#define COMBINED WEIRCTL_LOGS "/nginx-combined.log"
#define JSON WEIRCTL_LOGS "/nginx-json.log"
#define CADDY WEIRCTL_LOGS "/caddy.json"
#define COLUMNS WEIRCTL_LOGS "/columns.log"
#define REQUESTS_MAX 1000
#define BYTES_MAX (1 << 20)

__extension__ typedef __int128 wide;

static struct outcome outcome;

/* ---- files ---- */

static char *read_file(const char *path, size_t *bytes)
{
	FILE *file = fopen(path, "re");
	char *text = malloc(BYTES_MAX);

	assert_non_null(file);
	assert_non_null(text);
	*bytes = fread(text, 1, BYTES_MAX - 1, file);
	text[*bytes] = '\0';
	fclose(file);
	return text;
}

static const char *write_file(const struct stage *stage, const char *name, const void *text,
			      size_t bytes)
{
	static char paths[8][128];
	static unsigned next;
	char *path = paths[next++ % 8];
	FILE *file;

	snprintf(path, sizeof(paths[0]), "%s/%s", stage->dir, name);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, bytes, file), bytes);
	assert_int_equal(fclose(file), 0);
	return path;
}

/* The file compressed; `cut` bytes are taken off its end. */
static const char *write_gzip(const struct stage *stage, const char *name, const char *text,
			      size_t bytes, size_t cut)
{
	static char packed[BYTES_MAX];
	z_stream stream = {.zalloc = Z_NULL};

	assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY),
			 Z_OK);
	stream.next_in = (Bytef *)(uintptr_t)text;
	stream.avail_in = (unsigned)bytes;
	stream.next_out = (Bytef *)packed;
	stream.avail_out = sizeof(packed);
	assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
	assert_int_equal(deflateEnd(&stream), Z_OK);
	return write_file(stage, name, packed, stream.total_out - cut);
}

/* ---- the oracle ---- */

struct request {
	uint64_t ns;
	size_t order;
	char key[64];
	uint64_t cost;
	bool whole;
};

struct log {
	struct request requests[REQUESTS_MAX];
	size_t count;
};

/* A limit: `rate` tokens each `period` s; with `window` s renewed as a whole. */
struct limit {
	const char *rate_text;
	const char *burst_text;
	const char *window_text;
	uint64_t rate;
	uint64_t period;
	uint64_t burst;
	uint64_t window;
};

struct result {
	int64_t admitted;
	int64_t refused;
	int64_t keys;
	int64_t hit;
	char worst[64];
	int64_t worst_refused;
};

static void add_request(struct log *log, const char *key, uint64_t ns, bool whole, uint64_t cost)
{
	struct request *request = &log->requests[log->count];

	assert_true(log->count < REQUESTS_MAX);
	*request = (struct request){.ns = ns, .order = log->count++, .cost = cost, .whole = whole};
	snprintf(request->key, sizeof(request->key), "%s", key);
}

static void read_text_log(struct log *log, char *text)
{
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		char key[64], time[64];
		struct tm parts = {.tm_sec = 0};
		unsigned cost;

		assert_int_equal(
			sscanf(line, "%63s %*s %*s [%63[^]]] \"%*[^\"]\" %*d %u", key, time, &cost),
			3);
		assert_non_null(strptime(time, "%d/%b/%Y:%H:%M:%S %z", &parts));

		long east = parts.tm_gmtoff;

		add_request(log, key, (uint64_t)(timegm(&parts) - east) * SECOND, true, cost);
	}
}

/* Members by name; the key may be one of `within`. */
static void read_json_log(struct log *log, char *text, const char *within, const char *key,
			  const char *time, const char *cost)
{
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		json_t *root = json_loads(line, 0, NULL);
		json_t *holder = within ? json_object_get(root, within) : root;
		double at = json_number_value(json_object_get(root, time));

		assert_non_null(root);
		/* milliseconds, which a double has exactly once it is rounded to them */
		add_request(log, json_string_value(json_object_get(holder, key)),
			    (uint64_t)(at * 1000 + 0.5) * 1000000, false,
			    (uint64_t)json_integer_value(json_object_get(root, cost)));
		json_decref(root);
	}
}

static void read_columns(struct log *log, char *text)
{
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		unsigned long long ms;
		unsigned cost;
		char key[64];

		assert_int_equal(sscanf(line, "%llu %63s %u", &ms, key, &cost), 3);
		add_request(log, key, ms * 1000000, false, cost);
	}
}

static int by_time(const void *a, const void *b)
{
	const struct request *left = a;
	const struct request *right = b;

	if (left->ns != right->ns)
		return left->ns < right->ns ? -1 : 1;
	return left->order < right->order ? -1 : 1;
}

/* Puts them in order, and those of one second evenly into it. */
static void put_in_order(struct log *log, bool at_once)
{
	size_t next;

	qsort(log->requests, log->count, sizeof(log->requests[0]), by_time);
	for (size_t i = 0; i < log->count && !at_once; i = next) {
		for (next = i; next < log->count && log->requests[next].ns == log->requests[i].ns;)
			next++;
		for (size_t at = i; at < next && log->requests[i].whole; at++)
			log->requests[at].ns += (at - i) * SECOND / (next - i);
	}
}

struct bucket_of {
	char key[64];
	wide level; /* tokens * period * 10^9 */
	uint64_t ns;
	uint64_t refused;
};

static bool draw(struct bucket_of *bucket, const struct limit *limit, const struct request *request,
		 uint64_t cost)
{
	wide token = (wide)limit->period * (wide)SECOND;

	if (limit->window == 0)
		bucket->level += (wide)(request->ns - bucket->ns) * limit->rate;
	else if (request->ns / (limit->window * SECOND) != bucket->ns / (limit->window * SECOND))
		bucket->level = limit->burst * token;
	if (bucket->level > limit->burst * token)
		bucket->level = limit->burst * token;
	bucket->ns = request->ns;
	if (bucket->level < cost * token) {
		bucket->refused++;
		return false;
	}
	bucket->level -= cost * token;
	return true;
}

static struct result judge(const struct log *log, const struct limit *limit, bool by_cost)
{
	static struct bucket_of buckets[REQUESTS_MAX];
	struct result result = {.admitted = 0};

	memset(buckets, 0, sizeof(buckets));
	for (size_t i = 0; i < log->count; i++) {
		const struct request *request = &log->requests[i];
		int64_t at = 0;

		while (at < result.keys && strcmp(buckets[at].key, request->key) != 0)
			at++;
		if (at == result.keys) {
			strcpy(buckets[at].key, request->key);
			buckets[at].ns = request->ns;
			buckets[at].level = limit->burst * (wide)limit->period * (wide)SECOND;
			result.keys++;
		}
		if (draw(&buckets[at], limit, request, by_cost ? request->cost : 1))
			result.admitted++;
		else
			result.refused++;
	}
	for (int64_t at = 0; at < result.keys; at++) {
		result.hit += buckets[at].refused > 0;
		if ((int64_t)buckets[at].refused <= result.worst_refused)
			continue;
		result.worst_refused = (int64_t)buckets[at].refused;
		strcpy(result.worst, buckets[at].key);
	}
	return result;
}

/* A token takes whole nanoseconds to come, so that a fraction of one never decides. */
static const struct limit limits[] = {
	{"2/s", "5", NULL, 2, 1, 5, 0},	   {"1/s", "1", NULL, 1, 1, 1, 0},
	{"30/min", "3", NULL, 1, 2, 3, 0}, {"10/2s", "2", NULL, 5, 1, 2, 0},
	{"0", "4", NULL, 0, 1, 4, 0},	   {"10/min", NULL, "1min", 0, 1, 10, 60},
	{"5/2s", NULL, "2s", 0, 1, 5, 2},
};

/* Runs with a limit, and the arguments behind it. */
static json_t *run_limit(const struct stage *stage, const struct limit *limit,
			 const char *const *arguments)
{
	const char *all[24] = {"simulate", "--json", "--rate", limit->rate_text};
	size_t count = 4;

	if (limit->burst_text) {
		all[count++] = "--burst";
		all[count++] = limit->burst_text;
	}
	if (limit->window_text) {
		all[count++] = "--window";
		all[count++] = limit->window_text;
	}
	while (*arguments)
		all[count++] = *arguments++;
	stage_run(stage, &outcome, all);
	expect_status(&outcome, 0);
	assert_string_equal(outcome.err, "");
	return parse_json(&outcome);
}

static void expect_result(json_t *root, const struct result *result)
{
	json_t *worst = json_array_get(json_object_get(root, "worst"), 0);

	assert_int_equal(json_whole(root, "admitted"), result->admitted);
	assert_int_equal(json_whole(root, "refused"), result->refused);
	assert_int_equal(json_whole(root, "requests"), result->admitted + result->refused);
	assert_int_equal(json_whole(root, "keys"), result->keys);
	assert_int_equal(json_whole(root, "keys_hit"), result->hit);
	assert_true(json_flag(root, "keys_exact"));
	assert_int_equal(json_array_size(json_object_get(root, "worst")),
			 result->hit < 10 ? result->hit : 10);
	if (result->hit) {
		assert_int_equal(json_whole(worst, "refused"), result->worst_refused);
		assert_int_equal(json_whole(worst, "refused_over"), 0);
	}
}

/* What is said over time comes to the same as the whole. */
static void expect_sums(json_t *root)
{
	int64_t admitted = 0;
	int64_t refused = 0;
	int64_t skipped = 0;
	json_t *row;
	size_t i;

	json_array_foreach(json_object_get(root, "over_time"), i, row)
	{
		admitted += json_whole(row, "admitted");
		refused += json_whole(row, "refused");
	}
	assert_int_equal(admitted, json_whole(root, "admitted"));
	assert_int_equal(refused, json_whole(root, "refused"));
	json_array_foreach(json_object_get(root, "skips"), i, row)
	{
		skipped += json_whole(row, "lines");
		assert_true(json_whole(row, "first_line") > 0);
	}
	assert_int_equal(skipped, json_whole(root, "skipped"));
	assert_int_equal(json_whole(root, "lines"), admitted + refused + skipped);
}

#define EXPECT(stage, log, by_cost, ...)                                                           \
	expect_all(stage, log, by_cost, (const char *const[]){__VA_ARGS__, NULL})

static void expect_all(const struct stage *stage, const struct log *log, bool by_cost,
		       const char *const *arguments)
{
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		struct result result = judge(log, &limits[i], by_cost);
		json_t *root = run_limit(stage, &limits[i], arguments);

		assert_int_equal(json_whole(root, "skipped"), 0);
		expect_result(root, &result);
		expect_sums(root);
		json_decref(root);
	}
}

static void load_text(struct log *log, const char *path, bool at_once)
{
	size_t bytes;
	char *text = read_file(path, &bytes);

	log->count = 0;
	read_text_log(log, text);
	put_in_order(log, at_once);
	free(text);
}

static void load_json(struct log *log)
{
	size_t bytes;
	char *text = read_file(JSON, &bytes);

	log->count = 0;
	read_json_log(log, text, NULL, "remote_addr", "msec", "bytes");
	put_in_order(log, false);
	free(text);
}

/* ---- formats ---- */

static void test_text(void **state)
{
	static struct log log;

	load_text(&log, COMMON, false);
	assert_true(log.count > 200);
	EXPECT(*state, &log, false, COMMON);
	EXPECT(*state, &log, false, COMBINED);
	EXPECT(*state, &log, false, "--key", "address", "--time", "time", COMBINED);
	load_text(&log, COMMON, true);
	EXPECT(*state, &log, false, "--at-once", COMBINED);
	EXPECT(*state, &log, false, "--at-once", "--key", "1", "--time", "4", COMMON);
}

static void test_json(void **state)
{
	static struct log log;
	size_t bytes;
	char *text;

	load_json(&log);
	EXPECT(*state, &log, false, JSON);
	EXPECT(*state, &log, false, "--key", "remote_addr", "--time", "msec", "--at-once", JSON);
	/* the other time in it has whole seconds */
	load_text(&log, COMMON, true);
	EXPECT(*state, &log, false, "--time", "time", "--at-once", JSON);
	text = read_file(CADDY, &bytes);
	log.count = 0;
	read_json_log(&log, text, "request", "client_ip", "ts", "size");
	put_in_order(&log, false);
	free(text);
	EXPECT(*state, &log, false, CADDY);
	expect_text(outcome.out, "\"key\": \"request.client_ip\"");
}

static void test_columns(void **state)
{
	static struct log log;
	size_t bytes;
	char *text = read_file(COLUMNS, &bytes);

	log.count = 0;
	read_columns(&log, text);
	put_in_order(&log, false);
	free(text);
	EXPECT(*state, &log, false, "--time", "1", "--key", "2", COLUMNS);
	EXPECT(*state, &log, true, "--time", "1", "--key", "2", "--cost", "3", COLUMNS);
}

/* Costs above the burst never pass; what was drawn is told in tokens, too. */
static void test_costs(void **state)
{
	static struct log log;
	const struct limit limit = {"1000/s", "2000", NULL, 1000, 1, 2000, 0};
	struct result result;
	int64_t above = 0;
	json_t *root;
	size_t bytes;
	char *text = read_file(CADDY, &bytes);

	log.count = 0;
	read_json_log(&log, text, "request", "client_ip", "ts", "size");
	put_in_order(&log, false);
	free(text);
	result = judge(&log, &limit, true);
	for (size_t i = 0; i < log.count; i++)
		above += log.requests[i].cost > 2000;
	assert_true(above > 0 && result.refused > above);
	root = run_limit(*state, &limit, (const char *const[]){"--cost", "size", CADDY, NULL});
	expect_result(root, &result);
	assert_int_equal(json_whole(root, "refused_never"), above);
	assert_true(json_number(root, "admitted_tokens") > 0);
	json_decref(root);
}

/* ---- logs as they are kept ---- */

static void test_gzip(void **state)
{
	static struct log log;
	static char two[BYTES_MAX];
	struct stage *stage = *state;
	size_t bytes, half, first_bytes, second_bytes;
	char *text = read_file(COMBINED, &bytes);
	char *first, *second;

	load_text(&log, COMMON, false);
	EXPECT(stage, &log, false, write_gzip(stage, "a.gz", text, bytes, 0));
	/* by its content, not by its name; and members one behind the other, and padding */
	half = (size_t)(strchr(text + bytes / 2, '\n') - text) - 20;
	first = read_file(write_gzip(stage, "1", text, half, 0), &first_bytes);
	second = read_file(write_gzip(stage, "2", text + half, bytes - half, 0), &second_bytes);
	memcpy(two, first, first_bytes);
	memcpy(two + first_bytes, second, second_bytes);
	memset(two + first_bytes + second_bytes, 0, 512);
	EXPECT(stage, &log, false,
	       write_file(stage, "access.log", two, first_bytes + second_bytes + 512));
	free(first);
	free(second);
	free(text);
}

/* What can be read counts, and it says that this is not all: the exit status is 2. */
static void test_broken_gzip(void **state)
{
	struct stage *stage = *state;
	size_t bytes, packed_bytes;
	char *text = read_file(COMBINED, &bytes);
	char *packed = read_file(write_gzip(stage, "whole", text, bytes, 0), &packed_bytes);
	json_t *root;

	RUN(stage, &outcome, "simulate", "--json", "--rate", "2/s",
	    write_gzip(stage, "cut.gz", text, bytes, 40));
	expect_status(&outcome, 2);
	expect_text(outcome.err, "cut.gz, behind line ");
	expect_text(outcome.err, "the gzip stream is cut short; what was read until there");
	root = parse_json(&outcome);
	assert_true(json_whole(root, "requests") > 100);
	assert_string_equal(json_text(json_array_get(json_object_get(root, "logs"), 0), "fault"),
			    "the gzip stream is cut short");
	json_decref(root);
	memset(packed + packed_bytes / 2, 0x55, 20);
	RUN(stage, &outcome, "simulate", "--json", "--rate", "2/s",
	    write_file(stage, "damaged.gz", packed, packed_bytes));
	expect_status(&outcome, 2);
	expect_text(outcome.err, "the gzip stream is damaged");
	free(packed);
	packed = read_file(write_gzip(stage, "whole", text, bytes, 0), &packed_bytes);
	memcpy(packed + packed_bytes, "junk", 4);
	RUN(stage, &outcome, "simulate", "--json", "--rate", "2/s",
	    write_file(stage, "trailed.gz", packed, packed_bytes + 4));
	expect_status(&outcome, 2);
	expect_text(outcome.err, "what follows is no gzip stream");
	free(packed);
	free(text);
}

/* A shell's command line, as its output. */
static json_t *run_shell(const char *line)
{
	FILE *pipe = popen(line, "re");
	size_t bytes;

	assert_non_null(pipe);
	bytes = fread(outcome.out, 1, sizeof(outcome.out) - 1, pipe);
	outcome.out[bytes] = '\0';
	outcome.status = pclose(pipe);
	expect_status(&outcome, 0);
	return parse_json(&outcome);
}

static void test_standard_input(void **state)
{
	static struct log log;
	struct result result;
	json_t *root;

	(void)state;
	load_json(&log);
	result = judge(&log, &limits[0], false);
	root = run_shell(WEIRCTL_PROGRAM " simulate --json --rate 2/s --burst 5 - <" JSON);
	expect_result(root, &result);
	json_decref(root);
	root = run_shell("gzip -c " JSON " | " WEIRCTL_PROGRAM
			 " simulate --json --rate 2/s --burst 5 -");
	expect_result(root, &result);
	assert_string_equal(json_text(json_array_get(json_object_get(root, "logs"), 0), "name"),
			    "standard input");
	json_decref(root);
}

/* Lines of a log in three files, as rotation or three servers leave them, in any order. */
static void test_several(void **state)
{
	static struct log log;
	static char parts[3][BYTES_MAX];
	struct stage *stage = *state;
	size_t used[3] = {0};
	size_t bytes, number = 0;
	char *text = read_file(JSON, &bytes);
	const char *a, *b, *c;

	load_json(&log);
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		unsigned part = number < 20 ? 2 : number++ % 2;

		number += part == 2;
		used[part] += (size_t)sprintf(parts[part] + used[part], "%s\n", line);
	}
	a = write_file(stage, "a", parts[0], used[0]);
	b = write_file(stage, "b", parts[1], used[1]);
	c = write_gzip(stage, "c", parts[2], used[2], 0);
	EXPECT(stage, &log, false, a, b, c);
	EXPECT(stage, &log, false, c, b, a);
	EXPECT(stage, &log, false, b, "--slack", "0s", c, a);
	free(text);
}

/* ---- lines out of order ---- */

/* Lines of one column of ms and one of a key. */
static const char *write_lines(const struct stage *stage, const uint64_t *ms, size_t count)
{
	static char text[BYTES_MAX];
	size_t used = 0;

	for (size_t i = 0; i < count; i++)
		used += (size_t)sprintf(text + used, "%llu key%llu\n", (unsigned long long)ms[i],
					(unsigned long long)ms[i] % 3);
	return write_file(stage, "lines", text, used);
}

#define LINES "--time", "1", "--key", "2"

static void test_out_of_order(void **state)
{
	static struct log log;
	static uint64_t ms[600];
	struct stage *stage = *state;
	uint64_t random = 88172645463325252ull;

	log.count = 0;
	for (size_t i = 0; i < 600; i++) {
		char key[32];

		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		/* 4.9 s late at most, and 10 ms on each time */
		ms[i] = 1796040000000 + i * 10 - random % 490 * 10;
		snprintf(key, sizeof(key), "key%llu", (unsigned long long)ms[i] % 3);
		add_request(&log, key, ms[i] * 1000000, false, 1);
	}
	put_in_order(&log, false);
	EXPECT(stage, &log, false, LINES, write_lines(stage, ms, 600));
	EXPECT(stage, &log, false, LINES, "--slack", "5s", write_lines(stage, ms, 600));
	EXPECT(stage, &log, false, LINES, "--slack", "1h", write_lines(stage, ms, 600));
}

static json_t *run_lines(const struct stage *stage, const uint64_t *ms, size_t count)
{
	RUN(stage, &outcome, "simulate", "--json", "--rate", "2/s", LINES,
	    write_lines(stage, ms, count));
	expect_status(&outcome, 0);
	return parse_json(&outcome);
}

/* A clock that goes back, and one that is wrong for a line. */
static void test_late_and_ahead(void **state)
{
	const uint64_t t = 1796040000000;
	const uint64_t back[] = {t,	    t + 60000, t + 1000, t + 61000,
				 t + 51000, t + 49999, t + 50000};
	const uint64_t ahead[] = {t + 900000000, t,	    t + 1000, t + 500000,
				  t + 2000,	 t + 20000, t + 20001};
	json_t *root = run_lines(*state, back, 7);
	json_t *skips = json_object_get(root, "skips");

	/* t + 60000 is ahead of both its neighbours */
	assert_int_equal(json_whole(root, "requests"), 4);
	assert_int_equal(json_whole(root, "skipped"), 3);
	assert_int_equal(json_whole(find_object(skips, "reason", "ahead"), "lines"), 1);
	assert_int_equal(json_whole(find_object(skips, "reason", "ahead"), "first_line"), 2);
	expect_sums(root);
	json_decref(root);
	root = run_lines(*state, ahead, 7);
	skips = json_object_get(root, "skips");
	assert_int_equal(json_whole(root, "requests"), 5);
	assert_int_equal(json_whole(find_object(skips, "reason", "ahead"), "lines"), 2);
	assert_string_equal(json_text(root, "last"), "2026-11-30T12:00:20Z");
	expect_sums(root);
	json_decref(root);
}

/* ---- broken logs ---- */

static void test_broken_lines(void **state)
{
	static const char good[] =
		"192.0.2.1 - - [30/Nov/2026:12:00:00 +0000] \"GET / HTTP/1.1\" 200 5\n";
	static char text[BYTES_MAX + 70000];
	struct stage *stage = *state;
	size_t used = 0;
	json_t *root;
	json_t *skips;

#define ADD(what) (memcpy(text + used, what, sizeof(what) - 1), used += sizeof(what) - 1)
	ADD(good);
	ADD("\n");
	ADD("\0\0\0\0\0\0\n");
	memset(text + used, 'x', BYTES_MAX - 1000);
	used += BYTES_MAX - 1000;
	ADD("\n");
	ADD(good);
	/* as long as a line may be, and one byte more */
	memset(text + used, ' ', 65536 + 1);
	memcpy(text + used, good, sizeof(good) - 2);
	used += 65536;
	ADD("\n");
	ADD("192.0.2.1 - - [30/Nov/2026:12:00:00 +0000] \"GET / HT\n");
	ADD("192.0.2.1 - - [31/Nov/2026:12:00:00 +0000] \"GET / HTTP/1.1\" 200 5\n");
	ADD("{\"remote_addr\":\"192.0.2.9\",\"msec\":1796040001\n");
	ADD("{\"remote_addr\":\"192.0.2.9\",\"msec\":1796040001}\n");
	ADD("- - - [30/Nov/2026:12:00:00 +0000] \"GET / HTTP/1.1\" 200 5\n");
	/* the last one has no end */
	memcpy(text + used, good, sizeof(good) - 2);
	used += sizeof(good) - 2;
	RUN(stage, &outcome, "simulate", "--json", "--rate", "2/s", "--burst", "2",
	    write_file(stage, "broken", text, used));
	expect_status(&outcome, 0);
	root = parse_json(&outcome);
	skips = json_object_get(root, "skips");
	assert_int_equal(json_whole(root, "lines"), 12);
	assert_int_equal(json_whole(root, "admitted"), 4);
	assert_int_equal(json_whole(root, "refused"), 1);
	assert_int_equal(json_whole(find_object(skips, "reason", "empty"), "first_line"), 2);
	assert_int_equal(json_whole(find_object(skips, "reason", "nul"), "first_line"), 3);
	assert_int_equal(json_whole(find_object(skips, "reason", "long"), "first_line"), 4);
	assert_int_equal(json_whole(find_object(skips, "reason", "long"), "lines"), 1);
	assert_int_equal(json_whole(find_object(skips, "reason", "form"), "first_line"), 7);
	assert_int_equal(json_whole(find_object(skips, "reason", "form"), "lines"), 2);
	assert_int_equal(json_whole(find_object(skips, "reason", "time"), "first_line"), 8);
	assert_int_equal(json_whole(find_object(skips, "reason", "key"), "first_line"), 11);
	expect_sums(root);
	json_decref(root);
	RUN(stage, &outcome, "simulate", "--rate", "2/s", write_file(stage, "broken", text, used));
	expect_status(&outcome, 0);
	expect_text(outcome.out, "1 NUL bytes; the first: line 3 of ");
	expect_text(outcome.out, "2 not of a form that is known; the first: line 7 of ");
#undef ADD
}

static void expect_failure(const char *text)
{
	expect_status(&outcome, 2);
	assert_string_equal(outcome.out, "");
	expect_text(outcome.err, text);
}

static void test_no_log(void **state)
{
	struct stage *stage = *state;
	json_t *root;

	RUN(stage, &outcome, "simulate", "--rate", "2/s", "/no/such.log");
	expect_failure("/no/such.log: No such file or directory");
	RUN(stage, &outcome, "simulate", "--rate", "2/s", JSON, stage->dir);
	expect_failure("it is a directory: name the files in it");
	RUN(stage, &outcome, "simulate", "--rate", "2/s",
	    write_file(stage, "a", "\x28\xb5\x2f\xfd....", 8));
	expect_failure("not by gzip: zstdcat LOG | weirctl simulate ... -");
	RUN(stage, &outcome, "simulate", "--rate", "2/s", "-", "-");
	expect_failure("standard input (-) can be one log");
	RUN(stage, &outcome, "simulate", "--rate", "2/s", "--key", "colour", COMBINED);
	expect_failure("210 without the key colour, as line 1 of ");
	expect_failure("or one of address ident user");
	RUN(stage, &outcome, "simulate", "--rate", "2/s", "--key", "colour", JSON);
	expect_failure("no request in 210 lines: 210 without the key colour");
	RUN(stage, &outcome, "simulate", "--rate", "2/s", "/etc/passwd");
	expect_failure("not of a form that is known, as line 1 of /etc/passwd");
	/* no traffic is no fault */
	RUN(stage, &outcome, "simulate", "--json", "--rate", "2/s", "/dev/null",
	    write_file(stage, "empty", "", 0));
	expect_status(&outcome, 0);
	root = parse_json(&outcome);
	assert_int_equal(json_whole(root, "lines"), 0);
	assert_int_equal(json_whole(root, "admitted"), 0);
	assert_true(json_is_null(json_object_get(root, "first")));
	json_decref(root);
	RUN(stage, &outcome, "simulate", "--rate", "2/s", write_gzip(stage, "e.gz", "", 0, 0));
	expect_status(&outcome, 0);
}

/* ---- keys ---- */

static void test_fold(void **state)
{
	static const char text[] = "1 2001:db8:1:2:3::4\n1 2001:DB8:1:2::9\n1 2001:db8:1:3::9\n"
				   "1 192.0.2.1\n1 ::ffff:192.0.2.1\n1 192.0.2.77\n1 host\n"
				   "1 ::ffff:1:2\n";
	struct stage *stage = *state;
	const char *path = write_file(stage, "addresses", text, sizeof(text) - 1);
	json_t *root;

	RUN(stage, &outcome, "simulate", "--json", "--rate", "0", "--burst", "1", LINES, path);
	root = parse_json(&outcome);
	assert_int_equal(json_whole(root, "keys"), 8);
	json_decref(root);
	RUN(stage, &outcome, "simulate", "--json", "--rate", "0", LINES, "--fold", "64", path);
	root = parse_json(&outcome);
	assert_int_equal(json_whole(root, "keys"), 6);
	assert_int_equal(json_whole(root, "refused"), 2);
	assert_non_null(find_object(json_object_get(root, "worst"), "key", "2001:db8:1:2::/64"));
	assert_non_null(find_object(json_object_get(root, "worst"), "key", "192.0.2.1"));
	json_decref(root);
	RUN(stage, &outcome, "simulate", "--json", "--rate", "0", LINES, "--fold", "47,25", path);
	root = parse_json(&outcome);
	assert_int_equal(json_whole(root, "keys"), 4);
	assert_non_null(find_object(json_object_get(root, "worst"), "key", "192.0.2.0/25"));
	json_decref(root);
}

/* Memory has a bound: what it costs is told. */
static void test_few_keys(void **state)
{
	static char text[BYTES_MAX];
	struct stage *stage = *state;
	size_t used = 0;
	const char *path;
	json_t *root;

	for (unsigned i = 0; i < 20000; i++)
		used += (size_t)sprintf(text + used, "%u.%03u key%u\n", 1000 + i / 1000, i % 1000,
					i);
	path = write_file(stage, "many", text, used);
	RUN(stage, &outcome, "simulate", "--json", "--rate", "100/s", "--burst", "1", LINES, path);
	root = parse_json(&outcome);
	assert_true(json_flag(root, "keys_exact"));
	assert_int_equal(json_whole(root, "keys"), 20000);
	json_decref(root);
	RUN(stage, &outcome, "simulate", "--json", "--rate", "100/s", "--burst", "1", LINES,
	    "--keys", "1K", path);
	root = parse_json(&outcome);
	assert_false(json_flag(root, "keys_exact"));
	assert_in_range(json_whole(root, "keys"), 19200, 20800);
	assert_true(json_whole(root, "table_recycled") > 18000);
	assert_int_equal(json_whole(root, "table_evicted"), 0);
	assert_true(json_whole(root, "table_bytes") < 24000);
	json_decref(root);
	RUN(stage, &outcome, "simulate", "--rate", "1/h", "--burst", "1", LINES, "--keys", "1000",
	    path);
	expect_status(&outcome, 0);
	expect_text(outcome.out, " times one that was not, which was forgotten (see --keys)");
	expect_text(outcome.out, "about ");
	expect_text(outcome.out, "(estimated, +- 0.8 %)");
}

/* A log of so many lines, each of a key of its own, a thousand a second. */
static const char *write_many(const struct stage *stage, unsigned lines)
{
	static char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%u-lines", stage->dir, lines);
	file = fopen(path, "we");
	assert_non_null(file);
	for (unsigned i = 0; i < lines; i++)
		assert_true(fprintf(file, "%u.%03u key%u\n", 1000 + i / 1000, i % 1000, i) > 0);
	assert_int_equal(fclose(file), 0);
	return path;
}

/* The most memory that a run had, in KiB. */
static long peak_kib(const char *path)
{
	struct rusage usage;
	int status;
	pid_t child;

	fflush(NULL);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(null, STDOUT_FILENO);
		execl(stage_program, stage_program, "simulate", "--rate", "1/s", "--keys", "1K",
		      LINES, path, (char *)NULL);
		_exit(127);
	}
	assert_int_equal(wait4(child, &status, 0, &usage), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	return usage.ru_maxrss;
}

/* Four hundred thousand keys take no more than twenty thousand, where a table has room for 1000. */
static void test_memory_is_bounded(void **state)
{
	struct stage *stage = *state;
	long few, many;

	if (UNDER_SANITIZER) {
		print_message("skipped: a sanitizer keeps what is freed\n");
		skip();
	}
	few = peak_kib(write_many(stage, 20000));
	many = peak_kib(write_many(stage, 400000));
	print_message("%ld KiB for 20000 keys, %ld KiB for 400000\n", few, many);
	/* as exact ones they would be 9 MiB more */
	assert_true(many < few + 2048);
}

/* ---- sweeps and pictures ---- */

static void test_sweep(void **state)
{
	static struct log log;
	struct stage *stage = *state;
	json_t *root, *row;
	size_t i;

	load_json(&log);
	RUN(stage, &outcome, "simulate", "--json", "--sweep", "rate=1/s..10/s", JSON);
	expect_status(&outcome, 0);
	root = parse_json(&outcome);
	assert_int_equal(json_array_size(json_object_get(root, "sweep")), 10);
	json_array_foreach(json_object_get(root, "sweep"), i, row)
	{
		const struct limit limit = {NULL, NULL, NULL, i + 1, 1, i + 1, 0};
		struct result result = judge(&log, &limit, false);

		if (SECOND % (i + 1) != 0)
			continue; /* a token does not come at a whole nanosecond */
		assert_int_equal(json_whole(row, "admitted"), result.admitted);
		assert_int_equal(json_whole(row, "refused"), result.refused);
		assert_int_equal(json_whole(row, "keys_hit"), result.hit);
	}
	json_decref(root);
	RUN(stage, &outcome, "simulate", "--json", "--rate", "2/s", "--sweep", "burst=1..30", JSON);
	expect_status(&outcome, 0);
	root = parse_json(&outcome);
	assert_int_equal(json_array_size(json_object_get(root, "sweep")), 30);
	json_array_foreach(json_object_get(root, "sweep"), i, row)
	{
		const struct limit limit = {NULL, NULL, NULL, 2, 1, i + 1, 0};
		struct result result = judge(&log, &limit, false);

		assert_int_equal(json_whole(row, "admitted"), result.admitted);
	}
	json_decref(root);
	RUN(stage, &outcome, "simulate", "--sweep", "rate=1/s..10/s", JSON);
	expect_status(&outcome, 0);
	expect_text(outcome.out, "RATE  BURST  ADMITTED  REFUSED  % REFUSED  KEYS REFUSED\n");
	expect_text(outcome.out, "\n10/s     10 ");
}

/* 9 of 1000 are 0.90 percent, and not the digits of a double that is a little below 0.9. */
static void test_percentages(void **state)
{
	static char text[32 * 1000];
	struct stage *stage = *state;
	const char *path;
	size_t used = 0;

	for (int i = 0; i < 1000; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "1000.%03d key\n", i);
	path = write_file(stage, "thousand", text, used);
	RUN(stage, &outcome, "simulate", "--rate", "1/h", "--sweep", "burst=991..992", "--time",
	    "1", "--key", "2", path);
	expect_status(&outcome, 0);
	expect_text(outcome.out, "  991       991        9       0.90  ");
	RUN(stage, &outcome, "simulate", "--rate", "1/h", "--burst", "991", "--time", "1", "--key",
	    "2", path);
	expect_text(outcome.out, "key        9    100.00\n");
}

static bool have_gnuplot(void)
{
	return system("command -v gnuplot >/dev/null 2>&1") == 0;
}

static void expect_picture(const struct stage *stage, const char *name, const char *magic,
			   const char *option, const char *value)
{
	char path[128];
	size_t bytes;
	char *picture;

	snprintf(path, sizeof(path), "%s/it's %s", stage->dir, name);
	RUN(stage, &outcome, "simulate", option, value, "--plot", path, JSON);
	expect_status(&outcome, 0);
	assert_string_equal(outcome.err, "");
	picture = read_file(path, &bytes);
	assert_true(bytes > 2000);
	assert_non_null(memmem(picture, bytes, magic, strlen(magic)));
	free(picture);
}

static void test_plot(void **state)
{
	struct stage *stage = *state;

	RUN(stage, &outcome, "simulate", "--rate", "1/s", "--plot", "a.gif", JSON);
	expect_failure("--plot a.gif: the name of a plot ends with .svg or .png");
	assert_int_equal(setenv("WEIR_TEST_PATH", getenv("PATH"), 1), 0);
	assert_int_equal(setenv("PATH", "/nowhere", 1), 0);
	RUN(stage, &outcome, "simulate", "--rate", "1/s", "--plot", "a.svg", JSON);
	assert_int_equal(setenv("PATH", getenv("WEIR_TEST_PATH"), 1), 0);
	expect_failure("it takes gnuplot, which is not installed (Debian: gnuplot-nox)");
	if (!have_gnuplot())
		skip(); /* ./bootstrap packages test installs it */
	expect_picture(stage, "a.svg", "<svg", "--sweep", "rate=1/s..10/s");
	expect_picture(stage, "b.svg", "refused", "--rate", "2/s");
	expect_picture(stage, "c.png", "\x89PNG", "--sweep", "rate=1/s..10/s");
	expect_picture(stage, "d.png", "\x89PNG", "--rate", "2/s");
	RUN(stage, &outcome, "simulate", "--rate", "1/s", "--plot", "/no/such/a.svg", JSON);
	expect_status(&outcome, 2);
	expect_text(outcome.err, "--plot /no/such/a.svg: No such file or directory");
}

/* On a terminal tables end with bars. */
static void test_terminal(void **state)
{
	static struct console console;
	struct stage *stage = *state;

	(void)stage;
	console_begin(&console, 120, 60, (const char *const[]){"LC_ALL=C", NULL},
		      (const char *const[]){WEIRCTL_PROGRAM, "simulate", "--sweep",
					    "rate=1/s..10/s", JSON, NULL});
	console_wait(&console);
	console_expect(&console, "##........");
	console_expect(&console, "million lines a second of that");
	console_end(&console);
	RUN(stage, &outcome, "simulate", "--sweep", "rate=1/s..10/s", JSON);
	expect_no_text(outcome.out, "##");
}

/* ---- misuse ---- */

static void expect_misuse(const struct stage *stage, const char *const *arguments, const char *text)
{
	stage_run(stage, &outcome, arguments);
	expect_failure(text);
}

#define MISUSE(text, ...)                                                                          \
	expect_misuse(stage, (const char *const[]){"simulate", __VA_ARGS__, JSON, NULL}, text)

static void test_misuse(void **state)
{
	struct stage *stage = *state;

	RUN(stage, &outcome, "simulate", "--rate", "1/s");
	expect_failure("simulate: something is missing: weirctl simulate --rate R");
	RUN(stage, &outcome, "simulate", JSON);
	expect_failure("which limit? --rate R, or --sweep rate=FROM..TO");
	MISUSE("--rate 5: a rate is NUMBER/[N]UNIT", "--rate", "5");
	MISUSE("--burst x: tokens are", "--rate", "5/s", "--burst", "x");
	MISUSE("--burst 0.5: a burst is at least 1 token", "--rate", "5/s", "--burst", "0.5");
	MISUSE("--window 7h: ", "--rate", "5/s", "--window", "7h");
	MISUSE("rate 5/s: the burst is below what a window brings", "--rate", "5/s", "--burst", "1",
	       "--window", "1h");
	MISUSE("columns are counted from 1", "--rate", "5/s", "--key", "0");
	MISUSE("--fold 129: bits that are kept", "--rate", "5/s", "--fold", "129");
	MISUSE("--fold 64,33: bits", "--rate", "5/s", "--fold", "64,33");
	MISUSE("--fold 64,24,1: bits", "--rate", "5/s", "--fold", "64,24,1");
	MISUSE("--fold +4: bits", "--rate", "5/s", "--fold", "+4");
	MISUSE("--slack 1.5s: whole seconds, up to 1h", "--rate", "5/s", "--slack", "1.5s");
	MISUSE("--slack 2h: whole seconds, up to 1h", "--rate", "5/s", "--slack", "2h");
	MISUSE("--slack x: a duration", "--rate", "5/s", "--slack", "x");
	MISUSE("--keys 0: a whole number from 1", "--rate", "5/s", "--keys", "0");
	MISUSE("--sweep 1..2: a sweep is rate=FROM..TO", "--sweep", "1..2");
	MISUSE("leave --rate out", "--rate", "5/s", "--sweep", "rate=1/s..2/s");
	MISUSE("leave --burst out", "--rate", "5/s", "--burst", "2", "--sweep", "burst=1..2");
	MISUSE("which limit?", "--sweep", "burst=1..2");
	MISUSE("rate 1/s: a window brings less than 1 token", "--sweep", "rate=1/s..10/s",
	       "--window", "1ms");
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, stage_set_up_empty, stage_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_text),	   CASE(test_json),	    CASE(test_columns),
		CASE(test_costs),	   CASE(test_gzip),	    CASE(test_broken_gzip),
		CASE(test_standard_input), CASE(test_several),	    CASE(test_out_of_order),
		CASE(test_late_and_ahead), CASE(test_broken_lines), CASE(test_no_log),
		CASE(test_fold),	   CASE(test_few_keys),	    CASE(test_memory_is_bounded),
		CASE(test_sweep),	   CASE(test_plot),	    CASE(test_terminal),
		CASE(test_misuse),	   CASE(test_percentages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
