/* SPDX-License-Identifier: Apache-2.0
 *
 * members.h - who is attached.
 *
 * A slot belongs to whoever holds the open-file-description lock on its byte of the state
 * object: the kernel's word, immune to pid reuse and pid namespaces. pid, start time and program
 * are for people. Who writes: the holder of the lock, also the reaper, who takes it first.
 * Killed anywhere: the kernel drops the lock, and the slot is free for the taking.
 */
#ifndef WEIR_MEMBERS_H
#define WEIR_MEMBERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "segment.h"

#define MEMBER_NONE UINT32_MAX

/* Takes a slot for this process. Makes system calls. Returns the slot, or WEIR_EMEMBERS. */
int64_t members_join(struct segment *segment);

/* Leaves: clears the slot, then drops the lock. */
void members_leave(struct segment *segment, uint32_t slot);

/*
 * A description of the state object of this process's own, in place of the one inherited through
 * fork: opened through /proc/self/fd. Returns 0 or a negative errno. The inherited one is closed.
 */
int members_reopen(struct segment *segment);

/* Whether a living process holds the slot's lock; unknown means alive. Not through the fd of
 * a member's own: a description never conflicts with itself, so the daemon passes its own. */
bool members_alive(const struct segment *segment, uint32_t slot);

/* If the slot is marked used and its holder is dead: clears it under its lock. true if it did. */
bool members_reap(struct segment *segment, uint32_t slot);

/* One member, for people. */
struct member_info {
	uint64_t generation;
	uint64_t start_ticks;
	uint64_t joined_ns;
	uint32_t pid; /* 0: free */
	uint32_t uid;
	char program[LAYOUT_PROGRAM_BYTES];
};
void members_look(const struct segment *segment, uint32_t slot, struct member_info *out);

#endif
