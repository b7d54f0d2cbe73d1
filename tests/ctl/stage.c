/* SPDX-License-Identifier: Apache-2.0 */
#include "stage.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "bucket.h"
#include "config.h"
#include "move.h"
#include "tally.h"
#include "value.h"

/* ---- the instance ---- */

void stage_begin(struct stage *stage)
{
	struct place_hints hints = {.name = "test"};

	*stage = (struct stage){.dir = "/tmp/weir-ctl-XXXXXX"};
	assert_non_null(mkdtemp(stage->dir));
	hints.shm_dir = stage->dir;
	assert_int_equal(place_resolve(&stage->place, &hints, PLACE_TO_CREATE), 0);
}

void stage_publish(struct stage *stage, enum clock_kind clock, uint32_t members)
{
	const struct segment_shape shape = {
		.rows = 32, .names = 8, .members = members, .clock = clock, .group = (gid_t)-1};

	assert_int_equal(segment_create(&stage->segment, &stage->place, &shape), 0);
	stage->published = true;
	stage_rule(stage, ROW_DEFAULT, "*", "10/s", "10");
	assert_int_equal(segment_reveal(&stage->segment, &stage->place), 0);
}

static void remove_folder(const char *dir)
{
	DIR *folder = opendir(dir);
	struct dirent *entry;

	while (folder && (entry = readdir(folder)))
		unlinkat(dirfd(folder), entry->d_name, 0);
	if (folder)
		closedir(folder);
	rmdir(dir);
}

void stage_end(struct stage *stage)
{
	if (stage->published)
		segment_detach(&stage->segment);
	remove_folder(stage->dir);
}

int stage_set_up_empty(void **state)
{
	struct stage *stage = malloc(sizeof(*stage));

	if (!stage)
		return -1;
	stage_begin(stage);
	*state = stage;
	return 0;
}

int stage_set_up(void **state)
{
	if (stage_set_up_empty(state) < 0)
		return -1;
	stage_publish(*state, CLOCK_KIND_MANUAL, 4);
	return 0;
}

int stage_tear_down(void **state)
{
	stage_end(*state);
	free(*state);
	return 0;
}

static struct terms terms_of(const char *rate, const char *burst)
{
	struct terms terms = {0};

	assert_null(config_set_term(&terms, "rate", rate));
	assert_null(config_set_term(&terms, "burst", burst));
	terms.initial_micro = terms.burst_micro;
	return terms;
}

uint32_t stage_rule(struct stage *stage, enum row_kind kind, const char *text, const char *rate,
		    const char *burst)
{
	/* relaxed: this process is the publisher */
	struct rule rule = {
		.kind = kind,
		.text = text,
		.order = atomic_load_explicit(&stage->segment.rules->rows_used,
					      memory_order_relaxed),
		.terms = terms_of(rate, burst),
	};
	int64_t row = rules_add(&stage->segment, &rule);

	assert_true(row >= 0);
	return (uint32_t)row;
}

void stage_change(struct stage *stage, const char *text, const char *rate, const char *burst)
{
	const struct terms_author author = {ORIGIN_OPERATOR, 4711};
	const struct terms terms = terms_of(rate, burst);
	int64_t row = strcmp(text, "*") ? names_exact_row(&stage->segment, text)
					: names_default_row(&stage->segment);

	assert_true(row >= 0);
	assert_true(rules_change(&stage->segment, (uint32_t)row, &terms, &author,
				 RULES_KEEP_USED) >= 0);
}

void stage_set(struct stage *stage, const char *text, const char *key, const char *value)
{
	int64_t row = strcmp(text, "*") == 0 ? names_default_row(&stage->segment)
					     : names_exact_row(&stage->segment, text);
	struct terms_author author;
	struct terms terms;
	uint64_t changed_ns;

	assert_true(row >= 0);
	segment_terms(&stage->segment, (uint32_t)row, &terms, &author, &changed_ns);
	assert_null(config_set_term(&terms, key, value));
	assert_null(config_finish_terms(&terms, true, true));
	assert_true(rules_change(&stage->segment, (uint32_t)row, &terms, &author,
				 RULES_KEEP_USED) >= 0);
}

void stage_advance(struct stage *stage, uint64_t ns)
{
	atomic_fetch_add(&stage->segment.state->manual_ns, ns);
}

struct resolution stage_resolve(struct stage *stage, const char *name)
{
	struct resolution found;

	assert_int_equal(names_resolve(&stage->segment, name, true, &found), 0);
	assert_int_equal(move_install(&stage->segment, NULL, found.row, found.bucket), 0);
	return found;
}

bool stage_take(struct stage *stage, const char *name, uint64_t tokens)
{
	struct resolution at = stage_resolve(stage, name);
	struct bucket *bucket = &stage->segment.buckets[at.bucket];
	struct bucket_windows windows;
	struct bucket_mark mark;
	struct line line;
	uint64_t now = line_read(&stage->segment.rows[at.row], &stage->segment.time, &line);
	const struct bucket_want want = {
		.unit = tokens << line.k,
		.least = 1,
		.most = 1,
		.limit = line.burst_units,
	};
	enum bucket_result result =
		line.flags & LINE_WINDOW ? bucket_take_window(bucket, bucket_load(bucket), &line,
							      now, &want, &windows)
					 : bucket_take(bucket, line_value(&line, now),
						       tokens << line.k, line.burst_units, &mark);
	bool taken = result == BUCKET_TAKEN;

	tally_count(&stage->segment.tallies, at.bucket,
		    taken ? COUNT_GRANTED_CALLS : COUNT_REFUSED_CALLS, tokens << line.k);
	return taken;
}

void stage_charge(struct stage *stage, const char *name, uint64_t tokens)
{
	struct resolution at = stage_resolve(stage, name);
	struct line line;
	uint64_t now = line_read(&stage->segment.rows[at.row], &stage->segment.time, &line);

	assert_int_equal(
		bucket_charge(&stage->segment.buckets[at.bucket], &line, now, tokens << line.k),
		BUCKET_TAKEN);
}

/* ---- weirctl ---- */

const char *stage_program = WEIRCTL_PROGRAM;

static void exec_weirctl(const struct stage *stage, const struct running *running,
			 const char *const *arguments)
{
	const char *argv[32] = {WEIRCTL_PROGRAM};
	size_t count = 1;
	int null = open("/dev/null", O_RDONLY);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (; *arguments && count < 31; arguments++)
		argv[count++] = *arguments;
	setenv("WEIR_NAME", stage->place.name, 1);
	setenv("WEIR_SHM_DIR", stage->dir, 1);
	setenv("TZ", "UTC", 1);
	unsetenv("WEIR_SOCKET");
	if (dup2(null, STDIN_FILENO) < 0 || dup2(running->out, STDOUT_FILENO) < 0 ||
	    dup2(running->err, STDERR_FILENO) < 0)
		_exit(99);
	execv(stage_program, (char *const *)(uintptr_t)argv);
	_exit(99);
}

void stage_open(struct running *out)
{
	out->out = memfd_create("out", MFD_CLOEXEC);
	out->err = memfd_create("err", MFD_CLOEXEC);
	assert_true(out->out >= 0 && out->err >= 0);
}

void stage_exec(const struct stage *stage, struct running *out, const char *const *arguments)
{
	out->pid = fork();
	assert_true(out->pid >= 0);
	if (out->pid == 0)
		exec_weirctl(stage, out, arguments);
}

void stage_spawn(const struct stage *stage, struct running *out, const char *const *arguments)
{
	stage_open(out);
	stage_exec(stage, out, arguments);
}

static void read_all(int fd, char *out, size_t bytes)
{
	ssize_t got = pread(fd, out, bytes - 1, 0);

	/* /dev/full cannot be read from */
	assert_true((size_t)got < bytes - 1 || got < 0);
	out[got > 0 ? got : 0] = '\0';
	close(fd);
}

void stage_wait(struct running *running, struct outcome *out)
{
	const struct timespec step = {0, 5000000};
	int status = 0;
	bool ended = false;

	for (int i = 0; i < STAGE_PATIENCE_S * 200 && !ended; i++) {
		ended = waitpid(running->pid, &status, WNOHANG) == running->pid;
		if (!ended)
			nanosleep(&step, NULL);
	}
	if (!ended) {
		kill(running->pid, SIGKILL);
		waitpid(running->pid, &status, 0);
	}
	out->status = WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
	read_all(running->out, out->out, sizeof(out->out));
	read_all(running->err, out->err, sizeof(out->err));
}

void stage_run(const struct stage *stage, struct outcome *out, const char *const *arguments)
{
	struct running running;

	stage_spawn(stage, &running, arguments);
	stage_wait(&running, out);
}

/* ---- expectations ---- */

void expect_status(const struct outcome *outcome, int status)
{
	if (outcome->status != status)
		fail_msg("exit status %d, not %d\n%s\n%s", outcome->status, status, outcome->out,
			 outcome->err);
}

void expect_text(const char *in, const char *text)
{
	if (!strstr(in, text))
		fail_msg("no `%s` in:\n%s", text, in);
}

void expect_no_text(const char *in, const char *text)
{
	if (strstr(in, text))
		fail_msg("`%s` is in:\n%s", text, in);
}

json_t *parse_json(const struct outcome *outcome)
{
	json_error_t error;
	json_t *root = json_loads(outcome->out, 0, &error);

	if (!root)
		fail_msg("no JSON (line %d: %s):\n%s\n%s", error.line, error.text, outcome->out,
			 outcome->err);
	return root;
}

json_t *find_object(json_t *array, const char *key, const char *text)
{
	json_t *object;
	size_t i;

	assert_true(json_is_array(array));
	json_array_foreach(array, i, object)
	{
		const char *found = json_string_value(json_object_get(object, key));

		if (found && !strcmp(found, text))
			return object;
	}
	return NULL;
}

const char *json_text(json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	if (!text)
		fail_msg("no text `%s`", key);
	return text;
}

double json_number(json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);

	if (!json_is_number(value))
		fail_msg("no number `%s`", key);
	return json_number_value(value);
}

int64_t json_whole(json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);

	if (!json_is_integer(value))
		fail_msg("no whole number `%s`", key);
	return json_integer_value(value);
}

bool json_flag(json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);

	if (!json_is_boolean(value))
		fail_msg("no truth value `%s`", key);
	return json_is_true(value);
}
