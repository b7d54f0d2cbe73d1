/* SPDX-License-Identifier: Apache-2.0
 *
 * client.c - making and freeing a client.
 */
#include "http.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LONGEST_BACKOFF_NS (60 * WEIR_SECOND)

uint64_t http_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * WEIR_SECOND + (uint64_t)now.tv_nsec;
}

/* For jitter: what matters is that processes differ. Under the mutex. */
uint32_t http_random(struct weir_http *http)
{
	http->random ^= http->random << 13;
	http->random ^= http->random >> 17;
	http->random ^= http->random << 5;
	return http->random;
}

static void u32_default(uint32_t *value, uint32_t otherwise)
{
	if (*value == 0)
		*value = otherwise;
}

static void u64_default(uint64_t *value, uint64_t otherwise)
{
	if (*value == 0)
		*value = otherwise;
}

static void settings_fill(struct weir_http_settings *out, const struct weir_http_settings *from)
{
	*out = (struct weir_http_settings){.size = sizeof(*out)};
	/* a program built against an older header has a shorter struct */
	if (from)
		memcpy(out, from, from->size < sizeof(*out) ? from->size : sizeof(*out));
	u32_default(&out->tries, 4);
	u32_default(&out->budget_percent, 20);
	u32_default(&out->budget_least, 10);
	u32_default(&out->breaker_percent, 50);
	u32_default(&out->breaker_least, 10);
	u32_default(&out->connections, 64);
	u64_default(&out->breaker_ns, 5 * WEIR_SECOND);
	u64_default(&out->breaker_window_ns, 10 * WEIR_SECOND);
	u64_default(&out->backoff_ns, 500 * WEIR_MILLISECOND);
	u64_default(&out->longest_retry_ns, 300 * WEIR_SECOND);
}

/* Times are added up: ten years are enough for each, and do not overflow. */
static bool settings_valid(const struct weir_http_settings *settings)
{
	const uint64_t most = 3653ull * 86400 * WEIR_SECOND;

	return settings->budget_percent <= 1000 && settings->breaker_ns <= most &&
	       settings->breaker_window_ns >= 2 && settings->breaker_window_ns <= most &&
	       settings->backoff_ns <= most && settings->longest_retry_ns <= most;
}

int weir_http_open(struct weir_http **out, struct weir *weir,
		   const struct weir_http_settings *settings)
{
	struct weir_http *http = calloc(1, sizeof(*http));

	if (!http)
		return -ENOMEM;
	settings_fill(&http->settings, settings);
	if (!settings_valid(&http->settings)) {
		free(http);
		return WEIR_EVALUE;
	}
	http->weir = weir;
	http->breaker_terms = (struct breaker_terms){
		.percent = http->settings.breaker_percent,
		.least = http->settings.breaker_least,
		.open_ns = http->settings.breaker_ns,
		.window_ns = http->settings.breaker_window_ns,
	};
	http->try_terms = (struct try_terms){
		.tries = http->settings.tries,
		.backoff_ns = http->settings.backoff_ns,
		.backoff_most_ns = LONGEST_BACKOFF_NS,
		.longest_retry_ns = http->settings.longest_retry_ns,
	};
	http->random = ((uint32_t)getpid() * 2654435761u ^ (uint32_t)http_now_ns()) | 1;
	budget_begin(&http->budget, http->settings.budget_least);
	pthread_mutex_init(&http->mutex, NULL);
	*out = http;
	return 0;
}

void weir_http_close(struct weir_http *http)
{
	if (!http)
		return;
	lanes_free(http);
	pthread_mutex_destroy(&http->mutex);
	free(http);
}
