/* SPDX-License-Identifier: Apache-2.0
 *
 * Two kinds of signals. Those that end the program do so at once, from their handler, wherever
 * they meet it: the handler restores the terminal by functions that may be called there and
 * raises the signal again. Those that the program lives through are blocked but while it waits,
 * so that nothing is missed between a look at their flags and the wait.
 *
 * Of ncurses this takes terminfo alone. A screen of two dozen lines a second needs no optimizer,
 * and frame.h makes lines that are tested as text; curses would own the screen, the signals and
 * the ways out, which are what matters here.
 */
#include "terminal.h"

#include <errno.h>
#include <langinfo.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define NCURSES_NOMACROS
#include <curses.h>
#include <term.h>

#define LEAVE_BYTES 256
#define SCREEN_BUFFER_BYTES 65536

static const int deadly[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGABRT,
			     SIGBUS, SIGFPE,  SIGILL, SIGSEGV, SIGPIPE};
static const int survived[] = {SIGWINCH, SIGTSTP, SIGCONT};

#define DEADLY (sizeof(deadly) / sizeof(deadly[0]))
#define SURVIVED (sizeof(survived) / sizeof(survived[0]))

/* What a handler needs; written before the handlers are there. */
static struct {
	volatile sig_atomic_t taken; /* the terminal is in our modes */
	struct termios before;
	struct termios ours;
	char leave[LEAVE_BYTES];
	size_t leave_bytes;
} state;

static volatile sig_atomic_t resized, stopped, continued;
static sigset_t mask_before;
static struct sigaction actions_before[DEADLY + SURVIVED];

/* ---- capabilities ---- */

/* A string of the terminal's; "" where it has none. */
static const char *capability(const char *name)
{
	const char *text = tigetstr(name);

	return text && text != (char *)-1 ? text : "";
}

static void put(const char *text)
{
	if (text && text[0])
		tputs(text, 1, putchar);
}

static int leave_byte(int byte)
{
	if (state.leave_bytes < sizeof(state.leave))
		state.leave[state.leave_bytes++] = (char)byte;
	return byte;
}

/* The bytes that give the screen back, made beforehand: a handler cannot make them. */
static void prepare_leave(void)
{
	const char *back = capability("rmcup");

	state.leave_bytes = 0;
	tputs(capability("sgr0"), 1, leave_byte);
	/* without a screen of our own, a clear one is left */
	if (!back[0])
		tputs(capability("clear"), 1, leave_byte);
	tputs(capability("cnorm"), 1, leave_byte);
	if (back[0])
		tputs(back, 1, leave_byte);
}

/* ---- taking over and leaving ---- */

/* In the background it is somebody else's, who has set it as they want it. For handlers, too. */
static bool is_ours_now(void)
{
	pid_t group = tcgetpgrp(STDIN_FILENO);

	return group < 0 || group == getpgrp();
}

/* For handlers, too. */
static void leave(void)
{
	if (!state.taken || !is_ours_now())
		return;
	state.taken = 0;

	ssize_t written = write(STDOUT_FILENO, state.leave, state.leave_bytes);

	(void)written; /* there is nothing left to be done about it */
	tcsetattr(STDIN_FILENO, TCSANOW, &state.before);
}

/* In the background the kernel stops the program here until it is in the foreground. */
static void take_over(void)
{
	state.taken = 1;
	tcsetattr(STDIN_FILENO, TCSANOW, &state.ours);
	put(capability("smcup"));
	put(capability("civis"));
	put(capability("clear"));
}

/* Gives the signal its default effect back first, so that a second one ends what hangs here. */
static void end_by(int signal)
{
	const struct sigaction by_default = {.sa_handler = SIG_DFL};
	sigset_t just_this;

	sigaction(signal, &by_default, NULL);
	leave();
	sigemptyset(&just_this);
	sigaddset(&just_this, signal);
	raise(signal);
	sigprocmask(SIG_UNBLOCK, &just_this, NULL);
	_exit(128 + signal); /* not reached */
}

static void note(int signal)
{
	if (signal == SIGWINCH)
		resized = 1;
	else if (signal == SIGTSTP)
		stopped = 1;
	else
		continued = 1;
}

/* Who started the program may have had it ignore some, which stays so: nohup. */
static void watch_signal(int signal, const struct sigaction *action, struct sigaction *before)
{
	sigaction(signal, NULL, before);
	if (before->sa_handler != SIG_IGN)
		sigaction(signal, action, NULL);
}

static void watch_signals(void)
{
	struct sigaction end = {.sa_handler = end_by, .sa_flags = SA_NODEFER};
	struct sigaction live = {.sa_handler = note, .sa_flags = SA_RESTART};
	sigset_t blocked;

	sigemptyset(&blocked);
	for (size_t i = 0; i < SURVIVED; i++) {
		watch_signal(survived[i], &live, &actions_before[DEADLY + i]);
		sigaddset(&blocked, survived[i]);
	}
	sigprocmask(SIG_BLOCK, &blocked, &mask_before);
	for (size_t i = 0; i < DEADLY; i++)
		watch_signal(deadly[i], &end, &actions_before[i]);
}

static void unwatch_signals(void)
{
	for (size_t i = 0; i < DEADLY; i++)
		sigaction(deadly[i], &actions_before[i], NULL);
	for (size_t i = 0; i < SURVIVED; i++)
		sigaction(survived[i], &actions_before[DEADLY + i], NULL);
	sigprocmask(SIG_SETMASK, &mask_before, NULL);
}

const char *terminal_open(struct terminal *terminal, bool colour)
{
	const char *name = getenv("TERM");
	int error;

	*terminal = (struct terminal){.stale = true};
	if (!isatty(STDOUT_FILENO))
		return "standard output is no terminal";
	if (tcgetattr(STDIN_FILENO, &state.before) < 0)
		return "standard input is no terminal";
	if (!name || !name[0] || setupterm(name, STDOUT_FILENO, &error) != OK)
		return "TERM names no terminal that terminfo knows";
	if (!capability("cup")[0] || !capability("clear")[0] || !capability("el")[0]) {
		del_curterm(cur_term);
		return "a terminal of this kind (TERM) cannot move its cursor";
	}
	terminal->colour = colour && tigetnum("colors") >= 8 && capability("setaf")[0];
	state.ours = state.before;
	/* keys one by one and unseen; ^C and ^Z stay signals, ^S and ^Q are keys */
	state.ours.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	state.ours.c_iflag &= ~(tcflag_t)(IXON | ICRNL);
	state.ours.c_cc[VMIN] = 1;
	state.ours.c_cc[VTIME] = 0;
	prepare_leave();
	setvbuf(stdout, NULL, _IOFBF, SCREEN_BUFFER_BYTES);
	watch_signals();
	take_over();
	return NULL;
}

void terminal_close(struct terminal *terminal)
{
	fflush(stdout);
	leave();
	unwatch_signals();
	canvas_free(&terminal->drawn);
	del_curterm(cur_term);
}

void terminal_size(unsigned *width, unsigned *height)
{
	struct winsize size;
	bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col && size.ws_row;

	*width = known ? size.ws_col : 80;
	*height = known ? size.ws_row : 24;
}

bool terminal_is_utf8(void)
{
	return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

/* ---- drawing ---- */

enum { GREEN = 2, YELLOW = 3, CYAN = 6, RED = 1 };

static void put_colour(const struct terminal *terminal, int colour)
{
	if (terminal->colour)
		put(tiparm(capability("setaf"), colour));
}

static void put_style(const struct terminal *terminal, enum style style)
{
	put(capability("sgr0"));
	switch (style) {
	case STYLE_TITLE:
		put(capability("rev"));
		break;
	case STYLE_STRONG:
		put(capability("bold"));
		break;
	case STYLE_GOOD:
		put_colour(terminal, GREEN);
		break;
	case STYLE_WARN:
		put_colour(terminal, YELLOW);
		break;
	case STYLE_BAD:
		put(capability("bold"));
		put_colour(terminal, RED);
		break;
	case STYLE_TREND:
		put_colour(terminal, CYAN);
		break;
	case STYLE_PLAIN:
	case STYLE_END:
		break;
	}
}

static bool is_style(char byte)
{
	return byte >= STYLE_PLAIN && byte < STYLE_END;
}

/* The rest of the line is erased first: behind a full line that would take its last column. */
static void put_line(const struct terminal *terminal, const char *line, unsigned at)
{
	put(tiparm(capability("cup"), (int)at, 0));
	put(capability("el"));
	for (; *line; line++) {
		if (is_style(*line))
			put_style(terminal, (enum style)line[0]);
		else
			putchar(*line);
	}
}

bool terminal_draw(struct terminal *terminal, const struct canvas *canvas)
{
	struct canvas *drawn = &terminal->drawn;
	bool all =
		terminal->stale || drawn->width != canvas->width || drawn->height != canvas->height;

	if (all) {
		if (!canvas_resize(drawn, canvas->width, canvas->height))
			return false;
		put(capability("sgr0"));
		put(capability("clear"));
	}
	for (unsigned i = 0; i < canvas->height; i++) {
		if (strcmp(canvas_line(drawn, i), canvas_line(canvas, i)) == 0)
			continue;
		put_line(terminal, canvas_line(canvas, i), i);
		memcpy(canvas_line(drawn, i), canvas_line(canvas, i), canvas->stride);
	}
	terminal->stale = false;
	return fflush(stdout) == 0;
}

/* ---- waiting ---- */

/* Stops as it would have without us, with the terminal as it was; goes on when continued. */
static void stop(void)
{
	const struct sigaction by_default = {.sa_handler = SIG_DFL};
	struct sigaction ours;
	sigset_t just_this;

	fflush(stdout);
	leave();
	sigaction(SIGTSTP, &by_default, &ours);
	sigemptyset(&just_this);
	sigaddset(&just_this, SIGTSTP);
	raise(SIGTSTP);
	sigprocmask(SIG_UNBLOCK, &just_this, NULL); /* it stops here */
	sigprocmask(SIG_BLOCK, &just_this, NULL);
	sigaction(SIGTSTP, &ours, NULL);
}

static bool has_changed(struct terminal *terminal)
{
	bool changed = resized || stopped || continued;

	if (stopped)
		stop();
	/* also after a SIGSTOP that nobody could notice: whoever had the terminal meanwhile may
	 * have changed its modes */
	if (stopped || continued)
		take_over();
	terminal->stale |= stopped || continued;
	resized = stopped = continued = 0;
	return changed;
}

enum terminal_event terminal_wait(struct terminal *terminal, uint64_t for_ns,
				  unsigned char bytes[TERMINAL_BYTES_MOST], size_t *count)
{
	const struct timespec time = {(time_t)(for_ns / 1000000000u), (long)(for_ns % 1000000000u)};
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
	int ready = ppoll(&input, 1, &time, &mask_before);

	if (has_changed(terminal))
		return TERMINAL_CHANGED;
	if (ready <= 0)
		return ready == 0 || errno == EINTR ? TERMINAL_TIME : TERMINAL_GONE;

	ssize_t got = read(STDIN_FILENO, bytes, TERMINAL_BYTES_MOST);

	if (got <= 0)
		return got < 0 && errno == EINTR ? TERMINAL_TIME : TERMINAL_GONE;
	*count = (size_t)got;
	return TERMINAL_BYTES;
}
