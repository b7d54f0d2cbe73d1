/* SPDX-License-Identifier: Apache-2.0
 *
 * Names and patterns: what matches, which rule goes first, and the insert-only table of names,
 * which never gives one name two slots however many claim at once.
 */
#include "segment_fixture.h"

#include <pthread.h>
#include <sched.h>

#define RACERS 4
#define RACED_NAMES 200

static void test_valid(void **state)
{
	static const char *const good[] = {"a", "api.github.com/repos/*", "POST x y", "*", "\xff"};
	static const char *const bad[] = {"", " a", "a ", "a\tb", "a\nb", "\x7f", "\x01"};
	char longest[WEIR_NAME_MAX + 2];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(names_valid(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(names_valid(bad[i]));
	memset(longest, 'n', sizeof(longest));
	longest[WEIR_NAME_MAX + 1] = '\0';
	assert_false(names_valid(longest));
	longest[WEIR_NAME_MAX] = '\0';
	assert_true(names_valid(longest));
}

static void test_match_table(void **state)
{
	static const struct {
		const char *pattern;
		const char *name;
		bool match;
	} rows[] = {
		{"*", "anything", true},
		{"*", "", true},
		{"", "", true},
		{"", "a", false},
		{"api.github.com", "api.github.com", true},
		{"api.github.com", "api.github.com/", false},
		{"api.github.com/*", "api.github.com/repos", true},
		{"api.github.com/*", "api.github.com/", true},
		{"api.github.com/*", "api.github.com", false},
		{"*.com", "a.com.com", true},
		{"*.com", "a.com.org", false},
		{"a*b*c", "abbbcbc", true},
		{"a*b*c", "acb", false},
		{"**", "x", true},
		{"a**b", "ab", true},
		{"POST */v1/*", "POST api.openai.com/v1/chat", true},
		{"POST */v1/*", "GET api.openai.com/v1/chat", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (names_match(rows[i].pattern, rows[i].name) != rows[i].match)
			fail_msg("\"%s\" and \"%s\"", rows[i].pattern, rows[i].name);
}

/* As the definition says it, without any care for time. */
static bool match_naive(const char *pattern, const char *name)
{
	if (*pattern == '*')
		return match_naive(pattern + 1, name) || (*name && match_naive(pattern, name + 1));
	if (*pattern == '\0' || *name == '\0')
		return *pattern == *name;
	return *pattern == *name && match_naive(pattern + 1, name + 1);
}

/* The index-th word over the letters, shorter words first; false: longer than `longest`. */
static bool word_at(unsigned index, const char *letters, unsigned longest, char *out)
{
	unsigned base = (unsigned)strlen(letters);
	unsigned words = 1;
	unsigned length = 0;

	while (index >= words) {
		index -= words;
		words *= base;
		if (++length > longest)
			return false;
	}
	for (unsigned i = 0; i < length; i++, index /= base)
		out[i] = letters[index % base];
	out[length] = '\0';
	return true;
}

static void test_match_exhaustive(void **state)
{
	char pattern[16];
	char name[16];
	unsigned pairs = 0;

	(void)state;
	for (unsigned p = 0; word_at(p, "ab*", 6, pattern); p++)
		for (unsigned n = 0; word_at(n, "ab", 6, name); n++, pairs++)
			if (names_match(pattern, name) != match_naive(pattern, name))
				fail_msg("\"%s\" and \"%s\"", pattern, name);
	print_message("%u pairs of pattern and name\n", pairs);
	assert_true(pairs > 100000);
}

/* Matching is not exponential: the naive matcher above would not come back from this. */
static void test_match_bounded(void **state)
{
	char pattern[WEIR_NAME_MAX + 1];
	char name[WEIR_NAME_MAX + 1];

	(void)state;
	for (int i = 0; i + 1 < WEIR_NAME_MAX; i += 2)
		memcpy(pattern + i, "*a", 2);
	pattern[WEIR_NAME_MAX - 1] = 'b';
	pattern[WEIR_NAME_MAX] = '\0';
	memset(name, 'a', WEIR_NAME_MAX);
	name[WEIR_NAME_MAX] = '\0';
	assert_false(names_match(pattern, name));
}

/* Every name that inner matches over letters that neither knows, too, is one that outer matches. */
static void covers_check(const char *outer, const char *inner)
{
	bool covers = names_covers(outer, inner);
	char name[16];
	bool counterexample = false;

	for (unsigned n = 0; !counterexample && word_at(n, "abc", 5, name); n++)
		counterexample = names_match(inner, name) && !names_match(outer, name);
	if (covers && counterexample)
		fail_msg("\"%s\" is said to cover \"%s\"", outer, inner);
	/* inner with a foreign letter for each `*` is at most five letters, so the other way too */
	if (!covers && !counterexample)
		fail_msg("\"%s\" is said not to cover \"%s\"", outer, inner);
}

static void test_covers(void **state)
{
	char outer[16];
	char inner[16];
	unsigned pairs = 0;

	(void)state;
	for (unsigned o = 0; word_at(o, "ab*", 4, outer); o++)
		for (unsigned i = 0; word_at(i, "ab*", 4, inner); i++, pairs++)
			covers_check(outer, inner);
	print_message("%u pairs of patterns\n", pairs);
	assert_true(pairs > 10000);
}

static void test_specificity(void **state)
{
	static const char *const best_first[] = {
		"abc/d*", "abc/*", "abc/*/*", "ab*", "a*b", "a*", "*a", "*", "**",
	};
	static const int ties[] = {0, 1, 2, 3, 4, 4, 5, 5, 6};

	(void)state;
	for (size_t i = 0; i < sizeof(ties) / sizeof(ties[0]); i++)
		for (size_t j = 0; j < sizeof(ties) / sizeof(ties[0]); j++) {
			int expected = (ties[i] > ties[j]) - (ties[i] < ties[j]);

			assert_int_equal(names_compare(names_specificity(best_first[i]),
						       names_specificity(best_first[j])),
					 expected);
		}
	assert_int_equal(names_specificity("abc/*/x*").literal_prefix, 4);
	assert_int_equal(names_specificity("abc/*/x*").wildcards, 2);
	assert_int_equal(names_specificity("abc").literal_prefix, 3);
	assert_int_equal(names_specificity("abc").wildcards, 0);
	assert_true(names_is_pattern("a*"));
	assert_false(names_is_pattern("a"));
}

static uint32_t row_of(const struct segment *segment, const char *name)
{
	int row = names_find_row(segment, name);

	assert_true(row >= 0);
	return (uint32_t)row;
}

static void test_resolution(void **state)
{
	struct scene scene;
	struct segment *segment = &scene.segment;
	struct resolution found;

	(void)state;
	scene_begin(&scene, &scene_shape);
	uint32_t wide = scene_add(segment, ROW_PATTERN, "api/*", 1, 1);
	uint32_t narrow = scene_add(segment, ROW_PATTERN, "api/v1/*", 1, 1);
	uint32_t starred = scene_add(segment, ROW_PATTERN, "api/*/x*", 1, 1);
	uint32_t exact = scene_add(segment, ROW_EXACT, "api/v1/users", 1, 1);

	assert_int_equal(row_of(segment, "other"), 0);
	assert_int_equal(row_of(segment, "api/v1/users"), exact);
	assert_int_equal(row_of(segment, "api/v1/posts"), narrow);
	assert_int_equal(row_of(segment, "api/v2/xa"), wide);
	assert_int_equal(names_find_row(segment, " bad"), WEIR_ENAME);
	assert_int_equal(names_exact_row(segment, "api/*"), wide);
	assert_int_equal(names_exact_row(segment, "*"), -1);
	assert_int_equal(names_default_row(segment), 0);

	/* each its own bucket; a pattern's names share the row's */
	assert_int_equal(names_resolve(segment, "api/v1/posts", true, &found), 0);
	assert_int_equal(found.bucket, narrow);
	assert_int_equal(names_resolve(segment, "other", true, &found), 0);
	assert_int_equal(found.row, 0);
	assert_in_range(found.bucket, segment->row_count,
			segment->row_count + segment->name_count - 1);

	rules_remove(segment, exact);
	assert_int_equal(row_of(segment, "api/v1/users"), narrow);
	rules_remove(segment, narrow);
	assert_int_equal(row_of(segment, "api/v1/users"), wide);
	rules_remove(segment, wide);
	assert_int_equal(row_of(segment, "api/v2/xa"), starred);
	rules_remove(segment, starred);
	assert_int_equal(row_of(segment, "api/v2/xa"), 0);
	rules_remove(segment, 0);
	assert_int_equal(names_find_row(segment, "api/v2/xa"), WEIR_EDAMAGED);
	scene_end(&scene);
}

static void test_file_order_breaks_ties(void **state)
{
	struct scene scene;
	struct rule first = scene_rule(ROW_PATTERN, "x*b", 1, 1);
	struct rule second = scene_rule(ROW_PATTERN, "x*", 1, 1);

	(void)state;
	scene_begin(&scene, &scene_shape);
	first.order = 7;
	second.order = 8;
	int64_t b = rules_add(&scene.segment, &second);
	int64_t a = rules_add(&scene.segment, &first);
	uint64_t generation = atomic_load(&scene.segment.rules->table_generation);

	assert_int_equal(row_of(&scene.segment, "x-b"), a);
	rules_set_order(&scene.segment, (uint32_t)a, 9);
	assert_int_equal(row_of(&scene.segment, "x-b"), b);
	assert_int_equal(atomic_load(&scene.segment.rules->table_generation), generation + 1);
	rules_set_order(&scene.segment, (uint32_t)a, 9); /* no change: nobody is disturbed */
	assert_int_equal(atomic_load(&scene.segment.rules->table_generation), generation + 1);
	scene_end(&scene);
}

static void test_table_full(void **state)
{
	struct segment_shape shape = scene_shape;
	struct scene scene;
	struct resolution found;
	uint32_t seen = 0;
	char name[16];

	(void)state;
	shape.names = 8;
	scene_begin(&scene, &shape);
	for (int i = 0; i < 8; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		assert_int_equal(names_resolve(&scene.segment, name, false, &found), WEIR_ENORULE);
		assert_int_equal(names_resolve(&scene.segment, name, true, &found), 0);
		assert_false(found.overflow);
		seen |= 1u << (found.bucket - scene.segment.row_count);
	}
	assert_int_equal(seen, 0xff);
	assert_int_equal(atomic_load(&scene.segment.state->names_refused), 0);
	for (uint64_t i = 1; i <= 3; i++) {
		snprintf(name, sizeof(name), "late%d", (int)i);
		assert_int_equal(names_resolve(&scene.segment, name, false, &found), WEIR_ENORULE);
		assert_int_equal(names_resolve(&scene.segment, name, true, &found), 0);
		assert_true(found.overflow);
		assert_int_equal(found.bucket, scene.segment.row_count + 8);
		assert_int_equal(atomic_load(&scene.segment.state->names_refused), i);
	}
	assert_int_equal(names_resolve(&scene.segment, "n3", true, &found), 0);
	assert_false(found.overflow);
	scene_end(&scene);
}

/* The hash is keyed: where a name lands cannot be told from outside. */
static void test_hash_is_keyed(void **state)
{
	struct segment_shape shape = scene_shape;
	struct scene scenes[2];
	unsigned same = 0;
	char name[16];

	(void)state;
	shape.names = 4096;
	for (int i = 0; i < 2; i++)
		scene_begin(&scenes[i], &shape);
	for (int i = 0; i < 32; i++) {
		struct resolution found[2];

		snprintf(name, sizeof(name), "n%d", i);
		for (int j = 0; j < 2; j++)
			assert_int_equal(names_resolve(&scenes[j].segment, name, true, &found[j]),
					 0);
		same += found[0].bucket == found[1].bucket;
	}
	assert_true(same < 8);
	for (int i = 0; i < 2; i++)
		scene_end(&scenes[i]);
}

/* A process killed between claiming a slot and writing its text: the next user of the name does. */
static void test_text_is_completed(void **state)
{
	struct scene scene;
	struct resolution found;
	char text[LAYOUT_TEXT_BYTES];

	(void)state;
	scene_begin(&scene, &scene_shape);
	assert_int_equal(names_resolve(&scene.segment, "half-written", true, &found), 0);
	struct name_row *slot = &scene.segment.names[found.bucket - scene.segment.row_count];

	for (size_t i = 4; i < LAYOUT_TEXT_BYTES; i++)
		atomic_store(&slot->text[i], 0);
	assert_int_equal(names_resolve(&scene.segment, "half-written", true, &found), 0);
	segment_text(slot->text, text);
	assert_string_equal(text, "half-written");
	scene_end(&scene);
}

/* ---- races ---- */

struct race {
	struct segment *segment;
	_Atomic uint32_t ready;
	_Atomic uint32_t go;
	uint32_t buckets[RACERS][RACED_NAMES];
};

struct racer {
	struct race *race;
	unsigned index;
};

/* Each claims all names, each in another order. */
static int race_claim(void *context)
{
	static const unsigned strides[RACERS] = {1, 3, 7, 9}; /* without a factor of 200 */
	const struct racer *racer = context;
	struct race *race = racer->race;
	char name[32];

	atomic_fetch_add(&race->ready, 1);
	while (!atomic_load(&race->go))
		sched_yield();
	for (unsigned i = 0; i < RACED_NAMES; i++) {
		unsigned pick = i * strides[racer->index] % RACED_NAMES;
		struct resolution found;

		snprintf(name, sizeof(name), "name-%u", pick);
		if (names_resolve(race->segment, name, true, &found) < 0 || found.overflow)
			return 1;
		race->buckets[racer->index][pick] = found.bucket;
	}
	return 0;
}

static void *race_thread(void *context)
{
	return (void *)(intptr_t)race_claim(context);
}

static void race_begin(struct scene *scene, struct race **race, struct racer racers[RACERS])
{
	struct segment_shape shape = scene_shape;

	shape.names = RACED_NAMES + 10; /* nearly full: long probe sequences that overlap */
	scene_begin(scene, &shape);
	*race = scene_shared(sizeof(**race));
	(*race)->segment = &scene->segment;
	for (unsigned i = 0; i < RACERS; i++)
		racers[i] = (struct racer){*race, i};
}

static void race_judge(struct scene *scene, struct race *race)
{
	unsigned used = 0;

	for (unsigned i = 0; i < RACED_NAMES; i++)
		for (unsigned r = 1; r < RACERS; r++)
			assert_int_equal(race->buckets[r][i], race->buckets[0][i]);
	for (uint32_t i = 0; i < scene->segment.name_count; i++)
		used += atomic_load(&scene->segment.names[i].hash) != 0;
	assert_int_equal(used, RACED_NAMES);
	munmap(race, sizeof(*race));
	scene_end(scene);
}

static void test_race_of_processes(void **state)
{
	(void)state;
	for (int round = 0; round < 20; round++) {
		struct racer racers[RACERS];
		struct scene scene;
		struct race *race;
		pid_t pids[RACERS];

		race_begin(&scene, &race, racers);
		for (unsigned i = 0; i < RACERS; i++)
			pids[i] = scene_child(race_claim, &racers[i]);
		assert_true(scene_until(&race->ready, RACERS));
		atomic_store(&race->go, 1);
		for (unsigned i = 0; i < RACERS; i++)
			assert_int_equal(scene_wait(pids[i]), 0);
		race_judge(&scene, race);
	}
}

static void test_race_of_threads(void **state)
{
	(void)state;
	for (int round = 0; round < 20; round++) {
		struct racer racers[RACERS];
		pthread_t threads[RACERS];
		struct scene scene;
		struct race *race;

		race_begin(&scene, &race, racers);
		for (unsigned i = 0; i < RACERS; i++)
			assert_int_equal(pthread_create(&threads[i], NULL, race_thread, &racers[i]),
					 0);
		assert_true(scene_until(&race->ready, RACERS));
		atomic_store(&race->go, 1);
		for (unsigned i = 0; i < RACERS; i++) {
			void *failed;

			pthread_join(threads[i], &failed);
			assert_null(failed);
		}
		race_judge(&scene, race);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_valid),
		cmocka_unit_test(test_match_table),
		cmocka_unit_test(test_match_exhaustive),
		cmocka_unit_test(test_match_bounded),
		cmocka_unit_test(test_covers),
		cmocka_unit_test(test_specificity),
		cmocka_unit_test(test_resolution),
		cmocka_unit_test(test_file_order_breaks_ties),
		cmocka_unit_test(test_table_full),
		cmocka_unit_test(test_hash_is_keyed),
		cmocka_unit_test(test_text_is_completed),
		cmocka_unit_test(test_race_of_processes),
		cmocka_unit_test(test_race_of_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
