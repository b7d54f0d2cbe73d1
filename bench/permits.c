/* SPDX-License-Identifier: Apache-2.0
 *
 * permits.c - permits, through the public header, beside two semaphores: one with owner recovery,
 * built on a robust mutex as one would by hand, and sem_t, which loses what a dead holder held.
 * Both let newcomers go before those who wait; weir does not. What a bare line costs in which every
 * newcomer takes a place at once is a row of its own.
 */
#include "bench.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "weir.h"

#define PERMITS 4
#define CALL_NS 3000
#define LOOK_AGAIN_NS 100000000

static const char rules_text[] = "[endpoint permits]\n"
				 "rate = unlimited\n"
				 "concurrency = 4\n";

/* What is done with a permit: nothing, or the CPU is used for so long. Set in a crew's process. */
static uint64_t call_ns;

static void call(void)
{
	uint64_t until_ns = call_ns ? bench_now_ns() + call_ns : 0;

	while (until_ns && bench_now_ns() < until_ns)
		;
}

static int enter_held(unsigned process)
{
	(void)process;
	call_ns = CALL_NS;
	return 0;
}

static struct weir *host;
static struct weir_endpoint *endpoint;

static const char *prepare_permits(void)
{
	static char text[512];
	char faults[256] = "";
	int code = 0;

	if (host == NULL)
		code = weir_host(&host, rules_text, WEIR_CLOCK_BEST, NULL, faults, sizeof(faults));
	if (code == 0)
		return NULL;
	snprintf(text, sizeof(text), "%s %s", weir_strerror(code), faults);
	return text;
}

static int enter_permits(unsigned process)
{
	(void)process;
	return weir_endpoint(host, "permits", &endpoint);
}

static int enter_permits_held(unsigned process)
{
	enter_held(process);
	return enter_permits(process);
}

static uint64_t run_permits(uint64_t ops)
{
	struct weir_permit permit;
	uint64_t good = 0;

	for (uint64_t i = 0; i < ops; i++)
		if (weir_permit_take(endpoint, WEIR_FOREVER, &permit, NULL) == WEIR_ADMIT) {
			call();
			good += weir_permit_release(endpoint, &permit) == 0;
		}
	return good;
}

static void leave_permits(void)
{
	weir_endpoint_close(endpoint);
	endpoint = NULL;
}

static void finish_permits(void)
{
	weir_close(host);
	host = NULL;
}

/* ---- a semaphore that knows its owners ---- */

struct owned {
	pthread_mutex_t lock;
	pthread_cond_t freed;
	pid_t owners[PERMITS]; /* 0: free; written under the lock */
};

static struct owned *owned;

static const char *prepare_owned(void)
{
	pthread_mutexattr_t mutex;
	pthread_condattr_t condition;
	int code;

	owned = bench_shared(sizeof(*owned));
	if (owned == NULL)
		return "no shared memory";
	pthread_mutexattr_init(&mutex);
	pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&mutex, PTHREAD_MUTEX_ROBUST);
	code = pthread_mutex_init(&owned->lock, &mutex);
	pthread_condattr_init(&condition);
	pthread_condattr_setpshared(&condition, PTHREAD_PROCESS_SHARED);
	if (code == 0)
		code = pthread_cond_init(&owned->freed, &condition);
	return code == 0 ? NULL : "no robust process-shared mutex here";
}

static void owned_lock(void)
{
	if (pthread_mutex_lock(&owned->lock) == EOWNERDEAD)
		pthread_mutex_consistent(&owned->lock);
}

/* For a signal; or until it is time to see whether an owner has died, which signals nothing. */
static void owned_wait(void)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += LOOK_AGAIN_NS;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	if (pthread_cond_timedwait(&owned->freed, &owned->lock, &until) == EOWNERDEAD)
		pthread_mutex_consistent(&owned->lock);
}

/* A free place, or one whose owner is dead; -1: none. */
static int owned_find(void)
{
	for (int i = 0; i < PERMITS; i++)
		if (owned->owners[i] == 0)
			return i;
	for (int i = 0; i < PERMITS; i++)
		if (kill(owned->owners[i], 0) < 0 && errno == ESRCH)
			return i;
	return -1;
}

static uint64_t run_owned(uint64_t ops)
{
	pid_t self = getpid();

	for (uint64_t i = 0; i < ops; i++) {
		int place;

		owned_lock();
		while ((place = owned_find()) < 0)
			owned_wait();
		owned->owners[place] = self;
		pthread_mutex_unlock(&owned->lock);

		call();
		owned_lock();
		owned->owners[place] = 0;
		pthread_cond_signal(&owned->freed);
		pthread_mutex_unlock(&owned->lock);
	}
	return ops;
}

/* ---- what it takes to keep the order ---- */

#define TICKET_SLOTS 64 /* more than there are processes */

/*
 * First come, first served, by a ticket, and nothing else: no owner, nothing for one who dies.
 * Where more want a permit than there are, each grant is a hand-over to one who sleeps.
 */
struct ticketed {
	_Atomic uint32_t tickets;
	_Atomic uint32_t grants;
	_Atomic uint32_t slots[TICKET_SLOTS]; /* what the holder of a ticket sleeps on */
};

static struct ticketed *ticketed;

static const char *prepare_ticketed(void)
{
	ticketed = bench_shared(sizeof(*ticketed));
	if (ticketed == NULL)
		return "no shared memory";
	atomic_store(&ticketed->grants, PERMITS);
	return NULL;
}

static void ticketed_take(void)
{
	uint32_t ticket = atomic_fetch_add(&ticketed->tickets, 1);
	_Atomic uint32_t *slot = &ticketed->slots[ticket % TICKET_SLOTS];

	for (;;) {
		uint32_t seen = atomic_load(slot);

		if ((int32_t)(atomic_load(&ticketed->grants) - ticket) > 0)
			return;
		syscall(SYS_futex, slot, FUTEX_WAIT, seen, NULL, NULL, 0);
	}
}

static void ticketed_release(void)
{
	uint32_t grant = atomic_fetch_add(&ticketed->grants, 1);
	_Atomic uint32_t *slot = &ticketed->slots[grant % TICKET_SLOTS];

	if ((int32_t)(atomic_load(&ticketed->tickets) - grant) <= 0)
		return; /* whoever comes next does not sleep */
	atomic_fetch_add(slot, 1);
	syscall(SYS_futex, slot, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

static uint64_t run_ticketed(uint64_t ops)
{
	for (uint64_t i = 0; i < ops; i++) {
		ticketed_take();
		call();
		ticketed_release();
	}
	return ops;
}

/* ---- sem_t ---- */

static sem_t *plain;

static const char *prepare_plain(void)
{
	plain = bench_shared(sizeof(*plain));
	return plain != NULL && sem_init(plain, 1, PERMITS) == 0 ? NULL : "no shared semaphore";
}

static uint64_t run_plain(uint64_t ops)
{
	uint64_t good = 0;

	for (uint64_t i = 0; i < ops; i++)
		if (sem_wait(plain) == 0) {
			call();
			good += sem_post(plain) == 0;
		}
	return good;
}

const struct bench_work bench_permit = {
	.name = "weir/permit",
	.least = 64,
	.crowd = true,
	.prepare = prepare_permits,
	.enter = enter_permits,
	.run = run_permits,
	.leave = leave_permits,
	.finish = finish_permits,
};

const struct bench_work bench_owned = {
	.name = "peer/robust-semaphore",
	.least = 64,
	.crowd = true,
	.prepare = prepare_owned,
	.run = run_owned,
};

const struct bench_work bench_ticketed = {
	.name = "floor/ticket-semaphore",
	.least = 64,
	.crowd = true,
	.prepare = prepare_ticketed,
	.run = run_ticketed,
};

const struct bench_work bench_permit_held = {
	.name = "weir/permit-held",
	.least = 8,
	.crowd = true,
	.prepare = prepare_permits,
	.enter = enter_permits_held,
	.run = run_permits,
	.leave = leave_permits,
	.finish = finish_permits,
};

const struct bench_work bench_owned_held = {
	.name = "peer/robust-held",
	.least = 8,
	.crowd = true,
	.prepare = prepare_owned,
	.enter = enter_held,
	.run = run_owned,
};

const struct bench_work bench_ticketed_held = {
	.name = "floor/ticket-held",
	.least = 8,
	.crowd = true,
	.prepare = prepare_ticketed,
	.enter = enter_held,
	.run = run_ticketed,
};

const struct bench_work bench_plain_held = {
	.name = "peer/sem_t-held",
	.least = 8,
	.crowd = true,
	.prepare = prepare_plain,
	.enter = enter_held,
	.run = run_plain,
};

const struct bench_work bench_plain = {
	.name = "peer/sem_t",
	.least = 64,
	.crowd = true,
	.prepare = prepare_plain,
	.run = run_plain,
};
