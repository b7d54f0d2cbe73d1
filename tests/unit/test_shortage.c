/* SPDX-License-Identifier: Apache-2.0
 *
 * The system says no: every call of libc that libweir makes while it attaches, hosts, resolves,
 * follows, reads settings or takes the daemon's lock fails once, one after the other. What was
 * asked for then fails with a code, or does without; nothing stays open or mapped, and the same
 * works afterwards. The linker sends those calls here (--wrap, see CMakeLists.txt).
 */
#include "segment_fixture.h"

#include <sys/random.h>

#include "config.h"
#include "handle.h"
#include "lock.h"
#include "members.h"
#include "move.h"

/* How many more calls pass before one fails; below 0: none does. */
static long passing = -1;
static bool failed;

static bool short_of(int error)
{
	if (passing < 0 || passing-- > 0)
		return false;
	failed = true;
	errno = error;
	return true;
}

/* TYPE NAME(PARAMETERS) that fails with a value and an errno, else is the real NAME(ARGUMENTS). */
#define FAILS(type, name, parameters, arguments, value, error)                                     \
	type __real_##name parameters;                                                             \
	type __wrap_##name parameters;                                                             \
	type __wrap_##name parameters                                                              \
	{                                                                                          \
		return short_of(error) ? (value) : __real_##name arguments;                        \
	}

FAILS(void *, malloc, (size_t bytes), (bytes), NULL, ENOMEM)
FAILS(void *, calloc, (size_t count, size_t bytes), (count, bytes), NULL, ENOMEM)
FAILS(void *, realloc, (void *at, size_t bytes), (at, bytes), NULL, ENOMEM)
FAILS(void *, mmap, (void *at, size_t bytes, int prot, int flags, int fd, off_t offset),
      (at, bytes, prot, flags, fd, offset), MAP_FAILED, ENOMEM)
FAILS(int, madvise, (void *at, size_t bytes, int advice), (at, bytes, advice), -1, EINVAL)
FAILS(int, fstat, (int fd, struct stat *out), (fd, out), -1, EIO)
FAILS(int, lstat, (const char *path, struct stat *out), (path, out), -1, EACCES)
FAILS(int, stat, (const char *path, struct stat *out), (path, out), -1, EACCES)
FAILS(int, fchmod, (int fd, mode_t mode), (fd, mode), -1, EPERM)
FAILS(int, fchown, (int fd, uid_t uid, gid_t gid), (fd, uid, gid), -1, EPERM)
FAILS(int, posix_fallocate, (int fd, off_t at, off_t bytes), (fd, at, bytes), ENOSPC, ENOSPC)
FAILS(int, memfd_create, (const char *name, unsigned flags), (name, flags), -1, EMFILE)
FAILS(ssize_t, getrandom, (void *out, size_t bytes, unsigned flags), (out, bytes, flags), -1, EINTR)
FAILS(int, rename, (const char *from, const char *to), (from, to), -1, EACCES)
FAILS(int, link, (const char *from, const char *to), (from, to), -1, EACCES)
FAILS(FILE *, fopen, (const char *path, const char *mode), (path, mode), NULL, EMFILE)
FAILS(char *, fgets, (char *out, int bytes, FILE *file), (out, bytes, file), NULL, EIO)
FAILS(ssize_t, read, (int fd, void *out, size_t bytes), (fd, out, bytes), -1, EIO)
FAILS(ssize_t, pwrite, (int fd, const void *from, size_t bytes, off_t at), (fd, from, bytes, at),
      -1, EIO)

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...);

int __wrap_open(const char *path, int flags, ...)
{
	mode_t mode = 0;

	if (flags & O_CREAT) {
		va_list list;

		va_start(list, flags);
		mode = va_arg(list, mode_t);
		va_end(list);
	}
	return short_of(EMFILE) ? -1 : __real_open(path, flags, mode);
}

int __wrap_fcntl(int fd, int command, ...)
{
	va_list list;

	va_start(list, command);
	void *argument = va_arg(list, void *);
	va_end(list);
	return short_of(ENOLCK) ? -1 : __real_fcntl(fd, command, argument);
}

/* ---- what is open and mapped ---- */

struct holdings {
	unsigned descriptors;
	unsigned mappings; /* of segments */
};

static struct holdings holdings_now(void)
{
	struct holdings found = {0, 0};
	DIR *folder = opendir("/proc/self/fd");
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[500];

	assert_true(folder && maps);
	while (readdir(folder))
		found.descriptors++;
	while (fgets(line, sizeof(line), maps))
		found.mappings += strstr(line, "weir.") != NULL;
	closedir(folder);
	fclose(maps);
	return found;
}

/* Does a thing and undoes it; returns what it came to. */
typedef int deed(void *context);

/*
 * The deed with each of its calls failing in turn. Returns how many of them it could not do
 * without.
 */
static long with_each_failing(const char *what, deed *body, void *context)
{
	struct holdings before = holdings_now();
	long calls = 0;
	long refused = 0;

	for (;; calls++) {
		failed = false;
		passing = calls;
		int status = body(context);
		passing = -1;
		struct holdings after = holdings_now();

		assert_int_equal(after.descriptors, before.descriptors);
		assert_int_equal(after.mappings, before.mappings);
		if (!failed) {
			assert_int_equal(status, 0);
			break;
		}
		assert_true(status <= 0);
		refused += status < 0;
		/* each code has a text */
		assert_string_not_equal(weir_strerror(status), "unknown weir error");
		/* and it was passing */
		assert_int_equal(body(context), 0);
		assert_true(calls < 1000);
	}
	assert_true(calls > 0);
	print_message("%s: %ld calls, %ld of them vital\n", what, calls, refused);
	return refused;
}

/* ---- making ---- */

static int create_private(void *context)
{
	struct segment segment;
	int status = segment_create_private(&segment, context);

	if (status == 0)
		segment_detach(&segment);
	return status;
}

static int create_named(void *context)
{
	const struct place *place = context;
	struct segment segment;
	struct segment_shape shape = scene_shape;
	int status;

	shape.group = getegid();
	status = segment_create(&segment, place, &shape);
	if (status < 0)
		return status;
	status = segment_reveal(&segment, place);
	segment_detach(&segment);
	return status;
}

static void test_creating(void **state)
{
	struct segment_shape shape = scene_shape;
	struct place place;

	(void)state;
	assert_true(with_each_failing("a private segment", create_private, &shape) > 4);
	shape.clock = time_source_best();
	with_each_failing("the same on a real clock", create_private, &shape);
	scene_place(&place);
	assert_true(with_each_failing("a segment with a name", create_named, &place) > 8);
	scene_clear(&place);
}

static int take_lock(void *context)
{
	pid_t holder = 0;
	int fd = lock_take(context, getegid(), &holder);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

static void test_lock(void **state)
{
	struct place place;

	(void)state;
	scene_place(&place);
	assert_true(with_each_failing("the daemon's lock", take_lock, &place) > 3);
	scene_clear(&place);
}

/* ---- attaching ---- */

static int attach(void *context)
{
	struct weir_options options = scene_options(context);
	struct weir *weir;
	int status = weir_open(&weir, &options);

	if (status == 0)
		weir_close(weir);
	return status;
}

static int host(void *context)
{
	struct weir *weir;
	int status = weir_host(&weir, context, WEIR_CLOCK_MANUAL, NULL, NULL, 0);

	if (status == 0)
		weir_close(weir);
	return status;
}

static int resolve(void *context)
{
	struct weir_endpoint *endpoint;
	int status = weir_endpoint(context, "x", &endpoint);

	if (status == 0)
		weir_endpoint_close(endpoint);
	return status;
}

static void test_attaching(void **state)
{
	struct member_info info;
	struct scene scene;

	(void)state;
	scene_begin(&scene, &scene_shape);
	assert_true(with_each_failing("attaching", attach, &scene.place) > 4);
	/* nobody is left in the table, half way in or out */
	for (uint32_t i = 0; i < scene.segment.member_count; i++) {
		members_look(&scene.segment, i, &info);
		assert_int_equal(info.pid, 0);
	}

	struct weir *weir = scene_open(&scene.place);

	assert_non_null(weir);
	assert_true(with_each_failing("a name", resolve, weir) > 0);
	weir_close(weir);
	scene_end(&scene);
	with_each_failing("hosting", host, "[endpoint a]\nrate = 1/s\n[endpoint b*]\n");
}

/* ---- settings ---- */

static int read_settings(void *context)
{
	struct config config;
	struct config_faults faults = {0};
	int status = config_read(&config, context, &faults);

	if (status == 0)
		config_free(&config);
	return status;
}

static void test_settings(void **state)
{
	char path[] = "/tmp/weir-test-XXXXXX";
	int fd = mkstemp(path);
	FILE *file = fdopen(fd, "w");

	(void)state;
	assert_non_null(file);
	fputs("[weir]\nendpoints = 100\n", file);
	for (int i = 0; i < 40; i++)
		fprintf(file, "[endpoint name%d/*]\nrate = %d/s\n", i, i + 1);
	fclose(file);
	assert_true(with_each_failing("reading settings", read_settings, path) > 4);
	unlink(path);
}

/* ---- going on ---- */

struct going_on {
	struct scene scene;
	struct weir *weir;
	struct weir_endpoint *endpoint;
	long calls;
	unsigned rejoins;
	int code;
};

/* In a forked child: limits hold, whatever it lacks to become a member. */
static int draw_in_child(void *context)
{
	struct going_on *on = context;

	passing = on->calls;
	enum weir_verdict verdict = weir_acquire(on->endpoint, 1, NULL);

	passing = -1;
	CHILD_CHECK(verdict == WEIR_ADMIT);
	weir_endpoint_close(on->endpoint);
	weir_close(on->weir);
	return failed ? 1 : 0;
}

static void test_forked(void **state)
{
	struct going_on on = {.calls = 0};
	int status;

	(void)state;
	failed = false;
	scene_begin(&on.scene, &scene_shape);
	scene_add(&on.scene.segment, ROW_EXACT, "x", 1000, 1000);
	on.weir = scene_open(&on.scene.place);
	on.endpoint = scene_endpoint(on.weir, "x");
	assert_non_null(on.endpoint);
	assert_int_equal(weir_acquire(on.endpoint, 1, NULL), WEIR_ADMIT);
	while ((status = scene_wait(scene_child(draw_in_child, &on))) == 1)
		assert_true(++on.calls < 100);
	assert_int_equal(status, 0);
	print_message("a child's first call: %ld calls, none of them vital\n", on.calls);
	weir_endpoint_close(on.endpoint);
	weir_close(on.weir);
	scene_end(&on.scene);
}

/* A fork whose handler cannot open the object anew: no slot, but the limit. */
static int draw_without_descriptor(void *context)
{
	struct going_on *on = context;

	CHILD_CHECK(failed);
	CHILD_CHECK(on->weir->current->segment.state_fd < 0);
	CHILD_CHECK(weir_acquire(on->endpoint, 1, NULL) == WEIR_ADMIT);
	CHILD_CHECK(on->weir->current->slot == MEMBER_NONE);
	CHILD_CHECK(on->rejoins == 1 && on->code == -EBADF);
	weir_endpoint_close(on->endpoint);
	weir_close(on->weir);
	return 0;
}

/* There are no more slots than the parent's own: the same. */
static int draw_without_slot(void *context)
{
	struct going_on *on = context;

	CHILD_CHECK(weir_acquire(on->endpoint, 1, NULL) == WEIR_ADMIT);
	CHILD_CHECK(on->weir->current->slot == MEMBER_NONE);
	CHILD_CHECK(on->rejoins == 1 && on->code == WEIR_EMEMBERS);
	return 0;
}

static void see_rejoins(void *context, const struct weir_event *event)
{
	struct going_on *on = context;

	if (event->kind == WEIR_EVENT_REJOIN) {
		on->rejoins++;
		on->code = event->code;
	}
}

static void test_forked_without_a_slot(void **state)
{
	static int (*const children[])(void *context) = {draw_without_descriptor,
							 draw_without_slot};
	struct segment_shape shape = scene_shape;
	struct going_on on = {.calls = 0};
	struct weir_options options;

	(void)state;
	shape.members = 1;
	scene_begin(&on.scene, &shape);
	options = scene_options(&on.scene.place);
	options.trace = see_rejoins;
	options.trace_context = &on;
	assert_int_equal(weir_open(&on.weir, &options), 0);
	on.endpoint = scene_endpoint(on.weir, "x");
	for (int i = 0; i < 2; i++) {
		failed = false;
		/* the second call in the child is the one by which the fork handler opens */
		passing = i == 0 ? 1 : -1;
		pid_t pid = scene_child(children[i], &on);
		passing = -1;
		assert_int_equal(scene_wait(pid), 0);
	}
	assert_int_equal(scene_drain(on.endpoint), 8);
	weir_endpoint_close(on.endpoint);
	weir_close(on.weir);
	scene_end(&on.scene);
}

/* Who cannot be asked about counts as alive. */
static void test_unknown_is_alive(void **state)
{
	struct scene scene;

	(void)state;
	scene_begin(&scene, &scene_shape);
	assert_false(members_alive(&scene.segment, 3));
	passing = 0;
	bool alive = members_alive(&scene.segment, 3);
	passing = -1;
	assert_true(alive);
	scene_end(&scene);
}

/* What cannot be asked is not trusted: the kernel's own clock is good everywhere. */
static void test_clock(void **state)
{
	enum clock_kind best = time_source_best();

	(void)state;
	assert_false(time_source_readable((enum clock_kind)77));
	/* the file that names the kernel's clock: opening it, and reading it */
	for (long calls = 0; best == CLOCK_KIND_TSC && calls < 2; calls++) {
		failed = false;
		passing = calls;
		enum clock_kind found = time_source_best();
		passing = -1;
		assert_true(failed);
		assert_int_equal(found, CLOCK_KIND_MONOTONIC);
	}
	assert_int_equal(time_source_best(), best);
}

/* The pair is replaced by one of the same shape; the old one is let go. */
static void replace(struct scene *scene)
{
	struct segment old = scene->segment;
	struct segment next;

	assert_int_equal(segment_create(&next, &scene->place, &scene_shape), 0);
	assert_int_equal(move_prepare(&old, &next, NULL), 0);
	assert_int_equal(segment_reveal(&next, &scene->place), 0);
	move_retire(&old);
	assert_int_equal(move_finish(&next, &old), 0);
	segment_forget_old(&scene->place);
	segment_detach(&old);
	scene->segment = next;
}

/*
 * A client whose pair was replaced goes on by the limits it knows until it can follow: with an
 * error now and then, but never with more than the limit.
 */
static void test_following(void **state)
{
	struct going_on on = {.calls = 0};
	unsigned granted = 0;
	unsigned faults = 0;

	(void)state;
	scene_begin(&on.scene, &scene_shape);
	scene_add(&on.scene.segment, ROW_EXACT, "x", 1, 1000);
	on.weir = scene_open(&on.scene.place);
	on.endpoint = scene_endpoint(on.weir, "x");
	assert_int_equal(weir_acquire(on.endpoint, 1, NULL), WEIR_ADMIT);
	granted++;
	do {
		replace(&on.scene);
		failed = false;
		passing = on.calls++;
		for (int i = 0; i < 3; i++) {
			struct weir_answer answer;

			granted += weir_acquire(on.endpoint, 1, &answer);
			faults += answer.fault != 0;
			on.weir->follow_after_ns = 0;
		}
		passing = -1;
		assert_int_equal(weir_acquire(on.endpoint, 1, NULL), WEIR_ADMIT);
		granted++;
		assert_true(on.calls < 200);
	} while (failed);

	struct weir_level level = {.size = sizeof(level)};

	assert_int_equal(weir_peek(on.endpoint, &level), 0);
	assert_near(level.level, 1000.0 - granted);
	print_message("following: %ld calls, %u faults\n", on.calls, faults);
	weir_endpoint_close(on.endpoint);
	weir_close(on.weir);
	scene_end(&on.scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_creating),
		cmocka_unit_test(test_lock),
		cmocka_unit_test(test_attaching),
		cmocka_unit_test(test_settings),
		cmocka_unit_test(test_forked_without_a_slot),
		cmocka_unit_test(test_clock),
		cmocka_unit_test(test_unknown_is_alive),
		cmocka_unit_test(test_forked),
		cmocka_unit_test(test_following),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
