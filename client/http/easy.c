/* SPDX-License-Identifier: Apache-2.0
 *
 * easy.c - one request, one thread, which sleeps where the request waits.
 */
#include "http.h"

#include <errno.h>
#include <time.h>

/* How often `stop` is asked. */
#define STOP_NS (100 * WEIR_MILLISECOND)

static void sleep_ns(uint64_t ns)
{
	struct timespec left = {(time_t)(ns / WEIR_SECOND), (long)(ns % WEIR_SECOND)};

	while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR)
		;
}

/*
 * Sleeps until the job is to be asked, or `stop` is. In line that is ten times a second anyway; and
 * in line for a permit, also when the process is called.
 */
static void sleep_for(const struct job *job, uint64_t now_ns, uint32_t *bell)
{
	uint64_t ns = job->next_ns > now_ns ? job->next_ns - now_ns : 0;

	if (job->request.stop && ns > STOP_NS)
		ns = STOP_NS;
	if (!job->bill.in_line || weir_permit_listen(job->http->weir, bell, ns) < 0)
		sleep_ns(ns);
}

CURLcode weir_http_perform(struct weir_http *http, CURL *easy,
			   const struct weir_http_request *request, struct weir_http_result *result)
{
	uint64_t now_ns = http_now_ns();
	struct job job;
	uint32_t bell = 0;

	request_fill(&job.request, request);
	job_begin(&job, http, easy, now_ns);
	while (job_next(&job, now_ns) != JOB_DONE) {
		if (job.phase == JOB_TRANSFER) {
			CURLcode of_try = curl_easy_perform(easy);

			now_ns = http_now_ns();
			job_transferred(&job, of_try, now_ns);
			continue;
		}
		sleep_for(&job, now_ns, &bell);
		now_ns = http_now_ns();
		if (job.request.stop && job.request.stop(job.request.context))
			job_cancel(&job);
	}

	CURLcode code = job_code(&job);

	job_end(&job);
	if (result) {
		size_t size = result->size;

		if (size == 0 || size > sizeof(job.result))
			size = sizeof(job.result);
		job.result.size = size;
		__builtin_memcpy(result, &job.result, size);
	}
	return code;
}
