/* SPDX-License-Identifier: Apache-2.0
 *
 * config_lines.c - the text goes line by line through config_reader.c; inih gets the settings
 * alone, on lines that it neither cuts nor joins, and hands back key and value. What section and
 * line they belong to is known from the reader, not from inih.
 */
#include "config_parser.h"

#include <string.h>

#include <ini.h>

/* Whether inih may have a setting: it belongs to a section and fits. */
static bool may_hand_on(struct config_parser *parser, const struct config_line *line, size_t room)
{
	int key_bytes = config_shown(line->word_bytes, 40);

	if (parser->section == SECTION_NONE)
		config_report(&parser->report, line->number,
			      "%.*s: stands before any section; put [weir], [default], "
			      "[endpoint NAME] or [each PATTERN] above it",
			      key_bytes, line->word);
	else if (parser->section != SECTION_SKIPPED && line->bytes >= room)
		config_report(&parser->report, line->number,
			      "%s %.*s: the line has %zu bytes, at most %zu can be read",
			      parser->title, key_bytes, line->word, line->bytes, room - 1);
	else
		return parser->section != SECTION_SKIPPED;
	return false;
}

/* The reader that inih calls as it would fgets(): settings pass, an empty line for all else. */
static char *hand_on(char *out, int room, void *context)
{
	struct config_parser *parser = context;
	struct config_line line;

	if (parser->error || !config_reader_next(&parser->reader, &line))
		return NULL;
	out[0] = '\0';
	parser->line = line.number;
	switch (line.kind) {
	case CONFIG_LINE_EMPTY:
		break;
	case CONFIG_LINE_HEADER:
		config_begin_section(parser, &line);
		break;
	case CONFIG_LINE_SETTING:
		if (may_hand_on(parser, &line, (size_t)room)) {
			memcpy(out, line.text, line.bytes);
			out[line.bytes] = '\0';
		}
		break;
	case CONFIG_LINE_BAD_HEADER:
		parser->section = SECTION_SKIPPED;
		config_report(&parser->report, line.number, "%.*s: %s",
			      config_shown(line.bytes, 80), line.text, line.fault);
		break;
	case CONFIG_LINE_BAD:
		config_report(&parser->report, line.number, "%.*s: %s",
			      config_shown(line.bytes, 80), line.text, line.fault);
		break;
	}
	return out;
}

/* What inih makes of a line: called for every setting that hand_on() let pass. */
static int take_setting(void *context, const char *section, const char *key, const char *value)
{
	(void)section; /* cut at 49 bytes; ours is known */
	config_take_setting(context, key, value);
	return 1;
}

void config_read_lines(struct config_parser *parser)
{
	/* what it returns counts lines that are no setting; none of those reaches it */
	ini_parse_stream(hand_on, parser, take_setting, parser);
}
