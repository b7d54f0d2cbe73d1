/* SPDX-License-Identifier: Apache-2.0
 *
 * Every code has a text of its own, and every other number has one too.
 */
#include "weir.h"

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_codes(void **state)
{
	static const struct {
		int code;
		const char *text;
	} codes[] = {
#define CODE(name, number, text) {name, text},
		WEIR_ERRORS(CODE)
#undef CODE
	};
	const size_t count = sizeof(codes) / sizeof(codes[0]);

	(void)state;
	assert_true(count >= 20);
	for (size_t i = 0; i < count; i++) {
		assert_string_equal(weir_strerror(codes[i].code), codes[i].text);
		for (size_t j = 0; j < i; j++) {
			assert_int_not_equal(codes[i].code, codes[j].code);
			assert_string_not_equal(codes[i].text, codes[j].text);
		}
		/* out of the range of the system's codes */
		assert_true(codes[i].code < -4096);
	}
}

static void test_other_numbers(void **state)
{
	(void)state;
	assert_string_equal(weir_strerror(0), "success");
	assert_string_equal(weir_strerror(INT_MAX), "success");
	assert_string_equal(weir_strerror(-ENOENT), strerror(ENOENT));
	assert_string_equal(weir_strerror(-4095), "unknown system error");
	assert_string_equal(weir_strerror(-4096), "unknown weir error");
	assert_string_equal(weir_strerror(-5000), "unknown weir error");
	assert_string_equal(weir_strerror(INT_MIN), "unknown weir error");
}

static void test_version(void **state)
{
	(void)state;
	assert_string_equal(weir_version(), WEIR_VERSION);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_codes),
		cmocka_unit_test(test_other_numbers),
		cmocka_unit_test(test_version),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
