/* SPDX-License-Identifier: Apache-2.0
 *
 * survey.h - reads an instance again and again, and follows each endpoint by its name: through a
 * row of its own, a larger segment, a daemon that comes and goes. Read-only, as all looking.
 */
#ifndef WEIRCTL_SURVEY_H
#define WEIRCTL_SURVEY_H

#include "facts.h"
#include "views.h"

struct survey {
	const struct place *place;
	struct look look;
	struct standing standing;
	struct views views;
	struct entry *entries; /* sorted by name; of the last step */
	size_t count;
	uint64_t clock_ns; /* of the last interval's end */
	uint64_t steps;
};

/* Attaches, or complains and returns false. */
bool survey_open(struct survey *survey, const struct ctl *ctl);

/*
 * Reads everything. Returns 0 or -ENOMEM. An instance whose name leads nowhere any more is no
 * failure: its last segment is read on, and standing.lost says why.
 */
int survey_step(struct survey *survey);

void survey_close(struct survey *survey);

#endif
