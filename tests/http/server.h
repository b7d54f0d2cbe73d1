/* SPDX-License-Identifier: Apache-2.0
 *
 * server.h - an HTTP/1.1 server on loopback, within the test's own process: keeps connections
 * alive, misbehaves on request, and remembers what it was asked. The path says what is answered:
 *
 *	/ok...			200 and a short body
 *	/status/N...		N
 *	/limited/S/K		429 with Retry-After: S, K times; then 200
 *	/unavailable/S/K	503 likewise
 *	/forbidden/S/K		403 likewise
 *	/silent/K		429 without any field, K times; then 200
 *	/failing/K		502, K times; then 200
 *	/flaky/K		the connection is reset in the middle of the body, K times; then 200
 *	/mute/K			it is closed without an answer, K times; then 200
 *	/stall			the first half of a body, and then nothing
 *	/slow/MS		200, so many milliseconds later
 *	/redirect/K		302 to /redirect/K-1; 200 at last
 *	/away/PORT/PATH		302 to another port of this host
 *	/loop			302 to itself
 *	/file/N			N bytes, with ETag, ranges and If-Range
 *	/changing/N		the same, another ETag each time
 *	/fresh			304 if it has If-None-Match, else 200
 *	/tokens/N		200 and {"total_tokens": N}
 *	/budget/L/R/S		200 with X-RateLimit-Limit, -Remaining, -Reset of L, R, S
 *	/rate/N/B		N a second, B at once, by its own bucket; else 429 and Retry-After
 */
#ifndef TEST_HTTP_SERVER_H
#define TEST_HTTP_SERVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SERVER_CONNECTIONS 512
#define SERVER_SEEN 4096
#define SERVER_LINE 160

/* One request that came. */
struct seen {
	char line[SERVER_LINE]; /* METHOD PATH */
	uint64_t at_ns;
	int status;
	bool has_secret; /* it had an Authorization field */
	char range[40];	 /* of its Range field, or "" */
};

struct server {
	int fd;
	int port;
	pthread_t thread;
	_Atomic bool stops;
	pthread_mutex_t mutex;
	int connections[SERVER_CONNECTIONS];
	pthread_t threads[SERVER_CONNECTIONS];
	int count;
	struct seen seen[SERVER_SEEN];
	int seen_count;
	int busy;     /* requests that are not answered yet */
	int peak;     /* of them at once */
	double level; /* of /rate */
	uint64_t level_ns;
};

void server_start(struct server *server);
void server_stop(struct server *server);

/* "http://127.0.0.1:PORT" and a path, in a buffer that is used again after eight calls. */
const char *server_url(const struct server *server, const char *path);

/* How many requests began so, as "GET /ok"; and how many of them got that status (0: any). */
int server_count(struct server *server, const char *prefix, int status);

uint64_t server_now_ns(void);

#endif
