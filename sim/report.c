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
 * unused and has the least refused, added up. Weir is to be no worse than that in either figure.
 * (No worse than the best in each, whoever that is, nobody can be: the fixed rate uses all of the
 * quota and has half of its requests refused, and one that asks hardly ever is hardly ever
 * refused.)
 *
 * So much is chance. Of what is used: what is under way when a window ends, of 600 requests. Of
 * refusals: one in a thousand, the finest that any target tells. A second consumer's requests come
 * at random, so that what it leaves differs from window to window by the root of their number;
 * whoever knows no more than that leaves so much, or is refused.
 */
#define ALIKE_USED 0.005
#define ALIKE_REFUSED 0.001

static double alike_used(const struct sim_scenario *scenario)
{
	return fmax(ALIKE_USED, sqrt(scenario->others / scenario->limit));
}

static double used(const struct sim_result *result)
{
	return fmin(result->used, 1);
}

static double loss(const struct sim_result *result)
{
	return 1 - used(result) + result->refusals;
}

static enum sim_pilot_kind best_baseline(const struct sim_result results[SIM_PILOTS])
{
	int best = SIM_UNCHANGED;

	for (int i = SIM_UNCHANGED + 1; i < SIM_PILOTS; i++) {
		if (loss(&results[i]) < loss(&results[best]))
			best = i;
	}
	return (enum sim_pilot_kind)best;
}

/* What weir is to reach in this scenario. */
struct target {
	double used_least;
	double refused_most;
	double recovery_most;	       /* below 0: nothing to recover from */
	const struct sim_result *best; /* a baseline to be no worse than, or NULL */
	double alike_used;	       /* but for so much */
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

static struct target target_of(const struct sim_scenario *scenario,
			       const struct sim_result results[SIM_PILOTS])
{
	enum sim_pilot_kind best = best_baseline(results);
	struct target target = {
		.used_least = scenario->used_least,
		.refused_most = scenario->refused_most,
		.recovery_most = scenario->change_to > scenario->limit ? RECOVERY_MOST : -1,
	};

	if (scenario->refused_most > 0) {
		say_target(&target);
		return target;
	}
	target.best = &results[best];
	target.alike_used = alike_used(scenario);
	snprintf(target.text, sizeof(target.text), "no worse than %s (within %.2g %%, %.2g %%)",
		 sim_pilot_names[best], 100 * target.alike_used, 100 * ALIKE_REFUSED);
	return target;
}

static bool recovers(const struct sim_result *result, const struct target *target)
{
	return target->recovery_most < 0 ||
	       (result->recovery >= 0 && result->recovery <= target->recovery_most);
}

static bool is_met(const struct sim_result *weir, const struct target *target)
{
	if (target->best)
		return used(weir) >= used(target->best) - target->alike_used &&
		       weir->refusals <= target->best->refusals + ALIKE_REFUSED;
	return used(weir) >= target->used_least && weir->refusals <= target->refused_most &&
	       recovers(weir, target);
}

/* ---- over several courses of chance ---- */

static void mean(double *mean, double value, unsigned before)
{
	*mean += (value - *mean) / (before + 1);
}

/* The worst: never, or the latest. */
static double worst_recovery(double a, double b)
{
	return a < 0 || b < 0 ? -1 : fmax(a, b);
}

static void add(struct sim_result *to, const struct sim_result *from, unsigned before)
{
	mean(&to->accepted, from->accepted, before);
	mean(&to->refused, from->refused, before);
	mean(&to->others, from->others, before);
	mean(&to->available, from->available, before);
	mean(&to->used, used(from), before);
	mean(&to->refusals, from->refusals, before);
	to->recovery = before ? worst_recovery(to->recovery, from->recovery) : from->recovery;
	to->changes += from->changes;
}

void sim_report_add(struct sim_report *report, const struct sim_result results[SIM_PILOTS],
		    uint64_t seed)
{
	struct target target = target_of(report->scenario, results);

	if (!target.best && !is_met(&results[SIM_WEIR], &target))
		report->missed_seeds[report->missed++] = seed;
	for (int i = 0; i < SIM_PILOTS; i++)
		add(&report->results[i], &results[i], report->runs);
	report->runs++;
}

/* ---- printing ---- */

void sim_report_head(uint64_t seed, unsigned seeds)
{
	char which[64];

	snprintf(which, sizeof(which), "seed %llu", (unsigned long long)seed);
	if (seeds > 1)
		snprintf(which, sizeof(which), "means of the seeds %llu to %llu",
			 (unsigned long long)seed, (unsigned long long)(seed + seeds - 1));
	printf("Share of the available quota that was used, and of the answers that were 429, in "
	       "percent; %s\n\n%-20s",
	       which, "");
	for (int i = 0; i < SIM_PILOTS; i++)
		printf("  %15s", sim_pilot_names[i]);
	printf("\n");
}

/* A number is to be met each time; another's figures, in the mean. */
static bool is_met_by_all(const struct sim_report *report, const struct target *target)
{
	return target->best ? is_met(&report->results[SIM_WEIR], target) : report->missed == 0;
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
	for (unsigned i = 0; report->runs > 1 && i < report->missed; i++)
		printf("%s%llu", i ? ", " : " with seed ",
		       (unsigned long long)report->missed_seeds[i]);
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
	json_object_set_new(object, "runs", json_integer(report->runs));
	json_object_set_new(object, "target", json_string(target->text));
	json_object_set_new(object, "verdict", json_string(met ? "met" : "missed"));
	json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
	printf("\n");
	json_decref(object);
}

bool sim_report_print(const struct sim_report *report, bool json)
{
	struct target target = target_of(report->scenario, report->results);
	bool met = is_met_by_all(report, &target);

	if (json)
		dump_row(report, &target, met);
	else
		print_row(report, &target, met);
	return met;
}

void sim_report_tail(unsigned ran, unsigned missed)
{
	printf("\nNo worse than a baseline: in either figure, but for what is chance. Which one: "
	       "the "
	       "one that leaves the\nleast unused and has the least refused, added up. "
	       "recovered: windows from a rise until 85 %% of it is used.\n"
	       "%u scenarios, targets met in %u, missed in %u\n",
	       ran, ran - missed, missed);
}
