/* SPDX-License-Identifier: Apache-2.0
 *
 * structured_field.h - reads HTTP fields that are lists, dictionaries or items of RFC 9651, member
 * by member. Pure, allocates nothing, one pass over the bytes.
 *
 *	struct sf sf;
 *	struct sf_member member;
 *	struct sf_key key;
 *	struct sf_item value;
 *	int more;
 *
 *	sf_open(&sf, lines, count);
 *	while ((more = sf_list_next(&sf, &member)) == 1)
 *		while ((more = sf_parameter_next(&sf, &key, &value)) == 1)
 *			...
 *
 * Every sf_..._next() returns 1 with what it read, 0 at the end, or -1: the field is malformed, and
 * then all of it is, members that were read before included (section 4.2). Who cannot take them
 * back asks sf_check() first. What the caller does not read (parameters, inner lists) is passed
 * over, and checked all the same. Of keys that occur twice the last one counts, and the reader
 * tells of both.
 *
 * Several lines of a field are one value, joined by ", ", even within a string.
 */
#ifndef WEIR_STRUCTURED_FIELD_H
#define WEIR_STRUCTURED_FIELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sf_line {
	const char *text;
	size_t bytes;
};

/* A place in the joined value. */
struct sf_place {
	size_t line;
	size_t at; /* in that line; its length and one more are the joint's ", " */
};

struct sf {
	const struct sf_line *lines;
	size_t count;
	struct sf_place place;
	unsigned char state; /* enum of structured_field.c */
	bool inside;	     /* an inner list */
};

enum sf_type {
	SF_INTEGER, /* number */
	SF_DECIMAL, /* number, in thousandths */
	SF_STRING,  /* text */
	SF_TOKEN,   /* text */
	SF_BYTES,   /* text: decoded */
	SF_BOOLEAN, /* number: 0 or 1 */
	SF_DATE,    /* number: seconds since 1970 */
	SF_DISPLAY, /* text: UTF-8 */
};

struct sf_item {
	enum sf_type type;
	int64_t number;
	struct sf_place text; /* where it begins, its quote passed */
};

struct sf_member {
	bool list; /* an inner list: its items follow by sf_inner_next() */
	struct sf_item item;
};

struct sf_key {
	struct sf_place text;
	size_t bytes;
};

enum sf_kind { SF_LIST, SF_DICTIONARY, SF_ITEM };

void sf_open(struct sf *sf, const struct sf_line *lines, size_t count);

int sf_list_next(struct sf *sf, struct sf_member *member);
int sf_dictionary_next(struct sf *sf, struct sf_key *key, struct sf_member *member);

/* The only item of a field; afterwards its parameters, and then sf_item_next() once more: 0. */
int sf_item_next(struct sf *sf, struct sf_item *item);

/* Items of the inner list that was read last; afterwards its own parameters. */
int sf_inner_next(struct sf *sf, struct sf_item *item);

/* Parameters of what was read last. */
int sf_parameter_next(struct sf *sf, struct sf_key *key, struct sf_item *value);

/* Whether all of the field is well-formed. */
bool sf_check(const struct sf_line *lines, size_t count, enum sf_kind kind);

bool sf_key_is(const struct sf *sf, const struct sf_key *key, const char *text);

/*
 * The text of an item or of a key, decoded, as much as fits, with a closing NUL (bytes >= 1).
 * Returns how long all of it is.
 */
size_t sf_text(const struct sf *sf, const struct sf_item *item, char *out, size_t bytes);
size_t sf_key_text(const struct sf *sf, const struct sf_key *key, char *out, size_t bytes);

#endif
