/* SPDX-License-Identifier: Apache-2.0 */
#include "property_model.h"

#include <math.h>

#define MICRO 1000000u
#define TEN_YEARS_S 315576000u
#define SECOND_NS 1000000000u
#define K_MAX 59u		       /* no unit is finer than 2^-59 token */
#define FAR (1ull << 61)	       /* no mark is more units ahead of V */
#define ELAPSED_MAX ((1ull << 60) - 1) /* V stands still after so long without a publication */
#define GRAIN_NS 0x10000ull	       /* closures end in steps of so much */
#define END_OF_TIME (0 - GRAIN_NS)

/* ---- arithmetic ---- */

uint64_t model_units(double cost, unsigned k)
{
	int exponent;
	/* cost = mantissa * 2^shift units */
	wide mantissa = (wide)ldexp(frexp(cost, &exponent), 53);
	int shift = exponent - 53 + (int)k;
	wide units = 1;

	if (shift >= 0)
		units = shift < 62 ? mantissa << shift : (wide)1 << 62;
	else if (shift > -64)
		units = (mantissa + ((wide)1 << -shift) - 1) >> -shift;
	return units > (wide)1 << 62 ? 1ull << 62 : (uint64_t)units;
}

static wide units_of_micro(uint64_t micro, unsigned k)
{
	return (((wide)micro << k) + MICRO - 1) / MICRO;
}

unsigned model_best_k(const struct model_rule *rule)
{
	bool nominal = rule->rate.unlimited || rule->rate.micro == 0;
	uint64_t micro = nominal ? 1000ull * MICRO : rule->rate.micro;
	uint64_t period_ns = nominal ? SECOND_NS : rule->rate.period_ns;
	wide minted = (wide)micro * 1000 * 64 * TEN_YEARS_S; /* over period_ns, so many tokens */
	unsigned k = K_MAX;

	while (k > 0 && (minted > ((wide)period_ns << 62) >> k ||
			 units_of_micro(rule->burst_micro, k) >= (wide)1 << 60))
		k--;
	return k;
}

/* num / den * 2^(2 * half), rounded down or up */
static wide scaled_ratio(wide num, wide den, unsigned half, bool up)
{
	wide first = num % den << half;
	wide second = first % den << half;

	return (num / den << 2 * half) + (first / den << half) + second / den +
	       (up && second % den != 0);
}

/* What a rate mints in so many nanoseconds, rounded down. */
static tokens minted_in(const struct model_rate *rate, uint64_t ns)
{
	wide token = (wide)MICRO * rate->period_ns;

	return rate->unlimited ? 0 : (tokens)scaled_ratio((wide)rate->micro * ns, token, 32, false);
}

/* From one unit to another, rounded up. */
static uint64_t rescaled(uint64_t units, unsigned from_k, unsigned to_k)
{
	unsigned down = from_k > to_k ? from_k - to_k : 0;
	unsigned up = to_k > from_k ? to_k - from_k : 0;
	wide scaled = (((wide)units << up) + ((wide)1 << down) - 1) >> down;

	return scaled > FAR ? FAR : (uint64_t)scaled;
}

static uint64_t later(uint64_t a, uint64_t b)
{
	return (int64_t)(a - b) > 0 ? a : b;
}

/* ---- the line ---- */

static wide row_wide(const struct model_row *row, uint64_t at_ns)
{
	int64_t ahead = (int64_t)(at_ns - row->since_ns);
	uint64_t elapsed = ahead > 0 ? (uint64_t)ahead : 0; /* none for "for ever" as well */

	if (elapsed > ELAPSED_MAX)
		elapsed = ELAPSED_MAX;
	return row->value + (wide)elapsed * 16 * row->slope;
}

static uint64_t row_value(const struct model_row *row, uint64_t at_ns)
{
	return (uint64_t)(row_wide(row, at_ns) >> 64);
}

/* A rule in units of 2^-k; the bucket and V stay as they are. */
static void row_set(struct model_row *row, const struct model_rule *rule, unsigned k)
{
	const struct model_rate *rate = &rule->rate;
	wide reach = FAR;

	row->k = k;
	row->unlimited = rate->unlimited;
	row->burst = (uint64_t)units_of_micro(rule->burst_micro, k);
	row->initial = (uint64_t)units_of_micro(rule->initial_micro, k);
	row->slope = rate->unlimited
			     ? 0
			     : (uint64_t)scaled_ratio((wide)rate->micro << k,
						      (wide)MICRO * rate->period_ns, 30, true);
	if (rule->max_wait_ns)
		reach = ((wide)rule->max_wait_ns * row->slope >> 60) + row->burst;
	row->reach = reach > FAR ? FAR : (uint64_t)reach;
}

void model_begin(struct model *model, const struct model_rule *rule, uint64_t now_ns)
{
	*model = (struct model){.rule = *rule, .now_ns = now_ns};
	row_set(&model->row, rule, model_best_k(rule));
	model->row.since_ns = now_ns;
	model->row.value = (wide)1 << 64;
	model->row.fresh = true;
}

void model_advance(struct model *model, uint64_t by_ns)
{
	model->now_ns += by_ns;
	model->slack += ((tokens)by_ns * model_unit(model->row.k) >> 60) + 1;
}

tokens model_minted(const struct model *model)
{
	return model->minted + minted_in(&model->rule.rate, model->now_ns - model->row.since_ns);
}

uint64_t model_value(const struct model *model, uint64_t at_ns)
{
	return row_value(&model->row, at_ns);
}

bool model_is_exact(const struct model *model)
{
	tokens unit = model_unit(model->row.k);
	tokens more = (tokens)(model_v(model) - 1) * unit - (model_minted(model) - model->born);

	return more > -unit && more <= model->slack;
}

/* ---- the bucket ---- */

uint64_t model_mark_word(const struct model *model)
{
	return model->row.fresh ? 0 : model->row.mark;
}

uint64_t model_gate_word(const struct model *model)
{
	const struct model_gate *gate = &model->row.gate;

	return gate->opens_ns | (uint64_t)gate->unmet << 15 | (gate->closings & 0x7f) << 8 |
	       (gate->resets & 0xff);
}

void model_use(struct model *model)
{
	struct model_row *row = &model->row;

	if (row->fresh)
		row->mark = model_v(model) + row->burst - row->initial;
	row->fresh = false;
}

static bool opened(const struct model *model)
{
	return model->row.gate.unmet && !model_closed(model);
}

/* The first call after a closure finds the bucket empty as of the opening. */
static void meet_opening(struct model *model)
{
	struct model_row *row = &model->row;

	if (!opened(model))
		return;
	row->mark = later(row->mark, row_value(row, row->gate.opens_ns) + row->burst);
	row->gate.unmet = false;
}

static int64_t level_at(const struct model_row *row, uint64_t v)
{
	return (int64_t)(row->burst - (later(row->mark, v) - v));
}

int64_t model_level(const struct model *model)
{
	struct model then = *model;

	model_use(&then);
	meet_opening(&then);
	return level_at(&then.row, model_v(model));
}

/* How far ahead of V one may stand who would wait so long. */
static uint64_t limit_of(const struct model *model, uint64_t max_wait_ns)
{
	const struct model_row *row = &model->row;
	uint64_t at = model->now_ns + max_wait_ns;
	uint64_t limit = row->slope ? row->reach : row->burst;

	if (max_wait_ns == 0)
		return row->burst;
	if (max_wait_ns != WEIR_FOREVER && at > model->now_ns && !(at >> 63))
		limit = row->burst + (row_value(row, at) - model_v(model));
	return limit < row->reach ? limit : row->reach;
}

static bool never(const struct model *model, uint64_t target)
{
	const struct model_row *row = &model->row;
	uint64_t v = model_v(model);

	return (int64_t)(target - v) > 0 &&
	       target - v > row_value(row, row->since_ns + ELAPSED_MAX) - v;
}

static struct model_answer take_from_bucket(struct model *model, uint64_t units,
					    uint64_t max_wait_ns)
{
	struct model_row *row = &model->row;
	uint64_t v = model_v(model);
	uint64_t next = later(row->mark, v) + units;
	uint64_t limit = limit_of(model, max_wait_ns);
	struct model_answer answer = {.target = next - row->burst, .position = next};

	answer.admitted = next - v <= limit;
	if (answer.admitted)
		row->mark = next;
	else if (never(model, answer.target))
		answer.reason = WEIR_REASON_NEVER;
	else if (limit == row->burst)
		answer.reason = WEIR_REASON_LEVEL;
	else
		answer.reason = limit == row->reach ? WEIR_REASON_QUEUE : WEIR_REASON_DEADLINE;
	return answer;
}

uint64_t model_target_behind(const struct model *model, uint64_t units)
{
	const struct model_row *row = &model->row;

	return later(row->mark, row_value(row, row->gate.opens_ns) + row->burst) + units -
	       row->burst;
}

bool model_wait_behind_is_right(const struct model *model, uint64_t target, uint64_t wait_ns)
{
	uint64_t opens_ns = model->row.gate.opens_ns;

	if (opens_ns + 0x10000 == 0)
		return wait_ns == WEIR_NEVER;
	if (model->row.unlimited)
		return wait_ns == opens_ns - model->now_ns;
	if (wait_ns == opens_ns - model->now_ns)
		return (int64_t)(target - model_value(model, opens_ns)) <= 0;
	return wait_ns > opens_ns - model->now_ns && model_wait_is_right(model, target, wait_ns);
}

struct model_answer model_take(struct model *model, uint64_t units, uint64_t max_wait_ns)
{
	const struct model_row *row = &model->row;

	model_use(model);
	if (units > row->burst && !row->unlimited)
		return (struct model_answer){.fault = WEIR_EBURST, .reason = WEIR_REASON_NEVER};
	if (model_closed(model))
		return (struct model_answer){.reason = WEIR_REASON_CLOSED,
					     .until_opens = true,
					     .target = model_target_behind(model, units)};
	meet_opening(model);
	if (row->unlimited)
		return (struct model_answer){
			.admitted = true,
			.target = model_v(model),
			.position = model_v(model),
		};
	return take_from_bucket(model, units, max_wait_ns);
}

bool model_wait_is_right(const struct model *model, uint64_t target, uint64_t wait_ns)
{
	uint64_t at = model->now_ns + wait_ns;

	if (wait_ns == WEIR_NEVER)
		return never(model, target);
	return (int64_t)(target - model_value(model, at)) <= 0 &&
	       (wait_ns == 0 || (int64_t)(target - model_value(model, at - 1)) > 0);
}

void model_charge(struct model *model, double cost)
{
	struct model_row *row = &model->row;
	uint64_t units = model_units(cost, row->k);
	uint64_t v = model_v(model);
	uint64_t base = later(row->mark, v);
	uint64_t room = base - v < FAR ? FAR - (base - v) : 0;

	if (!row->unlimited)
		row->mark = base + (units < room ? units : room);
}

/* ---- places ---- */

struct model_place model_place(const struct model *model, const struct model_answer *answer,
			       uint64_t units)
{
	return (struct model_place){
		.position = answer->position,
		.units = units,
		.k = model->row.k,
		.closings = model->row.gate.closings,
		.resets = model->row.gate.resets,
		.moves = model->moves,
		.charged = !model->row.unlimited,
	};
}

/* Its bucket was refilled since it was taken, or its turn came up during a closure. */
static bool void_in(const struct model_place *place, const struct model_row *row)
{
	if (place->resets != row->gate.resets)
		return true;
	return place->closings != row->gate.closings &&
	       (int64_t)(place->position - row->burst - row_value(row, row->gate.opens_ns)) <= 0;
}

/* The level that is to be kept of one, where the burst changes. */
static int64_t kept_level(enum weir_keep keep, int64_t level, uint64_t before, uint64_t after)
{
	if (keep == WEIR_KEEP_PROPORTIONAL && level > 0)
		level = (int64_t)((wide)level * after / before);
	return keep == WEIR_KEEP_RESET || level > (int64_t)after ? (int64_t)after : level;
}

/* Where a mark of the old row is in the present one, with what is kept on the way. */
static uint64_t translated(const struct model *model, uint64_t mark)
{
	uint64_t ahead =
		rescaled(later(mark, model->old_v) - model->old_v, model->old.k, model->row.k);
	uint64_t before = rescaled(model->old.burst, model->old.k, model->row.k);
	uint64_t after = model->row.burst;

	if (model->kept == WEIR_KEEP_USED)
		return 1 + ahead;
	return 1 + after -
	       (uint64_t)kept_level(model->kept, (int64_t)(before - ahead), before, after);
}

bool model_place_void(const struct model *model, struct model_place *place)
{
	const struct model_gate *gate = &model->row.gate;

	if (place->moves != model->moves) {
		if (model->moves - place->moves > 1 || model->kept == WEIR_KEEP_RESET ||
		    void_in(place, &model->old))
			return true;
		place->position = translated(model, place->position);
		place->units = rescaled(place->units, place->k, model->row.k);
		place->k = model->row.k;
		place->moves = model->moves;
		/* a closure that came along, or came since, is still to be weighed */
		place->closings = gate->closings - gate->unmet;
	}
	return void_in(place, &model->row);
}

enum model_look model_look(struct model *model, struct model_place *place)
{
	struct model_row *row = &model->row;
	bool lost = model_place_void(model, place);

	if (lost && place->moves != model->moves)
		return MODEL_VOID;
	if (model_closed(model))
		return MODEL_BEHIND;
	meet_opening(model);
	if (void_in(place, row))
		return MODEL_VOID;
	place->closings = row->gate.closings;
	return row->unlimited || (int64_t)(place->position - row->burst - model_v(model)) <= 0
		       ? MODEL_DUE
		       : MODEL_LATER;
}

uint64_t model_give_back(struct model *model, struct model_place *place, uint64_t units)
{
	struct model_row *row = &model->row;
	unsigned k = place->k;
	uint64_t v = model_v(model);

	if (model_place_void(model, place) || !place->charged)
		return 0;
	/* its units were rounded up in the new unit; what goes back is rounded down */
	units = place->k < k ? units >> (k - place->k) : rescaled(units, k, place->k);

	uint64_t beyond = later(row->mark, v) - v;

	if (beyond > row->burst && row->mark != place->position)
		return 0;
	units = units < place->units ? units : place->units;
	units = units < beyond ? units : beyond;
	row->mark -= units;
	return units;
}

/* ---- the gate ---- */

static uint64_t rounded_up(uint64_t ns)
{
	return ns > END_OF_TIME ? END_OF_TIME : (ns + GRAIN_NS - 1) / GRAIN_NS * GRAIN_NS;
}

void model_close(struct model *model, uint64_t duration_ns)
{
	struct model_gate *gate = &model->row.gate;
	uint64_t until =
		duration_ns > UINT64_MAX - model->now_ns ? UINT64_MAX : model->now_ns + duration_ns;

	until = rounded_up(until);
	if (!model_closed(model))
		gate->closings++;
	else if (until <= gate->opens_ns)
		return;
	gate->unmet = true;
	gate->opens_ns = until;
}

void model_open(struct model *model)
{
	if (model_closed(model))
		model->row.gate.opens_ns = model->now_ns / GRAIN_NS * GRAIN_NS;
}

/* ---- changes ---- */

tokens model_spoken(const struct model *model)
{
	uint64_t v = model_v(model);

	return (tokens)(later(model->row.mark, v) - v) * model_unit(model->row.k);
}

/* Voids all places, and sets the mark so that the level is what is to be kept. */
static void set_level(struct model *model, enum weir_keep keep, int64_t level, uint64_t before)
{
	struct model_row *row = &model->row;

	if (keep == WEIR_KEEP_USED)
		return;
	row->mark =
		model_v(model) + row->burst - (uint64_t)kept_level(keep, level, before, row->burst);
	row->gate.resets++;
	row->gate.unmet = model_closed(model);
}

/* A new line begins where the old one is, and nobody knows of the old one any more. */
static void begin_line(struct model *model)
{
	struct model_row *row = &model->row;

	model->minted = model_minted(model);
	row->value = row_wide(row, model->now_ns);
	row->since_ns = model->now_ns;
	model->slack++;
}

static void publish_here(struct model *model, const struct model_rule *rule, enum weir_keep keep)
{
	struct model_row *row = &model->row;
	uint64_t before = row->burst;
	int64_t level = level_at(row, model_v(model));

	begin_line(model);
	row_set(row, rule, row->k);
	set_level(model, keep, level, before);
}

static void publish_elsewhere(struct model *model, const struct model_rule *rule,
			      enum weir_keep keep)
{
	struct model_row *row = &model->row;

	begin_line(model);
	model->old = *row;
	model->old_v = model_v(model);
	model->moves++;
	model->born = model->minted;
	model->slack = 1;
	row_set(row, rule, model_best_k(rule));
	row->value = (wide)1 << 64;
	/* whoever helps does it, and places come along */
	model->kept = keep;
	row->mark = translated(model, row->mark);
}

tokens model_publish(struct model *model, const struct model_rule *rule, enum weir_keep keep,
		     bool moved)
{
	tokens before = model_spoken(model);

	/* a level that is to be kept is the one after the opening */
	if (keep != WEIR_KEEP_USED)
		meet_opening(model);
	(moved ? publish_elsewhere : publish_here)(model, rule, keep);
	model->rule = *rule;
	return before - model_spoken(model);
}

tokens model_reset(struct model *model)
{
	tokens before = model_spoken(model);

	model_use(model);
	set_level(model, WEIR_KEEP_RESET, 0, 0);
	begin_line(model); /* which wakes who sleeps */
	return before - model_spoken(model);
}
