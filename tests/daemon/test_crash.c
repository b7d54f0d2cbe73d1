/* SPDX-License-Identifier: Apache-2.0
 *
 * weird killed at every named point, at every passage of it, and once more while it recovers.
 *
 * One script goes through all that a daemon changes, on a manual clock, so that every level is
 * known exactly. Wherever the daemon dies, a worker goes on without it within the limits, the
 * daemon is started again, the step is repeated, and in the end every level is what it would have
 * been. rebase_row is left to the tests of the rules alone: here no clock drifts.
 */
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon_fixture.h"

#define CLOCK "clock = manual\nnames = 64\nmembers = 8\n"
#define FIRST                                                                                      \
	CLOCK "endpoints = 16\n[default]\nrate = 10/s\n[endpoint api]\nrate = 5/s\nburst = 20\n"   \
	      "[endpoint gone]\nrate = 1/s\n"
#define SECOND                                                                                     \
	CLOCK "endpoints = 16\n[default]\nrate = 10/s\nburst = 15\n"                               \
	      "[endpoint new]\nrate = 1/s\n[endpoint api]\nrate = 6/s\nburst = 30\n"
#define THIRD                                                                                      \
	CLOCK "endpoints = 32\n[default]\nrate = 10/s\nburst = 15\n[endpoint new]\nrate = 1/s\n"   \
	      "[endpoint api]\nrate = 6/s\nburst = 30\n[endpoint other]\nrate = 3/s\nburst = 20\n"

static const char *const points[] = {
	"append_filled",    "append_live",   "create_filled",  "daemon_add",	 "daemon_adopt",
	"daemon_carry",	    "daemon_change", "daemon_finish",  "daemon_forget",	 "daemon_prepare",
	"daemon_reload",    "daemon_remove", "daemon_retire",  "daemon_reveal",	 "daemon_revealed",
	"daemon_set",	    "finish_row",    "install_frozen", "publish_filled", "publish_filling",
	"finish_installed", "remove_before", "publish_stored", "retire_stored",	 "reveal_linked",
	"reveal_linking",   "reveal_rules",  "reveal_state",   "table_after",	 "table_before",
	"reset_done",	    "finish_name",   "save_created",   "save_half",	 "save_written",
	"save_synced",	    "save_renamed",
};

/* test_follow.c kills at these. */
static const char *const points_elsewhere[] = {
	"observation_read", "follow_observed", "follow_decided", "follow_learned", "daemon_adapt",
};

/* Where a daemon that finishes another's move may die in its turn. */
static const char *const recovery_points[] = {
	"daemon_adopt",	    "daemon_retire", "retire_stored", "finish_row:2",
	"finish_installed", "daemon_carry",  "table_before",
};

static const char *const moving_points[] = {
	"reveal_linking",   "reveal_linked", "reveal_state",  "reveal_rules",
	"daemon_retire",    "retire_stored", "daemon_finish", "finish_row:2",
	"finish_installed", "daemon_carry",  "daemon_forget",
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct script {
	struct fixture fixture;
	const char *second_fault; /* of the first restart, or NULL */
	const char *late_fault;	  /* of the start after the clean stop, or NULL */
	unsigned deaths;
	struct weir *weir;
	struct weir_endpoint *api, *other, *third;
};

/* ---- the daemon, alive again ---- */

static void assert_killed(struct script *script)
{
	assert_int_equal(fixture_wait(&script->fixture), 256 + SIGKILL);
	script->deaths++;
	script->fixture.fault = script->second_fault;
	script->second_fault = NULL;
}

/* The worker goes on, and no further than both the old and the new rules allow. */
static void assert_limits_hold(const struct script *script)
{
	if (!script->weir)
		return;
	assert_int_equal(weir_acquire(script->api, 19, NULL), WEIR_REFUSE);
	assert_int_equal(weir_acquire(script->other, 18, NULL), WEIR_REFUSE);
	assert_int_equal(weir_acquire(script->third, 14, NULL), WEIR_REFUSE);
}

static void start(struct script *script)
{
	for (int tries = 0; tries < 3; tries++) {
		fixture_spawn(&script->fixture, NULL);
		if (fixture_notified(&script->fixture, "READY=1", FIXTURE_PATIENCE_MS)) {
			script->fixture.fault = NULL;
			return;
		}
		assert_killed(script);
		assert_limits_hold(script);
	}
	fail_msg("weird does not come up again");
}

static void revive(struct script *script)
{
	assert_killed(script);
	assert_limits_hold(script);
	start(script);
}

/* ---- steps, each repeated where the daemon died of it ---- */

static void reload(struct script *script, const char *rest)
{
	fixture_config(&script->fixture, rest);
	for (;;) {
		assert_int_equal(kill(script->fixture.daemon, SIGHUP), 0);
		if (fixture_notified(&script->fixture, "RELOADING=1", FIXTURE_PATIENCE_MS) &&
		    fixture_notified(&script->fixture, "READY=1", FIXTURE_PATIENCE_MS))
			return;
		revive(script);
	}
}

static bool asked(const struct script *script, const struct wire_message *request)
{
	unsigned char bytes[WIRE_MAX_BYTES];
	int64_t length = wire_write(request, bytes, sizeof(bytes));
	struct answer answer;
	bool answered;
	int fd = fixture_connect(&script->fixture);

	if (fd < 0)
		return false;
	answered = send(fd, bytes, (size_t)length, MSG_NOSIGNAL) == length &&
		   fixture_read_answer(fd, &answer);
	close(fd);
	if (answered)
		assert_int_equal(answer.message.code, 0);
	return answered;
}

static void ask(struct script *script, const struct wire_message *request)
{
	while (!asked(script, request))
		revive(script);
}

static void set(struct script *script, const char *name, const char *key, const char *value)
{
	const struct wire_message request = {
		.kind = WIRE_SET, .name = name, .setting_count = 1, .settings = {{key, value}}};

	ask(script, &request);
}

static void stop(struct script *script)
{
	assert_int_equal(kill(script->fixture.daemon, SIGTERM), 0);
	int status = fixture_wait(&script->fixture);

	if (status == 256 + SIGKILL)
		script->deaths++;
	else
		assert_int_equal(status, 0);
}

static void assert_levels(const struct script *script, double api, double other, double third)
{
	assert_true(fixture_level(script->api) == api);
	assert_true(fixture_level(script->other) == other);
	assert_true(fixture_level(script->third) == third);
}

static void attach(struct script *script)
{
	script->weir = fixture_open(&script->fixture);
	script->api = fixture_endpoint(script->weir, "api");
	script->other = fixture_endpoint(script->weir, "other");
	script->third = fixture_endpoint(script->weir, "third");
	assert_int_equal(weir_acquire(script->api, 12, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire(script->other, 3, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire(script->third, 2, NULL), WEIR_ADMIT);
}

static void run(struct script *script)
{
	fixture_config(&script->fixture, FIRST);
	start(script);
	attach(script);
	assert_levels(script, 8, 7, 8);
	reload(script, SECOND);
	assert_levels(script, 18, 12, 13);
	set(script, "other", "burst", "20");
	assert_levels(script, 18, 17, 13);
	/* another unit: the rule moves to another row, and [default] to another pair */
	set(script, "api", "rate", "1000000000/s");
	assert_levels(script, 18, 17, 13);
	set(script, "*", "rate", "1000000000/s");
	assert_levels(script, 18, 17, 13);
	ask(script, &(struct wire_message){.kind = WIRE_RESET, .name = "new"});
	stop(script);
	script->fixture.fault = script->late_fault;
	start(script);
	assert_levels(script, 18, 17, 13);
	reload(script, THIRD);
	assert_levels(script, 18, 17, 13);
	stop(script);
	assert_limits_hold(script);
	assert_int_equal(weir_acquire(script->api, 18, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire(script->other, 17, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire(script->third, 13, NULL), WEIR_ADMIT);
	assert_levels(script, 0, 0, 0);
}

/* The faults of one run; NULL: none. */
struct faults {
	const char *first;  /* of the first daemon */
	const char *second; /* of the one that is started after it died */
	const char *late;   /* of the one that is started after the clean stop */
};

/* The whole script; returns how often the daemon died. */
static unsigned run_with(const struct faults *faults)
{
	struct script script = {.second_fault = faults->second, .late_fault = faults->late};

	fixture_begin(&script.fixture);
	script.fixture.program = WEIRD_FAULTS_PROGRAM;
	script.fixture.saves = true;
	script.fixture.fault = faults->first;
	run(&script);
	weir_endpoint_close(script.api);
	weir_endpoint_close(script.other);
	weir_endpoint_close(script.third);
	weir_close(script.weir);
	fixture_end(&script.fixture);
	return script.deaths;
}

static void test_undisturbed(void **state)
{
	(void)state;
	assert_int_equal(run_with(&(struct faults){NULL, NULL, NULL}), 0);
}

/*
 * Each point at its first passage, its second, and so on until the script meets it no more; of the
 * daemon that made the pair, and then of the one that adopted it after the clean stop.
 */
static unsigned kill_at_every_passage(const char *point, bool late)
{
	unsigned passages = 0;
	char fault[64];

	for (;;) {
		const struct faults faults = {late ? NULL : fault, NULL, late ? fault : NULL};

		snprintf(fault, sizeof(fault), "%s:%u", point, passages + 1);
		if (run_with(&faults) == 0)
			return passages;
		passages++;
	}
}

static void test_killed_everywhere(void **state)
{
	unsigned places = 0, missed = 0;

	(void)state;
	for (size_t i = 0; i < COUNT(points); i++) {
		unsigned passages = kill_at_every_passage(points[i], false) +
				    kill_at_every_passage(points[i], true);

		places += passages;
		if (passages == 0) {
			print_error("%s is never met\n", points[i]);
			missed++;
		}
	}
	print_message("killed at %u places (%zu named points)\n", places, COUNT(points));
	assert_int_equal(missed, 0);
}

/* Killed while a pair is replaced, and the one that finishes the move killed as well. */
static void test_killed_twice(void **state)
{
	unsigned twice = 0;

	(void)state;
	for (size_t i = 0; i < COUNT(moving_points); i++)
		for (size_t j = 0; j < COUNT(recovery_points); j++) {
			unsigned deaths = run_with(
				&(struct faults){moving_points[i], recovery_points[j], NULL});

			assert_true(deaths >= 1);
			twice += deaths == 2;
		}
	print_message("killed twice at %u of %zu pairs of places\n", twice,
		      COUNT(moving_points) * COUNT(recovery_points));
	assert_true(twice >= COUNT(moving_points));
}

/* ---- the dead members ---- */

static void kill_while_reaping(const char *point)
{
	struct fixture fixture;
	pid_t member;

	fixture_begin(&fixture);
	fixture.program = WEIRD_FAULTS_PROGRAM;
	fixture.fault = point;
	fixture_config(&fixture, FIRST);
	fixture_start(&fixture);
	member = fork();
	assert_true(member >= 0);
	if (member == 0) {
		fixture_open(&fixture);
		_exit(0);
	}
	assert_int_equal(waitpid(member, NULL, 0), member);
	assert_int_equal(fixture_wait(&fixture), 256 + SIGKILL);
	fixture.fault = NULL;
	/* the slot was cleared or was not; whichever, it can be had */
	fixture_start(&fixture);
	for (int i = 0; i < 8; i++)
		fixture_open(&fixture);
	fixture_end(&fixture);
}

static void test_killed_while_reaping(void **state)
{
	(void)state;
	kill_while_reaping("reap_locked");
	kill_while_reaping("reap_cleared");
}

/* ---- the list is whole ---- */

static bool is_listed(const char *name, size_t length)
{
	for (size_t i = 0; i < COUNT(points); i++)
		if (strlen(points[i]) == length && !strncmp(points[i], name, length))
			return true;
	for (size_t i = 0; i < COUNT(points_elsewhere); i++)
		if (strlen(points_elsewhere[i]) == length &&
		    !strncmp(points_elsewhere[i], name, length))
			return true;
	return false;
}

static unsigned check_file(const char *path)
{
	FILE *file = fopen(path, "re");
	char line[512];
	unsigned found = 0;

	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		const char *name = strstr(line, "FAULT_POINT(");

		if (!name)
			continue;
		name += strlen("FAULT_POINT(");
		found++;
		if (!is_listed(name, strcspn(name, ")")))
			fail_msg("%s: %.*s is not in the list of this test", path,
				 (int)strcspn(name, ")"), name);
	}
	fclose(file);
	return found;
}

static void test_every_point_of_the_daemon_is_listed(void **state)
{
	DIR *folder = opendir(WEIR_SOURCE_DIR "/daemon");
	struct dirent *entry;
	char path[1024];
	unsigned found = 0;

	(void)state;
	assert_non_null(folder);
	while ((entry = readdir(folder))) {
		size_t length = strlen(entry->d_name);

		if (length < 3 || strcmp(entry->d_name + length - 2, ".c"))
			continue;
		snprintf(path, sizeof(path), "%s/daemon/%s", WEIR_SOURCE_DIR, entry->d_name);
		found += check_file(path);
	}
	closedir(folder);
	assert_true(found >= 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_point_of_the_daemon_is_listed),
		cmocka_unit_test(test_undisturbed),
		cmocka_unit_test(test_killed_everywhere),
		cmocka_unit_test(test_killed_twice),
		cmocka_unit_test(test_killed_while_reaping),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("daemon crash", tests, NULL, NULL);
}
