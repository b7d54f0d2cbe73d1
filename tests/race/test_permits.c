/* SPDX-License-Identifier: Apache-2.0
 *
 * The line of those who wait for permits: order, wake-ups, and who dies, stops or gives up in it;
 * and a storm, after which all permits are free. With processes, and with threads (for TSan).
 */
#include "calls_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

#include "audit.h"
#include "members.h"
#include "permit_chain.h"
#include "permits.h"
#include "thread_sanitizer.h"

static const struct segment_shape permit_shape = {
	.rows = 8,
	.names = 8,
	.members = 64,
	.clock = CLOCK_KIND_MONOTONIC,
	.group = (gid_t)-1,
	.permits = 64,
	.waiters = 2048,
};

struct stage {
	struct scene scene;
	struct weir *weir;
	struct weir_endpoint *api;
};

static void set_concurrency(struct stage *stage, uint64_t limit)
{
	const struct terms_author author = {ORIGIN_OPERATOR, 0};
	struct terms terms = scene_terms(1000000, 1000000);
	int64_t row = names_exact_row(&stage->scene.segment, "api");
	struct rule rule = {.kind = ROW_EXACT, .text = "api", .terms = terms};

	rule.terms.concurrency = limit + 1;
	if (row < 0)
		row = rules_add(&stage->scene.segment, &rule);
	else
		row = rules_change(&stage->scene.segment, (uint32_t)row, &rule.terms, &author,
				   RULES_KEEP_USED);
	assert_true(row >= 0);
}

static void stage_begin(struct stage *stage, uint64_t limit)
{
	scene_begin(&stage->scene, &permit_shape);
	set_concurrency(stage, limit);
	stage->weir = scene_open(&stage->scene.place);
	stage->api = scene_endpoint(stage->weir, "api");
	assert_non_null(stage->api);
}

static void stage_end(struct stage *stage)
{
	weir_endpoint_close(stage->api);
	weir_close(stage->weir);
	scene_end(&stage->scene);
}

static bool until_waiting(struct weir_endpoint *endpoint, uint64_t count)
{
	for (unsigned ms = 0; ms < SCENE_PATIENCE_MS; ms++) {
		if (calls_permits(endpoint).waiting == count)
			return true;
		scene_sleep_ms(1);
	}
	return false;
}

/* ---- one waiter each ---- */

#define LOOK_NS (100 * WEIR_MILLISECOND) /* of who is first, and of sentries */
#define HERD_PROCESSES 8
#define HERD_THREADS 125 /* of each, at most */
#define HERD_TURN 5	 /* threads that a process sends one after the other */
#define HERD_PERMITS 4	 /* at most */

struct crew {
	const struct place *place;
	_Atomic uint32_t served;      /* admitted so far */
	_Atomic uint32_t inside;      /* holders at this moment */
	_Atomic uint32_t most_inside; /* at most */
	_Atomic uint32_t wrong_order;
	_Atomic uint32_t late;
	_Atomic uint32_t begun;
	_Atomic uint32_t children;
	_Atomic uint32_t highest;   /* number that was admitted */
	_Atomic uint32_t overtaken; /* admitted after a higher one */
	_Atomic uint64_t switches;  /* voluntary ones of waiters: how often each slept */
	_Atomic uint32_t stop;
	int turns[HERD_PROCESSES][2]; /* pipes: whoever reads a byte comes next */
	uint32_t threads;	      /* of each process of a herd */
};

struct waiter {
	struct crew *crew;
	struct weir_endpoint *endpoint;
	uint32_t number;
	uint64_t timeout_ns;
	uint64_t hold_ns;
	enum weir_verdict verdict;
	struct weir_answer answer;
};

static void nap(uint64_t ns)
{
	const struct timespec pause = {(time_t)(ns / WEIR_SECOND), (long)(ns % WEIR_SECOND)};

	if (ns)
		nanosleep(&pause, NULL);
}

static void enter(struct crew *crew)
{
	uint32_t now = atomic_fetch_add(&crew->inside, 1) + 1;
	uint32_t most = atomic_load(&crew->most_inside);

	while (now > most && !atomic_compare_exchange_weak(&crew->most_inside, &most, now))
		;
}

static uint64_t own_switches(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return (uint64_t)usage.ru_nvcsw;
}

/* By the only holder. */
static void note_order(struct crew *crew, uint32_t number)
{
	if (number < atomic_load(&crew->highest))
		atomic_fetch_add(&crew->overtaken, 1);
	else
		atomic_store(&crew->highest, number);
}

static void *wait_once(void *context)
{
	struct waiter *waiter = context;
	struct crew *crew = waiter->crew;
	struct weir_permit permit;

	atomic_fetch_add(&crew->begun, 1);
	waiter->verdict =
		weir_permit_take(waiter->endpoint, waiter->timeout_ns, &permit, &waiter->answer);
	atomic_fetch_add(&crew->switches, own_switches());
	if (waiter->verdict != WEIR_ADMIT) {
		atomic_fetch_add(&crew->late, 1);
		return NULL;
	}
	enter(crew);
	if (atomic_fetch_add(&crew->served, 1) != waiter->number)
		atomic_fetch_add(&crew->wrong_order, 1);
	note_order(crew, waiter->number);
	nap(waiter->hold_ns);
	atomic_fetch_sub(&crew->inside, 1);
	if (weir_permit_release(waiter->endpoint, &permit) != 0)
		atomic_fetch_add(&crew->wrong_order, 1000);
	return NULL;
}

/* First come, first served: each is in line before the next one comes. */
static void test_order(void **state)
{
	enum { COUNT = 24 };
	struct waiter waiters[COUNT];
	pthread_t threads[COUNT];
	struct weir_permit permit;
	struct crew crew = {0};
	struct stage stage;

	(void)state;
	stage_begin(&stage, 1);
	assert_int_equal(weir_permit_take(stage.api, 0, &permit, NULL), WEIR_ADMIT);
	for (uint32_t i = 0; i < COUNT; i++) {
		waiters[i] = (struct waiter){&crew, stage.api, i, WEIR_FOREVER, 0, 0, {0}};
		assert_int_equal(pthread_create(&threads[i], NULL, wait_once, &waiters[i]), 0);
		assert_true(until_waiting(stage.api, i + 1));
	}
	/* nobody goes before them, though a permit is free for a moment */
	assert_int_equal(weir_permit_release(stage.api, &permit), 0);
	for (uint32_t i = 0; i < COUNT; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(crew.served, COUNT);
	assert_int_equal(crew.wrong_order, 0);
	assert_int_equal(crew.most_inside, 1);
	assert_int_equal(calls_permits(stage.api).free, 1);
	stage_end(&stage);
}

/* A newcomer who would not wait is refused while others do, and takes nothing from them. */
static void test_no_overtaking(void **state)
{
	struct weir_permit permit;
	struct weir_waiter place;
	struct weir_answer answer;
	struct stage stage;

	(void)state;
	stage_begin(&stage, 1);
	assert_int_equal(weir_permit_queue(stage.api, &place), 0);
	assert_int_equal(weir_permit_take(stage.api, 0, &permit, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_PERMIT);
	assert_int_equal(weir_permit_poll(stage.api, &place, &permit, &answer), WEIR_ADMIT);
	assert_int_equal(weir_permit_unqueue(stage.api, &place), WEIR_ESPENT);
	assert_int_equal(weir_permit_release(stage.api, &permit), 0);
	assert_int_equal(weir_permit_take(stage.api, 0, &permit, &answer), WEIR_ADMIT);
	stage_end(&stage);
}

static unsigned count_called(const struct stage *stage)
{
	const struct segment *segment = &stage->scene.segment;
	unsigned count = 0;

	for (uint32_t i = 0; i < segment->waiter_count; i++)
		count += (atomic_load(&segment->waiters[i].wake) & 3) == WAITER_CALLED;
	return count;
}

/* As many are called as permits are free, though nobody has looked yet. */
static void test_calls_overlap(void **state)
{
	struct weir_permit permits[2];
	struct weir_waiter places[3];
	struct weir_answer answer;
	struct stage stage;

	(void)state;
	stage_begin(&stage, 2);
	for (int i = 0; i < 2; i++)
		assert_int_equal(weir_permit_take(stage.api, 0, &permits[i], NULL), WEIR_ADMIT);
	for (int i = 0; i < 3; i++)
		assert_int_equal(weir_permit_queue(stage.api, &places[i]), 0);
	assert_int_equal(count_called(&stage), 0);
	assert_int_equal(weir_permit_release(stage.api, &permits[0]), 0);
	assert_int_equal(count_called(&stage), 1);
	assert_int_equal(weir_permit_release(stage.api, &permits[1]), 0);
	assert_int_equal(count_called(&stage), 2);
	/* the third is before nobody, and the second need not wait for the first to look */
	assert_int_equal(weir_permit_poll(stage.api, &places[2], &permits[0], &answer),
			 WEIR_REFUSE);
	assert_int_equal(weir_permit_poll(stage.api, &places[1], &permits[1], &answer), WEIR_ADMIT);
	assert_int_equal(weir_permit_poll(stage.api, &places[2], &permits[0], &answer),
			 WEIR_REFUSE);
	assert_int_equal(weir_permit_poll(stage.api, &places[0], &permits[0], &answer), WEIR_ADMIT);
	assert_int_equal(weir_permit_unqueue(stage.api, &places[2]), 0);
	stage_end(&stage);
}

/* A newcomer goes ahead while more are free than are in line, and takes nothing from them. */
static void test_enough_for_all(void **state)
{
	struct weir_permit permits[3];
	struct weir_waiter places[2];
	struct weir_answer answer;
	struct stage stage;

	(void)state;
	stage_begin(&stage, 3);
	for (int i = 0; i < 2; i++)
		assert_int_equal(weir_permit_queue(stage.api, &places[i]), 0);
	assert_int_equal(weir_permit_take(stage.api, 0, &permits[2], &answer), WEIR_ADMIT);
	assert_int_equal(weir_permit_take(stage.api, 0, &permits[0], &answer), WEIR_REFUSE);
	for (int i = 1; i >= 0; i--)
		assert_int_equal(weir_permit_poll(stage.api, &places[i], &permits[i], &answer),
				 WEIR_ADMIT);
	assert_int_equal(calls_permits(stage.api).free, 0);
	assert_int_equal(calls_permits(stage.api).waiting, 0);
	stage_end(&stage);
}

/* Who gives up leaves the line, and the permit that came for him to the next. */
static void test_giving_up(void **state)
{
	struct weir_permit permit;
	struct crew crew = {0};
	struct stage stage;
	pthread_t threads[3];
	struct waiter waiters[3];

	(void)state;
	stage_begin(&stage, 1);
	assert_int_equal(weir_permit_take(stage.api, 0, &permit, NULL), WEIR_ADMIT);
	for (uint32_t i = 0; i < 3; i++) {
		waiters[i] = (struct waiter){
			&crew, stage.api, i > 1, i < 2 ? 30 * WEIR_MILLISECOND : WEIR_FOREVER,
			0,     0,	  {0}};
		waiters[i].number = 0;
		assert_int_equal(pthread_create(&threads[i], NULL, wait_once, &waiters[i]), 0);
		scene_sleep_ms(2);
	}
	assert_true(scene_until(&crew.late, 2));
	assert_true(until_waiting(stage.api, 1));
	assert_int_equal(waiters[0].answer.reason, WEIR_REASON_DEADLINE);
	assert_int_equal(weir_permit_release(stage.api, &permit), 0);
	for (uint32_t i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(waiters[2].verdict, WEIR_ADMIT);
	assert_int_equal(crew.wrong_order, 0);
	stage_end(&stage);
}

static int child_waits(void *context)
{
	struct crew *crew = context;
	struct weir_endpoint *endpoint = scene_endpoint(scene_open(crew->place), "api");
	struct weir_permit permit;

	CHILD_CHECK(endpoint);
	atomic_fetch_add(&crew->begun, 1);
	CHILD_CHECK(weir_permit_take(endpoint, WEIR_FOREVER, &permit, NULL) == WEIR_ADMIT);
	atomic_fetch_add(&crew->served, 1);
	CHILD_CHECK(weir_permit_release(endpoint, &permit) == 0);
	return 0;
}

static struct crew *shared_crew(const struct stage *stage)
{
	struct crew *crew = scene_shared(sizeof(*crew));

	crew->place = &stage->scene.place;
	return crew;
}

/* The first in line dies: without a daemon, the others find out by themselves. */
static void test_first_dies(void **state)
{
	struct weir_permit permit;
	struct stage stage;

	(void)state;
	stage_begin(&stage, 1);
	struct crew *crew = shared_crew(&stage);

	assert_int_equal(weir_permit_take(stage.api, 0, &permit, NULL), WEIR_ADMIT);
	pid_t first = scene_child(child_waits, crew);

	assert_true(until_waiting(stage.api, 1));
	pid_t second = scene_child(child_waits, crew);

	assert_true(until_waiting(stage.api, 2));
	scene_kill(first);
	assert_int_equal(weir_permit_release(stage.api, &permit), 0);
	assert_int_equal(scene_wait(second), 0);
	assert_int_equal(crew->served, 1);
	assert_int_equal(calls_permits(stage.api).waiting, 0);
	assert_int_equal(calls_permits(stage.api).free, 1);
	stage_end(&stage);
}

/* The first in line is stopped: others go before it, and it is first again when it goes on. */
static void test_first_is_stopped(void **state)
{
	struct weir_permit permit;
	struct stage stage;
	int status;

	(void)state;
	stage_begin(&stage, 1);
	struct crew *crew = shared_crew(&stage);

	assert_int_equal(weir_permit_take(stage.api, 0, &permit, NULL), WEIR_ADMIT);
	pid_t first = scene_child(child_waits, crew);

	assert_true(until_waiting(stage.api, 1));
	kill(first, SIGSTOP);
	assert_int_equal(waitpid(first, &status, WUNTRACED), first);
	pid_t second = scene_child(child_waits, crew);

	assert_true(until_waiting(stage.api, 2));
	assert_int_equal(weir_permit_release(stage.api, &permit), 0);
	assert_int_equal(scene_wait(second), 0);
	assert_int_equal(calls_permits(stage.api).waiting, 1);
	kill(first, SIGCONT);
	assert_int_equal(scene_wait(first), 0);
	assert_int_equal(crew->served, 2);
	stage_end(&stage);
}

/* A releaser was killed between the store and the call: the first looks again by itself. */
static void test_lost_call(void **state)
{
	struct weir_permit permit;
	struct stage stage;

	(void)state;
	stage_begin(&stage, 1);
	struct crew *crew = shared_crew(&stage);

	assert_int_equal(weir_permit_take(stage.api, 0, &permit, NULL), WEIR_ADMIT);
	pid_t first = scene_child(child_waits, crew);

	assert_true(until_waiting(stage.api, 1));
	pid_t second = scene_child(child_waits, crew);

	assert_true(until_waiting(stage.api, 2));

	/* the release, without what comes after it */
	_Atomic uint64_t *word = &segment_permit(&stage.scene.segment, 0)->word;

	atomic_store(word, atomic_load(word) & PERMIT_COUNT);
	assert_int_equal(scene_wait(first), 0);
	assert_int_equal(scene_wait(second), 0);
	assert_int_equal(crew->served, 2);
	stage_end(&stage);
}

/* The limit goes up, and away, under those who wait. */
static void test_limit_goes_up(void **state)
{
	enum { COUNT = 12 };
	struct waiter waiters[COUNT];
	pthread_t threads[COUNT];
	struct weir_permit permit;
	struct crew crew = {0};
	struct stage stage;

	(void)state;
	stage_begin(&stage, 0);
	for (uint32_t i = 0; i < COUNT; i++) {
		waiters[i] = (struct waiter){
			&crew, stage.api, i, WEIR_FOREVER, 5 * WEIR_MILLISECOND, 0, {0}};
		assert_int_equal(pthread_create(&threads[i], NULL, wait_once, &waiters[i]), 0);
		assert_true(until_waiting(stage.api, i + 1));
	}
	set_concurrency(&stage, 3);
	assert_true(scene_until(&crew.served, 6));
	assert_true(crew.most_inside <= 3);

	const struct terms_author author = {ORIGIN_OPERATOR, 0};
	struct terms terms = scene_terms(1000000, 1000000);
	int64_t row = names_exact_row(&stage.scene.segment, "api");

	assert_int_equal(
		rules_change(&stage.scene.segment, (uint32_t)row, &terms, &author, RULES_KEEP_USED),
		row);
	for (uint32_t i = 0; i < COUNT; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(crew.served, COUNT);
	assert_int_equal(weir_permit_take(stage.api, 0, &permit, NULL), WEIR_ADMIT);
	set_concurrency(&stage, 3);
	assert_int_equal(calls_permits(stage.api).free, 3);
	stage_end(&stage);
}

/* The rule is removed under those who wait: their name falls under [default], without a limit. */
static void test_rule_goes(void **state)
{
	struct weir_permit permit;
	struct crew crew = {0};
	struct stage stage;
	pthread_t thread;
	struct waiter waiter;

	(void)state;
	stage_begin(&stage, 1);
	assert_int_equal(weir_permit_take(stage.api, 0, &permit, NULL), WEIR_ADMIT);
	waiter = (struct waiter){&crew, stage.api, 0, WEIR_FOREVER, 0, 0, {0}};
	assert_int_equal(pthread_create(&thread, NULL, wait_once, &waiter), 0);
	assert_true(until_waiting(stage.api, 1));
	rules_remove(&stage.scene.segment, (uint32_t)names_exact_row(&stage.scene.segment, "api"));
	pthread_join(thread, NULL);
	assert_int_equal(waiter.verdict, WEIR_ADMIT);
	assert_int_equal(weir_permit_release(stage.api, &permit), 0);
	stage_end(&stage);
}

/* IT-5: ten operations at concurrency five; never more than five inside. */
static void test_ten_at_five(void **state)
{
	enum { COUNT = 10 };
	struct waiter waiters[COUNT];
	pthread_t threads[COUNT];
	struct crew crew = {0};
	struct stage stage;

	(void)state;
	stage_begin(&stage, 5);
	for (uint32_t i = 0; i < COUNT; i++) {
		waiters[i] = (struct waiter){
			&crew, stage.api, i, WEIR_FOREVER, 20 * WEIR_MILLISECOND, 0, {0}};
		assert_int_equal(pthread_create(&threads[i], NULL, wait_once, &waiters[i]), 0);
	}
	for (uint32_t i = 0; i < COUNT; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(crew.served, COUNT);
	assert_int_equal(crew.most_inside, 5);
	stage_end(&stage);
}

/* ---- a thousand waiters ---- */

/* Until everybody up to `number` is in line. */
static bool until_in_line(struct weir_endpoint *endpoint, uint32_t number)
{
	for (unsigned looks = 0; looks < 50 * SCENE_PATIENCE_MS; looks++) {
		struct weir_permits permits = {.size = sizeof(permits)};

		if (weir_permit_look(endpoint, &permits) == 0 && permits.waiting == number + 1)
			return true;
		nap(20000);
	}
	return false;
}

/*
 * Threads of one process; each waits once. The processes send a few in turn: whose turn it is has a
 * byte to read, and the others sleep.
 */
static int child_herd(void *context)
{
	struct crew *crew = context;
	const uint32_t own = atomic_fetch_add(&crew->children, 1);
	const int my_turn = crew->turns[own][0];
	const int next_turn = crew->turns[(own + 1) % HERD_PROCESSES][1];
	struct weir_endpoint *endpoint = scene_endpoint(scene_open(crew->place), "api");
	static struct waiter waiters[HERD_THREADS];
	static pthread_t threads[HERD_THREADS];
	pthread_attr_t small;
	char turn;

	CHILD_CHECK(endpoint);
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 128 * 1024);
	for (uint32_t i = 0; i < crew->threads; i++) {
		const uint32_t turns = i / HERD_TURN * HERD_PROCESSES + own;
		const uint32_t number = turns * HERD_TURN + i % HERD_TURN;

		waiters[i] = (struct waiter){crew, endpoint, number, WEIR_FOREVER, 0, 0, {0}};
		if (i % HERD_TURN == 0)
			CHILD_CHECK(read(my_turn, &turn, 1) == 1);
		CHILD_CHECK(pthread_create(&threads[i], &small, wait_once, &waiters[i]) == 0);
		CHILD_CHECK(until_in_line(endpoint, number));
		if (i % HERD_TURN == HERD_TURN - 1)
			CHILD_CHECK(write(next_turn, &turn, 1) == 1);
	}
	for (uint32_t i = 0; i < crew->threads; i++)
		pthread_join(threads[i], NULL);
	for (uint32_t i = 0; i < crew->threads; i++)
		CHILD_CHECK(waiters[i].verdict == WEIR_ADMIT);
	return 0;
}

static void send_herd(struct crew *crew, pid_t pids[HERD_PROCESSES])
{
	for (int i = 0; i < HERD_PROCESSES; i++)
		assert_int_equal(pipe(crew->turns[i]), 0);
	for (int i = 0; i < HERD_PROCESSES; i++)
		pids[i] = scene_child(child_herd, crew);
	assert_int_equal(write(crew->turns[0][1], "", 1), 1);
}

/* How often a thread has gone to sleep so far; false: it is awake. */
static bool thread_sleeps(pid_t pid, const char *thread, uint64_t *switches)
{
	unsigned long long count = 0;
	char path[300], line[256];
	char kind = 'R';
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%.20s/status", (int)pid, thread);
	file = fopen(path, "re");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "State: %c", &kind) != 1)
			sscanf(line, "voluntary_ctxt_switches: %llu", &count);
	fclose(file);
	*switches += count;
	return kind == 'S';
}

/* The same of all threads of a process but the first. */
static bool process_sleeps(pid_t pid, uint64_t *switches)
{
	char path[64];
	bool all = true;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	tasks = opendir(path);
	assert_non_null(tasks);
	for (struct dirent *at; (at = readdir(tasks));)
		if (at->d_name[0] != '.' && atoi(at->d_name) != (int)pid)
			all &= thread_sleeps(pid, at->d_name, switches);
	closedir(tasks);
	return all;
}

/* Waits until the last to come is asleep, too; returns how often all of them have gone to sleep. */
static uint64_t until_asleep(const pid_t pids[HERD_PROCESSES])
{
	for (unsigned ms = 0; ms < SCENE_PATIENCE_MS; ms++) {
		uint64_t switches = 0;
		bool all = true;

		for (int i = 0; i < HERD_PROCESSES; i++)
			all &= process_sleeps(pids[i], &switches);
		if (all)
			return switches;
		scene_sleep_ms(1);
	}
	fail_msg("somebody in line does not sleep");
	return 0;
}

/*
 * Waiters of eight processes, who came one after the other, over so many permits: each sleeps once,
 * but for those few that look again. The kernel counts how often each fell asleep: once before the
 * first permit was free, and whoever did so again had been woken for nothing. Returns how many
 * rounds of looks it took.
 */
static uint64_t herd(struct stage *stage, struct crew *crew, uint32_t limit)
{
	const uint32_t count = HERD_PROCESSES * crew->threads;
	struct weir_permit permits[HERD_PERMITS];
	pid_t pids[HERD_PROCESSES];

	for (uint32_t i = 0; i < limit; i++)
		assert_int_equal(weir_permit_take(stage->api, 0, &permits[i], NULL), WEIR_ADMIT);
	send_herd(crew, pids);
	assert_true(until_waiting(stage->api, count));

	uint64_t before = until_asleep(pids);
	uint64_t from_ns = time_source_kernel_ns(CLOCK_MONOTONIC);

	for (uint32_t i = 0; i < limit; i++)
		assert_int_equal(weir_permit_release(stage->api, &permits[i]), 0);
	for (int i = 0; i < HERD_PROCESSES; i++)
		assert_int_equal(scene_wait(pids[i]), 0);

	/* a sentry of each process, and who is first, have a look every 100 ms, woken by nobody */
	uint64_t rounds = (time_source_kernel_ns(CLOCK_MONOTONIC) - from_ns) / LOOK_NS;
	uint64_t looks = (rounds + 1) * (HERD_PROCESSES + 1);
	uint64_t wakes = count + atomic_load(&crew->switches) - before;

	print_message("%u grants, %llu wake-ups, of which %llu may be looks\n", count,
		      (unsigned long long)wakes, (unsigned long long)looks);
	assert_int_equal(crew->served, count);
	assert_in_range(crew->most_inside, 1, limit);
	assert_true(wakes * 10 <= count * 11ull + looks * 10);
	for (int i = 0; i < HERD_PROCESSES; i++) {
		close(crew->turns[i][0]);
		close(crew->turns[i][1]);
	}
	return rounds;
}

/* A thousand over one permit are let in in the order in which they came, one by one. */
static void test_no_herd(void **state)
{
	struct stage stage;
	uint64_t rounds;

	(void)state;
	if (UNDER_THREAD_SANITIZER)
		skip();
	stage_begin(&stage, 1);
	struct crew *crew = shared_crew(&stage);

	crew->threads = HERD_THREADS;
	rounds = herd(&stage, crew, 1);
	/* who was called and did not get a CPU for a round is passed over, one a round at most */
	print_message("%u overtaken\n", crew->overtaken);
	assert_true(crew->overtaken <= rounds);
	assert_true(rounds || crew->wrong_order == 0);
	stage_end(&stage);
}

static void test_no_herd_over_several(void **state)
{
	struct stage stage;

	(void)state;
	if (UNDER_THREAD_SANITIZER)
		skip();
	stage_begin(&stage, HERD_PERMITS);
	struct crew *crew = shared_crew(&stage);

	crew->threads = HERD_THREADS / 5;
	herd(&stage, crew, HERD_PERMITS);
	stage_end(&stage);
}

/* ---- a loop's places ---- */

static void *listen_once(void *context)
{
	struct stage *stage = context;
	uint32_t bell = 0;

	/* begun at 0, it may have been rung before */
	while (weir_permit_listen(stage->weir, &bell, 20 * WEIR_SECOND) == 0)
		;
	return NULL;
}

static void test_bell(void **state)
{
	struct weir_waiter places[3];
	struct weir_permit permits[4];
	struct weir_answer answer;
	struct stage stage;
	pthread_t thread;
	uint32_t bell = 0;

	(void)state;
	stage_begin(&stage, 1);
	assert_int_equal(weir_permit_take(stage.api, 0, &permits[3], NULL), WEIR_ADMIT);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(weir_permit_queue(stage.api, &places[i]), 0);
		assert_int_equal(weir_permit_poll(stage.api, &places[i], &permits[i], &answer),
				 WEIR_REFUSE);
		assert_int_equal(answer.reason, WEIR_REASON_PERMIT);
	}
	assert_int_equal(weir_permit_listen(stage.weir, &bell, 1), 0);
	assert_int_equal(pthread_create(&thread, NULL, listen_once, &stage), 0);
	assert_int_equal(weir_permit_release(stage.api, &permits[3]), 0);
	pthread_join(thread, NULL);
	assert_int_equal(weir_permit_listen(stage.weir, &bell, WEIR_FOREVER), 1);
	assert_int_equal(weir_permit_poll(stage.api, &places[1], &permits[1], &answer),
			 WEIR_REFUSE);
	/* the first leaves: the next is told */
	assert_int_equal(weir_permit_unqueue(stage.api, &places[0]), 0);
	assert_int_equal(weir_permit_unqueue(stage.api, &places[0]), WEIR_ESPENT);
	assert_int_equal(weir_permit_listen(stage.weir, &bell, 0), 1);
	assert_int_equal(weir_permit_poll(stage.api, &places[1], &permits[1], &answer), WEIR_ADMIT);
	assert_int_equal(weir_permit_poll(stage.api, &places[1], &permits[2], &answer),
			 WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_ESPENT);
	assert_int_equal(weir_permit_listen(stage.weir, &bell, 0), 0);
	weir_permit_ring(stage.weir);
	assert_int_equal(weir_permit_listen(stage.weir, &bell, 0), 1);
	/* without a limit a place is admitted at its next look */
	const struct terms_author author = {ORIGIN_OPERATOR, 0};
	struct terms terms = scene_terms(1000000, 1000000);

	rules_change(&stage.scene.segment, (uint32_t)names_exact_row(&stage.scene.segment, "api"),
		     &terms, &author, RULES_KEEP_USED);
	assert_int_equal(weir_permit_listen(stage.weir, &bell, 0), 1);
	assert_int_equal(weir_permit_poll(stage.api, &places[2], &permits[2], &answer), WEIR_ADMIT);
	assert_int_equal(weir_permit_release(stage.api, &permits[1]), 0);
	assert_int_equal(weir_permit_release(stage.api, &permits[2]), 0);
	stage_end(&stage);
}

/* ---- threads, for ThreadSanitizer ---- */

struct churn {
	struct stage *stage;
	struct crew crew;
	uint32_t rounds;
};

static void *churn_thread(void *context)
{
	struct churn *churn = context;
	struct weir_endpoint *endpoint = scene_endpoint(churn->stage->weir, "api");
	struct weir_permit permit;

	for (uint32_t i = 0; i < churn->rounds; i++) {
		uint64_t timeout = i % 3 == 0 ? 0 : i % 3 == 1 ? WEIR_SECOND / 1000 : WEIR_FOREVER;

		if (weir_permit_take(endpoint, timeout, &permit, NULL) != WEIR_ADMIT)
			continue;
		enter(&churn->crew);
		if (i % 7 == 0)
			sched_yield();
		atomic_fetch_sub(&churn->crew.inside, 1);
		if (weir_permit_release(endpoint, &permit) != 0)
			atomic_fetch_add(&churn->crew.wrong_order, 1);
	}
	weir_endpoint_close(endpoint);
	return NULL;
}

static void test_threads(void **state)
{
	enum { COUNT = 6 };
	pthread_t threads[COUNT];
	struct stage stage;
	struct churn churn = {.stage = &stage, .rounds = UNDER_THREAD_SANITIZER ? 300 : 3000};

	(void)state;
	stage_begin(&stage, 2);
	for (int i = 0; i < COUNT; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, churn_thread, &churn), 0);
	for (int i = 0; i < 20; i++) {
		set_concurrency(&stage, i % 2 ? 1 : 3);
		scene_sleep_ms(1);
	}
	set_concurrency(&stage, 2);
	for (int i = 0; i < COUNT; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(churn.crew.wrong_order, 0);
	assert_true(churn.crew.most_inside <= 3);
	assert_int_equal(calls_permits(stage.api).held, 0);
	assert_int_equal(calls_permits(stage.api).waiting, 0);
	stage_end(&stage);
}

/* ---- a storm ---- */

#define STORM_PROCESSES 16
#define STORM_LIVES 20000

/* Who is who: a life is a process; the test says of one that it is about to die before it does. */
struct storm {
	const struct place *place;
	_Atomic uint32_t lives;
	_Atomic uint32_t occupant[64]; /* by permit: the life that holds it; 0: none */
	_Atomic uint32_t dying[STORM_LIVES];
	_Atomic uint32_t doubled;
	_Atomic uint32_t lost; /* a release by the owner missed */
	_Atomic uint32_t taken;
	_Atomic uint32_t inherited;
	_Atomic uint32_t stop;
};

static uint32_t storm_given; /* the life of the next process: known before it is born */

static uint32_t storm_life(struct storm *storm)
{
	return atomic_fetch_add(&storm->lives, 1) + 1;
}

/* `from`: the life that passed it on, or 0. */
static void storm_occupy(struct storm *storm, const struct weir_permit *permit, uint32_t life,
			 uint32_t from)
{
	uint32_t index = (uint32_t)permit->opaque[2] % 64;
	uint32_t before = atomic_exchange(&storm->occupant[index], life);

	if (before && before != from && !atomic_load(&storm->dying[before % STORM_LIVES]))
		atomic_fetch_add(&storm->doubled, 1);
}

static void storm_vacate(struct storm *storm, const struct weir_permit *permit, uint32_t life)
{
	atomic_compare_exchange_strong(&storm->occupant[(uint32_t)permit->opaque[2] % 64], &life,
				       0);
}

/* A child of a holder takes the permit over and gives it back; or dies with it. */
static void storm_child(struct storm *storm, struct weir_endpoint *endpoint,
			struct weir_permit permit, uint32_t parent, bool dies)
{
	uint32_t life = storm_life(storm);

	if (weir_permit_inherit(endpoint, &permit) != 0)
		_exit(0); /* the parent was killed before */
	atomic_fetch_add(&storm->inherited, 1);
	storm_occupy(storm, &permit, life, parent);
	if (dies) {
		atomic_store(&storm->dying[life % STORM_LIVES], 1);
		raise(SIGKILL);
	}
	storm_vacate(storm, &permit, life);
	if (weir_permit_release(endpoint, &permit) != 0)
		atomic_fetch_add(&storm->lost, 1);
	_exit(0);
}

static void storm_pass_on(struct storm *storm, struct weir_endpoint *endpoint,
			  struct weir_permit *permit, uint32_t life, bool dies)
{
	pid_t pid = fork();

	if (pid == 0)
		storm_child(storm, endpoint, *permit, life, dies);
	if (pid < 0)
		return;
	waitpid(pid, NULL, 0);
	storm_vacate(storm, permit, life);
	if (weir_permit_release(endpoint, permit) == 0)
		atomic_fetch_add(&storm->lost, 1); /* the child had it */
}

static int storm_process(void *context)
{
	static const uint64_t timeouts[] = {0, WEIR_MILLISECOND, WEIR_SECOND / 2};
	struct storm *storm = context;
	uint32_t life = storm_given;
	uint64_t random = life * 7919ull;
	struct weir_endpoint *endpoint = scene_endpoint(scene_open(storm->place), "api");
	struct weir_permit permit;

	/* until the dead ones' slots were reaped there may be none */
	if (!endpoint)
		return 0;
	while (!atomic_load(&storm->stop)) {
		uint64_t dice = scene_random(&random);

		if (weir_permit_take(endpoint, timeouts[dice % 3], &permit, NULL) != WEIR_ADMIT)
			continue;
		atomic_fetch_add(&storm->taken, 1);
		storm_occupy(storm, &permit, life, 0);
		if (dice >> 8 & 1)
			sched_yield();
		if ((dice >> 16 & 31) == 0) {
			storm_pass_on(storm, endpoint, &permit, life, dice >> 24 & 1);
			continue;
		}
		storm_vacate(storm, &permit, life);
		if (weir_permit_release(endpoint, &permit) != 0)
			atomic_fetch_add(&storm->lost, 1);
	}
	return 0;
}

/*
 * Sixteen processes take, wait, give back, fork and pass on, and are killed at random, for as long
 * as that; and no daemon. Afterwards all permits are free, and none was anybody else's meanwhile.
 */
static void test_storm(void **state)
{
	struct storm *storm = scene_shared(sizeof(*storm));
	pid_t pids[STORM_PROCESSES];
	uint32_t lives[STORM_PROCESSES];
	uint64_t random = 88172645463325252ull;
	unsigned kills = 0;
	struct stage stage;

	(void)state;
	if (UNDER_THREAD_SANITIZER)
		skip();
	stage_begin(&stage, 5);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	storm->place = &stage.scene.place;
	for (int i = 0; i < STORM_PROCESSES; i++) {
		lives[i] = storm_given = storm_life(storm);
		pids[i] = scene_child(storm_process, storm);
	}
	for (unsigned ms = 0; ms < 2500; ms += 5) {
		unsigned at = (unsigned)(scene_random(&random) % STORM_PROCESSES);

		scene_sleep_ms(5);
		atomic_store(&storm->dying[lives[at] % STORM_LIVES], 1);
		kill(pids[at], SIGKILL);
		waitpid(pids[at], NULL, 0);
		kills++;
		lives[at] = storm_given = storm_life(storm);
		pids[at] = scene_child(storm_process, storm);
		if (atomic_load(&storm->lives) > STORM_LIVES - 100)
			break;
	}
	atomic_store(&storm->stop, 1);
	for (int i = 0; i < STORM_PROCESSES; i++)
		assert_true(scene_wait(pids[i]) >= 0);
	while (waitpid(-1, NULL, 0) > 0)
		; /* children of those that were killed */
	prctl(PR_SET_CHILD_SUBREAPER, 0);
	for (uint32_t i = 0; i < stage.scene.segment.member_count; i++)
		members_reap(&stage.scene.segment, i);
	print_message("%u takes, %u taken over by a child, %u kills\n", storm->taken,
		      storm->inherited, kills);
	assert_int_equal(audit_segment(&stage.scene.segment, NULL, NULL), 0);
	assert_int_equal(storm->doubled, 0);
	assert_int_equal(storm->lost, 0);
	assert_true(storm->taken > 100 && kills > 50);
	assert_int_equal(calls_permits(stage.api).held, 0);
	assert_int_equal(calls_permits(stage.api).waiting, 0);
	assert_int_equal(calls_permits(stage.api).free, 5);
	stage_end(&stage);
}

/* ---- a limit that is found ---- */

enum {
	CALLERS = 4, /* threads, and as many processes */
	CALLS = 1500,
	MOST = 6,
};

static void set_found(struct stage *stage)
{
	const struct terms_author author = {ORIGIN_OPERATOR, 0};
	struct terms terms = scene_terms(1000000, 1000000);

	terms.concurrency = MOST + 1;
	terms.concurrency_min = 1;
	terms.concurrency_max = MOST;
	assert_true(rules_change(&stage->scene.segment,
				 (uint32_t)names_exact_row(&stage->scene.segment, "api"), &terms,
				 &author, RULES_KEEP_USED) >= 0);
}

static int call_all(struct crew *crew, struct weir_endpoint *endpoint)
{
	struct weir_permit permit;

	for (int i = 0; i < CALLS; i++) {
		if (weir_permit_take(endpoint, WEIR_FOREVER, &permit, NULL) != WEIR_ADMIT)
			return 1;
		enter(crew);
		atomic_fetch_sub(&crew->inside, 1);
		if ((i % 3 ? weir_permit_release : weir_permit_fail)(endpoint, &permit) != 0)
			return 2;
	}
	atomic_fetch_add(&crew->served, CALLS);
	return 0;
}

static void *thread_calls(void *context)
{
	struct waiter *waiter = context;

	return (void *)(intptr_t)call_all(waiter->crew, waiter->endpoint);
}

static int process_calls(void *context)
{
	struct crew *crew = context;
	struct weir *weir = scene_open(crew->place);
	struct weir_endpoint *endpoint = scene_endpoint(weir, "api");
	int status = endpoint ? call_all(crew, endpoint) : 3;

	weir_endpoint_close(endpoint);
	weir_close(weir);
	return status;
}

static void begin_calls(struct stage *stage, struct crew *crew, pthread_t *threads, pid_t *children)
{
	static struct waiter waiter;

	waiter = (struct waiter){.crew = crew, .endpoint = stage->api};
	for (int i = 0; i < CALLERS; i++)
		children[i] = UNDER_THREAD_SANITIZER ? 0 : scene_child(process_calls, crew);
	for (int i = 0; i < CALLERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, thread_calls, &waiter), 0);
}

static uint32_t end_calls(pthread_t *threads, pid_t *children)
{
	void *status;

	for (int i = 0; i < CALLERS; i++) {
		assert_int_equal(pthread_join(threads[i], &status), 0);
		assert_null(status);
		if (children[i])
			assert_int_equal(scene_wait(children[i]), 0);
	}
	return (UNDER_THREAD_SANITIZER ? 1 : 2) * CALLERS * CALLS;
}

/* Every call is counted, once, by threads and processes at one word. */
static void test_calls_are_counted(void **state)
{
	struct crew *crew = scene_shared(sizeof(*crew));
	pthread_t threads[CALLERS];
	pid_t children[CALLERS];
	struct permit_ends ends;
	struct stage stage;
	uint32_t calls;

	(void)state;
	stage_begin(&stage, 1);
	set_found(&stage);
	crew->place = &stage.scene.place;
	begin_calls(&stage, crew, threads, children);
	calls = end_calls(threads, children);
	assert_int_equal(crew->served, calls);
	permit_found_ends(&stage.scene.segment,
			  &stage.scene.segment.rows[names_exact_row(&stage.scene.segment, "api")],
			  &ends);
	assert_int_equal(permit_ends_calls(ends.ended, 0), calls);
	assert_int_equal(permit_ends_calls(ends.failed, 0), calls / 3);
	assert_in_range(crew->most_inside, 1, MOST);
	stage_end(&stage);
}

/* While it changes all the time, nobody is lost, and never more are under way than it may be. */
static void test_found_limit_changes(void **state)
{
	struct crew *crew = scene_shared(sizeof(*crew));
	struct permit_found found = {.cause = FOUND_QUEUE};
	pthread_t threads[CALLERS];
	pid_t children[CALLERS];
	struct stage stage;
	uint32_t row, all;

	(void)state;
	stage_begin(&stage, 1);
	set_found(&stage);
	row = (uint32_t)names_exact_row(&stage.scene.segment, "api");
	crew->place = &stage.scene.place;
	all = (UNDER_THREAD_SANITIZER ? 1 : 2) * CALLERS * CALLS;
	begin_calls(&stage, crew, threads, children);
	for (uint32_t i = 0; atomic_load(&crew->served) < all && i < 2000000; i++) {
		found.limit = 1 + i * 7 % (MOST + 2);
		assert_int_equal(permit_found_store(&stage.scene.segment, row, &found), 0);
		if (i % 2)
			permit_found_count(&stage.scene.segment, row);
		nap(100000);
	}
	assert_int_equal(end_calls(threads, children), crew->served);
	assert_in_range(crew->most_inside, 1, MOST);
	assert_int_equal(calls_permits(stage.api).held, 0);
	assert_int_equal(audit_segment(&stage.scene.segment, NULL, NULL), 0);
	stage_end(&stage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_no_overtaking),
		cmocka_unit_test(test_calls_overlap),
		cmocka_unit_test(test_enough_for_all),
		cmocka_unit_test(test_giving_up),
		cmocka_unit_test(test_first_dies),
		cmocka_unit_test(test_first_is_stopped),
		cmocka_unit_test(test_lost_call),
		cmocka_unit_test(test_limit_goes_up),
		cmocka_unit_test(test_rule_goes),
		cmocka_unit_test(test_ten_at_five),
		cmocka_unit_test(test_no_herd),
		cmocka_unit_test(test_no_herd_over_several),
		cmocka_unit_test(test_bell),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_storm),
		cmocka_unit_test(test_calls_are_counted),
		cmocka_unit_test(test_found_limit_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
