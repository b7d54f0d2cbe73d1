/* SPDX-License-Identifier: Apache-2.0
 *
 * options.h - the command line, by a table: every option of every command stands in it once.
 * Pure: reads no environment, prints nothing.
 */
#ifndef WEIRCTL_OPTIONS_H
#define WEIRCTL_OPTIONS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum option_id {
	OPTION_NAME,
	OPTION_SHM_DIR,
	OPTION_SOCKET,
	OPTION_JSON,
	OPTION_HELP,
	OPTION_VERSION,
	OPTION_COST,
	OPTION_WAIT,
	OPTION_FOR,
	OPTION_KEEP,
	OPTION_WORKERS,
	OPTION_NO_QUEUE,
	OPTION_NAMES,
	OPTION_BATCH,
	OPTION_REFRESHES,
	OPTION_EVERY,
	OPTION_SORT,
	OPTION_FILTER,
	OPTION_NO_COLOR,
	OPTION_CLASS,
	OPTION_PERMIT,
	OPTION_KEEP_RUNNING,
	OPTION_FIELDS,
	OPTION_RATE,
	OPTION_BURST,
	OPTION_WINDOW,
	OPTION_KEY,
	OPTION_TIME,
	OPTION_COST_FIELD,
	OPTION_FOLD,
	OPTION_SLACK,
	OPTION_AT_ONCE,
	OPTION_KEYS,
	OPTION_SWEEP,
	OPTION_PLOT,
	OPTION_STATUS,
	OPTION_CAPTURED,
	OPTION_PROFILE,
	OPTION_LATENCY,
	OPTION_COUNT,
};

#define OPTION_BIT(id) (UINT64_C(1) << (id))

/* What every command takes, before its name and after it. */
#define OPTIONS_GLOBAL                                                                             \
	(OPTION_BIT(OPTION_NAME) | OPTION_BIT(OPTION_SHM_DIR) | OPTION_BIT(OPTION_SOCKET) |        \
	 OPTION_BIT(OPTION_JSON) | OPTION_BIT(OPTION_HELP) | OPTION_BIT(OPTION_VERSION))

struct option_spec {
	enum option_id id;
	char letter;	      /* 0: none */
	const char *name;     /* without the dashes */
	const char *argument; /* what its value is called; NULL: it takes none */
	const char *help;
};

extern const struct option_spec option_specs[OPTION_COUNT];

/* All values that an option can have, a blank between them; NULL: there is no such list. */
const char *option_words(enum option_id id);

/* What a command line says. Strings point into argv. */
struct arguments {
	const char *values[OPTION_COUNT]; /* NULL: not given; "" for options without a value */
	char **operands;		  /* ends with NULL */
	int operand_count;
};

#define OPTIONS_WRONG_BYTES 256
#define OPTIONS_ANYWHERE INT_MAX

/*
 * Parses argv[0 .. argc-1], allowing the options of the set `allowed`. Options may stand between
 * operands, until "--", or until `operands_first` operands have been met and one more follows:
 * from there on everything is an operand as it stands. Moves operands to the front of argv.
 * Adds to *out, so that options before and after a command's name come together; the last one
 * counts. Returns false, and a sentence in `wrong`, for what cannot be understood.
 */
bool options_parse(struct arguments *out, int argc, char **argv, uint64_t allowed,
		   int operands_first, char wrong[OPTIONS_WRONG_BYTES]);

#endif
