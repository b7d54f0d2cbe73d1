/* SPDX-License-Identifier: Apache-2.0
 *
 * config_terms.c - the terms of one rule: from text, and as a whole.
 */
#include "config.h"

#include <string.h>

#include "value.h"

#define NS_PER_S 1000000000ull

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

const char *config_set_term(struct terms *terms, const char *key, const char *value)
{
	if (strcmp(key, "rate") == 0)
		return value_rate(value, &terms->rate_micro, &terms->period_ns);
	if (strcmp(key, "burst") == 0)
		return set_burst(terms, value);
	if (strcmp(key, "initial") == 0)
		return value_tokens(value, &terms->initial_micro);
	if (strcmp(key, "max_wait") == 0)
		return set_max_wait(terms, value);
	return "the terms of a rule are rate, burst, initial and max_wait";
}

/* One second's worth of the rate, and at least one token. */
static uint64_t second_micro(const struct terms *terms)
{
	line_wide micro;

	if (terms->rate_micro == TERMS_UNLIMITED)
		return TERMS_MICRO;
	micro = (line_wide)terms->rate_micro * NS_PER_S / terms->period_ns;
	return micro < TERMS_MICRO ? TERMS_MICRO : (uint64_t)micro;
}

static const char *check_rate(const struct terms *terms)
{
	if (terms->period_ns == 0 || terms->period_ns > VALUE_PERIOD_MAX_NS)
		return "a rate's period is at most 366 d, and above 0";
	if (terms->rate_micro == TERMS_UNLIMITED)
		return NULL;
	if (terms->rate_micro > VALUE_TOKENS_MAX_MICRO)
		return "a rate is at most 10^12 tokens a period";
	/* 10^9 a second are 10^6 millionths a nanosecond */
	if ((line_wide)terms->rate_micro > (line_wide)terms->period_ns * TERMS_MICRO)
		return "a rate is at most 1000000000 tokens a second";
	return NULL;
}

const char *config_finish_terms(struct terms *terms, bool burst_given, bool initial_given)
{
	struct terms whole = *terms;
	const char *why = check_rate(&whole);
	struct line line;

	if (why)
		return why;
	if (!burst_given)
		whole.burst_micro = second_micro(&whole);
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
	if (line_from_terms(&line, &whole, line_best_k(&whole), NS_PER_S) < 0)
		return "rate and burst do not fit together: lower one of them";
	*terms = whole;
	return NULL;
}
