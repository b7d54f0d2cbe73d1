/* SPDX-License-Identifier: Apache-2.0 */
#include "inflight.h"

#include <stdlib.h>

#include "gradient.h"
#include "log.h"
#include "permit_chain.h"
#include "permits.h"

#define SAY_AGAIN 1.25	/* times more or fewer than what was said last */
#define SETTLE_FACTOR 2 /* times what a call takes; those above a lowered limit have ended then */
#define SETTLE_NS 1000000000ull /* where that is not known */

struct inflight_entry {
	uint64_t pair;
	uint32_t head; /* of the chain: it is the rule's, whatever row it has */
	struct gradient gradient;
	uint32_t limit; /* that it put into the row, or found there */
	struct permit_ends seen;
	uint64_t seen_ns;
	uint64_t settle_ns; /* calls above a lowered limit are waited for until then; 0: none */
	uint32_t said;	    /* limit in the log */
	bool is_met;	    /* in the look under way */
	struct inflight_entry *next;
};

/* ---- entries ---- */

static uint32_t head_of(const struct segment *segment, uint32_t row)
{
	/* relaxed: this process alone writes it */
	return atomic_load_explicit(&segment->rows[row].permit_head, memory_order_relaxed);
}

static struct inflight_entry *find_entry(const struct inflight *inflight, uint64_t pair,
					 uint32_t head)
{
	struct inflight_entry *entry = inflight->entries;

	while (entry && (entry->pair != pair || entry->head != head))
		entry = entry->next;
	return entry;
}

/* From here on calls are counted that begin from here on. */
static void count_anew(struct inflight_entry *entry, struct segment *segment, uint32_t row)
{
	entry->settle_ns = 0;
	permit_found_count(segment, row);
	permit_found_ends(segment, &segment->rows[row], &entry->seen);
	entry->seen_ns = segment_now_ns(segment);
}

/* Goes on from what stands in the row. */
static void entry_begin(struct inflight_entry *entry, struct segment *segment, uint32_t row,
			const struct permit_found *found)
{
	const struct gradient_settings settings = {found->min, found->max};

	gradient_begin(&entry->gradient, &settings, found->limit, (double)found->base_ns);
	entry->limit = found->limit;
	entry->said = found->limit;
	count_anew(entry, segment, row);
}

static struct inflight_entry *add_entry(struct inflight *inflight, struct segment *segment,
					uint32_t row, const struct permit_found *found)
{
	struct inflight_entry *entry = calloc(1, sizeof(*entry));

	if (!entry)
		return NULL;
	entry->pair = segment->pair;
	entry->head = head_of(segment, row);
	entry_begin(entry, segment, row, found);
	entry->next = inflight->entries;
	inflight->entries = entry;
	return entry;
}

/* Whether the row is as the entry left it; an operator or a reload may have changed it. */
static bool entry_holds(const struct inflight_entry *entry, const struct permit_found *found)
{
	return entry->limit == found->limit && entry->gradient.settings.min == found->min &&
	       entry->gradient.settings.max == found->max;
}

static void forget_unmet(struct inflight *inflight)
{
	struct inflight_entry **at = &inflight->entries;

	while (*at) {
		struct inflight_entry *entry = *at;

		if (entry->is_met) {
			entry->is_met = false;
			at = &entry->next;
		} else {
			*at = entry->next;
			free(entry);
		}
	}
}

void inflight_end(struct inflight *inflight)
{
	while (inflight->entries) {
		struct inflight_entry *next = inflight->entries->next;

		free(inflight->entries);
		inflight->entries = next;
	}
}

/* ---- into force ---- */

static void say(struct inflight_entry *entry, const struct segment *segment, uint32_t row,
		const struct gradient_decision *decision)
{
	bool probe = decision->cause == FOUND_PROBING || decision->cause == FOUND_PROBED;
	bool news = !probe && (decision->limit > entry->said * SAY_AGAIN ||
			       decision->limit < entry->said / SAY_AGAIN);
	uint32_t from = news ? entry->said : entry->limit;
	enum log_level level = news ? LOG_INFO : LOG_DEBUG;
	const char *why = permit_found_text(decision->cause);
	char text[LAYOUT_TEXT_BYTES];

	segment_text(segment->rows[row].text, text);
	if (news)
		entry->said = decision->limit;
	if (decision->cause == FOUND_FAILING || decision->base_ns <= 0)
		log_line(level, "concurrency of %s from %u to %u: %s", text, from, decision->limit,
			 why);
	else
		log_line(level, "concurrency of %s from %u to %u: latency %.2f x its base (%s)",
			 text, from, decision->limit, decision->latency_ns / decision->base_ns,
			 why);
}

static void apply(struct inflight_entry *entry, struct segment *segment, uint32_t row,
		  const struct gradient_decision *decision)
{
	const struct permit_found found = {
		.limit = decision->limit,
		.cause = decision->cause,
		.latency_ns = (uint64_t)decision->latency_ns,
		.base_ns = (uint64_t)decision->base_ns,
	};
	uint64_t settle_ns = SETTLE_FACTOR * found.latency_ns;

	if (permit_found_store(segment, row, &found) < 0)
		return; /* it is given since: the next look finds no entry for it */
	say(entry, segment, row, decision);
	if (decision->limit > entry->limit)
		count_anew(entry, segment, row);
	else
		entry->settle_ns =
			segment_now_ns(segment) + (settle_ns > 0 ? settle_ns : SETTLE_NS);
	entry->limit = decision->limit;
}

/* ---- what calls tell ---- */

/* Calls at once: those that hold permits now, and as many as could have taken what they took. */
static uint32_t in_flight(const struct segment *segment, uint32_t row, double sum_ns, double calls,
			  uint64_t passed_ns)
{
	struct permit_sum sum = {0};
	double span_ns = (double)passed_ns;
	double by_time;

	permits_look(segment, &segment->rows[row], &sum, NULL, NULL);
	if (calls > 0 && span_ns < sum_ns / calls)
		span_ns = sum_ns / calls;
	by_time = span_ns > 0 ? sum_ns / span_ns : 0;
	if (by_time > LAYOUT_MAX_PERMITS)
		by_time = LAYOUT_MAX_PERMITS;
	return by_time > (double)sum.held ? (uint32_t)by_time : (uint32_t)sum.held;
}

/* What has been added since the last look. */
static void take_slice(struct inflight_entry *entry, const struct segment *segment, uint32_t row,
		       struct gradient_slice *out)
{
	const struct permit_ends before = entry->seen;
	uint64_t now_ns = segment_now_ns(segment);
	uint64_t passed_ns = now_ns > entry->seen_ns ? now_ns - entry->seen_ns : 0;
	uint64_t all_ns, failed_ns;

	permit_found_ends(segment, &segment->rows[row], &entry->seen);
	entry->seen_ns = now_ns;
	*out = (struct gradient_slice){
		.calls = permit_ends_calls(entry->seen.ended, before.ended),
		.failed = permit_ends_calls(entry->seen.failed, before.failed),
	};
	all_ns = permit_ends_ns(entry->seen.ended, before.ended);
	failed_ns = permit_ends_ns(entry->seen.failed, before.failed);
	out->sum_ns = all_ns > failed_ns ? (double)(all_ns - failed_ns) : 0;
	out->in_flight = in_flight(segment, row, (double)all_ns, out->calls, passed_ns);
}

static bool is_settled(const struct inflight_entry *entry, const struct segment *segment,
		       uint32_t row)
{
	return segment_now_ns(segment) >= entry->settle_ns || permit_held_above(segment, row) == 0;
}

bool inflight_look_at(struct inflight *inflight, struct segment *segment, uint32_t row)
{
	struct inflight_entry *entry = find_entry(inflight, segment->pair, head_of(segment, row));
	struct gradient_decision decision;
	struct gradient_slice slice;
	struct permit_found found;

	if (!permit_found_read(&segment->rows[row], &found))
		return true;
	if (!entry)
		entry = add_entry(inflight, segment, row, &found);
	if (!entry)
		return false;
	entry->is_met = true;
	if (!entry_holds(entry, &found))
		entry_begin(entry, segment, row, &found);
	if (entry->settle_ns) {
		inflight->moves = true;
		if (is_settled(entry, segment, row))
			count_anew(entry, segment, row);
		return true;
	}
	take_slice(entry, segment, row, &slice);
	inflight->moves |= slice.calls || slice.failed;
	if (gradient_take(&entry->gradient, &slice, &decision))
		apply(entry, segment, row, &decision);
	return true;
}

/* One that an operator froze begins anew afterwards. */
static bool is_found(const struct segment *segment, uint32_t row)
{
	struct terms_author author;
	uint64_t changed_ns;
	struct terms terms;

	/* relaxed, both: this process alone writes them */
	if (atomic_load_explicit(&segment->rows[row].state, memory_order_relaxed) != ROW_LIVE ||
	    atomic_load_explicit(&segment->rows[row].permit_bounds, memory_order_relaxed) == 0)
		return false;
	segment_terms(segment, row, &terms, &author, &changed_ns);
	return !(terms.learned.cause & LEARNED_FROZEN);
}

bool inflight_look(struct inflight *inflight, struct segment *segment)
{
	bool all = true;

	inflight->moves = false;
	for (uint32_t row = 0; row < segment->row_count; row++)
		if (is_found(segment, row))
			all &= inflight_look_at(inflight, segment, row);
	forget_unmet(inflight);
	return all;
}
