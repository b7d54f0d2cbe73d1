/* SPDX-License-Identifier: Apache-2.0
 *
 * Completion: what the scripts offer is what the program has, names are those of the instance
 * that the line speaks of; asked of the function in bash, and typed with a TAB in bash and zsh.
 */
#include <setjmp.h>
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
#include "stage.h"

struct scene {
	struct stage stage;
	struct console console;
	char folder[96]; /* WEIR_SHM_DIR= */
	char path[4096]; /* PATH= with weirctl's folder first */
	char script[96]; /* of the shell that is tried */
};

static int set_up(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	const char *slash = strrchr(WEIRCTL_PROGRAM, '/');

	if (!scene)
		return -1;
	stage_begin(&scene->stage);
	stage_publish(&scene->stage, CLOCK_KIND_MANUAL, 4);
	stage_rule(&scene->stage, ROW_EXACT, "api.github.com", "5/s", "20");
	stage_rule(&scene->stage, ROW_EXACT, "POST api.example.com/a", "5/s", "20");
	stage_rule(&scene->stage, ROW_EXACT, "db:main", "5/s", "20");
	stage_rule(&scene->stage, ROW_EXACT, "db:spare", "5/s", "20");
	stage_rule(&scene->stage, ROW_PATTERN, "img.*", "5/s", "20");
	stage_resolve(&scene->stage, "user@host");
	snprintf(scene->folder, sizeof(scene->folder), "WEIR_SHM_DIR=%s", scene->stage.dir);
	snprintf(scene->path, sizeof(scene->path), "PATH=%.*s:%s", (int)(slash - WEIRCTL_PROGRAM),
		 WEIRCTL_PROGRAM, getenv("PATH"));
	*state = scene;
	return 0;
}

static int tear_down(void **state)
{
	struct scene *scene = *state;

	stage_end(&scene->stage);
	free(scene);
	return 0;
}

/* Writes what `weirctl completion SHELL` prints into the scene's folder. */
static void write_script(struct scene *scene, const char *shell)
{
	static struct outcome outcome;
	FILE *file;

	RUN(&scene->stage, &outcome, "completion", shell);
	expect_status(&outcome, 0);
	snprintf(scene->script, sizeof(scene->script), "%s/_weirctl", scene->stage.dir);
	file = fopen(scene->script, "we");
	assert_non_null(file);
	assert_true(fputs(outcome.out, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

/* ---- bash, by its function ---- */

static const char *const ask_bash = "source \"$1\"\n"
				    "COMP_LINE=$2 COMP_POINT=${#2} COMPREPLY=()\n"
				    "_weirctl\n"
				    "printf '[%s]' \"${COMPREPLY[@]}\"\n";

static void run_bash(const struct scene *scene, const char *script, const char *line, int out)
{
	putenv((char *)(uintptr_t)scene->folder);
	putenv((char *)(uintptr_t)scene->path);
	setenv("WEIR_NAME", "test", 1);
	unsetenv("WEIR_SOCKET");
	/* completion may complain to nobody: what it says would stand in the line */
	if (dup2(out, STDOUT_FILENO) < 0 || dup2(out, STDERR_FILENO) < 0)
		_exit(99);
	execlp("bash", "bash", "--norc", "--noprofile", "-c", script, "bash", scene->script, line,
	       NULL);
	_exit(99);
}

/* What bash offers for a line whose end is the cursor, each in brackets. */
static void expect_offer(const struct scene *scene, const char *line, const char *expected)
{
	char answer[4096];
	size_t used = 0;
	ssize_t got;
	int ends[2], status;
	pid_t pid;

	assert_int_equal(pipe(ends), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		run_bash(scene, ask_bash, line, ends[1]);
	close(ends[1]);
	while ((got = read(ends[0], answer + used, sizeof(answer) - 1 - used)) > 0)
		used += (size_t)got;
	answer[used] = '\0';
	close(ends[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status != 0 || strcmp(answer, expected) != 0)
		fail_msg("`%s` offers %s\n          not %s", line, answer, expected);
}

static void test_bash_commands(void **state)
{
	struct scene *scene = *state;

	write_script(scene, "bash");
	expect_offer(scene, "weirctl re", "[reset][reload]");
	expect_offer(scene, "weirctl", "[]");
	expect_offer(scene, "weirctl help me", "[members]");
	expect_offer(scene, "weirctl completion ", "[bash][zsh]");
	expect_offer(scene, "weirctl --json li", "[list]");
	expect_offer(scene, "weirctl members x", "[]");
	expect_offer(scene, "weirctl no-such ", "[]");
}

static void test_bash_options(void **state)
{
	struct scene *scene = *state;

	write_script(scene, "bash");
	expect_offer(scene, "weirctl --v", "[--version]");
	expect_offer(scene, "weirctl set api.github.com --k", "[--keep]");
	expect_offer(scene, "weirctl set api.github.com --keep ",
		     "[used][level][proportional][reset]");
	expect_offer(scene, "weirctl set api.github.com --keep=l", "[level]");
	expect_offer(scene, "weirctl top --sort q", "[queue]");
	expect_offer(scene, "weirctl top --n", "[--name][--no-color]");
	/* only those of the command */
	expect_offer(scene, "weirctl list --n", "[--name][--names]");
	expect_offer(scene, "weirctl acquire --wait ", "[]");
	/* others may run on this machine */
	expect_offer(scene, "weirctl -N tes", "[test]");
	expect_offer(scene, "weirctl --name=tes", "[test]");
	expect_offer(scene, "weirctl acquire api -- --", "[]");
}

static void test_bash_names(void **state)
{
	struct scene *scene = *state;

	write_script(scene, "bash");
	expect_offer(scene, "weirctl show ",
		     "[api.github.com][POST\\ api.example.com/a][db:main][db:spare][img.\\*][\\*]"
		     "[user@host]");
	expect_offer(scene, "weirctl show a", "[api.github.com]");
	/* who draws has no use for a pattern */
	expect_offer(scene, "weirctl acquire i", "[]");
	expect_offer(scene, "weirctl close i", "[img.\\*]");
	/* blanks and what bash cuts words at: it replaces what stands behind the cut */
	expect_offer(scene, "weirctl show POST\\ a", "[POST\\ api.example.com/a]");
	expect_offer(scene, "weirctl show 'POST a", "[POST api.example.com/a]");
	expect_offer(scene, "weirctl show \"POST a", "[POST api.example.com/a]");
	expect_offer(scene, "weirctl show db:", "[main][spare]");
	expect_offer(scene, "weirctl show 'db:s", "[db:spare]");
	expect_offer(scene, "weirctl show user@", "[host]");
	/* nothing that is typed is executed */
	expect_offer(scene, "weirctl show '$(touch /no-such/x)`", "[]");
	expect_offer(scene, "weirctl show api.github.com ", "[]");
	expect_offer(scene, "weirctl acquire -n 2 api", "[api.github.com]");
	/* of another instance, and of one that is not there */
	expect_offer(scene, "weirctl -N other show ", "[]");
	expect_offer(scene, "weirctl show -N test ap", "[api.github.com]");
	expect_offer(scene, "weirctl --name=other show ", "[]");
	expect_offer(scene, "weirctl --shm-dir /no-such show ", "[]");
}

static void test_bash_rest(void **state)
{
	struct scene *scene = *state;
	char line[128], expected[128];

	write_script(scene, "bash");
	expect_offer(scene, "weirctl set api.github.com r", "[rate=]");
	expect_offer(scene, "weirctl set api.github.com rate=5/s max_w", "[max_wait=]");
	expect_offer(scene, "weirctl run api.github.com -- weirct", "[weirctl]");
	expect_offer(scene, "weirctl run api.github.com weirct", "[weirctl]");
	snprintf(line, sizeof(line), "weirctl run api.github.com -- cat %s/_w", scene->stage.dir);
	snprintf(expected, sizeof(expected), "[%s]", scene->script);
	expect_offer(scene, line, expected);
	snprintf(line, sizeof(line), "weirctl --shm-dir %.*s", (int)strlen(scene->stage.dir) - 1,
		 scene->stage.dir);
	snprintf(expected, sizeof(expected), "[%s]", scene->stage.dir);
	expect_offer(scene, line, expected);
}

/* Every command and every option that the help has is offered, and nothing else. */
static void test_bash_is_complete(void **state)
{
	static const char check[] =
		"source \"$1\"\n"
		"offer() { COMP_LINE=$1 COMP_POINT=${#1} COMPREPLY=(); _weirctl;"
		" printf '%s\\n' \"${COMPREPLY[@]}\" | sort; }\n"
		"has() { sed -n 's/^  .*--\\([a-z-]*\\).*/--\\1/p;s/^  -\\(.\\), .*/-\\1/p' | "
		"sort; }\n"
		"letters() { sed -n 's/^  \\(-.\\), .*/\\1/p'; }\n"
		"count=0\n"
		"for command in $(weirctl help | sed -n 's/^  \\([a-z][a-z]*\\)  *[a-z].*/\\1/p'); "
		"do\n"
		"  help=$(weirctl help $command)\n"
		"  all=$( (sed -n 's/^  .*\\(--[a-z-]*\\).*/\\1/p' <<<\"$help\"; letters "
		"<<<\"$help\")"
		" | sort)\n"
		"  [ \"$all\" = \"$(offer \"weirctl $command -\")\" ] || echo \"options of "
		"$command: $all\"\n"
		"  offer 'weirctl ' | grep -qx $command || echo \"no $command\"\n"
		"  count=$((count + 1))\n"
		"done\n"
		"[ $((count + 1)) = \"$(offer 'weirctl ' | wc -l)\" ] || echo \"$count commands\"\n"
		"[ $count -ge 14 ] || echo \"only $count\"\n";
	struct scene *scene = *state;
	char answer[4096];
	size_t used = 0;
	ssize_t got;
	int ends[2];
	pid_t pid;

	write_script(scene, "bash");
	assert_int_equal(pipe(ends), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		run_bash(scene, check, "", ends[1]);
	close(ends[1]);
	while ((got = read(ends[0], answer + used, sizeof(answer) - 1 - used)) > 0)
		used += (size_t)got;
	answer[used] = '\0';
	close(ends[0]);
	waitpid(pid, NULL, 0);
	assert_string_equal(answer, "");
}

/* ---- by the key ---- */

static bool find_program(const char *name, char out[256])
{
	char path[4096];

	snprintf(path, sizeof(path), "%s", getenv("PATH"));
	for (char *folder = strtok(path, ":"); folder; folder = strtok(NULL, ":")) {
		snprintf(out, 256, "%.200s/%s", folder, name);
		if (access(out, X_OK) == 0)
			return true;
	}
	return false;
}

/* An error was told of, and below it is nothing but a prompt: the shell is waiting for keys. */
static bool is_ready(const struct console *console, const void *context)
{
	char row[SCREEN_ROW_BYTES];
	int last = -1;

	for (unsigned y = 0; y < console->screen.height; y++)
		if (screen_row(&console->screen, y, row)[0])
			last = (int)y;
	return screen_find(&console->screen, context) >= 0 && last >= 0 &&
	       !strcmp(screen_row(&console->screen, (unsigned)last, row), ">");
}

static void open_shell(struct scene *scene, const char *const *argv)
{
	const char *settings[] = {"WEIR_NAME=test", "TERM=dumb",   "LC_ALL=C",	"HISTFILE=",
				  "PS1=> ",	    scene->folder, scene->path, NULL};

	console_begin(&scene->console, 200, 40, settings, argv);
	console_expect(&scene->console, ">");
}

static void prepare_shell(struct scene *scene, const char *commands)
{
	console_type(&scene->console, commands);
	console_type(&scene->console, "no-such-command\r");
	console_expect_that(&scene->console, is_ready, "not found", "a prompt");
	screen_resize(&scene->console.screen, 200, 40);
}

/* Types keys, and waits for what the line becomes; then empties it. */
static void expect_line(struct scene *scene, const char *keys, const char *line)
{
	console_type(&scene->console, keys);
	console_expect(&scene->console, line);
	console_type(&scene->console, "\x15no-such-command\r");
	console_expect_that(&scene->console, is_ready, "not found", "a prompt");
	screen_resize(&scene->console.screen, 200, 40);
}

static void expect_keys(struct scene *scene)
{
	expect_line(scene, "weirctl memb\tx", "weirctl members x");
	expect_line(scene, "weirctl show api\tx", "weirctl show api.github.com x");
	expect_line(scene, "weirctl show POST\tx", "weirctl show POST\\ api.example.com/a x");
	expect_line(scene, "weirctl show db:m\tx", "weirctl show db:main x");
	expect_line(scene, "weirctl show db\ts\tx", "weirctl show db:spare x");
	expect_line(scene, "weirctl set db:main bu\t5", "weirctl set db:main burst=5");
	expect_line(scene, "weirctl top --sort q\tx", "weirctl top --sort queue x");
	/* the command is what stands behind the assignments */
	expect_line(scene, "WEIR_NAME=test weirctl memb\tx", "WEIR_NAME=test weirctl members x");
	expect_line(scene, "true; weirctl show api\tx", "true; weirctl show api.github.com x");
	expect_line(scene, "weirctl -N test show us\tx", "weirctl -N test show user@host x");
	expect_line(scene, "weirctl run db:main -- weirc\t--", "weirctl run db:main -- weirctl --");
}

static void test_bash_keys(void **state)
{
	struct scene *scene = *state;
	char bash[256], source[192];

	write_script(scene, "bash");
	assert_true(find_program("bash", bash));
	open_shell(scene, (const char *const[]){bash, "--norc", "--noprofile", "-i", NULL});
	snprintf(source, sizeof(source), "source %s; bind 'set bell-style none'\r", scene->script);
	prepare_shell(scene, source);
	expect_keys(scene);
	console_end(&scene->console);
}

static void test_zsh_keys(void **state)
{
	struct scene *scene = *state;
	char zsh[256], source[256];

	if (!find_program("zsh", zsh)) {
		print_message("skipped: completion in zsh (there is no zsh)\n");
		skip();
	}
	write_script(scene, "zsh");
	open_shell(scene, (const char *const[]){zsh, "-f", "-i", NULL});
	snprintf(source, sizeof(source),
		 "autoload -U compinit; compinit -D -u; PS1='> ' PS2='> '; source %s\r",
		 scene->script);
	prepare_shell(scene, source);
	expect_keys(scene);
	console_end(&scene->console);
}

/* As it is installed: a function that is loaded when it is needed, and works the second time. */
static void test_zsh_autoload(void **state)
{
	struct scene *scene = *state;
	char zsh[256], source[256];

	if (!find_program("zsh", zsh)) {
		print_message("skipped: completion in zsh (there is no zsh)\n");
		skip();
	}
	write_script(scene, "zsh");
	open_shell(scene, (const char *const[]){zsh, "-f", "-i", NULL});
	snprintf(source, sizeof(source),
		 "fpath=(%s $fpath); autoload -U compinit; compinit -D -u; PS1='> '\r",
		 scene->stage.dir);
	prepare_shell(scene, source);
	expect_line(scene, "weirctl show api\tx", "weirctl show api.github.com x");
	expect_line(scene, "weirctl show img\tx", "weirctl show img.\\* x");
	console_end(&scene->console);
}

static void test_misuse(void **state)
{
	static struct outcome outcome;
	struct scene *scene = *state;

	RUN(&scene->stage, &outcome, "completion", "fish");
	expect_status(&outcome, 2);
	expect_text(outcome.err, "completion: `fish`: bash or zsh");
	RUN(&scene->stage, &outcome, "list", "--names", "--json");
	expect_status(&outcome, 2);
	RUN(&scene->stage, &outcome, "list", "--names");
	expect_status(&outcome, 0);
	assert_string_equal(outcome.out, "api.github.com\nPOST api.example.com/a\ndb:main\n"
					 "db:spare\nimg.*\n*\nuser@host\n");
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_bash_commands), CASE(test_bash_options),     CASE(test_bash_names),
		CASE(test_bash_rest),	  CASE(test_bash_is_complete), CASE(test_bash_keys),
		CASE(test_zsh_keys),	  CASE(test_zsh_autoload),     CASE(test_misuse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
