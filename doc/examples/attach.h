/* SPDX-License-Identifier: Apache-2.0
 *
 * attach.h - how the examples come by a handle: to the instance that weird keeps, or, with
 * --private, to a segment that they host themselves, so that they run with nothing else there.
 */
#ifndef EXAMPLE_ATTACH_H
#define EXAMPLE_ATTACH_H

#include <stdio.h>
#include <string.h>

#include <weir.h>

/* Takes --private out of the arguments; returns 1 if it was there. */
static inline int take_private(int *argc, char **argv)
{
	int kept = 1;

	for (int i = 1; i < *argc; i++)
		if (strcmp(argv[i], "--private") != 0)
			argv[kept++] = argv[i];

	int found = kept < *argc;

	argv[kept] = NULL;
	*argc = kept;
	return found;
}

/* NULL if there is no handle to be had; what to do about it is on standard error. */
static inline struct weir *attach(int is_private, const char *rules, enum weir_clock clock)
{
	char faults[1024] = "";
	struct weir *weir = NULL;
	int status = is_private ? weir_host(&weir, rules, clock, NULL, faults, sizeof(faults))
				: weir_open(&weir, NULL);

	if (status == 0)
		return weir;
	fprintf(stderr, "%s%s\n", faults, weir_strerror(status));
	if (status == WEIR_EABSENT)
		fprintf(stderr, "Start weird, or try --private.\n");
	return NULL;
}

#endif
