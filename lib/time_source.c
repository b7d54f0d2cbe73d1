/* SPDX-License-Identifier: Apache-2.0 */
#include "time_source.h"

#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>

static bool tsc_is_invariant(void)
{
	unsigned a, b, c, d;

	/* CPUID.80000007H:EDX[8], Intel SDM vol. 3B 18.17.1: constant rate in all P-, C-states */
	return __get_cpuid(0x80000007u, &a, &b, &c, &d) && d & 1u << 8;
}
#else
static bool tsc_is_invariant(void)
{
	return false;
}
#endif

/* The kernel switches away from the TSC when its watchdog finds it unsteady. */
static bool kernel_trusts_tsc(void)
{
	char source[16] = "";
	FILE *file =
		fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "re");

	if (!file)
		return false;
	bool tsc = fgets(source, sizeof(source), file) && strcmp(source, "tsc\n") == 0;
	fclose(file);
	return tsc;
}

uint64_t time_source_monotonic_ns(void)
{
	return time_source_kernel_ns(CLOCK_MONOTONIC);
}

bool time_source_readable(enum clock_kind kind)
{
	switch (kind) {
	case CLOCK_KIND_TSC:
		return tsc_is_invariant();
	case CLOCK_KIND_MONOTONIC:
	case CLOCK_KIND_MANUAL:
		return true;
	}
	return false;
}

enum clock_kind time_source_best(void)
{
	if (tsc_is_invariant() && kernel_trusts_tsc())
		return CLOCK_KIND_TSC;
	return CLOCK_KIND_MONOTONIC;
}

struct time_pair time_source_pair(const struct time_source *source)
{
	struct time_pair best = {0, 0};
	uint64_t narrowest = UINT64_MAX;

	/* the reading that was disturbed least: the one with the least time around it */
	for (int i = 0; i < 8; i++) {
		uint64_t before = time_source_ticks(source);
		uint64_t ns = time_source_kernel_ns(CLOCK_MONOTONIC);
		uint64_t width = time_source_ticks(source) - before;

		if (width < narrowest) {
			narrowest = width;
			best = (struct time_pair){before + width / 2, ns};
		}
	}
	return best;
}

uint64_t time_source_hz(enum clock_kind kind, uint64_t for_ns)
{
	if (kind != CLOCK_KIND_TSC)
		return 1000000000u;

	const struct time_source tsc = {.kind = kind};
	struct time_pair from = time_source_pair(&tsc);
	struct timespec pause = {(time_t)(for_ns / 1000000000u), (long)(for_ns % 1000000000u)};

	nanosleep(&pause, NULL);
	struct time_pair to = time_source_pair(&tsc);
	uint64_t ticks = to.ticks - from.ticks;
	uint64_t ns = to.kernel_ns - from.kernel_ns;

	return ns ? (uint64_t)((__extension__(unsigned __int128) ticks) * 1000000000u / ns) : 0;
}

void time_source_nudge(const struct time_source *source)
{
	if (source->kind != CLOCK_KIND_MANUAL)
		return;
	/* release: pairs with the acquire of who is about to sleep on it */
	atomic_fetch_add_explicit(source->manual_moves, 1, memory_order_release);
	syscall(SYS_futex, source->manual_moves, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

void time_source_advance(const struct time_source *source, uint64_t by_ns)
{
	/* relaxed: only the word itself is wanted */
	uint64_t from = atomic_load_explicit(source->manual_ns, memory_order_relaxed);
	uint64_t to;

	do {
		if (from >= TIME_MANUAL_END)
			break;
		to = by_ns < TIME_MANUAL_END - from ? from + by_ns : TIME_MANUAL_END;
		/* release: pairs with the acquire in time_source_manual_ns() */
	} while (!atomic_compare_exchange_weak_explicit(
		source->manual_ns, &from, to, memory_order_release, memory_order_relaxed));
	time_source_nudge(source);
}

uint64_t time_source_namespace(void)
{
	struct stat found;

	return stat("/proc/self/ns/time", &found) == 0 ? (uint64_t)found.st_ino : 0;
}

void time_source_boot(uint64_t out[2])
{
	char text[64] = "";
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
	int digit = 0;

	out[0] = out[1] = 0;
	if (!file)
		return;
	if (fgets(text, sizeof(text), file))
		for (const char *at = text; *at && digit < 32; at++) {
			char one[2] = {*at, 0};

			if (*at == '-' || *at == '\n')
				continue;
			out[digit / 16] = out[digit / 16] << 4 | strtoull(one, NULL, 16);
			digit++;
		}
	fclose(file);
}
