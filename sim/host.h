/* SPDX-License-Identifier: Apache-2.0
 *
 * host.h - one host of a world: a hosted segment, and the pilot that decides its rate.
 */
#ifndef WEIR_SIM_HOST_H
#define WEIR_SIM_HOST_H

#include "adaptive.h"
#include "sim.h"
#include "weir.h"

struct sim_host {
	const struct sim_scenario *scenario;
	enum sim_pilot_kind pilot;
	struct weir *weir;
	struct weir_endpoint *endpoint;
	uint64_t now_ns;
	struct terms configured;
	struct adaptive_settings settings;
	struct adaptive adaptive;
	uint64_t tick_ns; /* when the controller wants to look at the time; UINT64_MAX: never */
	unsigned changes;
	bool trace;
	char name[16];
};

void sim_host_begin(struct sim_host *host, const struct sim_scenario *scenario,
		    enum sim_pilot_kind pilot, unsigned number, bool trace);
void sim_host_end(struct sim_host *host);

/* Moves the host's clock to that time. */
void sim_host_time(struct sim_host *host, uint64_t now_ns);

/* May one request go out? If not, *wait_ns says how long to wait, or WEIR_NEVER. */
bool sim_host_draw(struct sim_host *host, uint64_t *wait_ns);

/* A response; true: the rate or the gate may have changed, so who waits looks again. */
bool sim_host_observe(struct sim_host *host, const struct sim_response *response,
		      uint64_t latency_ns);
bool sim_host_tick(struct sim_host *host);

/* What a response that is there at that time says, in the controller's terms (read.c). */
void sim_read(const struct sim_response *response, uint64_t now_ns,
	      struct adaptive_observation *out);

#endif
