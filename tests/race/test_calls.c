/* SPDX-License-Identifier: Apache-2.0
 *
 * Processes with threads race for the same buckets by calls that need several, take what is there,
 * belong to a class, have a shadow, or tell of an upstream's responses. Time stands still, so that
 * what may be granted, and what is counted, is known to a token. Each process has its own mapping
 * of a named instance; its threads share the handles.
 */
#include <pthread.h>

#include "calls_fixture.h"

enum {
	PROCESSES = 3,
	THREADS = 2,
	TOKENS = 6000, /* of a bucket */
	LEAVE = 1000,
	SHADOW = 2500,
	ROUNDS = 1500,	 /* of each thread, where there is no end by itself */
	UPSTREAM = 3000, /* requests that an upstream allows */
};

/* What all processes count. */
struct counts {
	_Atomic uint64_t a; /* tokens granted */
	_Atomic uint64_t b;
	_Atomic uint64_t calls;
	_Atomic uint64_t refused;
	_Atomic uint64_t batch;
	_Atomic uint64_t failed;
	_Atomic uint32_t ready;
	_Atomic uint32_t begin;
};

struct job {
	struct calls *calls;
	struct counts *counts;
	struct weir_endpoint *a;
	struct weir_endpoint *b;
	struct weir_endpoint *batch; /* of a */
	unsigned index;		     /* of the thread, in its process */
	void (*draw)(struct job *job);
};

static void add(_Atomic uint64_t *count, uint64_t by)
{
	atomic_fetch_add_explicit(count, by, memory_order_relaxed);
}

/* ---- what threads do ---- */

static bool take_both(struct job *job, bool turned)
{
	const struct weir_want wants[] = {
		{.endpoint = turned ? job->b : job->a, .cost = turned ? 1 : 2},
		{.endpoint = turned ? job->a : job->b, .cost = turned ? 2 : 1},
	};
	struct weir_answer answer;
	bool admitted = weir_acquire_all(wants, 2, &answer) == WEIR_ADMIT;

	if (answer.fault)
		add(&job->counts->failed, 1);
	if (admitted) {
		add(&job->counts->a, 2);
		add(&job->counts->b, 1);
	}
	return admitted;
}

/* Both, in both orders, and one of them alone, until nothing is left of a. */
static void draw_several(struct job *job)
{
	unsigned refusals = 0;

	for (unsigned i = job->index; refusals < 50; i++) {
		bool admitted;

		if (i % 3 == 2) {
			admitted = weir_acquire(job->a, 1, NULL) == WEIR_ADMIT;
			add(&job->counts->a, admitted);
		} else {
			admitted = take_both(job, i % 3);
		}
		refusals = admitted ? 0 : refusals + 1;
	}
}

/* The same, while others queue in a beyond its burst and give their places up again. */
static void draw_among_queues(struct job *job)
{
	struct weir_reservation place;

	for (unsigned i = 0; i < ROUNDS; i++) {
		if (!take_both(job, i & 1))
			add(&job->counts->refused, 1);
		if (weir_reserve(job->a, 1, WEIR_FOREVER, &place, NULL) == WEIR_ADMIT)
			add(&job->counts->a, 1);
	}
}

/* By whole handfuls, and the last ones one by one. */
static void draw_up_to(struct job *job)
{
	uint64_t taken;

	while (weir_acquire_up_to(job->a, 1, 1 + job->index * 3, 7, &taken, NULL) == WEIR_ADMIT) {
		if (taken < 1 + job->index * 3 || taken > 7)
			add(&job->counts->failed, 1);
		add(&job->counts->a, taken);
		add(&job->counts->calls, 1);
	}
	while (weir_acquire_up_to(job->a, 1, 1, 1, &taken, NULL) == WEIR_ADMIT)
		add(&job->counts->a, taken);
}

static void draw_batch(struct job *job)
{
	unsigned refusals = 0;

	while (refusals < 50) {
		bool admitted = weir_acquire(job->batch, 1, NULL) == WEIR_ADMIT;

		add(&job->counts->batch, admitted);
		refusals = admitted ? 0 : refusals + 1;
		/* a few users among them, who may take what is to be left */
		if (admitted && job->index == 0 && weir_acquire(job->a, 1, NULL) == WEIR_ADMIT)
			add(&job->counts->a, 1);
	}
}

static void draw_in_shadow(struct job *job)
{
	for (unsigned i = 0; i < ROUNDS; i++)
		if (weir_acquire(job->b, 1, NULL) != WEIR_ADMIT)
			add(&job->counts->failed, 1);
}

static void observe(struct job *job, int status, const char *name, const char *value)
{
	const struct weir_header header = {name, value, WEIR_TEXT, WEIR_TEXT};

	add(&job->counts->calls, 1);
	if (weir_observe(job->a, status, &header, 1, 0, NULL) != 0)
		add(&job->counts->failed, 1);
}

/* One request: the upstream counts it, and says what it has left; what is refused closes. */
static bool ask_upstream(struct job *job)
{
	uint64_t before;
	char left[24];

	if (weir_acquire(job->a, 1, NULL) != WEIR_ADMIT)
		return false;
	before = atomic_fetch_add(&job->counts->a, 1);
	if (before >= UPSTREAM)
		add(&job->counts->refused, 1);
	snprintf(left, sizeof(left), "%llu",
		 (unsigned long long)(before < UPSTREAM ? UPSTREAM - before - 1 : 0));
	observe(job, 200, "X-RateLimit-Remaining", left);
	return true;
}

static void draw_and_observe(struct job *job)
{
	while (ask_upstream(job))
		;
	observe(job, 429, "Retry-After", "30");
	/* old news raises nothing, and opens nothing */
	observe(job, 200, "X-RateLimit-Remaining", "5000");
	if (ask_upstream(job))
		add(&job->counts->failed, 1);
}

static void weigh(struct job *job)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		add(&job->counts->a, weir_acquire(job->a, 1, NULL) == WEIR_ADMIT);
		add(&job->counts->calls, 1);
	}
}

/* ---- processes ---- */

static void *thread_main(void *context)
{
	struct job *job = context;

	job->draw(job);
	return NULL;
}

static int process_main(void *context)
{
	const struct job *plan = context;
	struct weir *weir = scene_open(&plan->calls->scene.place);
	struct job jobs[THREADS];
	pthread_t threads[THREADS];
	struct weir_endpoint *batch = NULL;

	CHILD_CHECK(weir);
	CHILD_CHECK(weir_endpoint_class(weir, "a", "batch", &batch) == 0);
	for (unsigned i = 0; i < THREADS; i++) {
		jobs[i] = *plan;
		jobs[i].index = i;
		jobs[i].a = i ? jobs[0].a : scene_endpoint(weir, "a");
		jobs[i].b = i ? jobs[0].b : scene_endpoint(weir, "b");
		jobs[i].batch = batch;
		CHILD_CHECK(jobs[i].a && jobs[i].b);
	}
	atomic_fetch_add(&plan->counts->ready, 1);
	CHILD_CHECK(scene_until(&plan->counts->begin, 1));
	for (unsigned i = 0; i < THREADS; i++)
		CHILD_CHECK(pthread_create(&threads[i], NULL, thread_main, &jobs[i]) == 0);
	for (unsigned i = 0; i < THREADS; i++)
		CHILD_CHECK(pthread_join(threads[i], NULL) == 0);
	weir_endpoint_close(jobs[0].a);
	weir_endpoint_close(jobs[0].b);
	weir_endpoint_close(batch);
	weir_close(weir);
	return 0;
}

/* Runs all of them to their end; *counts is shared memory. */
static void race(struct calls *calls, struct counts *counts, void (*draw)(struct job *))
{
	struct job plan = {.calls = calls, .counts = counts, .draw = draw};
	pid_t pids[PROCESSES];

	*counts = (struct counts){0};
	for (int i = 0; i < PROCESSES; i++)
		pids[i] = scene_child(process_main, &plan);
	assert_true(scene_until(&counts->ready, PROCESSES));
	atomic_store(&counts->begin, 1);
	for (int i = 0; i < PROCESSES; i++)
		assert_int_equal(scene_wait(pids[i]), 0);
	assert_int_equal(atomic_load(&counts->failed), 0);
}

static struct counts *begin(struct calls *calls)
{
	calls_begin(calls);
	calls_rule(calls, "a", "rate=1/d", "burst=6000", "class batch=leave 1000");
	calls_rule(calls, "b", "rate=1/d", "burst=6000");
	return scene_shared(sizeof(struct counts));
}

static void end(struct calls *calls, struct counts *counts)
{
	munmap(counts, sizeof(*counts));
	calls_end(calls);
}

/* ---- tests ---- */

static void several_take_exactly_what_is_there(void **state)
{
	struct calls calls;
	struct counts *counts = begin(&calls);

	(void)state;
	race(&calls, counts, draw_several);
	struct weir_endpoint *a = calls_endpoint(&calls, "a");
	struct weir_endpoint *b = calls_endpoint(&calls, "b");

	/* nobody queued, so all that a refused call had taken is back */
	assert_int_equal(counts->a, TOKENS);
	assert_level(a, 0);
	assert_near(calls_peek(b).level, TOKENS - (double)counts->b);
	assert_near(calls_peek(a).granted_tokens, TOKENS);
	assert_near(calls_peek(b).granted_tokens, (double)counts->b);
	assert_near(calls_peek(a).returned_tokens, 0);
	end(&calls, counts);
}

static void several_among_queues_lose_a_bounded_part(void **state)
{
	struct calls calls;
	struct counts *counts = begin(&calls);

	(void)state;
	race(&calls, counts, draw_among_queues);
	struct weir_endpoint *a = calls_endpoint(&calls, "a");
	struct weir_endpoint *b = calls_endpoint(&calls, "b");
	double lost = TOKENS - (double)counts->a - calls_peek(a).level;

	/* in a others may have queued behind what was to go back: 2 of each refused call at most */
	assert_true(lost >= 0 && lost <= 2 * (double)counts->refused);
	printf("%llu refused calls, %g tokens could not go back\n",
	       (unsigned long long)counts->refused, lost);
	assert_near(calls_peek(b).level, TOKENS - (double)counts->b);
	end(&calls, counts);
}

static void handfuls_take_exactly_what_is_there(void **state)
{
	struct calls calls;
	struct counts *counts = begin(&calls);

	(void)state;
	race(&calls, counts, draw_up_to);
	struct weir_endpoint *a = calls_endpoint(&calls, "a");

	assert_int_equal(counts->a, TOKENS);
	assert_true(counts->calls >= TOKENS / 7);
	assert_level(a, 0);
	end(&calls, counts);
}

static void a_class_never_takes_the_headroom(void **state)
{
	struct calls calls;
	struct counts *counts = begin(&calls);

	(void)state;
	race(&calls, counts, draw_batch);
	struct weir_endpoint *a = calls_endpoint(&calls, "a");

	/* users took from above the headroom, or out of it, behind the last call of the class */
	assert_true(counts->batch + counts->a >= TOKENS - LEAVE);
	assert_true(counts->batch <= TOKENS - LEAVE);
	assert_near(calls_peek(a).level, TOKENS - (double)counts->batch - (double)counts->a);
	assert_true(calls_peek(a).level > LEAVE - (double)PROCESSES * THREADS - 1);
	end(&calls, counts);
}

static void shadow_mode_counts_every_call(void **state)
{
	struct calls calls;
	struct counts *counts = begin(&calls);
	const uint64_t drawn = (uint64_t)PROCESSES * THREADS * ROUNDS;

	(void)state;
	calls_change(&calls, "b", "rate=1/d", "burst=6000", "shadow=yes", "shadow_rate=1/d",
		     "shadow_burst=2500");
	race(&calls, counts, draw_in_shadow);
	struct weir_endpoint *b = calls_endpoint(&calls, "b");

	assert_int_equal(calls_peek(b).granted, drawn);
	assert_int_equal(calls_peek(b).shadow_passed, drawn - TOKENS);
	assert_int_equal(calls_peek(b).shadow_refused, drawn - SHADOW);
	assert_level(b, 0);
	end(&calls, counts);
}

static void a_shadow_limit_counts_every_call(void **state)
{
	struct calls calls;
	struct counts *counts = begin(&calls);

	(void)state;
	calls_change(&calls, "a", "rate=1/d", "burst=6000", "shadow_rate=1/d", "shadow_burst=2500");
	race(&calls, counts, weigh);
	struct weir_endpoint *a = calls_endpoint(&calls, "a");

	assert_int_equal(counts->a, TOKENS);
	assert_int_equal(calls_peek(a).refused, counts->calls - TOKENS);
	assert_int_equal(calls_peek(a).shadow_refused, counts->calls - SHADOW);
	assert_int_equal(calls_peek(a).shadow_passed, 0);
	end(&calls, counts);
}

/* Each lowers the level by what it was told; no more are on their way than there are threads. */
static void what_is_left_upstream_is_left_here(void **state)
{
	struct calls calls;
	struct counts *counts = begin(&calls);

	(void)state;
	calls_change(&calls, "a", "rate=1/d", "burst=6000", "adaptive=headers");
	race(&calls, counts, draw_and_observe);
	struct weir_endpoint *a = calls_endpoint(&calls, "a");

	assert_in_range(counts->a, UPSTREAM, UPSTREAM + PROCESSES * THREADS);
	assert_int_equal(counts->refused, counts->a - UPSTREAM);
	assert_level(a, 0);
	assert_in_range(calls_peek(a).closed_ns, 30 * SCENE_SECOND - SCENE_SECOND / 1000,
			30 * SCENE_SECOND + SCENE_SECOND / 1000);
	/* there is no daemon: each was to be told once, and is counted once */
	assert_int_equal(atomic_load(&calls.scene.segment.state->observations_dropped),
			 counts->calls);
	end(&calls, counts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(several_take_exactly_what_is_there),
		cmocka_unit_test(several_among_queues_lose_a_bounded_part),
		cmocka_unit_test(handfuls_take_exactly_what_is_there),
		cmocka_unit_test(a_class_never_takes_the_headroom),
		cmocka_unit_test(shadow_mode_counts_every_call),
		cmocka_unit_test(a_shadow_limit_counts_every_call),
		cmocka_unit_test(what_is_left_upstream_is_left_here),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
