/* SPDX-License-Identifier: Apache-2.0
 *
 * events.c - what is to happen, the earliest first: a binary heap.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>

static bool earlier(const struct sim_event *a, const struct sim_event *b)
{
	return a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->order < b->order);
}

static void swap(struct sim_event *a, struct sim_event *b)
{
	struct sim_event kept = *a;

	*a = *b;
	*b = kept;
}

static void grow(struct sim_events *events)
{
	size_t room = events->room ? 2 * events->room : 64;
	struct sim_event *heap = realloc(events->heap, room * sizeof(*heap));

	if (!heap) {
		perror("weir-sim");
		exit(1);
	}
	events->heap = heap;
	events->room = room;
}

void sim_events_add(struct sim_events *events, uint64_t at_ns, enum sim_event_kind kind,
		    unsigned who)
{
	size_t at = events->count;

	if (at == events->room)
		grow(events);
	events->heap[at] = (struct sim_event){at_ns, events->made++, kind, who};
	events->count++;
	for (; at > 0 && earlier(&events->heap[at], &events->heap[(at - 1) / 2]); at = (at - 1) / 2)
		swap(&events->heap[at], &events->heap[(at - 1) / 2]);
}

bool sim_events_next(struct sim_events *events, struct sim_event *out)
{
	size_t at = 0;

	if (events->count == 0)
		return false;
	*out = events->heap[0];
	events->heap[0] = events->heap[--events->count];
	for (;;) {
		size_t least = at;

		for (size_t child = 2 * at + 1; child <= 2 * at + 2; child++) {
			if (child < events->count &&
			    earlier(&events->heap[child], &events->heap[least]))
				least = child;
		}
		if (least == at)
			return true;
		swap(&events->heap[at], &events->heap[least]);
		at = least;
	}
}

void sim_events_free(struct sim_events *events)
{
	free(events->heap);
	*events = (struct sim_events){0};
}
