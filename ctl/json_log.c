/* SPDX-License-Identifier: Apache-2.0 */
#include "json_log.h"

#include <string.h>

/* As nginx, Caddy, Traefik, Apache and others are usually told to call them; the best first. */
static const char *const address_names[] = {
	"remote_addr", "client_ip", "request.client_ip", "request.remote_ip", "remote_ip",
	"clientip",    "client",    "ClientHost",	 "client.ip",	      "source.ip",
	"remoteIp",    "ip",	    "address",
};
static const char *const time_names[] = {
	"msec", "time_iso8601", "@timestamp", "ts", "timestamp", "time", "time_local", "StartUTC",
};

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

struct scan {
	const char *at;
	const char *end;
	const struct log_field *fields[JSON_LOG_WANTED];
	struct json_log_value *values;
	unsigned missing; /* bits of those that are wanted and not found yet */
};

static bool is_blank(char byte)
{
	return byte == ' ' || byte == '\t';
}

/* The next byte that is no blank; the newline behind the line is one that fits nowhere. */
static char peek(struct scan *scan)
{
	while (scan->at < scan->end && is_blank(*scan->at))
		scan->at++;
	return *scan->at;
}

static bool take(struct scan *scan, char byte)
{
	if (peek(scan) != byte)
		return false;
	scan->at++;
	return true;
}

static bool take_string(struct scan *scan, struct json_log_value *value)
{
	const char *close;

	if (!take(scan, '"'))
		return false;
	close = log_closing_quote(scan->at, scan->end);
	if (!close)
		return false;
	*value = (struct json_log_value){scan->at, (size_t)(close - scan->at)};
	scan->at = close + 1;
	return true;
}

/* Passes over an object or an array as a whole. */
static bool pass_nested(struct scan *scan)
{
	size_t depth = 0;

	do {
		struct json_log_value value;

		switch (*scan->at) {
		case '{':
		case '[':
			depth++;
			break;
		case '}':
		case ']':
			depth--;
			break;
		case '"':
			if (!take_string(scan, &value))
				return false;
			scan->at--;
			break;
		default:
			break;
		}
		scan->at++;
	} while (depth && scan->at < scan->end);
	return depth == 0;
}

/* A number, true, false or null. */
static bool take_word(struct scan *scan, struct json_log_value *value)
{
	const char *from = scan->at;

	while (scan->at < scan->end && !is_blank(*scan->at) && !strchr(",}]{[\":", *scan->at))
		scan->at++;
	*value = (struct json_log_value){from, (size_t)(scan->at - from)};
	if (value->bytes == 4 && !memcmp(from, "null", 4))
		value->bytes = 0;
	return scan->at > from;
}

static bool same(const char *text, size_t bytes, const struct json_log_value *name)
{
	return bytes == name->bytes && !memcmp(text, name->at, bytes);
}

/* Whether the member is the part of the path at that level, and whether it is the last one. */
static bool is_part(const struct log_field *field, unsigned level,
		    const struct json_log_value *name, bool *last)
{
	size_t from = level ? field->ends[level - 1] + 1 : 0;

	/* a name may have dots of its own */
	*last = level == 0 && same(field->name, field->ends[field->parts - 1], name);
	if (*last)
		return true;
	*last = level + 1 == field->parts;
	return same(field->name + from, field->ends[level] - from, name);
}

/* Of the fields `live`, those that this member is, and those that lie in it. */
static void match(const struct scan *scan, unsigned level, unsigned live,
		  const struct json_log_value *name, unsigned *found, unsigned *within)
{
	*found = *within = 0;
	for (unsigned i = 0; i < JSON_LOG_WANTED; i++) {
		bool last;

		if (!(live & scan->missing & 1u << i) ||
		    !is_part(scan->fields[i], level, name, &last))
			continue;
		*(last ? found : within) |= 1u << i;
	}
}

static void keep(struct scan *scan, unsigned found, const struct json_log_value *value)
{
	for (unsigned i = 0; i < JSON_LOG_WANTED; i++)
		if (found & 1u << i)
			scan->values[i] = *value;
	scan->missing &= ~found;
}

/* One object, behind its bracket; as deep as a path is long. false: that is no object. */
static bool read_object(struct scan *scan, unsigned level, unsigned live)
{
	if (take(scan, '}'))
		return true;
	do {
		struct json_log_value value = {scan->at, 0};
		struct json_log_value name;
		unsigned found;
		unsigned within;
		bool good;

		if (!take_string(scan, &name) || !take(scan, ':'))
			return false;
		match(scan, level, live, &name, &found, &within);
		switch (peek(scan)) {
		case '{':
			scan->at += within != 0;
			good = within ? read_object(scan, level + 1, within) : pass_nested(scan);
			break;
		case '[':
			good = pass_nested(scan);
			break;
		case '"':
			good = take_string(scan, &value);
			break;
		default:
			good = take_word(scan, &value);
			break;
		}
		if (!good)
			return false;
		keep(scan, found, &value);
		if (!scan->missing)
			return true;
	} while (take(scan, ','));
	return take(scan, '}');
}

static bool read_line(struct scan *scan, const char *line, const char *end)
{
	scan->at = line + 1;
	scan->end = end;
	scan->missing = 0;
	for (unsigned i = 0; i < JSON_LOG_WANTED; i++) {
		scan->values[i] = (struct json_log_value){line, 0};
		if (scan->fields[i] && scan->fields[i]->parts)
			scan->missing |= 1u << i;
	}
	if (!read_object(scan, 0, scan->missing))
		return false;
	/* the rest is not read if everything was found; a line that was cut short has no end */
	if (scan->missing)
		return peek(scan) == *end && scan->at == end;
	while (end > line && is_blank(end[-1]))
		end--;
	return end[-1] == '}';
}

/* Which of the names the object has. false: it is none, or has none of them. */
static bool find_out(struct log_field *field, const char *const *names, size_t count,
		     const char *line, const char *end)
{
	struct json_log_value values[JSON_LOG_WANTED];

	for (size_t i = 0; i < count; i++) {
		struct log_field candidate;
		struct scan scan = {.fields = {&candidate}, .values = values};

		log_field_begin(&candidate, names[i]);
		if (read_line(&scan, line, end) && values[0].bytes) {
			*field = candidate;
			return true;
		}
	}
	return false;
}

enum log_skip json_log_read(struct log_format *format, const char *line, const char *end,
			    struct json_log_value values[JSON_LOG_WANTED])
{
	struct scan scan = {.values = values,
			    .fields = {&format->json_key, &format->json_time, &format->cost}};

	if (!format->json_time.name)
		find_out(&format->json_time, time_names, ARRAY_SIZE(time_names), line, end);
	if (!format->json_key.name)
		find_out(&format->json_key, address_names, ARRAY_SIZE(address_names), line, end);
	return read_line(&scan, line, end) ? LOG_TAKEN : LOG_SKIP_FORM;
}
