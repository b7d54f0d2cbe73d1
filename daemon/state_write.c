/* SPDX-License-Identifier: Apache-2.0 */
#include "state.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "adapt.h"
#include "class.h"
#include "config.h"
#include "fold.h"
#include "state_words.h"
#include "value.h"
#include "window.h"

#define NS_PER_S 1000000000ull

static bool make_room(struct state_text *out, size_t more)
{
	size_t room = out->room ? out->room : 4096;
	char *grown;

	if (out->error || more > STATE_MAX_BYTES - out->used) {
		out->error = out->error ? out->error : -EFBIG;
		return false;
	}
	while (room - out->used < more)
		room *= 2;
	if (room == out->room)
		return true;
	grown = realloc(out->text, room);
	if (!grown) {
		out->error = -ENOMEM;
		return false;
	}
	out->text = grown;
	out->room = room;
	return true;
}

static void add(struct state_text *out, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void add(struct state_text *out, const char *format, ...)
{
	va_list arguments;

	if (!make_room(out, STATE_LINE_BYTES))
		return;
	va_start(arguments, format);
	out->used += (size_t)vsnprintf(out->text + out->used, STATE_LINE_BYTES, format, arguments);
	va_end(arguments);
}

void state_begin(struct state_text *out, const struct state_stamp *stamp)
{
	time_t seconds = (time_t)(stamp->saved_ns / NS_PER_S);
	char saved[STATE_DECIMAL_BYTES], boottime[STATE_DECIMAL_BYTES], date[40];
	struct tm parts;

	*out = (struct state_text){0};
	gmtime_r(&seconds, &parts);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", &parts);
	add(out, "weir-state %u\n", STATE_VERSION);
	add(out, "# The levels of a weir instance at %s; see weird(8). used: tokens taken and\n",
	    date);
	add(out, "# not yet refilled. The last line is what sed '$d' FILE | cksum says.\n");
	add(out, "instance %s\n", stamp->instance);
	add(out, "saved %s\n", state_decimal_text(stamp->saved_ns, 9, saved));
	add(out, "boot %016llx%016llx %s\n", (unsigned long long)stamp->boot[0],
	    (unsigned long long)stamp->boot[1],
	    state_decimal_text(stamp->boottime_ns, 9, boottime));
}

/* NAME:5 or NAME:20%, with commas between them: as in weir.ini, but without its blanks. */
static void add_classes(struct state_text *out, const struct terms *terms)
{
	char name[CLASS_TEXT_BYTES], leave[VALUE_TEXT_BYTES];

	for (unsigned i = 0; i < LAYOUT_CLASSES && terms->classes[i].name; i++) {
		class_leave_text(terms->classes[i].leave, leave);

		const char *number = leave + strlen(CLASS_LEAVE) + 1;
		int length = (int)strcspn(number, " ");

		add(out, "%s%s:%.*s%s",
		    i ? "," : " classes=", class_text(terms->classes[i].name, name), length, number,
		    number[length] ? "%" : "");
	}
}

static void add_shadows(struct state_text *out, const struct terms *terms)
{
	const struct shadow_terms *beside = &terms->beside;
	char rate[VALUE_TEXT_BYTES], burst[VALUE_TEXT_BYTES];

	if (terms->shadow)
		add(out, " shadow=yes");
	if (beside->period_ns)
		add(out, " shadow_rate=%s shadow_burst=%s",
		    value_rate_text(beside->rate_micro, beside->period_ns, rate),
		    value_tokens_text(beside->burst_micro, burst));
}

/* The lines KEY VALUE, without their blanks and ends: they are written %XX. */
static void add_responses(struct state_text *out, const char *text)
{
	add(out, " ?responses=");
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c <= ' ' || c == '%' || c >= 0x7f)
			add(out, "%%%02x", c);
		else
			add(out, "%c", c);
	}
}

/* How an upstream is followed; an earlier weird passes over it. */
static void add_adapt(struct state_text *out, const struct adapt_terms *adapt)
{
	char text[VALUE_TEXT_BYTES];

	if (adapt->mode != ADAPT_OFF)
		add(out, " ?adaptive=%s", adapt_mode_text(adapt->mode));
	if (adapt->min_period_ns)
		add(out, " ?min_rate=%s",
		    value_rate_text(adapt->min_rate_micro, adapt->min_period_ns, text));
	if (adapt->safety_micro)
		add(out, " ?safety=%s", value_tokens_text(adapt->safety_micro, text));
	if (adapt->max_close_ns)
		add(out, " ?max_close=%s", value_duration_text(adapt->max_close_ns, text));
	if (adapt->text[0])
		add_responses(out, adapt->text);
}

/* A field has no blanks in it. */
static void commas_for_blanks(char *text)
{
	for (; *text; text++)
		if (*text == ' ')
			*text = ',';
}

/* Of an [each]; an earlier weird passes over it. */
static void add_keys(struct state_text *out, const struct state_record *record)
{
	char fold[FOLD_RULE_BYTES];

	fold_write(record->fold, fold);
	commas_for_blanks(fold);
	if (record->keys)
		add(out, " ?keys=%llu ?fold=%s", (unsigned long long)record->keys, fold);
}

/* As in weir.ini, but that a blank would be the end of the field. */
static void add_concurrency(struct state_text *out, const struct terms *terms)
{
	if (terms->concurrency_max)
		add(out, " concurrency=" CONFIG_FOUND ",%u..%u", terms->concurrency_min,
		    terms->concurrency_max);
	else if (terms->concurrency)
		add(out, " concurrency=%llu", (unsigned long long)terms->concurrency - 1);
}

static void add_rule(struct state_text *out, const struct state_record *record)
{
	char initial[VALUE_TEXT_BYTES], max_wait[VALUE_TEXT_BYTES];

	add(out, " initial=%s", value_tokens_text(record->terms.initial_micro, initial));
	if (record->terms.max_wait_ns)
		add(out, " max_wait=%s", value_duration_text(record->terms.max_wait_ns, max_wait));
	add_concurrency(out, &record->terms);
	if (record->terms.max_hold_ns)
		add(out, " max_hold=%s", value_duration_text(record->terms.max_hold_ns, max_wait));
	add_shadows(out, &record->terms);
	add_classes(out, &record->terms);
	add_adapt(out, &record->terms.adapt);
	add_keys(out, record);
	add(out, " uid=%llu", (unsigned long long)record->uid);
}

static void add_level(struct state_text *out, const struct state_record *record)
{
	char number[STATE_DECIMAL_BYTES];

	add(out, " used=%s", state_decimal_text(record->used_micro, 6, number));
	if (record->closed_ns > INT64_MAX)
		add(out, " closed=forever");
	else if (record->closed_ns)
		add(out, " closed=%ss", state_decimal_text(record->closed_ns, 9, number));
	if (record->renews_ns)
		add(out, " renews=%s", state_decimal_text(record->renews_ns, 9, number));
}

static void add_learned(struct state_text *out, const struct learned_terms *learned)
{
	char number[STATE_DECIMAL_BYTES];

	if (learned->until_ns > INT64_MAX)
		add(out, " until=forever");
	else
		add(out, " until=%s", state_decimal_text(learned->until_ns, 9, number));
	if (learned->from_ns)
		add(out, " from=%s", state_decimal_text(learned->from_ns, 9, number));
	if (learned->limit_micro <= VALUE_TOKENS_MAX_MICRO)
		add(out, " limit=%s", state_decimal_text(learned->limit_micro, 6, number));
	if (learned->remaining_micro <= VALUE_TOKENS_MAX_MICRO)
		add(out, " remaining=%s", state_decimal_text(learned->remaining_micro, 6, number));
	add(out, " cause=%llu", (unsigned long long)learned->cause);
}

/* As in weir.ini, but that a blank would be the end of the field. */
static const char *window_text(const struct window_terms *window, char out[VALUE_TEXT_BYTES])
{
	value_window_text(window, out);
	commas_for_blanks(out);
	return out;
}

static const char *terms_text(struct state_text *out, const struct terms *terms)
{
	char rate[VALUE_TEXT_BYTES], burst[VALUE_TEXT_BYTES], window[VALUE_TEXT_BYTES];
	bool has_window = terms->window.kind != WINDOW_NONE;

	if (out->terms_text[0] && out->terms.rate_micro == terms->rate_micro &&
	    out->terms.period_ns == terms->period_ns &&
	    out->terms.burst_micro == terms->burst_micro &&
	    window_terms_equal(&out->terms.window, &terms->window))
		return out->terms_text;
	out->terms = *terms;
	snprintf(out->terms_text, sizeof(out->terms_text), "rate=%s burst=%s%s%s",
		 value_rate_text(terms->rate_micro, terms->period_ns, rate),
		 value_tokens_text(terms->burst_micro, burst), has_window ? " window=" : "",
		 has_window ? window_text(&terms->window, window) : "");
	return out->terms_text;
}

void state_add(struct state_text *out, const struct state_record *record)
{
	add(out, "%s %s", state_kind_words[record->kind], terms_text(out, &record->terms));
	if (record->kind == STATE_OPERATOR)
		add_rule(out, record);
	else if (record->kind == STATE_LEARNED)
		add_learned(out, &record->learned);
	else if (record->kind == STATE_FOUND)
		add(out, " concurrency=%llu", (unsigned long long)record->terms.concurrency - 1);
	else if (state_is_bucket(record->kind))
		add_level(out, record);
	if (record->kind != STATE_REST)
		add(out, " name=%s", record->text);
	add(out, "\n");
}

int state_finish(struct state_text *out)
{
	size_t used = out->used;

	if (!out->error)
		add(out, "end %u %zu\n", state_cksum(out->text, used), used);
	if (out->error) {
		free(out->text);
		out->text = NULL;
	}
	return out->error;
}
