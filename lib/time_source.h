/* SPDX-License-Identifier: Apache-2.0
 *
 * time_source.h - reads the segment's clock, in ticks. Always passed in, never global.
 *
 * Every process that attached reads the same clock: the TSC of the machine, the kernel's
 * CLOCK_MONOTONIC, or a word in the state object. Ticks become nanoseconds by the segment's
 * clock line (struct rules_header.clock), which the publisher keeps true.
 */
#ifndef WEIR_TIME_SOURCE_H
#define WEIR_TIME_SOURCE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "layout.h"

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

/* Where a manual clock ends, in nanoseconds: the ten years for which a line is true (315576000 s).
 */
#define TIME_MANUAL_END 315576000000000000u

struct time_source {
	enum clock_kind kind;
	_Atomic uint64_t *manual_ns;	/* the word of a manual clock */
	_Atomic uint32_t *manual_moves; /* bumped when its sleepers must look again; futex word */
};

/* Makes all who sleep on a manual clock look again; nothing for the other kinds. */
void time_source_nudge(const struct time_source *source);

/* Moves a manual clock forward, up to its end, and nudges. The caller has checked the kind. */
void time_source_advance(const struct time_source *source, uint64_t by_ns);

/* Nanoseconds of a kernel clock. Lock-free; no system call where the vDSO serves it. */
static inline uint64_t time_source_kernel_ns(clockid_t id)
{
	struct timespec at;

	clock_gettime(id, &at);
	return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

/* The kernel's monotonic clock; out of line, off the path of the TSC. */
uint64_t time_source_monotonic_ns(void);

/* Whatever the word says, at most its end: a clock value behind it would be no mark any more. */
static inline uint64_t time_source_manual_ns(const struct time_source *source)
{
	uint64_t ns = atomic_load_explicit(source->manual_ns, memory_order_acquire);

	return ns < TIME_MANUAL_END ? ns : TIME_MANUAL_END;
}

/*
 * The present, in ticks. Lock-free. rdtsc is not ordered with the loads around it; what that
 * can shift is tens of nanoseconds, which every reader of a line tolerates (elapsed time is
 * signed and clamped at 0).
 */
static inline uint64_t time_source_ticks(const struct time_source *source)
{
#if defined(__x86_64__)
	if (source->kind == CLOCK_KIND_TSC)
		return __rdtsc();
#endif
	if (source->kind == CLOCK_KIND_MANUAL)
		return time_source_manual_ns(source);
	return time_source_monotonic_ns();
}

/* Whether this process can read a clock of that kind. */
bool time_source_readable(enum clock_kind kind);

/*
 * The best clock here: the TSC if the processor keeps it invariant and the kernel itself trusts
 * it as its clock source, else CLOCK_MONOTONIC. Reads /sys; for creators only.
 */
enum clock_kind time_source_best(void);

/*
 * Ticks per second: 10^9 for the clocks that count nanoseconds; for the TSC measured against
 * CLOCK_MONOTONIC, which takes `for_ns`.
 */
uint64_t time_source_hz(enum clock_kind kind, uint64_t for_ns);

/* One reading of both clocks at the same moment, to within some tens of nanoseconds. */
struct time_pair {
	uint64_t ticks;
	uint64_t kernel_ns;
};
struct time_pair time_source_pair(const struct time_source *source);

/* Inode of this process's time namespace; 0 where it cannot be told. */
uint64_t time_source_namespace(void);

/* The kernel's random number of this boot, which every clock here began with; 0, 0: not known. */
void time_source_boot(uint64_t out[2]);

#endif
