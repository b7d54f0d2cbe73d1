/* SPDX-License-Identifier: Apache-2.0
 *
 * list - every rule and every name in use, a row each.
 */
#include "ctl.h"

#include <errno.h>
#include <stdio.h>

#include "look.h"
#include "names.h"
#include "text.h"
#include "views.h"
#include "weir.h"

/* Columns that the table has because something in it needs them. */
struct extras {
	bool shadows;
	bool permits;
};

static void add_view(const struct view *view, struct page *page, const struct extras *extras)
{
	char shown[LAYOUT_TEXT_BYTES + 16];

	snprintf(shown, sizeof(shown), "%s%s%s", view->kind > VIEW_DEFAULT ? "  " : "", view->name,
		 view->kind == VIEW_DEFAULT ? " (default)" : "");
	page_row(page);
	page_text(page, "name", NULL, view->name);
	page_text(page, NULL, "ENDPOINT", shown);
	page_text(page, "kind", NULL, view_kind_name(view->kind));
	view_add_limits(view, page, true);
	view_add_level(view, page, true);
	view_add_counts(view, page, true);
	view_add_permits(view, page, extras->permits);
	view_add_shadow(view, page, extras->shadows);
	view_add_learned(view, page);
	view_add_state(view, page, true);
	page_count(page, "row", NULL, view->row);
	page_count(page, "bucket", NULL, view->bucket);
}

static struct extras find_extras(const struct views *views)
{
	struct extras extras = {false, false};

	for (size_t i = 0; i < views->count; i++) {
		const struct view *view = &views->items[i];

		extras.shadows |= view_is_shadow(view) || view_has_shadow(view) ||
				  view->shadow.counts[SHADOW_PASSED_CALLS];
		extras.permits |= view_has_permits(view);
	}
	return extras;
}

/* What stands below the table: whether anybody keeps the rules. */
static void print_footer(const struct look *look, const struct ctl *ctl)
{
	printf("\ninstance `%s`, clock %s; ", ctl->place.name, look_clock_name(look));
	if (look->alive && look->daemon)
		printf("weird is running (pid %ld)\n", (long)look->daemon);
	else if (look->alive)
		printf("weird is running\n");
	else
		printf("weird is not running: limits stay in force, changes wait for it\n");
}

static bool print_views(const struct look *look, const struct ctl *ctl, const struct views *views)
{
	const struct extras extras = find_extras(views);
	struct page page;

	page_open(&page, ctl->json);
	page_text(&page, "instance", NULL, ctl->place.name);
	page_text(&page, "clock", NULL, look_clock_name(look));
	page_flag(&page, "weird_running", NULL, look->alive);
	page_count(&page, "weird_pid", NULL, (uint64_t)look->daemon);
	look_add_observations(look, &page);
	page_rows(&page, "endpoints");
	for (size_t i = 0; i < views->count; i++)
		add_view(&views->items[i], &page, &extras);
	if (!page_print(&page, stdout))
		return false;
	if (!ctl->json)
		print_footer(look, ctl);
	return true;
}

/* Whether the view's name is one that can be asked for: not a text that stands for one. */
static bool has_name(const struct look *look, const struct view *view)
{
	if (view->kind == VIEW_NAME)
		return names_find_slot(&look->segment, view->name) ==
		       (int64_t)view->bucket - look->segment.row_count;
	return view->kind != VIEW_CROWDED;
}

/* One a line: what shells complete from. */
static bool print_names(const struct look *look, const struct views *views)
{
	for (size_t i = 0; i < views->count; i++) {
		char safe[TEXT_NAME_BYTES];

		if (has_name(look, &views->items[i]))
			puts(text_safe(safe, sizeof(safe), views->items[i].name, false));
	}
	return true;
}

enum ctl_exit command_list(struct ctl *ctl)
{
	struct views views = {0};
	struct look look;
	bool done;

	if (ctl->json && ctl->args.values[OPTION_NAMES])
		return ctl_misuse(ctl, "--names and --json: names are in the rows of --json");
	if (!look_open(&look, ctl))
		return CTL_CANNOT;
	done = views_collect(&look, &views) &&
	       (ctl->args.values[OPTION_NAMES] ? print_names(&look, &views)
					       : print_views(&look, ctl, &views));
	views_free(&views);
	look_close(&look);
	return done ? CTL_DONE : ctl_complain("%s", weir_strerror(-ENOMEM));
}
