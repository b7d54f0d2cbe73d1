/* SPDX-License-Identifier: Apache-2.0 */
#include "class.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define BASE 39u
#define LENGTH (CLASS_TEXT_BYTES - 1)
#define WHOLE (100 * CLASS_PERCENT)

static const char digits[BASE + 1] = "\0abcdefghijklmnopqrstuvwxyz0123456789-_";
static const char bad_leave[] = "what a class must leave is leave TOKENS, or leave NUMBER % of the "
				"burst (leave 5, leave 20 %)";

uint64_t class_number(const char *name)
{
	size_t length = strlen(name);
	uint64_t number = 0;

	if (length == 0 || length > LENGTH)
		return 0;
	for (size_t i = 0; i < LENGTH; i++) {
		const char *digit = i < length ? strchr(digits + 1, name[i]) : digits;

		if (!digit)
			return 0;
		number = number * BASE + (uint64_t)(digit - digits);
	}
	return number;
}

char *class_text(uint64_t number, char out[CLASS_TEXT_BYTES])
{
	for (size_t i = LENGTH; i-- > 0; number /= BASE)
		out[i] = i == 0 && number >= BASE ? '?' : digits[number % BASE];
	out[LENGTH] = '\0';
	return out;
}

/* A share has no multiples, and is written without the millions that tokens may have. */
static const char *read_share(char *text, uint64_t *leave)
{
	size_t length = strlen(text);
	uint64_t share;

	text[--length] = '\0';
	while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\t'))
		text[--length] = '\0';
	if (text[strspn(text, "0123456789.")] || value_tokens(text, &share))
		return bad_leave;
	if (share >= WHOLE)
		return "a class can leave less than 100 % of the burst";
	*leave = share ? share | CLASS_SHARE : 0;
	return NULL;
}

const char *class_read_leave(const char *text, uint64_t *leave)
{
	static const char word[] = CLASS_LEAVE;
	char number[64];
	size_t length;

	if (strncmp(text, word, sizeof(word) - 1) != 0)
		return bad_leave;
	text += sizeof(word) - 1;
	if (*text != ' ' && *text != '\t')
		return bad_leave;
	text += strspn(text, " \t");
	length = strlen(text);
	if (length == 0 || length >= sizeof(number))
		return bad_leave;
	memcpy(number, text, length + 1);
	if (number[length - 1] == '%')
		return read_share(number, leave);
	return value_tokens(number, leave);
}

char *class_leave_text(uint64_t leave, char out[VALUE_TEXT_BYTES])
{
	char number[VALUE_TEXT_BYTES];
	bool share = leave & CLASS_SHARE;
	uint64_t micro = leave & ~CLASS_SHARE;
	uint64_t rest = micro % CLASS_PERCENT;
	int length;

	if (!share) {
		snprintf(out, VALUE_TEXT_BYTES, "leave %.30s", value_tokens_text(micro, number));
		return out;
	}
	length = snprintf(number, sizeof(number), "%u.%06u",
			  (unsigned)(micro / CLASS_PERCENT % 1000), (unsigned)rest);
	while (rest && number[length - 1] == '0')
		number[--length] = '\0';
	snprintf(out, VALUE_TEXT_BYTES, "leave %.*s %%",
		 (int)(rest ? (size_t)length : strcspn(number, ".")), number);
	return out;
}

uint64_t class_leave_units(uint64_t leave, uint64_t burst_units, unsigned k)
{
	line_wide share = (line_wide)burst_units * (leave & ~CLASS_SHARE);

	if (!(leave & CLASS_SHARE))
		return line_units(leave, k);
	share = (share + WHOLE - 1) / WHOLE;
	return share > burst_units ? burst_units : (uint64_t)share;
}

const char *class_set(struct terms *terms, uint64_t name, uint64_t leave)
{
	for (unsigned i = 0; i < LAYOUT_CLASSES; i++) {
		struct class_leave *at = &terms->classes[i];

		if (at->name && at->name != name)
			continue;
		*at = (struct class_leave){name, leave};
		return NULL;
	}
	return "a rule tells at most 4 classes apart";
}

static bool has(const struct terms *terms, uint64_t name)
{
	for (unsigned i = 0; i < LAYOUT_CLASSES; i++)
		if (terms->classes[i].name == name)
			return true;
	return false;
}

const char *class_inherit(struct terms *terms, const struct terms *common)
{
	const char *wrong = NULL;

	for (unsigned i = 0; i < LAYOUT_CLASSES && common->classes[i].name && !wrong; i++)
		if (!has(terms, common->classes[i].name))
			wrong = class_set(terms, common->classes[i].name, common->classes[i].leave);
	return wrong;
}

/* In the order of the names, so that equal rules have equal words. */
static void sort(struct class_leave *classes, unsigned count)
{
	for (unsigned i = 1; i < count; i++)
		for (unsigned j = i; j > 0 && classes[j].name < classes[j - 1].name; j--) {
			struct class_leave swap = classes[j];

			classes[j] = classes[j - 1];
			classes[j - 1] = swap;
		}
}

const char *class_finish(struct terms *terms)
{
	struct class_leave kept[LAYOUT_CLASSES] = {{0, 0}};
	unsigned count = 0;

	for (unsigned i = 0; i < LAYOUT_CLASSES; i++) {
		const struct class_leave *at = &terms->classes[i];

		if (!(at->leave & CLASS_SHARE) && at->leave >= terms->burst_micro && at->name)
			return "a class must leave less than the burst";
		if (at->name && at->leave)
			kept[count++] = *at;
	}
	sort(kept, count);
	memcpy(terms->classes, kept, sizeof(kept));
	return NULL;
}
