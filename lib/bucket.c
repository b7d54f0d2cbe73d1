/* SPDX-License-Identifier: Apache-2.0 */
#include "bucket.h"

enum bucket_result bucket_see(uint64_t mark, uint64_t v, uint64_t units, uint64_t limit,
			      struct bucket_mark *out)
{
	uint64_t ahead = bucket_base(mark, v) + units - v;

	if (mark == BUCKET_UNSET || mark & BUCKET_FROZEN)
		return mark & BUCKET_FROZEN ? BUCKET_IS_FROZEN : BUCKET_IS_UNSET;
	*out = (struct bucket_mark){.mark = mark, .excess = ahead > limit ? ahead - limit : 0};
	return ahead > limit ? BUCKET_REFUSED : BUCKET_TAKEN;
}

enum bucket_result bucket_take_some(struct bucket *bucket, uint64_t mark, uint64_t v, uint64_t unit,
				    uint64_t least, uint64_t most, uint64_t limit,
				    struct bucket_mark *out, uint64_t *taken)
{
	bool lost = false;

	for (unsigned pauses = BUCKET_BACKOFF;; mark = bucket_back_off(bucket, &pauses)) {
		uint64_t base = bucket_base(mark, v);
		uint64_t room = base - v < limit ? limit - (base - v) : 0;
		uint64_t pieces = room / unit < most ? room / unit : most;
		enum bucket_result result =
			bucket_see(mark, v, (pieces > least ? pieces : least) * unit, limit, out);

		out->lost = lost;
		if (result != BUCKET_TAKEN)
			return result;
		/* release: as in bucket_take_from() */
		if (atomic_compare_exchange_weak_explicit(
			    &bucket->mark, &mark, base + pieces * unit, memory_order_acq_rel,
			    memory_order_acquire)) {
			out->mark = base + pieces * unit;
			*taken = pieces;
			return BUCKET_TAKEN;
		}
		lost = true;
	}
}

/* What may go back of `units`, with the mark where it is: see bucket_give_back(). */
static uint64_t returnable(uint64_t mark, uint64_t v, uint64_t burst, uint64_t units,
			   uint64_t position)
{
	int64_t beyond = (int64_t)(mark - v);

	if (beyond <= 0)
		return 0;
	if ((uint64_t)beyond > burst && mark != position)
		return 0;
	return units < (uint64_t)beyond ? units : (uint64_t)beyond;
}

uint64_t bucket_give_back(struct bucket *bucket, uint64_t v, uint64_t burst, uint64_t units,
			  uint64_t position)
{
	/* acquire and release: as in bucket_take(), with which it pairs */
	uint64_t mark = atomic_load_explicit(&bucket->mark, memory_order_acquire);
	uint64_t back;

	do {
		if (mark == BUCKET_UNSET || mark & BUCKET_FROZEN)
			return 0;
		back = returnable(mark, v, burst, units, position);
		if (back == 0)
			return 0;
	} while (!atomic_compare_exchange_weak_explicit(
		&bucket->mark, &mark, mark - back, memory_order_acq_rel, memory_order_acquire));
	return back;
}

/* So many pieces as the present window has, but `least` at least. */
static uint64_t want_pieces(const struct bucket_want *want, uint64_t ahead)
{
	uint64_t room;

	if (want->most == want->least)
		return want->least;
	room = ahead < want->limit ? (want->limit - ahead) / want->unit : 0;
	return room < want->least ? want->least : room < want->most ? room : want->most;
}

bool bucket_weigh(const struct line *line, uint64_t now, uint64_t mark,
		  const struct bucket_want *want, struct bucket_windows *out, uint64_t *after)
{
	struct stand stand = line_stand(line, now, mark);
	uint64_t units;

	out->v = stand.v;
	out->mark = stand.v + stand.ahead;
	out->pieces = want_pieces(want, stand.ahead);
	units = want->before + out->pieces * want->unit;
	*after = stand.ahead + units;
	out->excess = *after > want->limit ? *after - want->limit : 0;
	out->count = 0;
	if (out->excess == 0)
		return true;
	if (!(line->flags & LINE_WINDOW))
		return false;
	if (want->limit < line->burst_units) {
		/* behind everybody who waits: until that much is there */
		out->count = window_count(line, line->burst_units + out->excess);
		return false;
	}
	*after = window_after(line, stand.ahead, units);
	out->count = window_count(line, *after);
	return out->count <= window_begins(line, now, stand.v, want->ticks) &&
	       *after <= window_room(line);
}

enum bucket_result bucket_take_window(struct bucket *bucket, uint64_t mark, const struct line *line,
				      uint64_t now, const struct bucket_want *want,
				      struct bucket_windows *out)
{
	*out = (struct bucket_windows){.lost = false};
	for (unsigned pauses = BUCKET_BACKOFF;; mark = bucket_back_off(bucket, &pauses)) {
		uint64_t after;

		if (mark == BUCKET_UNSET || mark & BUCKET_FROZEN)
			return mark & BUCKET_FROZEN ? BUCKET_IS_FROZEN : BUCKET_IS_UNSET;
		if (!bucket_weigh(line, now, mark, want, out, &after))
			return BUCKET_REFUSED;
		if (want->look)
			return BUCKET_TAKEN;
		/* acquire and release: as in bucket_take_from(), with which it pairs */
		if (atomic_compare_exchange_weak_explicit(&bucket->mark, &mark, out->v + after,
							  memory_order_acq_rel,
							  memory_order_acquire)) {
			out->mark = out->v + after;
			return BUCKET_TAKEN;
		}
		out->lost = true;
	}
}

/* What may go back with the mark and the place where they stand: see bucket_give_back_window(). */
static uint64_t window_returnable(const struct line *line, struct stand mark, struct stand place,
				  uint64_t units)
{
	uint64_t most = place.ahead < mark.ahead ? place.ahead : mark.ahead;

	if (place.v != mark.v)
		return 0;
	if (mark.ahead > line->burst_units && mark.ahead != place.ahead)
		return 0;
	return units < most ? units : most;
}

uint64_t bucket_give_back_window(struct bucket *bucket, const struct line *line, uint64_t now,
				 uint64_t units, uint64_t position)
{
	struct stand place = window_stand(line, now, position);
	/* acquire and release: as in bucket_take(), with which it pairs */
	uint64_t mark = atomic_load_explicit(&bucket->mark, memory_order_acquire);
	struct stand stand;
	uint64_t back;

	do {
		if (mark == BUCKET_UNSET || mark & BUCKET_FROZEN)
			return 0;
		stand = window_stand(line, now, mark);
		back = window_returnable(line, stand, place, units);
		if (back == 0)
			return 0;
	} while (!atomic_compare_exchange_weak_explicit(
		&bucket->mark, &mark, stand.v + stand.ahead - back, memory_order_acq_rel,
		memory_order_acquire));
	return back;
}

uint64_t bucket_returnable(const struct line *line, uint64_t now, uint64_t mark, uint64_t units,
			   uint64_t position)
{
	if (line->flags & LINE_WINDOW)
		return window_returnable(line, window_stand(line, now, mark),
					 window_stand(line, now, position), units);
	return returnable(mark, line_value(line, now), line->burst_units, units, position);
}

/* Moves the mark to `to(mark)` unless it is unset or frozen; pairs as bucket_take() does. */
#define BUCKET_UPDATE(bucket, to)                                                                  \
	uint64_t mark = atomic_load_explicit(&(bucket)->mark, memory_order_acquire);               \
                                                                                                   \
	do {                                                                                       \
		if (mark == BUCKET_UNSET || mark & BUCKET_FROZEN)                                  \
			return mark & BUCKET_FROZEN ? BUCKET_IS_FROZEN : BUCKET_IS_UNSET;          \
	} while (!atomic_compare_exchange_weak_explicit(                                           \
		&(bucket)->mark, &mark, to, memory_order_acq_rel, memory_order_acquire));          \
	return BUCKET_TAKEN

uint64_t bucket_charged(const struct line *line, uint64_t now, uint64_t mark, uint64_t units)
{
	struct stand stand = line_stand(line, now, mark);
	uint64_t most = line->flags & LINE_WINDOW ? window_room(line) : LINE_FAR;
	uint64_t room = stand.ahead < most ? most - stand.ahead : 0;

	return stand.v + stand.ahead + (units < room ? units : room);
}

enum bucket_result bucket_charge(struct bucket *bucket, const struct line *line, uint64_t now,
				 uint64_t units)
{
	BUCKET_UPDATE(bucket, bucket_charged(line, now, mark, units));
}

static uint64_t lowered(const struct line *line, uint64_t now, uint64_t mark, uint64_t units)
{
	struct stand stand = line_stand(line, now, mark);
	uint64_t ahead = units < line->burst_units ? line->burst_units - units : 0;

	return stand.ahead < ahead ? stand.v + ahead : mark;
}

enum bucket_result bucket_lower(struct bucket *bucket, const struct line *line, uint64_t now,
				uint64_t units)
{
	BUCKET_UPDATE(bucket, lowered(line, now, mark, units));
}

enum bucket_result bucket_drain(struct bucket *bucket, uint64_t at_least)
{
	BUCKET_UPDATE(bucket, bucket_base(mark, at_least));
}

void bucket_install(struct bucket *bucket, uint64_t mark)
{
	uint64_t unset = BUCKET_UNSET;

	/* release: pairs with the acquire in bucket_take(); lost races are somebody's same value,
	 * or a first use that came earlier */
	atomic_compare_exchange_strong_explicit(&bucket->mark, &unset, mark, memory_order_acq_rel,
						memory_order_acquire);
}

uint64_t bucket_freeze(struct bucket *bucket)
{
	/* seq_cst: pairs with gate_close(), which stores the gate and then looks at the mark */
	return atomic_fetch_or_explicit(&bucket->mark, BUCKET_FROZEN, memory_order_seq_cst) &
	       ~BUCKET_FROZEN;
}

bool bucket_freeze_for(struct bucket *bucket, const struct bucket *to, uint64_t *mark)
{
	uint64_t found = atomic_load_explicit(&bucket->mark, memory_order_seq_cst);

	/* the mark is loaded before `to` is looked at: once `to` has its mark, this one may have
	 * been thawed, and then it is another one than was found here */
	while (!(found & BUCKET_FROZEN)) {
		if (bucket_look(to) != BUCKET_UNSET)
			return false;
		/* seq_cst: pairs with gate_close(), which stores the gate and then looks here */
		if (atomic_compare_exchange_strong_explicit(
			    &bucket->mark, &found, found | BUCKET_FROZEN, memory_order_seq_cst,
			    memory_order_seq_cst))
			break;
	}
	*mark = found & ~BUCKET_FROZEN;
	return true;
}

void bucket_thaw(struct bucket *bucket, uint64_t mark)
{
	uint64_t frozen = atomic_load_explicit(&bucket->mark, memory_order_acquire);

	/* beyond the frozen one: see bucket_freeze_for() */
	if (mark == (frozen & ~BUCKET_FROZEN))
		mark++;
	/* nobody changes a frozen mark but its publisher, so the exchange fails only if it is not
	 */
	if (frozen & BUCKET_FROZEN)
		atomic_compare_exchange_strong_explicit(&bucket->mark, &frozen, mark,
							memory_order_acq_rel, memory_order_acquire);
}

int64_t bucket_level(uint64_t mark, uint64_t v, uint64_t burst, uint64_t initial)
{
	if (mark == BUCKET_UNSET)
		return (int64_t)initial;

	int64_t ahead = (int64_t)(mark - v);

	/* unsigned: hostile bytes may not overflow it */
	return (int64_t)(burst - (ahead > 0 ? (uint64_t)ahead : 0));
}
