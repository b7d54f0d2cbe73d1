/* SPDX-License-Identifier: Apache-2.0
 *
 * window.h - limits by windows: a quota that is renewed as a whole, not little by little.
 *
 * How a mark stands to its clock at a moment is a struct stand: V as this bucket sees it, and how
 * many units beyond it are spoken for. A bucket's level is burst - ahead, for every kind of line.
 *
 *	straight	V is the line; ahead = max(0, mark - V)
 *	LINE_ALIGNED	V is a staircase that rises by the quota where a window begins, for all
 *			buckets at once; ahead as above
 *	LINE_FIRST	V counts ticks. A mark is the tick at which its bucket's window began, but
 *			for its last `radix` bits, which count what was used since; the staircase
 *			is the bucket's own, and begins there
 *
 * One word still says everything about a bucket, and one exchange of it is the whole transaction.
 * A start is kept to 2^radix ticks, a millionth of the window where the quota leaves room. It is
 * rounded down, so that nobody is told to wait for longer than a window. Windows that follow one
 * another without a pause (some wait) last for whole strides, so that no rate is exceeded.
 *
 * What does not fit into the present window passes in a later one, as a whole: a place in line
 * begins where the quota of its window begins, if it would reach over that. So a window never
 * lets more pass than its quota (and, by the calendar, what a larger burst has saved up).
 * Pure; all of it is bounded for any line and mark read from a mapped page.
 */
#ifndef WEIR_WINDOW_H
#define WEIR_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#include "layout.h"
#include "token_clock.h"

#define WINDOW_NEVER UINT64_MAX /* no window helps */

/* mark = v + ahead says the same as the mark it was made from. */
struct stand {
	uint64_t v;
	uint64_t ahead;
};

/* Of a line with windows; line_stand() of any. The mark comes without its frozen bit. */
struct stand window_stand(const struct line *line, uint64_t now, uint64_t mark);

static inline struct stand line_stand(const struct line *line, uint64_t now, uint64_t mark)
{
	if (line->flags & LINE_WINDOW)
		return window_stand(line, now, mark);

	uint64_t v = line_value(line, now);

	return (struct stand){v, (int64_t)(mark - v) > 0 ? mark - v : 0};
}

/* Units left, below 0 when some wait; a bucket that nobody has used has its initial level. */
int64_t line_level(const struct line *line, uint64_t now, uint64_t mark);

/* Ticks from `now` until a place at `position` is due. UINT64_MAX: never. */
uint64_t line_due_ticks(const struct line *line, uint64_t now, uint64_t position);

/*
 * The mark of which so much is spoken for; with LINE_FIRST in a window that began at stand.v, which
 * is rounded up.
 */
uint64_t line_mark(const struct line *line, uint64_t now, struct stand stand);

/* ---- lines with windows alone ---- */

/* How far ahead the mark is once so many units more are taken. */
uint64_t window_after(const struct line *line, uint64_t ahead, uint64_t units);

/* How many windows must begin before a place so far ahead is due; WINDOW_NEVER. */
uint64_t window_count(const struct line *line, uint64_t ahead);

/* Ticks from `now` until the count-th window after the one of the stand begins; UINT64_MAX. */
uint64_t window_ticks(const struct line *line, uint64_t now, uint64_t v, uint64_t count);

/* Ticks from `now` until `units` more could be taken; UINT64_MAX. */
uint64_t window_wait(const struct line *line, uint64_t now, struct stand stand, uint64_t units);

/* How many windows begin within so many ticks. */
uint64_t window_begins(const struct line *line, uint64_t now, uint64_t v, uint64_t ticks);

/* How far ahead a mark can be. */
uint64_t window_room(const struct line *line);

/* As published. */
struct window_terms window_load(const struct line_copy *from);

bool window_terms_equal(const struct window_terms *a, const struct window_terms *b);

/* What one window brings, in millionths of a token, and whether that is exact. */
uint64_t window_quota_micro(const struct terms *terms, bool *exact);

/*
 * The unit of a WINDOW_FIRST: whole tokens with room for eight windows in line, and where a start
 * is still kept to a millionth of the window, parts of a token.
 */
unsigned window_best_unit(const struct terms *terms);

/* Whether the terms' window can be counted at that unit. */
bool window_unit_fits(const struct terms *terms, unsigned unit);

/* The part of line_from_terms() for terms with a window. Returns 0, WEIR_EVALUE. */
int window_from_terms(struct line *line, const struct terms *terms, unsigned unit, uint64_t hz);

#endif
