/* SPDX-License-Identifier: Apache-2.0 */
#include "segment.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "capacities.h"
#include "fault.h"
#include "object.h"
#include "weir.h"

#define CALIBRATION_NS 20000000u
#define RULES_MODE 0640
#define STATE_MODE 0660

/* relaxed, both: nobody else has the objects yet, and `ready` is released behind all of it */
#define STORE(word, value) atomic_store_explicit(&(word), value, memory_order_relaxed)
#define LOAD(word) atomic_load_explicit(&(word), memory_order_relaxed)

static int random_bytes(void *out, size_t bytes)
{
	return getrandom(out, bytes, 0) == (ssize_t)bytes ? 0 : -EIO;
}

static int rules_fill(struct rules_header *rules, const struct segment_shape *shape,
		      const struct capacities *capacities)
{
	struct {
		uint64_t pair;
		unsigned char secret[LAYOUT_SECRET_BYTES];
	} seed;
	uint64_t boot[2];

	if (random_bytes(&seed, sizeof(seed)) < 0)
		return -EIO;
	time_source_boot(boot);
	/* relaxed: nobody can open the object before it is revealed, and `ready` is released */
	STORE(rules->magic, LAYOUT_RULES_MAGIC);
	STORE(rules->version, LAYOUT_VERSION);
	STORE(rules->signature, layout_signature());
	STORE(rules->bytes, capacities_rules_bytes(capacities));
	STORE(rules->pair, seed.pair | 1);
	STORE(rules->boot[0], boot[0]);
	STORE(rules->boot[1], boot[1]);
	STORE(rules->time_namespace, time_source_namespace());
	STORE(rules->created_ns, time_source_kernel_ns(CLOCK_REALTIME));
	STORE(rules->clock_kind, shape->clock);
	STORE(rules->rows, shape->rows);
	STORE(rules->follows, capacities->follows);
	STORE(rules->names, shape->names);
	STORE(rules->members, shape->members);
	STORE(rules->cpu_lanes, capacities->cpu_lanes);
	STORE(rules->permits, capacities->blocks * LAYOUT_BLOCK_PERMITS);
	STORE(rules->waiters, capacities->waiters);
	STORE(rules->tables, capacities->tables);
	STORE(rules->bins, capacities->bins);
	STORE(rules->table_generation, 1);
	STORE(rules->publisher_pid, (uint64_t)getpid());
	for (size_t i = 0; i < LAYOUT_SECRET_BYTES; i++)
		STORE(rules->secret[i], seed.secret[i]);
	return 0;
}

static void state_fill(struct state_header *state, const struct rules_header *rules, uint64_t bytes)
{
	STORE(state->magic, LAYOUT_STATE_MAGIC);
	STORE(state->version, LAYOUT_VERSION);
	STORE(state->signature, layout_signature());
	STORE(state->bytes, bytes);
	STORE(state->pair, LOAD(rules->pair));
	STORE(state->manual_ns, 1000000000u); /* so that a test may look back a second */
}

/* The clock row: nanoseconds over ticks, from now on; its terms carry the ticks per second. */
static int clock_fill(struct rules_header *rules, const struct time_source *time)
{
	uint64_t hz = time_source_hz(time->kind, CALIBRATION_NS);
	const struct terms terms = {.rate_micro = hz, .period_ns = 1000000000u};
	const struct terms_author author = {ORIGIN_FILE, 0};
	struct line line;
	int status = line_from_hz(&line, hz);

	if (status < 0)
		return status;

	/* it passes through the kernel's clock at this moment, and V in ns is that clock */
	struct time_pair now = time_source_pair(time);

	line_begin(&rules->clock, time, &line, &terms, &author);
	if (time->kind == CLOCK_KIND_TSC)
		line_publish(&rules->clock, time, &line, &terms, &author, now.kernel_ns);
	return 0;
}

static int pair_fill(struct segment *out, const struct segment_shape *shape,
		     const struct capacities *capacities)
{
	int status = rules_fill(out->publisher, shape, capacities);

	if (status < 0)
		return status;
	state_fill(out->state, out->rules, out->state_bytes);
	capacities_point(out, capacities);
	status = clock_fill(out->publisher, &out->time);
	if (status < 0)
		return status;
	FAULT_POINT(create_filled);
	/* release: pairs with the acquire of `ready` in header_check() */
	atomic_store_explicit(&out->state->ready, 1, memory_order_release);
	atomic_store_explicit(&out->publisher->ready, 1, memory_order_release);
	out->pair = LOAD(out->rules->pair);
	return 0;
}

/* Maps two fresh descriptors, which it takes over, and fills them. */
static int pair_make(struct segment *out, int rules_fd, int state_fd,
		     const struct segment_shape *shape)
{
	const struct capacities capacities = capacities_of(shape);
	struct segment segment = {
		.rules_bytes = capacities_rules_bytes(&capacities),
		.state_bytes = capacities_state_bytes(&capacities),
		.rules_fd = rules_fd,
		.state_fd = state_fd,
	};
	void *rules = NULL;
	void *state = NULL;
	int status = object_map(rules_fd, segment.rules_bytes, true, &rules);

	if (status == 0)
		status = object_map(state_fd, segment.state_bytes, true, &state);
	segment.rules = segment.publisher = rules;
	segment.state = state;
	segment.state_fd = object_apart(state_fd);
	if (status == 0)
		status = segment_know_fd(&segment);
	if (status == 0)
		status = pair_fill(&segment, shape, &capacities);
	if (status < 0) {
		segment_detach(&segment);
		return status;
	}
	*out = segment;
	return 0;
}

/* Where huge pages are of use in the state object. */
static uint64_t huge_from(const struct segment_shape *shape)
{
	const struct capacities capacities = capacities_of(shape);

	return shape->bins ? capacities_bins_offset(&capacities) : OBJECT_NEVER_HUGE;
}

int segment_create(struct segment *out, const struct place *place,
		   const struct segment_shape *shape)
{
	uint64_t state_length = segment_state_bytes(shape);
	int rules_fd = object_create(place, "rules.new", RULES_MODE, shape->group,
				     segment_rules_bytes(shape), OBJECT_NEVER_HUGE);

	if (rules_fd < 0)
		return rules_fd;

	int state_fd = object_create(place, "state.new", STATE_MODE, shape->group, state_length,
				     huge_from(shape));

	if (state_fd < 0) {
		char path[PLACE_PATH_BYTES];

		place_path(place, "rules.new", path);
		unlink(path);
		close(rules_fd);
		return state_fd;
	}
	return pair_make(out, rules_fd, state_fd, shape);
}

int segment_create_private(struct segment *out, const struct segment_shape *shape)
{
	int rules_fd =
		object_create_private("weir.rules", segment_rules_bytes(shape), OBJECT_NEVER_HUGE);

	if (rules_fd < 0)
		return rules_fd;

	int state_fd =
		object_create_private("weir.state", segment_state_bytes(shape), huge_from(shape));

	if (state_fd < 0) {
		close(rules_fd);
		return state_fd;
	}
	return pair_make(out, rules_fd, state_fd, shape);
}

void segment_keep_secret(struct segment *successor, const struct segment *segment)
{
	for (size_t i = 0; i < LAYOUT_SECRET_BYTES; i++)
		STORE(successor->publisher->secret[i], segment->secret[i]);
	memcpy(successor->secret, segment->secret, LAYOUT_SECRET_BYTES);
}

/* ---- names of the objects ---- */

int segment_reveal(struct segment *segment, const struct place *place)
{
	int rules = object_is_ours(place, "rules");
	int state = object_is_ours(place, "state");
	int status = rules < 0 ? rules : state < 0 ? state : 0;

	(void)segment;
	if (status == 0 && rules && state) {
		status = object_link(place, "state", "state.old");
		FAULT_POINT(reveal_linking);
		if (status == 0)
			status = object_link(place, "rules", "rules.old");
	}
	FAULT_POINT(reveal_linked);
	if (status == 0)
		status = object_rename(place, "state.new", "state");
	FAULT_POINT(reveal_state);
	if (status == 0)
		status = object_rename(place, "rules.new", "rules");
	FAULT_POINT(reveal_rules);
	return status;
}

void segment_forget_old(const struct place *place)
{
	object_unlink(place, "rules.old");
	object_unlink(place, "state.old");
}

int segment_remove(const struct place *place)
{
	int status = object_is_ours(place, "rules");

	if (status < 0)
		return status;
	object_unlink(place, "rules");
	object_unlink(place, "state");
	object_unlink(place, "rules.new");
	object_unlink(place, "state.new");
	segment_forget_old(place);
	object_unlink(place, "lock");
	return 0;
}

int segment_recover(const struct place *place)
{
	uint64_t rules = object_pair(place, "rules", offsetof(struct rules_header, pair));
	uint64_t state = object_pair(place, "state", offsetof(struct state_header, pair));
	uint64_t old = object_pair(place, "state.old", offsetof(struct state_header, pair));
	uint64_t moving = object_pair(place, "rules", offsetof(struct rules_header, predecessor));
	int status = 0;

	object_unlink(place, "rules.new");
	object_unlink(place, "state.new");
	if (rules && rules != state && rules == old)
		status = object_rename(place, "state.old", "state");
	if (rules && rules == state && moving)
		return 0; /* the move goes on, and needs them */
	segment_forget_old(place);
	return status;
}
