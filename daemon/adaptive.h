/* SPDX-License-Identifier: Apache-2.0
 *
 * adaptive.h - the speed at which an endpoint may be drawn from, as its upstream's responses have
 * it. Pure: values in, values out; no clock, no allocation, no segment.
 *
 * Fed with what each response said and with what this host had drawn by then, it answers with a
 * speed within [min, configured rate], until when that holds, and why. It only ever asks for
 * less than the rule allows, so a lost daemon or a lost datagram costs adaptation, never a limit.
 * What is urgent (a closure, a lower level) was done by the worker, in the segment; what is asked
 * for here comes on top of it.
 *
 *	upstream says		what is done
 *	remaining and reset	spend what is left evenly until shortly before the reset
 *	remaining that refills	(token bucket, sliding window) keep a small reserve of it
 *	nothing, or lies	429 and 503 slow down, time without them speeds up
 *
 * Times are nanoseconds on one clock that never steps back, the same for all calls on a struct.
 * Nothing in an observation is trusted: what is not a number, below 0 or absurdly large counts as
 * not said.
 */
#ifndef WEIRD_ADAPTIVE_H
#define WEIRD_ADAPTIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "token_clock.h"

enum adaptive_mode {
	ADAPTIVE_OFF,	  /* the configured rate, whatever is observed */
	ADAPTIVE_HEADERS, /* what responses say; what their status suggests where they say nothing
			   */
	ADAPTIVE_AIMD,	  /* what their status suggests; quotas that they name are not looked at */
};

/* What the operator configured. */
struct adaptive_settings {
	enum adaptive_mode mode;
	double rate_per_s;     /* the ceiling; infinity: none */
	double burst;	       /* tokens; at least 1 */
	double min_per_s;      /* the floor, at most the ceiling; 0: a hundredth of the ceiling */
	double safety;	       /* above 0, at most 1 */
	uint64_t window_ns;    /* of the upstream, where it is known and not said; 0: unknown */
	uint64_t max_close_ns; /* no closure that is asked for here is longer */
};

#define ADAPTIVE_SAFETY 0.9
#define ADAPTIVE_MAX_CLOSE_NS 3600000000000ull

/* What a response was, as far as limits go. */
enum adaptive_outcome {
	ADAPTIVE_PASSED,   /* the upstream did what was asked, or failed for a reason of its own */
	ADAPTIVE_LIMITED,  /* 429, or what the profile says is the same */
	ADAPTIVE_OVERLOAD, /* 503, 529 */
};

/* What a response says; a value that it does not say is left out. */
enum adaptive_says {
	ADAPTIVE_SAYS_LIMIT = 1u << 0,
	ADAPTIVE_SAYS_REMAINING = 1u << 1,
	ADAPTIVE_SAYS_RESET = 1u << 2,
	ADAPTIVE_SAYS_WINDOW = 1u << 3,
	ADAPTIVE_SAYS_RETRY = 1u << 4,
};

/* One response, of one budget. */
struct adaptive_observation {
	uint64_t response_ns; /* when it was there */
	uint64_t latency_ns;  /* since the request went out */
	enum adaptive_outcome outcome;
	unsigned says; /* enum adaptive_says */
	double limit;
	double remaining;
	uint64_t reset_ns; /* from the response on */
	uint64_t window_ns;
	uint64_t retry_ns; /* likewise; 0: at once, which is not believed */
	double drawn;	   /* tokens that this host has taken by now, less those given back */
};

/* Why a speed is what it is. */
enum adaptive_cause {
	ADAPTIVE_CAUSE_CONFIGURED, /* nothing was learned, or it has expired */
	ADAPTIVE_CAUSE_OFF,	   /* not adaptive, or frozen */
	ADAPTIVE_CAUSE_QUOTA,	   /* what is left, spread over the time until the reset */
	ADAPTIVE_CAUSE_SPENT,	   /* nothing is left until the reset */
	ADAPTIVE_CAUSE_REFILL,	   /* as fast as the upstream's quota comes back */
	ADAPTIVE_CAUSE_SHARED,	   /* as QUOTA, but others draw on the same quota */
	ADAPTIVE_CAUSE_REFUSED,	   /* slower, after a 429 or 503 */
	ADAPTIVE_CAUSE_RECOVERY,   /* faster again, some time after the last of them */
	ADAPTIVE_CAUSES,
};

struct adaptive_decision {
	double rate_per_s;	  /* within [min, configured] */
	double burst;		  /* tokens, at least 1, at most the configured burst */
	double level_most;	  /* lower the level to that, never raise it; infinity: leave it */
	uint64_t closed_until_ns; /* keep closed until then; 0: not asked for */
	uint64_t from_ns;	  /* time of the response that it rests on; 0: of none */
	uint64_t expires_ns;	  /* then the configured rate holds again; UINT64_MAX: it stays */
	uint64_t next_ns; /* call adaptive_tick() then at the latest; UINT64_MAX: no need to */
	enum adaptive_cause cause;
	bool distrusts;	  /* the upstream's quota was contradicted by what it did: not looked at */
	double limit;	  /* as learned, for people; below 0: not known */
	double remaining; /* at from_ns */
	uint64_t reset_at_ns; /* 0: not known */
};

/* ---- What is kept of an endpoint. Only adaptive*.c look inside. ---- */

#define ADAPTIVE_DRAWS 64

struct adaptive_draw {
	uint64_t at_ns;
	double drawn;
};

/* What this host has drawn, at some moments of the recent past. */
struct adaptive_draws {
	struct adaptive_draw at[ADAPTIVE_DRAWS]; /* a ring; `newest` is the last of `count` */
	unsigned newest;
	unsigned count;
};

/* A value that changes with time, fitted by a straight line; older samples fade. */
struct adaptive_trend {
	uint64_t begun_ns; /* times below are seconds since; values are less the first one */
	uint64_t last_ns;
	double first;
	double weight, t, v, tt, tv; /* sums over the samples, by weight */
	unsigned samples;
};

/* What responses have said of the quota. */
struct adaptive_quota {
	bool known;	       /* there was one, and it has not expired */
	double limit;	       /* as said, else the most that was ever left */
	double remaining;      /* of the newest response */
	uint64_t from_ns;      /* when that was there */
	uint64_t sent_ns;      /* when its request went out */
	uint64_t begun_ns;     /* when the first response of this window was there */
	uint64_t end_from_ns;  /* the window ends between the two */
	uint64_t end_to_ns;    /* 0: when it ends is not known */
	uint64_t window_ns;    /* its length, as said or seen; 0: not known */
	uint64_t late_ns;      /* so much later than it says it was renewed */
	bool was_left;	       /* once at least, something was */
	bool refused;	       /* that nothing is left was confirmed by a refusal */
	unsigned refilling;    /* evidence that it comes back bit by bit */
	uint64_t mile_from_ns; /* an end that was named some time ago, as above */
	uint64_t mile_to_ns;
	unsigned advancing;    /* evidence that ends move ahead before they have come */
	unsigned names_first;  /* evidence that the end is when the first of it comes back */
	double last_supply;    /* by the response before */
	double surprises;      /* of late, what did not fit what was known */
	unsigned same;	       /* responses in a row that say the same number is left */
	double same_drawn;     /* drawn when the first of them was there */
	double same_per_s;     /* the speed then */
	bool frozen;	       /* the number does not follow what is drawn */
	unsigned strikes;      /* contradictions, less those that windows as promised made good */
	unsigned time_strikes; /* likewise, of when it is renewed */
	unsigned distrusted;   /* so often it came to that */
	uint64_t distrust_ns;  /* until then it is not looked at */
	uint64_t timeless_ns;  /* until then the times that it names are not */
	double refill_per_s;   /* speed while it refills; 0: not set */
	uint64_t refill_at_ns; /* when that was set */
	struct adaptive_trend supply; /* of what is left and what was drawn, together */
};

/* What refusals suggest. */
struct adaptive_guess {
	bool begun;		 /* there was a refusal that no quota explains */
	bool probing;		 /* nothing has passed since the last one */
	bool greedy;		 /* before it, the speed was made use of */
	unsigned short_left;	 /* so many short cycles are not taken seriously */
	double peak_per_s;	 /* the speed then */
	double base_per_s;	 /* the speed that recovery starts from */
	uint64_t base_ns;	 /* when it starts */
	uint64_t episode_ns;	 /* what was sent before is of the last refusal's episode */
	uint64_t closed_ns;	 /* closed until then */
	uint64_t pause_ns;	 /* the last closure's length, where the upstream named none */
	uint64_t retry_ns;	 /* that it named; 0: none */
	uint64_t passed_from_ns; /* what has passed is counted since then */
	double passed;
	bool anew;		 /* no refusal began that cycle, but the time */
	uint64_t recent_from_ns; /* and since then: the cycle that is under way */
	double recent;
};

struct adaptive {
	uint64_t now_ns;
	uint64_t newest_ns;  /* of the responses that were taken in */
	uint64_t latency_ns; /* smoothed */
	uint64_t jitter_ns;  /* its mean deviation */
	struct adaptive_draws draws;
	struct adaptive_quota quota;
	struct adaptive_guess guess;
	struct adaptive_decision last; /* the one in force */
};

/* Nothing was observed yet. */
void adaptive_begin(struct adaptive *adaptive, const struct adaptive_settings *settings,
		    uint64_t now_ns, double drawn);

/*
 * Takes in a response. `now_ns` is the present time, at or after response_ns. A response that is
 * older than one that was taken in before adds nothing but its refusal. Returns whether *out
 * differs from the last decision by enough to be put in force.
 */
bool adaptive_observe(struct adaptive *adaptive, const struct adaptive_settings *settings,
		      uint64_t now_ns, const struct adaptive_observation *observation,
		      struct adaptive_decision *out);

/* Time went by: expiry and recovery. Returns as adaptive_observe() does. */
bool adaptive_tick(struct adaptive *adaptive, const struct adaptive_settings *settings,
		   uint64_t now_ns, double drawn, struct adaptive_decision *out);

/*
 * The configured terms with a decision's rate and burst: what is to be published. The rate is
 * rounded down to a micro-token a second or finer, never to 0. A rule with windows keeps its rate:
 * that is a quota, no speed.
 */
void adaptive_terms(const struct adaptive_decision *decision, const struct terms *configured,
		    struct terms *out);

/* "what is left, spread until the reset": for the log and weirctl show. Never NULL. */
const char *adaptive_cause_text(enum adaptive_cause cause);

#endif
