/* SPDX-License-Identifier: Apache-2.0
 *
 * weir.ini(5) lists every section and key that the parser takes, in its order, and no other; its
 * example is a configuration without a fault.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config.h"

#define MANUAL WEIR_SOURCE_DIR "/doc/man/weir.ini.5"
#define KEYS_MAX 64

struct manual_key {
	char section[32];
	char name[32];
};

struct manual {
	struct manual_key keys[KEYS_MAX];
	size_t count;
	char example[4096];
};

static void add_key(struct manual *manual, const char *section, const char *line)
{
	struct manual_key *key = &manual->keys[manual->count++];

	assert_true(manual->count <= KEYS_MAX);
	snprintf(key->section, sizeof(key->section), "%s", section);
	assert_int_equal(sscanf(line, ".It Cm %31s", key->name), 1);
	assert_true(strstr(line, " No = ") || strstr(line, " Ar NAME No = "));
}

/* Keys are the ".It Cm KEY" below ".Ss [SECTION]"; the example is the block below EXAMPLES. */
static void read_manual(struct manual *manual)
{
	FILE *file = fopen(MANUAL, "r");
	char line[512];
	char section[32] = "";
	bool examples = false;
	bool literal = false;
	size_t used = 0;

	assert_non_null(file);
	*manual = (struct manual){0};
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, ".Sh ", 4) == 0 || strncmp(line, ".Ss ", 4) == 0)
			section[0] = '\0';
		if (strncmp(line, ".Sh ", 4) == 0)
			examples = strcmp(line, ".Sh EXAMPLES\n") == 0;
		if (strncmp(line, ".Ed", 3) == 0)
			literal = false;
		sscanf(line, ".Ss [%31[a-z]", section);
		if (strncmp(line, ".It Cm ", 7) == 0)
			add_key(manual, section, line);
		if (examples && literal)
			used += (size_t)snprintf(manual->example + used,
						 sizeof(manual->example) - used, "%s", line);
		if (strncmp(line, ".Bd -literal", 12) == 0)
			literal = true;
	}
	fclose(file);
	assert_in_range(used, 1, sizeof(manual->example) - 1);
}

static void the_manual_lists_every_key(void **state)
{
	struct manual manual;
	size_t count = 0;

	(void)state;
	read_manual(&manual);
	for (; config_keys[count].name; count++) {
		if (count == manual.count)
			fail_msg("weir.ini(5) lacks [%s] %s", config_keys[count].section,
				 config_keys[count].name);
		if (strcmp(manual.keys[count].section, config_keys[count].section) != 0 ||
		    strcmp(manual.keys[count].name, config_keys[count].name) != 0)
			fail_msg("weir.ini(5) has [%s] %s where the parser has [%s] %s",
				 manual.keys[count].section, manual.keys[count].name,
				 config_keys[count].section, config_keys[count].name);
		assert_true(strlen(config_keys[count].description) > 0);
	}
	if (manual.count > count)
		fail_msg("weir.ini(5) has [%s] %s, the parser does not", manual.keys[count].section,
			 manual.keys[count].name);
	assert_true(count > 0);
}

static void the_manual_has_a_right_example(void **state)
{
	struct manual manual;
	char text[1024];
	struct config_faults faults = {.text = text, .bytes = sizeof(text)};
	struct config config;

	(void)state;
	read_manual(&manual);
	if (config_parse(&config, manual.example, strlen(manual.example), "example", &faults))
		fail_msg("%s", text);
	assert_true(config.rule_count > 1);
	config_free(&config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_manual_lists_every_key),
		cmocka_unit_test(the_manual_has_a_right_example),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
