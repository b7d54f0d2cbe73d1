/* SPDX-License-Identifier: Apache-2.0
 *
 * bench.h - what is measured, and against what.
 *
 * A work is something that can be done over and over; a row is a work done by a number of
 * processes. All rows that are compared take turns, round after round in one run, so that
 * whatever the machine does meanwhile meets all of them; a row's figure is its median round.
 */
#ifndef WEIR_BENCH_H
#define WEIR_BENCH_H

#include <stdbool.h>
#include <stdint.h>

enum {
	BENCH_PROCESSES_MAX = 8,
	BENCH_RATIOS_MAX = 2,
	BENCH_ROUNDS_MAX = 64,
};

/* A work. prepare and finish run in the parent, once; the rest in every process of a crew. */
struct bench_work {
	const char *name;
	uint64_t least;			/* ops of the smallest sensible batch */
	bool spread;			/* it has threads, for which the process keeps all CPUs */
	bool crowd;			/* may be more processes than CPUs, which they then share */
	const char *(*prepare)(void);	/* NULL, or why this cannot be measured here */
	int (*enter)(unsigned process); /* 0 or a negative code */
	uint64_t (*run)(uint64_t ops);	/* how many of the ops went as they should */
	void (*leave)(void);
	void (*finish)(void);
};

/* What a crew did in one round. */
struct bench_sample {
	double ns_per_op; /* time one process spends on one op */
	double mops;	  /* million ops a second of all processes together */
};

/* Which figure of two rows is compared. */
enum bench_figure {
	BENCH_TIME,  /* ns_per_op of this row over that of the other */
	BENCH_CALLS, /* mops of this row over that of the other */
};

enum bench_sense {
	BENCH_NO_TARGET,
	BENCH_AT_MOST,
	BENCH_AT_LEAST,
};

struct bench_ratio {
	const char *to; /* name of the other row, or of a constant; NULL ends the list */
	unsigned processes;
	enum bench_figure figure;
	enum bench_sense sense;
	double target;
	double constant;     /* in ns; 0: `to` is a row */
	const char *floored; /* row of as many processes as this one that does less */
	const char *plus;    /* BENCH_TIME: a row of as many processes whose time is added */
};

struct bench_row {
	const struct bench_work *work;
	unsigned processes;
	struct bench_ratio ratios[BENCH_RATIOS_MAX];

	bool shown;
	bool measured;
	const char *note; /* why it could not be measured */
	unsigned rounds;
	struct bench_sample samples[BENCH_ROUNDS_MAX];
};

/* Something whose size has a target. */
struct bench_size {
	const char *name;
	const char *of;
	uint64_t (*bytes)(void); /* 0: it could not be had */
	uint64_t below;
	const char *below_text;
	bool shown;
};

/* A figure that is no time: bytes a key, or what one call of many has. */
struct bench_share {
	const char *name;
	const char *what;	     /* "bytes a key" */
	double (*value)(void);	     /* NaN: it could not be had */
	const struct bench_work *of; /* it is found by what prepares this; NULL: by itself */
	double at_most;		     /* 0: no target */
	bool shown;
};

/* One run. */
struct bench {
	struct bench_row *rows;
	unsigned row_count;
	struct bench_size *sizes;
	unsigned size_count;
	struct bench_share *shares;
	unsigned share_count;
	unsigned rounds;
	uint64_t round_ns;
	uint64_t took_ns; /* all rounds, and what they had to be prepared with */
	bool json;
};

extern const struct bench_work bench_rdtsc, bench_clock_gettime, bench_cas, bench_rdtsc_cas,
	bench_refusal;
extern const struct bench_work bench_admit, bench_refuse, bench_own_bucket, bench_attach;
extern const struct bench_work bench_uv_queue, bench_executor, bench_executor_limited;
extern const struct bench_work bench_mutex, bench_mutex_early, bench_fcntl, bench_redis,
	bench_redis_pipelined;

extern const struct bench_work bench_miss, bench_many_miss, bench_key_floor, bench_key_single,
	bench_key_batch, bench_key_zipf, bench_key_zipf_batch, bench_many_single, bench_many_batch;
extern const struct bench_work bench_tree, bench_tree_zipf, bench_redis_keys, bench_nginx_keys;

extern const struct bench_work bench_send, bench_observe;
extern const struct bench_work bench_permit, bench_owned, bench_plain, bench_ticketed;
extern const struct bench_work bench_permit_held, bench_owned_held, bench_plain_held,
	bench_ticketed_held;
extern const struct bench_work bench_log_lines, bench_log_simulate;
extern const struct bench_work bench_field_lines, bench_fields_github, bench_fields_openai;

/* Nanoseconds of a crew's process that its work spent on something else than its ops. */
extern uint64_t bench_aside_ns;

/* The run is to show that it works: what takes seconds to be prepared is left out. */
extern bool bench_quick;

/* CLOCK_MONOTONIC. */
uint64_t bench_now_ns(void);

/* Memory that this process and those it forks share; NULL if there is none. */
void *bench_shared(uint64_t bytes);

/* Whether a program of that name is on the PATH. */
bool bench_on_path(const char *program);

/* How many CPUs this process may use. */
unsigned bench_cpus(void);

/*
 * Forks `processes` processes, each on a CPU of its own or, if there are more, a crowd on all of
 * them, which start together and work for for_ns. Returns NULL and *out, or what went wrong.
 */
const char *bench_crew(const struct bench_work *work, unsigned processes, uint64_t for_ns,
		       struct bench_sample *out);

/* Length of both objects of a segment with 1,024 endpoints and 256 members, in bytes. */
uint64_t bench_segment_bytes(void);

/* What a task takes that waits in the queue of an executor, in bytes. */
uint64_t bench_task_bytes(void);

/* Bytes a key in a table that is full of debts, and keys in debt that had to make room, a call. */
double bench_key_bytes(void);
double bench_key_evictions(void);
double bench_many_bytes(void);
double bench_many_evictions(void);

/* Bytes a key elsewhere. */
double bench_tree_bytes(void);
double bench_redis_key_bytes(void);
double bench_nginx_key_bytes(void);

/* What pages the tables of keys had that were measured. */
const char *bench_key_pages(void);

/* The middle of a row's rounds; 0 where there are none. */
double bench_median_ns(const struct bench_row *row);
double bench_median_mops(const struct bench_row *row);

/* Prints the machine's facts and all rows that are shown. */
void bench_report(const struct bench *bench);

/* The machine's facts, in report order; a NULL name ends them. Kept until the next call. */
struct bench_fact {
	const char *name;
	char value[160];
};
const struct bench_fact *bench_machine(void);

#endif
