/* SPDX-License-Identifier: Apache-2.0
 *
 * structured_field.c - the algorithms of RFC 9651, section 4.2, step by step. Texts stay where they
 * are: an item remembers where its text begins, and decoding walks over it once more, which cannot
 * fail then. Pad bits and padding of byte sequences are not insisted on, as the RFC wants it.
 */
#include "structured_field.h"

#include <string.h>

#define END (-1)

enum state {
	AT_START,	/* nothing was read */
	AT_PARAMETERS,	/* of an item, of a member or, within a list, of an inner item */
	AFTER_MEMBER,	/* its parameters are passed */
	AT_INNER,	/* within an inner list, before an item or the parenthesis */
	AT_INNER_FIRST, /* just behind the opening parenthesis */
	BROKEN,
};

static int peek(const struct sf *sf)
{
	const struct sf_place *place = &sf->place;

	if (place->line >= sf->count)
		return END;
	if (place->at < sf->lines[place->line].bytes)
		return (unsigned char)sf->lines[place->line].text[place->at];
	if (place->line + 1 >= sf->count)
		return END;
	return place->at == sf->lines[place->line].bytes ? ',' : ' ';
}

static void step(struct sf *sf)
{
	struct sf_place *place = &sf->place;

	place->at++;
	if (place->line + 1 < sf->count && place->at == sf->lines[place->line].bytes + 2) {
		place->line++;
		place->at = 0;
	}
}

/* The character here, passed. */
static int take(struct sf *sf)
{
	int c = peek(sf);

	if (c != END)
		step(sf);
	return c;
}

static bool take_if(struct sf *sf, int wanted)
{
	if (peek(sf) != wanted)
		return false;
	step(sf);
	return true;
}

static void pass_spaces(struct sf *sf)
{
	while (peek(sf) == ' ')
		step(sf);
}

static void pass_blanks(struct sf *sf)
{
	while (peek(sf) == ' ' || peek(sf) == '\t')
		step(sf);
}

static bool is_digit(int c)
{
	return c >= '0' && c <= '9';
}

static bool is_lower(int c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_alpha(int c)
{
	return is_lower(c) || (c >= 'A' && c <= 'Z');
}

static bool is_token(int c)
{
	return is_alpha(c) || is_digit(c) || (c > 0 && strchr("!#$%&'*+-.^_`|~:/", c));
}

static bool is_key(int c)
{
	return is_lower(c) || is_digit(c) || (c > 0 && strchr("_-.*", c));
}

/* The value of a character of base64; -1: it is none. */
static int sextet(int c)
{
	if (is_alpha(c))
		return is_lower(c) ? c - 'a' + 26 : c - 'A';
	if (is_digit(c))
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Of a lower-case hexadecimal digit; -1: it is none. */
static int nibble(int c)
{
	if (is_digit(c))
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/*
 * Bytes of one item's text, one by one, as they are decoded: the same walk checks it and copies it.
 */
struct decoder {
	struct sf sf;
	enum sf_type type;
	unsigned held;		 /* bits of base64 that wait for more */
	unsigned bits;		 /* how many */
	unsigned tails;		 /* bytes that a UTF-8 sequence still wants */
	unsigned char low, high; /* bounds of the next one of them */
};

#define BAD (-2)

static int next_of_string(struct sf *sf)
{
	int c = take(sf);

	if (c == '"')
		return END;
	if (c == '\\') {
		c = take(sf);
		return c == '"' || c == '\\' ? c : BAD;
	}
	return c >= 0x20 && c <= 0x7e ? c : BAD;
}

static int next_of_token(struct sf *sf)
{
	return is_token(peek(sf)) ? take(sf) : END;
}

static int end_of_bytes(struct sf *sf, unsigned bits)
{
	while (take_if(sf, '='))
		;
	return take_if(sf, ':') && bits != 6 ? END : BAD;
}

static int next_of_bytes(struct decoder *decoder)
{
	while (decoder->bits < 8) {
		int six = sextet(peek(&decoder->sf));

		if (six < 0)
			return end_of_bytes(&decoder->sf, decoder->bits);
		step(&decoder->sf);
		decoder->held = (decoder->held << 6 | (unsigned)six) & 0xfff;
		decoder->bits += 6;
	}
	decoder->bits -= 8;
	return (int)(decoder->held >> decoder->bits & 0xff);
}

/* Whether a byte may follow, as UTF-8 goes: no overlong forms, no surrogates, none above U+10FFFF.
 */
static bool goes_on(struct decoder *decoder, int byte)
{
	if (decoder->tails) {
		if (byte < decoder->low || byte > decoder->high)
			return false;
		decoder->tails--;
	} else if (byte >= 0x80) {
		if (byte < 0xc2 || byte > 0xf4)
			return false;
		decoder->tails = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
		decoder->low = byte == 0xe0 ? 0xa0 : byte == 0xf0 ? 0x90 : 0x80;
		decoder->high = byte == 0xed ? 0x9f : byte == 0xf4 ? 0x8f : 0xbf;
		return true;
	}
	decoder->low = 0x80;
	decoder->high = 0xbf;
	return true;
}

static int next_of_display(struct decoder *decoder)
{
	int c = take(&decoder->sf);

	if (c == '"')
		return decoder->tails ? BAD : END;
	if (c == '%') {
		int high = nibble(take(&decoder->sf));
		int low = nibble(take(&decoder->sf));

		if (high < 0 || low < 0)
			return BAD;
		c = high << 4 | low;
	} else if (c < 0x20 || c > 0x7e) {
		return BAD;
	}
	return goes_on(decoder, c) ? c : BAD;
}

/* The next byte of the text; END behind its last one; BAD. */
static int decode(struct decoder *decoder)
{
	switch (decoder->type) {
	case SF_STRING:
		return next_of_string(&decoder->sf);
	case SF_TOKEN:
		return next_of_token(&decoder->sf);
	case SF_BYTES:
		return next_of_bytes(decoder);
	case SF_DISPLAY:
		return next_of_display(decoder);
	case SF_INTEGER:
	case SF_DECIMAL:
	case SF_BOOLEAN:
	case SF_DATE:
		break;
	}
	return END; /* these have no text */
}

static bool read_text(struct sf *sf, enum sf_type type, struct sf_item *item)
{
	struct decoder decoder = {.sf = *sf, .type = type};
	int c;

	*item = (struct sf_item){.type = type, .text = sf->place};
	do
		c = decode(&decoder);
	while (c >= 0);
	sf->place = decoder.sf.place;
	return c == END;
}

#define INTEGER_DIGITS 15
#define WHOLE_DIGITS 12 /* of a decimal */
#define FRACTION_DIGITS 3

static bool read_number(struct sf *sf, struct sf_item *item)
{
	bool negative = take_if(sf, '-');
	int64_t number = 0;
	int digits = 0, fraction = 0;

	for (; is_digit(peek(sf)); digits++) {
		if (digits == INTEGER_DIGITS)
			return false;
		number = number * 10 + (take(sf) - '0');
	}
	if (!digits)
		return false;
	*item = (struct sf_item){.type = SF_INTEGER};
	if (take_if(sf, '.')) {
		for (; is_digit(peek(sf)); fraction++) {
			if (fraction == FRACTION_DIGITS)
				return false;
			number = number * 10 + (take(sf) - '0');
		}
		if (!fraction || digits > WHOLE_DIGITS)
			return false;
		for (; fraction < FRACTION_DIGITS; fraction++)
			number *= 10;
		item->type = SF_DECIMAL;
	}
	item->number = negative ? -number : number;
	return true;
}

static bool read_boolean(struct sf *sf, struct sf_item *item)
{
	int c = take(sf);

	*item = (struct sf_item){.type = SF_BOOLEAN, .number = c == '1'};
	return c == '0' || c == '1';
}

static bool read_date(struct sf *sf, struct sf_item *item)
{
	if (!read_number(sf, item) || item->type != SF_INTEGER)
		return false;
	item->type = SF_DATE;
	return true;
}

static bool read_item(struct sf *sf, struct sf_item *item)
{
	int c = peek(sf);

	if (is_digit(c) || c == '-')
		return read_number(sf, item);
	if (is_alpha(c) || c == '*')
		return read_text(sf, SF_TOKEN, item);
	switch (take(sf)) {
	case '"':
		return read_text(sf, SF_STRING, item);
	case ':':
		return read_text(sf, SF_BYTES, item);
	case '?':
		return read_boolean(sf, item);
	case '@':
		return read_date(sf, item);
	case '%':
		return take_if(sf, '"') && read_text(sf, SF_DISPLAY, item);
	default:
		return false;
	}
}

static bool read_key(struct sf *sf, struct sf_key *key)
{
	if (!is_lower(peek(sf)) && peek(sf) != '*')
		return false;
	*key = (struct sf_key){.text = sf->place};
	for (; is_key(peek(sf)); key->bytes++)
		step(sf);
	return true;
}

static int broken(struct sf *sf)
{
	sf->state = BROKEN;
	return -1;
}

void sf_open(struct sf *sf, const struct sf_line *lines, size_t count)
{
	*sf = (struct sf){.lines = lines, .count = count, .state = AT_START};
	pass_spaces(sf);
}

int sf_parameter_next(struct sf *sf, struct sf_key *key, struct sf_item *value)
{
	if (sf->state == BROKEN)
		return -1;
	if (sf->state != AT_PARAMETERS)
		return 0;
	if (!take_if(sf, ';')) {
		sf->state = sf->inside ? AT_INNER : AFTER_MEMBER;
		return 0;
	}
	pass_spaces(sf);
	if (!read_key(sf, key))
		return broken(sf);
	*value = (struct sf_item){.type = SF_BOOLEAN, .number = 1};
	if (take_if(sf, '=') && !read_item(sf, value))
		return broken(sf);
	return 1;
}

static int pass_parameters(struct sf *sf)
{
	struct sf_key key;
	struct sf_item value;
	int more;

	do
		more = sf_parameter_next(sf, &key, &value);
	while (more == 1);
	return more;
}

int sf_inner_next(struct sf *sf, struct sf_item *item)
{
	int before;

	if (sf->state == BROKEN || !sf->inside)
		return sf->state == BROKEN ? -1 : 0;
	if (pass_parameters(sf) < 0)
		return -1;
	before = peek(sf);
	pass_spaces(sf);
	if (take_if(sf, ')')) {
		sf->inside = false;
		sf->state = AT_PARAMETERS; /* the list's own */
		return 0;
	}
	if ((sf->state == AT_INNER && before != ' ') || !read_item(sf, item))
		return broken(sf);
	sf->state = AT_PARAMETERS;
	return 1;
}

static int pass_inner(struct sf *sf)
{
	struct sf_item item;
	int more;

	do
		more = sf_inner_next(sf, &item);
	while (more == 1);
	return more;
}

static int read_member(struct sf *sf, struct sf_member *member)
{
	member->list = take_if(sf, '(');
	sf->inside = member->list;
	sf->state = member->list ? AT_INNER_FIRST : AT_PARAMETERS;
	if (!member->list && !read_item(sf, &member->item))
		return broken(sf);
	return 1;
}

/* To the beginning of the next member: 1, or 0 at the end, or -1. */
static int next_member(struct sf *sf)
{
	if (sf->state == BROKEN || pass_inner(sf) < 0 || pass_parameters(sf) < 0)
		return -1;
	if (sf->state == AT_START)
		return peek(sf) != END;
	pass_blanks(sf);
	if (peek(sf) == END)
		return 0;
	if (!take_if(sf, ','))
		return broken(sf);
	pass_blanks(sf);
	return peek(sf) == END ? broken(sf) : 1;
}

/*
 * At the end of a list or a dictionary blanks were passed that may have been tabs; a field may end
 * in spaces only (section 4.2, step 6), but a tab behind the last member is passed as before a
 * comma.
 */
int sf_list_next(struct sf *sf, struct sf_member *member)
{
	int more = next_member(sf);

	return more == 1 ? read_member(sf, member) : more;
}

int sf_dictionary_next(struct sf *sf, struct sf_key *key, struct sf_member *member)
{
	int more = next_member(sf);

	if (more != 1)
		return more;
	if (!read_key(sf, key))
		return broken(sf);
	if (take_if(sf, '='))
		return read_member(sf, member);
	*member = (struct sf_member){.item = {.type = SF_BOOLEAN, .number = 1}};
	sf->state = AT_PARAMETERS;
	return 1;
}

int sf_item_next(struct sf *sf, struct sf_item *item)
{
	if (sf->state == BROKEN)
		return -1;
	if (sf->state == AT_START) {
		sf->state = AT_PARAMETERS;
		return read_item(sf, item) ? 1 : broken(sf);
	}
	if (pass_parameters(sf) < 0)
		return -1;
	pass_spaces(sf);
	return peek(sf) == END ? 0 : broken(sf);
}

bool sf_check(const struct sf_line *lines, size_t count, enum sf_kind kind)
{
	struct sf sf;
	struct sf_member member;
	struct sf_key key;
	int more;

	sf_open(&sf, lines, count);
	do
		more = kind == SF_LIST	       ? sf_list_next(&sf, &member)
		       : kind == SF_DICTIONARY ? sf_dictionary_next(&sf, &key, &member)
					       : sf_item_next(&sf, &member.item);
	while (more == 1);
	return !more;
}

bool sf_key_is(const struct sf *sf, const struct sf_key *key, const char *text)
{
	struct sf walk = *sf;

	if (strlen(text) != key->bytes)
		return false;
	walk.place = key->text;
	for (size_t i = 0; i < key->bytes; i++)
		if (take(&walk) != text[i])
			return false;
	return true;
}

size_t sf_text(const struct sf *sf, const struct sf_item *item, char *out, size_t bytes)
{
	struct decoder decoder = {.sf = *sf, .type = item->type};
	size_t length = 0;
	int c;

	decoder.sf.place = item->text;
	for (; (c = decode(&decoder)) >= 0; length++)
		if (length + 1 < bytes)
			out[length] = (char)c;
	out[length + 1 < bytes ? length : bytes - 1] = '\0';
	return length;
}

size_t sf_key_text(const struct sf *sf, const struct sf_key *key, char *out, size_t bytes)
{
	struct sf walk = *sf;
	size_t length = 0;

	walk.place = key->text;
	for (; length < key->bytes && length + 1 < bytes; length++)
		out[length] = (char)take(&walk);
	out[length] = '\0';
	return key->bytes;
}
