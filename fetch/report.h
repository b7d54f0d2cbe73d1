/* SPDX-License-Identifier: Apache-2.0
 *
 * report.h - what weir-fetch says: a bar on a terminal, lines in a log, and a summary.
 */
#ifndef FETCH_REPORT_H
#define FETCH_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <weir-http.h>

#define REPORT_ENDPOINTS 64 /* that the summary tells apart; the others come together */

struct report_endpoint {
	char name[WEIR_NAME_MAX + 1];
	uint64_t requests;
	uint64_t refusals;
	uint64_t waited_ns;
	double limit_per_s; /* at the end; below 0: not known */
};

struct report {
	bool quiet;
	bool bar;
	bool interrupted;
	uint64_t from_ns;
	uint64_t files; /* all that were asked for */
	uint64_t fetched;
	uint64_t kept;
	uint64_t failed;
	uint64_t resumed;
	uint64_t bytes;
	uint64_t requests;
	uint64_t refusals;
	uint64_t waits; /* requests that waited */
	uint64_t waited_ns;
	unsigned endpoint_count;
	struct report_endpoint endpoints[REPORT_ENDPOINTS];
};

void report_begin(struct report *report, bool quiet, bool to_terminal);

/* Counts a request's end. */
void report_result(struct report *report, const struct weir_http_result *result);

/* A line on standard error, above the bar if there is one. */
void report_line(const struct report *report, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Draws the bar anew; takes it away. */
void report_draw(const struct report *report);
void report_erase(const struct report *report);

/* Asks what the limits are now. */
void report_limits(struct report *report, struct weir *weir);

/* Returns 0, or -errno of writing. */
int report_summary(const struct report *report, bool json, FILE *to);

#endif
