/* SPDX-License-Identifier: Apache-2.0
 *
 * crash_publisher FOLDER - calibrates the clock of instance "test" anew, as weird does after the
 * machine slept for a second, and then lays its windows out by a wall clock that was set. Built
 * with the crash points, since no test can make a clock drift.
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
		struct wall_time wall = align_now(&segment.time);
		int64_t shift_ns;

		status = rules_rebase(&segment, segment_hz(&segment), WEIR_SECOND);
		wall.ns += 90 * WEIR_SECOND;
		rules_align(&segment, &wall, 1, &shift_ns);
		segment_detach(&segment);
	}
	if (status < 0)
		fprintf(stderr, "crash_publisher: %s\n", weir_strerror(status));
	return status < 0;
}
