/* SPDX-License-Identifier: Apache-2.0 */
#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "weir.h"

#define LOCK_MODE 0640
#define TAKE_TRIES 8

static pid_t read_pid(int fd)
{
	char text[16] = "";
	ssize_t length = pread(fd, text, sizeof(text) - 1, 0);

	return length > 0 ? (pid_t)strtol(text, NULL, 10) : 0;
}

/* As wide for every pid, so that nothing of an earlier one is left. */
static int write_pid(int fd)
{
	char text[16];
	int length = snprintf(text, sizeof(text), "%-10d\n", (int)getpid());

	return pwrite(fd, text, (size_t)length, 0) != length ? -errno : 0;
}

/* The file of that name, ours and for our group only; a descriptor or a code. */
static int open_own(const char *path, gid_t group)
{
	int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, LOCK_MODE);
	struct stat found;
	int status = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &found) < 0 || found.st_uid != geteuid())
		status = WEIR_EOWNER;
	else if (fchmod(fd, LOCK_MODE) < 0 ||
		 (group != (gid_t)-1 && fchown(fd, (uid_t)-1, group) < 0))
		status = -errno;
	if (status < 0) {
		close(fd);
		return status;
	}
	return fd;
}

/* A daemon that ends with --remove takes the name away: what was locked may be nobody's now. */
static bool still_has_name(int fd, const char *path)
{
	struct stat locked;
	struct stat named;

	return fstat(fd, &locked) == 0 && lstat(path, &named) == 0 &&
	       locked.st_dev == named.st_dev && locked.st_ino == named.st_ino;
}

static int take_once(const char *path, gid_t group, pid_t *holder)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd = open_own(path, group);
	int status = 0;

	if (fd < 0)
		return fd;
	if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
		*holder = read_pid(fd);
		status = WEIR_ERUNNING;
	} else if (!still_has_name(fd, path)) {
		status = -EAGAIN;
	} else {
		status = write_pid(fd);
	}
	if (status < 0) {
		close(fd);
		return status;
	}
	return fd;
}

int lock_take(const struct place *place, gid_t group, pid_t *holder)
{
	char path[PLACE_PATH_BYTES];
	int status = -EAGAIN;

	place_path(place, "lock", path);
	for (int tries = 0; tries < TAKE_TRIES && status == -EAGAIN; tries++)
		status = take_once(path, group, holder);
	return status;
}

bool lock_is_taken(const struct place *place, pid_t *holder)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char path[PLACE_PATH_BYTES];

	place_path(place, "lock", path);
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return false;
	bool taken = fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;

	if (taken)
		*holder = read_pid(fd);
	close(fd);
	return taken;
}
