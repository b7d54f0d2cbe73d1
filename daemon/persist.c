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
#include "gate.h"
#include "lock.h"
#include "log.h"
#include "names.h"
#include "weir.h"
#include "window.h"

#define NS_PER_S 1000000000ull
#define WALL_STEP_NS 1000000000ll /* of the wall clock: the saved time must be told anew */

/* ---- moments ---- */

void persist_moment(struct persist_moment *out, const struct segment *segment, const char *instance)
{
	*out = (struct persist_moment){.ticks = segment_now(segment)};
	snprintf(out->stamp.instance, sizeof(out->stamp.instance), "%s", instance);
	out->stamp.saved_ns = time_source_kernel_ns(CLOCK_REALTIME);
	out->stamp.boottime_ns = time_source_kernel_ns(CLOCK_BOOTTIME);
	/* relaxed: fixed before the pair was ready */
	for (int i = 0; i < 2; i++)
		out->stamp.boot[i] =
			atomic_load_explicit(&segment->rules->boot[i], memory_order_relaxed);
}

/* ---- from a segment ---- */

/* relaxed, all of these: this process alone writes rows */
static uint32_t rows_used(const struct segment *segment)
{
	uint32_t used = atomic_load_explicit(&segment->rules->rows_used, memory_order_relaxed);

	return used < segment->row_count ? used : segment->row_count;
}

static bool row_is_live(const struct segment *segment, uint32_t row)
{
	return atomic_load_explicit(&segment->rows[row].state, memory_order_relaxed) == ROW_LIVE;
}

static enum row_kind row_kind(const struct segment *segment, uint32_t row)
{
	return (enum row_kind)atomic_load_explicit(&segment->rows[row].kind, memory_order_relaxed);
}

/* Units -> millionths of a token, rounded up. */
static line_wide units_to_micro(uint64_t units, unsigned k)
{
	line_wide micro = (line_wide)(units < LINE_FAR ? units : LINE_FAR) * TERMS_MICRO;

	return (micro + ((line_wide)1 << k) - 1) >> k;
}

/* The other way, rounded up as well. */
static uint64_t micro_to_units(line_wide micro, unsigned k)
{
	line_wide tokens = micro / TERMS_MICRO;
	uint64_t units = line_units((uint64_t)(micro % TERMS_MICRO), k);

	return tokens >= LINE_FAR >> k ? LINE_FAR : ((uint64_t)tokens << k) + units;
}

static uint64_t ahead(uint64_t mark, uint64_t v)
{
	return (int64_t)(mark - v) > 0 ? mark - v : 0;
}

/*
 * What is used of a bucket at a moment, in units; an opening that nobody met yet has emptied it,
 * but with windows.
 */
static uint64_t used_units(const struct line *line, uint64_t gate, uint64_t mark, uint64_t ticks)
{
	uint64_t used = mark == BUCKET_UNSET ? line->burst_units - line->initial_units
					     : line_stand(line, ticks, mark).ahead;
	uint64_t drained = 0;

	if (!gate_is_settled(gate) && !gate_is_closed(gate, ticks) && !(line->flags & LINE_WINDOW))
		drained = ahead(line_value(line, gate & GATE_UNTIL) + line->burst_units,
				line_value(line, ticks));
	return used > drained ? used : drained;
}

/* The wall clock when the next window begins, rounded up; 0: it begins with the next use. */
static uint64_t renews_ns(const struct segment *segment, const struct line *line, uint64_t mark,
			  const struct persist_moment *moment)
{
	struct stand stand = line_stand(line, moment->ticks, mark);
	struct line clock;
	uint64_t ns;

	if (!(line->flags & LINE_WINDOW) || (line->flags & LINE_FIRST && !stand.ahead))
		return 0;
	segment_clock(segment, &clock);
	ns = line_ticks_to_ns(&clock, window_ticks(line, moment->ticks, stand.v, 1));
	return ns < INT64_MAX - moment->stamp.saved_ns ? moment->stamp.saved_ns + ns : 0;
}

static uint64_t closed_ns(const struct segment *segment, uint64_t gate, uint64_t ticks)
{
	struct line clock;

	if (!gate_is_closed(gate, ticks))
		return 0;
	if ((gate & GATE_UNTIL) == GATE_UNTIL)
		return STATE_FOREVER;
	segment_clock(segment, &clock);
	return line_ticks_to_ns(&clock, (gate & GATE_UNTIL) - ticks);
}

/* The terms and the level of a bucket. false: nobody has used it, there is nothing to say. */
static bool look(const struct segment *segment, uint32_t row, uint32_t bucket,
		 const struct persist_moment *moment, struct state_record *out)
{
	uint64_t ticks = moment->ticks;
	/* in this order: who settles a gate has raised the mark before */
	uint64_t gate = gate_load(&segment->buckets[bucket]);
	uint64_t mark = bucket_look(&segment->buckets[bucket]);
	struct terms_author author;
	uint64_t changed_ns;
	struct terms terms;
	struct line line;

	if (mark == BUCKET_UNSET && gate_is_settled(gate))
		return false;
	line_read(&segment->rows[row], &segment->time, &line);
	segment_terms(segment, row, &terms, &author, &changed_ns);
	out->terms = terms_in_force(&terms);
	out->used_micro = units_to_micro(used_units(&line, gate, mark, ticks), line.k);
	out->closed_ns = closed_ns(segment, gate, ticks);
	out->renews_ns = renews_ns(segment, &line, mark, moment);
	return true;
}

/* A bucket that would begin as it is needs no record. */
static bool is_idle(const struct state_level *level, const struct terms *terms)
{
	return level->used_micro == 0 && level->closed_ns == 0 &&
	       terms->initial_micro == terms->burst_micro;
}

/* A time of the segment's clock by the wall clock; 0 and the end of time stay what they are. */
static uint64_t by_wall(const struct persist_moment *moment, uint64_t now_ns, uint64_t at_ns)
{
	uint64_t saved = moment->stamp.saved_ns;

	if (at_ns == 0 || at_ns == UINT64_MAX)
		return at_ns;
	if (at_ns <= now_ns)
		return saved > now_ns - at_ns ? saved - (now_ns - at_ns) : 1;
	return at_ns - now_ns < INT64_MAX - saved ? saved + (at_ns - now_ns) : UINT64_MAX;
}

/* What was learned stands beside the terms that it is held against. */
static void capture_learned(struct state_text *out, const struct segment *segment, uint32_t row,
			    const struct persist_moment *moment)
{
	struct state_record record = {.kind = STATE_LEARNED};
	uint64_t now_ns = segment_now_ns(segment);
	struct terms_author author;
	uint64_t changed_ns;
	struct terms terms;

	segment_terms(segment, row, &terms, &author, &changed_ns);
	if (terms.learned.period_ns == 0)
		return;
	segment_text(segment->rows[row].text, record.text);
	record.learned = terms.learned;
	record.learned.until_ns = by_wall(moment, now_ns, terms.learned.until_ns);
	record.learned.from_ns = by_wall(moment, now_ns, terms.learned.from_ns);
	record.terms.rate_micro = terms.learned.rate_micro;
	record.terms.period_ns = terms.learned.period_ns;
	record.terms.burst_micro = terms.learned.burst_micro;
	state_add(out, &record);
}

static void capture_row(struct state_text *out, const struct segment *segment, uint32_t row,
			const struct persist_moment *moment)
{
	struct state_record record = {.kind = STATE_OPERATOR};
	struct terms_author author;
	uint64_t changed_ns;

	segment_text(segment->rows[row].text, record.text);
	segment_terms(segment, row, &record.terms, &author, &changed_ns);
	record.uid = author.uid;
	if (author.origin == ORIGIN_OPERATOR)
		state_add(out, &record);
	record.kind = STATE_ENDPOINT;
	if (row_kind(segment, row) != ROW_DEFAULT && look(segment, row, row, moment, &record))
		state_add(out, &record);
	capture_learned(out, segment, row, moment);
}

/* A bucket of the table of names, or (the last one) that of the names without room. */
static void capture_name(struct state_text *out, const struct segment *segment, uint32_t row,
			 uint32_t slot, const struct persist_moment *moment)
{
	uint32_t bucket = segment->row_count + slot;
	bool rest = slot == segment->name_count;
	struct state_record record = {.kind = rest ? STATE_REST : STATE_NAME};

	/* frozen: the name has a row of its own */
	if (bucket_load(&segment->buckets[bucket]) & BUCKET_FROZEN ||
	    !look(segment, row, bucket, moment, &record))
		return;

	const struct state_level level = {record.used_micro, record.closed_ns, 0};

	if (is_idle(&level, &record.terms))
		return;
	/* whole, since somebody uses the bucket: names.c. Others may write there what they like */
	if (!rest)
		segment_text(segment->names[slot].text, record.text);
	if (rest || names_valid(record.text))
		state_add(out, &record);
}

void persist_capture(struct state_text *out, const struct segment *segment,
		     const struct persist_moment *moment)
{
	int64_t fallback = names_default_row(segment);

	state_begin(out, &moment->stamp);
	for (uint32_t row = 0; row < rows_used(segment); row++)
		if (row_is_live(segment, row))
			capture_row(out, segment, row, moment);
	for (uint32_t slot = 0; fallback >= 0 && slot <= segment->name_count; slot++)
		capture_name(out, segment, (uint32_t)fallback, slot, moment);
}

static uint64_t mix(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
	return hash ^ hash >> 29;
}

/* Shadows and classes. */
static uint64_t mix_extras(uint64_t hash, const struct terms *terms)
{
	hash = mix(mix(hash, terms->concurrency), terms->max_hold_ns);
	hash = mix(hash, terms->shadow);
	hash = mix(hash, terms->beside.rate_micro);
	hash = mix(hash, terms->beside.period_ns);
	hash = mix(hash, terms->beside.burst_micro);
	for (unsigned i = 0; i < LAYOUT_CLASSES; i++)
		hash = mix(mix(hash, terms->classes[i].name), terms->classes[i].leave);
	return hash;
}

/* How the upstream is followed, and what was learned. */
static uint64_t mix_follow(uint64_t hash, const struct terms *terms)
{
	const struct adapt_terms *adapt = &terms->adapt;

	hash = mix(hash, adapt->mode);
	hash = mix(mix(hash, adapt->min_rate_micro), adapt->min_period_ns);
	hash = mix(mix(hash, adapt->safety_micro), adapt->max_close_ns);
	for (const char *at = adapt->text; *at; at++)
		hash = mix(hash, (unsigned char)*at);
	hash = mix(mix(hash, terms->learned.rate_micro), terms->learned.period_ns);
	hash = mix(mix(hash, terms->learned.burst_micro), terms->learned.until_ns);
	return mix(hash, terms->learned.cause);
}

static uint64_t mix_row(uint64_t hash, const struct segment *segment, uint32_t row)
{
	struct terms_author author;
	struct terms terms;
	uint64_t changed_ns;

	segment_terms(segment, row, &terms, &author, &changed_ns);
	hash = mix(hash, row_is_live(segment, row));
	hash = mix(hash, terms.rate_micro);
	hash = mix(hash, terms.period_ns);
	hash = mix(hash, terms.burst_micro);
	hash = mix(hash, terms.initial_micro);
	hash = mix(hash, terms.max_wait_ns);
	hash = mix(hash, terms.window.length_ns);
	hash = mix(hash, (uint64_t)terms.window.kind << 32 | (uint32_t)terms.window.minutes);
	hash = mix_extras(hash, &terms);
	hash = mix_follow(hash, &terms);
	return mix(hash, author.origin);
}

uint64_t persist_fingerprint(const struct segment *segment)
{
	uint64_t hash = segment->pair;

	for (uint32_t row = 0; row < rows_used(segment); row++)
		hash = mix_row(hash, segment, row);
	for (uint32_t i = 0; i < segment->bucket_count; i++) {
		uint64_t gate = gate_load(&segment->buckets[i]);
		uint64_t mark = bucket_load(&segment->buckets[i]);

		if (gate || mark)
			hash = mix(mix(mix(hash, i), mark), gate);
	}
	return hash;
}

/* ---- into a segment ---- */

static uint64_t opening_tick(const struct segment *segment, uint64_t now, uint64_t in_ns)
{
	struct line clock;
	uint64_t ticks;

	segment_clock(segment, &clock);
	ticks = line_ns_to_ticks(&clock, in_ns);
	return ticks > UINT64_MAX - now ? UINT64_MAX : now + ticks;
}

/* A window from first use began so that it ends when it is said to. */
static uint64_t window_start(const struct segment *segment, const struct line *line, uint64_t now,
			     uint64_t renews_ns)
{
	struct line clock;
	uint64_t left;

	segment_clock(segment, &clock);
	left = line_ns_to_ticks(&clock, renews_ns);
	return line_value(line, now) -
	       (renews_ns && left < line->step_ticks ? line->step_ticks - left : 0);
}

/* Of two records for one bucket the lower level counts. */
static void put_level(const struct segment *segment, uint32_t row, uint32_t at,
		      const struct state_level *level)
{
	struct bucket *bucket = &segment->buckets[at];
	struct line line;
	uint64_t now = line_read(&segment->rows[row], &segment->time, &line);
	struct stand before = line_stand(&line, now, bucket_look(bucket));
	struct stand stand = {before.v, micro_to_units(level->used_micro, line.k)};

	if (line.flags & LINE_FIRST)
		stand.v = window_start(segment, &line, now, level->renews_ns);
	if (before.ahead > stand.ahead)
		stand.ahead = before.ahead;
	if (before.ahead && (int64_t)(before.v - stand.v) > 0)
		stand.v = before.v;

	uint64_t mark = line_mark(&line, now, stand);

	bucket_install(bucket, mark);
	bucket_drain(bucket, mark);
	if (level->closed_ns)
		gate_close(bucket, now, opening_tick(segment, now, level->closed_ns));
}

/* The row under which a record's bucket is found now; -1: none continues it. */
static int64_t row_of(const struct segment *segment, const struct state_record *record)
{
	int64_t row = record->kind == STATE_ENDPOINT ? names_exact_row(segment, record->text) : -1;

	if (row >= 0)
		return row;
	if (record->kind == STATE_REST)
		return names_default_row(segment);
	if (record->kind == STATE_ENDPOINT && names_is_pattern(record->text))
		return -1;
	row = names_find_row(segment, record->text);
	return row >= 0 && names_kind_is_pattern(row_kind(segment, (uint32_t)row)) ? -1 : row;
}

/* The bucket under that row; names that find no room share one. */
static uint32_t bucket_of(const struct segment *segment, const struct state_record *record,
			  uint32_t row)
{
	struct resolution found = {.bucket = segment->row_count + segment->name_count};

	if (row_kind(segment, row) != ROW_DEFAULT)
		return row;
	if (record->kind != STATE_REST)
		names_resolve(segment, record->text, true, &found);
	return found.bucket;
}

static void put(const struct segment *segment, const struct state_record *record,
		const struct state_span *span, struct persist_counts *counts)
{
	int64_t row = row_of(segment, record);
	struct terms_author author;
	struct state_level level;
	struct terms terms;
	uint64_t changed_ns;

	if (row < 0) {
		counts->gone++;
		return;
	}
	segment_terms(segment, (uint32_t)row, &terms, &author, &changed_ns);
	terms = terms_in_force(&terms);
	state_age(&level, record, &terms, span);
	if (is_idle(&level, &terms)) {
		counts->idle++;
		return;
	}
	put_level(segment, (uint32_t)row, bucket_of(segment, record, (uint32_t)row), &level);
	counts->buckets++;
}

/* What has not expired meanwhile, of a rule that is still adaptive. */
static void put_learned(struct segment *segment, const struct state_record *record,
			const struct state_span *span)
{
	int64_t row = names_exact_row(segment, record->text);
	uint64_t now_ns = segment_now_ns(segment);
	uint64_t at_ns = span->saved_ns + span->elapsed_ns;
	struct learned_terms learned = record->learned;
	struct terms_author author;
	struct terms terms;
	uint64_t changed_ns;

	if (row < 0 || (learned.until_ns != UINT64_MAX && learned.until_ns <= at_ns))
		return;
	segment_terms(segment, (uint32_t)row, &terms, &author, &changed_ns);
	if (terms.adapt.mode == ADAPT_OFF)
		return;
	learned.rate_micro = record->terms.rate_micro;
	learned.period_ns = record->terms.period_ns;
	learned.burst_micro = record->terms.burst_micro;
	if (learned.until_ns != UINT64_MAX)
		learned.until_ns = now_ns + (learned.until_ns - at_ns);
	/* a response of before this clock began is of no time on it */
	learned.from_ns =
		learned.from_ns && learned.from_ns < at_ns && at_ns - learned.from_ns < now_ns
			? now_ns - (at_ns - learned.from_ns)
			: 0;
	rules_learn(segment, (uint32_t)row, &learned);
}

void persist_put(struct segment *segment, struct state_reader reader, const struct state_span *span,
		 struct persist_counts *out)
{
	struct state_reader again = reader;
	struct state_record record;

	*out = (struct persist_counts){0};
	/* first: a level is credited by the rate in force */
	while (state_next(&again, &record))
		if (record.kind == STATE_LEARNED)
			put_learned(segment, &record, span);
	while (state_next(&reader, &record))
		if (record.kind != STATE_OPERATOR && record.kind != STATE_LEARNED)
			put(segment, &record, span, out);
}

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

static const struct config_rule *in_file(const struct config *config, const char *text)
{
	/* [default] always is; its text is "*", which no other rule has */
	for (size_t i = 0; i < config->rule_count; i++)
		if (strcmp(config->rules[i].text, text) == 0)
			return &config->rules[i];
	return NULL;
}

static struct rule rule_of(const struct instance *instance, const struct state_record *record)
{
	const struct config_rule *file = in_file(&instance->config, record->text);
	struct rule rule = {
		.kind = strcmp(record->text, "*") == 0	 ? ROW_DEFAULT
			: names_is_pattern(record->text) ? ROW_PATTERN
							 : ROW_EXACT,
		.text = record->text,
		.order = (uint32_t)instance->config.rule_count,
		.terms = record->terms,
		.author = {ORIGIN_OPERATOR, record->uid},
	};

	if (file && file->kind == ROW_EACH) {
		rule.kind = ROW_EACH;
		rule.keys = file->keys;
		rule.fold = file->fold;
	}
	return rule;
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
		bool more = !in_file(config, record.text);

		if (record.kind != STATE_OPERATOR || rule.kind == ROW_DEFAULT ||
		    names_exact_row(&instance->segment, record.text) >= 0)
			continue;
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
		restore_rules(persist, instance);
	else
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
		buckets += record.kind != STATE_OPERATOR && record.kind != STATE_LEARNED;
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
