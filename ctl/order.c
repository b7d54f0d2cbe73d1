/* SPDX-License-Identifier: Apache-2.0 */
#include "order.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "views.h"

static const char *const names[ORDER_KEYS] = {
	[ORDER_GRANTED] = "granted", [ORDER_REFUSED] = "refused", [ORDER_LEVEL] = "level",
	[ORDER_QUEUE] = "queue",     [ORDER_NAME] = "name",	  [ORDER_FILE] = "file",
};

const char *order_name(enum order_key key)
{
	return names[key];
}

bool order_parse(const char *name, enum order_key *key)
{
	for (int i = 0; i < ORDER_KEYS; i++) {
		if (strcmp(names[i], name) != 0)
			continue;
		*key = (enum order_key)i;
		return true;
	}
	return false;
}

/* Larger first; NaN last. */
static int descending(double a, double b)
{
	if (isnan(a) || isnan(b))
		return isnan(a) - isnan(b);
	return (a < b) - (a > b);
}

/* A closed endpoint and a line that does not move are queues without end. */
static double queue_of(const struct entry *entry)
{
	const struct view *view = &entry->view;
	uint64_t longest = view->closed_ns > view->queue_ns ? view->closed_ns : view->queue_ns;

	return (double)longest;
}

static int compare_by(const struct entry *a, const struct entry *b, enum order_key key)
{
	switch (key) {
	case ORDER_GRANTED:
		return descending(a->history.rates.tokens, b->history.rates.tokens);
	case ORDER_REFUSED:
		return descending(a->history.rates.refused, b->history.rates.refused);
	case ORDER_LEVEL:
		/* below empty, the longer queue is the emptier one */
		if (entry_share(a) == 0 && entry_share(b) == 0)
			return descending(queue_of(a), queue_of(b));
		return descending(-entry_share(a), -entry_share(b));
	case ORDER_QUEUE:
		return descending(queue_of(a), queue_of(b));
	case ORDER_FILE:
		return views_compare(&a->view, &b->view);
	case ORDER_NAME:
	case ORDER_KEYS:
		break;
	}
	return 0;
}

struct order {
	enum order_key key;
	bool reversed;
};

static int compare(const void *left, const void *right, void *context)
{
	const struct entry *a = *(const struct entry *const *)left;
	const struct entry *b = *(const struct entry *const *)right;
	const struct order *order = context;
	int by_key = compare_by(a, b, order->key);
	int by_name = strcmp(a->view.name, b->view.name);

	if (by_name == 0)
		by_name = (a->view.kind > b->view.kind) - (a->view.kind < b->view.kind);
	if (order->key == ORDER_NAME)
		by_key = by_name;
	if (by_key == 0)
		return by_name;
	return order->reversed ? -by_key : by_key;
}

size_t order_select(const struct entry *entries, size_t count, const char *filter,
		    enum order_key key, bool reversed, const struct entry **out)
{
	struct order order = {key, reversed};
	size_t selected = 0;

	for (size_t i = 0; i < count; i++)
		if (entry_has_bucket(&entries[i]) && strcasestr(entries[i].view.name, filter))
			out[selected++] = &entries[i];
	if (selected)
		qsort_r(out, selected, sizeof(*out), compare, &order);
	return selected;
}
