/* SPDX-License-Identifier: Apache-2.0
 *
 * fields.c - what it costs to read the fields of a response, beside finding where their lines and
 * names end.
 */
#include "fields.h"

#include <stddef.h>
#include <string.h>

#include "bench.h"

/* Of api.github.com, without its longest fields, which nobody looks into. */
static const char github[] =
	"Server: github.com\n"
	"Date: Tue, 14 Nov 2023 22:13:20 GMT\n"
	"Content-Type: application/json; charset=utf-8\n"
	"Content-Length: 1304\n"
	"Cache-Control: private, max-age=60, s-maxage=60\n"
	"Vary: Accept, Authorization, Cookie, X-GitHub-OTP, Accept-Encoding, Accept\n"
	"ETag: W/\"644b5b0155e6404a9cc4bd9d8b1ae730\"\n"
	"Last-Modified: Thu, 05 Jul 2012 15:31:30 GMT\n"
	"X-OAuth-Scopes: repo, user\n"
	"X-Accepted-OAuth-Scopes: user\n"
	"GitHub-Authentication-Token-Expiration: 2024-01-01 00:00:00 UTC\n"
	"X-GitHub-Media-Type: github.v3; format=json\n"
	"x-github-api-version-selected: 2022-11-28\n"
	"X-RateLimit-Limit: 5000\n"
	"X-RateLimit-Remaining: 4882\n"
	"X-RateLimit-Reset: 1700000600\n"
	"X-RateLimit-Used: 118\n"
	"X-RateLimit-Resource: core\n"
	"Access-Control-Expose-Headers: ETag, Link, Location, Retry-After, X-RateLimit-Limit\n"
	"Access-Control-Allow-Origin: *\n"
	"Strict-Transport-Security: max-age=31536000; includeSubdomains; preload\n"
	"X-Frame-Options: deny\n"
	"X-Content-Type-Options: nosniff\n"
	"X-XSS-Protection: 0\n"
	"Referrer-Policy: origin-when-cross-origin, strict-origin-when-cross-origin\n"
	"Content-Security-Policy: default-src 'none'\n"
	"X-GitHub-Request-Id: C1A0:1B0F:1A2B3C:1D2E3F:6553F5B0\n";

static const char openai[] = "date: Tue, 14 Nov 2023 22:13:20 GMT\n"
			     "content-type: application/json\n"
			     "openai-model: gpt-4\n"
			     "openai-organization: user-1234\n"
			     "openai-processing-ms: 420\n"
			     "openai-version: 2020-10-01\n"
			     "strict-transport-security: max-age=15724800; includeSubDomains\n"
			     "x-ratelimit-limit-requests: 3500\n"
			     "x-ratelimit-limit-tokens: 90000\n"
			     "x-ratelimit-remaining-requests: 3499\n"
			     "x-ratelimit-remaining-tokens: 89984\n"
			     "x-ratelimit-reset-requests: 17ms\n"
			     "x-ratelimit-reset-tokens: 6m0s\n"
			     "x-request-id: 0123456789abcdef0123456789abcdef\n"
			     "cf-cache-status: DYNAMIC\n"
			     "server: cloudflare\n"
			     "cf-ray: 0123456789abcdef-AMS\n"
			     "alt-svc: h3=\":443\"; ma=86400\n";

enum { HEADERS = 32 };

static struct fields_header headers[HEADERS];

/* Finds the lines and their names, into `headers`: also what a floor is. Returns how many. */
static size_t find_lines(const char *text, size_t bytes)
{
	size_t count = 0;

	for (size_t at = 0; at < bytes && count < HEADERS; count++) {
		const char *start = text + at;
		const char *stop = memchr(start, '\n', bytes - at);
		const char *colon = memchr(start, ':', (size_t)(stop - start));

		headers[count] = (struct fields_header){start, (size_t)(colon - start), colon + 1,
							(size_t)(stop - colon - 1)};
		at = (size_t)(stop - text) + 1;
	}
	return count;
}

static uint64_t run_lines(uint64_t ops)
{
	uint64_t good = 0;

	for (uint64_t i = 0; i < ops; i++) {
		good += find_lines(github, sizeof(github) - 1) > 20;
		__asm__ volatile("" : : : "memory");
	}
	return good;
}

static uint64_t read_fields(uint64_t ops, const char *text, size_t bytes, size_t limits)
{
	/* found here, as all works use the same place for them */
	const struct fields_response response = {.status = 200,
						 .headers = headers,
						 .count = find_lines(text, bytes),
						 .captured_at = 1700000000};
	struct fields_verdict verdict;
	uint64_t good = 0;

	for (uint64_t i = 0; i < ops; i++)
		good += fields_read(&response, &verdict) == FIELDS_USE && verdict.count == limits;
	return good;
}

static uint64_t run_github(uint64_t ops)
{
	return read_fields(ops, github, sizeof(github) - 1, 1);
}

static uint64_t run_openai(uint64_t ops)
{
	return read_fields(ops, openai, sizeof(openai) - 1, 2);
}

const struct bench_work bench_field_lines = {
	.name = "floor/field-lines",
	.least = 16,
	.run = run_lines,
};

const struct bench_work bench_fields_github = {
	.name = "weir/fields-github",
	.least = 16,
	.run = run_github,
};

const struct bench_work bench_fields_openai = {
	.name = "weir/fields-openai",
	.least = 16,
	.run = run_openai,
};
