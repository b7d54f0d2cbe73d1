/* SPDX-License-Identifier: Apache-2.0
 *
 * The state file as text, and the ageing of levels, without a process: values in, values out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "class.h"
#include "fold.h"
#include "state.h"
#include "weir.h"

#define SECOND 1000000000ull
#define DAY (86400 * SECOND)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define HEAD                                                                                       \
	"weir-state 1\ninstance default\nsaved 1763892000.5\n"                                     \
	"boot 0123456789abcdef0123456789abcdef 4711.25\n"

static uint64_t random_state = 0x9e3779b97f4a7c15ull;

/* xorshift64*: the same numbers in every run. */
static uint64_t random_word(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return random_state * 0x2545f4914f6cdd1dull;
}

static uint64_t below(uint64_t bound)
{
	return random_word() % bound;
}

/* ---- texts ---- */

/* A body with the last line that belongs to it. */
static char *sealed(const char *body, size_t bytes, size_t *out_bytes)
{
	char *text = malloc(bytes + 64);

	assert_non_null(text);
	memcpy(text, body, bytes);
	*out_bytes = bytes +
		     (size_t)sprintf(text + bytes, "end %u %zu\n", state_cksum(body, bytes), bytes);
	return text;
}

/* state_open() on a copy of exactly that length, so that a sanitizer sees a byte too many. */
static int open_bytes(const char *text, size_t bytes, struct state_stamp *stamp,
		      char fault[STATE_FAULT_BYTES])
{
	struct state_reader reader;
	char *copy = malloc(bytes ? bytes : 1);
	int status;

	assert_non_null(copy);
	memcpy(copy, text, bytes);
	status = state_open(&reader, stamp, copy, bytes, fault);
	free(copy);
	return status;
}

static int open_body(const char *body, size_t bytes, char fault[STATE_FAULT_BYTES])
{
	struct state_stamp stamp;
	size_t length;
	char *text = sealed(body, bytes, &length);
	int status = open_bytes(text, length, &stamp, fault);

	free(text);
	return status;
}

static struct terms terms_of(uint64_t rate_micro, uint64_t period_ns, uint64_t burst_micro)
{
	return (struct terms){
		.rate_micro = rate_micro, .period_ns = period_ns, .burst_micro = burst_micro};
}

static const struct state_stamp some_stamp = {
	.instance = "default",
	.saved_ns = 1763892000500000000ull,
	.boot = {0x0123456789abcdefull, 0x0123456789abcdefull},
	.boottime_ns = 4711250000000ull,
};

static struct state_text begun(void)
{
	struct state_text text;

	state_begin(&text, &some_stamp);
	return text;
}

/* What cksum(1) prints for them. */
static void test_cksum(void **state)
{
	(void)state;
	assert_int_equal(state_cksum("", 0), 4294967295u);
	assert_int_equal(state_cksum("123456789", 9), 930766865u);
}

static void set_class(struct terms *terms, const char *name, uint64_t leave)
{
	assert_null(class_set(terms, class_number(name), leave));
}

static void add_shadows_and_classes(struct state_text *text)
{
	struct state_record record = {
		.kind = STATE_OPERATOR,
		.text = "p",
		.terms = terms_of(10 * TERMS_MICRO, SECOND, 10 * TERMS_MICRO),
	};

	record.terms.initial_micro = record.terms.burst_micro;
	record.terms.shadow = 1;
	record.terms.beside = (struct shadow_terms){5 * TERMS_MICRO, SECOND, 6 * TERMS_MICRO};
	set_class(&record.terms, "a-1", 2500000);
	set_class(&record.terms, "background", 20 * CLASS_PERCENT | CLASS_SHARE);
	set_class(&record.terms, "batch", CLASS_PERCENT / 2 | CLASS_SHARE);
	state_add(text, &record);
}

/* A rule with windows, and one of keys. */
static void add_operators(struct state_text *out)
{
	struct state_record record = {
		.kind = STATE_OPERATOR,
		.text = "o",
		.terms = terms_of(9 * TERMS_MICRO, 3600 * SECOND, 9 * TERMS_MICRO),
	};

	record.terms.initial_micro = record.terms.burst_micro;
	record.terms.window = (struct window_terms){3600 * SECOND, WINDOW_FIRST, 0};
	state_add(out, &record);
	record = (struct state_record){
		.kind = STATE_OPERATOR,
		.text = "c/*",
		.terms = terms_of(9 * TERMS_MICRO, SECOND, 9 * TERMS_MICRO),
		.keys = 70000,
		.fold = 24 | FOLD_CASE,
	};
	record.terms.initial_micro = record.terms.burst_micro;
	state_add(out, &record);
}

static void test_golden(void **state)
{
	static const char expected[] =
		"weir-state 1\n"
		"# The levels of a weir instance at 2025-11-23T10:00:00Z; see weird(8). used: "
		"tokens taken and\n"
		"# not yet refilled. The last line is what sed '$d' FILE | cksum says.\n"
		"instance default\n"
		"saved 1763892000.5\n"
		"boot 0123456789abcdef0123456789abcdef 4711.25\n"
		"endpoint rate=5000/h burst=100 used=37.5 closed=29.5s name=POST "
		"api.example.com/*\n"
		"name rate=unlimited burst=1 used=0 closed=forever name=name=x\n"
		"rest rate=0 burst=10 used=2305843009213693952\n"
		"operator rate=5/2s burst=10 initial=2.5 max_wait=30s uid=1000 name=*\n"
		"endpoint rate=5000/d burst=5000 window=1d,aligned,+02:00 used=812 "
		"renews=1763935200 name=by day\n"
		"operator rate=9/h burst=9 window=1h,first initial=9 uid=0 name=o\n"
		"operator rate=9/s burst=9 initial=9 ?keys=70000 ?fold=ipv4/24,case uid=0 "
		"name=c/*\n"
		"operator rate=10/s burst=10 initial=10 shadow=yes shadow_rate=5/s shadow_burst=6 "
		"classes=a-1:2.5,background:20%,batch:0.5% uid=0 name=p\n";
	struct state_text text = begun();
	struct state_record record = {
		.kind = STATE_ENDPOINT,
		.text = "POST api.example.com/*",
		.terms = terms_of(5000 * TERMS_MICRO, 3600 * SECOND, 100 * TERMS_MICRO),
		.used_micro = 37500000,
		.closed_ns = 29500000000,
	};
	size_t bytes;
	char *whole = sealed(expected, sizeof(expected) - 1, &bytes);

	(void)state;
	state_add(&text, &record);
	record = (struct state_record){.kind = STATE_NAME,
				       .text = "name=x",
				       .terms = terms_of(TERMS_UNLIMITED, SECOND, TERMS_MICRO),
				       .closed_ns = STATE_FOREVER};
	state_add(&text, &record);
	record = (struct state_record){.kind = STATE_REST,
				       .terms = terms_of(0, SECOND, 10 * TERMS_MICRO),
				       .used_micro = (line_wide)LINE_FAR * TERMS_MICRO};
	state_add(&text, &record);
	record = (struct state_record){.kind = STATE_OPERATOR,
				       .text = "*",
				       .terms = {.rate_micro = 5 * TERMS_MICRO,
						 .period_ns = 2 * SECOND,
						 .burst_micro = 10 * TERMS_MICRO,
						 .initial_micro = 2500000,
						 .max_wait_ns = 30 * SECOND},
				       .uid = 1000};
	state_add(&text, &record);
	record = (struct state_record){
		.kind = STATE_ENDPOINT,
		.text = "by day",
		.terms = terms_of(5000 * TERMS_MICRO, DAY, 5000 * TERMS_MICRO),
		.used_micro = 812 * TERMS_MICRO,
		.renews_ns = 1763935200 * SECOND,
	};
	record.terms.window = (struct window_terms){DAY, WINDOW_ALIGNED, 120};
	state_add(&text, &record);
	add_operators(&text);
	add_shadows_and_classes(&text);
	assert_int_equal(state_finish(&text), 0);
	assert_int_equal(text.used, bytes);
	assert_memory_equal(text.text, whole, bytes);
	free(text.text);
	free(whole);
}

/* Up to 2^bits, all sizes alike. */
static uint64_t any_size(unsigned bits)
{
	uint64_t bound = 1ull << below(bits + 1);

	return below(bound);
}

static void random_text(char *out)
{
	static const char letters[] = "abc*=? /.\xc3\xa9";
	size_t length = 1 + below(WEIR_NAME_MAX);

	for (size_t i = 0; i < length; i++)
		out[i] = letters[below(sizeof(letters) - 1)];
	if (out[0] == ' ')
		out[0] = 'x';
	if (out[length - 1] == ' ')
		out[length - 1] = 'x';
}

/* Terms that a configuration may have, but for a burst that does not go with the rate. */
static struct terms random_terms(void)
{
	static const uint64_t periods[] = {1, 60, 3600, 86400, 7 * 86400};
	uint64_t period = periods[below(COUNT(periods))];
	/* 10^9 tokens a second and 10^12 a period are the most */
	uint64_t fastest = period < 1000 ? period * 1000000000000000ull : 1000000000000000000ull;
	uint64_t rate = below(fastest + 1);
	uint64_t burst = TERMS_MICRO + any_size(57);

	return terms_of(below(9) ? rate : TERMS_UNLIMITED, period * SECOND, burst);
}

/* What a rule has beside its rate; names of classes in their order, as rules keep them. */
static void random_extras(struct terms *terms)
{
	static const char *const names[LAYOUT_CLASSES] = {"a", "background", "b_-9",
							  "zzzzzzzzzzzz"};
	uint64_t share = 1 + below(100 * CLASS_PERCENT - 1);

	terms->shadow = below(2);
	if (below(2))
		terms->beside = (struct shadow_terms){below(1000 * TERMS_MICRO),
						      (1 + below(86400)) * SECOND,
						      TERMS_MICRO + any_size(57)};
	for (size_t i = 0; i < COUNT(names); i++)
		if (below(2))
			set_class(terms, names[i],
				  below(2) ? share | CLASS_SHARE
					   : 1 + below(terms->burst_micro - 1));
}

/* A rule with a bucket for each key, which begins full and has one mark. */
static void make_each(struct state_record *record)
{
	strcpy(record->text, "client/*");
	record->terms.initial_micro = record->terms.burst_micro;
	record->terms.beside = (struct shadow_terms){0};
	record->terms.concurrency = TERMS_NO_LIMIT;
	record->terms.concurrency_min = record->terms.concurrency_max = 0;
	record->keys = 1 + below(LAYOUT_MAX_KEYS);
	record->fold = below(33) | below(129) << 8 | (below(2) ? FOLD_CASE : 0);
}

static void random_concurrency(struct terms *terms)
{
	if (below(2))
		terms->concurrency = below(LAYOUT_MAX_PERMITS + 2);
	if (below(3))
		return;
	terms->concurrency_max = (uint32_t)(1 + below(LAYOUT_MAX_PERMITS));
	terms->concurrency_min = (uint32_t)(1 + below(terms->concurrency_max));
	/* where it begins: what was found is a record of its own */
	terms->concurrency = 20 + 1;
	if (terms->concurrency_min > 20)
		terms->concurrency = terms->concurrency_min + 1ull;
	if (terms->concurrency_max < 20)
		terms->concurrency = terms->concurrency_max + 1ull;
}

static struct state_record random_record(void)
{
	struct state_record record = {.kind = (enum state_kind)below(5)};

	if (record.kind == STATE_LEARNED)
		record.kind = STATE_FOUND;
	record.terms = random_terms();
	if (record.kind != STATE_REST)
		random_text(record.text);
	if (record.kind == STATE_OPERATOR) {
		record.terms.initial_micro = below(record.terms.burst_micro + 1);
		record.terms.max_wait_ns = below(2) ? below(366 * DAY) : 0;
		record.uid = below(1ull << 32);
		random_extras(&record.terms);
		random_concurrency(&record.terms);
		if (below(3) == 0)
			make_each(&record);
		return record;
	}
	if (record.kind == STATE_FOUND) {
		record.terms.concurrency = 2 + below(LAYOUT_MAX_PERMITS);
		return record;
	}
	record.used_micro = any_size(61);
	record.used_micro *= 1 + below(1ull << 19);
	if (below(2))
		record.closed_ns = any_size(62);
	else if (below(2))
		record.closed_ns = STATE_FOREVER;
	return record;
}

/* At 10^9 a second the burst that fits is smaller; such terms no configuration has. */
static bool is_rule(const struct state_record *record)
{
	struct line line;

	return record->terms.rate_micro == TERMS_UNLIMITED ||
	       line_from_terms(&line, &record->terms, line_best_k(&record->terms), SECOND) == 0;
}

static void assert_same_record(const struct state_record *a, const struct state_record *b)
{
	assert_int_equal(a->kind, b->kind);
	assert_string_equal(a->text, b->text);
	assert_int_equal(a->terms.rate_micro, b->terms.rate_micro);
	assert_int_equal(a->terms.burst_micro, b->terms.burst_micro);
	assert_int_equal(a->terms.initial_micro, b->terms.initial_micro);
	assert_int_equal(a->terms.max_wait_ns, b->terms.max_wait_ns);
	assert_int_equal(a->terms.concurrency, b->terms.concurrency);
	assert_int_equal(a->terms.concurrency_min, b->terms.concurrency_min);
	assert_int_equal(a->terms.concurrency_max, b->terms.concurrency_max);
	assert_int_equal(a->learned.cause, b->learned.cause);
	assert_int_equal(a->terms.shadow, b->terms.shadow);
	assert_memory_equal(&a->terms.beside, &b->terms.beside, sizeof(a->terms.beside));
	assert_memory_equal(&a->terms.classes, &b->terms.classes, sizeof(a->terms.classes));
	assert_true(a->terms.rate_micro == TERMS_UNLIMITED ||
		    a->terms.period_ns == b->terms.period_ns);
	assert_true(a->used_micro == b->used_micro);
	assert_int_equal(a->closed_ns, b->closed_ns);
	assert_int_equal(a->uid, b->uid);
	assert_int_equal(a->keys, b->keys);
	assert_int_equal(a->fold, b->fold);
}

static void test_round_trip(void **state)
{
	enum { RECORDS = 5000 };
	struct state_record *records = calloc(RECORDS, sizeof(*records));
	struct state_text text = begun();
	struct state_reader reader;
	struct state_stamp stamp;
	struct state_record found;
	char fault[STATE_FAULT_BYTES] = "";

	(void)state;
	assert_non_null(records);
	for (size_t i = 0; i < RECORDS; i++) {
		do
			records[i] = random_record();
		while (!is_rule(&records[i]));
		state_add(&text, &records[i]);
	}
	assert_int_equal(state_finish(&text), 0);
	if (state_open(&reader, &stamp, text.text, text.used, fault) < 0)
		fail_msg("%s", fault);
	assert_memory_equal(&stamp.boot, &some_stamp.boot, sizeof(stamp.boot));
	assert_string_equal(stamp.instance, some_stamp.instance);
	assert_int_equal(stamp.saved_ns, some_stamp.saved_ns);
	assert_int_equal(stamp.boottime_ns, some_stamp.boottime_ns);
	for (size_t i = 0; i < RECORDS; i++) {
		assert_true(state_next(&reader, &found));
		assert_same_record(&found, &records[i]);
	}
	assert_false(state_next(&reader, &found));
	free(text.text);
	free(records);
}

/* ---- what is refused ---- */

struct bad {
	const char *body;
	int code;
	const char *says;
};

#define LINE(text) HEAD text "\n"

static const struct bad bad_bodies[] = {
	{"", WEIR_EDAMAGED, "line 1: 'weir-state 1' is expected"},
	{"\n", WEIR_EDAMAGED, "line 1: "},
	{"weir-state\n", WEIR_EDAMAGED, "line 1: "},
	{"weir-state 0\n", WEIR_EDAMAGED, "line 1: "},
	{"weir-state 1 \n", WEIR_EDAMAGED, "line 1: "},
	{"weir-state -1\n", WEIR_EDAMAGED, "line 1: "},
	{"weir-state 2\n", WEIR_ENEWER, "line 1: version 2, of a later weird; this one reads 1"},
	{"weir-state 2\nwhatever that means\n", WEIR_ENEWER, "version 2"},
	{"weir-state 4294967296\n", WEIR_EDAMAGED, "line 1: "},
	{"instance default\n", WEIR_EDAMAGED, "line 1: "},
	{"weir-state 1\n", WEIR_EDAMAGED, "'instance' is expected"},
	{"weir-state 1\nsaved 1\n", WEIR_EDAMAGED, "line 2: 'instance' is expected"},
	{"weir-state 1\ninstance \n", WEIR_EDAMAGED, "line 2: no name"},
	{"weir-state 1\ninstance "
	 "0123456789012345678901234567890123456789012345678901234567890123\n",
	 WEIR_EDAMAGED, "line 2: no name"},
	{"weir-state 1\ninstance a\nsaved x\n", WEIR_EDAMAGED, "line 3: no time"},
	{"weir-state 1\ninstance a\nsaved -1\n", WEIR_EDAMAGED, "line 3: no time"},
	{"weir-state 1\ninstance a\nsaved 9223372037\n", WEIR_EDAMAGED, "line 3: no time"},
	{"weir-state 1\ninstance a\nsaved 1.0000000001\n", WEIR_EDAMAGED, "line 3: no time"},
	{"weir-state 1\ninstance a\nsaved 1\nboot 12 1\n", WEIR_EDAMAGED, "line 4: no boot"},
	{"weir-state 1\ninstance a\nsaved 1\nboot 0123456789ABCDEF0123456789abcdef 1\n",
	 WEIR_EDAMAGED, "line 4: no boot"},
	{"weir-state 1\ninstance a\nsaved 1\nboot 0123456789abcdef0123456789abcdef\n",
	 WEIR_EDAMAGED, "line 4: no boot"},
	{"weir-state 1\ninstance a\nsaved 1\n", WEIR_EDAMAGED, "'boot' is expected"},
	{HEAD "instance again\n", WEIR_ENEWER, "line 5: 'instance'"},
	{LINE(""), WEIR_EDAMAGED, "line 5: a record is expected"},
	{LINE(" name rate=1/s burst=1 used=1 name=x"), WEIR_EDAMAGED, "line 5: "},
	{LINE("learned rate=1/s name=x"), WEIR_ENEWER, "line 5: 'learned', which this weird"},
	{LINE("?found rate=1/s burst=1 concurrency=0 name=x"), WEIR_EDAMAGED,
	 "no concurrency that could have been found"},
	{LINE("?found rate=1/s burst=1 concurrency=auto,1..3 name=x"), WEIR_EDAMAGED,
	 "no concurrency that could have been found"},
	{LINE("?found rate=1/s burst=1 name=x"), WEIR_EDAMAGED, "concurrency= is missing"},
	{LINE("?found rate=1/s burst=1 concurrency=12345678901234567890123456789012345678901 "
	      "name=x"),
	 WEIR_EDAMAGED, "cannot be read"},
	{LINE("name"), WEIR_EDAMAGED, "line 5: rate= is missing"},
	{LINE("name "), WEIR_EDAMAGED, "line 5: '': KEY=VALUE is expected"},
	{LINE("name rate=1/s"), WEIR_EDAMAGED, "line 5: burst= is missing"},
	{LINE("name rate=1/s burst=1 used=1"), WEIR_EDAMAGED, "line 5: name= is missing"},
	{LINE("name rate=1/s burst=1  used=1 name=x"), WEIR_EDAMAGED, "line 5: '': KEY=VALUE"},
	{LINE("name rate=1/s burst=1 used name=x"), WEIR_EDAMAGED, "line 5: 'used': KEY=VALUE"},
	{LINE("name rate=1/s rate=1/s burst=1 used=1 name=x"), WEIR_EDAMAGED, "rate is there twi"},
	{LINE("name rate=1/s burst=1 used=1 colour=red name=x"), WEIR_ENEWER,
	 "line 5: a field 'colour', which this weird does not know"},
	{LINE("name rate=1/s burst=1 used=1 uid=0 name=x"), WEIR_ENEWER, "a field 'uid'"},
	{LINE("rest rate=1/s burst=1 used=1 name=x"), WEIR_ENEWER, "a field 'name'"},
	{LINE("name rate=1 burst=1 used=1 name=x"), WEIR_EDAMAGED, "line 5: rate=1 cannot be read"},
	{LINE("name rate=1/s burst=1 used=1 window=1h,later name=x"), WEIR_EDAMAGED,
	 "line 5: window=1h,later cannot be read"},
	{LINE("name rate=1/s burst=1 used=1 renews=soon name=x"), WEIR_EDAMAGED,
	 "line 5: renews=soon cannot be read"},
	{LINE("operator rate=1/h burst=1 initial=1 window=1s uid=0 name=x"), WEIR_EDAMAGED,
	 "line 5: a window brings less than 1 token"},
	{LINE("name rate=2G/s burst=1 used=1 name=x"), WEIR_EDAMAGED, "rate=2G/s cannot"},
	{LINE("name rate=1/s burst=0 used=1 name=x"), WEIR_EDAMAGED, "burst=0 cannot"},
	{LINE("name rate=1/s burst=1 used=-1 name=x"), WEIR_EDAMAGED, "used=-1 cannot"},
	{LINE("name rate=1/s burst=1 used= name=x"), WEIR_EDAMAGED, "used= cannot"},
	{LINE("name rate=1/s burst=1 used=. name=x"), WEIR_EDAMAGED, "used=. cannot"},
	{LINE("name rate=1/s burst=1 used=1. name=x"), WEIR_EDAMAGED, "used=1. cannot"},
	{LINE("name rate=1/s burst=1 used=.5 name=x"), WEIR_EDAMAGED, "used=.5 cannot"},
	{LINE("name rate=1/s burst=1 used=1.2.3 name=x"), WEIR_EDAMAGED, "used=1.2.3 cannot"},
	{LINE("name rate=1/s burst=1 used=1e3 name=x"), WEIR_EDAMAGED, "used=1e3 cannot"},
	{LINE("name rate=1/s burst=1 used=nan name=x"), WEIR_EDAMAGED, "used=nan cannot"},
	{LINE("name rate=1/s burst=1 used=0.0000001 name=x"), WEIR_EDAMAGED, "used=0.0000001"},
	{LINE("name rate=1/s burst=1 used=2305843009213693953 name=x"), WEIR_EDAMAGED, "used=23"},
	{LINE("name rate=1/s burst=1 used=1 closed=1 name=x"), WEIR_EDAMAGED, "closed=1 cannot"},
	{LINE("name rate=1/s burst=1 used=1 closed=0s name=x"), WEIR_EDAMAGED, "closed=0s cannot"},
	{LINE("name rate=1/s burst=1 used=1 closed=9223372037s name=x"), WEIR_EDAMAGED, "closed="},
	{LINE("name rate=1/s burst=1 used=1 name="), WEIR_EDAMAGED, "name= cannot"},
	{LINE("name rate=1/s burst=1 used=1 name= x"), WEIR_EDAMAGED, "name= x cannot"},
	{LINE("name rate=1/s burst=1 used=1 name=x "), WEIR_EDAMAGED, "name=x  cannot"},
	{LINE("name rate=1/s burst=1 used=1 name=a\tb"), WEIR_EDAMAGED, "line 5: a control char"},
	{LINE("name rate=1/s burst=1 used=1 name=a\rb"), WEIR_EDAMAGED, "line 5: a control char"},
	{LINE("name rate=1/s burst=1 used=1 name=a\x7f"), WEIR_EDAMAGED, "line 5: a control char"},
	{LINE("#\x01"), WEIR_EDAMAGED, "line 5: a control char"},
	{LINE("operator rate=1/s burst=1 uid=0 name=x"), WEIR_EDAMAGED, "initial= is missing"},
	{LINE("operator rate=1/s burst=1 initial=2 uid=0 name=x"), WEIR_EDAMAGED,
	 "line 5: initial is above the burst"},
	{LINE("operator rate=1/s burst=1 initial=1 uid=4294967296 name=x"), WEIR_EDAMAGED, "uid="},
	{LINE("operator rate=1/s burst=1 initial=1 max_wait=0 uid=0 name=x"), WEIR_EDAMAGED,
	 "max_wait=0 cannot"},
	{LINE("operator rate=1/s burst=1 initial=1 shadow=maybe uid=0 name=x"), WEIR_EDAMAGED,
	 "shadow=maybe cannot"},
	{LINE("operator rate=1/s burst=1 initial=1 shadow_rate=unlimited uid=0 name=x"),
	 WEIR_EDAMAGED, "shadow_rate=unlimited cannot"},
	{LINE("operator rate=1/s burst=1 initial=1 shadow_burst=2 uid=0 name=x"), WEIR_EDAMAGED,
	 "line 5: shadow_burst needs a shadow_rate"},
	{LINE("operator rate=1/s burst=9 initial=9 classes= uid=0 name=x"), WEIR_EDAMAGED,
	 "classes= cannot"},
	{LINE("operator rate=1/s burst=9 initial=9 classes=a uid=0 name=x"), WEIR_EDAMAGED,
	 "classes=a cannot"},
	{LINE("operator rate=1/s burst=9 initial=9 classes=a: uid=0 name=x"), WEIR_EDAMAGED,
	 "classes=a: cannot"},
	{LINE("operator rate=1/s burst=9 initial=9 classes=:1 uid=0 name=x"), WEIR_EDAMAGED,
	 "classes=:1 cannot"},
	{LINE("operator rate=1/s burst=9 initial=9 classes=A:1 uid=0 name=x"), WEIR_EDAMAGED,
	 "classes=A:1 cannot"},
	{LINE("operator rate=1/s burst=9 initial=9 classes=a:1, uid=0 name=x"), WEIR_EDAMAGED,
	 "classes=a:1, cannot"},
	{LINE("operator rate=1/s burst=9 initial=9 classes=a:100% uid=0 name=x"), WEIR_EDAMAGED,
	 "classes=a:100% cannot"},
	{LINE("operator rate=1/s burst=9 initial=9 classes=a:1,b:1,c:1,d:1,e:1 uid=0 name=x"),
	 WEIR_EDAMAGED, "classes=a:1,b:1,c:1,d:1,e:1 cannot"},
	{LINE("operator rate=1/s burst=9 initial=9 classes=a:9 uid=0 name=x"), WEIR_EDAMAGED,
	 "line 5: a class must leave less than the burst"},
	{LINE("operator rate=1/s burst=9 initial=9 ?keys=0 uid=0 name=x/*"), WEIR_EDAMAGED,
	 "?keys=0 cannot"},
	{LINE("operator rate=1/s burst=9 initial=9 ?keys=9 ?fold=ipv4/33 uid=0 name=x/*"),
	 WEIR_EDAMAGED, "?fold=ipv4/33 cannot"},
	{LINE("operator rate=1/s burst=9 initial=9 ?keys=9 ?fold=ipv4/24,ipv6/64,case,none uid=0 "
	      "name=x/*"),
	 WEIR_EDAMAGED, "?fold=ipv4/24,ipv6/64,case,none cannot"},
	{LINE("operator rate=1/s burst=9 initial=9 ?keys=9 uid=0 name=x"), WEIR_EDAMAGED,
	 "line 5: the pattern of an [each] has one *"},
	{LINE("operator rate=1/s burst=9 initial=9 ?keys=9 uid=0 name=*/*"), WEIR_EDAMAGED,
	 "line 5: the pattern of an [each] has one *"},
	{LINE("operator rate=1/s burst=9 initial=8 ?keys=9 uid=0 name=x/*"), WEIR_EDAMAGED,
	 "line 5: a key begins full"},
	{LINE("endpoint rate=1/s burst=9 used=9 shadow=yes name=x"), WEIR_ENEWER,
	 "a field 'shadow'"},
};

static void test_bad_bodies(void **state)
{
	char fault[STATE_FAULT_BYTES];

	(void)state;
	for (size_t i = 0; i < COUNT(bad_bodies); i++) {
		const struct bad *bad = &bad_bodies[i];
		int status = open_body(bad->body, strlen(bad->body), fault);

		if (status != bad->code || !strstr(fault, bad->says))
			fail_msg("body %zu: %d, '%s'; expected %d, '%s'", i, status, fault,
				 bad->code, bad->says);
	}
}

static void test_good_bodies(void **state)
{
	static const char *const bodies[] = {
		HEAD,
		"# before all?\nweir-state 1\ninstance a\nsaved 0\n"
		"boot 00000000000000000000000000000000 0\n",
		HEAD "# a comment\n\x23\n",
		LINE("?later, of another release, whatever it says"),
		LINE("name rate=1/s burst=1 used=1 ?later=7 name=x"),
		LINE("name used=1 burst=1 rate=1/s name=y name=z w=1"),
		LINE("name rate=1/s burst=1 used=2305843009213693952 closed=9223372036s name=x"),
	};
	char fault[STATE_FAULT_BYTES] = "";

	(void)state;
	for (size_t i = 0; i < COUNT(bodies); i++)
		if (open_body(bodies[i], strlen(bodies[i]), fault) < 0)
			fail_msg("body %zu: %s", i, fault);
}

static void test_optional_is_skipped(void **state)
{
	static const char body[] = HEAD "?later x\nname rate=1/s burst=2 used=1 ?a=b name=y z\n"
					"?later y\n";
	struct state_stamp stamp;
	struct state_reader reader;
	struct state_record record;
	char fault[STATE_FAULT_BYTES] = "";
	size_t bytes;
	char *text = sealed(body, sizeof(body) - 1, &bytes);

	(void)state;
	assert_int_equal(state_open(&reader, &stamp, text, bytes, fault), 0);
	assert_true(state_next(&reader, &record));
	assert_string_equal(record.text, "y z");
	assert_true(record.used_micro == TERMS_MICRO);
	assert_false(state_next(&reader, &record));
	free(text);
}

/* The longest record that there can be fits into a line. */
static void test_longest_record(void **state)
{
	struct state_text text = begun();
	struct state_record record = {.kind = STATE_OPERATOR, .uid = UINT32_MAX}, found;
	struct terms *terms = &record.terms;
	struct state_reader reader;
	struct state_stamp stamp;
	char fault[STATE_FAULT_BYTES] = "";
	size_t before;

	(void)state;
	memset(record.text, 'x', WEIR_NAME_MAX);
	*terms = terms_of(999999999999999999, 31622399 * SECOND, 999999999999999999);
	terms->initial_micro = terms->burst_micro - 1;
	terms->max_wait_ns = 31622399999999999;
	terms->shadow = 1;
	terms->beside =
		(struct shadow_terms){999999999999999998, 31622398 * SECOND, 999999999999999998};
	set_class(terms, "aaaaaaaaaaaa", 999999999999999991);
	set_class(terms, "bbbbbbbbbbbb", 999999999999999992);
	set_class(terms, "cccccccccccc", 999999999999999993);
	set_class(terms, "dddddddddddd", 999999999999999994);
	before = text.used;
	state_add(&text, &record);
	/* a window would be longer than the few bytes that a round rate then saves */
	assert_in_range(text.used - before + 40, 500, STATE_LINE_BYTES);
	assert_int_equal(state_finish(&text), 0);
	if (state_open(&reader, &stamp, text.text, text.used, fault) < 0)
		fail_msg("%s", fault);
	assert_true(state_next(&reader, &found));
	assert_same_record(&record, &found);
	free(text.text);
}

/* A line of 1535 bytes is read; one more is not, with or without an end. */
static void test_long_lines(void **state)
{
	char body[sizeof(HEAD) + STATE_LINE_BYTES + 8];
	size_t head = sizeof(HEAD) - 1;
	char fault[STATE_FAULT_BYTES];

	(void)state;
	memcpy(body, HEAD, head);
	memset(body + head, '#', sizeof(body) - head);
	body[head + STATE_LINE_BYTES - 1] = '\n';
	assert_int_equal(open_body(body, head + STATE_LINE_BYTES, fault), 0);
	body[head + STATE_LINE_BYTES - 1] = '#';
	body[head + STATE_LINE_BYTES] = '\n';
	assert_int_equal(open_body(body, head + STATE_LINE_BYTES + 1, fault), WEIR_EDAMAGED);
	assert_non_null(strstr(fault, "line 5: a line of at most 1535 bytes"));
}

static char *sample(size_t *bytes)
{
	struct state_text text = begun();

	random_state = 7;
	for (int i = 0; i < 8; i++) {
		struct state_record record;

		do
			record = random_record();
		while (!is_rule(&record));
		state_add(&text, &record);
	}
	assert_int_equal(state_finish(&text), 0);
	*bytes = text.used;
	return text.text;
}

static void test_every_truncation(void **state)
{
	struct state_stamp stamp;
	char fault[STATE_FAULT_BYTES];
	size_t bytes;
	char *text = sample(&bytes);

	(void)state;
	assert_int_equal(open_bytes(text, bytes, &stamp, fault), 0);
	for (size_t length = 0; length < bytes; length++)
		assert_int_equal(open_bytes(text, length, &stamp, fault), WEIR_EDAMAGED);
	free(text);
}

/* Whichever byte becomes whichever other, it is seen; a digit of the version may say `later`. */
static void test_every_byte_replaced(void **state)
{
	struct state_stamp stamp;
	char fault[STATE_FAULT_BYTES];
	unsigned long refused = 0;
	size_t bytes;
	char *text = sample(&bytes);

	(void)state;
	for (size_t i = 0; i < bytes; i++) {
		char was = text[i];

		for (int by = 1; by < 256; by++) {
			text[i] = (char)((unsigned char)was ^ by);
			int status = open_bytes(text, bytes, &stamp, fault);

			assert_true(status == WEIR_EDAMAGED || (status == WEIR_ENEWER && i < 13));
			refused++;
		}
		text[i] = was;
	}
	print_message("%lu files with one byte replaced, all refused\n", refused);
	assert_int_equal(refused, 255 * bytes);
	free(text);
}

/* Bytes added behind, in front, between: never the same file. */
static void test_joined(void **state)
{
	struct state_stamp stamp;
	char fault[STATE_FAULT_BYTES];
	size_t bytes;
	char *text = sample(&bytes);
	char *twice = malloc(2 * bytes);

	(void)state;
	assert_non_null(twice);
	memcpy(twice, text, bytes);
	memcpy(twice + bytes, text, bytes);
	for (size_t length = bytes + 1; length <= 2 * bytes; length++)
		assert_int_equal(open_bytes(twice, length, &stamp, fault), WEIR_EDAMAGED);
	free(twice);
	free(text);
}

/* What a right checksum lets in: mutated bodies, sealed anew. Reads all, and no further. */
static void test_fuzzed_bodies(void **state)
{
	static const char *const words[] = {
		"name=", "used=",     "closed=",     "rate=", "burst=", "end ",
		"\n",	 "operator ", " ",	     "?",     "=",	"0",
		"9",	 "forever",   "weir-state ", "1/s",
	};
	unsigned long accepted = 0;
	enum { RUNS = 100000 };
	size_t bytes;
	char *text = sample(&bytes);
	char *body = malloc(bytes);

	(void)state;
	assert_non_null(body);
	while (strncmp(text + --bytes, "end ", 4) != 0)
		;
	for (int run = 0; run < RUNS; run++) {
		char fault[STATE_FAULT_BYTES];
		size_t length = below(4) ? bytes : below(bytes);

		memcpy(body, text, length);
		for (uint64_t i = below(4); i > 0 && length > 16; i--) {
			const char *word = words[below(COUNT(words))];
			size_t at = below(length - 12);

			if (below(2))
				body[at] = (char)random_word();
			else
				memcpy(body + at, word, strlen(word));
		}
		int status = open_body(body, length, fault);

		assert_true(status == 0 || status == WEIR_EDAMAGED || status == WEIR_ENEWER);
		accepted += status == 0;
	}
	print_message("%d sealed bodies, %lu of them accepted\n", RUNS, accepted);
	free(body);
	free(text);
}

static void test_noise(void **state)
{
	char noise[300];
	struct state_stamp stamp;
	char fault[STATE_FAULT_BYTES];

	(void)state;
	for (int run = 0; run < 20000; run++) {
		size_t length = below(sizeof(noise));

		for (size_t i = 0; i < length; i++)
			noise[i] = (char)random_word();
		assert_int_equal(open_bytes(noise, length, &stamp, fault), WEIR_EDAMAGED);
	}
}

/* ---- time ---- */

static void test_elapsed(void **state)
{
	const struct state_stamp saved = some_stamp;
	struct state_stamp now = saved;

	(void)state;
	assert_int_equal(state_elapsed(&saved, &now), 0);
	/* another boot: the wall clock alone; what the kernel counts began anew */
	now.boot[1]++;
	now.boottime_ns = 5;
	now.saved_ns += DAY;
	assert_int_equal(state_elapsed(&saved, &now), DAY);
	/* it was put back, by a little and by years */
	now.saved_ns = saved.saved_ns - 1;
	assert_int_equal(state_elapsed(&saved, &now), 0);
	now.saved_ns = 1;
	assert_int_equal(state_elapsed(&saved, &now), 0);
	/* the same boot: what was put forward is not credited, what was put back is not either */
	now = saved;
	now.boottime_ns += 7 * SECOND;
	now.saved_ns += DAY;
	assert_int_equal(state_elapsed(&saved, &now), 7 * SECOND);
	now.saved_ns = saved.saved_ns + SECOND;
	assert_int_equal(state_elapsed(&saved, &now), SECOND);
	now.saved_ns = saved.saved_ns + DAY;
	now.boottime_ns = saved.boottime_ns - 1;
	assert_int_equal(state_elapsed(&saved, &now), 0);
	/* a kernel that tells no boots: not taken for the same */
	now.boot[0] = now.boot[1] = 0;
	struct state_stamp unknown = saved;
	unknown.boot[0] = unknown.boot[1] = 0;
	assert_int_equal(state_elapsed(&unknown, &now), DAY);
}

struct ageing {
	const char *what;
	uint64_t rate_before, burst_before; /* a day */
	uint64_t used;
	uint64_t closed_s;
	uint64_t rate, burst; /* now */
	uint64_t elapsed_s;
	uint64_t used_now;
	uint64_t closed_now_s;
};

#define UNLIMITED UINT64_MAX

static const struct ageing ageings[] = {
	{"nothing happened", 100, 100, 60, 0, 100, 100, 0, 60, 0},
	{"half a day", 100, 100, 60, 0, 100, 100, 43200, 10, 0},
	{"long enough to be full", 100, 100, 60, 0, 100, 100, 86400, 0, 0},
	{"a queue", 100, 100, 260, 0, 100, 100, 86400, 160, 0},
	{"a rate that is lower now", 100, 100, 60, 0, 50, 100, 43200, 35, 0},
	{"a rate that was lower before", 50, 100, 60, 0, 100, 100, 43200, 35, 0},
	{"rate 0 now", 100, 100, 60, 0, 0, 100, 86400, 60, 0},
	{"rate 0 before", 0, 100, 60, 0, 100, 100, 86400, 60, 0},
	{"a smaller burst: what was used stays used", 100, 100, 60, 0, 100, 40, 0, 60, 0},
	{"a larger burst: the level does not jump", 100, 100, 60, 0, 100, 150, 0, 110, 0},
	{"a larger burst, half a day", 100, 100, 60, 0, 100, 150, 43200, 60, 0},
	{"full, and a larger burst", 100, 100, 0, 0, 100, 150, 0, 50, 0},
	{"unlimited before", UNLIMITED, 1, 0, 0, 100, 100, 0, 0, 0},
	{"unlimited before, with a debt", UNLIMITED, 1, 30, 0, 100, 100, 43200, 0, 0},
	{"unlimited now", 100, 100, 60, 0, UNLIMITED, 1, 0, 60, 0},
	{"unlimited now, some time later", 100, 100, 60, 0, UNLIMITED, 1, 43200, 10, 0},
	{"still closed", 100, 100, 60, 600, 100, 100, 432, 60, 168},
	{"closed and opened since", 100, 100, 0, 864, 100, 100, 864, 100, 0},
	{"opened half a day ago", 100, 100, 0, 864, 100, 100, 864 + 43200, 50, 0},
	{"opened, but more was used", 100, 100, 260, 864, 100, 100, 864, 259, 0},
	{"opened, and the burst is smaller", 100, 100, 0, 864, 100, 40, 864, 40, 0},
	{"opened, and the burst is larger", 100, 100, 0, 864, 100, 150, 864, 150, 0},
};

static struct terms a_day(uint64_t rate, uint64_t burst)
{
	return terms_of(rate == UNLIMITED ? TERMS_UNLIMITED : rate * TERMS_MICRO,
			rate == UNLIMITED ? SECOND : DAY, burst * TERMS_MICRO);
}

static void test_ageings(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(ageings); i++) {
		const struct ageing *at = &ageings[i];
		struct terms now = a_day(at->rate, at->burst);
		struct state_record saved = {
			.terms = a_day(at->rate_before, at->burst_before),
			.used_micro = (line_wide)at->used * TERMS_MICRO,
			.closed_ns = at->closed_s * SECOND,
		};
		struct state_level level;
		line_wide expected = (line_wide)at->used_now * TERMS_MICRO;

		state_age(&level, &saved, &now, &(struct state_span){0, at->elapsed_s * SECOND});
		/* the one that is still closed: half a token came in 432 s */
		if (at->closed_now_s)
			expected -= TERMS_MICRO / 2;
		if (level.used_micro != expected || level.closed_ns != at->closed_now_s * SECOND)
			fail_msg("%s: used %llu millionths, closed %llu ns", at->what,
				 (unsigned long long)level.used_micro,
				 (unsigned long long)level.closed_ns);
	}
}

static void test_closed_for_ever(void **state)
{
	struct terms now = a_day(100, 100);
	struct state_record saved = {.terms = now, .closed_ns = STATE_FOREVER};
	struct state_level level;

	(void)state;
	state_age(&level, &saved, &now, &(struct state_span){0, UINT64_MAX});
	assert_int_equal(level.closed_ns, STATE_FOREVER);
}

__extension__ typedef __int128 signed_micro; /* millionths of a token, exact */

static signed_micro level_of(line_wide burst, line_wide used)
{
	return (signed_micro)burst - (signed_micro)used;
}

static signed_micro minted_by(const struct terms *terms, uint64_t ns)
{
	if (terms->rate_micro == TERMS_UNLIMITED)
		return (signed_micro)1 << 120;
	return (signed_micro)((line_wide)terms->rate_micro * ns / terms->period_ns);
}

static struct terms small_terms(void)
{
	uint64_t rate = any_size(49);
	uint64_t period = (1 + below(86400)) * SECOND;

	return terms_of(rate, period, TERMS_MICRO + any_size(49));
}

/*
 * Whatever the terms and the times: never above the saved level and what either rate mints, never
 * above the burst, never more than what was used allows; and always one of these exactly.
 */
static void test_never_mints(void **state)
{
	unsigned long bounds[4] = {0};

	(void)state;
	for (int run = 0; run < 200000; run++) {
		uint64_t elapsed = any_size(59);
		struct terms now = small_terms();
		struct state_record saved = {.terms = small_terms()};
		struct state_level level;

		saved.used_micro = any_size(54);
		if (below(3) == 0)
			saved.closed_ns = 1 + any_size(59);

		state_age(&level, &saved, &now, &(struct state_span){0, elapsed});

		signed_micro before = level_of(saved.terms.burst_micro, saved.used_micro);
		signed_micro after = level_of(now.burst_micro, level.used_micro);
		signed_micro minted = minted_by(&now, elapsed) < minted_by(&saved.terms, elapsed)
					      ? minted_by(&now, elapsed)
					      : minted_by(&saved.terms, elapsed);
		signed_micro used = (signed_micro)saved.used_micro - minted;
		signed_micro limits[4] = {before + minted,
					  (signed_micro)now.burst_micro - (used > 0 ? used : 0),
					  (signed_micro)1 << 120, (signed_micro)now.burst_micro};
		int hit = -1;

		if (saved.closed_ns && saved.closed_ns <= elapsed) {
			uint64_t since = elapsed - saved.closed_ns;

			limits[2] = minted_by(&now, since) < minted_by(&saved.terms, since)
					    ? minted_by(&now, since)
					    : minted_by(&saved.terms, since);
		}
		for (int i = 0; i < 4; i++) {
			assert_true(after <= limits[i]);
			hit = after == limits[i] ? i : hit;
		}
		assert_true(hit >= 0);
		bounds[hit]++;
	}
	print_message("the level is the saved one and the credit %lu times, what was not used "
		      "%lu, what came after a closure %lu, the burst %lu\n",
		      bounds[0], bounds[1], bounds[2], bounds[3]);
	for (int i = 0; i < 4; i++)
		assert_true(bounds[i] > 1000);
}

/* ---- the manual ---- */

/* weird(8) shows a state file; it is one. */
static void test_the_manual_has_a_right_example(void **state)
{
	FILE *file = fopen(WEIR_SOURCE_DIR "/doc/man/weird.8", "re");
	char line[512], text[4096] = "", fault[STATE_FAULT_BYTES] = "";
	struct state_stamp stamp;
	struct state_reader reader;
	struct state_record record;
	bool section = false, literal = false;
	unsigned records = 0;

	(void)state;
	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, ".Ss ", 4) == 0)
			section = strcmp(line, ".Ss The state file\n") == 0;
		if (strncmp(line, ".Ed", 3) == 0)
			literal = false;
		if (section && literal)
			strncat(text, line, sizeof(text) - strlen(text) - 1);
		if (strncmp(line, ".Bd -literal", 12) == 0)
			literal = true;
	}
	fclose(file);
	if (state_open(&reader, &stamp, text, strlen(text), fault) < 0) {
		const char *end = strstr(text, "\nend ");
		size_t bytes = end ? (size_t)(end + 1 - text) : strlen(text);

		fail_msg("weird(8): %s; its last line would be: end %u %zu", fault,
			 state_cksum(text, bytes), bytes);
	}
	while (state_next(&reader, &record))
		records++;
	assert_true(records >= 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cksum),
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_bad_bodies),
		cmocka_unit_test(test_good_bodies),
		cmocka_unit_test(test_optional_is_skipped),
		cmocka_unit_test(test_longest_record),
		cmocka_unit_test(test_long_lines),
		cmocka_unit_test(test_every_truncation),
		cmocka_unit_test(test_every_byte_replaced),
		cmocka_unit_test(test_joined),
		cmocka_unit_test(test_fuzzed_bodies),
		cmocka_unit_test(test_noise),
		cmocka_unit_test(test_elapsed),
		cmocka_unit_test(test_ageings),
		cmocka_unit_test(test_closed_for_ever),
		cmocka_unit_test(test_never_mints),
		cmocka_unit_test(test_the_manual_has_a_right_example),
	};

	return cmocka_run_group_tests_name("daemon state", tests, NULL, NULL);
}
