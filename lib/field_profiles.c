/* SPDX-License-Identifier: Apache-2.0
 *
 * field_profiles.c - the table of services and their fields, and how names are read by it.
 *
 * A name is looked up among the rows of its profile, and then of `http`; without a profile among
 * those that are known of all. The first row that fits counts.
 *
 * Behind FIELD_WORDS the rest of a name is words: one of them says what is meant (-limit,
 * -remaining, -reset, ...), first or last, and the others of what: "x-ratelimit-limit-requests",
 * "anthropic-ratelimit-tokens-reset", "x-ratelimit-remaining-tokens-minute".
 */
#include "field_profiles.h"

#include <stdint.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define NAME(text, what, of_times)                                                                 \
	text, sizeof(text) - 1, false, FIELD_##what, .unit = FIELD_##of_times
#define BEGINS(text, what, of_times)                                                               \
	text, sizeof(text) - 1, true, FIELD_##what, .unit = FIELD_##of_times
#define OF(name, seconds) .limit = (name), .window_s = (seconds)
#define ROWS(...)                                                                                  \
	(const struct field_row[])                                                                 \
	{                                                                                          \
		__VA_ARGS__,                                                                       \
		{                                                                                  \
			.field = NULL                                                              \
		}                                                                                  \
	}
#define KNOWN(...) .known = ROWS(__VA_ARGS__)
#define OWN(...) .own = ROWS(__VA_ARGS__)

enum { GENERIC, HTTP }; /* where they stand */

/* clang-format off */
static const struct fields_profile profiles[] = {
	/*
	 * For all, those first that are met most. Behind these, in alphabetical order. KNOWN: names
	 * that mean the same wherever they are met. OWN: names that others use as well, in a unit of
	 * this service's: they count where its profile is asked for.
	 */
	[GENERIC] = {"generic", "names in common use, units told from the values",
	 KNOWN({NAME("x-ratelimit-policy",           POLICY, AUTO)},
	       {BEGINS("x-ratelimit-",               WORDS, AUTO)},
	       {NAME("ratelimit-policy",             IETF_POLICY, AUTO)},
	       {BEGINS("ratelimit-",                 WORDS, AUTO)},
	       {BEGINS("x-rate-limit-",              WORDS, AUTO)},
	       {BEGINS("rate-limit-",                WORDS, AUTO)})},
	[HTTP] = {"http", "Retry-After alone: Slack, Spotify, Notion, Gemini",
	 KNOWN({NAME("retry-after",                  RETRY_AFTER, DELTA_S)},
	       {NAME("retry-after-ms",               RETRY_AFTER, DELTA_MS)},
	       {NAME("x-should-retry",               SHOULD_RETRY, AUTO)})},
	{"ietf", "the IETF's RateLimit fields, all drafts",
	 KNOWN({NAME("ratelimit",                    IETF_LIMIT, AUTO)},
	       {NAME("ratelimit-policy",             IETF_POLICY, AUTO)}),
	 OWN({BEGINS("ratelimit-", WORDS, DELTA_S)})},
	{"akamai", "Akamai",
	 OWN({BEGINS("x-ratelimit-", WORDS, DATE)})},
	{"anthropic", "Anthropic",
	 KNOWN({NAME("anthropic-ratelimit-unified-reset", NOTHING, AUTO)},
	       {BEGINS("anthropic-ratelimit-unified-", WORDS, EPOCH_S), OF("unified-*", 0)},
	       {BEGINS("anthropic-ratelimit-",       WORDS, AUTO)})},
	{"app.net", "app.net",
	 OWN({BEGINS("x-ratelimit-", WORDS, DELTA_S)})},
	{"atlassian", "Atlassian Jira, Confluence",
	 OWN({NAME("ratelimit-reason",             RESOURCE, AUTO)},
	     {BEGINS("x-ratelimit-",               WORDS, DATE)})},
	{"azure", "Azure Resource Manager, App Configuration, Cosmos DB",
	 KNOWN({NAME("x-ms-retry-after-ms",          RETRY_AFTER, DELTA_MS)},
	       {NAME("x-ms-ratelimit-remaining-resource", NAMED_REMAINING, AUTO)},
	       {BEGINS("x-ms-ratelimit-",            WORDS, AUTO)})},
	{"azure-openai", "Azure OpenAI",
	 OWN({NAME("x-ms-retry-after-ms",          RETRY_AFTER, DELTA_MS)},
	     {BEGINS("x-rate-limit-",              WORDS, DURATION)},
	     {BEGINS("x-ratelimit-",               WORDS, DURATION)})},
	{"binance", "Binance",
	 KNOWN({BEGINS("x-mbx-used-",                USED, AUTO), OF("*", 0)},
	       {BEGINS("x-mbx-order-count-",         USED, AUTO), OF("order-count-*", 0)},
	       {BEGINS("x-sapi-used-",               USED, AUTO), OF("*", 0)})},
	{"brave", "Brave Search",
	 OWN({NAME("x-ratelimit-policy",           POLICY, AUTO)},
	     {BEGINS("x-ratelimit-",               WORDS, DELTA_S)})},
	{"bybit", "Bybit",
	 KNOWN({NAME("x-bapi-limit",                 LIMIT, AUTO)},
	       {NAME("x-bapi-limit-status",          REMAINING, AUTO)},
	       {NAME("x-bapi-limit-reset-timestamp", RESET, EPOCH_MS)})},
	{"cerebras", "Cerebras",
	 OWN({BEGINS("x-ratelimit-", WORDS, DELTA_S)})},
	{"cloudflare", "Cloudflare API",
	 OWN({NAME("ratelimit",                    IETF_LIMIT, AUTO)},
	     {NAME("ratelimit-policy",             IETF_POLICY, AUTO)})},
	{"cohere", "Cohere",
	 KNOWN({BEGINS("x-trial-endpoint-call-", WORDS, AUTO), OF("trial-endpoint-call", 0)})},
	{"coinmarketcap", "CoinMarketCap",
	 KNOWN({BEGINS("x-credits-", WORDS, AUTO), OF("credits-*", 0)}),
	 OWN({BEGINS("x-ratelimit-", WORDS, AUTO)})},
	{"discord", "Discord",
	 OWN({BEGINS("x-ratelimit-", WORDS, EPOCH_S)})},
	{"docker", "Docker Hub",
	 OWN({BEGINS("ratelimit-", WORDS, DELTA_S)})},
	{"envoy", "Envoy, Pinterest, Roblox, Formbricks",
	 OWN({BEGINS("x-ratelimit-", WORDS, DELTA_S)})},
	{"etsy", "Etsy",
	 KNOWN({NAME("x-limit-per-second",           LIMIT, AUTO), OF("second", 1)},
	       {NAME("x-remaining-this-second",      REMAINING, AUTO), OF("second", 1)},
	       {NAME("x-remaining-this-secon",       REMAINING, AUTO), OF("second", 1)},
	       {NAME("x-limit-per-day",              LIMIT, AUTO), OF("day", 86400)},
	       {NAME("x-remaining-today",            REMAINING, AUTO), OF("day", 86400)})},
	{"github", "GitHub",
	 OWN({BEGINS("x-ratelimit-", WORDS, EPOCH_S)})},
	{"github-models", "GitHub Models",
	 OWN({BEGINS("x-ratelimit-", WORDS, DELTA_S)})},
	{"gitlab", "GitLab",
	 OWN({BEGINS("ratelimit-", WORDS, EPOCH_S)})},
	{"groq", "Groq",
	 OWN({BEGINS("x-ratelimit-", WORDS, DURATION)})},
	{"hubspot", "HubSpot",
	 KNOWN({NAME("x-hubspot-ratelimit-max",      LIMIT, AUTO)},
	       {NAME("x-hubspot-ratelimit-remaining", REMAINING, AUTO)},
	       {NAME("x-hubspot-ratelimit-interval-milliseconds", WINDOW, DELTA_MS)},
	       {NAME("x-hubspot-ratelimit-daily",    LIMIT, AUTO), OF("daily", 86400)},
	       {NAME("x-hubspot-ratelimit-daily-remaining", REMAINING, AUTO), OF("daily", 86400)},
	       {NAME("x-hubspot-ratelimit-secondly", LIMIT, AUTO), OF("secondly", 1)},
	       {NAME("x-hubspot-ratelimit-secondly-remaining", REMAINING, AUTO), OF("secondly", 1)})},
	{"iqmetrix", "iQmetrix, ePages",
	 OWN({BEGINS("x-ratelimit-", WORDS, DATE)})},
	{"kong", "Kong, TiDB Cloud",
	 OWN({BEGINS("ratelimit-",                 WORDS, DELTA_S)},
	     {BEGINS("x-ratelimit-",               WORDS, DELTA_S)})},
	{"kucoin", "KuCoin",
	 KNOWN({BEGINS("gw-ratelimit-", WORDS, DELTA_MS)})},
	{"lark", "Lark, Feishu",
	 KNOWN({BEGINS("x-ogw-ratelimit-", WORDS, DELTA_S)})},
	{"linear", "Linear",
	 OWN({BEGINS("x-ratelimit-", WORDS, EPOCH_MS)})},
	{"litellm", "LiteLLM",
	 OWN({BEGINS("x-ratelimit-", WORDS, DURATION)})},
	{"meta", "Meta, Facebook",
	 KNOWN({NAME("x-app-usage",                  PERCENTS, AUTO), OF("app", 0)},
	       {NAME("x-ad-account-usage",           PERCENTS, AUTO), OF("ad-account", 0)},
	       {NAME("x-business-use-case-usage",    PERCENTS, AUTO), OF("business-use-case", 0)},
	       {NAME("x-fb-ads-insights-throttle",   PERCENTS, AUTO), OF("ads-insights", 0)})},
	{"microsoft-graph", "Microsoft Graph, SharePoint",
	 KNOWN({NAME("x-ms-throttle-limit-percentage", UTILIZATION, AUTO)}),
	 OWN({BEGINS("ratelimit-", WORDS, DELTA_S)})},
	{"mistral", "Mistral",
	 KNOWN({BEGINS("x-ratelimitbysize-",         WORDS, AUTO)},
	       {BEGINS("ratelimitbysize-",           WORDS, AUTO)}),
	 OWN({BEGINS("x-ratelimit-", WORDS, DELTA_S)})},
	{"notion", "Notion",
	 OWN({NAME("retry-after", RETRY_AFTER, DELTA_S)})},
	{"okta", "Okta",
	 OWN({BEGINS("x-rate-limit-", WORDS, EPOCH_S)})},
	{"openai", "OpenAI",
	 OWN({BEGINS("x-ratelimit-", WORDS, DURATION)})},
	{"openrouter", "OpenRouter",
	 OWN({BEGINS("x-ratelimit-", WORDS, EPOCH_MS)})},
	{"rapidapi", "RapidAPI",
	 OWN({BEGINS("x-ratelimit-", WORDS, DELTA_S)})},
	{"reddit", "Reddit",
	 OWN({BEGINS("x-ratelimit-", WORDS, DELTA_S)})},
	{"resend", "Resend",
	 OWN({BEGINS("ratelimit-", WORDS, DELTA_S)})},
	{"salesforce", "Salesforce",
	 KNOWN({NAME("sforce-limit-info", NAMED_USED_OF, AUTO)})},
	{"sendgrid", "SendGrid",
	 OWN({BEGINS("x-ratelimit-", WORDS, EPOCH_S)})},
	{"shopify", "Shopify",
	 KNOWN({NAME("x-shopify-shop-api-call-limit", USED_OF, AUTO)})},
	{"slack", "Slack",
	 OWN({NAME("retry-after", RETRY_AFTER, DELTA_S)})},
	{"sp-api", "Amazon Selling Partner API",
	 KNOWN({NAME("x-amzn-ratelimit-limit", RATE, AUTO)})},
	{"spotify", "Spotify",
	 OWN({NAME("retry-after", RETRY_AFTER, DELTA_S)})},
	{"spring", "Spring Cloud Gateway",
	 OWN({BEGINS("x-ratelimit-", WORDS, DELTA_S)})},
	{"stripe", "Stripe",
	 KNOWN({NAME("stripe-should-retry", SHOULD_RETRY, AUTO)})},
	{"together", "Together AI",
	 OWN({BEGINS("x-ratelimit-", WORDS, DELTA_S)})},
	{"twilio", "Twilio",
	 OWN({NAME("retry-after", RETRY_AFTER, DELTA_S)})},
	{"twitch", "Twitch",
	 OWN({BEGINS("ratelimit-", WORDS, EPOCH_S)})},
	{"twitter", "Twitter, X",
	 OWN({BEGINS("x-rate-limit-", WORDS, EPOCH_S)})},
	{"vimeo", "Vimeo",
	 OWN({BEGINS("x-ratelimit-", WORDS, AUTO)})},
	{"zendesk", "Zendesk",
	 KNOWN({BEGINS("zendesk-ratelimit-",         TOTALS, DELTA_S), OF("*", 0)},
	       {NAME("x-rate-limit",                 LIMIT, AUTO)}),
	 OWN({BEGINS("ratelimit-",                 WORDS, DELTA_S)},
	     {BEGINS("x-rate-limit-",              WORDS, DELTA_S)})},
};
/* clang-format on */

const struct fields_profile *fields_profile_at(size_t index)
{
	return index < COUNT(profiles) ? &profiles[index] : NULL;
}

const struct fields_profile *fields_profile_find(const char *name)
{
	for (size_t i = 0; i < COUNT(profiles); i++)
		if (!strcmp(profiles[i].name, name))
			return &profiles[i];
	return NULL;
}

const char *fields_profile_name(const struct fields_profile *profile)
{
	return profile->name;
}

const char *fields_profile_title(const struct fields_profile *profile)
{
	return profile->title;
}

/* A word of a name that says what is meant. */
struct word {
	const char *text;
	size_t bytes;
	enum field_meaning meaning;
};

#define WORD(text, what) text, sizeof(text) - 1, FIELD_##what

/* Before the name of a limit or behind it. */
static const struct word beside[] = {
	{WORD("limit", LIMIT)}, {WORD("remaining", REMAINING)},	    {WORD("reset", RESET)},
	{WORD("used", USED)},	{WORD("utilization", UTILIZATION)}, {WORD("renewalperiod", WINDOW)},
};

/* Alone: beside others they may well be the name of something. */
static const struct word alone[] = {
	{WORD("observed", USED)},	{WORD("resetseconds", TWIN)},
	{WORD("resettime", RESET)},	{WORD("next", NEXT)},
	{WORD("window", WINDOW)},	{WORD("interval", WINDOW)},
	{WORD("period", WINDOW)},	{WORD("resource", RESOURCE)},
	{WORD("name", RESOURCE)},	{WORD("bucket", RESOURCE)},
	{WORD("reason", RESOURCE)},	{WORD("scope", SCOPE)},
	{WORD("global", GLOBAL)},	{WORD("total", LIMIT)},
	{WORD("reset-after", TWIN)},	{WORD("reset-seconds", TWIN)},
	{WORD("reset-time", RESET)},	{WORD("reset-date", RESET)},
	{WORD("reset-at", RESET)},	{WORD("burst-capacity", BURST)},
	{WORD("replenish-rate", RATE)}, {WORD("retry-after", RETRY_AFTER)},
};

/* Words that stand for a window; those without a fixed length are part of the name alone. */
static double window_word(struct field_text text)
{
	switch (text.bytes) {
	case 3:
		return field_is(text, "day") ? 86400 : 0;
	case 4:
		return field_is(text, "hour") ? 3600 : field_is(text, "week") ? 604800 : 0;
	case 6:
		return field_is(text, "second") ? 1 : field_is(text, "minute") ? 60 : 0;
	default:
		return 0;
	}
}

static const struct word *find_word(const struct word *words, size_t count, struct field_text text)
{
	for (size_t i = 0; i < count; i++)
		if (words[i].bytes == text.bytes && field_same(text.at, words[i].text, text.bytes))
			return &words[i];
	return NULL;
}

static const struct word *find_beside(struct field_text text)
{
	return find_word(beside, COUNT(beside), text);
}

/* "10s", "5h", "7d_opus": a number and a unit; 0: it is none. */
static double window_number(struct field_text text)
{
	static const char units[] = "smhd";
	static const double seconds[] = {1, 60, 3600, 86400};
	const char *unit;
	double count = 0;
	size_t i = 0;

	for (; i < text.bytes && i < 4 && text.at[i] >= '0' && text.at[i] <= '9'; i++)
		count = count * 10 + (text.at[i] - '0');
	if (!i || i == text.bytes || (i + 1 < text.bytes && text.at[i + 1] != '_'))
		return 0;
	unit = memchr(units, field_lower(text.at[i]), sizeof(units) - 1);
	return unit ? count * seconds[unit - units] : 0;
}

/* Bytes before the last word, its hyphen included: 0 with a single word. */
static size_t last_word(struct field_text text)
{
	const char *hyphen = text.bytes ? memrchr(text.at, '-', text.bytes) : NULL;

	return hyphen ? (size_t)(hyphen - text.at) + 1 : 0;
}

/*
 * What is limited, from its words: a window may be the last of them. "minute" is a limit's name as
 * well as its window; in "tokens-minute" it is its window, and the name where there are several of
 * "tokens".
 */
static void read_resource(struct field_text text, struct field_name *out)
{
	size_t at = last_word(text);
	struct field_text last = field_from(text, at);
	double window = window_word(last);

	out->listed = out->listed || text.bytes;
	out->rest = text;
	out->window_s = window > 0 ? window : window_number(last);
	if (window > 0 && at) {
		out->suffix = last;
		out->rest = (struct field_text){text.at, at - 1};
	}
	if (field_is(out->rest, "req"))
		out->rest = FIELD_TEXT("requests");
}

/* A twin of the reset has its unit from its name. */
static void take_word(const struct word *word, struct field_name *out)
{
	out->meaning = word->meaning;
	if (word->meaning == FIELD_TWIN || word->meaning == FIELD_RETRY_AFTER ||
	    word->meaning == FIELD_WINDOW)
		out->unit = FIELD_DELTA_S;
}

/* "-observed", "-reset-after": nothing else is said. */
static bool read_alone(struct field_text text, struct field_name *out)
{
	const struct word *word = find_word(alone, COUNT(alone), text);

	if (!word)
		return false;
	if (word->meaning == FIELD_RESET)
		out->unit = FIELD_AUTO; /* -resettime: the unit of -reset is another's */
	take_word(word, out);
	return true;
}

/* "-limit-requests", "-requests-limit", "-remaining". */
static bool read_words(struct field_text text, struct field_name *out)
{
	size_t last = last_word(text), first = field_find(text, '-');
	const struct word *word = find_beside(field_from(text, last));

	if (word) {
		read_resource((struct field_text){text.at, last ? last - 1 : 0}, out);
	} else {
		word = last ? find_beside((struct field_text){text.at, first}) : NULL;
		if (!word || word->meaning == FIELD_RESET) /* -reset-after, or -reset-tokens */
			if (read_alone(text, out))
				return true;
		if (word)
			read_resource(field_from(text, first + 1), out);
	}
	if (word)
		take_word(word, out);
	return word;
}

/* The name of the limit by the row's template: "*", "order-count-*", "second". */
static void name_limit(const struct field_row *row, struct field_text rest, struct field_name *out)
{
	size_t star;

	if (!row->limit)
		return;
	star = strcspn(row->limit, "*");
	out->listed = true;
	out->prefix = (struct field_text){row->limit, star};
	if (row->limit[star] && row->meaning != FIELD_WORDS) {
		out->rest = rest;
		out->window_s = window_number(field_from(rest, last_word(rest)));
	}
}

static bool apply_row(const struct field_row *row, struct field_text rest, struct field_name *out)
{
	*out = (struct field_name){
		.meaning = row->meaning, .unit = row->unit, .window_s = row->window_s};
	name_limit(row, rest, out);
	return row->meaning != FIELD_WORDS || read_words(rest, out);
}

/* Whether the row is of this name. */
static bool fits(const struct field_row *row, struct field_text name)
{
	if (row->open ? name.bytes <= row->bytes : name.bytes != row->bytes)
		return false;
	/* in lower case, as HTTP/2 has it, at one go */
	return !memcmp(name.at, row->field, row->bytes) ||
	       field_same(name.at, row->field, row->bytes);
}

/*
 * The letters that a name begins with, behind an "x-": they turn away most fields of a response at
 * once. Upper case counts as lower case; that some other characters then are alike does no harm.
 */
enum { SHORTEST_NAME = 9 };

#define START(a, b, c, d, e)                                                                       \
	((uint64_t)(a) << 32 | (uint64_t)(b) << 24 | (uint64_t)(c) << 16 | (uint64_t)(d) << 8 |    \
	 (uint64_t)(e))

static uint64_t start_of(const char *name)
{
	const unsigned char *at = (const unsigned char *)name;

	if ((at[0] | 0x20) == 'x' && at[1] == '-')
		at += 2;
	return START(at[0], at[1], at[2], at[3], at[4]) | START(0x20, 0x20, 0x20, 0x20, 0x20);
}

/* All names of the table; a test goes through its rows. */
static bool may_speak(uint64_t start)
{
	switch (start) {
	case START('r', 'e', 't', 'r', 'y'):
	case START('r', 'a', 't', 'e', 'l'):
	case START('r', 'a', 't', 'e', '-'):
	case START('r', 'e', 'm', 'a', 'i'):
	case START('a', 'd', '-', 'a', 'c'):
	case START('a', 'm', 'z', 'n', '-'):
	case START('a', 'n', 't', 'h', 'r'):
	case START('a', 'p', 'p', '-', 'u'):
	case START('b', 'a', 'p', 'i', '-'):
	case START('b', 'u', 's', 'i', 'n'):
	case START('c', 'r', 'e', 'd', 'i'):
	case START('f', 'b', '-', 'a', 'd'):
	case START('g', 'w', '-', 'r', 'a'):
	case START('h', 'u', 'b', 's', 'p'):
	case START('l', 'i', 'm', 'i', 't'):
	case START('l', 'l', 'm', '_' | 0x20, 'p'): /* llm_provider- */
	case START('m', 'b', 'x', '-', 'o'):
	case START('m', 'b', 'x', '-', 'u'):
	case START('m', 's', '-', 'r', 'a'):
	case START('m', 's', '-', 'r', 'e'):
	case START('m', 's', '-', 't', 'h'):
	case START('o', 'g', 'w', '-', 'r'):
	case START('s', 'a', 'p', 'i', '-'):
	case START('s', 'f', 'o', 'r', 'c'):
	case START('s', 'h', 'o', 'p', 'i'):
	case START('s', 'h', 'o', 'u', 'l'):
	case START('s', 't', 'r', 'i', 'p'):
	case START('t', 'r', 'i', 'a', 'l'):
	case START('z', 'e', 'n', 'd', 'e'):
		return true;
	default:
		return false;
	}
}

static const struct field_row *find_row(const struct field_row *row, struct field_text name)
{
	for (; row && row->field; row++)
		if (fits(row, name))
			return row;
	return NULL;
}

static const struct field_row *look_up(const struct fields_profile *profile, struct field_text name)
{
	const struct field_row *row = NULL;

	if (profile) {
		row = find_row(profile->known, name);
		if (!row)
			row = find_row(profile->own, name);
		return row ? row : find_row(profiles[HTTP].known, name);
	}
	for (size_t i = 0; i < COUNT(profiles) && !row; i++)
		row = find_row(profiles[i].known, name);
	return row;
}

bool field_name_read(const struct fields_profile *profile, struct field_text name,
		     struct field_name *out)
{
	static const char copied[] = "llm_provider-";
	const struct field_row *row;
	bool is_copied;

	if (name.bytes < SHORTEST_NAME || !may_speak(start_of(name.at)))
		return false;
	is_copied = field_begins(name, copied);
	if (is_copied)
		name = field_from(name, sizeof(copied) - 1);
	row = look_up(profile, name);
	if (!row || !apply_row(row, field_from(name, row->bytes), out))
		return false;
	out->copied = is_copied;
	return true;
}
