/* SPDX-License-Identifier: Apache-2.0
 *
 * fields.c - a response's fields, one after the other, into what they mean together; and from that
 * what to do.
 */
#include "fields.h"

#include <math.h>
#include <string.h>

#include "field_profiles.h"
#include "field_reading.h"
#include "field_value.h"
#include "http_date.h"
#include "structured_field.h"

/* Up to a separator that is not within quotes; trimmed. *text goes on behind it. */
static bool unquoted_part(struct field_text *text, char separator, struct field_text *part)
{
	bool quoted = false;
	size_t i = 0;

	if (!text->at)
		return false;
	for (; i < text->bytes && (quoted || text->at[i] != separator); i++) {
		if (text->at[i] == '"')
			quoted = !quoted;
		else if (quoted && text->at[i] == '\\' && i + 1 < text->bytes)
			i++;
	}
	*part = field_trim((struct field_text){text->at, i});
	*text = i < text->bytes ? field_from(*text, i + 1) : (struct field_text){NULL, 0};
	return true;
}

/* Of "NAME = VALUE", or "NAME=VALUE". */
static bool split_pair(struct field_text text, struct field_text *name, struct field_text *value)
{
	size_t at = field_find(text, '=');

	if (at == text.bytes)
		return false;
	*name = field_trim((struct field_text){text.at, at});
	*value = field_trim(field_from(text, at + 1));
	return true;
}

/* The windows behind a value: ";w=60;comment=..."; NaN: there is none, or it is no number. */
static double read_window(struct field_text parameters)
{
	struct field_text part, name, value;
	double window;

	while (unquoted_part(&parameters, ';', &part))
		if (split_pair(part, &name, &value) &&
		    (field_is(name, "w") || field_is(name, "window")) && /* as in draft -00 */
		    field_number(value, &window) == FIELD_FINE && window > 0)
			return window;
	return NAN;
}

/* "5,000" is no list of two, but a number that we do not read. */
static bool is_grouped(struct field_text text)
{
	struct field_text part, first;
	bool differ = false;

	if (memchr(text.at, ' ', text.bytes) || !field_part(&text, ',', &first) ||
	    first.bytes > 3 || !text.at)
		return false;
	while (field_part(&text, ',', &part)) {
		if (part.bytes != 3)
			return false;
		differ = differ || first.bytes != 3 || memcmp(part.at, first.at, 3) != 0;
	}
	return differ;
}

/*
 * One value of a list: a number, or a time. A limit that is too large is none; what remains, and
 * the time of a reset, are at least bounded by others.
 */
static enum field_result read_value(struct reading *reading, enum field_meaning meaning,
				    enum field_unit unit, struct field_text text, double *out)
{
	enum field_result result = meaning == FIELD_RESET
					   ? field_time(text, unit, reading->now, out)
					   : field_number(text, out);

	if (result == FIELD_FINE && meaning == FIELD_RESET && *out < 0 && text.at[0] != '-')
		*out = 0; /* past */
	if (result == FIELD_HUGE) {
		reading->huge = true;
		*out = meaning == FIELD_LIMIT	? NAN
		       : meaning == FIELD_RESET ? FIELDS_NEVER_S
						: FIELDS_COUNT_MAX;
	}
	return result;
}

static void add_policy(struct reading_list *list, double quota, double window)
{
	for (size_t i = 0; i < list->policy_count; i++)
		if (list->policies[i].quota == quota && list->policies[i].window_s == window)
			return;
	if (list->policy_count < READING_VALUES)
		list->policies[list->policy_count++] = (struct fields_policy){quota, window};
}

static void add_member(struct reading_list *list, double value, double window)
{
	if (!isnan(window)) {
		list->windowed |= !list->count;
		add_policy(list, value, window);
	}
	/* behind the first value those with windows are policies, not values */
	if (list->count < READING_VALUES && (isnan(window) || !list->count))
		list->values[list->count++] = value;
}

/* A date has a comma of its own: the part goes on behind it, up to the next. */
static struct field_text with_next(struct field_text part, struct field_text text)
{
	part.bytes = (size_t)(text.at - part.at) + field_find(text, ',');
	return field_trim(part);
}

/* A value of a list, which is passed, and the parameters behind it. */
static enum field_result read_member(struct reading *reading, enum field_meaning meaning,
				     enum field_unit unit, struct field_text *text, double *value,
				     struct field_text *parameters)
{
	struct field_text number;
	enum field_result result;

	if (!unquoted_part(text, ',', parameters) || !unquoted_part(parameters, ';', &number))
		return FIELD_MALFORMED;
	result = read_value(reading, meaning, unit, number, value);
	if (result != FIELD_MALFORMED || meaning != FIELD_RESET || !text->at)
		return result;
	result = read_value(reading, meaning, unit, with_next(number, *text), value);
	field_part(text, ',', parameters);
	*parameters = (struct field_text){NULL, 0};
	return result;
}

/* Members of a list may be empty; those are passed. false: there are no more. */
static bool pass_empty(struct field_text *text)
{
	struct field_text rest = *text, part;

	while (field_part(&rest, ',', &part) && !part.bytes)
		*text = rest;
	return text->at;
}

/*
 * "100"; "1, 2000"; "10, 10;w=1, 50;w=60". All of it, or nothing: false.
 */
static bool read_list(struct reading *reading, enum field_meaning meaning, enum field_unit unit,
		      struct field_text text, struct reading_list *out)
{
	struct field_text parameters;
	double value;
	enum field_result result = read_value(reading, meaning, unit, text, &value);

	out->count = out->policy_count = 0;
	out->windowed = false;
	out->values[0] = NAN;
	if (result != FIELD_MALFORMED) {
		out->values[out->count++] = value;
		return true;
	}
	if (!text.bytes || is_grouped(text))
		return false;
	while (pass_empty(&text)) {
		result = read_member(reading, meaning, unit, &text, &value, &parameters);
		if (result == FIELD_MALFORMED || (meaning == FIELD_RESET && value < 0))
			return false;
		add_member(out, value, read_window(parameters));
	}
	return out->count;
}

static enum meeting meeting_of(enum field_meaning meaning)
{
	return meaning == FIELD_RESET ? KEEP_LARGER : KEEP_SMALLER;
}

/*
 * Another line of the same field: value by value. Where a line before it said the limit in force,
 * one that begins with a window goes on with the policies.
 */
static void merge_list(struct reading *reading, enum field_meaning meaning,
		       const struct reading_list *list)
{
	struct reading_list *into = &reading->plain[meaning];
	bool goes_on = meaning == FIELD_LIMIT && list->windowed && into->count && !into->windowed;

	for (size_t i = 0; i < list->count && !goes_on; i++)
		if (i < into->count)
			reading_put(reading, &into->values[i], list->values[i],
				    meeting_of(meaning));
		else
			into->values[into->count++] = list->values[i];
	if (!into->policy_count && !goes_on)
		into->windowed = list->windowed;
	for (size_t i = 0; i < list->policy_count; i++)
		add_policy(into, list->policies[i].quota, list->policies[i].window_s);
}

/* Of a limit by name. */
static void put_list(struct reading *reading, struct fields_limit *limit,
		     enum field_meaning meaning, const struct reading_list *list)
{
	reading_values(reading, limit, meaning, list);
	if (list->policy_count)
		reading_put(reading, &limit->window_s, list->policies[0].window_s, KEEP_FIRST);
}

/* A limit, what remains of one, or a reset. */
static void read_counts(struct reading *reading, const struct field_name *name,
			struct field_text text)
{
	enum field_meaning meaning = name->meaning;
	struct fields_limit *limit;
	struct reading_list list;

	limit = reading_limit(reading, name);
	if (!limit)
		return;
	if (!read_list(reading, meaning, name->unit, text, &list)) {
		reading->malformed = true;
		reading_slot(reading, limit)->bad_limit |= meaning == FIELD_LIMIT;
	} else if (meaning == FIELD_RESET && list.values[0] < 0) {
		reading_slot(reading, limit)->negative = true;
	} else if (name->listed) {
		put_list(reading, limit, meaning, &list);
	} else if (!reading->filling || !reading->plain[meaning].count) {
		merge_list(reading, meaning, &list);
	}
}

/* A reset whose unit is known by its name; or the next moment at which a request passes. */
static void read_twin(struct reading *reading, const struct field_name *name,
		      struct field_text text)
{
	struct fields_limit *limit = reading_limit(reading, name);
	double seconds = FIELDS_NEVER_S;
	enum field_result result = field_time(text, name->unit, reading->now, &seconds);

	reading_takes(reading, result);
	if (!limit || result == FIELD_MALFORMED)
		return;
	if (seconds >= 0)
		reading_reset(reading, limit, seconds, name->meaning == FIELD_TWIN);
	else if (text.at[0] == '-')
		reading_slot(reading, limit)->negative = true;
}

static void read_window_field(struct reading *reading, const struct field_name *name,
			      struct field_text text)
{
	struct fields_limit *limit = reading_limit(reading, name);
	double seconds;

	/* it is informative: a window in other words ("1 minute") does not void the rest */
	if (limit && field_time(text, name->unit, reading->now, &seconds) == FIELD_FINE)
		reading_put(reading, &limit->window_s, seconds, KEEP_FIRST);
}

static double *number_of(struct fields_limit *limit, enum field_meaning meaning)
{
	switch (meaning) {
	case FIELD_USED:
		return &limit->used;
	case FIELD_UTILIZATION:
		return &limit->utilization;
	case FIELD_RATE:
		return &limit->rate_per_s;
	default:
		return &limit->burst;
	}
}

/* A number that stands alone. */
static void read_single(struct reading *reading, const struct field_name *name,
			struct field_text text)
{
	struct fields_limit *limit = reading_limit(reading, name);
	double value;
	enum field_result result = field_number(text, &value);

	reading->huge |= result == FIELD_HUGE;
	if (!limit)
		return;
	reading_slot(reading, limit)->bad_other |= result == FIELD_MALFORMED;
	if (result == FIELD_FINE)
		reading_put(reading, number_of(limit, name->meaning), value,
			    name->meaning == FIELD_USED ? KEEP_LARGER : KEEP_SMALLER);
}

/* "32/40", used of a limit, into the limit. */
static void read_used_of(struct reading *reading, struct fields_limit *limit,
			 struct field_text text)
{
	size_t slash = field_find(text, '/');
	struct field_text before = field_trim((struct field_text){text.at, slash});
	struct field_text after;
	double used, quota;

	if (slash == text.bytes) {
		reading->malformed = true;
		return;
	}
	after = field_trim(field_from(text, slash + 1));
	if (!reading_takes(reading, field_number(before, &used)) ||
	    !reading_takes(reading, field_number(after, &quota)) || !limit)
		return;
	if (used < 0 || quota < 0) {
		reading->malformed = true;
		return;
	}
	reading_put(reading, &limit->used, used, KEEP_LARGER);
	reading_put(reading, &limit->limit, quota, KEEP_SMALLER);
	reading_put(reading, &limit->remaining, used < quota ? quota - used : 0, KEEP_SMALLER);
}

/* "api-usage=10018/100000; per-app-api-usage=17/250(appName=x)" */
static void read_named_used_of(struct reading *reading, struct field_text text)
{
	struct field_text part, value;
	struct field_name name = {.listed = true, .verbatim = true};

	while (field_part(&text, ';', &part)) {
		if (!split_pair(part, &name.rest, &value)) {
			reading->malformed = true;
			return;
		}
		value.bytes = field_find(value, '(');
		read_used_of(reading, reading_limit(reading, &name), field_trim(value));
	}
}

/* "Microsoft.Compute/HighCostGet3Min": how long its window is; 0: it does not say. */
static double window_in_policy(struct field_text name)
{
	size_t end = name.bytes - 3, at = end;
	int minutes = 0;

	if (name.bytes < 4 || !field_is(field_from(name, end), "min"))
		return 0;
	while (at && end - at < 4 && name.at[at - 1] >= '0' && name.at[at - 1] <= '9')
		at--;
	for (; at < end; at++)
		minutes = minutes * 10 + (name.at[at] - '0');
	return minutes * 60;
}

/* "Microsoft.Compute/HighCostGet3Min;159, ..." */
static void read_named_remaining(struct reading *reading, struct field_text text)
{
	struct field_text part, number;
	struct field_name name = {.listed = true, .verbatim = true};
	struct fields_limit *limit;
	double left;

	while (field_part(&text, ',', &part)) {
		field_part(&part, ';', &name.rest);
		number = part.at ? field_trim(part) : (struct field_text){"", 0};
		if (!name.rest.bytes || !reading_takes(reading, field_number(number, &left))) {
			reading->malformed |= !name.rest.bytes;
			continue;
		}
		name.window_s = window_in_policy(name.rest);
		limit = reading_limit(reading, &name);
		if (limit)
			reading_put(reading, &limit->remaining, left, KEEP_SMALLER);
	}
}

/* "total=100; remaining=99; resets=41" */
static void read_totals(struct reading *reading, const struct field_name *name,
			struct field_text text)
{
	struct fields_limit *limit = reading_limit(reading, name);
	struct field_text part, word, value;
	double number;

	reading->totals = true;
	while (limit && field_part(&text, ';', &part)) {
		if (!split_pair(part, &word, &value)) {
			reading->malformed = true;
			return;
		}
		if (!reading_takes(reading, field_number(value, &number)))
			reading_slot(reading, limit)->bad_limit |= field_is(word, "total");
		else if (field_is(word, "total"))
			reading_put(reading, &limit->limit, number, KEEP_SMALLER);
		else if (field_is(word, "remaining"))
			reading_put(reading, &limit->remaining, number, KEEP_SMALLER);
		else if (field_is(word, "resets") && number >= 0)
			reading_reset(reading, limit, number, true);
	}
}

/* A text in JSON from behind its opening quote on; *text goes on behind the closing one. */
static bool json_text(struct field_text *text, struct field_text *out)
{
	size_t i = 0;

	while (i < text->bytes && text->at[i] != '"')
		i += text->at[i] == '\\' ? 2 : 1;
	if (i >= text->bytes)
		return false;
	*out = (struct field_text){text->at, i};
	*text = field_from(*text, i + 1);
	return true;
}

/* One object of percentages. */
struct usage {
	struct field_text type;
	double most;	/* percent; NaN: none */
	double minutes; /* until there is access again; 0: there is */
	double seconds; /* until the percentage begins anew */
};

static void begin_usage(struct usage *usage)
{
	*usage = (struct usage){.most = NAN};
}

static bool ends_in(struct field_text text, const char *lower)
{
	size_t bytes = strlen(lower);

	return text.bytes >= bytes && field_is(field_from(text, text.bytes - bytes), lower);
}

static bool is_percentage(struct field_text key)
{
	return field_is(key, "call_count") || field_is(key, "total_cputime") ||
	       field_is(key, "total_time") || ends_in(key, "_util_pct");
}

static void take_percentage(struct reading *reading, struct usage *usage, struct field_text key,
			    double value)
{
	if (field_is(key, "estimated_time_to_regain_access"))
		usage->minutes = value;
	else if (field_is(key, "reset_time_duration"))
		usage->seconds = value;
	else if (is_percentage(key))
		reading_put(reading, &usage->most, value, KEEP_LARGER);
}

static void end_usage(struct reading *reading, const struct field_name *name, struct usage *usage)
{
	const struct field_name typed = {.listed = true, .verbatim = true, .rest = usage->type};
	struct fields_limit *limit;

	if (isnan(usage->most))
		return;
	limit = reading_limit(reading, usage->type.bytes ? &typed : name);
	if (!limit)
		return;
	reading_put(reading, &limit->utilization, usage->most / 100, KEEP_LARGER);
	if (usage->minutes > 0 || usage->seconds > 0)
		reading_reset(reading, limit,
			      usage->minutes > 0 ? usage->minutes * 60 : usage->seconds, true);
	begin_usage(usage);
}

/* The bytes of a number or a word of JSON from here on. */
static size_t json_word(struct field_text text)
{
	size_t i = 0;

	while (i < text.bytes && text.at[i] && !strchr(",:{}[]\" \t", text.at[i]))
		i++;
	return i;
}

/*
 * {"1234":[{"type":"ads_insights","call_count":42,...},...]}: every object with percentages is a
 * limit, and its use is the largest of them. Returns false where it is no JSON of this kind.
 */
static bool read_percents(struct reading *reading, const struct field_name *name,
			  struct field_text text)
{
	struct field_text key = {"", 0}, last = {"", 0};
	struct usage usage;
	size_t depth = 0, bytes;
	double number;

	begin_usage(&usage);
	while (text.bytes) {
		char c = text.at[0];

		bytes = json_word(text);
		if (bytes) {
			struct field_text word = {text.at, bytes};

			if (field_number(word, &number) == FIELD_FINE && number >= 0)
				take_percentage(reading, &usage, key, number);
			text = field_from(text, bytes);
			continue;
		}
		text = field_from(text, 1);
		if (c == '"') {
			if (!json_text(&text, &last))
				return false;
			if (field_is(key, "type"))
				usage.type = last;
		} else if (c == ':') {
			key = last;
		} else if (c == ',') {
			key = (struct field_text){"", 0};
		} else if (c == '{' || c == '[') {
			depth++;
			key = (struct field_text){"", 0};
		} else if (c == '}' || c == ']') {
			if (!depth--)
				return false;
			if (c == '}')
				end_usage(reading, name, &usage);
		}
	}
	return !depth;
}

/* Retry-After: the longest of several; one in milliseconds goes before one in seconds. */
static void take_wait(struct reading *reading, enum field_result result, double seconds, bool fine)
{
	reading->bad_wait |= result == FIELD_MALFORMED;
	if (result == FIELD_MALFORMED || (reading->wait_is_fine && !fine))
		return;
	if (result == FIELD_HUGE)
		seconds = FIELDS_NEVER_S;
	if (fine && !reading->wait_is_fine)
		reading->wait_s = NAN;
	reading->wait_is_fine = fine;
	reading_put(reading, &reading->wait_s, seconds > 0 ? seconds : 0, KEEP_LARGER);
}

/* The next of several that a proxy joined; a date has a comma of its own. */
static bool next_wait(const struct reading *reading, struct field_text *text,
		      enum field_result *result, double *seconds)
{
	struct field_text part;

	if (!field_part(text, ',', &part))
		return false;
	*result = field_wait(part, reading->now, seconds);
	if (*result != FIELD_MALFORMED || !text->at)
		return true;
	*result = field_wait(with_next(part, *text), reading->now, seconds);
	if (*result != FIELD_MALFORMED)
		field_part(text, ',', &part);
	return true;
}

static void read_wait(struct reading *reading, const struct field_name *name,
		      struct field_text text)
{
	double seconds = 0;
	enum field_result result = field_wait(text, reading->now, &seconds);

	if (name->unit != FIELD_DELTA_S) {
		result = field_time(text, name->unit, reading->now, &seconds);
		if (result == FIELD_FINE && text.at[0] == '-')
			result = FIELD_MALFORMED;
		take_wait(reading, result, seconds, name->unit == FIELD_DELTA_MS);
	} else if (result != FIELD_MALFORMED || field_find(text, ',') == text.bytes ||
		   is_grouped(text)) {
		take_wait(reading, result, seconds, false);
	} else { /* several lines that a proxy joined */
		while (next_wait(reading, &text, &result, &seconds))
			take_wait(reading, result, seconds, false);
	}
}

static void read_policy(struct reading *reading, struct field_text text)
{
	struct reading_list list;

	if (!read_list(reading, FIELD_LIMIT, FIELD_AUTO, text, &list))
		return; /* informative */
	for (size_t i = 0; i < list.policy_count; i++)
		reading_policy(reading, list.policies[i].quota, list.policies[i].window_s);
}

static void keep_line(struct reading_lines *lines, struct field_text text)
{
	if (lines->count < READING_LINES)
		lines->lines[lines->count++] = (struct sf_line){text.at, text.bytes};
	else
		lines->many = true;
}

static void read_name(struct reading *reading, struct field_text text)
{
	char *resource = reading->out->limits[0].resource;

	if (!resource[0])
		reading_name(resource, text);
}

static void read_field(struct reading *reading, const struct field_name *name,
		       struct field_text text)
{
	switch (name->meaning) {
	case FIELD_LIMIT:
	case FIELD_REMAINING:
	case FIELD_RESET:
		read_counts(reading, name, text);
		break;
	case FIELD_TWIN:
	case FIELD_NEXT:
		read_twin(reading, name, text);
		break;
	case FIELD_WINDOW:
		read_window_field(reading, name, text);
		break;
	case FIELD_USED:
	case FIELD_UTILIZATION:
	case FIELD_RATE:
	case FIELD_BURST:
		read_single(reading, name, text);
		break;
	case FIELD_RETRY_AFTER:
		read_wait(reading, name, text);
		break;
	case FIELD_RESOURCE:
		read_name(reading, text);
		break;
	case FIELD_POLICY:
		read_policy(reading, text);
		break;
	case FIELD_IETF_LIMIT:
		keep_line(&reading->ietf_limit, text);
		break;
	case FIELD_IETF_POLICY:
		keep_line(&reading->ietf_policy, text);
		break;
	case FIELD_USED_OF:
		read_used_of(reading, reading_limit(reading, name), text);
		break;
	case FIELD_NAMED_USED_OF:
		read_named_used_of(reading, text);
		break;
	case FIELD_NAMED_REMAINING:
		read_named_remaining(reading, text);
		break;
	case FIELD_TOTALS:
		read_totals(reading, name, text);
		break;
	case FIELD_PERCENTS:
		reading->malformed |= !read_percents(reading, name, text);
		break;
	case FIELD_SCOPE:
		reading->out->shared |= field_is(text, "shared");
		reading->out->everywhere |= field_is(text, "global");
		break;
	case FIELD_GLOBAL:
		reading->out->everywhere |= field_is(text, "true");
		break;
	case FIELD_SHOULD_RETRY:
		reading->forbidden |= field_is(text, "false");
		break;
	case FIELD_WORDS:
	case FIELD_NOTHING:
		break;
	}
}

static struct field_text name_of(const struct fields_header *header)
{
	return (struct field_text){header->name, header->name_bytes};
}

static struct field_text value_of(const struct fields_header *header)
{
	return field_trim((struct field_text){header->value, header->value_bytes});
}

static size_t headers_of(const struct fields_response *response)
{
	return response->count < FIELDS_HEADERS_MAX ? response->count : FIELDS_HEADERS_MAX;
}

/* Whether an Age says that the response is old. Of a list, which is an error, the first counts. */
static bool is_aged(struct field_text text)
{
	struct field_text first;
	double age;
	enum field_result result;

	field_part(&text, ',', &first);
	result = field_number(first, &age);
	return result == FIELD_HUGE || (result == FIELD_FINE && age > 0);
}

/*
 * Date and Age. A Date is what the server's own times are measured by, unless the caller's clock
 * agrees with it to the second that it is exact to.
 */
static void read_clock(struct reading *reading)
{
	const struct fields_response *response = reading->response;
	double captured = response->captured_at, date;

	reading->now = captured >= 0 && captured < FIELDS_NEVER_S ? captured : NAN;
	for (size_t i = 0; i < headers_of(response); i++) {
		const struct fields_header *header = &response->headers[i];

		if (header->name_bytes == 4 && field_is(name_of(header), "date")) {
			struct field_text text = value_of(header);

			if (http_date_read(text.at, text.bytes, captured, &date) &&
			    !(fabs(date - captured) <= 1))
				reading->now = date;
		} else if (header->name_bytes == 3 && field_is(name_of(header), "age")) {
			reading->old |= is_aged(value_of(header));
		}
	}
}

static bool find_name(const struct fields_response *response, struct field_text name,
		      struct field_name *out)
{
	for (size_t i = 0; i < response->mapping_count; i++)
		if (field_name_mapped(&response->mappings[i], name, out))
			return true;
	return field_name_read(response->profile, name, out);
}

/* All fields but copies; then, if there are any, the copies. */
static void read_fields(struct reading *reading)
{
	const struct fields_response *response = reading->response;
	bool copies = false;

	for (size_t i = 0; i < headers_of(response); i++) {
		struct field_name name;

		if (!find_name(response, name_of(&response->headers[i]), &name))
			continue;
		copies |= name.copied;
		if (name.copied == reading->filling)
			read_field(reading, &name, value_of(&response->headers[i]));
	}
	if (copies && !reading->filling) {
		reading->filling = true;
		read_fields(reading);
		reading->filling = false;
	}
}

static enum fields_action conclude(struct fields_verdict *out, enum fields_action action,
				   enum fields_cause cause)
{
	out->action = action;
	out->cause = cause;
	return action;
}

/* With a Retry-After that can be read. */
static enum fields_action conclude_wait(const struct reading *reading)
{
	const struct fields_response *response = reading->response;
	struct fields_verdict *out = reading->out;
	double longest = response->long_s > 0 ? response->long_s : FIELDS_LONG_S;

	if (response->status >= 200 && response->status < 300)
		return conclude(out, FIELDS_IGNORE_RETRY_AFTER_ON_2XX, FIELDS_CAUSE_NOT_REFUSED);
	if (out->retry_after_s >= FIELDS_NEVER_S)
		return conclude(out, FIELDS_CAP, FIELDS_CAUSE_HUGE);
	if (out->retry_after_s > longest)
		return conclude(out, FIELDS_CAP, FIELDS_CAUSE_LONG_WAIT);
	if (out->retry_after_s <= 0)
		return conclude(out, FIELDS_FLOOR, FIELDS_CAUSE_NO_WAIT);
	return conclude(out, FIELDS_USE, FIELDS_CAUSE_RETRY_AFTER);
}

static enum fields_action conclude_limits(const struct reading *reading)
{
	struct fields_verdict *out = reading->out;

	if (reading->malformed && !reading->whole)
		return conclude(out, FIELDS_IGNORE, FIELDS_CAUSE_MALFORMED);
	if (reading->unknown && !reading->whole)
		return conclude(out, FIELDS_IGNORE, FIELDS_CAUSE_UNKNOWN);
	if (reading->huge)
		return conclude(out, FIELDS_CAP, FIELDS_CAUSE_HUGE);
	if (!out->count && reading->unlimited)
		return conclude(out, FIELDS_UNLIMITED, FIELDS_CAUSE_NO_LIMIT);
	if (!out->count && !out->policy_count)
		return conclude(out, FIELDS_IGNORE,
				reading->bad_wait ? FIELDS_CAUSE_MALFORMED : FIELDS_CAUSE_NOTHING);
	if (reading->above_limit)
		return conclude(out, FIELDS_CAP, FIELDS_CAUSE_ABOVE_LIMIT);
	if (reading->no_wait)
		return conclude(out, FIELDS_FLOOR, FIELDS_CAUSE_NO_WAIT);
	if (reading->above_policy)
		return conclude(out, FIELDS_CAP, FIELDS_CAUSE_ABOVE_POLICY);
	return conclude(out, FIELDS_USE, FIELDS_CAUSE_SAID);
}

static enum fields_action conclude_all(const struct reading *reading)
{
	struct fields_verdict *out = reading->out;

	if (reading->forbidden)
		return conclude(out, FIELDS_DO_NOT_RETRY, FIELDS_CAUSE_TOLD_NOT_TO);
	if (reading->response->status == 413)
		return conclude(out, FIELDS_DO_NOT_RETRY, FIELDS_CAUSE_TOO_LARGE);
	if (reading->response->status == 402 && !out->count && isnan(out->retry_after_s))
		return conclude(out, FIELDS_DO_NOT_RETRY, FIELDS_CAUSE_PAYMENT);
	if (!isnan(out->retry_after_s))
		return conclude_wait(reading);
	return conclude_limits(reading);
}

enum fields_action fields_read(const struct fields_response *response, struct fields_verdict *out)
{
	struct reading reading;

	reading_begin(&reading, response, out);
	read_clock(&reading);
	if (reading.old) {
		out->count = 0;
		return conclude(out, FIELDS_IGNORE, FIELDS_CAUSE_CACHED);
	}
	read_fields(&reading);
	if (reading.ietf_limit.count || reading.ietf_policy.count)
		reading_ietf(&reading);
	reading_settle(&reading);
	out->retry_after_s = reading.wait_s;
	return conclude_all(&reading);
}

const char *fields_action_text(enum fields_action action)
{
	switch (action) {
	case FIELDS_USE:
		return "use";
	case FIELDS_IGNORE:
		return "ignore";
	case FIELDS_CAP:
		return "cap";
	case FIELDS_FLOOR:
		return "floor";
	case FIELDS_UNLIMITED:
		return "unlimited";
	case FIELDS_DO_NOT_RETRY:
		return "do_not_retry";
	case FIELDS_IGNORE_RETRY_AFTER_ON_2XX:
		return "ignore_retry_after_on_2xx";
	}
	return "?"; /* not one of ours */
}

const char *fields_cause_text(enum fields_cause cause)
{
	switch (cause) {
#define CASE(name, text)                                                                           \
	case FIELDS_CAUSE_##name:                                                                  \
		return text;
		FIELDS_CAUSES(CASE)
#undef CASE
	}
	return "?";
}
