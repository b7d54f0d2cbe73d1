/* SPDX-License-Identifier: Apache-2.0
 *
 * change.h - carries changes out on an instance, and says each in the log: what, from what to
 * what, by whom. Knows no socket. A change that finds no row left makes a successor pair and is
 * tried again there.
 */
#ifndef WEIRD_CHANGE_H
#define WEIRD_CHANGE_H

#include "control.h"
#include "instance.h"
#include "source.h"

/* Applies the configuration that instance_start() took over: all of it to a new pair, a
 * difference to an adopted one, in which what an operator set stays. Returns 0 or a code that has
 * been logged. */
int change_start(struct instance *instance);

/*
 * Reads the configuration again and applies the difference; with a fault in it, or a rule that
 * cannot be applied, says so and keeps what runs. `who` for the log; reply may be NULL.
 */
void change_reload(struct instance *instance, const struct source *source, const char *who,
		   uid_t uid, struct control_reply *reply);

/*
 * Adds a rule, or changes the terms of the one of that kind and text ([default]: of that kind).
 * Return its row, or WEIR_EROWS: the table is full of live rules, WEIR_ENORULE, WEIR_EVALUE.
 */
int64_t change_add(struct instance *instance, const struct rule *rule);
int64_t change_rule(struct instance *instance, const struct rule *rule, enum rules_keep keep);

/* A line of the log, "TEXT (BY)", and of the reply to whoever asked (may be NULL). */
__attribute__((format(printf, 4, 5))) void change_say(struct control_reply *reply,
						      enum log_level level, const char *by,
						      const char *format, ...);

#endif
