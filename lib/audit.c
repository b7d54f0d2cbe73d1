/* SPDX-License-Identifier: Apache-2.0 */
#include "audit.h"

#include <stdbool.h>
#include <stddef.h>

#include "align.h"
#include "bucket.h"
#include "class.h"
#include "gate.h"
#include "key_tables.h"
#include "names.h"
#include "permit_chain.h"
#include "permits.h"
#include "shadow.h"
#include "token_clock.h"
#include "value.h"
#include "window.h"

#define NS_PER_S 1000000000ull
#define DAY_S 86400u
#define DAY_MINUTES 1440
#define LINE_FLAGS                                                                                 \
	((uint64_t)(LINE_UNLIMITED | LINE_NEVER | LINE_WINDOW | LINE_SHADOW | LINE_BESIDE))
#define BURST_MAX (1ull << 60)
#define V_MAX ((1ull << 63) - 1) /* as far as marks reach */
#define PID_MAX 4194304u	 /* the kernel's */
#define READ_TRIES 1000		 /* of a row that is published all the while */

/* Steps along the table of names: the keyed hash makes long ways out of reach for honest names. */
#define PROBE_STEPS (1ull << 28)

struct audit {
	const struct segment *segment;
	audit_report *report;
	void *context;
	unsigned findings;
	uint64_t hz; /* ticks per second; 0: the clock's row says nonsense */
	uint64_t probe_steps;
};

/* One word's place, so that the checks below read as sentences. */
struct spot {
	struct audit *audit;
	const char *where;
	uint32_t index;
};

static void tell(const struct spot *spot, enum audit_severity severity, const char *what,
		 uint64_t value)
{
	const struct audit_finding finding = {
		.severity = severity,
		.where = spot->where,
		.index = spot->index,
		.what = what,
		.value = value,
	};

	if (severity == AUDIT_FINDING)
		spot->audit->findings++;
	if (spot->audit->report)
		spot->audit->report(spot->audit->context, &finding);
}

static bool found_if(const struct spot *spot, bool is_wrong, const char *what, uint64_t value)
{
	if (is_wrong)
		tell(spot, AUDIT_FINDING, what, value);
	return is_wrong;
}

static void note_if(const struct spot *spot, bool is_worth_it, const char *what, uint64_t value)
{
	if (is_worth_it)
		tell(spot, AUDIT_NOTE, what, value);
}

/*
 * acquire, everywhere: pairs with the release of whoever stored the word. Words that are read one
 * after the other are read in the order in which their writers' last stores make them true.
 */
#define LOAD(word) atomic_load_explicit(&(word), memory_order_acquire)

/* ---- headers ---- */

/* What segment_attach() read once must still be there. */
static void check_rules_header(struct audit *audit)
{
	const struct segment *segment = audit->segment;
	const struct rules_header *rules = segment->rules;
	const struct spot at = {audit, "header", 0};

	found_if(&at, LOAD(rules->magic) != LAYOUT_RULES_MAGIC,
		 "the rules object does not begin with its magic number", LOAD(rules->magic));
	found_if(&at, LOAD(rules->version) != LAYOUT_VERSION,
		 "the rules object has another layout version", LOAD(rules->version));
	found_if(&at, LOAD(rules->ready) != 1, "the rules object is not marked ready",
		 LOAD(rules->ready));
	found_if(&at, LOAD(rules->signature) != layout_signature(),
		 "the rules object has another layout signature", LOAD(rules->signature));
	found_if(&at, LOAD(rules->bytes) != segment->rules_bytes,
		 "the rules object is not as long as its header says", LOAD(rules->bytes));
	found_if(&at, LOAD(rules->pair) != segment->pair,
		 "the rules object's pair number has changed", LOAD(rules->pair));
	found_if(&at, LOAD(rules->clock_kind) != (uint32_t)segment->time.kind,
		 "the kind of clock has changed", LOAD(rules->clock_kind));
	found_if(&at, LOAD(rules->rows) != segment->row_count, "the capacity for rows has changed",
		 LOAD(rules->rows));
	found_if(&at, LOAD(rules->names) != segment->name_count,
		 "the capacity for names has changed", LOAD(rules->names));
	found_if(&at, LOAD(rules->members) != segment->member_count,
		 "the capacity for members has changed", LOAD(rules->members));
	found_if(&at, layout_blocks(LOAD(rules->permits)) != segment->block_count,
		 "the capacity for permits has changed", LOAD(rules->permits));
	found_if(&at, LOAD(rules->waiters) != segment->waiter_count,
		 "the capacity for waiters has changed", LOAD(rules->waiters));
	found_if(&at, LOAD(rules->cpu_lanes) != segment->tallies.cpu_lanes,
		 "the number of tally lanes has changed", LOAD(rules->cpu_lanes));
	found_if(&at, LOAD(rules->rows_used) > segment->row_count,
		 "more rows are used than there are", LOAD(rules->rows_used));
	found_if(&at, LOAD(rules->table_generation) == 0, "the table of rules has no generation",
		 LOAD(rules->table_generation));
	note_if(&at, LOAD(rules->predecessor) != 0,
		"marks are still being moved from the pair that this one replaces",
		LOAD(rules->predecessor));
}

static void check_state_header(struct audit *audit)
{
	const struct segment *segment = audit->segment;
	const struct state_header *state = segment->state;
	const struct spot at = {audit, "header", 1};

	found_if(&at, LOAD(state->magic) != LAYOUT_STATE_MAGIC,
		 "the state object does not begin with its magic number", LOAD(state->magic));
	found_if(&at, LOAD(state->version) != LAYOUT_VERSION,
		 "the state object has another layout version", LOAD(state->version));
	found_if(&at, LOAD(state->ready) != 1, "the state object is not marked ready",
		 LOAD(state->ready));
	found_if(&at, LOAD(state->signature) != layout_signature(),
		 "the state object has another layout signature", LOAD(state->signature));
	found_if(&at, LOAD(state->bytes) != segment->state_bytes,
		 "the state object is not as long as its header says", LOAD(state->bytes));
	found_if(&at, LOAD(state->pair) != segment->pair,
		 "the state object's pair number has changed", LOAD(state->pair));
	found_if(&at, LOAD(state->retired) > 1, "the word `retired` is neither 0 nor 1",
		 LOAD(state->retired));
	note_if(&at, LOAD(state->retired) == 1, "a newer pair has this name", 1);
	note_if(&at, LOAD(state->names_refused) != 0,
		"names found no room and share a bucket: raise `names` in weir.ini",
		LOAD(state->names_refused));
}

/* ---- lines ---- */

/* One published copy, raw: line_read() masks what this file is to look at. */
struct raw_line {
	uint64_t now; /* read before the words */
	uint64_t origin_ticks;
	uint64_t origin_units;
	uint64_t slope;
	uint64_t shape;
	uint64_t burst_units;
	uint64_t reach_units;
	uint64_t initial_units;
	struct shadow_line shadow;
	struct terms terms;
	uint64_t origin_fraction;
	uint32_t follow;
};

static void raw_load(struct raw_line *out, const struct line_copy *copy)
{
	out->origin_ticks = LOAD(copy->words.origin_ticks);
	out->origin_units = LOAD(copy->words.origin_units);
	out->origin_fraction = LOAD(copy->words.origin_fraction);
	out->slope = LOAD(copy->words.slope);
	out->shape = LOAD(copy->words.shape);
	out->burst_units = LOAD(copy->words.burst_units);
	out->reach_units = LOAD(copy->words.reach_units);
	out->initial_units = LOAD(copy->words.initial_units);
	out->terms.rate_micro = LOAD(copy->terms.rate_micro);
	out->terms.period_ns = LOAD(copy->terms.period_ns);
	out->terms.burst_micro = LOAD(copy->terms.burst_micro);
	out->terms.initial_micro = LOAD(copy->terms.initial_micro);
	out->terms.max_wait_ns = LOAD(copy->terms.max_wait_ns);
	out->follow = (uint32_t)(out->shape >> 49);
	line_read_shadow(&copy->shadow, &out->shadow);
	out->terms.beside =
		(struct shadow_terms){LOAD(copy->shadow.rate_micro), LOAD(copy->shadow.period_ns),
				      LOAD(copy->shadow.burst_micro)};
	out->terms.shadow = (out->shape >> 16 & LINE_SHADOW) != 0;
	for (unsigned i = 0; i < LAYOUT_CLASSES; i++)
		out->terms.classes[i] = (struct class_leave){LOAD(copy->classes[i].name),
							     LOAD(copy->classes[i].leave)};
	out->terms.window = window_load(copy);
}

/* How the rule follows its upstream, where it stands in the table of those. */
static void follow_load(struct raw_line *out, const struct segment *segment, uint64_t generation)
{
	out->terms.learned = (struct learned_terms){0};
	out->terms.adapt = (struct adapt_terms){0};
	if (out->follow == 0 || out->follow > segment->follow_count)
		return;

	const struct line_follow *from = &segment->follows[out->follow - 1].sides[generation & 1];

	line_read_learned(&from->learned, &out->terms.learned);
	line_read_adapt(&from->adapt, &out->terms.adapt);
}

/* As line_read() does. false: published too often meanwhile, which is no fault of the row. */
static bool raw_read(struct raw_line *out, const struct segment *segment,
		     const struct rule_row *row)
{
	for (int i = 0; i < READ_TRIES; i++) {
		uint64_t generation = LOAD(row->generation);

		out->now = segment_now(segment);
		raw_load(out, &row->copies[generation & 1]);
		follow_load(out, segment, generation);
		/* relaxed: the acquire loads above keep it after them */
		if (atomic_load_explicit(&row->generation, memory_order_relaxed) == generation)
			return true;
	}
	return false;
}

/* Equal but for what a calibration of the clock and a rounding change. */
static bool slopes_agree(uint64_t a, uint64_t b)
{
	uint64_t larger = a > b ? a : b;
	uint64_t smaller = a > b ? b : a;

	return larger - smaller <= (larger >> 6) + 1;
}

/* What a line has beside its limit: a shadow of it, and what classes must leave. */
static void check_extras(const struct spot *at, const struct raw_line *raw,
			 const struct line *expected)
{
	const struct class_leave *classes = raw->terms.classes;

	found_if(at, raw->shadow.burst_units != expected->shadow.burst_units,
		 "a shadow limit's burst is not that of its terms", raw->shadow.burst_units);
	found_if(at, !slopes_agree(raw->shadow.slope, expected->shadow.slope),
		 "a shadow limit's speed is not that of its terms", raw->shadow.slope);
	for (unsigned i = 0; i < LAYOUT_CLASSES; i++) {
		char name[CLASS_TEXT_BYTES];

		found_if(at,
			 classes[i].name && i &&
				 (!classes[i - 1].name || classes[i].name <= classes[i - 1].name),
			 "classes that are not in the order of their names", classes[i].name);
		found_if(at,
			 classes[i].name &&
				 class_number(class_text(classes[i].name, name)) != classes[i].name,
			 "a class without a name", classes[i].name);
		found_if(at,
			 classes[i].name && class_leave_units(classes[i].leave, raw->burst_units,
							      expected->k) > raw->burst_units,
			 "a class that must leave more than the burst", classes[i].leave);
	}
}

/* How the rule follows its upstream, and what it has learned. */
static void check_follow(const struct spot *at, const struct raw_line *raw)
{
	const struct adapt_terms *adapt = &raw->terms.adapt;
	const struct learned_terms *learned = &raw->terms.learned;

	found_if(at, raw->follow > at->audit->segment->follow_count,
		 "a place beyond the table of rules that follow an upstream", raw->follow);
	found_if(at, adapt->mode > ADAPT_AIMD, "a rule that adapts in no known way", adapt->mode);
	found_if(at, adapt->safety_micro > TERMS_MICRO, "a safety above 1", adapt->safety_micro);
	found_if(at, adapt->min_rate_micro && adapt->min_period_ns == 0,
		 "a least rate without a period", adapt->min_rate_micro);
	found_if(at, learned->period_ns && learned->burst_micro < TERMS_MICRO,
		 "a learned burst below one token", learned->burst_micro);
	found_if(at, learned->period_ns && learned->rate_micro == 0, "a learned rate of 0", 0);
	found_if(at, learned->period_ns && adapt->mode == ADAPT_OFF,
		 "something learned by a rule that does not adapt", learned->rate_micro);
}

/* Windows as they can be written. Returns whether they are. */
static bool check_window_terms(const struct spot *at, const struct raw_line *raw)
{
	const struct window_terms *window = &raw->terms.window;
	bool wrong = found_if(at, (window->length_ns != 0) != (window->kind != WINDOW_NONE),
			      "a length without windows, or windows without a length",
			      window->length_ns);

	wrong |= found_if(at, window->kind == WINDOW_ALIGNED && !align_possible(window->length_ns),
			  "windows that cannot follow the calendar", window->length_ns);
	wrong |= found_if(at, window->minutes <= -DAY_MINUTES || window->minutes >= DAY_MINUTES,
			  "windows of no place on earth", (uint64_t)(int64_t)window->minutes);
	return !wrong;
}

/* What the words of a line with windows say beside those of all lines. */
static void check_window_line(const struct spot *at, const struct raw_line *raw,
			      const struct line *expected)
{
	found_if(at, raw->origin_fraction != expected->step_units,
		 "a window's quota is not that of its terms", raw->origin_fraction);
	found_if(at, raw->reach_units == 0 || raw->reach_units > LINE_FAR,
		 "a line's reach is not that of its terms", raw->reach_units);
}

/* Whether a line is what its terms make of it. */
static void check_terms(const struct spot *at, const struct raw_line *raw, unsigned unit)
{
	const struct terms *terms = &raw->terms;
	struct line expected;

	if (found_if(at, terms->period_ns == 0, "a rate without a period", 0) ||
	    found_if(at, terms->burst_micro < TERMS_MICRO, "a burst below one token",
		     terms->burst_micro) ||
	    found_if(at, terms->initial_micro > terms->burst_micro,
		     "an initial level above the burst", terms->initial_micro))
		return;
	if (!check_window_terms(at, raw) || at->audit->hz == 0)
		return;
	if (found_if(at, line_from_terms(&expected, terms, unit, at->audit->hz) < 0,
		     "a rule's terms make no line", terms->rate_micro))
		return;
	found_if(at, (raw->shape >> 16 & 0xffff) != expected.flags,
		 "a line's flags are not those of its terms", raw->shape);
	found_if(at, raw->burst_units != expected.burst_units,
		 "a line's burst is not that of its terms", raw->burst_units);
	found_if(at, raw->initial_units != expected.initial_units,
		 "a line's initial level is not that of its terms", raw->initial_units);
	found_if(at, !slopes_agree(raw->slope, expected.slope),
		 "a line's speed is not that of its terms", raw->slope);
	check_extras(at, raw, &expected);
	check_follow(at, raw);
	if (expected.flags & LINE_WINDOW) {
		check_window_line(at, raw, &expected);
		return;
	}
	found_if(at,
		 raw->reach_units < expected.burst_units || raw->reach_units > LINE_FAR ||
			 (terms->max_wait_ns == 0 && raw->reach_units != LINE_FAR),
		 "a line's reach is not that of its terms", raw->reach_units);
}

/* A radix belongs to windows from first use, and to nothing else. */
static bool unit_exists(uint64_t shape)
{
	bool first = shape >> 16 & LINE_FIRST;

	return (shape & 0xff) <= LINE_K_MAX && (shape >> 8 & 0xff) < 63 &&
	       ((shape >> 8 & 0xff) != 0) == first;
}

/* What holds for every line, the clock's included. Returns whether it can be reckoned with. */
static bool check_line(const struct spot *at, const struct rule_row *row, struct raw_line *raw)
{
	uint64_t generation = LOAD(row->generation);
	uint64_t second = at->audit->hz ? at->audit->hz : NS_PER_S;
	uint64_t ahead = 0;
	bool sound;

	if (found_if(at, generation == 0, "a line that was never published", 0))
		return false;
	if (!raw_read(raw, at->audit->segment, row))
		return false;
	/* the present was read before the words, and a publisher's margin is a microsecond */
	ahead = raw->origin_ticks - segment_now(at->audit->segment);
	/* windows that were laid out anew may begin later than the next one */
	if (raw->shape >> 16 & LINE_ALIGNED && raw->slope < LINE_FAR)
		second += raw->slope;
	sound = !found_if(at, !unit_exists(raw->shape), "a unit that does not exist", raw->shape);
	sound &= !found_if(at, raw->shape >> 16 & 0xffff & ~LINE_FLAGS, "flags that do not exist",
			   raw->shape);
	sound &= !found_if(at, (raw->shape >> 16 & LINE_WINDOW) == LINE_WINDOW,
			   "windows of both kinds", raw->shape);
	sound &= !found_if(at, raw->burst_units == 0 || raw->burst_units >= BURST_MAX,
			   "a burst out of range", raw->burst_units);
	sound &= !found_if(at, raw->reach_units > LINE_FAR, "a reach out of range",
			   raw->reach_units);
	sound &= !found_if(at, raw->initial_units > raw->burst_units,
			   "an initial level above the burst", raw->initial_units);
	sound &= !found_if(at, raw->origin_units == 0 || raw->origin_units > V_MAX,
			   "a token clock out of range", raw->origin_units);
	sound &= !found_if(at, (int64_t)ahead > 0 && ahead > second,
			   "a line that begins in the future", raw->origin_ticks);
	return sound;
}

static uint64_t clock_hz(const struct segment *segment, const struct raw_line *raw)
{
	return segment->time.kind == CLOCK_KIND_TSC ? raw->terms.rate_micro : NS_PER_S;
}

/* The calibration: nanoseconds over ticks. Everything that is reckoned in seconds hangs on it. */
static void check_clock(struct audit *audit)
{
	const struct rule_row *row = &audit->segment->rules->clock;
	const struct spot at = {audit, "clock", 0};
	struct raw_line raw;
	struct line expected;

	if (!check_line(&at, row, &raw))
		return;

	uint64_t hz = clock_hz(audit->segment, &raw);

	/* 1 MHz to 100 GHz */
	if (found_if(&at, hz < 1000000 || hz > 100 * NS_PER_S, "a clock of no known machine", hz) ||
	    found_if(&at, line_from_hz(&expected, hz) < 0, "a clock that makes no line", hz) ||
	    found_if(&at, !slopes_agree(raw.slope, expected.slope),
		     "the clock's speed is not that of its calibration", raw.slope))
		return;
	found_if(&at, raw.shape != 0 || raw.burst_units != 1,
		 "the clock's line is not in nanoseconds", raw.shape);
	audit->hz = hz;
}

/* ---- buckets ---- */

/*
 * The mark is read before the time: no taker can have put it further ahead of a V that is later.
 * A raised burst may lengthen a debt by a burst.
 */
static void check_mark(const struct spot *at, const struct bucket *bucket,
		       const struct rule_row *row)
{
	const struct segment *segment = at->audit->segment;
	uint64_t mark = bucket_look(bucket);
	struct line line;
	uint64_t now;

	if (mark == BUCKET_UNSET)
		return;
	now = line_read(row, &segment->time, &line);

	struct stand stand = line_stand(&line, now, mark);

	found_if(at, stand.ahead > LINE_FAR + BURST_MAX,
		 "a mark further ahead than any call can put it", mark);
	found_if(at,
		 line.flags & LINE_FIRST && stand.ahead &&
			 (int64_t)(stand.v - line_value(&line, now)) >
				 (int64_t)((1ull << line.radix) + at->audit->hz),
		 "a window that begins in the future", mark);
}

static void check_gate(const struct spot *at, const struct bucket *bucket)
{
	uint64_t gate = gate_load(bucket);
	uint64_t now = segment_now(at->audit->segment);
	uint64_t second = at->audit->hz;
	uint64_t until = gate & GATE_UNTIL;

	if (second == 0)
		return;
	found_if(at, gate_is_settled(gate) && until > now && until - now > second,
		 "a closure that was settled before its time", gate);
	note_if(at, gate_is_closed(gate, now) && until - now > DAY_S * second,
		until == GATE_UNTIL ? "closed until somebody opens it"
				    : "closed for more than a day from now",
		gate);
}

/*
 * A bucket of a row that is not used, or of a name that nobody claimed, was never touched; but
 * all of them are frozen in a pair that was replaced. The mark is read before `retired` is.
 */
static void check_untouched(const struct spot *at, const struct bucket *bucket)
{
	uint64_t mark = LOAD(bucket->mark);
	uint64_t gate = LOAD(bucket->gate);
	bool is_frozen = mark == BUCKET_FROZEN && segment_is_retired(at->audit->segment);

	found_if(at, mark != BUCKET_UNSET && !is_frozen, "a mark in a bucket that nobody has",
		 mark);
	found_if(at, gate != 0, "a gate in a bucket that nobody has", gate);
	found_if(at, LOAD(bucket->shadow) != 0, "a shadow in a bucket that nobody has",
		 LOAD(bucket->shadow));
}

/* ---- rows ---- */

static bool text_is_closed(const _Atomic unsigned char *text)
{
	/* relaxed: never anything but 0 */
	return atomic_load_explicit(&text[LAYOUT_TEXT_BYTES - 1], memory_order_relaxed) == 0;
}

static void check_text(const struct spot *at, const struct rule_row *row, uint32_t kind)
{
	char text[LAYOUT_TEXT_BYTES];

	if (found_if(at, !text_is_closed(row->text), "a name without an end", 0))
		return;
	segment_text(row->text, text);
	if (found_if(at, !names_valid(text), "a name that cannot be one", (unsigned char)text[0]))
		return;
	if (kind == ROW_DEFAULT)
		found_if(at, text[0] != '*' || text[1] != '\0', "[default] has another name",
			 (unsigned char)text[0]);
	else
		found_if(at, names_is_pattern(text) != names_kind_is_pattern(kind),
			 "a name that is none of its row's kind", kind);
}

/* Where the mark comes from. In this pair it is an earlier row, or a name under [default]. */
static void check_source(const struct spot *at, const struct rule_row *row)
{
	const struct segment *segment = at->audit->segment;
	uint32_t source = LOAD(row->source);
	uint32_t shape = LOAD(row->source_shape);

	if (shape & SOURCE_ELSEWHERE)
		found_if(at, source > layout_buckets(LAYOUT_MAX_ROWS, LAYOUT_MAX_NAMES),
			 "a mark's source is beyond all buckets", source);
	else
		found_if(at,
			 source > segment->bucket_count ||
				 (source > at->index && source <= segment->row_count),
			 "a mark's source is not a bucket before it", source);
	found_if(at,
		 (shape & 0xff) > LINE_K_MAX || (shape >> 8 & 0xff) > 62 ||
			 shape & ~(SOURCE_KEEP | SOURCE_GIVEN | SOURCE_ELSEWHERE | 0xffffu),
		 "a mark's source has no such unit", shape);
	found_if(at, LOAD(row->source_units) > V_MAX, "a mark's source has a clock out of range",
		 LOAD(row->source_units));
}

/* The keys of a ROW_EACH; no other row has any. */
static void check_table(const struct spot *at, const struct rule_row *row, uint32_t kind)
{
	const struct segment *segment = at->audit->segment;
	uint32_t table = LOAD(row->table);
	struct keyed keys;

	if (found_if(at, (kind == ROW_EACH) != (table != 0),
		     "a table of keys of another kind of row", table) ||
	    table == 0)
		return;
	keys_of_row(segment, at->index, &keys);
	if (found_if(at, keys.bins == NULL, "a table of keys beyond the bins", table))
		return;
	found_if(at, LOAD(segment->tables[table - 1].fold) >> 17,
		 "a table of keys is folded in an unknown way",
		 LOAD(segment->tables[table - 1].fold));
}

/* A row that is or was live. Returns whether it is the live [default]. */
static bool check_row(struct audit *audit, uint32_t index)
{
	const struct segment *segment = audit->segment;
	const struct rule_row *row = &segment->rows[index];
	const struct bucket *bucket = &segment->buckets[index];
	const struct spot at = {audit, "row", index};
	const struct spot at_bucket = {audit, "bucket", index};
	uint32_t state = LOAD(row->state);
	uint32_t kind = LOAD(row->kind);
	struct raw_line raw;

	if (found_if(&at, state != ROW_LIVE && state != ROW_GONE,
		     "a used row is neither live nor gone", state) ||
	    found_if(&at, kind < ROW_EXACT || kind > ROW_EACH, "a row of no known kind", kind))
		return false;
	check_text(&at, row, kind);
	check_source(&at, row);
	check_table(&at, row, kind);
	if (check_line(&at, row, &raw)) {
		check_terms(&at, &raw, (unsigned)(raw.shape & 0xffff));
		check_mark(&at_bucket, bucket, row);
	}
	check_gate(&at_bucket, bucket);
	note_if(&at_bucket, state == ROW_LIVE && LOAD(bucket->mark) & BUCKET_FROZEN,
		"the mark has moved, but the row is still there", LOAD(bucket->mark));
	return state == ROW_LIVE && kind == ROW_DEFAULT;
}

static uint32_t rows_used(const struct segment *segment)
{
	uint32_t used = LOAD(segment->rules->rows_used);

	return used < segment->row_count ? used : segment->row_count;
}

/*
 * Beyond the used rows there is nothing, but that the first of them may be in the making, or was
 * when its publisher died. A row that came into use meanwhile is counted by now.
 */
static void check_spare_row(struct audit *audit, uint32_t index)
{
	const struct segment *segment = audit->segment;
	const struct spot at = {audit, "row", index};
	const struct spot at_bucket = {audit, "bucket", index};
	const struct bucket *bucket = &segment->buckets[index];
	uint32_t state = LOAD(segment->rows[index].state);

	if (state != ROW_EMPTY && index > rows_used(segment))
		found_if(&at, true, "a row beyond those that are used", state);
	if ((LOAD(bucket->mark) || LOAD(bucket->gate) || LOAD(bucket->shadow)) &&
	    index >= rows_used(segment))
		check_untouched(&at_bucket, bucket);
}

static void check_rows(struct audit *audit)
{
	const struct segment *segment = audit->segment;
	const struct spot at = {audit, "row", 0};
	uint32_t used = rows_used(segment);
	unsigned defaults = 0;

	for (uint32_t i = 0; i < used; i++)
		defaults += check_row(audit, i);
	for (uint32_t i = used; i < segment->row_count; i++)
		check_spare_row(audit, i);
	found_if(&at, defaults != 1, "there must be one live [default]", defaults);
	note_if(&at, (uint64_t)used * 10 > (uint64_t)segment->row_count * 9,
		"the table of endpoints is nearly used up: a larger pair will be made", used);
}

/* ---- names ---- */

/*
 * The way from where a hash begins to where it was found: all slots on it are taken, since slots
 * never become free, and by others, since whoever looks for a name walks the same way.
 */
static void check_way(const struct spot *at, uint64_t hash)
{
	const struct segment *segment = at->audit->segment;
	uint32_t slot = (uint32_t)(hash % segment->name_count);

	for (; slot != at->index; slot = slot + 1 == segment->name_count ? 0 : slot + 1) {
		uint64_t other = LOAD(segment->names[slot].hash);

		if (found_if(at, other == hash, "a name that has two slots", slot) ||
		    found_if(at, other == 0, "a name that cannot be found where it is", slot))
			return;
		if (at->audit->probe_steps++ == PROBE_STEPS) {
			tell(at, AUDIT_FINDING, "names are heaped as their hash cannot do", slot);
			return;
		}
	}
}

/*
 * A frozen mark under [default] means that its name has a row of its own. Asked only where the
 * text is whole, and believed only if no rule came or went meanwhile.
 */
static void check_frozen_name(const struct spot *at, const struct bucket *bucket)
{
	const struct segment *segment = at->audit->segment;
	uint64_t table = LOAD(segment->rules->table_generation);
	char text[LAYOUT_TEXT_BYTES];

	if (!(LOAD(bucket->mark) & BUCKET_FROZEN) || segment_is_retired(segment))
		return;
	segment_text(segment->names[at->index].text, text);
	if (!names_valid(text) || names_find_slot(segment, text) != at->index ||
	    names_find_row(segment, text) != names_default_row(segment))
		return;
	found_if(at,
		 LOAD(bucket->mark) & BUCKET_FROZEN &&
			 LOAD(segment->rules->table_generation) == table,
		 "a mark has moved, and its name leads nowhere else", LOAD(bucket->mark));
}

static bool check_name(struct audit *audit, uint32_t index, const struct rule_row *fallback)
{
	const struct segment *segment = audit->segment;
	const struct name_row *name = &segment->names[index];
	const struct bucket *bucket = &segment->buckets[segment->row_count + index];
	const struct spot at = {audit, "name", index};
	const struct spot at_bucket = {audit, "bucket", segment->row_count + index};
	bool touched = LOAD(bucket->mark) || LOAD(bucket->gate) || LOAD(bucket->shadow);
	uint64_t hash = LOAD(name->hash);

	/* claimed before it is used: a bucket that was touched has a name by now */
	if (hash == 0) {
		if (touched)
			check_untouched(&at_bucket, bucket);
		return false;
	}
	found_if(&at, !text_is_closed(name->text), "a name without an end", 0);
	found_if(&at, LOAD(name->source) > layout_buckets(LAYOUT_MAX_ROWS, LAYOUT_MAX_NAMES),
		 "a mark's source is beyond all buckets", LOAD(name->source));
	if (audit->probe_steps <= PROBE_STEPS)
		check_way(&at, hash);
	if (fallback)
		check_mark(&at_bucket, bucket, fallback);
	check_gate(&at_bucket, bucket);
	check_frozen_name(&at, bucket);
	return true;
}

static void check_names(struct audit *audit)
{
	const struct segment *segment = audit->segment;
	int64_t row = names_default_row(segment);
	const struct rule_row *fallback = row < 0 ? NULL : &segment->rows[row];
	uint32_t overflow = segment->row_count + segment->name_count;
	const struct spot at = {audit, "name", 0};
	const struct spot at_overflow = {audit, "bucket", overflow};
	uint64_t used = 0;

	for (uint32_t i = 0; i < segment->name_count; i++)
		used += check_name(audit, i, fallback);
	if (fallback)
		check_mark(&at_overflow, &segment->buckets[overflow], fallback);
	check_gate(&at_overflow, &segment->buckets[overflow]);
	note_if(&at, used * 10 > (uint64_t)segment->name_count * 9,
		"the table of names is nearly full: raise `names` in weir.ini", used);
}

/* ---- members ---- */

static void check_member(struct audit *audit, uint32_t index)
{
	const struct member_row *row = &audit->segment->members[index];
	const struct spot at = {audit, "member", index};
	uint32_t pid = LOAD(row->pid);

	found_if(&at, pid > PID_MAX, "a pid that no kernel gives", pid);
	found_if(&at, pid != 0 && LOAD(row->generation) == 0, "a member that never joined", pid);
	/* relaxed: never anything but 0 */
	found_if(&at,
		 atomic_load_explicit(&row->program[LAYOUT_PROGRAM_BYTES - 1],
				      memory_order_relaxed) != 0,
		 "a program's name without an end", 0);
}

/* ---- permits ---- */

/*
 * Who holds a permit, or a place in line. One of a member that is gone is no damage: it comes back
 * when somebody needs it, at a moment that this one need not be.
 */
static void check_owner(const struct spot *at, const _Atomic uint64_t *from)
{
	const struct segment *segment = at->audit->segment;
	uint64_t word = LOAD(*from);
	uint32_t member = permit_member(word);

	if (!(word & PERMIT_HELD)) {
		found_if(at, (word & PERMIT_OWNER & ~PERMIT_STRUCK) != 0,
			 "it is free, and has an owner", word);
		return;
	}
	if (found_if(at, member >= segment->member_count, "its owner is beyond all members", word))
		return;

	const struct member_row *row = &segment->members[member];
	bool is_there = LOAD(row->pid) && (LOAD(row->generation) & 0x7fff) == (word >> 32 & 0x7fff);

	note_if(at, !is_there && LOAD(*from) == word,
		"its owner is gone: it comes back when somebody finds none free", word);
}

static void check_block(struct audit *audit, uint32_t block)
{
	const struct segment *segment = audit->segment;
	const struct permit_span *span = &segment->spans[block];
	const struct spot at = {audit, "permits", block};

	found_if(&at, LOAD(span->head) > segment->block_count, "a chain beyond all blocks",
		 LOAD(span->head));
	found_if(&at, LOAD(span->next) > segment->block_count, "the next block is beyond all",
		 LOAD(span->next));
	for (uint32_t i = 0; i < LAYOUT_BLOCK_PERMITS; i++) {
		const struct spot at_permit = {audit, "permit", block * LAYOUT_BLOCK_PERMITS + i};

		check_owner(&at_permit, &segment->blocks[block].permits[i]);
	}
}

/* A limit that is found, and what is said of it. */
static void check_found(const struct spot *at, const struct rule_row *from, uint64_t permits)
{
	uint64_t bounds = LOAD(from->permit_bounds);
	uint32_t min = (uint32_t)bounds;
	uint32_t max = (uint32_t)(bounds >> 32);
	struct permit_found found;

	if (found_if(at, bounds && (min == 0 || min > max), "a limit is found between no bounds",
		     bounds) ||
	    !permit_found_read(from, &found))
		return;
	found_if(at, found.max > permits && LOAD(from->permit_bounds) == bounds,
		 "fewer permits than its limit may come to", found.max);
	found_if(at, found.cause > FOUND_BOUNDS, "a cause that is none", found.cause);
	note_if(at, (found.limit < min || found.limit > max) && LOAD(from->permit_bounds) == bounds,
		"its limit is about to be brought between its bounds", found.limit);
}

/* Every permit under the limit is there, unless the publisher is just at it. */
static void check_chain(struct audit *audit, uint32_t row)
{
	const struct spot at = {audit, "row", row};
	const struct rule_row *from = &audit->segment->rows[row];
	struct permit_chain chain;
	struct chain_walk walk;
	uint64_t count = 0;
	enum permit_result result = chain_find(audit->segment, from, &chain);

	if (LOAD(from->state) != ROW_LIVE || result == PERMIT_UNLIMITED)
		return;
	if (found_if(&at, result != PERMIT_TAKEN, "a limit without permits",
		     LOAD(from->permit_head)))
		return;
	for (chain_begin(&walk, &chain); chain_next(&walk);)
		count++;
	found_if(&at,
		 (walk.broken || count < chain.limit) && LOAD(from->permit_limit) == chain.word &&
			 LOAD(from->state) == ROW_LIVE,
		 "fewer permits than its limit", chain.limit);
	found_if(&at, LOAD(from->permit_hold_ns) > VALUE_PERIOD_MAX_NS, "a max_hold of centuries",
		 LOAD(from->permit_hold_ns));
	check_found(&at, from, count);
	note_if(&at, chain.word & PERMIT_ELSEWHERE,
		"gives no permit while the pair is being replaced", chain.word);
}

static void check_waiter(struct audit *audit, uint32_t index)
{
	const struct waiter_row *row = &audit->segment->waiters[index];
	const struct spot at = {audit, "waiter", index};
	uint64_t place = LOAD(row->place);

	check_owner(&at, &row->owner);
	found_if(&at, place & PLACE_VALID && place_head(place) >= audit->segment->block_count,
		 "a line beyond all blocks", place);
	found_if(&at, (LOAD(row->wake) & 3) > WAITER_PASSED, "a waiter in no state",
		 LOAD(row->wake));
	found_if(&at, LOAD(row->rings) > 1, "the word `rings` is neither 0 nor 1",
		 LOAD(row->rings));
}

static void check_permits(struct audit *audit)
{
	const struct segment *segment = audit->segment;

	for (uint32_t i = 0; i < segment->block_count; i++)
		check_block(audit, i);
	for (uint32_t i = 0; i < segment->row_count; i++)
		check_chain(audit, i);
	for (uint32_t i = 0; i < segment->waiter_count; i++)
		check_waiter(audit, i);
}

unsigned audit_segment(const struct segment *segment, audit_report *report, void *context)
{
	struct audit audit = {
		.segment = segment,
		.report = report,
		.context = context,
	};

	check_rules_header(&audit);
	check_state_header(&audit);
	check_clock(&audit);
	check_rows(&audit);
	check_names(&audit);
	for (uint32_t i = 0; i < segment->member_count; i++)
		check_member(&audit, i);
	check_permits(&audit);
	return audit.findings;
}
