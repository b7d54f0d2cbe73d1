/* SPDX-License-Identifier: Apache-2.0
 *
 * http_fixture.h - a private instance, a client on it, an easy handle, and a server to ask.
 */
#ifndef HTTP_FIXTURE_H
#define HTTP_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http.h"
#include "server.h"

/* Short, so that tests are; what they assert of time is that it was not shorter. */
#define STAGE_BACKOFF_NS (20 * WEIR_MILLISECOND)

struct stage {
	struct server server;
	struct weir *weir;
	struct weir_http *http;
	CURL *easy;
	char body[4096]; /* of what the program got */
	size_t body_bytes;
	unsigned restarts;
	int restart_says;
	double measured;
	unsigned measures;
	unsigned stops; /* asked so often, and then yes */
	void *holder;	/* of a permit, in tests of those */
};

static inline size_t stage_write(char *bytes, size_t one, size_t count, void *context)
{
	struct stage *stage = context;
	size_t room = sizeof(stage->body) - 1 - stage->body_bytes;
	size_t used = one * count < room ? one * count : room;

	memcpy(stage->body + stage->body_bytes, bytes, used);
	stage->body_bytes += used;
	stage->body[stage->body_bytes] = '\0';
	return one * count;
}

static inline int stage_restart(CURL *easy, void *context)
{
	struct stage *stage = context;

	(void)easy;
	stage->restarts++;
	stage->body_bytes = 0;
	stage->body[0] = '\0';
	return stage->restart_says;
}

static inline double stage_measure(CURL *easy, size_t charge, void *context)
{
	struct stage *stage = context;

	(void)easy;
	stage->measures++;
	return charge == 1 ? stage->measured : -1;
}

static inline int stage_stop(void *context)
{
	struct stage *stage = context;

	return stage->stops && --stage->stops == 0;
}

static inline void stage_open(struct stage *stage, const char *rules,
			      const struct weir_http_settings *settings)
{
	char message[1000] = "";

	memset(stage, 0, sizeof(*stage));
	if (weir_host(&stage->weir, rules, WEIR_CLOCK_MONOTONIC, NULL, message, sizeof(message)) <
	    0)
		fail_msg("%s", message);
	assert_int_equal(weir_http_open(&stage->http, stage->weir, settings), 0);
	server_start(&stage->server);
	stage->easy = curl_easy_init();
	assert_non_null(stage->easy);
	curl_easy_setopt(stage->easy, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(stage->easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(stage->easy, CURLOPT_WRITEFUNCTION, stage_write);
	curl_easy_setopt(stage->easy, CURLOPT_WRITEDATA, stage);
}

static inline void stage_begin(struct stage *stage, const char *rules)
{
	const struct weir_http_settings settings = {
		.size = sizeof(settings),
		.backoff_ns = STAGE_BACKOFF_NS,
	};

	stage_open(stage, rules, &settings);
}

static inline void stage_end(struct stage *stage)
{
	curl_easy_cleanup(stage->easy);
	server_stop(&stage->server);
	weir_http_close(stage->http);
	weir_close(stage->weir);
}

/* A request whose body goes through the library. */
static inline struct weir_http_request stage_request(struct stage *stage, const char *path)
{
	return (struct weir_http_request){
		.size = sizeof(struct weir_http_request),
		.url = server_url(&stage->server, path),
		.write = stage_write,
		.context = stage,
	};
}

static inline struct weir_http_result stage_run(struct stage *stage,
						const struct weir_http_request *request)
{
	struct weir_http_result result = {.size = sizeof(result)};

	stage->body_bytes = 0;
	stage->body[0] = '\0';
	(void)weir_http_perform(stage->http, stage->easy, request, &result);
	return result;
}

static inline struct weir_http_result stage_get(struct stage *stage, const char *path)
{
	const struct weir_http_request request = stage_request(stage, path);

	return stage_run(stage, &request);
}

/* The name that a server's host has as an endpoint. */
static inline const char *stage_host(const struct stage *stage)
{
	return server_url(&stage->server, "") + strlen("http://");
}

static inline struct weir_level stage_level(struct stage *stage, const char *name)
{
	struct weir_level level = {.size = sizeof(level)};
	struct weir_endpoint *endpoint;

	assert_int_equal(weir_endpoint(stage->weir, name, &endpoint), 0);
	assert_int_equal(weir_peek(endpoint, &level), 0);
	weir_endpoint_close(endpoint);
	return level;
}

#endif
