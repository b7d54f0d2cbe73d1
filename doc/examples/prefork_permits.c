/* SPDX-License-Identifier: Apache-2.0
 *
 * prefork_permits [--private] - four workers, forked with one handle, that make calls of an API
 * which takes two at a time from this host, and so many a second. One of them is killed in the
 * middle of a call: its permit comes back. Exit status 1 if there were ever more than two inside.
 */
#define _POSIX_C_SOURCE 200809L
#define _DEFAULT_SOURCE

#include "attach.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WORKERS 4
#define CALLS 10 /* of each worker */

static const char rules[] = "[endpoint two.example.com]\n"
			    "rate = 500/s\n"
			    "burst = 5\n"
			    "concurrency = 2\n";

/* What the workers count together. */
struct counts {
	atomic_uint calls;
	atomic_uint inside;
	atomic_uint most;
};

static void call_the_api(struct counts *counts)
{
	const struct timespec while_it_lasts = {0, 2000000};
	unsigned inside = atomic_fetch_add(&counts->inside, 1) + 1;
	unsigned most = atomic_load(&counts->most);

	while (inside > most && !atomic_compare_exchange_weak(&counts->most, &most, inside))
		;
	nanosleep(&while_it_lasts, NULL);
	atomic_fetch_sub(&counts->inside, 1);
	atomic_fetch_add(&counts->calls, 1);
}

/* A worker: a permit and a token, or neither; the permit goes back when the call has ended. */
static int work(struct weir_endpoint *api, struct counts *counts, int is_killed)
{
	for (int i = 0; i < CALLS; i++) {
		struct weir_permit permit;

		if (!weir_enter(api, 1, 60 * WEIR_SECOND, &permit, NULL))
			return 1;
		if (is_killed)
			raise(SIGKILL);
		call_the_api(counts);
		if (weir_permit_release(api, &permit) < 0)
			return 1;
	}
	return 0;
}

/* Whoever finds no permit free looks for holders that have died. */
static uint64_t permits_free(struct weir_endpoint *api)
{
	struct weir_permits permits = {.size = sizeof(permits)};
	struct weir_permit both[2] = {{{0}}, {{0}}};

	for (int i = 0; i < 2; i++)
		weir_permit_take(api, WEIR_SECOND, &both[i], NULL);
	for (int i = 0; i < 2; i++)
		weir_permit_release(api, &both[i]);
	return weir_permit_look(api, &permits) < 0 ? 0 : permits.free;
}

int main(int argc, char **argv)
{
	struct weir *weir = attach(take_private(&argc, argv), rules, WEIR_CLOCK_BEST);
	struct counts *counts = mmap(NULL, sizeof(*counts), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct weir_endpoint *api;

	if (!weir || counts == MAP_FAILED || weir_endpoint(weir, "two.example.com", &api) < 0) {
		weir_close(weir);
		return 2;
	}
	for (int i = 0; i < WORKERS; i++)
		if (fork() == 0)
			_exit(work(api, counts, i == 0));
	while (wait(NULL) > 0)
		;
	printf("%u calls, never more than %u at a time, %llu permits free\n",
	       atomic_load(&counts->calls), atomic_load(&counts->most),
	       (unsigned long long)permits_free(api));

	int is_well = atomic_load(&counts->most) <= 2;

	weir_endpoint_close(api);
	weir_close(weir);
	munmap(counts, sizeof(*counts));
	return is_well ? 0 : 1;
}
