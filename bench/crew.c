/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Reading the time around a batch of this length costs a thousandth of it. */
#define BATCH_NS 20000u
#define START_LIMIT_NS 20000000000u

uint64_t bench_aside_ns;

/* What one process of a crew reports; written by it alone, read after it has ended. */
struct crew_part {
	uint64_t ops;
	uint64_t good;
	uint64_t ns;
	int code;
};

struct crew {
	_Atomic uint32_t ready; /* processes that wait for the start */
	_Atomic uint32_t go;
	struct crew_part parts[BENCH_PROCESSES_MAX];
};

uint64_t bench_now_ns(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

void *bench_shared(uint64_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

unsigned bench_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return 1;
	return (unsigned)CPU_COUNT(&set);
}

/* Keeps this process on the index-th CPU it may use. */
static int pin(unsigned index)
{
	cpu_set_t set, one;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return -errno;
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &set) || index-- > 0)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		return sched_setaffinity(0, sizeof(one), &one) < 0 ? -errno : 0;
	}
	return -ENODEV;
}

/* How many ops take BATCH_NS; warms everything up on the way. */
static uint64_t batch_size(const struct bench_work *work)
{
	uint64_t ops = work->least;

	for (;;) {
		uint64_t begin = bench_now_ns();

		work->run(ops);
		if (bench_now_ns() - begin >= BATCH_NS)
			return ops;
		ops *= 2;
	}
}

static void work_until(const struct bench_work *work, uint64_t for_ns, struct crew_part *part)
{
	uint64_t batch = part->ops;
	uint64_t begin = bench_now_ns();
	uint64_t now;

	part->ops = 0;
	bench_aside_ns = 0;
	do {
		part->good += work->run(batch);
		part->ops += batch;
		now = bench_now_ns();
	} while (now - begin < for_ns);
	part->ns = now - begin - bench_aside_ns;
}

/* On a CPU of its own by looking again and again; a crowd, where others want it, asleep. */
static void wait_for_start(const struct bench_work *work, struct crew *crew)
{
	/* acquire: pairs with the release in crew_start() */
	while (!atomic_load_explicit(&crew->go, memory_order_acquire)) {
		if (work->crowd)
			syscall(SYS_futex, &crew->go, FUTEX_WAIT, 0, NULL, NULL, 0);
		else
			sched_yield();
	}
}

/* A process of the crew. */
static void crew_process(const struct bench_work *work, unsigned index, uint64_t for_ns,
			 struct crew *crew)
{
	struct crew_part *part = &crew->parts[index];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	part->code = work->spread || work->crowd ? 0 : pin(index);
	if (part->code == 0 && work->enter != NULL)
		part->code = work->enter(index);
	if (part->code < 0)
		_exit(1);
	part->ops = batch_size(work);
	/* release: pairs with the acquire in crew_start(), which counts who is ready */
	atomic_fetch_add_explicit(&crew->ready, 1, memory_order_release);
	wait_for_start(work, crew);
	work_until(work, for_ns, part);
	if (work->leave != NULL)
		work->leave();
	_exit(0);
}

/* Waits until all are ready, then starts them together. Returns false if one has ended. */
static bool crew_start(struct crew *crew, const pid_t *pids, unsigned processes)
{
	uint64_t limit = bench_now_ns() + START_LIMIT_NS;
	const struct timespec nap = {0, 50000};

	/* acquire: pairs with the release in crew_process() */
	while (atomic_load_explicit(&crew->ready, memory_order_acquire) < processes) {
		for (unsigned i = 0; i < processes; i++) {
			siginfo_t ended = {0};

			if (waitid(P_PID, (id_t)pids[i], &ended, WEXITED | WNOHANG | WNOWAIT) < 0 ||
			    ended.si_pid != 0)
				return false;
		}
		if (bench_now_ns() > limit)
			return false;
		nanosleep(&nap, NULL);
	}
	/* release: pairs with the acquire in crew_process() */
	atomic_store_explicit(&crew->go, 1, memory_order_release);
	syscall(SYS_futex, &crew->go, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
	return true;
}

/* Ends with every process of the crew gone. */
static bool crew_run(struct crew *crew, const struct bench_work *work, unsigned processes,
		     uint64_t for_ns)
{
	pid_t pids[BENCH_PROCESSES_MAX];
	unsigned forked = 0;
	bool well = true;

	fflush(NULL);
	for (; forked < processes; forked++) {
		pids[forked] = fork();
		if (pids[forked] < 0)
			break;
		if (pids[forked] == 0)
			crew_process(work, forked, for_ns, crew);
	}
	if (forked < processes || !crew_start(crew, pids, processes)) {
		well = false;
		for (unsigned i = 0; i < forked; i++)
			kill(pids[i], SIGKILL);
	}
	for (unsigned i = 0; i < forked; i++) {
		int status = 0;

		while (waitpid(pids[i], &status, 0) < 0 && errno == EINTR)
			;
		well = well && WIFEXITED(status) && WEXITSTATUS(status) == 0;
	}
	return well;
}

/* Adds up what the processes report. */
static const char *crew_sum(const struct crew *crew, unsigned processes, struct bench_sample *out)
{
	double per_s = 0;
	double ns = 0;

	for (unsigned i = 0; i < processes; i++) {
		const struct crew_part *part = &crew->parts[i];

		if (part->ns == 0 || part->ops == 0)
			return "a process did nothing";
		if (part->good != part->ops)
			return "some calls had another outcome than the row is about";
		per_s += (double)part->ops * 1e9 / (double)part->ns;
		ns += (double)part->ns / (double)part->ops;
	}
	out->ns_per_op = ns / processes;
	out->mops = per_s / 1e6;
	return NULL;
}

const char *bench_crew(const struct bench_work *work, unsigned processes, uint64_t for_ns,
		       struct bench_sample *out)
{
	static char text[128];
	struct crew *crew = bench_shared(sizeof(*crew));
	const char *note;

	if (crew == NULL)
		return "no memory to share";
	if (crew_run(crew, work, processes, for_ns)) {
		note = crew_sum(crew, processes, out);
	} else {
		note = "a process ended early";
		for (unsigned i = 0; i < processes; i++) {
			if (crew->parts[i].code >= 0)
				continue;
			snprintf(text, sizeof(text), "a process ended early, code %d",
				 crew->parts[i].code);
			note = text;
		}
	}
	munmap(crew, sizeof(*crew));
	return note;
}
