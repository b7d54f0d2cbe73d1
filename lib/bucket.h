/* SPDX-License-Identifier: Apache-2.0
 *
 * bucket.h - one mark: take, reserve, give back, look. Knows no names and no time source.
 *
 * A bucket's level is burst - max(0, mark - V). One compare-and-swap of the mark is the whole
 * transaction: a process killed anywhere leaves the word before or after it, and there is
 * nothing to repair. Who writes: everybody who shares the bucket; only this file and (for the
 * move of a mark) nobody else. All functions are lock-free and may run in a signal handler.
 */
#ifndef WEIR_BUCKET_H
#define WEIR_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

#include "layout.h"
#include "token_clock.h"
#include "window.h"

#define BUCKET_UNSET 0ull
#define BUCKET_FROZEN (1ull << 63)
/*
 * Pauses after the first lost race, and up to how many they double: some microseconds (11 ns a
 * pause on one Xeon), in which the other takes at full speed. Two on one bucket then take turns by
 * the hundred, and do nearly what one does alone.
 */
#define BUCKET_BACKOFF 256
#define BUCKET_BACKOFF_MOST 512

enum bucket_result {
	BUCKET_REFUSED = 0,
	BUCKET_TAKEN = 1,
	BUCKET_IS_UNSET = 2,  /* nobody has used it: bucket_install() first */
	BUCKET_IS_FROZEN = 3, /* its mark has moved: resolve the name again */
};

/* What a take left behind, or what a refusal met. */
struct bucket_mark {
	uint64_t mark;	 /* taken: the mark after it, which is the taker's position */
	uint64_t excess; /* refused: how many units V must advance first */
	bool lost;	 /* another's exchange came first at least once */
};

static inline void bucket_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/*
 * After a lost race: lets the others go on, twice as long each time, and looks where the mark is by
 * then. From the mark that was lost to, the next exchange would be lost as well.
 */
static inline uint64_t bucket_back_off(const struct bucket *bucket, unsigned *pauses)
{
	for (unsigned i = 0; i < *pauses; i++)
		bucket_relax();
	if (*pauses < BUCKET_BACKOFF_MOST)
		*pauses *= 2;
	/* acquire: as in bucket_load() */
	return atomic_load_explicit(&bucket->mark, memory_order_acquire);
}

/* The later of a mark and the clock: what is spoken for, at least. */
static inline uint64_t bucket_base(uint64_t mark, uint64_t v)
{
	return (int64_t)(mark - v) > 0 ? mark : v;
}

/*
 * Takes `units` if afterwards the mark is at most `limit` units ahead of V: `limit` is the
 * burst for a call that will not wait, more for one that will. `mark` was loaded before the time
 * that V was read at: so a refusal without a lost race was true at that time. A lost race backs
 * off and does not read the time again: V only grows, so an older V refuses rather than grants,
 * and out->lost says that a later one might not.
 */
static inline enum bucket_result bucket_take_from(struct bucket *bucket, uint64_t mark, uint64_t v,
						  uint64_t units, uint64_t limit,
						  struct bucket_mark *out)
{
	out->lost = false;
	for (unsigned pauses = BUCKET_BACKOFF;; mark = bucket_back_off(bucket, &pauses)) {
		uint64_t next = bucket_base(mark, v) + units;

		if (__builtin_expect(mark == BUCKET_UNSET || mark & BUCKET_FROZEN, 0))
			return mark & BUCKET_FROZEN ? BUCKET_IS_FROZEN : BUCKET_IS_UNSET;
		if (next - v > limit) {
			out->mark = mark;
			out->excess = next - v - limit;
			return BUCKET_REFUSED;
		}
		/* release: pairs with the acquire in bucket_load(), in the next taker */
		if (atomic_compare_exchange_weak_explicit(&bucket->mark, &mark, next,
							  memory_order_acq_rel,
							  memory_order_acquire)) {
			out->mark = next;
			return BUCKET_TAKEN;
		}
		out->lost = true;
	}
}

/* The mark as it is, frozen bit included. */
static inline uint64_t bucket_load(const struct bucket *bucket)
{
	/* acquire: pairs with the release in bucket_install() and bucket_freeze(), so that what
	 * was published before a freeze is seen by whoever meets it */
	return atomic_load_explicit(&bucket->mark, memory_order_acquire);
}

/* The same from the present mark, by a V that the caller holds to be good enough. */
static inline enum bucket_result bucket_take(struct bucket *bucket, uint64_t v, uint64_t units,
					     uint64_t limit, struct bucket_mark *out)
{
	return bucket_take_from(bucket, bucket_load(bucket), v, units, limit, out);
}

/*
 * Takes as many of `most` pieces of `unit` units each as are there, at least `least` (1 or more) or
 * none: *taken says how many. Everything else is as in bucket_take_from(); out->excess is what
 * `least` lacks.
 */
enum bucket_result bucket_take_some(struct bucket *bucket, uint64_t mark, uint64_t v, uint64_t unit,
				    uint64_t least, uint64_t most, uint64_t limit,
				    struct bucket_mark *out, uint64_t *taken);

/* What bucket_take_from() would come to at this moment. Takes nothing; out->mark is the mark. */
enum bucket_result bucket_see(uint64_t mark, uint64_t v, uint64_t units, uint64_t limit,
			      struct bucket_mark *out);

/* What is wanted of a bucket with windows. */
struct bucket_want {
	uint64_t unit;	 /* of one piece */
	uint64_t least;	 /* so many pieces, 1 or more, or none */
	uint64_t most;	 /* so many at most; more than `least` in the present window alone */
	uint64_t before; /* a look: units that will be taken first */
	uint64_t limit;	 /* in the present window: so far ahead of V at most, up to the burst */
	uint64_t ticks;	 /* or in one that begins so soon; 0: the present one */
	bool look;	 /* takes nothing */
};

/* What a take of a bucket with windows left behind, or what a refusal met. */
struct bucket_windows {
	uint64_t mark;	 /* taken: the mark after it, which is the taker's position */
	uint64_t v;	 /* as this bucket sees it: level = burst - (mark - v) */
	uint64_t pieces; /* taken, or `least` */
	uint64_t excess; /* refused: what `least` is beyond the limit */
	uint64_t count;	 /* and how many windows must begin first; WINDOW_NEVER */
	bool lost;	 /* another's exchange came first at least once */
};

/*
 * What a take comes to with the mark where it is, of any line: whether it passes, and then how far
 * ahead of out->v the mark is after it. out->mark is as before; of a straight line out->count is 0.
 */
bool bucket_weigh(const struct line *line, uint64_t now, uint64_t mark,
		  const struct bucket_want *want, struct bucket_windows *out, uint64_t *after);

/*
 * bucket_take_from(), bucket_take_some() and bucket_see() of a line with windows. `mark` was loaded
 * before `now` was read. What passes later passes as a whole: see window_after().
 */
enum bucket_result bucket_take_window(struct bucket *bucket, uint64_t mark, const struct line *line,
				      uint64_t now, const struct bucket_want *want,
				      struct bucket_windows *out);

/*
 * Gives `units` back, whose taker holds position `p` (its mark after the take). In full, never
 * below V, when nobody can be waiting (mark - burst <= V); otherwise only to the last in line,
 * and only what lies beyond V; otherwise nothing. Returns the units given back.
 */
uint64_t bucket_give_back(struct bucket *bucket, uint64_t v, uint64_t burst, uint64_t units,
			  uint64_t position);

/*
 * The same of a line with windows. What passed in a window that is over is not given back: it
 * would let more pass in the present one than its quota.
 */
uint64_t bucket_give_back_window(struct bucket *bucket, const struct line *line, uint64_t now,
				 uint64_t units, uint64_t position);

/* What either of them gives back with the mark where it is. */
uint64_t bucket_returnable(const struct line *line, uint64_t now, uint64_t mark, uint64_t units,
			   uint64_t position);

/* The mark with a debt of `units` more, whatever the level; saturates as bucket_charge() does. */
uint64_t bucket_charged(const struct line *line, uint64_t now, uint64_t mark, uint64_t units);

/* Adds a debt of `units`, whatever the level; saturates LINE_FAR ahead of V (window_room()). */
enum bucket_result bucket_charge(struct bucket *bucket, const struct line *line, uint64_t now,
				 uint64_t units);

/*
 * Lowers the level to `units`, if more is left: what somebody else counts says so. It is never
 * raised; with windows it is the present one's.
 */
enum bucket_result bucket_lower(struct bucket *bucket, const struct line *line, uint64_t now,
				uint64_t units);

/* Raises the mark to `at_least`, if it is behind: an endpoint that was closed opens empty. */
enum bucket_result bucket_drain(struct bucket *bucket, uint64_t at_least);

/* First use: unset -> mark. Somebody else's value stands if it came first. */
void bucket_install(struct bucket *bucket, uint64_t mark);

/* Freezes the mark where it stands, for good; returns its last value, BUCKET_UNSET included. */
uint64_t bucket_freeze(struct bucket *bucket);

/*
 * The same on behalf of `to`, which continues this bucket, as long as `to` is unset: a helper that
 * was held up must not freeze a mark that was thawed meanwhile. false: `to` has its mark.
 */
bool bucket_freeze_for(struct bucket *bucket, const struct bucket *to, uint64_t *mark);

/* Publisher: a frozen bucket whose name comes back to it; no effect on any other. */
void bucket_thaw(struct bucket *bucket, uint64_t mark);

/* The mark without its frozen bit; BUCKET_UNSET when nobody has used it. */
static inline uint64_t bucket_look(const struct bucket *bucket)
{
	/* acquire: pairs with the release of the last taker; a stale value is a past level */
	return atomic_load_explicit(&bucket->mark, memory_order_acquire) & ~BUCKET_FROZEN;
}

/* Units left: burst - (mark - V), below 0 when some wait, at most the burst. */
int64_t bucket_level(uint64_t mark, uint64_t v, uint64_t burst, uint64_t initial);

#endif
