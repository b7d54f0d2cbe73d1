/* SPDX-License-Identifier: Apache-2.0
 *
 * leave.c - what a process has run counts also when it ends by _exit, as most children of the tests
 * do, or at a crash point, where it kills itself. The linker sends every _exit and kill of the
 * programs here (--wrap). What a process has run that others kill is lost.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <stdnoreturn.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <unistd.h>

void __gcov_dump(void);
noreturn void __real__exit(int status);
noreturn void __wrap__exit(int status);
int __real_kill(pid_t pid, int number);
int __wrap_kill(pid_t pid, int number);

/* Whether this process may write what it has counted, as whom it acts now. */
static bool may_write(void)
{
	struct rlimit limit;

	return (getrlimit(RLIMIT_FSIZE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY) &&
	       faccessat(AT_FDCWD, COUNTS_DIR, W_OK, AT_EACCESS) == 0;
}

/*
 * One that may only write short files would cut off what all the others have counted, and one of
 * another user would fill its standard error with files that it cannot open: their own counts go
 * nowhere, and nothing is said of that. The destructor runs before gcov's, whose priority is
 * reserved; nothing else writes behind it.
 */
static __attribute__((destructor)) void spare_the_files(void)
{
	int nowhere;

	if (may_write())
		return;
	setenv("GCOV_PREFIX", "/dev/null", 1);
	nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (nowhere >= 0)
		dup2(nowhere, STDERR_FILENO);
}

static void dump(void)
{
	spare_the_files();
	__gcov_dump();
}

void __wrap__exit(int status)
{
	dump();
	__real__exit(status);
}

int __wrap_kill(pid_t pid, int number)
{
	if (pid == getpid() && number == SIGKILL)
		dump();
	return __real_kill(pid, number);
}
