/* SPDX-License-Identifier: Apache-2.0 */
#include "peer.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "time_source.h"

#define PEER_GROUPS_MAX 65536 /* the kernel's own limit (NGROUPS_MAX) */
#define PEER_DATABASE_BYTES 16384
#define PEER_KNOWN_NS 60000000000ull

void peer_name(char *out, size_t bytes, uid_t uid)
{
	char buffer[PEER_DATABASE_BYTES];
	struct passwd entry, *found = NULL;

	if (getpwuid_r(uid, &entry, buffer, sizeof(buffer), &found) == 0 && found)
		snprintf(out, bytes, "uid %u (%.32s)", (unsigned)uid, found->pw_name);
	else
		snprintf(out, bytes, "uid %u", (unsigned)uid);
}

/* The supplementary groups; malloc'ed. Without any, or on an old kernel: none. */
static gid_t *peer_groups(int fd, size_t *count)
{
	socklen_t bytes = 32 * sizeof(gid_t);
	gid_t *groups = malloc(bytes);

	*count = 0;
	while (groups && getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &bytes) < 0) {
		free(groups);
		groups = NULL;
		/* bytes says now how much room it takes */
		if (errno == ERANGE && bytes <= PEER_GROUPS_MAX * sizeof(gid_t))
			groups = malloc(bytes);
	}
	if (groups)
		*count = bytes / sizeof(gid_t);
	return groups;
}

int peer_read(struct control_peer *out, int fd, uid_t daemon, gid_t group)
{
	struct control_credentials credentials;
	struct ucred peer;
	socklen_t bytes = sizeof(peer);
	gid_t *groups;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) < 0)
		return -errno;
	credentials.uid = peer.uid;
	credentials.gid = peer.gid;
	groups = peer_groups(fd, &credentials.group_count);
	credentials.groups = groups;
	out->uid = peer.uid;
	out->pid = peer.pid;
	out->may_change = control_may_change(&credentials, daemon, group);
	peer_name(out->who, sizeof(out->who), peer.uid);
	free(groups);
	return 0;
}

/* The groups that the database gives a user; malloc'ed, or NULL. */
static gid_t *database_groups(uid_t uid, gid_t gid, size_t *count)
{
	char buffer[PEER_DATABASE_BYTES];
	struct passwd entry, *found = NULL;
	gid_t *groups = NULL;
	int room = 32;

	*count = 0;
	if (getpwuid_r(uid, &entry, buffer, sizeof(buffer), &found) != 0 || !found)
		return NULL;
	for (int tries = 0; tries < 2 && room > 0 && room <= PEER_GROUPS_MAX; tries++) {
		int got = room;

		free(groups);
		groups = malloc((size_t)room * sizeof(*groups));
		if (groups && getgrouplist(found->pw_name, gid, groups, &got) >= 0) {
			*count = (size_t)got;
			return groups;
		}
		room = got; /* says how much room it takes */
	}
	free(groups);
	return NULL;
}

static bool look_up(uid_t uid, gid_t gid, uid_t daemon, gid_t group)
{
	struct control_credentials credentials = {.uid = uid, .gid = gid};
	gid_t *groups = database_groups(uid, gid, &credentials.group_count);
	bool may;

	credentials.groups = groups;
	may = control_may_change(&credentials, daemon, group);
	free(groups);
	return may;
}

bool peer_may_tell(struct peer_known *known, uid_t uid, gid_t gid, uid_t daemon, gid_t group)
{
	const struct control_credentials alone = {.uid = uid, .gid = gid};
	uint64_t now = time_source_kernel_ns(CLOCK_MONOTONIC);
	bool may = control_may_change(&alone, daemon, group);

	if (may)
		return true;
	for (unsigned i = 0; i < PEER_KNOWN; i++)
		if (known->users[i].until_ns > now && known->users[i].uid == uid &&
		    known->users[i].gid == gid)
			return known->users[i].may;
	may = look_up(uid, gid, daemon, group);
	known->users[known->next].uid = uid;
	known->users[known->next].gid = gid;
	known->users[known->next].may = may;
	known->users[known->next].until_ns = now + PEER_KNOWN_NS;
	known->next = (known->next + 1) % PEER_KNOWN;
	return may;
}

/* Whether chown(2) to that group will be allowed. */
static bool may_give(gid_t gid)
{
	gid_t *groups;
	bool found = geteuid() == 0 || getegid() == gid;
	int count = getgroups(0, NULL);

	if (found || count <= 0)
		return found;
	groups = malloc((size_t)count * sizeof(*groups));
	count = groups ? getgroups(count, groups) : 0;
	for (int i = 0; i < count && !found; i++)
		found = groups[i] == gid;
	free(groups);
	return found;
}

bool peer_group(gid_t *out, const char *wanted)
{
	char buffer[PEER_DATABASE_BYTES];
	struct group entry, *found = NULL;

	*out = getegid();
	if (getgrnam_r(wanted[0] ? wanted : "weir", &entry, buffer, sizeof(buffer), &found) == 0 &&
	    found && may_give(found->gr_gid)) {
		*out = found->gr_gid;
		return true;
	}
	return wanted[0] == '\0';
}

void peer_group_name(char *out, size_t bytes, gid_t gid)
{
	char buffer[PEER_DATABASE_BYTES];
	struct group entry, *found = NULL;

	if (getgrgid_r(gid, &entry, buffer, sizeof(buffer), &found) == 0 && found)
		snprintf(out, bytes, "%s", found->gr_name);
	else
		snprintf(out, bytes, "gid %u", (unsigned)gid);
}
