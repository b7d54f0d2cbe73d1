/* SPDX-License-Identifier: Apache-2.0
 *
 * What weird does to a segment and to its state file, by the functions that it is made of: killed
 * after every instruction that changed a shared byte or a name in the folder, and after a sample
 * of the others ("all" as argument: after every one). Each time a client that was there before
 * goes on at once; the next weird starts as ever and finds nothing to repair; of every limit as
 * much is left as there was, and what was under way can be done again.
 */
#include "segment_fixture.h"

#include "audit.h"
#include "change.h"
#include "config.h"
#include "instance.h"
#include "log.h"
#include "members.h"
#include "persist.h"
#include "stepper.h"
#include "thread_sanitizer.h"

enum {
	BURST = 10, /* of each limit, on a clock that stands still */
	SAMPLE = 60,
};

enum limit { API, OTHER, DAY, LIMITS };

#define HEAD                                                                                       \
	"[weir]\nclock = manual\nendpoints = 8\nnames = 16\nmembers = 8\n[default]\nrate = 10/s\n" \
	"[endpoint day]\nrate = 10/d\nwindow = 1d\n"
#define API_RULE "[endpoint api]\nrate = 1/s\nburst = 10\n"

static const char *const names[LIMITS] = {"api", "other", "day"};
static const unsigned drawn[LIMITS] = {3, 4, 2}; /* before anything happens */

/* What there is of weird when it runs. */
struct server {
	struct config config; /* until it starts */
	struct persist persist;
	struct instance instance;
};

/* What clients can see changing: a file by its name, and what is in it. */
struct watched {
	char path[PLACE_DIR_BYTES + 32];
	ino_t inode; /* 0: there is none */
	size_t bytes;
	void *pages;
	void *copy;
};

enum { WATCHED = 6 };

static struct world {
	struct place place;
	struct weir *weir; /* of a client */
	struct weir_endpoint *endpoints[LIMITS];
	struct server server; /* of the child that is killed, and then of its successor */
	struct watched watched[WATCHED];
	unsigned long places;
	unsigned long ended; /* children that died behind their call */
	bool all;
} world;

/* Something to be killed in. */
struct operation {
	const char *name;
	void (*before)(struct server *server);	/* what it needs; or NULL */
	void (*perform)(struct server *server); /* NULL: the start itself */
	uint64_t rate_micro;			/* of `limit`, afterwards; 0: it has no rule */
	enum limit limit;
	bool refills;  /* `limit` may be full afterwards */
	bool loses;    /* of `limit`: a level is set before the burst that it is of */
	bool boots;    /* the objects are gone: levels come from the file */
	bool has_dead; /* a member is dead */
};

/* ---- weird ---- */

static void path_of(const char *name, char out[PLACE_DIR_BYTES + 32])
{
	snprintf(out, PLACE_DIR_BYTES + 32, "%s/%s", world.place.dir, name);
}

/* What weir.ini says. */
static void server_read(struct server *server)
{
	static const char text[] = HEAD API_RULE;

	CHILD_CHECK(config_parse(&server->config, text, sizeof(text) - 1, "weir.ini", NULL) == 0);
}

/* As main.c has it. */
static int server_start(struct server *server)
{
	char path[PLACE_DIR_BYTES + 32];
	int error;

	path_of("levels", path);
	error = persist_open(&server->persist, path, &world.place);
	if (error == 0)
		error = instance_start(&server->instance, &world.place, &server->config, (gid_t)-1);
	if (error == 0)
		error = persist_load(&server->persist, &server->instance);
	if (error == 0)
		error = change_start(&server->instance);
	if (error < 0)
		return error;
	persist_restore(&server->persist, &server->instance);
	return instance_reveal(&server->instance);
}

static void server_stop(struct server *server)
{
	persist_close(&server->persist, &server->instance);
	instance_stop(&server->instance, false);
}

/* ---- what it does ---- */

static void change(struct server *server, enum row_kind kind, const char *text, struct terms terms,
		   enum rules_keep keep)
{
	const struct rule rule = {
		.kind = kind, .text = text, .terms = terms, .author = {ORIGIN_OPERATOR, 0}};

	CHILD_CHECK(change_rule(&server->instance, &rule, keep) >= 0);
}

static void set_rate(struct server *server)
{
	change(server, ROW_EXACT, "api", scene_terms(2, BURST), RULES_KEEP_USED);
}

static void set_burst_keep_level(struct server *server)
{
	change(server, ROW_EXACT, "api", scene_terms(2, 2 * BURST), RULES_KEEP_LEVEL);
}

static void set_unit(struct server *server)
{
	change(server, ROW_EXACT, "api", scene_terms(1000000000, BURST), RULES_KEEP_USED);
}

static void set_windows(struct server *server)
{
	struct terms terms = scene_terms(BURST, BURST);

	terms.period_ns = 3600 * SCENE_SECOND;
	terms.window = (struct window_terms){terms.period_ns, WINDOW_FIRST, 0};
	change(server, ROW_EXACT, "api", terms, RULES_KEEP_USED);
}

static void set_default_unit(struct server *server)
{
	change(server, ROW_DEFAULT, "*", scene_terms(1000000000, BURST), RULES_KEEP_USED);
}

static void set_own_row(struct server *server)
{
	const struct rule rule = {.kind = ROW_EXACT,
				  .text = "other",
				  .terms = scene_terms(3, BURST),
				  .author = {ORIGIN_OPERATOR, 0}};

	/* what is done again finds the row */
	if (names_exact_row(&server->instance.segment, "other") >= 0)
		return;
	CHILD_CHECK(change_add(&server->instance, &rule) >= 0);
}

static void reload(struct server *server)
{
	struct source source = {.log_fixed = true};

	path_of("without-api.ini", source.path);
	change_reload(&server->instance, &source, "a test", 0, NULL);
}

static void remove_row(struct server *server)
{
	struct segment *segment = &server->instance.segment;
	int64_t row = names_exact_row(segment, "other");

	if (row >= 0)
		rules_remove(segment, (uint32_t)row);
}

static void reset(struct server *server)
{
	struct segment *segment = &server->instance.segment;
	uint32_t row = (uint32_t)names_exact_row(segment, "api");

	rules_reset(segment, row, row);
}

static void calibrate(struct server *server)
{
	struct segment *segment = &server->instance.segment;

	CHILD_CHECK(rules_rebase(segment, segment_hz(segment), 0) >= 0);
}

static void align(struct server *server)
{
	struct segment *segment = &server->instance.segment;
	struct wall_time wall = align_now(&segment->time);
	int64_t shift_ns;

	wall.ns += 90 * SCENE_SECOND;
	rules_align(segment, &wall, 1, &shift_ns);
}

static void reap(struct server *server)
{
	struct segment *segment = &server->instance.segment;

	for (uint32_t slot = 0; slot < segment->member_count; slot++)
		members_reap(segment, slot);
}

static void save(struct server *server)
{
	struct persist_save save;

	if (!persist_begin(&server->persist, &server->instance, &save))
		return;
	persist_write(&server->persist, &save);
	persist_end(&server->persist, &save);
	CHILD_CHECK(save.error == 0);
}

static void succeed(struct server *server)
{
	struct segment_shape shape = instance_shape(&server->instance);

	shape.names *= 2;
	CHILD_CHECK(instance_succeed(&server->instance, &shape, NULL) == 0);
}

#define PER_S(rate) ((rate)*TERMS_MICRO)

static const struct operation operations[] = {
	{.name = "publish a rate", .perform = set_rate, .rate_micro = PER_S(2)},
	{.name = "publish a burst, keep the level",
	 .perform = set_burst_keep_level,
	 .rate_micro = PER_S(2),
	 .loses = true},
	{.name = "move to another unit", .perform = set_unit, .rate_micro = PER_S(1000000000ull)},
	{.name = "move to windows", .perform = set_windows, .rate_micro = PER_S(BURST)},
	{.name = "move a name to a row of its own",
	 .perform = set_own_row,
	 .limit = OTHER,
	 .rate_micro = PER_S(3)},
	{.name = "move all names to a new pair",
	 .perform = set_default_unit,
	 .rate_micro = PER_S(1)},
	{.name = "make a larger pair", .perform = succeed, .rate_micro = PER_S(1)},
	/* api has no bucket under [default] to take its debt back to */
	{.name = "reload, a rule goes", .perform = reload, .refills = true},
	{.name = "move a name back", .before = set_own_row, .perform = remove_row, .limit = OTHER},
	{.name = "reset", .perform = reset, .rate_micro = PER_S(1), .refills = true},
	{.name = "calibrate anew", .perform = calibrate, .rate_micro = PER_S(1)},
	{.name = "lay windows out again",
	 .perform = align,
	 .limit = DAY,
	 .rate_micro = PER_S(BURST)},
	{.name = "reap", .perform = reap, .rate_micro = PER_S(1), .has_dead = true},
	{.name = "save", .perform = save, .rate_micro = PER_S(1)},
	{.name = "adopt", .rate_micro = PER_S(1)},
	{.name = "start, and restore", .rate_micro = PER_S(1), .boots = true},
};

/* ---- the world ---- */

static void write_file(const char *name, const char *text)
{
	char path[PLACE_DIR_BYTES + 32];
	FILE *file;

	path_of(name, path);
	file = fopen(path, "we");
	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static void open_client(void)
{
	world.weir = scene_open(&world.place);
	assert_non_null(world.weir);
	for (unsigned i = 0; i < LIMITS; i++) {
		world.endpoints[i] = scene_endpoint(world.weir, names[i]);
		assert_non_null(world.endpoints[i]);
	}
}

static void close_client(void)
{
	for (unsigned i = 0; i < LIMITS; i++)
		weir_endpoint_close(world.endpoints[i]);
	weir_close(world.weir);
}

static int die_attached(void *context)
{
	struct weir *weir = scene_open(&world.place);

	(void)context;
	CHILD_CHECK(weir);
	raise(SIGKILL);
	return 0;
}

static void remove_objects(void)
{
	char path[PLACE_DIR_BYTES + 32];

	path_of("weir.t.rules", path);
	assert_int_equal(unlink(path), 0);
	path_of("weir.t.state", path);
	assert_int_equal(unlink(path), 0);
}

/* weird ran, limits were used, and it is stopped. */
static void world_begin(const struct operation *operation)
{
	struct server first;

	scene_place(&world.place);
	write_file("without-api.ini", HEAD);
	server_read(&first);
	assert_int_equal(server_start(&first), 0);
	open_client();
	for (unsigned i = 0; i < LIMITS; i++)
		assert_int_equal(weir_acquire(world.endpoints[i], drawn[i], NULL), WEIR_ADMIT);
	server_stop(&first);
	if (operation->has_dead)
		assert_int_equal(scene_wait(scene_child(die_attached, NULL)), 256 + SIGKILL);
	if (operation->boots)
		remove_objects();
}

static void world_end(void)
{
	close_client();
	scene_clear(&world.place);
}

/* ---- what changes ---- */

static void unwatch(struct watched *watched)
{
	if (watched->pages)
		munmap(watched->pages, watched->bytes);
	free(watched->copy);
	watched->pages = NULL;
	watched->copy = NULL;
	watched->inode = 0;
}

/* Objects have their length before they have this name; other files are told by their inode. */
static void watch_inode(struct watched *watched, const struct stat *found)
{
	int fd = open(watched->path, O_RDONLY | O_CLOEXEC);

	unwatch(watched);
	watched->inode = found->st_ino;
	watched->bytes = (size_t)found->st_size;
	if (fd >= 0 && strstr(watched->path, "/weir.") && watched->bytes) {
		watched->pages = mmap(NULL, watched->bytes, PROT_READ, MAP_SHARED, fd, 0);
		assert_true(watched->pages != MAP_FAILED);
		watched->copy = malloc(watched->bytes);
		assert_non_null(watched->copy);
		memcpy(watched->copy, watched->pages, watched->bytes);
	}
	if (fd >= 0)
		close(fd);
}

static bool look_at(struct watched *watched)
{
	struct stat found = {0};

	if (stat(watched->path, &found) < 0) {
		bool gone = watched->inode != 0;

		unwatch(watched);
		return gone;
	}
	if (found.st_ino != watched->inode || (size_t)found.st_size != watched->bytes) {
		watch_inode(watched, &found);
		return true;
	}
	if (!watched->copy || memcmp(watched->copy, watched->pages, watched->bytes) == 0)
		return false;
	memcpy(watched->copy, watched->pages, watched->bytes);
	return true;
}

static bool something_changed(void *context)
{
	bool changed = false;

	(void)context;
	for (unsigned i = 0; i < WATCHED; i++)
		changed |= look_at(&world.watched[i]);
	return changed;
}

static void watch(void)
{
	static const char *const files[WATCHED] = {
		"weir.t.rules",	    "weir.t.state", "weir.t.rules.old",
		"weir.t.state.old", "levels",	    "levels.new",
	};

	for (unsigned i = 0; i < WATCHED; i++)
		path_of(files[i], world.watched[i].path);
	something_changed(NULL);
}

/* ---- after the kill ---- */

static void print_finding(void *context, const struct audit_finding *finding)
{
	(void)context;
	if (finding->severity == AUDIT_FINDING)
		print_error("%s %u: %s (%#llx)\n", finding->where, finding->index, finding->what,
			    (unsigned long long)finding->value);
}

/* How much passes, before and after the operation was done again. */
struct passing {
	unsigned taken[LIMITS];
	const char *when;
	bool again;
};

/* Whether so many of a limit may be left. */
static bool is_left(const struct operation *operation, const struct passing *passing, unsigned i,
		    unsigned left)
{
	unsigned there = passing->again ? 0 : BURST - drawn[i] - passing->taken[i];
	bool about = operation->limit == i;

	if (about && operation->loses)
		return left <= there;
	return left == there || (about && operation->refills && left == BURST - passing->taken[i]);
}

/* A mark that goes back to a bucket on a clock that stands is a unit further: bucket_thaw(). */
static unsigned drain(struct weir_endpoint *endpoint)
{
	unsigned tokens = 0;

	while (weir_acquire(endpoint, 0.999, NULL) == WEIR_ADMIT)
		tokens++;
	return tokens;
}

static void check_left(const struct operation *operation, size_t instructions,
		       const struct passing *passing)
{
	for (unsigned i = 0; i < LIMITS; i++) {
		unsigned left = drain(world.endpoints[i]);

		if (!is_left(operation, passing, i, left))
			fail_msg("%s, killed after %zu instructions%s: %u of %s passed",
				 operation->name, instructions, passing->when, left, names[i]);
	}
}

static void check_rate(const struct operation *operation)
{
	const struct instance *instance = &world.server.instance;
	int64_t row = names_exact_row(&instance->segment, names[operation->limit]);

	if (operation->rate_micro == 0)
		assert_true(row < 0);
	else
		assert_int_equal(instance_terms(instance, (uint32_t)row).rate_micro,
				 operation->rate_micro);
}

static void check_segment(const struct operation *operation, size_t instructions)
{
	const struct server *server = &world.server;

	if (audit_segment(&server->instance.segment, print_finding, NULL) != 0)
		fail_msg("%s, killed after %zu instructions: findings", operation->name,
			 instructions);
	/* the file is a whole one */
	assert_int_equal(server->persist.refused, 0);
}

static void check_after(const struct operation *operation, size_t instructions)
{
	struct passing passing = {.when = ""};

	for (unsigned i = 0; i < LIMITS; i++) {
		bool may_be_low = operation->loses && operation->limit == i;

		passing.taken[i] = weir_acquire(world.endpoints[i], 1, NULL) == WEIR_ADMIT;
		assert_true(passing.taken[i] || may_be_low);
	}
	server_read(&world.server);
	assert_int_equal(server_start(&world.server), 0);
	check_segment(operation, instructions);
	if (operation->boots) {
		/* what it was attached to is gone with the boot before */
		memset(passing.taken, 0, sizeof(passing.taken));
		close_client();
		open_client();
	}
	check_left(operation, instructions, &passing);
	if (operation->perform) {
		if (operation->before)
			operation->before(&world.server);
		operation->perform(&world.server);
		check_segment(operation, instructions);
		passing = (struct passing){.when = ", and done again", .again = true};
		check_left(operation, instructions, &passing);
	}
	check_rate(operation);
	server_stop(&world.server);
}

/* ---- everywhere ---- */

static void prepare(void *context)
{
	const struct operation *operation = context;

	server_read(&world.server);
	if (operation->perform)
		CHILD_CHECK(server_start(&world.server) == 0);
	if (operation->before)
		operation->before(&world.server);
}

static void call(void *context)
{
	const struct operation *operation = context;

	if (operation->perform)
		operation->perform(&world.server);
	else
		CHILD_CHECK(server_start(&world.server) == 0);
}

static struct stepper_call call_of(const struct operation *operation)
{
	return (struct stepper_call){
		.prepare = prepare, .call = call, .context = (void *)(uintptr_t)operation};
}

/* Returns whether it took stepping: see test_attach.c. */
static bool kill_at(const struct operation *operation, struct stepper_trace *trace,
		    size_t instructions)
{
	const struct stepper_call subject = call_of(operation);
	bool stepped;

	world_begin(operation);
	stepped = !stepper_kill_running(&subject, trace, instructions);
	if (stepped) {
		world_end();
		world_begin(operation);
		world.ended += !stepper_kill_stepping(&subject, trace, instructions);
	}
	check_after(operation, instructions);
	world_end();
	return stepped;
}

static struct stepper_trace record(const struct operation *operation)
{
	struct stepper_call subject = call_of(operation);
	struct stepper_trace trace;

	subject.changed = something_changed;
	world_begin(operation);
	watch();
	if (!stepper_record(&subject, &trace))
		fail_msg("%s does not end", operation->name);
	for (unsigned i = 0; i < WATCHED; i++)
		unwatch(&world.watched[i]);
	world_end();
	return trace;
}

static void kill_everywhere(const struct operation *operation)
{
	struct stepper_trace trace = record(operation);
	size_t stride = world.all ? 1 : 1 + trace.count / SAMPLE;
	unsigned long places = 0, changes = 0, stepped = 0;

	for (size_t i = 0; i <= trace.count; i++) {
		bool changed = i > 0 && trace.changes[i - 1];

		if (!changed && i % stride)
			continue;
		stepped += kill_at(operation, &trace, i);
		changes += changed;
		places++;
	}
	printf("%-32s killed at %4lu places of %6zu instructions, %3lu behind a change, %lu times "
	       "stepping\n",
	       operation->name, places, trace.count, changes, stepped);
	fflush(stdout);
	/* an adopting start finds nothing that it would have to change */
	assert_true(changes > 0 || !operation->perform);
	world.places += places;
	stepper_free(&trace);
}

static void test_operations(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
		kill_everywhere(&operations[i]);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_operations),
	};
	const char *why = UNDER_THREAD_SANITIZER
				  ? "ThreadSanitizer gives every process a thread of its own"
				  : stepper_unavailable();
	int failed;

	if (why) {
		printf("skipped: %s\n", why);
		return TEST_SKIPPED;
	}
	world.all = argc > 1 && strcmp(argv[1], "all") == 0;
	log_open(LOG_ERROR, false);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	printf("killed at %lu places in all, at %lu of them behind the call\n", world.places,
	       world.ended);
	failed += world.ended * 20 > world.places;
	return failed;
}
