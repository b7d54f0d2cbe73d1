/* SPDX-License-Identifier: Apache-2.0
 *
 * Containers: processes in other mount, pid and time namespaces share an instance through a folder
 * that all of them mount. Needs the right to make namespaces; says so where there is none.
 */
#include "segment_fixture.h"

#include <sched.h>
#include <sys/mount.h>

#include "members.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

enum {
	DENIED = 77, /* a child's exit status */
	BURST = 10,
	AHEAD_S = 100000, /* of a time namespace */
};

/* What the two containers tell each other. */
struct talk {
	_Atomic uint32_t attached;
	_Atomic uint32_t drawn;
	_Atomic uint32_t leave;
};

struct guest {
	struct scene scene;
	char dir[64]; /* where the guest mounts the folder */
	struct talk *talk;
};

static bool skipped(int status, const char *what)
{
	if (status != DENIED)
		return false;
	printf("skipped: %s: this process may not make namespaces, or its root is no mount\n",
	       what);
	return true;
}

/* The folder under another name, in a mount namespace where its own name is gone. */
static void move_folder(const struct guest *guest)
{
	if (mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0) {
		CHILD_CHECK(errno == EINVAL); /* a chroot */
		_exit(DENIED);
	}
	CHILD_CHECK(mount(guest->scene.place.dir, guest->dir, "none", MS_BIND, NULL) == 0);
	CHILD_CHECK(mount("none", guest->scene.place.dir, "tmpfs", 0, NULL) == 0);
}

/* The first process of a pid namespace. */
static int live_in_container(void *context)
{
	struct guest *guest = context;
	struct weir_options options = WEIR_OPTIONS_INIT;
	struct weir_endpoint *api;
	struct weir *weir;

	options.name = guest->scene.place.name;
	options.shm_dir = guest->scene.place.dir;
	CHILD_CHECK(getpid() == 1);
	CHILD_CHECK(weir_open(&weir, &options) == WEIR_EABSENT);
	options.shm_dir = guest->dir;
	CHILD_CHECK(weir_open(&weir, &options) == 0);
	api = scene_endpoint(weir, "api");
	CHILD_CHECK(api && weir_acquire(api, 4, NULL) == WEIR_ADMIT);
	atomic_store(&guest->talk->attached, 1);
	CHILD_CHECK(scene_until(&guest->talk->drawn, 1));
	CHILD_CHECK(weir_acquire(api, 1, NULL) == WEIR_REFUSE);
	atomic_store(&guest->talk->attached, 2);
	CHILD_CHECK(scene_until(&guest->talk->leave, 1));
	return 0; /* without a farewell */
}

static int run_container(void *context)
{
	struct guest *guest = context;

	if (unshare(CLONE_NEWNS | CLONE_NEWPID) < 0)
		return DENIED;
	move_folder(guest);

	/* not scene_child(): it looks who its parent is, who is nobody in another namespace */
	pid_t child = fork();

	CHILD_CHECK(child >= 0);
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(live_in_container(guest));
	}
	return scene_wait(child);
}

static unsigned reap(struct segment *segment)
{
	unsigned reaped = 0;

	for (uint32_t slot = 0; slot < segment->member_count; slot++)
		reaped += members_reap(segment, slot);
	return reaped;
}

static bool has_ended(pid_t pid)
{
	siginfo_t info = {0};

	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT), 0);
	return info.si_pid == pid;
}

static void test_two_containers(void **state)
{
	struct guest guest = {.dir = "/tmp/weir-guest-XXXXXX"};
	struct weir_endpoint *api;
	struct weir *weir;
	int status;
	pid_t pid;

	(void)state;
	guest.talk = scene_shared(sizeof(*guest.talk));
	scene_begin(&guest.scene, &scene_shape);
	assert_non_null(mkdtemp(guest.dir));
	weir = scene_open(&guest.scene.place);
	api = scene_endpoint(weir, "api");
	pid = scene_child(run_container, &guest);
	while (!atomic_load(&guest.talk->attached) && !has_ended(pid))
		scene_sleep_ms(1);
	if (atomic_load(&guest.talk->attached)) {
		/* its pid, 1, means somebody else here; its lock is what says that it lives */
		assert_int_equal(scene_drain(api), BURST - 4);
		assert_int_equal(reap(&guest.scene.segment), 0);
		atomic_store(&guest.talk->drawn, 1);
		assert_true(scene_until(&guest.talk->attached, 2));
		atomic_store(&guest.talk->leave, 1);
	}
	status = scene_wait(pid);
	if (!skipped(status, "two containers")) {
		assert_int_equal(status, 0);
		assert_int_equal(reap(&guest.scene.segment), 1);
	}
	weir_endpoint_close(api);
	weir_close(weir);
	rmdir(guest.dir);
	scene_end(&guest.scene);
	munmap(guest.talk, sizeof(*guest.talk));
}

/* ---- another time namespace, whose CLOCK_MONOTONIC is a day and more ahead ---- */

static int attach_on_monotonic(void *context)
{
	struct scene *scene = context;
	struct weir_options options = scene_options(&scene->place);
	struct weir *weir;

	CHILD_CHECK(weir_open(&weir, &options) == WEIR_ETIMENS);
	return 0;
}

/* The TSC is the same for all. */
static int attach_on_tsc(void *context)
{
	struct scene *scene = context;
	struct weir *weir = scene_open(&scene->place);
	struct weir_endpoint *api = scene_endpoint(weir, "api");

	CHILD_CHECK(api && scene_drain(api) == BURST - 4);
	return 0;
}

static int (*const attach_on[])(void *) = {
	[CLOCK_KIND_MONOTONIC] = attach_on_monotonic,
	[CLOCK_KIND_TSC] = attach_on_tsc,
};

struct traveller {
	struct scene scene;
	enum clock_kind clock;
};

static int travel(void *context)
{
	struct traveller *traveller = context;
	struct timespec here, there;
	char offset[32];
	int fd;

	clock_gettime(CLOCK_MONOTONIC, &here);
	if (unshare(CLONE_NEWTIME) < 0)
		return DENIED;
	fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
	snprintf(offset, sizeof(offset), "monotonic %d 0\n", AHEAD_S);
	if (fd < 0 || write(fd, offset, strlen(offset)) < 0)
		return DENIED;
	close(fd);

	/* it is the children who are there */
	pid_t child = fork();

	CHILD_CHECK(child >= 0);
	if (child == 0) {
		clock_gettime(CLOCK_MONOTONIC, &there);
		CHILD_CHECK(there.tv_sec >= here.tv_sec + AHEAD_S);
		_exit(attach_on[traveller->clock](&traveller->scene));
	}
	return scene_wait(child);
}

static void travel_on(enum clock_kind clock)
{
	struct traveller traveller = {.clock = clock};
	struct segment_shape shape = scene_shape;
	struct weir_endpoint *api;
	struct weir *weir;
	int status;

	shape.clock = clock;
	scene_begin(&traveller.scene, &shape);
	/* nothing comes back while the test runs */
	scene_add(&traveller.scene.segment, ROW_EXACT, "api", 0, BURST);
	weir = scene_open(&traveller.scene.place);
	api = scene_endpoint(weir, "api");
	assert_int_equal(weir_acquire(api, 4, NULL), WEIR_ADMIT);
	status = scene_wait(scene_child(travel, &traveller));
	if (!skipped(status, "a time namespace"))
		assert_int_equal(status, 0);
	weir_endpoint_close(api);
	weir_close(weir);
	scene_end(&traveller.scene);
}

static void test_time_namespace_monotonic(void **state)
{
	(void)state;
	travel_on(CLOCK_KIND_MONOTONIC);
}

static void test_time_namespace_tsc(void **state)
{
	(void)state;
	if (time_source_best() != CLOCK_KIND_TSC)
		printf("skipped: a time namespace on the TSC: it is not trusted on this machine\n");
	else
		travel_on(CLOCK_KIND_TSC);
}

/* ---- a kernel that has taken the TSC for unsteady, and counts by something else ---- */

#define CLOCK_SOURCE "/sys/devices/system/clocksource/clocksource0/current_clocksource"

static bool say_clock_source(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");
	bool said = file && fputs(text, file) >= 0;

	return file && fclose(file) == 0 && said;
}

static int fall_back(void *context)
{
	const char *path = context;
	struct weir_endpoint *api;
	struct weir_answer answer;
	struct weir *weir;
	uint64_t before, now;

	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0 ||
	    !say_clock_source(path, "hpet\n") ||
	    mount(path, CLOCK_SOURCE, "none", MS_BIND, NULL) < 0)
		return DENIED;
	CHILD_CHECK(time_source_best() == CLOCK_KIND_MONOTONIC);
	CHILD_CHECK(weir_host(&weir, "[endpoint api]\nrate = 1/d\nburst = 2", WEIR_CLOCK_BEST, NULL,
			      NULL, 0) == 0);
	CHILD_CHECK(weir_endpoint(weir, "api", &api) == 0);
	before = time_source_kernel_ns(CLOCK_MONOTONIC);
	now = weir_clock_now(weir);
	CHILD_CHECK(now >= before && now <= time_source_kernel_ns(CLOCK_MONOTONIC));
	CHILD_CHECK(scene_drain(api) == 2);
	CHILD_CHECK(weir_acquire(api, 1, &answer) == WEIR_REFUSE);
	CHILD_CHECK(answer.wait_ns > 23 * 3600 * SCENE_SECOND);
	weir_endpoint_close(api);
	weir_close(weir);
	return 0;
}

static void test_unsteady_tsc(void **state)
{
	char path[] = "/tmp/weir-clock-XXXXXX";
	int fd = mkstemp(path);
	int status;

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	status = scene_wait(scene_child(fall_back, path));
	unlink(path);
	if (!skipped(status, "a kernel that does not trust the TSC"))
		assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_containers),
		cmocka_unit_test(test_time_namespace_monotonic),
		cmocka_unit_test(test_time_namespace_tsc),
		cmocka_unit_test(test_unsteady_tsc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
