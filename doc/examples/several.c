/* SPDX-License-Identifier: Apache-2.0
 *
 * several [--private] - calls that count against two limits, the API's and the user's: neither pays
 * when the other refuses. A nightly job draws from the API's limit as a class that must leave some
 * of it to users, as many items at a time as there are tokens for.
 *
 * With --private the segment's clock is manual and stands still, so that the output is always
 * the same.
 */
#include "attach.h"

static const char rules[] = "[endpoint pages.example.com]\n"
			    "rate = 10/s\n"
			    "burst = 20\n"
			    "class nightly = leave 50 %\n"
			    "[endpoint user/*]\n"
			    "rate = 1/s\n"
			    "burst = 3\n";

static void call(struct weir_endpoint *api, struct weir_endpoint *user, double cost)
{
	const struct weir_want wants[] = {
		{.endpoint = api, .cost = cost},
		{.endpoint = user, .cost = 1},
	};
	static const char *const names[] = {"the API", "the user"};
	struct weir_answer answer;

	if (weir_acquire_all(wants, 2, &answer))
		printf("call of %2.0f: admitted\n", cost);
	else
		printf("call of %2.0f: refused by the limit of %s for %.1f s\n", cost,
		       names[answer.which], (double)answer.wait_ns / 1e9);
}

static void copy_items(struct weir_endpoint *nightly, uint64_t items)
{
	struct weir_answer answer;
	uint64_t taken = 0;

	while (items > 0 && weir_acquire_up_to(nightly, 1, 1, items, &taken, &answer)) {
		printf("nightly: %llu items\n", (unsigned long long)taken);
		items -= taken;
	}
	if (items > 0 && answer.reason == WEIR_REASON_HEADROOM)
		printf("nightly: %llu items later, the rest is for users\n",
		       (unsigned long long)items);
}

int main(int argc, char **argv)
{
	struct weir *weir = attach(take_private(&argc, argv), rules, WEIR_CLOCK_MANUAL);
	struct weir_endpoint *nightly;
	struct weir_endpoint *user;
	struct weir_endpoint *api;

	if (!weir || weir_endpoint(weir, "pages.example.com", &api) < 0 ||
	    weir_endpoint(weir, "user/anna", &user) < 0 ||
	    weir_endpoint_class(weir, "pages.example.com", "nightly", &nightly) < 0)
		return 2;
	call(api, user, 4);
	copy_items(nightly, 10);
	call(api, user, 8);
	call(api, user, 8); /* too much for the API; the user does not pay */
	call(api, user, 1);
	call(api, user, 1);
	weir_endpoint_close(nightly);
	weir_endpoint_close(user);
	weir_endpoint_close(api);
	weir_close(weir);
	return 0;
}
