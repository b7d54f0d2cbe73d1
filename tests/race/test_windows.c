/* SPDX-License-Identifier: Apache-2.0
 *
 * Windows under contention, on the machine's own clock: processes with threads draw, reserve and
 * cancel, wait, and are killed, while windows of some milliseconds come and go. Every grant is
 * written down with the time before it and after it, and no window has let more pass than its
 * quota.
 */
#include "segment_fixture.h"

#include <pthread.h>

#include "handle.h"
#include "weir.h"

enum {
	QUOTA = 40,
	PROCESSES = 3,
	THREADS = 2,
	RUN_MS = 600,
	KILLED_AFTER_MS = 150,
	GRANTS = 1 << 16,
};

#define WINDOW_NS 20000000ull

struct grant {
	_Atomic uint64_t before; /* ticks; 0: not there */
	_Atomic uint64_t after;
};

/* What the processes share. */
struct shared {
	_Atomic uint32_t stop;
	_Atomic uint32_t count;
	_Atomic uint32_t faults;
	struct grant grants[GRANTS];
};

struct race {
	struct shared *shared;
	struct weir *weir;
	struct weir_endpoint *api;
};

static const struct segment *segment_of(const struct race *race)
{
	return &endpoint_binding(race->api)->attachment->segment;
}

static void write_down(const struct race *race, uint64_t before)
{
	uint32_t index = atomic_fetch_add(&race->shared->count, 1);

	if (index >= GRANTS)
		return;
	atomic_store(&race->shared->grants[index].after, segment_now(segment_of(race)));
	atomic_store(&race->shared->grants[index].before, before);
}

static void draw_once(const struct race *race, uint64_t random)
{
	struct weir_reservation place;
	struct weir_answer answer = {0};
	uint64_t before = segment_now(segment_of(race));

	switch (random % 16) {
	case 0: /* taken, and given back */
		if (weir_reserve(race->api, 1, 0, &place, &answer) == WEIR_ADMIT)
			weir_cancel(race->api, &place, NULL);
		break;
	case 1: /* in a later window; when it is woken is the kernel's business */
		weir_wait(race->api, 1, 2 * WINDOW_NS, &answer);
		break;
	default:
		if (weir_acquire(race->api, 1, &answer) == WEIR_ADMIT)
			write_down(race, before);
	}
	if (answer.fault)
		atomic_fetch_add(&race->shared->faults, 1);
}

static void *draw(void *context)
{
	const struct race *race = context;
	uint64_t random = segment_now(segment_of(race)) | 1;

	while (!atomic_load(&race->shared->stop)) {
		draw_once(race, scene_random(&random) >> 32);
		/* some calls a window are enough; the rest of the machine has work to do */
		scene_sleep_ms(random % 8 == 0);
	}
	return NULL;
}

static int process(void *context)
{
	struct race *race = context;
	struct weir_level level = {.size = sizeof(level)};
	pthread_t threads[THREADS];

	/* the first call makes the child a member */
	CHILD_CHECK(weir_peek(race->api, &level) == 0);
	for (int i = 0; i < THREADS; i++)
		CHILD_CHECK(pthread_create(&threads[i], NULL, draw, race) == 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return 0;
}

static void run(struct race *race, const char *windows)
{
	pid_t children[PROCESSES];
	char ini[200];

	race->shared = scene_shared(sizeof(*race->shared));
	/* QUOTA in each window of 20 ms */
	snprintf(ini, sizeof(ini), "[endpoint api]\nrate = %d/s\nwindow = 20ms %s\n", 50 * QUOTA,
		 windows);
	assert_int_equal(weir_host(&race->weir, ini, WEIR_CLOCK_BEST, NULL, NULL, 0), 0);
	assert_int_equal(weir_endpoint(race->weir, "api", &race->api), 0);
	for (int i = 0; i < PROCESSES; i++)
		children[i] = scene_child(process, race);
	for (unsigned ms = 0; ms < RUN_MS; ms += KILLED_AFTER_MS) {
		int index = (int)(ms / KILLED_AFTER_MS) % PROCESSES;

		scene_sleep_ms(KILLED_AFTER_MS);
		scene_kill(children[index]);
		children[index] = scene_child(process, race);
	}
	atomic_store(&race->shared->stop, 1);
	for (int i = 0; i < PROCESSES; i++)
		assert_int_equal(scene_wait(children[i]), 0);
	assert_int_equal(atomic_load(&race->shared->faults), 0);
}

static void leave(struct race *race)
{
	weir_endpoint_close(race->api);
	weir_close(race->weir);
	munmap(race->shared, sizeof(*race->shared));
}

static int compare(const void *left, const void *right)
{
	uint64_t a = atomic_load(&((const struct grant *)left)->before);
	uint64_t b = atomic_load(&((const struct grant *)right)->before);

	return a < b ? -1 : a > b;
}

/* In the order of time; those whose process died over the writing come first, with a 0. */
static uint32_t sort(struct shared *shared, uint32_t *first)
{
	uint32_t count = atomic_load(&shared->count);

	count = count < GRANTS ? count : GRANTS;
	qsort(shared->grants, count, sizeof(shared->grants[0]), compare);
	for (*first = 0; *first < count && !atomic_load(&shared->grants[*first].before);)
		++*first;
	return count;
}

static struct line line_of(const struct race *race)
{
	const struct binding *binding = endpoint_binding(race->api);
	struct line line;

	line_read(binding->row, &binding->time, &line);
	return line;
}

/* What began and ended in one window is of its quota. */
static void test_aligned(void **state)
{
	struct race race;
	struct line line;
	uint32_t first, count;
	unsigned used = 0, most = 0, windows = 0;
	int64_t present = -1;

	(void)state;
	run(&race, "aligned");
	line = line_of(&race);
	count = sort(race.shared, &first);
	for (uint32_t i = first; i < count; i++) {
		const struct grant *grant = &race.shared->grants[i];
		int64_t begun =
			(int64_t)(grant->before - line.origin_ticks) / (int64_t)line.step_ticks;
		int64_t ended =
			(int64_t)(grant->after - line.origin_ticks) / (int64_t)line.step_ticks;

		if (begun != ended)
			continue;
		windows += begun != present;
		used = begun == present ? used + 1 : 1;
		most = used > most ? used : most;
		present = begun;
	}
	print_message("%u grants in %u windows, at most %u of %d in one\n", count - first, windows,
		      most, QUOTA);
	assert_true(most <= QUOTA);
	assert_true(windows > 1 && most > 0);
	leave(&race);
}

/* Less than a window meets two at most, wherever they begin. */
static void test_first(void **state)
{
	struct race race;
	struct line line;
	uint32_t first, count;
	uint64_t least = UINT64_MAX;
	uint64_t grain;

	(void)state;
	run(&race, "first");
	line = line_of(&race);
	grain = 1ull << line.radix;
	count = sort(race.shared, &first);
	for (uint32_t i = first; i + 2 * QUOTA < count; i++) {
		uint64_t begun = race.shared->grants[i].before;
		uint64_t ended = 0;

		for (uint32_t j = i; j <= i + 2 * QUOTA; j++)
			if (race.shared->grants[j].after > ended)
				ended = race.shared->grants[j].after;
		if (ended - begun < least)
			least = ended - begun;
	}
	print_message("%u grants; %d take %.2f windows at least\n", count - first, 2 * QUOTA + 1,
		      (double)least / (double)line.step_ticks);
	assert_true(count - first > 3 * QUOTA);
	assert_true(least + grain >= line.step_ticks);
	leave(&race);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_aligned),
		cmocka_unit_test(test_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
