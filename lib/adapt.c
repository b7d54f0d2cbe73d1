/* SPDX-License-Identifier: Apache-2.0 */
#include "adapt.h"

#include <stdio.h>
#include <string.h>

#include "names.h"
#include "value.h"

/* In the order of enum adapt_mode. */
static const char *const modes[] = {"off", "headers", "aimd"};

#define MODE_COUNT (sizeof(modes) / sizeof(modes[0]))

const char *adapt_mode_text(uint64_t mode)
{
	return mode < MODE_COUNT ? modes[mode] : "unknown";
}

/* In the order of enum learned_cause. */
static const char *const causes[] = {
	"as configured",
	"what is left, spread until it is renewed",
	"nothing is left until it is renewed",
	"as fast as the quota comes back",
	"what is left, less what others draw",
	"slower after a refusal",
	"faster again since the last refusal",
};

const char *adapt_cause_text(uint64_t cause)
{
	cause &= 0xffff;
	return cause < sizeof(causes) / sizeof(causes[0]) ? causes[cause] : "unknown";
}

/* What follows "WORD." in a key; NULL if it does not begin so, or nothing follows. */
static const char *behind(const char *key, const char *word)
{
	size_t bytes = strlen(word);

	return strncmp(key, word, bytes) == 0 && key[bytes] == '.' && key[bytes + 1]
		       ? key + bytes + 1
		       : NULL;
}

static bool is_text_key(const char *key)
{
	return strcmp(key, "profile") == 0 || strcmp(key, "account") == 0 ||
	       behind(key, ADAPT_FIELD) || behind(key, ADAPT_BUDGET);
}

bool adapt_has_key(const char *key)
{
	return strcmp(key, "adaptive") == 0 || strcmp(key, "min_rate") == 0 ||
	       strcmp(key, "safety") == 0 || strcmp(key, "max_close") == 0 || is_text_key(key) ||
	       strcmp(key, ADAPT_FIELD) == 0 || strcmp(key, ADAPT_BUDGET) == 0;
}

/* ---- the text ---- */

bool adapt_next(const char **at, struct adapt_line *out)
{
	size_t bytes = strcspn(*at, "\n");
	size_t key = strcspn(*at, " \n");

	if (bytes == 0 || bytes >= LAYOUT_ADAPT_BYTES)
		return false;
	memcpy(out->key, *at, key);
	out->key[key] = '\0';
	out->value[0] = '\0';
	if (key < bytes) {
		memcpy(out->value, *at + key + 1, bytes - key - 1);
		out->value[bytes - key - 1] = '\0';
	}
	*at += bytes + ((*at)[bytes] == '\n');
	return true;
}

/* What that key has, within *line; NULL: it has not been set. */
static const char *value_of(const struct adapt_terms *adapt, const char *key,
			    struct adapt_line *line)
{
	const char *at = adapt->text;

	while (adapt_next(&at, line))
		if (strcmp(line->key, key) == 0)
			return line->value;
	return NULL;
}

bool adapt_is_set(const struct adapt_terms *adapt, const char *key)
{
	struct adapt_line line;

	return value_of(adapt, key, &line) != NULL;
}

/* Adds a line, in place of the one of that key; NULL: only takes that away. */
static const char *put_line(struct adapt_terms *adapt, const char *key, const char *value)
{
	char text[LAYOUT_ADAPT_BYTES] = "";
	const char *at = adapt->text;
	struct adapt_line line;
	size_t used = 0;

	while (adapt_next(&at, &line))
		if (strcmp(line.key, key) != 0)
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s %s\n",
						 line.key, line.value);
	if (value) {
		int bytes = snprintf(text + used, sizeof(text) - used, "%s %s\n", key, value);

		if ((size_t)bytes >= sizeof(text) - used)
			return "profile, account, field.* and budget.* of one rule have at most "
			       "207 bytes together";
	}
	memcpy(adapt->text, text, sizeof(text));
	return NULL;
}

/* "there is no such profile; there are anthropic, azure, ..." */
static const char *known_profiles(void)
{
	static _Thread_local char text[900]; /* built for a fault alone, and read at once */
	size_t used = (size_t)snprintf(text, sizeof(text), "there is no such profile; there are");
	const struct fields_profile *profile;

	for (size_t i = 0; (profile = fields_profile_at(i)) != NULL && used < sizeof(text); i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s %s", i ? "," : "",
					 fields_profile_name(profile));
	return text;
}

static const char *set_account(struct adapt_terms *adapt, const char *key, const char *value)
{
	size_t bytes = strlen(value);
	bool fits = bytes > 0 && bytes <= ADAPT_ACCOUNT_MAX;

	for (size_t i = 0; fits && i < bytes; i++)
		fits = (unsigned char)value[i] > ' ' && value[i] != 0x7f;
	return fits ? put_line(adapt, key, value)
		    : "an account is a word of 1 to 63 bytes that tells it from others at the same "
		      "service, and not its key or password";
}

static const char *set_budget(struct adapt_terms *adapt, const char *key, const char *value)
{
	const char *resource = behind(key, ADAPT_BUDGET);

	if (strlen(resource) >= FIELDS_NAME_BYTES || strpbrk(resource, " \t"))
		return "a budget is budget.RESOURCE, the name that the responses have for it "
		       "(requests, tokens)";
	if (!names_valid(value) || names_is_pattern(value))
		return "a budget belongs to an endpoint: its name, and no pattern";
	return put_line(adapt, key, value);
}

static const char *set_line(struct adapt_terms *adapt, const char *key, const char *value)
{
	struct fields_mapping mapping;
	const char *why;

	if (strcmp(value, "none") == 0)
		return put_line(adapt, key, NULL);
	if (behind(key, ADAPT_BUDGET))
		return set_budget(adapt, key, value);
	if (strcmp(key, "profile") == 0)
		return fields_profile_find(value) ? put_line(adapt, key, value) : known_profiles();
	if (strcmp(key, "account") == 0)
		return set_account(adapt, key, value);
	why = fields_mapping_parse(key, value, &mapping);
	return why ? why : put_line(adapt, key, value);
}

/* ---- the others ---- */

static const char *set_mode(struct adapt_terms *adapt, const char *value)
{
	for (size_t i = 0; i < MODE_COUNT; i++)
		if (strcmp(value, modes[i]) == 0) {
			adapt->mode = i;
			return NULL;
		}
	return "adaptive is off, headers (what responses say, and their status where they say "
	       "nothing) or aimd (their status alone)";
}

static const char *set_min_rate(struct adapt_terms *adapt, const char *value)
{
	uint64_t rate;
	uint64_t period;
	const char *why = value_rate(value, &rate, &period);

	if (!why && (rate == 0 || rate == TERMS_UNLIMITED))
		why = "a rate above 0, such as 60/h";
	if (why)
		return why;
	adapt->min_rate_micro = rate;
	adapt->min_period_ns = period;
	return NULL;
}

static const char *set_safety(struct adapt_terms *adapt, const char *value)
{
	uint64_t micro;

	if (value_tokens(value, &micro) || micro == 0 || micro > TERMS_MICRO)
		return "a share of what the upstream allows, above 0 and at most 1: 0.9";
	adapt->safety_micro = micro;
	return NULL;
}

static const char *set_max_close(struct adapt_terms *adapt, const char *value)
{
	uint64_t ns;
	const char *why = value_duration(value, &ns);

	if (!why && ns == 0)
		why = "a duration above 0, such as 1h";
	if (!why)
		adapt->max_close_ns = ns;
	return why;
}

const char *adapt_set(struct adapt_terms *adapt, const char *key, const char *value)
{
	if (strcmp(key, "adaptive") == 0)
		return set_mode(adapt, value);
	if (strcmp(key, "min_rate") == 0)
		return set_min_rate(adapt, value);
	if (strcmp(key, "safety") == 0)
		return set_safety(adapt, value);
	if (strcmp(key, "max_close") == 0)
		return set_max_close(adapt, value);
	if (is_text_key(key))
		return set_line(adapt, key, value);
	return "something follows behind the point: field.remaining, budget.tokens";
}

const char *adapt_check(const struct terms *terms)
{
	const struct adapt_terms *adapt = &terms->adapt;

	if (adapt->mode != ADAPT_OFF && terms->window.kind != WINDOW_NONE)
		return "an adaptive rule has no windows of its own: its upstream says when they "
		       "end";
	if (adapt->min_period_ns && terms->rate_micro != TERMS_UNLIMITED &&
	    (line_wide)adapt->min_rate_micro * terms->period_ns >
		    (line_wide)terms->rate_micro * adapt->min_period_ns)
		return "min_rate is above the rate: lower it, or raise the rate";
	if (adapt_is_set(adapt, "account") && !adapt_is_set(adapt, "profile"))
		return "an account is one at a service: profile says at which";
	return NULL;
}

bool adapt_equal(const struct adapt_terms *a, const struct adapt_terms *b)
{
	return a->mode == b->mode && a->min_rate_micro == b->min_rate_micro &&
	       a->min_period_ns == b->min_period_ns &&
	       adapt_safety_micro(a) == adapt_safety_micro(b) &&
	       adapt_max_close_ns(a) == adapt_max_close_ns(b) && strcmp(a->text, b->text) == 0;
}

/* ---- for whoever reads a response ---- */

const struct fields_profile *adapt_profile(const struct adapt_terms *adapt)
{
	struct adapt_line line;
	const char *name = value_of(adapt, "profile", &line);

	return name ? fields_profile_find(name) : NULL;
}

bool adapt_same_upstream(const struct adapt_terms *a, const struct adapt_terms *b)
{
	const struct fields_profile *profile = adapt_profile(a);
	struct adapt_line of_a, of_b;
	const char *one, *other;

	if (!profile || adapt_profile(b) != profile)
		return false;
	one = value_of(a, "account", &of_a);
	other = value_of(b, "account", &of_b);
	return one && other ? strcmp(one, other) == 0 : one == other;
}

size_t adapt_mappings(const struct adapt_terms *adapt, struct fields_mapping *out, size_t room)
{
	const char *at = adapt->text;
	struct adapt_line line;
	size_t count = 0;

	while (count < room && adapt_next(&at, &line))
		if (behind(line.key, ADAPT_FIELD) &&
		    !fields_mapping_parse(line.key, line.value, &out[count]))
			count++;
	return count;
}

bool adapt_budget(const struct adapt_terms *adapt, const char *resource,
		  char name[LAYOUT_TEXT_BYTES])
{
	const char *at = adapt->text;
	struct adapt_line line;

	while (adapt_next(&at, &line)) {
		const char *of = behind(line.key, ADAPT_BUDGET);

		if (!of || strcasecmp(of, resource) != 0 || !names_valid(line.value))
			continue;
		strcpy(name, line.value); /* names_valid() bounds it */
		return true;
	}
	return false;
}
