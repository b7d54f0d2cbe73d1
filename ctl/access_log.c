/* SPDX-License-Identifier: Apache-2.0 */
#include "access_log.h"

#include <stdlib.h>
#include <string.h>

#include "json_log.h"
#include "token_clock.h"
#include "value.h"

/* LOG_COLUMNS, by number. */
enum named {
	NAMED_ADDRESS,
	NAMED_IDENT,
	NAMED_USER,
	NAMED_TIME,
	NAMED_REQUEST,
	NAMED_METHOD,
	NAMED_PATH,
	NAMED_STATUS,
	NAMED_BYTES,
	NAMED_REFERER,
	NAMED_AGENT,
	NAMED_NONE = -1,
};

/* A part of a line; no bytes: it is not there. */
struct span {
	const char *at;
	size_t bytes;
};

/* ---- fields ---- */

static int named_column(const char *name)
{
	static const char words[] = LOG_COLUMNS " ";
	size_t bytes = strlen(name);
	int number = 0;

	for (const char *word = words; *word; number++) {
		size_t length = strcspn(word, " ");

		if (length == bytes && !memcmp(word, name, bytes))
			return number;
		word += length + 1;
	}
	return NAMED_NONE;
}

static bool is_number(const char *text)
{
	return text[0] && text[strspn(text, "0123456789")] == '\0';
}

const char *log_field_begin(struct log_field *field, const char *name)
{
	*field = (struct log_field){.name = name, .named = NAMED_NONE};
	if (!name)
		return NULL;
	if (is_number(name)) {
		unsigned long column = strlen(name) < 5 ? strtoul(name, NULL, 10) : 0;

		field->column = (unsigned)column;
		return column == 0 || column > LOG_COLUMNS_MAX
			       ? "columns are counted from 1 to 1000"
			       : NULL;
	}
	field->named = named_column(name);
	for (size_t at = 0;; at++) {
		if (name[at] != '.' && name[at] != '\0')
			continue;
		if (field->parts == LOG_PATH_PARTS)
			return "a path has 8 names at most";
		field->ends[field->parts++] = at;
		if (name[at] == '\0')
			return name[0] ? NULL : "a field is a column's number or a name";
	}
}

const char *log_format_begin(struct log_format *format, const char *key, const char *time,
			     const char *cost)
{
	const char *wrong;

	*format = (struct log_format){.cost.name = NULL};
	wrong = log_field_begin(&format->key, key ? key : "address");
	if (!wrong)
		wrong = log_field_begin(&format->time, time ? time : "time");
	if (!wrong)
		wrong = log_field_begin(&format->cost, cost);
	if (key)
		format->json_key = format->key;
	if (time)
		format->json_time = format->time;
	return wrong;
}

/* ---- values ---- */

/* A cost as people write numbers, rounded up to a millionth; what is beyond 10^12 is 10^12. */
static bool read_cost(struct span text, uint64_t *micro)
{
	uint64_t value = 0;
	uint64_t scale = TERMS_MICRO;
	size_t at = 0;

	for (; at < text.bytes && text.at[at] >= '0' && text.at[at] <= '9'; at++)
		if (value <= VALUE_TOKENS_MAX_MICRO / TERMS_MICRO)
			value = value * 10 + (uint64_t)(text.at[at] - '0');
	if (at == 0)
		return false;
	value = value >= VALUE_TOKENS_MAX_MICRO / TERMS_MICRO ? VALUE_TOKENS_MAX_MICRO
							      : value * TERMS_MICRO;
	if (at < text.bytes && text.at[at] == '.') {
		bool finer = false;

		for (at++; at < text.bytes && text.at[at] >= '0' && text.at[at] <= '9'; at++) {
			scale /= 10;
			finer |= scale == 0 && text.at[at] != '0';
			value += (uint64_t)(text.at[at] - '0') * scale;
		}
		value += finer;
	}
	*micro = value < VALUE_TOKENS_MAX_MICRO ? value : VALUE_TOKENS_MAX_MICRO;
	return at == text.bytes;
}

/* What was found of a line, as an entry; a - alone says that there is nothing. */
static enum log_skip finish(const struct log_format *format, struct span key, struct span cost,
			    struct log_entry *out)
{
	if (key.bytes == 0 || (key.bytes == 1 && key.at[0] == '-'))
		return LOG_SKIP_KEY;
	if (memchr(key.at, '\0', key.bytes))
		return LOG_SKIP_NUL;
	out->key = key.at;
	out->key_bytes = key.bytes;
	out->cost_micro = TERMS_MICRO;
	if (!format->cost.name)
		return LOG_TAKEN;
	if (cost.bytes == 1 && cost.at[0] == '-') {
		out->cost_micro = 0;
		return LOG_TAKEN;
	}
	return read_cost(cost, &out->cost_micro) ? LOG_TAKEN : LOG_SKIP_COST;
}

/* ---- columns ---- */

const char *log_closing_quote(const char *at, const char *end)
{
	const char *from = at;

	for (; (at = memchr(at, '"', (size_t)(end - at))); at++) {
		const char *slash = at;

		while (slash > from && slash[-1] == '\\')
			slash--;
		if ((at - slash) % 2 == 0)
			return at;
	}
	return NULL;
}

static bool is_blank(char byte)
{
	return byte == ' ' || byte == '\t';
}

static const char *skip_blanks(const char *at, const char *end)
{
	while (at < end && is_blank(*at))
		at++;
	return at;
}

static const char *skip_word(const char *at, const char *end)
{
	while (at < end && !is_blank(*at))
		at++;
	return at;
}

/* The column at `at`, without quotes or brackets; *next is behind it. */
static struct span column_at(const char *at, const char *end, const char **next)
{
	const char *close = NULL;

	if (at < end && *at == '"')
		close = log_closing_quote(at + 1, end);
	else if (at < end && *at == '[')
		close = memchr(at + 1, ']', (size_t)(end - at - 1));
	if (close) {
		*next = close + 1;
		return (struct span){at + 1, (size_t)(close - at - 1)};
	}
	*next = skip_word(at, end);
	return (struct span){at, (size_t)(*next - at)};
}

static struct span nth_column(const char *line, const char *end, unsigned number)
{
	struct span column = {line, 0};

	for (const char *at = skip_blanks(line, end); number > 0; number--) {
		column = column_at(at, end, &at);
		at = skip_blanks(at, end);
	}
	return column;
}

/* ---- the common and the combined format ---- */

/* Where the parts of a line lie that hold the others apart. */
struct marks {
	const char *line;
	const char *end;
	const char *address_end;
	const char *open;    /* the bracket before the time */
	const char *request; /* behind the time; a blank */
};

/*
 * Finds the time. What is behind it must be a request in whole quotes, if it is in quotes: a line
 * that was cut short is none.
 */
static enum log_skip find_marks(struct log_format *format, struct marks *marks,
				struct log_time *time)
{
	const char *end = marks->end;
	const char *close;

	marks->address_end = memchr(marks->line, ' ', (size_t)(end - marks->line));
	if (!marks->address_end)
		return LOG_SKIP_FORM;
	marks->open = memchr(marks->address_end, '[', (size_t)(end - marks->address_end));
	if (!marks->open)
		return LOG_SKIP_FORM;

	size_t bytes = log_time_read(&format->clock, marks->open + 1,
				     (size_t)(end - marks->open - 1), time);

	if (bytes == 0 || marks->open[1 + bytes] != ']')
		return LOG_SKIP_TIME;
	marks->request = marks->open + 2 + bytes;
	if (end - marks->request < 2 || *marks->request != ' ')
		return LOG_SKIP_FORM;
	if (marks->request[1] != '"')
		return LOG_TAKEN;
	close = log_closing_quote(marks->request + 2, end);
	return close && end - close > 1 && close[1] == ' ' ? LOG_TAKEN : LOG_SKIP_FORM;
}

/* METHOD or PATH of a request line, without the query. */
static struct span request_part(struct span request, bool path)
{
	const char *end = request.at + request.bytes;
	const char *at = request.at;
	const char *to = skip_word(at, end);

	if (path) {
		at = skip_blanks(to, end);
		to = skip_word(at, end);

		const char *query = memchr(at, '?', (size_t)(to - at));

		to = query ? query : to;
	}
	return (struct span){at, (size_t)(to - at)};
}

/* A column by its name. Those before the time are found from the left, as a user's name may have
 * blanks. */
static struct span named_span(const struct marks *marks, int named)
{
	const char *ident = marks->address_end + 1;
	const char *ident_end = skip_word(ident, marks->open);
	const char *user = ident_end < marks->open ? ident_end + 1 : marks->open;
	const char *user_end =
		marks->open > user && marks->open[-1] == ' ' ? marks->open - 1 : marks->open;

	switch (named) {
	case NAMED_ADDRESS:
		return (struct span){marks->line, (size_t)(marks->address_end - marks->line)};
	case NAMED_IDENT:
		return (struct span){ident, (size_t)(ident_end - ident)};
	case NAMED_USER:
		return (struct span){user, (size_t)(user_end - user)};
	case NAMED_TIME:
		return (struct span){marks->open + 1, (size_t)(marks->request - marks->open - 2)};
	case NAMED_REQUEST:
		return nth_column(marks->request, marks->end, 1);
	case NAMED_METHOD:
	case NAMED_PATH:
		return request_part(nth_column(marks->request, marks->end, 1), named == NAMED_PATH);
	case NAMED_STATUS:
		return nth_column(marks->request, marks->end, 2);
	case NAMED_BYTES:
		return nth_column(marks->request, marks->end, 3);
	case NAMED_REFERER:
		return nth_column(marks->request, marks->end, 4);
	case NAMED_AGENT:
		return nth_column(marks->request, marks->end, 5);
	default:
		return (struct span){marks->line, 0};
	}
}

/* ---- a line ---- */

static struct span text_span(const struct log_field *field, const struct marks *marks)
{
	if (field->column)
		return nth_column(marks->line, marks->end, field->column);
	if (marks->open)
		return named_span(marks, field->named);
	return nth_column(marks->line, marks->end, field->named == NAMED_ADDRESS);
}

/* A time in a column of its own; a date is followed by its time in the next one. */
static bool column_time(struct log_format *format, const struct marks *marks, struct log_time *time)
{
	struct span column = nth_column(marks->line, marks->end, format->time.column);
	size_t bytes = log_time_read(&format->clock, column.at, column.bytes, time);

	if (bytes && bytes == column.bytes)
		return true;
	if (column.bytes != 10 || column.at[4] != '-')
		return false;
	bytes = log_time_read(&format->clock, column.at, (size_t)(marks->end - column.at), time);
	return bytes && (column.at + bytes == marks->end || is_blank(column.at[bytes]));
}

static enum log_skip read_text(struct log_format *format, const char *line, const char *end,
			       struct log_entry *out)
{
	struct marks marks = {.line = line, .end = end};
	enum log_skip skip = LOG_TAKEN;

	if (format->time.column)
		skip = column_time(format, &marks, &out->time) ? LOG_TAKEN : LOG_SKIP_TIME;
	else if (format->time.named != NAMED_TIME)
		skip = LOG_SKIP_TIME;
	else
		skip = find_marks(format, &marks, &out->time);
	if (skip != LOG_TAKEN)
		return skip;
	return finish(format, text_span(&format->key, &marks),
		      format->cost.name ? text_span(&format->cost, &marks) : (struct span){line, 0},
		      out);
}

static enum log_skip read_json(struct log_format *format, const char *line, const char *end,
			       struct log_entry *out)
{
	struct json_log_value values[JSON_LOG_WANTED];
	enum log_skip skip = json_log_read(format, line, end, values);
	const struct json_log_value *time = &values[JSON_LOG_TIME];
	const struct json_log_value *key = &values[JSON_LOG_KEY];
	const struct json_log_value *cost = &values[JSON_LOG_COST];

	if (skip != LOG_TAKEN)
		return skip;
	if (time->bytes == 0 ||
	    log_time_read(&format->clock, time->at, time->bytes, &out->time) != time->bytes)
		return LOG_SKIP_TIME;
	return finish(format, (struct span){key->at, key->bytes},
		      (struct span){cost->at, cost->bytes}, out);
}

enum log_skip log_read(struct log_format *format, const char *line, size_t bytes,
		       struct log_entry *out)
{
	const char *end = line + bytes;
	const char *at;
	struct log_entry entry;
	enum log_skip skip;

	if (bytes && end[-1] == '\r')
		end--;
	at = skip_blanks(line, end);
	if (at == end)
		return LOG_SKIP_EMPTY;
	skip = *at == '{' ? read_json(format, at, end, &entry) : read_text(format, at, end, &entry);
	if (skip == LOG_TAKEN)
		*out = entry;
	else if (skip == LOG_SKIP_FORM && memchr(line, '\0', bytes))
		skip = LOG_SKIP_NUL;
	return skip;
}

/* ---- reasons ---- */

const char *log_skip_word(enum log_skip skip)
{
	switch (skip) {
#define LOG_SKIP_WORD(name, word, text)                                                            \
	case LOG_SKIP_##name:                                                                      \
		return word;
		LOG_SKIPS(LOG_SKIP_WORD)
#undef LOG_SKIP_WORD
	case LOG_TAKEN:
	case LOG_SKIP_COUNT:
		break;
	}
	return "";
}

const char *log_skip_text(enum log_skip skip)
{
	switch (skip) {
#define LOG_SKIP_TEXT(name, word, text)                                                            \
	case LOG_SKIP_##name:                                                                      \
		return text;
		LOG_SKIPS(LOG_SKIP_TEXT)
#undef LOG_SKIP_TEXT
	case LOG_TAKEN:
	case LOG_SKIP_COUNT:
		break;
	}
	return "";
}
