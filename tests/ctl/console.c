/* SPDX-License-Identifier: Apache-2.0 */
#include "console.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "stage.h"

#define STEP_MS 20
#define STEPS (CONSOLE_PATIENCE_S * 1000 / STEP_MS)

/* What the shell tells. */
struct report {
	pid_t pid;
	int status; /* -1: it has begun */
};

/* ---- the other side ---- */

static void set_environment(const char *const *settings)
{
	for (; *settings; settings++) {
		const char *equals = strchr(*settings, '=');
		char name[64];

		if (!equals) {
			unsetenv(*settings);
			continue;
		}
		snprintf(name, sizeof(name), "%.*s", (int)(equals - *settings), *settings);
		setenv(name, equals + 1, 1);
	}
}

static pid_t start_job(const char *const *settings, const char *const *argv)
{
	const struct rlimit no_core = {0, 0};
	pid_t pid = fork();

	if (pid != 0) {
		setpgid(pid, pid);
		tcsetpgrp(STDIN_FILENO, pid);
		return pid;
	}
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	tcsetpgrp(STDIN_FILENO, getpid());
	signal(SIGTTOU, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	setrlimit(RLIMIT_CORE, &no_core);
	set_environment(settings);
	execv(argv[0], (char *const *)(uintptr_t)argv);
	_exit(99);
}

/* A shell with one job: what it is for is job control. */
static void be_shell(const struct console *console, const int reports[2], const int orders[2],
		     const char *const *settings, const char *const *argv)
{
	struct report report = {.status = -1};
	char order;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setsid();
	ioctl(console->program, TIOCSCTTY, 0);
	dup2(console->program, STDIN_FILENO);
	dup2(console->program, STDOUT_FILENO);
	dup2(console->program, STDERR_FILENO);
	signal(SIGTTOU, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	close(console->terminal);
	close(console->program);
	close(reports[0]);
	close(orders[1]);
	fcntl(reports[1], F_SETFD, FD_CLOEXEC);
	fcntl(orders[0], F_SETFD, FD_CLOEXEC);
	report.pid = start_job(settings, argv);
	do {
		if (write(reports[1], &report, sizeof(report)) < 0)
			_exit(1);
		if (WIFSTOPPED(report.status) && report.status != -1) {
			tcsetpgrp(STDIN_FILENO, getpgrp());
			if (read(orders[0], &order, 1) <= 0)
				_exit(1);
			tcsetpgrp(STDIN_FILENO, report.pid);
			kill(-report.pid, SIGCONT);
		}
	} while (waitpid(report.pid, &report.status, WUNTRACED) == report.pid &&
		 WIFSTOPPED(report.status));
	if (write(reports[1], &report, sizeof(report)) < 0)
		_exit(1);
	_exit(0);
}

/* ---- this side ---- */

static bool has_report(struct console *console, struct report *report)
{
	struct pollfd ready = {.fd = console->reports, .events = POLLIN};

	return poll(&ready, 1, 0) > 0 && read(console->reports, report, sizeof(*report)) > 0;
}

void console_begin(struct console *console, unsigned width, unsigned height,
		   const char *const *settings, const char *const *argv)
{
	struct winsize size = {.ws_col = (unsigned short)width, .ws_row = (unsigned short)height};
	int reports[2], orders[2];
	struct report report;

	assert_int_equal(openpty(&console->terminal, &console->program, NULL, NULL, &size), 0);
	assert_int_equal(pipe(reports), 0);
	assert_int_equal(pipe(orders), 0);
	assert_int_equal(tcgetattr(console->program, &console->before), 0);
	screen_begin(&console->screen, width, height);
	console->shell = fork();
	assert_true(console->shell >= 0);
	if (console->shell == 0)
		be_shell(console, reports, orders, settings, argv);
	close(reports[1]);
	close(orders[0]);
	console->reports = reports[0];
	console->orders = orders[1];
	assert_int_equal(read(console->reports, &report, sizeof(report)), sizeof(report));
	assert_int_equal(report.status, -1);
	console->pid = report.pid;
}

void console_end(struct console *console)
{
	/* closing the terminal hangs up on the job; what withstands that dies with the shell */
	close(console->terminal);
	close(console->program);
	close(console->orders);
	close(console->reports);
	kill(console->shell, SIGKILL);
	waitpid(console->shell, NULL, 0);
}

void console_type(struct console *console, const char *keys)
{
	assert_int_equal(write(console->terminal, keys, strlen(keys)), strlen(keys));
}

void console_resize(struct console *console, unsigned width, unsigned height)
{
	struct winsize size = {.ws_col = (unsigned short)width, .ws_row = (unsigned short)height};

	screen_resize(&console->screen, width, height);
	assert_int_equal(ioctl(console->terminal, TIOCSWINSZ, &size), 0);
}

void console_listen(struct console *console, unsigned ms)
{
	struct pollfd ready = {.fd = console->terminal, .events = POLLIN};
	char bytes[4096];
	ssize_t got;

	while (poll(&ready, 1, (int)ms) > 0) {
		got = read(console->terminal, bytes, sizeof(bytes));
		if (got <= 0) { /* nobody is there any more: the time passes all the same */
			poll(NULL, 0, (int)ms);
			return;
		}
		screen_write(&console->screen, bytes, (size_t)got);
		ms = 0;
	}
}

static void print_screen(const struct console *console)
{
	char row[SCREEN_ROW_BYTES];

	for (unsigned y = 0; y < console->screen.height; y++)
		print_message("|%s\n", screen_row(&console->screen, y, row));
}

void console_expect_that(struct console *console,
			 bool (*is_so)(const struct console *console, const void *context),
			 const void *context, const char *what)
{
	for (int i = 0; i < STEPS; i++) {
		console_listen(console, STEP_MS);
		if (is_so(console, context))
			break;
	}
	if (!is_so(console, context) || console->screen.fault[0]) {
		print_screen(console);
		fail_msg("not on the screen: %s %s", what, console->screen.fault);
	}
}

static bool has_text(const struct console *console, const void *text)
{
	return screen_find(&console->screen, text) >= 0;
}

static bool has_no_text(const struct console *console, const void *text)
{
	return screen_find(&console->screen, text) < 0;
}

void console_expect(struct console *console, const char *text)
{
	console_expect_that(console, has_text, text, text);
}

void console_expect_gone(struct console *console, const char *text)
{
	console_expect_that(console, has_no_text, text, "the end of a text");
}

int console_wait(struct console *console)
{
	struct report report;

	for (int i = 0; i < STEPS; i++) {
		console_listen(console, STEP_MS);
		if (has_report(console, &report)) {
			console_listen(console, 0);
			return report.status;
		}
	}
	print_screen(console);
	fail_msg("the program goes on");
	return -1;
}

void console_continue(struct console *console)
{
	assert_int_equal(write(console->orders, "", 1), 1);
}

void console_expect_restored(struct console *console)
{
	struct termios now;

	console_listen(console, 0);
	assert_int_equal(tcgetattr(console->program, &now), 0);
	assert_int_equal(now.c_iflag, console->before.c_iflag);
	assert_int_equal(now.c_oflag, console->before.c_oflag);
	assert_int_equal(now.c_cflag, console->before.c_cflag);
	assert_int_equal(now.c_lflag, console->before.c_lflag);
	assert_memory_equal(now.c_cc, console->before.c_cc, sizeof(now.c_cc));
	assert_false(console->screen.alternate);
	assert_false(console->screen.hidden);
	assert_string_equal(console->screen.fault, "");
}
