/* SPDX-License-Identifier: Apache-2.0
 *
 * name.h - a request's method and URL as names of endpoints. Pure. libcurl reads the URL, so that
 * what is charged is what it will connect to.
 */
#ifndef WEIR_HTTP_NAME_H
#define WEIR_HTTP_NAME_H

#include <stdbool.h>
#include <stddef.h>

#include "weir.h"

#define NAME_CANDIDATES 3

/* From the most to the least specific: "METHOD host/path", "host/path", "host". */
struct name_candidates {
	char texts[NAME_CANDIDATES][WEIR_NAME_MAX + 1];
};

/* Returns 0, WEIR_EVALUE (not a URL of a host), -ENOMEM. */
int name_candidates(const char *method, const char *url, struct name_candidates *out);

/* How much of a URL names an endpoint: all before its query and fragment. */
size_t name_bytes(const char *url);

/* A Location as it stands against the URL it came from. NULL: none, or no memory. To be freed. */
char *name_join(const char *base, const char *location);

/* Whether two URLs are of one scheme, host and port. */
bool name_same_origin(const char *one, const char *other);

#endif
