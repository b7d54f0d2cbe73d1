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

#define REFILLING_FROM 3 /* pieces of evidence */
#define REFILLING_MOST 8
#define FIRST_FASTER 4
#define FIRST_FROM 8 /* responses */
#define FIRST_MOST 64
#define STRIKES_MOST 2	 /* contradictions that are forgiven */
#define FROZEN_DRAWN 32	 /* tokens drawn while the number left stays the same */
#define FROZEN_AT_ZERO 3 /* requests that pass although nothing is left */
#define LEAP_PART 8	 /* of the limit: nobody draws that much from one response to the next */
#define SURPRISES_MOST 3.0
#define SURPRISES_FADE 64.0 /* responses */
#define DISTRUST_NS (300 * SECOND_NS)
#define DISTRUSTED_MOST 6 /* times that it lasts twice as long */
#define SPEND_PART 20	  /* of a window, in which what is above the reserve is spent */
#define RESERVE 3.0	  /* requests, and as many of those under way */
#define SPEED_CHANGED 1.5
#define TELLING_SAMPLES 8 /* so many tell a slope */
#define EARLY_PART 10	  /* of a window: renewed before its end by that much is a contradiction */
#define HORIZON_NS (10 * SECOND_NS)	      /* where no window is known */
#define TIMELESS_HORIZON_NS (200 * SECOND_NS) /* where none that is named is believed */
#define WIDE_PART 32			      /* of the limit, the reserve in a bucket */
#define ASK_S 0.2			      /* between requests that find out, at least */

/* ---- taking in ---- */

/* Whether the times that it names have been contradicted, so that it counts as naming none. */
static bool is_timeless(const struct adaptive *adaptive)
{
	return adaptive->now_ns < adaptive->quota.timeless_ns;
}

/* A time in whole seconds may have been rounded either way. */
static uint64_t grain_ns(uint64_t ns)
{
	return ns % SECOND_NS == 0 ? SECOND_NS : MILLISECOND_NS;
}

/* What supply may be off by, through requests that overtake each other. */
static double noise(const struct adaptive *adaptive)
{
	double rate = adaptive->last.rate_per_s;

	rate = least_of(rate, 2 * draws_per_s(&adaptive->draws, SECOND_NS) + 1);
	return 2 + 4 * rate * seconds_of(adaptive->jitter_ns);
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
	if (fabs(supply - quota->last_supply) > most_of(noise(adaptive), quota->limit / LEAP_PART))
		surprise(adaptive);
	if (quota->supply.samples >= TELLING_SAMPLES && fabs(supply - fitted) > noise(adaptive)) {
		trend_begin(&quota->supply, sent_ns(observation), supply);
		return;
	}
	trend_add(&quota->supply, sent_ns(observation), supply, fade_s(adaptive));
	slope = trend_slope(&quota->supply);
	if (quota->supply.samples >= TELLING_SAMPLES &&
	    slope * seconds_of(span_ns(quota->supply.begun_ns, quota->supply.last_ns)) >
		    2 * noise(adaptive) &&
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

	return gained > noise(adaptive) && gained >= (quota->limit - expected) / 2;
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
		if (!is_timeless(adaptive))
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

static bool is_refilling(const struct adaptive_quota *quota)
{
	return quota->refilling >= REFILLING_FROM || quota->end_to_ns == 0;
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

	if (is_refilling(quota) && !full && !faster && !slower)
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
	if (is_timeless(adaptive))
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

/* ---- deciding ---- */

bool quota_trusted(const struct adaptive *adaptive)
{
	return adaptive->now_ns >= adaptive->quota.distrust_ns && !adaptive->quota.frozen;
}

bool quota_explains(const struct adaptive *adaptive, const struct adaptive_observation *observation)
{
	return says(observation, ADAPTIVE_SAYS_REMAINING) && observation->remaining < 1 &&
	       (observation->says & (ADAPTIVE_SAYS_RESET | ADAPTIVE_SAYS_RETRY)) &&
	       quota_trusted(adaptive);
}

static uint64_t quota_expires(const struct adaptive_quota *quota)
{
	if (is_refilling(quota))
		return quota->from_ns + later_ns(quota->window_ns, HORIZON_NS);
	return quota->end_to_ns + quota->late_ns;
}

static double quota_left(const struct adaptive *adaptive)
{
	const struct adaptive_quota *quota = &adaptive->quota;
	uint64_t newest_ns = later_ns(quota->supply.last_ns, quota->sent_ns);
	/* what was renewed since, but not for long without a word */
	uint64_t until_ns = earlier_ns(adaptive->now_ns, newest_ns + 2 * adaptive->latency_ns);
	double slope = most_of(trend_slope(&quota->supply), 0);
	double drawn = draws_by(&adaptive->draws, adaptive->now_ns);
	double since = drawn - draws_by(&adaptive->draws, quota->sent_ns);
	double said =
		quota->remaining - since + slope * seconds_of(span_ns(quota->sent_ns, until_ns));
	double left = trend_at(&quota->supply, until_ns) - drawn;

	/* the newest response's own word bounds it, but for what overtakes */
	left = least_of(left, said + noise(adaptive) / 4);
	return most_of(least_of(left, quota->limit), 0);
}

/* How much of the speed is to be ours: others who draw on the same quota take their part. */
static double share(const struct adaptive *adaptive, double pace, bool *shared)
{
	const struct adaptive_quota *quota = &adaptive->quota;
	double others = -trend_slope(&quota->supply);
	double own = adaptive->last.rate_per_s;

	if (quota->supply.samples < TELLING_SAMPLES || others < pace / 20 ||
	    others * seconds_of(span_ns(quota->supply.begun_ns, quota->supply.last_ns)) <
		    noise(adaptive))
		return 1;
	*shared = true;
	if (!isfinite(own))
		own = draws_per_s(&adaptive->draws, SECOND_NS) + 1;
	return own / (own + others);
}

/*
 * How long before the end the last of the quota is spent without reserve: what is left at the end
 * is lost, and the end is not known any better.
 */
static uint64_t final_ns(const struct adaptive *adaptive)
{
	const struct adaptive_quota *quota = &adaptive->quota;
	uint64_t unsure_ns = span_ns(quota->end_from_ns, quota->end_to_ns);

	return later_ns(later_ns(quota->window_ns / 32, 4 * adaptive->latency_ns),
			2 * later_ns(unsure_ns, MILLISECOND_NS));
}

/* The ceiling needs no safety: where it is slower than the pace, it is what limits. */
static double with_safety(const struct adaptive_settings *settings, double pace)
{
	double safe = settings->safety * pace;
	double ceiling = settings->rate_per_s;
	double from = settings->safety * ceiling;

	if (pace <= from || !isfinite(ceiling))
		return safe;
	if (pace >= ceiling)
		return ceiling;
	return safe + (pace - safe) * (pace - from) / (ceiling - from);
}

static void decide_window(struct adaptive *adaptive, const struct adaptive_settings *settings,
			  struct adaptive_decision *out)
{
	const struct adaptive_quota *quota = &adaptive->quota;
	uint64_t now_ns = adaptive->now_ns;
	uint64_t from_ns = quota->end_from_ns + quota->late_ns;
	uint64_t to_ns = quota->end_to_ns + quota->late_ns;
	uint64_t final = final_ns(adaptive);
	double left = quota_left(adaptive);
	bool shared = false;
	double pace;

	if (left < 1) {
		out->cause = ADAPTIVE_CAUSE_SPENT;
		out->rate_per_s = 0;
		/* far from the end one request in a while finds out whether it is true, and so
		 * it does where nothing else was ever said */
		if (quota->refused || (quota->was_left && now_ns + 2 * final >= from_ns))
			out->closed_until_ns = to_ns;
		return;
	}
	if (now_ns + final < from_ns) {
		pace = left / seconds_of(from_ns / 2 + to_ns / 2 - now_ns);
		out->rate_per_s = with_safety(settings, pace * share(adaptive, pace, &shared));
	} else {
		pace = left / seconds_of(later_ns(span_ns(now_ns, from_ns), final / 8));
		out->rate_per_s = pace * share(adaptive, pace, &shared);
	}
	out->cause = shared ? ADAPTIVE_CAUSE_SHARED : ADAPTIVE_CAUSE_QUOTA;
}

static uint64_t end_middle_ns(const struct adaptive_quota *quota)
{
	return quota->end_from_ns / 2 + quota->end_to_ns / 2;
}

/* Nothing comes back before the time that was named: requests until then would be refused. */
static bool awaits_first(const struct adaptive *adaptive)
{
	const struct adaptive_quota *quota = &adaptive->quota;

	return quota->names_first >= FIRST_FROM && end_middle_ns(quota) > adaptive->now_ns;
}

/* As of the newest response, so long was nothing to come back. */
static double awaited_s(const struct adaptive_quota *quota)
{
	return seconds_of(span_ns(quota->sent_ns, end_middle_ns(quota)));
}

/* That time is over, and nobody has asked since: the first is back, and more with it. */
static bool first_is_due(const struct adaptive *adaptive)
{
	const struct adaptive_quota *quota = &adaptive->quota;
	uint64_t quiet_ns = 4 * (adaptive->latency_ns + adaptive->jitter_ns);

	return quota->end_to_ns && end_middle_ns(quota) <= adaptive->now_ns &&
	       quota->sent_ns < quota->end_from_ns && draws_per_s(&adaptive->draws, quiet_ns) <= 0;
}

/* To begin with, what has passed of late. */
static double refill_basis(const struct adaptive *adaptive, double own)
{
	const struct adaptive_guess *guess = &adaptive->guess;
	double past_s = seconds_of(span_ns(guess->passed_from_ns, adaptive->now_ns));

	return least_of(adaptive->last.rate_per_s, past_s > 5 ? guess->passed / past_s : own + 1);
}

/* Seconds in which what is above the reserve is spent. */
static double refill_spend_s(const struct adaptive *adaptive, double window_s)
{
	return most_of(most_of(window_s / SPEND_PART, 4 * seconds_of(adaptive->latency_ns)), 1);
}

/*
 * What is kept: a few requests, and what may be under way. Of a bucket what is kept is not lost, so
 * there it is more; of a sliding window it is.
 */
static double refill_reserve(const struct adaptive *adaptive, double basis)
{
	const struct adaptive_quota *quota = &adaptive->quota;
	double unsure = basis * seconds_of(adaptive->jitter_ns + adaptive->latency_ns);
	bool slides = quota->names_first >= FIRST_FROM || is_timeless(adaptive);

	return least_of(most_of(RESERVE + unsure, slides ? 0 : quota->limit / WIDE_PART),
			quota->limit / 4);
}

/*
 * Within the reserve the speed falls with what is left, to 0. Where the first that comes back was
 * long in coming, that says nothing of the speed that holds when it does. And where it is due there
 * would be no word of it, were nobody to ask.
 */
static double refill_careful(const struct adaptive *adaptive, double *basis, double left_part,
			     double past_s, double spend_s)
{
	double latency_s = seconds_of(adaptive->latency_ns);
	double asks = first_is_due(adaptive) ? 1 / most_of(ASK_S, 4 * latency_s) : 0;
	double rate = *basis * left_part;

	if (awaited_s(&adaptive->quota) > spend_s &&
	    (awaits_first(adaptive) || first_is_due(adaptive)))
		return most_of(*basis, asks);
	if (asks <= 0)
		*basis += (rate - *basis) * past_s / most_of(4, 32 * latency_s);
	return most_of(rate, asks);
}

/*
 * As fast as it comes back. The speed is a basis, and what is above a small reserve within a part
 * of a window. So what is left settles at the reserve, and the basis, which follows slowly, at what
 * comes back; no estimate of that is needed, and several hosts, each of which sees the others' part
 * as its own, do not add up.
 */
static void decide_refill(struct adaptive *adaptive, struct adaptive_decision *out)
{
	struct adaptive_quota *quota = &adaptive->quota;
	uint64_t horizon_ns = is_timeless(adaptive) ? TIMELESS_HORIZON_NS : HORIZON_NS;
	double window_s = seconds_of(quota->window_ns ? quota->window_ns : horizon_ns);
	double spend_s = refill_spend_s(adaptive, window_s);
	double own = draws_per_s(&adaptive->draws, 2 * SECOND_NS);
	double past_s = least_of(seconds_of(span_ns(quota->refill_at_ns, adaptive->now_ns)), 1);
	double basis = quota->refill_at_ns ? quota->refill_per_s : refill_basis(adaptive, own);
	double reserve = refill_reserve(adaptive, basis);
	double left = quota_left(adaptive);

	out->cause = ADAPTIVE_CAUSE_REFILL;
	if (left < 1 && awaits_first(adaptive))
		out->closed_until_ns = end_middle_ns(quota);
	if (left < reserve) {
		out->rate_per_s = refill_careful(adaptive, &basis, left / reserve, past_s, spend_s);
	} else {
		out->rate_per_s = basis + (left - reserve) / spend_s;
		basis = least_of(basis + (left - reserve) / spend_s * past_s / window_s,
				 most_of(basis, 1.1 * own));
	}
	quota->refill_per_s = basis;
	quota->refill_at_ns = adaptive->now_ns;
}

/* Without a time what is left tells no speed, but where it is to end. */
static bool is_untimed(const struct adaptive *adaptive)
{
	const struct adaptive_quota *quota = &adaptive->quota;

	return quota->end_to_ns == 0 && quota->window_ns == 0 && !is_timeless(adaptive);
}

double quota_brake(const struct adaptive *adaptive)
{
	const struct adaptive_quota *quota = &adaptive->quota;
	double reserve = least_of(RESERVE, quota->limit / 4);
	double left;

	if (!quota->known || !is_untimed(adaptive) || !quota_trusted(adaptive) ||
	    span_ns(quota->from_ns, adaptive->now_ns) > HORIZON_NS)
		return 1;
	left = quota->remaining;
	return left < reserve ? left / reserve : 1;
}

/*
 * The number that is left is made up, and yet the time until all is back may be true: it moves
 * ahead as a bucket's does that is drawn from. Where the limit, spread over that time, is as slow
 * as the speed, most of the bucket has been drawn; it never becomes empty at a speed below that.
 */
double quota_ceiling(const struct adaptive *adaptive, const struct adaptive_settings *settings)
{
	const struct adaptive_quota *quota = &adaptive->quota;
	uint64_t back_ns = span_ns(adaptive->now_ns, quota->end_to_ns);

	if (!quota->known || quota_trusted(adaptive) || quota->advancing < REFILLING_FROM ||
	    back_ns == 0)
		return INFINITY;
	return settings->safety * quota->limit / seconds_of(back_ns);
}

static void say_quota(const struct adaptive *adaptive, struct adaptive_decision *out)
{
	const struct adaptive_quota *quota = &adaptive->quota;

	out->limit = quota->limit;
	out->remaining = quota->remaining;
	out->reset_at_ns = quota->end_to_ns ? quota->end_from_ns / 2 + quota->end_to_ns / 2 : 0;
	out->from_ns = quota->from_ns;
}

bool quota_decide(struct adaptive *adaptive, const struct adaptive_settings *settings,
		  struct adaptive_decision *out)
{
	struct adaptive_quota *quota = &adaptive->quota;
	uint64_t now_ns = adaptive->now_ns;
	uint64_t expires_ns = quota_expires(quota);

	if (!quota->known || is_untimed(adaptive))
		return false;
	out->distrusts = !quota_trusted(adaptive);
	if (out->distrusts || now_ns >= expires_ns)
		return false;
	say_quota(adaptive, out);
	out->expires_ns = expires_ns;
	out->next_ns = now_ns + later_ns(span_ns(now_ns, expires_ns) / 32, 20 * MILLISECOND_NS);
	out->next_ns = earlier_ns(out->next_ns, now_ns + SECOND_NS / 4);
	if (is_refilling(quota))
		decide_refill(adaptive, out);
	else
		decide_window(adaptive, settings, out);
	out->level_most = quota_left(adaptive);
	out->burst = least_of(settings->burst, most_of(quota->limit, 1));
	return true;
}
