/* SPDX-License-Identifier: Apache-2.0
 *
 * fork.c - a handle made before a fork works in the child.
 *
 * The child inherits the mapping and the descriptor whose open file description holds the
 * parent's member slot. It must not keep that description alive, so the fork handler replaces it
 * at once; it becomes a member of its own at its first call, which it notices by a page that the
 * kernel wipes on fork (getpid would be a system call per call).
 */
#include "handle.h"

#include <errno.h>
#include <sys/mman.h>

#include "permits.h"

static pthread_mutex_t watch_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t watch_once = PTHREAD_ONCE_INIT;
static struct weir *watched;

/* Holds every cold path still, so that no mutex is held by a thread the child does not have. */
static void before_fork(void)
{
	pthread_mutex_lock(&watch_mutex);
	for (struct weir *weir = watched; weir; weir = weir->next)
		pthread_mutex_lock(&weir->mutex);
}

static void after_fork_in_parent(void)
{
	for (struct weir *weir = watched; weir; weir = weir->next)
		pthread_mutex_unlock(&weir->mutex);
	pthread_mutex_unlock(&watch_mutex);
}

static void reopen_all(struct weir *weir)
{
	struct attachment *at = atomic_load_explicit(&weir->current, memory_order_relaxed);

	/* NULL while the handle is being opened */
	for (; at; at = at->previous) {
		if (at->segment.state_fd >= 0)
			members_reopen(&at->segment);
		at->slot = MEMBER_NONE;

		/* relaxed: the fork mark is released after it, in fork_rejoin(); and the child has
		 * one thread so far */
		uint64_t owner = atomic_exchange_explicit(&at->owner, 0, memory_order_relaxed);

		if (owner)
			atomic_store_explicit(&at->parent, owner, memory_order_relaxed);
	}
	weir->in_line = NULL; /* threads that the child does not have */
	weir->reopened = true;
}

static void after_fork_in_child(void)
{
	for (struct weir *weir = watched; weir; weir = weir->next) {
		reopen_all(weir);
		/* where the kernel did not wipe the page, as under qemu's user emulation; relaxed:
		 * the child has one thread so far */
		atomic_store_explicit(weir->fork_mark, 0, memory_order_relaxed);
	}
	after_fork_in_parent();
}

static void watch_forks(void)
{
	pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

int fork_watch(struct weir *weir)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return -errno;
	if (madvise(page, 4096, MADV_WIPEONFORK) < 0) {
		int status = -errno;

		munmap(page, 4096);
		return status;
	}
	weir->fork_mark = page;
	atomic_store_explicit(weir->fork_mark, 1, memory_order_relaxed);
	pthread_once(&watch_once, watch_forks);
	pthread_mutex_lock(&watch_mutex);
	weir->next = watched;
	watched = weir;
	pthread_mutex_unlock(&watch_mutex);
	return 0;
}

void fork_unwatch(struct weir *weir)
{
	struct weir **at = &watched;

	pthread_mutex_lock(&watch_mutex);
	while (*at && *at != weir)
		at = &(*at)->next;
	if (*at)
		*at = weir->next;
	pthread_mutex_unlock(&watch_mutex);
	if (weir->fork_mark)
		munmap((void *)weir->fork_mark, 4096);
	weir->fork_mark = NULL;
}

void attachment_own(struct attachment *at, int64_t slot)
{
	/* relaxed, the generation: this process wrote it, in members_join() */
	uint64_t owner =
		slot < 0 ? 0
			 : permit_owner((uint32_t)slot,
					atomic_load_explicit(&at->segment.members[slot].generation,
							     memory_order_relaxed));

	/* limits hold without a slot: it only cannot be listed */
	at->slot = slot < 0 ? MEMBER_NONE : (uint32_t)slot;
	/* release: pairs with the acquire in permit_find_owner() */
	atomic_store_explicit(&at->owner, owner, memory_order_release);
}

void fork_rejoin(struct weir *weir)
{
	struct attachment *at = atomic_load_explicit(&weir->current, memory_order_relaxed);
	int64_t slot = -EBADF;

	if (atomic_load_explicit(weir->fork_mark, memory_order_relaxed))
		return;
	if (!weir->reopened) /* a fork that ran no handlers: clone(2) by hand */
		reopen_all(weir);
	weir->reopened = false;
	segment_demote(&at->segment);
	if (at->segment.state_fd >= 0)
		slot = members_join(&at->segment);
	attachment_own(at, slot);
	/* release: who sees the mark sees whose permits he takes; pairs with the acquire in
	 * permit_is_current() */
	atomic_store_explicit(weir->fork_mark, 1, memory_order_release);
	weir_report(weir, WEIR_EVENT_REJOIN, slot < 0 ? (int)slot : 0, NULL, 0);
}
