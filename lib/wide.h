/* SPDX-License-Identifier: Apache-2.0
 *
 * wide.h - compare-and-swap of two neighbouring words at once.
 *
 * Where a word means something only beside its neighbour: a mark and the gate that voids its
 * places, a mark and the key whose it is. The one thing here that C11 cannot say: its 16-byte
 * atomics go through a library, which may take a lock that no other process knows of.
 */
#ifndef WEIR_WIDE_H
#define WEIR_WIDE_H

#include <stdbool.h>
#include <stdint.h>

/* The scheduler of tests/model asks here who goes on; otherwise nothing. */
#ifndef WIDE_STEP
#define WIDE_STEP(words)
#endif

/*
 * Exchanges both words if they are (first, second), in memory order seq_cst; false: they are not,
 * or (64-bit ARM) something interfered. `words` is aligned to 16 bytes. Lock-free.
 */
static inline bool wide_exchange(void *words, uint64_t first, uint64_t second, uint64_t next_first,
				 uint64_t next_second)
{
	WIDE_STEP(words);
#if defined(__x86_64__)
	bool done;

	__asm__ volatile("lock cmpxchg16b %1"
			 : "=@ccz"(done), "+m"(*(char(*)[16])words), "+a"(first), "+d"(second)
			 : "b"(next_first), "c"(next_second)
			 : "memory");
	return done;
#elif defined(__aarch64__)
	uint64_t first_now;
	uint64_t second_now;
	uint32_t failed = 1;

	/* an exclusive pair is read at once only if it is then stored. Release by the store,
	 * acquire by the load; the barrier makes it seq_cst with the plain exchanges of either
	 * word. */
	__asm__ volatile("ldaxp %[first_now], %[second_now], %[both]\n\t"
			 "cmp %[first_now], %[first]\n\t"
			 "ccmp %[second_now], %[second], #0, eq\n\t"
			 "b.ne 1f\n\t"
			 "stlxp %w[failed], %[next_first], %[next_second], %[both]\n\t"
			 "b 2f\n"
			 "1:\tclrex\n"
			 "2:\tdmb ish"
			 : [first_now] "=&r"(first_now), [second_now] "=&r"(second_now),
			   [failed] "+&r"(failed), [both] "+Q"(*(char(*)[16])words)
			 : [first] "r"(first), [second] "r"(second), [next_first] "r"(next_first),
			   [next_second] "r"(next_second)
			 : "cc", "memory");
	return failed == 0;
#else
/* One word after the other would leave a mark between the two that is charged to nobody. */
#error "weir needs a compare-and-swap of 16 bytes: x86-64 or 64-bit ARM"
#endif
}

#endif
