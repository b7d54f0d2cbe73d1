/* SPDX-License-Identifier: Apache-2.0
 *
 * job.c - the course of one request: a place in line, its turn, the transfer, its answer, and
 * perhaps all of it once more.
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

/* What the breaker let pass, it is told of once. */
static void tell_breaker(struct job *job, enum breaker_news news)
{
	struct weir_http *http = job->http;

	if (!job->has_passed)
		return;
	pthread_mutex_lock(&http->mutex);
	breaker_tell(&job->bill.charges[0].lane->breaker, &http->breaker_terms, http_now_ns(),
		     job->probe, news);
	pthread_mutex_unlock(&http->mutex);
	job->has_passed = job->probe = false;
}

static void done(struct job *job, enum weir_http_outcome outcome)
{
	waited(job);
	tell_breaker(job, BREAKER_NOTHING);
	bill_cancel(&job->bill);
	job->result.outcome = (int32_t)outcome;
	job->phase = JOB_DONE;
}

void job_refuse(struct job *job, int32_t reason, uint64_t wait_ns)
{
	job->result.reason = reason;
	job->result.wait_ns = wait_ns;
	done(job, WEIR_HTTP_REFUSED);
}

void job_fault(struct job *job, int fault)
{
	job->result.fault = fault;
	done(job, WEIR_HTTP_FAULT);
}

static void broken(struct job *job, uint64_t wait_ns)
{
	job->result.wait_ns = wait_ns;
	done(job, WEIR_HTTP_BROKEN);
}

/* Whether libcurl has sent anything of the present try. */
static bool is_sent(const struct job *job)
{
	long bytes = 0;

	curl_easy_getinfo(job->easy, CURLINFO_REQUEST_SIZE, &bytes);
	return bytes > 0;
}

void job_cancel(struct job *job)
{
	if (job->phase == JOB_DONE)
		return;
	if (job->phase == JOB_TRANSFER && is_sent(job))
		bill_spend(&job->bill);
	done(job, WEIR_HTTP_CANCELLED);
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
		lane_leave(job->http, job->bill.charges[i].lane);
	job->bill.count = 0;
	free(job->hop);
	free(job->target);
	job->hop = job->target = NULL;
}

/* ---- its beginning ---- */

static const char *url_of(const struct job *job)
{
	return job->hop ? job->hop : job->request.url;
}

static int add_lane(struct job *job, int status, struct lane *lane, double cost)
{
	if (status == 0)
		job->bill.charges[job->bill.count++] = (struct charge){
			.lane = lane,
			.cost = cost,
		};
	return status;
}

static int find_own_lane(struct job *job, struct lane **out)
{
	const struct weir_http_request *request = &job->request;

	return request->endpoint
		       ? lane_of_name(job->http, request->endpoint, request->class_name, out)
		       : lane_of_url(job->http, job->method, url_of(job), request->class_name, out);
}

static int find_lanes(struct job *job)
{
	const struct weir_http_request *request = &job->request;
	struct lane *lane = NULL;
	int status = find_own_lane(job, &lane);

	status = add_lane(job, status, lane, request->cost);
	for (size_t i = 0; i < request->charge_count && status == 0; i++) {
		status = lane_of_name(job->http, request->charges[i].endpoint, request->class_name,
				      &lane);
		status = add_lane(job, status, lane, request->charges[i].cost);
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

/* Gets the body in the program's place. */
static size_t take_body(char *bytes, size_t one, size_t count, void *context);

static void handle_prepare(struct job *job)
{
	if (job->request.redirects)
		curl_easy_setopt(job->easy, CURLOPT_FOLLOWLOCATION, 0L);
	if (job->request.write) {
		curl_easy_setopt(job->easy, CURLOPT_WRITEFUNCTION, take_body);
		curl_easy_setopt(job->easy, CURLOPT_WRITEDATA, job);
	}
}

static void request_fill(struct weir_http_request *out, const struct weir_http_request *from)
{
	*out = (struct weir_http_request){.size = sizeof(*out)};
	/* a program built against an older header has a shorter struct */
	if (from)
		memcpy(out, from, from->size < sizeof(*out) ? from->size : sizeof(*out));
	if (out->cost == 0)
		out->cost = 1;
	if (out->timeout_ns == 0)
		out->timeout_ns = WEIR_FOREVER;
}

void job_begin(struct job *job, struct weir_http *http, CURL *easy,
	       const struct weir_http_request *request)
{
	uint64_t now = http_now_ns();

	*job = (struct job){.http = http, .easy = easy, .phase = JOB_BEGIN};
	job->result.size = sizeof(job->result);
	request_fill(&job->request, request);
	if (!request_valid(job)) {
		job_fault(job, WEIR_EVALUE);
		return;
	}
	strcpy(job->method, job->request.method ? job->request.method : "GET");
	job->deadline_ns = job->request.timeout_ns > UINT64_MAX - now
				   ? UINT64_MAX
				   : now + job->request.timeout_ns;

	int status = find_lanes(job);

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

static void wait_until(struct job *job, uint64_t now_ns, uint64_t wait_ns)
{
	if (!job->begun_ns)
		job->begun_ns = now_ns;
	job->next_ns = now_ns + wait_ns;
}

static bool breaker_allows(struct job *job, uint64_t now_ns, bool pass)
{
	struct weir_http *http = job->http;
	struct breaker *breaker = &job->bill.charges[0].lane->breaker;
	uint64_t wait_ns = 0;

	pthread_mutex_lock(&http->mutex);
	bool allows =
		pass ? breaker_pass(breaker, &http->breaker_terms, now_ns, &job->probe, &wait_ns)
		     : breaker_look(breaker, &http->breaker_terms, now_ns, &wait_ns);
	pthread_mutex_unlock(&http->mutex);
	if (!allows)
		broken(job, wait_ns);
	return allows;
}

/* Every request pays into the budget of repetitions, once. */
static void earn(struct job *job)
{
	struct weir_http *http = job->http;

	pthread_mutex_lock(&http->mutex);
	budget_earn(&http->budget, http->settings.budget_percent, http->settings.budget_least);
	pthread_mutex_unlock(&http->mutex);
}

/* Its turn. */
static void launch(struct job *job)
{
	if (!breaker_allows(job, http_now_ns(), true))
		return;
	job->has_passed = true;
	waited(job);
	if (job->hops == 0 && job->result.tries++ == 0)
		earn(job);
	if (job->request.url)
		curl_easy_setopt(job->easy, CURLOPT_URL, url_of(job));
	free(job->target);
	job->target = NULL;
	job->is_read = job->swallow = job->is_delivered = job->is_hop = job->is_refusal = false;
	job->verdict = (struct verdict){.again = false};
	job->retry_ns = 0;
	job->phase = JOB_TRANSFER;
}

/* Draws, or goes on waiting for what it could not draw. */
static void draw(struct job *job, uint64_t now)
{
	struct bill_answer answer;

	switch (bill_step(&job->bill, job_left_ns(job, now), &answer)) {
	case BILL_DUE:
		job->result.fault = answer.fault;
		launch(job);
		break;
	case BILL_WAIT:
		job->phase = JOB_LINE;
		wait_until(job, now, answer.look_ns);
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

enum job_phase job_next(struct job *job)
{
	uint64_t now = http_now_ns();

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

/* ---- what came back ---- */

static int status_of(const struct job *job)
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
		.sent = is_sent(job),
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

	char *target = name_join(url_of(job), location->value);

	if (target &&
	    ((!curl_strnequal(target, "http://", 7) && !curl_strnequal(target, "https://", 8)) ||
	     (!(request->flags & WEIR_HTTP_CROSS_ORIGIN) &&
	      !name_same_origin(url_of(job), target)))) {
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
	long hops = 0;

	curl_easy_getinfo(job->easy, CURLINFO_REDIRECT_COUNT, &hops);
	if (hops)
		curl_easy_getinfo(job->easy, CURLINFO_EFFECTIVE_URL, &url);
	if (!url || job->request.endpoint ||
	    lane_of_url(job->http, job->method, url, job->request.class_name, &lane) < 0)
		return NULL;
	return lane;
}

/* Reads the fields of an answer, as soon as they are there; once. */
static void read_answer(struct job *job)
{
	struct lane *lane = last_lane(job);
	int status = status_of(job);
	struct answer answer;

	job->is_read = true;
	answer_observe(job->easy, lane ? lane : job->bill.charges[0].lane, status, &answer);
	if (lane)
		lane_leave(job->http, lane);
	job->retry_ns = answer.retry_ns;
	job->is_refusal = verdict_is_refusal(status, answer.retry_ns);
	job->target = hop_target(job, status);
	job->is_hop = job->target != NULL;
	/* what went well is the last word: nothing is to be asked of libcurl */
	if (!job->is_hop && status >= 300)
		decide(job, CURLE_OK, status, &answer);
	job->swallow = job->is_hop || job->verdict.again;
}

static size_t take_body(char *bytes, size_t one, size_t count, void *context)
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
	char *url = job->request.url ? strdup(url_of(job)) : NULL;
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
					  &lane);
		if (lane && lane != own)
			lane_charge(lane, job->request.cost);
		else
			at_home++;
		if (lane)
			lane_leave(job->http, lane);
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
	long hops = 0;

	curl_easy_getinfo(job->easy, CURLINFO_REDIRECT_COUNT, &hops);
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
	if (!is_sent(job) && status == 0) {
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

static void repeat(struct job *job)
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
		if (find_own_lane(job, &lane) == 0) {
			lane_leave(http, job->bill.charges[0].lane);
			job->bill.charges[0].lane = lane;
		}
	}
	job->phase = JOB_REST;
	wait_until(job, http_now_ns(), wait);
}

/* The further charges go along; the hop has a cost of its own, at its own endpoint. */
static void follow(struct job *job)
{
	struct lane *lane;
	int status;

	settle_own(job, false, status_of(job));
	free(job->hop);
	job->hop = job->target;
	job->target = NULL;
	job->hops++;
	job->result.hops++;
	status = find_own_lane(job, &lane);
	if (status < 0) {
		job_fault(job, status);
		return;
	}
	lane_leave(job->http, job->bill.charges[0].lane);
	job->bill.charges[0].lane = lane;
	job->phase = JOB_BEGIN;
	job->next_ns = 0;
}

static void finish(struct job *job, CURLcode code, int status)
{
	settle(job, true, code == CURLE_OK ? status : 0);
	done(job, code == CURLE_OK ? WEIR_HTTP_ANSWERED : WEIR_HTTP_FAILED);
}

void job_transferred(struct job *job, CURLcode code)
{
	const struct answer nothing = {.retry_ns = 0};
	int status = status_of(job);

	job->result.curl = (int32_t)code;
	job->result.status = status;
	if (status && code == CURLE_OK && !job->is_read)
		read_answer(job);
	job->result.retry_ns = job->retry_ns;
	job->result.refusals += job->is_refusal;
	tell_breaker(job, verdict_news(code, status, job->retry_ns));
	if (code != CURLE_OK && !job->verdict.again) {
		job->is_hop = false;
		decide(job, code, status, &nothing);
	}
	if (job->is_hop && (!is_delivered(job) || job->request.restart) && restarts(job)) {
		follow(job);
	} else if (!job->is_hop && job->verdict.again && restarts(job)) {
		settle(job, false, status);
		repeat(job);
	} else {
		finish(job, code, status);
	}
}
