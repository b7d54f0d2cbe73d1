/* SPDX-License-Identifier: Apache-2.0 */
#include "sweep.h"

#include <string.h>

#include "token_clock.h"
#include "value.h"

#define SHAPE "a sweep is rate=FROM..TO or burst=FROM..TO, as rate=1/s..50/s"

/* The smallest round step that needs no more than SWEEP_MOST values. */
static uint64_t round_step(uint64_t range)
{
	uint64_t least = range / (SWEEP_MOST - 2) + (range % (SWEEP_MOST - 2) != 0);
	uint64_t step = 1;

	for (;; step *= 10) {
		if (step >= least)
			return step;
		if (2 * step >= least)
			return 2 * step;
		if (5 * step >= least)
			return 5 * step;
	}
}

static void list_values(struct sweep *sweep, uint64_t from, uint64_t to)
{
	bool whole = from % TERMS_MICRO == 0 && to % TERMS_MICRO == 0;
	uint64_t step = round_step(to - from);

	if (whole && step < TERMS_MICRO)
		step = TERMS_MICRO;
	sweep->micro[sweep->count++] = from;
	for (uint64_t at = (from / step + 1) * step; at < to; at += step)
		sweep->micro[sweep->count++] = at;
	if (to > from)
		sweep->micro[sweep->count++] = to;
}

static const char *read_value(enum sweep_what what, const char *text, uint64_t *micro,
			      uint64_t *period_ns)
{
	const char *wrong;

	if (what == SWEEP_BURST)
		return value_tokens(text, micro);
	wrong = value_rate(text, micro, period_ns);
	if (!wrong && *micro == TERMS_UNLIMITED)
		wrong = "a sweep ends at a rate, not at unlimited";
	return wrong;
}

const char *sweep_read(const char *text, struct sweep *out)
{
	struct sweep sweep = {.what = SWEEP_RATE};
	const char *dots = strstr(text, "..");
	char first[VALUE_TEXT_BYTES];
	uint64_t from = 0;
	uint64_t to = 0;
	uint64_t period_ns = 0;
	const char *wrong;

	if (!strncmp(text, "rate=", 5))
		text += 5;
	else if (!strncmp(text, "burst=", 6))
		text += 6, sweep.what = SWEEP_BURST;
	else
		return SHAPE;
	if (!dots || dots < text || (size_t)(dots - text) >= sizeof(first))
		return SHAPE;
	memcpy(first, text, (size_t)(dots - text));
	first[dots - text] = '\0';
	wrong = read_value(sweep.what, first, &from, &sweep.period_ns);
	if (!wrong)
		wrong = read_value(sweep.what, dots + 2, &to, &period_ns);
	if (!wrong && sweep.period_ns != period_ns)
		wrong = "both rates of a sweep are by the same time: rate=1/min..50/min";
	if (!wrong && from >= to)
		wrong = "a sweep goes upwards";
	if (wrong)
		return wrong;
	list_values(&sweep, from, to);
	*out = sweep;
	return NULL;
}
