/* SPDX-License-Identifier: Apache-2.0
 *
 * The calls of libweir one by one: arguments that are wrong, a segment that cannot decide, under
 * either policy, deadlines that are passed while somebody sleeps, places that lapse.
 */
#include "segment_fixture.h"

#include <math.h>
#include <pthread.h>

#include "handle.h"

/* A host on the manual clock, and what its trace was told. */
struct stage {
	struct weir *weir;
	struct weir_endpoint *api;
	_Atomic uint32_t waits;
	_Atomic uint32_t closures;
	_Atomic uint32_t faults;
	_Atomic int32_t code;
};

static void see(void *context, const struct weir_event *event)
{
	struct stage *stage = context;

	switch ((enum weir_event_kind)event->kind) {
	case WEIR_EVENT_WAIT:
		assert_true(event->wait_ns > 0);
		atomic_fetch_add(&stage->waits, 1);
		break;
	case WEIR_EVENT_CLOSED:
		atomic_fetch_add(&stage->closures, 1);
		break;
	case WEIR_EVENT_FAULT:
		assert_string_equal(event->endpoint, "api");
		atomic_store(&stage->code, event->code);
		atomic_fetch_add(&stage->faults, 1);
		break;
	case WEIR_EVENT_REATTACH:
	case WEIR_EVENT_REJOIN:
	case WEIR_EVENT_EXPIRED:
		break;
	}
}

static void stage_begin(struct stage *stage, const char *rule, enum weir_policy policy)
{
	struct weir_options options = WEIR_OPTIONS_INIT;
	char message[500] = "";
	char text[300];

	*stage = (struct stage){.weir = NULL};
	options.policy = (int32_t)policy;
	options.trace = see;
	options.trace_context = stage;
	snprintf(text, sizeof(text), "[endpoint api]\n%s\n", rule);
	if (weir_host(&stage->weir, text, WEIR_CLOCK_MANUAL, &options, message, sizeof(message)) <
	    0)
		fail_msg("%s", message);
	stage->api = scene_endpoint(stage->weir, "api");
	assert_non_null(stage->api);
}

static void stage_end(struct stage *stage)
{
	weir_endpoint_close(stage->api);
	weir_close(stage->weir);
}

static struct segment *segment_of(const struct stage *stage)
{
	return &atomic_load(&stage->weir->current)->segment;
}

static struct weir_level peek(const struct stage *stage)
{
	struct weir_level level = {.size = sizeof(level)};

	assert_int_equal(weir_peek(stage->api, &level), 0);
	assert_int_equal(level.size, sizeof(level));
	return level;
}

/* ---- arguments ---- */

static void test_costs(void **state)
{
	static const struct {
		double cost;
		int fault;
	} cases[] = {
		{0, WEIR_ECOST},	 {-1, WEIR_ECOST},    {NAN, WEIR_ECOST},
		{-INFINITY, WEIR_ECOST}, {10.5, WEIR_EBURST}, {1e300, WEIR_EBURST},
		{INFINITY, WEIR_EBURST},
	};
	struct weir_reservation place;
	struct stage stage;

	(void)state;
	/* the caller's own mistakes, whatever the policy */
	stage_begin(&stage, "rate = 10/s\nburst = 10", WEIR_POLICY_OPEN);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct weir_answer answers[3];

		memset(answers, 0xff, sizeof(answers));
		assert_int_equal(weir_acquire(stage.api, cases[i].cost, NULL), WEIR_REFUSE);
		assert_int_equal(weir_acquire(stage.api, cases[i].cost, &answers[0]), WEIR_REFUSE);
		assert_int_equal(weir_wait(stage.api, cases[i].cost, WEIR_SECOND, &answers[1]),
				 WEIR_REFUSE);
		assert_int_equal(
			weir_reserve(stage.api, cases[i].cost, WEIR_SECOND, &place, &answers[2]),
			WEIR_REFUSE);
		for (int j = 0; j < 3; j++) {
			assert_int_equal(answers[j].fault, cases[i].fault);
			assert_int_equal(answers[j].reason, WEIR_REASON_NEVER);
			assert_true(answers[j].wait_ns == WEIR_NEVER);
		}
	}
	assert_near(peek(&stage).level, 10);
	assert_int_equal(atomic_load(&stage.faults), 0);
	stage_end(&stage);
}

static void test_names(void **state)
{
	static const char *const names[] = {"", " a", "a ", "a\n", "\x7f"};
	char longest[WEIR_NAME_MAX + 2];
	struct weir_endpoint *found = NULL;
	struct stage stage;

	(void)state;
	stage_begin(&stage, "rate = 10/s", WEIR_POLICY_CLOSED);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_int_equal(weir_endpoint(stage.weir, names[i], &found), WEIR_ENAME);
		assert_int_equal(weir_update(stage.weir, names[i], "1/s", NULL, WEIR_KEEP_USED),
				 WEIR_ENAME);
		assert_int_equal(weir_reset(stage.weir, names[i]), WEIR_ENAME);
	}
	memset(longest, 'x', sizeof(longest));
	longest[WEIR_NAME_MAX + 1] = '\0';
	assert_int_equal(weir_endpoint(stage.weir, longest, &found), WEIR_ENAME);
	assert_null(found);
	longest[WEIR_NAME_MAX] = '\0';
	assert_int_equal(weir_endpoint(stage.weir, longest, &found), 0);
	weir_endpoint_close(found);
	weir_endpoint_close(NULL);
	weir_close(NULL);
	stage_end(&stage);
}

static void test_spent_reservations(void **state)
{
	struct weir_reservation place;
	struct weir_answer answer;
	struct stage stage;
	double returned = -1;

	(void)state;
	stage_begin(&stage, "rate = 10/s\nburst = 10", WEIR_POLICY_OPEN);
	assert_int_equal(weir_reserve(stage.api, 4, 0, &place, NULL), WEIR_ADMIT);
	assert_int_equal(weir_settle(stage.api, &place, -1), WEIR_ECOST);
	assert_int_equal(weir_settle(stage.api, &place, NAN), WEIR_ECOST);
	assert_int_equal(weir_settle(stage.api, &place, INFINITY), WEIR_ECOST);
	assert_near(peek(&stage).level, 6);
	assert_int_equal(weir_settle(stage.api, &place, 3), 0);
	assert_near(peek(&stage).level, 7);
	assert_int_equal(weir_settle(stage.api, &place, 3), WEIR_ESPENT);
	assert_int_equal(weir_cancel(stage.api, &place, &returned), WEIR_ESPENT);
	assert_true(returned < 0);
	assert_int_equal(weir_reservation_wait(stage.api, &place, 0, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_ESPENT);

	/* 0 cancels; without being told how much went back */
	assert_int_equal(weir_reserve(stage.api, 4, 0, &place, NULL), WEIR_ADMIT);
	assert_int_equal(weir_settle(stage.api, &place, 0), 0);
	assert_near(peek(&stage).level, 7);
	assert_int_equal(weir_reserve(stage.api, 4, 0, &place, NULL), WEIR_ADMIT);
	assert_int_equal(weir_cancel(stage.api, &place, NULL), 0);
	assert_near(peek(&stage).level, 7);

	/* exactly what was reserved changes nothing, more is a debt */
	assert_int_equal(weir_reserve(stage.api, 4, 0, &place, NULL), WEIR_ADMIT);
	assert_int_equal(weir_settle(stage.api, &place, 4), 0);
	assert_near(peek(&stage).level, 3);
	assert_int_equal(weir_reserve(stage.api, 1, 0, &place, NULL), WEIR_ADMIT);
	assert_int_equal(weir_settle(stage.api, &place, 51), 0);
	assert_near(peek(&stage).level, -48);
	stage_end(&stage);
}

/* A program that was built with an older header passes less. */
static void test_smaller_structs(void **state)
{
	struct weir_level level;
	struct stage stage;

	(void)state;
	stage_begin(&stage, "rate = 10/s\nburst = 10", WEIR_POLICY_CLOSED);
	memset(&level, 0x5a, sizeof(level));
	level.size = offsetof(struct weir_level, rate_per_s);
	assert_int_equal(weir_peek(stage.api, &level), 0);
	assert_int_equal(level.size, offsetof(struct weir_level, rate_per_s));
	assert_near(level.burst, 10);
	for (size_t i = level.size; i < sizeof(level); i++)
		assert_int_equal(((unsigned char *)&level)[i], 0x5a);
	stage_end(&stage);

	struct weir_options options = WEIR_OPTIONS_INIT;
	struct weir *weir;

	options.size = 0; /* nothing of it counts */
	options.policy = WEIR_POLICY_OPEN;
	options.name = "a/b";
	assert_int_equal(weir_host(&weir, NULL, WEIR_CLOCK_MANUAL, &options, NULL, 0), 0);
	assert_int_equal(weir->policy, WEIR_POLICY_CLOSED);
	weir_close(weir);
	setenv("WEIR_NAME", "none-of-this-name", 1);
	setenv("WEIR_SHM_DIR", "/nowhere", 1);
	assert_int_equal(weir_open(&weir, &options), WEIR_EABSENT);
	options.size = sizeof(options);
	assert_int_equal(weir_open(&weir, &options), WEIR_ENAME);
	options.name = "";
	assert_int_equal(weir_open(&weir, &options), WEIR_EABSENT);
	unsetenv("WEIR_NAME");
	unsetenv("WEIR_SHM_DIR");
}

static int count_up(void *context)
{
	return ++*(int *)context;
}

static void test_execute(void **state)
{
	struct weir_answer answer;
	struct stage stage;
	int runs = 0;
	int result = 77;

	(void)state;
	stage_begin(&stage, "rate = 10/s\nburst = 2", WEIR_POLICY_CLOSED);
	assert_int_equal(weir_execute(stage.api, 1, 0, count_up, &runs, &result, &answer),
			 WEIR_ADMIT);
	assert_int_equal(result, 1);
	assert_near(answer.level, 1);
	assert_int_equal(weir_execute(stage.api, 1, 0, count_up, &runs, NULL, NULL), WEIR_ADMIT);
	assert_int_equal(runs, 2);
	assert_int_equal(weir_execute(stage.api, 1, 0, count_up, &runs, &result, &answer),
			 WEIR_REFUSE);
	assert_int_equal(runs, 2);
	assert_int_equal(result, 1);
	assert_int_equal(answer.wait_ns, 100 * WEIR_MILLISECOND);
	stage_end(&stage);
}

/* ---- a segment that cannot decide ---- */

/* Without a rule for the name and without [default] no name resolves. */
static void break_rules(struct stage *stage)
{
	struct segment *segment = segment_of(stage);

	/* in this order: who sleeps on the name shall not find [default], which has no limit */
	rules_remove(segment, (uint32_t)names_default_row(segment));
	rules_remove(segment, (uint32_t)names_exact_row(segment, "api"));
}

static void heal_rules(struct stage *stage)
{
	scene_add(segment_of(stage), ROW_DEFAULT, "*", 10, 10);
}

static void check_faults(struct stage *stage, enum weir_verdict verdict)
{
	struct weir_reservation place;
	struct weir_answer answers[3];
	struct weir_level level = {.size = sizeof(level)};
	int runs = 0;

	memset(answers, 0xff, sizeof(answers));
	assert_int_equal(weir_acquire(stage->api, 1, &answers[0]), verdict);
	assert_int_equal(weir_wait(stage->api, 1, WEIR_FOREVER, &answers[1]), verdict);
	assert_int_equal(weir_reserve(stage->api, 1, 0, &place, &answers[2]), verdict);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(answers[i].fault, WEIR_EDAMAGED);
		assert_int_equal(answers[i].reason, WEIR_REASON_FAULT);
		assert_true(answers[i].wait_ns == WEIR_NEVER);
	}
	assert_int_equal(atomic_load(&stage->code), WEIR_EDAMAGED);
	assert_int_equal(atomic_load(&stage->faults), 3);
	assert_int_equal(weir_execute(stage->api, 1, 0, count_up, &runs, NULL, NULL), verdict);
	assert_int_equal(runs, verdict == WEIR_ADMIT);

	/* all of what was asked for, or none */
	uint64_t taken = 77;

	assert_int_equal(weir_acquire_up_to(stage->api, 1, 2, 5, &taken, NULL), verdict);
	assert_int_equal(taken, verdict == WEIR_ADMIT ? 5 : 77);
	assert_int_equal(weir_peek(stage->api, &level), WEIR_EDAMAGED);
	assert_int_equal(weir_gate_close(stage->api, WEIR_SECOND), WEIR_EDAMAGED);
	assert_int_equal(weir_gate_open(stage->api), WEIR_EDAMAGED);
}

static void test_policy_closed(void **state)
{
	struct weir_endpoint *other = NULL;
	struct weir_reservation place;
	struct weir_reservation before;
	struct weir_answer answer;
	struct stage stage;
	double returned = -1;

	(void)state;
	stage_begin(&stage, "rate = 10/s\nburst = 10", WEIR_POLICY_CLOSED);
	assert_int_equal(weir_reserve(stage.api, 4, 0, &before, NULL), WEIR_ADMIT);
	break_rules(&stage);
	check_faults(&stage, WEIR_REFUSE);
	assert_int_equal(weir_endpoint(stage.weir, "other", &other), WEIR_EDAMAGED);
	assert_int_equal(weir_update(stage.weir, "other", "1/s", NULL, WEIR_KEEP_USED),
			 WEIR_EDAMAGED);
	assert_int_equal(weir_reset(stage.weir, "other"), WEIR_EDAMAGED);

	/* a reservation that cannot be looked up: not now, and it is kept */
	place = before;
	assert_int_equal(weir_reservation_wait(stage.api, &place, 0, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_EDAMAGED);
	assert_int_equal(weir_settle(stage.api, &place, 5), WEIR_EDAMAGED);
	assert_int_equal(weir_cancel(stage.api, &place, &returned), 0);
	assert_near(returned, 0);

	heal_rules(&stage);
	assert_int_equal(weir_acquire(stage.api, 1, &answer), WEIR_ADMIT);
	stage_end(&stage);
}

static void test_policy_open(void **state)
{
	struct weir_reservation place;
	struct weir_answer answer;
	struct stage stage;

	(void)state;
	stage_begin(&stage, "rate = 10/s\nburst = 10", WEIR_POLICY_OPEN);
	break_rules(&stage);
	check_faults(&stage, WEIR_ADMIT);

	/* admitted without a place: whoever waits for it takes one once there are any */
	memset(&place, 0xff, sizeof(place));
	assert_int_equal(weir_reserve(stage.api, 4, 0, &place, NULL), WEIR_ADMIT);
	assert_int_equal(weir_reservation_wait(stage.api, &place, 0, &answer), WEIR_ADMIT);
	assert_int_equal(answer.fault, WEIR_EDAMAGED);
	heal_rules(&stage);
	assert_near(peek(&stage).level, 10);
	assert_int_equal(weir_reservation_wait(stage.api, &place, 0, &answer), WEIR_ADMIT);
	assert_int_equal(answer.fault, 0);
	assert_near(peek(&stage).level, 6);
	assert_int_equal(weir_settle(stage.api, &place, 1), 0);
	assert_near(peek(&stage).level, 9);
	stage_end(&stage);
}

/* Nothing was taken for such a place, so nothing goes back for it. */
static void test_policy_open_gives_nothing_back(void **state)
{
	struct weir_reservation place;
	struct stage stage;
	double returned = -1;

	(void)state;
	stage_begin(&stage, "rate = 10/s\nburst = 10", WEIR_POLICY_OPEN);
	break_rules(&stage);
	assert_int_equal(weir_reserve(stage.api, 4, 0, &place, NULL), WEIR_ADMIT);
	heal_rules(&stage);
	assert_int_equal(weir_acquire(stage.api, 5, NULL), WEIR_ADMIT);
	assert_int_equal(weir_cancel(stage.api, &place, &returned), 0);
	assert_near(returned, 0);
	assert_near(peek(&stage).level, 5);
	assert_int_equal(weir_cancel(stage.api, &place, &returned), WEIR_ESPENT);
	stage_end(&stage);
}

/* ---- hosting ---- */

static void test_clocks(void **state)
{
	static const struct {
		enum weir_clock asked;
		const char *text;
		bool manual;
	} cases[] = {
		{WEIR_CLOCK_BEST, NULL, false},
		{WEIR_CLOCK_MONOTONIC, NULL, false},
		{(enum weir_clock)77, NULL, false},
		{WEIR_CLOCK_MANUAL, NULL, true},
		{WEIR_CLOCK_BEST, "[weir]\nclock = manual\n", true},
		{WEIR_CLOCK_MANUAL, "[weir]\nclock = monotonic\n", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct weir *weir;

		assert_int_equal(weir_host(&weir, cases[i].text, cases[i].asked, NULL, NULL, 0), 0);
		uint64_t before = weir_clock_now(weir);

		if (cases[i].manual) {
			assert_int_equal(weir_clock_advance(weir, 12345), 0);
			assert_true(weir_clock_now(weir) == before + 12345);
		} else {
			assert_int_equal(weir_clock_advance(weir, 12345), WEIR_ENOCLOCK);
			assert_true(weir_clock_now(weir) >= before);
		}
		weir_close(weir);
	}
}

/* A manual clock stops where it ends, however it is moved; every call still returns. */
static void test_end_of_a_manual_clock(void **state)
{
	struct weir_reservation place;
	struct stage stage;

	(void)state;
	stage_begin(&stage, "rate = 1000000/s\nburst = 10", WEIR_POLICY_CLOSED);
	assert_int_equal(weir_clock_advance(stage.weir, UINT64_MAX), 0);
	assert_true(weir_clock_now(stage.weir) == TIME_MANUAL_END);
	assert_int_equal(weir_clock_advance(stage.weir, UINT64_MAX), 0);
	assert_int_equal(weir_clock_advance(stage.weir, 1), 0);
	assert_true(weir_clock_now(stage.weir) == TIME_MANUAL_END);
	/* what somebody else may have stored there */
	atomic_store(segment_of(&stage)->time.manual_ns, UINT64_MAX - 5);
	assert_true(weir_clock_now(stage.weir) == TIME_MANUAL_END);
	assert_int_equal(weir_acquire(stage.api, 10, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire(stage.api, 1, NULL), WEIR_REFUSE);
	assert_int_equal(weir_wait(stage.api, 1, 0, NULL), WEIR_REFUSE);
	assert_int_equal(weir_reserve(stage.api, 1, WEIR_FOREVER, &place, NULL), WEIR_ADMIT);
	assert_int_equal(weir_reservation_wait(stage.api, &place, 0, NULL), WEIR_REFUSE);
	stage_end(&stage);
}

static void test_host_says_what_is_wrong(void **state)
{
	static const char text[] = "[default]\nrate = fast\n";
	char message[200] = "";
	struct weir *weir = NULL;

	(void)state;
	assert_int_equal(weir_host(&weir, text, WEIR_CLOCK_MANUAL, NULL, message, sizeof(message)),
			 WEIR_ECONFIG);
	assert_non_null(strstr(message, "text:2:"));
	assert_int_equal(weir_host(&weir, text, WEIR_CLOCK_MANUAL, NULL, NULL, 100), WEIR_ECONFIG);
	message[0] = 'x';
	assert_int_equal(weir_host(&weir, text, WEIR_CLOCK_MANUAL, NULL, message, 0), WEIR_ECONFIG);
	assert_int_equal(message[0], 'x');
	assert_null(weir);
}

static void test_updates(void **state)
{
	struct weir_endpoint *names[2];
	struct weir_endpoint *matched;
	struct stage stage;

	(void)state;
	stage_begin(&stage,
		    "rate = 10/s\nburst = 10\n[endpoint p/*]\nrate = 10/s\n[weir]\n"
		    "endpoints = 5",
		    WEIR_POLICY_CLOSED);
	matched = scene_endpoint(stage.weir, "p/x");
	assert_int_equal(weir_update(stage.weir, "api", "fast", NULL, WEIR_KEEP_USED), WEIR_EVALUE);
	assert_int_equal(weir_update(stage.weir, "api", "5/s", NULL, (enum weir_keep)4),
			 WEIR_EVALUE);
	assert_int_equal(weir_update(stage.weir, "api", NULL, "-1", WEIR_KEEP_USED), WEIR_EVALUE);
	assert_int_equal(weir_update(stage.weir, "api", NULL, NULL, WEIR_KEEP_USED), 0);
	assert_near(peek(&stage).burst, 10);

	/* a pattern by its text, [default] by "*"; each name under it has a level of its own */
	assert_int_equal(weir_acquire(matched, 1, NULL), WEIR_ADMIT);
	assert_int_equal(weir_update(stage.weir, "p/*", NULL, "20", WEIR_KEEP_LEVEL), 0);
	assert_int_equal(weir_acquire(matched, 10, NULL), WEIR_REFUSE);
	assert_int_equal(weir_acquire(matched, 9, NULL), WEIR_ADMIT);
	for (int i = 0; i < 2; i++) {
		names[i] = scene_endpoint(stage.weir, i ? "one" : "two");
		assert_int_equal(weir_acquire(names[i], 2 + i, NULL), WEIR_ADMIT);
	}
	assert_int_equal(weir_update(stage.weir, "*", NULL, "5", WEIR_KEEP_LEVEL), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(scene_drain(names[i]), 5);
		weir_endpoint_close(names[i]);
	}

	/* new rows for a name, for a pattern, for none; [default] cannot change its unit here */
	assert_int_equal(weir_update(stage.weir, "new", "1/s", NULL, WEIR_KEEP_USED), 0);
	assert_int_equal(weir_update(stage.weir, "q/*", "1/s", NULL, WEIR_KEEP_USED), 0);
	assert_int_equal(weir_update(stage.weir, "more", "1/s", NULL, WEIR_KEEP_USED), WEIR_EROWS);
	assert_int_equal(weir_update(stage.weir, "*", "1000000000/s", "10", WEIR_KEEP_USED),
			 WEIR_EROWS);
	assert_int_equal(weir_update(stage.weir, "api", "1000000000/s", "10", WEIR_KEEP_USED),
			 WEIR_EROWS);
	weir_endpoint_close(matched);
	stage_end(&stage);
}

/* Lines as in weir.ini; what is wrong with one is said, and nothing changes. */
static void test_settings(void **state)
{
	static const char *const wrong[] = {"rate", "burst 5", "no = such", "rate = fast"};
	char long_line[400] = "rate =";
	struct stage stage;
	char message[200];

	(void)state;
	stage_begin(&stage, "rate = 10/s\nburst = 10", WEIR_POLICY_CLOSED);
	memset(long_line + strlen(long_line), ' ', sizeof(long_line) - 20);
	strcpy(long_line + sizeof(long_line) - 20, "5/s");
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]) + 1; i++) {
		const char *settings = i < 4 ? wrong[i] : long_line;

		message[0] = '\0';
		assert_int_equal(weir_configure(stage.weir, "api", settings, WEIR_KEEP_LEVEL,
						message, sizeof(message)),
				 WEIR_EVALUE);
		assert_true(message[0]);
		assert_int_equal(
			weir_configure(stage.weir, "api", settings, WEIR_KEEP_LEVEL, NULL, 0),
			WEIR_EVALUE);
	}
	assert_near(peek(&stage).burst, 10);
	assert_int_equal(weir_configure(stage.weir, "api",
					"\n \t\r\n  burst \t= 20 \r\n\nrate=20/s  ",
					WEIR_KEEP_LEVEL, message, sizeof(message)),
			 0);
	assert_near(peek(&stage).burst, 20);
	stage_end(&stage);
}

/* An instance of somebody else's cannot be changed through a handle. */
static void test_only_hosts_change(void **state)
{
	struct scene scene;

	(void)state;
	scene_begin(&scene, &scene_shape);
	struct weir *weir = scene_open(&scene.place);

	assert_int_equal(weir_update(weir, "x", "1/s", NULL, WEIR_KEEP_USED), WEIR_EHOST);
	assert_int_equal(weir_reset(weir, "x"), WEIR_EHOST);
	weir_close(weir);
	scene_end(&scene);
}

/* ---- who sleeps while things change ---- */

struct sleeper {
	struct stage *stage;
	double cost;
	uint64_t timeout_ns;
	struct weir_reservation *place; /* or NULL: weir_wait */
	enum weir_verdict verdict;
	struct weir_answer answer;
	_Atomic uint32_t over;
};

static void *sleep_for_tokens(void *context)
{
	struct sleeper *sleeper = context;

	sleeper->verdict = sleeper->place
				   ? weir_reservation_wait(sleeper->stage->api, sleeper->place,
							   sleeper->timeout_ns, &sleeper->answer)
				   : weir_wait(sleeper->stage->api, sleeper->cost,
					       sleeper->timeout_ns, &sleeper->answer);
	atomic_store(&sleeper->over, 1);
	return NULL;
}

/* Starts it on an empty bucket of 10/s, burst 10; when it returns, the place is taken. */
static pthread_t sleeper_start(struct sleeper *sleeper)
{
	pthread_t thread;

	assert_int_equal(scene_drain(sleeper->stage->api), 10);
	assert_int_equal(pthread_create(&thread, NULL, sleep_for_tokens, sleeper), 0);
	assert_true(scene_until(&sleeper->stage->waits, 1));
	return thread;
}

static void test_turn_moves_beyond_the_deadline(void **state)
{
	struct stage stage;
	struct sleeper sleeper = {.stage = &stage, .cost = 5, .timeout_ns = WEIR_SECOND};

	(void)state;
	stage_begin(&stage, "rate = 10/s\nburst = 10", WEIR_POLICY_CLOSED);
	pthread_t thread = sleeper_start(&sleeper);

	/* 0.5 s become 50 */
	assert_int_equal(weir_update(stage.weir, "api", "0.1/s", NULL, WEIR_KEEP_USED), 0);
	pthread_join(thread, NULL);
	assert_int_equal(sleeper.verdict, WEIR_REFUSE);
	assert_int_equal(sleeper.answer.reason, WEIR_REASON_DEADLINE);
	assert_int_equal(sleeper.answer.fault, 0);
	/* the last in line: all of it went back, and is counted neither as taken nor as returned */
	assert_near(peek(&stage).level, 0);
	assert_near(peek(&stage).granted_tokens, 10);
	assert_near(peek(&stage).returned_tokens, 0);
	stage_end(&stage);
}

static void test_closed_beyond_the_deadline(void **state)
{
	struct stage stage;
	struct sleeper sleeper = {.stage = &stage, .cost = 5, .timeout_ns = WEIR_SECOND};

	(void)state;
	stage_begin(&stage, "rate = 10/s\nburst = 10", WEIR_POLICY_CLOSED);
	pthread_t thread = sleeper_start(&sleeper);

	assert_int_equal(weir_gate_close(stage.api, 3600 * WEIR_SECOND), 0);
	pthread_join(thread, NULL);
	assert_int_equal(sleeper.verdict, WEIR_REFUSE);
	assert_int_equal(sleeper.answer.reason, WEIR_REASON_DEADLINE);

	/* and who comes then is refused at once */
	struct weir_answer answer;
	uint32_t closures = atomic_load(&stage.closures);

	assert_int_equal(weir_wait(stage.api, 1, WEIR_SECOND, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_CLOSED);
	assert_true(answer.wait_ns > 3599 * WEIR_SECOND);
	assert_int_equal(atomic_load(&stage.closures), closures + 1);
	stage_end(&stage);
}

static void test_rules_break_under_a_sleeper(void **state)
{
	struct stage stage;
	struct sleeper sleeper = {.stage = &stage, .cost = 5, .timeout_ns = WEIR_FOREVER};

	(void)state;
	stage_begin(&stage, "rate = 10/s\nburst = 10", WEIR_POLICY_OPEN);
	pthread_t thread = sleeper_start(&sleeper);

	break_rules(&stage);
	pthread_join(thread, NULL);
	assert_int_equal(sleeper.verdict, WEIR_ADMIT);
	assert_int_equal(sleeper.answer.fault, WEIR_EDAMAGED);
	stage_end(&stage);
}

/* A limit that is lifted lets go who sleeps on it, waiting or holding a reservation. */
static void test_unlimited_under_a_sleeper(void **state)
{
	struct weir_reservation place;
	struct weir_answer answer;
	struct stage stage;
	struct sleeper sleeper = {.stage = &stage, .cost = 5, .timeout_ns = WEIR_FOREVER};

	(void)state;
	stage_begin(&stage, "rate = 10/s\nburst = 10", WEIR_POLICY_CLOSED);
	pthread_t thread = sleeper_start(&sleeper);

	assert_int_equal(weir_reserve(stage.api, 1, WEIR_FOREVER, &place, &answer), WEIR_ADMIT);
	assert_int_equal(answer.wait_ns, 600 * WEIR_MILLISECOND);
	assert_int_equal(weir_update(stage.weir, "api", "unlimited", NULL, WEIR_KEEP_USED), 0);
	pthread_join(thread, NULL);
	assert_int_equal(sleeper.verdict, WEIR_ADMIT);
	assert_int_equal(weir_reservation_wait(stage.api, &place, 0, &answer), WEIR_ADMIT);
	assert_int_equal(weir_settle(stage.api, &place, 1000), 0);

	/* there is no line any more, and no level; counts go on */
	assert_true(isinf(peek(&stage).burst));
	assert_true(isinf(peek(&stage).rate_per_s));
	assert_int_equal(peek(&stage).wait_ns, 0);
	assert_int_equal(weir_wait(stage.api, 1e6, 0, &answer), WEIR_ADMIT);
	assert_int_equal(weir_reserve(stage.api, 1e6, 0, &place, &answer), WEIR_ADMIT);
	assert_int_equal(answer.wait_ns, 0);
	assert_int_equal(weir_cancel(stage.api, &place, NULL), 0);

	/* but it can be closed */
	assert_int_equal(weir_gate_close(stage.api, WEIR_SECOND), 0);
	assert_int_equal(weir_acquire(stage.api, 1, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_CLOSED);
	weir_clock_advance(stage.weir, WEIR_SECOND + WEIR_MILLISECOND);
	assert_int_equal(weir_acquire(stage.api, 1, &answer), WEIR_ADMIT);
	stage_end(&stage);
}

/* ---- places that lapse ---- */

static void reserve_ahead(struct stage *stage, double cost, struct weir_reservation *place)
{
	assert_int_equal(scene_drain(stage->api), 10);
	assert_int_equal(weir_reserve(stage->api, cost, WEIR_FOREVER, place, NULL), WEIR_ADMIT);
}

static void test_reset_voids_a_place(void **state)
{
	struct weir_reservation place;
	struct weir_answer answer;
	struct stage stage;
	double returned = -1;

	(void)state;
	stage_begin(&stage, "rate = 10/s\nburst = 10", WEIR_POLICY_CLOSED);
	reserve_ahead(&stage, 5, &place);
	assert_int_equal(weir_reset(stage.weir, "api"), 0);
	assert_near(peek(&stage).level, 10);
	/* it takes a new one, and pays for it */
	assert_int_equal(weir_reservation_wait(stage.api, &place, 0, &answer), WEIR_ADMIT);
	assert_near(peek(&stage).level, 5);

	/* voided and given up: nothing goes back, as the reset has filled the bucket already */
	assert_int_equal(weir_reset(stage.weir, "api"), 0);
	assert_int_equal(weir_acquire(stage.api, 7, NULL), WEIR_ADMIT);
	assert_int_equal(weir_cancel(stage.api, &place, &returned), 0);
	assert_near(returned, 0);
	assert_near(peek(&stage).level, 3);
	stage_end(&stage);
}

/* A new place that does not come up in time: late, and the place it has is kept. */
static void test_renewed_place_is_late(void **state)
{
	struct weir_reservation place;
	struct weir_answer answer;
	struct stage stage;

	(void)state;
	stage_begin(&stage, "rate = 10/s\nburst = 10", WEIR_POLICY_CLOSED);
	reserve_ahead(&stage, 5, &place);
	assert_int_equal(weir_reset(stage.weir, "api"), 0);
	assert_int_equal(scene_drain(stage.api), 10);
	assert_int_equal(weir_reservation_wait(stage.api, &place, 100 * WEIR_MILLISECOND, &answer),
			 WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_DEADLINE);
	assert_int_equal(weir_reservation_wait(stage.api, &place, 0, NULL), WEIR_REFUSE);
	weir_clock_advance(stage.weir, WEIR_SECOND);
	assert_int_equal(weir_reservation_wait(stage.api, &place, 0, &answer), WEIR_ADMIT);
	assert_near(peek(&stage).level, 5);
	stage_end(&stage);
}

/* One whose cost is above what the burst is now can never come up again. */
static void test_renewed_place_does_not_fit(void **state)
{
	struct weir_reservation place;
	struct weir_answer answer;
	struct stage stage;

	(void)state;
	stage_begin(&stage, "rate = 10/s\nburst = 10", WEIR_POLICY_CLOSED);
	reserve_ahead(&stage, 8, &place);
	assert_int_equal(weir_update(stage.weir, "api", NULL, "5", WEIR_KEEP_RESET), 0);
	assert_int_equal(weir_reservation_wait(stage.api, &place, WEIR_FOREVER, &answer),
			 WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_EBURST);
	stage_end(&stage);
}

/* Late behind a closure: the wait that is told reaches to its end. */
/* Closed for no time at all, it is not closed, and loses nothing. */
static void test_closed_for_no_time(void **state)
{
	struct stage stage;

	(void)state;
	stage_begin(&stage, "rate = 10/s\nburst = 10", WEIR_POLICY_CLOSED);
	assert_int_equal(weir_clock_advance(stage.weir, 1), 0);
	assert_int_equal(weir_gate_close(stage.api, 0), 0);
	assert_near(peek(&stage).level, 10);
	assert_int_equal(peek(&stage).closed_ns, 0);
	assert_int_equal(weir_acquire(stage.api, 10, NULL), WEIR_ADMIT);
	stage_end(&stage);
}

static void test_reservation_behind_a_closure(void **state)
{
	struct weir_reservation place;
	struct weir_answer answer;
	struct stage stage;

	(void)state;
	stage_begin(&stage, "rate = 10/s\nburst = 10", WEIR_POLICY_CLOSED);
	reserve_ahead(&stage, 5, &place);
	assert_int_equal(weir_gate_close(stage.api, 10 * WEIR_SECOND), 0);
	assert_int_equal(weir_reservation_wait(stage.api, &place, WEIR_SECOND, &answer),
			 WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_DEADLINE);
	assert_true(answer.wait_ns >= 10 * WEIR_SECOND && answer.wait_ns < 11 * WEIR_SECOND);
	/* a place that is far behind the closure keeps its own time */
	assert_int_equal(weir_settle(stage.api, &place, 500), 0);
	assert_int_equal(weir_gate_open(stage.api), 0);
	assert_int_equal(weir_reserve(stage.api, 5, WEIR_FOREVER, &place, NULL), WEIR_ADMIT);
	assert_int_equal(weir_gate_close(stage.api, 10 * WEIR_SECOND), 0);
	assert_int_equal(weir_reservation_wait(stage.api, &place, 0, &answer), WEIR_REFUSE);
	assert_true(answer.wait_ns > 40 * WEIR_SECOND);
	stage_end(&stage);
}

/* The rule moves to another unit under a place: it follows, unless a reset came first. */
static void test_place_follows_a_move(void **state)
{
	struct weir_reservation place;
	struct weir_reservation other;
	struct weir_answer answer;
	struct stage stage;
	double returned = -1;

	(void)state;
	stage_begin(&stage, "rate = 10/s\nburst = 10", WEIR_POLICY_CLOSED);
	int64_t before = names_exact_row(segment_of(&stage), "api");

	reserve_ahead(&stage, 5, &place);
	assert_int_equal(weir_reserve(stage.api, 5, WEIR_FOREVER, &other, NULL), WEIR_ADMIT);
	assert_int_equal(weir_update(stage.weir, "api", "1000000000/s", "10", WEIR_KEEP_USED), 0);
	assert_int_not_equal(names_exact_row(segment_of(&stage), "api"), before);
	assert_int_equal(weir_update(stage.weir, "api", "10/s", "10", WEIR_KEEP_USED), 0);
	assert_int_equal(weir_cancel(stage.api, &other, &returned), 0);
	assert_true(returned > 4.999 && returned <= 5);
	assert_int_equal(weir_reservation_wait(stage.api, &place, 0, &answer), WEIR_REFUSE);
	assert_true(answer.wait_ns > 400 * WEIR_MILLISECOND);
	weir_clock_advance(stage.weir, 501 * WEIR_MILLISECOND);
	assert_int_equal(weir_reservation_wait(stage.api, &place, 0, &answer), WEIR_ADMIT);
	stage_end(&stage);
}

/* A reset voids a place also where the rule moved afterwards: the new mark knows nothing of it. */
static void test_reset_before_a_move(void **state)
{
	struct weir_reservation place;
	struct weir_answer answer;
	struct stage stage;

	(void)state;
	stage_begin(&stage, "rate = 10/s\nburst = 10", WEIR_POLICY_CLOSED);
	reserve_ahead(&stage, 5, &place);
	assert_int_equal(weir_reset(stage.weir, "api"), 0);
	assert_int_equal(weir_update(stage.weir, "api", "1000000000/s", "10", WEIR_KEEP_USED), 0);
	assert_int_equal(weir_reservation_wait(stage.api, &place, 0, &answer), WEIR_ADMIT);
	assert_near(peek(&stage).level, 5);
	stage_end(&stage);
}

/* A closure that came along with the mark: its places are taken anew where it opens. */
static void test_closure_before_a_move(void **state)
{
	struct weir_reservation place;
	struct weir_answer answer;
	struct stage stage;

	(void)state;
	stage_begin(&stage, "rate = 10/s\nburst = 10", WEIR_POLICY_CLOSED);
	reserve_ahead(&stage, 5, &place);
	assert_int_equal(weir_gate_close(stage.api, 10 * WEIR_SECOND), 0);
	assert_int_equal(weir_update(stage.weir, "api", "1000000000/s", "10", WEIR_KEEP_USED), 0);
	assert_int_equal(weir_reservation_wait(stage.api, &place, WEIR_SECOND, &answer),
			 WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_DEADLINE);
	assert_true(answer.wait_ns >= 10 * WEIR_SECOND && answer.wait_ns < 11 * WEIR_SECOND);

	/* with the time to, it sleeps until the opening, and takes its new place then */
	struct sleeper sleeper = {
		.stage = &stage, .timeout_ns = WEIR_FOREVER, .place = &place, .cost = 5};
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, sleep_for_tokens, &sleeper), 0);
	assert_true(scene_until(&stage.closures, 1));
	assert_int_equal(atomic_load(&sleeper.over), 0);
	while (!atomic_load(&sleeper.over)) {
		weir_clock_advance(stage.weir, 100 * WEIR_MILLISECOND);
		nanosleep(&(struct timespec){0, 1000000}, NULL);
	}
	pthread_join(thread, NULL);
	assert_int_equal(sleeper.verdict, WEIR_ADMIT);
	assert_true(sleeper.answer.wait_ns >= 10 * WEIR_SECOND);
	stage_end(&stage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_costs),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_spent_reservations),
		cmocka_unit_test(test_smaller_structs),
		cmocka_unit_test(test_execute),
		cmocka_unit_test(test_policy_closed),
		cmocka_unit_test(test_policy_open),
		cmocka_unit_test(test_policy_open_gives_nothing_back),
		cmocka_unit_test(test_clocks),
		cmocka_unit_test(test_end_of_a_manual_clock),
		cmocka_unit_test(test_host_says_what_is_wrong),
		cmocka_unit_test(test_updates),
		cmocka_unit_test(test_settings),
		cmocka_unit_test(test_only_hosts_change),
		cmocka_unit_test(test_turn_moves_beyond_the_deadline),
		cmocka_unit_test(test_closed_beyond_the_deadline),
		cmocka_unit_test(test_rules_break_under_a_sleeper),
		cmocka_unit_test(test_unlimited_under_a_sleeper),
		cmocka_unit_test(test_reset_voids_a_place),
		cmocka_unit_test(test_renewed_place_is_late),
		cmocka_unit_test(test_renewed_place_does_not_fit),
		cmocka_unit_test(test_closed_for_no_time),
		cmocka_unit_test(test_reservation_behind_a_closure),
		cmocka_unit_test(test_place_follows_a_move),
		cmocka_unit_test(test_reset_before_a_move),
		cmocka_unit_test(test_closure_before_a_move),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
