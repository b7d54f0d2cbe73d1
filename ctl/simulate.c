/* SPDX-License-Identifier: Apache-2.0
 *
 * simulate LOG... - what a limit would have made of the requests in access logs.
 */
#include "simulate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "plot.h"
#include "time_source.h"
#include "value.h"
#include "weir.h"

#define NS_PER_S 1000000000ull
#define KEYS 1000000u
#define SLACK_S 10u

/* ---- what is asked for ---- */

static bool read_term(struct simulation *simulation, enum option_id id)
{
	const char *text = simulation->ctl->args.values[id];
	const char *key = option_specs[id].name;
	const char *wrong = text ? config_set_term(&simulation->terms, key, text) : NULL;

	if (wrong)
		ctl_misuse(simulation->ctl, "--%s %.80s: %s", key, text, wrong);
	return !wrong;
}

static bool read_sweep(struct simulation *simulation)
{
	const char *text = simulation->ctl->args.values[OPTION_SWEEP];
	const char *rate = simulation->ctl->args.values[OPTION_RATE];
	const char *burst = simulation->ctl->args.values[OPTION_BURST];
	const char *wrong = text ? sweep_read(text, &simulation->sweep) : NULL;

	simulation->swept = text != NULL;
	if (!wrong && text && simulation->sweep.what == SWEEP_RATE && rate)
		wrong = "leave --rate out";
	if (!wrong && text && simulation->sweep.what == SWEEP_BURST && burst)
		wrong = "leave --burst out";
	if (wrong)
		ctl_misuse(simulation->ctl, "--sweep %.80s: %s", text, wrong);
	else if (!rate && (!text || simulation->sweep.what == SWEEP_BURST))
		ctl_misuse(simulation->ctl, "which limit? --rate R, or --sweep rate=FROM..TO");
	else
		return true;
	return false;
}

static bool read_count(struct simulation *simulation)
{
	const char *text = simulation->ctl->args.values[OPTION_KEYS];
	const char *wrong =
		text ? value_count(text, 1, MARK_TABLE_KEYS_MAX, &simulation->keys_max) : NULL;

	if (wrong)
		ctl_misuse(simulation->ctl, "--keys %.80s: a whole number from 1 to 1Gi", text);
	return !wrong;
}

static bool read_slack(struct simulation *simulation)
{
	uint64_t ns = SLACK_S * NS_PER_S;

	if (!ctl_duration(simulation->ctl, OPTION_SLACK, false, &ns))
		return false;
	if (ns > LINEUP_SLACK_MAX_S * NS_PER_S || ns % NS_PER_S) {
		ctl_misuse(simulation->ctl, "--slack %.80s: whole seconds, up to 1h",
			   simulation->ctl->args.values[OPTION_SLACK]);
		return false;
	}
	simulation->intake.slack_ns = ns;
	simulation->lineup.slack_s = (uint32_t)(ns / NS_PER_S);
	return true;
}

/* A number of bits at `*text`, up to `most`, and behind it a comma or the end. */
static bool read_bits(const char **text, unsigned most, unsigned *bits)
{
	char *end;
	unsigned long value = strtoul(*text, &end, 10);

	if (end == *text || value < 1 || value > most || (*end && *end != ',') || **text == '+' ||
	    **text == '-')
		return false;
	*bits = (unsigned)value;
	*text = *end ? end + 1 : end;
	return true;
}

static bool read_fold(struct simulation *simulation)
{
	const char *text = simulation->ctl->args.values[OPTION_FOLD];
	const char *at = text;
	unsigned ipv6, ipv4 = 32;

	if (!text)
		return true;
	if (read_bits(&at, 128, &ipv6) && (!*at || read_bits(&at, 32, &ipv4)) && !*at) {
		simulation->intake.fold = ipv4 | ipv6 << 8;
		return true;
	}
	ctl_misuse(
		simulation->ctl,
		"--fold %.80s: bits that are kept, of an IPv6 address and, if others than 32, of "
		"an IPv4 address: 64 or 64,24",
		text);
	return false;
}

static bool read_fields(struct simulation *simulation)
{
	const char *const *values = simulation->ctl->args.values;
	const char *wrong = log_format_begin(&simulation->format, values[OPTION_KEY],
					     values[OPTION_TIME], values[OPTION_COST_FIELD]);

	if (wrong)
		ctl_misuse(simulation->ctl, "--key, --time, --cost: %s", wrong);
	return !wrong;
}

static bool read_plot(const struct simulation *simulation)
{
	const char *path = simulation->ctl->args.values[OPTION_PLOT];
	char wrong[PLOT_WRONG_BYTES];

	if (!path || plot_possible(path, wrong))
		return true;
	ctl_misuse(simulation->ctl, "--plot %.80s: %s", path, wrong);
	return false;
}

/* Standard input can be read once. */
static bool read_operands(const struct simulation *simulation)
{
	const struct arguments *args = &simulation->ctl->args;
	int stdins = 0;

	for (int i = 0; i < args->operand_count; i++)
		stdins += !strcmp(args->operands[i], "-");
	if (stdins > 1)
		ctl_misuse(simulation->ctl, "standard input (-) can be one log");
	else if (args->operand_count > INTAKE_LOGS_MAX)
		ctl_misuse(simulation->ctl,
			   "more than %d logs at once; put them together: "
			   "cat LOG... | weirctl simulate ... -",
			   INTAKE_LOGS_MAX);
	else
		return true;
	return false;
}

/* The limits, each of which must be one that weir.ini could have. */
static bool make_limits(struct simulation *simulation, unsigned *count)
{
	const struct sweep *sweep = &simulation->sweep;
	bool burst_given = simulation->ctl->args.values[OPTION_BURST] != NULL;

	*count = simulation->swept ? sweep->count : 1;
	for (unsigned i = 0; i < *count; i++) {
		struct terms *terms = &simulation->limits[i].terms;
		char rate[VALUE_TEXT_BYTES];
		const char *wrong;

		*terms = simulation->terms;
		if (simulation->swept && sweep->what == SWEEP_RATE) {
			terms->rate_micro = sweep->micro[i];
			terms->period_ns = sweep->period_ns;
		} else if (simulation->swept) {
			terms->burst_micro = sweep->micro[i];
			burst_given = true;
		}
		wrong = config_finish_terms(terms, burst_given, false);
		if (!wrong)
			continue;
		ctl_misuse(simulation->ctl, "rate %s: %s",
			   value_rate_text(terms->rate_micro, terms->period_ns, rate), wrong);
		return false;
	}
	return true;
}

static bool read_options(struct simulation *simulation, unsigned *count)
{
	simulation->keys_max = KEYS;
	simulation->lineup.at_once = simulation->ctl->args.values[OPTION_AT_ONCE] != NULL;
	return read_sweep(simulation) && read_term(simulation, OPTION_RATE) &&
	       read_term(simulation, OPTION_BURST) && read_term(simulation, OPTION_WINDOW) &&
	       make_limits(simulation, count) && read_count(simulation) && read_slack(simulation) &&
	       read_fold(simulation) && read_fields(simulation) && read_plot(simulation) &&
	       read_operands(simulation);
}

/* ---- the simulation ---- */

/* Reads the logs to their end. Returns 0 or -ENOMEM. */
static int replay_logs(struct simulation *simulation)
{
	const struct arrival *arrival;

	while ((arrival = intake_next(&simulation->intake))) {
		int taken = lineup_add(&simulation->lineup, arrival);

		if (taken < 0)
			return taken;
		if (taken == 0)
			intake_skip(&simulation->intake, arrival, LOG_SKIP_LATE);
	}
	return lineup_end(&simulation->lineup);
}

/* Says which logs ended before their end. Returns whether none did. */
static bool logs_ended_well(const struct simulation *simulation)
{
	bool well = true;

	for (uint32_t i = 0; i < simulation->intake.count; i++) {
		const struct log_source *source = &simulation->intake.logs[i].source;

		if (!source->why[0])
			continue;
		ctl_complain("%s, behind line %llu: %s; what was read until there is counted",
			     source->name, (unsigned long long)source->line, source->why);
		well = false;
	}
	return well;
}

/* The first reason why nothing was counted, if there were lines. */
static bool something_was_taken(const struct simulation *simulation)
{
	const struct intake *intake = &simulation->intake;

	if (replay_requests(&simulation->replay) || intake_lines(intake) == 0)
		return true;
	for (unsigned i = LOG_TAKEN + 1; i < LOG_SKIP_COUNT; i++) {
		const struct intake_skip *skip = &intake->skips[i];
		bool key = i == LOG_SKIP_KEY;

		if (skip->lines == 0)
			continue;
		ctl_complain(
			"no request in %llu line%s: %llu %s%s%s, as line %llu of %s%s",
			(unsigned long long)intake_lines(intake),
			intake_lines(intake) == 1 ? "" : "s", (unsigned long long)skip->lines,
			log_skip_text((enum log_skip)i), key ? " " : "",
			key ? simulation->format.key.name : "", (unsigned long long)skip->line,
			intake->logs[skip->log].source.name,
			key ? "; a field is a column's number, the path of a member of JSON, or "
			      "one of " LOG_COLUMNS
			    : "");
	}
	return false;
}

static bool write_plot(const struct simulation *simulation)
{
	const char *path = simulation->ctl->args.values[OPTION_PLOT];
	char wrong[PLOT_WRONG_BYTES];

	if (!path)
		return true;
	if (simulation->swept ? plot_sweep(path, &simulation->replay, &simulation->sweep, wrong)
			      : plot_time(path, &simulation->replay, wrong))
		return true;
	ctl_complain("--plot %.200s: %s", path, wrong);
	return false;
}

static enum ctl_exit run(struct simulation *simulation, unsigned count)
{
	struct lineup *lineup = &simulation->lineup;
	uint64_t began_ns = time_source_kernel_ns(CLOCK_MONOTONIC);
	uint64_t cpu_ns = time_source_kernel_ns(CLOCK_PROCESS_CPUTIME_ID);
	bool well;
	int status;

	lineup->take = replay_take;
	lineup->context = &simulation->replay;
	status = replay_begin(&simulation->replay, simulation->limits, count, simulation->keys_max);
	if (status == 0)
		status = lineup_begin(lineup);
	if (status == 0)
		status = replay_logs(simulation);
	if (status < 0)
		return ctl_complain("%s", weir_strerror(status));
	simulation->elapsed_ns = time_source_kernel_ns(CLOCK_MONOTONIC) - began_ns;
	simulation->cpu_ns = time_source_kernel_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_ns;
	well = logs_ended_well(simulation);
	if (!something_was_taken(simulation))
		return CTL_CANNOT;
	if (!simulation_print(simulation))
		return ctl_complain("%s", weir_strerror(-ENOMEM));
	return write_plot(simulation) && well ? CTL_DONE : CTL_CANNOT;
}

enum ctl_exit command_simulate(struct ctl *ctl)
{
	struct simulation *simulation = calloc(1, sizeof(*simulation));
	enum ctl_exit status = CTL_CANNOT;
	struct intake_wrong wrong;
	unsigned count;

	if (!simulation)
		return ctl_complain("%s", weir_strerror(-ENOMEM));
	simulation->ctl = ctl;
	if (!read_options(simulation, &count))
		goto out;
	if (intake_open(&simulation->intake, ctl->args.operands, (uint32_t)ctl->args.operand_count,
			&simulation->format, &wrong) < 0)
		ctl_complain("%s: %s", wrong.name, wrong.why);
	else
		status = run(simulation, count);
out:
	replay_free(&simulation->replay);
	lineup_free(&simulation->lineup);
	intake_close(&simulation->intake);
	free(simulation);
	return status;
}
