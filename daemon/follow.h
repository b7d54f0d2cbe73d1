/* SPDX-License-Identifier: Apache-2.0
 *
 * follow.h - puts into force what adaptive.h decides: a controller for each adaptive rule, fed with
 * observations and with time. Knows no loop and no socket.
 *
 * What is in force stands in the rule's row (struct line_learned), with until when; so a daemon
 * that takes the segment over goes on with it, and lets it expire. Killed between an observation
 * and what follows from it: the observation is lost, as if it had been dropped. Killed in between a
 * publication: rules_learn() says.
 */
#ifndef WEIRD_FOLLOW_H
#define WEIRD_FOLLOW_H

#include <stdint.h>

#include "adaptive.h"
#include "instance.h"
#include "wire.h"

/* What a daemon before this one learned without an end, it believes for so long. */
#define FOLLOW_ADOPTED_NS 60000000000ull

struct follow_entry;

struct follow {
	struct instance *instance;
	struct follow_entry *entries; /* a list: the rules that were observed */
	unsigned count;
};

/* Takes up what the rows of an adopted or restored segment have learned. */
void follow_begin(struct follow *out, struct instance *instance);
void follow_end(struct follow *follow);

/*
 * One response. That of a name whose rule is not adaptive, or unknown, is nothing. Returns 0 or
 * -ENOMEM.
 */
int follow_observe(struct follow *follow, const struct wire_observation *observation);

/*
 * Time went by: expiry and recovery. Returns in how many nanoseconds of the segment's clock it
 * wants to be called again; UINT64_MAX: not before the next observation.
 */
uint64_t follow_tick(struct follow *follow);

/* ---- follow_terms.c ---- */

/* What a datagram says, and what was drawn by now. Pure. */
struct adaptive_observation follow_observation(const struct wire_observation *from, double drawn);

/* The settings that a rule's terms make, as adaptive.h takes them. Pure. */
struct adaptive_settings follow_settings(const struct terms *terms);

/* What a decision puts into a row under those terms; period_ns 0: the terms alone. Pure. */
struct learned_terms follow_learned(const struct adaptive_decision *decision,
				    const struct terms *terms);

#endif
