/* SPDX-License-Identifier: Apache-2.0
 *
 * fields.h - the response fields of a limit as lines for an HTTP response, or members of a page.
 */
#ifndef WEIRCTL_FIELDS_H
#define WEIRCTL_FIELDS_H

#include "look.h"
#include "render.h"
#include "response.h"

struct fields {
	char values[3][RESPONSE_FIELD_BYTES]; /* by enum weir_field; "": there is none */
};

/* Of a limit that is looked at. */
void fields_of_view(const struct view *view, struct fields *out);

/* Of an answer. Returns 0 or a code. */
int fields_of_answer(struct weir_endpoint *endpoint, const struct weir_answer *answer,
		     struct fields *out);

/* "RateLimit: ..." a line each; nothing for those that there are not. */
void fields_print(const struct fields *fields, FILE *out);

/* The same as members of those names; null for those that there are not. */
void fields_add(const struct fields *fields, struct page *page);

#endif
