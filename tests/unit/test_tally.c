/* SPDX-License-Identifier: Apache-2.0
 *
 * Counts are exact: processes and threads that are moved between CPUs and interrupted by signals
 * count every call once, with restartable sequences and without.
 */
#include "segment_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <sys/time.h>

#include "handle.h"
#include "tally.h"

#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#endif

#define PROCESSES 3
#define THREADS 3
#define CALLS 60000
#define BURST 400000 /* of 540,000 calls: both verdicts are counted */

static const char *self; /* this program's path */

struct hammer {
	struct weir *weir;
	_Atomic uint64_t admitted;
	_Atomic uint64_t refused;
	_Atomic uint64_t signals;
};

static struct hammer *hammer; /* shared by all */

static void on_signal(int number)
{
	(void)number;
	atomic_fetch_add(&hammer->signals, 1);
}

/* Flips between the CPUs there are, as a scheduler at its worst. */
static void move_to(unsigned turn)
{
	long cpus = sysconf(_SC_NPROCESSORS_CONF);
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(turn % (unsigned)cpus, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void *hammer_thread(void *context)
{
	struct weir_endpoint *endpoint = scene_endpoint(hammer->weir, "x");
	uint64_t admitted = 0;
	unsigned turn = (unsigned)(uintptr_t)context;

	for (unsigned i = 0; endpoint && i < CALLS; i++) {
		if (i % 50 == 0)
			move_to(turn++);
		admitted += weir_acquire(endpoint, 1, NULL) == WEIR_ADMIT;
	}
	atomic_fetch_add(&hammer->admitted, admitted);
	atomic_fetch_add(&hammer->refused, CALLS - admitted);
	weir_endpoint_close(endpoint);
	return NULL;
}

static int hammer_process(void *context)
{
	const struct itimerval often = {{0, 97}, {0, 97}};
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	pthread_t threads[THREADS];

	(void)context;
	CHILD_CHECK(sigaction(SIGALRM, &action, NULL) == 0);
	CHILD_CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		CHILD_CHECK(pthread_create(&threads[i], NULL, hammer_thread, (void *)i) == 0);
	for (int i = 0; i < THREADS; i++)
		CHILD_CHECK(pthread_join(threads[i], NULL) == 0);
	return 0;
}

/* What one kind of lane holds of a counter. */
static uint64_t lanes_sum(const struct tallies *tallies, uint32_t first, uint32_t count,
			  uint32_t bucket, enum counter counter)
{
	uint64_t sum = 0;

	for (uint32_t lane = first; lane < first + count; lane++)
		sum += atomic_load(&tallies->lanes[(size_t)lane * tallies->buckets + bucket]
					    .counters[counter]);
	return sum;
}

static void hammer_begin(void)
{
	char text[80];

	snprintf(text, sizeof(text), "[endpoint x]\nrate = 1/d\nburst = %d\n", BURST);
	hammer = scene_shared(sizeof(*hammer));
	assert_int_equal(weir_host(&hammer->weir, text, WEIR_CLOCK_MANUAL, NULL, NULL, 0), 0);
}

/* Runs it; the counts of the one bucket, and whether a CPU's lane was used at all. */
static bool hammer_all(void)
{
	struct weir_level level = {.size = sizeof(level)};
	pid_t pids[PROCESSES];

	hammer_begin();
	for (int i = 0; i < PROCESSES; i++)
		pids[i] = scene_child(hammer_process, NULL);
	for (int i = 0; i < PROCESSES; i++)
		assert_int_equal(scene_wait(pids[i]), 0);

	struct weir_endpoint *endpoint = scene_endpoint(hammer->weir, "x");
	const struct binding *binding = endpoint_binding(endpoint);
	const struct tallies *tallies = &binding->attachment->segment.tallies;
	struct tally_sum sum;

	tally_read(tallies, binding->bucket_index, 0, &sum);
	assert_int_equal(weir_peek(endpoint, &level), 0);
	assert_int_equal(atomic_load(&hammer->admitted), BURST);
	assert_int_equal(level.granted, BURST);
	assert_int_equal(level.refused, atomic_load(&hammer->refused));
	assert_int_equal(level.granted + level.refused, PROCESSES * THREADS * CALLS);
	assert_near(level.granted_tokens, BURST);
	assert_int_equal(sum.counters[COUNT_REFUSED_UNITS],
			 atomic_load(&hammer->refused) * binding->units_per_token);
	assert_true(atomic_load(&hammer->signals) > 0);

	uint64_t on_cpus = lanes_sum(tallies, 0, tallies->cpu_lanes, binding->bucket_index,
				     COUNT_GRANTED_CALLS);
	uint64_t shared = lanes_sum(tallies, tallies->cpu_lanes, LAYOUT_SHARED_LANES,
				    binding->bucket_index, COUNT_GRANTED_CALLS);

	print_message("%llu counted on CPU lanes, %llu on shared ones, %llu signals\n",
		      (unsigned long long)on_cpus, (unsigned long long)shared,
		      (unsigned long long)atomic_load(&hammer->signals));
	weir_endpoint_close(endpoint);
	weir_close(hammer->weir);
	munmap(hammer, sizeof(*hammer));
	return on_cpus > 0;
}

static bool rseq_is_registered(void)
{
#if __has_include(<sys/rseq.h>) && defined(__x86_64__) && !defined(__SANITIZE_THREAD__) &&         \
	!LANE_FEATURE(thread_sanitizer)
	return __rseq_size > 0;
#else
	return false;
#endif
}

static void test_exact_as_it_is(void **state)
{
	(void)state;
	if (!rseq_is_registered())
		print_message("no restartable sequences here: shared lanes only\n");
	assert_int_equal(hammer_all(), rseq_is_registered());
}

#define WITHOUT "without-rseq"
#define CANNOT_EXECUTE 77

/* The same in a process to which glibc was told not to register any. */
static int run_without(void *context)
{
	char *const arguments[] = {(char *)(uintptr_t)self, (char *)WITHOUT, NULL};

	(void)context;
	setenv("GLIBC_TUNABLES", "glibc.pthread.rseq=0", 1);
	execv(self, arguments);
	return errno == ENOEXEC ? CANNOT_EXECUTE : 127;
}

static void test_exact_without_rseq(void **state)
{
	(void)state;
	int status = scene_wait(scene_child(run_without, NULL));

	if (status == CANNOT_EXECUTE) {
		print_message("SKIPPED: the kernel cannot execute this program (an emulator?)\n");
		skip();
	}
	assert_int_equal(status, 0);
}

static void test_without(void **state)
{
	(void)state;
	assert_false(rseq_is_registered());
	assert_false(hammer_all());
}

/* ---- reading and carrying ---- */

static bool counter_is_units(int counter)
{
	return counter == COUNT_GRANTED_UNITS || counter == COUNT_REFUSED_UNITS ||
	       counter == COUNT_WAITED_UNITS || counter == COUNT_RETURNED_UNITS;
}

static void test_lanes_are_summed(void **state)
{
	struct segment_shape shape = scene_shape;
	struct segment segment;
	struct tally_sum sum;

	(void)state;
	assert_int_equal(segment_create_private(&segment, &shape), 0);
	const struct tallies *tallies = &segment.tallies;
	uint32_t lanes = layout_lanes(tallies->cpu_lanes);

	for (uint32_t lane = 0; lane < lanes; lane++)
		for (int i = 0; i < LAYOUT_COUNTERS; i++)
			atomic_store(
				&tallies->lanes[(size_t)lane * tallies->buckets + 3].counters[i],
				(uint64_t)(i + 1) << (4 * lane));
	tally_read(tallies, 3, 2, &sum);
	for (int i = 0; i < LAYOUT_COUNTERS; i++) {
		uint64_t carried = (uint64_t)(i + 1) << (4 * (lanes - 1));
		uint64_t expected = 0;

		for (uint32_t lane = 0; lane + 1 < lanes; lane++)
			expected += (uint64_t)(i + 1) << (4 * lane);
		if (counter_is_units(i))
			assert_true(sum.tokens[i] == (double)expected / 4 + (double)carried / 16);
		else
			expected += carried;
		assert_int_equal(sum.counters[i], expected);
	}
	tally_read(tallies, 2, 2, &sum);
	for (int i = 0; i < LAYOUT_COUNTERS; i++)
		assert_int_equal(sum.counters[i], 0);
	segment_detach(&segment);
}

/* Far more tokens than 64 bits hold of this bucket's units; sixteenths are what is left. */
static void test_carried_lane(void **state)
{
	struct segment_shape shape = scene_shape;
	const struct tally_sum carried = {
		.counters = {[COUNT_GRANTED_CALLS] = 1, [COUNT_REFUSED_CALLS] = 3},
		.tokens = {[COUNT_REFUSED_UNITS] = 4e12, [COUNT_RETURNED_UNITS] = 8.2},
	};
	struct segment segment;
	struct tally_sum sum;

	(void)state;
	assert_int_equal(segment_create_private(&segment, &shape), 0);
	for (uint32_t lane = 0; lane < LAYOUT_SHARED_LANES; lane++) {
		segment.tallies.shared_lane = segment.tallies.cpu_lanes + lane;
		tally_add_shared(&segment.tallies, 5, COUNT_GRANTED_CALLS, 100, 0);
	}
	tally_carry(&segment.tallies, 5, &carried);
	tally_carry(&segment.tallies, 5, &carried); /* absolute */
	tally_read(&segment.tallies, 5, 44, &sum);
	assert_int_equal(sum.counters[COUNT_GRANTED_CALLS], 201);
	assert_true(sum.tokens[COUNT_RETURNED_UNITS] == 8.1875);
	tally_count(&segment.tallies, 5, COUNT_REFUSED_CALLS, 7ull << 42);
	tally_read(&segment.tallies, 5, 44, &sum);
	assert_int_equal(sum.counters[COUNT_REFUSED_CALLS], 4);
	assert_true(sum.tokens[COUNT_REFUSED_UNITS] == 4e12 + 1.75);
	segment_detach(&segment);
}

/* Two million tokens are more than 64 bits of the units that a token a day is counted in. */
static void test_counts_outlive_their_unit(void **state)
{
	static const char text[] = "[endpoint api]\nrate = 1000/s\nburst = 1000\n";
	struct weir_level level = {.size = sizeof(level)};
	struct weir_endpoint *api;
	struct weir *weir;

	(void)state;
	assert_int_equal(weir_host(&weir, text, WEIR_CLOCK_MANUAL, NULL, NULL, 0), 0);
	api = scene_endpoint(weir, "api");
	for (unsigned i = 0; i < 2000; i++) {
		assert_int_equal(weir_acquire(api, 1000, NULL), WEIR_ADMIT);
		assert_int_equal(weir_clock_advance(weir, WEIR_SECOND), 0);
	}
	assert_int_equal(weir_update(weir, "api", "1/d", "10", WEIR_KEEP_USED), 0);
	assert_int_equal(weir_acquire(api, 1, NULL), WEIR_ADMIT);
	assert_int_equal(weir_peek(api, &level), 0);
	assert_int_equal(level.granted, 2001);
	assert_true(level.granted_tokens == 2000001);
	weir_endpoint_close(api);
	weir_close(weir);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exact_as_it_is),
		cmocka_unit_test(test_exact_without_rseq),
		cmocka_unit_test(test_lanes_are_summed),
		cmocka_unit_test(test_carried_lane),
		cmocka_unit_test(test_counts_outlive_their_unit),
	};
	const struct CMUnitTest without[] = {cmocka_unit_test(test_without)};

	self = argc > 0 ? argv[0] : "";
	if (argc > 1 && strcmp(argv[1], WITHOUT) == 0)
		return cmocka_run_group_tests(without, NULL, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
