/* SPDX-License-Identifier: Apache-2.0
 *
 * A segment with any of its bytes overwritten: attaching refuses it by a named code or attaches,
 * and then every call returns, reads nothing outside the mapping and resolves within the tables.
 *
 * An input is a list of stores of 12 bytes: which object and how wide, where (24 bits), what.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>

#include "audit.h"
#include "class.h"
#include "layout.h"
#include "members.h"
#include "move.h"
#include "names.h"
#include "rules.h"
#include "segment.h"
#include "weir.h"

#define STORE_BYTES 12
#define SECOND 1000000000ull

static struct place place;
static struct segment segment;
static unsigned char *kept_rules;
static unsigned char *kept_state;

static void remove_objects(void)
{
	segment_remove(&place);
	rmdir(place.dir);
}

static void add_rule(enum row_kind kind, const char *text, enum window_kind window)
{
	const struct rule rule = {
		.kind = kind,
		.text = text,
		.terms = {.rate_micro = 10 * TERMS_MICRO,
			  .period_ns = SECOND,
			  .burst_micro = 10 * TERMS_MICRO,
			  .initial_micro = 10 * TERMS_MICRO,
			  .max_wait_ns = 60 * SECOND,
			  .shadow = kind == ROW_PATTERN,
			  .beside = {5 * TERMS_MICRO, SECOND, 5 * TERMS_MICRO},
			  .classes = {{class_number("batch"), 20 * CLASS_PERCENT | CLASS_SHARE}},
			  .window = {window ? SECOND : 0, window, 0},
			  .concurrency = kind == ROW_DEFAULT ? 0 : 3 + 1,
			  .max_hold_ns = kind == ROW_PATTERN ? SECOND : 0},
		.author = {ORIGIN_FILE, 0},
	};

	FUZZ_CHECK(rules_add(&segment, &rule) >= 0);
}

static void keep(void)
{
	kept_rules = malloc(segment.rules_bytes);
	kept_state = malloc(segment.state_bytes);
	FUZZ_CHECK(kept_rules && kept_state);
	memcpy(kept_rules, segment.rules, segment.rules_bytes);
	memcpy(kept_state, segment.state, segment.state_bytes);
}

static void prepare(void)
{
	static const struct segment_shape shape = {.rows = 6,
						   .names = 4,
						   .members = 4,
						   .clock = CLOCK_KIND_MANUAL,
						   .group = (gid_t)-1,
						   .permits = 16,
						   .waiters = 8};
	char folder[] = "/dev/shm/weir-fuzz-XXXXXX";

	FUZZ_CHECK(mkdtemp(folder));
	strcpy(place.name, "fuzz");
	strcpy(place.dir, folder);
	FUZZ_CHECK(segment_create(&segment, &place, &shape) == 0);
	add_rule(ROW_DEFAULT, "*", WINDOW_NONE);
	add_rule(ROW_EXACT, "x", WINDOW_NONE);
	add_rule(ROW_PATTERN, "p/*", WINDOW_NONE);
	add_rule(ROW_EXACT, "h", WINDOW_ALIGNED);
	add_rule(ROW_EXACT, "f", WINDOW_FIRST);
	FUZZ_CHECK(segment_reveal(&segment, &place) == 0);
	keep();
	atexit(remove_objects);
}

static void store(const uint8_t *edit)
{
	bool in_rules = edit[0] & 1;
	size_t width = edit[0] & 2 ? 8 : 4;
	size_t bytes = in_rules ? segment.rules_bytes : segment.state_bytes;
	size_t at = ((size_t)edit[1] << 16 | (size_t)edit[2] << 8 | edit[3]) % (bytes / width);
	unsigned char *object =
		in_rules ? (unsigned char *)segment.publisher : (unsigned char *)segment.state;

	memcpy(object + at * width, edit + 4, width);
}

static void use(struct weir *weir, const char *name)
{
	struct weir_level level = {.size = sizeof(level)};
	struct weir_reservation reservation;
	struct weir_endpoint *endpoint;
	struct weir_answer answer;
	char text[64];

	if (weir_endpoint(weir, name, &endpoint) < 0)
		return;
	weir_peek(endpoint, &level);
	weir_acquire(endpoint, 1, NULL);
	weir_acquire(endpoint, 0.3, &answer);
	if (weir_reserve(endpoint, 2, WEIR_FOREVER, &reservation, &answer) == WEIR_ADMIT)
		weir_settle(endpoint, &reservation, 3);
	if (weir_reserve(endpoint, 2, SECOND, &reservation, NULL) == WEIR_ADMIT)
		weir_cancel(endpoint, &reservation, NULL);
	weir_gate_close(endpoint, SECOND);
	weir_acquire(endpoint, 1, &answer);
	weir_gate_open(endpoint);
	weir_wait(endpoint, 1, 0, &answer);
	for (int field = 0; field < 3; field++)
		weir_field(endpoint, &answer, (enum weir_field)field, NULL, text, sizeof(text));
	weir_endpoint_close(endpoint);
}

/* Calls of a class, for what is there, and for several. */
static void use_more(struct weir *weir, const char *name)
{
	struct weir_want wants[] = {{.cost = 1, .class_name = "batch"}, {.cost = 0.7}};
	struct weir_endpoint *batch;
	struct weir_answer answer;
	uint64_t taken;

	if (weir_endpoint_class(weir, name, "batch", &batch) < 0)
		return;
	if (weir_endpoint(weir, "x", &wants[0].endpoint) == 0) {
		wants[1].endpoint = batch;
		weir_acquire_all(wants, 2, &answer);
		weir_wait_all(wants, 2, 0, NULL);
		weir_endpoint_close(wants[0].endpoint);
	}
	weir_acquire(batch, 1, NULL);
	weir_wait(batch, 1, 0, &answer);
	if (weir_acquire_up_to(batch, 0.5, 2, 8, &taken, &answer) == WEIR_ADMIT)
		FUZZ_CHECK(taken >= 2 && taken <= 8);
	weir_endpoint_close(batch);
}

/* Calls under way, and in line for that. */
static void use_permits(struct weir *weir, const char *name)
{
	struct weir_permits look = {.size = sizeof(look)};
	struct weir_endpoint *endpoint;
	struct weir_permit permits[2];
	struct weir_waiter waiter;
	struct weir_answer answer;
	uint32_t bell = 0;

	if (weir_endpoint(weir, name, &endpoint) < 0)
		return;
	for (int i = 0; i < 2; i++)
		if (weir_permit_take(endpoint, 0, &permits[i], &answer) == WEIR_ADMIT)
			weir_permit_release(endpoint, &permits[i]);
	if (weir_permit_queue(endpoint, &waiter) == 0) {
		if (weir_permit_poll(endpoint, &waiter, &permits[0], NULL) == WEIR_ADMIT)
			weir_permit_release(endpoint, &permits[0]);
		weir_permit_unqueue(endpoint, &waiter);
	}
	if (weir_enter(endpoint, 0.1, 0, &permits[0], &answer) == WEIR_ADMIT)
		weir_permit_release(endpoint, &permits[0]);
	weir_permit_listen(weir, &bell, 0);
	weir_permit_look(endpoint, &look);
	weir_endpoint_close(endpoint);
}

/* What a program does. */
static void draw(void)
{
	struct weir_options options = WEIR_OPTIONS_INIT;
	struct weir *weir;

	options.name = place.name;
	options.shm_dir = place.dir;
	if (weir_open(&weir, &options) < 0)
		return;
	use(weir, "x");
	use(weir, "p/1");
	use(weir, "h");
	use(weir, "f");
	use(weir, "other");
	use_more(weir, "p/1");
	use_more(weir, "other");
	use_permits(weir, "x");
	use_permits(weir, "p/1");
	weir_clock_now(weir);
	weir_close(weir);
}

/* What weirctl and the daemon's reaper do. */
static void look(void)
{
	struct segment found;

	if (segment_attach(&found, &place, SEGMENT_USE, (uid_t)-1) < 0)
		return;
	for (uint32_t i = 0; i < found.row_count; i++) {
		char text[LAYOUT_TEXT_BYTES];
		struct tally_sum sum;

		segment_text(found.rows[i].text, text);
		FUZZ_CHECK(strlen(text) < LAYOUT_TEXT_BYTES);
		move_tally(&found, i, i, &sum);
	}
	for (uint32_t i = 0; i < found.member_count; i++) {
		struct member_info info;

		members_look(&found, i, &info);
		FUZZ_CHECK(strlen(info.program) < LAYOUT_PROGRAM_BYTES);
		members_reap(&found, i);
	}
	for (int i = 0; i < 2; i++) {
		struct resolution resolution;

		if (names_resolve(&found, i ? "x" : "other", true, &resolution) < 0)
			continue;
		FUZZ_CHECK(resolution.row < found.row_count);
		FUZZ_CHECK(resolution.bucket < found.bucket_count);
	}
	audit_segment(&found, NULL, NULL);
	segment_detach(&found);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!kept_rules)
		prepare();
	for (; size >= STORE_BYTES; data += STORE_BYTES, size -= STORE_BYTES)
		store(data);
	draw();
	look();
	memcpy(segment.publisher, kept_rules, segment.rules_bytes);
	memcpy(segment.state, kept_state, segment.state_bytes);
	return 0;
}
