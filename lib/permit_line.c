/* SPDX-License-Identifier: Apache-2.0 */
#include "permit_line.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "permits.h"
#include "weir.h"

#define REACH_ARRIVAL (1ull << 32)
#define WAKE_STATE 3u
#define WAKE_CALL 4u

static struct waiter_row *row_of(const struct segment *segment, uint32_t index)
{
	return &segment->waiters[index];
}

/* Where a line begins, so that lines lie apart in the table. */
static uint32_t line_home(const struct segment *segment, uint32_t head)
{
	return segment->waiter_count ? (uint32_t)(head * 2654435761u) % segment->waiter_count : 0;
}

static uint32_t row_after(const struct segment *segment, uint32_t index)
{
	return index + 1 == segment->waiter_count ? 0 : index + 1;
}

static void wake(const struct segment *segment, const _Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
	/* on a manual clock they sleep on its word */
	time_source_nudge(&segment->time);
}

/* ---- joining and leaving ---- */

/* The first free row from where the line begins; its distance, or -1. */
static int64_t claim(const struct segment *segment, uint32_t head, uint64_t owner, uint32_t *index,
		     uint64_t *word)
{
	uint32_t at = line_home(segment, head);

	for (uint32_t distance = 0; distance < segment->waiter_count; distance++) {
		/* relaxed: the exchange below decides */
		uint64_t seen =
			atomic_load_explicit(&row_of(segment, at)->owner, memory_order_relaxed);

		*word = owner | ((seen + 1) & PERMIT_COUNT);
		/* acquire: pairs with the release of who had the row before, in line_leave() */
		if (!(seen & PERMIT_HELD) && atomic_compare_exchange_strong_explicit(
						     &row_of(segment, at)->owner, &seen, *word,
						     memory_order_acq_rel, memory_order_relaxed)) {
			*index = at;
			return distance;
		}
		at = row_after(segment, at);
	}
	return -1;
}

/* Awake, or for who is called by a bell as if asleep: the loop may be, as far as he knows. */
static uint32_t look(struct waiter_row *row, memory_order order)
{
	/* relaxed: written by the place's holder himself */
	bool rings = atomic_load_explicit(&row->rings, memory_order_relaxed);
	uint32_t seen = atomic_load_explicit(&row->wake, memory_order_relaxed);
	uint32_t next;

	do
		next = (seen & ~WAKE_STATE) | (rings ? WAITER_WAITS : WAITER_LOOKS);
	while (!atomic_compare_exchange_weak_explicit(&row->wake, &seen, next, order,
						      memory_order_relaxed));
	return next;
}

uint32_t line_look(const struct segment *segment, const struct permit_place *place)
{
	/* seq_cst: before the look for a permit; pairs with line_call() */
	return look(row_of(segment, place->index), memory_order_seq_cst);
}

/* From here on whoever looks along the line comes as far as this row. */
static void reach_raise(struct permit_line *line, uint64_t length)
{
	/* relaxed: the exchange decides */
	uint64_t reach = atomic_load_explicit(&line->reach, memory_order_relaxed);
	uint64_t next;

	do {
		uint64_t present = reach & LINE_LENGTH;

		/* counted also if it is long enough: see reach_shorten() */
		next = ((reach & ~LINE_LENGTH) + REACH_ARRIVAL) |
		       (present > length ? present : length);
		/* seq_cst: before the waiter's look for a permit; pairs with line_find_first() */
	} while (!atomic_compare_exchange_weak_explicit(
		&line->reach, &reach, next, memory_order_seq_cst, memory_order_relaxed));
}

int line_join(const struct segment *segment, uint32_t head, uint64_t owner, bool rings,
	      struct permit_place *out)
{
	struct permit_line *line = &segment->lines[head];
	struct permit_place place;
	int64_t distance = claim(segment, head, owner, &place.index, &place.owner);

	if (distance < 0)
		return WEIR_EWAITERS;

	struct waiter_row *row = row_of(segment, place.index);

	/* relaxed, both: whoever calls reads them after the place. A call that was meant for the
	 * row's last waiter may be lost here; this one is not in line yet, and looks first */
	atomic_store_explicit(&row->rings, rings, memory_order_relaxed);
	look(row, memory_order_relaxed);
	/* relaxed: a number of its own is all there is to it */
	place.ticket =
		PLACE_VALID | (uint64_t)head << 47 |
		(atomic_fetch_add_explicit(&line->tickets, 1, memory_order_relaxed) & PLACE_TICKET);
	/* seq_cst: before the waiter's look for a permit; pairs with line_find_first() */
	atomic_store_explicit(&row->place, place.ticket, memory_order_seq_cst);
	reach_raise(line, (uint64_t)distance + 1);
	*out = place;
	return 0;
}

bool line_holds(const struct segment *segment, const struct permit_place *place)
{
	return place->index < segment->waiter_count &&
	       /* relaxed: only its owner, or who holds the lock of its slot, changes it */
	       atomic_load_explicit(&row_of(segment, place->index)->owner, memory_order_relaxed) ==
		       place->owner;
}

bool line_leave(const struct segment *segment, const struct permit_place *place)
{
	struct waiter_row *row = row_of(segment, place->index);
	uint64_t owner = place->owner;

	if (!line_holds(segment, place))
		return false;
	/* seq_cst: before the look for a permit that is left; pairs with line_find_first(). And
	 * before the row is free: its next waiter's place must not be wiped out */
	atomic_store_explicit(&row->place, 0, memory_order_seq_cst);
	/* release: pairs with the acquire in claim() */
	return atomic_compare_exchange_strong_explicit(&row->owner, &owner, owner & PERMIT_COUNT,
						       memory_order_acq_rel, memory_order_relaxed);
}

void line_reap(const struct segment *segment, uint32_t member)
{
	for (uint32_t i = 0; i < segment->waiter_count; i++) {
		/* relaxed: its owner is dead, and its slot's lock is held */
		uint64_t owner =
			atomic_load_explicit(&row_of(segment, i)->owner, memory_order_relaxed);
		const struct permit_place place = {.index = i, .owner = owner};

		if (owner & PERMIT_HELD && permit_member(owner) == member)
			line_leave(segment, &place);
	}
}

/* ---- looking ---- */

bool line_rest(const struct segment *segment, const struct permit_place *place, uint32_t *value)
{
	uint32_t next = (*value & ~WAKE_STATE) | WAITER_WAITS;
	/* seq_cst: who gave a permit back before this saw him awake, and his call fails it; who
	 * does so later sees him asleep. Pairs with line_call() */
	bool rests = atomic_compare_exchange_strong_explicit(&row_of(segment, place->index)->wake,
							     value, next, memory_order_seq_cst,
							     memory_order_relaxed);

	*value = next;
	return rests;
}

/* A place of the line of that head, or 0. */
static uint64_t place_at(const struct segment *segment, uint32_t index, uint32_t head)
{
	/* seq_cst: pairs with line_join() and line_leave() */
	uint64_t place = atomic_load_explicit(&row_of(segment, index)->place, memory_order_seq_cst);

	return place & PLACE_VALID && place_head(place) == head ? place : 0;
}

static enum waiter_state state_at(const struct segment *segment, uint32_t index)
{
	/* seq_cst: pairs with line_look() */
	return (enum waiter_state)(
		atomic_load_explicit(&row_of(segment, index)->wake, memory_order_seq_cst) &
		WAKE_STATE);
}

static uint32_t member_at(const struct segment *segment, uint32_t index)
{
	/* relaxed: written before the place that was seen */
	return permit_member(
		atomic_load_explicit(&row_of(segment, index)->owner, memory_order_relaxed));
}

static uint64_t line_reach(const struct segment *segment, uint32_t head, uint32_t *length)
{
	/* seq_cst: pairs with reach_raise() */
	uint64_t reach = atomic_load_explicit(&segment->lines[head].reach, memory_order_seq_cst);

	*length = (uint32_t)(reach & LINE_LENGTH);
	if (*length > segment->waiter_count)
		*length = segment->waiter_count;
	return reach;
}

/*
 * Nobody was found in line: the next look has nothing to look along. Who arrived meanwhile counted
 * himself, so that the exchange fails; who has claimed a row and has not, raises it himself.
 */
static void reach_shorten(const struct segment *segment, uint32_t head, uint64_t seen)
{
	/* relaxed: nothing is published by it */
	atomic_compare_exchange_strong_explicit(&segment->lines[head].reach, &seen,
						seen & ~LINE_LENGTH, memory_order_relaxed,
						memory_order_relaxed);
}

/* A walk along the line: while (walk_next(&walk)). */
struct line_walk {
	const struct segment *segment;
	uint64_t reach;
	uint64_t place;
	uint32_t head;
	uint32_t length;
	uint32_t index;
	uint32_t next;
	enum waiter_state state;
	bool empty;
};

static void walk_begin(struct line_walk *walk, const struct segment *segment, uint32_t head)
{
	*walk = (struct line_walk){.segment = segment, .head = head, .empty = true};
	walk->reach = line_reach(segment, head, &walk->length);
	walk->next = line_home(segment, head);
}

/* On to the next one in line, in no order; those that were passed over are left out. */
static bool walk_next(struct line_walk *walk)
{
	while (walk->length > 0) {
		walk->length--;
		walk->index = walk->next;
		walk->next = row_after(walk->segment, walk->index);
		walk->place = place_at(walk->segment, walk->index, walk->head);
		if (!walk->place)
			continue;
		walk->empty = false;
		walk->state = state_at(walk->segment, walk->index);
		if (walk->state != WAITER_PASSED)
			return true;
	}
	if (walk->empty && walk->reach & LINE_LENGTH)
		reach_shorten(walk->segment, walk->head, walk->reach);
	return false;
}

bool line_find_first(const struct segment *segment, uint32_t head, struct line_first *out)
{
	struct line_walk walk;
	bool found = false;

	for (walk_begin(&walk, segment, head); walk_next(&walk);) {
		if (found && walk.place >= out->ticket)
			continue;
		found = true;
		out->index = walk.index;
		out->ticket = walk.place;
		out->state = walk.state;
	}
	/* whose it is, is asked again by the lock of that member's slot */
	if (found)
		out->member = member_at(segment, out->index);
	return found;
}

struct line_before line_before(const struct segment *segment, uint32_t head,
			       const struct permit_place *place)
{
	struct line_before before = {0};
	struct line_walk walk;

	if (line_is_empty(segment, head))
		return before;
	for (walk_begin(&walk, segment, head); walk_next(&walk);) {
		if (place && walk.place >= place->ticket)
			continue;
		before.count++;
		before.called |= walk.state == WAITER_CALLED;
	}
	return before;
}

uint64_t line_length(const struct segment *segment, uint32_t head)
{
	uint32_t at = line_home(segment, head);
	uint64_t count = 0;
	uint32_t length;

	line_reach(segment, head, &length);
	for (uint32_t i = 0; i < length; i++, at = row_after(segment, at))
		count += place_at(segment, at, head) != 0;
	return count;
}

/* ---- calling ---- */

void line_ring(const struct segment *segment, uint32_t member)
{
	if (member >= segment->member_count)
		return;

	_Atomic uint32_t *bell = &segment->members[member].bell;

	/* release: pairs with the acquire of who listens */
	atomic_fetch_add_explicit(bell, 1, memory_order_release);
	wake(segment, bell);
}

static void call(const struct segment *segment, uint32_t index)
{
	/* relaxed: written before the place that was seen */
	if (atomic_load_explicit(&row_of(segment, index)->rings, memory_order_relaxed))
		line_ring(segment, member_at(segment, index));
	else
		wake(segment, &row_of(segment, index)->wake);
}

bool line_find_next(const struct segment *segment, uint32_t head, struct line_next *out)
{
	struct line_walk walk;
	bool found = false;

	if (line_is_empty(segment, head))
		return false;
	for (walk_begin(&walk, segment, head); walk_next(&walk);) {
		if (walk.state == WAITER_CALLED || (found && walk.place >= out->ticket))
			continue;
		found = true;
		out->index = walk.index;
		out->ticket = walk.place;
	}
	if (!found)
		return false;
	out->before =
		line_before(segment, head, &(struct permit_place){.ticket = out->ticket}).count;
	return true;
}

bool line_call(const struct segment *segment, const struct line_next *next)
{
	struct waiter_row *row = row_of(segment, next->index);
	/* seq_cst, both: pairs with line_look() and line_rest() */
	uint32_t seen = atomic_load_explicit(&row->wake, memory_order_seq_cst);

	do {
		/* he was called, and has not looked since: what he will see includes this */
		if ((seen & WAKE_STATE) == WAITER_CALLED || (seen & WAKE_STATE) == WAITER_PASSED)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		&row->wake, &seen, ((seen & ~WAKE_STATE) + WAKE_CALL) | WAITER_CALLED,
		memory_order_seq_cst, memory_order_seq_cst));
	if ((seen & WAKE_STATE) != WAITER_LOOKS)
		call(segment, next->index);
	return true;
}

void line_nudge(const struct segment *segment, const struct permit_place *place)
{
	struct waiter_row *row = row_of(segment, place->index);

	/* release: pairs with the exchange in line_look() */
	atomic_fetch_add_explicit(&row->wake, WAKE_CALL, memory_order_release);
	wake(segment, &row->wake);
}

void line_pass_over(const struct segment *segment, const struct line_first *first)
{
	_Atomic uint32_t *word = &row_of(segment, first->index)->wake;
	/* relaxed: if it changes meanwhile, he has looked, and the exchange fails */
	uint32_t seen = atomic_load_explicit(word, memory_order_relaxed);

	if ((seen & WAKE_STATE) == WAITER_CALLED)
		/* seq_cst: before the call of the next; pairs with line_look() */
		atomic_compare_exchange_strong_explicit(word, &seen,
							(seen & ~WAKE_STATE) | WAITER_PASSED,
							memory_order_seq_cst, memory_order_relaxed);
}

void line_call_everybody(const struct segment *segment)
{
	for (uint32_t i = 0; i < segment->waiter_count; i++) {
		/* relaxed: who joins after the replacement was published sees that himself */
		uint64_t owner =
			atomic_load_explicit(&row_of(segment, i)->owner, memory_order_relaxed);

		if (!(owner & PERMIT_HELD))
			continue;
		/* seq_cst: pairs with line_look() */
		atomic_fetch_add_explicit(&row_of(segment, i)->wake, WAKE_CALL,
					  memory_order_seq_cst);
		call(segment, i);
	}
}
