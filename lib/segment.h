/* SPDX-License-Identifier: Apache-2.0
 *
 * segment.h - creates, reveals, attaches and maps the pair of objects.
 *
 * Who writes: a creator fills both objects under temporary names, stores `ready` and renames
 * them into place, state first. Objects are never truncated or resized. If the creator dies
 * anywhere, the name leads to the old pair, to the new one, or for a moment to one object of
 * each, which an attacher resolves by the `.old` names; the next daemon clears up.
 */
#ifndef WEIR_SEGMENT_H
#define WEIR_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "layout.h"
#include "place.h"
#include "tally.h"
#include "time_source.h"
#include "token_clock.h"

/* Capacities and kind of a segment to be made. */
struct segment_shape {
	uint32_t rows;
	uint32_t names;
	uint32_t members;
	enum clock_kind clock;
	gid_t group;	  /* (gid_t)-1: leave */
	uint32_t permits; /* rounded up to whole blocks */
	uint32_t waiters;
	uint32_t tables;  /* of keys */
	uint64_t bins;	  /* of all of them together */
	uint32_t follows; /* rules that follow an upstream; 0: one in 32, and 8 at least */
};

enum segment_mode {
	SEGMENT_LOOK,	 /* both objects read-only */
	SEGMENT_USE,	 /* rules read-only, state writable */
	SEGMENT_PUBLISH, /* both writable: the daemon, adopting */
};

/* One mapped pair. The capacities were read once, checked against the objects' length. */
struct segment {
	const struct rules_header *rules;
	const struct rule_row *rows;
	const struct follow_row *follows;
	struct rules_header *publisher; /* the same pages, writable; NULL but for the publisher */
	struct state_header *state;
	struct bucket *buckets;
	struct member_row *members;
	struct name_row *names;
	const struct permit_span *spans;
	struct permit_row *permits;
	struct permit_line *lines;
	struct waiter_row *waiters;
	const struct keyed_row *tables;
	struct key_bin *bins; /* NULL: there are no tables of keys */
	struct key_head *heads;
	struct tallies tallies;
	struct time_source time;
	uint32_t row_count; /* capacities */
	uint32_t follow_count;
	uint32_t name_count;
	uint32_t member_count;
	uint32_t bucket_count;
	uint32_t block_count; /* of permits, and so of spans and lines */
	uint32_t waiter_count;
	uint32_t table_count;
	uint64_t bin_count;
	uint64_t rules_bytes;
	uint64_t state_bytes;
	uint64_t pair;
	int rules_fd;				   /* kept for a private pair only, else -1 */
	int state_fd;				   /* member locks are taken through it; CLOEXEC */
	uint64_t state_device, state_inode;	   /* of the file that it is */
	unsigned char secret[LAYOUT_SECRET_BYTES]; /* of hashes: a copy */
};

/*
 * The descriptor of the state object, or -1: there is none, or the program has closed it, as one
 * does that becomes a daemon, and the number may be another file's by now. A system call.
 */
int segment_state_fd(const struct segment *segment);

/* Notes which file state_fd is. Returns 0 or a negative errno. */
int segment_know_fd(struct segment *segment);

/* Length of the two objects for a shape. */
uint64_t segment_rules_bytes(const struct segment_shape *shape);
uint64_t segment_state_bytes(const struct segment_shape *shape);

/*
 * Makes a pair under temporary names; it is ready but has no rows and no name yet. Blocks while
 * memory is reserved and the clock calibrated. Returns 0, WEIR_ESPACE, WEIR_EOWNER (somebody
 * else's file has the temporary name), or a negative errno.
 */
int segment_create(struct segment *out, const struct place *place,
		   const struct segment_shape *shape);

/* Makes a pair without a name, for this process and its forked children. */
int segment_create_private(struct segment *out, const struct segment_shape *shape);

/*
 * Gives a created pair the instance's name. What has the name is kept under `.old` names until
 * segment_forget_old(). Returns 0, WEIR_EOWNER or a negative errno.
 */
int segment_reveal(struct segment *segment, const struct place *place);
void segment_forget_old(const struct place *place);

/*
 * After a daemon's death in the middle of segment_reveal(): makes the two names one pair again
 * and removes temporary objects. The caller holds the daemon's lock. Returns 0 or a code.
 */
int segment_recover(const struct place *place);

/*
 * Attaches to the pair that has the name, by a ladder of named outcomes: WEIR_EABSENT,
 * WEIR_EUNREADY, WEIR_EFOREIGN, WEIR_ETRUNCATED, WEIR_EOLDER, WEIR_ENEWER, WEIR_ELAYOUT,
 * WEIR_EBOOT, WEIR_EOWNER, WEIR_EPAIR, WEIR_ETIMENS, WEIR_ENOCLOCK, WEIR_EDAMAGED, -EACCES.
 * `trusted` is an owner to accept beside root and this user; (uid_t)-1: nobody.
 */
int segment_attach(struct segment *out, const struct place *place, enum segment_mode mode,
		   uid_t trusted);

/* Attaches to the pair kept under the `.old` names, if it is the one with this random number. */
int segment_attach_old(struct segment *out, const struct place *place, enum segment_mode mode,
		       uid_t trusted, uint64_t pair);

/*
 * Publisher: a successor that nobody has seen yet hashes as the pair that it replaces, so that keys
 * can move without being known.
 */
void segment_keep_secret(struct segment *successor, const struct segment *segment);

/* How much of the tables of keys this process sees through huge pages, in bytes. For people. */
uint64_t segment_huge_bytes(const struct segment *segment);

/* The child of a host: publishes no more, and maps the rules read-only. */
void segment_demote(struct segment *segment);

/* Unmaps and closes. */
void segment_detach(struct segment *segment);

/*
 * Removes the instance's objects: weird --remove. Retire the pair first (move_retire()), so that
 * its users follow the next pair of that name.
 */
int segment_remove(const struct place *place);

/* Whether a newer pair has the name. */
static inline bool segment_is_retired(const struct segment *segment)
{
	/* acquire: pairs with the release in move_retire() */
	return atomic_load_explicit(&segment->state->retired, memory_order_acquire) != 0;
}

/* relaxed: for its publisher, or whoever acquired the row's state */
static inline enum row_kind segment_row_kind(const struct segment *segment, uint32_t row)
{
	return (enum row_kind)atomic_load_explicit(&segment->rows[row].kind, memory_order_relaxed);
}

/* Within the pool: the caller has seen to it. */
static inline struct permit_row *segment_permit(const struct segment *segment, uint32_t index)
{
	return &segment->permits[layout_permit(index, segment->block_count)];
}

static inline uint64_t segment_now(const struct segment *segment)
{
	return time_source_ticks(&segment->time);
}

/* The whole terms of a row's line, who set them and when; for people, the daemon and the tools. */
void segment_terms(const struct segment *segment, uint32_t row, struct terms *terms,
		   struct terms_author *author, uint64_t *changed_ns);

/* What is needed of them to read a response. */
void segment_adapt(const struct segment *segment, uint32_t row, struct adapt_terms *adapt);

/* Nanoseconds of the segment's clock. */
uint64_t segment_now_ns(const struct segment *segment);

/* The clock line: nanoseconds over ticks. */
void segment_clock(const struct segment *segment, struct line *out);

/* The tick that comes so long after another; UINT64_MAX: none does. */
uint64_t segment_tick_in(const struct segment *segment, uint64_t now, uint64_t ns);

/* Ticks per second of the segment's clock, as calibrated last. */
uint64_t segment_hz(const struct segment *segment);

/* A copy of a row's or name's text with a closing NUL whatever the bytes say. */
void segment_text(const _Atomic unsigned char *text, char out[LAYOUT_TEXT_BYTES]);

#endif
