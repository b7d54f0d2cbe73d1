/* SPDX-License-Identifier: Apache-2.0
 *
 * A handle made before a fork works in the child: with threads about, in grandchildren, after a
 * fork that ran no handlers, and without harm to the parent's membership.
 */
#include "segment_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "handle.h"

#define FORKS 200 /* WEIR_FORKS=N: so many */

static struct weir *host_of(const char *text)
{
	struct weir *weir = NULL;
	char message[500] = "";

	if (weir_host(&weir, text, WEIR_CLOCK_MANUAL, NULL, message, sizeof(message)) < 0)
		fail_msg("%s", message);
	return weir;
}

static uint32_t fork_count(void)
{
	const char *text = getenv("WEIR_FORKS");
	long count = text ? atol(text) : FORKS;

	return count > 0 && count < FORKS ? (uint32_t)count : FORKS;
}

static struct segment *segment_of(struct weir *weir)
{
	return &atomic_load(&weir->current)->segment;
}

static uint32_t slot_of(struct weir *weir)
{
	return atomic_load(&weir->current)->slot;
}

struct drawing {
	struct weir *weir;
	struct weir_endpoint *endpoint;
	uint64_t expect;
};

static int draw_all(void *context)
{
	struct drawing *drawing = context;

	CHILD_CHECK(scene_drain(drawing->endpoint) == drawing->expect);
	return 0;
}

/* Parent and child share one bucket, not one each. */
static void test_child_shares_the_limit(void **state)
{
	struct weir *weir = host_of("[default]\nrate = 10/s\nburst = 10\n");
	struct drawing drawing = {weir, scene_endpoint(weir, "x"), 7};

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(weir_acquire(drawing.endpoint, 1, NULL), WEIR_ADMIT);
	assert_int_equal(scene_wait(scene_child(draw_all, &drawing)), 0);
	assert_int_equal(weir_acquire(drawing.endpoint, 1, NULL), WEIR_REFUSE);
	weir_endpoint_close(drawing.endpoint);
	weir_close(weir);
}

static int child_may_not_publish(void *context)
{
	struct drawing *drawing = context;

	CHILD_CHECK(weir_update(drawing->weir, "x", "1/s", NULL, WEIR_KEEP_USED) == WEIR_EHOST);
	CHILD_CHECK(weir_reset(drawing->weir, "x") == WEIR_EHOST);
	CHILD_CHECK(segment_of(drawing->weir)->publisher == NULL);
	CHILD_CHECK(weir_acquire(drawing->endpoint, 1, NULL) == WEIR_ADMIT);
	/* nor by force: its pages are read-only */
	*(volatile char *)(uintptr_t)segment_of(drawing->weir)->rules = 0;
	return 0;
}

static void test_only_the_host_changes(void **state)
{
	struct weir *weir = host_of("[default]\nrate = 10/s\nburst = 10\n");
	struct drawing drawing = {weir, scene_endpoint(weir, "x"), 0};

	(void)state;
	assert_int_equal(scene_wait(scene_child(child_may_not_publish, &drawing)), 256 + SIGSEGV);
	assert_int_equal(weir_update(weir, "x", "20/s", "20", WEIR_KEEP_USED), 0);
	weir_endpoint_close(drawing.endpoint);
	weir_close(weir);
}

static int close_unused(void *context)
{
	struct drawing *drawing = context;

	weir_endpoint_close(drawing->endpoint);
	weir_close(drawing->weir);
	return 0;
}

static int close_used(void *context)
{
	struct drawing *drawing = context;

	CHILD_CHECK(weir_acquire(drawing->endpoint, 1, NULL) == WEIR_ADMIT);
	return close_unused(context);
}

/* Closing in a child, whether or not it used the handle, spares the parent's slot. */
static void test_closing_in_a_child(void **state)
{
	int (*const bodies[])(void *) = {close_unused, close_used};
	struct weir *weir = host_of("[default]\nrate = 10/s\nburst = 10\n");
	struct drawing drawing = {weir, scene_endpoint(weir, "x"), 0};
	struct member_info before;
	struct member_info after;

	(void)state;
	members_look(segment_of(weir), slot_of(weir), &before);
	assert_int_equal(before.pid, getpid());
	for (int i = 0; i < 2; i++) {
		assert_int_equal(scene_wait(scene_child(bodies[i], &drawing)), 0);
		members_look(segment_of(weir), slot_of(weir), &after);
		assert_int_equal(after.pid, before.pid);
		assert_int_equal(after.generation, before.generation);
	}
	assert_int_equal(weir_acquire(drawing.endpoint, 1, NULL), WEIR_ADMIT);
	weir_endpoint_close(drawing.endpoint);
	weir_close(weir);
}

static int fork_again(void *context)
{
	struct drawing *drawing = context;

	CHILD_CHECK(weir_acquire(drawing->endpoint, 1, NULL) == WEIR_ADMIT);
	uint32_t own = slot_of(drawing->weir);

	pid_t pid = fork();

	CHILD_CHECK(pid >= 0);
	if (pid == 0) {
		CHILD_CHECK(weir_acquire(drawing->endpoint, 1, NULL) == WEIR_ADMIT);
		CHILD_CHECK(slot_of(drawing->weir) != own);
		_exit(0);
	}
	CHILD_CHECK(scene_wait(pid) == 0);
	CHILD_CHECK(slot_of(drawing->weir) == own);
	return 0;
}

static void test_grandchildren(void **state)
{
	struct weir *weir = host_of("[default]\nrate = 10/s\nburst = 10\n");
	struct drawing drawing = {weir, scene_endpoint(weir, "x"), 0};

	(void)state;
	assert_int_equal(scene_wait(scene_child(fork_again, &drawing)), 0);
	assert_int_equal(scene_drain(drawing.endpoint), 8);
	weir_endpoint_close(drawing.endpoint);
	weir_close(weir);
}

/* Emulators of user programs say yes to MADV_WIPEONFORK, and do nothing. */
static bool pages_are_wiped(void)
{
	unsigned char *page =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(page != MAP_FAILED);
	assert_int_equal(madvise(page, 4096, MADV_WIPEONFORK), 0);
	*page = 1;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(*page);
	int status = scene_wait(pid);

	munmap(page, 4096);
	return status == 0;
}

/* clone(2) by hand runs no fork handlers; the wiped page tells all the same. */
static void test_fork_without_handlers(void **state)
{
	if (!pages_are_wiped()) {
		print_message("SKIPPED: pages are not wiped on fork here (an emulator?)\n");
		skip();
	}

	struct weir *weir = host_of("[default]\nrate = 10/s\nburst = 10\n");
	struct weir_endpoint *endpoint = scene_endpoint(weir, "x");
	uint32_t own = slot_of(weir);
	long pid;

	(void)state;
	fflush(NULL);
	pid = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
	assert_true(pid >= 0);
	if (pid == 0) {
		if (weir_acquire(endpoint, 1, NULL) != WEIR_ADMIT || slot_of(weir) == own)
			_exit(1);
		_exit(0);
	}
	assert_int_equal(scene_wait((pid_t)pid), 0);
	assert_int_equal(slot_of(weir), own);
	assert_int_equal(scene_drain(endpoint), 9);
	weir_endpoint_close(endpoint);
	weir_close(weir);
}

/* ---- with threads about ---- */

struct worker {
	struct weir *weir;
	_Atomic uint32_t stop;
	_Atomic uint64_t admitted;
	_Atomic uint32_t failed;
};

/* Calls hot and cold paths without a pause, so that forks find the mutex held. */
static void *work(void *context)
{
	struct worker *worker = context;

	while (!atomic_load(&worker->stop)) {
		struct weir_endpoint *endpoint = scene_endpoint(worker->weir, "busy");

		if (!endpoint) {
			atomic_store(&worker->failed, 1);
			break;
		}
		for (int i = 0; i < 20; i++)
			if (weir_acquire(endpoint, 1, NULL) == WEIR_ADMIT)
				atomic_fetch_add(&worker->admitted, 1);
		weir_endpoint_close(endpoint);
	}
	return NULL;
}

struct forking {
	struct weir *weir;
	_Atomic uint64_t *admitted; /* shared by all children */
};

static int child_of_threads(void *context)
{
	struct forking *forking = context;
	struct weir_endpoint *endpoint = scene_endpoint(forking->weir, "busy");

	CHILD_CHECK(endpoint);
	for (int i = 0; i < 10; i++)
		if (weir_acquire(endpoint, 1, NULL) == WEIR_ADMIT)
			atomic_fetch_add(forking->admitted, 1);
	CHILD_CHECK(slot_of(forking->weir) != MEMBER_NONE);
	weir_endpoint_close(endpoint);
	weir_close(forking->weir);
	return 0;
}

static void test_threads_about(void **state)
{
	struct weir *weir = host_of("[default]\nrate = 10/s\nburst = 100M\n");
	_Atomic uint64_t *admitted = scene_shared(sizeof(*admitted));
	const uint32_t forks = fork_count();
	struct worker worker = {.weir = weir};
	struct forking forking = {weir, admitted};
	struct weir_level level = {.size = sizeof(level)};
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, work, &worker), 0);
	for (uint32_t i = 0; i < forks; i++)
		assert_int_equal(scene_wait(scene_child(child_of_threads, &forking)), 0);
	atomic_store(&worker.stop, 1);
	pthread_join(thread, NULL);
	assert_int_equal(atomic_load(&worker.failed), 0);
	assert_int_equal(atomic_load(admitted), forks * 10);

	struct weir_endpoint *endpoint = scene_endpoint(weir, "busy");

	assert_int_equal(weir_peek(endpoint, &level), 0);
	assert_int_equal(level.granted, atomic_load(&worker.admitted) + forks * 10);
	print_message("%u forks, %llu calls beside them\n", forks,
		      (unsigned long long)atomic_load(&worker.admitted));
	weir_endpoint_close(endpoint);
	weir_close(weir);
	munmap((void *)admitted, sizeof(*admitted));
}

/* ---- a thread that opens while another forks ---- */

#define OPENINGS 50 /* ThreadSanitizer follows at most 64 mutexes that are held at once */

struct opening {
	const struct place *place;
	_Atomic uint32_t opened;
	_Atomic uint32_t lingering;
	_Atomic uint32_t over;
	_Atomic uint32_t pids[FORKS];
};

static void *open_many(void *context)
{
	struct opening *opening = context;

	for (int i = 0; i < OPENINGS; i++) {
		CHILD_CHECK(scene_open(opening->place));
		atomic_fetch_add(&opening->opened, 1);
	}
	return NULL;
}

/* Opens in one thread, forks children that outlive it in the other, and ends without closing. */
static int opener(void *context)
{
	struct opening *opening = context;
	const uint32_t most = fork_count();
	pthread_t thread;
	uint32_t forks = 0;

	CHILD_CHECK(pthread_create(&thread, NULL, open_many, opening) == 0);
	while (forks < most && atomic_load(&opening->opened) < OPENINGS) {
		pid_t pid = fork();

		CHILD_CHECK(pid >= 0);
		if (pid == 0) { /* bounded by the patience */
			atomic_fetch_add(&opening->lingering, 1);
			_exit(scene_until(&opening->over, 1) ? 0 : 1);
		}
		atomic_store(&opening->pids[forks++], (uint32_t)pid);
	}
	CHILD_CHECK(pthread_join(thread, NULL) == 0);
	CHILD_CHECK(scene_until(&opening->lingering, forks));
	return 0;
}

/* A child that was forked in the middle of an opening must not keep the opener's slot alive. */
static void test_fork_during_open(void **state)
{
	struct segment_shape shape = scene_shape;
	struct opening *opening = scene_shared(sizeof(*opening));
	struct scene scene;
	unsigned alive = 0;

	(void)state;
	/* an emulator may not let it adopt its grandchildren; they end all the same */
	bool adopts = prctl(PR_SET_CHILD_SUBREAPER, 1) == 0;

	shape.members = OPENINGS + 1;
	scene_begin(&scene, &shape);
	opening->place = &scene.place;
	assert_int_equal(scene_wait(scene_child(opener, opening)), 0);
	for (uint32_t i = 0; i < scene.segment.member_count; i++)
		alive += members_alive(&scene.segment, i);
	atomic_store(&opening->over, 1);
	print_message("%d openings, %u forks beside them\n", OPENINGS,
		      (unsigned)atomic_load(&opening->lingering));
	for (uint32_t i = 0; adopts && i < atomic_load(&opening->lingering); i++)
		assert_int_equal(scene_wait((pid_t)atomic_load(&opening->pids[i])), 0);
	assert_int_equal(alive, 0);
	munmap(opening, sizeof(*opening));
	scene_end(&scene);
}

static int draw_with_another_file(void *context)
{
	struct drawing *drawing = context;
	int fd = (int)drawing->expect;

	/* it is whole in the child as well, and no lock was taken on it */
	CHILD_CHECK(fcntl(fd, F_GETFD) >= 0);
	CHILD_CHECK(write(fd, "x", 1) == 1);
	CHILD_CHECK(weir_acquire(drawing->endpoint, 1, NULL) == WEIR_ADMIT);
	CHILD_CHECK(fcntl(fd, F_GETFD) >= 0);
	CHILD_CHECK(slot_of(drawing->weir) == MEMBER_NONE);
	return 0;
}

/*
 * A program that becomes a daemon closes all it has open, and other files get the numbers. Those
 * are let alone, and so is the slot, which is another process's by then; the limits hold.
 */
static void test_program_closes_all_descriptors(void **state)
{
	struct weir *weir = host_of("[default]\nrate = 10/s\nburst = 10\n");
	struct drawing drawing = {weir, scene_endpoint(weir, "x"), 0};
	struct segment other = *segment_of(weir);
	uint32_t slot = slot_of(weir);
	int fd = other.state_fd;
	int file = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	struct member_info info;
	char path[64];

	(void)state;
	assert_true(file >= 0);
	/* somebody else's way to the same object */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	other.state_fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(other.state_fd >= 0);
	assert_int_equal(dup2(file, fd), fd);
	close(file);
	assert_true(members_reap(&other, slot));
	assert_int_equal(members_join(&other), slot);

	drawing.expect = (uint64_t)fd;
	assert_int_equal(scene_wait(scene_child(draw_with_another_file, &drawing)), 0);
	assert_int_equal(weir_acquire(drawing.endpoint, 1, NULL), WEIR_ADMIT);
	weir_endpoint_close(drawing.endpoint);
	/* the handle's mapping goes away with it */
	void *mapped = mmap(NULL, other.state_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
			    other.state_fd, 0);

	assert_ptr_not_equal(mapped, MAP_FAILED);
	other.members = (struct member_row *)((char *)mapped +
					      ((char *)other.members - (char *)other.state));
	weir_close(weir);
	assert_true(fcntl(fd, F_GETFD) >= 0);
	members_look(&other, slot, &info);
	assert_int_equal(info.pid, getpid());
	munmap(mapped, other.state_bytes);
	close(other.state_fd);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_child_shares_the_limit),
		cmocka_unit_test(test_only_the_host_changes),
		cmocka_unit_test(test_closing_in_a_child),
		cmocka_unit_test(test_grandchildren),
		cmocka_unit_test(test_fork_without_handlers),
		cmocka_unit_test(test_threads_about),
		cmocka_unit_test(test_fork_during_open),
		cmocka_unit_test(test_program_closes_all_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
