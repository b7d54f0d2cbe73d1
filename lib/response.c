/* SPDX-License-Identifier: Apache-2.0 */
#include "response.h"

#include <stdio.h>
#include <string.h>

#include "window.h"

#define NS_PER_S 1000000000ull
#define TRAVEL_NS 100000u	       /* what a response takes to arrive, at least */
#define INTEGER_MAX 999999999999999ull /* of a structured field */

/* A value in the making. */
struct text {
	char *out;
	size_t room;
	size_t used;
};

static void put(struct text *text, char c)
{
	if (text->used < text->room)
		text->out[text->used] = c;
	text->used++;
}

static void put_text(struct text *text, const char *from)
{
	while (*from)
		put(text, *from++);
}

static void put_number(struct text *text, const char *key, uint64_t value)
{
	char digits[24];

	snprintf(digits, sizeof(digits), "%llu",
		 (unsigned long long)(value < INTEGER_MAX ? value : INTEGER_MAX));
	put_text(text, key);
	put_text(text, digits);
}

/* A String: what is not printable ASCII cannot stand in one. */
static void put_string(struct text *text, const char *from)
{
	static const char digits[] = "0123456789ABCDEF";

	put(text, '"');
	for (; *from; from++) {
		unsigned char c = (unsigned char)*from;

		if (c < 0x20 || c > 0x7e) {
			put(text, '%');
			put(text, digits[c >> 4]);
			put(text, digits[c & 15]);
			continue;
		}
		if (c == '"' || c == '\\')
			put(text, '\\');
		put(text, *from);
	}
	put(text, '"');
}

static uint64_t seconds_up(uint64_t ns)
{
	return ns / NS_PER_S + (ns % NS_PER_S != 0);
}

/*
 * From now on, for who reads it a moment later: what is no longer than that moment does not make
 * another second. A closure of 30 s, which is kept to some microseconds, is one of 30 s.
 */
static uint64_t seconds_from_now(uint64_t ns)
{
	return seconds_up(ns > TRAVEL_NS ? ns - TRAVEL_NS : ns);
}

/* Tokens in so many seconds, rounded down. */
static uint64_t tokens_in(const struct terms *terms, uint64_t seconds)
{
	line_wide tokens =
		(line_wide)terms->rate_micro * seconds * NS_PER_S / terms->period_ns / TERMS_MICRO;

	return tokens > INTEGER_MAX ? INTEGER_MAX : (uint64_t)tokens;
}

/*
 * The rate in whole tokens and whole seconds, as it was written where that is possible, and
 * otherwise never more than it is.
 */
static uint64_t quota(const struct terms *terms, uint64_t *seconds)
{
	uint64_t span =
		terms->window.kind == WINDOW_NONE ? terms->period_ns : terms->window.length_ns;
	/* of a rate of less than a token in all that: what one takes */
	line_wide scale = (line_wide)terms->rate_micro * NS_PER_S;
	line_wide one = ((line_wide)terms->period_ns * TERMS_MICRO + scale - 1) / scale;

	*seconds = seconds_up(span);
	if (tokens_in(terms, *seconds) == 0)
		*seconds = one > INTEGER_MAX ? INTEGER_MAX : (uint64_t)one;
	return tokens_in(terms, *seconds);
}

static void put_policy(struct text *text, const struct response *response)
{
	const struct terms *terms = &response->terms;
	uint64_t burst = terms->burst_micro / TERMS_MICRO;
	uint64_t seconds;
	uint64_t tokens;

	if (terms->rate_micro == TERMS_UNLIMITED || terms->period_ns == 0)
		return;
	put_string(text, response->policy);
	if (terms->rate_micro == 0) {
		put_number(text, ";q=", 0);
		return;
	}
	tokens = quota(terms, &seconds);
	put_number(text, ";q=", tokens);
	put_number(text, ";w=", seconds);
	if (burst != tokens)
		put_number(text, ";weir-burst=", burst);
}

static bool must_wait(const struct response *response)
{
	return response->refused && response->retry_ns != WEIR_NEVER;
}

static void put_limit(struct text *text, const struct response *response)
{
	double level = response->level > 0 ? response->level : 0;
	uint64_t seconds = seconds_from_now(response->more_ns);

	if (response->terms.rate_micro == TERMS_UNLIMITED)
		return;
	put_string(text, response->policy);
	put_number(text, ";r=", level < (double)INTEGER_MAX ? (uint64_t)level : INTEGER_MAX);
	/* who is told when to come back need not wait for this afterwards */
	if (must_wait(response) && seconds_from_now(response->retry_ns) < seconds)
		seconds = seconds_from_now(response->retry_ns);
	if (response->more_ns != WEIR_NEVER)
		put_number(text, ";t=", seconds);
}

static void put_retry_after(struct text *text, const struct response *response)
{
	/* 0 s would be refused again */
	if (must_wait(response))
		put_number(text, "", response->retry_ns ? seconds_from_now(response->retry_ns) : 1);
}

int response_field(const struct response *response, enum weir_field field, char *out, size_t bytes)
{
	struct text text = {out, bytes, 0};

	switch (field) {
	case WEIR_FIELD_POLICY:
		put_policy(&text, response);
		break;
	case WEIR_FIELD_LIMIT:
		put_limit(&text, response);
		break;
	case WEIR_FIELD_RETRY_AFTER:
		put_retry_after(&text, response);
		break;
	default:
		return WEIR_EVALUE;
	}
	if (bytes > 0)
		out[text.used < bytes ? text.used : 0] = '\0';
	return text.used < INT32_MAX ? (int)text.used : INT32_MAX;
}

uint64_t response_more_ticks(const struct line *line, uint64_t now, uint64_t mark)
{
	uint64_t one = 1ull << line->k;
	int64_t level = line_level(line, now, mark);
	uint64_t have = level > 0 ? (uint64_t)level : 0;
	/* below the next whole token; of a full bucket, what one token takes to come back */
	uint64_t missing = one - have % one;

	if (line->flags & LINE_UNLIMITED)
		return UINT64_MAX;
	if (line->flags & LINE_WINDOW) {
		struct stand stand = window_stand(line, now, mark);
		uint64_t after = window_after(line, stand.ahead, have < one ? one : 0);
		uint64_t count = window_count(line, after);

		return window_ticks(line, now, stand.v, count ? count : 1);
	}
	if (have == line->burst_units)
		missing = one;
	return line_wait_ticks(line, now, level > 0 ? missing : one + (uint64_t)-level);
}
