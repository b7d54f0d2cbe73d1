/* SPDX-License-Identifier: Apache-2.0
 *
 * limits.c - weir itself, through its public header: a hosted segment that a crew's processes
 * inherit, and for attaching a named segment as the daemon would leave it.
 */
#include "bench.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weir.h"

#include "rules.h"
#include "segment.h"

/*
 * "hot" and the two of their own mint faster than any crew can draw, and are limits all the
 * same: every admission moves a mark. "dry" is drained once and gets its next token tomorrow.
 */
static const char rules_text[] = "[endpoint hot]\n"
				 "rate = 1000000000/s\n"
				 "burst = 1000000000\n"
				 "[endpoint own-0]\n"
				 "rate = 1000000000/s\n"
				 "burst = 1000000000\n"
				 "[endpoint own-1]\n"
				 "rate = 1000000000/s\n"
				 "burst = 1000000000\n"
				 "[endpoint dry]\n"
				 "rate = 1/d\n"
				 "burst = 1\n";

/* Rate and burst of the instance that is attached to: more than can attach in a second. */
#define ATTACH_TOKENS 1000000u

static struct weir *host;
static struct weir_endpoint *endpoint; /* of one process of a crew */

/* The named instance that is attached to. */
static struct place place;
static struct segment named;
static bool named_there;

static const char *prepare_host(void)
{
	static char text[512];
	char faults[256] = "";
	struct weir_endpoint *dry = NULL;
	int code;

	if (host != NULL)
		return NULL;
	code = weir_host(&host, rules_text, WEIR_CLOCK_BEST, NULL, faults, sizeof(faults));
	if (code == 0)
		code = weir_endpoint(host, "dry", &dry);
	if (code < 0) {
		snprintf(text, sizeof(text), "%s %s", weir_strerror(code), faults);
		return text;
	}
	weir_acquire(dry, 1.0, NULL);
	weir_endpoint_close(dry);
	return NULL;
}

static void finish_host(void)
{
	weir_close(host);
	host = NULL;
}

static int enter_hot(unsigned process)
{
	(void)process;
	return weir_endpoint(host, "hot", &endpoint);
}

static int enter_own(unsigned process)
{
	char name[16];

	snprintf(name, sizeof(name), "own-%u", process);
	return weir_endpoint(host, name, &endpoint);
}

/* A call that cannot decide is refused too: makes sure that this one decides. */
static int enter_dry(unsigned process)
{
	struct weir_answer answer;
	int code = weir_endpoint(host, "dry", &endpoint);

	(void)process;
	if (code < 0)
		return code;
	weir_acquire(endpoint, 1.0, &answer);
	return answer.reason == WEIR_REASON_LEVEL ? answer.fault : -EPROTO;
}

static void leave_endpoint(void)
{
	weir_endpoint_close(endpoint);
	endpoint = NULL;
}

static uint64_t run_admit(uint64_t ops)
{
	uint64_t good = 0;

	for (uint64_t i = 0; i < ops; i++)
		good += weir_acquire(endpoint, 1.0, NULL) == WEIR_ADMIT;
	return good;
}

static uint64_t run_refuse(uint64_t ops)
{
	uint64_t good = 0;

	for (uint64_t i = 0; i < ops; i++)
		good += weir_acquire(endpoint, 1.0, NULL) == WEIR_REFUSE;
	return good;
}

/* The capacities of the built-in configuration. */
static struct segment_shape usual_shape(void)
{
	return (struct segment_shape){
		.rows = 1024,
		.names = 1024,
		.members = 256,
		.permits = 1024,
		.waiters = 1024,
		.clock = time_source_best(),
		.group = (gid_t)-1,
	};
}

uint64_t bench_segment_bytes(void)
{
	struct segment_shape shape = usual_shape();

	return segment_rules_bytes(&shape) + segment_state_bytes(&shape);
}

static int make_named(void)
{
	const struct place_hints hints = {
		.name = "bench", .shm_dir = place.dir, .uid = (uint32_t)geteuid()};
	const struct rule rule = {
		.kind = ROW_DEFAULT,
		.text = "*",
		.terms = {.rate_micro = ATTACH_TOKENS * TERMS_MICRO,
			  .period_ns = 1000000000u,
			  .burst_micro = ATTACH_TOKENS * TERMS_MICRO,
			  .initial_micro = ATTACH_TOKENS * TERMS_MICRO},
	};
	struct segment_shape shape = usual_shape();
	struct place resolved;
	int64_t row;
	int code = place_resolve(&resolved, &hints, PLACE_TO_CREATE);

	if (code < 0)
		return code;
	place = resolved;
	code = segment_create(&named, &place, &shape);
	if (code < 0)
		return code;
	named_there = true;
	row = rules_add(&named, &rule);
	return row < 0 ? (int)row : segment_reveal(&named, &place);
}

static void finish_attach(void)
{
	if (named_there) {
		segment_remove(&place);
		segment_detach(&named);
	}
	named_there = false;
	if (place.dir[0] != 0)
		rmdir(place.dir);
	place.dir[0] = 0;
}

static const char *prepare_attach(void)
{
	int code;

	snprintf(place.dir, sizeof(place.dir), "/dev/shm/weir-bench-XXXXXX");
	if (mkdtemp(place.dir) == NULL) {
		place.dir[0] = 0;
		return "no folder can be made in /dev/shm";
	}
	code = make_named();
	return code < 0 ? weir_strerror(code) : NULL;
}

/* Attaches as a program that starts does, up to its first token. Leaving is not counted. */
static uint64_t run_attach(uint64_t ops)
{
	struct weir_options options = WEIR_OPTIONS_INIT;
	uint64_t good = 0;

	options.name = "bench";
	options.shm_dir = place.dir;
	for (uint64_t i = 0; i < ops; i++) {
		struct weir *weir;
		uint64_t done;

		if (weir_open(&weir, &options) < 0)
			break;
		if (weir_endpoint(weir, "first", &endpoint) == 0)
			good += weir_acquire(endpoint, 1.0, NULL) == WEIR_ADMIT;
		done = bench_now_ns();
		leave_endpoint();
		weir_close(weir);
		bench_aside_ns += bench_now_ns() - done;
	}
	return good;
}

const struct bench_work bench_admit = {
	.name = "weir/admit",
	.least = 64,
	.prepare = prepare_host,
	.enter = enter_hot,
	.run = run_admit,
	.leave = leave_endpoint,
	.finish = finish_host,
};

const struct bench_work bench_refuse = {
	.name = "weir/refuse",
	.least = 64,
	.prepare = prepare_host,
	.enter = enter_dry,
	.run = run_refuse,
	.leave = leave_endpoint,
	.finish = finish_host,
};

const struct bench_work bench_own_bucket = {
	.name = "weir/admit-own-bucket",
	.least = 64,
	.prepare = prepare_host,
	.enter = enter_own,
	.run = run_admit,
	.leave = leave_endpoint,
	.finish = finish_host,
};

const struct bench_work bench_attach = {
	.name = "weir/attach",
	.least = 1,
	.prepare = prepare_attach,
	.run = run_attach,
	.finish = finish_attach,
};
