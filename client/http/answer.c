/* SPDX-License-Identifier: Apache-2.0
 *
 * answer.c - what the fields of an answer say of limits, as they came.
 *
 * They are read from what libcurl keeps of every answer (curl_easy_nextheader), not by a
 * CURLOPT_HEADERFUNCTION: libcurl does not tell which function the program has set, so one of ours
 * would have to take its place. And they are read raw: CURLINFO_RETRY_AFTER is capped at six hours,
 * and knows nothing of the other fields.
 */
#include "http.h"

#include <math.h>
#include <string.h>

#define FIELDS_MAX 100
#define QUIET_NS (100 * WEIR_MILLISECOND)
#define FIELD_BYTES_MAX 4096 /* of a value; a longer one says nothing of limits */

/* Fields that most answers have, and that no server ever put a limit into, by their length. */
static bool is_idle(const char *name)
{
	switch (strlen(name)) {
	case 4:
		return curl_strequal(name, "etag") || curl_strequal(name, "vary");
	case 6:
		return curl_strequal(name, "server");
	case 7:
		return curl_strequal(name, "expires");
	case 10:
		return curl_strequal(name, "connection") || curl_strequal(name, "set-cookie") ||
		       curl_strequal(name, "keep-alive");
	case 12:
		return curl_strequal(name, "content-type");
	case 13:
		return curl_strequal(name, "last-modified") ||
		       curl_strequal(name, "cache-control") || curl_strequal(name, "accept-ranges");
	case 14:
		return curl_strequal(name, "content-length");
	case 16:
		return curl_strequal(name, "content-encoding");
	case 17:
		return curl_strequal(name, "transfer-encoding");
	default:
		return false;
	}
}

/* *says: whether any of them might be of a limit. Date goes along: times are told by it. */
static size_t fields_read(CURL *easy, struct weir_header out[FIELDS_MAX], bool *says)
{
	struct curl_header *field = NULL;
	size_t count = 0;

	while (count < FIELDS_MAX &&
	       (field = curl_easy_nextheader(easy, CURLH_HEADER, -1, field))) {
		if (is_idle(field->name))
			continue;

		size_t bytes = strlen(field->value);

		*says |= !curl_strequal(field->name, "date");
		if (bytes <= FIELD_BYTES_MAX)
			out[count++] = (struct weir_header){
				.name = field->name,
				.value = field->value,
				.name_bytes = WEIR_TEXT,
				.value_bytes = bytes,
			};
	}
	return count;
}

/* From when the request was sent to when its answer began. */
static uint64_t latency_ns(CURL *easy)
{
	curl_off_t sent = 0;
	curl_off_t began = 0;

	curl_easy_getinfo(easy, CURLINFO_PRETRANSFER_TIME_T, &sent);
	curl_easy_getinfo(easy, CURLINFO_STARTTRANSFER_TIME_T, &began);
	return began > sent ? (uint64_t)(began - sent) * 1000 : 0;
}

/*
 * At an endpoint without a limit there is nothing to lower and nothing to learn, but what its
 * answers may say of the limits of others. If this one says nothing at all, those of the next
 * moment are taken to say as much, if they went well: to read fields would cost more than all else.
 */
static void rest_if_quiet(struct lane *lane, bool says)
{
	struct weir_level level = {.size = sizeof(level)};

	if (says || weir_peek(lane->endpoint, &level) < 0 || !isinf(level.rate_per_s))
		return;
	/* relaxed: a thread that sees the older value reads one answer more, or one less */
	atomic_store_explicit(&lane->quiet_until_ns, http_now_ns() + QUIET_NS,
			      memory_order_relaxed);
}

/* Told by when the request was sent, which is known without another look at the clock. */
static bool is_quiet(struct lane *lane, uint64_t sent_ns)
{
	/* relaxed: see rest_if_quiet() */
	return sent_ns < atomic_load_explicit(&lane->quiet_until_ns, memory_order_relaxed);
}

void answer_observe(CURL *easy, struct lane *lane, int status, uint64_t sent_ns, struct answer *out)
{
	struct weir_observed observed = {.size = sizeof(observed)};
	struct weir_header fields[FIELDS_MAX];
	bool says = false;
	size_t count;

	*out = (struct answer){.retry_ns = 0};
	if (status < 300 && is_quiet(lane, sent_ns))
		return;
	count = fields_read(easy, fields, &says);
	rest_if_quiet(lane, says || status >= 300);
	/* a fault of the segment is met, and reported, by the next call that draws */
	if (weir_observe(lane->endpoint, status, fields, count, latency_ns(easy), &observed) < 0)
		return;
	out->final = observed.action == WEIR_ACTION_DO_NOT_RETRY;
	if (observed.action == WEIR_ACTION_NO_RETRY)
		return;
	out->retry_ns = observed.retry_ns;
	/* a wait of nothing, or one that is over, is a word too */
	if (observed.action == WEIR_ACTION_FLOOR && out->retry_ns == 0)
		out->retry_ns = observed.closed_ns;
}
