/* SPDX-License-Identifier: Apache-2.0
 *
 * simulate - what would a limit do to this traffic? The same code that runs in production, on a
 * clock that the program moves by itself: ten seconds are over in a moment, and every run prints
 * the same. It always hosts its own segment; --private changes nothing.
 */
#include "attach.h"

#include <stdint.h>

#define STEP_NS (50 * WEIR_MILLISECOND)
#define STEPS_PER_S 20

static const char rules[] = "[endpoint api.example.com]\n"
			    "rate = 10/s\n"
			    "burst = 5\n";

/* Twenty calls a second, none of which waits. */
static void simulate_second(struct weir *weir, struct weir_endpoint *api, int second)
{
	int admitted = 0;

	for (int i = 0; i < STEPS_PER_S; i++) {
		if (weir_acquire(api, 1, NULL))
			admitted++;
		weir_clock_advance(weir, STEP_NS);
	}
	printf("second %2d: %2d of %d admitted\n", second, admitted, STEPS_PER_S);
}

/* Eight callers come at the same moment and all are willing to wait. */
static void simulate_crowd(struct weir_endpoint *api)
{
	struct weir_reservation place;
	struct weir_answer answer;

	for (int i = 1; i <= 8; i++) {
		weir_reserve(api, 1, WEIR_FOREVER, &place, &answer);
		printf("caller %d: waits %.3f s\n", i, (double)answer.wait_ns / 1e9);
	}
}

int main(int argc, char **argv)
{
	take_private(&argc, argv);

	struct weir *weir = attach(1, rules, WEIR_CLOCK_MANUAL);
	struct weir_endpoint *api;

	if (!weir || weir_endpoint(weir, "api.example.com", &api) < 0)
		return 2;
	for (int second = 1; second <= 10; second++) {
		if (second == 6) {
			printf("the rate is halved; what was used stays used\n");
			weir_update(weir, "api.example.com", "5/s", NULL, WEIR_KEEP_USED);
		}
		simulate_second(weir, api, second);
	}
	weir_clock_advance(weir, 10 * WEIR_SECOND);
	simulate_crowd(api);
	weir_endpoint_close(api);
	weir_close(weir);
	return 0;
}
