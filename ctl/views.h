/* SPDX-License-Identifier: Apache-2.0
 *
 * views.h - all endpoints of an instance: every rule, and every name in use under [default].
 */
#ifndef WEIRCTL_VIEWS_H
#define WEIRCTL_VIEWS_H

#include <stdbool.h>
#include <stddef.h>

#include "look.h"

struct views {
	struct view *items;
	size_t count;
	size_t room;
};

/*
 * Reads them all, in the order of the file: rules, then [default], then the names under it.
 * Starts anew in the room that *views has. Returns false if memory ran out.
 */
bool views_collect(const struct look *look, struct views *views);

/* The order that views_collect() gives, as qsort() wants it. */
int views_compare(const void *left, const void *right);

void views_free(struct views *views);

/* "exact", "pattern", "default", "name", "crowded" */
const char *view_kind_name(enum view_kind kind);

#endif
