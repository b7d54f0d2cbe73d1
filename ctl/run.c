/* SPDX-License-Identifier: Apache-2.0
 *
 * run NAME -- COMMAND - takes tokens, then becomes the command; with --permit it takes a permit as
 * well, stays, and holds it for as long as the command runs.
 */
#include "draw.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "text.h"

static enum ctl_exit no_command(const char *command, int error)
{
	ctl_complain("cannot run %s: %s", command, weir_strerror(-error));
	return error == ENOENT || error == ENOTDIR ? CTL_NO_COMMAND : CTL_NO_EXEC;
}

static enum ctl_exit run_instead(struct ctl *ctl)
{
	char **command = ctl->args.operands + 1;
	char sentence[DRAW_SENTENCE_BYTES];
	struct draw draw;
	enum ctl_exit status = draw_take(&draw, ctl, WEIR_FOREVER);

	if (status == CTL_CANNOT)
		return status;
	draw_close(&draw);
	if (status == CTL_REFUSED) {
		ctl_complain("%s refused, %s was not run: %s", draw.name, command[0],
			     draw_refusal(&draw, sentence));
		return status;
	}
	fflush(NULL);
	execvp(command[0], command);
	return no_command(command[0], errno);
}

/* ---- with a permit ---- */

/* What is passed on. Those of job control stop and continue both by themselves. */
static const int passed_on[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM};

static void signals_to_wait_for(sigset_t *out)
{
	sigemptyset(out);
	sigaddset(out, SIGCHLD);
	for (size_t i = 0; i < sizeof(passed_on) / sizeof(passed_on[0]); i++)
		sigaddset(out, passed_on[i]);
}

/* In the child; says why it is none by writing errno to `told`. */
static void become(char **command, bool keep_running, pid_t parent, const sigset_t *mask, int told)
{
	int error;
	ssize_t written;

	/* when weirctl is killed, its permit is gone, and so should be who had it */
	if (!keep_running) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		if (getppid() != parent)
			_exit(128 + SIGTERM);
	}
	sigprocmask(SIG_SETMASK, mask, NULL);
	execvp(command[0], command);
	error = errno;
	written = write(told, &error, sizeof(error));
	_exit(written == sizeof(error) ? CTL_NO_EXEC : CTL_NO_COMMAND);
}

/* Waits for the command, and passes on what is sent to weirctl meanwhile. */
static int wait_for(pid_t child, const sigset_t *signals)
{
	siginfo_t info;
	int status;

	for (;;) {
		pid_t found = waitpid(child, &status, WNOHANG);

		if (found == child)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		if (found < 0 && errno != EINTR)
			return CTL_CANNOT;
		if (sigwaitinfo(signals, &info) < 0 || info.si_signo == SIGCHLD)
			continue;
		/* the terminal has told the command itself */
		if (info.si_code != SI_KERNEL)
			kill(child, info.si_signo);
	}
}

/* Runs the command and returns its status, or what is wrong with it. */
static int run_beside(char **command, bool keep_running)
{
	sigset_t signals, before;
	pid_t parent = getpid(), child;
	int told[2], error = 0, status;

	if (pipe2(told, O_CLOEXEC) < 0)
		return (int)ctl_complain("%s", weir_strerror(-errno));
	signals_to_wait_for(&signals);
	sigprocmask(SIG_BLOCK, &signals, &before);
	fflush(NULL);
	child = fork();
	if (child == 0)
		become(command, keep_running, parent, &before, told[1]);
	close(told[1]);
	if (child < 0) {
		close(told[0]);
		return (int)ctl_complain("%s", weir_strerror(-errno));
	}
	status = wait_for(child, &signals);
	if (read(told[0], &error, sizeof(error)) == sizeof(error))
		status = (int)no_command(command[0], error);
	close(told[0]);
	return status;
}

static enum ctl_exit enter(struct draw *draw, struct ctl *ctl, struct weir_permit *permit)
{
	int status;

	*draw = (struct draw){.name = ctl_name(ctl), .cost = 1, .wait_ns = WEIR_FOREVER};
	if (!draw->name || !ctl_cost(ctl, &draw->cost) || !ctl_class(ctl) ||
	    !ctl_duration(ctl, OPTION_WAIT, true, &draw->wait_ns))
		return CTL_CANNOT;
	status = draw_attach(draw, ctl);
	if (status < 0)
		return draw_complain(ctl, status);
	draw->verdict =
		weir_enter(draw->endpoint, draw->cost, draw->wait_ns, permit, &draw->answer);
	if (draw->answer.fault == 0 || draw->answer.fault == WEIR_EWAITERS)
		return draw->verdict == WEIR_ADMIT ? CTL_DONE : CTL_REFUSED;
	draw_close(draw);
	return ctl_complain("%s: %s", draw->name, weir_strerror(draw->answer.fault));
}

/* Whether it was for want of a permit, as far as that can be seen afterwards. */
static bool lacks_permit(const struct draw *draw)
{
	struct weir_permits look = {.size = sizeof(look)};

	if (draw->answer.reason == WEIR_REASON_PERMIT || draw->answer.fault)
		return true;
	return draw->answer.reason == WEIR_REASON_DEADLINE &&
	       weir_permit_look(draw->endpoint, &look) == 0 && look.free == 0;
}

static void complain_refused(const struct draw *draw, const char *command)
{
	char sentence[DRAW_SENTENCE_BYTES], wait[TEXT_BYTES];

	if (draw->answer.fault)
		snprintf(sentence, sizeof(sentence), "%s", weir_strerror(draw->answer.fault));
	else if (lacks_permit(draw) && draw->wait_ns)
		snprintf(sentence, sizeof(sentence), "no permit was free within %s",
			 text_duration(draw->wait_ns, wait));
	else
		draw_refusal(draw, sentence);
	ctl_complain("%s refused, %s was not run: %s", draw->name, command, sentence);
}

static int run_with_permit(struct ctl *ctl)
{
	char **command = ctl->args.operands + 1;
	struct weir_permit permit;
	struct draw draw;
	enum ctl_exit status = enter(&draw, ctl, &permit);
	int ended;

	if (status == CTL_CANNOT)
		return (int)status;
	if (status == CTL_REFUSED) {
		complain_refused(&draw, command[0]);
		draw_close(&draw);
		return (int)status;
	}
	ended = run_beside(command, ctl->args.values[OPTION_KEEP_RUNNING] != NULL);
	if (weir_permit_release(draw.endpoint, &permit) == WEIR_EEXPIRED)
		ctl_complain("%s: %s ran for longer than max_hold, and others may have run beside "
			     "it",
			     draw.name, command[0]);
	draw_close(&draw);
	return ended;
}

enum ctl_exit command_run(struct ctl *ctl)
{
	if (ctl->args.values[OPTION_PERMIT])
		return (enum ctl_exit)run_with_permit(ctl);
	if (ctl->args.values[OPTION_KEEP_RUNNING])
		return ctl_misuse(ctl, "--keep-running goes with --permit");
	return run_instead(ctl);
}
