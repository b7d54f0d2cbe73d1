/* SPDX-License-Identifier: Apache-2.0
 *
 * The control socket against those who may not, who send noise, who are slow and who are many.
 */
#include <errno.h>
#include <grp.h>
#include <poll.h>
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
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon_fixture.h"

#define RULES "clock = manual\n[default]\nrate = 10/s\n[endpoint api]\nrate = 5/s\n"

static uint64_t random_state = 0x9e3779b97f4a7c15ull;

/* xorshift64*: the same bytes in every run. */
static uint64_t random_next(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return random_state * 0x2545f4914f6cdd1dull;
}

static void start(struct fixture *fixture)
{
	fixture_config(fixture, RULES);
	fixture_start(fixture);
}

static void assert_alive(const struct fixture *fixture)
{
	struct answer answer;

	assert_int_equal(fixture_ask(fixture, &(struct wire_message){.kind = WIRE_PING}, &answer),
			 0);
}

/* ---- who may ---- */

/* Who asks, in a process of its own; 0: root. */
struct asker {
	uid_t uid;
	gid_t gid;
	gid_t group; /* supplementary; 0: none */
	uint16_t kind;
};

enum {
	ASKED_OK = 0,
	ASKED_DENIED = 1,
	ASKED_NO_ENTRY = 2, /* the socket's mode kept it out */
	ASKED_ELSE = 3,
};

static void ask_as(const struct fixture *fixture, const struct asker *as)
{
	const struct wire_message request = {.kind = as->kind, .name = "api", .duration_ns = 1};
	unsigned char bytes[WIRE_MAX_BYTES];
	int64_t length = wire_write(&request, bytes, sizeof(bytes));
	struct answer answer;
	int fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (setgroups(as->group ? 1 : 0, &as->group) < 0 || setgid(as->gid) < 0 ||
	    setuid(as->uid) < 0)
		_exit(ASKED_ELSE);
	fd = fixture_connect(fixture);
	if (fd < 0)
		_exit(fd == -EACCES ? ASKED_NO_ENTRY : ASKED_ELSE);
	if (send(fd, bytes, (size_t)length, MSG_NOSIGNAL) != length ||
	    !fixture_read_answer(fd, &answer))
		_exit(ASKED_ELSE);
	_exit(answer.message.code == 0		    ? ASKED_OK
	      : answer.message.code == WEIR_EDENIED ? ASKED_DENIED
						    : ASKED_ELSE);
}

static int asked(const struct fixture *fixture, const struct asker *as)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0)
		ask_as(fixture, as);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void skip_unless_root(void)
{
	if (geteuid() == 0)
		return;
	print_message("skipped: to ask as somebody else needs root\n");
	skip();
}

static void test_outsider_has_no_entry(void **state)
{
	struct fixture *fixture = *state;
	const struct asker nobody = {65534, 65534, 0, WIRE_PING};

	skip_unless_root();
	start(fixture);
	assert_int_equal(asked(fixture, &nobody), ASKED_NO_ENTRY);
}

/* With the socket's mode out of the way: the daemon looks at the credentials itself. */
static void test_outsider_is_denied(void **state)
{
	struct fixture *fixture = *state;
	struct asker nobody = {65534, 65534, 0, WIRE_PING};

	skip_unless_root();
	start(fixture);
	assert_int_equal(chmod(fixture->socket, 0666), 0);
	assert_int_equal(asked(fixture, &nobody), ASKED_OK);
	for (nobody.kind = WIRE_RESET; nobody.kind <= WIRE_RELOAD; nobody.kind++)
		assert_int_equal(asked(fixture, &nobody), ASKED_DENIED);
	nobody.kind = WIRE_SET;
	assert_int_equal(asked(fixture, &nobody), ASKED_DENIED);
	assert_true(fixture_has_logged(fixture, "refused: "));
	assert_true(fixture_has_logged(fixture, "by uid 65534"));
}

/* The daemon's own group (root's, without a group named weir that it could use). */
static void test_group_may(void **state)
{
	struct fixture *fixture = *state;
	struct asker member = {65534, 65534, 0, WIRE_RESET};
	struct stat found;

	skip_unless_root();
	start(fixture);
	assert_int_equal(stat(fixture->socket, &found), 0);
	member.gid = found.st_gid;
	assert_int_equal(asked(fixture, &member), ASKED_OK);
	member.gid = 65534;
	member.group = 12345;
	assert_int_equal(asked(fixture, &member), ASKED_NO_ENTRY);
}

/* A configured group: objects and socket are its, and its supplementary members may. */
static void test_configured_group(void **state)
{
	struct fixture *fixture = *state;
	const struct group *group = getgrnam("daemon");
	struct asker member = {65534, 65534, 0, WIRE_RESET};
	struct stat found;
	char path[128];

	skip_unless_root();
	if (!group) {
		print_message("skipped: there is no group daemon here\n");
		skip();
	}
	fixture_config(fixture, "group = daemon\n" RULES);
	fixture_start(fixture);
	assert_int_equal(stat(fixture->socket, &found), 0);
	assert_int_equal(found.st_gid, group->gr_gid);
	snprintf(path, sizeof(path), "%s/weir.test.state", fixture->dir);
	assert_int_equal(stat(path, &found), 0);
	assert_int_equal(found.st_gid, group->gr_gid);
	member.group = group->gr_gid;
	assert_int_equal(asked(fixture, &member), ASKED_OK);
	member.group = 0;
	assert_int_equal(asked(fixture, &member), ASKED_NO_ENTRY);
}

static void test_unknown_group(void **state)
{
	struct fixture *fixture = *state;

	fixture_config(fixture, "group = nobody-has-this\n" RULES);
	fixture_start(fixture);
	assert_true(fixture_has_logged(fixture, "group = nobody-has-this: no such group"));
	assert_alive(fixture);
}

/* ---- noise ---- */

/* Whether the other end closes; what it sends before is dropped. */
static bool is_closed(int fd)
{
	char dropped[4096];
	ssize_t bytes;

	while ((bytes = recv(fd, dropped, sizeof(dropped), 0)) > 0)
		;
	return bytes == 0 || (bytes < 0 && errno == ECONNRESET);
}

static void test_noise_is_answered_and_ended(void **state)
{
	static const unsigned char noise[] = {12, 0, 0, 0, 1, 0, 99, 0, 1, 2, 3, 4};
	struct fixture *fixture = *state;
	struct answer answer;
	int fd;

	start(fixture);
	fd = fixture_connect(fixture);
	assert_true(fd >= 0);
	assert_int_equal(send(fd, noise, sizeof(noise), MSG_NOSIGNAL), sizeof(noise));
	assert_true(fixture_read_answer(fd, &answer));
	assert_int_equal(answer.message.code, WEIR_EWIRE);
	assert_non_null(strstr(answer.message.text, "version 1 of the protocol"));
	assert_true(is_closed(fd));
	close(fd);
	assert_alive(fixture);
}

static size_t make_noise(unsigned char *out, size_t room)
{
	static const struct wire_message request = {
		.kind = WIRE_SET, .name = "api", .setting_count = 1, .settings = {{"burst", "x"}}};
	int64_t bytes = wire_write(&request, out, room);
	unsigned changes = (unsigned)(random_next() % 6);

	assert_true(bytes > 0);
	for (unsigned i = 0; i < changes; i++)
		out[random_next() % (size_t)bytes] = (unsigned char)random_next();
	return random_next() % 4 ? (size_t)bytes : random_next() % (size_t)bytes;
}

static void test_fuzzed_bytes(void **state)
{
	struct fixture *fixture = *state;
	unsigned char bytes[WIRE_MAX_BYTES];

	start(fixture);
	for (int i = 0; i < 2000; i++) {
		size_t count = make_noise(bytes, sizeof(bytes));
		int fd = fixture_connect(fixture);

		assert_true(fd >= 0);
		if (count)
			(void)send(fd, bytes, count, MSG_NOSIGNAL);
		if (i % 4 == 0) {
			shutdown(fd, SHUT_WR);
			assert_true(is_closed(fd));
		}
		close(fd);
		if (i % 100 == 0)
			assert_alive(fixture);
	}
	assert_alive(fixture);
	assert_int_equal(fixture_stop(fixture, SIGTERM), 0);
}

/* A message in as many pieces as it has bytes, and several messages in one piece. */
static void test_pieces(void **state)
{
	struct fixture *fixture = *state;
	unsigned char bytes[3 * 64];
	const struct wire_message ping = {.kind = WIRE_PING};
	int64_t length = wire_write(&ping, bytes, sizeof(bytes));
	struct answer answer;
	int fd;

	start(fixture);
	fd = fixture_connect(fixture);
	assert_true(fd >= 0 && length > 0 && length <= 64);
	for (int64_t i = 0; i < length; i++) {
		assert_int_equal(send(fd, bytes + i, 1, MSG_NOSIGNAL), 1);
		fixture_sleep_ms(1);
	}
	assert_true(fixture_read_answer(fd, &answer));
	memcpy(bytes + length, bytes, (size_t)length);
	memcpy(bytes + 2 * length, bytes, (size_t)length);
	assert_int_equal(send(fd, bytes, (size_t)length * 3, MSG_NOSIGNAL), length * 3);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(recv(fd, answer.bytes, 8, MSG_PEEK | MSG_WAITALL), 8);
		int64_t reply = answer.bytes[0] | answer.bytes[1] << 8;

		assert_int_equal(recv(fd, answer.bytes, (size_t)reply, MSG_WAITALL), reply);
		assert_int_equal(wire_parse(&answer.message, answer.bytes, (size_t)reply), 0);
		assert_int_equal(answer.message.code, 0);
	}
	close(fd);
}

/* ---- slow, and many ---- */

static void test_silent_client_is_dropped(void **state)
{
	struct fixture *fixture = *state;
	int silent, half;

	start(fixture);
	silent = fixture_connect(fixture);
	half = fixture_connect(fixture);
	assert_true(silent >= 0 && half >= 0);
	assert_int_equal(send(half, "\010\0", 2, MSG_NOSIGNAL), 2);
	assert_alive(fixture);
	assert_true(is_closed(silent));
	assert_true(is_closed(half));
	close(silent);
	close(half);
	assert_alive(fixture);
}

/* More connections than there is room for: some are closed, and room comes back. */
static void test_many_connections(void **state)
{
	struct fixture *fixture = *state;
	int fds[80], closed = 0;

	start(fixture);
	for (int i = 0; i < 80; i++) {
		fds[i] = fixture_connect(fixture);
		assert_true(fds[i] >= 0);
	}
	assert_true(fixture_logged(fixture, "more than 64 connections"));
	for (int i = 0; i < 80; i++) {
		struct pollfd poll_fd = {fds[i], POLLIN, 0};

		/* the last ones were closed at once, the others are still waited for */
		closed += poll(&poll_fd, 1, i < 64 ? 0 : FIXTURE_PATIENCE_MS) == 1;
	}
	assert_true(closed >= 16);
	for (int i = 0; i < 80; i++)
		close(fds[i]);
	fixture_sleep_ms(100);
	assert_alive(fixture);
}

/* One that never reads its replies holds up nobody. */
static void test_deaf_client(void **state)
{
	struct fixture *fixture = *state;
	unsigned char bytes[64];
	const struct wire_message ping = {.kind = WIRE_PING};
	int64_t length = wire_write(&ping, bytes, sizeof(bytes));
	int fd;

	start(fixture);
	fd = fixture_connect(fixture);
	assert_true(fd >= 0 && length > 0);
	for (int i = 0; i < 100000; i++)
		if (send(fd, bytes, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT) != length)
			break;
	assert_alive(fixture);
	close(fd);
	assert_alive(fixture);
}

#define DAEMON_TEST(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DAEMON_TEST(test_outsider_has_no_entry),
		DAEMON_TEST(test_outsider_is_denied),
		DAEMON_TEST(test_group_may),
		DAEMON_TEST(test_configured_group),
		DAEMON_TEST(test_unknown_group),
		DAEMON_TEST(test_noise_is_answered_and_ended),
		DAEMON_TEST(test_fuzzed_bytes),
		DAEMON_TEST(test_pieces),
		DAEMON_TEST(test_silent_client_is_dropped),
		DAEMON_TEST(test_many_connections),
		DAEMON_TEST(test_deaf_client),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("daemon control", tests, NULL, NULL);
}
