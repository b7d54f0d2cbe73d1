/* SPDX-License-Identifier: Apache-2.0
 *
 * entry.c - a permit as a request, alone or together with tokens: first the permit, then the
 * tokens, so that none is spent while there is no permit; refused, neither is held.
 *
 * Every entry has a place of its own in the endpoint's line, so that it is first come, first
 * served with everybody else; but only the first of this loop tries, and has the next one do so
 * when it leaves. Others could take what is free beside the first one's, and would be told before
 * it where the loop comes to them first. Killed anywhere: what libweir's calls say of permits and
 * turns.
 */
#include "request.h"

#include <errno.h>

#define PERMIT_LOOK_NS (2 * WEIR_MILLISECOND)	/* the first in line */
#define FOLLOW_LOOK_NS (100 * WEIR_MILLISECOND) /* those behind it: whether their time is over */

enum entry_state {
	ENTRY_OUT = 0, /* has nothing */
	ENTRY_IN_LINE, /* for a permit */
	ENTRY_HOLDS,   /* a permit, and waits for its turn, or was admitted */
};

/* ---- the line of this loop ---- */

static struct request *line_find(struct request *from, const struct weir_endpoint *endpoint,
				 bool onward)
{
	while (from && from->endpoint != endpoint)
		from = onward ? from->line_next : from->line_previous;
	return from;
}

static void line_append(struct request *request)
{
	struct weir_uv *uv = request->uv;

	request->leads = !line_find(uv->line_last, request->endpoint, false);
	request->line_previous = uv->line_last;
	*(uv->line_last ? &uv->line_last->line_next : &uv->line_first) = request;
	uv->line_last = request;
	request->state = ENTRY_IN_LINE;
}

/* Whoever comes next for the same endpoint looks at once. */
static void line_remove(struct request *request)
{
	struct weir_uv *uv = request->uv;
	struct request *heir =
		request->leads ? line_find(request->line_next, request->endpoint, true) : NULL;

	*(request->line_previous ? &request->line_previous->line_next : &uv->line_first) =
		request->line_next;
	*(request->line_next ? &request->line_next->line_previous : &uv->line_last) =
		request->line_previous;
	request->line_next = request->line_previous = NULL;
	request->state = ENTRY_OUT;
	if (heir) {
		heir->leads = true;
		request_hurry(heir);
	}
}

/* ---- steps ---- */

static uint64_t now_ns(const struct request *request)
{
	return weir_endpoint_clock_now(request->endpoint);
}

static uint64_t left_ns(const struct request *request)
{
	uint64_t gone = now_ns(request) - request->from_ns;

	if (request->timeout_ns == WEIR_FOREVER)
		return WEIR_FOREVER;
	return gone < request->timeout_ns ? request->timeout_ns - gone : 0;
}

static void entry_leave(struct request *request)
{
	if (request->state == ENTRY_IN_LINE) {
		weir_permit_unqueue(request->endpoint, &request->waiter);
		line_remove(request);
	} else if (request->state == ENTRY_HOLDS) {
		weir_turn_leave(request->endpoint, &request->turn, NULL);
		weir_permit_release(request->endpoint, request->permit);
		request->state = ENTRY_OUT;

		struct request *first = line_find(request->uv->line_first, request->endpoint, true);

		if (first)
			request_hurry(first);
	}
}

/* With a permit: what came of its turn. */
static enum weir_verdict with_turn(struct request *request, enum weir_verdict verdict)
{
	if (verdict == WEIR_ADMIT) {
		if (request->answer.fault == 0 && request->timeout_ns)
			request->answer.wait_ns = now_ns(request) - request->from_ns;
		/* the wait for tokens is no part of the call */
		if (request->cost > 0)
			weir_permit_start(request->endpoint, request->permit);
		return verdict;
	}
	request->look_ns = request->turn.look_ns;
	request->wait_ns = request->answer.wait_ns;
	if (request->answer.reason != WEIR_REASON_TURN)
		entry_leave(request);
	return verdict;
}

/* It has a permit, or policy let it pass. */
static enum weir_verdict with_permit(struct request *request)
{
	request->state = ENTRY_HOLDS;
	if (request->cost > 0)
		return with_turn(request,
				 weir_turn_begin(request->endpoint, request->cost, left_ns(request),
						 &request->turn, &request->answer));
	return with_turn(request, WEIR_ADMIT);
}

static enum weir_verdict in_line(struct request *request)
{
	uint64_t left = left_ns(request);

	if (left == 0) {
		entry_leave(request);
		request->answer.reason = WEIR_REASON_DEADLINE;
		return WEIR_REFUSE;
	}
	request->answer.reason = WEIR_REASON_TURN;
	request->wait_ns = left;
	request->look_ns = request->leads ? PERMIT_LOOK_NS : FOLLOW_LOOK_NS;
	if (left < request->look_ns)
		request->look_ns = left;
	return WEIR_REFUSE;
}

static enum weir_verdict entry_poll(struct request *request)
{
	if (request->state == ENTRY_HOLDS)
		return with_turn(request, weir_turn_poll(request->endpoint, &request->turn,
							 &request->answer));
	if (!request->leads)
		return in_line(request);
	if (weir_permit_poll(request->endpoint, &request->waiter, request->permit,
			     &request->answer)) {
		line_remove(request);
		return with_permit(request);
	}
	if (request->answer.fault == 0)
		return in_line(request);
	entry_leave(request);
	return WEIR_REFUSE;
}

static enum weir_verdict entry_begin(struct request *request)
{
	int status;

	if (weir_permit_take(request->endpoint, 0, request->permit, &request->answer))
		return with_permit(request);
	if (request->answer.fault || request->timeout_ns == 0)
		return WEIR_REFUSE;
	status = weir_permit_queue(request->endpoint, &request->waiter);
	if (status < 0) {
		request->answer.fault = status;
		request->answer.reason =
			status == WEIR_EWAITERS ? WEIR_REASON_QUEUE : WEIR_REASON_FAULT;
		return WEIR_REFUSE;
	}
	line_append(request);
	/* one may have come free before it was in line */
	return entry_poll(request);
}

static int entry(struct weir_uv *uv, struct weir_uv_request *to, struct weir_endpoint *endpoint,
		 double cost, uint64_t timeout_ns, struct weir_permit *permit, weir_uv_done *done)
{
	static const struct request_kind kind = {entry_poll, entry_leave};
	struct request *request = request_begin(uv, to, endpoint, done, &kind);

	if (!request)
		return -ECANCELED;
	request->cost = cost;
	request->permit = permit;
	request->timeout_ns = timeout_ns;
	request->from_ns = now_ns(request);
	request_go_on(request, entry_begin(request));
	return 0;
}

int weir_uv_permit_take(struct weir_uv *uv, struct weir_uv_request *request,
			struct weir_endpoint *endpoint, uint64_t timeout_ns,
			struct weir_permit *permit, weir_uv_done *done)
{
	return entry(uv, request, endpoint, 0, timeout_ns, permit, done);
}

int weir_uv_enter(struct weir_uv *uv, struct weir_uv_request *request,
		  struct weir_endpoint *endpoint, double cost, uint64_t timeout_ns,
		  struct weir_permit *permit, weir_uv_done *done)
{
	return cost > 0 ? entry(uv, request, endpoint, cost, timeout_ns, permit, done) : WEIR_ECOST;
}
