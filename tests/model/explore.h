/* SPDX-License-Identifier: Apache-2.0
 *
 * explore.h - tries every interleaving of a few small machines over shared words.
 *
 * A state is one struct without pointers: the shared words, what each machine remembers, and
 * what only the checks look at. A machine is a function that makes one atomic access per step.
 * Every reachable state is visited once, breadth first, so the first trace found is a shortest.
 *
 * A machine that is killed, or stopped for ever, takes no further step. So every state is also
 * one in which any of the machines that have not ended are dead, and `wrong` is asked in each.
 */
#ifndef WEIR_EXPLORE_H
#define WEIR_EXPLORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXPLORE_MACHINES 8
#define EXPLORE_TRACE_BYTES 600

/*
 * A machine reads like a thread: STEP ends one atomic step, and the next one goes on behind it.
 * What a machine remembers between steps belongs into the state; `at` is its place.
 */
#define MACHINE_BEGIN(at)                                                                          \
	switch (at) {                                                                              \
	case 0:
#define STEP(at)                                                                                   \
	do {                                                                                       \
		(at) = __LINE__;                                                                   \
		return true;                                                                       \
	case __LINE__:;                                                                            \
	} while (0)
#define MACHINE_END                                                                                \
	}                                                                                          \
	return false

struct model {
	const char *name;
	size_t bytes;	   /* of a state */
	unsigned machines; /* at most EXPLORE_MACHINES */
	unsigned dead;	   /* a state in which all machines but so many have ended is an end */
	unsigned alone;	   /* 0, or: from any state, any machine by itself ends within so many
			      steps, that is, without waiting for another one */

	void (*begin)(void *state);			/* the state comes zeroed */
	bool (*step)(void *state, unsigned machine);	/* false: that was its last step */
	const char *(*wrong)(const void *state);	/* NULL: nothing, in any state */
	const char *(*wrong_at_end)(const void *state); /* the same at an end; may be NULL */
	const char *(*machine_name)(unsigned machine);	/* for traces; may be NULL: A, B ... */
};

struct exploration {
	uint64_t states;
	uint64_t steps;
	uint64_t ends;	   /* of schedules */
	const char *wrong; /* the first thing found, NULL if none */
	char trace[EXPLORE_TRACE_BYTES];
};

/* Every interleaving. Stops at the first thing that is wrong. Ends the program without memory. */
void explore_all(const struct model *model, struct exploration *out);

/* So many random schedules, with up to `dead` machines killed at random places. */
void explore_random(const struct model *model, uint64_t schedules, uint64_t seed,
		    struct exploration *out);

/* Explores, prints what it came to, and fails the test unless nothing (something) is wrong. */
void expect_right(const struct model *model);
void expect_wrong(const struct model *model);

/* The same at random. */
void expect_right_at_random(const struct model *model, uint64_t schedules);
void expect_wrong_at_random(const struct model *model, uint64_t schedules);

#endif
