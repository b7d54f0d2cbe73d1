/* SPDX-License-Identifier: Apache-2.0 */
#include "state.h"

#include "align.h"
#include "window.h"

#define WIDE_MAX (~(line_wide)0)
#define TIME_MAX_NS ((line_wide)INT64_MAX) /* the year 2262 */

static uint64_t later_by(uint64_t now, uint64_t then)
{
	return now > then ? now - then : 0;
}

uint64_t state_elapsed(const struct state_stamp *saved, const struct state_stamp *now)
{
	uint64_t wall = later_by(now->saved_ns, saved->saved_ns);
	uint64_t boottime = later_by(now->boottime_ns, saved->boottime_ns);
	bool known = saved->boot[0] || saved->boot[1];
	bool same = saved->boot[0] == now->boot[0] && saved->boot[1] == now->boot[1];

	return known && same && boottime < wall ? boottime : wall;
}

/* Millionths of a token that so much time mints, rounded down. */
static line_wide minted_micro(const struct terms *terms, uint64_t ns)
{
	if (terms->rate_micro == TERMS_UNLIMITED)
		return WIDE_MAX;
	/* below 2^124: a rate is at most 10^12 tokens a period, see value.h */
	return terms->period_ns ? (line_wide)terms->rate_micro * ns / terms->period_ns : 0;
}

static uint64_t less_ns(uint64_t from, uint64_t by)
{
	return from > by ? from - by : 0;
}

/* The wall clock at the end of a span, or a little before. */
static uint64_t end_of(const struct state_span *span, uint64_t before_ns)
{
	uint64_t after = less_ns(span->elapsed_ns, before_ns);

	return after < TIME_MAX_NS - span->saved_ns ? span->saved_ns + after
						    : (uint64_t)TIME_MAX_NS;
}

/* Whether a window of those terms was under way. */
static bool goes_on(const struct state_record *saved, const struct terms *terms,
		    const struct state_span *span)
{
	return saved->renews_ns > span->saved_ns &&
	       window_terms_equal(&terms->window, &saved->terms.window);
}

/* How many windows of those terms have begun since the save. */
static uint64_t windows_begun(const struct state_record *saved, const struct terms *terms,
			      const struct state_span *span)
{
	uint64_t length = terms->window.length_ns;
	uint64_t now = end_of(span, STATE_WINDOW_MARGIN_NS);

	if (!goes_on(saved, terms, span))
		return terms->window.kind == WINDOW_ALIGNED
			       ? align_count(&terms->window, span->saved_ns, now)
			       : (now - span->saved_ns) / length;
	return now >= saved->renews_ns ? (now - saved->renews_ns) / length + 1 : 0;
}

/* What those terms have brought since the save. */
static line_wide brought_micro(const struct state_record *saved, const struct terms *terms,
			       const struct state_span *span)
{
	bool exact;

	if (terms->window.kind == WINDOW_NONE || terms->rate_micro == TERMS_UNLIMITED)
		return minted_micro(terms, span->elapsed_ns);
	return (line_wide)windows_begun(saved, terms, span) * window_quota_micro(terms, &exact);
}

static line_wide credit_micro(const struct state_record *saved, const struct terms *now,
			      const struct state_span *span)
{
	line_wide before = brought_micro(saved, &saved->terms, span);
	line_wide after = brought_micro(saved, now, span);

	return before < after ? before : after;
}

/* Until the window from first use ends that is under way by present terms. */
static uint64_t renews_in(const struct state_record *saved, const struct terms *now,
			  const struct state_span *span)
{
	uint64_t at = end_of(span, 0);
	uint64_t end = saved->renews_ns;

	/* under other terms it begins anew, which is later */
	if (!goes_on(saved, now, span))
		return 0;
	end += windows_begun(saved, now, span) * now->window.length_ns;
	return end > at && end - at <= now->window.length_ns ? end - at : 0;
}

static line_wide less(line_wide from, line_wide by)
{
	return from > by ? from - by : 0;
}

/* A closure ended so long ago, and left an empty bucket; with windows, what was left of one. */
static void drain(struct state_level *level, const struct state_record *saved,
		  const struct terms *now, uint64_t since_ns)
{
	line_wide by_saved = minted_micro(&saved->terms, since_ns);
	line_wide by_now = minted_micro(now, since_ns);
	line_wide drained = less(now->burst_micro, by_saved < by_now ? by_saved : by_now);

	if (now->window.kind == WINDOW_NONE && drained > level->used_micro)
		level->used_micro = drained;
}

void state_age(struct state_level *out, const struct state_record *saved, const struct terms *now,
	       const struct state_span *span)
{
	bool was_closed = saved->closed_ns && saved->closed_ns != STATE_FOREVER;
	struct state_level level = {saved->used_micro, saved->closed_ns, 0};

	/* a larger burst would be so many tokens more; without a limit there was no level */
	if (now->burst_micro > saved->terms.burst_micro &&
	    saved->terms.rate_micro != TERMS_UNLIMITED)
		level.used_micro += now->burst_micro - saved->terms.burst_micro;
	level.used_micro = less(level.used_micro, credit_micro(saved, now, span));
	if (was_closed && saved->closed_ns > span->elapsed_ns) {
		level.closed_ns = saved->closed_ns - span->elapsed_ns;
	} else if (was_closed) {
		level.closed_ns = 0;
		drain(&level, saved, now, span->elapsed_ns - saved->closed_ns);
	}
	if (now->window.kind == WINDOW_FIRST && level.used_micro)
		level.renews_ns = renews_in(saved, now, span);
	*out = level;
}

bool state_is_idle(const struct state_level *level, const struct terms *terms)
{
	return level->used_micro == 0 && level->closed_ns == 0 &&
	       terms->initial_micro == terms->burst_micro;
}
