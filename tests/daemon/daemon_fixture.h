/* SPDX-License-Identifier: Apache-2.0
 *
 * daemon_fixture.h - a weird of its own for a test: folder, configuration, process, log, socket.
 *
 * Every wait is bounded; a daemon dies with its test, and the folder goes with the fixture.
 */
#ifndef DAEMON_FIXTURE_H
#define DAEMON_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "weir.h"
#include "wire.h"

#define FIXTURE_PATIENCE_MS 20000

struct fixture {
	char dir[64]; /* of everything: objects, socket, configuration, log */
	char config[96];
	char log[96];
	char socket[96];
	char notify[96]; /* where READY=1 and its like arrive */
	int notify_fd;
	pid_t daemon; /* 0: none runs */
	const char *program;
	const char *fault; /* WEIR_FAULT of the next start, or NULL */
	const char *watchdog_usec;
	bool is_untold; /* the next start has no inotify */
	bool is_mounted;
	bool saves; /* the configuration has a `state_file`, DIR/levels */
};

void fixture_begin(struct fixture *fixture);
/* On a tmpfs of so many bytes ("12m"), in a mount namespace of this process; or -errno. */
int fixture_begin_small(struct fixture *fixture, const char *size);
void fixture_end(struct fixture *fixture);

/* cmocka's set-up and tear-down: *state is a struct fixture. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

/* The configuration: "[weir]" with shm_dir, then `rest`, which may go on in that section. */
void fixture_config(const struct fixture *fixture, const char *rest);

/* Runs weird -c CONFIG ARGUMENT... (NULL-terminated) and does not wait. */
void fixture_spawn(struct fixture *fixture, const char *const *arguments);

/* The same, without arguments, and waits until it is ready. */
void fixture_start(struct fixture *fixture);

/* Waits for the end; the exit status, or 256 + signal. Fails the test if it does not come. */
int fixture_wait(struct fixture *fixture);

/* Sends a signal and waits for the end. */
int fixture_stop(struct fixture *fixture, int signal);

/* Sends SIGHUP and waits until the reload is over. */
void fixture_reload(struct fixture *fixture);

/* Waits for a datagram that begins with `text`; earlier ones are dropped. Returns false if none
 * comes (or the daemon dies) in `ms`. */
bool fixture_notified(struct fixture *fixture, const char *text, unsigned ms);

/* Whether the log has a line with `text`; waits for one. */
bool fixture_logged(const struct fixture *fixture, const char *text);
bool fixture_has_logged(const struct fixture *fixture, const char *text);
void fixture_clear_log(const struct fixture *fixture);

/* A reply, with what it points into. */
struct answer {
	unsigned char bytes[WIRE_MAX_BYTES];
	struct wire_message message;
};

/* Connects; the descriptor, or -errno. */
int fixture_connect(const struct fixture *fixture);

/* Asks; the code of the reply. Fails the test if none comes. */
int fixture_ask(const struct fixture *fixture, const struct wire_message *request,
		struct answer *answer);

/* SET NAME KEY=VALUE; the code of the reply. */
int fixture_set(const struct fixture *fixture, const char *name, const char *key, const char *value,
		struct answer *answer);

/* Reads one reply. Returns false at the end of the stream or after the patience. */
bool fixture_read_answer(int fd, struct answer *answer);

/* libweir's handle on the fixture's instance. */
struct weir *fixture_open(const struct fixture *fixture);
struct weir_endpoint *fixture_endpoint(struct weir *weir, const char *name);
double fixture_level(struct weir_endpoint *endpoint);
double fixture_rate(struct weir_endpoint *endpoint);

void fixture_sleep_ms(unsigned ms);

/* How often the threads of weird that live have gone to sleep by themselves so far. */
long fixture_wake_ups(const struct fixture *fixture);

#endif
