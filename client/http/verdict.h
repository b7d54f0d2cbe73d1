/* SPDX-License-Identifier: Apache-2.0
 *
 * verdict.h - what is to become of a request after a try: is that its answer, or is it made once
 * more, and when? And what the try says of the server. Pure: facts in, a verdict out.
 */
#ifndef WEIR_HTTP_VERDICT_H
#define WEIR_HTTP_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include <curl/curl.h>

#include "breaker.h"

/* What is known after a try, or as soon as its fields are there (then the code is CURLE_OK). */
struct try_facts {
	CURLcode code;
	int status;	   /* 0: no answer */
	bool sent;	   /* something of the request was */
	bool harmless;	   /* it may be made twice */
	bool final;	   /* the server says that it will never pass */
	uint64_t retry_ns; /* what the server asked for; 0: nothing */
	uint32_t tries;	   /* made so far, this one included */
};

struct try_terms {
	uint32_t tries;
	uint64_t backoff_ns;
	uint64_t longest_retry_ns;
	uint64_t backoff_most_ns;
};

struct verdict {
	bool again;
	bool asked;	  /* by the server: the budget is not concerned */
	uint64_t wait_ns; /* before, without jitter */
};

/* Whether the answer asks to come back later, rather than that it failed. */
bool verdict_is_refusal(int status, uint64_t retry_ns);

struct verdict verdict_of(const struct try_facts *facts, const struct try_terms *terms);

enum breaker_news verdict_news(CURLcode code, int status, uint64_t retry_ns);

/* Whether a method may be used twice (RFC 9110, 9.2.2). */
bool verdict_is_harmless(const char *method);

/* A wait with jitter, upward only: up to a tenth of what a server asked for, else up to half. */
uint64_t verdict_jitter(const struct verdict *verdict, uint32_t random);

/* Repetitions that nobody asked for: a share of all requests, and some to begin with. */
struct budget {
	uint64_t hundredths;
};

void budget_begin(struct budget *budget, uint32_t least);
void budget_earn(struct budget *budget, uint64_t hundredths, uint32_t least);
bool budget_spend(struct budget *budget);

#endif
