/* SPDX-License-Identifier: Apache-2.0
 *
 * close_watch.h - the kernel's word that somebody has let go of the state object: a member that
 * left or died. Knows no loop.
 *
 * A member's lock lives as long as the description it was taken through, and inotify tells of every
 * description that could write and is closed: at an exit, by kill -9, the moment after it was
 * opened, in another pid or mount namespace. It watches the file, whatever name it has. It is told
 * an instant before the lock falls, and not whose description it was: it only triggers the tests of
 * the locks, which are what counts. Killed anywhere: nothing is written.
 */
#ifndef WEIRD_CLOSE_WATCH_H
#define WEIRD_CLOSE_WATCH_H

#include <stdbool.h>

struct close_watch {
	int fd;	  /* readable when something was closed; -1: nothing is watched, or ever was */
	int mark; /* of the object */
};

#define CLOSE_WATCH_INIT                                                                           \
	{                                                                                          \
		-1, -1                                                                             \
	}

/*
 * Watches the object of that descriptor, and no other any more. Shows that it works by closing a
 * description of its own. Makes system calls, does not block. Returns 0; -EMFILE, -ENOSPC: the
 * user's limits of inotify are reached; -ENOTSUP: what is closed there is not told; or another
 * -errno. Then nothing is watched; what was opened stays so until close_watch_end().
 */
int close_watch_aim(struct close_watch *watch, int state_fd);

/* Whether anything was closed since the last time. Does not block. */
bool close_watch_heard(const struct close_watch *watch);

void close_watch_end(struct close_watch *watch);

#endif
