/* SPDX-License-Identifier: Apache-2.0
 *
 * Processes with threads race for keys that all have the same sixteen slots. While time stands
 * still each key is granted its burst to a token, whoever inserts it; then time goes on, all
 * buckets become full, and other keys take over their slots. And while time passes in small steps
 * no key is granted more than its burst and what was minted.
 */
#include <pthread.h>

#include "segment_fixture.h"

#include "handle.h"

enum {
	PROCESSES = 4,
	THREADS = 2,
	EPOCHS = 400,
	AT_ONCE = 12, /* keys in debt: fewer than there are slots, so that none is evicted */
	KEYS = 60,
	BURST = 5,
	STEPS = 2000,
};

/* What all processes count, and where they wait for each other. */
struct ring {
	_Atomic uint32_t granted[KEYS];
	_Atomic uint32_t failed;
	_Atomic uint32_t arrived;
	_Atomic uint32_t epoch;
	_Atomic uint32_t stop;
};

struct job {
	struct ring *ring;
	struct weir_endpoint *rule;
	unsigned number;
};

static void count(_Atomic uint32_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_seq_cst);
}

static bool draw(struct job *job, unsigned key)
{
	struct weir_answer answer;
	char name[16];
	int bytes = snprintf(name, sizeof(name), "k%u", key);

	if (weir_acquire_key(job->rule, name, (size_t)bytes, 1, &answer) == WEIR_ADMIT) {
		count(&job->ring->granted[key]);
		return true;
	}
	if (answer.fault)
		count(&job->ring->failed);
	return false;
}

/* All keys of the epoch until each refuses, in an order of its own. */
static void draw_epoch(struct job *job, uint32_t epoch)
{
	for (unsigned i = 0; i < AT_ONCE; i++) {
		unsigned key = (epoch * 7 + (i * 5 + job->number) % AT_ONCE) % KEYS;

		while (draw(job, key))
			;
	}
}

static bool wait_epoch(struct ring *ring, uint32_t epoch)
{
	for (unsigned i = 0; i < SCENE_PATIENCE_MS * 10; i++) {
		if (atomic_load_explicit(&ring->epoch, memory_order_seq_cst) == epoch)
			return true;
		usleep(100);
	}
	return false;
}

static void *epochs(void *context)
{
	struct job *job = context;

	for (uint32_t epoch = 1; epoch <= EPOCHS; epoch++) {
		if (!wait_epoch(job->ring, epoch)) {
			count(&job->ring->failed);
			break;
		}
		draw_epoch(job, epoch);
		count(&job->ring->arrived);
	}
	return NULL;
}

/*
 * Three keys for a while, then three others: with those of before, and one of each thread that was
 * held up, there is always other room than a debt.
 */
static void *steps(void *context)
{
	struct job *job = context;

	for (unsigned i = job->number;
	     !atomic_load_explicit(&job->ring->stop, memory_order_seq_cst); i++)
		draw(job, atomic_load_explicit(&job->ring->epoch, memory_order_seq_cst) % 20 * 3 +
				  i % 3);
	return NULL;
}

/* In a child: threads that share a handle. Returns the exit status. */
static int crew(struct ring *ring, const struct place *place, unsigned number,
		void *(*role)(void *context))
{
	struct weir *weir = scene_open(place);
	struct weir_endpoint *rule = scene_endpoint(weir, "c/*");
	struct job jobs[THREADS];
	pthread_t threads[THREADS];

	if (!rule)
		return 1;
	for (unsigned i = 0; i < THREADS; i++) {
		jobs[i] = (struct job){ring, rule, number * THREADS + i};
		if (pthread_create(&threads[i], NULL, role, &jobs[i]) != 0)
			return 2;
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	weir_endpoint_close(rule);
	weir_close(weir);
	return 0;
}

struct race {
	struct scene scene;
	struct ring *ring;
	pid_t crew[PROCESSES];
	struct weir *weir;
	struct weir_endpoint *rule;
};

static void race_begin(struct race *race, void *(*role)(void *context))
{
	struct segment_shape shape = scene_shape;
	struct rule rule = scene_rule(ROW_EACH, "c/*", 1000, BURST);

	shape.tables = 1;
	shape.bins = keyed_bins(8);
	rule.keys = 8;
	race->ring = mmap(NULL, sizeof(*race->ring), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(race->ring != MAP_FAILED);
	scene_begin(&race->scene, &shape);
	assert_true(rules_add(&race->scene.segment, &rule) >= 0);
	for (unsigned i = 0; i < PROCESSES; i++) {
		race->crew[i] = fork();
		assert_true(race->crew[i] >= 0);
		if (race->crew[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			_exit(crew(race->ring, &race->scene.place, i, role));
		}
	}
	race->weir = scene_open(&race->scene.place);
	race->rule = scene_endpoint(race->weir, "c/*");
	assert_non_null(race->rule);
}

static void race_end(struct race *race)
{
	const struct binding *binding = endpoint_binding(race->rule);
	struct keyed_census census;
	struct line line;
	int status;

	for (unsigned i = 0; i < PROCESSES; i++) {
		assert_int_equal(waitpid(race->crew[i], &status, 0), race->crew[i]);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
	uint64_t now = line_read(binding->row, &binding->time, &line);

	keyed_count(&binding->keyed, &line, now, &census);
	assert_int_equal(census.slots, 16);
	assert_int_equal(census.evicted, 0);
	assert_int_equal(census.inserting, 0);
	assert_int_equal(race->ring->failed, 0);
	printf("%llu insertions begun\n", (unsigned long long)census.inserted);
	weir_endpoint_close(race->rule);
	weir_close(race->weir);
	scene_end(&race->scene);
	munmap(race->ring, sizeof(*race->ring));
}

static void wait_arrived(struct ring *ring, uint32_t number)
{
	for (unsigned i = 0; i < SCENE_PATIENCE_MS * 10; i++) {
		if (atomic_load_explicit(&ring->arrived, memory_order_seq_cst) == number)
			return;
		usleep(100);
	}
	fail_msg("not all arrived");
}

static void each_key_is_granted_its_burst(void **state)
{
	struct race race;

	(void)state;
	race_begin(&race, epochs);
	for (uint32_t epoch = 1; epoch <= EPOCHS; epoch++) {
		memset((void *)race.ring->granted, 0, sizeof(race.ring->granted));
		atomic_store_explicit(&race.ring->epoch, epoch, memory_order_seq_cst);
		wait_arrived(race.ring, epoch * PROCESSES * THREADS);
		for (unsigned i = 0; i < AT_ONCE; i++)
			assert_int_equal(race.ring->granted[(epoch * 7 + i) % KEYS], BURST);
		/* everybody is full again */
		assert_int_equal(weir_clock_advance(race.weir, WEIR_SECOND), 0);
	}
	race_end(&race);
}

static void none_is_granted_more_than_is_minted(void **state)
{
	struct race race;
	uint64_t minted = 0;

	(void)state;
	race_begin(&race, steps);
	for (unsigned i = 0; i < STEPS; i++) {
		/* a token each */
		assert_int_equal(weir_clock_advance(race.weir, WEIR_MILLISECOND), 0);
		minted++;
		atomic_store_explicit(&race.ring->epoch, i / 20, memory_order_seq_cst);
		usleep(200);
	}
	atomic_store_explicit(&race.ring->stop, 1, memory_order_seq_cst);
	for (unsigned i = 0; i < KEYS; i++)
		assert_true(race.ring->granted[i] <= BURST + minted);
	race_end(&race);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_key_is_granted_its_burst),
		cmocka_unit_test(none_is_granted_more_than_is_minted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
