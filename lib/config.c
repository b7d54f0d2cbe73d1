/* SPDX-License-Identifier: Apache-2.0
 *
 * config.c - sections and keys. The text goes line by line through config_reader.c; inih gets the
 * settings alone, on lines that it neither cuts nor joins, and hands back key and value. What
 * section and line they belong to is known from the reader, not from inih.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ini.h>

#include "adapt.h"
#include "class.h"
#include "config_draft.h"
#include "config_reader.h"
#include "fold.h"
#include "keyed.h"
#include "names.h"
#include "permit_chain.h"
#include "value.h"
#include "weir.h"

#define FILE_MAX_BYTES (16ul << 20)
#define NS_PER_S 1000000000ull

struct parser;

/* Takes a value into the section at hand. Returns NULL or what would be right. */
typedef const char *set_key(struct parser *parser, const char *key, const char *value);

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

enum section {
	SECTION_NONE, /* before the first header */
	SECTION_SKIPPED,
	SECTION_WEIR,
	SECTION_DEFAULT,
	SECTION_ENDPOINT,
	SECTION_EACH,
};

static const char *const section_words[] = {
	[SECTION_NONE] = "",	       [SECTION_SKIPPED] = "",		[SECTION_WEIR] = "weir",
	[SECTION_DEFAULT] = "default", [SECTION_ENDPOINT] = "endpoint", [SECTION_EACH] = "each",
};

struct parser {
	struct config_reader reader;
	struct config_report report;
	struct config config;
	struct config_draft *drafts; /* [0] is [default] */
	size_t draft_count;
	size_t draft_room;
	struct config_draft scratch; /* of a section that is checked but cannot count */
	struct config_draft common;  /* what [weir] says for every rule */

	enum section section;
	struct config_draft *draft; /* of the section; moves with drafts at headers only */
	char title[LAYOUT_TEXT_BYTES + 16];
	unsigned first_lines[SECTION_ENDPOINT]; /* where [weir] and [default] began */
	unsigned key_lines[KEY_COUNT];		/* of the section's keys so far */
	unsigned line;				/* that inih is handed */

	char sentence[400];
	int error;
};

/* ---- Faults ---- */

static void append(struct config_faults *faults, const char *line, size_t bytes)
{
	if (!faults->text || bytes >= faults->bytes || faults->used >= faults->bytes - bytes)
		return;
	for (size_t i = 0; i < bytes; i++) {
		unsigned char c = (unsigned char)line[i];

		faults->text[faults->used++] = (char)(c < ' ' || c == 0x7f ? '?' : c);
	}
	faults->text[faults->used - 1] = '\n';
	faults->text[faults->used] = '\0';
}

void config_report(struct config_report *report, unsigned line, const char *format, ...)
{
	char message[1024];
	char whole[sizeof(message) + 512];
	va_list arguments;
	int bytes;

	report->faults->count++;
	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	bytes = snprintf(whole, sizeof(whole), "%.400s:%u: %s\n", report->file, line, message);
	if (bytes > 0)
		append(report->faults, whole, (size_t)bytes);
}

/* How much of a span to print. */
static int shown(size_t bytes, size_t most)
{
	return (int)(bytes < most ? bytes : most);
}

static void begin_faults(struct config_faults *faults)
{
	faults->used = 0;
	faults->count = 0;
	if (faults->text && faults->bytes > 0)
		faults->text[0] = '\0';
}

/* ---- Keys ---- */

static const char *say(struct parser *parser, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static const char *say(struct parser *parser, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(parser->sentence, sizeof(parser->sentence), format, arguments);
	va_end(arguments);
	return parser->sentence;
}

static const char *set_name(struct parser *parser, const char *key, const char *value)
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

static const char *set_group(struct parser *parser, const char *key, const char *value)
{
	size_t bytes = strlen(value);

	(void)key;
	if (bytes == 0 || bytes >= sizeof(parser->config.group) || strpbrk(value, " \t:"))
		return say(parser, "a group's name has 1 to %zu bytes, no blank and no colon",
			   sizeof(parser->config.group) - 1);
	memcpy(parser->config.group, value, bytes + 1);
	return NULL;
}

static const char *set_path(struct parser *parser, const char *key, const char *value)
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

static const char *set_clock(struct parser *parser, const char *key, const char *value)
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

static const char *set_log(struct parser *parser, const char *key, const char *value)
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

static const char *set_capacity(struct parser *parser, const char *key, const char *value)
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

static const char *set_term(struct parser *parser, const char *key, const char *value)
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

static void set_text(struct config_draft *draft, const char *text)
{
	const char *star = strrchr(text, '*');

	snprintf(draft->rule.text, sizeof(draft->rule.text), "%s", text);
	if (draft->rule.kind != ROW_EACH)
		draft->rule.kind = star ? ROW_PATTERN : ROW_EXACT;
	draft->specificity = names_specificity(text);
	draft->tail = star ? (size_t)(star + 1 - text) : 0;
}

static const char *set_match(struct parser *parser, const char *key, const char *value)
{
	(void)key;
	if (!names_valid(value)) {
		parser->draft->text_faulty = true;
		return say(parser, "a name or pattern has 1 to %d bytes and no control characters",
			   WEIR_NAME_MAX);
	}
	set_text(parser->draft, value);
	return NULL;
}

static const char *set_keys(struct parser *parser, const char *key, const char *value)
{
	(void)key;
	if (value_count(value, 1, LAYOUT_MAX_KEYS, &parser->draft->rule.keys))
		return say(parser,
			   "a whole number from 1 to %u, with an optional K, M, G, Ki, Mi or Gi",
			   (unsigned)LAYOUT_MAX_KEYS);
	return NULL;
}

static const char *set_fold(struct parser *parser, const char *key, const char *value)
{
	(void)key;
	return fold_read(value, &parser->draft->rule.fold);
}

/* ---- Sections ---- */

static void begin_draft(struct config_draft *draft, unsigned line)
{
	*draft = (struct config_draft){
		.rule =
			{
				.kind = ROW_DEFAULT,
				.text = "*",
				.terms = {.rate_micro = 10 * TERMS_MICRO, .period_ns = NS_PER_S},
				.line = line,
			},
	};
}

/* A new draft at the end; NULL: no memory, or more than any segment holds. */
static struct config_draft *add_draft(struct parser *parser, unsigned line)
{
	struct config_draft *draft;

	if (parser->draft_count == parser->draft_room) {
		size_t room = parser->draft_room ? 2 * parser->draft_room : 16;
		struct config_draft *grown = realloc(parser->drafts, room * sizeof(*grown));

		if (!grown) {
			parser->error = -ENOMEM;
			return NULL;
		}
		parser->drafts = grown;
		parser->draft_room = room;
	}
	draft = &parser->drafts[parser->draft_count++];
	begin_draft(draft, line);
	return draft;
}

/* The same section for a second time is checked, but into the scratch draft. */
static bool is_first(struct parser *parser, const struct config_line *line)
{
	unsigned *first = &parser->first_lines[parser->section];

	if (line->name_bytes > 0)
		config_report(&parser->report, line->number, "%s takes no name: write [%s]",
			      parser->title, section_words[parser->section]);
	if (*first != 0)
		config_report(&parser->report, line->number,
			      "%s: the section is on line %u already; join the two", parser->title,
			      *first);
	else
		*first = line->number;
	return *first == line->number;
}

static void begin_default(struct parser *parser, const struct config_line *line)
{
	if (!is_first(parser, line))
		return;
	parser->draft = &parser->drafts[0];
	parser->draft->rule.line = line->number;
}

static void begin_rule(struct parser *parser, const struct config_line *line)
{
	char label[LAYOUT_TEXT_BYTES] = "";
	struct config_draft *draft;

	if (line->name_bytes < sizeof(label))
		memcpy(label, line->name, line->name_bytes);
	if (!names_valid(label)) {
		config_report(&parser->report, line->number,
			      "%s: the name of an endpoint has 1 to %d bytes and no control "
			      "characters; this one has %zu bytes",
			      parser->title, WEIR_NAME_MAX, line->name_bytes);
		return;
	}
	if (parser->draft_count > CONFIG_ENDPOINTS_MAX)
		return; /* check_capacity() reports it */
	draft = add_draft(parser, line->number);
	if (!draft)
		return;
	parser->draft = draft;
	memcpy(draft->label, label, sizeof(label));
	if (parser->section == SECTION_EACH) {
		draft->rule.kind = ROW_EACH;
		draft->rule.keys = CONFIG_KEYS;
	}
	set_text(draft, label);
}

static enum section find_section(const struct config_line *line)
{
	for (enum section section = SECTION_WEIR; section <= SECTION_EACH; section++)
		if (strlen(section_words[section]) == line->word_bytes &&
		    memcmp(section_words[section], line->word, line->word_bytes) == 0)
			return section;
	return SECTION_SKIPPED;
}

static void begin_section(struct parser *parser, const struct config_line *line)
{
	parser->section = find_section(line);
	parser->draft = &parser->scratch;
	begin_draft(&parser->scratch, line->number);
	memset(parser->key_lines, 0, sizeof(parser->key_lines));
	snprintf(parser->title, sizeof(parser->title), "[%.*s%s%.*s]", shown(line->word_bytes, 12),
		 line->word, line->name_bytes > 0 ? " " : "",
		 shown(line->name_bytes, WEIR_NAME_MAX), line->name);
	switch (parser->section) {
	case SECTION_WEIR:
		is_first(parser, line);
		break;
	case SECTION_DEFAULT:
		begin_default(parser, line);
		break;
	case SECTION_ENDPOINT:
	case SECTION_EACH:
		begin_rule(parser, line);
		break;
	case SECTION_NONE:
	case SECTION_SKIPPED:
		config_report(&parser->report, line->number,
			      "%s: unknown section; there are [weir], [default], "
			      "[endpoint NAME] and [each PATTERN]",
			      parser->title);
		break;
	}
}

/* ---- Lines ---- */

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

/* What inih makes of a line: called for every setting that hand_on() let pass. */
static int take_setting(void *context, const char *section, const char *key, const char *value)
{
	struct parser *parser = context;
	const char *why;
	size_t index = 0;

	(void)section; /* cut at 49 bytes; ours is known */
	while (index < KEY_COUNT &&
	       (strcmp(config_keys[index].section, section_words[parser->section]) != 0 ||
		!key_is(config_keys[index].name, key)))
		index++;
	if (index == KEY_COUNT) {
		config_hint(section_words[parser->section], key, parser->sentence,
			    sizeof(parser->sentence));
		config_report(&parser->report, parser->line, "%s %s: %s", parser->title, key,
			      parser->sentence);
		return 1;
	}
	if (parser->key_lines[index] != 0 && !may_repeat(key)) {
		config_report(&parser->report, parser->line,
			      "%s %s: given on line %u already; keep one of them", parser->title,
			      key, parser->key_lines[index]);
		return 1;
	}
	parser->key_lines[index] = parser->line;
	why = setters[index](parser, key, value);
	if (why)
		config_report(&parser->report, parser->line, "%s %s = %s: %s%s", parser->title, key,
			      value, why,
			      strstr(value, " #") ? "; a comment behind a value begins with ' ;'"
						  : "");
	return 1;
}

/* Whether inih may have a setting: it belongs to a section and fits. */
static bool may_hand_on(struct parser *parser, const struct config_line *line, size_t room)
{
	int key_bytes = shown(line->word_bytes, 40);

	if (parser->section == SECTION_NONE)
		config_report(&parser->report, line->number,
			      "%.*s: stands before any section; put [weir], [default], "
			      "[endpoint NAME] or [each PATTERN] above it",
			      key_bytes, line->word);
	else if (parser->section != SECTION_SKIPPED && line->bytes >= room)
		config_report(&parser->report, line->number,
			      "%s %.*s: the line has %zu bytes, at most %zu can be read",
			      parser->title, key_bytes, line->word, line->bytes, room - 1);
	else
		return parser->section != SECTION_SKIPPED;
	return false;
}

/* The reader that inih calls as it would fgets(): settings pass, an empty line for all else. */
static char *hand_on(char *out, int room, void *context)
{
	struct parser *parser = context;
	struct config_line line;

	if (parser->error || !config_reader_next(&parser->reader, &line))
		return NULL;
	out[0] = '\0';
	parser->line = line.number;
	switch (line.kind) {
	case CONFIG_LINE_EMPTY:
		break;
	case CONFIG_LINE_HEADER:
		begin_section(parser, &line);
		break;
	case CONFIG_LINE_SETTING:
		if (may_hand_on(parser, &line, (size_t)room)) {
			memcpy(out, line.text, line.bytes);
			out[line.bytes] = '\0';
		}
		break;
	case CONFIG_LINE_BAD_HEADER:
		parser->section = SECTION_SKIPPED;
		config_report(&parser->report, line.number, "%.*s: %s", shown(line.bytes, 80),
			      line.text, line.fault);
		break;
	case CONFIG_LINE_BAD:
		config_report(&parser->report, line.number, "%.*s: %s", shown(line.bytes, 80),
			      line.text, line.fault);
		break;
	}
	return out;
}

/* ---- The whole ---- */

/* A pattern that was faulty has been said to be. */
static const char *check_each(const struct config_draft *draft)
{
	return config_check_each(draft->text_faulty ? "*" : draft->rule.text, &draft->rule.terms);
}

static void finish_draft(struct parser *parser, struct config_draft *draft)
{
	const char *why;
	unsigned line;

	if (draft->terms_faulty)
		return;
	line = config_faulty_line(draft);
	why = config_finish_draft(draft, &draft->rule.terms);
	if (!why && draft->rule.kind == ROW_EACH)
		why = check_each(draft);
	if (!why)
		return;
	if (draft->rule.kind == ROW_DEFAULT)
		config_report(&parser->report, line, "[default]: %s", why);
	else
		config_report(&parser->report, line, "[%s %s]: %s", config_section(draft),
			      draft->label, why);
}

static void finish_drafts(struct parser *parser)
{
	const struct terms *fallback = &parser->drafts[0].rule.terms;

	for (size_t i = 0; i < parser->draft_count; i++) {
		struct config_draft *draft = &parser->drafts[i];

		if (draft->rate_line == 0) {
			draft->rule.terms.rate_micro = fallback->rate_micro;
			draft->rule.terms.period_ns = fallback->period_ns;
		}
		config_inherit(&parser->report, draft, &parser->common);
		finish_draft(parser, draft);
	}
}

static void check_capacity(struct parser *parser)
{
	size_t rows = parser->draft_count;
	size_t room = parser->config.endpoints;

	if (rows <= room)
		return;
	if (rows > CONFIG_ENDPOINTS_MAX)
		config_report(&parser->report, parser->drafts[CONFIG_ENDPOINTS_MAX].rule.line,
			      "[%s %s] is one too many: endpoints in [weir] is at most %d "
			      "([default] takes a row too); use patterns, or let names fall under "
			      "[default]",
			      config_section(&parser->drafts[CONFIG_ENDPOINTS_MAX]),
			      parser->drafts[CONFIG_ENDPOINTS_MAX].label, CONFIG_ENDPOINTS_MAX);
	else
		config_report(&parser->report, parser->drafts[room].rule.line,
			      "[%s %s] is one too many: raise endpoints in [weir] from %zu "
			      "to %zu or more ([default] takes a row too)",
			      config_section(&parser->drafts[room]), parser->drafts[room].label,
			      room, rows);
}

/* All tables together are bounded as each is. */
static void check_keys(struct parser *parser)
{
	uint64_t keys = 0;

	for (size_t i = 0; i < parser->draft_count; i++) {
		const struct config_draft *draft = &parser->drafts[i];

		keys += draft->rule.keys;
		if (keys <= LAYOUT_MAX_KEYS)
			continue;
		config_report(&parser->report, draft->rule.line,
			      "[%s %s]: with this one there are %llu keys; at most %u together",
			      config_section(draft), draft->label, (unsigned long long)keys,
			      (unsigned)LAYOUT_MAX_KEYS);
		return;
	}
}

void config_tables(const struct config *config, uint32_t *tables, uint64_t *bins)
{
	*tables = 0;
	*bins = 0;
	for (size_t i = 0; i < config->rule_count; i++) {
		if (config->rules[i].kind != ROW_EACH)
			continue;
		++*tables;
		*bins += keyed_bins(config->rules[i].keys);
	}
}

/* Permits come in whole blocks. */
static void check_permits(struct parser *parser)
{
	uint64_t room = layout_blocks(parser->config.permits + LAYOUT_BLOCK_PERMITS - 1);
	uint64_t blocks = 0;

	for (size_t i = 1; i < parser->draft_count; i++) {
		const struct config_draft *draft = &parser->drafts[i];

		if (draft->rule.terms.concurrency == TERMS_NO_LIMIT || draft->terms_faulty)
			continue;
		blocks += permit_blocks_for(permits_most(&draft->rule.terms));
		if (blocks <= room)
			continue;
		config_report(&parser->report, draft->concurrency_line,
			      "[endpoint %s]: more permits than there is room for: raise permits "
			      "in [weir] from %u to %llu or more",
			      draft->label, parser->config.permits,
			      (unsigned long long)blocks * LAYOUT_BLOCK_PERMITS);
		return;
	}
}

static int parse(struct parser *parser)
{
	int error;

	if (!add_draft(parser, 0))
		return -ENOMEM;
	/* what it returns counts lines that are no setting; none of those reaches it */
	ini_parse_stream(hand_on, parser, take_setting, parser);
	if (parser->error)
		return parser->error;
	finish_drafts(parser);
	check_capacity(parser);
	check_permits(parser);
	check_keys(parser);
	error = config_overlap_check(&parser->report, parser->drafts + 1, parser->draft_count - 1);
	if (error)
		return error;
	return parser->report.faults->count > 0 ? WEIR_ECONFIG : 0;
}

static int take_rules(struct config *config, const struct parser *parser)
{
	config->rules = calloc(parser->draft_count, sizeof(*config->rules));
	if (!config->rules)
		return -ENOMEM;
	config->rule_count = parser->draft_count;
	for (size_t i = 0; i < parser->draft_count; i++)
		config->rules[i] = parser->drafts[i].rule;
	return 0;
}

int config_parse(struct config *out, const char *text, size_t bytes, const char *file,
		 struct config_faults *faults)
{
	struct config_faults unheard = {0};
	struct parser parser = {
		.report = {.file = file, .faults = faults ? faults : &unheard},
		.config =
			{
				.log = CONFIG_LOG_INFO,
				.endpoints = 1024,
				.names = 1024,
				.members = 256,
				.permits = 1024,
				.waiters = 1024,
			},
	};
	int error;

	begin_faults(parser.report.faults);
	config_reader_begin(&parser.reader, text ? text : "", bytes);
	error = parse(&parser);
	if (!error)
		error = take_rules(&parser.config, &parser);
	free(parser.drafts);
	if (!error)
		*out = parser.config;
	return error;
}

/* Reads to the end. Returns the number of bytes, or a negative errno. */
static ssize_t read_whole(int fd, char *text, size_t room)
{
	size_t used = 0;

	while (used < room) {
		ssize_t got = read(fd, text + used, room - used);

		if (got == 0)
			return (ssize_t)used;
		if (got < 0 && errno != EINTR)
			return -errno;
		if (got > 0)
			used += (size_t)got;
	}
	return -EFBIG;
}

int config_read(struct config *out, const char *path, struct config_faults *faults)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text;
	ssize_t bytes;
	int error;

	if (faults)
		begin_faults(faults);
	if (fd < 0)
		return -errno;
	text = malloc(FILE_MAX_BYTES + 1); /* pages that are not read into cost nothing */
	bytes = text ? read_whole(fd, text, FILE_MAX_BYTES + 1) : -ENOMEM;
	close(fd);
	error = bytes < 0 ? (int)bytes : config_parse(out, text, (size_t)bytes, path, faults);
	free(text);
	return error;
}

void config_free(struct config *config)
{
	free(config->rules);
	config->rules = NULL;
	config->rule_count = 0;
}
