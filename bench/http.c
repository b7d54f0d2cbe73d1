/* SPDX-License-Identifier: Apache-2.0
 *
 * weir-bench-http - what libweir-http costs beside bare libcurl: requests a second over one
 * connection (easy) and over many in a loop of libuv (multi), at an endpoint without a limit, to a
 * small server of its own on loopback.
 *
 * Bare and wrapped take turns, a round of some milliseconds each, so that what the machine does
 * meanwhile hits both; the ratio is the middle of the ratios of neighbouring rounds. Of bare
 * against bare that is 0 within 0.2 %, on a machine with other work too. Client and server are
 * processes of their own.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <curl/curl.h>
#include <uv.h>
#include <weir-http.h>
#include <weir.h>

#include "uv_sockets.h"

#define TARGET 0.03 /* of the requests a second, at most */
#define CONNECTIONS 64
#define ROUNDS_MOST 1000

static const char rules[] = "[default]\nrate = unlimited\n";
static const char answer[] = "HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Sun, 29 Nov 2026 12:00:00 "
			     "GMT\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n"
			     "Connection: keep-alive\r\n\r\nhello\n";

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

/* ---- the server: whatever comes in one piece is a request ---- */

static void serve_one(int epoll, int fd)
{
	char request[4096];
	ssize_t got = recv(fd, request, sizeof(request), 0);

	if (got <= 0 || send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL) < 0) {
		epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL);
		close(fd);
	}
}

static void serve(int listener)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
	struct epoll_event events[64];
	int epoll = epoll_create1(0);
	const int one = 1;

	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
	for (;;) {
		int count = epoll_wait(epoll, events, 64, -1);

		for (int i = 0; i < count; i++) {
			if (events[i].data.fd != listener) {
				serve_one(epoll, events[i].data.fd);
				continue;
			}
			event.data.fd = accept(listener, NULL, NULL);
			setsockopt(event.data.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
			epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event);
		}
	}
}

/* Forks it; returns its pid, and a URL to ask. */
static pid_t start_server(char url[64])
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	pid_t pid;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listener, 512) < 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &length) < 0)
		return -1;
	snprintf(url, 64, "http://127.0.0.1:%d/hello", ntohs(address.sin_port));
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		serve(listener);
	}
	close(listener);
	return pid;
}

/* ---- what is measured ---- */

struct bench {
	struct sockets sockets; /* of bare multi; first: one is the other */
	char url[64];
	unsigned requests; /* of a round */
	struct weir *weir;
	struct weir_http *http;
	CURL *easy[CONNECTIONS];
	uv_loop_t uv;
	unsigned started;
	unsigned ended;
	unsigned failed;
};

static size_t swallow(char *bytes, size_t one, size_t count, void *context)
{
	(void)bytes;
	(void)context;
	return one * count;
}

static CURL *handle(const struct bench *bench)
{
	CURL *easy = curl_easy_init();

	curl_easy_setopt(easy, CURLOPT_URL, bench->url);
	curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, swallow);
	return easy;
}

/* A wrapped request says each time where to; so does a bare one. */
static void easy_bare(struct bench *bench)
{
	for (unsigned i = 0; i < bench->requests; i++) {
		curl_easy_setopt(bench->easy[0], CURLOPT_URL, bench->url);
		bench->failed += curl_easy_perform(bench->easy[0]) != CURLE_OK;
	}
}

static void easy_weir(struct bench *bench)
{
	const struct weir_http_request request = {
		.size = sizeof(request),
		.url = bench->url,
		.write = swallow,
	};

	for (unsigned i = 0; i < bench->requests; i++)
		bench->failed +=
			weir_http_perform(bench->http, bench->easy[0], &request, NULL) != CURLE_OK;
}

/* ---- bare multi: by the glue of the library, so that it is not that which is compared ---- */

static void on_moved(struct sockets *sockets)
{
	struct bench *bench = (struct bench *)sockets;
	struct CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(sockets->multi, &left))) {
		CURL *easy = message->easy_handle;

		bench->failed += message->data.result != CURLE_OK;
		bench->ended++;
		curl_multi_remove_handle(sockets->multi, easy);
		if (bench->started < bench->requests) {
			bench->started++;
			curl_easy_setopt(easy, CURLOPT_URL, bench->url);
			curl_multi_add_handle(sockets->multi, easy);
		}
	}
}

static void on_closed(struct sockets *sockets)
{
	(void)sockets;
}

static void multi_bare(struct bench *bench)
{
	bench->started = bench->ended = 0;
	for (unsigned i = 0; i < CONNECTIONS && bench->started < bench->requests; i++) {
		bench->started++;
		curl_multi_add_handle(bench->sockets.multi, bench->easy[i]);
	}
	while (bench->ended < bench->requests)
		uv_run(&bench->uv, UV_RUN_ONCE);
}

static void start_weir(struct bench *bench, CURL *easy);

static void on_done(CURL *easy, CURLcode code, const struct weir_http_result *result, void *context)
{
	struct bench *bench = context;

	(void)result;
	bench->failed += code != CURLE_OK;
	bench->ended++;
	if (bench->started < bench->requests)
		start_weir(bench, easy);
}

static void start_weir(struct bench *bench, CURL *easy)
{
	const struct weir_http_request request = {
		.size = sizeof(request),
		.url = bench->url,
		.write = swallow,
	};

	bench->started++;
	if (weir_http_start(bench->http, easy, &request, on_done, bench, NULL) < 0) {
		bench->failed++;
		bench->ended++;
	}
}

static void multi_weir(struct bench *bench)
{
	bench->started = bench->ended = 0;
	for (unsigned i = 0; i < CONNECTIONS && bench->started < bench->requests; i++)
		start_weir(bench, bench->easy[i]);
	while (bench->ended < bench->requests)
		uv_run(&bench->uv, UV_RUN_ONCE);
}

/* ---- rounds ---- */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return (x > y) - (x < y);
}

static double middle(double *values, unsigned count)
{
	qsort(values, count, sizeof(*values), compare);
	return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static double seconds_of(struct bench *bench, void (*work)(struct bench *bench))
{
	uint64_t from = now_ns();

	work(bench);
	return (double)(now_ns() - from) / 1e9;
}

static bool compare_works(struct bench *bench, const char *name, unsigned rounds,
			  void (*bare)(struct bench *bench), void (*wrapped)(struct bench *bench))
{
	static double ratios[ROUNDS_MOST], bares[ROUNDS_MOST], wrappeds[ROUNDS_MOST];

	bare(bench);
	wrapped(bench);
	for (unsigned i = 0; i < rounds; i++) {
		/* neither always comes first */
		if (i % 2)
			wrappeds[i] = seconds_of(bench, wrapped);
		bares[i] = seconds_of(bench, bare);
		if (i % 2 == 0)
			wrappeds[i] = seconds_of(bench, wrapped);
		ratios[i] = bares[i] / wrappeds[i];
	}

	double loss = 1 - middle(ratios, rounds);
	double one = bench->requests / middle(bares, rounds);
	double other = bench->requests / middle(wrappeds, rounds);

	printf("%-6s bare %8.0f/s  weir-http %8.0f/s  %5.2f %% fewer (at most %.0f %%: %s)\n", name,
	       one, other, loss * 100, TARGET * 100, loss <= TARGET ? "yes" : "no");
	return bench->failed == 0;
}

static int bench_open(struct bench *bench)
{
	int status = weir_host(&bench->weir, rules, WEIR_CLOCK_BEST, NULL, NULL, 0);

	if (status == 0)
		status = weir_http_open(&bench->http, bench->weir, NULL);
	if (status < 0)
		return status;
	uv_loop_init(&bench->uv);
	bench->sockets.moved = on_moved;
	bench->sockets.closed = on_closed;
	status = sockets_open(&bench->sockets, &bench->uv);
	if (status < 0)
		return status;
	for (unsigned i = 0; i < CONNECTIONS; i++)
		bench->easy[i] = handle(bench);
	return weir_http_attach(bench->http, &bench->uv);
}

static void bench_close(struct bench *bench)
{
	for (unsigned i = 0; i < CONNECTIONS; i++)
		curl_easy_cleanup(bench->easy[i]);
	sockets_close(&bench->sockets);
	weir_http_detach(bench->http, NULL, NULL);
	uv_run(&bench->uv, UV_RUN_DEFAULT);
	uv_loop_close(&bench->uv);
	weir_http_close(bench->http);
	weir_close(bench->weir);
}

static int measure(struct bench *bench, unsigned rounds)
{
	int status = bench_open(bench);
	bool good;

	if (status < 0) {
		fprintf(stderr, "weir-bench-http: %s\n", weir_strerror(status));
		return 2;
	}
	good = compare_works(bench, "easy", rounds, easy_bare, easy_weir);
	good = compare_works(bench, "multi", rounds, multi_bare, multi_weir) && good;
	bench_close(bench);
	if (!good)
		fprintf(stderr, "weir-bench-http: %u requests failed\n", bench->failed);
	return good ? 0 : 1;
}

int main(int argc, char **argv)
{
	static struct bench bench = {.requests = 100};
	bool quick = argc == 2 && strcmp(argv[1], "--quick") == 0;
	int status;
	pid_t server;

	if (argc > 1 && !quick) {
		fprintf(stderr, "usage: weir-bench-http [--quick]\n");
		return 2;
	}
	if (quick)
		bench.requests = 20;
	curl_global_init(CURL_GLOBAL_DEFAULT);
	server = start_server(bench.url);
	if (server < 0) {
		fprintf(stderr, "weir-bench-http: no server: %s\n", strerror(errno));
		return 2;
	}
	status = measure(&bench, quick ? 3 : ROUNDS_MOST);
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	return status;
}
