/* SPDX-License-Identifier: Apache-2.0 */
#include "window.h"

#include "bucket.h"
#include "weir.h"

#define NS_PER_S 1000000000ull
#define QUEUE_BITS 3	/* a mark has room for 2^3 quotas, at least */
#define START_BITS 20	/* of the window: how exactly its start is kept, if that is possible */
#define COARSEST_BITS 8 /* and if not, at least */
#define FRACTION_BITS 20

static uint64_t radix_size(const struct line *line)
{
	return 1ull << (line->radix & 63);
}

static uint64_t round_up(uint64_t value, uint64_t to)
{
	return (value + to - 1) & ~(to - 1);
}

/* Ticks since the line's origin, clamped as line_elapsed() does. */
static uint64_t elapsed_ticks(const struct line *line, uint64_t ticks)
{
	return line_elapsed(line, ticks) >> 4;
}

/* Windows that have begun since the origin of a LINE_ALIGNED. */
static uint64_t steps(const struct line *line, uint64_t ticks)
{
	return line->step_ticks ? elapsed_ticks(line, ticks) / line->step_ticks : 0;
}

uint64_t window_value(const struct line *line, uint64_t ticks)
{
	if (line->flags & LINE_FIRST)
		return line->origin_units + elapsed_ticks(line, ticks);
	return line->origin_units + steps(line, ticks) * line->step_units;
}

/* From the start of one window to that of the next without a pause, as marks can say it. */
static uint64_t stride(const struct line *line)
{
	return round_up(line->step_ticks, radix_size(line));
}

/* A window that follows another without a pause opens so much before the start that marks give it,
 * which is where the other one is over. */
static uint64_t early(const struct line *line)
{
	return stride(line) - line->step_ticks;
}

/* A mark of LINE_FIRST: the window under way, or one that would begin now. */
static struct stand stand_first(const struct line *line, uint64_t now, uint64_t mark)
{
	uint64_t size = radix_size(line);
	uint64_t clock = window_value(line, now);
	uint64_t start = mark & ~(size - 1);
	uint64_t used = mark & (size - 1);
	uint64_t opens = clock + early(line);
	uint64_t since = (int64_t)(opens - start) > 0 ? opens - start : 0;
	uint64_t over = stride(line) && line->step_units ? since / stride(line) : 0;

	/* over * step_units < used, without the product */
	if (used && (over == 0 || over <= (used - 1) / line->step_units))
		return (struct stand){start + over * stride(line), used - over * line->step_units};
	return (struct stand){clock & ~(size - 1), 0};
}

struct stand window_stand(const struct line *line, uint64_t now, uint64_t mark)
{
	if (line->flags & LINE_FIRST)
		return stand_first(line, now, mark);

	uint64_t v = window_value(line, now);

	return (struct stand){v, (int64_t)(mark - v) > 0 ? mark - v : 0};
}

int64_t line_level(const struct line *line, uint64_t now, uint64_t mark)
{
	struct stand stand = line_stand(line, now, mark);

	return bucket_level(mark == BUCKET_UNSET ? mark : stand.v + stand.ahead, stand.v,
			    line->burst_units, line->initial_units);
}

uint64_t line_due_ticks(const struct line *line, uint64_t now, uint64_t position)
{
	if (!(line->flags & LINE_WINDOW))
		return line_ticks_until(line, now, position - line->burst_units);

	struct stand stand = window_stand(line, now, position);

	return window_ticks(line, now, stand.v, window_count(line, stand.ahead));
}

/* ---- counting windows ---- */

uint64_t window_count(const struct line *line, uint64_t ahead)
{
	if (ahead <= line->burst_units)
		return 0;
	if (line->step_units == 0)
		return WINDOW_NEVER;
	return (ahead - line->burst_units - 1) / line->step_units + 1;
}

uint64_t window_after(const struct line *line, uint64_t ahead, uint64_t units)
{
	uint64_t count = window_count(line, ahead + units);

	if (count == 0 || count == WINDOW_NEVER || units > line->step_units)
		return ahead + units;

	/* where what that window brings begins */
	uint64_t begin = line->burst_units + (count - 1) * line->step_units;

	return (ahead < begin ? begin : ahead) + units;
}

uint64_t window_ticks(const struct line *line, uint64_t now, uint64_t v, uint64_t count)
{
	bool first = line->flags & LINE_FIRST;
	line_wide length = (line_wide)count * (first ? stride(line) : line->step_ticks);
	int64_t since; /* the window under way began; below 0: it begins a little later */

	if (count == 0)
		return 0;
	if (count > LINE_ELAPSED_MAX || length == 0)
		return UINT64_MAX;
	if (first)
		since = (int64_t)(window_value(line, now) + early(line) - v);
	else
		since = (int64_t)(now - line->origin_ticks - steps(line, now) * line->step_ticks);
	if (length >> 62)
		return UINT64_MAX;
	return since < (int64_t)length ? (uint64_t)length - (uint64_t)since : 0;
}

uint64_t window_wait(const struct line *line, uint64_t now, struct stand stand, uint64_t units)
{
	uint64_t count = window_count(line, window_after(line, stand.ahead, units));

	return window_ticks(line, now, stand.v, count);
}

uint64_t window_begins(const struct line *line, uint64_t now, uint64_t v, uint64_t ticks)
{
	uint64_t at = now + ticks;

	if (ticks == UINT64_MAX || at < now || at >> 63)
		return WINDOW_NEVER - 1;
	if (!(line->flags & LINE_FIRST))
		return steps(line, at) - steps(line, now);

	uint64_t opens = window_value(line, at) + early(line);

	return stride(line) && (int64_t)(opens - v) > 0 ? (opens - v) / stride(line) : 0;
}

uint64_t line_mark(const struct line *line, uint64_t now, struct stand stand)
{
	uint64_t room = window_room(line);

	if (!(line->flags & LINE_FIRST))
		return line_value(line, now) + stand.ahead;
	return round_up(stand.v, radix_size(line)) + (stand.ahead < room ? stand.ahead : room);
}

uint64_t window_room(const struct line *line)
{
	return line->flags & LINE_FIRST ? radix_size(line) - 1 : LINE_FAR;
}

/* ---- terms ---- */

struct window_terms window_load(const struct line_copy *from)
{
	/* acquire: each pairs with its release store in line_publish() */
	uint64_t length = atomic_load_explicit(&from->terms.window_ns, memory_order_acquire);
	uint64_t shape = atomic_load_explicit(&from->words.shape, memory_order_acquire);
	unsigned flags = shape >> 16 & 0xffff;

	return (struct window_terms){
		.length_ns = length,
		.kind = flags & LINE_FIRST     ? WINDOW_FIRST
			: flags & LINE_ALIGNED ? WINDOW_ALIGNED
					       : WINDOW_NONE,
		.minutes = (int16_t)(shape >> 32),
	};
}

bool window_terms_equal(const struct window_terms *a, const struct window_terms *b)
{
	return a->length_ns == b->length_ns && a->kind == b->kind && a->minutes == b->minutes;
}

uint64_t window_quota_micro(const struct terms *terms, bool *exact)
{
	line_wide tokens = (line_wide)terms->rate_micro * terms->window.length_ns;
	line_wide quota = terms->period_ns ? tokens / terms->period_ns : 0;

	*exact = terms->period_ns && tokens % terms->period_ns == 0;
	return quota >> 64 ? UINT64_MAX : (uint64_t)quota;
}

/* The smallest radix that counts 2^QUEUE_BITS times so many units. */
static unsigned radix_for(uint64_t units)
{
	unsigned radix = QUEUE_BITS;

	while (radix < 62 && 1ull << (radix - QUEUE_BITS) < units)
		radix++;
	return radix;
}

unsigned window_best_unit(const struct terms *terms)
{
	unsigned best = radix_for(line_units(terms->burst_micro, 0)) << 8;

	for (unsigned k = 1; k <= FRACTION_BITS; k++) {
		unsigned radix = radix_for(line_units(terms->burst_micro, k));

		if (radix + START_BITS < 64 && line_beside_fits(terms, k, 64) &&
		    1ull << (radix + START_BITS) <= terms->window.length_ns)
			best = k | radix << 8;
	}
	return best;
}

bool window_unit_fits(const struct terms *terms, unsigned unit)
{
	unsigned k = unit & 63;
	unsigned radix = unit >> 8 & 63;

	return line_units(terms->burst_micro, k) < 1ull << (radix ? radix - 1 : 0) &&
	       line_beside_fits(terms, k, 1) && radix + COARSEST_BITS < 64 &&
	       1ull << (radix + COARSEST_BITS) <= terms->window.length_ns;
}

int window_from_terms(struct line *line, const struct terms *terms, unsigned unit, uint64_t hz)
{
	line_wide ticks = ((line_wide)terms->window.length_ns * hz + NS_PER_S - 1) / NS_PER_S;
	bool first = terms->window.kind == WINDOW_FIRST;
	bool exact;

	line->radix = first ? unit >> 8 & 63 : 0;
	if (terms->period_ns == 0 || ticks == 0 || ticks >= LINE_BIRTH_FIRST ||
	    (first && !window_unit_fits(terms, unit)))
		return WEIR_EVALUE;
	line->flags |= first ? LINE_FIRST : LINE_ALIGNED;
	line->step_ticks = (uint64_t)ticks;
	line->step_units = line->flags & (LINE_UNLIMITED | LINE_NEVER)
				   ? 0
				   : line_units(window_quota_micro(terms, &exact), line->k);
	/* nothing is saved up: what each brings is the burst, and a row that follows relies on it
	 */
	if (first && line->step_units && line->step_units != line->burst_units)
		return WEIR_EVALUE;
	return 0;
}
