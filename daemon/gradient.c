/* SPDX-License-Identifier: Apache-2.0 */
#include "gradient.h"

#include <math.h>

/* Never by more than half at once: one window's latency may be an accident. */
#define LEAST_FACTOR 0.5
#define FAILING_FACTOR 0.8
#define FAILURES_BORNE (GRADIENT_FAILURES / 100.0)
#define PROBE_FACTOR 0.5
/* A probe that finds calls so much faster than was thought is soon repeated, further down. */
#define PROBE_AGAIN_FACTOR 0.8
#define PROBE_SOON 2
#define PROBE_FALLEN_FACTOR 0.6
#define LOW_FACTOR 0.8

static double within(const struct gradient *gradient, double limit)
{
	if (limit < gradient->settings.min)
		return gradient->settings.min;
	return limit > gradient->settings.max ? gradient->settings.max : limit;
}

static uint32_t whole(const struct gradient *gradient)
{
	return (uint32_t)lround(gradient->limit);
}

static void clear_window(struct gradient *gradient)
{
	gradient->calls = gradient->failed = 0;
	gradient->most = 0;
	gradient->sum_ns = 0;
}

static void set_bounds(struct gradient *gradient, const struct gradient_settings *settings)
{
	gradient->settings = *settings;
	if (gradient->settings.min == 0)
		gradient->settings.min = 1;
	if (gradient->settings.max < gradient->settings.min)
		gradient->settings.max = gradient->settings.min;
}

void gradient_begin(struct gradient *gradient, const struct gradient_settings *settings,
		    uint32_t limit, double base_ns)
{
	*gradient = (struct gradient){.until_probe = PROBE_SOON, .base_ns = base_ns};
	set_bounds(gradient, settings);
	gradient->limit = within(gradient, limit);
}

/* Ends a probe: the base is what calls took, and the limit is what it was. */
static enum found_cause end_probe(struct gradient *gradient, double mean_ns)
{
	gradient->until_probe =
		mean_ns < gradient->base_ns * PROBE_AGAIN_FACTOR ? PROBE_SOON : GRADIENT_PROBE;
	if (mean_ns > 0)
		gradient->base_ns = mean_ns;
	gradient->limit = gradient->before_probe;
	gradient->before_probe = 0;
	gradient->low_ns = 0;
	return FOUND_PROBED;
}

/* The share of the window's calls that failed. */
static double failing(const struct gradient *gradient)
{
	return (double)gradient->failed / (double)gradient->calls;
}

/*
 * What the window's latency says: up by half the root of the limit, down by the gradient. The more
 * calls fail of those that may, the slower up: where nothing queues, they alone say how near the
 * end is.
 */
static enum found_cause follow_latency(struct gradient *gradient, double mean_ns)
{
	double factor = gradient->base_ns * (100 + GRADIENT_TOLERANCE) / 100 / mean_ns;
	double allowance = sqrt(gradient->limit) / 2 * (1 - failing(gradient) / FAILURES_BORNE);
	double wanted;

	if (factor > 1)
		factor = 1;
	if (factor < LEAST_FACTOR)
		factor = LEAST_FACTOR;
	wanted = gradient->limit * factor + allowance;
	if (wanted > gradient->limit && gradient->most * 2.0 < gradient->limit)
		return FOUND_NOTHING;
	if (wanted > gradient->limit) {
		gradient->limit = within(gradient, wanted);
		return FOUND_ROOM;
	}
	gradient->limit = within(gradient, wanted);
	return FOUND_QUEUE;
}

/* Calls that are faster than the base, twice in a row, are so without luck. */
static void lower_base(struct gradient *gradient, double mean_ns)
{
	double low_ns = gradient->low_ns;

	gradient->low_ns = 0;
	if (gradient->base_ns <= 0)
		gradient->base_ns = mean_ns;
	else if (mean_ns >= gradient->base_ns * LOW_FACTOR)
		return;
	else if (low_ns <= 0)
		gradient->low_ns = mean_ns;
	else
		gradient->base_ns = fmax(mean_ns, low_ns);
}

/*
 * Whether to see how long a call takes without a queue: after a while, and when the limit has
 * fallen a good deal, as it does where each call has become slower by itself. Then begins to.
 */
static bool begin_probe(struct gradient *gradient, double mean_ns)
{
	double low = within(gradient, gradient->limit * PROBE_FACTOR);

	if (gradient->most * 2.0 >= gradient->limit && gradient->until_probe > 0)
		gradient->until_probe--;
	if (gradient->until_probe > 0 && gradient->limit >= gradient->probed * PROBE_FALLEN_FACTOR)
		return false;
	gradient->until_probe = GRADIENT_PROBE;
	gradient->probed = gradient->limit;
	if (lround(low) == lround(gradient->limit)) {
		gradient->base_ns = mean_ns; /* there is nothing below: this is a call alone */
		return false;
	}
	gradient->before_probe = gradient->limit;
	gradient->limit = low;
	return true;
}

static enum found_cause end_window(struct gradient *gradient, double mean_ns)
{
	double too_many = failing(gradient) - FAILURES_BORNE;

	if (too_many > 0) {
		if (gradient->before_probe > 0)
			end_probe(gradient, 0);
		gradient->limit =
			within(gradient, gradient->limit * fmax(1 - too_many, FAILING_FACTOR));
		return FOUND_FAILING;
	}
	if (mean_ns <= 0)
		return FOUND_NOTHING;
	if (gradient->before_probe > 0)
		return end_probe(gradient, mean_ns);
	lower_base(gradient, mean_ns);
	if (begin_probe(gradient, mean_ns))
		return FOUND_PROBING;
	return follow_latency(gradient, mean_ns);
}

/* So many calls that each place has been used about twice. */
static uint64_t window_calls(const struct gradient *gradient)
{
	uint64_t twice = 2ull * whole(gradient);

	return twice > GRADIENT_WINDOW ? twice : GRADIENT_WINDOW;
}

bool gradient_take(struct gradient *gradient, const struct gradient_slice *slice,
		   struct gradient_decision *out)
{
	uint32_t before = whole(gradient);
	enum found_cause cause;
	double mean_ns = 0;

	gradient->calls += slice->calls > slice->failed ? slice->calls : slice->failed;
	gradient->failed += slice->failed;
	gradient->sum_ns += slice->sum_ns;
	if (slice->in_flight > gradient->most)
		gradient->most = slice->in_flight;
	if (gradient->calls < window_calls(gradient))
		return false;

	if (gradient->calls > gradient->failed)
		mean_ns = gradient->sum_ns / (double)(gradient->calls - gradient->failed);
	cause = end_window(gradient, mean_ns);
	clear_window(gradient);
	if (whole(gradient) == before)
		return false;
	*out = (struct gradient_decision){.limit = whole(gradient),
					  .cause = cause,
					  .latency_ns = mean_ns,
					  .base_ns = gradient->base_ns};
	return true;
}
