/* SPDX-License-Identifier: Apache-2.0
 *
 * capacities.h - how many of everything a segment has, and what follows from that: how long its
 * two objects are, and where their tables stand. Of segment*.c alone; see the end of layout.h.
 */
#ifndef WEIR_CAPACITIES_H
#define WEIR_CAPACITIES_H

#include <stdint.h>

struct segment;
struct segment_shape;

struct capacities {
	uint32_t rows;
	uint32_t names;
	uint32_t members;
	uint32_t cpu_lanes;
	uint32_t blocks;
	uint32_t waiters;
	uint32_t tables;
	uint64_t bins;
	uint32_t follows;
};

/* Of a segment made here: as many lanes as this machine may have processors. */
struct capacities capacities_of(const struct segment_shape *shape);

/* Lengths of the two objects, in whole pages. */
uint64_t capacities_rules_bytes(const struct capacities *of);
uint64_t capacities_state_bytes(const struct capacities *of);

/* Where in the state object the bins of keys begin, if there are any. */
uint64_t capacities_bins_offset(const struct capacities *of);

/*
 * Sets a segment's counts and its pointers to the tables in the two objects that it has mapped, and
 * copies what never changes: its secret and its clock. The capacities were made here, or checked
 * against the objects' lengths.
 */
void capacities_point(struct segment *segment, const struct capacities *of);

#endif
