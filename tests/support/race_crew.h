/* SPDX-License-Identifier: Apache-2.0
 *
 * race_crew.h - processes that share the endpoint "api" of one instance on a real clock, each in a
 * role, while somebody publishes; and the account at the end.
 *
 * The bound is V's own advance. That V is right is checked apart from it, by the publisher's log:
 * the integral of the rate over the segment's clock, each rate taken to come into force at some
 * moment between the begin and the end of its publication.
 */
#ifndef RACE_CREW_H
#define RACE_CREW_H

#include "race_book.h"

#include "handle.h"
#include "tally.h"

enum {
	RACE_CREW = 64,
	RACE_PUBLICATIONS = 1 << 14,
	RACE_RATE_MAX = 400000, /* tokens a second */
	RACE_BURST = 10000,	/* tokens, and half of that at times */
	RACE_MARGIN_TICKS = 2500,
};

struct race_publication {
	uint64_t before; /* ticks */
	uint64_t after;
	uint64_t v_before;
	uint64_t v_after;
	struct terms terms; /* of a rate in whole tokens a second, or a slower one */
};

/* In memory that all processes of a race share. */
struct race {
	struct place place;
	uint32_t row;
	unsigned k;
	unsigned cost_max; /* tokens, of one call */
	uint64_t ahead_ns; /* how far a place in line may lie */
	_Atomic uint32_t ready;
	_Atomic uint32_t go;
	_Atomic uint32_t stop;
	_Atomic uint32_t published;
	struct race_publication log[RACE_PUBLICATIONS];
	struct race_book books[RACE_CREW];
};

/* One process of the crew. */
struct racer {
	void (*role)(struct racer *);
	struct race *race;
	struct race_book *book;
	struct weir *weir;
	struct weir_endpoint *api;
	struct race_view view;
	uint64_t random;
};

static inline uint64_t race_units(const struct racer *racer, unsigned tokens)
{
	return (uint64_t)tokens << racer->race->k;
}

static inline unsigned race_cost(struct racer *racer)
{
	return 1 + (unsigned)(scene_random(&racer->random) % racer->race->cost_max);
}

static inline uint64_t race_v(const struct racer *racer)
{
	uint64_t lead;

	return race_look(&racer->view, &lead);
}

/* ---- roles: what a process does again and again ---- */

static inline bool race_draw(struct racer *racer, unsigned cost)
{
	uint64_t lead;
	uint64_t from = race_look(&racer->view, &lead);

	race_watch(racer->book, from, lead);
	if (weir_acquire(racer->api, cost, NULL) != WEIR_ADMIT)
		return false;
	racer->book->calls++;
	racer->book->taken += race_units(racer, cost);
	race_granted(racer->book, from, race_v(racer), race_units(racer, cost));
	return true;
}

/* Draws without a pause. */
static inline void race_greedy(struct racer *racer)
{
	race_draw(racer, race_cost(racer));
}

/* What was cancelled was not granted to anybody; what it gave back, nobody had used. */
static inline void race_cancel(struct racer *racer, struct weir_reservation *reservation)
{
	struct place_in_line place;
	double returned = 0;

	memcpy(&place, reservation, sizeof(place));
	CHILD_CHECK(weir_cancel(racer->api, reservation, &returned) == 0);
	CHILD_CHECK(weir_cancel(racer->api, reservation, &returned) == WEIR_ESPENT);
	racer->book->asked_back += place.units;
	racer->book->returned += (uint64_t)(returned * (double)race_units(racer, 1));
}

/* Used since `from`, for less, as much or a little more than was reserved. */
static inline void race_settle(struct racer *racer, struct weir_reservation *reservation,
			       uint64_t from, unsigned cost)
{
	unsigned actual = race_cost(racer) % (cost + 2);
	uint64_t used = race_v(racer);

	race_granted(racer->book, from, used, race_units(racer, cost));
	CHILD_CHECK(weir_settle(racer->api, reservation, actual) == 0);
	if (actual < cost)
		race_gave_back(racer->book, used, race_v(racer), race_units(racer, cost - actual));
	else
		racer->book->charged += race_units(racer, actual - cost);
}

/* Reserves what is there at this moment, then settles or cancels. */
static inline void race_reserve_now(struct racer *racer)
{
	struct weir_reservation reservation;
	unsigned cost = race_cost(racer);
	uint64_t from = race_v(racer);

	if (weir_reserve(racer->api, cost, 0, &reservation, NULL) != WEIR_ADMIT)
		return;
	racer->book->calls++;
	racer->book->taken += race_units(racer, cost);
	if (scene_random(&racer->random) % 2)
		race_cancel(racer, &reservation);
	else
		race_settle(racer, &reservation, from, cost);
}

/* Takes a place in line, waits for it or does not, then settles or cancels. */
static inline void race_reserve_ahead(struct racer *racer)
{
	struct weir_reservation reservation;
	unsigned cost = race_cost(racer);
	uint64_t from = race_v(racer);
	uint64_t ahead = racer->race->ahead_ns;
	uint64_t patience = scene_random(&racer->random) % (ahead / 2);

	if (weir_reserve(racer->api, cost, ahead, &reservation, NULL) != WEIR_ADMIT)
		return;
	racer->book->calls++;
	racer->book->taken += race_units(racer, cost);
	if (weir_reservation_wait(racer->api, &reservation, patience, NULL) == WEIR_ADMIT)
		race_settle(racer, &reservation, from, cost);
	else
		race_cancel(racer, &reservation);
}

/* Sleeps in line. While the rate is 0 there is none. */
static inline void race_wait(struct racer *racer)
{
	unsigned cost = race_cost(racer);
	uint64_t from = race_v(racer);

	if (weir_wait(racer->api, cost, WEIR_FOREVER, NULL) == WEIR_ADMIT) {
		racer->book->calls++;
		racer->book->taken += race_units(racer, cost);
		race_granted(racer->book, from, race_v(racer), race_units(racer, cost));
	}
}

/* ---- a process of the crew ---- */

static inline void racer_attach(struct racer *racer)
{
	racer->weir = scene_open(&racer->race->place);
	racer->api = scene_endpoint(racer->weir, "api");
	CHILD_CHECK(racer->api);

	const struct binding *binding = endpoint_binding(racer->api);

	racer->view = (struct race_view){binding->row, binding->bucket, binding->time};
}

static inline void racer_detach(struct racer *racer)
{
	weir_endpoint_close(racer->api);
	weir_close(racer->weir);
}

static inline int racer_run(void *context)
{
	struct racer *racer = context;

	racer_attach(racer);
	atomic_fetch_add(&racer->race->ready, 1);
	CHILD_CHECK(scene_until(&racer->race->go, 1));
	while (!atomic_load(&racer->race->stop))
		racer->role(racer);
	racer_detach(racer);
	return 0;
}

/* ---- the publisher ---- */

/* A rate too different for the row's unit moves the rule to another row. */
static inline void race_publish(struct race *race, struct segment *segment,
				const struct terms *terms)
{
	const struct terms_author author = {ORIGIN_OPERATOR, 0};
	uint32_t index = atomic_load(&race->published);
	struct race_publication *entry = &race->log[index];
	struct line line;

	CHILD_CHECK(index < RACE_PUBLICATIONS);
	*entry = (struct race_publication){.terms = *terms};
	entry->before = line_read(&segment->rows[race->row], &segment->time, &line);
	entry->v_before = line_value(&line, entry->before);

	int64_t row = rules_change(segment, race->row, terms, &author, RULES_KEEP_USED);

	CHILD_CHECK(row >= 0);
	race->row = (uint32_t)row;
	entry->after = line_read(&segment->rows[row], &segment->time, &line);
	entry->v_after = line_value(&line, entry->after);
	atomic_store(&race->published, index + 1);
}

static inline void race_publish_usual(struct race *race, struct segment *segment)
{
	const struct terms terms = scene_terms(RACE_RATE_MAX, RACE_BURST);

	race_publish(race, segment, &terms);
}

/* Another rate, none at all now and then; sometimes another burst. */
static inline void race_publish_any(struct race *race, struct segment *segment, uint64_t *random)
{
	uint64_t draw = scene_random(random);
	uint64_t rate = draw % 16 ? RACE_RATE_MAX / 16 + draw / 16 % RACE_RATE_MAX * 15 / 16 : 0;
	struct terms terms = scene_terms(rate, RACE_BURST);
	const struct terms *last = &race->log[atomic_load(&race->published) - 1].terms;

	if (draw >> 61 == 0)
		terms.burst_micro += terms.burst_micro / 2 - last->burst_micro;
	else
		terms.burst_micro = last->burst_micro;
	terms.initial_micro = terms.burst_micro;
	race_publish(race, segment, &terms);
}

/* ---- the whole ---- */

struct race_stage {
	struct scene scene;
	struct race *race;
	struct racer crew[RACE_CREW];
	pid_t pids[RACE_CREW];
	size_t greedy; /* the first so many of the crew draw without a pause */
	size_t count;
	uint64_t from_tick;
	uint64_t from_v;
	uint64_t from_mark; /* or V, if that was further ahead */
	struct racer self;
};

/* The row is born at the highest rate, so that its unit fits all others; "api" is in use. */
static inline void race_begin(struct race_stage *stage, uint32_t rows)
{
	struct race *race = scene_shared(sizeof(*race));
	struct segment_shape shape = scene_shape;
	struct line line;

	shape.clock = time_source_best();
	shape.rows = rows;
	shape.members = RACE_CREW + 2;
	*stage = (struct race_stage){.race = race};
	race->cost_max = 8;
	race->ahead_ns = 10 * WEIR_MILLISECOND;
	scene_begin(&stage->scene, &shape);
	race->place = stage->scene.place;
	race->row = scene_add(&stage->scene.segment, ROW_EXACT, "api", RACE_RATE_MAX, RACE_BURST);
	line_read(&stage->scene.segment.rows[race->row], &stage->scene.segment.time, &line);
	race->k = line.k;
	stage->self = (struct racer){.race = race, .random = 1};
	racer_attach(&stage->self);
	assert_int_equal(weir_acquire(stage->self.api, 1, NULL), WEIR_ADMIT);
}

static inline void race_join(struct race_stage *stage, void (*role)(struct racer *))
{
	size_t index = stage->count++;
	struct racer *racer = &stage->crew[index];

	assert_true(index + 1 < RACE_CREW);
	*racer = (struct racer){
		.role = role,
		.race = stage->race,
		.book = &stage->race->books[index],
		.random = 0x9e3779b97f4a7c15ull * (index + 2),
	};
	racer->book->grain = race_units(racer, RACE_BURST / 128);
	if (role == race_greedy) {
		assert_true(stage->greedy == index);
		stage->greedy++;
	}
	stage->pids[index] = scene_child(racer_run, racer);
}

/* The first entry of the log, and where all books begin. */
static inline void race_ready(struct race_stage *stage)
{
	struct race *race = stage->race;
	uint64_t mark = bucket_look(stage->self.view.bucket);
	uint64_t lead;

	assert_true(scene_until(&race->ready, (uint32_t)stage->count));
	race_publish_usual(race, &stage->scene.segment);
	race->log[0].before = race->log[0].after; /* nobody drew at the rate before */
	stage->from_tick = race->log[0].after;
	stage->from_v = race->log[0].v_after;
	stage->from_mark = bucket_base(mark, stage->from_v);
	lead = stage->from_mark - stage->from_v;
	for (size_t i = 0; i < stage->count; i++) {
		race->books[i].last_v = stage->from_v;
		race->books[i].last_lead = lead;
	}
}

/* All at once. */
static inline void race_go(struct race_stage *stage)
{
	atomic_store(&stage->race->go, 1);
}

static inline void race_end_crew(struct race_stage *stage)
{
	const struct terms none = scene_terms(0, RACE_BURST);

	/* with the highest burst, and a rate that ends all waits */
	race_publish_usual(stage->race, &stage->scene.segment);
	atomic_store(&stage->race->stop, 1);
	for (size_t i = 0; i < stage->count; i++)
		assert_int_equal(scene_wait(stage->pids[i]), 0);
	/* what is left is drawn at leisure */
	race_publish(stage->race, &stage->scene.segment, &none);
	stage->self.book = &stage->race->books[stage->count];
}

/* Ends what runs, and draws what is left. The publisher has stopped. */
static inline void race_finish(struct race_stage *stage)
{
	uint64_t lead;

	race_end_crew(stage);

	uint64_t v = race_look(&stage->self.view, &lead);

	for (size_t i = 0; i < stage->greedy; i++)
		race_watch(&stage->race->books[i], v, lead);
	while (race_draw(&stage->self, 1))
		;
}

/* ---- the account ---- */

/* Tokens: the least and the most that the log's rates mint. */
struct race_integral {
	long double least;
	long double most;
};

/* The part of [begin, end] that lies in [from, to], at a rate between a and b. */
static inline void race_integrate(struct race_integral *sum, uint64_t begin, uint64_t end,
				  uint64_t from, uint64_t to, long double a, long double b)
{
	if (begin < from)
		begin = from;
	if (end > to)
		end = to;
	if (begin >= end)
		return;
	sum->least += (long double)(end - begin) * (a < b ? a : b);
	sum->most += (long double)(end - begin) * (a < b ? b : a);
}

static inline long double race_per_tick(const struct terms *terms, uint64_t hz)
{
	return (long double)terms->rate_micro * SCENE_SECOND /
	       ((long double)TERMS_MICRO * (long double)terms->period_ns * (long double)hz);
}

/* Between two ticks, both within what the log covers. */
static inline struct race_integral race_minted(const struct race *race, uint64_t hz, uint64_t from,
					       uint64_t to)
{
	struct race_integral sum = {0, 0};
	uint32_t count = atomic_load(&race->published);

	for (uint32_t i = 0; i < count; i++) {
		const struct race_publication *at = &race->log[i];
		long double rate = race_per_tick(&at->terms, hz);
		long double before = race_per_tick(&race->log[i ? i - 1 : 0].terms, hz);
		uint64_t next = i + 1 < count ? at[1].before : UINT64_MAX;
		uint64_t sure = at->after + RACE_MARGIN_TICKS;

		sure = sure < next ? sure : next;
		race_integrate(&sum, at->before, sure, from, to, before, rate);
		race_integrate(&sum, sure, next, from, to, rate, rate);
	}
	return sum;
}

/* All in units. */
struct race_account {
	uint64_t bound; /* the burst and what was minted */
	uint64_t taken;
	uint64_t charged;
	uint64_t returned;
	uint64_t ran_over; /* V beyond the mark: it refilled nothing, as the bucket was full */
	uint64_t idle;	   /* what of it those who draw without a pause were held up for */
};

static inline uint64_t race_sum(const struct race_stage *stage, size_t member_at)
{
	uint64_t sum = 0;

	for (size_t i = 0; i <= stage->count; i++)
		sum += *(const uint64_t *)(const void *)((const char *)&stage->race->books[i] +
							 member_at);
	return sum;
}

#define RACE_SUM(stage, member) race_sum(stage, offsetof(struct race_book, member))

/* The tallies agree with the books; what settling gave back, they alone know. */
static inline void race_count(const struct race_stage *stage, struct race_account *account)
{
	const struct segment *segment = &stage->scene.segment;
	struct tally_sum sum;

	tally_read(&segment->tallies, stage->race->row, stage->race->k, &sum);
	account->taken = RACE_SUM(stage, taken);
	account->charged = RACE_SUM(stage, charged);
	account->returned = sum.counters[COUNT_RETURNED_UNITS];
	/* and the first call, before the race */
	assert_int_equal(sum.counters[COUNT_GRANTED_CALLS], RACE_SUM(stage, calls) + 1);
	assert_int_equal(sum.counters[COUNT_GRANTED_UNITS],
			 account->taken + account->charged + (1ull << stage->race->k));
	assert_true(account->returned >= RACE_SUM(stage, returned));
	assert_true(account->returned <= RACE_SUM(stage, asked_back));
}

/* V is the integral of the rates, to a unit for each end. */
static inline void race_check_v(const struct race_stage *stage)
{
	struct line line;
	uint64_t until = line_read(stage->self.view.row, &stage->self.view.time, &line);
	uint64_t minted = line_value(&line, until) - stage->from_v;
	uint64_t hz = segment_hz(&stage->scene.segment);
	long double unit = 1 / (long double)(1ull << stage->race->k);
	long double tokens = (long double)minted * unit;
	struct race_integral sum = race_minted(stage->race, hz, stage->from_tick, until);

	if (tokens + 2 * unit < sum.least || tokens > sum.most + 2 * unit)
		fail_msg("V went on by %.3Lf tokens, and the rates mint %.3Lf to %.3Lf", tokens,
			 sum.least, sum.most);
}

/* The bursts in force, each from before its publication to after the next one. */
static inline struct race_entry *race_bursts(const struct race *race)
{
	uint32_t count = atomic_load(&race->published);
	struct race_entry *bursts = malloc(count * sizeof(*bursts));

	assert_non_null(bursts);
	for (uint32_t i = 0; i < count; i++)
		bursts[i] = (struct race_entry){
			.from = race->log[i].v_before,
			.to = i + 1 < count ? race->log[i + 1].v_after : UINT64_MAX,
			.units = line_units(race->log[i].terms.burst_micro, race->k),
		};
	return bursts;
}

static inline void race_check_intervals(const struct race_stage *stage,
					const struct race_entry *shut, size_t shut_count,
					uint64_t shut_slack)
{
	const struct race *race = stage->race;
	struct race_entry *bursts = race_bursts(race);
	struct race_intervals in = {
		.bursts = bursts,
		.burst_count = atomic_load(&race->published),
		.shut = shut,
		.shut_count = shut_count,
		.shut_slack = shut_slack,
	};

	in.draws = RACE_GATHER(race->books, stage->count + 1, draws, &in.draw_count);
	in.backs = RACE_GATHER(race->books, stage->count + 1, backs, &in.back_count);
	qsort(in.draws, in.draw_count, sizeof(*in.draws), race_by_end);
	qsort(in.backs, in.back_count, sizeof(*in.backs), race_by_begin);

	int64_t excess = race_excess(&in);

	free(in.draws);
	free(in.backs);
	free(bursts);
	if (excess > 0)
		fail_msg("an interval passed %.3f tokens more than it may",
			 (double)excess / (double)(1ull << race->k));
}

/* What was used in the end: granted, and not given back. */
static inline uint64_t race_used(const struct race_account *account)
{
	return account->taken + account->charged - account->returned;
}

static inline void race_print(const struct race_stage *stage, const struct race_account *account)
{
	const double token = (double)(1ull << stage->race->k);
	const double used = (double)race_used(account);

	printf("%zu processes, %u rates: granted %.1f tokens and %.1f went back, which is %.3f %% "
	       "of burst and minted, %.1f; %.1f ran over, %.1f of them while none was scheduled "
	       "to draw: %.3f %% of the rest\n",
	       stage->count, atomic_load(&stage->race->published),
	       (double)(account->taken + account->charged) / token,
	       (double)account->returned / token, 100 * used / (double)account->bound,
	       (double)account->bound / token, (double)account->ran_over / token,
	       (double)account->idle / token,
	       100 * used / (double)(account->bound - account->idle));
	fflush(stdout);
}

/* `from_mark` and all that happened to the mark since leave only one way in which it moved. */
static inline struct race_account race_account(const struct race_stage *stage)
{
	struct race_account account;
	uint64_t lead;
	uint64_t v = race_look(&stage->self.view, &lead);
	uint64_t idle = race_idle_units(stage->race->books, stage->greedy);

	race_count(stage, &account);
	account.bound = v - stage->from_v + ((uint64_t)RACE_BURST << stage->race->k);
	account.ran_over = v + lead - stage->from_mark - race_used(&account);
	assert_true((int64_t)account.ran_over >= 0);
	/* those who do draw with pauses may have drawn meanwhile */
	account.idle = idle < account.ran_over ? idle : account.ran_over;
	return account;
}

/*
 * Granted is no more than the bound, over the whole and over every interval; and, by processes
 * that draw whenever they are scheduled, no less than 99 % of it.
 */
static inline void race_check(const struct race_stage *stage)
{
	const struct race_account account = race_account(stage);

	race_print(stage, &account);
	race_check_v(stage);
	assert_true(account.taken <= account.bound + account.returned);
	assert_true(race_used(&account) * 100 >= (account.bound - account.idle) * 99);
	race_check_intervals(stage, NULL, 0, 0);
}

static inline void race_end(struct race_stage *stage)
{
	racer_detach(&stage->self);
	scene_end(&stage->scene);
	munmap(stage->race, sizeof(*stage->race));
}

#endif
