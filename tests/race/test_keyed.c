/* SPDX-License-Identifier: Apache-2.0
 *
 * Processes with threads race for keys that all have the same sixteen slots. While time stands
 * still each key is granted its burst to a token, whoever inserts it; then time goes on, all
 * buckets become full, and other keys take over their slots. And while time passes in small steps,
 * or by the machine's clock, no key is granted more than its burst and what was minted.
 *
 * And the table moves to a larger pair, again and again, while they draw, and one of them is
 * killed each time: no key is granted more than its burst, and less only by what the killed one
 * had not counted yet.
 *
 * All of it twice: by processes, which share nothing but the segment, and by the threads of one
 * process, in one mapping, where ThreadSanitizer sees every access of each.
 */
#include <pthread.h>
#include <sys/time.h>

#include "segment_fixture.h"

#include "handle.h"
#include "move.h"

enum {
	PROCESSES = 4,
	THREADS = 2,
	EPOCHS = 400,
	AT_ONCE = 12, /* keys in debt: fewer than there are slots, so that none is evicted */
	KEYS = 60,
	BURST = 5,
	STEPS = 2000,
	MOVES = 80,
};

/* How those who race are kept apart. */
enum form { BY_PROCESSES, BY_THREADS };

/* What all processes count, and where they wait for each other. */
struct ring {
	_Atomic uint32_t granted[KEYS];
	_Atomic uint32_t failed;
	_Atomic uint32_t arrived;
	_Atomic uint32_t epoch;
	_Atomic uint32_t stop;
	uint32_t epochs; /* that there will be; fixed before anybody runs */
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

	for (uint32_t epoch = 1; epoch <= job->ring->epochs; epoch++) {
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

/*
 * The same keys all the time, of 16 bytes and without an answer: the shortest way that a call has.
 * Refused most of the time.
 */
static void *rush(void *context)
{
	struct job *job = context;

	if (!wait_epoch(job->ring, 1))
		count(&job->ring->failed);
	for (unsigned i = job->number;
	     !atomic_load_explicit(&job->ring->stop, memory_order_seq_cst); i++) {
		char name[24];

		snprintf(name, sizeof(name), "sixteen bytes %02u", i % AT_ONCE);
		if (weir_acquire_key(job->rule, name, 16, 1, NULL) == WEIR_ADMIT)
			count(&job->ring->granted[i % AT_ONCE]);
	}
	return NULL;
}

/* Threads that share a handle. */
static bool crew_start(struct job *jobs, pthread_t *threads, unsigned count, void *(*role)(void *))
{
	for (unsigned i = 0; i < count; i++)
		if (pthread_create(&threads[i], NULL, role, &jobs[i]) != 0)
			return false;
	return true;
}

/* In a child. Returns the exit status. */
static int crew(struct ring *ring, const struct place *place, unsigned number,
		void *(*role)(void *context))
{
	struct weir *weir = scene_open(place);
	struct weir_endpoint *rule = scene_endpoint(weir, "c/*");
	struct job jobs[THREADS];
	pthread_t threads[THREADS];

	if (!rule)
		return 1;
	for (unsigned i = 0; i < THREADS; i++)
		jobs[i] = (struct job){ring, rule, number * THREADS + i};
	if (!crew_start(jobs, threads, THREADS, role))
		return 2;
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	weir_endpoint_close(rule);
	weir_close(weir);
	return 0;
}

struct race {
	struct scene scene;
	enum form form;
	struct ring *ring;
	pid_t crew[PROCESSES];
	pthread_t threads[PROCESSES * THREADS];
	struct job jobs[PROCESSES * THREADS];
	struct weir *weir;
	struct weir_endpoint *rule;
	bool killed; /* somebody was: an announcement may be left over */
};

static void start_processes(struct race *race, void *(*role)(void *context))
{
	for (unsigned i = 0; i < PROCESSES; i++) {
		race->crew[i] = fork();
		assert_true(race->crew[i] >= 0);
		if (race->crew[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			_exit(crew(race->ring, &race->scene.place, i, role));
		}
	}
}

static void start_threads(struct race *race, void *(*role)(void *context))
{
	for (unsigned i = 0; i < PROCESSES * THREADS; i++)
		race->jobs[i] = (struct job){race->ring, race->rule, i};
	assert_true(crew_start(race->jobs, race->threads, PROCESSES * THREADS, role));
}

static struct segment_shape shape_for(uint64_t keys)
{
	struct segment_shape shape = scene_shape;

	shape.tables = 1;
	shape.bins = keyed_bins(keys);
	return shape;
}

static struct rule rule_for(uint64_t keys)
{
	struct rule rule = scene_rule(ROW_EACH, "c/*", 1000, BURST);

	rule.keys = keys;
	return rule;
}

static void race_begin_by(enum clock_kind clock, struct race *race, enum form form,
			  void *(*role)(void *context), uint32_t epochs)
{
	struct segment_shape shape = shape_for(8);
	const struct rule rule = rule_for(8);

	shape.clock = clock;
	*race = (struct race){.form = form};
	race->ring = scene_shared(sizeof(*race->ring));
	race->ring->epochs = epochs;
	scene_begin(&race->scene, &shape);
	assert_true(rules_add(&race->scene.segment, &rule) >= 0);
	if (form == BY_PROCESSES)
		start_processes(race, role);
	race->weir = scene_open(&race->scene.place);
	race->rule = scene_endpoint(race->weir, "c/*");
	assert_non_null(race->rule);
	if (form == BY_THREADS)
		start_threads(race, role);
}

static void race_begin(struct race *race, enum form form, void *(*role)(void *context),
		       uint32_t epochs)
{
	race_begin_by(CLOCK_KIND_MANUAL, race, form, role, epochs);
}

static void wait_crew(struct race *race)
{
	int status;

	for (unsigned i = 0; i < PROCESSES && race->form == BY_PROCESSES; i++) {
		assert_int_equal(waitpid(race->crew[i], &status, 0), race->crew[i]);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
	for (unsigned i = 0; i < PROCESSES * THREADS && race->form == BY_THREADS; i++)
		pthread_join(race->threads[i], NULL);
}

static void race_end(struct race *race)
{
	const struct binding *binding;
	struct keyed_census census;
	struct line line;
	uint64_t now;

	wait_crew(race);
	/* wherever it is by now */
	assert_true(weir_peek_key(race->rule, "", 0,
				  &(struct weir_level){.size = sizeof(struct weir_level)}) == 0);
	binding = endpoint_binding(race->rule);
	now = line_read(binding->row, &binding->time, &line);
	keyed_count(&binding->keyed, &line, now, &census);
	assert_int_equal(census.slots, 2 * binding->keyed.half * LAYOUT_BIN_SLOTS);
	assert_int_equal(census.evicted, 0);
	assert_true(census.inserting == 0 || race->killed);
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

static void begin_epoch(struct race *race, uint32_t epoch)
{
	for (unsigned i = 0; i < KEYS; i++)
		atomic_store(&race->ring->granted[i], 0);
	atomic_store_explicit(&race->ring->epoch, epoch, memory_order_seq_cst);
}

/* All who race have drawn what they were let; how much in all. No key has more than its burst. */
static unsigned end_epoch(struct race *race, uint32_t epoch)
{
	unsigned sum = 0;

	wait_arrived(race->ring, epoch * PROCESSES * THREADS);
	for (unsigned i = 0; i < AT_ONCE; i++) {
		unsigned granted = race->ring->granted[(epoch * 7 + i) % KEYS];

		assert_true(granted <= BURST);
		sum += granted;
	}
	return sum;
}

/* Everybody is full again, in the pair that has the name. */
static void pass_time(struct race *race)
{
	time_source_advance(&race->scene.segment.time, WEIR_SECOND);
}

static void each_key_is_granted_its_burst(void **state)
{
	struct race race;

	race_begin(&race, *(const enum form *)*state, epochs, EPOCHS);
	for (uint32_t epoch = 1; epoch <= EPOCHS; epoch++) {
		begin_epoch(&race, epoch);
		assert_int_equal(end_epoch(&race, epoch), AT_ONCE * BURST);
		pass_time(&race);
	}
	race_end(&race);
}

static void none_is_granted_more_than_is_minted(void **state)
{
	struct race race;
	uint64_t minted = 0;

	race_begin(&race, *(const enum form *)*state, steps, 0);
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

static uint64_t v_of(const struct race *race, struct line *line)
{
	const struct binding *binding = endpoint_binding(race->rule);

	return line_value(line, line_read(binding->row, &binding->time, line));
}

static void wait_granted(const _Atomic uint32_t *granted, uint32_t number)
{
	for (unsigned i = 0; i < SCENE_PATIENCE_MS; i++) {
		if (atomic_load_explicit(granted, memory_order_seq_cst) >= number)
			return;
		usleep(1000);
	}
	fail_msg("a key is granted too little");
}

/* By the machine's own clock, which runs on while they draw. */
static void none_is_granted_more_by_a_clock_that_runs(void **state)
{
	struct race race;
	struct line line;
	uint64_t begin;

	race_begin_by(time_source_best(), &race, *(const enum form *)*state, rush, 0);
	begin = v_of(&race, &line);
	atomic_store_explicit(&race.ring->epoch, 1, memory_order_seq_cst);
	for (unsigned i = 0; i < AT_ONCE; i++)
		wait_granted(&race.ring->granted[i], 20 * BURST);
	for (unsigned i = 0; i < AT_ONCE; i++) {
		uint64_t granted = atomic_load(&race.ring->granted[i]);
		uint64_t minted = v_of(&race, &line) - begin;

		assert_true(granted << line.k <= line.burst_units + minted);
	}
	atomic_store_explicit(&race.ring->stop, 1, memory_order_seq_cst);
	race_end(&race);
}

/* ---- while the table moves ---- */

/* As a reload does that takes another pair. */
static void move_table(struct race *race, uint64_t keys, uint64_t *random)
{
	const struct segment_shape shape = shape_for(keys);
	const struct rule rule = rule_for(keys);
	struct segment *old = &race->scene.segment;
	struct segment next;

	assert_int_equal(segment_create(&next, &race->scene.place, &shape), 0);
	assert_int_equal(move_prepare(old, &next, &rule), 0);
	assert_int_equal(segment_reveal(&next, &race->scene.place), 0);
	move_retire(old);
	usleep((unsigned)(scene_random(random) % 500));
	assert_int_equal(move_finish(&next, old), 0);
	segment_forget_old(&race->scene.place);
	segment_detach(old);
	*old = next;
}

/* In a child: as one of those who race, until a timer kills it, wherever it is by then. */
static int draw_till_killed(struct race *race, uint32_t epoch, uint64_t microseconds)
{
	const struct itimerval timer = {.it_value.tv_usec = (suseconds_t)microseconds};
	struct weir *weir = scene_open(&race->scene.place);
	struct job job = {race->ring, scene_endpoint(weir, "c/*"), epoch};

	signal(SIGALRM, SIG_DFL);
	if (!job.rule || !wait_epoch(race->ring, epoch) || setitimer(ITIMER_REAL, &timer, NULL) < 0)
		return 1;
	for (;;)
		draw_epoch(&job, epoch);
}

static pid_t start_victim(struct race *race, uint32_t epoch, uint64_t *random)
{
	uint64_t microseconds = 1 + scene_random(random) % 3000;
	pid_t victim;

	/* the threads' process is left as it is: fork() copies one thread alone */
	if (race->form == BY_THREADS)
		return 0;
	victim = fork();
	assert_true(victim >= 0);
	if (victim == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(draw_till_killed(race, epoch, microseconds));
	}
	return victim;
}

static void none_is_forgotten_on_the_way(void **state)
{
	uint64_t random = 11;
	unsigned lost = 0;
	struct race race;

	race_begin(&race, *(const enum form *)*state, epochs, MOVES);
	for (uint32_t epoch = 1; epoch <= MOVES; epoch++) {
		pid_t victim = start_victim(&race, epoch, &random);
		unsigned granted;

		if (victim)
			usleep((unsigned)(scene_random(&random) % 2000));
		begin_epoch(&race, epoch);
		usleep((unsigned)(scene_random(&random) % 300));
		move_table(&race, 8 + epoch / 4, &random);
		if (victim)
			assert_int_equal(scene_wait(victim), 256 + SIGALRM);
		race.killed = victim != 0;
		granted = end_epoch(&race, epoch);
		assert_true(granted + (victim != 0) >= AT_ONCE * BURST);
		lost += AT_ONCE * BURST - granted;
		pass_time(&race);
	}
	printf("%u moves, %u grants that the killed had not counted\n", MOVES, lost);
	race_end(&race);
}

#define RACE(test, form)                                                                           \
	{                                                                                          \
#test, test, NULL, NULL, form                                                      \
	}

int main(void)
{
	static enum form forms[] = {BY_PROCESSES, BY_THREADS};
	const struct CMUnitTest tests[] = {
		RACE(each_key_is_granted_its_burst, &forms[0]),
		RACE(each_key_is_granted_its_burst, &forms[1]),
		RACE(none_is_granted_more_than_is_minted, &forms[0]),
		RACE(none_is_granted_more_than_is_minted, &forms[1]),
		RACE(none_is_granted_more_by_a_clock_that_runs, &forms[0]),
		RACE(none_is_granted_more_by_a_clock_that_runs, &forms[1]),
		RACE(none_is_forgotten_on_the_way, &forms[0]),
		RACE(none_is_forgotten_on_the_way, &forms[1]),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
