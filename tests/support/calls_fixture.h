/* SPDX-License-Identifier: Apache-2.0
 *
 * calls_fixture.h - an instance on the manual clock whose rules are written as in weir.ini, and one
 * handle to call by. Whoever sleeps finds that exactly the time it was to wait has passed: the
 * trace callback moves the clock.
 */
#ifndef CALLS_FIXTURE_H
#define CALLS_FIXTURE_H

#include "segment_fixture.h"

#include "config.h"
#include "move.h"

struct calls {
	struct scene scene;
	struct weir *weir;
	bool moves;	       /* the clock moves by what a sleeper is about to wait */
	unsigned waits;	       /* sleeps that began */
	uint64_t waited_ns;    /* all of them together */
	void (*on_wait)(void); /* before that; may be NULL */
	unsigned faults;
	struct weir_endpoint *endpoints[64]; /* closed with the rest */
	size_t endpoint_count;
};

static inline void calls_trace(void *context, const struct weir_event *event)
{
	struct calls *calls = context;

	calls->faults += event->kind == WEIR_EVENT_FAULT;
	if (event->kind != WEIR_EVENT_WAIT &&
	    (event->kind != WEIR_EVENT_CLOSED || event->wait_ns == 0))
		return;
	calls->waits++;
	calls->waited_ns += event->wait_ns;
	if (calls->on_wait)
		calls->on_wait();
	if (calls->moves)
		time_source_advance(&calls->scene.segment.time, event->wait_ns);
}

static inline struct weir *calls_open(struct calls *calls, enum weir_policy policy)
{
	struct weir_options options = scene_options(&calls->scene.place);
	struct weir *weir = NULL;

	options.policy = (int32_t)policy;
	options.trace = calls_trace;
	options.trace_context = calls;
	assert_int_equal(weir_open(&weir, &options), 0);
	return weir;
}

static inline void calls_begin(struct calls *calls)
{
	*calls = (struct calls){.moves = true};
	scene_begin(&calls->scene, &scene_shape);
	calls->weir = calls_open(calls, WEIR_POLICY_CLOSED);
}

static inline void calls_end(struct calls *calls)
{
	while (calls->endpoint_count > 0)
		weir_endpoint_close(calls->endpoints[--calls->endpoint_count]);
	weir_close(calls->weir);
	scene_end(&calls->scene);
}

/* Around each test, which finds its struct calls in *state, however the one before it ended. */
static inline int calls_setup(void **state)
{
	static struct calls calls;

	calls_begin(&calls);
	*state = &calls;
	return 0;
}

static inline int calls_teardown(void **state)
{
	calls_end(*state);
	return 0;
}
#define calls_test(test) cmocka_unit_test_setup_teardown(test, calls_setup, calls_teardown)

/* "rate=10/s" and so on, up to NULL; what is not given is as weir.ini says. */
static inline struct terms calls_terms(const char *const *settings)
{
	struct terms terms = {.rate_micro = 10 * TERMS_MICRO, .period_ns = SCENE_SECOND};
	bool burst = false;
	bool initial = false;
	const char *why;

	for (; *settings; settings++) {
		char setting[80];
		char *value;

		snprintf(setting, sizeof(setting), "%s", *settings);
		value = strchr(setting, '=');
		assert_non_null(value);
		*value++ = '\0';
		why = config_set_term(&terms, setting, value);
		if (why)
			fail_msg("%s: %s", *settings, why);
		burst |= strcmp(setting, "burst") == 0;
		initial |= strcmp(setting, "initial") == 0;
	}
	why = config_finish_terms(&terms, burst, initial);
	if (why)
		fail_msg("%s", why);
	return terms;
}

static inline void calls_rule_of(struct calls *calls, const char *name, const char *const *settings)
{
	const struct rule rule = {
		.kind = names_is_pattern(name) ? ROW_PATTERN : ROW_EXACT,
		.text = name,
		.terms = calls_terms(settings),
	};

	assert_true(rules_add(&calls->scene.segment, &rule) >= 0);
}
#define calls_rule(calls, name, ...)                                                               \
	calls_rule_of(calls, name, (const char *const[]){__VA_ARGS__, NULL})

/* Gives a rule other terms, whole. "*" is [default]. */
static inline int64_t calls_change_of(struct calls *calls, const char *name, enum rules_keep keep,
				      const char *const *settings)
{
	const struct terms_author author = {ORIGIN_OPERATOR, 0};
	const struct terms terms = calls_terms(settings);
	int64_t row = strcmp(name, "*") == 0 ? names_default_row(&calls->scene.segment)
					     : names_exact_row(&calls->scene.segment, name);

	assert_true(row >= 0);
	row = rules_change(&calls->scene.segment, (uint32_t)row, &terms, &author, keep);
	assert_true(row >= 0);
	return row;
}
#define calls_change(calls, name, ...)                                                             \
	calls_change_of(calls, name, RULES_KEEP_USED, (const char *const[]){__VA_ARGS__, NULL})

static inline void calls_advance(struct calls *calls, uint64_t ns)
{
	time_source_advance(&calls->scene.segment.time, ns);
}

static inline struct weir_endpoint *calls_keep(struct calls *calls, struct weir_endpoint *endpoint)
{
	assert_non_null(endpoint);
	assert_true(calls->endpoint_count < sizeof(calls->endpoints) / sizeof(endpoint));
	calls->endpoints[calls->endpoint_count++] = endpoint;
	return endpoint;
}

/* All these are open until the end. */
static inline struct weir_endpoint *calls_endpoint(struct calls *calls, const char *name)
{
	return calls_keep(calls, scene_endpoint(calls->weir, name));
}

static inline struct weir_endpoint *calls_class(struct calls *calls, const char *name,
						const char *class_name)
{
	struct weir_endpoint *endpoint = NULL;

	assert_int_equal(weir_endpoint_class(calls->weir, name, class_name, &endpoint), 0);
	return calls_keep(calls, endpoint);
}

/* A rule, and an endpoint under it. */
static inline struct weir_endpoint *calls_ruled_of(struct calls *calls, const char *name,
						   const char *const *settings)
{
	calls_rule_of(calls, name, settings);
	return calls_endpoint(calls, name);
}
#define calls_ruled(calls, name, ...)                                                              \
	calls_ruled_of(calls, name, (const char *const[]){__VA_ARGS__, NULL})

static inline struct weir_level calls_peek(struct weir_endpoint *endpoint)
{
	struct weir_level level = {.size = sizeof(level)};

	assert_int_equal(weir_peek(endpoint, &level), 0);
	return level;
}

static inline struct weir_permits calls_permits(struct weir_endpoint *endpoint)
{
	struct weir_permits permits = {.size = sizeof(permits)};

	assert_int_equal(weir_permit_look(endpoint, &permits), 0);
	return permits;
}

#define assert_level(endpoint, expected) assert_near(calls_peek(endpoint).level, expected)

#endif
