/* SPDX-License-Identifier: Apache-2.0 */
#include "verdict.h"

#include <string.h>

bool verdict_is_refusal(int status, uint64_t retry_ns)
{
	return status == 429 || (retry_ns > 0 && (status == 503 || status == 403));
}

/* Failures of the connection or the server, which may be over next time. */
static bool is_passing_failure(CURLcode code)
{
	switch (code) {
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_CONNECT:
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_HTTP2:
	case CURLE_PARTIAL_FILE:
	case CURLE_OPERATION_TIMEDOUT:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_HTTP2_STREAM:
	case CURLE_HTTP3:
	case CURLE_QUIC_CONNECT_ERROR:
		return true;
	default:
		return false;
	}
}

static bool is_passing_status(int status)
{
	return status == 408 || status == 429 || status == 502 || status == 503 || status == 504;
}

static uint64_t backoff(const struct try_terms *terms, uint32_t tries)
{
	uint64_t wait = terms->backoff_ns;

	for (uint32_t i = 1; i < tries && wait < terms->backoff_most_ns; i++)
		wait *= 2;
	return wait < terms->backoff_most_ns ? wait : terms->backoff_most_ns;
}

struct verdict verdict_of(const struct try_facts *facts, const struct try_terms *terms)
{
	const struct verdict last = {.again = false};
	const struct verdict later = {.again = true, .wait_ns = backoff(terms, facts->tries)};

	if (facts->tries >= terms->tries || facts->final)
		return last;
	if (facts->code != CURLE_OK)
		return is_passing_failure(facts->code) && (facts->harmless || !facts->sent) ? later
											    : last;
	if (verdict_is_refusal(facts->status, facts->retry_ns) && facts->retry_ns) {
		if (facts->retry_ns > terms->longest_retry_ns)
			return last;
		return (struct verdict){
			.again = true,
			.asked = true,
			.wait_ns = facts->retry_ns,
		};
	}
	return facts->harmless && is_passing_status(facts->status) ? later : last;
}

enum breaker_news verdict_news(CURLcode code, int status, uint64_t retry_ns)
{
	if (code != CURLE_OK)
		return is_passing_failure(code) || code == CURLE_PEER_FAILED_VERIFICATION
			       ? BREAKER_BAD
			       : BREAKER_NOTHING;
	if (status == 0)
		return BREAKER_NOTHING;
	return status >= 500 && !verdict_is_refusal(status, retry_ns) ? BREAKER_BAD : BREAKER_GOOD;
}

bool verdict_is_harmless(const char *method)
{
	static const char *const methods[] = {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"};

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (strcmp(method, methods[i]) == 0)
			return true;
	return false;
}

uint64_t verdict_jitter(const struct verdict *verdict, uint32_t random)
{
	uint64_t most = verdict->wait_ns / (verdict->asked ? 10 : 2);

	/* in parts of 2^-16, so that nothing overflows below two weeks */
	return verdict->wait_ns + (most >> 16) * (random & 0xffff);
}

/* ---- the budget ---- */

void budget_begin(struct budget *budget, uint32_t least)
{
	budget->hundredths = (uint64_t)least * 100;
}

/* What is saved up is bounded: a quiet day does not pay for a storm. */
void budget_earn(struct budget *budget, uint64_t hundredths, uint32_t least)
{
	uint64_t most = ((uint64_t)least + 100) * 100;

	budget->hundredths += hundredths;
	if (budget->hundredths > most)
		budget->hundredths = most;
}

bool budget_spend(struct budget *budget)
{
	if (budget->hundredths < 100)
		return false;
	budget->hundredths -= 100;
	return true;
}
