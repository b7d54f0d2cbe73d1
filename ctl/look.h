/* SPDX-License-Identifier: Apache-2.0
 *
 * look.h - reads a segment without touching it: what is mapped here is mapped read-only, and no
 * daemon is needed. What it says was true at some moment during the call.
 */
#ifndef WEIRCTL_LOOK_H
#define WEIRCTL_LOOK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "ctl.h"
#include "layout.h"
#include "permits.h"
#include "render.h"
#include "segment.h"
#include "shadow.h"
#include "tally.h"
#include "token_clock.h"

struct look {
	struct segment segment;
	struct segment old; /* the pair it replaces, while marks are still being moved */
	bool has_old;
	bool alive;    /* a daemon serves the instance */
	pid_t daemon;  /* its pid; 0: cannot be told */
	uint64_t hz;   /* ticks a second */
	uint64_t pair; /* as in the rules header */
};

/* Attaches, or complains and returns false. Waits half a second for what is being made. */
bool look_open(struct look *out, const struct ctl *ctl);

/* The same without a word; returns 0 or what segment_attach() says. */
int look_attach(struct look *out, const struct place *place);

/* The same, and does not wait. */
int look_attach_once(struct look *out, const struct place *place);

void look_close(struct look *look);

/* How many responses weird was not told of, and how many it did not take. */
void look_add_observations(const struct look *look, struct page *page);

/* "tsc", "monotonic", "manual" */
const char *look_clock_name(const struct look *look);

/* What a view is of, in the order of a list: what stands below [default] comes after it. */
enum view_kind {
	VIEW_EXACT,
	VIEW_PATTERN,
	VIEW_EACH,    /* a rule with a bucket for each key, or one of its keys */
	VIEW_DEFAULT, /* the rule of [default], which has no bucket */
	VIEW_NAME,    /* a name under [default] */
	VIEW_CROWDED, /* the bucket of the names that found the table of names full */
};

/* A rule and the bucket that one asks about, as values. */
struct view {
	enum view_kind kind;
	uint32_t row;
	uint32_t bucket;
	uint64_t key;		      /* of a VIEW_EACH; 0: it is the rule */
	uint32_t order;		      /* place in the file */
	char rule[LAYOUT_TEXT_BYTES]; /* the rule's own name or pattern */
	char name[LAYOUT_TEXT_BYTES]; /* what one asks about; of rules: the same */
	struct terms terms;
	struct terms_author author;
	uint64_t changed_ns;
	struct line line;
	uint64_t now; /* ticks */
	uint64_t now_ns;
	uint64_t v;
	bool used; /* the bucket has a mark */
	bool closed;
	uint64_t closed_ns;  /* until it opens; UINT64_MAX: until somebody opens it */
	int64_t level_units; /* below 0: so many are spoken for beyond the burst */
	uint64_t queue_ns;   /* until the last in line has passed; UINT64_MAX: never */
	uint64_t closings;   /* counted, modulo 128 */
	uint64_t began;	     /* LINE_FIRST: V where the window under way began; 0: there is none */
	uint64_t more_ns;    /* until there is a whole token more; UINT64_MAX: never */
	uint64_t renews_ns;  /* of a rule with windows, until the next one; 0: by the next use */
	uint64_t resets;     /* counted, modulo 256 */
	struct tally_sum tally;
	struct shadow_sum shadow;
	int64_t shadow_level_units; /* of the shadow limit, if there is one */
	struct permit_sum permits;
};

/*
 * Reads a rule and a bucket. `name` NULL: the rule's own text. Row and bucket must be below the
 * segment's capacities.
 */
void look_view(const struct look *look, uint32_t row, uint32_t bucket, const char *name,
	       struct view *out);

/* Reads the bucket of a view of view_kind VIEW_EACH again, of the key that it says by now. */
void look_key(const struct look *look, struct view *view);

/* The rule of a name whose bucket nobody has claimed yet. */
void look_unclaimed(const struct look *look, uint32_t row, const char *name, struct view *out);

/*
 * What a name leads to, as a call would resolve it; "*" is the rule of [default], the text of a
 * pattern is that pattern's rule. Returns 0, or WEIR_ENAME, WEIR_EDAMAGED.
 */
int look_name(const struct look *look, const char *name, struct view *out);

/*
 * The bucket, + 1, that this one took over from; 0: none. *elsewhere: in the pair before. As it
 * stands in the segment, not bounded.
 */
uint32_t look_source(const struct segment *segment, uint32_t row, uint32_t bucket, bool *elsewhere);

/* Units of the view's rule as tokens. */
double view_tokens(const struct view *view, uint64_t units);
double view_level(const struct view *view);
/* Whether it is in shadow mode, and whether a shadow limit stands beside it. */
bool view_is_shadow(const struct view *view);
bool view_has_shadow(const struct view *view);
/* Whether something learned is in force in place of the rule's own rate. */
bool view_is_adapted(const struct view *view);
/* Tokens a second as they were learned; 0: nothing was. */
double view_learned_rate(const struct view *view);
/* Tokens a second by the rule's own terms; infinity when unlimited. */
double view_rate(const struct view *view);
/* How many tokens are spoken for beyond the burst. */
double view_queue(const struct view *view);

#define VIEW_STATE_BYTES 80
/* "open", "closed 12 s", "queue 3.2 s", "renews in 12 min", "stopped", "unlimited"; "shadow, open"
 */
const char *view_state(const struct view *view, char out[VIEW_STATE_BYTES]);

/* The words that list and show have in common: limits, level, counts, state. */
void view_add_limits(const struct view *view, struct page *page, bool titles);
void view_add_level(const struct view *view, struct page *page, bool titles);
void view_add_counts(const struct view *view, struct page *page, bool titles);
void view_add_state(const struct view *view, struct page *page, bool titles);
/* What was learned of the upstream, and how it is followed: for programs. */
void view_add_learned(const struct view *view, struct page *page);
/* Permits held and the limit, calls in line for one. In text columns, for lists in which anything
 * has `concurrency`. */
bool view_has_permits(const struct view *view);
void view_add_permits(const struct view *view, struct page *page, bool columns);

/*
 * A concurrency that is found, and why it is what it is: its members, and for people a line
 * "found".
 */
void view_add_found(const struct look *look, const struct view *view, struct page *page);
/* What shadows count. In text a column of its own, for lists in which anything has a shadow. */
void view_add_shadow(const struct view *view, struct page *page, bool column);

#endif
