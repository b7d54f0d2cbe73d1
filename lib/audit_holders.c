/* SPDX-License-Identifier: Apache-2.0
 *
 * audit_holders.c - members, and what they hold: permits, and places in a line for them.
 */
#include "audit_parts.h"

#include "permit_chain.h"
#include "permits.h"
#include "value.h"

#define PID_MAX 4194304u /* the kernel's */

static void check_member(struct audit *audit, uint32_t index)
{
	const struct member_row *row = &audit->segment->members[index];
	const struct spot at = {audit, "member", index};
	uint32_t pid = LOAD(row->pid);

	found_if(&at, pid > PID_MAX, "a pid that no kernel gives", pid);
	found_if(&at, pid != 0 && LOAD(row->generation) == 0, "a member that never joined", pid);
	/* relaxed: never anything but 0 */
	found_if(&at,
		 atomic_load_explicit(&row->program[LAYOUT_PROGRAM_BYTES - 1],
				      memory_order_relaxed) != 0,
		 "a program's name without an end", 0);
}

void audit_members(struct audit *audit)
{
	for (uint32_t i = 0; i < audit->segment->member_count; i++)
		check_member(audit, i);
}

/*
 * Who holds a permit, or a place in line. One of a member that is gone is no damage: it comes back
 * when somebody needs it, at a moment that this one need not be.
 */
static void check_owner(const struct spot *at, const _Atomic uint64_t *from)
{
	const struct segment *segment = at->audit->segment;
	uint64_t word = LOAD(*from);
	uint32_t member = permit_member(word);

	if (!(word & PERMIT_HELD)) {
		found_if(at, (word & PERMIT_OWNER & ~PERMIT_STRUCK) != 0,
			 "it is free, and has an owner", word);
		return;
	}
	if (found_if(at, member >= segment->member_count, "its owner is beyond all members", word))
		return;

	const struct member_row *row = &segment->members[member];
	bool is_there = LOAD(row->pid) && (LOAD(row->generation) & 0x7fff) == (word >> 32 & 0x7fff);

	note_if(at, !is_there && LOAD(*from) == word,
		"its owner is gone: it comes back when somebody finds none free", word);
}

static void check_block(struct audit *audit, uint32_t block)
{
	const struct segment *segment = audit->segment;
	const struct permit_span *span = &segment->spans[block];
	const struct spot at = {audit, "permits", block};

	found_if(&at, LOAD(span->head) > segment->block_count, "a chain beyond all blocks",
		 LOAD(span->head));
	found_if(&at, LOAD(span->next) > segment->block_count, "the next block is beyond all",
		 LOAD(span->next));
	for (uint32_t i = 0; i < LAYOUT_BLOCK_PERMITS; i++) {
		const uint32_t permit = block * LAYOUT_BLOCK_PERMITS + i;
		const struct spot at_permit = {audit, "permit", permit};

		check_owner(&at_permit, &segment_permit(segment, permit)->word);
	}
}

/* A limit that is found, and what is said of it. */
static void check_found(const struct spot *at, const struct rule_row *from, uint64_t permits)
{
	uint64_t bounds = LOAD(from->permit_bounds);
	uint32_t min = (uint32_t)bounds;
	uint32_t max = (uint32_t)(bounds >> 32);
	struct permit_found found;

	if (found_if(at, bounds && (min == 0 || min > max), "a limit is found between no bounds",
		     bounds) ||
	    !permit_found_read(from, &found))
		return;
	found_if(at, found.max > permits && LOAD(from->permit_bounds) == bounds,
		 "fewer permits than its limit may come to", found.max);
	found_if(at, found.cause > FOUND_BOUNDS, "a cause that is none", found.cause);
	note_if(at, (found.limit < min || found.limit > max) && LOAD(from->permit_bounds) == bounds,
		"its limit is about to be brought between its bounds", found.limit);
}

/* Every permit under the limit is there, unless the publisher is just at it. */
static void check_chain(struct audit *audit, uint32_t row)
{
	const struct spot at = {audit, "row", row};
	const struct rule_row *from = &audit->segment->rows[row];
	struct permit_chain chain;
	struct chain_walk walk;
	uint64_t count = 0;
	enum permit_result result = chain_find(audit->segment, from, &chain);

	if (LOAD(from->state) != ROW_LIVE || result == PERMIT_UNLIMITED)
		return;
	if (found_if(&at, result != PERMIT_TAKEN, "a limit without permits",
		     LOAD(from->permit_head)))
		return;
	for (chain_begin(&walk, &chain); chain_next(&walk);)
		count++;
	found_if(&at,
		 (walk.broken || count < chain.limit) && LOAD(from->permit_limit) == chain.word &&
			 LOAD(from->state) == ROW_LIVE,
		 "fewer permits than its limit", chain.limit);
	found_if(&at, LOAD(from->permit_hold_ns) > VALUE_PERIOD_MAX_NS, "a max_hold of centuries",
		 LOAD(from->permit_hold_ns));
	check_found(&at, from, count);
	note_if(&at, chain.word & PERMIT_ELSEWHERE,
		"gives no permit while the pair is being replaced", chain.word);
}

static void check_waiter(struct audit *audit, uint32_t index)
{
	const struct waiter_row *row = &audit->segment->waiters[index];
	const struct spot at = {audit, "waiter", index};
	uint64_t place = LOAD(row->place);

	check_owner(&at, &row->owner);
	found_if(&at, place & PLACE_VALID && place_head(place) >= audit->segment->block_count,
		 "a line beyond all blocks", place);
	found_if(&at, LOAD(row->rings) > 1, "the word `rings` is neither 0 nor 1",
		 LOAD(row->rings));
}

void audit_permits(struct audit *audit)
{
	const struct segment *segment = audit->segment;

	for (uint32_t i = 0; i < segment->block_count; i++)
		check_block(audit, i);
	for (uint32_t i = 0; i < segment->row_count; i++)
		check_chain(audit, i);
	for (uint32_t i = 0; i < segment->waiter_count; i++)
		check_waiter(audit, i);
}
