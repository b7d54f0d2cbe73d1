/* SPDX-License-Identifier: Apache-2.0
 *
 * socket_file.h - the path under which a socket of the daemon is found. The caller holds the
 * daemon's lock: a socket that is there is a dead daemon's.
 */
#ifndef WEIRD_SOCKET_FILE_H
#define WEIRD_SOCKET_FILE_H

#include <sys/types.h>

/* A socket is a dead daemon's and goes; anything else is not ours to remove: -EEXIST. */
int socket_file_clear(const char *path);

/* Mode 0660 and the group. Returns 0 or a negative errno. */
int socket_file_give(const char *path, gid_t group);

#endif
