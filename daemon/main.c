/* SPDX-License-Identifier: Apache-2.0
 *
 * weird - keeps the rules of an instance. This file: the order of the start and of the stop.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <uv.h>

#include "change.h"
#include "describe.h"
#include "fold.h"
#include "instance.h"
#include "log.h"
#include "notify.h"
#include "options.h"
#include "peer.h"
#include "persist.h"
#include "source.h"
#include "uv_control.h"
#include "uv_members.h"
#include "uv_observe.h"
#include "uv_persist.h"
#include "uv_signals.h"
#include "uv_watch.h"
#include "weir.h"

enum {
	EXIT_RUNTIME = 1,
	EXIT_USAGE = 2,
	EXIT_CONFIGURATION = 3,
};

/* What a start knows: the command line, the file, and where they lead. */
struct start {
	struct options options;
	struct source source;
	struct config config;
	bool absent; /* there is no default file */
	struct place place;
	gid_t group;
};

static const char *environment(const char *name)
{
	const char *value = getenv(name);

	return value && value[0] ? value : NULL;
}

static const char *given(const char *text)
{
	return text[0] ? text : NULL;
}

static const char *first(const char *a, const char *b)
{
	return a ? a : b;
}

/* ---- reading the configuration ---- */

static int find_source(struct start *start)
{
	const char *path = start->options.config;
	struct source *source = &start->source;

	if (!path)
		return source_default(source, geteuid() == 0, environment("XDG_CONFIG_HOME"),
				      environment("HOME"));
	if (strlen(path) >= sizeof(source->path))
		return -ENAMETOOLONG;
	strcpy(source->path, path);
	return 0;
}

static int read_config(struct start *start)
{
	char text[16384] = "";
	struct config_faults faults = {text, sizeof(text), 0, 0};
	int error = source_read(&start->config, &start->source, &faults, &start->absent);

	if (error == 0)
		return 0;
	if (start->options.mode == OPTIONS_CHECK)
		fputs(text, stderr);
	else
		log_lines(LOG_ERROR, text);
	return EXIT_CONFIGURATION;
}

static int find_place(struct start *start)
{
	const struct config *config = &start->config;
	struct place_hints hints = {
		.name = first(start->options.name,
			      first(environment("WEIR_NAME"), given(config->name))),
		.shm_dir = first(environment("WEIR_SHM_DIR"), given(config->shm_dir)),
		.socket = first(environment("WEIR_SOCKET"), given(config->socket)),
		.runtime_dir = environment("XDG_RUNTIME_DIR"),
		.uid = geteuid(),
	};
	int error = place_resolve(&start->place, &hints, PLACE_TO_CREATE);

	if (error == WEIR_ENAME)
		log_line(LOG_ERROR,
			 "'%s' is no name for an instance: 1 to %d bytes, no blank, no '/', no "
			 "leading '.'",
			 hints.name, WEIR_INSTANCE_MAX);
	else if (error < 0)
		log_line(LOG_ERROR, "shm_dir or socket: %s", weir_strerror(error));
	return error < 0 ? EXIT_CONFIGURATION : 0;
}

static void find_group(struct start *start)
{
	char name[64];

	if (peer_group(&start->group, start->config.group))
		return;
	peer_group_name(name, sizeof(name), start->group);
	log_line(LOG_WARNING, "group = %s: no such group, or weird may not use it; %s instead",
		 start->config.group, name);
}

/* ---- --check ---- */

static void print_rules(const struct config *config)
{
	for (size_t i = 0; i < config->rule_count; i++) {
		const struct config_rule *rule = &config->rules[i];
		char name[DESCRIBE_RULE_BYTES], terms[DESCRIBE_TERMS_BYTES], fold[FOLD_RULE_BYTES];

		printf("  %s: %s", describe_rule(rule->kind, rule->text, name),
		       describe_terms(&rule->terms, terms));
		if (rule->kind == ROW_EACH) {
			fold_write(rule->fold, fold);
			printf(", keys %llu, fold %s", (unsigned long long)rule->keys, fold);
		}
		printf("%s\n", rule->line ? "" : " (built in)");
	}
}

/* Whether the pair could be there; the one that is there may be in the way for now. */
static int check_space(const struct start *start, const struct space *space)
{
	if (!space_is_too_small(space)) {
		printf("%s: %s\n", start->source.path, start->absent ? "not there" : "no faults");
		return 0;
	}
	fprintf(stderr,
		"%s: the segment is larger than %s: lower `keys` or the other capacities, or give "
		"it more room\n",
		start->source.path, start->place.dir);
	return EXIT_CONFIGURATION;
}

static int check(const struct start *start)
{
	const struct config *config = &start->config;
	const struct segment_shape shape = instance_wanted_shape(config, start->group);
	char group[64], room[SPACE_TEXT_BYTES];
	struct space space;
	int status;

	space_look(&space, &shape, start->place.dir);
	status = check_space(start, &space);
	peer_group_name(group, sizeof(group), start->group);
	printf("instance %s in %s, socket %s, group %s\n", start->place.name, start->place.dir,
	       start->place.socket, group);
	printf("endpoints %u, names %u, members %u, permits %u, waiters %u\n", config->endpoints,
	       config->names, config->members, config->permits, config->waiters);
	printf("segment: %s\n", space_text(&space, start->place.dir, room));
	print_rules(config);
	persist_describe(config->state_file, stdout);
	return fflush(stdout) ? EXIT_RUNTIME : status;
}

/* ---- running ---- */

struct daemon {
	uv_loop_t loop;
	struct instance instance;
	struct uv_control control;
	struct uv_members members;
	struct uv_observe observe;
	struct uv_signals signals;
	struct uv_watch watch;
	struct persist persist;
	struct uv_persist saver;
};

/* Every start makes its handles before it can fail, so that every stop may close them. */
static int serve_start(struct daemon *daemon, const struct source *source)
{
	uint64_t watchdog_ns = notify_watchdog_ns(environment("WATCHDOG_USEC"),
						  environment("WATCHDOG_PID"), (long)getpid());
	struct instance *instance = &daemon->instance;
	uv_loop_t *loop = &daemon->loop;
	int control = uv_control_start(&daemon->control, loop, instance, source);
	int signals = uv_signals_start(&daemon->signals, loop, instance, source);
	int members = uv_members_start(&daemon->members, loop, instance);
	int watch = uv_watch_start(&daemon->watch, loop, instance, watchdog_ns);
	int observe = uv_observe_start(&daemon->observe, loop, instance);
	int saver = uv_persist_start(&daemon->saver, loop, &daemon->persist, instance);
	int error = signals   ? signals
		    : members ? members
		    : watch   ? watch
		    : observe ? observe
			      : saver;

	if (error < 0)
		log_line(LOG_ERROR, "cannot start the event loop: %s", uv_strerror(error));
	return control < 0 ? control : error;
}

static void serve_stop(struct daemon *daemon)
{
	uv_control_stop(&daemon->control);
	uv_signals_stop(&daemon->signals);
	uv_members_stop(&daemon->members);
	uv_observe_stop(&daemon->observe);
	uv_watch_stop(&daemon->watch);
	uv_persist_stop(&daemon->saver);
	uv_run(&daemon->loop, UV_RUN_DEFAULT);
	uv_members_free(&daemon->members);
}

static int serve(struct daemon *daemon, const struct source *source)
{
	const struct instance *instance = &daemon->instance;
	int error = serve_start(daemon, source);
	char status[160];

	if (error == 0) {
		log_line(LOG_INFO, "ready: instance %s, %u rules, control socket %s",
			 instance->place.name, instance_live_rows(instance),
			 instance->place.socket);
		snprintf(status, sizeof(status), "serving %s", instance->place.name);
		notify_ready(status);
		uv_run(&daemon->loop, UV_RUN_DEFAULT);
		notify_stopping();
	}
	serve_stop(daemon);
	return error < 0 ? EXIT_RUNTIME : 0;
}

/* The levels of before come between the rules and the first member. */
static int start_instance(struct start *start, struct instance *instance, struct persist *persist)
{
	int error = persist_open(persist, start->config.state_file, &start->place);

	if (error == 0)
		error = instance_start(instance, &start->place, &start->config, start->group);
	if (error == 0)
		error = persist_load(persist, instance);
	if (error == 0)
		error = change_start(instance);
	if (error < 0)
		return error;
	persist_restore(persist, instance);
	return instance_reveal(instance);
}

static int run(struct start *start)
{
	struct daemon daemon;
	int error = notify_open(environment("NOTIFY_SOCKET"));

	if (error < 0)
		log_line(LOG_WARNING, "NOTIFY_SOCKET: %s", weir_strerror(error));
	if (start->absent)
		log_line(LOG_INFO, "%s is not there: [default] is 10/s", start->source.path);
	error = start_instance(start, &daemon.instance, &daemon.persist);
	if (error == 0)
		error = uv_loop_init(&daemon.loop);
	if (error < 0) {
		persist_forget(&daemon.persist);
		return error == WEIR_ECONFIG ? EXIT_CONFIGURATION : EXIT_RUNTIME;
	}
	error = serve(&daemon, &start->source);
	uv_loop_close(&daemon.loop);
	persist_close(&daemon.persist, &daemon.instance);
	instance_stop(&daemon.instance, start->options.remove && error == 0);
	notify_close();
	return error;
}

/* ---- the process ---- */

/* A closed standard descriptor would be given to the next object that is opened, and the log
 * would be written into it. */
static int open_standard_descriptors(void)
{
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			return -1;
	return 0;
}

static int run_or_check(struct start *start)
{
	bool journal = environment("JOURNAL_STREAM") || environment("INVOCATION_ID");
	int status;

	log_open(start->options.log, journal);
	if (find_source(start) < 0) {
		log_line(LOG_ERROR, "the path of the configuration is too long");
		return EXIT_USAGE;
	}
	status = read_config(start);
	if (status)
		return status;
	start->source.log_fixed = start->options.log_given;
	if (!start->options.log_given)
		log_set_level(source_log_level(start->config.log));
	find_group(start);
	status = find_place(start);
	if (status == 0)
		status = start->options.mode == OPTIONS_CHECK ? check(start) : run(start);
	config_free(&start->config);
	return status;
}

int main(int count, char **arguments)
{
	struct start start = {.options.mode = OPTIONS_RUN};

	if (open_standard_descriptors() < 0)
		return EXIT_RUNTIME;
	signal(SIGPIPE, SIG_IGN);
	umask(0022);
	options_parse(&start.options, count, arguments);
	switch (start.options.mode) {
	case OPTIONS_HELP:
		return fputs(options_help, stdout) < 0 || fflush(stdout) ? EXIT_RUNTIME : 0;
	case OPTIONS_VERSION:
		printf("weird %s\n", WEIR_VERSION);
		return fflush(stdout) ? EXIT_RUNTIME : 0;
	case OPTIONS_WRONG:
		fprintf(stderr, "Try '%s --help'.\n", arguments[0]);
		return EXIT_USAGE;
	case OPTIONS_RUN:
	case OPTIONS_CHECK:
		break;
	}
	return run_or_check(&start);
}
