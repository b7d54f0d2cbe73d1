/* SPDX-License-Identifier: Apache-2.0
 *
 * field_ietf.c - RateLimit and RateLimit-Policy, in the forms that the drafts gave them.
 *
 *	-06:	RateLimit-Policy: 100;w=60, beside RateLimit-Limit, -Remaining and -Reset
 *
 *	-07:	RateLimit: limit=100, remaining=50, reset=5
 *
 *	-08 on:	RateLimit-Policy: "default";q=100;w=60, and RateLimit: "default";r=50;t=30
 *
 * A field that is no structured field is left out entirely, and so is an item whose parameters are
 * not what the draft wants them to be.
 */
#include "field_reading.h"

#include <math.h>
#include <string.h>

enum { ENTRIES = FIELDS_LIMITS_MAX };

/* A parameter that is not what the draft wants; a later one of the same name takes its place. */
#define BAD (-1.0)

/* A limit by its name, from both fields. */
struct entry {
	char name[FIELDS_NAME_BYTES];
	char unit[FIELDS_NAME_BYTES];
	char key[FIELDS_NAME_BYTES];
	double quota, window_s, left, more_s, burst; /* NaN: not said; BAD */
	bool bad_name, bad_unit, bad_key;
	bool own_key; /* the key is of RateLimit itself, not of the policy alone */
};

struct entries {
	struct entry entries[ENTRIES];
	size_t count;
	bool limits; /* RateLimit had any */
};

/* A non-negative Integer, or BAD. */
static double count_of(const struct sf_item *value)
{
	return value->type == SF_INTEGER && value->number >= 0 ? (double)value->number : BAD;
}

static bool is_bad(const struct entry *entry)
{
	return entry->bad_name || entry->bad_unit || entry->bad_key || entry->quota < 0 ||
	       entry->window_s < 0 || entry->left < 0 || entry->more_s < 0 || entry->burst < 0;
}

static bool prints(const char *text, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		if (text[i] < ' ' || text[i] > '~')
			return false;
	return true;
}

/* A partition key is bytes, most often of a text; others stay in the base64 that they came in. */
static void take_key(struct entry *entry, const struct sf *sf, const struct sf_item *value)
{
	const struct sf_line *line = &sf->lines[value->text.line];
	struct field_text rest;
	size_t length;

	entry->bad_key = value->type != SF_BYTES;
	if (entry->bad_key)
		return;
	length = sf_text(sf, value, entry->key, sizeof(entry->key));
	if (prints(entry->key, length < sizeof(entry->key) ? length : sizeof(entry->key) - 1))
		return;
	rest = (struct field_text){line->text + value->text.at, line->bytes - value->text.at};
	rest.bytes = field_find(rest, ':');
	reading_name(entry->key, rest);
}

static void take_unit(struct entry *entry, const struct sf *sf, const struct sf_item *value)
{
	entry->bad_unit = value->type != SF_STRING;
	if (!entry->bad_unit)
		sf_text(sf, value, entry->unit, sizeof(entry->unit));
}

static void take_policy_parameter(struct entry *entry, const struct sf *sf,
				  const struct sf_key *key, const struct sf_item *value)
{
	if (sf_key_is(sf, key, "q") || sf_key_is(sf, key, "l")) /* l in the first of -08 */
		entry->quota = count_of(value);
	else if (sf_key_is(sf, key, "w"))
		entry->window_s = count_of(value);
	else if (sf_key_is(sf, key, "qu"))
		take_unit(entry, sf, value);
	else if (sf_key_is(sf, key, "pk"))
		take_key(entry, sf, value);
	else if (sf_key_is(sf, key, "weir-burst")) /* a comment to others; this one is ours */
		entry->burst = count_of(value);
}

static void take_limit_parameter(struct entry *entry, const struct sf *sf, const struct sf_key *key,
				 const struct sf_item *value)
{
	if (sf_key_is(sf, key, "r"))
		entry->left = count_of(value);
	else if (sf_key_is(sf, key, "t"))
		entry->more_s = count_of(value);
	else if (sf_key_is(sf, key, "pk"))
		take_key(entry, sf, value);
}

typedef void take_parameter(struct entry *entry, const struct sf *sf, const struct sf_key *key,
			    const struct sf_item *value);

/* An item and its parameters. False: it is no name, or there is no room, or it is bad. */
static bool read_entry(struct sf *sf, const struct sf_member *member, take_parameter *take,
		       struct entry *out)
{
	struct sf_key key;
	struct sf_item value;

	*out = (struct entry){
		.quota = NAN, .window_s = NAN, .left = NAN, .more_s = NAN, .burst = NAN};
	if (!member->list && (member->item.type == SF_STRING || member->item.type == SF_TOKEN))
		sf_text(sf, &member->item, out->name, sizeof(out->name));
	else if (member->list || member->item.type != SF_INTEGER)
		out->bad_name = true;
	while (sf_parameter_next(sf, &key, &value) == 1)
		take(out, sf, &key, &value);
	return !is_bad(out);
}

static struct entry *find_entry(struct entries *entries, const struct entry *like)
{
	for (size_t i = 0; i < entries->count; i++) {
		struct entry *entry = &entries->entries[i];

		if (!strcmp(entry->name, like->name) &&
		    (!entry->key[0] || !like->key[0] || !strcmp(entry->key, like->key)))
			return entry;
	}
	return NULL;
}

/* A policy by its number, as the drafts to -07 had it. */
static void take_numbered(struct reading *reading, const struct sf_item *item,
			  const struct entry *entry)
{
	if (item->number >= 0 && entry->window_s > 0)
		reading_policy(reading, (double)item->number, entry->window_s);
}

static void read_policies(struct reading *reading, struct entries *entries)
{
	const struct reading_lines *lines = &reading->ietf_policy;
	struct sf sf;
	struct sf_member member;
	struct entry entry;

	if (lines->many || !sf_check(lines->lines, lines->count, SF_LIST))
		return; /* it is informative: who sent a good RateLimit is understood without it */
	sf_open(&sf, lines->lines, lines->count);
	while (sf_list_next(&sf, &member) == 1) {
		if (!read_entry(&sf, &member, take_policy_parameter, &entry))
			continue;
		if (member.item.type == SF_INTEGER)
			take_numbered(reading, &member.item, &entry);
		else if (!isnan(entry.quota) && entries->count < ENTRIES &&
			 !find_entry(entries, &entry))
			entries->entries[entries->count++] = entry;
	}
}

/* Beside its policy; several of the same name and key: the least that is left counts. */
static void merge(struct reading *reading, struct entries *entries, const struct entry *entry)
{
	struct entry *policy = find_entry(entries, entry);

	entries->limits = true;
	if (!policy && entries->count < ENTRIES) {
		entries->entries[entries->count] = *entry;
		entries->entries[entries->count++].own_key = true;
	} else if (policy) {
		reading_put(reading, &policy->left, entry->left, KEEP_SMALLER);
		reading_put(reading, &policy->more_s, entry->more_s, KEEP_LARGER);
		if (entry->key[0]) {
			memcpy(policy->key, entry->key, sizeof(policy->key));
			policy->own_key = true;
		}
	}
}

static void read_limits(struct reading *reading, struct entries *entries)
{
	const struct reading_lines *lines = &reading->ietf_limit;
	struct sf sf;
	struct sf_member member;
	struct entry entry;

	sf_open(&sf, lines->lines, lines->count);
	while (sf_list_next(&sf, &member) == 1)
		if (read_entry(&sf, &member, take_limit_parameter, &entry) && entry.name[0])
			merge(reading, entries, &entry);
		else
			reading->malformed = true;
}

/* limit=100, remaining=50, reset=5 */
static bool read_dictionary(struct reading *reading)
{
	const struct reading_lines *lines = &reading->ietf_limit;
	double limit = NAN, left = NAN, reset = NAN;
	struct sf sf;
	struct sf_key key;
	struct sf_member member;

	if (!sf_check(lines->lines, lines->count, SF_DICTIONARY))
		return false;
	sf_open(&sf, lines->lines, lines->count);
	while (sf_dictionary_next(&sf, &key, &member) == 1) {
		double *out = sf_key_is(&sf, &key, "limit")	  ? &limit
			      : sf_key_is(&sf, &key, "remaining") ? &left
			      : sf_key_is(&sf, &key, "reset")	  ? &reset
								  : NULL;

		if (out)
			*out = member.list ? BAD : count_of(&member.item);
	}
	if (limit < 0 || left < 0 || reset < 0 || (isnan(limit) && isnan(left) && isnan(reset)))
		return false;
	reading_put(reading, &reading->out->limits[0].limit, limit, KEEP_SMALLER);
	reading_put(reading, &reading->out->limits[0].remaining, left, KEEP_SMALLER);
	if (!isnan(reset))
		reading_reset(reading, &reading->out->limits[0], reset, false);
	return true;
}

/* Into a limit of the verdict. The key of a policy is told where no RateLimit says which is meant.
 */
static void emit(struct reading *reading, const struct entry *entry, bool told,
		 struct fields_limit *limit)
{
	reading_put(reading, &limit->limit, entry->quota, KEEP_SMALLER);
	reading_put(reading, &limit->remaining, entry->left, KEEP_SMALLER);
	reading_put(reading, &limit->window_s, entry->window_s, KEEP_FIRST);
	reading_put(reading, &limit->burst, entry->burst, KEEP_FIRST);
	if (!isnan(entry->more_s))
		reading_reset(reading, limit, entry->more_s, false);
	memcpy(limit->unit, entry->unit, sizeof(limit->unit));
	if (entry->own_key || !told)
		memcpy(limit->partition_key, entry->key, sizeof(limit->partition_key));
	if (!limit->resource[0])
		memcpy(limit->resource, entry->name, sizeof(limit->resource));
}

void reading_ietf(struct reading *reading)
{
	const struct reading_lines *lines = &reading->ietf_limit;
	struct entries entries;

	entries.count = 0;
	entries.limits = false;
	if (reading->ietf_policy.count)
		read_policies(reading, &entries);
	if (lines->count && !lines->many && sf_check(lines->lines, lines->count, SF_LIST))
		read_limits(reading, &entries);
	else if (lines->count && (lines->many || !read_dictionary(reading)))
		reading->malformed = true;
	for (size_t i = 0; i < entries.count; i++) {
		struct fields_limit *limit =
			entries.count == 1 ? &reading->out->limits[0]
					   : reading_add(reading, entries.entries[i].name);

		if (limit)
			emit(reading, &entries.entries[i], entries.limits, limit);
	}
}
