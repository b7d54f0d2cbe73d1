/* SPDX-License-Identifier: Apache-2.0
 *
 * property_life.h - one random life of an endpoint on the manual clock: every call goes through
 * the library and through the model, and whatever the two do not agree on (the verdict, the
 * answer, a word of the bucket) fails the test with the seed that replays it.
 *
 * Who holds a place in line looks whenever anything happens, and at the very tick at which the
 * library said that the place is due; so what is granted is granted at its time.
 */
#ifndef PROPERTY_LIFE_H
#define PROPERTY_LIFE_H

#include <stdbool.h>
#include <stdint.h>

#include "handle.h"
#include "property_model.h"
#include "weir.h"

#define LIFE_NS (3652 * 86400 * WEIR_SECOND) /* ten years */

enum {
	LIFE_CALLERS = 3,
	LIFE_HELD = 10,
	LIFE_STOPPED = 4,
	LIFE_INSTANTS = 4096,
	LIFE_GRANTS = 2048,
	LIFE_LINES = 400, /* of the report, the last of which are kept */
	LIFE_LINE_BYTES = 160,
};

/* What a test has met, so that nobody takes an empty one for a proof. */
#define LIFE_COUNTS(X)                                                                             \
	X(STEPS, "steps")                                                                          \
	X(ADMITTED, "admitted")                                                                    \
	X(REFUSED, "refused")                                                                      \
	X(SLEPT, "waits slept, right to the nanosecond")                                           \
	X(QUEUED, "places in line")                                                                \
	X(RENEWED, "lost and taken anew")                                                          \
	X(RETURNED, "given back")                                                                  \
	X(KEPT, "not given back")                                                                  \
	X(CHARGED, "settled above the estimate")                                                   \
	X(PUBLISHED, "publications")                                                               \
	X(MOVED, "into another row")                                                               \
	X(CLOSED, "closures")                                                                      \
	X(EMPTIED, "openings that somebody met")                                                   \
	X(RESETS, "resets")                                                                        \
	X(LATE, "takes by an old reading")

#define LIFE_COUNT_ENUM(name, text) COUNTED_##name,
enum life_counted { LIFE_COUNTS(LIFE_COUNT_ENUM) LIFE_COUNTED };

/*
 * What was granted, when its turn came, by the burst that its taker read; one that is taken by a
 * reading of the past counts at a moment between the reading and the take. Or what was given back
 * or away, as a cost below 0.
 */
struct life_grant {
	uint64_t at_ns;
	tokens minted; /* exactly, until then */
	tokens before; /* minted when its turn came, if that was between two looks */
	tokens cost;
	tokens burst;
	tokens excess; /* by how much its cost is above a burst that was lowered while it waited */
};

/* A reservation that a caller holds. */
struct life_held {
	struct weir_reservation reservation;
	struct model_place place;
	tokens cost;	/* in the unit it was taken in */
	unsigned moves; /* of the model then */
	bool live;
	bool granted;	  /* its turn has come */
	uint64_t wait_ns; /* until it is due, as the library said last */
};

/* A caller that has read the mark, the clock and the rule, and goes on later. */
struct life_stopped {
	bool live;
	const struct binding *binding;
	uint64_t mark;
	uint64_t v;
	uint64_t units;
	uint64_t burst;
	unsigned k;
	unsigned moves;
	unsigned instant; /* of the reading */
};

/* A moment: V never goes back, but in a move. */
struct life_instant {
	uint64_t at_ns;
	uint64_t v;
	tokens minted;
};

struct life {
	uint64_t seed;
	uint64_t random;
	bool aloud;
	unsigned step;
	unsigned long *counts;
	struct weir *weir;
	struct weir_endpoint *callers[LIFE_CALLERS];
	struct weir_endpoint *observer; /* draws nothing */
	const char *name;
	const char *target; /* of weir_update() */
	struct model model;
	struct life_held held[LIFE_HELD];
	struct life_stopped stopped[LIFE_STOPPED];
	uint64_t last_wait_ns; /* of the last refusal, or 0 */
	int last_reason;
	uint64_t left_ns; /* of time that may still pass */
	unsigned coarsest_k;
	tokens slack; /* of the model, in all rows */
	unsigned instant_count;
	unsigned grant_count;
	unsigned line_count;
	/* from here on not cleared when a life begins */
	struct life_instant instants[LIFE_INSTANTS];
	struct life_grant grants[LIFE_GRANTS]; /* in the order of time */
	char lines[LIFE_LINES][LIFE_LINE_BYTES];
};

/* ---- property_life.c ---- */

/* An endpoint with a random rule. */
void life_begin(struct life *life, uint64_t seed, bool aloud, unsigned long *counts);

/* After every step: who waits looks whether it is due; the words and weir_peek() must be right. */
void life_look_around(struct life *life);

/* Nothing more can be written down. */
bool life_is_full(const struct life *life);

/* Holds every interval to I1: granted <= burst + minted + given back. */
void life_end(struct life *life);

/* Takes now or never by any of the calls that do; true if it was admitted. */
bool life_take(struct life *life, double cost);

/* weir_wait() with less time than it takes: refused at once, and nobody sleeps. */
void life_wait_in_vain(struct life *life, double cost);

/* A cost that is none. */
void life_nonsense(struct life *life);

/* Takes all there is at one moment, to the last unit. */
void life_drain(struct life *life);

/* A caller reads what a call reads, and is stopped; another goes on. */
void life_stop(struct life *life, double cost);
void life_go_on(struct life *life, unsigned which);

void life_advance(struct life *life, uint64_t by_ns);

/* I2: refused, sleeps the wait less one tick, is refused, sleeps that tick, is admitted. */
void life_probe_wait(struct life *life, double cost);

void life_update(struct life *life, const struct model_rule *rule, enum weir_keep keep);
void life_close(struct life *life, uint64_t duration_ns);
void life_open(struct life *life);
void life_reset(struct life *life);

/* ---- property_places.c ---- */

void life_reserve(struct life *life, double cost, uint64_t max_wait_ns);
void life_cancel(struct life *life, unsigned which);
void life_settle(struct life *life, unsigned which, double actual_cost);
void life_look_at_all(struct life *life);

/* Whether somebody has lost a place and will take another. */
bool life_somebody_will_draw(const struct life *life);

/* ---- property_values.c: random values that the seed determines ---- */

uint64_t life_below(struct life *life, uint64_t bound);
bool life_chance(struct life *life, unsigned percent);
double life_fraction(struct life *life); /* from 0, below 1 */

struct model_rule life_random_rule(struct life *life, bool first);
double life_random_cost(struct life *life);
uint64_t life_random_time(struct life *life);

/* As the settings are written. */
void life_rate_text(const struct model_rate *rate, char *text, size_t bytes);
void life_tokens_text(uint64_t micro, char *text, size_t bytes);

/* ---- what the parts share ---- */

/* A line of the report that a failure prints. */
void life_say(struct life *life, const char *format, ...) __attribute__((format(printf, 2, 3)));
void life_fail(struct life *life, const char *file, int line, const char *what);

#define LIFE_CHECK(what)                                                                           \
	do {                                                                                       \
		if (!(what))                                                                       \
			life_fail(life, __FILE__, __LINE__, #what);                                \
	} while (0)

void life_grant(struct life *life, const struct life_grant *grant);

/* Tokens given back, or away by a change; nothing if it is none. */
void life_gift(struct life *life, tokens amount);

struct weir_endpoint *life_any_caller(struct life *life);

/* Units of the present row as tokens. */
double life_in_tokens(const struct life *life, uint64_t units);

/* What a call said, held to what the model says of it. */
void life_check_answer(struct life *life, const struct model_answer *expected, bool admitted,
		       const struct weir_answer *answer);
void life_check_level(struct life *life, double level);

#endif
