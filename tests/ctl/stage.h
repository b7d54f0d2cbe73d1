/* SPDX-License-Identifier: Apache-2.0
 *
 * stage.h - an instance that the test itself publishes, in a folder of its own, and weirctl run
 * on it as a process.
 */
#ifndef CTL_STAGE_H
#define CTL_STAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <jansson.h>

#include "names.h"
#include "place.h"
#include "rules.h"
#include "segment.h"

struct stage {
	char dir[64];
	struct place place;
	struct segment segment; /* published by the test */
	bool published;
};

/* A folder and nothing in it. */
void stage_begin(struct stage *stage);

/* An instance with 32 rows, 8 names and `members` members, and [default] 10/s, burst 10. */
void stage_publish(struct stage *stage, enum clock_kind clock, uint32_t members);
void stage_end(struct stage *stage);

/* For cmocka: *state is a stage with such an instance and 4 members, or with nothing. */
int stage_set_up(void **state);
int stage_set_up_empty(void **state);
int stage_tear_down(void **state);

/* Adds a rule; rate and burst as in weir.ini. Returns the row. */
uint32_t stage_rule(struct stage *stage, enum row_kind kind, const char *text, const char *rate,
		    const char *burst);

/* Changes one. */
void stage_change(struct stage *stage, const char *text, const char *rate, const char *burst);

/* Sets one term of a rule, as weirctl set does. */
void stage_set(struct stage *stage, const char *text, const char *key, const char *value);

/* Moves the manual clock. */
void stage_advance(struct stage *stage, uint64_t ns);

/* Takes tokens as a call would, counts included; the name gets its bucket. Returns whether. */
bool stage_take(struct stage *stage, const char *name, uint64_t tokens);

/* Takes them whatever the level: who comes next waits. */
void stage_charge(struct stage *stage, const char *name, uint64_t tokens);

struct resolution stage_resolve(struct stage *stage, const char *name);

/* ---- weirctl ---- */

struct outcome {
	int status; /* exit status, or 256 + signal */
	char out[65536];
	char err[16384];
};

#define STAGE_PATIENCE_S 90

/* Where weirctl is; for who may not walk to where it was built. */
extern const char *stage_program;

/* Runs weirctl with WEIR_SHM_DIR and WEIR_NAME of the stage; arguments end with NULL. */
void stage_run(const struct stage *stage, struct outcome *out, const char *const *arguments);

#define RUN(stage, outcome, ...) stage_run(stage, outcome, (const char *const[]){__VA_ARGS__, NULL})

/* Begins it and does not wait; stage_wait() does. */
struct running {
	pid_t pid;
	int out;
	int err;
};
void stage_spawn(const struct stage *stage, struct running *out, const char *const *arguments);

/* The two halves of that: where its output goes, and the process. */
void stage_open(struct running *out);
void stage_exec(const struct stage *stage, struct running *out, const char *const *arguments);
void stage_wait(struct running *running, struct outcome *out);

/* Fails the test with the texts, unless the status is that. */
void expect_status(const struct outcome *outcome, int status);

/* Fails the test unless the text is in there. */
void expect_text(const char *in, const char *text);
void expect_no_text(const char *in, const char *text);

/* Standard output as JSON; freed by the caller. */
json_t *parse_json(const struct outcome *outcome);

/* The member of an array of objects whose `key` is that text; NULL if there is none. */
json_t *find_object(json_t *array, const char *key, const char *text);

const char *json_text(json_t *object, const char *key);
double json_number(json_t *object, const char *key);
int64_t json_whole(json_t *object, const char *key);
bool json_flag(json_t *object, const char *key);

#endif
