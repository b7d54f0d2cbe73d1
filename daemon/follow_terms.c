/* SPDX-License-Identifier: Apache-2.0
 *
 * follow_terms.c - between what stands in a row, what comes in a datagram, and what adaptive.h
 * takes. Pure.
 */
#include "follow.h"

#include <math.h>

#include "adapt.h"

#define LEVEL_MOST 1e12

static double per_s(uint64_t rate_micro, uint64_t period_ns)
{
	if (rate_micro == TERMS_UNLIMITED)
		return INFINITY;
	return period_ns ? (double)rate_micro * 1000 / (double)period_ns : 0;
}

struct adaptive_settings follow_settings(const struct terms *terms)
{
	const struct adapt_terms *adapt = &terms->adapt;

	return (struct adaptive_settings){
		.mode = adapt->mode == ADAPT_HEADERS ? ADAPTIVE_HEADERS
			: adapt->mode == ADAPT_AIMD  ? ADAPTIVE_AIMD
						     : ADAPTIVE_OFF,
		.rate_per_s = per_s(terms->rate_micro, terms->period_ns),
		.burst = (double)terms->burst_micro / (double)TERMS_MICRO,
		.min_per_s = per_s(adapt->min_rate_micro, adapt->min_period_ns),
		.safety = (double)adapt_safety_micro(adapt) / (double)TERMS_MICRO,
		.max_close_ns = adapt_max_close_ns(adapt),
	};
}

/* So that no class is shut out by a burst below what it must leave. */
static uint64_t least_burst_micro(const struct terms *terms)
{
	uint64_t most = 0;

	for (unsigned i = 0; i < LAYOUT_CLASSES; i++) {
		uint64_t leave = terms->classes[i].leave;

		if (terms->classes[i].name && leave >> 63 == 0 && leave > most)
			most = leave;
	}
	return most + TERMS_MICRO;
}

static uint64_t micro_or_unknown(double value)
{
	return isfinite(value) && value >= 0 && value <= LEVEL_MOST
		       ? (uint64_t)(value * (double)TERMS_MICRO)
		       : UINT64_MAX;
}

static uint64_t cause_of(const struct adaptive_decision *decision)
{
	uint64_t flags = decision->distrusts ? LEARNED_DISTRUSTS : 0;

	switch (decision->cause) {
	case ADAPTIVE_CAUSE_QUOTA:
		return LEARNED_QUOTA | flags;
	case ADAPTIVE_CAUSE_SPENT:
		return LEARNED_SPENT | flags;
	case ADAPTIVE_CAUSE_REFILL:
		return LEARNED_REFILL | flags;
	case ADAPTIVE_CAUSE_SHARED:
		return LEARNED_SHARED | flags;
	case ADAPTIVE_CAUSE_REFUSED:
		return LEARNED_REFUSED | flags;
	case ADAPTIVE_CAUSE_RECOVERY:
		return LEARNED_RECOVERY | flags;
	case ADAPTIVE_CAUSE_CONFIGURED:
	case ADAPTIVE_CAUSE_OFF:
	case ADAPTIVE_CAUSES:
		break;
	}
	return LEARNED_NOTHING;
}

struct learned_terms follow_learned(const struct adaptive_decision *decision,
				    const struct terms *terms)
{
	uint64_t least = least_burst_micro(terms);
	struct learned_terms learned = {0};
	struct terms force;

	adaptive_terms(decision, terms, &force);
	if (force.burst_micro < least)
		force.burst_micro = least < terms->burst_micro ? least : terms->burst_micro;
	if (force.rate_micro == TERMS_UNLIMITED ||
	    (force.rate_micro == terms->rate_micro && force.period_ns == terms->period_ns &&
	     force.burst_micro == terms->burst_micro))
		return learned;
	return (struct learned_terms){
		.rate_micro = force.rate_micro,
		.period_ns = force.period_ns,
		.burst_micro = force.burst_micro,
		.until_ns = decision->expires_ns,
		.from_ns = decision->from_ns,
		.limit_micro = micro_or_unknown(decision->limit),
		.remaining_micro = micro_or_unknown(decision->remaining),
		.cause = cause_of(decision),
	};
}

struct adaptive_observation follow_observation(const struct wire_observation *from, double drawn)
{
	/* the bits of both are the same; whatever is said is bounded by adaptive.c */
	return (struct adaptive_observation){
		.response_ns = from->response_ns,
		.latency_ns = from->latency_ns,
		.outcome = from->outcome == WIRE_LIMITED    ? ADAPTIVE_LIMITED
			   : from->outcome == WIRE_OVERLOAD ? ADAPTIVE_OVERLOAD
							    : ADAPTIVE_PASSED,
		.says = (from->says & WIRE_SAYS_LIMIT ? ADAPTIVE_SAYS_LIMIT : 0u) |
			(from->says & WIRE_SAYS_REMAINING ? ADAPTIVE_SAYS_REMAINING : 0u) |
			(from->says & WIRE_SAYS_RESET ? ADAPTIVE_SAYS_RESET : 0u) |
			(from->says & WIRE_SAYS_WINDOW ? ADAPTIVE_SAYS_WINDOW : 0u) |
			(from->says & WIRE_SAYS_RETRY ? ADAPTIVE_SAYS_RETRY : 0u),
		.limit = (double)from->limit_micro / (double)TERMS_MICRO,
		.remaining = (double)from->remaining_micro / (double)TERMS_MICRO,
		.reset_ns = from->reset_ns,
		.window_ns = from->window_ns,
		.retry_ns = from->retry_ns,
		.drawn = drawn,
	};
}
