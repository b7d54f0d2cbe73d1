/* SPDX-License-Identifier: Apache-2.0 */
#include "permit_found.h"

#define TOOK_MAX_NS (3600 * 1000000000ull) /* longer says no more, and would fill the word */

bool permit_found_read(const struct rule_row *row, struct permit_found *out)
{
	/* acquire, all: pair with the releases in permit_chain.c. Each is whole by itself, and of
	 * two that do not belong together people see the next moment's */
	uint64_t word = atomic_load_explicit(&row->permit_limit, memory_order_acquire);
	uint64_t bounds = atomic_load_explicit(&row->permit_bounds, memory_order_acquire);
	const struct permit_found found = {
		.min = (uint32_t)bounds,
		.max = (uint32_t)(bounds >> 32),
		.limit = (uint32_t)((word & PERMIT_LIMIT) - 1),
		.cause = atomic_load_explicit(&row->permit_cause, memory_order_acquire),
		.latency_ns = atomic_load_explicit(&row->permit_latency_ns, memory_order_acquire),
		.base_ns = atomic_load_explicit(&row->permit_base_ns, memory_order_acquire),
	};

	if (found.max == 0 || (word & PERMIT_LIMIT) == TERMS_NO_LIMIT)
		return false;
	*out = found;
	return true;
}

const char *permit_found_text(uint32_t cause)
{
	switch ((enum found_cause)cause) {
	case FOUND_NOTHING:
		break;
	case FOUND_ROOM:
		return "there may be room for more";
	case FOUND_QUEUE:
		return "calls queue upstream";
	case FOUND_FAILING:
		return "too many calls fail";
	case FOUND_PROBING:
		return "fewer for a moment, to see how long a call takes without a queue";
	case FOUND_PROBED:
		return "as before it was seen how long a call takes without a queue";
	case FOUND_BOUNDS:
		return "its bounds were changed";
	}
	return "nothing is known of its calls yet";
}

/* ---- counting ---- */

/* The line of the row's chain, if the limit is found; NULL. */
static struct permit_line *line_of(const struct segment *segment, const struct rule_row *row)
{
	/* relaxed: a call more or less is counted while the limit comes to be found */
	if (atomic_load_explicit(&row->permit_bounds, memory_order_relaxed) == 0)
		return NULL;

	/* acquire: pairs with the release in head_store() */
	uint32_t head = atomic_load_explicit(&row->permit_head, memory_order_acquire);

	return head && head <= segment->block_count ? &segment->lines[head - 1] : NULL;
}

static uint64_t ns_of(const struct segment *segment, uint64_t ticks)
{
	struct line clock;

	if (segment->time.kind != CLOCK_KIND_TSC)
		return ticks;
	segment_clock(segment, &clock);
	return line_ticks_to_ns(&clock, ticks);
}

static void add(const struct segment *segment, const struct rule_row *row, _Atomic uint64_t *word,
		uint64_t began)
{
	/* acquire: pairs with the release in since_store(). By an older one a call is counted that
	 * began under the limit before */
	uint64_t since = atomic_load_explicit(&row->permit_since, memory_order_acquire);
	uint64_t now = segment_now(segment);
	uint64_t ns;

	if (began < since || began > now)
		return;
	ns = ns_of(segment, now - began);
	ns = ns < TOOK_MAX_NS ? ns : TOOK_MAX_NS;
	/* relaxed: nothing hangs on it but the word itself */
	atomic_fetch_add_explicit(word, 1 + ns / PERMIT_ENDS_NS * (PERMIT_ENDS + 1),
				  memory_order_relaxed);
}

void permit_found_end(const struct segment *segment, const struct rule_row *row, uint64_t began)
{
	struct permit_line *line = line_of(segment, row);

	if (line)
		add(segment, row, &line->ended, began);
}

void permit_found_fail(const struct segment *segment, const struct rule_row *row, uint64_t began)
{
	struct permit_line *line = line_of(segment, row);

	if (line)
		add(segment, row, &line->failed, began);
}

void permit_found_ends(const struct segment *segment, const struct rule_row *row,
		       struct permit_ends *out)
{
	const struct permit_line *line = line_of(segment, row);

	/* relaxed: sums, of which a call that is being added is missed until the next look */
	out->ended = line ? atomic_load_explicit(&line->ended, memory_order_relaxed) : 0;
	out->failed = line ? atomic_load_explicit(&line->failed, memory_order_relaxed) : 0;
}
