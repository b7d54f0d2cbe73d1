/* SPDX-License-Identifier: Apache-2.0
 *
 * instance.h - the pair that is served: started, adopted, replaced by a successor, left or
 * removed. Owns the struct segment; knows no loop and no socket.
 *
 * Killed anywhere: the daemon's lock falls, the objects stay, and the next start adopts them or
 * finishes what was under way (segment_recover(), header.predecessor).
 */
#ifndef WEIRD_INSTANCE_H
#define WEIRD_INSTANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "config.h"
#include "place.h"
#include "reconcile.h"
#include "rules.h"
#include "segment.h"
#include "space.h"

#define INSTANCE_PAST 4

struct instance {
	struct place place;
	struct config config; /* what runs, as it was read; owned */
	struct segment segment;
	/* pairs that were replaced, oldest first: their members' last counts are carried over
	 * until none is left */
	struct segment past[INSTANCE_PAST];
	unsigned past_count;
	gid_t group;
	int lock_fd;
	bool revealed;		 /* the pair has the instance's name */
	struct segment replaced; /* to be retired when the new pair gets its name */
	uint64_t started_s;	 /* wall clock */
	uint64_t names_refused;
};

/*
 * Takes the daemon's lock, recovers, and adopts (out->revealed) or makes a pair that has neither
 * rules nor a name yet: give it both, by change_start() and instance_reveal(). Takes over
 * `config`. Logs what it finds. Returns 0 or a code that has been logged.
 */
int instance_start(struct instance *out, const struct place *place, struct config *config,
		   gid_t group);

/*
 * Makes a pair that has no name and no rules yet again, with so much more room for keys; without
 * that if it cannot be had, which has been logged. Returns 0, or a code: then there is no pair.
 */
int instance_widen(struct instance *instance, uint32_t tables, uint64_t bins);

/* Gives a new pair its name. Returns 0 or a code that has been logged. */
int instance_reveal(struct instance *instance);

/*
 * Replaces the pair by one of another shape (or the same, without the rows that are gone). The
 * levels move along; members follow by themselves. The rule of the kind and text of `instead`
 * (NULL: none) has the terms of `instead` in the new pair. Returns 0 or a code; the old pair
 * stays then.
 */
int instance_succeed(struct instance *instance, const struct segment_shape *shape,
		     const struct rule *instead);

/* The shape that the configuration asks for, and the one that is. */
struct segment_shape instance_wanted_shape(const struct config *config, gid_t group);
struct segment_shape instance_shape(const struct instance *instance);

/* What a pair of that shape needs, and what there is: space_text(). */
char *instance_space(const struct instance *instance, const struct segment_shape *shape,
		     char out[SPACE_TEXT_BYTES]);

/*
 * What the tables of keys of `config` need beyond the present: sets the shape's tables and bins for
 * it, and *instead to a list of rules whose tables change their size (malloc'ed as one; NULL: none)
 * for instance_succeed(). Without `smaller`, only those that grow. Returns 1 if that takes a new
 * pair, 0 if not, -ENOMEM.
 */
int instance_plan_tables(const struct instance *instance, const struct config *config, bool smaller,
			 struct segment_shape *shape, struct rule **instead);

/* The live rows, by value; *rules is malloc'ed. Returns 0 or -ENOMEM. */
int instance_rules(const struct instance *instance, struct running_rule **rules, size_t *count);
uint32_t instance_live_rows(const struct instance *instance);
struct terms instance_terms(const struct instance *instance, uint32_t row);

/* The pair before this one, as move_install() wants it; NULL if none is mapped. */
const struct segment *instance_old(const struct instance *instance);

/* Carries the counts of replaced pairs over and lets go of those without members; warns of full
 * tables. Now and then, a few times a second at most. */
void instance_tend(struct instance *instance);

/* A clean stop: the objects stay, or (`remove`) go. */
void instance_stop(struct instance *instance, bool remove);

#endif
