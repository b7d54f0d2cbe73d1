/* SPDX-License-Identifier: Apache-2.0 */
#include "plot.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "value.h"

#define PROGRAM "gnuplot"

extern char **environ;

static bool ends_with(const char *text, const char *end)
{
	size_t bytes = strlen(text);

	return bytes > strlen(end) && !strcmp(text + bytes - strlen(end), end);
}

/* The terminal of gnuplot that draws such a file; NULL: none. */
static const char *terminal_for(const char *path)
{
	if (ends_with(path, ".svg"))
		return "svg size 900,500 dynamic";
	return ends_with(path, ".png") ? "pngcairo size 900,500" : NULL;
}

/* Whether a program is found where the shell would look for it. */
static bool is_installed(const char *program)
{
	const char *path = getenv("PATH");

	while (path && *path) {
		size_t bytes = strcspn(path, ":");
		char file[4096];

		snprintf(file, sizeof(file), "%.*s/%s", (int)bytes, path, program);
		if (access(file, X_OK) == 0)
			return true;
		path += bytes + (path[bytes] == ':');
	}
	return false;
}

bool plot_possible(const char *path, char wrong[PLOT_WRONG_BYTES])
{
	if (!terminal_for(path))
		snprintf(wrong, PLOT_WRONG_BYTES, "the name of a plot ends with .svg or .png");
	else if (!is_installed(PROGRAM))
		snprintf(wrong, PLOT_WRONG_BYTES,
			 "it takes gnuplot, which is not installed (Debian: gnuplot-nox)");
	else
		return true;
	return false;
}

/* ---- drawing ---- */

/* Runs it with the script as its input and the picture as its output. Returns its status. */
static int run(int script, int picture, int *status)
{
	char *const arguments[] = {(char[]){PROGRAM}, NULL};
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int wrong = posix_spawn_file_actions_init(&actions);

	if (wrong)
		return -wrong;
	posix_spawn_file_actions_adddup2(&actions, script, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, picture, STDOUT_FILENO);
	wrong = posix_spawnp(&pid, PROGRAM, &actions, NULL, arguments, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (wrong)
		return -wrong;
	while (waitpid(pid, status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

static bool draw(const char *path, FILE *script, char wrong[PLOT_WRONG_BYTES])
{
	int picture = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	int status = 0;
	int failed;

	if (picture < 0 || fflush(script) != 0 || lseek(fileno(script), 0, SEEK_SET) < 0)
		failed = -errno;
	else
		failed = run(fileno(script), picture, &status);
	if (picture >= 0 && close(picture) < 0 && !failed)
		failed = -errno;
	if (failed)
		snprintf(wrong, PLOT_WRONG_BYTES, "%s", strerror(-failed));
	else if (status)
		snprintf(wrong, PLOT_WRONG_BYTES, "gnuplot did not draw it");
	return !failed && !status;
}

/* A script that goes on in a file without a name; NULL after saying why there is none. */
static FILE *begin(const char *path, char wrong[PLOT_WRONG_BYTES])
{
	FILE *script = tmpfile();

	if (!script) {
		snprintf(wrong, PLOT_WRONG_BYTES, "%s", strerror(errno));
		return NULL;
	}
	fprintf(script,
		"set terminal %s font 'sans,11' background '#ffffff'\n"
		"set border 3\nset tics nomirror out\nset grid ytics lc '#dddddd'\n"
		"set key top right\nset yrange [0:*]\n",
		terminal_for(path));
	return script;
}

static double percent(uint64_t part, uint64_t all)
{
	return all ? 100.0 * (double)part / (double)all : 0;
}

bool plot_sweep(const char *path, const struct replay *replay, const struct sweep *sweep,
		char wrong[PLOT_WRONG_BYTES])
{
	char unit[VALUE_TEXT_BYTES] = "";
	FILE *script = begin(path, wrong);
	bool done;

	if (!script)
		return false;
	if (sweep->what == SWEEP_RATE)
		value_rate_text(TERMS_MICRO, sweep->period_ns, unit);
	fprintf(script, "set xlabel '%s%s'\nset ylabel 'percent'\n$sweep << EOD\n",
		sweep->what == SWEEP_RATE ? "rate, in " : "burst", unit);
	for (unsigned i = 0; i < replay->count; i++) {
		const struct replay_limit *limit = &replay->limits[i];

		fprintf(script, "%.6f %.6f %.6f\n", (double)sweep->micro[i] / (double)TERMS_MICRO,
			percent(limit->refused, replay_requests(replay)),
			percent(replay_hit(replay, limit), replay_keys(replay)));
	}
	fprintf(script, "EOD\nplot $sweep using 1:2 with linespoints pt 7 ps 0.5 lc '#b2182b' "
			"title 'requests refused', "
			"$sweep using 1:3 with linespoints pt 7 ps 0.5 lc '#2166ac' "
			"title 'keys of which some were refused'\n");
	done = draw(path, script, wrong);
	fclose(script);
	return done;
}

bool plot_time(const char *path, const struct replay *replay, char wrong[PLOT_WRONG_BYTES])
{
	const struct timeline *timeline = &replay->timeline;
	double length_s = (double)timeline_length_ns(timeline) / 1e9;
	FILE *script = begin(path, wrong);
	bool done;

	if (!script)
		return false;
	fprintf(script, "set xdata time\nset timefmt '%%s'\nset format x \"%%m-%%d\\n%%H:%%M\"\n"
			"set ylabel 'requests a second'\nset xlabel 'UTC'\n"
			"set style fill solid noborder\n$time << EOD\n");
	for (unsigned i = 0; i < timeline->count; i++)
		fprintf(script, "%.0f %.6f %.6f\n", (double)timeline_begin_ns(timeline, i) / 1e9,
			(double)timeline->spans[i].admitted / length_s,
			(double)timeline->spans[i].refused / length_s);
	fprintf(script,
		"EOD\nplot $time using ($1+%.6f):($2+$3):(%.6f) with boxes lc '#b2182b' "
		"title 'refused', "
		"$time using ($1+%.6f):2:(%.6f) with boxes lc '#92c5de' title 'admitted'\n",
		length_s / 2, length_s, length_s / 2, length_s);
	done = draw(path, script, wrong);
	fclose(script);
	return done;
}
