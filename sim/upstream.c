/* SPDX-License-Identifier: Apache-2.0
 *
 * upstream.c - four ways to limit, and what a server with each of them says.
 */
#include "sim.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RING 65536 /* acceptances of a sliding window */

static uint64_t window_ns(const struct sim_upstream *upstream)
{
	return (uint64_t)(upstream->scenario->window_s * 1e9);
}

static double rate(const struct sim_upstream *upstream)
{
	return upstream->limit / upstream->scenario->window_s;
}

void sim_upstream_begin(struct sim_upstream *upstream, const struct sim_scenario *scenario,
			uint64_t seed)
{
	*upstream = (struct sim_upstream){
		.scenario = scenario,
		.random = {seed},
		.limit = scenario->limit,
		.level = scenario->limit,
		.accepted = calloc(RING, sizeof(uint64_t)),
		.ring = RING,
	};
	if (!upstream->accepted) {
		perror("weir-sim");
		exit(1);
	}
	upstream->phase_ns = sim_random_bits(&upstream->random) % window_ns(upstream);
}

void sim_upstream_end(struct sim_upstream *upstream)
{
	free(upstream->accepted);
}

/* Whatever time alone changes. */
static void proceed(struct sim_upstream *upstream, uint64_t now_ns)
{
	uint64_t window = (now_ns + upstream->phase_ns) / window_ns(upstream);

	if (window != upstream->window) {
		upstream->window = window;
		upstream->spent = 0;
	}
	while (upstream->held &&
	       upstream->accepted[upstream->oldest] + window_ns(upstream) <= now_ns) {
		upstream->oldest = (upstream->oldest + 1) % upstream->ring;
		upstream->held--;
	}
	upstream->level = fmin(
		upstream->limit,
		upstream->level + rate(upstream) * (double)(now_ns - upstream->level_ns) / 1e9);
	upstream->level_ns = now_ns;
}

void sim_upstream_limit(struct sim_upstream *upstream, uint64_t now_ns, double limit)
{
	proceed(upstream, now_ns);
	upstream->limit = limit;
}

static double left(const struct sim_upstream *upstream)
{
	switch (upstream->scenario->kind) {
	case SIM_FIXED:
		return fmax(0, upstream->limit - upstream->spent);
	case SIM_SLIDING:
		return fmax(0, upstream->limit - (double)upstream->held);
	case SIM_BUCKET:
		return floor(upstream->level);
	case SIM_CONCURRENCY:
		break;
	}
	return fmax(0, upstream->limit - upstream->busy);
}

/* Seconds until all of a window is back, the oldest of it leaves, the bucket is full. */
static double reset_s(const struct sim_upstream *upstream, uint64_t now_ns)
{
	uint64_t window = window_ns(upstream);

	switch (upstream->scenario->kind) {
	case SIM_FIXED:
		return (double)(window - (now_ns + upstream->phase_ns) % window) / 1e9;
	case SIM_SLIDING:
		if (upstream->held == 0)
			return upstream->scenario->window_s;
		return (double)(upstream->accepted[upstream->oldest] + window - now_ns) / 1e9;
	case SIM_BUCKET:
		return (upstream->limit - upstream->level) / rate(upstream);
	case SIM_CONCURRENCY:
		break;
	}
	return 0;
}

/* Seconds until one more would pass. */
static double retry_s(const struct sim_upstream *upstream, uint64_t now_ns)
{
	size_t above;

	if (upstream->scenario->kind == SIM_BUCKET)
		return fmax(0, 1 - upstream->level) / rate(upstream);
	if (upstream->scenario->kind == SIM_SLIDING && (double)upstream->held >= upstream->limit) {
		above = upstream->held - (size_t)upstream->limit;
		above = (upstream->oldest + above) % upstream->ring;
		return (double)(upstream->accepted[above] + window_ns(upstream) - now_ns) / 1e9;
	}
	return reset_s(upstream, now_ns);
}

static void take(struct sim_upstream *upstream, uint64_t now_ns)
{
	upstream->spent++;
	upstream->level--;
	upstream->busy++;
	if (upstream->scenario->kind == SIM_SLIDING) {
		upstream->accepted[(upstream->oldest + upstream->held) % upstream->ring] = now_ns;
		upstream->held++;
	}
}

static void header(struct sim_response *out, const char *name, const char *format, double value)
{
	struct sim_header *at = &out->headers[out->count++];

	snprintf(at->name, sizeof(at->name), "%s", name);
	snprintf(at->value, sizeof(at->value), format, value);
}

/* What is said of the quota: numbers that may be lies. */
struct words {
	double limit;
	double remaining;
	double reset_s;
};

static struct words words_of(struct sim_upstream *upstream, uint64_t now_ns)
{
	struct words words = {upstream->limit, left(upstream), reset_s(upstream, now_ns)};

	switch (upstream->scenario->words) {
	case SIM_FROZEN:
		words.remaining = words.limit;
		break;
	case SIM_ZERO:
		words.remaining = 0;
		break;
	case SIM_TENFOLD:
		words.remaining += 9 * words.limit;
		words.limit *= 10;
		break;
	case SIM_NOISE:
		words.remaining = floor(words.limit * sim_random_unit(&upstream->random));
		break;
	case SIM_LONG:
		words.reset_s *= 10;
		break;
	case SIM_SHORT:
		words.reset_s /= 10;
		break;
	default:
		break;
	}
	return words;
}

static void say_epoch(struct sim_response *out, uint64_t now_ns, const struct words *words)
{
	time_t now_s = SIM_EPOCH_S + (time_t)(now_ns / SIM_S);
	struct sim_header *date;
	struct tm tm;

	header(out, "X-RateLimit-Reset", "%.0f",
	       floor(SIM_EPOCH_S + (double)now_ns / 1e9 + words->reset_s));
	date = &out->headers[out->count++];
	gmtime_r(&now_s, &tm);
	snprintf(date->name, sizeof(date->name), "Date");
	strftime(date->value, sizeof(date->value), "%a, %d %b %Y %H:%M:%S GMT", &tm);
}

static void say(struct sim_upstream *upstream, uint64_t now_ns, struct sim_response *out)
{
	enum sim_words kind = upstream->scenario->words;
	struct words words = words_of(upstream, now_ns);

	if (kind == SIM_SILENT || kind == SIM_RETRY)
		return;
	header(out, "X-RateLimit-Limit", "%.0f", words.limit);
	header(out, "X-RateLimit-Remaining", "%.0f", words.remaining);
	if (upstream->scenario->kind == SIM_CONCURRENCY)
		return;
	if (kind == SIM_EXACT)
		header(out, "X-RateLimit-Reset-After", "%.3f", words.reset_s);
	else if (kind == SIM_EPOCH)
		say_epoch(out, now_ns, &words);
	else
		header(out, "X-RateLimit-Reset", "%.0f", ceil(words.reset_s));
}

bool sim_upstream_ask(struct sim_upstream *upstream, uint64_t now_ns, struct sim_response *out)
{
	enum sim_words kind = upstream->scenario->words;
	bool passes;

	proceed(upstream, now_ns);
	passes = left(upstream) >= 1;
	if (passes)
		take(upstream, now_ns);
	out->status = passes ? 200 : 429;
	out->count = 0;
	say(upstream, now_ns, out);
	if (!passes && kind <= SIM_LATE && kind != SIM_SILENT &&
	    upstream->scenario->kind != SIM_CONCURRENCY)
		header(out, "Retry-After", "%.0f", fmax(1, ceil(retry_s(upstream, now_ns))));
	return passes;
}

double sim_upstream_left(struct sim_upstream *upstream, uint64_t now_ns)
{
	proceed(upstream, now_ns);
	return left(upstream);
}

void sim_upstream_done(struct sim_upstream *upstream)
{
	upstream->busy--;
}
