/* SPDX-License-Identifier: Apache-2.0
 *
 * weir.h - one rate limit for all processes of a host.
 *
 *	struct weir *weir;
 *	struct weir_endpoint *api;
 *
 *	if (weir_open(&weir, NULL) < 0 || weir_endpoint(weir, "api.github.com", &api) < 0)
 *		return 1;
 *	if (weir_wait(api, 1.0, 5 * WEIR_SECOND, NULL))
 *		call_the_api();
 *
 * Threads: every function may be called by any number of threads at once, on the same handles,
 * but for the two that free one (weir_close, weir_endpoint_close).
 * Fork: handles made before a fork work in the child. Signals: only weir_strerror and
 * weir_version may be called from a signal handler.
 * Progress: "lock-free" below means without a lock, without a system call but on the first use,
 * after a fork or after the daemon changed the table of rules, and without waiting for any
 * other process, alive or dead.
 * Time: durations are nanoseconds. Tokens: doubles above 0; whole tokens are exact, parts are
 * rounded up to the rule's unit (weirctl show says which).
 */
#ifndef WEIR_H
#define WEIR_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

#define WEIR_VERSION "0.1.0"

#define WEIR_MILLISECOND 1000000ull
#define WEIR_SECOND 1000000000ull
#define WEIR_FOREVER UINT64_MAX /* a time-out that never comes */
#define WEIR_NEVER UINT64_MAX	/* a wait that does not help */

/* The longest name of an endpoint or pattern, and of an instance, in bytes. */
#define WEIR_NAME_MAX 127
#define WEIR_INSTANCE_MAX 63

struct weir;	      /* one instance, attached */
struct weir_endpoint; /* one name, resolved */

/*
 * Codes of failure. Functions that return int return 0 or more on success, a code of this list
 * or a negative errno on failure. weir_strerror() has the texts.
 */
#define WEIR_ERRORS(X)                                                                             \
	X(WEIR_EABSENT, -5001, "no such instance: is weird running, and under this name?")         \
	X(WEIR_EUNREADY, -5002, "the instance is still being made")                                \
	X(WEIR_EFOREIGN, -5003, "not a weir segment")                                              \
	X(WEIR_ETRUNCATED, -5004, "the segment is shorter than its header says")                   \
	X(WEIR_EOLDER, -5005, "the segment has an older layout: restart weird after the upgrade")  \
	X(WEIR_ENEWER, -5006, "the segment has a newer layout: upgrade this program")              \
	X(WEIR_ELAYOUT, -5007, "the segment was made by an incompatible build of weir")            \
	X(WEIR_EBOOT, -5008, "the segment was made before the last boot: start weird")             \
	X(WEIR_EOWNER, -5009, "the segment's owner is neither root nor the expected user")         \
	X(WEIR_EPAIR, -5010, "the rules and the state object do not belong together")              \
	X(WEIR_ETIMENS, -5011, "this process lives in another time namespace than the segment")    \
	X(WEIR_EDAMAGED, -5012, "the segment's bytes contradict each other")                       \
	X(WEIR_ENOCLOCK, -5013, "this machine cannot read the segment's clock")                    \
	X(WEIR_EMEMBERS, -5014, "the table of members is full: raise `members` in weir.ini")       \
	X(WEIR_EROWS, -5015, "the table of endpoints is full: raise `endpoints` in weir.ini")      \
	X(WEIR_ENAME, -5016, "a name is 1 to 127 bytes: no control characters, no blank ends")     \
	X(WEIR_ECOST, -5017, "a cost must be a number above 0")                                    \
	X(WEIR_EBURST, -5018, "the cost is above the burst: it can never pass")                    \
	X(WEIR_EVALUE, -5019, "a value that cannot be read or is out of range")                    \
	X(WEIR_ECONFIG, -5020, "the configuration has faults")                                     \
	X(WEIR_ENORULE, -5021, "no rule of that name")                                             \
	X(WEIR_ESPENT, -5022, "a place in line or a permit that was used or given back before")    \
	X(WEIR_EHOST, -5023, "only the program that hosts the segment can do that")                \
	X(WEIR_ERUNNING, -5024, "another daemon serves this instance")                             \
	X(WEIR_EWIRE, -5025, "a message that cannot be understood")                                \
	X(WEIR_EDENIED, -5026, "changing needs root, the daemon's user or its group")              \
	X(WEIR_ESPACE, -5027, "not enough room where the segment belongs (is /dev/shm full?)")     \
	X(WEIR_ECLASS, -5028, "a class is 1 to 12 of the letters a-z, digits, - and _")            \
	X(WEIR_EPERMITS, -5029, "the table of permits is full: raise `permits` in weir.ini")       \
	X(WEIR_EWAITERS, -5030, "the table of waiters is full: raise `waiters` in weir.ini")       \
	X(WEIR_ESTRANGER, -5031, "this permit belongs to another process")                         \
	X(WEIR_EEXPIRED, -5032, "this permit was held longer than max_hold and taken away")        \
	X(WEIR_EHELD, -5033, "permits are held: a table can only be enlarged when none is")        \
	X(WEIR_EKEY, -5034, "a rule of [each] needs a key, no other takes one, and a key no gate")

enum weir_error {
#define WEIR_ERROR_ENUM(name, code, text) name = code,
	WEIR_ERRORS(WEIR_ERROR_ENUM)
#undef WEIR_ERROR_ENUM
};

/* Text of a code or of a negative errno; never NULL. Thread-safe, lock-free, allocates nothing. */
const char *weir_strerror(int code);

/* "0.1.0": the library that is linked at run time. */
const char *weir_version(void);

/* The answer to "may I?". An error is never a yes: see weir_answer.fault. */
enum weir_verdict {
	WEIR_REFUSE = 0,
	WEIR_ADMIT = 1,
};

/* Why a verdict is what it is. */
enum weir_reason {
	WEIR_REASON_NONE = 0,	  /* admitted */
	WEIR_REASON_LEVEL = 1,	  /* not enough tokens yet */
	WEIR_REASON_CLOSED = 2,	  /* closed; wait_ns includes that it opens empty */
	WEIR_REASON_DEADLINE = 3, /* it could not pass before the deadline */
	WEIR_REASON_NEVER = 4,	  /* no wait helps: the cost is above the burst, or the rate is 0 */
	WEIR_REASON_QUEUE = 5,	  /* the queue reaches further than the rule's max_wait */
	WEIR_REASON_FAULT = 6,	  /* no decision was possible: the handle's policy answered */
	WEIR_REASON_HEADROOM = 7, /* it is there, but not for this class: see weir_endpoint_class */
	WEIR_REASON_PERMIT = 8,	  /* no permit is free, or others are in line: weir/permits.h */
	WEIR_REASON_TURN = 9,	  /* not yet: the wait is under way, see weir/turn.h */
};

/* What a call says beside its verdict. Written whole, on every call that is given one. */
struct weir_answer {
	uint64_t wait_ns; /* refused: until the same call would pass, or WEIR_NEVER.
			     weir_reserve: until the reservation may be used.
			     weir_wait: how long it slept */
	double level;	  /* tokens left afterwards; below 0 when others queue */
	int32_t fault;	  /* 0, or the code of what was wrong */
	int32_t reason;	  /* enum weir_reason */
	int32_t shadow;	  /* the reason of a refusal that shadow mode did not make, or that the
			     shadow limit would have made; else 0 */
	uint32_t which;	  /* of several endpoints, the one that all this is about */
	uint64_t shadow_wait_ns; /* the wait of that refusal */
	uint64_t reserved[3];
};

/* What a handle answers when the segment cannot. */
enum weir_policy {
	WEIR_POLICY_CLOSED = 0, /* refuse */
	WEIR_POLICY_OPEN = 1,	/* admit */
};

/* What a trace callback is told of. Plain grants and refusals are never reported. */
enum weir_event_kind {
	WEIR_EVENT_WAIT = 1,	 /* a call is about to sleep for wait_ns */
	WEIR_EVENT_CLOSED = 2,	 /* a call met a closed endpoint */
	WEIR_EVENT_FAULT = 3,	 /* code says what was wrong; the policy answered */
	WEIR_EVENT_REATTACH = 4, /* the segment was replaced and has been followed */
	WEIR_EVENT_REJOIN = 5,	/* a forked child has become a member of its own; code < 0 if not */
	WEIR_EVENT_EXPIRED = 6, /* a permit held for wait_ns was taken away: see max_hold */
};

struct weir_event {
	int32_t kind;
	int32_t code;
	const char *endpoint; /* NULL where none is concerned; valid during the callback */
	uint64_t wait_ns;
	uint64_t reserved[4];
};

/* Called by whichever thread meets the event, so by several at once; not to call weir with the same
 * handle. */
typedef void weir_trace(void *context, const struct weir_event *event);

/* How to attach. Start from WEIR_OPTIONS_INIT; every member's 0 is its default. */
struct weir_options {
	size_t size;	     /* sizeof(struct weir_options) */
	const char *name;    /* instance; default: $WEIR_NAME, else "default" */
	const char *shm_dir; /* folder of the objects; default: $WEIR_SHM_DIR, else see below */
	uint64_t attach_ns;  /* how long to try while the instance is absent or unready */
	int32_t policy;	     /* enum weir_policy */
	uint32_t owner_uid;  /* a user, beside root and this one, whose segment is trusted */
	weir_trace *trace;   /* or NULL */
	void *trace_context;
	uint64_t reserved[8];
};

#define WEIR_OPTIONS_INIT                                                                          \
	{                                                                                          \
		sizeof(struct weir_options), 0, 0, 0, 0, UINT32_MAX, 0, 0,                         \
		{                                                                                  \
			0                                                                          \
		}                                                                                  \
	}

/*
 * Attaches to an instance. options may be NULL. Without shm_dir, a user who is not root looks
 * in $XDG_RUNTIME_DIR/weir (else /run/user/UID/weir) first, then in /dev/shm.
 * Blocks up to attach_ns. Allocates; opens one descriptor (close-on-exec). Not for handlers.
 * Returns 0 and *out, or a code: WEIR_EABSENT ... WEIR_EMEMBERS, -EACCES, -ENOMEM.
 */
int weir_open(struct weir **out, const struct weir_options *options);

/* Detaches and frees. Endpoints of the handle must be closed before. NULL is allowed. */
void weir_close(struct weir *weir);

/*
 * Resolves a name to its rule: exact, else the most specific pattern, else [default].
 * May allocate; does not block. Returns 0 and *out, or WEIR_ENAME, -ENOMEM.
 */
int weir_endpoint(struct weir *weir, const char *name, struct weir_endpoint **out);

/*
 * The same for calls of a class, such as "background": one is admitted only if afterwards at least
 * what the rule's `class background = leave 20 %` says is left. Under a rule that does not know
 * the class it is a call as any other. Waiting calls of a class have no place in line: they come
 * behind everybody who has one. Also WEIR_ECLASS.
 */
int weir_endpoint_class(struct weir *weir, const char *name, const char *class_name,
			struct weir_endpoint **out);
void weir_endpoint_close(struct weir_endpoint *endpoint); /* NULL is allowed */

/*
 * Takes cost tokens now, or nothing. Lock-free, never blocks, allocates nothing.
 * answer may be NULL. A refusal leaves the bucket as it was.
 */
enum weir_verdict weir_acquire(struct weir_endpoint *endpoint, double cost,
			       struct weir_answer *answer);

/*
 * Takes as many of `most` pieces of cost tokens each as are there, at least `least` or none, in one
 * step; *taken says how many. Lock-free, never blocks. WEIR_EVALUE: not 1 <= least <= most.
 */
enum weir_verdict weir_acquire_up_to(struct weir_endpoint *endpoint, double cost, uint64_t least,
				     uint64_t most, uint64_t *taken, struct weir_answer *answer);

/*
 * Takes cost tokens as soon as they are there, first come first served, sleeping up to
 * timeout_ns (or WEIR_FOREVER). Refuses at once, taking nothing, what cannot pass in time.
 * A sleeper follows changes of rate; one whose turn moves past its deadline gives up and
 * returns what the rules of weir_cancel allow.
 */
enum weir_verdict weir_wait(struct weir_endpoint *endpoint, double cost, uint64_t timeout_ns,
			    struct weir_answer *answer);

/* A place in the queue. A plain value; keep it until it is used, settled or cancelled. */
struct weir_reservation {
	uint64_t opaque[8];
};

/*
 * Takes a place in the queue that comes up within max_wait_ns, and says in answer->wait_ns when.
 * Lock-free, never blocks. Admitted: *out is written, and the tokens are spent whether or not
 * the holder comes back for them.
 */
enum weir_verdict weir_reserve(struct weir_endpoint *endpoint, double cost, uint64_t max_wait_ns,
			       struct weir_reservation *out, struct weir_answer *answer);

/* Sleeps until the reservation's turn. Refused at the time-out: the place is kept. */
enum weir_verdict weir_reservation_wait(struct weir_endpoint *endpoint,
					struct weir_reservation *reservation, uint64_t timeout_ns,
					struct weir_answer *answer);

/*
 * Gives a reservation back: in full when nobody can be waiting; else, from the last place in
 * line only, what others could not have counted on; else nothing (time refills it). Writes the
 * tokens given back to *returned (may be NULL). Lock-free. Returns 0, WEIR_ESPENT.
 */
int weir_cancel(struct weir_endpoint *endpoint, struct weir_reservation *reservation,
		double *returned);

/*
 * Corrects a reservation's cost to what it turned out to be: less is given back as by
 * weir_cancel, more goes into debt that later calls wait for. 0 is allowed: it cancels.
 * Lock-free. Returns 0, WEIR_ESPENT, WEIR_ECOST.
 */
int weir_settle(struct weir_endpoint *endpoint, struct weir_reservation *reservation,
		double actual_cost);

/*
 * Waits as weir_wait does, then runs work(context) once and stores what it returns in *result
 * (may be NULL). Refused: work was not run.
 */
enum weir_verdict weir_execute(struct weir_endpoint *endpoint, double cost, uint64_t timeout_ns,
			       int (*work)(void *context), void *context, int *result,
			       struct weir_answer *answer);

/* What a call needs of one endpoint of several. Start from {.endpoint = e, .cost = c}. */
struct weir_want {
	struct weir_endpoint *endpoint;
	double cost;
	const char *class_name; /* NULL: that of the handle */
	const void *key;	/* of a rule of [each]: see weir_acquire_key; else NULL */
	size_t key_bytes;
	uint64_t reserved[3];
};

#define WEIR_WANTS_MAX 16

/*
 * Takes every cost of `count` wants now, or nothing. Lock-free, never blocks. Refused: which and
 * wait_ns are those of the endpoint that needs the longest wait. What was taken before another
 * caller was quicker goes back as by weir_cancel. WEIR_EVALUE: not 1 to WEIR_WANTS_MAX wants.
 */
enum weir_verdict weir_acquire_all(const struct weir_want *wants, size_t count,
				   struct weir_answer *answer);

/*
 * The same as soon as all of it is there, sleeping up to timeout_ns: in line where the wait is the
 * longest, and with its place there kept, in the next. Refuses at once what cannot pass in time.
 */
enum weir_verdict weir_wait_all(const struct weir_want *wants, size_t count, uint64_t timeout_ns,
				struct weir_answer *answer);

/* What an endpoint looks like at this moment. Start from {.size = sizeof(struct weir_level)}. */
struct weir_level {
	size_t size;
	double level;	       /* tokens there; below 0 when some queue */
	double burst;	       /* capacity; infinity when unlimited */
	double rate_per_s;     /* infinity when unlimited */
	double unit;	       /* the finest cost told apart */
	uint64_t wait_ns;      /* until one token could be taken, or WEIR_NEVER */
	uint64_t closed_ns;    /* until the endpoint opens; 0: it is open */
	uint64_t granted;      /* calls */
	uint64_t refused;      /* calls */
	uint64_t waited;       /* calls that slept or reserved ahead */
	double granted_tokens; /* never lowered by giving back */
	double returned_tokens;
	uint64_t shadow_passed;	 /* calls that shadow mode let pass */
	uint64_t shadow_refused; /* calls that the shadow limit would have refused */
	uint64_t window_ns;	 /* of a quota renewed by windows; 0: there are none */
	uint64_t renews_ns;	 /* until the next window; 0: it begins with the next use */
	uint64_t reserved[4];
};

/* Looks without taking. Lock-free. Returns 0, or the fault's code. */
int weir_peek(struct weir_endpoint *endpoint, struct weir_level *out);

/* Fields of an HTTP response, as draft-ietf-httpapi-ratelimit-headers-11 and RFC 9110 have them. */
enum weir_field {
	WEIR_FIELD_POLICY = 0,	    /* RateLimit-Policy: the limit */
	WEIR_FIELD_LIMIT = 1,	    /* RateLimit: what is left, and until when */
	WEIR_FIELD_RETRY_AFTER = 2, /* Retry-After, of a refusal */
};

/*
 * Writes a field's value for an answer of this endpoint (NULL: as it is now; no refusal), with a
 * closing NUL. `policy` names the limit, NULL is the rule's own name. What is left is rounded down,
 * times are rounded up to seconds. Returns the bytes of the value, as snprintf does: 0, there is
 * nothing to say; `bytes` or more, it did not fit and out is ""; or the fault's code. Lock-free.
 */
int weir_field(struct weir_endpoint *endpoint, const struct weir_answer *answer,
	       enum weir_field field, const char *policy, char *out, size_t bytes);

/*
 * Closes the endpoint for everybody for duration_ns (a later end than now wins; WEIR_FOREVER is
 * as long as the clock reaches; 0 does nothing), or opens it. After a closure the bucket starts
 * empty; with windows it has what is left of the present one. Lock-free. Returns 0, or the fault's
 * code.
 */
int weir_gate_close(struct weir_endpoint *endpoint, uint64_t duration_ns);
int weir_gate_open(struct weir_endpoint *endpoint);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#include "weir/host.h"
#include "weir/keys.h"
#include "weir/match.h"
#include "weir/permits.h"
#include "weir/observe.h"
#include "weir/turn.h"

#endif
