/* SPDX-License-Identifier: Apache-2.0
 *
 * Control messages: what is written reads back, and no other bytes do harm. Every buffer that is
 * parsed is an allocation of exactly its length, so that a sanitizer sees a read past its end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "weir.h"
#include "wire.h"

static uint64_t random_state = 0x9e3779b97f4a7c15ull;

/* xorshift64*: the same bytes in every run. */
static uint64_t random_next(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return random_state * 0x2545f4914f6cdd1dull;
}

static const struct wire_message full_message = {
	.kind = WIRE_SET,
	.keep = 2,
	.duration_ns = UINT64_MAX,
	.name = "api.github.com",
	.text = "",
	.setting_count = 3,
	.settings = {{"rate", "5/2s"}, {"burst", "15"}, {"max_wait", ""}},
};

static unsigned char *exact_copy(const unsigned char *bytes, size_t count)
{
	unsigned char *copy = malloc(count ? count : 1);

	assert_non_null(copy);
	memcpy(copy, bytes, count);
	return copy;
}

static size_t write_full(unsigned char out[WIRE_MAX_BYTES])
{
	int64_t bytes = wire_write(&full_message, out, WIRE_MAX_BYTES);

	assert_true(bytes > (int64_t)WIRE_HEADER_BYTES);
	return (size_t)bytes;
}

static void assert_same_string(const char *a, const char *b)
{
	assert_int_equal(a == NULL, b == NULL);
	if (a)
		assert_string_equal(a, b);
}

static void assert_same_message(const struct wire_message *a, const struct wire_message *b)
{
	assert_int_equal(a->kind, b->kind);
	assert_int_equal(a->code, b->code);
	assert_int_equal(a->keep, b->keep);
	assert_true(a->duration_ns == b->duration_ns);
	assert_same_string(a->name, b->name);
	assert_same_string(a->text, b->text);
	assert_int_equal(a->setting_count, b->setting_count);
	for (unsigned i = 0; i < a->setting_count; i++) {
		assert_string_equal(a->settings[i].key, b->settings[i].key);
		assert_string_equal(a->settings[i].value, b->settings[i].value);
	}
}

static void assert_round_trip(const struct wire_message *message)
{
	unsigned char bytes[WIRE_MAX_BYTES];
	int64_t length = wire_write(message, bytes, sizeof(bytes));
	struct wire_message read;
	unsigned char *copy;

	assert_true(length >= (int64_t)WIRE_HEADER_BYTES);
	copy = exact_copy(bytes, (size_t)length);
	assert_true(wire_length(copy, (size_t)length) == length);
	assert_int_equal(wire_parse(&read, copy, (size_t)length), 0);
	assert_same_message(message, &read);
	free(copy);
}

static void test_round_trips(void **state)
{
	static const struct wire_message messages[] = {
		{.kind = WIRE_PING},
		{.kind = WIRE_RELOAD},
		{.kind = WIRE_RESET, .name = "a"},
		{.kind = WIRE_OPEN, .name = "*"},
		{.kind = WIRE_CLOSE, .name = "api/*", .duration_ns = 1},
		{.kind = WIRE_REPLY, .code = WEIR_EDENIED, .text = "two\nlines"},
		{.kind = WIRE_REPLY, .code = INT32_MIN, .text = ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++)
		assert_round_trip(&messages[i]);
	assert_round_trip(&full_message);
}

static void test_all_settings_fit(void **state)
{
	struct wire_message message = {.kind = WIRE_SET, .setting_count = WIRE_MAX_SETTINGS};

	(void)state;
	for (unsigned i = 0; i < WIRE_MAX_SETTINGS; i++)
		message.settings[i] = (struct wire_setting){"key", "value"};
	assert_round_trip(&message);
	message.setting_count++;
	assert_int_equal(wire_write(&message, (unsigned char[WIRE_MAX_BYTES]){0}, WIRE_MAX_BYTES),
			 WEIR_EWIRE);
}

/* One setting more than a message may have, in bytes that are right but for that. */
static void test_one_setting_too_many(void **state)
{
	struct wire_message message = {.kind = WIRE_SET, .setting_count = WIRE_MAX_SETTINGS};
	static const unsigned char more[] = {6, 0, 2, 0, 'k', 0, 7, 0, 2, 0, 'v', 0};
	unsigned char bytes[WIRE_MAX_BYTES];
	struct wire_message read;

	(void)state;
	for (unsigned i = 0; i < WIRE_MAX_SETTINGS; i++)
		message.settings[i] = (struct wire_setting){"key", "value"};
	size_t length = (size_t)wire_write(&message, bytes, sizeof(bytes));

	memcpy(bytes + length, more, sizeof(more));
	length += sizeof(more);
	bytes[0] = (unsigned char)length;
	bytes[1] = (unsigned char)(length >> 8);
	assert_int_equal(wire_parse(&read, bytes, length), WEIR_EWIRE);
}

/* A setting is a key and a value. */
static void test_half_a_setting(void **state)
{
	struct wire_message message = {.kind = WIRE_SET, .setting_count = 1};
	unsigned char bytes[WIRE_MAX_BYTES];

	(void)state;
	message.settings[0] = (struct wire_setting){"key", NULL};
	assert_int_equal(wire_write(&message, bytes, sizeof(bytes)), WEIR_EWIRE);
	message.settings[0] = (struct wire_setting){NULL, "value"};
	assert_int_equal(wire_write(&message, bytes, sizeof(bytes)), WEIR_EWIRE);
}

/* A message that fits into n bytes is refused by every smaller buffer, and nothing is written
 * past it. */
static void test_write_into_little_room(void **state)
{
	unsigned char whole[WIRE_MAX_BYTES];
	size_t needed = write_full(whole);

	(void)state;
	for (size_t room = 0; room < needed; room++) {
		unsigned char *out = malloc(room ? room : 1);

		assert_non_null(out);
		assert_int_equal(wire_write(&full_message, out, room), WEIR_EWIRE);
		free(out);
	}
	assert_int_equal(wire_write(&full_message, whole, needed), (int64_t)needed);
}

static void test_write_too_long(void **state)
{
	char *text = malloc(70000);
	unsigned char out[WIRE_MAX_BYTES];
	struct wire_message message = {.kind = WIRE_REPLY, .text = text};

	(void)state;
	assert_non_null(text);
	memset(text, 'x', 69999);
	text[69999] = '\0';
	assert_int_equal(wire_write(&message, out, sizeof(out)), WEIR_EWIRE);
	/* the longest that fits: header, the field's header, and the closing NUL */
	text[WIRE_MAX_BYTES - WIRE_HEADER_BYTES - 4 - 1] = '\0';
	assert_int_equal(wire_write(&message, out, sizeof(out)), (int64_t)WIRE_MAX_BYTES);
	assert_round_trip(&message);
	free(text);
}

/* Cut anywhere, a message is unfinished to wire_length() and none to wire_parse(). */
static void test_truncations(void **state)
{
	unsigned char whole[WIRE_MAX_BYTES];
	size_t needed = write_full(whole);
	struct wire_message read;

	(void)state;
	for (size_t bytes = 0; bytes < needed; bytes++) {
		unsigned char *copy = exact_copy(whole, bytes);

		assert_int_equal(wire_length(copy, bytes), 0);
		assert_int_equal(wire_parse(&read, copy, bytes), WEIR_EWIRE);
		free(copy);
	}
}

/* Cut anywhere, but with a header that says so: only a cut between fields leaves a message. */
static void test_truncations_that_claim_to_be_whole(void **state)
{
	unsigned char whole[WIRE_MAX_BYTES];
	size_t needed = write_full(whole);
	unsigned parsed = 0;

	(void)state;
	for (size_t bytes = WIRE_HEADER_BYTES; bytes < needed; bytes++) {
		unsigned char *copy = exact_copy(whole, bytes);
		struct wire_message read;

		copy[0] = (unsigned char)bytes;
		copy[1] = (unsigned char)(bytes >> 8);
		assert_int_equal(wire_length(copy, bytes), (int64_t)bytes);
		if (wire_parse(&read, copy, bytes) == 0) {
			parsed++;
			assert_true(read.setting_count < full_message.setting_count);
		}
		free(copy);
	}
	/* after the header, after each of keep, duration, name and text, after two settings */
	assert_int_equal(parsed, 1 + 4 + 2);
}

static void test_lengths_that_cannot_be(void **state)
{
	static const uint32_t lengths[] = {0, 1, 7, WIRE_MAX_BYTES + 1, 0x10000, UINT32_MAX};

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		unsigned char head[4];

		for (int byte = 0; byte < 4; byte++)
			head[byte] = (unsigned char)(lengths[i] >> (8 * byte));
		assert_int_equal(wire_length(head, sizeof(head)), WEIR_EWIRE);
		assert_int_equal(wire_length(head, 3), 0);
	}
}

static void assert_refused(const unsigned char *bytes, size_t count)
{
	unsigned char *copy = exact_copy(bytes, count);
	struct wire_message read;

	assert_int_equal(wire_parse(&read, copy, count), WEIR_EWIRE);
	free(copy);
}

#define ASSERT_REFUSED(...)                                                                        \
	assert_refused((const unsigned char[]){__VA_ARGS__},                                       \
		       sizeof((const unsigned char[]){__VA_ARGS__}))

static void test_malformed(void **state)
{
	(void)state;
	ASSERT_REFUSED(8, 0, 0, 0, 2, 0, 1, 0);				 /* another version */
	ASSERT_REFUSED(8, 0, 0, 0, 1, 0, 0, 0);				 /* no kind */
	ASSERT_REFUSED(8, 0, 0, 0, 1, 0, 8, 0);				 /* an unknown kind */
	ASSERT_REFUSED(9, 0, 0, 0, 1, 0, 1, 0, 4);			 /* half a field */
	ASSERT_REFUSED(12, 0, 0, 0, 1, 0, 1, 0, 4, 0, 0, 0);		 /* a name of no bytes */
	ASSERT_REFUSED(13, 0, 0, 0, 1, 0, 1, 0, 4, 0, 1, 0, 'a');	 /* no NUL */
	ASSERT_REFUSED(14, 0, 0, 0, 1, 0, 1, 0, 4, 0, 2, 0, 0, 0);	 /* two NULs */
	ASSERT_REFUSED(13, 0, 0, 0, 1, 0, 1, 0, 4, 0, 2, 0, 'a');	 /* beyond the end */
	ASSERT_REFUSED(12, 0, 0, 0, 1, 0, 1, 0, 4, 0, 255, 255);	 /* far beyond the end */
	ASSERT_REFUSED(13, 0, 0, 0, 1, 0, 1, 0, 8, 0, 1, 0, 0);		 /* an unknown tag */
	ASSERT_REFUSED(13, 0, 0, 0, 1, 0, 1, 0, 2, 0, 1, 0, 1);		 /* a short number */
	ASSERT_REFUSED(16, 0, 0, 0, 1, 0, 1, 0, 2, 0, 4, 0, 0, 0, 0, 0); /* a number of 0 */
	ASSERT_REFUSED(13, 0, 0, 0, 1, 0, 2, 0, 7, 0, 1, 0, 0);		 /* a value, no key */
	ASSERT_REFUSED(13, 0, 0, 0, 1, 0, 2, 0, 6, 0, 1, 0, 0);		 /* a key, no value */
	ASSERT_REFUSED(18, 0, 0, 0, 1, 0, 2, 0, 6, 0, 1, 0, 0, 6, 0, 1, 0, 0); /* two keys */
	ASSERT_REFUSED(18, 0, 0, 0, 1, 0, 1, 0, 4, 0, 1, 0, 0, 4, 0, 1, 0, 0); /* two names */
	ASSERT_REFUSED(24, 0, 0, 0, 1, 0, 1, 0, 2, 0, 4, 0, 1, 0, 0, 0, 2, 0, 4, 0, 1, 0, 0,
		       0);			   /* keep twice */
	ASSERT_REFUSED(8, 0, 0, 0, 1, 0, 1, 0, 0); /* a byte too many */
	ASSERT_REFUSED(9, 0, 0, 0, 1, 0, 1, 0);	   /* a byte missing */
}

/* A string that was parsed lies whole inside the buffer. */
static void assert_inside(const char *string, const unsigned char *bytes, size_t count)
{
	const unsigned char *at = (const unsigned char *)string;

	if (!string)
		return;
	assert_true(at >= bytes && at < bytes + count);
	assert_non_null(memchr(at, 0, (size_t)(bytes + count - at)));
}

static void assert_sound(const unsigned char *bytes, size_t count)
{
	struct wire_message read;

	if (wire_parse(&read, bytes, count) < 0)
		return;
	assert_inside(read.name, bytes, count);
	assert_inside(read.text, bytes, count);
	assert_true(read.setting_count <= WIRE_MAX_SETTINGS);
	for (unsigned i = 0; i < read.setting_count; i++) {
		assert_inside(read.settings[i].key, bytes, count);
		assert_inside(read.settings[i].value, bytes, count);
	}
	/* whatever parses can be written again, and is the same */
	assert_round_trip(&read);
}

static void test_every_byte_replaced(void **state)
{
	unsigned char whole[WIRE_MAX_BYTES];
	size_t needed = write_full(whole);

	(void)state;
	for (size_t at = 0; at < needed; at++)
		for (unsigned value = 0; value < 256; value++) {
			unsigned char *copy = exact_copy(whole, needed);

			copy[at] = (unsigned char)value;
			wire_length(copy, needed);
			assert_sound(copy, needed);
			free(copy);
		}
}

static void mutate(unsigned char *bytes, size_t count)
{
	for (unsigned changes = (unsigned)(random_next() % 8) + 1; changes; changes--) {
		size_t at = random_next() % count;

		switch (random_next() % 3) {
		case 0:
			bytes[at] = (unsigned char)random_next();
			break;
		case 1:
			bytes[at] ^= (unsigned char)(1u << random_next() % 8);
			break;
		default:
			bytes[at] = bytes[random_next() % count];
			break;
		}
	}
}

static void test_random_mutations(void **state)
{
	unsigned char whole[WIRE_MAX_BYTES];
	size_t needed = write_full(whole);

	(void)state;
	for (int i = 0; i < 200000; i++) {
		size_t count = WIRE_HEADER_BYTES + random_next() % (needed - WIRE_HEADER_BYTES + 1);
		unsigned char *copy = exact_copy(whole, count);

		mutate(copy, count);
		/* most of the time let the header agree, so that the fields are reached */
		if (random_next() % 8) {
			copy[0] = (unsigned char)count;
			copy[1] = (unsigned char)(count >> 8);
			copy[2] = copy[3] = 0;
			copy[4] = WIRE_VERSION;
			copy[5] = 0;
		}
		wire_length(copy, count);
		assert_sound(copy, count);
		free(copy);
	}
}

/* ---- observations ---- */

static const struct wire_observation full_observation = {
	.status = 429,
	.outcome = WIRE_LIMITED,
	.says = WIRE_SAYS_ALL,
	.response_ns = 0x0102030405060708,
	.latency_ns = UINT64_MAX,
	.limit_micro = 1,
	.remaining_micro = 2,
	.reset_ns = 3,
	.window_ns = 4,
	.retry_ns = 5,
	.name = "POST api.openai.com/v1/*",
	.resource = "tokens",
};

static size_t write_observation(const struct wire_observation *observation,
				unsigned char out[WIRE_OBSERVATION_BYTES])
{
	int64_t length = wire_write_observation(observation, out, WIRE_OBSERVATION_BYTES);

	assert_true(length > 0);
	return (size_t)length;
}

static void test_observation(void **state)
{
	struct wire_observation longest = full_observation;
	unsigned char bytes[WIRE_OBSERVATION_BYTES];
	struct wire_observation read;
	size_t length = write_observation(&full_observation, bytes);

	(void)state;
	assert_int_equal(wire_parse_observation(&read, bytes, length), 0);
	assert_memory_equal(&read, &full_observation, sizeof(read));
	memset(longest.name, 'n', sizeof(longest.name) - 1);
	memset(longest.resource, 'r', sizeof(longest.resource) - 1);
	length = write_observation(&longest, bytes);
	assert_int_equal(wire_parse_observation(&read, bytes, length), 0);
	assert_memory_equal(&read, &longest, sizeof(read));
	assert_int_equal(wire_write_observation(&longest, bytes, length - 1), WEIR_EWIRE);
	longest.name[0] = '\0';
	assert_int_equal(wire_write_observation(&longest, bytes, sizeof(bytes)), WEIR_EWIRE);
	longest = full_observation;
	longest.outcome = WIRE_OVERLOAD + 1;
	assert_int_equal(wire_write_observation(&longest, bytes, sizeof(bytes)), WEIR_EWIRE);
	longest = full_observation;
	longest.says = WIRE_SAYS_ALL + 1;
	assert_int_equal(wire_write_observation(&longest, bytes, sizeof(bytes)), WEIR_EWIRE);
}

/* Cut anywhere, longer by a byte, or with any byte replaced: refused, or another one that is whole.
 */
static void test_observation_malformed(void **state)
{
	unsigned char bytes[WIRE_OBSERVATION_BYTES];
	struct wire_observation read;
	size_t length = write_observation(&full_observation, bytes);

	(void)state;
	for (size_t cut = 0; cut < length; cut++) {
		unsigned char *copy = exact_copy(bytes, cut ? cut : 1);

		assert_int_equal(wire_parse_observation(&read, copy, cut), WEIR_EWIRE);
		free(copy);
	}
	assert_int_equal(wire_parse_observation(&read, bytes, length + 1), WEIR_EWIRE);
	for (size_t at = 0; at < length; at++)
		for (unsigned value = 0; value < 256; value++) {
			unsigned char *copy = exact_copy(bytes, length);
			unsigned char again[WIRE_OBSERVATION_BYTES];

			copy[at] = (unsigned char)value;
			if (wire_parse_observation(&read, copy, length) == 0) {
				assert_int_equal(write_observation(&read, again), length);
				assert_memory_equal(again, copy, length);
			}
			free(copy);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_observation),
		cmocka_unit_test(test_observation_malformed),
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_all_settings_fit),
		cmocka_unit_test(test_one_setting_too_many),
		cmocka_unit_test(test_half_a_setting),
		cmocka_unit_test(test_write_into_little_room),
		cmocka_unit_test(test_write_too_long),
		cmocka_unit_test(test_truncations),
		cmocka_unit_test(test_truncations_that_claim_to_be_whole),
		cmocka_unit_test(test_lengths_that_cannot_be),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_every_byte_replaced),
		cmocka_unit_test(test_random_mutations),
	};

	return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
