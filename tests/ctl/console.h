/* SPDX-License-Identifier: Apache-2.0
 *
 * console.h - a program on a terminal of its own, as under a shell: it is a job that can be typed
 * to, stopped, continued and ended by keys.
 *
 * Every wait is bounded. The program dies with the test.
 */
#ifndef CTL_CONSOLE_H
#define CTL_CONSOLE_H

#include <stdbool.h>
#include <sys/types.h>
#include <termios.h>

#include "screen.h"

#define CONSOLE_PATIENCE_S 60

struct console {
	int terminal; /* the side of the keyboard and the screen */
	int program;  /* the side of the program, kept open to look at its modes */
	pid_t shell; /* what a shell is to a job; it tells of changes and gives back the terminal */
	pid_t pid;
	int reports;
	int orders;
	struct termios before;
	struct screen screen;
};

/*
 * Runs argv[0] (NULL-terminated) with the environment of the test and these settings ("A=1", NULL
 * at the end; "A" is taken away) on a terminal of that size.
 */
void console_begin(struct console *console, unsigned width, unsigned height,
		   const char *const *settings, const char *const *argv);

/* Ends what is left of it. */
void console_end(struct console *console);

void console_type(struct console *console, const char *keys);
void console_resize(struct console *console, unsigned width, unsigned height);

/* Waits until a line has the text in it, or none has any more; fails the test if that never is. */
void console_expect(struct console *console, const char *text);
void console_expect_gone(struct console *console, const char *text);

/* Waits until `is_so` says so; `what` is for the message. */
void console_expect_that(struct console *console,
			 bool (*is_so)(const struct console *console, const void *context),
			 const void *context, const char *what);

/* Reads what comes for so long. */
void console_listen(struct console *console, unsigned ms);

/* Waits until the job has stopped or ended; its status as waitpid() has it. */
int console_wait(struct console *console);

/* Puts the stopped job into the foreground again. */
void console_continue(struct console *console);

/* Fails the test unless the terminal is as it was before the program, and the screen as well. */
void console_expect_restored(struct console *console);

#endif
