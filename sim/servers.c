/* SPDX-License-Identifier: Apache-2.0
 *
 * servers.c - a world of one host, workers, and servers with a queue before them. The host is a
 * segment on the manual clock; its permits, what calls tell and who makes a limit of it are those
 * of libweir and weird.
 */
#include "servers.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "inflight.h"
#include "log.h"
#include "members.h"
#include "permit_chain.h"
#include "permits.h"
#include "rules.h"
#include "weir.h"

#define LENGTH_LEAST_S 60.0
#define LENGTH_LATENCIES 2400 /* so many times as long as a request, if that is longer */
#define LOOK_NS (50 * SIM_MS) /* as often as weird looks */
#define SERVED 0.5	      /* of the latency; the rest is the network's */
#define VARIED 0.3	      /* of a time that is chance, elsewhere */
#define RETRY_NS (20 * SIM_MS)

static const struct servers_scenario scenarios[] = {
	{.name = "servers/few", .servers = 3},
	{.name = "servers/steady", .servers = 20},
	{.name = "servers/many", .servers = 80, .workers = 400},
	{.name = "servers/rise", .servers = 10, .change_to = 40, .fast = true},
	{.name = "servers/fall", .servers = 40, .change_to = 10, .fast = true},
	{.name = "servers/rise-many", .servers = 25, .change_to = 80, .workers = 400},
	{.name = "servers/fall-many", .servers = 80, .change_to = 25, .workers = 400},
	{.name = "servers/slower", .servers = 20, .slower = 3},
	{.name = "servers/faster", .servers = 20, .slower = 0.3},
	{.name = "servers/slow", .servers = 20, .change_to = 8, .latency_ms = 1000},
	{.name = "servers/quick", .servers = 20, .change_to = 8, .latency_ms = 5},
	{.name = "servers/varied", .servers = 20, .varied = true},
	{.name = "servers/varied-rise", .servers = 10, .change_to = 40, .varied = true},
	{.name = "servers/varied-fall", .servers = 40, .change_to = 10, .varied = true},
	{.name = "servers/refuses", .servers = 40, .change_to = 20, .refuses = true},
};

bool servers_scenario_at(size_t index, struct servers_scenario *out)
{
	if (index >= sizeof(scenarios) / sizeof(scenarios[0]))
		return false;
	*out = scenarios[index];
	if (out->latency_ms <= 0)
		out->latency_ms = 50;
	if (out->workers == 0)
		out->workers = 150;
	return true;
}

/* ---- a world ---- */

struct request {
	struct permit_taken permit;
	uint64_t sent_ns;
	bool passed;
};

struct world {
	const struct servers_scenario *scenario;
	enum servers_pilot pilot;
	struct sim_random random;
	struct sim_events events;
	struct segment segment;
	uint32_t row;
	uint64_t owner;
	struct inflight inflight;
	struct request *requests; /* one a worker */
	unsigned *idle;		  /* workers without a permit, the last come first */
	unsigned idle_count;
	unsigned *queue; /* before the servers; a ring of as many as there are workers */
	unsigned first, queued;
	unsigned servers, busy;
	double service_ns;
	uint64_t now_ns;
	uint64_t end_ns;
	double served;
	double latency_ns; /* of those, all together, in times of one that waits for no server */
	double refused;
	struct servers_result result;
};

static void must(int64_t status, const char *what)
{
	if (status >= 0)
		return;
	fprintf(stderr, "weir-sim: %s: %s\n", what, weir_strerror((int)status));
	exit(1);
}

static double length_s(const struct servers_scenario *scenario)
{
	return fmax(LENGTH_LEAST_S, scenario->latency_ms / 1e3 * LENGTH_LATENCIES);
}

static void *allocate(size_t count, size_t bytes)
{
	void *memory = calloc(count, bytes);

	must(memory ? 0 : -ENOMEM, "memory");
	return memory;
}

static const struct rule_row *row(const struct world *world)
{
	return &world->segment.rows[world->row];
}

static double unloaded_ns(const struct world *world)
{
	return world->scenario->latency_ms * (double)SIM_MS * (1 - SERVED) + world->service_ns;
}

static uint64_t any_ns(struct world *world, double mean_ns)
{
	double chance = world->scenario->varied ? 1 : VARIED;

	return (uint64_t)((1 - chance) * mean_ns +
			  sim_random_exponential(&world->random, chance * mean_ns));
}

static uint64_t leg_ns(struct world *world)
{
	return any_ns(world, world->scenario->latency_ms * (double)SIM_MS * (1 - SERVED) / 2);
}

/* ---- requests ---- */

static void send(struct world *world, unsigned who)
{
	world->requests[who].sent_ns = world->now_ns;
	sim_events_add(&world->events, world->now_ns + leg_ns(world), SIM_EVENT_ARRIVAL, who);
}

/* Those without a permit take what there is. */
static void pump(struct world *world)
{
	while (world->idle_count) {
		unsigned who = world->idle[world->idle_count - 1];
		enum permit_result result = permits_take(&world->segment, row(world), world->owner,
							 NULL, NULL, &world->requests[who].permit);

		if (result != PERMIT_TAKEN)
			return;
		world->idle_count--;
		send(world, who);
	}
}

static void serve(struct world *world, unsigned who)
{
	world->busy++;
	sim_events_add(&world->events, world->now_ns + any_ns(world, world->service_ns),
		       SIM_EVENT_SERVED, who);
}

static void arrive(struct world *world, unsigned who)
{
	bool is_free = world->busy < world->servers;

	world->requests[who].passed = is_free || !world->scenario->refuses;
	if (is_free)
		serve(world, who);
	else if (world->scenario->refuses)
		sim_events_add(&world->events, world->now_ns + leg_ns(world), SIM_EVENT_RESPONSE,
			       who);
	else
		world->queue[(world->first + world->queued++) % world->scenario->workers] = who;
}

static void leave(struct world *world, unsigned who)
{
	world->busy--;
	sim_events_add(&world->events, world->now_ns + leg_ns(world), SIM_EVENT_RESPONSE, who);
	while (world->queued && world->busy < world->servers) {
		unsigned next = world->queue[world->first];

		world->first = (world->first + 1) % world->scenario->workers;
		world->queued--;
		serve(world, next);
	}
}

/* A worker that was refused goes on after a moment. */
static void respond(struct world *world, unsigned who)
{
	struct request *request = &world->requests[who];

	must(permits_release(&world->segment, row(world), request->permit.index,
			     request->permit.word),
	     "release");
	permit_found_end(&world->segment, row(world), request->permit.ticks);
	if (request->passed) {
		world->served++;
		world->latency_ns +=
			(double)(world->now_ns - request->sent_ns) / unloaded_ns(world);
		world->idle[world->idle_count++] = who;
	} else {
		permit_found_fail(&world->segment, row(world), request->permit.ticks);
		world->refused++;
		sim_events_add(&world->events, world->now_ns + RETRY_NS, SIM_EVENT_WORKER, who);
	}
	pump(world);
}

/* ---- time ---- */

static void trace(const struct world *world)
{
	struct permit_found found;

	if (permit_found_read(row(world), &found))
		printf("%10.3f limit %3u, latency %.2f x its base: %s\n",
		       (double)world->now_ns / 1e9, found.limit,
		       found.base_ns ? (double)found.latency_ns / (double)found.base_ns : 0,
		       permit_found_text(found.cause));
}

static uint64_t limit_word(const struct world *world)
{
	return atomic_load_explicit(&row(world)->permit_limit, memory_order_relaxed);
}

static void look(struct world *world, bool tell)
{
	uint64_t before = limit_word(world);

	must(inflight_look(&world->inflight, &world->segment) ? 0 : -ENOMEM, "memory");
	sim_events_add(&world->events, world->now_ns + LOOK_NS, SIM_EVENT_TICK, 0);
	if (limit_word(world) == before)
		return;
	world->result.changes++;
	if (tell)
		trace(world);
	pump(world);
}

static void change(struct world *world)
{
	const struct servers_scenario *scenario = world->scenario;

	if (scenario->change_to)
		world->servers = scenario->change_to;
	if (scenario->slower > 0)
		world->service_ns *= scenario->slower;
}

static void happen(struct world *world, const struct sim_event *event, bool tell)
{
	switch (event->kind) {
	case SIM_EVENT_WORKER:
		world->idle[world->idle_count++] = event->who;
		pump(world);
		break;
	case SIM_EVENT_ARRIVAL:
		arrive(world, event->who);
		break;
	case SIM_EVENT_SERVED:
		leave(world, event->who);
		break;
	case SIM_EVENT_RESPONSE:
		respond(world, event->who);
		break;
	case SIM_EVENT_TICK:
		look(world, tell);
		break;
	case SIM_EVENT_DEMAND:
		change(world);
		break;
	case SIM_EVENT_OTHER:
		break;
	}
}

/* ---- beginning and end ---- */

/* What a baseline is given: the number that the servers of the beginning keep busy, or no bound. */
static void limit_text(const struct world *world, char *out, size_t bytes)
{
	const struct servers_scenario *scenario = world->scenario;

	switch (world->pilot) {
	case SERVERS_WEIR:
		snprintf(out, bytes, "auto 1..%u", scenario->workers);
		return;
	case SERVERS_FIXED:
		snprintf(out, bytes, "%.0f", ceil(scenario->servers / SERVED));
		return;
	case SERVERS_UNLIMITED:
	case SERVERS_PILOTS:
		break;
	}
	snprintf(out, bytes, "%u", scenario->workers);
}

static void host_begin(struct world *world)
{
	const struct segment_shape shape = {
		.rows = 4,
		.names = 4,
		.members = 4,
		.clock = CLOCK_KIND_MANUAL,
		.group = (gid_t)-1,
		.permits = world->scenario->workers,
		.waiters = 4,
	};
	struct rule rule = {.kind = ROW_EXACT, .text = "upstream"};
	char limit[40];
	int64_t slot, index;

	limit_text(world, limit, sizeof(limit));
	config_set_term(&rule.terms, "rate", "unlimited");
	config_set_term(&rule.terms, "concurrency", limit);
	must(config_finish_terms(&rule.terms, false, false) ? WEIR_EVALUE : 0, limit);
	must(segment_create_private(&world->segment, &shape), "segment");
	index = rules_add(&world->segment, &rule);
	must(index, "rule");
	slot = members_join(&world->segment);
	must(slot, "member");
	world->row = (uint32_t)index;
	/* relaxed: joined by this thread */
	world->owner = permit_owner((uint32_t)slot,
				    atomic_load_explicit(&world->segment.members[slot].generation,
							 memory_order_relaxed));
}

static void world_begin(struct world *world, const struct servers_scenario *scenario,
			enum servers_pilot pilot, uint64_t seed)
{
	*world = (struct world){
		.scenario = scenario,
		.pilot = pilot,
		.random = {seed},
		.servers = scenario->servers,
		.service_ns = scenario->latency_ms * (double)SIM_MS * SERVED,
		.end_ns = (uint64_t)(length_s(scenario) * 1e9),
	};
	host_begin(world);
	world->requests = allocate(scenario->workers, sizeof(*world->requests));
	world->idle = allocate(scenario->workers, sizeof(*world->idle));
	world->queue = allocate(scenario->workers, sizeof(*world->queue));
	for (unsigned i = 0; i < scenario->workers; i++)
		world->idle[world->idle_count++] = i;
	sim_events_add(&world->events, world->end_ns / 2, SIM_EVENT_DEMAND, 0);
	if (pilot == SERVERS_WEIR)
		sim_events_add(&world->events, LOOK_NS, SIM_EVENT_TICK, 0);
	pump(world);
}

static void world_end(struct world *world)
{
	inflight_end(&world->inflight);
	segment_detach(&world->segment);
	sim_events_free(&world->events);
	free(world->requests);
	free(world->idle);
	free(world->queue);
}

/* Requests that the servers could have served, and as many workers could have sent. */
static double available(const struct servers_scenario *scenario)
{
	double service_s = scenario->latency_ms / 1e3 * SERVED;
	double network_s = scenario->latency_ms / 1e3 - service_s;
	double later_s = scenario->slower > 0 ? service_s * scenario->slower : service_s;
	double before =
		fmin(scenario->servers / service_s, scenario->workers / (network_s + service_s));
	double after =
		fmin((scenario->change_to ? scenario->change_to : scenario->servers) / later_s,
		     scenario->workers / (network_s + later_s));

	return length_s(scenario) / 2 * (before + after);
}

struct servers_result servers_run(const struct servers_scenario *scenario, enum servers_pilot pilot,
				  uint64_t seed, bool tell)
{
	struct world world;
	struct sim_event event;

	log_set_level(LOG_ERROR);
	world_begin(&world, scenario, pilot, seed);
	while (sim_events_next(&world.events, &event) && event.at_ns < world.end_ns) {
		time_source_advance(&world.segment.time, event.at_ns - world.now_ns);
		world.now_ns = event.at_ns;
		happen(&world, &event, tell);
	}
	world.result.used = world.served / available(scenario);
	world.result.latency = world.latency_ns / fmax(1, world.served);
	world.result.refused = world.refused / fmax(1, world.served + world.refused);
	world_end(&world);
	return world.result;
}
