/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables of keys (lib/keyed.c): each key is held to a plain map of marks, by random calls on a
 * manual clock; what is forgotten, and when; and what moves to a larger table.
 */
#include "keys_fixture.h"

#include "fold.h"
#include "gate.h"
#include "key_tables.h"
#include "move.h"
#include "refused.h"
#include "thread_sanitizer.h"

/* ---- the map ---- */

enum {
	KEYS = 3000,
	CALLS = UNDER_SANITIZER ? 400000 : 2000000,
	BURST = 8,
};

struct map {
	struct weir *weir;
	struct weir_endpoint *rule;
	struct weir_endpoint *all; /* a plain bucket, for all keys together */
	uint64_t all_mark;
	uint64_t marks[KEYS];
	uint64_t granted[KEYS]; /* units, since `since` */
	uint64_t since[KEYS];	/* V */
	uint64_t random;
	unsigned refused;
	unsigned admitted;
	unsigned slept; /* waits, right to the nanosecond */
	unsigned both;	/* taken of a key and of the plain bucket at once */
	unsigned neither;
};

static uint64_t now_v(const struct map *map, struct line *line)
{
	const struct binding *binding = endpoint_binding(map->rule);
	uint64_t now = line_read(binding->row, &binding->time, line);

	return line_value(line, now);
}

static struct key_seen map_find(const struct map *map, const char *name)
{
	const struct binding *binding = endpoint_binding(map->rule);
	struct key_seen seen;

	keyed_find(&binding->keyed,
		   keys_of_ask(binding, &(struct ask){.key = name, .key_bytes = strlen(name)}),
		   &seen);
	return seen;
}

/* The key has taken so much, from a mark that `v` may have passed. */
static void map_granted(struct map *map, unsigned key, uint64_t units, uint64_t v,
			const struct line *line)
{
	map->marks[key] = bucket_base(map->marks[key], v) + units;
	map->granted[key] += units;
	assert_true(map->granted[key] <= line->burst_units + (v - map->since[key]));
}

/* I2: not a nanosecond earlier, and then. */
static void map_sleep(struct map *map, unsigned key, unsigned cost, uint64_t wait_ns)
{
	const char *name = name_key(key);
	struct line line;
	uint64_t v;

	assert_int_equal(weir_clock_advance(map->weir, wait_ns - 1), 0);
	assert_int_equal(weir_acquire_key(map->rule, name, strlen(name), cost, NULL), WEIR_REFUSE);
	assert_int_equal(weir_clock_advance(map->weir, 1), 0);
	v = now_v(map, &line);
	assert_int_equal(weir_acquire_key(map->rule, name, strlen(name), cost, NULL), WEIR_ADMIT);
	map_granted(map, key, (uint64_t)cost << line.k, v, &line);
	map->slept++;
}

static void map_take(struct map *map, unsigned key, unsigned cost)
{
	struct weir_answer answer;
	struct key_seen before, after;
	struct line line;
	uint64_t v = now_v(map, &line);
	uint64_t units = (uint64_t)cost << line.k;
	uint64_t base = bucket_base(map->marks[key], v);
	bool fits = base + units - v <= line.burst_units;
	const char *name = name_key(key);

	before = map_find(map, name);
	enum weir_verdict verdict = weir_acquire_key(map->rule, name, strlen(name), cost, &answer);

	assert_int_equal(verdict == WEIR_ADMIT, fits);
	assert_int_equal(answer.fault, 0);
	map->admitted += fits;
	map->refused += !fits;
	if (fits) {
		map_granted(map, key, units, v, &line);
		return;
	}
	/* I3: nothing was taken */
	after = map_find(map, name);
	assert_true(before.slot == after.slot && before.mark == after.mark);
	assert_true(answer.wait_ns > 0);
	if (answer.wait_ns < 20 * WEIR_MILLISECOND)
		map_sleep(map, key, cost, answer.wait_ns);
}

/* A key and the plain bucket, both or neither. */
static void map_take_both(struct map *map, unsigned key, unsigned cost)
{
	const char *name = name_key(key);
	const struct weir_want wants[] = {
		{.endpoint = map->rule, .cost = cost, .key = name, .key_bytes = strlen(name)},
		{.endpoint = map->all, .cost = 1},
	};
	const struct binding *binding = endpoint_binding(map->all);
	struct weir_level level = {.size = sizeof(level)};
	struct line line, all;
	uint64_t v = now_v(map, &line);
	uint64_t now = line_read(binding->row, &binding->time, &all);
	uint64_t all_v = line_value(&all, now);
	uint64_t units = (uint64_t)cost << line.k;
	uint64_t all_base = bucket_base(map->all_mark, all_v);
	bool fits = bucket_base(map->marks[key], v) + units - v <= line.burst_units &&
		    all_base + (1ull << all.k) - all_v <= all.burst_units;

	assert_int_equal(weir_acquire_all(wants, 2, NULL) == WEIR_ADMIT, fits);
	if (fits) {
		map_granted(map, key, units, v, &line);
		map->all_mark = all_base + (1ull << all.k);
	}
	map->both += fits;
	map->neither += !fits;
	assert_int_equal(weir_peek(map->all, &level), 0);
	all_base = bucket_base(map->all_mark, all_v);
	assert_true(level.level ==
		    (double)(all.burst_units - (all_base - all_v)) / (double)(1ull << all.k));
}

static void map_return(struct map *map, unsigned key, unsigned cost)
{
	struct line line;
	uint64_t v = now_v(map, &line);
	uint64_t units = (uint64_t)cost << line.k;
	uint64_t beyond = (int64_t)(map->marks[key] - v) > 0 ? map->marks[key] - v : 0;
	const char *name = name_key(key);
	double returned;

	/* who gives back more than he was granted lends it to the next interval */
	assert_int_equal(weir_return_key(map->rule, name, strlen(name), cost, &returned), 0);
	/* with a debt of more than the burst, left by a larger one, somebody may be waiting */
	units = beyond > line.burst_units ? 0 : units < beyond ? units : beyond;
	assert_true(returned == (double)units / (double)(1ull << line.k));
	map->marks[key] -= units;
	map->granted[key] = map->granted[key] > units ? map->granted[key] - units : 0;
}

static void map_look(const struct map *map, unsigned key)
{
	struct line line;
	uint64_t v = now_v(map, &line);
	uint64_t ahead = bucket_base(map->marks[key], v) - v;
	double level = (double)(int64_t)(line.burst_units - ahead) / (double)(1ull << line.k);

	assert_true(level_of(map->rule, name_key(key)) == level);
}

static void map_reset(struct map *map, unsigned key)
{
	const char *name = name_key(key);
	struct line line;

	assert_int_equal(weir_reset_key(map->rule, name, strlen(name)), 0);
	map->marks[key] = 0;
	map->granted[key] = 0;
	map->since[key] = now_v(map, &line);
}

/* Several keys at once, some of them twice. */
static void map_batch(struct map *map)
{
	struct weir_key_call calls[37];
	char names[37][24];
	unsigned keys[37];
	int64_t admitted = 0;
	struct line line;
	uint64_t v = now_v(map, &line);

	for (unsigned i = 0; i < 37; i++) {
		keys[i] = (unsigned)(scene_random(&map->random) % KEYS);
		if (i % 9 == 8)
			keys[i] = keys[i - 1];
		snprintf(names[i], sizeof(names[i]), "key %u", keys[i]);
		calls[i] = (struct weir_key_call){
			.key = names[i], .key_bytes = strlen(names[i]), .cost = 3, .verdict = 7};
	}
	int64_t count = weir_acquire_keys(map->rule, calls, 37);

	for (unsigned i = 0; i < 37; i++) {
		uint64_t base = bucket_base(map->marks[keys[i]], v);
		uint64_t units = 3ull << line.k;
		bool fits = base + units - v <= line.burst_units;

		assert_int_equal(calls[i].verdict, fits);
		assert_int_equal(calls[i].reason == WEIR_REASON_NONE, fits);
		admitted += fits;
		if (!fits)
			continue;
		map->marks[keys[i]] = base + units;
		map->granted[keys[i]] += units;
	}
	assert_int_equal(count, admitted);
}

static void map_change_rate(struct map *map)
{
	static const char *const rates[] = {"1/s", "50/s", "1000/s", "0", "7/min"};
	static const char *const bursts[] = {"8", "3", "20"};
	uint64_t random = scene_random(&map->random);

	assert_int_equal(weir_update(map->weir, "c/*", rates[random % 5], bursts[random / 5 % 3],
				     WEIR_KEEP_USED),
			 0);
	/* bursts of before are allowed still; the books begin anew */
	for (unsigned i = 0; i < KEYS; i++) {
		struct line line;

		map->granted[i] = 0;
		map->since[i] = now_v(map, &line);
	}
}

static void map_step(struct map *map)
{
	uint64_t random = scene_random(&map->random);
	unsigned key = (unsigned)(random >> 32) % KEYS;

	/* some keys are used far more than others */
	key = random >> 20 & 1 ? key % 50 : key;
	switch (random % 64) {
	case 0:
		map_look(map, key);
		return;
	case 1:
		map_return(map, key, 1 + (unsigned)(random >> 8) % 4);
		return;
	case 2:
		map_reset(map, key);
		return;
	case 3:
		map_batch(map);
		return;
	case 5:
	case 6:
		map_take_both(map, key, 1 + (unsigned)(random >> 8) % 3);
		map_look(map, key);
		return;
	case 4:
		assert_int_equal(weir_clock_advance(map->weir, random >> 8 & 0xffffff), 0);
		return;
	default:
		map_take(map, key, 1 + (unsigned)(random >> 8) % 3);
	}
}

static void test_map(void **state)
{
	static struct map map;

	(void)state;
	memset(&map, 0, sizeof(map));
	map.weir = host("[each c/*]\nrate = 50/s\nburst = 8\nkeys = 4000\n"
			"[endpoint all]\nrate = 100/s\nburst = 30\n");
	map.all = open_rule(map.weir, "all");
	map.rule = open_rule(map.weir, "c/*");
	map.random = 7;
	for (unsigned i = 0; i < CALLS; i++) {
		map_step(&map);
		if (i % 100000 == 99999)
			map_change_rate(&map);
	}
	printf("map: %u admitted, %u refused, %u waits slept; with a plain bucket %u and %u\n",
	       map.admitted, map.refused, map.slept, map.both, map.neither);
	assert_true(map.slept > CALLS / 1000 && map.both > CALLS / 1000 &&
		    map.neither > CALLS / 1000);
	assert_true(map.admitted > CALLS / 10 && map.refused > CALLS / 10);
	assert_int_equal(census(map.rule).evicted, 0);
	weir_endpoint_close(map.all);
	weir_endpoint_close(map.rule);
	weir_close(map.weir);
}

/* I2: sleeping exactly the reported wait makes the next call of the same size pass. */
static void test_wait_passes(void **state)
{
	struct weir *weir = host("[each c/*]\nrate = 7/min\nburst = 5\n");
	struct weir_endpoint *rule = open_rule(weir, "c/*");
	uint64_t random = 3;

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		unsigned cost = 1 + (unsigned)(scene_random(&random) % 5);
		const char *key = name_key((unsigned)(scene_random(&random) % 8));
		struct weir_answer answer;

		if (weir_acquire_key(rule, key, strlen(key), cost, &answer) == WEIR_ADMIT)
			continue;
		assert_int_equal(answer.reason, WEIR_REASON_LEVEL);
		assert_int_equal(weir_clock_advance(weir, answer.wait_ns), 0);
		assert_true(take(rule, key, cost));
	}
	weir_endpoint_close(rule);
	weir_close(weir);
}

/* ---- what is forgotten ---- */

/* Every slot holds a debt but one bucket, which is full: that one makes room, again and again. */
static void test_full_ones_make_room(void **state)
{
	struct weir *weir = host("[each c/*]\nrate = 1/s\nburst = 4\nkeys = 8\n");
	struct weir_endpoint *rule = open_rule(weir, "c/*");
	struct keyed_census before;

	(void)state;
	assert_int_equal(census(rule).slots, 16);
	for (unsigned i = 0; i < 15; i++)
		assert_true(take(rule, name_key(i), 3));
	for (unsigned i = 100; i < 1100; i++) {
		/* in debt for a moment, and full again: 0.000001 s mints what it took */
		assert_true(take(rule, name_key(i), 0.00001));
		assert_int_equal(weir_clock_advance(weir, WEIR_MILLISECOND), 0);
	}
	before = census(rule);
	assert_int_equal(before.evicted, 0);
	assert_int_equal(before.inserted, 1015);
	/* a second has passed: 3 were taken of 4, and 1 has been minted */
	for (unsigned i = 0; i < 15; i++)
		assert_true(level_of(rule, name_key(i)) < 2.01 &&
			    level_of(rule, name_key(i)) > 1.99);
	weir_endpoint_close(rule);
	weir_close(weir);
}

/* Where there is no other room the debt that is the least is forgotten, and counted. */
static void test_least_debt_goes(void **state)
{
	struct weir *weir = host("[each c/*]\nrate = 0\nburst = 20\nkeys = 8\n");
	struct weir_endpoint *rule = open_rule(weir, "c/*");
	unsigned full = 0;

	(void)state;
	for (unsigned i = 0; i < 16; i++)
		assert_true(take(rule, name_key(i), 2 + i));
	assert_int_equal(census(rule).evicted, 0);
	assert_int_equal(census(rule).debts, 16);
	assert_true(take(rule, "one more", 1));
	assert_int_equal(census(rule).evicted, 1);
	assert_true(level_of(rule, name_key(0)) == 20);
	for (unsigned i = 0; i < 16; i++)
		full += level_of(rule, name_key(i)) == 20;
	assert_int_equal(full, 1);
	/* it is the next one that goes, as its debt is the least now */
	assert_true(take(rule, "and one more", 1));
	assert_int_equal(census(rule).evicted, 2);
	assert_true(level_of(rule, "one more") == 20);
	weir_endpoint_close(rule);
	weir_close(weir);
}

/* Ten times as many new keys as there is room for: old debts stay as long as there is other room.
 */
static void flood(bool with_debts)
{
	struct weir *weir = host("[each c/*]\nrate = 100/s\nburst = 10\nkeys = 1000\n");
	struct weir_endpoint *rule = open_rule(weir, "c/*");
	unsigned debts = with_debts ? 500 : 0;

	for (unsigned i = 0; i < debts; i++)
		assert_true(take(rule, name_key(i), 10));
	for (unsigned i = 1000; i < 11000; i++) {
		assert_true(take(rule, name_key(i), 1));
		/* a burst of new keys, each of which is full again 10 ms later */
		if (i % 100 == 99)
			assert_int_equal(weir_clock_advance(weir, 10 * WEIR_MILLISECOND), 0);
		if (i == 1899)
			/* in the first 90 ms nobody who was in debt has been forgotten */
			for (unsigned key = 0; key < debts; key++)
				assert_false(take(rule, name_key(key), 10));
	}
	assert_int_equal(census(rule).evicted, 0);
	weir_endpoint_close(rule);
	weir_close(weir);
}

static void test_flood(void **state)
{
	(void)state;
	flood(false);
	flood(true);
}

/* As many keys in debt as the table was made for. */
static void test_capacity(void **state)
{
	struct weir *weir = host("[each c/*]\nrate = 0\nburst = 2\nkeys = 100K\n");
	struct weir_endpoint *rule = open_rule(weir, "c/*");
	struct keyed_census count;

	(void)state;
	for (unsigned i = 0; i < 100000; i++)
		assert_true(take(rule, name_key(i), 2));
	count = census(rule);
	assert_int_equal(count.evicted, 0);
	assert_int_equal(count.debts, 100000);
	assert_true(count.slots * sizeof(struct key_slot) <= 22 * 100000 + 256);
	for (unsigned i = 0; i < 100000; i++)
		assert_false(take(rule, name_key(i), 1));
	weir_endpoint_close(rule);
	weir_close(weir);
}

/* ---- keys of any kind ---- */

static void test_odd_keys(void **state)
{
	struct weir *weir = host("[each c/*]\nrate = 0\nburst = 1\n");
	struct weir_endpoint *rule = open_rule(weir, "c/*");
	char *long_key = test_malloc(WEIR_KEY_MAX + 1);
	struct weir_answer answer;

	(void)state;
	memset(long_key, 'x', WEIR_KEY_MAX + 1);
	/* none, a NUL, two of them, and one within */
	assert_int_equal(weir_acquire_key(rule, "", 0, 1, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire_key(rule, NULL, 0, 1, NULL), WEIR_REFUSE);
	assert_int_equal(weir_acquire_key(rule, "\0", 1, 1, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire_key(rule, "\0\0", 2, 1, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire_key(rule, "a\0b", 3, 1, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire_key(rule, "a\0c", 3, 1, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire_key(rule, "a\0b", 3, 1, NULL), WEIR_REFUSE);
	assert_int_equal(weir_acquire_key(rule, long_key, WEIR_KEY_MAX, 1, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire_key(rule, long_key, WEIR_KEY_MAX - 1, 1, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire_key(rule, long_key, WEIR_KEY_MAX, 1, NULL), WEIR_REFUSE);
	assert_int_equal(weir_acquire_key(rule, long_key, WEIR_KEY_MAX + 1, 1, &answer),
			 WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_EVALUE);
	/* no cost, and one that never passes */
	assert_int_equal(weir_acquire_key(rule, "k", 1, 0, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_ECOST);
	assert_int_equal(weir_acquire_key(rule, "k", 1, 2, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_EBURST);
	test_free(long_key);
	weir_endpoint_close(rule);
	weir_close(weir);
}

/* Puts the bucket of a key that nobody will ever ask for into a slot, empty as it can be. */
static void forge(const struct binding *binding, struct key_slot *slot, uint64_t key)
{
	struct line line;
	uint64_t now = line_read(binding->row, &binding->time, &line);

	atomic_store(&slot->mark, line_value(&line, now) + line.burst_units);
	atomic_store(&slot->key, key);
}

/* Three of a key, by each of the calls, and no more; a clock of the machine runs on meanwhile. */
static void take_three(struct weir_endpoint *rule, const char key[16])
{
	struct weir_key_call call = {.key = key, .key_bytes = 16, .cost = 1};
	struct weir_answer answer;

	assert_int_equal(weir_acquire_key(rule, key, 16, 1, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire_key(rule, key, 16, 1, &answer), WEIR_ADMIT);
	assert_true(answer.level >= 1 && answer.level < 1.1);
	assert_int_equal(weir_acquire_keys(rule, &call, 1), 1);
	assert_int_equal(weir_acquire_key(rule, key, 16, 1, NULL), WEIR_REFUSE);
	assert_int_equal(weir_acquire_key(rule, key, 16, 1, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_LEVEL);
	assert_int_equal(weir_acquire_keys(rule, &call, 1), 0);
}

/*
 * A glance goes by half of a key: where another has the same half and comes first, it is not
 * charged, and says nothing of the key that was meant. By the clock of tests and by the machine's
 * own, which each have their own way through a call.
 */
static void test_same_half(void **state)
{
	static const char key[17] = "sixteen bytes id";
	const enum weir_clock clocks[] = {WEIR_CLOCK_MANUAL, WEIR_CLOCK_BEST};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct weir *weir = host_by(clocks[i / 2], "[each k/*]\nrate = 1/d\nburst = 3\n");
		struct weir_endpoint *rule = open_rule(weir, "k/*");
		const struct binding *binding = endpoint_binding(rule);
		const struct keyed *table = &binding->keyed;
		uint64_t hash = keys_of_ask(binding, &(struct ask){.key = key, .key_bytes = 16});
		bool right = i % 2;
		struct line_pair home = keyed_home(table, hash);
		struct key_slot *lines[2] = {home.left, keyed_right_of(home)};
		struct key_slot *twin = &lines[right][0];
		uint64_t twins = hash ^ (right ? 1ull << 40 : 1);
		uint64_t mark;

		/* two in the other bin, so that the key comes behind its twin */
		forge(binding, twin, twins);
		forge(binding, &lines[!right][0], twins ^ 1ull << 20 ^ 1ull << 50);
		forge(binding, &lines[!right][1], twins ^ 1ull << 21 ^ 1ull << 51);
		mark = atomic_load(&twin->mark);
		take_three(rule, key);
		assert_true(atomic_load(&lines[right][1].key) == hash);
		assert_true(atomic_load(&twin->key) == twins && atomic_load(&twin->mark) == mark);
		weir_endpoint_close(rule);
		weir_close(weir);
	}
}

/*
 * A key is in the other line of its bin where there is no room at home, and found there; also if
 * one at home has the same half.
 */
static void test_not_at_home(void **state)
{
	static const char key[17] = "sixteen bytes id";
	const enum weir_clock clocks[] = {WEIR_CLOCK_MANUAL, WEIR_CLOCK_BEST};

	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		struct weir *weir = host_by(clocks[i / 4], "[each k/*]\nrate = 1/d\nburst = 3\n");
		struct weir_endpoint *rule = open_rule(weir, "k/*");
		const struct binding *binding = endpoint_binding(rule);
		uint64_t hash = keys_of_ask(binding, &(struct ask){.key = key, .key_bytes = 16});
		struct line_pair home = keyed_home(&binding->keyed, hash);
		struct key_slot *lines[2] = {home.left, keyed_right_of(home)};
		bool right = i % 2;
		uint64_t twins = hash ^ (right ? 1ull << 40 : 1);

		/* no room at home, and one more in the bin that the key does not take */
		for (unsigned slot = 0; slot < KEYED_LINE_SLOTS; slot++)
			for (unsigned side = 0; side < 2; side++)
				forge(binding, &lines[side][slot],
				      hash ^ (1 + slot) << 20 ^ (1ull + slot) << 50);
		forge(binding, keyed_neighbour(lines[!right]), hash ^ 5 << 20 ^ 5ull << 50);
		if (i / 2 % 2)
			forge(binding, &lines[right][2], twins);
		take_three(rule, key);
		assert_true(atomic_load(&keyed_neighbour(lines[right])[0].key) == hash);
		assert_int_equal(census(rule).evicted, 0);
		weir_endpoint_close(rule);
		weir_close(weir);
	}
}

/* A key has one bucket, of whatever length it is and by whatever call: alone, of many, by name. */
static void test_lengths(void **state)
{
	struct weir *weir = host("[each l/*]\nrate = 1/d\nburst = 1\n"
				 "[each f/*]\nrate = 1/d\nburst = 1\nfold = case\n");
	struct weir_endpoint *rule = open_rule(weir, "l/*");
	struct weir_endpoint *folded = open_rule(weir, "f/*");
	char name[80] = "l/";

	(void)state;
	for (size_t bytes = 1; bytes <= 64; bytes++) {
		struct weir_key_call call = {.key = name + 2, .key_bytes = bytes, .cost = 1};
		struct weir_endpoint *one;

		memset(name + 2, 'x', bytes);
		assert_int_equal(weir_acquire_key(rule, name + 2, bytes, 1, NULL), WEIR_ADMIT);
		assert_int_equal(weir_acquire_keys(rule, &call, 1), 0);
		assert_int_equal(weir_endpoint(weir, name, &one), 0);
		assert_int_equal(weir_acquire(one, 1, NULL), WEIR_REFUSE);
		weir_endpoint_close(one);
		assert_int_equal(weir_acquire_keys(folded, &call, 1), 1);
		memset(name + 2, 'X', bytes);
		assert_int_equal(weir_acquire_key(folded, name + 2, bytes, 1, NULL), WEIR_REFUSE);
	}
	weir_endpoint_close(rule);
	weir_endpoint_close(folded);
	weir_close(weir);
}

static void test_wrong_handles(void **state)
{
	struct weir *weir = host("[each c/*]\nrate = 1/s\nburst = 1\n[endpoint p/*]\nrate = 1/s\n");
	struct weir_endpoint *rule = open_rule(weir, "c/*");
	struct weir_endpoint *name = open_rule(weir, "c/n");
	struct weir_endpoint *plain = open_rule(weir, "p/n");
	struct weir_level level = {.size = sizeof(level)};
	struct weir_key_call call = {.key = "n", .key_bytes = 1, .cost = 1};
	struct weir_answer answer;

	(void)state;
	assert_int_equal(weir_acquire(rule, 1, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_EKEY);
	assert_int_equal(weir_acquire_key(plain, "n", 1, 1, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_EKEY);
	assert_int_equal(weir_acquire_key(name, "n", 1, 1, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_EKEY);
	assert_int_equal(weir_acquire_keys(plain, &call, 1), WEIR_EKEY);
	assert_int_equal(call.verdict, WEIR_REFUSE);
	assert_int_equal(weir_peek_key(plain, "n", 1, &level), WEIR_EKEY);
	assert_int_equal(weir_reset_key(name, "n", 1), WEIR_EKEY);
	assert_int_equal(weir_return_key(plain, "n", 1, 1, NULL), WEIR_EKEY);
	assert_int_equal(weir_gate_close(name, WEIR_SECOND), WEIR_EKEY);
	/* nothing of all that was taken */
	assert_int_equal(weir_acquire(name, 1, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire(plain, 1, NULL), WEIR_ADMIT);
	weir_endpoint_close(rule);
	weir_endpoint_close(name);
	weir_endpoint_close(plain);
	weir_close(weir);
}

static void test_folding(void **state)
{
	struct weir *weir = host("[each c/*]\nrate = 0\nburst = 1\nfold = ipv6/64 ipv4/24 case\n");
	struct weir_endpoint *rule = open_rule(weir, "c/*");

	(void)state;
	assert_true(take(rule, "2001:db8::1", 1));
	assert_false(take(rule, "2001:0DB8:0:0:ffff::9", 1));
	assert_true(take(rule, "2001:db8:0:1::1", 1));
	assert_true(take(rule, "192.0.2.1", 1));
	assert_false(take(rule, "192.0.2.254", 1));
	assert_false(take(rule, "::ffff:192.0.2.7", 1));
	assert_true(take(rule, "192.0.3.1", 1));
	assert_true(take(rule, "Alice", 1));
	assert_false(take(rule, "aLICE", 1));
	assert_true(take(rule, "192.0.2.1.example", 1));
	weir_endpoint_close(rule);
	weir_close(weir);
}

static void test_fold_text(void **state)
{
	char out[FOLD_RULE_BYTES];
	uint64_t fold = 99;

	(void)state;
	assert_null(fold_read("ipv6/64, ipv4/24 case", &fold));
	fold_write(fold, out);
	assert_string_equal(out, "ipv4/24 ipv6/64 case");
	assert_null(fold_read("none", &fold));
	fold_write(fold, out);
	assert_string_equal(out, "none");
	for (unsigned i = 0; i < 9; i++) {
		static const char *const bad[] = {"",	     "ipv6",	 "ipv6/0",
						  "ipv4/33", "ipv6/129", "ipv4/24 ipv4/8",
						  "CASE",    "ipv5/3",	 "ipv4/-1"};

		fold = 5;
		assert_non_null(fold_read(bad[i], &fold));
		assert_int_equal(fold, 5);
	}
}

/* ---- names ---- */

/* The bucket of a name is that of its key, and what waits in its line is where it is. */
static void test_names(void **state)
{
	struct weir *weir = host("[each c/*.x]\nrate = 10/s\nburst = 4\n");
	struct weir_endpoint *rule = open_rule(weir, "c/*.x");
	struct weir_endpoint *name = open_rule(weir, "c/k.x");
	struct weir_reservation place;
	struct weir_answer answer;
	double back;
	uint64_t taken;

	(void)state;
	assert_int_equal(weir_acquire(name, 3, NULL), WEIR_ADMIT);
	assert_true(level_of(rule, "k") == 1);
	assert_int_equal(weir_acquire_up_to(name, 1, 1, 9, &taken, NULL), WEIR_ADMIT);
	assert_int_equal(taken, 1);
	assert_int_equal(weir_reserve(name, 2, WEIR_SECOND, &place, &answer), WEIR_ADMIT);
	assert_int_equal(answer.wait_ns, WEIR_SECOND / 5);
	assert_true(level_of(rule, "k") == -2);
	/* somebody may be waiting: nothing goes back without a place */
	assert_int_equal(weir_return_key(rule, "k", 1, 1, &back), 0);
	assert_true(back == 0);
	assert_int_equal(weir_cancel(name, &place, &back), 0);
	assert_true(back == 2);
	/* more than was estimated goes into debt */
	assert_int_equal(weir_reserve(name, 1, WEIR_SECOND, &place, NULL), WEIR_ADMIT);
	assert_int_equal(weir_settle(name, &place, 6), 0);
	assert_true(level_of(rule, "k") == -6);
	assert_int_equal(weir_acquire(name, 1, &answer), WEIR_REFUSE);
	assert_int_equal(answer.wait_ns, 7 * WEIR_SECOND / 10);
	assert_true(level_of(rule, "other") == 4);
	weir_endpoint_close(rule);
	weir_endpoint_close(name);
	weir_close(weir);
}

/* The gate is the rule's. What a key has is what it had. */
static void test_gate(void **state)
{
	struct weir *weir = host("[each c/*]\nrate = 10/s\nburst = 4\n");
	struct weir_endpoint *rule = open_rule(weir, "c/*");
	struct weir_answer answer;

	(void)state;
	assert_true(take(rule, "k", 4));
	assert_int_equal(weir_gate_close(rule, 2 * WEIR_SECOND), 0);
	assert_int_equal(weir_acquire_key(rule, "k", 1, 1, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_CLOSED);
	assert_int_equal(weir_clock_advance(weir, answer.wait_ns), 0);
	assert_true(take(rule, "k", 4));
	assert_true(take(rule, "fresh", 4));
	weir_endpoint_close(rule);
	weir_close(weir);
}

/* "20/s per client and 5000/s in all", or nothing. */
static void test_several(void **state)
{
	struct weir *weir = host("[each c/*]\nrate = 0\nburst = 3\n[endpoint all]\nrate = 0\n"
				 "burst = 5\n");
	struct weir_endpoint *rule = open_rule(weir, "c/*");
	struct weir_endpoint *all = open_rule(weir, "all");
	struct weir_answer answer;

	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		const char *key = i % 2 ? "a" : "b";
		const struct weir_want wants[] = {
			{.endpoint = all, .cost = 1},
			{.endpoint = rule, .cost = 1, .key = key, .key_bytes = 1},
		};

		assert_int_equal(weir_acquire_all(wants, 2, &answer) == WEIR_ADMIT, i < 5);
	}
	/* of b three were taken, of a two: a refusal took nothing */
	assert_true(level_of(rule, "b") == 0);
	assert_true(level_of(rule, "a") == 1);

	/* one key twice is one bucket */
	const struct weir_want twice[] = {
		{.endpoint = rule, .cost = 2, .key = "t", .key_bytes = 1},
		{.endpoint = rule, .cost = 2, .key = "t", .key_bytes = 1},
	};

	assert_int_equal(weir_acquire_all(twice, 2, &answer), WEIR_REFUSE);
	assert_true(level_of(rule, "t") == 3);
	weir_endpoint_close(rule);
	weir_endpoint_close(all);
	weir_close(weir);
}

/* With windows, aligned and from first use, and in shadow mode. */
static void test_other_limits(void **state)
{
	struct weir *weir = host("[each f/*]\nrate = 3/min\nwindow = 1min first\n"
				 "[each a/*]\nrate = 3/min\nwindow = 1min aligned\n"
				 "[each s/*]\nrate = 0\nburst = 2\nshadow = yes\n"
				 "[each u/*]\nrate = unlimited\n");
	struct weir_endpoint *first = open_rule(weir, "f/*");
	struct weir_endpoint *aligned = open_rule(weir, "a/*");
	struct weir_endpoint *shadow = open_rule(weir, "s/*");
	struct weir_endpoint *unlimited = open_rule(weir, "u/*");
	struct weir_answer answer;

	(void)state;
	assert_true(take(first, "k", 3) && take(aligned, "k", 3));
	assert_false(take(first, "k", 1) || take(aligned, "k", 1));
	assert_int_equal(weir_clock_advance(weir, 59 * WEIR_SECOND), 0);
	assert_false(take(first, "k", 1));
	assert_int_equal(weir_clock_advance(weir, WEIR_SECOND), 0);
	assert_true(take(first, "k", 3) && take(aligned, "k", 3));
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(weir_acquire_key(shadow, "k", 1, 1, &answer), WEIR_ADMIT);
	assert_int_equal(answer.shadow, WEIR_REASON_NEVER);
	assert_true(take(unlimited, "k", 1e6));
	weir_endpoint_close(first);
	weir_endpoint_close(aligned);
	weir_endpoint_close(shadow);
	weir_endpoint_close(unlimited);
	weir_close(weir);
}

/* A key that gets a rule of its own takes along what it has spoken for. */
static void test_rule_of_its_own(void **state)
{
	struct weir *weir = host("[each c/*]\nrate = 0\nburst = 5\n");
	struct weir_endpoint *name = open_rule(weir, "c/k");

	(void)state;
	assert_int_equal(weir_acquire(name, 3, NULL), WEIR_ADMIT);
	assert_int_equal(weir_update(weir, "c/k", NULL, "10", WEIR_KEEP_USED), 0);
	assert_int_equal(weir_acquire(name, 8, NULL), WEIR_REFUSE);
	assert_int_equal(weir_acquire(name, 7, NULL), WEIR_ADMIT);
	/* and what is no limit for keys is refused */
	assert_int_equal(weir_configure(weir, "c/*", "initial = 1", WEIR_KEEP_USED, NULL, 0),
			 WEIR_EVALUE);
	assert_int_equal(weir_configure(weir, "c/*", "shadow_rate = 1/s", WEIR_KEEP_USED, NULL, 0),
			 WEIR_EVALUE);
	assert_int_equal(weir_configure(weir, "c/*", "concurrency = 3", WEIR_KEEP_USED, NULL, 0),
			 WEIR_EVALUE);
	weir_endpoint_close(name);
	weir_close(weir);
}

/* What becomes of the levels of all keys. */
static void test_keep(void **state)
{
	struct weir *weir = host("[each c/*]\nrate = 0\nburst = 10\n");
	struct weir_endpoint *rule = open_rule(weir, "c/*");

	(void)state;
	assert_true(take(rule, "a", 8) && take(rule, "b", 4));
	assert_int_equal(weir_update(weir, "c/*", NULL, "20", WEIR_KEEP_LEVEL), 0);
	assert_true(level_of(rule, "a") == 2 && level_of(rule, "b") == 6);
	assert_int_equal(weir_update(weir, "c/*", NULL, "10", WEIR_KEEP_PROPORTIONAL), 0);
	assert_true(level_of(rule, "a") == 1 && level_of(rule, "b") == 3);
	assert_int_equal(weir_reset(weir, "c/a"), 0);
	assert_true(level_of(rule, "a") == 10 && level_of(rule, "b") == 3);
	assert_int_equal(weir_reset(weir, "c/*"), 0);
	assert_true(level_of(rule, "b") == 10);
	weir_endpoint_close(rule);
	weir_close(weir);
}

/* ---- the most refused ---- */

static void test_worst(void **state)
{
	struct weir *weir = host("[each c/*]\nrate = 0\nburst = 1\nfold = ipv4/24\n");
	struct weir_endpoint *rule = open_rule(weir, "c/*");
	static struct refused_key worst[REFUSED_KEYS];
	unsigned count;

	(void)state;
	/* three loud ones among twenty thousand that are refused once */
	for (unsigned i = 0; i < 20000; i++) {
		take(rule, name_key(i), 1);
		take(rule, name_key(i), 1);
		take(rule, "192.0.2.77", 1);
		if (i % 2)
			take(rule, "second", 1);
		if (i % 4 == 3)
			take(rule, "third", 1);
	}
	count = refused_list(endpoint_binding(rule)->keyed.head, worst);
	assert_true(count > 3 && count <= REFUSED_KEYS);
	assert_int_equal(worst[0].bytes, strlen("192.0.2.0/24"));
	assert_memory_equal(worst[0].text, "192.0.2.0/24", strlen("192.0.2.0/24"));
	assert_memory_equal(worst[1].text, "second", 6);
	assert_memory_equal(worst[2].text, "third", 5);
	assert_true(worst[0].count >= 19000 && worst[0].count <= 21000);
	weir_endpoint_close(rule);
	weir_close(weir);
}

/* ---- a larger table ---- */

struct grown {
	struct scene scene;
	struct weir *weir;
	struct weir_endpoint *rule;
	struct segment next;
};

static struct segment_shape shape_for(uint64_t keys)
{
	struct segment_shape shape = scene_shape;

	shape.tables = 1;
	shape.bins = keyed_bins(keys);
	return shape;
}

static void grown_begin(struct grown *grown, uint64_t keys)
{
	const struct segment_shape shape = shape_for(keys);
	struct rule rule = scene_rule(ROW_EACH, "c/*", 10, 8);

	rule.keys = keys;
	scene_begin(&grown->scene, &shape);
	assert_true(rules_add(&grown->scene.segment, &rule) >= 0);
	grown->weir = scene_open(&grown->scene.place);
	assert_non_null(grown->weir);
	grown->rule = open_rule(grown->weir, "c/*");
}

/* The newer pair has the name, and nothing has moved yet. */
static void grown_reveal(struct grown *grown, uint64_t keys, uint64_t per_second)
{
	const struct segment_shape shape = shape_for(keys);
	struct rule rule = scene_rule(ROW_EACH, "c/*", per_second, 8);

	rule.keys = keys;
	assert_int_equal(segment_create(&grown->next, &grown->scene.place, &shape), 0);
	assert_int_equal(move_prepare(&grown->scene.segment, &grown->next, &rule), 0);
	assert_int_equal(segment_reveal(&grown->next, &grown->scene.place), 0);
	move_retire(&grown->scene.segment);
}

static void grown_finish(struct grown *grown)
{
	assert_int_equal(move_finish(&grown->next, &grown->scene.segment), 0);
	segment_forget_old(&grown->scene.place);
}

static void grown_end(struct grown *grown)
{
	weir_endpoint_close(grown->rule);
	weir_close(grown->weir);
	segment_detach(&grown->next);
	scene_end(&grown->scene);
}

static void test_growing(void **state)
{
	struct grown grown;

	(void)state;
	grown_begin(&grown, 100);
	for (unsigned i = 0; i < 100; i++)
		assert_true(take(grown.rule, name_key(i), 1 + i % 8));
	/* at a rate whose unit is another one */
	grown_reveal(&grown, 1000, 1000000);
	/* some are used before the publisher comes to them, and some are new */
	for (unsigned i = 0; i < 100; i += 3)
		assert_int_equal(take(grown.rule, name_key(i), 4), i % 8 + 1 + 4 <= 8);
	assert_true(take(grown.rule, "new", 8));
	assert_true(level_of(grown.rule, name_key(1)) == 6);
	grown_finish(&grown);
	for (unsigned i = 0; i < 100; i++) {
		unsigned used = 1 + i % 8 + (i % 3 == 0 && i % 8 + 1 + 4 <= 8 ? 4 : 0);

		assert_true(level_of(grown.rule, name_key(i)) == 8 - used);
	}
	assert_false(take(grown.rule, "new", 1));
	assert_int_equal(keys_capacity(&grown.next, endpoint_binding(grown.rule)->row_index), 1000);
	assert_int_equal(census(grown.rule).evicted, 0);
	grown_end(&grown);
}

/* Who was stopped on the old pair neither takes from what has moved nor begins anew there. */
static void test_old_pair_is_closed(void **state)
{
	struct grown grown;
	struct binding old;
	struct keyed_want want = {.want = {.least = 1, .most = 1, .limit = UINT64_MAX}};
	struct bucket_windows out;
	struct key_seen seen;
	struct line line;
	uint64_t hash, now, mark;

	(void)state;
	grown_begin(&grown, 100);
	assert_true(take(grown.rule, "moved", 3));
	old = *endpoint_binding(grown.rule);
	grown_reveal(&grown, 1000, 10);
	assert_true(take(grown.rule, "moved", 1));
	now = line_read(old.row, &old.time, &line);
	want.want.unit = 1ull << line.k;
	hash = keys_hash(&old.attachment->segment, 0, "moved", 5);
	keyed_find(&old.keyed, hash, &seen);
	assert_int_equal(keyed_take(&old.keyed, hash, &seen, &line, now, &want, &out),
			 BUCKET_IS_FROZEN);
	assert_int_equal(keyed_give_back(&old.keyed, hash, &line, now, 1, 0), 0);
	assert_int_equal(keyed_charge(&old.keyed, hash, &line, now, 1, &want), BUCKET_IS_FROZEN);
	assert_false(keyed_set(&old.keyed, hash, 1));
	hash = keys_hash(&old.attachment->segment, 0, "new", 3);
	keyed_find(&old.keyed, hash, &seen);
	assert_null(seen.slot);
	assert_int_equal(keyed_take(&old.keyed, hash, &seen, &line, now, &want, &out),
			 BUCKET_IS_FROZEN);
	assert_false(keyed_freeze(&old.keyed, hash, &mark));
	grown_finish(&grown);
	assert_true(level_of(grown.rule, "moved") == 4);
	grown_end(&grown);
}

static void test_clean(void **state)
{
	struct weir *weir = host("[each c/*]\nrate = 1/s\nburst = 1\n");

	(void)state;
	assert_int_equal(findings(weir), 0);
	weir_close(weir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_map),
		cmocka_unit_test(test_wait_passes),
		cmocka_unit_test(test_full_ones_make_room),
		cmocka_unit_test(test_least_debt_goes),
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_capacity),
		cmocka_unit_test(test_odd_keys),
		cmocka_unit_test(test_same_half),
		cmocka_unit_test(test_not_at_home),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_wrong_handles),
		cmocka_unit_test(test_folding),
		cmocka_unit_test(test_fold_text),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_gate),
		cmocka_unit_test(test_several),
		cmocka_unit_test(test_other_limits),
		cmocka_unit_test(test_rule_of_its_own),
		cmocka_unit_test(test_keep),
		cmocka_unit_test(test_worst),
		cmocka_unit_test(test_growing),
		cmocka_unit_test(test_old_pair_is_closed),
		cmocka_unit_test(test_clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
