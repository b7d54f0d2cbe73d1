/* SPDX-License-Identifier: Apache-2.0
 *
 * options.h - the command line of weir-fetch, by a table, from which the usage and the completion
 * come as well.
 */
#ifndef FETCH_OPTIONS_H
#define FETCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define OPTIONS_HEADERS 32
#define OPTIONS_WRONG_BYTES 256

struct options {
	const char *instance;
	const char *shm_dir;
	const char *folder;
	const char *endpoint;
	const char *class_name;
	const char *manifest;
	const char *ca_file;
	const char *headers[OPTIONS_HEADERS];
	unsigned header_count;
	uint32_t parallel;
	uint32_t retries;
	uint64_t wait_ns; /* 0: for ever */
	uint32_t stall_s;
	bool json;
	bool quiet;
	bool help;
	bool version;
	const char *completion; /* of which shell */
	char **urls;		/* ends with NULL */
};

/* Returns false, and a sentence in `wrong`, for what cannot be understood. */
bool options_read(struct options *out, int argc, char **argv, char wrong[OPTIONS_WRONG_BYTES]);

void options_usage(FILE *to);

/* A script for that shell; false: there is none for it. */
bool options_complete(const char *shell, FILE *to);

#endif
