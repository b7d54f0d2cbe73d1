/* SPDX-License-Identifier: Apache-2.0
 *
 * Ways of calls for keys that are seldom taken: what no key can be, keys that are longer than what
 * is folded at once, debts of keys that are forgotten by then, leftovers of the dead, rows that
 * changed in between, tables that are damaged or have no room.
 */
#include "keys_fixture.h"

#include <math.h>

#include "fold.h"
#include "key_tables.h"
#include "move.h"

enum { LONG = 3000 };

/* The one rule of an instance, with a bucket for each key of "c/"; both end with the test. */
static struct weir_endpoint *rule_of(void **state, const char *settings)
{
	char ini[200];

	snprintf(ini, sizeof(ini), "[each c/*]\n%s", settings);
	*state = open_rule(host(ini), "c/*");
	return *state;
}

static int close_rule(void **state)
{
	struct weir_endpoint *rule = *state;
	struct weir *weir = rule ? rule->weir : NULL;

	weir_endpoint_close(rule);
	weir_close(weir);
	return 0;
}

/* A pair with so many tables of a hundred keys each; the first is that of *rule. */
static uint32_t begin_tables(struct scene *scene, struct segment_shape *shape, uint32_t tables,
			     struct rule *rule)
{
	int64_t row;

	*shape = scene_shape;
	shape->tables = tables;
	shape->bins = tables * keyed_bins(100);
	rule->keys = 100;
	scene_begin(scene, shape);
	row = rules_add(&scene->segment, rule);
	assert_true(row >= 0);
	return (uint32_t)row;
}

/* ---- what is no key, or no cost ---- */

static void test_too_long(void **state)
{
	struct weir_endpoint *rule = rule_of(state, "rate = 0\nburst = 2\n");
	struct weir_level level = {.size = sizeof(level)};
	char *key = test_calloc(WEIR_KEY_MAX + 1, 1);
	struct weir_key_call calls[3] = {
		{.key = "a", .key_bytes = 1, .cost = 1},
		{.key = key, .key_bytes = WEIR_KEY_MAX + 1, .cost = 1},
		{.key = key, .key_bytes = WEIR_KEY_MAX, .cost = 1},
	};
	const struct weir_want wants[] = {
		{.endpoint = rule, .cost = 1, .key = "a", .key_bytes = 1},
		{.endpoint = rule, .cost = 1, .key = key, .key_bytes = WEIR_KEY_MAX + 1},
	};
	struct weir_answer answer;

	/* the others of a batch are decided all the same */
	assert_int_equal(weir_acquire_keys(rule, calls, 3), WEIR_EVALUE);
	assert_int_equal(calls[0].verdict, WEIR_ADMIT);
	assert_int_equal(calls[1].verdict, WEIR_REFUSE);
	assert_int_equal(calls[2].verdict, WEIR_ADMIT);
	assert_int_equal(weir_peek_key(rule, key, WEIR_KEY_MAX + 1, &level), WEIR_EVALUE);
	assert_int_equal(weir_return_key(rule, key, WEIR_KEY_MAX + 1, 1, NULL), WEIR_EVALUE);
	assert_int_equal(weir_reset_key(rule, key, WEIR_KEY_MAX + 1), WEIR_EVALUE);
	assert_int_equal(weir_acquire_all(wants, 2, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_EVALUE);
	assert_true(level_of(rule, "a") == 1);
	/* NULs to the last byte are a key as any */
	assert_int_equal(weir_peek_key(rule, key, WEIR_KEY_MAX, &level), 0);
	assert_true(level.level == 1);
	assert_int_equal(weir_return_key(rule, key, WEIR_KEY_MAX, 1, NULL), 0);
	assert_int_equal(weir_peek_key(rule, key, WEIR_KEY_MAX, &level), 0);
	assert_true(level.level == 2);
	assert_int_equal(weir_peek_key(rule, "", 0, &level), 0);
	assert_true(level.level == 2);
	test_free(key);
}

static void test_no_cost(void **state)
{
	struct weir_endpoint *rule = rule_of(state, "rate = 0\nburst = 2\n");
	struct weir_level level = {.size = sizeof(level)};
	double back = 7;

	assert_true(take(rule, "a", 2));
	assert_int_equal(weir_return_key(rule, "a", 1, 0, &back), WEIR_ECOST);
	assert_int_equal(weir_return_key(rule, "a", 1, INFINITY, &back), WEIR_ECOST);
	assert_int_equal(weir_return_key(rule, "a", 1, -1, &back), WEIR_ECOST);
	assert_true(back == 7);
	assert_true(level_of(rule, "a") == 0);
	/* of no key in particular: what one begins with */
	assert_int_equal(weir_peek(rule, &level), 0);
	assert_true(level.level == 2);
}

/* ---- long keys, folded ---- */

static void test_long_keys_are_folded(void **state)
{
	struct weir_endpoint *rule = rule_of(state, "rate = 0\nburst = 1\nfold = case\n");
	char upper[LONG], lower[LONG];

	memset(upper, 'A', sizeof(upper));
	memset(lower, 'a', sizeof(lower));
	/* within a piece, at its end, behind it, and far behind */
	for (size_t bytes = 511; bytes <= LONG; bytes += bytes < 514 ? 1 : 600) {
		assert_int_equal(weir_acquire_key(rule, upper, bytes, 1, NULL), WEIR_ADMIT);
		assert_int_equal(weir_acquire_key(rule, lower, bytes, 1, NULL), WEIR_REFUSE);
		lower[bytes - 1] = 'b';
		assert_int_equal(weir_acquire_key(rule, lower, bytes, 1, NULL), WEIR_ADMIT);
		lower[bytes - 1] = 'a';
	}
}

/* Networks that end within a byte; an IPv4 address is one, however it is written. */
static void test_networks_are_folded(void **state)
{
	struct weir_endpoint *rule =
		rule_of(state, "rate = 0\nburst = 1\nfold = ipv4/20 ipv6/52\n");

	assert_true(take(rule, "10.0.16.1", 1));
	assert_false(take(rule, "10.0.31.255", 1));
	assert_false(take(rule, "::ffff:10.0.20.4", 1));
	assert_true(take(rule, "10.0.32.1", 1));
	assert_true(take(rule, "2001:db8:0:1000::1", 1));
	assert_false(take(rule, "2001:db8:0:1fff::2", 1));
	assert_true(take(rule, "2001:db8:0:2000::1", 1));
}

/* The fold changes while it is used: keys are told apart by the new one from then on. */
static void test_fold_changes(void **state)
{
	struct rule rule = scene_rule(ROW_EACH, "c/*", 0, 1);
	struct weir_endpoint *endpoint;
	struct segment_shape shape;
	struct scene scene;
	struct weir *weir;
	uint32_t row, plain;

	(void)state;
	row = begin_tables(&scene, &shape, 1, &rule);
	plain = scene_add(&scene.segment, ROW_EXACT, "plain", 1, 1);
	weir = scene_open(&scene.place);
	endpoint = open_rule(weir, "c/*");
	assert_true(take(endpoint, "Alice", 1) && take(endpoint, "alice", 1));
	keys_set_fold(&scene.segment, row, FOLD_CASE);
	assert_int_equal(keys_fold(&scene.segment, row), FOLD_CASE);
	assert_true(take(endpoint, "BOB", 1));
	assert_false(take(endpoint, "bob", 1));
	assert_false(take(endpoint, "ALICE", 1));
	keys_set_fold(&scene.segment, plain, FOLD_CASE);
	assert_int_equal(keys_fold(&scene.segment, plain), 0);
	/* no more tables, and no room for one so large */
	rule.text = "d/*";
	assert_int_equal(rules_add(&scene.segment, &rule), WEIR_EROWS);
	weir_endpoint_close(endpoint);
	weir_close(weir);
	scene_end(&scene);
}

/* Whatever the number of keys, a changed rule is one row: nothing of the table is touched. */
static void test_change_costs_nothing(void **state)
{
	static const struct {
		const char *rate, *burst;
	} changes[] = {{"9/s", NULL}, {"2/h", NULL}, {NULL, "7"}, {"0", "3"}, {"unlimited", NULL}};
	struct weir_endpoint *rule = rule_of(state, "rate = 5/s\nburst = 4\nkeys = 20K\n");
	const struct keyed *table = &endpoint_binding(rule)->keyed;
	size_t bytes = 2 * table->half * sizeof(struct key_bin);
	void *before = test_malloc(bytes);

	for (unsigned i = 0; i < 20000; i++)
		assert_true(take(rule, name_key(i), 1 + i % 4));
	memcpy(before, table->bins, bytes);
	for (unsigned i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		assert_int_equal(weir_update(rule->weir, "c/*", changes[i].rate, changes[i].burst,
					     WEIR_KEEP_USED),
				 0);
		assert_memory_equal(table->bins, before, bytes);
	}
	/* and it is in force: of 4 tokens 3 were used */
	assert_int_equal(weir_update(rule->weir, "c/*", "0", "9", WEIR_KEEP_USED), 0);
	assert_true(level_of(rule, name_key(2)) == 6);
	test_free(before);
}

/* ---- who is forgotten by then, or left over ---- */

/* A debt that is found out late is the key's, though others have had its slot meanwhile. */
static void test_settled_late(void **state)
{
	struct weir_endpoint *rule = rule_of(state, "rate = 1/s\nburst = 4\nkeys = 8\n");
	struct weir_endpoint *name = open_rule(rule->weir, "c/late");
	struct weir_reservation place;

	assert_int_equal(weir_reserve(name, 1, 0, &place, NULL), WEIR_ADMIT);
	assert_int_equal(weir_clock_advance(rule->weir, 2 * WEIR_SECOND), 0);
	for (unsigned i = 0; i < 16; i++)
		assert_true(take(rule, name_key(i), 1));
	assert_int_equal(census(rule).evicted, 0);
	assert_int_equal(weir_clock_advance(rule->weir, 2 * WEIR_SECOND), 0);
	assert_int_equal(weir_settle(name, &place, 6), 0);
	assert_true(level_of(rule, "late") == -1);
	weir_endpoint_close(name);
}

/* What the killed have announced is counted, and goes before anybody's debt does. */
static void test_left_over(void **state)
{
	struct weir_endpoint *rule = rule_of(state, "rate = 0\nburst = 4\nkeys = 8\n");
	struct key_bin *bin = endpoint_binding(rule)->keyed.bins;

	atomic_store(&bin->slots[3].mark, 1);
	atomic_store(&bin->slots[3].key, 12345 | KEY_INSERTING);
	assert_int_equal(census(rule).inserting, 1);
	assert_int_equal(census(rule).used, 0);
	for (unsigned i = 0; i < 16; i++)
		assert_true(take(rule, name_key(i), 2));
	assert_int_equal(census(rule).inserting, 0);
	assert_int_equal(census(rule).evicted, 0);
	assert_int_equal(census(rule).debts, 16);
}

/* A call that was held up while the rule became unlimited inserts by what it has read. */
static void test_unlimited_meanwhile(void **state)
{
	struct weir_endpoint *rule = rule_of(state, "rate = 0\nburst = 4\nkeys = 8\n");
	const struct binding *binding = endpoint_binding(rule);
	struct key_seen seen = {NULL, 0, 0};
	struct bucket_windows out;
	struct line line;
	uint64_t now = line_read(binding->row, &binding->time, &line);
	struct keyed_want want = {
		.want = {.unit = 3ull << line.k, .least = 1, .most = 1, .limit = line.burst_units},
		.row = binding->row,
		.time = &binding->time,
	};

	assert_int_equal(weir_update(rule->weir, "c/*", "unlimited", NULL, WEIR_KEEP_USED), 0);
	assert_int_equal(keyed_take(&binding->keyed, 77, &seen, &line, now, &want, &out),
			 BUCKET_TAKEN);
	keyed_find(&binding->keyed, 77, &seen);
	assert_non_null(seen.slot);
	assert_int_equal(line_stand(&line, now, seen.mark).ahead, 3ull << line.k);
}

/* ---- tables ---- */

/* A rule that a newer pair has beside those of the old one brings no keys along. */
static void test_new_rule_in_a_newer_pair(void **state)
{
	struct segment_shape shape;
	struct rule rules[2] = {scene_rule(ROW_EACH, "c/*", 0, 5),
				scene_rule(ROW_EACH, "new/*", 0, 5)};
	struct weir_endpoint *old, *added;
	struct segment next;
	struct scene scene;
	struct weir *weir;

	(void)state;
	begin_tables(&scene, &shape, 2, &rules[0]);
	rules[1].keys = 100;
	weir = scene_open(&scene.place);
	old = open_rule(weir, "c/*");
	assert_true(take(old, "k", 3));
	assert_int_equal(segment_create(&next, &scene.place, &shape), 0);
	assert_int_equal(move_prepare(&scene.segment, &next, NULL), 0);
	assert_true(rules_add(&next, &rules[1]) >= 0);
	assert_int_equal(segment_reveal(&next, &scene.place), 0);
	move_retire(&scene.segment);
	added = open_rule(weir, "new/*");
	assert_true(take(added, "k", 1));
	assert_true(take(old, "k", 1));
	assert_int_equal(move_finish(&next, &scene.segment), 0);
	segment_forget_old(&scene.place);
	assert_true(level_of(added, "k") == 4);
	assert_true(level_of(old, "k") == 1);
	weir_endpoint_close(old);
	weir_endpoint_close(added);
	weir_close(weir);
	segment_detach(&next);
	scene_end(&scene);
}

/* All keys have moved, though the table is not retired: nobody inserts there, nor waits for ever.
 */
static void test_all_have_moved(void **state)
{
	struct weir_endpoint *rule = rule_of(state, "rate = 0\nburst = 4\nkeys = 8\n");
	const struct binding *binding = endpoint_binding(rule);
	struct key_seen seen = {NULL, 0, 0};
	struct bucket_windows out;
	struct line line;
	uint64_t now = line_read(binding->row, &binding->time, &line);
	const struct keyed_want want = {
		.want = {.unit = 1, .least = 1, .most = 1, .limit = line.burst_units}};
	uint64_t mark;

	for (unsigned i = 0; i < 16; i++) {
		const char *name = name_key(i);
		const struct ask ask = {.key = name, .key_bytes = strlen(name)};

		assert_true(take(rule, name, 1 + i % 4));
		assert_true(keyed_freeze(&binding->keyed, keys_of_ask(binding, &ask), &mark));
		assert_int_equal(line_stand(&line, now, mark).ahead, (1 + i % 4) << line.k);
	}
	assert_int_equal(keyed_take(&binding->keyed, 77, &seen, &line, now, &want, &out),
			 BUCKET_IS_FROZEN);
	assert_int_equal(census(rule).inserting, 0);
	assert_int_equal(census(rule).evicted, 0);
}

/* Whoever could write there: nothing beyond the bins is touched, and calls say what it is. */
static void test_damaged_table(void **state)
{
	struct rule rule = scene_rule(ROW_EACH, "c/*", 0, 1);
	struct weir_endpoint *endpoint;
	struct segment_shape shape;
	struct weir_answer answer;
	struct keyed_row *damaged;
	struct keyed table;
	struct scene scene;
	struct weir *weir;

	(void)state;
	uint32_t row = begin_tables(&scene, &shape, 1, &rule);

	damaged = (struct keyed_row *)(void *)((unsigned char *)scene.segment.publisher +
					       ((const unsigned char *)scene.segment.tables -
						(const unsigned char *)scene.segment.rules));
	for (unsigned i = 0; i < 4; i++) {
		static const uint64_t wrong[4][2] = {
			{0, 3}, {2, UINT64_MAX - 1}, {UINT64_MAX, 2}, {0, 0}};

		atomic_store(&damaged->first_bin, wrong[i][0]);
		atomic_store(&damaged->bins, wrong[i][1]);
		keys_of_row(&scene.segment, row, &table);
		assert_null(table.bins);
		assert_int_equal(audit_segment(&scene.segment, NULL, NULL), 1);
		weir = scene_open(&scene.place);
		endpoint = open_rule(weir, "c/*");
		assert_int_equal(weir_acquire_key(endpoint, "k", 1, 1, &answer), WEIR_REFUSE);
		assert_int_equal(answer.fault, WEIR_EKEY);
		weir_endpoint_close(endpoint);
		weir_close(weir);
	}
	scene_end(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_too_long, close_rule),
		cmocka_unit_test_teardown(test_no_cost, close_rule),
		cmocka_unit_test_teardown(test_long_keys_are_folded, close_rule),
		cmocka_unit_test_teardown(test_networks_are_folded, close_rule),
		cmocka_unit_test(test_fold_changes),
		cmocka_unit_test_teardown(test_change_costs_nothing, close_rule),
		cmocka_unit_test_teardown(test_settled_late, close_rule),
		cmocka_unit_test_teardown(test_left_over, close_rule),
		cmocka_unit_test_teardown(test_unlimited_meanwhile, close_rule),
		cmocka_unit_test(test_new_rule_in_a_newer_pair),
		cmocka_unit_test_teardown(test_all_have_moved, close_rule),
		cmocka_unit_test(test_damaged_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
