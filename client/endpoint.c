/* SPDX-License-Identifier: Apache-2.0
 *
 * endpoint.c - resolves a name and keeps the resolution current; looks without taking.
 */
#include "handle.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "class.h"
#include "key_tables.h"
#include "move.h"
#include "shadow.h"

static struct binding *binding_new(const struct weir_endpoint *endpoint, struct attachment *at,
				   const struct resolution *found, struct binding *previous)
{
	struct binding *binding = calloc(1, sizeof(*binding));
	struct line line;

	if (!binding)
		return NULL;
	binding->attachment = at;
	binding->table = &at->segment.rules->table_generation;
	binding->retired = &at->segment.state->retired;
	binding->fork_mark = endpoint->weir->fork_mark;
	binding->time = at->segment.time;
	binding->tallies = at->segment.tallies;
	binding->tallies.lanes += found->bucket;
	binding->row = &at->segment.rows[found->row];
	binding->bucket = &at->segment.buckets[found->bucket];
	line_read(binding->row, &binding->time, &line);
	binding->units_per_token = endpoint->class_name ? 0 : 1ull << line.k;
	keys_of_row(&at->segment, found->row, &binding->keyed);
	if (binding->keyed.bins)
		binding->key_table = &at->segment.tables[keys_table_of(&at->segment, found->row)];
	binding->key = found->key;
	/* the short way of weir_acquire() is not for keys, nor theirs for a key's own name */
	if (binding->keyed.bins) {
		binding->units_per_key_token = binding->key ? 0 : binding->units_per_token;
		binding->units_per_token = 0;
	}
	binding->row_index = found->row;
	binding->bucket_index = found->bucket;
	binding->previous = previous;
	/* relaxed: released with the binding */
	atomic_store_explicit(&binding->table_generation, found->table_generation,
			      memory_order_relaxed);
	return binding;
}

static int refresh_locked(struct weir_endpoint *endpoint)
{
	struct weir *weir = endpoint->weir;
	struct binding *present = endpoint_binding(endpoint);
	struct resolution found;

	fork_rejoin(weir);

	/* relaxed: written under the mutex. Before the look for another: who is woken because the
	 * pair retired must not go to sleep by it again when there is one */
	struct attachment *at = atomic_load_explicit(&weir->current, memory_order_relaxed);
	const struct attachment *retired = segment_is_retired(&at->segment) ? at : NULL;

	attachment_follow(weir);
	at = atomic_load_explicit(&weir->current, memory_order_acquire);

	int status = names_resolve(&at->segment, endpoint->name, true, &found);

	if (status < 0)
		return status;
	if (present && present->attachment == at && present->row_index == found.row &&
	    present->bucket_index == found.bucket && present->key == found.key) {
		/* relaxed: a thread that reads the older value comes here once more */
		atomic_store_explicit(&present->table_generation, found.table_generation,
				      memory_order_relaxed);
		atomic_store_explicit(&present->is_orphan, at == retired, memory_order_relaxed);
		return 0;
	}

	struct binding *next = binding_new(endpoint, at, &found, present);

	if (!next)
		return -ENOMEM;
	/* relaxed: released with the binding */
	atomic_store_explicit(&next->is_orphan, at == retired, memory_order_relaxed);
	/* release: pairs with the acquire in endpoint_binding() */
	atomic_store_explicit(&endpoint->binding, next, memory_order_release);
	return 0;
}

int endpoint_refresh(struct weir_endpoint *endpoint)
{
	pthread_mutex_lock(&endpoint->weir->mutex);
	int status = refresh_locked(endpoint);
	pthread_mutex_unlock(&endpoint->weir->mutex);
	return status;
}

/* Maps the pair that the attachment replaces, if its marks are still being moved. */
static int map_predecessor(struct weir *weir, struct attachment *at)
{
	/* acquire: pairs with the release in move_finish() */
	uint64_t pair = atomic_load_explicit(&at->segment.rules->predecessor, memory_order_acquire);
	int status = 0;

	if (at->has_predecessor || pair == 0)
		return 0;
	status = segment_attach_old(&at->predecessor, &weir->place, SEGMENT_USE, weir->trusted,
				    pair);
	if (status < 0)
		/* the publisher may just have finished */
		return atomic_load_explicit(&at->segment.rules->predecessor, memory_order_acquire)
			       ? status
			       : 0;
	at->has_predecessor = true;
	/* its users must come here before their marks do */
	move_retire(&at->predecessor);
	return 0;
}

int endpoint_install(struct weir_endpoint *endpoint, struct binding *binding)
{
	struct attachment *at = binding->attachment;

	pthread_mutex_lock(&endpoint->weir->mutex);
	int status = map_predecessor(endpoint->weir, at);

	if (status == 0)
		status = move_install(&at->segment, at->has_predecessor ? &at->predecessor : NULL,
				      binding->row_index, binding->bucket_index);
	pthread_mutex_unlock(&endpoint->weir->mutex);
	return status;
}

int endpoint_first_mark(struct weir_endpoint *endpoint, struct binding *binding, uint64_t key,
			const struct line *line, uint64_t *mark)
{
	struct attachment *at = binding->attachment;

	pthread_mutex_lock(&endpoint->weir->mutex);
	int status = map_predecessor(endpoint->weir, at);

	if (status == 0)
		status =
			keys_first_mark(&at->segment, at->has_predecessor ? &at->predecessor : NULL,
					binding->row_index, key, line, mark);
	pthread_mutex_unlock(&endpoint->weir->mutex);
	return status;
}

static int endpoint_new(struct weir *weir, const char *name, uint64_t class_name,
			struct weir_endpoint **out)
{
	if (!names_valid(name))
		return WEIR_ENAME;

	struct weir_endpoint *endpoint = calloc(1, sizeof(*endpoint));

	if (!endpoint)
		return -ENOMEM;
	endpoint->weir = weir;
	endpoint->class_name = class_name;
	strcpy(endpoint->name, name); /* names_valid() bounds it */

	int status = endpoint_refresh(endpoint);

	if (status < 0) {
		free(endpoint);
		return status;
	}
	*out = endpoint;
	return 0;
}

int weir_endpoint(struct weir *weir, const char *name, struct weir_endpoint **out)
{
	return endpoint_new(weir, name, 0, out);
}

int weir_endpoint_class(struct weir *weir, const char *name, const char *class_name,
			struct weir_endpoint **out)
{
	uint64_t number = class_number(class_name);

	return number ? endpoint_new(weir, name, number, out) : WEIR_ECLASS;
}

void weir_endpoint_close(struct weir_endpoint *endpoint)
{
	if (!endpoint)
		return;

	struct binding *binding = endpoint_binding(endpoint);

	while (binding) {
		struct binding *previous = binding->previous;

		free(binding);
		binding = previous;
	}
	free(endpoint);
}

/* ---- looking ---- */

static double rate_per_s(const struct line *line, uint64_t hz)
{
	if (line->flags & LINE_UNLIMITED)
		return INFINITY;
	if (line->flags & LINE_WINDOW)
		return line->step_ticks ? ldexp((double)line->step_units, -(int)line->k) *
						  (double)hz / (double)line->step_ticks
					: 0;
	return ldexp((double)line->slope * (double)hz, -(LINE_SLOPE_BITS + (int)line->k));
}

/* Until `one` could be taken, where it cannot now. */
static uint64_t wait_ticks(const struct line *line, uint64_t now, uint64_t mark, int64_t level,
			   uint64_t one)
{
	if (!(line->flags & LINE_WINDOW))
		return line_wait_ticks(line, now, one - (uint64_t)level);

	struct stand stand = window_stand(line, now, mark);

	stand.ahead = line->burst_units - (uint64_t)level;
	return window_wait(line, now, stand, one);
}

/* The same behind a closure. A window that nobody has used begins with its initial level. */
static uint64_t closed_ticks(const struct line *line, uint64_t now, uint64_t mark, int64_t level,
			     uint64_t gate, uint64_t one, bool kept)
{
	if (mark == BUCKET_UNSET && line->flags & LINE_WINDOW)
		mark = window_stand(line, now, mark).v + line->burst_units - (uint64_t)level;
	return (kept ? gate_wait_ticks_kept : gate_wait_ticks)(gate, mark, line, now, one,
							       line->burst_units);
}

/* A window from first use that nobody has begun has no end yet. */
static void window_fill(const struct segment *segment, const struct line *line, uint64_t now,
			uint64_t mark, struct weir_level *out)
{
	struct stand stand = window_stand(line, now, mark);

	if (line->flags & LINE_ALIGNED || stand.ahead)
		out->renews_ns = ticks_to_ns(segment, window_ticks(line, now, stand.v, 1));
}

static void level_fill(const struct binding *binding, const struct line *line, uint64_t now,
		       struct weir_level *out)
{
	const struct segment *segment = &binding->attachment->segment;
	uint64_t mark = binding_mark(binding);
	uint64_t gate = gate_load(binding->bucket);
	bool drains = !(line->flags & LINE_WINDOW) && !binding->keyed.bins;
	int64_t level = line_level(line, now, mark);
	uint64_t one = line->burst_units < 1ull << line->k ? line->burst_units : 1ull << line->k;
	int scale = -(int)line->k;

	/* the first call after a closure will find the bucket empty as of the opening */
	if (!gate_is_settled(gate) && !gate_is_closed(gate, now) && drains) {
		uint64_t empty = line_value(line, gate & GATE_UNTIL) + line->burst_units;
		int64_t opened = bucket_level(empty, line_value(line, now), line->burst_units, 0);

		level = opened < level ? opened : level;
	}
	out->level = ldexp((double)level, scale);
	out->burst =
		line->flags & LINE_UNLIMITED ? INFINITY : ldexp((double)line->burst_units, scale);
	out->rate_per_s = rate_per_s(line, segment_hz(segment));
	out->unit = ldexp(1.0, scale);
	if (gate_is_closed(gate, now)) {
		out->closed_ns = ticks_to_ns(segment, (gate & GATE_UNTIL) - now);
		out->wait_ns = ticks_to_ns(
			segment, closed_ticks(line, now, mark, level, gate, one, !drains));
	} else if (!(line->flags & LINE_UNLIMITED) && level < (int64_t)one) {
		out->wait_ns = ticks_to_ns(segment, wait_ticks(line, now, mark, level, one));
	}
	if (line->flags & LINE_WINDOW && !(line->flags & (LINE_UNLIMITED | LINE_NEVER)))
		window_fill(segment, line, now, mark, out);
}

static void counts_fill(const struct binding *binding, struct weir_level *out)
{
	struct shadow_sum shadow;
	struct tally_sum sum;

	move_tally(&binding->attachment->segment, binding->row_index, binding->bucket_index, &sum);
	out->granted = sum.counters[COUNT_GRANTED_CALLS];
	out->refused = sum.counters[COUNT_REFUSED_CALLS];
	out->waited = sum.counters[COUNT_WAITED_CALLS];
	shadow_read(binding->bucket, &shadow);
	out->shadow_passed = shadow.counts[SHADOW_PASSED_CALLS];
	out->shadow_refused = shadow.counts[SHADOW_REFUSED_CALLS];
	out->granted_tokens = (double)sum.tokens[COUNT_GRANTED_UNITS];
	out->returned_tokens = (double)sum.tokens[COUNT_RETURNED_UNITS];
}

static uint64_t window_of(const struct rule_row *row)
{
	struct terms_author author;
	struct terms terms;
	uint64_t changed_ns;

	line_read_terms(row, &terms, &author, &changed_ns);
	return terms.window.length_ns;
}

void endpoint_level(const struct binding *binding, struct weir_level *out)
{
	struct weir_level level = {.size = sizeof(level)};
	struct line line;
	uint64_t now = line_read(binding->row, &binding->attachment->segment.time, &line);

	level_fill(binding, &line, now, &level);
	if (line.flags & LINE_WINDOW)
		level.window_ns = window_of(binding->row);
	counts_fill(binding, &level);
	/* a program built against an older header has a shorter struct */
	size_t size = out->size < sizeof(level) ? out->size : sizeof(level);

	memcpy(out, &level, size);
	out->size = size;
}

int weir_peek(struct weir_endpoint *endpoint, struct weir_level *out)
{
	struct binding *binding = endpoint_binding(endpoint);

	if (!binding_is_current(binding)) {
		int status = endpoint_refresh(endpoint);

		if (status < 0)
			return status;
		binding = endpoint_binding(endpoint);
	}
	endpoint_level(binding, out);
	return 0;
}

/* ---- the gate ---- */

static int gate_apply(struct weir_endpoint *endpoint, bool closing, uint64_t duration_ns)
{
	for (int tries = 0; tries < CALL_TRIES; tries++) {
		int status = binding_is_current(endpoint_binding(endpoint))
				     ? 0
				     : endpoint_refresh(endpoint);

		if (status < 0)
			return status;

		struct binding *binding = endpoint_binding(endpoint);
		const struct segment *segment = &binding->attachment->segment;
		uint64_t now = segment_now(segment);

		if (binding->key)
			return WEIR_EKEY;

		bool here = closing ? gate_close(binding->bucket, now,
						 deadline_after(segment, duration_ns))
				    : gate_open(binding->bucket, now);

		time_source_nudge(&segment->time);
		if (here)
			return 0;
		/* its mark has moved: once more where it went */
		status = endpoint_refresh(endpoint);
		if (status < 0)
			return status;
	}
	return WEIR_EDAMAGED;
}

int weir_gate_close(struct weir_endpoint *endpoint, uint64_t duration_ns)
{
	/* no closure, after which the bucket would begin empty */
	return duration_ns ? gate_apply(endpoint, true, duration_ns) : 0;
}

int weir_gate_open(struct weir_endpoint *endpoint)
{
	return gate_apply(endpoint, false, 0);
}
