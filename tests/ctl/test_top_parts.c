/* SPDX-License-Identifier: Apache-2.0
 *
 * What top consists of, without an instance and without a terminal: numbers in few columns, rates
 * out of counts, order and filter, the table at every width, keys, whole screens.
 */
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cells.h"
#include "columns.h"
#include "controls.h"
#include "facts.h"
#include "frame.h"
#include "history.h"
#include "order.h"
#include "pen.h"
#include "text.h"
#include "weir.h"

#define SECOND 1000000000ull

/* ---- cells ---- */

static void expect_level(double tokens, const char *expected)
{
	char text[CELLS_BYTES];

	assert_string_equal(cells_level(tokens, text), expected);
	assert_true(strlen(text) <= CELLS_VALUE);
}

static void test_levels(void **state)
{
	(void)state;
	expect_level(0, "0");
	expect_level(-0.0, "0");
	expect_level(20, "20");
	expect_level(2.5, "2.5");
	/* never more than there is */
	expect_level(9.999, "9.99");
	expect_level(-0.001, "-0.01");
	expect_level(-2.267, "-2.27");
	expect_level(123.456, "123.4");
	expect_level(99999.9, "99999");
	expect_level(100000, "100k");
	expect_level(123456, "123k");
	expect_level(-12345, "-13k");
	expect_level(1999999, "1999k");
	expect_level(19999999, "19.9M");
	expect_level(1e12, "1000G");
	expect_level(1e30, "much");
	expect_level(-1e30, "-much");
}

static void expect_rate(double per_s, const char *expected)
{
	char text[CELLS_BYTES];

	assert_string_equal(cells_rate(per_s, text), expected);
	assert_true(strlen(text) <= CELLS_VALUE);
}

static void test_rates_of_cells(void **state)
{
	(void)state;
	expect_rate(0, "0");
	/* what is not nothing never reads like nothing */
	expect_rate(1e-9, "<0.01");
	expect_rate(0.0051, "0.01");
	expect_rate(49.999, "50");
	expect_rate(46.567, "46.57");
	expect_rate(1234567, "1235k");
	expect_rate((double)NAN, "-");
}

static void expect_duration(uint64_t ns, const char *expected)
{
	char text[CELLS_BYTES];

	assert_string_equal(cells_duration(ns, text), expected);
	assert_true(strlen(text) <= CELLS_VALUE);
}

static void test_durations(void **state)
{
	(void)state;
	expect_duration(0, "0s");
	expect_duration(1, "1us");
	expect_duration(999000, "999us");
	expect_duration(999001, "1ms");
	expect_duration(45 * 1000000, "45ms");
	expect_duration(999 * 1000000, "999ms");
	expect_duration(999 * 1000000 + 1, "1s");
	expect_duration(3200000000, "3.2s");
	expect_duration(3200000001, "3.3s");
	expect_duration(59900000001, "1m00s");
	expect_duration(125 * SECOND, "2m05s");
	expect_duration(599 * SECOND, "9m59s");
	expect_duration(601 * SECOND, "11m");
	expect_duration(3599 * SECOND, "60m");
	expect_duration(3600 * SECOND, "1h00m");
	expect_duration(3720 * SECOND, "1h02m");
	expect_duration(86400 * SECOND, "1d00h");
	expect_duration(76 * 3600 * SECOND, "3d04h");
	expect_duration(366 * 86400 * SECOND, "366d");
	expect_duration(UINT64_MAX - 1, "years");
	expect_duration(UINT64_MAX, "never");
}

static void expect_short(const char *name, size_t width, bool utf8, const char *expected)
{
	char text[256];

	assert_string_equal(cells_shorten(text, sizeof(text), name, width, utf8), expected);
	assert_true(text_columns(text) <= width);
}

static void test_shortening(void **state)
{
	(void)state;
	expect_short("api.github.com", 14, true, "api.github.com");
	expect_short("api.github.com", 13, true, "api.gi\u2026ub.com");
	expect_short("api.github.com", 13, false, "api.gi..b.com");
	expect_short("api.github.com", 3, true, "a\u2026m");
	expect_short("api.github.com", 2, true, "a\u2026");
	expect_short("api.github.com", 1, true, "a");
	expect_short("api.github.com", 2, false, "ap");
	expect_short("api.github.com", 0, true, "");
	/* wide characters are not cut in two */
	expect_short("\u6f22\u5b57\u6f22\u5b57", 8, true, "\u6f22\u5b57\u6f22\u5b57");
	expect_short("\u6f22\u5b57\u6f22\u5b57", 7, true, "\u6f22\u2026\u5b57");
	expect_short("\u6f22\u5b57\u6f22\u5b57", 4, true, "\u6f22\u2026");
	expect_short("\u6f22\u5b57\u6f22\u5b57", 1, true, "");
	expect_short("m\u00fcnchen.example", 8, true, "m\u00fcnc\u2026ple");
}

static void test_texts(void **state)
{
	char text[64];

	(void)state;
	assert_string_equal(cells_text(text, sizeof(text), "\u00fc\x1b", true), "\u00fc\\x1b");
	assert_string_equal(cells_text(text, sizeof(text), "\u00fc\x1b", false), "\\xc3\\xbc\\x1b");
	assert_string_equal(cells_text(text, 8, "abcdefghij", false), "abcd");
}

static void expect_bar(double share, bool utf8, const char *expected)
{
	char bar[64];

	assert_string_equal(cells_bar(bar, share, 4, utf8), expected);
	assert_int_equal(text_columns(bar), 4);
}

static void test_bars(void **state)
{
	(void)state;
	expect_bar(0, false, "....");
	expect_bar(0.49, false, "#...");
	expect_bar(0.5, false, "##..");
	expect_bar(1, false, "####");
	expect_bar(7, false, "####");
	expect_bar(-7, false, "....");
	expect_bar((double)NAN, false, "....");
	expect_bar(0, true, "\u00b7\u00b7\u00b7\u00b7");
	expect_bar(0.5, true, "\u2588\u2588\u00b7\u00b7");
	expect_bar(1.0 / 32, true, "\u258f\u00b7\u00b7\u00b7");
	expect_bar(1, true, "\u2588\u2588\u2588\u2588");
}

static void test_sparks(void **state)
{
	const double rates[] = {0, 1e-9, 14.3, 28.6, 50, 71.5, 99.9, 100, 1000};
	const char expected[] = "_..:=+###";

	(void)state;
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		const char *ascii = cells_spark(rates[i], 100, false);
		const char *block = cells_spark(rates[i], 100, true);

		assert_int_equal(ascii[0], expected[i]);
		assert_int_equal(text_columns(block), 1);
		/* it never falls while the rate grows */
		if (i)
			assert_true(strcmp(block, cells_spark(rates[i - 1], 100, true)) >= 0);
	}
	assert_string_equal(cells_spark((double)NAN, 100, true), " ");
	assert_string_equal(cells_spark(0, 0, false), "_");
	assert_string_equal(cells_spark(1, 0, false), "#");
}

/* ---- history ---- */

static struct counts counted(unsigned granted, unsigned refused)
{
	return (struct counts){.tokens = 2 * granted, .granted = granted, .refused = refused};
}

static void step(struct history *history, struct counts counts, uint64_t interval_ns)
{
	history_step(history, &counts, interval_ns);
}

static void test_history(void **state)
{
	struct counts begun = counted(100, 7);
	struct history history;

	(void)state;
	history_begin(&history, &begun);
	assert_true(isnan(history.rates.tokens));
	assert_true(isnan(history_at(&history, 0)));
	step(&history, counted(110, 9), 2 * SECOND);
	assert_true(history.rates.granted == 5);
	assert_true(history.rates.tokens == 10);
	assert_true(history.rates.refused == 1);
	assert_true(history.rates.waited == 0);
	assert_true(isnan(history.rates.wait_ns));
	assert_true(history_at(&history, 0) == 10);
	assert_true(isnan(history_at(&history, 1)));
	/* while the clock stands nothing is told, and nothing is lost */
	step(&history, counted(120, 9), 0);
	assert_true(history.rates.granted == 5);
	step(&history, counted(130, 9), SECOND);
	assert_true(history.rates.granted == 20);
	assert_true(history_peak(&history, 2) == 40);
	assert_true(history_at(&history, 1) == 10);
	step(&history, counted(130, 9), SECOND);
	assert_true(history.rates.granted == 0);
	assert_true(history_peak(&history, 1) == 0);
}

static void test_history_of_waits(void **state)
{
	struct counts counts = {0};
	struct history history;

	(void)state;
	history_begin(&history, &counts);
	counts.waited = 4;
	counts.waited_ns = 2 * SECOND;
	history_step(&history, &counts, 2 * SECOND);
	assert_true(history.rates.waited == 2);
	assert_true(history.rates.wait_ns == SECOND / 2);
}

/* Counts go down where a segment replaces another; they come back, or they have begun anew. */
static void test_history_of_a_new_segment(void **state)
{
	struct counts begun = counted(100, 0);
	struct history history;

	(void)state;
	history_begin(&history, &begun);
	step(&history, counted(3, 0), SECOND);
	assert_true(isnan(history.rates.tokens));
	assert_true(isnan(history_at(&history, 0)));
	/* carried over: the rate of both intervals together */
	step(&history, counted(108, 0), SECOND);
	assert_true(history.rates.granted == 4);
	for (int i = 0; i < HISTORY_PATIENCE; i++) {
		step(&history, counted(3, 0), SECOND);
		assert_true(isnan(history.rates.tokens));
	}
	step(&history, counted(10, 0), SECOND);
	assert_true(history.rates.granted == 7);
}

static void test_history_is_bounded(void **state)
{
	struct counts begun = counted(0, 0);
	struct history history;
	unsigned granted = 0;

	(void)state;
	history_begin(&history, &begun);
	for (unsigned i = 1; i <= 3 * HISTORY_CELLS; i++)
		step(&history, counted(granted += i, 0), SECOND);
	assert_true(history_at(&history, 0) == 6 * HISTORY_CELLS);
	assert_true(history_at(&history, HISTORY_CELLS - 1) == 4 * HISTORY_CELLS + 2);
	assert_true(isnan(history_at(&history, HISTORY_CELLS)));
}

/* ---- entries ---- */

#define UNIT_K 10u

/* An open endpoint of 10/s: so many tokens of `burst`, below 0 in line. */
static struct entry entry_of(const char *name, double level, double burst)
{
	struct entry entry = {
		.view = {.kind = VIEW_EXACT,
			 .used = true,
			 .level_units = (int64_t)(level * (1 << UNIT_K)),
			 .permits = {.limit = UINT64_MAX},
			 .terms = {.rate_micro = 10000000, .period_ns = SECOND}},
	};
	const struct counts none = {0};

	entry.view.line.k = UNIT_K;
	entry.view.line.burst_units = (uint64_t)(burst * (1 << UNIT_K));
	if (level < 0)
		entry.view.queue_ns = (uint64_t)(-level * 1e8);
	snprintf(entry.view.name, sizeof(entry.view.name), "%s", name);
	history_begin(&entry.history, &none);
	return entry;
}

static void grant(struct entry *entry, unsigned calls, unsigned refused)
{
	const struct counts counts = {.tokens = calls, .granted = calls, .refused = refused};

	entry->view.tally.counters[COUNT_GRANTED_CALLS] = calls;
	entry->view.tally.tokens[COUNT_GRANTED_UNITS] = calls;
	history_step(&entry->history, &counts, SECOND);
}

static void test_facts(void **state)
{
	struct entry entry = entry_of("api", -16, 20);

	(void)state;
	assert_true(isnan(entry_line(&entry)));
	/* eight calls of two tokens each */
	entry.view.tally.counters[COUNT_GRANTED_CALLS] = 50;
	entry.view.tally.tokens[COUNT_GRANTED_UNITS] = 100;
	assert_true(entry_line(&entry) == 8);
	entry.view.level_units = -15 * (1 << UNIT_K);
	assert_true(entry_line(&entry) == 8);
	assert_true(entry_share(&entry) == 0);
	assert_int_equal(entry_condition(&entry), CONDITION_QUEUE);
	entry.view.level_units = 5 << UNIT_K;
	assert_true(entry_line(&entry) == 0);
	assert_true(entry_share(&entry) == 0.25);
	assert_int_equal(entry_condition(&entry), CONDITION_OPEN);
	entry.view.line.flags = LINE_NEVER;
	assert_int_equal(entry_condition(&entry), CONDITION_STOPPED);
	entry.view.line.flags = LINE_UNLIMITED;
	assert_int_equal(entry_condition(&entry), CONDITION_UNLIMITED);
	assert_true(entry_share(&entry) == 1);
	entry.view.closed = true;
	assert_int_equal(entry_condition(&entry), CONDITION_CLOSED);
	assert_true(entry_share(&entry) == 0);
}

/* ---- order ---- */

#define ORDERED 5

static void expect_order(const struct entry *entries, const char *filter, enum order_key key,
			 bool reversed, const char *expected)
{
	const struct entry *shown[ORDERED];
	size_t count = order_select(entries, ORDERED, filter, key, reversed, shown);
	char names[64] = "";

	for (size_t i = 0; i < count; i++)
		strcat(names, shown[i]->view.name);
	assert_string_equal(names, expected);
}

static void test_order(void **state)
{
	struct entry entries[ORDERED] = {entry_of("d", 20, 20), entry_of("b", -5, 10),
					 entry_of("C", 5, 10), entry_of("a", 0, 10),
					 entry_of("*", 20, 20)};

	(void)state;
	entries[4].view.kind = VIEW_DEFAULT;
	entries[3].view.closed = true;
	entries[3].view.closed_ns = UINT64_MAX;
	for (unsigned i = 0; i < ORDERED; i++)
		entries[i].view.order = i;
	grant(&entries[0], 5, 1);
	grant(&entries[2], 9, 1);
	/* b's are unknown: last, and first when reversed */
	grant(&entries[3], 0, 3);
	expect_order(entries, "", ORDER_GRANTED, false, "Cdab");
	expect_order(entries, "", ORDER_GRANTED, true, "badC");
	expect_order(entries, "", ORDER_REFUSED, false, "aCdb");
	expect_order(entries, "", ORDER_LEVEL, false, "abCd");
	expect_order(entries, "", ORDER_QUEUE, false, "abCd");
	expect_order(entries, "", ORDER_NAME, false, "Cabd");
	expect_order(entries, "", ORDER_NAME, true, "dbaC");
	expect_order(entries, "", ORDER_FILE, false, "dbCa");
	expect_order(entries, "c", ORDER_NAME, false, "C");
	expect_order(entries, "x", ORDER_NAME, false, "");
}

static void test_order_names(void **state)
{
	char words[128] = "";
	enum order_key key;

	(void)state;
	for (int i = 0; i < ORDER_KEYS; i++) {
		assert_true(order_parse(order_name((enum order_key)i), &key));
		assert_int_equal(key, i);
		strcat(words, i ? " " : "");
		strcat(words, order_name((enum order_key)i));
	}
	assert_string_equal(words, ORDER_WORDS);
	assert_false(order_parse("grant", &key));
	assert_false(order_parse("", &key));
}

/* ---- columns ---- */

static void strip_styles(char *line)
{
	char *to = line;

	for (; *line; line++)
		if ((unsigned char)*line >= STYLE_END)
			*to++ = *line;
	*to = '\0';
}

static const char *row_at(const struct entry *entry, size_t width, bool utf8)
{
	static char line[4096];
	struct columns columns =
		columns_fit(width, strlen(entry->view.name), view_has_permits(&entry->view));
	struct pen pen;

	pen_begin(&pen, line, sizeof(line), width);
	columns_row(&columns, entry, utf8, &pen);
	strip_styles(line);
	return line;
}

static void test_row(void **state)
{
	struct entry entry = entry_of("api.example.com", 15, 20);

	(void)state;
	grant(&entry, 0, 0);
	grant(&entry, 5, 2);
	assert_string_equal(row_at(&entry, 80, false),
			    "api.example.com ######..    15/20          5         _= "
			    "    2     - open        ");
	assert_string_equal(row_at(&entry, 40, false), "api.example.com       5 open        ");
	assert_string_equal(row_at(&entry, 13, false), "api.ex..e.com");
	assert_string_equal(row_at(&entry, 1, false), "a");
	assert_string_equal(row_at(&entry, 0, false), "");
	/* with permits */
	entry.view.permits = (struct permit_sum){.limit = 10, .held = 3, .waiting = 2};
	assert_string_equal(row_at(&entry, 90, false),
			    "api.example.com ########...    15/20          5     2     - "
			    "    3/10        2 open        ");
	entry.view.permits.waiting = 0;
	assert_non_null(strstr(row_at(&entry, 90, false), "    3/10        - open"));
}

/* No width is exceeded, nothing of what is shown is cut off, and more room never shows less. */
static void test_every_width(void **state)
{
	struct entry entry = entry_of("POST api.example.com/v1/chat/completions", -2.5, 20);
	unsigned before = 0;

	(void)state;
	entry.view.queue_ns = 3 * SECOND;
	entry.view.permits = (struct permit_sum){.limit = 100000, .held = 100000, .waiting = 65535};
	grant(&entry, 5, 2);
	for (size_t width = 0; width <= 300; width++) {
		struct columns columns = columns_fit(width, strlen(entry.view.name), true);
		unsigned shown = 0;
		size_t sum = 0;

		for (int i = 0; i < COLUMNS_ALL; i++) {
			shown += columns.widths[i] > 0;
			sum += columns.widths[i] ? columns.widths[i] + (i > 0) : 0;
		}
		assert_true(sum <= width);
		assert_true(shown >= before);
		before = shown;
		assert_true(text_columns(row_at(&entry, width, true)) <= width);
	}
	assert_int_equal(before, COLUMNS_ALL);
	assert_non_null(strstr(row_at(&entry, 300, true), entry.view.name));
	assert_non_null(strstr(row_at(&entry, 300, true), "queue 3s"));
}

static void expect_state(const struct entry *entry, const char *expected)
{
	char text[COLUMNS_STATE_BYTES];

	assert_string_equal(columns_state(entry, text), expected);
}

static void test_states(void **state)
{
	struct entry entry = entry_of("api", 5, 20);

	(void)state;
	expect_state(&entry, "open");
	entry.view.level_units = -1;
	entry.view.queue_ns = UINT64_MAX;
	expect_state(&entry, "queue never");
	entry.view.line.flags = LINE_NEVER;
	expect_state(&entry, "stopped");
	entry.view.line.flags = LINE_UNLIMITED;
	expect_state(&entry, "unlimited");
	entry.view.closed = true;
	entry.view.closed_ns = 125 * SECOND;
	expect_state(&entry, "closed 2m05s");
	entry.view.closed_ns = UINT64_MAX;
	expect_state(&entry, "closed");
}

/* ---- the pen ---- */

static void test_pen(void **state)
{
	char line[PEN_BYTES(6)];
	struct pen pen;

	(void)state;
	pen_begin(&pen, line, sizeof(line), 6);
	pen_text(&pen, "ab");
	pen_field(&pen, "xyz", 2, false);
	pen_text(&pen, "cdef");
	assert_string_equal(line, "abxycd");
	assert_int_equal(pen.left, 0);
	pen_begin(&pen, line, sizeof(line), 6);
	pen_field(&pen, "x", 3, true);
	pen_field(&pen, "y", 9, false);
	assert_string_equal(line, "  xy  ");
	/* half of a wide character is none */
	pen_begin(&pen, line, sizeof(line), 6);
	pen_text(&pen, "abcde\u6f22f");
	assert_string_equal(line, "abcde");
	pen_begin(&pen, line, sizeof(line), 6);
	pen_field(&pen, "\u6f22\u5b57", 3, false);
	pen_text(&pen, "|");
	assert_string_equal(line, "\u6f22 |");
	/* what takes no columns is bounded as well */
	pen_begin(&pen, line, sizeof(line), 6);
	for (int i = 0; i < 1000; i++)
		pen_text(&pen, "\u0301");
	assert_true(strlen(line) < sizeof(line));
}

/* ---- keys ---- */

static void expect_keys(const char *bytes, const int *keys)
{
	struct key_reader reader = {.count = 0};

	for (; *bytes; bytes++) {
		int key = key_read(&reader, (unsigned char)*bytes);

		if (key != KEY_NONE)
			assert_int_equal(key, *keys++);
	}
	if (*keys)
		assert_int_equal(key_flush(&reader), *keys++);
	assert_int_equal(*keys, 0);
	assert_int_equal(key_flush(&reader), KEY_NONE);
}

#define KEYS(bytes, ...) expect_keys(bytes, (const int[]){__VA_ARGS__, 0})

static void test_keys(void **state)
{
	(void)state;
	KEYS("q", 'q');
	KEYS("\x1b[A\x1bOB", KEY_UP, KEY_DOWN);
	KEYS("\x1b[5~\x1b[6~x", KEY_PAGE_UP, KEY_PAGE_DOWN, 'x');
	KEYS("\x1b[H\x1b[F\x1b[1~\x1b[4~\x1bOH", KEY_HOME, KEY_END, KEY_HOME, KEY_END, KEY_HOME);
	KEYS("\x1b", KEY_ESCAPE);
	KEYS("\x1b\x1b[A", KEY_ESCAPE, KEY_UP);
	/* what means nothing is swallowed to its end */
	KEYS("\x1b[15~\x1b[1;5A\x1b[Z\x1bxq", KEY_UP, 'q');
	KEYS("\x1b[99999999999999999999~q", 'q');
	KEYS("\xc3\xbc", 0xc3, 0xbc);
}

static void type(struct controls *controls, const char *keys)
{
	for (; *keys; keys++)
		controls_key(controls, (unsigned char)*keys);
}

static void test_controls(void **state)
{
	struct controls controls = {.every_ns = SECOND};

	(void)state;
	controls_fit(&controls, 30, 10);
	controls_key(&controls, KEY_END);
	assert_int_equal(controls.top, 20);
	controls_key(&controls, KEY_PAGE_UP);
	assert_int_equal(controls.top, 10);
	type(&controls, "jjk");
	assert_int_equal(controls.top, 11);
	controls_fit(&controls, 15, 10);
	assert_int_equal(controls.top, 5);
	controls_fit(&controls, 5, 10);
	assert_int_equal(controls.top, 0);
	controls_key(&controls, KEY_DOWN);
	controls_key(&controls, KEY_UP);
	assert_int_equal(controls.top, 0);
	for (int i = 0; i < ORDER_KEYS; i++)
		type(&controls, "s");
	assert_int_equal(controls.order, 0);
	type(&controls, "S");
	assert_int_equal(controls.order, ORDER_KEYS - 1);
	type(&controls, "++++++++++++++++++++");
	assert_true(controls.every_ns == CONTROLS_EVERY_MIN_NS);
	for (int i = 0; i < 40; i++)
		type(&controls, "-");
	assert_true(controls.every_ns == CONTROLS_EVERY_MAX_NS);
	type(&controls, "h");
	assert_true(controls.help);
	type(&controls, " ");
	assert_false(controls.help || controls.paused);
	type(&controls, "hq");
	assert_true(controls.quit);
}

static void test_typing(void **state)
{
	struct controls controls = {.every_ns = SECOND};

	(void)state;
	type(&controls, "/a\u00fc");
	assert_string_equal(controls.filter, "a\u00fc");
	controls_key(&controls, KEY_UP);
	type(&controls, "\x7f");
	assert_string_equal(controls.filter, "a");
	type(&controls, "\b\b\bq ");
	assert_string_equal(controls.filter, "q ");
	assert_false(controls.quit);
	type(&controls, "\x15xy\r");
	assert_string_equal(controls.filter, "xy");
	assert_false(controls.typing);
	type(&controls, "/z\x1b");
	assert_string_equal(controls.filter, "xy");
	type(&controls, "\x1b");
	assert_string_equal(controls.filter, "");
	type(&controls, "/");
	for (int i = 0; i < 1000; i++)
		type(&controls, "a");
	assert_int_equal(strlen(controls.filter), CONTROLS_FILTER_BYTES - 1);
}

/* ---- whole screens ---- */

static const struct standing quiet = {
	.instance = "test",
	.clock = "tsc",
	.alive = true,
	.daemon = 4711,
	.wall_ns = 1000 * SECOND,
	.members = 3,
	.member_slots = 256,
	.granted = 12.5,
};

static char *drawn(struct canvas *canvas, unsigned line)
{
	char *text = canvas_line(canvas, line);

	strip_styles(text);
	return text;
}

static void draw(struct canvas *canvas, const struct standing *standing, struct controls *controls,
		 unsigned width, unsigned height)
{
	static struct entry entries[3];
	static const struct entry *shown[3];
	struct picture picture = {
		.standing = standing, .shown = shown, .count = 3, .endpoints = 3, .name_width = 2};

	for (size_t i = 0; i < 3; i++) {
		entries[i] = entry_of(i == 0 ? "aa" : i == 1 ? "bb" : "cc", 5, 10);
		shown[i] = &entries[i];
	}
	assert_true(canvas_resize(canvas, width, height));
	frame_draw(canvas, &picture, controls);
}

static void test_frame(void **state)
{
	struct controls controls = {.every_ns = SECOND};
	struct canvas canvas = {0};

	(void)state;
	draw(&canvas, &quiet, &controls, 80, 10);
	assert_string_equal(drawn(&canvas, 0), "weir test  00:16:40  every 1s  members 3/256  "
					       "clock tsc  weird 4711");
	assert_string_equal(drawn(&canvas, 1),
			    "3 endpoints  calls/s 12.5 granted 0 refused 0 waited");
	assert_string_equal(drawn(&canvas, 2), "by granted");
	assert_int_equal(strncmp(drawn(&canvas, 3), "ENDPOINT ", 9), 0);
	assert_int_equal(text_columns(drawn(&canvas, 3)), 80);
	assert_int_equal(strncmp(drawn(&canvas, 4), "aa ", 3), 0);
	assert_int_equal(strncmp(drawn(&canvas, 6), "cc ", 3), 0);
	assert_string_equal(drawn(&canvas, 7), "");
	assert_non_null(strstr(drawn(&canvas, 9), "q quit"));
	assert_int_equal(controls.page, 5);
	canvas_free(&canvas);
}

static void test_frame_alarms(void **state)
{
	struct controls controls = {.every_ns = SECOND};
	struct standing standing = quiet;
	struct canvas canvas = {0};

	(void)state;
	standing.alive = false;
	standing.closed = 2;
	standing.stopped = 1;
	standing.members_dead = 1;
	draw(&canvas, &standing, &controls, 80, 10);
	assert_non_null(strstr(drawn(&canvas, 0), "members 3/256 and 1 dead"));
	assert_null(strstr(drawn(&canvas, 0), "weird "));
	assert_non_null(strstr(drawn(&canvas, 1), "3 endpoints: 2 closed, 1 stopped  calls/s"));
	assert_string_equal(drawn(&canvas, 2),
			    "weird is not running: limits stay in force  by granted");
	standing.lost = WEIR_EABSENT;
	draw(&canvas, &standing, &controls, 200, 10);
	assert_non_null(strstr(drawn(&canvas, 2), "the instance is gone ("));
	/* where there is no head, the foot says so */
	draw(&canvas, &standing, &controls, 200, 5);
	assert_non_null(strstr(drawn(&canvas, 4), "the instance is gone ("));
	canvas_free(&canvas);
}

/* Of every size, no line is longer than the screen is wide. */
static void test_frame_sizes(void **state)
{
	struct controls controls = {.every_ns = SECOND};
	struct canvas canvas = {0};

	(void)state;
	for (unsigned width = 1; width < 250; width += 3) {
		for (unsigned height = 1; height < 30; height++) {
			controls.help = height % 2;
			controls.typing = width % 2;
			draw(&canvas, &quiet, &controls, width, height);
			for (unsigned line = 0; line < height; line++)
				assert_true(text_columns(drawn(&canvas, line)) <= width);
		}
	}
	draw(&canvas, &quiet, &controls, 0, 0);
	assert_int_equal(canvas.width, 1);
	draw(&canvas, &quiet, &controls, 60000, 60000);
	assert_int_equal(canvas.width, CANVAS_MOST);
	canvas_free(&canvas);
}

/* The help fits into the smallest of usual terminals. */
static void test_help_fits(void **state)
{
	struct controls controls = {.every_ns = SECOND, .help = true};
	struct canvas canvas = {0};
	bool ends = false;

	(void)state;
	draw(&canvas, &quiet, &controls, 200, 24);
	for (unsigned line = 0; line < 24; line++) {
		assert_true(text_columns(drawn(&canvas, line)) <= 80);
		ends |= strcmp(drawn(&canvas, line), "any key goes back") == 0;
	}
	assert_true(ends);
	canvas_free(&canvas);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_rates_of_cells),
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_shortening),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_bars),
		cmocka_unit_test(test_sparks),
		cmocka_unit_test(test_history),
		cmocka_unit_test(test_history_of_waits),
		cmocka_unit_test(test_history_of_a_new_segment),
		cmocka_unit_test(test_history_is_bounded),
		cmocka_unit_test(test_facts),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_order_names),
		cmocka_unit_test(test_row),
		cmocka_unit_test(test_every_width),
		cmocka_unit_test(test_states),
		cmocka_unit_test(test_pen),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_controls),
		cmocka_unit_test(test_typing),
		cmocka_unit_test(test_frame),
		cmocka_unit_test(test_frame_alarms),
		cmocka_unit_test(test_frame_sizes),
		cmocka_unit_test(test_help_fits),
	};

	/* the width of characters is the locale's */
	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		return 1;
	setenv("TZ", "UTC", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
