/* SPDX-License-Identifier: Apache-2.0
 *
 * Permits with a weird that lives: those of a holder that dies come back within a tenth of a
 * second, though nobody asks for one, however short he lived and wherever; never while he lives,
 * stopped or not; and never twice.
 */
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon_fixture.h"

#define RULES                                                                                      \
	"[endpoint api]\n"                                                                         \
	"rate = unlimited\n"                                                                       \
	"concurrency = 2\n"
#define DEATHS 20
#define PATIENCE_MS 20000
#define DENIED 77 /* a child's exit status */

static uint64_t now_ns(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (uint64_t)at.tv_sec * WEIR_SECOND + (uint64_t)at.tv_nsec;
}

/* Looks, and takes none: it is weird that finds who is dead. */
static uint64_t held(struct weir_endpoint *api)
{
	struct weir_permits permits = {.size = sizeof(permits)};

	assert_int_equal(weir_permit_look(api, &permits), 0);
	return permits.held;
}

static void until_held(struct weir_endpoint *api, uint64_t wanted)
{
	for (unsigned ms = 0; held(api) != wanted; ms++) {
		assert_true(ms < PATIENCE_MS);
		fixture_sleep_ms(1);
	}
}

/* In a child, where an assertion would go on with the tests of its parent: it ends if it cannot. */
static void take_one(const struct fixture *fixture)
{
	struct weir_options options = WEIR_OPTIONS_INIT;
	struct weir_endpoint *api;
	struct weir_permit permit;
	struct weir *weir;

	options.name = "test";
	options.shm_dir = fixture->dir;
	if (weir_open(&weir, &options) < 0 || weir_endpoint(weir, "api", &api) < 0 ||
	    weir_permit_take(api, 0, &permit, NULL) != WEIR_ADMIT)
		_exit(1);
}

/* A process that takes a permit and keeps it. */
static pid_t hold(const struct fixture *fixture)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	take_one(fixture);
	for (;;)
		pause();
}

static void bury(pid_t pid)
{
	assert_true(pid > 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* How a holder comes to die. */
typedef void death(const struct fixture *fixture, struct weir_endpoint *api);

/* Known to weird for as long as that takes, or not. */
static void of_age(const struct fixture *fixture, struct weir_endpoint *api)
{
	pid_t pid = hold(fixture);

	until_held(api, 2);
	bury(pid);
}

/* It comes, takes one and is dead, all at once. */
static void at_once(const struct fixture *fixture, struct weir_endpoint *api)
{
	pid_t pid = fork();
	int status;

	(void)api;
	assert_true(pid >= 0);
	if (pid == 0) {
		take_one(fixture);
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

static int compare_times(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* The median of so many deaths: others may want the CPU now and then, not each time. */
static void assert_comes_back(const struct fixture *fixture, death *dies)
{
	uint64_t after_ns[DEATHS];
	struct weir *weir = fixture_open(fixture);
	struct weir_endpoint *api = fixture_endpoint(weir, "api");
	struct weir_permit own;

	assert_int_equal(weir_permit_take(api, 0, &own, NULL), WEIR_ADMIT);
	for (unsigned i = 0; i < DEATHS; i++) {
		dies(fixture, api);

		uint64_t died_ns = now_ns();

		until_held(api, 1);
		after_ns[i] = now_ns() - died_ns;
	}
	qsort(after_ns, DEATHS, sizeof(after_ns[0]), compare_times);
	print_message("after %.1f ms in the middle, %.1f ms at the latest\n",
		      (double)after_ns[DEATHS / 2] / 1e6, (double)after_ns[DEATHS - 1] / 1e6);
	assert_true(after_ns[DEATHS / 2] <= 100 * WEIR_MILLISECOND);
	/* once each: the permit of the living is his */
	assert_int_equal(held(api), 1);
	assert_int_equal(weir_permit_release(api, &own), 0);
	assert_int_equal(held(api), 0);
	weir_endpoint_close(api);
	weir_close(weir);
}

static void test_comes_back(void **state)
{
	struct fixture *fixture = *state;

	fixture_config(fixture, RULES);
	fixture_start(fixture);
	assert_comes_back(fixture, of_age);
	assert_comes_back(fixture, at_once);
	assert_false(fixture_has_logged(fixture, "inotify"));
}

/* Where the kernel does not tell, that is said once, and costs looks. */
static void test_comes_back_untold(void **state)
{
	struct fixture *fixture = *state;
	char log[4096] = "", *said;
	FILE *file;

	fixture->is_untold = true;
	fixture_config(fixture, RULES);
	fixture_start(fixture);
	assert_comes_back(fixture, of_age);
	assert_comes_back(fixture, at_once);
	fixture_sleep_ms(2100); /* it tries again */
	file = fopen(fixture->log, "re");
	assert_non_null(file);
	assert_true(fread(log, 1, sizeof(log) - 1, file) > 0);
	fclose(file);
	said = strstr(log, "inotify: ");
	assert_non_null(said);
	assert_null(strstr(said + 1, "inotify: "));
}

/* Its child is the first process of a pid namespace, whose pid is another's here, and which cannot
 * kill itself. */
static void enter_container(const struct fixture *fixture)
{
	int status;
	pid_t pid;

	if (unshare(CLONE_NEWPID) < 0)
		_exit(DENIED);
	pid = fork();
	if (pid == 0) {
		take_one(fixture);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		_exit(1);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

/* As one that comes, takes and dies, but where pids say nothing. */
static void in_container(const struct fixture *fixture, struct weir_endpoint *api)
{
	pid_t pid = fork();
	int status;

	(void)api;
	assert_true(pid >= 0);
	if (pid == 0)
		enter_container(fixture);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == DENIED)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_comes_back_from_container(void **state)
{
	struct fixture *fixture = *state;

	fixture_config(fixture, RULES);
	fixture_start(fixture);
	assert_comes_back(fixture, in_container);
}

static void kill_weird(struct fixture *fixture)
{
	assert_int_equal(fixture_stop(fixture, SIGKILL), 256 + SIGKILL);
}

/* Members that were there before weird, and those that died without it. */
static void test_comes_back_after_restart(void **state)
{
	struct fixture *fixture = *state;

	fixture_config(fixture, RULES);
	fixture_start(fixture);

	struct weir *weir = fixture_open(fixture);
	struct weir_endpoint *api = fixture_endpoint(weir, "api");
	pid_t one = hold(fixture);
	pid_t other = hold(fixture);

	until_held(api, 2);
	kill_weird(fixture);
	bury(one);
	assert_int_equal(held(api), 2);
	fixture_start(fixture);
	until_held(api, 1);
	bury(other);
	until_held(api, 0);
	weir_endpoint_close(api);
	weir_close(weir);
	assert_comes_back(fixture, at_once);
}

/* In the pair that comes after the one whose members were told of. */
static void test_comes_back_in_a_new_pair(void **state)
{
	struct fixture *fixture = *state;

	fixture_config(fixture, RULES);
	fixture_start(fixture);
	assert_comes_back(fixture, at_once);
	fixture_config(fixture, "endpoints = 2000\n" RULES);
	fixture_reload(fixture);
	assert_comes_back(fixture, at_once);
}

/* A stopped holder lives; so it is told apart, by the lock of its slot and not by what it does. */
static void test_not_of_the_living(void **state)
{
	struct fixture *fixture = *state;

	fixture_config(fixture, RULES);
	fixture_start(fixture);

	struct weir *weir = fixture_open(fixture);
	struct weir_endpoint *api = fixture_endpoint(weir, "api");
	pid_t stopped = hold(fixture);
	pid_t dying = hold(fixture);

	until_held(api, 2);
	assert_int_equal(kill(stopped, SIGSTOP), 0);
	bury(dying);
	until_held(api, 1);
	fixture_sleep_ms(300); /* three times as long as the dead one had to be found */
	assert_int_equal(held(api), 1);
	bury(stopped);
	until_held(api, 0);
	weir_endpoint_close(api);
	weir_close(weir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_comes_back, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_comes_back_untold, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(test_comes_back_from_container, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(test_comes_back_after_restart, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(test_comes_back_in_a_new_pair, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(test_not_of_the_living, fixture_setup,
						fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
