/* SPDX-License-Identifier: Apache-2.0
 *
 * Structured fields of HTTP: what is read, what is refused; and the public test suite's cases
 * (httpwg/structured-field-tests) from $WEIR_SHARED/conformance, where they are.
 */
#include "structured_field.h"

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

enum { LINES = 8, TEXT = 1 << 16 };

/* ---- fields as one line of text, to compare ---- */

static char printed[TEXT];
static size_t used;

__attribute__((format(printf, 1, 2))) static void add(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	used += (size_t)vsnprintf(printed + used, sizeof(printed) - used, format, arguments);
	va_end(arguments);
	assert_true(used < sizeof(printed));
}

static void add_item(const struct sf *sf, const struct sf_item *item)
{
	static const char kinds[] = "idstbBDu"; /* by enum sf_type */
	char text[512];

	add("%c:", kinds[item->type]);
	switch (item->type) {
	case SF_STRING:
	case SF_TOKEN:
	case SF_BYTES:
	case SF_DISPLAY:
		sf_text(sf, item, text, sizeof(text));
		add("%s", text);
		break;
	case SF_INTEGER:
	case SF_DECIMAL:
	case SF_BOOLEAN:
	case SF_DATE:
		assert_int_equal(sf_text(sf, item, text, sizeof(text)), 0);
		add("%lld", (long long)item->number);
		break;
	}
}

static int add_parameters(struct sf *sf)
{
	struct sf_key key;
	struct sf_item value;
	char text[128];
	size_t bytes;
	int more;

	while ((more = sf_parameter_next(sf, &key, &value)) == 1) {
		bytes = sf_key_text(sf, &key, text, sizeof(text));
		assert_int_equal(bytes, strlen(text));
		assert_true(sf_key_is(sf, &key, text));
		assert_false(sf_key_is(sf, &key, "no such key"));
		add(";%s=", text);
		add_item(sf, &value);
	}
	return more;
}

static int add_member(struct sf *sf, const struct sf_member *member)
{
	struct sf_item item;
	int more = 0;

	if (member->list) {
		add("(");
		while ((more = sf_inner_next(sf, &item)) == 1) {
			add(" ");
			add_item(sf, &item);
			if (add_parameters(sf) < 0)
				return -1;
		}
		add(")");
	} else {
		add_item(sf, &member->item);
	}
	return more < 0 ? -1 : add_parameters(sf);
}

static int add_all(struct sf *sf, enum sf_kind kind)
{
	struct sf_member member = {.list = false};
	struct sf_key key;
	char text[128];
	int more;

	for (;;) {
		more = kind == SF_LIST	       ? sf_list_next(sf, &member)
		       : kind == SF_DICTIONARY ? sf_dictionary_next(sf, &key, &member)
					       : sf_item_next(sf, &member.item);
		if (more != 1)
			return more;
		if (used)
			add(", ");
		if (kind == SF_DICTIONARY) {
			sf_key_text(sf, &key, text, sizeof(text));
			add("%s=", text);
		}
		if (add_member(sf, &member) < 0)
			return -1;
	}
}

/* The field in one text, lines apart by '|'; "malformed". */
static const char *read_field(enum sf_kind kind, const char *text)
{
	struct sf_line lines[LINES];
	size_t count = 0;
	struct sf sf;
	int more;

	for (const char *at = text;; at++) {
		size_t bytes = strcspn(at, "|");

		assert_true(count < LINES);
		lines[count++] = (struct sf_line){at, bytes};
		at += bytes;
		if (!*at)
			break;
	}
	used = 0;
	printed[0] = '\0';
	sf_open(&sf, lines, count);
	more = add_all(&sf, kind);
	assert_true(sf_check(lines, count, kind) == (more == 0));
	return more < 0 ? "malformed" : printed;
}

static const struct row {
	enum sf_kind kind;
	const char *field;
	const char *means;
} rows[] = {
	{SF_LIST, "\"burst\";q=100;w=60,\"daily\";q=1000;w=86400",
	 "s:burst;q=i:100;w=i:60, s:daily;q=i:1000;w=i:86400"},
	{SF_LIST, "\"a\\\"b\\\\\";r=5", "s:a\"b\\;r=i:5"},
	{SF_LIST, "\"10-in-1sec\"; q=10; w=1", "s:10-in-1sec;q=i:10;w=i:1"},
	{SF_LIST, "quota;t=1", "t:quota;t=i:1"},
	{SF_LIST, "*a/b:c~", "t:*a/b:c~"},
	{SF_LIST, "1, -2, 3.5, -0.125, 0", "i:1, i:-2, d:3500, d:-125, i:0"},
	{SF_LIST, "999999999999999", "i:999999999999999"},
	{SF_LIST, "1000000000000000", "malformed"},
	{SF_LIST, "999999999999.999", "d:999999999999999"},
	{SF_LIST, "1000000000000.0", "malformed"},
	{SF_LIST, "1.0000", "malformed"},
	{SF_LIST, "1.", "malformed"},
	{SF_LIST, ".5", "malformed"},
	{SF_LIST, "-", "malformed"},
	{SF_LIST, "-a", "malformed"},
	{SF_LIST, "+1", "malformed"},
	{SF_LIST, "1e3", "malformed"},
	{SF_LIST, ":YWI=:, ::, :YWI:, :YWJj:", "b:ab, b:, b:ab, b:abc"},
	{SF_LIST, ":MDA5:", "b:009"},
	{SF_LIST, ":iZ==:", "b:\x89"},
	{SF_LIST, ":+/==:", "b:\xfb"},
	{SF_LIST, ":Y:", "malformed"},
	{SF_LIST, ":Y=:", "malformed"},
	{SF_LIST, ":YW.:", "malformed"},
	{SF_LIST, ":YW=I:", "malformed"},
	{SF_LIST, ":YWI=", "malformed"},
	{SF_LIST, "?1, ?0;a, a;b=?0", "B:1, B:0;a=B:1, t:a;b=B:0"},
	{SF_LIST, "?2", "malformed"},
	{SF_LIST, "?", "malformed"},
	{SF_LIST, "@1659578233, @-1", "D:1659578233, D:-1"},
	{SF_LIST, "@1.5", "malformed"},
	{SF_LIST, "@a", "malformed"},
	{SF_LIST, "%\"f%c3%bc %e2%82%ac %f0%9f%98%80\"",
	 "u:f\303\274 \342\202\254 \360\237\230\200"},
	{SF_LIST, "%\"%c3\"", "malformed"},
	{SF_LIST, "%\"%c3a\"", "malformed"},
	{SF_LIST, "%\"%C3%BC\"", "malformed"},
	{SF_LIST, "%\"%c\"", "malformed"},
	{SF_LIST, "%\"%80\"", "malformed"},
	{SF_LIST, "%\"%c0%80\"", "malformed"},
	{SF_LIST, "%\"%e0%80%80\"", "malformed"},
	{SF_LIST, "%\"%ed%a0%80\"", "malformed"},
	{SF_LIST, "%\"%f0%80%80%80\"", "malformed"},
	{SF_LIST, "%\"%f4%90%80%80\"", "malformed"},
	{SF_LIST, "%\"%f5%80%80%80\"", "malformed"},
	{SF_LIST, "%\"\x7f\"", "malformed"},
	{SF_LIST, "%\"open", "malformed"},
	{SF_LIST, "%a", "malformed"},
	{SF_LIST, "\"tab\t\"", "malformed"},
	{SF_LIST, "\"\xc3\xbc\"", "malformed"},
	{SF_LIST, "\"bad \\a\"", "malformed"},
	{SF_LIST, "\"open", "malformed"},
	{SF_LIST, "\"open\\", "malformed"},
	{SF_LIST, "", ""},
	{SF_LIST, "   ", ""},
	{SF_LIST, "  1 ", "i:1"},
	{SF_LIST, "\t1", "malformed"},
	{SF_LIST, "1\t", "i:1"},
	{SF_LIST, "1\t,\t2", "i:1, i:2"},
	{SF_LIST, "1,", "malformed"},
	{SF_LIST, "1, ", "malformed"},
	{SF_LIST, ",1", "malformed"},
	{SF_LIST, "1,,2", "malformed"},
	{SF_LIST, "1 2", "malformed"},
	{SF_LIST, "1|2", "i:1, i:2"},
	{SF_LIST, "1||2", "malformed"},
	{SF_LIST, "1|", "malformed"},
	{SF_LIST, "\"a|b\"", "s:a, b"},
	{SF_LIST, "(1 \"b\";x=1 c);y, ()", "( i:1 s:b;x=i:1 t:c);y=B:1, ()"},
	{SF_LIST, "(  1  2  )", "( i:1 i:2)"},
	{SF_LIST, "(1\t2)", "malformed"},
	{SF_LIST, "(1\"a\")", "malformed"},
	{SF_LIST, "(1 2", "malformed"},
	{SF_LIST, "((1))", "malformed"},
	{SF_LIST, "(1;)", "malformed"},
	{SF_LIST, "a;b=1;b=2", "t:a;b=i:1;b=i:2"},
	{SF_LIST, "a; b", "t:a;b=B:1"},
	{SF_LIST, "a;\tb", "malformed"},
	{SF_LIST, "a ;b", "malformed"},
	{SF_LIST, "a;B", "malformed"},
	{SF_LIST, "a;b =1", "malformed"},
	{SF_LIST, "a;b= 1", "malformed"},
	{SF_LIST, "a;*k_-.*9=1", "t:a;*k_-.*9=i:1"},
	{SF_LIST, "limit=100", "malformed"},
	{SF_DICTIONARY, "limit=100, remaining=50, reset=5",
	 "limit=i:100, remaining=i:50, reset=i:5"},
	{SF_DICTIONARY, "a, b;x=2, c=(1 2);y", "a=B:1, b=B:1;x=i:2, c=( i:1 i:2);y=B:1"},
	{SF_DICTIONARY, "a=1,a=2", "a=i:1, a=i:2"},
	{SF_DICTIONARY, "a=1|b=2", "a=i:1, b=i:2"},
	{SF_DICTIONARY, "", ""},
	{SF_DICTIONARY, "a=", "malformed"},
	{SF_DICTIONARY, "a =1", "malformed"},
	{SF_DICTIONARY, "a=1,", "malformed"},
	{SF_DICTIONARY, "A=1", "malformed"},
	{SF_DICTIONARY, "a=(1", "malformed"},
	{SF_DICTIONARY, "a=1;", "malformed"},
	{SF_ITEM, "5;a=1", "i:5;a=i:1"},
	{SF_ITEM, "  5  ", "i:5"},
	{SF_ITEM, "5, 6", "malformed"},
	{SF_ITEM, "", "malformed"},
	{SF_ITEM, "5;", "malformed"},
	{SF_ITEM, "5;a=", "malformed"},
};

static void test_rows(void **state)
{
	size_t wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *means = read_field(rows[i].kind, rows[i].field);

		if (!strcmp(means, rows[i].means))
			continue;
		print_error("%s\n  is   %s\n  want %s\n", rows[i].field, means, rows[i].means);
		wrong++;
	}
	assert_int_equal(wrong, 0);
}

/* What is not read is passed over; where it is malformed, that is met all the same. */
static void test_passed_over(void **state)
{
	const struct sf_line good = {"(a b;c=1);d, \"x\";y=1", 20}, bad = {"(a b;C=1);d, e", 15};
	struct sf_member member;
	struct sf_item item;
	struct sf_key key;
	struct sf sf;

	(void)state;
	sf_open(&sf, &good, 1);
	assert_int_equal(sf_inner_next(&sf, &item), 0);
	assert_int_equal(sf_parameter_next(&sf, &key, &item), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(sf_list_next(&sf, &member), 1);
	assert_int_equal(sf_list_next(&sf, &member), 0);
	sf_open(&sf, &bad, 1);
	assert_int_equal(sf_list_next(&sf, &member), 1);
	assert_int_equal(sf_list_next(&sf, &member), -1);
	/* and it stays so */
	assert_int_equal(sf_list_next(&sf, &member), -1);
	assert_int_equal(sf_dictionary_next(&sf, &key, &member), -1);
	assert_int_equal(sf_item_next(&sf, &item), -1);
	assert_int_equal(sf_inner_next(&sf, &item), -1);
	assert_int_equal(sf_parameter_next(&sf, &key, &item), -1);
}

/* No lines at all: an empty list, and no item. */
static void test_no_lines(void **state)
{
	(void)state;
	assert_true(sf_check(NULL, 0, SF_LIST));
	assert_true(sf_check(NULL, 0, SF_DICTIONARY));
	assert_false(sf_check(NULL, 0, SF_ITEM));
}

static void test_texts_are_cut(void **state)
{
	const struct sf_line line = {"\"0123456789\";long-key", 21};
	struct sf_member member;
	struct sf_item value;
	struct sf_key key;
	struct sf sf;
	char text[5];

	(void)state;
	sf_open(&sf, &line, 1);
	assert_int_equal(sf_list_next(&sf, &member), 1);
	assert_int_equal(sf_text(&sf, &member.item, text, sizeof(text)), 10);
	assert_string_equal(text, "0123");
	assert_int_equal(sf_text(&sf, &member.item, text, 1), 10);
	assert_string_equal(text, "");
	assert_int_equal(sf_parameter_next(&sf, &key, &value), 1);
	assert_int_equal(sf_key_text(&sf, &key, text, sizeof(text)), 8);
	assert_string_equal(text, "long");
}

/* A NUL is a character like others that may not stand in a field. */
static void test_nul(void **state)
{
	const struct sf_line in_token = {"a\0b", 3}, in_string = {"\"a\0\"", 4}, alone = {"\0", 1};

	(void)state;
	assert_false(sf_check(&in_token, 1, SF_LIST));
	assert_false(sf_check(&in_string, 1, SF_LIST));
	assert_false(sf_check(&alone, 1, SF_LIST));
}

/* ---- the public suite ---- */

/* Bytes of the suite, in base 32. */
static size_t from_base32(const char *text, char *out)
{
	unsigned held = 0, bits = 0;
	size_t count = 0;

	for (; *text && *text != '='; text++) {
		assert_true(count < TEXT);
		held = (held << 5 | (unsigned)(*text >= 'A' ? *text - 'A' : *text - '2' + 26)) &
		       0x1fff;
		bits += 5;
		if (bits >= 8)
			out[count++] = (char)(held >> (bits -= 8) & 0xff);
	}
	return count;
}

static bool same_bytes(const struct sf *sf, const struct sf_item *item, const char *text,
		       size_t bytes)
{
	static char out[TEXT];

	return sf_text(sf, item, out, sizeof(out)) == bytes && !memcmp(out, text, bytes);
}

static bool same_typed(const struct sf *sf, const struct sf_item *item, const json_t *want)
{
	const char *type = json_string_value(json_object_get(want, "__type"));
	const json_t *value = json_object_get(want, "value");
	static char bytes[TEXT];

	if (!strcmp(type, "token"))
		return item->type == SF_TOKEN &&
		       same_bytes(sf, item, json_string_value(value), json_string_length(value));
	if (!strcmp(type, "displaystring"))
		return item->type == SF_DISPLAY &&
		       same_bytes(sf, item, json_string_value(value), json_string_length(value));
	if (!strcmp(type, "date"))
		return item->type == SF_DATE && item->number == json_integer_value(value);
	return item->type == SF_BYTES &&
	       same_bytes(sf, item, bytes, from_base32(json_string_value(value), bytes));
}

static bool same_item(const struct sf *sf, const struct sf_item *item, const json_t *want)
{
	if (json_is_object(want))
		return same_typed(sf, item, want);
	if (json_is_boolean(want))
		return item->type == SF_BOOLEAN && item->number == json_is_true(want);
	if (json_is_string(want))
		return item->type == SF_STRING &&
		       same_bytes(sf, item, json_string_value(want), json_string_length(want));
	if (item->type == SF_DECIMAL)
		return llround(json_number_value(want) * 1000) == item->number;
	return item->type == SF_INTEGER && json_is_integer(want) &&
	       item->number == json_integer_value(want);
}

/* The place among [key, ...] pairs; they are told once each, as the last one is. */
static const json_t *find_pair(const struct sf *sf, const struct sf_key *key, const json_t *pairs)
{
	for (size_t i = 0; i < json_array_size(pairs); i++) {
		const json_t *pair = json_array_get(pairs, i);

		if (sf_key_is(sf, key, json_string_value(json_array_get(pair, 0))))
			return pair;
	}
	return NULL;
}

/* How many pairs were right when each of their keys came last. */
static int same_parameters(struct sf *sf, const json_t *pairs)
{
	bool right[512] = {false};
	struct sf_key key;
	struct sf_item value;
	size_t count = json_array_size(pairs);
	int more;

	assert_true(count <= 512);
	while ((more = sf_parameter_next(sf, &key, &value)) == 1)
		for (size_t i = 0; i < count; i++) {
			const json_t *pair = json_array_get(pairs, i);

			if (sf_key_is(sf, &key, json_string_value(json_array_get(pair, 0))))
				right[i] = same_item(sf, &value, json_array_get(pair, 1));
		}
	for (size_t i = 0; i < count && !more; i++)
		more = right[i] ? 0 : -1;
	return more;
}

/* [value, parameters] or [[[value, parameters]...], parameters] */
static bool same_member(struct sf *sf, const struct sf_member *member, const json_t *want)
{
	const json_t *value = json_array_get(want, 0);
	struct sf_item item;
	size_t i = 0;

	if (member->list != json_is_array(value))
		return false;
	if (!member->list && !same_item(sf, &member->item, value))
		return false;
	while (member->list && sf_inner_next(sf, &item) == 1) {
		const json_t *inner = json_array_get(value, i++);

		if (!same_item(sf, &item, json_array_get(inner, 0)) ||
		    same_parameters(sf, json_array_get(inner, 1)))
			return false;
	}
	return i == json_array_size(value) && !same_parameters(sf, json_array_get(want, 1));
}

static bool same_list(struct sf *sf, const json_t *want)
{
	struct sf_member member;
	size_t i = 0;
	int more;

	while ((more = sf_list_next(sf, &member)) == 1)
		if (!same_member(sf, &member, json_array_get(want, i++)))
			return false;
	return !more && i == json_array_size(want);
}

static bool same_dictionary(struct sf *sf, const json_t *want)
{
	bool right[2048] = {false};
	size_t count = json_array_size(want);
	struct sf_member member;
	struct sf_key key;
	int more;

	assert_true(count <= 2048);
	while ((more = sf_dictionary_next(sf, &key, &member)) == 1) {
		const json_t *pair = find_pair(sf, &key, want);
		struct sf ahead = *sf;

		if (!pair)
			return false;
		for (size_t i = 0; i < count; i++)
			if (json_array_get(want, i) == pair)
				right[i] = same_member(&ahead, &member, json_array_get(pair, 1));
	}
	for (size_t i = 0; i < count; i++)
		if (!right[i])
			return false;
	return !more;
}

static bool same_single(struct sf *sf, const json_t *want)
{
	struct sf_member member = {.list = false};

	return sf_item_next(sf, &member.item) == 1 && same_member(sf, &member, want) &&
	       sf_item_next(sf, &member.item) == 0;
}

static bool as_published(const json_t *test)
{
	static struct sf_line lines[2048];
	const json_t *raw = json_object_get(test, "raw");
	const char *type = json_string_value(json_object_get(test, "header_type"));
	const json_t *want = json_object_get(test, "expected");
	enum sf_kind kind = !strcmp(type, "list")	  ? SF_LIST
			    : !strcmp(type, "dictionary") ? SF_DICTIONARY
							  : SF_ITEM;
	size_t count = json_array_size(raw);
	struct sf sf;

	assert_true(count <= 2048);
	for (size_t i = 0; i < count; i++)
		lines[i] = (struct sf_line){json_string_value(json_array_get(raw, i)),
					    json_string_length(json_array_get(raw, i))};
	if (!want)
		return !sf_check(lines, count, kind);
	sf_open(&sf, lines, count);
	return sf_check(lines, count, kind) && (kind == SF_LIST		? same_list(&sf, want)
						: kind == SF_DICTIONARY ? same_dictionary(&sf, want)
									: same_single(&sf, want));
}

static void test_public_suite(void **state)
{
	const char *shared = getenv("WEIR_SHARED");
	size_t count = 0, right = 0, refused = 0, i;
	json_error_t error;
	char path[4096];
	json_t *root, *test;
	FILE *file;

	(void)state;
	snprintf(path, sizeof(path), "%s/conformance/structured_fields.json", shared ? shared : "");
	file = shared ? fopen(path, "r") : NULL;
	if (!file) {
		print_message("skipped: WEIR_SHARED names no folder with "
			      "conformance/structured_fields.json\n");
		skip();
	}
	root = json_loadf(file, JSON_ALLOW_NUL, &error);
	fclose(file);
	if (!root)
		fail_msg("%s:%d: %s", path, error.line, error.text);
	json_array_foreach(json_object_get(root, "tests"), i, test)
	{
		bool as_it_should = as_published(test);

		if (!as_it_should)
			print_error("%s: %s\n", json_string_value(json_object_get(test, "file")),
				    json_string_value(json_object_get(test, "name")));
		right += as_it_should;
		refused += !json_object_get(test, "expected");
		count++;
	}
	json_decref(root);
	print_message("%zu of %zu as published, of which %zu are refused\n", right, count, refused);
	assert_true(count >= 1500);
	assert_int_equal(right, count);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),	 cmocka_unit_test(test_passed_over),
		cmocka_unit_test(test_no_lines), cmocka_unit_test(test_texts_are_cut),
		cmocka_unit_test(test_nul),	 cmocka_unit_test(test_public_suite),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
