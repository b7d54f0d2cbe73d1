/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads of one process share a handle of an instance that it hosts, while another thread changes
 * the limit every millisecond: publisher and callers in one mapping, where ThreadSanitizer sees
 * both. What the threads were granted is counted to the token, and within what V has minted.
 */
#include <pthread.h>

#include "segment_fixture.h"

#include "audit.h"
#include "handle.h"

enum {
	THREADS = 6,
	CHANGES = 500,
	COST_MAX = 8,
	RATE_MAX = 200000,
	BURST = 1000, /* and half of that at times */
	MOVES_EVERY = 60,
};

struct worker {
	struct weir *weir;
	struct weir_endpoint *api;
	const _Atomic bool *over;
	uint64_t random;
	uint64_t calls; /* granted */
	uint64_t taken; /* tokens */
	uint64_t asked_back;
};

/* ---- what threads do ---- */

static void took(struct worker *worker, unsigned cost)
{
	worker->calls++;
	worker->taken += cost;
}

static void take(struct worker *worker, unsigned cost)
{
	struct weir_answer answer;

	if (weir_acquire(worker->api, cost, &answer) == WEIR_ADMIT)
		took(worker, cost);
	CHILD_CHECK(answer.fault == 0);
}

static void sleep_for(struct worker *worker, unsigned cost)
{
	if (weir_wait(worker->api, cost, WEIR_MILLISECOND, NULL) == WEIR_ADMIT)
		took(worker, cost);
}

static void reserve(struct worker *worker, unsigned cost)
{
	uint64_t ahead = scene_random(&worker->random) % (2 * WEIR_MILLISECOND);
	struct weir_reservation place;

	if (weir_reserve(worker->api, cost, ahead, &place, NULL) != WEIR_ADMIT)
		return;
	took(worker, cost);
	if (scene_random(&worker->random) % 2 &&
	    weir_reservation_wait(worker->api, &place, ahead, NULL) == WEIR_ADMIT) {
		CHILD_CHECK(weir_settle(worker->api, &place, cost / 2) == 0);
		worker->asked_back += cost - cost / 2;
	} else {
		CHILD_CHECK(weir_cancel(worker->api, &place, NULL) == 0);
		worker->asked_back += cost;
	}
}

static void look(struct worker *worker)
{
	struct weir_level level = {.size = sizeof(level)};
	struct weir_endpoint *again;

	CHILD_CHECK(weir_peek(worker->api, &level) == 0);
	CHILD_CHECK(level.level <= 1.5 * BURST);
	CHILD_CHECK(weir_endpoint(worker->weir, "api", &again) == 0);
	weir_endpoint_close(again);
}

static void *work(void *context)
{
	static void (*const deeds[])(struct worker *, unsigned) = {take, take, sleep_for, reserve};
	struct worker *worker = context;

	while (!atomic_load_explicit(worker->over, memory_order_relaxed)) {
		uint64_t draw = scene_random(&worker->random);

		if (draw % 64 == 0)
			look(worker);
		else
			deeds[draw % 4](worker, 1 + (unsigned)(draw >> 32) % COST_MAX);
	}
	return NULL;
}

/* ---- what happens to the limit ---- */

static void change_rate(struct weir *weir, uint64_t *random)
{
	uint64_t draw = scene_random(random);
	char rate[24];

	snprintf(rate, sizeof(rate), "%llu/s",
		 (unsigned long long)(RATE_MAX / 16 + draw % (RATE_MAX / 16 * 15)));
	assert_int_equal(
		weir_update(weir, "api", rate, draw >> 62 ? "1000" : "500", WEIR_KEEP_USED), 0);
}

/* All else that happens to a limit too: closures, resets, and rates that need another unit. */
static void change_anything(struct weir *weir, struct weir_endpoint *api, unsigned round,
			    uint64_t *random)
{
	change_rate(weir, random);
	if (round % 5 == 1)
		assert_int_equal(weir_gate_close(api, WEIR_MILLISECOND), 0);
	if (round % 10 == 3)
		assert_int_equal(weir_gate_open(api), 0);
	if (round % 7 == 0)
		assert_int_equal(weir_reset(weir, "api"), 0);
	if (round % MOVES_EVERY == 0)
		assert_int_equal(weir_update(weir, "api", "1/d", NULL, WEIR_KEEP_USED), 0);
}

/* ---- the whole ---- */

struct stage {
	struct weir *weir;
	struct weir_endpoint *api;
	_Atomic bool over;
	uint64_t from_v; /* V before anybody drew */
	struct worker workers[THREADS];
	pthread_t threads[THREADS];
};

static uint64_t value(const struct stage *stage)
{
	const struct binding *binding = endpoint_binding(stage->api);
	struct line line;
	uint64_t now = line_read(binding->row, &binding->time, &line);

	return line_value(&line, now);
}

static void begin(struct stage *stage)
{
	static const char ini[] = "[weir]\nendpoints = 64\n[endpoint api]\nrate = 200000/s\n"
				  "burst = 1000\n";

	*stage = (struct stage){.weir = NULL};
	assert_int_equal(weir_host(&stage->weir, ini, WEIR_CLOCK_BEST, NULL, NULL, 0), 0);
	stage->api = scene_endpoint(stage->weir, "api");
	assert_int_equal(weir_acquire(stage->api, 1, NULL), WEIR_ADMIT);
	stage->from_v = value(stage);
	for (unsigned i = 0; i < THREADS; i++) {
		stage->workers[i] = (struct worker){
			.weir = stage->weir,
			.api = stage->api,
			.over = &stage->over,
			.random = 0x9e3779b97f4a7c15ull * (i + 1),
		};
		assert_int_equal(pthread_create(&stage->threads[i], NULL, work, &stage->workers[i]),
				 0);
	}
}

/* Ends the threads; what they know and what the tallies say is the same. */
static struct worker finish(struct stage *stage, struct weir_level *level)
{
	struct worker sum = {.calls = 1, .taken = 1};

	atomic_store(&stage->over, true);
	for (unsigned i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(stage->threads[i], NULL), 0);
		sum.calls += stage->workers[i].calls;
		sum.taken += stage->workers[i].taken;
		sum.asked_back += stage->workers[i].asked_back;
	}
	*level = (struct weir_level){.size = sizeof(*level)};
	assert_int_equal(weir_peek(stage->api, level), 0);
	assert_int_equal(level->granted, sum.calls);
	assert_true(level->granted_tokens == (double)sum.taken);
	assert_true(level->returned_tokens <= (double)sum.asked_back);
	assert_int_equal(audit_segment(&atomic_load(&stage->weir->current)->segment, NULL, NULL),
			 0);
	return sum;
}

static void end(struct stage *stage)
{
	weir_endpoint_close(stage->api);
	weir_close(stage->weir);
}

static void test_rates(void **state)
{
	uint64_t random = 42;
	struct weir_level level;
	struct stage stage;

	(void)state;
	begin(&stage);

	const struct rule_row *row = endpoint_binding(stage.api)->row;

	for (unsigned i = 0; i < CHANGES; i++) {
		scene_sleep_ms(1);
		change_rate(stage.weir, &random);
	}

	struct worker sum = finish(&stage, &level);
	double minted = (double)(value(&stage) - stage.from_v) * level.unit;
	/* places that were cancelled in the middle of the line have not passed yet */
	double ahead = level.level < 0 ? -level.level : 0;

	assert_ptr_equal(endpoint_binding(stage.api)->row, row);
	printf("%d threads, %d rates: granted %llu tokens, %.1f went back, of %.1f minted\n",
	       THREADS, CHANGES, (unsigned long long)sum.taken, level.returned_tokens, minted);
	assert_true((double)sum.taken - level.returned_tokens <= BURST + minted + ahead);
	end(&stage);
}

static void test_anything(void **state)
{
	uint64_t random = 43;
	struct weir_level level;
	struct stage stage;

	(void)state;
	begin(&stage);
	for (unsigned i = 0; i < CHANGES; i++) {
		scene_sleep_ms(1);
		change_anything(stage.weir, stage.api, i, &random);
	}

	struct worker sum = finish(&stage, &level);

	printf("%d threads, %d changes: granted %llu tokens, %.1f went back\n", THREADS, CHANGES,
	       (unsigned long long)sum.taken, level.returned_tokens);
	assert_true(sum.calls > CHANGES);
	end(&stage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rates),
		cmocka_unit_test(test_anything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
