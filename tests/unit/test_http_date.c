/* SPDX-License-Identifier: Apache-2.0
 *
 * Dates of HTTP and RFC 3339, and durations of Go; curl's own dates and OpenAI's Retry-After from
 * $WEIR_SHARED/conformance, where they are.
 */
#include "http_date.h"

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

#include "field_value.h"
#include "fields.h"
#include "go_duration.h"

#define NOW 1700000000.0 /* Tue, 14 Nov 2023 22:13:20 GMT */

struct row {
	const char *text;
	double value; /* NaN: it is none */
};

static const struct row http_dates[] = {
	{"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
	{"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
	{"Sun Nov  6 08:49:37 1994", 784111777},
	{"Sun Nov 16 08:49:37 1994", 784975777},
	{"Thu, 01 Jan 1970 00:00:00 GMT", 0},
	{"Wed, 31 Dec 1969 23:59:59 GMT", -1},
	{"Thu, 01 Jan 1600 00:00:00 GMT", -11676096000},
	{"Sat, 01 Jan 0000 00:00:00 GMT", -62167219200},
	{"Fri, 31 Dec 9999 23:59:59 GMT", 253402300799},
	{"Tue, 29 Feb 2000 00:00:00 GMT", 951782400},
	{"Thu, 29 Feb 2024 12:00:00 GMT", 1709208000},
	{"Wed, 31 Dec 2008 23:59:60 GMT", 1230768000},
	/* the day of the week is not held against the date */
	{"Mon, 06 Nov 1994 08:49:37 GMT", 784111777},
	/* two digits: at most 50 years ahead */
	{"Wednesday, 01-Jan-73 00:00:00 GMT", 3250454400},
	{"Monday, 01-Jan-74 00:00:00 GMT", 126230400},
	{"Zun, 06 Nov 1994 08:49:37 GMT", NAN},
	{"Sunny, 06-Nov-94 08:49:37 GMT", NAN},
	{"Sun, 06 Nov 1994 08:49:37", NAN},
	{"Sun, 06 Nov 1994 08:49:37 UTC", NAN},
	{"Sun, 06 Nov 1994 08:49:37 gmt", NAN},
	{"Sun, 06 Nov 1994 08:49:37 GMT ", NAN},
	{"Sun, 06 Nov 94 08:49:37 GMT...", NAN},
	{"sun, 06 nov 1994 08:49:37 GMT", NAN},
	{"Sun, 6 Nov 1994 08:49:37 GMT.", NAN},
	{"Sun, 00 Nov 1994 08:49:37 GMT", NAN},
	{"Sun, 31 Nov 1994 08:49:37 GMT", NAN},
	{"Wed, 29 Feb 1900 00:00:00 GMT", NAN},
	{"Wed, 29 Feb 2023 00:00:00 GMT", NAN},
	{"Sun, 06 Foo 1994 08:49:37 GMT", NAN},
	{"Sun, 06 Nov 1994 24:00:00 GMT", NAN},
	{"Sun, 06 Nov 1994 08:60:37 GMT", NAN},
	{"Sun, 06 Nov 1994 08:49:61 GMT", NAN},
	{"Sun, 06 Nov 1994 08.49.37 GMT", NAN},
	{"Sun Nov 06 08:49:37 1994 and more", NAN},
	{"Sun, 06 Nov 1994 08:49:3", NAN},
	{"", NAN},
};

static const struct row iso_dates[] = {
	{"1994-11-06T08:49:37Z", 784111777},
	{"1994-11-06t08:49:37z", 784111777},
	{"1994-11-06 08:49:37", 784111777},
	{"1994-11-06 08:49:37 UTC", 784111777},
	{"1994-11-06T08:49Z", 784111740},
	{"1994-11-06T08:49:37.5Z", 784111777.5},
	{"1994-11-06T08:49:37,25Z", 784111777.25},
	{"1994-11-06T08:49:37.0000000Z", 784111777},
	{"1994-11-06T08:49:37.12345678901234567890Z", 784111777.123456789},
	{"1994-11-06T09:49:37+01:00", 784111777},
	{"1994-11-06 03:19:37 -0530", 784111777},
	{"9999-12-31T23:59:59Z", 253402300799},
	{"1994-11-06", NAN},
	{"1994-11-06T", NAN},
	{"1994-11-06T08", NAN},
	{"1994-11-06T08:49:37.Z", NAN},
	{"1994-11-06T08:49:37.", NAN},
	{"1994-11-06T08:49:37+1", NAN},
	{"1994-11-06T08:49:37+01:60", NAN},
	{"1994-11-06T08:49:37U", NAN},
	{"1994-11-06T08:49:37 CET", NAN},
	{"1994-11-06T08:49:37ZZ", NAN},
	{"1994-13-06T08:49:37Z", NAN},
	{"1994-02-30T08:49:37Z", NAN},
	{"94-11-06T08:49:37Z", NAN},
	{"19941106T084937Z", NAN},
	{"", NAN},
};

static const struct row durations[] = {
	{"1s", 1},
	{"6m0s", 360},
	{"2m59.56s", 179.56},
	{"7.66s", 7.66},
	{"370ms", 0.37},
	{"20ms", 0.02},
	{"4h30m15s", 16215},
	{"0s", 0},
	{"1h", 3600},
	{".5s", 0.5},
	{"1.s", 1},
	{"1500us", 0.0015},
	{"3\302\265s", 0.000003},
	{"3\316\274s", 0.000003},
	{"250ns", 0.00000025},
	{"1m1h", 3660},
	{"0.1234567890123s", 0.123456789},
	{"", NAN},
	{"1", NAN},
	{"s", NAN},
	{".s", NAN},
	{"1d", NAN},
	{"-1s", NAN},
	{"+1s", NAN},
	{"1 s", NAN},
	{"1..5s", NAN},
	{"1h30", NAN},
	{"1S", NAN},
};

static void expect(const char *text, bool is_one, double value, double want)
{
	if (is_one == isnan(want) || (is_one && fabs(value - want) > 1e-6))
		fail_msg("`%s`: %s %.9f, not %.9f", text, is_one ? "read as" : "refused", value,
			 want);
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void test_http_dates(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(http_dates); i++) {
		const struct row *row = &http_dates[i];
		double value = 0;
		bool is_one = http_date_read(row->text, strlen(row->text), NOW, &value);

		expect(row->text, is_one, value, row->value);
	}
}

/* The century of two digits, by clocks that are none. */
static void test_two_digits(void **state)
{
	static const char text[] = "Sunday, 06-Nov-94 08:49:37 GMT";
	static const double clocks[] = {NAN, -1, 1e300, INFINITY};
	double value;

	(void)state;
	for (size_t i = 0; i < COUNT(clocks); i++) {
		assert_true(http_date_read(text, sizeof(text) - 1, clocks[i], &value));
		assert_true(value == 784111777);
	}
}

static void test_iso_dates(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(iso_dates); i++) {
		const struct row *row = &iso_dates[i];
		double value = 0;
		bool is_one = iso_date_read(row->text, strlen(row->text), &value);

		expect(row->text, is_one, value, row->value);
	}
}

static void test_durations(void **state)
{
	char text[400];
	double value = 0;

	(void)state;
	for (size_t i = 0; i < COUNT(durations); i++) {
		const struct row *row = &durations[i];

		bool is_one = go_duration_read(row->text, strlen(row->text), &value);

		expect(row->text, is_one, value, row->value);
	}
	/* more digits than a double has room for */
	memset(text, '9', sizeof(text));
	text[sizeof(text) - 1] = 's';
	assert_true(go_duration_read(text, sizeof(text), &value));
	assert_true(value > FIELDS_NEVER_S);
}

/* No byte of a text that is cut is read: each has a block of memory of its own size. */
static void test_cut_texts(void **state)
{
	static const char *const texts[] = {
		"Sun, 06 Nov 1994 08:49:37 GMT",
		"Sunday, 06-Nov-94 08:49:37 GMT",
		"Sun Nov  6 08:49:37 1994",
		"1994-11-06T08:49:37.5+01:00",
		"4h30m15.5s",
	};
	double value;

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++)
		for (size_t bytes = 0; bytes < strlen(texts[i]); bytes++) {
			char *cut = malloc(bytes + !bytes);

			assert_non_null(cut);
			memcpy(cut, texts[i], bytes);
			assert_false(http_date_read(cut, bytes, NOW, &value));
			iso_date_read(cut, bytes, &value);
			go_duration_read(cut, bytes, &value);
			free(cut);
		}
}

/* ---- what others expect ---- */

static json_t *load(void)
{
	const char *shared = getenv("WEIR_SHARED");
	char path[4096];
	json_error_t error;
	json_t *root;
	FILE *file;

	snprintf(path, sizeof(path), "%s/conformance/retry_after_http_date.json",
		 shared ? shared : "");
	file = shared ? fopen(path, "r") : NULL;
	if (!file) {
		print_message("skipped: WEIR_SHARED names no folder with "
			      "conformance/retry_after_http_date.json\n");
		return NULL;
	}
	root = json_loadf(file, JSON_ALLOW_NUL, &error);
	fclose(file);
	if (!root)
		fail_msg("%s:%d: %s", path, error.line, error.text);
	return root;
}

/* Dates of the three forms are read; of the others, which curl reads, none as another time. */
static void test_dates_of_curl(void **state)
{
	json_t *root = load(), *one;
	size_t read = 0, refused = 0, must = 0, i;

	(void)state;
	if (!root)
		skip();
	json_array_foreach(json_object_get(json_object_get(root, "http_date"), "cases"), i, one)
	{
		const json_t *input = json_object_get(one, "input");
		const json_t *want = json_object_get(one, "expect_unix");
		bool form = json_is_string(json_object_get(one, "rfc9110_form")) &&
			    json_is_number(want);
		double value = NAN;

		must += form;
		if (http_date_read(json_string_value(input), json_string_length(input), NOW,
				   &value)) {
			read++;
			if (!json_is_number(want) || json_number_value(want) != value)
				fail_msg("%s: %.0f", json_string_value(input), value);
		} else {
			refused++;
			if (form)
				fail_msg("%s is refused", json_string_value(input));
		}
	}
	json_decref(root);
	print_message("%zu read, %zu of them of the three forms; %zu refused\n", read, must,
		      refused);
	assert_true(must > 3 && read >= must);
}

static void test_retry_after_of_openai(void **state)
{
	json_t *root = load(), *retry, *one;
	size_t count = 0, i;
	double now;

	(void)state;
	if (!root)
		skip();
	retry = json_object_get(root, "retry_after");
	now = json_number_value(json_object_get(retry, "now_unix"));
	json_array_foreach(json_object_get(retry, "steps"), i, one)
	{
		const json_t *text = json_object_get(one, "value");
		const json_t *want = json_object_get(one, "parsed_delta_s");
		double value = NAN;
		enum field_result result = field_wait(
			(struct field_text){json_string_value(text), json_string_length(text)}, now,
			&value);

		/* "0" is said to be nothing to wait for, which a reader can know only from the 0 */
		if (!strcmp(json_string_value(text), "0"))
			assert_true(result == FIELD_FINE && value == 0);
		else if (json_is_null(want))
			assert_true(result != FIELD_FINE);
		else
			expect(json_string_value(text), result == FIELD_FINE, value,
			       json_number_value(want));
		count++;
	}
	json_decref(root);
	print_message("%zu values\n", count);
	assert_true(count >= 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_http_dates),
		cmocka_unit_test(test_two_digits),
		cmocka_unit_test(test_iso_dates),
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_cut_texts),
		cmocka_unit_test(test_dates_of_curl),
		cmocka_unit_test(test_retry_after_of_openai),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
