/* SPDX-License-Identifier: Apache-2.0 */
#include "property_life.h"

#include <math.h>

/* Its turn has come: there and then, or since it was last looked at. */
static void grant(struct life *life, struct life_held *held)
{
	const struct model *model = &life->model;
	const struct model_row *row = &model->row;
	tokens burst = (tokens)row->burst * model_unit(row->k);
	tokens minted = model_minted(model);
	int64_t ago = (int64_t)(model_v(model) - (held->place.position - row->burst));
	tokens since = held->wait_ns ? (tokens)ago * model_unit(row->k) : 0;

	held->granted = true;
	if (!held->place.charged || row->unlimited)
		return;
	if (held->moves != model->moves) /* places that came along were rounded to one unit */
		since += model_unit(life->coarsest_k);
	life_grant(life, &(struct life_grant){
				 .at_ns = model->now_ns,
				 .minted = minted,
				 .before = minted - since,
				 .cost = held->cost,
				 .burst = burst,
				 .excess = held->cost > burst ? held->cost - burst : 0,
			 });
}

/* A new place for what the reservation is about. */
static void hold(struct life *life, struct life_held *held, const struct model_answer *answer,
		 uint64_t units)
{
	held->place = model_place(&life->model, answer, units);
	held->cost = (tokens)units * model_unit(life->model.row.k);
	held->moves = life->model.moves;
}

void life_reserve(struct life *life, double cost, uint64_t max_wait_ns)
{
	struct model *model = &life->model;
	uint64_t units = model_units(cost, model->row.k);
	struct life_held *held = NULL;
	struct weir_answer answer;

	for (int i = 0; i < LIFE_HELD; i++)
		if (!life->held[i].live)
			held = &life->held[i];
	if (!held)
		return;

	struct model_answer expected = model_take(model, units, max_wait_ns);
	bool admitted = weir_reserve(life_any_caller(life), cost, max_wait_ns, &held->reservation,
				     &answer) == WEIR_ADMIT;

	life_say(life, "reserve %.17g within %llu: %s, wait %llu", cost,
		 (unsigned long long)max_wait_ns, admitted ? "yes" : "no",
		 (unsigned long long)answer.wait_ns);
	life_check_answer(life, &expected, admitted, &answer);
	if (!admitted)
		return;
	held->live = true;
	held->granted = false;
	held->wait_ns = answer.wait_ns;
	hold(life, held, &expected, units);
	life->counts[COUNTED_QUEUED] += answer.wait_ns > 0;
	if (answer.wait_ns == 0) /* takes it there and then */
		grant(life, held);
}

/* ---- looking ---- */

/* Whose place is none any more takes a new one, as anybody would, or is told when. */
static bool renew(struct life *life, struct life_held *held, const struct model_place *was,
		  const struct weir_answer *answer)
{
	struct model *model = &life->model;
	const struct model_place *place = &held->place;
	uint64_t units = model_units(ldexp((double)place->units, -(int)place->k), model->row.k);
	struct model_answer again = model_take(model, units, 0);

	if (again.admitted) {
		hold(life, held, &again, units);
		held->wait_ns = 0;
		life->counts[COUNTED_RENEWED]++;
	} else if (again.fault) {
		LIFE_CHECK(answer->fault == again.fault && answer->wait_ns == WEIR_NEVER);
		held->place = *was; /* the reservation stays as it was */
	} else if (again.until_opens) {
		LIFE_CHECK(model_wait_behind_is_right(model, again.target, answer->wait_ns));
	} else {
		LIFE_CHECK(model_wait_is_right(model, again.target, answer->wait_ns));
	}
	return again.admitted;
}

/* What a holder is told who must wait; behind a closure at least until it opens. */
static void check_place_wait(struct life *life, const struct model_place *place, bool closed,
			     const struct weir_answer *answer)
{
	const struct model *model = &life->model;
	uint64_t due = model->row.unlimited ? model_v(model) : place->position - model->row.burst;

	LIFE_CHECK(answer->reason == WEIR_REASON_DEADLINE && answer->fault == 0);
	if (!closed || answer->wait_ns != model->row.gate.opens_ns - model->now_ns)
		LIFE_CHECK(model_wait_is_right(model, due, answer->wait_ns));
}

static void look(struct life *life, struct life_held *held)
{
	struct model *model = &life->model;
	bool unmet = model->row.gate.unmet;
	const struct model_place was = held->place;
	struct weir_answer answer;
	bool admitted = weir_reservation_wait(life_any_caller(life), &held->reservation, 0,
					      &answer) == WEIR_ADMIT;
	enum model_look found = model_look(model, &held->place);
	bool due = found == MODEL_VOID ? renew(life, held, &was, &answer) : found == MODEL_DUE;

	life->counts[COUNTED_EMPTIED] += unmet && !model->row.gate.unmet;
	life_say(life, "look: %s, wait %llu%s", admitted ? "due" : "not due",
		 (unsigned long long)answer.wait_ns, found == MODEL_VOID ? ", lapsed" : "");
	LIFE_CHECK(admitted == due);
	if (admitted)
		grant(life, held);
	else if (found != MODEL_VOID)
		check_place_wait(life, &held->place, found == MODEL_BEHIND, &answer);
	held->wait_ns = answer.wait_ns;
}

void life_look_at_all(struct life *life)
{
	for (int i = 0; i < LIFE_HELD; i++)
		if (life->held[i].live && !life->held[i].granted)
			look(life, &life->held[i]);
}

bool life_somebody_will_draw(const struct life *life)
{
	for (int i = 0; i < LIFE_HELD; i++) {
		struct model_place place = life->held[i].place;

		if (life->held[i].live && !life->held[i].granted &&
		    model_place_void(&life->model, &place))
			return true;
	}
	return false;
}

/* ---- giving back, and paying more ---- */

/* The word of the bucket says that so much went back. */
static void returned(struct life *life, uint64_t units)
{
	life_say(life, "  %.17g back", life_in_tokens(life, units));
	life->counts[COUNTED_RETURNED] += units > 0;
	life->counts[COUNTED_KEPT] += units == 0;
	life_gift(life, (tokens)units * model_unit(life->model.row.k));
}

void life_cancel(struct life *life, unsigned which)
{
	struct life_held *held = &life->held[which];
	struct weir_endpoint *caller = life_any_caller(life);
	double said = -1;

	if (!held->live)
		return;
	life_say(life, "cancel %llu units of 2^-%u", (unsigned long long)held->place.units,
		 held->place.k);
	LIFE_CHECK(weir_cancel(caller, &held->reservation, &said) == 0);

	uint64_t back = model_give_back(&life->model, &held->place, held->place.units);

	LIFE_CHECK(said == life_in_tokens(life, back));
	returned(life, back);
	LIFE_CHECK(weir_cancel(caller, &held->reservation, NULL) == WEIR_ESPENT);
	LIFE_CHECK(weir_reservation_wait(caller, &held->reservation, 0, NULL) == WEIR_REFUSE);
	held->live = false;
}

void life_settle(struct life *life, unsigned which, double actual_cost)
{
	struct life_held *held = &life->held[which];
	struct weir_endpoint *caller = life_any_caller(life);

	if (!held->live)
		return;

	double taken = ldexp((double)held->place.units, -(int)held->place.k);

	life_say(life, "settle %.17g at %.17g", taken, actual_cost);
	LIFE_CHECK(weir_settle(caller, &held->reservation, actual_cost) == 0);
	if (actual_cost > taken) {
		model_charge(&life->model, actual_cost - taken);
		life->counts[COUNTED_CHARGED]++;
	} else if (actual_cost < taken) {
		uint64_t actual = actual_cost > 0 ? model_units(actual_cost, held->place.k) : 0;

		returned(life,
			 model_give_back(&life->model, &held->place, held->place.units - actual));
	}
	LIFE_CHECK(weir_settle(caller, &held->reservation, actual_cost) == WEIR_ESPENT);
	held->live = false;
}
