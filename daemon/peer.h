/* SPDX-License-Identifier: Apache-2.0
 *
 * peer.h - groups and users: who is at the other end of a socket, and which group may change.
 */
#ifndef WEIRD_PEER_H
#define WEIRD_PEER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "control.h"

/*
 * The kernel's word on a connected Unix socket: the user and groups its other end had when it
 * connected (SO_PEERCRED, SO_PEERGROUPS). Names come from the user database, which may block.
 * Returns 0 or a negative errno.
 */
int peer_read(struct control_peer *out, int fd, uid_t daemon, gid_t group);

/*
 * Whether a user may send what only those may who may change: the same rule, by the group database
 * (which may block), since a datagram brings no supplementary groups. What was found holds for a
 * minute. Start from {0}.
 */
#define PEER_KNOWN 32

struct peer_known {
	struct {
		uid_t uid;
		gid_t gid;
		bool may;
		uint64_t until_ns; /* CLOCK_MONOTONIC; 0: empty */
	} users[PEER_KNOWN];
	unsigned next;
};

bool peer_may_tell(struct peer_known *known, uid_t uid, gid_t gid, uid_t daemon, gid_t group);

/* "uid 1000 (anna)" */
void peer_name(char *out, size_t bytes, uid_t uid);

/*
 * The group of the objects: `wanted` ("" for "weir") if it exists and this process may give
 * files to it, else the process's own. Returns false if a group that was asked for is not used.
 */
bool peer_group(gid_t *out, const char *wanted);

/* "weir", or "gid 1000". */
void peer_group_name(char *out, size_t bytes, gid_t gid);

#endif
