/* SPDX-License-Identifier: Apache-2.0 */
#include "server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define REQUEST_BYTES 16384

/* A request on its way through. */
struct exchange {
	struct server *server;
	int fd;
	char request[REQUEST_BYTES];
	char method[16];
	char path[SERVER_LINE];
	struct seen *seen;
	bool is_busy; /* and counted so */
	bool closes;
};

uint64_t server_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

/* ---- bytes ---- */

static bool put(int fd, const char *bytes, size_t count)
{
	while (count) {
		ssize_t sent = send(fd, bytes, count, MSG_NOSIGNAL);

		if (sent <= 0)
			return false;
		bytes += sent;
		count -= (size_t)sent;
	}
	return true;
}

/* The value of a field, up to its end of line; false: there is none. */
static bool field(const char *request, const char *name, char *out, size_t bytes)
{
	size_t length = strlen(name);

	for (const char *at = strstr(request, "\r\n"); at; at = strstr(at + 2, "\r\n")) {
		if (strncasecmp(at + 2, name, length) == 0 && at[2 + length] == ':') {
			const char *value = at + 3 + length;

			value += strspn(value, " ");
			snprintf(out, bytes, "%.*s", (int)strcspn(value, "\r\n"), value);
			return true;
		}
	}
	return false;
}

/* Reads up to the end of the fields, and throws the body away. */
static bool read_request(struct exchange *exchange)
{
	size_t used = 0;
	char *end = NULL;
	char length[32] = "0";

	while (!end) {
		ssize_t got =
			recv(exchange->fd, exchange->request + used, REQUEST_BYTES - 1 - used, 0);

		if (got <= 0)
			return false;
		used += (size_t)got;
		exchange->request[used] = '\0';
		end = strstr(exchange->request, "\r\n\r\n");
	}
	field(exchange->request, "Content-Length", length, sizeof(length));

	size_t body = strtoul(length, NULL, 10);
	size_t have = used - (size_t)(end + 4 - exchange->request);
	char sink[4096];

	while (have < body) {
		size_t want = body - have < sizeof(sink) ? body - have : sizeof(sink);
		ssize_t got = recv(exchange->fd, sink, want, 0);

		if (got <= 0)
			return false;
		have += (size_t)got;
	}
	return sscanf(exchange->request, "%15s %159s", exchange->method, exchange->path) == 2;
}

/* ---- answers ---- */

static void remember(struct exchange *exchange)
{
	struct server *server = exchange->server;
	char secret[200];

	pthread_mutex_lock(&server->mutex);
	exchange->seen = &server->seen[server->seen_count % SERVER_SEEN];
	server->seen_count++;
	exchange->is_busy = true;
	if (++server->busy > server->peak)
		server->peak = server->busy;
	*exchange->seen = (struct seen){.at_ns = server_now_ns()};
	snprintf(exchange->seen->line, SERVER_LINE, "%.15s %.140s", exchange->method,
		 exchange->path);
	exchange->seen->has_secret =
		field(exchange->request, "Authorization", secret, sizeof(secret));
	field(exchange->request, "Range", exchange->seen->range, sizeof(exchange->seen->range));
	pthread_mutex_unlock(&server->mutex);
}

/* How often this very path was asked for, this time included. */
static int times(struct exchange *exchange)
{
	struct server *server = exchange->server;
	int found = 0;

	pthread_mutex_lock(&server->mutex);
	for (int i = 0; i < server->seen_count && i < SERVER_SEEN; i++)
		found += strcmp(server->seen[i].line, exchange->seen->line) == 0;
	pthread_mutex_unlock(&server->mutex);
	return found;
}

/* Before the first byte, since who has the last one may ask again. */
static void no_more_busy(struct exchange *exchange)
{
	struct server *server = exchange->server;

	pthread_mutex_lock(&server->mutex);
	server->busy -= exchange->is_busy;
	pthread_mutex_unlock(&server->mutex);
	exchange->is_busy = false;
}

static void answer(struct exchange *exchange, int status, const char *fields, const char *body,
		   size_t bytes)
{
	char head[1024];
	bool bodiless = status == 304 || strcmp(exchange->method, "HEAD") == 0;

	no_more_busy(exchange);
	pthread_mutex_lock(&exchange->server->mutex);
	exchange->seen->status = status;
	pthread_mutex_unlock(&exchange->server->mutex);
	snprintf(head, sizeof(head), "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n%s\r\n", status,
		 status == 304 ? 0 : bytes, fields);
	if (!put(exchange->fd, head, strlen(head)) ||
	    (!bodiless && !put(exchange->fd, body, bytes)))
		exchange->closes = true;
}

static void answer_text(struct exchange *exchange, int status, const char *fields, const char *body)
{
	answer(exchange, status, fields, body, strlen(body));
}

/* That status and Retry-After the first times, then a 200. */
static void answer_later(struct exchange *exchange, int status, const char *after, int first)
{
	char fields[100] = "";

	if (after)
		snprintf(fields, sizeof(fields), "Retry-After: %s\r\n", after);
	if (times(exchange) <= first)
		answer_text(exchange, status, fields, "come back later\n");
	else
		answer_text(exchange, 200, "", "at last\n");
}

static void break_off(struct exchange *exchange, int first, bool mute)
{
	static const char half[] = "HTTP/1.1 200 X\r\nContent-Length: 1000\r\n\r\nhalf of it";
	const struct linger hard = {1, 0};

	if (times(exchange) > first) {
		answer_text(exchange, 200, "", "whole\n");
		return;
	}
	exchange->closes = true;
	if (!mute) {
		put(exchange->fd, half, strlen(half));
		/* until it has arrived; then what follows is a reset */
		usleep(20000);
		setsockopt(exchange->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	}
}

/* Half of a body, and silence until the other side has had enough. */
static void stall(struct exchange *exchange)
{
	static const char half[] = "HTTP/1.1 200 X\r\nContent-Length: 1000\r\n\r\nhalf of it";
	char sink[16];

	put(exchange->fd, half, strlen(half));
	while (recv(exchange->fd, sink, sizeof(sink), 0) > 0)
		;
	exchange->closes = true;
}

static void answer_file(struct exchange *exchange, size_t bytes, bool changes)
{
	char fields[300], etag[40], given[80] = "", range[40] = "";
	size_t from = 0;
	char *body = malloc(bytes + 1);

	for (size_t i = 0; i < bytes; i++)
		body[i] = (char)('a' + i % 23);
	snprintf(etag, sizeof(etag), "\"%zu-%d\"", bytes, changes ? times(exchange) : 0);
	field(exchange->request, "If-Range", given, sizeof(given));
	if (field(exchange->request, "Range", range, sizeof(range)) &&
	    (!given[0] || strcmp(given, etag) == 0))
		from = strtoul(range + strlen("bytes="), NULL, 10);
	if (from > 0 && from >= bytes) {
		snprintf(fields, sizeof(fields), "Content-Range: bytes */%zu\r\n", bytes);
		answer_text(exchange, 416, fields, "");
	} else if (from > 0) {
		snprintf(fields, sizeof(fields), "ETag: %s\r\nContent-Range: bytes %zu-%zu/%zu\r\n",
			 etag, from, bytes - 1, bytes);
		answer(exchange, 206, fields, body + from, bytes - from);
	} else {
		snprintf(fields, sizeof(fields), "ETag: %s\r\nAccept-Ranges: bytes\r\n", etag);
		answer(exchange, 200, fields, body, bytes);
	}
	free(body);
}

static void answer_rate(struct exchange *exchange, double rate, double burst)
{
	struct server *server = exchange->server;
	char fields[100];
	bool passes;

	pthread_mutex_lock(&server->mutex);
	uint64_t now = server_now_ns();

	if (server->level_ns == 0)
		server->level = burst;
	else
		server->level += rate * (double)(now - server->level_ns) / 1e9;
	if (server->level > burst)
		server->level = burst;
	server->level_ns = now;
	passes = server->level >= 1;
	if (passes)
		server->level -= 1;
	pthread_mutex_unlock(&server->mutex);
	snprintf(fields, sizeof(fields), "Retry-After: 1\r\n");
	if (passes)
		answer_text(exchange, 200, "", "ok\n");
	else
		answer_text(exchange, 429, fields, "too many\n");
}

static void redirect(struct exchange *exchange, const char *to)
{
	char fields[300];

	snprintf(fields, sizeof(fields), "Location: %s\r\n", to);
	answer_text(exchange, 302, fields, "look there\n");
}

/* ---- what the path says ---- */

static void answer_by_redirect(struct exchange *exchange)
{
	const char *path = exchange->path;
	char to[200], rest[160];
	int n;

	if (sscanf(path, "/redirect/%d", &n) == 1 && n > 0) {
		snprintf(to, sizeof(to), "/redirect/%d", n - 1);
		redirect(exchange, to);
	} else if (sscanf(path, "/away/%d/%159s", &n, rest) == 2) {
		snprintf(to, sizeof(to), "http://127.0.0.1:%d/%s", n, rest);
		redirect(exchange, to);
	} else if (strcmp(path, "/loop") == 0) {
		redirect(exchange, "/loop");
	} else {
		answer_text(exchange, 200,
			    "ETag: \"one\"\r\nServer: tests\r\nExpires: 0\r\nSet-Cookie: a=b\r\n"
			    "Content-Encoding: identity\r\n",
			    "hello\n");
	}
}

static void answer_with_fields(struct exchange *exchange)
{
	const char *path = exchange->path;
	char body[200], fields[200], given[80];
	double rate, burst;
	long a, b, c;

	if (sscanf(path, "/file/%ld", &a) == 1 || sscanf(path, "/changing/%ld", &a) == 1) {
		answer_file(exchange, (size_t)a, path[1] == 'c');
	} else if (strncmp(path, "/fresh", 6) == 0) {
		answer_text(exchange,
			    field(exchange->request, "If-None-Match", given, sizeof(given)) ? 304
											    : 200,
			    "ETag: \"one\"\r\n", "hello\n");
	} else if (sscanf(path, "/tokens/%ld", &a) == 1) {
		snprintf(body, sizeof(body), "{\"total_tokens\": %ld}\n", a);
		answer_text(exchange, 200, "", body);
	} else if (sscanf(path, "/budget/%ld/%ld/%ld", &a, &b, &c) == 3) {
		snprintf(fields, sizeof(fields),
			 "X-RateLimit-Limit: %ld\r\nX-RateLimit-Remaining: %ld\r\n"
			 "X-RateLimit-Reset: %ld\r\n",
			 a, b, c);
		answer_text(exchange, 200, fields, "hello\n");
	} else if (sscanf(path, "/rate/%lf/%lf", &rate, &burst) == 2) {
		answer_rate(exchange, rate, burst);
	} else {
		answer_by_redirect(exchange);
	}
}

static void answer_by_path(struct exchange *exchange)
{
	const char *path = exchange->path;
	char after[40];
	int n;

	if (sscanf(path, "/status/%d", &n) == 1) {
		answer_text(exchange, n, "", "as you like\n");
	} else if (sscanf(path, "/limited/%39[^/]/%d", after, &n) == 2) {
		answer_later(exchange, 429, after, n);
	} else if (sscanf(path, "/unavailable/%39[^/]/%d", after, &n) == 2) {
		answer_later(exchange, 503, after, n);
	} else if (sscanf(path, "/forbidden/%39[^/]/%d", after, &n) == 2) {
		answer_later(exchange, 403, after, n);
	} else if (sscanf(path, "/silent/%d", &n) == 1) {
		answer_later(exchange, 429, NULL, n);
	} else if (sscanf(path, "/failing/%d", &n) == 1) {
		answer_later(exchange, 502, NULL, n);
	} else if (sscanf(path, "/flaky/%d", &n) == 1 || sscanf(path, "/mute/%d", &n) == 1) {
		break_off(exchange, n, path[1] == 'm');
	} else if (strcmp(path, "/stall") == 0) {
		stall(exchange);
	} else if (sscanf(path, "/slow/%d", &n) == 1) {
		usleep((useconds_t)n * 1000);
		answer_text(exchange, 200, "", "hello\n");
	} else {
		answer_with_fields(exchange);
	}
}

/* ---- connections ---- */

struct connection {
	struct server *server;
	int index;
};

static void *serve(void *context)
{
	struct connection *connection = context;
	struct exchange *exchange = calloc(1, sizeof(*exchange));
	struct server *server = connection->server;
	int index = connection->index;

	free(connection);
	exchange->server = server;
	exchange->fd = server->connections[index];
	while (!exchange->closes && !atomic_load(&server->stops) && read_request(exchange)) {
		remember(exchange);
		answer_by_path(exchange);
		no_more_busy(exchange);
	}
	pthread_mutex_lock(&server->mutex);
	close(exchange->fd);
	server->connections[index] = -1;
	pthread_mutex_unlock(&server->mutex);
	free(exchange);
	return NULL;
}

static void *accept_all(void *context)
{
	struct server *server = context;
	const int one = 1;

	while (!atomic_load(&server->stops) && server->count < SERVER_CONNECTIONS) {
		int fd = accept(server->fd, NULL, NULL);

		if (fd < 0)
			break;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));

		struct connection *connection = malloc(sizeof(*connection));

		*connection = (struct connection){server, server->count};
		pthread_mutex_lock(&server->mutex);
		server->connections[server->count] = fd;
		pthread_create(&server->threads[server->count], NULL, serve, connection);
		server->count++;
		pthread_mutex_unlock(&server->mutex);
	}
	return NULL;
}

void server_start(struct server *server)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t length = sizeof(address);
	const int one = 1;

	memset(server, 0, sizeof(*server));
	pthread_mutex_init(&server->mutex, NULL);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	server->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(server->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(server->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(server->fd, 512) < 0 ||
	    getsockname(server->fd, (struct sockaddr *)&address, &length) < 0) {
		perror("server");
		abort();
	}
	server->port = ntohs(address.sin_port);
	pthread_create(&server->thread, NULL, accept_all, server);
}

void server_stop(struct server *server)
{
	atomic_store(&server->stops, true);
	shutdown(server->fd, SHUT_RDWR);
	pthread_join(server->thread, NULL);
	pthread_mutex_lock(&server->mutex);
	for (int i = 0; i < server->count; i++)
		if (server->connections[i] >= 0)
			shutdown(server->connections[i], SHUT_RDWR);
	pthread_mutex_unlock(&server->mutex);
	for (int i = 0; i < server->count; i++)
		pthread_join(server->threads[i], NULL);
	close(server->fd);
	pthread_mutex_destroy(&server->mutex);
}

const char *server_url(const struct server *server, const char *path)
{
	static _Thread_local char texts[8][300];
	static _Thread_local unsigned next;
	char *text = texts[next++ % 8];

	snprintf(text, sizeof(texts[0]), "http://127.0.0.1:%d%s", server->port, path);
	return text;
}

int server_count(struct server *server, const char *prefix, int status)
{
	int found = 0;

	pthread_mutex_lock(&server->mutex);
	for (int i = 0; i < server->seen_count && i < SERVER_SEEN; i++)
		found += strncmp(server->seen[i].line, prefix, strlen(prefix)) == 0 &&
			 (status == 0 || server->seen[i].status == status);
	pthread_mutex_unlock(&server->mutex);
	return found;
}
