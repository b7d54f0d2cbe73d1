/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "deny_call.h"

#define FIXTURE_STEP_MS 5

void fixture_sleep_ms(unsigned ms)
{
	struct timespec pause = {ms / 1000, (long)(ms % 1000) * 1000000};

	nanosleep(&pause, NULL);
}

/* ---- set-up ---- */

static struct sockaddr_un address_of(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	assert_true(strlen(path) < sizeof(address.sun_path));
	strcpy(address.sun_path, path);
	return address;
}

static void make_folder(struct fixture *fixture)
{
	*fixture = (struct fixture){.dir = "/tmp/weir-daemon-XXXXXX", .program = WEIRD_PROGRAM};
	assert_non_null(mkdtemp(fixture->dir));
}

static void furnish_folder(struct fixture *fixture)
{
	struct sockaddr_un address;

	/* others may look for the socket: whether it lets them in is what is tested */
	assert_int_equal(chmod(fixture->dir, 0755), 0);
	snprintf(fixture->config, sizeof(fixture->config), "%s/weir.ini", fixture->dir);
	snprintf(fixture->log, sizeof(fixture->log), "%s/log", fixture->dir);
	snprintf(fixture->socket, sizeof(fixture->socket), "%s/weir.test.sock", fixture->dir);
	snprintf(fixture->notify, sizeof(fixture->notify), "%s/notify", fixture->dir);
	address = address_of(fixture->notify);
	fixture->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(fixture->notify_fd >= 0);
	assert_int_equal(bind(fixture->notify_fd, (struct sockaddr *)&address, sizeof(address)), 0);
	fixture_clear_log(fixture);
}

void fixture_begin(struct fixture *fixture)
{
	make_folder(fixture);
	furnish_folder(fixture);
}

int fixture_begin_small(struct fixture *fixture, const char *size)
{
	char options[32];
	int error = 0;

	make_folder(fixture);
	snprintf(options, sizeof(options), "size=%s", size);
	fixture->is_mounted = unshare(CLONE_NEWNS) == 0 &&
			      mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
			      mount("weir", fixture->dir, "tmpfs", 0, options) == 0;
	if (!fixture->is_mounted)
		error = -errno;
	furnish_folder(fixture);
	return error;
}

static int remove_entry(const char *path, const struct stat *found, int kind, struct FTW *walk)
{
	(void)found;
	(void)kind;
	(void)walk;
	return remove(path);
}

void fixture_end(struct fixture *fixture)
{
	if (fixture->daemon > 0) {
		kill(fixture->daemon, SIGKILL);
		waitpid(fixture->daemon, NULL, 0);
	}
	close(fixture->notify_fd);
	if (fixture->is_mounted)
		umount2(fixture->dir, MNT_DETACH);
	nftw(fixture->dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

int fixture_setup(void **state)
{
	struct fixture *fixture = malloc(sizeof(*fixture));

	if (!fixture)
		return -1;
	fixture_begin(fixture);
	*state = fixture;
	return 0;
}

int fixture_teardown(void **state)
{
	fixture_end(*state);
	free(*state);
	return 0;
}

void fixture_config(const struct fixture *fixture, const char *rest)
{
	FILE *file = fopen(fixture->config, "we");

	assert_non_null(file);
	fprintf(file, "[weir]\nname = test\nshm_dir = %s\n", fixture->dir);
	if (fixture->saves)
		fprintf(file, "state_file = %s/levels\n", fixture->dir);
	fputs(rest, file);
	assert_int_equal(fclose(file), 0);
}

/* ---- the process ---- */

static void exec_daemon(const struct fixture *fixture, const char *const *arguments)
{
	const char *argv[16] = {fixture->program, "-c", fixture->config};
	size_t count = 3;
	int log = open(fixture->log, O_WRONLY | O_CREAT | O_APPEND, 0644);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* as when the user's inotify instances are used up */
	if (fixture->is_untold && !deny_call(SYS_inotify_init1, EMFILE))
		_exit(126);
	for (; arguments && *arguments && count < 15; arguments++)
		argv[count++] = *arguments;
	if (log < 0 || dup2(log, STDERR_FILENO) < 0 || dup2(log, STDOUT_FILENO) < 0)
		_exit(127);
	setenv("NOTIFY_SOCKET", fixture->notify, 1);
	unsetenv("WEIR_NAME");
	unsetenv("WEIR_SHM_DIR");
	unsetenv("WEIR_SOCKET");
	unsetenv("WEIR_FAULT");
	unsetenv("JOURNAL_STREAM");
	unsetenv("INVOCATION_ID");
	if (fixture->fault)
		setenv("WEIR_FAULT", fixture->fault, 1);
	if (fixture->watchdog_usec)
		setenv("WATCHDOG_USEC", fixture->watchdog_usec, 1);
	execv(fixture->program, (char *const *)(uintptr_t)argv);
	_exit(127);
}

/* What was said before is of a start or reload that is over. */
static void forget_notifications(const struct fixture *fixture)
{
	char datagram[512];

	while (recv(fixture->notify_fd, datagram, sizeof(datagram), MSG_DONTWAIT) >= 0)
		;
}

void fixture_spawn(struct fixture *fixture, const char *const *arguments)
{
	pid_t pid;

	assert_int_equal(fixture->daemon, 0);
	forget_notifications(fixture);
	pid = fork();
	/* never kept where it is none: kill(-1) is everybody's end */
	assert_true(pid >= 0);
	if (pid == 0)
		exec_daemon(fixture, arguments);
	fixture->daemon = pid;
}

void fixture_start(struct fixture *fixture)
{
	fixture_spawn(fixture, NULL);
	assert_true(fixture_notified(fixture, "READY=1", FIXTURE_PATIENCE_MS));
}

/* What a failure is understood by: the fault asked for and all that weird said. */
static void print_log(const struct fixture *fixture)
{
	FILE *file = fopen(fixture->log, "re");
	char line[512];

	print_error("fault: %s\n", fixture->fault ? fixture->fault : "none");
	while (file && fgets(line, sizeof(line), file))
		print_error("weird: %s", line);
	if (file)
		fclose(file);
}

int fixture_wait(struct fixture *fixture)
{
	int status = 0;

	for (unsigned ms = 0; ms < FIXTURE_PATIENCE_MS; ms += FIXTURE_STEP_MS) {
		if (waitpid(fixture->daemon, &status, WNOHANG) == fixture->daemon) {
			fixture->daemon = 0;
			return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
		}
		fixture_sleep_ms(FIXTURE_STEP_MS);
	}
	print_log(fixture);
	fail_msg("weird did not end");
	return -1;
}

int fixture_stop(struct fixture *fixture, int number)
{
	assert_int_equal(kill(fixture->daemon, number), 0);
	return fixture_wait(fixture);
}

void fixture_reload(struct fixture *fixture)
{
	forget_notifications(fixture);
	assert_int_equal(kill(fixture->daemon, SIGHUP), 0);
	assert_true(fixture_notified(fixture, "RELOADING=1", FIXTURE_PATIENCE_MS));
	assert_true(fixture_notified(fixture, "READY=1", FIXTURE_PATIENCE_MS));
}

static bool daemon_is_dead(const struct fixture *fixture)
{
	siginfo_t info = {0};

	return waitid(P_PID, (id_t)fixture->daemon, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       info.si_pid != 0;
}

bool fixture_notified(struct fixture *fixture, const char *text, unsigned ms)
{
	char datagram[512];

	for (unsigned waited = 0; waited <= ms;) {
		struct pollfd poll_fd = {fixture->notify_fd, POLLIN, 0};
		ssize_t bytes;

		if (poll(&poll_fd, 1, FIXTURE_STEP_MS) == 0) {
			if (daemon_is_dead(fixture))
				return false;
			waited += FIXTURE_STEP_MS;
			continue;
		}
		bytes = recv(fixture->notify_fd, datagram, sizeof(datagram) - 1, 0);
		assert_true(bytes >= 0);
		datagram[bytes] = '\0';
		if (!strncmp(datagram, text, strlen(text)))
			return true;
	}
	return false;
}

/* ---- the log ---- */

bool fixture_has_logged(const struct fixture *fixture, const char *text)
{
	char *log = calloc(1, 1 << 20);
	FILE *file = fopen(fixture->log, "re");
	bool found;

	assert_non_null(log);
	assert_non_null(file);
	assert_true(fread(log, 1, (1 << 20) - 1, file) < (1 << 20) - 1);
	fclose(file);
	found = strstr(log, text) != NULL;
	free(log);
	return found;
}

bool fixture_logged(const struct fixture *fixture, const char *text)
{
	for (unsigned ms = 0; ms < FIXTURE_PATIENCE_MS; ms += FIXTURE_STEP_MS) {
		if (fixture_has_logged(fixture, text))
			return true;
		fixture_sleep_ms(FIXTURE_STEP_MS);
	}
	return false;
}

void fixture_clear_log(const struct fixture *fixture)
{
	FILE *file = fopen(fixture->log, "we");

	assert_non_null(file);
	fclose(file);
}

/* ---- control ---- */

int fixture_connect(const struct fixture *fixture)
{
	struct timeval patience = {FIXTURE_PATIENCE_MS / 1000, 0};
	struct sockaddr_un address = address_of(fixture->socket);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		int error = -errno;

		close(fd);
		return error;
	}
	return fd;
}

bool fixture_read_answer(int fd, struct answer *answer)
{
	size_t used = 0;
	int64_t bytes;

	while ((bytes = wire_length(answer->bytes, used)) == 0) {
		ssize_t got = recv(fd, answer->bytes + used, sizeof(answer->bytes) - used, 0);

		if (got <= 0)
			return false;
		used += (size_t)got;
	}
	assert_true(bytes > 0);
	assert_int_equal(wire_parse(&answer->message, answer->bytes, (size_t)bytes), 0);
	assert_int_equal(answer->message.kind, WIRE_REPLY);
	return true;
}

int fixture_ask(const struct fixture *fixture, const struct wire_message *request,
		struct answer *answer)
{
	unsigned char bytes[WIRE_MAX_BYTES];
	int64_t length = wire_write(request, bytes, sizeof(bytes));
	int fd = fixture_connect(fixture);

	assert_true(length > 0);
	assert_true(fd >= 0);
	assert_int_equal(send(fd, bytes, (size_t)length, MSG_NOSIGNAL), length);
	assert_true(fixture_read_answer(fd, answer));
	close(fd);
	return answer->message.code;
}

int fixture_set(const struct fixture *fixture, const char *name, const char *key, const char *value,
		struct answer *answer)
{
	struct wire_message request = {
		.kind = WIRE_SET, .name = name, .setting_count = 1, .settings = {{key, value}}};

	return fixture_ask(fixture, &request, answer);
}

/* ---- libweir ---- */

struct weir *fixture_open(const struct fixture *fixture)
{
	struct weir_options options = WEIR_OPTIONS_INIT;
	struct weir *weir;

	options.name = "test";
	options.shm_dir = fixture->dir;
	assert_int_equal(weir_open(&weir, &options), 0);
	return weir;
}

struct weir_endpoint *fixture_endpoint(struct weir *weir, const char *name)
{
	struct weir_endpoint *endpoint;

	assert_int_equal(weir_endpoint(weir, name, &endpoint), 0);
	return endpoint;
}

double fixture_level(struct weir_endpoint *endpoint)
{
	struct weir_level level = {.size = sizeof(level)};

	assert_int_equal(weir_peek(endpoint, &level), 0);
	return level.level;
}

double fixture_rate(struct weir_endpoint *endpoint)
{
	struct weir_level level = {.size = sizeof(level)};

	assert_int_equal(weir_peek(endpoint, &level), 0);
	return level.rate_per_s;
}

/* ---- quiet ---- */

long fixture_wake_ups(const struct fixture *fixture)
{
	char path[300], line[128];
	struct dirent *entry;
	long sum = 0, switches;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%ld/task", (long)fixture->daemon);
	tasks = opendir(path);
	assert_non_null(tasks);
	while ((entry = readdir(tasks))) {
		FILE *file;

		snprintf(path, sizeof(path), "/proc/%ld/task/%s/status", (long)fixture->daemon,
			 entry->d_name);
		file = entry->d_name[0] == '.' ? NULL : fopen(path, "re");
		while (file && fgets(line, sizeof(line), file))
			if (sscanf(line, "voluntary_ctxt_switches: %ld", &switches) == 1)
				sum += switches;
		if (file)
			fclose(file);
	}
	closedir(tasks);
	assert_true(sum > 0);
	return sum;
}
