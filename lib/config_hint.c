/* SPDX-License-Identifier: Apache-2.0
 *
 * config_hint.c - what an unknown key may have been meant to be.
 */
#include "config_draft.h"

#include <stdio.h>
#include <string.h>

/* Insertions, deletions and exchanges between two words, or `far` if a word is long. */
static size_t distance(const char *a, const char *b, size_t far)
{
	size_t row[32];
	size_t length = strlen(b);

	if (length >= sizeof(row) / sizeof(row[0]) || strlen(a) > length + far)
		return far;
	for (size_t j = 0; j <= length; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1]; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= length; j++) {
			size_t best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[length];
}

/* The key of a section that a mistyped one was meant to be; NULL if none is near. */
static const char *nearest_key(const char *section, const char *key)
{
	const char *nearest = NULL;
	size_t least = 3;

	for (const struct config_key *known = config_keys; known->name; known++) {
		size_t edits;

		if (strcmp(known->section, section) != 0)
			continue;
		edits = distance(key, known->name, 3);
		if (edits < least && edits < strlen(known->name) && edits < strlen(key)) {
			least = edits;
			nearest = known->name;
		}
	}
	return nearest;
}

/* The sections that know a key, as "[default] or [endpoint NAME]"; "" if none does. */
static void name_homes(const char *key, char *out, size_t room)
{
	size_t used = 0;

	out[0] = '\0';
	for (const struct config_key *known = config_keys; known->name; known++)
		if (strcmp(known->name, key) == 0 && used < room)
			used += (size_t)snprintf(out + used, room - used, "%s[%s%s]",
						 used ? " or " : "", known->section,
						 strcmp(known->section, "endpoint") == 0 ? " NAME"
						 : strcmp(known->section, "each") == 0 ? " PATTERN"
										       : "");
}

static void list_keys(const char *section, char *out, size_t room)
{
	size_t used = 0;

	out[0] = '\0';
	for (const struct config_key *known = config_keys; known->name; known++)
		if (strcmp(known->section, section) == 0 && used < room)
			used += (size_t)snprintf(out + used, room - used, "%s%s", used ? ", " : "",
						 known->name);
}

void config_hint(const char *section, const char *key, char *out, size_t room)
{
	const char *nearest = nearest_key(section, key);
	char others[320];

	name_homes(key, others, sizeof(others));
	if (others[0]) {
		snprintf(out, room, "this key belongs in %s", others);
	} else if (nearest) {
		snprintf(out, room, "unknown key; did you mean %s?", nearest);
	} else {
		list_keys(section, others, sizeof(others));
		snprintf(out, room, "unknown key; the section has %s", others);
	}
}
