/* SPDX-License-Identifier: Apache-2.0
 *
 * sim.h - weir-sim: adaptive limits against models of upstreams, on the manual clock.
 *
 * One world is a scenario and a pilot: an upstream with a quota, one or four hosts, and workers
 * that send as soon as their host's endpoint lets them. Each host is a hosted segment of libweir
 * on the manual clock, drawn from by its public functions; what decides its rate is the pilot:
 * weird's own controller, or one of the three baselines. An upstream knows nothing of pilots, and
 * pilots see nothing of an upstream but its responses, as text.
 */
#ifndef WEIR_SIM_H
#define WEIR_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_MS 1000000ull
#define SIM_S 1000000000ull
#define SIM_EPOCH_S 1800000000 /* time 0 of a world, by everybody's wall clock */

/* ---- chance, the same on every machine (random.c) ---- */

struct sim_random {
	uint64_t state;
};

uint64_t sim_random_bits(struct sim_random *random);
double sim_random_unit(struct sim_random *random);		       /* [0, 1) */
double sim_random_exponential(struct sim_random *random, double mean); /* from 0 on */

/* ---- events, by time and then by order of their making (events.c) ---- */

enum sim_event_kind {
	SIM_EVENT_WORKER,   /* worker `who` tries to draw */
	SIM_EVENT_ARRIVAL,  /* request `who` reaches the upstream */
	SIM_EVENT_SERVED,   /* request `who` leaves a slot of the upstream */
	SIM_EVENT_RESPONSE, /* the response to request `who` is there */
	SIM_EVENT_TICK,	    /* host `who` looks at the time */
	SIM_EVENT_OTHER,    /* the second consumer sends */
	SIM_EVENT_DEMAND,   /* work comes in, for those who do not always have some */
};

struct sim_event {
	uint64_t at_ns;
	uint64_t order;
	enum sim_event_kind kind;
	unsigned who;
};

struct sim_events {
	struct sim_event *heap;
	size_t count;
	size_t room;
	uint64_t made;
};

void sim_events_add(struct sim_events *events, uint64_t at_ns, enum sim_event_kind kind,
		    unsigned who);
bool sim_events_next(struct sim_events *events, struct sim_event *out);
void sim_events_free(struct sim_events *events);

/* ---- what upstreams are like ---- */

enum sim_kind {
	SIM_FIXED,	 /* a quota a window, renewed as a whole */
	SIM_SLIDING,	 /* no more than the quota in any window */
	SIM_BUCKET,	 /* a token bucket of the quota, filled once a window */
	SIM_CONCURRENCY, /* so many at once */
};

enum sim_words {
	SIM_WHOLE,   /* truthful, times in whole seconds, rounded up */
	SIM_EXACT,   /* truthful, times with a fraction */
	SIM_EPOCH,   /* truthful, times as seconds since 1970, rounded down; Date beside it */
	SIM_SILENT,  /* a status and nothing else */
	SIM_RETRY,   /* nothing but Retry-After on refusals */
	SIM_LATE,    /* truthful, but seconds late and in any order */
	SIM_FROZEN,  /* lies: all of the quota is always left */
	SIM_ZERO,    /* lies: nothing is ever left */
	SIM_TENFOLD, /* lies: ten times the quota */
	SIM_NOISE,   /* lies: any number is left */
	SIM_LONG,    /* lies: ten times as long until the reset */
	SIM_SHORT,   /* lies: a tenth of the time */
};

struct sim_scenario {
	const char *name;
	enum sim_kind kind;
	enum sim_words words;
	double limit; /* requests a window, or at once */
	double window_s;
	double change_to;  /* half-way the limit becomes so much; 0: it stays */
	double others;	   /* of the limit, a second consumer sends so much; 0: there is none */
	double rate_per_s; /* configured, each host */
	double burst;
	unsigned hosts;
	unsigned workers; /* each host */
	double latency_ms;
	double batch;	   /* work comes in by so many at a time; 0: there is always some */
	double batch_s;	   /* that often */
	unsigned windows;  /* the length of the whole */
	bool fast;	   /* part of the short run */
	double used_least; /* target for one consumer; 0: the best baseline is the target */
	double refused_most;
};

/* The scenarios, one after the other; false: there is none any more. */
bool sim_scenario_at(size_t index, struct sim_scenario *out);

#define SIM_HEADERS_MAX 6
#define SIM_TEXT_BYTES 48

struct sim_header {
	char name[SIM_TEXT_BYTES];
	char value[SIM_TEXT_BYTES];
};

struct sim_response {
	int status;
	unsigned count;
	struct sim_header headers[SIM_HEADERS_MAX];
};

/* ---- an upstream (upstream.c) ---- */

struct sim_upstream {
	const struct sim_scenario *scenario;
	struct sim_random random;
	double limit;	    /* in force */
	uint64_t phase_ns;  /* its windows begin that much before time 0 */
	uint64_t window;    /* number of the window under way, of SIM_FIXED */
	double spent;	    /* within it */
	uint64_t *accepted; /* times of those of the last window, of SIM_SLIDING; a ring */
	size_t ring, oldest, held;
	double level; /* of SIM_BUCKET */
	uint64_t level_ns;
	double busy; /* of SIM_CONCURRENCY */
};

void sim_upstream_begin(struct sim_upstream *upstream, const struct sim_scenario *scenario,
			uint64_t seed);
void sim_upstream_end(struct sim_upstream *upstream);
void sim_upstream_limit(struct sim_upstream *upstream, uint64_t now_ns, double limit);

/* A request: admits or refuses it, and writes what it says. Returns whether it was admitted. */
bool sim_upstream_ask(struct sim_upstream *upstream, uint64_t now_ns, struct sim_response *out);
double sim_upstream_left(struct sim_upstream *upstream, uint64_t now_ns);
void sim_upstream_done(struct sim_upstream *upstream);

/* ---- who decides a host's rate (pilot.c) ---- */

enum sim_pilot_kind {
	SIM_WEIR,      /* weird's controller */
	SIM_UNCHANGED, /* the configured rate */
	SIM_BACKOFF,   /* the same, and each worker waits longer after each refusal */
	SIM_REFERENCE, /* remaining / reset x 0.9, at least 1/s */
	SIM_PILOTS,
};

extern const char *const sim_pilot_names[SIM_PILOTS];

struct sim_host;

/* ---- a world (world.c) ---- */

struct sim_result {
	double accepted;  /* of ours */
	double refused;	  /* 429 */
	double others;	  /* accepted of the second consumer's */
	double available; /* of the quota over the whole time */
	double used;	  /* share of it, the second consumer's part included */
	double refusals;  /* share of our responses */
	double recovery;  /* windows from a rise until most of it is used; below 0: never */
	unsigned changes; /* of the rate, by the pilot */
};

struct sim_result sim_run(const struct sim_scenario *scenario, enum sim_pilot_kind pilot,
			  uint64_t seed, bool trace);

/* ---- the report (report.c) ---- */

#define SIM_SEEDS_MOST 64

struct sim_report {
	const struct sim_scenario *scenario;
	struct sim_result
		results[SIM_PILOTS]; /* means over the courses of chance; recovery: worst */
	unsigned runs;
	unsigned missed; /* targets in numbers */
	uint64_t missed_seeds[SIM_SEEDS_MOST];
};

/*
 * Takes in the results of one course of chance. Targets in numbers have to be met by each; what is
 * compared with a baseline is compared in the mean.
 */
void sim_report_add(struct sim_report *report, const struct sim_result results[SIM_PILOTS],
		    uint64_t seed);

/* Prints a scenario's line or object. Returns whether its targets are met. */
bool sim_report_print(const struct sim_report *report, bool json);

/* What stands above the table and below it. */
void sim_report_head(uint64_t seed, unsigned seeds);
void sim_report_tail(unsigned ran, unsigned missed);

#endif
