/* SPDX-License-Identifier: Apache-2.0
 *
 * object.h - the files behind a segment: made, mapped, named, opened, told apart. Knows of their
 * contents only where the pair's number stands. The only file that maps.
 *
 * Objects get their whole length and the memory behind it before anybody sees them, and are never
 * truncated or resized: a mapped page stays. May block, for as long as the file system does.
 */
#ifndef WEIR_OBJECT_H
#define WEIR_OBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "place.h"

#define OBJECT_NEVER_HUGE UINT64_MAX

/*
 * A new object under a temporary name, with memory behind every page; from `huge_from` on by huge
 * pages if the kernel offers them. What a dead creator of ours left under that name is removed.
 * Returns a descriptor, WEIR_ESPACE, WEIR_EOWNER or a negative errno.
 */
int object_create(const struct place *place, const char *suffix, mode_t mode, gid_t group,
		  uint64_t bytes, uint64_t huge_from);

/* The same without a name, sealed at its length. */
int object_create_private(const char *name, uint64_t bytes, uint64_t huge_from);

/* Maps a descriptor, aligned for huge pages where it is long enough. Returns 0 or a negative errno.
 */
int object_map(int fd, uint64_t bytes, bool writable, void **out);

/*
 * Member locks need a description of their own: a mapping holds the one it was made through, a
 * forked child inherits the mapping, and so the lock of its dead parent would live on with it.
 * Without /proc the one there is stays: a slot may then be freed late, never early.
 */
int object_apart(int fd);

/* An object of somebody's, mapped. */
struct opened {
	void *at;
	uint64_t bytes;
	int fd;
};

/* What an object must be, to be opened. */
struct object_terms {
	bool writable;
	bool only_own;	 /* not root's or the trusted user's either */
	uid_t trusted;	 /* an owner to accept beside root and this user; (uid_t)-1: nobody */
	size_t at_least; /* bytes */
};

/*
 * Returns 0, WEIR_EABSENT, WEIR_EFOREIGN (no regular file), WEIR_EOWNER, WEIR_EUNREADY (empty),
 * WEIR_ETRUNCATED, or a negative errno.
 */
int object_open(struct opened *out, const struct place *place, const char *suffix,
		const struct object_terms *terms);
void object_close(struct opened *object);

/* 1: there and ours, 0: not there, WEIR_EOWNER or a negative errno. */
int object_is_ours(const struct place *place, const char *suffix);

/* The word at that offset, where a header has its pair's number; 0 if there is none to read. */
uint64_t object_pair(const struct place *place, const char *suffix, off_t offset);

/* Names of the objects; 0 or a negative errno. */
int object_rename(const struct place *place, const char *from, const char *to);
int object_link(const struct place *place, const char *from, const char *to);
void object_unlink(const struct place *place, const char *suffix);

#endif
