/* SPDX-License-Identifier: Apache-2.0
 *
 * match.c - which rule a name falls under, without claiming anything for it.
 */
#include "handle.h"

#include <string.h>

/* The row of a rule of its own, or -1: [default]'s. */
static int64_t row_of(const struct segment *segment, const char *name, int *status)
{
	struct resolution found;

	/* of a name under [default] that nobody has used, a looker is told that there is no rule */
	*status = names_resolve(segment, name, false, &found);
	if (*status == WEIR_ENORULE) {
		*status = 0;
		return -1;
	}
	if (*status < 0)
		return -1;
	/* relaxed: fixed before the row became live, and acquired by the look-up */
	return atomic_load_explicit(&segment->rows[found.row].kind, memory_order_relaxed) ==
			       ROW_DEFAULT
		       ? -1
		       : (int64_t)found.row;
}

/* A row is never used for another rule, so what is read of it goes together. */
static int match_in(const struct segment *segment, const char *name, char text[LAYOUT_TEXT_BYTES])
{
	int status;
	int64_t row = row_of(segment, name, &status);

	text[0] = '\0';
	if (row < 0)
		return status < 0 ? status : WEIR_MATCHED_DEFAULT;
	segment_text(segment->rows[row].text, text);
	/* relaxed: as in row_of() */
	switch (atomic_load_explicit(&segment->rows[row].kind, memory_order_relaxed)) {
	case ROW_EXACT:
		return WEIR_MATCHED_EXACT;
	case ROW_EACH:
		return WEIR_MATCHED_EACH;
	default:
		return WEIR_MATCHED_PATTERN;
	}
}

int weir_match(struct weir *weir, const char *name, char *rule, size_t rule_bytes)
{
	char text[LAYOUT_TEXT_BYTES];

	pthread_mutex_lock(&weir->mutex);
	fork_rejoin(weir);
	attachment_follow(weir);
	/* acquire: pairs with the release in attachment_follow() */
	const struct attachment *at = atomic_load_explicit(&weir->current, memory_order_acquire);
	int matched = match_in(&at->segment, name, text);

	pthread_mutex_unlock(&weir->mutex);
	if (matched < 0 || !rule)
		return matched;
	if (strlen(text) >= rule_bytes)
		return WEIR_EVALUE;
	strcpy(rule, text);
	return matched;
}
