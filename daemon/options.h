/* SPDX-License-Identifier: Apache-2.0
 *
 * options.h - weird's command line, as values. Pure but for getopt's own state.
 */
#ifndef WEIRD_OPTIONS_H
#define WEIRD_OPTIONS_H

#include <stdbool.h>

#include "log.h"

enum options_mode {
	OPTIONS_RUN,
	OPTIONS_CHECK,
	OPTIONS_HELP,
	OPTIONS_VERSION,
	OPTIONS_WRONG, /* what is wrong has been written to standard error */
};

struct options {
	enum options_mode mode;
	const char *config; /* NULL: the default path */
	const char *name;   /* NULL: not given */
	bool remove;
	bool log_given; /* -v or -q */
	enum log_level log;
};

void options_parse(struct options *out, int count, char **arguments);

extern const char options_help[];

#endif
