/* SPDX-License-Identifier: Apache-2.0
 *
 * adaptive_parts.h - what adaptive.c is made of: the record of draws, a fitted line, the quota that
 * responses speak of, and what refusals suggest where they do not. Pure, as adaptive.h is.
 */
#ifndef WEIRD_ADAPTIVE_PARTS_H
#define WEIRD_ADAPTIVE_PARTS_H

#include "adaptive.h"

#define SECOND_NS 1000000000ull
#define MILLISECOND_NS 1000000ull

static inline double seconds_of(uint64_t ns)
{
	return (double)ns / 1e9;
}

/* From one time to another, 0 if the other is the earlier. */
static inline uint64_t span_ns(uint64_t from_ns, uint64_t to_ns)
{
	return to_ns > from_ns ? to_ns - from_ns : 0;
}

static inline uint64_t later_ns(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline uint64_t earlier_ns(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline double most_of(double a, double b)
{
	return a > b ? a : b;
}

static inline double least_of(double a, double b)
{
	return a < b ? a : b;
}

static inline bool says(const struct adaptive_observation *observation, unsigned what)
{
	return (observation->says & what) == what;
}

static inline uint64_t sent_ns(const struct adaptive_observation *observation)
{
	return observation->response_ns - observation->latency_ns;
}

/* ---- draws ---- */

/* What was drawn by now; samples closer than `spacing_ns` replace each other. */
void draws_add(struct adaptive_draws *draws, uint64_t now_ns, double drawn, uint64_t spacing_ns);

/* What was drawn by some time of the past, between the samples by a straight line. */
double draws_by(const struct adaptive_draws *draws, uint64_t at_ns);

/* What time the record covers. */
uint64_t draws_span_ns(const struct adaptive_draws *draws);

/* Tokens per second over the last span, or over what is known of it. */
double draws_per_s(const struct adaptive_draws *draws, uint64_t span_ns);

/* ---- trend ---- */

void trend_begin(struct adaptive_trend *trend, uint64_t at_ns, double value);

/* Samples are worth half after `fade_s`, a third after two of them. */
void trend_add(struct adaptive_trend *trend, uint64_t at_ns, double value, double fade_s);

/* Per second; 0 while there is too little to tell. */
double trend_slope(const struct adaptive_trend *trend);
double trend_at(const struct adaptive_trend *trend, uint64_t at_ns);

/* ---- quota: what is known (adaptive_quota.c) ---- */

#define REFILLING_FROM 3	    /* pieces of evidence, for a quota that refills */
#define TELLING_SAMPLES 8	    /* so many tell a slope */
#define HORIZON_NS (10 * SECOND_NS) /* where no window is known */

/*
 * Takes in a response that says what is left, and is newer than all before. Times that have been
 * contradicted are taken out of it.
 */
void quota_observe(struct adaptive *adaptive, const struct adaptive_settings *settings,
		   struct adaptive_observation *observation);

/* Whether the response's refusal is what the quota that it names would have led to expect. */
bool quota_explains(const struct adaptive *adaptive,
		    const struct adaptive_observation *observation);

/* Whether the times that it names have been contradicted, so that it counts as naming none. */
bool quota_is_timeless(const struct adaptive *adaptive);

/* Whether it comes back bit by bit, not as a whole. */
bool quota_is_refilling(const struct adaptive_quota *quota);

/* What supply may be off by, through requests that overtake each other. */
double quota_noise(const struct adaptive *adaptive);

/* ---- quota: what follows (adaptive_pace.c) ---- */

/* Whether what the upstream says has been borne out by what it did. */
bool quota_trusted(const struct adaptive *adaptive);

/*
 * The decision by what is known of the quota: rate (not yet bounded), closure, cause, expiry.
 * Returns false if nothing is, or it is not to be believed.
 */
bool quota_decide(struct adaptive *adaptive, const struct adaptive_settings *settings,
		  struct adaptive_decision *out);

/*
 * What a speed that no quota names is to be multiplied by: below 1 where little is left and it is
 * not said until when.
 */
double quota_brake(const struct adaptive *adaptive);

/* What a speed that no quota names is to stay below; infinity: nothing. */
double quota_ceiling(const struct adaptive *adaptive, const struct adaptive_settings *settings);

/* ---- guess (adaptive_guess.c) ---- */

/* Takes in what became of a request. */
void guess_observe(struct adaptive *adaptive, const struct adaptive_settings *settings,
		   const struct adaptive_observation *observation);

/* Nothing is known but the speed in force: recovery begins with that. */
void guess_begin(struct adaptive *adaptive);

/* As quota_decide(): false if nothing was ever refused, or it has been recovered from. */
bool guess_decide(struct adaptive *adaptive, const struct adaptive_settings *settings,
		  struct adaptive_decision *out);

#endif
