/* SPDX-License-Identifier: Apache-2.0
 *
 * audit.c: a healthy segment has no findings, whatever is done to it meanwhile; every word that
 * is checked is found when it is spoilt, one at a time; an audit writes nothing and survives any
 * bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "audit.h"
#include "bucket.h"
#include "class.h"
#include "gate.h"
#include "members.h"
#include "move.h"
#include "names.h"
#include "permits.h"
#include "rules.h"
#include "weir.h"

enum { ROWS = 16, NAMES = 16, MEMBERS = 8 };

/* A segment in a folder of its own: as its publisher sees it, and as a looker does. */
struct bench {
	char dir[40];
	struct place place;
	struct segment segment;
	struct segment look;
	int64_t row_default;
	int64_t row_exact;
	int64_t row_pattern;
	int64_t row_moved; /* took over the bucket of a name */
	int64_t row_gone;
	struct resolution name; /* one that is in use */
	int64_t member;
};

static int64_t add(struct bench *bench, enum row_kind kind, const char *text, uint64_t rate_micro,
		   uint64_t max_wait_ns)
{
	const struct rule rule = {
		.kind = kind,
		.text = text,
		.terms = {.rate_micro = rate_micro,
			  .period_ns = 1000000000u,
			  .burst_micro = 20 * TERMS_MICRO,
			  .initial_micro = 20 * TERMS_MICRO,
			  .max_wait_ns = max_wait_ns},
	};
	int64_t row = rules_add(&bench->segment, &rule);

	assert_true(row >= 0);
	return row;
}

/* A bucket that was used: one token is gone. */
static void draw(const struct bench *bench, const struct resolution *name)
{
	const struct segment *segment = &bench->segment;
	struct bucket *bucket = &segment->buckets[name->bucket];
	struct bucket_mark taken;
	struct line line;
	uint64_t now;

	if (bucket_look(bucket) == BUCKET_UNSET)
		assert_int_equal(move_install(segment, NULL, name->row, name->bucket), 0);
	now = line_read(&segment->rows[name->row], &segment->time, &line);
	assert_int_equal(bucket_take(bucket, line_value(&line, now), 1ull << line.k,
				     line.burst_units, &taken),
			 BUCKET_TAKEN);
}

static struct resolution use(const struct bench *bench, const char *name)
{
	struct resolution found;

	assert_int_equal(names_resolve(&bench->segment, name, true, &found), 0);
	draw(bench, &found);
	return found;
}

static void fill(struct bench *bench)
{
	bench->row_default = add(bench, ROW_DEFAULT, "*", 10 * TERMS_MICRO, 0);
	bench->row_exact = add(bench, ROW_EXACT, "api.example.org", 100 * TERMS_MICRO, 0);
	bench->row_pattern = add(bench, ROW_PATTERN, "img/*", 7 * TERMS_MICRO, 3000000000u);
	add(bench, ROW_EXACT, "free", TERMS_UNLIMITED, 0);
	add(bench, ROW_EXACT, "shut", 0, 0);
	use(bench, "moved");
	bench->row_moved = add(bench, ROW_EXACT, "moved", 1000 * TERMS_MICRO, 0);
	bench->row_gone = add(bench, ROW_EXACT, "gone", 5 * TERMS_MICRO, 0);
	rules_remove(&bench->segment, (uint32_t)bench->row_gone);
	use(bench, "api.example.org");
	use(bench, "img/1");
	bench->name = use(bench, "some name");
	use(bench, "other name");
	bench->member = members_join(&bench->segment);
	assert_true(bench->member >= 0);
}

static int setup(void **state)
{
	const struct segment_shape shape = {.rows = ROWS,
					    .names = NAMES,
					    .members = MEMBERS,
					    .clock = CLOCK_KIND_MANUAL,
					    .group = (gid_t)-1,
					    .permits = 64,
					    .waiters = 32};
	struct bench *bench = calloc(1, sizeof(*bench));
	struct place_hints hints = {.name = "audit"};

	if (!bench)
		return -1;
	strcpy(bench->dir, "/tmp/weir-audit-XXXXXX");
	hints.shm_dir = mkdtemp(bench->dir);
	if (!hints.shm_dir || place_resolve(&bench->place, &hints, PLACE_TO_CREATE) < 0 ||
	    segment_create(&bench->segment, &bench->place, &shape) < 0)
		return -1;
	fill(bench);
	if (segment_reveal(&bench->segment, &bench->place) < 0 ||
	    segment_attach(&bench->look, &bench->place, SEGMENT_LOOK, (uid_t)-1) < 0)
		return -1;
	*state = bench;
	return 0;
}

static int teardown(void **state)
{
	struct bench *bench = *state;

	segment_detach(&bench->look);
	segment_detach(&bench->segment);
	segment_remove(&bench->place);
	rmdir(bench->dir);
	free(bench);
	return 0;
}

/* ---- reports ---- */

struct reports {
	unsigned findings;
	unsigned notes;
	const char *where; /* of the last one wanted */
	uint32_t index;
	const char *what;
	const char *wanted; /* keep the last one that contains this */
	bool is_wanted_there;
};

static void collect(void *context, const struct audit_finding *finding)
{
	struct reports *reports = context;

	if (finding->severity == AUDIT_FINDING)
		reports->findings++;
	else
		reports->notes++;
	if (reports->wanted && !strstr(finding->what, reports->wanted))
		return;
	reports->is_wanted_there = true;
	reports->where = finding->where;
	reports->index = finding->index;
	reports->what = finding->what;
}

/* Through the looker's mapping, where a store would be a fault of the processor. */
static struct reports audit(const struct bench *bench, const char *wanted)
{
	struct reports reports = {.wanted = wanted};
	unsigned findings = audit_segment(&bench->look, collect, &reports);

	assert_int_equal(findings, reports.findings);
	/* nobody needs to be told to have them counted */
	assert_int_equal(audit_segment(&bench->look, NULL, NULL), findings);
	return reports;
}

static void expect_healthy(const struct bench *bench)
{
	struct reports reports = audit(bench, NULL);

	if (reports.findings)
		fail_msg("%s %u: %s", reports.where, reports.index, reports.what);
	assert_int_equal(reports.notes, 0);
}

static void expect_finding(const struct bench *bench, const char *where, uint32_t index,
			   const char *what)
{
	struct reports reports = audit(bench, what);

	if (reports.findings == 0 || !reports.is_wanted_there)
		fail_msg("not found: %s %u: %s", where, index, what);
	assert_string_equal(reports.where, where);
	assert_int_equal(reports.index, index);
}

static void expect_note(const struct bench *bench, const char *what)
{
	struct reports reports = audit(bench, what);

	assert_int_equal(reports.findings, 0);
	assert_true(reports.notes > 0);
	if (!reports.is_wanted_there)
		fail_msg("no note: %s", what);
}

static void test_healthy(void **state)
{
	const struct bench *bench = *state;

	expect_healthy(bench);
	assert_int_equal(audit_segment(&bench->look, NULL, NULL), 0);
}

/* ---- one word at a time ---- */

/* Either width; the words of the segment are naturally aligned. */
struct spoil {
	void *word;
	size_t bytes;
	uint64_t value;
	const char *where;
	uint32_t index;
	const char *what;
};

static uint64_t word_swap(const struct spoil *spoil, uint64_t value)
{
	if (spoil->bytes == 1)
		return atomic_exchange((_Atomic uint8_t *)spoil->word, (uint8_t)value);
	if (spoil->bytes == 4)
		return atomic_exchange((_Atomic uint32_t *)spoil->word, (uint32_t)value);
	return atomic_exchange((_Atomic uint64_t *)spoil->word, value);
}

static void run_spoils(const struct bench *bench, const struct spoil *spoils, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct spoil *spoil = &spoils[i];
		uint64_t kept = word_swap(spoil, spoil->value);

		assert_int_not_equal(kept, spoil->value);
		expect_finding(bench, spoil->where, spoil->index, spoil->what);
		word_swap(spoil, kept);
	}
	expect_healthy(bench);
}

#define SPOIL(member, bad, where, index, what)                                                     \
	{                                                                                          \
		(void *)(uintptr_t) & (member), sizeof(member), (uint64_t)(bad), (where),          \
			(uint32_t)(index), (what)                                                  \
	}
#define RUN(bench, spoils) run_spoils(bench, spoils, sizeof(spoils) / sizeof((spoils)[0]))

static void test_rules_header(void **state)
{
	const struct bench *bench = *state;
	struct rules_header *rules = bench->segment.publisher;
	const struct spoil spoils[] = {
		SPOIL(rules->magic, 1, "header", 0, "magic number"),
		SPOIL(rules->version, LAYOUT_VERSION + 1, "header", 0, "layout version"),
		SPOIL(rules->ready, 0, "header", 0, "ready"),
		SPOIL(rules->signature, 1, "header", 0, "layout signature"),
		SPOIL(rules->bytes, 4096, "header", 0, "as long as"),
		SPOIL(rules->pair, 7, "header", 0, "pair number"),
		SPOIL(rules->clock_kind, CLOCK_KIND_TSC, "header", 0, "kind of clock"),
		SPOIL(rules->rows, ROWS - 1, "header", 0, "capacity for rows"),
		SPOIL(rules->names, NAMES + 1, "header", 0, "capacity for names"),
		SPOIL(rules->members, 0, "header", 0, "capacity for members"),
		SPOIL(rules->cpu_lanes, 99, "header", 0, "tally lanes"),
		SPOIL(rules->rows_used, ROWS + 1, "header", 0, "more rows are used"),
		SPOIL(rules->rows_used, 0, "row", 0, "one live [default]"),
		SPOIL(rules->rows_used, 1, "row", bench->row_gone, "beyond those that are used"),
		SPOIL(rules->rows_used, 1, "bucket", bench->row_moved, "that nobody has"),
		SPOIL(rules->table_generation, 0, "header", 0, "generation"),
	};

	RUN(bench, spoils);
}

static void test_state_header(void **state)
{
	const struct bench *bench = *state;
	struct state_header *at = bench->segment.state;
	const struct spoil spoils[] = {
		SPOIL(at->magic, 1, "header", 1, "magic number"),
		SPOIL(at->version, 0, "header", 1, "layout version"),
		SPOIL(at->ready, 2, "header", 1, "ready"),
		SPOIL(at->signature, 1, "header", 1, "layout signature"),
		SPOIL(at->bytes, 0, "header", 1, "as long as"),
		SPOIL(at->pair, 7, "header", 1, "pair number"),
		SPOIL(at->retired, 2, "header", 1, "neither 0 nor 1"),
	};

	RUN(bench, spoils);
}

/* The copy that counts; a row of these tests is published once. */
static struct line_copy *copy_of(const struct bench *bench, int64_t index)
{
	const struct rule_row *row = &bench->segment.rows[index];
	uint64_t generation = atomic_load(&row->generation);

	return (struct line_copy *)(uintptr_t)&row->copies[generation & 1];
}

static void test_lines(void **state)
{
	const struct bench *bench = *state;
	int64_t row = bench->row_exact;
	struct line_words *words = &copy_of(bench, row)->words;
	uint64_t burst = atomic_load(&words->burst_units);
	uint64_t slope = atomic_load(&words->slope);
	uint64_t shape = atomic_load(&words->shape);
	uint64_t now = segment_now(&bench->segment);
	const struct spoil spoils[] = {
		SPOIL(words->origin_ticks, now + 2000000000u, "row", row, "in the future"),
		SPOIL(words->origin_units, 0, "row", row, "clock out of range"),
		SPOIL(words->origin_units, 1ull << 63, "row", row, "clock out of range"),
		SPOIL(words->slope, 0, "row", row, "speed"),
		SPOIL(words->slope, slope * 2, "row", row, "speed"),
		SPOIL(words->slope, slope - slope / 32, "row", row, "speed"),
		SPOIL(words->slope, UINT64_MAX, "row", row, "speed"),
		SPOIL(words->shape, LINE_K_MAX + 1, "row", row, "unit that does not exist"),
		SPOIL(words->shape, shape | 1 << 8, "row", row, "unit that does not exist"),
		SPOIL(words->shape, shape + 1, "row", row, "is not that of its terms"),
		SPOIL(words->shape, shape | 4 << 16, "row", row, "flags that do not exist"),
		SPOIL(words->shape, shape | LINE_UNLIMITED << 16, "row", row, "flags are not"),
		SPOIL(words->burst_units, 0, "row", row, "burst out of range"),
		SPOIL(words->burst_units, 1ull << 60, "row", row, "burst out of range"),
		SPOIL(words->burst_units, burst + 1, "row", row, "burst is not that"),
		SPOIL(words->reach_units, LINE_FAR + 1, "row", row, "reach out of range"),
		SPOIL(words->reach_units, burst, "row", row, "reach is not that"),
		SPOIL(words->initial_units, burst + 1, "row", row, "initial level above"),
		SPOIL(words->initial_units, burst - 1, "row", row, "initial level is not that"),
	};

	RUN(bench, spoils);
}

static void test_terms(void **state)
{
	const struct bench *bench = *state;
	int64_t row = bench->row_pattern;
	struct line_terms *terms = &copy_of(bench, row)->terms;
	struct line_words *words = &copy_of(bench, row)->words;
	uint64_t burst = atomic_load(&words->burst_units);
	uint64_t shape = atomic_load(&words->shape);
	const struct spoil spoils[] = {
		SPOIL(terms->rate_micro, 8 * TERMS_MICRO, "row", row, "speed"),
		SPOIL(terms->rate_micro, 0, "row", row, "flags are not"),
		SPOIL(terms->rate_micro, UINT64_MAX - 1, "row", row, "make no line"),
		SPOIL(terms->period_ns, 0, "row", row, "without a period"),
		SPOIL(terms->period_ns, 2000000000u, "row", row, "speed"),
		SPOIL(terms->burst_micro, TERMS_MICRO - 1, "row", row, "below one token"),
		SPOIL(terms->burst_micro, 21 * TERMS_MICRO, "row", row, "burst is not that"),
		SPOIL(terms->initial_micro, 21 * TERMS_MICRO, "row", row, "initial level above"),
		SPOIL(terms->initial_micro, 0, "row", row, "initial level is not that"),
		SPOIL(terms->max_wait_ns, 0, "row", row, "reach is not that"),
		SPOIL(words->shape, shape | 0x7fffull << 49, "row", row, "a place beyond"),
		SPOIL(words->reach_units, burst - 1, "row", row, "reach is not that"),
	};

	RUN(bench, spoils);
}

/* What a line has beside its limit. */
static void test_extras(void **state)
{
	const struct rule rule = {
		.kind = ROW_EXACT,
		.text = "with extras",
		.terms = {.rate_micro = 10 * TERMS_MICRO,
			  .period_ns = 1000000000u,
			  .burst_micro = 20 * TERMS_MICRO,
			  .initial_micro = 20 * TERMS_MICRO,
			  .beside = {TERMS_MICRO, 1000000000u, 5 * TERMS_MICRO},
			  .classes = {{class_number("a"), TERMS_MICRO},
				      {class_number("b"), CLASS_SHARE | 20 * CLASS_PERCENT}}},
	};
	struct bench *bench = *state;
	int64_t row = rules_add(&bench->segment, &rule);

	assert_true(row >= 0);
	expect_healthy(bench);

	struct line_copy *copy = copy_of(bench, row);
	struct line_shadow *shadow = &copy->shadow;
	uint64_t burst = atomic_load(&shadow->burst_units);
	uint64_t slope = atomic_load(&shadow->slope);
	const struct spoil spoils[] = {
		SPOIL(shadow->burst_units, burst + 1, "row", row, "shadow limit's burst"),
		SPOIL(shadow->slope, slope * 2, "row", row, "shadow limit's speed"),
		SPOIL(shadow->burst_micro, 6 * TERMS_MICRO, "row", row, "shadow limit's burst"),
		SPOIL(copy->classes[0].name, class_number("c"), "row", row, "in the order"),
		SPOIL(copy->classes[1].name, class_number("a"), "row", row, "in the order"),
		SPOIL(copy->classes[0].name, 0, "row", row, "in the order"),
		SPOIL(copy->classes[1].name, UINT64_MAX, "row", row, "without a name"),
		SPOIL(copy->classes[0].leave, 21 * TERMS_MICRO, "row", row, "more than the burst"),
	};

	RUN(bench, spoils);
}

static int64_t add_windows(struct bench *bench, const char *text, enum window_kind kind)
{
	const struct rule rule = {
		.kind = ROW_EXACT,
		.text = text,
		.terms = {.rate_micro = 100 * TERMS_MICRO,
			  .period_ns = 3600 * 1000000000ull,
			  .burst_micro = 100 * TERMS_MICRO,
			  .initial_micro = 100 * TERMS_MICRO,
			  .window = {3600 * 1000000000ull, kind, 0}},
	};
	int64_t row = rules_add(&bench->segment, &rule);

	assert_true(row >= 0);
	return row;
}

static void test_windows(void **state)
{
	struct bench *bench = *state;
	int64_t aligned = add_windows(bench, "aligned", WINDOW_ALIGNED);
	int64_t first = add_windows(bench, "first", WINDOW_FIRST);
	struct line_copy *hour = copy_of(bench, aligned);
	struct line_copy *use = copy_of(bench, first);
	struct bucket *buckets = bench->segment.buckets;
	uint64_t shape = atomic_load(&use->words.shape);
	uint64_t by_hour = atomic_load(&hour->words.shape);
	struct weir_options options = WEIR_OPTIONS_INIT;
	struct weir_endpoint *endpoint;
	struct weir *weir;

	options.name = "audit";
	options.shm_dir = bench->dir;
	assert_int_equal(weir_open(&weir, &options), 0);
	assert_int_equal(weir_endpoint(weir, "first", &endpoint), 0);
	assert_int_equal(weir_acquire(endpoint, 7, NULL), WEIR_ADMIT);
	weir_endpoint_close(endpoint);
	weir_close(weir);
	expect_healthy(bench);

	const struct spoil spoils[] = {
		SPOIL(use->words.shape, shape | LINE_ALIGNED << 16, "row", first, "of both kinds"),
		SPOIL(hour->words.shape, by_hour & ~((uint64_t)LINE_ALIGNED << 16), "row", aligned,
		      "a length without windows"),
		SPOIL(hour->terms.window_ns, 0, "row", aligned, "windows without a length"),
		SPOIL(hour->terms.window_ns, 7, "row", aligned, "cannot follow the calendar"),
		SPOIL(hour->words.shape, by_hour | 1440ull << 32, "row", aligned,
		      "of no place on earth"),
		SPOIL(hour->words.shape, by_hour | (uint64_t)(uint16_t)-1440 << 32, "row", aligned,
		      "of no place on earth"),
		SPOIL(hour->words.origin_fraction, 1, "row", aligned, "quota is not that"),
		SPOIL(use->words.origin_fraction, 0, "row", first, "quota is not that"),
		SPOIL(hour->words.slope, 3600000000ull, "row", aligned, "speed"),
		SPOIL(hour->words.reach_units, 0, "row", aligned, "reach is not that"),
		/* a staircase may begin with its next window, and not later */
		SPOIL(hour->words.origin_ticks, 3602 * 1000000000ull + 2, "row", aligned,
		      "in the future"),
		SPOIL(use->words.shape, shape & ~0x3f00ull, "row", first, "unit that does not"),
		SPOIL(use->words.shape, shape | 63 << 8, "row", first, "unit that does not"),
		SPOIL(hour->words.shape, shape, "row", aligned, "is not that of its terms"),
		SPOIL(buckets[first].mark, LINE_BIRTH_FIRST + (1ull << 50) + 1, "bucket", first,
		      "window that begins in the future"),
	};

	RUN(bench, spoils);
}

static void test_rows(void **state)
{
	const struct bench *bench = *state;
	const struct rule_row *rows = bench->segment.rows;
	int64_t moved = bench->row_moved;
	int64_t exact = bench->row_exact;
	int64_t gone = bench->row_gone;
	uint32_t beyond = layout_buckets(LAYOUT_MAX_ROWS, LAYOUT_MAX_NAMES) + 1;
	const struct spoil spoils[] = {
		SPOIL(rows[exact].generation, 0, "row", exact, "never published"),
		SPOIL(rows[exact].state, ROW_EMPTY, "row", exact, "neither live nor gone"),
		SPOIL(rows[exact].state, 3, "row", exact, "neither live nor gone"),
		SPOIL(rows[gone].state, UINT32_MAX, "row", gone, "neither live nor gone"),
		SPOIL(rows[exact].kind, 0, "row", exact, "no known kind"),
		SPOIL(rows[exact].kind, 5, "row", exact, "no known kind"),
		SPOIL(rows[exact].kind, ROW_EACH, "row", exact, "none of its row's kind"),
		SPOIL(rows[exact].table, 1, "row", exact, "of another kind of row"),
		SPOIL(rows[exact].kind, ROW_PATTERN, "row", exact, "none of its row's kind"),
		SPOIL(rows[exact].kind, ROW_DEFAULT, "row", exact, "another name"),
		SPOIL(rows[0].kind, ROW_PATTERN, "row", 0, "one live [default]"),
		SPOIL(rows[0].state, ROW_GONE, "row", 0, "one live [default]"),
		SPOIL(rows[moved].source, moved + 1, "row", moved, "not a bucket before it"),
		SPOIL(rows[moved].source, ROWS, "row", moved, "not a bucket before it"),
		SPOIL(rows[moved].source, ROWS + NAMES + 2, "row", moved, "not a bucket before"),
		SPOIL(rows[moved].source_shape, LINE_K_MAX + 1, "row", moved, "no such unit"),
		SPOIL(rows[moved].source_units, 1ull << 63, "row", moved, "clock out of range"),
		SPOIL(rows[ROWS - 1].state, ROW_LIVE, "row", ROWS - 1, "beyond those"),
		SPOIL(rows[exact].text[0], 0, "row", exact, "a name that cannot be one"),
		SPOIL(rows[exact].text[3], '\n', "row", exact, "a name that cannot be one"),
		SPOIL(rows[exact].text[3], '*', "row", exact, "none of its row's kind"),
		SPOIL(rows[0].text[0], 'x', "row", 0, "another name"),
		SPOIL(rows[exact].text[LAYOUT_TEXT_BYTES - 1], 'x', "row", exact, "without an end"),
	};

	RUN(bench, spoils);

	/* a source in another pair may be any bucket that any pair can have */
	_Atomic uint32_t *shape = (_Atomic uint32_t *)(uintptr_t)&rows[moved].source_shape;
	const struct spoil far[] = {
		SPOIL(rows[moved].source, beyond, "row", moved, "beyond all buckets"),
	};

	atomic_fetch_or(shape, SOURCE_ELSEWHERE);
	RUN(bench, far);
	atomic_fetch_and(shape, ~SOURCE_ELSEWHERE);
}

static void test_clock(void **state)
{
	const struct bench *bench = *state;
	struct rule_row *clock = &bench->segment.publisher->clock;
	struct line_words *words = &clock->copies[atomic_load(&clock->generation) & 1].words;
	uint64_t now = segment_now(&bench->segment);
	const struct spoil spoils[] = {
		SPOIL(clock->generation, 0, "clock", 0, "never published"),
		SPOIL(words->origin_ticks, now + 2000000000u, "clock", 0, "in the future"),
		SPOIL(words->origin_units, 0, "clock", 0, "clock out of range"),
		SPOIL(words->slope, 1, "clock", 0, "calibration"),
		SPOIL(words->shape, 1, "clock", 0, "not in nanoseconds"),
		SPOIL(words->burst_units, 2, "clock", 0, "not in nanoseconds"),
		SPOIL(words->reach_units, LINE_FAR + 1, "clock", 0, "reach out of range"),
	};

	RUN(bench, spoils);
}

/* V of the row that a bucket belongs to. */
static uint64_t value_of(const struct bench *bench, int64_t row)
{
	struct line line;
	uint64_t now = line_read(&bench->segment.rows[row], &bench->segment.time, &line);

	return line_value(&line, now);
}

/* The bucket of a slot that no name has. */
static uint32_t unclaimed_bucket(const struct bench *bench)
{
	uint32_t slot = 0;

	while (atomic_load(&bench->segment.names[slot].hash))
		slot++;
	return ROWS + slot;
}

static void test_buckets(void **state)
{
	const struct bench *bench = *state;
	struct bucket *buckets = bench->segment.buckets;
	uint64_t now = segment_now(&bench->segment);
	uint64_t far = LINE_FAR + (1ull << 60) + 1;
	uint64_t far_exact = value_of(bench, bench->row_exact) + far;
	uint64_t far_default = value_of(bench, bench->row_default) + far;
	uint64_t early = (now + 100000000000u) & GATE_UNTIL;
	uint32_t exact = (uint32_t)bench->row_exact;
	uint32_t named = bench->name.bucket;
	uint32_t last = ROWS + NAMES;
	uint32_t unnamed = unclaimed_bucket(bench);
	const struct spoil far_marks[] = {
		SPOIL(buckets[exact].mark, far_exact, "bucket", exact, "further ahead"),
		SPOIL(buckets[named].mark, far_default, "bucket", named, "further ahead"),
		SPOIL(buckets[last].mark, far_default, "bucket", last, "further ahead"),
		SPOIL(buckets[exact].gate, early, "bucket", exact, "settled before its time"),
		SPOIL(buckets[named].gate, early, "bucket", named, "settled before its time"),
		SPOIL(buckets[last].gate, early, "bucket", last, "settled before its time"),
		SPOIL(buckets[ROWS - 1].mark, 1, "bucket", ROWS - 1, "that nobody has"),
		SPOIL(buckets[ROWS - 1].gate, 1, "bucket", ROWS - 1, "that nobody has"),
	};

	RUN(bench, far_marks);
	const struct spoil unclaimed[] = {
		SPOIL(buckets[unnamed].mark, 1, "bucket", unnamed, "that nobody has"),
		SPOIL(buckets[unnamed].gate, 1, "bucket", unnamed, "that nobody has"),
	};

	RUN(bench, unclaimed);
}

static void test_names(void **state)
{
	const struct bench *bench = *state;
	struct name_row *names = bench->segment.names;
	uint32_t one = bench->name.bucket - ROWS;
	uint32_t other = (uint32_t)names_find_slot(&bench->segment, "other name");
	uint64_t hash = atomic_load(&names[one].hash);
	/* begins right behind where it stands, so that the way to it leads through all slots */
	uint64_t stray = (hash & ~15ull) + (one + 1) % NAMES;
	uint32_t beyond = layout_buckets(LAYOUT_MAX_ROWS, LAYOUT_MAX_NAMES) + 1;
	const struct spoil spoils[] = {
		SPOIL(names[one].hash, 0, "bucket", bench->name.bucket, "that nobody has"),
		SPOIL(names[one].hash, stray, "name", one, "cannot be found where it is"),
		SPOIL(names[one].source, beyond, "name", one, "beyond all buckets"),
		SPOIL(names[one].text[LAYOUT_TEXT_BYTES - 1], 'x', "name", one, "without an end"),
		SPOIL(bench->segment.buckets[bench->name.bucket].mark, BUCKET_FROZEN | 5, "name",
		      one, "its name leads nowhere else"),
	};
	struct reports reports;

	RUN(bench, spoils);

	/* one hash in two slots: one of them cannot be found, or is seen twice */
	uint64_t kept = atomic_exchange(&names[other].hash, hash);

	reports = audit(bench, NULL);
	assert_true(reports.findings > 0);
	assert_string_equal(reports.where, "name");
	atomic_store(&names[other].hash, kept);

	/* side by side, where the probe sequence meets both */
	uint64_t beside = atomic_load(&names[(one + 1) % NAMES].hash);

	atomic_store(&names[(one + 1) % NAMES].hash, hash);
	expect_finding(bench, "name", (one + 1) % NAMES, "two slots");
	atomic_store(&names[(one + 1) % NAMES].hash, beside);
	expect_healthy(bench);
}

static void test_members(void **state)
{
	const struct bench *bench = *state;
	struct member_row *row = &bench->segment.members[bench->member];
	const struct spoil spoils[] = {
		SPOIL(row->pid, 1u << 30, "member", bench->member, "no kernel gives"),
		SPOIL(row->generation, 0, "member", bench->member, "never joined"),
		SPOIL(row->program[LAYOUT_PROGRAM_BYTES - 1], 'x', "member", bench->member,
		      "without an end"),
	};

	RUN(bench, spoils);
}

static void test_permits(void **state)
{
	struct bench *bench = *state;
	const struct terms terms = {.rate_micro = TERMS_MICRO,
				    .period_ns = 1000000000u,
				    .burst_micro = TERMS_MICRO,
				    .initial_micro = TERMS_MICRO,
				    .concurrency = 6 + 1};
	const struct rule rule = {.kind = ROW_EXACT, .text = "permits", .terms = terms};
	int64_t row = rules_add(&bench->segment, &rule);
	const struct member_row *member = &bench->segment.members[bench->member];
	uint64_t owner = permit_owner((uint32_t)bench->member, atomic_load(&member->generation));

	assert_true(row > 0);
	struct rule_row *at = (struct rule_row *)(uintptr_t)&bench->segment.rows[row];
	struct permit_span *spans = (struct permit_span *)(uintptr_t)bench->segment.spans;
	struct permit_row *first = segment_permit(&bench->segment, 0);
	struct permit_row *second = segment_permit(&bench->segment, 1);
	struct permit_row *third = segment_permit(&bench->segment, 2);
	struct waiter_row *waiter = &bench->segment.waiters[3];
	uint64_t limit = atomic_load(&at->permit_limit);
	const struct spoil spoils[] = {
		SPOIL(second->word, PERMIT_HELD | 0xffffull << 47, "permit", 1, "beyond all"),
		SPOIL(third->word, 1ull << 40, "permit", 2, "has an owner"),
		SPOIL(spans[5].head, 99, "permits", 5, "beyond all blocks"),
		SPOIL(spans[5].next, 99, "permits", 5, "beyond all"),
		SPOIL(spans[1].head, 0, "row", row, "fewer permits than its limit"),
		SPOIL(spans[0].next, 0, "row", row, "fewer permits than its limit"),
		SPOIL(spans[1].next, 1, "row", row, "fewer permits than its limit"),
		SPOIL(at->permit_head, 0, "row", row, "a limit without permits"),
		SPOIL(at->permit_head, 99, "row", row, "a limit without permits"),
		SPOIL(at->permit_hold_ns, UINT64_MAX, "row", row, "centuries"),
		SPOIL(waiter->owner, PERMIT_HELD | 0xffffull << 47, "waiter", 3, "beyond all"),
		SPOIL(waiter->place, PLACE_VALID | 0xffffull << 47, "waiter", 3, "a line beyond"),
		SPOIL(waiter->rings, 2, "waiter", 3, "neither 0 nor 1"),
	};

	atomic_store(&first->word, owner | 1);
	expect_healthy(bench);
	RUN(bench, spoils);
	atomic_store(&at->permit_limit, limit | PERMIT_ELSEWHERE);
	expect_note(bench, "while the pair is being replaced");
	atomic_store(&at->permit_limit, limit);
	atomic_store(&first->word, permit_owner((uint32_t)bench->member, 77) | 2);
	expect_note(bench, "its owner is gone");
	atomic_store(&first->word, 2 | PERMIT_STRUCK);
	expect_healthy(bench);
}

static void test_found(void **state)
{
	struct bench *bench = *state;
	const struct terms terms = {.rate_micro = TERMS_MICRO,
				    .period_ns = 1000000000u,
				    .burst_micro = TERMS_MICRO,
				    .initial_micro = TERMS_MICRO,
				    .concurrency = 3 + 1,
				    .concurrency_min = 2,
				    .concurrency_max = 8};
	const struct rule rule = {.kind = ROW_EXACT, .text = "found", .terms = terms};
	int64_t row = rules_add(&bench->segment, &rule);

	assert_true(row > 0);
	struct rule_row *at = (struct rule_row *)(uintptr_t)&bench->segment.rows[row];
	const struct spoil spoils[] = {
		SPOIL(at->permit_bounds, 8ull << 32, "row", row, "between no bounds"),
		SPOIL(at->permit_bounds, 8ull << 32 | 9, "row", row, "between no bounds"),
		SPOIL(at->permit_bounds, 9ull << 32 | 2, "row", row, "may come to"),
		SPOIL(at->permit_cause, 7, "row", row, "a cause that is none"),
	};

	expect_healthy(bench);
	RUN(bench, spoils);
	atomic_store(&at->permit_bounds, 8ull << 32 | 4);
	expect_note(bench, "about to be brought between its bounds");
	atomic_store(&at->permit_bounds, 8ull << 32 | 2);
	expect_healthy(bench);
}

/* ---- notes ---- */

static void test_notes_of_tables(void **state)
{
	struct bench *bench = *state;
	char name[16];

	atomic_store(&bench->segment.state->names_refused, 3);
	expect_note(bench, "share a bucket");
	atomic_store(&bench->segment.state->names_refused, 0);
	for (int i = 0; i < NAMES - 3; i++) {
		struct resolution found;

		snprintf(name, sizeof(name), "name %d", i);
		assert_int_equal(names_resolve(&bench->segment, name, true, &found), 0);
		assert_false(found.overflow);
	}
	expect_note(bench, "nearly full");
}

static void test_notes_of_rows(void **state)
{
	struct bench *bench = *state;
	char name[16];

	for (int i = 7; i < ROWS - 1; i++) {
		snprintf(name, sizeof(name), "row %d", i);
		add(bench, ROW_EXACT, name, TERMS_MICRO, 0);
	}
	expect_note(bench, "nearly used up");
}

static void test_notes_of_buckets(void **state)
{
	struct bench *bench = *state;
	struct bucket *bucket = &bench->segment.buckets[bench->row_exact];
	uint64_t now = segment_now(&bench->segment);

	assert_true(gate_close(bucket, now, now + 3600 * 1000000000ull));
	expect_healthy(bench);
	assert_true(gate_close(bucket, now, now + 3 * 86400 * 1000000000ull));
	expect_note(bench, "more than a day");
	assert_true(gate_close(bucket, now, UINT64_MAX));
	expect_note(bench, "until somebody opens it");
	assert_true(gate_open(bucket, now));
	expect_healthy(bench);
	bucket_freeze(bucket);
	expect_note(bench, "has moved, but the row");
}

static void test_notes_of_pairs(void **state)
{
	struct bench *bench = *state;

	atomic_store(&bench->segment.publisher->predecessor, 99);
	expect_note(bench, "still being moved");
	atomic_store(&bench->segment.publisher->predecessor, 0);
	move_retire(&bench->segment);
	expect_note(bench, "a newer pair");
	/* what nobody has used is frozen in a replaced pair, and there alone */
	bucket_freeze(&bench->segment.buckets[unclaimed_bucket(bench)]);
	expect_note(bench, "a newer pair");
	atomic_store(&bench->segment.state->retired, 0);
	assert_true(audit(bench, "that nobody has").is_wanted_there);
}

/* ---- while others work, and on any bytes ---- */

/* Adds, changes and removes rules, and claims and draws names, as fast as it can. */
static void work(struct bench *bench, unsigned rounds)
{
	const struct terms_author author = {ORIGIN_OPERATOR, 0};

	for (unsigned i = 0; i < rounds; i++) {
		struct terms terms = {.rate_micro = (i % 50 + 1) * TERMS_MICRO,
				      .period_ns = 1000000000u,
				      .burst_micro = 20 * TERMS_MICRO,
				      .initial_micro = 20 * TERMS_MICRO};
		struct resolution found;
		char name[16];

		terms.initial_micro -= i % 7;
		rules_change(&bench->segment, (uint32_t)bench->row_exact, &terms, &author,
			     i % 2 ? RULES_KEEP_LEVEL : RULES_KEEP_USED);
		rules_reset(&bench->segment, (uint32_t)bench->row_exact,
			    (uint32_t)bench->row_exact);
		time_source_advance(&bench->segment.time, 50000000);
		snprintf(name, sizeof(name), "name %u", i % 40);
		if (names_resolve(&bench->segment, name, true, &found) == 0 &&
		    bucket_look(&bench->segment.buckets[found.bucket]) == BUCKET_UNSET)
			move_install(&bench->segment, NULL, found.row, found.bucket);
		if (i % (rounds / 4) == 0)
			rules_remove(&bench->segment,
				     (uint32_t)add(bench, ROW_EXACT, name, TERMS_MICRO, 0));
	}
}

static void test_no_quiet_needed(void **state)
{
	struct bench *bench = *state;
	pid_t worker = fork();
	unsigned audits = 0;
	int status;

	assert_true(worker >= 0);
	if (worker == 0) {
		work(bench, 20000);
		_exit(0);
	}
	do {
		struct reports reports = audit(bench, NULL);

		if (reports.findings) {
			waitpid(worker, NULL, 0);
			fail_msg("%s %u: %s", reports.where, reports.index, reports.what);
		}
		audits++;
	} while (waitpid(worker, &status, WNOHANG) == 0);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_true(audits > 1);
	assert_int_equal(audit(bench, NULL).findings, 0);
}

/* What was mapped is never trusted, whatever the bytes: no fault, no endless loop. */
static void test_any_bytes(void **state)
{
	struct bench *bench = *state;
	unsigned char *rules = (unsigned char *)bench->segment.publisher;
	unsigned char *words = (unsigned char *)bench->segment.state;
	unsigned seed = 1;

	for (int round = 0; round < 50; round++) {
		for (uint64_t i = 0; i < bench->segment.rules_bytes; i++)
			rules[i] = (unsigned char)(rand_r(&seed) >> 8);
		for (uint64_t i = 0; i < bench->segment.state_bytes; i++)
			words[i] = (unsigned char)(rand_r(&seed) >> 8);
		assert_true(audit(bench, NULL).findings > 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_healthy, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rules_header, setup, teardown),
		cmocka_unit_test_setup_teardown(test_state_header, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lines, setup, teardown),
		cmocka_unit_test_setup_teardown(test_terms, setup, teardown),
		cmocka_unit_test_setup_teardown(test_extras, setup, teardown),
		cmocka_unit_test_setup_teardown(test_windows, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rows, setup, teardown),
		cmocka_unit_test_setup_teardown(test_clock, setup, teardown),
		cmocka_unit_test_setup_teardown(test_buckets, setup, teardown),
		cmocka_unit_test_setup_teardown(test_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_members, setup, teardown),
		cmocka_unit_test_setup_teardown(test_permits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_found, setup, teardown),
		cmocka_unit_test_setup_teardown(test_notes_of_tables, setup, teardown),
		cmocka_unit_test_setup_teardown(test_notes_of_rows, setup, teardown),
		cmocka_unit_test_setup_teardown(test_notes_of_buckets, setup, teardown),
		cmocka_unit_test_setup_teardown(test_notes_of_pairs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_quiet_needed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_any_bytes, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
