/* SPDX-License-Identifier: Apache-2.0
 *
 * audit_headers.c - what both objects say of themselves.
 */
#include "audit_parts.h"

/* What segment_attach() read once must still be there. */
static void check_rules_header(struct audit *audit)
{
	const struct segment *segment = audit->segment;
	const struct rules_header *rules = segment->rules;
	const struct spot at = {audit, "header", 0};

	found_if(&at, LOAD(rules->magic) != LAYOUT_RULES_MAGIC,
		 "the rules object does not begin with its magic number", LOAD(rules->magic));
	found_if(&at, LOAD(rules->version) != LAYOUT_VERSION,
		 "the rules object has another layout version", LOAD(rules->version));
	found_if(&at, LOAD(rules->ready) != 1, "the rules object is not marked ready",
		 LOAD(rules->ready));
	found_if(&at, LOAD(rules->signature) != layout_signature(),
		 "the rules object has another layout signature", LOAD(rules->signature));
	found_if(&at, LOAD(rules->bytes) != segment->rules_bytes,
		 "the rules object is not as long as its header says", LOAD(rules->bytes));
	found_if(&at, LOAD(rules->pair) != segment->pair,
		 "the rules object's pair number has changed", LOAD(rules->pair));
	found_if(&at, LOAD(rules->clock_kind) != (uint32_t)segment->time.kind,
		 "the kind of clock has changed", LOAD(rules->clock_kind));
	found_if(&at, LOAD(rules->rows) != segment->row_count, "the capacity for rows has changed",
		 LOAD(rules->rows));
	found_if(&at, LOAD(rules->names) != segment->name_count,
		 "the capacity for names has changed", LOAD(rules->names));
	found_if(&at, LOAD(rules->members) != segment->member_count,
		 "the capacity for members has changed", LOAD(rules->members));
	found_if(&at, layout_blocks(LOAD(rules->permits)) != segment->block_count,
		 "the capacity for permits has changed", LOAD(rules->permits));
	found_if(&at, LOAD(rules->waiters) != segment->waiter_count,
		 "the capacity for waiters has changed", LOAD(rules->waiters));
	found_if(&at, LOAD(rules->cpu_lanes) != segment->tallies.cpu_lanes,
		 "the number of tally lanes has changed", LOAD(rules->cpu_lanes));
	found_if(&at, LOAD(rules->rows_used) > segment->row_count,
		 "more rows are used than there are", LOAD(rules->rows_used));
	found_if(&at, LOAD(rules->table_generation) == 0, "the table of rules has no generation",
		 LOAD(rules->table_generation));
	note_if(&at, LOAD(rules->predecessor) != 0,
		"marks are still being moved from the pair that this one replaces",
		LOAD(rules->predecessor));
}

static void check_state_header(struct audit *audit)
{
	const struct segment *segment = audit->segment;
	const struct state_header *state = segment->state;
	const struct spot at = {audit, "header", 1};

	found_if(&at, LOAD(state->magic) != LAYOUT_STATE_MAGIC,
		 "the state object does not begin with its magic number", LOAD(state->magic));
	found_if(&at, LOAD(state->version) != LAYOUT_VERSION,
		 "the state object has another layout version", LOAD(state->version));
	found_if(&at, LOAD(state->ready) != 1, "the state object is not marked ready",
		 LOAD(state->ready));
	found_if(&at, LOAD(state->signature) != layout_signature(),
		 "the state object has another layout signature", LOAD(state->signature));
	found_if(&at, LOAD(state->bytes) != segment->state_bytes,
		 "the state object is not as long as its header says", LOAD(state->bytes));
	found_if(&at, LOAD(state->pair) != segment->pair,
		 "the state object's pair number has changed", LOAD(state->pair));
	found_if(&at, LOAD(state->retired) > 1, "the word `retired` is neither 0 nor 1",
		 LOAD(state->retired));
	note_if(&at, LOAD(state->retired) == 1, "a newer pair has this name", 1);
	note_if(&at, LOAD(state->names_refused) != 0,
		"names found no room and share a bucket: raise `names` in weir.ini",
		LOAD(state->names_refused));
}

void audit_headers(struct audit *audit)
{
	check_rules_header(audit);
	check_state_header(audit);
}
