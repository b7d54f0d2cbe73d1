/* SPDX-License-Identifier: Apache-2.0 */
#include "reconcile.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "adapt.h"
#include "shadow.h"
#include "window.h"

/* Both sides sorted by what identifies a rule, so that one pass finds the pairs. */
struct side {
	enum row_kind kind;
	const char *text;
	size_t index;
};

static bool same_kind(enum row_kind a, enum row_kind b)
{
	return (a == ROW_DEFAULT) == (b == ROW_DEFAULT);
}

/*
 * [default] is one whatever its text; an exact name and a pattern never have the same text, and a
 * pattern with one bucket becomes another rule when each of its names is to have its own.
 */
static int compare_sides(const struct side *a, const struct side *b)
{
	if (!same_kind(a->kind, b->kind))
		return a->kind == ROW_DEFAULT ? -1 : 1;
	if (a->kind == ROW_DEFAULT)
		return 0;

	int order = strcmp(a->text, b->text);

	return order ? order : (a->kind == ROW_EACH) - (b->kind == ROW_EACH);
}

static int compare_for_sort(const void *a, const void *b)
{
	return compare_sides(a, b);
}

/* A limit that is found is the same between the same bounds, wherever it stands. */
static bool concurrency_equal(const struct terms *a, const struct terms *b)
{
	return a->concurrency_min == b->concurrency_min &&
	       a->concurrency_max == b->concurrency_max &&
	       (a->concurrency_max || a->concurrency == b->concurrency);
}

static bool terms_equal(const struct terms *a, const struct terms *b)
{
	return a->rate_micro == b->rate_micro && a->period_ns == b->period_ns &&
	       a->burst_micro == b->burst_micro && a->initial_micro == b->initial_micro &&
	       a->max_wait_ns == b->max_wait_ns && window_terms_equal(&a->window, &b->window) &&
	       concurrency_equal(a, b) && a->max_hold_ns == b->max_hold_ns &&
	       a->shadow == b->shadow && shadow_terms_equal(&a->beside, &b->beside) &&
	       memcmp(a->classes, b->classes, sizeof(a->classes)) == 0 &&
	       adapt_equal(&a->adapt, &b->adapt);
}

static struct reconcile_action *plan_append(struct reconcile_plan *plan, enum reconcile_verb verb)
{
	struct reconcile_action *action = &plan->actions[plan->count++];

	memset(action, 0, sizeof(*action));
	action->verb = verb;
	return action;
}

static void plan_add(struct reconcile_plan *plan, const struct config_rule *rule, size_t order)
{
	struct reconcile_action *action = plan_append(plan, RECONCILE_ADD);

	action->kind = rule->kind;
	memcpy(action->text, rule->text, sizeof(action->text));
	action->order = (uint32_t)order;
	action->now = rule->terms;
	action->keys = rule->keys;
	action->fold = rule->fold;
}

static void plan_running(struct reconcile_plan *plan, enum reconcile_verb verb,
			 const struct running_rule *rule, const struct terms *now, size_t order)
{
	struct reconcile_action *action = plan_append(plan, verb);

	action->kind = rule->kind;
	memcpy(action->text, rule->text, sizeof(action->text));
	action->order = (uint32_t)order;
	action->was = rule->terms;
	action->now = *now;
}

static void plan_pair(struct reconcile_plan *plan, const struct reconcile_input *input,
		      const struct running_rule *rule, size_t wanted, bool keep_operator)
{
	const struct terms *now = &input->wanted[wanted].terms;
	size_t before = plan->count;

	if (!terms_equal(&rule->terms, now) || rule->fold != input->wanted[wanted].fold) {
		if (keep_operator && rule->origin == ORIGIN_OPERATOR)
			plan_running(plan, RECONCILE_KEEP, rule, now, wanted);
		else
			plan_running(plan, RECONCILE_CHANGE, rule, now, wanted);
	} else if (!keep_operator && rule->origin == ORIGIN_OPERATOR) {
		/* the terms agree; from now on they are the file's */
		plan_running(plan, RECONCILE_CHANGE, rule, now, wanted);
	}
	for (size_t i = before; i < plan->count; i++)
		plan->actions[i].fold = input->wanted[wanted].fold;
	if (rule->order != wanted)
		plan_running(plan, RECONCILE_REORDER, rule, &rule->terms, wanted);
}

static void plan_unwanted(struct reconcile_plan *plan, const struct running_rule *rule,
			  bool keep_operator)
{
	bool keep = keep_operator && rule->origin == ORIGIN_OPERATOR;

	plan_running(plan, keep ? RECONCILE_KEEP : RECONCILE_REMOVE, rule, &rule->terms,
		     rule->order);
}

/* Merges the two sorted sides; `plan` has room for two actions a rule of either. */
static void plan_merge(struct reconcile_plan *plan, const struct reconcile_input *input,
		       const struct side *running, const struct side *wanted, bool keep_operator)
{
	size_t i = 0, j = 0;

	while (i < input->running_count || j < input->wanted_count) {
		int order = i == input->running_count  ? 1
			    : j == input->wanted_count ? -1
						       : compare_sides(&running[i], &wanted[j]);

		if (order < 0) {
			plan_unwanted(plan, &input->running[running[i++].index], keep_operator);
		} else if (order > 0) {
			plan_add(plan, &input->wanted[wanted[j].index], wanted[j].index);
			j++;
		} else {
			plan_pair(plan, input, &input->running[running[i++].index], wanted[j].index,
				  keep_operator);
			j++;
		}
	}
}

static size_t plan_count(const struct reconcile_plan *plan, enum reconcile_verb verb)
{
	size_t count = 0;

	for (size_t i = 0; i < plan->count; i++)
		count += plan->actions[i].verb == verb;
	return count;
}

/*
 * What exists is changed first, then rules are added before others are removed, so that no name
 * is without its new rule for a moment; but where there is no room for both, removed first.
 */
static int plan_sort(struct reconcile_plan *plan, const struct reconcile_input *input)
{
	static const enum reconcile_verb add_first[] = {RECONCILE_KEEP, RECONCILE_CHANGE,
							RECONCILE_ADD, RECONCILE_REMOVE,
							RECONCILE_REORDER};
	static const enum reconcile_verb remove_first[] = {RECONCILE_KEEP, RECONCILE_CHANGE,
							   RECONCILE_REMOVE, RECONCILE_ADD,
							   RECONCILE_REORDER};
	size_t adds = plan_count(plan, RECONCILE_ADD);
	const enum reconcile_verb *verbs =
		input->running_count + adds > input->rows ? remove_first : add_first;
	struct reconcile_action *sorted = calloc(plan->count + 1, sizeof(*sorted));
	size_t used = 0;

	if (!sorted)
		return -ENOMEM;
	for (size_t v = 0; v < sizeof(add_first) / sizeof(add_first[0]); v++)
		for (size_t i = 0; i < plan->count; i++)
			if (plan->actions[i].verb == verbs[v])
				sorted[used++] = plan->actions[i];
	free(plan->actions);
	plan->actions = sorted;
	return 0;
}

static int reconcile(struct reconcile_plan *out, const struct reconcile_input *input,
		     bool keep_operator)
{
	size_t total = input->running_count + input->wanted_count;
	struct side *sides = calloc(total + 1, sizeof(*sides));
	struct reconcile_plan plan = {calloc(2 * total + 1, sizeof(*plan.actions)), 0};
	struct side *wanted;
	int error = -ENOMEM;

	if (!sides || !plan.actions)
		goto out;
	wanted = sides + input->running_count;
	for (size_t i = 0; i < input->running_count; i++)
		sides[i] = (struct side){input->running[i].kind, input->running[i].text, i};
	for (size_t j = 0; j < input->wanted_count; j++)
		wanted[j] = (struct side){input->wanted[j].kind, input->wanted[j].text, j};
	qsort(sides, input->running_count, sizeof(*sides), compare_for_sort);
	qsort(wanted, input->wanted_count, sizeof(*wanted), compare_for_sort);
	plan_merge(&plan, input, sides, wanted, keep_operator);
	error = plan_sort(&plan, input);
out:
	free(sides);
	if (error)
		free(plan.actions);
	else
		*out = plan;
	return error;
}

int reconcile_reload(struct reconcile_plan *out, const struct reconcile_input *input)
{
	return reconcile(out, input, false);
}

int reconcile_adopt(struct reconcile_plan *out, const struct reconcile_input *input)
{
	return reconcile(out, input, true);
}

void reconcile_free(struct reconcile_plan *plan)
{
	free(plan->actions);
	*plan = (struct reconcile_plan){0};
}
