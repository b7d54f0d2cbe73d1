/* SPDX-License-Identifier: Apache-2.0
 *
 * The limit on calls in flight that follows latency: what it decides from single windows, and what
 * comes of it against upstreams that serve so many at once and let the others queue.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gradient.h"

#define MS 1000000ull
#define SECOND 1000000000ull

#define EXPONENTIAL 2

enum { SERVERS_MAX = 512, FLIGHT_MAX = 2048 };

/* ---- an upstream: first come first served by `capacity` servers ---- */

struct upstream {
	unsigned capacity;
	double service_ns;
	double jitter; /* a call takes 1 - jitter to 1 + jitter of it; above 1: exponential */
	uint64_t free_ns[SERVERS_MAX];
	uint64_t random;
};

static double fraction(uint64_t *random)
{
	*random = *random * 6364136223846793005u + 1442695040888963407u;
	return (double)(*random >> 11) / 9007199254740992.0;
}

/* When a call that arrives now ends. */
static uint64_t serve(struct upstream *upstream, uint64_t now_ns)
{
	unsigned first = 0;
	double took = upstream->service_ns *
		      (upstream->jitter > 1
			       ? -log(1 - fraction(&upstream->random))
			       : 1 + upstream->jitter * (2 * fraction(&upstream->random) - 1));

	for (unsigned i = 1; i < upstream->capacity; i++) {
		if (upstream->free_ns[i] < upstream->free_ns[first])
			first = i;
	}
	if (upstream->free_ns[first] < now_ns)
		upstream->free_ns[first] = now_ns;
	upstream->free_ns[first] += (uint64_t)took;
	return upstream->free_ns[first];
}

struct call {
	uint64_t begin_ns;
	uint64_t end_ns;
	unsigned change; /* of the limit that it began under */
};

/* Callers that always want one call more than they may have. */
struct world {
	struct upstream upstream;
	struct gradient gradient;
	uint32_t limit;
	uint32_t wanted; /* callers; as many as are let in at most */
	struct call flying[FLIGHT_MAX];
	unsigned in_flight;
	uint64_t now_ns;
	unsigned changes;
};

struct outcome {
	double throughput; /* calls a second */
	double latency_ns;
};

static void start_calls(struct world *world)
{
	while (world->in_flight < world->limit && world->in_flight < world->wanted) {
		world->flying[world->in_flight++] = (struct call){
			world->now_ns, serve(&world->upstream, world->now_ns), world->changes};
	}
}

static unsigned next_to_end(const struct world *world)
{
	unsigned next = 0;

	for (unsigned i = 1; i < world->in_flight; i++) {
		if (world->flying[i].end_ns < world->flying[next].end_ns)
			next = i;
	}
	return next;
}

static struct outcome run(struct world *world, uint64_t for_ns)
{
	uint64_t until = world->now_ns + for_ns;
	uint64_t calls = 0;
	double sum_ns = 0;

	while (world->now_ns < until) {
		struct gradient_decision decision;
		unsigned next;
		struct call ended;

		start_calls(world);
		next = next_to_end(world);
		ended = world->flying[next];
		world->now_ns = ended.end_ns;
		const struct gradient_slice slice = {
			.calls = 1,
			.sum_ns = (double)(ended.end_ns - ended.begin_ns),
			.in_flight = world->in_flight};

		world->flying[next] = world->flying[--world->in_flight];
		calls++;
		sum_ns += slice.sum_ns;
		if (ended.change != world->changes ||
		    !gradient_take(&world->gradient, &slice, &decision))
			continue;
		assert_in_range(decision.limit, world->gradient.settings.min,
				world->gradient.settings.max);
		world->limit = decision.limit;
		world->changes++;
	}
	return (struct outcome){(double)calls / ((double)for_ns / 1e9), sum_ns / (double)calls};
}

static struct world *world_of(unsigned capacity, double service_ns, double jitter)
{
	const struct gradient_settings settings = {.min = 1, .max = 400};
	struct world *world = calloc(1, sizeof(*world));

	assert_non_null(world);
	world->upstream.capacity = capacity;
	world->upstream.service_ns = service_ns;
	world->upstream.jitter = jitter;
	world->upstream.random = capacity;
	world->wanted = FLIGHT_MAX;
	gradient_begin(&world->gradient, &settings, 10, 0);
	world->limit = 10;
	return world;
}

static double share(const struct world *world, struct outcome outcome)
{
	return outcome.throughput * world->upstream.service_ns / 1e9 / world->upstream.capacity;
}

/* ---- what comes of it ---- */

static void test_finds_the_capacity(void **state)
{
	static const unsigned capacities[] = {2, 3, 5, 10, 40, 100, 250};
	static const double jitters[] = {0, 0.3, EXPONENTIAL};

	(void)state;
	for (unsigned i = 0; i < sizeof(capacities) / sizeof(capacities[0]); i++) {
		for (unsigned j = 0; j < sizeof(jitters) / sizeof(jitters[0]); j++) {
			struct world *world = world_of(capacities[i], 20.0 * MS, jitters[j]);
			struct outcome outcome;

			run(world, 60 * SECOND); /* to get there */
			outcome = run(world, 120 * SECOND);
			print_message("%3u at once, jitter %.1f: %.1f %% of it, %.2f x the time "
				      "alone, limit %u\n",
				      capacities[i], jitters[j], 100 * share(world, outcome),
				      outcome.latency_ns / world->upstream.service_ns,
				      world->limit);
			assert_true(share(world, outcome) >= 0.9);
			assert_true(outcome.latency_ns <= 2 * world->upstream.service_ns);
			free(world);
		}
	}
}

/* The upstream loses three quarters of its servers, and gets them back. */
static void test_follows_the_capacity(void **state)
{
	struct world *world = world_of(80, 20.0 * MS, 0.2);

	(void)state;
	run(world, 60 * SECOND);
	for (unsigned turn = 0; turn < 4; turn++) {
		struct outcome outcome;

		world->upstream.capacity = turn % 2 ? 80 : 20;
		outcome = run(world, 120 * SECOND);
		print_message("%u at once: %.1f %% of it, %.2f x the time alone, with what it "
			      "took to get there\n",
			      world->upstream.capacity, 100 * share(world, outcome),
			      outcome.latency_ns / world->upstream.service_ns);
		assert_true(share(world, outcome) >= 0.9);
		assert_true(outcome.latency_ns <= 2 * world->upstream.service_ns);
	}
	free(world);
}

/* It becomes three times slower, each call by itself: that is no queue. */
static void test_follows_the_base(void **state)
{
	struct world *world = world_of(30, 10.0 * MS, 0.2);
	struct outcome outcome;

	(void)state;
	run(world, 60 * SECOND);
	world->upstream.service_ns = 30.0 * MS;
	run(world, 120 * SECOND);
	outcome = run(world, 120 * SECOND);
	assert_true(share(world, outcome) >= 0.9);
	assert_true(outcome.latency_ns <= 2 * world->upstream.service_ns);
	world->upstream.service_ns = 5.0 * MS;
	run(world, 60 * SECOND);
	outcome = run(world, 60 * SECOND);
	assert_true(share(world, outcome) >= 0.9);
	assert_true(outcome.latency_ns <= 2 * world->upstream.service_ns);
	free(world);
}

/* Whoever needs two at once learns nothing about forty. */
static void test_rises_only_in_use(void **state)
{
	struct world *world = world_of(100, 20.0 * MS, 0.2);
	uint32_t before;

	(void)state;
	world->wanted = 2;
	run(world, 60 * SECOND);
	before = world->limit;
	assert_true(before <= 10);
	run(world, 60 * SECOND);
	assert_true(world->limit <= before);
	free(world);
}

/* A start far above the capacity, where the first base is that of a long queue. */
static void test_a_start_too_high(void **state)
{
	struct world *world = world_of(5, 20.0 * MS, 0.2);
	const struct gradient_settings settings = {.min = 1, .max = 400};
	struct outcome outcome;

	(void)state;
	gradient_begin(&world->gradient, &settings, 400, 0);
	world->limit = 400;
	run(world, 120 * SECOND);
	outcome = run(world, 60 * SECOND);
	assert_true(share(world, outcome) >= 0.9);
	assert_true(outcome.latency_ns <= 2 * world->upstream.service_ns);
	free(world);
}

/* ---- single windows ---- */

/* So many calls of one latency that end one at a time, until the limit changes; false: it does not
 * within a few windows. All of the limit is in use. */
static bool feed(struct gradient *gradient, double latency_ns, unsigned failed_of_100,
		 struct gradient_decision *out)
{
	for (unsigned i = 0; i < 5000; i++) {
		const bool fails = i * failed_of_100 % 100 < failed_of_100;
		const struct gradient_slice slice = {
			.calls = 1,
			.failed = fails,
			.sum_ns = fails ? 0 : latency_ns,
			.in_flight = UINT32_MAX,
		};

		if (gradient_take(gradient, &slice, out))
			return true;
	}
	return false;
}

static void test_failures_lower_it(void **state)
{
	const struct gradient_settings settings = {.min = 4, .max = 100};
	struct gradient gradient;
	struct gradient_decision decision;
	uint32_t before = 100;

	(void)state;
	gradient_begin(&gradient, &settings, 100, 0);
	while (feed(&gradient, 20.0 * MS, 100, &decision)) {
		assert_int_equal(decision.cause, FOUND_FAILING);
		assert_true(decision.limit < before);
		assert_true(decision.limit >= 4);
		assert_true(decision.latency_ns <= 0);
		before = decision.limit;
	}
	assert_int_equal(before, 4);
}

/*
 * Nine in a hundred are borne, and their time is not a call's; eleven are one too many, and ninety
 * more than it falls at once.
 */
static void test_some_failures_are_borne(void **state)
{
	const struct gradient_settings settings = {.min = 1, .max = 50};
	struct gradient gradient;
	struct gradient_decision decision;

	(void)state;
	gradient_begin(&gradient, &settings, 50, 0);
	for (unsigned i = 0; i < 20; i++) {
		if (!feed(&gradient, 20.0 * MS, 9, &decision))
			break;
		assert_int_not_equal(decision.cause, FOUND_FAILING);
		assert_in_range((uint64_t)decision.latency_ns, 20 * MS - 1, 20 * MS + 1);
	}
	gradient_begin(&gradient, &settings, 50, 0);
	assert_true(feed(&gradient, 20.0 * MS, 11, &decision));
	assert_int_equal(decision.cause, FOUND_FAILING);
	assert_int_equal(decision.limit, 49);
	gradient_begin(&gradient, &settings, 50, 0);
	assert_true(feed(&gradient, 20.0 * MS, 90, &decision));
	assert_int_equal(decision.limit, 40);
}

/* What an upstream refuses that serves 40 at once and lets nothing queue, in percent. */
static unsigned refused_of_100(uint32_t limit)
{
	return limit > 40 ? (limit - 40) * 100 / limit : 0;
}

/* There failures alone bound it: it comes to stand where as many fail as are borne, and stays. */
static void test_an_upstream_that_refuses(void **state)
{
	const struct gradient_settings settings = {.min = 1, .max = 200};
	struct gradient gradient;
	struct gradient_decision decision = {.limit = 10};
	uint32_t least = UINT32_MAX, most = 0;

	(void)state;
	gradient_begin(&gradient, &settings, 10, 0);
	for (unsigned i = 0; i < 400; i++) {
		if (!feed(&gradient, 20.0 * MS, refused_of_100(decision.limit), &decision))
			break; /* it stands */
		if (i < 100 || decision.cause == FOUND_PROBING)
			continue;
		least = decision.limit < least ? decision.limit : least;
		most = decision.limit > most ? decision.limit : most;
	}
	assert_in_range(decision.cause == FOUND_PROBING ? least : decision.limit, 41, 46);
	assert_true(most == 0 || (least >= 41 && most <= 46));
}

/* More failures than calls that had a permit: they are calls, too. */
static void test_failures_without_permits(void **state)
{
	const struct gradient_settings settings = {.min = 1, .max = 50};
	const struct gradient_slice slice = {.calls = 3, .failed = 100, .sum_ns = 9.0 * MS};
	struct gradient gradient;
	struct gradient_decision decision;

	(void)state;
	gradient_begin(&gradient, &settings, 50, 0);
	assert_true(gradient_take(&gradient, &slice, &decision));
	assert_int_equal(decision.cause, FOUND_FAILING);
}

/* A window in which a probe fails goes back to where it was, and down from there. */
static void test_a_probe_that_fails(void **state)
{
	const struct gradient_settings settings = {.min = 1, .max = 50};
	struct gradient gradient;
	struct gradient_decision decision;

	(void)state;
	gradient_begin(&gradient, &settings, 20, 0);
	do
		assert_true(feed(&gradient, 20.0 * MS, 0, &decision));
	while (decision.cause != FOUND_PROBING);
	assert_true(decision.limit <= 12);
	assert_true(feed(&gradient, 20.0 * MS, 100, &decision));
	assert_int_equal(decision.cause, FOUND_FAILING);
	assert_true(decision.limit > 12 && decision.limit < 22);
}

/* One lucky window does not hold all others to its latency; two of them are no luck. */
static void test_luck(void **state)
{
	const struct gradient_settings settings = {.min = 1, .max = 40};
	struct gradient gradient;
	struct gradient_decision decision;
	const struct gradient_slice lucky = {.calls = 80, .sum_ns = 80 * 5.0 * MS, .in_flight = 40};

	(void)state;
	gradient_begin(&gradient, &settings, 40, 20.0 * MS);
	assert_false(gradient_take(&gradient, &lucky, &decision));
	assert_true(gradient.base_ns > 19.0 * MS);
	gradient_begin(&gradient, &settings, 40, 20.0 * MS);
	gradient.until_probe = 9;
	assert_false(gradient_take(&gradient, &lucky, &decision));
	assert_false(gradient_take(&gradient, &lucky, &decision));
	assert_true(gradient.base_ns < 6.0 * MS);
}

static void test_bounds(void **state)
{
	struct gradient_settings settings = {.min = 0, .max = 0};
	struct gradient gradient;

	(void)state;
	gradient_begin(&gradient, &settings, 0, 0);
	assert_int_equal(gradient.settings.min, 1);
	assert_int_equal(gradient.settings.max, 1);
	assert_true(gradient.limit >= 1 && gradient.limit <= 1);
	settings = (struct gradient_settings){.min = 5, .max = 20};
	gradient_begin(&gradient, &settings, 2, 0);
	assert_true(gradient.limit >= 5 && gradient.limit <= 5);
	gradient_begin(&gradient, &settings, 200, 0);
	assert_true(gradient.limit >= 20 && gradient.limit <= 20);
}

/* Whatever the words of a segment say, the limit stays within its bounds. */
static void test_any_slices(void **state)
{
	static const uint32_t odd[] = {0, 1, 16, 1000, UINT32_MAX};
	uint64_t random = 7;

	(void)state;
	for (unsigned life = 0; life < 200; life++) {
		struct gradient_settings settings = {.min = 1 + (uint32_t)(fraction(&random) * 10),
						     .max = 1 +
							    (uint32_t)(fraction(&random) * 1000)};
		struct gradient gradient;

		gradient_begin(&gradient, &settings, (uint32_t)(fraction(&random) * 2000),
			       fraction(&random) < 0.5 ? 0 : fraction(&random) * 1e18);
		for (unsigned i = 0; i < 3000; i++) {
			struct gradient_decision decision;
			struct gradient_slice slice = {
				.calls = (uint32_t)(fraction(&random) * 50),
				.failed = (uint32_t)(fraction(&random) * 3),
				.sum_ns = fraction(&random) * 1e9,
				.in_flight = (uint32_t)(fraction(&random) * 100),
			};

			if (fraction(&random) < 0.05)
				slice.calls = odd[(unsigned)(fraction(&random) * 5)];
			if (fraction(&random) < 0.02)
				slice.failed = odd[(unsigned)(fraction(&random) * 5)];
			if (fraction(&random) < 0.02)
				slice.sum_ns = fraction(&random) < 0.5 ? 0 : 1e18;
			if (!gradient_take(&gradient, &slice, &decision))
				continue;
			assert_in_range(decision.limit, gradient.settings.min,
					gradient.settings.max);
			assert_true(isfinite(decision.base_ns) && decision.base_ns >= 0);
			assert_true(isfinite(decision.latency_ns) && decision.latency_ns >= 0);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_finds_the_capacity),
		cmocka_unit_test(test_follows_the_capacity),
		cmocka_unit_test(test_follows_the_base),
		cmocka_unit_test(test_rises_only_in_use),
		cmocka_unit_test(test_a_start_too_high),
		cmocka_unit_test(test_failures_lower_it),
		cmocka_unit_test(test_some_failures_are_borne),
		cmocka_unit_test(test_an_upstream_that_refuses),
		cmocka_unit_test(test_failures_without_permits),
		cmocka_unit_test(test_a_probe_that_fails),
		cmocka_unit_test(test_luck),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_any_slices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
