/* SPDX-License-Identifier: Apache-2.0 */
#include "history.h"

#include <math.h>

#define NS_PER_S 1e9

static const struct rates unknown = {NAN, NAN, NAN, NAN, NAN};

void history_begin(struct history *history, const struct counts *counts)
{
	*history = (struct history){.last = *counts, .rates = unknown};
}

static bool has_shrunk(const struct counts *last, const struct counts *now)
{
	return now->granted < last->granted || now->refused < last->refused ||
	       now->waited < last->waited || now->waited_ns < last->waited_ns;
}

static struct rates rates_of(const struct counts *last, const struct counts *now, double seconds)
{
	/* a row with coarser units may have rounded a fraction off */
	long double tokens = now->tokens > last->tokens ? now->tokens - last->tokens : 0;
	uint64_t waited = now->waited - last->waited;

	return (struct rates){
		.tokens = (double)tokens / seconds,
		.granted = (double)(now->granted - last->granted) / seconds,
		.refused = (double)(now->refused - last->refused) / seconds,
		.waited = (double)waited / seconds,
		.wait_ns = waited ? (double)(now->waited_ns - last->waited_ns) / (double)waited
				  : (double)NAN,
	};
}

static void push(struct history *history, double rate)
{
	history->cells[history->next] = (float)rate;
	history->next = (history->next + 1) % HISTORY_CELLS;
	history->used += history->used < HISTORY_CELLS;
}

void history_step(struct history *history, const struct counts *counts, uint64_t interval_ns)
{
	if (interval_ns == 0)
		return;
	history->pending_ns += interval_ns;
	if (has_shrunk(&history->last, counts)) {
		history->rates = unknown;
		push(history, NAN);
		if (++history->below < HISTORY_PATIENCE)
			return;
	} else {
		history->rates =
			rates_of(&history->last, counts, (double)history->pending_ns / NS_PER_S);
		push(history, history->rates.tokens);
	}
	history->last = *counts;
	history->pending_ns = 0;
	history->below = 0;
}

double history_at(const struct history *history, unsigned back)
{
	if (back >= history->used)
		return NAN;
	return (double)history->cells[(history->next + HISTORY_CELLS - 1 - back) % HISTORY_CELLS];
}

double history_peak(const struct history *history, unsigned count)
{
	double peak = 0;

	for (unsigned back = 0; back < count && back < history->used; back++) {
		double rate = history_at(history, back);

		/* false for NaN */
		peak = rate > peak ? rate : peak;
	}
	return peak;
}
