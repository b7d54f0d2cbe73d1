/* SPDX-License-Identifier: Apache-2.0 */
#include "keyed.h"

#include "wide.h"
#include "window.h"

/* So often an insertion begins anew before it calls the table damaged. */
#define INSERTION_ROUNDS 100000

/* 21.8 bytes a key: 15 slots for 11 keys, in whole bins, the same number in either half. */
uint64_t keyed_bins(uint64_t keys)
{
	uint64_t slots = (keys * 15 + 10) / 11;

	return (slots + 2 * LAYOUT_BIN_SLOTS - 1) / (2 * LAYOUT_BIN_SLOTS) * 2;
}

static struct key_bin *left_bin(const struct keyed *table, uint64_t key)
{
	return &table->bins[keyed_left(table, key)];
}

static struct key_bin *right_bin(const struct keyed *table, uint64_t key)
{
	return &table->bins[keyed_right(table, key)];
}

static struct key_stripe *stripe_of(const struct keyed *table, uint64_t key)
{
	return &table->head->stripes[key % LAYOUT_KEY_STRIPES];
}

static bool is_retired(const struct keyed *table)
{
	/* seq_cst: pairs with move_retire(); who inserts reads it after its announcement, who
	 * freezes looks for announcements after it was set */
	return table->retired && atomic_load_explicit(table->retired, memory_order_seq_cst);
}

static bool exchange(const struct key_seen *seen, uint64_t key, uint64_t mark)
{
	return wide_exchange(seen->slot, seen->key, seen->mark, key, mark);
}

/* ---- looking ---- */

static bool bin_find(struct key_bin *bin, uint64_t key, struct key_seen *out)
{
	for (unsigned i = 0; i < LAYOUT_BIN_SLOTS; i++) {
		struct key_slot *slot = &bin->slots[i];
		/* acquire, all: pair with the exchanges. The mark was the key's, as the key is
		 * there before it and after it */
		uint64_t found = atomic_load_explicit(&slot->key, memory_order_acquire);

		if ((found & ~KEY_MOVED) != key)
			continue;

		uint64_t mark = atomic_load_explicit(&slot->mark, memory_order_acquire);

		if (atomic_load_explicit(&slot->key, memory_order_acquire) != found)
			continue; /* it will be looked for where it is inserted */
		*out = (struct key_seen){slot, found, mark};
		return true;
	}
	return false;
}

void keyed_find(const struct keyed *table, uint64_t key, struct key_seen *out)
{
	if (!bin_find(left_bin(table, key), key, out) && !bin_find(right_bin(table, key), key, out))
		out->slot = NULL;
}

/* How good a slot is for a key that is not there: the least first. */
enum grade {
	GRADE_FREE,
	GRADE_FULL,	 /* of a key whose bucket is full, and says nothing */
	GRADE_ANNOUNCED, /* by somebody who may have been killed */
	GRADE_DEBT,	 /* of a key that will be forgotten */
	GRADES,
};

struct bin_look {
	unsigned used;
	unsigned debts;
	struct key_seen best[GRADES];
	uint64_t ahead[GRADES]; /* of the best */
};

/* All that an insertion has to know of the slots of its key. */
struct look {
	struct key_seen there; /* the bucket, its mark moved or not */
	struct key_seen announced[2 * LAYOUT_BIN_SLOTS];
	unsigned announcements;
	struct bin_look bins[2];
};

static void note_room(struct bin_look *bin, const struct key_seen *seen, const struct line *line,
		      uint64_t now)
{
	enum grade grade = GRADE_FREE;
	uint64_t ahead = 0;

	if (seen->key & KEY_MOVED)
		return; /* the table is retired */
	if (seen->key & KEY_INSERTING)
		grade = GRADE_ANNOUNCED;
	else if (seen->key) {
		ahead = line_stand(line, now, seen->mark).ahead;
		grade = ahead ? GRADE_DEBT : GRADE_FULL;
	}
	bin->used += grade != GRADE_FREE;
	bin->debts += grade > GRADE_FULL;
	if (bin->best[grade].slot && ahead >= bin->ahead[grade])
		return;
	bin->best[grade] = *seen;
	bin->ahead[grade] = ahead;
}

/* From the key's home on, so that of slots that are alike one there is chosen. */
static void look_at_bin(struct key_slot *home, uint64_t key, const struct line *line, uint64_t now,
			struct bin_look *room, struct look *out)
{
	for (unsigned i = 0; i < LAYOUT_BIN_SLOTS; i++) {
		struct key_slot *from = i < KEYED_LINE_SLOTS ? home : keyed_neighbour(home);
		struct key_slot *slot = &from[i % KEYED_LINE_SLOTS];
		/* acquire, both: pair with the exchanges. If the two never stood there together,
		 * the exchange of what is made of them fails */
		uint64_t mark = atomic_load_explicit(&slot->mark, memory_order_acquire);
		uint64_t found = atomic_load_explicit(&slot->key, memory_order_acquire);
		const struct key_seen seen = {slot, found, mark};

		if ((found & ~KEY_MOVED) == key)
			out->there = seen;
		else if (found == (key | KEY_INSERTING))
			out->announced[out->announcements++] = seen;
		else
			note_room(room, &seen, line, now);
	}
}

static void look_around(const struct keyed *table, uint64_t key, const struct line *line,
			uint64_t now, struct look *out)
{
	const struct line_pair home = keyed_home(table, key);

	*out = (struct look){.announcements = 0};
	look_at_bin(home.left, key, line, now, &out->bins[0], out);
	look_at_bin(keyed_right_of(home), key, line, now, &out->bins[1], out);
}

/*
 * Where to announce. While there is a free slot, in the bin that is less used, so that both fill
 * alike; after that, in the one with fewer debts. Else nobody's debt is forgotten as long as there
 * is an announcement that may be a dead one's; and else the debt that is the least.
 */
static const struct key_seen *choose_room(const struct look *look, enum grade *grade)
{
	const struct bin_look *left = &look->bins[0];
	const struct bin_look *right = &look->bins[1];

	for (*grade = GRADE_FREE; *grade < GRADES; ++*grade) {
		const struct key_seen *a = &left->best[*grade];
		const struct key_seen *b = &right->best[*grade];
		bool is_right = *grade == GRADE_FREE   ? right->used < left->used
				: *grade == GRADE_FULL ? right->debts < left->debts
						       : right->ahead[*grade] < left->ahead[*grade];

		if (a->slot && b->slot)
			return is_right ? b : a;
		if (a->slot || b->slot)
			return a->slot ? a : b;
	}
	return NULL;
}

/* ---- inserting ---- */

enum insertion {
	INSERTION_TAKEN,
	INSERTION_REFUSED, /* by a line that was published meanwhile */
	INSERTION_THERE,   /* somebody else's is there: look again */
	INSERTION_MOVED,   /* the table is retired */
};

static void pause_for(unsigned *backoff)
{
	for (unsigned i = 0; i < *backoff; i++)
		bucket_relax();
	*backoff += *backoff < BUCKET_BACKOFF_MOST ? *backoff : 0;
}

/* Takes back all announcements but that one (NULL: all); false: one has become something else. */
static bool take_back(const struct look *look, const struct key_seen *but)
{
	bool all = true;

	for (unsigned i = 0; i < look->announcements; i++)
		if (&look->announced[i] != but && !exchange(&look->announced[i], 0, 0))
			all = false;
	return all;
}

/* Makes room and announces the key there; false: something else came first. */
static bool announce(const struct keyed *table, uint64_t key, const struct look *look,
		     struct key_seen *out)
{
	struct key_stripe *stripe = stripe_of(table, key);
	enum grade grade;
	const struct key_seen *room = choose_room(look, &grade);

	if (!room)
		return false;
	/* relaxed, both: all that counts of the one is that nobody else gets the same number, and
	 * the other is for people */
	*out = (struct key_seen){
		room->slot,
		key | KEY_INSERTING,
		atomic_fetch_add_explicit(&stripe->inserting, 1, memory_order_relaxed),
	};
	if (!exchange(room, out->key, out->mark))
		return false;
	if (grade == GRADE_DEBT)
		atomic_fetch_add_explicit(&stripe->evicted, 1, memory_order_relaxed);
	return true;
}

/*
 * The announcement becomes the bucket, and is taken from at once. The time is read again: an
 * earlier bucket of the key may have become full and been recycled since the caller read it, and
 * what it had given by then must not be given once more.
 */
static enum insertion commit(uint64_t key, const struct key_seen *announced,
			     const struct line *line, uint64_t now, const struct keyed_want *want,
			     struct bucket_windows *out, bool *lost)
{
	struct line fresh = *line;
	uint64_t after;

	if (want->row) {
		now = line_read(want->row, want->time, &fresh);
		if (fresh.flags & LINE_UNLIMITED)
			fresh = *line;
	}
	if (!bucket_weigh(&fresh, now, want->first, &want->want, out, &after)) {
		exchange(announced, 0, 0);
		return INSERTION_REFUSED;
	}
	*lost = !exchange(announced, key, out->v + after);
	out->mark = out->v + after;
	return INSERTION_TAKEN;
}

static enum insertion insert(const struct keyed *table, uint64_t key, const struct line *line,
			     uint64_t now, const struct keyed_want *want,
			     struct bucket_windows *out)
{
	struct key_seen known = {NULL, 0, 0}; /* an announcement, seen before the look begins */
	unsigned backoff = BUCKET_BACKOFF;

	for (unsigned round = 0; round < INSERTION_ROUNDS; round++) {
		struct look look;
		struct key_seen *first = &look.announced[0];
		bool lost = true;

		look_around(table, key, line, now, &look);
		if (look.there.slot || is_retired(table)) {
			take_back(&look, NULL);
			return look.there.slot ? INSERTION_THERE : INSERTION_MOVED;
		}
		if (look.announcements == 0) {
			if (announce(table, key, &look, &known))
				continue;
			known.slot = NULL;
		} else if (!take_back(&look, first)) {
			known.slot = NULL;
		} else if (first->slot == known.slot && first->mark == known.mark) {
			enum insertion result = commit(key, first, line, now, want, out, &lost);

			if (result == INSERTION_REFUSED || !lost)
				return result;
			known.slot = NULL;
		} else {
			known = *first;
			continue;
		}
		out->lost = true;
		pause_for(&backoff);
	}
	return INSERTION_MOVED;
}

/* ---- taking ---- */

enum bucket_result keyed_take(const struct keyed *table, uint64_t key, struct key_seen *seen,
			      const struct line *line, uint64_t now, const struct keyed_want *want,
			      struct bucket_windows *out)
{
	unsigned backoff = BUCKET_BACKOFF;

	*out = (struct bucket_windows){.lost = false};
	for (;; keyed_find(table, key, seen)) {
		uint64_t mark = seen->slot ? seen->mark : want->first;
		uint64_t after;

		if (seen->slot && seen->key & KEY_MOVED)
			return BUCKET_IS_FROZEN;
		if (!bucket_weigh(line, now, mark, &want->want, out, &after))
			return BUCKET_REFUSED;
		if (want->want.look)
			return BUCKET_TAKEN;
		if (!seen->slot) {
			switch (insert(table, key, line, now, want, out)) {
			case INSERTION_TAKEN:
				return BUCKET_TAKEN;
			case INSERTION_REFUSED:
				return BUCKET_REFUSED;
			case INSERTION_MOVED:
				return BUCKET_IS_FROZEN;
			case INSERTION_THERE:
				break;
			}
		} else if (exchange(seen, key, out->v + after)) {
			out->mark = out->v + after;
			return BUCKET_TAKEN;
		} else {
			pause_for(&backoff);
		}
		out->lost = true;
	}
}

/* ---- giving back, and other changes of a mark that is there ---- */

uint64_t keyed_give_back(const struct keyed *table, uint64_t key, const struct line *line,
			 uint64_t now, uint64_t units, uint64_t position)
{
	struct key_seen seen;

	for (;;) {
		uint64_t mark;
		uint64_t back;

		keyed_find(table, key, &seen);
		if (!seen.slot || seen.key & KEY_MOVED)
			return 0;
		back = bucket_returnable(line, now, seen.mark, units, position);
		if (back == 0)
			return 0;
		mark = seen.mark;
		if (line->flags & LINE_WINDOW) {
			struct stand stand = window_stand(line, now, mark);

			mark = stand.v + stand.ahead;
		}
		if (exchange(&seen, key, mark - back))
			return back;
	}
}

enum bucket_result keyed_charge(const struct keyed *table, uint64_t key, const struct line *line,
				uint64_t now, uint64_t units, const struct keyed_want *want)
{
	struct stand full = line_stand(line, now, BUCKET_UNSET);
	struct keyed_want charge = *want;
	struct bucket_windows out;
	struct key_seen seen;

	charge.want = (struct bucket_want){
		.unit = bucket_charged(line, now, BUCKET_UNSET, units) - full.v,
		.least = 1,
		.most = 1,
		.limit = UINT64_MAX,
	};
	for (;;) {
		keyed_find(table, key, &seen);
		if (!seen.slot)
			return keyed_take(table, key, &seen, line, now, &charge, &out);
		if (seen.key & KEY_MOVED)
			return BUCKET_IS_FROZEN;
		if (exchange(&seen, key, bucket_charged(line, now, seen.mark, units)))
			return BUCKET_TAKEN;
	}
}

bool keyed_set(const struct keyed *table, uint64_t key, uint64_t mark)
{
	struct key_seen seen;

	do {
		keyed_find(table, key, &seen);
		if (!seen.slot || seen.key & KEY_MOVED)
			return false;
	} while (!exchange(&seen, key, mark));
	return true;
}

/* false: it has changed meanwhile. */
static bool set_slot(struct key_slot *slot, uint64_t (*place)(uint64_t mark, const void *context),
		     const void *context)
{
	/* as in look_at_bin() */
	uint64_t mark = atomic_load_explicit(&slot->mark, memory_order_acquire);
	uint64_t key = atomic_load_explicit(&slot->key, memory_order_acquire);
	const struct key_seen seen = {slot, key, mark};

	return key == 0 || key & ~KEY_HASH || exchange(&seen, key, place(mark, context));
}

void keyed_set_all(const struct keyed *table, uint64_t (*place)(uint64_t mark, const void *context),
		   const void *context)
{
	for (uint64_t i = 0; i < 2 * table->half; i++)
		for (unsigned slot = 0; slot < LAYOUT_BIN_SLOTS; slot++)
			while (!set_slot(&table->bins[i].slots[slot], place, context))
				;
}

/* ---- moving ---- */

static bool freeze_in_bin(struct key_bin *bin, uint64_t key, bool *again, uint64_t *mark)
{
	bool found = false;

	for (unsigned i = 0; i < LAYOUT_BIN_SLOTS; i++) {
		struct key_slot *slot = &bin->slots[i];
		/* as in look_at_bin() */
		uint64_t at = atomic_load_explicit(&slot->mark, memory_order_acquire);
		uint64_t word = atomic_load_explicit(&slot->key, memory_order_acquire);
		const struct key_seen seen = {slot, word, at};

		if (word == (key | KEY_INSERTING)) {
			*again |= !exchange(&seen, 0, 0);
		} else if (word == key) {
			*again |= !exchange(&seen, key | KEY_MOVED, at);
			found = true;
		} else if (word == (key | KEY_MOVED)) {
			found = true;
		} else {
			continue;
		}
		if (found)
			*mark = at;
	}
	return found;
}

bool keyed_freeze(const struct keyed *table, uint64_t key, uint64_t *mark)
{
	for (;;) {
		bool again = false;
		bool found = freeze_in_bin(left_bin(table, key), key, &again, mark);

		if (freeze_in_bin(right_bin(table, key), key, &again, mark))
			found = true;
		if (!again)
			return found;
	}
}

/* ---- for people ---- */

static void count_slot(const struct key_slot *slot, const struct line *line, uint64_t now,
		       struct keyed_census *out)
{
	/* relaxed, both: a count that is a little off */
	uint64_t key = atomic_load_explicit(&slot->key, memory_order_relaxed);
	uint64_t mark = atomic_load_explicit(&slot->mark, memory_order_relaxed);
	uint64_t ahead;

	if (key == 0)
		return;
	if (key & KEY_INSERTING) {
		out->inserting++;
		return;
	}
	ahead = line_stand(line, now, mark).ahead;
	out->used++;
	out->debts += ahead > 0;
	out->waiting += ahead > line->burst_units;
}

void keyed_count(const struct keyed *table, const struct line *line, uint64_t now,
		 struct keyed_census *out)
{
	*out = (struct keyed_census){.slots = 2 * table->half * LAYOUT_BIN_SLOTS};
	for (uint64_t i = 0; i < 2 * table->half; i++)
		for (unsigned slot = 0; slot < LAYOUT_BIN_SLOTS; slot++)
			count_slot(&table->bins[i].slots[slot], line, now, out);
	for (unsigned i = 0; i < LAYOUT_KEY_STRIPES; i++) {
		const struct key_stripe *stripe = &table->head->stripes[i];

		out->inserted += atomic_load_explicit(&stripe->inserting, memory_order_relaxed);
		out->evicted += atomic_load_explicit(&stripe->evicted, memory_order_relaxed);
	}
}
