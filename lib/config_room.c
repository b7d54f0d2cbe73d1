/* SPDX-License-Identifier: Apache-2.0
 *
 * config_room.c - how much room in a segment the rules of a configuration need, and whether what it
 * asks for is enough.
 */
#include "config_parser.h"

#include "keyed.h"
#include "permit_chain.h"

static void check_capacity(struct config_parser *parser)
{
	size_t rows = parser->draft_count;
	size_t room = parser->config.endpoints;

	if (rows <= room)
		return;
	if (rows > CONFIG_ENDPOINTS_MAX)
		config_report(&parser->report, parser->drafts[CONFIG_ENDPOINTS_MAX].rule.line,
			      "[%s %s] is one too many: endpoints in [weir] is at most %d "
			      "([default] takes a row too); use patterns, or let names fall under "
			      "[default]",
			      config_section(&parser->drafts[CONFIG_ENDPOINTS_MAX]),
			      parser->drafts[CONFIG_ENDPOINTS_MAX].label, CONFIG_ENDPOINTS_MAX);
	else
		config_report(&parser->report, parser->drafts[room].rule.line,
			      "[%s %s] is one too many: raise endpoints in [weir] from %zu "
			      "to %zu or more ([default] takes a row too)",
			      config_section(&parser->drafts[room]), parser->drafts[room].label,
			      room, rows);
}

/* All tables together are bounded as each is. */
static void check_keys(struct config_parser *parser)
{
	uint64_t keys = 0;

	for (size_t i = 0; i < parser->draft_count; i++) {
		const struct config_draft *draft = &parser->drafts[i];

		keys += draft->rule.keys;
		if (keys <= LAYOUT_MAX_KEYS)
			continue;
		config_report(&parser->report, draft->rule.line,
			      "[%s %s]: with this one there are %llu keys; at most %u together",
			      config_section(draft), draft->label, (unsigned long long)keys,
			      (unsigned)LAYOUT_MAX_KEYS);
		return;
	}
}

void config_tables(const struct config *config, uint32_t *tables, uint64_t *bins)
{
	*tables = 0;
	*bins = 0;
	for (size_t i = 0; i < config->rule_count; i++) {
		if (config->rules[i].kind != ROW_EACH)
			continue;
		++*tables;
		*bins += keyed_bins(config->rules[i].keys);
	}
}

/* Permits come in whole blocks. */
static void check_permits(struct config_parser *parser)
{
	uint64_t room = layout_blocks(parser->config.permits + LAYOUT_BLOCK_PERMITS - 1);
	uint64_t blocks = 0;

	for (size_t i = 1; i < parser->draft_count; i++) {
		const struct config_draft *draft = &parser->drafts[i];

		if (draft->rule.terms.concurrency == TERMS_NO_LIMIT || draft->terms_faulty)
			continue;
		blocks += permit_blocks_for(permits_most(&draft->rule.terms));
		if (blocks <= room)
			continue;
		config_report(&parser->report, draft->concurrency_line,
			      "[endpoint %s]: more permits than there is room for: raise permits "
			      "in [weir] from %u to %llu or more",
			      draft->label, parser->config.permits,
			      (unsigned long long)blocks * LAYOUT_BLOCK_PERMITS);
		return;
	}
}

void config_check_room(struct config_parser *parser)
{
	check_capacity(parser);
	check_permits(parser);
	check_keys(parser);
}
