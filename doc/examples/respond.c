/* SPDX-License-Identifier: Apache-2.0
 *
 * respond [--private] - what a server does with the answer to "may this request be served?": it
 * says in the fields of its response what is left, until when, and when to come back.
 *
 * With --private the limit is three requests in a minute that begins with the first one, on a
 * manual clock that the example moves.
 */
#include "attach.h"

static const char rules[] = "[endpoint client/*]\n"
			    "rate = 3/min\n"
			    "window = 1min first\n";

static void print_field(struct weir_endpoint *client, const struct weir_answer *answer,
			const char *name, enum weir_field field)
{
	char value[512];
	int bytes = weir_field(client, answer, field, NULL, value, sizeof(value));

	/* nothing to say, or more than one wants to send */
	if (bytes > 0 && (size_t)bytes < sizeof(value))
		printf("%s: %s\n", name, value);
}

static void respond(struct weir_endpoint *client)
{
	struct weir_answer answer;
	enum weir_verdict verdict = weir_acquire(client, 1, &answer);

	printf("HTTP/1.1 %s\n", verdict ? "200 OK" : "429 Too Many Requests");
	print_field(client, &answer, "RateLimit-Policy", WEIR_FIELD_POLICY);
	print_field(client, &answer, "RateLimit", WEIR_FIELD_LIMIT);
	print_field(client, &answer, "Retry-After", WEIR_FIELD_RETRY_AFTER);
	puts("");
}

int main(int argc, char **argv)
{
	struct weir *weir = attach(take_private(&argc, argv), rules, WEIR_CLOCK_MANUAL);
	struct weir_endpoint *client;

	if (!weir || weir_endpoint(weir, "client/192.0.2.7", &client) < 0)
		return 2;
	for (int i = 0; i < 6; i++) {
		respond(client);
		/* as time passes; no clock but a manual one can be moved */
		weir_clock_advance(weir, (i < 3 ? 10 : 25) * WEIR_SECOND);
	}
	weir_endpoint_close(client);
	weir_close(weir);
	return 0;
}
