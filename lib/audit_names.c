/* SPDX-License-Identifier: Apache-2.0
 *
 * audit_names.c - the table of names under [default], and their buckets.
 */
#include "audit_parts.h"

#include "bucket.h"
#include "names.h"

/* Steps along the table of names: the keyed hash makes long ways out of reach for honest names. */
#define PROBE_STEPS (1ull << 28)

/*
 * The way from where a hash begins to where it was found: all slots on it are taken, since slots
 * never become free, and by others, since whoever looks for a name walks the same way.
 */
static void check_way(const struct spot *at, uint64_t hash)
{
	const struct segment *segment = at->audit->segment;
	uint32_t slot = (uint32_t)(hash % segment->name_count);

	for (; slot != at->index; slot = slot + 1 == segment->name_count ? 0 : slot + 1) {
		uint64_t other = LOAD(segment->names[slot].hash);

		if (found_if(at, other == hash, "a name that has two slots", slot) ||
		    found_if(at, other == 0, "a name that cannot be found where it is", slot))
			return;
		if (at->audit->probe_steps++ == PROBE_STEPS) {
			audit_tell(at, AUDIT_FINDING, "names are heaped as their hash cannot do",
				   slot);
			return;
		}
	}
}

/*
 * A frozen mark under [default] means that its name has a row of its own. Asked only where the
 * text is whole, and believed only if no rule came or went meanwhile.
 */
static void check_frozen_name(const struct spot *at, const struct bucket *bucket)
{
	const struct segment *segment = at->audit->segment;
	uint64_t table = LOAD(segment->rules->table_generation);
	char text[LAYOUT_TEXT_BYTES];

	if (!(LOAD(bucket->mark) & BUCKET_FROZEN) || segment_is_retired(segment))
		return;
	segment_text(segment->names[at->index].text, text);
	if (!names_valid(text) || names_find_slot(segment, text) != at->index ||
	    names_find_row(segment, text) != names_default_row(segment))
		return;
	found_if(at,
		 LOAD(bucket->mark) & BUCKET_FROZEN &&
			 LOAD(segment->rules->table_generation) == table,
		 "a mark has moved, and its name leads nowhere else", LOAD(bucket->mark));
}

static bool check_name(struct audit *audit, uint32_t index, const struct rule_row *fallback)
{
	const struct segment *segment = audit->segment;
	const struct name_row *name = &segment->names[index];
	const struct bucket *bucket = &segment->buckets[segment->row_count + index];
	const struct spot at = {audit, "name", index};
	const struct spot at_bucket = {audit, "bucket", segment->row_count + index};
	bool touched = LOAD(bucket->mark) || LOAD(bucket->gate) || LOAD(bucket->shadow);
	uint64_t hash = LOAD(name->hash);

	/* claimed before it is used: a bucket that was touched has a name by now */
	if (hash == 0) {
		if (touched)
			audit_untouched(&at_bucket, bucket);
		return false;
	}
	found_if(&at, !text_is_closed(name->text), "a name without an end", 0);
	found_if(&at, LOAD(name->source) > layout_buckets(LAYOUT_MAX_ROWS, LAYOUT_MAX_NAMES),
		 "a mark's source is beyond all buckets", LOAD(name->source));
	if (audit->probe_steps <= PROBE_STEPS)
		check_way(&at, hash);
	if (fallback)
		audit_mark(&at_bucket, bucket, fallback);
	audit_gate(&at_bucket, bucket);
	check_frozen_name(&at, bucket);
	return true;
}

void audit_names(struct audit *audit)
{
	const struct segment *segment = audit->segment;
	int64_t row = names_default_row(segment);
	const struct rule_row *fallback = row < 0 ? NULL : &segment->rows[row];
	uint32_t overflow = segment->row_count + segment->name_count;
	const struct spot at = {audit, "name", 0};
	const struct spot at_overflow = {audit, "bucket", overflow};
	uint64_t used = 0;

	for (uint32_t i = 0; i < segment->name_count; i++)
		used += check_name(audit, i, fallback);
	if (fallback)
		audit_mark(&at_overflow, &segment->buckets[overflow], fallback);
	audit_gate(&at_overflow, &segment->buckets[overflow]);
	note_if(&at, used * 10 > (uint64_t)segment->name_count * 9,
		"the table of names is nearly full: raise `names` in weir.ini", used);
}
