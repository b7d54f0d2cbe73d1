/* SPDX-License-Identifier: Apache-2.0
 *
 * weir-segment(5) against lib/layout.h, both ways: every field, constant and size of the header is
 * on the page with the numbers the compiler has, and the page has nothing that the header has not.
 * The header's text is read as well, so that what is added there cannot be forgotten here.
 */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "layout.h"

#define PAGE WEIR_SOURCE_DIR "/doc/man/weir-segment.5"
#define HEADER WEIR_SOURCE_DIR "/lib/layout.h"
#define SIGNATURE_OF_VERSION_3 0x35988a1e9414c42cull

/* ---- what the compiler says ---- */

struct shape {
	const char *name;
	size_t bytes;
};

static const struct shape shapes[] = {
#define SHAPE(type)                                                                                \
	{                                                                                          \
#type, sizeof(struct type)                                                         \
	}
	SHAPE(rules_header), SHAPE(rule_row),	  SHAPE(line_copy),   SHAPE(line_words),
	SHAPE(line_terms),   SHAPE(bucket),	  SHAPE(tally),	      SHAPE(state_header),
	SHAPE(member_row),   SHAPE(name_row),	  SHAPE(line_shadow), SHAPE(line_class),
	SHAPE(permit_span),  SHAPE(permit_row),	  SHAPE(permit_line), SHAPE(waiter_row),
	SHAPE(keyed_row),    SHAPE(key_slot),	  SHAPE(key_bin),     SHAPE(key_stripe),
	SHAPE(key_name),     SHAPE(key_worst),	  SHAPE(key_head),    SHAPE(follow_row),
	SHAPE(line_follow),  SHAPE(line_learned), SHAPE(line_adapt),
};

struct field {
	const char *type;
	const char *name;
	size_t offset;
	size_t bytes;
};

static const struct field fields[] = {
#define FIELD(type, member)                                                                        \
	{                                                                                          \
#type, #member, offsetof(struct type, member),                                     \
			sizeof(((struct type *)NULL)->member)                                      \
	}
	FIELD(rules_header, magic),
	FIELD(rules_header, version),
	FIELD(rules_header, ready),
	FIELD(rules_header, signature),
	FIELD(rules_header, bytes),
	FIELD(rules_header, pair),
	FIELD(rules_header, predecessor),
	FIELD(rules_header, boot),
	FIELD(rules_header, time_namespace),
	FIELD(rules_header, created_ns),
	FIELD(rules_header, clock_kind),
	FIELD(rules_header, rows),
	FIELD(rules_header, names),
	FIELD(rules_header, members),
	FIELD(rules_header, cpu_lanes),
	FIELD(rules_header, rows_used),
	FIELD(rules_header, permits),
	FIELD(rules_header, waiters),
	FIELD(rules_header, follows),
	FIELD(rules_header, follows_used),
	FIELD(rules_header, table_generation),
	FIELD(rules_header, publisher_pid),
	FIELD(rules_header, table_reserved),
	FIELD(rules_header, clock),
	FIELD(rules_header, secret),
	FIELD(rules_header, tables),
	FIELD(rules_header, tables_used),
	FIELD(rules_header, bins),
	FIELD(rules_header, bins_used),
	FIELD(rules_header, reserved),
	FIELD(rule_row, generation),
	FIELD(rule_row, state),
	FIELD(rule_row, kind),
	FIELD(rule_row, order),
	FIELD(rule_row, source),
	FIELD(rule_row, source_shape),
	FIELD(rule_row, table),
	FIELD(rule_row, source_units),
	FIELD(rule_row, source_shadow),
	FIELD(rule_row, source_burst),
	FIELD(rule_row, source_ticks),
	FIELD(rule_row, copies),
	FIELD(rule_row, text),
	FIELD(rule_row, permit_limit),
	FIELD(rule_row, permit_hold_ns),
	FIELD(rule_row, permit_head),
	FIELD(rule_row, permit_cause),
	FIELD(rule_row, permit_bounds),
	FIELD(rule_row, permit_since),
	FIELD(rule_row, permit_latency_ns),
	FIELD(rule_row, permit_base_ns),
	FIELD(rule_row, permit_reserved),
	FIELD(permit_span, head),
	FIELD(permit_span, next),
	FIELD(line_copy, words),
	FIELD(line_copy, terms),
	FIELD(line_copy, shadow),
	FIELD(line_copy, classes),
	FIELD(line_words, origin_ticks),
	FIELD(line_words, origin_units),
	FIELD(line_words, origin_fraction),
	FIELD(line_words, slope),
	FIELD(line_words, shape),
	FIELD(line_words, burst_units),
	FIELD(line_words, reach_units),
	FIELD(line_words, initial_units),
	FIELD(line_terms, rate_micro),
	FIELD(line_terms, period_ns),
	FIELD(line_terms, burst_micro),
	FIELD(line_terms, initial_micro),
	FIELD(line_terms, max_wait_ns),
	FIELD(line_terms, changed),
	FIELD(line_terms, window_ns),
	FIELD(line_terms, window_wall_ns),
	FIELD(line_shadow, origin_ticks),
	FIELD(line_shadow, origin_units),
	FIELD(line_shadow, origin_fraction),
	FIELD(line_shadow, slope),
	FIELD(line_shadow, burst_units),
	FIELD(line_shadow, rate_micro),
	FIELD(line_shadow, period_ns),
	FIELD(line_shadow, burst_micro),
	FIELD(line_class, name),
	FIELD(line_class, leave),
	FIELD(follow_row, sides),
	FIELD(line_follow, learned),
	FIELD(line_follow, adapt),
	FIELD(line_learned, rate_micro),
	FIELD(line_learned, period_ns),
	FIELD(line_learned, burst_micro),
	FIELD(line_learned, until_ns),
	FIELD(line_learned, from_ns),
	FIELD(line_learned, limit_micro),
	FIELD(line_learned, remaining_micro),
	FIELD(line_learned, cause),
	FIELD(line_adapt, mode),
	FIELD(line_adapt, min_rate_micro),
	FIELD(line_adapt, min_period_ns),
	FIELD(line_adapt, safety_micro),
	FIELD(line_adapt, max_close_ns),
	FIELD(line_adapt, reserved),
	FIELD(line_adapt, text),
	FIELD(state_header, magic),
	FIELD(state_header, version),
	FIELD(state_header, ready),
	FIELD(state_header, signature),
	FIELD(state_header, bytes),
	FIELD(state_header, pair),
	FIELD(state_header, names_refused),
	FIELD(state_header, observations_dropped),
	FIELD(state_header, observations_refused),
	FIELD(state_header, retired),
	FIELD(state_header, retired_reserved),
	FIELD(state_header, manual_ns),
	FIELD(state_header, manual_moves),
	FIELD(state_header, manual_reserved),
	FIELD(bucket, mark),
	FIELD(bucket, gate),
	FIELD(bucket, shadow),
	FIELD(bucket, shadow_counts),
	FIELD(bucket, reserved),
	FIELD(tally, counters),
	FIELD(member_row, generation),
	FIELD(member_row, pid),
	FIELD(member_row, uid),
	FIELD(member_row, start_ticks),
	FIELD(member_row, joined_ns),
	FIELD(member_row, program),
	FIELD(member_row, bell),
	FIELD(member_row, reserved),
	FIELD(permit_row, word),
	FIELD(permit_row, since),
	FIELD(permit_line, tickets),
	FIELD(permit_line, reach),
	FIELD(permit_line, ended),
	FIELD(permit_line, failed),
	FIELD(waiter_row, owner),
	FIELD(waiter_row, place),
	FIELD(waiter_row, wake),
	FIELD(waiter_row, rings),
	FIELD(waiter_row, reserved),
	FIELD(name_row, hash),
	FIELD(name_row, source),
	FIELD(name_row, text),
	FIELD(keyed_row, first_bin),
	FIELD(keyed_row, bins),
	FIELD(keyed_row, keys),
	FIELD(keyed_row, fold),
	FIELD(keyed_row, reserved),
	FIELD(key_slot, key),
	FIELD(key_slot, mark),
	FIELD(key_bin, slots),
	FIELD(key_stripe, inserting),
	FIELD(key_stripe, evicted),
	FIELD(key_stripe, missed),
	FIELD(key_stripe, reserved),
	FIELD(key_name, bytes),
	FIELD(key_name, text),
	FIELD(key_worst, keys),
	FIELD(key_worst, counts),
	FIELD(key_worst, names),
	FIELD(key_head, stripes),
	FIELD(key_head, worst),
};

struct constant {
	const char *name;
	uint64_t value;
};

static const struct constant constants[] = {
#define CONSTANT(name)                                                                             \
	{                                                                                          \
#name, (uint64_t)(name)                                                            \
	}
	CONSTANT(LAYOUT_VERSION),
	CONSTANT(LAYOUT_RULES_MAGIC),
	CONSTANT(LAYOUT_STATE_MAGIC),
	CONSTANT(LAYOUT_LINE_BYTES),
	CONSTANT(LAYOUT_TEXT_BYTES),
	CONSTANT(LAYOUT_PROGRAM_BYTES),
	CONSTANT(LAYOUT_SECRET_BYTES),
	CONSTANT(LAYOUT_COUNTERS),
	CONSTANT(LAYOUT_CPU_LANES_MAX),
	CONSTANT(LAYOUT_SHARED_LANES),
	CONSTANT(LAYOUT_CLASSES),
	CONSTANT(LAYOUT_SHADOW_COUNTS),
	CONSTANT(LAYOUT_BLOCK_PERMITS),
	CONSTANT(LAYOUT_BIN_SLOTS),
	CONSTANT(LAYOUT_KEY_STRIPES),
	CONSTANT(LAYOUT_WORST_SETS),
	CONSTANT(LAYOUT_WORST_WAYS),
	CONSTANT(LAYOUT_WORST_BYTES),
	CONSTANT(LAYOUT_ADAPT_BYTES),
	CONSTANT(LAYOUT_MAX_ROWS),
	CONSTANT(LAYOUT_MAX_FOLLOWS),
	CONSTANT(LAYOUT_MAX_NAMES),
	CONSTANT(LAYOUT_MAX_MEMBERS),
	CONSTANT(LAYOUT_MAX_PERMITS),
	CONSTANT(LAYOUT_MAX_WAITERS),
	CONSTANT(LAYOUT_MAX_KEYS),
	CONSTANT(LAYOUT_KEYS_ALIGNMENT),
	CONSTANT(LAYOUT_MEMBER_LOCKS),
	CONSTANT(CLOCK_KIND_TSC),
	CONSTANT(CLOCK_KIND_MONOTONIC),
	CONSTANT(CLOCK_KIND_MANUAL),
	CONSTANT(ROW_EXACT),
	CONSTANT(ROW_PATTERN),
	CONSTANT(ROW_DEFAULT),
	CONSTANT(ROW_EACH),
	CONSTANT(ROW_EMPTY),
	CONSTANT(ROW_LIVE),
	CONSTANT(ROW_GONE),
	CONSTANT(LINE_UNLIMITED),
	CONSTANT(LINE_NEVER),
	CONSTANT(LINE_ALIGNED),
	CONSTANT(LINE_FIRST),
	CONSTANT(SOURCE_KEEP),
	CONSTANT(SOURCE_GIVEN),
	CONSTANT(SOURCE_ELSEWHERE),
	CONSTANT(LINE_SHADOW),
	CONSTANT(LINE_BESIDE),
	CONSTANT(ADAPT_OFF),
	CONSTANT(ADAPT_HEADERS),
	CONSTANT(ADAPT_AIMD),
	CONSTANT(LEARNED_NOTHING),
	CONSTANT(LEARNED_QUOTA),
	CONSTANT(LEARNED_SPENT),
	CONSTANT(LEARNED_REFILL),
	CONSTANT(LEARNED_SHARED),
	CONSTANT(LEARNED_REFUSED),
	CONSTANT(LEARNED_RECOVERY),
	CONSTANT(LEARNED_FROZEN),
	CONSTANT(LEARNED_DISTRUSTS),
	CONSTANT(ORIGIN_FILE),
	CONSTANT(ORIGIN_OPERATOR),
	CONSTANT(PERMIT_LIMIT),
	CONSTANT(PERMIT_LOWERED),
	CONSTANT(PERMIT_ELSEWHERE),
	CONSTANT(PERMIT_CHANGE),
	CONSTANT(PERMIT_ENDS),
	CONSTANT(PERMIT_ENDS_NS),
	CONSTANT(FOUND_NOTHING),
	CONSTANT(FOUND_ROOM),
	CONSTANT(FOUND_QUEUE),
	CONSTANT(FOUND_FAILING),
	CONSTANT(FOUND_PROBING),
	CONSTANT(FOUND_PROBED),
	CONSTANT(FOUND_BOUNDS),
	CONSTANT(WAITER_WAITS),
	CONSTANT(WAITER_CALLED),
	CONSTANT(WAITER_PASSED),
	CONSTANT(WAITER_LOOKS),
	CONSTANT(COUNT_GRANTED_CALLS),
	CONSTANT(COUNT_GRANTED_UNITS),
	CONSTANT(COUNT_REFUSED_CALLS),
	CONSTANT(COUNT_REFUSED_UNITS),
	CONSTANT(COUNT_WAITED_CALLS),
	CONSTANT(COUNT_WAITED_UNITS),
	CONSTANT(COUNT_WAITED_NS),
	CONSTANT(COUNT_RETURNED_UNITS),
	CONSTANT(SHADOW_PASSED_CALLS),
	CONSTANT(SHADOW_PASSED_UNITS),
	CONSTANT(SHADOW_REFUSED_CALLS),
	CONSTANT(SHADOW_REFUSED_UNITS),
};

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* ---- what the page and the header's text say ---- */

#define ROWS_MAX 240

struct row {
	char type[32]; /* struct or group of constants */
	char name[40];
	size_t offset;
	size_t bytes;
	char kind[24]; /* u64[2] and the like */
	uint64_t value;
};

struct table {
	struct row fields[ROWS_MAX];
	size_t field_count;
	struct row constants[ROWS_MAX];
	size_t constant_count;
};

static struct row *field_new(struct table *table)
{
	assert_true(table->field_count < ROWS_MAX);
	return &table->fields[table->field_count++];
}

static struct row *constant_new(struct table *table)
{
	assert_true(table->constant_count < ROWS_MAX);
	return &table->constants[table->constant_count++];
}

static FILE *open_text(const char *path)
{
	FILE *file = fopen(path, "re");

	if (!file)
		fail_msg("cannot read %s", path);
	return file;
}

static void page_line(struct table *table, const char *section, const char *line)
{
	struct row row = {.type = ""};
	int used = 0;

	if (sscanf(section, ".SS struct %31[a-z_]", row.type) == 1) {
		if (sscanf(line, "%39[a-z_]\t%zu\t%zu\t%23[a-z0-9_[]%n", row.name, &row.offset,
			   &row.bytes, row.kind, &used) == 4) {
			if (line[used] == ']')
				strcat(row.kind, "]");
			*field_new(table) = row;
		}
	} else if (sscanf(section, ".SS constants %31[a-z_]", row.type) == 1) {
		char value[32];

		if (sscanf(line, "%39[A-Z_]%n", row.name, &used) == 1 && line[used] == '\t' &&
		    sscanf(line + used, "%31s", value) == 1) {
			row.value = strtoull(value, NULL, 0);
			*constant_new(table) = row;
		}
	}
}

static void page_read(struct table *table)
{
	FILE *file = open_text(PAGE);
	char section[80] = "";
	char line[300];

	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, ".SS ", 4) == 0 || strncmp(line, ".SH ", 4) == 0)
			snprintf(section, sizeof(section), "%.79s", line);
		page_line(table, section, line);
	}
	fclose(file);
}

/* The last identifier before `;` or `[`: a member's name. */
static bool member_name(const char *line, char out[40])
{
	const char *end = strpbrk(line, ";[");
	const char *from = end;

	while (from && from > line && (isalnum((unsigned char)from[-1]) || from[-1] == '_'))
		from--;
	if (!from || from == end)
		return false;
	snprintf(out, 40, "%.*s", (int)(end - from), from);
	return true;
}

static void header_line(struct table *table, const char *inside, const char *line)
{
	struct row row = {.type = ""};

	int used = 0;

	/* a number, in brackets or not, and no function-like macro */
	if (sscanf(line, "#define %39[A-Z_]%n", row.name, &used) == 1 && line[used] == ' ' &&
	    (strncmp(row.name, "LAYOUT_", 7) == 0 || strncmp(row.name, "PERMIT_", 7) == 0)) {
		*constant_new(table) = row;
		return;
	}
	if (line[0] != '\t')
		return;
	if (sscanf(inside, "struct %31[a-z_] {", row.type) == 1) {
		if (line[1] != '*' && line[1] != '/' && member_name(line, row.name))
			*field_new(table) = row;
	} else if (strncmp(inside, "enum ", 5) == 0) {
		if (sscanf(line, "\t%39[A-Z_]", row.name) == 1)
			*constant_new(table) = row;
	}
}

/* Names only: members of structs, enumerators, and the #defines of numbers. */
static void header_read(struct table *table)
{
	FILE *file = open_text(HEADER);
	char inside[80] = "";
	char line[300];

	while (fgets(line, sizeof(line), file)) {
		if (line[0] == '}')
			inside[0] = '\0';
		header_line(table, inside, line);
		if (strstr(line, " {\n") &&
		    (strncmp(line, "struct ", 7) == 0 || strncmp(line, "enum ", 5) == 0))
			snprintf(inside, sizeof(inside), "%.79s", line);
	}
	fclose(file);
}

/* ---- comparing ---- */

static const struct row *find(const struct row *rows, size_t count, const char *type,
			      const char *name)
{
	const struct row *found = NULL;

	for (size_t i = 0; i < count; i++)
		if (strcmp(rows[i].name, name) == 0 && (!type || strcmp(rows[i].type, type) == 0)) {
			if (found)
				fail_msg("%s.%s is there twice", type ? type : "", name);
			found = &rows[i];
		}
	return found;
}

static size_t size_of(const char *kind)
{
	char name[24] = "";
	size_t times = 1;

	if (sscanf(kind, "%23[a-z0-9_][%zu]", name, &times) < 1)
		return 0;
	if (strcmp(name, "u64") == 0)
		return 8 * times;
	if (strcmp(name, "u32") == 0)
		return 4 * times;
	if (strcmp(name, "u8") == 0)
		return times;
	for (size_t i = 0; i < COUNT_OF(shapes); i++)
		if (strcmp(shapes[i].name, name) == 0)
			return shapes[i].bytes * times;
	return 0;
}

static struct table page;
static struct table header;

static void test_header_is_on_the_page(void **state)
{
	(void)state;
	for (size_t i = 0; i < header.field_count; i++)
		if (!find(page.fields, page.field_count, header.fields[i].type,
			  header.fields[i].name))
			fail_msg("%s.%s is not on the page", header.fields[i].type,
				 header.fields[i].name);
	for (size_t i = 0; i < header.constant_count; i++)
		if (!find(page.constants, page.constant_count, NULL, header.constants[i].name))
			fail_msg("%s is not on the page", header.constants[i].name);
}

static void test_page_is_in_the_header(void **state)
{
	(void)state;
	for (size_t i = 0; i < page.field_count; i++)
		if (!find(header.fields, header.field_count, page.fields[i].type,
			  page.fields[i].name))
			fail_msg("%s.%s is not in the header", page.fields[i].type,
				 page.fields[i].name);
	for (size_t i = 0; i < page.constant_count; i++)
		if (!find(header.constants, header.constant_count, NULL, page.constants[i].name))
			fail_msg("%s is not in the header", page.constants[i].name);
}

static void test_numbers(void **state)
{
	(void)state;
	assert_int_equal(page.field_count, COUNT_OF(fields));
	assert_int_equal(header.field_count, COUNT_OF(fields));
	for (size_t i = 0; i < COUNT_OF(fields); i++) {
		const struct field *field = &fields[i];
		const struct row *row =
			find(page.fields, page.field_count, field->type, field->name);

		if (!row)
			fail_msg("%s.%s is not on the page", field->type, field->name);
		if (row->offset != field->offset || row->bytes != field->bytes ||
		    size_of(row->kind) != field->bytes)
			fail_msg("%s.%s: the page says %zu, %zu bytes, %s; the compiler %zu, %zu",
				 field->type, field->name, row->offset, row->bytes, row->kind,
				 field->offset, field->bytes);
	}
	print_message("%zu fields\n", page.field_count);
}

static void test_constants(void **state)
{
	(void)state;
	assert_int_equal(page.constant_count, COUNT_OF(constants));
	assert_int_equal(header.constant_count, COUNT_OF(constants));
	for (size_t i = 0; i < COUNT_OF(constants); i++) {
		const struct row *row =
			find(page.constants, page.constant_count, NULL, constants[i].name);

		if (!row)
			fail_msg("%s is not on the page", constants[i].name);
		if (row->value != constants[i].value)
			fail_msg("%s: the page says %#llx, the compiler %#llx", constants[i].name,
				 (unsigned long long)row->value,
				 (unsigned long long)constants[i].value);
	}
	print_message("%zu constants\n", page.constant_count);
}

/* "The words from A to B are padding", under the struct it is about. */
static bool page_says_padding(const char *type, size_t from, size_t to)
{
	FILE *file = open_text(PAGE);
	char section[80] = "";
	char heading[80];
	char line[300];
	bool said = false;
	size_t a;
	size_t b;

	snprintf(heading, sizeof(heading), ".SS struct %s\n", type);
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, ".SS ", 4) == 0)
			snprintf(section, sizeof(section), "%.79s", line);
		if (strcmp(section, heading) == 0 &&
		    sscanf(line, "The words from %zu to %zu are padding.", &a, &b) == 2)
			said |= a == from && b == to - 1;
	}
	fclose(file);
	return said;
}

/* Every byte of every struct belongs to a field or is called padding. */
static void test_no_byte_is_missing(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(shapes); i++) {
		size_t at = 0;

		for (size_t j = 0; j < COUNT_OF(fields); j++) {
			if (strcmp(fields[j].type, shapes[i].name) != 0)
				continue;
			if (fields[j].offset != at &&
			    !page_says_padding(shapes[i].name, at, fields[j].offset))
				fail_msg("%s: what is from %zu to %zu?", shapes[i].name, at,
					 fields[j].offset);
			at = fields[j].offset + fields[j].bytes;
		}
		assert_int_equal(at, shapes[i].bytes);
	}
}

/* A change of any of these bytes is another layout: then LAYOUT_VERSION is raised, and this. */
static void test_signature(void **state)
{
	(void)state;
	assert_int_equal(LAYOUT_VERSION, 3);
	assert_int_equal(layout_signature(), SIGNATURE_OF_VERSION_3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header_is_on_the_page),
		cmocka_unit_test(test_page_is_in_the_header),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_constants),
		cmocka_unit_test(test_no_byte_is_missing),
		cmocka_unit_test(test_signature),
	};

	page_read(&page);
	header_read(&header);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
