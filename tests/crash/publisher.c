/* SPDX-License-Identifier: Apache-2.0
 *
 * crash_publisher FOLDER - calibrates the clock of instance "test" anew, as weird does after the
 * machine slept for a second. Built with the crash points, since no test can make a clock drift.
 */
#include <stdio.h>

#include "rules.h"
#include "segment.h"
#include "weir.h"

int main(int count, char **arguments)
{
	struct place_hints hints = {.name = "test"};
	struct segment segment;
	struct place place;
	int status;

	if (count != 2) {
		fprintf(stderr, "usage: crash_publisher FOLDER\n");
		return 2;
	}
	hints.shm_dir = arguments[1];
	status = place_resolve(&place, &hints, PLACE_TO_CREATE);
	if (status == 0)
		status = segment_attach(&segment, &place, SEGMENT_PUBLISH, (uid_t)-1);
	if (status == 0) {
		status = rules_rebase(&segment, segment_hz(&segment), WEIR_SECOND);
		segment_detach(&segment);
	}
	if (status < 0)
		fprintf(stderr, "crash_publisher: %s\n", weir_strerror(status));
	return status < 0;
}
