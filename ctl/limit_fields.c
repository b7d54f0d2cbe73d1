/* SPDX-License-Identifier: Apache-2.0 */
#include "limit_fields.h"

#include <stdio.h>

static const char *const names[] = {
	[WEIR_FIELD_POLICY] = "RateLimit-Policy",
	[WEIR_FIELD_LIMIT] = "RateLimit",
	[WEIR_FIELD_RETRY_AFTER] = "Retry-After",
};

#define FIELD_COUNT (sizeof(names) / sizeof(names[0]))

void limit_fields_of_view(const struct view *view, struct limit_fields *out)
{
	bool is_default =
		view->kind == VIEW_DEFAULT || view->kind == VIEW_NAME || view->kind == VIEW_CROWDED;
	const struct response response = {
		.policy = is_default ? "default" : view->rule,
		.terms = terms_in_force(&view->terms),
		.level = view->closed ? 0 : view_level(view),
		.more_ns = view->closed_ns > view->more_ns ? view->closed_ns : view->more_ns,
	};

	for (size_t i = 0; i < FIELD_COUNT; i++)
		response_field(&response, (enum weir_field)i, out->values[i],
			       sizeof(out->values[i]));
}

int limit_fields_of_answer(struct weir_endpoint *endpoint, const struct weir_answer *answer,
			   struct limit_fields *out)
{
	for (size_t i = 0; i < FIELD_COUNT; i++) {
		int status = weir_field(endpoint, answer, (enum weir_field)i, NULL, out->values[i],
					sizeof(out->values[i]));

		if (status < 0)
			return status;
	}
	return 0;
}

void limit_fields_print(const struct limit_fields *fields, FILE *out)
{
	for (size_t i = 0; i < FIELD_COUNT; i++)
		if (fields->values[i][0])
			fprintf(out, "%s: %s\n", names[i], fields->values[i]);
}

void limit_fields_add(const struct limit_fields *fields, struct page *page)
{
	for (size_t i = 0; i < FIELD_COUNT; i++)
		if (fields->values[i][0])
			page_text(page, names[i], NULL, fields->values[i]);
		else
			page_none(page, names[i], NULL);
}
