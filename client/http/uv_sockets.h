/* SPDX-License-Identifier: Apache-2.0
 *
 * uv_sockets.h - libcurl's sockets and its timer in a loop of libuv. Knows nothing of limits.
 */
#ifndef WEIR_HTTP_UV_SOCKETS_H
#define WEIR_HTTP_UV_SOCKETS_H

#include <stdbool.h>

#include <curl/curl.h>
#include <uv.h>

struct sockets {
	uv_loop_t *uv;
	CURLM *multi;
	uv_timer_t timer;
	unsigned open; /* handles of libuv that are not closed yet, the timer among them */
	bool closes;
	/* something may have come to its end */
	void (*moved)(struct sockets *sockets);
	void (*closed)(struct sockets *sockets);
};

/* Returns 0, or -ENOMEM before anything of the loop was touched. */
int sockets_open(struct sockets *sockets, uv_loop_t *uv);

/* No transfer is in it any more. `closed` is called out of the loop. */
void sockets_close(struct sockets *sockets);

#endif
