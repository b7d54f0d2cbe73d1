/* SPDX-License-Identifier: Apache-2.0
 *
 * stepper.h - runs a call in a process of its own and kills it after any of its instructions.
 *
 * A reference run under PTRACE_SINGLESTEP writes down the address of every instruction. To kill
 * after n of them, a fresh child runs freely to a breakpoint at the n+1st; in a loop from one
 * breakpoint to the next, as a step costs many times as much. Where it does not come by there (a
 * restartable sequence is always aborted when it is stepped, and then other code is run), a further
 * child is stepped, from the last place to which others came. Either way it dies by SIGKILL before
 * it executes another instruction. x86-64 alone; elsewhere, and where ptrace is not permitted, it
 * says so.
 */
#ifndef WEIR_STEPPER_H
#define WEIR_STEPPER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is to be killed. Both run in the child; `prepare` brings it to the point of the call. */
struct stepper_call {
	void (*prepare)(void *context);
	void (*call)(void *context);
	void *context;
	bool bare; /* the child comes by clone(2): no handlers of pthread_atfork(3) run */
	/* of the parent, after each instruction of the reference run: did shared bytes change? */
	bool (*changed)(void *context); /* NULL: nobody looks */
};

/* The instructions of one call, in order; addresses hold in every child of this process. */
struct stepper_trace {
	uint64_t *addresses;
	size_t *before; /* where the same address was last, + 1; 0: nowhere */
	bool *changes;	/* whether the instruction changed shared bytes */
	size_t count;
	size_t reached; /* the last place that was killed at, running */
};

/* NULL, or why nothing can be stepped here. */
const char *stepper_unavailable(void);

/* Makes the reference run, which completes. Returns false if the call has no end in sight. */
bool stepper_record(const struct stepper_call *call, struct stepper_trace *out);
void stepper_free(struct stepper_trace *trace);

/*
 * A fresh child, killed after so many instructions of the call, at most all of them. It is gone
 * when this returns. false: it went another way and was killed elsewhere. Stepping begins at the
 * last place that one of those running has come to; once that has failed, at the beginning.
 */
bool stepper_kill_running(const struct stepper_call *call, struct stepper_trace *trace,
			  size_t instructions);
bool stepper_kill_stepping(const struct stepper_call *call, struct stepper_trace *trace,
			   size_t instructions);

#endif
