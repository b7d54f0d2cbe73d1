/* SPDX-License-Identifier: Apache-2.0
 *
 * adaptive.c - who has the say of quota, guess and configuration, and the bounds of all of them.
 */
#include "adaptive.h"

#include <math.h>
#include <string.h>

#include "adaptive_parts.h"

#define TOKENS_MOST 1e15
#define DRAWN_MOST 1e18
#define TIME_MOST_NS (366 * 86400 * SECOND_NS)
#define LATENCY_MOST_NS (3600 * SECOND_NS)
#define FLOOR_PART 100	 /* of the ceiling, where no floor is configured */
#define FLOOR_LEAST 1e-6 /* tokens per second */
#define MATTERS 0.02	 /* a change of speed by that part is worth publishing */

/* ---- what may be believed at all ---- */

static void unsay(struct adaptive_observation *observation, unsigned what)
{
	observation->says &= ~what;
}

static bool is_amount(double value)
{
	return isfinite(value) && value >= 0 && value <= TOKENS_MOST;
}

static struct adaptive_observation sane(const struct adaptive *adaptive,
					const struct adaptive_settings *settings,
					const struct adaptive_observation *observation)
{
	struct adaptive_observation sane = *observation;

	sane.response_ns = earlier_ns(sane.response_ns, adaptive->now_ns);
	sane.latency_ns =
		earlier_ns(earlier_ns(sane.latency_ns, sane.response_ns), LATENCY_MOST_NS);
	if (!is_amount(sane.limit) || sane.limit == 0)
		unsay(&sane, ADAPTIVE_SAYS_LIMIT);
	if (!is_amount(sane.remaining))
		unsay(&sane, ADAPTIVE_SAYS_REMAINING);
	if (sane.reset_ns > TIME_MOST_NS)
		unsay(&sane, ADAPTIVE_SAYS_RESET);
	if (sane.window_ns == 0 || sane.window_ns > TIME_MOST_NS)
		unsay(&sane, ADAPTIVE_SAYS_WINDOW);
	if (sane.retry_ns == 0)
		unsay(&sane, ADAPTIVE_SAYS_RETRY);
	if (says(&sane, ADAPTIVE_SAYS_LIMIT))
		sane.remaining = least_of(sane.remaining, sane.limit);
	sane.retry_ns = earlier_ns(earlier_ns(sane.retry_ns, settings->max_close_ns), TIME_MOST_NS);
	return sane;
}

/* Time and draws of a call; neither steps back. */
static void proceed(struct adaptive *adaptive, uint64_t now_ns, double drawn)
{
	double before = draws_by(&adaptive->draws, UINT64_MAX);

	adaptive->now_ns = later_ns(adaptive->now_ns, now_ns);
	if (!(drawn >= before && drawn <= DRAWN_MOST))
		drawn = before;
	draws_add(&adaptive->draws, adaptive->now_ns, drawn,
		  later_ns(MILLISECOND_NS, adaptive->latency_ns / 16));
}

static void time_latency(struct adaptive *adaptive, uint64_t latency_ns)
{
	uint64_t mean = adaptive->latency_ns;
	uint64_t off = latency_ns > mean ? latency_ns - mean : mean - latency_ns;

	if (mean == 0) {
		adaptive->latency_ns = latency_ns;
		return;
	}
	adaptive->latency_ns = mean - mean / 8 + latency_ns / 8;
	adaptive->jitter_ns = adaptive->jitter_ns - adaptive->jitter_ns / 8 + off / 8;
}

/* ---- the decision ---- */

static double floor_of(const struct adaptive_settings *settings)
{
	double ceiling = settings->rate_per_s;
	double floor = settings->min_per_s;

	if (floor <= 0)
		floor = isfinite(ceiling) ? ceiling / FLOOR_PART : 0;
	return least_of(most_of(floor, FLOOR_LEAST), ceiling);
}

static struct adaptive_decision configured(const struct adaptive_settings *settings)
{
	return (struct adaptive_decision){
		.rate_per_s = settings->rate_per_s,
		.burst = settings->burst,
		.level_most = INFINITY,
		.expires_ns = UINT64_MAX,
		.next_ns = UINT64_MAX,
		.cause = settings->mode == ADAPTIVE_OFF ? ADAPTIVE_CAUSE_OFF
							: ADAPTIVE_CAUSE_CONFIGURED,
		.limit = -1,
		.remaining = -1,
	};
}

/* Whatever was learned, it is within what was configured. */
static void bound(const struct adaptive *adaptive, const struct adaptive_settings *settings,
		  struct adaptive_decision *out)
{
	uint64_t close_most_ns =
		adaptive->now_ns + earlier_ns(settings->max_close_ns, TIME_MOST_NS);

	if (isnan(out->rate_per_s))
		out->rate_per_s = 0;
	out->rate_per_s =
		least_of(most_of(out->rate_per_s, floor_of(settings)), settings->rate_per_s);
	out->closed_until_ns = earlier_ns(out->closed_until_ns, close_most_ns);
	if (out->closed_until_ns <= adaptive->now_ns)
		out->closed_until_ns = 0;
	if (out->closed_until_ns)
		out->next_ns = earlier_ns(out->next_ns, out->closed_until_ns);
}

static struct adaptive_decision decide(struct adaptive *adaptive,
				       const struct adaptive_settings *settings)
{
	struct adaptive_decision out = configured(settings);
	struct adaptive_decision guessed = out;
	bool by_quota =
		settings->mode == ADAPTIVE_HEADERS && quota_decide(adaptive, settings, &out);

	if (settings->mode == ADAPTIVE_OFF)
		return out;
	if (out.distrusts && !adaptive->last.distrusts && adaptive->quota.frozen &&
	    adaptive->quota.remaining >= 1)
		guess_begin(adaptive);
	guessed.from_ns = adaptive->newest_ns;
	if (guess_decide(adaptive, settings, &guessed)) {
		guessed.distrusts = out.distrusts;
		if (!by_quota)
			out = guessed;
		/* a quota names the speed, yet a refusal that it does not explain is a refusal */
		out.closed_until_ns = later_ns(out.closed_until_ns, guessed.closed_until_ns);
		out.next_ns = earlier_ns(out.next_ns, guessed.next_ns);
	}
	if (!by_quota && settings->mode == ADAPTIVE_HEADERS)
		out.rate_per_s = least_of(out.rate_per_s * quota_brake(adaptive),
					  quota_ceiling(adaptive, settings));
	bound(adaptive, settings, &out);
	return out;
}

/* What is not worth telling anybody is not told, and counts as not decided. */
static bool settle(struct adaptive *adaptive, const struct adaptive_settings *settings,
		   struct adaptive_decision *out)
{
	struct adaptive_decision *last = &adaptive->last;

	*out = decide(adaptive, settings);
	if (out->cause == last->cause && out->burst == last->burst &&
	    out->closed_until_ns <= last->closed_until_ns &&
	    fabs(out->rate_per_s - last->rate_per_s) < MATTERS * last->rate_per_s) {
		out->rate_per_s = last->rate_per_s;
		out->closed_until_ns =
			last->closed_until_ns > adaptive->now_ns ? last->closed_until_ns : 0;
		*last = *out;
		return false;
	}
	*last = *out;
	return true;
}

void adaptive_begin(struct adaptive *adaptive, const struct adaptive_settings *settings,
		    uint64_t now_ns, double drawn)
{
	memset(adaptive, 0, sizeof(*adaptive));
	adaptive->now_ns = now_ns;
	adaptive->guess.passed_from_ns = adaptive->guess.recent_from_ns = now_ns;
	adaptive->last = configured(settings);
	proceed(adaptive, now_ns, drawn);
}

bool adaptive_observe(struct adaptive *adaptive, const struct adaptive_settings *settings,
		      uint64_t now_ns, const struct adaptive_observation *observation,
		      struct adaptive_decision *out)
{
	struct adaptive_observation seen;

	proceed(adaptive, now_ns, observation->drawn);
	seen = sane(adaptive, settings, observation);
	time_latency(adaptive, seen.latency_ns);
	if (seen.response_ns >= adaptive->newest_ns && says(&seen, ADAPTIVE_SAYS_REMAINING))
		quota_observe(adaptive, settings, &seen);
	adaptive->newest_ns = later_ns(adaptive->newest_ns, seen.response_ns);
	if (seen.outcome == ADAPTIVE_PASSED || settings->mode == ADAPTIVE_AIMD ||
	    !quota_explains(adaptive, &seen))
		guess_observe(adaptive, settings, &seen);
	return settle(adaptive, settings, out);
}

bool adaptive_tick(struct adaptive *adaptive, const struct adaptive_settings *settings,
		   uint64_t now_ns, double drawn, struct adaptive_decision *out)
{
	proceed(adaptive, now_ns, drawn);
	return settle(adaptive, settings, out);
}

/* ---- for the shell ---- */

void adaptive_terms(const struct adaptive_decision *decision, const struct terms *from,
		    struct terms *out)
{
	double per_s = decision->rate_per_s;
	uint64_t period_ns = SECOND_NS;

	*out = *from;
	if (decision->burst * TERMS_MICRO < (double)from->burst_micro)
		out->burst_micro = (uint64_t)(decision->burst * TERMS_MICRO);
	out->initial_micro =
		out->initial_micro < out->burst_micro ? out->initial_micro : out->burst_micro;
	if (!isfinite(per_s) || from->rate_micro == 0 || from->window.length_ns)
		return;
	/* slow speeds keep six digits */
	while (per_s * seconds_of(period_ns) < 1 && period_ns < 1000000 * SECOND_NS)
		period_ns *= 10;
	if (from->rate_micro != TERMS_UNLIMITED &&
	    per_s * seconds_of(from->period_ns) * TERMS_MICRO >= (double)from->rate_micro)
		return;
	out->period_ns = period_ns;
	out->rate_micro = (uint64_t)(per_s * seconds_of(period_ns) * TERMS_MICRO);
	out->rate_micro += out->rate_micro == 0;
}

const char *adaptive_cause_text(enum adaptive_cause cause)
{
	switch (cause) {
	case ADAPTIVE_CAUSE_CONFIGURED:
		return "as configured";
	case ADAPTIVE_CAUSE_OFF:
		return "not adaptive";
	case ADAPTIVE_CAUSE_QUOTA:
		return "what is left, spread until it is renewed";
	case ADAPTIVE_CAUSE_SPENT:
		return "nothing is left until it is renewed";
	case ADAPTIVE_CAUSE_REFILL:
		return "as fast as the quota comes back";
	case ADAPTIVE_CAUSE_SHARED:
		return "what is left, less what others draw";
	case ADAPTIVE_CAUSE_REFUSED:
		return "slower after a refusal";
	case ADAPTIVE_CAUSE_RECOVERY:
		return "faster again since the last refusal";
	case ADAPTIVE_CAUSES:
		break;
	}
	return "unknown";
}
