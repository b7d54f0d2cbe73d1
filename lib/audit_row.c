/* SPDX-License-Identifier: Apache-2.0
 *
 * audit_row.c - the table of rules: what a row is, and whose; its line and its bucket with it.
 */
#include "audit_parts.h"

#include "bucket.h"
#include "key_tables.h"
#include "names.h"

static void check_text(const struct spot *at, const struct rule_row *row, uint32_t kind)
{
	char text[LAYOUT_TEXT_BYTES];

	if (found_if(at, !text_is_closed(row->text), "a name without an end", 0))
		return;
	segment_text(row->text, text);
	if (found_if(at, !names_valid(text), "a name that cannot be one", (unsigned char)text[0]))
		return;
	if (kind == ROW_DEFAULT)
		found_if(at, text[0] != '*' || text[1] != '\0', "[default] has another name",
			 (unsigned char)text[0]);
	else
		found_if(at, names_is_pattern(text) != names_kind_is_pattern(kind),
			 "a name that is none of its row's kind", kind);
}

/* Where the mark comes from. In this pair it is an earlier row, or a name under [default]. */
static void check_source(const struct spot *at, const struct rule_row *row)
{
	const struct segment *segment = at->audit->segment;
	uint32_t source = LOAD(row->source);
	uint32_t shape = LOAD(row->source_shape);

	if (shape & SOURCE_ELSEWHERE)
		found_if(at, source > layout_buckets(LAYOUT_MAX_ROWS, LAYOUT_MAX_NAMES),
			 "a mark's source is beyond all buckets", source);
	else
		found_if(at,
			 source > segment->bucket_count ||
				 (source > at->index && source <= segment->row_count),
			 "a mark's source is not a bucket before it", source);
	found_if(at,
		 (shape & 0xff) > LINE_K_MAX || (shape >> 8 & 0xff) > 62 ||
			 shape & ~(SOURCE_KEEP | SOURCE_GIVEN | SOURCE_ELSEWHERE | 0xffffu),
		 "a mark's source has no such unit", shape);
	found_if(at, LOAD(row->source_units) > V_MAX, "a mark's source has a clock out of range",
		 LOAD(row->source_units));
}

/* The keys of a ROW_EACH; no other row has any. */
static void check_table(const struct spot *at, const struct rule_row *row, uint32_t kind)
{
	const struct segment *segment = at->audit->segment;
	uint32_t table = LOAD(row->table);
	struct keyed keys;

	if (found_if(at, (kind == ROW_EACH) != (table != 0),
		     "a table of keys of another kind of row", table) ||
	    table == 0)
		return;
	keys_of_row(segment, at->index, &keys);
	if (found_if(at, keys.bins == NULL, "a table of keys beyond the bins", table))
		return;
	found_if(at, LOAD(segment->tables[table - 1].fold) >> 17,
		 "a table of keys is folded in an unknown way",
		 LOAD(segment->tables[table - 1].fold));
}

/* A row that is or was live. Returns whether it is the live [default]. */
static bool check_row(struct audit *audit, uint32_t index)
{
	const struct segment *segment = audit->segment;
	const struct rule_row *row = &segment->rows[index];
	const struct bucket *bucket = &segment->buckets[index];
	const struct spot at = {audit, "row", index};
	const struct spot at_bucket = {audit, "bucket", index};
	uint32_t state = LOAD(row->state);
	uint32_t kind = LOAD(row->kind);
	struct raw_line raw;

	if (found_if(&at, state != ROW_LIVE && state != ROW_GONE,
		     "a used row is neither live nor gone", state) ||
	    found_if(&at, kind < ROW_EXACT || kind > ROW_EACH, "a row of no known kind", kind))
		return false;
	check_text(&at, row, kind);
	check_source(&at, row);
	check_table(&at, row, kind);
	if (audit_line(&at, row, &raw)) {
		audit_terms(&at, &raw, (unsigned)(raw.shape & 0xffff));
		audit_mark(&at_bucket, bucket, row);
	}
	audit_gate(&at_bucket, bucket);
	note_if(&at_bucket, state == ROW_LIVE && LOAD(bucket->mark) & BUCKET_FROZEN,
		"the mark has moved, but the row is still there", LOAD(bucket->mark));
	return state == ROW_LIVE && kind == ROW_DEFAULT;
}

static uint32_t rows_used(const struct segment *segment)
{
	uint32_t used = LOAD(segment->rules->rows_used);

	return used < segment->row_count ? used : segment->row_count;
}

/*
 * Beyond the used rows there is nothing, but that the first of them may be in the making, or was
 * when its publisher died. A row that came into use meanwhile is counted by now.
 */
static void check_spare_row(struct audit *audit, uint32_t index)
{
	const struct segment *segment = audit->segment;
	const struct spot at = {audit, "row", index};
	const struct spot at_bucket = {audit, "bucket", index};
	const struct bucket *bucket = &segment->buckets[index];
	uint32_t state = LOAD(segment->rows[index].state);

	if (state != ROW_EMPTY && index > rows_used(segment))
		found_if(&at, true, "a row beyond those that are used", state);
	if ((LOAD(bucket->mark) || LOAD(bucket->gate) || LOAD(bucket->shadow)) &&
	    index >= rows_used(segment))
		audit_untouched(&at_bucket, bucket);
}

void audit_rows(struct audit *audit)
{
	const struct segment *segment = audit->segment;
	const struct spot at = {audit, "row", 0};
	uint32_t used = rows_used(segment);
	unsigned defaults = 0;

	for (uint32_t i = 0; i < used; i++)
		defaults += check_row(audit, i);
	for (uint32_t i = used; i < segment->row_count; i++)
		check_spare_row(audit, i);
	found_if(&at, defaults != 1, "there must be one live [default]", defaults);
	note_if(&at, (uint64_t)used * 10 > (uint64_t)segment->row_count * 9,
		"the table of endpoints is nearly used up: a larger pair will be made", used);
}
