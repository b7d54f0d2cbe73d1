/* SPDX-License-Identifier: Apache-2.0 */
#include "server.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define START_NS 5000000000u
#define FOLDERS_OPEN 8

bool bench_server_folder(struct bench_server *server, const char *word)
{
	snprintf(server->folder, sizeof(server->folder), "/tmp/weir-bench-%s-XXXXXX", word);
	if (mkdtemp(server->folder) == NULL)
		server->folder[0] = 0;
	return server->folder[0] != 0;
}

/* The server's process. */
static void become(const struct bench_server *server, const char *const *arguments, pid_t parent)
{
	int null = open("/dev/null", O_RDWR);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent || null < 0 || chdir(server->folder) < 0)
		_exit(127);
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	execvp(arguments[0], (char *const *)(uintptr_t)arguments);
	_exit(127);
}

static bool wait_for(struct bench_server *server, bool (*answers)(void))
{
	uint64_t limit = bench_now_ns() + START_NS;
	const struct timespec nap = {0, 10000000};

	while (bench_now_ns() < limit) {
		if (answers())
			return true;
		if (waitpid(server->pid, NULL, WNOHANG) != 0) {
			server->pid = 0;
			return false;
		}
		nanosleep(&nap, NULL);
	}
	return false;
}

bool bench_server_start(struct bench_server *server, const char *const *arguments,
			bool (*answers)(void))
{
	pid_t parent = getpid();

	fflush(NULL);
	server->pid = fork();
	if (server->pid == 0)
		become(server, arguments, parent);
	if (server->pid < 0)
		server->pid = 0;
	return server->pid > 0 && wait_for(server, answers);
}

static int remove_one(const char *path, const struct stat *found, int kind, struct FTW *where)
{
	(void)found;
	(void)kind;
	(void)where;
	return remove(path);
}

void bench_server_end(struct bench_server *server)
{
	if (server->pid > 0) {
		kill(server->pid, SIGKILL);
		waitpid(server->pid, NULL, 0);
	}
	server->pid = 0;
	if (server->folder[0] != 0)
		nftw(server->folder, remove_one, FOLDERS_OPEN, FTW_DEPTH | FTW_PHYS);
	server->folder[0] = 0;
}
