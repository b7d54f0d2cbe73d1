/* SPDX-License-Identifier: Apache-2.0 */
#include "property_life.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- the report ---- */

void life_say(struct life *life, const char *format, ...)
{
	char *line = life->lines[life->line_count++ % LIFE_LINES];
	int length = snprintf(line, LIFE_LINE_BYTES, "%4u at %llu: ", life->step,
			      (unsigned long long)life->model.now_ns);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(line + length, LIFE_LINE_BYTES - (size_t)length, format, arguments);
	va_end(arguments);
	if (life->aloud)
		print_message("%s\n", line);
}

void life_fail(struct life *life, const char *file, int line, const char *what)
{
	const struct model *model = &life->model;
	unsigned first = life->line_count > LIFE_LINES ? life->line_count - LIFE_LINES : 0;

	if (!life->aloud)
		for (unsigned i = first; i < life->line_count; i++)
			print_error("%s\n", life->lines[i % LIFE_LINES]);
	print_error("model: level %lld of %llu units of 2^-%u, V %llu, mark %llu, gate %#llx\n",
		    (long long)model_level(model), (unsigned long long)model->row.burst,
		    model->row.k, (unsigned long long)model_v(model),
		    (unsigned long long)model_mark_word(model),
		    (unsigned long long)model_gate_word(model));
	print_error("not so: %s\nWEIR_SEED=%#llx replays it\n", what,
		    (unsigned long long)life->seed);
	_fail(file, line);
}

double life_in_tokens(const struct life *life, uint64_t units)
{
	return ldexp((double)units, -(int)life->model.row.k);
}

/* ---- looking ---- */

static void remember_instant(struct life *life)
{
	const struct model *model = &life->model;

	life->instants[life->instant_count++ % LIFE_INSTANTS] =
		(struct life_instant){model->now_ns, model_v(model), model_minted(model)};
}

/* Where the observer finds the endpoint now. */
static struct binding *where(struct life *life)
{
	LIFE_CHECK(endpoint_refresh(life->observer) == 0);
	return endpoint_binding(life->observer);
}

/* V and both words of the bucket, which is I3 as well: a refusal has changed none of them. */
static void check_words(struct life *life)
{
	const struct model *model = &life->model;
	const struct binding *binding = where(life);
	struct line line;
	uint64_t now = line_read(binding->row, &binding->time, &line);

	LIFE_CHECK(line_value(&line, now) == model_v(model));
	LIFE_CHECK(model_is_exact(model));
	LIFE_CHECK(atomic_load(&binding->bucket->mark) == model_mark_word(model));
	LIFE_CHECK(atomic_load(&binding->bucket->gate) == model_gate_word(model));
}

void life_check_level(struct life *life, double level)
{
	double right = ldexp((double)model_level(&life->model), -(int)life->model.row.k);

	if (level != right)
		life_say(life, "a level of %.17g instead of %.17g", level, right);
	LIFE_CHECK(level == right);
}

/* Until one token could be taken, or the burst if that is less. */
static void check_peeked_wait(struct life *life, uint64_t wait_ns)
{
	const struct model *model = &life->model;
	uint64_t whole = 1ull << model->row.k;
	uint64_t one = whole < model->row.burst ? whole : model->row.burst;

	if (model_closed(model))
		LIFE_CHECK(model_wait_behind_is_right(model, model_target_behind(model, one),
						      wait_ns));
	else
		LIFE_CHECK(model_wait_is_right(
			model, model_v(model) + one - (uint64_t)model_level(model), wait_ns));
}

static void check_peek(struct life *life)
{
	const struct model *model = &life->model;
	struct weir_level level = {.size = sizeof(level)};
	uint64_t closed_ns = model_closed(model) ? model->row.gate.opens_ns - model->now_ns : 0;

	LIFE_CHECK(weir_peek(life->observer, &level) == 0);
	LIFE_CHECK(level.unit == life_in_tokens(life, 1));
	LIFE_CHECK(level.closed_ns == closed_ns);
	life_check_level(life, level.level);
	if (model->row.unlimited) {
		LIFE_CHECK(isinf(level.burst));
		LIFE_CHECK(model_closed(model) ? model_wait_behind_is_right(model, 0, level.wait_ns)
					       : level.wait_ns == 0);
		return;
	}
	LIFE_CHECK(level.burst == life_in_tokens(life, model->row.burst));
	check_peeked_wait(life, level.wait_ns);
}

void life_look_around(struct life *life)
{
	life_look_at_all(life);
	check_peek(life);
	check_words(life);
	life->step++;
	life->counts[COUNTED_STEPS]++;
}

/* ---- answers ---- */

static void check_refusal(struct life *life, const struct model_answer *expected,
			  const struct weir_answer *answer)
{
	const struct model *model = &life->model;

	LIFE_CHECK(answer->fault == expected->fault);
	LIFE_CHECK(answer->reason == expected->reason);
	life->last_wait_ns = answer->wait_ns;
	life->last_reason = answer->reason;
	if (expected->fault) {
		LIFE_CHECK(answer->wait_ns == WEIR_NEVER);
		return;
	}
	/* what is there behind a closure is of no use to anybody */
	life_check_level(life, answer->level);
	if (expected->until_opens)
		LIFE_CHECK(model_wait_behind_is_right(model, expected->target, answer->wait_ns));
	else
		LIFE_CHECK(model_wait_is_right(model, expected->target, answer->wait_ns));
}

void life_check_answer(struct life *life, const struct model_answer *expected, bool admitted,
		       const struct weir_answer *answer)
{
	LIFE_CHECK(admitted == expected->admitted);
	life->counts[COUNTED_ADMITTED] += admitted;
	life->counts[COUNTED_REFUSED] += !admitted;
	check_words(life);
	if (!answer)
		return;
	if (!admitted) {
		check_refusal(life, expected, answer);
		return;
	}
	LIFE_CHECK(answer->fault == 0 && answer->reason == WEIR_REASON_NONE);
	LIFE_CHECK(model_wait_is_right(&life->model, expected->target, answer->wait_ns));
	if (!life->model.row.unlimited)
		life_check_level(life, answer->level);
}

/* What the model says of a call, counted. */
static struct model_answer expect(struct life *life, double cost, uint64_t max_wait_ns)
{
	struct model *model = &life->model;
	bool unmet = model->row.gate.unmet;
	struct model_answer expected =
		model_take(model, model_units(cost, model->row.k), max_wait_ns);

	life->counts[COUNTED_EMPTIED] += unmet && !model->row.gate.unmet;
	return expected;
}

/* ---- taking ---- */

static int count_run(void *context)
{
	++*(int *)context;
	return 7;
}

struct weir_endpoint *life_any_caller(struct life *life)
{
	return life->callers[life_below(life, LIFE_CALLERS)];
}

static enum weir_verdict call(struct life *life, unsigned which, double cost,
			      struct weir_answer *answer)
{
	struct weir_endpoint *caller = life_any_caller(life);
	enum weir_verdict verdict;
	int runs = 0;
	int result = 0;

	if (which == 0)
		return weir_wait(caller, cost, 0, answer);
	if (which > 1)
		return weir_acquire(caller, cost, answer);
	verdict = weir_execute(caller, cost, 0, count_run, &runs, &result, answer);
	LIFE_CHECK(runs == (verdict == WEIR_ADMIT));
	LIFE_CHECK(result == 7 * runs);
	return verdict;
}

static void grant_now(struct life *life, uint64_t units)
{
	const struct model *model = &life->model;
	tokens unit = model_unit(model->row.k);
	tokens minted = model_minted(model);

	if (!model->row.unlimited)
		life_grant(life, &(struct life_grant){
					 .at_ns = model->now_ns,
					 .minted = minted,
					 .before = minted,
					 .cost = (tokens)units * unit,
					 .burst = (tokens)model->row.burst * unit,
				 });
}

/* Without an answer it is another path through weir_acquire(). */
static bool take(struct life *life, double cost, bool answered)
{
	struct model_answer expected = expect(life, cost, 0);
	unsigned which = (unsigned)life_below(life, 8);
	struct weir_answer answer;
	bool admitted = call(life, which, cost, answered ? &answer : NULL) == WEIR_ADMIT;

	life_say(life, "take %.17g: %s, wait %llu", cost, admitted ? "yes" : "no",
		 answered ? (unsigned long long)answer.wait_ns : 0);
	life_check_answer(life, &expected, admitted, answered ? &answer : NULL);
	if (admitted)
		grant_now(life, model_units(cost, life->model.row.k));
	return admitted;
}

bool life_take(struct life *life, double cost)
{
	return take(life, cost, !life_chance(life, 30));
}

void life_wait_in_vain(struct life *life, double cost)
{
	if (take(life, cost, true) || life->last_wait_ns == 0)
		return;

	uint64_t most = life->last_wait_ns < LIFE_NS ? life->last_wait_ns : LIFE_NS;
	uint64_t timeout_ns = life_below(life, most);
	struct model_answer expected = expect(life, cost, timeout_ns);
	struct weir_answer answer;
	bool admitted = weir_wait(life_any_caller(life), cost, timeout_ns, &answer) == WEIR_ADMIT;

	life_say(life, "wait %.17g for %llu: no, wait %llu", cost, (unsigned long long)timeout_ns,
		 (unsigned long long)answer.wait_ns);
	life_check_answer(life, &expected, admitted, &answer);
}

void life_nonsense(struct life *life)
{
	static const double costs[] = {0, -0.0, -1, -INFINITY, NAN};
	double cost = costs[life_below(life, sizeof(costs) / sizeof(costs[0]))];
	struct weir_answer answer;

	LIFE_CHECK(weir_acquire(life_any_caller(life), cost, &answer) == WEIR_REFUSE);
	LIFE_CHECK(answer.fault == WEIR_ECOST && answer.wait_ns == WEIR_NEVER);
	model_use(&life->model);
	life_say(life, "cost %g is none", cost);
}

/* What a double cannot hold in one piece is taken in several. */
void life_drain(struct life *life)
{
	for (int pieces = 0; pieces < 3 && !life->model.row.unlimited; pieces++) {
		int64_t level = model_level(&life->model);
		uint64_t units = level > 0 ? (uint64_t)level : 0;

		while (units >> 53)
			units &= units - 1;
		if (units == 0 || !life_take(life, life_in_tokens(life, units)))
			break;
	}
	life_take(life, life_in_tokens(life, 1));
}

/* ---- callers with old readings ---- */

void life_stop(struct life *life, double cost)
{
	const struct model_row *row = &life->model.row;
	struct life_stopped *stopped = NULL;
	struct line line;

	for (int i = 0; i < LIFE_STOPPED; i++)
		if (!life->stopped[i].live)
			stopped = &life->stopped[i];
	/* as a call does that gets so far */
	if (!stopped || row->fresh || row->gate.unmet || row->unlimited ||
	    model_units(cost, row->k) > row->burst)
		return;
	remember_instant(life);
	*stopped = (struct life_stopped){
		.live = true,
		.binding = where(life),
		.units = model_units(cost, row->k),
		.burst = row->burst,
		.k = row->k,
		.moves = life->model.moves,
		.instant = life->instant_count - 1,
	};
	stopped->mark = bucket_load(stopped->binding->bucket);
	stopped->v =
		line_value(&line, line_read(stopped->binding->row, &stopped->binding->time, &line));
	life_say(life, "somebody is stopped before taking %.17g", cost);
}

/* It counts at the last moment at which V had not gone further than what it was added to. */
static void grant_late(struct life *life, const struct life_stopped *stopped, uint64_t position)
{
	unsigned found = stopped->instant;
	tokens unit = model_unit(stopped->k);

	for (unsigned i = found; i < life->instant_count; i++)
		if ((int64_t)(life->instants[i].v - (position - stopped->units)) <= 0)
			found = i;
	life_grant(life, &(struct life_grant){
				 .at_ns = life->instants[found].at_ns,
				 .minted = life->instants[found].minted,
				 .before = life->instants[found].minted,
				 .cost = (tokens)stopped->units * unit,
				 .burst = (tokens)stopped->burst * unit,
			 });
	life->counts[COUNTED_LATE]++;
}

/* Whether `units` on top of a mark are within the burst that it read. */
static bool fits(const struct life_stopped *stopped, uint64_t mark)
{
	uint64_t base = (int64_t)(mark - stopped->v) > 0 ? mark : stopped->v;

	return base + stopped->units - stopped->v <= stopped->burst;
}

void life_go_on(struct life *life, unsigned which)
{
	struct life_stopped *stopped = &life->stopped[which];
	uint64_t *mark = &life->model.row.mark;
	struct bucket_mark found;
	enum bucket_result right = BUCKET_REFUSED;

	if (!stopped->live)
		return;
	stopped->live = false;
	if (fits(stopped, stopped->mark)) /* else refused by what it had read */
		right = stopped->moves != life->model.moves ? BUCKET_IS_FROZEN
			: fits(stopped, *mark)		    ? BUCKET_TAKEN
							    : BUCKET_REFUSED;

	enum bucket_result result =
		bucket_take_from(stopped->binding->bucket, stopped->mark, stopped->v,
				 stopped->units, stopped->burst, &found);

	life_say(life, "who was stopped goes on with %llu units: %d",
		 (unsigned long long)stopped->units, result);
	LIFE_CHECK(result == right);
	if (result != BUCKET_TAKEN)
		return;
	*mark = ((int64_t)(*mark - stopped->v) > 0 ? *mark : stopped->v) + stopped->units;
	grant_late(life, stopped, *mark);
}

/* ---- time ---- */

/* To the next moment at which somebody's turn comes up, or the endpoint opens. */
static uint64_t next_moment(const struct life *life, uint64_t by_ns)
{
	const struct model *model = &life->model;

	if (model_closed(model) && model->row.gate.opens_ns - model->now_ns < by_ns)
		by_ns = model->row.gate.opens_ns - model->now_ns;
	for (int i = 0; i < LIFE_HELD; i++) {
		const struct life_held *held = &life->held[i];

		if (held->live && !held->granted && held->wait_ns && held->wait_ns < by_ns)
			by_ns = held->wait_ns;
	}
	return by_ns;
}

void life_advance(struct life *life, uint64_t by_ns)
{
	life_say(life, "advance %llu", (unsigned long long)by_ns);
	if (by_ns > life->left_ns)
		by_ns = life->left_ns;
	life->left_ns -= by_ns;
	while (by_ns) {
		uint64_t step = next_moment(life, by_ns);
		tokens slack = life->model.slack;

		LIFE_CHECK(weir_clock_advance(life->weir, step) == 0);
		model_advance(&life->model, step);
		life->slack += life->model.slack - slack;
		remember_instant(life);
		life_look_at_all(life);
		by_ns -= step;
	}
}

void life_probe_wait(struct life *life, double cost)
{
	if (take(life, cost, true) || life->last_wait_ns >= life->left_ns)
		return;

	uint64_t wait_ns = life->last_wait_ns;

	/* who lost a place will draw another */
	if (life_somebody_will_draw(life))
		return;
	LIFE_CHECK(wait_ns > 0);
	life_advance(life, wait_ns - 1);
	LIFE_CHECK(!take(life, cost, true) && life->last_wait_ns == 1);
	life_advance(life, 1);
	LIFE_CHECK(take(life, cost, true));
	life->counts[COUNTED_SLEPT]++;
}

/* ---- changes ---- */

static unsigned rows_used(struct life *life)
{
	return atomic_load(&where(life)->attachment->segment.rules->rows_used);
}

void life_update(struct life *life, const struct model_rule *rule, enum weir_keep keep)
{
	struct model *model = &life->model;
	unsigned rows = rows_used(life);
	char rate[60];
	char burst[40];

	life_rate_text(&rule->rate, rate, sizeof(rate));
	life_tokens_text(rule->burst_micro, burst, sizeof(burst));

	int status = weir_update(life->weir, life->target, rate, burst, keep);
	unsigned moves = rows_used(life) - rows;

	life_say(life, "update %s %s keep %d: %s%s", rate, burst, keep, weir_strerror(status),
		 moves ? ", moved" : "");
	if (status == WEIR_EROWS) { /* no row is left, or [default] would need another unit */
		LIFE_CHECK(moves == 0);
		return;
	}
	LIFE_CHECK(status == 0);
	life->counts[COUNTED_MOVED] += moves;
	life_gift(life, model_publish(model, rule, keep, moves > 0));
	life->slack++;
	if (model->row.k < life->coarsest_k)
		life->coarsest_k = model->row.k;
	life->counts[COUNTED_PUBLISHED]++;
}

void life_close(struct life *life, uint64_t duration_ns)
{
	LIFE_CHECK(weir_gate_close(life_any_caller(life), duration_ns) == 0);
	if (duration_ns > 0)
		model_close(&life->model, duration_ns);
	life->counts[COUNTED_CLOSED]++;
	life_say(life, "close for %llu", (unsigned long long)duration_ns);
}

void life_open(struct life *life)
{
	LIFE_CHECK(weir_gate_open(life_any_caller(life)) == 0);
	model_open(&life->model);
	life_say(life, "open");
}

void life_reset(struct life *life)
{
	LIFE_CHECK(weir_reset(life->weir, life->name) == 0);
	life_gift(life, model_reset(&life->model));
	life->counts[COUNTED_RESETS]++;
	life_say(life, "reset");
}

/* ---- a life ---- */

/* The endpoint has a row of its own, or falls under a pattern or under [default]. */
static void random_endpoint(struct life *life, char *ini, size_t bytes)
{
	static const struct {
		const char *section;
		const char *name;
		const char *target;
	} kinds[] = {
		{"endpoint api", "api", "api"},
		{"endpoint api", "api", "api"},
		{"endpoint api/*", "api/users", "api/*"},
		{"default", "api", "api"},
		{"default", "api", "*"},
	};
	const struct model_rule *rule = &life->model.rule;
	size_t kind = life_below(life, sizeof(kinds) / sizeof(kinds[0]));
	char rate[60];
	char burst[40];
	char initial[40];
	char max_wait[40];

	life->name = kinds[kind].name;
	life->target = kinds[kind].target;
	life_rate_text(&rule->rate, rate, sizeof(rate));
	life_tokens_text(rule->burst_micro, burst, sizeof(burst));
	life_tokens_text(rule->initial_micro, initial, sizeof(initial));
	snprintf(max_wait, sizeof(max_wait), "%lluns", (unsigned long long)rule->max_wait_ns);
	snprintf(ini, bytes,
		 "[weir]\nendpoints = 48\nnames = 16\n[%s]\n"
		 "rate = %s\nburst = %s\ninitial = %s\nmax_wait = %s\n",
		 kinds[kind].section, rate, burst, initial,
		 rule->max_wait_ns ? max_wait : "unlimited");
}

void life_begin(struct life *life, uint64_t seed, bool aloud, unsigned long *counts)
{
	char message[500] = "";
	char ini[500];

	memset(life, 0, offsetof(struct life, instants));
	life->seed = life->random = seed;
	life->aloud = aloud;
	life->counts = counts;
	life->left_ns = LIFE_NS;
	life->model.rule = life_random_rule(life, true);
	random_endpoint(life, ini, sizeof(ini));
	life_say(life, "%s", ini);
	if (weir_host(&life->weir, ini, WEIR_CLOCK_MANUAL, NULL, message, sizeof(message)) < 0)
		fail_msg("%s", message);
	for (int i = 0; i < LIFE_CALLERS; i++)
		LIFE_CHECK(weir_endpoint(life->weir, life->name, &life->callers[i]) == 0);
	LIFE_CHECK(weir_endpoint(life->weir, life->name, &life->observer) == 0);

	const struct model_rule rule = life->model.rule;

	model_begin(&life->model, &rule, weir_clock_now(life->weir));
	life->coarsest_k = life->model.row.k;
	remember_instant(life);
}

bool life_is_full(const struct life *life)
{
	return life->grant_count > LIFE_GRANTS - 200 || life->instant_count > LIFE_INSTANTS - 200;
}

/* ---- I1 ---- */

void life_grant(struct life *life, const struct life_grant *grant)
{
	unsigned i = life->grant_count++;

	LIFE_CHECK(i < LIFE_GRANTS);
	for (; i > 0 && life->grants[i - 1].at_ns > grant->at_ns; i--)
		life->grants[i] = life->grants[i - 1];
	life->grants[i] = *grant;
}

void life_gift(struct life *life, tokens amount)
{
	tokens minted = model_minted(&life->model);

	if (amount > 0)
		life_grant(life, &(struct life_grant){
					 .at_ns = life->model.now_ns,
					 .minted = minted,
					 .before = minted,
					 .cost = -amount,
				 });
}

static tokens larger(tokens a, tokens b)
{
	return a > b ? a : b;
}

/*
 * Every interval that begins with this grant. Grants of one moment have no order: all of them are
 * in an interval, or none. V is cut to units, so what it advances between two moments may differ
 * by `blur` from what is minted.
 */
static void check_intervals(struct life *life, unsigned first, tokens blur)
{
	tokens begin = life->grants[first].before;
	tokens granted = 0;
	tokens burst = 0;
	tokens excess = 0;

	for (unsigned i = first; i < life->grant_count; i++) {
		const struct life_grant *grant = &life->grants[i];

		granted += grant->cost;
		burst = larger(burst, grant->burst);
		excess = larger(excess, grant->excess);
		if (grant->at_ns == life->grants[first].at_ns)
			begin = -larger(-begin, -grant->before);
		if (i + 1 < life->grant_count && grant[1].at_ns == grant->at_ns)
			continue;

		tokens minted = grant->minted - begin;
		tokens bound = burst + excess + minted + (minted ? blur : 0);

		if (granted > bound)
			life_say(life, "from %llu to %llu %.17g more than given back, %.17g right",
				 (unsigned long long)life->grants[first].at_ns,
				 (unsigned long long)grant->at_ns, ldexp((double)granted, -64),
				 ldexp((double)bound, -64));
		LIFE_CHECK(granted <= bound);
	}
}

void life_end(struct life *life)
{
	tokens blur = model_unit(life->coarsest_k) + life->slack;

	for (unsigned i = 0; i < life->grant_count; i++)
		if (i == 0 || life->grants[i - 1].at_ns < life->grants[i].at_ns)
			check_intervals(life, i, blur);
	for (int i = 0; i < LIFE_CALLERS; i++)
		weir_endpoint_close(life->callers[i]);
	weir_endpoint_close(life->observer);
	weir_close(life->weir);
}
