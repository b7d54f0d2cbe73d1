/* SPDX-License-Identifier: Apache-2.0
 *
 * replay.h - what limits would have made of requests: a bucket for each key and limit, by the same
 * functions as in every worker (token_clock.h, bucket.h, window.h), on a time line that is that
 * of the requests. Ticks are nanoseconds since 1970.
 */
#ifndef WEIRCTL_REPLAY_H
#define WEIRCTL_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "distinct.h"
#include "mark_table.h"
#include "lineup.h"
#include "timeline.h"
#include "token_clock.h"
#include "offenders.h"

#define REPLAY_LIMITS_MAX 100

/* A limit and what came of it. */
struct replay_limit {
	struct terms terms;
	struct line line;
	uint64_t one; /* a token, in units */
	uint64_t admitted;
	uint64_t refused;
	uint64_t never; /* of the refused, those that cost more than the burst */
	line_wide admitted_micro;
	line_wide refused_micro;
	uint64_t hit; /* keys of which something was refused */
	struct distinct hit_about;
};

struct replay {
	struct replay_limit *limits;
	unsigned count;
	struct mark_table table;
	struct distinct keys_about;
	struct timeline timeline;   /* of the first limit */
	struct offenders offenders; /* the same: keys by their refusals */
	bool begun;
	uint64_t first_ns;
	uint64_t now_ns;
};

/*
 * Begins with `count` limits, whose terms are set (config_finish_terms()), and room for so many
 * keys. Returns 0 or -ENOMEM.
 */
int replay_begin(struct replay *replay, struct replay_limit *limits, unsigned count, uint64_t keys);

/* A lineup_take: requests in the order of their times. */
void replay_take(void *replay, const struct due *due, size_t count);

/* Whether no key was forgotten, so that counts of keys are exact; else they are estimates. */
bool replay_is_exact(const struct replay *replay);
uint64_t replay_keys(const struct replay *replay);
uint64_t replay_hit(const struct replay *replay, const struct replay_limit *limit);

static inline uint64_t replay_requests(const struct replay *replay)
{
	return replay->limits[0].admitted + replay->limits[0].refused;
}

void replay_free(struct replay *replay);

#endif
