/* SPDX-License-Identifier: Apache-2.0
 *
 * weird is killed at every passage of every crash point that an operation comes by, while workers
 * draw all the time. Which passages there are is read from a log of an undisturbed run. After
 * each death the segment is audited as it lies there; workers go on; a name that is new meanwhile
 * gets its own bucket; a restarted weird adopts; the operation is repeated. On a clock that stands
 * still every name's tokens are then counted: none was granted twice and none is lost.
 */
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "audit.h"
#include "daemon_fixture.h"
#include "place.h"
#include "segment.h"

#define BURST 300
#define TEXT(number) #number
#define TEXT_OF(macro) TEXT(macro)
#define BURST_LINE(number) "burst = " TEXT(number) "\n"
#define CAPACITIES(rows)                                                                           \
	"clock = manual\nendpoints = " #rows "\nnames = 32\nmembers = 16\npermits = 16\n"
#define SHADOWED BURST_LINE(BURST) "shadow_rate = 1/s\nclass batch = leave 20 %\n"
#define LEARNER "[endpoint learner]\nrate = 10/s\nburst = 100\nadaptive = headers\n"
#define FIRST_RULES                                                                                \
	"[default]\nrate = 10/s\n" SHADOWED "[endpoint api]\nrate = 5/s\n" BURST_LINE(             \
		BURST) "[endpoint spare]\nrate = 60/min\nwindow = 1min\n" LEARNER
#define SECOND_RULES                                                                               \
	"[default]\nrate = 10/s\n" SHADOWED "[endpoint new]\nrate = 1/s\n"                         \
	"[endpoint api]\nrate = 6/s\n" BURST_LINE(BURST)
#define FIRST CAPACITIES(16) FIRST_RULES
#define SECOND CAPACITIES(16) SECOND_RULES
#define GROWN CAPACITIES(24) FIRST_RULES
#define EACH(keys) "[each e/*]\nrate = 10/s\n" BURST_LINE(BURST) "keys = " #keys "\n"
#define FEW_KEYS FIRST EACH(8)
#define MORE_KEYS FIRST EACH(64)

enum {
	WORKERS = 2,
	NAMES = 6,
	LATE = 5, /* the name that is used first when the daemon has died */
	PASSAGES = 512,
	POINTS = 64,
	POINT_BYTES = 40,
	DRAWS = 5, /* of every worker's names, before anything happens */
	DRAW_PAUSE_NS = 200000,
};

static const char *const names[NAMES] = {"api", "plain", "own", "e/a", "e/b", "late"};

/* Something that weird does, or that is done to it. */
struct operation;

/* What all processes of a run share. */
struct shared {
	_Atomic bool stop;
	_Atomic unsigned granted[NAMES];
};

/* One run of one operation. */
struct run {
	const struct operation *operation;
	struct fixture fixture;
	struct shared *shared;
	pid_t workers[WORKERS];
	struct weir *weir;
	struct weir_endpoint *endpoints[NAMES];
	bool died;
};

struct operation {
	const char *name;
	const char *config;		  /* of the start; NULL: FIRST */
	bool (*perform)(struct run *run); /* false: weird died of it */
	bool at_start;			  /* it is in the start itself; perform does nothing */
	bool saves;			  /* there is a state file */
	unsigned refills;		  /* of "api", each time it is done */
	unsigned name_changed;		  /* whose rate it changes */
	double rate_before;
	double rate_after;
};

/* ---- passages ---- */

struct passages {
	char points[PASSAGES][POINT_BYTES];
	size_t count;
};

/* All points that were killed at, in any operation. */
static char covered[POINTS][POINT_BYTES];
static size_t covered_count;
static unsigned long kills;

static void cover(const char *point)
{
	size_t length = strcspn(point, ":");

	for (size_t i = 0; i < covered_count; i++)
		if (strlen(covered[i]) == length && strncmp(covered[i], point, length) == 0)
			return;
	assert_true(covered_count < POINTS);
	snprintf(covered[covered_count++], POINT_BYTES, "%.*s", (int)length, point);
}

static bool is_covered(const char *point, size_t length)
{
	for (size_t i = 0; i < covered_count; i++)
		if (strlen(covered[i]) == length && strncmp(covered[i], point, length) == 0)
			return true;
	return false;
}

static void log_path(const struct run *run, char out[128])
{
	snprintf(out, 128, "%s/passages", run->fixture.dir);
}

static void read_passages(const struct run *run, struct passages *out)
{
	char path[128];
	char line[POINT_BYTES];

	log_path(run, path);
	FILE *file = fopen(path, "re");

	out->count = 0;
	while (file && fgets(line, sizeof(line), file)) {
		assert_true(out->count < PASSAGES);
		line[strcspn(line, "\n")] = '\0';
		strcpy(out->points[out->count++], line);
	}
	if (file)
		fclose(file);
}

/* "name:N" for the passage at an index: the Nth of its point. */
static void fault_of(const struct passages *passages, size_t index, char out[64])
{
	unsigned nth = 0;

	for (size_t i = 0; i <= index; i++)
		nth += strcmp(passages->points[i], passages->points[index]) == 0;
	snprintf(out, 64, "%s:%u", passages->points[index], nth);
}

/* ---- workers ---- */

static void pause_ns(long ns)
{
	const struct timespec pause = {0, ns};

	nanosleep(&pause, NULL);
}

static void draw(struct shared *shared, struct weir_endpoint *endpoint, unsigned name)
{
	if (weir_acquire(endpoint, 1, NULL) == WEIR_ADMIT)
		atomic_fetch_add(&shared->granted[name], 1);
}

/* Draws from all names but the late one, whatever happens to the daemon. */
static void work(const struct run *run)
{
	struct weir_options options = WEIR_OPTIONS_INIT;
	struct weir_endpoint *endpoints[LATE];
	struct weir *weir;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	options.name = "test";
	options.shm_dir = run->fixture.dir;
	if (weir_open(&weir, &options) < 0)
		_exit(1);
	for (unsigned i = 0; i < LATE; i++)
		if (weir_endpoint(weir, names[i], &endpoints[i]) < 0)
			_exit(2);
	while (!atomic_load(&run->shared->stop)) {
		for (unsigned i = 0; i < LATE; i++)
			draw(run->shared, endpoints[i], i);
		pause_ns(DRAW_PAUSE_NS);
	}
	_exit(0);
}

/* Starts them, and waits until they are at it. */
static void start_workers(struct run *run)
{
	unsigned ms = 0;

	for (int i = 0; i < WORKERS; i++) {
		run->workers[i] = fork();
		assert_true(run->workers[i] >= 0);
		if (run->workers[i] == 0)
			work(run);
	}
	while (atomic_load(&run->shared->granted[0]) < DRAWS && ms++ < FIXTURE_PATIENCE_MS)
		fixture_sleep_ms(1);
	assert_true(ms < FIXTURE_PATIENCE_MS);
}

static void stop_workers(struct run *run)
{
	int status;

	atomic_store(&run->shared->stop, true);
	for (int i = 0; i < WORKERS; i++) {
		assert_int_equal(waitpid(run->workers[i], &status, 0), run->workers[i]);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
}

/* ---- the segment, looked at ---- */

static void print_finding(void *context, const struct audit_finding *finding)
{
	(void)context;
	if (finding->severity == AUDIT_FINDING)
		print_error("%s %u: %s (%#llx)\n", finding->where, finding->index, finding->what,
			    (unsigned long long)finding->value);
}

static struct place place_of(const struct run *run)
{
	const struct place_hints hints = {.name = "test", .shm_dir = run->fixture.dir};
	struct place place;

	assert_int_equal(place_resolve(&place, &hints, PLACE_TO_ATTACH), 0);
	return place;
}

/* Whatever has the name is sound. Nothing has it when weird died before its first reveal. */
static void audit(const struct run *run, const char *when)
{
	struct place place = place_of(run);
	struct segment segment;
	int status = segment_attach(&segment, &place, SEGMENT_LOOK, (uid_t)-1);

	if (status == WEIR_EABSENT && !run->weir)
		return;
	if (status < 0)
		fail_msg("%s: %s", when, weir_strerror(status));
	if (audit_segment(&segment, print_finding, NULL) != 0)
		fail_msg("findings %s", when);
	segment_detach(&segment);
}

/* ---- weird, alive and dead ---- */

static void attach(struct run *run)
{
	run->weir = fixture_open(&run->fixture);
	for (unsigned i = 0; i < LATE; i++)
		run->endpoints[i] = fixture_endpoint(run->weir, names[i]);
	start_workers(run);
}

static bool is_rate(const struct run *run, double rate)
{
	return fabs(fixture_rate(run->endpoints[run->operation->name_changed]) - rate) <
	       rate * 1e-6;
}

/*
 * The dead daemon's segment is sound, what it was doing is done or is not, and a new name has a
 * bucket of its own there.
 */
static void look_at_the_dead(struct run *run)
{
	const struct operation *operation = run->operation;

	assert_int_equal(fixture_wait(&run->fixture), 256 + SIGKILL);
	run->died = true;
	run->fixture.fault = NULL;
	audit(run, "after the daemon's death");
	if (!run->weir)
		return;
	if (!is_rate(run, operation->rate_before) && !is_rate(run, operation->rate_after))
		fail_msg("%s: half done", operation->name);
	if (!run->endpoints[LATE])
		run->endpoints[LATE] = fixture_endpoint(run->weir, names[LATE]);
	for (int i = 0; i < 10; i++)
		draw(run->shared, run->endpoints[LATE], LATE);
}

static void start(struct run *run)
{
	for (int tries = 0; tries < 2; tries++) {
		fixture_spawn(&run->fixture, NULL);
		if (fixture_notified(&run->fixture, "READY=1", FIXTURE_PATIENCE_MS))
			return;
		look_at_the_dead(run);
	}
	fail_msg("weird does not come up again");
}

static void run_begin(struct run *run, const struct operation *operation, const char *fault)
{
	char path[128];

	*run = (struct run){.operation = operation};
	fixture_begin(&run->fixture);
	run->fixture.program = WEIRD_FAULTS_PROGRAM;
	run->fixture.fault = fault;
	run->fixture.saves = operation->saves;
	run->shared = mmap(NULL, sizeof(*run->shared), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(run->shared, MAP_FAILED);
	log_path(run, path);
	assert_int_equal(setenv("WEIR_FAULT_LOG", path, 1), 0);
	fixture_config(&run->fixture, operation->config ? operation->config : FIRST);
}

static void run_end(struct run *run)
{
	for (unsigned i = 0; i < NAMES; i++)
		weir_endpoint_close(run->endpoints[i]);
	weir_close(run->weir);
	munmap(run->shared, sizeof(*run->shared));
	fixture_end(&run->fixture);
}

/* ---- operations ---- */

static bool ask(struct run *run, const struct wire_message *request)
{
	unsigned char bytes[WIRE_MAX_BYTES];
	int64_t length = wire_write(request, bytes, sizeof(bytes));
	int fd = fixture_connect(&run->fixture);
	struct answer answer;
	bool answered;

	assert_true(length > 0);
	if (fd < 0)
		return false;
	answered = send(fd, bytes, (size_t)length, MSG_NOSIGNAL) == length &&
		   fixture_read_answer(fd, &answer);
	close(fd);
	if (answered)
		assert_int_equal(answer.message.code, 0);
	return answered;
}

static bool set_key(struct run *run, const char *name, const char *key, const char *value)
{
	const struct wire_message request = {
		.kind = WIRE_SET, .name = name, .setting_count = 1, .settings = {{key, value}}};

	return ask(run, &request);
}

static bool set(struct run *run, const char *name, const char *value)
{
	return set_key(run, name, "rate", value);
}

static bool nothing(struct run *run)
{
	(void)run;
	return true;
}

static bool set_rate(struct run *run)
{
	return set(run, "api", "7/s");
}

static bool set_shadow(struct run *run)
{
	return set_key(run, "api", "shadow_rate", "2/s");
}

/* So fast that another unit is needed: the rule moves to another row. */
static bool set_unit(struct run *run)
{
	return set(run, "api", "1000000000/s");
}

/* [default] cannot have another row: a whole new pair is made. */
static bool set_unit_of_default(struct run *run)
{
	return set(run, "*", "1000000000/s");
}

static bool set_windows_of(struct run *run, const char *name, const char *window)
{
	const struct wire_message request = {
		.kind = WIRE_SET,
		.name = name,
		.setting_count = 2,
		.settings = {{"rate", TEXT_OF(BURST) "/h"}, {"window", window}}};

	return ask(run, &request);
}

/* Marks of another kind: the rule moves to another row. */
static bool set_windows_first(struct run *run)
{
	return set_windows_of(run, "api", "1h first");
}

static bool set_windows_aligned(struct run *run)
{
	return set_windows_of(run, "api", "1h");
}

static bool set_windows_of_default(struct run *run)
{
	return set_windows_of(run, "*", "1h first");
}

/* The level is kept while the rule moves to another row. */
static bool set_unit_keeping(struct run *run)
{
	const struct wire_message request = {.kind = WIRE_SET,
					     .name = "api",
					     .keep = WEIR_KEEP_LEVEL,
					     .setting_count = 1,
					     .settings = {{"rate", "1000000000/s"}}};

	return ask(run, &request);
}

static bool set_own_row(struct run *run)
{
	return set(run, "own", "3/s");
}

/* All the permits there are, and back, so that another rule finds some. */
static bool set_permits(struct run *run)
{
	return set_key(run, "own", "concurrency", "1") &&
	       set_key(run, "api", "concurrency", "12") &&
	       set_key(run, "api", "concurrency", "2") && set_key(run, "own", "concurrency", "8") &&
	       set_key(run, "api", "concurrency", "auto 2..4") &&
	       set_key(run, "api", "concurrency", "2");
}

static bool reset(struct run *run)
{
	return ask(run, &(struct wire_message){.kind = WIRE_RESET, .name = "api"});
}

static bool close_and_open(struct run *run)
{
	return ask(run, &(struct wire_message){.kind = WIRE_CLOSE,
					       .name = "spare",
					       .duration_ns = WEIR_SECOND}) &&
	       ask(run, &(struct wire_message){.kind = WIRE_OPEN, .name = "spare"});
}

/* A response says what is left: weird puts a lower speed and burst into force. */
static bool learn(struct run *run)
{
	static const struct weir_header headers[] = {
		{"RateLimit-Limit", "8", WEIR_TEXT, WEIR_TEXT},
		{"RateLimit-Remaining", "4", WEIR_TEXT, WEIR_TEXT},
		{"RateLimit-Reset", "30", WEIR_TEXT, WEIR_TEXT},
	};
	struct weir_endpoint *endpoint = fixture_endpoint(run->weir, "learner");
	bool learned = false;
	bool alive = true;

	for (unsigned ms = 0; !learned && alive && ms < FIXTURE_PATIENCE_MS; ms += 2) {
		siginfo_t info = {0};

		if (ms % 200 == 0)
			assert_int_equal(weir_observe(endpoint, 200, headers, 3, 0, NULL), 0);
		learned = fixture_rate(endpoint) < 10;
		alive = waitid(P_PID, (id_t)run->fixture.daemon, &info,
			       WEXITED | WNOHANG | WNOWAIT) == 0 &&
			info.si_pid == 0;
		fixture_sleep_ms(2);
	}
	weir_endpoint_close(endpoint);
	assert_true(learned || !alive);
	/* another question, so that a daemon that dies behind it has died by now */
	return ask(run, &(struct wire_message){.kind = WIRE_PING});
}

static bool freeze(struct run *run)
{
	return ask(run, &(struct wire_message){
				.kind = WIRE_ADAPT, .name = "learner", .keep = WIRE_ADAPT_OFF});
}

static bool reload(struct run *run, const char *config)
{
	fixture_config(&run->fixture, config);
	assert_int_equal(kill(run->fixture.daemon, SIGHUP), 0);
	return fixture_notified(&run->fixture, "RELOADING=1", FIXTURE_PATIENCE_MS) &&
	       fixture_notified(&run->fixture, "READY=1", FIXTURE_PATIENCE_MS);
}

static bool reload_difference(struct run *run)
{
	return reload(run, SECOND);
}

static bool reload_larger(struct run *run)
{
	return reload(run, GROWN);
}

/* Keys move while they are drawn from. */
static bool reload_more_keys(struct run *run)
{
	return reload(run, MORE_KEYS);
}

/* A member dies, and weird clears its slot. */
static bool reap(struct run *run)
{
	pid_t member = fork();

	assert_true(member >= 0);
	if (member == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fixture_open(&run->fixture);
		_exit(0);
	}
	assert_int_equal(waitpid(member, NULL, 0), member);
	for (unsigned ms = 0; ms < FIXTURE_PATIENCE_MS; ms += 5) {
		siginfo_t info = {0};

		if (fixture_has_logged(&run->fixture, "is gone"))
			return true;
		if (waitid(P_PID, (id_t)run->fixture.daemon, &info, WEXITED | WNOHANG | WNOWAIT) ==
			    0 &&
		    info.si_pid)
			return false;
		fixture_sleep_ms(5);
	}
	fail_msg("a dead member was not seen");
	return false;
}

/* weird dies between operations, and a later one adopts: its start is what is killed. */
static bool adopt(struct run *run)
{
	const char *fault = run->fixture.fault;

	assert_int_equal(fixture_stop(&run->fixture, SIGKILL), 256 + SIGKILL);
	run->fixture.fault = fault;
	fixture_spawn(&run->fixture, NULL);
	return fixture_notified(&run->fixture, "READY=1", FIXTURE_PATIENCE_MS);
}

/* Its last act is to save the levels. */
static bool stop(struct run *run)
{
	assert_int_equal(kill(run->fixture.daemon, SIGTERM), 0);

	siginfo_t info = {0};

	assert_int_equal(waitid(P_PID, (id_t)run->fixture.daemon, &info, WEXITED | WNOWAIT), 0);
	if (info.si_code == CLD_KILLED)
		return false;
	assert_int_equal(fixture_wait(&run->fixture), 0);
	run->fixture.fault = NULL;
	start(run);
	return true;
}

/* The clock is calibrated anew, by a publisher of the test's own in the daemon's place. */
static bool rebase(struct run *run)
{
	assert_int_equal(fixture_stop(&run->fixture, SIGKILL), 256 + SIGKILL);
	run->fixture.daemon = fork();
	assert_true(run->fixture.daemon >= 0);
	if (run->fixture.daemon == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (run->fixture.fault)
			setenv("WEIR_FAULT", run->fixture.fault, 1);
		execl(PUBLISHER_PROGRAM, PUBLISHER_PROGRAM, run->fixture.dir, (char *)NULL);
		_exit(127);
	}

	siginfo_t info = {0};

	assert_int_equal(waitid(P_PID, (id_t)run->fixture.daemon, &info, WEXITED | WNOWAIT), 0);
	if (info.si_code == CLD_KILLED)
		return false;
	assert_int_equal(fixture_wait(&run->fixture), 0);
	start(run);
	return true;
}

#define KEEPS .rate_before = 5, .rate_after = 5

static const struct operation operations[] = {
	{.name = "first start", .perform = nothing, .at_start = true, KEEPS},
	{.name = "adopt", .perform = adopt, KEEPS},
	{.name = "set, a rate", .perform = set_rate, .rate_before = 5, .rate_after = 7},
	{.name = "set, a shadow limit", .perform = set_shadow, KEEPS},
	{.name = "set, another unit", .perform = set_unit, .rate_before = 5, .rate_after = 1e9},
	{.name = "set, another unit of [default]",
	 .perform = set_unit_of_default,
	 .name_changed = 1,
	 .rate_before = 10,
	 .rate_after = 1e9},
	{.name = "set, another unit, keep level",
	 .perform = set_unit_keeping,
	 .rate_before = 5,
	 .rate_after = 1e9},
	{.name = "set, windows from first use",
	 .perform = set_windows_first,
	 .rate_before = 5,
	 .rate_after = BURST / 3600.0},
	{.name = "set, windows by the calendar",
	 .perform = set_windows_aligned,
	 .rate_before = 5,
	 .rate_after = BURST / 3600.0},
	{.name = "set, windows of [default]",
	 .perform = set_windows_of_default,
	 .name_changed = 1,
	 .rate_before = 10,
	 .rate_after = BURST / 3600.0},
	{.name = "set, a row of its own",
	 .perform = set_own_row,
	 .name_changed = 2,
	 .rate_before = 10,
	 .rate_after = 3},
	{.name = "set, permits", .perform = set_permits, KEEPS},
	{.name = "reset", .perform = reset, .refills = 1, KEEPS},
	{.name = "close and open", .perform = close_and_open, KEEPS},
	{.name = "learn", .perform = learn, KEEPS},
	{.name = "freeze what was learned", .perform = freeze, KEEPS},
	{.name = "reload, a difference",
	 .perform = reload_difference,
	 .rate_before = 5,
	 .rate_after = 6},
	{.name = "reload, larger tables", .perform = reload_larger, KEEPS},
	{.name = "reload, more keys", .config = FEW_KEYS, .perform = reload_more_keys, KEEPS},
	{.name = "reap", .perform = reap, KEEPS},
	{.name = "stop, and save", .perform = stop, .saves = true, KEEPS},
	{.name = "calibrate anew", .perform = rebase, KEEPS},
};

/* ---- runs ---- */

/* Everything that is left of a name, by this process; what was granted of it in all. */
static unsigned total_of(struct run *run, unsigned name)
{
	unsigned before;

	do {
		before = atomic_load(&run->shared->granted[name]);
		draw(run->shared, run->endpoints[name], name);
	} while (atomic_load(&run->shared->granted[name]) != before);
	return before;
}

static void count_tokens(struct run *run, const struct operation *operation, const char *fault)
{
	/* an operation that was repeated may have refilled twice */
	unsigned most = BURST * (1 + operation->refills * 2);
	/* a machine that slept for a second minted meanwhile, at each calibration */
	unsigned slept = operation->perform == rebase ? 2 * 10 : 0;

	for (unsigned i = 0; i < NAMES; i++) {
		unsigned total = run->endpoints[i] ? total_of(run, i) : BURST;

		if (total < BURST || total > (i == 0 ? most : BURST) + slept)
			fail_msg("%s, killed at %s: %u of %s were granted, of a burst of %u",
				 operation->name, fault ? fault : "no point", total, names[i],
				 BURST);
	}
}

/* The whole run; whether weird died in it. `passages` may be NULL. */
static bool run_operation(const struct operation *operation, const char *fault,
			  struct passages *started, struct passages *passages)
{
	struct run run;
	bool died;

	run_begin(&run, operation, fault);
	if (operation->perform == adopt || operation->perform == rebase)
		run.fixture.fault = NULL;
	start(&run);
	if (started)
		read_passages(&run, started);
	attach(&run);
	if (operation->perform == adopt || operation->perform == rebase)
		run.fixture.fault = fault;
	while (!operation->perform(&run)) {
		look_at_the_dead(&run);
		start(&run);
		audit(&run, "after the restart");
	}
	if (passages)
		read_passages(&run, passages);
	stop_workers(&run);
	audit(&run, "in the end");
	assert_true(is_rate(&run, operation->rate_after));
	count_tokens(&run, operation, fault);
	died = run.died;
	run_end(&run);
	return died;
}

/* Where in the log the operation's passages begin. A process of its own counts from 1. */
static size_t first_passage(const struct operation *operation, const struct passages *started,
			    struct passages *passages)
{
	if (operation->at_start)
		return 0;
	if (operation->perform != adopt && operation->perform != rebase)
		return started->count;
	passages->count -= started->count;
	memmove(passages->points, passages->points + started->count,
		passages->count * sizeof(passages->points[0]));
	return 0;
}

static void kill_everywhere(const struct operation *operation)
{
	static struct passages started;
	static struct passages passages;
	unsigned died = 0;
	char fault[64];

	assert_false(run_operation(operation, NULL, &started, &passages));

	size_t first = first_passage(operation, &started, &passages);

	for (size_t i = first; i < passages.count; i++) {
		fault_of(&passages, i, fault);
		if (!run_operation(operation, fault, NULL, NULL))
			continue;
		died++;
		cover(fault);
	}
	print_message("%-32s killed at %3u of %3zu passages\n", operation->name, died,
		      passages.count - first);
	fflush(stdout);
	kills += died;
	assert_true(died > 0);
}

static void test_operations(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
		kill_everywhere(&operations[i]);
	print_message("killed at %lu passages of %zu points in all\n", kills, covered_count);
}

/* ---- no point was left out ---- */

static unsigned check_source(const char *path)
{
	FILE *file = fopen(path, "re");
	unsigned missed = 0;
	char line[512];

	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		const char *name = strstr(line, "FAULT_POINT(");

		if (!name || strstr(line, "#define"))
			continue;
		name += strlen("FAULT_POINT(");
		if (is_covered(name, strcspn(name, ")")))
			continue;
		print_error("%s: %.*s: never killed at\n", path, (int)strcspn(name, ")"), name);
		missed++;
	}
	fclose(file);
	return missed;
}

static unsigned check_folder(const char *folder_path)
{
	DIR *folder = opendir(folder_path);
	struct dirent *entry;
	unsigned missed = 0;
	char path[1024];

	assert_non_null(folder);
	while ((entry = readdir(folder))) {
		size_t length = strlen(entry->d_name);

		if (length < 3 || strcmp(entry->d_name + length - 2, ".c") != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder_path, entry->d_name);
		missed += check_source(path);
	}
	closedir(folder);
	return missed;
}

static void test_every_point(void **state)
{
	(void)state;
	assert_true(covered_count > 0);
	assert_int_equal(
		check_folder(WEIR_SOURCE_DIR "/lib") + check_folder(WEIR_SOURCE_DIR "/daemon"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_operations),
		cmocka_unit_test(test_every_point),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
