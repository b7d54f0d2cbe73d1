/* SPDX-License-Identifier: Apache-2.0 */
#include "socket_file.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

int socket_file_clear(const char *path)
{
	struct stat found;

	if (lstat(path, &found) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(found.st_mode))
		return -EEXIST;
	return unlink(path) < 0 ? -errno : 0;
}

int socket_file_give(const char *path, gid_t group)
{
	struct stat found;

	/* the umask was 0117 at the bind: nobody was let in who should not be */
	if (stat(path, &found) < 0)
		return -errno;
	if (found.st_gid != group && chown(path, (uid_t)-1, group) < 0)
		return -errno;
	return chmod(path, 0660) < 0 ? -errno : 0;
}
