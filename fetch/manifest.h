/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest.h - which file came from which URL, and its sum; `sha256sum --check` reads it.
 *
 *	# 6 bytes from http://example.com/hello
 *	5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03  hello
 *
 * Both lines are appended by one write, so several processes may do so at once, and one that is
 * killed leaves them out or there.
 */
#ifndef FETCH_MANIFEST_H
#define FETCH_MANIFEST_H

#include <stdbool.h>
#include <stdint.h>

struct manifest_entry {
	char *url;
	char *file;
	uint64_t bytes;
};

struct manifest {
	int fd;
	void *by_url; /* trees of search.h, over entries */
	void *by_file;
};

/* Reads what is there, and goes on with it. Returns 0, or -errno. */
int manifest_open(struct manifest *manifest, const char *path);
void manifest_close(struct manifest *manifest);

/* The last entry of a URL, or of a file; NULL: none. */
const struct manifest_entry *manifest_of_url(const struct manifest *manifest, const char *url);
const struct manifest_entry *manifest_of_file(const struct manifest *manifest, const char *file);

/* Returns 0, or -errno. */
int manifest_add(struct manifest *manifest, const char *url, const char *file, uint64_t bytes,
		 const char *sum);

#endif
