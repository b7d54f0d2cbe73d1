/* SPDX-License-Identifier: Apache-2.0
 *
 * state.h - the state file as text, and what a saved level has become since. Pure.
 *
 * A line a bucket, fields KEY=VALUE, `name=` the last of them because a name may hold blanks:
 *
 *	weir-state 1
 *	# comments
 *	instance default
 *	saved 1763892000.5
 *	boot 0123456789abcdef0123456789abcdef 4711.25
 *	endpoint rate=5000/h burst=100 used=37.5 closed=29.5s name=api.github.com
 *	name rate=10/s burst=10 used=3 name=example.org
 *	rest rate=10/s burst=10 used=1
 *	endpoint rate=5000/d burst=5000 window=1d,aligned used=812 renews=1763942400 name=by day
 *	operator rate=5/s burst=10 initial=10 uid=0 name=api.github.com
 *	operator rate=9/s burst=9 initial=9 shadow_rate=5/s shadow_burst=5 classes=a:20% uid=0 \
 *		name=x
 *	operator rate=5/s burst=9 initial=9 ?keys=65536 ?fold=ipv6/64,case uid=0 name=*.net
 *	?learned rate=2.4/s burst=10 until=1763892030 from=1763892000 limit=100 remaining=80 \
 *		cause=1 name=api.github.com
 *	?frozen rate=5000/h burst=100 name=api.github.com
 *	?found rate=5000/h burst=100 concurrency=17 name=api.github.com
 *	end CHECKSUM BYTES
 *
 * The last line is what `cksum` says of those before it. Everything is in tokens and durations:
 * units and ticks belong to a row and a boot. A reader refuses a record or field that it does not
 * know, unless its first character is `?`: what a later release may add without a new version.
 */
#ifndef WEIRD_STATE_H
#define WEIRD_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"
#include "place.h"
#include "token_clock.h"

#define STATE_VERSION 1u
#define STATE_MAX_BYTES (512ul << 20) /* more than the largest tables need */
#define STATE_LINE_BYTES 1536	      /* with its newline, at most */
#define STATE_FOREVER UINT64_MAX
#define STATE_FAULT_BYTES 160
#define STATE_TERMS_BYTES 160

/* Whose levels they are, and when they were so. */
struct state_stamp {
	char instance[PLACE_NAME_BYTES];
	uint64_t saved_ns;    /* wall clock, since 1970 */
	uint64_t boot[2];     /* the kernel's boot_id; both 0: not known */
	uint64_t boottime_ns; /* CLOCK_BOOTTIME */
};

enum state_kind {
	STATE_ENDPOINT, /* the bucket of an exact rule or of a pattern */
	STATE_NAME,	/* of a name under [default] */
	STATE_REST,	/* the one that names without room share */
	STATE_OPERATOR, /* a rule as an operator set it */
	STATE_LEARNED,	/* what was learned of an upstream, by the name of the rule */
	STATE_FROZEN,	/* nothing was, and an operator wants nothing to be; likewise */
	STATE_FOUND,	/* the concurrency that was found, likewise */
	STATE_KINDS
};

/* Whether a record is of a bucket, and not of a rule. */
static inline bool state_is_bucket(enum state_kind kind)
{
	return kind == STATE_ENDPOINT || kind == STATE_NAME || kind == STATE_REST;
}

struct state_record {
	enum state_kind kind;
	char text[LAYOUT_TEXT_BYTES]; /* STATE_REST: ""; of [default] as a rule: "*" */
	struct terms terms;	      /* of a bucket: rate, burst and window alone */
	struct learned_terms learned; /* STATE_LEARNED, its times by the wall clock */
	line_wide used_micro; /* of a bucket: taken and not yet refilled; may exceed burst */
	uint64_t closed_ns;   /* of a bucket: until it opens; 0: open; or STATE_FOREVER */
	uint64_t renews_ns;   /* of a bucket: wall clock of the next window; 0: none is under way */
	uint64_t uid;	      /* of a rule: who set it */
	uint64_t keys;	      /* of a rule with a bucket for each key: for how many; else 0 */
	uint64_t fold;	      /* and what counts as one */
};

/* ---- writing ---- */

struct state_text {
	char *text; /* malloc'ed */
	size_t used;
	size_t room;
	int error; /* -ENOMEM, or -EFBIG: above STATE_MAX_BYTES */
	/* of the last record: all names under [default] have the same */
	struct terms terms;
	char terms_text[STATE_TERMS_BYTES];
};

void state_begin(struct state_text *out, const struct state_stamp *stamp);
void state_add(struct state_text *out, const struct state_record *record);

/* Adds the last line. Returns 0 or the error; then the text is freed. */
int state_finish(struct state_text *out);

/* ---- reading ---- */

struct state_reader {
	const char *text;
	size_t bytes; /* up to the last line */
	size_t at;
	unsigned line;
};

/*
 * Checks the whole of `bytes` bytes, every record included, and stands before the first one.
 * Never reads beyond them, allocates nothing. Returns 0, WEIR_EDAMAGED, or WEIR_ENEWER: a later
 * release wrote it. Then *fault is a sentence that says where and what; *stamp and *out are
 * written on success only.
 */
int state_open(struct state_reader *out, struct state_stamp *stamp, const char *text, size_t bytes,
	       char fault[STATE_FAULT_BYTES]);

/* The next record; false at the end. */
bool state_next(struct state_reader *reader, struct state_record *out);

/* POSIX cksum of so many bytes. */
uint32_t state_cksum(const char *text, size_t bytes);

/* ---- time ---- */

/*
 * How much time a level may be credited with: what the wall clock says has passed and, within one
 * boot, at most what the kernel counted. 0 when the wall clock stands before the saved time.
 */
uint64_t state_elapsed(const struct state_stamp *saved, const struct state_stamp *now);

/*
 * A window counts as begun so long after its beginning: windows by the calendar follow the wall
 * clock by that much (WATCH_ALIGN_NS), and none is to bring its quota here and by its row again.
 */
#define STATE_WINDOW_MARGIN_NS 2000000ull

/* From a save, by the wall clock, to the moment for which a level is wanted. */
struct state_span {
	uint64_t saved_ns;
	uint64_t elapsed_ns;
};

/* A bucket's record, some time later and under present terms. */
struct state_level {
	line_wide used_micro;
	uint64_t closed_ns; /* as in state_record */
	uint64_t renews_ns; /* until the window under way ends; 0: one would begin now */
};

/*
 * The lowest level that anything speaks for: tokens are credited at the lower of the two rates,
 * with windows for those that have begun meanwhile; what was used stays used, and the level is not
 * above the saved one and the credit; and where a closure ended meanwhile, the bucket was empty
 * then (without windows).
 */
void state_age(struct state_level *out, const struct state_record *saved, const struct terms *now,
	       const struct state_span *span);

/* Whether that level is the one a bucket begins with. */
bool state_is_idle(const struct state_level *level, const struct terms *terms);

#endif
