/* SPDX-License-Identifier: Apache-2.0 */
#include "space.h"

#include <stdio.h>
#include <sys/statvfs.h>

#include "layout.h"

#define SIZE_BYTES 32

void space_look(struct space *out, const struct segment_shape *shape, const char *dir)
{
	struct statvfs found;

	*out = (struct space){
		.needed_bytes = segment_rules_bytes(shape) + segment_state_bytes(shape),
		.keys_bytes = shape->bins * sizeof(struct key_bin),
	};
	if (statvfs(dir, &found) < 0 || found.f_blocks == 0)
		return;
	out->known = true;
	out->whole_bytes = (uint64_t)found.f_blocks * found.f_frsize;
	out->free_bytes = (uint64_t)found.f_bavail * found.f_frsize;
}

/* In KiB below one MiB, in MiB to a tenth from there on. */
static const char *size_text(uint64_t bytes, char out[SIZE_BYTES])
{
	uint64_t tenths = (bytes * 10 + (1 << 20) - 1) >> 20;

	if (bytes < 1 << 20)
		snprintf(out, SIZE_BYTES, "%llu KiB", (unsigned long long)(bytes + 1023) / 1024);
	else
		snprintf(out, SIZE_BYTES, "%llu.%llu MiB", (unsigned long long)tenths / 10,
			 (unsigned long long)tenths % 10);
	return out;
}

char *space_text(const struct space *space, const char *dir, char out[SPACE_TEXT_BYTES])
{
	char needed[SIZE_BYTES], keys[SIZE_BYTES], whole[SIZE_BYTES], left[SIZE_BYTES];
	int used = snprintf(out, SPACE_TEXT_BYTES, "%s", size_text(space->needed_bytes, needed));

	if (space->keys_bytes)
		used += snprintf(out + used, (size_t)(SPACE_TEXT_BYTES - used),
				 ", of them %s for keys", size_text(space->keys_bytes, keys));
	if (space->known)
		snprintf(out + used, (size_t)(SPACE_TEXT_BYTES - used),
			 "; %.100s has %s, of them %s free", dir,
			 size_text(space->whole_bytes, whole), size_text(space->free_bytes, left));
	return out;
}
