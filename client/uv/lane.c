/* SPDX-License-Identifier: Apache-2.0
 *
 * lane.c - what is queued, endpoint by endpoint, and which of it may run.
 */
#include "executor.h"

#include <errno.h>
#include <stdlib.h>

/*
 * How often a loop looks whether a permit has come free elsewhere; one that comes free here is seen
 * at once. A look costs some tenths of a microsecond.
 */
#define PERMIT_LOOK_NS (2 * WEIR_MILLISECOND)
#define UNLIMITED __builtin_inf()

/* ---- lists of tasks, by index ---- */

void list_init(struct list *list)
{
	list->first = list->last = NO_TASK;
}

void list_append(struct weir_executor *executor, struct list *list, uint32_t task)
{
	struct task *tasks = executor->tasks;

	tasks[task].next = NO_TASK;
	tasks[task].previous = list->last;
	if (list->last == NO_TASK)
		list->first = task;
	else
		tasks[list->last].next = task;
	list->last = task;
}

void list_remove(struct weir_executor *executor, struct list *list, uint32_t task)
{
	struct task *tasks = executor->tasks;
	uint32_t next = tasks[task].next;
	uint32_t previous = tasks[task].previous;

	if (previous == NO_TASK)
		list->first = next;
	else
		tasks[previous].next = next;
	if (next == NO_TASK)
		list->last = previous;
	else
		tasks[next].previous = previous;
}

/* ---- rings: the lanes that a thread may try, each in turn ---- */

static void ring_add(struct lane *lane)
{
	struct lane **ring = &lane->executor->rings[lane->rank];

	if (!*ring) {
		lane->ring_next = lane->ring_previous = lane;
		*ring = lane;
		return;
	}
	lane->ring_next = *ring;
	lane->ring_previous = (*ring)->ring_previous;
	lane->ring_previous->ring_next = lane;
	(*ring)->ring_previous = lane;
}

static void ring_remove(struct lane *lane)
{
	struct lane **ring = &lane->executor->rings[lane->rank];

	if (lane->ring_next == lane) {
		*ring = NULL;
		return;
	}
	if (*ring == lane)
		*ring = lane->ring_next;
	lane->ring_previous->ring_next = lane->ring_next;
	lane->ring_next->ring_previous = lane->ring_previous;
}

/* The task that would go first if all had their tokens. */
static uint32_t lane_best(const struct lane *lane)
{
	for (unsigned rank = 0; rank < PRIORITIES; rank++) {
		if (lane->queue[rank].first != NO_TASK)
			return lane->queue[rank].first;
	}
	return NO_TASK;
}

static bool in_ring(const struct lane *lane)
{
	return lane->state == LANE_READY || lane->state == LANE_PAID;
}

/* No permit is held, or stood in line for, where there is nothing to be run. */
static void permit_leave(struct lane *lane)
{
	if (lane->has_permit)
		weir_permit_release(lane->endpoint, &lane->permit);
	if (lane->in_line)
		weir_permit_unqueue(lane->endpoint, &lane->waiter);
	lane->has_permit = lane->in_line = false;
}

/* Every change of what a lane is ends here: it goes where it belongs, at the end. */
static void lane_become(struct lane *lane, enum lane_state state)
{
	uint32_t best = lane_best(lane);

	/* alone in its ring, and there it stays */
	if (state == LANE_READY && lane->state == LANE_READY && lane->ring_next == lane &&
	    best != NO_TASK && lane->executor->tasks[best].rank == lane->rank)
		return;
	if (in_ring(lane))
		ring_remove(lane);
	lane->executor->sum.waiting -= lane->state == LANE_WAITING;
	if (best == NO_TASK) {
		state = LANE_IDLE;
		permit_leave(lane);
	}
	lane->state = state;
	lane->executor->sum.waiting += state == LANE_WAITING;
	if (in_ring(lane)) {
		lane->rank = lane->executor->tasks[best].rank;
		ring_add(lane);
	}
}

/* ---- lanes ---- */

static unsigned bucket_of(const struct weir_endpoint *endpoint)
{
	return (unsigned)(((uintptr_t)endpoint * 0x9e3779b97f4a7c15ull) >> 56) % LANE_BUCKETS;
}

static void lane_look(struct wait *wait);

static struct lane *lane_find(struct weir_executor *executor, struct weir_endpoint *endpoint)
{
	struct lane *lane = executor->lanes[bucket_of(endpoint)];

	while (lane && lane->endpoint != endpoint)
		lane = lane->next_hashed;
	return lane;
}

struct lane *lane_get(struct weir_executor *executor, struct weir_endpoint *endpoint)
{
	struct lane **bucket = &executor->lanes[bucket_of(endpoint)];
	struct lane *lane = lane_find(executor, endpoint);

	if (lane)
		return lane;
	lane = calloc(1, sizeof(*lane));
	if (!lane)
		return NULL;
	lane->executor = executor;
	lane->endpoint = endpoint;
	lane->holder = NO_TASK;
	lane->wait.look = lane_look;
	for (unsigned rank = 0; rank < PRIORITIES; rank++)
		list_init(&lane->queue[rank]);
	lane->next_hashed = *bucket;
	*bucket = lane;
	executor->lane_count++;
	return lane;
}

/* An endpoint for which nothing is queued leaves nothing behind. */
void lane_free_if_idle(struct lane *lane)
{
	if (lane->state != LANE_IDLE || lane->looked_at)
		return;

	struct lane **at = &lane->executor->lanes[bucket_of(lane->endpoint)];

	while (*at != lane)
		at = &(*at)->next_hashed;
	*at = lane->next_hashed;
	lane->executor->lane_count--;
	free(lane);
}

void lane_push(struct lane *lane, uint32_t index)
{
	struct weir_executor *executor = lane->executor;
	struct task *task = &executor->tasks[index];
	const struct map *map = map_of(task);
	uint64_t items = map ? map->count : 1;

	task->state = TASK_QUEUED;
	task->lane = lane;
	list_append(executor, &lane->queue[task->rank], index);
	lane->queued += items;
	executor->sum.queued += items;
	executor->sum.submitted += items;
	if (lane->state == LANE_IDLE || (in_ring(lane) && task->rank < lane->rank))
		lane_become(lane, lane->state == LANE_IDLE ? LANE_READY : lane->state);
}

/* Leaves the turn, whatever has become of it: the place, or the tokens, go back. */
static void turn_leave(struct lane *lane)
{
	weir_turn_leave(lane->endpoint, &lane->turn, NULL);
	lane->holder = NO_TASK;
}

/* Its task is gone. The turn is another's if that costs the same. */
static void turn_pass_on(struct lane *lane)
{
	uint32_t best = lane_best(lane);
	enum lane_state state = lane->state;

	if (best != NO_TASK && lane->executor->tasks[best].cost == lane->turn_cost) {
		lane->holder = best;
	} else {
		turn_leave(lane);
		state = LANE_READY;
		lane->executor->fresh++;
		lane->executor->woken = true;
	}
	lane_become(lane, state);
}

/* A task, or the rest of a map, leaves the queue. */
static void unqueue(struct lane *lane, uint32_t index, uint64_t items)
{
	struct task *tasks = lane->executor->tasks;
	struct task *task = &tasks[index];

	list_remove(lane->executor, &lane->queue[task->rank], index);
	/* the one after the next, as taking the next will write to it */
	if (task->next != NO_TASK && tasks[task->next].next != NO_TASK)
		__builtin_prefetch(&tasks[tasks[task->next].next], 1);
	lane->queued -= items;
	lane->executor->sum.queued -= items;
	task->state = TASK_RUNNING;
	task->lane = NULL;
}

void lane_drop(struct weir_executor *executor, uint32_t index, const struct weir_answer *answer)
{
	struct task *task = &executor->tasks[index];
	struct lane *lane = task->lane;
	struct map *map = map_of(task);
	size_t from = map ? map->started : 0;
	size_t until = map ? map->count : 1;
	const struct item outcome = {
		.verdict = WEIR_REFUSE,
		.fault = answer->fault,
		.reason = (uint8_t)answer->reason,
		.waited_ns = weir_clock_now(executor->weir) - task->submitted_ns,
	};

	if (map)
		map->started = until;
	unqueue(lane, index, until - from);
	if (answer->fault == -ECANCELED)
		executor->sum.cancelled += until - from;
	else
		executor->sum.refused += until - from;
	for (size_t item = from; item < until; item++)
		task_ended(executor, index, item, &outcome);
	if (lane->holder == index)
		turn_pass_on(lane);
	else
		lane_become(lane, lane->state);
	lane_free_if_idle(lane);
}

/* ---- permits ---- */

/* What waits: the loop looks at it when it is due. */
void lane_hand_over(struct lane *lane, uint64_t look_ns, uint64_t wait_ns)
{
	struct weir_executor *executor = lane->executor;

	lane->look_ns = look_ns;
	lane->wait_ns = wait_ns;
	if (!lane->handed) {
		lane->next_handed = executor->handed;
		executor->handed = lane;
	}
	lane->handed = lane->looked_at = true;
	executor->woken = true;
}

/* A place in line for a permit. Where there is none left either, it is tried again later. */
static void permit_queue(struct lane *lane)
{
	lane->in_line = weir_permit_queue(lane->endpoint, &lane->waiter) == 0;
	lane_become(lane, LANE_WAITING);
	lane_hand_over(lane, PERMIT_LOOK_NS, WEIR_NEVER);
}

/* Takes a permit for a lane's best task; false: it is not to be had now. */
static bool permit_take(struct lane *lane, uint32_t best)
{
	struct weir_answer answer;

	if (lane->has_permit)
		return true;
	lane->has_permit = weir_permit_take(lane->endpoint, 0, &lane->permit, &answer);
	if (lane->has_permit) {
		/* without a limit it is nobody's, and need not go back */
		lane->permit_counts = answer.level < UNLIMITED;
		return true;
	}
	if (answer.fault == 0)
		permit_queue(lane);
	else
		lane_drop(lane->executor, best, &answer);
	return false;
}

/*
 * Looks at a place in line for a permit. true: it is to be looked at again. Where all threads are
 * busy the place is left: whoever is first in line holds up all others until he takes what is free.
 */
static bool permit_poll(struct lane *lane)
{
	struct weir_executor *executor = lane->executor;
	struct weir_answer answer;

	if (lane->in_line && executor->sum.running < executor->runner_count) {
		if (weir_permit_poll(lane->endpoint, &lane->waiter, &lane->permit, &answer)) {
			lane->in_line = false;
			lane->has_permit = lane->permit_counts = true;
		} else if (answer.fault == 0) {
			lane->look_ns = PERMIT_LOOK_NS;
			lane->wait_ns = WEIR_NEVER;
			return true;
		}
	}
	if (!lane->has_permit)
		permit_leave(lane);
	lane_become(lane, LANE_READY);
	executor->fresh++;
	executor->woken = true;
	return false;
}

void lane_released(struct weir_executor *executor, struct weir_endpoint *endpoint)
{
	struct lane *lane = lane_find(executor, endpoint);

	if (lane && lane->state == LANE_WAITING && !lane->has_permit)
		permit_poll(lane);
}

/* ---- turns ---- */

/* Asks for the tokens of a lane's best task. true: they are taken. */
static bool lane_begin(struct lane *lane, uint32_t best)
{
	struct task *task = &lane->executor->tasks[best];
	struct weir_answer answer;

	lane->turn_cost = task->cost;
	lane->holder = best;
	if (weir_turn_begin(lane->endpoint, task->cost, WEIR_FOREVER, &lane->turn, &answer))
		return true;
	if (answer.reason == WEIR_REASON_TURN) {
		lane_become(lane, LANE_WAITING);
		lane_hand_over(lane, lane->turn.look_ns, answer.wait_ns);
		return false;
	}
	lane->holder = NO_TASK;
	lane_drop(lane->executor, best, &answer);
	return false;
}

/* Looks at a turn that is under way. true: it is to be looked at again. */
static bool lane_poll(struct lane *lane)
{
	struct weir_answer answer;
	uint32_t holder = lane->holder;

	if (lane->state != LANE_WAITING)
		return false;
	if (!lane->has_permit)
		return permit_poll(lane);
	if (weir_turn_poll(lane->endpoint, &lane->turn, &answer)) {
		lane_become(lane, LANE_PAID);
		lane->executor->fresh++;
		lane->executor->woken = true;
		return false;
	}
	if (answer.reason == WEIR_REASON_TURN) {
		lane->look_ns = lane->turn.look_ns;
		lane->wait_ns = answer.wait_ns;
		return true;
	}
	lane->holder = NO_TASK;
	lane_become(lane, LANE_READY);
	lane->executor->fresh++;
	lane_drop(lane->executor, holder, &answer);
	return false;
}

/* ---- what runs next ---- */

/* Takes a task, or the next item of a map, out of its lane. */
static void take(struct lane *lane, uint32_t index, uint64_t now_ns, struct run *run)
{
	struct weir_executor *executor = lane->executor;
	struct task *task = &executor->tasks[index];
	struct map *map = map_of(task);
	/* it may have been submitted since the time was read */
	uint64_t waited_ns = now_ns > task->submitted_ns ? now_ns - task->submitted_ns : 0;

	*run = (struct run){
		.task = index,
		.work = task->work,
		.data = task->data,
		.endpoint = lane->endpoint,
		.has_permit = lane->permit_counts,
	};
	if (lane->permit_counts)
		run->permit = lane->permit;
	lane->has_permit = false;
	if (map) {
		run->item = map->started++;
		run->data = map->data[run->item];
		map->items[run->item].waited_ns = waited_ns;
	} else {
		task->waited_ns = waited_ns;
	}
	executor->sum.waited_ns += waited_ns;
	executor->sum.running++;
	if (map && map->started < map->count) {
		lane->queued--;
		executor->sum.queued--;
	} else {
		unqueue(lane, index, 1);
	}
	lane->holder = NO_TASK;
	lane_become(lane, LANE_READY);
	lane_free_if_idle(lane);
}

/* Of a turn that has come: the best task, if it costs as much; else the one whose turn it is. */
static uint32_t paid_task(const struct lane *lane)
{
	uint32_t best = lane_best(lane);

	return lane->executor->tasks[best].cost == lane->turn_cost ? best : lane->holder;
}

bool lanes_next(struct weir_executor *executor, uint64_t now_ns, struct run *run)
{
	for (unsigned rank = 0; rank < PRIORITIES; rank++) {
		while (executor->rings[rank]) {
			struct lane *lane = executor->rings[rank];
			uint32_t best = lane_best(lane);

			if (lane->state == LANE_PAID) {
				take(lane, paid_task(lane), now_ns, run);
				return true;
			}
			if (permit_take(lane, best) && lane_begin(lane, best)) {
				take(lane, best, now_ns, run);
				return true;
			}
		}
	}
	return false;
}

/* ---- the end of a task ---- */

void task_ended(struct weir_executor *executor, uint32_t index, size_t item,
		const struct item *outcome)
{
	struct task *task = &executor->tasks[index];
	struct map *map = map_of(task);

	if (!map) {
		task->state = TASK_ENDED;
		task->value = outcome->value;
		task->fault = outcome->fault;
		task->verdict = outcome->verdict;
		task->reason = outcome->reason;
		task->waited_ns = outcome->waited_ns;
		list_append(executor, &executor->ended, index);
		executor->ended_count++;
		return;
	}
	map->items[item] = *outcome;
	map->items[item].ended = true;
	if (!map->listed && item != map->told)
		return; /* one before it is to be told of first */
	executor->ended_count++;
	if (map->listed)
		return;
	map->listed = true;
	map->next_listed = NULL;
	*executor->ended_maps_end = map;
	executor->ended_maps_end = &map->next_listed;
}

/* ---- the loop's looks ---- */

static struct lane *lane_of(struct wait *wait)
{
	return (struct lane *)((char *)wait - offsetof(struct lane, wait));
}

void lane_add(struct lane *lane)
{
	struct weir_uv *uv = lane->executor->uv;

	waits_remove(uv, &lane->wait);
	waits_add(uv, &lane->wait, waits_look_ns(uv, lane->look_ns, lane->wait_ns));
}

static void lane_look(struct wait *wait)
{
	struct lane *lane = lane_of(wait);
	struct weir_executor *executor = lane->executor;

	uv_mutex_lock(&executor->mutex);
	bool again = lane_poll(lane);

	if (again)
		lane_add(lane);
	/* or it was handed over anew meanwhile */
	lane->looked_at = again || lane->handed;
	lane_free_if_idle(lane);
	bool has_news = executor_has_news(executor);

	uv_mutex_unlock(&executor->mutex);
	if (has_news)
		executor_look(executor);
}
