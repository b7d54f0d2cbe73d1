/* SPDX-License-Identifier: Apache-2.0
 *
 * simulate.h - a simulation that is over, and how it is printed.
 */
#ifndef WEIRCTL_SIMULATE_H
#define WEIRCTL_SIMULATE_H

#include <stdbool.h>
#include <stdint.h>

#include "ctl.h"
#include "intake.h"
#include "lineup.h"
#include "replay.h"
#include "sweep.h"

struct simulation {
	const struct ctl *ctl;
	struct log_format format;
	struct terms terms; /* of all limits, but for what is swept */
	bool burst_given;
	bool swept;
	struct sweep sweep;
	uint64_t keys_max;
	struct intake intake;
	struct lineup lineup;
	struct replay replay;
	struct replay_limit limits[SWEEP_MOST];
	uint64_t elapsed_ns;
	uint64_t cpu_ns; /* of this process */
};

/* Prints the whole. Returns false if memory ran out. */
bool simulation_print(const struct simulation *simulation);

#endif
