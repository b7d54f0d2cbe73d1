/* SPDX-License-Identifier: Apache-2.0
 *
 * wait [--private] - makes five calls under one limit and two under another, waiting for its turn
 * up to five seconds each. What cannot pass in time is refused at once and takes nothing.
 */
#include "attach.h"

static const char rules[] = "[endpoint api.example.com]\n"
			    "rate = 50/s\n"
			    "burst = 2\n"
			    "[endpoint slow.example.com]\n"
			    "rate = 1/h\n"
			    "burst = 1\n";

/* The work that the limit is for. */
static int call(void *context)
{
	printf("%s: called\n", (const char *)context);
	return 0;
}

static void call_in_turn(struct weir *weir, char *name, int times)
{
	struct weir_endpoint *endpoint;
	struct weir_answer answer;

	if (weir_endpoint(weir, name, &endpoint) < 0)
		return;
	for (int i = 0; i < times; i++) {
		if (weir_execute(endpoint, 1, 5 * WEIR_SECOND, call, name, NULL, &answer))
			continue;
		if (answer.fault)
			printf("%s: %s\n", name, weir_strerror(answer.fault));
		else
			printf("%s: not called, its turn would be in %.0f minutes\n", name,
			       (double)answer.wait_ns / 6e10);
	}
	weir_endpoint_close(endpoint);
}

int main(int argc, char **argv)
{
	struct weir *weir = attach(take_private(&argc, argv), rules, WEIR_CLOCK_BEST);
	char fast[] = "api.example.com";
	char slow[] = "slow.example.com";

	if (!weir)
		return 2;
	call_in_turn(weir, fast, 5);
	call_in_turn(weir, slow, 2);
	weir_close(weir);
	return 0;
}
