/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <stdio.h>
#include <string.h>

#include "order.h"

const struct option_spec option_specs[OPTION_COUNT] = {
	{OPTION_NAME, 'N', "name", "NAME", "the instance (else WEIR_NAME, else default)"},
	{OPTION_SHM_DIR, 0, "shm-dir", "DIR", "the folder of its objects (else WEIR_SHM_DIR)"},
	{OPTION_SOCKET, 0, "socket", "PATH", "the daemon's control socket (else WEIR_SOCKET)"},
	{OPTION_JSON, 0, "json", NULL, "print JSON"},
	{OPTION_HELP, 'h', "help", NULL, "print help"},
	{OPTION_VERSION, 'V', "version", NULL, "print the version"},
	{OPTION_COST, 'n', "cost", "COST", "how many tokens a call takes (1)"},
	{OPTION_WAIT, 0, "wait", "D", "how long to wait at most: a duration, or forever"},
	{OPTION_FOR, 0, "for", "D", "for how long"},
	{OPTION_KEEP, 0, "keep", "WHAT",
	 "what stays: used (the default), level, proportional or reset"},
	{OPTION_WORKERS, 'P', "processes", "N", "how many processes draw (4)"},
	{OPTION_NO_QUEUE, 0, "no-queue", NULL,
	 "ask now or never and sleep the wait that was told, instead of queueing"},
	{OPTION_NAMES, 0, "names", NULL, "print the names alone, one a line"},
	{OPTION_BATCH, 'b', "batch", NULL, "print lines, again and again, also to a terminal"},
	{OPTION_REFRESHES, 'n', "count", "COUNT", "end after so many refreshes"},
	{OPTION_EVERY, 0, "every", "D", "how often: 50ms to 1h (1s)"},
	{OPTION_SORT, 0, "sort", "KEY",
	 "by what: granted (the default), refused, level, queue, name or file"},
	{OPTION_FILTER, 0, "filter", "TEXT", "only names that have this text in them"},
	{OPTION_NO_COLOR, 0, "no-color", NULL, "draw without colour"},
	{OPTION_CLASS, 0, "class", "NAME", "draw as a class, which leaves what the rule says"},
	{OPTION_PERMIT, 0, "permit", NULL, "hold a permit for as long as the command runs"},
	{OPTION_KEEP_RUNNING, 0, "keep-running", NULL,
	 "let the command go on when weirctl is killed, without its permit"},
	{OPTION_FIELDS, 0, "fields", NULL, "print the limit as fields of an HTTP response"},
	{OPTION_RATE, 0, "rate", "R", "the rate, as in weir.ini: 2/s, 5000/h"},
	{OPTION_BURST, 0, "burst", "B", "tokens that may be taken at once (a second's)"},
	{OPTION_WINDOW, 0, "window", "W", "renew it as a whole, as in weir.ini: 1h, '1h first'"},
	{OPTION_KEY, 0, "key", "FIELD", "whose bucket a request draws from (the client's address)"},
	{OPTION_TIME, 0, "time", "FIELD", "when it came (found out by the form of the log)"},
	{OPTION_COST_FIELD, 0, "cost", "FIELD", "how many tokens it takes (1)"},
	{OPTION_FOLD, 0, "fold", "V6[,V4]", "keep so many bits of an address: 64, or 64,24"},
	{OPTION_SLACK, 0, "slack", "D", "how late a line may stand in its log (10s)"},
	{OPTION_AT_ONCE, 0, "at-once", NULL,
	 "take the requests of one second at its beginning, not spread over it"},
	{OPTION_KEYS, 0, "keys", "N", "how many keys are told apart without a doubt (1M)"},
	{OPTION_SWEEP, 0, "sweep", "WHAT", "many limits: rate=1/s..50/s, burst=5..100"},
	{OPTION_PLOT, 0, "plot", "FILE", "draw it by gnuplot, as .svg or .png"},
	{OPTION_STATUS, 0, "status", "N", "the status of the response (else of its first line)"},
	{OPTION_CAPTURED, 0, "time", "EPOCH", "when it came, in seconds since 1970 (else now)"},
	{OPTION_PROFILE, 0, "profile", "P", "whose fields they are: github, openai, ietf, ..."},
	{OPTION_LATENCY, 0, "latency", "D", "how long ago its request was sent"},
};

/* The profiles of fields.h, in their order: a test compares them. */
static const char profile_words[] =
	"generic http ietf akamai anthropic app.net atlassian azure azure-openai "
	"binance brave bybit cerebras cloudflare cohere coinmarketcap discord docker "
	"envoy etsy github github-models gitlab groq hubspot iqmetrix kong kucoin lark "
	"linear litellm meta microsoft-graph mistral notion okta openai openrouter "
	"rapidapi reddit resend salesforce sendgrid shopify slack sp-api spotify "
	"spring stripe together twilio twitch twitter vimeo zendesk";

const char *option_words(enum option_id id)
{
	switch (id) {
	case OPTION_KEEP:
		return "used level proportional reset";
	case OPTION_PROFILE:
		return profile_words;
	case OPTION_SORT:
		return ORDER_WORDS;
	default:
		return NULL;
	}
}

static const struct option_spec *find_long(const char *text, size_t bytes, uint64_t allowed)
{
	for (size_t i = 0; i < OPTION_COUNT; i++)
		if (allowed & OPTION_BIT(i) && strlen(option_specs[i].name) == bytes &&
		    !memcmp(option_specs[i].name, text, bytes))
			return &option_specs[i];
	return NULL;
}

static const struct option_spec *find_letter(char letter, uint64_t allowed)
{
	for (size_t i = 0; i < OPTION_COUNT; i++)
		if (allowed & OPTION_BIT(i) && option_specs[i].letter == letter)
			return &option_specs[i];
	return NULL;
}

/* One word of the command line that begins with a dash, cut into option and value. */
struct found {
	const struct option_spec *spec; /* NULL: unknown */
	const char *value;		/* what is attached to it, or NULL */
};

static struct found cut_option(const char *word, uint64_t allowed)
{
	if (word[1] != '-')
		return (struct found){find_letter(word[1], allowed), word[2] ? word + 2 : NULL};

	size_t bytes = strcspn(word + 2, "=");

	return (struct found){find_long(word + 2, bytes, allowed),
			      word[2 + bytes] ? word + 2 + bytes + 1 : NULL};
}

/* Takes the option at argv[at]; returns how many words it spans, 0 if something is wrong. */
static int take_option(struct arguments *out, int argc, char **argv, int at, uint64_t allowed,
		       char wrong[OPTIONS_WRONG_BYTES])
{
	struct found found = cut_option(argv[at], allowed);

	if (!found.spec) {
		snprintf(wrong, OPTIONS_WRONG_BYTES, "unknown option %.80s", argv[at]);
		return 0;
	}
	if (!found.spec->argument) {
		if (found.value) {
			snprintf(wrong, OPTIONS_WRONG_BYTES, "%.80s: --%s takes no value", argv[at],
				 found.spec->name);
			return 0;
		}
		out->values[found.spec->id] = "";
		return 1;
	}
	if (!found.value && at + 1 >= argc) {
		snprintf(wrong, OPTIONS_WRONG_BYTES, "--%s needs a value: --%s %s",
			 found.spec->name, found.spec->name, found.spec->argument);
		return 0;
	}
	out->values[found.spec->id] = found.value ? found.value : argv[at + 1];
	return found.value ? 1 : 2;
}

bool options_parse(struct arguments *out, int argc, char **argv, uint64_t allowed,
		   int operands_first, char wrong[OPTIONS_WRONG_BYTES])
{
	int operands = 0;
	int at = 0;

	while (at < argc) {
		bool is_option = argv[at][0] == '-' && argv[at][1] != '\0';

		if (is_option && !strcmp(argv[at], "--")) {
			at++;
			break;
		}
		if (is_option) {
			int words = take_option(out, argc, argv, at, allowed, wrong);

			if (words == 0)
				return false;
			at += words;
			continue;
		}
		if (operands >= operands_first)
			break;
		argv[operands++] = argv[at++];
	}
	while (at < argc)
		argv[operands++] = argv[at++];
	argv[operands] = NULL;
	out->operands = argv;
	out->operand_count = operands;
	return true;
}
