/* SPDX-License-Identifier: Apache-2.0
 *
 * Clients whose pair was retired: they follow the next one by themselves, whatever they call, and
 * hold to the limits they know while there is none.
 */
#include "segment_fixture.h"

#include <pthread.h>

#include "handle.h"
#include "members.h"
#include "move.h"

/* Every thread that calls through the handle may be the one that tells. */
struct witness {
	_Atomic unsigned reattached;
	_Atomic unsigned faults;
	_Atomic uint32_t closed;
};

static void see(void *context, const struct weir_event *event)
{
	struct witness *witness = context;

	witness->reattached += event->kind == WEIR_EVENT_REATTACH;
	witness->faults += event->kind == WEIR_EVENT_FAULT;
	witness->closed += event->kind == WEIR_EVENT_CLOSED;
}

struct stage {
	struct scene scene;
	struct weir *weir;
	struct weir_endpoint *endpoint;
	struct witness witness;
};

static void stage_begin_shaped(struct stage *stage, const struct segment_shape *shape)
{
	*stage = (struct stage){.weir = NULL};
	scene_begin(&stage->scene, shape);

	struct weir_options options = scene_options(&stage->scene.place);

	options.trace = see;
	options.trace_context = &stage->witness;
	assert_int_equal(weir_open(&stage->weir, &options), 0);
	stage->endpoint = scene_endpoint(stage->weir, "x");
	assert_non_null(stage->endpoint);
}

static void stage_begin(struct stage *stage)
{
	stage_begin_shaped(stage, &scene_shape);
}

static void stage_end(struct stage *stage)
{
	weir_endpoint_close(stage->endpoint);
	weir_close(stage->weir);
	scene_end(&stage->scene);
}

/* Replaces the pair; the old one is returned, for who wants to look at it. */
static struct segment succeed(struct scene *scene, const struct segment_shape *shape)
{
	struct segment old = scene->segment;
	struct segment next;

	assert_int_equal(segment_create(&next, &scene->place, shape), 0);
	assert_int_equal(move_prepare(&old, &next, NULL), 0);
	assert_int_equal(segment_reveal(&next, &scene->place), 0);
	move_retire(&old);
	assert_int_equal(move_finish(&next, &old), 0);
	move_carry(&next, &old);
	segment_forget_old(&scene->place);
	scene->segment = next;
	return old;
}

static void replace(struct scene *scene, const struct segment_shape *shape)
{
	struct segment old = succeed(scene, shape);

	segment_detach(&old);
}

static unsigned alive_in(const struct segment *segment)
{
	unsigned alive = 0;

	for (uint32_t i = 0; i < segment->member_count; i++)
		alive += members_alive(segment, i);
	return alive;
}

static void test_reattach_is_reported(void **state)
{
	struct stage stage;

	(void)state;
	stage_begin(&stage);
	assert_int_equal(weir_acquire(stage.endpoint, 4, NULL), WEIR_ADMIT);
	struct segment old = succeed(&stage.scene, &scene_shape);

	assert_int_equal(stage.witness.reattached, 0);
	assert_int_equal(scene_drain(stage.endpoint), 6);
	assert_int_equal(stage.witness.reattached, 1);
	assert_int_equal(stage.witness.faults, 0);
	/* it has left the one and joined the other */
	assert_int_equal(alive_in(&old), 0);
	assert_int_equal(alive_in(&stage.scene.segment), 1);
	segment_detach(&old);
	stage_end(&stage);
}

/* Every call follows by itself. */
enum call {
	CALL_ACQUIRE,
	CALL_WAIT,
	CALL_RESERVE,
	CALL_RESERVATION_WAIT,
	CALL_CANCEL,
	CALL_SETTLE,
	CALL_PEEK,
	CALL_CLOSE,
	CALL_OPEN,
	CALL_ENDPOINT,
	CALLS,
};

static void call_make(struct stage *stage, enum call call, struct weir_reservation *place)
{
	struct weir_endpoint *endpoint = stage->endpoint;
	struct weir_level level = {.size = sizeof(level)};
	struct weir_answer answer = {.fault = 0};

	switch (call) {
	case CALL_ACQUIRE:
		assert_int_equal(weir_acquire(endpoint, 1, &answer), WEIR_ADMIT);
		break;
	case CALL_WAIT:
		assert_int_equal(weir_wait(endpoint, 1, 0, &answer), WEIR_ADMIT);
		break;
	case CALL_RESERVE:
		assert_int_equal(weir_reserve(endpoint, 1, 0, place, &answer), WEIR_ADMIT);
		break;
	case CALL_RESERVATION_WAIT:
		assert_int_equal(weir_reservation_wait(endpoint, place, 0, &answer), WEIR_ADMIT);
		break;
	case CALL_CANCEL:
		assert_int_equal(weir_cancel(endpoint, place, NULL), 0);
		break;
	case CALL_SETTLE:
		assert_int_equal(weir_settle(endpoint, place, 3), 0);
		break;
	case CALL_PEEK:
		assert_int_equal(weir_peek(endpoint, &level), 0);
		break;
	case CALL_CLOSE:
		assert_int_equal(weir_gate_close(endpoint, SCENE_SECOND), 0);
		break;
	case CALL_OPEN:
		assert_int_equal(weir_gate_open(endpoint), 0);
		break;
	case CALL_ENDPOINT:
		endpoint = scene_endpoint(stage->weir, "another");
		assert_non_null(endpoint);
		weir_endpoint_close(endpoint);
		break;
	case CALLS:
		break;
	}
	assert_int_equal(answer.fault, 0);
}

static double expected_level(enum call call)
{
	switch (call) {
	case CALL_ACQUIRE:
	case CALL_WAIT:
	case CALL_RESERVE:
		return 7;
	case CALL_CANCEL:
		return 10;
	default:
		return call == CALL_SETTLE ? 7 : 8;
	}
}

static void test_every_call_follows(void **state)
{
	(void)state;
	for (int call = 0; call < CALLS; call++) {
		struct stage stage;
		struct weir_reservation place;
		struct weir_level level = {.size = sizeof(level)};

		stage_begin(&stage);
		assert_int_equal(weir_reserve(stage.endpoint, 2, 0, &place, NULL), WEIR_ADMIT);
		replace(&stage.scene, &scene_shape);
		call_make(&stage, (enum call)call, &place);
		assert_int_equal(stage.witness.reattached, 1);
		assert_int_equal(weir_peek(stage.endpoint, &level), 0);
		assert_near(level.level, expected_level((enum call)call));
		stage_end(&stage);
	}
}

/* Retired, and nothing in its place: the limits go on holding. */
static void test_no_successor_yet(void **state)
{
	struct stage stage;
	struct segment old;

	(void)state;
	stage_begin(&stage);
	assert_int_equal(weir_acquire(stage.endpoint, 4, NULL), WEIR_ADMIT);
	move_retire(&stage.scene.segment);
	assert_int_equal(segment_remove(&stage.scene.place), 0);
	assert_int_equal(scene_drain(stage.endpoint), 6);
	time_source_advance(&stage.scene.segment.time, SCENE_SECOND / 2);
	assert_int_equal(scene_drain(stage.endpoint), 5);
	assert_int_equal(stage.witness.reattached, 0);
	assert_int_equal(stage.witness.faults, 0);

	/* a new daemon begins anew; it is found before long */
	old = stage.scene.segment;
	assert_int_equal(segment_create(&stage.scene.segment, &stage.scene.place, &scene_shape), 0);
	scene_add(&stage.scene.segment, ROW_DEFAULT, "*", 10, 20);
	assert_int_equal(segment_reveal(&stage.scene.segment, &stage.scene.place), 0);
	for (unsigned ms = 0; ms < SCENE_PATIENCE_MS && !stage.witness.reattached; ms++) {
		weir_acquire(stage.endpoint, 0.5, NULL);
		scene_sleep_ms(1);
	}
	assert_int_equal(stage.witness.reattached, 1);
	segment_detach(&old);
	stage_end(&stage);
}

/* Several replacements between two calls. */
static void test_far_behind(void **state)
{
	struct stage stage;
	struct weir_level level = {.size = sizeof(level)};

	(void)state;
	stage_begin(&stage);
	assert_int_equal(weir_acquire(stage.endpoint, 4, NULL), WEIR_ADMIT);
	for (int i = 0; i < 5; i++)
		replace(&stage.scene, &scene_shape);
	assert_int_equal(scene_drain(stage.endpoint), 6);
	assert_int_equal(stage.witness.reattached, 1);
	assert_int_equal(weir_peek(stage.endpoint, &level), 0);
	assert_int_equal(level.granted, 7);
	stage_end(&stage);
}

/* A successor whose table of members is full: followed all the same, unlisted. */
static void test_no_slot_in_successor(void **state)
{
	struct segment_shape one = scene_shape;
	struct stage stage;
	struct segment guest;

	(void)state;
	one.members = 1;
	stage_begin(&stage);
	assert_int_equal(weir_acquire(stage.endpoint, 4, NULL), WEIR_ADMIT);
	replace(&stage.scene, &one);
	assert_int_equal(segment_attach(&guest, &stage.scene.place, SEGMENT_USE, (uid_t)-1), 0);
	assert_int_equal(members_join(&guest), 0);
	assert_int_equal(scene_drain(stage.endpoint), 6);
	assert_int_equal(stage.witness.reattached, 1);
	assert_int_equal(stage.witness.faults, 0);
	segment_detach(&guest);
	stage_end(&stage);
}

/* ---- sleepers ---- */

struct sleeper {
	struct weir *weir;
	double cost;
	_Atomic uint32_t over;
	_Atomic pid_t tid;
	enum weir_verdict verdict;
	struct weir_answer answer;
};

static void *sleep_in_line(void *context)
{
	struct sleeper *sleeper = context;
	struct weir_endpoint *endpoint = scene_endpoint(sleeper->weir, "x");

	atomic_store(&sleeper->tid, gettid());
	sleeper->verdict = weir_wait(endpoint, sleeper->cost, WEIR_FOREVER, &sleeper->answer);
	weir_endpoint_close(endpoint);
	atomic_store(&sleeper->over, 1);
	return NULL;
}

/* Waits until so many tokens are spoken for. */
static void until_level(struct weir_endpoint *endpoint, double level)
{
	struct weir_level found = {.size = sizeof(found)};

	for (unsigned ms = 0; ms < SCENE_PATIENCE_MS; ms++) {
		assert_int_equal(weir_peek(endpoint, &found), 0);
		if (found.level <= level)
			return;
		scene_sleep_ms(1);
	}
	fail_msg("the level stays at %g", found.level);
}

static void sleep_over_a_switch(bool gated)
{
	struct stage stage;
	struct sleeper sleeper = {.cost = 5};
	pthread_t thread;

	stage_begin(&stage);
	sleeper.weir = stage.weir;
	assert_int_equal(scene_drain(stage.endpoint), 10);
	if (gated)
		assert_int_equal(weir_gate_close(stage.endpoint, SCENE_SECOND), 0);
	assert_int_equal(pthread_create(&thread, NULL, sleep_in_line, &sleeper), 0);
	if (!gated)
		until_level(stage.endpoint, -5);
	scene_sleep_ms(5);
	replace(&stage.scene, &scene_shape);
	scene_sleep_ms(5);
	assert_int_equal(atomic_load(&sleeper.over), 0);
	/* half a second of tokens, behind the closure if there is one: not before, and then */
	time_source_advance(&stage.scene.segment.time,
			    SCENE_SECOND / 2 - 1 + (gated ? SCENE_SECOND : 0));
	scene_sleep_ms(5);
	assert_int_equal(atomic_load(&sleeper.over), 0);
	time_source_advance(&stage.scene.segment.time, gated ? 65536 : 1);
	assert_true(scene_until(&sleeper.over, 1));
	pthread_join(thread, NULL);
	assert_int_equal(sleeper.verdict, WEIR_ADMIT);
	assert_int_equal(sleeper.answer.fault, 0);
	assert_int_equal(stage.witness.reattached, 1);
	stage_end(&stage);
}

/*
 * Who sleeps behind a closed gate, by a clock that runs: the gate moves, and is opened early where
 * it is now. A sleep nobody ends lasts a minute, so this does not wait as long.
 */
static void test_sleeper_behind_gate_is_woken(void **state)
{
	struct segment_shape shape = scene_shape;
	struct stage stage = {.weir = NULL};
	struct sleeper sleeper = {.cost = 1};
	pthread_t thread;

	(void)state;
	shape.clock = CLOCK_KIND_MONOTONIC;
	stage_begin_shaped(&stage, &shape);
	sleeper.weir = stage.weir;
	assert_int_equal(weir_acquire(stage.endpoint, 10, NULL), WEIR_ADMIT);
	assert_int_equal(weir_gate_close(stage.endpoint, 3600 * SCENE_SECOND), 0);
	assert_int_equal(pthread_create(&thread, NULL, sleep_in_line, &sleeper), 0);
	scene_sleep_ms(50);
	replace(&stage.scene, &shape);
	/* its mark and gate move with the first call on the new pair */
	assert_int_equal(weir_acquire(stage.endpoint, 1, NULL), WEIR_REFUSE);
	scene_sleep_ms(50);
	assert_int_equal(atomic_load(&sleeper.over), 0);
	assert_int_equal(weir_gate_open(stage.endpoint), 0);
	for (unsigned ms = 0; ms < 20000 && !atomic_load(&sleeper.over); ms++)
		scene_sleep_ms(1);
	assert_int_equal(atomic_load(&sleeper.over), 1);
	pthread_join(thread, NULL);
	assert_int_equal(sleeper.verdict, WEIR_ADMIT);
	stage_end(&stage);
}

static void test_sleepers_follow(void **state)
{
	(void)state;
	sleep_over_a_switch(false);
	sleep_over_a_switch(true);
}

static bool is_asleep(const struct sleeper *sleeper)
{
	char path[64];
	char state = 0;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)atomic_load(&sleeper->tid));

	FILE *file = fopen(path, "re");

	if (!file)
		return false;
	if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
		state = 0;
	fclose(file);
	return state == 'S';
}

/* It may look around now and then; who spins is never asleep. */
static void assert_sleeps(const struct sleeper *sleeper)
{
	unsigned asleep = 0;
	unsigned ms = 0;

	while (!is_asleep(sleeper) && ms++ < SCENE_PATIENCE_MS)
		scene_sleep_ms(1);
	for (int i = 0; i < 50; i++) {
		asleep += is_asleep(sleeper);
		scene_sleep_ms(1);
	}
	assert_true(asleep > 25);
}

/* Retired under a sleeper, and nothing in its place: it sleeps on, and its time comes. */
static void sleep_on_without_successor(bool gated)
{
	struct stage stage;
	struct sleeper sleeper = {.cost = 5};
	pthread_t thread;

	stage_begin(&stage);
	sleeper.weir = stage.weir;
	assert_int_equal(scene_drain(stage.endpoint), 10);
	if (gated)
		assert_int_equal(weir_gate_close(stage.endpoint, SCENE_SECOND), 0);
	assert_int_equal(pthread_create(&thread, NULL, sleep_in_line, &sleeper), 0);
	if (!gated)
		until_level(stage.endpoint, -5);
	else
		assert_true(scene_until(&stage.witness.closed, 1));
	move_retire(&stage.scene.segment);
	assert_int_equal(segment_remove(&stage.scene.place), 0);
	assert_sleeps(&sleeper);
	assert_int_equal(atomic_load(&sleeper.over), 0);
	time_source_advance(&stage.scene.segment.time, 2 * SCENE_SECOND);
	assert_true(scene_until(&sleeper.over, 1));
	pthread_join(thread, NULL);
	assert_int_equal(sleeper.verdict, WEIR_ADMIT);
	assert_int_equal(sleeper.answer.fault, 0);
	stage_end(&stage);
}

static void test_sleepers_of_a_removed_pair(void **state)
{
	(void)state;
	sleep_on_without_successor(false);
	sleep_on_without_successor(true);
}

/* A deadline that has passed is noticed in a retired pair as well. */
static void test_late_in_a_removed_pair(void **state)
{
	struct weir_reservation place;
	struct stage stage;

	(void)state;
	stage_begin(&stage);
	assert_int_equal(scene_drain(stage.endpoint), 10);
	assert_int_equal(weir_reserve(stage.endpoint, 5, WEIR_FOREVER, &place, NULL), WEIR_ADMIT);
	move_retire(&stage.scene.segment);
	assert_int_equal(segment_remove(&stage.scene.place), 0);
	assert_int_equal(weir_reservation_wait(stage.endpoint, &place, 0, NULL), WEIR_REFUSE);
	time_source_advance(&stage.scene.segment.time, SCENE_SECOND);
	assert_int_equal(weir_reservation_wait(stage.endpoint, &place, 0, NULL), WEIR_ADMIT);
	stage_end(&stage);
}

/* ---- many threads ---- */

struct crowd {
	struct weir *weir;
	_Atomic uint32_t over;
	_Atomic uint64_t granted;
	_Atomic uint32_t faults;
};

static void *draw_on(void *context)
{
	struct crowd *crowd = context;
	bool last;

	do {
		last = atomic_load(&crowd->over);
		struct weir_endpoint *endpoint = scene_endpoint(crowd->weir, "x");
		struct weir_answer answer;

		for (int i = 0; i < 3; i++) {
			if (weir_acquire(endpoint, 1, &answer) == WEIR_ADMIT)
				atomic_fetch_add(&crowd->granted, 1);
			if (answer.fault)
				atomic_fetch_add(&crowd->faults, 1);
		}
		weir_endpoint_close(endpoint);
	} while (!last);
	return NULL;
}

/* Threads of one handle, in the middle of calls while pair after pair is replaced. */
static void test_threads_follow(void **state)
{
	struct stage stage;
	struct crowd crowd = {.granted = 0};
	pthread_t threads[3];

	(void)state;
	stage_begin(&stage);
	crowd.weir = stage.weir;
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, draw_on, &crowd), 0);
	for (int i = 0; i < 20; i++) {
		replace(&stage.scene, &scene_shape);
		time_source_advance(&stage.scene.segment.time, SCENE_SECOND / 10);
		scene_sleep_ms(1);
	}
	atomic_store(&crowd.over, 1);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	atomic_fetch_add(&crowd.granted, scene_drain(stage.endpoint));
	/* ten at the start and one a tenth of a second, twenty times; at most ten at once */
	assert_in_range(atomic_load(&crowd.granted), 10, 30);
	assert_int_equal(atomic_load(&crowd.faults), 0);
	stage_end(&stage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reattach_is_reported),
		cmocka_unit_test(test_every_call_follows),
		cmocka_unit_test(test_no_successor_yet),
		cmocka_unit_test(test_far_behind),
		cmocka_unit_test(test_no_slot_in_successor),
		cmocka_unit_test(test_sleepers_follow),
		cmocka_unit_test(test_sleeper_behind_gate_is_woken),
		cmocka_unit_test(test_late_in_a_removed_pair),
		cmocka_unit_test(test_sleepers_of_a_removed_pair),
		cmocka_unit_test(test_threads_follow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
