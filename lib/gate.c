/* SPDX-License-Identifier: Apache-2.0 */
#include "gate.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "wide.h"

/* The opening time as the word holds it: rounded up, so that nobody opens early. */
static uint64_t until_word(uint64_t until)
{
	return until > GATE_UNTIL ? GATE_UNTIL : (until + 0xffff) & GATE_UNTIL;
}

static uint64_t next_closing(uint64_t gate)
{
	return (gate & ~GATE_CLOSINGS) | ((gate + 0x100) & GATE_CLOSINGS);
}

/* An opening that nobody has met yet is settled by the way: the mark is set by hand. */
static uint64_t next_reset(uint64_t gate, uint64_t now)
{
	uint64_t next = (gate & ~GATE_RESETS) | ((gate + 1) & GATE_RESETS);

	return gate_is_closed(gate, now) ? next : next & ~GATE_PENDING;
}

static uint64_t with_until(uint64_t gate, uint64_t until)
{
	return (gate & ~GATE_UNTIL) | GATE_PENDING | until;
}

/* false: the mark has moved. Pairs with bucket_freeze(): whoever freezes and then reads the gate
 * either sees our store of it, or we see the frozen mark; both sides are seq_cst. */
static bool mark_is_here(const struct bucket *bucket)
{
	return !(atomic_load_explicit(&bucket->mark, memory_order_seq_cst) & BUCKET_FROZEN);
}

bool gate_close(struct bucket *bucket, uint64_t now, uint64_t until)
{
	uint64_t word = until_word(until);
	uint64_t gate = gate_load(bucket);
	uint64_t next;

	do {
		if (gate_is_closed(gate, now)) {
			if ((gate & GATE_UNTIL) >= word)
				break;
			next = with_until(gate, word);
		} else {
			next = next_closing(with_until(gate, word));
		}
	} while (!atomic_compare_exchange_weak_explicit(
		&bucket->gate, &gate, next, memory_order_seq_cst, memory_order_seq_cst));
	return mark_is_here(bucket);
}

bool gate_open(struct bucket *bucket, uint64_t now)
{
	uint64_t gate = gate_load(bucket);

	/* the word's grain would keep it closed a little; the grain below has passed already */
	while (gate_is_closed(gate, now) &&
	       !atomic_compare_exchange_weak_explicit(&bucket->gate, &gate,
						      with_until(gate, now & GATE_UNTIL),
						      memory_order_seq_cst, memory_order_seq_cst))
		;
	gate_wake(bucket);
	return mark_is_here(bucket);
}

void gate_wake(struct bucket *bucket)
{
	syscall(SYS_futex, &bucket->gate, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* false: the bucket is unset or frozen. */
static bool drain_for_opening(struct bucket *bucket, uint64_t gate, const struct line *line)
{
	uint64_t mark = bucket_load(bucket);

	if (line->flags & LINE_WINDOW)
		return mark != BUCKET_UNSET && !(mark & BUCKET_FROZEN);
	return bucket_drain(bucket, line_value(line, gate & GATE_UNTIL) + line->burst_units) ==
	       BUCKET_TAKEN;
}

bool gate_settle(struct bucket *bucket, uint64_t gate, const struct line *line)
{
	/* in this order: nobody passes before the gate is settled, and until then the drain is
	 * repeated; raising is idempotent */
	if (!drain_for_opening(bucket, gate, line))
		return false;
	/* a lost race: somebody settled it, or closed it again */
	atomic_compare_exchange_strong_explicit(&bucket->gate, &gate, gate & ~GATE_PENDING,
						memory_order_seq_cst, memory_order_seq_cst);
	return true;
}

bool gate_voids(uint64_t then, uint64_t gate, uint64_t position, const struct line *line)
{
	if ((then ^ gate) & GATE_RESETS)
		return true;
	if (!((then ^ gate) & GATE_CLOSINGS))
		return false;

	if (line->flags & LINE_WINDOW)
		return window_stand(line, gate & GATE_UNTIL, position).ahead == 0;

	uint64_t opened = line_value(line, gate & GATE_UNTIL);

	return (int64_t)(position - line->burst_units - opened) <= 0;
}

uint64_t gate_wait_ticks(uint64_t gate, uint64_t mark, const struct line *line, uint64_t now,
			 uint64_t units, uint64_t limit)
{
	uint64_t until = gate & GATE_UNTIL;
	uint64_t base, ticks;

	if (until == GATE_UNTIL)
		return UINT64_MAX;
	if (line->flags & LINE_UNLIMITED)
		return until - now;
	if (units > limit)
		return UINT64_MAX;
	if (line->flags & LINE_WINDOW) {
		ticks = window_wait(line, now, window_stand(line, now, mark),
				    units + line->burst_units - limit);
	} else {
		base = bucket_base(mark, line_value(line, until) + line->burst_units);
		ticks = line_ticks_until(line, now, base + units - limit);
	}
	return ticks > until - now ? ticks : until - now;
}

uint64_t gate_wait_ticks_kept(uint64_t gate, uint64_t mark, const struct line *line, uint64_t now,
			      uint64_t units, uint64_t limit)
{
	uint64_t until = gate & GATE_UNTIL;
	uint64_t ticks;

	if (line->flags & (LINE_UNLIMITED | LINE_WINDOW) || until == GATE_UNTIL || units > limit)
		return gate_wait_ticks(gate, mark, line, now, units, limit);
	ticks = line_ticks_until(line, now,
				 bucket_base(mark, line_value(line, now)) + units - limit);
	return ticks > until - now ? ticks : until - now;
}

void gate_inherit(struct bucket *to, uint64_t gate)
{
	uint64_t never = 0;

	/* seq_cst, as everywhere on the gate; if it is not 0 any more it has a history of its own
	 */
	if (gate)
		atomic_compare_exchange_strong_explicit(&to->gate, &never, gate,
							memory_order_seq_cst, memory_order_seq_cst);
}

enum bucket_result gate_reset(struct bucket *bucket, uint64_t now,
			      uint64_t (*place)(uint64_t mark, const void *context),
			      const void *context)
{
	for (;;) {
		uint64_t mark = atomic_load_explicit(&bucket->mark, memory_order_seq_cst);

		if (mark == BUCKET_UNSET || mark & BUCKET_FROZEN)
			return mark & BUCKET_FROZEN ? BUCKET_IS_FROZEN : BUCKET_IS_UNSET;

		uint64_t gate = gate_load(bucket);

		/* both at once, so that no place that is taken and none that is given back hides
		 * between */
		if (wide_exchange(bucket, mark, gate, place(mark, context), next_reset(gate, now)))
			return BUCKET_TAKEN;
	}
}
