/* SPDX-License-Identifier: Apache-2.0 */
#include "request.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bucket.h"
#include "change.h"
#include "describe.h"
#include "fault.h"
#include "gate.h"
#include "log.h"
#include "move.h"
#include "names.h"
#include "value.h"
#include "weir.h"

struct task {
	struct instance *instance;
	const struct control_request *request;
	struct control_reply *reply;
	struct terms_author author;
	char by[96];
};

static void fail(const struct task *task, int64_t code)
{
	control_answer(task->reply, (int)code, "%s: %s", task->request->name,
		       weir_strerror((int)code));
}

static char *row_name(const struct segment *segment, uint32_t row, char out[DESCRIBE_RULE_BYTES])
{
	char text[LAYOUT_TEXT_BYTES];

	segment_text(segment->rows[row].text, text);
	return describe_rule(segment_row_kind(segment, row), text, out);
}

/* The row whose text is the request's name, "*" being [default]'s; -1 if none. */
static int64_t own_row(const struct task *task)
{
	const struct segment *segment = &task->instance->segment;

	return strcmp(task->request->name, "*") ? names_exact_row(segment, task->request->name)
						: names_default_row(segment);
}

static void set_row(struct task *task, uint32_t row)
{
	const struct segment *segment = &task->instance->segment;
	struct terms was = instance_terms(task->instance, row), now;
	char name[DESCRIBE_RULE_BYTES], text[DESCRIBE_TERMS_BYTES];
	const char *wrong;
	struct rule rule;
	int64_t changed;

	if (!control_terms(&now, task->reply, &was, task->request))
		return;
	wrong = segment_row_kind(segment, row) == ROW_DEFAULT ? config_check_default(&now)
		: segment_row_kind(segment, row) == ROW_EACH
			? config_check_each(task->request->name, &now)
			: NULL;
	if (wrong) {
		control_answer(task->reply, WEIR_EVALUE, "%s", wrong);
		return;
	}
	row_name(segment, row, name);
	FAULT_POINT(daemon_set);
	rule = (struct rule){.kind = segment_row_kind(segment, row),
			     .text = task->request->name,
			     .terms = now,
			     .author = task->author};
	changed = change_rule(task->instance, &rule, task->request->keep);
	if (changed < 0) {
		fail(task, changed);
		return;
	}
	describe_change(&was, &now, text);
	change_say(task->reply, LOG_INFO, task->by, "%s: %s", name,
		   text[0] ? text : "no difference");
}

/*
 * A name without a row of its own gets one. Its level moves along from [default], or is that of the
 * pattern's bucket, as the request's keep says.
 */
static void set_new_row(struct task *task, uint32_t from)
{
	struct instance *instance = task->instance;
	const struct control_request *request = task->request;
	struct terms was = instance_terms(instance, from), now;
	struct rule rule = {.kind = ROW_EXACT,
			    .text = request->name,
			    .author = task->author,
			    .keep = request->keep};
	char source[DESCRIBE_RULE_BYTES], text[DESCRIBE_TERMS_BYTES];
	int64_t row;

	if (!control_terms(&now, task->reply, &was, request))
		return;
	row_name(&instance->segment, from, source);
	rule.terms = now;
	rule.order = (uint32_t)instance->config.rule_count;
	row = change_add(instance, &rule);
	if (row < 0) {
		fail(task, row);
		return;
	}
	describe_change(&was, &now, text);
	change_say(task->reply, LOG_INFO, task->by,
		   "endpoint %s: %s; a row of its own, so far under %s", request->name,
		   text[0] ? text : "as before", source);
}

static void set(struct task *task)
{
	int64_t row = own_row(task);

	if (row >= 0) {
		set_row(task, (uint32_t)row);
		return;
	}
	if (names_is_pattern(task->request->name)) {
		control_answer(task->reply, WEIR_ENORULE,
			       "%s: no such pattern; patterns come from weir.ini",
			       task->request->name);
		return;
	}
	row = names_find_row(&task->instance->segment, task->request->name);
	if (row < 0)
		fail(task, row);
	else
		set_new_row(task, (uint32_t)row);
}

/* The bucket that the request is about, with a mark in it. Returns false and the reply. */
static bool find_bucket(const struct task *task, struct resolution *out)
{
	const struct segment *segment = &task->instance->segment;
	int64_t row = own_row(task);
	int error = 0;

	if (row >= 0 && segment_row_kind(segment, (uint32_t)row) == ROW_DEFAULT) {
		control_answer(task->reply, WEIR_EVALUE,
			       "names under [default] have a bucket each: name one, or give them a "
			       "pattern in weir.ini");
		return false;
	}
	if (row >= 0)
		*out = (struct resolution){.row = (uint32_t)row, .bucket = (uint32_t)row};
	else if (names_is_pattern(task->request->name))
		error = WEIR_ENORULE;
	else
		error = names_resolve(segment, task->request->name, true, out);
	if (error == 0 && bucket_look(&segment->buckets[out->bucket]) == BUCKET_UNSET)
		error = move_install(segment, instance_old(task->instance), out->row, out->bucket);
	if (error < 0)
		fail(task, error);
	return error >= 0;
}

/* Says what was done to a bucket, and who shares it. */
static void say_bucket(struct task *task, const struct resolution *where, const char *what)
{
	const struct segment *segment = &task->instance->segment;
	char name[DESCRIBE_RULE_BYTES];

	if (where->overflow)
		change_say(task->reply, LOG_WARNING, task->by,
			   "%s: %s, with all names that found the table of names full",
			   task->request->name, what);
	else if (segment_row_kind(segment, where->row) == ROW_EACH && !where->key)
		change_say(task->reply, LOG_INFO, task->by, "%s: %s, with all its keys",
			   row_name(segment, where->row, name), what);
	else if (segment_row_kind(segment, where->row) == ROW_PATTERN)
		change_say(task->reply, LOG_INFO, task->by,
			   "%s: %s, with all that share its bucket",
			   row_name(segment, where->row, name), what);
	else
		change_say(task->reply, LOG_INFO, task->by, "endpoint %s: %s", task->request->name,
			   what);
}

/* Every bucket under [default] that is in use. */
static void reset_default(struct task *task, uint32_t row)
{
	struct segment *segment = &task->instance->segment;
	unsigned count = 0;

	for (uint32_t i = 0; i <= segment->name_count; i++) {
		uint32_t bucket = segment->row_count + i;

		if (bucket_look(&segment->buckets[bucket]) == BUCKET_UNSET)
			continue;
		rules_reset(segment, row, bucket);
		count++;
	}
	change_say(task->reply, LOG_INFO, task->by, "[default]: %u buckets filled", count);
}

static void reset(struct task *task)
{
	int64_t row = own_row(task);
	struct resolution where;

	if (row >= 0 && segment_row_kind(&task->instance->segment, (uint32_t)row) == ROW_DEFAULT) {
		reset_default(task, (uint32_t)row);
		return;
	}
	if (!find_bucket(task, &where))
		return;
	if (where.key)
		rules_reset_key(&task->instance->segment, where.row, where.key);
	else
		rules_reset(&task->instance->segment, where.row, where.bucket);
	say_bucket(task, &where, "filled");
}

static void set_gate(struct task *task)
{
	struct segment *segment = &task->instance->segment;
	bool close = task->request->kind == WIRE_CLOSE;
	char what[64], duration[VALUE_TEXT_BYTES];
	struct resolution where;
	bool here = false;

	/* a bucket whose mark moves while we look is found again at its new place */
	for (int tries = 0; !here && tries < 8; tries++) {
		uint64_t now = segment_now(segment);
		struct bucket *bucket;

		if (!find_bucket(task, &where))
			return;
		if (where.key) {
			fail(task, WEIR_EKEY);
			return;
		}
		bucket = &segment->buckets[where.bucket];
		here = close ? gate_close(bucket, now,
					  segment_tick_in(segment, now, task->request->duration_ns))
			     : gate_open(bucket, now);
	}
	if (!here) {
		fail(task, WEIR_EDAMAGED);
		return;
	}
	rules_wake(segment, where.row);
	if (!close)
		snprintf(what, sizeof(what), "opened");
	else if (task->request->duration_ns == UINT64_MAX)
		snprintf(what, sizeof(what), "closed until it is opened");
	else
		snprintf(what, sizeof(what), "closed for %s",
			 value_duration_text(task->request->duration_ns, duration));
	say_bucket(task, &where, what);
}

/* "2.4/s" as it was learned, or the rule's own rate. */
static char *speed_text(const struct terms *terms, char out[VALUE_TEXT_BYTES])
{
	const struct terms force = terms_in_force(terms);

	return value_rate_text(force.rate_micro, force.period_ns, out);
}

/* "stays at 2.4/s and 17 calls in flight, whatever is observed", of what is found of the two. */
static void stays_text(const struct terms *terms, char *out, size_t bytes)
{
	char speed[VALUE_TEXT_BYTES], calls[VALUE_TEXT_BYTES];
	bool is_adaptive = terms->adapt.mode != ADAPT_OFF;

	snprintf(calls, sizeof(calls), "%llu calls in flight",
		 (unsigned long long)terms->concurrency - 1);
	snprintf(out, bytes, "%s%s%s", is_adaptive ? speed_text(terms, speed) : "",
		 is_adaptive && terms->concurrency_max ? " and " : "",
		 terms->concurrency_max ? calls : "");
}

static void adapt(struct task *task)
{
	struct segment *segment = &task->instance->segment;
	bool freeze = task->request->freeze;
	int64_t row = own_row(task);
	char name[DESCRIBE_RULE_BYTES], speed[VALUE_TEXT_BYTES], stays[3 * VALUE_TEXT_BYTES];
	struct learned_terms learned = {0};
	struct terms terms;

	if (row < 0 && !names_is_pattern(task->request->name))
		row = names_find_row(segment, task->request->name);
	if (row < 0) {
		fail(task, row == -1 ? WEIR_ENORULE : row);
		return;
	}
	row_name(segment, (uint32_t)row, name);
	terms = instance_terms(task->instance, (uint32_t)row);
	if (terms.adapt.mode == ADAPT_OFF && terms.concurrency_max == 0) {
		control_answer(task->reply, WEIR_EVALUE,
			       "%s is not adaptive: weirctl set %s adaptive=headers makes it so, "
			       "or concurrency=auto",
			       name, task->request->name);
		return;
	}
	if (freeze) {
		learned = terms.learned;
		learned.until_ns = UINT64_MAX;
		learned.cause |= LEARNED_FROZEN;
	}
	stays_text(&terms, stays, sizeof(stays));
	FAULT_POINT(daemon_adapt);
	row = rules_learn(segment, (uint32_t)row, &learned);
	if (row < 0)
		fail(task, row);
	else if (freeze)
		change_say(task->reply, LOG_INFO, task->by, "%s: stays at %s, whatever is observed",
			   name, stays);
	else if (terms.adapt.mode == ADAPT_OFF)
		change_say(task->reply, LOG_INFO, task->by,
			   "%s: calls in flight are found again, from %llu on", name,
			   (unsigned long long)terms.concurrency - 1);
	else
		change_say(task->reply, LOG_INFO, task->by, "%s: adapts again, from %s on", name,
			   value_rate_text(terms.rate_micro, terms.period_ns, speed));
}

static void ping(const struct task *task)
{
	time_t since = (time_t)task->instance->started_s;
	struct tm parts;
	char date[32];

	gmtime_r(&since, &parts);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", &parts);
	control_answer(task->reply, 0, "weird %ld name %s version %s since %s", (long)getpid(),
		       task->instance->place.name, WEIR_VERSION, date);
}

void request_carry_out(struct instance *instance, const struct source *source,
		       const struct control_request *request, const struct control_peer *peer,
		       struct control_reply *reply)
{
	struct task task = {.instance = instance,
			    .request = request,
			    .reply = reply,
			    .author = {ORIGIN_OPERATOR, peer->uid}};

	reply->code = 0;
	reply->text[0] = '\0';
	snprintf(task.by, sizeof(task.by), "by %s", peer->who);
	switch (request->kind) {
	case WIRE_PING:
		ping(&task);
		return;
	case WIRE_SET:
		set(&task);
		return;
	case WIRE_RESET:
		reset(&task);
		return;
	case WIRE_CLOSE:
	case WIRE_OPEN:
		set_gate(&task);
		return;
	case WIRE_ADAPT:
		adapt(&task);
		return;
	case WIRE_RELOAD:
		change_reload(instance, source, peer->who, peer->uid, reply);
		return;
	case WIRE_REPLY:
		return;
	}
}
