/* SPDX-License-Identifier: Apache-2.0
 *
 * nginx.c - the limit for each key that many have in front of their servers already: limit_req of a
 * real nginx, which does nothing else and answers by itself. It is started here, on a unix socket
 * in a folder of its own, and ended here.
 *
 * A call is an HTTP request, so what a call costs is mostly that; requests are sent many at once on
 * a connection that stays open, as cheaply as HTTP allows. What a key takes cannot be asked for. It
 * is found from outside: a small zone is given more keys than it can keep, all of them used up, and
 * then the keys are asked for again, the last one first. Those that are refused are remembered.
 */
#include "bench.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "keys.h"
#include "server.h"

#define DEPTH 64u
#define SMALL_ZONE_BYTES 1048576u
#define SMALL_ZONE_KEYS (320u * DEPTH) /* more than fit into it, at less than 52 bytes each */
#define REQUEST_BYTES 128u
#define NGINX_KEYS 100000u

/* /all: nobody is refused. /small: a key once a minute. Paths are relative to the server's folder.
 */
static const char config_text[] =
	"daemon off;\n"
	"master_process off;\n"
	"pid pid;\n"
	"error_log stderr emerg;\n"
	"events { worker_connections 64; }\n"
	"http {\n"
	"  access_log off;\n"
	"  client_body_temp_path body;\n"
	"  proxy_temp_path proxy;\n"
	"  fastcgi_temp_path fastcgi;\n"
	"  uwsgi_temp_path uwsgi;\n"
	"  scgi_temp_path scgi;\n"
	"  keepalive_requests 1000000000;\n"
	"  keepalive_timeout 1h;\n"
	"  limit_req_zone $arg_k zone=all:32m rate=1000000r/s;\n"
	"  limit_req_zone $arg_k zone=small:1m rate=1r/m;\n"
	"  server {\n"
	"    listen unix:socket;\n"
	"    location /all { limit_req zone=all burst=1000000 nodelay; try_files /none =204; }\n"
	"    location /small { limit_req zone=small; try_files /none =204; }\n"
	"  }\n"
	"}\n";

/* Of one connection. */
struct line_reader {
	int fd;
	char text[65536];
	size_t from;
	size_t end;
};

static struct bench_server server;
static double key_bytes = NAN;
static struct line_reader reader = {.fd = -1}; /* of one process of a crew */
static struct bench_order order;

double bench_nginx_key_bytes(void)
{
	return key_bytes;
}

/* ---- the server ---- */

static bool write_config(void)
{
	char path[96];
	FILE *file;
	bool well;

	snprintf(path, sizeof(path), "%s/nginx.conf", server.folder);
	file = fopen(path, "we");
	if (file == NULL)
		return false;
	well = fputs(config_text, file) >= 0;
	return fclose(file) == 0 && well;
}

static int connect_to_server(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", server.folder);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static bool server_answers(void)
{
	int fd = connect_to_server();

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void finish_nginx(void)
{
	bench_server_end(&server);
}

/* ---- requests ---- */

/* A key is 16 characters. */
static size_t write_request(char *out, const char *zone, uint64_t number)
{
	return (size_t)snprintf(out, REQUEST_BYTES, "GET /%s?k=%016llx HTTP/1.1\r\nHost: a\r\n\r\n",
				zone, (unsigned long long)(number * 0x9e3779b97f4a7c15ull));
}

static bool send_all(int fd, const char *text, size_t bytes)
{
	while (bytes > 0) {
		ssize_t sent = send(fd, text, bytes, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return false;
		text += sent;
		bytes -= (size_t)sent;
	}
	return true;
}

/* The next line without its end; NULL: the connection has ended. */
static char *read_line(struct line_reader *in)
{
	for (;;) {
		char *line = in->text + in->from;
		char *end = memchr(line, '\n', in->end - in->from);
		ssize_t got;

		if (end != NULL) {
			*end = 0;
			in->from = (size_t)(end + 1 - in->text);
			return line;
		}
		memmove(in->text, line, in->end - in->from);
		in->end -= in->from;
		in->from = 0;
		got = recv(in->fd, in->text + in->end, sizeof(in->text) - in->end, 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return NULL;
		in->end += (size_t)got;
	}
}

static bool skip_body(struct line_reader *in, size_t bytes)
{
	while (bytes > 0) {
		size_t there = in->end - in->from;

		if (there > bytes)
			there = bytes;
		in->from += there;
		bytes -= there;
		if (bytes == 0)
			return true;
		in->from = in->end = 0;

		ssize_t got = recv(in->fd, in->text, sizeof(in->text), 0);

		if (got <= 0 && !(got < 0 && errno == EINTR))
			return false;
		in->end = got > 0 ? (size_t)got : 0;
	}
	return true;
}

/* The status of the next answer; 0: there is none. */
static int read_answer(struct line_reader *in)
{
	char *line = read_line(in);
	size_t body = 0;
	int status;

	if (line == NULL || strncmp(line, "HTTP/1.1 ", 9) != 0)
		return 0;
	status = atoi(line + 9);
	while ((line = read_line(in)) != NULL && line[0] != '\r') {
		if (strncmp(line, "Content-Length:", 15) == 0)
			body = strtoul(line + 15, NULL, 10);
	}
	return line != NULL && skip_body(in, body) ? status : 0;
}

/* Sends `depth` requests and reads as many answers. Returns how many had that status. */
static uint64_t exchange(const char *zone, const uint64_t *numbers, uint64_t depth, int status)
{
	char text[DEPTH * REQUEST_BYTES];
	size_t bytes = 0;
	uint64_t good = 0;

	for (uint64_t i = 0; i < depth; i++)
		bytes += write_request(text + bytes, zone, numbers[i]);
	if (!send_all(reader.fd, text, bytes))
		return 0;
	for (uint64_t i = 0; i < depth; i++)
		good += read_answer(&reader) == status;
	return good;
}

static uint64_t run_nginx(uint64_t ops)
{
	uint64_t numbers[DEPTH];
	uint64_t good = 0;

	for (uint64_t done = 0; done < ops; done += DEPTH) {
		uint64_t depth = ops - done < DEPTH ? ops - done : DEPTH;

		for (uint64_t i = 0; i < depth; i++)
			numbers[i] = bench_draw(&order);
		good += exchange("all", numbers, depth, 204);
	}
	return good;
}

/* ---- what a key takes ---- */

/*
 * How many of SMALL_ZONE_KEYS the small zone remembers; 0: it could not be found. A key that it
 * does not remember drives out another; by then all that count are counted.
 */
static uint64_t remembered(void)
{
	uint64_t numbers[DEPTH];
	uint64_t known = 0;
	uint64_t refused = DEPTH;

	for (uint64_t at = 0; at < SMALL_ZONE_KEYS; at += DEPTH) {
		for (uint64_t i = 0; i < DEPTH; i++)
			numbers[i] = at + i;
		if (exchange("small", numbers, DEPTH, 204) != DEPTH)
			return 0;
	}
	for (uint64_t end = SMALL_ZONE_KEYS; end > 0 && refused == DEPTH; end -= DEPTH) {
		for (uint64_t i = 0; i < DEPTH; i++)
			numbers[i] = end - 1 - i;
		refused = exchange("small", numbers, DEPTH, 503);
		known += refused;
	}
	return known;
}

static int enter_nginx(unsigned process)
{
	(void)process;
	order = bench_order(NULL, NGINX_KEYS);
	reader = (struct line_reader){.fd = connect_to_server()};
	return reader.fd < 0 ? -ECONNREFUSED : 0;
}

static void leave_nginx(void)
{
	close(reader.fd);
	reader.fd = -1;
}

static void find_key_bytes(void)
{
	uint64_t known = enter_nginx(0) == 0 ? remembered() : 0;

	if (known > 0)
		key_bytes = (double)SMALL_ZONE_BYTES / (double)known;
	leave_nginx();
}

static const char *prepare_nginx(void)
{
	static const char *const arguments[] = {"nginx",      "-p", ".",      "-c",
						"nginx.conf", "-e", "stderr", NULL};

	if (server.pid > 0)
		return NULL;
	if (!bench_on_path("nginx"))
		return "nginx is not installed; apt-get install nginx-light";
	if (!bench_server_folder(&server, "nginx"))
		return "no folder can be made in /tmp";
	if (write_config() && bench_server_start(&server, arguments, server_answers)) {
		find_key_bytes();
		return NULL;
	}
	finish_nginx();
	return "nginx did not start";
}

const struct bench_work bench_nginx_keys = {
	.name = "peer/nginx-keys",
	.least = DEPTH,
	.prepare = prepare_nginx,
	.enter = enter_nginx,
	.run = run_nginx,
	.leave = leave_nginx,
	.finish = finish_nginx,
};
