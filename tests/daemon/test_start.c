/* SPDX-License-Identifier: Apache-2.0
 *
 * How weird starts and stops: first, second, after a kill, after a stop, on what it finds.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon_fixture.h"
#include "layout.h"

/* A clock that nobody moves: levels are exact. */
#define RULES "clock = manual\n[default]\nrate = 10/s\n[endpoint api]\nrate = 5/s\nburst = 20\n"

static void path_of(const struct fixture *fixture, const char *suffix, char out[128])
{
	snprintf(out, 128, "%s/weir.test.%s", fixture->dir, suffix);
}

static bool exists(const struct fixture *fixture, const char *suffix)
{
	char path[128];

	path_of(fixture, suffix, path);
	return access(path, F_OK) == 0;
}

/* Takes from two names, so that there are levels to be lost. */
static void take(const struct fixture *fixture)
{
	struct weir *weir = fixture_open(fixture);
	struct weir_endpoint *api = fixture_endpoint(weir, "api");
	struct weir_endpoint *other = fixture_endpoint(weir, "other");

	assert_int_equal(weir_acquire(api, 12, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire(other, 3, NULL), WEIR_ADMIT);
	weir_endpoint_close(api);
	weir_endpoint_close(other);
	weir_close(weir);
}

/* To within a millionth of a token: a name that comes back under [default] loses one unit. */
static void assert_level(double found, double expected)
{
	assert_true(found <= expected && found > expected - 1e-6);
}

static void assert_levels(const struct fixture *fixture, double api_level, double other_level)
{
	struct weir *weir = fixture_open(fixture);
	struct weir_endpoint *api = fixture_endpoint(weir, "api");
	struct weir_endpoint *other = fixture_endpoint(weir, "other");

	assert_level(fixture_level(api), api_level);
	assert_level(fixture_level(other), other_level);
	weir_endpoint_close(api);
	weir_endpoint_close(other);
	weir_close(weir);
}

static void test_first_start(void **state)
{
	struct fixture *fixture = *state;
	struct stat found;
	char path[128];

	fixture_config(fixture, RULES);
	fixture_start(fixture);
	assert_true(fixture_has_logged(fixture, "ready: instance test, 2 rules"));
	path_of(fixture, "rules", path);
	assert_int_equal(stat(path, &found), 0);
	assert_int_equal(found.st_mode & 0777, 0640);
	path_of(fixture, "state", path);
	assert_int_equal(stat(path, &found), 0);
	assert_int_equal(found.st_mode & 0777, 0660);
	assert_int_equal(stat(fixture->socket, &found), 0);
	assert_true(S_ISSOCK(found.st_mode));
	assert_int_equal(found.st_mode & 0777, 0660);
	assert_levels(fixture, 20, 10);
}

static void test_second_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct fixture second;
	char expected[128];

	fixture_config(fixture, RULES);
	fixture_start(fixture);
	take(fixture);
	second = *fixture;
	second.daemon = 0;
	fixture_spawn(&second, NULL);
	assert_int_equal(fixture_wait(&second), 1);
	snprintf(expected, sizeof(expected), "another weird serves test in %s: pid %ld",
		 fixture->dir, (long)fixture->daemon);
	assert_true(fixture_has_logged(fixture, expected));
	/* and the first has noticed nothing */
	assert_levels(fixture, 8, 7);
	assert_int_equal(fixture_ask(fixture, &(struct wire_message){.kind = WIRE_PING},
				     &(struct answer){0}),
			 0);
}

static void test_adopts_after_kill(void **state)
{
	struct fixture *fixture = *state;
	struct weir *weir;
	struct weir_endpoint *api;

	fixture_config(fixture, RULES);
	fixture_start(fixture);
	take(fixture);
	weir = fixture_open(fixture);
	api = fixture_endpoint(weir, "api");
	assert_int_equal(fixture_stop(fixture, SIGKILL), 256 + SIGKILL);
	/* the limit holds without a daemon */
	assert_int_equal(weir_acquire(api, 2, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire(api, 7, NULL), WEIR_REFUSE);
	fixture_start(fixture);
	assert_true(fixture_has_logged(fixture, "adopted the segment of test: 2 rules, 1 members"));
	assert_levels(fixture, 6, 7);
	/* a worker that was attached is on the same bucket still */
	assert_int_equal(weir_acquire(api, 6, NULL), WEIR_ADMIT);
	assert_levels(fixture, 0, 7);
	weir_endpoint_close(api);
	weir_close(weir);
}

static void test_clean_stop_keeps(void **state)
{
	struct fixture *fixture = *state;

	fixture_config(fixture, RULES);
	fixture_start(fixture);
	take(fixture);
	assert_int_equal(fixture_stop(fixture, SIGTERM), 0);
	assert_true(fixture_has_logged(fixture, "stays in"));
	assert_true(exists(fixture, "rules"));
	assert_true(exists(fixture, "state"));
	assert_false(exists(fixture, "sock"));
	assert_levels(fixture, 8, 7);
	fixture_start(fixture);
	assert_levels(fixture, 8, 7);
	assert_int_equal(fixture_stop(fixture, SIGINT), 0);
}

static void test_remove(void **state)
{
	struct fixture *fixture = *state;

	fixture_config(fixture, RULES);
	fixture_spawn(fixture, (const char *const[]){"--remove", NULL});
	assert_true(fixture_notified(fixture, "READY=1", FIXTURE_PATIENCE_MS));
	take(fixture);
	assert_true(exists(fixture, "rules"));
	assert_int_equal(fixture_stop(fixture, SIGTERM), 0);
	assert_false(exists(fixture, "rules"));
	assert_false(exists(fixture, "state"));
	assert_false(exists(fixture, "sock"));
	fixture_start(fixture);
	assert_levels(fixture, 20, 10);
}

/* The file changed while no daemon ran. */
static void test_start_applies_difference(void **state)
{
	struct fixture *fixture = *state;

	fixture_config(fixture, RULES);
	fixture_start(fixture);
	take(fixture);
	assert_int_equal(fixture_stop(fixture, SIGKILL), 256 + SIGKILL);
	fixture_config(fixture, "clock = manual\n[default]\nrate = 10/s\n"
				"[endpoint api]\nrate = 5/s\nburst = 30\n");
	fixture_start(fixture);
	assert_true(
		fixture_has_logged(fixture, "endpoint api: burst 20 -> 30 (file, at the start)"));
	/* what was used stays used */
	assert_levels(fixture, 18, 7);
}

/* A restarted daemon keeps what an operator set; a reload makes the file the truth again. */
static void test_operators_rules(void **state)
{
	struct fixture *fixture = *state;
	struct answer answer;

	fixture_config(fixture, RULES);
	fixture_start(fixture);
	take(fixture);
	assert_int_equal(fixture_set(fixture, "api", "burst", "25", &answer), 0);
	assert_int_equal(fixture_set(fixture, "other", "burst", "50", &answer), 0);
	assert_levels(fixture, 13, 47);
	assert_int_equal(fixture_stop(fixture, SIGKILL), 256 + SIGKILL);
	fixture_start(fixture);
	assert_true(fixture_has_logged(
		fixture, "endpoint api: kept as an operator set it; the file has burst 25 -> 20"));
	assert_true(fixture_has_logged(
		fixture, "endpoint other: kept as an operator set it; not in the file"));
	assert_levels(fixture, 13, 47);
	fixture_reload(fixture);
	assert_levels(fixture, 8, 7);
}

static void start_on_spoiled(struct fixture *fixture, const char *suffix, off_t at, uint64_t word,
			     const char *expected)
{
	char path[128];
	int fd;

	assert_int_equal(fixture_stop(fixture, SIGTERM), 0);
	path_of(fixture, suffix, path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, &word, sizeof(word), at), sizeof(word));
	close(fd);
	fixture_clear_log(fixture);
	fixture_start(fixture);
	assert_true(fixture_has_logged(fixture, expected));
	assert_true(fixture_has_logged(fixture, "made anew, all full"));
	assert_levels(fixture, 20, 10);
	take(fixture);
}

/* What cannot be used is named and replaced; never a crash, never half a segment. */
static void test_replaces_what_is_no_use(void **state)
{
	struct fixture *fixture = *state;
	const off_t magic = offsetof(struct rules_header, magic);
	const off_t version = offsetof(struct rules_header, version);
	const off_t bytes = offsetof(struct rules_header, bytes);
	const off_t pair = offsetof(struct rules_header, pair);
	const off_t boot = offsetof(struct rules_header, boot);

	fixture_config(fixture, RULES);
	fixture_start(fixture);
	take(fixture);
	start_on_spoiled(fixture, "rules", magic, 1, weir_strerror(WEIR_EFOREIGN));
	start_on_spoiled(fixture, "rules", version, 1ull << 32, weir_strerror(WEIR_EOLDER));
	start_on_spoiled(fixture, "rules", version, LAYOUT_VERSION, weir_strerror(WEIR_EUNREADY));
	start_on_spoiled(fixture, "rules", bytes, 1ull << 40, weir_strerror(WEIR_ETRUNCATED));
	start_on_spoiled(fixture, "rules", boot, 1, weir_strerror(WEIR_EBOOT));
	start_on_spoiled(fixture, "rules", pair, 1, "cannot be used");
	start_on_spoiled(fixture, "state", 0, 1, weir_strerror(WEIR_EFOREIGN));
}

static void test_empty_and_missing_objects(void **state)
{
	struct fixture *fixture = *state;
	char path[128];

	fixture_config(fixture, RULES);
	path_of(fixture, "rules", path);
	assert_true(close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0640)) == 0);
	path_of(fixture, "state", path);
	assert_true(close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0660)) == 0);
	fixture_start(fixture);
	assert_levels(fixture, 20, 10);
	assert_int_equal(fixture_stop(fixture, SIGTERM), 0);
	assert_int_equal(unlink(path), 0);
	fixture_start(fixture);
	assert_levels(fixture, 20, 10);
}

static void test_squatted_object(void **state)
{
	struct fixture *fixture = *state;
	char path[128];

	if (geteuid() != 0) {
		print_message("skipped: another user's file needs root\n");
		skip();
	}
	fixture_config(fixture, RULES);
	path_of(fixture, "rules", path);
	assert_true(close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644)) == 0);
	assert_int_equal(chown(path, 65534, 65534), 0);
	fixture_spawn(fixture, NULL);
	assert_int_equal(fixture_wait(fixture), 1);
	assert_true(fixture_has_logged(fixture, "weird error: "));
	assert_true(exists(fixture, "rules"));
	assert_false(exists(fixture, "sock"));
}

/* Another clock: the marks say nothing on it. Members are sent to the new pair. */
static void test_another_clock(void **state)
{
	struct fixture *fixture = *state;
	struct weir *weir;
	struct weir_endpoint *api;

	fixture_config(fixture, RULES);
	fixture_start(fixture);
	take(fixture);
	weir = fixture_open(fixture);
	api = fixture_endpoint(weir, "api");
	assert_true(fixture_level(api) == 8);
	assert_int_equal(fixture_stop(fixture, SIGTERM), 0);
	fixture_config(fixture, "clock = monotonic\n[default]\nrate = 10/s\n"
				"[endpoint api]\nrate = 5/d\nburst = 20\n");
	fixture_start(fixture);
	assert_true(fixture_has_logged(fixture, "clock is manual and should be monotonic"));
	assert_int_equal(weir_acquire(api, 20, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire(api, 1, NULL), WEIR_REFUSE);
	weir_endpoint_close(api);
	weir_close(weir);
}

/* Other capacities at a start: a new pair, to which the levels move. */
static void test_other_capacities(void **state)
{
	struct fixture *fixture = *state;

	fixture_config(fixture, RULES);
	fixture_start(fixture);
	take(fixture);
	assert_int_equal(fixture_stop(fixture, SIGTERM), 0);
	fixture_config(fixture, "endpoints = 16\nnames = 32\nmembers = 8\n" RULES);
	fixture_start(fixture);
	assert_true(fixture_has_logged(fixture,
				       "a new pair of objects: endpoints 16, names 32, members 8"));
	assert_levels(fixture, 8, 7);
	assert_false(exists(fixture, "rules.old"));
	assert_false(exists(fixture, "rules.new"));
}

/* Twenty names ask for 9 of 10 tokens each. */
static void ask_by_names(const struct fixture *fixture, enum weir_verdict expected)
{
	struct weir *weir = fixture_open(fixture);

	for (int i = 0; i < 20; i++) {
		char name[16];
		struct weir_endpoint *endpoint;

		snprintf(name, sizeof(name), "name%d", i);
		endpoint = fixture_endpoint(weir, name);
		assert_int_equal(weir_acquire(endpoint, 9, NULL), expected);
		weir_endpoint_close(endpoint);
	}
	weir_close(weir);
}

/* Fewer names than are in use would forget what some of them have used. */
static void test_fewer_names_than_are_used(void **state)
{
	struct fixture *fixture = *state;

	fixture_config(fixture, RULES);
	fixture_start(fixture);
	ask_by_names(fixture, WEIR_ADMIT);
	assert_int_equal(fixture_stop(fixture, SIGTERM), 0);
	fixture_config(fixture, "endpoints = 16\nnames = 5\n" RULES);
	fixture_start(fixture);
	assert_true(fixture_has_logged(fixture, "names = 5: 20 are in use"));
	assert_true(fixture_has_logged(fixture, "a new pair of objects: endpoints 16, names 1024"));
	ask_by_names(fixture, WEIR_REFUSE);
	assert_int_equal(fixture_stop(fixture, SIGTERM), 0);
	/* room for just as many is enough */
	fixture_config(fixture, "endpoints = 16\nnames = 20\n" RULES);
	fixture_start(fixture);
	assert_true(fixture_has_logged(fixture, "a new pair of objects: endpoints 16, names 20,"));
	ask_by_names(fixture, WEIR_REFUSE);
}

/* Becomes a user without privileges, in whose folder everything is. */
static void become_user(const struct fixture *fixture)
{
	if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setgid(65534) < 0 || setuid(65534) < 0))
		_exit(126);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setenv("XDG_RUNTIME_DIR", fixture->dir, 1);
	setenv("HOME", fixture->dir, 1);
	setenv("NOTIFY_SOCKET", fixture->notify, 1);
	unsetenv("XDG_CONFIG_HOME");
	unsetenv("WEIR_SHM_DIR");
	unsetenv("WEIR_SOCKET");
	setenv("WEIR_NAME", "mine", 1);
}

static void exec_as_user(const struct fixture *fixture)
{
	int log = open(fixture->log, O_WRONLY | O_APPEND | O_CLOEXEC);
	/* by descriptor: the user may have no way to the folder it was built in */
	int program = open(fixture->program, O_PATH | O_CLOEXEC);
	char *arguments[] = {(char *)(uintptr_t) "weird", NULL};

	if (log < 0 || program < 0 || dup2(log, STDERR_FILENO) < 0)
		_exit(127);
	become_user(fixture);
	fexecve(program, arguments, environ);
	_exit(127);
}

/* What a program of the same user finds, without being told anything. */
static int use_as_user(const struct fixture *fixture)
{
	struct weir_endpoint *endpoint;
	struct weir *weir;
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		become_user(fixture);
		if (weir_open(&weir, NULL) < 0 || weir_endpoint(weir, "any", &endpoint) < 0)
			_exit(2);
		_exit(weir_acquire(endpoint, 10, NULL) == WEIR_ADMIT ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* No root, no file, no option: everything is in the user's own folder. */
static void test_without_privileges(void **state)
{
	struct fixture *fixture = *state;
	struct weir_options options = WEIR_OPTIONS_INIT;
	struct weir *weir;
	char dir[96];

	assert_int_equal(chmod(fixture->notify, 0777), 0);
	if (geteuid() == 0)
		assert_int_equal(chown(fixture->dir, 65534, 65534), 0);
	fixture->daemon = fork();
	assert_true(fixture->daemon >= 0);
	if (fixture->daemon == 0)
		exec_as_user(fixture);
	assert_true(fixture_notified(fixture, "READY=1", FIXTURE_PATIENCE_MS));
	assert_true(fixture_has_logged(fixture, "weir.ini is not there: [default] is 10/s"));
	snprintf(dir, sizeof(dir), "%s/weir/weir.mine.sock", fixture->dir);
	assert_int_equal(access(dir, F_OK), 0);
	assert_int_equal(use_as_user(fixture), 0);
	if (geteuid() != 0)
		return;
	/* root does not take a user's word for a limit */
	snprintf(dir, sizeof(dir), "%s/weir", fixture->dir);
	options.name = "mine";
	options.shm_dir = dir;
	assert_int_equal(weir_open(&weir, &options), WEIR_EOWNER);
	options.owner_uid = 65534;
	assert_int_equal(weir_open(&weir, &options), 0);
	weir_close(weir);
}

static int run(struct fixture *fixture, const char *const *arguments)
{
	fixture_clear_log(fixture);
	fixture_spawn(fixture, arguments);
	return fixture_wait(fixture);
}

#define RUN(...) run(fixture, (const char *const[]){__VA_ARGS__, NULL})

static void test_check_and_exit_codes(void **state)
{
	struct fixture *fixture = *state;

	fixture_config(fixture, RULES);
	assert_int_equal(RUN("--check"), 0);
	assert_true(fixture_has_logged(fixture, "endpoint api: rate 5/s, burst 20"));
	assert_true(fixture_has_logged(fixture, "instance test in "));
	assert_true(fixture_has_logged(fixture, ", permits 1024, waiters 1024"));
	assert_false(exists(fixture, "rules"));
	assert_false(exists(fixture, "lock"));
	fixture_config(fixture, "[each c/*]\nrate = 1/s\nkeys = 1K\nfold = ipv6/64\n");
	assert_int_equal(RUN("--check"), 0);
	assert_true(fixture_has_logged(fixture, "burst 1, keys 1000, fold ipv6/64"));
	fixture_config(fixture, "[default]\nrate = fast\n[endpoint api]\ncolour = red\n");
	assert_int_equal(RUN("--check"), 3);
	assert_true(fixture_has_logged(fixture, "weir.ini:5: "));
	assert_true(fixture_has_logged(fixture, "weir.ini:7: "));
	assert_int_equal(run(fixture, NULL), 3);
	assert_true(fixture_has_logged(fixture, "weir.ini:5: "));
	assert_false(exists(fixture, "rules"));
	assert_int_equal(RUN("-c", "/nowhere/weir.ini"), 3);
	assert_true(fixture_has_logged(fixture, "/nowhere/weir.ini: "));
	assert_int_equal(RUN("--colour"), 2);
	assert_int_equal(RUN("surplus"), 2);
	assert_int_equal(RUN("--help"), 0);
	assert_true(fixture_has_logged(fixture, "--remove"));
	assert_int_equal(RUN("--version"), 0);
	assert_true(fixture_has_logged(fixture, "weird " WEIR_VERSION));
	fixture_config(fixture, RULES);
	assert_int_equal(RUN("-N", "a/b", "--check"), 3);
}

static void test_name_option_beats_file(void **state)
{
	struct fixture *fixture = *state;

	fixture_config(fixture, RULES);
	assert_int_equal(RUN("-N", "elsewhere", "--check"), 0);
	assert_true(fixture_has_logged(fixture, "instance elsewhere in "));
}

static void test_socket_path(void **state)
{
	struct fixture *fixture = *state;
	char rest[400], path[128];

	/* what is no socket stays where it is */
	path_of(fixture, "sock", path);
	assert_true(close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644)) == 0);
	fixture_config(fixture, RULES);
	fixture_spawn(fixture, NULL);
	assert_int_equal(fixture_wait(fixture), 1);
	assert_true(fixture_has_logged(fixture, "cannot listen at "));
	assert_true(exists(fixture, "sock"));
	/* a path that no socket can have */
	snprintf(rest, sizeof(rest), "socket = %s/%090d\n" RULES, fixture->dir, 0);
	fixture_config(fixture, rest);
	fixture_spawn(fixture, NULL);
	assert_int_not_equal(fixture_wait(fixture), 0);
}

/* ---- a segment that is larger than where it belongs ---- */

#define ROOM "[default]\nrate = 10/s\n[endpoint api]\nrate = 5/s\nburst = 20\n"
#define KEYS_IN_ROOM "clock = manual\n" ROOM "[each c/*]\nrate = 0\nburst = 9\nkeys = 20K\n"
/* 22 MB, where 12 MiB are */
#define KEYS_ABOVE "clock = manual\n" ROOM "[each c/*]\nrate = 0\nburst = 9\nkeys = 1M\n"
/* 5 MB: they fit, beside the pair that is there as well */
#define KEYS_BESIDE "clock = manual\n" ROOM "[each c/*]\nrate = 0\nburst = 9\nkeys = 200K\n"

/* In a process of its own, whose mount namespace nobody else sees. Skipped where it may not. */
static void on_a_small_file_system(void (*body)(struct fixture *fixture))
{
	int status;
	pid_t child;

	fflush(NULL);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct fixture fixture;
		int error;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		error = fixture_begin_small(&fixture, "12m");
		if (error == 0)
			body(&fixture);
		fixture_end(&fixture);
		fflush(NULL);
		_exit(error == -EPERM ? 77 : error ? 1 : 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		print_message("skipped: mounting a file system takes root\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* cmocka's assertions would go on with the other tests in the child. */
#define NEED(what)                                                                                 \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what);                 \
			_exit(2);                                                                  \
		}                                                                                  \
	} while (0)

static int check(struct fixture *fixture, const char *config)
{
	static const char *const arguments[] = {"--check", NULL};

	fixture_config(fixture, config);
	fixture_clear_log(fixture);
	fixture_spawn(fixture, arguments);
	return fixture_wait(fixture);
}

static void start_without_room(struct fixture *fixture)
{
	NEED(check(fixture, KEYS_IN_ROOM) == 0);
	NEED(fixture_has_logged(fixture, " has 12.0 MiB, of them "));
	NEED(check(fixture, KEYS_ABOVE) == 3);
	NEED(fixture_has_logged(fixture, "the segment is larger than "));
	NEED(!fixture_has_logged(fixture, "no faults"));
	NEED(fixture_has_logged(fixture, " for keys; "));
	fixture_clear_log(fixture);
	fixture_spawn(fixture, NULL);
	NEED(fixture_wait(fixture) == 1);
	NEED(fixture_has_logged(fixture, "cannot make the segment in "));
	NEED(fixture_has_logged(fixture, weir_strerror(WEIR_ESPACE)));
	NEED(fixture_has_logged(fixture, " for keys; "));
	/* nothing of the attempt is left in the way */
	NEED(!exists(fixture, "rules") && !exists(fixture, "rules.new"));
	NEED(!exists(fixture, "state") && !exists(fixture, "state.new"));
	fixture_config(fixture, KEYS_BESIDE);
	fixture_start(fixture);
	NEED(fixture_stop(fixture, SIGTERM) == 0);
}

static void test_no_room_at_the_start(void **state)
{
	(void)state;
	on_a_small_file_system(start_without_room);
}

static double level_of_key(const struct fixture *fixture, const char *name)
{
	struct weir *weir = fixture_open(fixture);
	struct weir_endpoint *endpoint = fixture_endpoint(weir, name);
	double level = fixture_level(endpoint);

	weir_endpoint_close(endpoint);
	weir_close(weir);
	return level;
}

/* What ran before goes on: rules, levels, and the reload that fits. */
static void reload_without_room(struct fixture *fixture)
{
	static const char *const configs[] = {KEYS_ABOVE,
					      KEYS_ABOVE "[endpoint more]\nrate = 1/s\n"};
	struct weir_endpoint *key;
	struct weir *weir;

	fixture_config(fixture, KEYS_IN_ROOM);
	fixture_start(fixture);
	weir = fixture_open(fixture);
	key = fixture_endpoint(weir, "c/a");
	NEED(weir_acquire(key, 5, NULL) == WEIR_ADMIT);
	for (size_t i = 0; i < sizeof(configs) / sizeof(configs[0]); i++) {
		fixture_config(fixture, configs[i]);
		fixture_clear_log(fixture);
		fixture_reload(fixture);
		NEED(fixture_has_logged(fixture, "a larger pair of objects could not be made: "));
		NEED(fixture_has_logged(fixture, "beside the present one it needs "));
		NEED(!exists(fixture, "rules.new") && !exists(fixture, "state.new"));
		NEED(level_of_key(fixture, "c/a") == 4);
		NEED(level_of_key(fixture, "c/b") == 9);
		/* not half of the file, either */
		NEED(level_of_key(fixture, "more") == 10);
	}
	NEED(weir_acquire(key, 4, NULL) == WEIR_ADMIT);
	NEED(weir_acquire(key, 1, NULL) == WEIR_REFUSE);
	/* after a restart there is no more room either, and the pair that is there is adopted */
	NEED(fixture_stop(fixture, SIGTERM) == 0);
	fixture_clear_log(fixture);
	fixture_start(fixture);
	NEED(fixture_has_logged(fixture, "the capacities stay: "));
	NEED(weir_acquire(key, 1, NULL) == WEIR_REFUSE);
	fixture_config(fixture, KEYS_BESIDE);
	fixture_reload(fixture);
	NEED(fixture_has_logged(fixture, "slots for keys: a larger pair of objects"));
	NEED(weir_acquire(key, 1, NULL) == WEIR_REFUSE);
	weir_endpoint_close(key);
	weir_close(weir);
	NEED(fixture_stop(fixture, SIGTERM) == 0);
}

static void test_no_room_at_a_reload(void **state)
{
	(void)state;
	on_a_small_file_system(reload_without_room);
}

#define DAEMON_TEST(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DAEMON_TEST(test_first_start),
		DAEMON_TEST(test_second_is_refused),
		DAEMON_TEST(test_adopts_after_kill),
		DAEMON_TEST(test_clean_stop_keeps),
		DAEMON_TEST(test_remove),
		DAEMON_TEST(test_start_applies_difference),
		DAEMON_TEST(test_operators_rules),
		DAEMON_TEST(test_replaces_what_is_no_use),
		DAEMON_TEST(test_empty_and_missing_objects),
		DAEMON_TEST(test_squatted_object),
		DAEMON_TEST(test_another_clock),
		DAEMON_TEST(test_other_capacities),
		DAEMON_TEST(test_fewer_names_than_are_used),
		DAEMON_TEST(test_without_privileges),
		DAEMON_TEST(test_check_and_exit_codes),
		DAEMON_TEST(test_name_option_beats_file),
		DAEMON_TEST(test_socket_path),
		cmocka_unit_test(test_no_room_at_the_start),
		cmocka_unit_test(test_no_room_at_a_reload),
	};

	return cmocka_run_group_tests_name("daemon start", tests, NULL, NULL);
}
