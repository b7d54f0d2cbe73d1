/* SPDX-License-Identifier: Apache-2.0
 *
 * config_common.c - what the sections of a configuration have in common, and what shows only when
 * all of a section is known.
 */
#include "config_draft.h"

#include <string.h>

#include "class.h"

const char *config_section(const struct config_draft *draft)
{
	return draft->rule.kind == ROW_EACH ? "each" : "endpoint";
}

unsigned *config_class_line(struct config_draft *draft, uint64_t number)
{
	for (unsigned i = 0; number && i < LAYOUT_CLASSES; i++)
		if (draft->rule.terms.classes[i].name == number)
			return &draft->class_lines[i];
	return NULL;
}

static void inherit_class(struct config_report *report, struct config_draft *draft,
			  const struct config_draft *common, unsigned index)
{
	const struct terms one = {.classes = {common->rule.terms.classes[index]}};
	const char *why = class_inherit(&draft->rule.terms, &one);
	unsigned *line = config_class_line(draft, one.classes[0].name);
	char name[CLASS_TEXT_BYTES];

	if (!why && *line == 0)
		*line = common->class_lines[index];
	if (!why)
		return;
	class_text(one.classes[0].name, name);
	if (draft->rule.kind == ROW_DEFAULT)
		config_report(report, draft->rule.line, "[default]: with class %s of [weir]: %s",
			      name, why);
	else
		config_report(report, draft->rule.line, "[%s %s]: with class %s of [weir]: %s",
			      config_section(draft), draft->label, name, why);
}

void config_inherit(struct config_report *report, struct config_draft *draft,
		    const struct config_draft *common)
{
	if (draft->shadow_line == 0)
		draft->rule.terms.shadow = common->rule.terms.shadow;
	for (unsigned i = 0; i < LAYOUT_CLASSES && common->rule.terms.classes[i].name; i++)
		inherit_class(report, draft, common, i);
}

const char *config_finish_draft(const struct config_draft *draft, struct terms *terms)
{
	return config_finish_terms(terms, draft->burst_line != 0, draft->initial_line != 0);
}

/* What is added one by one until it fails. */
unsigned config_faulty_line(const struct config_draft *draft)
{
	const struct terms *whole = &draft->rule.terms;
	struct terms terms = *whole;

	memset(terms.classes, 0, sizeof(terms.classes));
	terms.beside = (struct shadow_terms){0};
	terms.max_hold_ns = 0;
	terms.adapt = (struct adapt_terms){0};
	if (config_finish_draft(draft, &terms))
		return draft->initial_line  ? draft->initial_line
		       : draft->burst_line  ? draft->burst_line
		       : draft->window_line ? draft->window_line
		       : draft->rate_line   ? draft->rate_line
					    : draft->rule.line;
	terms.max_hold_ns = whole->max_hold_ns;
	if (config_finish_draft(draft, &terms))
		return draft->hold_line;
	terms.beside = whole->beside;
	if (config_finish_draft(draft, &terms))
		return draft->beside_line;
	for (unsigned i = 0; i < LAYOUT_CLASSES; i++) {
		terms.classes[0] = whole->classes[i];
		if (config_finish_draft(draft, &terms))
			return draft->class_lines[i];
	}
	return draft->adapt_line ? draft->adapt_line : draft->rule.line;
}
