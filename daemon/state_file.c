/* SPDX-License-Identifier: Apache-2.0 */
#include "state_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fault.h"
#include "state.h"
#include "weir.h"

#define OTHERS_WRITE (S_IWGRP | S_IWOTH)
#define ASIDE_MAX 100

void state_file_begin(struct state_file *out, const char *path)
{
	*out = (struct state_file){.lock_fd = -1};
	snprintf(out->path, sizeof(out->path), "%s", path);
}

void state_file_end(struct state_file *file)
{
	if (file->lock_fd >= 0)
		close(file->lock_fd);
	file->lock_fd = -1;
}

/* ---- the folder ---- */

static const char *name_of(const struct state_file *file)
{
	return strrchr(file->path, '/') + 1;
}

/* NAME and a suffix, as a name in the folder. */
static const char *with_suffix(const struct state_file *file, const char *suffix,
			       char out[STATE_FILE_PATH_BYTES])
{
	snprintf(out, STATE_FILE_PATH_BYTES, "%s%s", name_of(file), suffix);
	return out;
}

static bool is_ours(const struct stat *found)
{
	return found->st_uid == geteuid() || found->st_uid == 0;
}

/*
 * Where others may write they could take the file away or put an old one in its place; with the
 * sticky bit they cannot. Returns a descriptor, WEIR_EOWNER or a negative errno.
 */
static int open_folder(const struct state_file *file)
{
	char path[PLACE_DIR_BYTES];
	struct stat found;
	int fd, error;

	snprintf(path, sizeof(path), "%.*s", (int)(name_of(file) - file->path), file->path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	error = fstat(fd, &found) < 0 ? -errno : 0;
	if (error == 0 &&
	    (!is_ours(&found) || (found.st_mode & OTHERS_WRITE && !(found.st_mode & S_ISVTX))))
		error = WEIR_EOWNER;
	if (error == 0)
		return fd;
	close(fd);
	return error;
}

static int say(char fault[STATE_FILE_FAULT_BYTES], int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int say(char fault[STATE_FILE_FAULT_BYTES], int code, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(fault, STATE_FILE_FAULT_BYTES, format, arguments);
	va_end(arguments);
	return code;
}

/* ---- the lock ---- */

/* "PID NAME", of one length whoever writes it, so that nothing of the last holder is left. */
static int write_holder(int fd, const char *instance)
{
	char text[PLACE_NAME_BYTES + 16];
	int length = snprintf(text, sizeof(text), "%-10ld %-*s\n", (long)getpid(),
			      PLACE_NAME_BYTES - 1, instance);

	return pwrite(fd, text, (size_t)length, 0) == length ? 0 : -errno;
}

static void read_holder(int fd, struct state_holder *out)
{
	char text[PLACE_NAME_BYTES + 16] = "";
	long pid = 0;

	*out = (struct state_holder){0};
	if (pread(fd, text, sizeof(text) - 1, 0) > 0 &&
	    sscanf(text, "%10ld %63s", &pid, out->instance) >= 1)
		out->pid = (pid_t)pid;
}

/* Returns 0, or a code; the descriptor is closed then. */
static int take_lock(int fd, const char *instance, struct state_holder *holder)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct stat found;
	int error = fstat(fd, &found) < 0 ? -errno : 0;

	if (error == 0 && (!S_ISREG(found.st_mode) || found.st_uid != geteuid()))
		error = WEIR_EOWNER;
	if (error == 0 && fcntl(fd, F_OFD_SETLK, &lock) < 0) {
		error = errno == EAGAIN || errno == EACCES ? WEIR_ERUNNING : -errno;
		read_holder(fd, holder);
	}
	if (error == 0)
		error = write_holder(fd, instance);
	if (error < 0)
		close(fd);
	return error;
}

int state_file_lock(struct state_file *file, const char *instance, struct state_holder *holder)
{
	char name[STATE_FILE_PATH_BYTES];
	int folder, fd, error;

	if (file->lock_fd >= 0)
		return 0;
	folder = open_folder(file);
	if (folder < 0)
		return folder;
	fd = openat(folder, with_suffix(file, ".lock", name),
		    O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	error = fd < 0 ? -errno : take_lock(fd, instance, holder);
	close(folder);
	if (error == 0)
		file->lock_fd = fd;
	return error;
}

/* ---- reading ---- */

static int check_file(int fd, size_t *bytes, char fault[STATE_FILE_FAULT_BYTES])
{
	struct stat found;

	if (fstat(fd, &found) < 0)
		return say(fault, -errno, "%s", weir_strerror(-errno));
	if (!S_ISREG(found.st_mode))
		return say(fault, WEIR_EFOREIGN, "it is no regular file");
	if (!is_ours(&found))
		return say(fault, WEIR_EOWNER, "it belongs to uid %u, and must to uid %u or root",
			   (unsigned)found.st_uid, (unsigned)geteuid());
	if (found.st_mode & OTHERS_WRITE)
		return say(fault, WEIR_EOWNER,
			   "its mode is %03o: nobody but its owner may write it (chmod go-w)",
			   (unsigned)found.st_mode & 07777);
	if (found.st_size > (off_t)STATE_MAX_BYTES)
		return say(fault, -EFBIG, "it is longer than any weird writes");
	*bytes = (size_t)found.st_size;
	return 0;
}

static int read_whole(int fd, char *text, size_t *bytes, char fault[STATE_FILE_FAULT_BYTES])
{
	size_t used = 0;

	while (used < *bytes) {
		ssize_t got = read(fd, text + used, *bytes - used);

		if (got == 0)
			break;
		if (got < 0 && errno != EINTR)
			return say(fault, -errno, "%s", weir_strerror(-errno));
		if (got > 0)
			used += (size_t)got;
	}
	*bytes = used;
	return 0;
}

static int read_file(int fd, char **text, size_t *bytes, char fault[STATE_FILE_FAULT_BYTES])
{
	size_t length = 0;
	char *found;
	int error = check_file(fd, &length, fault);

	if (error < 0)
		return error;
	found = malloc(length + 1);
	if (!found)
		return say(fault, -ENOMEM, "%s", weir_strerror(-ENOMEM));
	error = read_whole(fd, found, &length, fault);
	if (error < 0) {
		free(found);
		return error;
	}
	*text = found;
	*bytes = length;
	return 0;
}

int state_file_read(struct state_file *file, char **text, size_t *bytes,
		    char fault[STATE_FILE_FAULT_BYTES])
{
	int folder = open_folder(file);
	int fd, error;

	if (folder == WEIR_EOWNER)
		return say(fault, -ENOTDIR, "others may write its folder (chmod go-w, chown)");
	if (folder < 0)
		return say(fault, -ENOTDIR, "its folder: %s", weir_strerror(folder));
	fd = openat(folder, name_of(file),
		    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	error = fd < 0 ? -errno : 0;
	close(folder);
	file->known = error == -ENOENT;
	if (error == -ELOOP)
		return say(fault, error, "it is a symbolic link");
	if (error < 0)
		return say(fault, error, "%s", weir_strerror(error));
	error = read_file(fd, text, bytes, fault);
	close(fd);
	return error;
}

/* ---- setting aside ---- */

static int rename_to_new(int folder, const char *from, const char *to)
{
	struct stat found;

	if (renameat2(folder, from, folder, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	/* a file system without the flag; nobody else names files here, see the lock */
	if (fstatat(folder, to, &found, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	return renameat(folder, from, folder, to) < 0 ? -errno : 0;
}

static int set_aside(struct state_file *file, int folder, char kept[STATE_FILE_PATH_BYTES])
{
	time_t now = time(NULL);
	char date[40], suffix[64], name[STATE_FILE_PATH_BYTES];
	struct tm parts;
	int error = -EEXIST;

	gmtime_r(&now, &parts);
	strftime(date, sizeof(date), "%Y%m%dT%H%M%SZ", &parts);
	snprintf(suffix, sizeof(suffix), ".damaged-%s", date);
	for (int i = 2; error == -EEXIST && i < ASIDE_MAX; i++) {
		error = rename_to_new(folder, name_of(file), with_suffix(file, suffix, name));
		if (error == 0)
			snprintf(kept, STATE_FILE_PATH_BYTES, "%s%s", file->path, suffix);
		snprintf(suffix, sizeof(suffix), ".damaged-%s-%d", date, i);
	}
	if (error == 0)
		file->known = true;
	return error;
}

int state_file_set_aside(struct state_file *file, char kept[STATE_FILE_PATH_BYTES])
{
	int folder = open_folder(file);
	int error;

	if (folder < 0)
		return folder;
	error = set_aside(file, folder, kept);
	close(folder);
	return error;
}

/* ---- writing ---- */

static int write_all(int fd, const char *text, size_t bytes)
{
	while (bytes) {
		ssize_t written = write(fd, text, bytes);

		if (written < 0 && errno != EINTR)
			return -errno;
		if (written > 0) {
			text += written;
			bytes -= (size_t)written;
		}
	}
	return 0;
}

static int write_new(int folder, const char *name, const char *text, size_t bytes)
{
	int fd, error;

	/* of a save that was killed; or of nobody */
	unlinkat(folder, name, 0);
	fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	FAULT_POINT(save_created);
	error = write_all(fd, text, bytes / 2);
	FAULT_POINT(save_half);
	if (error == 0)
		error = write_all(fd, text + bytes / 2, bytes - bytes / 2);
	FAULT_POINT(save_written);
	if (error == 0 && fsync(fd) < 0)
		error = -errno;
	if (close(fd) < 0 && error == 0)
		error = -errno;
	if (error < 0)
		unlinkat(folder, name, 0);
	FAULT_POINT(save_synced);
	return error;
}

/* What appeared under the name since it was looked for (a mount that came late) is kept. */
static int keep_unknown(struct state_file *file, int folder, char kept[STATE_FILE_PATH_BYTES])
{
	int error = file->known ? -ENOENT : set_aside(file, folder, kept);

	if (error == -ENOENT)
		error = 0;
	file->known = error == 0;
	return error;
}

int state_file_write(struct state_file *file, const char *text, size_t bytes,
		     char kept[STATE_FILE_PATH_BYTES])
{
	char name[STATE_FILE_PATH_BYTES];
	int folder = open_folder(file);
	int error;

	kept[0] = '\0';
	if (folder < 0)
		return folder;
	with_suffix(file, ".new", name);
	error = keep_unknown(file, folder, kept);
	if (error == 0)
		error = write_new(folder, name, text, bytes);
	if (error == 0 && renameat(folder, name, folder, name_of(file)) < 0)
		error = -errno;
	FAULT_POINT(save_renamed);
	if (error == 0 && fsync(folder) < 0)
		error = -errno;
	close(folder);
	return error;
}
