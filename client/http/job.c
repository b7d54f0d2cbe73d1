/* SPDX-License-Identifier: Apache-2.0
 *
 * job.c - the course of one request up to its transfer: a place in line, and its turn. What comes
 * after that is in reply.c.
 */
#include "http.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- its end ---- */

static void waited(struct job *job)
{
	if (job->begun_ns)
		job->result.waited_ns += http_now_ns() - job->begun_ns;
	job->begun_ns = 0;
}

/*
 * One good answer more, while all is well and the half of the window has not changed: that is only
 * counted, and the breaker is told of all of them by the next one that is something else.
 */
static bool is_one_more(const struct job *job, struct lane *lane, uint64_t now_ns)
{
	uint64_t half = job->http->breaker_terms.window_ns / 2;
	/* relaxed, both: who sees an older value counts for the half, or the breaker, before */
	uint64_t age = now_ns - atomic_load_explicit(&lane->half_ns, memory_order_relaxed);

	return age < half && !job->probe &&
	       !atomic_load_explicit(&lane->is_broken, memory_order_relaxed);
}

void job_tell_breaker(struct job *job, enum breaker_news news, uint64_t now_ns)
{
	struct weir_http *http = job->http;
	struct lane *lane;

	if (!job->has_passed)
		return;
	lane = job->bill.charges[0].lane;
	if (news == BREAKER_GOOD && is_one_more(job, lane, now_ns)) {
		/* relaxed: a count */
		atomic_fetch_add_explicit(&lane->good, 1, memory_order_relaxed);
	} else {
		pthread_mutex_lock(&http->mutex);
		/* relaxed: a count; one that comes too late belongs to the half after */
		lane->breaker.good[0] +=
			atomic_exchange_explicit(&lane->good, 0, memory_order_relaxed);
		breaker_tell(&lane->breaker, &http->breaker_terms, now_ns, job->probe, news);
		lane_show_breaker(lane);
		pthread_mutex_unlock(&http->mutex);
	}
	job->has_passed = job->probe = false;
}

void job_done(struct job *job, enum weir_http_outcome outcome)
{
	waited(job);
	if (job->has_passed)
		job_tell_breaker(job, BREAKER_NOTHING, http_now_ns());
	bill_cancel(&job->bill);
	job->result.outcome = (int32_t)outcome;
	job->phase = JOB_DONE;
}

void job_refuse(struct job *job, int32_t reason, uint64_t wait_ns)
{
	job->result.reason = reason;
	job->result.wait_ns = wait_ns;
	job_done(job, WEIR_HTTP_REFUSED);
}

void job_fault(struct job *job, int fault)
{
	job->result.fault = fault;
	job_done(job, WEIR_HTTP_FAULT);
}

static void broken(struct job *job, uint64_t wait_ns)
{
	job->result.wait_ns = wait_ns;
	job_done(job, WEIR_HTTP_BROKEN);
}

bool job_is_sent(const struct job *job)
{
	long bytes = 0;

	curl_easy_getinfo(job->easy, CURLINFO_REQUEST_SIZE, &bytes);
	return bytes > 0;
}

void job_cancel(struct job *job)
{
	if (job->phase == JOB_DONE)
		return;
	if (job->phase == JOB_TRANSFER && job_is_sent(job))
		bill_spend(&job->bill);
	job_done(job, WEIR_HTTP_CANCELLED);
}

CURLcode job_code(const struct job *job)
{
	switch ((enum weir_http_outcome)job->result.outcome) {
	case WEIR_HTTP_ANSWERED:
	case WEIR_HTTP_FAILED:
		return (CURLcode)job->result.curl;
	case WEIR_HTTP_REFUSED:
		return CURLE_OPERATION_TIMEDOUT;
	case WEIR_HTTP_BROKEN:
		return CURLE_COULDNT_CONNECT;
	case WEIR_HTTP_CANCELLED:
		return CURLE_ABORTED_BY_CALLBACK;
	case WEIR_HTTP_FAULT:
		break;
	}
	return job->result.fault == WEIR_EVALUE ? CURLE_BAD_FUNCTION_ARGUMENT
	       : job->result.fault == -ENOMEM	? CURLE_OUT_OF_MEMORY
						: CURLE_FAILED_INIT;
}

/* The handle as the program knows it; but for the URL, by which it says where it came to. */
static void handle_restore(struct job *job)
{
	if (job->request.write) {
		curl_easy_setopt(job->easy, CURLOPT_WRITEFUNCTION, job->request.write);
		curl_easy_setopt(job->easy, CURLOPT_WRITEDATA, job->request.context);
	}
}

void job_end(struct job *job)
{
	if (job->bill.count) {
		strcpy(job->result.endpoint, job->bill.charges[0].lane->name);
		handle_restore(job);
	}
	for (uint32_t i = 0; i < job->bill.count; i++)
		lane_leave(job->bill.charges[i].lane);
	job->bill.count = 0;
	free(job->hop);
	free(job->target);
	job->hop = job->target = NULL;
}

/* ---- its beginning ---- */

const char *job_url(const struct job *job)
{
	return job->hop ? job->hop : job->request.url;
}

static void add_lane(struct job *job, struct lane *lane, double cost)
{
	struct charge *charge = &job->bill.charges[job->bill.count++];

	/* its turn is written when it begins */
	charge->lane = lane;
	charge->cost = cost;
	charge->begun = charge->admitted = charge->has_permit = charge->is_permitted = false;
}

int job_find_lane(struct job *job, uint64_t now_ns, struct lane **out)
{
	const struct weir_http_request *request = &job->request;

	return request->endpoint ? lane_of_name(job->http, request->endpoint, request->class_name,
						now_ns, out)
				 : lane_of_url(job->http, job->method, job_url(job),
					       request->class_name, now_ns, out);
}

static int find_lanes(struct job *job, uint64_t now_ns)
{
	const struct weir_http_request *request = &job->request;
	struct lane *lane;
	int status = job_find_lane(job, now_ns, &lane);

	if (status == 0)
		add_lane(job, lane, request->cost);
	for (size_t i = 0; i < request->charge_count && status == 0; i++) {
		const struct weir_http_charge *charge = &request->charges[i];

		status = lane_of_name(job->http, charge->endpoint, request->class_name, now_ns,
				      &lane);
		if (status == 0)
			add_lane(job, lane, charge->cost);
	}
	return status;
}

static bool request_valid(const struct job *job)
{
	const struct weir_http_request *request = &job->request;

	if (request->charge_count >= WEIR_HTTP_CHARGES_MAX ||
	    (request->charge_count && !request->charges))
		return false;
	for (size_t i = 0; i < request->charge_count; i++)
		if (!request->charges[i].endpoint)
			return false;
	return job->easy && (request->url || request->endpoint) &&
	       (!request->method || strlen(request->method) < METHOD_BYTES) &&
	       (!request->redirects || request->url);
}

static void handle_prepare(struct job *job)
{
	if (job->request.redirects)
		curl_easy_setopt(job->easy, CURLOPT_FOLLOWLOCATION, 0L);
	if (job->request.write) {
		curl_easy_setopt(job->easy, CURLOPT_WRITEFUNCTION, job_take_body);
		curl_easy_setopt(job->easy, CURLOPT_WRITEDATA, job);
	}
}

void request_fill(struct weir_http_request *out, const struct weir_http_request *from)
{
	if (from && from->size == sizeof(*out)) {
		*out = *from;
	} else {
		/* a program built against an older header has a shorter struct */
		*out = (struct weir_http_request){.size = 0};
		if (from)
			memcpy(out, from, from->size < sizeof(*out) ? from->size : sizeof(*out));
		out->size = sizeof(*out);
	}
	if (out->cost == 0)
		out->cost = 1;
	if (out->timeout_ns == 0)
		out->timeout_ns = WEIR_FOREVER;
}

/* All but the texts and places that are written when they are used. */
static void job_clear(struct job *job)
{
	struct weir_http_result *result = &job->result;

	memset(job, 0, offsetof(struct job, request));
	memset(result, 0, offsetof(struct weir_http_result, endpoint));
	memset(result->reserved, 0, sizeof(result->reserved));
	result->size = sizeof(*result);
	result->endpoint[0] = '\0';
	job->bill.count = 0;
	job->bill.in_line = NULL;
	job->bill.waits_permit = false;
}

void job_begin(struct job *job, struct weir_http *http, CURL *easy, uint64_t now_ns)
{
	job_clear(job);
	job->http = http;
	job->easy = easy;
	job->phase = JOB_BEGIN;
	if (!request_valid(job)) {
		job_fault(job, WEIR_EVALUE);
		return;
	}
	job->method = job->request.method ? job->request.method : "GET";
	job->deadline_ns = job->request.timeout_ns > UINT64_MAX - now_ns
				   ? UINT64_MAX
				   : now_ns + job->request.timeout_ns;

	int status = find_lanes(job, now_ns);

	if (status < 0)
		job_fault(job, status);
	else
		handle_prepare(job);
}

uint64_t job_left_ns(const struct job *job, uint64_t now_ns)
{
	if (job->deadline_ns == UINT64_MAX)
		return WEIR_FOREVER;
	return job->deadline_ns > now_ns ? job->deadline_ns - now_ns : 0;
}

/* ---- before a transfer ---- */

void job_wait(struct job *job, uint64_t now_ns, uint64_t wait_ns)
{
	if (!job->begun_ns)
		job->begun_ns = now_ns;
	job->next_ns = now_ns + wait_ns;
}

static bool breaker_allows(struct job *job, uint64_t now_ns, bool pass)
{
	struct weir_http *http = job->http;
	struct lane *lane = job->bill.charges[0].lane;
	uint64_t wait_ns = 0;

	/* relaxed: who sees that late makes a request more, as if it had come a moment earlier, or
	 * asks for nothing */
	if (!atomic_load_explicit(&lane->is_broken, memory_order_relaxed))
		return true;
	pthread_mutex_lock(&http->mutex);
	bool allows = pass ? breaker_pass(&lane->breaker, &http->breaker_terms, now_ns, &job->probe,
					  &wait_ns)
			   : breaker_look(&lane->breaker, &http->breaker_terms, now_ns, &wait_ns);
	lane_show_breaker(lane);
	pthread_mutex_unlock(&http->mutex);
	if (!allows)
		broken(job, wait_ns);
	return allows;
}

/* Its turn. */
static void launch(struct job *job, uint64_t now_ns)
{
	if (!breaker_allows(job, now_ns, true))
		return;
	job->has_passed = true;
	waited(job);
	/* relaxed: a count. Every request pays into the budget of repetitions, once */
	if (job->hops == 0 && job->result.tries++ == 0)
		atomic_fetch_add_explicit(&job->http->made, 1, memory_order_relaxed);
	if (job->request.url)
		curl_easy_setopt(job->easy, CURLOPT_URL, job_url(job));
	free(job->target);
	job->target = NULL;
	job->is_read = job->swallow = job->is_delivered = job->is_hop = job->is_refusal = false;
	job->verdict = (struct verdict){.again = false};
	job->retry_ns = 0;
	job->launched_ns = now_ns;
	job->phase = JOB_TRANSFER;
}

/* Draws, or goes on waiting for what it could not draw. */
static void draw(struct job *job, uint64_t now)
{
	struct bill_answer answer;

	switch (bill_step(&job->bill, job_left_ns(job, now), &answer)) {
	case BILL_DUE:
		job->result.fault = answer.fault;
		launch(job, now);
		break;
	case BILL_WAIT:
		job->phase = JOB_LINE;
		job_wait(job, now, answer.look_ns);
		job->due_ns = answer.wait_ns < UINT64_MAX - now ? now + answer.wait_ns : UINT64_MAX;
		break;
	case BILL_REFUSED:
		job_refuse(job, answer.reason, answer.wait_ns);
		break;
	case BILL_FAULT:
		job_fault(job, answer.fault);
		break;
	}
}

enum job_phase job_next(struct job *job, uint64_t now)
{
	switch (job->phase) {
	case JOB_REST:
	case JOB_BEGIN:
		if (now < job->next_ns)
			break;
		job->phase = JOB_BEGIN;
		if (breaker_allows(job, now, false))
			draw(job, now);
		break;
	case JOB_LINE:
		draw(job, now);
		break;
	case JOB_TRANSFER:
	case JOB_DONE:
		break;
	}
	return job->phase;
}
