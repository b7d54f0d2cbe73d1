/* SPDX-License-Identifier: Apache-2.0 */
#include "survey.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lock.h"
#include "members.h"

#define CLOSINGS_MODULUS 128

/*
 * The clock that intervals are of: the kernel's, which goes on when a segment replaces another;
 * on a manual clock that one, since nothing else mints there.
 */
static uint64_t clock_ns(const struct look *look)
{
	if (look->segment.time.kind == CLOCK_KIND_MANUAL)
		return segment_now_ns(&look->segment);
	return time_source_kernel_ns(CLOCK_MONOTONIC);
}

bool survey_open(struct survey *survey, const struct ctl *ctl)
{
	*survey = (struct survey){.place = &ctl->place};
	if (!look_open(&survey->look, ctl))
		return false;
	survey->standing.instance = ctl->place.name;
	survey->clock_ns = clock_ns(&survey->look);
	return true;
}

void survey_close(struct survey *survey)
{
	look_close(&survey->look);
	views_free(&survey->views);
	free(survey->entries);
	survey->entries = NULL;
}

/* ---- the instance ---- */

/*
 * Attaches anew each time, which takes microseconds: whatever has the name now is what is read,
 * however it came there, and a daemon that has died or come back is noticed with it.
 */
static void attach(struct survey *survey)
{
	struct standing *standing = &survey->standing;
	struct look next;

	standing->lost = look_attach_once(&next, survey->place);
	if (standing->lost == 0) {
		look_close(&survey->look);
		survey->look = next;
	} else {
		survey->look.alive = lock_is_taken(survey->place, &survey->look.daemon);
	}
	standing->alive = survey->look.alive;
	standing->daemon = survey->look.daemon;
	standing->clock = look_clock_name(&survey->look);
}

static void count_members(struct survey *survey)
{
	const struct segment *segment = &survey->look.segment;
	struct standing *standing = &survey->standing;

	standing->members = standing->members_dead = 0;
	standing->member_slots = segment->member_count;
	for (uint32_t slot = 0; slot < segment->member_count; slot++) {
		struct member_info member;

		members_look(segment, slot, &member);
		if (member.pid == 0)
			continue;
		if (members_alive(segment, slot))
			standing->members++;
		else
			standing->members_dead++;
	}
}

/* Ends the interval if the clock has moved; its length. */
static uint64_t end_interval(struct survey *survey)
{
	uint64_t now = clock_ns(&survey->look);
	uint64_t interval = now > survey->clock_ns ? now - survey->clock_ns : 0;

	survey->standing.wall_ns = time_source_kernel_ns(CLOCK_REALTIME);
	survey->clock_ns = now;
	if (interval && survey->steps)
		survey->standing.interval_ns = interval;
	return interval;
}

/* ---- endpoints ---- */

/* A pattern and a name may have the same text. */
static int compare_entries(const void *left, const void *right)
{
	const struct entry *a = left;
	const struct entry *b = right;
	bool a_is_pattern = a->view.kind == VIEW_PATTERN || a->view.kind == VIEW_EACH;
	bool b_is_pattern = b->view.kind == VIEW_PATTERN || b->view.kind == VIEW_EACH;

	if (a_is_pattern != b_is_pattern)
		return a_is_pattern ? 1 : -1;
	return strcmp(a->view.name, b->view.name);
}

static struct counts counts_of(const struct view *view)
{
	const uint64_t *counters = view->tally.counters;

	return (struct counts){
		.tokens = view->tally.tokens[COUNT_GRANTED_UNITS],
		.granted = counters[COUNT_GRANTED_CALLS],
		.refused = counters[COUNT_REFUSED_CALLS],
		.waited = counters[COUNT_WAITED_CALLS],
		.waited_ns = counters[COUNT_WAITED_NS],
	};
}

/* What an entry is told by what it was; NULL: it was not there. */
static void follow(struct entry *entry, const struct entry *before, uint64_t interval_ns)
{
	struct counts counts = counts_of(&entry->view);

	if (!before) {
		/* new here is not new: a name may come back to a bucket that has counted before */
		history_begin(&entry->history, &counts);
		entry->closings = 0;
		return;
	}
	entry->history = before->history;
	entry->closings = before->closings;
	/* another bucket counts for itself */
	if (before->view.bucket == entry->view.bucket)
		entry->closings +=
			(entry->view.closings - before->view.closings) % CLOSINGS_MODULUS;
	history_step(&entry->history, &counts, interval_ns);
}

static int take_entries(struct survey *survey, uint64_t interval_ns)
{
	const struct views *views = &survey->views;
	struct entry *entries = malloc((views->count + 1) * sizeof(*entries));

	if (!entries)
		return -ENOMEM;
	for (size_t i = 0; i < views->count; i++) {
		const struct entry *before = NULL;

		entries[i].view = views->items[i];
		if (survey->count)
			before = bsearch(&entries[i], survey->entries, survey->count,
					 sizeof(*entries), compare_entries);
		follow(&entries[i], before, interval_ns);
	}
	if (views->count)
		qsort(entries, views->count, sizeof(*entries), compare_entries);
	free(survey->entries);
	survey->entries = entries;
	survey->count = views->count;
	return 0;
}

static void count_conditions(struct standing *standing, const struct entry *entry)
{
	standing->closed += entry_condition(entry) == CONDITION_CLOSED;
	standing->queueing += entry_condition(entry) == CONDITION_QUEUE;
	standing->stopped += entry_condition(entry) == CONDITION_STOPPED;
}

/* Rates that are unknown are left out. */
static void sum_up(struct survey *survey)
{
	struct standing *standing = &survey->standing;
	bool known = false;

	standing->closed = standing->queueing = standing->stopped = 0;
	standing->granted = standing->refused = standing->waited = 0;
	for (size_t i = 0; i < survey->count; i++) {
		const struct entry *entry = &survey->entries[i];
		const struct rates *rates = &entry->history.rates;

		if (!entry_has_bucket(entry))
			continue;
		count_conditions(standing, entry);
		if (isnan(rates->granted))
			continue;
		known = true;
		standing->granted += rates->granted;
		standing->refused += rates->refused;
		standing->waited += rates->waited;
	}
	if (!known)
		standing->granted = standing->refused = standing->waited = (double)NAN;
}

int survey_step(struct survey *survey)
{
	uint64_t interval_ns;
	int status;

	attach(survey);
	/* the clock before the counts: an interval's counts may be a call late, not early */
	interval_ns = end_interval(survey);
	if (!views_collect(&survey->look, &survey->views))
		return -ENOMEM;
	status = take_entries(survey, interval_ns);
	if (status < 0)
		return status;
	count_members(survey);
	sum_up(survey);
	survey->steps++;
	return 0;
}
