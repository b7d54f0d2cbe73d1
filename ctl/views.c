/* SPDX-License-Identifier: Apache-2.0 */
#include "views.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "names.h"

/* The next view to be filled; NULL if memory ran out. */
static struct view *views_next(struct views *views)
{
	if (views->count == views->room) {
		size_t room = views->room ? 2 * views->room : 64;
		struct view *more = realloc(views->items, room * sizeof(*more));

		if (!more)
			return NULL;
		views->items = more;
		views->room = room;
	}
	return &views->items[views->count++];
}

static bool collect_rules(const struct look *look, struct views *views)
{
	for (uint32_t row = 0; row < look->segment.row_count; row++) {
		struct view *view;

		/* acquire: pairs with the release that made the row live */
		if (atomic_load_explicit(&look->segment.rows[row].state, memory_order_acquire) !=
		    ROW_LIVE)
			continue;
		view = views_next(views);
		if (!view)
			return false;
		look_view(look, row, row, NULL, view);
	}
	return true;
}

/* The text of a name in use; its hash where the text is missing or is not the name's. */
static void name_text(const struct segment *segment, uint32_t slot, char out[LAYOUT_TEXT_BYTES])
{
	segment_text(segment->names[slot].text, out);
	if (names_valid(out) && names_find_slot(segment, out) == (int64_t)slot)
		return;
	/* relaxed: claimed for good */
	snprintf(out, LAYOUT_TEXT_BYTES, "(unknown name, hash %016llx)",
		 (unsigned long long)atomic_load_explicit(&segment->names[slot].hash,
							  memory_order_relaxed));
}

static bool collect_names(const struct look *look, uint32_t fallback, struct views *views)
{
	const struct segment *segment = &look->segment;

	for (uint32_t slot = 0; slot < segment->name_count; slot++) {
		char name[LAYOUT_TEXT_BYTES];
		struct view *view;

		/* acquire: pairs with the claim in names.c */
		if (!atomic_load_explicit(&segment->names[slot].hash, memory_order_acquire))
			continue;
		name_text(segment, slot, name);
		/* it may have got a rule since */
		if (name[0] != '(' && names_find_row(segment, name) != (int)fallback)
			continue;
		view = views_next(views);
		if (!view)
			return false;
		look_view(look, fallback, segment->row_count + slot, name, view);
	}
	return true;
}

/* The bucket of the names that found no room, if there are such. */
static bool collect_crowded(const struct look *look, uint32_t fallback, struct views *views)
{
	uint32_t bucket = look->segment.row_count + look->segment.name_count;
	struct view *view = views_next(views);

	if (!view)
		return false;
	look_view(look, fallback, bucket, "(names without room)", view);
	if (!view->used)
		views->count--;
	return true;
}

int views_compare(const void *left, const void *right)
{
	const struct view *a = left;
	const struct view *b = right;
	int group_a = a->kind < VIEW_DEFAULT ? 0 : (int)a->kind;
	int group_b = b->kind < VIEW_DEFAULT ? 0 : (int)b->kind;

	if (group_a != group_b)
		return group_a < group_b ? -1 : 1;
	if (a->kind == VIEW_NAME)
		return strcmp(a->name, b->name);
	if (a->order != b->order)
		return a->order < b->order ? -1 : 1;
	return a->row < b->row ? -1 : a->row > b->row;
}

bool views_collect(const struct look *look, struct views *views)
{
	int64_t fallback = names_default_row(&look->segment);

	views->count = 0;
	if (!collect_rules(look, views))
		return false;
	if (fallback >= 0 && (!collect_names(look, (uint32_t)fallback, views) ||
			      !collect_crowded(look, (uint32_t)fallback, views)))
		return false;
	if (views->count)
		qsort(views->items, views->count, sizeof(*views->items), views_compare);
	return true;
}

void views_free(struct views *views)
{
	free(views->items);
	*views = (struct views){0};
}

const char *view_kind_name(enum view_kind kind)
{
	switch (kind) {
	case VIEW_EXACT:
		return "exact";
	case VIEW_PATTERN:
		return "pattern";
	case VIEW_DEFAULT:
		return "default";
	case VIEW_NAME:
		return "name";
	case VIEW_CROWDED:
		return "crowded";
	case VIEW_EACH:
		return "each";
	}
	return "unknown";
}
