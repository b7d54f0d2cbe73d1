/* SPDX-License-Identifier: Apache-2.0
 *
 * handle.h - what stands behind libweir's opaque handles.
 *
 * A handle has a current attachment (one mapped pair); an endpoint has a current binding (the
 * row and bucket its name resolved to, in one attachment). Both are replaced by cold paths under
 * the handle's mutex and read by hot paths with one acquire load. What they replaced stays
 * mapped and allocated until the handle is closed, so a thread that was stopped in the middle of
 * a call goes on safely.
 */
#ifndef WEIR_HANDLE_H
#define WEIR_HANDLE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/un.h>

#include "bucket.h"
#include "gate.h"
#include "keyed.h"
#include "members.h"
#include "names.h"
#include "permits.h"
#include "place.h"
#include "segment.h"
#include "token_clock.h"
#include "weir.h"

struct attachment {
	struct segment segment;
	struct segment predecessor; /* mapped while its marks are being moved here */
	bool has_predecessor;	    /* under the handle's mutex */
	uint32_t slot;		    /* of this process, or MEMBER_NONE */
	_Atomic uint64_t owner;	    /* permits.h: of what this process takes; 0 without a slot */
	_Atomic uint64_t parent;    /* that of the process that forked this one */
	struct attachment *previous;
};

/* A thread in line for a permit: permit_wait.c. */
struct in_line;

struct weir {
	struct attachment *_Atomic current;
	_Atomic uint32_t *fork_mark; /* 1; the kernel makes it 0 in a forked child */
	int32_t policy;
	weir_trace *trace;
	void *trace_context;
	pthread_mutex_t mutex; /* cold paths only */
	struct place place;    /* empty name: a private segment */
	uid_t trusted;
	uint64_t follow_after_ns; /* a retired pair without a successor: when to look again */
	_Atomic int observe_fd;	  /* observe.c; -1 until it is needed */
	struct sockaddr_un observe_address; /* path "": none that would fit */
	bool reopened;		 /* the fork handler has replaced the inherited descriptors */
	struct weir *next;	 /* all handles of the process, for the fork handlers */
	struct in_line *in_line; /* threads that wait for permits, the last one to come first */
	uint64_t dead_after_ns;	 /* when to look for dead holders of permits again */
};

/* What a call needs is at hand here; the rest is behind `attachment`. */
struct binding {
	const struct rule_row *row;
	struct bucket *bucket;
	const _Atomic uint64_t *table;	   /* rules_header.table_generation */
	const _Atomic uint32_t *retired;   /* state_header.retired */
	const _Atomic uint32_t *fork_mark; /* the handle's */
	_Atomic uint64_t table_generation; /* the table it was resolved in, or a later equal one */
	_Atomic bool is_orphan;		   /* looked up when its pair was retired, with no other */
	struct time_source time;
	struct tallies tallies; /* the bucket's own are those of index 0 */
	/* 2^k, as a row keeps its unit for life; 0 in a handle of a class: no cost seems possible
	 * then to the short way of weir_acquire(), which leaves the call to the long one */
	uint64_t units_per_token;
	/* 2^k of a rule with a bucket for each key, by whose handle they are drawn from: then the
	 * short way of weir_acquire_key() is open; else 0 */
	uint64_t units_per_key_token;
	uint32_t row_index;
	uint32_t bucket_index;
	struct keyed keyed; /* of a rule with a bucket for each key: its table; else empty */
	const struct keyed_row *key_table;
	uint64_t key; /* the name's; 0: it means the rule itself */
	struct attachment *attachment;
	struct binding *previous;
	permit_hint permit_hint;
};

struct weir_endpoint {
	struct binding *_Atomic binding;
	struct weir *weir;
	uint64_t class_name; /* class.h; 0: of no class */
	char name[WEIR_NAME_MAX + 1];
};

/* A place in line: what a struct weir_reservation holds. */
struct place_in_line {
	uint64_t pair;
	uint64_t position; /* the mark after the take */
	uint64_t units;
	uint64_t gate; /* the gate word before it */
	uint32_t row;
	uint32_t bucket;
	uint32_t k;
	uint32_t held;	    /* 1 until it is used, settled or cancelled */
	uint32_t unpaid;    /* 1: shadow mode let it pass; nothing was taken, nothing goes back */
	uint32_t uncharged; /* 1: taken under `unlimited`, so that nothing may go back */
	uint64_t key;	    /* in whose bucket; 0: in the row's or name's own */
};

/* ---- fork.c ---- */

/* Registers a handle with the fork handlers; -errno. */
int fork_watch(struct weir *weir);
void fork_unwatch(struct weir *weir);

/* A forked child's first call: becomes a member of its own. Under the mutex. */
void fork_rejoin(struct weir *weir);

/* Takes note of the slot that an attachment has now. Under the mutex. */
void attachment_own(struct attachment *at, int64_t slot);

/* ---- endpoint.c ---- */

/*
 * The binding to use now: the present one if nothing changed, else a new one. Returns 0 or the
 * fault. Takes the mutex only when something changed.
 */
int endpoint_refresh(struct weir_endpoint *endpoint);

/* What the binding's bucket, or its key's, looks like at this moment. */
void endpoint_level(const struct binding *binding, struct weir_level *out);

/* Gives the binding's bucket its first mark. Returns 0 or the fault. */
int endpoint_install(struct weir_endpoint *endpoint, struct binding *binding);

/* The mark that a key begins with which is not in the binding's table: keys_first_mark(). */
int endpoint_first_mark(struct weir_endpoint *endpoint, struct binding *binding, uint64_t key,
			const struct line *line, uint64_t *mark);

/* Whether the present binding may be used as it is. Three loads of lines nobody writes often. */
static inline bool binding_is_current(const struct binding *binding)
{
	/* the acquire loads pair with the releases in rules_row.c and move.c; the fork mark is this
	 * process's own */
	return atomic_load_explicit(binding->table, memory_order_acquire) ==
		       atomic_load_explicit(&binding->table_generation, memory_order_relaxed) &&
	       atomic_load_explicit(binding->fork_mark, memory_order_relaxed) &&
	       !atomic_load_explicit(binding->retired, memory_order_acquire);
}

/*
 * Whether one may sleep by the present binding: it is current, or it is an orphan, whose pair is
 * retired and was replaced by none. What is known then goes on holding, until a look finds another.
 */
static inline bool binding_holds(const struct binding *binding)
{
	/* relaxed: set by a look-up; who reads it too early looks up once more */
	return binding_is_current(binding) ||
	       (atomic_load_explicit(&binding->is_orphan, memory_order_relaxed) &&
		atomic_load_explicit(binding->fork_mark, memory_order_relaxed) &&
		atomic_load_explicit(binding->table, memory_order_acquire) ==
			atomic_load_explicit(&binding->table_generation, memory_order_relaxed));
}

static inline struct binding *endpoint_binding(struct weir_endpoint *endpoint)
{
	/* acquire: pairs with the release in endpoint_refresh() */
	return atomic_load_explicit(&endpoint->binding, memory_order_acquire);
}

/* ---- weir.c ---- */

/* Follows a retired pair to the one that has its name now, if there is one. Under the mutex. */
void attachment_follow(struct weir *weir);

void weir_report(const struct weir *weir, int32_t kind, int code, const char *endpoint,
		 uint64_t wait_ns);

/* ---- acquire.c ---- */

/* How often a call follows moved marks before it calls the segment damaged. */
#define CALL_TRIES 1000

/* What one attempt at a bucket came to. */
enum attempt_result {
	ATTEMPT_REFUSED = 0,
	ATTEMPT_ADMITTED = 1,
	ATTEMPT_AGAIN = 2, /* something moved or was settled: begin anew */
	ATTEMPT_FAULT = 3,
};

/* What a call wants of one bucket. */
struct ask {
	double cost;	     /* of one piece */
	uint64_t least;	     /* so many pieces, or none */
	uint64_t most;	     /* so many at most */
	uint64_t class_name; /* 0: of no class */
	uint64_t before;     /* a look: units that will be taken first */
	bool look;	     /* only says what would come of it */
	const void *key;     /* of a rule with a bucket for each; NULL: the name's */
	size_t key_bytes;
};

/* One piece, by the class of the handle. */
static inline struct ask ask_for(const struct weir_endpoint *endpoint, double cost)
{
	return (struct ask){
		.cost = cost,
		.least = 1,
		.most = 1,
		.class_name = endpoint->class_name,
	};
}

/* One attempt: the readings it was made with, and its outcome. */
struct attempt {
	struct binding *binding;
	struct line line;
	uint64_t now;
	uint64_t v;
	uint64_t gate;
	uint64_t unit;	/* of one piece */
	uint64_t units; /* granted, or refused */
	uint64_t pieces;
	uint64_t key; /* in whose bucket; 0: in the row's or name's own */
	struct key_seen seen;
	const void *key_text; /* as it was asked for; NULL: in the name */
	size_t key_bytes;
	uint64_t leave;	     /* headroom of the call's class, in units */
	uint64_t class_name; /* of the call */
	struct bucket_mark mark;
	uint64_t wait_ticks;   /* refused: until the same would pass */
	uint64_t unpaid_units; /* of `units`, what shadow mode let pass: then reason and wait_ticks
				  are those of the refusal */
	int fault;
	int32_t reason;
};

/*
 * Reads the row and tries to take what is asked for so that it is due within `ahead_ticks` (0:
 * now). A class that must leave something takes no place ahead. Everything that can change under
 * a call ends in ATTEMPT_AGAIN, and the next attempt sees it.
 */
enum attempt_result attempt_take(struct weir_endpoint *endpoint, const struct ask *ask,
				 uint64_t ahead_ticks, struct attempt *out);

/*
 * The common case of an attempt that will be waited for otherwise: all is as it was, the gate is
 * open, and the tokens are there. true: they are taken, and counted. Else nothing was.
 */
bool attempt_at_once(struct weir_endpoint *endpoint, double cost, struct attempt *out);
void answer_at_once(const struct attempt *attempt, struct weir_answer *answer);

/* How far ahead of V the call's own tokens may reach when it is admitted. */
static inline uint64_t attempt_room(const struct attempt *attempt)
{
	uint64_t burst = attempt->line.burst_units;

	return attempt->leave < burst ? burst - attempt->leave : 0;
}

#define UNITS_FAR (1ull << 62)

/* Cost in units, rounded up; 0 when it is not a number above 0. Saturates at UNITS_FAR. */
static inline uint64_t cost_units(double cost, uint64_t units_per_token)
{
	/* the common cost, by a predicted branch: the conversions would be the longest chain */
	if (__builtin_expect(cost == 1.0, 1))
		return units_per_token;

	double scaled = cost * (double)units_per_token;

	if (!(scaled < (double)UNITS_FAR) || !(cost > 0))
		return cost > 0 ? UNITS_FAR : 0; /* 0 for NaN as well */

	int64_t units = (int64_t)scaled;

	return (uint64_t)(units + ((double)units < scaled));
}

/* Writes a fault's answer and gives the policy's verdict (a refusal for the caller's mistakes). */
enum weir_verdict answer_fault(const struct weir_endpoint *endpoint, int fault,
			       struct weir_answer *answer);

/* Writes the answer to a caller's mistake, and refuses. */
enum weir_verdict answer_mistake(int fault, struct weir_answer *answer);

/*
 * Count a call that was decided, and write its answer. `ahead_ticks` is how long it was willing to
 * wait from now on: the shadow limit is weighed by that.
 */
enum weir_verdict answer_refused(const struct weir_endpoint *endpoint,
				 const struct attempt *attempt, uint64_t ahead_ticks,
				 struct weir_answer *answer);
enum weir_verdict answer_admitted(const struct attempt *attempt, uint64_t wait_ns,
				  uint64_t ahead_ticks, struct weir_answer *answer);

/* Decides a call now or never, counts it, and writes its answer. */
enum weir_verdict answer_now(struct weir_endpoint *endpoint, const struct ask *ask,
			     struct attempt *attempt, struct weir_answer *answer);

/* ---- weigh.c ---- */

/* Weighs a decided call by the shadow limit, and counts it; 0 or the reason of its refusal. */
int32_t weigh(const struct attempt *attempt, uint64_t ahead_ticks, uint64_t *wait_ticks);

/* ---- windows.c: the part of an attempt that takes, for a bucket with windows ---- */

/*
 * Everything else was found in order, and `mark` was loaded before out->now. Sets out->v and the
 * mark as the bucket sees them; and of a refusal out->wait_ticks.
 */
enum bucket_result windows_exchange(const struct ask *ask, uint64_t mark, uint64_t ahead_ticks,
				    struct attempt *out);

/* Says why such an exchange was refused. */
enum attempt_result windows_refused(struct attempt *attempt, uint64_t ahead_ticks);

/* Ticks until so many units more could be taken behind the mark of the exchange. */
uint64_t windows_wait(const struct attempt *attempt, uint64_t units);

/* Sets V, and the mark that was met, as the bucket sees them: for an answer's level. */
void windows_see(struct attempt *attempt);

/* ---- keys.c: the same for a rule with a bucket for each key ---- */

/*
 * Which key the call is for, and its mark, before the time is read. Returns 0 or the fault: a key
 * where the rule has none, or none where it has.
 */
int keys_begin(const struct ask *ask, struct attempt *out);

/* As windows_exchange(), of any line. After BUCKET_IS_UNSET out->fault says why. */
enum bucket_result keys_exchange(struct weir_endpoint *endpoint, const struct ask *ask,
				 uint64_t ahead_ticks, uint64_t limit, struct attempt *out);

/* The key that is asked for, or the name's; 0: none. */
uint64_t keys_of_ask(const struct binding *binding, const struct ask *ask);

/* Counts a refusal of the key among the most refused. */
void keys_refused(const struct weir_endpoint *endpoint, const struct attempt *attempt);

/* The mark of the binding's bucket, or of its key's; BUCKET_UNSET: nobody has used it. */
uint64_t binding_mark(const struct binding *binding);

/* What bucket_give_back() and bucket_charge() do, in the place's bucket. */
uint64_t keys_give_back(const struct binding *binding, const struct place_in_line *place,
			const struct line *line, uint64_t now, uint64_t units);
enum bucket_result keys_charge(struct weir_endpoint *endpoint, struct binding *binding,
			       uint64_t key, const struct line *line, uint64_t now, uint64_t units);

/* ---- wait.c ---- */

enum wait_result {
	WAIT_DUE,   /* its turn has come */
	WAIT_VOID,  /* the place is none any more: take a new one */
	WAIT_LATE,  /* its turn lies after the deadline */
	WAIT_FAULT, /* *fault says which */
};

/*
 * Takes what is asked for as soon as it is there. WAIT_DUE: it is taken, at *place, and due; *slept
 * says whether that took a sleep. WAIT_LATE: it cannot be by the deadline, nothing is taken but
 * what could not go back, and the attempt is a refused one.
 */
enum wait_result wait_take(struct weir_endpoint *endpoint, const struct ask *ask, uint64_t deadline,
			   struct attempt *attempt, struct place_in_line *place, bool *slept,
			   int *fault);

/*
 * After an attempt that met a closed gate: sleeps until it may have opened; false, and no sleep, if
 * it cannot pass by the deadline.
 */
bool wait_for_gate(struct weir_endpoint *endpoint, const struct attempt *attempt,
		   uint64_t deadline);

/* Whether the call that met a closed gate can pass by the deadline. */
bool opens_in_time(const struct attempt *attempt, uint64_t deadline);

/*
 * A class that must leave something has no place in line: it waits until enough is there, and is
 * behind everybody who has one. Whether a refused attempt is one of those, and that may be by the
 * deadline.
 */
bool leaves_in_time(struct attempt *attempt, uint64_t deadline);

/* Whether the attempt took a place that is not due yet. */
bool must_sleep(const struct attempt *attempt);

/* Counts a call that slept. */
void wait_count(const struct attempt *attempt, uint64_t slept_ns);

/* Sleeps until a place in line is due. The place follows moved marks. */
enum wait_result place_wait(struct weir_endpoint *endpoint, struct place_in_line *place,
			    uint64_t deadline, int *fault);

enum look_result {
	LOOK_DUE,
	LOOK_VOID,
	LOOK_LATE,
	LOOK_FAULT, /* these are as of enum wait_result */
	LOOK_SLEEP, /* its turn is in so many *ticks, as things stand */
	LOOK_AGAIN, /* something changed during the look; of one look alone */
};

/* The same without the sleep. */
enum look_result place_look(struct weir_endpoint *endpoint, struct place_in_line *place,
			    uint64_t deadline, uint64_t *ticks, int *fault);

/* The tick `timeout_ns` from now, UINT64_MAX for ever. */
uint64_t deadline_after(const struct segment *segment, uint64_t timeout_ns);

/* Ticks left until a deadline; UINT64_MAX for ever. */
uint64_t ticks_left(const struct segment *segment, uint64_t deadline);

/* Ticks to nanoseconds, by the segment's clock. */
uint64_t ticks_to_ns(const struct segment *segment, uint64_t ticks);

/* ---- reservation.c ---- */

/* The attachment of that pair, if this handle has ever followed it; NULL. */
struct attachment *attachment_of(struct weir *weir, uint64_t pair);

void place_take(const struct attempt *attempt, struct place_in_line *out);

/*
 * The binding in which a place stands now, the place translated if its mark moved. Returns 0, 1
 * if the place is none any more, or a fault.
 */
int place_follow(struct weir_endpoint *endpoint, struct place_in_line *place,
		 struct binding **binding);

/*
 * Gives back up to `units` of a place; returns what went back, in tokens. place_undo() does not
 * count it, as the grant was not counted.
 */
double place_undo(struct weir_endpoint *endpoint, struct place_in_line *place, uint64_t units);
double place_return(struct weir_endpoint *endpoint, struct place_in_line *place, uint64_t units);

/* Corrects what a place cost, as weir_settle() says. Returns 0, WEIR_ECOST, or a fault. */
int place_settle(struct weir_endpoint *endpoint, struct place_in_line *place, double actual_cost);

#endif
