/* SPDX-License-Identifier: Apache-2.0
 *
 * Values as people read them, the command line, and pages as text and as JSON.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "options.h"
#include "render.h"
#include "text.h"

/* ---- text ---- */

static void expect_duration(uint64_t ns, const char *expected)
{
	char text[TEXT_BYTES];

	assert_string_equal(text_duration(ns, text), expected);
}

static void test_durations(void **state)
{
	(void)state;
	expect_duration(0, "0 s");
	expect_duration(1, "1 us");
	expect_duration(999999, "1000 us");
	expect_duration(1000000, "0.001 s");
	expect_duration(200000000, "0.2 s");
	expect_duration(200000001, "0.201 s");
	expect_duration(1000000000, "1 s");
	expect_duration(59999999999, "1 min");
	expect_duration(60000000000, "1 min");
	expect_duration(60000000001, "1 min 1 s");
	expect_duration(125000000000, "2 min 5 s");
	expect_duration(3600000000000, "1 h");
	expect_duration(3601000000000, "1 h 1 min");
	expect_duration(86400000000000, "1 d");
	expect_duration(90000000000001, "1 d 2 h");
	expect_duration(UINT64_MAX - 1, "213504 d");
	expect_duration(UINT64_MAX, "never");
}

static void expect_tokens(double tokens, const char *expected)
{
	char text[TEXT_BYTES];

	assert_string_equal(text_tokens(tokens, text), expected);
}

static void test_tokens(void **state)
{
	(void)state;
	expect_tokens(0, "0");
	expect_tokens(-0.0, "0");
	expect_tokens(10, "10");
	expect_tokens(9.5, "9.5");
	/* never more than there is */
	expect_tokens(9.9999, "9.999");
	expect_tokens(-0.0001, "-0.001");
	expect_tokens(1e12, "1000000000000");
	expect_tokens((double)INFINITY, "unlimited");
}

static void expect_safe(const char *in, const char *expected)
{
	char text[256];

	assert_string_equal(text_safe(text, sizeof(text), in, false), expected);
}

static void test_foreign_bytes(void **state)
{
	char small[8];
	char lines[32];

	(void)state;
	expect_safe("api.github.com/repos/*", "api.github.com/repos/*");
	expect_safe("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x9f",
		    "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x9f");
	expect_safe("\x1b[31mred\x7f\r\n\t", "\\x1b[31mred\\x7f\\x0d\\x0a\\x09");
	/* the other set of control characters, as UTF-8 and as single bytes */
	expect_safe("\xc2\x9b"
		    "31m \x9b",
		    "\\xc2\\x9b31m \\x9b");
	/* too long a form, a surrogate, beyond Unicode, cut short */
	expect_safe("\xc0\xaf", "\\xc0\\xaf");
	expect_safe("\xed\xa0\x80", "\\xed\\xa0\\x80");
	expect_safe("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80");
	expect_safe("\xe2\x82", "\\xe2\\x82");
	/* marks that turn the direction of writing */
	expect_safe("a\xe2\x80\xae"
		    "b",
		    "a\\xe2\\x80\\xaeb");
	assert_string_equal(text_safe(small, sizeof(small), "ab\ncdefgh", false), "ab\\x0ac");
	assert_string_equal(text_safe(small, sizeof(small), "abcde\x01", false), "abcde");
	assert_string_equal(text_safe(lines, sizeof(lines), "a\n\x1b", true), "a\n\\x1b");
	assert_int_equal(text_columns("caf\xc3\xa9 \xe2\x82\xac"), 6);
}

static void test_times(void **state)
{
	char text[TEXT_BYTES];

	(void)state;
	assert_string_equal(text_time_utc(1700000000999999999u, text), "2023-11-14T22:13:20Z");
}

/* ---- the command line ---- */

#define ALL (OPTIONS_GLOBAL | OPTION_BIT(OPTION_COST) | OPTION_BIT(OPTION_WAIT))

/* Parses; the words are changed, so each test has its own. */
static bool parse(struct arguments *out, char **argv, int first, char *wrong)
{
	int argc = 0;

	while (argv[argc])
		argc++;
	*out = (struct arguments){.operands = NULL};
	return options_parse(out, argc, argv, ALL, first, wrong);
}

static void test_options_anywhere(void **state)
{
	char *argv[] = {"-N", "one", "name", "--cost=2.5", "-n3", "--json", "more", NULL};
	char wrong[OPTIONS_WRONG_BYTES];
	struct arguments args;

	(void)state;
	assert_true(parse(&args, argv, OPTIONS_ANYWHERE, wrong));
	assert_int_equal(args.operand_count, 2);
	assert_string_equal(args.operands[0], "name");
	assert_string_equal(args.operands[1], "more");
	assert_null(args.operands[2]);
	assert_string_equal(args.values[OPTION_NAME], "one");
	assert_string_equal(args.values[OPTION_COST], "3"); /* the last one counts */
	assert_non_null(args.values[OPTION_JSON]);
	assert_null(args.values[OPTION_WAIT]);
}

static void test_options_end(void **state)
{
	char *dashes[] = {"name", "--", "-n", "--json", NULL};
	char *command[] = {"name", "-n", "2", "curl", "-n", "--wait", NULL};
	char *lone[] = {"-", NULL};
	char wrong[OPTIONS_WRONG_BYTES];
	struct arguments args;

	(void)state;
	assert_true(parse(&args, dashes, OPTIONS_ANYWHERE, wrong));
	assert_int_equal(args.operand_count, 3);
	assert_string_equal(args.operands[1], "-n");
	assert_null(args.values[OPTION_COST]);
	assert_true(parse(&args, command, 1, wrong));
	assert_int_equal(args.operand_count, 4);
	assert_string_equal(args.values[OPTION_COST], "2");
	assert_string_equal(args.operands[1], "curl");
	assert_string_equal(args.operands[3], "--wait");
	assert_true(parse(&args, lone, OPTIONS_ANYWHERE, wrong));
	assert_int_equal(args.operand_count, 1);
}

static void expect_wrong(char **argv, const char *expected)
{
	char wrong[OPTIONS_WRONG_BYTES];
	struct arguments args;

	assert_false(parse(&args, argv, OPTIONS_ANYWHERE, wrong));
	assert_string_equal(wrong, expected);
}

static void test_options_wrong(void **state)
{
	char *unknown[] = {"--colour", NULL};
	char *letter[] = {"-x", NULL};
	char *not_here[] = {"--keep", "used", NULL};
	char *no_value[] = {"name", "-n", NULL};
	char *no_long_value[] = {"--wait", NULL};
	char *flag_value[] = {"--json=yes", NULL};

	(void)state;
	expect_wrong(unknown, "unknown option --colour");
	expect_wrong(letter, "unknown option -x");
	expect_wrong(not_here, "unknown option --keep");
	expect_wrong(no_value, "--cost needs a value: --cost COST");
	expect_wrong(no_long_value, "--wait needs a value: --wait D");
	expect_wrong(flag_value, "--json=yes: --json takes no value");
}

static void test_options_table(void **state)
{
	(void)state;
	for (int i = 0; i < OPTION_COUNT; i++)
		assert_int_equal(option_specs[i].id, i);
}

/* ---- pages ---- */

static void fill(struct page *page)
{
	page_text(page, "instance", "instance",
		  "on\x1b"
		  "e");
	page_text(page, "program_only", NULL, "p");
	page_text(page, NULL, "people only", "q");
	page_list_item(page, "also", "also", "a1");
	page_list_item(page, "also", "also", "a2");
	page_rows(page, "rows");
	for (unsigned i = 0; i < 2; i++) {
		page_row(page);
		page_text(page, "name", "NAME",
			  i ? "\xff" : "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9");
		page_count(page, "count", "COUNT", i ? UINT64_MAX : 7);
		page_tokens(page, "level", "LEVEL", i ? (double)INFINITY : 2.5);
		page_duration(page, "wait_ns", "WAIT", i ? UINT64_MAX : 1500000000);
		page_flag(page, "used", "USED", i == 0);
		page_none(page, "nothing", "NOTHING");
		page_code(page, "code", -(int)i);
	}
}

static char *printed(bool json, bool line)
{
	struct page page;
	char *text = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&text, &bytes);

	assert_non_null(out);
	page_open(&page, json);
	fill(&page);
	assert_true(line ? page_print_line(&page, out) : page_print(&page, out));
	fclose(out);
	return text;
}

static void test_page_as_text(void **state)
{
	char *text = printed(false, false);

	(void)state;
	assert_string_equal(text,
			    "instance     on\\x1be\n"
			    "people only  q\n"
			    "also         a1\n"
			    "             a2\n"
			    "NAME                   COUNT      LEVEL   WAIT  USED  NOTHING\n"
			    "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9                     "
			    "7        2.5  1.5 s  yes         -\n"
			    "\\xff    18446744073709551615  unlimited  never  no          -\n");
	free(text);
	text = printed(false, true);
	assert_string_equal(text, "");
	free(text);
}

static void check_json(const char *text)
{
	json_t *root = json_loads(text, 0, NULL);
	json_t *first, *second;

	assert_non_null(root);
	assert_string_equal(json_string_value(json_object_get(root, "instance")), "on\x1b"
										  "e");
	assert_string_equal(json_string_value(json_object_get(root, "program_only")), "p");
	assert_null(json_object_get(root, "people only"));
	assert_int_equal(json_array_size(json_object_get(root, "also")), 2);
	assert_int_equal(json_array_size(json_object_get(root, "rows")), 2);
	first = json_array_get(json_object_get(root, "rows"), 0);
	second = json_array_get(json_object_get(root, "rows"), 1);
	assert_int_equal(json_integer_value(json_object_get(first, "count")), 7);
	assert_int_equal(json_integer_value(json_object_get(second, "count")), INT64_MAX);
	assert_true(json_real_value(json_object_get(first, "level")) == 2.5);
	assert_true(json_is_null(json_object_get(second, "level")));
	assert_int_equal(json_integer_value(json_object_get(first, "wait_ns")), 1500000000);
	assert_true(json_is_null(json_object_get(second, "wait_ns")));
	assert_true(json_is_true(json_object_get(first, "used")));
	assert_true(json_is_null(json_object_get(first, "nothing")));
	assert_int_equal(json_integer_value(json_object_get(second, "code")), -1);
	/* no UTF-8, so JSON cannot have it as it is */
	assert_string_equal(json_string_value(json_object_get(second, "name")), "\\xff");
	json_decref(root);
}

static void test_page_as_json(void **state)
{
	char *text = printed(true, false);

	(void)state;
	check_json(text);
	free(text);
	text = printed(true, true);
	check_json(text);
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
	free(text);
}

static void test_many_rows(void **state)
{
	struct page page;
	char *text = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&text, &bytes);
	unsigned lines = 0;

	(void)state;
	assert_non_null(out);
	page_open(&page, false);
	page_rows(&page, "rows");
	for (unsigned i = 0; i < 1000; i++) {
		page_row(&page);
		page_count(&page, "a", "A", i);
		page_count(&page, "b", "B", i);
		page_count(&page, "c", "C", i);
	}
	assert_true(page_print(&page, out));
	fclose(out);
	for (const char *at = text; *at; at++)
		lines += *at == '\n';
	assert_int_equal(lines, 1001);
	assert_non_null(strstr(text, "\n999  999  999\n"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_durations),	 cmocka_unit_test(test_tokens),
		cmocka_unit_test(test_foreign_bytes),	 cmocka_unit_test(test_times),
		cmocka_unit_test(test_options_anywhere), cmocka_unit_test(test_options_end),
		cmocka_unit_test(test_options_wrong),	 cmocka_unit_test(test_options_table),
		cmocka_unit_test(test_page_as_text),	 cmocka_unit_test(test_page_as_json),
		cmocka_unit_test(test_many_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
