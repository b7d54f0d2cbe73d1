/* SPDX-License-Identifier: Apache-2.0
 *
 * reply.c - the course of one request from its answer on: what it says, what it cost, and whether
 * that was the last word, or it begins once more, or elsewhere.
 */
#include "http.h"

#include <stdlib.h>
#include <string.h>

/* ---- what came back ---- */

static int status_now(const struct job *job)
{
	long status = 0;

	curl_easy_getinfo(job->easy, CURLINFO_RESPONSE_CODE, &status);
	return (int)status;
}

/* By what the program says, and by what libcurl did: the handle may have been set otherwise. */
static bool is_harmless(const struct job *job)
{
	char *method = NULL;

	if (job->request.flags & WEIR_HTTP_REPEATABLE)
		return true;
	curl_easy_getinfo(job->easy, CURLINFO_EFFECTIVE_METHOD, &method);
	return verdict_is_harmless(job->method) && method && verdict_is_harmless(method);
}

/* What the program has got of the present answer cannot be taken back, but by itself. */
static bool is_delivered(const struct job *job)
{
	curl_off_t bytes = 0;

	if (job->request.write)
		return job->is_delivered;
	curl_easy_getinfo(job->easy, CURLINFO_SIZE_DOWNLOAD_T, &bytes);
	return bytes > 0;
}

/* Whether a verdict of once more can be carried out: in time, and within the budget. */
static bool can_repeat(struct job *job, const struct verdict *verdict)
{
	struct weir_http *http = job->http;
	bool paid = verdict->asked;

	if (job->request.flags & WEIR_HTTP_ONCE || (is_delivered(job) && !job->request.restart) ||
	    verdict->wait_ns > job_left_ns(job, http_now_ns()))
		return false;
	if (!paid) {
		pthread_mutex_lock(&http->mutex);
		/* relaxed: a count */
		budget_earn(&http->budget,
			    atomic_exchange_explicit(&http->made, 0, memory_order_relaxed) *
				    http->settings.budget_percent,
			    http->settings.budget_least);
		paid = budget_spend(&http->budget);
		pthread_mutex_unlock(&http->mutex);
	}
	return paid;
}

static void decide(struct job *job, CURLcode code, int status, const struct answer *answer)
{
	const struct try_facts facts = {
		.code = code,
		.status = status,
		.sent = job_is_sent(job),
		.harmless = is_harmless(job),
		.final = answer->final,
		.retry_ns = answer->retry_ns,
		.tries = job->result.tries,
	};
	struct verdict verdict = verdict_of(&facts, &job->http->try_terms);

	verdict.again = verdict.again && can_repeat(job, &verdict);
	job->verdict = verdict;
}

static bool is_redirect(int status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* Where a redirect leads, if it is to be followed here. */
static char *hop_target(const struct job *job, int status)
{
	const struct weir_http_request *request = &job->request;
	struct curl_header *location;

	if (!is_redirect(status) || job->hops >= request->redirects ||
	    (strcmp(job->method, "GET") != 0 && strcmp(job->method, "HEAD") != 0) ||
	    curl_easy_header(job->easy, "Location", 0, CURLH_HEADER, -1, &location) != CURLHE_OK)
		return NULL;

	char *target = name_join(job_url(job), location->value);

	if (target &&
	    ((!curl_strnequal(target, "http://", 7) && !curl_strnequal(target, "https://", 8)) ||
	     (!(request->flags & WEIR_HTTP_CROSS_ORIGIN) &&
	      !name_same_origin(job_url(job), target)))) {
		free(target);
		target = NULL;
	}
	return target;
}

/* The lane of the URL that libcurl came to in the end, if it followed redirects. */
static struct lane *last_lane(struct job *job)
{
	struct lane *lane = NULL;
	char *url = NULL;

	if (job->curl_hops)
		curl_easy_getinfo(job->easy, CURLINFO_EFFECTIVE_URL, &url);
	if (!url || job->request.endpoint ||
	    lane_of_url(job->http, job->method, url, job->request.class_name, job->launched_ns,
			&lane) < 0)
		return NULL;
	return lane;
}

static long curl_hops_now(const struct job *job)
{
	long hops = 0;

	curl_easy_getinfo(job->easy, CURLINFO_REDIRECT_COUNT, &hops);
	return hops;
}

/* Reads the fields of an answer, as soon as they are there; once. */
static void read_answer(struct job *job)
{
	int status = status_now(job);
	struct answer answer;
	struct lane *lane;

	job->is_read = true;
	job->status = status;
	job->curl_hops = curl_hops_now(job);
	lane = last_lane(job);
	answer_observe(job->easy, lane ? lane : job->bill.charges[0].lane, status, job->launched_ns,
		       &answer);
	if (lane)
		lane_leave(lane);
	job->retry_ns = answer.retry_ns;
	job->is_refusal = verdict_is_refusal(status, answer.retry_ns);
	job->target = hop_target(job, status);
	job->is_hop = job->target != NULL;
	/* what went well is the last word: nothing is to be asked of libcurl */
	if (!job->is_hop && status >= 300)
		decide(job, CURLE_OK, status, &answer);
	job->swallow = job->is_hop || job->verdict.again;
}

size_t job_take_body(char *bytes, size_t one, size_t count, void *context)
{
	struct job *job = context;

	if (!job->is_read)
		read_answer(job);
	if (job->swallow)
		return one * count;
	job->is_delivered = true;
	return job->request.write(bytes, one, count, job->request.context);
}

/* ---- after a transfer ---- */

/*
 * Charges the hops that libcurl made by itself; returns how many were of the job's own lane. The
 * n-th answer's Location is where the hop after it went.
 */
static unsigned charge_hops(struct job *job, long hops)
{
	struct lane *own = job->bill.charges[0].lane;
	char *url = job->request.url ? strdup(job_url(job)) : NULL;
	unsigned at_home = 0;

	for (int i = 0; i < hops && i < HOPS_CHARGED; i++) {
		struct curl_header *location;
		struct lane *lane = NULL;
		char *next = NULL;

		if (url && curl_easy_header(job->easy, "Location", 0, CURLH_HEADER, i, &location) ==
				   CURLHE_OK)
			next = name_join(url, location->value);
		if (next && !job->request.endpoint)
			(void)lane_of_url(job->http, job->method, next, job->request.class_name,
					  job->launched_ns, &lane);
		if (lane && lane != own)
			lane_charge(lane, job->request.cost);
		else
			at_home++;
		if (lane)
			lane_leave(lane);
		free(url);
		url = next;
	}
	free(url);
	return at_home;
}

static double measured(const struct job *job, uint32_t which)
{
	const struct weir_http_request *request = &job->request;
	double actual =
		request->measure ? request->measure(job->easy, which, request->context) : -1;

	return actual >= 0 ? actual : job->bill.charges[which].cost;
}

/* The request itself, with the hops that were made on the way. */
static void settle_own(struct job *job, bool last, int status)
{
	double cost = job->bill.charges[0].cost;
	long hops = job->is_read ? job->curl_hops : curl_hops_now(job);

	if (last && status)
		cost = measured(job, 0);
	if (status == 304 && job->request.flags & WEIR_HTTP_UNCHANGED_FREE)
		cost = 0;
	if (hops) {
		job->result.hops += (uint32_t)hops;
		cost += job->request.cost * charge_hops(job, hops);
	}
	if (cost != job->bill.charges[0].cost)
		bill_settle_one(&job->bill, 0, cost);
	else
		bill_spend_one(&job->bill, 0);
}

/*
 * What was not sent costs nothing. An answer that is not the last one cost a request, but nothing
 * beside it; of what failed it is not known, so it stays as estimated.
 */
static void settle(struct job *job, bool last, int status)
{
	if (status == 0 && !job_is_sent(job)) {
		bill_cancel(&job->bill);
		return;
	}
	settle_own(job, last, status);
	for (uint32_t i = 1; i < job->bill.count; i++) {
		if (!last && status)
			bill_cancel_one(&job->bill, i);
		else if (status && job->request.measure)
			bill_settle_one(&job->bill, i, measured(job, i));
	}
	bill_spend(&job->bill);
}

/* Once more, or onwards: the program is asked, and gets the handle to itself. */
static bool restarts(struct job *job)
{
	return !job->request.restart || job->request.restart(job->easy, job->request.context) == 0;
}

static void repeat(struct job *job, uint64_t now_ns)
{
	struct weir_http *http = job->http;

	pthread_mutex_lock(&http->mutex);
	uint64_t wait = verdict_jitter(&job->verdict, http_random(http));
	pthread_mutex_unlock(&http->mutex);
	/* from the beginning, wherever redirects had led */
	if (job->hop) {
		struct lane *lane;

		free(job->hop);
		job->hop = NULL;
		job->hops = 0;
		if (job_find_lane(job, now_ns, &lane) == 0) {
			lane_leave(job->bill.charges[0].lane);
			job->bill.charges[0].lane = lane;
		}
	}
	job->phase = JOB_REST;
	job_wait(job, now_ns, wait);
}

/*
 * The further charges go along, but for their permits; the hop has a cost, and a permit, of its
 * own, at its own endpoint.
 */
static void follow(struct job *job, uint64_t now_ns)
{
	struct lane *lane;
	int status;

	settle_own(job, false, job->status);
	bill_release(&job->bill);
	free(job->hop);
	job->hop = job->target;
	job->target = NULL;
	job->hops++;
	job->result.hops++;
	status = job_find_lane(job, now_ns, &lane);
	if (status < 0) {
		job_fault(job, status);
		return;
	}
	lane_leave(job->bill.charges[0].lane);
	job->bill.charges[0].lane = lane;
	job->phase = JOB_BEGIN;
	job->next_ns = 0;
}

static void finish(struct job *job, CURLcode code, int status)
{
	settle(job, true, code == CURLE_OK ? status : 0);
	job_done(job, code == CURLE_OK ? WEIR_HTTP_ANSWERED : WEIR_HTTP_FAILED);
}

void job_transferred(struct job *job, CURLcode code, uint64_t now_ns)
{
	const struct answer nothing = {.retry_ns = 0};
	int status = job->is_read ? job->status : status_now(job);

	job->result.curl = (int32_t)code;
	job->result.status = status;
	if (status && code == CURLE_OK && !job->is_read)
		read_answer(job);
	job->result.retry_ns = job->retry_ns;
	job->result.refusals += job->is_refusal;
	job_tell_breaker(job, verdict_news(code, status, job->retry_ns), now_ns);
	if (code != CURLE_OK && !job->verdict.again) {
		job->is_hop = false;
		decide(job, code, status, &nothing);
	}
	if (job->is_hop && (!is_delivered(job) || job->request.restart) && restarts(job)) {
		follow(job, now_ns);
	} else if (!job->is_hop && job->verdict.again && restarts(job)) {
		settle(job, false, status);
		repeat(job, now_ns);
	} else {
		finish(job, code, status);
	}
}
