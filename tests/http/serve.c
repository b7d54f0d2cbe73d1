/* SPDX-License-Identifier: Apache-2.0
 *
 * serve - the tests' server as a program: prints its port, serves until its standard input ends,
 * and then prints a line "STATUS METHOD PATH RANGE" for each request that it got.
 */
#include "server.h"

#include <stdio.h>
#include <unistd.h>

int main(void)
{
	static struct server server;
	char sink[16];

	server_start(&server);
	printf("%d\n", server.port);
	fflush(stdout);
	while (read(STDIN_FILENO, sink, sizeof(sink)) > 0)
		;
	pthread_mutex_lock(
		&server.mutex); /* for good: threads that still serve write nothing more */
	for (int i = 0; i < server.seen_count && i < SERVER_SEEN; i++)
		printf("%d %s %s\n", server.seen[i].status, server.seen[i].line,
		       server.seen[i].range);
	fflush(stdout);
	/* those that stand still are not waited for */
	_exit(0);
}
