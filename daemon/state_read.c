/* SPDX-License-Identifier: Apache-2.0 */
#include "state.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "adapt.h"
#include "class.h"
#include "config.h"
#include "fold.h"
#include "names.h"
#include "state_words.h"
#include "value.h"
#include "weir.h"

#define TIME_MAX_NS ((line_wide)INT64_MAX) /* the year 2262 */
#define USED_MAX_MICRO ((line_wide)LINE_FAR * TERMS_MICRO)

/* ---- faults and lines ---- */

/* What is wrong, for people, and the code. */
struct fault {
	char *text;
	int code;
};

static int fail(struct fault *fault, int code, unsigned line, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static int fail(struct fault *fault, int code, unsigned line, const char *format, ...)
{
	va_list arguments;
	int used = line ? snprintf(fault->text, STATE_FAULT_BYTES, "line %u: ", line) : 0;

	va_start(arguments, format);
	vsnprintf(fault->text + used, (size_t)(STATE_FAULT_BYTES - used), format, arguments);
	va_end(arguments);
	fault->code = code;
	return code;
}

/* The next line without its newline; false at the end, or with a fault. */
static bool next_line(struct state_reader *reader, char out[STATE_LINE_BYTES], struct fault *fault)
{
	const char *from = reader->text + reader->at;
	size_t left = reader->bytes - reader->at;
	const char *end = memchr(from, '\n', left < STATE_LINE_BYTES ? left : STATE_LINE_BYTES);

	if (left == 0)
		return false;
	reader->line++;
	if (!end) {
		fail(fault, WEIR_EDAMAGED, reader->line, "a line of at most %d bytes is expected",
		     STATE_LINE_BYTES - 1);
		return false;
	}
	for (const char *at = from; at < end; at++)
		if ((unsigned char)*at < ' ' || *at == 0x7f) {
			fail(fault, WEIR_EDAMAGED, reader->line, "a control character");
			return false;
		}
	memcpy(out, from, (size_t)(end - from));
	out[end - from] = '\0';
	reader->at += (size_t)(end - from) + 1;
	return true;
}

/* A line that is no comment. */
static bool next_entry(struct state_reader *reader, char out[STATE_LINE_BYTES], struct fault *fault)
{
	do
		if (!next_line(reader, out, fault))
			return false;
	while (out[0] == '#');
	return true;
}

/* ---- the head and the last line ---- */

/* The value of a line "WORD VALUE"; NULL and a fault if it is none. */
static const char *head_value(struct state_reader *reader, const char *word,
			      char line[STATE_LINE_BYTES], struct fault *fault)
{
	size_t length = strlen(word);
	bool found = next_entry(reader, line, fault);

	if (found && !strncmp(line, word, length) && line[length] == ' ')
		return line + length + 1;
	if (!fault->code)
		fail(fault, WEIR_EDAMAGED, reader->line, "'%s' is expected", word);
	return NULL;
}

static bool read_hex(const char *text, uint64_t out[2])
{
	uint64_t words[2] = {0, 0};

	for (int i = 0; i < 32; i++) {
		const char *digits = "0123456789abcdef";
		const char *digit = text[i] ? strchr(digits, text[i]) : NULL;

		if (!digit)
			return false;
		words[i / 16] = words[i / 16] << 4 | (uint64_t)(digit - digits);
	}
	memcpy(out, words, sizeof(words));
	return true;
}

static bool read_seconds(const char *text, uint64_t *ns)
{
	line_wide value;

	if (!state_decimal_read(text, 9, "", TIME_MAX_NS, &value))
		return false;
	*ns = (uint64_t)value;
	return true;
}

/* Of a later version nothing but its number can be understood. */
static int read_version(struct state_reader *reader, struct fault *fault)
{
	char line[STATE_LINE_BYTES];
	const char *value;
	line_wide version;

	if (!reader->bytes)
		return fail(fault, WEIR_EDAMAGED, 0, "it is empty");
	value = head_value(reader, "weir-state", line, fault);
	if (!value || !state_decimal_read(value, 0, "", UINT32_MAX, &version) || version == 0)
		return fail(fault, WEIR_EDAMAGED, 1, "'weir-state %u' is expected", STATE_VERSION);
	if (version > STATE_VERSION)
		return fail(fault, WEIR_ENEWER, 1,
			    "version %u, of a later weird; this one reads %u", (unsigned)version,
			    STATE_VERSION);
	return 0;
}

static int read_stamp(struct state_reader *reader, struct state_stamp *out, struct fault *fault)
{
	char line[STATE_LINE_BYTES];
	const char *value = head_value(reader, "instance", line, fault);

	if (!value)
		return fault->code;
	if (!value[0] || strlen(value) >= sizeof(out->instance))
		return fail(fault, WEIR_EDAMAGED, reader->line, "no name of an instance");
	strcpy(out->instance, value);
	value = head_value(reader, "saved", line, fault);
	if (!value)
		return fault->code;
	if (!read_seconds(value, &out->saved_ns))
		return fail(fault, WEIR_EDAMAGED, reader->line, "no time in seconds since 1970");
	value = head_value(reader, "boot", line, fault);
	if (!value)
		return fault->code;
	if (!read_hex(value, out->boot) || value[32] != ' ' ||
	    !read_seconds(value + 33, &out->boottime_ns))
		return fail(fault, WEIR_EDAMAGED, reader->line,
			    "no boot: 32 hexadecimal digits and seconds");
	return 0;
}

/* Cuts the last line off and holds the others against it. */
static int check_end(struct state_reader *reader, struct fault *fault)
{
	size_t at = reader->bytes;
	char expected[64];
	int length;

	if (at == 0 || reader->text[at - 1] != '\n')
		return fail(fault, WEIR_EDAMAGED, 0, "it ends in the middle of a line");
	for (at--; at > 0 && reader->text[at - 1] != '\n';)
		at--;
	length = snprintf(expected, sizeof(expected), "end %u %zu\n", state_cksum(reader->text, at),
			  at);
	if (strncmp(reader->text + at, "end ", reader->bytes - at < 4 ? reader->bytes - at : 4) !=
	    0)
		return fail(fault, WEIR_EDAMAGED, 0, "it has no last line: it was cut");
	if (reader->bytes - at != (size_t)length ||
	    memcmp(reader->text + at, expected, (size_t)length) != 0)
		return fail(fault, WEIR_EDAMAGED, 0, "its checksum is wrong");
	reader->bytes = at;
	return 0;
}

/* ---- records ---- */

enum field {
	FIELD_RATE = 1u << 0,
	FIELD_BURST = 1u << 1,
	FIELD_USED = 1u << 2,
	FIELD_CLOSED = 1u << 3,
	FIELD_INITIAL = 1u << 4,
	FIELD_MAX_WAIT = 1u << 5,
	FIELD_UID = 1u << 6,
	FIELD_NAME = 1u << 7,
	FIELD_WINDOW = 1u << 8,
	FIELD_RENEWS = 1u << 9,
	FIELD_SHADOW = 1u << 10,
	FIELD_SHADOW_RATE = 1u << 11,
	FIELD_SHADOW_BURST = 1u << 12,
	FIELD_CLASSES = 1u << 13,
	FIELD_CONCURRENCY = 1u << 14,
	FIELD_MAX_HOLD = 1u << 15,
	FIELD_ADAPTIVE = 1u << 16,
	FIELD_MIN_RATE = 1u << 17,
	FIELD_SAFETY = 1u << 18,
	FIELD_MAX_CLOSE = 1u << 19,
	FIELD_RESPONSES = 1u << 20,
	FIELD_UNTIL = 1u << 21,
	FIELD_FROM = 1u << 22,
	FIELD_LIMIT = 1u << 23,
	FIELD_REMAINING = 1u << 24,
	FIELD_CAUSE = 1u << 25,
	FIELD_KEYS = 1u << 26,
	FIELD_FOLD = 1u << 27,
};

static const char *const field_words[] = {
	"rate",		"burst",      "used",	     "closed",	 "initial",   "max_wait",
	"uid",		"name",	      "window",	     "renews",	 "shadow",    "shadow_rate",
	"shadow_burst", "classes",    "concurrency", "max_hold", "?adaptive", "?min_rate",
	"?safety",	"?max_close", "?responses",  "until",	 "from",      "limit",
	"remaining",	"cause",      "?keys",	     "?fold",
};

static const unsigned field_needed[] = {
	[STATE_ENDPOINT] = FIELD_RATE | FIELD_BURST | FIELD_USED | FIELD_NAME,
	[STATE_NAME] = FIELD_RATE | FIELD_BURST | FIELD_USED | FIELD_NAME,
	[STATE_REST] = FIELD_RATE | FIELD_BURST | FIELD_USED,
	[STATE_OPERATOR] = FIELD_RATE | FIELD_BURST | FIELD_INITIAL | FIELD_UID | FIELD_NAME,
	[STATE_LEARNED] = FIELD_RATE | FIELD_BURST | FIELD_UNTIL | FIELD_CAUSE | FIELD_NAME,
	[STATE_FROZEN] = FIELD_RATE | FIELD_BURST | FIELD_NAME,
	[STATE_FOUND] = FIELD_RATE | FIELD_BURST | FIELD_CONCURRENCY | FIELD_NAME,
};

static const unsigned field_allowed[] = {
	[STATE_ENDPOINT] = FIELD_CLOSED | FIELD_WINDOW | FIELD_RENEWS,
	[STATE_NAME] = FIELD_CLOSED | FIELD_WINDOW | FIELD_RENEWS,
	[STATE_REST] = FIELD_CLOSED | FIELD_WINDOW | FIELD_RENEWS,
	[STATE_OPERATOR] = FIELD_MAX_WAIT | FIELD_WINDOW | FIELD_SHADOW | FIELD_SHADOW_RATE |
			   FIELD_SHADOW_BURST | FIELD_CLASSES | FIELD_CONCURRENCY | FIELD_MAX_HOLD |
			   FIELD_ADAPTIVE | FIELD_MIN_RATE | FIELD_SAFETY | FIELD_MAX_CLOSE |
			   FIELD_RESPONSES | FIELD_KEYS | FIELD_FOLD,
	[STATE_LEARNED] = FIELD_FROM | FIELD_LIMIT | FIELD_REMAINING,
	[STATE_FROZEN] = 0,
	[STATE_FOUND] = 0,
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int find_word(const char *const *words, size_t count, const char *word, size_t bytes)
{
	for (size_t i = 0; i < count; i++)
		if (strlen(words[i]) == bytes && !memcmp(words[i], word, bytes))
			return (int)i;
	return -1;
}

static bool take_closed(const char *value, uint64_t *closed_ns)
{
	line_wide ns;

	if (strcmp(value, "forever") == 0) {
		*closed_ns = STATE_FOREVER;
		return true;
	}
	if (!state_decimal_read(value, 9, "s", TIME_MAX_NS, &ns) || ns == 0)
		return false;
	*closed_ns = (uint64_t)ns;
	return true;
}

/* As it is in weir.ini; false: it is too long. */
static bool blanks_for_commas(const char *value, char *out, size_t room)
{
	if (strlen(value) >= room)
		return false;
	strcpy(out, value);
	for (; *out; out++)
		if (*out == ',')
			*out = ' ';
	return true;
}

static bool take_window(struct window_terms *window, const char *value)
{
	char text[VALUE_TEXT_BYTES];

	return blanks_for_commas(value, text, sizeof(text)) && !value_window(text, window);
}

static bool take_fold(uint64_t *fold, const char *value)
{
	char text[FOLD_RULE_BYTES];

	return blanks_for_commas(value, text, sizeof(text)) && !fold_read(text, fold);
}

static bool take_concurrency(struct terms *terms, const char *value)
{
	char text[VALUE_TEXT_BYTES];

	return blanks_for_commas(value, text, sizeof(text)) &&
	       !config_set_term(terms, "concurrency", text);
}

/* One of add_classes(). */
static bool take_class(struct terms *terms, const char *word, size_t bytes)
{
	const char *colon = memchr(word, ':', bytes);
	char key[64], leave[64];

	if (!colon || bytes >= sizeof(key) - sizeof(CONFIG_CLASS))
		return false;
	snprintf(key, sizeof(key), "%s %.*s", CONFIG_CLASS, (int)(colon - word), word);
	snprintf(leave, sizeof(leave), "%s %.*s", CLASS_LEAVE, (int)(word + bytes - colon - 1),
		 colon + 1);
	return !config_set_term(terms, key, leave);
}

static bool take_classes(struct terms *terms, const char *value)
{
	for (;; value++) {
		size_t bytes = strcspn(value, ",");

		if (!take_class(terms, value, bytes))
			return false;
		value += bytes;
		if (!*value)
			return true;
	}
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What add_responses() wrote, as long as it is no longer than it can be. */
static bool decode(const char *value, char out[LAYOUT_ADAPT_BYTES])
{
	size_t used = 0;

	for (; *value && used < LAYOUT_ADAPT_BYTES - 1; value++, used++) {
		out[used] = *value;
		if (*value != '%')
			continue;
		int high = hex_digit(value[1]), low = high < 0 ? -1 : hex_digit(value[2]);

		if (low < 0 || (high == 0 && low == 0))
			return false;
		out[used] = (char)(high << 4 | low);
		value += 2;
	}
	out[used] = '\0';
	return *value == '\0';
}

static bool take_responses(struct terms *terms, const char *value)
{
	char text[LAYOUT_ADAPT_BYTES];
	const char *at = text;
	struct adapt_line line;

	if (!decode(value, text))
		return false;
	while (adapt_next(&at, &line))
		if (config_set_term(terms, line.key, line.value))
			return false;
	return *at == '\0';
}

static bool take_until(const char *value, uint64_t *until_ns)
{
	if (strcmp(value, "forever") == 0) {
		*until_ns = UINT64_MAX;
		return true;
	}
	return read_seconds(value, until_ns);
}

static bool take_micro(const char *value, uint64_t *micro)
{
	line_wide number;

	if (!state_decimal_read(value, 6, "", VALUE_TOKENS_MAX_MICRO, &number))
		return false;
	*micro = (uint64_t)number;
	return true;
}

static bool take_cause(const char *value, uint64_t *cause)
{
	line_wide number;

	if (!state_decimal_read(value, 0, "", LEARNED_FROZEN | LEARNED_DISTRUSTS | 0xffff, &number))
		return false;
	*cause = (uint64_t)number;
	return true;
}

static bool take_name(struct state_record *record, const char *value)
{
	if (!names_valid(value))
		return false;
	strcpy(record->text, value);
	return true;
}

/* One value into the record; false if it is none of its kind. Many are called as in weir.ini. */
static bool take_field(struct state_record *record, enum field field, const char *word,
		       const char *value)
{
	line_wide number;

	switch (field) {
	case FIELD_RATE:
	case FIELD_BURST:
	case FIELD_INITIAL:
	case FIELD_MAX_WAIT:
	case FIELD_SHADOW:
	case FIELD_SHADOW_RATE:
	case FIELD_SHADOW_BURST:
	case FIELD_MAX_HOLD:
		return !config_set_term(&record->terms, word, value);
	case FIELD_CONCURRENCY:
		return take_concurrency(&record->terms, value);
	case FIELD_CLASSES:
		return take_classes(&record->terms, value);
	case FIELD_USED:
		return state_decimal_read(value, 6, "", USED_MAX_MICRO, &record->used_micro);
	case FIELD_CLOSED:
		return take_closed(value, &record->closed_ns);
	case FIELD_UID:
		if (!state_decimal_read(value, 0, "", UINT32_MAX, &number))
			return false;
		record->uid = (uint64_t)number;
		return true;
	case FIELD_NAME:
		return take_name(record, value);
	case FIELD_WINDOW:
		return take_window(&record->terms.window, value);
	case FIELD_RENEWS:
		return read_seconds(value, &record->renews_ns);
	case FIELD_ADAPTIVE:
	case FIELD_MIN_RATE:
	case FIELD_SAFETY:
	case FIELD_MAX_CLOSE:
		return !config_set_term(&record->terms, word + 1, value);
	case FIELD_RESPONSES:
		return take_responses(&record->terms, value);
	case FIELD_UNTIL:
		return take_until(value, &record->learned.until_ns);
	case FIELD_FROM:
		return read_seconds(value, &record->learned.from_ns);
	case FIELD_LIMIT:
		return take_micro(value, &record->learned.limit_micro);
	case FIELD_REMAINING:
		return take_micro(value, &record->learned.remaining_micro);
	case FIELD_CAUSE:
		return take_cause(value, &record->learned.cause);
	case FIELD_KEYS:
		return !value_count(value, 1, LAYOUT_MAX_KEYS, &record->keys);
	case FIELD_FOLD:
		return take_fold(&record->fold, value);
	}
	return false;
}

/* One "KEY=VALUE"; *seen gathers which there were. */
static int read_field(struct state_record *record, char *word, unsigned line, unsigned *seen,
		      struct fault *fault)
{
	char *equals = strchr(word, '=');
	unsigned known = field_needed[record->kind] | field_allowed[record->kind];
	int index;

	if (!equals)
		return fail(fault, WEIR_EDAMAGED, line, "'%.40s': KEY=VALUE is expected", word);
	*equals = '\0';
	index = find_word(field_words, COUNT(field_words), word, strlen(word));
	if (word[0] == '?' && (index < 0 || !(known & 1u << index)))
		return 0;
	if (index < 0 || !(known & 1u << index))
		return fail(fault, WEIR_ENEWER, line,
			    "a field '%.40s', which this weird does not know", word);
	if (*seen & 1u << index)
		return fail(fault, WEIR_EDAMAGED, line, "%s is there twice", word);
	*seen |= 1u << index;
	if (!take_field(record, (enum field)(1u << index), word, equals + 1))
		return fail(fault, WEIR_EDAMAGED, line, "%s=%.60s cannot be read", word,
			    equals + 1);
	return 0;
}

/* The fields behind the first word. `name=` takes all that is left. */
static int read_fields(struct state_record *record, char *rest, unsigned line, struct fault *fault)
{
	unsigned seen = 0;
	unsigned needed = field_needed[record->kind];

	while (rest) {
		char *word = rest;
		bool last = strncmp(word, "name=", 5) == 0;

		rest = last ? NULL : strchr(word, ' ');
		if (rest)
			*rest++ = '\0';
		if (read_field(record, word, line, &seen, fault) < 0)
			return fault->code;
	}
	for (size_t i = 0; i < COUNT(field_words); i++)
		if (needed & ~seen & 1u << i)
			return fail(fault, WEIR_EDAMAGED, line, "%s= is missing", field_words[i]);
	if (record->kind == STATE_LEARNED &&
	    (record->terms.rate_micro == 0 || record->terms.rate_micro == TERMS_UNLIMITED))
		return fail(fault, WEIR_EDAMAGED, line, "no rate that could have been learned");
	if (record->kind == STATE_FOUND &&
	    (record->terms.concurrency <= 1 || record->terms.concurrency_max))
		return fail(fault, WEIR_EDAMAGED, line,
			    "no concurrency that could have been found");
	if (record->kind != STATE_OPERATOR)
		return 0;

	const char *why = config_finish_terms(&record->terms, true, true);

	if (!why && record->keys)
		why = config_check_each(record->text, &record->terms);
	return why ? fail(fault, WEIR_EDAMAGED, line, "%s", why) : 0;
}

/* Returns 1 and a record, 0 at the end, or a code. */
static int read_record(struct state_reader *reader, struct state_record *out, struct fault *fault)
{
	char line[STATE_LINE_BYTES];

	for (;;) {
		if (!next_entry(reader, line, fault))
			return fault->code;

		size_t bytes = strcspn(line, " ");
		int kind = find_word(state_kind_words, COUNT(state_kind_words), line, bytes);
		struct state_record record = {
			.kind = (enum state_kind)kind,
			.learned = {.limit_micro = UINT64_MAX, .remaining_micro = UINT64_MAX},
		};

		if (line[0] == '?' && kind < 0)
			continue;
		if (!bytes)
			return fail(fault, WEIR_EDAMAGED, reader->line, "a record is expected");
		if (kind < 0)
			return fail(fault, WEIR_ENEWER, reader->line,
				    "'%.*s', which this weird does not know",
				    bytes < 40 ? (int)bytes : 40, line);
		if (read_fields(&record, line[bytes] ? line + bytes + 1 : NULL, reader->line,
				fault) < 0)
			return fault->code;
		*out = record;
		return 1;
	}
}

int state_open(struct state_reader *out, struct state_stamp *stamp, const char *text, size_t bytes,
	       char fault_text[STATE_FAULT_BYTES])
{
	struct fault fault = {fault_text, 0};
	struct state_reader reader = {.text = text, .bytes = bytes};
	struct state_stamp found;
	struct state_record record;
	struct state_reader begin;
	int more = 1;

	if (bytes > STATE_MAX_BYTES)
		return fail(&fault, WEIR_EDAMAGED, 0, "it is longer than any weird writes");
	if (read_version(&reader, &fault) < 0 || check_end(&reader, &fault) < 0 ||
	    read_stamp(&reader, &found, &fault) < 0)
		return fault.code;
	begin = reader;
	while (more > 0)
		more = read_record(&reader, &record, &fault);
	if (more < 0)
		return more;
	*stamp = found;
	*out = begin;
	return 0;
}

bool state_next(struct state_reader *reader, struct state_record *out)
{
	char text[STATE_FAULT_BYTES];
	struct fault fault = {text, 0};

	return read_record(reader, out, &fault) > 0;
}
