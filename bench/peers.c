/* SPDX-License-Identifier: Apache-2.0
 *
 * peers.c - the same limit by the means at hand elsewhere: a lock in shared memory, a lock file.
 *
 * All keep the bucket as one word, a theoretical arrival time. Behind the mutex, the time is read
 * by who holds it, so that times are in order; `early` reads it before, as some do, which shortens
 * what is locked and lets an older time come after a newer one. The file's holder is given both
 * advantages: an early time, and a bucket in memory that it need not read and write.
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#define PEER_INTERVAL_NS 1u
#define PEER_BURST_NS 1000000000u /* longer than anybody waits for the lock */

struct peer_bucket {
	pthread_mutex_t lock;
	uint64_t arrival_ns; /* theoretical; written under the lock */
};

static struct peer_bucket *bucket;
static int lock_fd = -1;

/* The holder of the lock takes one token. */
static bool take(uint64_t now)
{
	uint64_t arrival = bucket->arrival_ns > now ? bucket->arrival_ns : now;

	if (arrival + PEER_INTERVAL_NS - now > PEER_BURST_NS)
		return false;
	bucket->arrival_ns = arrival + PEER_INTERVAL_NS;
	return true;
}

static int init_lock(pthread_mutex_t *lock)
{
	pthread_mutexattr_t kind;
	int code = pthread_mutexattr_init(&kind);

	if (code == 0)
		code = pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
	if (code == 0)
		code = pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
	if (code == 0)
		code = pthread_mutex_init(lock, &kind);
	pthread_mutexattr_destroy(&kind);
	return code;
}

static const char *prepare_mutex(void)
{
	if (bucket == NULL)
		bucket = bench_shared(sizeof(*bucket));
	if (bucket == NULL)
		return "no memory to share";
	return init_lock(&bucket->lock) == 0 ? NULL : "no robust process-shared mutex here";
}

/* The next holder of a robust lock may find that the last one died with it. */
static bool lock_robust(void)
{
	int code = pthread_mutex_lock(&bucket->lock);

	if (code == EOWNERDEAD)
		code = pthread_mutex_consistent(&bucket->lock);
	return code == 0;
}

static uint64_t run_mutex(uint64_t ops)
{
	uint64_t good = 0;

	for (uint64_t i = 0; i < ops && lock_robust(); i++) {
		good += take(bench_now_ns());
		pthread_mutex_unlock(&bucket->lock);
	}
	return good;
}

static uint64_t run_mutex_early(uint64_t ops)
{
	uint64_t good = 0;

	for (uint64_t i = 0; i < ops; i++) {
		uint64_t now = bench_now_ns();

		if (!lock_robust())
			break;
		good += take(now);
		pthread_mutex_unlock(&bucket->lock);
	}
	return good;
}

static const char *prepare_fcntl(void)
{
	char path[] = "/tmp/weir-bench-XXXXXX";

	if (bucket == NULL)
		bucket = bench_shared(sizeof(*bucket));
	if (bucket == NULL)
		return "no memory to share";
	if (lock_fd < 0) {
		lock_fd = mkostemp(path, O_CLOEXEC);
		if (lock_fd >= 0)
			unlink(path);
	}
	return lock_fd < 0 ? "no file can be made in /tmp" : NULL;
}

static bool file_lock(short kind)
{
	struct flock range = {.l_type = kind, .l_whence = SEEK_SET};

	while (fcntl(lock_fd, F_SETLKW, &range) < 0) {
		if (errno != EINTR)
			return false;
	}
	return true;
}

static uint64_t run_fcntl(uint64_t ops)
{
	uint64_t good = 0;

	for (uint64_t i = 0; i < ops; i++) {
		uint64_t now = bench_now_ns();

		if (!file_lock(F_WRLCK))
			break;
		good += take(now);
		if (!file_lock(F_UNLCK))
			break;
	}
	return good;
}

static void finish_fcntl(void)
{
	if (lock_fd >= 0)
		close(lock_fd);
	lock_fd = -1;
}

const struct bench_work bench_mutex = {
	.name = "peer/mutex",
	.least = 16,
	.prepare = prepare_mutex,
	.run = run_mutex,
};

const struct bench_work bench_mutex_early = {
	.name = "peer/mutex-early",
	.least = 16,
	.prepare = prepare_mutex,
	.run = run_mutex_early,
};

const struct bench_work bench_fcntl = {
	.name = "peer/fcntl",
	.least = 16,
	.prepare = prepare_fcntl,
	.run = run_fcntl,
	.finish = finish_fcntl,
};
