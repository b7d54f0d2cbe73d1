/* SPDX-License-Identifier: Apache-2.0
 *
 * facts.h - what top knows at a moment: values, nothing mapped. survey.h reads them, the files
 * that sort and draw see nothing else.
 */
#ifndef WEIRCTL_FACTS_H
#define WEIRCTL_FACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "history.h"
#include "look.h"

/* An endpoint and what was seen of it. */
struct entry {
	struct view view;
	struct history history;
	uint64_t closings; /* since it has been watched */
};

/* The instance as a whole. */
struct standing {
	const char *instance;
	const char *clock;
	int lost; /* 0; or why the name leads to no segment now: what is shown is the last one */
	bool alive;
	pid_t daemon; /* 0: cannot be told */
	uint64_t wall_ns;
	uint64_t interval_ns; /* that the rates are of; 0: none has passed yet */
	unsigned members;
	unsigned members_dead;
	unsigned member_slots;
	/* endpoints */
	size_t closed;
	size_t queueing;
	size_t stopped;
	/* calls a second; NaN where unknown */
	double granted;
	double refused;
	double waited;
};

/*
 * How many calls are in line, about: what is spoken for beyond the burst, by the mean cost of the
 * calls granted so far, rounded up. The segment counts no sleepers: a count that a killed process
 * cannot take itself out of would be wrong for good. Reservations and debts are in line as well.
 * NaN if nothing was granted yet.
 */
double entry_line(const struct entry *entry);

/* What may be taken now of what there could be, 0 to 1: the level of the burst. */
double entry_share(const struct entry *entry);

/* What is drawn from one bucket. */
static inline bool entry_has_bucket(const struct entry *entry)
{
	return entry->view.kind != VIEW_DEFAULT;
}

/* One word for what passes there: of the closed, the stopped and the queueing, the first. */
enum condition {
	CONDITION_OPEN,
	CONDITION_UNLIMITED,
	CONDITION_QUEUE,
	CONDITION_STOPPED,
	CONDITION_CLOSED,
};
enum condition entry_condition(const struct entry *entry);

#endif
