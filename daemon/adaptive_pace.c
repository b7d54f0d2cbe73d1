/* SPDX-License-Identifier: Apache-2.0
 *
 * adaptive_pace.c - the speed that follows from what is known of a quota.
 *
 * In windows, what is left is spread over what is left of the window, and a little of it is spent
 * late, when nothing can go wrong any more. What refills is drawn at the speed at which it does, a
 * reserve above empty.
 */
#include "adaptive_parts.h"

#include <math.h>

#define FIRST_FROM 8  /* responses */
#define SPEND_PART 20 /* of a window, in which what is above the reserve is spent */
#define RESERVE 3.0   /* requests, and as many of those under way */
#define TIMELESS_HORIZON_NS (200 * SECOND_NS) /* where none that is named is believed */
#define WIDE_PART 32			      /* of the limit, the reserve in a bucket */
#define ASK_S 0.2			      /* between requests that find out, at least */

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
	if (quota_is_refilling(quota))
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
	left = least_of(left, said + quota_noise(adaptive) / 4);
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
		    quota_noise(adaptive))
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
	bool slides = quota->names_first >= FIRST_FROM || quota_is_timeless(adaptive);

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
	uint64_t horizon_ns = quota_is_timeless(adaptive) ? TIMELESS_HORIZON_NS : HORIZON_NS;
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

	return quota->end_to_ns == 0 && quota->window_ns == 0 && !quota_is_timeless(adaptive);
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
	if (quota_is_refilling(quota))
		decide_refill(adaptive, out);
	else
		decide_window(adaptive, settings, out);
	out->level_most = quota_left(adaptive);
	out->burst = least_of(settings->burst, most_of(quota->limit, 1));
	return true;
}
