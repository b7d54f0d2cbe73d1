/* SPDX-License-Identifier: Apache-2.0
 *
 * uv_loop.h - the requests of a client that are made in its loop: what uv_multi.c moves, and the
 * lines that uv_lines.c keeps. All of it is the loop's thread's.
 */
#ifndef WEIR_HTTP_UV_LOOP_H
#define WEIR_HTTP_UV_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "heap.h"
#include "http.h"
#include "uv_sockets.h"

#define ACTIVE_BUCKETS 256

enum where {
	IN_LANE,    /* queued, behind others of its endpoint */
	IN_LINE,    /* has a place, and a slot */
	AT_WORK,    /* libcurl has it, and it has a slot */
	AT_REST,    /* before it begins again */
	AT_THE_END, /* to be handed back */
};

struct weir_http_transfer {
	struct job job;
	struct heap_entry entry; /* when it has to be looked at */
	struct loop *loop;
	weir_http_done *done;
	void *context;
	enum where where;
	struct weir_http_transfer *next; /* of its lane, its bucket, those of permits, the end */
	struct weir_http_transfer *previous; /* of its lane, or those of permits */
	bool waits_permit;		     /* it is among those */
	struct weir_http_transfer *all_next;
	struct weir_http_transfer *all_previous;
	char *texts; /* URL, endpoint, class, method: a block that is kept with it */
	size_t texts_bytes;
};

struct loop {
	struct sockets sockets; /* first: one is the other */
	struct weir_http *http;
	uv_timer_t timer;
	uint64_t timer_ns; /* when it goes off; 0: it does not */
	uint64_t now_ns;   /* as of what happened last */
	bool settles;	   /* settle() is at it, and sees what is done meanwhile */
	bool is_fresh;	   /* something was */
	struct heap heap;
	size_t count;	 /* of all transfers */
	uint32_t active; /* that have a slot */
	struct weir_http_transfer *all;
	struct weir_http_transfer *spare; /* to be used again; as many as have had slots at once */
	uint32_t spare_count;
	struct weir_http_transfer *end_first;
	struct weir_http_transfer *end_last;
	struct weir_http_transfer *at_work[ACTIVE_BUCKETS]; /* by their handle */
	struct weir_http_transfer *permits; /* in line, and it is a permit that they wait for */
	bool has_released;		    /* some have perhaps come free */
	struct lane *waiting_first;
	struct lane *waiting_last;
	uint32_t waiting;
	uint64_t lanes_ns; /* when one of them is to be looked at; 0: at no time */
	bool closes;
	void (*detached)(void *context);
	void *context;
};

static inline struct weir_http_transfer *transfer_of(struct job *job)
{
	return (struct weir_http_transfer *)job; /* its first member */
}

static inline struct lane *lane_of(const struct weir_http_transfer *transfer)
{
	return transfer->job.bill.charges[0].lane;
}

/* ---- uv_lines.c: who waits for a place, and the lanes that have somebody who does ---- */

/* The first of the lanes that may have somebody in line; there is one. */
struct lane *waiting_take(struct loop *loop);
void waiting_put(struct loop *loop, struct lane *lane);

void lane_join(struct loop *loop, struct weir_http_transfer *transfer, bool in_front);
void lane_part(struct loop *loop, struct weir_http_transfer *transfer);

/* The shared line, and how far ahead the places of a lane reach in it. */
void line_enter(struct weir_http_transfer *transfer);
void line_look(const struct weir_http_transfer *transfer);
void line_leave(const struct weir_http_transfer *transfer);

/* Those in line who wait for a permit, which another one of this loop may give back. */
void permits_enter(struct weir_http_transfer *transfer);
void permits_leave(struct weir_http_transfer *transfer);

#endif
