/* SPDX-License-Identifier: Apache-2.0 */
#include "property_life.h"

#include <math.h>
#include <stdio.h>

#define SECOND WEIR_SECOND
#define DAY_NS (86400 * SECOND)
#define MICRO 1000000ull

/* ---- random numbers: splitmix64 ---- */

static uint64_t random_word(struct life *life)
{
	uint64_t z = life->random += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

uint64_t life_below(struct life *life, uint64_t bound)
{
	return bound ? random_word(life) % bound : 0;
}

bool life_chance(struct life *life, unsigned percent)
{
	return life_below(life, 100) < percent;
}

double life_fraction(struct life *life)
{
	return (double)(random_word(life) >> 11) * 0x1p-53;
}

/* From 1 to `most`, each order of magnitude as likely as any other. */
static uint64_t magnitude(struct life *life, uint64_t most)
{
	double value = exp2(life_fraction(life) * log2((double)most));

	return value < 1 ? 1 : value > (double)most ? most : (uint64_t)value;
}

/* ---- random values ---- */

static const uint64_t periods[] = {SECOND, 2 * SECOND, 60 * SECOND, 3600 * SECOND, DAY_NS};

static struct model_rate random_rate(struct life *life)
{
	uint64_t period_ns = periods[life_below(life, sizeof(periods) / sizeof(periods[0]))];
	/* at most 10^9 a second, and 10^12 a period */
	uint64_t most = period_ns > 1000 * SECOND ? 1000000000000 : period_ns;
	uint64_t micro = magnitude(life, most) * MICRO;

	switch (life_below(life, 16)) {
	case 0:
		micro = 0;
		break;
	case 1: /* the slowest */
		micro = 1 + life_below(life, 100);
		break;
	case 2: /* the fastest */
		period_ns = SECOND;
		micro = 1000000000 * MICRO;
		break;
	case 3: /* one a day */
		period_ns = DAY_NS;
		micro = MICRO;
		break;
	case 4:
	case 5: /* with a fraction */
		micro = micro / 2 + life_below(life, micro / 2) + 1;
		break;
	default:
		break;
	}
	return (struct model_rate){micro, period_ns, false};
}

static uint64_t random_burst(struct life *life)
{
	switch (life_below(life, 8)) {
	case 0:
		return MICRO;
	case 1:
		return MICRO + life_below(life, 5 * MICRO);
	case 2:
		return magnitude(life, 1000000000000) * MICRO;
	case 3:
		return magnitude(life, 100000) * MICRO + life_below(life, MICRO);
	default:
		return magnitude(life, 1000) * MICRO;
	}
}

static struct model_rule first_rule(struct life *life)
{
	struct model_rule rule = {.rate = random_rate(life), .burst_micro = random_burst(life)};

	rule.initial_micro = rule.burst_micro;
	if (life_chance(life, 25))
		rule.initial_micro = life_below(life, rule.burst_micro + 1);
	if (life_chance(life, 25))
		rule.max_wait_ns = magnitude(life, 300 * DAY_NS);
	return rule;
}

/* Not far from where it was, so that the unit stays. */
static void vary_rate(struct life *life, struct model_rate *rate)
{
	uint64_t micro = rate->micro / 4 + life_below(life, rate->micro);

	if (micro && micro / rate->period_ns < MICRO && micro < 1000000000000 * MICRO)
		rate->micro = micro;
}

/* The first one, or a change: another rate, another burst, or both. */
struct model_rule life_random_rule(struct life *life, bool first)
{
	struct model_rule rule = life->model.rule;
	bool full = rule.initial_micro == rule.burst_micro;
	unsigned which = (unsigned)life_below(life, 8);

	if (first)
		return first_rule(life);
	if (which < 5 && !rule.rate.unlimited && rule.rate.micro && life_chance(life, 60))
		vary_rate(life, &rule.rate);
	else if (which < 5)
		rule.rate = random_rate(life);
	if (life_chance(life, 6))
		rule.rate = (struct model_rate){0, SECOND, true};
	if (which > 2)
		rule.burst_micro = random_burst(life);
	/* an initial level that is the whole burst goes with it */
	if (full || rule.initial_micro > rule.burst_micro)
		rule.initial_micro = rule.burst_micro;
	return rule;
}

double life_random_cost(struct life *life)
{
	double burst = life_in_tokens(life, life->model.row.burst);
	double unit = life_in_tokens(life, 1);
	int64_t level = model_level(&life->model);

	switch (life_below(life, 12)) {
	case 0:
		return burst;
	case 1:
		return life_chance(life, 50) ? nextafter(burst, INFINITY) : burst * 2;
	case 2:
		return unit;
	case 3:
		return unit * life_fraction(life) + 0x1p-1000; /* less than a unit */
	case 4:
		return level > 0 ? life_in_tokens(life, (uint64_t)level) : 1;
	case 5:
		return burst * life_fraction(life) + unit;
	case 6:
		return life_fraction(life) + unit;
	case 7:
		return ceil(burst * life_fraction(life) / 4 + unit);
	default:
		return 1;
	}
}

/* Nanoseconds in which so many tokens are minted, as far as a life lasts. */
static uint64_t time_of(const struct life *life, double tokens_minted)
{
	const struct model_rate *rate = &life->model.rule.rate;
	double ns = rate->micro && !rate->unlimited
			    ? tokens_minted * 1e6 / (double)rate->micro * (double)rate->period_ns
			    : (double)SECOND;

	return ns < 1 ? 1 : ns > (double)LIFE_NS ? LIFE_NS : (uint64_t)ns;
}

uint64_t life_random_time(struct life *life)
{
	double burst = life_in_tokens(life, life->model.row.burst);

	switch (life_below(life, 10)) {
	case 0:
		return 1 + life_below(life, 5);
	case 1:
		return magnitude(life, LIFE_NS / 20);
	case 2:
		return time_of(life, burst) + life_below(life, 100);
	case 3:
		return life->last_wait_ns < LIFE_NS ? life->last_wait_ns : 1;
	case 4:
		return life_below(life, 200000); /* around the grain of closures */
	case 5:
	case 6:
		return life_below(life, time_of(life, burst));
	default:
		return life_below(life, time_of(life, 3));
	}
}

/* ---- texts, as the settings are written ---- */

void life_rate_text(const struct model_rate *rate, char *text, size_t bytes)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = {{"d", DAY_NS}, {"h", 3600 * SECOND}, {"min", 60 * SECOND}, {"s", SECOND}};
	int i = 0;

	while (rate->period_ns % units[i].ns)
		i++;
	if (rate->unlimited)
		snprintf(text, bytes, "unlimited");
	else if (rate->micro == 0)
		snprintf(text, bytes, "0");
	else
		snprintf(text, bytes, "%llu.%06llu/%llu%s",
			 (unsigned long long)(rate->micro / MICRO),
			 (unsigned long long)(rate->micro % MICRO),
			 (unsigned long long)(rate->period_ns / units[i].ns), units[i].name);
}

void life_tokens_text(uint64_t micro, char *text, size_t bytes)
{
	snprintf(text, bytes, "%llu.%06llu", (unsigned long long)(micro / MICRO),
		 (unsigned long long)(micro % MICRO));
}
