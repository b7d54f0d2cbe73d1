/* SPDX-License-Identifier: Apache-2.0
 *
 * adaptive_quota.c - what responses say is left, and the speed that follows.
 *
 * **Supply.** A response's `remaining` is as of when the upstream answered, and requests were sent
 * since. So it is added to what this host had drawn when the request went out: what is left and
 * what was drawn, together. While nobody else draws and nothing is renewed, that sum stands still,
 * however late responses are and in whatever order they come; what it falls by is others' doing,
 * and what it rises by is renewal. Less what is drawn by now, it is what is left by now.
 *
 * **The end of a window** is known to lie between two times: what the response says, in seconds as
 * a rule, since it was asked for and since it was there. What the responses of one window say is
 * intersected.
 *
 * **Windows or refill.** Where the end moves although nothing was renewed, or passes and nothing
 * is renewed as a whole, or supply rises all the time, the quota comes back bit by bit: a token
 * bucket, a sliding window. Spending what is left by some end would then be wrong at any time.
 */
#include "adaptive_parts.h"

#include <math.h>

#define REFILLING_MOST 8
#define FIRST_FASTER 4
#define FIRST_MOST 64
#define STRIKES_MOST 2	 /* contradictions that are forgiven */
#define FROZEN_DRAWN 32	 /* tokens drawn while the number left stays the same */
#define FROZEN_AT_ZERO 3 /* requests that pass although nothing is left */
#define LEAP_PART 8	 /* of the limit: nobody draws that much from one response to the next */
#define SURPRISES_MOST 3.0
#define SURPRISES_FADE 64.0 /* responses */
#define DISTRUST_NS (300 * SECOND_NS)
#define DISTRUSTED_MOST 6 /* times that it lasts twice as long */
#define SPEED_CHANGED 1.5
#define EARLY_PART 10 /* of a window: renewed before its end by that much is a contradiction */

/* A time in whole seconds may have been rounded either way. */
static uint64_t grain_ns(uint64_t ns)
{
	return ns % SECOND_NS == 0 ? SECOND_NS : MILLISECOND_NS;
}

static double fade_s(const struct adaptive *adaptive)
{
	const struct adaptive_quota *quota = &adaptive->quota;

	return most_of(most_of(1, 16 * seconds_of(adaptive->latency_ns)),
		       least_of(seconds_of(quota->window_ns) / 60, 30));
}

static void end_set(struct adaptive_quota *quota, uint64_t from_ns, uint64_t to_ns)
{
	quota->end_from_ns = from_ns;
	quota->end_to_ns = to_ns;
}

/* What one response says of the window's end. */
struct end {
	bool said;
	uint64_t from_ns;
	uint64_t to_ns;
};

static struct end end_of(const struct adaptive_observation *observation)
{
	uint64_t reset_ns = observation->reset_ns;
	uint64_t grain = grain_ns(reset_ns);
	struct end end = {.said = says(observation, ADAPTIVE_SAYS_RESET)};

	if (end.said) {
		end.from_ns = sent_ns(observation) + span_ns(grain, reset_ns);
		end.to_ns = observation->response_ns + reset_ns + grain;
	}
	return end;
}

/* What it says narrows what is known. */
static void end_learn(struct adaptive_quota *quota, const struct end *end)
{
	if (!end->said)
		return;
	if (quota->end_to_ns)
		end_set(quota, later_ns(quota->end_from_ns, end->from_ns),
			earlier_ns(quota->end_to_ns, end->to_ns));
	else
		end_set(quota, end->from_ns, end->to_ns);
}

/* Where windows begin is not said: one begins when what is left jumps up, and is as long. */
static struct end end_guessed(const struct adaptive_quota *quota,
			      const struct adaptive_observation *observation)
{
	uint64_t window_ns = quota->window_ns;
	struct end end = {.said = window_ns > 0};

	if (end.said) {
		end.from_ns = later_ns(quota->from_ns, sent_ns(observation)) + window_ns;
		end.to_ns = observation->response_ns + window_ns;
		end.from_ns = earlier_ns(end.from_ns, end.to_ns);
	}
	return end;
}

static void strike(struct adaptive *adaptive)
{
	struct adaptive_quota *quota = &adaptive->quota;

	if (++quota->strikes <= STRIKES_MOST)
		return;
	quota->strikes = 0;
	quota->distrust_ns = adaptive->now_ns +
			     (later_ns(DISTRUST_NS, 4 * quota->window_ns) << quota->distrusted);
	if (quota->distrusted < DISTRUSTED_MOST)
		quota->distrusted++;
}

/* As strike(), but of when, and not of how much: what is left may be true all the same. */
static void time_strike(struct adaptive *adaptive)
{
	struct adaptive_quota *quota = &adaptive->quota;

	if (++quota->time_strikes <= STRIKES_MOST)
		return;
	quota->time_strikes = 0;
	quota->timeless_ns = adaptive->now_ns +
			     (later_ns(DISTRUST_NS, 4 * quota->window_ns) << quota->distrusted);
	if (quota->distrusted < DISTRUSTED_MOST)
		quota->distrusted++;
	quota->window_ns = 0;
	end_set(quota, 0, 0);
}

/* What nobody could foresee happens once in a while; where it happens all the time, it is made up.
 */
static void surprise(struct adaptive *adaptive)
{
	struct adaptive_quota *quota = &adaptive->quota;

	if (++quota->surprises <= SURPRISES_MOST)
		return;
	quota->surprises = 0;
	strike(adaptive);
}

static void refills(struct adaptive_quota *quota)
{
	if (quota->refilling < REFILLING_MOST)
		quota->refilling++;
}

/* No window's end moves ahead before it has come; that of a bucket does all the time. */
static void end_advances(struct adaptive_quota *quota,
			 const struct adaptive_observation *observation, const struct end *end)
{
	bool came = observation->response_ns >= quota->mile_from_ns;

	if (!end->said || sent_ns(observation) < quota->sent_ns ||
	    (!came && end->from_ns <= quota->mile_to_ns))
		return;
	if (came)
		quota->advancing = 0;
	else
		quota->advancing += quota->advancing < REFILLING_MOST;
	quota->mile_from_ns = end->from_ns;
	quota->mile_to_ns = end->to_ns;
}

/* A new window, or the first that is known. */
static void window_begin(struct adaptive *adaptive, const struct adaptive_observation *observation,
			 const struct end *end, double supply)
{
	struct adaptive_quota *quota = &adaptive->quota;

	trend_begin(&quota->supply, sent_ns(observation), supply);
	quota->begun_ns = observation->response_ns;
	quota->refused = false;
	end_set(quota, end->from_ns, end->said ? end->to_ns : 0);
}

/* Renewed as a whole. Well before the end that was named, it is a contradiction. */
static void window_renewed(struct adaptive *adaptive,
			   const struct adaptive_observation *observation, const struct end *end,
			   double supply)
{
	struct adaptive_quota *quota = &adaptive->quota;
	uint64_t sent = sent_ns(observation);
	uint64_t early_ns = span_ns(observation->response_ns, quota->end_from_ns);

	if (quota->end_to_ns && quota->window_ns && early_ns > quota->window_ns / EARLY_PART) {
		if (quota->refilling < REFILLING_FROM)
			strike(adaptive);
		else
			surprise(adaptive);
	} else if (quota->end_to_ns) {
		/* made good by a window of some responses, and not by a number that leaps */
		bool as_promised = quota->supply.samples >= TELLING_SAMPLES;

		quota->refilling = 0;
		quota->strikes -= as_promised && quota->strikes > 0;
		quota->time_strikes -= as_promised && quota->time_strikes > 0;
		quota->late_ns = earlier_ns(quota->late_ns, span_ns(quota->end_to_ns, sent));
	}
	window_begin(adaptive, observation, end, supply);
}

/* The same window. */
static void window_goes_on(struct adaptive *adaptive,
			   const struct adaptive_observation *observation, const struct end *end,
			   double supply)
{
	struct adaptive_quota *quota = &adaptive->quota;
	double fitted = trend_at(&quota->supply, sent_ns(observation));
	double slope;

	end_learn(quota, end);
	if (fabs(supply - quota->last_supply) >
	    most_of(quota_noise(adaptive), quota->limit / LEAP_PART))
		surprise(adaptive);
	if (quota->supply.samples >= TELLING_SAMPLES &&
	    fabs(supply - fitted) > quota_noise(adaptive)) {
		trend_begin(&quota->supply, sent_ns(observation), supply);
		return;
	}
	trend_add(&quota->supply, sent_ns(observation), supply, fade_s(adaptive));
	slope = trend_slope(&quota->supply);
	if (quota->supply.samples >= TELLING_SAMPLES &&
	    slope * seconds_of(span_ns(quota->supply.begun_ns, quota->supply.last_ns)) >
		    2 * quota_noise(adaptive) &&
	    slope > draws_per_s(&adaptive->draws, 2 * SECOND_NS) / 4)
		refills(quota);
}

/* Whether what is left jumped up: by half of what was missing at least. */
static bool renewed(const struct adaptive *adaptive, const struct adaptive_observation *observation)
{
	const struct adaptive_quota *quota = &adaptive->quota;
	double drawn = draws_by(&adaptive->draws, sent_ns(observation));
	double expected = trend_at(&quota->supply, sent_ns(observation)) - drawn;
	double gained = observation->remaining - expected;

	return gained > quota_noise(adaptive) && gained >= (quota->limit - expected) / 2;
}

static void window_compare(struct adaptive *adaptive,
			   const struct adaptive_observation *observation, double supply)
{
	struct adaptive_quota *quota = &adaptive->quota;
	struct end end = end_of(observation);
	bool limit_moved =
		says(observation, ADAPTIVE_SAYS_LIMIT) && observation->limit != quota->limit;
	bool overtaken = sent_ns(observation) < quota->sent_ns;
	bool moved = !overtaken && end.said && quota->end_to_ns &&
		     (end.from_ns > quota->end_to_ns || end.to_ns < quota->end_from_ns);

	if (end.said && end.to_ns < quota->end_from_ns && sent_ns(observation) < quota->begun_ns)
		return; /* of a window before this one, and late */
	end_advances(quota, observation, &end);
	if (limit_moved) {
		if (!moved) {
			end_learn(quota, &end);
			trend_begin(&quota->supply, sent_ns(observation), supply);
			return;
		}
		window_begin(adaptive, observation, &end, supply);
		return;
	}
	if (!overtaken && renewed(adaptive, observation)) {
		if (!end.said)
			end = end_guessed(quota, observation);
		window_renewed(adaptive, observation, &end, supply);
	} else if (moved) {
		if (end.to_ns < quota->end_from_ns)
			time_strike(
				adaptive); /* nothing that is renewed comes earlier than it said */
		else
			refills(quota);
		if (!quota_is_timeless(adaptive))
			end_set(quota, end.from_ns, end.to_ns);
		window_goes_on(adaptive, observation, &(struct end){0}, supply);
	} else {
		window_goes_on(adaptive, observation, &end, supply);
	}
}

/* Nothing is left after the end that was named: it ends later than it says. */
static void quota_overruns(struct adaptive_quota *quota,
			   const struct adaptive_observation *observation)
{
	uint64_t over_ns = span_ns(quota->end_to_ns, observation->response_ns);
	uint64_t most_ns = quota->window_ns ? quota->window_ns / 4 : 5 * SECOND_NS;

	if (quota->end_to_ns && over_ns)
		quota->late_ns = later_ns(quota->late_ns, earlier_ns(over_ns * 2, most_ns));
}

/*
 * Whether the number left has stood still although it had to follow what was drawn. While a quota
 * refills as fast as it is drawn from it stands still as well, but not at another speed.
 */
static bool stands_still(const struct adaptive *adaptive)
{
	const struct adaptive_quota *quota = &adaptive->quota;
	double drawn = draws_by(&adaptive->draws, adaptive->now_ns) - quota->same_drawn;
	double speed = adaptive->last.rate_per_s;
	bool full = quota->remaining >= quota->limit - 1;
	bool faster = speed > SPEED_CHANGED * quota->same_per_s;
	bool slower = speed * SPEED_CHANGED < quota->same_per_s;

	if (quota_is_refilling(quota) && !full && !faster && !slower)
		return false;
	if (quota->remaining < 1)
		return quota->same > FROZEN_AT_ZERO;
	return quota->same > FROZEN_DRAWN && drawn > FROZEN_DRAWN;
}

/* What its own words and its own deeds say is compared. */
static void quota_contradicts(struct adaptive *adaptive,
			      const struct adaptive_observation *observation)
{
	struct adaptive_quota *quota = &adaptive->quota;

	if (observation->outcome == ADAPTIVE_LIMITED && observation->remaining >= 1)
		strike(adaptive);
	if (sent_ns(observation) < quota->sent_ns)
		return;
	if (observation->remaining != quota->remaining || quota->same == 0) {
		quota->same = 0;
		quota->frozen = false;
		quota->same_drawn = draws_by(&adaptive->draws, adaptive->now_ns);
		quota->same_per_s = adaptive->last.rate_per_s;
	}
	if (observation->outcome == ADAPTIVE_PASSED)
		quota->same++;
	else if (!quota->frozen)
		quota->same = 1; /* nothing is left, and so it is */
	quota->frozen |= stands_still(adaptive);
}

static void quota_learn(struct adaptive_quota *quota, const struct adaptive_settings *settings,
			const struct adaptive_observation *observation)
{
	if (says(observation, ADAPTIVE_SAYS_LIMIT))
		quota->limit = observation->limit;
	else
		quota->limit = most_of(quota->limit, observation->remaining);
	if (says(observation, ADAPTIVE_SAYS_WINDOW))
		quota->window_ns = observation->window_ns;
	else if (settings->window_ns)
		quota->window_ns = settings->window_ns;
	else if (says(observation, ADAPTIVE_SAYS_RESET))
		quota->window_ns = later_ns(quota->window_ns, observation->reset_ns);
	if (sent_ns(observation) < quota->sent_ns)
		return;
	quota->remaining = observation->remaining;
	quota->was_left |= observation->remaining >= 1;
	quota->from_ns = observation->response_ns;
	quota->sent_ns = sent_ns(observation);
}

/*
 * While a quota refills, the time that is named may be when all of it is back, or when the first of
 * it is. If all of what is missing came back by then, would it be as fast as it is drawn?
 */
static void quota_learn_reset(struct adaptive *adaptive,
			      const struct adaptive_observation *observation)
{
	struct adaptive_quota *quota = &adaptive->quota;
	double own = draws_per_s(&adaptive->draws, 2 * SECOND_NS);
	double missing = quota->limit - observation->remaining;

	if (!says(observation, ADAPTIVE_SAYS_RESET) || missing < quota->limit / 2)
		return;
	if (missing > FIRST_FASTER * (own + 1) * seconds_of(observation->reset_ns))
		quota->names_first += quota->names_first < FIRST_MOST;
	else if (trend_slope(&quota->supply) * seconds_of(quota->window_ns) > quota->limit / 8)
		quota->names_first -= quota->names_first > 0;
}

/* So long ago that nothing follows from it for what is said now. */
static bool is_stale(const struct adaptive *adaptive)
{
	const struct adaptive_quota *quota = &adaptive->quota;
	uint64_t known_ns = later_ns(quota->end_to_ns, quota->from_ns);

	return span_ns(known_ns, adaptive->now_ns) > later_ns(quota->window_ns, HORIZON_NS);
}

static void disregard_time(const struct adaptive *adaptive,
			   struct adaptive_observation *observation)
{
	if (quota_is_timeless(adaptive))
		observation->says &= ~(unsigned)(ADAPTIVE_SAYS_RESET | ADAPTIVE_SAYS_WINDOW);
}

void quota_observe(struct adaptive *adaptive, const struct adaptive_settings *settings,
		   struct adaptive_observation *observation)
{
	struct adaptive_quota *quota = &adaptive->quota;
	double drawn = draws_by(&adaptive->draws, sent_ns(observation));
	double supply = observation->remaining + drawn;
	bool spent = observation->outcome == ADAPTIVE_LIMITED && observation->remaining < 1;

	disregard_time(adaptive, observation);
	if (!quota->known || is_stale(adaptive)) {
		struct end end = end_of(observation);

		*quota = (struct adaptive_quota){
			.known = true,
			.remaining = -1,
			.late_ns = quota->late_ns,
			.refilling = quota->refilling,
			.strikes = quota->strikes,
			.distrusted = quota->distrusted,
			.distrust_ns = quota->distrust_ns,
			.time_strikes = quota->time_strikes,
			.timeless_ns = quota->timeless_ns,
		};
		quota_learn(quota, settings, observation);
		window_begin(adaptive, observation, &end, supply);
	} else if (spent && span_ns(quota->end_to_ns, sent_ns(observation))) {
		quota_overruns(quota, observation);
	} else {
		window_compare(adaptive, observation, supply);
	}
	disregard_time(adaptive, observation);
	quota_contradicts(adaptive, observation);
	quota->last_supply = supply;
	quota->surprises -= quota->surprises / SURPRISES_FADE;
	quota_learn_reset(adaptive, observation);
	quota->refused = spent || (quota->refused && observation->remaining < 1);
	quota_learn(quota, settings, observation);
}

bool quota_is_timeless(const struct adaptive *adaptive)
{
	return adaptive->now_ns < adaptive->quota.timeless_ns;
}

double quota_noise(const struct adaptive *adaptive)
{
	double rate = adaptive->last.rate_per_s;

	rate = least_of(rate, 2 * draws_per_s(&adaptive->draws, SECOND_NS) + 1);
	return 2 + 4 * rate * seconds_of(adaptive->jitter_ns);
}

bool quota_is_refilling(const struct adaptive_quota *quota)
{
	return quota->refilling >= REFILLING_FROM || quota->end_to_ns == 0;
}
