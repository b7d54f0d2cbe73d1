/* SPDX-License-Identifier: Apache-2.0
 *
 * Two patterns and a name, a line each: matching agrees with the plain definition of `*`, and a
 * pattern that is said to cover another takes all that the other takes.
 */
#include "fuzz.h"

#include <stdbool.h>

#include "layout.h"
#include "names.h"

#define PLAIN_BYTES 14 /* what the exponential definition is asked about */

/* By the definition alone: `*` is any run of characters. */
static bool plain_match(const char *pattern, const char *name)
{
	if (*pattern == '\0')
		return *name == '\0';
	if (*pattern == '*')
		return plain_match(pattern + 1, name) || (*name && plain_match(pattern, name + 1));
	return *pattern == *name && plain_match(pattern + 1, name + 1);
}

static void check(const char *outer, const char *inner, const char *name)
{
	bool taken = names_match(inner, name);
	struct specificity a = names_specificity(outer);
	struct specificity b = names_specificity(inner);

	if (strlen(inner) < PLAIN_BYTES && strlen(name) < PLAIN_BYTES)
		FUZZ_CHECK(taken == plain_match(inner, name));
	FUZZ_CHECK(names_covers(inner, inner));
	FUZZ_CHECK((names_compare(a, b) > 0) == (names_compare(b, a) < 0));
	if (names_covers(outer, inner) && taken)
		FUZZ_CHECK(names_match(outer, name));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);
	char *lines[3] = {text, text + size, text + size};

	for (int i = 1; i < 3; i++) {
		char *end = strchr(lines[i - 1], '\n');

		if (!end)
			break;
		*end = '\0';
		lines[i] = end + 1;
	}
	/* as long as the programs let them be */
	if (names_valid(lines[2]) && strlen(lines[0]) < LAYOUT_TEXT_BYTES &&
	    strlen(lines[1]) < LAYOUT_TEXT_BYTES)
		check(lines[0], lines[1], lines[2]);
	free(text);
	return 0;
}
