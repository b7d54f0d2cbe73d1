/* SPDX-License-Identifier: Apache-2.0
 *
 * read.c - the text of a response to what the controller takes, by the library's own reader.
 */
#include <math.h>
#include <string.h>

#include "fields.h"
#include "host.h"

static uint64_t ns_of(double seconds)
{
	return (uint64_t)(seconds * 1e9 + 0.5);
}

static void take_limit(const struct fields_limit *limit, struct adaptive_observation *out)
{
	if (!isnan(limit->limit)) {
		out->says |= ADAPTIVE_SAYS_LIMIT;
		out->limit = limit->limit;
	}
	if (!isnan(limit->remaining)) {
		out->says |= ADAPTIVE_SAYS_REMAINING;
		out->remaining = limit->remaining;
	}
	if (!isnan(limit->reset_s)) {
		out->says |= ADAPTIVE_SAYS_RESET;
		out->reset_ns = ns_of(limit->reset_s);
	}
	if (!isnan(limit->window_s)) {
		out->says |= ADAPTIVE_SAYS_WINDOW;
		out->window_ns = ns_of(limit->window_s);
	}
}

void sim_read(const struct sim_response *response, uint64_t now_ns,
	      struct adaptive_observation *out)
{
	struct fields_header headers[SIM_HEADERS_MAX];
	const struct fields_response text = {
		.status = response->status,
		.headers = headers,
		.count = response->count,
		.captured_at = SIM_EPOCH_S + (double)now_ns / 1e9,
	};
	struct fields_verdict verdict;

	for (unsigned i = 0; i < response->count; i++) {
		const struct sim_header *from = &response->headers[i];

		headers[i] = (struct fields_header){from->name, strlen(from->name), from->value,
						    strlen(from->value)};
	}
	*out = (struct adaptive_observation){
		.outcome = response->status == 429 ? ADAPTIVE_LIMITED : ADAPTIVE_PASSED,
	};
	if (fields_read(&text, &verdict) == FIELDS_IGNORE)
		return;
	if (!isnan(verdict.retry_after_s)) {
		out->says |= ADAPTIVE_SAYS_RETRY;
		out->retry_ns = ns_of(verdict.retry_after_s);
	}
	if (verdict.count > 0)
		take_limit(&verdict.limits[0], out);
}
