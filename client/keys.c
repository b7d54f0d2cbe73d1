/* SPDX-License-Identifier: Apache-2.0
 *
 * keys.c - calls of a rule with a bucket for each key, by the rule's handle and the key's bytes, or
 * by the handle of a name that stands for a key.
 *
 * The gate is the rule's, in the bucket of its row, whose mark has no other use. What an opening
 * means there is nothing for the keys: each goes on with what it has.
 */
#include "handle.h"

#include <math.h>
#include <string.h>

#include "key_hash.h"
#include "key_tables.h"
#include "rules.h"
#include "tally.h"
#include "refused.h"

/* So many keys of weir_acquire_keys() are fetched together. */
#define BATCH 16

static inline uint64_t fold_of(const struct binding *binding)
{
	/* relaxed: see keys_set_fold() */
	return atomic_load_explicit(&binding->key_table->fold, memory_order_relaxed);
}

static inline uint64_t hash_of(const struct binding *binding, const void *key, size_t bytes)
{
	return key_hash(binding->attachment->segment.secret, fold_of(binding), key, bytes);
}

uint64_t keys_of_ask(const struct binding *binding, const struct ask *ask)
{
	if (!binding->keyed.bins)
		return 0;
	return ask->key ? hash_of(binding, ask->key, ask->key_bytes) : binding->key;
}

int keys_begin(const struct ask *ask, struct attempt *out)
{
	const struct binding *binding = out->binding;

	/* a name that stands for a key takes no other */
	if (!binding->keyed.bins || (ask->key && binding->key))
		return WEIR_EKEY;
	if (ask->key && ask->key_bytes > WEIR_KEY_MAX)
		return WEIR_EVALUE;
	out->key = keys_of_ask(binding, ask);
	if (!out->key)
		return WEIR_EKEY;
	out->key_text = ask->key;
	out->key_bytes = ask->key_bytes;
	keyed_find(&binding->keyed, out->key, &out->seen);
	return 0;
}

/* The table, in which nothing is inserted any more once a newer pair has taken over. */
static struct keyed table_of(const struct binding *binding)
{
	struct keyed table = binding->keyed;

	/* relaxed: set by a look-up. There is no other pair to which a key could move */
	if (atomic_load_explicit(&binding->is_orphan, memory_order_relaxed))
		table.retired = NULL;
	return table;
}

/* What keyed_take() needs of a key that is not there; negative: the fault. */
static int want_first(struct weir_endpoint *endpoint, struct binding *binding, uint64_t key,
		      const struct line *line, struct keyed_want *want)
{
	const struct rules_header *rules = binding->attachment->segment.rules;

	want->row = binding->row;
	want->time = &binding->time;
	want->first = BUCKET_UNSET;
	/* acquire: pairs with the release in move_finish(), after which all have moved */
	if (atomic_load_explicit(&rules->predecessor, memory_order_acquire) == 0)
		return 0;
	return endpoint_first_mark(endpoint, binding, key, line, &want->first);
}

enum bucket_result keys_exchange(struct weir_endpoint *endpoint, const struct ask *ask,
				 uint64_t ahead_ticks, uint64_t limit, struct attempt *out)
{
	const struct line *line = &out->line;
	const struct keyed table = table_of(out->binding);
	uint64_t ticks = ahead_ticks < line->reach_units ? ahead_ticks : line->reach_units;
	struct keyed_want want = {
		.want =
			{
				.unit = out->unit,
				.least = ask->least,
				.most = ask->most,
				.before = ask->before,
				.limit = limit,
				.ticks = out->leave ? 0 : ticks,
				.look = ask->look,
			},
	};
	struct bucket_windows met;
	enum bucket_result result;

	if (!out->seen.slot) {
		out->fault = want_first(endpoint, out->binding, out->key, line, &want);
		if (out->fault < 0)
			return BUCKET_IS_UNSET;
	}
	result = keyed_take(&table, out->key, &out->seen, line, out->now, &want, &met);
	if (result != BUCKET_TAKEN && result != BUCKET_REFUSED)
		return result;
	out->v = met.v;
	out->mark = (struct bucket_mark){.mark = met.mark, .excess = met.excess, .lost = met.lost};
	out->pieces = met.pieces;
	if (result == BUCKET_TAKEN)
		out->units = out->unit * met.pieces;
	else if (line->flags & LINE_WINDOW)
		out->wait_ticks = window_ticks(line, out->now, met.v, met.count);
	return result;
}

static void count_worst(const struct binding *binding, uint64_t hash, const void *key, size_t bytes)
{
	unsigned char text[LAYOUT_WORST_BYTES];
	size_t length = keys_text(fold_of(binding), key, bytes, text, sizeof(text));

	refused_count(binding->keyed.head, hash, text, length);
}

void keys_refused(const struct weir_endpoint *endpoint, const struct attempt *attempt)
{
	const struct binding *binding = attempt->binding;
	const void *key = attempt->key_text;
	size_t bytes = attempt->key_bytes;
	const char *name;

	if (!key && keys_in_name(&binding->attachment->segment, binding->row_index, endpoint->name,
				 &name, &bytes))
		key = name;
	if (key)
		count_worst(binding, attempt->key, key, bytes);
}

uint64_t binding_mark(const struct binding *binding)
{
	struct key_seen seen;

	if (!binding->keyed.bins)
		return bucket_look(binding->bucket);
	if (!binding->key)
		return BUCKET_UNSET;
	keyed_find(&binding->keyed, binding->key, &seen);
	return seen.slot ? seen.mark : BUCKET_UNSET;
}

uint64_t keys_give_back(const struct binding *binding, const struct place_in_line *place,
			const struct line *line, uint64_t now, uint64_t units)
{
	return keyed_give_back(&binding->keyed, place->key, line, now, units, place->position);
}

enum bucket_result keys_charge(struct weir_endpoint *endpoint, struct binding *binding,
			       uint64_t key, const struct line *line, uint64_t now, uint64_t units)
{
	const struct keyed table = table_of(binding);
	struct keyed_want want;

	if (want_first(endpoint, binding, key, line, &want) < 0)
		return BUCKET_IS_FROZEN;
	return keyed_charge(&table, key, line, now, units, &want);
}

/* ---- by the rule's handle and a key ---- */

static struct ask ask_for_key(const struct weir_endpoint *rule, const void *key, size_t bytes,
			      double cost)
{
	struct ask ask = ask_for(rule, cost);

	ask.key = key ? key : "";
	ask.key_bytes = key ? bytes : 0;
	return ask;
}

static __attribute__((noinline)) enum weir_verdict acquire_cold(struct weir_endpoint *rule,
								const void *key, size_t bytes,
								double cost,
								struct weir_answer *answer)
{
	const struct ask ask = ask_for_key(rule, key, bytes, cost);
	struct attempt attempt;

	return answer_now(rule, &ask, &attempt, answer);
}

/* By what calls are decided, one or those of a batch: the present, and the line in force. */
struct moment {
	struct line line;
	uint64_t now;
	uint64_t v; /* of a straight line */
	bool plain; /* nothing but the mark decides */
};

/* By the binding's time source, told apart where it is known. In registers if not handed on. */
static inline __attribute__((always_inline)) void moment_read(const struct binding *binding,
							      const struct time_source *time,
							      struct moment *out)
{
	const struct bucket *bucket = binding->bucket;

	out->now = line_read_short(binding->row, time, &out->line);
	out->v = (uint64_t)(line_straight_wide(&out->line, out->now) >> 64);

	/* before the gate, as in attempt_once(); nobody draws from it */
	uint64_t mark = bucket_load(bucket);

	out->plain = !(out->line.flags & LINE_COLD) && mark != BUCKET_UNSET &&
		     !(mark & BUCKET_FROZEN) && gate_is_settled(gate_load(bucket));
}

/* Whether so many units may be taken by that moment, as far as it is not the mark that decides. */
static inline bool moment_allows(const struct moment *moment, uint64_t units)
{
	return moment->plain && units - 1 < moment->line.burst_units;
}

static __attribute__((noinline)) enum weir_verdict admit_with_level(struct weir_answer *answer,
								    uint64_t mark, uint64_t v,
								    uint64_t burst, unsigned k)
{
	*answer = (struct weir_answer){
		.level = (double)bucket_level(mark, v, burst, 0) / (double)(1ull << k),
	};
	return WEIR_ADMIT;
}

static inline enum weir_verdict admit(struct weir_answer *answer, uint64_t mark,
				      const struct moment *moment)
{
	if (!answer)
		return WEIR_ADMIT;
	return admit_with_level(answer, mark, moment->v, moment->line.burst_units, moment->line.k);
}

/*
 * The common case, of a key that is there: BUCKET_TAKEN, which is counted. The mark is read after
 * the time, so that whoever calls this may have asked for the bins before it and waits for them
 * behind it; BUCKET_REFUSED is then none yet, see keyed_find().
 */
static inline __attribute__((always_inline)) enum bucket_result take_plainly(
	const struct binding *binding, const struct moment *moment, struct key_slot *slot,
	uint64_t key, uint64_t units, uint64_t *mark)
{
	enum bucket_result result =
		keyed_take_there(slot, key, moment->v, units, moment->line.burst_units, mark);

	if (result == BUCKET_TAKEN)
		tally_count(&binding->tallies, 0, COUNT_GRANTED_CALLS, units);
	return result;
}

/* A key that is not there yet, as most are in a flood. false: it takes the long way. */
static bool take_new(const struct binding *binding, uint64_t key, uint64_t units,
		     struct weir_answer *answer)
{
	const struct rules_header *rules = binding->attachment->segment.rules;
	struct keyed_want want = {
		.want = {.unit = units, .least = 1, .most = 1},
		.row = binding->row,
		.time = &binding->time,
	};
	struct bucket_windows out;
	struct moment moment;
	struct key_seen seen;

	keyed_find(&binding->keyed, key, &seen);
	moment_read(binding, &binding->time, &moment);
	want.want.limit = moment.line.burst_units;
	/* acquire: as in want_first() */
	if (!moment_allows(&moment, units) ||
	    atomic_load_explicit(&rules->predecessor, memory_order_acquire) != 0 ||
	    keyed_take(&binding->keyed, key, &seen, &moment.line, moment.now, &want, &out) !=
		    BUCKET_TAKEN)
		return false;
	tally_count(&binding->tallies, 0, COUNT_GRANTED_CALLS, units);
	admit(answer, out.mark, &moment);
	return true;
}

/* Whether the handle is that of a rule whose calls can be decided by it as it is. */
static inline bool is_ready(const struct binding *binding)
{
	return binding->units_per_key_token && binding_is_current(binding);
}

/* Whatever the short way of weir_acquire_key() did not decide, from the beginning. */
static __attribute__((noinline)) enum weir_verdict acquire_again(struct weir_endpoint *rule,
								 const void *key, size_t key_bytes,
								 double cost,
								 struct weir_answer *answer)
{
	const struct binding *binding = endpoint_binding(rule);

	if (is_ready(binding) && key_bytes <= WEIR_KEY_MAX &&
	    take_new(binding, hash_of(binding, key, key_bytes),
		     cost_units(cost, binding->units_per_key_token), answer))
		return WEIR_ADMIT;
	return acquire_cold(rule, key, key_bytes, cost, answer);
}

/*
 * Whether the key in the slot is refused, in the order that makes it true: the mark, which was the
 * key's, as the key is there before it and after it; then the time.
 */
static bool is_refused(const struct binding *binding, const struct key_slot *slot, uint64_t hash,
		       uint64_t units)
{
	/* acquire, all: pair with the exchanges */
	uint64_t before = atomic_load_explicit(&slot->key, memory_order_acquire);
	uint64_t mark = atomic_load_explicit(&slot->mark, memory_order_acquire);
	struct moment moment;

	if (before != hash || atomic_load_explicit(&slot->key, memory_order_acquire) != hash)
		return false;
	moment_read(binding, &binding->time, &moment);
	return moment_allows(&moment, units) &&
	       bucket_base(mark, moment.v) + units - moment.v > moment.line.burst_units;
}

/* The short way met what seems to be a refusal, and nobody wants to know for how long. */
static __attribute__((noinline)) enum weir_verdict refuse_shortly(struct weir_endpoint *rule,
								  const struct binding *binding,
								  const struct key_slot *slot,
								  uint64_t hash, const void *key,
								  size_t key_bytes, double cost)
{
	uint64_t units = cost_units(cost, binding->units_per_key_token);

	if (!is_refused(binding, slot, hash, units))
		return acquire_again(rule, key, key_bytes, cost, NULL);
	tally_count(&binding->tallies, 0, COUNT_REFUSED_CALLS, units);
	count_worst(binding, hash, key, key_bytes);
	return WEIR_REFUSE;
}

/*
 * The short way: the key is there, and nothing but its mark decides. The order is that of what
 * takes long: first of all the bins are asked for, from memory; while they come, all else is read;
 * what needs them is last. So the next call asks for its own while this one still waits: it is few
 * instructions away, and no load lies before its rdtsc, behind which some Xeons begin nothing as
 * long as a load before it is under way (prefetches are none).
 */
static inline __attribute__((always_inline)) enum weir_verdict acquire_shortly(
	struct weir_endpoint *rule, const struct binding *binding, const struct time_source *time,
	uint64_t hash, const struct weir_key_call *call, struct weir_answer *answer)
{
	const struct line_pair home = keyed_home(&binding->keyed, hash);
	uint64_t units = cost_units(call->cost, binding->units_per_key_token);
	enum bucket_result result;
	struct key_slot *slot;
	struct moment moment;
	uint64_t mark;

	keyed_prefetch(home);
	if (__builtin_expect(!binding_is_current(binding), 0))
		return acquire_again(rule, call->key, call->key_bytes, call->cost, answer);
	moment_read(binding, time, &moment);
	slot = keyed_glance(home, hash);
	if (__builtin_expect(!slot || !moment_allows(&moment, units), 0))
		return acquire_again(rule, call->key, call->key_bytes, call->cost, answer);
	result = take_plainly(binding, &moment, slot, hash, units, &mark);
	if (__builtin_expect(result == BUCKET_TAKEN, 1))
		return admit(answer, mark, &moment);
	if (result == BUCKET_REFUSED && !answer)
		return refuse_shortly(rule, binding, slot, hash, call->key, call->key_bytes,
				      call->cost);
	if (result == BUCKET_REFUSED)
		return acquire_cold(rule, call->key, call->key_bytes, call->cost, answer);
	return acquire_again(rule, call->key, call->key_bytes, call->cost, answer);
}

/* Keys of any length and any folding, by any clock. */
static __attribute__((noinline)) enum weir_verdict acquire_any(struct weir_endpoint *rule,
							       const struct binding *binding,
							       const void *key, size_t key_bytes,
							       double cost,
							       struct weir_answer *answer)
{
	const struct weir_key_call call = {key, key_bytes, cost, 0, 0, 0};

	if (key_bytes > WEIR_KEY_MAX)
		return acquire_again(rule, key, key_bytes, cost, answer);
	return acquire_shortly(rule, binding, &binding->time, hash_of(binding, key, key_bytes),
			       &call, answer);
}

enum weir_verdict weir_acquire_key(struct weir_endpoint *rule, const void *key, size_t key_bytes,
				   double cost, struct weir_answer *answer)
{
	static const struct time_source tsc = {.kind = CLOCK_KIND_TSC};
	const struct weir_key_call call = {key, 16, cost, 0, 0, 0};
	const struct binding *binding = endpoint_binding(rule);

	if (__builtin_expect(!binding->units_per_key_token, 0))
		return acquire_again(rule, key, key_bytes, cost, answer);
	/* what needs no call in between, whose saved registers are a tenth of its instructions */
	if (key_bytes == 16 && binding->time.kind == CLOCK_KIND_TSC && fold_of(binding) == 0)
		return acquire_shortly(rule, binding, &tsc,
				       key_hash(binding->attachment->segment.secret, 0, key, 16),
				       &call, answer);
	return acquire_any(rule, binding, key, key_bytes, cost, answer);
}

/* ---- many at once ---- */

/* One of them, from the beginning, and by a time of its own. */
static int decide_call(struct weir_endpoint *rule, struct weir_key_call *call)
{
	struct weir_answer answer;

	call->verdict =
		(int32_t)acquire_cold(rule, call->key, call->key_bytes, call->cost, &answer);
	call->reason = answer.reason;
	call->wait_ns = answer.wait_ns;
	return answer.fault;
}

/* false: it is not decided yet. */
static bool take_one(const struct binding *binding, const struct moment *moment, uint64_t hash,
		     double cost)
{
	struct key_slot *slot = keyed_glance(keyed_home(&binding->keyed, hash), hash);
	uint64_t units = cost_units(cost, binding->units_per_key_token);
	enum bucket_result result = BUCKET_IS_UNSET;
	uint64_t mark;

	if (!moment_allows(moment, units))
		return false;
	if (slot)
		result = take_plainly(binding, moment, slot, hash, units, &mark);
	return result == BUCKET_TAKEN ||
	       (result == BUCKET_IS_UNSET && take_new(binding, hash, units, NULL));
}

static int decide_batch(struct weir_endpoint *rule, const struct binding *binding,
			struct weir_key_call *calls, size_t count)
{
	uint64_t hashes[BATCH];
	struct moment moment;
	int fault = 0;

	for (size_t i = 0; i < count; i++) {
		if (calls[i].key_bytes > WEIR_KEY_MAX)
			continue;
		hashes[i] = hash_of(binding, calls[i].key, calls[i].key_bytes);
		keyed_prefetch(keyed_home(&binding->keyed, hashes[i]));
	}
	moment_read(binding, &binding->time, &moment);
	for (size_t i = 0; i < count; i++) {
		struct weir_key_call *call = &calls[i];
		int status;

		if (call->key_bytes <= WEIR_KEY_MAX &&
		    take_one(binding, &moment, hashes[i], call->cost)) {
			call->verdict = WEIR_ADMIT;
			call->reason = WEIR_REASON_NONE;
			call->wait_ns = 0;
			continue;
		}
		/* a refusal by a time that was read before the mark is none yet */
		status = decide_call(rule, call);
		fault = fault ? fault : status;
	}
	return fault;
}

int64_t weir_acquire_keys(struct weir_endpoint *rule, struct weir_key_call *calls, size_t count)
{
	int64_t admitted = 0;
	int fault = 0;

	for (size_t at = 0; at < count; at += BATCH) {
		const struct binding *binding = endpoint_binding(rule);
		size_t now = count - at < BATCH ? count - at : BATCH;
		int status = 0;

		if (is_ready(binding))
			status = decide_batch(rule, binding, calls + at, now);
		else
			/* whatever has changed is known after the first */
			now = 1, status = decide_call(rule, calls + at);
		fault = fault ? fault : status;
		for (size_t i = at; i < at + now; i++)
			admitted += calls[i].verdict == WEIR_ADMIT;
		at -= BATCH - now;
	}
	return fault ? fault : admitted;
}

/* ---- looking, giving back, filling ---- */

/* A binding that is current, and a key's hash in it. Returns 0 or a code. */
static int find_bucket(struct weir_endpoint *rule, const void *key, size_t bytes,
		       struct binding **binding, uint64_t *hash)
{
	*binding = endpoint_binding(rule);
	if (!binding_is_current(*binding)) {
		int status = endpoint_refresh(rule);

		if (status < 0)
			return status;
		*binding = endpoint_binding(rule);
	}
	if (!(*binding)->keyed.bins || (*binding)->key)
		return WEIR_EKEY;
	if (bytes > WEIR_KEY_MAX)
		return WEIR_EVALUE;
	*hash = hash_of(*binding, key, bytes);
	return 0;
}

/* A key whose mark is still in the pair that is being replaced comes here first. */
static int bring_here(struct weir_endpoint *rule, struct binding *binding, uint64_t hash)
{
	const struct keyed table = table_of(binding);
	struct bucket_windows out;
	struct key_seen seen;
	struct line line;
	struct keyed_want want = {.want = {.least = 1, .most = 1, .limit = UINT64_MAX}};
	uint64_t now;
	int status;

	keyed_find(&table, hash, &seen);
	if (seen.slot)
		return 0;
	now = line_read(binding->row, &binding->time, &line);
	status = want_first(rule, binding, hash, &line, &want);
	if (status == 0 && want.first != BUCKET_UNSET)
		keyed_take(&table, hash, &seen, &line, now, &want, &out);
	return status;
}

int weir_peek_key(struct weir_endpoint *rule, const void *key, size_t key_bytes,
		  struct weir_level *out)
{
	struct binding *binding;
	struct binding of_key;
	uint64_t hash;
	int status = find_bucket(rule, key, key_bytes, &binding, &hash);

	if (status == 0)
		status = bring_here(rule, binding, hash);
	if (status < 0)
		return status;
	memcpy(&of_key, binding, sizeof(of_key));
	of_key.key = hash;
	endpoint_level(&of_key, out);
	return 0;
}

int weir_return_key(struct weir_endpoint *rule, const void *key, size_t key_bytes, double cost,
		    double *returned)
{
	struct binding *binding;
	struct line line;
	uint64_t hash;
	uint64_t back = 0;
	uint64_t units;
	uint64_t now;
	int status = find_bucket(rule, key, key_bytes, &binding, &hash);

	if (status == 0)
		status = bring_here(rule, binding, hash);
	if (status < 0)
		return status;
	now = line_read(binding->row, &binding->time, &line);
	units = cost_units(cost, 1ull << line.k);
	if (units == 0 || isinf(cost))
		return WEIR_ECOST;
	if (!(line.flags & (LINE_UNLIMITED | LINE_SHADOW)))
		back = keyed_give_back(&binding->keyed, hash, &line, now, units, 0);
	if (back)
		tally_add(&binding->tallies, 0, COUNT_RETURNED_UNITS, back);
	if (returned)
		*returned = (double)back / (double)(1ull << line.k);
	return 0;
}

int weir_reset_key(struct weir_endpoint *rule, const void *key, size_t key_bytes)
{
	struct binding *binding;
	uint64_t hash;
	int status = find_bucket(rule, key, key_bytes, &binding, &hash);

	if (status == 0)
		status = bring_here(rule, binding, hash);
	if (status == 0)
		rules_reset_key(&binding->attachment->segment, binding->row_index, hash);
	return status;
}
