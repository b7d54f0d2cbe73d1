/* SPDX-License-Identifier: Apache-2.0
 *
 * What the kernel tells of an object that is closed: of that one, by whoever and however, and of
 * nothing else.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "close_watch.h"
#include "deny_call.h"

#define DENIED 77 /* a child's exit status */

struct bench {
	struct close_watch watch;
	char path[64];
	int fd;
};

static int setup(void **state)
{
	struct bench *bench = malloc(sizeof(*bench));

	if (!bench)
		return -1;
	*bench = (struct bench){.watch = CLOSE_WATCH_INIT, .path = "/dev/shm/weir-close-XXXXXX"};
	bench->fd = mkostemp(bench->path, O_CLOEXEC);
	*state = bench;
	return bench->fd < 0;
}

static int teardown(void **state)
{
	struct bench *bench = *state;

	close_watch_end(&bench->watch);
	close(bench->fd);
	unlink(bench->path);
	free(bench);
	return 0;
}

static int open_object(const struct bench *bench, int flags)
{
	int fd = open(bench->path, flags | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void test_a_close(void **state)
{
	struct bench *bench = *state;
	int fd;

	assert_int_equal(close_watch_aim(&bench->watch, bench->fd), 0);
	/* its own proof is not told */
	assert_false(close_watch_heard(&bench->watch));
	fd = open_object(bench, O_RDWR);
	assert_false(close_watch_heard(&bench->watch));
	close(fd);
	assert_true(close_watch_heard(&bench->watch));
	assert_false(close_watch_heard(&bench->watch));
	/* who only looks is no member */
	close(open_object(bench, O_RDONLY));
	assert_false(close_watch_heard(&bench->watch));
}

/* The lock of a description falls with its last descriptor, in whichever process. */
static void test_the_last_descriptor(void **state)
{
	struct bench *bench = *state;
	int fd = open_object(bench, O_RDWR);
	int other = dup(fd);

	assert_int_equal(close_watch_aim(&bench->watch, bench->fd), 0);
	close(fd);
	assert_false(close_watch_heard(&bench->watch));
	close(other);
	assert_true(close_watch_heard(&bench->watch));
}

static void test_a_kill(void **state)
{
	struct bench *bench = *state;
	pid_t pid;

	assert_int_equal(close_watch_aim(&bench->watch, bench->fd), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (open(bench->path, O_RDWR) >= 0)
			kill(getpid(), SIGKILL);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_true(close_watch_heard(&bench->watch));
	/* whatever the object is called, and when it is called nothing any more */
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (open(bench->path, O_RDWR) >= 0)
			unlink(bench->path);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_true(close_watch_heard(&bench->watch));
}

/* Many are no more than one, so that nothing fills up. */
static void test_many(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(close_watch_aim(&bench->watch, bench->fd), 0);
	for (int i = 0; i < 100000; i++)
		close(open_object(bench, O_RDWR));
	assert_true(close_watch_heard(&bench->watch));
	assert_false(close_watch_heard(&bench->watch));
}

static void test_another_object(void **state)
{
	struct bench *bench = *state;
	char path[] = "/dev/shm/weir-close-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);

	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(close_watch_aim(&bench->watch, bench->fd), 0);
	assert_int_equal(close_watch_aim(&bench->watch, fd), 0);
	close(open_object(bench, O_RDWR));
	assert_false(close_watch_heard(&bench->watch));
	close(fd);
	assert_true(close_watch_heard(&bench->watch));
}

/* Without descriptors, as without inotify instances; and again when there are some. */
static void test_none_to_be_had(void **state)
{
	struct bench *bench = *state;
	struct rlimit most, none;

	assert_false(close_watch_heard(&bench->watch));
	assert_int_equal(close_watch_aim(&bench->watch, -1), -ENOENT);
	close_watch_end(&bench->watch);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &most), 0);
	none = (struct rlimit){0, most.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(close_watch_aim(&bench->watch, bench->fd), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &most), 0);
	assert_false(close_watch_heard(&bench->watch));
	assert_int_equal(close_watch_aim(&bench->watch, bench->fd), 0);
	/* what was watched before is no more, and does not keep its descriptor readable */
	assert_int_equal(close_watch_aim(&bench->watch, -1), -ENOENT);
	assert_false(close_watch_heard(&bench->watch));
	close(open_object(bench, O_RDWR));
	assert_false(close_watch_heard(&bench->watch));
}

static void aim_in_silence(struct bench *bench)
{
	if (!deny_call(SYS_inotify_add_watch, 0))
		_exit(DENIED);
	_exit(close_watch_aim(&bench->watch, bench->fd) == -ENOTSUP ? 0 : 1);
}

/* A file system on which nothing is told: found out, rather than relied on. */
static void test_silence(void **state)
{
	struct bench *bench = *state;
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0)
		aim_in_silence(bench);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == DENIED)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

#define BENCH_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BENCH_TEST(test_a_close),	 BENCH_TEST(test_the_last_descriptor),
		BENCH_TEST(test_a_kill),	 BENCH_TEST(test_many),
		BENCH_TEST(test_another_object), BENCH_TEST(test_none_to_be_had),
		BENCH_TEST(test_silence),
	};

	return cmocka_run_group_tests_name("daemon close_watch", tests, NULL, NULL);
}
