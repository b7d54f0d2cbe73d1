/* SPDX-License-Identifier: Apache-2.0 */
#include "target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES (TARGET_NAME_BYTES + 16)
#define NAME_MOST 200
#define URL_MOST 8000

/* ---- names ---- */

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

/* One byte of a path's last part, its percent sign undone. */
static char next_byte(const char **at)
{
	const char *from = *at;

	if (from[0] == '%' && hex_digit(from[1]) >= 0 && hex_digit(from[2]) >= 0) {
		*at += 3;
		return (char)(hex_digit(from[1]) * 16 + hex_digit(from[2]));
	}
	(*at)++;
	return from[0];
}

void target_name(const char *url, char out[TARGET_NAME_BYTES])
{
	const char *host = strstr(url, "://");
	const char *from = host ? host + 3 : url;
	const char *end = from + strcspn(from, "?#");
	const char *last = NULL;
	size_t used = 0;

	for (const char *at = from; at < end; at++)
		if (*at == '/')
			last = at + 1;
	while (last && last < end && used < NAME_MOST) {
		unsigned char byte = (unsigned char)next_byte(&last);

		/* nothing that leads elsewhere, hides, or writes on a terminal */
		if (byte < 0x20 || byte == 0x7f || byte == '/' || byte == '\\' ||
		    (used == 0 && byte == '.'))
			byte = '_';
		out[used++] = (char)byte;
	}
	out[used] = '\0';
	if (used == 0)
		snprintf(out, TARGET_NAME_BYTES, "index.html");
}

void target_other_name(const char *url, char name[TARGET_NAME_BYTES])
{
	char sum[SHA256_HEX];
	struct sha256 hash;
	size_t length = strlen(name);

	sha256_begin(&hash);
	sha256_add(&hash, url, strlen(url));
	sha256_end(&hash, sum);
	snprintf(name + length, TARGET_NAME_BYTES - length, "-%.8s", sum);
}

/* ---- the parts of a file ---- */

static const char *path(const struct target *target, const char *suffix, char out[PATH_BYTES])
{
	snprintf(out, PATH_BYTES, "%s%s", target->name, suffix);
	return out;
}

/* Reads of which URL and version the part is; false: not of this one, or not known. */
static bool read_origin(struct target *target, const char *url)
{
	char name[PATH_BYTES];
	char line[URL_MOST];
	int fd = openat(target->folder_fd, path(target, ".part.from", name), O_RDONLY | O_CLOEXEC);
	FILE *from = fd < 0 ? NULL : fdopen(fd, "r");
	bool ours = false;

	if (!from) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	if (fgets(line, sizeof(line), from)) {
		line[strcspn(line, "\n")] = '\0';
		ours = strcmp(line, url) == 0 &&
		       fgets(target->validator, sizeof(target->validator), from) &&
		       strchr(target->validator, '\n');
		target->validator[strcspn(target->validator, "\n")] = '\0';
	}
	fclose(from);
	if (!ours)
		target->validator[0] = '\0';
	return ours && target->validator[0];
}

/* Whole, or not at all: written beside it and renamed. */
static int write_origin(const struct target *target, const char *url)
{
	char name[PATH_BYTES];
	char beside[PATH_BYTES];
	char text[URL_MOST + TARGET_VALIDATOR_BYTES];
	int length = snprintf(text, sizeof(text), "%s\n%s\n", url, target->validator);
	int fd = openat(target->folder_fd, path(target, ".part.new", beside),
			O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	int status = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, (size_t)length) != length)
		status = -EIO;
	close(fd);
	if (status == 0 && renameat(target->folder_fd, beside, target->folder_fd,
				    path(target, ".part.from", name)) < 0)
		status = -errno;
	return status;
}

static void forget_origin(const struct target *target)
{
	char name[PATH_BYTES];

	unlinkat(target->folder_fd, path(target, ".part.from", name), 0);
}

/* Adds to the sum what is there. */
static int read_part(struct target *target)
{
	char buffer[65536];
	ssize_t got;

	while ((got = read(target->fd, buffer, sizeof(buffer))) > 0) {
		sha256_add(&target->hash, buffer, (size_t)got);
		target->have += (uint64_t)got;
	}
	return got < 0 ? -errno : 0;
}

/* Whether the part of that name is still the file that is open. */
static bool is_part(const struct target *target, const char *part)
{
	struct stat ours;
	struct stat there;

	return fstat(target->fd, &ours) == 0 &&
	       fstatat(target->folder_fd, part, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
	       ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

/*
 * Opens the part and locks it. Between the two, whoever had the lock may have finished, and what
 * is open is then the whole file under its own name, which is not to be touched: -EAGAIN.
 */
static int lock_part(struct target *target)
{
	char part[PATH_BYTES];
	int status = -EBUSY;

	path(target, ".part", part);
	target->fd =
		openat(target->folder_fd, part, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
	if (target->fd < 0)
		return -errno;
	if (flock(target->fd, LOCK_EX | LOCK_NB) == 0)
		status = is_part(target, part) ? 0 : -EAGAIN;
	if (status < 0) {
		close(target->fd);
		target->fd = -1;
	}
	return status;
}

int target_open(struct target *target, int folder_fd, const char *name, const char *url)
{
	int status;

	*target = (struct target){.folder_fd = folder_fd, .fd = -1};
	snprintf(target->name, sizeof(target->name), "%s", name);
	if (strlen(url) >= URL_MOST - 1)
		return -ENAMETOOLONG;
	while ((status = lock_part(target)) == -EAGAIN)
		;
	if (status < 0)
		return status;
	sha256_begin(&target->hash);
	status = read_origin(target, url) ? read_part(target) : target_restart(target, url, NULL);
	if (status < 0)
		target_leave(target);
	return status;
}

int target_restart(struct target *target, const char *url, const char *validator)
{
	/* before its bytes go: what would be found in between is not of the version named */
	forget_origin(target);
	if (ftruncate(target->fd, 0) < 0 || lseek(target->fd, 0, SEEK_SET) < 0)
		return -errno;
	target->have = 0;
	sha256_begin(&target->hash);
	snprintf(target->validator, sizeof(target->validator), "%s", validator ? validator : "");
	return target->validator[0] ? write_origin(target, url) : 0;
}

int target_add(struct target *target, const void *bytes, size_t count)
{
	const char *from = bytes;
	size_t left = count;

	while (left) {
		ssize_t put = write(target->fd, from, left);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		from += put;
		left -= (size_t)put;
	}
	sha256_add(&target->hash, bytes, count);
	target->have += count;
	return 0;
}

int target_finish(struct target *target, char sum[SHA256_HEX])
{
	char part[PATH_BYTES];
	int status = 0;

	sha256_end(&target->hash, sum);
	if (fsync(target->fd) < 0 || renameat(target->folder_fd, path(target, ".part", part),
					      target->folder_fd, target->name) < 0)
		status = -errno;
	else
		forget_origin(target);
	close(target->fd);
	target->fd = -1;
	return status;
}

void target_leave(struct target *target)
{
	char part[PATH_BYTES];

	if (target->fd < 0)
		return;
	if (target->have == 0 || !target->validator[0]) {
		forget_origin(target);
		unlinkat(target->folder_fd, path(target, ".part", part), 0);
	}
	close(target->fd);
	target->fd = -1;
}
