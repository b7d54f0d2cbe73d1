/* SPDX-License-Identifier: Apache-2.0
 *
 * report.c - what a scenario's targets are, and whether they are met; a table for people, or JSON,
 * one object a line.
 */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sim.h"

#define RECOVERY_MOST 1.0 /* windows */

/*
 * With a second consumer, or lies, the best baseline is the target: the one that leaves the least
 * unused and has the least refused, added up. Weir is to be as good in this sum, and where it is
 * behind in one of the two figures, it has to be ahead in the other. So much is chance:
 */
#define ALIKE 0.005

static double used(const struct sim_result *result)
{
	return fmin(result->used, 1);
}

static double loss(const struct sim_result *result)
{
	return 1 - used(result) + result->refusals;
}

static enum sim_pilot_kind best_baseline(const struct sim_report *report)
{
	int best = SIM_UNCHANGED;

	for (int i = SIM_UNCHANGED + 1; i < SIM_PILOTS; i++) {
		if (loss(&report->results[i]) < loss(&report->results[best]))
			best = i;
	}
	return (enum sim_pilot_kind)best;
}

/* What weir is to reach in this scenario. */
struct target {
	double used_least;
	double refused_most;
	double recovery_most;	       /* below 0: nothing to recover from */
	const struct sim_result *best; /* a baseline to be compared with, or NULL */
	char text[80];
};

static void say_target(struct target *target)
{
	size_t at = 0;

	if (target->used_least > 0)
		at = (size_t)snprintf(target->text, sizeof(target->text), "%g %%, ",
				      100 * target->used_least);
	snprintf(target->text + at, sizeof(target->text) - at, "at most %g %%%s",
		 100 * target->refused_most,
		 target->recovery_most > 0 ? ", recovered within a window" : "");
}

static struct target target_of(const struct sim_report *report)
{
	const struct sim_scenario *scenario = report->scenario;
	enum sim_pilot_kind best = best_baseline(report);
	struct target target = {
		.used_least = scenario->used_least,
		.refused_most = scenario->refused_most,
		.recovery_most = scenario->change_to > scenario->limit ? RECOVERY_MOST : -1,
	};

	if (scenario->refused_most > 0) {
		say_target(&target);
		return target;
	}
	target.best = &report->results[best];
	target.refused_most = 1;
	snprintf(target.text, sizeof(target.text), "as good as %s", sim_pilot_names[best]);
	return target;
}

static bool recovers(const struct sim_result *result, const struct target *target)
{
	return target->recovery_most < 0 ||
	       (result->recovery >= 0 && result->recovery <= target->recovery_most);
}

/* How far behind in that figure, beyond what is chance; 0: it is not. */
static double behind(double figure, double best)
{
	return figure < best - ALIKE ? best - figure : 0;
}

static bool as_good(const struct sim_result *weir, const struct sim_result *best)
{
	bool less = behind(used(weir), used(best)) > 0;
	bool more = behind(-weir->refusals, -best->refusals) > 0;

	return loss(weir) <= loss(best) + ALIKE && !(less && weir->refusals >= best->refusals) &&
	       !(more && used(weir) <= used(best));
}

static bool is_met(const struct sim_report *report, const struct target *target)
{
	const struct sim_result *weir = &report->results[SIM_WEIR];

	if (target->best)
		return as_good(weir, target->best);
	return used(weir) >= target->used_least && weir->refusals <= target->refused_most &&
	       recovers(weir, target);
}

void sim_report_head(uint64_t seed)
{
	printf("Share of the available quota that was used, and of the answers that were 429, in "
	       "percent; seed %llu\n\n%-20s",
	       (unsigned long long)seed, "");
	for (int i = 0; i < SIM_PILOTS; i++)
		printf("  %15s", sim_pilot_names[i]);
	printf("\n");
}

static void print_row(const struct sim_report *report, const struct target *target, bool met)
{
	const struct sim_result *weir = &report->results[SIM_WEIR];

	printf("%-20s", report->scenario->name);
	for (int i = 0; i < SIM_PILOTS; i++)
		printf("  %7.2f %7.2f", 100 * report->results[i].used,
		       100 * report->results[i].refusals);
	printf("  target %s", target->text);
	if (target->recovery_most > 0 && weir->recovery < 0)
		printf(" (not)");
	else if (target->recovery_most > 0)
		printf(" (%.2f)", weir->recovery);
	printf(": %s", met ? "met" : "missed");
	if (target->best && behind(used(weir), used(target->best)) > 0)
		printf(", with %.2f less used", 100 * behind(used(weir), used(target->best)));
	if (target->best && behind(-weir->refusals, -target->best->refusals) > 0)
		printf(", with %.2f more refused",
		       100 * behind(-weir->refusals, -target->best->refusals));
	printf("\n");
}

static json_t *json_result(const struct sim_result *result)
{
	return json_pack("{s:f,s:f,s:f,s:f,s:f,s:f,s:o,s:i}", "used", result->used, "refused",
			 result->refusals, "accepted", result->accepted, "refusals",
			 result->refused, "others", result->others, "available", result->available,
			 "recovery",
			 result->recovery >= 0 ? json_real(result->recovery) : json_null(),
			 "changes", (int)result->changes);
}

static void dump_row(const struct sim_report *report, const struct target *target, bool met)
{
	json_t *object = json_pack("{s:s}", "scenario", report->scenario->name);

	for (int i = 0; i < SIM_PILOTS; i++)
		json_object_set_new(object, sim_pilot_names[i], json_result(&report->results[i]));
	json_object_set_new(object, "target", json_string(target->text));
	json_object_set_new(object, "verdict", json_string(met ? "met" : "missed"));
	json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
	printf("\n");
	json_decref(object);
}

bool sim_report_print(const struct sim_report *report, bool json)
{
	struct target target = target_of(report);
	bool met = is_met(report, &target);

	if (json)
		dump_row(report, &target, met);
	else
		print_row(report, &target, met);
	return met;
}

void sim_report_tail(unsigned ran, unsigned missed)
{
	printf("\n%u scenarios, targets met in %u, missed in %u\n", ran, ran - missed, missed);
}
