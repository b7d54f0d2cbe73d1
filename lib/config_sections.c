/* SPDX-License-Identifier: Apache-2.0
 *
 * config_sections.c - a header begins a section: which, and what its settings go into.
 */
#include "config_parser.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weir.h"

#define NS_PER_S 1000000000ull

const char *const config_section_words[] = {
	[SECTION_NONE] = "",	       [SECTION_SKIPPED] = "",		[SECTION_WEIR] = "weir",
	[SECTION_DEFAULT] = "default", [SECTION_ENDPOINT] = "endpoint", [SECTION_EACH] = "each",
};

void config_set_text(struct config_draft *draft, const char *text)
{
	const char *star = strrchr(text, '*');

	snprintf(draft->rule.text, sizeof(draft->rule.text), "%s", text);
	if (draft->rule.kind != ROW_EACH)
		draft->rule.kind = star ? ROW_PATTERN : ROW_EXACT;
	draft->specificity = names_specificity(text);
	draft->tail = star ? (size_t)(star + 1 - text) : 0;
}

static void config_begin_draft(struct config_draft *draft, unsigned line)
{
	*draft = (struct config_draft){
		.rule =
			{
				.kind = ROW_DEFAULT,
				.text = "*",
				.terms = {.rate_micro = 10 * TERMS_MICRO, .period_ns = NS_PER_S},
				.line = line,
			},
	};
}

struct config_draft *config_add_draft(struct config_parser *parser, unsigned line)
{
	struct config_draft *draft;

	if (parser->draft_count == parser->draft_room) {
		size_t room = parser->draft_room ? 2 * parser->draft_room : 16;
		struct config_draft *grown = realloc(parser->drafts, room * sizeof(*grown));

		if (!grown) {
			parser->error = -ENOMEM;
			return NULL;
		}
		parser->drafts = grown;
		parser->draft_room = room;
	}
	draft = &parser->drafts[parser->draft_count++];
	config_begin_draft(draft, line);
	return draft;
}

/* The same section for a second time is checked, but into the scratch draft. */
static bool is_first(struct config_parser *parser, const struct config_line *line)
{
	unsigned *first = &parser->first_lines[parser->section];

	if (line->name_bytes > 0)
		config_report(&parser->report, line->number, "%s takes no name: write [%s]",
			      parser->title, config_section_words[parser->section]);
	if (*first != 0)
		config_report(&parser->report, line->number,
			      "%s: the section is on line %u already; join the two", parser->title,
			      *first);
	else
		*first = line->number;
	return *first == line->number;
}

static void begin_default(struct config_parser *parser, const struct config_line *line)
{
	if (!is_first(parser, line))
		return;
	parser->draft = &parser->drafts[0];
	parser->draft->rule.line = line->number;
}

static void begin_rule(struct config_parser *parser, const struct config_line *line)
{
	char label[LAYOUT_TEXT_BYTES] = "";
	struct config_draft *draft;

	if (line->name_bytes < sizeof(label))
		memcpy(label, line->name, line->name_bytes);
	if (!names_valid(label)) {
		config_report(&parser->report, line->number,
			      "%s: the name of an endpoint has 1 to %d bytes and no control "
			      "characters; this one has %zu bytes",
			      parser->title, WEIR_NAME_MAX, line->name_bytes);
		return;
	}
	if (parser->draft_count > CONFIG_ENDPOINTS_MAX)
		return; /* config_room.c reports it */
	draft = config_add_draft(parser, line->number);
	if (!draft)
		return;
	parser->draft = draft;
	memcpy(draft->label, label, sizeof(label));
	if (parser->section == SECTION_EACH) {
		draft->rule.kind = ROW_EACH;
		draft->rule.keys = CONFIG_KEYS;
	}
	config_set_text(draft, label);
}

static enum config_section_kind find_section(const struct config_line *line)
{
	for (enum config_section_kind section = SECTION_WEIR; section <= SECTION_EACH; section++)
		if (strlen(config_section_words[section]) == line->word_bytes &&
		    memcmp(config_section_words[section], line->word, line->word_bytes) == 0)
			return section;
	return SECTION_SKIPPED;
}

void config_begin_section(struct config_parser *parser, const struct config_line *line)
{
	parser->section = find_section(line);
	parser->draft = &parser->scratch;
	config_begin_draft(&parser->scratch, line->number);
	memset(parser->key_lines, 0, sizeof(parser->key_lines));
	snprintf(parser->title, sizeof(parser->title), "[%.*s%s%.*s]",
		 config_shown(line->word_bytes, 12), line->word, line->name_bytes > 0 ? " " : "",
		 config_shown(line->name_bytes, WEIR_NAME_MAX), line->name);
	switch (parser->section) {
	case SECTION_WEIR:
		is_first(parser, line);
		break;
	case SECTION_DEFAULT:
		begin_default(parser, line);
		break;
	case SECTION_ENDPOINT:
	case SECTION_EACH:
		begin_rule(parser, line);
		break;
	case SECTION_NONE:
	case SECTION_SKIPPED:
		config_report(&parser->report, line->number,
			      "%s: unknown section; there are [weir], [default], "
			      "[endpoint NAME] and [each PATTERN]",
			      parser->title);
		break;
	}
}
