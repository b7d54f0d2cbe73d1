/* SPDX-License-Identifier: Apache-2.0
 *
 * keys.c - a rule with a bucket for each of a million keys, and of ten million, beside what the
 * machine charges for one access to memory of that size.
 *
 * The chase goes through the bins of a table that nobody else uses: so its memory is of the same
 * size, made in the same way and of the same pages as the one whose keys are drawn from.
 */
#include "keys.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weir.h"

#include "bench.h"
#include "handle.h"
#include "key_hash.h"
#include "key_tables.h"
#include "wide.h"

#define BATCH 16
#define LINE_BYTES 64u

/* More than any crew draws, of any key; all the same every admission moves a mark. */
#define DRAWN "rate = 1000000000/s\nburst = 1000000000\n"
/* What is drawn of one key is owed until tomorrow. */
#define OWED "rate = 1/d\nburst = 10\n"

/* A segment with two tables for as many keys. */
struct table_pair {
	const char *rules_text;
	uint32_t keys;
	struct weir *host;
	struct weir_endpoint *rule;
	struct weir_endpoint *chased;
	const uint32_t *zipf;
};

static struct table_pair million = {
	.rules_text = "[each key/*]\n" DRAWN "keys = 1000000\n"
		      "[each chased/*]\n" DRAWN "keys = 1000000\n",
	.keys = BENCH_KEYS,
};

static struct table_pair many = {
	.rules_text = "[each key/*]\n" DRAWN "keys = 10000000\n"
		      "[each chased/*]\n" DRAWN "keys = 10000000\n",
	.keys = BENCH_MANY_KEYS,
};

/* Of one process of a crew. */
static struct bench_order order;
static uint64_t chased_line;

/* ---- pages ---- */

static char pages_text[160] = "no table of keys was measured";

const char *bench_key_pages(void)
{
	return pages_text;
}

/* "[never]" of "always within_size advise [never] deny force". */
static void shmem_setting(char *out, size_t room)
{
	FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "re");
	char line[128] = "";
	const char *from;

	if (file != NULL && fgets(line, sizeof(line), file) == NULL)
		line[0] = 0;
	if (file != NULL)
		fclose(file);
	from = strchr(line, '[');
	snprintf(out, room, "%.*s", from != NULL ? (int)strcspn(from + 1, "]") : 7,
		 from != NULL ? from + 1 : "unknown");
}

static void note_pages(struct weir_endpoint *rule, uint64_t bytes)
{
	uint64_t huge = segment_huge_bytes(&endpoint_binding(rule)->attachment->segment);
	char setting[32];

	shmem_setting(setting, sizeof(setting));
	snprintf(pages_text, sizeof(pages_text),
		 "%.0f of %.0f MiB by huge pages (shmem_enabled: %s)", (double)huge / 1048576,
		 (double)bytes / 1048576, setting);
}

/* ---- the segments ---- */

static const struct keyed *table_of(struct weir_endpoint *rule)
{
	return &endpoint_binding(rule)->keyed;
}

static uint64_t table_bytes(const struct keyed *table)
{
	return 2 * table->half * sizeof(struct key_bin);
}

/* All keys of it once, in no order. */
static uint64_t fill(struct weir_endpoint *rule, uint32_t keys)
{
	uint64_t admitted = 0;

	for (uint32_t i = 0; i < keys; i++) {
		struct bench_key key = bench_key(i);

		admitted += weir_acquire_key(rule, &key, sizeof(key), 1.0, NULL) == WEIR_ADMIT;
	}
	return admitted;
}

/*
 * One ring through all lines, in random order (Sattolo): each says in its first word which comes
 * next. `next` has room for as many numbers.
 */
static void link_lines(uint64_t *words, uint32_t lines, uint32_t *next)
{
	uint64_t state = 0x6c696e6573ull;

	for (uint32_t i = 0; i < lines; i++)
		next[i] = i;
	for (uint32_t i = lines - 1; i > 0; i--) {
		uint32_t other = bench_random_below(&state, i);
		uint32_t line = next[i];

		next[i] = next[other];
		next[other] = line;
	}
	for (uint32_t i = 0; i < lines; i++)
		words[i * (LINE_BYTES / sizeof(*words))] = next[i];
}

static bool make_ring(const struct keyed *table)
{
	uint32_t lines = (uint32_t)(table_bytes(table) / LINE_BYTES);
	uint32_t *next = malloc(lines * sizeof(*next));

	if (next == NULL)
		return false;
	link_lines((uint64_t *)(void *)table->bins, lines, next);
	free(next);
	return true;
}

static const char *make_pair(struct table_pair *pair)
{
	static char text[512];
	char faults[256] = "";
	int code;

	if (pair->host != NULL)
		return NULL;
	code = weir_host(&pair->host, pair->rules_text, WEIR_CLOCK_BEST, NULL, faults,
			 sizeof(faults));
	if (code == 0)
		code = weir_endpoint(pair->host, "key/*", &pair->rule);
	if (code == 0)
		code = weir_endpoint(pair->host, "chased/*", &pair->chased);
	if (code < 0) {
		snprintf(text, sizeof(text), "%s %s", weir_strerror(code), faults);
		return text;
	}
	pair->zipf = bench_zipf(pair->keys);
	if (pair->zipf == NULL || !make_ring(table_of(pair->chased)))
		return "no memory for an order of keys";
	if (fill(pair->rule, pair->keys) != pair->keys)
		return "not every key was admitted";
	note_pages(pair->rule, 2 * table_bytes(table_of(pair->rule)));
	return NULL;
}

static void free_pair(struct table_pair *pair)
{
	weir_endpoint_close(pair->rule);
	weir_endpoint_close(pair->chased);
	weir_close(pair->host);
	free((void *)pair->zipf);
	pair->rule = pair->chased = NULL;
	pair->host = NULL;
	pair->zipf = NULL;
}

static const char *make_million(void)
{
	return make_pair(&million);
}

static const char *make_many(void)
{
	if (bench_quick)
		return "not by --quick: ten million keys";
	return make_pair(&many);
}

static void free_million(void)
{
	free_pair(&million);
}

static void free_many(void)
{
	free_pair(&many);
}

/* ---- one access ---- */

static int enter_chase(struct weir_endpoint *rule)
{
	const struct keyed *table = table_of(rule);
	struct bench_order any = bench_order(NULL, (uint32_t)(table_bytes(table) / LINE_BYTES));

	bench_warm(table->bins, table_bytes(table));
	chased_line = bench_draw(&any);
	return 0;
}

static uint64_t run_chase(struct weir_endpoint *rule, uint64_t ops)
{
	const uint64_t *words = (const uint64_t *)(const void *)table_of(rule)->bins;
	uint64_t line = chased_line;

	for (uint64_t i = 0; i < ops; i++)
		line = words[line * (LINE_BYTES / sizeof(*words))];
	chased_line = line;
	return ops;
}

static int enter_chase_million(unsigned process)
{
	(void)process;
	return enter_chase(million.chased);
}

static int enter_chase_many(unsigned process)
{
	(void)process;
	return enter_chase(many.chased);
}

static uint64_t run_chase_million(uint64_t ops)
{
	return run_chase(million.chased, ops);
}

static uint64_t run_chase_many(uint64_t ops)
{
	return run_chase(many.chased, ops);
}

/* ---- keys ---- */

static int enter_keys(const struct table_pair *pair, const uint32_t *draws)
{
	const struct keyed *table = table_of(pair->rule);

	bench_warm(table->bins, table_bytes(table));
	order = bench_order(draws, pair->keys);
	return 0;
}

static int enter_uniform(unsigned process)
{
	(void)process;
	return enter_keys(&million, NULL);
}

static int enter_zipf(unsigned process)
{
	(void)process;
	return enter_keys(&million, million.zipf);
}

static int enter_many(unsigned process)
{
	(void)process;
	return enter_keys(&many, NULL);
}

static uint64_t run_keys(struct weir_endpoint *rule, uint64_t ops)
{
	uint64_t good = 0;

	for (uint64_t i = 0; i < ops; i++) {
		struct bench_key key = bench_key(bench_draw(&order));

		good += weir_acquire_key(rule, &key, sizeof(key), 1.0, NULL) == WEIR_ADMIT;
	}
	return good;
}

static uint64_t run_batches(struct weir_endpoint *rule, uint64_t ops)
{
	struct weir_key_call calls[BATCH];
	struct bench_key keys[BATCH];
	uint64_t good = 0;

	for (uint64_t done = 0; done < ops; done += BATCH) {
		uint64_t count = ops - done < BATCH ? ops - done : BATCH;
		int64_t admitted;

		for (uint64_t i = 0; i < count; i++) {
			keys[i] = bench_key(bench_draw(&order));
			calls[i].key = &keys[i];
			calls[i].key_bytes = sizeof(keys[i]);
			calls[i].cost = 1.0;
		}
		admitted = weir_acquire_keys(rule, calls, count);
		good += admitted > 0 ? (uint64_t)admitted : 0;
	}
	return good;
}

static uint64_t run_million(uint64_t ops)
{
	return run_keys(million.rule, ops);
}

static uint64_t run_million_batches(uint64_t ops)
{
	return run_batches(million.rule, ops);
}

static uint64_t run_many(uint64_t ops)
{
	return run_keys(many.rule, ops);
}

static uint64_t run_many_batches(uint64_t ops)
{
	return run_batches(many.rule, ops);
}

/* ---- the least that a table can do ---- */

static int enter_floor(unsigned process)
{
	const struct keyed *table = table_of(million.chased);

	(void)process;
	bench_warm(table->bins, table_bytes(table));
	order = bench_order(NULL, million.keys);
	return 0;
}

/*
 * The hash of a key, one line of memory, the time, and an exchange of a key and its mark; in the
 * order of weir_acquire_key(). Any table of limits does that much, and would have to look whose the
 * slot is besides. In the table of the chase, beside what links its lines.
 */
static uint64_t run_floor(uint64_t ops)
{
	const struct binding *binding = endpoint_binding(million.chased);
	const unsigned char *secret = binding->attachment->segment.secret;
	struct key_slot *slots = (struct key_slot *)(void *)binding->keyed.bins;
	uint64_t lines = table_bytes(&binding->keyed) / LINE_BYTES;

	for (uint64_t i = 0; i < ops; i++) {
		struct bench_key key = bench_key(bench_draw(&order));
		uint64_t hash = key_hash(secret, 0, &key, sizeof(key));
		uint64_t line = (hash & UINT32_MAX) * lines >> 32;
		struct key_slot *slot = &slots[line * (LINE_BYTES / sizeof(*slot)) + 1];

		__builtin_prefetch(slot);

		uint64_t now = time_source_ticks(&binding->time);
		uint64_t mark;

		do {
			/* relaxed: the exchange looks again */
			mark = atomic_load_explicit(&slot->mark, memory_order_relaxed);
		} while (!wide_exchange(slot, 0, mark, 0, bucket_base(mark, now) + 1));
	}
	return ops;
}

/* ---- memory ---- */

/* What a table costs and loses that is full of debts. */
struct full_table {
	const char *rules_text;
	uint32_t keys;
	bool known;
	double bytes;	/* of a key */
	double evicted; /* keys in debt, of a call */
};

static struct full_table full_million = {
	.rules_text = "[each key/*]\n" OWED "keys = 1000000\n",
	.keys = BENCH_KEYS,
};

static struct full_table full_many = {
	.rules_text = "[each key/*]\n" OWED "keys = 10000000\n",
	.keys = BENCH_MANY_KEYS,
};

static void fill_table(struct full_table *full)
{
	struct weir_endpoint *rule = NULL;
	struct keyed_census census;
	struct weir *host;
	struct line line;
	uint64_t now;

	if (full->known)
		return;
	full->known = true;
	full->bytes = full->evicted = NAN;
	if (bench_quick && full->keys > BENCH_KEYS)
		return;
	if (weir_host(&host, full->rules_text, WEIR_CLOCK_BEST, NULL, NULL, 0) < 0)
		return;
	if (weir_endpoint(host, "key/*", &rule) == 0 && fill(rule, full->keys) == full->keys) {
		const struct binding *binding = endpoint_binding(rule);
		uint64_t bytes = table_bytes(&binding->keyed) + sizeof(struct key_head);

		now = line_read(binding->row, &binding->time, &line);
		keyed_count(&binding->keyed, &line, now, &census);
		full->bytes = (double)bytes / full->keys;
		full->evicted = (double)census.evicted / full->keys;
	}
	weir_endpoint_close(rule);
	weir_close(host);
}

double bench_key_bytes(void)
{
	fill_table(&full_million);
	return full_million.bytes;
}

double bench_key_evictions(void)
{
	fill_table(&full_million);
	return full_million.evicted;
}

double bench_many_bytes(void)
{
	fill_table(&full_many);
	return full_many.bytes;
}

double bench_many_evictions(void)
{
	fill_table(&full_many);
	return full_many.evicted;
}

const struct bench_work bench_miss = {
	.name = "floor/miss",
	.least = 64,
	.prepare = make_million,
	.enter = enter_chase_million,
	.run = run_chase_million,
	.finish = free_million,
};

const struct bench_work bench_key_floor = {
	.name = "floor/key",
	.least = 16,
	.prepare = make_million,
	.enter = enter_floor,
	.run = run_floor,
	.finish = free_million,
};

const struct bench_work bench_key_single = {
	.name = "weir/key",
	.least = 16,
	.prepare = make_million,
	.enter = enter_uniform,
	.run = run_million,
	.finish = free_million,
};

const struct bench_work bench_key_batch = {
	.name = "weir/key-batch",
	.least = BATCH,
	.prepare = make_million,
	.enter = enter_uniform,
	.run = run_million_batches,
	.finish = free_million,
};

const struct bench_work bench_key_zipf = {
	.name = "weir/key-zipf",
	.least = 16,
	.prepare = make_million,
	.enter = enter_zipf,
	.run = run_million,
	.finish = free_million,
};

const struct bench_work bench_key_zipf_batch = {
	.name = "weir/key-zipf-batch",
	.least = BATCH,
	.prepare = make_million,
	.enter = enter_zipf,
	.run = run_million_batches,
	.finish = free_million,
};

const struct bench_work bench_many_miss = {
	.name = "floor/miss-10M",
	.least = 64,
	.prepare = make_many,
	.enter = enter_chase_many,
	.run = run_chase_many,
	.finish = free_many,
};

const struct bench_work bench_many_single = {
	.name = "weir/key-10M",
	.least = 16,
	.prepare = make_many,
	.enter = enter_many,
	.run = run_many,
	.finish = free_many,
};

const struct bench_work bench_many_batch = {
	.name = "weir/key-10M-batch",
	.least = BATCH,
	.prepare = make_many,
	.enter = enter_many,
	.run = run_many_batches,
	.finish = free_many,
};
