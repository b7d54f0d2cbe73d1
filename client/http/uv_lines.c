/* SPDX-License-Identifier: Apache-2.0
 *
 * uv_lines.c - who waits, in the loop of a client: for a place in the shared line, in lanes, one of
 * each endpoint; there, for tokens; and there for a permit.
 */
#include "uv_loop.h"

/* ---- lanes ---- */

struct lane *waiting_take(struct loop *loop)
{
	struct lane *lane = loop->waiting_first;

	loop->waiting_first = lane->next_waiting;
	if (!loop->waiting_first)
		loop->waiting_last = NULL;
	lane->is_waiting = false;
	loop->waiting--;
	return lane;
}

void waiting_put(struct loop *loop, struct lane *lane)
{
	lane->is_waiting = true;
	lane->next_waiting = NULL;
	if (loop->waiting_last)
		loop->waiting_last->next_waiting = lane;
	else
		loop->waiting_first = lane;
	loop->waiting_last = lane;
	loop->waiting++;
}

void lane_join(struct loop *loop, struct weir_http_transfer *transfer, bool in_front)
{
	struct lane *lane = lane_of(transfer);
	struct job *job = &transfer->job;

	transfer->where = IN_LANE;
	transfer->next = transfer->previous = NULL;
	if (!lane->first) {
		lane->first = lane->last = job;
	} else if (in_front) {
		transfer->next = transfer_of(lane->first);
		transfer->next->previous = transfer;
		lane->first = job;
	} else {
		transfer->previous = transfer_of(lane->last);
		transfer->previous->next = transfer;
		lane->last = job;
	}
	if (job->deadline_ns != UINT64_MAX)
		heap_set(&loop->heap, &transfer->entry, job->deadline_ns);
	if (!lane->is_waiting)
		waiting_put(loop, lane);
}

void lane_part(struct loop *loop, struct weir_http_transfer *transfer)
{
	struct lane *lane = lane_of(transfer);

	if (transfer->previous)
		transfer->previous->next = transfer->next;
	else
		lane->first = transfer->next ? &transfer->next->job : NULL;
	if (transfer->next)
		transfer->next->previous = transfer->previous;
	else
		lane->last = transfer->previous ? &transfer->previous->job : NULL;
	heap_take(&loop->heap, &transfer->entry);
}

/* ---- the shared line ---- */

void line_enter(struct weir_http_transfer *transfer)
{
	struct lane *lane = lane_of(transfer);

	transfer->where = IN_LINE;
	lane->line_count++;
	lane->line_last = &transfer->job;
}

/* Of the last one, or if that has left, of any: each of them looks ten times a second. */
void line_look(const struct weir_http_transfer *transfer)
{
	struct lane *lane = lane_of(transfer);

	if (!lane->line_last)
		lane->line_last = &transfer->job;
	if (lane->line_last == &transfer->job)
		lane->line_until_ns = transfer->job.due_ns;
}

void line_leave(const struct weir_http_transfer *transfer)
{
	struct lane *lane = lane_of(transfer);

	if (lane->line_last == &transfer->job)
		lane->line_last = NULL;
	if (--lane->line_count == 0)
		lane->line_until_ns = 0;
}

/* ---- for permits ---- */

void permits_enter(struct weir_http_transfer *transfer)
{
	struct loop *loop = transfer->loop;

	transfer->previous = NULL;
	transfer->next = loop->permits;
	if (loop->permits)
		loop->permits->previous = transfer;
	loop->permits = transfer;
	transfer->waits_permit = true;
}

void permits_leave(struct weir_http_transfer *transfer)
{
	if (transfer->previous)
		transfer->previous->next = transfer->next;
	else
		transfer->loop->permits = transfer->next;
	if (transfer->next)
		transfer->next->previous = transfer->previous;
	transfer->waits_permit = false;
}
