/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as weir.ini: taken, and then every rule can be served; or refused, and then every
 * sentence says where.
 */
#include "fuzz.h"

#include "config.h"
#include "names.h"
#include "token_clock.h"
#include "weir.h"

#define HZ 1000000000u

static void check_faults(const struct config_faults *faults)
{
	FUZZ_CHECK(faults->count > 0);
	FUZZ_CHECK(faults->used < faults->bytes);
	FUZZ_CHECK(strlen(faults->text) == faults->used);
	FUZZ_CHECK(strncmp(faults->text, "weir.ini", 8) == 0);
	for (const char *at = faults->text; *at; at++)
		FUZZ_CHECK((unsigned char)*at >= ' ' || *at == '\n' || *at == '\t');
}

static void check_rule(const struct config_rule *rule)
{
	struct line line;

	FUZZ_CHECK(strlen(rule->text) < sizeof(rule->text));
	FUZZ_CHECK(rule->kind != ROW_EXACT || names_valid(rule->text));
	FUZZ_CHECK(line_from_terms(&line, &rule->terms, line_best_unit(&rule->terms), HZ) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char text[8192];
	struct config_faults faults = {.text = text, .bytes = sizeof(text)};
	struct config config;
	int status = config_parse(&config, (const char *)data, size, "weir.ini", &faults);

	if (status < 0) {
		FUZZ_CHECK(status == WEIR_ECONFIG);
		check_faults(&faults);
		return 0;
	}
	FUZZ_CHECK(config.rule_count >= 1 && config.rules[0].kind == ROW_DEFAULT);
	FUZZ_CHECK(config.rule_count <= config.endpoints + 1u);
	for (size_t i = 0; i < config.rule_count; i++)
		check_rule(&config.rules[i]);
	config_free(&config);
	return 0;
}
