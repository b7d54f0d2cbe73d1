/* SPDX-License-Identifier: Apache-2.0 */
#include "permit_chain.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fault.h"
#include "members.h"
#include "permit_line.h"
#include "weir.h"

#define CLOSE_TRIES 20 /* looks for holders, a millisecond apart */

/* ---- reading ---- */

enum permit_result chain_find(const struct segment *segment, const struct rule_row *row,
			      struct permit_chain *out)
{
	/* seq_cst: pairs with limit_store(); before the permits, see permits_take() */
	uint64_t word = atomic_load_explicit(&row->permit_limit, memory_order_seq_cst);

	if ((word & PERMIT_LIMIT) == TERMS_NO_LIMIT)
		return PERMIT_UNLIMITED;

	/* acquire: pairs with the release in head_store() */
	uint32_t head = atomic_load_explicit(&row->permit_head, memory_order_acquire);

	if (head == 0 || head > segment->block_count)
		return PERMIT_DAMAGED;
	*out = (struct permit_chain){
		.segment = segment,
		.row = row,
		.word = word,
		.limit = (word & PERMIT_LIMIT) - 1,
		.head = head - 1,
	};
	return PERMIT_TAKEN;
}

enum permit_result chain_read(const struct segment *segment, const struct rule_row *row,
			      struct permit_chain *out)
{
	enum permit_result result = chain_find(segment, row, out);

	return result == PERMIT_TAKEN && out->word & PERMIT_ELSEWHERE ? PERMIT_MOVED : result;
}

void chain_begin(struct chain_walk *out, const struct permit_chain *chain)
{
	*out = (struct chain_walk){
		.chain = chain,
		.ordinal = UINT64_MAX,
		.index = LAYOUT_BLOCK_PERMITS - 1, /* as if at a block's end */
		.next = chain->head + 1,
	};
}

static bool walk_on(struct chain_walk *walk)
{
	const struct segment *segment = walk->chain->segment;

	if (walk->next == 0)
		return false;
	if (walk->next > segment->block_count || walk->steps++ == segment->block_count) {
		walk->broken = true;
		return false;
	}

	uint32_t block = walk->next - 1;
	/* acquire, both: pair with the releases in span_take(), span_link() and span_free() */
	uint32_t next = atomic_load_explicit(&segment->spans[block].next, memory_order_acquire);
	uint32_t head = atomic_load_explicit(&segment->spans[block].head, memory_order_acquire);

	walk->broken = head != walk->chain->head + 1;
	walk->index = block * LAYOUT_BLOCK_PERMITS;
	walk->next = next;
	return !walk->broken;
}

bool chain_next(struct chain_walk *walk)
{
	walk->ordinal++;
	if (walk->index % LAYOUT_BLOCK_PERMITS == LAYOUT_BLOCK_PERMITS - 1)
		return walk_on(walk);
	walk->index++;
	return true;
}

/* ---- the publisher's words ---- */

static struct rule_row *row_writable(struct segment *segment, uint32_t row)
{
	return (struct rule_row *)(void *)(segment->publisher + 1) + row;
}

static struct permit_span *span_writable(struct segment *segment, uint32_t block)
{
	struct follow_row *follows =
		(struct follow_row *)(void *)row_writable(segment, segment->row_count);

	return (struct permit_span *)(void *)(follows + segment->follow_count) + block;
}

/* relaxed, all four: this thread alone writes them */
static uint64_t bounds_get(const struct segment *segment, uint32_t row)
{
	return atomic_load_explicit(&segment->rows[row].permit_bounds, memory_order_relaxed);
}

static uint32_t head_get(const struct segment *segment, uint32_t row)
{
	uint32_t head = atomic_load_explicit(&segment->rows[row].permit_head, memory_order_relaxed);

	return head <= segment->block_count ? head : 0;
}

static uint32_t span_head(const struct segment *segment, uint32_t block)
{
	return atomic_load_explicit(&segment->spans[block].head, memory_order_relaxed);
}

static uint32_t span_next(const struct segment *segment, uint32_t block)
{
	uint32_t next = atomic_load_explicit(&segment->spans[block].next, memory_order_relaxed);

	return next <= segment->block_count ? next : 0;
}

static uint32_t rows_used(const struct segment *segment)
{
	uint32_t used = atomic_load_explicit(&segment->rules->rows_used, memory_order_relaxed);

	return used < segment->row_count ? used : segment->row_count;
}

static uint64_t limit_get(const struct segment *segment, uint32_t row)
{
	return atomic_load_explicit(&segment->rows[row].permit_limit, memory_order_relaxed);
}

/* Another limit or flags: whoever is in the middle of a take by the old ones gives it back. */
static void limit_store(struct segment *segment, uint32_t row, uint64_t bits)
{
	uint64_t changes = limit_get(segment, row) & ~(PERMIT_CHANGE - 1);

	/* seq_cst: before the look at who holds permits; pairs with permits_take() */
	atomic_store_explicit(&row_writable(segment, row)->permit_limit,
			      (changes + PERMIT_CHANGE) | bits, memory_order_seq_cst);
	FAULT_POINT(permit_limited);
}

static void head_store(struct segment *segment, uint32_t row, uint32_t head)
{
	/* release: pairs with the acquire in chain_find() */
	atomic_store_explicit(&row_writable(segment, row)->permit_head, head, memory_order_release);
}

/* release, all: pair with the acquires in walk_on() and permits_release() */
static void span_take(struct segment *segment, uint32_t block, uint32_t head)
{
	atomic_store_explicit(&span_writable(segment, block)->next, 0, memory_order_release);
	atomic_store_explicit(&span_writable(segment, block)->head, head, memory_order_release);
	FAULT_POINT(permit_span_taken);
}

static void span_link(struct segment *segment, uint32_t block, uint32_t next)
{
	atomic_store_explicit(&span_writable(segment, block)->next, next, memory_order_release);
	FAULT_POINT(permit_span_linked);
}

static void span_free(struct segment *segment, uint32_t block)
{
	atomic_store_explicit(&span_writable(segment, block)->head, 0, memory_order_release);
	FAULT_POINT(permit_span_freed);
}

static bool permit_is_held(const struct segment *segment, uint32_t index)
{
	/* seq_cst: after the limit was stored; pairs with permits_take() */
	return atomic_load_explicit(&segment_permit(segment, index)->word, memory_order_seq_cst) &
	       PERMIT_HELD;
}

static bool block_is_held(const struct segment *segment, uint32_t block)
{
	for (uint32_t i = 0; i < LAYOUT_BLOCK_PERMITS; i++)
		if (permit_is_held(segment, block * LAYOUT_BLOCK_PERMITS + i))
			return true;
	return false;
}

/* ---- whose blocks ---- */

static bool row_is(const struct segment *segment, uint32_t row, enum row_state state)
{
	return atomic_load_explicit(&segment->rows[row].state, memory_order_relaxed) ==
	       (uint32_t)state;
}

static bool head_is_live(const struct segment *segment, uint32_t head)
{
	for (uint32_t i = 0; i < rows_used(segment); i++)
		if (head_get(segment, i) == head && row_is(segment, i, ROW_LIVE))
			return true;
	return false;
}

/* Cuts what no limit needs and nobody holds off the end of a chain, but for `keep` blocks. */
static void trim(struct segment *segment, uint32_t head, uint32_t keep)
{
	uint32_t last_kept = head; /* + 1, as all of them */
	uint32_t block = head;

	for (uint32_t i = 0; block && i < segment->block_count; i++) {
		if (i < keep || block_is_held(segment, block - 1))
			last_kept = block;
		block = span_next(segment, block - 1);
	}
	block = span_next(segment, last_kept - 1);
	span_link(segment, last_kept - 1, 0);
	for (uint32_t i = 0; block && i < segment->block_count; i++) {
		uint32_t next = span_next(segment, block - 1);

		span_free(segment, block - 1);
		block = next;
	}
}

/* The chain of a rule that is gone, if nobody holds anything of it. */
static void drop(struct segment *segment, uint32_t row)
{
	uint32_t head = head_get(segment, row);

	trim(segment, head, 0);
	if (block_is_held(segment, head - 1) || span_next(segment, head - 1) ||
	    line_length(segment, head - 1))
		return;
	for (uint32_t i = 0; i < rows_used(segment); i++)
		if (head_get(segment, i) == head)
			head_store(segment, i, 0);
	span_free(segment, head - 1);
}

/* Blocks that the row's limit may come to need. */
static uint32_t blocks_of(const struct segment *segment, uint32_t row)
{
	uint64_t concurrency = limit_get(segment, row) & PERMIT_LIMIT;
	uint32_t max = (uint32_t)(bounds_get(segment, row) >> 32);

	return max ? permit_blocks_for(max) : concurrency ? permit_blocks_for(concurrency - 1) : 1;
}

/* All chains but the one that is being provided for. */
static void sweep(struct segment *segment, uint32_t but)
{
	for (uint32_t i = 0; i < rows_used(segment); i++) {
		uint32_t head = head_get(segment, i);

		if (head == 0 || head == but)
			continue;
		if (row_is(segment, i, ROW_LIVE))
			trim(segment, head, blocks_of(segment, i));
		else if (!head_is_live(segment, head))
			drop(segment, i);
	}
}

static uint32_t free_blocks(const struct segment *segment)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < segment->block_count; i++)
		count += span_head(segment, i) == 0;
	return count;
}

static uint32_t find_free(const struct segment *segment)
{
	uint32_t block = 0;

	while (block < segment->block_count && span_head(segment, block))
		block++;
	return block;
}

/* Blocks of a chain, and its last one + 1. */
static uint32_t chain_blocks(const struct segment *segment, uint32_t head, uint32_t *last)
{
	uint32_t count = 0;

	*last = head;
	for (uint32_t block = head; block && count < segment->block_count;
	     block = span_next(segment, block - 1)) {
		*last = block;
		count++;
	}
	return count;
}

/* Makes a chain of at least so many blocks; `head` 0: a new one. Returns its head, 0: no room. */
static uint32_t provide(struct segment *segment, uint32_t head, uint32_t wanted)
{
	uint32_t last;
	uint32_t have = chain_blocks(segment, head, &last);

	if (have < wanted && free_blocks(segment) < wanted - have) {
		sweep(segment, head);
		have = chain_blocks(segment, head, &last);
	}
	if (have < wanted && free_blocks(segment) < wanted - have)
		return 0;
	for (; have < wanted; have++) {
		uint32_t block = find_free(segment);

		span_take(segment, block, head ? head : block + 1);
		if (head)
			span_link(segment, last - 1, block + 1);
		else
			head = block + 1;
		last = block + 1;
	}
	return head;
}

/* The chain of another row of the same text, now or before: permits are the rule's. */
static uint32_t inherit(const struct segment *segment, uint32_t row)
{
	char text[LAYOUT_TEXT_BYTES];
	char other[LAYOUT_TEXT_BYTES];

	segment_text(segment->rows[row].text, text);
	for (uint32_t i = row; i-- > 0;) {
		uint32_t head = head_get(segment, i);

		if (head == 0 || span_head(segment, head - 1) != head ||
		    segment->rows[i].kind != segment->rows[row].kind)
			continue;
		segment_text(segment->rows[i].text, other);
		if (strcmp(text, other) == 0)
			return head;
	}
	return 0;
}

/* ---- limits ---- */

static bool held_above(const struct segment *segment, const struct permit_chain *chain)
{
	struct chain_walk walk;

	for (chain_begin(&walk, chain); chain_next(&walk);)
		if (walk.ordinal >= chain->limit && permit_is_held(segment, walk.index))
			return true;
	return false;
}

/* A permit above the limit is held by nobody, and who takes one by an older limit gives it back. */
static void settle_lowered(struct segment *segment, uint32_t row)
{
	struct permit_chain chain;

	if (chain_read(segment, &segment->rows[row], &chain) != PERMIT_TAKEN ||
	    !(chain.word & PERMIT_LOWERED) || held_above(segment, &chain))
		return;
	limit_store(segment, row, chain.word & PERMIT_LIMIT);
	permits_call(segment, &segment->rows[row]);
}

void permit_chain_tend(struct segment *segment)
{
	for (uint32_t i = 0; i < rows_used(segment); i++)
		if (limit_get(segment, i) & PERMIT_LOWERED && row_is(segment, i, ROW_LIVE))
			settle_lowered(segment, i);
}

/* ---- limits that are found ---- */

static uint64_t bounds_of(const struct terms *terms)
{
	return (uint64_t)terms->concurrency_max << 32 | terms->concurrency_min;
}

static void since_store(struct segment *segment, uint32_t row, uint64_t ticks)
{
	/* release: pairs with the acquire in permit_found.c */
	atomic_store_explicit(&row_writable(segment, row)->permit_since, ticks,
			      memory_order_release);
}

/* release, all: pair with the acquires in permit_found_read() */
static void why_store(struct segment *segment, uint32_t row, const struct permit_found *found)
{
	struct rule_row *at = row_writable(segment, row);

	atomic_store_explicit(&at->permit_cause, found->cause, memory_order_release);
	atomic_store_explicit(&at->permit_latency_ns, found->latency_ns, memory_order_release);
	atomic_store_explicit(&at->permit_base_ns, found->base_ns, memory_order_release);
}

/* After the limit: where they are there, so is a limit between them. */
static void bounds_store(struct segment *segment, uint32_t row, const struct terms *terms)
{
	/* release: pairs with the acquires in line_read_terms() and permit_found_read() */
	atomic_store_explicit(&row_writable(segment, row)->permit_bounds, bounds_of(terms),
			      memory_order_release);
	FAULT_POINT(permit_bounded);
}

static uint64_t within(uint64_t limit, uint64_t min, uint64_t max)
{
	return limit < min ? min : limit > max ? max : limit;
}

int permit_found_store(struct segment *segment, uint32_t row, const struct permit_found *found)
{
	uint64_t word = limit_get(segment, row);
	uint64_t before = word & PERMIT_LIMIT;
	uint64_t bounds = bounds_get(segment, row);
	uint64_t limit = within(found->limit, bounds & UINT32_MAX, bounds >> 32) + 1;

	if (bounds == 0 || before == TERMS_NO_LIMIT)
		return WEIR_EVALUE;
	why_store(segment, row, found);
	if (limit == before)
		return 0;
	since_store(segment, row, UINT64_MAX);
	limit_store(segment, row, (word & (PERMIT_LOWERED | PERMIT_ELSEWHERE)) | limit);
	if (limit < before)
		return 0;
	permit_found_count(segment, row);
	permits_call(segment, &segment->rows[row]);
	return 0;
}

void permit_found_count(struct segment *segment, uint32_t row)
{
	since_store(segment, row, segment_now(segment));
}

uint64_t permit_held_above(const struct segment *segment, uint32_t row)
{
	struct permit_chain chain;
	struct chain_walk walk;
	uint64_t count = 0;

	if (chain_find(segment, &segment->rows[row], &chain) != PERMIT_TAKEN)
		return 0;
	for (chain_begin(&walk, &chain); chain_next(&walk);)
		count += walk.ordinal >= chain.limit && permit_is_held(segment, walk.index);
	return count;
}

/* What the row's limit begins with: of one that is found, where it stands. */
static uint64_t limit_of(const struct segment *segment, uint32_t row, bool is_new,
			 const struct terms *terms)
{
	uint64_t present = limit_get(segment, row) & PERMIT_LIMIT;

	if (terms->concurrency_max == 0)
		return terms->concurrency;
	if (is_new || present == TERMS_NO_LIMIT)
		present = terms->concurrency;
	return within(present - 1, terms->concurrency_min, terms->concurrency_max) + 1;
}

/* What is known of its calls goes on under other bounds, and begins anew otherwise. */
static void found_begin(struct segment *segment, uint32_t row, bool is_new,
			const struct terms *terms)
{
	struct permit_found found = {0};

	if (!is_new && terms->concurrency_max && permit_found_read(&segment->rows[row], &found))
		found.cause = FOUND_BOUNDS;
	since_store(segment, row, UINT64_MAX);
	why_store(segment, row, &found);
}

static bool terms_are_there(const struct segment *segment, uint32_t row, const struct terms *terms)
{
	uint64_t bits = limit_get(segment, row) & (PERMIT_LIMIT | PERMIT_ELSEWHERE);

	return bits == limit_of(segment, row, false, terms) &&
	       bounds_get(segment, row) == bounds_of(terms) &&
	       atomic_load_explicit(&segment->rows[row].permit_hold_ns, memory_order_relaxed) ==
		       terms->max_hold_ns;
}

int permit_terms_store(struct segment *segment, uint32_t row, const struct terms *terms)
{
	bool is_new = !row_is(segment, row, ROW_LIVE);
	uint32_t head = is_new ? inherit(segment, row) : head_get(segment, row);
	uint64_t limit = limit_of(segment, row, is_new, terms);

	if (!is_new && terms_are_there(segment, row, terms))
		return 0;
	if (terms->concurrency) {
		head = provide(segment, head, permit_blocks_for(permits_most(terms)));
		if (head == 0)
			return WEIR_EPERMITS;
	}
	if (is_new || head_get(segment, row) != head)
		head_store(segment, row, head);
	/* release: pairs with the acquire in permits_strike() */
	atomic_store_explicit(&row_writable(segment, row)->permit_hold_ns, terms->max_hold_ns,
			      memory_order_release);
	found_begin(segment, row, is_new, terms);
	limit_store(segment, row, limit == TERMS_NO_LIMIT ? limit : limit | PERMIT_LOWERED);
	bounds_store(segment, row, terms);
	settle_lowered(segment, row);
	if (terms->concurrency_max)
		permit_found_count(segment, row);
	permits_call(segment, &segment->rows[row]);
	return 0;
}

void permit_row_leave(struct segment *segment, uint32_t row)
{
	uint64_t bits = limit_get(segment, row) & PERMIT_LIMIT;

	if (head_get(segment, row) == 0)
		return;
	limit_store(segment, row, bits | PERMIT_ELSEWHERE);
}

void permit_line_wake(struct segment *segment, uint32_t row)
{
	if (head_get(segment, row))
		line_call_everybody(segment);
}

/* ---- after a death, and before a replacement ---- */

/* Whose each block is, by the chains as they stand. */
static void mark_chains(const struct segment *segment, uint32_t *heads)
{
	for (uint32_t i = 0; i < rows_used(segment); i++) {
		uint32_t block = head_get(segment, i);

		for (uint32_t n = 0; block && n < segment->block_count; n++) {
			heads[block - 1] = head_get(segment, i);
			block = span_next(segment, block - 1);
		}
	}
}

void permit_chain_recover(struct segment *segment)
{
	uint32_t *heads = calloc(segment->block_count + 1, sizeof(*heads));

	for (uint32_t i = 0; i < rows_used(segment); i++) {
		bool live = row_is(segment, i, ROW_LIVE);
		uint64_t word = limit_get(segment, i);

		if (head_get(segment, i) && live == !!(word & PERMIT_ELSEWHERE))
			limit_store(segment, i,
				    (word & (PERMIT_LIMIT | PERMIT_LOWERED)) |
					    (live ? 0 : PERMIT_ELSEWHERE));
	}
	if (!heads)
		return; /* blocks that a dead publisher lost are lost until the next start */
	mark_chains(segment, heads);
	for (uint32_t i = 0; i < segment->block_count; i++)
		if (span_head(segment, i) != heads[i])
			/* release: as in span_take() */
			atomic_store_explicit(&span_writable(segment, i)->head, heads[i],
					      memory_order_release);
	free(heads);
	permits_call_all(segment);
}

static void set_elsewhere(struct segment *segment, uint64_t flag)
{
	for (uint32_t i = 0; i < rows_used(segment); i++)
		if (head_get(segment, i) && row_is(segment, i, ROW_LIVE))
			limit_store(segment, i,
				    (limit_get(segment, i) & (PERMIT_LIMIT | PERMIT_LOWERED)) |
					    flag);
}

void permit_chain_reopen(struct segment *segment)
{
	set_elsewhere(segment, 0);
	permits_call_all(segment);
}

static bool any_is_held(struct segment *segment)
{
	for (uint32_t i = 0; i < segment->block_count; i++)
		if (block_is_held(segment, i))
			return true;
	return false;
}

/* Who only took one to see that the limit has changed has it for a moment. */
int permit_chain_close(struct segment *segment)
{
	const struct timespec pause = {0, 1000000};

	set_elsewhere(segment, PERMIT_ELSEWHERE);
	for (uint32_t i = 0; i < segment->member_count; i++)
		members_reap(segment, i);
	for (int tries = 0; any_is_held(segment); tries++) {
		if (tries == CLOSE_TRIES) {
			permit_chain_reopen(segment);
			return WEIR_EHELD;
		}
		nanosleep(&pause, NULL);
	}
	return 0;
}
