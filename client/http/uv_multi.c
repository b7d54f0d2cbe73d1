/* SPDX-License-Identifier: Apache-2.0
 *
 * uv_multi.c - many requests at once in a loop of libuv, none of which has a thread.
 *
 * Those of one endpoint stand in its lane, first come, first served. Only the first few have places
 * in the shared line: as many as come up within a moment, and one at least. So a process that has
 * thousands to make does not keep others from their turn, and what it draws it uses at once. A
 * place in line is a position, not a time: one that is used a little late costs no throughput.
 *
 * At most settings.connections hold a place or a connection, whatever the number of those who wait.
 */
#include "uv_loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define AHEAD_NS (50 * WEIR_MILLISECOND)      /* so far do places in line reach, beyond one */
#define PERMIT_LOOK_NS (2 * WEIR_MILLISECOND) /* for permits that others give back */
#define TEXTS 4

static struct weir_http_transfer *transfer_of_entry(struct heap_entry *entry)
{
	return (struct weir_http_transfer *)((char *)entry -
					     offsetof(struct weir_http_transfer, entry));
}

/* ---- transfers on their way ---- */

static void end(struct weir_http_transfer *transfer)
{
	struct loop *loop = transfer->loop;

	heap_take(&loop->heap, &transfer->entry);
	transfer->where = AT_THE_END;
	transfer->next = NULL;
	if (loop->end_last)
		loop->end_last->next = transfer;
	else
		loop->end_first = transfer;
	loop->end_last = transfer;
}

static struct weir_http_transfer **bucket_of(struct loop *loop, const CURL *easy)
{
	return &loop->at_work[((uintptr_t)easy >> 6) % ACTIVE_BUCKETS];
}

/* Takes it out of those that libcurl has; NULL: it has none of that handle. */
static struct weir_http_transfer *work_take(struct loop *loop, const CURL *easy)
{
	struct weir_http_transfer **at = bucket_of(loop, easy);

	while (*at && (*at)->job.easy != easy)
		at = &(*at)->next;

	struct weir_http_transfer *found = *at;

	if (found) {
		*at = found->next;
		curl_multi_remove_handle(loop->sockets.multi, found->job.easy);
		loop->active--;
	}
	return found;
}

static void work_begin(struct weir_http_transfer *transfer)
{
	struct loop *loop = transfer->loop;
	struct weir_http_transfer **bucket = bucket_of(loop, transfer->job.easy);

	if (curl_multi_add_handle(loop->sockets.multi, transfer->job.easy) != CURLM_OK) {
		/* the handle is at work already, or there is no memory */
		loop->active--;
		job_cancel(&transfer->job);
		job_fault(&transfer->job, WEIR_EVALUE);
		end(transfer);
		return;
	}
	transfer->where = AT_WORK;
	transfer->next = *bucket;
	*bucket = transfer;
}

/* When one that has a slot is to be looked at. */
static uint64_t look_ns_of(const struct weir_http_transfer *transfer)
{
	uint64_t next_ns = transfer->job.next_ns;
	uint64_t permit_ns = transfer->loop->now_ns + PERMIT_LOOK_NS;

	return transfer->waits_permit && permit_ns < next_ns ? permit_ns : next_ns;
}

/* Goes on with one that has a slot. */
static void advance(struct weir_http_transfer *transfer)
{
	struct loop *loop = transfer->loop;
	enum job_phase phase;

	if (transfer->waits_permit)
		permits_leave(transfer);
	phase = job_next(&transfer->job, loop->now_ns);
	if (phase == JOB_LINE && transfer->job.bill.waits_permit)
		permits_enter(transfer);
	if (phase == JOB_LINE && transfer->where != IN_LINE)
		line_enter(transfer);
	else if (phase != JOB_LINE && transfer->where == IN_LINE)
		line_leave(transfer);
	switch (phase) {
	case JOB_BEGIN:
	case JOB_REST:
	case JOB_LINE:
		line_look(transfer);
		heap_set(&loop->heap, &transfer->entry, look_ns_of(transfer));
		break;
	case JOB_TRANSFER:
		heap_take(&loop->heap, &transfer->entry);
		work_begin(transfer);
		break;
	case JOB_DONE:
		loop->active--;
		end(transfer);
		break;
	}
}

/* Gives a place to the first of a lane, if he may have one. */
static bool lane_advance(struct loop *loop, struct lane *lane)
{
	/* the places that its jobs have reach far enough before that */
	uint64_t next_ns = lane->line_until_ns > AHEAD_NS ? lane->line_until_ns - AHEAD_NS : 0;
	struct weir_http_transfer *transfer;

	if (!lane->first || loop->active >= loop->http->settings.connections)
		return false;
	if (next_ns > loop->now_ns) {
		if (loop->lanes_ns == 0 || loop->lanes_ns > next_ns)
			loop->lanes_ns = next_ns;
		return false;
	}
	transfer = transfer_of(lane->first);
	lane_part(loop, transfer);
	loop->active++;
	advance(transfer);
	return true;
}

/* Looks for permits, which come free with what has ended. */
static void permits_look(struct loop *loop)
{
	struct weir_http_transfer *transfer = loop->permits;

	if (!loop->has_released)
		return;
	loop->has_released = false;
	while (transfer) {
		struct weir_http_transfer *next = transfer->next;

		advance(transfer);
		transfer = next;
	}
}

/* Gives places to those who may have one, one of each lane in turn. */
static void pump(struct loop *loop)
{
	bool moved;

	permits_look(loop);
	do {
		moved = false;
		loop->lanes_ns = 0;
		for (uint32_t left = loop->waiting; left > 0; left--) {
			struct lane *lane = waiting_take(loop);

			/* a lane that is emptied here lives on: its jobs are not ended yet */
			moved |= lane_advance(loop, lane);
			if (lane->first && !lane->is_waiting)
				waiting_put(loop, lane);
		}
	} while (moved);
}

/* ---- time ---- */

static void on_time(uv_timer_t *timer);

static void set_timer(struct loop *loop)
{
	struct heap_entry *first = heap_first(&loop->heap);
	uint64_t at = first ? first->due_ns : 0;

	if (loop->lanes_ns && (at == 0 || at > loop->lanes_ns))
		at = loop->lanes_ns;
	if (loop->end_first)
		at = 1; /* at once */
	if (at == loop->timer_ns)
		return;
	loop->timer_ns = at;
	if (at == 0) {
		uv_timer_stop(&loop->timer);
		return;
	}

	uint64_t now = http_now_ns();

	/* rounded up: who comes too early has to come again */
	uv_timer_start(&loop->timer, on_time,
		       at > now ? (at - now + WEIR_MILLISECOND - 1) / WEIR_MILLISECOND : 0, 0);
}

/* One whose time has come. */
static void due(struct loop *loop, struct weir_http_transfer *transfer)
{
	struct job *job = &transfer->job;

	heap_take(&loop->heap, &transfer->entry);
	switch (transfer->where) {
	case IN_LINE:
		advance(transfer);
		break;
	case AT_REST:
		lane_join(loop, transfer, true);
		break;
	case IN_LANE:
		if (loop->now_ns >= job->deadline_ns) {
			lane_part(loop, transfer);
			job_refuse(job, WEIR_REASON_DEADLINE, WEIR_NEVER);
			end(transfer);
		}
		break;
	case AT_WORK:
	case AT_THE_END:
		break;
	}
}

static void transfer_free(struct weir_http_transfer *transfer)
{
	free(transfer->texts);
	free(transfer);
}

/* Gives it back for the next one. */
static void transfer_spare(struct loop *loop, struct weir_http_transfer *transfer)
{
	if (loop->spare_count >= loop->http->settings.connections) {
		transfer_free(transfer);
		return;
	}
	transfer->next = loop->spare;
	loop->spare = transfer;
	loop->spare_count++;
}

static struct weir_http_transfer *transfer_make(struct loop *loop)
{
	struct weir_http_transfer *transfer = loop->spare;

	if (!transfer)
		return calloc(1, sizeof(*transfer));
	loop->spare = transfer->next;
	loop->spare_count--;
	return transfer;
}

static void spares_free(struct loop *loop)
{
	while (loop->spare)
		transfer_free(transfer_make(loop));
}

/* Hands back what has come to its end. The callback may begin and end others. */
static void hand_back(struct loop *loop)
{
	while (loop->end_first) {
		struct weir_http_transfer *transfer = loop->end_first;
		CURLcode code = job_code(&transfer->job);

		loop->end_first = transfer->next;
		if (!loop->end_first)
			loop->end_last = NULL;
		if (transfer->all_previous)
			transfer->all_previous->all_next = transfer->all_next;
		else
			loop->all = transfer->all_next;
		if (transfer->all_next)
			transfer->all_next->all_previous = transfer->all_previous;
		loop->count--;
		job_end(&transfer->job);
		transfer->done(transfer->job.easy, code, &transfer->job.result, transfer->context);
		transfer_spare(loop, transfer);
	}
}

static void on_loop_timer_closed(uv_handle_t *handle)
{
	struct loop *loop = handle->data;

	heap_free(&loop->heap);
	sockets_close(&loop->sockets);
}

static void on_sockets_closed(struct sockets *sockets)
{
	struct loop *loop = (struct loop *)sockets;
	void (*detached)(void *context) = loop->detached;
	void *context = loop->context;

	loop->http->loop = NULL;
	spares_free(loop);
	free(loop);
	if (detached)
		detached(context);
}

/* After anything that happened: the loop's own state is in order again. */
static void settle(struct loop *loop)
{
	loop->settles = true;
	do {
		loop->is_fresh = false;
		pump(loop);
		hand_back(loop);
	} while (loop->is_fresh || loop->end_first);
	loop->settles = false;
	if (loop->closes && loop->count == 0) {
		if (!uv_is_closing((uv_handle_t *)&loop->timer))
			uv_close((uv_handle_t *)&loop->timer, on_loop_timer_closed);
		return;
	}
	set_timer(loop);
}

static void on_time(uv_timer_t *timer)
{
	struct loop *loop = timer->data;
	struct heap_entry *first;

	loop->timer_ns = 0;
	loop->now_ns = http_now_ns();
	while ((first = heap_first(&loop->heap)) && first->due_ns <= loop->now_ns)
		due(loop, transfer_of_entry(first));
	settle(loop);
}

/* ---- what libcurl is ready with ---- */

static void worked(struct weir_http_transfer *transfer, CURLcode code)
{
	struct loop *loop = transfer->loop;

	job_transferred(&transfer->job, code, loop->now_ns);
	loop->has_released = true;
	switch (transfer->job.phase) {
	case JOB_REST:
		transfer->where = AT_REST;
		heap_set(&loop->heap, &transfer->entry, transfer->job.next_ns);
		break;
	case JOB_DONE:
		end(transfer);
		break;
	case JOB_BEGIN:
	case JOB_LINE:
	case JOB_TRANSFER:
		lane_join(loop, transfer, true);
		break;
	}
}

static void on_moved(struct sockets *sockets)
{
	struct loop *loop = (struct loop *)sockets;
	struct CURLMsg *message;
	bool has_worked = false;
	int left;

	while ((message = curl_multi_info_read(sockets->multi, &left))) {
		CURLcode code = message->data.result;
		struct weir_http_transfer *transfer;

		if (!has_worked)
			loop->now_ns = http_now_ns();
		has_worked = true;
		if (message->msg != CURLMSG_DONE)
			continue;
		/* the message is gone with the handle */
		transfer = work_take(loop, message->easy_handle);
		if (transfer)
			worked(transfer, code);
	}
	if (has_worked)
		settle(loop);
}

/* ---- the calls ---- */

int weir_http_attach(struct weir_http *http, struct uv_loop_s *uv)
{
	struct loop *loop;
	int status;

	if (http->loop)
		return -EBUSY;
	loop = calloc(1, sizeof(*loop));
	if (!loop)
		return -ENOMEM;
	loop->http = http;
	loop->sockets.moved = on_moved;
	loop->sockets.closed = on_sockets_closed;
	status = sockets_open(&loop->sockets, uv);
	if (status < 0) {
		free(loop);
		return status;
	}
	uv_timer_init(uv, &loop->timer);
	loop->timer.data = loop;
	http->loop = loop;
	return 0;
}

/* After a call from outside; one out of settle() is seen there. */
static void called(struct loop *loop)
{
	loop->is_fresh = true;
	if (loop->settles)
		return;
	pump(loop);
	set_timer(loop);
}

/* The present, for a call from outside. */
static void see_time(struct loop *loop)
{
	if (!loop->settles)
		loop->now_ns = http_now_ns();
}

/* The caller's texts, for as long as the transfer lives. */
static bool texts_copy(struct weir_http_transfer *transfer, struct weir_http_request *request)
{
	const char **texts[] = {&request->url, &request->endpoint, &request->class_name,
				&request->method};
	size_t lengths[TEXTS];
	size_t bytes = 0;
	char *at;

	for (size_t i = 0; i < TEXTS; i++) {
		lengths[i] = *texts[i] ? strlen(*texts[i]) + 1 : 0;
		bytes += lengths[i];
	}
	if (bytes > transfer->texts_bytes) {
		free(transfer->texts);
		transfer->texts = malloc(bytes);
		transfer->texts_bytes = transfer->texts ? bytes : 0;
		if (!transfer->texts)
			return false;
	}
	at = transfer->texts;
	for (size_t i = 0; i < TEXTS; i++) {
		if (!*texts[i])
			continue;
		memcpy(at, *texts[i], lengths[i]);
		*texts[i] = at;
		at += lengths[i];
	}
	return true;
}

static void all_add(struct loop *loop, struct weir_http_transfer *transfer)
{
	transfer->all_previous = NULL;
	transfer->all_next = loop->all;
	if (loop->all)
		loop->all->all_previous = transfer;
	loop->all = transfer;
	loop->count++;
}

int weir_http_start(struct weir_http *http, CURL *easy, const struct weir_http_request *from,
		    weir_http_done *done, void *context, struct weir_http_transfer **out)
{
	struct loop *loop = http->loop;
	struct weir_http_transfer *transfer;

	if (!loop || loop->closes)
		return -ENOTCONN;
	if (heap_reserve(&loop->heap, loop->count + 1) < 0)
		return -ENOMEM;
	transfer = transfer_make(loop);
	if (!transfer)
		return -ENOMEM;
	see_time(loop);
	request_fill(&transfer->job.request, from);
	if (!texts_copy(transfer, &transfer->job.request)) {
		transfer_spare(loop, transfer);
		return -ENOMEM;
	}
	transfer->loop = loop;
	transfer->waits_permit = false;
	transfer->done = done;
	transfer->context = context;
	all_add(loop, transfer);
	job_begin(&transfer->job, http, easy, loop->now_ns);
	if (transfer->job.phase == JOB_DONE)
		end(transfer);
	else
		lane_join(loop, transfer, false);
	if (out)
		*out = transfer;
	called(loop);
	return 0;
}

static void cancel(struct weir_http_transfer *transfer)
{
	struct loop *loop = transfer->loop;

	switch (transfer->where) {
	case IN_LANE:
		lane_part(loop, transfer);
		break;
	case IN_LINE:
		line_leave(transfer);
		if (transfer->waits_permit)
			permits_leave(transfer);
		loop->active--;
		break;
	case AT_WORK:
		(void)work_take(loop, transfer->job.easy);
		break;
	case AT_REST:
		break;
	case AT_THE_END:
		return;
	}
	job_cancel(&transfer->job);
	loop->has_released = true;
	end(transfer);
}

void weir_http_cancel(struct weir_http_transfer *transfer)
{
	struct loop *loop = transfer->loop;

	see_time(loop);
	cancel(transfer);
	called(loop);
}

void weir_http_detach(struct weir_http *http, void (*detached)(void *context), void *context)
{
	struct loop *loop = http->loop;

	if (!loop || loop->closes)
		return;
	loop->closes = true;
	loop->detached = detached;
	loop->context = context;
	for (struct weir_http_transfer *at = loop->all; at; at = at->all_next)
		cancel(at);
	/* the rest is done out of the loop */
	loop->timer_ns = 1;
	uv_timer_start(&loop->timer, on_time, 0, 0);
}
