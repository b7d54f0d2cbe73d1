/* SPDX-License-Identifier: Apache-2.0
 *
 * check - audits the segment: lists what cannot be, and what an operator may want to know.
 */
#include "audit.h"

#include <errno.h>
#include <stdio.h>

#include "ctl.h"
#include "look.h"
#include "weir.h"

struct report {
	struct page page;
	unsigned notes;
};

static void add_finding(void *context, const struct audit_finding *finding)
{
	struct report *report = context;
	struct page *page = &report->page;
	char value[24];

	report->notes += finding->severity == AUDIT_NOTE;
	snprintf(value, sizeof(value), "%#llx", (unsigned long long)finding->value);
	page_row(page);
	page_text(page, "severity", "SEVERITY",
		  finding->severity == AUDIT_NOTE ? "note" : "finding");
	page_text(page, "where", "WHERE", finding->where);
	page_count(page, "index", "INDEX", finding->index);
	page_text(page, "value", "VALUE", value);
	page_text(page, "what", "WHAT", finding->what);
}

static void print_verdict(const struct ctl *ctl, unsigned findings, unsigned notes)
{
	if (findings + notes)
		putchar('\n');
	if (findings)
		printf("%u finding%s, %u note%s: bytes of instance `%s` are damaged; restart "
		       "weird with the segment removed (weird --remove)\n",
		       findings, findings == 1 ? "" : "s", notes, notes == 1 ? "" : "s",
		       ctl->place.name);
	else
		printf("no findings, %u note%s: instance `%s` is sound\n", notes,
		       notes == 1 ? "" : "s", ctl->place.name);
}

enum ctl_exit command_check(struct ctl *ctl)
{
	struct report report = {.notes = 0};
	struct look look;
	unsigned findings;
	bool done;

	if (!look_open(&look, ctl))
		return CTL_CANNOT;
	page_open(&report.page, ctl->json);
	page_text(&report.page, "instance", NULL, ctl->place.name);
	page_rows(&report.page, "report");
	findings = audit_segment(&look.segment, add_finding, &report);
	done = page_print(&report.page, stdout);
	if (done && !ctl->json)
		print_verdict(ctl, findings, report.notes);
	look_close(&look);
	if (!done)
		return ctl_complain("%s", weir_strerror(-ENOMEM));
	return findings ? CTL_REFUSED : CTL_DONE;
}
