/* SPDX-License-Identifier: Apache-2.0 */
#include "segment.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "capacities.h"
#include "object.h"
#include "weir.h"

#define BINS_MAX (LAYOUT_MAX_KEYS / 4ull) /* far more than the keys at most can have */

#define LOAD(word) atomic_load_explicit(&(word), memory_order_relaxed)

/* ---- attaching ---- */

/* The words that both headers begin with. */
static int header_check(uint64_t magic, uint64_t expected, uint32_t version, uint32_t ready,
			uint64_t signature)
{
	if (magic == 0 && ready == 0)
		return WEIR_EUNREADY;
	if (magic != expected)
		return WEIR_EFOREIGN;
	if (version != LAYOUT_VERSION)
		return version < LAYOUT_VERSION ? WEIR_EOLDER : WEIR_ENEWER;
	if (!ready)
		return WEIR_EUNREADY;
	return signature == layout_signature() ? 0 : WEIR_ELAYOUT;
}

/* Whether this process can live with the segment's boot and clock. */
static int circumstances_check(const struct rules_header *rules)
{
	uint32_t kind = LOAD(rules->clock_kind);
	uint64_t home = LOAD(rules->time_namespace);
	uint64_t here = time_source_namespace();
	uint64_t boot[2];

	time_source_boot(boot);
	if (boot[0] != LOAD(rules->boot[0]) || boot[1] != LOAD(rules->boot[1]))
		return WEIR_EBOOT;
	if (kind < CLOCK_KIND_TSC || kind > CLOCK_KIND_MANUAL)
		return WEIR_EDAMAGED;
	if (!time_source_readable((enum clock_kind)kind))
		return WEIR_ENOCLOCK;
	/* only CLOCK_MONOTONIC is shifted by a time namespace; 0 is a side that cannot tell */
	if (kind == CLOCK_KIND_MONOTONIC && home && here && home != here)
		return WEIR_ETIMENS;
	return 0;
}

static int rules_check(const struct rules_header *rules, uint64_t bytes)
{
	/* acquire: pairs with the release in pair_fill() */
	uint32_t ready = atomic_load_explicit(&rules->ready, memory_order_acquire);
	int status = header_check(LOAD(rules->magic), LAYOUT_RULES_MAGIC, LOAD(rules->version),
				  ready, LOAD(rules->signature));

	if (status < 0)
		return status;
	if (LOAD(rules->bytes) > bytes)
		return WEIR_ETRUNCATED;
	return circumstances_check(rules);
}

static bool within(uint32_t count, uint32_t most)
{
	return count > 0 && count <= most;
}

/* Reads the capacities once and holds them to the limits and to the objects' lengths. */
static int capacities_check(const struct segment *segment, struct capacities *out)
{
	const struct rules_header *rules = segment->rules;
	const struct capacities found = {
		.rows = LOAD(rules->rows),
		.names = LOAD(rules->names),
		.members = LOAD(rules->members),
		.cpu_lanes = LOAD(rules->cpu_lanes),
		.blocks = layout_blocks(LOAD(rules->permits)),
		.waiters = LOAD(rules->waiters),
		.tables = LOAD(rules->tables),
		.bins = LOAD(rules->bins),
		.follows = LOAD(rules->follows),
	};

	if (!within(found.rows, LAYOUT_MAX_ROWS) || !within(found.names, LAYOUT_MAX_NAMES) ||
	    !within(found.members, LAYOUT_MAX_MEMBERS) || found.cpu_lanes > LAYOUT_CPU_LANES_MAX ||
	    LOAD(rules->permits) % LAYOUT_BLOCK_PERMITS ||
	    found.blocks > layout_blocks(LAYOUT_MAX_PERMITS) ||
	    found.waiters > LAYOUT_MAX_WAITERS || found.tables > LAYOUT_MAX_ROWS ||
	    found.bins > BINS_MAX || found.follows > LAYOUT_MAX_FOLLOWS)
		return WEIR_EDAMAGED;
	if (LOAD(rules->bytes) != capacities_rules_bytes(&found) ||
	    LOAD(segment->state->bytes) != capacities_state_bytes(&found))
		return WEIR_EDAMAGED;
	*out = found;
	return 0;
}

static int state_check(const struct state_header *state, const struct rules_header *rules,
		       uint64_t bytes)
{
	/* acquire: pairs with the release in pair_fill() */
	uint32_t ready = atomic_load_explicit(&state->ready, memory_order_acquire);
	int status = header_check(LOAD(state->magic), LAYOUT_STATE_MAGIC, LOAD(state->version),
				  ready, LOAD(state->signature));

	if (status < 0)
		return status;
	if (LOAD(state->pair) != LOAD(rules->pair))
		return WEIR_EPAIR;
	return LOAD(state->bytes) > bytes ? WEIR_ETRUNCATED : 0;
}

/* Two mapped objects become a segment, which takes them over, if they pass every check. */
static int pair_attach(struct segment *out, struct opened *rules, struct opened *state,
		       enum segment_mode mode)
{
	struct segment segment = {
		.rules = rules->at,
		.publisher = mode == SEGMENT_PUBLISH ? rules->at : NULL,
		.state = state->at,
		.rules_bytes = rules->bytes,
		.state_bytes = state->bytes,
		.rules_fd = -1,
		.state_fd = state->fd,
	};
	struct capacities capacities;
	int status = state_check(segment.state, segment.rules, state->bytes);

	if (status == 0)
		status = capacities_check(&segment, &capacities);
	if (status < 0)
		return status;
	capacities_point(&segment, &capacities);
	segment.pair = LOAD(segment.rules->pair);
	if (mode != SEGMENT_LOOK)
		segment.state_fd = state->fd = object_apart(state->fd);
	status = segment_know_fd(&segment);
	if (status < 0)
		return status;
	close(rules->fd);
	*out = segment;
	return 0;
}

static int attach_state(struct segment *out, struct opened *rules, const struct place *place,
			const char *suffix, enum segment_mode mode, uid_t trusted)
{
	struct opened state = {NULL, 0, -1};
	const struct object_terms terms = {
		.writable = mode != SEGMENT_LOOK,
		.only_own = mode == SEGMENT_PUBLISH,
		.trusted = trusted,
		.at_least = sizeof(struct state_header),
	};
	int status = object_open(&state, place, suffix, &terms);

	if (status == 0)
		status = pair_attach(out, rules, &state, mode);
	if (status < 0)
		object_close(&state);
	return status;
}

static int attach_named(struct segment *out, const struct place *place, const char *rules_suffix,
			const char *state_suffix, enum segment_mode mode, uid_t trusted)
{
	struct opened rules = {NULL, 0, -1};
	/* a publisher adopts only its own */
	const struct object_terms terms = {
		.writable = mode == SEGMENT_PUBLISH,
		.only_own = mode == SEGMENT_PUBLISH,
		.trusted = trusted,
		.at_least = sizeof(struct rules_header),
	};
	int status = object_open(&rules, place, rules_suffix, &terms);

	if (status == 0)
		status = rules_check(rules.at, rules.bytes);
	if (status == 0)
		status = attach_state(out, &rules, place, state_suffix, mode, trusted);
	/* between the two renames of a switch the old state object has its other name */
	if (status == WEIR_EPAIR &&
	    attach_state(out, &rules, place, "state.old", mode, trusted) == 0)
		status = 0;
	if (status < 0)
		object_close(&rules);
	return status;
}

int segment_attach(struct segment *out, const struct place *place, enum segment_mode mode,
		   uid_t trusted)
{
	int status = WEIR_EPAIR;

	/* a whole switch may fall between the opening of the two objects; seldom twice */
	for (int tries = 0; tries < 8 && status == WEIR_EPAIR; tries++)
		status = attach_named(out, place, "rules", "state", mode, trusted);
	return status;
}

int segment_attach_old(struct segment *out, const struct place *place, enum segment_mode mode,
		       uid_t trusted, uint64_t pair)
{
	struct segment segment;
	int status = attach_named(&segment, place, "rules.old", "state.old", mode, trusted);

	if (status != 0)
		return status;
	if (segment.pair != pair) {
		segment_detach(&segment);
		return WEIR_EPAIR;
	}
	*out = segment;
	return 0;
}

int segment_know_fd(struct segment *segment)
{
	struct stat file;

	if (fstat(segment->state_fd, &file) < 0)
		return -errno;
	segment->state_device = file.st_dev;
	segment->state_inode = file.st_ino;
	return 0;
}

int segment_state_fd(const struct segment *segment)
{
	struct stat file;

	if (segment->state_fd < 0 || !segment->state_inode)
		return segment->state_fd;
	if (fstat(segment->state_fd, &file) < 0)
		return errno == EBADF ? -1 : segment->state_fd;
	return file.st_dev == segment->state_device && file.st_ino == segment->state_inode
		       ? segment->state_fd
		       : -1;
}

void segment_detach(struct segment *segment)
{
	int state_fd = segment_state_fd(segment);

	if (segment->rules)
		munmap((void *)(uintptr_t)segment->rules, segment->rules_bytes);
	if (segment->state)
		munmap(segment->state, segment->state_bytes);
	if (segment->rules_fd >= 0)
		close(segment->rules_fd);
	if (state_fd >= 0)
		close(state_fd);
	*segment = (struct segment){.rules_fd = -1, .state_fd = -1};
}

void segment_demote(struct segment *segment)
{
	if (!segment->publisher)
		return;
	mprotect(segment->publisher, segment->rules_bytes, PROT_READ);
	segment->publisher = NULL;
}

/* ---- small readings ---- */

/* Whether a line of /proc/self/smaps begins the mapping that the address lies in. */
static bool begins_mapping(const char *line, uintptr_t address, bool *inside)
{
	char *end;
	uintptr_t from = strtoul(line, &end, 16);

	if (*end != '-' || end == line)
		return false;
	*inside = address >= from && address < strtoul(end + 1, NULL, 16);
	return true;
}

uint64_t segment_huge_bytes(const struct segment *segment)
{
	FILE *file = segment->bins ? fopen("/proc/self/smaps", "re") : NULL;
	uint64_t kilobytes = 0;
	bool inside = false;
	char line[256];

	while (file && fgets(line, sizeof(line), file))
		if (!begins_mapping(line, (uintptr_t)segment->bins, &inside) && inside &&
		    strncmp(line, "ShmemPmdMapped:", 15) == 0)
			kilobytes = strtoull(line + 15, NULL, 10);
	if (file)
		fclose(file);
	return kilobytes * 1024;
}

void segment_clock(const struct segment *segment, struct line *out)
{
	line_read(&segment->rules->clock, &segment->time, out);
}

uint64_t segment_now_ns(const struct segment *segment)
{
	struct line clock;
	uint64_t now = line_read_short(&segment->rules->clock, &segment->time, &clock);

	return segment->time.kind == CLOCK_KIND_TSC ? line_value(&clock, now) : now;
}

uint64_t segment_tick_in(const struct segment *segment, uint64_t now, uint64_t ns)
{
	struct line clock;
	uint64_t ticks;

	segment_clock(segment, &clock);
	ticks = line_ns_to_ticks(&clock, ns);
	return ticks > UINT64_MAX - now ? UINT64_MAX : now + ticks;
}

uint64_t segment_hz(const struct segment *segment)
{
	struct terms terms;
	struct terms_author author;
	uint64_t changed_ns;

	if (segment->time.kind != CLOCK_KIND_TSC)
		return 1000000000u;
	line_read_terms(&segment->rules->clock, &terms, &author, &changed_ns);
	return terms.rate_micro;
}

/* The side that belongs to a generation of a row; NULL: it has none. */
static const struct line_follow *follow_of(const struct segment *segment,
					   const struct rule_row *row, uint64_t generation)
{
	uint32_t index = line_follow_index(row, generation);

	return index == 0 || index > segment->follow_count
		       ? NULL
		       : &segment->follows[index - 1].sides[generation & 1];
}

void segment_terms(const struct segment *segment, uint32_t row, struct terms *terms,
		   struct terms_author *author, uint64_t *changed_ns)
{
	const struct rule_row *at = &segment->rows[row];
	uint64_t generation;

	do { /* as line_read() does, and pairs with the same stores */
		generation = atomic_load_explicit(&at->generation, memory_order_acquire);
		line_read_terms(at, terms, author, changed_ns);

		const struct line_follow *follow = follow_of(segment, at, generation);

		if (!follow)
			continue;
		line_read_learned(&follow->learned, &terms->learned);
		line_read_adapt(&follow->adapt, &terms->adapt);
	} while (atomic_load_explicit(&at->generation, memory_order_relaxed) != generation);
}

void segment_adapt(const struct segment *segment, uint32_t row, struct adapt_terms *adapt)
{
	const struct rule_row *at = &segment->rows[row];
	uint64_t generation;

	do { /* likewise */
		generation = atomic_load_explicit(&at->generation, memory_order_acquire);

		const struct line_follow *follow = follow_of(segment, at, generation);

		if (follow)
			line_read_adapt(&follow->adapt, adapt);
		else
			*adapt = (struct adapt_terms){0};
	} while (atomic_load_explicit(&at->generation, memory_order_relaxed) != generation);
}

void segment_text(const _Atomic unsigned char *text, char out[LAYOUT_TEXT_BYTES])
{
	size_t length = 0;

	/* relaxed: whoever reads a live row acquired its state; other text is for people */
	for (; length < LAYOUT_TEXT_BYTES - 1; length++) {
		out[length] = (char)atomic_load_explicit(&text[length], memory_order_relaxed);
		if (!out[length])
			break;
	}
	out[length] = '\0';
}
