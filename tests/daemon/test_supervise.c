/* SPDX-License-Identifier: Apache-2.0
 *
 * weird under a supervisor and over its members: readiness, watchdog, the dead.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon_fixture.h"

#define RULES "[default]\nrate = 10/s\n"

/* ---- the supervisor ---- */

static void test_notifies(void **state)
{
	struct fixture *fixture = *state;

	fixture_config(fixture, RULES);
	fixture_start(fixture);
	assert_int_equal(kill(fixture->daemon, SIGHUP), 0);
	assert_true(fixture_notified(fixture, "RELOADING=1\nMONOTONIC_USEC=", FIXTURE_PATIENCE_MS));
	assert_true(fixture_notified(fixture, "READY=1", FIXTURE_PATIENCE_MS));
	assert_int_equal(kill(fixture->daemon, SIGTERM), 0);
	assert_true(fixture_notified(fixture, "STOPPING=1", FIXTURE_PATIENCE_MS));
	assert_int_equal(fixture_wait(fixture), 0);
}

/* A faulty reload is over too, as far as the supervisor is concerned. */
static void test_notifies_after_faults(void **state)
{
	struct fixture *fixture = *state;

	fixture_config(fixture, RULES);
	fixture_start(fixture);
	fixture_config(fixture, "colour = red\n");
	fixture_reload(fixture);
	assert_int_equal(fixture_stop(fixture, SIGTERM), 0);
}

/* Ready is said when the instance can be used, not before. */
static void test_ready_means_ready(void **state)
{
	struct fixture *fixture = *state;

	for (int i = 0; i < 20; i++) {
		fixture_config(fixture, RULES);
		fixture_spawn(fixture, i % 2 ? NULL : (const char *const[]){"--remove", NULL});
		assert_true(fixture_notified(fixture, "READY=1", FIXTURE_PATIENCE_MS));
		weir_close(fixture_open(fixture));
		close(fixture_connect(fixture));
		assert_int_equal(fixture_stop(fixture, SIGTERM), 0);
	}
}

static void test_watchdog(void **state)
{
	struct fixture *fixture = *state;

	fixture->watchdog_usec = "400000";
	fixture_config(fixture, RULES);
	fixture_start(fixture);
	for (int i = 0; i < 4; i++)
		assert_true(fixture_notified(fixture, "WATCHDOG=1", FIXTURE_PATIENCE_MS));
	/* a daemon that hangs says nothing */
	assert_int_equal(kill(fixture->daemon, SIGSTOP), 0);
	fixture_sleep_ms(50);
	while (fixture_notified(fixture, "WATCHDOG=1", 50))
		;
	assert_false(fixture_notified(fixture, "WATCHDOG=1", 1000));
	assert_int_equal(kill(fixture->daemon, SIGCONT), 0);
	assert_true(fixture_notified(fixture, "WATCHDOG=1", FIXTURE_PATIENCE_MS));
}

static void test_abstract_notify_socket(void **state)
{
	struct fixture *fixture = *state;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t bytes;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "weir-test-%ld",
		 (long)getpid());
	bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			    strlen(address.sun_path + 1));
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, bytes), 0);
	close(fixture->notify_fd);
	fixture->notify_fd = fd;
	snprintf(fixture->notify, sizeof(fixture->notify), "@%s", address.sun_path + 1);
	fixture_config(fixture, RULES);
	fixture_start(fixture);
}

/* ---- members ---- */

/* A member in a process of its own, until it is killed; `fds` tells when it has joined. */
static pid_t spawn_member(const struct fixture *fixture)
{
	int fds[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fixture_open(fixture);
		if (write(fds[1], "j", 1) == 1)
			pause();
		_exit(1);
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	close(fds[0]);
	return pid;
}

static void end_member(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_reaps_killed_member(void **state)
{
	struct fixture *fixture = *state;
	char expected[64];
	pid_t pid;

	fixture_config(fixture, RULES);
	fixture_start(fixture);
	pid = spawn_member(fixture);
	end_member(pid);
	snprintf(expected, sizeof(expected), "(pid %ld, uid %u, ", (long)pid, getuid());
	assert_true(fixture_logged(fixture, expected));
	assert_true(fixture_logged(fixture, " is gone"));
}

/* A table of two, used by fifty that were killed: slots come back. */
static void test_slots_come_back(void **state)
{
	struct fixture *fixture = *state;

	fixture_config(fixture, "members = 2\n" RULES);
	fixture_start(fixture);
	for (int i = 0; i < 50; i++) {
		pid_t one = spawn_member(fixture), two = spawn_member(fixture);

		end_member(one);
		end_member(two);
	}
	assert_true(fixture_logged(fixture, " is gone"));
}

/* One that leaves is not dead, and one that stays is not touched. */
static void test_the_living_stay(void **state)
{
	struct fixture *fixture = *state;
	struct weir *weir;
	pid_t pid;
	char own[64];

	fixture_config(fixture, RULES);
	fixture_spawn(fixture, (const char *const[]){"-v", NULL});
	assert_true(fixture_notified(fixture, "READY=1", FIXTURE_PATIENCE_MS));
	weir = fixture_open(fixture);
	pid = spawn_member(fixture);
	snprintf(own, sizeof(own), "pid %ld, uid %u, ", (long)getpid(), getuid());
	assert_true(fixture_logged(fixture, own));
	fixture_clear_log(fixture);
	end_member(pid);
	assert_true(fixture_logged(fixture, " is gone"));
	assert_false(fixture_has_logged(fixture, own));
	weir_close(weir);
	assert_true(fixture_logged(fixture, "has left"));
	assert_false(fixture_has_logged(fixture, own));
}

/* The members of a pair that was replaced: followed, and the old pair let go in the end. */
static void test_members_follow_a_new_pair(void **state)
{
	struct fixture *fixture = *state;
	struct weir *weir;
	struct weir_endpoint *endpoint;
	pid_t idle;

	fixture_config(fixture, RULES);
	fixture_start(fixture);
	weir = fixture_open(fixture);
	endpoint = fixture_endpoint(weir, "api");
	idle = spawn_member(fixture); /* it never calls, so it stays where it is */
	assert_int_equal(weir_acquire(endpoint, 1, NULL), WEIR_ADMIT);
	for (int i = 0; i < 6; i++) {
		char rest[128];

		snprintf(rest, sizeof(rest), "endpoints = %d\n" RULES, 2000 + i);
		fixture_config(fixture, rest);
		fixture_reload(fixture);
		assert_int_equal(weir_acquire(endpoint, 1, NULL), WEIR_ADMIT);
	}
	end_member(idle);
	idle = spawn_member(fixture);
	fixture_clear_log(fixture);
	end_member(idle);
	assert_true(fixture_logged(fixture, " is gone"));
	weir_endpoint_close(endpoint);
	weir_close(weir);
}

#define DAEMON_TEST(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DAEMON_TEST(test_notifies),
		DAEMON_TEST(test_notifies_after_faults),
		DAEMON_TEST(test_ready_means_ready),
		DAEMON_TEST(test_watchdog),
		DAEMON_TEST(test_abstract_notify_socket),
		DAEMON_TEST(test_reaps_killed_member),
		DAEMON_TEST(test_slots_come_back),
		DAEMON_TEST(test_the_living_stay),
		DAEMON_TEST(test_members_follow_a_new_pair),
	};

	return cmocka_run_group_tests_name("daemon supervise", tests, NULL, NULL);
}
