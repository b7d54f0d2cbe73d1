/* SPDX-License-Identifier: Apache-2.0
 *
 * Where an instance lives: who is sent to which folder and socket, and which names are refused.
 */
#include "segment_fixture.h"

#define NOBODY_RUNS 4294967000u /* a user for whom there is no /run/user/UID */

static struct place resolved(const struct place_hints *hints, enum place_for purpose)
{
	struct place place;

	assert_int_equal(place_resolve(&place, hints, purpose), 0);
	return place;
}

static void touch(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	close(fd);
}

static void test_names(void **state)
{
	static const char *const bad[] = {
		"", ".", "..", ".hidden", "a/b", "/", "a b", " a", "tab\t", "line\n", "del\x7f",
	};
	static const char *const good[] = {"default", "a", "a.b", "a-b_c.9", "\xc3\xa9t\xc3\xa9"};
	char longest[WEIR_INSTANCE_MAX + 2];
	struct place_hints hints = {.shm_dir = "/nowhere"};
	struct place place = {.name = "untouched"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		hints.name = bad[i];
		assert_int_equal(place_resolve(&place, &hints, PLACE_TO_CREATE), WEIR_ENAME);
		assert_string_equal(place.name, "untouched");
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		hints.name = good[i];
		assert_string_equal(resolved(&hints, PLACE_TO_CREATE).name, good[i]);
	}
	memset(longest, 'x', sizeof(longest));
	longest[WEIR_INSTANCE_MAX + 1] = '\0';
	hints.name = longest;
	assert_int_equal(place_resolve(&place, &hints, PLACE_TO_CREATE), WEIR_ENAME);
	longest[WEIR_INSTANCE_MAX] = '\0';
	assert_string_equal(resolved(&hints, PLACE_TO_CREATE).name, longest);
	hints.name = NULL;
	assert_string_equal(resolved(&hints, PLACE_TO_CREATE).name, "default");
}

static void test_given_folder(void **state)
{
	struct place_hints hints = {.name = "x", .shm_dir = "/mnt/weir", .runtime_dir = "/tmp"};
	struct place place;
	char folder[PLACE_DIR_BYTES + 1];

	(void)state;
	for (uint32_t uid = 0; uid < 2; uid++) {
		hints.uid = uid;
		place = resolved(&hints, uid ? PLACE_TO_CREATE : PLACE_TO_ATTACH);
		assert_string_equal(place.dir, "/mnt/weir");
		assert_string_equal(place.socket, "/mnt/weir/weir.x.sock");
	}
	hints.socket = "/run/other.sock";
	assert_string_equal(resolved(&hints, PLACE_TO_CREATE).socket, "/run/other.sock");

	memset(folder, 'd', sizeof(folder));
	folder[0] = '/';
	folder[PLACE_DIR_BYTES] = '\0';
	hints.shm_dir = folder;
	place = (struct place){.name = "untouched"};
	assert_int_equal(place_resolve(&place, &hints, PLACE_TO_CREATE), -ENAMETOOLONG);
	assert_string_equal(place.name, "untouched");
	folder[PLACE_DIR_BYTES - 1] = '\0';
	assert_string_equal(resolved(&hints, PLACE_TO_CREATE).dir, folder);
}

static void test_long_socket(void **state)
{
	char path[PLACE_PATH_BYTES + 1];
	const struct place_hints hints = {.name = "x", .shm_dir = "/d", .socket = path};
	struct place place;

	(void)state;
	memset(path, 's', sizeof(path));
	path[PLACE_PATH_BYTES] = '\0';
	assert_int_equal(place_resolve(&place, &hints, PLACE_TO_CREATE), -ENAMETOOLONG);
}

static void test_root(void **state)
{
	const struct place_hints hints = {.name = "x", .runtime_dir = "/tmp", .uid = 0};

	(void)state;
	for (int purpose = PLACE_TO_CREATE; purpose <= PLACE_TO_ATTACH; purpose++) {
		struct place place = resolved(&hints, (enum place_for)purpose);

		assert_string_equal(place.dir, "/dev/shm");
		assert_string_equal(place.socket, "/run/weir/x.sock");
	}
}

/* A user's instance lives in the user's folder; without such a folder in /dev/shm. */
static void test_user_creates(void **state)
{
	struct place_hints hints = {.name = "x", .runtime_dir = "/tmp", .uid = NOBODY_RUNS};
	struct place place = resolved(&hints, PLACE_TO_CREATE);

	(void)state;
	assert_string_equal(place.dir, "/tmp/weir");
	assert_string_equal(place.socket, "/tmp/weir/weir.x.sock");

	static const char *const useless[] = {NULL, "relative", "", "/no/such/folder"};

	for (size_t i = 0; i < sizeof(useless) / sizeof(useless[0]); i++) {
		hints.runtime_dir = useless[i];
		place = resolved(&hints, PLACE_TO_CREATE);
		assert_string_equal(place.dir, "/dev/shm");
		assert_string_equal(place.socket, "/dev/shm/weir.x.sock");
	}
}

/* A user attaches to an own instance first, then to root's, and if neither is there yet waits for
 * an own one. */
static void test_user_attaches(void **state)
{
	char runtime[] = "/tmp/weir-test-XXXXXX";
	char folder[64];
	char own[160];
	char shared[128];
	char name[40];

	(void)state;
	assert_non_null(mkdtemp(runtime));
	snprintf(name, sizeof(name), "test-place-%d", (int)getpid());
	snprintf(folder, sizeof(folder), "%s/weir", runtime);
	snprintf(own, sizeof(own), "%s/weir.%s.rules", folder, name);
	snprintf(shared, sizeof(shared), "/dev/shm/weir.%s.rules", name);
	assert_int_equal(mkdir(folder, 0700), 0);

	const struct place_hints hints = {.name = name, .runtime_dir = runtime, .uid = NOBODY_RUNS};

	assert_string_equal(resolved(&hints, PLACE_TO_ATTACH).dir, folder);
	touch(shared);
	struct place place = resolved(&hints, PLACE_TO_ATTACH);

	assert_string_equal(place.dir, "/dev/shm");
	assert_memory_equal(place.socket, "/run/weir/", 10);
	/* who creates does not move in with root */
	assert_string_equal(resolved(&hints, PLACE_TO_CREATE).dir, folder);
	touch(own);
	assert_string_equal(resolved(&hints, PLACE_TO_ATTACH).dir, folder);
	unlink(shared);
	assert_string_equal(resolved(&hints, PLACE_TO_ATTACH).dir, folder);
	unlink(own);
	rmdir(folder);
	rmdir(runtime);
}

static void test_path(void **state)
{
	struct place place = {.name = "n", .dir = "/d"};
	char path[PLACE_PATH_BYTES];

	(void)state;
	place_path(&place, "rules.old", path);
	assert_string_equal(path, "/d/weir.n.rules.old");
	/* the longest of both and the longest suffix fit */
	memset(place.name, 'n', sizeof(place.name) - 1);
	memset(place.dir, 'd', sizeof(place.dir) - 1);
	place_path(&place, "rules.new", path);
	assert_int_equal(strlen(path), sizeof(place.name) - 1 + sizeof(place.dir) - 1 +
					       strlen("/weir..rules.new"));
}

/* Beside the control socket, under a name of its own; without one, or where it would be too long,
 * there is none. */
static void test_observe_socket(void **state)
{
	struct place place = {.socket = "/run/weir/t.sock"};
	char out[PLACE_PATH_BYTES];

	(void)state;
	place_observe(&place, out);
	assert_string_equal(out, "/run/weir/t.observe");
	place.socket[0] = '\0';
	place_observe(&place, out);
	assert_string_equal(out, "");
	memset(place.socket, 'x', sizeof(place.socket) - 1);
	place_observe(&place, out);
	assert_string_equal(out, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_observe_socket), cmocka_unit_test(test_names),
		cmocka_unit_test(test_given_folder),   cmocka_unit_test(test_long_socket),
		cmocka_unit_test(test_root),	       cmocka_unit_test(test_user_creates),
		cmocka_unit_test(test_user_attaches),  cmocka_unit_test(test_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
