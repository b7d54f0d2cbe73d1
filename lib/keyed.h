/* SPDX-License-Identifier: Apache-2.0
 *
 * keyed.h - one rule, millions of keys: a table of marks of fixed size. Knows no names.
 *
 * A key is its keyed hash. A slot is {key, mark}, and one exchange of both is a whole transaction,
 * so no take can charge another key. A bucket whose mark is behind V is full and says nothing: its
 * slot is free for the taking. A key has two bins of eight slots, one in each half of the table;
 * a new one goes to the emptier bin, to the left one if they are alike. So 22 bytes a key suffice
 * for a table in which every key is in debt (with four slots in either bin it would be 36). Of its
 * bin's two lines it takes the one where it is at home, as long as there is room.
 *
 * Two who insert the same key may pick different slots, and a key must never have two buckets. So
 * who inserts first announces: the key goes into a slot with a bit that grants nothing and with a
 * number that no other announcement of the key ever has. Then the key's slots are looked through:
 * all of its other announcements are taken back by exchange, a bucket that is there is used
 * instead, and else the announcement in the first slot becomes the bucket by the exchange that is
 * the first take as well. It may be anybody's announcement, as long as it was seen before the look
 * began. Why no key has two: of two announcements that both became buckets one was made after
 * the other's look had passed its slot, else that look had taken it back; then its own look came
 * later still, and found the other one there, or the bucket that it had become.
 *
 * Who writes: everybody. Killed anywhere: an announcement may be left over; it holds nobody up,
 * and its slot is free for whoever finds no other. Lock-free.
 */
#ifndef WEIR_KEYED_H
#define WEIR_KEYED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bucket.h"
#include "layout.h"
#include "token_clock.h"
#include "wide.h"

#if defined(__has_feature)
#define KEYED_FEATURE(x) __has_feature(x)
#else
#define KEYED_FEATURE(x) 0
#endif

#ifdef __SSE2__
#include <x86intrin.h>
#endif

#define KEY_INSERTING (1ull << 63)
#define KEY_MOVED (1ull << 62)
#define KEY_HASH (KEY_MOVED - 1)

/* A table as one process sees it; in memory that is aligned as its bins are. */
struct keyed {
	struct key_bin *bins; /* NULL: there is none */
	struct key_head *head;
	uint64_t half; /* bins in either half, 1 or more */
	/* set: nothing may be inserted here any more, see keyed_freeze(); NULL: never */
	const _Atomic uint32_t *retired;
};

/* Bins for so many keys in debt at once: even, 15 slots for 11 keys. */
uint64_t keyed_bins(uint64_t keys);

/* Where a key was found, or that it was not. */
struct key_seen {
	struct key_slot *slot; /* NULL: nowhere */
	uint64_t key;	       /* with KEY_MOVED where its mark has moved */
	uint64_t mark;
};

/* Which bins are a key's; by 31 bits of it each, and a multiplication in place of a division. */
static inline uint64_t keyed_left(const struct keyed *table, uint64_t key)
{
	return ((key & 0x7fffffff) * table->half) >> 31;
}

static inline uint64_t keyed_right(const struct keyed *table, uint64_t key)
{
	return table->half + (((key >> 31 & 0x7fffffff) * table->half) >> 31);
}

/* Slots of a cache line, of which a bin has two. */
#define KEYED_LINE_SLOTS (LAYOUT_BIN_SLOTS / 2)

/* One line of either bin of a key: the left one, and how far away the right one is, in bytes. */
struct line_pair {
	struct key_slot *left;
	ptrdiff_t apart;
};

/* Where in either bin a key is at home, by one bit more than keyed_left() and keyed_right(). */
static inline struct line_pair keyed_home(const struct keyed *table, uint64_t key)
{
	struct key_slot *slots = (struct key_slot *)(void *)table->bins;
	uint64_t left = ((key & 0x7fffffff) * table->half) >> 30;
	uint64_t right = 2 * table->half + (((key >> 31 & 0x7fffffff) * table->half) >> 30);

	return (struct line_pair){
		.left = &slots[left * KEYED_LINE_SLOTS],
		.apart = (ptrdiff_t)((right - left) * KEYED_LINE_SLOTS * sizeof(struct key_slot)),
	};
}

static inline struct key_slot *keyed_right_of(struct line_pair lines)
{
	return (struct key_slot *)(void *)((char *)lines.left + lines.apart);
}

/* The other line of the same bin. */
static inline struct key_slot *keyed_neighbour(struct key_slot *line)
{
	return (struct key_slot *)((uintptr_t)line ^ (KEYED_LINE_SLOTS * sizeof(struct key_slot)));
}

static inline struct line_pair keyed_neighbours(struct line_pair lines)
{
	struct key_slot *left = keyed_neighbour(lines.left);

	return (struct line_pair){
		.left = left,
		.apart = (char *)keyed_neighbour(keyed_right_of(lines)) - (char *)left,
	};
}

/* Brings both bins nearer. Always in line: a call that has no effect gcc leaves out. */
static inline __attribute__((always_inline)) void keyed_prefetch(struct line_pair home)
{
	__builtin_prefetch(home.left);
	__builtin_prefetch(keyed_right_of(home));
	__builtin_prefetch(keyed_neighbour(home.left));
	__builtin_prefetch(keyed_neighbour(keyed_right_of(home)));
}

/*
 * Looks for a key. Before the time is read: a refusal by this mark was then true at that time (see
 * bucket_take_from()).
 */
void keyed_find(const struct keyed *table, uint64_t key, struct key_seen *out);

/*
 * In which slots of two lines the key seems to be, two bits for each. Without a branch, as nobody
 * can predict where a key is: what a processor has begun behind a wrong guess it begins anew once
 * the bin has come from memory, and then two calls never wait for their bins at the same time. For
 * the same reason with few instructions: by that half of the keys which has not chosen the bin. Of
 * 2^27 keys one meets another with the same half. ThreadSanitizer gets the portable ones.
 */
#if defined(__SSE2__) && !defined(__SANITIZE_THREAD__) && !KEYED_FEATURE(thread_sanitizer)

/* Two keys. By plain loads of a word, which acquire on x86. */
static inline __m128 keyed_two(const struct key_slot *slots)
{
	const __m128i first = _mm_loadl_epi64((const __m128i *)(const void *)&slots[0].key);

	return _mm_loadh_pi(_mm_castsi128_ps(first), (const __m64 *)(const void *)&slots[1].key);
}

static inline __m128i keyed_upper_halves(const struct key_slot *slots)
{
	return _mm_castps_si128(_mm_shuffle_ps(keyed_two(&slots[0]), keyed_two(&slots[2]),
					       _MM_SHUFFLE(3, 1, 3, 1)));
}

static inline __m128i keyed_lower_halves(const struct key_slot *slots)
{
	return _mm_castps_si128(_mm_shuffle_ps(keyed_two(&slots[0]), keyed_two(&slots[2]),
					       _MM_SHUFFLE(2, 0, 2, 0)));
}

static inline unsigned keyed_bits(const struct key_slot *left, const struct key_slot *right,
				  uint64_t key)
{
	const __m128i upper = _mm_set1_epi32((int)(key >> 32));
	const __m128i lower = _mm_set1_epi32((int)(uint32_t)key);
	const __m128i in_left = _mm_cmpeq_epi32(keyed_upper_halves(left), upper);
	const __m128i in_right = _mm_cmpeq_epi32(keyed_lower_halves(right), lower);

	return (unsigned)_mm_movemask_epi8(_mm_packs_epi32(in_left, in_right));
}

#else

static inline unsigned keyed_bits(const struct key_slot *left, const struct key_slot *right,
				  uint64_t key)
{
	unsigned found = 0;

	for (unsigned i = 0; i < KEYED_LINE_SLOTS; i++) {
		/* acquire, both: pair with the exchanges */
		uint64_t a = atomic_load_explicit(&left[i].key, memory_order_acquire);
		uint64_t b = atomic_load_explicit(&right[i].key, memory_order_acquire);

		found |= (unsigned)(a == key) << 2 * i;
		found |= (unsigned)(b == key) << 2 * (i + KEYED_LINE_SLOTS);
	}
	return found;
}

#endif

/* Where in two lines a key seems to be, NULL: nowhere. Without a branch for a key that is there. */
static inline __attribute__((always_inline)) struct key_slot *keyed_in_lines(struct line_pair lines,
									     uint64_t key)
{
	unsigned found = keyed_bits(lines.left, keyed_right_of(lines), key);

	if (__builtin_expect(!found, 0))
		return NULL;

	unsigned at = (unsigned)__builtin_ctz(found) / 2;
	/* by the distance of the lines: no choice between the two of them either */
	char *slots = (char *)lines.left + at / KEYED_LINE_SLOTS * lines.apart;

	return &((struct key_slot *)(void *)slots)[at % KEYED_LINE_SLOTS];
}

/*
 * Where a key seems to be, NULL: nowhere. At home first, where nearly all are, so that a call waits
 * for two lines and not for the last of four. Only an exchange says that it is there: half of it
 * may be another's, and what was there may be gone.
 */
static inline __attribute__((always_inline)) struct key_slot *keyed_glance(struct line_pair home,
									   uint64_t key)
{
	struct key_slot *slot = keyed_in_lines(home, key);

	return __builtin_expect(slot != NULL, 1) ? slot
						 : keyed_in_lines(keyed_neighbours(home), key);
}

/* What is wanted of a key's bucket; `want` as of a bucket with windows, whatever the line is. */
struct keyed_want {
	struct bucket_want want;
	uint64_t first; /* mark of a key that is not there; BUCKET_UNSET: it is full */
	/* where to read the time again before an insertion; NULL: `now` stands still meanwhile */
	const struct rule_row *row;
	const struct time_source *time;
};

/*
 * Takes, or with want.look says what would come of it. `seen` is what keyed_find() found before
 * `now` was read, and is kept up to date. Everything else is as in bucket_take_window(); of a
 * straight line out->count is 0. Not for LINE_UNLIMITED. BUCKET_IS_FROZEN: the mark has moved to a
 * newer pair, or what is not here belongs there.
 */
enum bucket_result keyed_take(const struct keyed *table, uint64_t key, struct key_seen *seen,
			      const struct line *line, uint64_t now, const struct keyed_want *want,
			      struct bucket_windows *out);

/*
 * The same for the common case, all in registers: one piece from the slot where the key seems to
 * be, by a straight line whose value is `v`, which may be older than the mark that is met: V only
 * grows, so it refuses rather than grants. BUCKET_REFUSED: it seems so, see keyed_find().
 * BUCKET_IS_UNSET: the key is not there, or another's exchange came first.
 */
static inline enum bucket_result keyed_take_there(struct key_slot *slot, uint64_t key, uint64_t v,
						  uint64_t units, uint64_t limit, uint64_t *mark)
{
	/* acquire: pairs with the exchanges */
	uint64_t seen = atomic_load_explicit(&slot->mark, memory_order_acquire);
	uint64_t next = bucket_base(seen, v) + units;

	if (__builtin_expect(next - v > limit, 0))
		return BUCKET_REFUSED;
	*mark = next;
	return wide_exchange(slot, key, seen, key, next) ? BUCKET_TAKEN : BUCKET_IS_UNSET;
}

/* As bucket_give_back(), of any line; `position` 0: of no place in line. */
uint64_t keyed_give_back(const struct keyed *table, uint64_t key, const struct line *line,
			 uint64_t now, uint64_t units, uint64_t position);

/*
 * As bucket_charge(), of any line. Of `want` only what keyed_take() needs for a key that is not
 * there counts.
 */
enum bucket_result keyed_charge(const struct keyed *table, uint64_t key, const struct line *line,
				uint64_t now, uint64_t units, const struct keyed_want *want);

/* Sets the mark of a key that is there; false: it is not, or it has moved. */
bool keyed_set(const struct keyed *table, uint64_t key, uint64_t mark);

/* Sets every mark that is there to what `place` makes of it. */
void keyed_set_all(const struct keyed *table, uint64_t (*place)(uint64_t mark, const void *context),
		   const void *context);

/*
 * Freezes a key's mark for good, and whatever is being inserted of it. *table->retired must have
 * been set before; what is inserted after that takes itself back. false: the key is not there.
 */
bool keyed_freeze(const struct keyed *table, uint64_t key, uint64_t *mark);

/* ---- for people ---- */

struct keyed_census {
	uint64_t slots;
	uint64_t used;	    /* by keys in debt, and by such as are full again */
	uint64_t debts;	    /* keys in debt */
	uint64_t waiting;   /* of them, those with places in line */
	uint64_t inserting; /* announced now, or left over by the killed */
	uint64_t inserted;  /* since the table was made */
	uint64_t evicted;   /* keys in debt that had to make room */
};

/* Walks through the whole table. */
void keyed_count(const struct keyed *table, const struct line *line, uint64_t now,
		 struct keyed_census *out);

#endif
