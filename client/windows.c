/* SPDX-License-Identifier: Apache-2.0
 *
 * windows.c - taking from a bucket whose quota is renewed by windows.
 */
#include "handle.h"

enum bucket_result windows_exchange(const struct ask *ask, uint64_t mark, uint64_t ahead_ticks,
				    struct attempt *out)
{
	const struct line *line = &out->line;
	uint64_t ticks = ahead_ticks < line->reach_units ? ahead_ticks : line->reach_units;
	const struct bucket_want want = {
		.unit = out->unit,
		.least = ask->least,
		.most = ask->most,
		.before = ask->before,
		.limit = attempt_room(out),
		.ticks = out->leave ? 0 : ticks,
		.look = ask->look,
	};
	struct bucket_windows met;
	enum bucket_result result =
		bucket_take_window(out->binding->bucket, mark, line, out->now, &want, &met);

	out->v = met.v;
	out->mark = (struct bucket_mark){.mark = met.mark, .excess = met.excess, .lost = met.lost};
	out->pieces = met.pieces;
	if (result == BUCKET_TAKEN)
		out->units = out->unit * met.pieces;
	else if (result == BUCKET_REFUSED)
		out->wait_ticks = window_ticks(line, out->now, met.v, met.count);
	return result;
}

enum attempt_result windows_refused(struct attempt *attempt, uint64_t ahead_ticks)
{
	const struct line *line = &attempt->line;

	if (attempt->wait_ticks == UINT64_MAX)
		attempt->reason = WEIR_REASON_NEVER;
	else if (attempt->leave && attempt->mark.excess <= attempt->leave)
		attempt->reason = WEIR_REASON_HEADROOM;
	else if (attempt->leave || ahead_ticks == 0)
		attempt->reason = WEIR_REASON_LEVEL;
	else if (attempt->wait_ticks > ahead_ticks && ahead_ticks < line->reach_units)
		attempt->reason = WEIR_REASON_DEADLINE;
	else
		attempt->reason = WEIR_REASON_QUEUE;
	return ATTEMPT_REFUSED;
}

void windows_see(struct attempt *attempt)
{
	uint64_t mark = attempt->mark.mark;
	struct stand stand = window_stand(&attempt->line, attempt->now, mark);

	attempt->v = stand.v;
	attempt->mark.mark = mark == BUCKET_UNSET ? mark : stand.v + stand.ahead;
}

uint64_t windows_wait(const struct attempt *attempt, uint64_t units)
{
	const struct stand stand = {attempt->v, attempt->mark.mark - attempt->v};

	return window_wait(&attempt->line, attempt->now, stand, units);
}
