/* SPDX-License-Identifier: Apache-2.0
 *
 * What changes: set, reset, close, open, reload through a real weird; and what weirctl says when
 * the daemon is absent, dead, strange or does not allow it.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon_fixture.h"
#include "stage.h"
#include "weir.h"
#include "wire.h"

static struct outcome outcome;

/* A weird, and weirctl's view of where it lives. */
struct pair {
	struct fixture weird;
	struct stage stage;
};

static int set_up(void **state)
{
	struct pair *pair = calloc(1, sizeof(*pair));
	struct place_hints hints = {.name = "test"};

	if (!pair)
		return -1;
	fixture_begin(&pair->weird);
	fixture_config(&pair->weird, "[default]\nrate = 10/s\n"
				     "[endpoint api]\nrate = 1/h\nburst = 10\n"
				     "[endpoint img.*]\nrate = 1/h\nburst = 4\n");
	hints.shm_dir = pair->weird.dir;
	snprintf(pair->stage.dir, sizeof(pair->stage.dir), "%s", pair->weird.dir);
	assert_int_equal(place_resolve(&pair->stage.place, &hints, PLACE_TO_ATTACH), 0);
	fixture_start(&pair->weird);
	*state = pair;
	return 0;
}

static int tear_down(void **state)
{
	struct pair *pair = *state;

	fixture_end(&pair->weird);
	free(pair);
	return 0;
}

#define DO(status, ...)                                                                            \
	do {                                                                                       \
		RUN(&pair->stage, &outcome, __VA_ARGS__);                                          \
		expect_status(&outcome, status);                                                   \
	} while (0)

static json_t *show(const struct pair *pair, const char *name)
{
	DO(0, "show", name, "--json");
	return parse_json(&outcome);
}

static double level(const struct pair *pair, const char *name)
{
	json_t *root = show(pair, name);
	double value = json_number(root, "level");

	json_decref(root);
	return value;
}

/* The rates are so low that what a test mints meanwhile is nothing. */
static void expect_level(const struct pair *pair, const char *name, double expected)
{
	double found = level(pair, name);

	if (found < expected || found > expected + 0.2)
		fail_msg("level of %s: %g, not %g", name, found, expected);
}

/* ---- set ---- */

static void test_set(void **state)
{
	struct pair *pair = *state;
	json_t *root;

	DO(0, "acquire", "api", "-n", "4");
	DO(0, "set", "api", "rate=2/h", "burst=20");
	expect_text(outcome.out, "endpoint api: rate 1/h -> 2/h, burst 10 -> 20");
	root = show(pair, "api");
	assert_string_equal(json_text(root, "rate"), "2/h");
	assert_true(json_number(root, "burst") == 20);
	assert_string_equal(json_text(root, "set_by"), "operator");
	assert_int_equal(json_whole(root, "set_by_uid"), getuid());
	assert_true(json_flag(root, "weird_running"));
	json_decref(root);
	/* what was used stays used */
	expect_level(pair, "api", 16);
	DO(0, "set", "api", "max_wait=30s", "initial=5");
	root = show(pair, "api");
	assert_int_equal(json_whole(root, "max_wait_ns"), 30000000000);
	assert_string_equal(json_text(root, "rate"), "2/h");
	json_decref(root);
	DO(0, "set", "*", "rate=7/h");
	root = show(pair, "anything");
	assert_string_equal(json_text(root, "rate"), "7/h");
	json_decref(root);
	DO(0, "set", "img.*", "burst=3", "--json");
	root = parse_json(&outcome);
	assert_true(json_flag(root, "done"));
	assert_int_equal(json_whole(root, "code"), 0);
	expect_text(json_text(root, "text"), "burst 4 -> 3");
	json_decref(root);
}

static void test_set_shadows_and_classes(void **state)
{
	struct pair *pair = *state;
	json_t *root;

	DO(0, "set", "api", "shadow=yes", "shadow_rate=5/h", "shadow_burst=3",
	   "class batch=leave 20 %");
	expect_text(outcome.out,
		    "endpoint api: shadow no -> yes, shadow limit none -> 5/h burst 3, "
		    "class batch none -> leave 20 %");
	DO(0, "acquire", "api", "-n", "10");
	DO(0, "acquire", "api", "-n", "10");
	expect_text(outcome.out, "admitted, and in the shadow refused: ");
	root = show(pair, "api");
	assert_true(json_flag(root, "shadow"));
	assert_int_equal(json_whole(root, "shadow_passed"), 1);
	assert_int_equal(json_whole(root, "shadow_refused"), 2);
	assert_true(json_number(json_object_get(root, "classes"), "batch") == 2);
	json_decref(root);
	DO(0, "set", "api", "shadow=no", "shadow_rate=none", "class batch=leave 0");
	expect_text(outcome.out,
		    "endpoint api: shadow yes -> no, shadow limit 5/h burst 3 -> none, "
		    "class batch leave 20 % -> none");
	DO(1, "acquire", "api", "-n", "10");
	DO(2, "set", "api", "class batch=leave 10");
	expect_text(outcome.err, "less than the burst");
	DO(2, "set", "api", "class batch=20 %");
	expect_text(outcome.err, "leave 20 %");
	DO(2, "set", "api", "shadow_burst=5");
	expect_text(outcome.err, "needs a shadow_rate");
}

static void test_set_keep(void **state)
{
	struct pair *pair = *state;

	DO(0, "acquire", "api", "-n", "5");
	DO(0, "set", "api", "burst=20", "--keep", "proportional");
	expect_level(pair, "api", 10);
	DO(0, "set", "api", "burst=40", "--keep=level");
	expect_level(pair, "api", 10);
	DO(0, "set", "api", "burst=30", "--keep=used");
	expect_level(pair, "api", 0);
	DO(0, "set", "api", "--keep", "reset");
	expect_level(pair, "api", 30);
}

/* A name under a pattern or [default] gets a row of its own, and its level moves along. */
static void test_set_new_row(void **state)
{
	struct pair *pair = *state;
	json_t *root;

	DO(0, "set", "*", "rate=10/h", "burst=10");
	DO(0, "acquire", "fresh", "-n", "4");
	DO(0, "set", "fresh", "burst=12");
	root = show(pair, "fresh");
	assert_string_equal(json_text(root, "rule"), "endpoint fresh");
	json_decref(root);
	expect_level(pair, "fresh", 8);
	DO(0, "list");
	expect_text(outcome.out, "\nfresh ");
	expect_no_text(outcome.out, "  fresh ");
}

static void test_set_refused(void **state)
{
	struct pair *pair = *state;
	json_t *root;

	/* the daemon knows what weirctl cannot: whether it fits together */
	DO(2, "set", "api", "initial=11");
	assert_string_equal(outcome.out, "");
	expect_text(outcome.err, "weirctl: ");
	DO(2, "set", "api", "rate=1/s", "rate=2/s");
	expect_text(outcome.err, "rate is given twice");
	DO(2, "set", "none.*", "rate=1/s");
	expect_text(outcome.err, "no such pattern");
	DO(2, "set", "none.*", "rate=1/s", "--json");
	root = parse_json(&outcome);
	assert_false(json_flag(root, "done"));
	assert_int_equal(json_whole(root, "code"), WEIR_ENORULE);
	json_decref(root);
	expect_level(pair, "api", 10);
}

/* ---- reset, close, open, reload ---- */

static void test_reset(void **state)
{
	struct pair *pair = *state;

	DO(0, "acquire", "api", "-n", "10");
	DO(1, "acquire", "api");
	DO(0, "reset", "api");
	expect_text(outcome.out, "endpoint api: filled");
	expect_level(pair, "api", 10);
	DO(0, "acquire", "img.1", "-n", "4");
	DO(0, "reset", "img.2");
	expect_text(outcome.out, "all that share its bucket");
	expect_level(pair, "img.1", 4);
}

static void test_close_and_open(void **state)
{
	struct pair *pair = *state;

	DO(0, "close", "api", "--for", "1h");
	expect_text(outcome.out, "endpoint api: closed for 1h");
	DO(1, "acquire", "api");
	expect_text(outcome.out, "refused: closed, passes in ");
	DO(0, "list");
	expect_text(outcome.out, "closed ");
	DO(0, "open", "api");
	expect_text(outcome.out, "endpoint api: opened");
	/* it opens empty */
	DO(1, "acquire", "api");
	expect_text(outcome.out, " until 1 token is there");
	DO(0, "close", "img.x");
	DO(1, "acquire", "img.y");
	expect_text(outcome.out, "closed until somebody opens it");
	DO(0, "open", "img.*");
	DO(1, "acquire", "img.y");
	DO(0, "reset", "img.*");
	DO(0, "acquire", "img.y");
}

static void test_reload(void **state)
{
	struct pair *pair = *state;
	json_t *root;

	DO(0, "set", "api", "rate=9/h");
	DO(0, "reload");
	expect_text(outcome.out, "endpoint api: rate 9/h -> 1/h");
	fixture_config(&pair->weird, "[default]\nrate = 10/s\n"
				     "[endpoint api]\nrate = 3/h\nburst = 10\n");
	DO(0, "reload");
	expect_text(outcome.out, "rate 1/h -> 3/h");
	expect_text(outcome.out, "pattern img.*: removed");
	fixture_config(&pair->weird, "[endpoint api]\nrate = fast\n");
	DO(2, "reload");
	expect_text(outcome.err, "weir.ini:");
	root = show(pair, "api");
	assert_string_equal(json_text(root, "rate"), "3/h");
	assert_string_equal(json_text(root, "set_by"), "file");
	json_decref(root);
}

/* ---- a daemon that is not as it should be ---- */

static void test_dead(void **state)
{
	struct pair *pair = *state;

	DO(0, "acquire", "api", "-n", "4");
	fixture_stop(&pair->weird, SIGKILL);
	DO(2, "set", "api", "rate=2/h");
	expect_text(outcome.err, "nobody listens at ");
	expect_text(outcome.err, "is dead");
	expect_text(outcome.err, "Start weird again");
	/* reading and drawing go on */
	DO(0, "list");
	expect_text(outcome.out, "weird is not running: limits stay in force");
	expect_level(pair, "api", 6);
	DO(0, "acquire", "api", "-n", "6");
	DO(1, "acquire", "api");
	DO(0, "members");
	DO(0, "check");
	assert_int_equal(unlink(pair->weird.socket), 0);
	DO(2, "reset", "api");
	expect_text(outcome.err, "no control socket at ");
	expect_text(outcome.err, "weird is not running for instance `test`");
	fixture_start(&pair->weird);
	expect_level(pair, "api", 0);
	DO(0, "reset", "api");
	expect_level(pair, "api", 10);
}

static void test_no_permission(void **state)
{
	struct pair *pair = *state;
	int status;
	pid_t pid;

	if (geteuid() != 0) {
		print_message("skipped: becoming another user needs root\n");
		skip();
	}
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		/* the tree may be in a folder of root's alone */
		setenv("LD_LIBRARY_PATH", "../lib", 1);
		if (chdir(WEIRCTL_FOLDER) < 0 || setgid(65534) < 0 || setuid(65534) < 0)
			_exit(99);
		stage_program = "./weirctl";
		RUN(&pair->stage, &outcome, "reset", "api");
		_exit(outcome.status == 2 && strstr(outcome.err, "no permission to use ") &&
				      strstr(outcome.err, "its group")
			      ? 0
			      : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Somebody else's socket: answers one connection with these bytes. */
struct impostor {
	int fd;
	const unsigned char *bytes;
	size_t count;
};

static void *impostor_main(void *context)
{
	struct impostor *impostor = context;
	unsigned char request[WIRE_MAX_BYTES];
	int fd = accept(impostor->fd, NULL, NULL);

	if (fd < 0)
		return NULL;
	if (recv(fd, request, sizeof(request), 0) > 0 && impostor->count)
		send(fd, impostor->bytes, impostor->count, MSG_NOSIGNAL);
	close(fd);
	return NULL;
}

static void expect_impostor(const struct pair *pair, const unsigned char *bytes, size_t count,
			    const char *text)
{
	struct impostor impostor = {.bytes = bytes, .count = count};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	pthread_t thread;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/impostor", pair->stage.dir);
	impostor.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(impostor.fd >= 0);
	assert_int_equal(bind(impostor.fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(impostor.fd, 1), 0);
	assert_int_equal(pthread_create(&thread, NULL, impostor_main, &impostor), 0);
	DO(2, "--socket", address.sun_path, "reload");
	expect_text(outcome.err, text);
	pthread_join(thread, NULL);
	close(impostor.fd);
	unlink(address.sun_path);
}

static void test_impostors(void **state)
{
	struct pair *pair = *state;
	static const unsigned char huge[] = {0xff, 0xff, 0xff, 0x7f, 1, 0, 64, 0};
	static const unsigned char later[] = {8, 0, 0, 0, 99, 0, 64, 0};
	static const unsigned char request[] = {8, 0, 0, 0, 1, 0, 1, 0};
	static const unsigned char half[] = {20, 0, 0, 0, 1, 0, 64, 0};

	expect_impostor(pair, NULL, 0, "closed the connection without an answer");
	expect_impostor(pair, half, sizeof(half), "closed the connection without an answer");
	expect_impostor(pair, huge, sizeof(huge), "does not speak version 1 of weird's protocol");
	expect_impostor(pair, later, sizeof(later), "does not speak version 1");
	expect_impostor(pair, request, sizeof(request), "does not speak version 1");
	/* a path that is no socket, and one that is too long for one */
	DO(2, "--socket", pair->weird.config, "reload");
	expect_text(outcome.err, "nobody listens at ");
	DO(2, "--socket",
	   "/tmp/0123456789012345678901234567890123456789012345678901234567890123456789012345678901"
	   "234567890123456789012345678901234567890",
	   "reload");
	expect_text(outcome.err, "longer than 107 bytes");
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_set),
		CASE(test_set_shadows_and_classes),
		CASE(test_set_keep),
		CASE(test_set_new_row),
		CASE(test_set_refused),
		CASE(test_reset),
		CASE(test_close_and_open),
		CASE(test_reload),
		CASE(test_dead),
		CASE(test_no_permission),
		CASE(test_impostors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
