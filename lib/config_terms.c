/* SPDX-License-Identifier: Apache-2.0
 *
 * config_terms.c - the terms of one rule: from text, and as a whole.
 */
#include "config.h"

#include <string.h>

#include "adapt.h"
#include "class.h"
#include "value.h"
#include "window.h"

#define NS_PER_S 1000000000ull

/* Under [default] a name has a bucket, and no row that could say which permits are its own. */
const char *config_check_default(const struct terms *terms)
{
	if (terms->adapt.mode != ADAPT_OFF)
		return "names under [default] have one speed and many upstreams: give the name a "
		       "rule of its own, which can be adaptive";
	return terms->concurrency == TERMS_NO_LIMIT
		       ? NULL
		       : "names under [default] have no permits: give the name a rule of its own "
			 "(an [endpoint] section, or weirctl set NAME)";
}

static const char *set_burst(struct terms *terms, const char *value)
{
	uint64_t micro;
	const char *why = value_tokens(value, &micro);

	if (why)
		return why;
	if (micro < TERMS_MICRO)
		return "a burst is at least 1 token";
	terms->burst_micro = micro;
	return NULL;
}

static const char *set_max_wait(struct terms *terms, const char *value)
{
	uint64_t ns = 0;
	const char *why = strcmp(value, "unlimited") == 0 ? NULL : value_duration(value, &ns);

	if (why)
		return why;
	if (ns == 0 && strcmp(value, "unlimited") != 0)
		return "a duration above 0 (250ms, 30s), or unlimited";
	terms->max_wait_ns = ns;
	return NULL;
}

/* "MIN..MAX", with blanks before it; or nothing. */
static bool read_bounds(const char *text, uint64_t *min, uint64_t *max)
{
	char first[VALUE_TEXT_BYTES];
	const char *dots;
	size_t bytes;

	text += strspn(text, " \t");
	if (*text == '\0')
		return true;
	dots = strstr(text, "..");
	bytes = dots ? (size_t)(dots - text) : sizeof(first);
	if (bytes >= sizeof(first))
		return false;
	memcpy(first, text, bytes);
	first[bytes] = '\0';
	return !value_count(first, 1, LAYOUT_MAX_PERMITS, min) &&
	       !value_count(dots + 2, *min, LAYOUT_MAX_PERMITS, max);
}

/* It goes on from the limit there is, if there is one. */
static const char *set_found(struct terms *terms, const char *bounds)
{
	uint64_t begin =
		terms->concurrency == TERMS_NO_LIMIT ? CONFIG_FOUND_BEGINS : terms->concurrency - 1;
	uint64_t min = CONFIG_FOUND_MIN;
	uint64_t max = CONFIG_FOUND_MAX;

	if (!read_bounds(bounds, &min, &max))
		return "a concurrency that is found is written auto, or auto MIN..MAX with whole "
		       "numbers from 1 to 262144, as in auto 4..200";
	begin = begin < min ? min : begin > max ? max : begin;
	terms->concurrency = begin + 1;
	terms->concurrency_min = (uint32_t)min;
	terms->concurrency_max = (uint32_t)max;
	return NULL;
}

static const char *set_concurrency(struct terms *terms, const char *value)
{
	size_t word = strlen(CONFIG_FOUND);
	uint64_t count = 0;

	if (strncmp(value, CONFIG_FOUND, word) == 0 && strchr(" \t", value[word]))
		return set_found(terms, value + word);
	if (strcmp(value, "unlimited") != 0 && value_count(value, 0, LAYOUT_MAX_PERMITS, &count))
		return "a concurrency is a whole number from 0 to 262144, auto MIN..MAX, or "
		       "unlimited";
	terms->concurrency = value[0] == 'u' ? TERMS_NO_LIMIT : count + 1;
	terms->concurrency_min = terms->concurrency_max = 0;
	return NULL;
}

static const char *set_max_hold(struct terms *terms, const char *value)
{
	uint64_t ns = 0;
	const char *why = strcmp(value, "unlimited") == 0 ? NULL : value_duration(value, &ns);

	if (why)
		return why;
	if ((ns == 0 && strcmp(value, "unlimited") != 0) || ns > VALUE_PERIOD_MAX_NS)
		return "a duration above 0 (30s, 5min), at most 366d, or unlimited";
	terms->max_hold_ns = ns;
	return NULL;
}

static const char *set_shadow(struct terms *terms, const char *value)
{
	if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
		return "shadow is yes or no";
	terms->shadow = value[0] == 'y';
	return NULL;
}

/* The burst that went before stays, as it does with a rule's own rate. */
static const char *set_shadow_rate(struct shadow_terms *beside, const char *value)
{
	uint64_t rate;
	uint64_t period;
	const char *why;

	if (strcmp(value, "none") == 0) {
		*beside = (struct shadow_terms){0};
		return NULL;
	}
	why = value_rate(value, &rate, &period);
	if (!why && rate == TERMS_UNLIMITED)
		why = "a shadow limit that refuses nothing is written shadow_rate = none";
	if (why)
		return why;
	beside->rate_micro = rate;
	beside->period_ns = period;
	return NULL;
}

static const char *set_shadow_burst(struct shadow_terms *beside, const char *value)
{
	uint64_t micro;
	const char *why = value_tokens(value, &micro);

	if (!why && micro < TERMS_MICRO)
		why = "a burst is at least 1 token";
	if (!why)
		beside->burst_micro = micro;
	return why;
}

const char *config_class_name(const char *key)
{
	size_t word = strlen(CONFIG_CLASS);

	if (strncmp(key, CONFIG_CLASS, word) != 0 || (key[word] != ' ' && key[word] != '\t'))
		return NULL;
	return key + word + strspn(key + word, " \t");
}

static const char *set_class(struct terms *terms, const char *name, const char *value)
{
	uint64_t number = class_number(name);
	uint64_t leave;
	const char *why = number ? class_read_leave(value, &leave)
				 : "a class has 1 to 12 of a-z, 0-9, - and _";

	return why ? why : class_set(terms, number, leave);
}

const char *config_set_term(struct terms *terms, const char *key, const char *value)
{
	const char *class_name = config_class_name(key);

	if (class_name)
		return set_class(terms, class_name, value);
	if (strcmp(key, CONFIG_CLASS) == 0)
		return "a class has a name: class NAME = leave 20 %";
	if (strcmp(key, "shadow") == 0)
		return set_shadow(terms, value);
	if (strcmp(key, "shadow_rate") == 0)
		return set_shadow_rate(&terms->beside, value);
	if (strcmp(key, "shadow_burst") == 0)
		return set_shadow_burst(&terms->beside, value);
	if (strcmp(key, "rate") == 0)
		return value_rate(value, &terms->rate_micro, &terms->period_ns);
	if (strcmp(key, "burst") == 0)
		return set_burst(terms, value);
	if (strcmp(key, "initial") == 0)
		return value_tokens(value, &terms->initial_micro);
	if (strcmp(key, "max_wait") == 0)
		return set_max_wait(terms, value);
	if (strcmp(key, "window") == 0)
		return value_window(value, &terms->window);
	if (strcmp(key, "concurrency") == 0)
		return set_concurrency(terms, value);
	if (strcmp(key, "max_hold") == 0)
		return set_max_hold(terms, value);
	if (adapt_has_key(key))
		return adapt_set(&terms->adapt, key, value);
	return "the terms of a rule are rate, burst, initial, max_wait, window, shadow, "
	       "shadow_rate, shadow_burst, concurrency, max_hold, class NAME, adaptive, min_rate, "
	       "safety, max_close, profile, account, field.MEANING and budget.RESOURCE";
}

/* Whether windows bring anything: not without a bound, nor at rate 0. */
static bool has_quota(const struct terms *terms)
{
	return terms->window.kind != WINDOW_NONE && terms->rate_micro != 0 &&
	       terms->rate_micro != TERMS_UNLIMITED && terms->period_ns != 0;
}

static uint64_t quota_micro(const struct terms *terms)
{
	bool exact;

	return window_quota_micro(terms, &exact);
}

/* One second's worth of the rate, and at least one token. */
static uint64_t second_micro(uint64_t rate_micro, uint64_t period_ns)
{
	line_wide micro;

	if (rate_micro == TERMS_UNLIMITED)
		return TERMS_MICRO;
	micro = (line_wide)rate_micro * NS_PER_S / period_ns;
	return micro < TERMS_MICRO ? TERMS_MICRO : (uint64_t)micro;
}

static const char *check_rate(uint64_t rate_micro, uint64_t period_ns)
{
	if (period_ns == 0 || period_ns > VALUE_PERIOD_MAX_NS)
		return "a rate's period is at most 366 d, and above 0";
	if (rate_micro == TERMS_UNLIMITED)
		return NULL;
	if (rate_micro > VALUE_TOKENS_MAX_MICRO)
		return "a rate is at most 10^12 tokens a period";
	/* 10^9 a second are 10^6 millionths a nanosecond */
	if ((line_wide)rate_micro > (line_wide)period_ns * TERMS_MICRO)
		return "a rate is at most 1000000000 tokens a second";
	return NULL;
}

/* The shadow limit: its burst follows its rate as the rule's own does. */
static const char *finish_beside(struct shadow_terms *beside)
{
	if (beside->period_ns == 0)
		return beside->burst_micro ? "shadow_burst needs a shadow_rate" : NULL;
	if (beside->burst_micro == 0)
		beside->burst_micro = second_micro(beside->rate_micro, beside->period_ns);
	if (beside->burst_micro > VALUE_TOKENS_MAX_MICRO)
		return "a burst is at most 10^12 tokens";
	return check_rate(beside->rate_micro, beside->period_ns);
}

/* Before the burst is known. */
static const char *check_quota(const struct terms *terms)
{
	uint64_t quota;
	bool exact;

	if (!has_quota(terms))
		return NULL;
	quota = window_quota_micro(terms, &exact);
	if (quota < TERMS_MICRO)
		return "a window brings less than 1 token: lengthen it, or raise the rate";
	if (!exact)
		return "a window's part of the rate is no number of tokens: write the rate by the "
		       "window (rate = 83/min for window = 1min)";
	if (terms->window.kind == WINDOW_FIRST && quota % TERMS_MICRO != 0)
		return "a window from first use brings whole tokens: write the rate by the window "
		       "(rate = 83/min for window = 1min first)";
	if (quota > VALUE_TOKENS_MAX_MICRO)
		return "a window brings more than 10^12 tokens: shorten it";
	return NULL;
}

static const char *check_window(const struct terms *terms)
{
	if (!has_quota(terms))
		return NULL;
	if (terms->burst_micro < quota_micro(terms))
		return "the burst is below what a window brings, so that the rest could never be "
		       "used: leave it out, or lower the rate";
	if (terms->window.kind == WINDOW_FIRST && terms->burst_micro != quota_micro(terms))
		return "a window from first use brings its whole quota and keeps nothing from the "
		       "last one: leave the burst out";
	return NULL;
}

const char *config_finish_terms(struct terms *terms, bool burst_given, bool initial_given)
{
	struct terms whole = *terms;
	const char *why = check_rate(whole.rate_micro, whole.period_ns);
	struct line line;

	if (!why)
		why = finish_beside(&whole.beside);
	if (!why)
		why = check_quota(&whole);
	if (why)
		return why;
	if (!burst_given)
		whole.burst_micro = has_quota(&whole)
					    ? quota_micro(&whole)
					    : second_micro(whole.rate_micro, whole.period_ns);
	if (!initial_given)
		whole.initial_micro = whole.burst_micro;
	if (whole.burst_micro < TERMS_MICRO)
		return "a burst is at least 1 token";
	if (whole.burst_micro > VALUE_TOKENS_MAX_MICRO)
		return "a burst is at most 10^12 tokens";
	if (whole.initial_micro > whole.burst_micro)
		return "initial is above the burst: lower it, or raise the burst";
	if (whole.max_wait_ns > VALUE_PERIOD_MAX_NS)
		return "max_wait is at most 366d";
	if (whole.max_hold_ns && whole.concurrency == TERMS_NO_LIMIT)
		return "max_hold needs a concurrency";
	why = class_finish(&whole);
	if (!why)
		why = check_window(&whole);
	if (!why)
		why = adapt_check(&whole);
	if (why)
		return why;
	if (line_from_terms(&line, &whole, line_best_unit(&whole), NS_PER_S) < 0)
		return whole.window.kind == WINDOW_FIRST
			       ? "too many tokens for a window from first use, which counts at "
				 "most some 250000 a second: lower the rate, or align it"
			       : "rate and burst do not fit together: lower one of them";
	*terms = whole;
	return NULL;
}

const char *config_update_terms(struct terms *terms, const struct terms *from, bool burst_given,
				bool initial_given)
{
	bool was_quota = has_quota(from) && from->burst_micro == quota_micro(from);

	if (!burst_given && has_quota(terms) && (was_quota || !has_quota(from)))
		terms->burst_micro = quota_micro(terms);
	if (!initial_given &&
	    (from->initial_micro == from->burst_micro || terms->initial_micro > terms->burst_micro))
		terms->initial_micro = terms->burst_micro;
	return config_finish_terms(terms, true, true);
}

const char *config_check_each(const char *pattern, const struct terms *terms)
{
	const char *star = strchr(pattern, '*');

	if (!star || strchr(star + 1, '*'))
		return "the pattern of an [each] has one *, which stands for the key";
	if (terms->initial_micro != terms->burst_micro)
		return "a key begins full, as one that is full again is forgotten: no initial";
	if (terms->beside.period_ns)
		return "a key has one mark: no shadow limit beside the rule's own";
	if (terms->concurrency != TERMS_NO_LIMIT)
		return "the calls of a key that are under way are not counted: no concurrency";
	if (terms->adapt.mode != ADAPT_OFF)
		return "keys have one speed and many upstreams: not adaptive";
	return NULL;
}
