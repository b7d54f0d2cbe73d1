/* SPDX-License-Identifier: Apache-2.0
 *
 * config.h - INI text to rules and settings: weir.ini(5). config_lines.c alone sees inih.
 *
 * The text is validated as a whole. Every fault is reported with file, line, section or key and
 * what would be right; a configuration with a fault is not returned at all.
 * inih 55 cuts section names at 49 characters and lines at 200, hands no line number on, drops
 * empty sections and takes an indented line as a continuation; so it reads through a reader of
 * ours that counts lines and checks section headers and line lengths itself.
 */
#ifndef WEIR_CONFIG_H
#define WEIR_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"
#include "place.h"
#include "token_clock.h"

enum config_log {
	CONFIG_LOG_ERROR,
	CONFIG_LOG_WARNING,
	CONFIG_LOG_INFO,
	CONFIG_LOG_DEBUG,
};

struct config_rule {
	enum row_kind kind;
	char text[LAYOUT_TEXT_BYTES]; /* name, pattern, or "*" for [default] */
	struct terms terms;
	unsigned line; /* of the section header; 0: built in */
	uint64_t keys; /* ROW_EACH: in debt at once */
	uint64_t fold; /* of those, what counts as one: fold.h */
};

struct config {
	char name[PLACE_NAME_BYTES];   /* "": not given */
	char group[64];		       /* "": not given */
	char shm_dir[PLACE_DIR_BYTES]; /* "": not given */
	char socket[108];	       /* "": not given */
	enum clock_kind clock;	       /* 0: the best there is */
	enum config_log log;
	uint32_t endpoints;	   /* capacity; default 1024 */
	uint32_t names;		   /* default 1024 */
	uint32_t members;	   /* default 256 */
	uint32_t permits;	   /* default 1024 */
	uint32_t waiters;	   /* default 1024 */
	struct config_rule *rules; /* rules[0] is [default], given or built in: 10/s */
	size_t rule_count;
	char state_file[PLACE_DIR_BYTES]; /* "": levels are not kept */
};

/* Faults as text, a line each: "FILE:LINE: what, and what would be right". */
struct config_faults {
	char *text;   /* the caller's buffer */
	size_t bytes; /* its size */
	size_t used;  /* without the closing NUL; faults that found no room are counted only */
	unsigned count;
};

#define CONFIG_ENDPOINTS_MAX (LAYOUT_MAX_ROWS - 1)
#define CONFIG_KEYS 65536 /* of an [each] that does not say */

/* Tables of keys that a configuration needs, and bins of all of them. */
void config_tables(const struct config *config, uint32_t *tables, uint64_t *bins);

/*
 * Parses text of `bytes` bytes; `file` is how faults call it. *faults (may be NULL) is begun anew
 * with the caller's buffer. Allocates. Returns 0 or WEIR_ECONFIG, -ENOMEM.
 */
int config_parse(struct config *out, const char *text, size_t bytes, const char *file,
		 struct config_faults *faults);

/* Reads a file (at most 16 MiB, else -EFBIG) and parses it. Also another negative errno. */
int config_read(struct config *out, const char *path, struct config_faults *faults);

void config_free(struct config *config);

/* Every section and key with a one-line description; weir.ini(5) is held to it by a test. */
struct config_key {
	const char *section; /* "weir", "default", "endpoint", "each" */
	const char *name;
	const char *description;
};
extern const struct config_key config_keys[]; /* ends with a NULL name */

/* The key of a class has its name behind it: "class background". */
#define CONFIG_CLASS "class"

/* The name in such a key, NULL if it is none. */
const char *config_class_name(const char *key);

/* A concurrency that is found: the word, and its bounds and beginning where none are given. */
#define CONFIG_FOUND "auto"
#define CONFIG_FOUND_MIN 1
#define CONFIG_FOUND_MAX 200
#define CONFIG_FOUND_BEGINS 20

/*
 * Applies one "rate", "burst", "window", "class background" ... to terms, as a section would; used
 * by weirctl set. Returns NULL or what would be right, unknown keys included; then terms are as
 * they were.
 */
const char *config_set_term(struct terms *terms, const char *key, const char *value);

/* What is wrong with terms that only an endpoint can have, if they are to be [default]'s; NULL. */
const char *config_check_default(const struct terms *terms);

/*
 * Fills in what follows from what was given (burst from rate: a window's quota, else one second's
 * worth, and at least 1; initial from burst) and checks the whole. Returns NULL or what is wrong.
 */
const char *config_finish_terms(struct terms *terms, bool burst_given, bool initial_given);

/*
 * The same for terms that config_set_term() made of `from`, those of a rule that runs. What is not
 * given stays; but a burst that was the window's quota follows it, and so it begins with a new
 * window; and an initial level that was the whole burst, or is above the new one, is the burst.
 */
const char *config_update_terms(struct terms *terms, const struct terms *from, bool burst_given,
				bool initial_given);

/* What is wrong with such terms or such a pattern in an [each]; NULL: nothing. */
const char *config_check_each(const char *pattern, const struct terms *terms);

#endif
