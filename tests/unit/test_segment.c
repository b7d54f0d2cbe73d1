/* SPDX-License-Identifier: Apache-2.0
 *
 * The pair of objects: every named outcome of attaching, at every step of creation and of a
 * switch, full and read-only folders, and hostile bytes in every word.
 */
#include "segment_fixture.h"

#include <limits.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "bucket.h"
#include "gate.h"
#include "handle.h"
#include "lock.h"
#include "members.h"
#include "move.h"

#define NOBODY 65534

static int attach_as(const struct place *place, enum segment_mode mode)
{
	struct segment segment;
	int status = segment_attach(&segment, place, mode, (uid_t)-1);

	if (status == 0)
		segment_detach(&segment);
	return status;
}

static int attach(const struct place *place)
{
	return attach_as(place, SEGMENT_USE);
}

static void path_of(const struct place *place, const char *suffix, char out[PLACE_PATH_BYTES])
{
	place_path(place, suffix, out);
}

static void write_object(const struct place *place, const char *suffix, const void *bytes,
			 size_t count)
{
	char path[PLACE_PATH_BYTES];

	path_of(place, suffix, path);
	unlink(path);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, count), count);
	close(fd);
}

static void rename_object(const struct place *place, const char *from, const char *to)
{
	char from_path[PLACE_PATH_BYTES];
	char to_path[PLACE_PATH_BYTES];

	path_of(place, from, from_path);
	path_of(place, to, to_path);
	assert_int_equal(rename(from_path, to_path), 0);
}

static void remove_object(const struct place *place, const char *suffix)
{
	char path[PLACE_PATH_BYTES];

	path_of(place, suffix, path);
	assert_int_equal(unlink(path), 0);
}

static bool object_exists(const struct place *place, const char *suffix)
{
	char path[PLACE_PATH_BYTES];
	struct stat found;

	path_of(place, suffix, path);
	return lstat(path, &found) == 0;
}

/* ---- the size promised ---- */

static void test_size(void **state)
{
	const struct segment_shape shape = {
		.rows = 1024, .names = 1024, .members = 256, .permits = 1024, .waiters = 1024};
	uint64_t bytes = segment_rules_bytes(&shape) + segment_state_bytes(&shape);
	/* on a machine with more processors than this one, there are more lanes */
	long cpus = sysconf(_SC_NPROCESSORS_CONF);
	uint64_t lanes = cpus < LAYOUT_CPU_LANES_MAX ? LAYOUT_CPU_LANES_MAX - (uint64_t)cpus : 0;
	uint64_t at_most = bytes + lanes * layout_buckets(1024, 1024) * sizeof(struct tally);

	(void)state;
	print_message("%llu bytes here, at most %llu\n", (unsigned long long)bytes,
		      (unsigned long long)at_most);
	assert_true(at_most < 2u << 20);
}

/* What the kernel gives is its affair; what is said of it is of the tables of keys, by huge pages.
 */
static void test_huge_pages(void **state)
{
	const uint64_t huge = LAYOUT_KEYS_ALIGNMENT;
	struct segment_shape shape = scene_shape;
	struct segment segment;
	uint64_t said;

	(void)state;
	assert_int_equal(segment_create_private(&segment, &shape), 0);
	assert_int_equal(segment_huge_bytes(&segment), 0);
	segment_detach(&segment);
	shape.tables = 1;
	shape.bins = 2 * huge / sizeof(struct key_bin);
	assert_int_equal(segment_create_private(&segment, &shape), 0);
	assert_int_equal((uintptr_t)segment.bins % huge, 0);
	for (uint64_t i = 0; i < shape.bins; i++) /* so that every page is mapped */
		assert_int_equal(
			atomic_load_explicit(&segment.bins[i].slots[0].mark, memory_order_relaxed),
			0);
	said = segment_huge_bytes(&segment);
	print_message("%llu of %llu bytes by huge pages\n", (unsigned long long)said,
		      (unsigned long long)(2 * huge));
	assert_int_equal(said % huge, 0);
	assert_true(said <= 3 * huge); /* the headers before may share one */
	segment_detach(&segment);
}

static void test_modes(void **state)
{
	struct scene scene;
	struct stat found;
	char path[PLACE_PATH_BYTES];

	(void)state;
	mode_t mask = umask(077);

	scene_begin(&scene, &scene_shape);
	umask(mask);
	path_of(&scene.place, "rules", path);
	assert_int_equal(stat(path, &found), 0);
	assert_int_equal(found.st_mode & 07777, 0640);
	assert_int_equal(found.st_size, segment_rules_bytes(&scene_shape));
	path_of(&scene.place, "state", path);
	assert_int_equal(stat(path, &found), 0);
	assert_int_equal(found.st_mode & 07777, 0660);
	assert_int_equal(found.st_size, segment_state_bytes(&scene_shape));
	/* every page has memory behind it: a full folder is no SIGBUS later */
	assert_true((uint64_t)found.st_blocks * 512 >= (uint64_t)found.st_size);
	scene_end(&scene);
}

/* What a client maps of the rules it cannot write, whatever it tries. */
static int writes_rules(void *context)
{
	const struct scene *scene = context;
	struct segment segment;

	CHILD_CHECK(segment_attach(&segment, &scene->place, SEGMENT_USE, (uid_t)-1) == 0);
	CHILD_CHECK(segment.publisher == NULL);
	*(volatile unsigned char *)(uintptr_t)segment.rules = 0;
	return 0;
}

static int writes_state(void *context)
{
	const struct scene *scene = context;
	struct segment segment;

	CHILD_CHECK(segment_attach(&segment, &scene->place, SEGMENT_LOOK, (uid_t)-1) == 0);
	*(volatile unsigned char *)segment.state = 0;
	return 0;
}

static void test_pages_are_protected(void **state)
{
	struct scene scene;
	int (*const bodies[])(void *) = {writes_rules, writes_state};

	(void)state;
	scene_begin(&scene, &scene_shape);
	for (int i = 0; i < 2; i++)
		assert_int_equal(scene_wait(scene_child(bodies[i], &scene)), 256 + SIGSEGV);
	assert_int_equal(attach(&scene.place), 0);
	scene_end(&scene);
}

/* The same pair twice in one process: one bucket, two mappings. */
static void test_mapped_twice(void **state)
{
	struct scene scene;

	(void)state;
	scene_begin(&scene, &scene_shape);
	struct weir *first = scene_open(&scene.place);
	struct weir *second = scene_open(&scene.place);
	struct weir_endpoint *one = scene_endpoint(first, "x");
	struct weir_endpoint *other = scene_endpoint(second, "x");

	assert_int_equal(weir_acquire(one, 4, NULL), WEIR_ADMIT);
	assert_int_equal(scene_drain(other), 6);
	assert_int_equal(scene_drain(one), 0);
	weir_endpoint_close(one);
	weir_close(first);
	time_source_advance(&scene.segment.time, SCENE_SECOND / 10);
	assert_int_equal(scene_drain(other), 1);
	weir_endpoint_close(other);
	weir_close(second);
	scene_end(&scene);
}

/* ---- the ladder: objects that are not there, not ready, or something else ---- */

static void test_absent(void **state)
{
	struct scene scene;
	struct place elsewhere;

	(void)state;
	scene_begin(&scene, &scene_shape);
	elsewhere = scene.place;
	strcpy(elsewhere.name, "other");
	assert_int_equal(attach(&elsewhere), WEIR_EABSENT);
	elsewhere = scene.place;
	strcat(elsewhere.dir, "/no/folder");
	assert_int_equal(attach(&elsewhere), WEIR_EABSENT);
	remove_object(&scene.place, "state");
	assert_int_equal(attach(&scene.place), WEIR_EABSENT);
	scene_end(&scene);
}

static void test_unready(void **state)
{
	static const char *const suffixes[] = {"rules", "state"};
	static const unsigned char zeros[8192];
	struct scene scene;

	(void)state;
	scene_begin(&scene, &scene_shape);
	atomic_store(&scene.segment.publisher->ready, 0);
	assert_int_equal(attach(&scene.place), WEIR_EUNREADY);
	atomic_store(&scene.segment.publisher->ready, 1);
	atomic_store(&scene.segment.state->ready, 0);
	assert_int_equal(attach(&scene.place), WEIR_EUNREADY);
	atomic_store(&scene.segment.state->ready, 1);
	assert_int_equal(attach(&scene.place), 0);
	for (int i = 0; i < 2; i++) {
		rename_object(&scene.place, suffixes[i], "aside");
		write_object(&scene.place, suffixes[i], zeros, sizeof(zeros));
		assert_int_equal(attach(&scene.place), WEIR_EUNREADY);
		write_object(&scene.place, suffixes[i], zeros, 0);
		assert_int_equal(attach(&scene.place), WEIR_EUNREADY);
		rename_object(&scene.place, "aside", suffixes[i]);
		assert_int_equal(attach(&scene.place), 0);
	}
	scene_end(&scene);
}

/* Puts something else where an object belongs; the modes differ in how they open it. */
static void assert_foreign(const struct place *place)
{
	for (int mode = SEGMENT_LOOK; mode <= SEGMENT_PUBLISH; mode++)
		assert_int_equal(attach_as(place, (enum segment_mode)mode), WEIR_EFOREIGN);
}

static void bind_socket(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%.100s", path);
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
}

static void test_foreign(void **state)
{
	static const char *const suffixes[] = {"rules", "state"};
	unsigned char random[8192];
	uint64_t seed = 0x1234567;
	char path[PLACE_PATH_BYTES];
	struct scene scene;

	(void)state;
	for (size_t i = 0; i < sizeof(random); i++)
		random[i] = (unsigned char)scene_random(&seed);
	scene_begin(&scene, &scene_shape);
	for (int i = 0; i < 2; i++) {
		path_of(&scene.place, suffixes[i], path);
		rename_object(&scene.place, suffixes[i], "aside");
		write_object(&scene.place, suffixes[i], random, sizeof(random));
		assert_foreign(&scene.place);
		unlink(path);
		assert_int_equal(mkdir(path, 0755), 0);
		assert_foreign(&scene.place);
		rmdir(path);
		assert_int_equal(mkfifo(path, 0600), 0);
		assert_foreign(&scene.place);
		unlink(path);
		bind_socket(path);
		assert_foreign(&scene.place);
		unlink(path);
		/* a link to the very object it should be */
		assert_int_equal(symlink("weir.t.aside", path), 0);
		assert_foreign(&scene.place);
		unlink(path);
		rename_object(&scene.place, "aside", suffixes[i]);
		assert_int_equal(attach(&scene.place), 0);
	}
	/* each object where the other belongs */
	rename_object(&scene.place, "rules", "aside");
	rename_object(&scene.place, "state", "rules");
	rename_object(&scene.place, "aside", "state");
	assert_foreign(&scene.place);
	scene_end(&scene);
}

static void test_truncated(void **state)
{
	static const char *const suffixes[] = {"rules", "state"};
	static const char some[100] = "weirule1";
	char path[PLACE_PATH_BYTES];
	struct scene scene;

	(void)state;
	for (int i = 0; i < 2; i++) {
		scene_begin(&scene, &scene_shape);
		path_of(&scene.place, suffixes[i], path);
		segment_detach(&scene.segment); /* or a truncated mapping is under our feet */
		assert_int_equal(truncate(path, 8192 - 1), 0);
		assert_int_equal(attach(&scene.place), WEIR_ETRUNCATED);
		assert_int_equal(truncate(path, 100), 0);
		assert_int_equal(attach(&scene.place), WEIR_ETRUNCATED);
		write_object(&scene.place, suffixes[i], some, sizeof(some));
		assert_int_equal(attach(&scene.place), WEIR_ETRUNCATED);
		scene_end(&scene);
	}
}

/* Longer than it says is nothing to mind. */
static void test_longer(void **state)
{
	char path[PLACE_PATH_BYTES];
	struct scene scene;

	(void)state;
	scene_begin(&scene, &scene_shape);
	path_of(&scene.place, "state", path);
	assert_int_equal(truncate(path, (off_t)scene.segment.state_bytes + 4096), 0);
	assert_int_equal(attach(&scene.place), 0);
	scene_end(&scene);
}

/* ---- the ladder: headers that contradict ---- */

/* Whatever the word's width. */
#define SET_WORD(word, value) memcpy((void *)&(word), &(uint64_t){value}, sizeof(word))

#define TRY_WORD(word, wrong, outcome)                                                             \
	do {                                                                                       \
		uint64_t kept_ = atomic_load(&(word));                                             \
		SET_WORD(word, wrong);                                                             \
		assert_int_equal(attach(&scene.place), outcome);                                   \
		SET_WORD(word, kept_);                                                             \
		assert_int_equal(attach(&scene.place), 0);                                         \
	} while (0)

static void test_headers(void **state)
{
	struct scene scene;

	(void)state;
	scene_begin(&scene, &scene_shape);
	struct rules_header *rules = scene.segment.publisher;
	struct state_header *second = scene.segment.state;

	TRY_WORD(rules->magic, LAYOUT_STATE_MAGIC, WEIR_EFOREIGN);
	TRY_WORD(second->magic, LAYOUT_RULES_MAGIC, WEIR_EFOREIGN);
	TRY_WORD(rules->magic, 0, WEIR_EFOREIGN);
	TRY_WORD(rules->version, LAYOUT_VERSION - 1, WEIR_EOLDER);
	TRY_WORD(second->version, LAYOUT_VERSION - 1, WEIR_EOLDER);
	TRY_WORD(rules->version, LAYOUT_VERSION + 1, WEIR_ENEWER);
	TRY_WORD(second->version, UINT32_MAX, WEIR_ENEWER);
	TRY_WORD(rules->signature, layout_signature() + 1, WEIR_ELAYOUT);
	TRY_WORD(second->signature, 0, WEIR_ELAYOUT);
	TRY_WORD(rules->boot[0], atomic_load(&rules->boot[0]) ^ 1, WEIR_EBOOT);
	TRY_WORD(rules->boot[1], atomic_load(&rules->boot[1]) ^ 1, WEIR_EBOOT);
	TRY_WORD(rules->pair, 1, WEIR_EPAIR);
	TRY_WORD(second->pair, 1, WEIR_EPAIR);
	TRY_WORD(rules->bytes, 1ull << 40, WEIR_ETRUNCATED);
	TRY_WORD(second->bytes, 1ull << 40, WEIR_ETRUNCATED);
	scene_end(&scene);
}

static void test_capacities(void **state)
{
	struct scene scene;

	(void)state;
	scene_begin(&scene, &scene_shape);
	struct rules_header *rules = scene.segment.publisher;

	static const uint32_t wrong[] = {0, 1, 1000, 65537, 1048577, UINT32_MAX};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		TRY_WORD(rules->rows, wrong[i], WEIR_EDAMAGED);
		TRY_WORD(rules->names, wrong[i], WEIR_EDAMAGED);
		/* a few members more or less may fit into the same page */
		if (wrong[i] != 1)
			TRY_WORD(rules->members, wrong[i], WEIR_EDAMAGED);
	}
	TRY_WORD(rules->cpu_lanes, LAYOUT_CPU_LANES_MAX + 1, WEIR_EDAMAGED);
	TRY_WORD(rules->cpu_lanes, UINT32_MAX, WEIR_EDAMAGED);
	TRY_WORD(rules->bytes, 4096, WEIR_EDAMAGED);
	TRY_WORD(rules->bytes, 0, WEIR_EDAMAGED);
	TRY_WORD(scene.segment.state->bytes, 4096, WEIR_EDAMAGED);
	TRY_WORD(rules->clock_kind, 0, WEIR_EDAMAGED);
	TRY_WORD(rules->clock_kind, CLOCK_KIND_MANUAL + 1, WEIR_EDAMAGED);
	scene_end(&scene);
}

static void test_clocks(void **state)
{
	struct segment_shape shape = scene_shape;
	struct scene scene;

	(void)state;
	shape.clock = CLOCK_KIND_MONOTONIC;
	scene_begin(&scene, &shape);
	struct rules_header *rules = scene.segment.publisher;

	if (atomic_load(&rules->time_namespace))
		TRY_WORD(rules->time_namespace, 1, WEIR_ETIMENS);
	else
		print_message("SKIPPED: time namespaces: this kernel has none\n");
	TRY_WORD(rules->time_namespace, 0, 0); /* a creator that could not tell */
	if (!time_source_readable(CLOCK_KIND_TSC))
		TRY_WORD(rules->clock_kind, CLOCK_KIND_TSC, WEIR_ENOCLOCK);
	scene_end(&scene);

	shape.clock = CLOCK_KIND_MANUAL; /* which no namespace shifts */
	scene_begin(&scene, &shape);
	rules = scene.segment.publisher;
	TRY_WORD(rules->time_namespace, 1, 0);
	scene_end(&scene);
}

/* ---- the ladder: owners and permissions ---- */

static void test_owner(void **state)
{
	static const char *const suffixes[] = {"rules", "state"};
	char path[PLACE_PATH_BYTES];
	struct segment segment;
	struct scene scene;
	pid_t holder;

	(void)state;
	if (geteuid() != 0) {
		print_message("SKIPPED: wrong owner: only root can give a file away\n");
		return;
	}
	for (int i = 0; i < 2; i++) {
		scene_begin(&scene, &scene_shape);
		path_of(&scene.place, suffixes[i], path);
		assert_int_equal(chown(path, NOBODY, (gid_t)-1), 0);
		assert_int_equal(attach(&scene.place), WEIR_EOWNER);
		assert_int_equal(attach_as(&scene.place, SEGMENT_LOOK), WEIR_EOWNER);
		assert_int_equal(attach_as(&scene.place, SEGMENT_PUBLISH), WEIR_EOWNER);
		/* a configured user is trusted, but nobody publishes in another's segment */
		assert_int_equal(segment_attach(&segment, &scene.place, SEGMENT_USE, NOBODY), 0);
		segment_detach(&segment);
		assert_int_equal(segment_attach(&segment, &scene.place, SEGMENT_PUBLISH, NOBODY),
				 WEIR_EOWNER);
		/* and nobody takes another's names away */
		assert_int_equal(segment_create(&segment, &scene.place, &scene_shape), 0);
		assert_int_equal(segment_reveal(&segment, &scene.place), WEIR_EOWNER);
		segment_detach(&segment);
		if (i == 0)
			assert_int_equal(segment_remove(&scene.place), WEIR_EOWNER);
		scene_end(&scene);
	}
	/* squatters on the temporary names and on the lock */
	scene_begin(&scene, &scene_shape);
	for (int i = 0; i < 2; i++) {
		char suffix[16];

		snprintf(suffix, sizeof(suffix), "%s.new", suffixes[i]);
		write_object(&scene.place, suffix, "", 0);
		path_of(&scene.place, suffix, path);
		assert_int_equal(chown(path, NOBODY, (gid_t)-1), 0);
		assert_int_equal(segment_create(&segment, &scene.place, &scene_shape), WEIR_EOWNER);
		unlink(path);
		assert_false(object_exists(&scene.place, "rules.new"));
	}
	write_object(&scene.place, "lock", "", 0);
	path_of(&scene.place, "lock", path);
	assert_int_equal(chown(path, NOBODY, (gid_t)-1), 0);
	assert_int_equal(lock_take(&scene.place, (gid_t)-1, &holder), WEIR_EOWNER);
	scene_end(&scene);
}

static int attach_as_nobody(void *context)
{
	const struct scene *scene = context;

	CHILD_CHECK(setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
	CHILD_CHECK(attach(&scene->place) == -EACCES);
	CHILD_CHECK(attach_as(&scene->place, SEGMENT_LOOK) == -EACCES);

	struct weir_options options = scene_options(&scene->place);
	struct weir *weir = NULL;

	CHILD_CHECK(weir_open(&weir, &options) == -EACCES);
	CHILD_CHECK(weir == NULL);

	struct segment segment;

	CHILD_CHECK(segment_create(&segment, &scene->place, &scene_shape) == -EACCES);
	return 0;
}

/* Whether a file under /proc that stands for the rules' pages can be opened to write. */
static bool opens_in_proc(const char *format, const void *at, size_t bytes)
{
	char path[80];
	int fd;

	snprintf(path, sizeof(path), format, (unsigned long)(uintptr_t)at,
		 (unsigned long)(uintptr_t)at + bytes);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* By a fresh open, by the mapping's protection, by the mapping's file, by the process's memory. */
static void try_to_write_rules(const struct place *place)
{
	struct segment segment;
	char path[PLACE_PATH_BYTES];
	uint64_t word = 0;
	int memory;

	CHILD_CHECK(segment_attach(&segment, place, SEGMENT_USE, (uid_t)-1) == 0);

	void *rules = (void *)(uintptr_t)segment.rules;

	path_of(place, "rules", path);
	CHILD_CHECK(open(path, O_RDWR | O_CLOEXEC) < 0 && errno == EACCES);
	CHILD_CHECK(chmod(path, 0666) < 0 && unlink(path) < 0 && truncate(path, 0) < 0);
	CHILD_CHECK(mprotect(rules, segment.rules_bytes, PROT_READ | PROT_WRITE) < 0 &&
		    errno == EACCES);
	CHILD_CHECK(!opens_in_proc("/proc/self/map_files/%lx-%lx", rules, segment.rules_bytes));
	memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	CHILD_CHECK(memory < 0 || pwrite(memory, &word, sizeof(word), (off_t)(uintptr_t)rules) < 0);
	close(memory);
	CHILD_CHECK(segment.rules->magic != 0);
	segment_detach(&segment);
}

/* A member of the group: what the modes allow, and no more. */
static int attach_as_group(void *context)
{
	const struct scene *scene = context;

	CHILD_CHECK(setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
	CHILD_CHECK(attach(&scene->place) == 0);
	CHILD_CHECK(attach_as(&scene->place, SEGMENT_PUBLISH) == -EACCES);
	try_to_write_rules(&scene->place);

	struct weir *weir = scene_open(&scene->place);
	struct weir_endpoint *endpoint = scene_endpoint(weir, "x");

	CHILD_CHECK(endpoint && scene_drain(endpoint) == 10);
	weir_endpoint_close(endpoint);
	weir_close(weir);
	return 0;
}

static void test_permissions(void **state)
{
	struct segment_shape shape = scene_shape;
	struct scene scene;

	(void)state;
	if (geteuid() != 0) {
		print_message("SKIPPED: permissions: only root can become somebody else\n");
		return;
	}
	scene_begin(&scene, &shape);
	assert_int_equal(scene_wait(scene_child(attach_as_nobody, &scene)), 0);
	scene_end(&scene);
	shape.group = NOBODY;
	scene_begin(&scene, &shape);
	assert_int_equal(scene_wait(scene_child(attach_as_group, &scene)), 0);
	scene_end(&scene);
}

/* ---- waiting for an instance ---- */

static int create_late(void *context)
{
	struct scene *scene = context;

	scene_sleep_ms(20);
	CHILD_CHECK(segment_create(&scene->segment, &scene->place, &scene_shape) == 0);
	const struct rule rule = scene_rule(ROW_DEFAULT, "*", 10, 10);

	CHILD_CHECK(rules_add(&scene->segment, &rule) == 0);
	CHILD_CHECK(segment_reveal(&scene->segment, &scene->place) == 0);
	return 0;
}

static void test_open_waits(void **state)
{
	struct scene scene = {.segment = {.rules_fd = -1, .state_fd = -1}};
	struct weir *weir = NULL;

	(void)state;
	scene_place(&scene.place);
	struct weir_options options = scene_options(&scene.place);

	assert_int_equal(weir_open(&weir, &options), WEIR_EABSENT);
	options.attach_ns = 3000000;
	assert_int_equal(weir_open(&weir, &options), WEIR_EABSENT);
	pid_t pid = scene_child(create_late, &scene);

	options.attach_ns = SCENE_PATIENCE_MS * 1000000ull;
	assert_int_equal(weir_open(&weir, &options), 0);
	weir_close(weir);
	assert_int_equal(scene_wait(pid), 0);
	/* what no waiting helps comes at once */
	write_object(&scene.place, "rules", "x", 1);
	assert_int_equal(weir_open(&weir, &options), WEIR_ETRUNCATED);
	scene_end(&scene);
}

/* ---- every step of creation and of a switch ---- */

static void test_attach_while_created(void **state)
{
	struct segment segment;
	struct place place;

	(void)state;
	scene_place(&place);
	assert_int_equal(segment_create(&segment, &place, &scene_shape), 0);
	assert_int_equal(attach(&place), WEIR_EABSENT);
	scene_add(&segment, ROW_DEFAULT, "*", 10, 10);
	assert_int_equal(attach(&place), WEIR_EABSENT);
	rename_object(&place, "state.new", "state");
	assert_int_equal(attach(&place), WEIR_EABSENT);
	/* the next daemon clears up what a dead one left here */
	assert_int_equal(segment_recover(&place), 0);
	assert_false(object_exists(&place, "rules.new"));
	segment_detach(&segment);
	assert_int_equal(segment_create(&segment, &place, &scene_shape), 0);
	scene_add(&segment, ROW_DEFAULT, "*", 10, 10);
	assert_int_equal(segment_reveal(&segment, &place), 0);
	assert_int_equal(attach(&place), 0);
	segment_detach(&segment);
	scene_clear(&place);
}

/* A creator that died before, while or after it filled: temporary names, never the instance's. */
static void test_leftovers_are_replaced(void **state)
{
	struct segment segment;
	struct place place;

	(void)state;
	scene_place(&place);
	write_object(&place, "rules.new", "half", 4);
	write_object(&place, "state.new", "made", 4);
	assert_int_equal(segment_create(&segment, &place, &scene_shape), 0);
	assert_int_equal(segment_reveal(&segment, &place), 0);
	assert_int_equal(attach(&place), 0);
	segment_detach(&segment);
	scene_clear(&place);
}

static uint64_t attached_pair(const struct place *place)
{
	struct segment segment;

	assert_int_equal(segment_attach(&segment, place, SEGMENT_USE, (uid_t)-1), 0);
	uint64_t pair = segment.pair;

	segment_detach(&segment);
	return pair;
}

static int link_object(const struct place *place, const char *from, const char *to)
{
	char from_path[PLACE_PATH_BYTES];
	char to_path[PLACE_PATH_BYTES];

	path_of(place, from, from_path);
	path_of(place, to, to_path);
	return link(from_path, to_path);
}

/* What segment_reveal() does, up to a step: the linked names first, then the renamed ones. */
static void reveal_until(const struct place *place, int steps)
{
	if (steps > 0)
		assert_int_equal(link_object(place, "state", "state.old"), 0);
	if (steps > 1)
		assert_int_equal(link_object(place, "rules", "rules.old"), 0);
	if (steps > 2)
		rename_object(place, "state.new", "state");
	if (steps > 3)
		rename_object(place, "rules.new", "rules");
}

/* At every step there is one pair to attach to, before and after the next daemon cleared up. */
static void test_attach_while_switched(void **state)
{
	(void)state;
	for (int steps = 0; steps <= 4; steps++)
		for (int moving = 0; moving < 2; moving++) {
			struct segment next;
			struct scene scene;

			scene_begin(&scene, &scene_shape);
			uint64_t old = scene.segment.pair;

			assert_int_equal(segment_create(&next, &scene.place, &scene_shape), 0);
			if (moving)
				assert_int_equal(move_prepare(&scene.segment, &next, NULL), 0);
			reveal_until(&scene.place, steps);

			uint64_t expected = steps < 4 ? old : next.pair;

			assert_int_equal(attached_pair(&scene.place), expected);
			assert_int_equal(segment_recover(&scene.place), 0);
			assert_int_equal(attached_pair(&scene.place), expected);
			assert_false(object_exists(&scene.place, "rules.new"));
			assert_false(object_exists(&scene.place, "state.new"));
			/* the old pair is kept as long as its marks are being moved */
			assert_int_equal(object_exists(&scene.place, "rules.old"),
					 steps == 4 && moving);
			assert_int_equal(object_exists(&scene.place, "state.old"),
					 steps == 4 && moving);
			segment_detach(&next);
			scene_end(&scene);
		}
}

static void test_old_pair(void **state)
{
	struct segment next;
	struct segment old;
	struct scene scene;

	(void)state;
	scene_begin(&scene, &scene_shape);
	uint64_t pair = scene.segment.pair;

	assert_int_equal(segment_attach_old(&old, &scene.place, SEGMENT_USE, (uid_t)-1, pair),
			 WEIR_EABSENT);
	assert_int_equal(segment_create(&next, &scene.place, &scene_shape), 0);
	assert_int_equal(segment_reveal(&next, &scene.place), 0);
	assert_int_equal(segment_attach_old(&old, &scene.place, SEGMENT_USE, (uid_t)-1, pair), 0);
	assert_int_equal(old.pair, pair);
	segment_detach(&old);
	assert_int_equal(segment_attach_old(&old, &scene.place, SEGMENT_USE, (uid_t)-1, next.pair),
			 WEIR_EPAIR);
	segment_forget_old(&scene.place);
	assert_int_equal(segment_attach_old(&old, &scene.place, SEGMENT_USE, (uid_t)-1, pair),
			 WEIR_EABSENT);
	segment_detach(&next);
	scene_end(&scene);
}

struct switching {
	const struct place *place;
	_Atomic uint32_t over;
	_Atomic uint32_t attached;
	_Atomic uint32_t other; /* an outcome that must not be */
};

static int attach_all_along(void *context)
{
	struct switching *switching = context;

	while (!atomic_load(&switching->over)) {
		int status = attach(switching->place);

		if (status == 0)
			atomic_fetch_add(&switching->attached, 1);
		else
			atomic_store(&switching->other, (uint32_t)-status);
	}
	return 0;
}

/* While pair after pair gets the name, whoever attaches finds one. */
static void test_attach_races_switch(void **state)
{
	struct switching *switching = scene_shared(sizeof(*switching));
	struct scene scene;
	pid_t pids[2];

	(void)state;
	scene_begin(&scene, &scene_shape);
	switching->place = &scene.place;
	for (int i = 0; i < 2; i++)
		pids[i] = scene_child(attach_all_along, switching);
	assert_true(scene_until(&switching->attached, 1));
	for (int i = 0; i < 200; i++) {
		struct segment next;

		assert_int_equal(segment_create(&next, &scene.place, &scene_shape), 0);
		assert_int_equal(segment_reveal(&next, &scene.place), 0);
		segment_forget_old(&scene.place);
		segment_detach(&scene.segment);
		scene.segment = next;
		scene_sleep_ms(1); /* as even a hasty daemon would need in between */
	}
	atomic_store(&switching->over, 1);
	for (int i = 0; i < 2; i++)
		assert_int_equal(scene_wait(pids[i]), 0);
	print_message("%u attached during 200 switches\n",
		      (unsigned)atomic_load(&switching->attached));
	assert_int_equal(-(int)atomic_load(&switching->other), 0);
	munmap(switching, sizeof(*switching));
	scene_end(&scene);
}

static void test_remove(void **state)
{
	struct scene scene;
	pid_t holder;

	(void)state;
	scene_begin(&scene, &scene_shape);
	int lock = lock_take(&scene.place, (gid_t)-1, &holder);

	assert_true(lock >= 0);
	assert_int_equal(segment_remove(&scene.place), 0);
	assert_int_equal(attach(&scene.place), WEIR_EABSENT);
	assert_int_equal(segment_remove(&scene.place), 0); /* nothing there: nothing to do */
	close(lock);
	rmdir(scene.place.dir); /* it is empty */
	assert_int_equal(access(scene.place.dir, F_OK), -1);
	segment_detach(&scene.segment);
}

/* ---- the daemon's lock ---- */

struct locking {
	const struct place *place;
	_Atomic uint32_t held;
	_Atomic uint32_t over;
};

static int hold_lock(void *context)
{
	struct locking *locking = context;
	pid_t holder;

	CHILD_CHECK(lock_take(locking->place, (gid_t)-1, &holder) >= 0);
	atomic_store(&locking->held, 1);
	CHILD_CHECK(scene_until(&locking->over, 1));
	return 0;
}

static void test_lock(void **state)
{
	struct locking *locking = scene_shared(sizeof(*locking));
	struct place place;
	pid_t holder = 0;

	(void)state;
	scene_place(&place);
	locking->place = &place;
	assert_false(lock_is_taken(&place, &holder));
	pid_t pid = scene_child(hold_lock, locking);

	assert_true(scene_until(&locking->held, 1));
	assert_int_equal(lock_take(&place, (gid_t)-1, &holder), WEIR_ERUNNING);
	assert_int_equal(holder, pid);
	holder = 0;
	assert_true(lock_is_taken(&place, &holder));
	assert_int_equal(holder, pid);
	scene_kill(pid);
	assert_false(lock_is_taken(&place, &holder));
	int fd = lock_take(&place, (gid_t)-1, &holder);

	assert_true(fd >= 0);
	close(fd);
	munmap(locking, sizeof(*locking));
	scene_clear(&place);
}

/* Whoever may read the file may hold a shared lock on it, and so keep weird from starting. */
static void test_lock_is_not_for_all(void **state)
{
	struct place place;
	struct stat found;
	char path[PLACE_PATH_BYTES];
	pid_t holder;

	(void)state;
	scene_place(&place);
	path_of(&place, "lock", path);
	write_object(&place, "lock", "", 0);
	assert_int_equal(chmod(path, 0666), 0);
	int fd = lock_take(&place, getegid(), &holder);

	assert_true(fd >= 0);
	assert_int_equal(stat(path, &found), 0);
	assert_int_equal(found.st_mode & 0777, 0640);
	assert_int_equal(found.st_gid, getegid());
	close(fd);
	scene_clear(&place);
}

#define LOCK_ROUNDS 500

struct crowd {
	struct place place;
	_Atomic uint32_t inside;
	_Atomic uint32_t doubles;
};

/* Takes the lock and the name away, as weird --remove does, again and again. */
static int lock_and_remove(void *context)
{
	struct crowd *crowd = context;
	char path[PLACE_PATH_BYTES];

	path_of(&crowd->place, "lock", path);
	for (int taken = 0; taken < LOCK_ROUNDS;) {
		pid_t holder;
		int fd = lock_take(&crowd->place, (gid_t)-1, &holder);

		if (fd < 0) {
			CHILD_CHECK(fd == WEIR_ERUNNING || fd == -EAGAIN);
			continue;
		}
		if (atomic_fetch_add(&crowd->inside, 1))
			atomic_fetch_add(&crowd->doubles, 1);
		taken++;
		sched_yield();
		atomic_fetch_sub(&crowd->inside, 1);
		unlink(path);
		close(fd);
	}
	return 0;
}

static void test_lock_whose_name_is_taken_away(void **state)
{
	struct crowd *crowd = scene_shared(sizeof(*crowd));
	pid_t pids[4];

	(void)state;
	scene_place(&crowd->place);
	for (int i = 0; i < 4; i++)
		pids[i] = scene_child(lock_and_remove, crowd);
	for (int i = 0; i < 4; i++)
		assert_int_equal(scene_wait(pids[i]), 0);
	assert_int_equal(atomic_load(&crowd->doubles), 0);
	scene_clear(&crowd->place);
	munmap(crowd, sizeof(*crowd));
}

/* ---- full and read-only folders, in a mount namespace of a child ---- */

#define CANNOT_MOUNT 77

static int mount_folder(char dir[], const char *options)
{
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0)
		return -1;
	return mkdtemp(dir) ? mount("weir", dir, "tmpfs", 0, options) : -1;
}

static struct place place_in(const char *dir)
{
	const struct place_hints hints = {.name = "t", .shm_dir = dir};
	struct place place;

	CHILD_CHECK(place_resolve(&place, &hints, PLACE_TO_CREATE) == 0);
	return place;
}

static bool is_empty(const char *dir)
{
	DIR *folder = opendir(dir);
	int count = 0;

	CHILD_CHECK(folder);
	while (readdir(folder))
		count++;
	closedir(folder);
	return count == 2;
}

/* Too small at first for one object, then for both; nothing is left behind. */
static int create_when_full(void *context)
{
	static const char *const sizes[] = {"size=4096", "size=32768", "size=1M,nr_inodes=1"};
	struct segment segment;

	(void)context;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char dir[] = "/tmp/weir-test-XXXXXX";

		if (mount_folder(dir, sizes[i]) < 0)
			return CANNOT_MOUNT;
		struct place place = place_in(dir);
		int status = segment_create(&segment, &place, &scene_shape);

		CHILD_CHECK(status == WEIR_ESPACE);
		CHILD_CHECK(is_empty(dir));
		umount(dir);
		rmdir(dir);
	}
	return 0;
}

static int create_when_read_only(void *context)
{
	char dir[] = "/tmp/weir-test-XXXXXX";
	struct segment segment;

	(void)context;
	if (mount_folder(dir, "size=4M") < 0)
		return CANNOT_MOUNT;
	struct place place = place_in(dir);

	CHILD_CHECK(segment_create(&segment, &place, &scene_shape) == 0);
	CHILD_CHECK(segment_reveal(&segment, &place) == 0);
	CHILD_CHECK(mount("weir", dir, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL) == -1 ||
		    errno == 0); /* busy: it is mapped for writing */
	segment_detach(&segment);
	CHILD_CHECK(mount("weir", dir, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL) == 0);
	CHILD_CHECK(segment_create(&segment, &place, &scene_shape) == -EROFS);
	/* looking needs no writing, drawing does */
	CHILD_CHECK(attach_as(&place, SEGMENT_LOOK) == 0);
	CHILD_CHECK(attach_as(&place, SEGMENT_USE) == -EROFS);
	CHILD_CHECK(attach_as(&place, SEGMENT_PUBLISH) == -EROFS);
	umount(dir);
	rmdir(dir);
	return 0;
}

static void in_namespace(int (*body)(void *), const char *what)
{
	int status = scene_wait(scene_child(body, NULL));

	if (status == CANNOT_MOUNT)
		print_message("SKIPPED: %s: mounting is not permitted here\n", what);
	else
		assert_int_equal(status, 0);
}

static void test_full(void **state)
{
	(void)state;
	in_namespace(create_when_full, "a full folder");
}

static void test_read_only(void **state)
{
	(void)state;
	in_namespace(create_when_read_only, "a read-only folder");
}

/* ---- hostile bytes ---- */

#define HOSTILE_SEED 0x2545f4914f6cdd1dull

static const struct segment_shape hostile_shape = {
	.rows = 4,
	.names = 4,
	.members = 4,
	.clock = CLOCK_KIND_MANUAL,
	.group = (gid_t)-1,
};

/* Values at which arithmetic breaks, and any others. */
static uint64_t hostile_word(uint64_t *seed)
{
	static const uint64_t corners[] = {
		0,
		1,
		2,
		63,
		64,
		0xffff,
		1ull << 31,
		UINT32_MAX,
		1ull << 60,
		1ull << 61,
		1ull << 62,
		(1ull << 63) - 1,
		1ull << 63,
		(1ull << 63) + 1,
		UINT64_MAX - 1,
		UINT64_MAX,
	};
	uint64_t random = scene_random(seed);

	switch (random >> 61) {
	case 0:
	case 1:
	case 2:
		return corners[random % (sizeof(corners) / sizeof(corners[0]))];
	case 3:
		return 1ull << (random & 63);
	case 4:
		return 0 - (random & 0xffff);
	default:
		return scene_random(seed);
	}
}

/* All a client may do, on top of whatever bytes there are. Only that it returns counts. */
static void use_anyway(const struct place *place, uint64_t *seed)
{
	static const double costs[] = {1, 0.3, 1e9, 1e-9};
	struct weir_options options = scene_options(place);
	struct weir_level level = {.size = sizeof(level)};
	struct weir_reservation reservation;
	struct weir *weir;

	if (weir_open(&weir, &options) < 0)
		return;
	struct weir_endpoint *endpoint =
		scene_endpoint(weir, scene_random(seed) & 1 ? "x" : "other");

	if (endpoint) {
		double cost = costs[scene_random(seed) & 3];
		struct weir_answer answer;

		weir_peek(endpoint, &level);
		weir_acquire(endpoint, cost, &answer);
		weir_acquire(endpoint, 1, NULL);
		if (weir_reserve(endpoint, cost, WEIR_SECOND, &reservation, &answer) ==
			    WEIR_ADMIT &&
		    answer.fault == 0)
			weir_settle(endpoint, &reservation,
				    scene_random(seed) & 1 ? cost / 2 : cost * 2);
		if (weir_reserve(endpoint, cost, WEIR_FOREVER, &reservation, NULL) == WEIR_ADMIT)
			weir_cancel(endpoint, &reservation, NULL);
		weir_gate_close(endpoint, scene_random(seed));
		weir_acquire(endpoint, cost, &answer);
		weir_gate_open(endpoint);
		weir_acquire(endpoint, cost, &answer);
	}
	weir_clock_now(weir);
	weir_endpoint_close(endpoint);
	weir_close(weir);
}

/* What a looker and the daemon's reaper do. */
static void look_anyway(const struct place *place)
{
	struct segment segment;

	if (segment_attach(&segment, place, SEGMENT_USE, (uid_t)-1) < 0)
		return;
	for (uint32_t i = 0; i < segment.row_count; i++) {
		char text[LAYOUT_TEXT_BYTES];
		struct terms_author author;
		struct tally_sum sum;
		struct terms terms;
		uint64_t changed;

		segment_text(segment.rows[i].text, text);
		assert_true(strlen(text) < LAYOUT_TEXT_BYTES);
		segment_terms(&segment, i, &terms, &author, &changed);
		move_tally(&segment, i, i, &sum);
	}
	for (uint32_t i = 0; i < segment.member_count; i++) {
		struct member_info info;

		members_look(&segment, i, &info);
		assert_true(strlen(info.program) < LAYOUT_PROGRAM_BYTES);
		members_reap(&segment, i);
	}
	for (uint32_t i = 0; i < 3; i++) {
		static const char *const names[] = {"x", "other", "p/1"};
		struct resolution found;

		if (names_resolve(&segment, names[i], true, &found) == 0) {
			assert_true(found.row < segment.row_count);
			assert_true(found.bucket < segment.bucket_count);
		}
	}
	segment_hz(&segment);
	segment_now_ns(&segment);
	segment_detach(&segment);
}

struct hostile {
	struct scene scene;
	unsigned char *kept_rules;
	unsigned char *kept_state;
};

static void hostile_begin(struct hostile *hostile)
{
	struct scene *scene = &hostile->scene;

	scene_begin(scene, &hostile_shape);
	scene_add(&scene->segment, ROW_EXACT, "x", 10, 10);
	scene_add(&scene->segment, ROW_PATTERN, "p/*", 10, 10);

	struct weir *weir = scene_open(&scene->place);
	struct weir_endpoint *endpoint = scene_endpoint(weir, "other");

	assert_int_equal(weir_acquire(endpoint, 1, NULL), WEIR_ADMIT);
	weir_endpoint_close(endpoint);
	weir_close(weir);
	hostile->kept_rules = malloc(scene->segment.rules_bytes);
	hostile->kept_state = malloc(scene->segment.state_bytes);
	memcpy(hostile->kept_rules, scene->segment.publisher, scene->segment.rules_bytes);
	memcpy(hostile->kept_state, scene->segment.state, scene->segment.state_bytes);
}

static void hostile_restore(struct hostile *hostile)
{
	memcpy(hostile->scene.segment.publisher, hostile->kept_rules,
	       hostile->scene.segment.rules_bytes);
	memcpy(hostile->scene.segment.state, hostile->kept_state,
	       hostile->scene.segment.state_bytes);
}

static void hostile_end(struct hostile *hostile)
{
	hostile_restore(hostile);
	assert_int_equal(attach(&hostile->scene.place), 0);
	free(hostile->kept_rules);
	free(hostile->kept_state);
	scene_end(&hostile->scene);
}

static void store_word(void *object, size_t at, uint64_t value, bool half)
{
	memcpy((unsigned char *)object + at, &value, half ? 4 : 8);
}

/* Every word of both headers and of the tables that mean something, one at a time. */
static void test_hostile_words(void **state)
{
	uint64_t seed = HOSTILE_SEED;
	struct hostile hostile;
	unsigned count = 0;

	(void)state;
	hostile_begin(&hostile);
	struct segment *segment = &hostile.scene.segment;
	size_t rules = sizeof(struct rules_header) + 4 * sizeof(struct rule_row);
	size_t buckets = sizeof(struct state_header) + segment->bucket_count * 64;

	for (size_t at = 0; at < rules; at += 4)
		for (int i = 0; i < 3; i++, count++) {
			store_word(segment->publisher, at, hostile_word(&seed), at % 8 || i == 0);
			look_anyway(&hostile.scene.place);
			use_anyway(&hostile.scene.place, &seed);
			hostile_restore(&hostile);
		}
	for (size_t at = 0; at < buckets; at += 4)
		for (int i = 0; i < 5; i++, count++) {
			store_word(segment->state, at, hostile_word(&seed), at % 8 || i == 0);
			look_anyway(&hostile.scene.place);
			use_anyway(&hostile.scene.place, &seed);
			hostile_restore(&hostile);
		}
	print_message("%u words spoilt, seed %#llx\n", count, (unsigned long long)HOSTILE_SEED);
	hostile_end(&hostile);
}

/* Random garbage over whole tables, several places at once. */
static void test_hostile_tables(void **state)
{
	enum { TIMES = 1500 };
	uint64_t seed = HOSTILE_SEED + 1;
	struct hostile hostile;

	(void)state;
	hostile_begin(&hostile);
	struct segment *segment = &hostile.scene.segment;

	for (int i = 0; i < TIMES; i++) {
		size_t first = scene_random(&seed) & 1 ? sizeof(struct rules_header) : 128;
		unsigned spoilt = 1u << scene_random(&seed) % 9;

		for (unsigned j = 0; j < spoilt; j++) {
			size_t in_rules =
				first + scene_random(&seed) % (segment->rules_bytes - first);
			size_t in_state = 64 + scene_random(&seed) % (segment->state_bytes - 64);

			if (scene_random(&seed) & 1)
				store_word(segment->publisher, in_rules & ~7ull,
					   hostile_word(&seed), false);
			else
				store_word(segment->state, in_state & ~7ull, hostile_word(&seed),
					   false);
		}
		look_anyway(&hostile.scene.place);
		use_anyway(&hostile.scene.place, &seed);
		hostile_restore(&hostile);
	}
	print_message("%d times, seed %#llx\n", (int)TIMES, (unsigned long long)(HOSTILE_SEED + 1));
	hostile_end(&hostile);
}

/* Bytes that change under a handle that is attached already. */
static void test_hostile_later(void **state)
{
	enum { TIMES = 1500 };
	uint64_t seed = HOSTILE_SEED + 2;
	struct hostile hostile;

	(void)state;
	hostile_begin(&hostile);
	struct segment *segment = &hostile.scene.segment;

	for (int i = 0; i < TIMES; i++) {
		struct weir *weir = scene_open(&hostile.scene.place);
		struct weir_endpoint *endpoint = scene_endpoint(weir, i & 1 ? "x" : "other");
		struct weir_level level = {.size = sizeof(level)};
		struct weir_reservation reservation;

		assert_non_null(endpoint);
		bool reserved = weir_reserve(endpoint, 1, WEIR_SECOND, &reservation, NULL);

		for (unsigned j = 0; j < 16; j++) {
			size_t in_rules = scene_random(&seed) % segment->rules_bytes & ~7ull;
			size_t in_state = scene_random(&seed) % segment->state_bytes & ~7ull;

			store_word(segment->publisher, in_rules, hostile_word(&seed), false);
			store_word(segment->state, in_state, hostile_word(&seed), false);
		}
		weir_acquire(endpoint, 1, NULL);
		weir_peek(endpoint, &level);
		if (reserved)
			weir_settle(endpoint, &reservation, 2);
		weir_gate_close(endpoint, 1);
		weir_acquire(endpoint, 0.7, NULL);
		weir_endpoint_close(endpoint);
		weir_close(weir);
		hostile_restore(&hostile);
	}
	print_message("%d times, seed %#llx\n", (int)TIMES, (unsigned long long)(HOSTILE_SEED + 2));
	hostile_end(&hostile);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_huge_pages),
		cmocka_unit_test(test_modes),
		cmocka_unit_test(test_pages_are_protected),
		cmocka_unit_test(test_mapped_twice),
		cmocka_unit_test(test_absent),
		cmocka_unit_test(test_unready),
		cmocka_unit_test(test_foreign),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_longer),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_capacities),
		cmocka_unit_test(test_clocks),
		cmocka_unit_test(test_owner),
		cmocka_unit_test(test_permissions),
		cmocka_unit_test(test_open_waits),
		cmocka_unit_test(test_attach_while_created),
		cmocka_unit_test(test_leftovers_are_replaced),
		cmocka_unit_test(test_attach_while_switched),
		cmocka_unit_test(test_old_pair),
		cmocka_unit_test(test_attach_races_switch),
		cmocka_unit_test(test_remove),
		cmocka_unit_test(test_lock),
		cmocka_unit_test(test_lock_is_not_for_all),
		cmocka_unit_test(test_lock_whose_name_is_taken_away),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_read_only),
		cmocka_unit_test(test_hostile_words),
		cmocka_unit_test(test_hostile_tables),
		cmocka_unit_test(test_hostile_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
