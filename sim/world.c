/* SPDX-License-Identifier: Apache-2.0
 *
 * world.c - hosts, workers and an upstream, one event after the other.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"

#define BINS 20 /* of a window; recovery is looked for over a quarter of one */
#define RECOVERED 0.85
#define LATE_S 1.0
#define SERVED 0.5 /* of the latency; the rest is the network's */
#define BACKOFF_FIRST_S 1.0
#define BACKOFF_MOST_S 64.0

enum worker_state {
	WORKER_WAITS, /* in its host's line */
	WORKER_SENT,
	WORKER_BACKS_OFF,
};

struct worker {
	unsigned host;
	enum worker_state state;
	unsigned refusals; /* in a row */
	uint64_t sent_ns;
	bool passed;
	struct sim_response response;
};

struct queue {
	struct sim_host host;
	unsigned *waiting; /* workers, first come first served; a ring of as many as there are */
	unsigned first, count;
	uint64_t pump_ns; /* when the first of them tries again; 0: not planned */
	uint64_t tick_ns; /* likewise the controller */
	double demand;	  /* what there is to send */
};

struct world {
	const struct sim_scenario *scenario;
	enum sim_pilot_kind pilot;
	struct sim_random random;
	struct sim_events events;
	struct sim_upstream upstream;
	struct queue *queues;
	struct worker *workers;
	unsigned worker_count;
	uint64_t now_ns;
	uint64_t end_ns;
	uint64_t change_ns;
	double offered;
	double *bins; /* accepted, BINS a window */
	size_t bin_count;
	struct sim_result result;
};

static uint64_t seconds(double s)
{
	return (uint64_t)(s * 1e9);
}

static void *allocate(size_t count, size_t bytes)
{
	void *memory = calloc(count, bytes);

	if (!memory) {
		perror("weir-sim");
		exit(1);
	}
	return memory;
}

static bool greedy(const struct world *world)
{
	return world->scenario->batch <= 0;
}

/* ---- requests ---- */

static uint64_t leg_ns(struct world *world, double part)
{
	double mean = world->scenario->latency_ms * part / 1e3;

	return seconds(0.7 * mean + sim_random_exponential(&world->random, 0.3 * mean));
}

static void worker_waits(struct world *world, unsigned who)
{
	struct queue *queue = &world->queues[world->workers[who].host];

	world->workers[who].state = WORKER_WAITS;
	queue->waiting[(queue->first + queue->count++) % world->scenario->workers] = who;
}

static void worker_sends(struct world *world, struct queue *queue)
{
	unsigned who = queue->waiting[queue->first];

	queue->first = (queue->first + 1) % world->scenario->workers;
	queue->count--;
	queue->demand--;
	world->workers[who].state = WORKER_SENT;
	world->workers[who].sent_ns = world->now_ns;
	sim_events_add(&world->events, world->now_ns + leg_ns(world, (1 - SERVED) / 2),
		       SIM_EVENT_ARRIVAL, who);
}

/* Lets those in line send who may; the first who may not tries again when it may. */
static void pump(struct world *world, unsigned number)
{
	struct queue *queue = &world->queues[number];
	uint64_t wait_ns = WEIR_NEVER;

	queue->pump_ns = 0;
	while (queue->count && queue->demand >= 1) {
		if (!sim_host_draw(&queue->host, &wait_ns))
			break;
		worker_sends(world, queue);
		wait_ns = WEIR_NEVER;
	}
	if (wait_ns == WEIR_NEVER)
		return;
	queue->pump_ns = world->now_ns + (wait_ns ? wait_ns : 1);
	sim_events_add(&world->events, queue->pump_ns, SIM_EVENT_WORKER, number);
}

static void plan_tick(struct world *world, unsigned number)
{
	struct queue *queue = &world->queues[number];
	uint64_t at_ns = queue->host.tick_ns;

	if (at_ns == UINT64_MAX || at_ns == queue->tick_ns)
		return;
	queue->tick_ns = at_ns > world->now_ns ? at_ns : world->now_ns + 1;
	sim_events_add(&world->events, queue->tick_ns, SIM_EVENT_TICK, number);
}

static void count_accepted(struct world *world)
{
	size_t bin = (size_t)((double)world->now_ns / 1e9 / world->scenario->window_s * BINS);

	if (bin < world->bin_count)
		world->bins[bin]++;
}

static void arrive(struct world *world, unsigned who)
{
	struct worker *worker = &world->workers[who];
	uint64_t service_ns = leg_ns(world, SERVED);
	uint64_t back_ns = leg_ns(world, (1 - SERVED) / 2);

	worker->passed = sim_upstream_ask(&world->upstream, world->now_ns, &worker->response);
	if (world->scenario->words == SIM_LATE)
		back_ns += seconds(LATE_S * sim_random_unit(&world->random));
	if (!worker->passed) {
		world->result.refused++;
		sim_events_add(&world->events, world->now_ns + back_ns, SIM_EVENT_RESPONSE, who);
		return;
	}
	world->result.accepted++;
	count_accepted(world);
	sim_events_add(&world->events, world->now_ns + service_ns, SIM_EVENT_SERVED, who);
	sim_events_add(&world->events, world->now_ns + service_ns + back_ns, SIM_EVENT_RESPONSE,
		       who);
}

/* Full jitter between half and all of it, and never before the server says. */
static uint64_t backoff_ns(struct world *world, const struct worker *worker)
{
	double longest = fmin(BACKOFF_MOST_S, BACKOFF_FIRST_S * pow(2, worker->refusals - 1));
	double s = longest * (0.5 + 0.5 * sim_random_unit(&world->random));
	struct adaptive_observation seen;

	sim_read(&worker->response, world->now_ns, &seen);
	return seconds(fmax(s, (double)seen.retry_ns / 1e9));
}

static void respond(struct world *world, unsigned who)
{
	struct worker *worker = &world->workers[who];
	struct queue *queue = &world->queues[worker->host];

	if (!worker->passed)
		queue->demand++;
	worker->refusals = worker->passed ? 0 : worker->refusals + 1;
	sim_host_observe(&queue->host, &worker->response, world->now_ns - worker->sent_ns);
	plan_tick(world, worker->host);
	if (world->pilot == SIM_BACKOFF && !worker->passed) {
		worker->state = WORKER_BACKS_OFF;
		sim_events_add(&world->events, world->now_ns + backoff_ns(world, worker),
			       SIM_EVENT_WORKER, world->scenario->hosts + who);
		return;
	}
	worker_waits(world, who);
	pump(world, worker->host);
}

/* ---- the others ---- */

static void other_sends(struct world *world)
{
	double mean = world->scenario->window_s / (world->upstream.limit * world->scenario->others);
	struct sim_response response;

	if (sim_upstream_ask(&world->upstream, world->now_ns, &response)) {
		world->result.others++;
		count_accepted(world);
	}
	sim_events_add(&world->events,
		       world->now_ns + seconds(sim_random_exponential(&world->random, mean)),
		       SIM_EVENT_OTHER, 0);
}

static void work_comes(struct world *world)
{
	for (unsigned i = 0; i < world->scenario->hosts; i++) {
		world->queues[i].demand += world->scenario->batch;
		world->offered += world->scenario->batch;
		pump(world, i);
	}
	sim_events_add(&world->events, world->now_ns + seconds(world->scenario->batch_s),
		       SIM_EVENT_DEMAND, 0);
}

/* ---- time ---- */

static void wake(struct world *world, const struct sim_event *event)
{
	if (event->who >= world->scenario->hosts) {
		unsigned who = event->who - world->scenario->hosts;

		worker_waits(world, who);
		pump(world, world->workers[who].host);
	} else if (world->queues[event->who].pump_ns == event->at_ns) {
		pump(world, event->who);
	}
}

static void happen(struct world *world, const struct sim_event *event)
{
	switch (event->kind) {
	case SIM_EVENT_WORKER:
		wake(world, event);
		break;
	case SIM_EVENT_ARRIVAL:
		arrive(world, event->who);
		break;
	case SIM_EVENT_SERVED:
		sim_upstream_done(&world->upstream);
		break;
	case SIM_EVENT_RESPONSE:
		respond(world, event->who);
		break;
	case SIM_EVENT_TICK:
		if (world->queues[event->who].tick_ns != event->at_ns)
			break;
		world->queues[event->who].tick_ns = 0;
		if (sim_host_tick(&world->queues[event->who].host))
			pump(world, event->who);
		plan_tick(world, event->who);
		break;
	case SIM_EVENT_OTHER:
		other_sends(world);
		break;
	case SIM_EVENT_DEMAND:
		work_comes(world);
		break;
	}
}

static void proceed(struct world *world, uint64_t now_ns)
{
	if (world->change_ns && now_ns >= world->change_ns) {
		sim_upstream_limit(&world->upstream, world->change_ns, world->scenario->change_to);
		world->change_ns = 0;
	}
	world->now_ns = now_ns;
	for (unsigned i = 0; i < world->scenario->hosts; i++)
		sim_host_time(&world->queues[i].host, now_ns);
}

/* ---- beginning and end ---- */

static void queues_begin(struct world *world, bool trace)
{
	const struct sim_scenario *scenario = world->scenario;

	world->queues = allocate(scenario->hosts, sizeof(*world->queues));
	world->worker_count = scenario->hosts * scenario->workers;
	world->workers = allocate(world->worker_count, sizeof(*world->workers));
	for (unsigned i = 0; i < scenario->hosts; i++) {
		world->queues[i].waiting = allocate(scenario->workers, sizeof(unsigned));
		world->queues[i].demand = greedy(world) ? INFINITY : 0;
		sim_host_begin(&world->queues[i].host, scenario, world->pilot, i, trace);
	}
	for (unsigned i = 0; i < world->worker_count; i++) {
		world->workers[i].host = i / scenario->workers;
		worker_waits(world, i);
	}
}

static void world_begin(struct world *world, const struct sim_scenario *scenario,
			enum sim_pilot_kind pilot, uint64_t seed, bool trace)
{
	*world = (struct world){.scenario = scenario, .pilot = pilot, .random = {seed}};
	sim_upstream_begin(&world->upstream, scenario, seed ^ 0x5eed);
	world->end_ns = seconds(scenario->window_s * scenario->windows);
	if (scenario->kind == SIM_FIXED)
		world->end_ns -= world->upstream.phase_ns;
	if (scenario->change_to > 0)
		world->change_ns = world->end_ns / 2;
	world->bin_count = (size_t)scenario->windows * BINS + 1;
	world->bins = allocate(world->bin_count, sizeof(double));
	queues_begin(world, trace);
	for (unsigned i = 0; i < scenario->hosts; i++)
		pump(world, i);
	if (scenario->others > 0)
		sim_events_add(&world->events, 1, SIM_EVENT_OTHER, 0);
	if (!greedy(world))
		sim_events_add(&world->events, 1, SIM_EVENT_DEMAND, 0);
}

static void world_end(struct world *world)
{
	for (unsigned i = 0; i < world->scenario->hosts; i++) {
		sim_host_end(&world->queues[i].host);
		free(world->queues[i].waiting);
	}
	free(world->queues);
	free(world->workers);
	free(world->bins);
	sim_events_free(&world->events);
	sim_upstream_end(&world->upstream);
}

/* So many could be sent in that time by those who always have work. */
static double sendable(const struct world *world, double s)
{
	const struct sim_scenario *scenario = world->scenario;
	double by_rate = scenario->hosts * (scenario->burst + scenario->rate_per_s * s);
	double by_workers = world->worker_count * s / (scenario->latency_ms / 1e3);

	return fmin(by_rate, by_workers);
}

/*
 * Of windows: each has the limit that it ends with. Of the first, of which a part is left, and of
 * what a rise adds to the one under way, no more than could be sent.
 */
static double available_windows(const struct world *world, double before_s, double after)
{
	const struct sim_scenario *scenario = world->scenario;
	double phase_s = (double)world->upstream.phase_ns / 1e9;
	double first_s = scenario->window_s - phase_s;
	double first = sendable(world, first_s) +
		       scenario->others * scenario->limit / scenario->window_s * first_s;
	double before = floor((before_s + phase_s) / scenario->window_s);
	double rest_s = (before + 1) * scenario->window_s - phase_s - before_s;
	double beyond = fmax(0, after - scenario->limit - sendable(world, rest_s));

	return (before - 1) * scenario->limit + fmin(first, scenario->limit) +
	       (scenario->windows - before) * after - beyond;
}

/* The quota that there was, by the upstream's own rules. */
static double available(struct world *world)
{
	const struct sim_scenario *scenario = world->scenario;
	double all_s = (double)world->end_ns / 1e9;
	double after = scenario->change_to > 0 ? scenario->change_to : scenario->limit;
	double before_s = scenario->change_to > 0 ? (double)world->end_ns / 2e9 : all_s;
	double latency_s = scenario->latency_ms / 1e3;
	double windows;

	switch (scenario->kind) {
	case SIM_FIXED:
		return available_windows(world, before_s, after);
	case SIM_CONCURRENCY:
		return all_s *
		       fmin(scenario->limit / (0.2 * latency_s), world->worker_count / latency_s);
	case SIM_BUCKET:
	case SIM_SLIDING:
		break;
	}
	/* what a bucket holds at the end is not lost */
	windows = scenario->kind == SIM_BUCKET
			  ? 1 - sim_upstream_left(&world->upstream, world->end_ns) / scenario->limit
			  : 0;
	windows += before_s / scenario->window_s;
	return windows * scenario->limit + (all_s - before_s) / scenario->window_s * after;
}

/* Windows from the rise until a quarter of one sees most of the new quota used. */
static double recovery(const struct world *world)
{
	const struct sim_scenario *scenario = world->scenario;
	size_t change = (size_t)ceil((double)world->end_ns / 2e9 / scenario->window_s * BINS);

	for (size_t from = change; from + BINS / 4 < world->bin_count; from++) {
		double sum = 0;

		for (size_t i = 0; i < BINS / 4; i++)
			sum += world->bins[from + i];
		if (sum >= RECOVERED * scenario->change_to / 4)
			return (double)(from - change) / BINS;
	}
	return -1;
}

struct sim_result sim_run(const struct sim_scenario *scenario, enum sim_pilot_kind pilot,
			  uint64_t seed, bool trace)
{
	struct world world;
	struct sim_event event;
	struct sim_result *result = &world.result;

	world_begin(&world, scenario, pilot, seed, trace);
	while (sim_events_next(&world.events, &event) && event.at_ns < world.end_ns) {
		proceed(&world, event.at_ns);
		happen(&world, &event);
	}
	result->available = available(&world);
	if (!greedy(&world))
		result->available = fmin(result->available, world.offered);
	result->used = (result->accepted + result->others) / result->available;
	result->refusals = result->refused / fmax(1, result->accepted + result->refused);
	result->recovery = scenario->change_to > scenario->limit ? recovery(&world) : 0;
	for (unsigned i = 0; i < scenario->hosts; i++)
		result->changes += world.queues[i].host.changes;
	world_end(&world);
	return world.result;
}
