/* SPDX-License-Identifier: Apache-2.0 */
#include "crew.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "draw.h"
#include "time_source.h"

#define REPORT_EVERY_NS 100000000ull
#define SLEEP_MOST_NS 1000000000ull
#define AGAIN_NS 100000000ull /* after a refusal that names no time */

/* One message; shorter than PIPE_BUF, so it arrives whole. */
struct report {
	uint32_t worker;
	int32_t fault;
	uint64_t granted;
};

static uint64_t now_ns(void)
{
	return time_source_kernel_ns(CLOCK_MONOTONIC);
}

static void sleep_ns(uint64_t ns)
{
	const struct timespec pause = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};

	nanosleep(&pause, NULL);
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* ---- a worker ---- */

/* A parent that is gone ends the worker by SIGPIPE. */
static void send_report(int fd, const struct report *report)
{
	ssize_t sent;

	do {
		sent = write(fd, report, sizeof(*report));
	} while (sent < 0 && errno == EINTR);
}

/* One call; then sleeps, if it was refused. Returns false when going on is no use. */
static bool draw_once(struct draw *draw, const struct crew_plan *plan, uint64_t left_ns,
		      struct report *report)
{
	uint64_t pause;

	if (plan->no_queue)
		draw->verdict = weir_acquire(draw->endpoint, draw->cost, &draw->answer);
	else
		draw->verdict = weir_wait(draw->endpoint, draw->cost, left_ns, &draw->answer);
	if (draw->answer.fault)
		report->fault = draw->answer.fault;
	if (draw->verdict == WEIR_ADMIT) {
		report->granted++;
		return true;
	}
	if (report->fault == WEIR_EBURST || report->fault == WEIR_ECOST)
		return false;
	/* the rate may be raised or the endpoint opened while it sleeps */
	pause = plan->no_queue ? smaller(draw->answer.wait_ns, SLEEP_MOST_NS) : AGAIN_NS;
	sleep_ns(smaller(pause, left_ns));
	return true;
}

static void draw_until(struct draw *draw, const struct crew_plan *plan, int reports,
		       struct report *report)
{
	uint64_t now = now_ns();
	uint64_t until = now + plan->for_ns;
	uint64_t next_report = now + REPORT_EVERY_NS;

	while (now < until && draw_once(draw, plan, until - now, report)) {
		now = now_ns();
		if (now < next_report)
			continue;
		send_report(reports, report);
		next_report = now + REPORT_EVERY_NS;
	}
}

/* Never returns. */
static void worker_main(const struct crew_plan *plan, uint32_t index, int reports, int barrier)
{
	struct draw draw = {.name = plan->name, .cost = plan->cost};
	struct report report = {.worker = index};
	char byte;

	/* what ends the parent ends the worker; Ctrl-C is the parent's to answer */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_DFL);
	report.fault = draw_attach(&draw, plan->ctl);
	send_report(reports, &report);
	if (report.fault < 0)
		_exit(CTL_CANNOT);
	while (read(barrier, &byte, 1) < 0 && errno == EINTR)
		;
	draw_until(&draw, plan, reports, &report);
	draw_close(&draw);
	send_report(reports, &report);
	_exit(report.fault < 0 ? CTL_CANNOT : CTL_DONE);
}

/* ---- the parent ---- */

static int open_pipes(int reports[2], int barrier[2])
{
	if (pipe2(reports, O_CLOEXEC) < 0)
		return -errno;
	if (pipe2(barrier, O_CLOEXEC) < 0) {
		int error = -errno;

		close(reports[0]);
		close(reports[1]);
		return error;
	}
	return 0;
}

static int hire_one(struct crew *crew, const struct crew_plan *plan, const int reports[2],
		    const int barrier[2])
{
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		close(reports[0]);
		close(barrier[1]);
		worker_main(plan, crew->count, reports[1], barrier[0]);
	}
	crew->workers[crew->count++].pid = pid;
	return 0;
}

int crew_hire(struct crew *crew, unsigned count, const struct crew_plan *plan)
{
	int reports[2] = {-1, -1};
	int barrier[2] = {-1, -1};
	int error;

	*crew = (struct crew){.reports = -1, .barrier = -1};
	crew->workers = calloc(count, sizeof(*crew->workers));
	if (!crew->workers)
		return -ENOMEM;
	error = open_pipes(reports, barrier);
	if (error < 0) {
		crew_free(crew);
		return error;
	}
	for (unsigned i = 0; i < count && error == 0; i++)
		error = hire_one(crew, plan, reports, barrier);
	/* only workers write, so that the end of all of them is the end of the pipe */
	close(reports[1]);
	close(barrier[0]);
	crew->reports = reports[0];
	crew->barrier = barrier[1];
	if (error < 0) {
		crew_dismiss(crew, SIGKILL);
		crew_free(crew);
	}
	return error;
}

static void take_report(struct crew *crew, const struct report *report)
{
	struct crew_worker *worker;

	if (report->worker >= crew->count)
		return;
	worker = &crew->workers[report->worker];
	worker->granted = report->granted;
	worker->ready = true;
	if (report->fault < 0 && crew->fault == 0)
		crew->fault = report->fault;
}

/* Reads what is there; returns false at the end of the pipe. */
static bool read_reports(struct crew *crew)
{
	struct report reports[64];
	ssize_t got = read(crew->reports, reports, sizeof(reports));

	if (got < 0)
		return errno == EINTR || errno == EAGAIN;
	for (size_t i = 0; i < (size_t)got / sizeof(reports[0]); i++)
		take_report(crew, &reports[i]);
	return got > 0;
}

/* Whether something was there to read. */
static bool poll_reports(struct crew *crew, uint64_t for_ns)
{
	struct pollfd poll_fd = {.fd = crew->reports, .events = POLLIN};
	const struct timespec timeout = {(time_t)(for_ns / 1000000000u),
					 (long)(for_ns % 1000000000u)};

	/* after the end of the pipe this is a sleep */
	if (ppoll(&poll_fd, 1, &timeout, NULL) <= 0)
		return false;
	if (!read_reports(crew)) {
		close(crew->reports);
		crew->reports = -1;
	}
	return true;
}

/* Notices who has ended. */
static void take_ended(struct crew *crew)
{
	for (unsigned i = 0; i < crew->count; i++) {
		struct crew_worker *worker = &crew->workers[i];
		int status;

		if (worker->ended || waitpid(worker->pid, &status, WNOHANG) != worker->pid)
			continue;
		worker->ended = true;
		crew->ended++;
		crew->failed += WIFEXITED(status) && WEXITSTATUS(status) != CTL_DONE;
		if (WIFSIGNALED(status))
			worker->killed_by = WTERMSIG(status);
	}
}

static int64_t killed_untold(struct crew *crew)
{
	for (unsigned i = 0; i < crew->count; i++)
		if (crew->workers[i].killed_by && !crew->workers[i].told) {
			crew->workers[i].told = true;
			return i;
		}
	return -1;
}

static bool all_ready(const struct crew *crew)
{
	for (unsigned i = 0; i < crew->count; i++)
		if (!crew->workers[i].ready && !crew->workers[i].ended)
			return false;
	return true;
}

void crew_gather(struct crew *crew, uint64_t within_ns)
{
	uint64_t until = now_ns() + within_ns;

	while (!all_ready(crew) && crew->reports >= 0 && now_ns() < until) {
		poll_reports(crew, AGAIN_NS);
		take_ended(crew);
	}
}

void crew_begin(struct crew *crew)
{
	close(crew->barrier);
	crew->barrier = -1;
}

int64_t crew_attend(struct crew *crew, uint64_t for_ns)
{
	uint64_t until = now_ns() + for_ns;

	for (;;) {
		uint64_t now = now_ns();
		int64_t killed;

		take_ended(crew);
		killed = killed_untold(crew);
		if (killed >= 0)
			return killed;
		if (now >= until || (crew->ended == crew->count && crew->reports < 0))
			return -1;
		poll_reports(crew, until - now);
	}
}

void crew_dismiss(struct crew *crew, int signal)
{
	for (unsigned i = 0; i < crew->count; i++)
		if (!crew->workers[i].ended)
			kill(crew->workers[i].pid, signal);
}

void crew_free(struct crew *crew)
{
	for (unsigned i = 0; i < crew->count; i++)
		if (!crew->workers[i].ended)
			waitpid(crew->workers[i].pid, NULL, 0);
	if (crew->reports >= 0)
		close(crew->reports);
	if (crew->barrier >= 0)
		close(crew->barrier);
	free(crew->workers);
}
