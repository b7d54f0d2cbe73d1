/* SPDX-License-Identifier: Apache-2.0 */
#include "describe.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "adapt.h"
#include "class.h"
#include "config.h"
#include "value.h"

/* Parts of a list, with commas between them. */
struct list {
	char *out;
	size_t bytes;
	size_t used;
};

__attribute__((format(printf, 2, 3))) static void list_add(struct list *list, const char *format,
							   ...)
{
	size_t room = list->bytes - list->used;
	va_list arguments;
	int wanted;

	if (list->used) {
		wanted = snprintf(list->out + list->used, room, ", ");
		list->used += (size_t)wanted < room ? (size_t)wanted : room - 1;
		room = list->bytes - list->used;
	}
	va_start(arguments, format);
	wanted = vsnprintf(list->out + list->used, room, format, arguments);
	va_end(arguments);
	if (wanted > 0)
		list->used += (size_t)wanted < room ? (size_t)wanted : room - 1;
}

char *describe_rule(enum row_kind kind, const char *text, char out[DESCRIBE_RULE_BYTES])
{
	if (kind == ROW_DEFAULT)
		snprintf(out, DESCRIBE_RULE_BYTES, "[default]");
	else
		snprintf(out, DESCRIBE_RULE_BYTES, "%s %s",
			 kind == ROW_PATTERN ? "pattern"
			 : kind == ROW_EACH  ? "each"
					     : "endpoint",
			 text);
	return out;
}

static char *max_wait_text(uint64_t ns, char out[VALUE_TEXT_BYTES])
{
	if (ns == 0)
		snprintf(out, VALUE_TEXT_BYTES, "unbounded");
	else
		value_duration_text(ns, out);
	return out;
}

static char *concurrency_text(const struct terms *terms, char out[VALUE_TEXT_BYTES])
{
	if (terms->concurrency == TERMS_NO_LIMIT)
		snprintf(out, VALUE_TEXT_BYTES, "unlimited");
	else if (terms->concurrency_max)
		snprintf(out, VALUE_TEXT_BYTES, CONFIG_FOUND " %u..%u", terms->concurrency_min,
			 terms->concurrency_max);
	else
		snprintf(out, VALUE_TEXT_BYTES, "%llu", (unsigned long long)terms->concurrency - 1);
	return out;
}

/* "50/s, burst 100", or "none" */
static char *beside_text(const struct shadow_terms *beside, char out[2 * VALUE_TEXT_BYTES])
{
	char rate[VALUE_TEXT_BYTES], burst[VALUE_TEXT_BYTES];

	snprintf(out, 2 * VALUE_TEXT_BYTES, "none");
	if (beside->period_ns)
		snprintf(out, 2 * VALUE_TEXT_BYTES, "%.30s burst %.30s",
			 value_rate_text(beside->rate_micro, beside->period_ns, rate),
			 value_tokens_text(beside->burst_micro, burst));
	return out;
}

/* What the class of that name leaves; 0: the rule does not tell it apart. */
static uint64_t leave_of(const struct terms *terms, uint64_t name)
{
	for (unsigned i = 0; i < LAYOUT_CLASSES; i++)
		if (terms->classes[i].name == name)
			return terms->classes[i].leave;
	return 0;
}

/* "profile github, field.reset X-Reset epoch_ms", or "by themselves". */
static char *reading_text(const struct adapt_terms *adapt, char out[2 * LAYOUT_ADAPT_BYTES])
{
	struct list list = {out, 2 * LAYOUT_ADAPT_BYTES, 0};
	const char *at = adapt->text;
	struct adapt_line line;

	snprintf(out, 2 * LAYOUT_ADAPT_BYTES, "by themselves");
	while (adapt_next(&at, &line))
		list_add(&list, "%s %s", line.key, line.value);
	return out;
}

static char *min_rate_text(const struct adapt_terms *adapt, char out[VALUE_TEXT_BYTES])
{
	if (adapt->min_period_ns)
		return value_rate_text(adapt->min_rate_micro, adapt->min_period_ns, out);
	snprintf(out, VALUE_TEXT_BYTES, "a hundredth");
	return out;
}

/* How the upstream is followed, if it is. */
static void list_add_adapt(struct list *list, const struct adapt_terms *adapt)
{
	char reading[2 * LAYOUT_ADAPT_BYTES], text[VALUE_TEXT_BYTES];

	if (adapt->mode != ADAPT_OFF)
		list_add(list, "adaptive %s", adapt_mode_text(adapt->mode));
	if (adapt->min_period_ns)
		list_add(list, "min_rate %s", min_rate_text(adapt, text));
	if (adapt->safety_micro)
		list_add(list, "safety %s", value_tokens_text(adapt->safety_micro, text));
	if (adapt->max_close_ns)
		list_add(list, "max_close %s", value_duration_text(adapt->max_close_ns, text));
	if (adapt->text[0])
		list_add(list, "responses read: %s", reading_text(adapt, reading));
}

char *describe_terms(const struct terms *terms, char out[DESCRIBE_TERMS_BYTES])
{
	struct list list = {out, DESCRIBE_TERMS_BYTES, 0};
	char text[VALUE_TEXT_BYTES], beside[2 * VALUE_TEXT_BYTES], name[CLASS_TEXT_BYTES];

	out[0] = '\0';
	list_add(&list, "rate %s", value_rate_text(terms->rate_micro, terms->period_ns, text));
	list_add(&list, "burst %s", value_tokens_text(terms->burst_micro, text));
	if (terms->initial_micro != terms->burst_micro)
		list_add(&list, "initial %s", value_tokens_text(terms->initial_micro, text));
	if (terms->window.kind != WINDOW_NONE)
		list_add(&list, "window %s", value_window_text(&terms->window, text));
	if (terms->max_wait_ns)
		list_add(&list, "max_wait %s", max_wait_text(terms->max_wait_ns, text));
	if (terms->concurrency)
		list_add(&list, "concurrency %s", concurrency_text(terms, text));
	if (terms->max_hold_ns)
		list_add(&list, "max_hold %s", max_wait_text(terms->max_hold_ns, text));
	if (terms->shadow)
		list_add(&list, "shadow");
	if (terms->beside.period_ns)
		list_add(&list, "shadow limit %s", beside_text(&terms->beside, beside));
	for (unsigned i = 0; i < LAYOUT_CLASSES && terms->classes[i].name; i++)
		list_add(&list, "class %s %s", class_text(terms->classes[i].name, name),
			 class_leave_text(terms->classes[i].leave, text));
	list_add_adapt(&list, &terms->adapt);
	return out;
}

static void list_add_change(struct list *list, const char *key, const char *was, const char *now)
{
	if (strcmp(was, now))
		list_add(list, "%s %s -> %s", key, was, now);
}

static void list_add_class(struct list *list, uint64_t number, uint64_t was, uint64_t now)
{
	char key[CLASS_TEXT_BYTES + 8], name[CLASS_TEXT_BYTES];
	char from[VALUE_TEXT_BYTES], to[VALUE_TEXT_BYTES];

	snprintf(key, sizeof(key), "class %s", class_text(number, name));
	list_add_change(list, key, was ? class_leave_text(was, from) : "none",
			now ? class_leave_text(now, to) : "none");
}

/* Permits, shadows, and classes that were there or are. */
static void list_add_extras(struct list *list, const struct terms *was, const struct terms *now)
{
	char from[2 * VALUE_TEXT_BYTES], to[2 * VALUE_TEXT_BYTES];

	list_add_change(list, "concurrency", concurrency_text(was, from),
			concurrency_text(now, to));
	list_add_change(list, "max_hold", max_wait_text(was->max_hold_ns, from),
			max_wait_text(now->max_hold_ns, to));
	list_add_change(list, "shadow", was->shadow ? "yes" : "no", now->shadow ? "yes" : "no");
	list_add_change(list, "shadow limit", beside_text(&was->beside, from),
			beside_text(&now->beside, to));
	for (unsigned i = 0; i < LAYOUT_CLASSES && was->classes[i].name; i++)
		list_add_class(list, was->classes[i].name, was->classes[i].leave,
			       leave_of(now, was->classes[i].name));
	for (unsigned i = 0; i < LAYOUT_CLASSES && now->classes[i].name; i++)
		if (!leave_of(was, now->classes[i].name))
			list_add_class(list, now->classes[i].name, 0, now->classes[i].leave);
}

static void list_add_adapt_change(struct list *list, const struct adapt_terms *was,
				  const struct adapt_terms *now)
{
	char was_read[2 * LAYOUT_ADAPT_BYTES], now_read[2 * LAYOUT_ADAPT_BYTES];
	char from[VALUE_TEXT_BYTES], to[VALUE_TEXT_BYTES];

	list_add_change(list, "adaptive", adapt_mode_text(was->mode), adapt_mode_text(now->mode));
	list_add_change(list, "min_rate", min_rate_text(was, from), min_rate_text(now, to));
	list_add_change(list, "safety", value_tokens_text(adapt_safety_micro(was), from),
			value_tokens_text(adapt_safety_micro(now), to));
	list_add_change(list, "max_close", value_duration_text(adapt_max_close_ns(was), from),
			value_duration_text(adapt_max_close_ns(now), to));
	list_add_change(list, "responses read:", reading_text(was, was_read),
			reading_text(now, now_read));
}

char *describe_change(const struct terms *was, const struct terms *now,
		      char out[DESCRIBE_TERMS_BYTES])
{
	struct list list = {out, DESCRIBE_TERMS_BYTES, 0};
	char from[VALUE_TEXT_BYTES], to[VALUE_TEXT_BYTES];

	out[0] = '\0';
	list_add_change(&list, "rate", value_rate_text(was->rate_micro, was->period_ns, from),
			value_rate_text(now->rate_micro, now->period_ns, to));
	list_add_change(&list, "window", value_window_text(&was->window, from),
			value_window_text(&now->window, to));
	list_add_change(&list, "burst", value_tokens_text(was->burst_micro, from),
			value_tokens_text(now->burst_micro, to));
	/* an initial level that is the whole burst goes without saying */
	if (was->initial_micro != was->burst_micro || now->initial_micro != now->burst_micro)
		list_add_change(&list, "initial", value_tokens_text(was->initial_micro, from),
				value_tokens_text(now->initial_micro, to));
	list_add_change(&list, "max_wait", max_wait_text(was->max_wait_ns, from),
			max_wait_text(now->max_wait_ns, to));
	list_add_extras(&list, was, now);
	list_add_adapt_change(&list, &was->adapt, &now->adapt);
	return out;
}
