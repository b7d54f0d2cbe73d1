/* SPDX-License-Identifier: Apache-2.0
 *
 * servers_report.c - the target of a scenario of servers, and whether it is met; a table for
 * people, or JSON, one object a line.
 */
#include <jansson.h>
#include <stdio.h>

#include "servers.h"

#define USED_LEAST 0.9
#define LATENCY_MOST 2.0
#define REFUSED_MOST 0.1 /* GRADIENT_FAILURES percent */
/* With so many refused no limit on calls in flight can have more than 0.877. */
#define REFUSING_USED_LEAST 0.8
#define TARGET_BYTES 40

static const char *const pilot_names[SERVERS_PILOTS] = {"weir", "fixed", "unlimited"};

void servers_report_head(void)
{
	printf("\nShare of what the servers could have served, in percent, and the latency, in "
	       "times that\nof a request that waits for no server\n\n%-20s",
	       "");
	for (int i = 0; i < SERVERS_PILOTS; i++)
		printf("  %15s", pilot_names[i]);
	printf("\n");
}

void servers_report_add(struct servers_report *report,
			const struct servers_result results[SERVERS_PILOTS])
{
	const struct servers_result *weir = &results[SERVERS_WEIR];

	for (int i = 0; i < SERVERS_PILOTS; i++) {
		report->results[i].used += results[i].used;
		report->results[i].latency += results[i].latency;
		report->results[i].refused += results[i].refused;
		report->results[i].changes += results[i].changes;
	}
	report->seeds++;
	report->met += report->scenario->refuses
			       ? weir->used >= REFUSING_USED_LEAST && weir->refused <= REFUSED_MOST
			       : weir->used >= USED_LEAST && weir->latency <= LATENCY_MOST;
}

/* Where nothing queues, latency says nothing, and failures have to do: as few as are borne. */
static const char *target_text(const struct servers_report *report, char out[TARGET_BYTES])
{
	if (report->scenario->refuses)
		snprintf(out, TARGET_BYTES, "%g %%, at most %g %% refused",
			 100 * REFUSING_USED_LEAST, 100 * REFUSED_MOST);
	else
		snprintf(out, TARGET_BYTES, "%g %% at %g x", 100 * USED_LEAST, LATENCY_MOST);
	return out;
}

static bool is_met(const struct servers_report *report)
{
	return report->met == report->seeds;
}

static void print_row(const struct servers_report *report)
{
	double seeds = report->seeds;
	char target[TARGET_BYTES];

	printf("%-20s", report->scenario->name);
	for (int i = 0; i < SERVERS_PILOTS; i++)
		printf("  %7.2f %6.2fx", 100 * report->results[i].used / seeds,
		       report->results[i].latency / seeds);
	printf("  target %s", target_text(report, target));
	if (report->scenario->refuses)
		printf(" (%.2f %% refused)", 100 * report->results[SERVERS_WEIR].refused / seeds);
	printf(": %s", is_met(report) ? "met" : "missed");
	if (report->seeds > 1)
		printf(", with %u of %u seeds", report->met, report->seeds);
	printf("\n");
}

static void dump_row(const struct servers_report *report)
{
	json_t *object = json_pack("{s:s}", "scenario", report->scenario->name);
	double seeds = report->seeds;
	char target[TARGET_BYTES];

	for (int i = 0; i < SERVERS_PILOTS; i++) {
		const struct servers_result *result = &report->results[i];

		json_object_set_new(object, pilot_names[i],
				    json_pack("{s:f,s:f,s:f,s:f}", "used", result->used / seeds,
					      "latency", result->latency / seeds, "refused",
					      result->refused / seeds, "changes",
					      result->changes / seeds));
	}
	json_object_set_new(object, "runs", json_integer(report->seeds));
	json_object_set_new(object, "target", json_string(target_text(report, target)));
	json_object_set_new(object, "verdict", json_string(is_met(report) ? "met" : "missed"));
	json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
	printf("\n");
	json_decref(object);
}

bool servers_report_print(const struct servers_report *report, bool json)
{
	if (json)
		dump_row(report);
	else
		print_row(report);
	return is_met(report);
}
