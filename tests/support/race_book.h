/* SPDX-License-Identifier: Apache-2.0
 *
 * race_book.h - what each process of a race was granted and when, and the account over all.
 *
 * "When" is a stretch of V, the rule's token clock, read before and after each call: what a call
 * takes it takes at a V in between. So the limit is checked over every interval exactly, in units,
 * whatever the rates were and however long a process was held up within a call.
 *
 * Tokens are lost only while V runs past the mark, because nobody drew. Who draws without a pause
 * writes down his own pauses; where those of all of them overlap, and for what V went on beyond
 * the mark there, nobody was scheduled to draw. That much, and no more, is taken off what greedy
 * processes must have reached. A book belongs to one process and is read when that has ended.
 */
#ifndef RACE_BOOK_H
#define RACE_BOOK_H

#include "segment_fixture.h"

#include "bucket.h"
#include "token_clock.h"

enum {
	RACE_ENTRIES = 1 << 13,
	RACE_STARTS = 256, /* of the intervals that are looked at; each has every end */
};

/* Something between two values of V (or of another clock that all agree on). */
struct race_entry {
	uint64_t from;
	uint64_t to;
	uint64_t units;
};

struct race_entries {
	size_t count;
	struct race_entry at[RACE_ENTRIES];
};

struct race_book {
	uint64_t grain;	     /* entries of one process within so much V become one */
	uint64_t calls;	     /* that took something */
	uint64_t closed;     /* calls that were refused by a closure */
	uint64_t taken;	     /* units, never lowered */
	uint64_t charged;    /* units, debts of settling */
	uint64_t asked_back; /* units that were to go back */
	uint64_t returned;   /* units of those that are known to have gone back */
	uint64_t last_v;     /* the last look of who draws without a pause */
	uint64_t last_lead;
	struct race_entries draws;  /* what was granted */
	struct race_entries backs;  /* what may have gone back of it */
	struct race_entries pauses; /* units: how far the mark was ahead of V when it began */
};

/* Where to look: one bucket and its row, in this process's mapping. */
struct race_view {
	const struct rule_row *row;
	const struct bucket *bucket;
	struct time_source time;
};

/*
 * V, and how far the mark is ahead of it. The mark comes first: who is held up in between finds
 * less ahead than there was, and so accounts for more as lost, not for less.
 */
static inline uint64_t race_look(const struct race_view *view, uint64_t *lead)
{
	struct line line;
	uint64_t mark = bucket_look(view->bucket);
	uint64_t now = line_read_short(view->row, &view->time, &line);
	uint64_t v = line_value(&line, now);

	*lead = (int64_t)(mark - v) > 0 ? mark - v : 0;
	return v;
}

/* A full list widens its last entry, which then says less about when, but nothing wrong. */
static inline void race_note(struct race_entries *list, uint64_t grain, uint64_t from, uint64_t to,
			     uint64_t units)
{
	struct race_entry *last = list->count ? &list->at[list->count - 1] : NULL;

	/* a publisher that was held up may have let V step back for a moment */
	if ((int64_t)(to - from) < 0) {
		uint64_t swap = from;

		from = to;
		to = swap;
	}
	if (last && (list->count == RACE_ENTRIES ||
		     ((int64_t)(from - last->from) >= 0 && to - last->from <= grain))) {
		if ((int64_t)(to - last->to) > 0)
			last->to = to;
		last->units += units;
		return;
	}
	list->at[list->count++] = (struct race_entry){from, to, units};
}

static inline void race_granted(struct race_book *book, uint64_t from, uint64_t to, uint64_t units)
{
	race_note(&book->draws, book->grain, from, to, units);
}

/* What was asked to go back between the two, at most all of which did. */
static inline void race_gave_back(struct race_book *book, uint64_t from, uint64_t to,
				  uint64_t units)
{
	book->asked_back += units;
	race_note(&book->backs, book->grain, from, to, units);
}

/* The next look of a process that draws without a pause: was there one? */
static inline void race_watch(struct race_book *book, uint64_t v, uint64_t lead)
{
	struct race_entries *pauses = &book->pauses;
	uint64_t since = v - book->last_v;

	if ((int64_t)since > (int64_t)book->grain && pauses->count < RACE_ENTRIES)
		pauses->at[pauses->count++] = (struct race_entry){book->last_v, v, book->last_lead};
	book->last_v = v;
	book->last_lead = lead;
}

/* ---- over every interval ---- */

static inline int race_by_end(const void *left, const void *right)
{
	const struct race_entry *a = left;
	const struct race_entry *b = right;

	return (a->to > b->to) - (a->to < b->to);
}

static inline int race_by_begin(const void *left, const void *right)
{
	const struct race_entry *a = left;
	const struct race_entry *b = right;

	return (a->from > b->from) - (a->from < b->from);
}

/* All books' entries of one kind in one list, which the caller frees. */
static inline struct race_entry *race_gather(const struct race_book *books, size_t count,
					     size_t list_at, size_t *total)
{
	struct race_entry *all = NULL;

	*total = 0;
	for (size_t i = 0; i < count; i++) {
		const struct race_entries *list = (const void *)((const char *)&books[i] + list_at);

		/* one more than there are: NULL would be no list */
		all = realloc(all, (*total + list->count + 1) * sizeof(*all));
		assert_non_null(all);
		memcpy(all + *total, list->at, list->count * sizeof(*all));
		*total += list->count;
	}
	return all;
}

#define RACE_GATHER(books, count, list, total)                                                     \
	race_gather(books, count, offsetof(struct race_book, list), total)

/* What was granted, what may have gone back, and which bursts were in force, each with its V. */
struct race_intervals {
	struct race_entry *draws; /* by their ends */
	size_t draw_count;
	struct race_entry *backs; /* by their begins */
	size_t back_count;
	const struct race_entry *bursts; /* by their begins, and by their ends as well */
	size_t burst_count;
	const struct race_entry *shut; /* closures, by their ends: what V mints in them is no use */
	size_t shut_count;
	uint64_t shut_slack; /* units of one place: one due just after a closure is kept */
};

struct race_cursor {
	size_t back;
	size_t burst;
	size_t shut;
	uint64_t passed;  /* and what was minted in vain */
	uint64_t allowed; /* beyond V and the burst */
	uint64_t burst_units;
};

/* Extends the interval that began at `from` up to `to`, and says by how much it is exceeded. */
static inline int64_t race_extend(const struct race_intervals *in, struct race_cursor *at,
				  uint64_t from, uint64_t to)
{
	for (; at->back < in->back_count && in->backs[at->back].from <= to; at->back++)
		if (in->backs[at->back].to >= from)
			at->allowed += in->backs[at->back].units;
	for (; at->burst < in->burst_count && in->bursts[at->burst].from <= to; at->burst++)
		if (in->bursts[at->burst].to >= from &&
		    in->bursts[at->burst].units > at->burst_units)
			at->burst_units = in->bursts[at->burst].units;
	for (; at->shut < in->shut_count && in->shut[at->shut].to <= to; at->shut++)
		if (in->shut[at->shut].from >= from && in->shut[at->shut].units > in->shut_slack)
			at->passed += in->shut[at->shut].units - in->shut_slack;
	return (int64_t)(at->passed - at->allowed - at->burst_units - (to - from));
}

/* The most that was granted in any interval beyond its bound, in units: 0 or less is right. */
static inline int64_t race_excess(const struct race_intervals *in)
{
	size_t stride = 1 + in->draw_count / RACE_STARTS;
	int64_t most = INT64_MIN;

	for (size_t start = 0; start < in->draw_count; start += stride) {
		struct race_cursor at = {0};
		uint64_t from = in->draws[start].from;

		for (size_t i = 0; i < in->draw_count; i++) {
			if (in->draws[i].from < from)
				continue;
			at.passed += in->draws[i].units;

			int64_t excess = race_extend(in, &at, from, in->draws[i].to);

			most = excess > most ? excess : most;
		}
	}
	return most;
}

/* ---- while nobody drew ---- */

/* Where the pauses of two lists overlap; the later begin knows how far the mark was ahead. */
static inline size_t race_overlap(struct race_entry *out, const struct race_entry *a,
				  size_t a_count, const struct race_entry *b, size_t b_count)
{
	size_t count = 0;

	for (size_t i = 0, j = 0; i < a_count && j < b_count;) {
		const struct race_entry *later = a[i].from > b[j].from ? &a[i] : &b[j];
		uint64_t to = a[i].to < b[j].to ? a[i].to : b[j].to;

		if (later->from < to)
			out[count++] = (struct race_entry){later->from, to, later->units};
		if (a[i].to < b[j].to)
			i++;
		else
			j++;
	}
	return count;
}

/*
 * The stretches in which none of `count` processes drew, each with how far the mark was ahead when
 * it began. The caller frees it.
 */
static inline struct race_entry *race_idle(const struct race_book *books, size_t count,
					   size_t *total)
{
	size_t room = count * RACE_ENTRIES;
	struct race_entry *idle = malloc(room * sizeof(*idle));
	struct race_entry *next = malloc(room * sizeof(*next));

	assert_true(idle && next);
	for (size_t i = 0; i < count; i++)
		assert_true(books[i].pauses.count < RACE_ENTRIES);
	*total = books[0].pauses.count;
	memcpy(idle, books[0].pauses.at, *total * sizeof(*idle));
	for (size_t i = 1; i < count; i++) {
		const struct race_entries *pauses = &books[i].pauses;
		struct race_entry *swap = idle;

		*total = race_overlap(next, idle, *total, pauses->at, pauses->count);
		idle = next;
		next = swap;
	}
	free(next);
	return idle;
}

/* What V went on beyond the mark in them: lost, as nobody was there to draw it. */
static inline uint64_t race_idle_units(const struct race_book *books, size_t count)
{
	size_t total;
	struct race_entry *idle = race_idle(books, count, &total);
	uint64_t units = 0;

	for (size_t i = 0; i < total; i++)
		if (idle[i].to - idle[i].from > idle[i].units)
			units += idle[i].to - idle[i].from - idle[i].units;
	free(idle);
	return units;
}

#endif
