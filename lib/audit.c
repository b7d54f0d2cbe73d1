/* SPDX-License-Identifier: Apache-2.0
 *
 * audit.c - what is checked, in which order; and how it is told.
 */
#include "audit.h"

#include "audit_parts.h"

void audit_tell(const struct spot *spot, enum audit_severity severity, const char *what,
		uint64_t value)
{
	const struct audit_finding finding = {
		.severity = severity,
		.where = spot->where,
		.index = spot->index,
		.what = what,
		.value = value,
	};

	if (severity == AUDIT_FINDING)
		spot->audit->findings++;
	if (spot->audit->report)
		spot->audit->report(spot->audit->context, &finding);
}

unsigned audit_segment(const struct segment *segment, audit_report *report, void *context)
{
	struct audit audit = {
		.segment = segment,
		.report = report,
		.context = context,
	};

	audit_headers(&audit);
	audit_clock(&audit);
	audit_rows(&audit);
	audit_names(&audit);
	audit_members(&audit);
	audit_permits(&audit);
	return audit.findings;
}
