/* SPDX-License-Identifier: Apache-2.0
 *
 * http.h - what stands behind a client of libweir-http, and the course of one request.
 *
 * A request's course (job.c, reply.c) is the same whether a thread sleeps for it (easy.c) or a loop
 * goes on with others meanwhile (uv_multi.c): job_next() does all that can be done, and says what
 * it waits for. Lanes (route.c) are what requests of one endpoint have in common. The client's
 * mutex guards lanes, routes, breakers and the budget; it is never held while anything waits or
 * calls back.
 *
 * Killed anywhere: what was drawn stays spent until the clock passes it, as with any client of
 * weir.
 */
#ifndef WEIR_HTTP_HTTP_H
#define WEIR_HTTP_HTTP_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "breaker.h"
#include "name.h"
#include "verdict.h"
#include "weir-http.h"

#define LANE_BUCKETS 256
#define LANES_KEPT 1024 /* that nobody uses */
#define ROUTES 1024
#define ROUTE_BYTES_MAX 1024	   /* of a URL; a longer one is matched every time */
#define ROUTE_FRESH_NS WEIR_SECOND /* after so long a rule that was added is met */
#define METHOD_BYTES 24
#define CLASS_BYTES 16
#define HOPS_CHARGED 50 /* redirects within one transfer, that are looked at */

struct job;

/* An endpoint, its breaker, and in a loop those who wait for their turn. */
struct lane {
	struct weir_endpoint *endpoint;
	char name[WEIR_NAME_MAX + 1];
	char rule[WEIR_NAME_MAX + 1]; /* that it fell under; of [default], the name */
	char class_name[CLASS_BYTES];
	struct breaker breaker;
	_Atomic bool has_permits;	 /* its rule has, when it was looked up last */
	uint64_t looked_ns;		 /* that was then */
	_Atomic bool is_broken;		 /* the breaker is not closed, as of its last change */
	_Atomic uint64_t half_ns;	 /* the breaker's, likewise */
	_Atomic uint32_t good;		 /* answers of that half that it is yet to be told of */
	_Atomic uint64_t quiet_until_ns; /* answers need not be read before: answer.c */
	_Atomic uint32_t users;		 /* jobs that may call with it; at 0 it may be freed */
	struct lane *next;		 /* of its bucket */

	/* the loop's thread alone */
	struct job *first;
	struct job *last;
	struct lane *next_waiting; /* lanes with somebody in line */
	bool is_waiting;
	uint64_t line_until_ns;	     /* the places that its jobs hold reach to here */
	const struct job *line_last; /* who has the last of them; NULL: is to be found */
	uint32_t line_count;	     /* jobs that have one */
	uint64_t again_ns;	     /* closed, or full: not to be asked before */
};

/* Where a method and URL lead: the lane that they led to lately. */
struct route {
	char *key; /* class, method and URL, the URL up to its query, with no end */
	size_t lengths[3];
	struct lane *lane;
	uint64_t matched_ns;
};

struct loop; /* uv_loop.h */

struct weir_http {
	struct weir *weir;
	struct weir_http_settings settings;
	struct breaker_terms breaker_terms;
	struct try_terms try_terms;
	pthread_mutex_t mutex;
	struct budget budget;
	_Atomic uint64_t made; /* requests that are yet to be paid into it */
	uint32_t random;
	uint32_t lane_count;
	struct lane *lanes[LANE_BUCKETS];
	struct route routes[ROUTES];
	struct loop *loop;
};

uint64_t http_now_ns(void);
uint32_t http_random(struct weir_http *http);

/* ---- route.c ---- */

/* The lane of an endpoint, for one job more. Returns 0, or a code of weir_endpoint(). */
int lane_of_name(struct weir_http *http, const char *name, const char *class_name, uint64_t now_ns,
		 struct lane **out);

/* The same for a request. Also WEIR_EVALUE: no URL. */
int lane_of_url(struct weir_http *http, const char *method, const char *url, const char *class_name,
		uint64_t now_ns, struct lane **out);

void lane_leave(struct lane *lane);

/* After its breaker was touched, under the mutex: what is looked at without it. */
static inline void lane_show_breaker(struct lane *lane)
{
	/* relaxed, both: see breaker_allows() and is_one_more() */
	atomic_store_explicit(&lane->is_broken, lane->breaker.state != BREAKER_CLOSED,
			      memory_order_relaxed);
	atomic_store_explicit(&lane->half_ns, lane->breaker.half_ns, memory_order_relaxed);
}

void lanes_free(struct weir_http *http);

/* ---- bill.c: what a request draws, all or nothing ---- */

struct charge {
	struct lane *lane;
	double cost;
	bool begun;
	bool admitted;
	bool has_permit;
	bool is_permitted; /* by this permit, or that of another charge under the same rule */
	struct weir_turn turn;
	struct weir_permit permit;
};

struct bill {
	uint32_t count;
	bool waits_permit;	/* and for nothing else */
	struct charge *in_line; /* for a permit, at `waiter`; NULL: none is */
	struct weir_waiter waiter;
	struct charge charges[WEIR_HTTP_CHARGES_MAX];
};

enum bill_state {
	BILL_DUE,     /* all is drawn */
	BILL_WAIT,    /* for its turn: to be stepped again after look_ns; in line for a permit, or
			 when the bell of weir_permit_listen() rings */
	BILL_REFUSED, /* nothing is drawn, and would not be in time: reason, wait_ns */
	BILL_FAULT,   /* nothing is drawn: fault */
};

struct bill_answer {
	uint64_t wait_ns; /* until its turn, as things stand */
	uint64_t look_ns;
	int32_t reason;
	int32_t fault; /* also of one that is due by a handle's policy */
};

/* Goes on drawing what comes within max_wait_ns. Never blocks. */
enum bill_state bill_step(struct bill *bill, uint64_t max_wait_ns, struct bill_answer *out);

/* Gives all back, or leaves the lines. */
void bill_cancel(struct bill *bill);
void bill_cancel_one(struct bill *bill, uint32_t which);

/* Permits alone: between two hops nobody waits for one while he holds another. */
void bill_release(struct bill *bill);

/* The request was made: it is spent as it was drawn, and its permits go back. */
void bill_spend(struct bill *bill);
void bill_spend_one(struct bill *bill, uint32_t which);

/* The same, and what it cost in truth. */
void bill_settle_one(struct bill *bill, uint32_t which, double actual);

/* Puts a cost on a lane's account, after the fact. */
void lane_charge(struct lane *lane, double cost);

/* ---- job.c ---- */

enum job_phase {
	JOB_BEGIN,    /* wants a place */
	JOB_LINE,     /* has one, and waits for its turn */
	JOB_TRANSFER, /* libcurl has it */
	JOB_REST,     /* waits before it begins again */
	JOB_DONE,
};

struct job {
	struct weir_http *http;
	CURL *easy;
	enum job_phase phase;
	const char *method;
	char *hop; /* the URL of a redirect that is followed; else NULL */
	uint64_t deadline_ns;
	uint64_t begun_ns; /* waiting, since */
	uint64_t next_ns;  /* when it is to be asked next */
	uint64_t due_ns;   /* in line: when its turn comes, as it stood when it was asked last */
	uint32_t hops;	   /* followed here, of this try */
	bool probe;
	bool has_passed; /* the breaker is to be told of it */
	/* of the present try */
	uint64_t launched_ns;
	int status;	   /* of its answer, when the fields were read */
	long curl_hops;	   /* redirects that libcurl followed, likewise */
	bool is_read;	   /* its fields */
	bool swallow;	   /* its body is nobody's */
	bool is_delivered; /* some of it went to the program's `write` */
	bool is_hop;	   /* it leads to `target` */
	bool is_refusal;
	struct verdict verdict;
	char *target;
	uint64_t retry_ns;
	/* from here on only what is used is written */
	struct weir_http_request request; /* its texts are the caller's, or, in a loop, copies */
	struct weir_http_result result;
	struct bill bill;
};

/* What the caller wants, with all that he left out. from may be NULL. */
void request_fill(struct weir_http_request *out, const struct weir_http_request *from);

/* Begins job->request; where that fails at once, the job is done, and says why. */
void job_begin(struct job *job, struct weir_http *http, CURL *easy, uint64_t now_ns);

/* Goes on until there is something to wait for: until next_ns, or a transfer, or nothing more. */
enum job_phase job_next(struct job *job, uint64_t now_ns);

/* libcurl is ready with it. */
void job_transferred(struct job *job, CURLcode code, uint64_t now_ns);

/* Ends it in any phase but JOB_TRANSFER, or when libcurl does not have it any more. */
void job_cancel(struct job *job);
void job_refuse(struct job *job, int32_t reason, uint64_t wait_ns);
void job_fault(struct job *job, int fault);

/* Frees what it holds; the result stays. */
void job_end(struct job *job);

/* How long it may still wait. */
uint64_t job_left_ns(const struct job *job, uint64_t now_ns);

/* What there is to know of libcurl's codes. */
CURLcode job_code(const struct job *job);

/* ---- between job.c and reply.c ---- */

/* Where it goes at present. */
const char *job_url(const struct job *job);

/* The lane of that. Returns 0, or a code of lane_of_url(). */
int job_find_lane(struct job *job, uint64_t now_ns, struct lane **out);

/* Waits so long before it is asked again. */
void job_wait(struct job *job, uint64_t now_ns, uint64_t wait_ns);

/* Whether libcurl has sent anything of the present try. */
bool job_is_sent(const struct job *job);

/* Gets the body in the program's place. */
size_t job_take_body(char *bytes, size_t one, size_t count, void *context);

/* What the breaker let pass, it is told of once. */
void job_tell_breaker(struct job *job, enum breaker_news news, uint64_t now_ns);

void job_done(struct job *job, enum weir_http_outcome outcome);

/* ---- answer.c: what an answer says ---- */

struct answer {
	uint64_t retry_ns; /* it asks to come back so much later; 0: it does not */
	bool final;	   /* the same will never pass */
};

/* Reports the last answer of a handle, to a request that was sent after that, to weir. */
void answer_observe(CURL *easy, struct lane *lane, int status, uint64_t sent_ns,
		    struct answer *out);

#endif
