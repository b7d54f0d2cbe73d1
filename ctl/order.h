/* SPDX-License-Identifier: Apache-2.0
 *
 * order.h - which endpoints are shown, and in which order. Pure.
 */
#ifndef WEIRCTL_ORDER_H
#define WEIRCTL_ORDER_H

#include <stdbool.h>
#include <stddef.h>

#include "facts.h"

/* What is looked for stands first: the fastest, the emptiest, the longest queue. */
enum order_key {
	ORDER_GRANTED,
	ORDER_REFUSED,
	ORDER_LEVEL,
	ORDER_QUEUE,
	ORDER_NAME,
	ORDER_FILE, /* as `list` has them */
	ORDER_KEYS,
};

/* The keys by name, one blank between them: what --sort takes. */
#define ORDER_WORDS "granted refused level queue name file"

const char *order_name(enum order_key key);

/* Returns false if there is no key of that name. */
bool order_parse(const char *name, enum order_key *key);

/*
 * Points `out`, which has room for `count`, to the entries that have a bucket and whose name
 * has `filter` in it, whatever the case; sorts them, equal ones by name. Returns how many.
 */
size_t order_select(const struct entry *entries, size_t count, const char *filter,
		    enum order_key key, bool reversed, const struct entry **out);

#endif
