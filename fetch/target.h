/* SPDX-License-Identifier: Apache-2.0
 *
 * target.h - where one URL's bytes go: NAME.part while they come, with NAME.part.from beside it,
 * which says of which URL and of which version of it they are; NAME when all are there.
 *
 * Killed anywhere: NAME is there whole or not at all, and what is in NAME.part is a beginning of
 * the version that NAME.part.from names, so it can be gone on with if the server still has that.
 */
#ifndef FETCH_TARGET_H
#define FETCH_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sha256.h"

#define TARGET_NAME_BYTES 240 /* with .part.from behind it, a file system takes it */
#define TARGET_VALIDATOR_BYTES 256

struct target {
	int folder_fd;
	char name[TARGET_NAME_BYTES];
	int fd;	       /* of NAME.part; -1: not open */
	uint64_t have; /* bytes in it */
	struct sha256 hash;
	char validator[TARGET_VALIDATOR_BYTES]; /* "": it cannot be resumed */
};

/* What a URL's file is to be called, by its path alone. */
void target_name(const char *url, char out[TARGET_NAME_BYTES]);

/* The same, for one whose name is taken: a few bytes of the URL's hash are added. */
void target_other_name(const char *url, char name[TARGET_NAME_BYTES]);

/*
 * Opens what is there of the URL, or begins. Returns 0, -EBUSY (another process is at it), or
 * another -errno.
 */
int target_open(struct target *target, int folder_fd, const char *name, const char *url);

/* From the beginning, as the version of that validator (NULL or "": none). Returns 0, -errno. */
int target_restart(struct target *target, const char *url, const char *validator);

/* Returns 0, or -errno. */
int target_add(struct target *target, const void *bytes, size_t count);

/* All are there. Returns 0, or -errno; the sum is written. */
int target_finish(struct target *target, char sum[SHA256_HEX]);

/* Not all are: what can be resumed is kept. */
void target_leave(struct target *target);

#endif
