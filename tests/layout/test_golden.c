/* SPDX-License-Identifier: Apache-2.0
 *
 * The segment image of layout 3: two objects with known contents, as the words that are not
 * zero. Today's code attaches to these bytes and finds what was put there. When the layout changes
 * on purpose, LAYOUT_VERSION is raised, this image is refused as older, and a new one is made:
 *
 *	layout_golden write FOLDER
 *
 * Only what belongs to the machine is patched: the boot's identity.
 */
#include "segment_fixture.h"

#include <inttypes.h>

#include "bucket.h"
#include "class.h"
#include "config.h"
#include "gate.h"
#include "handle.h"
#include "members.h"
#include "move.h"
#include "permit_chain.h"
#include "permits.h"

#define GOLDEN WEIR_SOURCE_DIR "/tests/layout/golden"

static const struct segment_shape golden_shape = {
	.rows = 11,
	.names = 8,
	.members = 4,
	.clock = CLOCK_KIND_MANUAL,
	.group = (gid_t)-1,
	.permits = 16,
	.waiters = 8,
};

/* ---- making it ---- */

static void dump(const char *folder, const char *object, const void *bytes, size_t count)
{
	char path[300];
	const unsigned char *at = bytes;

	snprintf(path, sizeof(path), "%s/golden.%s", folder, object);
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	fprintf(file, "# layout %u: offset and value of the words that are not 0\n",
		LAYOUT_VERSION);
	fprintf(file, "length %zu\n", count);
	for (size_t i = 0; i < count; i += 8) {
		uint64_t word;

		memcpy(&word, at + i, sizeof(word));
		if (word)
			fprintf(file, "%zx %" PRIx64 "\n", i, word);
	}
	assert_int_equal(fclose(file), 0);
}

static const struct learned_terms golden_learned = {
	.rate_micro = 500000,
	.period_ns = SCENE_SECOND,
	.burst_micro = 40 * TERMS_MICRO,
	.until_ns = 3600 * SCENE_SECOND,
	.from_ns = SCENE_SECOND,
	.limit_micro = 500 * TERMS_MICRO,
	.remaining_micro = 20 * TERMS_MICRO,
	.cause = LEARNED_QUOTA | LEARNED_DISTRUSTS,
};

static const struct permit_found golden_found = {
	.min = 2,
	.max = 8,
	.limit = 4,
	.cause = FOUND_QUEUE,
	.latency_ns = 160000000,
	.base_ns = 100000000,
};

/* The contents that the tests below look for. */
static void fill(struct scene *scene)
{
	struct segment *segment = &scene->segment;
	struct terms hourly = scene_terms(5000, 100);
	const struct rule api = {.kind = ROW_EXACT, .text = "api.github.com", .terms = hourly};
	struct rule by_the_hour = api;
	struct rule pattern = {.kind = ROW_PATTERN, .text = "p/*", .terms = scene_terms(20, 60)};
	const struct terms_author operator_is = {ORIGIN_OPERATOR, 1000};
	struct terms changed = scene_terms(40, 80);

	by_the_hour.terms.period_ns = 3600 * SCENE_SECOND;
	scene_add(segment, ROW_DEFAULT, "*", 10, 10);	       /* row 0 */
	assert_int_equal(rules_add(segment, &by_the_hour), 1); /* row 1 */
	pattern.terms.beside =
		(struct shadow_terms){20 * TERMS_MICRO, SCENE_SECOND, 10 * TERMS_MICRO};
	assert_int_equal(rules_add(segment, &pattern), 2);
	assert_int_equal(scene_add(segment, ROW_EXACT, "gone", 1, 1), 3);
	rules_remove(segment, 3);
	assert_int_equal(scene_add(segment, ROW_EXACT, "closed", 1, 5), 4);
	changed.shadow = 1;
	changed.beside = pattern.terms.beside;
	assert_null(config_set_term(&changed, "class batch", "leave 2.5"));
	assert_null(config_set_term(&changed, "class background", "leave 20 %"));
	assert_null(config_finish_terms(&changed, true, true));
	assert_int_equal(rules_change(segment, 2, &changed, &operator_is, RULES_KEEP_USED), 2);
	for (int i = 0; i < 2; i++) {
		struct rule windows = {.kind = ROW_EXACT, .text = i ? "first" : "by the hour"};

		windows.terms = scene_terms(100, 100);
		windows.terms.period_ns = 3600 * SCENE_SECOND;
		windows.terms.window = (struct window_terms){3600 * SCENE_SECOND,
							     i ? WINDOW_FIRST : WINDOW_ALIGNED, 0};
		assert_int_equal(rules_add(segment, &windows), 5 + i);
	}

	struct rule permits = {.kind = ROW_EXACT, .text = "permits", .terms = scene_terms(9, 9)};

	permits.terms.concurrency = 6 + 1;
	permits.terms.max_hold_ns = 60 * SCENE_SECOND;
	assert_int_equal(rules_add(segment, &permits), 7);
	by_the_hour.text = "api.openai.com";
	assert_null(config_set_term(&by_the_hour.terms, "adaptive", "headers"));
	assert_null(config_set_term(&by_the_hour.terms, "min_rate", "60/h"));
	assert_null(config_set_term(&by_the_hour.terms, "safety", "0.8"));
	assert_null(config_set_term(&by_the_hour.terms, "max_close", "10min"));
	assert_null(config_set_term(&by_the_hour.terms, "profile", "openai"));
	assert_null(config_set_term(&by_the_hour.terms, "budget.tokens", "llm tokens"));
	assert_int_equal(rules_add(segment, &by_the_hour), 8);
	assert_int_equal(rules_learn(segment, 8, &golden_learned), 0);
	permits.text = "found";
	assert_null(config_set_term(&permits.terms, "concurrency", "auto 2..8"));
	assert_int_equal(rules_add(segment, &permits), 9);
	assert_int_equal(permit_found_store(segment, 9, &golden_found), 0);
	permit_found_count(segment, 9);
	assert_int_equal(segment_reveal(segment, &scene->place), 0);
}

static void use(struct scene *scene)
{
	static const struct {
		const char *name;
		double cost;
	} draws[] = {{"api.github.com", 30}, {"p/1", 7},  {"p/2", 8},	 {"other", 4},
		     {"closed", 1},	     {"p/2", 90}, {"first", 40}, {"by the hour", 40}};
	struct weir *weir = scene_open(&scene->place);

	for (size_t i = 0; i < sizeof(draws) / sizeof(draws[0]); i++) {
		struct weir_endpoint *endpoint = scene_endpoint(weir, draws[i].name);

		assert_int_equal(weir_acquire(endpoint, draws[i].cost, NULL), WEIR_ADMIT);
		if (i == 3)
			assert_int_equal(weir_acquire(endpoint, 7, NULL), WEIR_REFUSE);
		if (i == 4)
			assert_int_equal(weir_gate_close(endpoint, 30 * SCENE_SECOND), 0);
		weir_endpoint_close(endpoint);
	}

	/* five are held, one was given back, and somebody is in line */
	struct weir_endpoint *endpoint = scene_endpoint(weir, "permits");
	struct weir_permit permit[6];
	struct weir_waiter place;

	for (size_t i = 0; i < 6; i++)
		assert_int_equal(weir_permit_take(endpoint, 0, &permit[i], NULL), WEIR_ADMIT);
	assert_int_equal(weir_permit_queue(endpoint, &place), 0);
	assert_int_equal(weir_permit_release(endpoint, &permit[2]), 0);
	weir_endpoint_close(endpoint);
	endpoint = scene_endpoint(weir, "found");
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(weir_permit_take(endpoint, 0, &permit[i], NULL), WEIR_ADMIT);
	assert_int_equal(weir_permit_release(endpoint, &permit[0]), 0);
	assert_int_equal(weir_permit_fail(endpoint, &permit[1]), 0);
	/* not closed: a member that is dead is part of the image */
}

static int write_golden(void *context)
{
	const char *folder = context;
	struct scene scene;

	scene_place(&scene.place);
	assert_int_equal(segment_create(&scene.segment, &scene.place, &golden_shape), 0);
	fill(&scene);
	time_source_advance(&scene.segment.time, SCENE_SECOND);
	use(&scene);
	dump(folder, "rules", scene.segment.rules, scene.segment.rules_bytes);
	dump(folder, "state", scene.segment.state, scene.segment.state_bytes);
	scene_end(&scene);
	return 0;
}

/* ---- bringing it back ---- */

static void load(const struct place *place, const char *object)
{
	char path[PLACE_PATH_BYTES];
	char line[200];
	unsigned char *bytes = NULL;
	size_t length = 0;
	size_t at;
	uint64_t word;
	FILE *file;

	snprintf(path, sizeof(path), "%s.%s", GOLDEN, object);
	file = fopen(path, "re");
	if (!file)
		fail_msg("cannot read %s", path);
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "length %zu", &length) == 1)
			bytes = calloc(1, length);
		else if (sscanf(line, "%zx %" SCNx64, &at, &word) == 2 && at + 8 <= length)
			memcpy(bytes + at, &word, sizeof(word));
	}
	fclose(file);
	assert_non_null(bytes);
	place_path(place, object, path);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, length), length);
	close(fd);
	free(bytes);
}

/* The boot's identity is this machine's: taken from a pair of today. */
static void patch_boot(const struct place *place)
{
	struct segment today;
	char path[PLACE_PATH_BYTES];
	uint64_t boot[2];

	assert_int_equal(segment_create_private(&today, &golden_shape), 0);
	for (int i = 0; i < 2; i++)
		boot[i] = atomic_load(&today.rules->boot[i]);
	segment_detach(&today);
	place_path(place, "rules", path);
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, boot, sizeof(boot), offsetof(struct rules_header, boot)),
			 sizeof(boot));
	close(fd);
}

static void golden_begin(struct scene *scene)
{
	scene_place(&scene->place);
	load(&scene->place, "rules");
	load(&scene->place, "state");
	patch_boot(&scene->place);
	int status = segment_attach(&scene->segment, &scene->place, SEGMENT_PUBLISH, (uid_t)-1);

	if (status < 0)
		fail_msg("the image: %s", weir_strerror(status));
}

/* ---- looking ---- */

static void test_header(void **state)
{
	struct scene scene;

	(void)state;
	golden_begin(&scene);
	assert_int_equal(scene.segment.row_count, 11);
	assert_int_equal(scene.segment.name_count, 8);
	assert_int_equal(scene.segment.member_count, 4);
	assert_int_equal(scene.segment.time.kind, CLOCK_KIND_MANUAL);
	assert_int_equal(segment_now_ns(&scene.segment), 2 * SCENE_SECOND);
	assert_int_equal(atomic_load(&scene.segment.rules->rows_used), 10);
	scene_end(&scene);
}

static void test_rules(void **state)
{
	static const struct {
		const char *name;
		int row;
	} rows[] = {{"other", 0}, {"api.github.com", 1}, {"p/x", 2}, {"gone", 0}, {"closed", 4}};
	struct scene scene;
	struct terms_author author;
	struct terms terms;
	uint64_t changed_ns;

	(void)state;
	golden_begin(&scene);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(names_find_row(&scene.segment, rows[i].name), rows[i].row);
	assert_int_equal(atomic_load(&scene.segment.rows[3].state), ROW_GONE);
	segment_terms(&scene.segment, 1, &terms, &author, &changed_ns);
	assert_int_equal(terms.rate_micro, 5000 * TERMS_MICRO);
	assert_int_equal(terms.period_ns, 3600 * SCENE_SECOND);
	assert_int_equal(terms.burst_micro, 100 * TERMS_MICRO);
	assert_int_equal(author.origin, ORIGIN_FILE);
	segment_terms(&scene.segment, 2, &terms, &author, &changed_ns);
	assert_int_equal(terms.rate_micro, 40 * TERMS_MICRO);
	assert_int_equal(author.origin, ORIGIN_OPERATOR);
	assert_int_equal(author.uid, 1000);
	assert_int_equal(terms.shadow, 1);
	assert_int_equal(terms.beside.rate_micro, 20 * TERMS_MICRO);
	assert_int_equal(terms.beside.period_ns, SCENE_SECOND);
	assert_int_equal(terms.beside.burst_micro, 10 * TERMS_MICRO);
	assert_int_equal(terms.classes[0].name, class_number("background"));
	assert_int_equal(terms.classes[0].leave, 20 * CLASS_PERCENT | CLASS_SHARE);
	assert_int_equal(terms.classes[1].name, class_number("batch"));
	assert_int_equal(terms.classes[1].leave, 2500000);
	segment_terms(&scene.segment, 6, &terms, &author, &changed_ns);
	assert_int_equal(terms.window.kind, WINDOW_FIRST);
	assert_int_equal(terms.window.length_ns, 3600 * SCENE_SECOND);
	scene_end(&scene);
}

/* How an upstream is followed and what was learned, beside the terms, which are all there. */
static void test_follow(void **state)
{
	struct scene scene;
	struct terms_author author;
	struct terms terms;
	uint64_t changed_ns;
	struct line line;

	(void)state;
	golden_begin(&scene);
	segment_terms(&scene.segment, 8, &terms, &author, &changed_ns);
	assert_int_equal(terms.rate_micro, 5000 * TERMS_MICRO);
	assert_int_equal(terms.burst_micro, 100 * TERMS_MICRO);
	assert_int_equal(terms.adapt.mode, ADAPT_HEADERS);
	assert_int_equal(terms.adapt.min_rate_micro, 60 * TERMS_MICRO);
	assert_int_equal(terms.adapt.min_period_ns, 3600 * SCENE_SECOND);
	assert_int_equal(terms.adapt.safety_micro, 800000);
	assert_int_equal(terms.adapt.max_close_ns, 600 * SCENE_SECOND);
	assert_string_equal(terms.adapt.text, "profile openai\nbudget.tokens llm tokens\n");
	assert_memory_equal(&terms.learned, &golden_learned, sizeof(golden_learned));
	line_read(&scene.segment.rows[8], &scene.segment.time, &line);
	assert_int_equal(line.burst_units, 40ull << line.k);
	scene_end(&scene);
}

struct expectation {
	const char *name;
	double level;
	double burst;
	double rate_per_s;
	uint64_t granted;
	uint64_t refused;
	double level_later; /* 0.1 s later */
};

static void test_levels(void **state)
{
	static const struct expectation rows[] = {
		{"api.github.com", 70, 100, 5000 / 3600.0, 1, 0, 70 + 500 / 3600.0},
		{"p/1", 65, 80, 40, 3, 0, 69},
		{"other", 6, 10, 10, 1, 1, 7},
		{"never used", 10, 10, 10, 0, 0, 10},
		{"by the hour", 60, 100, 100 / 3600.0, 1, 0, 60},
		{"first", 60, 100, 100 / 3600.0, 1, 0, 60},
	};
	struct scene scene;

	(void)state;
	golden_begin(&scene);
	struct weir *weir = scene_open(&scene.place);

	assert_non_null(weir);
	for (int later = 0; later < 2; later++) {
		for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
			struct weir_endpoint *endpoint = scene_endpoint(weir, rows[i].name);
			struct weir_level level = {.size = sizeof(level)};

			assert_int_equal(weir_peek(endpoint, &level), 0);
			/* a unit of the slowest rule is coarser than what assert_near() forgives */
			assert_in_range(
				(uint64_t)((level.level + 1e-6) * 1000),
				(uint64_t)((later ? rows[i].level_later : rows[i].level) * 1000),
				(uint64_t)((later ? rows[i].level_later : rows[i].level) * 1000) +
					1);
			assert_near(level.burst, rows[i].burst);
			assert_near(level.rate_per_s, rows[i].rate_per_s);
			assert_int_equal(level.granted, rows[i].granted);
			assert_int_equal(level.refused, rows[i].refused);
			weir_endpoint_close(endpoint);
		}
		time_source_advance(&scene.segment.time, SCENE_SECOND / 10);
	}
	weir_close(weir);
	scene_end(&scene);
}

/* When the windows of the image end. */
static void test_windows(void **state)
{
	struct scene scene;
	struct weir_level level = {.size = sizeof(level)};

	(void)state;
	golden_begin(&scene);
	struct weir *weir = scene_open(&scene.place);
	struct weir_endpoint *hour = scene_endpoint(weir, "by the hour");
	struct weir_endpoint *first = scene_endpoint(weir, "first");

	/* by the calendar of the manual clock, at 1 h; the other began at 2 s */
	assert_int_equal(weir_peek(hour, &level), 0);
	assert_int_equal(level.renews_ns, 3598 * SCENE_SECOND);
	assert_int_equal(weir_peek(first, &level), 0);
	assert_in_range(level.renews_ns, 3600 * SCENE_SECOND - 3433228, 3600 * SCENE_SECOND);
	time_source_advance(&scene.segment.time, 3598 * SCENE_SECOND);
	assert_int_equal(weir_acquire(hour, 100, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire(first, 61, NULL), WEIR_REFUSE);
	time_source_advance(&scene.segment.time, 2 * SCENE_SECOND);
	assert_int_equal(weir_acquire(first, 100, NULL), WEIR_ADMIT);
	weir_endpoint_close(hour);
	weir_endpoint_close(first);
	weir_close(weir);
	scene_end(&scene);
}

static void test_gate(void **state)
{
	struct scene scene;
	struct weir_answer answer;

	(void)state;
	golden_begin(&scene);
	struct weir *weir = scene_open(&scene.place);
	struct weir_endpoint *endpoint = scene_endpoint(weir, "closed");

	assert_int_equal(weir_acquire(endpoint, 1, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_CLOSED);
	/* it opens after 30 seconds, empty, at a token a second */
	assert_in_range(answer.wait_ns, 31 * SCENE_SECOND, 31 * SCENE_SECOND + 65536);
	time_source_advance(&scene.segment.time, 31 * SCENE_SECOND);
	assert_int_equal(weir_acquire(endpoint, 0.99, &answer), WEIR_ADMIT);
	assert_int_equal(weir_acquire(endpoint, 0.99, &answer), WEIR_REFUSE);
	weir_endpoint_close(endpoint);
	weir_close(weir);
	scene_end(&scene);
}

static void test_members(void **state)
{
	struct member_info info;
	struct scene scene;

	(void)state;
	golden_begin(&scene);
	members_look(&scene.segment, 0, &info);
	assert_true(info.pid > 0);
	assert_true(info.start_ticks > 0);
	assert_int_equal(info.generation, 1);
	assert_memory_equal(info.program, "layout_golden", sizeof("layout_golden"));
	assert_true(members_reap(&scene.segment, 0));
	assert_false(members_reap(&scene.segment, 1));
	scene_end(&scene);
}

/* What the dead member held, and its place in line. */
static void test_permits(void **state)
{
	struct scene scene;
	struct permit_sum sum;
	struct weir_permit permit;

	(void)state;
	golden_begin(&scene);
	assert_int_equal(permits_look(&scene.segment, &scene.segment.rows[7], &sum, NULL, NULL), 0);
	assert_int_equal(sum.limit, 6);
	assert_int_equal(sum.held, 5);
	assert_int_equal(sum.free, 1);
	assert_int_equal(sum.waiting, 1);
	assert_int_equal(sum.hold_ns, 60 * SCENE_SECOND);
	struct weir *weir = scene_open(&scene.place);
	struct weir_endpoint *endpoint = scene_endpoint(weir, "permits");

	/* who finds the dead one in line gets all back that it held */
	assert_int_equal(weir_permit_take(endpoint, 0, &permit, NULL), WEIR_ADMIT);
	assert_int_equal(permits_look(&scene.segment, &scene.segment.rows[7], &sum, NULL, NULL), 0);
	assert_int_equal(sum.held, 1);
	assert_int_equal(sum.waiting, 0);
	weir_endpoint_close(endpoint);
	weir_close(weir);
	scene_end(&scene);
}

/* The names' slots are found again: the hash is the same, with the key of the image. */
static void test_names(void **state)
{
	struct scene scene;
	struct resolution found;
	char text[LAYOUT_TEXT_BYTES];

	(void)state;
	golden_begin(&scene);
	assert_int_equal(names_resolve(&scene.segment, "other", false, &found), 0);
	segment_text(scene.segment.names[found.bucket - 11].text, text);
	assert_string_equal(text, "other");
	assert_int_equal(names_resolve(&scene.segment, "never used", false, &found), WEIR_ENORULE);
	scene_end(&scene);
}

/* The call that the limit would have refused, and the two that the shadow limit would have. */
static void test_shadows(void **state)
{
	struct scene scene;
	struct weir_answer answer;
	struct weir_level level = {.size = sizeof(level)};

	(void)state;
	golden_begin(&scene);
	struct weir *weir = scene_open(&scene.place);
	struct weir_endpoint *endpoint = scene_endpoint(weir, "p/1");
	struct weir_endpoint *background;

	assert_int_equal(weir_peek(endpoint, &level), 0);
	assert_int_equal(level.shadow_passed, 1);
	assert_int_equal(level.shadow_refused, 2);
	/* 10 - 7 are left by the shadow limit, and 65 - 16 for the class */
	assert_int_equal(weir_acquire(endpoint, 4, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, WEIR_REASON_LEVEL);
	assert_near((double)answer.shadow_wait_ns, 50000000);
	assert_int_equal(weir_endpoint_class(weir, "p/1", "background", &background), 0);
	assert_int_equal(weir_acquire(background, 46, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, WEIR_REASON_HEADROOM);
	weir_endpoint_close(background);
	weir_endpoint_close(endpoint);
	weir_close(weir);
	scene_end(&scene);
}

/* Today's publisher takes it over: changes, moves, replaces. */
static void test_adopted(void **state)
{
	const struct terms_author author = {ORIGIN_FILE, 0};
	const struct terms terms = scene_terms(1000000, 50);
	struct scene scene;
	struct segment next;

	(void)state;
	golden_begin(&scene);
	rules_recover(&scene.segment);
	assert_int_equal(rules_change(&scene.segment, 1, &terms, &author, RULES_KEEP_USED), 10);
	assert_int_equal(segment_create(&next, &scene.place, &golden_shape), 0);
	assert_int_equal(move_prepare(&scene.segment, &next, NULL), 0);
	assert_int_equal(segment_reveal(&next, &scene.place), 0);
	move_retire(&scene.segment);
	assert_int_equal(move_finish(&next, &scene.segment), 0);
	move_carry(&next, &scene.segment);

	struct weir *weir = scene_open(&scene.place);
	struct weir_endpoint *endpoint = scene_endpoint(weir, "api.github.com");
	struct weir_level level = {.size = sizeof(level)};

	assert_int_equal(weir_peek(endpoint, &level), 0);
	assert_near(level.level, 20);
	assert_int_equal(level.granted, 1);
	weir_endpoint_close(endpoint);
	weir_close(weir);
	segment_detach(&next);
	scene_end(&scene);
}

/* A limit that was found, why, and what its calls told. */
static void test_found(void **state)
{
	struct scene scene;
	struct permit_found found;
	struct permit_ends ends;

	(void)state;
	golden_begin(&scene);
	assert_true(permit_found_read(&scene.segment.rows[9], &found));
	assert_memory_equal(&found, &golden_found, sizeof(found));
	assert_false(permit_found_read(&scene.segment.rows[7], &found));
	permit_found_ends(&scene.segment, &scene.segment.rows[9], &ends);
	assert_int_equal(permit_ends_calls(ends.ended, 0), 2);
	assert_int_equal(permit_ends_calls(ends.failed, 0), 1);
	scene_end(&scene);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header),	cmocka_unit_test(test_rules),
		cmocka_unit_test(test_follow),	cmocka_unit_test(test_levels),
		cmocka_unit_test(test_gate),	cmocka_unit_test(test_members),
		cmocka_unit_test(test_names),	cmocka_unit_test(test_shadows),
		cmocka_unit_test(test_windows), cmocka_unit_test(test_adopted),
		cmocka_unit_test(test_permits), cmocka_unit_test(test_found),
	};

	if (argc == 3 && strcmp(argv[1], "write") == 0)
		return write_golden(argv[2]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
