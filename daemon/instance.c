/* SPDX-License-Identifier: Apache-2.0 */
#include "instance.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bucket.h"
#include "fault.h"
#include "key_tables.h"
#include "lock.h"
#include "log.h"
#include "members.h"
#include "move.h"
#include "names.h"
#include "permit_chain.h"
#include "time_source.h"
#include "weir.h"

/* ---- shapes and rules, looked at ---- */

/* Room for so many rules that follow an upstream, and for more to come. */
static uint32_t follows_for(uint32_t count, uint32_t rows)
{
	uint32_t least = (rows + 31) / 32;

	count += count / 2 + 8;
	return count > least ? count : least;
}

static uint32_t config_follows(const struct config *config)
{
	uint32_t count = 0;

	for (size_t i = 0; i < config->rule_count; i++)
		count += rules_follows(&config->rules[i].terms);
	return count;
}

struct segment_shape instance_wanted_shape(const struct config *config, gid_t group)
{
	uint32_t tables;
	uint64_t bins;

	config_tables(config, &tables, &bins);
	return (struct segment_shape){
		.rows = config->endpoints,
		.names = config->names,
		.members = config->members,
		.clock = config->clock ? config->clock : time_source_best(),
		.group = group,
		.permits = config->permits,
		.waiters = config->waiters,
		.tables = tables,
		.bins = bins,
		.follows = follows_for(config_follows(config), config->endpoints),
	};
}

static uint32_t live_follows(const struct instance *instance)
{
	const struct segment *segment = &instance->segment;
	uint32_t count = 0;

	for (uint32_t row = 0; row < segment->row_count; row++) {
		struct terms terms;

		/* relaxed: this process alone writes rows */
		if (atomic_load_explicit(&segment->rows[row].state, memory_order_relaxed) !=
		    ROW_LIVE)
			continue;
		terms = instance_terms(instance, row);
		count += rules_follows(&terms);
	}
	return count;
}

struct segment_shape instance_shape(const struct instance *instance)
{
	return (struct segment_shape){
		.rows = instance->segment.row_count,
		.names = instance->segment.name_count,
		.members = instance->segment.member_count,
		.clock = instance->segment.time.kind,
		.group = instance->group,
		.permits = instance->segment.block_count * LAYOUT_BLOCK_PERMITS,
		.waiters = instance->segment.waiter_count,
		.tables = instance->segment.table_count,
		.bins = instance->segment.bin_count,
		.follows = follows_for(live_follows(instance), instance->segment.row_count),
	};
}

char *instance_space(const struct instance *instance, const struct segment_shape *shape,
		     char out[SPACE_TEXT_BYTES])
{
	struct space space;

	space_look(&space, shape, instance->place.dir);
	return space_text(&space, instance->place.dir, out);
}

static bool same_capacities(const struct segment_shape *a, const struct segment_shape *b)
{
	return a->rows == b->rows && a->names == b->names && a->members == b->members &&
	       a->waiters == b->waiters &&
	       (a->permits + LAYOUT_BLOCK_PERMITS - 1) / LAYOUT_BLOCK_PERMITS ==
		       (b->permits + LAYOUT_BLOCK_PERMITS - 1) / LAYOUT_BLOCK_PERMITS;
}

/* relaxed: this process alone writes rows */
static enum row_state row_state(const struct rule_row *row)
{
	return (enum row_state)atomic_load_explicit(&row->state, memory_order_relaxed);
}

uint32_t instance_live_rows(const struct instance *instance)
{
	const struct segment *segment = &instance->segment;
	/* relaxed, as above; one more where the last daemon died as it added it */
	uint32_t used = atomic_load_explicit(&segment->rules->rows_used, memory_order_relaxed);
	uint32_t live = 0;

	for (uint32_t i = 0; i < segment->row_count && i <= used; i++)
		live += row_state(&segment->rows[i]) == ROW_LIVE;
	return live;
}

static void read_rule(struct running_rule *out, const struct segment *segment, uint32_t index)
{
	const struct rule_row *row = &segment->rows[index];
	struct terms_author author;
	uint64_t changed_ns;

	/* relaxed: this process alone writes rows */
	out->kind = (enum row_kind)atomic_load_explicit(&row->kind, memory_order_relaxed);
	out->order = atomic_load_explicit(&row->order, memory_order_relaxed);
	segment_text(row->text, out->text);
	segment_terms(segment, index, &out->terms, &author, &changed_ns);
	out->origin = author.origin;
	out->fold = out->kind == ROW_EACH ? keys_fold(segment, index) : 0;
}

static const struct config_rule *each_rule(const struct config *config, const char *text)
{
	for (size_t i = 0; i < config->rule_count; i++)
		if (config->rules[i].kind == ROW_EACH && strcmp(config->rules[i].text, text) == 0)
			return &config->rules[i];
	return NULL;
}

/* A live row of a rule that `config` has not is still there when the new pair is made. */
static void count_unwanted(const struct instance *instance, const struct config *config,
			   struct segment_shape *shape)
{
	const struct segment *segment = &instance->segment;
	char text[LAYOUT_TEXT_BYTES];

	for (uint32_t i = 0; i < segment->row_count; i++) {
		if (row_state(&segment->rows[i]) != ROW_LIVE || keys_table_of(segment, i) < 0)
			continue;
		segment_text(segment->rows[i].text, text);
		if (each_rule(config, text))
			continue;
		shape->tables++;
		shape->bins += keyed_bins(keys_capacity(segment, i));
	}
}

/* One rule of an [each]: whether it is new; one that changes its size goes on the list. */
static bool plan_table(const struct instance *instance, const struct config_rule *wanted,
		       bool smaller, struct segment_shape *shape, struct rule *out)
{
	const struct segment *segment = &instance->segment;
	int64_t row = names_row_of_kind(segment, ROW_EACH, wanted->text);
	uint64_t keys = row < 0 ? 0 : keys_capacity(segment, (uint32_t)row);
	uint64_t changed_ns;

	shape->tables++;
	shape->bins += keyed_bins(keys > wanted->keys && !smaller ? keys : wanted->keys);
	if (row < 0)
		return true;
	if (keys == wanted->keys || (keys > wanted->keys && !smaller))
		return false;
	*out = (struct rule){
		.kind = ROW_EACH,
		.text = wanted->text,
		.keys = wanted->keys,
		.fold = keys_fold(segment, (uint32_t)row),
	};
	segment_terms(segment, (uint32_t)row, &out->terms, &out->author, &changed_ns);
	return false;
}

int instance_plan_tables(const struct instance *instance, const struct config *config, bool smaller,
			 struct segment_shape *shape, struct rule **instead)
{
	struct rule *list = calloc(config->rule_count + 1, sizeof(*list));
	/* relaxed: this process alone writes them */
	uint64_t bins_used =
		atomic_load_explicit(&instance->segment.rules->bins_used, memory_order_relaxed);
	uint32_t tables_used =
		atomic_load_explicit(&instance->segment.rules->tables_used, memory_order_relaxed);
	struct segment_shape wanted = *shape;
	size_t used = 0;

	if (!list)
		return -ENOMEM;
	wanted.tables = 0;
	wanted.bins = 0;
	for (size_t i = 0; i < config->rule_count; i++) {
		const struct config_rule *rule = &config->rules[i];

		if (rule->kind != ROW_EACH)
			continue;
		if (plan_table(instance, rule, smaller, &wanted, &list[used])) {
			tables_used++;
			bins_used += keyed_bins(rule->keys);
		}
		used += list[used].text != NULL;
	}
	for (size_t i = 0; i + 1 < used; i++)
		list[i].next = &list[i + 1];
	count_unwanted(instance, config, &wanted);
	*instead = used ? list : NULL;
	if (!used)
		free(list);
	if (!used && tables_used <= instance->segment.table_count &&
	    bins_used <= instance->segment.bin_count)
		return 0;
	*shape = wanted;
	return 1;
}

int instance_rules(const struct instance *instance, struct running_rule **rules, size_t *count)
{
	const struct segment *segment = &instance->segment;
	struct running_rule *found = calloc(instance_live_rows(instance) + 1, sizeof(*found));
	size_t used = 0;

	if (!found)
		return -ENOMEM;
	for (uint32_t i = 0; i < segment->row_count; i++)
		if (row_state(&segment->rows[i]) == ROW_LIVE)
			read_rule(&found[used++], segment, i);
	*rules = found;
	*count = used;
	return 0;
}

struct terms instance_terms(const struct instance *instance, uint32_t row)
{
	struct terms_author author;
	struct terms terms;
	uint64_t changed_ns;

	segment_terms(&instance->segment, row, &terms, &author, &changed_ns);
	return terms;
}

const struct segment *instance_old(const struct instance *instance)
{
	return instance->past_count ? &instance->past[instance->past_count - 1] : NULL;
}

/* ---- pairs that were replaced ---- */

/* Counts flow from each pair into the one that followed it. */
static void carry_all(struct instance *instance)
{
	for (unsigned i = 0; i < instance->past_count; i++) {
		bool last = i + 1 == instance->past_count;

		FAULT_POINT(daemon_carry);
		move_carry(last ? &instance->segment : &instance->past[i + 1], &instance->past[i]);
	}
}

static void forget_oldest(struct instance *instance)
{
	segment_detach(&instance->past[0]);
	instance->past_count--;
	memmove(instance->past, instance->past + 1,
		instance->past_count * sizeof(instance->past[0]));
}

static void remember(struct instance *instance, const struct segment *old)
{
	if (instance->past_count == INSTANCE_PAST) {
		carry_all(instance);
		forget_oldest(instance);
	}
	instance->past[instance->past_count++] = *old;
}

static bool has_members(const struct segment *segment)
{
	for (uint32_t slot = 0; slot < segment->member_count; slot++) {
		struct member_info member;

		members_look(segment, slot, &member);
		if (member.pid && members_alive(segment, slot))
			return true;
	}
	return false;
}

static void warn_of_full_names(struct instance *instance)
{
	/* relaxed: a count for people; what is missed now is seen next time */
	uint64_t refused =
		atomic_load_explicit(&instance->segment.state->names_refused, memory_order_relaxed);

	if (refused > instance->names_refused)
		log_line(LOG_WARNING,
			 "the table of names is full: %llu resolutions fell into the bucket that "
			 "such names share; raise `names` (now %u) in weir.ini",
			 (unsigned long long)refused, instance->segment.name_count);
	instance->names_refused = refused;
}

void instance_tend(struct instance *instance)
{
	if (instance->past_count) {
		bool empty = !has_members(&instance->past[0]);

		/* looked at before the counts are read: nobody adds to them afterwards */
		carry_all(instance);
		if (empty)
			forget_oldest(instance);
	}
	warn_of_full_names(instance);
}

/* ---- start ---- */

static void set_publisher(const struct segment *segment)
{
	/* relaxed: for people; a reader that sees the one before sees a pid that is gone */
	atomic_store_explicit(&segment->publisher->publisher_pid, (uint64_t)getpid(),
			      memory_order_relaxed);
}

/* With so much more room for keys than the file asks for. */
static int create(struct instance *instance, uint32_t tables, uint64_t bins)
{
	struct segment_shape shape = instance_wanted_shape(&instance->config, instance->group);
	char room[SPACE_TEXT_BYTES];
	struct segment fresh;
	int error;

	shape.tables += tables;
	shape.bins += bins;
	error = segment_create(&fresh, &instance->place, &shape);
	if (error < 0) {
		log_line(LOG_ERROR, "cannot make the segment in %s: %s; it needs %s",
			 instance->place.dir, weir_strerror(error),
			 instance_space(instance, &shape, room));
		return error;
	}
	instance->segment = fresh;
	return 0;
}

int instance_widen(struct instance *instance, uint32_t tables, uint64_t bins)
{
	int error;

	/* both at once may be more than there is room for */
	segment_detach(&instance->segment);
	error = create(instance, tables, bins);
	return error < 0 ? create(instance, 0, 0) : 0;
}

int instance_reveal(struct instance *instance)
{
	int error;

	if (instance->revealed)
		return 0;
	/* retired first: killed in between, the next start finds a retired pair and makes a new
	 * one; the other way round nobody would tell the members of the old */
	if (instance->replaced.rules)
		move_retire(&instance->replaced);
	FAULT_POINT(daemon_reveal);
	error = segment_reveal(&instance->segment, &instance->place);
	if (error < 0) {
		log_line(LOG_ERROR, "cannot give the segment its name in %s: %s",
			 instance->place.dir, weir_strerror(error));
		return error;
	}
	FAULT_POINT(daemon_revealed);
	segment_forget_old(&instance->place);
	if (instance->replaced.rules)
		segment_detach(&instance->replaced);
	instance->revealed = true;
	log_line(LOG_INFO, "made the segment of %s in %s", instance->place.name,
		 instance->place.dir);
	return 0;
}

/* A daemon died while marks were moving between two pairs: the rest of the move. */
static int finish_move(struct instance *instance, uint64_t predecessor)
{
	struct segment old;
	int error =
		segment_attach_old(&old, &instance->place, SEGMENT_PUBLISH, (uid_t)-1, predecessor);

	if (error < 0) {
		log_line(LOG_WARNING,
			 "the pair that was being replaced is gone (%s): levels that "
			 "had not moved start anew",
			 weir_strerror(error));
		return move_finish(&instance->segment, NULL);
	}
	FAULT_POINT(daemon_retire);
	move_retire(&old);
	error = move_finish(&instance->segment, &old);
	if (error < 0) {
		segment_detach(&old);
		return error;
	}
	remember(instance, &old);
	carry_all(instance);
	segment_forget_old(&instance->place);
	log_line(LOG_INFO, "finished a move that was under way when the last daemon died");
	return 0;
}

static void log_adopted(const struct instance *instance)
{
	unsigned members = 0;

	for (uint32_t slot = 0; slot < instance->segment.member_count; slot++) {
		struct member_info member;

		members_look(&instance->segment, slot, &member);
		members += member.pid != 0;
	}
	log_line(LOG_INFO, "adopted the segment of %s: %u rules, %u members; levels live on",
		 instance->place.name, instance_live_rows(instance), members);
}

/* A smaller table has room for all names that are in use: what each has used goes along. */
static uint32_t names_for(const struct instance *instance, uint32_t wanted)
{
	const struct segment *segment = &instance->segment;
	uint32_t used = 0;

	/* relaxed: one that comes meanwhile begins with little used */
	for (uint32_t i = 0; i < segment->name_count; i++)
		used += atomic_load_explicit(&segment->names[i].hash, memory_order_relaxed) != 0;
	if (used <= wanted)
		return wanted;
	log_line(LOG_WARNING, "names = %u: %u are in use, and none is forgotten; %u as it was",
		 wanted, used, segment->name_count);
	return segment->name_count;
}

/* A new start is when capacities become what the file says, smaller ones too. */
static int adopt_capacities(struct instance *instance)
{
	struct segment_shape wanted = instance_wanted_shape(&instance->config, instance->group);
	struct segment_shape present = instance_shape(instance);
	struct rule *instead = NULL;
	char room[SPACE_TEXT_BYTES];
	int tables = instance_plan_tables(instance, &instance->config, true, &wanted, &instead);
	int error = tables < 0 ? tables : 0;

	wanted.names = names_for(instance, wanted.names);
	if (tables == 0) {
		wanted.tables = present.tables;
		wanted.bins = present.bins;
	}
	if (tables > 0 || (tables == 0 && !same_capacities(&wanted, &present)))
		error = instance_succeed(instance, &wanted, instead);
	free(instead);
	if (error < 0)
		log_line(LOG_WARNING,
			 "the capacities stay: endpoints %u, names %u, members %u, permits %u, "
			 "waiters %u, %llu slots for keys (%s; a pair of others needs %s)",
			 present.rows, present.names, present.members, present.permits,
			 present.waiters, (unsigned long long)present.bins * LAYOUT_BIN_SLOTS,
			 weir_strerror(error), instance_space(instance, &wanted, room));
	return 0;
}

/* Takes over the attached pair, whose clock is the wanted one. */
static int adopt(struct instance *instance)
{
	/* relaxed: the lock says that nobody else publishes */
	uint64_t predecessor =
		atomic_load_explicit(&instance->segment.rules->predecessor, memory_order_relaxed);
	int error = 0;

	FAULT_POINT(daemon_adopt);
	set_publisher(&instance->segment);
	instance->revealed = true;
	if (predecessor)
		error = finish_move(instance, predecessor);
	if (error < 0) {
		log_line(LOG_ERROR, "cannot finish the move to this segment: %s",
			 weir_strerror(error));
		return error;
	}
	rules_recover(&instance->segment);
	log_adopted(instance);
	return adopt_capacities(instance);
}

static const char *clock_name(enum clock_kind kind)
{
	switch (kind) {
	case CLOCK_KIND_TSC:
		return "tsc";
	case CLOCK_KIND_MONOTONIC:
		return "monotonic";
	case CLOCK_KIND_MANUAL:
		return "manual";
	}
	return "unknown";
}

/* What there is decides: adopt it, replace it, or make the first. */
static int obtain(struct instance *instance)
{
	enum clock_kind wanted = instance_wanted_shape(&instance->config, instance->group).clock;
	int found =
		segment_attach(&instance->segment, &instance->place, SEGMENT_PUBLISH, (uid_t)-1);

	if (found == 0 && !segment_is_retired(&instance->segment) &&
	    instance->segment.time.kind == wanted)
		return adopt(instance);
	if (found == 0) {
		/* marks and closures of another clock say nothing on this one */
		log_line(LOG_WARNING,
			 "the segment in %s is retired or its clock is %s and should "
			 "be %s: made anew, all full",
			 instance->place.dir, clock_name(instance->segment.time.kind),
			 clock_name(wanted));
		instance->replaced = instance->segment;
		return create(instance, 0, 0);
	}
	if (found == WEIR_EOWNER || found > WEIR_EABSENT) {
		log_line(LOG_ERROR, "cannot take over what is in %s: %s", instance->place.dir,
			 weir_strerror(found));
		return found;
	}
	if (found != WEIR_EABSENT)
		log_line(LOG_WARNING, "what is in %s cannot be used (%s): made anew, all full",
			 instance->place.dir, weir_strerror(found));
	return create(instance, 0, 0);
}

/* The last part of the path alone: its parents are the system's. */
static int make_folder(const char *path, mode_t mode)
{
	if (mkdir(path, mode) == 0)
		return chmod(path, mode) < 0 ? -errno : 0;
	return errno == EEXIST ? 0 : -errno;
}

static int make_folders(const struct place *place)
{
	mode_t mode = geteuid() == 0 ? 0755 : 0700;
	char parent[PLACE_PATH_BYTES];
	char *slash;
	int error = make_folder(place->dir, mode);

	if (error < 0)
		log_line(LOG_ERROR, "cannot make the folder %s: %s", place->dir,
			 weir_strerror(error));
	if (error < 0)
		return error;
	strcpy(parent, place->socket);
	slash = strrchr(parent, '/');
	if (!slash || slash == parent)
		return 0;
	*slash = '\0';
	error = make_folder(parent, mode);
	if (error < 0)
		log_line(LOG_ERROR, "cannot make the folder %s of the socket: %s", parent,
			 weir_strerror(error));
	return error;
}

static int lock(struct instance *instance)
{
	pid_t holder = 0;
	int fd = lock_take(&instance->place, instance->group, &holder);

	if (fd == WEIR_ERUNNING)
		log_line(LOG_ERROR, "another weird serves %s in %s: pid %ld", instance->place.name,
			 instance->place.dir, (long)holder);
	else if (fd < 0)
		log_line(LOG_ERROR, "cannot take the daemon's lock in %s: %s", instance->place.dir,
			 weir_strerror(fd));
	instance->lock_fd = fd;
	return fd < 0 ? fd : 0;
}

int instance_start(struct instance *out, const struct place *place, struct config *config,
		   gid_t group)
{
	struct timespec wall;
	int error;

	clock_gettime(CLOCK_REALTIME, &wall);
	*out = (struct instance){.place = *place,
				 .config = *config,
				 .group = group,
				 .lock_fd = -1,
				 .started_s = (uint64_t)wall.tv_sec};
	error = make_folders(place);
	if (error == 0)
		error = lock(out);
	if (error == 0) {
		error = segment_recover(place);
		if (error < 0)
			log_line(LOG_ERROR, "cannot clear up what the last daemon left in %s: %s",
				 place->dir, weir_strerror(error));
	}
	if (error == 0)
		error = obtain(out);
	if (error < 0) {
		if (out->lock_fd >= 0)
			close(out->lock_fd);
		return error;
	}
	/* relaxed: a count for people */
	out->names_refused =
		atomic_load_explicit(&out->segment.state->names_refused, memory_order_relaxed);
	*config = (struct config){0};
	return 0;
}

/* ---- successor ---- */

int instance_succeed(struct instance *instance, const struct segment_shape *shape,
		     const struct rule *instead)
{
	struct segment old = instance->segment;
	struct segment next;
	int error = segment_create(&next, &instance->place, shape);

	if (error < 0)
		return error;
	FAULT_POINT(daemon_prepare);
	error = move_prepare(&old, &next, instead);
	/* permits do not move: from here on none is held, nor given, until the new pair has the
	 * name, or that was not to be */
	if (error == 0)
		error = permit_chain_close(&old);
	if (error == 0) {
		FAULT_POINT(daemon_reveal);
		error = segment_reveal(&next, &instance->place);
		if (error < 0)
			permit_chain_reopen(&old);
	}
	if (error < 0) {
		segment_detach(&next);
		segment_recover(&instance->place);
		return error;
	}
	/* from here on there is no way back: members follow the new pair */
	FAULT_POINT(daemon_retire);
	move_retire(&old);
	instance->segment = next;
	remember(instance, &old);
	FAULT_POINT(daemon_finish);
	error = move_finish(&instance->segment, instance_old(instance));
	carry_all(instance);
	if (error < 0) {
		log_line(LOG_WARNING, "marks are still to be moved: %s", weir_strerror(error));
		return 0;
	}
	FAULT_POINT(daemon_forget);
	segment_forget_old(&instance->place);
	log_line(LOG_INFO,
		 "a new pair of objects: endpoints %u, names %u, members %u, permits %u, waiters "
		 "%u; levels moved",
		 shape->rows, shape->names, shape->members, shape->permits, shape->waiters);
	return 0;
}

/* ---- stop ---- */

void instance_stop(struct instance *instance, bool remove)
{
	if (instance->past_count)
		carry_all(instance);
	while (instance->past_count)
		forget_oldest(instance);
	if (remove) {
		/* members look for another pair from now on, rather than go on by rules that
		 * nobody can change */
		move_retire(&instance->segment);
		if (segment_remove(&instance->place) < 0)
			log_line(LOG_WARNING, "the segment in %s could not be removed",
				 instance->place.dir);
		else
			log_line(LOG_INFO, "the segment of %s is removed", instance->place.name);
	} else {
		log_line(LOG_INFO, "the segment of %s stays in %s for the next start",
			 instance->place.name, instance->place.dir);
	}
	segment_detach(&instance->segment);
	if (instance->lock_fd >= 0)
		close(instance->lock_fd);
	config_free(&instance->config);
}
