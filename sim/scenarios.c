/* SPDX-License-Identifier: Apache-2.0
 *
 * scenarios.c - what is simulated. The configured rate is a ceiling that an operator might have
 * guessed: twice what the upstream allows, unless said otherwise.
 */
#include "sim.h"

#define TRUTHFUL .used_least = 0.97, .refused_most = 0.001
#define WORDLESS .used_least = 0.90, .refused_most = 0.02

/* A rate cannot know how many are under way; permits do. So refusals alone are to be few. */
#define AT_ONCE(n)                                                                                 \
	.kind = SIM_CONCURRENCY, .limit = (n), .window_s = 10, .windows = 30, .rate_per_s = 200

#define RISE .change_to = 1200, .rate_per_s = 40
#define FALL .change_to = 300
#define SHARED .others = 0.5
#define FAST                                                                                       \
	.limit = 2000, .window_s = 10, .rate_per_s = 500, .burst = 100, .workers = 16, .windows = 20

static const struct sim_scenario scenarios[] = {
	/* one consumer, truthful */
	{.name = "fixed/whole", .kind = SIM_FIXED, .words = SIM_WHOLE, TRUTHFUL, .fast = true},
	{.name = "fixed/exact", .kind = SIM_FIXED, .words = SIM_EXACT, TRUTHFUL},
	{.name = "fixed/epoch", .kind = SIM_FIXED, .words = SIM_EPOCH, TRUTHFUL},
	{.name = "fixed/late", .kind = SIM_FIXED, .words = SIM_LATE, TRUTHFUL, .workers = 16},
	{.name = "fixed/rise", .kind = SIM_FIXED, .words = SIM_WHOLE, TRUTHFUL, RISE, .fast = true},
	{.name = "fixed/fall", .kind = SIM_FIXED, .words = SIM_WHOLE, TRUTHFUL, FALL},
	{.name = "fixed/1-worker", .kind = SIM_FIXED, .words = SIM_WHOLE, TRUTHFUL, .workers = 1},
	{.name = "fixed/16-workers",
	 .kind = SIM_FIXED,
	 .words = SIM_WHOLE,
	 TRUTHFUL,
	 .workers = 16},
	{.name = "fixed/exact-rate",
	 .kind = SIM_FIXED,
	 .words = SIM_WHOLE,
	 TRUTHFUL,
	 .rate_per_s = 10},
	{.name = "fixed/tenfold-rate",
	 .kind = SIM_FIXED,
	 .words = SIM_WHOLE,
	 TRUTHFUL,
	 .rate_per_s = 100,
	 .burst = 100},
	{.name = "fixed/hour",
	 .kind = SIM_FIXED,
	 .words = SIM_WHOLE,
	 TRUTHFUL,
	 .limit = 5000,
	 .window_s = 3600,
	 .rate_per_s = 5,
	 .burst = 100,
	 .windows = 4},
	{.name = "fixed/5-seconds",
	 .kind = SIM_FIXED,
	 .words = SIM_EXACT,
	 TRUTHFUL,
	 .limit = 250,
	 .window_s = 5,
	 .rate_per_s = 100,
	 .burst = 50,
	 .windows = 60},
	{.name = "fixed/fast", .kind = SIM_FIXED, .words = SIM_WHOLE, TRUTHFUL, FAST},
	{.name = "fixed/bursts",
	 .kind = SIM_FIXED,
	 .words = SIM_WHOLE,
	 TRUTHFUL,
	 .batch = 200,
	 .batch_s = 30},
	{.name = "sliding/whole", .kind = SIM_SLIDING, .words = SIM_WHOLE, TRUTHFUL},
	{.name = "sliding/exact", .kind = SIM_SLIDING, .words = SIM_EXACT, TRUTHFUL, .fast = true},
	{.name = "sliding/late", .kind = SIM_SLIDING, .words = SIM_LATE, TRUTHFUL, .workers = 16},
	{.name = "sliding/rise", .kind = SIM_SLIDING, .words = SIM_WHOLE, TRUTHFUL, RISE},
	{.name = "sliding/fall", .kind = SIM_SLIDING, .words = SIM_WHOLE, TRUTHFUL, FALL},
	{.name = "bucket/whole", .kind = SIM_BUCKET, .words = SIM_WHOLE, TRUTHFUL, .fast = true},
	{.name = "bucket/exact", .kind = SIM_BUCKET, .words = SIM_EXACT, TRUTHFUL},
	{.name = "bucket/late", .kind = SIM_BUCKET, .words = SIM_LATE, TRUTHFUL, .workers = 16},
	{.name = "bucket/rise", .kind = SIM_BUCKET, .words = SIM_WHOLE, TRUTHFUL, RISE},
	{.name = "bucket/fall", .kind = SIM_BUCKET, .words = SIM_WHOLE, TRUTHFUL, FALL},
	/* one consumer, wordless */
	{.name = "fixed/silent", .kind = SIM_FIXED, .words = SIM_SILENT, WORDLESS, .fast = true},
	{.name = "fixed/retry", .kind = SIM_FIXED, .words = SIM_RETRY, WORDLESS},
	{.name = "fixed/silent-rise", .kind = SIM_FIXED, .words = SIM_SILENT, WORDLESS, RISE},
	{.name = "fixed/silent-fall", .kind = SIM_FIXED, .words = SIM_SILENT, WORDLESS, FALL},
	{.name = "fixed/silent-fast", .kind = SIM_FIXED, .words = SIM_SILENT, WORDLESS, FAST},
	{.name = "fixed/silent-1", .kind = SIM_FIXED, .words = SIM_SILENT, WORDLESS, .workers = 1},
	{.name = "sliding/silent",
	 .kind = SIM_SLIDING,
	 .words = SIM_SILENT,
	 WORDLESS,
	 .fast = true},
	{.name = "sliding/silent-rise", .kind = SIM_SLIDING, .words = SIM_SILENT, WORDLESS, RISE},
	{.name = "bucket/silent", .kind = SIM_BUCKET, .words = SIM_SILENT, WORDLESS},
	{.name = "bucket/silent-rise", .kind = SIM_BUCKET, .words = SIM_SILENT, WORDLESS, RISE},
	{.name = "bucket/silent-fall", .kind = SIM_BUCKET, .words = SIM_SILENT, WORDLESS, FALL},
	/* so many at once */
	{.name = "concurrency/few",
	 .words = SIM_WHOLE,
	 AT_ONCE(10),
	 .used_least = 0.97,
	 .refused_most = 0.001},
	{.name = "concurrency/many",
	 .words = SIM_WHOLE,
	 AT_ONCE(5),
	 .workers = 16,
	 .latency_ms = 100,
	 .refused_most = 0.02},
	{.name = "concurrency/silent",
	 .words = SIM_SILENT,
	 AT_ONCE(5),
	 .workers = 16,
	 .latency_ms = 100,
	 .refused_most = 0.02},
	/* lies */
	{.name = "fixed/frozen", .kind = SIM_FIXED, .words = SIM_FROZEN, .fast = true},
	{.name = "fixed/zero", .kind = SIM_FIXED, .words = SIM_ZERO},
	{.name = "fixed/tenfold", .kind = SIM_FIXED, .words = SIM_TENFOLD},
	{.name = "fixed/noise", .kind = SIM_FIXED, .words = SIM_NOISE},
	{.name = "fixed/long", .kind = SIM_FIXED, .words = SIM_LONG},
	{.name = "fixed/short", .kind = SIM_FIXED, .words = SIM_SHORT},
	{.name = "sliding/frozen", .kind = SIM_SLIDING, .words = SIM_FROZEN},
	{.name = "sliding/zero", .kind = SIM_SLIDING, .words = SIM_ZERO},
	{.name = "sliding/noise", .kind = SIM_SLIDING, .words = SIM_NOISE},
	{.name = "sliding/tenfold", .kind = SIM_SLIDING, .words = SIM_TENFOLD},
	{.name = "sliding/long", .kind = SIM_SLIDING, .words = SIM_LONG, .fast = true},
	{.name = "bucket/frozen", .kind = SIM_BUCKET, .words = SIM_FROZEN},
	{.name = "bucket/zero", .kind = SIM_BUCKET, .words = SIM_ZERO},
	{.name = "bucket/noise", .kind = SIM_BUCKET, .words = SIM_NOISE, .fast = true},
	{.name = "bucket/tenfold", .kind = SIM_BUCKET, .words = SIM_TENFOLD},
	{.name = "bucket/long", .kind = SIM_BUCKET, .words = SIM_LONG},
	/* a second consumer takes half */
	{.name = "fixed/shared", .kind = SIM_FIXED, .words = SIM_WHOLE, SHARED, .fast = true},
	{.name = "fixed/shared-exact", .kind = SIM_FIXED, .words = SIM_EXACT, SHARED},
	{.name = "fixed/shared-silent", .kind = SIM_FIXED, .words = SIM_SILENT, SHARED},
	{.name = "sliding/shared", .kind = SIM_SLIDING, .words = SIM_WHOLE, SHARED},
	{.name = "bucket/shared", .kind = SIM_BUCKET, .words = SIM_WHOLE, SHARED},
	{.name = "bucket/shared-silent", .kind = SIM_BUCKET, .words = SIM_SILENT, SHARED},
	/* hosts that know nothing of each other: each is the others' second consumer */
	{.name = "fixed/4-hosts", .kind = SIM_FIXED, .words = SIM_WHOLE, .hosts = 4},
	{.name = "fixed/4x16", .kind = SIM_FIXED, .words = SIM_EXACT, .hosts = 4, .workers = 16},
	{.name = "fixed/4-hosts-silent", .kind = SIM_FIXED, .words = SIM_SILENT, .hosts = 4},
	{.name = "sliding/4-hosts",
	 .kind = SIM_SLIDING,
	 .words = SIM_WHOLE,
	 .hosts = 4,
	 .fast = true},
	{.name = "bucket/4-hosts", .kind = SIM_BUCKET, .words = SIM_WHOLE, .hosts = 4},
	{.name = "bucket/4-hosts-silent", .kind = SIM_BUCKET, .words = SIM_SILENT, .hosts = 4},
};

static void unless_said(double *value, double usual)
{
	*value = *value > 0 ? *value : usual;
}

static void unless_counted(unsigned *value, unsigned usual)
{
	*value = *value ? *value : usual;
}

/* 600 a minute, 8 workers on one host. */
bool sim_scenario_at(size_t index, struct sim_scenario *out)
{
	if (index >= sizeof(scenarios) / sizeof(scenarios[0]))
		return false;
	*out = scenarios[index];
	unless_said(&out->limit, 600);
	unless_said(&out->window_s, 60);
	unless_said(&out->rate_per_s, 20);
	unless_said(&out->burst, 20);
	unless_said(&out->latency_ms, 50);
	unless_counted(&out->hosts, 1);
	unless_counted(&out->workers, 8);
	unless_counted(&out->windows, 15);
	return true;
}
