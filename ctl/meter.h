/* SPDX-License-Identifier: Apache-2.0
 *
 * meter.h - holds what a name's bucket granted over a time against what its rule allows.
 *
 *	granted <= level at the beginning + minted + given back
 *
 * What was minted is read from the token clock itself, piece by piece where the name's rule moves
 * to another row or pair meanwhile; nothing is computed from rates and times. The sum is never
 * below what the rule allows: the clock is read before the counts at the beginning and after
 * them at the end, and where a rule moves both clocks count. Whoever else draws from the bucket
 * is counted as well: the limit is of all.
 */
#ifndef WEIRCTL_METER_H
#define WEIRCTL_METER_H

#include <stdbool.h>
#include <stdint.h>

#include "look.h"
#include "place.h"

enum meter_count {
	METER_GRANTED,	/* tokens */
	METER_RETURNED, /* tokens */
	METER_GRANTED_CALLS,
	METER_REFUSED_CALLS,
	METER_COUNTS,
};

/* Tokens are long doubles: exact, where these have the 64 bits of a mark in their mantissa. */
struct meter {
	const struct place *place;
	const char *name;
	struct look look;  /* open before meter_begin() */
	struct view view;  /* of the last step */
	long double level; /* at the beginning, not below 0 */
	long double minted;
	long double raised; /* by a larger burst, a reset, or a new bucket */
	long double sums[METER_COUNTS];
	long double bases[METER_COUNTS]; /* what the tallies said when the sums were 0 */
	bool unlimited;			 /* it was, for a time: nothing to hold against */
	unsigned moves;			 /* to another row or pair */
	unsigned breaks; /* of them to a bucket that does not continue the one before */
};

/* Begins. Takes some milliseconds. Returns 0, or what look_name() says. */
int meter_begin(struct meter *meter, const struct place *place, const char *name);

/* Goes on; several times a second, so that a rule that moves twice is not lost from sight. */
void meter_step(struct meter *meter);

/* What was allowed until the last step. */
long double meter_allowed(const struct meter *meter);

/*
 * By how many tokens more was granted than allowed; 0: it was not. Reservations are counted when
 * they are made: what is spoken for beyond the burst has not passed yet and is no excess.
 */
long double meter_excess(const struct meter *meter);

#endif
