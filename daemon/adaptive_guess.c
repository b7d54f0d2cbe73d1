/* SPDX-License-Identifier: Apache-2.0
 *
 * adaptive_guess.c - what refusals suggest, where the upstream says nothing of its quota.
 *
 * The first refusal closes for a moment; that others of the same moment are refused too is no news.
 * After the closure one request at a time finds out whether it is over; the closures grow. What
 * has passed from the end of one such episode to the end of the next, over the time between, is
 * what the upstream allows in the long run, be it by windows or by a bucket: with that speed it
 * goes on, which then grows by a cubic law and a steeper one: hardly at all for as long as it takes
 * to make up for the refusals, and faster when nothing has happened for long.
 */
#include "adaptive_parts.h"

#define PAUSE_FIRST_NS (250 * MILLISECOND_NS)
#define PAUSE_LONGEST_NS SECOND_NS
#define PAUSE_PART 32 /* of the time since things went well, a pause may be that part */
#define SMALL_DECREASE 0.9
#define DECREASE 0.7	   /* where what has passed does not tell */
#define ABOVE_GOODPUT 1.02 /* of it: so that the end of a window shows, at a refusal or a few */
#define DRAWS_ENOUGH_NS (SECOND_NS / 4)
#define PASSED_ENOUGH 20      /* requests that tell a speed */
#define CYCLE_ENOUGH 100      /* that tell it by themselves */
#define SHORT_CYCLES 3	      /* that are worth a small decrease only */
#define GREEDY 0.5	      /* of the speed was drawn: it was the speed that was too much */
#define GROWTH_REQUESTS 480.0 /* so many requests make one such span */
#define GROWTH_SHORTEST_S 5.0
#define GROWTH_LONGEST_S 600.0
#define FORGET_NS (60 * SECOND_NS)  /* what passed is counted anew, while nothing is refused */
#define ASKED_NS (10 * SECOND_NS)   /* after a closure; if it takes longer, nobody has asked */
#define SILENCE_NS (60 * SECOND_NS) /* likewise: if anybody asked, it was not refused */

/* Seconds that growth is measured in: so many that its price is a refusal among hundreds. */
static double growth_s(const struct adaptive *adaptive, double base)
{
	double at_once = 1 + base * seconds_of(adaptive->latency_ns);

	return least_of(most_of(GROWTH_REQUESTS * at_once / most_of(base, 1e-9), GROWTH_SHORTEST_S),
			GROWTH_LONGEST_S);
}

static double guess_speed(const struct adaptive *adaptive)
{
	const struct adaptive_guess *guess = &adaptive->guess;
	double base = guess->base_per_s;
	double grown =
		seconds_of(span_ns(guess->base_ns, adaptive->now_ns)) / growth_s(adaptive, base);
	double cube = grown * grown * grown;

	return base * (1 + cube);
}

static uint64_t pause_longest(const struct adaptive_guess *guess, uint64_t now_ns,
			      const struct adaptive_settings *settings)
{
	uint64_t part = span_ns(guess->recent_from_ns, now_ns) / PAUSE_PART;

	return earlier_ns(later_ns(part, PAUSE_LONGEST_NS), settings->max_close_ns);
}

/* Up to a quarter longer, so that several hosts do not come back together; never shorter. */
static uint64_t pause_spread(uint64_t pause_ns, uint64_t now_ns)
{
	return pause_ns + pause_ns / 4 / 256 * ((now_ns >> 12 ^ now_ns >> 20) & 255);
}

static void guess_close(struct adaptive *adaptive, const struct adaptive_settings *settings,
			const struct adaptive_observation *observation)
{
	struct adaptive_guess *guess = &adaptive->guess;
	uint64_t pause_ns;

	guess->pause_ns = guess->probing
				  ? earlier_ns(guess->pause_ns + PAUSE_FIRST_NS,
					       pause_longest(guess, adaptive->now_ns, settings))
				  : later_ns(PAUSE_FIRST_NS, adaptive->latency_ns);
	guess->retry_ns = says(observation, ADAPTIVE_SAYS_RETRY) ? observation->retry_ns : 0;
	pause_ns =
		guess->retry_ns ? guess->retry_ns : pause_spread(guess->pause_ns, adaptive->now_ns);
	guess->closed_ns = later_ns(guess->closed_ns, observation->response_ns + pause_ns);
	guess->episode_ns = later_ns(guess->closed_ns, adaptive->now_ns);
	guess->base_ns = guess->closed_ns;
}

/*
 * What was drawn a second. The first answers come together, and of the moment between two of them
 * nothing follows: then it is taken to have been the speed.
 */
static double drawn_lately(const struct adaptive *adaptive, double speed)
{
	return draws_span_ns(&adaptive->draws) < DRAWS_ENOUGH_NS
		       ? speed
		       : draws_per_s(&adaptive->draws, SECOND_NS);
}

/* Who tells of responses draws nothing here: that tells no speed. */
static bool nothing_is_drawn(const struct adaptive_draws *draws)
{
	uint64_t span_ns = draws_span_ns(draws);

	return span_ns >= DRAWS_ENOUGH_NS && draws_per_s(draws, span_ns) <= 0;
}

static void guess_refused(struct adaptive *adaptive, const struct adaptive_settings *settings,
			  const struct adaptive_observation *observation)
{
	struct adaptive_guess *guess = &adaptive->guess;
	double speed = adaptive->last.rate_per_s;

	if (guess->begun && sent_ns(observation) < guess->episode_ns) {
		/* of an episode that is known; but its upstream may have named a later time */
		if (says(observation, ADAPTIVE_SAYS_RETRY))
			guess->closed_ns = later_ns(
				guess->closed_ns, observation->response_ns + observation->retry_ns);
		return;
	}
	if (!guess->probing) {
		bool untold = nothing_is_drawn(&adaptive->draws);
		double drawn_per_s = drawn_lately(adaptive, speed);
		/* of a second that was closed for the most part, what was drawn tells nothing */
		bool fresh =
			guess->begun && span_ns(guess->base_ns, adaptive->now_ns) < 2 * SECOND_NS;

		guess->greedy = !untold && (fresh || drawn_per_s >= GREEDY * speed);
		guess->peak_per_s = fresh    ? most_of(speed, guess->base_per_s)
				    : untold ? speed
					     : least_of(speed, 2 * drawn_per_s + 1);
		guess->base_per_s = DECREASE * guess->peak_per_s;
	}
	guess->begun = true;
	guess_close(adaptive, settings, observation);
	guess->probing = true;
}

/*
 * The first that passes after an episode: what the speed was over the whole cycle, less the time in
 * which nobody asked. One that was short began or ended by chance, and is worth a small step down
 * at most.
 */
static void guess_recovers(struct adaptive *adaptive, uint64_t now_ns)
{
	struct adaptive_guess *guess = &adaptive->guess;
	/* a cycle that was begun anew at any moment tells less than with the one before it */
	uint64_t from_ns = guess->anew ? guess->passed_from_ns : guess->recent_from_ns;
	uint64_t end_ns = earlier_ns(now_ns, guess->closed_ns + ASKED_NS);
	double span_s = seconds_of(span_ns(from_ns, end_ns));
	double passed = guess->anew ? guess->passed : guess->recent;
	double least = guess->greedy ? 0 : guess->peak_per_s / 2;

	guess->probing = false;
	guess->base_ns = now_ns;
	guess->recent = 0;
	guess->recent_from_ns = now_ns;
	guess->anew = false;
	if (passed < PASSED_ENOUGH || span_s <= 0) {
		/* too short to tell: a few of these after one that told are chance */
		if (guess->short_left)
			guess->base_per_s = SMALL_DECREASE * guess->peak_per_s;
		guess->short_left -= guess->short_left > 0;
		return;
	}
	guess->short_left = SHORT_CYCLES;
	if (passed >= CYCLE_ENOUGH) {
		guess->passed = passed;
		guess->passed_from_ns = now_ns - (uint64_t)(span_s * 1e9);
	} else {
		least = SMALL_DECREASE * guess->peak_per_s;
	}
	guess->base_per_s =
		least_of(most_of(ABOVE_GOODPUT * passed / span_s, least), guess->peak_per_s);
}

static void guess_passed(struct adaptive *adaptive, const struct adaptive_observation *observation)
{
	struct adaptive_guess *guess = &adaptive->guess;

	if (guess->probing && sent_ns(observation) >= guess->closed_ns)
		guess_recovers(adaptive, observation->response_ns);
	if (!guess->begun && span_ns(guess->recent_from_ns, adaptive->now_ns) > FORGET_NS) {
		guess->passed = guess->recent;
		guess->passed_from_ns = guess->recent_from_ns;
		guess->recent = 0;
		guess->recent_from_ns = adaptive->now_ns;
		guess->anew = true;
	}
	guess->passed++;
	guess->recent++;
}

void guess_observe(struct adaptive *adaptive, const struct adaptive_settings *settings,
		   const struct adaptive_observation *observation)
{
	if (observation->outcome == ADAPTIVE_PASSED)
		guess_passed(adaptive, observation);
	else
		guess_refused(adaptive, settings, observation);
}

void guess_begin(struct adaptive *adaptive)
{
	struct adaptive_guess *guess = &adaptive->guess;

	if (guess->begun)
		return;
	guess->begun = true;
	guess->probing = false;
	guess->base_per_s = adaptive->last.rate_per_s;
	guess->base_ns = adaptive->now_ns;
}

bool guess_decide(struct adaptive *adaptive, const struct adaptive_settings *settings,
		  struct adaptive_decision *out)
{
	struct adaptive_guess *guess = &adaptive->guess;
	uint64_t now_ns = adaptive->now_ns;

	if (!guess->begun)
		return false;
	if (guess->probing && now_ns >= guess->closed_ns + SILENCE_NS)
		guess_recovers(adaptive, now_ns);
	out->rate_per_s = guess_speed(adaptive);
	out->cause = ADAPTIVE_CAUSE_RECOVERY;
	out->next_ns = now_ns + SECOND_NS / 4;
	if (guess->probing) {
		double latency_s = seconds_of(later_ns(adaptive->latency_ns, MILLISECOND_NS));

		out->cause = ADAPTIVE_CAUSE_REFUSED;
		out->rate_per_s = least_of(guess->base_per_s, 0.5 / latency_s);
	}
	if (guess->closed_ns > now_ns) {
		out->closed_until_ns = guess->closed_ns;
		out->next_ns = guess->closed_ns;
		if (guess->retry_ns)
			out->rate_per_s = settings->safety / seconds_of(guess->retry_ns);
	} else if (!guess->probing && out->rate_per_s >= settings->rate_per_s) {
		guess->begun = false;
	}
	return guess->begun;
}
