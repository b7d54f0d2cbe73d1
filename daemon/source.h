/* SPDX-License-Identifier: Apache-2.0
 *
 * source.h - where the configuration comes from, read again at every reload.
 */
#ifndef WEIRD_SOURCE_H
#define WEIRD_SOURCE_H

#include <stdbool.h>
#include <stddef.h>

#include "config.h"
#include "log.h"

struct source {
	char path[4096];
	bool optional;	/* the default path: no file means the built-in [default] */
	bool log_fixed; /* -v or -q was given: `log =` of the file does not count */
};

/*
 * The default path: /etc/weir/weir.ini for root, else CONFIG_HOME/weir/weir.ini, where
 * `config_home` is $XDG_CONFIG_HOME or, without it, `home`/.config. NULL where not set; without
 * either, as for root. Returns 0 or -ENAMETOOLONG.
 */
int source_default(struct source *out, bool root, const char *config_home, const char *home);

/*
 * Reads and validates. Faults are texts in `faults`; what kept the file from being read is one
 * of them. *absent (may be NULL): the file is not there, and need not be. Returns 0 or a code.
 */
int source_read(struct config *out, const struct source *source, struct config_faults *faults,
		bool *absent);

/* The log level of a configuration. */
enum log_level source_log_level(enum config_log level);

#endif
