/* SPDX-License-Identifier: Apache-2.0
 *
 * crew.h - processes that draw tokens, each attached on its own as any program would be.
 *
 * They report to their parent through a pipe, in messages that arrive whole. One that is killed
 * is missed, not waited for; all end by themselves at their time, or when the parent dies.
 */
#ifndef WEIRCTL_CREW_H
#define WEIRCTL_CREW_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "ctl.h"

#define CREW_MAX 1024u

struct crew_plan {
	const struct ctl *ctl;
	const char *name;
	double cost;
	uint64_t for_ns;
	bool no_queue; /* now or never, and sleep the wait that was told */
};

struct crew_worker {
	pid_t pid;
	uint64_t granted; /* calls, as last reported */
	bool ready;
	bool ended;
	int killed_by; /* signal; 0: none */
	bool told;     /* that it was killed */
};

struct crew {
	struct crew_worker *workers;
	unsigned count;
	unsigned ended;
	unsigned failed; /* ended, or never began, by a fault */
	int fault;	 /* the first one that was reported */
	int reports;	 /* to be polled for reading; -1: none */
	int barrier;	 /* closed: they may begin */
};

/* Forks. Returns 0 or a negative errno. */
int crew_hire(struct crew *crew, unsigned count, const struct crew_plan *plan);

/* Waits until every worker is attached or has failed, at most so long. */
void crew_gather(struct crew *crew, uint64_t within_ns);

/* Lets them begin. */
void crew_begin(struct crew *crew);

/*
 * Reads reports and notices who has ended; blocks up to `for_ns`. Returns the index of a worker
 * that was killed by a signal and has not been told of yet, or -1.
 */
int64_t crew_attend(struct crew *crew, uint64_t for_ns);

/* Ends who is left. */
void crew_dismiss(struct crew *crew, int signal);
void crew_free(struct crew *crew);

#endif
