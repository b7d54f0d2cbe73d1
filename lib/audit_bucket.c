/* SPDX-License-Identifier: Apache-2.0
 *
 * audit_bucket.c - marks and gates.
 */
#include "audit_parts.h"

#include "bucket.h"
#include "gate.h"

#define DAY_S 86400u

/*
 * The mark is read before the time: no taker can have put it further ahead of a V that is later.
 * A raised burst may lengthen a debt by a burst.
 */
void audit_mark(const struct spot *at, const struct bucket *bucket, const struct rule_row *row)
{
	const struct segment *segment = at->audit->segment;
	uint64_t mark = bucket_look(bucket);
	struct line line;
	uint64_t now;

	if (mark == BUCKET_UNSET)
		return;
	now = line_read(row, &segment->time, &line);

	struct stand stand = line_stand(&line, now, mark);

	found_if(at, stand.ahead > LINE_FAR + BURST_MAX,
		 "a mark further ahead than any call can put it", mark);
	found_if(at,
		 line.flags & LINE_FIRST && stand.ahead &&
			 (int64_t)(stand.v - line_value(&line, now)) >
				 (int64_t)((1ull << line.radix) + at->audit->hz),
		 "a window that begins in the future", mark);
}

void audit_gate(const struct spot *at, const struct bucket *bucket)
{
	uint64_t gate = gate_load(bucket);
	uint64_t now = segment_now(at->audit->segment);
	uint64_t second = at->audit->hz;
	uint64_t until = gate & GATE_UNTIL;

	if (second == 0)
		return;
	found_if(at, gate_is_settled(gate) && until > now && until - now > second,
		 "a closure that was settled before its time", gate);
	note_if(at, gate_is_closed(gate, now) && until - now > DAY_S * second,
		until == GATE_UNTIL ? "closed until somebody opens it"
				    : "closed for more than a day from now",
		gate);
}

/*
 * A bucket of a row that is not used, or of a name that nobody claimed, was never touched; but
 * all of them are frozen in a pair that was replaced. The mark is read before `retired` is.
 */
void audit_untouched(const struct spot *at, const struct bucket *bucket)
{
	uint64_t mark = LOAD(bucket->mark);
	uint64_t gate = LOAD(bucket->gate);
	bool is_frozen = mark == BUCKET_FROZEN && segment_is_retired(at->audit->segment);

	found_if(at, mark != BUCKET_UNSET && !is_frozen, "a mark in a bucket that nobody has",
		 mark);
	found_if(at, gate != 0, "a gate in a bucket that nobody has", gate);
	found_if(at, LOAD(bucket->shadow) != 0, "a shadow in a bucket that nobody has",
		 LOAD(bucket->shadow));
}
