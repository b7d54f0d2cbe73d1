/* SPDX-License-Identifier: Apache-2.0
 *
 * ctl.h - what all commands of weirctl share: the command line as it was understood, the place
 * it speaks of, and how a command ends.
 */
#ifndef WEIRCTL_CTL_H
#define WEIRCTL_CTL_H

#include <stdbool.h>

#include "options.h"
#include "place.h"

/* How weirctl ends. `run` ends as its command does, or with one of the last two. */
enum ctl_exit {
	CTL_DONE = 0,
	CTL_REFUSED = 1, /* not admitted; findings; above the limit */
	CTL_CANNOT = 2,	 /* usage, absent, no permission, fault */
	CTL_NO_EXEC = 126,
	CTL_NO_COMMAND = 127,
};

struct command;

struct ctl {
	const struct command *command;
	struct arguments args; /* operands are those of the command */
	struct place place;
	const char *shm_dir; /* as it was given; NULL: looked for */
	bool json;
};

/* A command: its line in the table is also its usage text. */
struct command {
	const char *name;
	const char *synopsis; /* what follows the name; completion.c reads it as well */
	const char *help;     /* one line, no full stop */
	const char *details;  /* sentences for `weirctl help NAME`, or NULL */
	uint64_t options;     /* OPTION_BIT()s beside the global ones */
	int operands_min;
	int operands_max;
	bool command_follows; /* what comes after the first operand is somebody else's command */
	enum ctl_exit (*run)(struct ctl *ctl);
};

extern const struct command commands[]; /* ends with a NULL name */

enum ctl_exit command_list(struct ctl *ctl);
enum ctl_exit command_show(struct ctl *ctl);
enum ctl_exit command_set(struct ctl *ctl);
enum ctl_exit command_reset(struct ctl *ctl);
enum ctl_exit command_close(struct ctl *ctl);
enum ctl_exit command_open(struct ctl *ctl);
enum ctl_exit command_adapt(struct ctl *ctl);
enum ctl_exit command_observe(struct ctl *ctl);
enum ctl_exit command_reload(struct ctl *ctl);
enum ctl_exit command_members(struct ctl *ctl);
enum ctl_exit command_permits(struct ctl *ctl);
enum ctl_exit command_check(struct ctl *ctl);
enum ctl_exit command_acquire(struct ctl *ctl);
enum ctl_exit command_run(struct ctl *ctl);
enum ctl_exit command_keys(struct ctl *ctl);
enum ctl_exit command_load(struct ctl *ctl);
enum ctl_exit command_top(struct ctl *ctl);
enum ctl_exit command_simulate(struct ctl *ctl);
enum ctl_exit command_fields(struct ctl *ctl);
enum ctl_exit command_completion(struct ctl *ctl);

/* Prints "weirctl: ...\n" to standard error, made safe for a terminal. Returns CTL_CANNOT. */
__attribute__((format(printf, 1, 2))) enum ctl_exit ctl_complain(const char *format, ...);

/* The same for a misused command; names its help. */
__attribute__((format(printf, 2, 3))) enum ctl_exit ctl_misuse(const struct ctl *ctl,
							       const char *format, ...);

/* The first operand, if it can be a name; else complains and returns NULL. */
const char *ctl_name(const struct ctl *ctl);

/* The same, a second operand being the key that stands for the `*` in it; `room` holds a name. */
const char *ctl_name_of_key(const struct ctl *ctl, char *room);

/*
 * Values of options, read by value.h. Return false after a complaint. An option that was not
 * given leaves *out alone.
 */
bool ctl_cost(const struct ctl *ctl, double *cost);
bool ctl_duration(const struct ctl *ctl, enum option_id id, bool forever, uint64_t *ns);

/* Whether --class, if it was given, can be a class; else complains. */
bool ctl_class(const struct ctl *ctl);

#endif
