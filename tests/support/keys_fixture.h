/* SPDX-License-Identifier: Apache-2.0
 *
 * keys_fixture.h - a hosted instance on the manual clock, and its rules with a bucket for each key.
 */
#ifndef KEYS_FIXTURE_H
#define KEYS_FIXTURE_H

#include "segment_fixture.h"

#include "audit.h"
#include "handle.h"
#include "keyed.h"

static inline struct weir *host_by(enum weir_clock clock, const char *ini)
{
	struct weir *weir = NULL;
	char message[400] = "";

	if (weir_host(&weir, ini, clock, NULL, message, sizeof(message)) < 0)
		fail_msg("%s", message);
	return weir;
}

static inline struct weir *host(const char *ini)
{
	return host_by(WEIR_CLOCK_MANUAL, ini);
}

static inline struct weir_endpoint *open_rule(struct weir *weir, const char *name)
{
	struct weir_endpoint *rule = NULL;

	assert_int_equal(weir_endpoint(weir, name, &rule), 0);
	return rule;
}

static inline bool take(struct weir_endpoint *rule, const char *key, double cost)
{
	struct weir_answer answer;
	bool admitted = weir_acquire_key(rule, key, strlen(key), cost, &answer) == WEIR_ADMIT;

	assert_int_equal(answer.fault, 0);
	return admitted;
}

static inline double level_of(struct weir_endpoint *rule, const char *key)
{
	struct weir_level level = {.size = sizeof(level)};

	assert_int_equal(weir_peek_key(rule, key, strlen(key), &level), 0);
	return level.level;
}

static inline struct keyed_census census(struct weir_endpoint *rule)
{
	const struct binding *binding = endpoint_binding(rule);
	struct keyed_census out;
	struct line line;
	uint64_t now = line_read(binding->row, &binding->time, &line);

	keyed_count(&binding->keyed, &line, now, &out);
	return out;
}

static inline unsigned findings(struct weir *weir)
{
	const struct attachment *at = atomic_load_explicit(&weir->current, memory_order_acquire);

	return audit_segment(&at->segment, NULL, NULL);
}

/* Good until the next call. */
static inline const char *name_key(unsigned key)
{
	static char name[24];

	snprintf(name, sizeof(name), "key %u", key);
	return name;
}

#endif
