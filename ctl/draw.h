/* SPDX-License-Identifier: Apache-2.0
 *
 * draw.h - what acquire, run and load have in common: taking tokens as any program does, through
 * libweir.
 */
#ifndef WEIRCTL_DRAW_H
#define WEIRCTL_DRAW_H

#include <stdbool.h>
#include <stdint.h>

#include "ctl.h"
#include "weir.h"

struct draw {
	struct weir *weir;
	struct weir_endpoint *endpoint;
	const char *name;
	const char *class_name; /* or NULL */
	double cost;
	uint64_t wait_ns; /* 0: now or never */
	enum weir_verdict verdict;
	struct weir_answer answer;
};

/* Attaches as a member and resolves the name. Returns 0 or a code. */
int draw_attach(struct draw *draw, const struct ctl *ctl);

/* Leaves. */
void draw_close(struct draw *draw);

/* Says why an attachment failed. Returns CTL_CANNOT. */
enum ctl_exit draw_complain(const struct ctl *ctl, int status);

/*
 * Takes as the command line says: NAME, -n COST, --wait D (`wait_ns` without it). Returns
 * CTL_DONE, CTL_REFUSED, or CTL_CANNOT after a complaint. Leaves *draw open unless CTL_CANNOT.
 */
enum ctl_exit draw_take(struct draw *draw, const struct ctl *ctl, uint64_t wait_ns);

#define DRAW_SENTENCE_BYTES 256
/* "0.2 s until 5 tokens are there", of a refusal. Returns out. */
const char *draw_refusal(const struct draw *draw, char out[DRAW_SENTENCE_BYTES]);

/* The same of the refusal that shadow mode did not make, or a shadow limit would have made. */
const char *draw_shadow(const struct draw *draw, char out[DRAW_SENTENCE_BYTES]);

/* "level", "closed", ...: the reason of an answer, for programs. */
const char *draw_reason(int32_t reason);

#endif
