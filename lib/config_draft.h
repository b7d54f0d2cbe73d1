/* SPDX-License-Identifier: Apache-2.0
 *
 * config_draft.h - the sections of a configuration while it is read, and the list of its faults.
 * For the config*.c files only.
 */
#ifndef WEIR_CONFIG_DRAFT_H
#define WEIR_CONFIG_DRAFT_H

#include <stdbool.h>
#include <stddef.h>

#include "config.h"
#include "names.h"

/* A [default], [endpoint] or [each] section. */
struct config_draft {
	struct config_rule rule;
	char label[LAYOUT_TEXT_BYTES]; /* the section's own name; rule.text unless `match` is */
	unsigned rate_line;	       /* where it was given; 0: it was not */
	unsigned burst_line;
	unsigned initial_line;
	unsigned window_line;
	unsigned shadow_line;
	unsigned concurrency_line;
	unsigned hold_line;
	unsigned beside_line;		      /* of shadow_rate or shadow_burst, the last of them */
	unsigned adapt_line;		      /* of adaptive or min_rate, the last of them */
	unsigned class_lines[LAYOUT_CLASSES]; /* of rule.terms.classes */
	struct specificity specificity;	      /* of rule.text, as every pair is compared */
	size_t tail;	  /* where it begins, behind the last '*' of rule.text */
	bool text_faulty; /* `match` was reported: rule.text is not what was meant */
	bool terms_faulty;
};

/* Where faults go. */
struct config_report {
	const char *file;
	struct config_faults *faults;
};

/* Adds "FILE:LINE: ..." if it fits, and counts it. Control characters come out as '?'. */
void config_report(struct config_report *report, unsigned line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Says of a key that the section does not have where it belongs, or which one is near. */
void config_hint(const char *section, const char *key, char *out, size_t room);

/* Where a draft keeps the line of the class of that number; NULL: it has no such class. */
unsigned *config_class_line(struct config_draft *draft, uint64_t number);

/* Gives a rule what [weir] says for every rule, where the rule's own section says nothing. */
void config_inherit(struct config_report *report, struct config_draft *draft,
		    const struct config_draft *common);

/* "each" or "endpoint": the word of a rule's section. */
const char *config_section(const struct config_draft *draft);

/* config_finish_terms() by what the draft says was given. */
const char *config_finish_draft(const struct config_draft *draft, struct terms *terms);

/* The line to blame if the draft's terms do not go together. */
unsigned config_faulty_line(const struct config_draft *draft);

/*
 * Reports sections of the same name, of the same text, and patterns that can never match because
 * one that goes first covers them. Returns 0 or -ENOMEM.
 */
int config_overlap_check(struct config_report *report, const struct config_draft *drafts,
			 size_t count);

#endif
