/* SPDX-License-Identifier: Apache-2.0
 *
 * test_executor.c - work under a rate and in so many threads: when it starts, in which order it is
 * told of, what is turned away; and the defects of its reference that it must not have.
 */
#include "uv_fixture.h"

#include <errno.h>
#include <unistd.h>

static const char rules[] = "[endpoint two]\n"
			    "rate = 2/s\n"
			    "burst = 2\n"
			    "[endpoint one]\n"
			    "rate = 2/s\n"
			    "burst = 1\n"
			    "[endpoint ten]\n"
			    "rate = 10/s\n"
			    "burst = 10\n"
			    "[endpoint free]\n"
			    "rate = unlimited\n"
			    "[endpoint stopped]\n"
			    "rate = 0\n"
			    "[endpoint hourly]\n"
			    "rate = 1/h\n"
			    "burst = 1\n"
			    "class background = leave 50 %\n";

#define MOST 400

/* What happened, in the order of the callbacks. */
struct log {
	struct stage *stage;
	unsigned count;
	struct weir_result results[MOST];
};

static struct log *log_of; /* a callback knows its executor alone */

static void on_done(struct weir_executor *executor, const struct weir_result *result)
{
	assert_ptr_equal(executor, log_of->stage->executor);
	assert_true(log_of->count < MOST);
	log_of->results[log_of->count++] = *result;
}

/* A piece of work that says when it ran. */
struct piece {
	struct weir *weir;
	uint64_t at_ns;
	unsigned runs;
	int value;
};

static int note(void *data)
{
	struct piece *piece = data;

	piece->at_ns = weir_clock_now(piece->weir);
	piece->runs++;
	return piece->value;
}

static void begin(struct stage *stage, struct log *log, uint32_t threads, uint32_t queue)
{
	stage_begin(stage, rules);
	stage_executor(stage, threads, queue);
	*log = (struct log){.stage = stage};
	log_of = log;
}

static void pieces_begin(struct piece *pieces, size_t count, struct stage *stage)
{
	for (size_t i = 0; i < count; i++)
		pieces[i] = (struct piece){.weir = stage->weir, .value = (int)i};
}

static struct weir_task task_of(struct weir_endpoint *endpoint, struct piece *piece)
{
	return (struct weir_task){
		.endpoint = endpoint,
		.cost = 1,
		.work = note,
		.done = on_done,
		.data = piece,
	};
}

static int64_t submit(struct stage *stage, struct weir_endpoint *endpoint, struct piece *piece)
{
	const struct weir_task task = task_of(endpoint, piece);

	return weir_executor_submit(stage->executor, &task);
}

/* ---- IT-4 to IT-6, UT-5, UT-6 ---- */

/* Five operations at 2/s: the first `burst` at once, each further one half a second later. */
static void five_operations(const char *name, unsigned burst, uint64_t all_ns)
{
	struct weir_endpoint *endpoint;
	struct piece pieces[5];
	struct stage stage;
	struct log log;

	begin(&stage, &log, 4, 0);
	endpoint = stage_endpoint(&stage, name);
	pieces_begin(pieces, 5, &stage);

	uint64_t began_ns = weir_clock_now(stage.weir);

	for (size_t i = 0; i < 5; i++)
		assert_true(submit(&stage, endpoint, &pieces[i]) > 0);
	stage_until(&stage, &log.count, 5);
	for (unsigned i = 0; i < 5; i++) {
		uint64_t after_ns = i < burst ? 0 : (i + 1 - burst) * 500 * MS;

		assert_int_equal(pieces[i].runs, 1);
		assert_int_equal(pieces[i].at_ns - began_ns, after_ns);
	}
	assert_int_equal(pieces[4].at_ns - began_ns, all_ns);
	/* they paid: nothing is left, and each was counted once */
	assert_tokens(endpoint, 0);
	assert_int_equal(stage_level(endpoint).granted, 5);
	assert_int_equal(stage_level(endpoint).waited, 5 - burst);
	assert_int_equal(stage_level(endpoint).refused, 0);
	weir_endpoint_close(endpoint);
	stage_end(&stage);
}

static void test_it_4_rate(void **state)
{
	(void)state;
	five_operations("two", 2, 1500 * MS);
	five_operations("one", 1, 2000 * MS);
}

/* Ten operations, five at once: never more than five inside, and not fewer where there is work. */
static void test_it_5_concurrency(void **state)
{
	struct weir_endpoint *endpoint;
	struct stage stage;
	struct hold hold;
	struct log log;

	(void)state;
	begin(&stage, &log, 5, 0);
	hold_begin(&hold);
	endpoint = stage_endpoint(&stage, "free");

	const struct weir_task task = {
		.endpoint = endpoint, .cost = 1, .work = hold_work, .done = on_done, .data = &hold};

	for (int i = 0; i < 10; i++)
		assert_true(weir_executor_submit(stage.executor, &task) > 0);
	hold_until(&hold, &stage, 5);
	stage_look(&stage);
	assert_int_equal(hold.entered, 5);
	assert_int_equal(stage_statistics(&stage).running, 5);
	assert_int_equal(stage_statistics(&stage).queued, 5);
	hold_open(&hold);
	stage_until(&stage, &log.count, 10);
	assert_int_equal(hold.entered, 10);
	assert_int_equal(hold.most, 5);
	hold_end(&hold);
	weir_endpoint_close(endpoint);
	stage_end(&stage);
}

/* Work that ends in another order than it began in. */
static int slow_first(void *data)
{
	const struct piece *piece = data;

	if (piece->value == 0)
		usleep(20000);
	return piece->value * piece->value;
}

/* Both limits, and the results of a map in the order of its input. */
static void test_it_6_both(void **state)
{
	struct weir_endpoint *endpoint;
	struct piece pieces[20];
	void *data[20];
	struct stage stage;
	struct log log;

	(void)state;
	begin(&stage, &log, 5, 4); /* a map is one task of the queue */
	endpoint = stage_endpoint(&stage, "ten");
	pieces_begin(pieces, 20, &stage);
	for (size_t i = 0; i < 20; i++)
		data[i] = &pieces[i];

	struct weir_task task = task_of(endpoint, NULL);
	uint64_t began_ns = weir_clock_now(stage.weir);

	task.work = slow_first;

	int64_t id = weir_executor_map(stage.executor, &task, data, 20);

	assert_true(id > 0);
	memset(data, 0, sizeof(data)); /* it was copied */
	stage_until(&stage, &log.count, 20);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(log.results[i].id, id);
		assert_int_equal(log.results[i].index, i);
		assert_ptr_equal(log.results[i].data, &pieces[i]);
		assert_int_equal(log.results[i].verdict, WEIR_ADMIT);
		assert_int_equal(log.results[i].value, i * i);
		/* a thread may have read the clock just before it moved */
		if (i >= 10)
			assert_in_range(log.results[i].waited_ns, (i - 10) * 100 * MS,
					(i - 9) * 100 * MS);
	}
	assert_int_equal(weir_clock_now(stage.weir) - began_ns, WEIR_SECOND);
	assert_int_equal(stage_statistics(&stage).completed, 20);
	weir_endpoint_close(endpoint);
	stage_end(&stage);
}

/* At once when the tokens are there; else after exactly the wait, once, and it pays. */
static void test_ut_5_and_6_execute(void **state)
{
	struct weir_endpoint *endpoint;
	struct piece pieces[2];
	struct stage stage;
	struct log log;

	(void)state;
	begin(&stage, &log, 1, 0);
	endpoint = stage_endpoint(&stage, "ten");
	pieces_begin(pieces, 2, &stage);

	struct weir_task task = task_of(endpoint, &pieces[0]);

	task.cost = 8;
	assert_true(weir_executor_submit(stage.executor, &task) > 0);
	stage_until(&stage, &log.count, 1);
	assert_int_equal(atomic_load(&stage.waits), 0);
	assert_int_equal(log.results[0].waited_ns, 0);
	assert_tokens(endpoint, 2);
	task.cost = 5;
	task.data = &pieces[1];
	assert_true(weir_executor_submit(stage.executor, &task) > 0);
	stage_until(&stage, &log.count, 2);
	assert_int_equal(atomic_load(&stage.waits), 1);
	assert_int_equal(log.results[1].waited_ns, 300 * MS);
	assert_int_equal(log.results[1].value, 1);
	assert_int_equal(pieces[1].runs, 1);
	assert_tokens(endpoint, 0);
	weir_endpoint_close(endpoint);
	stage_end(&stage);
}

/* ---- defects of the reference ---- */

/* Defect 4: without an endpoint it ran outside of all limits. */
static void test_defect_4_no_endpoint(void **state)
{
	struct piece piece;
	struct stage stage;
	struct log log;

	(void)state;
	begin(&stage, &log, 1, 0);
	pieces_begin(&piece, 1, &stage);
	assert_int_equal(submit(&stage, NULL, &piece), WEIR_EVALUE);
	stage_look(&stage);
	assert_int_equal(piece.runs, 0);
	assert_int_equal(stage_statistics(&stage).submitted, 0);
	stage_end(&stage);
}

/* Defect 13: the token was spent before the wait for a slot, and lost when that was cancelled. */
static void test_defect_13_token_before_slot(void **state)
{
	struct weir_endpoint *endpoint;
	struct piece pieces[3];
	struct stage stage;
	struct hold hold;
	struct log log;
	int64_t ids[3];

	(void)state;
	begin(&stage, &log, 1, 0);
	hold_begin(&hold);
	endpoint = stage_endpoint(&stage, "ten");
	pieces_begin(pieces, 3, &stage);

	struct weir_task task = task_of(endpoint, NULL);

	task.work = hold_work;
	task.data = &hold;
	assert_true(weir_executor_submit(stage.executor, &task) > 0);
	hold_until(&hold, &stage, 1);
	assert_tokens(endpoint, 9);
	for (size_t i = 0; i < 3; i++)
		ids[i] = submit(&stage, endpoint, &pieces[i]);
	stage_look(&stage);
	assert_tokens(endpoint, 9); /* no thread is free: no token is spent */
	assert_int_equal(weir_executor_cancel(stage.executor, ids[1]), 0);
	hold_open(&hold);
	stage_until(&stage, &log.count, 4);
	assert_tokens(endpoint, 7);
	assert_int_equal(pieces[1].runs, 0);
	/* a token that was taken in line goes back, too */
	task.work = note;
	task.data = &pieces[1];
	task.cost = 10;
	ids[1] = weir_executor_submit(stage.executor, &task);
	while (stage_statistics(&stage).waiting == 0)
		uv_run(&stage.loop, UV_RUN_NOWAIT);
	assert_tokens(endpoint, -3);
	assert_int_equal(weir_executor_cancel(stage.executor, ids[1]), 0);
	assert_tokens(endpoint, 7);
	hold_end(&hold);
	weir_endpoint_close(endpoint);
	stage_end(&stage);
}

/* Defect 14: sleepers slept on through the shutdown, and new work was accepted after it. */
static void test_defect_14_shutdown(void **state)
{
	struct weir_endpoint *endpoint;
	struct piece pieces[3];
	struct stage stage;
	struct log log;

	(void)state;
	begin(&stage, &log, 2, 0);
	endpoint = stage_endpoint(&stage, "hourly");
	pieces_begin(pieces, 3, &stage);
	for (size_t i = 0; i < 3; i++)
		assert_true(submit(&stage, endpoint, &pieces[i]) > 0);
	while (log.count < 1 || stage_statistics(&stage).waiting < 1)
		uv_run(&stage.loop, UV_RUN_NOWAIT);
	assert_tokens(endpoint, -1);
	stage_shut(&stage, WEIR_FOREVER);
	assert_tokens(endpoint, 0); /* the place of the one that slept is given back */
	assert_int_equal(submit(&stage, endpoint, &pieces[0]), -ESHUTDOWN);
	while (stage.stops == 0)
		uv_run(&stage.loop, UV_RUN_NOWAIT);
	assert_int_equal(stage.status, 0);
	assert_int_equal(log.count, 3);
	for (unsigned i = 1; i < 3; i++) {
		assert_int_equal(log.results[i].verdict, WEIR_REFUSE);
		assert_int_equal(log.results[i].fault, -ECANCELED);
	}
	assert_int_equal(pieces[0].runs, 1);
	assert_int_equal(pieces[1].runs + pieces[2].runs, 0);
	assert_int_equal(submit(&stage, endpoint, &pieces[0]), -ESHUTDOWN);
	assert_int_equal(stage_statistics(&stage).cancelled, 2);
	weir_endpoint_close(endpoint);
	stage_end(&stage);
}

/* ---- order ---- */

static void test_completion_order_and_ids(void **state)
{
	struct weir_endpoint *endpoint;
	struct piece pieces[50];
	int64_t ids[50];
	struct stage stage;
	struct log log;

	(void)state;
	begin(&stage, &log, 1, 0);
	endpoint = stage_endpoint(&stage, "free");
	pieces_begin(pieces, 50, &stage);
	for (size_t i = 0; i < 50; i++) {
		ids[i] = submit(&stage, endpoint, &pieces[i]);
		assert_true(ids[i] > 0);
		for (size_t j = 0; j < i; j++)
			assert_int_not_equal(ids[i], ids[j]);
	}
	stage_until(&stage, &log.count, 50);
	for (unsigned i = 0; i < 50; i++) {
		assert_int_equal(log.results[i].id, ids[i]);
		assert_int_equal(log.results[i].value, i);
		assert_int_equal(weir_executor_cancel(stage.executor, ids[i]), WEIR_ESPENT);
	}
	weir_endpoint_close(endpoint);
	stage_end(&stage);
}

/* One thread, held by the first: what is queued behind it goes by priority, then by arrival. */
static void test_priorities(void **state)
{
	static const int32_t priorities[] = {WEIR_PRIORITY_LOW,	   WEIR_PRIORITY_NORMAL,
					     WEIR_PRIORITY_HIGH,   WEIR_PRIORITY_LOW,
					     WEIR_PRIORITY_NORMAL, WEIR_PRIORITY_HIGH};
	static const unsigned expected[] = {2, 5, 1, 4, 0, 3};
	struct weir_endpoint *endpoints[2];
	struct piece pieces[6];
	struct stage stage;
	struct hold hold;
	struct log log;

	(void)state;
	begin(&stage, &log, 1, 0);
	hold_begin(&hold);
	endpoints[0] = stage_endpoint(&stage, "free");
	endpoints[1] = stage_endpoint(&stage, "ten");
	pieces_begin(pieces, 6, &stage);

	struct weir_task task = task_of(endpoints[0], NULL);

	task.work = hold_work;
	task.data = &hold;
	assert_true(weir_executor_submit(stage.executor, &task) > 0);
	hold_until(&hold, &stage, 1);
	for (size_t i = 0; i < 6; i++) {
		task = task_of(endpoints[i / 3], &pieces[i]);
		task.priority = priorities[i];
		assert_true(weir_executor_submit(stage.executor, &task) > 0);
	}
	hold_open(&hold);
	stage_until(&stage, &log.count, 7);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(log.results[i + 1].value, expected[i]);
	hold_end(&hold);
	weir_endpoint_close(endpoints[0]);
	weir_endpoint_close(endpoints[1]);
	stage_end(&stage);
}

/* The place in line is the lane's: it serves what is more urgent, if that costs the same. */
static void test_priority_in_line(void **state)
{
	struct weir_endpoint *endpoint;
	struct piece pieces[4];
	struct stage stage;
	struct log log;
	int64_t id;

	(void)state;
	begin(&stage, &log, 2, 0);
	endpoint = stage_endpoint(&stage, "two");
	pieces_begin(pieces, 4, &stage);

	struct weir_task task = task_of(endpoint, &pieces[0]);

	task.cost = 2;
	assert_true(weir_executor_submit(stage.executor, &task) > 0);
	stage_until(&stage, &log.count, 1);
	/* one waits; a later one that is more urgent takes its turn */
	assert_true(submit(&stage, endpoint, &pieces[1]) > 0);
	while (stage_statistics(&stage).waiting == 0)
		uv_run(&stage.loop, UV_RUN_NOWAIT);
	task = task_of(endpoint, &pieces[2]);
	task.priority = WEIR_PRIORITY_HIGH;
	assert_true(weir_executor_submit(stage.executor, &task) > 0);
	stage_until(&stage, &log.count, 3);
	assert_int_equal(log.results[1].value, 2);
	assert_int_equal(log.results[1].waited_ns, 500 * MS);
	assert_int_equal(log.results[2].value, 1);
	assert_int_equal(log.results[2].waited_ns, 1000 * MS);
	/* of another cost: whose turn it is goes first */
	assert_true(submit(&stage, endpoint, &pieces[1]) > 0);
	while (stage_statistics(&stage).waiting == 0)
		uv_run(&stage.loop, UV_RUN_NOWAIT);
	task.cost = 2;
	assert_true(weir_executor_submit(stage.executor, &task) > 0);
	stage_until(&stage, &log.count, 5);
	assert_int_equal(log.results[3].value, 1);
	assert_int_equal(log.results[4].value, 2);
	/* whose turn it is leaves: the place is not for what costs something else */
	id = submit(&stage, endpoint, &pieces[1]);
	while (stage_statistics(&stage).waiting == 0)
		uv_run(&stage.loop, UV_RUN_NOWAIT);
	assert_true(weir_executor_submit(stage.executor, &task) > 0);
	assert_int_equal(weir_executor_cancel(stage.executor, id), 0);
	stage_until(&stage, &log.count, 7);
	assert_int_equal(log.results[5].fault, -ECANCELED);
	assert_int_equal(log.results[6].value, 2);
	/* and is for what costs the same */
	id = submit(&stage, endpoint, &pieces[1]);
	while (stage_statistics(&stage).waiting == 0)
		uv_run(&stage.loop, UV_RUN_NOWAIT);
	assert_true(submit(&stage, endpoint, &pieces[3]) > 0);

	double level = stage_level(endpoint).level;

	assert_int_equal(weir_executor_cancel(stage.executor, id), 0);
	assert_tokens(endpoint, level);
	stage_until(&stage, &log.count, 9);
	assert_int_equal(log.results[8].value, 3);
	weir_endpoint_close(endpoint);
	stage_end(&stage);
}

/* Endpoints do not hold each other up, and share what threads there are. */
static void test_endpoints_side_by_side(void **state)
{
	struct weir_endpoint *slow, *free_one;
	struct piece pieces[12];
	struct stage stage;
	struct log log;

	(void)state;
	begin(&stage, &log, 1, 0);
	slow = stage_endpoint(&stage, "hourly");
	free_one = stage_endpoint(&stage, "free");
	pieces_begin(pieces, 12, &stage);
	assert_true(submit(&stage, slow, &pieces[0]) > 0);
	assert_true(submit(&stage, slow, &pieces[1]) > 0);
	for (size_t i = 2; i < 12; i++)
		assert_true(submit(&stage, free_one, &pieces[i]) > 0);
	while (log.count < 11)
		uv_run(&stage.loop, UV_RUN_NOWAIT);
	assert_int_equal(pieces[1].runs, 0);
	assert_int_equal(stage_statistics(&stage).waiting, 1);
	stage_until(&stage, &log.count, 12);
	assert_int_equal(pieces[1].runs, 1);
	weir_endpoint_close(slow);
	weir_endpoint_close(free_one);
	stage_end(&stage);
}

/* ---- the queue's bound ---- */

static void on_drain(struct weir_executor *executor, void *data)
{
	unsigned *drained = data;

	(void)executor;
	++*drained;
}

static void test_queue_full(void **state)
{
	struct weir_endpoint *endpoint;
	struct piece pieces[4];
	unsigned drained = 0;
	struct stage stage;
	struct hold hold;
	struct log log;

	(void)state;
	stage_begin(&stage, rules);

	const struct weir_executor_options options = {.size = sizeof(options),
						      .threads = 1,
						      .queue = 4,
						      .drain = on_drain,
						      .data = &drained};

	assert_int_equal(weir_executor_open(&stage.executor, stage.uv, stage.weir, &options), 0);
	log = (struct log){.stage = &stage};
	log_of = &log;
	hold_begin(&hold);
	endpoint = stage_endpoint(&stage, "free");
	pieces_begin(pieces, 4, &stage);

	struct weir_task task = task_of(endpoint, NULL);

	task.work = hold_work;
	task.data = &hold;
	assert_true(weir_executor_submit(stage.executor, &task) > 0);
	for (size_t i = 0; i < 3; i++)
		assert_true(submit(&stage, endpoint, &pieces[i]) > 0);
	assert_int_equal(submit(&stage, endpoint, &pieces[3]), -EAGAIN);
	assert_int_equal(submit(&stage, endpoint, &pieces[3]), -EAGAIN);
	assert_int_equal(stage_statistics(&stage).rejected, 2);
	hold_open(&hold);
	stage_until(&stage, &log.count, 4);
	stage_until(&stage, &drained, 1);
	assert_true(submit(&stage, endpoint, &pieces[3]) > 0);
	stage_until(&stage, &log.count, 5);
	stage_look(&stage);
	assert_int_equal(drained, 1); /* nobody was turned away since */
	hold_end(&hold);
	weir_endpoint_close(endpoint);
	stage_end(&stage);
}

/* ---- what is refused ---- */

static void test_mistakes(void **state)
{
	struct weir_executor_options options = {.size = sizeof(options)};
	struct weir_executor *executor = NULL;
	struct weir_endpoint *endpoint;
	void *data[1] = {NULL};
	struct piece piece;
	struct stage stage;
	struct log log;

	(void)state;
	begin(&stage, &log, 1, 0);
	endpoint = stage_endpoint(&stage, "ten");
	pieces_begin(&piece, 1, &stage);

	const struct weir_task good = task_of(endpoint, &piece);
	struct weir_task task = good;

	assert_int_equal(weir_executor_submit(stage.executor, NULL), WEIR_EVALUE);
	task.work = NULL;
	assert_int_equal(weir_executor_submit(stage.executor, &task), WEIR_EVALUE);
	task = good;
	task.priority = 3;
	assert_int_equal(weir_executor_submit(stage.executor, &task), WEIR_EVALUE);
	task.priority = -1;
	assert_int_equal(weir_executor_submit(stage.executor, &task), WEIR_EVALUE);
	task = good;
	task.cost = 0;
	assert_int_equal(weir_executor_submit(stage.executor, &task), WEIR_ECOST);
	task.cost = NAN;
	assert_int_equal(weir_executor_map(stage.executor, &task, data, 1), WEIR_ECOST);
	assert_int_equal(weir_executor_map(stage.executor, &good, data, 0), WEIR_EVALUE);
	assert_int_equal(weir_executor_map(stage.executor, &good, NULL, 1), WEIR_EVALUE);
	assert_int_equal(weir_executor_map(stage.executor, &good, data, SIZE_MAX), WEIR_EVALUE);
	assert_int_equal(weir_executor_cancel(stage.executor, 0), WEIR_ESPENT);
	assert_int_equal(weir_executor_cancel(stage.executor, -1), WEIR_ESPENT);
	assert_int_equal(weir_executor_cancel(stage.executor, INT64_MAX), WEIR_ESPENT);
	options.queue = UINT32_MAX;
	assert_int_equal(weir_executor_open(&executor, stage.uv, stage.weir, &options),
			 WEIR_EVALUE);
	options.queue = 1;
	options.threads = 1025;
	assert_int_equal(weir_executor_open(&executor, stage.uv, stage.weir, &options),
			 WEIR_EVALUE);
	assert_null(executor);
	assert_int_equal(weir_executor_close(NULL), 0);
	assert_int_equal(weir_executor_close(stage.executor), -EBUSY);
	assert_int_equal(weir_uv_close(stage.uv, NULL, NULL), -EBUSY);
	weir_endpoint_close(endpoint);
	stage_end(&stage);
}

/* What its limit will never let pass does not run, and holds nobody up. */
static void test_refused(void **state)
{
	struct weir_endpoint *ten, *stopped;
	struct piece pieces[4];
	struct stage stage;
	struct log log;

	(void)state;
	begin(&stage, &log, 2, 0);
	ten = stage_endpoint(&stage, "ten");
	stopped = stage_endpoint(&stage, "stopped");
	pieces_begin(pieces, 4, &stage);

	struct weir_task task = task_of(ten, &pieces[0]);

	task.cost = 11;
	assert_true(weir_executor_submit(stage.executor, &task) > 0);
	assert_true(submit(&stage, ten, &pieces[1]) > 0);
	stage_until(&stage, &log.count, 2);
	assert_int_equal(log.results[0].verdict, WEIR_REFUSE);
	assert_int_equal(log.results[0].fault, WEIR_EBURST);
	assert_int_equal(log.results[1].value, 1);
	/* one that waits, at a rate that becomes 0 */
	task.cost = 10;
	task.data = &pieces[2];
	assert_true(weir_executor_submit(stage.executor, &task) > 0);
	while (stage_statistics(&stage).waiting == 0)
		uv_run(&stage.loop, UV_RUN_NOWAIT);
	atomic_store(&stage.wait_ns, 0);
	assert_int_equal(weir_executor_update_rate_limit(stage.executor, "ten", "burst = 5",
							 WEIR_KEEP_USED, NULL, 0),
			 0);
	assert_int_equal(weir_executor_update_rate_limit(stage.executor, "ten", "rate = 1/h",
							 WEIR_KEEP_USED, NULL, 0),
			 0);
	stage_look(&stage);
	assert_int_equal(log.count, 2);
	assert_int_equal(weir_executor_update_rate_limit(stage.executor, "ten", "rate = unlimited",
							 WEIR_KEEP_USED, NULL, 0),
			 0);
	while (log.count < 3)
		uv_run(&stage.loop, UV_RUN_NOWAIT);
	assert_int_equal(log.results[2].verdict, WEIR_ADMIT);
	while (weir_acquire(stopped, 1, NULL))
		;
	assert_true(submit(&stage, stopped, &pieces[3]) > 0);
	stage_until(&stage, &log.count, 4);
	assert_int_equal(log.results[3].verdict, WEIR_REFUSE);
	assert_int_equal(log.results[3].reason, WEIR_REASON_NEVER);
	assert_int_equal(pieces[3].runs, 0);
	assert_int_equal(stage_statistics(&stage).refused, 2);
	weir_endpoint_close(ten);
	weir_endpoint_close(stopped);
	stage_end(&stage);
}

static void test_update_rate_limit(void **state)
{
	struct weir_endpoint *endpoint;
	struct piece pieces[2];
	char message[200] = "";
	struct stage stage;
	struct log log;

	(void)state;
	begin(&stage, &log, 1, 0);
	endpoint = stage_endpoint(&stage, "hourly");
	pieces_begin(pieces, 2, &stage);
	assert_true(submit(&stage, endpoint, &pieces[0]) > 0);
	assert_true(submit(&stage, endpoint, &pieces[1]) > 0);
	while (stage_statistics(&stage).waiting == 0)
		uv_run(&stage.loop, UV_RUN_NOWAIT);
	assert_int_equal(weir_executor_update_rate_limit(stage.executor, "hourly", "rate = fast",
							 WEIR_KEEP_USED, message, sizeof(message)),
			 WEIR_EVALUE);
	assert_true(strlen(message) > 0);
	assert_int_equal(weir_executor_update_rate_limit(stage.executor, "hourly", "rate = 10/s",
							 WEIR_KEEP_USED, NULL, 0),
			 0);
	atomic_store(&stage.wait_ns, 0);
	assert_int_equal(weir_clock_advance(stage.weir, 101 * MS), 0);
	while (log.count < 2)
		uv_run(&stage.loop, UV_RUN_NOWAIT);
	assert_int_equal(log.results[1].verdict, WEIR_ADMIT);
	weir_endpoint_close(endpoint);
	stage_end(&stage);
}

static void test_cancel_a_map(void **state)
{
	struct weir_endpoint *endpoint;
	void *data[6];
	struct stage stage;
	struct hold hold;
	struct log log;

	(void)state;
	begin(&stage, &log, 2, 0);
	hold_begin(&hold);
	endpoint = stage_endpoint(&stage, "ten");
	for (size_t i = 0; i < 6; i++)
		data[i] = &hold;

	struct weir_task task = task_of(endpoint, NULL);

	task.work = hold_work;

	int64_t id = weir_executor_map(stage.executor, &task, data, 6);

	hold_until(&hold, &stage, 2);
	assert_int_equal(stage_statistics(&stage).queued, 4);
	assert_int_equal(weir_executor_cancel(stage.executor, id), 0);
	assert_int_equal(weir_executor_cancel(stage.executor, id), -EBUSY);
	stage_look(&stage);
	assert_int_equal(log.count, 0); /* the first of them is not over */
	hold_open(&hold);
	stage_until(&stage, &log.count, 6);
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(log.results[i].index, i);
		assert_int_equal(log.results[i].verdict, i < 2 ? WEIR_ADMIT : WEIR_REFUSE);
		assert_int_equal(log.results[i].fault, i < 2 ? 0 : -ECANCELED);
	}
	assert_int_equal(weir_executor_cancel(stage.executor, id), WEIR_ESPENT);
	assert_tokens(endpoint, 8);
	hold_end(&hold);
	weir_endpoint_close(endpoint);
	stage_end(&stage);
}

/* A class without places in line waits as well. */
static void test_class(void **state)
{
	struct weir_endpoint *background = NULL;
	struct piece piece;
	struct stage stage;
	struct log log;

	(void)state;
	begin(&stage, &log, 1, 0);
	assert_int_equal(weir_endpoint_class(stage.weir, "hourly", "background", &background), 0);
	pieces_begin(&piece, 1, &stage);
	assert_true(submit(&stage, background, &piece) > 0);
	stage_until(&stage, &log.count, 1);
	assert_int_equal(log.results[0].verdict, WEIR_REFUSE);
	assert_int_equal(log.results[0].reason, WEIR_REASON_NEVER);
	weir_endpoint_close(background);
	stage_end(&stage);
}

/* ---- from everywhere ---- */

struct source {
	struct stage *stage;
	struct weir_endpoint *endpoint;
	_Atomic unsigned runs;
	unsigned accepted;
};

static int count_run(void *data)
{
	struct source *source = data;

	/* relaxed: read when all is over */
	atomic_fetch_add_explicit(&source->runs, 1, memory_order_relaxed);
	return 0;
}

static void submit_many(void *context)
{
	struct source *source = context;
	const struct weir_task task = {
		.endpoint = source->endpoint, .cost = 1, .work = count_run, .data = source};

	for (int i = 0; i < 2000; i++) {
		int64_t id;

		while ((id = weir_executor_submit(source->stage->executor, &task)) == -EAGAIN)
			usleep(100);
		assert_true(id > 0);
		source->accepted++;
		if (i % 7 == 0)
			weir_executor_cancel(source->stage->executor, id);
	}
}

static void test_any_thread(void **state)
{
	struct weir_endpoint *endpoints[2];
	struct source sources[3];
	uv_thread_t threads[3];
	struct stage stage;
	struct log log;
	uint64_t ended = 0;
	uint64_t runs = 0;

	(void)state;
	begin(&stage, &log, 3, 64);
	endpoints[0] = stage_endpoint(&stage, "free");
	endpoints[1] = stage_endpoint(&stage, "ten");
	assert_int_equal(weir_update(stage.weir, "ten", "1000000/s", "1000", WEIR_KEEP_USED), 0);
	for (size_t i = 0; i < 3; i++) {
		sources[i] = (struct source){.stage = &stage, .endpoint = endpoints[i % 2]};
		assert_int_equal(uv_thread_create(&threads[i], submit_many, &sources[i]), 0);
	}
	while (ended < 6000) {
		struct weir_executor_statistics sum = stage_statistics(&stage);

		uv_run(&stage.loop, UV_RUN_NOWAIT);
		stage_pass(&stage);
		ended = sum.completed + sum.cancelled;
		assert_int_equal(sum.refused, 0);
		assert_true(sum.running <= 3);
	}
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(uv_thread_join(&threads[i]), 0);
		assert_int_equal(sources[i].accepted, 2000);
		runs += atomic_load_explicit(&sources[i].runs, memory_order_relaxed);
	}
	assert_int_equal(runs, stage_statistics(&stage).completed);
	weir_endpoint_close(endpoints[0]);
	weir_endpoint_close(endpoints[1]);
	stage_end(&stage);
}

static void close_it(struct weir_executor *executor, int status)
{
	assert_int_equal(status, 0);
	assert_int_equal(weir_executor_close(executor), 0);
}

/* Two executors of one loop, of which one is freed where it is told that it has stopped. */
static void test_two_executors(void **state)
{
	const struct weir_executor_options options = {.size = sizeof(options), .threads = 1};
	struct weir_executor *other = NULL;
	struct weir_endpoint *endpoint;
	struct piece pieces[2];
	struct stage stage;
	struct log log;

	(void)state;
	begin(&stage, &log, 1, 0);
	endpoint = stage_endpoint(&stage, "free");
	pieces_begin(pieces, 2, &stage);

	struct weir_task task = task_of(endpoint, &pieces[0]);

	task.done = NULL;
	assert_int_equal(weir_executor_open(&other, stage.uv, stage.weir, &options), 0);
	assert_true(weir_executor_submit(other, &task) > 0);
	assert_true(submit(&stage, endpoint, &pieces[1]) > 0);
	assert_int_equal(weir_executor_shutdown(other, WEIR_FOREVER, close_it), 0);
	stage_until(&stage, &log.count, 1);
	weir_endpoint_close(endpoint);
	stage_end(&stage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_it_4_rate),
		cmocka_unit_test(test_it_5_concurrency),
		cmocka_unit_test(test_it_6_both),
		cmocka_unit_test(test_ut_5_and_6_execute),
		cmocka_unit_test(test_defect_4_no_endpoint),
		cmocka_unit_test(test_defect_13_token_before_slot),
		cmocka_unit_test(test_defect_14_shutdown),
		cmocka_unit_test(test_completion_order_and_ids),
		cmocka_unit_test(test_priorities),
		cmocka_unit_test(test_priority_in_line),
		cmocka_unit_test(test_endpoints_side_by_side),
		cmocka_unit_test(test_queue_full),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_update_rate_limit),
		cmocka_unit_test(test_cancel_a_map),
		cmocka_unit_test(test_class),
		cmocka_unit_test(test_any_thread),
		cmocka_unit_test(test_two_executors),
	};

	setenv("UV_THREADPOOL_SIZE", "8", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
