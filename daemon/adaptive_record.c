/* SPDX-License-Identifier: Apache-2.0
 *
 * adaptive_record.c - the record of draws, and a line through samples.
 */
#include "adaptive_parts.h"

/* ---- draws ---- */

static const struct adaptive_draw *draw_back(const struct adaptive_draws *draws, unsigned steps)
{
	return &draws->at[(draws->newest + ADAPTIVE_DRAWS - steps) % ADAPTIVE_DRAWS];
}

void draws_add(struct adaptive_draws *draws, uint64_t now_ns, double drawn, uint64_t spacing_ns)
{
	const struct adaptive_draw next = {now_ns, drawn};

	if (draws->count == 0) {
		draws->at[draws->newest] = next;
		draws->count = 1;
		return;
	}
	if (draws->count < 2 ||
	    draw_back(draws, 0)->at_ns >= draw_back(draws, 1)->at_ns + spacing_ns) {
		draws->newest = (draws->newest + 1) % ADAPTIVE_DRAWS;
		if (draws->count < ADAPTIVE_DRAWS)
			draws->count++;
	}
	draws->at[draws->newest] = next;
}

double draws_by(const struct adaptive_draws *draws, uint64_t at_ns)
{
	const struct adaptive_draw *after = draw_back(draws, 0);

	if (draws->count == 0)
		return 0;
	if (at_ns >= after->at_ns)
		return after->drawn;
	for (unsigned back = 1; back < draws->count; back++) {
		const struct adaptive_draw *before = draw_back(draws, back);

		if (before->at_ns <= at_ns) {
			double part = (double)(at_ns - before->at_ns) /
				      (double)(after->at_ns - before->at_ns);

			return before->drawn + part * (after->drawn - before->drawn);
		}
		after = before;
	}
	return after->drawn;
}

uint64_t draws_span_ns(const struct adaptive_draws *draws)
{
	return draws->count ? draw_back(draws, 0)->at_ns - draw_back(draws, draws->count - 1)->at_ns
			    : 0;
}

double draws_per_s(const struct adaptive_draws *draws, uint64_t span)
{
	const struct adaptive_draw *newest = draw_back(draws, 0);
	const struct adaptive_draw *oldest = draw_back(draws, draws->count ? draws->count - 1 : 0);
	uint64_t from_ns = later_ns(oldest->at_ns, newest->at_ns > span ? newest->at_ns - span : 0);

	if (newest->at_ns <= from_ns)
		return 0;
	return (newest->drawn - draws_by(draws, from_ns)) / seconds_of(newest->at_ns - from_ns);
}

/* ---- trend ---- */

void trend_begin(struct adaptive_trend *trend, uint64_t at_ns, double value)
{
	*trend = (struct adaptive_trend){
		.begun_ns = at_ns,
		.last_ns = at_ns,
		.first = value,
		.weight = 1,
		.samples = 1,
	};
}

void trend_add(struct adaptive_trend *trend, uint64_t at_ns, double value, double fade_s)
{
	double keep = fade_s / (fade_s + seconds_of(span_ns(trend->last_ns, at_ns)));
	double t = at_ns >= trend->begun_ns ? seconds_of(at_ns - trend->begun_ns)
					    : -seconds_of(trend->begun_ns - at_ns);
	double v = value - trend->first;

	trend->weight = trend->weight * keep + 1;
	trend->t = trend->t * keep + t;
	trend->v = trend->v * keep + v;
	trend->tt = trend->tt * keep + t * t;
	trend->tv = trend->tv * keep + t * v;
	trend->last_ns = later_ns(trend->last_ns, at_ns);
	trend->samples++;
}

double trend_slope(const struct adaptive_trend *trend)
{
	double spread = trend->tt * trend->weight - trend->t * trend->t;

	/* a hundredth of a second is no span to tell a speed from */
	if (trend->samples < 3 || spread < 1e-4 * trend->weight * trend->weight)
		return 0;
	return (trend->tv * trend->weight - trend->t * trend->v) / spread;
}

double trend_at(const struct adaptive_trend *trend, uint64_t at_ns)
{
	double t = seconds_of(span_ns(trend->begun_ns, at_ns));
	double mean_t = trend->t / trend->weight;
	double mean_v = trend->v / trend->weight;

	return trend->first + mean_v + trend_slope(trend) * (t - mean_t);
}
