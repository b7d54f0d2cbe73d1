/* SPDX-License-Identifier: Apache-2.0
 *
 * token_clock.h - V(t), the tokens a rule has minted: publish a line, read it, invert it.
 *
 * Who writes: the publisher (daemon or host), one at a time. Who reads: everybody.
 * If the publisher dies anywhere here, either the new line counts or the old one does; nobody
 * waits for it. A publication never makes V smaller: it is a new line through the old one's
 * value, at an origin a microsecond ahead of the store (V stands still until then), and it is
 * repeated when the publisher was held up for longer than that.
 */
#ifndef WEIR_TOKEN_CLOCK_H
#define WEIR_TOKEN_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "layout.h"
#include "time_source.h"

#define LINE_SLOPE_BITS 60 /* of the slope, below the unit */
#define LINE_ELAPSED_MAX ((1ull << 60) - 1)
#define LINE_FAR (1ull << 61) /* no mark may be further ahead of V, in units */
#define LINE_K_MAX 59
#define TERMS_UNLIMITED UINT64_MAX
#define TERMS_MICRO 1000000ull

__extension__ typedef unsigned __int128 line_wide; /* products need 128 bits */

/* A shadow limit as people write it. */
struct shadow_terms {
	uint64_t rate_micro;
	uint64_t period_ns; /* 0: there is none */
	uint64_t burst_micro;
};

/* What calls of a class must leave, in the form of struct line_class; see class.h. */
struct class_leave {
	uint64_t name; /* 0: none */
	uint64_t leave;
};

enum window_kind {
	WINDOW_NONE = 0,    /* no windows: the clock is a straight line */
	WINDOW_ALIGNED = 1, /* by the wall clock */
	WINDOW_FIRST = 2,   /* with the first use after the last window ended */
};

/* Windows as people write them; each brings rate * length / period tokens. */
struct window_terms {
	uint64_t length_ns; /* 0: none */
	enum window_kind kind;
	int32_t minutes; /* WINDOW_ALIGNED: east of UTC */
};

#define ADAPT_SAFETY_MICRO 900000ull
#define ADAPT_MAX_CLOSE_NS 3600000000000ull

/* How a rule follows its upstream, as people write it (adapt.h). */
struct adapt_terms {
	uint64_t mode; /* enum adapt_mode */
	uint64_t min_rate_micro;
	uint64_t min_period_ns; /* 0: a hundredth of the rule's own rate */
	uint64_t safety_micro;	/* 0: ADAPT_SAFETY_MICRO */
	uint64_t max_close_ns;	/* 0: ADAPT_MAX_CLOSE_NS */
	char text[LAYOUT_ADAPT_BYTES];
};

/* What was learned, in the form of struct line_learned. */
struct learned_terms {
	uint64_t rate_micro;
	uint64_t period_ns; /* 0: nothing is */
	uint64_t burst_micro;
	uint64_t until_ns;
	uint64_t from_ns;
	uint64_t limit_micro;
	uint64_t remaining_micro;
	uint64_t cause;
};

/* A rule as people write it. */
struct terms {
	uint64_t rate_micro;	/* millionths of a token per period, 0, or TERMS_UNLIMITED */
	uint64_t period_ns;	/* above 0 */
	uint64_t burst_micro;	/* at least one token */
	uint64_t initial_micro; /* at most the burst */
	uint64_t max_wait_ns;	/* 0: no bound */
	uint64_t shadow;	/* 1: what is refused is counted, and passes */
	struct shadow_terms beside;
	struct class_leave classes[LAYOUT_CLASSES]; /* those that there are come first */
	struct window_terms window;
	uint64_t concurrency;	  /* permits, + 1; 0: no limit. They are a row's, not a line's:
				     permits.h. Of a limit that is found, where it stands or begins */
	uint32_t concurrency_min; /* between what it is found */
	uint32_t concurrency_max; /* 0: it is given */
	uint64_t max_hold_ns;	  /* 0: for ever */
	struct adapt_terms adapt;
	struct learned_terms learned; /* no part of what people write, and of no comparison */
};

#define TERMS_NO_LIMIT 0ull

/* Who publishes a change, for people. */
struct terms_author {
	enum row_origin origin;
	uint64_t uid;
};

/* The shadow limit of a line, in the same unit (shadow.h). */
struct shadow_line {
	uint64_t origin_ticks;
	uint64_t origin_units;
	uint64_t origin_fraction;
	uint64_t slope;
	uint64_t burst_units;
	uint64_t lift_units; /* of one about to be published: by which V is to jump */
};

/*
 * A line as values of one process, read or about to be published. A row's unit is k and radix:
 * line_unit(). Lines with windows use two words in their own way, and go by window.h.
 */
struct line {
	uint64_t origin_ticks;
	uint64_t origin_units;
	union {
		uint64_t origin_fraction;
		uint64_t step_units; /* with windows: what each brings */
	};
	union {
		uint64_t slope;
		uint64_t step_ticks; /* with windows: how long each is */
	};
	uint64_t burst_units;
	uint64_t reach_units; /* with windows: ticks */
	uint64_t initial_units;
	uint64_t origin_wall_ns; /* LINE_ALIGNED, to be published */
	unsigned k;
	unsigned radix;
	unsigned flags;
	struct shadow_line shadow;     /* if flags & LINE_BESIDE */
	unsigned follow;	       /* to be published: as in the shape */
	struct follow_row *follow_row; /* to be published: where that is; NULL: nowhere */
};

#define LINE_WINDOW (LINE_ALIGNED | LINE_FIRST)

/* What the first glance of a call does not decide. */
#define LINE_COLD (LINE_UNLIMITED | LINE_WINDOW | LINE_SHADOW | LINE_BESIDE)

static inline unsigned line_unit(const struct line *line)
{
	return line->k | line->radix << 8;
}

/*
 * Sixteenths of a tick since the line's origin, so that slope times elapsed is in 2^-64 unit and
 * the whole units are the upper half of the product: a shift of the product instead would be the
 * longest part of what stands between the reading of the time and the exchange of the mark.
 * Before the origin none: unsigned, a tick of skew would be centuries. After 2^60 ticks (14 years
 * of a TSC at 2.6 GHz without any publication) V stands still.
 */
static inline uint64_t line_elapsed(const struct line *line, uint64_t ticks)
{
	uint64_t elapsed = ticks - line->origin_ticks;

	if (__builtin_expect(elapsed > LINE_ELAPSED_MAX, 0))
		elapsed = elapsed >> 63 ? 0 : LINE_ELAPSED_MAX;
	return elapsed << 4;
}

/* V of a straight line at a tick, in 2^-64 unit. */
static inline line_wide line_straight_wide(const struct line *line, uint64_t ticks)
{
	return ((line_wide)line->origin_units << 64 | line->origin_fraction) +
	       (line_wide)line_elapsed(line, ticks) * line->slope;
}

/* V of a line with windows: window.c. */
uint64_t window_value(const struct line *line, uint64_t ticks);

/* V at a tick, in 2^-64 unit. */
static inline line_wide line_value_wide(const struct line *line, uint64_t ticks)
{
	if (__builtin_expect(line->flags & LINE_WINDOW, 0))
		return (line_wide)window_value(line, ticks) << 64;
	return line_straight_wide(line, ticks);
}

/* V at a tick, in whole units. */
static inline uint64_t line_value(const struct line *line, uint64_t ticks)
{
	return (uint64_t)(line_value_wide(line, ticks) >> 64);
}

/* The words of a copy beside those of its line; each pairs with its release store. */
static inline void line_read_shadow(const struct line_shadow *from, struct shadow_line *out)
{
	out->origin_ticks = atomic_load_explicit(&from->origin_ticks, memory_order_acquire);
	out->origin_units = atomic_load_explicit(&from->origin_units, memory_order_acquire);
	out->origin_fraction = atomic_load_explicit(&from->origin_fraction, memory_order_acquire);
	out->slope = atomic_load_explicit(&from->slope, memory_order_acquire);
	out->burst_units = atomic_load_explicit(&from->burst_units, memory_order_acquire);
	out->lift_units = 0;
}

/* What the class of that name must leave; 0 if the rule does not tell it apart. */
static inline void line_read_leave(const struct line_class *from, struct class_leave *of_class)
{
	of_class->leave = 0;
	for (unsigned i = 0; i < LAYOUT_CLASSES; i++)
		if (atomic_load_explicit(&from[i].name, memory_order_acquire) == of_class->name)
			of_class->leave =
				atomic_load_explicit(&from[i].leave, memory_order_acquire);
}

/*
 * Reads a row's line and the present that belongs to it. The time is read between the two loads
 * of the generation: read later, a process stopped for a minute in between would compute a V far
 * ahead on a line that is gone. Lock-free: it repeats only when a publication succeeded.
 */
static inline __attribute__((always_inline)) uint64_t line_read_words(
	const struct rule_row *row, const struct time_source *time, struct line *out, bool whole,
	struct class_leave *of_class)
{
	for (;;) {
		/* pairs with the release store of the generation in line_publish() */
		uint64_t generation = atomic_load_explicit(&row->generation, memory_order_acquire);
		const struct line_words *words = &row->copies[generation & 1].words;
		uint64_t now = time_source_ticks(time);
		uint64_t shape;

		/* each pairs with its release store in line_publish(): a word of a later
		 * publication brings that publication's predecessor's generation with it, so
		 * the check below sees that the copy was being refilled */
#define LINE_LOAD(word) atomic_load_explicit(&words->word, memory_order_acquire)
		out->origin_ticks = LINE_LOAD(origin_ticks);
		out->origin_units = LINE_LOAD(origin_units);
		out->origin_fraction = LINE_LOAD(origin_fraction);
		out->slope = LINE_LOAD(slope);
		shape = LINE_LOAD(shape);
		out->burst_units = LINE_LOAD(burst_units);
		if (whole) {
			out->reach_units = LINE_LOAD(reach_units);
			out->initial_units = LINE_LOAD(initial_units);
		}
#undef LINE_LOAD
		out->k = shape & 63;
		out->radix = shape >> 8 & 63;
		out->flags = shape >> 16 & 0xffff;
		if (whole && out->flags & LINE_BESIDE)
			line_read_shadow(&row->copies[generation & 1].shadow, &out->shadow);
		if (of_class)
			line_read_leave(row->copies[generation & 1].classes, of_class);
		/* relaxed: the acquire loads above keep it after them */
		if (__builtin_expect(atomic_load_explicit(&row->generation, memory_order_relaxed) ==
					     generation,
				     1))
			return now;
	}
}

static inline uint64_t line_read(const struct rule_row *row, const struct time_source *time,
				 struct line *out)
{
	return line_read_words(row, time, out, true, NULL);
}

/* The same, and what a class must leave by it. */
static inline uint64_t line_read_class(const struct rule_row *row, const struct time_source *time,
				       struct line *out, struct class_leave *of_class)
{
	return line_read_words(row, time, out, true, of_class);
}

/*
 * The same without reach_units, initial_units and the shadow limit, which a call that does not wait
 * can spare.
 */
static inline uint64_t line_read_short(const struct rule_row *row, const struct time_source *time,
				       struct line *out)
{
	out->reach_units = out->initial_units = 0;
	return line_read_words(row, time, out, false, NULL);
}

/* The wall clock at the line's origin, in ns since 1970; 0 but for LINE_ALIGNED. */
uint64_t line_read_wall(const struct rule_row *row);

/*
 * The terms that belong to the line in force; for people, the daemon and the tools. Not how the
 * upstream is followed and what was learned: segment_terms() reads those, too.
 */
void line_read_terms(const struct rule_row *row, struct terms *terms, struct terms_author *author,
		     uint64_t *changed_ns);

/* Where the row of that generation has the rest of its terms, + 1; 0: nowhere. Not bounded. */
static inline uint32_t line_follow_index(const struct rule_row *row, uint64_t generation)
{
	/* acquire: as in line_read() */
	return (uint32_t)(atomic_load_explicit(&row->copies[generation & 1].words.shape,
					       memory_order_acquire) >>
			  49);
}

/* What stands there; whoever calls it checks the row's generation afterwards. */
void line_read_learned(const struct line_learned *from, struct learned_terms *out);
void line_read_adapt(const struct line_adapt *from, struct adapt_terms *out);

/*
 * The terms whose rate and burst are in force: what was learned where it is lower. Only what is
 * to be computed with; what people wrote is lost in it.
 */
struct terms terms_in_force(const struct terms *terms);

/*
 * Ticks from `now` until V has advanced by `ahead` units from its value at `now`: the smallest
 * number that suffices. UINT64_MAX: never. No overflow for any line read from a mapped page.
 */
uint64_t line_wait_ticks(const struct line *line, uint64_t now, uint64_t ahead);

/* The same until V reaches `value`; 0 if it has. */
uint64_t line_ticks_until(const struct line *line, uint64_t now, uint64_t value);

/* Nanoseconds of so many ticks by the segment's clock line, rounded up; UINT64_MAX stays. */
uint64_t line_ticks_to_ns(const struct line *clock, uint64_t ticks);

/* Ticks of so many nanoseconds, rounded up; UINT64_MAX (or what overflows) stays UINT64_MAX. */
uint64_t line_ns_to_ticks(const struct line *clock, uint64_t ns);

/*
 * The finest unit 2^-k: the largest k >= 0 for which ten years at 64 times the rate fit into 62
 * bits and the burst stays below 2^60 units. Rate 0 and unlimited count as 1000/s.
 */
unsigned line_best_k(const struct terms *terms);

/*
 * Whether ten years at the terms' own rate, from V on, and the burst still fit at this k, and k is
 * still fine enough.
 */
bool line_k_fits(const struct terms *terms, unsigned k, uint64_t v);

/* Whether ten years at the terms' own rate alone still fit, from V on, and the burst. */
bool line_rate_fits(const struct terms *terms, unsigned k, uint64_t v);

/* Whether a unit of 2^-k token suits the terms' shadow limit, at so many times its rate. */
bool line_beside_fits(const struct terms *terms, unsigned k, unsigned times);

/* The same of a row's whole unit, k | radix << 8: with WINDOW_FIRST by window.h. */
unsigned line_best_unit(const struct terms *terms);
bool line_unit_fits(const struct terms *terms, unsigned unit, uint64_t v);

/*
 * The unit of a row whose marks are many: coarser than need be, so that a change of the rate by a
 * factor of thousands, up or down, fits it as well. At 20/s it is 1/32768 token.
 */
unsigned line_each_unit(const struct terms *terms);

/*
 * The slope has 60 bits below the unit: over ten years of nanoseconds its rounding adds less than
 * a unit to V, whatever the rate, and 64 times the rate a unit was chosen for stays below the 16
 * units a tick that fit above them.
 */

/*
 * Terms -> slope, burst, reach, initial level and flags, at a unit, for a clock of `hz` ticks per
 * second. The origin is 0, and of WINDOW_ALIGNED the caller's (align.h). Returns 0, WEIR_EVALUE.
 */
int line_from_terms(struct line *out, const struct terms *terms, unsigned unit, uint64_t hz);

/* The clock line itself: nanoseconds over ticks. */
int line_from_hz(struct line *out, uint64_t hz);

/* Millionths of a token -> units at k, rounded up; saturates at 2^62. */
uint64_t line_units(uint64_t micro, unsigned k);

/* A difference of marks from one unit to another, rounded up; saturates at LINE_FAR. */
uint64_t line_rescale(uint64_t units, unsigned from_k, unsigned to_k);

/*
 * Publishes `next` (its origin is computed here) through the value of the line in force, lifted
 * by `lift_units` where V must jump (a suspended machine). With LINE_ALIGNED, next's own origin
 * says where its windows begin and what V is there, at least: V is the later of both. Publisher
 * only. Wakes the row's sleepers. Returns the V at the new origin.
 */
uint64_t line_publish(struct rule_row *row, const struct time_source *time, const struct line *next,
		      const struct terms *terms, const struct terms_author *author,
		      uint64_t lift_units);

/*
 * V of a new row at its birth. Where V counts ticks it begins so late that a window that is under
 * way when its mark moves here can have begun before.
 */
#define LINE_BIRTH 1ull
#define LINE_BIRTH_FIRST (1ull << 58)

/* Gives a new row its first line: V is what it is at birth at this moment. */
void line_begin(struct rule_row *row, const struct time_source *time, const struct line *first,
		const struct terms *terms, const struct terms_author *author);

#endif
