/* SPDX-License-Identifier: Apache-2.0
 *
 * observe.c - what a response costs the worker that tells of it: a typical head is read, the
 * segment looked at, and a datagram sent. Beside it the datagram alone: the same bytes to a socket
 * of the same kind. Both sockets are read by the sender itself, which is not counted.
 */
#include "bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "adapt.h"
#include "rules.h"
#include "segment.h"
#include "weir.h"
#include "wire.h"

#define HEADER(name, value)                                                                        \
	{                                                                                          \
		name, value, WEIR_TEXT, WEIR_TEXT                                                  \
	}

#define DRAIN_EVERY 8 /* the kernel's queue may hold no more than ten */

/* As api.github.com answers, but for the longest of its fields. */
static const struct weir_header headers[] = {
	HEADER("date", "Sun, 29 Nov 2026 08:00:00 GMT"),
	HEADER("content-type", "application/json; charset=utf-8"),
	HEADER("cache-control", "private, max-age=60, s-maxage=60"),
	HEADER("vary", "Accept, Authorization, Cookie, X-GitHub-OTP,Accept-Encoding"),
	HEADER("etag", "W/\"644b5b0155e6404a9cc4bd9d8b1ae730\""),
	HEADER("x-github-media-type", "github.v3; format=json"),
	HEADER("x-ratelimit-limit", "5000"),
	HEADER("x-ratelimit-remaining", "4882"),
	HEADER("x-ratelimit-reset", "1795943400"),
	HEADER("x-ratelimit-used", "118"),
	HEADER("x-ratelimit-resource", "core"),
	HEADER("server", "github.com"),
};

#define HEADERS (sizeof(headers) / sizeof(headers[0]))

static struct place place;
static struct segment named;
static bool named_there;
static struct weir *weir; /* of one process of a crew, as the rest */
static struct weir_endpoint *endpoint;
static struct sockaddr_un address;
static int receiver = -1, sender = -1;
static unsigned char datagram[WIRE_OBSERVATION_BYTES];
static size_t datagram_bytes;

static void finish_observe(void)
{
	if (named_there) {
		segment_remove(&place);
		segment_detach(&named);
	}
	named_there = false;
	if (place.dir[0] != 0)
		rmdir(place.dir);
	place.dir[0] = 0;
}

static int make_named(void)
{
	const struct place_hints hints = {
		.name = "bench", .shm_dir = place.dir, .uid = (uint32_t)geteuid()};
	const struct segment_shape shape = {
		.rows = 8,
		.names = 8,
		.members = 8,
		.clock = time_source_best(),
		.group = (gid_t)-1,
	};
	struct rule rule = {
		.kind = ROW_EXACT,
		.text = "api.github.com",
		.terms = {.rate_micro = 5000 * TERMS_MICRO,
			  .period_ns = 3600000000000u,
			  .burst_micro = 100 * TERMS_MICRO,
			  .initial_micro = 100 * TERMS_MICRO,
			  .adapt = {.mode = ADAPT_HEADERS}},
	};
	struct place resolved;
	int64_t row;
	int code = place_resolve(&resolved, &hints, PLACE_TO_CREATE);

	if (code == 0)
		code = segment_create(&named, &resolved, &shape);
	if (code < 0)
		return code;
	place = resolved;
	named_there = true;
	adapt_set(&rule.terms.adapt, "profile", "github");
	row = rules_add(&named, &rule);
	return row < 0 ? (int)row : segment_reveal(&named, &place);
}

static const char *prepare_observe(void)
{
	int code;

	if (named_there)
		return NULL;
	snprintf(place.dir, sizeof(place.dir), "/dev/shm/weir-bench-XXXXXX");
	if (mkdtemp(place.dir) == NULL) {
		place.dir[0] = 0;
		return "no folder can be made in /dev/shm";
	}
	code = make_named();
	return code < 0 ? weir_strerror(code) : NULL;
}

/* Where the daemon would listen, and a socket to send from. */
static int open_sockets(void)
{
	char path[PLACE_PATH_BYTES];

	place_observe(&place, path);
	address = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof(address.sun_path), "%.107s", path);
	receiver = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	sender = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (receiver < 0 || sender < 0 ||
	    bind(receiver, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    connect(sender, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return 0;
}

/* Reads what was sent; returns how many datagrams that were, and keeps the last. */
static uint64_t drain(void)
{
	uint64_t begin = bench_now_ns();
	uint64_t count = 0;
	ssize_t got;

	while ((got = recv(receiver, datagram, sizeof(datagram), 0)) > 0) {
		datagram_bytes = (size_t)got;
		count++;
	}
	bench_aside_ns += bench_now_ns() - begin;
	return count;
}

static int enter_observe(unsigned process)
{
	struct weir_options options = WEIR_OPTIONS_INIT;
	int code = open_sockets();

	(void)process;
	options.name = "bench";
	options.shm_dir = place.dir;
	if (code == 0)
		code = weir_open(&weir, &options);
	if (code == 0)
		code = weir_endpoint(weir, "api.github.com", &endpoint);
	if (code == 0)
		code = weir_observe(endpoint, 200, headers, HEADERS, 0, NULL);
	return code < 0 ? code : drain() == 1 ? 0 : -EIO;
}

static void leave_observe(void)
{
	weir_endpoint_close(endpoint);
	weir_close(weir);
	close(receiver);
	close(sender);
	unlink(address.sun_path);
}

static uint64_t run_observe(uint64_t ops)
{
	uint64_t good = 0;

	for (uint64_t i = 0; i < ops; i++) {
		if (weir_observe(endpoint, 200, headers, HEADERS, 50 * WEIR_MILLISECOND, NULL) < 0)
			break;
		if (i % DRAIN_EVERY == DRAIN_EVERY - 1)
			good += drain();
	}
	return good + drain();
}

/* The same bytes, to the same socket. */
static uint64_t run_send(uint64_t ops)
{
	unsigned char bytes[WIRE_OBSERVATION_BYTES];
	size_t count = datagram_bytes;
	uint64_t good = 0;

	memcpy(bytes, datagram, count);
	for (uint64_t i = 0; i < ops; i++) {
		if (send(sender, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			break;
		if (i % DRAIN_EVERY == DRAIN_EVERY - 1)
			good += drain();
	}
	return good + drain();
}

const struct bench_work bench_send = {
	.name = "floor/send",
	.least = DRAIN_EVERY,
	.prepare = prepare_observe,
	.enter = enter_observe,
	.run = run_send,
	.leave = leave_observe,
	.finish = finish_observe,
};

const struct bench_work bench_observe = {
	.name = "weir/observe",
	.least = DRAIN_EVERY,
	.prepare = prepare_observe,
	.enter = enter_observe,
	.run = run_observe,
	.leave = leave_observe,
	.finish = finish_observe,
};
