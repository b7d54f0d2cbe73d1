/* SPDX-License-Identifier: Apache-2.0 */
#include "follow.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapt.h"
#include "bucket.h"
#include "describe.h"
#include "fault.h"
#include "gate.h"
#include "log.h"
#include "move.h"
#include "names.h"
#include "value.h"
#include "weir.h"

#define SAY_AGAIN 1.5 /* times faster or slower than what was said last */

struct follow_entry {
	char text[LAYOUT_TEXT_BYTES]; /* of the rule: a pair or unit may change under it */
	struct adaptive adaptive;
	struct learned_terms learned; /* that it put into the row, or found there */
	uint64_t next_ns;
	uint64_t adopted_until_ns; /* of what another daemon learned; 0: what is in force is ours */
	double said_per_s;	   /* of the line of the log; 0: none */
	enum adaptive_cause said_cause;
	struct follow_entry *next;
};

/* ---- entries ---- */

static struct follow_entry *find_entry(const struct follow *follow, const char *text)
{
	struct follow_entry *entry = follow->entries;

	while (entry && strcmp(entry->text, text) != 0)
		entry = entry->next;
	return entry;
}

static double drawn(const struct segment *segment, uint32_t row)
{
	struct tally_sum sum;

	move_tally(segment, row, row, &sum);
	return (double)(sum.tokens[COUNT_GRANTED_UNITS] - sum.tokens[COUNT_RETURNED_UNITS]);
}

/* Begins with what stands in the row: nothing, or what somebody else has put there. */
static void entry_begin(const struct follow *follow, struct follow_entry *entry, uint32_t row,
			const struct terms *terms)
{
	const struct segment *segment = &follow->instance->segment;
	struct adaptive_settings settings = follow_settings(terms);
	uint64_t now_ns = segment_now_ns(segment);
	uint64_t until_ns = terms->learned.until_ns;

	adaptive_begin(&entry->adaptive, &settings, now_ns, drawn(segment, row));
	entry->learned = terms->learned;
	entry->next_ns = UINT64_MAX;
	entry->adopted_until_ns = 0;
	if (terms->learned.period_ns)
		entry->adopted_until_ns = until_ns == UINT64_MAX ? now_ns + FOLLOW_ADOPTED_NS
					  : until_ns		 ? until_ns
								 : 1;
}

static struct follow_entry *add_entry(struct follow *follow, uint32_t row,
				      const struct terms *terms)
{
	struct follow_entry *entry = calloc(1, sizeof(*entry));

	if (!entry)
		return NULL;
	segment_text(follow->instance->segment.rows[row].text, entry->text);
	entry_begin(follow, entry, row, terms);
	entry->next = follow->entries;
	follow->entries = entry;
	follow->count++;
	return entry;
}

/* Whether the row is as the entry left it; an operator or a reload may have changed it. */
static bool entry_holds(const struct follow_entry *entry, const struct terms *terms)
{
	return entry->learned.rate_micro == terms->learned.rate_micro &&
	       entry->learned.period_ns == terms->learned.period_ns &&
	       entry->learned.burst_micro == terms->learned.burst_micro;
}

static bool is_frozen(const struct terms *terms)
{
	return terms->learned.cause & LEARNED_FROZEN;
}

static void adopt(struct follow *follow, uint32_t row)
{
	struct terms terms = instance_terms(follow->instance, row);

	if (terms.learned.period_ns && terms.adapt.mode != ADAPT_OFF && !is_frozen(&terms) &&
	    !add_entry(follow, row, &terms))
		log_line(LOG_ERROR, "no memory for what was learned of a rule");
}

void follow_begin(struct follow *out, struct instance *instance)
{
	const struct segment *segment = &instance->segment;

	*out = (struct follow){.instance = instance};
	for (uint32_t row = 0; row < segment->row_count; row++)
		/* relaxed: this process alone writes rows */
		if (atomic_load_explicit(&segment->rows[row].state, memory_order_relaxed) ==
		    ROW_LIVE)
			adopt(out, row);
}

void follow_end(struct follow *follow)
{
	while (follow->entries) {
		struct follow_entry *next = follow->entries->next;

		free(follow->entries);
		follow->entries = next;
	}
	follow->count = 0;
}

/* ---- into force ---- */

/* "the upstream's limit is 60, of it 12 left", as far as it is said. */
static void upstream_text(const struct adaptive_decision *decision, char *out, size_t bytes)
{
	if (decision->limit >= 0 && decision->remaining >= 0)
		snprintf(out, bytes, "the upstream's limit is %.0f, of it %.0f left",
			 decision->limit, decision->remaining);
	else if (decision->limit >= 0)
		snprintf(out, bytes, "the upstream's limit is %.0f", decision->limit);
	else if (decision->remaining >= 0)
		snprintf(out, bytes, "the upstream says %.0f are left", decision->remaining);
	else
		snprintf(out, bytes, "the upstream says no numbers");
}

static void say(struct follow_entry *entry, const struct adaptive_decision *decision,
		const struct terms *terms, const struct learned_terms *learned, uint64_t now_ns)
{
	double rate = decision->rate_per_s;
	bool news = decision->cause != entry->said_cause || entry->said_per_s <= 0 ||
		    rate > entry->said_per_s * SAY_AGAIN || rate < entry->said_per_s / SAY_AGAIN;
	char from[VALUE_TEXT_BYTES], until[VALUE_TEXT_BYTES], upstream[96];

	if (news) {
		entry->said_cause = decision->cause;
		entry->said_per_s = rate;
	}
	value_rate_text(terms->rate_micro, terms->period_ns, from);
	if (learned->period_ns == 0) {
		log_line(news ? LOG_INFO : LOG_DEBUG, "%s: %s again (%s)", entry->text, from,
			 adaptive_cause_text(decision->cause));
		return;
	}
	snprintf(until, sizeof(until), "until more is known");
	if (decision->expires_ns != UINT64_MAX && decision->expires_ns > now_ns)
		snprintf(until, sizeof(until), "for %.1f s",
			 (double)(decision->expires_ns - now_ns) / 1e9);
	upstream_text(decision, upstream, sizeof(upstream));
	log_line(news ? LOG_INFO : LOG_DEBUG, "%s: %.4g/s of %s %s (%s%s; %s)", entry->text, rate,
		 from, until, adaptive_cause_text(decision->cause),
		 decision->distrusts ? ", what it says is contradicted by what it does" : "",
		 upstream);
}

static void lower(const struct segment *segment, uint32_t row, double most)
{
	struct line line;
	uint64_t now = line_read(&segment->rows[row], &segment->time, &line);
	double units = ldexp(most, (int)line.k);

	if (!(units < (double)line.burst_units) || line.flags & LINE_UNLIMITED)
		return;
	/* a bucket that nobody has used has nothing that could be drawn at once but its burst */
	bucket_lower(&segment->buckets[row], &line, now, units > 0 ? (uint64_t)units : 0);
}

static void close_until(struct segment *segment, uint32_t row, uint64_t until_ns)
{
	uint64_t now_ns = segment_now_ns(segment);
	uint64_t now = segment_now(segment);

	if (until_ns <= now_ns)
		return;
	gate_close(&segment->buckets[row], now, segment_tick_in(segment, now, until_ns - now_ns));
	rules_wake(segment, row);
}

static void apply(struct follow *follow, struct follow_entry *entry, uint32_t row,
		  const struct terms *terms, const struct adaptive_decision *decision)
{
	struct segment *segment = &follow->instance->segment;
	struct learned_terms learned = follow_learned(decision, terms);
	int error;

	FAULT_POINT(follow_decided);
	error = rules_learn(segment, row, &learned);
	if (error < 0) {
		log_line(LOG_WARNING, "%s: what was learned is not in force: %s", entry->text,
			 weir_strerror(error));
		return;
	}
	FAULT_POINT(follow_learned);
	if (isfinite(decision->level_most))
		lower(segment, row, decision->level_most);
	close_until(segment, row, decision->closed_until_ns);
	entry->learned = learned;
	entry->adopted_until_ns = 0;
	say(entry, decision, terms, &learned, segment_now_ns(segment));
}

/* ---- observations ---- */

/* Of [default], and of a rule with a bucket for each key: one speed, and many upstreams. */
static bool has_many_buckets(const struct rule_row *row)
{
	/* relaxed: this process alone writes rows */
	unsigned kind = atomic_load_explicit(&row->kind, memory_order_relaxed);

	return kind == ROW_DEFAULT || kind == ROW_EACH;
}

/* The adaptive rule of a name, with its terms; -1: none. */
static int64_t adaptive_row(const struct instance *instance, const char *name, struct terms *terms)
{
	const struct segment *segment = &instance->segment;
	int row = names_valid(name) ? names_find_row(segment, name) : -1;

	if (row < 0 || has_many_buckets(&segment->rows[row]))
		return -1;
	*terms = instance_terms(instance, (uint32_t)row);
	return terms->adapt.mode == ADAPT_OFF ? -1 : row;
}

int follow_observe(struct follow *follow, const struct wire_observation *observation)
{
	const struct segment *segment = &follow->instance->segment;
	struct adaptive_observation seen;
	struct adaptive_settings settings;
	struct adaptive_decision decision;
	char text[LAYOUT_TEXT_BYTES];
	struct follow_entry *entry;
	struct terms terms;
	int64_t row = adaptive_row(follow->instance, observation->name, &terms);
	bool differs;

	if (row < 0 || is_frozen(&terms))
		return 0;
	segment_text(segment->rows[row].text, text);
	entry = find_entry(follow, text);
	if (!entry)
		entry = add_entry(follow, (uint32_t)row, &terms);
	if (!entry)
		return -ENOMEM;
	if (!entry_holds(entry, &terms))
		entry_begin(follow, entry, (uint32_t)row, &terms);
	FAULT_POINT(follow_observed);
	settings = follow_settings(&terms);
	seen = follow_observation(observation, drawn(segment, (uint32_t)row));
	differs = adaptive_observe(&entry->adaptive, &settings, segment_now_ns(segment), &seen,
				   &decision);
	entry->next_ns = decision.next_ns;
	if (differs)
		apply(follow, entry, (uint32_t)row, &terms, &decision);
	return 0;
}

/* ---- time ---- */

/* What another daemon learned ends with its time. */
static void expire_adopted(struct follow *follow, struct follow_entry *entry, uint32_t row,
			   const struct terms *terms, uint64_t now_ns)
{
	const struct learned_terms nothing = {0};
	char rate[VALUE_TEXT_BYTES];

	if (entry->adopted_until_ns == 0 || now_ns < entry->adopted_until_ns)
		return;
	entry->adopted_until_ns = 0;
	entry->learned = nothing;
	if (rules_learn(&follow->instance->segment, row, &nothing) == 0)
		log_line(LOG_INFO, "%s: %s again (what was learned has expired)", entry->text,
			 value_rate_text(terms->rate_micro, terms->period_ns, rate));
}

/* false: its rule is gone, or adapts no more. What an operator froze begins anew afterwards. */
static bool tick_entry(struct follow *follow, struct follow_entry *entry)
{
	const struct segment *segment = &follow->instance->segment;
	int64_t row = names_exact_row(segment, entry->text);
	uint64_t now_ns = segment_now_ns(segment);
	struct adaptive_settings settings;
	struct adaptive_decision decision;
	struct terms terms;

	if (row < 0)
		return false;
	terms = instance_terms(follow->instance, (uint32_t)row);
	if (terms.adapt.mode == ADAPT_OFF || is_frozen(&terms))
		return false;
	if (!entry_holds(entry, &terms))
		entry_begin(follow, entry, (uint32_t)row, &terms);
	expire_adopted(follow, entry, (uint32_t)row, &terms, now_ns);
	if (now_ns < entry->next_ns)
		return true;
	settings = follow_settings(&terms);
	if (adaptive_tick(&entry->adaptive, &settings, now_ns, drawn(segment, (uint32_t)row),
			  &decision))
		apply(follow, entry, (uint32_t)row, &terms, &decision);
	entry->next_ns = decision.next_ns;
	return true;
}

static uint64_t wanted_in(const struct follow_entry *entry, uint64_t now_ns)
{
	uint64_t at = entry->adopted_until_ns && entry->adopted_until_ns < entry->next_ns
			      ? entry->adopted_until_ns
			      : entry->next_ns;

	return at == UINT64_MAX ? UINT64_MAX : at > now_ns ? at - now_ns : 0;
}

uint64_t follow_tick(struct follow *follow)
{
	struct follow_entry **at = &follow->entries;
	uint64_t soonest = UINT64_MAX;

	while (*at) {
		struct follow_entry *entry = *at;
		uint64_t in;

		if (!tick_entry(follow, entry)) {
			*at = entry->next;
			free(entry);
			follow->count--;
			continue;
		}
		in = wanted_in(entry, segment_now_ns(&follow->instance->segment));
		soonest = in < soonest ? in : soonest;
		at = &entry->next;
	}
	return soonest;
}
