/* SPDX-License-Identifier: Apache-2.0
 *
 * request.c - a wait on the loop that a program keeps: its place, its callback, its end.
 */
#include "waits.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define REQUEST_LIVE 0x77656972756eull /* in memory that the caller may have left as it was */

/* What a struct weir_uv_request holds. */
struct request {
	void *data;
	uint64_t live;
	struct weir_uv *uv;
	struct weir_endpoint *endpoint;
	weir_uv_done *done;
	struct wait wait;
	struct weir_turn turn;
	struct weir_answer answer;
	enum weir_verdict verdict;
	bool decided; /* verdict and answer are what the callback is told */
};

_Static_assert(sizeof(struct request) <= sizeof(struct weir_uv_request), "a request fits");
_Static_assert(offsetof(struct request, data) == offsetof(struct weir_uv_request, data),
	       "data is the caller's");

static struct request *request_of(struct wait *wait)
{
	return (struct request *)((char *)wait - offsetof(struct request, wait));
}

/* Takes up a verdict: the callback comes with the loop's next turn, or the wait goes on. */
static void request_go_on(struct request *request, enum weir_verdict verdict)
{
	request->verdict = verdict;
	request->decided = verdict == WEIR_ADMIT || request->answer.reason != WEIR_REASON_TURN;
	if (request->decided)
		waits_add_ready(request->uv, &request->wait);
	else
		waits_add(
			request->uv, &request->wait,
			waits_look_ns(request->uv, request->turn.look_ns, request->answer.wait_ns));
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
		request->verdict =
			weir_turn_poll(request->endpoint, &request->turn, &request->answer);
		if (request->verdict == WEIR_REFUSE && request->answer.reason == WEIR_REASON_TURN) {
			request_go_on(request, WEIR_REFUSE);
			return;
		}
	}
	request_call(request);
}

int weir_uv_acquire(struct weir_uv *uv, struct weir_uv_request *to, struct weir_endpoint *endpoint,
		    double cost, uint64_t timeout_ns, weir_uv_done *done)
{
	struct request *request = (struct request *)to;

	if (uv->closing || uv_is_closing((uv_handle_t *)&uv->timer))
		return -ECANCELED;
	*request = (struct request){
		.data = request->data,
		.live = REQUEST_LIVE,
		.uv = uv,
		.endpoint = endpoint,
		.done = done,
		.wait = {.look = request_look},
	};
	request_go_on(request, weir_turn_begin(endpoint, cost, timeout_ns, &request->turn,
					       &request->answer));
	return 0;
}

void request_give_up(struct wait *wait)
{
	struct request *request = request_of(wait);

	/* there is nothing to give back of one that was refused */
	weir_turn_leave(request->endpoint, &request->turn, NULL);
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
	if (request->wait.queued) {
		waits_remove(request->uv, &request->wait);
		waits_add_ready(request->uv, &request->wait);
	}
	return 0;
}
