/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#define BAR_WIDTH 24

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * WEIR_SECOND + (uint64_t)now.tv_nsec;
}

static double seconds(uint64_t ns)
{
	return (double)ns / 1e9;
}

void report_begin(struct report *report, bool quiet, bool to_terminal)
{
	*report = (struct report){
		.quiet = quiet,
		.bar = to_terminal && !quiet,
		.from_ns = now_ns(),
	};
}

/* ---- counting ---- */

static struct report_endpoint *endpoint_of(struct report *report, const char *name)
{
	struct report_endpoint *endpoint;

	for (unsigned i = 0; i < report->endpoint_count; i++)
		if (strcmp(report->endpoints[i].name, name) == 0)
			return &report->endpoints[i];
	if (report->endpoint_count == REPORT_ENDPOINTS) {
		endpoint = &report->endpoints[REPORT_ENDPOINTS - 1];
		snprintf(endpoint->name, sizeof(endpoint->name), "others");
		return endpoint;
	}
	endpoint = &report->endpoints[report->endpoint_count++];
	snprintf(endpoint->name, sizeof(endpoint->name), "%s", name);
	endpoint->limit_per_s = -1;
	return endpoint;
}

void report_result(struct report *report, const struct weir_http_result *result)
{
	uint64_t requests = (uint64_t)result->tries + result->hops;

	report->requests += requests;
	report->refusals += result->refusals;
	report->waits += result->waited_ns > 0;
	report->waited_ns += result->waited_ns;
	if (!result->endpoint[0])
		return;

	struct report_endpoint *endpoint = endpoint_of(report, result->endpoint);

	endpoint->requests += requests;
	endpoint->refusals += result->refusals;
	endpoint->waited_ns += result->waited_ns;
}

void report_limits(struct report *report, struct weir *weir)
{
	for (unsigned i = 0; i < report->endpoint_count; i++) {
		struct weir_level level = {.size = sizeof(level)};
		struct weir_endpoint *endpoint;

		/* the last one may be what all others are counted under */
		if (i == REPORT_ENDPOINTS - 1 ||
		    weir_endpoint(weir, report->endpoints[i].name, &endpoint) < 0)
			continue;
		if (weir_peek(endpoint, &level) == 0)
			report->endpoints[i].limit_per_s = level.rate_per_s;
		weir_endpoint_close(endpoint);
	}
}

/* ---- lines and the bar ---- */

void report_erase(const struct report *report)
{
	if (report->bar)
		fputs("\r\033[K", stderr);
}

void report_line(const struct report *report, const char *format, ...)
{
	va_list list;

	if (report->quiet)
		return;
	report_erase(report);
	va_start(list, format);
	vfprintf(stderr, format, list);
	va_end(list);
	fputc('\n', stderr);
	report_draw(report);
}

static const char *amount(uint64_t bytes, char out[32])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	double value = (double)bytes;
	size_t unit = 0;

	while (value >= 1024 && unit < 4) {
		value /= 1024;
		unit++;
	}
	snprintf(out, 32, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
	return out;
}

static unsigned columns(void)
{
	struct winsize size;

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

void report_draw(const struct report *report)
{
	uint64_t ended = report->fetched + report->kept + report->failed;
	char bar[BAR_WIDTH + 1];
	char bytes[32];
	char text[200];

	if (!report->bar)
		return;
	memset(bar, '.', BAR_WIDTH);
	bar[BAR_WIDTH] = '\0';
	if (report->files)
		memset(bar, '#', (size_t)(BAR_WIDTH * ended / report->files));
	snprintf(text, sizeof(text),
		 "[%s] %" PRIu64 "/%" PRIu64 " files  %s  %" PRIu64 " requests  %" PRIu64
		 " refused  %" PRIu64 " failed",
		 bar, ended, report->files, amount(report->bytes, bytes), report->requests,
		 report->refusals, report->failed);
	fprintf(stderr, "\r%.*s\033[K", (int)columns() - 1, text);
	fflush(stderr);
}

/* ---- the summary ---- */

/* "10.0/s of 10/s", as far as it is known. */
static void rate_text(double rate, double limit, char *out, size_t bytes)
{
	if (isinf(limit))
		snprintf(out, bytes, "%.1f/s, without a limit", rate);
	else if (limit > 0)
		snprintf(out, bytes, "%.1f/s of %.4g/s", rate, limit);
	else
		snprintf(out, bytes, "%.1f/s", rate);
}

static int summary_text(const struct report *report, double elapsed, FILE *to)
{
	char bytes[32];
	char rate[80];

	fprintf(to,
		"%" PRIu64 " files fetched, %" PRIu64 " kept, %" PRIu64 " failed%s\n"
		"%s in %.1f s by %" PRIu64 " requests; %" PRIu64
		" answered 429 or the like; %" PRIu64 " waited, %.1f s in all\n",
		report->fetched, report->kept, report->failed,
		report->interrupted ? "; interrupted" : "", amount(report->bytes, bytes), elapsed,
		report->requests, report->refusals, report->waits, seconds(report->waited_ns));
	for (unsigned i = 0; i < report->endpoint_count; i++) {
		const struct report_endpoint *endpoint = &report->endpoints[i];

		rate_text((double)endpoint->requests / elapsed, endpoint->limit_per_s, rate,
			  sizeof(rate));
		fprintf(to, "%s: %" PRIu64 " requests, %s\n", endpoint->name, endpoint->requests,
			rate);
	}
	return ferror(to) || fflush(to) ? -EIO : 0;
}

static json_t *number_or_null(double value)
{
	return value >= 0 && isfinite(value) ? json_real(value) : json_null();
}

static json_t *endpoints_json(const struct report *report, double elapsed)
{
	json_t *all = json_array();

	for (unsigned i = 0; i < report->endpoint_count; i++) {
		const struct report_endpoint *endpoint = &report->endpoints[i];

		json_array_append_new(
			all, json_pack("{s:s, s:I, s:I, s:f, s:f, s:o}", "name", endpoint->name,
				       "requests", (json_int_t)endpoint->requests, "refused",
				       (json_int_t)endpoint->refusals, "waited_s",
				       seconds(endpoint->waited_ns), "rate_per_s",
				       (double)endpoint->requests / elapsed, "limit_per_s",
				       number_or_null(endpoint->limit_per_s)));
	}
	return all;
}

static int summary_json(const struct report *report, double elapsed, FILE *to)
{
	json_t *all = json_pack(
		"{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:b, s:o}", "files",
		(json_int_t)report->files, "fetched", (json_int_t)report->fetched, "kept",
		(json_int_t)report->kept, "failed", (json_int_t)report->failed, "resumed",
		(json_int_t)report->resumed, "bytes", (json_int_t)report->bytes, "requests",
		(json_int_t)report->requests, "refused", (json_int_t)report->refusals, "waits",
		(json_int_t)report->waits, "waited_s", seconds(report->waited_ns), "elapsed_s",
		elapsed, "interrupted", report->interrupted, "endpoints",
		endpoints_json(report, elapsed));
	char *text = all ? json_dumps(all, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;

	json_decref(all);
	if (!text)
		return -ENOMEM;
	fprintf(to, "%s\n", text);
	free(text);
	return ferror(to) || fflush(to) ? -EIO : 0;
}

int report_summary(const struct report *report, bool json, FILE *to)
{
	double elapsed = seconds(now_ns() - report->from_ns);

	if (elapsed <= 0)
		elapsed = 1e-9;
	return json ? summary_json(report, elapsed, to) : summary_text(report, elapsed, to);
}
