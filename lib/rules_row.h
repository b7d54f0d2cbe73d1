/* SPDX-License-Identifier: Apache-2.0
 *
 * rules_row.h - a row of the table of rules as its one writer sees it. For the rules*.c files only.
 */
#ifndef WEIR_RULES_ROW_H
#define WEIR_RULES_ROW_H

#include <stdatomic.h>

#include "rules.h"

static inline struct rule_row *rules_row(struct segment *segment, uint32_t row)
{
	return (struct rule_row *)(void *)(segment->publisher + 1) + row;
}

/* The publisher is one thread, so it reads its own words relaxed. */
static inline uint32_t rules_used(const struct segment *segment)
{
	uint32_t used = atomic_load_explicit(&segment->rules->rows_used, memory_order_relaxed);

	return used < segment->row_count ? used : segment->row_count;
}

static inline bool rules_is_live(const struct rule_row *row)
{
	return atomic_load_explicit(&row->state, memory_order_relaxed) == ROW_LIVE;
}

static inline enum row_kind rules_kind(const struct segment *segment, uint32_t row)
{
	return (enum row_kind)atomic_load_explicit(&segment->rows[row].kind, memory_order_relaxed);
}

/* Lets every handle resolve its name again at its next call. */
void rules_table_changed(struct segment *segment);

/* The line of a row that is there, with the wall clock of its origin; and its terms. */
void rules_row_read(const struct segment *segment, uint32_t row, struct line *line,
		    struct terms *terms, struct terms_author *author);

/*
 * A row's next line, by terms that its unit fits and so many ticks a second. Windows of the same
 * kind go on as they are. Returns 0, WEIR_EROWS, WEIR_EVALUE.
 */
int rules_line_next(const struct segment *segment, uint32_t row, const struct terms *terms,
		    uint64_t hz, const struct wall_time *wall, struct line *out);

#endif
