/* SPDX-License-Identifier: Apache-2.0
 *
 * lane.h - adds to a pair of counters of this CPU's lane, without a lock, exactly.
 *
 * A locked addition beside the compare-and-swap of the mark would cost as much again where locked
 * instructions do not overlap (5 ns of 23 on one Xeon). So each CPU adds to a lane of its own by
 * one plain store inside a restartable sequence, which the kernel aborts when the thread is
 * preempted, moved or signalled before that store: rseq(2), registered by glibc since 2.35. The
 * store has 16 bytes, so that a call and its units are counted both or not at all.
 * Aborted, unregistered, on a further CPU or another machine: false, nothing was added.
 */
#ifndef WEIR_LANE_H
#define WEIR_LANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__has_feature)
#define LANE_FEATURE(x) __has_feature(x)
#else
#define LANE_FEATURE(x) 0
#endif

/* ThreadSanitizer cannot see into the assembly; it gets the portable way. */
#if defined(__x86_64__) && __has_include(<sys/rseq.h>) && !defined(__SANITIZE_THREAD__) &&        \
	!LANE_FEATURE(thread_sanitizer)

#include <x86intrin.h>
#include <sys/rseq.h>

/*
 * pair[cpu * stride] += {first, second}, where a pair is two counters side by side, aligned to its
 * 16 bytes. The sequence is from label 1 to label 2; its last instruction is the store. The
 * descriptor (struct rseq_cs of <sys/rseq.h>) names the abort label 4, before which the kernel
 * wants the signature.
 */
static inline bool lane_add(_Atomic uint64_t *pair, uint64_t stride, uint64_t cpus, uint64_t first,
			    uint64_t second)
{
	struct rseq *self =
		(struct rseq *)(void *)((char *)__builtin_thread_pointer() + __rseq_offset);
	const __m128i by = _mm_set_epi64x((int64_t)second, (int64_t)first);

	/* unregistered, cpu_id is negative: as unsigned, further than any lane */
	__asm__ goto(".pushsection __rseq_cs, \"aw\"\n\t"
		     ".balign 32\n\t"
		     "3: .long 0, 0\n\t"
		     ".quad 1f, 2f - 1f, 4f\n\t"
		     ".popsection\n\t"
		     "leaq 3b(%%rip), %%rax\n\t"
		     "movq %%rax, %c[sequence](%[self])\n\t"
		     "1: movl %c[cpu](%[self]), %%eax\n\t"
		     "cmpq %[cpus], %%rax\n\t"
		     "jae %l[elsewhere]\n\t"
		     "imulq %[stride], %%rax\n\t"
		     "movdqa (%[pair], %%rax), %%xmm0\n\t"
		     "paddq %[by], %%xmm0\n\t"
		     "movdqa %%xmm0, (%[pair], %%rax)\n\t"
		     "2:\n\t"
		     ".pushsection __rseq_failure, \"ax\"\n\t"
		     ".long %c[signature]\n\t"
		     "4: jmp %l[elsewhere]\n\t"
		     ".popsection\n\t"
		     :
		     : [self] "r"(self), [sequence] "i"(offsetof(struct rseq, rseq_cs)),
		       [cpu] "i"(offsetof(struct rseq, cpu_id)), [signature] "i"(RSEQ_SIG),
		       [cpus] "r"(cpus), [stride] "r"(stride), [by] "x"(by), [pair] "r"(pair)
		     : "rax", "xmm0", "memory", "cc"
		     : elsewhere);
	return true;
elsewhere:
	return false;
}

#else

static inline bool lane_add(_Atomic uint64_t *pair, uint64_t stride, uint64_t cpus, uint64_t first,
			    uint64_t second)
{
	(void)pair;
	(void)stride;
	(void)cpus;
	(void)first;
	(void)second;
	return false;
}

#endif

#endif
