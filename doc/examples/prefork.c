/* SPDX-License-Identifier: Apache-2.0
 *
 * prefork [--private] - one handle, made before the fork, and four workers that share the limit
 * for a second. The parent adds up what they were granted and holds it against what the limit
 * allows: what was there at the beginning, and what was minted meanwhile. Exit status 1 if it was
 * more.
 */
#define _POSIX_C_SOURCE 200809L

#include "attach.h"

#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS 4

static const char rules[] = "[endpoint api.example.com]\n"
			    "rate = 50/s\n"
			    "burst = 5\n";

/* A worker: asks for its turn until the second is over, and says how often it got one. */
static int work(struct weir *weir, struct weir_endpoint *api, uint64_t until_ns, int report)
{
	uint64_t granted = 0;
	uint64_t now_ns;

	while ((now_ns = weir_clock_now(weir)) < until_ns &&
	       weir_wait(api, 1, until_ns - now_ns, NULL))
		granted++;
	return write(report, &granted, sizeof(granted)) == sizeof(granted) ? 0 : 1;
}

/* The sum of what the workers report, once they have all ended. */
static uint64_t gather(int reports)
{
	uint64_t granted;
	uint64_t sum = 0;

	while (wait(NULL) > 0)
		;
	while (read(reports, &granted, sizeof(granted)) == sizeof(granted))
		sum += granted;
	return sum;
}

int main(int argc, char **argv)
{
	struct weir *weir = attach(take_private(&argc, argv), rules, WEIR_CLOCK_BEST);
	struct weir_level level = {.size = sizeof(level)};
	struct weir_endpoint *api;
	int report[2];

	if (!weir || weir_endpoint(weir, "api.example.com", &api) < 0 || pipe(report) < 0)
		return 2;

	uint64_t began_ns = weir_clock_now(weir);

	if (weir_peek(api, &level) < 0)
		return 2;
	for (int i = 0; i < WORKERS; i++) {
		if (fork() == 0)
			_exit(work(weir, api, began_ns + WEIR_SECOND, report[1]));
	}
	close(report[1]);

	uint64_t granted = gather(report[0]);
	double seconds = (double)(weir_clock_now(weir) - began_ns) / 1e9;
	double allowed = level.level + level.rate_per_s * seconds;

	printf("%d workers were granted %llu calls in %.3f s, of %.1f allowed\n", WORKERS,
	       (unsigned long long)granted, seconds, allowed);
	weir_endpoint_close(api);
	weir_close(weir);
	return (double)granted <= allowed ? 0 : 1;
}
