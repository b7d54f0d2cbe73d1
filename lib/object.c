/* SPDX-License-Identifier: Apache-2.0 */
#include "object.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "layout.h"
#include "weir.h"

/* Gives a fresh object its length, with memory behind every page: never a SIGBUS later. */
static int object_reserve(int fd, uint64_t bytes)
{
	int error = posix_fallocate(fd, 0, (off_t)bytes);

	return error == ENOSPC || error == EDQUOT ? WEIR_ESPACE : -error;
}

/* An address for so many bytes that begins where a huge page may; NULL: any will do. */
static void *huge_address(uint64_t bytes)
{
	uintptr_t address;
	void *room;

	if (bytes < 2 * LAYOUT_KEYS_ALIGNMENT)
		return NULL;
	room = mmap(NULL, bytes + LAYOUT_KEYS_ALIGNMENT, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (room == MAP_FAILED)
		return NULL;
	address = ((uintptr_t)room + LAYOUT_KEYS_ALIGNMENT - 1) & ~(LAYOUT_KEYS_ALIGNMENT - 1);
	munmap(room, bytes + LAYOUT_KEYS_ALIGNMENT);
	return (void *)address;
}

int object_map(int fd, uint64_t bytes, bool writable, void **out)
{
	/* a hint: what another thread maps there meanwhile stays */
	void *at = mmap(huge_address(bytes), bytes, PROT_READ | (writable ? PROT_WRITE : 0),
			MAP_SHARED, fd, 0);

	if (at == MAP_FAILED)
		return -errno;
	if (bytes >= 2 * LAYOUT_KEYS_ALIGNMENT)
		madvise(at, bytes, MADV_HUGEPAGE); /* where it is not offered, it is not missed */
	*out = at;
	return 0;
}

/*
 * The bins of a fresh object, by huge pages if the kernel offers them to whom asks: it asks nobody
 * who reserves without a mapping. What fails here is reserved, or reported, by object_reserve().
 */
static void object_offer_huge(int fd, uint64_t from, uint64_t bytes)
{
#ifdef MADV_POPULATE_WRITE
	uint64_t end = bytes & ~(LAYOUT_KEYS_ALIGNMENT - 1);
	void *at = NULL;

	if (from >= end || ftruncate(fd, (off_t)bytes) < 0 || object_map(fd, bytes, true, &at) < 0)
		return;
	madvise((unsigned char *)at + from, end - from, MADV_POPULATE_WRITE);
	munmap(at, bytes);
#else
	(void)fd;
	(void)from;
	(void)bytes;
#endif
}

int object_apart(int fd)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int apart = open(path, O_RDWR | O_CLOEXEC);

	if (apart < 0)
		return fd;
	close(fd);
	return apart;
}

/* ---- making ---- */

int object_create(const struct place *place, const char *suffix, mode_t mode, gid_t group,
		  uint64_t bytes, uint64_t huge_from)
{
	char path[PLACE_PATH_BYTES];
	struct stat found;

	place_path(place, suffix, path);
	if (lstat(path, &found) == 0) {
		if (found.st_uid != geteuid())
			return WEIR_EOWNER;
		unlink(path);
	}

	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);

	if (fd < 0)
		return errno == ENOSPC || errno == EDQUOT ? WEIR_ESPACE : -errno;

	/* beyond the umask; a group that this user may not give away is not an error of ours to
	 * hide */
	int status = fchmod(fd, mode) < 0 ? -errno : 0;

	if (status == 0 && group != (gid_t)-1 && fchown(fd, (uid_t)-1, group) < 0)
		status = -errno;
	if (status == 0) {
		object_offer_huge(fd, huge_from, bytes);
		status = object_reserve(fd, bytes);
	}
	if (status < 0) {
		close(fd);
		unlink(path);
		return status;
	}
	return fd;
}

int object_create_private(const char *name, uint64_t bytes, uint64_t from)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;

	object_offer_huge(fd, from, bytes);

	int status = object_reserve(fd, bytes);

	if (status == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0)
		status = -errno;
	if (status < 0) {
		close(fd);
		return status;
	}
	return fd;
}

/* ---- names ---- */

int object_is_ours(const struct place *place, const char *suffix)
{
	char path[PLACE_PATH_BYTES];
	struct stat found;

	place_path(place, suffix, path);
	if (lstat(path, &found) < 0)
		return errno == ENOENT ? 0 : -errno;
	return found.st_uid == geteuid() ? 1 : WEIR_EOWNER;
}

int object_rename(const struct place *place, const char *from, const char *to)
{
	char from_path[PLACE_PATH_BYTES];
	char to_path[PLACE_PATH_BYTES];

	place_path(place, from, from_path);
	place_path(place, to, to_path);
	return rename(from_path, to_path) < 0 ? -errno : 0;
}

void object_unlink(const struct place *place, const char *suffix)
{
	char path[PLACE_PATH_BYTES];

	place_path(place, suffix, path);
	unlink(path);
}

int object_link(const struct place *place, const char *from, const char *to)
{
	char from_path[PLACE_PATH_BYTES];
	char to_path[PLACE_PATH_BYTES];

	place_path(place, from, from_path);
	place_path(place, to, to_path);
	unlink(to_path);
	return link(from_path, to_path) < 0 ? -errno : 0;
}

uint64_t object_pair(const struct place *place, const char *suffix, off_t offset)
{
	char path[PLACE_PATH_BYTES];
	uint64_t pair = 0;

	place_path(place, suffix, path);
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return 0;
	if (pread(fd, &pair, sizeof(pair), offset) != sizeof(pair))
		pair = 0;
	close(fd);
	return pair;
}

/* ---- opening ---- */

static bool owner_is_trusted(uid_t owner, const struct object_terms *terms)
{
	if (owner == geteuid())
		return true;
	return !terms->only_own &&
	       (owner == 0 || (terms->trusted != (uid_t)-1 && owner == terms->trusted));
}

static int open_code(int error)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
		return WEIR_EABSENT;
	case ELOOP:  /* a symbolic link */
	case ENXIO:  /* a socket */
	case EISDIR: /* a folder, opened for writing */
		return WEIR_EFOREIGN;
	default:
		return -error;
	}
}

int object_open(struct opened *out, const struct place *place, const char *suffix,
		const struct object_terms *terms)
{
	char path[PLACE_PATH_BYTES];
	struct stat found;
	void *at = NULL;
	int status = 0;

	place_path(place, suffix, path);
	int fd = open(path,
		      (terms->writable ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return open_code(errno);
	if (fstat(fd, &found) < 0)
		status = -errno;
	else if (!S_ISREG(found.st_mode))
		status = WEIR_EFOREIGN;
	else if (!owner_is_trusted(found.st_uid, terms))
		status = WEIR_EOWNER;
	else if (found.st_size == 0)
		status = WEIR_EUNREADY;
	else if ((uint64_t)found.st_size < terms->at_least)
		status = WEIR_ETRUNCATED;
	else
		status = object_map(fd, (uint64_t)found.st_size, terms->writable, &at);
	if (status < 0) {
		close(fd);
		return status;
	}
	*out = (struct opened){at, (uint64_t)found.st_size, fd};
	return 0;
}

void object_close(struct opened *object)
{
	if (object->at)
		munmap(object->at, object->bytes);
	if (object->fd >= 0)
		close(object->fd);
	*object = (struct opened){NULL, 0, -1};
}
