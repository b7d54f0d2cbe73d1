/* SPDX-License-Identifier: Apache-2.0
 *
 * top on a terminal: what it draws, its keys, other sizes, no colour, no UTF-8, a daemon that
 * dies, a segment that is replaced; and how it leaves the terminal, whatever ends or stops it.
 */
#include <fcntl.h>
#include <locale.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "console.h"
#include "daemon_fixture.h"
#include "gate.h"
#include "stage.h"
#include "thread_sanitizer.h"
#include "weir.h"

#define SECOND 1000000000ull
#define EVERY "--every", "50ms"
#define ROWS_MANY 24 /* more than the smaller screens have room for */

struct theatre {
	struct stage stage;
	struct console console;
	bool has_console;
};

static int set_up(void **state)
{
	struct theatre *theatre = calloc(1, sizeof(*theatre));

	if (!theatre)
		return -1;
	stage_begin(&theatre->stage);
	stage_publish(&theatre->stage, CLOCK_KIND_MANUAL, 4);
	*state = theatre;
	return 0;
}

static int tear_down(void **state)
{
	struct theatre *theatre = *state;

	if (theatre->has_console)
		console_end(&theatre->console);
	stage_end(&theatre->stage);
	free(theatre);
	return 0;
}

/* Runs weirctl top with these arguments; settings beside the usual ones. */
static void open_with(struct theatre *theatre, unsigned width, unsigned height,
		      const char *const *more, const char *const *arguments)
{
	char folder[96];
	const char *settings[16] = {
		"WEIR_NAME=test", "TERM=xterm", "LC_ALL=C.UTF-8", "TZ=UTC", "NO_COLOR",
		"WEIR_SOCKET",	  folder};
	const char *argv[16] = {WEIRCTL_PROGRAM, "top"};

	snprintf(folder, sizeof(folder), "WEIR_SHM_DIR=%s", theatre->stage.dir);
	for (size_t i = 0; more[i]; i++)
		settings[7 + i] = more[i];
	for (size_t i = 0; arguments[i]; i++)
		argv[2 + i] = arguments[i];
	console_begin(&theatre->console, width, height, settings, argv);
	theatre->has_console = true;
}

#define NONE ((const char *const[]){NULL})
#define WITH(...) ((const char *const[]){__VA_ARGS__, NULL})
#define OPEN(theatre, width, height, ...) open_with(theatre, width, height, NONE, WITH(__VA_ARGS__))

/* Ends it by its own key and closes the terminal, so that another may be opened. */
static void quit(struct theatre *theatre)
{
	int status;

	console_type(&theatre->console, "q");
	status = console_wait(&theatre->console);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	console_expect_restored(&theatre->console);
	console_end(&theatre->console);
	theatre->has_console = false;
}

static const char *row_of(const struct theatre *theatre, const char *text)
{
	static char row[SCREEN_ROW_BYTES];
	int found = screen_find(&theatre->console.screen, text);

	if (found < 0)
		fail_msg("no row has %s", text);
	return screen_row(&theatre->console.screen, (unsigned)found, row);
}

/* ---- what it draws ---- */

static void test_draws(void **state)
{
	struct theatre *theatre = *state;
	struct stage *stage = &theatre->stage;

	stage_rule(stage, ROW_EXACT, "api", "5/s", "20");
	stage_rule(stage, ROW_EXACT, "slow", "1/s", "5");
	stage_rule(stage, ROW_EXACT, "shut", "1/s", "5");
	gate_close(&stage->segment.buckets[stage_resolve(stage, "shut").bucket],
		   segment_now(&stage->segment), UINT64_MAX);
	OPEN(theatre, 80, 24, EVERY);
	console_expect(&theatre->console, "3 endpoints: 1 closed");
	console_expect(&theatre->console, "members 0/4");
	console_expect(&theatre->console, "clock manual");
	assert_true(theatre->console.screen.alternate);
	assert_true(theatre->console.screen.hidden);
	/* two seconds with ten calls of one token each */
	for (int i = 0; i < 10; i++)
		stage_take(stage, "api", 1);
	stage_charge(stage, "slow", 8);
	console_expect(&theatre->console, "   10/20 ");
	stage_advance(stage, 2 * SECOND);
	console_expect(&theatre->console, "   20/20 ");
	assert_string_equal(row_of(theatre, "api"),
			    "api          \u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2588    "
			    "20/20          5             \u2588     0     - open");
	/* nobody was granted anything there: how many wait cannot be told */
	assert_non_null(strstr(row_of(theatre, "slow"), "   -1/5 "));
	assert_non_null(strstr(row_of(theatre, "slow"), " ? queue 1s"));
	assert_non_null(strstr(row_of(theatre, "shut"), "    0/5 "));
	assert_non_null(strstr(row_of(theatre, "shut"), " closed"));
	console_expect(&theatre->console, "calls/s 5 granted 0 refused 0 waited");
	quit(theatre);
}

static bool same_cells(const struct console *console, const void *context)
{
	return memcmp(console->screen.cells, context, sizeof(console->screen.cells)) == 0;
}

/* ---- keys ---- */

/* Three endpoints whose orders differ by every key. */
static void make_three(struct stage *stage)
{
	stage_rule(stage, ROW_EXACT, "cc", "10/s", "100");
	stage_rule(stage, ROW_EXACT, "aa", "10/s", "10");
	stage_rule(stage, ROW_EXACT, "bb", "10/s", "10");
}

static void draw_three(struct stage *stage)
{
	stage_charge(stage, "aa", 15);
	assert_false(stage_take(stage, "aa", 20));
	assert_false(stage_take(stage, "aa", 20));
	assert_false(stage_take(stage, "bb", 20));
	stage_take(stage, "bb", 2);
	stage_take(stage, "cc", 1);
	stage_advance(stage, SECOND / 10);
}

/* The table begins below its titles: the names as they follow each other. */
static bool has_order(const struct console *console, const void *order)
{
	int titles = screen_find(&console->screen, "ENDPOINT");
	const char *name = order;
	char row[SCREEN_ROW_BYTES];

	for (unsigned at = (unsigned)titles + 1; titles >= 0 && *name; name += 2, at++)
		if (strncmp(screen_row(&console->screen, at, row), name, 2) != 0)
			return false;
	return titles >= 0;
}

static void expect_order(struct theatre *theatre, const char *by, const char *order)
{
	console_expect(&theatre->console, by);
	console_expect_that(&theatre->console, has_order, order, order);
}

static void test_sorting(void **state)
{
	struct theatre *theatre = *state;

	make_three(&theatre->stage);
	OPEN(theatre, 80, 24, EVERY);
	console_expect(&theatre->console, "3 endpoints");
	draw_three(&theatre->stage);
	console_expect(&theatre->console, "30 refused");
	expect_order(theatre, "by granted", "bbccaa");
	console_type(&theatre->console, "s");
	expect_order(theatre, "by refused", "aabbcc");
	console_type(&theatre->console, "s");
	expect_order(theatre, "by level", "aabbcc");
	console_type(&theatre->console, "s");
	expect_order(theatre, "by queue", "aabbcc");
	console_type(&theatre->console, "r");
	expect_order(theatre, "by queue, reversed", "bbccaa");
	console_type(&theatre->console, "s");
	expect_order(theatre, "by name", "aabbcc");
	console_type(&theatre->console, "s");
	expect_order(theatre, "by file", "ccaabb");
	console_type(&theatre->console, "s");
	expect_order(theatre, "by granted", "bbccaa");
	console_type(&theatre->console, "S");
	expect_order(theatre, "by file", "ccaabb");
	quit(theatre);
	OPEN(theatre, 80, 24, EVERY, "--sort", "name");
	expect_order(theatre, "by name", "aabbcc");
	quit(theatre);
}

static void test_filter(void **state)
{
	struct theatre *theatre = *state;

	make_three(&theatre->stage);
	stage_rule(&theatre->stage, ROW_EXACT, "Abba", "10/s", "10");
	OPEN(theatre, 80, 24, EVERY);
	console_expect(&theatre->console, "4 endpoints");
	console_type(&theatre->console, "/b");
	console_expect(&theatre->console, "filter: b_");
	console_expect_gone(&theatre->console, "aa    ");
	assert_true(screen_find(&theatre->console.screen, "Abba") > 0);
	/* while it is typed, keys are letters */
	console_type(&theatre->console, "BAq");
	console_expect(&theatre->console, "no name has that in it");
	console_type(&theatre->console, "\x7f");
	console_expect(&theatre->console, "filter: bBA_");
	console_expect(&theatre->console, "Abba");
	console_expect_gone(&theatre->console, "bb  ");
	console_type(&theatre->console, "\r");
	console_expect(&theatre->console, "1 with `bBA`");
	/* Esc while typing: as before; Esc alone: no filter */
	console_type(&theatre->console, "/c\x1b");
	console_expect(&theatre->console, "1 with `bBA`");
	console_type(&theatre->console, "\x1b");
	console_expect_gone(&theatre->console, "with");
	expect_order(theatre, "by granted", "Abaabbcc");
	quit(theatre);
	OPEN(theatre, 80, 24, EVERY, "--filter", "bb");
	console_expect(&theatre->console, "2 with `bb`");
	quit(theatre);
}

static void test_pause(void **state)
{
	struct theatre *theatre = *state;
	struct screen before;

	stage_rule(&theatre->stage, ROW_EXACT, "api", "1/s", "20");
	OPEN(theatre, 80, 24, EVERY);
	console_expect(&theatre->console, "  20/20 ");
	console_type(&theatre->console, " ");
	console_expect(&theatre->console, "PAUSED");
	before = theatre->console.screen;
	stage_take(&theatre->stage, "api", 3);
	/* many times as long as it would take to show */
	console_listen(&theatre->console, 500);
	assert_true(same_cells(&theatre->console, before.cells));
	/* what is shown can still be looked at */
	console_type(&theatre->console, "s");
	console_expect(&theatre->console, "by refused");
	assert_true(screen_find(&theatre->console.screen, "  20/20 ") > 0);
	console_type(&theatre->console, "p");
	console_expect(&theatre->console, "  17/20 ");
	console_expect_gone(&theatre->console, "PAUSED");
	quit(theatre);
}

static void test_help(void **state)
{
	struct theatre *theatre = *state;

	OPEN(theatre, 80, 24, EVERY);
	console_expect(&theatre->console, "no endpoints yet");
	console_type(&theatre->console, "h");
	console_expect(&theatre->console, "any key goes back");
	console_expect(&theatre->console, "granted refused level queue name file");
	console_type(&theatre->console, "x");
	console_expect(&theatre->console, "no endpoints yet");
	console_type(&theatre->console, "?");
	console_expect(&theatre->console, "any key goes back");
	quit(theatre);
}

static void test_interval(void **state)
{
	struct theatre *theatre = *state;

	OPEN(theatre, 80, 24, "--every", "1h");
	console_expect(&theatre->console, "every 1h00m");
	/* without waiting for the hour */
	console_type(&theatre->console, "+");
	console_expect(&theatre->console, "every 30m");
	console_type(&theatre->console, "--");
	console_expect(&theatre->console, "every 1h00m");
	for (int i = 0; i < 20; i++)
		console_type(&theatre->console, "+");
	console_expect(&theatre->console, "every 50ms");
	stage_rule(&theatre->stage, ROW_EXACT, "late", "1/s", "20");
	console_expect(&theatre->console, "late");
	quit(theatre);
}

static void make_many(struct stage *stage)
{
	char name[16];

	for (int i = 0; i < ROWS_MANY; i++) {
		snprintf(name, sizeof(name), "name-%02d", i);
		stage_rule(stage, ROW_EXACT, name, "1/s", "20");
	}
}

/* 12 lines have 7 for rows. */
static void test_scrolling(void **state)
{
	struct theatre *theatre = *state;

	make_many(&theatre->stage);
	OPEN(theatre, 80, 12, EVERY);
	console_expect(&theatre->console, "0 above, 17 below");
	console_type(&theatre->console, "\x1b[B\x1bOBj");
	console_expect(&theatre->console, "3 above, 14 below");
	assert_int_equal(screen_find(&theatre->console.screen, "name-03"), 4);
	assert_int_equal(screen_find(&theatre->console.screen, "name-09"), 10);
	console_type(&theatre->console, "\x1b[6~");
	console_expect(&theatre->console, "10 above, 7 below");
	console_type(&theatre->console, "\x1b[F");
	console_expect(&theatre->console, "17 above, 0 below");
	console_type(&theatre->console, "\x1b[A\x1b[5~");
	console_expect(&theatre->console, "9 above, 8 below");
	console_type(&theatre->console, "\x1b[1~");
	console_expect(&theatre->console, "0 above, 17 below");
	/* there is less to scroll through, or more room */
	console_type(&theatre->console, "\x1b[4~");
	console_expect(&theatre->console, "17 above, 0 below");
	console_resize(&theatre->console, 80, 24);
	console_expect(&theatre->console, "5 above, 0 below");
	console_type(&theatre->console, "/-0\r");
	console_expect(&theatre->console, "10 with `-0`");
	console_expect_gone(&theatre->console, "above");
	quit(theatre);
}

/* ---- sizes ---- */

static void test_sizes(void **state)
{
	const char *name = "POST api.example.com/v1/chat/completions/of/the/longest/kind";
	struct theatre *theatre = *state;

	stage_rule(&theatre->stage, ROW_EXACT, name, "5000/h", "100");
	stage_rule(&theatre->stage, ROW_EXACT, "\u6f22\u5b57\u6f22\u5b57\u6f22\u5b57\u6f22\u5b57-x",
		   "1/s", "20");
	OPEN(theatre, 80, 24, EVERY);
	console_expect(&theatre->console, "POST api\u2026est/kind");
	console_expect(&theatre->console, "HISTORY");
	/* wide characters: what follows them stands where it does in other rows */
	assert_string_equal(theatre->console.screen.cells[4][18], "\u2588");
	assert_string_equal(theatre->console.screen.cells[5][18], "\u2588");
	for (unsigned width = 10; width <= 260; width += 25) {
		console_resize(&theatre->console, width, 24);
		console_expect(&theatre->console, width < 20 ? "P" : "POST");
	}
	/* all of it, and what else there is to say */
	console_expect(&theatre->console, name);
	console_expect(&theatre->console, "WAIT/S");
	console_expect(&theatre->console, "CLOSED");
	console_expect(&theatre->console, "5000/h");
	console_resize(&theatre->console, 60, 24);
	console_expect_gone(&theatre->console, "HISTORY");
	console_expect(&theatre->console, "LEVEL/BURST");
	console_resize(&theatre->console, 30, 24);
	console_expect(&theatre->console, "STATE");
	console_expect_gone(&theatre->console, "LEVEL");
	for (unsigned height = 1; height < 10; height++) {
		console_resize(&theatre->console, 80, height);
		console_expect(&theatre->console, "ENDPOINT");
	}
	console_resize(&theatre->console, 1, 1);
	console_expect(&theatre->console, "E");
	quit(theatre);
}

/* ---- terminals that can less ---- */

static void expect_colour(struct theatre *theatre, const char *const *settings,
			  const char *const *arguments, bool colour)
{
	open_with(theatre, 80, 24, settings, arguments);
	console_expect(&theatre->console, "weird is not running");
	console_expect(&theatre->console, "api");
	assert_int_equal(theatre->console.screen.coloured, colour);
	quit(theatre);
}

static void test_colour(void **state)
{
	struct theatre *theatre = *state;

	stage_rule(&theatre->stage, ROW_EXACT, "api", "5/s", "20");
	expect_colour(theatre, NONE, WITH(EVERY), true);
	expect_colour(theatre, WITH("NO_COLOR="), WITH(EVERY), true);
	expect_colour(theatre, WITH("NO_COLOR=1"), WITH(EVERY), false);
	expect_colour(theatre, NONE, WITH(EVERY, "--no-color"), false);
	expect_colour(theatre, WITH("TERM=vt100"), WITH(EVERY), false);
	expect_colour(theatre, WITH("TERM=linux"), WITH(EVERY), true);
}

/* What cannot be drawn on gets lines, and no sequences. */
static void test_dumb(void **state)
{
	const char *const terminals[] = {"TERM=dumb", "TERM=no-such-terminal", "TERM=", "TERM"};
	struct theatre *theatre = *state;

	stage_rule(&theatre->stage, ROW_EXACT, "api", "5/s", "20");
	for (size_t i = 0; i < sizeof(terminals) / sizeof(terminals[0]); i++) {
		open_with(theatre, 200, 24, WITH(terminals[i]), WITH(EVERY, "-n", "2"));
		assert_int_equal(console_wait(&theatre->console), 0);
		console_expect(&theatre->console, "printing lines (-b)");
		console_expect(&theatre->console, "GRANT/S");
		assert_false(theatre->console.screen.escaped);
		console_expect_restored(&theatre->console);
		console_end(&theatre->console);
		theatre->has_console = false;
	}
}

/* Nobody can type: lines as well. */
static void test_no_keyboard(void **state)
{
	struct theatre *theatre = *state;
	char command[256], folder[96];

	stage_rule(&theatre->stage, ROW_EXACT, "api", "5/s", "20");
	snprintf(folder, sizeof(folder), "WEIR_SHM_DIR=%s", theatre->stage.dir);
	snprintf(command, sizeof(command), "exec %s top --every 50ms -n 2 </dev/null",
		 WEIRCTL_PROGRAM);
	console_begin(&theatre->console, 200, 24, WITH("WEIR_NAME=test", "TERM=xterm", folder),
		      WITH("/bin/sh", "-c", command));
	theatre->has_console = true;
	assert_int_equal(console_wait(&theatre->console), 0);
	console_expect(&theatre->console, "standard input is no terminal: printing lines (-b)");
	console_expect(&theatre->console, "GRANT/S");
	assert_false(theatre->console.screen.escaped);
}

/* A locale without UTF-8: not a byte of it, whatever the names are. */
static void test_ascii(void **state)
{
	struct theatre *theatre = *state;

	stage_rule(&theatre->stage, ROW_EXACT, "m\u00fcnchen", "5/s", "20");
	stage_rule(&theatre->stage, ROW_EXACT, "api.example.com/a/long/name", "5/s", "20");
	open_with(theatre, 80, 24, WITH("LC_ALL=C"), WITH(EVERY));
	console_expect(&theatre->console, "m\\xc3\\xbcnchen");
	console_expect(&theatre->console, "api.exam..ng/name");
	stage_take(&theatre->stage, "m\u00fcnchen", 15);
	stage_advance(&theatre->stage, SECOND);
	console_expect(&theatre->console, "  10/20 ");
	console_expect(&theatre->console, " ####.... ");
	assert_non_null(strstr(row_of(theatre, "nchen"), "   15 "));
	assert_non_null(strstr(row_of(theatre, "nchen"), "#     0 "));
	console_type(&theatre->console, "/\u00fc");
	console_expect(&theatre->console, "filter: \\xc3\\xbc_");
	console_expect_gone(&theatre->console, "api");
	console_type(&theatre->console, "\r");
	assert_false(theatre->console.screen.eight_bit);
	quit(theatre);
}

/* ---- how it ends ---- */

static void expect_death(struct theatre *theatre, int signal)
{
	int status = console_wait(&theatre->console);

	if (!WIFSIGNALED(status) || WTERMSIG(status) != signal)
		fail_msg("status %#x, not signal %d", (unsigned)status, signal);
	console_expect_restored(&theatre->console);
	console_end(&theatre->console);
	theatre->has_console = false;
}

static void expect_signal(struct theatre *theatre, int signal, const char *key)
{
	OPEN(theatre, 80, 24, EVERY);
	console_expect(&theatre->console, "no endpoints yet");
	assert_true(theatre->console.screen.alternate);
	if (key)
		console_type(&theatre->console, key);
	else
		kill(theatre->console.pid, signal);
	expect_death(theatre, signal);
}

static void test_signals(void **state)
{
	struct theatre *theatre = *state;

	if (UNDER_THREAD_SANITIZER) {
		print_message("skipped: ThreadSanitizer puts signals off, and loses some\n");
		skip();
	}
	expect_signal(theatre, SIGINT, NULL);
	expect_signal(theatre, SIGTERM, NULL);
	expect_signal(theatre, SIGHUP, NULL);
	expect_signal(theatre, SIGQUIT, NULL);
	expect_signal(theatre, SIGINT, "\x03");
	expect_signal(theatre, SIGQUIT, "\x1c");
}

/* What is raised by a fault of the program itself. */
static void test_faults(void **state)
{
	expect_signal(*state, SIGABRT, NULL);
	expect_signal(*state, SIGSEGV, NULL);
}

/* Somebody cuts the objects under it. */
static void test_bus_error(void **state)
{
	struct theatre *theatre = *state;
	char path[PLACE_PATH_BYTES];

	make_three(&theatre->stage);
	OPEN(theatre, 80, 24, EVERY);
	console_expect(&theatre->console, "3 endpoints");
	place_path(&theatre->stage.place, "state", path);
	assert_int_equal(truncate(path, 0), 0);
	expect_death(theatre, SIGBUS);
	/* the stage itself must not touch what is gone */
	segment_detach(&theatre->stage.segment);
	theatre->stage.published = false;
}

static void test_stop(void **state)
{
	struct theatre *theatre = *state;
	unsigned clears;

	stage_rule(&theatre->stage, ROW_EXACT, "api", "5/s", "20");
	OPEN(theatre, 80, 24, EVERY);
	console_expect(&theatre->console, "  20/20 ");
	for (int i = 0; i < 2; i++) {
		console_type(&theatre->console, "\x1a");
		assert_true(WIFSTOPPED(console_wait(&theatre->console)));
		console_expect_restored(&theatre->console);
		/* a shell has written all over it since */
		screen_resize(&theatre->console.screen, 80, 24);
		console_continue(&theatre->console);
		console_expect(&theatre->console, "  20/20 ");
		assert_true(theatre->console.screen.alternate);
		assert_true(theatre->console.screen.hidden);
	}
	/* one that it cannot see coming */
	kill(theatre->console.pid, SIGSTOP);
	assert_true(WIFSTOPPED(console_wait(&theatre->console)));
	assert_int_equal(tcsetattr(theatre->console.program, TCSANOW, &theatre->console.before), 0);
	screen_resize(&theatre->console.screen, 80, 24);
	clears = theatre->console.screen.clears;
	console_continue(&theatre->console);
	console_expect(&theatre->console, "  20/20 ");
	assert_true(theatre->console.screen.clears > clears);
	/* a key is a key again, without Enter */
	quit(theatre);
}

/* A terminal that is gone, under a shell that does not pass that on: nobody will type any more. */
static void test_hang_up(void **state)
{
	struct theatre *theatre = *state;
	struct console *console = &theatre->console;

	OPEN(theatre, 80, 24, EVERY);
	console_expect(console, "no endpoints yet");
	close(console->terminal);
	console->terminal = open("/dev/null", O_RDWR);
	assert_true(WIFEXITED(console_wait(console)));
}

static void test_counted(void **state)
{
	struct theatre *theatre = *state;

	OPEN(theatre, 80, 24, EVERY, "-n", "3");
	assert_int_equal(console_wait(&theatre->console), 0);
	console_expect_restored(&theatre->console);
}

/* ^L: whatever stood there. */
static void test_redraw(void **state)
{
	struct theatre *theatre = *state;

	OPEN(theatre, 80, 24, "--every", "1h");
	console_expect(&theatre->console, "no endpoints yet");
	screen_resize(&theatre->console.screen, 80, 24);
	console_type(&theatre->console, "\x0c");
	console_expect(&theatre->console, "no endpoints yet");
	quit(theatre);
}

/* ---- with a daemon ---- */

struct house {
	struct fixture weird;
	struct theatre theatre;
};

static int set_up_house(void **state)
{
	struct house *house = calloc(1, sizeof(*house));

	if (!house)
		return -1;
	fixture_begin(&house->weird);
	fixture_config(&house->weird, "[endpoint api]\nrate = 1/h\nburst = 10\n");
	fixture_start(&house->weird);
	snprintf(house->theatre.stage.dir, sizeof(house->theatre.stage.dir), "%s",
		 house->weird.dir);
	*state = house;
	return 0;
}

static int tear_down_house(void **state)
{
	struct house *house = *state;

	if (house->theatre.has_console)
		console_end(&house->theatre.console);
	fixture_end(&house->weird);
	free(house);
	return 0;
}

/* The rate is so low that what a test mints meanwhile does not show: levels are rounded down. */
static void take(struct fixture *weird, const char *name, double cost)
{
	struct weir *weir = fixture_open(weird);
	struct weir_endpoint *endpoint = fixture_endpoint(weir, name);

	assert_int_equal(weir_acquire(endpoint, cost, NULL), WEIR_ADMIT);
	weir_endpoint_close(endpoint);
	weir_close(weir);
}

static void test_daemon_dies(void **state)
{
	struct house *house = *state;
	struct console *console = &house->theatre.console;
	char pid[32];

	OPEN(&house->theatre, 80, 24, EVERY);
	snprintf(pid, sizeof(pid), "weird %ld", (long)house->weird.daemon);
	console_expect(console, pid);
	console_expect(console, "  10/10 ");
	fixture_stop(&house->weird, SIGKILL);
	console_expect(console, "weird is not running: limits stay in force");
	/* and it goes on reading */
	take(&house->weird, "api", 4);
	console_expect(console, "   6/10 ");
	fixture_start(&house->weird);
	console_expect_gone(console, "weird is not running");
	console_expect(console, "   6/10 ");
	quit(&house->theatre);
}

static void test_segment_replaced(void **state)
{
	struct house *house = *state;
	struct console *console = &house->theatre.console;

	OPEN(&house->theatre, 80, 24, EVERY);
	console_expect(console, "  10/10 ");
	/* more members than this segment has slots: a larger pair takes its place */
	console_expect(console, "/256");
	fixture_config(&house->weird, "members = 300\n"
				      "[endpoint api]\nrate = 1/h\nburst = 10\n"
				      "[endpoint more]\nrate = 1/h\nburst = 30\n");
	fixture_reload(&house->weird);
	console_expect(console, "/300");
	console_expect(console, "more");
	take(&house->weird, "api", 3);
	take(&house->weird, "more", 1);
	console_expect(console, "   7/10 ");
	console_expect(console, "  29/30 ");
	assert_true(screen_find(&console->screen, "is gone") < 0);
	quit(&house->theatre);
}

static void test_segment_removed(void **state)
{
	struct house *house = *state;
	struct console *console = &house->theatre.console;

	OPEN(&house->theatre, 120, 24, EVERY);
	console_expect(console, "  10/10 ");
	fixture_stop(&house->weird, SIGTERM);
	fixture_spawn(&house->weird, (const char *const[]){"--remove", NULL});
	assert_true(fixture_notified(&house->weird, "READY=1", FIXTURE_PATIENCE_MS));
	fixture_stop(&house->weird, SIGTERM);
	console_expect(console, "the instance is gone");
	console_expect(console, "  10/10 ");
	fixture_config(&house->weird, "[endpoint other]\nrate = 1/h\nburst = 5\n");
	fixture_start(&house->weird);
	console_expect(console, "other");
	console_expect_gone(console, "  10/10 ");
	assert_true(screen_find(&console->screen, "is gone") < 0);
	quit(&house->theatre);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
#define HOUSE(test) cmocka_unit_test_setup_teardown(test, set_up_house, tear_down_house)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_draws),
		CASE(test_sorting),
		CASE(test_filter),
		CASE(test_pause),
		CASE(test_help),
		CASE(test_interval),
		CASE(test_scrolling),
		CASE(test_sizes),
		CASE(test_colour),
		CASE(test_dumb),
		CASE(test_no_keyboard),
		CASE(test_ascii),
		CASE(test_signals),
		CASE(test_faults),
		CASE(test_bus_error),
		CASE(test_stop),
		CASE(test_hang_up),
		CASE(test_counted),
		CASE(test_redraw),
		HOUSE(test_daemon_dies),
		HOUSE(test_segment_replaced),
		HOUSE(test_segment_removed),
	};

	/* the screen knows the width of characters by it */
	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
