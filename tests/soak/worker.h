/* SPDX-License-Identifier: Apache-2.0
 *
 * worker.h - a process that does with limits whatever programs do, until it is killed.
 */
#ifndef SOAK_WORKER_H
#define SOAK_WORKER_H

#include <stdatomic.h>
#include <stdint.h>

#include "daemon_fixture.h"

/* Names that workers draw from; those past WORKER_RULES have no rule of their own. */
extern const char *const worker_names[];
enum {
	WORKER_RULES = 4,
	WORKER_NAMES = 7,
	WORKER_SLOTS = 256, /* processes at a time, with the children of workers */
};

/*
 * What a process is about, for each name: tokens, which only grow. A bucket's mark moves before its
 * tallies count, so what has begun and not ended may be in one and not in the other.
 */
struct worker_slot {
	_Atomic int32_t pid; /* 0: nobody's */
	_Atomic uint64_t draws_begun[WORKER_NAMES];
	_Atomic uint64_t draws_ended[WORKER_NAMES];
	_Atomic uint64_t returns_begun[WORKER_NAMES];
	_Atomic uint64_t returns_ended[WORKER_NAMES];
};

/* What all workers count, in memory that they share. Who is killed has not counted its last. */
struct worker_counts {
	struct worker_slot slots[WORKER_SLOTS];
	_Atomic uint64_t calls;
	_Atomic uint64_t admitted;
	_Atomic uint64_t forks;
	_Atomic uint64_t attached;
	_Atomic uint64_t faults;
	_Atomic uint64_t wrong; /* what must never happen */
	_Atomic int32_t wrong_line;
};

/* Draws, waits, reserves, cancels, settles, closes, forks, attaches anew. Does not return. */
_Noreturn void worker_run(const struct fixture *fixture, struct worker_counts *counts,
			  uint64_t seed);

#endif
