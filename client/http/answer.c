/* SPDX-License-Identifier: Apache-2.0
 *
 * answer.c - what an answer says of when to come back, as it came.
 *
 * The fields are read from what libcurl keeps of every answer (curl_easy_header), not by a
 * CURLOPT_HEADERFUNCTION: libcurl does not tell which function the program has set, so one of ours
 * would have to take its place. And they are read raw: CURLINFO_RETRY_AFTER is capped at six hours,
 * and takes a wait of 0 for none.
 */
#include "http.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

#define PAUSE_NS (250 * WEIR_MILLISECOND) /* after a refusal that says no time, or none at all */
#define CLOSE_MOST_NS (3600 * WEIR_SECOND)
#define SECONDS_MOST 1e9 /* thirty years */
#define QUIET_NS (100 * WEIR_MILLISECOND)

static const char *field(CURL *easy, const char *name)
{
	struct curl_header *found;

	return curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &found) == CURLHE_OK ? found->value
										      : NULL;
}

static double at_most(double seconds)
{
	return seconds < SECONDS_MOST ? seconds : SECONDS_MOST;
}

/* Seconds, or a date, which is counted from the server's own; below 0: neither. */
static double retry_after_s(CURL *easy)
{
	const char *value = field(easy, "Retry-After");
	const char *date = field(easy, "Date");
	char *end;
	double seconds;
	time_t until;
	time_t now;

	if (!value)
		return -1;
	seconds = strtod(value, &end);
	if (end != value && *end == '\0')
		return seconds >= 0 ? at_most(seconds) : -1;
	until = curl_getdate(value, NULL);
	now = date ? curl_getdate(date, NULL) : -1;
	if (now < 0)
		now = time(NULL);
	return until < 0 ? -1 : until > now ? at_most((double)(until - now)) : 0;
}

/* A moment in which an endpoint that has no limit need not be asked whether it has one now. */
static void rest_if_quiet(struct lane *lane)
{
	struct weir_level level = {.size = sizeof(level)};

	if (lane_is_quiet(lane) || weir_peek(lane->endpoint, &level) < 0 ||
	    !isinf(level.rate_per_s) || level.closed_ns)
		return;
	/* relaxed: a thread that sees the older value asks once more, or once less */
	atomic_store_explicit(&lane->quiet_until_ns, http_now_ns() + QUIET_NS,
			      memory_order_relaxed);
}

bool lane_is_quiet(struct lane *lane)
{
	/* relaxed: see rest_if_quiet() */
	uint64_t until = atomic_load_explicit(&lane->quiet_until_ns, memory_order_relaxed);

	return until && http_now_ns() < until;
}

void answer_observe(CURL *easy, struct lane *lane, int status, struct answer *out)
{
	uint64_t close_ns;
	double seconds;

	*out = (struct answer){.retry_ns = 0};
	/* the Retry-After of what went well, or leads elsewhere, is no refusal */
	if (status < 400) {
		rest_if_quiet(lane);
		return;
	}
	seconds = retry_after_s(easy);
	if (seconds < 0 && status != 429 && status != 503)
		return;
	if (seconds >= 0) {
		out->retry_ns = (uint64_t)(seconds * 1e9);
		/* a wait of nothing, or one that is over, is a word too */
		if (out->retry_ns < PAUSE_NS)
			out->retry_ns = PAUSE_NS;
	}
	close_ns = out->retry_ns ? out->retry_ns : PAUSE_NS;
	/* for everybody, at once. A fault is met, and reported, by the next call that draws */
	(void)weir_gate_close(lane->endpoint, close_ns < CLOSE_MOST_NS ? close_ns : CLOSE_MOST_NS);
	atomic_store_explicit(&lane->quiet_until_ns, 0, memory_order_relaxed);
}
