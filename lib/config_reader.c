/* SPDX-License-Identifier: Apache-2.0 */
#include "config_reader.h"

#include <string.h>

#define BYTE_ORDER_MARK "\xef\xbb\xbf"

void config_reader_begin(struct config_reader *reader, const char *text, size_t bytes)
{
	size_t mark = strlen(BYTE_ORDER_MARK);

	*reader = (struct config_reader){.at = text, .end = text + bytes};
	if (bytes >= mark && memcmp(text, BYTE_ORDER_MARK, mark) == 0)
		reader->at += mark;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* Takes the blanks off both ends of a span. */
static void trim(const char **text, size_t *bytes)
{
	while (*bytes > 0 && is_blank((*text)[*bytes - 1]))
		--*bytes;
	while (*bytes > 0 && is_blank(**text)) {
		++*text;
		--*bytes;
	}
}

static bool has_control(const struct config_line *line)
{
	for (size_t i = 0; i < line->bytes; i++) {
		unsigned char c = (unsigned char)line->text[i];

		if ((c < ' ' && c != '\t') || c == 0x7f)
			return true;
	}
	return false;
}

/* Where a comment begins behind something: at a semicolon that follows a blank. */
static size_t comment_start(const char *text, size_t bytes)
{
	for (size_t i = 1; i < bytes; i++)
		if (text[i] == ';' && is_blank(text[i - 1]))
			return i;
	return bytes;
}

/* Splits "WORD NAME", the inside of a header. */
static void split_header(struct config_line *line, const char *inside, size_t bytes)
{
	size_t word = 0;

	trim(&inside, &bytes);
	while (word < bytes && !is_blank(inside[word]))
		word++;
	line->word = inside;
	line->word_bytes = word;
	line->name = inside + word;
	line->name_bytes = bytes - word;
	trim(&line->name, &line->name_bytes);
}

/* Returns what is wrong with a line that begins with a bracket. */
static const char *read_header(struct config_line *line)
{
	const char *inside = line->text + 1;
	size_t bytes = comment_start(line->text, line->bytes) - 1;

	trim(&inside, &bytes);
	if (!memchr(inside, ']', bytes))
		return "a section's header ends with ]";
	if (inside[bytes - 1] != ']')
		return "nothing may follow the ] of a section but a comment that begins with ' ;'";
	bytes--;
	if (memchr(inside, '[', bytes) || memchr(inside, ']', bytes))
		return "a section's name may hold no bracket: give it another one and write the "
		       "pattern as match = PATTERN";
	split_header(line, inside, bytes);
	return NULL;
}

/* Returns what is wrong with a line that should be KEY = VALUE. */
static const char *read_setting(struct config_line *line)
{
	size_t comment = comment_start(line->text, line->bytes);
	size_t equals = 0;

	while (equals < comment && line->text[equals] != '=' && line->text[equals] != ':')
		equals++;
	line->word = line->text;
	line->word_bytes = equals;
	trim(&line->word, &line->word_bytes);
	if (equals == comment || line->text[equals] == ':')
		return "a line is KEY = VALUE, [SECTION], or a comment that begins with ; or #";
	if (line->word_bytes == 0)
		return "there is no key before the =";
	return NULL;
}

static enum config_line_kind classify(struct config_line *line)
{
	bool header = line->bytes > 0 && line->text[0] == '[';

	if (line->bytes > 0 && memchr(line->text, '\0', line->bytes))
		line->fault = "a NUL byte: the file must be plain text";
	else if (line->bytes == 0 || line->text[0] == ';' || line->text[0] == '#')
		return CONFIG_LINE_EMPTY;
	else if (has_control(line))
		line->fault = "a control character: only tabs may stand in a line";
	else
		line->fault = header ? read_header(line) : read_setting(line);
	if (line->fault)
		return header ? CONFIG_LINE_BAD_HEADER : CONFIG_LINE_BAD;
	return header ? CONFIG_LINE_HEADER : CONFIG_LINE_SETTING;
}

bool config_reader_next(struct config_reader *reader, struct config_line *line)
{
	size_t left = (size_t)(reader->end - reader->at);
	const char *newline;

	if (left == 0)
		return false;
	newline = memchr(reader->at, '\n', left);
	*line = (struct config_line){
		.number = ++reader->line,
		.text = reader->at,
		.bytes = newline ? (size_t)(newline - reader->at) : left,
	};
	reader->at = newline ? newline + 1 : reader->end;
	trim(&line->text, &line->bytes);
	line->kind = classify(line);
	return true;
}
