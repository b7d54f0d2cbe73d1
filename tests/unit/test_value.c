/* SPDX-License-Identifier: Apache-2.0
 *
 * Rates, tokens, durations and counts, read and written.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "token_clock.h"
#include "value.h"

#define SECOND 1000000000ull
#define DAY (86400 * SECOND)
#define MILLION_MICRO 1000000000000ull
#define ROUNDS 200000
#define UNWRITTEN 0x5eedull

struct rate_case {
	const char *text;
	uint64_t rate_micro;
	uint64_t period_ns;
};

static const struct rate_case rates[] = {
	{"10/s", 10000000, SECOND},
	{"0.045/s", 45000, SECOND},
	{"5000/h", 5000000000, 3600 * SECOND},
	{"60/min", 60000000, 60 * SECOND},
	{"5/2s", 5000000, 2 * SECOND},
	{"1/d", 1000000, DAY},
	{"1/366d", 1000000, 366 * DAY},
	{"0.000001/366d", 1, 366 * DAY},
	{"2.5/90min", 2500000, 5400 * SECOND},
	{"1M/s", 1000000000000, SECOND},
	{"1.5Ki/h", 1536000000, 3600 * SECOND},
	{"1G/s", 1000000000000000, SECOND},
	{"1000000000/1s", 1000000000000000, SECOND},
	{"60000000000/min", 60000000000000000, 60 * SECOND},
	{"0010.500000/s", 10500000, SECOND},
	{"0", 0, SECOND},
	{"0/s", 0, SECOND},
	{"0/2s", 0, 2 * SECOND},
	{"unlimited", TERMS_UNLIMITED, SECOND},
};

static void reads_rates(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		uint64_t rate;
		uint64_t period;

		assert_null(value_rate(rates[i].text, &rate, &period));
		assert_int_equal(rate, rates[i].rate_micro);
		assert_int_equal(period, rates[i].period_ns);
	}
}

/* A text that is refused, and what the sentence must speak of. */
struct fault_case {
	const char *text;
	const char *says;
};

static const struct fault_case bad_rates[] = {
	{"", "NUMBER/[N]UNIT"},
	{"10", "NUMBER/[N]UNIT"},
	{"/s", "NUMBER/[N]UNIT"},
	{"10/", "NUMBER/[N]UNIT"},
	{"10/y", "s, min, h or d"},
	{"10/S", "s, min, h or d"},
	{"10/ms", "s, min, h or d"},
	{"10/sec", "s, min, h or d"},
	{"10/s ", "s, min, h or d"},
	{" 10/s", "NUMBER/[N]UNIT"},
	{"10 /s", "NUMBER/[N]UNIT"},
	{"10//s", "NUMBER/[N]UNIT"},
	{"10/s/s", "NUMBER/[N]UNIT"},
	{"-1/s", "NUMBER/[N]UNIT"},
	{"+1/s", "NUMBER/[N]UNIT"},
	{"nan/s", "NUMBER/[N]UNIT"},
	{"inf/s", "NUMBER/[N]UNIT"},
	{"1e3/s", "NUMBER/[N]UNIT"},
	{"0x10/s", "NUMBER/[N]UNIT"},
	{"1,5/s", "NUMBER/[N]UNIT"},
	{"5./s", "both sides"},
	{".5/s", "NUMBER/[N]UNIT"},
	{"5/0.5s", "whole"},
	{"5/0s", "1 s to 366 d"},
	{"5/367d", "1 s to 366 d"},
	{"5/99999999999999999999999d", "1 s to 366 d"},
	{"5/18446744073709551617s", "1 s to 366 d"},
	{"0.0000001/s", "6 decimals"},
	{"1000000000.000001/s", "1000000000 tokens a second"},
	{"1000000001/s", "1000000000 tokens a second"},
	{"2G/s", "1000000000 tokens a second"},
	{"1000000000001/d", "10^12"},
	{"99999999999999999999999999999999999999999/s", "10^12"},
	{"18446744073709551616/d", "10^12"},
	{"Unlimited", "unlimited"},
	{"unlimited/s", "unlimited"},
};

static void refuses_bad_rates(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad_rates) / sizeof(bad_rates[0]); i++) {
		uint64_t rate = UNWRITTEN;
		uint64_t period = UNWRITTEN;
		const char *why = value_rate(bad_rates[i].text, &rate, &period);

		if (!why || !strstr(why, bad_rates[i].says))
			fail_msg("\"%s\": %s", bad_rates[i].text, why ? why : "taken");
		assert_int_equal(rate, UNWRITTEN);
		assert_int_equal(period, UNWRITTEN);
	}
}

struct number_case {
	const char *text;
	uint64_t value;
};

static const struct number_case tokens[] = {
	{"0", 0},
	{"1", 1000000},
	{"0.000001", 1},
	{"2.5", 2500000},
	{"2.50000000000000000000000000000", 2500000},
	{"100", 100000000},
	{"1.5K", 1500000000},
	{"0.0000000001K", UINT64_MAX}, /* refused: see below */
	{"0.000000001K", 1},
	{"1Ki", 1024000000},
	{"1Mi", 1048576000000},
	{"1Gi", 1073741824000000},
	{"0.5Gi", 536870912000000},
	{"1000G", 1000000000000000000},
	{"1000000000000", 1000000000000000000},
};

static void reads_tokens(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++) {
		uint64_t micro = UINT64_MAX;
		const char *why = value_tokens(tokens[i].text, &micro);

		assert_int_equal(why != NULL, tokens[i].value == UINT64_MAX);
		assert_int_equal(micro, tokens[i].value);
	}
}

static const struct fault_case bad_tokens[] = {
	{"", "K, M, G"},
	{"-1", "K, M, G"},
	{"1k", "K, M, G"},
	{"1KB", "K, M, G"},
	{"1 K", "K, M, G"},
	{"ten", "K, M, G"},
	{"1.", "both sides"},
	{"0.0000005", "6 decimals"},
	{"0.1234567", "6 decimals"},
	{"1.00000000000000000000000000001", "6 decimals"},
	{"1000000000000.000001", "10^12"},
	{"1001G", "10^12"},
	{"1e12", "K, M, G"},
};

static void refuses_bad_tokens(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad_tokens) / sizeof(bad_tokens[0]); i++) {
		uint64_t micro = UNWRITTEN;
		const char *why = value_tokens(bad_tokens[i].text, &micro);

		if (!why || !strstr(why, bad_tokens[i].says))
			fail_msg("\"%s\": %s", bad_tokens[i].text, why ? why : "taken");
		assert_int_equal(micro, UNWRITTEN);
	}
}

static const struct number_case durations[] = {
	{"0", 0},
	{"0s", 0},
	{"1ns", 1},
	{"250ms", 250000000},
	{"0.25s", 250000000},
	{"1.5us", 1500},
	{"0.000000001s", 1},
	{"30s", 30 * SECOND},
	{"5min", 300 * SECOND},
	{"1h", 3600 * SECOND},
	{"1.5h", 5400 * SECOND},
	{"366d", 366 * DAY},
};

static void reads_durations(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++) {
		uint64_t ns;

		assert_null(value_duration(durations[i].text, &ns));
		assert_int_equal(ns, durations[i].value);
	}
}

static const struct fault_case bad_durations[] = {
	{"", "250ms"},
	{"5", "250ms"},
	{"-5s", "250ms"},
	{"5m", "250ms"},
	{"5 s", "250ms"},
	{"5sec", "250ms"},
	{"0.5ns", "nanoseconds"},
	{"367d", "366d"},
	{"99999999999d", "366d"},
	{"1h30min", "250ms"},
	{"s", "250ms"},
	{"1.s", "both sides"},
};

static void refuses_bad_durations(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad_durations) / sizeof(bad_durations[0]); i++) {
		uint64_t ns = UNWRITTEN;
		const char *why = value_duration(bad_durations[i].text, &ns);

		if (!why || !strstr(why, bad_durations[i].says))
			fail_msg("\"%s\": %s", bad_durations[i].text, why ? why : "taken");
		assert_int_equal(ns, UNWRITTEN);
	}
}

static void reads_counts_within_range(void **state)
{
	uint64_t count = UNWRITTEN;

	(void)state;
	assert_null(value_count("1024", 1, 65535, &count));
	assert_int_equal(count, 1024);
	assert_null(value_count("64K", 1, 65535, &count));
	assert_int_equal(count, 64000);
	assert_null(value_count("1Mi", 1, 1048576, &count));
	assert_int_equal(count, 1048576);
	assert_null(value_count("1", 1, 1, &count));
	assert_int_equal(count, 1);
	count = UNWRITTEN;
	assert_non_null(strstr(value_count("0", 1, 10, &count), "range"));
	assert_non_null(strstr(value_count("11", 1, 10, &count), "range"));
	assert_non_null(strstr(value_count("18446744073709551617", 1, 10, &count), "range"));
	assert_non_null(strstr(value_count("1.5", 1, 10, &count), "whole"));
	assert_non_null(strstr(value_count("", 1, 10, &count), "whole"));
	assert_non_null(strstr(value_count("K", 1, 10, &count), "whole"));
	assert_non_null(strstr(value_count("-1", 1, 10, &count), "whole"));
	assert_non_null(strstr(value_count("1 ", 1, 10, &count), "whole"));
	assert_int_equal(count, UNWRITTEN);
}

static void writes_the_shortest_text(void **state)
{
	char out[VALUE_TEXT_BYTES];

	(void)state;
	assert_string_equal(value_tokens_text(100000000, out), "100");
	assert_string_equal(value_tokens_text(2500000, out), "2.5");
	assert_string_equal(value_tokens_text(1, out), "0.000001");
	assert_string_equal(value_tokens_text(0, out), "0");
	assert_string_equal(value_tokens_text(1500000000, out), "1500");
	assert_string_equal(value_tokens_text(60000000000, out), "60000");
	assert_string_equal(value_tokens_text(999999999999, out), "999999.999999");
	assert_string_equal(value_tokens_text(1000000000000, out), "1M");
	assert_string_equal(value_tokens_text(1048576000000, out), "1Mi");
	assert_string_equal(value_duration_text(250000000, out), "250ms");
	assert_string_equal(value_duration_text(0, out), "0");
	assert_string_equal(value_duration_text(1, out), "1ns");
	assert_string_equal(value_duration_text(60 * SECOND, out), "60s");
	assert_string_equal(value_duration_text(5400 * SECOND, out), "1.5h");
	assert_string_equal(value_rate_text(10000000, SECOND, out), "10/s");
	assert_string_equal(value_rate_text(5000000, 2 * SECOND, out), "5/2s");
	assert_string_equal(value_rate_text(45000, SECOND, out), "0.045/s");
	assert_string_equal(value_rate_text(1000000, 2 * DAY, out), "1/2d");
	assert_string_equal(value_rate_text(60000000, 60 * SECOND, out), "60/min");
	assert_string_equal(value_rate_text(5000000000, 3600 * SECOND, out), "5000/h");
	assert_string_equal(value_rate_text(0, SECOND, out), "0");
	assert_string_equal(value_rate_text(0, 2 * SECOND, out), "0/2s");
	assert_string_equal(value_rate_text(TERMS_UNLIMITED, SECOND, out), "unlimited");
}

/* What was damaged comes out as some bounded text. */
static void writes_any_bytes(void **state)
{
	char out[VALUE_TEXT_BYTES];

	(void)state;
	assert_true(strlen(value_tokens_text(UINT64_MAX, out)) < VALUE_TEXT_BYTES);
	assert_true(strlen(value_duration_text(UINT64_MAX, out)) < VALUE_TEXT_BYTES);
	assert_true(strlen(value_rate_text(UINT64_MAX - 1, UINT64_MAX, out)) < VALUE_TEXT_BYTES);
	assert_true(strlen(value_rate_text(1, 0, out)) < VALUE_TEXT_BYTES);
	assert_true(strlen(value_rate_text(0, 0, out)) < VALUE_TEXT_BYTES);
}

static uint64_t random_word(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* Of every size alike, often with round numbers. */
static uint64_t random_value(uint64_t *seed, uint64_t max)
{
	uint64_t value = random_word(seed) >> random_word(seed) % 64;

	for (uint64_t zeros = random_word(seed) % 12; zeros > 0 && value < max / 10; zeros--)
		value *= 10;
	return value % (max + 1);
}

static uint64_t random_period(uint64_t *seed)
{
	static const uint64_t units[] = {SECOND, 60 * SECOND, 3600 * SECOND, DAY};
	uint64_t unit = units[random_word(seed) % 4];

	return unit * (1 + random_value(seed, 366 * DAY / unit - 1));
}

static void every_text_reads_back(void **state)
{
	uint64_t seed = 0x9e3779b97f4a7c15;

	(void)state;
	for (int i = 0; i < ROUNDS; i++) {
		char text[VALUE_TEXT_BYTES];
		uint64_t value = random_value(&seed, VALUE_TOKENS_MAX_MICRO);
		uint64_t period = random_period(&seed);
		uint64_t again;
		uint64_t period_again;

		assert_null(value_tokens(value_tokens_text(value, text), &again));
		assert_int_equal(again, value);
		if (value / TERMS_MICRO >= period)
			value %= period;
		assert_null(
			value_rate(value_rate_text(value, period, text), &again, &period_again));
		assert_int_equal(again, value);
		assert_int_equal(period_again, period);
		value = random_value(&seed, 366 * DAY);
		assert_null(value_duration(value_duration_text(value, text), &again));
		assert_int_equal(again, value);
	}
}

/*
 * From a million no text is shorter than what was written: every text of up to 4 characters is
 * read. Below it there is no multiple.
 */
static void no_shorter_text_exists(void **state)
{
	static const char alphabet[] = "0123456789.KMGi";
	size_t letters = sizeof(alphabet) - 1;

	(void)state;
	for (size_t number = 0; number < letters * letters * letters * letters; number++) {
		char text[5] = "";
		char written[VALUE_TEXT_BYTES];
		uint64_t micro;
		size_t rest = number;

		for (size_t i = 0; i < 4; i++, rest /= letters)
			text[i] = alphabet[rest % letters];
		for (size_t length = 4; length > 0; length--) {
			text[length] = '\0';
			if (value_tokens(text, &micro))
				continue;
			value_tokens_text(micro, written);
			assert_true(micro < MILLION_MICRO ? !strpbrk(written, "KMGi")
							  : strlen(written) <= length);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_rates),
		cmocka_unit_test(refuses_bad_rates),
		cmocka_unit_test(reads_tokens),
		cmocka_unit_test(refuses_bad_tokens),
		cmocka_unit_test(reads_durations),
		cmocka_unit_test(refuses_bad_durations),
		cmocka_unit_test(reads_counts_within_range),
		cmocka_unit_test(writes_the_shortest_text),
		cmocka_unit_test(writes_any_bytes),
		cmocka_unit_test(every_text_reads_back),
		cmocka_unit_test(no_shorter_text_exists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
