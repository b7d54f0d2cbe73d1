/* SPDX-License-Identifier: Apache-2.0
 *
 * stepped.h - runs the code itself, not a model of it, through interleavings.
 *
 * The sources of lib/ and client/ are compiled once more with this file in front of each: every
 * atomic access then first asks a scheduler who goes on. Machines are functions on stacks of
 * their own; each calls libweir through its own handle, as a process does. Schedules are tried by
 * running everything again from the beginning, all of them that switch away from a machine which
 * could go on no more than so many times. Whoever is switched away from for good is as good as
 * killed, so the checks are asked after every step.
 *
 * Relaxed accesses and single bytes are no steps, nor is the reading and publishing of a line,
 * which test_publish.c looks at, nor the walk over the rows, whose count is read before; they fall
 * together with the step before them.
 */
#ifndef WEIR_STEPPED_H
#define WEIR_STEPPED_H

#include <stdatomic.h>

/* Before an access, in words of the source. Returns at once where no machine runs. */
void stepped_read(const char *access, unsigned long bytes, memory_order order);
void stepped_write(const char *access, unsigned long bytes, memory_order order);

#ifdef WEIR_STEPPED_SOURCES

#define STEPPED_READ(at, order) stepped_read(#at, sizeof(*(at)), order)
#define STEPPED_WRITE(at, order) stepped_write(#at, sizeof(*(at)), order)

#undef atomic_load_explicit
#undef atomic_store_explicit
#undef atomic_exchange_explicit
#undef atomic_fetch_add_explicit
#undef atomic_fetch_or_explicit
#undef atomic_compare_exchange_weak_explicit
#undef atomic_compare_exchange_strong_explicit

#ifdef __clang__
#define STEPPED(name) __c11_atomic_##name
#define STEPPED_N(name) __c11_atomic_##name
#define STEPPED_EXCHANGE(at, expected, desired, success, failure)                                  \
	__c11_atomic_compare_exchange_strong(at, expected, desired, (int)(success), (int)(failure))
#else
#define STEPPED(name) __atomic_##name
#define STEPPED_N(name) __atomic_##name##_n
#define STEPPED_EXCHANGE(at, expected, desired, success, failure)                                  \
	__atomic_compare_exchange_n(at, expected, desired, 0, success, failure)
#endif

#define atomic_load_explicit(at, order) (STEPPED_READ(at, order), STEPPED_N(load)(at, order))
#define atomic_store_explicit(at, value, order)                                                    \
	(STEPPED_WRITE(at, order), STEPPED_N(store)(at, value, order))
#define atomic_exchange_explicit(at, value, order)                                                 \
	(STEPPED_WRITE(at, order), STEPPED_N(exchange)(at, value, order))
#define atomic_fetch_add_explicit(at, value, order)                                                \
	(STEPPED_WRITE(at, order), STEPPED(fetch_add)(at, value, order))
#define atomic_fetch_or_explicit(at, value, order)                                                 \
	(STEPPED_WRITE(at, order), STEPPED(fetch_or)(at, value, order))
#define atomic_compare_exchange_strong_explicit(at, expected, desired, success, failure)           \
	(STEPPED_WRITE(at, success), STEPPED_EXCHANGE(at, expected, desired, success, failure))
#define atomic_compare_exchange_weak_explicit atomic_compare_exchange_strong_explicit

#else

#include <stdbool.h>
#include <stdint.h>

#define STEPPED_MACHINES 4

struct stepped_test {
	const char *name;
	unsigned machines;
	unsigned switches; /* away from a machine that could go on, at most */
	const char *machine_names[STEPPED_MACHINES];
	void (*run[STEPPED_MACHINES])(void *context);
	void *context;

	void (*begin)(void *context);		    /* before each schedule */
	void (*end)(void *context);		    /* after it */
	const char *(*wrong)(const void *context);  /* after each step; NULL: nothing */
	const char *(*at_end)(const void *context); /* when all machines have ended */
};

struct stepped_result {
	uint64_t schedules;
	uint64_t steps;
	const char *wrong; /* the first thing found, NULL if none */
	char *trace;	   /* how it came about; to be freed */
};

/* Tries all schedules, up to the first thing that is wrong. */
void stepped_run(const struct stepped_test *test, struct stepped_result *out);

/* So many schedules of chance, with as many switches at most. */
void stepped_run_random(const struct stepped_test *test, uint64_t schedules,
			struct stepped_result *out);

/* A number of the schedule's own where schedules are of chance, else 1. */
unsigned stepped_seed(void);

/* The same, printed; fails the test if something is wrong. */
void stepped_expect_right(const struct stepped_test *test);
void stepped_expect_right_at_random(const struct stepped_test *test, uint64_t schedules);

#endif

#endif
