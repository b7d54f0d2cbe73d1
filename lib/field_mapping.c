/* SPDX-License-Identifier: Apache-2.0
 *
 * field_mapping.c - mappings of one's own, from the lines of an INI file.
 */
#include "field_profiles.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const MEANINGS[FIELD_MAPPED] = {
	[FIELD_LIMIT] = "limit",
	[FIELD_REMAINING] = "remaining",
	[FIELD_RESET] = "reset",
	[FIELD_USED] = "used",
	[FIELD_WINDOW] = "window",
	[FIELD_UTILIZATION] = "utilization",
	[FIELD_RATE] = "rate",
	[FIELD_BURST] = "burst",
	[FIELD_RETRY_AFTER] = "retry_after",
	[FIELD_RESOURCE] = "resource",
};

static const char *const UNITS[FIELD_UNITS] = {
	[FIELD_AUTO] = "auto",	       [FIELD_DELTA_S] = "s",	      [FIELD_DELTA_MS] = "ms",
	[FIELD_DELTA_MIN] = "min",     [FIELD_EPOCH_S] = "epoch_s",   [FIELD_EPOCH_MS] = "epoch_ms",
	[FIELD_EPOCH_US] = "epoch_us", [FIELD_DURATION] = "duration", [FIELD_DATE] = "date",
};

static const char BAD_MEANING[] =
	"a mapping is field.MEANING or field.MEANING.RESOURCE, and MEANING is limit, remaining, "
	"reset, used, window, utilization, rate, burst, retry_after or resource "
	"(field.remaining = X-Foo-Left)";
static const char BAD_RESOURCE[] =
	"behind field.MEANING. stands the name of a limit: 1 to 63 of a-z, 0-9, `-`, `_` and `.` "
	"(field.remaining.tokens = X-Foo-Tokens-Left)";
static const char BAD_FIELD[] =
	"the name of a response field has 1 to 63 letters, digits and any of !#$%&'*+-.^_`|~ "
	"(field.remaining = X-Foo-Left)";
static const char BAD_UNIT[] =
	"the unit of a time is auto, s, ms, min, epoch_s, epoch_ms, epoch_us, duration (1m30s) or "
	"date (field.reset = X-Foo-Reset epoch_ms)";
static const char UNWANTED_UNIT[] = "only reset, window and retry_after are times and have a unit";
static const char UNWANTED_RESOURCE[] =
	"retry_after and resource are of the response, not of one limit by name";

/* Which of the names it is; count: none. */
static size_t which(struct field_text text, const char *const *names, size_t count)
{
	size_t i = 0;

	while (i < count && !field_is(text, names[i]))
		i++;
	return i;
}

static bool is_name_character(char c, const char *others)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c && strchr(others, c));
}

/* Copies a name in lower case; false: it is none. */
static bool copy_name(struct field_text text, const char *others, char out[FIELDS_NAME_BYTES])
{
	if (!text.bytes || text.bytes >= FIELDS_NAME_BYTES)
		return false;
	for (size_t i = 0; i < text.bytes; i++) {
		out[i] = field_lower(text.at[i]);
		if (!is_name_character(out[i], others))
			return false;
	}
	out[text.bytes] = '\0';
	return true;
}

static const char *read_key(const char *key, struct fields_mapping *out)
{
	static const char first[] = "field.";
	struct field_text text = {key, strlen(key)}, meaning;
	size_t which_one;

	if (!field_begins(text, first))
		return BAD_MEANING;
	text = field_from(text, sizeof(first) - 1);
	field_part(&text, '.', &meaning);
	which_one = which(meaning, MEANINGS, COUNT(MEANINGS));
	if (which_one == COUNT(MEANINGS))
		return BAD_MEANING;
	out->meaning = (int)which_one;
	if (!text.at)
		return NULL;
	if (which_one == FIELD_RETRY_AFTER || which_one == FIELD_RESOURCE)
		return UNWANTED_RESOURCE;
	return copy_name(text, "-_.", out->resource) ? NULL : BAD_RESOURCE;
}

static bool is_time(int meaning)
{
	return meaning == FIELD_RESET || meaning == FIELD_WINDOW || meaning == FIELD_RETRY_AFTER;
}

static const char *read_value(const char *value, struct fields_mapping *out)
{
	struct field_text text = field_trim((struct field_text){value, strlen(value)});
	struct field_text name = {text.at, 0}, unit;

	while (name.bytes < text.bytes && !field_blank(text.at[name.bytes]))
		name.bytes++;
	unit = field_trim(field_from(text, name.bytes));
	if (!copy_name(name, "!#$%&'*+-.^_`|~", out->field))
		return BAD_FIELD;
	if (!unit.bytes)
		return NULL;
	if (!is_time(out->meaning))
		return UNWANTED_UNIT;
	out->unit = (int)which(unit, UNITS, COUNT(UNITS));
	return out->unit < FIELD_UNITS ? NULL : BAD_UNIT;
}

const char *fields_mapping_parse(const char *key, const char *value, struct fields_mapping *out)
{
	struct fields_mapping mapping = {.unit = FIELD_AUTO};
	const char *wrong = read_key(key, &mapping);

	if (!wrong)
		wrong = read_value(value, &mapping);
	if (wrong)
		return wrong;
	if (mapping.unit == FIELD_AUTO && mapping.meaning != FIELD_RESET)
		mapping.unit = FIELD_DELTA_S;
	*out = mapping;
	return NULL;
}

bool field_name_mapped(const struct fields_mapping *mapping, struct field_text name,
		       struct field_name *out)
{
	size_t bytes = strnlen(mapping->resource, sizeof(mapping->resource));

	if (!field_is(name, mapping->field))
		return false;
	*out = (struct field_name){
		.meaning = (enum field_meaning)mapping->meaning,
		.unit = (enum field_unit)mapping->unit,
		.listed = bytes,
		.rest = {mapping->resource, bytes},
	};
	return true;
}
