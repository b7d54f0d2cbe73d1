/* SPDX-License-Identifier: Apache-2.0 */
#include "explore.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NO_STATE UINT32_MAX

/* How a state was reached; its bytes lie beside this, at the same index. */
struct visit {
	uint32_t parent;
	uint8_t machine;
	uint8_t ended; /* a bit for each machine */
};

/* All states seen, in the order in which they were: the queue of the search as well. */
struct search {
	const struct model *model;
	unsigned char *bytes;
	struct visit *visits;
	uint32_t count;
	uint32_t room;
	uint32_t *index; /* hash table of states */
	uint32_t index_mask;
};

static void *need(void *memory)
{
	if (!memory) {
		fprintf(stderr, "explore: out of memory\n");
		abort();
	}
	return memory;
}

static unsigned char *state_at(const struct search *search, uint32_t at)
{
	return search->bytes + (size_t)at * search->model->bytes;
}

static uint32_t hash_of(const void *state, size_t bytes, uint8_t ended)
{
	const unsigned char *at = state;
	uint64_t hash = 0xcbf29ce484222325ull ^ ended;
	uint64_t word = 0;
	size_t i = 0;

	/* eight bytes at a time: states are far more than anything else looked at */
	for (; i + sizeof(word) <= bytes; i += sizeof(word)) {
		memcpy(&word, at + i, sizeof(word));
		hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
		hash ^= hash >> 29;
	}
	for (; i < bytes; i++)
		hash = (hash ^ at[i]) * 0x100000001b3ull;
	return (uint32_t)(hash ^ hash >> 32);
}

static uint32_t *index_find(const struct search *search, const void *state, uint8_t ended)
{
	uint32_t slot = hash_of(state, search->model->bytes, ended) & search->index_mask;

	for (;; slot = (slot + 1) & search->index_mask) {
		uint32_t at = search->index[slot];

		if (at == NO_STATE)
			return &search->index[slot];
		if (search->visits[at].ended == ended &&
		    memcmp(state_at(search, at), state, search->model->bytes) == 0)
			return &search->index[slot];
	}
}

static void search_grow(struct search *search)
{
	search->room = search->room ? search->room * 2 : 4096;
	search->bytes = need(realloc(search->bytes, search->room * search->model->bytes));
	search->visits = need(realloc(search->visits, search->room * sizeof(*search->visits)));
	free(search->index);
	search->index_mask = search->room * 2 - 1;
	search->index = need(malloc(search->room * 2 * sizeof(*search->index)));
	memset(search->index, 0xff, search->room * 2 * sizeof(*search->index));
	for (uint32_t i = 0; i < search->count; i++)
		*index_find(search, state_at(search, i), search->visits[i].ended) = i;
}

/* Keeps a state that is new; returns whether it was. */
static bool search_add(struct search *search, const void *state, struct visit visit)
{
	if (search->count == search->room)
		search_grow(search);

	uint32_t *slot = index_find(search, state, visit.ended);

	if (*slot != NO_STATE)
		return false;
	memcpy(state_at(search, search->count), state, search->model->bytes);
	search->visits[search->count] = visit;
	*slot = search->count++;
	return true;
}

/* ---- what is wrong ---- */

static unsigned alive(const struct model *model, uint8_t ended)
{
	return model->machines - (unsigned)__builtin_popcount(ended);
}

static const char *judge(const struct model *model, const void *state, uint8_t ended,
			 uint64_t *ends)
{
	const char *wrong = model->wrong ? model->wrong(state) : NULL;

	if (alive(model, ended) > model->dead)
		return wrong;
	++*ends;
	return !wrong && model->wrong_at_end ? model->wrong_at_end(state) : wrong;
}

/*
 * Whether each machine, by itself, comes to its end: nobody waits for a dead one. But the one that
 * has come here by itself, which was seen to in the state before.
 */
static const char *judge_alone(const struct model *model, const void *state,
			       const struct visit *visit, unsigned char *scratch)
{
	for (unsigned machine = 0; machine < model->machines && model->alone; machine++) {
		bool goes_on = !(visit->ended & 1u << machine) &&
			       (visit->parent == NO_STATE || visit->machine != machine);

		memcpy(scratch, state, model->bytes);
		for (unsigned i = 0; goes_on && i < model->alone; i++)
			goes_on = model->step(scratch, machine);
		if (goes_on)
			return "a machine by itself does not come to an end";
	}
	return NULL;
}

static void trace_add(char *trace, const struct model *model, unsigned machine)
{
	size_t used = strlen(trace);

	if (model->machine_name)
		snprintf(trace + used, EXPLORE_TRACE_BYTES - used, "%s%s", used ? " " : "",
			 model->machine_name(machine));
	else
		snprintf(trace + used, EXPLORE_TRACE_BYTES - used, "%c", 'A' + (int)machine);
}

static void trace_to(const struct search *search, uint32_t at, char *trace)
{
	if (search->visits[at].parent == NO_STATE)
		return;
	trace_to(search, search->visits[at].parent, trace);
	trace_add(trace, search->model, search->visits[at].machine);
}

/* ---- every interleaving ---- */

static void expand(struct search *search, uint32_t at, unsigned char *scratch,
		   struct exploration *out)
{
	const struct model *model = search->model;

	for (unsigned machine = 0; machine < model->machines; machine++) {
		uint8_t ended = search->visits[at].ended;

		if (ended & 1u << machine)
			continue;
		memcpy(scratch, state_at(search, at), model->bytes);
		if (!model->step(scratch, machine))
			ended = (uint8_t)(ended | 1u << machine);
		out->steps++;
		search_add(search, scratch, (struct visit){at, (uint8_t)machine, ended});
	}
}

void explore_all(const struct model *model, struct exploration *out)
{
	struct search search = {.model = model};
	unsigned char *scratch = need(calloc(1, model->bytes));

	*out = (struct exploration){0};
	model->begin(scratch);
	search_add(&search, scratch, (struct visit){NO_STATE, 0, 0});
	for (uint32_t at = 0; at < search.count && !out->wrong; at++) {
		uint8_t ended = search.visits[at].ended;

		out->wrong = judge(model, state_at(&search, at), ended, &out->ends);
		if (!out->wrong)
			out->wrong = judge_alone(model, state_at(&search, at), &search.visits[at],
						 scratch);
		if (out->wrong)
			trace_to(&search, at, out->trace);
		else
			expand(&search, at, scratch, out);
	}
	out->states = search.count;
	free(search.index);
	free(search.visits);
	free(search.bytes);
	free(scratch);
}

/* ---- random schedules ---- */

/* xorshift64*: the same schedules on every machine. */
static uint64_t random_next(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull >> 32;
}

static unsigned pick(uint8_t ended, unsigned machines, uint64_t *seed)
{
	unsigned machine;

	do
		machine = (unsigned)(random_next(seed) % machines);
	while (ended & 1u << machine);
	return machine;
}

/* One schedule: runs of one to eight steps of one machine; killed ones are out of it. */
static void schedule(const struct model *model, unsigned char *state, uint64_t *seed,
		     struct exploration *out)
{
	uint8_t all = (uint8_t)((1u << model->machines) - 1);
	uint8_t ended = 0;
	uint8_t out_of_it = 0;
	unsigned kills = model->dead ? (unsigned)(random_next(seed) % (model->dead + 1)) : 0;

	out->trace[0] = '\0';
	while (out_of_it != all && !out->wrong) {
		unsigned machine = pick(out_of_it, model->machines, seed);
		unsigned run = 1u << random_next(seed) % 4;

		if (kills && random_next(seed) % 64 == 0) {
			kills--;
			out_of_it = (uint8_t)(out_of_it | 1u << machine);
			continue;
		}
		for (unsigned i = 0; i < run && !(ended & 1u << machine) && !out->wrong; i++) {
			if (!model->step(state, machine))
				ended = (uint8_t)(ended | 1u << machine);
			out->steps++;
			trace_add(out->trace, model, machine);
			out->wrong = model->wrong ? model->wrong(state) : NULL;
		}
		out_of_it |= ended;
	}
	if (!out->wrong)
		out->wrong = judge(model, state, ended, &out->ends);
}

void explore_random(const struct model *model, uint64_t schedules, uint64_t seed,
		    struct exploration *out)
{
	unsigned char *state = need(calloc(1, model->bytes));

	*out = (struct exploration){0};
	for (uint64_t i = 0; i < schedules && !out->wrong; i++) {
		memset(state, 0, model->bytes);
		model->begin(state);
		schedule(model, state, &seed, out);
	}
	free(state);
}

/* ---- expectations ---- */

static void print(const struct model *model, const struct exploration *found)
{
	if (found->states)
		printf("%-58s %9llu states %9llu steps", model->name,
		       (unsigned long long)found->states, (unsigned long long)found->steps);
	else
		printf("%-58s %6llu schedules %9llu steps", model->name,
		       (unsigned long long)found->ends, (unsigned long long)found->steps);
	if (found->wrong)
		printf("  found: %s\n%8s%s\n", found->wrong, "", found->trace);
	else
		printf("  none wrong\n");
	fflush(stdout);
}

static void expect(const struct model *model, const struct exploration *found, bool wrong)
{
	print(model, found);
	if (wrong && !found->wrong)
		fail_msg("%s: its fault was not found", model->name);
	if (!wrong && found->wrong)
		fail_msg("%s: %s, after %s", model->name, found->wrong, found->trace);
	if (!wrong)
		assert_true(found->ends > 0);
}

void expect_right(const struct model *model)
{
	struct exploration found;

	explore_all(model, &found);
	expect(model, &found, false);
}

void expect_wrong(const struct model *model)
{
	struct exploration found;

	explore_all(model, &found);
	expect(model, &found, true);
}

void expect_right_at_random(const struct model *model, uint64_t schedules)
{
	struct exploration found;

	explore_random(model, schedules, 1, &found);
	expect(model, &found, false);
}

void expect_wrong_at_random(const struct model *model, uint64_t schedules)
{
	struct exploration found;

	explore_random(model, schedules, 1, &found);
	expect(model, &found, true);
}
