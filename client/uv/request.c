/* SPDX-License-Identifier: Apache-2.0
 *
 * request.c - a wait on the loop that a program keeps: its place, its callback, its end.
 */
#include "request.h"

#include <errno.h>
#include <string.h>

#define REQUEST_LIVE 0x77656972756eull /* in memory that the caller may have left as it was */

static struct request *request_of(struct wait *wait)
{
	return (struct request *)((char *)wait - offsetof(struct request, wait));
}

static bool is_under_way(const struct request *request, enum weir_verdict verdict)
{
	return verdict == WEIR_REFUSE && request->answer.reason == WEIR_REASON_TURN;
}

void request_go_on(struct request *request, enum weir_verdict verdict)
{
	request->verdict = verdict;
	request->decided = !is_under_way(request, verdict);
	if (request->decided)
		waits_add_ready(request->uv, &request->wait);
	else
		waits_add(request->uv, &request->wait,
			  waits_look_ns(request->uv, request->look_ns, request->wait_ns));
}

void request_hurry(struct request *request)
{
	if (!request->wait.queued)
		return;
	waits_remove(request->uv, &request->wait);
	waits_add_ready(request->uv, &request->wait);
}

static void request_call(struct request *request)
{
	const struct weir_answer answer = request->answer;

	request->live = 0;
	request->done((struct weir_uv_request *)request, request->verdict, &answer);
}

static void request_look(struct wait *wait)
{
	struct request *request = request_of(wait);

	if (!request->decided) {
		request->verdict = request->kind->poll(request);
		if (is_under_way(request, request->verdict)) {
			request_go_on(request, WEIR_REFUSE);
			return;
		}
	}
	request_call(request);
}

struct request *request_begin(struct weir_uv *uv, struct weir_uv_request *to,
			      struct weir_endpoint *endpoint, weir_uv_done *done,
			      const struct request_kind *kind)
{
	struct request *request = (struct request *)to;

	if (uv->closing || uv_is_closing((uv_handle_t *)&uv->timer))
		return NULL;
	*request = (struct request){
		.data = request->data,
		.live = REQUEST_LIVE,
		.uv = uv,
		.endpoint = endpoint,
		.done = done,
		.kind = kind,
		.wait = {.look = request_look},
	};
	return request;
}

/* ---- for tokens ---- */

static void turn_told(struct request *request)
{
	request->look_ns = request->turn.look_ns;
	request->wait_ns = request->answer.wait_ns;
}

static enum weir_verdict turn_poll(struct request *request)
{
	enum weir_verdict verdict =
		weir_turn_poll(request->endpoint, &request->turn, &request->answer);

	turn_told(request);
	return verdict;
}

static void turn_leave(struct request *request)
{
	/* there is nothing to give back of one that was refused */
	weir_turn_leave(request->endpoint, &request->turn, NULL);
}

int weir_uv_acquire(struct weir_uv *uv, struct weir_uv_request *to, struct weir_endpoint *endpoint,
		    double cost, uint64_t timeout_ns, weir_uv_done *done)
{
	static const struct request_kind kind = {turn_poll, turn_leave};
	struct request *request = request_begin(uv, to, endpoint, done, &kind);
	enum weir_verdict verdict;

	if (!request)
		return -ECANCELED;
	verdict = weir_turn_begin(endpoint, cost, timeout_ns, &request->turn, &request->answer);
	turn_told(request);
	request_go_on(request, verdict);
	return 0;
}

/* ---- ending it ---- */

void request_give_up(struct wait *wait)
{
	struct request *request = request_of(wait);

	request->kind->leave(request);
	request->decided = true;
	request->verdict = WEIR_REFUSE;
	request->answer = (struct weir_answer){
		.wait_ns = WEIR_NEVER,
		.fault = -ECANCELED,
		.reason = WEIR_REASON_FAULT,
	};
}

int weir_uv_cancel(struct weir_uv_request *of)
{
	struct request *request = (struct request *)of;

	if (request->live != REQUEST_LIVE)
		return WEIR_ESPENT;
	request_give_up(&request->wait);
	request_hurry(request);
	return 0;
}
