/* SPDX-License-Identifier: Apache-2.0 */
#include "look.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "adapt.h"
#include "bucket.h"
#include "gate.h"
#include "key_tables.h"
#include "lock.h"
#include "move.h"
#include "names.h"
#include "permit_found.h"
#include "response.h"
#include "text.h"
#include "value.h"
#include "weir.h"
#include "window.h"

#define ATTACH_TRIES 50
#define ATTACH_PAUSE_NS 10000000l
#define SOURCE_HOPS 16 /* moves between two uses of a bucket that are followed */

/* ---- attaching ---- */

/* Whether the same attempt may succeed a moment later. */
static bool is_temporary(int status)
{
	return status == WEIR_EUNREADY || status == WEIR_EPAIR;
}

int look_attach_once(struct look *out, const struct place *place)
{
	struct look look = {.alive = false};
	int status = segment_attach(&look.segment, place, SEGMENT_LOOK, (uid_t)-1);

	if (status < 0)
		return status;
	look.alive = lock_is_taken(place, &look.daemon);
	look.hz = segment_hz(&look.segment);
	look.pair = look.segment.pair;

	/* acquire: pairs with the release in move_finish() */
	uint64_t old = atomic_load_explicit(&look.segment.rules->predecessor, memory_order_acquire);

	if (old)
		look.has_old =
			segment_attach_old(&look.old, place, SEGMENT_LOOK, (uid_t)-1, old) == 0;
	*out = look;
	return 0;
}

int look_attach(struct look *out, const struct place *place)
{
	const struct timespec pause = {0, ATTACH_PAUSE_NS};
	int status = look_attach_once(out, place);

	for (int i = 1; i < ATTACH_TRIES && is_temporary(status); i++) {
		nanosleep(&pause, NULL);
		status = look_attach_once(out, place);
	}
	return status;
}

static void complain_absent(const struct ctl *ctl)
{
	char path[PLACE_PATH_BYTES];
	pid_t holder = 0;

	place_path(&ctl->place, "rules", path);
	if (lock_is_taken(&ctl->place, &holder))
		ctl_complain("instance `%s` is still being made by weird (pid %ld): try again",
			     ctl->place.name, (long)holder);
	else
		ctl_complain("no instance `%s` (looked for %s): is weird running?\n"
			     "Start weird, or name another instance (-N NAME) or folder "
			     "(--shm-dir DIR).",
			     ctl->place.name, path);
}

/* What is to be done about a segment that cannot be read; "" where the code says it all. */
static const char *advice(int status)
{
	switch (status) {
	case -EACCES:
		return ": it is readable for its owner and the group of weird; be in that group";
	case WEIR_EOWNER:
		return ": run weirctl as the user that weird runs as";
	case WEIR_EFOREIGN:
	case WEIR_ETRUNCATED:
	case WEIR_EDAMAGED:
	case WEIR_EPAIR:
		return ": stop weird if it runs, and start it: it makes a new one";
	case WEIR_EUNREADY:
		return ": try again; if that does not help, start weird again";
	case WEIR_ELAYOUT:
		return ": restart weird, from the same release as this weirctl";
	default:
		return "";
	}
}

bool look_open(struct look *out, const struct ctl *ctl)
{
	int status = look_attach(out, &ctl->place);
	char path[PLACE_PATH_BYTES];

	if (status == 0)
		return true;
	place_path(&ctl->place, "rules", path);
	if (status == WEIR_EABSENT)
		complain_absent(ctl);
	else
		ctl_complain("cannot read instance `%s` (%s): %s%s", ctl->place.name, path,
			     weir_strerror(status), advice(status));
	return false;
}

void look_close(struct look *look)
{
	segment_detach(&look->segment);
	if (look->has_old)
		segment_detach(&look->old);
}

const char *look_clock_name(const struct look *look)
{
	switch (look->segment.time.kind) {
	case CLOCK_KIND_TSC:
		return "tsc";
	case CLOCK_KIND_MONOTONIC:
		return "monotonic";
	case CLOCK_KIND_MANUAL:
		return "manual";
	}
	return "unknown";
}

/* ---- a bucket ---- */

struct bucket_words {
	uint64_t mark;
	uint64_t gate;
};

uint32_t look_source(const struct segment *segment, uint32_t row, uint32_t bucket, bool *elsewhere)
{
	const struct rule_row *at = &segment->rows[row];

	/* relaxed: fixed before the row became live, or the name was used */
	*elsewhere =
		atomic_load_explicit(&at->source_shape, memory_order_relaxed) & SOURCE_ELSEWHERE;
	if (bucket >= segment->row_count && bucket - segment->row_count < segment->name_count)
		return (uint32_t)atomic_load_explicit(
			&segment->names[bucket - segment->row_count].source, memory_order_relaxed);
	return bucket == row ? atomic_load_explicit(&at->source, memory_order_relaxed) : 0;
}

/*
 * The words of a bucket as the next call would find them: one that nobody has used since it took
 * over from another has that one's, translated. Nothing is installed here.
 */
static struct bucket_words words_of(const struct segment *segment, const struct segment *old,
				    uint32_t row, uint32_t bucket, unsigned hops)
{
	struct bucket_words words = {
		.mark = bucket_look(&segment->buckets[bucket]),
		.gate = gate_load(&segment->buckets[bucket]),
	};
	bool elsewhere;
	uint32_t source = look_source(segment, row, bucket, &elsewhere);
	const struct segment *from = elsewhere ? old : segment;

	if (words.mark != BUCKET_UNSET || !source || !from || source > from->bucket_count ||
	    hops == 0)
		return words;

	uint32_t from_row = source - 1 < from->row_count ? source - 1 : 0;
	struct bucket_words before =
		words_of(from, elsewhere ? NULL : old, from_row, source - 1, hops - 1);

	if (before.mark != BUCKET_UNSET)
		words.mark = move_position(from, source - 1, segment, row, bucket, before.mark);
	if (words.gate == 0 && !gate_is_settled(before.gate))
		words.gate = before.gate;
	return words;
}

/* Nanoseconds of so many ticks; UINT64_MAX stays. */
static uint64_t ticks_ns(const struct look *look, uint64_t ticks)
{
	struct line clock;

	if (look->segment.time.kind != CLOCK_KIND_TSC)
		return ticks;
	segment_clock(&look->segment, &clock);
	return line_ticks_to_ns(&clock, ticks);
}

static void view_gate(const struct look *look, struct bucket_words *words, struct view *out)
{
	uint64_t until = words->gate & GATE_UNTIL;

	out->resets = words->gate & GATE_RESETS;
	out->closings = (words->gate & GATE_CLOSINGS) >> 8;
	if (gate_is_settled(words->gate))
		return;
	out->closed = gate_is_closed(words->gate, out->now);
	if (out->closed)
		out->closed_ns =
			until == GATE_UNTIL ? UINT64_MAX : ticks_ns(look, until - out->now);
	/* the first call after the closure will drain it: say what that call will find */
	if (!out->closed && words->mark != BUCKET_UNSET && !(out->line.flags & LINE_WINDOW) &&
	    out->kind != VIEW_EACH)
		words->mark = bucket_base(words->mark,
					  line_value(&out->line, until) + out->line.burst_units);
}

/* Counts and mark of the shadows go along with a mark that moves, so they are read in one place. */
static void view_shadow(const struct look *look, struct view *out)
{
	const struct bucket *bucket = &look->segment.buckets[out->bucket];

	shadow_read(bucket, &out->shadow);
	if (out->line.flags & LINE_BESIDE)
		out->shadow_level_units = shadow_level(bucket, &out->line.shadow, out->now);
}

/* When the quota is renewed; of windows from first use, if one is under way. */
static void view_window(const struct look *look, uint64_t mark, struct view *out)
{
	struct stand stand;

	if (!(out->line.flags & LINE_WINDOW) || out->line.flags & (LINE_UNLIMITED | LINE_NEVER))
		return;
	stand = window_stand(&out->line, out->now, mark);
	out->began = out->line.flags & LINE_FIRST && stand.ahead ? stand.v : 0;
	if (out->line.flags & LINE_ALIGNED || stand.ahead)
		out->renews_ns = ticks_ns(look, window_ticks(&out->line, out->now, stand.v, 1));
}

/* A key that is not there is full. */
static uint64_t mark_of_key(const struct look *look, const struct view *view)
{
	struct key_seen seen = {.slot = NULL};
	struct keyed table;

	keys_of_row(&look->segment, view->row, &table);
	if (table.bins && view->key)
		keyed_find(&table, view->key, &seen);
	return seen.slot ? seen.mark : BUCKET_UNSET;
}

static void view_bucket(const struct look *look, struct view *out)
{
	struct bucket_words words = words_of(&look->segment, look->has_old ? &look->old : NULL,
					     out->row, out->bucket, SOURCE_HOPS);

	if (out->kind == VIEW_EACH)
		words.mark = mark_of_key(look, out);
	view_gate(look, &words, out);
	out->used = words.mark != BUCKET_UNSET;
	out->level_units = line_level(&out->line, out->now, words.mark);
	if (out->level_units < 0 && !(out->line.flags & LINE_UNLIMITED))
		out->queue_ns = ticks_ns(look, line_due_ticks(&out->line, out->now, words.mark));
	out->more_ns = ticks_ns(look, response_more_ticks(&out->line, out->now, words.mark));
	view_window(look, words.mark, out);
	move_tally(&look->segment, out->row, out->bucket, &out->tally);
	view_shadow(look, out);
}

/* ---- views ---- */

static enum view_kind kind_of(const struct segment *segment, const struct rule_row *row,
			      uint32_t bucket)
{
	/* relaxed: fixed while the row is live */
	switch ((enum row_kind)atomic_load_explicit(&row->kind, memory_order_relaxed)) {
	case ROW_PATTERN:
		return VIEW_PATTERN;
	case ROW_EACH:
		return VIEW_EACH;
	case ROW_DEFAULT:
		if (bucket < segment->row_count)
			return VIEW_DEFAULT;
		return bucket < segment->row_count + segment->name_count ? VIEW_NAME : VIEW_CROWDED;
	case ROW_EXACT:
		break;
	}
	return VIEW_EXACT;
}

/* The rule's side of a view. */
static void view_rule(const struct look *look, uint32_t row, uint32_t bucket, const char *name,
		      struct view *out)
{
	const struct rule_row *at = &look->segment.rows[row];
	struct view view = {
		.kind = kind_of(&look->segment, at, bucket),
		.row = row,
		.bucket = bucket,
		/* relaxed: for people */
		.order = atomic_load_explicit(&at->order, memory_order_relaxed),
	};

	segment_text(at->text, view.rule);
	snprintf(view.name, sizeof(view.name), "%s", name ? name : view.rule);
	segment_terms(&look->segment, row, &view.terms, &view.author, &view.changed_ns);
	view.now = line_read(at, &look->segment.time, &view.line);
	view.now_ns = segment_now_ns(&look->segment);
	view.v = line_value(&view.line, view.now);
	/* a damaged chain is told of by check */
	if (permits_look(&look->segment, at, &view.permits, NULL, NULL) < 0)
		view.permits.limit = UINT64_MAX;
	*out = view;
}

void look_view(const struct look *look, uint32_t row, uint32_t bucket, const char *name,
	       struct view *out)
{
	view_rule(look, row, bucket, name, out);
	if (out->kind != VIEW_DEFAULT)
		view_bucket(look, out);
}

void look_key(const struct look *look, struct view *view)
{
	view_bucket(look, view);
}

void look_unclaimed(const struct look *look, uint32_t row, const char *name, struct view *out)
{
	view_rule(look, row, row, name, out);
	if (out->kind == VIEW_DEFAULT)
		out->kind = VIEW_NAME;
	out->level_units = (int64_t)out->line.initial_units;
	out->shadow_level_units = (int64_t)out->line.shadow.burst_units;
	out->more_ns = ticks_ns(look, response_more_ticks(&out->line, out->now, BUCKET_UNSET));
	view_window(look, BUCKET_UNSET, out);
}

int look_name(const struct look *look, const char *name, struct view *out)
{
	const struct segment *segment = &look->segment;
	struct resolution found;
	int64_t row = strcmp(name, "*") == 0 ? names_default_row(segment)
					     : names_exact_row(segment, name);
	int status;

	if (row >= 0) {
		look_view(look, (uint32_t)row, (uint32_t)row, NULL, out);
		return 0;
	}
	status = names_resolve(segment, name, false, &found);
	if (status == WEIR_ENORULE) {
		status = names_find_row(segment, name);
		if (status >= 0)
			look_unclaimed(look, (uint32_t)status, name, out);
		return status < 0 ? status : 0;
	}
	if (status == 0) {
		view_rule(look, found.row, found.bucket, name, out);
		out->key = found.key;
		view_bucket(look, out);
	}
	return status;
}

void look_add_observations(const struct look *look, struct page *page)
{
	const struct state_header *state = look->segment.state;
	/* relaxed: counts for people */
	uint64_t dropped = atomic_load_explicit(&state->observations_dropped, memory_order_relaxed);
	uint64_t refused = atomic_load_explicit(&state->observations_refused, memory_order_relaxed);
	char text[TEXT_BYTES];

	page_count(page, "observations_dropped", NULL, dropped);
	page_count(page, "observations_refused", NULL, refused);
	snprintf(text, sizeof(text), "%llu dropped, %llu refused", (unsigned long long)dropped,
		 (unsigned long long)refused);
	if (dropped || refused)
		page_text(page, NULL, "observations", text);
}

/* ---- in people's units ---- */

double view_tokens(const struct view *view, uint64_t units)
{
	return ldexp((double)units, -(int)view->line.k);
}

double view_level(const struct view *view)
{
	double level = ldexp((double)view->level_units, -(int)view->line.k);
	bool drains = !(view->line.flags & LINE_WINDOW) && view->kind != VIEW_EACH;

	/* what is there while it is closed will not be there when it opens */
	return view->closed && drains && level > 0 ? 0 : level;
}

bool view_is_shadow(const struct view *view)
{
	return view->line.flags & LINE_SHADOW;
}

bool view_has_shadow(const struct view *view)
{
	return view->line.flags & LINE_BESIDE;
}

bool view_is_adapted(const struct view *view)
{
	return view->terms.learned.period_ns != 0;
}

double view_learned_rate(const struct view *view)
{
	const struct learned_terms *learned = &view->terms.learned;

	return learned->period_ns ? (double)learned->rate_micro * 1000 / (double)learned->period_ns
				  : 0;
}

double view_rate(const struct view *view)
{
	if (view->terms.rate_micro == TERMS_UNLIMITED)
		return INFINITY;
	if (view->terms.period_ns == 0)
		return 0;
	return (double)view->terms.rate_micro * 1000 / (double)view->terms.period_ns;
}

double view_queue(const struct view *view)
{
	if (view->level_units >= 0 || view->line.flags & LINE_UNLIMITED)
		return 0;
	return ldexp((double)-view->level_units, -(int)view->line.k);
}

const char *view_state(const struct view *view, char out[VIEW_STATE_BYTES])
{
	const char *shadow = view_is_shadow(view) ? "shadow, " : "";
	char duration[TEXT_BYTES];

	if (view->closed && view->closed_ns == UINT64_MAX)
		snprintf(out, VIEW_STATE_BYTES, "%sclosed until opened", shadow);
	else if (view->closed)
		snprintf(out, VIEW_STATE_BYTES, "%sclosed %s", shadow,
			 text_duration(view->closed_ns, duration));
	else if (view->line.flags & LINE_UNLIMITED)
		snprintf(out, VIEW_STATE_BYTES, "%sunlimited", shadow);
	else if (view->line.flags & LINE_NEVER)
		snprintf(out, VIEW_STATE_BYTES, "%sstopped", shadow);
	else if (view_queue(view) > 0)
		snprintf(out, VIEW_STATE_BYTES, "%squeue %s", shadow,
			 text_duration(view->queue_ns, duration));
	else if (view->renews_ns && view_level(view) < 1)
		snprintf(out, VIEW_STATE_BYTES, "renews in %s",
			 text_duration(view->renews_ns, duration));
	else if (view_is_adapted(view))
		snprintf(out, VIEW_STATE_BYTES, "%sat %.4g/s", shadow, view_learned_rate(view));
	else
		snprintf(out, VIEW_STATE_BYTES, "%s", shadow[0] ? "shadow" : "open");
	return out;
}

/* ---- the words that list and show have in common ---- */

void view_add_limits(const struct view *view, struct page *page, bool titles)
{
	char text[VALUE_TEXT_BYTES];

	page_text(page, "rate", titles ? "RATE" : "rate",
		  value_rate_text(view->terms.rate_micro, view->terms.period_ns, text));
	page_tokens(page, "rate_per_s", NULL, view_rate(view));
	if (view->terms.window.kind == WINDOW_NONE)
		page_none(page, "window", NULL);
	else
		page_text(page, "window", NULL, value_window_text(&view->terms.window, text));
	page_duration(page, "window_ns", NULL,
		      view->terms.window.length_ns ? view->terms.window.length_ns : UINT64_MAX);
	if (view->line.flags & LINE_UNLIMITED)
		page_none(page, "burst", titles ? "BURST" : "burst");
	else
		page_tokens(page, "burst", titles ? "BURST" : "burst",
			    (double)view->terms.burst_micro / (double)TERMS_MICRO);
}

void view_add_level(const struct view *view, struct page *page, bool titles)
{
	const char *label = titles ? "LEVEL" : "level";

	if (view->kind == VIEW_DEFAULT || view->line.flags & LINE_UNLIMITED)
		page_none(page, "level", label);
	else
		page_tokens(page, "level", label, view_level(view));
}

static void add_count(const struct view *view, struct page *page, const char *key,
		      const char *label, enum counter counter)
{
	if (view->kind == VIEW_DEFAULT)
		page_none(page, key, label);
	else
		page_count(page, key, label, view->tally.counters[counter]);
}

static void add_units(const struct view *view, struct page *page, const char *key,
		      enum counter counter)
{
	if (view->kind == VIEW_DEFAULT)
		page_none(page, key, NULL);
	else
		page_tokens(page, key, NULL, (double)view->tally.tokens[counter]);
}

void view_add_counts(const struct view *view, struct page *page, bool titles)
{
	add_count(view, page, "granted", titles ? "GRANTED" : NULL, COUNT_GRANTED_CALLS);
	add_count(view, page, "refused", titles ? "REFUSED" : NULL, COUNT_REFUSED_CALLS);
	add_count(view, page, "waited", titles ? "WAITED" : NULL, COUNT_WAITED_CALLS);
	add_units(view, page, "granted_tokens", COUNT_GRANTED_UNITS);
	add_units(view, page, "refused_tokens", COUNT_REFUSED_UNITS);
	add_units(view, page, "waited_tokens", COUNT_WAITED_UNITS);
	add_units(view, page, "returned_tokens", COUNT_RETURNED_UNITS);
}

void view_add_state(const struct view *view, struct page *page, bool titles)
{
	char state[VIEW_STATE_BYTES];

	if (view->kind == VIEW_DEFAULT)
		page_none(page, "state", titles ? "STATE" : "state");
	else
		page_text(page, "state", titles ? "STATE" : "state", view_state(view, state));
	page_flag(page, "closed", NULL, view->closed);
	page_duration(page, "closed_ns", NULL, view->closed_ns);
	page_tokens(page, "queue_tokens", NULL, view_queue(view));
	page_duration(page, "queue_ns", NULL, view->queue_ns);
	page_duration(page, "renews_ns", NULL, view->renews_ns ? view->renews_ns : UINT64_MAX);
}

static void add_micro(struct page *page, const char *key, uint64_t micro)
{
	if (micro == UINT64_MAX)
		page_none(page, key, NULL);
	else
		page_tokens(page, key, NULL, (double)micro / (double)TERMS_MICRO);
}

void view_add_learned(const struct view *view, struct page *page)
{
	const struct learned_terms *learned = &view->terms.learned;
	bool is_adapted = view_is_adapted(view);
	char rate[VALUE_TEXT_BYTES];

	page_text(page, "adaptive", NULL, adapt_mode_text(view->terms.adapt.mode));
	page_flag(page, "adapt_frozen", NULL, learned->cause & LEARNED_FROZEN);
	if (!is_adapted) {
		static const char *const keys[] = {
			"learned_rate",	     "learned_rate_per_s", "learned_burst",
			"learned_cause",     "learned_limit",	   "learned_remaining",
			"learned_before_ns", "learned_for_ns",
		};

		for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
			page_none(page, keys[i], NULL);
		return;
	}
	page_text(page, "learned_rate", NULL,
		  value_rate_text(learned->rate_micro, learned->period_ns, rate));
	page_tokens(page, "learned_rate_per_s", NULL, view_learned_rate(view));
	add_micro(page, "learned_burst", learned->burst_micro);
	page_text(page, "learned_cause", NULL, adapt_cause_text(learned->cause));
	add_micro(page, "learned_limit", learned->limit_micro);
	add_micro(page, "learned_remaining", learned->remaining_micro);
	page_duration(page, "learned_before_ns", NULL,
		      learned->from_ns && learned->from_ns <= view->now_ns
			      ? view->now_ns - learned->from_ns
			      : UINT64_MAX);
	page_duration(page, "learned_for_ns", NULL,
		      learned->until_ns == UINT64_MAX	 ? UINT64_MAX
		      : learned->until_ns > view->now_ns ? learned->until_ns - view->now_ns
							 : 0);
}

void view_add_found(const struct look *look, const struct view *view, struct page *page)
{
	static const char *const keys[] = {"found_min", "found_max", "found_cause",
					   "found_latency_ns", "found_base_ns"};
	struct permit_found found;
	char text[TEXT_BYTES * 4], ratio[TEXT_BYTES] = "";

	if (!permit_found_read(&look->segment.rows[view->row], &found)) {
		for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
			page_none(page, keys[i], NULL);
		return;
	}
	page_count(page, keys[0], NULL, found.min);
	page_count(page, keys[1], NULL, found.max);
	page_text(page, keys[2], NULL, permit_found_text(found.cause));
	page_duration(page, keys[3], NULL, found.latency_ns ? found.latency_ns : UINT64_MAX);
	page_duration(page, keys[4], NULL, found.base_ns ? found.base_ns : UINT64_MAX);
	if (found.latency_ns && found.base_ns)
		snprintf(ratio, sizeof(ratio), ", latency %.2f x its base",
			 (double)found.latency_ns / (double)found.base_ns);
	snprintf(text, sizeof(text), "between %u and %u: %s%s%s", found.min, found.max,
		 permit_found_text(found.cause), ratio,
		 view->terms.learned.cause & LEARNED_FROZEN ? "; frozen by an operator" : "");
	page_text(page, NULL, "found", text);
}

/* "12", "7 by 50/s", "12, 7 by 50/s": what shadow mode let pass, what the shadow limit refused. */
static void shadow_text(const struct view *view, char out[TEXT_BYTES])
{
	const uint64_t *counts = view->shadow.counts;
	char rate[VALUE_TEXT_BYTES];
	int used = 0;

	out[0] = '\0';
	if (view_is_shadow(view) || counts[SHADOW_PASSED_CALLS] || !view_has_shadow(view))
		used = snprintf(out, TEXT_BYTES, "%llu",
				(unsigned long long)counts[SHADOW_PASSED_CALLS]);
	if (view_has_shadow(view))
		snprintf(out + used, TEXT_BYTES - (size_t)used, "%s%llu by %.20s", used ? ", " : "",
			 (unsigned long long)counts[SHADOW_REFUSED_CALLS],
			 value_rate_text(view->terms.beside.rate_micro,
					 view->terms.beside.period_ns, rate));
}

/* The shadow limit, as JSON. */
static void add_shadow_limit(const struct view *view, struct page *page)
{
	const struct shadow_terms *beside = &view->terms.beside;
	char rate[VALUE_TEXT_BYTES];

	if (!view_has_shadow(view)) {
		page_none(page, "shadow_rate", NULL);
		page_none(page, "shadow_rate_per_s", NULL);
		page_none(page, "shadow_burst", NULL);
		page_none(page, "shadow_level", NULL);
		return;
	}
	page_text(page, "shadow_rate", NULL,
		  value_rate_text(beside->rate_micro, beside->period_ns, rate));
	page_tokens(page, "shadow_rate_per_s", NULL,
		    beside->period_ns
			    ? (double)beside->rate_micro * 1000 / (double)beside->period_ns
			    : 0);
	page_tokens(page, "shadow_burst", NULL, (double)beside->burst_micro / (double)TERMS_MICRO);
	if (view->kind == VIEW_DEFAULT)
		page_none(page, "shadow_level", NULL);
	else
		page_tokens(page, "shadow_level", NULL,
			    ldexp((double)view->shadow_level_units, -(int)view->line.k));
}

static void add_shadow_count(const struct view *view, struct page *page, const char *key,
			     uint64_t count)
{
	if (view->kind == VIEW_DEFAULT)
		page_none(page, key, NULL);
	else
		page_count(page, key, NULL, count);
}

static void add_shadow_units(const struct view *view, struct page *page, const char *key,
			     uint64_t units)
{
	if (view->kind == VIEW_DEFAULT)
		page_none(page, key, NULL);
	else
		page_tokens(page, key, NULL, view_tokens(view, units));
}

bool view_has_permits(const struct view *view)
{
	return view->permits.limit != UINT64_MAX;
}

static void add_no_permits(struct page *page, bool columns)
{
	page_none(page, "concurrency", NULL);
	page_none(page, "permits_held", columns ? "HELD/LIMIT" : NULL);
	page_none(page, "permits_free", NULL);
	page_none(page, "permits_waiting", columns ? "PWAIT" : NULL);
}

void view_add_permits(const struct view *view, struct page *page, bool columns)
{
	const struct permit_sum *sum = &view->permits;
	char text[TEXT_BYTES];

	if (!view_has_permits(view)) {
		add_no_permits(page, columns);
		return;
	}
	page_count(page, "concurrency", NULL, sum->limit);
	page_count(page, "permits_held", NULL, sum->held);
	snprintf(text, sizeof(text), "%llu/%llu", (unsigned long long)sum->held,
		 (unsigned long long)sum->limit);
	if (columns)
		page_text(page, NULL, "HELD/LIMIT", text);
	page_count(page, "permits_free", NULL, sum->free);
	page_count(page, "permits_waiting", columns ? "PWAIT" : NULL, sum->waiting);
}

void view_add_shadow(const struct view *view, struct page *page, bool column)
{
	const uint64_t *counts = view->shadow.counts;
	char text[TEXT_BYTES];

	shadow_text(view, text);
	if (column && view->kind == VIEW_DEFAULT)
		page_none(page, NULL, "SHADOW");
	else if (column)
		page_text(page, NULL, "SHADOW", text);
	page_flag(page, "shadow", NULL, view_is_shadow(view));
	add_shadow_limit(view, page);
	add_shadow_count(view, page, "shadow_passed", counts[SHADOW_PASSED_CALLS]);
	add_shadow_units(view, page, "shadow_passed_tokens", counts[SHADOW_PASSED_UNITS]);
	add_shadow_count(view, page, "shadow_refused", counts[SHADOW_REFUSED_CALLS]);
	add_shadow_units(view, page, "shadow_refused_tokens", counts[SHADOW_REFUSED_UNITS]);
}
