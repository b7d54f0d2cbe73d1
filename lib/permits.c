/* SPDX-License-Identifier: Apache-2.0 */
#include "permits.h"

#include "members.h"
#include "permit_chain.h"
#include "weir.h"

#define BROKEN_TRIES 100 /* a chain that is changed all the while is damaged */
#define SINCE_TICKS (~0xffffull)

static _Atomic uint64_t *permit_at(const struct segment *segment, uint32_t index)
{
	return &segment->blocks[index / LAYOUT_BLOCK_PERMITS].permits[index % LAYOUT_BLOCK_PERMITS];
}

static _Atomic uint64_t *since_at(const struct segment *segment, uint32_t index)
{
	return &segment->blocks[index / LAYOUT_BLOCK_PERMITS].since[index % LAYOUT_BLOCK_PERMITS];
}

static bool index_is_valid(const struct segment *segment, uint32_t index)
{
	return index / LAYOUT_BLOCK_PERMITS < segment->block_count;
}

static uint64_t permit_load(const struct segment *segment, uint32_t index)
{
	/* seq_cst: pairs with the exchanges of permits_take() and permits_release() */
	return atomic_load_explicit(permit_at(segment, index), memory_order_seq_cst);
}

static bool permit_exchange(const struct segment *segment, uint32_t index, uint64_t *seen,
			    uint64_t next)
{
	/* seq_cst: a take before the second look at the limit (pairs with permit_terms_store()), a
	 * release before the look along the line (pairs with line_look()) */
	return atomic_compare_exchange_strong_explicit(permit_at(segment, index), seen, next,
						       memory_order_seq_cst, memory_order_seq_cst);
}

/* ---- taking ---- */

/* The first free permit under the limit. */
struct scan {
	uint32_t index;
	uint64_t word;
	bool found;
	bool above; /* one above the limit is held */
};

/* false: the chain was changed meanwhile. */
static bool scan_chain(const struct permit_chain *chain, struct scan *out)
{
	struct chain_walk walk;
	bool lowered = chain->word & PERMIT_LOWERED;

	out->found = out->above = false;
	for (chain_begin(&walk, chain); chain_next(&walk);) {
		uint64_t word = permit_load(chain->segment, walk.index);

		if (walk.ordinal >= chain->limit) {
			out->above |= (word & PERMIT_HELD) != 0;
			if (!lowered || out->above)
				break;
		} else if (!(word & PERMIT_HELD) && !out->found) {
			out->found = true;
			out->index = walk.index;
			out->word = word;
			if (!lowered)
				break;
		}
	}
	return !walk.broken;
}

static bool limit_is_same(const struct permit_chain *chain)
{
	/* seq_cst: pairs with permit_terms_store() */
	return atomic_load_explicit(&chain->row->permit_limit, memory_order_seq_cst) == chain->word;
}

/* For people, and for max_hold: by whom it was stored is told by the count in it. */
static void since_store(const struct segment *segment, const struct permit_taken *taken)
{
	/* relaxed: a reader who sees another take's skips it */
	atomic_store_explicit(since_at(segment, taken->index),
			      (taken->ticks & SINCE_TICKS) | (taken->word & ~SINCE_TICKS),
			      memory_order_relaxed);
}

enum permit_result permits_take(const struct segment *segment, const struct rule_row *row,
				uint64_t owner, const struct permit_place *place,
				struct permit_taken *out)
{
	for (int broken = 0; broken < BROKEN_TRIES;) {
		struct permit_chain chain;
		enum permit_result result = chain_read(segment, row, &chain);
		struct scan scan;

		if (result != PERMIT_TAKEN)
			return result;
		if (line_is_before(segment, chain.head, place))
			return PERMIT_BEHIND;
		if (!scan_chain(&chain, &scan)) {
			broken++;
			continue;
		}
		if (!scan.found || scan.above) {
			if (limit_is_same(&chain))
				return PERMIT_NONE;
			continue;
		}
		out->index = scan.index;
		out->word = owner | ((scan.word + 1) & PERMIT_COUNT);
		out->ticks = segment_now(segment);
		if (!permit_exchange(segment, scan.index, &scan.word, out->word))
			continue;
		since_store(segment, out);
		if (limit_is_same(&chain))
			return PERMIT_TAKEN;
		permits_release(segment, out->index, out->word);
	}
	return PERMIT_DAMAGED;
}

/* ---- giving back ---- */

/* Why a permit that should have had `word` has `seen`. */
static int release_code(uint64_t word, uint64_t seen)
{
	bool same = (seen & PERMIT_COUNT) == (word & PERMIT_COUNT);

	return same && !(seen & PERMIT_HELD) && seen & PERMIT_STRUCK ? WEIR_EEXPIRED : WEIR_ESPENT;
}

/* The chain of a permit that is held, which keeps it in its chain; or none. */
static uint32_t head_of(const struct segment *segment, uint32_t index)
{
	/* acquire: pairs with the release in permit_chain.c */
	return atomic_load_explicit(&segment->spans[index / LAYOUT_BLOCK_PERMITS].head,
				    memory_order_acquire) -
	       1;
}

int permits_release(const struct segment *segment, uint32_t index, uint64_t word)
{
	uint64_t seen = word;

	if (!index_is_valid(segment, index))
		return WEIR_EDAMAGED;

	uint32_t head = head_of(segment, index);

	if (!permit_exchange(segment, index, &seen, word & PERMIT_COUNT))
		return release_code(word, seen);
	if (head < segment->block_count)
		line_call(segment, head);
	return 0;
}

int permits_pass(const struct segment *segment, uint32_t index, uint64_t *word, uint64_t owner)
{
	const uint64_t next = owner | ((*word + 1) & PERMIT_COUNT);
	uint64_t seen = *word;

	if (!index_is_valid(segment, index))
		return WEIR_EDAMAGED;

	/* relaxed: the age of the permit, which its count names */
	uint64_t since = atomic_load_explicit(since_at(segment, index), memory_order_relaxed);

	if (!permit_exchange(segment, index, &seen, next))
		return release_code(*word, seen);
	since_store(segment, &(struct permit_taken){index, next, since});
	*word = next;
	return 0;
}

/* Calls who is first in line if a permit is free. */
static void call_for(const struct permit_chain *chain)
{
	struct scan scan;

	/* a chain that is being changed: who changes it calls */
	if (scan_chain(chain, &scan) && scan.found && !scan.above)
		line_call(chain->segment, chain->head);
}

void permits_call(const struct segment *segment, const struct rule_row *row)
{
	struct permit_chain chain;

	/* acquire: pairs with the release in permit_chain.c */
	uint32_t head = atomic_load_explicit(&row->permit_head, memory_order_acquire);

	switch (chain_read(segment, row, &chain)) {
	case PERMIT_TAKEN:
		call_for(&chain);
		break;
	case PERMIT_UNLIMITED: /* any more: all who are still in line may go */
		if (head)
			line_call(segment, head - 1);
		break;
	default:
		break;
	}
}

void permits_call_all(const struct segment *segment)
{
	/* acquire: pairs with the release in rules_append() */
	uint32_t rows = atomic_load_explicit(&segment->rules->rows_used, memory_order_acquire);

	for (uint32_t i = 0; i < rows && i < segment->row_count; i++)
		permits_call(segment, &segment->rows[i]);
}

/* ---- what the dead held ---- */

void permits_reap(const struct segment *segment, uint32_t member)
{
	for (uint32_t i = 0; i < segment->block_count * LAYOUT_BLOCK_PERMITS; i++) {
		uint64_t word = permit_load(segment, i);

		if (!(word & PERMIT_HELD) || permit_member(word) != member)
			continue;
		permit_exchange(segment, i, &word, word & PERMIT_COUNT);
	}
	line_reap(segment, member);
}

/* Those who are first in line may be dead as well, and keep others from what is free. */
static bool find_dead_in_line(struct segment *segment, uint32_t head, uint32_t own)
{
	struct line_first first;
	bool found = false;

	while (line_find_first(segment, head, &first) && first.member != own &&
	       first.member < segment->member_count && members_reap(segment, first.member))
		found = true;
	return found;
}

bool permits_find_dead(struct segment *segment, const struct rule_row *row, uint32_t own)
{
	struct permit_chain chain;
	struct chain_walk walk;
	uint32_t asked = own;
	bool found = false;

	if (chain_read(segment, row, &chain) != PERMIT_TAKEN)
		return false;
	for (chain_begin(&walk, &chain); chain_next(&walk);) {
		uint64_t word = permit_load(segment, walk.index);
		uint32_t member = permit_member(word);

		/* the same one often holds several in turn */
		if (!(word & PERMIT_HELD) || member == own || member == asked ||
		    member >= segment->member_count)
			continue;
		asked = member;
		found |= members_reap(segment, member);
	}
	return found | find_dead_in_line(segment, chain.head, own);
}

static uint64_t age_of(const struct segment *segment, uint32_t index, uint64_t word, uint64_t now)
{
	/* relaxed: the count in it says whether it is this take's */
	uint64_t since = atomic_load_explicit(since_at(segment, index), memory_order_relaxed);
	uint64_t from = since & SINCE_TICKS;

	if ((since & ~SINCE_TICKS) != (word & ~SINCE_TICKS))
		return UINT64_MAX;
	return now > from ? now - from : 0;
}

static uint64_t ticks_of(uint64_t ns, uint64_t hz)
{
	line_wide ticks = (line_wide)ns * hz / 1000000000u;

	return ticks >> 63 ? UINT64_MAX : (uint64_t)ticks;
}

unsigned permits_strike(const struct segment *segment, const struct rule_row *row, uint64_t hz,
			permits_tell *told, void *context)
{
	/* acquire: pairs with permit_terms_store() */
	uint64_t hold_ns = atomic_load_explicit(&row->permit_hold_ns, memory_order_acquire);
	struct permit_chain chain;
	struct chain_walk walk;
	unsigned struck = 0;

	if (hold_ns == 0 || chain_read(segment, row, &chain) != PERMIT_TAKEN)
		return 0;
	for (chain_begin(&walk, &chain); chain_next(&walk);) {
		uint64_t word = permit_load(segment, walk.index);
		struct permit_held held = {walk.index, permit_member(word), word, 0};

		if (!(word & PERMIT_HELD))
			continue;
		held.age_ticks = age_of(segment, walk.index, word, segment_now(segment));
		if (held.age_ticks == UINT64_MAX || held.age_ticks <= ticks_of(hold_ns, hz) ||
		    !permit_exchange(segment, walk.index, &word,
				     (word & PERMIT_COUNT) | PERMIT_STRUCK))
			continue;
		struck++;
		if (told)
			told(context, &held);
		line_call(segment, chain.head);
	}
	return struck;
}

/* ---- looking ---- */

int permits_look(const struct segment *segment, const struct rule_row *row, struct permit_sum *out,
		 permits_tell *told, void *context)
{
	struct permit_chain chain;
	struct chain_walk walk;
	struct permit_sum sum = {
		.limit = UINT64_MAX,
		.free = UINT64_MAX,
		.hold_ns = atomic_load_explicit(&row->permit_hold_ns, memory_order_acquire),
	};
	enum permit_result result = chain_find(segment, row, &chain);

	*out = sum;
	if (result != PERMIT_TAKEN)
		return result == PERMIT_DAMAGED ? WEIR_EDAMAGED : 0;
	sum.limit = chain.limit;
	for (chain_begin(&walk, &chain); chain_next(&walk);) {
		uint64_t word = permit_load(segment, walk.index);
		struct permit_held held = {walk.index, permit_member(word), word, 0};

		if (!(word & PERMIT_HELD))
			continue;
		sum.held++;
		held.age_ticks = age_of(segment, walk.index, word, segment_now(segment));
		if (told)
			told(context, &held);
	}
	sum.free = sum.limit > sum.held ? sum.limit - sum.held : 0;
	sum.waiting = line_length(segment, chain.head);
	*out = sum;
	return 0;
}
