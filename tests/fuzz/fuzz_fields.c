/* SPDX-License-Identifier: Apache-2.0
 *
 * Any head of a response, by any profile, at any time: every number that comes out is finite and
 * within bounds, every text ends, the same goes in twice and comes out alike, and a field that is
 * cut off somewhere does no harm either. The same text as a mapping: taken, or a sentence.
 */
#include "fuzz.h"

#include <math.h>

#include "fields.h"

enum { HEADERS = 200, HEAD_BYTES = 4 };

static void check_number(double value, double max)
{
	FUZZ_CHECK(isnan(value) || (value >= 0 && value <= max));
}

static void check_text(const char *text)
{
	FUZZ_CHECK(memchr(text, '\0', FIELDS_NAME_BYTES));
}

static void check_limit(const struct fields_limit *limit)
{
	check_number(limit->limit, FIELDS_COUNT_MAX);
	check_number(limit->remaining, FIELDS_COUNT_MAX);
	check_number(limit->used, FIELDS_COUNT_MAX);
	check_number(limit->reset_s, FIELDS_NEVER_S);
	check_number(limit->window_s, FIELDS_NEVER_S);
	check_number(limit->utilization, FIELDS_COUNT_MAX);
	check_number(limit->rate_per_s, FIELDS_COUNT_MAX);
	check_number(limit->burst, FIELDS_COUNT_MAX);
	FUZZ_CHECK(!(limit->remaining > limit->limit));
	FUZZ_CHECK(!(limit->window_s <= 0));
	check_text(limit->resource);
	check_text(limit->unit);
	check_text(limit->partition_key);
}

static void check_verdict(const struct fields_verdict *verdict)
{
	check_number(verdict->retry_after_s, FIELDS_NEVER_S);
	FUZZ_CHECK(verdict->count <= FIELDS_LIMITS_MAX);
	FUZZ_CHECK(verdict->policy_count <= FIELDS_POLICIES_MAX);
	FUZZ_CHECK(strcmp(fields_action_text(verdict->action), "?") != 0);
	FUZZ_CHECK(strcmp(fields_cause_text(verdict->cause), "?") != 0);
	for (size_t i = 0; i < verdict->count; i++)
		check_limit(&verdict->limits[i]);
	for (size_t i = 0; i < verdict->policy_count; i++) {
		check_number(verdict->policies[i].quota, FIELDS_COUNT_MAX);
		check_number(verdict->policies[i].window_s, FIELDS_COUNT_MAX);
	}
}

/* "NAME:VALUE\nNAME:VALUE": every name and value in memory of its own size, to catch a byte more.
 */
static size_t split(const char *text, size_t bytes, struct fields_header headers[HEADERS])
{
	size_t count = 0;

	for (size_t at = 0; at < bytes && count < HEADERS;) {
		const char *stop = memchr(text + at, '\n', bytes - at);
		size_t line = stop ? (size_t)(stop - text) - at : bytes - at;
		const char *colon = memchr(text + at, ':', line);
		size_t name = colon ? (size_t)(colon - text) - at : line;
		size_t value = line - name - (colon != NULL);

		headers[count].name = fuzz_text((const uint8_t *)text + at, name);
		headers[count].name_bytes = name;
		headers[count].value = fuzz_text((const uint8_t *)text + at + line - value, value);
		headers[count++].value_bytes = value;
		at += line + 1;
	}
	return count;
}

static double clock_of(uint8_t byte)
{
	static const double clocks[] = {1.7e9, 1000, 0, -1, NAN, INFINITY, 784111777.5, 1e300};

	return clocks[byte % (sizeof(clocks) / sizeof(clocks[0]))];
}

static const struct fields_profile *profile_of(uint8_t byte)
{
	return byte ? fields_profile_at(byte - 1u) : NULL;
}

static void check_mapping(const char *text, struct fields_mapping *mapping)
{
	const char *why = fields_mapping_parse("field.reset.tokens", text, mapping);

	FUZZ_CHECK(!why || (*why && strlen(why) < 400));
	if (why)
		why = fields_mapping_parse("field.used", "x-used", mapping);
	FUZZ_CHECK(!why);
	why = fields_mapping_parse(text, "x", mapping + 1);
	FUZZ_CHECK(!why || (*why && strlen(why) < 400));
	if (why)
		mapping[1] = mapping[0];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fields_verdict first, second;
	struct fields_header headers[HEADERS];
	struct fields_mapping mappings[2];
	struct fields_response response = {.headers = headers, .mappings = mappings};
	char *text;

	if (size < HEAD_BYTES)
		return 0;
	response.status = data[0] * 4;
	response.captured_at = clock_of(data[1]);
	response.profile = profile_of(data[2]);
	response.mapping_count = data[3] % 3;
	text = fuzz_text(data + HEAD_BYTES, size - HEAD_BYTES);
	check_mapping(text, mappings);
	response.count = split(text, size - HEAD_BYTES, headers);
	FUZZ_CHECK(fields_read(&response, &first) == first.action);
	check_verdict(&first);
	memset(&second, 0x5a, sizeof(second));
	fields_read(&response, &second);
	FUZZ_CHECK(first.action == second.action && first.count == second.count);
	check_verdict(&second);
	for (size_t i = 0; i < response.count; i++) {
		free((char *)headers[i].name);
		free((char *)headers[i].value);
	}
	free(text);
	return 0;
}
