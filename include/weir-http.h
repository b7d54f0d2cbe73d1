/* SPDX-License-Identifier: Apache-2.0
 *
 * weir-http.h - requests by libcurl under the limits of weir.
 *
 *	struct weir_http *http;
 *	struct weir_http_request request = {
 *		.size = sizeof(request),
 *		.url = "https://api.example.com/users",
 *	};
 *
 *	if (weir_open(&weir, NULL) < 0 || weir_http_open(&http, weir, NULL) < 0)
 *		return 1;
 *	code = weir_http_perform(http, easy, &request, NULL); // instead of curl_easy_perform(easy)
 *
 * A request is matched to an endpoint, waits for its turn there, is made by libcurl, and an answer
 * that asks to come back later is heeded by all processes. Refused, it is repeated when the server
 * said; failed, when that does no harm.
 *
 * Threads: one client may be used by any number of threads, each with easy handles of its own;
 * but what has to do with its loop is called by the loop's thread alone.
 * Fork: a child that is forked later makes its own client; the parent's may be closed there only.
 * Signals: nothing here may be called from a signal handler.
 * Time: durations are nanoseconds. A struct with a size begins with all else 0, its default.
 */
#ifndef WEIR_HTTP_H
#define WEIR_HTTP_H

#include <curl/curl.h>
#include <weir.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

struct uv_loop_s;	   /* of libuv */
struct weir_http;	   /* a client: endpoints, their breakers, a budget of repetitions */
struct weir_http_transfer; /* a request in a client's loop, until its callback was called */

/* The endpoints that one request can be charged to, the one it is matched to among them. */
#define WEIR_HTTP_CHARGES_MAX 4

/* What is true of all requests of a client. */
struct weir_http_settings {
	size_t size;		  /* sizeof(struct weir_http_settings) */
	uint32_t tries;		  /* of one request, the first included; default 4 */
	uint32_t budget_percent;  /* repetitions that no server asked for, of all requests; 20 */
	uint32_t budget_least;	  /* so many of them are there at the start; default 10 */
	uint32_t breaker_percent; /* share of failures that opens a breaker; 50; above 100: never */
	uint32_t breaker_least;	  /* not before so many answers and failures; default 10 */
	uint32_t connections;	  /* in the loop, at once; default 64 */
	uint64_t breaker_ns;	  /* how long it is open at first, twice as long after each probe
				     that failed, up to 12 times as long; default 5 s */
	uint64_t breaker_window_ns; /* what share is meant: of the last so long; default 10 s */
	uint64_t backoff_ns;	    /* before a repetition, where the server said nothing; doubles;
				       default 500 ms */
	uint64_t longest_retry_ns;  /* a Retry-After above that is not waited for; 5 min */
	uint64_t reserved[8];
};

/* A cost beside the request itself, such as the tokens of a language model. */
struct weir_http_charge {
	const char *endpoint;
	double cost; /* an estimate, if the request has a `measure` */
	uint64_t reserved[2];
};

enum weir_http_flag {
	WEIR_HTTP_REPEATABLE = 1,     /* doing it twice does no harm, whatever its method */
	WEIR_HTTP_UNCHANGED_FREE = 2, /* an answer 304 costs nothing there */
	WEIR_HTTP_CROSS_ORIGIN = 4,   /* redirects are followed to other hosts as well */
	WEIR_HTTP_ONCE = 8,	      /* never repeated */
};

/*
 * In place of the handle's CURLOPT_WRITEFUNCTION: gets no body of an answer that is not the last
 * one. Without it, an answer of which the program got a byte is the last one, unless there is a
 * weir_http_restart.
 */
typedef size_t weir_http_write(char *bytes, size_t one, size_t count, void *context);

/*
 * Before a request is repeated or redirected: may change the handle, and forgets what it got.
 * Returns 0, or anything else to leave it at the answer that is there.
 */
typedef int weir_http_restart(CURL *easy, void *context);

/*
 * After the last answer: what a charge cost in truth; 0 is the request itself, then come the
 * further charges. Below 0: as estimated.
 */
typedef double weir_http_measure(CURL *easy, size_t charge, void *context);

/* weir_http_perform: asked ten times a second while waiting; other than 0 cancels. */
typedef int weir_http_stop(void *context);

/*
 * One request. Everything about HTTP is set on the easy handle, as ever; but for the URL, which
 * libcurl does not tell, and which is set from here.
 */
struct weir_http_request {
	size_t size;	      /* sizeof(struct weir_http_request) */
	const char *url;      /* NULL: the handle's own; then an endpoint must be named */
	const char *method;   /* as the handle is set, for the match; default "GET" */
	const char *endpoint; /* charged to this one; default: weir_http_match() */
	const char *class_name;
	uint32_t flags;	    /* of enum weir_http_flag */
	uint32_t redirects; /* followed here, hop by hop, each in its turn; see weir_http_perform */
	double cost;	    /* default 1 */
	uint64_t timeout_ns; /* for all waiting together; 0: WEIR_FOREVER. 1 is as good as none */
	const struct weir_http_charge *charges; /* further ones */
	size_t charge_count;

	weir_http_write *write;
	weir_http_restart *restart;
	weir_http_measure *measure;
	weir_http_stop *stop;
	void *context; /* of all four */
	uint64_t reserved[8];
};

enum weir_http_outcome {
	WEIR_HTTP_ANSWERED = 0,	 /* there is an answer, of whatever status */
	WEIR_HTTP_FAILED = 1,	 /* none, or not all of it: curl says why */
	WEIR_HTTP_REFUSED = 2,	 /* not made: not its turn before its time was over */
	WEIR_HTTP_BROKEN = 3,	 /* not made: too much has failed there lately */
	WEIR_HTTP_CANCELLED = 4, /* by the program */
	WEIR_HTTP_FAULT = 5,	 /* not made: fault says why */
};

/* What became of a request. Start from {.size = sizeof(struct weir_http_result)}. */
struct weir_http_result {
	size_t size;
	int32_t outcome;    /* enum weir_http_outcome */
	int32_t curl;	    /* CURLcode of the last try */
	int32_t fault;	    /* code of weir.h, or 0 */
	int32_t reason;	    /* WEIR_HTTP_REFUSED: enum weir_reason */
	int32_t status;	    /* of the last answer; 0: there was none */
	uint32_t tries;	    /* requests made, those to follow redirects not among them */
	uint32_t hops;	    /* redirects, followed here or by libcurl */
	uint32_t refusals;  /* answers that asked to come back later */
	uint64_t waited_ns; /* before requests, for whatever reason */
	uint64_t retry_ns;  /* what the last answer asked for, however long; 0: nothing */
	uint64_t wait_ns;   /* not made: until it might be; WEIR_NEVER */
	char endpoint[WEIR_NAME_MAX + 1]; /* that it was charged to, at last */
	uint64_t reserved[4];
};

/*
 * Makes a client on an attached instance. settings may be NULL. Allocates; does not block.
 * Returns 0 and *out, or -ENOMEM, WEIR_EVALUE (a setting that cannot be).
 */
int weir_http_open(struct weir_http **out, struct weir *weir,
		   const struct weir_http_settings *settings);

/* Frees it, before its struct weir; detached, and with no request under way. NULL is allowed. */
void weir_http_close(struct weir_http *http);

/*
 * Says to which endpoint a request would be charged; `out` has room for WEIR_NAME_MAX + 1 bytes.
 * The first of "METHOD host/path", "host/path" and "host" that a rule other than [default] has or
 * matches, and of that the rule's name, or of an [each] rule, which has a bucket for each name,
 * itself; else "host". The host is in lower case and has a port if it
 * is not that of the scheme; there is no query; what is too long is cut.
 * Returns 0, WEIR_EVALUE (no such URL), WEIR_EDAMAGED, -ENOMEM.
 */
int weir_http_match(struct weir_http *http, const char *method, const char *url, char *out);

/*
 * In place of curl_easy_perform(): waits for the request's turn, makes it, heeds its answer, and
 * begins again where that was not the last word. Blocks. result may be NULL.
 *
 * Repeated, up to settings.tries: what was not sent; answers 429, 503 and 403 with Retry-After,
 * when that says, or a little later; and of requests that do no harm (GET, HEAD, OPTIONS, TRACE,
 * PUT, DELETE, WEIR_HTTP_REPEATABLE) also 408, 429, 502, 503, 504 without one and what broke off,
 * after a growing pause and as long as the client's budget has room.
 * Redirects: the handle's CURLOPT_FOLLOWLOCATION does as ever, and its hops are charged afterwards,
 * as a debt. With `redirects` it is switched off, and of a GET or HEAD every hop waits for its
 * turn.
 *
 * Returns libcurl's code for an answer or a failure. CURLE_OPERATION_TIMEDOUT: refused;
 * CURLE_COULDNT_CONNECT: the breaker is open; CURLE_ABORTED_BY_CALLBACK: cancelled;
 * CURLE_FAILED_INIT: a fault, CURLE_BAD_FUNCTION_ARGUMENT if it is WEIR_EVALUE, and
 * CURLE_OUT_OF_MEMORY. result->outcome tells them from libcurl's own.
 */
CURLcode weir_http_perform(struct weir_http *http, CURL *easy,
			   const struct weir_http_request *request,
			   struct weir_http_result *result);

/*
 * Lets a client make requests in a loop of libuv; a client has one loop at most. Allocates.
 * Returns 0, -EBUSY (it has one), -ENOMEM, or another -errno of the loop.
 */
int weir_http_attach(struct weir_http *http, struct uv_loop_s *loop);

/*
 * Called once for each request that was started, out of the loop, when the handle is the program's
 * again. `code` is what weir_http_perform() would have returned. It may start and cancel others.
 */
typedef void weir_http_done(CURL *easy, CURLcode code, const struct weir_http_result *result,
			    void *context);

/*
 * Starts a request as weir_http_perform() makes one, and returns; `stop` is not asked. Requests of
 * one endpoint come in turn as they were started, settings.connections of all at once. The request
 * is copied, but for what its callbacks and the handle need. *out (out may be NULL) may be
 * cancelled until `done` is called. Returns 0, -ENOTCONN (no loop), -ENOMEM; whatever else is wrong
 * comes by `done`.
 */
int weir_http_start(struct weir_http *http, CURL *easy, const struct weir_http_request *request,
		    weir_http_done *done, void *context, struct weir_http_transfer **out);

/*
 * Ends a request, whatever it is at; its `done` comes out of the loop. What was not sent is not
 * paid. Not from a callback of libcurl, which has ways of its own to end a transfer.
 */
void weir_http_cancel(struct weir_http_transfer *transfer);

/*
 * Cancels what is under way, and leaves the loop; `detached` (may be NULL) is called out of it, the
 * last of all, when the client may be closed. Nothing where there is no loop.
 */
void weir_http_detach(struct weir_http *http, void (*detached)(void *context), void *context);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
