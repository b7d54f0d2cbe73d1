/* SPDX-License-Identifier: Apache-2.0
 *
 * config_overlap.c - sections that get in each other's way.
 *
 * A pattern that goes first and covers another has the same literal beginning: a longer one would
 * not cover it, a shorter one does not go first. Sorted by text, such patterns stand together, as
 * the '*' behind the beginning is part of what they share. And its tail, behind its last '*', ends
 * the other's tail; so within a group the ends of each tail are looked up, and few pairs of tens
 * of thousands need to be compared.
 */
#include "config_draft.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int compare_lines(const struct config_draft *a, const struct config_draft *b)
{
	return (a->rule.line > b->rule.line) - (a->rule.line < b->rule.line);
}

static int compare_labels(const void *a, const void *b)
{
	const struct config_draft *left = *(const struct config_draft *const *)a;
	const struct config_draft *right = *(const struct config_draft *const *)b;
	int order = strcmp(left->label, right->label);

	return order ? order : compare_lines(left, right);
}

static int compare_texts(const void *a, const void *b)
{
	const struct config_draft *left = *(const struct config_draft *const *)a;
	const struct config_draft *right = *(const struct config_draft *const *)b;
	int order = strcmp(left->rule.text, right->rule.text);

	return order ? order : compare_lines(left, right);
}

static void report_same_labels(struct config_report *report, const struct config_draft **sorted,
			       size_t count)
{
	size_t first = 0;

	for (size_t i = 1; i < count; i++) {
		if (strcmp(sorted[first]->label, sorted[i]->label) != 0)
			first = i;
		else
			config_report(report, sorted[i]->rule.line,
				      "[%s %s]: the section is on line %u already; "
				      "join the two",
				      config_section(sorted[i]), sorted[i]->label,
				      sorted[first]->rule.line);
	}
}

static void report_same_texts(struct config_report *report, const struct config_draft **sorted,
			      size_t count)
{
	size_t first = 0;

	for (size_t i = 1; i < count; i++) {
		const struct config_draft *draft = sorted[i];

		if (strcmp(sorted[first]->rule.text, draft->rule.text) != 0)
			first = i;
		else if (strcmp(sorted[first]->label, draft->label) != 0)
			config_report(report, draft->rule.line,
				      "[%s %s] overlaps with [%s %s] of line %u: both "
				      "are rules for %s; remove one",
				      config_section(draft), draft->label,
				      config_section(sorted[first]), sorted[first]->label,
				      sorted[first]->rule.line, draft->rule.text);
	}
}

/* Below 0: a's pattern is tried first. */
static int compare_turns(const struct config_draft *a, const struct config_draft *b)
{
	int order = names_compare(a->specificity, b->specificity);

	return order ? order : compare_lines(a, b);
}

static void report_covered(struct config_report *report, const struct config_draft *draft,
			   const struct config_draft *first)
{
	const char *word = config_section(draft);
	const char *word_first = config_section(first);
	const char *label = draft->label;
	unsigned line = first->rule.line;

	if (names_covers(draft->rule.text, first->rule.text))
		config_report(report, draft->rule.line,
			      "[%s %s] overlaps with [%s %s] of line %u: both match "
			      "the same names; remove one",
			      word, label, word_first, first->label, line);
	else if (names_compare(first->specificity, draft->specificity) == 0)
		config_report(report, draft->rule.line,
			      "[%s %s] can never match: [%s %s] of line %u covers it "
			      "and stands above it; move this section above that one",
			      word, label, word_first, first->label, line);
	else
		config_report(report, draft->rule.line,
			      "[%s %s] can never match: [%s %s] of line %u covers it "
			      "and goes first, as it has fewer *; remove one, or begin this "
			      "pattern with more letters",
			      word, label, word_first, first->label, line);
}

static const char *tail_of(const struct config_draft *draft)
{
	return draft->rule.text + draft->tail;
}

static int compare_tails(const void *a, const void *b)
{
	const struct config_draft *left = *(const struct config_draft *const *)a;
	const struct config_draft *right = *(const struct config_draft *const *)b;
	int order = strcmp(tail_of(left), tail_of(right));

	return order ? order : compare_lines(left, right);
}

/* The first of a group, sorted by tails, whose tail is not before this one. */
static size_t lower_bound(const struct config_draft **group, size_t count, const char *tail)
{
	size_t low = 0;

	while (low < count) {
		size_t middle = low + (count - low) / 2;

		if (strcmp(tail_of(group[middle]), tail) < 0)
			low = middle + 1;
		else
			count = middle;
	}
	return low;
}

/* One of the group that covers the draft and goes first; NULL if there is none. */
static const struct config_draft *find_cover(const struct config_draft **group, size_t count,
					     const struct config_draft *draft)
{
	const char *suffix = tail_of(draft);

	for (bool more = true; more; more = *suffix++ != '\0') {
		for (size_t i = lower_bound(group, count, suffix); i < count; i++) {
			if (strcmp(tail_of(group[i]), suffix) != 0)
				break;
			if (compare_turns(group[i], draft) < 0 &&
			    strcmp(group[i]->rule.text, draft->rule.text) != 0 &&
			    names_covers(group[i]->rule.text, draft->rule.text))
				return group[i];
		}
	}
	return NULL;
}

/* A group has the same literal beginning. */
static void check_group(struct config_report *report, const struct config_draft **group,
			size_t count)
{
	qsort(group, count, sizeof(*group), compare_tails);
	for (size_t i = 0; i < count; i++) {
		const struct config_draft *first = find_cover(group, count, group[i]);

		if (first)
			report_covered(report, group[i], first);
	}
}

static size_t group_length(const struct config_draft **sorted, size_t count)
{
	size_t shared = strcspn(sorted[0]->rule.text, "*") + 1;
	size_t length = 1;

	if (!names_is_pattern(sorted[0]->rule.text))
		return 1;
	while (length < count &&
	       strncmp(sorted[0]->rule.text, sorted[length]->rule.text, shared) == 0)
		length++;
	return length;
}

static bool is_everything(const char *text)
{
	return text[strspn(text, "*")] == '\0';
}

/* Leaves out what is no pattern of its own; returns how many are left. */
static size_t leave_out_faulty(struct config_report *report, const struct config_draft **sorted,
			       size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		const struct config_draft *draft = sorted[i];

		if (draft->text_faulty)
			continue;
		if (is_everything(draft->rule.text))
			config_report(report, draft->rule.line,
				      "[%s %s]: a pattern of nothing but * stands for every "
				      "name; write it as [default]",
				      config_section(draft), draft->label);
		else
			sorted[kept++] = draft;
	}
	return kept;
}

int config_overlap_check(struct config_report *report, const struct config_draft *drafts,
			 size_t count)
{
	const struct config_draft **sorted = calloc(count + 1, sizeof(*sorted));

	if (!sorted)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		sorted[i] = &drafts[i];
	qsort(sorted, count, sizeof(*sorted), compare_labels);
	report_same_labels(report, sorted, count);
	count = leave_out_faulty(report, sorted, count);
	qsort(sorted, count, sizeof(*sorted), compare_texts);
	report_same_texts(report, sorted, count);
	for (size_t i = 0; i < count;) {
		size_t length = group_length(sorted + i, count - i);

		check_group(report, sorted + i, length);
		i += length;
	}
	free(sorted);
	return 0;
}
