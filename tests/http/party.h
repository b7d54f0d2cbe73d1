/* SPDX-License-Identifier: Apache-2.0
 *
 * party.h - a stage with a loop: requests that are started there, and what became of each.
 */
#ifndef HTTP_PARTY_H
#define HTTP_PARTY_H

#include "http_fixture.h"

#include <uv.h>

#define FAR 10000 /* requests, at most */

/* What became of one. */
struct fate {
	struct party *party;
	struct weir_http_transfer *transfer;
	CURL *easy;
	unsigned done;
	unsigned order;
	CURLcode code;
	struct weir_http_result result;
	unsigned restarts;
	char body[64];
	size_t body_bytes;
};

struct party {
	struct stage stage;
	uv_loop_t uv;
	uv_timer_t timer;
	struct fate fates[FAR];
	int count;
	unsigned done;
	unsigned detached;
	void (*on_done)(struct fate *fate);
	void (*on_timer)(struct party *party);
};

static inline size_t fate_write(char *bytes, size_t one, size_t count, void *context)
{
	struct fate *fate = context;
	size_t room = sizeof(fate->body) - 1 - fate->body_bytes;
	size_t used = one * count < room ? one * count : room;

	memcpy(fate->body + fate->body_bytes, bytes, used);
	fate->body_bytes += used;
	fate->body[fate->body_bytes] = '\0';
	return one * count;
}

static inline int fate_restart(CURL *easy, void *context)
{
	struct fate *fate = context;

	(void)easy;
	fate->restarts++;
	fate->body_bytes = 0;
	return 0;
}

static inline void party_done(CURL *easy, CURLcode code, const struct weir_http_result *result,
			      void *context)
{
	struct fate *fate = context;

	assert_ptr_equal(easy, fate->easy);
	fate->done++;
	fate->order = fate->party->done++;
	fate->code = code;
	fate->result = *result;
	fate->transfer = NULL;
	if (fate->party->on_done)
		fate->party->on_done(fate);
}

static inline struct party *party_open(const char *rules, const struct weir_http_settings *settings)
{
	struct party *party = calloc(1, sizeof(*party));

	assert_non_null(party);
	stage_open(&party->stage, rules, settings);
	assert_int_equal(uv_loop_init(&party->uv), 0);
	uv_timer_init(&party->uv, &party->timer);
	party->timer.data = party;
	assert_int_equal(weir_http_attach(party->stage.http, &party->uv), 0);
	return party;
}

static inline struct party *party_begin(const char *rules)
{
	const struct weir_http_settings settings = {
		.size = sizeof(settings),
		.backoff_ns = STAGE_BACKOFF_NS,
	};

	return party_open(rules, &settings);
}

static inline struct weir_http_request party_request(struct party *party, const char *path)
{
	return (struct weir_http_request){
		.size = sizeof(struct weir_http_request),
		.url = server_url(&party->stage.server, path),
		.write = fate_write,
		.restart = fate_restart,
		.context = &party->fates[party->count],
	};
}

static inline struct fate *party_start_request(struct party *party,
					       const struct weir_http_request *request)
{
	struct fate *fate = &party->fates[party->count++];

	fate->party = party;
	fate->easy = curl_easy_init();
	curl_easy_setopt(fate->easy, CURLOPT_NOPROXY, "*");
	assert_int_equal(weir_http_start(party->stage.http, fate->easy, request, party_done, fate,
					 &fate->transfer),
			 0);
	return fate;
}

static inline struct fate *party_start(struct party *party, const char *path)
{
	const struct weir_http_request request = party_request(party, path);

	return party_start_request(party, &request);
}

/* Until all that were started are done. */
static inline void party_run(struct party *party)
{
	bool more = true;

	while (party->done < (unsigned)party->count && more)
		more = uv_run(&party->uv, UV_RUN_ONCE);
	assert_int_equal(party->done, party->count);
}

static inline void tick(uv_timer_t *timer)
{
	struct party *party = timer->data;

	party->on_timer(party);
}

static inline void party_detached(void *context)
{
	struct party *party = context;

	party->detached++;
}

static inline void party_end(struct party *party)
{
	weir_http_detach(party->stage.http, party_detached, party);
	uv_close((uv_handle_t *)&party->timer, NULL);
	assert_int_equal(uv_run(&party->uv, UV_RUN_DEFAULT), 0);
	assert_int_equal(party->detached, 1);
	assert_int_equal(uv_loop_close(&party->uv), 0);
	for (int i = 0; i < party->count; i++) {
		assert_int_equal(party->fates[i].done, 1);
		curl_easy_cleanup(party->fates[i].easy);
	}
	stage_end(&party->stage);
	free(party);
}

#endif
