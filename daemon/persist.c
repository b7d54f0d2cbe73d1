/* SPDX-License-Identifier: Apache-2.0 */
#include "persist.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bucket.h"
#include "change.h"
#include "describe.h"
#include "keyed.h"
#include "lock.h"
#include "log.h"
#include "names.h"
#include "weir.h"

#define NS_PER_S 1000000000ull
#define WALL_STEP_NS 1000000000ll /* of the wall clock: the saved time must be told anew */

static void complain(struct persist *persist, int error)
{
	if (error == persist->complaint)
		return;
	persist->complaint = error;
	if (error == WEIR_ERUNNING)
		log_line(LOG_ERROR, "levels are not saved: another weird keeps its own in %s",
			 persist->file.path);
	else if (error == WEIR_EOWNER)
		log_line(LOG_ERROR,
			 "levels are not saved: others may write the folder of %s, or its lock is "
			 "another user's",
			 persist->file.path);
	else if (error < 0)
		log_line(LOG_ERROR, "levels are not saved in %s: %s; tried again now and then",
			 persist->file.path, weir_strerror(error));
	else
		log_line(LOG_INFO, "levels are saved in %s again", persist->file.path);
}

/* ---- the file, at a start ---- */

/* Reads and judges, and changes nothing; *persist has what was found. */
static void inspect(struct persist *persist)
{
	struct state_file *file = &persist->file;
	size_t bytes = 0;
	char *text = NULL;
	int error = state_file_read(file, &text, &bytes, persist->fault);

	snprintf(persist->source, sizeof(persist->source), "%s", file->path);
	if (error == 0)
		error = state_open(&persist->reader, &persist->stamp, text, bytes, persist->fault);
	if (error == 0) {
		persist->text = text;
		persist->latest_ns = persist->stamp.saved_ns;
		file->known = true;
	} else {
		free(text);
	}
	persist->refused = error;
}

static void say_second(const struct persist *persist, const struct state_holder *holder)
{
	log_line(LOG_ERROR,
		 "state_file = %s: another weird (pid %ld, instance %s) keeps its levels there; "
		 "every instance needs a file of its own",
		 persist->file.path, (long)holder->pid,
		 holder->instance[0] ? holder->instance : "unknown");
}

/* Somebody else has the lock. */
static int refuse_second(const struct persist *persist, const struct place *place,
			 const struct state_holder *holder)
{
	pid_t first;

	if (lock_is_taken(place, &first))
		return 0;
	say_second(persist, holder);
	return WEIR_ERUNNING;
}

static int refuse_foreign(const struct persist *persist, const struct place *place)
{
	log_line(LOG_ERROR,
		 "state_file = %s: it has the levels of instance %s, and this is %s; every "
		 "instance needs a file of its own (move it away if that one is no more)",
		 persist->file.path, persist->stamp.instance, place->name);
	return WEIR_ECONFIG;
}

static int read_own(struct persist *persist, const struct place *place)
{
	inspect(persist);
	if (persist->text && strcmp(persist->stamp.instance, place->name) != 0)
		return refuse_foreign(persist, place);
	return 0;
}

int persist_open(struct persist *out, const char *path, const struct place *place)
{
	struct state_holder holder = {0};
	int error;

	*out = (struct persist){.on = path[0] != '\0', .file.lock_fd = -1};
	if (!out->on)
		return 0;
	state_file_begin(&out->file, path);
	error = state_file_lock(&out->file, place->name, &holder);
	out->contended = error == WEIR_ERUNNING;
	if (out->contended)
		return refuse_second(out, place, &holder);
	out->unlocked = error;
	return read_own(out, place);
}

static void forget_text(struct persist *persist)
{
	free(persist->text);
	persist->text = NULL;
}

/* A file that is there and no good: said, and kept. */
static void set_aside(struct persist *persist)
{
	char kept[STATE_FILE_PATH_BYTES];
	int error = state_file_set_aside(&persist->file, kept);

	if (error < 0)
		log_line(LOG_ERROR, "state file %s cannot be used: %s; nor set aside (%s)",
			 persist->file.path, persist->fault, weir_strerror(error));
	else
		log_line(LOG_ERROR, "state file %s cannot be used: %s; kept as %s",
			 persist->file.path, persist->fault, kept);
}

/* The pair that is replaced (another clock) knows better than the file. */
static void take_replaced(struct persist *persist, const struct instance *instance)
{
	struct persist_moment moment;
	struct state_text text;
	char fault[STATE_FAULT_BYTES];

	persist_moment(&moment, &instance->replaced, instance->place.name);
	persist_capture(&text, &instance->replaced, &moment);
	if (state_finish(&text) < 0)
		return;
	if (state_open(&persist->reader, &persist->stamp, text.text, text.used, fault) < 0) {
		free(text.text);
		return;
	}
	forget_text(persist);
	persist->text = text.text;
	snprintf(persist->source, sizeof(persist->source), "the segment before");
}

/* ---- operators' rules ---- */

static struct rule rule_of(const struct instance *instance, const struct state_record *record)
{
	return (struct rule){
		.kind = strcmp(record->text, "*") == 0	 ? ROW_DEFAULT
			: record->keys			 ? ROW_EACH
			: names_is_pattern(record->text) ? ROW_PATTERN
							 : ROW_EXACT,
		.text = record->text,
		.order = (uint32_t)instance->config.rule_count,
		.terms = record->terms,
		.author = {ORIGIN_OPERATOR, record->uid},
		.keys = record->keys,
		.fold = record->fold,
	};
}

/* The file's own, as reconcile.c pairs them; NULL: an operator's alone. */
static const struct config_rule *in_file(const struct config *config, const struct rule *rule)
{
	/* [default] always is; its text is "*", which no other rule has */
	for (size_t i = 0; i < config->rule_count; i++)
		if (strcmp(config->rules[i].text, rule->text) == 0 &&
		    (config->rules[i].kind == ROW_EACH) == (rule->kind == ROW_EACH))
			return &config->rules[i];
	return NULL;
}

/* A rule with a bucket for each key, as large and folded as the file says, if it does. */
static void size_table(struct rule *rule, const struct config_rule *file)
{
	if (!file || rule->kind != ROW_EACH)
		return;
	rule->keys = file->keys;
	rule->fold = file->fold;
}

static bool add_rule(struct instance *instance, const struct rule *rule)
{
	char name[DESCRIBE_RULE_BYTES], terms[DESCRIBE_TERMS_BYTES];
	int64_t row = change_add(instance, rule);

	describe_rule(rule->kind, rule->text, name);
	if (row < 0)
		log_line(LOG_WARNING, "%s: the operator's rule is not restored: %s", name,
			 weir_strerror((int)row));
	else
		log_line(LOG_INFO, "%s: %s, as an operator had set it", name,
			 describe_terms(&rule->terms, terms));
	return row >= 0;
}

/* [default] comes first: as an operator had set it, or as the file says. */
static void add_default(const struct persist *persist, struct instance *instance)
{
	const struct config_rule *file = &instance->config.rules[0];
	struct state_reader reader = persist->reader;
	struct state_record record;
	struct rule rule;

	while (state_next(&reader, &record))
		if (record.kind == STATE_OPERATOR && strcmp(record.text, "*") == 0) {
			rule = rule_of(instance, &record);
			if (add_rule(instance, &rule))
				return;
		}
	rule = (struct rule){.kind = ROW_DEFAULT,
			     .text = file->text,
			     .terms = file->terms,
			     .author = {ORIGIN_FILE, geteuid()}};
	/* what keeps it out keeps it out at its turn, and is said then */
	change_add(instance, &rule);
}

static bool has_level(const struct persist *persist, const char *name)
{
	struct state_reader reader = persist->reader;
	struct state_record record;

	/* rules come before names, of which there may be many */
	while (state_next(&reader, &record) && record.kind != STATE_NAME)
		if (record.kind == STATE_ENDPOINT && strcmp(record.text, name) == 0)
			return true;
	return false;
}

/*
 * A name that was given a row of its own has a bucket under [default] as well, to which it takes
 * its debt back when the rule goes. It is full so far: see put_level().
 */
static void claim_home(const struct segment *segment, const char *name)
{
	int64_t fallback = names_default_row(segment);
	struct resolution found;
	struct line line;

	if (fallback < 0 || names_resolve(segment, name, true, &found) < 0 || found.overflow ||
	    found.row != fallback)
		return;
	uint64_t now = line_read(&segment->rows[fallback], &segment->time, &line);

	bucket_install(&segment->buckets[found.bucket], line_value(&line, now));
}

/* The file's own rules have a row each, whatever is restored. */
static void restore_rules(const struct persist *persist, struct instance *instance)
{
	const struct config *config = &instance->config;
	size_t spare = config->endpoints - config->rule_count;
	struct state_reader reader = persist->reader;
	struct state_record record;

	add_default(persist, instance);
	while (state_next(&reader, &record)) {
		struct rule rule = rule_of(instance, &record);
		const struct config_rule *file = in_file(config, &rule);
		bool more = !file;

		if (record.kind != STATE_OPERATOR || rule.kind == ROW_DEFAULT ||
		    names_row_of_kind(&instance->segment, rule.kind, rule.text) >= 0)
			continue;
		size_table(&rule, file);
		if (more && spare == 0) {
			log_line(LOG_WARNING,
				 "endpoint %s: the operator's rule is not restored: no room; raise "
				 "`endpoints`",
				 record.text);
			continue;
		}
		if (more && rule.kind == ROW_EXACT && has_level(persist, record.text))
			claim_home(&instance->segment, record.text);
		if (add_rule(instance, &rule))
			spare -= more;
	}
}

/* What the tables of rules need that the file has no more, and that come back all the same. */
static void count_tables(const struct persist *persist, const struct instance *instance,
			 uint32_t *tables, uint64_t *bins)
{
	struct state_reader reader = persist->reader;
	struct state_record record;

	*tables = 0;
	*bins = 0;
	while (state_next(&reader, &record)) {
		struct rule rule = rule_of(instance, &record);

		if (record.kind != STATE_OPERATOR || rule.kind != ROW_EACH ||
		    in_file(&instance->config, &rule))
			continue;
		++*tables;
		*bins += keyed_bins(rule.keys);
	}
}

/* Without that room the rules are not restored, and that is said where it happens. */
static int restore_all(const struct persist *persist, struct instance *instance)
{
	uint32_t tables;
	uint64_t bins;
	int error;

	count_tables(persist, instance, &tables, &bins);
	error = tables ? instance_widen(instance, tables, bins) : 0;
	if (error == 0)
		restore_rules(persist, instance);
	return error;
}

/* The first daemon of this instance has stopped in between. */
static int lock_again(struct persist *persist, const struct place *place)
{
	struct state_holder holder = {0};

	persist->unlocked = state_file_lock(&persist->file, place->name, &holder);
	if (persist->unlocked == WEIR_ERUNNING) {
		say_second(persist, &holder);
		return WEIR_ERUNNING;
	}
	return read_own(persist, place);
}

int persist_load(struct persist *persist, struct instance *instance)
{
	if (!persist->on)
		return 0;
	int error = persist->contended ? lock_again(persist, &instance->place) : 0;

	if (error < 0)
		return error;
	complain(persist, persist->unlocked);
	/* -ENOTDIR: of the folder, about which the lock has complained */
	if (persist->refused < 0 && persist->refused != -ENOENT && persist->refused != -ENOTDIR)
		set_aside(persist);
	if (instance->revealed) {
		/* adopted: the segment is newer than any file */
		forget_text(persist);
		return 0;
	}
	if (instance->replaced.rules)
		take_replaced(persist, instance);
	if (persist->text)
		return restore_all(persist, instance);
	log_line(LOG_INFO, "%s: no levels to restore; buckets begin at their initial level",
		 persist->file.path);
	return 0;
}

/* ---- levels ---- */

#define SPAN_BYTES 64

/* "2d 3h", "3h 12min", "12min 5s" or "5s". */
static char *span_text(uint64_t ns, char out[SPAN_BYTES])
{
	unsigned long long s = ns / NS_PER_S;

	if (s >= 86400)
		snprintf(out, SPAN_BYTES, "%llud %lluh", s / 86400, s / 3600 % 24);
	else if (s >= 3600)
		snprintf(out, SPAN_BYTES, "%lluh %llumin", s / 3600, s / 60 % 60);
	else if (s >= 60)
		snprintf(out, SPAN_BYTES, "%llumin %llus", s / 60, s % 60);
	else
		snprintf(out, SPAN_BYTES, "%llus", s);
	return out;
}

static void say_restored(const struct persist *persist, const struct persist_counts *counts,
			 uint64_t elapsed_ns)
{
	char span[SPAN_BYTES];

	log_line(LOG_INFO,
		 "levels restored from %s, %s credited: %u buckets; %u others are full by now, "
		 "and %u have no rule that continues them",
		 persist->source, span_text(elapsed_ns, span), counts->buckets, counts->idle,
		 counts->gone);
}

void persist_restore(struct persist *persist, struct instance *instance)
{
	struct segment *segment = &instance->segment;
	struct persist_moment now;
	struct persist_counts counts;
	struct state_span span = {.saved_ns = persist->stamp.saved_ns};
	char behind[SPAN_BYTES];

	if (!persist->text)
		return;
	persist_moment(&now, segment, instance->place.name);
	if (now.stamp.saved_ns < persist->stamp.saved_ns)
		log_line(LOG_WARNING,
			 "the wall clock stands %s before the time at which %s was saved: no time "
			 "is credited",
			 span_text(persist->stamp.saved_ns - now.stamp.saved_ns, behind),
			 persist->source);
	/* a manual clock knows of no time but its own */
	if (segment->time.kind != CLOCK_KIND_MANUAL && !instance->replaced.rules)
		span.elapsed_ns = state_elapsed(&persist->stamp, &now.stamp);
	persist_put(segment, persist->reader, &span, &counts);
	say_restored(persist, &counts, span.elapsed_ns);
	forget_text(persist);
}

/* ---- --check ---- */

static void describe_records(const struct persist *persist, FILE *out)
{
	struct state_reader reader = persist->reader;
	time_t seconds = (time_t)(persist->stamp.saved_ns / NS_PER_S);
	struct state_record record;
	struct tm parts;
	char date[40];
	unsigned buckets = 0, rules = 0;

	while (state_next(&reader, &record)) {
		rules += record.kind == STATE_OPERATOR;
		buckets += state_is_bucket(record.kind);
	}
	gmtime_r(&seconds, &parts);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", &parts);
	fprintf(out, "state file %s: instance %s, saved %s, %u buckets, %u rules of an operator\n",
		persist->file.path, persist->stamp.instance, date, buckets, rules);
}

void persist_describe(const char *path, FILE *out)
{
	struct persist persist = {.on = true, .file.lock_fd = -1};

	if (!path[0])
		return;
	state_file_begin(&persist.file, path);
	inspect(&persist);
	if (persist.text)
		describe_records(&persist, out);
	else if (persist.refused == -ENOENT)
		fprintf(out, "state file %s: not there yet\n", path);
	else
		fprintf(out, "state file %s: cannot be used: %s\n", path, persist.fault);
	free(persist.text);
}

/* ---- saving ---- */

static int64_t wall_offset(const struct state_stamp *stamp)
{
	return (int64_t)(stamp->saved_ns - stamp->boottime_ns);
}

/* The last save says when it was, by the wall clock: if that is set anew, so must be the file. */
static bool wall_was_set(const struct persist *persist, int64_t offset)
{
	int64_t step = offset - persist->wall_offset_ns;

	return step > WALL_STEP_NS || step < -WALL_STEP_NS;
}

static bool begin(struct persist *persist, const struct instance *instance,
		  struct persist_save *out)
{
	const struct segment *segment = &instance->segment;
	struct persist_moment moment;

	/* before the marks are read for the file: what changes meanwhile is saved next time */
	out->fingerprint = persist_fingerprint(segment);
	persist_moment(&moment, segment, instance->place.name);
	out->wall_offset_ns = wall_offset(&moment.stamp);
	/* a clock that begins in 1970 is right some day, and decades would be credited then */
	if (moment.stamp.saved_ns < persist->latest_ns)
		moment.stamp.saved_ns = persist->latest_ns;
	out->saved_ns = moment.stamp.saved_ns;
	if (persist->saved && out->fingerprint == persist->fingerprint &&
	    !wall_was_set(persist, out->wall_offset_ns))
		return false;
	out->instance = instance->place.name;
	out->kept[0] = '\0';
	out->error = 0;
	persist_capture(&out->text, segment, &moment);
	return true;
}

bool persist_begin(struct persist *persist, const struct instance *instance,
		   struct persist_save *out)
{
	return time_source_kernel_ns(CLOCK_MONOTONIC) >= persist->not_before_ns &&
	       begin(persist, instance, out);
}

void persist_write(struct persist *persist, struct persist_save *save)
{
	struct state_holder holder;

	save->error = state_finish(&save->text);
	if (save->error == 0)
		save->error = state_file_lock(&persist->file, save->instance, &holder);
	if (save->error == 0)
		save->error = state_file_write(&persist->file, save->text.text, save->text.used,
					       save->kept);
}

void persist_end(struct persist *persist, struct persist_save *save)
{
	if (save->kept[0])
		log_line(LOG_WARNING, "%s was not there at the start: kept as %s",
			 persist->file.path, save->kept);
	if (save->error == 0) {
		persist->saved = true;
		persist->latest_ns = save->saved_ns;
		persist->fingerprint = save->fingerprint;
		persist->wall_offset_ns = save->wall_offset_ns;
		persist->not_before_ns = time_source_kernel_ns(CLOCK_MONOTONIC) +
					 save->text.used * NS_PER_S / PERSIST_BYTES_PER_S;
	}
	free(save->text.text);
	save->text.text = NULL;
	complain(persist, save->error);
}

void persist_forget(struct persist *persist)
{
	forget_text(persist);
	state_file_end(&persist->file);
}

void persist_close(struct persist *persist, const struct instance *instance)
{
	struct persist_save save;

	if (!persist->on)
		return;
	if (begin(persist, instance, &save)) {
		persist_write(persist, &save);
		persist_end(persist, &save);
	}
	if (persist->complaint == 0)
		log_line(LOG_INFO, "levels are saved in %s", persist->file.path);
	persist_forget(persist);
}
