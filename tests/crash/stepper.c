/* SPDX-License-Identifier: Apache-2.0 */
#include "stepper.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define STEPS_MAX 1000000u
#define DENIED 99

#if defined(__x86_64__)

#define BREAKPOINT_BYTE 0xccul

/* The child stops here for its tracer: before the call, and behind it. */
static void stop_here(void)
{
	__asm__ volatile("int3" ::: "memory");
}

static void give_up(const char *what)
{
	fprintf(stderr, "stepper: %s: %s\n", what, strerror(errno));
	abort();
}

static void run_child(const struct stepper_call *call)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		_exit(DENIED);
	call->prepare(call->context);
	stop_here();
	call->call(call->context);
	stop_here();
	_exit(0);
}

/* Waits for a stop of the child; false if it is gone. */
static bool wait_stop(pid_t child, int *signal_number)
{
	int status;

	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			give_up("waitpid");
	if (!WIFSTOPPED(status)) {
		*signal_number = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
		return false;
	}
	*signal_number = WSTOPSIG(status);
	return true;
}

static cpu_set_t all_processors;

/*
 * Of a tracer and its child one runs at a time: on one processor, where they are now, neither waits
 * until another one has woken. Until the child is gone; without the permission it is slower.
 */
static void stay_here(void)
{
	int processor = sched_getcpu();
	cpu_set_t here;

	if (processor < 0 || sched_getaffinity(0, sizeof(all_processors), &all_processors) < 0)
		return;
	CPU_ZERO(&here);
	CPU_SET((size_t)processor, &here);
	sched_setaffinity(0, sizeof(here), &here);
}

/* A child that stands before its call. */
static pid_t start_child(const struct stepper_call *call)
{
	stay_here();

	pid_t child =
		call->bare ? (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL) : fork();
	int signal_number;

	if (child < 0)
		give_up("fork");
	if (child == 0)
		run_child(call);
	if (!wait_stop(child, &signal_number) || signal_number != SIGTRAP) {
		errno = signal_number == DENIED ? EPERM : EPROTO;
		give_up("a child that does not come to its call");
	}
	return child;
}

static void kill_child(pid_t child)
{
	int signal_number;

	if (kill(child, SIGKILL) < 0)
		give_up("kill");
	while (wait_stop(child, &signal_number))
		;
	if (CPU_COUNT(&all_processors) > 0)
		sched_setaffinity(0, sizeof(all_processors), &all_processors);
}

static struct user_regs_struct registers_of(pid_t child)
{
	struct user_regs_struct registers;

	if (ptrace(PTRACE_GETREGS, child, NULL, &registers) < 0)
		give_up("PTRACE_GETREGS");
	return registers;
}

/* The next stop; false if there is none. */
static bool next_stop(pid_t child, long resumed)
{
	int signal_number;

	if (resumed < 0)
		give_up("ptrace");
	return wait_stop(child, &signal_number) && signal_number == SIGTRAP;
}

static bool make_step(pid_t child)
{
	return next_stop(child, ptrace(PTRACE_SINGLESTEP, child, NULL, NULL));
}

static bool run_on(pid_t child)
{
	return next_stop(child, ptrace(PTRACE_CONT, child, NULL, NULL));
}

/* Whether the stop was for an int3, ours or a breakpoint, rather than for a step. */
static bool stopped_by_int3(pid_t child)
{
	siginfo_t info;

	if (ptrace(PTRACE_GETSIGINFO, child, NULL, &info) < 0)
		give_up("PTRACE_GETSIGINFO");
	return info.si_code == SI_KERNEL;
}

const char *stepper_unavailable(void)
{
	static const char *const denied = "ptrace is not permitted here";
	pid_t child = fork();
	int status;

	if (child < 0)
		give_up("fork");
	if (child == 0)
		_exit(ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0 ? DENIED : 0);
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			give_up("waitpid");
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? NULL : denied;
}

/* A place of a trace. */
struct place {
	uint64_t address;
	size_t index;
};

static int compare_places(const void *a, const void *b)
{
	const struct place *left = a;
	const struct place *right = b;

	if (left->address != right->address)
		return left->address < right->address ? -1 : 1;
	return left->index < right->index ? -1 : 1;
}

static size_t *find_before(const uint64_t *addresses, size_t count)
{
	struct place *places = malloc(count * sizeof(*places));
	size_t *before = calloc(count, sizeof(*before));

	if (!places || !before)
		give_up("a reference run");
	for (size_t i = 0; i < count; i++)
		places[i] = (struct place){addresses[i], i};
	qsort(places, count, sizeof(*places), compare_places);
	for (size_t i = 1; i < count; i++)
		if (places[i].address == places[i - 1].address)
			before[places[i].index] = places[i - 1].index + 1;
	free(places);
	return before;
}

bool stepper_record(const struct stepper_call *call, struct stepper_trace *out)
{
	uint64_t *addresses = malloc(STEPS_MAX * sizeof(*addresses));
	bool *changes = calloc(STEPS_MAX, sizeof(*changes));
	pid_t child = start_child(call);
	size_t count = 0;
	bool ended = false;

	if (!addresses || !changes)
		give_up("a reference run");
	while (count < STEPS_MAX && !ended) {
		addresses[count++] = registers_of(child).rip;
		if (!make_step(child))
			give_up("a child that dies of itself");
		changes[count - 1] = call->changed && call->changed(call->context);
		ended = stopped_by_int3(child);
	}
	kill_child(child);
	if (!ended) {
		free(addresses);
		free(changes);
		return false;
	}
	/* the last address, beyond the count, is that of the int3 behind the call */
	*out = (struct stepper_trace){addresses, find_before(addresses, count), changes, count - 1,
				      0};
	return true;
}

void stepper_free(struct stepper_trace *trace)
{
	free(trace->addresses);
	free(trace->before);
	free(trace->changes);
	*trace = (struct stepper_trace){0};
}

/* The word at an address with its first byte replaced; false where nothing can be written. */
static bool plant(pid_t child, uint64_t address, long *word)
{
	errno = 0;
	*word = ptrace(PTRACE_PEEKTEXT, child, (void *)address, NULL);
	if (errno)
		return false;
	return ptrace(PTRACE_POKETEXT, child, (void *)address,
		      (void *)(((unsigned long)*word & ~0xfful) | BREAKPOINT_BYTE)) == 0;
}

static void unplant(pid_t child, uint64_t address, long word)
{
	struct user_regs_struct registers = registers_of(child);

	if (ptrace(PTRACE_POKETEXT, child, (void *)address, (void *)word) < 0)
		give_up("PTRACE_POKETEXT");
	registers.rip = address;
	if (ptrace(PTRACE_SETREGS, child, NULL, &registers) < 0)
		give_up("PTRACE_SETREGS");
}

/*
 * The last place up to `to` whose address is not passed on the way there from `at`, the next to be
 * executed; 0: there is none, since the same instruction is executed once more.
 */
static size_t next_halt(const struct stepper_trace *trace, size_t at, size_t to)
{
	while (to > at && trace->before[to] > at)
		to--;
	return to > at ? to : 0;
}

/* Plants a breakpoint at the last place that can have one (the vdso cannot); 0: there is none. */
static size_t plant_next(pid_t child, const struct stepper_trace *trace, size_t at, size_t to,
			 long *word)
{
	size_t halt = next_halt(trace, at, to);

	while (halt && !plant(child, trace->addresses[halt], word))
		halt = next_halt(trace, at, halt - 1);
	return halt;
}

/* From breakpoint to breakpoint. false: it goes another way. */
static bool run_to(pid_t child, const struct stepper_trace *trace, size_t to)
{
	size_t at = 0;

	while (at < to) {
		long word;
		size_t halt = plant_next(child, trace, at, to, &word);

		if (!halt) {
			if (!make_step(child))
				return false;
			at++;
			continue;
		}
		if (!run_on(child) || registers_of(child).rip != trace->addresses[halt] + 1)
			return false;
		unplant(child, trace->addresses[halt], word);
		at = halt;
	}
	return true;
}

bool stepper_kill_running(const struct stepper_call *call, struct stepper_trace *trace,
			  size_t instructions)
{
	pid_t child = start_child(call);
	bool there = run_to(child, trace, instructions);

	kill_child(child);
	if (there)
		trace->reached = instructions;
	return there;
}

bool stepper_kill_stepping(const struct stepper_call *call, struct stepper_trace *trace,
			   size_t instructions)
{
	pid_t child = start_child(call);
	size_t at = trace->reached < instructions ? trace->reached : 0;
	bool there = run_to(child, trace, at);

	for (; at < instructions && there; at++)
		there = make_step(child) && !stopped_by_int3(child);
	kill_child(child);
	if (!there)
		trace->reached = 0;
	return there;
}

#else

const char *stepper_unavailable(void)
{
	return "instructions are stepped on x86-64 alone";
}

bool stepper_record(const struct stepper_call *call, struct stepper_trace *out)
{
	(void)call;
	(void)out;
	return false;
}

void stepper_free(struct stepper_trace *trace)
{
	(void)trace;
}

bool stepper_kill_running(const struct stepper_call *call, struct stepper_trace *trace,
			  size_t instructions)
{
	(void)call;
	(void)trace;
	(void)instructions;
	return false;
}

bool stepper_kill_stepping(const struct stepper_call *call, struct stepper_trace *trace,
			   size_t instructions)
{
	(void)call;
	(void)trace;
	(void)instructions;
	return false;
}

#endif
