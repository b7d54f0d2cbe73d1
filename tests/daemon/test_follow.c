/* SPDX-License-Identifier: Apache-2.0
 *
 * Responses through the whole path: a worker observes, all are closed, weird decides, the speed
 * changes; on a clock that stands still but for what the test adds. UT-12 to UT-16 by number.
 */
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "adapt.h"
#include "audit.h"
#include "daemon_fixture.h"
#include "names.h"
#include "place.h"
#include "segment.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define HEADER(name, value)                                                                        \
	(struct weir_header)                                                                       \
	{                                                                                          \
		name, value, WEIR_TEXT, WEIR_TEXT                                                  \
	}

#define CLOCK "clock = manual\nnames = 16\nmembers = 16\nendpoints = 16\n"
#define ADAPTIVE "adaptive = headers\n"

struct world {
	struct fixture fixture;
	struct weir *weir;
	struct weir_endpoint *api;
};

static void begin(struct world *world, const char *rules)
{
	char config[1024];

	fixture_begin(&world->fixture);
	snprintf(config, sizeof(config), "%s%s", CLOCK, rules);
	fixture_config(&world->fixture, config);
	fixture_start(&world->fixture);
	world->weir = fixture_open(&world->fixture);
	world->api = fixture_endpoint(world->weir, "api");
	/* to 1000 s */
	assert_int_equal(
		weir_clock_advance(world->weir, 1000 * WEIR_SECOND - weir_clock_now(world->weir)),
		0);
}

static void end(struct world *world)
{
	weir_endpoint_close(world->api);
	weir_close(world->weir);
	fixture_end(&world->fixture);
}

static struct place place_of(const struct world *world)
{
	struct place place;
	const struct place_hints hints = {.name = "test", .shm_dir = world->fixture.dir};

	assert_int_equal(place_resolve(&place, &hints, PLACE_TO_ATTACH), 0);
	return place;
}

static void look(const struct world *world, struct segment *out)
{
	struct place place = place_of(world);

	assert_int_equal(segment_attach(out, &place, SEGMENT_LOOK, (uid_t)-1), 0);
}

static struct terms terms_of(const struct world *world, const char *name)
{
	struct segment segment;
	struct terms_author author;
	uint64_t changed_ns;
	struct terms terms;

	look(world, &segment);

	int row = names_find_row(&segment, name);

	assert_true(row >= 0);
	segment_terms(&segment, (uint32_t)row, &terms, &author, &changed_ns);
	segment_detach(&segment);
	return terms;
}

static uint64_t dropped(const struct world *world)
{
	struct segment segment;
	uint64_t count;

	look(world, &segment);
	count = atomic_load(&segment.state->observations_dropped);
	segment_detach(&segment);
	return count;
}

static uint64_t refused(const struct world *world)
{
	struct segment segment;
	uint64_t count;

	look(world, &segment);
	count = atomic_load(&segment.state->observations_refused);
	segment_detach(&segment);
	return count;
}

static struct weir_observed observe(struct weir_endpoint *endpoint, int status,
				    const struct weir_header *headers, size_t count)
{
	struct weir_observed seen = {.size = sizeof(seen)};

	assert_int_equal(weir_observe(endpoint, status, headers, count, 0, &seen), 0);
	return seen;
}

/* What is left of a hundred until 1030 s of the manual clock. */
static struct weir_observed observe_left(struct weir_endpoint *endpoint, const char *left,
					 const char *reset)
{
	const struct weir_header headers[] = {
		HEADER("X-RateLimit-Limit", "100"),
		HEADER("X-RateLimit-Remaining", left),
		HEADER("X-RateLimit-Reset", reset),
	};

	return observe(endpoint, 200, headers, COUNT(headers));
}

/* Waits until the speed is that, but for a thousandth; bounded. */
static void assert_rate(struct weir_endpoint *endpoint, double per_s)
{
	double rate = 0;

	for (unsigned ms = 0; ms < FIXTURE_PATIENCE_MS; ms += 2) {
		rate = fixture_rate(endpoint);
		if (fabs(rate - per_s) <= per_s / 1000)
			return;
		fixture_sleep_ms(2);
	}
	fail_msg("the speed is %g/s and should be %g/s", rate, per_s);
}

/* Nothing more is under way in weird: a question is answered behind all datagrams so far. */
static void settle(struct world *world)
{
	struct answer answer;

	for (int i = 0; i < 3; i++)
		assert_int_equal(fixture_ask(&world->fixture,
					     &(struct wire_message){.kind = WIRE_PING}, &answer),
				 0);
	fixture_sleep_ms(30);
}

static double closed_s(struct weir_endpoint *endpoint)
{
	struct weir_level level = {.size = sizeof(level)};

	assert_int_equal(weir_peek(endpoint, &level), 0);
	return (double)level.closed_ns / 1e9;
}

static void audit_print(void *context, const struct audit_finding *finding)
{
	(void)context;
	print_error("%s %u: %s\n", finding->where, finding->index, finding->what);
}

static void assert_sound(const struct world *world)
{
	struct segment segment;

	look(world, &segment);
	assert_int_equal(audit_segment(&segment, audit_print, NULL), 0);
	segment_detach(&segment);
}

/* ---- UT-12 to UT-16 ---- */

static void test_ut_12_settings_are_kept(void **state)
{
	struct world world;
	struct terms terms;

	(void)state;
	begin(&world, "[endpoint api]\nrate = 10/s\nmin_rate = 2/s\nsafety = 0.8\n" ADAPTIVE);
	terms = terms_of(&world, "api");
	assert_int_equal(terms.rate_micro, 10 * TERMS_MICRO);
	assert_int_equal(terms.adapt.mode, ADAPT_HEADERS);
	assert_int_equal(terms.adapt.min_rate_micro, 2 * TERMS_MICRO);
	assert_int_equal(terms.adapt.min_period_ns, WEIR_SECOND);
	assert_int_equal(terms.adapt.safety_micro, 800000);
	assert_true(fixture_rate(world.api) == 10.0);
	end(&world);
}

static void test_ut_13_x_ratelimit(void **state)
{
	struct world world;
	struct weir_observed seen;

	(void)state;
	begin(&world, "[endpoint api]\nrate = 10/s\n" ADAPTIVE);
	seen = observe_left(world.api, "80", "1030");
	assert_int_equal(seen.action, WEIR_ACTION_USE);
	assert_true(seen.limit == 100 && seen.remaining == 80 && seen.reset_s == 30);
	assert_int_equal(seen.sent, 1);
	assert_int_equal(seen.dropped, 0);
	assert_rate(world.api, 80.0 / 30 * 0.9);
	assert_sound(&world);
	end(&world);
}

static void test_ut_14_ratelimit(void **state)
{
	const struct weir_header headers[] = {
		HEADER("RateLimit-Limit", "100"),
		HEADER("RateLimit-Remaining", "80"),
		HEADER("RateLimit-Reset", "1030"),
	};
	struct world world;

	(void)state;
	begin(&world, "[endpoint api]\nrate = 10/s\n" ADAPTIVE);
	observe(world.api, 200, headers, COUNT(headers));
	assert_rate(world.api, 80.0 / 30 * 0.9);
	end(&world);
}

static void test_ut_15_nothing_of_a_limit(void **state)
{
	const struct weir_header headers[] = {
		HEADER("Content-Type", "application/json"),
		HEADER("X-RateLimit-Remaining", "nan"),
	};
	struct world world;
	struct weir_observed seen;

	(void)state;
	begin(&world, "[endpoint api]\nrate = 10/s\n" ADAPTIVE);
	seen = observe(world.api, 200, headers, COUNT(headers));
	assert_int_equal(seen.action, WEIR_ACTION_IGNORE);
	assert_true(seen.remaining < 0);
	settle(&world);
	assert_true(fixture_rate(world.api) == 10.0);
	assert_true(fixture_level(world.api) == 10.0);
	end(&world);
}

static void test_ut_16_floor_and_retry(void **state)
{
	const struct weir_header retry[] = {HEADER("Retry-After", "30")};
	struct world world;
	struct weir_observed seen;

	(void)state;
	begin(&world, "[endpoint api]\nrate = 10/s\nmin_rate = 3/s\n" ADAPTIVE);
	observe_left(world.api, "10", "1030");
	assert_rate(world.api, 3.0);
	end(&world);

	begin(&world, "[endpoint api]\nrate = 10/s\nmin_rate = 0.1/s\n" ADAPTIVE);
	seen = observe(world.api, 429, retry, 1);
	assert_int_equal(seen.retry_ns, 30 * WEIR_SECOND);
	assert_int_equal(seen.closed_ns, 30 * WEIR_SECOND);
	assert_true(fabs(closed_s(world.api) - 30) < 0.001);
	assert_rate(world.api, 0.1);
	end(&world);
}

/* ---- what the daemon learned, and for how long ---- */

static void test_expires(void **state)
{
	struct world world;
	struct terms terms;

	(void)state;
	begin(&world, "[endpoint api]\nrate = 10/s\nburst = 20\n" ADAPTIVE);
	observe_left(world.api, "15", "1030");
	assert_rate(world.api, 0.45);
	terms = terms_of(&world, "api");
	assert_int_equal(terms.rate_micro, 10 * TERMS_MICRO);
	assert_int_equal(terms.burst_micro, 20 * TERMS_MICRO);
	assert_int_equal(terms.learned.limit_micro, 100 * TERMS_MICRO);
	assert_int_equal(terms.learned.remaining_micro, 15 * TERMS_MICRO);
	assert_in_range(terms.learned.until_ns, 1025 * WEIR_SECOND, 1040 * WEIR_SECOND);
	assert_int_equal(weir_clock_advance(world.weir, 60 * WEIR_SECOND), 0);
	assert_rate(world.api, 10);
	assert_sound(&world);
	end(&world);
}

/* What comes late says nothing new: a response that was there before another. */
static void test_frozen(void **state)
{
	struct wire_message off = {.kind = WIRE_ADAPT, .name = "api", .keep = WIRE_ADAPT_OFF};
	struct wire_message on = {.kind = WIRE_ADAPT, .name = "api", .keep = WIRE_ADAPT_ON};
	struct world world;
	struct answer answer;

	(void)state;
	begin(&world, "[endpoint api]\nrate = 10/s\n" ADAPTIVE "[endpoint plain]\nrate = 1/s\n");
	observe_left(world.api, "30", "1030");
	assert_rate(world.api, 0.9);
	assert_int_equal(fixture_ask(&world.fixture, &off, &answer), 0);
	assert_true(terms_of(&world, "api").learned.cause & LEARNED_FROZEN);
	observe_left(world.api, "90", "1030");
	settle(&world);
	assert_int_equal(weir_clock_advance(world.weir, 100 * WEIR_SECOND), 0);
	settle(&world);
	assert_true(fabs(fixture_rate(world.api) - 0.9) < 0.001);
	/* an operator's rate holds while it is frozen */
	assert_int_equal(fixture_set(&world.fixture, "api", "rate", "4/s", &answer), 0);
	assert_rate(world.api, 4);
	assert_int_equal(fixture_ask(&world.fixture, &on, &answer), 0);
	observe_left(world.api, "60", "1130");
	assert_rate(world.api, 1.8);
	off.name = "plain";
	assert_int_equal(fixture_ask(&world.fixture, &off, &answer), WEIR_EVALUE);
	assert_non_null(strstr(answer.message.text, "adaptive=headers"));
	off.name = "nobody/*";
	assert_int_equal(fixture_ask(&world.fixture, &off, &answer), WEIR_ENORULE);
	off.name = "api";
	off.keep = 3;
	assert_int_equal(fixture_ask(&world.fixture, &off, &answer), WEIR_EVALUE);
	end(&world);
}

static void test_reload_and_set(void **state)
{
	struct world world;
	struct answer answer;

	(void)state;
	begin(&world, "[endpoint api]\nrate = 10/s\n" ADAPTIVE);
	observe_left(world.api, "30", "1030");
	assert_rate(world.api, 0.9);
	fixture_config(&world.fixture, CLOCK "[endpoint api]\nrate = 20/s\nburst = 30\n" ADAPTIVE);
	fixture_reload(&world.fixture);
	assert_rate(world.api, 0.9);
	assert_int_equal(terms_of(&world, "api").rate_micro, 20 * TERMS_MICRO);
	assert_int_equal(fixture_set(&world.fixture, "api", "rate", "0.5/s", &answer), 0);
	assert_rate(world.api, 0.5);
	assert_int_equal(fixture_set(&world.fixture, "api", "adaptive", "off", &answer), 0);
	assert_rate(world.api, 0.5);
	assert_int_equal(terms_of(&world, "api").learned.period_ns, 0);
	assert_int_equal(fixture_set(&world.fixture, "*", "adaptive", "headers", &answer),
			 WEIR_EVALUE);
	assert_int_equal(fixture_set(&world.fixture, "api", "profile", "nosuch", &answer),
			 WEIR_EVALUE);
	assert_non_null(strstr(answer.message.text, "github"));
	assert_sound(&world);
	end(&world);
}

/* A burst that shrinks takes nothing away that is there, and gives nothing when it grows again. */
static void test_level_is_kept(void **state)
{
	struct world world;

	(void)state;
	begin(&world, "[endpoint api]\nrate = 10/s\nburst = 100\n" ADAPTIVE);
	assert_int_equal(weir_acquire(world.api, 60, NULL), WEIR_ADMIT);
	observe_left(world.api, "3", "1030");
	assert_rate(world.api, 0.1);
	assert_true(fabs(fixture_level(world.api) - 3) < 0.001);
	assert_int_equal(weir_clock_advance(world.weir, 60 * WEIR_SECOND), 0);
	assert_rate(world.api, 10);
	/* 3, and what 60 s at 0.1/s have added, which is not the burst */
	assert_true(fixture_level(world.api) < 20);
	end(&world);
}

/* ---- several processes, and none ---- */

static void test_all_are_closed_at_once(void **state)
{
	enum { OTHERS = 4 };
	const struct weir_header retry[] = {HEADER("retry-after", "30")};
	struct world world;
	int go[2], said[2];
	pid_t others[OTHERS];
	char byte = 0;

	(void)state;
	begin(&world, "[endpoint api]\nrate = 10/s\n");
	/* nobody needs the daemon for that */
	fixture_stop(&world.fixture, SIGKILL);
	assert_int_equal(pipe(go), 0);
	assert_int_equal(pipe(said), 0);
	for (int i = 0; i < OTHERS; i++) {
		pid_t child = fork();

		assert_true(child >= 0);
		others[i] = child;
		if (child)
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);

		struct weir_answer answer;
		bool open = weir_acquire(world.api, 1, NULL) == WEIR_ADMIT;

		byte = open ? 'a' : 'x';
		(void)!write(said[1], &byte, 1);
		(void)!read(go[0], &byte, 1);
		byte = weir_acquire(world.api, 1, &answer) == WEIR_REFUSE &&
				       answer.reason == WEIR_REASON_CLOSED
			       ? 'c'
			       : 'x';
		(void)!write(said[1], &byte, 1);
		_exit(0);
	}
	for (int i = 0; i < OTHERS; i++) {
		assert_int_equal(read(said[0], &byte, 1), 1);
		assert_int_equal(byte, 'a');
	}
	assert_int_equal(observe(world.api, 429, retry, 1).closed_ns, 30 * WEIR_SECOND);
	for (int i = 0; i < OTHERS; i++)
		assert_int_equal(write(go[1], &byte, 1), 1);
	for (int i = 0; i < OTHERS; i++) {
		assert_int_equal(read(said[0], &byte, 1), 1);
		assert_int_equal(byte, 'c');
	}
	for (int i = 0; i < OTHERS; i++)
		assert_int_equal(waitpid(others[i], NULL, 0), others[i]);
	close(go[0]);
	close(go[1]);
	close(said[0]);
	close(said[1]);
	end(&world);
}

static void test_daemon_down(void **state)
{
	const struct weir_header retry[] = {HEADER("Retry-After", "5")};
	struct world world;
	struct weir_observed seen;

	(void)state;
	begin(&world, "[endpoint api]\nrate = 10/s\n" ADAPTIVE);
	fixture_stop(&world.fixture, SIGKILL);
	seen = observe(world.api, 429, retry, 1);
	assert_int_equal(seen.sent, 0);
	assert_int_equal(seen.dropped, 1);
	assert_true(fabs(closed_s(world.api) - 5) < 0.001);
	observe(world.api, 200, NULL, 0);
	assert_int_equal(dropped(&world), 2);
	fixture_start(&world.fixture);
	assert_int_equal(observe_left(world.api, "80", "1030").sent, 1);
	assert_rate(world.api, 2.4);
	assert_int_equal(dropped(&world), 2);
	/* one that is stopped does not hold anybody up: its socket fills, and what is more is lost
	 */
	assert_int_equal(kill(world.fixture.daemon, SIGSTOP), 0);
	for (int i = 0; i < 2000; i++)
		observe(world.api, 200, NULL, 0);
	assert_int_equal(kill(world.fixture.daemon, SIGCONT), 0);
	assert_true(dropped(&world) > 2);
	settle(&world);
	end(&world);
}

/* A clean stop and a crash: the next daemon goes on with what was learned, and lets it expire. */
static void test_taken_over(void **state)
{
	struct world world;

	(void)state;
	begin(&world, "[endpoint api]\nrate = 10/s\n" ADAPTIVE);
	observe_left(world.api, "80", "1030");
	assert_rate(world.api, 2.4);
	assert_true(fixture_logged(&world.fixture, "the upstream's limit is 100, of it 80 left"));
	fixture_stop(&world.fixture, SIGKILL);
	assert_true(fabs(fixture_rate(world.api) - 2.4) < 0.01);
	fixture_start(&world.fixture);
	settle(&world);
	assert_true(fabs(fixture_rate(world.api) - 2.4) < 0.01);
	assert_int_equal(weir_clock_advance(world.weir, 60 * WEIR_SECOND), 0);
	assert_rate(world.api, 10);
	assert_true(fixture_logged(&world.fixture, "has expired"));
	end(&world);
}

/* ---- lies and forgeries ---- */

static void test_never_closed_for_longer(void **state)
{
	static const char *const waits[] = {
		"86400",
		"1000000",
		"99999999999999999999999999",
		"Fri, 31 Dec 9999 23:59:59 GMT",
		"inf",
		"nan",
		"-1",
	};
	struct world world;

	(void)state;
	begin(&world, "[endpoint api]\nrate = 10/s\nmax_close = 90s\n" ADAPTIVE
		      "[endpoint hour]\nrate = 10/s\n");
	struct weir_endpoint *hour = fixture_endpoint(world.weir, "hour");

	for (size_t i = 0; i < COUNT(waits); i++) {
		const struct weir_header retry[] = {HEADER("Retry-After", waits[i])};
		struct weir_observed seen = observe(world.api, 429, retry, 1);

		assert_true(seen.closed_ns > 0 && seen.closed_ns <= 90 * WEIR_SECOND);
		assert_true(closed_s(world.api) <= 90.001);
		assert_true(observe(hour, 503, retry, 1).closed_ns <= 3600 * WEIR_SECOND);
		assert_true(closed_s(hour) <= 3600.001);
		if (i == 0)
			assert_int_equal(seen.retry_ns, 86400 * WEIR_SECOND);
	}
	settle(&world);
	assert_true(closed_s(world.api) <= 90.001);
	assert_true(fixture_rate(world.api) >= 0.1);
	assert_int_equal(weir_clock_advance(world.weir, 91 * WEIR_SECOND), 0);
	settle(&world);
	assert_true(closed_s(world.api) == 0);
	weir_endpoint_close(hour);
	end(&world);
}

/* A datagram as somebody may send it, of the bytes given. */
static void send_to(const struct world *world, const void *bytes, size_t count, bool as_nobody)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct place place = place_of(world);
	char path[PLACE_PATH_BYTES];
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child) {
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(status, 0);
		return;
	}

	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	place_observe(&place, path);
	strcpy(address.sun_path, path);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		_exit(1);
	/* who sends counts, and not who connected */
	if (as_nobody && (setgid(65534) < 0 || setuid(65534) < 0))
		_exit(2);
	_exit(send(fd, bytes, count, 0) == (ssize_t)count ? 0 : 3);
}

static size_t forged(unsigned char bytes[WIRE_OBSERVATION_BYTES])
{
	const struct wire_observation observation = {
		.status = 200,
		.says = WIRE_SAYS_LIMIT | WIRE_SAYS_REMAINING | WIRE_SAYS_RESET,
		.response_ns = 1000 * WEIR_SECOND,
		.limit_micro = 100 * TERMS_MICRO,
		.remaining_micro = 80 * TERMS_MICRO,
		.reset_ns = 30 * WEIR_SECOND,
		.name = "api",
	};
	int64_t length = wire_write_observation(&observation, bytes, WIRE_OBSERVATION_BYTES);

	assert_true(length > 0);
	return (size_t)length;
}

static void wait_refused(const struct world *world, uint64_t count)
{
	for (unsigned ms = 0; refused(world) != count; ms += 5) {
		assert_true(ms < FIXTURE_PATIENCE_MS);
		fixture_sleep_ms(5);
	}
}

static void test_forged(void **state)
{
	unsigned char bytes[WIRE_OBSERVATION_BYTES];
	unsigned char noise[600] = {1, 2, 3};
	struct world world;
	size_t count;

	(void)state;
	begin(&world, "[endpoint api]\nrate = 10/s\n" ADAPTIVE);
	count = forged(bytes);
	if (geteuid() == 0) {
		send_to(&world, bytes, count, true);
		wait_refused(&world, 1);
		assert_true(fixture_logged(&world.fixture, "1 observations refused"));
		assert_true(fixture_rate(world.api) == 10.0);
	} else {
		print_message("not tried: a sender without rights (that takes root)\n");
	}

	uint64_t before = refused(&world);

	send_to(&world, noise, sizeof(noise), false);
	send_to(&world, bytes, count - 1, false);
	send_to(&world, bytes, 0, false);
	wait_refused(&world, before + 3);
	assert_true(fixture_rate(world.api) == 10.0);
	send_to(&world, bytes, count, false);
	assert_rate(world.api, 2.4);
	end(&world);
}

/* Times of the future do not keep later responses out; unknown names are nothing. */
static void test_absurd(void **state)
{
	unsigned char bytes[WIRE_OBSERVATION_BYTES];
	struct wire_observation lie = {
		.status = 200,
		.says = WIRE_SAYS_ALL,
		.response_ns = UINT64_MAX,
		.latency_ns = UINT64_MAX,
		.limit_micro = UINT64_MAX,
		.remaining_micro = UINT64_MAX,
		.reset_ns = UINT64_MAX,
		.window_ns = UINT64_MAX,
		.retry_ns = UINT64_MAX,
		.name = "api",
	};
	struct world world;

	(void)state;
	begin(&world, "[endpoint api]\nrate = 10/s\n" ADAPTIVE);
	for (int i = 0; i < 3; i++) {
		lie.outcome = (uint8_t)i;
		send_to(&world, bytes, (size_t)wire_write_observation(&lie, bytes, sizeof(bytes)),
			false);
	}
	strcpy(lie.name, "no such name");
	send_to(&world, bytes, (size_t)wire_write_observation(&lie, bytes, sizeof(bytes)), false);
	settle(&world);
	assert_true(closed_s(world.api) <= 3600.001);
	assert_true(fixture_rate(world.api) >= 0.1 && fixture_rate(world.api) <= 10);
	assert_int_equal(refused(&world), 0);
	assert_sound(&world);
	assert_int_equal(weir_clock_advance(world.weir, 4000 * WEIR_SECOND), 0);
	/* nothing is poisoned for good: the truth is believed again before long */
	for (int i = 0; fixture_rate(world.api) < 1 && i < 100; i++) {
		const struct weir_header headers[] = {
			HEADER("X-RateLimit-Limit", "100"),
			HEADER("X-RateLimit-Remaining", "80"),
			HEADER("RateLimit-Reset", "30"),
		};

		observe(world.api, 200, headers, COUNT(headers));
		settle(&world);
		assert_int_equal(weir_clock_advance(world.weir, 60 * WEIR_SECOND), 0);
	}
	assert_true(fixture_rate(world.api) >= 1);
	assert_sound(&world);
	end(&world);
}

/* ---- several budgets in one response ---- */

static void test_budgets(void **state)
{
	const struct weir_header headers[] = {
		HEADER("x-ratelimit-limit-requests", "600"),
		HEADER("x-ratelimit-remaining-requests", "300"),
		HEADER("x-ratelimit-reset-requests", "1m0s"),
		HEADER("x-ratelimit-limit-tokens", "60000"),
		HEADER("x-ratelimit-remaining-tokens", "1200"),
		HEADER("x-ratelimit-reset-tokens", "60s"),
	};
	struct world world;
	struct weir_observed seen;

	(void)state;
	begin(&world,
	      "[endpoint api]\nrate = 10/s\nprofile = openai\nbudget.tokens = api tokens\n" ADAPTIVE
	      "[endpoint api tokens]\nrate = 1000/s\n" ADAPTIVE);
	struct weir_endpoint *tokens = fixture_endpoint(world.weir, "api tokens");

	seen = observe(world.api, 200, headers, COUNT(headers));
	assert_int_equal(seen.budgets, 2);
	assert_int_equal(seen.sent, 2);
	assert_true(seen.limit == 600 && seen.remaining == 300);
	/* at once: the level of tokens, and not that of requests */
	assert_true(fixture_level(world.api) == 10);
	assert_rate(world.api, 4.5);
	assert_rate(tokens, 18);
	assert_true(fixture_level(tokens) <= 1200);
	weir_endpoint_close(tokens);
	end(&world);
}

/* ---- killed between an observation and what follows from it ---- */

static const char *const points[] = {
	"observation_read", "follow_observed", "follow_decided", "follow_learned",
	"learn_kept",	    "publish_filling", "publish_filled", "publish_stored",
};

static void test_killed_on_the_way(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(points); i++) {
		struct world world;
		double rate;

		begin(&world, "[endpoint api]\nrate = 10/s\nburst = 20\n" ADAPTIVE);
		fixture_stop(&world.fixture, SIGTERM);
		world.fixture.program = WEIRD_FAULTS_PROGRAM;
		world.fixture.fault = points[i];
		/* those of a publication are passed at the start, too */
		if (strncmp(points[i], "publish_", 8) == 0)
			world.fixture.fault = NULL;
		fixture_start(&world.fixture);
		if (!world.fixture.fault) {
			fixture_stop(&world.fixture, SIGKILL);
			end(&world);
			continue;
		}
		observe_left(world.api, "80", "1030");
		assert_int_equal(fixture_wait(&world.fixture), 256 + SIGKILL);
		world.fixture.fault = NULL;
		assert_sound(&world);
		rate = fixture_rate(world.api);
		assert_true(rate == 10 || fabs(rate - 2.4) < 0.01);
		assert_true(fixture_level(world.api) <= 20);
		fixture_start(&world.fixture);
		assert_sound(&world);
		observe_left(world.api, "60", "1030");
		assert_rate(world.api, 1.8);
		end(&world);
	}
}

static void test_killed_while_freezing(void **state)
{
	struct wire_message off = {.kind = WIRE_ADAPT, .name = "api", .keep = WIRE_ADAPT_OFF};
	unsigned char bytes[WIRE_MAX_BYTES];
	struct world world;

	(void)state;
	begin(&world, "[endpoint api]\nrate = 10/s\n" ADAPTIVE);
	fixture_stop(&world.fixture, SIGTERM);
	world.fixture.program = WEIRD_FAULTS_PROGRAM;
	world.fixture.fault = "daemon_adapt";
	fixture_start(&world.fixture);

	int fd = fixture_connect(&world.fixture);
	int64_t length = wire_write(&off, bytes, sizeof(bytes));

	assert_int_equal(send(fd, bytes, (size_t)length, MSG_NOSIGNAL), length);
	assert_int_equal(fixture_wait(&world.fixture), 256 + SIGKILL);
	close(fd);
	world.fixture.fault = NULL;
	fixture_start(&world.fixture);
	assert_true(!(terms_of(&world, "api").learned.cause & LEARNED_FROZEN));
	assert_sound(&world);
	end(&world);
}

/* ---- over a reboot ---- */

/* Stops the daemon, takes away what a reboot does, and starts it again. */
static void reboot(struct world *world)
{
	char path[PLACE_PATH_BYTES];

	weir_endpoint_close(world->api);
	weir_close(world->weir);
	assert_int_equal(fixture_stop(&world->fixture, SIGTERM), 0);
	for (int i = 0; i < 2; i++) {
		struct place place = place_of(world);

		place_path(&place, i ? "rules" : "state", path);
		assert_int_equal(unlink(path), 0);
	}
	fixture_start(&world->fixture);
	world->weir = fixture_open(&world->fixture);
	world->api = fixture_endpoint(world->weir, "api");
}

static void test_reboot(void **state)
{
	struct world world;
	struct answer answer;
	struct terms terms;

	(void)state;
	fixture_begin(&world.fixture);
	world.fixture.saves = true;
	fixture_config(&world.fixture, CLOCK "[endpoint api]\nrate = 10/s\n" ADAPTIVE);
	fixture_start(&world.fixture);
	world.weir = fixture_open(&world.fixture);
	world.api = fixture_endpoint(world.weir, "api");
	assert_int_equal(weir_clock_advance(world.weir, 999 * WEIR_SECOND), 0);
	observe_left(world.api, "80", "1030");
	assert_rate(world.api, 2.4);
	assert_int_equal(fixture_set(&world.fixture, "own", "adaptive", "aimd", &answer), 0);
	assert_int_equal(
		fixture_set(&world.fixture, "own", "field.reset", "X-Own epoch_ms", &answer), 0);
	assert_int_equal(fixture_set(&world.fixture, "own", "budget.tokens", "a b", &answer), 0);
	reboot(&world);
	assert_true(fabs(fixture_rate(world.api) - 2.4) < 0.01);
	terms = terms_of(&world, "api");
	assert_int_equal(terms.learned.remaining_micro, 80 * TERMS_MICRO);
	assert_int_equal(terms.rate_micro, 10 * TERMS_MICRO);
	terms = terms_of(&world, "own");
	assert_int_equal(terms.adapt.mode, ADAPT_AIMD);
	assert_string_equal(terms.adapt.text, "field.reset X-Own epoch_ms\nbudget.tokens a b\n");
	end(&world);
}

/* Frozen before anything was learned: nothing is, over a reboot and until somebody says so. */
static void test_reboot_frozen(void **state)
{
	struct wire_message message = {.kind = WIRE_ADAPT, .name = "api", .keep = WIRE_ADAPT_OFF};
	struct world world;
	struct answer answer;

	(void)state;
	fixture_begin(&world.fixture);
	world.fixture.saves = true;
	fixture_config(&world.fixture, CLOCK "[endpoint api]\nrate = 10/s\n" ADAPTIVE);
	fixture_start(&world.fixture);
	world.weir = fixture_open(&world.fixture);
	world.api = fixture_endpoint(world.weir, "api");
	assert_int_equal(weir_clock_advance(world.weir, 999 * WEIR_SECOND), 0);
	assert_int_equal(fixture_ask(&world.fixture, &message, &answer), 0);
	for (int i = 0; i < 2; i++) {
		reboot(&world);
		assert_true(terms_of(&world, "api").learned.cause & LEARNED_FROZEN);
		assert_int_equal(terms_of(&world, "api").learned.period_ns, 0);
		observe_left(world.api, "80", "1030");
		settle(&world);
		assert_rate(world.api, 10);
	}
	assert_sound(&world);
	message.keep = WIRE_ADAPT_ON;
	assert_int_equal(fixture_ask(&world.fixture, &message, &answer), 0);
	reboot(&world);
	assert_int_equal(terms_of(&world, "api").learned.cause, 0);
	end(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ut_12_settings_are_kept),
		cmocka_unit_test(test_ut_13_x_ratelimit),
		cmocka_unit_test(test_ut_14_ratelimit),
		cmocka_unit_test(test_ut_15_nothing_of_a_limit),
		cmocka_unit_test(test_ut_16_floor_and_retry),
		cmocka_unit_test(test_expires),
		cmocka_unit_test(test_frozen),
		cmocka_unit_test(test_reload_and_set),
		cmocka_unit_test(test_level_is_kept),
		cmocka_unit_test(test_all_are_closed_at_once),
		cmocka_unit_test(test_daemon_down),
		cmocka_unit_test(test_taken_over),
		cmocka_unit_test(test_never_closed_for_longer),
		cmocka_unit_test(test_forged),
		cmocka_unit_test(test_absurd),
		cmocka_unit_test(test_budgets),
		cmocka_unit_test(test_killed_on_the_way),
		cmocka_unit_test(test_killed_while_freezing),
		cmocka_unit_test(test_reboot),
		cmocka_unit_test(test_reboot_frozen),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("follow", tests, NULL, NULL);
}
