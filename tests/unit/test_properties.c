/* SPDX-License-Identifier: Apache-2.0
 *
 * The invariants I1 to I3 of doc/design.md as properties: thousands of random lives of an
 * endpoint on the manual clock, every call of which is held to a model (property_model.h), and
 * every interval of which to the bound (property_ledger.h). I4 is in test_hot_path.c.
 *
 * The seeds are the same in every run; WEIR_ANY_SEED=1 takes new ones, as the label soak does. A
 * failure prints the sequence and its seed; WEIR_SEED=that runs the one sequence again, aloud.
 * WEIR_SEQUENCES=N runs so many of each kind.
 */
#include "property_life.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/random.h>

#include <cmocka.h>

#include "thread_sanitizer.h"

/* Of each kind; the sanitizers are slow, and one thread is nothing to them. */
/* Of a life in which a place was rounded by a call that failed: the first of its kind. */
#define FIRST_SEED 0x1bd67643b85a64

enum { SEQUENCES = UNDER_SANITIZER ? 500 : 1500, STEPS = 120 };

/* The kind of a sequence is in its seed, so that the seed alone replays it. */
enum kind {
	KIND_TAKES,
	KIND_QUEUES,
	KIND_CHANGES,
	KIND_GATES,
	KIND_STOPPED,
	KIND_ALL,
	KINDS,
};

/* ---- what a life consists of ---- */

static void take(struct life *life)
{
	life_take(life, life_random_cost(life));
}

static void wait_in_vain(struct life *life)
{
	life_wait_in_vain(life, life_random_cost(life));
}

static void advance(struct life *life)
{
	life_advance(life, life_random_time(life));
}

static void probe_wait(struct life *life)
{
	life_probe_wait(life, life_random_cost(life));
}

static void reserve(struct life *life)
{
	uint64_t patience = life_random_time(life);

	if (life_chance(life, 50))
		patience = life_chance(life, 50) ? WEIR_FOREVER : 0;
	life_reserve(life, life_random_cost(life), patience);
}

static void cancel(struct life *life)
{
	life_cancel(life, (unsigned)life_below(life, LIFE_HELD));
}

static void settle(struct life *life)
{
	unsigned which = (unsigned)life_below(life, LIFE_HELD);
	const struct model_place *place = &life->held[which].place;
	double factors[] = {0, 1, life_fraction(life), 1 + 2 * life_fraction(life)};

	life_settle(life, which,
		    ldexp((double)place->units, -(int)place->k) * factors[life_below(life, 4)]);
}

static void update(struct life *life)
{
	const struct model_rule rule = life_random_rule(life, false);
	tokens unit = model_unit(model_best_k(&rule));

	/* a mark stays 2^61 units ahead at most: hundreds of years of the new rule */
	if (model_spoken(&life->model) > unit << 61)
		return;

	/* whether an initial level that nobody has seen was used is nobody's to say */
	if (life->model.row.fresh)
		life_take(life, life_random_cost(life));
	life_update(life, &rule,
		    life_chance(life, 40) ? WEIR_KEEP_USED : (enum weir_keep)life_below(life, 4));
}

static void close_for_a_while(struct life *life)
{
	life_close(life, life_chance(life, 4) ? WEIR_FOREVER : life_random_time(life));
}

static void stop(struct life *life)
{
	life_stop(life, life_random_cost(life));
}

static void go_on(struct life *life)
{
	life_go_on(life, (unsigned)life_below(life, LIFE_STOPPED));
}

/* How often each step is taken in each kind, in comparison. */
static const struct {
	void (*step)(struct life *life);
	unsigned weights[KINDS];
} steps[] = {
	/*                    takes queues changes gates stopped all */
	{take, {40, 20, 25, 25, 25, 25}},
	{life_drain, {6, 4, 4, 4, 4, 4}},
	{wait_in_vain, {4, 2, 2, 4, 0, 2}},
	{life_nonsense, {2, 0, 0, 0, 0, 1}},
	{advance, {25, 20, 20, 25, 25, 25}},
	{probe_wait, {10, 4, 4, 5, 0, 3}},
	{reserve, {0, 25, 12, 12, 6, 12}},
	{cancel, {0, 12, 5, 5, 6, 5}},
	{settle, {0, 12, 5, 3, 0, 5}},
	{update, {0, 0, 20, 10, 6, 8}},
	{close_for_a_while, {0, 0, 0, 12, 0, 4}},
	{life_open, {0, 0, 0, 5, 0, 2}},
	{life_reset, {0, 0, 2, 4, 2, 3}},
	{stop, {0, 0, 0, 0, 15, 6}},
	{go_on, {0, 0, 0, 0, 12, 5}},
};

static void take_step(struct life *life, enum kind kind)
{
	unsigned sum = 0;
	size_t step = 0;

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		sum += steps[i].weights[kind];

	uint64_t at = life_below(life, sum);

	while (at >= steps[step].weights[kind])
		at -= steps[step++].weights[kind];
	steps[step].step(life);
}

static void live(uint64_t seed, bool aloud, unsigned long *counts)
{
	static struct life life; /* large */

	life_begin(&life, seed, aloud, counts);
	for (unsigned i = 0; i < STEPS && !life_is_full(&life); i++) {
		take_step(&life, (enum kind)(seed % KINDS));
		life_look_around(&life);
	}
	for (unsigned i = 0; i < LIFE_STOPPED; i++)
		life_go_on(&life, i);
	life_look_around(&life);
	life_end(&life);
}

/* ---- many lives ---- */

#define COUNT_NAME(name, text) [COUNTED_##name] = (text),
static const char *const count_names[LIFE_COUNTED] = {LIFE_COUNTS(COUNT_NAME)};

/* What each kind is about, so often in a hundred sequences at least. */
static const unsigned wanted[KINDS][LIFE_COUNTED] = {
	[KIND_TAKES] = {[COUNTED_ADMITTED] = 100, [COUNTED_REFUSED] = 100, [COUNTED_SLEPT] = 100},
	[KIND_QUEUES] = {[COUNTED_SLEPT] = 25,
			 [COUNTED_QUEUED] = 100,
			 [COUNTED_RETURNED] = 100,
			 [COUNTED_KEPT] = 25,
			 [COUNTED_CHARGED] = 25},
	[KIND_CHANGES] = {[COUNTED_PUBLISHED] = 100,
			  [COUNTED_MOVED] = 25,
			  [COUNTED_RENEWED] = 5,
			  [COUNTED_RESETS] = 25},
	[KIND_GATES] = {[COUNTED_CLOSED] = 100, [COUNTED_EMPTIED] = 100, [COUNTED_RENEWED] = 25},
	[KIND_STOPPED] = {[COUNTED_LATE] = 50, [COUNTED_PUBLISHED] = 100},
	[KIND_ALL] = {[COUNTED_LATE] = 10,
		      [COUNTED_EMPTIED] = 10,
		      [COUNTED_MOVED] = 10,
		      [COUNTED_RENEWED] = 5,
		      [COUNTED_RETURNED] = 10,
		      [COUNTED_CHARGED] = 10,
		      [COUNTED_SLEPT] = 10},
};

static uint64_t new_seed(void)
{
	uint64_t seed;

	assert_int_equal(getrandom(&seed, sizeof(seed), 0), sizeof(seed));
	return seed >> 8; /* so that adding to it does not wrap */
}

static uint64_t number_in(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

/* Many lives of a kind, or the one of WEIR_SEED, of which nothing is expected. */
static void lives(void **state)
{
	enum kind kind = *(const enum kind *)*state;
	uint64_t sequences = number_in("WEIR_SEQUENCES", SEQUENCES);
	uint64_t seed = getenv("WEIR_ANY_SEED") ? new_seed() : number_in("WEIR_SEED", FIRST_SEED);
	unsigned long counts[LIFE_COUNTED] = {0};

	if (getenv("WEIR_SEED")) {
		if (seed % KINDS != kind)
			skip();
		live(seed, true, counts);
		return;
	}
	seed = seed - seed % KINDS + kind;
	print_message("%llu sequences, seeds from %#llx on\n", (unsigned long long)sequences,
		      (unsigned long long)seed);
	for (uint64_t i = 0; i < sequences; i++)
		live(seed + i * KINDS, false, counts);
	for (int i = 0; i < LIFE_COUNTED; i++) {
		if (counts[i])
			print_message("%12lu %s\n", counts[i], count_names[i]);
		if (sequences >= SEQUENCES)
			assert_true(counts[i] >= wanted[kind][i] * SEQUENCES / 100);
	}
}

int main(void)
{
	static enum kind kinds[KINDS] = {KIND_TAKES, KIND_QUEUES,  KIND_CHANGES,
					 KIND_GATES, KIND_STOPPED, KIND_ALL};
	const struct CMUnitTest tests[] = {
		{"takes and waits", lives, NULL, NULL, &kinds[KIND_TAKES]},
		{"queues and giving back", lives, NULL, NULL, &kinds[KIND_QUEUES]},
		{"changes of rate and burst", lives, NULL, NULL, &kinds[KIND_CHANGES]},
		{"closures", lives, NULL, NULL, &kinds[KIND_GATES]},
		{"callers with old readings", lives, NULL, NULL, &kinds[KIND_STOPPED]},
		{"all at once", lives, NULL, NULL, &kinds[KIND_ALL]},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
