/* SPDX-License-Identifier: Apache-2.0
 *
 * limit_fields.h - the response fields of a limit as lines for an HTTP response, or members of a
 * page.
 */
#ifndef WEIRCTL_LIMIT_FIELDS_H
#define WEIRCTL_LIMIT_FIELDS_H

#include "look.h"
#include "render.h"
#include "response.h"

struct limit_fields {
	char values[3][RESPONSE_FIELD_BYTES]; /* by enum weir_field; "": there is none */
};

/* Of a limit that is looked at. */
void limit_fields_of_view(const struct view *view, struct limit_fields *out);

/* Of an answer. Returns 0 or a code. */
int limit_fields_of_answer(struct weir_endpoint *endpoint, const struct weir_answer *answer,
			   struct limit_fields *out);

/* "RateLimit: ..." a line each; nothing for those that there are not. */
void limit_fields_print(const struct limit_fields *fields, FILE *out);

/* The same as members of those names; null for those that there are not. */
void limit_fields_add(const struct limit_fields *fields, struct page *page);

#endif
