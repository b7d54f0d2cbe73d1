/* SPDX-License-Identifier: Apache-2.0
 *
 * pilot.c - a host, and who decides its rate: weird's controller or a baseline.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"
#include "value.h"

#define ENDPOINT "upstream"

const char *const sim_pilot_names[SIM_PILOTS] = {"weir", "fixed", "backoff", "reference"};

static void must(int status, const char *what)
{
	if (status >= 0)
		return;
	fprintf(stderr, "weir-sim: %s: %s\n", what, weir_strerror(status));
	exit(1);
}

static void configure(struct sim_host *host)
{
	const struct sim_scenario *scenario = host->scenario;

	host->configured = (struct terms){
		.rate_micro = (uint64_t)(scenario->rate_per_s * TERMS_MICRO),
		.period_ns = SIM_S,
		.burst_micro = (uint64_t)(scenario->burst * TERMS_MICRO),
	};
	host->settings = (struct adaptive_settings){
		.mode = ADAPTIVE_HEADERS,
		.rate_per_s = scenario->rate_per_s,
		.burst = scenario->burst,
		.safety = ADAPTIVE_SAFETY,
		.max_close_ns = ADAPTIVE_MAX_CLOSE_NS,
	};
}

void sim_host_begin(struct sim_host *host, const struct sim_scenario *scenario,
		    enum sim_pilot_kind pilot, unsigned number, bool trace)
{
	char ini[200];
	char why[200] = "";
	char rate[VALUE_TEXT_BYTES];

	*host = (struct sim_host){
		.scenario = scenario, .pilot = pilot, .tick_ns = UINT64_MAX, .trace = trace};
	snprintf(host->name, sizeof(host->name), "host %u", number);
	configure(host);
	value_rate_text(host->configured.rate_micro, SIM_S, rate);
	snprintf(ini, sizeof(ini), "[endpoint " ENDPOINT "]\nrate = %s\nburst = %.0f\n", rate,
		 scenario->burst);
	must(weir_host(&host->weir, ini, WEIR_CLOCK_MANUAL, NULL, why, sizeof(why)), why);
	must(weir_endpoint(host->weir, ENDPOINT, &host->endpoint), ENDPOINT);
	adaptive_begin(&host->adaptive, &host->settings, 0, 0);
}

void sim_host_end(struct sim_host *host)
{
	weir_endpoint_close(host->endpoint);
	weir_close(host->weir);
}

void sim_host_time(struct sim_host *host, uint64_t now_ns)
{
	if (now_ns > host->now_ns)
		must(weir_clock_advance(host->weir, now_ns - host->now_ns), "clock");
	host->now_ns = now_ns;
}

bool sim_host_draw(struct sim_host *host, uint64_t *wait_ns)
{
	struct weir_answer answer;

	if (weir_acquire(host->endpoint, 1, &answer) == WEIR_ADMIT)
		return true;
	must(answer.fault, "acquire");
	*wait_ns = answer.wait_ns;
	return false;
}

static double drawn(struct sim_host *host)
{
	struct weir_level level = {.size = sizeof(level)};

	must(weir_peek(host->endpoint, &level), "peek");
	return level.granted_tokens - level.returned_tokens;
}

static void update(struct sim_host *host, const struct terms *terms)
{
	char rate[VALUE_TEXT_BYTES];
	char burst[VALUE_TEXT_BYTES];

	must(weir_update(host->weir, ENDPOINT,
			 value_rate_text(terms->rate_micro, terms->period_ns, rate),
			 value_tokens_text(terms->burst_micro, burst), WEIR_KEEP_USED),
	     "update");
	host->changes++;
}

/* What weird does with a decision. */
static void carry_out(struct sim_host *host, const struct adaptive_decision *decision)
{
	struct terms terms;

	adaptive_terms(decision, &host->configured, &terms);
	update(host, &terms);
	if (decision->closed_until_ns > host->now_ns)
		must(weir_gate_close(host->endpoint, decision->closed_until_ns - host->now_ns),
		     "close");
	if (host->trace)
		printf("%10.3f %s %9.3f/s closed %7.3f s, limit %.0f, left %.0f, reset %.3f: "
		       "%s%s\n",
		       (double)host->now_ns / 1e9, host->name, decision->rate_per_s,
		       decision->closed_until_ns
			       ? (double)(decision->closed_until_ns - host->now_ns) / 1e9
			       : 0,
		       decision->limit, decision->remaining, (double)decision->reset_at_ns / 1e9,
		       adaptive_cause_text(decision->cause),
		       decision->distrusts ? " (distrusts)" : "");
}

static bool weir_observes(struct sim_host *host, const struct sim_response *response,
			  uint64_t latency_ns)
{
	struct adaptive_observation observation;
	struct adaptive_decision decision;
	bool changed;

	sim_read(response, host->now_ns, &observation);
	/* what is urgent is done by the worker, whatever is decided */
	if (observation.retry_ns)
		must(weir_gate_close(host->endpoint, observation.retry_ns), "close");
	observation.response_ns = host->now_ns;
	observation.latency_ns = latency_ns;
	observation.drawn = drawn(host);
	changed = adaptive_observe(&host->adaptive, &host->settings, host->now_ns, &observation,
				   &decision);
	if (changed)
		carry_out(host, &decision);
	host->tick_ns = decision.next_ns;
	return changed;
}

/* The reference: whatever comes last has the say, for ever. */
static bool reference_observes(struct sim_host *host, const struct sim_response *response)
{
	struct adaptive_observation seen;
	struct terms terms = host->configured;
	double rate;

	sim_read(response, host->now_ns, &seen);
	if ((seen.says & ADAPTIVE_SAYS_REMAINING) && (seen.says & ADAPTIVE_SAYS_RESET) &&
	    seen.remaining > 0 && seen.reset_ns > 0)
		rate = seen.remaining / ((double)seen.reset_ns / 1e9) * 0.9;
	else if (seen.retry_ns)
		rate = 0.9 / ((double)seen.retry_ns / 1e9);
	else
		return false;
	terms.rate_micro = (uint64_t)(fmin(fmax(rate, 1), 1e6) * TERMS_MICRO);
	update(host, &terms);
	return true;
}

bool sim_host_observe(struct sim_host *host, const struct sim_response *response,
		      uint64_t latency_ns)
{
	switch (host->pilot) {
	case SIM_WEIR:
		return weir_observes(host, response, latency_ns);
	case SIM_REFERENCE:
		return reference_observes(host, response);
	default:
		return false;
	}
}

bool sim_host_tick(struct sim_host *host)
{
	struct adaptive_decision decision;
	bool changed;

	if (host->pilot != SIM_WEIR)
		return false;
	changed = adaptive_tick(&host->adaptive, &host->settings, host->now_ns, drawn(host),
				&decision);
	if (changed)
		carry_out(host, &decision);
	host->tick_ns = decision.next_ns;
	return changed;
}
