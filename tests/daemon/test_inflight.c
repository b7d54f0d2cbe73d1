/* SPDX-License-Identifier: Apache-2.0
 *
 * A concurrency that is found, by weird as a process: calls of a worker on a clock that stands
 * still but for what the test adds, and what becomes of the limit; over a reload, an operator's
 * word, a kill, and a new boot.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "audit.h"
#include "daemon_fixture.h"
#include "names.h"
#include "permit_found.h"
#include "place.h"
#include "segment.h"

#define RULE(concurrency) "[endpoint api]\nrate = unlimited\nconcurrency = " concurrency "\n"
#define CONFIG(concurrency)                                                                        \
	"clock = manual\nnames = 16\nmembers = 16\nendpoints = 16\npermits = 256\nlog = debug\n"   \
	"" RULE(concurrency)

enum {
	SERVERS = 12, /* that the upstream has, where it has only so many */
	CALL_MS = 20,
	ROUNDS = 2000, /* of calls, at most, until something must have come of them */
	LOOK_MS = 2,   /* between two rounds; weird looks 20 times a second */
};

struct world {
	struct fixture fixture;
	struct weir *weir;
	struct weir_endpoint *api;
};

static void begin(struct world *world, const char *config)
{
	fixture_begin(&world->fixture);
	fixture_config(&world->fixture, config);
	fixture_start(&world->fixture);
	world->weir = fixture_open(&world->fixture);
	world->api = fixture_endpoint(world->weir, "api");
}

static void leave(struct world *world)
{
	weir_endpoint_close(world->api);
	weir_close(world->weir);
}

static void end(struct world *world)
{
	leave(world);
	fixture_end(&world->fixture);
}

static uint64_t limit_of(const struct world *world)
{
	struct weir_permits permits = {.size = sizeof(permits)};

	assert_int_equal(weir_permit_look(world->api, &permits), 0);
	return permits.limit;
}

static void look(const struct world *world, struct segment *out)
{
	const struct place_hints hints = {.name = "test", .shm_dir = world->fixture.dir};
	struct place place;

	assert_int_equal(place_resolve(&place, &hints, PLACE_TO_ATTACH), 0);
	assert_int_equal(segment_attach(out, &place, SEGMENT_LOOK, (uid_t)-1), 0);
}

static struct permit_found found_of(const struct world *world)
{
	struct permit_found found;
	struct segment segment;

	look(world, &segment);
	assert_true(permit_found_read(&segment.rows[names_exact_row(&segment, "api")], &found));
	assert_int_equal(audit_segment(&segment, NULL, NULL), 0);
	segment_detach(&segment);
	return found;
}

/*
 * As many calls at once as there are permits, twice over; each takes CALL_MS for every `servers`
 * calls (0: it has room for all), or fails.
 */
static void call(struct world *world, uint64_t servers, bool fails)
{
	static struct weir_permit permits[256];
	uint64_t count = 0;
	uint64_t turns;

	while (count < 256 && weir_permit_take(world->api, 0, &permits[count], NULL))
		count++;
	turns = servers ? (count + servers - 1) / servers : 1;
	assert_int_equal(weir_clock_advance(world->weir, turns * CALL_MS * WEIR_MILLISECOND), 0);
	for (uint64_t i = 0; i < count; i++)
		assert_int_equal(
			(fails ? weir_permit_fail : weir_permit_release)(world->api, &permits[i]),
			0);
	fixture_sleep_ms(LOOK_MS);
}

/* Calls until the limit is from `least` to `most`. */
static void call_until(struct world *world, uint64_t servers, bool fails, uint64_t least,
		       uint64_t most)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t limit = limit_of(world);

		if (limit >= least && limit <= most)
			return;
		call(world, servers, fails);
	}
	fail_msg("the limit is %llu", (unsigned long long)limit_of(world));
}

/* ---- it is found ---- */

static void test_it_is_found(void **state)
{
	struct permit_found found;
	struct world world;

	(void)state;
	begin(&world, CONFIG("auto 2..60"));
	assert_int_equal(limit_of(&world), 20);
	/* there is room: up, to the most it may be, and no further */
	call_until(&world, 0, false, 60, 60);
	assert_true(fixture_logged(&world.fixture, "concurrency of api from "));
	found = found_of(&world);
	assert_int_equal(found.min, 2);
	assert_int_equal(found.max, 60);
	assert_true(found.base_ns >= CALL_MS * WEIR_MILLISECOND);
	/* they queue: down, to about as many as are served at once */
	call_until(&world, SERVERS, false, 1, 2 * SERVERS);
	assert_true(fixture_logged(&world.fixture, " x its base (calls queue upstream)"));
	/* all fail: to the least it may be, and no further */
	call_until(&world, 0, true, 2, 2);
	assert_true(fixture_logged(&world.fixture, "too many calls fail"));
	for (int i = 0; i < 100; i++)
		call(&world, 0, true);
	assert_int_equal(limit_of(&world), 2);
	end(&world);
}

/* Calls that leave it half empty say nothing of what it could be. */
static void test_it_does_not_rise_unused(void **state)
{
	struct weir_permit permit;
	struct world world;

	(void)state;
	begin(&world, CONFIG("auto 2..60"));
	for (unsigned i = 0; i < 300; i++) {
		assert_int_equal(weir_permit_take(world.api, 0, &permit, NULL), WEIR_ADMIT);
		assert_int_equal(weir_clock_advance(world.weir, WEIR_MILLISECOND), 0);
		assert_int_equal(weir_permit_release(world.api, &permit), 0);
		if (i % 10 == 0)
			fixture_sleep_ms(60);
		assert_true(limit_of(&world) <= 20);
	}
	end(&world);
}

/* ---- by others ---- */

static void test_operators(void **state)
{
	struct wire_message freeze = {.kind = WIRE_ADAPT, .keep = WIRE_ADAPT_OFF, .name = "api"};
	struct answer answer;
	struct world world;
	uint64_t limit;

	(void)state;
	begin(&world, CONFIG("auto 2..60"));
	call_until(&world, 0, false, 30, 60);
	/* frozen, it stays, whatever calls take */
	assert_int_equal(fixture_ask(&world.fixture, &freeze, &answer), 0);
	assert_non_null(strstr(answer.message.text, "calls in flight, whatever is observed"));
	limit = limit_of(&world);
	for (int i = 0; i < 100; i++)
		call(&world, 2, false);
	assert_int_equal(limit_of(&world), limit);
	freeze.keep = WIRE_ADAPT_ON;
	assert_int_equal(fixture_ask(&world.fixture, &freeze, &answer), 0);
	assert_non_null(strstr(answer.message.text, "calls in flight are found again, from"));
	call_until(&world, 2, false, 2, 10);
	/* a reload that says the same leaves it */
	limit = limit_of(&world);
	fixture_reload(&world.fixture);
	assert_int_equal(limit_of(&world), limit);
	/* other bounds, by a file and by an operator; and another word */
	fixture_config(&world.fixture, CONFIG("auto 40..50"));
	fixture_reload(&world.fixture);
	assert_int_equal(limit_of(&world), 40);
	assert_int_equal(fixture_set(&world.fixture, "api", "concurrency", "auto 45..90", &answer),
			 0);
	assert_int_equal(limit_of(&world), 45);
	call_until(&world, 0, false, 60, 90);
	assert_int_equal(fixture_set(&world.fixture, "api", "concurrency", "7", &answer), 0);
	assert_int_equal(limit_of(&world), 7);
	for (int i = 0; i < 50; i++)
		call(&world, 0, false);
	assert_int_equal(limit_of(&world), 7);
	assert_int_equal(fixture_ask(&world.fixture, &freeze, &answer), WEIR_EVALUE);
	assert_non_null(strstr(answer.message.text, "concurrency=auto"));
	assert_int_equal(fixture_set(&world.fixture, "api", "concurrency", "auto", &answer), 0);
	assert_int_equal(limit_of(&world), 7);
	call_until(&world, 0, false, 20, 200);
	end(&world);
}

/* ---- by deaths ---- */

static void test_without_weird(void **state)
{
	struct permit_found before, after;
	struct world world;

	(void)state;
	begin(&world, CONFIG("auto 2..60"));
	call_until(&world, 0, false, 30, 60);
	assert_int_equal(fixture_stop(&world.fixture, SIGKILL), 256 + SIGKILL);
	before = found_of(&world);
	for (int i = 0; i < 100; i++)
		call(&world, 2, false);
	assert_int_equal(limit_of(&world), before.limit);
	/* the next one goes on from there, and not from what was counted meanwhile */
	fixture_start(&world.fixture);
	after = found_of(&world);
	assert_memory_equal(&after, &before, sizeof(after));
	call_until(&world, 2, false, 2, 10);
	end(&world);
}

static void remove_objects(const struct world *world)
{
	static const char *const objects[] = {"rules", "state"};
	char path[128];

	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/weir.test.%s", world->fixture.dir, objects[i]);
		assert_int_equal(unlink(path), 0);
	}
}

static void test_over_a_boot(void **state)
{
	char config[1024];
	struct world world;
	uint64_t limit;

	(void)state;
	fixture_begin(&world.fixture);
	snprintf(config, sizeof(config), "state_file = %s/levels\n" CONFIG("auto 2..60"),
		 world.fixture.dir);
	fixture_config(&world.fixture, config);
	fixture_start(&world.fixture);
	world.weir = fixture_open(&world.fixture);
	world.api = fixture_endpoint(world.weir, "api");
	call_until(&world, 0, false, 30, 60);
	leave(&world);
	assert_int_equal(fixture_stop(&world.fixture, SIGTERM), 0);
	limit = found_of(&world).limit;
	assert_true(limit >= 30);
	remove_objects(&world);
	fixture_start(&world.fixture);
	world.weir = fixture_open(&world.fixture);
	world.api = fixture_endpoint(world.weir, "api");
	assert_int_equal(limit_of(&world), limit);
	end(&world);
}

/* A larger pair of objects takes it along. */
static void test_a_larger_pair(void **state)
{
	char config[1024];
	struct world world;
	uint64_t limit;

	(void)state;
	begin(&world, CONFIG("auto 2..60"));
	call_until(&world, 0, false, 30, 60);
	/* weird has taken all of it in, and decides no more */
	fixture_sleep_ms(200);
	limit = limit_of(&world);
	snprintf(config, sizeof(config), "waiters = 2048\n" CONFIG("auto 2..60"));
	fixture_config(&world.fixture, config);
	fixture_reload(&world.fixture);
	assert_true(fixture_logged(&world.fixture, "a new pair of objects"));
	assert_int_equal(limit_of(&world), limit);
	call_until(&world, 2, false, 2, 10);
	end(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_it_is_found), cmocka_unit_test(test_it_does_not_rise_unused),
		cmocka_unit_test(test_operators),   cmocka_unit_test(test_without_weird),
		cmocka_unit_test(test_over_a_boot), cmocka_unit_test(test_a_larger_pair),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
