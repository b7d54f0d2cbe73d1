/* SPDX-License-Identifier: Apache-2.0
 *
 * property_model.h - what doc/design.md says of an endpoint, once more and by other means: the
 * line, the mark, the closure, places in line, changes. The tests of the invariants hold the
 * library to it word by word, and the model's own V to what its rates mint exactly.
 *
 * It shares no code with the library. There is one caller at a time, and time moves by
 * model_advance() alone.
 */
#ifndef PROPERTY_MODEL_H
#define PROPERTY_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "weir.h"

__extension__ typedef __int128 tokens; /* 2^-64 token */
__extension__ typedef unsigned __int128 wide;

struct model_rate {
	uint64_t micro;	    /* millionths of a token per period; 0: nothing is minted */
	uint64_t period_ns; /* above 0 */
	bool unlimited;	    /* everything passes, and nothing is minted or charged */
};

struct model_rule {
	struct model_rate rate;
	uint64_t burst_micro;
	uint64_t initial_micro; /* at most the burst */
	uint64_t max_wait_ns;	/* 0: no bound but the arithmetic's */
};

struct model_gate {
	bool unmet; /* a closure, over or not, whose end nobody has met */
	uint64_t opens_ns;
	unsigned closings;
	unsigned resets;
};

/* A row and its bucket; amounts in units of 2^-k token. */
struct model_row {
	unsigned k;
	bool unlimited;
	uint64_t burst;
	uint64_t initial;
	uint64_t reach;	   /* no mark may be further ahead of V */
	uint64_t slope;	   /* 2^-60 unit a nanosecond, rounded up */
	uint64_t since_ns; /* of the last publication */
	wide value;	   /* V then, in 2^-64 unit */
	bool fresh;	   /* nobody has used the bucket */
	uint64_t mark;
	struct model_gate gate;
};

struct model {
	struct model_rule rule;
	uint64_t now_ns;
	struct model_row row;
	struct model_row old; /* the one before the last move */
	uint64_t old_v;	      /* there, when the present row was born */
	enum weir_keep kept;  /* of the level, on the way from there */
	unsigned moves;
	tokens minted; /* exactly, at row.since_ns */
	tokens born;   /* exactly, when the present row was born */
	tokens slack;  /* by how much a slope that is rounded up may have gone further since */
};

/* One unit of 2^-k token. */
static inline tokens model_unit(unsigned k)
{
	return (tokens)1 << (64 - k);
}

/* A cost in units, rounded up. */
uint64_t model_units(double cost, unsigned k);

/* The k of a new row: the largest for which the rule's ten years fit (doc/design.md, Units). */
unsigned model_best_k(const struct model_rule *rule);

void model_begin(struct model *model, const struct model_rule *rule, uint64_t now_ns);
void model_advance(struct model *model, uint64_t by_ns);

/* What has been minted exactly; V by the present line, at any moment and now. */
tokens model_minted(const struct model *model);
uint64_t model_value(const struct model *model, uint64_t at_ns);
static inline uint64_t model_v(const struct model *model)
{
	return model_value(model, model->now_ns);
}

/* Whether V is what was minted, cut to a unit. */
bool model_is_exact(const struct model *model);

/* The two words of the bucket. */
uint64_t model_mark_word(const struct model *model);
uint64_t model_gate_word(const struct model *model);

/* Units that are there, an opening that nobody has met yet included; below 0 when some queue. */
int64_t model_level(const struct model *model);

static inline bool model_closed(const struct model *model)
{
	return model->row.gate.unmet && model->row.gate.opens_ns > model->now_ns;
}

/* What is spoken for, beyond what has been minted. */
tokens model_spoken(const struct model *model);

/* What a call comes to. */
struct model_answer {
	bool admitted;
	int fault;
	int reason;	   /* enum weir_reason */
	bool until_opens;  /* the wait is until V is `target`, and at least until the opening */
	uint64_t target;   /* also of one who is admitted and must wait */
	uint64_t position; /* admitted: the mark afterwards */
};

/* Takes so many units, or says why not, for one who would wait so long (0: not at all). */
struct model_answer model_take(struct model *model, uint64_t units, uint64_t max_wait_ns);

/*
 * Whether `wait_ns` is the shortest after which V is `target`: no shorter one does, and this one
 * does. WEIR_NEVER where no wait helps.
 */
bool model_wait_is_right(const struct model *model, uint64_t target, uint64_t wait_ns);
/* Where V lets so many units pass behind a closure: it opens empty, or with what is spoken for. */
uint64_t model_target_behind(const struct model *model, uint64_t units);

/* The same for who is refused by a closure. */
bool model_wait_behind_is_right(const struct model *model, uint64_t target, uint64_t wait_ns);

/* The first use of a bucket gives it its initial level. */
void model_use(struct model *model);

struct model_place {
	uint64_t position;
	uint64_t units;
	unsigned k;
	unsigned closings;
	unsigned resets;
	unsigned moves;
	bool charged; /* false: taken under `unlimited` */
};
struct model_place model_place(const struct model *model, const struct model_answer *answer,
			       uint64_t units);

enum model_look {
	MODEL_DUE,
	MODEL_LATER,  /* when V is position - burst */
	MODEL_BEHIND, /* the endpoint is closed */
	MODEL_VOID,
};

/* A holder looks whether it is its turn. */
enum model_look model_look(struct model *model, struct model_place *place);

/* Follows its mark, and says whether it is none any more. */
bool model_place_void(const struct model *model, struct model_place *place);

/* Gives back up to so many units, counted as the place was before; returns what went back. */
uint64_t model_give_back(struct model *model, struct model_place *place, uint64_t units);

/* Adds a debt. */
void model_charge(struct model *model, double cost);

void model_close(struct model *model, uint64_t duration_ns);
void model_open(struct model *model);

/*
 * Another rule; `moved`: in a new row. model_reset() fills. Both return by how many 2^-64 tokens
 * less is spoken for afterwards.
 */
tokens model_publish(struct model *model, const struct model_rule *rule, enum weir_keep keep,
		     bool moved);
tokens model_reset(struct model *model);

#endif
