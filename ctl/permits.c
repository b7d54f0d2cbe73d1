/* SPDX-License-Identifier: Apache-2.0
 *
 * permits NAME - how many calls may be under way, and who has one.
 */
#include "permits.h"

#include <errno.h>
#include <stdio.h>

#include "ctl.h"
#include "look.h"
#include "members.h"
#include "text.h"
#include "weir.h"

struct holders {
	const struct look *look;
	struct page *page;
	struct line clock;
};

static uint64_t age_ns(const struct holders *holders, uint64_t ticks)
{
	return holders->look->segment.time.kind == CLOCK_KIND_TSC
		       ? line_ticks_to_ns(&holders->clock, ticks)
		       : ticks;
}

static void add_holder(void *context, const struct permit_held *held)
{
	struct holders *holders = context;
	struct page *page = holders->page;
	struct member_info member = {0};

	if (held->member < holders->look->segment.member_count)
		members_look(&holders->look->segment, held->member, &member);
	page_row(page);
	page_count(page, "owner", "OWNER", held->member);
	page_count(page, "pid", "PID", member.pid);
	page_text(page, "program", "PROGRAM", member.program);
	/* one that is being taken at this moment has no age yet */
	page_duration(page, "age_ns", "AGE",
		      held->age_ticks == UINT64_MAX ? 0 : age_ns(holders, held->age_ticks));
}

static void add_sum(const struct permit_sum *sum, struct page *page)
{
	if (sum->limit == UINT64_MAX) {
		page_none(page, "limit", NULL);
		page_text(page, NULL, "limit", "none: no concurrency is set");
		page_none(page, "free", NULL);
	} else {
		page_count(page, "limit", "limit", sum->limit);
		page_count(page, "free", "free", sum->free);
	}
	page_count(page, "held", "held", sum->held);
	page_count(page, "waiting", "in line", sum->waiting);
	page_duration(page, "max_hold_ns", sum->hold_ns ? "max hold" : NULL,
		      sum->hold_ns ? sum->hold_ns : UINT64_MAX);
	if (!sum->hold_ns)
		page_text(page, NULL, "max hold", "unlimited");
}

/* Sums come first, and rows after them: two looks, a moment apart. */
static int print_permits(const struct look *look, const struct ctl *ctl, const struct view *view)
{
	const struct rule_row *row = &look->segment.rows[view->row];
	struct page page;
	struct holders holders = {.look = look, .page = &page};
	struct permit_sum sum;
	int error = permits_look(&look->segment, row, &sum, NULL, NULL);

	if (error < 0)
		return error;
	segment_clock(&look->segment, &holders.clock);
	page_open(&page, ctl->json);
	page_text(&page, "name", "name", view->name);
	page_text(&page, "rule", NULL, view->rule);
	add_sum(&sum, &page);
	view_add_found(look, view, &page);
	page_rows(&page, "holders");
	permits_look(&look->segment, row, &sum, add_holder, &holders);
	return page_print(&page, stdout) ? 0 : -ENOMEM;
}

enum ctl_exit command_permits(struct ctl *ctl)
{
	const char *name = ctl_name(ctl);
	struct look look;
	struct view view;
	int error;

	if (!name || !look_open(&look, ctl))
		return CTL_CANNOT;
	error = look_name(&look, name, &view);
	if (error == 0)
		error = print_permits(&look, ctl, &view);
	look_close(&look);
	return error < 0 ? ctl_complain("`%s`: %s", name, weir_strerror(error)) : CTL_DONE;
}
