/* SPDX-License-Identifier: Apache-2.0
 *
 * main.c - weir-sim: options, and one scenario after the other.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "servers.h"
#include "sim.h"

struct options {
	const char *filter;
	uint64_t seed;
	uint64_t seeds;
	bool json;
	bool fast;
	bool list;
	bool trace;
};

static const char usage[] =
	"Usage: weir-sim [--scenario FILTER] [--seed N] [--seeds N] [--json] [--fast] [--list]\n"
	"                [--trace]\n"
	"Adaptive limits against models of upstreams, on the manual clock.\n"
	"  --scenario FILTER  only those whose names contain FILTER\n"
	"  --seed N           another course of chance; default 1\n"
	"  --seeds N          N of them, from --seed on, at most 64: figures are means; a target "
	"in\n"
	"                     numbers has to be met by each, a baseline's in the mean\n"
	"  --json             an object a line instead of a table\n"
	"  --fast             a few scenarios, for tests\n"
	"  --list             the names of the scenarios\n"
	"  --trace            what weird decides, and when\n"
	"Exit status: 0, 1 when a target is missed, 2 for wrong usage.\n";

static const struct option long_options[] = {
	{"scenario", required_argument, NULL, 's'},
	{"seed", required_argument, NULL, 'n'},
	{"seeds", required_argument, NULL, 'c'},
	{"json", no_argument, NULL, 'j'},
	{"fast", no_argument, NULL, 'f'},
	{"list", no_argument, NULL, 'l'},
	{"trace", no_argument, NULL, 't'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

static bool read_seed(const char *text, uint64_t *seed)
{
	char *end;
	unsigned long long value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || end == text || *end || *text == '-')
		return false;
	*seed = value;
	return true;
}

/* Returns -1 to go on, or the exit status. */
static int read_options(int argc, char **argv, struct options *out)
{
	int which;

	while ((which = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		switch (which) {
		case 's':
			out->filter = optarg;
			break;
		case 'n':
			if (!read_seed(optarg, &out->seed)) {
				fprintf(stderr, "weir-sim: a seed is a number from 0 on: %s\n",
					optarg);
				return 2;
			}
			break;
		case 'c':
			if (!read_seed(optarg, &out->seeds) || out->seeds < 1 ||
			    out->seeds > SIM_SEEDS_MOST) {
				fprintf(stderr, "weir-sim: from 1 to %d seeds: %s\n",
					SIM_SEEDS_MOST, optarg);
				return 2;
			}
			break;
		case 'j':
			out->json = true;
			break;
		case 'f':
			out->fast = true;
			break;
		case 'l':
			out->list = true;
			break;
		case 't':
			out->trace = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind == argc)
		return -1;
	fputs(usage, stderr);
	return 2;
}

static bool wanted(const char *name, bool fast, const struct options *options)
{
	return strstr(name, options->filter) && (fast || !options->fast);
}

/* Returns whether the targets are met. */
static bool run(const struct sim_scenario *scenario, const struct options *options)
{
	struct sim_report report = {.scenario = scenario};
	bool met;

	for (uint64_t i = 0; i < options->seeds; i++) {
		uint64_t seed = options->seed + i;
		struct sim_result results[SIM_PILOTS];

		for (int pilot = 0; pilot < SIM_PILOTS; pilot++)
			results[pilot] = sim_run(scenario, (enum sim_pilot_kind)pilot, seed,
						 options->trace && pilot == SIM_WEIR);
		sim_report_add(&report, results, seed);
	}
	met = sim_report_print(&report, options->json);
	fflush(stdout);
	return met;
}

static bool run_servers(const struct servers_scenario *scenario, const struct options *options)
{
	struct servers_report report = {.scenario = scenario};
	bool met;

	for (uint64_t i = 0; i < options->seeds; i++) {
		struct servers_result results[SERVERS_PILOTS];

		for (int pilot = 0; pilot < SERVERS_PILOTS; pilot++)
			results[pilot] =
				servers_run(scenario, (enum servers_pilot)pilot, options->seed + i,
					    options->trace && pilot == SERVERS_WEIR);
		servers_report_add(&report, results);
	}
	met = servers_report_print(&report, options->json);
	fflush(stdout);
	return met;
}

/* What has a quota comes first; returns how many there were. */
static unsigned run_all_servers(const struct options *options, unsigned *missed)
{
	struct servers_scenario scenario;
	unsigned ran = 0;

	for (size_t i = 0; servers_scenario_at(i, &scenario); i++) {
		if (!wanted(scenario.name, scenario.fast, options))
			continue;
		if (ran++ == 0 && !options->json && !options->list)
			servers_report_head();
		if (options->list)
			puts(scenario.name);
		else
			*missed += !run_servers(&scenario, options);
	}
	return ran;
}

int main(int argc, char **argv)
{
	struct options options = {.filter = "", .seed = 1, .seeds = 1};
	int status = read_options(argc, argv, &options);
	struct sim_scenario scenario;
	unsigned ran = 0;
	unsigned missed = 0;

	if (status >= 0)
		return status;
	for (size_t i = 0; sim_scenario_at(i, &scenario); i++) {
		if (!wanted(scenario.name, scenario.fast, &options))
			continue;
		if (ran++ == 0 && !options.json && !options.list)
			sim_report_head(options.seed, (unsigned)options.seeds);
		if (options.list)
			puts(scenario.name);
		else
			missed += !run(&scenario, &options);
	}
	ran += run_all_servers(&options, &missed);
	if (ran == 0) {
		fprintf(stderr, "weir-sim: no scenario's name contains '%s'\n", options.filter);
		return 2;
	}
	if (!options.json && !options.list)
		sim_report_tail(ran, missed);
	return missed ? 1 : 0;
}
