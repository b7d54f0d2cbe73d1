/* SPDX-License-Identifier: Apache-2.0
 *
 * config_keys.c - the keys of all sections, and what becomes of the value of each.
 */
#include "config_parser.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "adapt.h"
#include "class.h"
#include "fold.h"
#include "value.h"
#include "weir.h"

/* Takes a value into the section at hand. Returns NULL or what would be right. */
typedef const char *set_key(struct config_parser *parser, const char *key, const char *value);

static set_key set_name, set_group, set_path, set_clock, set_log, set_capacity, set_term, set_match,
	set_keys, set_fold;

#define KEYS(X)                                                                                    \
	X("weir", "name", set_name, "the instance's name; default: default")                       \
	X("weir", "group", set_group, "the group that may use and change the instance")            \
	X("weir", "shm_dir", set_path, "the folder of the shared objects; default: see weir(7)")   \
	X("weir", "socket", set_path, "the path of the control socket")                            \
	X("weir", "state_file", set_path, "where levels are kept over a reboot; default: nowhere") \
	X("weir", "clock", set_clock, "auto, tsc, monotonic or manual; default: auto")             \
	X("weir", "log", set_log, "error, warning, info or debug; default: info")                  \
	X("weir", "endpoints", set_capacity, "rules there is room for; default: 1024")             \
	X("weir", "names", set_capacity, "names under [default] with a bucket; default: 1024")     \
	X("weir", "members", set_capacity, "processes attached at a time; default: 256")           \
	X("weir", "permits", set_capacity, "calls under way, under all rules; default: 1024")      \
	X("weir", "waiters", set_capacity, "calls in line for a permit; default: 1024")            \
	X("weir", "shadow", set_term, "yes: rules that do not say otherwise only count")           \
	X("weir", "class", set_term, "what calls of a class must leave, under every rule")         \
	X("default", "rate", set_term, "tokens per period; default: 10/s")                         \
	X("default", "burst", set_term, "tokens that may be taken at once; default: a second's")   \
	X("default", "initial", set_term, "tokens in a bucket at first; default: the burst")       \
	X("default", "max_wait", set_term, "how far ahead may be queued; default: unlimited")      \
	X("default", "window", set_term, "what is renewed as a whole: 1h aligned, 1h first")       \
	X("default", "shadow", set_term, "yes: count what would be refused, and admit it")         \
	X("default", "shadow_rate", set_term, "of a limit that only counts; default: none")        \
	X("default", "shadow_burst", set_term, "its burst; default: a second's")                   \
	X("default", "class", set_term, "what calls of a class must leave")                        \
	X("default", "max_close", set_term, "how long a response may close; default: 1h")          \
	X("default", "profile", set_term, "whose responses they are; default: told by itself")     \
	X("default", "account", set_term, "whose limits, of several at that service")              \
	X("default", "field", set_term, "field.MEANING: what a field of responses means")          \
	X("endpoint", "rate", set_term, "tokens per period; default: the rate of [default]")       \
	X("endpoint", "burst", set_term, "tokens that may be taken at once; default: a second's")  \
	X("endpoint", "initial", set_term, "tokens in the bucket at first; default: the burst")    \
	X("endpoint", "max_wait", set_term, "how far ahead may be queued; default: unlimited")     \
	X("endpoint", "window", set_term, "what is renewed as a whole: 1h aligned, 1h first")      \
	X("endpoint", "shadow", set_term, "yes: count what would be refused, and admit it")        \
	X("endpoint", "shadow_rate", set_term, "of a limit that only counts; default: none")       \
	X("endpoint", "shadow_burst", set_term, "its burst; default: a second's")                  \
	X("endpoint", "class", set_term, "what calls of a class must leave")                       \
	X("endpoint", "concurrency", set_term, "calls at a time: N, auto 4..200, or unlimited")    \
	X("endpoint", "max_hold", set_term, "how long each may be; default: unlimited")            \
	X("endpoint", "adaptive", set_term, "off, headers or aimd: follow the upstream")           \
	X("endpoint", "min_rate", set_term, "never slower; default: a hundredth of the rate")      \
	X("endpoint", "safety", set_term, "the share of what the upstream allows; default: 0.9")   \
	X("endpoint", "max_close", set_term, "how long a response may close; default: 1h")         \
	X("endpoint", "profile", set_term, "whose responses they are; default: told by itself")    \
	X("endpoint", "account", set_term, "whose limits, of several at that service")             \
	X("endpoint", "field", set_term, "field.MEANING: what a field of responses means")         \
	X("endpoint", "budget", set_term, "budget.RESOURCE: the endpoint that a limit belongs to") \
	X("endpoint", "match", set_match, "the name or pattern, if not the section's own name")    \
	X("each", "rate", set_term, "tokens per period, of each key; default: that of [default]")  \
	X("each", "burst", set_term, "tokens that may be taken at once; default: a second's")      \
	X("each", "max_wait", set_term, "how far ahead may be queued; default: unlimited")         \
	X("each", "window", set_term, "what is renewed as a whole: 1h aligned, 1h first")          \
	X("each", "shadow", set_term, "yes: count what would be refused, and admit it")            \
	X("each", "class", set_term, "what calls of a class must leave")                           \
	X("each", "match", set_match, "the pattern, if not the section's own name")                \
	X("each", "keys", set_keys, "keys in debt at once that there is room for; default: 64Ki")  \
	X("each", "fold", set_fold, "what counts as one key: ipv4/24 ipv6/64 case; default: none")

#define AS_KEY(section, name, set, description) {section, name, description},
#define AS_SETTER(section, name, set, description) set,

const struct config_key config_keys[] = {KEYS(AS_KEY){NULL, NULL, NULL}};
static set_key *const setters[] = {KEYS(AS_SETTER)};

#define KEY_COUNT (sizeof(setters) / sizeof(setters[0]))

_Static_assert(KEY_COUNT <= CONFIG_KEYS_KNOWN, "a parser has room for the lines of all keys");

__attribute__((format(printf, 2, 3))) static const char *say(struct config_parser *parser,
							     const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(parser->sentence, sizeof(parser->sentence), format, arguments);
	va_end(arguments);
	return parser->sentence;
}

static const char *set_name(struct config_parser *parser, const char *key, const char *value)
{
	size_t bytes = strlen(value);
	bool fits = bytes > 0 && bytes <= WEIR_INSTANCE_MAX && value[0] != '.';

	(void)key;
	if (!fits || strpbrk(value, " \t/"))
		return say(parser,
			   "an instance's name has 1 to %d bytes, no blank and no /, and "
			   "does not begin with a dot",
			   WEIR_INSTANCE_MAX);
	memcpy(parser->config.name, value, bytes + 1);
	return NULL;
}

static const char *set_group(struct config_parser *parser, const char *key, const char *value)
{
	size_t bytes = strlen(value);

	(void)key;
	if (bytes == 0 || bytes >= sizeof(parser->config.group) || strpbrk(value, " \t:"))
		return say(parser, "a group's name has 1 to %zu bytes, no blank and no colon",
			   sizeof(parser->config.group) - 1);
	memcpy(parser->config.group, value, bytes + 1);
	return NULL;
}

static const char *set_path(struct config_parser *parser, const char *key, const char *value)
{
	struct config *config = &parser->config;
	bool socket = strcmp(key, "socket") == 0;
	bool state = strcmp(key, "state_file") == 0;
	char *out = socket ? config->socket : state ? config->state_file : config->shm_dir;
	size_t room = socket ? sizeof(config->socket) : sizeof(config->shm_dir);
	size_t bytes = strlen(value);

	if (value[0] != '/' || bytes >= room || strchr(value, '\t'))
		return say(parser, "an absolute path of at most %zu bytes", room - 1);
	if (state && value[bytes - 1] == '/')
		return "the path of a file, not of a folder";
	memcpy(out, value, bytes + 1);
	return NULL;
}

/* The index of a word in a list that ends with NULL; -1: not there. */
static int find_word(const char *const *words, const char *word)
{
	for (int i = 0; words[i]; i++)
		if (strcmp(words[i], word) == 0)
			return i;
	return -1;
}

static const char *set_clock(struct config_parser *parser, const char *key, const char *value)
{
	/* in the order of enum clock_kind; 0 is left to the creator of the segment */
	static const char *const words[] = {"auto", "tsc", "monotonic", "manual", NULL};
	int index = find_word(words, value);

	(void)key;
	if (index < 0)
		return "a clock is auto, tsc, monotonic or manual";
	parser->config.clock = (enum clock_kind)index;
	return NULL;
}

static const char *set_log(struct config_parser *parser, const char *key, const char *value)
{
	/* in the order of enum config_log */
	static const char *const words[] = {"error", "warning", "info", "debug", NULL};
	int index = find_word(words, value);

	(void)key;
	if (index < 0)
		return "a log level is error, warning, info or debug";
	parser->config.log = (enum config_log)index;
	return NULL;
}

static const char *set_capacity(struct config_parser *parser, const char *key, const char *value)
{
	uint32_t *out = &parser->config.members;
	uint64_t max = LAYOUT_MAX_MEMBERS;
	uint64_t count;

	if (strcmp(key, "endpoints") == 0) {
		out = &parser->config.endpoints;
		max = CONFIG_ENDPOINTS_MAX;
	} else if (strcmp(key, "names") == 0) {
		out = &parser->config.names;
		max = LAYOUT_MAX_NAMES;
	} else if (strcmp(key, "permits") == 0) {
		out = &parser->config.permits;
		max = LAYOUT_MAX_PERMITS;
	} else if (strcmp(key, "waiters") == 0) {
		out = &parser->config.waiters;
		max = LAYOUT_MAX_WAITERS;
	}
	if (value_count(value, 1, max, &count))
		return say(parser,
			   "a whole number from 1 to %llu, with an optional K, M, G, Ki, Mi or Gi",
			   (unsigned long long)max);
	*out = (uint32_t)count;
	return NULL;
}

/* Remembers where a term was given, for faults that show only when all of them are known. */
static void note_line(struct config_draft *draft, const char *key, unsigned line)
{
	const char *class_name = config_class_name(key);

	if (class_name)
		*config_class_line(draft, class_number(class_name)) = line;
	else if (strcmp(key, "rate") == 0)
		draft->rate_line = line;
	else if (strcmp(key, "burst") == 0)
		draft->burst_line = line;
	else if (strcmp(key, "initial") == 0)
		draft->initial_line = line;
	else if (strcmp(key, "window") == 0)
		draft->window_line = line;
	else if (strcmp(key, "concurrency") == 0)
		draft->concurrency_line = line;
	else if (strcmp(key, "max_hold") == 0)
		draft->hold_line = line;
	else if (strcmp(key, "shadow") == 0)
		draft->shadow_line = line;
	else if (strncmp(key, "shadow_", 7) == 0)
		draft->beside_line = line;
	else if (strcmp(key, "adaptive") == 0 || strcmp(key, "min_rate") == 0)
		draft->adapt_line = line;
}

static const char *set_term(struct config_parser *parser, const char *key, const char *value)
{
	struct config_draft *draft =
		parser->section == SECTION_WEIR ? &parser->common : parser->draft;
	const char *class_name = config_class_name(key);
	const unsigned *before =
		class_name ? config_class_line(draft, class_number(class_name)) : NULL;
	const char *why;

	if (before)
		return say(parser, "given on line %u already; keep one of them", *before);
	if (adapt_is_set(&draft->rule.terms.adapt, key))
		return "given already; keep one of them";
	why = config_set_term(&draft->rule.terms, key, value);
	if (why)
		draft->terms_faulty = true;
	else
		note_line(draft, key, parser->line);
	return why;
}

static const char *set_match(struct config_parser *parser, const char *key, const char *value)
{
	(void)key;
	if (!names_valid(value)) {
		parser->draft->text_faulty = true;
		return say(parser, "a name or pattern has 1 to %d bytes and no control characters",
			   WEIR_NAME_MAX);
	}
	config_set_text(parser->draft, value);
	return NULL;
}

static const char *set_keys(struct config_parser *parser, const char *key, const char *value)
{
	(void)key;
	if (value_count(value, 1, LAYOUT_MAX_KEYS, &parser->draft->rule.keys))
		return say(parser,
			   "a whole number from 1 to %u, with an optional K, M, G, Ki, Mi or Gi",
			   (unsigned)LAYOUT_MAX_KEYS);
	return NULL;
}

static const char *set_fold(struct config_parser *parser, const char *key, const char *value)
{
	(void)key;
	return fold_read(value, &parser->draft->rule.fold);
}

/* The key of a class has its name behind it, and those of fields and budgets theirs. */
static bool key_is(const char *known, const char *key)
{
	size_t bytes = strlen(known);

	if (strcmp(known, key) == 0 || (strcmp(known, CONFIG_CLASS) == 0 && config_class_name(key)))
		return true;
	return (strcmp(known, ADAPT_FIELD) == 0 || strcmp(known, ADAPT_BUDGET) == 0) &&
	       strncmp(key, known, bytes) == 0 && key[bytes] == '.';
}

/* Whether a section may have a key of the table more than once. */
static bool may_repeat(const char *key)
{
	return config_class_name(key) || strchr(key, '.');
}

void config_take_setting(struct config_parser *parser, const char *key, const char *value)
{
	const char *why;
	size_t index = 0;

	while (index < KEY_COUNT &&
	       (strcmp(config_keys[index].section, config_section_words[parser->section]) != 0 ||
		!key_is(config_keys[index].name, key)))
		index++;
	if (index == KEY_COUNT) {
		config_hint(config_section_words[parser->section], key, parser->sentence,
			    sizeof(parser->sentence));
		config_report(&parser->report, parser->line, "%s %s: %s", parser->title, key,
			      parser->sentence);
		return;
	}
	if (parser->key_lines[index] != 0 && !may_repeat(key)) {
		config_report(&parser->report, parser->line,
			      "%s %s: given on line %u already; keep one of them", parser->title,
			      key, parser->key_lines[index]);
		return;
	}
	parser->key_lines[index] = parser->line;
	why = setters[index](parser, key, value);
	if (why)
		config_report(&parser->report, parser->line, "%s %s = %s: %s%s", parser->title, key,
			      value, why,
			      strstr(value, " #") ? "; a comment behind a value begins with ' ;'"
						  : "");
}
