/* SPDX-License-Identifier: Apache-2.0
 *
 * weirctl fields: heads of responses as they come, in sentences and as JSON.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "header_lines.h"
#include "options.h"

/* ---- heads ---- */

/* "429: name=value|name=value", and how many lines are no fields. */
static const char *read_head(const char *text, size_t bytes, size_t *stray)
{
	static char out[4096];
	struct header_lines lines;
	char *copy = malloc(bytes + 1);
	size_t used;

	assert_non_null(copy);
	memcpy(copy, text, bytes);
	assert_int_equal(header_lines_read(copy, bytes, &lines), 0);
	used = (size_t)snprintf(out, sizeof(out), "%d:", lines.status);
	for (size_t i = 0; i < lines.count; i++)
		used += (size_t)snprintf(out + used, sizeof(out) - used, "%c%.*s=%.*s",
					 i ? '|' : ' ', (int)lines.headers[i].name_bytes,
					 lines.headers[i].name, (int)lines.headers[i].value_bytes,
					 lines.headers[i].value);
	if (stray)
		*stray = lines.stray ? 100 * lines.stray + lines.stray_line : 0;
	header_lines_free(&lines);
	header_lines_free(&lines);
	free(copy);
	return out;
}

static void test_heads(void **state)
{
	static const struct {
		const char *text;
		const char *means;
		size_t stray; /* 100 times how many, and the first of them */
	} heads[] = {
		{"HTTP/1.1 429 Too Many Requests\r\nA: 1\r\nB:2\r\n\r\nC: 3", "429: A=1|B=2", 0},
		{"HTTP/2 503 \nA: 1\n", "503: A=1", 0},
		{"HTTP/2 503\nA: 1", "503: A=1", 0},
		{"HTTP/1.1 42 x\nA: 1", "0: A=1", 101},
		{"HTTP/1.1\nA: 1", "0: A=1", 101},
		{"HTTP/1.1 4x9\nA: 1", "0: A=1", 101},
		{"HTTP/1.1 099\nA: 1", "0: A=1", 101},
		{"A: 1\nHTTP/1.1 429 x\nB: 2", "0: A=1|B=2", 102},
		{"A: 1\n 2\r\n\t3 \r\nB: 4", "0: A=1  2  \t3|B=4", 0},
		{"A: 1\r\n  \r\nB: 4", "0: A=1|B=4", 0},
		{"HTTP/1.1 200 OK\n  A: 1", "200: A=1", 0},
		{"A :  1\t\n: x\nB:\nC", "0: A=1|B=", 202},
		{"< HTTP/1.1 429 x\n< A: 1\n<\tB: 2\nC: 3", "0: C=3", 301},
		{"A: 1\n 2\n\t3\nx\nB: 4", "0: A=1  2 \t3|B=4", 104},
		{"x\ny\nA: 1\nz", "0: A=1", 301},
		{"HTTP/1.1 301 x\nA: 1\nz\n\nHTTP/2 429 \nB: 2\n\nC: 3", "429: B=2", 0},
		{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nA: 1\r\nx", "200: A=1", 105},
		{"HTTP/1.1 200 OK\nA: 1\n\nHTTP/ is a protocol\nB: 2", "200: A=1", 0},
		{"\nHTTP/1.1 429 x\nA: 1", "429: A=1", 0},
		{"HTTP/1.1 429 x\n\n\nA: 1", "429:", 0},
		{"\r\nA: 1", "0:", 0},
		{"\nA: 1", "0:", 0},
		{"", "0:", 0},
		{"\r", "0:", 0},
	};
	size_t stray;

	(void)state;
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		assert_string_equal(read_head(heads[i].text, strlen(heads[i].text), &stray),
				    heads[i].means);
		assert_int_equal(stray, heads[i].stray);
	}
	assert_string_equal(read_head("A: 1\0\nB: 2", 10, &stray), "0: A=1|B=2");
}

static void test_many_lines(void **state)
{
	enum { COUNT = 300 };
	char *text = malloc(COUNT * 8);
	struct header_lines lines;
	size_t used = 0;

	(void)state;
	assert_non_null(text);
	for (int i = 0; i < COUNT; i++)
		used += (size_t)sprintf(text + used, "n: %d\n", i);
	assert_int_equal(header_lines_read(text, used, &lines), 0);
	assert_int_equal(lines.count, COUNT);
	assert_memory_equal(lines.headers[COUNT - 1].value, "299", 3);
	header_lines_free(&lines);
	free(text);
}

/* ---- the program ---- */

static char folder[] = "/tmp/weirctl-fields.XXXXXX";
static char printed[65536], complained[65536];

static void read_back(const char *name, char out[65536])
{
	char path[128];
	FILE *file;
	size_t bytes;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "r");
	assert_non_null(file);
	bytes = fread(out, 1, 65535, file);
	out[bytes] = '\0';
	fclose(file);
	unlink(path);
}

/* Runs it with these arguments, as a shell has them. Returns its exit status. */
static int run(const char *arguments, const char *input, size_t bytes)
{
	char path[128], command[2048];
	FILE *file;
	int status;

	snprintf(path, sizeof(path), "%s/in", folder);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(input, 1, bytes, file), bytes);
	assert_int_equal(fclose(file), 0);
	snprintf(command, sizeof(command), "'%s' fields %s <%s/in >%s/out 2>%s/err",
		 WEIRCTL_PROGRAM, arguments, folder, folder, folder);
	status = system(command);
	assert_true(WIFEXITED(status));
	read_back("out", printed);
	read_back("err", complained);
	unlink(path);
	return WEXITSTATUS(status);
}

static void expect_printed(const char *arguments, const char *input, const char *text)
{
	assert_int_equal(run(arguments, input, strlen(input)), 0);
	assert_string_equal(complained, "");
	assert_string_equal(printed, text);
}

static void test_sentences(void **state)
{
	(void)state;
	expect_printed("--time 1700000000",
		       "HTTP/1.1 429 Too Many Requests\r\n"
		       "Retry-After: 0.02\r\n"
		       "X-RateLimit-Limit: 10\r\n"
		       "X-RateLimit-Remaining: 3\r\n"
		       "X-RateLimit-Reset:\r\n 1700000061.5\r\n"
		       "X-RateLimit-Global: true\r\n"
		       "X-RateLimit-Bucket: a\x1b[1mb\r\n\r\n",
		       "use: the server says how long to wait\n"
		       "wait: 0.02 s, at all endpoints\n"
		       "limit a[1mb: 3 of 10 left, more in 1 min 2 s\n");
	expect_printed(
		"--status 200 --time 1700000000",
		"RateLimit-Policy: \"p\";q=65535;qu=\"content-bytes\";w=10;pk=:YQ==:\n",
		"use: the fields say what is left\n"
		"limit p: 65535 at most, counted in content-bytes, in windows of 10 s, of a\n");
	expect_printed("", "Retry-After: 99999999999999999999\n",
		       "cap: a number is too large to mean a count or a time\n"
		       "wait: more than 300 years\n");
	expect_printed("", "", "ignore: no field speaks of a limit\n");
}

/* --status goes before a status line. */
static void test_status(void **state)
{
	(void)state;
	expect_printed("--status 413", "HTTP/1.1 200 OK\n",
		       "do_not_retry: the request is larger than the limit: no wait helps\n");
	expect_printed("", "HTTP/1.1 413 x\n",
		       "do_not_retry: the request is larger than the limit: no wait helps\n");
}

static json_t *run_json(const char *arguments, const char *input)
{
	json_error_t error;
	json_t *root;

	assert_int_equal(run(arguments, input, strlen(input)), 0);
	root = json_loads(printed, 0, &error);
	if (!root)
		fail_msg("%s: %s", printed, error.text);
	return root;
}

static void expect_number(const json_t *object, const char *key, double want)
{
	const json_t *value = json_object_get(object, key);

	if (isnan(want) ? !json_is_null(value)
			: !json_is_number(value) || fabs(json_number_value(value) - want) > 1e-6)
		fail_msg("%s: %s", key, printed);
}

static void test_json(void **state)
{
	json_t *root =
		run_json("--json --time 1665397625", "HTTP/1.1 403 x\n"
						     "X-Bapi-Limit: 120\n"
						     "X-Bapi-Limit-Status: 118\n"
						     "X-Bapi-Limit-Reset-Timestamp: 1665397625986\n"
						     "RateLimit-Policy: 120;w=10, 1000;w=60\n"
						     "X-RateLimit-Scope: shared\n"
						     "X-RateLimit-Remaining-Tokens: 5\n");
	const json_t *expected = json_object_get(root, "expected");
	const json_t *limit = json_array_get(json_object_get(expected, "limits"), 0);
	const json_t *policies = json_object_get(expected, "policies");

	(void)state;
	assert_string_equal(json_string_value(json_object_get(root, "action")), "use");
	assert_string_equal(json_string_value(json_object_get(root, "reason")),
			    "the fields say what is left");
	assert_string_equal(json_string_value(json_object_get(root, "scope")), "shared");
	expect_number(root, "status", 403);
	expect_number(expected, "limit", 120);
	expect_number(expected, "remaining", 118);
	expect_number(expected, "reset_in_seconds", 0.986);
	expect_number(expected, "window_seconds", 10);
	expect_number(expected, "retry_after_seconds", NAN);
	assert_null(json_object_get(expected, "used"));
	assert_string_equal(json_string_value(json_object_get(limit, "resource")), "tokens");
	expect_number(limit, "limit", NAN);
	expect_number(limit, "remaining", 5);
	assert_int_equal(json_array_size(policies), 2);
	assert_non_null(strstr(printed, "0.986"));
	json_decref(root);
}

/* What is no UTF-8 does not spoil the object; a number that is none is null. */
static void test_json_of_odd_bytes(void **state)
{
	json_t *root = run_json("--json --status 200", "X-RateLimit-Remaining: 5\n"
						       "X-RateLimit-Resource: \xff\n"
						       "X-RateLimit-Reset: 99999999999999999999\n");
	const json_t *expected = json_object_get(root, "expected");

	(void)state;
	assert_string_equal(json_string_value(json_object_get(expected, "resource")), "\\xff");
	expect_number(expected, "reset_in_seconds", NAN);
	assert_string_equal(json_string_value(json_object_get(root, "action")), "cap");
	json_decref(root);
}

static void test_json_of_everything(void **state)
{
	json_t *root = run_json("--json --status 429", "RateLimit: \"d\";r=1;pk=:YQ==:\n"
						       "X-RateLimit-Used: 2\n"
						       "X-RateLimit-Utilization: 0.5\n"
						       "X-RateLimit-Burst-Capacity: 3\n"
						       "X-RateLimit-Replenish-Rate: 0.25\n"
						       "X-RateLimit-Global: true\n"
						       "Retry-After: 7\n");
	const json_t *expected = json_object_get(root, "expected");

	(void)state;
	expect_number(expected, "used", 2);
	expect_number(expected, "utilization", 0.5);
	expect_number(expected, "burst_capacity", 3);
	expect_number(expected, "rate_per_second", 0.25);
	expect_number(expected, "retry_after_seconds", 7);
	assert_string_equal(json_string_value(json_object_get(expected, "partition_key")), "a");
	assert_string_equal(json_string_value(json_object_get(root, "scope")), "global");
	json_decref(root);
}

static void test_stray_lines(void **state)
{
	(void)state;
	assert_int_equal(run("", "Retry-After: 5\nnonsense\nmore\n", 29), 0);
	assert_string_equal(complained, "weirctl: line 2 is no header field, NAME: VALUE, nor are "
					"others; passed over\n");
	assert_non_null(strstr(printed, "wait: 5 s"));
}

static void test_mappings(void **state)
{
	(void)state;
	expect_printed("--time 1700000000 field.remaining=X-Foo-Left "
		       "'field.reset=X-Foo-Reset epoch_ms'",
		       "X-Foo-Left: 5\nX-Foo-Reset: 1700000001000\n",
		       "use: the fields say what is left\n"
		       "limit: 5 left, more in 1 s\n");
}

static void test_too_many_mappings(void **state)
{
	char arguments[1024] = "";

	(void)state;
	for (int i = 0; i < 33; i++)
		strcat(arguments, " field.used=X");
	assert_int_equal(run(arguments, "", 0), 2);
	assert_non_null(strstr(complained, "at most 32 mappings"));
}

/* A megabyte is too much for a head, but not for the body behind one. */
static void test_long_input(void **state)
{
	enum { MEGABYTE = 1 << 20 };
	char *text = malloc(MEGABYTE + 1);

	(void)state;
	assert_non_null(text);
	memset(text, 'x', MEGABYTE + 1);
	memcpy(text, "Retry-After: 5\nA: ", 18);
	assert_int_equal(run("", text, MEGABYTE), 0);
	assert_int_equal(run("", text, MEGABYTE + 1), 2);
	assert_string_equal(complained,
			    "weirctl: the head of the response is longer than a megabyte\n");
	assert_string_equal(printed, "");
	memcpy(text, "Retry-After: 5\r\n\r\n", 18);
	assert_int_equal(run("", text, MEGABYTE + 1), 0);
	assert_string_equal(complained, "");
	assert_non_null(strstr(printed, "wait: 5 s"));
	free(text);
}

/* A folder cannot be read. */
static void test_no_input(void **state)
{
	char command[1024];
	int status;

	(void)state;
	snprintf(command, sizeof(command), "'%s' fields </ >/dev/null 2>%s/err", WEIRCTL_PROGRAM,
		 folder);
	status = system(command);
	assert_int_equal(WEXITSTATUS(status), 2);
	read_back("err", complained);
	assert_non_null(strstr(complained, "cannot read standard input"));
}

/* What completion offers for --profile is what there is. */
static void test_words_of_profile(void **state)
{
	const char *words = option_words(OPTION_PROFILE);

	(void)state;
	for (size_t i = 0; fields_profile_at(i); i++) {
		const char *name = fields_profile_name(fields_profile_at(i));

		words += i && *words == ' ';
		assert_int_equal(strcspn(words, " "), strlen(name));
		assert_memory_equal(words, name, strlen(name));
		words += strlen(name);
	}
	assert_string_equal(words, "");
}

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_heads),
		cmocka_unit_test(test_many_lines),
		cmocka_unit_test(test_sentences),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_json_of_odd_bytes),
		cmocka_unit_test(test_json_of_everything),
		cmocka_unit_test(test_stray_lines),
		cmocka_unit_test(test_mappings),
		cmocka_unit_test(test_too_many_mappings),
		cmocka_unit_test(test_long_input),
		cmocka_unit_test(test_no_input),
		cmocka_unit_test(test_words_of_profile),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
