/* SPDX-License-Identifier: Apache-2.0
 *
 * persist.h - levels, closures and operators' rules, from a segment into the state file and back.
 *
 * A save says what was used at a moment; a restore gives no bucket more than that moment's level
 * and what its rate has minted since. Marks are read after the moment, and the moment of a restore
 * is taken before V is read, so whatever happens in between is on the low side. What was drawn
 * after the last save, by whoever goes on without the daemon or before a power cut, is not known.
 * Knows no loop. Killed anywhere: the segment is as it was, the file see state_file.h.
 */
#ifndef WEIRD_PERSIST_H
#define WEIRD_PERSIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "instance.h"
#include "state.h"
#include "state_file.h"

#define PERSIST_BYTES_PER_S (256ull << 10) /* that a disk is given to write, in the long run */

/* ---- between a segment and records ---- */

/* The present, on all clocks; the segment's is read first. */
struct persist_moment {
	struct state_stamp stamp;
	uint64_t ticks;
};

void persist_moment(struct persist_moment *out, const struct segment *segment,
		    const char *instance);

/* Everything there is to save, as of a moment, as text that state_finish() may finish. */
void persist_capture(struct state_text *out, const struct segment *segment,
		     const struct persist_moment *moment);

/* Differs when a mark, a closure or a rule does. */
uint64_t persist_fingerprint(const struct segment *segment);

struct persist_counts {
	unsigned buckets; /* that got their level */
	unsigned idle;	  /* full by now: they begin anew */
	unsigned gone;	  /* whose names fall under a pattern now, or whose pattern is gone */
};

/* Gives the buckets of a pair that nobody uses yet their levels. */
void persist_put(struct segment *segment, struct state_reader reader, const struct state_span *span,
		 struct persist_counts *out);

/* ---- the daemon's part ---- */

struct persist {
	struct state_file file;
	bool contended; /* another weird has the lock */
	int unlocked;	/* why there is no lock otherwise; 0 */
	bool on;	/* there is a `state_file =` */
	char *text;	/* what the levels come from, until persist_restore(); or NULL */
	char source[STATE_FILE_PATH_BYTES]; /* and where that was found */
	struct state_reader reader;
	struct state_stamp stamp;
	int refused; /* code of the file that was found, 0: it is good */
	char fault[STATE_FILE_FAULT_BYTES];
	uint64_t latest_ns; /* wall clock of the file: it never goes back */
	bool saved;	    /* what follows is of the last save */
	uint64_t fingerprint;
	int64_t wall_offset_ns; /* wall clock less CLOCK_BOOTTIME */
	uint64_t not_before_ns; /* CLOCK_MONOTONIC of the next save */
	int complaint;		/* code that was logged last; 0: none */
};

/*
 * Takes the lock and reads the file; touches nothing else. `path` "": no levels are kept. What is
 * wrong with the file is said by persist_load(). Returns 0; WEIR_ERUNNING: another daemon keeps
 * its levels there; WEIR_ECONFIG: the file is another instance's. Both have been logged, but for
 * a second daemon of the same instance, of which 0 is returned: instance_start() names the first.
 */
int persist_open(struct persist *out, const char *path, const struct place *place);

/*
 * After instance_start(). Puts a file that is no good aside. On a new pair it adds the rules that
 * an operator had set, as far as there is room. Returns 0 or a code that has been logged.
 */
int persist_load(struct persist *persist, struct instance *instance);

/* After change_start(), before anybody sees a new pair: the levels. Nothing on an adopted one. */
void persist_restore(struct persist *persist, struct instance *instance);

/* What weird --check says of the file. */
void persist_describe(const char *path, FILE *out);

/* ---- saving ---- */

/* One save. It is begun and ended by the thread of the instance; in between persist_write() may
 * run on another one. */
struct persist_save {
	struct state_text text;
	const char *instance;
	uint64_t saved_ns;
	uint64_t fingerprint;
	int64_t wall_offset_ns;
	int error;
	char kept[STATE_FILE_PATH_BYTES]; /* "", or what was in the way */
};

/* Whether anything changed since the last save, and the disk has had its rest; takes the text of
 * a save then. */
bool persist_begin(struct persist *persist, const struct instance *instance,
		   struct persist_save *out);
void persist_write(struct persist *persist, struct persist_save *save);
void persist_end(struct persist *persist, struct persist_save *save);

/* Without a save: a start that failed. */
void persist_forget(struct persist *persist);

/* A last save, at once, if anything changed; then lets go of the file. */
void persist_close(struct persist *persist, const struct instance *instance);

#endif
