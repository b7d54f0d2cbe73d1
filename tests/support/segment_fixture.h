/* SPDX-License-Identifier: Apache-2.0
 *
 * segment_fixture.h - a pair of objects in a folder of its own, and processes that use it.
 *
 * Every wait is bounded. Child processes die with their test (PR_SET_PDEATHSIG), never return
 * into it, and say by their exit status what they found: 0, or the line that disagreed.
 */
#ifndef SEGMENT_FIXTURE_H
#define SEGMENT_FIXTURE_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "names.h"
#include "place.h"
#include "rules.h"
#include "segment.h"
#include "weir.h"

#define SCENE_PATIENCE_MS 60000
#define SCENE_SECOND 1000000000ull

/* In a child: leaves with the line's number, cut to what an exit status holds (1 to 255). */
#define CHILD_CHECK(what)                                                                          \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			fprintf(stderr, "child: %s:%d: %s\n", __FILE__, __LINE__, #what);          \
			_exit(__LINE__ % 255 + 1);                                                 \
		}                                                                                  \
	} while (0)

struct scene {
	struct place place;
	struct segment segment; /* the publisher's view */
};

static const struct segment_shape scene_shape = {
	.rows = 16,
	.names = 32,
	.members = 16,
	.clock = CLOCK_KIND_MANUAL,
	.group = (gid_t)-1,
	.permits = 64,
	.waiters = 64,
};

static inline struct terms scene_terms(uint64_t per_second, uint64_t burst)
{
	return (struct terms){
		.rate_micro = per_second * TERMS_MICRO,
		.period_ns = SCENE_SECOND,
		.burst_micro = burst * TERMS_MICRO,
		.initial_micro = burst * TERMS_MICRO,
	};
}

static inline struct rule scene_rule(enum row_kind kind, const char *text, uint64_t per_second,
				     uint64_t burst)
{
	return (struct rule){
		.kind = kind,
		.text = text,
		.terms = scene_terms(per_second, burst),
	};
}

static inline uint32_t scene_add(struct segment *segment, enum row_kind kind, const char *text,
				 uint64_t per_second, uint64_t burst)
{
	const struct rule rule = scene_rule(kind, text, per_second, burst);
	int64_t row = rules_add(segment, &rule);

	assert_true(row >= 0);
	return (uint32_t)row;
}

/* A folder of its own, and the instance "t" in it. */
static inline void scene_place(struct place *place)
{
	char dir[] = "/tmp/weir-test-XXXXXX";
	const struct place_hints hints = {.name = "t", .shm_dir = dir, .uid = (uint32_t)geteuid()};

	assert_non_null(mkdtemp(dir));
	assert_int_equal(chmod(dir, 0755), 0);
	assert_int_equal(place_resolve(place, &hints, PLACE_TO_CREATE), 0);
}

static inline void scene_clear(const struct place *place)
{
	DIR *dir = opendir(place->dir);
	char path[PLACE_DIR_BYTES + 300];

	if (!dir)
		return;
	for (struct dirent *at; (at = readdir(dir));) {
		if (strcmp(at->d_name, ".") == 0 || strcmp(at->d_name, "..") == 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", place->dir, at->d_name);
		if (unlink(path) < 0)
			rmdir(path);
	}
	closedir(dir);
	rmdir(place->dir);
}

/* A revealed pair with a [default] of 10/s, burst 10. */
static inline void scene_begin(struct scene *scene, const struct segment_shape *shape)
{
	scene_place(&scene->place);
	assert_int_equal(segment_create(&scene->segment, &scene->place, shape), 0);
	scene_add(&scene->segment, ROW_DEFAULT, "*", 10, 10);
	assert_int_equal(segment_reveal(&scene->segment, &scene->place), 0);
}

static inline void scene_end(struct scene *scene)
{
	segment_detach(&scene->segment);
	scene_clear(&scene->place);
}

static inline struct weir_options scene_options(const struct place *place)
{
	struct weir_options options = WEIR_OPTIONS_INIT;

	options.name = place->name;
	options.shm_dir = place->dir;
	return options;
}

/* NULL if it cannot be opened, so that children may use it as well. */
static inline struct weir *scene_open(const struct place *place)
{
	struct weir_options options = scene_options(place);
	struct weir *weir = NULL;

	return weir_open(&weir, &options) == 0 ? weir : NULL;
}

static inline struct weir_endpoint *scene_endpoint(struct weir *weir, const char *name)
{
	struct weir_endpoint *endpoint = NULL;

	return weir && weir_endpoint(weir, name, &endpoint) == 0 ? endpoint : NULL;
}

/* Draws one token at a time until it is refused; how many it was given. */
static inline uint64_t scene_drain(struct weir_endpoint *endpoint)
{
	uint64_t granted = 0;

	while (granted < 1000000 && weir_acquire(endpoint, 1, NULL) == WEIR_ADMIT)
		granted++;
	return granted;
}

/* Memory that the test and its children share; zeroed. */
static inline void *scene_shared(size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(at != MAP_FAILED);
	return at;
}

static inline void scene_sleep_ms(unsigned ms)
{
	const struct timespec pause = {ms / 1000, (long)(ms % 1000) * 1000000};

	nanosleep(&pause, NULL);
}

/* cmocka catches these, and would go on with its other tests in the child. */
static inline void scene_default_signals(void)
{
	static const int caught[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGSYS};

	for (size_t i = 0; i < sizeof(caught) / sizeof(caught[0]); i++)
		signal(caught[i], SIG_DFL);
}

/* cmocka's own compares floats, which hold too few digits. */
static inline void scene_near(double found, double expected, const char *file, int line)
{
	if (found > expected + 1e-9 || found < expected - 1e-9) {
		print_error("%.12g != %.12g\n", found, expected);
		_fail(file, line);
	}
}
#define assert_near(found, expected) scene_near(found, expected, __FILE__, __LINE__)

/* A child that runs body(context) and exits with what it returns. */
static inline pid_t scene_child(int (*body)(void *context), void *context)
{
	fflush(NULL);

	pid_t parent = getpid();
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		scene_default_signals();
		if (getppid() != parent)
			_exit(255);
		_exit(body(context));
	}
	assert_true(pid > 0);
	return pid;
}

/* The exit status, 256 + signal, or -1: it did not end in time and was killed. */
static inline int scene_wait(pid_t pid)
{
	int status;

	for (unsigned ms = 0; ms < SCENE_PATIENCE_MS; ms++) {
		pid_t found = waitpid(pid, &status, WNOHANG);

		if (found == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
		if (found < 0 && errno != EINTR)
			return -1;
		scene_sleep_ms(1);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return -1;
}

static inline void scene_kill(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(scene_wait(pid), 256 + SIGKILL);
}

/* Waits until *word is at least `value`; false if that takes too long. */
static inline bool scene_until(const _Atomic uint32_t *word, uint32_t value)
{
	for (unsigned ms = 0; ms < SCENE_PATIENCE_MS; ms++) {
		if (atomic_load(word) >= value)
			return true;
		scene_sleep_ms(1);
	}
	return false;
}

/* xorshift64*: the same numbers in every run. */
static inline uint64_t scene_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull;
}

#endif
