/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a datagram of an observation: what is taken can be written, and to the same bytes.
 * And what it says, whatever that is, leaves a speed within its bounds and no closure for longer
 * than the rule allows.
 */
#include "fuzz.h"

#include <math.h>

#include "follow.h"
#include "wire.h"

#define NOW_NS 1000000000000ull

static const struct terms terms = {
	.rate_micro = 10 * TERMS_MICRO,
	.period_ns = 1000000000,
	.burst_micro = 20 * TERMS_MICRO,
	.initial_micro = 20 * TERMS_MICRO,
	.adapt = {.mode = ADAPT_HEADERS,
		  .min_rate_micro = TERMS_MICRO,
		  .min_period_ns = 1000000000},
};

static void decide(const struct wire_observation *observation)
{
	struct adaptive_settings settings = follow_settings(&terms);
	struct adaptive_observation seen = follow_observation(observation, 5);
	struct adaptive_decision decision;
	struct learned_terms learned;
	struct adaptive adaptive;

	adaptive_begin(&adaptive, &settings, NOW_NS, 0);
	for (int i = 0; i < 3; i++) {
		adaptive_observe(&adaptive, &settings, NOW_NS + (unsigned)i, &seen, &decision);
		FUZZ_CHECK(decision.rate_per_s >= 0.999 && decision.rate_per_s <= 10);
		FUZZ_CHECK(decision.closed_until_ns <= NOW_NS + 3 + ADAPT_MAX_CLOSE_NS);
		learned = follow_learned(&decision, &terms);
		FUZZ_CHECK(learned.period_ns == 0 || learned.rate_micro > 0);
		FUZZ_CHECK(learned.period_ns == 0 || learned.burst_micro >= TERMS_MICRO);
		FUZZ_CHECK(learned.burst_micro <= terms.burst_micro);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned char written[WIRE_OBSERVATION_BYTES];
	struct wire_observation observation;
	int64_t length;

	if (wire_parse_observation(&observation, data, size) < 0)
		return 0;
	FUZZ_CHECK(strlen(observation.name) > 0);
	length = wire_write_observation(&observation, written, sizeof(written));
	FUZZ_CHECK(length == (int64_t)size && memcmp(written, data, size) == 0);
	decide(&observation);
	return 0;
}
