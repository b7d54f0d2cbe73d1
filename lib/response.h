/* SPDX-License-Identifier: Apache-2.0
 *
 * response.h - the fields by which an HTTP server tells its clients of a limit: facts to text.
 * Pure, bounded, allocates nothing.
 *
 *	RateLimit-Policy: "api.github.com";q=5000;w=3600;weir-burst=100
 *	RateLimit: "api.github.com";r=99;t=1
 *	Retry-After: 12
 *
 * As draft-ietf-httpapi-ratelimit-headers-11 has them: q is the quota of a window of w seconds, r
 * what is left of it for the next t seconds, after which there is more. The name is a structured
 * field's String (RFC 9651); bytes that cannot stand in one are written %XX. What a bucket holds at
 * most, where that is not the quota, is a parameter of ours.
 */
#ifndef WEIR_RESPONSE_H
#define WEIR_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "token_clock.h"
#include "weir.h"

#define RESPONSE_FIELD_BYTES 512 /* any value fits, its closing NUL included */

/* What there is to tell. */
struct response {
	const char *policy; /* the limit's name */
	struct terms terms;
	double level;	   /* tokens */
	uint64_t more_ns;  /* until there is more than that; WEIR_NEVER: no end known */
	uint64_t retry_ns; /* of a refusal; WEIR_NEVER: no wait helps */
	bool refused;
};

/*
 * How long until a bucket of which `mark` is spoken for has a whole token more, in ticks: for
 * more_ns. UINT64_MAX: never.
 */
uint64_t response_more_ticks(const struct line *line, uint64_t now, uint64_t mark);

/*
 * The value of a field, with a closing NUL. Returns its bytes; 0: there is nothing to say; `bytes`
 * or more: it did not fit, and out is "" (a part of a field would be another one).
 */
int response_field(const struct response *response, enum weir_field field, char *out, size_t bytes);

#endif
