/* SPDX-License-Identifier: Apache-2.0 */
#include "state.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "adapt.h"
#include "align.h"
#include "class.h"
#include "config.h"
#include "names.h"
#include "value.h"
#include "weir.h"
#include "window.h"

#define NS_PER_S 1000000000ull
#define WIDE_MAX (~(line_wide)0)
#define TIME_MAX_NS ((line_wide)INT64_MAX) /* the year 2262 */
#define USED_MAX_MICRO ((line_wide)LINE_FAR * TERMS_MICRO)
#define DECIMAL_BYTES 48

/* ---- checksum ---- */

/* CRC of POSIX cksum: polynomial 0x04c11db7, the highest bit first, then the length's bytes. */
static uint32_t crc_byte(uint32_t crc, unsigned char byte)
{
	static const uint32_t nibbles[16] = {
		0x00000000, 0x04c11db7, 0x09823b6e, 0x0d4326d9, 0x130476dc, 0x17c56b6b,
		0x1a864db2, 0x1e475005, 0x2608edb8, 0x22c9f00f, 0x2f8ad6d6, 0x2b4bcb61,
		0x350c9b64, 0x31cd86d3, 0x3c8ea00a, 0x384fbdbd,
	};

	crc ^= (uint32_t)byte << 24;
	crc = crc << 4 ^ nibbles[crc >> 28];
	return crc << 4 ^ nibbles[crc >> 28];
}

uint32_t state_cksum(const char *text, size_t bytes)
{
	uint32_t crc = 0;

	for (size_t i = 0; i < bytes; i++)
		crc = crc_byte(crc, (unsigned char)text[i]);
	for (size_t rest = bytes; rest; rest >>= 8)
		crc = crc_byte(crc, (unsigned char)rest);
	return ~crc;
}

/* ---- decimals ---- */

/* value / 10^digits, without the zeros at its end. */
static char *decimal_text(line_wide value, unsigned digits, char out[DECIMAL_BYTES])
{
	char *at = out + DECIMAL_BYTES - 1;
	bool any = false;

	*at = '\0';
	for (unsigned i = 0; i < digits; i++, value /= 10) {
		any = any || value % 10;
		if (any)
			*--at = (char)('0' + (int)(value % 10));
	}
	if (any)
		*--at = '.';
	do
		*--at = (char)('0' + (int)(value % 10));
	while (value /= 10);
	return memmove(out, at, (size_t)(out + DECIMAL_BYTES - at));
}

/*
 * DIGITS[.DIGITS], with at most `digits` of the latter, and then `suffix`; times 10^digits, and at
 * most `max`, which is below 2^124.
 */
static bool decimal_read(const char *text, unsigned digits, const char *suffix, line_wide max,
			 line_wide *out)
{
	line_wide value = 0;
	unsigned seen = 0, decimals = 0;
	bool point = false;

	for (; (*text >= '0' && *text <= '9') || (*text == '.' && !point && seen); text++) {
		if (*text == '.') {
			point = true;
			continue;
		}
		value = value * 10 + (unsigned)(*text - '0');
		decimals += point;
		seen++;
		if (value > max || decimals > digits)
			return false;
	}
	if (!seen || (point && !decimals) || strcmp(text, suffix) != 0)
		return false;
	for (; decimals < digits; decimals++)
		if ((value *= 10) > max)
			return false;
	*out = value;
	return true;
}

/* ---- writing ---- */

static const char *const kind_words[] = {
	[STATE_ENDPOINT] = "endpoint", [STATE_NAME] = "name",	     [STATE_REST] = "rest",
	[STATE_OPERATOR] = "operator", [STATE_LEARNED] = "?learned",
};

static bool make_room(struct state_text *out, size_t more)
{
	size_t room = out->room ? out->room : 4096;
	char *grown;

	if (out->error || more > STATE_MAX_BYTES - out->used) {
		out->error = out->error ? out->error : -EFBIG;
		return false;
	}
	while (room - out->used < more)
		room *= 2;
	if (room == out->room)
		return true;
	grown = realloc(out->text, room);
	if (!grown) {
		out->error = -ENOMEM;
		return false;
	}
	out->text = grown;
	out->room = room;
	return true;
}

static void add(struct state_text *out, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void add(struct state_text *out, const char *format, ...)
{
	va_list arguments;

	if (!make_room(out, STATE_LINE_BYTES))
		return;
	va_start(arguments, format);
	out->used += (size_t)vsnprintf(out->text + out->used, STATE_LINE_BYTES, format, arguments);
	va_end(arguments);
}

void state_begin(struct state_text *out, const struct state_stamp *stamp)
{
	time_t seconds = (time_t)(stamp->saved_ns / NS_PER_S);
	char saved[DECIMAL_BYTES], boottime[DECIMAL_BYTES], date[40];
	struct tm parts;

	*out = (struct state_text){0};
	gmtime_r(&seconds, &parts);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", &parts);
	add(out, "weir-state %u\n", STATE_VERSION);
	add(out, "# The levels of a weir instance at %s; see weird(8). used: tokens taken and\n",
	    date);
	add(out, "# not yet refilled. The last line is what sed '$d' FILE | cksum says.\n");
	add(out, "instance %s\n", stamp->instance);
	add(out, "saved %s\n", decimal_text(stamp->saved_ns, 9, saved));
	add(out, "boot %016llx%016llx %s\n", (unsigned long long)stamp->boot[0],
	    (unsigned long long)stamp->boot[1], decimal_text(stamp->boottime_ns, 9, boottime));
}

/* NAME:5 or NAME:20%, with commas between them: as in weir.ini, but without its blanks. */
static void add_classes(struct state_text *out, const struct terms *terms)
{
	char name[CLASS_TEXT_BYTES], leave[VALUE_TEXT_BYTES];

	for (unsigned i = 0; i < LAYOUT_CLASSES && terms->classes[i].name; i++) {
		class_leave_text(terms->classes[i].leave, leave);

		const char *number = leave + strlen(CLASS_LEAVE) + 1;
		int length = (int)strcspn(number, " ");

		add(out, "%s%s:%.*s%s",
		    i ? "," : " classes=", class_text(terms->classes[i].name, name), length, number,
		    number[length] ? "%" : "");
	}
}

static void add_shadows(struct state_text *out, const struct terms *terms)
{
	const struct shadow_terms *beside = &terms->beside;
	char rate[VALUE_TEXT_BYTES], burst[VALUE_TEXT_BYTES];

	if (terms->shadow)
		add(out, " shadow=yes");
	if (beside->period_ns)
		add(out, " shadow_rate=%s shadow_burst=%s",
		    value_rate_text(beside->rate_micro, beside->period_ns, rate),
		    value_tokens_text(beside->burst_micro, burst));
}

/* The lines KEY VALUE, without their blanks and ends: they are written %XX. */
static void add_responses(struct state_text *out, const char *text)
{
	add(out, " ?responses=");
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c <= ' ' || c == '%' || c >= 0x7f)
			add(out, "%%%02x", c);
		else
			add(out, "%c", c);
	}
}

/* How an upstream is followed; an earlier weird passes over it. */
static void add_adapt(struct state_text *out, const struct adapt_terms *adapt)
{
	char text[VALUE_TEXT_BYTES];

	if (adapt->mode != ADAPT_OFF)
		add(out, " ?adaptive=%s", adapt_mode_text(adapt->mode));
	if (adapt->min_period_ns)
		add(out, " ?min_rate=%s",
		    value_rate_text(adapt->min_rate_micro, adapt->min_period_ns, text));
	if (adapt->safety_micro)
		add(out, " ?safety=%s", value_tokens_text(adapt->safety_micro, text));
	if (adapt->max_close_ns)
		add(out, " ?max_close=%s", value_duration_text(adapt->max_close_ns, text));
	if (adapt->text[0])
		add_responses(out, adapt->text);
}

static void add_rule(struct state_text *out, const struct state_record *record)
{
	char initial[VALUE_TEXT_BYTES], max_wait[VALUE_TEXT_BYTES];

	add(out, " initial=%s", value_tokens_text(record->terms.initial_micro, initial));
	if (record->terms.max_wait_ns)
		add(out, " max_wait=%s", value_duration_text(record->terms.max_wait_ns, max_wait));
	if (record->terms.concurrency)
		add(out, " concurrency=%llu", (unsigned long long)record->terms.concurrency - 1);
	if (record->terms.max_hold_ns)
		add(out, " max_hold=%s", value_duration_text(record->terms.max_hold_ns, max_wait));
	add_shadows(out, &record->terms);
	add_classes(out, &record->terms);
	add_adapt(out, &record->terms.adapt);
	add(out, " uid=%llu", (unsigned long long)record->uid);
}

static void add_level(struct state_text *out, const struct state_record *record)
{
	char number[DECIMAL_BYTES];

	add(out, " used=%s", decimal_text(record->used_micro, 6, number));
	if (record->closed_ns > INT64_MAX)
		add(out, " closed=forever");
	else if (record->closed_ns)
		add(out, " closed=%ss", decimal_text(record->closed_ns, 9, number));
	if (record->renews_ns)
		add(out, " renews=%s", decimal_text(record->renews_ns, 9, number));
}

static void add_learned(struct state_text *out, const struct learned_terms *learned)
{
	char number[DECIMAL_BYTES];

	if (learned->until_ns > INT64_MAX)
		add(out, " until=forever");
	else
		add(out, " until=%s", decimal_text(learned->until_ns, 9, number));
	if (learned->from_ns)
		add(out, " from=%s", decimal_text(learned->from_ns, 9, number));
	if (learned->limit_micro <= VALUE_TOKENS_MAX_MICRO)
		add(out, " limit=%s", decimal_text(learned->limit_micro, 6, number));
	if (learned->remaining_micro <= VALUE_TOKENS_MAX_MICRO)
		add(out, " remaining=%s", decimal_text(learned->remaining_micro, 6, number));
	add(out, " cause=%llu", (unsigned long long)learned->cause);
}

/* As in weir.ini, but that a blank would be the end of the field. */
static const char *window_text(const struct window_terms *window, char out[VALUE_TEXT_BYTES])
{
	value_window_text(window, out);
	for (char *at = out; *at; at++)
		if (*at == ' ')
			*at = ',';
	return out;
}

static const char *terms_text(struct state_text *out, const struct terms *terms)
{
	char rate[VALUE_TEXT_BYTES], burst[VALUE_TEXT_BYTES], window[VALUE_TEXT_BYTES];
	bool has_window = terms->window.kind != WINDOW_NONE;

	if (out->terms_text[0] && out->terms.rate_micro == terms->rate_micro &&
	    out->terms.period_ns == terms->period_ns &&
	    out->terms.burst_micro == terms->burst_micro &&
	    window_terms_equal(&out->terms.window, &terms->window))
		return out->terms_text;
	out->terms = *terms;
	snprintf(out->terms_text, sizeof(out->terms_text), "rate=%s burst=%s%s%s",
		 value_rate_text(terms->rate_micro, terms->period_ns, rate),
		 value_tokens_text(terms->burst_micro, burst), has_window ? " window=" : "",
		 has_window ? window_text(&terms->window, window) : "");
	return out->terms_text;
}

void state_add(struct state_text *out, const struct state_record *record)
{
	add(out, "%s %s", kind_words[record->kind], terms_text(out, &record->terms));
	if (record->kind == STATE_OPERATOR)
		add_rule(out, record);
	else if (record->kind == STATE_LEARNED)
		add_learned(out, &record->learned);
	else
		add_level(out, record);
	if (record->kind != STATE_REST)
		add(out, " name=%s", record->text);
	add(out, "\n");
}

int state_finish(struct state_text *out)
{
	size_t used = out->used;

	if (!out->error)
		add(out, "end %u %zu\n", state_cksum(out->text, used), used);
	if (out->error) {
		free(out->text);
		out->text = NULL;
	}
	return out->error;
}

/* ---- reading: faults and lines ---- */

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

/* ---- reading: the head and the last line ---- */

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

	if (!decimal_read(text, 9, "", TIME_MAX_NS, &value))
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
	if (!value || !decimal_read(value, 0, "", UINT32_MAX, &version) || version == 0)
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

/* ---- reading: records ---- */

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
};

static const char *const field_words[] = {
	"rate",		"burst",      "used",	     "closed",	 "initial",   "max_wait",
	"uid",		"name",	      "window",	     "renews",	 "shadow",    "shadow_rate",
	"shadow_burst", "classes",    "concurrency", "max_hold", "?adaptive", "?min_rate",
	"?safety",	"?max_close", "?responses",  "until",	 "from",      "limit",
	"remaining",	"cause",
};

static const unsigned field_needed[] = {
	[STATE_ENDPOINT] = FIELD_RATE | FIELD_BURST | FIELD_USED | FIELD_NAME,
	[STATE_NAME] = FIELD_RATE | FIELD_BURST | FIELD_USED | FIELD_NAME,
	[STATE_REST] = FIELD_RATE | FIELD_BURST | FIELD_USED,
	[STATE_OPERATOR] = FIELD_RATE | FIELD_BURST | FIELD_INITIAL | FIELD_UID | FIELD_NAME,
	[STATE_LEARNED] = FIELD_RATE | FIELD_BURST | FIELD_UNTIL | FIELD_CAUSE | FIELD_NAME,
};

static const unsigned field_allowed[] = {
	[STATE_ENDPOINT] = FIELD_CLOSED | FIELD_WINDOW | FIELD_RENEWS,
	[STATE_NAME] = FIELD_CLOSED | FIELD_WINDOW | FIELD_RENEWS,
	[STATE_REST] = FIELD_CLOSED | FIELD_WINDOW | FIELD_RENEWS,
	[STATE_OPERATOR] = FIELD_MAX_WAIT | FIELD_WINDOW | FIELD_SHADOW | FIELD_SHADOW_RATE |
			   FIELD_SHADOW_BURST | FIELD_CLASSES | FIELD_CONCURRENCY | FIELD_MAX_HOLD |
			   FIELD_ADAPTIVE | FIELD_MIN_RATE | FIELD_SAFETY | FIELD_MAX_CLOSE |
			   FIELD_RESPONSES,
	[STATE_LEARNED] = FIELD_FROM | FIELD_LIMIT | FIELD_REMAINING,
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
	if (!decimal_read(value, 9, "s", TIME_MAX_NS, &ns) || ns == 0)
		return false;
	*closed_ns = (uint64_t)ns;
	return true;
}

static bool take_window(struct window_terms *window, const char *value)
{
	char text[VALUE_TEXT_BYTES];

	if (strlen(value) >= sizeof(text))
		return false;
	strcpy(text, value);
	for (char *at = text; *at; at++)
		if (*at == ',')
			*at = ' ';
	return !value_window(text, window);
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

	if (!decimal_read(value, 6, "", VALUE_TOKENS_MAX_MICRO, &number))
		return false;
	*micro = (uint64_t)number;
	return true;
}

static bool take_cause(const char *value, uint64_t *cause)
{
	line_wide number;

	if (!decimal_read(value, 0, "", LEARNED_FROZEN | LEARNED_DISTRUSTS | 0xffff, &number))
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
	case FIELD_CONCURRENCY:
	case FIELD_MAX_HOLD:
		return !config_set_term(&record->terms, word, value);
	case FIELD_CLASSES:
		return take_classes(&record->terms, value);
	case FIELD_USED:
		return decimal_read(value, 6, "", USED_MAX_MICRO, &record->used_micro);
	case FIELD_CLOSED:
		return take_closed(value, &record->closed_ns);
	case FIELD_UID:
		if (!decimal_read(value, 0, "", UINT32_MAX, &number))
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
	if (record->kind != STATE_OPERATOR)
		return 0;

	const char *why = config_finish_terms(&record->terms, true, true);

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
		int kind = find_word(kind_words, COUNT(kind_words), line, bytes);
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

/* ---- time ---- */

static uint64_t later_by(uint64_t now, uint64_t then)
{
	return now > then ? now - then : 0;
}

uint64_t state_elapsed(const struct state_stamp *saved, const struct state_stamp *now)
{
	uint64_t wall = later_by(now->saved_ns, saved->saved_ns);
	uint64_t boottime = later_by(now->boottime_ns, saved->boottime_ns);
	bool known = saved->boot[0] || saved->boot[1];
	bool same = saved->boot[0] == now->boot[0] && saved->boot[1] == now->boot[1];

	return known && same && boottime < wall ? boottime : wall;
}

/* Millionths of a token that so much time mints, rounded down. */
static line_wide minted_micro(const struct terms *terms, uint64_t ns)
{
	if (terms->rate_micro == TERMS_UNLIMITED)
		return WIDE_MAX;
	/* below 2^124: a rate is at most 10^12 tokens a period, see value.h */
	return terms->period_ns ? (line_wide)terms->rate_micro * ns / terms->period_ns : 0;
}

static uint64_t less_ns(uint64_t from, uint64_t by)
{
	return from > by ? from - by : 0;
}

/* The wall clock at the end of a span, or a little before. */
static uint64_t end_of(const struct state_span *span, uint64_t before_ns)
{
	uint64_t after = less_ns(span->elapsed_ns, before_ns);

	return after < TIME_MAX_NS - span->saved_ns ? span->saved_ns + after
						    : (uint64_t)TIME_MAX_NS;
}

/* Whether a window of those terms was under way. */
static bool goes_on(const struct state_record *saved, const struct terms *terms,
		    const struct state_span *span)
{
	return saved->renews_ns > span->saved_ns &&
	       window_terms_equal(&terms->window, &saved->terms.window);
}

/* How many windows of those terms have begun since the save. */
static uint64_t windows_begun(const struct state_record *saved, const struct terms *terms,
			      const struct state_span *span)
{
	uint64_t length = terms->window.length_ns;
	uint64_t now = end_of(span, STATE_WINDOW_MARGIN_NS);

	if (!goes_on(saved, terms, span))
		return terms->window.kind == WINDOW_ALIGNED
			       ? align_count(&terms->window, span->saved_ns, now)
			       : (now - span->saved_ns) / length;
	return now >= saved->renews_ns ? (now - saved->renews_ns) / length + 1 : 0;
}

/* What those terms have brought since the save. */
static line_wide brought_micro(const struct state_record *saved, const struct terms *terms,
			       const struct state_span *span)
{
	bool exact;

	if (terms->window.kind == WINDOW_NONE || terms->rate_micro == TERMS_UNLIMITED)
		return minted_micro(terms, span->elapsed_ns);
	return (line_wide)windows_begun(saved, terms, span) * window_quota_micro(terms, &exact);
}

static line_wide credit_micro(const struct state_record *saved, const struct terms *now,
			      const struct state_span *span)
{
	line_wide before = brought_micro(saved, &saved->terms, span);
	line_wide after = brought_micro(saved, now, span);

	return before < after ? before : after;
}

/* Until the window from first use ends that is under way by present terms. */
static uint64_t renews_in(const struct state_record *saved, const struct terms *now,
			  const struct state_span *span)
{
	uint64_t at = end_of(span, 0);
	uint64_t end = saved->renews_ns;

	/* under other terms it begins anew, which is later */
	if (!goes_on(saved, now, span))
		return 0;
	end += windows_begun(saved, now, span) * now->window.length_ns;
	return end > at && end - at <= now->window.length_ns ? end - at : 0;
}

static line_wide less(line_wide from, line_wide by)
{
	return from > by ? from - by : 0;
}

/* A closure ended so long ago, and left an empty bucket; with windows, what was left of one. */
static void drain(struct state_level *level, const struct state_record *saved,
		  const struct terms *now, uint64_t since_ns)
{
	line_wide by_saved = minted_micro(&saved->terms, since_ns);
	line_wide by_now = minted_micro(now, since_ns);
	line_wide drained = less(now->burst_micro, by_saved < by_now ? by_saved : by_now);

	if (now->window.kind == WINDOW_NONE && drained > level->used_micro)
		level->used_micro = drained;
}

void state_age(struct state_level *out, const struct state_record *saved, const struct terms *now,
	       const struct state_span *span)
{
	bool was_closed = saved->closed_ns && saved->closed_ns != STATE_FOREVER;
	struct state_level level = {saved->used_micro, saved->closed_ns, 0};

	/* a larger burst would be so many tokens more; without a limit there was no level */
	if (now->burst_micro > saved->terms.burst_micro &&
	    saved->terms.rate_micro != TERMS_UNLIMITED)
		level.used_micro += now->burst_micro - saved->terms.burst_micro;
	level.used_micro = less(level.used_micro, credit_micro(saved, now, span));
	if (was_closed && saved->closed_ns > span->elapsed_ns) {
		level.closed_ns = saved->closed_ns - span->elapsed_ns;
	} else if (was_closed) {
		level.closed_ns = 0;
		drain(&level, saved, now, span->elapsed_ns - saved->closed_ns);
	}
	if (now->window.kind == WINDOW_FIRST && level.used_micro)
		level.renews_ns = renews_in(saved, now, span);
	*out = level;
}
