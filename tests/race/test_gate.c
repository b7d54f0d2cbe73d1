/* SPDX-License-Identifier: Apache-2.0
 *
 * A closed endpoint with sixty processes asleep behind it: nothing passes while it is closed, the
 * opening finds the bucket empty, and all are served at the rule's speed. On the manual clock the
 * order is looked at, place by place; on the real one, every interval.
 */
#include "race_crew.h"

#include "audit.h"

enum {
	SLEEPERS = 60,
	EARLY = 24, /* of them, those that stand in line before the first closure */
	COST_MAX = 3,
	PER_SECOND = 1000,
	BURST = 10,
};

/* ---- on the manual clock ---- */

/* What one sleeper shows of itself, in memory that all share. */
struct seat {
	_Atomic uint32_t behind; /* how often it was about to sleep behind the gate */
	_Atomic uint32_t placed; /* how often it took a place in line */
	_Atomic uint64_t wait_ns;
	_Atomic uint32_t served;
	unsigned cost;
	uint64_t position; /* the conductor's: the mark behind its place, 0 while it has none */
	uint32_t behind_seen;
	uint32_t placed_seen;
};

struct theatre {
	struct weir *weir;
	struct weir_endpoint *api;
	struct seat *seats;
	pid_t pids[SLEEPERS];
	size_t count;
	uint64_t random;
	unsigned lapsed; /* places, by a closure */
	unsigned kept;
};

static struct seat *own_seat; /* in a sleeper */

static void see(void *context, const struct weir_event *event)
{
	(void)context;
	if (!own_seat)
		return;
	if (event->kind == WEIR_EVENT_CLOSED)
		atomic_fetch_add(&own_seat->behind, 1);
	if (event->kind == WEIR_EVENT_WAIT) {
		atomic_store(&own_seat->wait_ns, event->wait_ns);
		atomic_fetch_add(&own_seat->placed, 1);
	}
}

static int sleeper(void *context)
{
	struct theatre *theatre = context;
	struct weir_answer answer;

	own_seat = &theatre->seats[theatre->count];
	CHILD_CHECK(weir_wait(theatre->api, own_seat->cost, WEIR_FOREVER, &answer) == WEIR_ADMIT);
	CHILD_CHECK(answer.fault == 0);
	atomic_store(&own_seat->served, 1);
	return 0;
}

static const struct segment *segment_of(const struct theatre *theatre)
{
	return &endpoint_binding(theatre->api)->attachment->segment;
}

static const struct bucket *bucket_of(const struct theatre *theatre)
{
	return endpoint_binding(theatre->api)->bucket;
}

static uint64_t line_now(const struct theatre *theatre, struct line *line)
{
	return line_read(endpoint_binding(theatre->api)->row, &segment_of(theatre)->time, line);
}

static uint64_t v_now(const struct theatre *theatre)
{
	struct line line;
	uint64_t now = line_now(theatre, &line);

	return line_value(&line, now);
}

static uint64_t burst_units(const struct theatre *theatre)
{
	struct line line;

	line_now(theatre, &line);
	return line.burst_units;
}

static uint64_t cost_of(const struct theatre *theatre, const struct seat *seat)
{
	return seat->cost * endpoint_binding(theatre->api)->units_per_token;
}

/* Whether its turn has come, or had come when V was at `v`. */
static bool is_due(const struct theatre *theatre, const struct seat *seat, uint64_t v)
{
	return (int64_t)(seat->position - burst_units(theatre) - v) <= 0;
}

static unsigned served(const struct theatre *theatre)
{
	unsigned count = 0;

	for (size_t i = 0; i < theatre->count; i++)
		count += atomic_load(&theatre->seats[i].served);
	return count;
}

static void come(struct theatre *theatre)
{
	struct seat *seat = &theatre->seats[theatre->count];

	seat->cost = 1 + (unsigned)(scene_random(&theatre->random) % COST_MAX);
	theatre->pids[theatre->count] = scene_child(sleeper, theatre);
	theatre->count++;
}

/* Those that come while it is open stand in line in the order in which they come. */
static void come_in_line(struct theatre *theatre)
{
	struct seat *seat = &theatre->seats[theatre->count];
	uint64_t mark = bucket_look(bucket_of(theatre));

	come(theatre);
	assert_true(scene_until(&seat->placed, 1));
	seat->placed_seen = 1;
	seat->position = bucket_look(bucket_of(theatre));
	assert_int_equal(seat->position - mark, cost_of(theatre, seat));
}

static void come_behind_gate(struct theatre *theatre)
{
	struct seat *seat = &theatre->seats[theatre->count];

	come(theatre);
	assert_true(scene_until(&seat->behind, 1));
}

/* Moves the clock; who sleeps behind the gate has looked again when this returns. */
static void pass_behind_gate(struct theatre *theatre, uint64_t ns)
{
	for (size_t i = 0; i < theatre->count; i++)
		theatre->seats[i].behind_seen = atomic_load(&theatre->seats[i].behind);
	assert_int_equal(weir_clock_advance(theatre->weir, ns), 0);
	for (size_t i = 0; i < theatre->count; i++) {
		struct seat *seat = &theatre->seats[i];

		if (seat->position == 0)
			assert_true(scene_until(&seat->behind, seat->behind_seen + 1));
	}
}

static int by_wait(const void *left, const void *right)
{
	const struct seat *a = *(struct seat *const *)left;
	const struct seat *b = *(struct seat *const *)right;

	return (atomic_load(&a->wait_ns) > atomic_load(&b->wait_ns)) -
	       (atomic_load(&a->wait_ns) < atomic_load(&b->wait_ns));
}

/*
 * Waits until a process that was woken has looked and sleeps again: who is woken is ready to run
 * before the call that wakes him returns.
 */
static void await_asleep(pid_t pid)
{
	char path[40];
	char text[200] = "";
	char state = '?';

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	for (unsigned ms = 0; state != 'S' && ms < SCENE_PATIENCE_MS; ms++) {
		FILE *file = fopen(path, "re");
		const char *behind_name;

		assert_non_null(file);
		behind_name = fgets(text, sizeof(text), file) ? strrchr(text, ')') : NULL;
		fclose(file);
		assert_non_null(behind_name);
		state = behind_name[2];
		if (state != 'S')
			scene_sleep_ms(1);
	}
	assert_int_equal(state, 'S');
}

/* Everybody without a place, or whose turn came up while it was closed, has taken a new one. */
static size_t take_places(struct theatre *theatre, uint64_t opened, struct seat **fresh,
			  uint64_t *behind)
{
	size_t count = 0;

	*behind = opened + burst_units(theatre);
	for (size_t i = 0; i < theatre->count; i++) {
		struct seat *seat = &theatre->seats[i];

		if (atomic_load(&seat->served))
			continue;
		if (seat->position && !is_due(theatre, seat, opened)) {
			if ((int64_t)(seat->position - *behind) > 0)
				*behind = seat->position;
			theatre->kept++;
			/* where the opening was on the clock can be told until the rate changes */
			await_asleep(theatre->pids[i]);
			continue;
		}
		theatre->lapsed += seat->position != 0;
		assert_true(scene_until(&seat->placed, ++seat->placed_seen));
		fresh[count++] = seat;
	}
	return count;
}

/*
 * The new places stand one behind the other, from the opening's level of 0 or from the last place
 * that was kept; the event said when each would be due.
 */
static void check_places(struct theatre *theatre, uint64_t opened)
{
	struct seat *fresh[SLEEPERS];
	uint64_t position;
	size_t count = take_places(theatre, opened, fresh, &position);
	struct line line;
	uint64_t now = line_now(theatre, &line);

	qsort(fresh, count, sizeof(fresh[0]), by_wait);
	for (size_t i = 0; i < count; i++) {
		uint64_t due;

		position += cost_of(theatre, fresh[i]);
		fresh[i]->position = position;
		due = line_ticks_until(&line, now, position - line.burst_units);
		if (atomic_load(&fresh[i]->wait_ns) != due)
			fail_msg("place %zu of %zu is due in %llu ns, not %llu", i, count,
				 (unsigned long long)atomic_load(&fresh[i]->wait_ns),
				 (unsigned long long)due);
	}
	assert_int_equal(bucket_look(bucket_of(theatre)), position);
}

/*
 * Closed for `tokens` tokens' time, in three steps; at the second the rate may change. Returns V at
 * the opening, when nobody has passed yet.
 */
static uint64_t close_for(struct theatre *theatre, unsigned tokens, const char *rate)
{
	unsigned before = served(theatre);
	struct line line;

	assert_int_equal(weir_gate_close(theatre->api, tokens * SCENE_SECOND / PER_SECOND), 0);

	uint64_t until = gate_load(bucket_of(theatre)) & GATE_UNTIL;
	uint64_t now = line_now(theatre, &line);
	struct weir_level level = {.size = sizeof(level)};
	struct weir_answer answer;

	while (theatre->count < SLEEPERS)
		come_behind_gate(theatre);
	pass_behind_gate(theatre, (until - now) / 2);
	if (rate)
		assert_int_equal(weir_update(theatre->weir, "api", rate, NULL, WEIR_KEEP_USED), 0);
	pass_behind_gate(theatre, until - 1 - line_now(theatre, &line));
	assert_int_equal(weir_acquire(theatre->api, 1, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_CLOSED);
	assert_int_equal(weir_peek(theatre->api, &level), 0);
	assert_int_equal(level.closed_ns, 1);
	assert_true(answer.wait_ns > 1); /* it opens empty */
	assert_int_equal(served(theatre), before);
	assert_int_equal(weir_clock_advance(theatre->weir, 1), 0);

	uint64_t opened = v_now(theatre);

	check_places(theatre, opened);
	assert_int_equal(served(theatre), before);
	return opened;
}

/* Waits until all whose turn has come are served; nobody else is. */
static void check_served(struct theatre *theatre)
{
	uint64_t v = v_now(theatre);

	for (size_t i = 0; i < theatre->count; i++)
		if (is_due(theatre, &theatre->seats[i], v))
			assert_true(scene_until(&theatre->seats[i].served, 1));
	for (size_t i = 0; i < theatre->count; i++)
		if (!is_due(theatre, &theatre->seats[i], v))
			assert_int_equal(atomic_load(&theatre->seats[i].served), 0);
}

static void advance_some(struct theatre *theatre)
{
	static const char *const rates[] = {"1000/s", "400/s", "2500/s", "999/s"};
	uint64_t draw = scene_random(&theatre->random);

	assert_int_equal(weir_clock_advance(theatre->weir, draw % 5000000), 0);
	if (draw >> 62 == 0)
		assert_int_equal(weir_update(theatre->weir, "api", rates[draw >> 60 & 3], NULL,
					     WEIR_KEEP_USED),
				 0);
}

/* Since the opening, no more than what was minted since, and a place that came along. */
static void check_bound(const struct theatre *theatre, unsigned granted_before, uint64_t opened)
{
	uint64_t token = endpoint_binding(theatre->api)->units_per_token;
	uint64_t granted = 0;

	for (size_t i = 0; i < theatre->count; i++)
		if (atomic_load(&theatre->seats[i].served))
			granted += theatre->seats[i].cost;
	granted -= granted_before;
	assert_true(granted * token < v_now(theatre) - opened + COST_MAX * token);
}

static unsigned granted_now(const struct theatre *theatre)
{
	unsigned granted = 0;

	for (size_t i = 0; i < theatre->count; i++)
		if (atomic_load(&theatre->seats[i].served))
			granted += theatre->seats[i].cost;
	return granted;
}

/* Opens and serves, until at most `left` are waiting. */
static void serve(struct theatre *theatre, uint64_t opened, unsigned left)
{
	unsigned before = granted_now(theatre);

	while (theatre->count - served(theatre) > left) {
		advance_some(theatre);
		check_served(theatre);
		check_bound(theatre, before, opened);
	}
}

static void theatre_begin(struct theatre *theatre)
{
	const struct weir_options options = {.size = sizeof(options), .trace = see};
	char ini[200];

	*theatre = (struct theatre){
		.seats = scene_shared(SLEEPERS * sizeof(struct seat)),
		.random = 7,
	};
	snprintf(ini, sizeof(ini),
		 "[weir]\nmembers = %d\n[endpoint api]\nrate = %d/s\nburst = %d\n", SLEEPERS + 2,
		 PER_SECOND, BURST);
	assert_int_equal(weir_host(&theatre->weir, ini, WEIR_CLOCK_MANUAL, &options, NULL, 0), 0);
	assert_int_equal(weir_endpoint(theatre->weir, "api", &theatre->api), 0);
	assert_int_equal(scene_drain(theatre->api), BURST);
}

static void theatre_end(struct theatre *theatre)
{
	struct weir_level level = {.size = sizeof(level)};

	for (size_t i = 0; i < theatre->count; i++)
		assert_int_equal(scene_wait(theatre->pids[i]), 0);
	assert_int_equal(weir_peek(theatre->api, &level), 0);
	assert_int_equal(level.granted, BURST + SLEEPERS);
	assert_true(level.granted_tokens == BURST + granted_now(theatre));
	assert_int_equal(audit_segment(segment_of(theatre), NULL, NULL), 0);
	munmap(theatre->seats, SLEEPERS * sizeof(struct seat));
	weir_endpoint_close(theatre->api);
	weir_close(theatre->weir);
}

static void test_sixty_sleepers(void **state)
{
	struct theatre theatre;
	uint64_t opened;

	(void)state;
	theatre_begin(&theatre);
	while (theatre.count < EARLY)
		come_in_line(&theatre);
	/* about half of those in line lapse; the others come to wait behind the gate */
	opened = close_for(&theatre, EARLY, NULL);
	serve(&theatre, opened, SLEEPERS - 20);
	/* a rate that is cut makes nobody wait longer behind the gate, nor a raised one less */
	opened = close_for(&theatre, 15, "250/s");
	serve(&theatre, opened, 20);
	opened = close_for(&theatre, 200, "2000/s");
	serve(&theatre, opened, 0);
	printf("%d sleepers, 3 closures, %u places lapsed and %u kept: all served in their order\n",
	       SLEEPERS, theatre.lapsed, theatre.kept);
	assert_true(theatre.lapsed > 0 && theatre.kept > 0);
	theatre_end(&theatre);
}

/* ---- on the real clock ---- */

enum {
	CLOSURES = 30,
	CHANGES_BETWEEN = 10,
	SMALL_BURST = 40,
};

/* Asks without waiting, whether or not it is closed. */
static void ask(struct racer *racer)
{
	struct weir_answer answer;
	uint64_t from = race_v(racer);

	if (weir_acquire(racer->api, 1, &answer) == WEIR_ADMIT) {
		racer->book->calls++;
		racer->book->taken += race_units(racer, 1);
		race_granted(racer->book, from, race_v(racer), race_units(racer, 1));
	} else {
		racer->book->closed += answer.reason == WEIR_REASON_CLOSED;
	}
	CHILD_CHECK(answer.fault == 0);
}

static void wait_for_one(struct racer *racer)
{
	uint64_t from = race_v(racer);

	if (weir_wait(racer->api, 1, WEIR_FOREVER, NULL) == WEIR_ADMIT) {
		racer->book->calls++;
		racer->book->taken += race_units(racer, 1);
		race_granted(racer->book, from, race_v(racer), race_units(racer, 1));
	}
}

static void publish_small(struct race_stage *stage, uint64_t *random)
{
	uint64_t draw = scene_random(random);
	/* the burst stays: were it cut, a debt would reach beyond the closures */
	const struct terms terms = scene_terms(2000 + draw % 6000, SMALL_BURST);

	race_publish(stage->race, &stage->scene.segment, &terms);
}

/* Asks while it is closed, unless this process is held up until it opens; whether it asked. */
static bool ask_while_closed(const struct race_stage *stage)
{
	struct weir_answer answer;
	enum weir_verdict verdict = weir_acquire(stage->self.api, 1, &answer);

	if (segment_now(&stage->scene.segment) >= (gate_load(stage->self.view.bucket) & GATE_UNTIL))
		return false;
	assert_int_equal(verdict, WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_CLOSED);
	return true;
}

/* One closure, from behind the call that closes: it ends by itself, or is ended. */
static struct race_entry close_once(struct race_stage *stage, uint64_t *random, unsigned *asked)
{
	const struct segment *segment = &stage->scene.segment;
	const struct bucket *bucket = stage->self.view.bucket;
	uint64_t draw = scene_random(random);
	struct race_entry shut = {0};
	struct line line;

	assert_int_equal(weir_gate_close(stage->self.api,
					 (2 + draw % 8) * WEIR_MILLISECOND + draw % 1000000),
			 0);
	shut.from = race_v(&stage->self);
	*asked += ask_while_closed(stage);
	if (draw >> 63) {
		scene_sleep_ms(2);
		assert_int_equal(weir_gate_open(stage->self.api), 0);
	}
	while (segment_now(segment) < (gate_load(bucket) & GATE_UNTIL))
		scene_sleep_ms(1);
	line_read(stage->self.view.row, &segment->time, &line);
	shut.to = line_value(&line, gate_load(bucket) & GATE_UNTIL);
	/* over before it was looked at: it says nothing */
	if ((int64_t)(shut.to - shut.from) < 0)
		shut.to = shut.from;
	shut.units = shut.to - shut.from;
	return shut;
}

/* No call that was made within a closure passed. */
static void check_shut(const struct race_stage *stage, const struct race_entry *shut)
{
	size_t count;
	struct race_entry *draws = RACE_GATHER(stage->race->books, stage->count + 1, draws, &count);

	for (size_t i = 0; i < count; i++)
		for (unsigned j = 0; j < CLOSURES; j++)
			assert_false(draws[i].from > shut[j].from && draws[i].to < shut[j].to);
	free(draws);
}

static void close_and_open(struct race_stage *stage, struct race_entry *shut, uint64_t random)
{
	unsigned asked = 0;

	for (unsigned i = 0; i < CLOSURES; i++) {
		for (unsigned j = 0; j < CHANGES_BETWEEN; j++) {
			publish_small(stage, &random);
			scene_sleep_ms(1);
		}
		shut[i] = close_once(stage, &random, &asked);
	}
	assert_true(asked > 0);
}

static void check_closures(struct race_stage *stage, const struct race_entry *shut)
{
	struct race_account account;
	uint64_t minted = 0;

	for (unsigned i = 0; i < CLOSURES; i++)
		minted += shut[i].units;
	race_check_v(stage);
	race_count(stage, &account);
	check_shut(stage, shut);
	race_check_intervals(stage, shut, CLOSURES, race_units(&stage->self, 1));
	for (size_t i = 0; i < SLEEPERS; i++)
		assert_true(stage->race->books[i].calls > 0);
	printf("%zu processes, %d closures for %.1f tokens: granted %.1f, %llu asked while "
	       "closed\n",
	       stage->count, CLOSURES, (double)minted / (double)race_units(&stage->self, 1),
	       (double)account.taken / (double)race_units(&stage->self, 1),
	       (unsigned long long)RACE_SUM(stage, closed));
}

static void test_closures(void **state)
{
	struct race_entry shut[CLOSURES];
	struct race_stage stage;
	uint64_t random = 99;

	(void)state;
	race_begin(&stage, 4);
	for (unsigned i = 0; i < SLEEPERS; i++)
		race_join(&stage, wait_for_one);
	race_join(&stage, ask);
	race_ready(&stage);
	for (size_t i = 0; i < stage.count; i++)
		stage.race->books[i].grain = 0;
	publish_small(&stage, &random);
	race_go(&stage);
	close_and_open(&stage, shut, random);
	race_end_crew(&stage);
	check_closures(&stage, shut);
	race_end(&stage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sixty_sleepers),
		cmocka_unit_test(test_closures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
