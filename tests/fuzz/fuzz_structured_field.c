/* SPDX-License-Identifier: Apache-2.0
 *
 * Any lines as a list, a dictionary or an item: what is read to its end and what is passed over are
 * malformed alike, texts stay within what they are copied to, keys are their own, and numbers have
 * no more digits than the RFC gives them.
 */
#include "fuzz.h"

#include "structured_field.h"

enum { LINES = 64 };

static void check_item(const struct sf *sf, const struct sf_item *item)
{
	char whole[512], part[3];
	size_t bytes = sf_text(sf, item, whole, sizeof(whole));
	bool has_text = item->type == SF_STRING || item->type == SF_TOKEN ||
			item->type == SF_BYTES || item->type == SF_DISPLAY;

	FUZZ_CHECK(item->number > -1000000000000000 && item->number < 1000000000000000);
	FUZZ_CHECK(has_text || bytes == 0);
	FUZZ_CHECK(item->type != SF_BOOLEAN || item->number == 0 || item->number == 1);
	FUZZ_CHECK(sf_text(sf, item, part, sizeof(part)) == bytes);
	FUZZ_CHECK(!memcmp(whole, part, bytes < 2 ? bytes : 2));
	FUZZ_CHECK(part[bytes < 2 ? bytes : 2] == '\0');
}

static int read_parameters(struct sf *sf)
{
	struct sf_key key;
	struct sf_item value;
	char text[512];
	int more;

	while ((more = sf_parameter_next(sf, &key, &value)) == 1) {
		size_t bytes = sf_key_text(sf, &key, text, sizeof(text));

		FUZZ_CHECK(bytes > 0 && bytes == key.bytes);
		FUZZ_CHECK(bytes >= sizeof(text) || sf_key_is(sf, &key, text));
		check_item(sf, &value);
	}
	return more;
}

static int read_member(struct sf *sf, const struct sf_member *member)
{
	struct sf_item item;
	int more = 1;

	if (!member->list)
		check_item(sf, &member->item);
	while (member->list && (more = sf_inner_next(sf, &item)) == 1) {
		check_item(sf, &item);
		if (read_parameters(sf) < 0)
			return -1;
	}
	return more < 0 ? more : read_parameters(sf);
}

static int read_next(struct sf *sf, enum sf_kind kind, struct sf_member *member)
{
	struct sf_key key;

	switch (kind) {
	case SF_LIST:
		return sf_list_next(sf, member);
	case SF_DICTIONARY:
		return sf_dictionary_next(sf, &key, member);
	case SF_ITEM:
		member->list = false;
		return sf_item_next(sf, &member->item);
	}
	return -1;
}

/* Reads all of it; every third member is passed over instead. */
static int read_all(const struct sf_line *lines, size_t count, enum sf_kind kind, unsigned passed)
{
	struct sf sf;
	struct sf_member member;
	int more;

	sf_open(&sf, lines, count);
	for (unsigned i = 0; (more = read_next(&sf, kind, &member)) == 1; i++)
		if (i % 3 != passed && read_member(&sf, &member) < 0)
			return -1;
	return more;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);
	struct sf_line lines[LINES];
	size_t count = 0;

	for (size_t at = 0; at <= size && count < LINES; at += lines[count++].bytes + 1) {
		const char *stop = memchr(text + at, '\n', size - at);

		lines[count] =
			(struct sf_line){text + at, stop ? (size_t)(stop - text) - at : size - at};
	}
	for (int kind = SF_LIST; kind <= SF_ITEM; kind++)
		for (unsigned passed = 0; passed <= 3; passed++)
			FUZZ_CHECK((read_all(lines, count, (enum sf_kind)kind, passed) == 0) ==
				   sf_check(lines, count, (enum sf_kind)kind));
	free(text);
	return 0;
}
