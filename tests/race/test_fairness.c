/* SPDX-License-Identifier: Apache-2.0
 *
 * Two processes draw from one bucket without a pause. Who loses a race lets the other go on for a
 * while, and must get its own turn then: neither is left with next to nothing of what is granted.
 */
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "segment_fixture.h"

#include "weir.h"

enum {
	CALLS = 2000000, /* of both together, in a round */
	BATCH = 100,
	ROUNDS = 7,
	LEAST_SHARE = 20, /* percent, in the median; other load on the CPUs takes its part */
	ATTEMPTS = 2,
};

struct shares {
	_Atomic uint32_t ready;
	alignas(64) _Atomic uint64_t total; /* calls */
	alignas(64) uint64_t own[2];	    /* written by its process, read after its end */
};

static void draw(struct weir *host, struct shares *shares, unsigned index)
{
	struct weir_endpoint *hot;

	CHILD_CHECK(weir_endpoint(host, "hot", &hot) == 0);
	/* relaxed, here and below: counts that order nothing */
	atomic_fetch_add_explicit(&shares->ready, 1, memory_order_relaxed);
	while (atomic_load_explicit(&shares->ready, memory_order_relaxed) < 2)
		sched_yield();
	while (atomic_load_explicit(&shares->total, memory_order_relaxed) < CALLS) {
		for (unsigned i = 0; i < BATCH; i++)
			CHILD_CHECK(weir_acquire(hot, 1, NULL) == WEIR_ADMIT);
		shares->own[index] += BATCH;
		atomic_fetch_add_explicit(&shares->total, BATCH, memory_order_relaxed);
	}
	weir_endpoint_close(hot);
	_exit(0);
}

/* Percent of the calls that the slower one got. */
static unsigned slower_share(struct weir *host, struct shares *shares)
{
	pid_t pids[2];
	uint64_t least;

	*shares = (struct shares){.own = {0, 0}};
	for (unsigned i = 0; i < 2; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] == 0)
			draw(host, shares, i);
	}
	for (unsigned i = 0; i < 2; i++) {
		int status;

		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	least = shares->own[0] < shares->own[1] ? shares->own[0] : shares->own[1];
	return (unsigned)(least * 100 / (shares->own[0] + shares->own[1]));
}

static int by_size(const void *left, const void *right)
{
	return *(const int *)left - *(const int *)right;
}

static int median_share(struct weir *host, struct shares *shares)
{
	int percent[ROUNDS];

	for (unsigned i = 0; i < ROUNDS; i++)
		percent[i] = (int)slower_share(host, shares);
	qsort(percent, ROUNDS, sizeof(percent[0]), by_size);
	print_message("the slower one got %d to %d %% of the calls, %d in the median\n", percent[0],
		      percent[ROUNDS - 1], percent[ROUNDS / 2]);
	return percent[ROUNDS / 2];
}

static void test_both_get_their_turn(void **state)
{
	static const char text[] = "[endpoint hot]\nrate = 1000000000/s\nburst = 1000000000\n";
	struct shares *shares = mmap(NULL, sizeof(*shares), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct weir *host;
	int share = 0;

	(void)state;
	assert_ptr_not_equal(shares, MAP_FAILED);
	assert_int_equal(weir_host(&host, text, WEIR_CLOCK_BEST, NULL, NULL, 0), 0);
	for (unsigned i = 0; i < ATTEMPTS && share < LEAST_SHARE; i++)
		share = median_share(host, shares);
	assert_true(share >= LEAST_SHARE);
	weir_close(host);
	munmap(shares, sizeof(*shares));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_both_get_their_turn)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
