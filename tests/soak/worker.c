/* SPDX-License-Identifier: Apache-2.0 */
#include "worker.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	COST_MAX = 5,
	CHILD_DEEDS = 60,
	RESERVED_AHEAD_MS = 100,
};

const char *const worker_names[] = {"a", "b", "come and go", "p/1", "p/2", "x", "y"};

struct worker {
	const struct fixture *fixture;
	struct worker_counts *counts;
	struct weir *weir;
	struct weir_endpoint *endpoints[WORKER_NAMES];
	uint64_t random;
	bool is_child;
};

static uint64_t draw(struct worker *worker)
{
	worker->random ^= worker->random >> 12;
	worker->random ^= worker->random << 25;
	worker->random ^= worker->random >> 27;
	return worker->random * 0x2545f4914f6cdd1dull >> 16;
}

static void check(struct worker *worker, bool holds, int line)
{
	if (holds)
		return;
	atomic_fetch_add(&worker->counts->wrong, 1);
	atomic_store(&worker->counts->wrong_line, line);
}

#define CHECK(worker, holds) check(worker, holds, __LINE__)

/* The instance may be gone for a moment, or in the middle of being replaced. */
static void attach(struct worker *worker)
{
	struct weir_options options = WEIR_OPTIONS_INIT;

	options.name = "test";
	options.shm_dir = worker->fixture->dir;
	options.attach_ns = WEIR_SECOND;
	while (weir_open(&worker->weir, &options) < 0)
		atomic_fetch_add(&worker->counts->faults, 1);
	for (int i = 0; i < WORKER_NAMES; i++)
		CHECK(worker,
		      weir_endpoint(worker->weir, worker_names[i], &worker->endpoints[i]) == 0);
	atomic_fetch_add(&worker->counts->attached, 1);
}

static void detach(struct worker *worker)
{
	for (int i = 0; i < WORKER_NAMES; i++)
		weir_endpoint_close(worker->endpoints[i]);
	weir_close(worker->weir);
}

/* ---- deeds ---- */

static void count(struct worker *worker, enum weir_verdict verdict,
		  const struct weir_answer *answer)
{
	atomic_fetch_add(&worker->counts->calls, 1);
	atomic_fetch_add(&worker->counts->admitted, verdict == WEIR_ADMIT);
	atomic_fetch_add(&worker->counts->faults, answer->fault != 0);
	CHECK(worker, verdict != WEIR_ADMIT || answer->fault == 0);
	CHECK(worker, verdict == WEIR_ADMIT || answer->reason != WEIR_REASON_NONE);
}

static struct weir_endpoint *any(struct worker *worker)
{
	return worker->endpoints[draw(worker) % WORKER_NAMES];
}

static unsigned cost(struct worker *worker)
{
	return 1 + (unsigned)(draw(worker) % COST_MAX);
}

static void take(struct worker *worker)
{
	struct weir_answer answer;

	count(worker, weir_acquire(any(worker), cost(worker), &answer), &answer);
}

static void sleep_in_line(struct worker *worker)
{
	uint64_t patience = draw(worker) % (20 * WEIR_MILLISECOND);
	struct weir_answer answer;

	count(worker, weir_wait(any(worker), cost(worker), patience, &answer), &answer);
}

static void take_several(struct worker *worker)
{
	const struct weir_want wants[] = {
		{.endpoint = worker->endpoints[0], .cost = cost(worker)},
		{.endpoint = worker->endpoints[5], .cost = cost(worker)},
	};
	struct weir_answer answer;

	count(worker, weir_acquire_all(wants, 2, &answer), &answer);
}

/* What is settled is less than was reserved, so that nothing is charged beyond the limit. */
static void reserve(struct worker *worker)
{
	uint64_t ahead = draw(worker) % (RESERVED_AHEAD_MS * WEIR_MILLISECOND);
	struct weir_endpoint *endpoint = any(worker);
	unsigned tokens = cost(worker);
	struct weir_reservation place;
	struct weir_answer answer;
	enum weir_verdict verdict = weir_reserve(endpoint, tokens, ahead, &place, &answer);

	count(worker, verdict, &answer);
	if (verdict != WEIR_ADMIT)
		return;
	if (draw(worker) % 2)
		CHECK(worker, weir_settle(endpoint, &place, (double)(draw(worker) % tokens)) == 0);
	else if (draw(worker) % 4)
		CHECK(worker, weir_cancel(endpoint, &place, NULL) == 0);
}

static void shut(struct worker *worker)
{
	if (draw(worker) % 2)
		weir_gate_close(any(worker), draw(worker) % (5 * WEIR_MILLISECOND));
	else
		weir_gate_open(any(worker));
}

static void attach_anew(struct worker *worker)
{
	detach(worker);
	attach(worker);
}

static void do_deeds(struct worker *worker, unsigned deeds);

/* The child goes on with the handles as they are; it may be killed as well. */
static void fork_one(struct worker *worker)
{
	pid_t child;

	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	if (worker->is_child)
		return;
	child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		worker->is_child = true;
		worker->random ^= (uint64_t)getpid() << 32;
		do_deeds(worker, CHILD_DEEDS);
		_exit(0);
	}
	if (child < 0)
		return;
	atomic_fetch_add(&worker->counts->forks, 1);
	if (draw(worker) % 4 == 0)
		kill(child, SIGKILL);
}

static void do_deeds(struct worker *worker, unsigned deeds)
{
	for (unsigned i = 0; i < deeds; i++) {
		uint64_t deed = draw(worker) % 1024;

		if (deed < 2)
			fork_one(worker);
		else if (deed < 4)
			attach_anew(worker);
		else if (deed < 6)
			shut(worker);
		else if (deed < 200)
			reserve(worker);
		else if (deed < 300)
			sleep_in_line(worker);
		else if (deed < 400)
			take_several(worker);
		else
			take(worker);
		if (deed % 4 == 0) /* there are more of us than processors */
			fixture_sleep_ms(1);
	}
}

void worker_run(const struct fixture *fixture, struct worker_counts *counts, uint64_t seed)
{
	struct worker worker = {.fixture = fixture, .counts = counts, .random = seed | 1};

	attach(&worker);
	for (;;)
		do_deeds(&worker, 1000);
}
