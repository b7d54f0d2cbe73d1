/* SPDX-License-Identifier: Apache-2.0
 *
 * servers.h - upstreams without a quota: so many servers, at which requests queue. How many may be
 * in flight is found by weird (concurrency = auto), or is one of two baselines: the number that
 * is right before the capacity changes, and no limit at all.
 */
#ifndef WEIR_SIM_SERVERS_H
#define WEIR_SIM_SERVERS_H

#include "sim.h"

struct servers_scenario {
	const char *name;
	unsigned servers;
	unsigned change_to; /* half-way there are so many; 0: it stays */
	double slower;	    /* half-way a request takes so many times as long; 0: it stays */
	double latency_ms;  /* of a request that waits for no server; half of it is the network's */
	unsigned workers;   /* that always have a request */
	bool varied;	    /* requests differ as exponential times do; else by a third */
	bool refuses;	    /* what finds no server is refused, and does not queue */
	bool fast;	    /* part of the short run */
};

enum servers_pilot {
	SERVERS_WEIR,
	SERVERS_FIXED,
	SERVERS_UNLIMITED,
	SERVERS_PILOTS,
};

struct servers_result {
	double used;	/* share of what the servers could have served */
	double latency; /* of those served, in times that of one that waits for no server */
	double refused; /* share of the answers */
	unsigned changes;
};

struct servers_report {
	const struct servers_scenario *scenario;
	struct servers_result results[SERVERS_PILOTS]; /* sums over the seeds */
	unsigned seeds;
	unsigned met; /* of those */
};

/* The scenarios, one after the other; false: there is none any more. */
bool servers_scenario_at(size_t index, struct servers_scenario *out);

struct servers_result servers_run(const struct servers_scenario *scenario, enum servers_pilot pilot,
				  uint64_t seed, bool trace);

/*
 * What stands above the table; the results of a seed; a scenario's line or object, which is of the
 * mean of all seeds, and whether its target is met with each of them.
 */
void servers_report_head(void);
void servers_report_add(struct servers_report *report,
			const struct servers_result results[SERVERS_PILOTS]);
bool servers_report_print(const struct servers_report *report, bool json);

#endif
