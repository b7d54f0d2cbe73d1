/* SPDX-License-Identifier: Apache-2.0
 *
 * adapt.h - how a rule follows its upstream: the settings, from text and for whoever reads a
 * response. Pure; bounded for whatever stands in a mapped page.
 *
 *	adaptive = headers			from what the daemon finds the speed
 *	min_rate = 60/h				and in which bounds
 *	safety = 0.9
 *	max_close = 1h				no response closes the endpoint for longer
 *	profile = openai			how responses are read (fields.h)
 *	account = bot-1				whose the limits are, of several at that service
 *	field.remaining = X-Foo-Left
 *	budget.tokens = api.openai.com/tokens	whose limit is meant, of several in a response
 *
 * The last four are kept as text, a line `KEY VALUE` each, in the order in which they were set.
 */
#ifndef WEIR_ADAPT_H
#define WEIR_ADAPT_H

#include <stdbool.h>
#include <stddef.h>

#include "fields.h"
#include "token_clock.h"

#define ADAPT_MAPPINGS_MAX 8 /* more do not fit into the text */
#define ADAPT_ACCOUNT_MAX 63

/* Keys with a word of their own behind the point. */
#define ADAPT_FIELD "field"
#define ADAPT_BUDGET "budget"

/* Whether a key is one of those above. */
bool adapt_has_key(const char *key);

/* Whether it is of the text and has been set. */
bool adapt_is_set(const struct adapt_terms *adapt, const char *key);

/*
 * Applies one; `none` takes what is kept as text away. Returns NULL or what would be right, which
 * holds until this thread's next call; then *adapt is as it was.
 */
const char *adapt_set(struct adapt_terms *adapt, const char *key, const char *value);

/* Whether it goes together with the rule's own limit. Returns NULL or what is wrong. */
const char *adapt_check(const struct terms *terms);

bool adapt_equal(const struct adapt_terms *a, const struct adapt_terms *b);

/* "off", "headers", "aimd" */
const char *adapt_mode_text(uint64_t mode);

/* "what is left, spread until it is renewed": the cause of struct line_learned, flags aside. */
const char *adapt_cause_text(uint64_t cause);

/* A line of the text. */
struct adapt_line {
	char key[LAYOUT_ADAPT_BYTES];
	char value[LAYOUT_ADAPT_BYTES];
};

/* The line at *at, which is moved behind it; false at the end. Begin with adapt->text. */
bool adapt_next(const char **at, struct adapt_line *out);

/* ---- for whoever reads a response ---- */

/* NULL: none is set, or not one that this program knows. */
const struct fields_profile *adapt_profile(const struct adapt_terms *adapt);

/*
 * Whether what a response to one rule says of the whole server is of the other as well: both name
 * the same profile, and the same account or none.
 */
bool adapt_same_upstream(const struct adapt_terms *a, const struct adapt_terms *b);

/* The rule's own mappings; returns how many. */
size_t adapt_mappings(const struct adapt_terms *adapt, struct fields_mapping *out, size_t room);

/* The endpoint whose budget a resource is, in *name; false: none is set. */
bool adapt_budget(const struct adapt_terms *adapt, const char *resource,
		  char name[LAYOUT_TEXT_BYTES]);

static inline uint64_t adapt_max_close_ns(const struct adapt_terms *adapt)
{
	return adapt->max_close_ns ? adapt->max_close_ns : ADAPT_MAX_CLOSE_NS;
}

static inline uint64_t adapt_safety_micro(const struct adapt_terms *adapt)
{
	return adapt->safety_micro ? adapt->safety_micro : ADAPT_SAFETY_MICRO;
}

#endif
