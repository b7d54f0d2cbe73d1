/* SPDX-License-Identifier: Apache-2.0
 *
 * The invariant I4 of doc/design.md: a process that may compute and nothing else, while somebody
 * holds the handle's lock and the publisher died in the middle of a publication, draws tokens all
 * the same.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "handle.h"
#include "thread_sanitizer.h"

/* What the hot path may not do; done on purpose, so that it is seen to be noticed. */
enum offence {
	OFFENCE_NONE,
	OFFENCE_SYSTEM_CALL,
	OFFENCE_LOCK,
	OFFENCE_ALLOCATION,
};

struct hot {
	enum weir_clock clock;
	enum offence offence;
	struct weir *weir;
	struct weir_endpoint *api;
	struct weir_endpoint
		*keys; /* a bucket for each of thirty keys, where there is room for 16 */
};

enum { CANNOT = 99 }; /* this system has no seccomp */

/* The clock cannot be moved by a system call, but its word can. */
static void tick(struct hot *hot, uint64_t ns)
{
	const struct segment *segment = &endpoint_binding(hot->api)->attachment->segment;

	if (hot->clock == WEIR_CLOCK_MANUAL)
		atomic_fetch_add(segment->time.manual_ns, ns);
}

/* Several keys at once, and a key beside a plain bucket. Returns how many were admitted. */
static int64_t call_several_keys(struct hot *hot, const char *key)
{
	struct weir_key_call calls[3] = {{.key = "a", .key_bytes = 1, .cost = 1},
					 {.key = key, .key_bytes = 2, .cost = 2},
					 {.key = "", .key_bytes = 0, .cost = 1}};
	const struct weir_want wants[2] = {
		{.endpoint = hot->keys, .cost = 1, .key = key, .key_bytes = 2},
		{.endpoint = hot->api, .cost = 1},
	};
	int64_t admitted = weir_acquire_keys(hot->keys, calls, 3);

	return admitted < 0 ? admitted : admitted + weir_acquire_all(wants, 2, NULL);
}

/* Keys that come, are there, are refused, go, or have to make room. */
static int call_keys(struct hot *hot)
{
	struct weir_level level = {.size = sizeof(level)};
	struct weir_answer answer;
	unsigned admitted = 0;
	unsigned refused = 0;

	for (unsigned i = 0; i < 5000; i++) {
		const char key[2] = {'k', (char)(i * 7 % 30)};

		for (unsigned calls = 0; calls < 3; calls++) {
			bool taken = weir_acquire_key(hot->keys, key, 2, 2, i & 1 ? &answer : NULL);

			admitted += taken;
			refused += !taken;
		}
		if (call_several_keys(hot, key) < 0 || weir_peek_key(hot->keys, key, 2, &level) ||
		    weir_return_key(hot->keys, key, 2, 1, NULL) ||
		    (i % 8 == 0 && weir_reset_key(hot->keys, key, 2)))
			return __LINE__;
		tick(hot, i % 64 ? 10 : 1000);
	}
	return admitted && refused ? 0 : __LINE__;
}

/* Every verdict of the hot path, again and again. The status is a line that disagreed, or 0. */
static int call_all(struct hot *hot)
{
	struct weir_level level = {.size = sizeof(level)};
	struct weir_reservation reservation;
	struct weir_answer answer;
	unsigned admitted = 0;
	unsigned refused = 0;

	for (int i = 0; i < 5000; i++) {
		for (int twice = 0; twice < 2; twice++) {
			bool taken = weir_acquire(hot->api, 7, i & 1 ? &answer : NULL);

			admitted += taken;
			refused += !taken;
		}
		if (weir_reserve(hot->api, 1, i & 2 ? 300 : 0, &reservation, &answer)) {
			if (i & 4 ? weir_cancel(hot->api, &reservation, NULL)
				  : weir_settle(hot->api, &reservation, i & 8 ? 0.25 : 1.25))
				return __LINE__;
		}
		if (weir_peek(hot->api, &level) || weir_acquire(hot->api, 1e9, &answer))
			return __LINE__;
		tick(hot, 300);
	}
	return admitted && refused ? call_keys(hot) : __LINE__;
}

/* The publisher died between filling a copy and publishing it: half of it is nonsense. */
static void leave_half_published(struct weir_endpoint *endpoint)
{
	const struct binding *binding = endpoint_binding(endpoint);
	struct segment *segment = &binding->attachment->segment;
	struct rule_row *row =
		(struct rule_row *)(void *)(segment->publisher + 1) + binding->row_index;

	memset(&row->copies[(atomic_load(&row->generation) + 1) & 1], 0xa5,
	       sizeof(struct line_copy) / 2);
}

/* Whoever allocates from now on needs a system call. */
static void exhaust_heap(void)
{
	const struct rlimit none = {0, 0};
	void *volatile last;

	setrlimit(RLIMIT_AS, &none);
	for (size_t bytes = 1 << 20; bytes >= 8; bytes /= 2)
		do
			last = malloc(bytes);
		while (last);
}

/* From now on every system call but the one to end kills. */
static bool forbid_system_calls(void)
{
	struct sock_filter rules[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	const struct sock_fprog program = {sizeof(rules) / sizeof(rules[0]), rules};

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* A child that may compute and end, and is killed for anything else. */
static void hot_child(struct hot *hot)
{
	void *volatile allocated;

	if (weir_host(&hot->weir,
		      "[endpoint api]\nrate = 10000000/s\nburst = 10\n"
		      "[each c/*]\nrate = 100000/s\nburst = 5\nkeys = 8\n",
		      hot->clock, NULL, NULL, 0) < 0 ||
	    weir_endpoint(hot->weir, "api", &hot->api) < 0 ||
	    weir_endpoint(hot->weir, "c/*", &hot->keys) < 0 || call_all(hot) != 0)
		_exit(__LINE__ % 90 + 1);
	leave_half_published(hot->api);
	leave_half_published(hot->keys);
	/* somebody holds the handle's lock, and never lets go of it */
	pthread_mutex_lock(&hot->weir->mutex);
	exhaust_heap();
	if (!forbid_system_calls())
		_exit(CANNOT);
	if (hot->offence == OFFENCE_SYSTEM_CALL)
		syscall(SYS_getppid);
	if (hot->offence == OFFENCE_LOCK)
		pthread_mutex_lock(&hot->weir->mutex);
	if (hot->offence == OFFENCE_ALLOCATION)
		allocated = malloc(1);
	(void)allocated;
	/* not _exit(), which writes down what was covered where that is asked for */
	syscall(SYS_exit_group, call_all(hot) % 90);
}

/* 0: all went well; 256 + SIGSYS: it did what it may not. */
static int run_hot(enum weir_clock clock, enum offence offence)
{
	struct hot hot = {.clock = clock, .offence = offence};
	int status = 0;

	fflush(NULL);
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		hot_child(&hot);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

static void skip_where_it_cannot_be_seen(void)
{
	if (UNDER_SANITIZER) {
		print_message("skipped: a sanitizer makes system calls of its own\n");
		skip();
	}
#ifdef UNDER_EMULATOR
	print_message("skipped: an emulator makes system calls of its own\n");
	skip();
#endif
	if (run_hot(WEIR_CLOCK_MANUAL, OFFENCE_NONE) == CANNOT) {
		print_message("skipped: no seccomp here\n");
		skip();
	}
}

/* No lock, no system call, no allocation, and nobody else need be alive. */
static void hot_path_needs_nobody(void **state)
{
	(void)state;
	skip_where_it_cannot_be_seen();
	assert_int_equal(run_hot(WEIR_CLOCK_MANUAL, OFFENCE_NONE), 0);
	if (time_source_best() == CLOCK_KIND_TSC)
		assert_int_equal(run_hot(WEIR_CLOCK_BEST, OFFENCE_NONE), 0);
	else
		print_message("skipped on the TSC, which cannot be trusted here\n");
}

static void what_it_may_not_do_is_noticed(void **state)
{
	(void)state;
	skip_where_it_cannot_be_seen();
	assert_int_equal(run_hot(WEIR_CLOCK_MANUAL, OFFENCE_SYSTEM_CALL), 256 + SIGSYS);
	assert_int_equal(run_hot(WEIR_CLOCK_MANUAL, OFFENCE_LOCK), 256 + SIGSYS);
	assert_int_equal(run_hot(WEIR_CLOCK_MANUAL, OFFENCE_ALLOCATION), 256 + SIGSYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hot_path_needs_nobody),
		cmocka_unit_test(what_it_may_not_do_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
