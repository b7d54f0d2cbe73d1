/* SPDX-License-Identifier: Apache-2.0 */
#include "manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sha256.h"

#define LINE_BYTES 8192

static int compare_urls(const void *a, const void *b)
{
	return strcmp(((const struct manifest_entry *)a)->url,
		      ((const struct manifest_entry *)b)->url);
}

static int compare_files(const void *a, const void *b)
{
	return strcmp(((const struct manifest_entry *)a)->file,
		      ((const struct manifest_entry *)b)->file);
}

static void entry_free(void *of)
{
	struct manifest_entry *entry = of;

	free(entry->url);
	free(entry->file);
	free(entry);
}

/* Takes an entry's place in a tree; the one before it stays in the other tree, if it is there. */
static bool enter(void **tree, struct manifest_entry *entry,
		  int (*compare)(const void *a, const void *b))
{
	struct manifest_entry **node = tsearch(entry, tree, compare);

	if (!node)
		return false;
	*node = entry;
	return true;
}

static struct manifest_entry *entry_new(const char *url, const char *file, uint64_t bytes)
{
	struct manifest_entry *entry = calloc(1, sizeof(*entry));

	if (!entry)
		return NULL;
	entry->url = strdup(url);
	entry->file = strdup(file);
	entry->bytes = bytes;
	if (entry->url && entry->file)
		return entry;
	entry_free(entry);
	return NULL;
}

/* The trees hold an entry each of their own, so that replacing one frees it. */
static int remember(struct manifest *manifest, const char *url, const char *file, uint64_t bytes)
{
	void **trees[] = {&manifest->by_url, &manifest->by_file};
	int (*compares[])(const void *a, const void *b) = {compare_urls, compare_files};

	for (int i = 0; i < 2; i++) {
		struct manifest_entry *entry = entry_new(url, file, bytes);

		if (!entry)
			return -ENOMEM;

		struct manifest_entry **old = tfind(entry, trees[i], compares[i]);

		if (old) {
			struct manifest_entry *gone = *old;

			*old = entry;
			entry_free(gone);
		} else if (!enter(trees[i], entry, compares[i])) {
			entry_free(entry);
			return -ENOMEM;
		}
	}
	return 0;
}

/* Lines that are not ours are left alone: the file may be anybody's list of sums. */
static int read_all(struct manifest *manifest, FILE *from)
{
	char line[LINE_BYTES];
	char url[LINE_BYTES] = "";
	uint64_t bytes = 0;
	int status = 0;

	while (status == 0 && fgets(line, sizeof(line), from)) {
		char sum[SHA256_HEX];
		char file[LINE_BYTES];

		line[strcspn(line, "\n")] = '\0';
		if (sscanf(line, "# %" SCNu64 " bytes from %8191s", &bytes, url) == 2)
			continue;
		if (url[0] && sscanf(line, "%64[0-9a-f]  %8191[^\n]", sum, file) == 2 &&
		    strlen(sum) == SHA256_HEX - 1)
			status = remember(manifest, url, file, bytes);
		url[0] = '\0';
	}
	return status;
}

int manifest_open(struct manifest *manifest, const char *path)
{
	FILE *from;
	int status;

	*manifest = (struct manifest){.fd = -1};
	manifest->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	if (manifest->fd < 0)
		return -errno;
	from = fopen(path, "re");
	if (!from)
		return -errno;
	status = read_all(manifest, from);
	fclose(from);
	return status;
}

void manifest_close(struct manifest *manifest)
{
	tdestroy(manifest->by_url, entry_free);
	tdestroy(manifest->by_file, entry_free);
	if (manifest->fd >= 0)
		close(manifest->fd);
}

const struct manifest_entry *manifest_of_url(const struct manifest *manifest, const char *url)
{
	const struct manifest_entry key = {.url = (char *)(uintptr_t)url};
	struct manifest_entry *const *node = tfind(&key, &manifest->by_url, compare_urls);

	return node ? *node : NULL;
}

const struct manifest_entry *manifest_of_file(const struct manifest *manifest, const char *file)
{
	const struct manifest_entry key = {.file = (char *)(uintptr_t)file};
	struct manifest_entry *const *node = tfind(&key, &manifest->by_file, compare_files);

	return node ? *node : NULL;
}

int manifest_add(struct manifest *manifest, const char *url, const char *file, uint64_t bytes,
		 const char *sum)
{
	char text[2 * LINE_BYTES];
	int length = snprintf(text, sizeof(text), "# %" PRIu64 " bytes from %s\n%s  %s\n", bytes,
			      url, sum, file);

	if (length < 0 || (size_t)length >= sizeof(text))
		return -ENAMETOOLONG;
	if (write(manifest->fd, text, (size_t)length) != length)
		return errno ? -errno : -EIO;
	return remember(manifest, url, file, bytes);
}
