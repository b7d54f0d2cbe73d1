/* SPDX-License-Identifier: Apache-2.0
 *
 * server.h - a server of somebody else's, that a row is measured against: started in a folder of
 * its own, and ended with it, also when the benchmark is killed.
 */
#ifndef BENCH_SERVER_H
#define BENCH_SERVER_H

#include <stdbool.h>
#include <sys/types.h>

struct bench_server {
	pid_t pid;	 /* 0: none */
	char folder[64]; /* "": none */
};

/* A folder in /tmp with that word in its name; false: none can be made. */
bool bench_server_folder(struct bench_server *server, const char *word);

/*
 * Starts it in its folder, with nothing on its descriptors, and waits until it answers; false: it
 * does not start, has ended, or takes too long.
 */
bool bench_server_start(struct bench_server *server, const char *const *arguments,
			bool (*answers)(void));

/* Ends it, if there is one, and removes the folder with what is in it. */
void bench_server_end(struct bench_server *server);

#endif
