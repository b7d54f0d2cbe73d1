/* SPDX-License-Identifier: Apache-2.0
 *
 * lock.h - one daemon an instance: an open-file-description lock on DIR/weir.NAME.lock.
 *
 * The kernel drops the lock when the daemon dies. The file holds its pid, for people. Whoever may
 * read a file may hold a shared lock on it, so the file is for the owner and the group alone.
 */
#ifndef WEIR_LOCK_H
#define WEIR_LOCK_H

#include <stdbool.h>
#include <sys/types.h>

#include "place.h"

/*
 * Takes the lock, never blocks, and writes this pid. `group`: who may read it, (gid_t)-1: leave.
 * Returns the descriptor that holds it; WEIR_ERUNNING with the first daemon's pid in *holder (0:
 * cannot be told), WEIR_EOWNER (somebody else's file), or a negative errno.
 */
int lock_take(const struct place *place, gid_t group, pid_t *holder);

/*
 * Whether a process holds it, and which as far as can be told. False also for who may not read
 * it. Not for the holder itself: its own descriptor is another description.
 */
bool lock_is_taken(const struct place *place, pid_t *holder);

#endif
