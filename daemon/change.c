/* SPDX-License-Identifier: Apache-2.0 */
#include "change.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "describe.h"
#include "fault.h"
#include "key_tables.h"
#include "log.h"
#include "names.h"
#include "notify.h"
#include "reconcile.h"
#include "weir.h"

/* Adds a line; where there is no room for it, the last one says so. */
static void add_line(struct control_reply *reply, const char *line)
{
	static const char more[] = "and more: weird's log has all of it";
	size_t used = strlen(reply->text);
	size_t room = sizeof(reply->text) - used;
	size_t end = sizeof(more) - 1;

	if (used >= end && !strcmp(reply->text + used - end, more))
		return;
	if (strlen(line) + 1 + sizeof(more) + 1 > room)
		line = more;
	snprintf(reply->text + used, room, "%s%s", used ? "\n" : "", line);
}

void change_say(struct control_reply *reply, enum log_level level, const char *by,
		const char *format, ...)
{
	char text[2 * DESCRIBE_TERMS_BYTES];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	log_line(level, "%s (%s)", text, by);
	if (reply)
		add_line(reply, text);
}

/* ---- rows ---- */

static int64_t find_rule(const struct segment *segment, enum row_kind kind, const char *text)
{
	return kind == ROW_DEFAULT ? names_default_row(segment)
				   : names_row_of_kind(segment, kind, text);
}

/*
 * A successor pair without the rows that are gone, and with one to spare: a change of unit needs
 * a row of its own while the old one is still there.
 */
static int make_room(struct instance *instance, const struct rule *instead,
		     const struct rule *added)
{
	struct segment_shape shape = instance_shape(instance);
	uint32_t live = instance_live_rows(instance);

	if (live >= shape.rows)
		shape.rows = live + 1;
	if (added && added->kind == ROW_EACH) {
		shape.tables++;
		shape.bins += keyed_bins(added->keys);
	}
	return instance_succeed(instance, &shape, instead);
}

int64_t change_add(struct instance *instance, const struct rule *rule)
{
	int64_t row;
	int error;

	if (instance_live_rows(instance) >= instance->config.endpoints)
		return WEIR_EROWS;
	row = rules_add(&instance->segment, rule);
	/* a pair that nobody has seen is as large as it was to be */
	if (row != WEIR_EROWS || !instance->revealed)
		return row;
	error = make_room(instance, NULL, rule);
	return error < 0 ? error : rules_add(&instance->segment, rule);
}

/*
 * [default] and a rule with a bucket for each key cannot have a second row, so their new unit comes
 * with a successor pair, whose row says what is kept of the levels on the way.
 */
static int64_t move_all(struct instance *instance, uint32_t row, const struct rule *rule,
			enum rules_keep keep)
{
	struct rule instead = *rule;
	int64_t moved;
	int error;

	instead.keep = keep;
	instead.keys = keys_capacity(&instance->segment, row);
	instead.fold = keys_fold(&instance->segment, row);
	error = make_room(instance, &instead, NULL);
	if (error < 0)
		return error;
	moved = find_rule(&instance->segment, rule->kind, rule->text);
	return moved < 0 ? WEIR_EDAMAGED : moved;
}

int64_t change_rule(struct instance *instance, const struct rule *rule, enum rules_keep keep)
{
	int64_t from = find_rule(&instance->segment, rule->kind, rule->text);
	int64_t row;
	int error;

	if (from < 0)
		return WEIR_ENORULE;
	row = rules_change(&instance->segment, (uint32_t)from, &rule->terms, &rule->author, keep);
	if (row != WEIR_EROWS)
		return row;
	if (rule->kind == ROW_DEFAULT || rule->kind == ROW_EACH)
		return move_all(instance, (uint32_t)from, rule, keep);
	error = make_room(instance, NULL, NULL);
	if (error < 0)
		return error;
	row = find_rule(&instance->segment, rule->kind, rule->text);
	if (row < 0)
		return WEIR_ENORULE;
	return rules_change(&instance->segment, (uint32_t)row, &rule->terms, &rule->author, keep);
}

/* ---- a plan, carried out ---- */

static int64_t plan_remove(struct instance *instance, const struct reconcile_action *action)
{
	int64_t row = find_rule(&instance->segment, action->kind, action->text);

	FAULT_POINT(daemon_remove);
	if (row < 0)
		return WEIR_ENORULE;
	rules_remove(&instance->segment, (uint32_t)row);
	return row;
}

static int64_t plan_reorder(struct instance *instance, const struct reconcile_action *action)
{
	int64_t row = find_rule(&instance->segment, action->kind, action->text);

	if (row < 0)
		return WEIR_ENORULE;
	rules_set_order(&instance->segment, (uint32_t)row, action->order);
	return row;
}

static int64_t plan_step(struct instance *instance, const struct reconcile_action *action,
			 const struct terms_author *author)
{
	struct rule rule = {.kind = action->kind,
			    .text = action->text,
			    .order = action->order,
			    .terms = action->now,
			    .author = *author,
			    .keys = action->keys,
			    .fold = action->fold};
	int64_t row;

	switch (action->verb) {
	case RECONCILE_ADD:
		FAULT_POINT(daemon_add);
		return change_add(instance, &rule);
	case RECONCILE_CHANGE:
		FAULT_POINT(daemon_change);
		row = change_rule(instance, &rule, RULES_KEEP_USED);
		if (row >= 0 && rule.kind == ROW_EACH)
			keys_set_fold(&instance->segment, (uint32_t)row, action->fold);
		return row;
	case RECONCILE_REMOVE:
		return plan_remove(instance, action);
	case RECONCILE_REORDER:
		return plan_reorder(instance, action);
	case RECONCILE_KEEP:
		return 0;
	}
	return 0;
}

/* To whom a plan's steps are told. */
struct teller {
	struct control_reply *reply; /* or NULL */
	const char *by;
	enum log_level level;
};

static void say_step(const struct teller *to, const struct reconcile_action *action)
{
	char name[DESCRIBE_RULE_BYTES], terms[DESCRIBE_TERMS_BYTES];

	describe_rule(action->kind, action->text, name);
	describe_change(&action->was, &action->now, terms);
	switch (action->verb) {
	case RECONCILE_ADD:
		change_say(to->reply, to->level, to->by, "%s: added, %s", name,
			   describe_terms(&action->now, terms));
		return;
	case RECONCILE_CHANGE:
		if (terms[0])
			change_say(to->reply, to->level, to->by, "%s: %s", name, terms);
		else
			change_say(to->reply, to->level, to->by,
				   "%s: as before, and the file's again", name);
		return;
	case RECONCILE_REMOVE:
		change_say(to->reply, to->level, to->by, "%s: removed, was %s", name,
			   describe_terms(&action->was, terms));
		return;
	case RECONCILE_KEEP:
		if (terms[0])
			change_say(to->reply, to->level, to->by,
				   "%s: kept as an operator set it; the file has %s", name, terms);
		else
			change_say(to->reply, to->level, to->by,
				   "%s: kept as an operator set it; not in the file", name);
		return;
	case RECONCILE_REORDER:
		log_line(LOG_DEBUG, "%s: place %u in the file (%s)", name, action->order, to->by);
		return;
	}
}

/* Returns the number of steps that failed; each has been said. */
static unsigned carry_plan(struct instance *instance, const struct reconcile_plan *plan,
			   const struct terms_author *author, const struct teller *to)
{
	char name[DESCRIBE_RULE_BYTES];
	unsigned failed = 0;

	for (size_t i = 0; i < plan->count; i++) {
		const struct reconcile_action *action = &plan->actions[i];
		int64_t row = plan_step(instance, action, author);

		if (row >= 0) {
			say_step(to, action);
			continue;
		}
		failed++;
		change_say(to->reply, LOG_ERROR, to->by, "%s: not applied: %s",
			   describe_rule(action->kind, action->text, name),
			   weir_strerror((int)row));
	}
	return failed;
}

static int make_plan(struct reconcile_plan *plan, const struct instance *instance,
		     int (*make)(struct reconcile_plan *, const struct reconcile_input *))
{
	struct running_rule *running;
	size_t count;
	int error = instance_rules(instance, &running, &count);

	if (error < 0)
		return error;

	struct reconcile_input input = {running, count, instance->config.rules,
					instance->config.rule_count, instance->segment.row_count};

	error = make(plan, &input);
	free(running);
	return error;
}

/* So that nobody takes for a limit what only counts. */
static void warn_of_shadow(const struct instance *instance)
{
	const struct segment *segment = &instance->segment;
	unsigned shadow = 0;

	for (uint32_t row = 0; row < segment->row_count; row++)
		/* relaxed: this process alone writes rows */
		shadow += atomic_load_explicit(&segment->rows[row].state, memory_order_relaxed) ==
				  ROW_LIVE &&
			  instance_terms(instance, row).shadow;
	if (shadow)
		log_line(LOG_WARNING,
			 "%u of %u rules are in shadow mode: what they refuse is counted, and "
			 "passes",
			 shadow, instance_live_rows(instance));
}

int change_start(struct instance *instance)
{
	struct terms_author author = {ORIGIN_FILE, geteuid()};
	struct reconcile_plan plan;
	int error = make_plan(&plan, instance, reconcile_adopt);
	bool fresh = !instance->revealed;
	/* on a new pair every rule is new, and the number of them is said elsewhere */
	struct teller to = {NULL, "file, at the start", fresh ? LOG_DEBUG : LOG_INFO};
	unsigned failed;

	if (error < 0) {
		log_line(LOG_ERROR, "cannot apply the configuration: %s", weir_strerror(error));
		return error;
	}
	failed = carry_plan(instance, &plan, &author, &to);
	reconcile_free(&plan);
	warn_of_shadow(instance);
	/* an adopted pair goes on with what it has; a new one must be whole before it is shown */
	return failed && fresh ? WEIR_ECONFIG : 0;
}

/* ---- reload ---- */

static void say_fixed(struct control_reply *reply, const char *by, const char *key, const char *was,
		      const char *now)
{
	if (strcmp(was, now))
		change_say(reply, LOG_WARNING, by,
			   "%s = %s: weird must be restarted for that; %s until then", key,
			   now[0] ? now : "(default)", was[0] ? was : "(default)");
}

/* What cannot change live stays what it is, and is said again at every reload. */
static void keep_fixed(struct config *next, const struct config *was, const char *by,
		       struct control_reply *reply)
{
	say_fixed(reply, by, "name", was->name, next->name);
	say_fixed(reply, by, "group", was->group, next->group);
	say_fixed(reply, by, "shm_dir", was->shm_dir, next->shm_dir);
	say_fixed(reply, by, "socket", was->socket, next->socket);
	say_fixed(reply, by, "state_file", was->state_file, next->state_file);
	if (was->clock != next->clock)
		change_say(reply, LOG_WARNING, by, "clock: weird must be restarted for that");
	memcpy(next->name, was->name, sizeof(next->name));
	memcpy(next->group, was->group, sizeof(next->group));
	memcpy(next->shm_dir, was->shm_dir, sizeof(next->shm_dir));
	memcpy(next->socket, was->socket, sizeof(next->socket));
	memcpy(next->state_file, was->state_file, sizeof(next->state_file));
	next->clock = was->clock;
}

static uint32_t larger(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

/* Capacities that grew make a successor pair; smaller ones wait for the next start. */
static int grow(struct instance *instance, const struct config *next, const char *by,
		struct control_reply *reply)
{
	struct segment_shape shape = instance_shape(instance);
	char room[SPACE_TEXT_BYTES];
	struct rule *instead = NULL;
	int tables = instance_plan_tables(instance, next, false, &shape, &instead);
	int error = tables < 0 ? tables : 0;

	if (tables == 0 && next->endpoints <= shape.rows && next->names <= shape.names &&
	    next->members <= shape.members && next->permits <= shape.permits &&
	    next->waiters <= shape.waiters)
		return 0;
	shape.rows = larger(shape.rows, next->endpoints);
	shape.names = larger(shape.names, next->names);
	shape.members = larger(shape.members, next->members);
	shape.permits = larger(shape.permits, next->permits);
	shape.waiters = larger(shape.waiters, next->waiters);
	if (error == 0)
		error = instance_succeed(instance, &shape, instead);
	free(instead);
	if (error < 0)
		change_say(reply, LOG_ERROR, by,
			   "a larger pair of objects could not be made: %s; beside the present one "
			   "it needs %s",
			   weir_strerror(error), instance_space(instance, &shape, room));
	else
		change_say(reply, LOG_INFO, by,
			   "endpoints %u, names %u, members %u, permits %u, waiters %u, %llu slots "
			   "for keys: a larger pair of objects",
			   shape.rows, shape.names, shape.members, shape.permits, shape.waiters,
			   (unsigned long long)shape.bins * LAYOUT_BIN_SLOTS);
	return error;
}

static void read_faults(struct control_reply *reply, const struct config_faults *faults,
			const char *by)
{
	log_lines(LOG_ERROR, faults->text);
	log_line(LOG_ERROR, "%u fault%s in the configuration: what ran before goes on (%s)",
		 faults->count, faults->count == 1 ? "" : "s", by);
	if (reply)
		control_answer(reply, WEIR_ECONFIG, "%.*s", (int)strlen(faults->text) - 1,
			       faults->text);
}

static int apply(struct instance *instance, const char *by, uint64_t uid,
		 struct control_reply *reply)
{
	struct terms_author author = {ORIGIN_FILE, uid};
	struct teller to = {reply, by, LOG_INFO};
	struct reconcile_plan plan;
	int error = make_plan(&plan, instance, reconcile_reload);
	unsigned failed;

	if (error < 0) {
		change_say(reply, LOG_ERROR, by, "the difference could not be applied: %s",
			   weir_strerror(error));
		return error;
	}
	failed = carry_plan(instance, &plan, &author, &to);
	if (plan.count == 0)
		change_say(reply, LOG_INFO, by, "read again: no difference");
	reconcile_free(&plan);
	warn_of_shadow(instance);
	return failed ? WEIR_EROWS : 0;
}

static void reload(struct instance *instance, const struct source *source, const char *by,
		   uint64_t uid, struct control_reply *reply)
{
	char text[CONTROL_TEXT_BYTES] = "";
	struct config_faults faults = {text, sizeof(text), 0, 0};
	struct config next;
	int error = source_read(&next, source, &faults, NULL);

	if (error < 0) {
		read_faults(reply, &faults, by);
		return;
	}
	FAULT_POINT(daemon_reload);
	keep_fixed(&next, &instance->config, by, reply);
	error = grow(instance, &next, by, reply);
	if (error < 0) {
		config_free(&next);
	} else {
		config_free(&instance->config);
		instance->config = next;
		if (!source->log_fixed)
			log_set_level(source_log_level(next.log));
		error = apply(instance, by, uid, reply);
	}
	if (reply)
		reply->code = error;
}

void change_reload(struct instance *instance, const struct source *source, const char *who,
		   uid_t uid, struct control_reply *reply)
{
	char by[128];

	snprintf(by, sizeof(by), "file, by %s", who);
	notify_reloading();
	reload(instance, source, by, uid, reply);
	notify_ready("reloaded");
}
