/* SPDX-License-Identifier: Apache-2.0
 *
 * audit.h - checks a segment, read-only, and lists what it finds.
 *
 * It needs no lock and no quiet: everything it calls a finding is wrong at any moment. It never
 * writes; there is nothing to repair in a segment, so findings mean hostile or damaged bytes.
 */
#ifndef WEIR_AUDIT_H
#define WEIR_AUDIT_H

#include <stdint.h>

#include "segment.h"

enum audit_severity {
	AUDIT_NOTE = 0,	   /* legal, but an operator may want to know */
	AUDIT_FINDING = 1, /* cannot happen */
};

struct audit_finding {
	enum audit_severity severity;
	const char *where; /* "row", "bucket", "name", "member", "header", "clock",
			      "permits", "permit", "waiter" */
	uint32_t index;
	const char *what; /* a sentence, static */
	uint64_t value;	  /* the word that was found */
};

typedef void audit_report(void *context, const struct audit_finding *finding);

/* Returns the number of findings (notes not counted). */
unsigned audit_segment(const struct segment *segment, audit_report *report, void *context);

#endif
