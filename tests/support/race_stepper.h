/* SPDX-License-Identifier: Apache-2.0
 *
 * race_stepper.h - a process that makes one call again and again, and can be stopped between any
 * two instructions of it, for as long as one likes; then it goes on.
 *
 * A reference run under PTRACE_SINGLESTEP writes down the address of every instruction of the
 * call. To stop after n of them, the process runs freely to a breakpoint at the n+1st. Where it
 * does not come by there (a restartable sequence is aborted whenever it is stepped, and then other
 * code is run), a further call is stepped n times. x86-64 alone; elsewhere, where ptrace is not
 * permitted and under ThreadSanitizer, race_stepper_unavailable() says so.
 */
#ifndef RACE_STEPPER_H
#define RACE_STEPPER_H

#include "segment_fixture.h"

#include <sys/ptrace.h>

#include "thread_sanitizer.h"

enum {
	RACE_STEPS = 1 << 17, /* of one call, at most */
	RACE_DENIED = 99,
};

/* All run in the process; `prepare` and `finish` before and after each call. */
struct race_call {
	void (*prepare)(void *context);
	void (*call)(void *context);
	void (*finish)(void *context);
	void *context;
};

/* The process rests between two calls, or is stopped in one. */
struct race_stepper {
	pid_t pid;
	uint64_t *addresses; /* of the call's instructions, in order */
	size_t count;
};

#if defined(__x86_64__)

#include <sys/user.h>

#define RACE_BREAKPOINT 0xccul

/* The process stops here for its tracer. */
static inline void race_stop_here(void)
{
	__asm__ volatile("int3" ::: "memory");
}

static inline int race_stepped(void *context)
{
	const struct race_call *call = context;

	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		return RACE_DENIED;
	for (;;) {
		race_stop_here();
		call->prepare(call->context);
		race_stop_here();
		call->call(call->context);
		race_stop_here();
		call->finish(call->context);
	}
}

static inline void race_stepper_await(const struct race_stepper *stepper, long resumed)
{
	int status;

	assert_true(resumed >= 0);
	while (waitpid(stepper->pid, &status, 0) < 0)
		assert_int_equal(errno, EINTR);
	if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP)
		fail_msg("a stepped process that ends: %#x", (unsigned)status);
}

/* To the next int3, a breakpoint or its own. */
static inline void race_stepper_run(const struct race_stepper *stepper)
{
	race_stepper_await(stepper, ptrace(PTRACE_CONT, stepper->pid, NULL, NULL));
}

/* One instruction; false if that was an int3. */
static inline bool race_stepper_step(const struct race_stepper *stepper)
{
	siginfo_t info;

	race_stepper_await(stepper, ptrace(PTRACE_SINGLESTEP, stepper->pid, NULL, NULL));
	assert_int_equal(ptrace(PTRACE_GETSIGINFO, stepper->pid, NULL, &info), 0);
	return info.si_code != SI_KERNEL;
}

static inline struct user_regs_struct race_registers(const struct race_stepper *stepper)
{
	struct user_regs_struct registers;

	assert_int_equal(ptrace(PTRACE_GETREGS, stepper->pid, NULL, &registers), 0);
	return registers;
}

static inline const char *race_stepper_unavailable(void)
{
	pid_t child = fork();
	int status = 0;

	assert_true(child >= 0);
	if (child == 0)
		_exit(ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0 ? RACE_DENIED : 0);
	while (waitpid(child, &status, 0) < 0)
		assert_int_equal(errno, EINTR);
	if (UNDER_THREAD_SANITIZER)
		return "ThreadSanitizer gives every process a thread of its own";
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? NULL : "ptrace is not permitted";
}

/* A process at rest. */
static inline void race_stepper_begin(struct race_stepper *stepper, struct race_call *call)
{
	*stepper = (struct race_stepper){.pid = scene_child(race_stepped, call)};
	race_stepper_await(stepper, 0);
	assert_int_equal(ptrace(PTRACE_SETOPTIONS, stepper->pid, NULL, PTRACE_O_EXITKILL), 0);
}

/* A whole call, from rest to rest. */
static inline void race_stepper_call(const struct race_stepper *stepper)
{
	for (int i = 0; i < 3; i++)
		race_stepper_run(stepper);
}

/* The reference run, from rest to rest. */
static inline void race_stepper_record(struct race_stepper *stepper)
{
	size_t count = 0;

	stepper->addresses = malloc(RACE_STEPS * sizeof(*stepper->addresses));
	assert_non_null(stepper->addresses);
	race_stepper_run(stepper);
	do {
		assert_true(count < RACE_STEPS);
		stepper->addresses[count++] = race_registers(stepper).rip;
	} while (race_stepper_step(stepper));
	/* the last one is the int3 behind the call */
	stepper->count = count - 1;
	race_stepper_run(stepper);
}

/* The word at an address with its first byte replaced; false where nothing can be written. */
static inline bool race_plant(const struct race_stepper *stepper, uint64_t address, long *word)
{
	errno = 0;
	*word = ptrace(PTRACE_PEEKTEXT, stepper->pid, (void *)address, NULL);
	return !errno && ptrace(PTRACE_POKETEXT, stepper->pid, (void *)address,
				(void *)(((unsigned long)*word & ~0xfful) | RACE_BREAKPOINT)) == 0;
}

/* Runs to a breakpoint; false if the process stops elsewhere, behind its call. */
static inline bool race_run_to(const struct race_stepper *stepper, uint64_t address, long word)
{
	race_stepper_run(stepper);

	struct user_regs_struct registers = race_registers(stepper);
	bool there = registers.rip == address + 1;

	assert_int_equal(ptrace(PTRACE_POKETEXT, stepper->pid, (void *)address, (void *)word), 0);
	if (there) {
		registers.rip = address;
		assert_int_equal(ptrace(PTRACE_SETREGS, stepper->pid, NULL, &registers), 0);
	}
	return there;
}

/*
 * From rest: makes the next call and stops it after so many instructions. false: it went another
 * way, and the process rests again.
 */
static inline bool race_stepper_stop(const struct race_stepper *stepper, size_t instructions)
{
	uint64_t address = stepper->addresses[instructions];
	size_t visit = 1;
	bool there = true;
	long word;

	for (size_t i = 0; i < instructions; i++)
		visit += stepper->addresses[i] == address;
	race_stepper_run(stepper);
	if (!race_plant(stepper, address, &word)) {
		race_stepper_run(stepper);
		there = false;
	} else {
		there = race_run_to(stepper, address, word);
	}
	while (there && --visit > 0) {
		assert_true(race_stepper_step(stepper));
		assert_true(race_plant(stepper, address, &word));
		there = race_run_to(stepper, address, word);
	}
	if (!there)
		race_stepper_run(stepper);
	return there;
}

/* The same by stepping, which always gets as far unless the call is over before. */
static inline bool race_stepper_stop_stepping(const struct race_stepper *stepper,
					      size_t instructions)
{
	race_stepper_run(stepper);
	for (size_t i = 0; i < instructions; i++)
		if (!race_stepper_step(stepper)) {
			race_stepper_run(stepper);
			return false;
		}
	return true;
}

/* The stopped call goes on to its end, and the process to its rest. */
static inline void race_stepper_go_on(const struct race_stepper *stepper)
{
	race_stepper_run(stepper);
	race_stepper_run(stepper);
}

static inline void race_stepper_end(struct race_stepper *stepper)
{
	scene_kill(stepper->pid);
	free(stepper->addresses);
}

#else

static inline const char *race_stepper_unavailable(void)
{
	return "instructions are stepped on x86-64 alone";
}

static inline void race_stepper_begin(struct race_stepper *stepper, struct race_call *call)
{
	(void)stepper;
	(void)call;
}

static inline void race_stepper_call(const struct race_stepper *stepper)
{
	(void)stepper;
}

static inline void race_stepper_record(struct race_stepper *stepper)
{
	(void)stepper;
}

static inline bool race_stepper_step(const struct race_stepper *stepper)
{
	(void)stepper;
	return false;
}

static inline bool race_stepper_stop(const struct race_stepper *stepper, size_t instructions)
{
	(void)stepper;
	(void)instructions;
	return false;
}

static inline bool race_stepper_stop_stepping(const struct race_stepper *stepper,
					      size_t instructions)
{
	(void)stepper;
	(void)instructions;
	return false;
}

static inline void race_stepper_go_on(const struct race_stepper *stepper)
{
	(void)stepper;
}

static inline void race_stepper_end(struct race_stepper *stepper)
{
	(void)stepper;
}

#endif

/* From one place to stop at to the next: every instruction, unless that makes too many places. */
static inline size_t race_stride(const struct race_stepper *stepper, size_t places)
{
	return 1 + stepper->count / places;
}

#endif
