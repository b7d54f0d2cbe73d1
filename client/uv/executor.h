/* SPDX-License-Identifier: Apache-2.0
 *
 * executor.h - a queue of work, and the threads of libuv's pool that do it.
 *
 *	submit -> lane of its endpoint -> a thread that is free takes the token and the task,
 *	runs it -> the list of what has ended -> the loop calls back
 *
 * A lane is all that is queued for one endpoint, by priority. Only its next task stands in the
 * endpoint's line, in one place (a turn), whatever the number behind it: what is queued here can
 * be cancelled and overtaken, a place in line cannot. First comes the thread that will run the
 * work, then it takes a permit, then the tokens, so that nothing is held or spent while something
 * else is waited for that is shared by more. Where one is not to be had yet the thread leaves the
 * place to the loop, which looks at it when it is due, and has a thread run the task.
 *
 * One mutex holds all of it together. It is held for some hundred nanoseconds at a time, and never
 * while work or a callback runs. What only the loop's thread touches is marked so.
 */
#ifndef WEIR_UV_EXECUTOR_H
#define WEIR_UV_EXECUTOR_H

#include "waits.h"

#define NO_TASK UINT32_MAX
#define PRIORITIES 3

struct map;

enum task_state {
	TASK_FREE = 0,
	TASK_QUEUED,
	TASK_RUNNING, /* of a map: its last item has started */
	TASK_ENDED,   /* to be told of */
};

/*
 * A slot of the queue. It goes from the thread that submits to the one that runs it, and from there
 * to the loop: one cache line goes quicker than two.
 */
struct task {
	int (*work)(void *data);
	weir_executor_done *done;
	union {
		void *data;
		struct map *map;
	};
	union {
		double cost; /* until it has ended */
		struct {
			int32_t value;
			int32_t fault;
		};
	};
	struct lane *lane; /* queued: in which */
	union {
		uint64_t submitted_ns; /* until it has started; of a map: always */
		uint64_t waited_ns;
	};
	uint32_t next; /* in the list it is in */
	uint32_t previous;
	uint32_t generation; /* upper half of the id */
	uint8_t state : 7;   /* enum task_state */
	uint8_t is_map : 1;
	uint8_t rank; /* 0 goes first */
	uint8_t verdict;
	uint8_t reason;
};

#define TASK_BYTES 64

static inline struct map *map_of(const struct task *task)
{
	return task->is_map ? task->map : NULL;
}

struct list {
	uint32_t first;
	uint32_t last;
};

/* What became of an item. */
struct item {
	uint64_t waited_ns;
	int32_t value;
	int32_t fault;
	uint8_t verdict;
	uint8_t reason;
	bool ended;
};

struct map {
	size_t count;
	size_t started; /* the next one to start */
	size_t told;
	uint32_t task;
	bool listed; /* among those of which there is something to tell */
	struct map *next_listed;
	void **data;
	struct item *items;
};

enum lane_state {
	LANE_IDLE = 0, /* nothing is queued */
	LANE_READY,    /* in a ring: a thread may try */
	LANE_WAITING,  /* its turn is under way, or it has no permit */
	LANE_PAID,     /* in a ring: its turn has come, the tokens are taken */
};

struct lane {
	struct weir_executor *executor;
	struct weir_endpoint *endpoint;
	struct lane *next_hashed;
	struct lane *ring_next;
	struct lane *ring_previous;
	struct lane *next_handed;
	struct list queue[PRIORITIES];
	uint64_t queued; /* tasks, and items of maps */
	enum lane_state state;
	uint8_t rank;	 /* ready or paid: of the ring that it is in */
	bool handed;	 /* to the loop, which has not seen it yet */
	bool looked_at;	 /* the loop will touch it again */
	uint32_t holder; /* whose turn it is */
	double turn_cost;
	uint64_t look_ns; /* when to look at it again, and when it comes */
	uint64_t wait_ns;
	struct weir_turn turn;
	bool has_permit;
	bool permit_counts; /* the endpoint has a limit */
	bool in_line;	    /* for a permit */
	struct weir_permit permit;
	struct weir_waiter waiter;
	struct wait wait; /* the loop's */
};

/* What a thread is about to run. */
struct run {
	uint32_t task;
	size_t item;
	int (*work)(void *data);
	void *data;
	struct weir_endpoint *endpoint;
	bool has_permit;
	struct weir_permit permit;
};

/* A request to the pool; it runs tasks as long as there are any. */
struct runner {
	uv_work_t work;
	struct weir_executor *executor;
	uint64_t begun; /* so many tasks; the last of them runs if running */
	uint64_t seen;	/* what that was when the loop last watched */
	bool running;
	bool stuck;  /* in one task, from one watch to the next */
	bool active; /* the loop's */
};

#define LANE_BUCKETS 256

struct weir_executor {
	struct weir_uv *uv;
	struct weir *weir;
	struct weir_executor *next;
	void (*drain)(struct weir_executor *executor, void *data);
	void *data;

	uv_mutex_t mutex;
	struct task *tasks;
	uint32_t task_count;
	uint32_t free_count;
	uint32_t used_once; /* slots from here on have never been used */
	struct list unused; /* the one used last goes first: it is still in the caches */
	struct list ended;
	struct map *ended_maps; /* a list by next_listed */
	struct map **ended_maps_end;
	struct lane *lanes[LANE_BUCKETS];
	uint64_t lane_count;
	struct lane *rings[PRIORITIES];
	struct lane *handed;
	uint32_t fresh;	      /* submitted since the loop looked */
	uint32_t ended_count; /* tasks and items, likewise */
	uint32_t quick;	      /* so many tasks in a row took next to no time */
	uint32_t stuck;	      /* runners that are */
	bool watched;	      /* the loop looks within a millisecond or two, asked or not */
	bool woken;	      /* the loop is to look */
	bool asked;	      /* and has been told so */
	bool was_full;	      /* a task was turned away */
	bool is_shut;
	struct weir_executor_statistics sum;

	/* the loop's */
	uint64_t pass; /* in which it was looked at */
	struct runner *runners;
	uint32_t runner_count;
	uint32_t active;
	bool keeps; /* the loop alive */
	bool shutting;
	bool looking;	    /* at what has ended */
	bool looked_within; /* once more, meanwhile */
	struct list untold; /* of what has ended: taken out of the list, to be told of */
	bool late;	    /* the time-out of the shutdown is over */
	struct wait deadline;
	struct wait watch;
	weir_executor_stopped *stopped;
};

/* ---- lane.c: the queue. Under the mutex ---- */

struct lane *lane_get(struct weir_executor *executor, struct weir_endpoint *endpoint);
void lane_free_if_idle(struct lane *lane);
void lane_push(struct lane *lane, uint32_t task);

/* Ends a queued task, or what has not started of a map, unrun. Its lane may be gone then. */
void lane_drop(struct weir_executor *executor, uint32_t task, const struct weir_answer *answer);

/* The next thing that may run at now_ns: its tokens are taken. false: nothing. */
bool lanes_next(struct weir_executor *executor, uint64_t now_ns, struct run *run);

/* A permit has come free here: who waits for one looks at once. */
void lane_released(struct weir_executor *executor, struct weir_endpoint *endpoint);

/* Has the loop look at a turn after look_ns, counted from when it hears of it. */
void lane_hand_over(struct lane *lane, uint64_t look_ns, uint64_t wait_ns);

/* Puts such a lane among what the loop looks at. By the loop. */
void lane_add(struct lane *lane);

void list_init(struct list *list);
void list_append(struct weir_executor *executor, struct list *list, uint32_t task);
void list_remove(struct weir_executor *executor, struct list *list, uint32_t task);

/* Puts a task, or one item of a map, among what has ended. */
void task_ended(struct weir_executor *executor, uint32_t task, size_t item,
		const struct item *outcome);

/* ---- executor.c ---- */

/* Slots first to last, in a list by next: they are unused. */
void slots_free(struct weir_executor *executor, uint32_t first, uint32_t last, uint32_t count);
void map_free(struct map *map);

/* ---- runner.c: threads ---- */

int runners_make(struct weir_executor *executor, uint32_t count);

/*
 * Tasks are so quick that threads would only wait for each other, and for the loop, at the mutex:
 * one thread runs them all, and tells of many at once. Under the mutex.
 */
bool runners_are_quick(const struct weir_executor *executor);

/*
 * What keeps such a thread from holding up all else with a task that is not quick: the loop looks
 * at it every millisecond, and if it is in the same task still, has the other threads begin.
 */
void runners_watch(struct weir_executor *executor);
void runners_unwatch(struct weir_executor *executor);

/* How many threads are to begin. By the loop, under the mutex. */
uint32_t runners_wanted(const struct weir_executor *executor);

/* Has so many begin. By the loop, without the mutex. */
void runners_start(struct weir_executor *executor, uint32_t count);
void runners_cancel(struct weir_executor *executor);

/* ---- tell.c: the loop's side ---- */

/* Looks at all executors that were woken. */
void executors_look(struct weir_uv *uv);

/* Looks at one: begins, calls back, ends. It may be gone then. */
void executor_look(struct weir_executor *executor);

/* Asks the loop for a look; true: it is to be woken, without the mutex. Under the mutex. */
bool executor_ask(struct weir_executor *executor);

/* There is something for the loop to do or to tell of. Under the mutex. */
bool executor_has_news(const struct weir_executor *executor);

#endif
