/* SPDX-License-Identifier: Apache-2.0
 *
 * value.c - exact decimal arithmetic on integers: a number is read as a whole part and a decimal
 * fraction, scaled, and taken only if the result is a whole count of the finest unit.
 */
#include "value.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "align.h"
#include "token_clock.h"

#define NS_PER_S 1000000000ull
#define WHOLE_MAX 1000000000000000000ull /* 10^18, as many as the fraction has digits */
#define FRACTION_DIGITS 18

static const char BAD_NUMBER[] =
	"a number has digits, with digits on both sides of a decimal point;"
	" no sign and no exponent";
static const char BAD_RATE[] = "a rate is NUMBER/[N]UNIT with UNIT s, min, h or d and N a whole "
			       "number (5000/h, 5/2s, 0.5/s), or 0, or unlimited";
static const char BAD_TOKENS[] = "tokens are a number with an optional K, M, G, Ki, Mi or Gi "
				 "(100, 2.5, 1M)";
static const char BAD_DURATION[] = "a duration is a number with ns, us, ms, s, min, h or d "
				   "(250ms, 30s, 1h)";
static const char BAD_COUNT[] = "a count is a whole number with an optional K, M, G, Ki, Mi or Gi "
				"(1024, 1M)";
static const char FINE_TOKENS[] = "tokens are told apart to a millionth: at most 6 decimals";
static const char FINE_DURATION[] = "durations are whole nanoseconds";
static const char FAST_RATE[] = "a rate is at most 1000000000 tokens a second";
static const char LONG_PERIOD[] = "a rate's period is 1 s to 366 d";
static const char MANY_TOKENS[] = "tokens are at most 1000000000000 (10^12)";
static const char LONG_DURATION[] = "a duration is at most 366d";
static const char BAD_WINDOW[] =
	"a window is a duration, and aligned (the default), aligned +HH:MM or "
	"-HH:MM, or first; or none (1h, 1d aligned +02:00, 1h first)";
static const char SHORT_WINDOW[] = "a window is at least 1ms";
static const char ODD_WINDOW[] =
	"a window by the calendar divides a day (1h, 15min, 1d) or is a week "
	"(7d); any other length can begin with its first use (30d first)";
static const char FAR_OFFSET[] = "an offset from UTC is +HH:MM or -HH:MM, at most 23:59";
static const char COUNT_RANGE[] = "the count is out of range";

/* Tokens up to here are written without a multiple. */
#define PLAIN_BELOW 1000000u

struct unit {
	const char *text;
	uint64_t scale;
};

/* In the order in which texts of the same length are preferred. */
static const struct unit multiples[] = {
	{"", 1},
	{"K", 1000},
	{"M", 1000000},
	{"G", 1000000000},
	{"Ki", 1ull << 10},
	{"Mi", 1ull << 20},
	{"Gi", 1ull << 30},
	{NULL, 0},
};

static const struct unit durations[] = {
	{"s", NS_PER_S},
	{"min", 60 * NS_PER_S},
	{"h", 3600 * NS_PER_S},
	{"d", 86400 * NS_PER_S},
	{"ms", 1000000},
	{"us", 1000},
	{"ns", 1},
	{NULL, 0},
};

static const struct unit periods[] = {
	{"d", 86400 * NS_PER_S},
	{"h", 3600 * NS_PER_S},
	{"min", 60 * NS_PER_S},
	{"s", NS_PER_S},
	{NULL, 0},
};

/* whole + fraction / 10^digits; the fraction ends with no zero. Saturated: more than fits. */
struct number {
	uint64_t whole;
	uint64_t fraction;
	unsigned digits;
	bool saturated;
	bool too_fine;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static const char *read_whole(const char *at, uint64_t *whole, bool *saturated)
{
	for (; is_digit(*at); at++) {
		*whole = *whole * 10 + (uint64_t)(*at - '0');
		if (*whole > WHOLE_MAX) {
			*whole = WHOLE_MAX;
			*saturated = true;
		}
	}
	return at;
}

static const char *read_fraction(const char *at, struct number *out)
{
	unsigned zeros = 0;

	for (; is_digit(*at); at++) {
		if (*at == '0') {
			zeros++;
			continue;
		}
		if (out->too_fine || zeros >= FRACTION_DIGITS - out->digits) {
			out->too_fine = true;
			continue;
		}
		for (out->digits += zeros + 1; zeros > 0; zeros--)
			out->fraction *= 10;
		out->fraction = out->fraction * 10 + (uint64_t)(*at - '0');
	}
	return at;
}

/* Reads DIGITS[.DIGITS]. Returns what follows it, or NULL if there is no such number. */
static const char *read_number(const char *at, struct number *out)
{
	*out = (struct number){0};
	if (!is_digit(*at))
		return NULL;
	at = read_whole(at, &out->whole, &out->saturated);
	if (*at != '.')
		return at;
	if (!is_digit(at[1]))
		return NULL;
	return read_fraction(at + 1, out);
}

/* The unit that stands at `at` and reaches to `end`; NULL if there is none. */
static const struct unit *find_unit(const struct unit *units, const char *at, const char *end)
{
	size_t bytes = (size_t)(end - at);

	for (; units->text; units++)
		if (strlen(units->text) == bytes && memcmp(units->text, at, bytes) == 0)
			return units;
	return NULL;
}

enum scaled {
	SCALED,
	SCALED_TOO_MUCH,
	SCALED_TOO_FINE,
};

/* number * scale if that is a whole number of at most max; 10^18 * 2^30 * 10^6 fit 128 bits. */
static enum scaled scale_number(const struct number *number, line_wide scale, uint64_t max,
				uint64_t *out)
{
	line_wide value = number->whole * scale;
	line_wide part = number->fraction * scale;
	uint64_t power = 1;

	for (unsigned i = 0; i < number->digits; i++)
		power *= 10;
	if (number->saturated || value + part / power > max)
		return SCALED_TOO_MUCH;
	if (number->too_fine || part % power != 0)
		return SCALED_TOO_FINE;
	*out = (uint64_t)(value + part / power);
	return SCALED;
}

/* NUMBER[MULTIPLE] from text to end, in millionths; malformed is what to say of the form. */
static const char *read_tokens(const char *text, const char *end, const char *malformed,
			       uint64_t *micro)
{
	struct number number;
	const char *rest = read_number(text, &number);
	const struct unit *multiple;

	if (!rest)
		return is_digit(*text) ? BAD_NUMBER : malformed;
	multiple = find_unit(multiples, rest, end);
	if (!multiple)
		return malformed;
	switch (scale_number(&number, (line_wide)multiple->scale * TERMS_MICRO,
			     VALUE_TOKENS_MAX_MICRO, micro)) {
	case SCALED:
		return NULL;
	case SCALED_TOO_MUCH:
		return MANY_TOKENS;
	case SCALED_TOO_FINE:
		return FINE_TOKENS;
	}
	return malformed;
}

const char *value_tokens(const char *text, uint64_t *micro)
{
	return read_tokens(text, text + strlen(text), BAD_TOKENS, micro);
}

/* [N]UNIT */
static const char *read_period(const char *text, uint64_t *period_ns)
{
	uint64_t count = 0;
	bool saturated = false;
	const char *rest = read_whole(text, &count, &saturated);
	const struct unit *unit = find_unit(periods, rest, rest + strlen(rest));

	if (!unit)
		return BAD_RATE;
	if (rest == text)
		count = 1;
	if (count == 0 || count > VALUE_PERIOD_MAX_NS / unit->scale)
		return LONG_PERIOD;
	*period_ns = count * unit->scale;
	return NULL;
}

const char *value_rate(const char *text, uint64_t *rate_micro, uint64_t *period_ns)
{
	const char *slash = strchr(text, '/');
	const char *why;
	uint64_t micro = 0;
	uint64_t period = NS_PER_S;

	if (strcmp(text, "unlimited") == 0) {
		micro = TERMS_UNLIMITED;
	} else if (strcmp(text, "0") != 0) {
		if (!slash)
			return BAD_RATE;
		why = read_tokens(text, slash, BAD_RATE, &micro);
		if (!why)
			why = read_period(slash + 1, &period);
		if (why)
			return why;
		/* 10^9 a second are a token, 10^6 millionths, a nanosecond */
		if (micro / TERMS_MICRO > period ||
		    (micro / TERMS_MICRO == period && micro % TERMS_MICRO != 0))
			return FAST_RATE;
	}
	*rate_micro = micro;
	*period_ns = period;
	return NULL;
}

const char *value_duration(const char *text, uint64_t *ns)
{
	struct number number;
	const char *rest = read_number(text, &number);
	const struct unit *unit;

	if (!rest)
		return is_digit(*text) ? BAD_NUMBER : BAD_DURATION;
	if (strcmp(text, "0") == 0) {
		*ns = 0;
		return NULL;
	}
	unit = find_unit(durations, rest, rest + strlen(rest));
	if (!unit)
		return BAD_DURATION;
	switch (scale_number(&number, unit->scale, VALUE_PERIOD_MAX_NS, ns)) {
	case SCALED:
		return NULL;
	case SCALED_TOO_MUCH:
		return LONG_DURATION;
	case SCALED_TOO_FINE:
		return FINE_DURATION;
	}
	return BAD_DURATION;
}

const char *value_count(const char *text, uint64_t min, uint64_t max, uint64_t *count)
{
	struct number number = {0};
	const char *rest = read_whole(text, &number.whole, &number.saturated);
	const struct unit *multiple = find_unit(multiples, rest, rest + strlen(rest));
	uint64_t value;

	if (rest == text || !multiple)
		return BAD_COUNT;
	if (scale_number(&number, multiple->scale, max, &value) != SCALED || value < min)
		return COUNT_RANGE;
	*count = value;
	return NULL;
}

/* +HH:MM or -HH:MM, to the end of the text. */
static const char *read_offset(const char *text, int32_t *minutes)
{
	bool shaped = strlen(text) == 6 && (text[0] == '+' || text[0] == '-') && text[3] == ':';
	int hours;

	for (int i = 1; shaped && i < 6; i++)
		shaped = i == 3 || is_digit(text[i]);
	if (!shaped)
		return FAR_OFFSET;
	hours = (text[1] - '0') * 10 + text[2] - '0';
	*minutes = (text[4] - '0') * 10 + text[5] - '0';
	if (hours > 23 || *minutes > 59)
		return FAR_OFFSET;
	*minutes = (text[0] == '-' ? -1 : 1) * (hours * 60 + *minutes);
	return NULL;
}

/* The next word of a text; returns its length. */
static size_t next_word(const char **text)
{
	*text += strspn(*text, " \t");
	return strcspn(*text, " \t");
}

static bool is_word(const char *text, size_t bytes, const char *word)
{
	return bytes == strlen(word) && memcmp(text, word, bytes) == 0;
}

/* What stands behind the duration. */
static const char *read_window_kind(const char *text, struct window_terms *window)
{
	size_t bytes = next_word(&text);

	window->kind = WINDOW_ALIGNED;
	if (bytes == 0)
		return NULL;
	if (is_word(text, bytes, "first"))
		window->kind = WINDOW_FIRST;
	else if (!is_word(text, bytes, "aligned"))
		return BAD_WINDOW;
	text += bytes;
	bytes = next_word(&text);
	if (bytes == 0)
		return NULL;
	return window->kind == WINDOW_ALIGNED ? read_offset(text, &window->minutes) : BAD_WINDOW;
}

const char *value_window(const char *text, struct window_terms *window)
{
	struct window_terms found = {0};
	char duration[VALUE_TEXT_BYTES];
	size_t bytes = next_word(&text);
	const char *why;

	if (is_word(text, bytes, "none") && text[bytes] == '\0') {
		*window = found;
		return NULL;
	}
	if (bytes == 0 || bytes >= sizeof(duration))
		return BAD_WINDOW;
	memcpy(duration, text, bytes);
	duration[bytes] = '\0';
	why = value_duration(duration, &found.length_ns);
	if (!why && found.length_ns < 1000000)
		why = SHORT_WINDOW;
	if (!why)
		why = read_window_kind(text + bytes, &found);
	if (!why && found.kind == WINDOW_ALIGNED && !align_possible(found.length_ns))
		why = ODD_WINDOW;
	if (!why)
		*window = found;
	return why;
}

/*
 * value / scale as an exact decimal, with its unit. Returns its length, or 0 if the decimals do
 * not end within FRACTION_DIGITS or the text does not fit.
 */
static size_t write_scaled(char out[VALUE_TEXT_BYTES], uint64_t value, line_wide scale,
			   const char *unit)
{
	line_wide rest = value % scale;
	char decimals[FRACTION_DIGITS + 2] = "";
	size_t used = 0;
	int length;

	while (rest != 0) {
		if (used == 0)
			decimals[used++] = '.';
		if (used > FRACTION_DIGITS)
			return 0;
		rest *= 10;
		decimals[used++] = (char)('0' + (int)(rest / scale));
		rest %= scale;
	}
	decimals[used] = '\0';
	length = snprintf(out, VALUE_TEXT_BYTES, "%llu%s%s", (unsigned long long)(value / scale),
			  decimals, unit);
	return length > 0 && length < VALUE_TEXT_BYTES ? (size_t)length : 0;
}

/* The shortest over all units; of the same length, one without a fraction, then the first. */
static char *write_shortest(char out[VALUE_TEXT_BYTES], uint64_t value, uint64_t one,
			    const struct unit *units)
{
	size_t best = SIZE_MAX;

	for (; units->text; units++) {
		char text[VALUE_TEXT_BYTES];
		line_wide scale = (line_wide)units->scale * one;
		size_t length = write_scaled(text, value, scale, units->text);
		size_t weight = 2 * length + (value % scale != 0);

		if (length == 0 || weight >= best)
			continue;
		best = weight;
		memcpy(out, text, length + 1);
	}
	return out;
}

char *value_tokens_text(uint64_t micro, char out[VALUE_TEXT_BYTES])
{
	/* as people write it: 5000, not 5K */
	if (micro < PLAIN_BELOW * TERMS_MICRO && write_scaled(out, micro, TERMS_MICRO, ""))
		return out;
	return write_shortest(out, micro, TERMS_MICRO, multiples);
}

char *value_duration_text(uint64_t ns, char out[VALUE_TEXT_BYTES])
{
	if (ns == 0)
		return strcpy(out, "0");
	return write_shortest(out, ns, 1, durations);
}

char *value_window_text(const struct window_terms *window, char out[VALUE_TEXT_BYTES])
{
	int minutes = window->minutes < 0 ? -window->minutes : window->minutes;
	char duration[VALUE_TEXT_BYTES];

	if (window->kind == WINDOW_NONE)
		return strcpy(out, "none");
	value_duration_text(window->length_ns, duration);
	if (window->kind == WINDOW_FIRST)
		snprintf(out, VALUE_TEXT_BYTES, "%.22s first", duration);
	else if (minutes == 0)
		snprintf(out, VALUE_TEXT_BYTES, "%.22s aligned", duration);
	else
		snprintf(out, VALUE_TEXT_BYTES, "%.22s aligned %c%02d:%02d", duration,
			 window->minutes < 0 ? '-' : '+', minutes / 60 % 100, minutes % 60);
	return out;
}

/* [N]UNIT, the shortest; what is no whole number of seconds can only come from damage. */
static void write_period(char out[VALUE_TEXT_BYTES], uint64_t period_ns)
{
	size_t best = SIZE_MAX;

	snprintf(out, VALUE_TEXT_BYTES, "%lluns", (unsigned long long)period_ns);
	for (const struct unit *unit = periods; unit->text; unit++) {
		char text[VALUE_TEXT_BYTES];
		uint64_t count = period_ns / unit->scale;
		size_t length;

		if (count == 0 || period_ns % unit->scale != 0)
			continue;
		length = write_scaled(text, period_ns, unit->scale, unit->text);
		if (count == 1)
			length = strlen(strcpy(text, unit->text));
		if (length >= best)
			continue;
		best = length;
		memcpy(out, text, length + 1);
	}
}

char *value_rate_text(uint64_t rate_micro, uint64_t period_ns, char out[VALUE_TEXT_BYTES])
{
	char tokens[VALUE_TEXT_BYTES];
	char period[VALUE_TEXT_BYTES];

	if (rate_micro == TERMS_UNLIMITED)
		return strcpy(out, "unlimited");
	if (rate_micro == 0 && period_ns == NS_PER_S)
		return strcpy(out, "0");
	value_tokens_text(rate_micro, tokens);
	write_period(period, period_ns);
	/* 22 and 22 characters at most, of damage; what value_rate() takes is 20 and 9 */
	snprintf(out, VALUE_TEXT_BYTES, "%.20s/%.18s", tokens, period);
	return out;
}
