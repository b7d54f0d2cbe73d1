/* SPDX-License-Identifier: Apache-2.0
 *
 * weir-uv.h - weir on a loop of libuv: waits as requests with callbacks, and an executor that runs
 * work in libuv's thread pool under the limits of its endpoints. libweir-uv, beside libweir.
 *
 *	struct weir_uv *uv;
 *	struct weir_executor *executor;
 *	struct weir_task task = {.endpoint = api, .cost = 1, .work = send, .done = sent, .data =
 *mail};
 *
 *	weir_uv_open(&uv, loop);
 *	weir_executor_open(&executor, uv, weir, NULL);
 *	weir_executor_submit(executor, &task);
 *
 * Nothing here blocks, and no thread sleeps for anybody. Threads: functions are called by the
 * loop's thread, but for those that say otherwise; callbacks are, too. Errors: 0 or more is
 * success; a WEIR_E... code or a negative errno, which libuv's codes are, is failure.
 * Fork: a loop, and what is here of it, belongs to the process that made it.
 */
#ifndef WEIR_UV_H
#define WEIR_UV_H

#include <uv.h>
#include <weir.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

struct weir_uv;	      /* what waits on one loop */
struct weir_executor; /* a queue of work, and who does it */

/*
 * Prepares a loop: a timer and an async handle. It keeps the loop alive while something waits.
 * Allocates. Returns 0 and *out, or -ENOMEM, or what libuv says.
 */
int weir_uv_open(struct weir_uv **out, uv_loop_t *loop);

/*
 * Ends it. What still waits gives its places back at once, and its callbacks come, with fault
 * -ECANCELED, as the loop goes on; then closed(context) does (may be NULL). So it is also where the
 * loop's handles were closed by somebody else. Returns 0, or -EBUSY: an executor is open.
 */
int weir_uv_close(struct weir_uv *uv, void (*closed)(void *context), void *context);

/* ---- a wait ---- */

/* A wait of the caller's: memory that stays where it is until its callback. `data` is free. */
struct weir_uv_request {
	void *data;
	uint64_t opaque[63];
};

/*
 * Called once for each request. Admitted, the tokens are taken. Refused: the answer is as of
 * weir_wait; fault -ECANCELED: it was cancelled. The request may be used anew in here.
 */
typedef void weir_uv_done(struct weir_uv_request *request, enum weir_verdict verdict,
			  const struct weir_answer *answer);

/*
 * Waits for cost tokens as weir_wait does, up to timeout_ns (or WEIR_FOREVER). The place in line is
 * taken in here; done is called later, by the loop, whatever the outcome. A change of the rate, a
 * closure, a reset is followed within a tenth of a second, or 10 us for each request that waits,
 * if there are more than 10,000. Returns 0, or -ECANCELED: the loop's handles are closing.
 */
int weir_uv_acquire(struct weir_uv *uv, struct weir_uv_request *request,
		    struct weir_endpoint *endpoint, double cost, uint64_t timeout_ns,
		    weir_uv_done *done);

/*
 * Waits for a permit as weir_permit_take does, first come first served among all processes; into
 * *permit, which stays where it is until the callback, and is the caller's if that says
 * WEIR_ADMIT. One that comes free in another process, or by another way than a request of this
 * loop that ends, is seen within some milliseconds: no descriptor tells of it. As weir_uv_acquire
 * otherwise; with timeout_ns 0 it does not wait. A refusal's reason is one of weir_permit_take's;
 * fault WEIR_EWAITERS: there is no place in line.
 */
int weir_uv_permit_take(struct weir_uv *uv, struct weir_uv_request *request,
			struct weir_endpoint *endpoint, uint64_t timeout_ns,
			struct weir_permit *permit, weir_uv_done *done);

/*
 * A permit and cost tokens together, or neither, as weir_enter does: the permit is waited for
 * first, so that no token is spent meanwhile. Refused, cancelled, or with the loop closed under it
 * nothing is held. WEIR_ECOST: cost is not above 0; else as the two above.
 */
int weir_uv_enter(struct weir_uv *uv, struct weir_uv_request *request,
		  struct weir_endpoint *endpoint, double cost, uint64_t timeout_ns,
		  struct weir_permit *permit, weir_uv_done *done);

/*
 * Ends a wait, and gives back its place, or its permit and tokens if it was admitted and its
 * callback is still to come, as weir_cancel does. done is called later, with fault -ECANCELED.
 * Returns 0, or WEIR_ESPENT: its callback has been called.
 */
int weir_uv_cancel(struct weir_uv_request *request);

/* ---- the executor ---- */

/* Among what is queued for the same endpoint, and for a free thread, the higher goes first. */
enum weir_priority {
	WEIR_PRIORITY_NORMAL = 0,
	WEIR_PRIORITY_HIGH = 1,
	WEIR_PRIORITY_LOW = 2,
};

/* What became of a task, or of one item of a map. */
struct weir_result {
	int64_t id;
	void *data;	    /* the task's, or the item's */
	uint64_t index;	    /* the item's; 0 of a task */
	uint64_t waited_ns; /* from its submission to its start, by the segment's clock */
	int32_t verdict;    /* WEIR_ADMIT: it ran. WEIR_REFUSE: it did not, and will not */
	int32_t value;	    /* what work returned */
	int32_t fault;	    /* refused: 0 or the code; -ECANCELED of one that was cancelled. It ran:
			       0, or WEIR_EEXPIRED, longer than `max_hold`, without its permit */
	int32_t reason;	    /* enum weir_reason */
	uint64_t reserved[4];
};

typedef void weir_executor_done(struct weir_executor *executor, const struct weir_result *result);

/* What is to be done. Start from {.endpoint = e, .cost = c, .work = w}. */
struct weir_task {
	struct weir_endpoint *endpoint; /* open until the task has ended; of the executor's weir */
	double cost;
	int (*work)(void *data);  /* called in a thread of libuv's pool */
	weir_executor_done *done; /* or NULL; called by the loop */
	void *data;
	int32_t priority; /* enum weir_priority */
	uint32_t reserved_bits;
	uint64_t reserved[4];
};

/* How to run. Start from {.size = sizeof(struct weir_executor_options)}; 0 is a default. */
struct weir_executor_options {
	size_t size;
	uint32_t threads; /* of the pool at once; default: all of it, $UV_THREADPOOL_SIZE or 4 */
	uint32_t queue;	  /* tasks that are not done yet; default 1024 */
	void (*drain)(struct weir_executor *executor, void *data); /* or NULL; called by the loop
			when half of the queue is free, after a task found it full */
	void *data;
	uint64_t reserved[4];
};

/*
 * Makes an executor for endpoints of that handle. It keeps the loop alive until it is shut down.
 * Allocates its queue. Returns 0 and *out, or -ENOMEM, WEIR_EVALUE: more than a million tasks, or
 * more than 1024 threads.
 */
int weir_executor_open(struct weir_executor **out, struct weir_uv *uv, struct weir *weir,
		       const struct weir_executor_options *options);

/*
 * Queues a task. It starts when a thread is free, its endpoint has a permit for it (where it has
 * `concurrency`) and its turn has come in the endpoint's line, in this order: the tokens are taken
 * when all else is there, the permit is given back when work returns. Any thread may call it, and
 * work and callbacks too. Allocates only for an endpoint that nothing is queued for. Results come
 * in the order of completion. Work that takes less than half a microsecond is run by one thread;
 * after a row of it, work that takes longer may hold up other work, and results, once, by some
 * three milliseconds. Returns its id, above 0; or -EAGAIN, the queue is full; -ESHUTDOWN, it was
 * shut down; WEIR_EVALUE, no endpoint, no work or no such priority; WEIR_ECOST; -ENOMEM.
 */
int64_t weir_executor_submit(struct weir_executor *executor, const struct weir_task *task);

/*
 * The same for each of `count` items, as one task of the queue: work is called with data[i], in
 * the place of task->data, and done in the order of the items, whatever they end in. data is
 * copied. Allocates. As weir_executor_submit; WEIR_EVALUE: no items, or more than 2^31.
 */
int64_t weir_executor_map(struct weir_executor *executor, const struct weir_task *task,
			  void *const *data, size_t count);

/*
 * Cancels a task that has not started, or what has not of a map: done comes with fault -ECANCELED.
 * Any thread. Returns 0, -EBUSY: it runs; WEIR_ESPENT: it has ended, or there is none of that id.
 */
int weir_executor_cancel(struct weir_executor *executor, int64_t id);

/*
 * Changes a limit as weir_configure does, and has all that waits follow it at once. Any thread.
 * Returns what weir_configure does: WEIR_EHOST where this process does not host the segment.
 */
int weir_executor_update_rate_limit(struct weir_executor *executor, const char *name,
				    const char *settings, enum weir_keep keep, char *message,
				    size_t message_bytes);

/* Counts since it was opened, and at this moment. Start from {.size = sizeof(...)}. */
struct weir_executor_statistics {
	size_t size;
	uint64_t submitted; /* tasks, and items of maps */
	uint64_t completed; /* of those: ran */
	uint64_t refused;   /* did not, because of their limit */
	uint64_t cancelled;
	uint64_t rejected;  /* submissions that found the queue full */
	uint64_t waited_ns; /* all that started, together */
	uint64_t queued;    /* now: neither started nor ended */
	uint64_t running;   /* now */
	uint64_t waiting;   /* endpoints, now, whose next task has to wait */
	uint64_t reserved[4];
};

/* Any thread. */
void weir_executor_statistics(struct weir_executor *executor, struct weir_executor_statistics *out);

/* status: 0, nothing runs any more and every callback was called; -ETIMEDOUT, something does. */
typedef void weir_executor_stopped(struct weir_executor *executor, int status);

/*
 * Refuses new tasks from now on, cancels those that have not started, gives their places and tokens
 * back, and waits for what runs, up to timeout_ns by the kernel's clock (or WEIR_FOREVER); then
 * stopped is called (may be NULL), by the loop; or from in here, where somebody else closed the
 * loop's handles, and then there is no time-out. After a time-out it may be called anew. Returns
 * 0, or -EALREADY: it is being waited for.
 */
int weir_executor_shutdown(struct weir_executor *executor, uint64_t timeout_ns,
			   weir_executor_stopped *stopped);

/* Frees it. NULL is allowed. Returns 0, or -EBUSY: it is not shut down, or something runs. */
int weir_executor_close(struct weir_executor *executor);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
