/* SPDX-License-Identifier: Apache-2.0
 *
 * field_limits.c - the limits of a response while they are gathered, and what is made of numbers
 * that cannot stand as they are: negative ones, lists, windows by name.
 */
#include "field_reading.h"

#include <math.h>
#include <string.h>

static void clear(struct fields_limit *limit, bool listed)
{
	limit->listed = listed;
	limit->limit = limit->remaining = limit->used = limit->reset_s = NAN;
	limit->window_s = limit->utilization = limit->rate_per_s = limit->burst = NAN;
	limit->resource[0] = limit->unit[0] = limit->partition_key[0] = '\0';
}

static void begin_list(struct reading_list *list)
{
	list->count = list->policy_count = 0;
	list->windowed = false;
}

/* NaN: the list has none there. */
static double value_at(const struct reading_list *list, size_t index)
{
	return index < list->count ? list->values[index] : NAN;
}

static void begin_lines(struct reading_lines *lines)
{
	lines->count = 0;
	lines->many = false;
}

void reading_begin(struct reading *reading, const struct fields_response *response,
		   struct fields_verdict *out)
{
	memset(reading, 0, offsetof(struct reading, slots));
	reading->response = response;
	reading->out = out;
	reading->now = reading->wait_s = NAN;
	reading->slots[0] = (struct reading_slot){.firm = false};
	for (int i = FIELD_LIMIT; i <= FIELD_RESET; i++)
		begin_list(&reading->plain[i]);
	begin_lines(&reading->ietf_limit);
	begin_lines(&reading->ietf_policy);
	clear(&out->limits[0], false);
	out->count = 1;
	out->policy_count = 0;
	out->retry_after_s = NAN;
	out->everywhere = out->shared = false;
}

struct reading_slot *reading_slot(struct reading *reading, const struct fields_limit *limit)
{
	return &reading->slots[limit - reading->out->limits];
}

bool reading_takes(struct reading *reading, enum field_result result)
{
	reading->malformed |= result == FIELD_MALFORMED;
	reading->huge |= result == FIELD_HUGE;
	return result == FIELD_FINE;
}

static inline bool same_text(struct field_text a, struct field_text b)
{
	if (a.bytes != b.bytes)
		return false;
	for (size_t i = 0; i < a.bytes; i++)
		if (a.at[i] != b.at[i] && field_lower(a.at[i]) != field_lower(b.at[i]))
			return false;
	return true;
}

static struct fields_limit *add(struct reading *reading)
{
	struct fields_verdict *out = reading->out;
	struct fields_limit *limit;

	if (out->count == FIELDS_LIMITS_MAX)
		return NULL;
	limit = &out->limits[out->count];
	reading->slots[out->count++] = (struct reading_slot){.firm = false};
	clear(limit, true);
	return limit;
}

/*
 * A window that is a part of the name tells limits apart ("tokens" by the minute and by the day);
 * where one of two does not name it (the length of the window is a field of its own), they are the
 * same.
 */
struct fields_limit *reading_limit(struct reading *reading, const struct field_name *name)
{
	struct fields_limit *limit;
	struct reading_slot *slot;

	if (!name->listed)
		return &reading->out->limits[0];
	for (size_t i = 1; i < reading->out->count; i++) {
		slot = &reading->slots[i];
		if (same_text(slot->rest, name->rest) && same_text(slot->prefix, name->prefix) &&
		    same_text(slot->suffix, name->suffix))
			return &reading->out->limits[i];
	}
	limit = add(reading);
	if (!limit)
		return NULL;
	slot = reading_slot(reading, limit);
	slot->prefix = name->prefix;
	slot->rest = name->rest;
	slot->suffix = name->suffix;
	slot->verbatim = name->verbatim;
	if (name->window_s > 0)
		limit->window_s = name->window_s;
	return limit;
}

struct fields_limit *reading_add(struct reading *reading, const char *name)
{
	struct fields_limit *limit = add(reading);

	if (limit)
		reading_name(limit->resource, (struct field_text){name, strlen(name)});
	return limit;
}

void reading_reset(struct reading *reading, struct fields_limit *limit, double seconds, bool firm)
{
	struct reading_slot *slot = reading_slot(reading, limit);

	if (slot->firm && !firm)
		return;
	if (seconds >= FIELDS_NEVER_S) {
		reading->huge = true;
		seconds = FIELDS_NEVER_S;
	}
	if (firm && !slot->firm && !reading->filling)
		limit->reset_s = NAN;
	reading_put(reading, &limit->reset_s, seconds > 0 ? seconds : 0, KEEP_LARGER);
	slot->firm |= firm;
}

void reading_values(struct reading *reading, struct fields_limit *limit, enum field_meaning meaning,
		    const struct reading_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		if (meaning == FIELD_LIMIT)
			reading_put(reading, &limit->limit, list->values[i], KEEP_SMALLER);
		else if (meaning == FIELD_REMAINING)
			reading_put(reading, &limit->remaining, list->values[i], KEEP_SMALLER);
		else
			reading_reset(reading, limit, list->values[i], false);
}

void reading_policy(struct reading *reading, double quota, double window_s)
{
	struct fields_verdict *out = reading->out;

	if (!(quota >= 0)) /* below it, or too large to be one */
		return;
	for (size_t i = 0; i < out->policy_count; i++)
		if (out->policies[i].quota == quota && out->policies[i].window_s == window_s)
			return;
	if (out->policy_count < FIELDS_POLICIES_MAX)
		out->policies[out->policy_count++] = (struct fields_policy){quota, window_s};
}

/* Appends, as far as there is room. Returns the new length. */
static size_t append(char out[FIELDS_NAME_BYTES], size_t length, struct field_text text)
{
	for (size_t i = 0; i < text.bytes && length + 1 < FIELDS_NAME_BYTES; i++)
		if ((unsigned char)text.at[i] >= ' ' && text.at[i] != 0x7f)
			out[length++] = text.at[i];
	/* not the first part of a UTF-8 sequence alone */
	if (length + 1 == FIELDS_NAME_BYTES)
		while (length && (out[length - 1] & 0x80))
			length--;
	out[length] = '\0';
	return length;
}

void reading_name(char out[FIELDS_NAME_BYTES], struct field_text text)
{
	append(out, 0, field_trim(text));
}

/* Whether another limit goes by the same words, with another window. */
static bool has_namesake(const struct reading *reading, size_t index)
{
	const struct reading_slot *slot = &reading->slots[index];

	for (size_t i = 1; i < reading->out->count; i++)
		if (i != index && reading->slots[i].suffix.bytes &&
		    same_text(reading->slots[i].rest, slot->rest) &&
		    same_text(reading->slots[i].prefix, slot->prefix))
			return true;
	return false;
}

static void print_name(const struct reading *reading, size_t index)
{
	const struct reading_slot *slot = &reading->slots[index];
	char *out = reading->out->limits[index].resource;
	size_t length = 0;

	if (out[0])
		return;
	length = append(out, length, slot->prefix);
	length = append(out, length, slot->rest);
	if (slot->suffix.bytes && has_namesake(reading, index)) {
		length = append(out, length, FIELD_TEXT("-"));
		length = append(out, length, slot->suffix);
	}
	if (length && out[length - 1] == '-')
		out[--length] = '\0';
	for (size_t i = 0; i < length && !slot->verbatim; i++)
		out[i] = field_lower(out[i]);
}

static bool all_the_same(const struct reading_list *list)
{
	for (size_t i = 1; i < list->count; i++)
		if (list->values[i] != list->values[0])
			return false;
	return true;
}

/*
 * Whether lists are of several limits, and not one limit's lines that a proxy joined. Limits have
 * sizes or windows of their own; only where neither is a list tells what remains them apart.
 */
static bool are_several(const struct reading_list lists[FIELD_RESET + 1])
{
	if (lists[FIELD_LIMIT].count < 2 && lists[FIELD_RESET].count < 2)
		return !all_the_same(&lists[FIELD_REMAINING]);
	return !all_the_same(&lists[FIELD_LIMIT]) || !all_the_same(&lists[FIELD_RESET]);
}

/*
 * Lists that stand beside each other: "1, 2000" and "0, 1977" are two limits; "100, 100" and
 * "80, 5" are one. A list with windows is one limit and its policies. Returns how many limits
 * there are side by side; 0: it is one.
 */
static size_t side_by_side(const struct reading *reading)
{
	size_t most = 0, lists = 0, singles = 0;

	if (reading->plain[FIELD_LIMIT].policy_count)
		return 0;
	for (int i = FIELD_LIMIT; i <= FIELD_RESET; i++) {
		size_t count = reading->plain[i].count;

		lists += count > 1;
		singles += count == 1;
		most = count > most ? count : most;
	}
	return !are_several(reading->plain) || (singles && lists < 2) ? 0 : most;
}

static void spread(struct reading *reading, size_t count)
{
	struct fields_verdict *out = reading->out;
	bool windows = out->policy_count == count;

	for (size_t i = 0; i < count; i++) {
		const char name[2] = {(char)('1' + i), '\0'};
		struct fields_limit *limit = reading_add(reading, name);

		if (!limit)
			break;
		reading_slot(reading, limit)->bad_limit = reading->slots[0].bad_limit;
		limit->limit = value_at(&reading->plain[FIELD_LIMIT], i);
		limit->remaining = value_at(&reading->plain[FIELD_REMAINING], i);
		limit->reset_s = value_at(&reading->plain[FIELD_RESET], i);
		if (windows)
			limit->window_s = out->policies[i].window_s;
	}
	if (windows)
		out->policy_count = 0;
}

/* Of lists that are one limit: its numbers and its windows. */
static void take_plain(struct reading *reading)
{
	struct fields_limit *limit = &reading->out->limits[0];
	const struct reading_list *limits = &reading->plain[FIELD_LIMIT];
	const struct reading_list *left = &reading->plain[FIELD_REMAINING];

	for (int i = FIELD_LIMIT; i <= FIELD_RESET; i++)
		reading_values(reading, limit, (enum field_meaning)i, &reading->plain[i]);
	if (limits->windowed)
		limit->window_s = limits->policies[0].window_s;
	else if (left->windowed)
		limit->window_s = left->policies[0].window_s;
	/* a policy that is the limit over again says nothing beside it */
	if (limits->policy_count == 1 && limits->policies[0].quota == limit->limit) {
		limit->window_s = limits->policies[0].window_s;
		return;
	}
	for (size_t i = 0; i < limits->policy_count; i++)
		reading_policy(reading, limits->policies[i].quota, limits->policies[i].window_s);
}

/* The window of the policy that has the plain limit as its quota. */
static void take_window(struct reading *reading)
{
	const struct fields_verdict *out = reading->out;
	struct fields_limit *limit = &reading->out->limits[0];

	for (size_t i = 0; i < out->policy_count && isnan(limit->window_s); i++)
		if (out->policies[i].quota == limit->limit)
			limit->window_s = out->policies[i].window_s;
}

static bool says_something(const struct fields_limit *limit)
{
	return !isnan(limit->limit) || !isnan(limit->remaining) || !isnan(limit->used) ||
	       !isnan(limit->reset_s) || !isnan(limit->window_s) || !isnan(limit->utilization) ||
	       !isnan(limit->rate_per_s) || !isnan(limit->burst);
}

/* A reset without a limit of its own belongs to the only one that there is by name. */
static void lend_reset(struct reading *reading)
{
	struct fields_verdict *out = reading->out;
	struct fields_limit *plain = &out->limits[0];

	if (out->count == 2 && isnan(plain->limit) && isnan(plain->remaining) &&
	    isnan(plain->used) && isnan(out->limits[1].reset_s)) {
		out->limits[1].reset_s = plain->reset_s;
		plain->reset_s = NAN;
	}
}

static void drop_negative(struct reading *reading, double *number)
{
	if (*number < 0) {
		*number = NAN;
		reading->malformed = true;
	}
}

/* -1 means that there is no limit, or that the server does not know: is_not_known(). */
static bool is_no_limit(const struct fields_limit *limit)
{
	return (limit->limit == -1 || (limit->limit == 0 && limit->remaining == -1)) &&
	       !(limit->remaining >= 0);
}

/* On a refusal there is a limit; and where there is none, there is no time at which it begins anew.
 */
static bool is_not_known(const struct reading *reading, const struct fields_limit *limit)
{
	return reading->response->status >= 400 || limit->reset_s >= 0;
}

/* -1 beside what remains says nothing; less than that is no limit that anybody means. */
static void drop_negative_limit(struct reading *reading, struct fields_limit *limit)
{
	if (!(limit->limit < 0))
		return;
	if (limit->limit != -1)
		reading->malformed = reading_slot(reading, limit)->bad_limit = true;
	limit->limit = NAN;
}

static void settle_remaining(struct reading *reading, struct fields_limit *limit)
{
	drop_negative_limit(reading, limit);
	if (limit->remaining < 0) {
		bool overdrawn = !isnan(limit->limit) || reading->response->status >= 400 ||
				 limit->remaining != -1;

		limit->remaining = overdrawn ? 0 : NAN;
		reading->unknown |= !overdrawn;
	}
	if (limit->remaining >= FIELDS_COUNT_MAX && isnan(limit->limit))
		limit->remaining = NAN;
	if (limit->remaining > limit->limit) {
		limit->remaining = limit->limit;
		reading->above_limit = true;
	}
	if (limit->used < 0) {
		limit->used = NAN;
		reading->unknown |= isnan(limit->remaining);
	}
}

/* Bounds the numbers of a limit. Returns whether it says anything. */
static bool settle_limit(struct reading *reading, struct fields_limit *limit)
{
	const struct reading_slot *slot = reading_slot(reading, limit);

	if (is_no_limit(limit)) {
		if (is_not_known(reading, limit))
			reading->unknown = true;
		else
			reading->unlimited = true;
		return false;
	}
	settle_remaining(reading, limit);
	reading->malformed |= slot->negative || (slot->bad_other && isnan(limit->remaining));
	if (!(limit->window_s > 0 && limit->window_s < FIELDS_NEVER_S))
		limit->window_s = NAN;
	drop_negative(reading, &limit->utilization);
	drop_negative(reading, &limit->rate_per_s);
	drop_negative(reading, &limit->burst);
	if (limit->reset_s <= 0)
		reading->no_wait = true;
	else if (limit->limit > 0 && limit->remaining == limit->limit &&
		 limit->reset_s < limit->window_s)
		reading->above_policy = true;
	reading->whole |= !isnan(limit->remaining) && !isnan(limit->reset_s) &&
			  !(slot->bad_limit && isnan(limit->limit));
	return says_something(limit);
}

void reading_settle(struct reading *reading)
{
	struct fields_verdict *out = reading->out;
	size_t kept = 0, several;

	for (size_t i = 1; i < out->count; i++)
		print_name(reading, i);
	several = side_by_side(reading);
	if (several)
		spread(reading, several);
	else
		take_plain(reading);
	take_window(reading);
	lend_reset(reading);
	if (reading->totals) {
		out->limits[0].listed = true;
		reading_name(out->limits[0].resource, FIELD_TEXT("account"));
	}
	for (size_t i = 0; i < out->count; i++)
		if (settle_limit(reading, &out->limits[i]))
			kept |= (size_t)1 << i;
	several = out->count;
	out->count = 0;
	for (size_t i = 0; i < several; i++)
		if (kept >> i & 1) {
			if (out->count != i)
				out->limits[out->count] = out->limits[i];
			out->count++;
		}
}
