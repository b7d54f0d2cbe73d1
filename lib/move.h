/* SPDX-License-Identifier: Apache-2.0
 *
 * move.h - a bucket's first mark: the initial level, or the mark of the bucket it came from.
 *
 * A name may get a new row (another unit, a row of its own) or a whole new pair (a larger
 * segment). The new row is published first and says where its mark comes from. Whoever meets
 * the new bucket unset freezes the old mark, whose value stays readable, translates it, and
 * installs the result by CAS from unset; all helpers compute the same value. A call that meets
 * a frozen mark resolves its name again. Copying first and forwarding afterwards grants twice.
 */
#ifndef WEIR_MOVE_H
#define WEIR_MOVE_H

#include <stdint.h>

#include "names.h"
#include "rules.h"
#include "segment.h"

/*
 * Gives an unset bucket its first mark. `old` is the pair that this one replaces, NULL if it is
 * not mapped here. Lock-free. Returns 0, or WEIR_EPAIR: the mark comes from a pair that is not
 * mapped; map it (segment_attach_old) and call again.
 */
int move_install(const struct segment *segment, const struct segment *old, uint32_t row,
		 uint32_t bucket);

/*
 * Where a place in line taken at `position` in `bucket` of `from` stands after the move into
 * `row` of `to`; 0 if that row does not continue that bucket.
 */
uint64_t move_position(const struct segment *from, uint32_t bucket, const struct segment *to,
		       uint32_t row, uint32_t to_bucket, uint64_t position);

/*
 * Publisher: fills `successor` (created, not yet revealed, no rows) with the live rows of
 * `segment`, each with the bucket it continues as its source, and with the names in use. The row
 * of the kind and text of `instead` (NULL: none), or of one behind it, gets the terms of that, and
 * its marks what its `keep` makes of them, and room for its `keys`: how a [default] changes its
 * unit, and a table of keys its size. Returns 0, WEIR_EROWS, WEIR_EVALUE.
 */
int move_prepare(const struct segment *segment, struct segment *successor,
		 const struct rule *instead);

/* Says that a newer pair has the name; anyone who met the newer pair may. Wakes sleepers. */
void move_retire(const struct segment *segment);

/* Publisher: installs every mark of a successor and declares the move over. */
int move_finish(struct segment *successor, const struct segment *old);

/* Publisher: carries the counts of `old` over into `successor`, absolutely; may be repeated. */
void move_carry(const struct segment *successor, const struct segment *old);

/* Counts of a bucket with those of the buckets it came from. */
void move_tally(const struct segment *segment, uint32_t row, uint32_t bucket,
		struct tally_sum *out);

#endif
