/* SPDX-License-Identifier: Apache-2.0
 *
 * weir/match.h - which rule a name falls under, before a bucket is made for it. For names that
 * come from outside, such as URLs. Part of weir.h, which includes it.
 */
#ifndef WEIR_MATCH_H
#define WEIR_MATCH_H

#include "../weir.h"

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* How a rule came to be a name's. */
enum weir_matched {
	WEIR_MATCHED_DEFAULT =
		0,		/* no other does: weir_endpoint would make it a bucket of its own */
	WEIR_MATCHED_EXACT = 1, /* the rule has the name itself */
	WEIR_MATCHED_PATTERN = 2, /* the rule is the most specific pattern */
	WEIR_MATCHED_EACH = 3,	  /* it is, and the name has a bucket of its own there: keys.h */
};

/*
 * Says which rule weir_endpoint() would resolve the name to, and makes nothing: neither a handle,
 * nor a place in the table of names. rule (may be NULL) gets the rule's own name or pattern, ""
 * for [default]; it has room for rule_bytes, of which WEIR_NAME_MAX + 1 are always enough.
 * Does not block; allocates only when the segment was replaced. Returns enum weir_matched, or
 * WEIR_ENAME, WEIR_EVALUE (no room for the rule's name), WEIR_EDAMAGED.
 */
int weir_match(struct weir *weir, const char *name, char *rule, size_t rule_bytes);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
