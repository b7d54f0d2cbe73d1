/* SPDX-License-Identifier: Apache-2.0
 *
 * uv_crew.h - all files of a run, a few at a time, in a loop of libuv.
 */
#ifndef FETCH_UV_CREW_H
#define FETCH_UV_CREW_H

#include <weir-http.h>

#include "manifest.h"
#include "options.h"
#include "report.h"

struct crew {
	const struct options *options;
	struct weir *weir;
	struct manifest *manifest;
	struct report *report;
	int folder_fd;
	char **urls;
	size_t url_count;
	int signal; /* out: that ended it; 0: none did */
	int fault;  /* out: -errno of what keeps every file from being written */
};

/* Fetches. Returns 0 when all was tried, or a code: it did not even begin. */
int crew_run(struct crew *crew);

#endif
