/* SPDX-License-Identifier: Apache-2.0
 *
 * http.h - what stands behind a client of libweir-http, and the course of one request.
 *
 * A request's course (job.c) is the same whether a thread sleeps for it (easy.c) or a loop goes on
 * with others meanwhile (uv_multi.c): job_next() does all that can be done, and says what it waits
 * for. Lanes (route.c) are what requests of one endpoint have in common. The client's mutex guards
 * lanes, routes, breakers and the budget; it is never held while anything waits or calls back.
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
#define ROUTE_BYTES_MAX 1024	   /* of a key; longer URLs are matched every time */
#define ROUTE_FRESH_NS WEIR_SECOND /* after so long a rule that was added is met */
#define METHOD_BYTES 24
#define CLASS_BYTES 16
#define HOPS_CHARGED 50 /* redirects within one transfer, that are looked at */

struct job;

/* An endpoint, its breaker, and in a loop those who wait for their turn. */
struct lane {
	struct weir_endpoint *endpoint;
	char name[WEIR_NAME_MAX + 1];
	char class_name[CLASS_BYTES];
	struct breaker breaker;
	_Atomic uint64_t quiet_until_ns; /* answers need not be read before: answer.c */
	uint32_t users;			 /* jobs that may call with it; at 0 it may be freed */
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
	char *key;
	struct lane *lane;
	uint64_t matched_ns;
};

struct loop; /* uv_multi.c */

struct weir_http {
	struct weir *weir;
	struct weir_http_settings settings;
	struct breaker_terms breaker_terms;
	struct try_terms try_terms;
	pthread_mutex_t mutex;
	struct budget budget;
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
int lane_of_name(struct weir_http *http, const char *name, const char *class_name,
		 struct lane **out);

/* The same for a request. Also WEIR_EVALUE: no URL. */
int lane_of_url(struct weir_http *http, const char *method, const char *url, const char *class_name,
		struct lane **out);

void lane_leave(struct weir_http *http, struct lane *lane);
void lanes_free(struct weir_http *http);

/* ---- bill.c: what a request draws, all or nothing ---- */

struct charge {
	struct lane *lane;
	double cost;
	struct weir_turn turn;
	bool begun;
	bool admitted;
};

struct bill {
	uint32_t count;
	struct charge charges[WEIR_HTTP_CHARGES_MAX];
};

enum bill_state {
	BILL_DUE,     /* all is drawn */
	BILL_WAIT,    /* for its turn: to be stepped again after look_ns */
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

/* Gives back, or leaves the line. */
void bill_cancel(struct bill *bill);
void bill_cancel_one(struct bill *bill, uint32_t which);

/* The request was made: it is spent as it was drawn. */
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
	struct weir_http_request request; /* its texts are the caller's, or, in a loop, copies */
	struct weir_http_result result;
	enum job_phase phase;
	char method[METHOD_BYTES];
	char *hop; /* the URL of a redirect that is followed; else NULL */
	uint64_t deadline_ns;
	uint64_t begun_ns; /* waiting, since */
	uint64_t next_ns;  /* when it is to be asked next */
	uint64_t due_ns;   /* in line: when its turn comes, as it stood when it was asked last */
	uint32_t hops;	   /* followed here, of this try */
	bool probe;
	bool has_passed; /* the breaker knows of it */
	/* of the present try */
	bool is_read;	   /* its fields */
	bool swallow;	   /* its body is nobody's */
	bool is_delivered; /* some of it went to the program's `write` */
	bool is_hop;	   /* it leads to `target` */
	bool is_refusal;
	struct verdict verdict;
	char *target;
	uint64_t retry_ns;
	struct bill bill;
};

/* Begins; where that fails at once, the job is done, and says why. */
void job_begin(struct job *job, struct weir_http *http, CURL *easy,
	       const struct weir_http_request *request);

/* Goes on until there is something to wait for: until next_ns, or a transfer, or nothing more. */
enum job_phase job_next(struct job *job);

/* libcurl is ready with it. */
void job_transferred(struct job *job, CURLcode code);

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

/* ---- answer.c: what an answer says ---- */

struct answer {
	uint64_t retry_ns; /* it asks to come back so much later; 0: it does not */
	bool final;	   /* the same will never pass */
};

/* For a moment: it has no limit, and its answers speak of none. */
bool lane_is_quiet(struct lane *lane);

/* Reports the last answer of a handle to weir. */
void answer_observe(CURL *easy, struct lane *lane, int status, struct answer *out);

#endif
