/* SPDX-License-Identifier: Apache-2.0
 *
 * weird with a state file, over reboots: the objects are removed, or made to look like those of
 * another boot, and weird is started again. On a manual clock, which wall time does not move, so
 * that levels are known exactly; where time has to pass, the file is made older.
 */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon_fixture.h"
#include "layout.h"
#include "state.h"
#include "thread_sanitizer.h"

#define RULES                                                                                      \
	"clock = manual\nendpoints = 16\nnames = 64\nmembers = 8\n[default]\nrate = 10/s\n"        \
	"[endpoint api]\nrate = 5/s\nburst = 20\n"
#define SLOW_RULES                                                                                 \
	"clock = monotonic\nendpoints = 16\nnames = 64\nmembers = 8\n[default]\nrate = 10/d\n"     \
	"burst = 10\n[endpoint api]\nrate = 5/d\nburst = 20\n"
#define DAY_NS (86400 * WEIR_SECOND)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int setup(void **state)
{
	int error = fixture_setup(state);

	if (error == 0)
		((struct fixture *)*state)->saves = true;
	return error;
}

/* ---- the instance ---- */

static void path_of(const struct fixture *fixture, const char *name, char out[128])
{
	snprintf(out, 128, "%.60s/%.60s", fixture->dir, name);
}

static bool exists(const struct fixture *fixture, const char *name)
{
	char path[128];
	struct stat found;

	path_of(fixture, name, path);
	return lstat(path, &found) == 0;
}

static void remove_file(const struct fixture *fixture, const char *name)
{
	char path[128];

	path_of(fixture, name, path);
	assert_int_equal(unlink(path), 0);
}

/* What a boot leaves of /dev/shm. */
static void boot(const struct fixture *fixture)
{
	remove_file(fixture, "weir.test.rules");
	remove_file(fixture, "weir.test.state");
	fixture_clear_log(fixture);
}

static void take_from(const struct fixture *fixture, const char *name, double tokens)
{
	struct weir *weir = fixture_open(fixture);
	struct weir_endpoint *endpoint = fixture_endpoint(weir, name);

	assert_int_equal(weir_acquire(endpoint, tokens, NULL), WEIR_ADMIT);
	weir_endpoint_close(endpoint);
	weir_close(weir);
}

static double level_of(const struct fixture *fixture, const char *name)
{
	struct weir *weir = fixture_open(fixture);
	struct weir_endpoint *endpoint = fixture_endpoint(weir, name);
	double level = fixture_level(endpoint);

	weir_endpoint_close(endpoint);
	weir_close(weir);
	return level;
}

/* To a thousandth: on a real clock some seconds pass, at some tokens a day. */
static void assert_about(double found, double expected)
{
	if (found < expected - 1e-3 || found > expected + 1e-2)
		fail_msg("level %.9f, expected %.9f", found, expected);
}

static void assert_levels(const struct fixture *fixture, double api, double other)
{
	double found[2] = {level_of(fixture, "api"), level_of(fixture, "other")};

	if (found[0] != api || found[1] != other)
		fail_msg("levels %.9f and %.9f, expected %.9f and %.9f", found[0], found[1], api,
			 other);
}

/* An instance that has levels to lose: 8 of 20, and 7 of 10. */
static void start_and_take(struct fixture *fixture, const char *rules)
{
	fixture_config(fixture, rules);
	fixture_start(fixture);
	take_from(fixture, "api", 12);
	take_from(fixture, "other", 3);
}

static void stop(struct fixture *fixture)
{
	assert_int_equal(fixture_stop(fixture, SIGTERM), 0);
}

/* ---- the file ---- */

static char *read_levels(const struct fixture *fixture, size_t *bytes)
{
	char *text = calloc(1, 1 << 16);
	char path[128];
	FILE *file;

	assert_non_null(text);
	path_of(fixture, "levels", path);
	file = fopen(path, "re");
	if (!file) {
		free(text);
		return NULL;
	}
	*bytes = fread(text, 1, (1 << 16) - 1, file);
	fclose(file);
	return text;
}

static void write_file(const struct fixture *fixture, const char *name, const char *text,
		       size_t bytes)
{
	char path[128];
	int fd;

	path_of(fixture, name, path);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, bytes), (ssize_t)bytes);
	close(fd);
}

/* Whether the file is a whole one with such a line in it. */
static bool has_line(const struct fixture *fixture, const char *line)
{
	struct state_reader reader;
	struct state_stamp stamp;
	char fault[STATE_FAULT_BYTES];
	size_t bytes;
	char *text = read_levels(fixture, &bytes);
	bool found;

	if (!text)
		return false;
	if (state_open(&reader, &stamp, text, bytes, fault) < 0)
		fail_msg("%s", fault);
	found = strstr(text, line) != NULL;
	free(text);
	return found;
}

static bool comes_to_have_line(const struct fixture *fixture, const char *line)
{
	for (unsigned ms = 0; ms < FIXTURE_PATIENCE_MS; ms += 10) {
		if (has_line(fixture, line))
			return true;
		fixture_sleep_ms(10);
	}
	return false;
}

/* The same records under another stamp. */
static void restamp(const struct fixture *fixture, void (*change)(struct state_stamp *stamp))
{
	struct state_reader reader;
	struct state_stamp stamp;
	struct state_record record;
	struct state_text out;
	char fault[STATE_FAULT_BYTES];
	size_t bytes;
	char *text = read_levels(fixture, &bytes);

	assert_non_null(text);
	assert_int_equal(state_open(&reader, &stamp, text, bytes, fault), 0);
	change(&stamp);
	state_begin(&out, &stamp);
	while (state_next(&reader, &record))
		state_add(&out, &record);
	assert_int_equal(state_finish(&out), 0);
	write_file(fixture, "levels", out.text, out.used);
	free(out.text);
	free(text);
}

/* The name of the only file that was set aside. */
static void kept_file(const struct fixture *fixture, char out[128])
{
	DIR *folder = opendir(fixture->dir);
	struct dirent *entry;
	unsigned found = 0;

	assert_non_null(folder);
	while ((entry = readdir(folder)))
		if (strstr(entry->d_name, "levels.damaged-") == entry->d_name) {
			snprintf(out, 128, "%.60s", entry->d_name);
			found++;
		}
	closedir(folder);
	assert_int_equal(found, 1);
}

/* ---- what survives ---- */

static void test_reboot(void **state)
{
	struct fixture *fixture = *state;

	start_and_take(fixture, RULES);
	assert_true(fixture_has_logged(fixture, "no levels to restore"));
	stop(fixture);
	assert_true(fixture_has_logged(fixture, "levels are saved in "));
	boot(fixture);
	fixture_start(fixture);
	assert_true(fixture_has_logged(fixture, "levels restored from "));
	assert_levels(fixture, 8, 7);
	/* the limit holds, and the next boot knows what was taken since */
	take_from(fixture, "api", 8);
	stop(fixture);
	boot(fixture);
	fixture_start(fixture);
	assert_levels(fixture, 0, 7);
}

/* The objects were on a disk, and are of another boot. */
static void test_objects_of_another_boot(void **state)
{
	const uint64_t word = 1;
	struct fixture *fixture = *state;
	char path[128];
	int fd;

	start_and_take(fixture, RULES);
	stop(fixture);
	path_of(fixture, "weir.test.rules", path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, &word, sizeof(word), offsetof(struct rules_header, boot)),
			 sizeof(word));
	close(fd);
	fixture_start(fixture);
	assert_true(fixture_has_logged(fixture, weir_strerror(WEIR_EBOOT)));
	assert_levels(fixture, 8, 7);
}

/* Saved every few seconds, so that a kill, or the power, costs no more than these. */
static void test_killed_and_rebooted(void **state)
{
	struct fixture *fixture = *state;

	start_and_take(fixture, RULES);
	assert_true(comes_to_have_line(fixture, "burst=20 used=12 name=api\n"));
	assert_true(has_line(fixture, "burst=10 used=3 name=other\n"));
	take_from(fixture, "api", 1);
	assert_true(comes_to_have_line(fixture, "burst=20 used=13 name=api\n"));
	assert_int_equal(fixture_stop(fixture, SIGKILL), 256 + SIGKILL);
	boot(fixture);
	fixture_start(fixture);
	assert_levels(fixture, 7, 7);
}

static struct stat look_at_levels(const struct fixture *fixture)
{
	struct stat found;
	char path[128];

	path_of(fixture, "levels", path);
	assert_int_equal(stat(path, &found), 0);
	return found;
}

static void assert_same_file(const struct stat *a, const struct stat *b)
{
	assert_int_equal(a->st_ino, b->st_ino);
	assert_int_equal(a->st_mtim.tv_sec, b->st_mtim.tv_sec);
	assert_int_equal(a->st_mtim.tv_nsec, b->st_mtim.tv_nsec);
}

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/*
 * Levels that only time changes are in the file already: nothing is written, and nobody woken but
 * to look. A take is written then, so looking there was.
 */
static void test_no_write_without_a_change(void **state)
{
	struct fixture *fixture = *state;
	struct stat before, after;
	double from, spent;
	long woken;

	start_and_take(fixture, SLOW_RULES);
	/* the bucket of `api` is drawn from last, and then there is nothing to save */
	assert_true(comes_to_have_line(fixture, "name=other\n"));
	fixture_sleep_ms(100);
	before = look_at_levels(fixture);
	from = now_s();
	woken = fixture_wake_ups(fixture);
	/* more than one round of the timer */
	fixture_sleep_ms(6000);
	woken = fixture_wake_ups(fixture) - woken;
	spent = now_s() - from;
	after = look_at_levels(fixture);
	assert_same_file(&before, &after);
	if (UNDER_THREAD_SANITIZER)
		print_message("skipped: ThreadSanitizer's own thread wakes up all the time\n");
	else
		print_message("idle with a state file: %ld wake-ups in %.2f s\n", woken, spent);
	assert_true(UNDER_THREAD_SANITIZER || (double)woken <= 5 * spent);
	stop(fixture);
	after = look_at_levels(fixture);
	assert_same_file(&before, &after);
	fixture_start(fixture);
	take_from(fixture, "other", 1);
	stop(fixture);
	after = look_at_levels(fixture);
	assert_int_not_equal(before.st_ino, after.st_ino);
}

/* ---- time ---- */

static void two_days_older(struct state_stamp *stamp)
{
	stamp->saved_ns -= 2 * DAY_NS;
	stamp->boot[0]++;
}

static void another_boot(struct state_stamp *stamp)
{
	stamp->boot[0]++;
}

static void an_hour_in_the_future(struct state_stamp *stamp)
{
	stamp->saved_ns += DAY_NS / 24;
	stamp->boot[0]++;
}

static void years_in_the_future(struct state_stamp *stamp)
{
	stamp->saved_ns += 3000 * DAY_NS;
	stamp->boot[0]++;
}

/* The wall clock was put forward by two days; the machine has not been up for so long. */
static void older_by_the_wall_alone(struct state_stamp *stamp)
{
	stamp->saved_ns -= 2 * DAY_NS;
}

static void reboot_at(struct fixture *fixture, void (*change)(struct state_stamp *stamp))
{
	stop(fixture);
	restamp(fixture, change);
	boot(fixture);
	fixture_start(fixture);
}

static void test_credit(void **state)
{
	struct fixture *fixture = *state;

	start_and_take(fixture, SLOW_RULES);
	reboot_at(fixture, two_days_older);
	assert_true(fixture_has_logged(fixture, "2d 0h credited"));
	assert_about(level_of(fixture, "api"), 18);
	assert_about(level_of(fixture, "other"), 10);
}

static void test_clock_put_back(void **state)
{
	struct fixture *fixture = *state;

	start_and_take(fixture, SLOW_RULES);
	reboot_at(fixture, an_hour_in_the_future);
	assert_true(fixture_has_logged(fixture, "the wall clock stands 59min"));
	assert_about(level_of(fixture, "api"), 8);
	/* a machine without a battery begins in 1970; its quota is not full for that */
	reboot_at(fixture, years_in_the_future);
	assert_true(fixture_has_logged(fixture, "the wall clock stands 3000d 0h before the time"));
	assert_about(level_of(fixture, "api"), 8);
	assert_about(level_of(fixture, "other"), 7);
	/* nor are the years in between credited when the clock is right again: the next file says
	 * no earlier time */
	take_from(fixture, "api", 1);
	reboot_at(fixture, another_boot);
	assert_true(fixture_has_logged(fixture, "the wall clock stands 3000d 0h before the time"));
	assert_about(level_of(fixture, "api"), 7);
}

static void test_clock_put_forward_within_a_boot(void **state)
{
	struct fixture *fixture = *state;

	start_and_take(fixture, SLOW_RULES);
	reboot_at(fixture, older_by_the_wall_alone);
	assert_about(level_of(fixture, "api"), 8);
	assert_about(level_of(fixture, "other"), 7);
}

/* On a manual clock time passes only by whoever moves it. */
static void test_manual_clock(void **state)
{
	struct fixture *fixture = *state;

	start_and_take(fixture, RULES);
	reboot_at(fixture, two_days_older);
	assert_levels(fixture, 8, 7);
}

static void test_closed_over_a_reboot(void **state)
{
	struct fixture *fixture = *state;
	struct weir *weir;
	struct weir_endpoint *api;
	struct weir_answer answer;
	struct weir_level level = {.size = sizeof(level)};

	start_and_take(fixture, SLOW_RULES);
	weir = fixture_open(fixture);
	api = fixture_endpoint(weir, "api");
	assert_int_equal(weir_gate_close(api, 3 * DAY_NS), 0);
	weir_endpoint_close(api);
	weir_close(weir);
	reboot_at(fixture, two_days_older);
	weir = fixture_open(fixture);
	api = fixture_endpoint(weir, "api");
	assert_int_equal(weir_acquire(api, 1, &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_CLOSED);
	assert_int_equal(weir_peek(api, &level), 0);
	assert_true(level.closed_ns < DAY_NS && level.closed_ns > DAY_NS / 100 * 99);
	weir_endpoint_close(api);
	weir_close(weir);
	/* the end lies behind us at the next boot: empty then, and refilled for a day */
	reboot_at(fixture, two_days_older);
	assert_about(level_of(fixture, "api"), 5);
}

/* ---- rules ---- */

static void test_changed_rules(void **state)
{
	struct fixture *fixture = *state;

	start_and_take(fixture, RULES);
	take_from(fixture, "third", 4);
	stop(fixture);
	boot(fixture);
	fixture_config(fixture, "clock = manual\nendpoints = 8\nnames = 16\nmembers = 4\n"
				"[default]\nrate = 1/d\nburst = 100\n"
				"[endpoint third]\nrate = 1000000000/s\nburst = 5\n");
	fixture_start(fixture);
	/* the rule is gone: never more than it was, whatever [default] has */
	assert_levels(fixture, 8, 7);
	assert_true(level_of(fixture, "third") == 1);
	assert_true(level_of(fixture, "fourth") == 100);
}

/* What an operator set outlives the reboot as it outlives a restart; a reload ends it. */
static void test_operators_rules(void **state)
{
	struct fixture *fixture = *state;
	struct answer answer;

	start_and_take(fixture, RULES);
	assert_int_equal(fixture_set(fixture, "api", "burst", "25", &answer), 0);
	assert_int_equal(fixture_set(fixture, "other", "rate", "1/d", &answer), 0);
	assert_int_equal(fixture_set(fixture, "*", "burst", "11", &answer), 0);
	assert_levels(fixture, 13, 7);
	stop(fixture);
	boot(fixture);
	fixture_start(fixture);
	assert_true(fixture_has_logged(
		fixture, "endpoint api: rate 5/s, burst 25, as an operator had set it"));
	assert_true(fixture_has_logged(fixture, "endpoint other: rate 1/d, burst 10, as an "));
	assert_true(fixture_has_logged(
		fixture, "[default]: rate 10/s, burst 11, as an operator had set it"));
	assert_true(fixture_has_logged(fixture, "ready: instance test, 3 rules"));
	assert_levels(fixture, 13, 7);
	fixture_reload(fixture);
	assert_true(fixture_has_logged(fixture, "endpoint other: removed, was rate 1/d"));
	assert_levels(fixture, 8, 7);
	/* and a reload is over for good */
	stop(fixture);
	assert_false(has_line(fixture, "\noperator "));
}

/* All that weirctl set takes, not rate and burst alone. */
static void test_operators_other_settings(void **state)
{
	static const struct {
		const char *name, *key, *value;
	} settings[] = {
		{"api", "shadow", "yes"},	   {"api", "shadow_rate", "4/s"},
		{"api", "shadow_burst", "9"},	   {"api", "class background", "leave 20 %"},
		{"api", "class batch", "leave 5"}, {"api", "initial", "15"},
		{"api", "max_wait", "30s"},	   {"other", "window", "1h first"},
	};
	static const char api[] = "endpoint api: rate 5/s, burst 20, initial 15, max_wait 30s, "
				  "shadow, shadow limit 4/s burst 9, class background leave 20 %, "
				  "class batch leave 5, as an operator had set it";
	struct fixture *fixture = *state;
	struct answer answer;

	start_and_take(fixture, RULES);
	for (size_t i = 0; i < COUNT(settings); i++)
		if (fixture_set(fixture, settings[i].name, settings[i].key, settings[i].value,
				&answer) != 0)
			fail_msg("%s", settings[i].key);
	stop(fixture);
	boot(fixture);
	fixture_start(fixture);
	assert_true(fixture_has_logged(fixture, api));
	assert_true(fixture_has_logged(fixture, "endpoint other: rate 10/s, burst 36000, window 1h "
						"first, as an operator had set it"));
}

#define EACH_RULES RULES "[each c/*]\nrate = 1/s\nburst = 4\nkeys = 100\nfold = ipv4/24 case\n"

/* Each key has a bucket of its own, but that an operator made it of 6. */
static void assert_each(const struct fixture *fixture)
{
	take_from(fixture, "c/192.0.2.1", 5);
	take_from(fixture, "c/Alice", 6);
	assert_true(level_of(fixture, "c/192.0.2.9") == 1);
	assert_true(level_of(fixture, "c/aLICE") == 0);
	assert_true(level_of(fixture, "c/192.0.3.1") == 6);
	assert_true(level_of(fixture, "c/bob") == 6);
}

/* A rule with a bucket for each key stays one, and as large, when the file has it no more. */
static void test_operators_each(void **state)
{
	struct fixture *fixture = *state;
	struct answer answer;

	start_and_take(fixture, EACH_RULES);
	assert_int_equal(fixture_set(fixture, "c/*", "burst", "6", &answer), 0);
	assert_each(fixture);
	stop(fixture);
	assert_true(has_line(fixture, " ?keys=100 ?fold=ipv4/24,case uid="));
	fixture_config(fixture, RULES);
	fixture_start(fixture);
	assert_true(fixture_has_logged(fixture, "each c/*: kept as an operator set it; not in"));
	assert_true(level_of(fixture, "c/192.0.2.9") == 1);
	stop(fixture);
	boot(fixture);
	fixture_start(fixture);
	assert_true(fixture_has_logged(fixture,
				       "each c/*: rate 1/s, burst 6, as an operator had set it"));
	assert_each(fixture);
	/* the file has it again, larger */
	stop(fixture);
	boot(fixture);
	fixture_config(fixture, RULES "[each c/*]\nrate = 1/s\nburst = 4\nkeys = 5K\n");
	fixture_start(fixture);
	assert_true(fixture_has_logged(fixture,
				       "each c/*: rate 1/s, burst 6, as an operator had set it"));
	take_from(fixture, "c/192.0.2.1", 5);
	assert_true(level_of(fixture, "c/192.0.2.9") == 6);
	fixture_reload(fixture);
	assert_true(fixture_has_logged(fixture, "each c/*: burst 6 -> 4"));
}

/* The file has a pattern with one bucket in its place by now: both are there, as in a restart. */
static void test_operators_each_of_another_kind(void **state)
{
	struct fixture *fixture = *state;
	struct answer answer;

	start_and_take(fixture, EACH_RULES);
	assert_int_equal(fixture_set(fixture, "c/*", "burst", "6", &answer), 0);
	stop(fixture);
	boot(fixture);
	fixture_config(fixture, RULES "[endpoint c/*]\nrate = 1/s\nburst = 4\n");
	fixture_start(fixture);
	assert_true(fixture_has_logged(fixture,
				       "each c/*: rate 1/s, burst 6, as an operator had set it"));
	assert_true(fixture_has_logged(fixture, "ready: instance test, 4 rules"));
	fixture_reload(fixture);
	assert_true(fixture_has_logged(fixture, "each c/*: removed, was rate 1/s"));
	take_from(fixture, "c/a", 3);
	assert_true(level_of(fixture, "c/b") == 1);
}

/* Rules of an operator never keep one of the file's out, nor weird from starting. */
static void test_no_room_for_operators_rules(void **state)
{
	struct fixture *fixture = *state;
	struct answer answer;

	start_and_take(fixture, RULES);
	assert_int_equal(fixture_set(fixture, "other", "burst", "12", &answer), 0);
	stop(fixture);
	boot(fixture);
	fixture_config(fixture,
		       "clock = manual\nendpoints = 3\nnames = 64\nmembers = 8\n[default]\n"
		       "rate = 10/s\n[endpoint new]\nrate = 1/s\n"
		       "[endpoint api]\nrate = 5/s\nburst = 20\n");
	fixture_start(fixture);
	assert_true(fixture_has_logged(fixture, "endpoint other: the operator's rule is not rest"));
	assert_true(fixture_has_logged(fixture, "ready: instance test, 3 rules"));
	assert_levels(fixture, 8, 7);
}

/* ---- which of the two is newer ---- */

static void test_a_segment_is_newer(void **state)
{
	struct fixture *fixture = *state;
	struct stat before, after;

	start_and_take(fixture, RULES);
	stop(fixture);
	/* nobody saves this */
	take_from(fixture, "api", 5);
	before = look_at_levels(fixture);
	fixture_start(fixture);
	assert_true(fixture_has_logged(fixture, "adopted the segment"));
	assert_levels(fixture, 3, 7);
	assert_int_equal(fixture_stop(fixture, SIGKILL), 256 + SIGKILL);
	fixture_start(fixture);
	assert_levels(fixture, 3, 7);
	stop(fixture);
	after = look_at_levels(fixture);
	assert_int_not_equal(before.st_ino, after.st_ino);
	assert_true(has_line(fixture, "used=17 name=api\n"));
}

/* Another clock makes a new segment; the one that it replaces is newer than the file. */
static void test_another_clock(void **state)
{
	struct fixture *fixture = *state;

	start_and_take(fixture, RULES);
	stop(fixture);
	take_from(fixture, "api", 5);
	fixture_config(fixture, SLOW_RULES);
	fixture_start(fixture);
	assert_true(fixture_has_logged(fixture, "levels restored from the segment before"));
	assert_about(level_of(fixture, "api"), 3);
	assert_about(level_of(fixture, "other"), 7);
}

static void test_removed_segment(void **state)
{
	struct fixture *fixture = *state;

	fixture_config(fixture, RULES);
	fixture_spawn(fixture, (const char *const[]){"--remove", NULL});
	assert_true(fixture_notified(fixture, "READY=1", FIXTURE_PATIENCE_MS));
	take_from(fixture, "api", 12);
	stop(fixture);
	assert_false(exists(fixture, "weir.test.rules"));
	fixture_start(fixture);
	assert_levels(fixture, 8, 10);
}

/* ---- files that are no good ---- */

/* Starts on such a file: named, kept as it was, and a fresh state that is saved in its place. */
static void assert_set_aside(struct fixture *fixture, const char *text, size_t bytes,
			     const char *says)
{
	char kept[128], path[128], found[4096];
	int fd;

	write_file(fixture, "levels", text, bytes);
	fixture_clear_log(fixture);
	fixture_start(fixture);
	if (!fixture_has_logged(fixture, says))
		fail_msg("the log does not say '%s'", says);
	kept_file(fixture, kept);
	assert_true(fixture_has_logged(fixture, kept));
	assert_true(fixture_has_logged(fixture, "no levels to restore"));
	assert_levels(fixture, 20, 10);
	path_of(fixture, kept, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(read(fd, found, sizeof(found)), (ssize_t)bytes);
	assert_memory_equal(found, text, bytes);
	close(fd);
	stop(fixture);
	assert_true(has_line(fixture, "instance test\n"));
	remove_file(fixture, kept);
	boot(fixture);
}

static void test_damaged(void **state)
{
	struct fixture *fixture = *state;
	size_t bytes;
	char *text, *copy;

	start_and_take(fixture, RULES);
	stop(fixture);
	boot(fixture);
	text = read_levels(fixture, &bytes);
	copy = malloc(bytes);
	assert_non_null(copy);
	/* a bit, a missing end, nothing at all, something else, one of a later release */
	memcpy(copy, text, bytes);
	copy[bytes / 2] ^= 1;
	assert_set_aside(fixture, copy, bytes, "its checksum is wrong");
	assert_set_aside(fixture, text, bytes - 20, "it ends in the middle of a line");
	assert_set_aside(fixture, "", 0, "it is empty");
	assert_set_aside(fixture, "hello\n", 6, "'weir-state 1' is expected");
	assert_set_aside(fixture, "weir-state 2\n?\n", 15, "version 2, of a later weird");
	free(copy);
	free(text);
}

static void test_linked(void **state)
{
	struct fixture *fixture = *state;
	char path[128], kept[128];
	size_t bytes;
	char *text;

	start_and_take(fixture, RULES);
	stop(fixture);
	boot(fixture);
	text = read_levels(fixture, &bytes);
	write_file(fixture, "victim", text, bytes);
	free(text);
	remove_file(fixture, "levels");
	path_of(fixture, "levels", path);
	assert_int_equal(symlink("victim", path), 0);
	fixture_start(fixture);
	assert_true(fixture_has_logged(fixture, "it is a symbolic link"));
	kept_file(fixture, kept);
	assert_levels(fixture, 20, 10);
	take_from(fixture, "api", 1);
	stop(fixture);
	assert_true(has_line(fixture, "used=1 name=api\n"));
	path_of(fixture, "victim", path);
	assert_true(rename(path, fixture->log) == 0);
	assert_true(fixture_has_logged(fixture, "used=12 name=api\n"));
}

static void test_open_to_others(void **state)
{
	struct fixture *fixture = *state;
	char path[128], kept[128];

	start_and_take(fixture, RULES);
	stop(fixture);
	boot(fixture);
	path_of(fixture, "levels", path);
	assert_int_equal(chmod(path, 0666), 0);
	fixture_start(fixture);
	assert_true(fixture_has_logged(fixture, "its mode is 666: nobody but its owner"));
	kept_file(fixture, kept);
	assert_levels(fixture, 20, 10);
}

/* ---- where nothing can be written ---- */

static void config_with_file(const struct fixture *fixture, const char *name, const char *rules)
{
	char rest[512];

	snprintf(rest, sizeof(rest), "state_file = %s/%s\n%s", fixture->dir, name, rules);
	fixture_config(fixture, rest);
}

/* No folder: weird runs, says so once, and saves as soon as there is one; what came with it is
 * kept. */
static void test_folder_that_comes_late(void **state)
{
	static const char file[] = "what a mount brought";
	struct fixture *fixture = *state;
	char path[128];

	fixture->saves = false;
	config_with_file(fixture, "late/levels", RULES);
	fixture_start(fixture);
	assert_true(fixture_has_logged(fixture, "late/levels: No such file or directory; tried"));
	take_from(fixture, "api", 12);
	path_of(fixture, "late", path);
	assert_int_equal(mkdir(path, 0700), 0);
	write_file(fixture, "late/levels", file, sizeof(file) - 1);
	assert_true(fixture_logged(fixture, "late/levels again"));
	assert_true(fixture_has_logged(fixture, "late/levels was not there at the start: kept as"));
	stop(fixture);
	fixture_clear_log(fixture);
	remove_file(fixture, "weir.test.rules");
	remove_file(fixture, "weir.test.state");
	fixture_start(fixture);
	assert_levels(fixture, 8, 10);
}

static void test_folder_of_others(void **state)
{
	struct fixture *fixture = *state;
	char path[128];

	fixture->saves = false;
	path_of(fixture, "open", path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(chmod(path, 0777), 0);
	config_with_file(fixture, "open/levels", RULES);
	fixture_start(fixture);
	assert_true(fixture_has_logged(fixture, "others may write the folder of"));
	assert_levels(fixture, 20, 10);
	stop(fixture);
	assert_false(exists(fixture, "open/levels"));
}

/* ---- whose file it is ---- */

/* An instance of its own beside the fixture's, with the fixture's file. */
static void begin_second(struct fixture *second, const struct fixture *first, const char *name)
{
	FILE *file;

	fixture_begin(second);
	file = fopen(second->config, "we");
	assert_non_null(file);
	fprintf(file, "[weir]\nname = %s\nshm_dir = %s\nstate_file = %s/levels\nclock = manual\n",
		name, second->dir, first->dir);
	assert_int_equal(fclose(file), 0);
}

static void test_second_instance_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct fixture second;
	char expected[256];

	start_and_take(fixture, RULES);
	begin_second(&second, fixture, "jobs");
	fixture_spawn(&second, NULL);
	assert_int_equal(fixture_wait(&second), 1);
	snprintf(expected, sizeof(expected),
		 "state_file = %s/levels: another weird (pid %ld, instance test) keeps its levels "
		 "there",
		 fixture->dir, (long)fixture->daemon);
	assert_true(fixture_has_logged(&second, expected));
	assert_false(exists(&second, "weir.jobs.rules"));
	/* nor later, when the first is down: the file says whose it is */
	stop(fixture);
	fixture_clear_log(&second);
	fixture_spawn(&second, NULL);
	assert_int_equal(fixture_wait(&second), 3);
	assert_true(fixture_has_logged(&second, "it has the levels of instance test, and this is "
						"jobs"));
	fixture_end(&second);
	boot(fixture);
	fixture_start(fixture);
	assert_levels(fixture, 8, 7);
}

/* A second daemon of the same instance hears of the first, not of its file. */
static void test_second_daemon_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct fixture second;
	char expected[160];

	start_and_take(fixture, RULES);
	second = *fixture;
	second.daemon = 0;
	fixture_spawn(&second, NULL);
	assert_int_equal(fixture_wait(&second), 1);
	snprintf(expected, sizeof(expected), "another weird serves test in %s: pid %ld",
		 fixture->dir, (long)fixture->daemon);
	assert_true(fixture_has_logged(fixture, expected));
	assert_false(fixture_has_logged(fixture, "state_file ="));
	assert_levels(fixture, 8, 7);
	stop(fixture);
}

/* ---- the key ---- */

static int run_check(struct fixture *fixture)
{
	fixture_clear_log(fixture);
	fixture_spawn(fixture, (const char *const[]){"--check", NULL});
	return fixture_wait(fixture);
}

static void test_check(void **state)
{
	struct fixture *fixture = *state;
	char expected[200];

	fixture_config(fixture, RULES);
	assert_int_equal(run_check(fixture), 0);
	snprintf(expected, sizeof(expected), "state file %s/levels: not there yet", fixture->dir);
	assert_true(fixture_has_logged(fixture, expected));
	assert_false(exists(fixture, "levels.lock"));
	start_and_take(fixture, RULES);
	stop(fixture);
	assert_int_equal(run_check(fixture), 0);
	assert_true(fixture_has_logged(fixture, "levels: instance test, saved 20"));
	assert_true(fixture_has_logged(fixture, "Z, 2 buckets, 0 rules of an operator"));
	write_file(fixture, "levels", "hello\n", 6);
	assert_int_equal(run_check(fixture), 0);
	assert_true(fixture_has_logged(fixture, "levels: cannot be used: line 1: 'weir-state 1'"));
	assert_true(exists(fixture, "levels"));
	fixture->saves = false;
	fixture_config(fixture, "state_file = levels\n" RULES);
	assert_int_equal(run_check(fixture), 3);
	assert_true(fixture_has_logged(fixture, "weir.ini:4: [weir] state_file = levels: an absolu"
						"te path of at most 199 bytes"));
	fixture_config(fixture, "state_file = /var/lib/weir/\n" RULES);
	assert_int_equal(run_check(fixture), 3);
	assert_true(fixture_has_logged(fixture, "the path of a file, not of a folder"));
}

static void test_reload_keeps_the_file(void **state)
{
	struct fixture *fixture = *state;

	start_and_take(fixture, RULES);
	fixture->saves = false;
	config_with_file(fixture, "elsewhere", RULES);
	fixture_reload(fixture);
	assert_true(fixture_has_logged(fixture, "elsewhere: weird must be restarted for that"));
	stop(fixture);
	assert_true(has_line(fixture, "used=12 name=api\n"));
	assert_false(exists(fixture, "elsewhere"));
}

/* ---- killed while it saves ---- */

static const char *const points[] = {
	"save_created", "save_half", "save_written", "save_synced", "save_renamed",
};

/* Killed at the stop's save: the old file or the new one, and the levels that it has. */
static void kill_at(const char *point, bool has_old, bool expect_new)
{
	struct fixture fixture;

	fixture_begin(&fixture);
	fixture.saves = true;
	fixture.program = WEIRD_FAULTS_PROGRAM;
	if (has_old) {
		start_and_take(&fixture, RULES);
		stop(&fixture);
	} else {
		fixture_config(&fixture, RULES);
	}
	fixture.fault = point;
	fixture_start(&fixture);
	take_from(&fixture, "api", has_old ? 1 : 13);
	assert_int_equal(fixture_stop(&fixture, SIGTERM), 256 + SIGKILL);
	fixture.fault = NULL;
	if (expect_new)
		assert_true(has_line(&fixture, "used=13 name=api\n"));
	else if (has_old)
		assert_true(has_line(&fixture, "used=12 name=api\n"));
	else
		assert_false(exists(&fixture, "levels"));
	boot(&fixture);
	fixture_start(&fixture);
	assert_false(fixture_has_logged(&fixture, "cannot be used"));
	assert_true(level_of(&fixture, "api") == (expect_new ? 7 : has_old ? 8 : 20));
	/* what the killed save left does not disturb the next */
	take_from(&fixture, "api", 1);
	stop(&fixture);
	assert_false(exists(&fixture, "levels.new"));
	assert_true(has_line(&fixture, " name=api\n"));
	fixture_end(&fixture);
}

static void test_killed_while_saving(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(points); i++)
		for (int has_old = 0; has_old < 2; has_old++)
			kill_at(points[i], has_old, i + 1 == COUNT(points));
	print_message("killed at %zu points of a save, with and without an old file\n",
		      COUNT(points));
}

/* The same in the thread that writes now and then. */
static void test_killed_while_saving_now_and_then(void **state)
{
	struct fixture *fixture = *state;

	fixture->program = WEIRD_FAULTS_PROGRAM;
	start_and_take(fixture, RULES);
	stop(fixture);
	fixture->fault = "save_half";
	fixture_start(fixture);
	take_from(fixture, "api", 1);
	assert_int_equal(fixture_wait(fixture), 256 + SIGKILL);
	fixture->fault = NULL;
	assert_true(has_line(fixture, "used=12 name=api\n"));
	/* this machine has not been booted: the segment lives on */
	fixture_start(fixture);
	assert_levels(fixture, 7, 7);
	stop(fixture);
	assert_true(has_line(fixture, "used=13 name=api\n"));
}

/*
 * Killed at the start that restores, at every passage of a point: the next start finds the file as
 * it was, or the segment whole.
 */
static const char *const start_points[] = {
	"create_filled", "append_filled",   "append_live",     "table_before", "install_frozen",
	"daemon_add",	 "reveal_linking",  "reveal_linked",   "reveal_state", "reveal_rules",
	"daemon_reveal", "daemon_revealed", "publish_filling",
};

static bool killed_at_start(struct fixture *fixture, const char *point, unsigned passage)
{
	char fault[64];
	bool killed;

	boot(fixture);
	snprintf(fault, sizeof(fault), "%s:%u", point, passage);
	fixture->fault = fault;
	fixture_spawn(fixture, NULL);
	killed = !fixture_notified(fixture, "READY=1", FIXTURE_PATIENCE_MS);
	if (killed) {
		assert_int_equal(fixture_wait(fixture), 256 + SIGKILL);
		fixture->fault = NULL;
		fixture_start(fixture);
	}
	fixture->fault = NULL;
	assert_levels(fixture, 13, 7);
	assert_int_equal(fixture_stop(fixture, SIGKILL), 256 + SIGKILL);
	return killed;
}

static void test_killed_while_restoring(void **state)
{
	struct fixture *fixture = *state;
	struct answer answer;
	unsigned kills = 0;

	fixture->program = WEIRD_FAULTS_PROGRAM;
	start_and_take(fixture, RULES);
	assert_int_equal(fixture_set(fixture, "api", "burst", "25", &answer), 0);
	assert_int_equal(fixture_set(fixture, "other", "rate", "1/d", &answer), 0);
	stop(fixture);
	for (size_t i = 0; i < COUNT(start_points); i++)
		for (unsigned passage = 1;; passage++) {
			if (!killed_at_start(fixture, start_points[i], passage))
				break;
			kills++;
		}
	print_message("killed at %u places of a start that restores\n", kills);
	assert_true(kills >= COUNT(start_points) - 2);
}

#define REBOOT_TEST(test) cmocka_unit_test_setup_teardown(test, setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		REBOOT_TEST(test_reboot),
		REBOOT_TEST(test_objects_of_another_boot),
		REBOOT_TEST(test_killed_and_rebooted),
		REBOOT_TEST(test_no_write_without_a_change),
		REBOOT_TEST(test_credit),
		REBOOT_TEST(test_clock_put_back),
		REBOOT_TEST(test_clock_put_forward_within_a_boot),
		REBOOT_TEST(test_manual_clock),
		REBOOT_TEST(test_closed_over_a_reboot),
		REBOOT_TEST(test_changed_rules),
		REBOOT_TEST(test_operators_rules),
		REBOOT_TEST(test_operators_other_settings),
		REBOOT_TEST(test_operators_each),
		REBOOT_TEST(test_operators_each_of_another_kind),
		REBOOT_TEST(test_no_room_for_operators_rules),
		REBOOT_TEST(test_a_segment_is_newer),
		REBOOT_TEST(test_another_clock),
		REBOOT_TEST(test_removed_segment),
		REBOOT_TEST(test_damaged),
		REBOOT_TEST(test_linked),
		REBOOT_TEST(test_open_to_others),
		REBOOT_TEST(test_folder_that_comes_late),
		REBOOT_TEST(test_folder_of_others),
		REBOOT_TEST(test_second_instance_is_refused),
		REBOOT_TEST(test_second_daemon_is_refused),
		REBOOT_TEST(test_check),
		REBOOT_TEST(test_reload_keeps_the_file),
		cmocka_unit_test(test_killed_while_saving),
		REBOOT_TEST(test_killed_while_saving_now_and_then),
		REBOOT_TEST(test_killed_while_restoring),
	};

	return cmocka_run_group_tests_name("daemon reboot", tests, NULL, NULL);
}
