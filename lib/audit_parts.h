/* SPDX-License-Identifier: Apache-2.0
 *
 * audit_parts.h - what the parts of the audit have in common. For the audit*.c files only.
 *
 * Nobody waits for anybody: each part reads words one by one, and calls wrong only what no order of
 * other people's writes can bring about.
 */
#ifndef WEIR_AUDIT_PARTS_H
#define WEIR_AUDIT_PARTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "audit.h"
#include "layout.h"
#include "token_clock.h"

#define NS_PER_S 1000000000ull
#define BURST_MAX (1ull << 60)
#define V_MAX ((1ull << 63) - 1) /* as far as marks reach */

struct audit {
	const struct segment *segment;
	audit_report *report;
	void *context;
	unsigned findings;
	uint64_t hz; /* ticks per second; 0: the clock's row says nonsense */
	uint64_t probe_steps;
};

/* One word's place, so that the checks below read as sentences. */
struct spot {
	struct audit *audit;
	const char *where;
	uint32_t index;
};

void audit_tell(const struct spot *spot, enum audit_severity severity, const char *what,
		uint64_t value);

static inline bool found_if(const struct spot *spot, bool is_wrong, const char *what,
			    uint64_t value)
{
	if (is_wrong)
		audit_tell(spot, AUDIT_FINDING, what, value);
	return is_wrong;
}

static inline void note_if(const struct spot *spot, bool is_worth_it, const char *what,
			   uint64_t value)
{
	if (is_worth_it)
		audit_tell(spot, AUDIT_NOTE, what, value);
}

/*
 * acquire, everywhere: pairs with the release of whoever stored the word. Words that are read one
 * after the other are read in the order in which their writers' last stores make them true.
 */
#define LOAD(word) atomic_load_explicit(&(word), memory_order_acquire)

static inline bool text_is_closed(const _Atomic unsigned char *text)
{
	/* relaxed: never anything but 0 */
	return atomic_load_explicit(&text[LAYOUT_TEXT_BYTES - 1], memory_order_relaxed) == 0;
}

/* One published copy, raw: line_read() masks what this file is to look at. */
struct raw_line {
	uint64_t now; /* read before the words */
	uint64_t origin_ticks;
	uint64_t origin_units;
	uint64_t slope;
	uint64_t shape;
	uint64_t burst_units;
	uint64_t reach_units;
	uint64_t initial_units;
	struct shadow_line shadow;
	struct terms terms;
	uint64_t origin_fraction;
	uint32_t follow;
};

void audit_headers(struct audit *audit);

/* The calibration. Sets audit->hz, so it goes before all that is reckoned in seconds. */
void audit_clock(struct audit *audit);

void audit_rows(struct audit *audit);
void audit_names(struct audit *audit);
void audit_members(struct audit *audit);
void audit_permits(struct audit *audit);

/* Reads a row's line and checks what holds for all. Returns whether it can be reckoned with. */
bool audit_line(const struct spot *at, const struct rule_row *row, struct raw_line *raw);

/* Whether such a line is what its terms make of it in that unit. */
void audit_terms(const struct spot *at, const struct raw_line *raw, unsigned unit);

/* One bucket: its mark by a line, its gate; and that nobody has ever used it. */
void audit_mark(const struct spot *at, const struct bucket *bucket, const struct rule_row *row);
void audit_gate(const struct spot *at, const struct bucket *bucket);
void audit_untouched(const struct spot *at, const struct bucket *bucket);

#endif
