/* SPDX-License-Identifier: Apache-2.0
 *
 * llm_budget [--private] - a budget of tokens per minute whose cost is known only afterwards: an
 * estimate is reserved before the call and settled with what the call really used. Using less
 * gives the rest back; using more is a debt that later calls wait for.
 *
 * With --private the segment's clock is manual and stands still, so that the output is always
 * the same.
 */
#include "attach.h"

static const char rules[] = "[endpoint llm.example.com/tokens]\n"
			    "rate = 60K/min\n"
			    "burst = 8K\n";

/* What the model said about its use; below 0: the call failed. */
struct prompt {
	const char *text;
	double estimate;
	double used;
};

static const struct prompt prompts[] = {
	{"a short answer", 3000, 1200},
	{"a failed call", 2000, -1},
	{"a long answer", 2000, 9000},
	{"one too many", 1000, 1000},
};

static void ask(struct weir_endpoint *budget, const struct prompt *prompt)
{
	struct weir_reservation place;
	struct weir_level left = {.size = sizeof(left)};
	struct weir_answer answer;

	/* a place in line that comes up within two seconds, or none at all */
	if (!weir_reserve(budget, prompt->estimate, 2 * WEIR_SECOND, &place, &answer)) {
		printf("%s: not asked, the budget has room for it in %.1f s\n", prompt->text,
		       (double)answer.wait_ns / 1e9);
		return;
	}
	if (!weir_reservation_wait(budget, &place, WEIR_FOREVER, &answer)) {
		printf("%s: %s\n", prompt->text, weir_strerror(answer.fault));
		return;
	}
	/* here the model is asked, and says what it used */
	if (prompt->used < 0)
		weir_cancel(budget, &place, NULL);
	else
		weir_settle(budget, &place, prompt->used);
	weir_peek(budget, &left);
	printf("%s: reserved %.0f, used %.0f, left %.0f\n", prompt->text, prompt->estimate,
	       prompt->used < 0 ? 0 : prompt->used, left.level);
}

int main(int argc, char **argv)
{
	struct weir *weir = attach(take_private(&argc, argv), rules, WEIR_CLOCK_MANUAL);
	struct weir_endpoint *budget;

	if (!weir || weir_endpoint(weir, "llm.example.com/tokens", &budget) < 0)
		return 2;
	for (size_t i = 0; i < sizeof(prompts) / sizeof(prompts[0]); i++)
		ask(budget, &prompts[i]);
	weir_endpoint_close(budget);
	weir_close(weir);
	return 0;
}
