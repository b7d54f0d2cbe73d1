/* SPDX-License-Identifier: Apache-2.0 */
#include "capacities.h"

#include <unistd.h>

#include "segment.h"

#define FOLLOWS_LEAST 8

static uint64_t whole_pages(uint64_t bytes)
{
	return (bytes + 4095) & ~4095ull;
}

static uint32_t follows_of(const struct segment_shape *shape)
{
	uint32_t few = (shape->rows + 31) / 32;
	uint32_t wanted = shape->follows	? shape->follows
			  : few > FOLLOWS_LEAST ? few
						: FOLLOWS_LEAST;

	return wanted < LAYOUT_MAX_FOLLOWS ? wanted : LAYOUT_MAX_FOLLOWS;
}

/* Up to the next cache line, where the tables of keys begin. */
static uint64_t spans_bytes(uint32_t blocks)
{
	return (blocks * (uint64_t)sizeof(struct permit_span) + LAYOUT_LINE_BYTES - 1) &
	       ~(uint64_t)(LAYOUT_LINE_BYTES - 1);
}

uint64_t capacities_rules_bytes(const struct capacities *of)
{
	return whole_pages(sizeof(struct rules_header) +
			   (uint64_t)of->rows * sizeof(struct rule_row) + spans_bytes(of->blocks) +
			   (uint64_t)of->follows * sizeof(struct follow_row) +
			   (uint64_t)of->tables * sizeof(struct keyed_row));
}

uint64_t capacities_bins_offset(const struct capacities *of)
{
	uint64_t buckets = layout_buckets(of->rows, of->names);
	uint64_t bytes = sizeof(struct state_header) + buckets * sizeof(struct bucket) +
			 layout_lanes(of->cpu_lanes) * buckets * sizeof(struct tally) +
			 (uint64_t)of->members * sizeof(struct member_row) +
			 of->blocks * (uint64_t)(LAYOUT_BLOCK_PERMITS * sizeof(struct permit_row) +
						 sizeof(struct permit_line)) +
			 (uint64_t)of->waiters * sizeof(struct waiter_row) +
			 (uint64_t)of->names * sizeof(struct name_row);

	if (of->bins == 0)
		return bytes;
	return (bytes + LAYOUT_KEYS_ALIGNMENT - 1) & ~(LAYOUT_KEYS_ALIGNMENT - 1);
}

uint64_t capacities_state_bytes(const struct capacities *of)
{
	return whole_pages(capacities_bins_offset(of) + of->bins * sizeof(struct key_bin) +
			   (uint64_t)of->tables * sizeof(struct key_head));
}

static uint32_t cpu_lanes_here(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_CONF);

	return cpus < 1 ? 1 : cpus > LAYOUT_CPU_LANES_MAX ? LAYOUT_CPU_LANES_MAX : (uint32_t)cpus;
}

struct capacities capacities_of(const struct segment_shape *shape)
{
	return (struct capacities){
		.rows = shape->rows,
		.names = shape->names,
		.members = shape->members,
		.cpu_lanes = cpu_lanes_here(),
		.blocks = (shape->permits + LAYOUT_BLOCK_PERMITS - 1) / LAYOUT_BLOCK_PERMITS,
		.waiters = shape->waiters,
		.tables = shape->tables,
		.bins = shape->bins,
		.follows = follows_of(shape),
	};
}

uint64_t segment_rules_bytes(const struct segment_shape *shape)
{
	const struct capacities capacities = capacities_of(shape);

	return capacities_rules_bytes(&capacities);
}

uint64_t segment_state_bytes(const struct segment_shape *shape)
{
	const struct capacities capacities = capacities_of(shape);

	return capacities_state_bytes(&capacities);
}

/* Behind everything else, on a boundary of its own. */
static void point_at_keys(struct segment *segment, const struct capacities *of)
{
	unsigned char *at = (unsigned char *)segment->state + capacities_bins_offset(of);

	segment->tables =
		(const struct keyed_row *)(const void *)((const unsigned char *)segment->spans +
							 spans_bytes(of->blocks));
	if (of->bins == 0)
		return;
	segment->bins = (struct key_bin *)(void *)at;
	segment->heads = (struct key_head *)(void *)(segment->bins + of->bins);
}

static void count(struct segment *segment, const struct capacities *of)
{
	segment->row_count = of->rows;
	segment->follow_count = of->follows;
	segment->name_count = of->names;
	segment->member_count = of->members;
	segment->bucket_count = layout_buckets(of->rows, of->names);
	segment->block_count = of->blocks;
	segment->waiter_count = of->waiters;
	segment->table_count = of->tables;
	segment->bin_count = of->bins;
}

static void copy_secret(struct segment *segment)
{
	for (size_t i = 0; i < LAYOUT_SECRET_BYTES; i++)
		/* relaxed: fixed before the object was ready */
		segment->secret[i] =
			atomic_load_explicit(&segment->rules->secret[i], memory_order_relaxed);
}

void capacities_point(struct segment *segment, const struct capacities *of)
{
	unsigned char *at = (unsigned char *)(segment->state + 1);

	count(segment, of);
	segment->rows = (const struct rule_row *)(const void *)(segment->rules + 1);
	segment->follows =
		(const struct follow_row *)(const void *)(segment->rows + segment->row_count);
	segment->spans = (const struct permit_span *)(const void *)(segment->follows +
								    segment->follow_count);
	segment->buckets = (struct bucket *)(void *)at;
	at += segment->bucket_count * sizeof(struct bucket);
	segment->tallies = (struct tallies){
		.lanes = (struct tally *)(void *)at,
		.buckets = segment->bucket_count,
		.cpu_lanes = of->cpu_lanes,
		.shared_lane = of->cpu_lanes,
	};
	at += (size_t)layout_lanes(of->cpu_lanes) * segment->bucket_count * sizeof(struct tally);
	segment->members = (struct member_row *)(void *)at;
	at += segment->member_count * sizeof(struct member_row);
	segment->permits = (struct permit_row *)(void *)at;
	at += (size_t)segment->block_count * LAYOUT_BLOCK_PERMITS * sizeof(struct permit_row);
	segment->lines = (struct permit_line *)(void *)at;
	at += segment->block_count * sizeof(struct permit_line);
	segment->waiters = (struct waiter_row *)(void *)at;
	at += segment->waiter_count * sizeof(struct waiter_row);
	segment->names = (struct name_row *)(void *)at;
	point_at_keys(segment, of);
	copy_secret(segment);
	/* relaxed: likewise */
	segment->time = (struct time_source){
		.kind = (enum clock_kind)atomic_load_explicit(&segment->rules->clock_kind,
							      memory_order_relaxed),
		.manual_ns = &segment->state->manual_ns,
		.manual_moves = &segment->state->manual_moves,
	};
}
