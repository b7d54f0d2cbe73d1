/* SPDX-License-Identifier: Apache-2.0 */
#include "permits.h"

#include "members.h"
#include "permit_chain.h"
#include "weir.h"

#define BROKEN_TRIES 100 /* a chain that is changed all the while is damaged */
#define SINCE_TICKS (~0xffffull)

static bool index_is_valid(const struct segment *segment, uint32_t index)
{
	return index / LAYOUT_BLOCK_PERMITS < segment->block_count;
}

static uint64_t permit_load(const struct segment *segment, uint32_t index)
{
	/* seq_cst: pairs with the exchanges of permits_take() and permits_release() */
	return atomic_load_explicit(&segment_permit(segment, index)->word, memory_order_seq_cst);
}

static bool permit_exchange(const struct segment *segment, uint32_t index, uint64_t *seen,
			    uint64_t next)
{
	/* seq_cst: a take before the second look at the limit (pairs with permit_terms_store()), a
	 * release before the look along the line (pairs with line_look()) */
	return atomic_compare_exchange_strong_explicit(&segment_permit(segment, index)->word, seen,
						       next, memory_order_seq_cst,
						       memory_order_seq_cst);
}

/* ---- taking ---- */

/* Free permits under the limit. */
struct scan {
	uint64_t free;	/* so many, up to those that were asked for */
	uint32_t index; /* of the first of them */
	uint64_t word;
	bool above; /* one above the limit is held: none is given */
};

/* Looks until `wanted` are found. false: the chain was changed meanwhile. */
static bool scan_chain(const struct permit_chain *chain, uint64_t wanted, struct scan *out)
{
	struct chain_walk walk;
	bool lowered = chain->word & PERMIT_LOWERED;

	out->free = 0;
	out->above = false;
	for (chain_begin(&walk, chain); chain_next(&walk);) {
		uint64_t word = permit_load(chain->segment, walk.index);

		if (walk.ordinal >= chain->limit) {
			out->above |= (word & PERMIT_HELD) != 0;
			if (!lowered || out->above)
				break;
		} else if (!(word & PERMIT_HELD) && out->free < wanted) {
			if (out->free++ == 0) {
				out->index = walk.index;
				out->word = word;
			}
			if (out->free == wanted && !lowered)
				break;
		}
	}
	return !walk.broken;
}

/* More than so many are free. */
static bool more_are_free(const struct permit_chain *chain, uint64_t count)
{
	struct scan scan;

	return count < chain->limit && scan_chain(chain, count + 1, &scan) && scan.free > count &&
	       !scan.above;
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
	atomic_store_explicit(&segment_permit(segment, taken->index)->since,
			      (taken->ticks & SINCE_TICKS) | (taken->word & ~SINCE_TICKS),
			      memory_order_relaxed);
}

/* The hint of a permit that was taken by this limit. */
static uint64_t hint_of(const struct permit_chain *chain, uint32_t index)
{
	return (chain->word & ~(PERMIT_CHANGE - 1)) | (index + 1);
}

/*
 * The permit that was taken last, if nothing has changed since: no walk along the chain then. It
 * needs nobody to be in line, and is looked for among all otherwise.
 */
static bool find_hinted(const struct permit_chain *chain, permit_hint *hint, struct scan *out)
{
	/* relaxed: a word by itself; threads that share a handle overwrite each other's */
	uint64_t last = hint ? atomic_load_explicit(hint, memory_order_relaxed) : 0;
	uint32_t index = (uint32_t)last - 1;

	if ((uint32_t)last == 0 || last != hint_of(chain, index) || chain->word & PERMIT_LOWERED)
		return false;
	*out = (struct scan){.free = 1, .index = index};
	out->word = permit_load(chain->segment, index);
	return !(out->word & PERMIT_HELD);
}

static void hint_store(const struct permit_chain *chain, permit_hint *hint, uint32_t index)
{
	/* relaxed, both: see find_hinted() */
	if (hint && atomic_load_explicit(hint, memory_order_relaxed) != hint_of(chain, index))
		atomic_store_explicit(hint, hint_of(chain, index), memory_order_relaxed);
}

/* One exchange. false: try again. */
static bool take_found(const struct permit_chain *chain, struct scan *found, uint64_t owner,
		       struct permit_taken *out)
{
	out->index = found->index;
	out->word = owner | ((found->word + 1) & PERMIT_COUNT);
	out->ticks = segment_now(chain->segment);
	if (!permit_exchange(chain->segment, found->index, &found->word, out->word))
		return false;
	since_store(chain->segment, out);
	if (limit_is_same(chain))
		return true;
	permits_release(chain->segment, chain->row, out->index, out->word);
	return false;
}

/* Whether one is left for each of those before: after the exchange. */
static bool may_keep(const struct permit_chain *chain, const struct permit_place *place)
{
	uint64_t before = line_before(chain->segment, chain->head, place).count;

	return before == 0 || more_are_free(chain, before - 1);
}

static enum permit_result behind(struct line_before before)
{
	return before.called ? PERMIT_BEHIND_CALLED : PERMIT_BEHIND;
}

enum permit_result permits_take(const struct segment *segment, const struct rule_row *row,
				uint64_t owner, const struct permit_place *place, permit_hint *hint,
				struct permit_taken *out)
{
	for (int broken = 0; broken < BROKEN_TRIES;) {
		struct permit_chain chain;
		enum permit_result result = chain_read(segment, row, &chain);
		struct scan scan;

		if (result != PERMIT_TAKEN)
			return result;

		struct line_before before = line_before(segment, chain.head, place);

		if (before.count && before.count >= chain.limit)
			return behind(before);
		if ((before.count || !find_hinted(&chain, hint, &scan)) &&
		    !scan_chain(&chain, before.count + 1, &scan)) {
			broken++;
			continue;
		}
		if (scan.free <= before.count || scan.above) {
			if (limit_is_same(&chain))
				return before.count ? behind(before) : PERMIT_NONE;
			continue;
		}
		if (!take_found(&chain, &scan, owner, out))
			continue;
		if (may_keep(&chain, place)) {
			hint_store(&chain, hint, out->index);
			return PERMIT_TAKEN;
		}
		permits_release(segment, row, out->index, out->word);
		permits_call(segment, row);
		return PERMIT_BEHIND;
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

/*
 * Calls the next in line if more are free than were called; one is, who says so has given it back.
 * Without a row whose permits they are nothing more is known.
 */
static void call_next(const struct segment *segment, const struct rule_row *row, uint32_t head)
{
	struct line_next next;

	while (line_find_next(segment, head, &next)) {
		struct permit_chain chain;

		if (next.before && !(row && chain_read(segment, row, &chain) == PERMIT_TAKEN &&
				     chain.head == head && more_are_free(&chain, next.before)))
			return;
		if (line_call(segment, &next))
			return;
	}
}

int permits_release(const struct segment *segment, const struct rule_row *row, uint32_t index,
		    uint64_t word)
{
	uint64_t seen = word;

	if (!index_is_valid(segment, index))
		return WEIR_EDAMAGED;

	uint32_t head = head_of(segment, index);

	if (!permit_exchange(segment, index, &seen, word & PERMIT_COUNT))
		return release_code(word, seen);
	if (head < segment->block_count && !line_is_empty(segment, head))
		call_next(segment, row, head);
	return 0;
}

int permits_pass(const struct segment *segment, uint32_t index, uint64_t *word, uint64_t owner)
{
	const uint64_t next = owner | ((*word + 1) & PERMIT_COUNT);
	uint64_t seen = *word;

	if (!index_is_valid(segment, index))
		return WEIR_EDAMAGED;

	/* relaxed: the age of the permit, which its count names */
	uint64_t since =
		atomic_load_explicit(&segment_permit(segment, index)->since, memory_order_relaxed);

	if (!permit_exchange(segment, index, &seen, next))
		return release_code(*word, seen);
	since_store(segment, &(struct permit_taken){index, next, since});
	*word = next;
	return 0;
}

/* Calls all who may go; `chain` NULL: there is no limit any more. */
static void call_all(const struct segment *segment, uint32_t head, const struct permit_chain *chain)
{
	struct line_next next;

	/* bounded, as those who were called come back while others are called. If somebody else
	 * called him meanwhile, there may be one more to call */
	for (uint32_t i = 0; i < segment->waiter_count; i++) {
		if (!line_find_next(segment, head, &next) ||
		    (chain && !more_are_free(chain, next.before)))
			return;
		line_call(segment, &next);
	}
}

void permits_call(const struct segment *segment, const struct rule_row *row)
{
	struct permit_chain chain;

	/* acquire: pairs with the release in permit_chain.c */
	uint32_t head = atomic_load_explicit(&row->permit_head, memory_order_acquire);

	if (head == 0 || head > segment->block_count || line_is_empty(segment, head - 1))
		return;
	switch (chain_read(segment, row, &chain)) {
	case PERMIT_TAKEN:
		/* a chain that is being changed: who changes it calls */
		call_all(segment, chain.head, &chain);
		break;
	case PERMIT_UNLIMITED:
		call_all(segment, head - 1, NULL);
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
	uint64_t since =
		atomic_load_explicit(&segment_permit(segment, index)->since, memory_order_relaxed);
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
		call_next(segment, row, chain.head);
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
