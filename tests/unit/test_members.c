/* SPDX-License-Identifier: Apache-2.0
 *
 * Members: a slot lives exactly as long as its process, whatever that process inherits, forks or
 * executes, and however it ends.
 */
#include "segment_fixture.h"

#include <poll.h>
#include <spawn.h>

#include "handle.h"

#define CROWD 64

extern char **environ;

/* A pair with a publisher who looks and reaps through a description of its own. */
static void members_begin(struct scene *scene, uint32_t members)
{
	struct segment_shape shape = scene_shape;

	shape.members = members;
	scene_begin(scene, &shape);
}

static unsigned marked(const struct segment *segment)
{
	struct member_info info;
	unsigned count = 0;

	for (uint32_t i = 0; i < segment->member_count; i++) {
		members_look(segment, i, &info);
		count += info.pid != 0;
	}
	return count;
}

/* The slot whose words name that pid, or MEMBER_NONE. */
static uint32_t slot_of(const struct segment *segment, pid_t pid)
{
	struct member_info info;

	for (uint32_t i = 0; i < segment->member_count; i++) {
		members_look(segment, i, &info);
		if (info.pid == (uint32_t)pid)
			return i;
	}
	return MEMBER_NONE;
}

static unsigned reap_all(struct segment *segment)
{
	unsigned reaped = 0;

	for (uint32_t i = 0; i < segment->member_count; i++)
		reaped += members_reap(segment, i);
	return reaped;
}

/* Attached as a client, for members_join() by itself. */
static int attach(const struct scene *scene, struct segment *out)
{
	return segment_attach(out, &scene->place, SEGMENT_USE, (uid_t)-1);
}

static void test_join_and_leave(void **state)
{
	struct scene scene;
	struct segment other;
	struct member_info info;

	(void)state;
	members_begin(&scene, 4);
	assert_int_equal(attach(&scene, &other), 0);
	assert_int_equal(members_join(&other), 0);
	members_look(&scene.segment, 0, &info);
	assert_int_equal(info.pid, getpid());
	assert_int_equal(info.uid, getuid());
	assert_int_equal(info.generation, 1);
	assert_true(info.start_ticks > 0);
	assert_true(info.joined_ns > 0);
	assert_memory_equal(info.program, program_invocation_short_name,
			    strnlen(program_invocation_short_name, LAYOUT_PROGRAM_BYTES - 1));
	assert_true(members_alive(&scene.segment, 0));
	assert_false(members_alive(&scene.segment, 1));
	assert_false(members_reap(&scene.segment, 0));

	members_leave(&other, 0);
	members_look(&scene.segment, 0, &info);
	assert_int_equal(info.pid, 0);
	assert_int_equal(info.generation, 2);
	assert_false(members_alive(&scene.segment, 0));
	assert_false(members_reap(&scene.segment, 0));
	members_leave(&other, 4); /* no such slot: nothing */
	members_leave(&other, MEMBER_NONE);
	assert_int_equal(members_join(&other), 0);
	segment_detach(&other); /* closing alone frees the slot as well */
	assert_false(members_alive(&scene.segment, 0));
	assert_true(members_reap(&scene.segment, 0));
	scene_end(&scene);
}

static void test_table_full(void **state)
{
	struct scene scene;
	struct segment others[5];
	struct weir *weir = NULL;

	(void)state;
	members_begin(&scene, 4);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(attach(&scene, &others[i]), 0);
		assert_int_equal(members_join(&others[i]), i < 4 ? i : WEIR_EMEMBERS);
	}

	struct weir_options options = scene_options(&scene.place);

	assert_int_equal(weir_open(&weir, &options), WEIR_EMEMBERS);
	assert_null(weir);
	assert_non_null(strstr(weir_strerror(WEIR_EMEMBERS), "`members`"));
	/* who died without leaving makes room without being reaped first */
	segment_detach(&others[2]);
	assert_int_equal(marked(&scene.segment), 4);
	assert_int_equal(members_join(&others[4]), 2);
	for (int i = 0; i < 5; i++)
		if (i != 2)
			segment_detach(&others[i]);
	scene_end(&scene);
}

/* ---- processes ---- */

struct actors {
	const struct place *place;
	_Atomic uint32_t joined;
	_Atomic uint32_t leave;
	_Atomic uint32_t child_pid;
	_Atomic uint32_t slots[CROWD];
	_Atomic uint32_t next;
};

static struct actors *actors_new(const struct scene *scene)
{
	struct actors *actors = scene_shared(sizeof(*actors));

	actors->place = &scene->place;
	return actors;
}

static int actor_stay(void *context)
{
	struct actors *actors = context;
	struct weir *weir = scene_open(actors->place);

	CHILD_CHECK(weir);
	atomic_fetch_add(&actors->joined, 1);
	CHILD_CHECK(scene_until(&actors->leave, 1));
	weir_close(weir);
	return 0;
}

static void test_kill_frees(void **state)
{
	struct scene scene;

	(void)state;
	members_begin(&scene, 8);
	struct actors *actors = actors_new(&scene);
	pid_t pid = scene_child(actor_stay, actors);

	assert_true(scene_until(&actors->joined, 1));
	uint32_t slot = slot_of(&scene.segment, pid);

	assert_true(slot < 8 && members_alive(&scene.segment, slot));
	scene_kill(pid);
	assert_false(members_alive(&scene.segment, slot));
	assert_int_equal(reap_all(&scene.segment), 1);
	assert_int_equal(reap_all(&scene.segment), 0);
	assert_int_equal(marked(&scene.segment), 0);
	munmap(actors, sizeof(*actors));
	scene_end(&scene);
}

static void test_clean_end_leaves_nothing(void **state)
{
	struct scene scene;

	(void)state;
	members_begin(&scene, 8);
	struct actors *actors = actors_new(&scene);
	pid_t pid = scene_child(actor_stay, actors);

	assert_true(scene_until(&actors->joined, 1));
	atomic_store(&actors->leave, 1);
	assert_int_equal(scene_wait(pid), 0);
	assert_int_equal(marked(&scene.segment), 0);
	munmap(actors, sizeof(*actors));
	scene_end(&scene);
}

/* Stopped is not dead. */
static void test_stopped_is_alive(void **state)
{
	struct scene scene;
	int status;

	(void)state;
	members_begin(&scene, 8);
	struct actors *actors = actors_new(&scene);
	pid_t pid = scene_child(actor_stay, actors);

	assert_true(scene_until(&actors->joined, 1));
	kill(pid, SIGSTOP);
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	assert_true(WIFSTOPPED(status));
	assert_true(members_alive(&scene.segment, slot_of(&scene.segment, pid)));
	assert_int_equal(reap_all(&scene.segment), 0);
	kill(pid, SIGCONT);
	atomic_store(&actors->leave, 1);
	assert_int_equal(scene_wait(pid), 0);
	munmap(actors, sizeof(*actors));
	scene_end(&scene);
}

/* Opens, forks a child that stays (and never calls weir), and says its pid. */
static int actor_forks(void *context)
{
	struct actors *actors = context;
	struct weir *weir = scene_open(actors->place);

	CHILD_CHECK(weir);

	pid_t pid = fork();

	CHILD_CHECK(pid >= 0);
	if (pid == 0) { /* not PDEATHSIG: it has to outlive its parent; bounded by the patience */
		atomic_fetch_add(&actors->joined, 1);
		_exit(scene_until(&actors->leave, 1) ? 0 : 1);
	}
	atomic_store(&actors->child_pid, (uint32_t)pid);
	atomic_fetch_add(&actors->joined, 1);
	CHILD_CHECK(scene_until(&actors->leave, 2));
	return 0;
}

/* Waits for a process that is not a child of this one. */
static void wait_for_stranger(pid_t pid)
{
	for (unsigned ms = 0; ms < SCENE_PATIENCE_MS && kill(pid, 0) == 0; ms++) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return;
		scene_sleep_ms(1);
	}
}

/* The description that a child inherits must not keep its dead parent's slot alive. */
static void test_parent_dies_before_child(void **state)
{
	struct scene scene;

	(void)state;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	members_begin(&scene, 8);
	struct actors *actors = actors_new(&scene);
	pid_t pid = scene_child(actor_forks, actors);

	assert_true(scene_until(&actors->joined, 2));
	pid_t child = (pid_t)atomic_load(&actors->child_pid);
	uint32_t slot = slot_of(&scene.segment, pid);

	assert_true(slot < 8 && members_alive(&scene.segment, slot));
	scene_kill(pid);
	assert_int_equal(kill(child, 0), 0);
	assert_false(members_alive(&scene.segment, slot));
	assert_int_equal(reap_all(&scene.segment), 1);
	atomic_store(&actors->leave, 1);
	wait_for_stranger(child);
	munmap(actors, sizeof(*actors));
	scene_end(&scene);
}

/* A forked child gets a slot of its own at its first call, and the parent keeps the old one. */
static int actor_forks_and_draws(void *context)
{
	struct actors *actors = context;
	struct weir *weir = scene_open(actors->place);
	struct weir_endpoint *endpoint = scene_endpoint(weir, "x");

	CHILD_CHECK(endpoint);

	pid_t pid = fork();

	CHILD_CHECK(pid >= 0);
	if (pid == 0) {
		CHILD_CHECK(weir_acquire(endpoint, 1, NULL) == WEIR_ADMIT);
		atomic_fetch_add(&actors->joined, 1);
		_exit(scene_until(&actors->leave, 1) ? 0 : 1);
	}
	atomic_store(&actors->child_pid, (uint32_t)pid);
	atomic_fetch_add(&actors->joined, 1);
	CHILD_CHECK(scene_wait(pid) == 0);
	CHILD_CHECK(weir_acquire(endpoint, 1, NULL) == WEIR_ADMIT);
	CHILD_CHECK(scene_until(&actors->leave, 2));
	weir_endpoint_close(endpoint);
	weir_close(weir);
	return 0;
}

static void test_child_gets_its_own(void **state)
{
	struct scene scene;

	(void)state;
	members_begin(&scene, 8);
	struct actors *actors = actors_new(&scene);
	pid_t pid = scene_child(actor_forks_and_draws, actors);

	assert_true(scene_until(&actors->joined, 2));
	uint32_t parent = slot_of(&scene.segment, pid);
	uint32_t child = slot_of(&scene.segment, (pid_t)atomic_load(&actors->child_pid));

	assert_true(parent < 8 && child < 8 && parent != child);
	assert_true(members_alive(&scene.segment, parent));
	assert_true(members_alive(&scene.segment, child));
	atomic_store(&actors->leave, 1);
	/* the child is over, as its parent found: only the parent is left */
	for (unsigned ms = 0; ms < SCENE_PATIENCE_MS && members_alive(&scene.segment, child); ms++)
		scene_sleep_ms(1);
	assert_false(members_alive(&scene.segment, child));
	assert_true(members_alive(&scene.segment, parent));
	assert_int_equal(reap_all(&scene.segment), 1);
	atomic_store(&actors->leave, 2);
	assert_int_equal(scene_wait(pid), 0);
	assert_int_equal(marked(&scene.segment), 0);
	munmap(actors, sizeof(*actors));
	scene_end(&scene);
}

/* What a member executes holds nothing of its slot: neither by posix_spawn nor by fork and exec. */
static int actor_spawns(void *context)
{
	struct actors *actors = context;
	struct weir *weir = scene_open(actors->place);
	char *const arguments[] = {(char *)"sleep", (char *)"60", NULL};
	pid_t spawned;

	CHILD_CHECK(weir);
	CHILD_CHECK(posix_spawn(&spawned, "/bin/sleep", NULL, NULL, arguments, environ) == 0);
	atomic_store(&actors->child_pid, (uint32_t)spawned);

	pid_t forked = fork();

	CHILD_CHECK(forked >= 0);
	if (forked == 0) {
		execv("/bin/sleep", arguments);
		_exit(127);
	}
	atomic_store(&actors->slots[0], (uint32_t)forked);
	atomic_fetch_add(&actors->joined, 1);
	CHILD_CHECK(scene_until(&actors->leave, 1));
	return 0;
}

static bool has_executed(pid_t pid)
{
	char path[64];
	char name[32] = "";

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	FILE *file = fopen(path, "re");

	if (!file)
		return false;
	bool read = fgets(name, sizeof(name), file) && strcmp(name, "sleep\n") == 0;
	fclose(file);
	return read;
}

static void test_executed_holds_nothing(void **state)
{
	struct scene scene;

	(void)state;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	members_begin(&scene, 8);
	struct actors *actors = actors_new(&scene);
	pid_t pid = scene_child(actor_spawns, actors);

	assert_true(scene_until(&actors->joined, 1));
	pid_t programs[] = {(pid_t)atomic_load(&actors->child_pid),
			    (pid_t)atomic_load(&actors->slots[0])};
	uint32_t slot = slot_of(&scene.segment, pid);

	for (int i = 0; i < 2; i++) {
		for (unsigned ms = 0; ms < SCENE_PATIENCE_MS && !has_executed(programs[i]); ms++)
			scene_sleep_ms(1);
		assert_true(has_executed(programs[i]));
	}
	assert_true(slot < 8 && members_alive(&scene.segment, slot));
	scene_kill(pid);
	assert_false(members_alive(&scene.segment, slot));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(kill(programs[i], SIGKILL), 0);
		wait_for_stranger(programs[i]);
	}
	assert_int_equal(reap_all(&scene.segment), 1);
	munmap(actors, sizeof(*actors));
	scene_end(&scene);
}

/* ---- many at once ---- */

static int actor_in_crowd(void *context)
{
	struct actors *actors = context;
	struct segment segment;

	atomic_fetch_add(&actors->joined, 1);
	while (!atomic_load(&actors->leave))
		scene_sleep_ms(1);
	CHILD_CHECK(segment_attach(&segment, actors->place, SEGMENT_USE, (uid_t)-1) == 0);

	int64_t slot = members_join(&segment);

	CHILD_CHECK(slot >= 0 && slot < CROWD);
	atomic_fetch_add(&actors->slots[slot], 1);
	atomic_fetch_add(&actors->next, 1);
	CHILD_CHECK(scene_until(&actors->leave, 2));
	return 0; /* without leaving */
}

static void test_crowd_joins(void **state)
{
	struct scene scene;
	pid_t pids[CROWD];

	(void)state;
	members_begin(&scene, CROWD);
	struct actors *actors = actors_new(&scene);

	for (int i = 0; i < CROWD; i++)
		pids[i] = scene_child(actor_in_crowd, actors);
	assert_true(scene_until(&actors->joined, CROWD));
	atomic_store(&actors->leave, 1);
	assert_true(scene_until(&actors->next, CROWD));
	for (uint32_t i = 0; i < CROWD; i++) {
		assert_int_equal(atomic_load(&actors->slots[i]), 1);
		assert_true(members_alive(&scene.segment, i));
	}
	assert_int_equal(reap_all(&scene.segment), 0);
	atomic_store(&actors->leave, 2);
	for (int i = 0; i < CROWD; i++)
		assert_int_equal(scene_wait(pids[i]), 0);
	assert_int_equal(reap_all(&scene.segment), CROWD);
	munmap(actors, sizeof(*actors));
	scene_end(&scene);
}

/* Two handles of one process on one segment are two members, and closing one spares the other. */
static void test_two_handles(void **state)
{
	struct scene scene;

	(void)state;
	members_begin(&scene, 4);
	struct weir *first = scene_open(&scene.place);
	struct weir *second = scene_open(&scene.place);

	assert_non_null(first);
	assert_non_null(second);
	assert_int_equal(marked(&scene.segment), 2);
	weir_close(second);
	assert_int_equal(marked(&scene.segment), 1);
	assert_true(members_alive(&scene.segment, 0));
	weir_close(first);
	assert_int_equal(marked(&scene.segment), 0);
	scene_end(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_join_and_leave),
		cmocka_unit_test(test_table_full),
		cmocka_unit_test(test_kill_frees),
		cmocka_unit_test(test_clean_end_leaves_nothing),
		cmocka_unit_test(test_stopped_is_alive),
		cmocka_unit_test(test_parent_dies_before_child),
		cmocka_unit_test(test_child_gets_its_own),
		cmocka_unit_test(test_executed_holds_nothing),
		cmocka_unit_test(test_crowd_joins),
		cmocka_unit_test(test_two_handles),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
