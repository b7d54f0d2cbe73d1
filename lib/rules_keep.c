/* SPDX-License-Identifier: Apache-2.0
 *
 * rules_keep.c - what becomes of the level of a row's buckets.
 */
#include "rules_keep.h"

#include "carry.h"
#include "fault.h"
#include "gate.h"
#include "key_tables.h"
#include "move.h"
#include "rules_row.h"
#include "shadow.h"

uint64_t keep_meet_opening(const struct segment *segment, uint32_t row, struct bucket *bucket)
{
	struct line line;
	uint64_t now = line_read(&segment->rows[row], &segment->time, &line);
	uint64_t gate = gate_load(bucket);

	if (!gate_is_settled(gate) && !gate_is_closed(gate, now))
		gate_settle(bucket, gate, &line);
	return now;
}

/* The mark that leaves the level the rule asks for; a debt stays the debt it is. */
static uint64_t keep_place(uint64_t mark, const void *data)
{
	const struct keep_context *context = data;
	struct line line;
	uint64_t now =
		line_read(&context->segment->rows[context->row], &context->segment->time, &line);
	struct stand stand = line_stand(&line, now, mark);

	if (context->keep == RULES_KEEP_RESET)
		return line_mark(&line, now, line_stand(&line, now, BUCKET_UNSET));
	stand.ahead = carry_ahead(context->keep, stand.ahead, context->burst_before,
				  context->burst_after);
	return line_mark(&line, now, stand);
}

uint32_t keep_buckets(const struct segment *segment, uint32_t row, struct bucket **first)
{
	bool is_default = rules_kind(segment, row) == ROW_DEFAULT;

	*first = &segment->buckets[is_default ? segment->row_count : row];
	return is_default ? segment->name_count + 1 : 1;
}

void keep_apply(const struct keep_context *context)
{
	struct bucket *first;
	uint32_t count = keep_buckets(context->segment, context->row, &first);
	struct keyed table;

	if (context->keep == RULES_KEEP_USED)
		return;
	keys_of_row(context->segment, context->row, &table);
	if (table.bins)
		keyed_set_all(&table, keep_place, context);
	for (uint32_t i = 0; i < count; i++) {
		uint64_t now = keep_meet_opening(context->segment, context->row, &first[i]);

		gate_reset(&first[i], now, keep_place, context);
		if (context->keep == RULES_KEEP_RESET)
			shadow_reset(&first[i]);
	}
}

void keep_begin(const struct segment *segment, uint32_t row, enum rules_keep keep)
{
	struct bucket *first;
	uint32_t count = keep_buckets(segment, row, &first);

	for (uint32_t i = 0; i < count && keep != RULES_KEEP_USED; i++)
		keep_meet_opening(segment, row, &first[i]);
}

void keep_begin_shadow(const struct segment *segment, uint32_t row, const struct line *before,
		       const struct terms *terms)
{
	struct bucket *first;
	uint32_t count = keep_buckets(segment, row, &first);

	if (before->flags & LINE_BESIDE || terms->beside.period_ns == 0)
		return;
	for (uint32_t i = 0; i < count; i++)
		shadow_reset(&first[i]);
}

void rules_reset(struct segment *segment, uint32_t row, uint32_t bucket)
{
	const struct keep_context context = {
		.segment = segment,
		.row = row,
		.keep = RULES_KEEP_RESET,
	};

	struct keyed table;

	keys_of_row(segment, row, &table);
	if (table.bins)
		keyed_set_all(&table, keep_place, &context);
	/* what nobody has used has its initial level, which need not be full */
	if (bucket_look(&segment->buckets[bucket]) == BUCKET_UNSET)
		move_install(segment, NULL, row, bucket);
	gate_reset(&segment->buckets[bucket], segment_now(segment), keep_place, &context);
	shadow_reset(&segment->buckets[bucket]);
	FAULT_POINT(reset_done);
	rules_wake(segment, row);
}

void rules_reset_key(const struct segment *segment, uint32_t row, uint64_t key)
{
	struct keyed table;
	struct line line;
	uint64_t now = line_read(&segment->rows[row], &segment->time, &line);

	keys_of_row(segment, row, &table);
	if (table.bins)
		keyed_set(&table, key, line_mark(&line, now, line_stand(&line, now, BUCKET_UNSET)));
}
