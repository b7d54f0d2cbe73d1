/* SPDX-License-Identifier: Apache-2.0
 *
 * Two-copy publication (lib/token_clock.h): which orders it needs, and when the time is read.
 *
 * The first half is a machine of views, as C11 defines release and acquire: each store is a
 * message that carries what its writer had seen; a load may return any message that is not older
 * than what its reader has seen. One writer, so its stores are one sequence, and a reader is
 * enumerated over every message each of its loads may return. The second half interleaves a
 * clock, a publisher and a reader.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "explore.h"
#include "token_clock.h"

/* ---- orders ---- */

enum {
	WORDS = 3,
	GENERATION = 0, /* location of the generation; words of the copies follow */
	LOCATIONS = 1 + 2 * WORDS,
	PUBLICATIONS = 4,
	MESSAGES = 16, /* of one location, at most */
};

struct view {
	uint8_t at[LOCATIONS]; /* newest message known, by location */
};

struct message {
	int value;
	struct view view;
};

struct history {
	struct message messages[LOCATIONS][MESSAGES];
	unsigned counts[LOCATIONS];
	struct view writer;
	int tags[PUBLICATIONS + 1]; /* what a complete copy of that generation holds */
};

/* The protocol, and what can be left out of it. */
struct orders {
	const char *name;
	bool relaxed_stores;   /* of the words */
	bool relaxed_loads;    /* of the words */
	bool generation_first; /* bumped before the copy is filled */
	bool no_recheck;
};

/* Where writers die: before word `word` of that publication is stored; WORDS + 1: not at all. */
struct death {
	unsigned publication;
	unsigned word;
};

struct tally_of_reads {
	unsigned long long accepted;
	unsigned long long torn;
	unsigned generations; /* bits: which were accepted */
};

static unsigned word_at(unsigned generation, unsigned word)
{
	return 1 + (generation & 1) * WORDS + word;
}

static void view_join(struct view *view, const struct view *other)
{
	for (unsigned i = 0; i < LOCATIONS; i++)
		if (other->at[i] > view->at[i])
			view->at[i] = other->at[i];
}

static void store(struct history *history, unsigned location, int value, bool release)
{
	unsigned at = history->counts[location]++;
	struct message *message = &history->messages[location][at];

	history->writer.at[location] = (uint8_t)at;
	*message = (struct message){.value = value};
	if (release)
		message->view = history->writer;
	else
		message->view.at[location] = (uint8_t)at;
}

static void store_words(struct history *history, const struct orders *orders, unsigned generation,
			int tag, unsigned words)
{
	for (unsigned word = 0; word < words; word++)
		store(history, word_at(generation, word), tag, !orders->relaxed_stores);
}

static void publish(struct history *history, const struct orders *orders, unsigned generation,
		    int tag)
{
	history->tags[generation] = tag;
	if (orders->generation_first)
		store(history, GENERATION, (int)generation, true);
	store_words(history, orders, generation, tag, WORDS);
	if (!orders->generation_first)
		store(history, GENERATION, (int)generation, true);
}

/* All stores of the writers: the first dies twice, and its successors go on where it was. */
static void write_all(struct history *history, const struct orders *orders,
		      const struct death deaths[2])
{
	int tag = 0;

	memset(history, 0, sizeof(*history));
	for (unsigned location = 0; location < LOCATIONS; location++)
		store(history, location, location <= WORDS ? 0 : -1, true);
	for (unsigned generation = 1; generation <= PUBLICATIONS; generation++) {
		for (unsigned i = 0; i < 2; i++)
			if (deaths[i].publication == generation && deaths[i].word <= WORDS)
				store_words(history, orders, generation, ++tag, deaths[i].word);
		publish(history, orders, generation, ++tag);
	}
}

/* A reader in the middle of its loads. */
struct reading {
	const struct history *history;
	const struct orders *orders;
	struct tally_of_reads *tally;
	unsigned generation;
	int words[WORDS];
};

static void accept(const struct reading *reading)
{
	reading->tally->accepted++;
	reading->tally->generations |= 1u << reading->generation;
	for (unsigned word = 0; word < WORDS; word++)
		if (reading->words[word] != reading->history->tags[reading->generation]) {
			reading->tally->torn++;
			return;
		}
}

/* The re-check: relaxed, so it only has to be as new as what the reader has seen by then. */
static void read_again(struct reading *reading, const struct view *seen)
{
	const struct history *history = reading->history;

	for (unsigned at = seen->at[GENERATION]; at < history->counts[GENERATION]; at++)
		if (history->messages[GENERATION][at].value == (int)reading->generation) {
			accept(reading);
			return;
		}
}

static void read_word(struct reading *reading, const struct view *seen, unsigned word)
{
	const struct history *history = reading->history;
	unsigned location = word_at(reading->generation, word);

	if (word == WORDS) {
		if (reading->orders->no_recheck)
			accept(reading);
		else
			read_again(reading, seen);
		return;
	}
	for (unsigned at = seen->at[location]; at < history->counts[location]; at++) {
		const struct message *message = &history->messages[location][at];
		struct view after = *seen;

		after.at[location] = (uint8_t)at;
		if (!reading->orders->relaxed_loads)
			view_join(&after, &message->view);
		reading->words[word] = message->value;
		read_word(reading, &after, word + 1);
	}
}

static void read_all(const struct history *history, const struct orders *orders,
		     struct tally_of_reads *tally)
{
	for (unsigned at = 0; at < history->counts[GENERATION]; at++) {
		const struct message *message = &history->messages[GENERATION][at];
		struct reading reading = {history, orders, tally, (unsigned)message->value, {0}};
		struct view seen = message->view;

		seen.at[GENERATION] = (uint8_t)at;
		read_word(&reading, &seen, 0);
	}
}

/* Every execution: all places where writers can die, all values that loads can return. */
static struct tally_of_reads run_orders(const struct orders *orders)
{
	struct tally_of_reads tally = {0};
	struct history history;
	unsigned deaths = PUBLICATIONS * (WORDS + 2);

	for (unsigned first = 0; first < deaths; first++)
		for (unsigned second = 0; second < deaths; second++) {
			const struct death both[2] = {
				{1 + first / (WORDS + 2), first % (WORDS + 2)},
				{1 + second / (WORDS + 2), second % (WORDS + 2)},
			};

			write_all(&history, orders, both);
			read_all(&history, orders, &tally);
		}
	printf("publish: %-50s %10llu accepted readings, %llu torn\n", orders->name, tally.accepted,
	       tally.torn);
	return tally;
}

static void test_orders(void **state)
{
	static const struct orders as_built = {.name = "as built, writers killed while filling"};
	static const struct orders broken[] = {
		{.name = "words stored relaxed", .relaxed_stores = true},
		{.name = "words loaded relaxed", .relaxed_loads = true},
		{.name = "generation stored before the words", .generation_first = true},
		{.name = "no second look at the generation", .no_recheck = true},
	};
	struct tally_of_reads tally = run_orders(&as_built);

	(void)state;
	assert_int_equal(tally.torn, 0);
	/* old lines are accepted too, which is why the time is read before the second look */
	assert_int_equal(tally.generations, (1u << (PUBLICATIONS + 1)) - 1);
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
		assert_true(run_orders(&broken[i]).torn > 0);
}

/* ---- time ---- */

enum {
	TICKS = 5,
	READINGS = 2,
};

enum time_rule {
	TIME_AS_BUILT,
	TIME_AFTER_RECHECK, /* the reader reads the clock when it has its line */
	TIME_UNSIGNED,	    /* elapsed time without a sign */
	TIME_NO_LIFT,	    /* the publisher does not look whether it was held up */
};

struct short_line {
	uint8_t origin;
	uint8_t units;
	uint8_t slope; /* whole units a tick */
};

struct timed {
	uint8_t rule;
	uint8_t margin;
	uint8_t now;
	uint8_t generation;
	struct short_line copies[2];
	struct {
		uint16_t at;
		struct short_line old;
		struct short_line next;
		uint8_t stored;
		bool ended;
	} publisher;
	struct {
		uint16_t at;
		uint8_t generation;
		uint8_t now;
		uint8_t readings;
		struct short_line line;
	} reader;
	/* for the checks alone */
	uint64_t expected; /* V by the line that was in force when the reader read the clock */
	uint64_t highest;  /* V that any reader has seen */
	bool wrong_value;
};

static uint64_t value_of(const struct short_line *from, uint8_t ticks, bool is_unsigned)
{
	const struct line line = {
		.origin_ticks = from->origin,
		.origin_units = from->units,
		.slope = (uint64_t)from->slope << LINE_SLOPE_BITS,
	};

	if (is_unsigned)
		return from->units + (uint64_t)(uint8_t)(ticks - from->origin) * from->slope;
	return line_value(&line, ticks);
}

static uint64_t value_now(const struct timed *timed)
{
	return value_of(&timed->copies[timed->generation & 1], timed->now, false);
}

static bool clock_step(struct timed *timed)
{
	return ++timed->now < TICKS;
}

static bool publisher_step(struct timed *timed)
{
	uint16_t *at = &timed->publisher.at;
	struct short_line *old = &timed->publisher.old;
	struct short_line *next = &timed->publisher.next;
	struct short_line *copy = &timed->copies[(timed->generation + 1) & 1];

	MACHINE_BEGIN(*at)
	do {
		next->origin = (uint8_t)(timed->now + timed->margin);
		next->units = (uint8_t)value_of(old, next->origin, false);
		STEP(*at);
		copy->origin = next->origin;
		STEP(*at);
		copy->units = next->units;
		STEP(*at);
		copy->slope = next->slope;
		STEP(*at);
		timed->generation++;
		STEP(*at);
		timed->publisher.stored = timed->now;
	} while (timed->rule != TIME_NO_LIFT &&
		 value_of(next, timed->publisher.stored, false) <
			 value_of(old, timed->publisher.stored, false));
	timed->publisher.ended = true;
	MACHINE_END;
}

static void reader_looks_at_clock(struct timed *timed)
{
	timed->reader.now = timed->now;
	timed->expected = value_now(timed);
}

static void reader_has_value(struct timed *timed)
{
	uint64_t value =
		value_of(&timed->reader.line, timed->reader.now, timed->rule == TIME_UNSIGNED);

	if (value != timed->expected)
		timed->wrong_value = true;
	if (value > timed->highest)
		timed->highest = value;
}

static bool reader_step(struct timed *timed)
{
	uint16_t *at = &timed->reader.at;
	const struct short_line *copy = &timed->copies[timed->reader.generation & 1];
	struct short_line *line = &timed->reader.line;

	MACHINE_BEGIN(*at)
	for (; timed->reader.readings < READINGS; timed->reader.readings++) {
		do {
			timed->reader.generation = timed->generation;
			STEP(*at);
			if (timed->rule != TIME_AFTER_RECHECK) {
				reader_looks_at_clock(timed);
				STEP(*at);
			}
			line->origin = copy->origin;
			STEP(*at);
			line->units = copy->units;
			STEP(*at);
			line->slope = copy->slope;
			STEP(*at);
		} while (timed->generation != timed->reader.generation);
		if (timed->rule == TIME_AFTER_RECHECK) {
			STEP(*at);
			reader_looks_at_clock(timed);
		}
		reader_has_value(timed);
		STEP(*at);
	}
	MACHINE_END;
}

static bool timed_step(void *state, unsigned machine)
{
	return machine == 0   ? clock_step(state)
	       : machine == 1 ? publisher_step(state)
			      : reader_step(state);
}

static const char *timed_wrong(const void *state)
{
	const struct timed *timed = state;

	if (timed->wrong_value)
		return "a reader's V is not that of the line in force when it read the clock";
	if (timed->publisher.ended && value_now(timed) < timed->highest)
		return "V has gone back for good";
	return NULL;
}

static void timed_begin(struct timed *timed, enum time_rule rule, uint8_t from, uint8_t to,
			uint8_t margin)
{
	timed->rule = (uint8_t)rule;
	timed->margin = margin;
	timed->copies[0] = (struct short_line){0, 1, from};
	timed->publisher.old = timed->copies[0];
	timed->publisher.next.slope = to;
}

static void begin_cut(void *state)
{
	timed_begin(state, TIME_AS_BUILT, 9, 1, 0);
}

static void begin_cut_ahead(void *state)
{
	timed_begin(state, TIME_AS_BUILT, 9, 1, 1);
}

static void begin_raise(void *state)
{
	timed_begin(state, TIME_AS_BUILT, 1, 9, 1);
}

static void begin_after_recheck(void *state)
{
	timed_begin(state, TIME_AFTER_RECHECK, 9, 1, 0);
}

static void begin_unsigned(void *state)
{
	timed_begin(state, TIME_UNSIGNED, 9, 1, 1);
}

static void begin_no_lift(void *state)
{
	timed_begin(state, TIME_NO_LIFT, 9, 1, 0);
}

static const char *timed_machine(unsigned machine)
{
	static const char *const names[] = {"clock", "publisher", "reader"};

	return names[machine];
}

static struct model timed_model(const char *name, void (*begin)(void *))
{
	/* alone: a reader repeats only when a publication succeeded */
	return (struct model){.name = name,
			      .bytes = sizeof(struct timed),
			      .machines = 3,
			      .dead = 3,
			      .alone = 40,
			      .begin = begin,
			      .step = timed_step,
			      .wrong = timed_wrong,
			      .machine_name = timed_machine};
}

static void test_time(void **state)
{
	const struct model right[] = {
		timed_model("publish: a rate is cut", begin_cut),
		timed_model("publish: a rate is cut, origin ahead", begin_cut_ahead),
		timed_model("publish: a rate is raised, origin ahead", begin_raise),
	};
	const struct model broken[] = {
		timed_model("publish: clock read after the second look", begin_after_recheck),
		timed_model("publish: elapsed time without a sign", begin_unsigned),
		timed_model("publish: held up, and not lifted", begin_no_lift),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++)
		expect_right(&right[i]);
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
		expect_wrong(&broken[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_orders),
		cmocka_unit_test(test_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
