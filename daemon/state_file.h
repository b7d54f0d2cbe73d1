/* SPDX-License-Identifier: Apache-2.0
 *
 * state_file.h - the state file on the disk: locked, read with suspicion, replaced as a whole.
 *
 * Killed anywhere while it is written: the name leads to the old file or to the new one, each of
 * them whole and on the disk; what else is left is FILE.new, which the next save replaces. A file
 * that was not understood is never overwritten: it goes aside first.
 */
#ifndef WEIRD_STATE_FILE_H
#define WEIRD_STATE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "place.h"

#define STATE_FILE_PATH_BYTES (PLACE_DIR_BYTES + 64)
#define STATE_FILE_FAULT_BYTES 320

struct state_file {
	char path[PLACE_DIR_BYTES]; /* absolute */
	int lock_fd;		    /* -1: not held */
	bool known;		    /* what has the name may be replaced: it was read, or is ours */
};

/* Who keeps the lock. */
struct state_holder {
	pid_t pid;			 /* 0: cannot be told */
	char instance[PLACE_NAME_BYTES]; /* "": cannot be told */
};

void state_file_begin(struct state_file *out, const char *path);
void state_file_end(struct state_file *file);

/*
 * Takes FILE.lock for this process, if it has not got it. Returns 0, WEIR_ERUNNING and the other
 * in *holder, WEIR_EOWNER (the folder or the lock is somebody else's to write), or a negative
 * errno.
 */
int state_file_lock(struct state_file *file, const char *instance, struct state_holder *holder);

/*
 * Reads the file, if it is a regular one, of this user or root, that nobody else may write, in a
 * folder of which the same is true. Returns 0 and *text, malloc'ed; -ENOENT: there is none; or
 * (*fault says for people what is wrong) -ENOTDIR: it is the folder, or another code.
 */
int state_file_read(struct state_file *file, char **text, size_t *bytes,
		    char fault[STATE_FILE_FAULT_BYTES]);

/*
 * Renames it to FILE.damaged-DATE, or if that is taken to FILE.damaged-DATE-2 and so on. Returns
 * 0 and the name in *kept, or a negative errno.
 */
int state_file_set_aside(struct state_file *file, char kept[STATE_FILE_PATH_BYTES]);

/*
 * Replaces the file: FILE.new is written, synced and renamed, and the folder synced. Blocks as
 * long as the disk does. If what has the name is not known it goes aside first; *kept is its new
 * name then, else "". Returns 0, WEIR_EOWNER, or a negative errno; the old file stays then, but
 * where only the last sync failed.
 */
int state_file_write(struct state_file *file, const char *text, size_t bytes,
		     char kept[STATE_FILE_PATH_BYTES]);

#endif
