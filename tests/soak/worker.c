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
	struct worker_slot *slot;
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

/* Nothing is under way in it when it changes hands. */
static void find_slot(struct worker *worker)
{
	for (struct worker_slot *slot = worker->counts->slots;; slot++) {
		int32_t nobody = 0;

		if (slot == worker->counts->slots + WORKER_SLOTS)
			slot = worker->counts->slots;
		if (!atomic_compare_exchange_strong(&slot->pid, &nobody, getpid()))
			continue;
		worker->slot = slot;
		return;
	}
}

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

static unsigned any(struct worker *worker)
{
	return (unsigned)(draw(worker) % WORKER_NAMES);
}

static unsigned cost(struct worker *worker)
{
	return 1 + (unsigned)(draw(worker) % COST_MAX);
}

static void begin_draw(struct worker *worker, unsigned name, unsigned tokens)
{
	atomic_fetch_add(&worker->slot->draws_begun[name], tokens);
}

static void end_draw(struct worker *worker, unsigned name, unsigned tokens)
{
	atomic_fetch_add(&worker->slot->draws_ended[name], tokens);
}

static void take(struct worker *worker)
{
	unsigned name = any(worker), tokens = cost(worker);
	struct weir_answer answer;

	begin_draw(worker, name, tokens);
	count(worker, weir_acquire(worker->endpoints[name], tokens, &answer), &answer);
	end_draw(worker, name, tokens);
}

static void sleep_in_line(struct worker *worker)
{
	uint64_t patience = draw(worker) % (20 * WEIR_MILLISECOND);
	unsigned name = any(worker), tokens = cost(worker);
	struct weir_answer answer;

	begin_draw(worker, name, tokens);
	count(worker, weir_wait(worker->endpoints[name], tokens, patience, &answer), &answer);
	end_draw(worker, name, tokens);
}

static void take_several(struct worker *worker)
{
	static const unsigned names[] = {0, 5};
	const struct weir_want wants[] = {
		{.endpoint = worker->endpoints[names[0]], .cost = cost(worker)},
		{.endpoint = worker->endpoints[names[1]], .cost = cost(worker)},
	};
	struct weir_answer answer;

	for (int i = 0; i < 2; i++)
		begin_draw(worker, names[i], (unsigned)wants[i].cost);
	count(worker, weir_acquire_all(wants, 2, &answer), &answer);
	for (int i = 0; i < 2; i++)
		end_draw(worker, names[i], (unsigned)wants[i].cost);
}

static void give_back(struct worker *worker, unsigned name, struct weir_reservation *place,
		      unsigned tokens)
{
	struct weir_endpoint *endpoint = worker->endpoints[name];

	atomic_fetch_add(&worker->slot->returns_begun[name], tokens);
	if (draw(worker) % 2)
		CHECK(worker, weir_settle(endpoint, place, (double)(draw(worker) % tokens)) == 0);
	else
		CHECK(worker, weir_cancel(endpoint, place, NULL) == 0);
	atomic_fetch_add(&worker->slot->returns_ended[name], tokens);
}

/* What is settled is less than was reserved, so that nothing is charged beyond the limit. */
static void reserve(struct worker *worker)
{
	uint64_t ahead = draw(worker) % (RESERVED_AHEAD_MS * WEIR_MILLISECOND);
	unsigned name = any(worker), tokens = cost(worker);
	struct weir_reservation place;
	struct weir_answer answer;
	enum weir_verdict verdict;

	begin_draw(worker, name, tokens);
	verdict = weir_reserve(worker->endpoints[name], tokens, ahead, &place, &answer);
	count(worker, verdict, &answer);
	end_draw(worker, name, tokens);
	if (verdict == WEIR_ADMIT && draw(worker) % 8)
		give_back(worker, name, &place, tokens);
}

static void shut(struct worker *worker)
{
	if (draw(worker) % 2)
		weir_gate_close(worker->endpoints[any(worker)],
				draw(worker) % (5 * WEIR_MILLISECOND));
	else
		weir_gate_open(worker->endpoints[any(worker)]);
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
		find_slot(worker);
		do_deeds(worker, CHILD_DEEDS);
		atomic_store(&worker->slot->pid, 0);
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

	find_slot(&worker);
	attach(&worker);
	for (;;)
		do_deeds(&worker, 1000);
}
