/* SPDX-License-Identifier: Apache-2.0
 *
 * config_parser.h - what is known while a configuration is read. For the config*.c files only.
 */
#ifndef WEIR_CONFIG_PARSER_H
#define WEIR_CONFIG_PARSER_H

#include <stdbool.h>
#include <stddef.h>

#include "config_draft.h"
#include "config_reader.h"

#define CONFIG_KEYS_KNOWN 64 /* there are fewer: of all sections together */

enum config_section_kind {
	SECTION_NONE, /* before the first header */
	SECTION_SKIPPED,
	SECTION_WEIR,
	SECTION_DEFAULT,
	SECTION_ENDPOINT,
	SECTION_EACH,
};

/* The words of their headers; "" where there is none. */
extern const char *const config_section_words[];

struct config_parser {
	struct config_reader reader;
	struct config_report report;
	struct config config;
	struct config_draft *drafts; /* [0] is [default] */
	size_t draft_count;
	size_t draft_room;
	struct config_draft scratch; /* of a section that is checked but cannot count */
	struct config_draft common;  /* what [weir] says for every rule */

	enum config_section_kind section;
	struct config_draft *draft; /* of the section; moves with drafts at headers only */
	char title[LAYOUT_TEXT_BYTES + 16];
	unsigned first_lines[SECTION_ENDPOINT]; /* where [weir] and [default] began */
	unsigned key_lines[CONFIG_KEYS_KNOWN];	/* of the section's keys so far */
	unsigned line;				/* that inih is handed */

	char sentence[400];
	int error;
};

/* How much of a span to print. */
static inline int config_shown(size_t bytes, size_t most)
{
	return (int)(bytes < most ? bytes : most);
}

/* Takes the lines of parser->reader one by one, until the end or parser->error. */
void config_read_lines(struct config_parser *parser);

/* A header: what follows belongs to that section. */
void config_begin_section(struct config_parser *parser, const struct config_line *line);

/* A setting of the section at hand. */
void config_take_setting(struct config_parser *parser, const char *key, const char *value);

/* A new draft at the end, with the terms that are built in; NULL: no memory, and parser->error. */
struct config_draft *config_add_draft(struct config_parser *parser, unsigned line);

/* The name or the pattern of a rule, and what follows from it alone. */
void config_set_text(struct config_draft *draft, const char *text);

/* Whether the rules have room in a segment of the capacities that were asked for. */
void config_check_room(struct config_parser *parser);

void config_begin_faults(struct config_faults *faults);

#endif
