/* SPDX-License-Identifier: Apache-2.0
 *
 * fault.c - kills this process at the crash point that the environment names. Linked into the
 * programs of the fault tests alone, the only part of lib/ that reads the environment.
 *
 * With WEIR_FAULT_LOG=FILE every passage is appended to the file as a line with the point's name,
 * so that a test knows what there is to be killed at.
 */
#include "fault.h"

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* A line at once, whoever else writes. */
static void log_passage(const char *name)
{
	const char *path = getenv("WEIR_FAULT_LOG");
	int fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644) : -1;
	char newline = '\n';
	struct iovec parts[2] = {
		{(void *)(uintptr_t)name, strlen(name)},
		{&newline, 1},
	};

	if (fd < 0)
		return;
	if (writev(fd, parts, 2) < 0)
		abort(); /* a test that asked for the log must not go on without it */
	close(fd);
}

/* How many passages of this point are left to survive; -1: it is another point. */
static long passages_left(const char *name)
{
	static long left = -1; /* until the environment was read */
	const char *wanted = getenv("WEIR_FAULT");
	size_t length = strlen(name);

	if (!wanted || strncmp(wanted, name, length) != 0 ||
	    (wanted[length] != '\0' && wanted[length] != ':'))
		return -1;
	if (left < 0)
		left = wanted[length] == ':' ? strtol(wanted + length + 1, NULL, 10) : 1;
	return --left;
}

void fault_point(const char *name)
{
	log_passage(name);
	if (passages_left(name) == 0)
		kill(getpid(), SIGKILL);
}
