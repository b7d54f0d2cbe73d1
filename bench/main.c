/* SPDX-License-Identifier: Apache-2.0
 *
 * weir-bench - what a call costs, beside what the machine charges at least and what the usual
 * answers cost.
 */
#include "bench.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

bool bench_quick;

static volatile sig_atomic_t interrupted;

static const char usage_text[] =
	"usage: weir-bench [--json] [--quick] [FILTER]\n"
	"\n"
	"Measures the rows whose name contains FILTER (default: all), and what they are compared\n"
	"with: floor/ is what the machine charges, peer/ what a limit costs by other means.\n"
	"\n"
	"  --json   the machine's facts, then one JSON object a row\n"
	"  --quick  short rounds, and none of what is long prepared: shows that it works, not how\n"
	"           fast it is\n"
	"\n"
	"ns/op is what one process spends on one op, Mops/s what all n processes do together.\n"
	"Processes are forked, each on a CPU of its own, and start together. A ratio is the\n"
	"middle of the rounds' ratios, so it may differ a little from that of the two columns.\n";

/* Time of a row over that of another, with as many processes. */
#define TIME_OF(row, n)                                                                            \
	{                                                                                          \
		.to = (row), .processes = (n), .figure = BENCH_TIME                                \
	}
#define CALLS_OF(row, n)                                                                           \
	{                                                                                          \
		.to = (row), .processes = (n), .figure = BENCH_CALLS                               \
	}
#define TARGET(which, limit) .sense = (which), .target = (limit)

static struct bench_row rows[] = {
	{.work = &bench_rdtsc, .processes = 1},
	{.work = &bench_clock_gettime, .processes = 1},
	{.work = &bench_cas, .processes = 1},
	{.work = &bench_rdtsc_cas, .processes = 1},
	{.work = &bench_refusal, .processes = 1, .ratios = {TIME_OF("floor/rdtsc", 1)}},
	{.work = &bench_admit,
	 .processes = 1,
	 .ratios = {{.to = "floor/rdtsc+cas",
		     .processes = 1,
		     .figure = BENCH_TIME,
		     TARGET(BENCH_AT_MOST, 1.25)},
		    {.to = "floor/clock_gettime",
		     .processes = 1,
		     .figure = BENCH_TIME,
		     TARGET(BENCH_AT_MOST, 0.6),
		     .floored = "floor/rdtsc+cas"}}},
	{.work = &bench_refuse, .processes = 1, .ratios = {TIME_OF("floor/rdtsc", 1)}},
	{.work = &bench_own_bucket, .processes = 1, .ratios = {TIME_OF("weir/admit", 1)}},
	{.work = &bench_mutex, .processes = 1, .ratios = {TIME_OF("weir/admit", 1)}},
	{.work = &bench_mutex_early, .processes = 1, .ratios = {TIME_OF("weir/admit", 1)}},
	{.work = &bench_fcntl, .processes = 1, .ratios = {TIME_OF("weir/admit", 1)}},
	{.work = &bench_redis, .processes = 1, .ratios = {TIME_OF("weir/admit", 1)}},
	{.work = &bench_redis_pipelined, .processes = 1, .ratios = {TIME_OF("weir/admit", 1)}},
	{.work = &bench_rdtsc, .processes = 2, .ratios = {CALLS_OF("floor/rdtsc", 1)}},
	{.work = &bench_clock_gettime,
	 .processes = 2,
	 .ratios = {CALLS_OF("floor/clock_gettime", 1)}},
	{.work = &bench_cas, .processes = 2, .ratios = {CALLS_OF("floor/cas", 1)}},
	{.work = &bench_rdtsc_cas, .processes = 2, .ratios = {CALLS_OF("floor/rdtsc+cas", 1)}},
	{.work = &bench_refusal, .processes = 2, .ratios = {CALLS_OF("floor/rdtsc", 2)}},
	{.work = &bench_admit,
	 .processes = 2,
	 .ratios = {{.to = "peer/mutex",
		     .processes = 2,
		     .figure = BENCH_CALLS,
		     TARGET(BENCH_AT_LEAST, 5)},
		    TIME_OF("floor/rdtsc+cas", 2)}},
	{.work = &bench_refuse,
	 .processes = 2,
	 .ratios = {{.to = "floor/rdtsc",
		     .processes = 2,
		     .figure = BENCH_CALLS,
		     TARGET(BENCH_AT_LEAST, 0.8),
		     .floored = "floor/refuse"}}},
	{.work = &bench_own_bucket,
	 .processes = 2,
	 .ratios = {{.to = "weir/admit-own-bucket",
		     .processes = 1,
		     .figure = BENCH_CALLS,
		     TARGET(BENCH_AT_LEAST, 1.9)}}},
	{.work = &bench_mutex, .processes = 2, .ratios = {TIME_OF("weir/admit", 2)}},
	{.work = &bench_mutex_early, .processes = 2, .ratios = {TIME_OF("weir/admit", 2)}},
	{.work = &bench_fcntl, .processes = 2, .ratios = {TIME_OF("weir/admit", 2)}},
	{.work = &bench_redis, .processes = 2, .ratios = {TIME_OF("weir/admit", 2)}},
	{.work = &bench_redis_pipelined, .processes = 2, .ratios = {TIME_OF("weir/admit", 2)}},
	/* a take and a release, each at most 3 x an admission */
	{.work = &bench_permit,
	 .processes = 1,
	 .ratios = {{.to = "weir/admit",
		     .processes = 1,
		     .figure = BENCH_TIME,
		     TARGET(BENCH_AT_MOST, 6)}}},
	{.work = &bench_owned, .processes = 1, .ratios = {TIME_OF("weir/permit", 1)}},
	{.work = &bench_plain, .processes = 1, .ratios = {TIME_OF("weir/permit", 1)}},
	{.work = &bench_permit,
	 .processes = 8,
	 .ratios = {{.to = "peer/robust-semaphore",
		     .processes = 8,
		     .figure = BENCH_CALLS,
		     TARGET(BENCH_AT_LEAST, 3)},
		    CALLS_OF("peer/sem_t", 8)}},
	{.work = &bench_ticketed, .processes = 8, .ratios = {CALLS_OF("peer/robust-semaphore", 8)}},
	{.work = &bench_owned, .processes = 8},
	{.work = &bench_plain, .processes = 8},
	/* the same while each holds its permit for 3 us of work, which is what the CPUs allow */
	{.work = &bench_permit_held,
	 .processes = 8,
	 .ratios = {CALLS_OF("peer/robust-held", 8), CALLS_OF("peer/sem_t-held", 8)}},
	{.work = &bench_ticketed_held, .processes = 8, .ratios = {CALLS_OF("peer/robust-held", 8)}},
	{.work = &bench_owned_held, .processes = 8},
	{.work = &bench_plain_held, .processes = 8},
	{.work = &bench_miss, .processes = 1},
	{.work = &bench_key_floor, .processes = 1, .ratios = {CALLS_OF("peer/tree", 1)}},
	{.work = &bench_key_single,
	 .processes = 1,
	 .ratios = {{.to = "floor/miss",
		     .plus = "weir/admit",
		     .processes = 1,
		     .figure = BENCH_TIME,
		     TARGET(BENCH_AT_MOST, 1.3)},
		    {.to = "peer/tree",
		     .processes = 1,
		     .figure = BENCH_CALLS,
		     TARGET(BENCH_AT_LEAST, 15),
		     .floored = "floor/key"}}},
	{.work = &bench_key_batch,
	 .processes = 1,
	 .ratios = {{.to = "weir/key",
		     .processes = 1,
		     .figure = BENCH_CALLS,
		     TARGET(BENCH_AT_LEAST, 1.6)},
		    CALLS_OF("peer/tree", 1)}},
	{.work = &bench_key_zipf, .processes = 1, .ratios = {CALLS_OF("peer/tree-zipf", 1)}},
	{.work = &bench_key_zipf_batch, .processes = 1, .ratios = {CALLS_OF("weir/key-zipf", 1)}},
	{.work = &bench_tree, .processes = 1},
	{.work = &bench_tree_zipf, .processes = 1},
	{.work = &bench_redis_keys, .processes = 1, .ratios = {TIME_OF("weir/key", 1)}},
	{.work = &bench_nginx_keys, .processes = 1, .ratios = {TIME_OF("weir/key", 1)}},
	{.work = &bench_many_miss, .processes = 1},
	{.work = &bench_many_single,
	 .processes = 1,
	 .ratios = {{.to = "floor/miss-10M",
		     .plus = "weir/admit",
		     .processes = 1,
		     .figure = BENCH_TIME}}},
	{.work = &bench_many_batch, .processes = 1, .ratios = {CALLS_OF("weir/key-10M", 1)}},
	{.work = &bench_miss, .processes = 2, .ratios = {CALLS_OF("floor/miss", 1)}},
	{.work = &bench_key_floor, .processes = 2, .ratios = {CALLS_OF("peer/tree", 2)}},
	{.work = &bench_key_single,
	 .processes = 2,
	 .ratios = {{.to = "peer/tree",
		     .processes = 2,
		     .figure = BENCH_CALLS,
		     TARGET(BENCH_AT_LEAST, 25),
		     .floored = "floor/key"},
		    CALLS_OF("weir/key", 1)}},
	{.work = &bench_key_batch,
	 .processes = 2,
	 .ratios = {CALLS_OF("weir/key", 2), CALLS_OF("peer/tree", 2)}},
	{.work = &bench_key_zipf, .processes = 2, .ratios = {CALLS_OF("peer/tree-zipf", 2)}},
	{.work = &bench_key_zipf_batch, .processes = 2, .ratios = {CALLS_OF("weir/key-zipf", 2)}},
	{.work = &bench_tree, .processes = 2},
	{.work = &bench_tree_zipf, .processes = 2},
	{.work = &bench_redis_keys, .processes = 2, .ratios = {TIME_OF("weir/key", 2)}},
	{.work = &bench_nginx_keys, .processes = 2, .ratios = {TIME_OF("weir/key", 2)}},
	{.work = &bench_log_lines, .processes = 1},
	{.work = &bench_log_simulate,
	 .processes = 1,
	 .ratios =
		 {{.to = "500 ns", .figure = BENCH_TIME, .constant = 500, TARGET(BENCH_AT_MOST, 1)},
		  TIME_OF("floor/log-lines", 1)}},
	{.work = &bench_field_lines, .processes = 1},
	{.work = &bench_fields_github,
	 .processes = 1,
	 .ratios = {{.to = "1 us", .figure = BENCH_TIME, .constant = 1e3, TARGET(BENCH_AT_MOST, 1)},
		    TIME_OF("floor/field-lines", 1)}},
	{.work = &bench_fields_openai,
	 .processes = 1,
	 .ratios = {{.to = "1 us", .figure = BENCH_TIME, .constant = 1e3, TARGET(BENCH_AT_MOST, 1)},
		    TIME_OF("weir/fields-github", 1)}},
	{.work = &bench_uv_queue, .processes = 1},
	{.work = &bench_executor,
	 .processes = 1,
	 .ratios = {{.to = "peer/uv_queue_work",
		     .processes = 1,
		     .figure = BENCH_CALLS,
		     TARGET(BENCH_AT_LEAST, 0.7)}}},
	{.work = &bench_executor_limited,
	 .processes = 1,
	 .ratios = {{.to = "what its limit allows",
		     .figure = BENCH_TIME,
		     .constant = 5e4,
		     TARGET(BENCH_AT_MOST, 1.01)}}},
	{.work = &bench_send, .processes = 1},
	{.work = &bench_observe,
	 .processes = 1,
	 .ratios =
		 {{.to = "5 us", .figure = BENCH_TIME, .constant = 5000, TARGET(BENCH_AT_MOST, 1)},
		  TIME_OF("floor/send", 1)}},
	{.work = &bench_attach,
	 .processes = 1,
	 .ratios =
		 {{.to = "1 ms", .figure = BENCH_TIME, .constant = 1e6, TARGET(BENCH_AT_MOST, 1)}}},
};

static struct bench_size sizes[] = {
	{.name = "weir/segment",
	 .of = "1024 endpoints, 256 members",
	 .bytes = bench_segment_bytes,
	 .below = 2 * 1024 * 1024,
	 .below_text = "2 MiB"},
	{.name = "weir/executor-task",
	 .of = "a task that waits",
	 .bytes = bench_task_bytes,
	 .below = 256,
	 .below_text = "256 bytes"},
};

static struct bench_share shares[] = {
	{.name = "weir/key-bytes", .what = "bytes a key", .value = bench_key_bytes, .at_most = 22},
	{.name = "weir/key-evictions",
	 .what = "debts evicted a call, all keys in debt",
	 .value = bench_key_evictions,
	 .at_most = 1e-6},
	{.name = "weir/key-10M-bytes",
	 .what = "bytes a key",
	 .value = bench_many_bytes,
	 .of = &bench_many_single,
	 .at_most = 22},
	{.name = "weir/key-10M-evictions",
	 .what = "debts evicted a call, all keys in debt",
	 .value = bench_many_evictions,
	 .of = &bench_many_single,
	 .at_most = 1e-6},
	{.name = "peer/tree-bytes", .what = "bytes a key", .value = bench_tree_bytes},
	{.name = "peer/redis-key-bytes",
	 .what = "bytes a key",
	 .value = bench_redis_key_bytes,
	 .of = &bench_redis_keys},
	{.name = "peer/nginx-key-bytes",
	 .what = "bytes a key",
	 .value = bench_nginx_key_bytes,
	 .of = &bench_nginx_keys},
};

static void interrupt(int number)
{
	(void)number;
	interrupted = 1;
}

/* Marks the row of a name, so that what a shown row is compared with is measured too. */
static void want(const char *name, unsigned processes)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].processes == processes && strcmp(rows[i].work->name, name) == 0)
			rows[i].measured = true;
	}
}

/* Returns how many rows the filter shows. */
static unsigned select_rows(const char *filter)
{
	unsigned shown = 0;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (strstr(rows[i].work->name, filter) == NULL)
			continue;
		rows[i].shown = rows[i].measured = true;
		shown++;
		for (unsigned j = 0; j < BENCH_RATIOS_MAX; j++) {
			const struct bench_ratio *ratio = &rows[i].ratios[j];

			if (ratio->to != NULL)
				want(ratio->to, ratio->processes);
			if (ratio->plus != NULL)
				want(ratio->plus, ratio->processes);
			if (ratio->floored != NULL)
				want(ratio->floored, rows[i].processes);
		}
	}
	return shown;
}

static unsigned select_sizes(const char *filter)
{
	unsigned shown = 0;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		sizes[i].shown = strstr(sizes[i].name, filter) != NULL;
		shown += sizes[i].shown;
	}
	return shown;
}

static unsigned select_shares(const char *filter)
{
	unsigned shown = 0;

	for (size_t i = 0; i < ARRAY_SIZE(shares); i++) {
		if (strstr(shares[i].name, filter) == NULL)
			continue;
		shares[i].shown = true;
		shown++;
		if (shares[i].of != NULL)
			want(shares[i].of->name, 1);
	}
	return shown;
}

static void prepare(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bench_row *row = &rows[i];

		if (!row->measured)
			continue;
		if (row->processes > bench_cpus() && !row->work->crowd)
			row->note = "not on this machine: it needs a CPU for each process";
		else if (row->work->prepare != NULL)
			row->note = row->work->prepare();
	}
}

/* Returns false if a row that could be prepared failed. */
static bool measure(const struct bench *bench)
{
	bool well = true;

	for (unsigned round = 0; round < bench->rounds; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(rows) && !interrupted; i++) {
			struct bench_row *row = &rows[i];

			if (!row->measured || row->note != NULL)
				continue;
			row->note = bench_crew(row->work, row->processes, bench->round_ns,
					       &row->samples[round]);
			row->rounds = row->note == NULL ? round + 1 : 0;
			well = well && row->note == NULL;
		}
	}
	return well && !interrupted;
}

static void finish(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].measured && rows[i].work->finish != NULL)
			rows[i].work->finish();
	}
}

/* Returns the exit status, or -1 to go on. */
static int options(int argc, char **argv, struct bench *bench, const char **filter)
{
	static const struct option longs[] = {
		{"json", no_argument, NULL, 'j'},
		{"quick", no_argument, NULL, 'q'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		switch (option) {
		case 'j':
			bench->json = true;
			break;
		case 'q':
			bench_quick = true;
			bench->rounds = 3;
			bench->round_ns = 5000000;
			break;
		case 'h':
			fputs(usage_text, stdout);
			return 0;
		default:
			fputs(usage_text, stderr);
			return 2;
		}
	}
	if (optind < argc)
		*filter = argv[optind++];
	if (optind < argc) {
		fputs(usage_text, stderr);
		return 2;
	}
	return -1;
}

int main(int argc, char **argv)
{
	struct bench bench = {
		.rows = rows,
		.row_count = ARRAY_SIZE(rows),
		.sizes = sizes,
		.size_count = ARRAY_SIZE(sizes),
		.shares = shares,
		.share_count = ARRAY_SIZE(shares),
		.rounds = 15,
		.round_ns = 40000000,
	};
	const struct sigaction quit = {.sa_handler = interrupt};
	const char *filter = "";
	int status = options(argc, argv, &bench, &filter);
	uint64_t begun = bench_now_ns();
	bool well;

	if (status >= 0)
		return status;
	if (select_rows(filter) + select_sizes(filter) + select_shares(filter) == 0) {
		fprintf(stderr, "weir-bench: no row's name contains '%s'\n", filter);
		return 2;
	}
	sigaction(SIGINT, &quit, NULL);
	sigaction(SIGTERM, &quit, NULL);
	prepare();
	well = measure(&bench);
	finish();
	bench.took_ns = bench_now_ns() - begun;
	if (!interrupted)
		bench_report(&bench);
	return well ? 0 : 1;
}
