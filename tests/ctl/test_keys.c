/* SPDX-License-Identifier: Apache-2.0
 *
 * A rule with a bucket for each key, as weirctl sees it, through a real weird: keys, show and reset
 * of one key and of all; over a reload with more keys, and with weird dead.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon_fixture.h"
#include "stage.h"
#include "weir.h"

#define RULES(keys)                                                                                \
	"[default]\nrate = 10/s\n[endpoint api]\nrate = 1/h\nburst = 10\n"                         \
	"[endpoint img/*]\nrate = 1/h\nburst = 4\n"                                                \
	"[each client/*]\nrate = 1/d\nburst = 5\nfold = ipv4/24 case\nkeys = " #keys "\n"

static struct outcome outcome;

/* A weird, weirctl's view of where it lives, and a program that draws. */
struct trio {
	struct fixture weird;
	struct stage stage;
	struct weir *weir;
	struct weir_endpoint *rule;
};

static int set_up(void **state)
{
	struct trio *trio = calloc(1, sizeof(*trio));
	struct place_hints hints = {.name = "test"};

	if (!trio)
		return -1;
	fixture_begin(&trio->weird);
	fixture_config(&trio->weird, RULES(8));
	hints.shm_dir = trio->weird.dir;
	snprintf(trio->stage.dir, sizeof(trio->stage.dir), "%s", trio->weird.dir);
	assert_int_equal(place_resolve(&trio->stage.place, &hints, PLACE_TO_ATTACH), 0);
	fixture_start(&trio->weird);
	trio->weir = fixture_open(&trio->weird);
	trio->rule = fixture_endpoint(trio->weir, "client/*");
	*state = trio;
	return 0;
}

static int tear_down(void **state)
{
	struct trio *trio = *state;

	weir_endpoint_close(trio->rule);
	weir_close(trio->weir);
	fixture_end(&trio->weird);
	free(trio);
	return 0;
}

#define DO(status, ...)                                                                            \
	do {                                                                                       \
		RUN(&trio->stage, &outcome, __VA_ARGS__);                                          \
		expect_status(&outcome, status);                                                   \
	} while (0)

/* Of so many calls as many pass as there are tokens. */
static void draw(struct trio *trio, const char *key, unsigned calls, unsigned pass)
{
	unsigned passed = 0;

	for (unsigned i = 0; i < calls; i++)
		passed += weir_acquire_key(trio->rule, key, strlen(key), 1, NULL) == WEIR_ADMIT;
	assert_int_equal(passed, pass);
}

static json_t *ask(struct trio *trio, const char *command, const char *key)
{
	if (key)
		DO(0, command, "client/*", key, "--json");
	else
		DO(0, command, "client/*", "--json");
	return parse_json(&outcome);
}

/* At one token a day nothing is minted meanwhile. */
static void expect_level(struct trio *trio, const char *key, double expected)
{
	json_t *root = ask(trio, "show", key);
	double found = json_number(root, "level");

	json_decref(root);
	if (found < expected || found > expected + 0.1)
		fail_msg("level of %s: %g, not %g", key, found, expected);
}

static void expect_refused(json_t *root, const char *key, int64_t refused, double level)
{
	json_t *row = find_object(json_object_get(root, "refused_keys"), "key", key);

	if (!row)
		fail_msg("%s is not among the refused", key);
	assert_int_equal(json_whole(row, "refused"), refused);
	assert_true(json_number(row, "level") >= level && json_number(row, "level") < level + 0.1);
}

/* ---- keys ---- */

static void test_keys(void **state)
{
	struct trio *trio = *state;
	json_t *root;

	draw(trio, "192.0.2.1", 3, 3);
	draw(trio, "192.0.2.77", 7, 2);
	draw(trio, "Alice", 6, 5);
	draw(trio, "odd\x01 key", 8, 5);
	draw(trio, "quiet", 2, 2);
	root = ask(trio, "keys", NULL);
	assert_string_equal(json_text(root, "name"), "client/*");
	assert_string_equal(json_text(root, "instance"), "test");
	assert_string_equal(json_text(root, "fold"), "ipv4/24 case");
	assert_int_equal(json_whole(root, "keys"), 8);
	assert_int_equal(json_whole(root, "slots"), 16);
	assert_int_equal(json_whole(root, "bytes"), 256);
	assert_int_equal(json_whole(root, "used"), 4);
	assert_int_equal(json_whole(root, "debts"), 4);
	assert_int_equal(json_whole(root, "waiting"), 0);
	assert_int_equal(json_whole(root, "inserted"), 4);
	assert_int_equal(json_whole(root, "evicted"), 0);
	assert_int_equal(json_array_size(json_object_get(root, "refused_keys")), 3);
	expect_refused(root, "192.0.2.0/24", 5, 0);
	expect_refused(root, "alice", 1, 0);
	expect_refused(root, "odd\\x01\\x20key", 3, 0);
	/* the most refused first */
	assert_string_equal(
		json_text(json_array_get(json_object_get(root, "refused_keys"), 0), "key"),
		"192.0.2.0/24");
	json_decref(root);
	DO(0, "keys", "client/*");
	expect_text(outcome.out, "8 keys in debt at once, 0.2 KiB");
	expect_text(outcome.out, "4 of 16 slots (25.0 %); 4 keys in debt, 0 with places in line");
	expect_text(outcome.out, "4 keys came; 0 in debt had to make room\n");
	expect_text(outcome.out, "192.0.2.0/24");
	expect_no_text(outcome.out, "quiet");
}

/* More keys in debt than there is room for: how many, and what would help. */
static void test_evictions(void **state)
{
	struct trio *trio = *state;
	char key[16];
	json_t *root;

	for (unsigned i = 0; i < 20; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		draw(trio, key, 2, 2);
	}
	root = ask(trio, "keys", NULL);
	assert_int_equal(json_whole(root, "debts"), 16);
	assert_int_equal(json_whole(root, "evicted"), 4);
	json_decref(root);
	DO(0, "keys", "client/*");
	expect_text(outcome.out, "20 keys came; 4 in debt had to make room: raise `keys` in");
}

/* Places in line are debts beyond the burst. */
static void test_waiting(void **state)
{
	struct trio *trio = *state;
	struct weir_endpoint *name = fixture_endpoint(trio->weir, "client/late");
	struct weir_reservation place;
	json_t *root;

	draw(trio, "late", 5, 5);
	assert_int_equal(weir_reserve(name, 2, WEIR_FOREVER, &place, NULL), WEIR_ADMIT);
	root = ask(trio, "keys", NULL);
	assert_int_equal(json_whole(root, "waiting"), 1);
	json_decref(root);
	DO(0, "show", "client/*", "late");
	expect_text(outcome.out, "2 tokens ahead; the last in line passes in 2 d");
	weir_endpoint_close(name);
}

/* ---- show and reset ---- */

static void test_show(void **state)
{
	struct trio *trio = *state;

	draw(trio, "Alice", 2, 2);
	expect_level(trio, "alice", 3);
	expect_level(trio, "ALICE", 3);
	expect_level(trio, "bob", 5);
	/* by the whole name it is the same */
	DO(0, "show", "client/alice", "--json");
	json_t *root = parse_json(&outcome);

	assert_true(json_number(root, "level") >= 3 && json_number(root, "level") < 3.1);
	json_decref(root);
	DO(0, "show", "client/*", "bob");
	expect_text(outcome.out, "the key is full, and takes no room");
	DO(0, "show", "client/*");
	expect_text(outcome.out, "what a key has that nobody uses: see weirctl keys");
}

static void test_reset(void **state)
{
	struct trio *trio = *state;

	draw(trio, "alice", 5, 5);
	draw(trio, "bob", 4, 4);
	draw(trio, "carol", 3, 3);
	DO(0, "reset", "client/*", "Alice");
	expect_level(trio, "alice", 5);
	expect_level(trio, "bob", 1);
	draw(trio, "alice", 9, 5);
	/* the pattern alone is all of its keys */
	DO(0, "reset", "client/*");
	expect_level(trio, "alice", 5);
	expect_level(trio, "bob", 5);
	expect_level(trio, "carol", 5);
	/* one that nobody has used is full already */
	DO(0, "reset", "client/*", "nobody");
	expect_level(trio, "nobody", 5);
}

/* The rule changes under its keys: what each has used stays used, or its level does. */
static void test_set(void **state)
{
	struct trio *trio = *state;

	draw(trio, "alice", 3, 3);
	draw(trio, "bob", 5, 5);
	DO(0, "set", "client/*", "burst=8");
	expect_text(outcome.out, "each client/*: burst 5 -> 8");
	expect_level(trio, "alice", 5);
	expect_level(trio, "bob", 3);
	DO(0, "set", "client/*", "burst=20", "--keep", "level");
	expect_level(trio, "alice", 5);
	expect_level(trio, "carol", 20);
	DO(2, "set", "client/*", "concurrency=3");
	expect_text(outcome.err, "the calls of a key that are under way are not counted");
	expect_level(trio, "alice", 5);
}

/* Rules stand in the order of the file, and below [default] what falls under it. */
static void test_list(void **state)
{
	struct trio *trio = *state;
	const char *each, *fallback;

	DO(0, "list", "--names");
	assert_string_equal(outcome.out, "api\nimg/*\nclient/*\n*\n");
	DO(0, "list");
	each = strstr(outcome.out, "\nclient/*  ");
	fallback = strstr(outcome.out, "\n* (default)  ");
	assert_non_null(each);
	assert_non_null(fallback);
	assert_true(each < fallback);
	/* by one of its names it is the same rule */
	DO(0, "keys", "client/alice");
	expect_text(outcome.out, "rule        client/*\n");
	/* behind a closure each keeps what it has */
	draw(trio, "carol", 2, 2);
	DO(0, "close", "client/*", "--for", "1h");
	expect_level(trio, "carol", 3);
	expect_level(trio, "nobody", 5);
}

static void test_wrong(void **state)
{
	struct trio *trio = *state;
	char long_key[200];

	memset(long_key, 'x', sizeof(long_key) - 1);
	long_key[sizeof(long_key) - 1] = '\0';
	DO(2, "keys", "api");
	expect_text(outcome.err, "`api`: no rule of an [each]; it has one bucket");
	DO(2, "keys", "img/*");
	expect_text(outcome.err, "`img/*`: no rule of an [each]");
	DO(2, "keys", "no/*");
	DO(2, "show", "api", "key");
	expect_text(outcome.err, "before a key stands the pattern of an [each], with one *");
	DO(2, "reset", "api", "key");
	expect_text(outcome.err, "before a key stands the pattern of an [each], with one *");
	DO(2, "show", "client/*", long_key);
	expect_text(outcome.err, "with this key for the *, ");
	DO(2, "reset", "client/*", "a\nb");
	expect_text(outcome.err, "with this key for the *, ");
}

/* ---- what happens to weird ---- */

/* A reload takes the keys along, and what is asked of them goes on. */
static void test_reload(void **state)
{
	struct trio *trio = *state;
	json_t *root;

	draw(trio, "alice", 4, 4);
	draw(trio, "bob", 7, 5);
	fixture_config(&trio->weird, RULES(64));
	DO(0, "reload");
	expect_level(trio, "alice", 1);
	root = ask(trio, "keys", NULL);
	assert_int_equal(json_whole(root, "keys"), 64);
	assert_int_equal(json_whole(root, "slots"), 96);
	assert_int_equal(json_whole(root, "debts"), 2);
	assert_int_equal(json_whole(root, "evicted"), 0);
	json_decref(root);
	draw(trio, "alice", 2, 1);
	draw(trio, "bob", 1, 0);
	draw(trio, "new", 6, 5);
}

static void test_weird_is_dead(void **state)
{
	struct trio *trio = *state;
	json_t *root;

	draw(trio, "alice", 9, 5);
	assert_int_equal(fixture_stop(&trio->weird, SIGKILL), 256 + SIGKILL);
	root = ask(trio, "keys", NULL);
	expect_refused(root, "alice", 4, 0);
	json_decref(root);
	draw(trio, "bob", 3, 3);
	expect_level(trio, "bob", 2);
	DO(2, "reset", "client/*", "bob");
	expect_level(trio, "bob", 2);
	fixture_start(&trio->weird);
	expect_level(trio, "alice", 0);
	DO(0, "reset", "client/*", "bob");
	expect_level(trio, "bob", 5);
}

#define KEYS_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		KEYS_TEST(test_keys),	       KEYS_TEST(test_evictions), KEYS_TEST(test_waiting),
		KEYS_TEST(test_show),	       KEYS_TEST(test_reset),	  KEYS_TEST(test_set),
		KEYS_TEST(test_list),	       KEYS_TEST(test_wrong),	  KEYS_TEST(test_reload),
		KEYS_TEST(test_weird_is_dead),
	};

	return cmocka_run_group_tests_name("weirctl keys", tests, NULL, NULL);
}
