/* SPDX-License-Identifier: Apache-2.0 */
#include "members.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fault.h"
#include "permits.h"
#include "weir.h"

static struct flock slot_lock(uint32_t slot, short type)
{
	return (struct flock){
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = LAYOUT_MEMBER_LOCKS + slot,
		.l_len = 1,
	};
}

static bool slot_try_lock(const struct segment *segment, uint32_t slot)
{
	struct flock lock = slot_lock(slot, F_WRLCK);

	return fcntl(segment->state_fd, F_OFD_SETLK, &lock) == 0;
}

static void slot_unlock(const struct segment *segment, uint32_t slot)
{
	struct flock lock = slot_lock(slot, F_UNLCK);

	fcntl(segment->state_fd, F_OFD_SETLK, &lock);
}

/* Field 22 of /proc/self/stat; the second field may hold anything, also `)`. */
static uint64_t own_start_ticks(void)
{
	char text[1024] = "";
	FILE *file = fopen("/proc/self/stat", "re");
	char *at = NULL;

	if (!file)
		return 0;
	if (fgets(text, sizeof(text), file))
		at = strrchr(text, ')');
	fclose(file);
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at + 1, NULL, 10) : 0;
}

/* The words of a slot are for people and for finding candidates; the lock is what counts. They
 * are stored relaxed but for the pid, whose release pairs with the acquire in members_look(). */
static void slot_write(struct member_row *row)
{
	const char *program = program_invocation_short_name;
	size_t length = strlen(program);

	for (size_t i = 0; i < LAYOUT_PROGRAM_BYTES; i++)
		atomic_store_explicit(
			&row->program[i],
			i < length && i < LAYOUT_PROGRAM_BYTES - 1 ? (unsigned char)program[i] : 0,
			memory_order_relaxed);
	atomic_store_explicit(&row->uid, (uint32_t)getuid(), memory_order_relaxed);
	atomic_store_explicit(&row->start_ticks, own_start_ticks(), memory_order_relaxed);
	atomic_store_explicit(&row->joined_ns, time_source_kernel_ns(CLOCK_REALTIME),
			      memory_order_relaxed);
	atomic_fetch_add_explicit(&row->generation, 1, memory_order_relaxed);
	atomic_store_explicit(&row->pid, (uint32_t)getpid(), memory_order_release);
}

static void slot_clear(struct member_row *row)
{
	atomic_fetch_add_explicit(&row->generation, 1, memory_order_relaxed);
	atomic_store_explicit(&row->pid, 0, memory_order_release);
}

static bool slot_is_marked(const struct member_row *row)
{
	return atomic_load_explicit(&row->pid, memory_order_acquire) != 0;
}

int64_t members_join(struct segment *segment)
{
	/* the slots that look free, then the dead ones' */
	for (int round = 0; round < 2; round++)
		for (uint32_t i = 0; i < segment->member_count; i++) {
			if (slot_is_marked(&segment->members[i]) != (round == 1) ||
			    !slot_try_lock(segment, i))
				continue;
			/* killed before slot_write(), all of this is found again */
			if (round == 1)
				permits_reap(segment, i);
			slot_write(&segment->members[i]);
			segment->tallies.shared_lane =
				segment->tallies.cpu_lanes + i % LAYOUT_SHARED_LANES;
			return i;
		}
	return WEIR_EMEMBERS;
}

void members_leave(struct segment *segment, uint32_t slot)
{
	if (slot >= segment->member_count)
		return;
	/* while the slot is marked: killed here, the next one to have the lock goes on */
	permits_reap(segment, slot);
	slot_clear(&segment->members[slot]);
	slot_unlock(segment, slot);
	permits_call_all(segment);
}

int members_reopen(struct segment *segment)
{
	int inherited = segment_state_fd(segment);
	char path[64];

	segment->state_fd = -1;
	if (inherited < 0)
		return -EBADF;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", inherited);
	segment->state_fd = open(path, O_RDWR | O_CLOEXEC);

	int status = segment->state_fd < 0 ? -errno : 0;

	/* even if none could be opened: the inherited one keeps the parent's slot alive */
	close(inherited);
	return status;
}

bool members_alive(const struct segment *segment, uint32_t slot)
{
	struct flock lock = slot_lock(slot, F_WRLCK);

	if (fcntl(segment->state_fd, F_OFD_GETLK, &lock) < 0)
		return true;
	return lock.l_type != F_UNLCK;
}

bool members_reap(struct segment *segment, uint32_t slot)
{
	struct member_row *row = &segment->members[slot];

	if (!slot_is_marked(row) || !slot_try_lock(segment, slot))
		return false;

	/* ours now, so nobody joins; but it may have been left, or reaped, since we looked */
	bool marked = slot_is_marked(row);

	FAULT_POINT(reap_locked);
	if (marked) {
		permits_reap(segment, slot);
		FAULT_POINT(reap_returned);
		slot_clear(row);
	}
	FAULT_POINT(reap_cleared);
	slot_unlock(segment, slot);
	/* also whom the dead one was about to call */
	if (marked)
		permits_call_all(segment);
	return marked;
}

void members_look(const struct segment *segment, uint32_t slot, struct member_info *out)
{
	const struct member_row *row = &segment->members[slot];
	struct member_info info = {
		.pid = atomic_load_explicit(&row->pid, memory_order_acquire),
		.generation = atomic_load_explicit(&row->generation, memory_order_relaxed),
		.start_ticks = atomic_load_explicit(&row->start_ticks, memory_order_relaxed),
		.joined_ns = atomic_load_explicit(&row->joined_ns, memory_order_relaxed),
		.uid = atomic_load_explicit(&row->uid, memory_order_relaxed),
	};

	for (size_t i = 0; i < LAYOUT_PROGRAM_BYTES - 1; i++)
		info.program[i] =
			(char)atomic_load_explicit(&row->program[i], memory_order_relaxed);
	*out = info;
}
