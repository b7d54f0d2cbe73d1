/* SPDX-License-Identifier: Apache-2.0
 *
 * observe [--private] - a client that tells weir what the API answers: one process sees that little
 * is left, and then a Retry-After, and all processes of the host go by it.
 *
 * With --private the API is one that answers three times and then refuses, on a manual clock that
 * the example moves.
 */
#include "attach.h"

static const char rules[] = "[endpoint api.example.com]\n"
			    "rate = 10/s\n"
			    "burst = 10\n";

/* What the API says of the n-th request. */
static int response(int n, struct weir_header headers[2])
{
	static const char *const left[] = {"2", "1", "0"};

	if (n >= 3) {
		headers[0] = (struct weir_header){"Retry-After", "30", WEIR_TEXT, WEIR_TEXT};
		return 429;
	}
	headers[0] = (struct weir_header){"X-RateLimit-Limit", "3", WEIR_TEXT, WEIR_TEXT};
	headers[1] = (struct weir_header){"X-RateLimit-Remaining", left[n], WEIR_TEXT, WEIR_TEXT};
	return 200;
}

static int call(struct weir_endpoint *api, int n)
{
	struct weir_observed seen = {.size = sizeof(seen)};
	struct weir_header headers[2];
	struct weir_answer answer;
	int status, error;

	if (!weir_acquire(api, 1, &answer)) {
		printf("not asked: %s for %.1f s\n",
		       answer.reason == WEIR_REASON_CLOSED ? "closed" : "nothing is left",
		       (double)answer.wait_ns / 1e9);
		return 0;
	}
	status = response(n, headers);
	error = weir_observe(api, status, headers, status == 200 ? 2 : 1, 50 * WEIR_MILLISECOND,
			     &seen);
	if (error < 0) {
		fprintf(stderr, "%s\n", weir_strerror(error));
		return error;
	}
	if (seen.closed_ns)
		printf("%d: closed for %.0f s\n", status, (double)seen.closed_ns / 1e9);
	else
		printf("%d: %.0f left\n", status, seen.remaining);
	return 0;
}

int main(int argc, char **argv)
{
	struct weir *weir = attach(take_private(&argc, argv), rules, WEIR_CLOCK_MANUAL);
	struct weir_endpoint *api;
	int error = 0;

	if (!weir || weir_endpoint(weir, "api.example.com", &api) < 0)
		return 2;
	for (int n = 0; error == 0 && n < 6; n++) {
		error = call(api, n < 4 ? n : 3);
		/* as time passes; no clock but a manual one can be moved */
		weir_clock_advance(weir, (n < 3 ? 0 : n == 3 ? WEIR_SECOND : 31 * WEIR_SECOND));
		if (n == 2)
			weir_clock_advance(weir, WEIR_SECOND / 10);
	}
	weir_endpoint_close(api);
	weir_close(weir);
	return error ? 1 : 0;
}
